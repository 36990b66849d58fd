"""What an engine gives back: speech, and from what the engine says of its words a time for each word of the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Mark = tuple[int, float, float]
"""Number of a word of the text, start in s, end in s: a piece of it that was spoken. A word may have several."""

QUIET = 10 ** (-60 / 20)  # of full scale: what an engine puts into a pause is below it
_DECIMALS = 4  # 0.1 ms: two samples at 16 kHz


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


def marks_of_words(text: str, spoken: Iterable[tuple[int, float, float]]) -> list[Mark]:
    """Return marks for pieces that an engine gives by their character position; before the first word: the first."""
    starts = [found.start() for found in re.finditer(r"\S+", text)]
    return [(max(0, bisect_right(starts, at) - 1), start_s, end_s) for at, start_s, end_s in spoken]


def without_pauses(marks: Iterable[Mark], waveform: npt.NDArray[np.float32], sample_rate_hz: int) -> list[Mark]:
    """Return marks that end where the last sound of the word does, not where the pause after it does."""
    loud = np.flatnonzero(np.abs(waveform) >= QUIET)
    ended: list[Mark] = []
    for word, start_s, end_s in marks:
        first, last = round(start_s * sample_rate_hz), round(end_s * sample_rate_hz)
        before = loud[: int(np.searchsorted(loud, last))]
        if len(before) and before[-1] >= first:
            end_s = min(end_s, (int(before[-1]) + 1) / sample_rate_hz)
        ended.append((word, start_s, end_s))
    return ended


def word_times(words: Sequence[str], marks: Iterable[Mark], duration_s: float) -> tuple[tuple[str, float, float], ...]:
    """Return (word, start in s, end in s) of every word: in order, not overlapping, within the duration.

    A word with several marks (`$100`: one, hundred, dollars) lasts from the first to the last. A word without any is
    one that the engine spoke together with the word before it (`of the`), or has no sound for: it shares that word's
    time by the number of letters, at the beginning of a text the time of the word after it. Without a single mark
    nothing is known, and the answer is empty. Marks may come in any order.
    """
    spans: dict[int, tuple[float, float]] = {}
    for word, start_s, end_s in marks:
        start, end = spans.get(word, (start_s, end_s))
        spans[word] = min(start, start_s), max(end, end_s)
    known = sorted(spans)
    # Each known word with those after it that have no mark; the first with those before, too.
    firsts = [0, *known[1:], len(words)]
    times: list[tuple[str, float, float]] = []
    before_s = 0.0
    for place, number in enumerate(known):
        start_s, end_s = spans[number]
        if place + 1 < len(known):  # a word that comes back later (an engine may) must not swallow the next one
            end_s = min(end_s, spans[known[place + 1]][0])
        start_s = min(max(start_s, before_s), duration_s)
        before_s = min(max(end_s, start_s), duration_s)
        group = words[firsts[place] : firsts[place + 1]]
        shares = np.cumsum([0, *(max(1, sum(map(str.isalnum, word))) for word in group)])
        borders_s = start_s + (before_s - start_s) * shares / shares[-1]
        edges = [min(round(float(edge_s), _DECIMALS), duration_s) for edge_s in borders_s]
        times += [(word, *edge) for word, edge in zip(group, pairwise(edges), strict=True)]
    return tuple(times)
