"""What a model says of decoded samples: every window of a voice votes, and the mean of the votes counts.

Of a clip every frame votes as well, and where there are both, every pair of a window and a frame.

Branches run once for each window and picture of a block, and heads on every pairing of them. Windows are made, run and
forgotten a few at a time: of an hour of speech, its probabilities are kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import audio
from .calibration import softmax
from .runtime import Model
from .types import ClipFrame, FaceCrop, Modalities

_WINDOWS_AT_ONCE = 64  # 4 MB; two full passes through the branches
Probs = npt.NDArray[np.float64]
_Places = npt.NDArray[np.int64]
_Features = tuple[Any, ...]  # of arrays: what both branches made of signals, or the signals themselves (`_features`)


@dataclass(frozen=True, slots=True)
class Signals:
    """One decoded sample.

    Attributes:
        speech: windows that vote, float32 `[n, 1, 128, 128]` where they are sliced, or None.
        image: pictures that vote, float32 `[n, 3, 128, 128]`, or None: one, or the best frames of a clip.
        face: what was done to find the face; None without a picture.
        reasons: to distrust an answer, one sentence each.
        frames: of a clip, which frames the pictures are.
    """

    speech: audio.Windows | npt.NDArray[np.float32] | None
    image: npt.NDArray[np.float32] | None
    face: FaceCrop | None
    reasons: tuple[str, ...] = ()
    frames: tuple[ClipFrame, ...] = ()

    @property
    def n_windows(self) -> int:
        """Windows of the speech; 0 without it."""
        return 0 if self.speech is None else len(self.speech)


def votes(model: Model, block: Mapping[int, Signals], columns: Sequence[int]) -> dict[Modalities, dict[int, Probs]]:
    """Return for `speech`, `image`, `both` the samples that have it: place in the block to mean over windows.

    `block` holds samples of any mixture of modalities by their places, in ascending order; `columns` the places of the
    classes that compete among the model's.

    Raises:
        CheckpointError: the model gives something else than it says.
    """
    seen = [k for k, signals in block.items() if signals.image is not None]
    counts = [len(block[k].image) for k in seen]  # type: ignore[arg-type]
    ends = np.cumsum(counts, dtype=np.int64)
    rows = {k: np.arange(end - n, end) for k, end, n in zip(seen, ends, counts, strict=True)}
    found: dict[Modalities, list[tuple[_Places, Probs]]] = {"speech": [], "image": [], "both": []}

    # None stands for silence or black. Only the chosen classes compete: the probability of each, given one is true.
    def judge(name: Modalities, owners: _Places, speech: _Features | None, image: _Features | None) -> None:
        given: list[Any] = [x if model.separable or x is None else x[0] for x in (speech, image)]
        logits = (model.head if model.separable else model.logits)(*given, modalities=name)
        found[name].append((owners, softmax(logits[:, columns])))

    pictures: _Features = ()
    if seen:
        pictures = _features(model, "image", np.concatenate([block[k].image for k in seen]))
        judge("image", np.repeat(seen, counts), None, pictures)
    for owners, windows in _chunks(block):
        heard = _features(model, "speech", windows)
        judge("speech", owners, heard, None)
        # A sample with both shows each of its pictures to every window.
        paired = np.flatnonzero(np.isin(owners, seen))
        if len(paired):
            shown = np.concatenate([rows[k] for k in owners[paired]])
            paired = np.repeat(paired, [len(rows[k]) for k in owners[paired]])
            judge("both", owners[paired], tuple(x[paired] for x in heard), tuple(x[shown] for x in pictures))
    return {name: _means(parts) for name, parts in found.items() if parts}


def _features(model: Model, name: str, signals: npt.NDArray[np.float32]) -> _Features:
    features: _Features = getattr(model, f"{name}_branches")(signals) if model.separable else (signals,)
    return features


def _chunks(block: Mapping[int, Signals]) -> Iterator[tuple[_Places, npt.NDArray[np.float32]]]:
    """Yield all windows of a block, `_WINDOWS_AT_ONCE` at a time: places of their samples, and the windows."""
    places = [(k, at) for k, signals in block.items() for at in range(signals.n_windows)]
    for first in range(0, len(places), _WINDOWS_AT_ONCE):
        part = places[first : first + _WINDOWS_AT_ONCE]
        windows = [block[k].speech[at : at + 1] for k, at in part]  # type: ignore[index]  # what has windows has speech
        yield np.array([k for k, _ in part]), np.concatenate(windows)


def _means(parts: Sequence[tuple[_Places, Probs]]) -> dict[int, Probs]:
    owners, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    names, starts, counts = np.unique(owners, return_index=True, return_counts=True)  # an owner's rows stand together
    sums = np.add.reduceat(rows, starts, axis=0)
    return {int(k): row for k, row in zip(names, sums / counts[:, None], strict=True)}
