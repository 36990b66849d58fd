"""From samples to batches of tensors for training: decode once, keep what fits, draw and change at random, repeatably.

Waveforms are changed in numpy, one by one; batches of tensors in torch, on their device. Whatever is random takes its
generator, so that a sample's fate depends on the seed, the epoch and its place alone, and a resumed run equals an
uninterrupted one.

Torch lives here, so `data` modules that the core install uses must not import this one.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torch.utils.data import Dataset, Sampler

from .. import audio, image, judging
from ..errors import InputError, ParallelNetError
from ..options import AugmentOptions, Recipe, SignalOptions
from ..types import Sample

CACHE_BYTES = 3 * 2**30  # decoded signals kept in memory by one process; RAVDESS with FER-2013 takes 1.5 GiB

MAX_TIME_MASK = 16  # frames, 0.5 s of a 4.096 s window
MAX_MEL_MASK = 12  # of 128 bands
WINDOW_S = 4.096


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
        return self._known((path, "waveform"), lambda: np.asarray(judging.hear(audio.read(path), self.signals).part))

    def log_mel_windows(self, path: str) -> NDArray[np.float32]:
        """Return the windows that `predict` cuts, [n_windows, 1, 128, 128]; validation asks for them in each epoch."""
        clip_s = self.signals.clip_s
        return self._known((path, "windows"), lambda: judging.hear(audio.read(path), self.signals).windows(clip_s)[:])

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
        # A byte a value: the source had no more, and a data set of faces fits in memory four times over.
        kept = self._known(
            (path, "picture"), lambda: np.rint(image.signal(path, self.signals)[0] * 255).astype(np.uint8)
        )
        return kept.astype(np.float32) / np.float32(255)

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


# --- random changes ---------------------------------------------------------------------------------------------------


def augment_waveform(
    waveform: NDArray[np.float32], options: AugmentOptions, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a changed copy of [n_samples] mono speech at 16 kHz: speed, noise, equaliser.

    Speed changes tempo and pitch together, as a tape does; its length changes with it.
    """
    if not waveform.any():
        return waveform
    if options.speed:
        factor = 1 + rng.uniform(-options.speed, options.speed)
        waveform = soxr.resample(waveform, audio.SAMPLE_RATE_HZ * factor, audio.SAMPLE_RATE_HZ, quality="MQ")
    if options.equaliser_db:
        spectrum = np.fft.rfft(waveform)
        # Six random gains, joined by straight lines over a linear frequency axis: rooms and microphones, not notches.
        gains_db = rng.uniform(-options.equaliser_db, options.equaliser_db, 6)
        gains_db = np.interp(np.linspace(0, 5, len(spectrum)), range(6), gains_db)
        waveform = np.fft.irfft(spectrum * 10 ** (gains_db / 20), len(waveform)).astype(np.float32)
    if rng.random() < options.noise:
        noise = rng.standard_normal(len(waveform)).astype(np.float32)
        if rng.random() < 0.5:  # pink: power falls as 1 / f
            spectrum = np.fft.rfft(noise)
            noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(noise)).astype(np.float32)
        snr_db = rng.uniform(5, 30)
        scale = np.sqrt(np.mean(waveform**2) / max(float(np.mean(noise**2)), 1e-12)) * 10 ** (-snr_db / 20)
        waveform = waveform + np.float32(scale) * noise
    return np.ascontiguousarray(waveform, dtype=np.float32)


