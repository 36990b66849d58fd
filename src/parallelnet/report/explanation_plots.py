"""Every figure of an explanation from one place: the single ones, the most important in one, and as files.

Figures belong to nobody else: no pyplot, no window, no global state. One scale of shades serves all figures of a
sample: yellow for the class, blue against it (paper Fig. 4), or orange and blue for any colour vision.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, unknown
from ..explanation.parts import DivisionNode
from ..explanation.result import Explanation
from . import drawing, sample_plots
from .drawing import DARK, GREY, PALE, Colours, Shown, colour_bar, number, paint, plain, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure, FigureBase

MODALITY_NAMES = {"speech": "speech", "image": "picture"}
_Bar = tuple[str, float | None, float]


def plot(explanation: Explanation, name: str, *, target: str | None = None, colours: Colours = "paper") -> Figure:
    """Return one figure of an explanation.

    Args:
        explanation: of one modality or both.
        name: `speech` and `picture` show the signals under the shades of their units (paper Fig. 4) and need the
            material, `words` the transcript; `modality` what the two did alone and together; `waterfall` the way from
            v(0) to the prediction; `division` the binary division (paper Fig. 2); `interaction` and `interaction_maps`
            what units told only together.
        target: class whose values are shown; the explained one when None.
        colours: `paper` (yellow for, blue against) or `safe` (for any colour vision).

    Raises:
        InputError: the sample, the method or the material does not have what the figure shows.
        OptionError: no such figure, class or colours.
    """
    from matplotlib.figure import Figure

    if name not in _FIGURES:
        raise unknown("figure", name, _FIGURES, "plot")
    shown = Shown(explanation, target, colours)
    if reason := _missing(shown, name):
        raise InputError(reason)
    said, size, draw = _FIGURES[name]
    figure = Figure(figsize=size(shown), layout="constrained")
    drawing.heading(figure, f"{shown.target}: {said}")
    draw(figure, shown)
    return drawing.literal(figure)


def _missing(shown: Shown, name: str) -> str:
    """Return why an explanation has no such figure; "" where it has."""
    of = shown.of
    modality = {"speech": "speech", "words": "speech", "picture": "image"}.get(name, "")
    signal = {"speech": "waveform", "picture": "picture"}.get(name, "")
    wrong = {
        f"This explanation is of a sample without {MODALITY_NAMES.get(modality)}: there is nothing to draw.": (
            modality and modality not in of.modalities
        ),
        f"This explanation has no {signal} (material): it was read from JSON, which holds none. Mend: explain the "
        "files again.": signal and getattr(of.material, signal, None) is None,
        f"The speech units are {of.units}, not words. Mend: explain with --text, --transcribe or word times.": (
            name == "words" and of.units != "words"
        ),
        f"Method {of.method} divides nothing. Mend: explain with --method owen or paper.": (
            name == "division" and not of.nodes
        ),
        f"Method {of.method} gives no interactions. Mend: explain speech and picture with --method exact.": (
            name.startswith("interaction") and not (shown.values.interactions and len(of.modalities) == 2)
        ),
    }
    return next((reason for reason, holds in wrong.items() if holds), "")


def overview(explanation: Explanation, *, target: str | None = None, colours: Colours = "paper") -> Figure:
    """Return one figure with what there is: speech, words, picture, modalities, and the units that matter most.

    Without material (read from JSON) speech and picture are left out.

    Raises:
        OptionError: no such class or colours.
    """
    from matplotlib.figure import Figure

    shown = Shown(explanation, target, colours)
    parts = tuple(name for name in ("speech", "words", "picture") if not _missing(shown, name))
    upper, _ = sample_plots.heights(shown, parts)
    beside = parts == ("picture",)  # a picture alone stands next to the numbers
    figure = Figure(figsize=(11, 5 if beside else 4.2 + upper), layout="constrained")
    probs, emotion = explanation.prediction.probs, explanation.prediction.emotion
    heard = " and ".join(MODALITY_NAMES[modality] for modality in explanation.modalities)
    drawing.heading(figure, f"{plain(emotion, 30)}: {probs[emotion]:.0%} sure, from {heard}", fontsize=16)
    rows, columns = ((1,), (4, 6)) if beside else ((upper, 3.6) if parts else (1,), (1,))
    above, *_, below = drawing.panels(figure, heights=rows, widths=columns) * (1 if parts else 2)
    ends = (drawing.minus(f"{value:.3f}") for value in (shown.values.base, shown.values.full))
    line = "{}: {} with nothing present, {} with everything ({})".format(shown.score, *ends, explanation.method)
    drawing.heading(above, line, fontsize=9.5, fontweight="normal", color=GREY)
    sample_plots.draw_sample(above, shown, parts)
    if not beside and len(explanation.modalities) == 2:
        left, below = drawing.panels(below, widths=(4, 6))
        _draw_modalities(left, shown)
    _draw_waterfall(below, shown, most=8)
    return drawing.literal(figure)


def save_all(explanation: Explanation, folder: str | os.PathLike[str]) -> list[Path]:
    """Write `explanation.png`, the overview, and each figure of `plot` that there is; return their paths.

    Args:
        explanation: of one modality or both.
        folder: made where it is missing.
    """
    figures = {NAMES[0]: overview(explanation)}
    there = (name for name in _FIGURES if not _missing(Shown(explanation), name))
    figures |= {f"{name}.png": plot(explanation, name) for name in there}
    return [drawing.save(figure, Path(folder) / name) for name, figure in figures.items()]


# --- numbers ----------------------------------------------------------------------------------------------------------


def _draw_modalities(panel: FigureBase, shown: Shown) -> None:
    """Draw what speech and picture did alone, what only together, and what each is worth in all.

    The upper bars lead from v(0), nothing present, over v(S) - v(0), v(I) - v(0) and the synergy
    v(S, I) - v(S) - v(I) + v(0) to v(S, I). The lower ones lead there by the modalities' values, which share it.
    """
    values, names = shown.values, [MODALITY_NAMES[modality] for modality in shown.of.modalities]
    found = [("speech", values.speech_alone, values.speech), ("picture", values.image_alone, values.image)]
    worth: list[_Bar] = [(f"value of the {name}", value, 0.0) for name, _, value in found if name in names]
    nothing: _Bar = ("nothing present", None, 0.0)
    if len(names) == 1:
        _draw_bars(panel, shown, [nothing, *worth, (f"{names[0]} present", None, 0.0)])
        return
    alone: list[_Bar] = [(f"only the {name}", score - values.base, 0.0) for name, score, _ in found]
    alone.append(("only together", values.synergy, 0.0))
    _draw_bars(panel, shown, [nothing, *alone, ("both present", None, 0.0)], worth)


def _draw_waterfall(panel: FigureBase, shown: Shown, *, most: int = 10) -> None:
    """Draw the way from v(0) to the prediction over the units that move the score most, the others summed.

    Where the method samples, thin lines show two standard errors to both sides.
    """
    bars: list[_Bar] = [("nothing present", None, 0.0)]
    for key, said, change in drawing.steps(shown.values, most):
        errors = {"s": shown.values.speech_errors, "i": shown.values.image_errors}.get(key[:1], ())
        modality = {"s": "speech: ", "i": "picture: "}.get(key[:1], "") if len(shown.of.modalities) == 2 else ""
        error = 2 * errors[int(key[1:])] if errors else 0.0
        bars.append((said or plain(modality + shown.name(key), 46), change, error))
    _draw_bars(panel, shown, [*bars, ("everything present", None, 0.0)])


def _draw_bars(panel: FigureBase, shown: Shown, *ways: Sequence[_Bar]) -> None:
    """Draw ways from v(0) on: bars (name, change, twice its error) below one another; a change of None is a level."""
    ax, base = panel.subplots(), shown.values.base
    names, changes, errors = zip(*itertools.chain(*ways), strict=True)
    widths = [change or 0.0 for change in changes]
    ends = [base + sum(change or 0.0 for _, change, _ in way[: k + 1]) for way in ways for k in range(len(way))]
    starts, limit = np.subtract(ends, widths), max(map(abs, widths))
    colours = [paint(shown.scale, math.copysign(0.72 * shown.limit, width)) for width in widths]
    spans = errors if any(errors) else None
    rows = np.arange(len(names))
    drawn = ax.barh(rows, widths, 0.62, left=starts, color=colours, xerr=spans, ecolor=DARK)
    each = zip(changes, ends, strict=True)
    said = [drawing.minus(f"{end:.3f}") if change is None else number(change, limit) for change, end in each]
    ax.bar_label(drawn, said, padding=4, fontsize=8.5)
    levels = [row for row in rows if changes[row] is None]
    ax.plot(starts[levels], levels, "|", color=DARK, markersize=15, markeredgewidth=2.2)
    joined = rows[: len(ways[0]) - 1]
    ax.vlines(np.take(ends, joined), joined + 0.31, joined + 0.69, color=GREY, linewidth=0.8)
    ax.vlines([base, shown.values.full], -0.6, len(rows), color=PALE, linewidth=1, zorder=0)
    ax.use_sticky_edges = False  # room for the numbers on both sides
    ax.margins(x=0.28)
    ax.set(yticks=rows, yticklabels=names, ylim=(len(rows) - 0.4, -0.6), xlabel=shown.score)
    ax.tick_params(labelsize=9, length=0, colors=DARK)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(PALE)


# --- tables and trees -------------------------------------------------------------------------------------------------


def _draw_interactions(figure: Figure, shown: Shown) -> None:
    """Draw what each speech unit and each picture unit told only together: rows are speech units."""
    found, grid, ax = np.asarray(shown.values.interactions), shown.of.image_grid, figure.subplots()
    (n_rows, n_columns), scale = found.shape, shades(shown.colours, found.ravel())
    figure.set_size_inches(min(max(0.5 * n_columns, 3) + 2, 11), min(max(0.32 * n_rows, 1) + 1.8, 26))
    has_room = n_columns <= 18 and n_rows <= 72
    said = [[number(value, drawing.limit_of(scale)) for value in row] for row in found if has_room]
    # Names that touch would not be read.
    rows = [shown.name(f"s{k}") if k % -(-n_rows // 100) == 0 else "" for k in range(n_rows)]
    columns = [_cell(shown, k) if k % -(-n_columns // 64) == 0 else "" for k in range(n_columns)]
    drawing.table(ax, paint(scale, found), said, rows, columns)
    ax.tick_params(axis="x", labelsize=8 if has_room else 7, labelrotation=0 if has_room else 90)
    ax.tick_params(axis="y", labelsize=9 if has_room else 7)
    ax.set_xlabel("row, column of the picture" if grid else "region of the picture", fontsize=9)
    if grid:
        starts = np.arange(grid[1], n_columns, grid[1]) - 0.5
        ax.vlines(starts, -0.5, n_rows - 0.5, color="white", linewidth=2.5)
    colour_bar(figure, ax, scale, shown.score)


def _draw_maps(figure: Figure, shown: Shown) -> None:
    """Draw one small map of the picture for each speech unit, with what the two told only together."""
    found = np.asarray(shown.values.interactions)
    scale, owner, across = shades(shown.colours, found.ravel()), drawing.owners(shown.of), min(len(found), 6)
    down = -(-len(found) // across)
    figure.set_size_inches(max(1.45 * across, 4) + 0.3, 1.7 * down + 1.1)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for k, ax in enumerate(axes):
        ax.set_axis_off()
        if k < len(found):
            ax.imshow(paint(scale, found[k])[owner], extent=(0, 128, 128, 0))
            drawing.draw_edges(ax, owner, (0, 0, 128, 128), color="white", linewidth=0.8)
            ax.set_title(plain(shown.of.speech_unit_name(k), 16), fontsize=9, pad=3, color=DARK)
    colour_bar(figure, list(axes), scale, shown.score)


def _draw_division(figure: Figure, shown: Shown) -> None:
    """Draw the binary division as a tree, each part in the shade of its value, as wide as its leaves.

    For `paper`, parts whose halves do not add up to them say what is lost on the way down.
    """
    scale, trees = shades(shown.colours, shown.values.nodes), drawing.divisions(shown.of)
    leaves = max(len(node.units) for node in shown.of.nodes)
    heights = [0.45 * max(level for _, level, _ in parts) + 1.65 for _, parts in trees]
    figure.set_size_inches(min(max(9.0, 0.58 * leaves), 14.0), sum(heights) + 1.0)
    axes = list(np.ravel(figure.subplots(len(trees), 1, height_ratios=heights)))
    for ax, (modality, parts) in zip(axes, trees, strict=True):
        _draw_tree(ax, shown, parts, scale, 68 * figure.get_size_inches()[0])
        ax.set_title(MODALITY_NAMES[modality], fontsize=10, fontweight="bold", color=DARK, loc="left")
    colour_bar(figure, axes, scale, shown.score)


def _draw_tree(
    ax: Axes, shown: Shown, parts: Sequence[tuple[int, int, int]], scale: ScalarMappable, across_pt: float
) -> None:
    places, depths, lefts = np.array(parts).T
    nodes, values, lost = shown.of.nodes, shown.values.nodes, shown.values.lost
    widths = np.array([len(nodes[place].units) for place in places])
    leaf_pt = across_pt / widths[0]
    paints = paint(scale, [values[place] for place in places])
    edge = {"edgecolor": "white", "linewidth": min(4.0, leaf_pt / 8)}
    drawn = ax.barh(depths, widths, 0.7, left=lefts, color=paints, **edge)
    said, limit = [], drawing.limit_of(scale)
    for place, room_pt in zip(places, widths * leaf_pt, strict=True):
        losing = f"lost {number(lost[place], limit)}" if abs(lost[place]) > 1e-9 and room_pt > 50 else ""
        between = ("   " if room_pt > 90 else "\n") if losing else ""
        said.append(f"{number(values[place], limit)}{between}{losing}" if room_pt > 30 else "")
    for text, shade in zip(ax.bar_label(drawn, said, label_type="center", fontsize=7.5), paints, strict=True):
        text.set_color(drawing.ink(shade))
    ax.vlines(
        (lefts + widths / 2)[1:], depths[1:] - 0.65, depths[1:] - 0.35, color=GREY, linewidth=min(0.9, leaf_pt / 8)
    )
    ax.set(xlim=(0, widths[0]), ylim=(max(depths) + 0.45, -0.45), xticks=(), yticks=())
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, colors=DARK)
    names = {left + 0.5: _leaf(shown, nodes[place]) for place, left in np.stack([places, lefts], 1)[widths == 1]}
    upright = any(5 * len(name) > leaf_pt for name in names.values())
    if leaf_pt >= 7:  # else even upright names would touch
        ax.set_xticks(list(names), list(names.values()), fontsize=min(8, leaf_pt), rotation=90 * upright)


def _leaf(shown: Shown, node: DivisionNode) -> str:
    (unit, *_), bands = shown.of.division_parts(node)
    if node.modality == "image":
        return _cell(shown, unit)
    speech = shown.of.speech_units[unit]
    return (plain(speech.word, 14) or f"{speech.start_s:.2f} s") + (f", band {bands[0] + 1}" if bands else "")


def _cell(shown: Shown, unit: int) -> str:
    """Return the short name of a picture unit: `2, 3` for row and column, or the number of a superpixel."""
    grid = shown.of.image_grid
    return f"{unit // grid[1] + 1}, {unit % grid[1] + 1}" if grid else str(unit + 1)


# What a figure says after the name of the class, its inches (None: it knows better), and what draws it.
_FIGURES: dict[str, tuple[str, Callable[[Shown], Any], Callable[[Any, Shown], None]]] = {
    "speech": ("what each part of the speech did", lambda _: (10, 4.6), sample_plots.draw_speech),
    "words": ("what each word did", sample_plots.words_size, sample_plots.draw_words),
    "picture": ("what each part of the picture did", sample_plots.picture_size, sample_plots.draw_picture),
    "modality": ("speech and picture, alone and together", lambda _: (7, 3.8), _draw_modalities),
    "waterfall": ("from nothing to the whole sample", lambda _: (8, 5), _draw_waterfall),
    "division": ("the division", lambda _: None, _draw_division),
    "interaction": ("told only together", lambda _: None, _draw_interactions),
    "interaction_maps": ("told only together", lambda _: None, _draw_maps),
}
NAMES = ("explanation.png", *(f"{name}.png" for name in _FIGURES))  # what `save_all` may write
