"""Figures of the study of the modalities, drawn from its JSON: reliability before and after, recall of each class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallelnet.evaluation import Metrics
from parallelnet.report import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.PURPLE, "#E69F00", "#56B4E9", "#F0E442", plots.GREY)
"""Okabe and Ito 2008: told apart with any colour vision."""


def reliability_pair(row: Mapping[str, Any]) -> Figure:
    """Return two reliability diagrams side by side: at temperature 1, and scaled by each fold's temperature.

    Args:
        row: of the study's JSON, with `found`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    before, after = figure.subplots(1, 2, sharey=True)
    found = row["found"]
    for ax, name, when in ((before, "raw_metrics", "temperature 1"), (after, "metrics", "scaled")):
        metrics = Metrics.from_json(json.dumps(found[name]))
        plots.reliability_diagram(metrics, ax)
        ax.set(xlim=(0, 1.05), ylim=(0, 1.05))  # room for large dots at 1
        ax.set_title(f"{when}: calibration error {metrics.ece:.3f}")
    after.set_ylabel("")
    after.get_legend().remove()
    before.legend(loc="lower right", frameon=False)  # small bins stray above the diagonal
    figure.suptitle(f"{row['title']}, n = {found['n']:,}")
    return figure


def per_class_bars(record: Mapping[str, Any]) -> Figure:
    """Return the recall of each class in each setting as bars with their 95 % intervals.

    Args:
        record: the study's JSON.
    """
    from matplotlib.figure import Figure

    rows = [row for row in record["rows"] if "found" in row]
    classes = list(rows[0]["found"]["per_class"])
    figure = Figure(figsize=(2.4 + 0.34 * len(rows) * len(classes), 4.4), layout="constrained")
    ax = figure.subplots()
    width = 0.84 / len(rows)
    for k, row in enumerate(rows):
        for place, name in enumerate(classes):
            each = row["found"]["per_class"][name]["recall"]
            x = place + (k - (len(rows) - 1) / 2) * width
            label = row["title"] if place == 0 else "_"
            ax.bar(x, each["value"] or 0.0, 0.92 * width, color=COLOURS[k % len(COLOURS)], label=label)
            if each["value"] is None:  # no sample of the class: not a recall of 0
                ax.text(x, 0.01, "no sample", rotation=90, ha="center", va="bottom", fontsize=7)
            elif each["ci95"][0] is not None:
                ax.vlines(x, *each["ci95"], color="#333333", linewidth=1.2)
    ax.set_xticks(range(len(classes)), [f"{name}\nn = {_n(rows, name)}" for name in classes])
    ax.set(ylim=(0, 1), ylabel="recall, 95 % interval", xlabel="true class")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="x", length=0)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _n(rows: list[Mapping[str, Any]], name: str) -> str:
    counts = sorted({row["found"]["per_class"][name]["n"] for row in rows})
    return " to ".join(f"{n:,}" for n in dict.fromkeys((counts[0], counts[-1])))


def save(record: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """Write `reliability-KEY.png` for each setting and `per-class.png`, and return their paths.

    Args:
        record: the study's JSON.
        folder: exists.
    """
    rows = [row for row in record["rows"] if "found" in row]
    figures = {f"reliability-{row['key']}.png": reliability_pair(row) for row in rows}
    if rows:
        figures["per-class.png"] = per_class_bars(record)
    for name, figure in figures.items():
        # Without the version in it, the same result is the same file.
        figure.savefig(folder / name, dpi=150, bbox_inches="tight", metadata={"Software": None})
    return tuple(folder / name for name in figures)
