"""What a built data set holds, counted anew, with examples by a fixed rule.

The rule for what is shown: the smallest SHA-256 of their ids in each class, the classes taking turns. It looks like
chance, needs no seed, and does not depend on shards, so the same data set always shows the same rows.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..data.built import DATASET_JSON, BuildReport, read_report, refuse_damaged
from ..data.shards import Example, read_rows, read_shard
from ..errors import ManifestError
from .counts import Counts, tally


def inspect(out: Path, *, examples: int = 3, report: BuildReport | None = None) -> dict[str, Any]:
    """Return what a built data set holds, for the terminal, for JSON and for its card.

    That is `dataset.json`, and `name`, `classes` in index order, `tally` (see `counts.tally`) and `examples`. Its files
    must be those that were built, and are counted anew.

    Args:
        out: folder that `build tweets` made.
        examples: rows to show of each class.
        report: what `dataset.json` will hold, where it is not written yet.

    Raises:
        ManifestError: no build, a build that did not finish, or files that are missing or not what was built.
    """
    if report is None:  # else the files were written a moment ago
        report = read_report(out)
        refuse_damaged(out, report.damaged(out))
    counts, shards = Counts(), report.paths(out)
    for shard in shards:
        for example in read_shard(shard, with_bytes=False):
            counts.add(example)
    if counts.n_kept != report.n_kept:
        raise ManifestError(
            f"The shards of {out} hold {counts.n_kept:,} rows, but {DATASET_JSON} says {report.n_kept:,}. "
            "Mend: copy the folder again, or build again with --overwrite."
        )
    shown = [
        {
            "id": row.id,
            "label": class_of(row, report.labels),
            "spoken_text": row.spoken_text,
            "source": row.label_source,
            "confidence": row.confidence,
            "voice": row.tts_voice,
            "language": row.language,
            "duration_s": row.duration_s,
        }
        for row in load(shards, choose(shards, report, examples * len(report.classes)), with_bytes=False)
    ]
    shown.sort(key=lambda example: report.classes.index(str(example["label"])))
    own = {"name": report.name, "classes": list(report.classes), "tally": tally(counts, report.labels)}
    return {**asdict(report), **own, "examples": shown}


def class_of(row: Example, labels: str) -> str:
    """Return the class of a row, where `labels` (`emotion` or `sentiment`) are learnt."""
    return row.label if labels == "emotion" else row.sentiment


def choose(shards: Sequence[Path], report: BuildReport, n: int) -> tuple[str, ...]:
    """Return the ids of at most `n` rows to show, in the order of showing."""
    # As a heap of the negated digest the largest is at hand, to be pushed out: memory for n ids a class.
    best: dict[str, list[tuple[int, str]]] = {name: [] for name in report.classes}
    for path in shards if n else ():
        for record in read_rows(path, ("id", report.labels.replace("emotion", "label"))):
            id_, name = record.values()
            if name in best:  # rows of no class are never chosen
                digest = -int.from_bytes(hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest()[:16])
                (heapq.heappush if len(best[name]) < n else heapq.heappushpop)(best[name], (digest, id_))
    ranked = [[id_ for _, id_ in sorted(heap, reverse=True)] for heap in best.values()]
    return tuple(id_ for turn in zip_longest(*ranked) for id_ in turn if id_ is not None)[:n]


def load(shards: Sequence[Path], ids: Sequence[str], *, with_bytes: bool) -> Iterator[Example]:
    """Yield the rows with these ids, in the order of the ids, with their sound and picture or without."""
    wanted = set(ids)
    found: dict[str, Example] = {}
    for path in shards if wanted else ():
        # Most shards of a large data set hold none of them: their sounds and pictures are not read at all.
        if any(record["id"] in wanted for record in read_rows(path, ("id",))):
            found |= {row.id: row for row in read_shard(path, with_bytes=with_bytes) if row.id in wanted}
    yield from (found[id_] for id_ in ids)
