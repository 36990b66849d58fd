"""Figure of the binary division, as a tree (paper Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..explanation.result import Explanation
from .drawing import (
    DARK,
    GREY,
    MODALITY_NAMES,
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
    text,
    title,
    width_pt,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a part of the division stands: depth from 0, and the leaves below it from `first` up to `end`."""

    depth: int
    first: int
    end: int


def division_plot(
    explanation: Explanation, ax: Axes | None = None, *, target: str | None = None, colours: Colours = "paper"
) -> Figure:
    """Return the binary division as a tree (paper Fig. 2), each part in the shade of its value, as wide as its leaves.

    For `paper`, parts whose halves do not add up to them say what is lost on the way down.

    Args:
        explanation: by a method that divides (`owen`, `paper`); needs no material.
        ax: where to draw, at the size that it has now; None makes a figure.
        target: class whose values are shown; the explained one when None.
        colours: `paper` (yellow for, blue against) or `safe` (for any colour vision).

    Raises:
        InputError: the method does not divide.
        OptionError: no such class or colours.
    """
    name, values = of_class(explanation, target)
    if not explanation.nodes:
        raise InputError(f"Method {explanation.method} divides nothing. Mend: explain with --method owen or paper.")
    scale = shades(colours, values.nodes)
    trees = [_layout(explanation, modality) for modality in ("speech", "image")]
    trees = [tree for tree in trees if tree]
    levels = [max(spot.depth for spot in tree.values()) + 1 for tree in trees]
    if ax is None:
        from matplotlib.figure import Figure

        leaves = max(len(explanation.nodes[k].units) for tree in trees for k in tree)
        width = min(max(9.0, 0.58 * leaves), 14.0)
        inches = 0.5 * sum(levels) + 0.7 * len(trees)
        figure = Figure(figsize=(width + 1.2, inches + 0.5))
        ax = place(figure, 0.2, 0.1, width, inches)
        title(ax, f"{name}: the division", 6)
    bare(ax)
    width, height = size_pt(ax)
    # Each tree has its levels, a line of heading and two of leaf names.
    step = height / (sum(levels) + 1.4 * len(trees))
    ax.set(xlim=(0, width), ylim=(height, 0))
    top = 0.0
    for tree, n_levels in zip(trees, levels, strict=True):
        _draw_tree(ax, explanation, tree, values.nodes, values.lost, scale, (top, step, width))
        top += (n_levels + 1.4) * step
    beside = 0.12 * 72 / width
    colour_bar(ax, scale, score_name(explanation, name), (1 + beside, 0.1, beside, 0.8))
    return figure_of(ax)


def _layout(explanation: Explanation, modality: str) -> dict[int, _Place]:
    """Return the place of each of a modality's parts; halves stand in the order of the division."""
    halves: dict[int, list[int]] = {}
    roots = []
    for k, node in enumerate(explanation.nodes):
        if node.modality == modality:
            halves.setdefault(node.parent, []).append(k)
            if node.parent < 0:
                roots.append(k)
    spots: dict[int, _Place] = {}
    waiting = [(root, 0, 0) for root in roots]
    while waiting:
        k, depth, first = waiting.pop()
        spots[k] = _Place(depth, first, first + len(explanation.nodes[k].units))
        for half in halves.get(k, ()):
            waiting.append((half, depth + 1, first))
            first += len(explanation.nodes[half].units)
    return spots


def _draw_tree(
    ax: Axes,
    explanation: Explanation,
    tree: dict[int, _Place],
    values: Sequence[float],
    lost: Sequence[float],
    scale: Shades,
    frame: tuple[float, float, float],
) -> None:
    from matplotlib.patches import FancyBboxPatch

    top, step, across = frame
    n_leaves = max(spot.end for spot in tree.values())
    leaf = across / n_leaves
    gap = min(4.0, 0.12 * leaf)
    high = 0.66 * step
    modality = explanation.nodes[next(iter(tree))].modality
    ax.text(0, top + 0.3 * step, MODALITY_NAMES[modality], fontsize=10, fontweight="bold", color=DARK, va="center")
    for k, spot in tree.items():
        y = top + (0.6 + spot.depth) * step
        x, width = spot.first * leaf + gap / 2, (spot.end - spot.first) * leaf - gap
        parent = tree.get(explanation.nodes[k].parent)
        if parent is not None:
            middle, above = x + width / 2, top + (0.6 + parent.depth) * step + high
            ax.plot([middle, middle], [above, y], color=GREY, linewidth=min(0.9, leaf / 8), zorder=0)
        rounded = f"round,pad=0,rounding_size={min(3.0, width / 4)}"
        box = FancyBboxPatch(
            (x, y), width, high, rounded, facecolor=scale.one(values[k]), edgecolor="none", label=str(k)
        )
        ax.add_patch(box)
        said = number(values[k], scale.limit)
        losing = abs(lost[k]) > 1e-9
        if losing and width > width_pt(f"{said}   lost {said}", 8):
            said += f"   lost {number(lost[k], scale.limit)}"
        elif losing and width > width_pt(f"lost {said}", 7) and high > 19:
            said += f"\nlost {number(lost[k], scale.limit)}"
        size = min(8.0, 8 * (width - 2) / max(width_pt(line, 8) for line in said.split("\n")))
        if size >= 5.5:
            at: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "linespacing": 1.05}
            ax.text(x + width / 2, y + high / 2, said, color=scale.ink(values[k]), **at)
        if len(explanation.nodes[k].units) == 1:
            _name_leaf(ax, explanation, k, (x + width / 2, y + high + 3), leaf)


def _name_leaf(ax: Axes, explanation: Explanation, node: int, at: tuple[float, float], room: float) -> None:
    """Write a leaf's name below it, upright where it is too narrow, not at all where even that would touch."""
    (unit, *_), bands = explanation.division_parts(explanation.nodes[node])
    if explanation.nodes[node].modality == "speech":
        speech = explanation.speech_units[unit]
        said = plain(speech.word, 14) or f"{speech.start_s:.2f} s"
        said += f", band {bands[0] + 1}" if bands else ""
    elif explanation.image_grid:
        row, column = divmod(unit, explanation.image_grid[1])
        said = f"{row + 1}, {column + 1}"
    else:
        said = str(unit + 1)
    lies = width_pt(said, 8) < room - 2
    if lies or room >= 7:
        style: dict[str, Any] = {"fontsize": 8 if lies else min(8.0, room), "rotation": 0 if lies else 90}
        ax.text(at[0], at[1], said, ha="center", va="top", color=DARK, **style, **text(said))
