"""What is counted of rows, while a data set is built and whenever it is looked at; the counts of parts add up."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate
from operator import add
from typing import Any, Self

import numpy as np

from ..data.shards import REASONS, Example
from ..types import EMOTIONS, SENTIMENTS
from .teachers import decide

Table = Mapping[str, Mapping[str, int]]

# At which `threshold_curve` says what would be kept: 0, 0.05, ... 0.95.
THRESHOLDS: tuple[float, ...] = tuple(step / 20 for step in range(20))
CLASSES = {"emotion": EMOTIONS, "sentiment": SENTIMENTS}  # in index order, by what is learnt

_CONFIDENCE_BINS = 20  # equal ones of the deciding probability, over [0, 1]
_BIN_S = 0.05  # of the durations, for their quantiles
_LAST_BIN = round(3600 / _BIN_S) - 1
_KEYS = ("label", "sentiment", "label_source", "tts_voice", "language")
_JOINED_BY = {"shortest_s": min, "longest_s": max}


@dataclass(slots=True)
class Counts:
    """Counts that grow row by row, in memory that does not grow with them; `+` gives those of two parts together.

    Attributes:
        kept: kept rows by (label, sentiment, who decided, voice, language); "" where there is none.
        judged: rows that both teachers judged, kept or not, by (the class that the speech teacher finds most probable,
            the picture teacher's, the deciding one's, how many of `THRESHOLDS` its probability reaches).
        confidences: kept rows by (who decided, bin of the deciding probability).
        lengths: kept rows by the length of their speech in steps of 0.05 s; `duration_s` is that of all together.
    """

    n_read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    kept: Counter[tuple[str, ...]] = field(default_factory=Counter)
    judged: Counter[tuple[str, str, str, int]] = field(default_factory=Counter)
    confidences: Counter[tuple[str, int]] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    duration_s: float = 0.0
    shortest_s: float = math.inf
    longest_s: float = 0.0

    def add(self, example: Example) -> None:
        """Count one more row."""
        self.n_read += 1
        speech, image = example.speech_probs, example.image_probs
        if speech and image:
            decided = decide(speech, image, threshold=0)
            heard, seen = (EMOTIONS[probs.index(max(probs))] for probs in (speech, image))
            self.judged[heard, seen, decided.label, bisect_right(THRESHOLDS, decided.confidence)] += 1
        if example.reason:
            self.rejected[example.reason] += 1
            return
        self.kept[tuple(getattr(example, name) for name in _KEYS)] += 1
        # The tiny addition: 0.55 in 32 bits belongs into the bin that begins there.
        place = min(int(example.confidence * _CONFIDENCE_BINS + 1e-6), _CONFIDENCE_BINS - 1)
        self.confidences[example.label_source, place] += 1
        self.lengths[min(int(example.duration_s / _BIN_S), _LAST_BIN)] += 1
        self.duration_s += example.duration_s
        self.shortest_s = min(self.shortest_s, example.duration_s)
        self.longest_s = max(self.longest_s, example.duration_s)

    def __add__(self, other: Counts) -> Counts:
        both = ((item.name, getattr(self, item.name), getattr(other, item.name)) for item in fields(self))
        return Counts(**{name: _JOINED_BY.get(name, add)(own, theirs) for name, own, theirs in both})

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON; the inverse of `from_record`."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: sorted(n.items()) if isinstance(n, Counter) else n for name, n in found.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the counts that `to_record` wrote."""

        def counter(items: list[Any]) -> Counter[Any]:
            return Counter({tuple(key) if isinstance(key, list) else key: n for key, n in items})

        values: dict[str, Any] = {k: counter(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**values)

    def by(self, name: str) -> dict[str, int]:
        """Return {value: kept rows} of a column of `kept`, sorted."""
        found, place = Counter[str](), _KEYS.index(name)
        for key, n in self.kept.items():
            found[key[place]] += n
        return dict(sorted(found.items()))

    def facts(self, labels: str, rule: str) -> dict[str, Any]:
        """Return what `dataset.json` says of them; the threshold curve decides by the rule, `max` or `agree`."""
        curve = {threshold: dict.fromkeys(EMOTIONS, 0) for threshold in THRESHOLDS if self.judged}
        for (heard, seen, decided, n_reached), n in self.judged.items():
            for threshold in THRESHOLDS[: n_reached if rule == "max" or heard == seen else 0]:
                curve[threshold][decided] += n
        n_taught, agreed = self.judged.total(), sum(n for key, n in self.judged.items() if key[0] == key[1])
        counts = self.by("label" if labels == "emotion" else "sentiment")
        return {
            "n_read": self.n_read,
            "n_kept": self.kept.total(),
            "n_rejected": self.n_read - self.kept.total(),
            "rejected": {reason: self.rejected[reason] for reason in REASONS if reason in self.rejected},
            "class_counts": {name: counts.get(name, 0) for name in CLASSES[labels]},
            "sentiment_counts": self.by("sentiment"),
            "label_source_counts": self.by("label_source"),
            "teacher_agreement": agreed / n_taught if n_taught else None,
            "n_taught": n_taught,
            "threshold_curve": tuple((at, sum(kept.values()), kept) for at, kept in curve.items()),
            "languages": self.by("language"),
            "duration_s": self.duration_s,
        }


def tally(counts: Counts, labels: str) -> dict[str, Any]:
    """Return tables over the rows that were counted, which must be kept ones alone; `labels` says what a class is.

    `sources` is {class: {teacher that decided: n}}; `voices` and `languages` {each: {class: n}}; `sentiments` {the
    source's sentiment: {emotion: n}}; `named` {class that the speech teacher finds most probable: {the picture
    teacher's: n}}; `confidences` {teacher that decided: rows in each of 20 bins of the deciding probability};
    `durations` those of the utterances, percentiles to 0.05 s, and in `seconds` how many last 0 to 1 s, 1 to 2 s, ...;
    `voice_association` Cramer's V between voice and class (0 none, 1 a voice is a class); `teacher_kappa` Cohen's kappa
    between the two teachers, None without.
    """
    class_ = "label" if labels == "emotion" else "sentiment"

    def table(outer: str, inner: str, order: Sequence[str] = (), *, blank: bool = True) -> dict[str, dict[str, int]]:
        places, found = [_KEYS.index(outer), _KEYS.index(inner)], {name: Counter[str]() for name in order}
        for key, n in counts.kept.items():
            row, column = (key[place] for place in places)
            if blank or (row and column):
                found.setdefault(row, Counter())[column] += n
        return {name: dict(sorted(found[name].items())) for name in (*order, *sorted(set(found) - set(order)))}

    named = {row: dict.fromkeys(EMOTIONS, 0) for row in EMOTIONS if counts.judged}
    for (heard, seen, *_), n in counts.judged.items():
        named[heard][seen] += n
    bins = np.array([*counts.lengths], np.int64)
    seconds = np.bincount(bins // round(1 / _BIN_S), [*counts.lengths.values()]).astype(int).tolist()
    voices, lengths = table("tts_voice", class_), counts.lengths
    return {
        "n": counts.kept.total(),
        "sources": table(class_, "label_source", CLASSES[labels]),
        "voices": voices,
        "languages": table("language", class_),
        "sentiments": table("sentiment", "label", blank=False),
        "named": named,
        "confidences": {
            source: [counts.confidences[source, place] for place in range(_CONFIDENCE_BINS)]
            for source in sorted({source for source, _ in counts.confidences})
        },
        "durations": {
            "total_s": counts.duration_s,
            "shortest_s": counts.shortest_s if counts.kept else 0.0,
            "p05_s": _quantile(lengths, 0.05),
            "median_s": _quantile(lengths, 0.5),
            "p95_s": _quantile(lengths, 0.95),
            "longest_s": counts.longest_s,
            "seconds": seconds,
        },
        "voice_association": cramers_v(voices),
        "teacher_kappa": _kappa(named),
    }


def _quantile(lengths: Counter[int], part: float) -> float:
    """Return the middle of the bin that holds the quantile, in seconds."""
    reached = accumulate(n for _, n in sorted(lengths.items()))
    found = (bin_ for bin_, n in zip(sorted(lengths), reached, strict=True) if n >= part * lengths.total())
    return round((next(found) + 0.5) * _BIN_S, 3) if lengths else 0.0


def _kappa(named: Table) -> float | None:
    counts = np.array([[row[name] for name in named] for row in named.values()])
    if not counts.size:
        return None
    n, same, by_chance = counts.sum(), np.trace(counts), counts.sum(1) @ counts.sum(0)
    return float((n * same - by_chance) / (n * n - by_chance)) if n * n > by_chance else None


def cramers_v(table: Table) -> float | None:
    """Return Cramer's V of a table of counts, with the bias correction of Bergsma (2013); None where it says nothing.

    Args:
        table: {row: {column: n}}; at least two rows and two columns that are not empty.
    """
    names = sorted({name for row in table.values() for name, count in row.items() if count})
    counts = np.array([[row.get(name, 0) for name in names] for row in table.values() if any(row.values())], np.float64)
    if counts.ndim != 2 or min(counts.shape) < 2:
        return None
    n = counts.sum()
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / n
    r, k = counts.shape
    phi2 = max(0.0, float(((counts - expected) ** 2 / expected).sum()) / n - (r - 1) * (k - 1) / (n - 1))
    smaller = min(size - (size - 1) ** 2 / (n - 1) for size in (r, k)) - 1
    return math.sqrt(phi2 / smaller) if smaller > 0 else None
