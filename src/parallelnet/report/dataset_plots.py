"""Figures of a built data set: classes, threshold curve, teachers, durations.

Like `plots`: every function returns a `Figure` that belongs to nobody else, in colours that are told apart with any
colour vision; `drawing.save` writes the same figure as the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .drawing import GREY, PALE, figure_of, ink, title
from .plots import BLUE, GREEN, ORANGE, PURPLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Counts = Mapping[str, int]

_SOURCES = {"speech": BLUE, "image": ORANGE}
# Stacked in this order, neighbours differ in lightness too, so that they stay apart in grey.
_CLASSES = (BLUE, "#56B4E9", ORANGE, "#E69F00", GREEN, PURPLE)
_OTHER = "#999999"


def class_shares(counts: Counts, paper: Counts | None = None, ax: Axes | None = None) -> Figure:
    """Return the share of each class, beside the paper's data set where its counts are given.

    Args:
        counts: {class: n} in the order in which they are drawn, from above.
        paper: the paper's, with the same classes.
        ax: where to draw; None makes a figure.
    """
    names = list(counts)
    ax = ax or _axes(6.4, 1.1 + (0.62 if paper else 0.42) * len(names))
    high = 0.38 if paper else 0.62
    for shift, of, colour, label in (
        (-high / 2 if paper else 0.0, counts, BLUE, "this data set"),
        (high / 2, paper or {}, _OTHER, "the paper's"),
    ):
        total = max(sum(of.values()), 1)
        places = [k + shift for k, name in enumerate(names) if name in of]
        shares = [of[name] / total for name in names if name in of]
        bars = ax.barh(places, shares, high, color=colour, label=f"{label}, {sum(of.values()):,}")
        texts = [f"{share:.1%}  ({of[name]:,})" for name, share in zip(names, shares, strict=False)]
        ax.bar_label(bars, texts, padding=4, fontsize=8.5)
        if not paper:
            break
    ax.set_yticks(range(len(names)), [name or "(none)" for name in names])
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    top = max((n / max(sum(of.values()), 1) for of in (counts, paper or {}) for n in of.values()), default=0)
    ax.set(xlim=(0, max(top, 0.01) * 1.32), xlabel="share of the samples")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    title(ax, "Classes")
    if paper:
        ax.legend(frameon=False, fontsize=8.5, loc="lower right")
    _tidy(ax, "x")
    return figure_of(ax)


def threshold_curve(
    curve: Sequence[tuple[float, int, Counts]],
    threshold: float,
    n_kept: int,
    classes: Sequence[str],
    ax: Axes | None = None,
) -> Figure:
    """Return how many samples of each class a threshold would keep, stacked, and the threshold that was taken.

    Args:
        curve: (threshold, samples kept, {class: samples kept}), thresholds rising.
        threshold: the one that was taken; it need not stand in the curve.
        n_kept: what it kept.
        classes: from below to above.
        ax: where to draw; None makes a figure.
    """
    ax = ax or _axes(6.4, 3.4)
    at = [point[0] for point in curve]
    layers = [[point[2].get(name, 0) for point in curve] for name in classes]
    colours = [_CLASSES[k % len(_CLASSES)] for k in range(len(classes))]
    ax.stackplot(at, layers, labels=classes, colors=colours, edgecolor="white", linewidth=0.8)
    ax.axvline(threshold, color="black", linestyle="--", linewidth=1.2)
    top = max(n_kept, 1, *(point[1] for point in curve))
    # The largest of n probabilities is at least 1 / n: further down nothing happens.
    left = min(threshold, max(at[0], 0.9 / len(classes)))
    ax.annotate(
        f"{threshold:g}: {n_kept:,} kept",
        (threshold, top * 1.04),
        (4, 0),
        textcoords="offset points",
        fontsize=8.5,
        va="center",
    )
    ax.set(
        xlim=(left, max(threshold, at[-1])),
        ylim=(0, top * 1.1),
        xlabel="threshold of the deciding probability",
        ylabel="samples",
    )
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    title(ax, "What a threshold keeps")
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _tidy(ax, "y")
    return figure_of(ax)


def teacher_table(named: Mapping[str, Counts], classes: Sequence[str], ax: Axes | None = None) -> Figure:
    """Return which class the two teachers find most probable, as a table of counts, agreement on the diagonal.

    Args:
        named: {the speech teacher's class: {the picture teacher's: n}}.
        classes: in index order.
        ax: where to draw; None makes a figure.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    n_classes = len(classes)
    ax = ax or _axes(1.7 + 0.95 * n_classes, 1.3 + 0.72 * n_classes)
    counts = [[named.get(row, {}).get(column, 0) for column in classes] for row in classes]
    largest, total = max(1, *map(max, counts)), max(1, sum(map(sum, counts)))
    blues = colormaps["Blues"]
    ax.imshow([[n / largest for n in row] for row in counts], cmap=blues, vmin=0, vmax=1.15, aspect="auto")
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            said = f"{n:,}\n{n / total:.1%}"
            ax.text(j, i, said, ha="center", va="center", fontsize=8.5, color=ink(blues(n / largest / 1.15)))
        ax.add_patch(Rectangle((i - 0.46, i - 0.46), 0.92, 0.92, fill=False, edgecolor=ORANGE, linewidth=1.6))
    ax.set_xticks(range(n_classes), classes)
    ax.set_yticks(range(n_classes), classes)
    ax.set(xlabel="picture teacher", ylabel="speech teacher")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    agreed = sum(counts[k][k] for k in range(n_classes)) / total
    title(ax, f"The two teachers agree on {agreed:.1%}")
    return figure_of(ax)


