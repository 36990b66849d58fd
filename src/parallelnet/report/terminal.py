"""Predictions, explanations and data sets as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..explanation.result import Explanation
    from ..types import Prediction

_LINE = 100  # characters of one


def show_prediction(prediction: Prediction) -> None:
    """Print a prediction as the command line does."""
    print(f"{prediction.emotion}  ({prediction.probs[prediction.emotion]:.0%})")
    for warning in prediction.warnings:  # right below the answer, where nobody reads past it
        print(f"note       {warning}")
    print()
    judged = {" + ".join(prediction.modalities): prediction.probs}
    judged |= {f"{name} alone": probs for name, probs in prediction.alone.items()}
    table([["", *prediction.probs], *([name, *(f"{p:.3f}" for p in probs.values())] for name, probs in judged.items())])
    print(f"\n90 % set    {', '.join(prediction.conformal_set)}{'  (uncertain)' if prediction.uncertain else ''}")
    if prediction.face is not None:
        left, top, width, height = prediction.face.box
        print(f"face       {prediction.face.status}: {width} x {height} pixels at {left}, {top}")
    if prediction.frames:
        first, *others = prediction.frames
        also = f", averaged with {', '.join(str(each.index) for each in others)}" if others else ""
        print(f"frames     {first}{also}")
    if prediction.n_windows > 1:
        print(f"windows    {prediction.n_windows}, averaged: parallelnet timeline FILE --out DIR shows them over time")
    print(f"checkpoint {prediction.checkpoint}")


def show_explanation(explanation: Explanation) -> None:
    """Print an explanation of its target: the modalities, the eight largest units, what it cost, and the notes."""
    print(_text("explanation.txt.j2", of=explanation))


def show(name: str, **facts: Any) -> None:
    """Print what the template `NAME.txt.j2` says of some facts."""
    print(_text(f"{name}.txt.j2", **facts))


def show_inspection(found: Mapping[str, Any], reasons: Mapping[str, str], paper: Mapping[str, int]) -> None:
    """Print what `datasets.inspection.inspect` found; `reasons` {reason: its meaning}, `paper` {class: samples}."""
    theirs = paper if found["labels"] == "emotion" else {}
    print(_text("inspection.txt.j2", found=found, reasons=reasons, paper=theirs))


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: the first left-aligned, the others right-aligned."""
    print(_columns("\n".join("\N{DOUBLE VERTICAL LINE}".join(row) for row in rows)))


def _columns(text: str) -> str:
    """Return lines of cells, between double vertical lines, in columns."""
    rows = [line.split("\N{DOUBLE VERTICAL LINE}") for line in text.splitlines()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _cell(text: str) -> str:
    """Return text from anywhere as one line that a terminal shows and does not obey."""
    line = "".join(each if each.isprintable() and each != "\N{DOUBLE VERTICAL LINE}" else " " for each in text)
    return line if len(line) <= _LINE else line[: _LINE - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _text(template: str, **content: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from .numbers import hours

    loader = PackageLoader("parallelnet", "report/templates")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"columns": _columns, "cell": _cell, "hours": hours}
    return environment.get_template(template).render(content).rstrip()
