"""Figures of what speech and picture tell only together, unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..explanation.result import Explanation
from .drawing import (
    DARK,
    Colours,
    Shades,
    bare,
    colour_bar,
    figure_of,
    number,
    of_class,
    place,
    plain,
    score_name,
    shades,
    size_pt,
    speech_name,
    text,
    title,
    unit_map,
    width_pt,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def interaction_plot(
    explanation: Explanation,
    ax: Axes | None = None,
    *,
    target: str | None = None,
    colours: Colours = "paper",
    small_multiples: bool = False,
) -> Figure:
    """Return what each speech unit and each picture unit told only together: rows are speech units.

    Args:
        explanation: by a method that gives interactions (`exact`); needs no material.
        ax: where to draw, at the size that it has now; None makes a figure.
        target: class whose values are shown; the explained one when None.
        colours: `paper` (yellow for, blue against) or `safe` (for any colour vision).
        small_multiples: instead of the matrix, one small map of the picture for each speech unit.

    Raises:
        InputError: the explanation has no interactions.
        OptionError: no such class or colours.
    """
    name, values = of_class(explanation, target)
    if values.interactions is None:
        raise InputError(
            f"Method {explanation.method} gives no interactions. Mend: explain speech and picture with --method exact."
        )
    if not (values.speech_units and values.image_units):
        raise InputError("Interactions need speech and picture; this sample has one of them.")
    scale = shades(colours, *values.interactions)
    rows, columns = len(values.speech_units), len(values.image_units)
    if ax is None:
        from matplotlib.figure import Figure

        if small_multiples:
            across = min(rows, 6)
            size = 1.45 * across, 1.7 * -(-rows // across)
            left = 0.2
        else:
            size = min(max(0.46 * columns, 2.4), 8.5), min(max(0.34 * rows, 0.8), 24.0)
            left = 0.35 + max(width_pt(speech_name(explanation, k), 9) for k in range(min(rows, 400))) / 72
        below = 0.15 if small_multiples else 0.7
        figure = Figure(figsize=(left + max(size[0], 3.2) + 1.1, size[1] + below + 0.45))
        ax = place(figure, left, below, *size)
        title(ax, f"{name}: told only together", 6)
    if small_multiples:
        _draw_maps(ax, explanation, values.interactions, scale)
    else:
        _draw_matrix(ax, explanation, values.interactions, scale)
    beside = 0.12 * 72 / size_pt(ax)[0]
    colour_bar(ax, scale, score_name(explanation, name), (1 + beside, 0, beside, 1))
    return figure_of(ax)


def _draw_matrix(ax: Axes, explanation: Explanation, table: Sequence[Sequence[float]], scale: Shades) -> None:
    rows, columns = len(table), len(table[0])
    ax.imshow(scale.of(table), aspect="auto", interpolation="nearest")
    wide, high = size_pt(ax)[0] / columns, size_pt(ax)[1] / rows
    for i, row in enumerate(table if wide > 26 and high > 11 else ()):
        for j, value in enumerate(row):
            ax.text(j, i, number(value, scale.limit), ha="center", va="center", fontsize=7.5, color=scale.ink(value))
    every = max(1, int(np.ceil(9 / high)))  # names that touch would not be read
    names = [speech_name(explanation, k) for k in range(0, rows, every)]
    ax.set_yticks(range(0, rows, every), names, fontsize=min(9.0, max(6.0, high)), **text("".join(names)))
    grid = explanation.image_grid
    n = grid[1] if grid else columns
    every = max(1, int(np.ceil(14 / wide)))
    shown = [k for k in range(columns) if k % n == 0 or (k % n % every == 0 and k % n <= n - every)]
    ax.set_xticks(shown, [str(k % n + 1) for k in shown], fontsize=8.5)
    ax.tick_params(length=0, colors=DARK)
    ax.spines[:].set_visible(False)
    if grid:
        if n > 1:
            ax.vlines([k - 0.5 for k in range(n, columns, n)], -0.5, rows - 0.5, colors="white", linewidths=2.5)
        each = max(1, int(np.ceil(34 / (wide * n))))
        for k in range(0, grid[0], each):
            middle = ((k + 0.5) * n - 0.5 + 0.5) / columns
            _below(ax, f"row {k + 1}", middle, -24)
        _below(ax, "column of the picture, in each of its rows" if grid[0] > 1 else "column of the picture", 0.5, -38)
    else:
        _below(ax, "region of the picture", 0.5, -26)


def _below(ax: Axes, said: str, at: float, down_pt: float) -> None:
    ax.annotate(
        said,
        (at, 0),
        (0, down_pt),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        fontsize=8.5,
        color=DARK,
        annotation_clip=False,
    )


def _draw_maps(ax: Axes, explanation: Explanation, table: Sequence[Sequence[float]], scale: Shades) -> None:
    bare(ax)
    across = min(len(table), 6)
    down = -(-len(table) // across)
    for k, row in enumerate(table):
        i, j = divmod(k, across)
        inset = ax.inset_axes((j / across, 1 - (i + 1) / down, 0.9 / across, 0.82 / down))
        bare(inset)
        inset.imshow(scale.of(unit_map(explanation, row)), aspect="auto", interpolation="nearest")
        if explanation.image_grid and max(explanation.image_grid) <= 32:
            rows, columns = explanation.image_grid
            inset.vlines(np.arange(1, columns) - 0.5, -0.5, rows - 0.5, colors="white", linewidths=0.8)
            inset.hlines(np.arange(1, rows) - 0.5, -0.5, columns - 0.5, colors="white", linewidths=0.8)
        said = plain(explanation.speech_unit_name(k), 16)
        inset.set_title(said, fontsize=9, pad=3, color=DARK, **text(said))
