"""What the shards of a built data set hold, counted in one pass whose memory does not grow with the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ManifestError
from .shards import pyarrow_parquet

Counts = Mapping[str, int]
Table = Mapping[str, Counts]

CONFIDENCE_BINS = 20
"""Equal bins of the deciding probability, over [0, 1]."""

_BIN_S = 0.05  # of the durations, for their quantiles; 5 minutes of speech are 6,000 numbers
_LONGEST_S = 3600.0
_KEYS = ("class", "label_source", "tts_voice", "language", "emotion", "sentiment")


@dataclass(frozen=True, slots=True)
class Durations:
    """Lengths of the utterances.

    Attributes:
        total_s: sum, in seconds.
        shortest_s: in seconds; 0 where there is no utterance.
        p05_s: 5th percentile, to 0.05 s.
        median_s: to 0.05 s.
        p95_s: 95th percentile, to 0.05 s.
        longest_s: in seconds.
        seconds: how many utterances last 0 to 1 s, 1 to 2 s, ...
    """

    total_s: float
    shortest_s: float
    p05_s: float
    median_s: float
    p95_s: float
    longest_s: float
    seconds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over the rows that were kept.

    Attributes:
        n: rows.
        sources: {class: {teacher that decided: n}}.
        voices: {voice: {class: n}}.
        languages: {language: {class: n}}; "" where it is not clear.
        sentiments: {sentiment of the source: {emotion: n}}, of the rows that have both.
        named: {class that the speech teacher finds most probable: {the picture teacher's: n}}.
        confidences: {teacher that decided: rows in each of `CONFIDENCE_BINS` bins of the deciding probability}.
        durations: of the utterances.
    """

    n: int
    sources: Table
    voices: Table
    languages: Table
    sentiments: Table
    named: Table
    confidences: Mapping[str, tuple[int, ...]]
    durations: Durations

    @property
    def voice_association(self) -> float | None:
        """Cramer's V between voice and class, corrected for its bias: 0 none, 1 a voice is a class."""
        return cramers_v(self.voices)

    @property
    def teacher_kappa(self) -> float | None:
        """Cohen's kappa between the two teachers over the kept rows; None without teachers."""
        n = sum(sum(row.values()) for row in self.named.values())
        same = sum(row.get(name, 0) for name, row in self.named.items())
        columns = {name: sum(row.get(name, 0) for row in self.named.values()) for name in self.named}
        by_chance = sum(sum(row.values()) * columns[name] for name, row in self.named.items())
        return (n * same - by_chance) / (n * n - by_chance) if n and n * n > by_chance else None


