"""From samples to batches of tensors for training: decode once, keep what fits, draw repeatably.

Torch lives here, so `data` modules that the core install uses must not import this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from .. import audio, image, judging
from ..errors import InputError, ParallelNetError
from ..options import Recipe, SignalOptions
from ..types import Sample
from .augment import augment_waveform

CACHE_BYTES = 3 * 2**30  # decoded signals kept in memory by one process; RAVDESS with FER-2013 takes 1.5 GiB


class Batch(NamedTuple):
    """n samples whose speech fills w >= n windows.

    Attributes:
        speech: [w, 1, 128, 128] in [0, 1]; zeros where a sample has none, as in `image`.
        image: [n, 3, 128, 128] in [0, 1].
        owner: [w] index of the sample that a window belongs to.
        label: [n] class index.

        auxiliary: [n, n_columns] index of the value of each auxiliary column, -1 where unknown.
    """

    speech: Tensor
    image: Tensor
    owner: Tensor
    label: Tensor

    auxiliary: Tensor = torch.empty(0, 0, dtype=torch.long)


class SignalStore:
    """Decoded signals by path, kept until `CACHE_BYTES` are full; then decoded anew each time."""

    def __init__(self, signals: SignalOptions) -> None:
        """Make an empty store, which turns files into tensors as `signals` says."""
        self.signals = signals
        self._kept: dict[tuple[str, object], NDArray[Any]] = {}
        self._free_bytes = CACHE_BYTES

    def waveform(self, path: str) -> NDArray[np.float32]:
        """Return what `predict` hears of the speech, [n_samples] at 16 kHz."""
        return self._known((path, "waveform"), lambda: np.asarray(self._heard(path).part))

    def log_mel_windows(self, path: str) -> NDArray[np.float32]:
        """Return the windows that `predict` cuts, [n_windows, 1, 128, 128]; validation asks for them in each epoch."""
        return self._known((path, "windows"), lambda: self._heard(path).windows(self.signals.clip_s)[:])

    def _heard(self, path: str) -> judging.Heard:
        return judging.hear(audio.read(path), self.signals)

    def log_mel(self, path: str, version: int, recipe: Recipe, seed: int) -> NDArray[np.float32]:
        """Return the log-mel of one augmented version of an utterance, [128, n_frames].

        The same version of the same path under the same seed is the same; `recipe.speech_versions` says whether it is
        kept.
        """
        clip_s = self.signals.clip_s

        def made() -> NDArray[np.float32]:
            rng = np.random.default_rng((seed, version, *path.encode()[-64:]))
            wave = augment_waveform(self.waveform(path), recipe.augment, rng)
            short = max(0, audio.N_FRAMES * audio.hop(clip_s) - len(wave))
            return audio.log_mel(np.pad(wave, (0, short)), clip_s)

        return self._known((path, version), made, keep=bool(recipe.speech_versions or not recipe.augment.any))

    def picture(self, path: str) -> NDArray[np.float32]:
        """Return the picture as `predict` sees it, [3, 128, 128]."""

        def made() -> NDArray[np.uint8]:
            tensor, _ = image.signal(path, self.signals)
            # A byte a value: the source had no more, and a data set of faces fits in memory four times over.
            return np.rint(tensor * 255).astype(np.uint8)

        return self._known((path, "picture"), made).astype(np.float32) / np.float32(255)

    def _known(self, key: tuple[str, object], make: Callable[[], NDArray[Any]], *, keep: bool = True) -> NDArray[Any]:
        if key in self._kept:
            return self._kept[key]
        value = make()
        if keep and value.nbytes <= self._free_bytes:
            self._free_bytes -= value.nbytes
            self._kept[key] = value
        return value


@dataclass(eq=False)
class SampleDataset(Dataset[Batch]):
    """Samples as tensors. An index is `(place, draw)`: `draw` seeds what is random, None gives what `predict` sees.

    Attributes:
        labels: class index of each sample.

        auxiliary: indices of each sample's auxiliary values, or nothing.
    """

    samples: Sequence[Sample]
    labels: Sequence[int]
    store: SignalStore
    recipe: Recipe
    seed: int

    auxiliary: Sequence[tuple[int, ...]] = ()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, index: tuple[int, int | None]) -> Batch:
        """Return one sample as a batch; a file that cannot be read raises InputError with the sample's id."""
        place, draw = index
        sample = self.samples[place]
        speech, picture = torch.zeros(1, 1, audio.N_MELS, audio.N_FRAMES), torch.zeros(3, image.SIZE, image.SIZE)
        try:
            if sample.speech is not None:
                speech = torch.from_numpy(self._speech(sample.speech, draw))
            if sample.image is not None:
                picture = torch.from_numpy(self.store.picture(sample.image))
        except ParallelNetError as error:
            raise InputError(f"Sample {sample.id!r}: {error}") from error
        owner, label = torch.zeros(len(speech), dtype=torch.long), torch.tensor([self.labels[place]])
        auxiliary = torch.tensor([self.auxiliary[place] if self.auxiliary else ()], dtype=torch.long)
        return Batch(speech, picture[None], owner, label, auxiliary)

    def _speech(self, path: str, draw: int | None) -> NDArray[np.float32]:
        if draw is None:
            return self.store.log_mel_windows(path)
        rng = np.random.default_rng((self.seed, draw))
        versions = self.recipe.speech_versions or 2**20
        version = int(rng.integers(versions)) if self.recipe.augment.any else 0
        log_mel = self.store.log_mel(path, version, self.recipe, self.seed)
        # One frame more than whole hops: the last is half padding, and `audio.cut` drops it too.
        first = int(rng.integers(max(log_mel.shape[1] - 1 - audio.N_FRAMES, 0) + 1))
        return np.ascontiguousarray(log_mel[None, None, :, first : first + audio.N_FRAMES])


@dataclass(eq=False)
class DrawSampler(Sampler[tuple[int, int]]):
    """Yields `(place, draw)`, shuffled and cut to `n_draws`.

    The order depends on the seed and the epoch alone; each of several devices takes every n-th draw. `n_draws`, of all
    devices together, is 0 where every sample is taken once.
    """

    n_samples: int
    n_draws: int = 0
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    epoch: int = 0

    def __post_init__(self) -> None:
        self.n_draws = self.n_draws or self.n_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of draws of this device: as many on each, or the others would wait for ever."""
        return self.n_draws // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the draws of this epoch and device."""
        rng = np.random.default_rng((self.seed, self.epoch))
        rounds = -(-self.n_draws // self.n_samples)
        order = np.concatenate([rng.permutation(self.n_samples) for _ in range(rounds)])[: self.n_draws]
        for turn in range(self.rank, len(self) * self.world_size, self.world_size):
            yield int(order[turn]), self.epoch * self.n_draws + turn


def collate(items: Sequence[Batch]) -> Batch:
    """Return one batch of batches of one sample, whose numbers of windows may differ."""
    speech, image, _, label, auxiliary = zip(*items, strict=True)
    return Batch(
        torch.cat(speech),
        torch.cat(image),
        torch.repeat_interleave(torch.arange(len(items)), torch.tensor([len(windows) for windows in speech])),
        torch.cat(label),
        torch.cat(auxiliary),
    )