def augment_speech(speech: Tensor, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Return changed log-mel windows [n, 1, 128, 128] in [0, 1]: mel warp, tempo, time shift, masks (SpecAugment)."""
    n, _, n_mels, n_frames = speech.shape
    if options.mel_warp or options.time_shift_s or options.tempo:
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0] = 1 + _signed(options.tempo, generator, n)
        # grid_sample's coordinates run from -1 to 1 over the window; a shift of the whole window would be 2.
        theta[:, 0, 2] = _signed(2 * options.time_shift_s / WINDOW_S, generator, n)
        theta[:, 1, 1] = 1 + _signed(options.mel_warp, generator, n)
        theta[:, 1, 2] = theta[:, 1, 1] - 1  # the lowest band stays where it is
        speech = _moved(speech, theta)
    masks = [(n_frames, MAX_TIME_MASK, (n, 1, 1, n_frames))] * options.time_masks
    for length, largest, shape in [*masks, *[(n_mels, MAX_MEL_MASK, (n, 1, n_mels, 1))] * options.mel_masks]:
        width = torch.randint(0, largest + 1, (n, 1), generator=generator)
        start = (torch.rand(n, 1, generator=generator) * (length - width)).long()
        place = torch.arange(length)[None]
        speech = speech * ((place < start) | (place >= start + width)).float().reshape(shape).to(speech.device)
    return speech


def _signed(largest: float, generator: torch.Generator, *shape: int) -> Tensor:
    return largest * (2 * torch.rand(*shape, generator=generator) - 1)


def _moved(batch: Tensor, theta: Tensor) -> Tensor:
    """Return a batch [n, channels, h, w] sampled on the grids of affine maps [n, 2, 3]."""
    grid = affine_grid(theta.to(batch.device), list(batch.shape), align_corners=False)
    return grid_sample(batch, grid, align_corners=False)


def augment_image(image: Tensor, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Return changed pictures [n, 3, h, w] in [0, 1]: flip, rotation, scale, shift, tone, erased rectangles."""
    n, _, height, width = image.shape
    if options.flip or options.rotate_deg or options.scale or options.shift:
        angle = torch.randn(n, generator=generator).clamp(-2, 2) * math.radians(options.rotate_deg) / 2
        zoom = 1 / (1 + _signed(options.scale, generator, n))
        mirror = (torch.rand(n, generator=generator) < 0.5).float() * 2 - 1 if options.flip else torch.ones(n)
        rows = (angle.cos() * zoom * mirror, -angle.sin() * zoom, angle.sin() * zoom * mirror, angle.cos() * zoom)
        turn = torch.stack(rows, 1).reshape(n, 2, 2)
        image = _moved(image, torch.cat([turn, _signed(2 * options.shift, generator, n, 2)[:, :, None]], 2))
    if options.tone:
        mean = image.mean((1, 2, 3), keepdim=True)
        contrast, brightness = _signed(options.tone, generator, 2, n, 1, 1, 1).to(image.device)
        image = ((image - mean) * (1 + contrast) + mean + brightness / 2).clamp(0, 1)
    if options.erase:
        size = torch.randint(height // 8, height // 2, (n, 2), generator=generator)
        corner = (torch.rand(n, 2, generator=generator) * (height - size)).long()
        at = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1)[None]
        inside = ((at >= corner[:, None, None]) & (at < (corner + size)[:, None, None])).all(-1)
        inside = inside & (torch.rand(n, 1, 1, generator=generator) < options.erase)
        paint = torch.rand(n, 1, 1, 1, generator=generator).to(image.device)
        image = torch.where(inside[:, None].to(image.device), paint, image)
    return image


def mixup(tensors: list[Tensor], parameter: float, generator: torch.Generator) -> list[Tensor]:
    """Return each [n, ...] tensor mixed with a shuffled copy of itself, by one Beta(a, a) factor for the batch.

    Args:
        tensors: signals and target probabilities of the same n samples.
        parameter: a of the Beta distribution; 0 returns the tensors unchanged.
        generator: source of the factor and the order.
    """
    if not parameter:
        return tensors
    # torch has no Beta that takes a generator; numpy's, seeded from it, has.
    seed = int(torch.randint(0, 2**31, (1,), generator=generator))
    factor = float(np.random.default_rng(seed).beta(parameter, parameter))
    order = torch.randperm(len(tensors[0]), generator=generator)
    return [factor * t + (1 - factor) * t[order.to(t.device)] for t in tensors]