def tally(shards: Iterable[Path], classes: Sequence[str], labels: str) -> Tally:
    """Count the rows of shards.

    Args:
        shards: Parquet files of a build (design section 3).
        classes: of the column that is the label, in index order.
        labels: `emotion` or `sentiment`: which column that is.

    Raises:
        ManifestError: a shard is missing, cut off, or lacks a column.
    """
    column = "label" if labels == "emotion" else "sentiment"
    cells: dict[tuple[str, ...], int] = {}
    named = np.zeros((len(classes), len(classes)), np.int64)
    confidences: dict[str, npt.NDArray[np.int64]] = {}
    bins = np.zeros(round(_LONGEST_S / _BIN_S), np.int64)
    total_s, shortest_s, longest_s = 0.0, math.inf, 0.0
    probs = ("speech_probs", "image_probs")
    wanted = ("label", "sentiment", *_KEYS[1:4], "confidence", "duration_s", *probs)
    for batch in batches(shards, wanted):
        rows = {name: batch.column(name).to_pylist() for name in ("label", "sentiment", *_KEYS[1:4])}
        for key in zip(rows[column], *(rows[name] for name in (*_KEYS[1:4], "label", "sentiment")), strict=True):
            cells[key] = cells.get(key, 0) + 1
        durations = np.asarray(batch.column("duration_s"), np.float64)
        total_s += math.fsum(durations)
        shortest_s = min(shortest_s, float(durations.min(initial=math.inf)))
        longest_s = max(longest_s, float(durations.max(initial=0.0)))
        bins += np.bincount(np.minimum(durations / _BIN_S, len(bins) - 1).astype(int), minlength=len(bins))
        said = [list(map(_most_probable, batch.column(name).to_pylist())) for name in probs]
        for speech, image in zip(*said, strict=True):
            if 0 <= speech < len(classes) and 0 <= image < len(classes):
                named[speech, image] += 1
        sure = np.asarray(batch.column("confidence"), np.float64)
        # The tiny addition: 0.55 in 32 bits belongs into the bin that begins there.
        places = np.clip(sure * CONFIDENCE_BINS + 1e-6, 0, CONFIDENCE_BINS - 1).astype(int)
        for source, place in zip(rows["label_source"], places, strict=True):
            confidences.setdefault(source, np.zeros(CONFIDENCE_BINS, np.int64))[place] += 1
    n = sum(cells.values())
    return Tally(
        n=n,
        sources=_table(cells, "class", "label_source", classes),
        voices=_table(cells, "tts_voice", "class"),
        languages=_table(cells, "language", "class"),
        sentiments={key: row for key, row in _table(cells, "sentiment", "emotion", blank=False).items() if row},
        named={
            classes[i]: {classes[j]: int(named[i, j]) for j in range(len(classes))}
            for i in range(len(classes) if named.any() else 0)
        },
        confidences={source: tuple(map(int, confidences[source])) for source in sorted(confidences)},
        durations=Durations(
            total_s=total_s,
            shortest_s=shortest_s if n else 0.0,
            p05_s=_quantile(bins, 0.05),
            median_s=_quantile(bins, 0.5),
            p95_s=_quantile(bins, 0.95),
            longest_s=longest_s,
            seconds=_by_second(bins),
        ),
    )


def batches(shards: Iterable[Path], columns: Sequence[str], rows: int = 1024) -> Iterable[Any]:
    """Yield the record batches of shards, in order, with these columns alone.

    Raises:
        ManifestError: a shard is missing, cut off, or lacks a column.
        MissingExtraError: no pyarrow.
    """
    pyarrow, parquet = pyarrow_parquet()
    for path in shards:
        try:
            with parquet.ParquetFile(path) as file:
                missing = [name for name in columns if name not in file.schema_arrow.names]
                if missing:
                    raise ManifestError(f"{path} has no column {missing[0]!r}: no shard of a build. Mend: build again.")
                yield from file.iter_batches(batch_size=rows, columns=list(columns))
        except FileNotFoundError:
            raise ManifestError(f"The shard {path} is missing. Mend: build again into the same folder.") from None
        except (pyarrow.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise ManifestError(f"{path} is no whole Parquet file: {reason} Mend: build again.") from None


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


def _table(
    cells: Mapping[tuple[str, ...], int], outer: str, inner: str, order: Sequence[str] = (), *, blank: bool = True
) -> dict[str, dict[str, int]]:
    """Return {value of `outer`: {value of `inner`: n}}, both sorted; `order` names outer values that come first."""
    i, j = _KEYS.index(outer), _KEYS.index(inner)
    found: dict[str, dict[str, int]] = {name: {} for name in order}
    for key in sorted(cells, key=lambda key: (key[i] or "", key[j] or "")):
        row, column = key[i] or "", key[j] or ""
        if blank or (row and column):
            counts = found.setdefault(row, {})
            counts[column] = counts.get(column, 0) + cells[key]
    return found


def _most_probable(probs: Sequence[float] | None) -> int:
    """Return the first class of the largest probability; -1 where there are none."""
    return max(range(len(probs)), key=probs.__getitem__) if probs else -1


def _quantile(bins: npt.NDArray[np.int64], part: float) -> float:
    """Return the middle of the bin that holds the quantile."""
    if not bins.any():
        return 0.0
    place = int(np.searchsorted(np.cumsum(bins), part * int(bins.sum())))
    return round((place + 0.5) * _BIN_S, 3)


def _by_second(bins: npt.NDArray[np.int64]) -> tuple[int, ...]:
    seconds = bins.reshape(-1, round(1 / _BIN_S)).sum(1)
    return tuple(map(int, np.trim_zeros(seconds, "b")))
