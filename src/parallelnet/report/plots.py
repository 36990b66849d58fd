"""Figures from results: confusion matrix, reliability diagram, training curves.

Every function returns a matplotlib `Figure` that belongs to nobody else: no pyplot, no window, no global state.
Colours are told apart by people with any colour vision (Okabe and Ito 2008), matrices are one hue from light to dark.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..records import harmless

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
_CYCLE = (BLUE, ORANGE, GREEN, PURPLE)
_DPI = 150


class Measured(Protocol):
    """What the figures need of `evaluation.Metrics`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the matrix."""

    @property
    def n(self) -> int:
        """Samples."""

    @property
    def accuracy(self) -> float:
        """Part that is right."""

    @property
    def ece(self) -> float:
        """Expected calibration error."""

    @property
    def confusion_matrix(self) -> tuple[tuple[int, ...], ...]:
        """Counts; rows are the true class."""

    @property
    def reliability(self) -> tuple[tuple[int, float, float], ...]:
        """Samples, mean confidence and accuracy of each confidence bin."""


def confusion_matrix(metrics: Measured, ax: Axes | None = None) -> Figure:
    """Return the confusion matrix (paper Fig. 3): each cell the part of its true class, and the count.

    Args:
        metrics: what `evaluation.evaluate` gave.
        ax: where to draw; None makes a figure.
    """
    n_classes = len(metrics.classes)
    ax = ax or _axes(1.9 + 0.95 * n_classes, 1.3 + 0.85 * n_classes)
    parts = [[count / max(sum(row), 1) for count in row] for row in metrics.confusion_matrix]
    picture = ax.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(metrics.confusion_matrix):
        for j, count in enumerate(row):
            colour = "white" if parts[i][j] > 0.55 else "black"
            text = f"{parts[i][j]:.0%}\n{count:,}" if sum(row) else "-"
            ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=9, linespacing=1.3)
    ax.set_xticks(range(n_classes), metrics.classes)
    ax.set_yticks(range(n_classes), metrics.classes)
    ax.set(xlabel="predicted", ylabel="true", title=f"accuracy {metrics.accuracy:.1%}, n = {metrics.n:,}")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    # Thin white lines between cells, so that neighbours of one shade stay apart.
    ax.set_xticks([k + 0.5 for k in range(n_classes - 1)], minor=True)
    ax.set_yticks([k + 0.5 for k in range(n_classes - 1)], minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="minor", length=0)
    bar = _figure(ax).colorbar(picture, ax=ax, shrink=0.85, label="part of the true class")
    bar.outline.set_visible(False)
    return _figure(ax)


def reliability_diagram(metrics: Measured, ax: Axes | None = None) -> Figure:
    """Return accuracy over confidence in bins, the area of a dot saying how many samples it stands for.

    Args:
        metrics: what `evaluation.evaluate` gave.
        ax: where to draw; None makes a figure.
    """
    ax = ax or _axes(4.2, 4.2)
    filled = [(n, confidence, accuracy) for n, confidence, accuracy in metrics.reliability if n]
    counts, confidences, accuracies = zip(*filled, strict=True)
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated")
    ax.vlines(confidences, confidences, accuracies, color=ORANGE, linewidth=2, label="gap")
    sizes = [20 + 280 * n / max(counts) for n in counts]
    ax.scatter(confidences, accuracies, sizes, color=BLUE, edgecolors="white", zorder=3, label="_")
    ax.scatter([], [], 50, color=BLUE, label="bin (area: samples)")  # one size in the legend, whatever the bins
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", xlabel="confidence", ylabel="accuracy")
    ax.set_title(f"calibration error {metrics.ece:.3f}, n = {metrics.n:,}")
    ax.legend(loc="upper left", frameon=False)
    _tidy(ax)
    return _figure(ax)


def training_curves(rows: Sequence[Mapping[str, object]], title: str = "") -> Figure:
    """Return losses on the left and scores on the right over epochs, training dashed, validation solid.

    Args:
        rows: of a training log, with `epoch` and columns like `train_loss` or `validation_accuracy`; numbers or their
            text, and nothing (None, "", NaN) where a row does not have one. Rows of one epoch are joined.
        title: above both.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves = _curves(rows)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss_ax, score_ax = figure.subplots(1, 2)
    kinds = list(dict.fromkeys(name.split("_", 1)[-1] for name in curves))
    scores = [kind for kind in kinds if not kind.endswith("loss")]
    for name, points in curves.items():
        part, _, kind = name.partition("_")
        is_loss = kind.endswith("loss")
        colour = BLUE if is_loss else _CYCLE[scores.index(kind) % len(_CYCLE)]
        style = {"linestyle": "--", "alpha": 0.7} if part == "train" else {"marker": "o", "markersize": 3}
        ax = loss_ax if is_loss else score_ax
        label = f"{part} {kind}".replace("_", " ")
        ax.plot(list(points), list(points.values()), color=colour, label=label, **style)
    loss_ax.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    lowest = min(
        (value for name, points in curves.items() if not name.endswith("loss") for value in points.values()), default=0
    )
    score_ax.set(xlabel="epoch", ylabel="score", ylim=(min(0, lowest), 1))  # kappa may be below 0
    for ax in (loss_ax, score_ax):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if ax.lines:
            ax.legend(frameon=False, fontsize=8, ncols=1 + (len(ax.lines) > 4))
        _tidy(ax)
    if title:
        figure.suptitle(title)
    return figure


def save_confusion(metrics: Measured, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write `confusion.png` and `confusion.csv` into a folder, made where it is missing, and return their paths."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    table = target / "confusion.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        names = list(map(harmless, metrics.classes))
        writer.writerow(["true \\ predicted", *names])
        writer.writerows([name, *row] for name, row in zip(names, metrics.confusion_matrix, strict=True))
    return _save(confusion_matrix(metrics), target / "confusion.png"), table


def save_training_curves(rows: Sequence[Mapping[str, object]], folder: str | os.PathLike[str], title: str = "") -> Path:
    """Write `training.png` into a folder, made where it is missing, and return its path."""
    return _save(training_curves(rows, title), Path(folder) / "training.png")


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the date and the version in it, the same result is the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    return path


def _axes(width: float, height: float) -> Axes:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def _curves(rows: Sequence[Mapping[str, object]]) -> dict[str, dict[float, float]]:
    """Return for each `train_*` and `validation_*` column its values by epoch."""
    curves: dict[str, dict[float, float]] = {}
    for row in rows:
        epoch = _number(row.get("epoch"))
        for name, value in row.items():
            number = _number(value)
            if name.startswith(("train_", "validation_")) and not math.isnan(epoch) and not math.isnan(number):
                curves.setdefault(name, {})[epoch] = number
    return curves


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
