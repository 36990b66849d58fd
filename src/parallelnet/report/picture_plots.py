"""Figure on the picture: its units under the shades of their values, the part that the model saw framed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..explanation.result import Explanation
from .drawing import (
    DARK,
    Colours,
    bare,
    colour_bar,
    figure_of,
    heading,
    need,
    number,
    of_class,
    place,
    score_name,
    size_pt,
    unit_map,
    unit_shades,
    width_pt,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HALO_PT = 2.5
_OPACITY = 0.65  # of the strongest unit
_N_STRONGEST = 3  # units that are outlined, with their values


def picture_plot(
    explanation: Explanation,
    ax: Axes | None = None,
    *,
    target: str | None = None,
    colours: Colours = "paper",
    bar: bool = True,
    finder: bool = True,
) -> Figure:
    """Return the upright picture under the shades of its units, the part that the model saw framed.

    A unit is the more opaque the more it matters, in place of going through grey, so that the picture stays as it is
    where nothing happened. Where the
    model saw a small part only, the figure goes near, and a small picture shows where that is.

    Args:
        explanation: with its material.
        ax: where to draw, at the size that it has now; None makes a figure.
        target: class whose values are shown; the explained one when None.
        colours: `paper` (yellow for, blue against) or `safe` (for any colour vision).
        bar: whether to draw the colour bar, on the right.
        finder: whether to draw the small picture, on the right, where the figure goes near.

    Raises:
        InputError: a sample without picture, or no material.
        OptionError: no such class or colours.
    """
    name, values = of_class(explanation, target)
    picture = np.asarray(need(explanation, "image", "picture"))
    assert explanation.image_box is not None
    scale = unit_shades(values, colours)
    view = _view(explanation.image_box, picture.shape[1], picture.shape[0])
    if ax is None:
        from matplotlib.figure import Figure

        ratio = min(max((view[1] - view[0]) / (view[2] - view[3]), 0.4), 3.0)
        height = min(4.6, 7.5 / ratio)
        width = max(height * ratio, 2.4)
        figure = Figure(figsize=(width + 2.1, height + 0.6))
        ax = place(figure, 0.2, 0.15, width, height)
        heading(ax, f"{name}: what each part of the picture did", 0.1)
    bare(ax)
    ax.imshow(picture)
    ax.set(xlim=view[:2], ylim=view[2:])
    ax.apply_aspect()  # what follows needs the size that the picture really gets
    _dim_outside(ax, explanation.image_box)
    shown = unit_map(explanation, values.image_units)
    paint = scale.of(0.8 * scale.limit * np.sign(shown))
    paint[..., 3] = _OPACITY * np.clip(np.abs(shown) / scale.limit, 0, 1) ** 0.75
    left, top, width_px, height_px = explanation.image_box
    extent = (left, left + width_px, top + height_px, top)
    ax.imshow(np.clip(paint, 0, 1), extent=extent, interpolation="nearest", label="units")
    ax.set(xlim=view[:2], ylim=view[2:])  # imshow takes the view to what it drew
    _draw_edges(ax, explanation)
    strongest = sorted(range(len(values.image_units)), key=lambda k: -abs(values.image_units[k]))[:_N_STRONGEST]
    for k in strongest:
        if values.image_units[k]:
            _outline_unit(ax, explanation, k, number(values.image_units[k], scale.limit))
    if finder and view != (0, picture.shape[1], picture.shape[0], 0):
        _draw_finder(ax, picture, explanation.image_box)
    if bar:
        beside = 0.12 * 72 / size_pt(ax)[0]
        colour_bar(ax, scale, score_name(explanation, name), (1 + beside, 0, beside, 0.62))
    return figure_of(ax)


def _view(box: tuple[int, int, int, int], width: int, height: int) -> tuple[float, float, float, float]:
    """Return left, right, bottom, top of what is drawn, in pixels: the whole picture, or the near of a small box."""
    left, top, across, down = box
    if across * down > 0.3 * width * height:
        return 0, width, height, 0
    margin = 0.3 * max(across, down)
    return (
        max(0.0, left - margin),
        min(float(width), left + across + margin),
        min(float(height), top + down + margin),
        max(0.0, top - margin),
    )


def _dim_outside(ax: Axes, box: tuple[int, int, int, int]) -> None:
    left, top, width, height = box
    x0, x1 = ax.get_xlim()
    y1, y0 = ax.get_ylim()
    around = (
        (x0, y0, x1, top),
        (x0, top + height, x1, y1),
        (x0, top, left, top + height),
        (left + width, top, x1, top + height),
    )
    from matplotlib.patches import Rectangle

    for a, b, c, d in around:
        if c > a and d > b:
            ax.add_patch(Rectangle((a, b), c - a, d - b, facecolor="white", alpha=0.55, linewidth=0))
    ax.add_patch(
        Rectangle((left, top), width, height, fill=False, edgecolor=DARK, linewidth=1.4, zorder=5, label="seen")
    )


def _draw_edges(ax: Axes, explanation: Explanation) -> None:
    """Draw thin lines between units, where they are not too many."""
    assert explanation.image_box is not None
    left, top, width, height = explanation.image_box
    line: dict[str, Any] = {"colors": "white", "linewidths": 0.6, "alpha": 0.6}
    if explanation.image_grid is not None:
        rows, columns = explanation.image_grid
        if max(rows, columns) <= 32:
            ax.vlines([left + k * width / columns for k in range(1, columns)], top, top + height, **line)
            ax.hlines([top + k * height / rows for k in range(1, rows)], left, left + width, **line)
        return
    owners = unit_map(explanation, range(max(explanation.image_labels) + 1))
    edges = np.zeros((*owners.shape, 4))
    edges[:, 1:][owners[:, 1:] != owners[:, :-1]] = (1, 1, 1, 0.6)
    edges[1:][owners[1:] != owners[:-1]] = (1, 1, 1, 0.6)
    ax.imshow(edges, extent=(left, left + width, top + height, top), interpolation="nearest")


def _outline_unit(ax: Axes, explanation: Explanation, index: int, value: str) -> None:
    """Draw a unit's outline, dark in white so that it is seen on any picture, and its value in it."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=_HALO_PT, foreground="white")]
    assert explanation.image_box is not None
    left, top, width, height = explanation.image_box
    if explanation.image_grid is not None:
        x, y, across, down = explanation.image_unit_box(index)
        ax.add_patch(
            Rectangle(
                (x, y),
                across,
                down,
                fill=False,
                edgecolor=DARK,
                linewidth=1.3,
                path_effects=halo,
                zorder=6,
                label="strong",
            )
        )
        centre = x + across / 2, y + down / 2
        room = across
    else:
        mask = unit_map(explanation, range(max(explanation.image_labels) + 1)) == index
        side = len(mask)
        # A border of nothing: a unit at the edge is closed there, and one that is everything has an outline at all.
        around = np.pad(mask.astype(float), 1)
        places = (np.arange(side + 2) - 0.5) / side
        xs, ys = left + places * width, top + places * height
        ax.contour(xs, ys, around, [0.5], colors=DARK, linewidths=1.3, path_effects=halo, zorder=6)
        inner = _inmost(mask)
        centre = left + (inner[1] + 0.5) * width / side, top + (inner[0] + 0.5) * height / side
        room = math.sqrt(mask.sum()) / side * width
    x0, x1 = ax.get_xlim()
    room_pt = room / abs(x1 - x0) * size_pt(ax)[0]
    size = min(10.0, 10 * 0.75 * room_pt / width_pt(value, 10))
    style: dict[str, Any] = {"va": "center", "color": "black", "path_effects": halo, "zorder": 7}
    if size >= 6:
        ax.text(*centre, value, ha="center", fontsize=size, **style)
    else:  # above a cell that is smaller than its number
        above = (0, room_pt / 2 + 6)
        ax.annotate(value, centre, above, textcoords="offset points", ha="center", fontsize=8, **style)


def _inmost(mask: npt.NDArray[Any]) -> tuple[int, int]:
    """Return row and column of a place of the unit that is nearest to its centre: a bent unit's own may lie outside."""
    rows, columns = np.nonzero(mask)
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return int(rows[nearest]), int(columns[nearest])


def _draw_finder(ax: Axes, picture: npt.NDArray[Any], box: tuple[int, int, int, int]) -> None:
    from matplotlib.patches import Rectangle

    across, up = size_pt(ax)
    side = 1.25 * 72
    finder = ax.inset_axes((1 + 8 / across, 1 - side / up, side / across, side / up))
    bare(finder)
    finder.imshow(picture)
    finder.set_anchor("NW")
    finder.add_patch(Rectangle(box[:2], box[2], box[3], fill=False, edgecolor="white", linewidth=2.6))
    finder.add_patch(Rectangle(box[:2], box[2], box[3], fill=False, edgecolor=DARK, linewidth=1.2))
