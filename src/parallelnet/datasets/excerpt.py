"""Rows of a built data set that are shown to people: chosen by a fixed rule, spread over the classes.

The rule: the smallest SHA-256 of their ids in each class, the classes taking turns. It looks like chance, needs no
seed, and does not depend on shards, so the same data set always shows the same rows.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from .draft import Draft
from .shards import read_shard
from .tally import batches


def choose(shards: Sequence[Path], classes: Sequence[str], labels: str, n: int, skip: int = 0) -> tuple[str, ...]:
    """Return the ids of rows to show, at most `n`, in the order of showing.

    Args:
        shards: Parquet files of a build.
        classes: that take turns; rows of none of them are never chosen.
        labels: `emotion` or `sentiment`: which column is the class.
        n: how many.
        skip: how many to leave out at the front: those of earlier pages.

    Raises:
        ManifestError: a shard is missing, cut off, or lacks a column.
    """
    # As a heap of the negated digest the largest is at hand, to be pushed out: memory for n + skip ids a class.
    best: dict[str, list[tuple[int, str]]] = {name: [] for name in classes}
    column = "label" if labels == "emotion" else "sentiment"
    for batch in batches(shards, ("id", column)) if n + skip else ():
        for id_, name in zip(batch.column("id").to_pylist(), batch.column(column).to_pylist(), strict=True):
            heap = best.get(name)
            if heap is None:
                continue
            digest = -int.from_bytes(hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest()[:16])
            (heapq.heappush if len(heap) < n + skip else heapq.heappushpop)(heap, (digest, id_))
    ranked = [[id_ for _, id_ in sorted(heap, reverse=True)] for heap in best.values()]
    turns = [id_ for turn in zip_longest(*ranked) for id_ in turn if id_ is not None]
    return tuple(turns[skip : skip + n])


def load(shards: Sequence[Path], ids: Sequence[str], *, signals: bool = False) -> Iterator[Draft]:
    """Yield the rows with these ids, in the order of the ids.

    Args:
        shards: Parquet files of a build.
        ids: that stand in them.
        signals: with their sound and picture.

    Raises:
        ManifestError: a shard is missing, cut off, or lacks a column.
    """
    wanted = set(ids)
    found: dict[str, Draft] = {}
    for path in shards if wanted else ():
        # Most shards of a large data set hold none of them: their sounds and pictures are not read at all.
        if any(wanted.intersection(batch.column("id").to_pylist()) for batch in batches([path], ("id",))):
            found |= {row.id: row for row in read_shard(path, with_bytes=signals) if row.id in wanted}
    yield from (found[id_] for id_ in ids)
