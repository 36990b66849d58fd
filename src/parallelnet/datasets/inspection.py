"""A built data set as people see it: counted anew, with examples by a fixed rule, and as a page to mark rows in.

The rule for what is shown: the smallest SHA-256 of their ids in each class, the classes taking turns. It looks like
chance, needs no seed, and does not depend on shards, so the same data set always shows the same rows.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .. import image
from ..data.built import DATASET_JSON, BuildReport, read_report, refuse_damaged
from ..data.shards import REJECTED_COLUMNS, Example, read_rows, read_shard
from ..errors import InputError, ManifestError
from ..options import LimitOptions
from ..report import gallery
from .counts import Counts, Tally, tally

GALLERY_ROWS = 60
"""Rows of `gallery.html`, as long as they fit into it."""

GALLERY_BYTES = 14_000_000
"""Largest page: what a browser opens and a mail program sends without complaint."""

_EXCLUDED = 20_000  # ids of earlier marks that a page carries along


@dataclass(frozen=True, slots=True)
class ShownExample:
    """One row that was kept: its class, what is spoken by which voice, and who decided the class, how surely."""

    id: str
    label: str
    spoken_text: str
    source: str
    confidence: float
    voice: str
    language: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a built data set holds, as one record: for the terminal, for machines, and for its card.

    Attributes:
        report: `dataset.json`.
        tally: what was counted in the shards.
        examples: of each class, by a fixed rule.
    """

    report: BuildReport
    tally: Tally
    examples: tuple[ShownExample, ...]

    @property
    def name(self) -> str:
        """Name of the input without its ending."""
        return self.report.name

    @property
    def classes(self) -> tuple[str, ...]:
        """In index order."""
        return self.report.classes

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON: `dataset.json`, and `name`, `classes`, `tally`, `examples`."""
        own = {"name": self.name, "classes": list(self.classes), "tally": asdict(self.tally)}
        return {**asdict(self.report), **own, "examples": [asdict(example) for example in self.examples]}

    def to_json(self) -> str:
        """Return the record as one JSON object."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def inspect(out: Path, *, examples: int = 3, report: BuildReport | None = None) -> Inspection:
    """Return what a built data set holds; its files must be those that were built, and are counted anew.

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
    rows = load(shards, choose(shards, report, examples * len(report.classes)), with_bytes=False)
    shown = [
        ShownExample(
            id=row.id,
            label=_class_of(row, report),
            spoken_text=row.spoken_text,
            source=row.label_source,
            confidence=row.confidence,
            voice=row.tts_voice,
            language=row.language,
            duration_s=row.duration_s,
        )
        for row in rows
    ]
    shown.sort(key=lambda example: report.classes.index(example.label))
    return Inspection(report, tally(counts, report.labels), tuple(shown))


def _class_of(row: Example, report: BuildReport) -> str:
    return row.label if report.labels == "emotion" else row.sentiment


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


def write_gallery(out: Path, *, report: BuildReport | None = None) -> Path:
    """Write `gallery.html`, a page of rows to look at, listen to and mark, spread over the classes; return its path.

    Arguments and errors are those of `inspect`.
    """
    report = report or read_report(out)
    shards = report.paths(out)
    limits = LimitOptions(max_pixels=int(report.options.get("max_pixels", LimitOptions().max_pixels)))
    rows = load(shards, choose(shards, report, GALLERY_ROWS), with_bytes=True)
    rejected = read_rows(out / "rejected.parquet", ("id", "reason"), REJECTED_COLUMNS)
    excluded = [record["id"] for record in rejected if record["reason"] == "excluded"]
    return gallery.write(
        out / "gallery.html",
        gallery.within((_card(row, report, limits) for row in rows), GALLERY_BYTES),
        title=f"{report.name}: speech + picture {report.labels}",
        classes=report.classes,
        fingerprint=report.fingerprint,
        n_kept=report.n_kept,
        excluded=tuple(excluded) if len(excluded) <= _EXCLUDED else (),
    )


def _card(row: Example, report: BuildReport, limits: LimitOptions) -> gallery.GalleryRow:
    try:
        picture = gallery.picture_uri(image.read(row.image, limits=limits))
    except InputError:  # it was read when the set was built; a newer Pillow may think otherwise
        picture = ""
    return gallery.GalleryRow(
        id=row.id,
        label=_class_of(row, report),
        text=row.text,
        words=row.word_times or tuple((word, 0.0, 0.0) for word in row.spoken_text.split()),
        picture=picture,
        sound=gallery.sound_uri(row.speech, row.duration_s) if row.speech else "",
        duration_s=row.duration_s,
        voice=row.tts_voice,
        language=row.language,
        sentiment=row.sentiment,
        speech_probs=row.speech_probs,
        image_probs=row.image_probs,
        source=row.label_source,
        confidence=row.confidence,
    )
