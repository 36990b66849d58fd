"""Figures of results and of built data sets: confusion, reliability, training; classes, thresholds, teachers, lengths.

Every function returns a matplotlib `Figure` that belongs to nobody else: no pyplot, no window, no global state.
Colours are told apart by people with any colour vision (Okabe and Ito 2008), matrices are one hue from light to dark.
"""

from __future__ import annotations

import csv
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..records import harmless
from .drawing import DARK, PALE, paint, save, table
from .drawing import GREY as GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..evaluation import Metrics

Counts = Mapping[str, int]

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_DECIDED = {"speech": BLUE, "image": ORANGE}
# Stacked in this order, neighbours differ in lightness too, so that they stay apart in grey.
_CLASSES = (BLUE, "#56B4E9", ORANGE, "#E69F00", GREEN, PURPLE)


# --- of metrics and training ------------------------------------------------------------------------------------------


def confusion_matrix(metrics: Metrics) -> Figure:
    """Return the confusion matrix (paper Fig. 3): each cell the part of its true class, and the count.

    Args:
        metrics: what `evaluation.evaluate` gave.
    """
    from matplotlib.cm import ScalarMappable

    n, counts = len(metrics.classes), np.array(metrics.confusion_matrix)
    figure, ax = _figure(1.9 + 0.95 * n, 1.3 + 0.85 * n)
    blues = ScalarMappable(cmap="Blues")
    blues.set_clim(0, 1)
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    said = [[f"{parts[i, j]:.0%}\n{counts[i, j]:,}" if any(counts[i]) else "-" for j in range(n)] for i in range(n)]
    table(ax, paint(blues, parts), said, metrics.classes, metrics.classes)
    ax.set(xlabel="predicted", ylabel="true", title=f"accuracy {metrics.accuracy:.1%}, n = {metrics.n:,}")
    # Thin white lines between cells, so that neighbours of one shade stay apart.
    between = np.arange(n - 1) + 0.5
    ax.vlines(between, -0.5, n - 0.5, color="white", linewidth=2)
    ax.hlines(between, -0.5, n - 0.5, color="white", linewidth=2)
    figure.colorbar(blues, ax=ax, shrink=0.85, label="part of the true class").outline.set_visible(False)
    return figure


def reliability_diagram(metrics: Metrics, ax: Axes) -> None:
    """Draw accuracy over confidence in bins, the area of a dot saying how many samples it stands for.

    Args:
        metrics: what `evaluation.evaluate` gave.
        ax: where to draw.
    """
    counts, confidences, accuracies = zip(*(each for each in metrics.reliability if each[0]), strict=True)
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated")
    ax.vlines(confidences, confidences, accuracies, color=ORANGE, linewidth=2, label="gap")
    sizes = [20 + 280 * n / max(counts) for n in counts]
    ax.scatter(confidences, accuracies, sizes, color=BLUE, edgecolors="white", zorder=3, label="_")
    ax.scatter([], [], 50, color=BLUE, label="bin (area: samples)")  # one size in the legend, whatever the bins
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", xlabel="confidence", ylabel="accuracy")
    ax.set_title(f"calibration error {metrics.ece:.3f}, n = {metrics.n:,}")
    ax.legend(loc="upper left", frameon=False)
    tidy(ax, "both")


