"""Predictions and explanations as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..explained import Explanation
    from ..types import Prediction


def show_prediction(prediction: Prediction) -> None:
    """Print a prediction as the command line does."""
    print(f"{prediction.emotion}  ({prediction.probs[prediction.emotion]:.0%})\n")
    rows = [["", *prediction.probs], [" + ".join(prediction.modalities), *_figures(prediction.probs)]]
    rows += [[f"{name} alone", *_figures(probs)] for name, probs in prediction.alone.items()]
    table(rows)
    print(f"\n90 % set    {', '.join(prediction.conformal_set)}{'  (uncertain)' if prediction.uncertain else ''}")
    if prediction.face is not None:
        left, top, width, height = prediction.face.box
        print(f"face       {prediction.face.status}: {width} x {height} pixels at {left}, {top}")
    print(f"checkpoint {prediction.checkpoint}")
    for warning in prediction.warnings:
        print(f"note       {warning}")


def show_explanation(explanation: Explanation) -> None:
    """Print an explanation of its target: the modalities, the eight largest units, what it cost, and the notes."""
    values = explanation.of_target
    predicted = "" if explanation.target == explanation.emotion else f" (predicted: {explanation.emotion})"
    start = f"{values.base:.3f} with nothing present"
    print(f"{explanation.target}{predicted}: {explanation.score} {values.full:.3f}, from {start}\n")
    pair = len(explanation.modalities) > 1
    rows = [["", "value", *(["without the other"] if pair else [])]]
    for name in explanation.modalities:
        value, alone = (getattr(values, part) for part in (name, f"{name}_alone"))
        rows.append([name, f"{value:+.3f}", *([f"{alone - values.base:+.3f}"] if pair else [])])
    if pair:
        # Below 0 where each alone says much of the same.
        rows.append(["only together", f"{values.synergy:+.3f}", ""])
    table(rows)
    print()
    table([[f"{modality}: {name}", f"{value:+.3f}"] for modality, name, value in explanation.top(8)])
    if explanation.heard is not None:
        label = "heard" if explanation.heard_by else "kept words"
        print(f"\n{label:<11}{' '.join(explanation.heard) or '(nothing)'}")
    cost = explanation.budget
    passes = cost.joint_passes or cost.speech_passes + cost.image_passes
    saved = f" ({cost.passes_saved:,} of them saved)" if cost.passes_saved else ""
    print(f"\nmethod     {explanation.method}: {passes:,} passes{saved}, {cost.head_evaluations:,} head rows")
    print(f"gap        {values.efficiency_gap:.6f} between the sum of all values and the whole way")
    agreeing = [each.rank_correlation for each in explanation.sensitivity if each.rank_correlation is not None]
    if agreeing:
        said = f"{min(agreeing):.2f} to {max(agreeing):.2f} over {len(agreeing)} other pairs of baselines"
        print(f"baselines  rank correlation of the values {said}")
    for warning in explanation.warnings:
        print(f"note       {warning}")


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: the first left-aligned, the others right-aligned."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


def _figures(probs: Mapping[str, float]) -> list[str]:
    return [f"{p:.3f}" for p in probs.values()]
