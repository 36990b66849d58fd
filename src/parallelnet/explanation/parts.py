"""The records that an `Explanation` is made of. They know no other part of the program."""

import math
from dataclasses import dataclass
from typing import Any

from ..types import Modality


@dataclass(frozen=True, slots=True)
class SpeechUnit:
    """One player of the speech: a word, or a segment; times in seconds from the start of the file that was given.

    Attributes:
        start_s: where the word or segment begins.
        end_s: where it ends.
        word: as it was given or recognised; "" for a segment.
        reach_start_s: from here on every moment is this unit's: a pause goes to the nearer word. The reaches of all
            units cover the speech without gap or overlap; a segment's are its own ends.
        reach_end_s: up to here.
    """

    start_s: float
    end_s: float
    word: str
    reach_start_s: float
    reach_end_s: float


@dataclass(frozen=True, slots=True)
class DivisionNode:
    """One part of the binary division of a modality (paper Fig. 2).

    Attributes:
        modality: `speech` or `image`.
        parent: place of the part that it is a half of, in `Explanation.nodes`; -1 for a whole modality.
        units: places of its units, in ascending order; one for a leaf. Of speech with `mel_bands` above 1, the
            places of its parts: unit * mel_bands + band.
    """

    modality: Modality
    parent: int
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClassValues:
    """What the parts of a sample did to the score of one class; all in units of that score.

    Attributes:
        base: v(0), the score with every part at its baseline.
        speech_alone: v(S), with the speech present and the picture at its baseline; `base` without speech.
        image_alone: v(I), likewise.
        full: v(S, I), of the whole sample: what `predict` says, where the score is the probability.
        speech: value of the speech as a whole; 0 where there is none.
        image: value of the picture as a whole.
        speech_units: value of each speech unit.
        image_units: value of each picture unit; of a grid row by row.
        speech_bands: `[speech unit][mel band]`, lowest band first, where `mel_bands` is above 1; else empty.
        speech_errors: standard error of each speech unit's value where the method samples; else empty.
        image_errors: likewise of each picture unit.
        interactions: `[speech unit][picture unit]`, what the two told only together (Shapley interaction index); None
            where the method does not give it.
        nodes: value of each of `Explanation.nodes`.
        lost: for each of them, its value less the sum of its halves' (0 for leaves): what `paper` loses on the way
            down; 0 everywhere for `owen`.
    """

    base: float
    speech_alone: float
    image_alone: float
    full: float
    speech: float
    image: float
    speech_units: tuple[float, ...] = ()
    image_units: tuple[float, ...] = ()
    speech_bands: tuple[tuple[float, ...], ...] = ()
    speech_errors: tuple[float, ...] = ()
    image_errors: tuple[float, ...] = ()
    interactions: tuple[tuple[float, ...], ...] | None = None
    nodes: tuple[float, ...] = ()
    lost: tuple[float, ...] = ()

    @property
    def synergy(self) -> float:
        """v(S, I) - v(S) - v(I) + v(0): what speech and picture told only together."""
        return self.full - self.speech_alone - self.image_alone + self.base

    @property
    def efficiency_gap(self) -> float:
        """How far the units' values are from adding up to `full - base` (paper Eq. 5), 0 or more."""
        return abs(math.fsum((*self.speech_units, *self.image_units)) - (self.full - self.base))


@dataclass(frozen=True, slots=True)
class Budget:
    """What an explanation cost.

    Attributes:
        speech_passes: masked speech inputs that the method asks the speech branches about, all windows together.
        image_passes: masked pictures that it asks the image branches about, once for each window.
        passes_saved: how many of those two the network did not run, because it had seen the very same input before:
            the picture is the same for every window, and a mask may change nothing in a window.
        joint_passes: passes of a whole network whose branches do not separate; the first three are 0 then.
        head_evaluations: rows that the head computed.
        n_windows: windows of the speech; 1 without speech.
    """

    speech_passes: int = 0
    image_passes: int = 0
    passes_saved: int = 0
    joint_passes: int = 0
    head_evaluations: int = 0
    n_windows: int = 1


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The same explanation under another pair of baselines.

    Attributes:
        speech_baseline: "" without speech.
        image_baseline: "" without a picture.
        base: v(0) of the target.
        speech: value of the speech as a whole.
        image: value of the picture as a whole.
        rank_correlation: Spearman's, of all units' values with those of the explanation, -1 to 1; None where all of
            them are equal.
    """

    speech_baseline: str
    image_baseline: str
    base: float
    speech: float
    image: float
    rank_correlation: float | None


@dataclass(frozen=True, slots=True)
class Material:
    """The signals that an explanation is about, for plots and reports; None for what is not there; not in its JSON.

    Attributes:
        waveform: the whole speech, float32 `[n]` at 16 kHz.
        kept: the same with the units of low value silenced (paper section 3.3).
        silenced: `waveform - kept`.
        inverted: speech rebuilt from the masked spectrogram, which the paper tried and rejected.
        log_mel: float32 `[128 mels, n_frames]` in [0, 1], the whole of what the windows were cut from.
        log_mel_start_s: time of frame 0 in the file (above 0 where quiet before it was left out).
        frame_s: seconds between frames.
        picture: uint8 `[h, w, 3]`, RGB, upright.
    """

    waveform: Any = None
    kept: Any = None
    silenced: Any = None
    inverted: Any = None
    log_mel: Any = None
    log_mel_start_s: float = 0.0
    frame_s: float = 0.032
    picture: Any = None