def training_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return losses on the left and scores on the right over epochs, training dashed, validation solid.

    Args:
        rows: of a training log, with `epoch` and columns like `train_loss` or `validation_accuracy`; numbers or their
            text, and nothing (None, "", NaN) where a row does not have one. Rows of one epoch are joined.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves: dict[str, dict[float, float]] = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith(("train_", "validation_")) and value not in (None, "") and not math.isnan(float(value)):
                curves.setdefault(name, {})[float(row["epoch"])] = float(value)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss_ax, score_ax = figure.subplots(1, 2)
    kinds = dict.fromkeys(name.partition("_")[2] for name in curves)
    cycle = itertools.cycle((BLUE, ORANGE, GREEN, PURPLE))
    colours = {kind: BLUE if kind.endswith("loss") else next(cycle) for kind in kinds}
    for name, points in curves.items():
        part, _, kind = name.partition("_")
        style = {"linestyle": "--", "alpha": 0.7} if part == "train" else {"marker": "o", "markersize": 3}
        ax = loss_ax if kind.endswith("loss") else score_ax
        label = name.replace("_", " ")
        ax.plot(list(points), list(points.values()), color=colours[kind], label=label, **style)
    loss_ax.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    lowest = min((min(line.get_ydata()) for line in score_ax.lines), default=0.0)
    score_ax.set(xlabel="epoch", ylabel="score", ylim=(min(0.0, lowest), 1))  # kappa may be below 0
    for ax in (loss_ax, score_ax):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if ax.lines:
            ax.legend(frameon=False, fontsize=8, ncols=1 + (len(ax.lines) > 4))
        tidy(ax, "both")
    return figure


