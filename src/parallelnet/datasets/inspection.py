"""What a built data set holds, as one record: for the terminal, for machines, and for its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from ..errors import ManifestError
from ..types import EMOTIONS, SENTIMENTS
from . import excerpt
from .draft import Draft
from .record import DATASET_JSON, WORK, BuildReport, read_report
from .shards import refuse_damaged
from .tally import Tally, tally


@dataclass(frozen=True, slots=True)
class Example:
    """One row that was kept, without sound and picture.

    Attributes:
        id: of the row.
        label: its class.
        spoken_text: what is spoken.
        source: who decided the label.
        confidence: the deciding probability.
        voice: that spoke.
        language: ISO 639-1, or "".
        duration_s: of the speech.
    """

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
    """What a built data set holds.

    Attributes:
        report: `dataset.json`.
        tally: what was counted in the shards.
        examples: of each class, by a fixed rule.
    """

    report: BuildReport
    tally: Tally
    examples: tuple[Example, ...]

    @property
    def name(self) -> str:
        """Name of the input without its ending."""
        return name_of(self.report)

    @property
    def classes(self) -> tuple[str, ...]:
        """In index order."""
        return classes_of(self.report)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON: `dataset.json`, and `name`, `classes`, `tally`, `examples`."""
        tallied = asdict(self.tally) | {
            "voice_association": self.tally.voice_association,
            "teacher_kappa": self.tally.teacher_kappa,
        }
        own = {"name": self.name, "classes": list(self.classes), "tally": tallied}
        return {**self.report.to_dict(), **own, "examples": [asdict(example) for example in self.examples]}

    def to_json(self) -> str:
        """Return the record as one JSON object."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def inspect(out: Path, *, examples: int = 3, manifest: Mapping[str, Any] | None = None) -> Inspection:
    """Return what a built data set holds; its files must be those that were built, and are counted anew.

    Args:
        out: folder that `build tweets` made.
        examples: rows to show of each class.
        manifest: what `dataset.json` will hold, where it is not written yet; read from the folder when left out.

    Raises:
        ManifestError: no build, a build that did not finish, or files that are missing or not what was built.
    """
    report = open_report(out, manifest)
    if manifest is None:  # else they were written a moment ago
        refuse_damaged(out, report.files_sha256())
    classes = classes_of(report)
    shards = shard_paths(out, report)
    counted = tally(shards, classes, report.labels)
    if counted.n != report.n_kept:
        raise ManifestError(
            f"The shards of {out} hold {counted.n:,} rows, but {DATASET_JSON} says {report.n_kept:,}. "
            "Mend: copy the folder again, or build again with --overwrite."
        )
    ids = excerpt.choose(shards, classes, report.labels, examples * len(classes))
    shown = (_example(row, report.labels) for row in excerpt.load(shards, ids))
    return Inspection(report, counted, tuple(sorted(shown, key=lambda example: classes.index(example.label))))


def open_report(out: Path, manifest: Mapping[str, Any] | None = None) -> BuildReport:
    """Return the record of a built data set.

    Args:
        out: its folder.
        manifest: what `dataset.json` will hold, where it is not written yet.

    Raises:
        ManifestError: no folder, no build, a build that did not finish, or one of another make.
    """
    if manifest is not None:
        return BuildReport.from_json(json.dumps(dict(manifest)))
    if not out.is_dir():
        what = "is a file" if out.exists() else "does not exist"
        raise ManifestError(f"{out} {what}. Needed: the folder that `build tweets --out` made.")
    path = out / DATASET_JSON
    if not path.is_file():
        if (out / WORK).is_dir() or (out / "data").is_dir():
            raise ManifestError(
                f"The build in {out} did not finish: {DATASET_JSON}, which is written last, is missing. "
                "Mend: start the same `build tweets` again; it goes on where it stopped."
            )
        raise ManifestError(
            f"{out} is no built data set: it has no {DATASET_JSON}. Needed: the folder that `build tweets --out` made."
        )
    return read_report(out)


def name_of(report: BuildReport) -> str:
    """Return the name of the input without its ending."""
    name = str(report.input.get("name", ""))
    return PurePath(name).stem or name or "tweets"


def classes_of(report: BuildReport) -> tuple[str, ...]:
    """Return the classes of a data set in index order."""
    return EMOTIONS if report.labels == "emotion" else SENTIMENTS


def shard_paths(out: Path, report: BuildReport) -> list[Path]:
    """Return the shards of a data set, in order."""
    return [out / "data" / str(shard["name"]) for shard in report.shards]


def _example(row: Draft, labels: str) -> Example:
    return Example(
        id=row.id,
        label=row.label if labels == "emotion" else row.sentiment,
        spoken_text=row.spoken_text,
        source=row.label_source,
        confidence=row.confidence,
        voice=row.tts_voice,
        language=row.language,
        duration_s=row.duration_s,
    )