def confidences(bins: Mapping[str, Sequence[int]], threshold: float, ax: Axes | None = None) -> Figure:
    """Return the histogram of the deciding probability, by the teacher that decided.

    Args:
        bins: {teacher: samples in each of n equal bins over [0, 1]}.
        threshold: below which nothing was kept.
        ax: where to draw; None makes a figure.
    """
    ax = ax or _axes(6.4, 2.9)
    below = [0.0] * max((len(counts) for counts in bins.values()), default=0)
    for name, counts in bins.items():
        width = 1 / len(counts)
        places = [(k + 0.5) * width for k in range(len(counts))]
        label = f"{'picture' if name == 'image' else name} decided, {sum(counts):,}"
        ax.bar(places, counts, 0.92 * width, below, color=_SOURCES.get(name, GREY), label=label)
        below = [a + b for a, b in zip(below, counts, strict=True)]
    ax.axvline(threshold, color="black", linestyle="--", linewidth=1.2)
    lowest = min((k / len(c) for c in bins.values() for k, n in enumerate(c) if n), default=0.0)
    ax.set(xlim=(min(lowest, threshold) - 0.02, 1.0), xlabel="deciding probability", ylabel="samples")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    title(ax, "How sure the deciding teacher was")
    if bins:
        ax.set_ylim(top=1.3 * max(*below, 1))  # room for the legend above the bars
        ax.legend(frameon=False, fontsize=8.5, loc="upper left", ncols=len(bins))
    _tidy(ax, "y")
    return figure_of(ax)


def durations(seconds: Sequence[int], ax: Axes | None = None) -> Figure:
    """Return the histogram of the lengths of the utterances.

    Args:
        seconds: how many last 0 to 1 s, 1 to 2 s, ...
        ax: where to draw; None makes a figure.
    """
    ax = ax or _axes(6.4, 2.6)
    ax.bar([k + 0.5 for k in range(len(seconds))], seconds, 0.9, color=BLUE)
    ax.set(xlim=(0, max(len(seconds), 1)), xlabel="length of the speech in s", ylabel="samples")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    title(ax, "Lengths")
    _tidy(ax, "y")
    return figure_of(ax)


def _axes(width: float, height: float) -> Axes:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def _tidy(ax: Axes, lines: str) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x" if lines == "x" else "y", color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