def save_confusion(metrics: Metrics, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write `confusion.png` and `confusion.csv` into a folder, made where it is missing, and return their paths."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    table, names = target / "confusion.csv", list(map(harmless, metrics.classes))
    rows = [[name, *row] for name, row in zip(names, metrics.confusion_matrix, strict=True)]
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([["true \\ predicted", *names], *rows])
    return save(confusion_matrix(metrics), target / "confusion.png"), table


def save_training_curves(rows: Sequence[Mapping[str, Any]], folder: str | os.PathLike[str]) -> Path:
    """Write `training.png` into a folder, made where it is missing, and return its path."""
    return save(training_curves(rows), Path(folder) / "training.png")


# --- of a built data set ----------------------------------------------------------------------------------------------


def class_shares(counts: Counts, paper: Counts | None = None) -> Figure:
    """Return the share of each class, beside the paper's data set where its counts are given.

    Args:
        counts: {class: n} in the order in which they are drawn, from above.
        paper: the paper's, with the same classes.
    """
    names, sets = list(counts), [("this data set", BLUE, counts), ("the paper's", "#999999", paper or {})]
    n_sets = 2 if paper else 1
    figure, ax = _figure(6.4, 1.1 + (0.2 + 0.21 * n_sets) * len(names))
    for k, (label, colour, of) in enumerate(sets[:n_sets]):
        total = sum(of.values())
        shares = [of.get(name, 0) / max(total, 1) for name in names]
        places = np.arange(len(names)) + (0.38 * k - 0.19 if paper else 0.0)
        bars = ax.barh(places, shares, 0.76 / n_sets, color=colour, label=f"{label}, {total:,}")
        said = [f"{share:.1%}  ({of.get(name, 0):,})" for name, share in zip(names, shares, strict=True)]
        ax.bar_label(bars, said, padding=4, fontsize=8.5)
    ax.set_yticks(range(len(names)), [name or "(none)" for name in names])
    ax.invert_yaxis()
    ax.margins(x=0.3)
    ax.set(xlim=(0, max(ax.get_xlim()[1], 0.01)), xlabel="share of the samples")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if paper:
        ax.legend(frameon=False, fontsize=8.5, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0)
    return _told(figure, ax, "Classes", "x")


def threshold_curve(
    curve: Sequence[tuple[float, int, Counts]], threshold: float, n_kept: int, classes: Sequence[str]
) -> Figure:
    """Return how many samples of each class a threshold would keep, stacked, and the threshold that was taken.

    Args:
        curve: (threshold, samples kept, {class: samples kept}), thresholds rising.
        threshold: the one that was taken; it need not stand in the curve.
        n_kept: what it kept.
        classes: from below to above.
    """
    figure, ax = _figure(6.4, 3.4)
    at = [point[0] for point in curve]
    layers = [[point[2].get(name, 0) for point in curve] for name in classes]
    colours = [_CLASSES[k % len(_CLASSES)] for k in range(len(classes))]
    ax.stackplot(at, layers, labels=classes, colors=colours, edgecolor="white", linewidth=0.8)
    ax.axvline(threshold, color="black", linestyle="--", linewidth=1.2)
    top = max(n_kept, 1, *(point[1] for point in curve))
    ax.annotate(
        f"{threshold:g}: {n_kept:,} kept", (threshold, top * 1.04), (4, 0), textcoords="offset points", fontsize=8.5
    )
    # The largest of n probabilities is at least 1 / n: further down nothing happens.
    left = min(threshold, max(at[0], 0.9 / len(classes)))
    ax.set(xlim=(left, max(threshold, at[-1])), ylim=(0, top * 1.12), xlabel="threshold of the deciding probability")
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _told(figure, ax, "What a threshold keeps")


def teacher_table(named: Mapping[str, Counts], classes: Sequence[str]) -> Figure:
    """Return which class the two teachers find most probable, as a table of counts, agreement on the diagonal.

    Args:
        named: {the speech teacher's class: {the picture teacher's: n}}.
        classes: in index order.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    n = len(classes)
    figure, ax = _figure(1.7 + 0.95 * n, 1.3 + 0.72 * n)
    counts = np.array([[named.get(row, {}).get(column, 0) for column in classes] for row in classes])
    total = max(1, counts.sum())
    said = [[f"{count:,}\n{count / total:.1%}" for count in row] for row in counts]
    table(ax, colormaps["Blues"](counts / max(1, counts.max()) / 1.15), said, classes, classes)
    for k in range(n):
        ax.add_patch(Rectangle((k - 0.46, k - 0.46), 0.92, 0.92, fill=False, edgecolor=ORANGE, linewidth=1.6))
    ax.set(xlabel="picture teacher", ylabel="speech teacher")
    ax.set_title(f"The two teachers agree on {counts.trace() / total:.1%}", **_TITLE)
    return figure


def confidences(bins: Mapping[str, Sequence[int]], threshold: float) -> Figure:
    """Return the histogram of the deciding probability, by the teacher that decided.

    Args:
        bins: {teacher: samples in each of n equal bins over [0, 1]}.
        threshold: below which nothing was kept.
    """
    figure, ax = _figure(6.4, 2.9)
    below = np.zeros(max(map(len, bins.values()), default=1))
    for name, counts in bins.items():
        label = f"{'picture' if name == 'image' else name} decided, {sum(counts):,}"
        places = (np.arange(len(counts)) + 0.5) / len(counts)
        ax.bar(places, counts, 0.92 / len(counts), below, color=_DECIDED.get(name, GREY), label=label)
        below = below + counts
    ax.axvline(threshold, color="black", linestyle="--", linewidth=1.2)
    lowest = min([*np.flatnonzero(below) / len(below), threshold])
    # Above the bars there is room for the legend.
    ax.set(xlim=(lowest - 0.02, 1.0), ylim=(0, 1.3 * max(*below, 1)), xlabel="deciding probability")
    if bins:
        ax.legend(frameon=False, fontsize=8.5, loc="upper left", ncols=len(bins))
    return _told(figure, ax, "How sure the deciding teacher was")


def durations(seconds: Sequence[int]) -> Figure:
    """Return the histogram of the lengths of the utterances.

    Args:
        seconds: how many last 0 to 1 s, 1 to 2 s, ...
    """
    figure, ax = _figure(6.4, 2.6)
    ax.bar([k + 0.5 for k in range(len(seconds))], seconds, 0.9, color=BLUE)
    ax.set(xlim=(0, max(len(seconds), 1)), xlabel="length of the speech in s")
    return _told(figure, ax, "Lengths")


# --- of all -----------------------------------------------------------------------------------------------------------

_TITLE: dict[str, Any] = {"loc": "left", "fontsize": 11, "fontweight": "bold", "color": DARK}


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _told(figure: Figure, ax: Axes, title: str, lines: Literal["x", "y"] = "y") -> Figure:
    """Return a figure of samples with its title, and lines along the axis that is read."""
    if lines == "y":
        ax.set_ylabel("samples")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set_title(title, **_TITLE)
    tidy(ax, lines)
    return figure


def tidy(ax: Axes, lines: Literal["both", "x", "y"] = "both") -> None:
    """Take away what nobody reads, and draw pale lines along the axes that are read."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=lines, color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
