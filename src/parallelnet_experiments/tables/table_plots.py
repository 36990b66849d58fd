"""Pictures of a table's result: curves, confusion matrix (Fig. 3), differences with intervals; made from the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from parallelnet.evaluation import Metrics
from parallelnet.report import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SCORES = {"accuracy": plots.BLUE, "macro_f1": plots.ORANGE, "kappa": plots.GREEN}
_SPOKEN = {"accuracy": "accuracy", "macro_f1": "macro F1", "kappa": "kappa"}
_DPI = 130
N_ACROSS = 3


def save_all(record: Mapping[str, Any], out: Path) -> tuple[Path, ...]:
    """Write what the record has figures for, and return the paths: curves.png, differences.png, confusion.png, .csv."""
    paths: list[Path] = []
    if any(not row["reason"] for row in record["rows"].values()):
        paths.append(_save(curves(record), out / "curves.png"))
    if record["differences"]:
        paths.append(_save(differences(record), out / "differences.png"))
    row = record["rows"]["parallelnet"]
    if not row["reason"]:
        paths += plots.save_confusion(_metrics(row["pooled"]), out)
    return tuple(paths)


def _metrics(pooled: Mapping[str, Any]) -> Metrics:
    import json

    return Metrics.from_json(json.dumps(pooled))


def curves(record: Mapping[str, Any]) -> Figure:
    """Return one panel a row: accuracy, macro F1 and kappa over epochs, mean of the folds, training dashed.

    A fold that stopped early counts up to its last epoch; the band is the lowest and the highest fold in validation.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    run = [row for row in record["rows"].values() if not row["reason"]]
    n_down = -(-len(run) // N_ACROSS)
    figure = Figure(figsize=(3.7 * N_ACROSS, 2.6 * n_down + 0.5), layout="constrained")
    grid = figure.subplots(n_down, N_ACROSS, squeeze=False, sharey=True)
    for ax, row in zip(grid.ravel(), run, strict=False):
        _draw_curves(ax, row)
    for ax in grid.ravel()[len(run) :]:
        ax.set_axis_off()
    handles = [Line2D([], [], color=colour, label=_SPOKEN[name]) for name, colour in _SCORES.items()]
    handles += [Line2D([], [], color=plots.GREY, linestyle=style, label=part) for part, style in _STYLES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


_STYLES: dict[str, Literal["-", "--"]] = {"validation": "-", "train": "--"}


def _draw_curves(ax: Axes, row: Mapping[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    longest = max(len(fold["validation_loss"]) for fold in row["curves"])
    epochs = list(range(1, longest + 1))
    for name, colour in _SCORES.items():
        for part, style in _STYLES.items():
            by_epoch = [_values(row["curves"], f"{part}_{name}", k) for k in range(longest)]
            known = [(epoch, values) for epoch, values in zip(epochs, by_epoch, strict=True) if values]
            if not known:
                continue
            x = [epoch for epoch, _ in known]
            ax.plot(x, [sum(v) / len(v) for _, v in known], style, color=colour, linewidth=1.3)
            if part == "validation":
                lows, highs = [min(v) for _, v in known], [max(v) for _, v in known]
                ax.fill_between(x, lows, highs, color=colour, alpha=0.12, linewidth=0)
    ax.set_title(row["title"], fontsize=9, loc="left")
    ax.set(xlabel="epoch", ylim=(min(0.0, ax.get_ylim()[0]), 1.0))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _tidy(ax)


def _values(folds: Sequence[Mapping[str, Any]], name: str, epoch: int) -> list[float]:
    return [fold[name][epoch] for fold in folds if epoch < len(fold[name]) and fold[name][epoch] is not None]


def differences(record: Mapping[str, Any]) -> Figure:
    """Return each difference in accuracy as a dot with its 95 % interval; grey where the interval holds zero."""
    from matplotlib.figure import Figure

    found = record["differences"]
    figure = Figure(figsize=(7.2, 0.34 * len(found) + 1.0), layout="constrained")
    ax = figure.subplots()
    ax.axvline(0, color="#999999", linewidth=1)
    for y, each in enumerate(found):
        value, (low, high) = each["accuracy"]["difference"], each["accuracy"]["ci95"]
        colour = plots.GREY if low <= 0 <= high else (plots.BLUE if value > 0 else plots.ORANGE)
        ax.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=2)
        ax.plot([100 * value], [y], "o", color=colour, markersize=6)
    ax.set_yticks(range(len(found)), [f"{each['first']} minus {each['second']}" for each in found])
    ax.invert_yaxis()
    ax.set_xlabel("difference in accuracy, points (95 % interval)")
    _tidy(ax)
    return figure


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> Path:
    # Without the date and the version in it, the same result is the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    return path
