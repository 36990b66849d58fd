"""Predictions, explanations and data sets as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..explanation.result import Explanation
    from ..types import Prediction


def show_prediction(prediction: Prediction) -> None:
    """Print a prediction as the command line does."""
    _show("prediction.txt.j2", of=prediction, others=True)


def show_faces(predictions: Sequence[Prediction]) -> None:
    """Print the prediction of each face."""
    for prediction in predictions:
        _show("prediction.txt.j2", of=prediction, others=False)


def show_explanation(explanation: Explanation) -> None:
    """Print an explanation of its target: the modalities, the eight largest units, what it cost, and the notes."""
    _show("explanation.txt.j2", of=explanation)


def show_inspection(found: Mapping[str, Any], reasons: Mapping[str, str], paper: Mapping[str, int]) -> None:
    """Print what `datasets.inspection.inspect` found; `reasons` {reason: its meaning}, `paper` {class: samples}."""
    _show("inspection.txt.j2", found=found, reasons=reasons, paper=paper if found["labels"] == "emotion" else {})


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: the first left-aligned, the others right-aligned."""
    from .numbers import BAR, columns

    print(columns("\n".join(map(BAR.join, rows))))


def _show(template: str, **facts: Any) -> None:
    from .numbers import fill  # jinja2 only where something is shown

    print(fill(__package__, template, **facts), end="")
