"""The data set card: `README.md` of a built data set, with its figures, made from the build's own record alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from ..data.built import BuildReport
from ..data.shards import REASONS
from ..report import drawing, numbers, plots
from .inspection import inspect

PAPER_COUNTS: dict[str, int] = {"anger": 19_913, "happy": 42_958, "hate": 4_401, "sad": 13_621}
"""Samples of each class in IIT-R SIER (paper section 3.1; 80,893 in all)."""

FIGURES = "figures"
"""Folder of the card's figures, beside `data/`."""

_EXAMPLES = 3
# Of no interest, of this machine, or told elsewhere in the card.
_OWN_OPTIONS = {"out", "workers", "executor", "ray_address", "dry_run", "overwrite", "tweets", "images"}
_PATHS = ("tts_model", "label_map", "exclude", "speech_teacher", "image_teacher")
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")


def write_card(out: Path, *, report: BuildReport | None = None) -> Path:
    """Write `README.md` and its figures into a built data set and return the card's path.

    The same build gives the same bytes: nothing of the time or the place goes in.

    Args:
        out: folder that `build tweets` made.
        report: what `dataset.json` will hold, where it is not written yet; read from the folder when left out.

    Raises:
        ManifestError: no build, a build that did not finish, or shards that do not bear the record out.
    """
    found = inspect(out, examples=_EXAMPLES, report=report)
    for name, figure in _figures(found).items():
        drawing.save(figure, out / FIGURES / f"{name}.png")
    path = out / "README.md"
    path.write_text(card(found), encoding="utf-8", newline="\n")
    return path


def card(found: Mapping[str, Any]) -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        found: what the data set holds (`inspect`); every figure comes from there.
    """
    tally = found["tally"]
    # Every second of the curve's points, and the threshold that was used.
    points = {round(at, 6): n for at, _, n in found["threshold_curve"] if round(20 * at) in range(6, 19, 2)}
    points[found["threshold"]] = found["class_counts"]
    return numbers.fill(
        __package__,
        "card.md.j2",
        found=found,
        emotions=found["labels"] == "emotion",
        languages=sorted(filter(None, found["languages"])),
        size=_SIZES[min(max(len(str(found["n_kept"])) - 3, 0), len(_SIZES) - 1)],
        classes=_class_counts(found),
        paper=PAPER_COUNTS,
        reasons=REASONS,
        options={name: _said(name, found["options"][name]) for name in sorted({*found["options"]} - _OWN_OPTIONS)},
        sources=sorted({source for row in tally["sources"].values() for source in row}),
        thresholds=sorted(points.items()),
        voices=_ranked(tally["voices"], 24),
        spoken=_ranked(tally["languages"], 12),
    )


def _class_counts(found: Mapping[str, Any]) -> dict[str, int]:
    return {name: found["class_counts"].get(name, 0) for name in found["classes"]}


def _said(name: str, value: Any) -> Any:
    """Return the value of an option; of a path on this machine its last part."""
    local = name in _PATHS and isinstance(value, str) and not value.startswith(("hf:", "hf-model:"))
    return PurePath(value).name if local else value


def _ranked(table: Mapping[str, Mapping[str, int]], most: int) -> list[tuple[str, Mapping[str, int]]]:
    """Return so many rows of a table, those with the most samples first, and the others as one."""
    rows = sorted(table.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    others = sum((Counter(row) for _, row in rows[most:]), Counter[str]())
    return [*rows[:most], *([(f"{len(rows) - most:,} others", others)] if others else [])]


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return every figure that the card shows, by its name."""
    emotions, classes, tally = found["labels"] == "emotion", found["classes"], found["tally"]
    figures = {
        "classes": plots.class_shares(_class_counts(found), PAPER_COUNTS if emotions else None),
        "durations": plots.durations(tally["durations"]["seconds"]),
    }
    if emotions and found["threshold_curve"]:
        figures["threshold"] = plots.threshold_curve(
            found["threshold_curve"], found["threshold"], found["n_kept"], classes
        )
    if emotions and tally["named"]:
        figures["teachers"] = plots.teacher_table(tally["named"], classes)
        figures["confidences"] = plots.confidences(tally["confidences"], found["threshold"])
    return figures
