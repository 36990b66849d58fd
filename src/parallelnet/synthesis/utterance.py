"""What an engine gives back: speech, and when each word is spoken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text as it was spoken.

    Attributes:
        waveform: mono float32 `[n_samples]` in [-1, 1].
        sample_rate_hz: the engine's own.
        word_times: (word, start in s, end in s) of each word of the text (what stands between white space); empty
            where the engine does not say.
    """

    waveform: npt.NDArray[np.float32]
    sample_rate_hz: int
    word_times: tuple[tuple[str, float, float], ...]


def settings(rate: int, pitch: int) -> str:
    """Return rate and pitch as they are written after a voice's name; "" where they are the engine's own."""
    named = [f"rate={rate}"] if rate else []
    return " ".join([*named, f"pitch={pitch}"] if pitch >= 0 else named)
