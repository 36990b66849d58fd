"""Speech units: words or equal segments, and which frames of the log-mel are theirs (design section 7)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import audio
from ..errors import InputError
from .parts import SpeechUnit

OVERLAP_SHARE = 0.5  # of the shorter word: what aligners blur at a border is less, a wrong time is usually more
MOST_UNITS = np.iinfo(np.int16).max  # frames carry their unit's number as int16
ROUNDING_S = 1e-9  # by which words may overlap whatever they last: times that are sums are rounded in their last digit
SLACK_S = 0.05  # by which a last word may outlast the speech: recognisers count in frames of 10 to 20 ms


def segments(duration_s: float, n: int, *, start_s: float = 0.0) -> tuple[SpeechUnit, ...]:
    """Return `n` segments of equal length, in order of time; `fit_units` then joins what is too short.

    Args:
        duration_s: of what is divided, in seconds.
        n: segments.
        start_s: where it begins in the file; above 0 where quiet before it was left out.

    Raises:
        InputError: none or too many segments are asked for, or there is nothing to divide.
    """
    if not 1 <= n <= MOST_UNITS:
        raise InputError(f"Cannot divide speech into {n} segments; allowed: 1 to {MOST_UNITS:,}. See --n-segments.")
    if not 0 < duration_s < math.inf:
        raise InputError(f"Cannot divide {duration_s:g} s of speech into segments; allowed: more than 0 s.")
    edges = [start_s + duration_s * place / n for place in range(n)] + [start_s + duration_s]
    return tuple(SpeechUnit(a, b, "", a, b) for a, b in pairwise(edges))


def word_units(words: Iterable[Any], duration_s: float) -> tuple[SpeechUnit, ...]:
    """Return one unit a word, in order of time; their reaches cover 0 to `duration_s` without gap or overlap.

    A pause goes to the nearer word: two neighbours part in the middle between them, or in the middle of what they share
    where their times overlap a little (up to `OVERLAP_SHARE` of the shorter). Times stay as given, but for an end less
    than `SLACK_S` behind the end of the speech. A word may last 0 s, as recognisers sometimes say: `fit_units` joins it
    to its neighbour where no frame is left for it.

    Args:
        words: (text, start in s, end in s), in any order.
        duration_s: of the whole file.

    Raises:
        InputError: no or too many words, a word without text, or times that are no numbers, outside the speech,
            reversed, or overlap by more.
    """
    found = sorted((_word(word, duration_s) for word in words), key=lambda word: word[1:])
    if not 1 <= len(found) <= MOST_UNITS:
        raise InputError(
            f"Cannot divide the speech by {len(found)} words; allowed: 1 to {MOST_UNITS:,}. Mend: --units segments."
        )
    edges = [0.0]
    for (text, start_s, end_s), (next_text, next_start_s, next_end_s) in pairwise(found):
        shared_s = end_s - next_start_s  # below 0: a pause
        shorter_s = min(end_s - start_s, next_end_s - next_start_s)
        if shared_s > OVERLAP_SHARE * shorter_s + ROUNDING_S:
            raise InputError(
                f"Words {_short(text)} ({start_s:.3f} to {end_s:.3f} s) and {_short(next_text)} ({next_start_s:.3f} "
                f"to {next_end_s:.3f} s) overlap by {shared_s:.3f} s; allowed: half of the shorter. Mend the times."
            )
        edges.append(max(edges[-1], (end_s + next_start_s) / 2))
    edges.append(duration_s)
    return tuple(
        SpeechUnit(start_s, end_s, text, edges[n], edges[n + 1]) for n, (text, start_s, end_s) in enumerate(found)
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")  # repr also keeps the message on one line


def _word(word: Any, duration_s: float) -> tuple[str, float, float]:
    """Return a word as (text, start in s, end in s), refused unless it lies within the speech."""
    try:
        text, start_s, end_s = str(word[0]), float(word[1]), float(word[2])
    except (TypeError, ValueError, IndexError, KeyError):
        raise InputError(f"Word {_short(str(word))} is not (text, start in s, end in s).") from None
    text = " ".join(text.split())
    if not text:
        raise InputError(f"The word at {start_s:g} to {end_s:g} s has no text. Mend: leave it out.")
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise InputError(f"Word {_short(text)} has no times: it goes from {start_s} to {end_s} s; allowed: seconds.")
    if end_s < start_s:
        raise InputError(f"Word {_short(text)} ends at {end_s:g} s, before it begins at {start_s:g} s.")
    if not 0 <= start_s < duration_s or end_s > duration_s + SLACK_S:
        raise InputError(
            f"Word {_short(text)} goes from {start_s:g} to {end_s:g} s; allowed: 0 to {duration_s:g} s, the length of "
            "the speech. Mend: check that times and file belong together."
        )
    return text, start_s, min(end_s, duration_s)


def fit_units(
    units: Sequence[SpeechUnit], n_samples: int, clip_s: float, offset_s: float = 0.0
) -> tuple[SpeechUnit, ...]:
    """Return the units, those that own no frame joined to the nearer neighbour that does ("word1 word2").

    A mask can only silence whole frames (32 ms apart by default): what lies between two of them cannot be asked about
    on its own, and joining keeps every word in what people read. The same happens to units that lie in quiet at the
    ends that was left out. Where fewer units come back than went in, the caller should say so. The shortest clip is two
    frames, so at most two units: the second frame, centred behind its end, still sees it.

    Args:
        units: in order of time, at least one.
        n_samples: of the speech that the model hears (`judging.Heard.part`), at 16 kHz.
        clip_s: seconds of 128 frames.
        offset_s: where it begins in the file.
    """
    owners = frame_owners(units, n_samples, clip_s, offset_s)
    counts = np.bincount(owners[owners >= 0], minlength=len(units))
    heard = np.flatnonzero(counts)
    groups: list[list[SpeechUnit]] = [[] for _ in heard]
    for place, unit in enumerate(units):
        after = int(np.searchsorted(heard, place))  # the first unit with frames from here on
        if after == len(heard):
            after -= 1
        elif after > 0 and heard[after] != place:
            before_gap = unit.start_s - units[heard[after - 1]].end_s
            after -= before_gap <= units[heard[after]].start_s - unit.end_s
        groups[after].append(unit)
    return tuple(group[0] if len(group) == 1 else _joined(group) for group in groups)


def _joined(units: Sequence[SpeechUnit]) -> SpeechUnit:
    text = " ".join(unit.word for unit in units if unit.word)
    end_s = max(unit.end_s for unit in units)
    return SpeechUnit(units[0].start_s, end_s, text, units[0].reach_start_s, units[-1].reach_end_s)


# --- frames -----------------------------------------------------------------------------------------------------------


def own_frames(n_samples: int, clip_s: float) -> int:
    """Return how many frames of `audio.log_mel_for_windows` see any of `n_samples` samples; the rest is padding."""
    step = audio.hop(clip_s)
    # Frame f sees the samples from f * step - 512 up to f * step + 512.
    return min(audio.n_frames(n_samples, clip_s), -(-(n_samples + audio.N_FFT // 2) // step))


def inner_edges(units: Sequence[SpeechUnit]) -> npt.NDArray[np.int64]:
    """Return the first sample of the reach of each unit but the first, int64 `[n - 1]`, counted in the file at 16 kHz.

    Masks and what is played use the same borders. What lies before the first reach is the first unit's, what lies
    behind the last one the last unit's.
    """
    return np.array([round(unit.reach_start_s * audio.SAMPLE_RATE_HZ) for unit in units[1:]], np.int64)


def frame_owners(
    units: Sequence[SpeechUnit], n_samples: int, clip_s: float, offset_s: float = 0.0
) -> npt.NDArray[np.int16]:
    """Return the unit of each frame of `audio.log_mel_for_windows`, int16 `[n_frames]`; -1: it sees only padding.

    A frame belongs to the unit whose reach holds its centre, which lies at a multiple of the hop from the first sample.

    Args:
        units: in order of time; their seconds are those of the file.
        n_samples: of the speech that the model hears (`judging.Heard.part`), at 16 kHz.
        clip_s: seconds of 128 frames.
        offset_s: where it begins in the file.
    """
    n_own = own_frames(n_samples, clip_s)
    owners = np.full(max(audio.N_FRAMES, n_own), -1, np.int16)
    centres = round(offset_s * audio.SAMPLE_RATE_HZ) + np.arange(n_own) * audio.hop(clip_s)
    owners[:n_own] = np.searchsorted(inner_edges(units), centres, side="right")
    return owners
