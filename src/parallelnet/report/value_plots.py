"""Figures of an explanation's numbers: modalities, interactions, the way from base to prediction, the division."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from ..explanation.result import Explanation
from .drawing import (
    DARK,
    GREY,
    MODALITY_NAMES,
    PALE,
    Colours,
    Shades,
    figure_of,
    number,
    of_class,
    plain,
    score_name,
    shades,
    size_pt,
    speech_name,
    text,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# --- bars from base to prediction -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bar:
    """One row: a change `value` that begins at `start`; `value` None draws a line at `start` instead."""

    name: str
    start: float
    value: float | None = None
    error: float = 0.0
    strong: bool = False


def modality_plot(
    explanation: Explanation, ax: Axes | None = None, *, target: str | None = None, colours: Colours = "paper"
) -> Figure:
    """Return what speech and picture did alone, what only together, and what each is worth in all.

    The upper bars lead from v(0), nothing present, over v(S) - v(0), v(I) - v(0) and the synergy
    v(S, I) - v(S) - v(I) + v(0) to v(S, I). The lower ones lead there by the modalities' values, which share it.

    Args:
        explanation: of one modality or both; needs no material.
        ax: where to draw; None makes a figure.
        target: class whose values are shown; the explained one when None.
        colours: `paper` (yellow for, blue against) or `safe` (for any colour vision).

    Raises:
        OptionError: no such class or colours.
    """
    name, values = of_class(explanation, target)
    start = values.base
    bars = [_Bar("nothing present", start, strong=True)]
    if len(explanation.modalities) == 2:
        alone = (
            ("only the speech", values.speech_alone - values.base),
            ("only the picture", values.image_alone - values.base),
            ("only together", values.synergy),
        )
        for label, change in alone:
            bars.append(_Bar(label, start, change))
            start += change
        bars.append(_Bar("both present", values.full, strong=True))
        start = values.base
    for modality, change in (("speech", values.speech), ("image", values.image)):
        if modality in explanation.modalities:
            bars.append(_Bar(f"value of the {MODALITY_NAMES[modality]}", start, change))
            start += change
    if len(explanation.modalities) == 1:
        bars.append(_Bar(f"{MODALITY_NAMES[explanation.modalities[0]]} present", values.full, strong=True))
    if ax is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 1.25 + 0.36 * len(bars)), layout="constrained")
        ax = figure.subplots()
        title(ax, f"{name}: speech, picture, and the two together" if len(bars) > 3 else f"{name}: base to prediction")
    return _draw_bars(ax, explanation, name, bars, shades(colours, [1.0]))


def waterfall_plot(
    explanation: Explanation,
    ax: Axes | None = None,
    *,
    target: str | None = None,
    colours: Colours = "paper",
    k: int = 10,
) -> Figure:
    """Return the way from v(0) to the prediction over the `k` units that move the score most, the others summed.

    Where the method samples, thin lines show two standard errors to both sides.

    Args:
        explanation: needs no material.
        ax: where to draw; None makes a figure.
        target: class whose values are shown; the explained one when None.
        colours: `paper` (yellow for, blue against) or `safe` (for any colour vision).
        k: units with a bar of their own, 1 or more.

    Raises:
        OptionError: no such class or colours; `k` below 1.
    """
    if k < 1:
        raise OptionError(f"k is {k}; allowed: 1 or more units with a bar of their own.")
    name, values = of_class(explanation, target)
    both = len(explanation.modalities) == 2
    units = [
        (f"speech: {speech_name(explanation, n)}" if both else speech_name(explanation, n), value, error)
        for n, (value, error) in enumerate(_with_errors(values.speech_units, values.speech_errors))
    ]
    units += [
        (f"picture: {explanation.image_unit_name(n)}" if both else explanation.image_unit_name(n), value, error)
        for n, (value, error) in enumerate(_with_errors(values.image_units, values.image_errors))
    ]
    units.sort(key=lambda unit: -abs(unit[1]))
    shown, rest = units[:k], units[k:]
    at = values.base
    bars = [_Bar("nothing present", at, strong=True)]
    for label, value, error in shown:
        bars.append(_Bar(label, at, value, error))
        at += value
    # `paper`'s units do not add up; what they miss gets a bar that says so, in place of a silent jump.
    rest_value = sum(value for _, value, _ in rest)
    if rest:
        bars.append(_Bar(f"{len(rest)} other unit{'s' * (len(rest) > 1)}", at, rest_value))
        at += rest_value
    if abs(values.full - at) > 1e-6:
        bars.append(_Bar("lost by the method", at, values.full - at))
    bars.append(_Bar("everything present", values.full, strong=True))
    if ax is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 1.25 + 0.3 * len(bars)), layout="constrained")
        ax = figure.subplots()
        title(ax, f"{name}: from nothing to the whole sample")
    return _draw_bars(ax, explanation, name, bars, shades(colours, [1.0]))


def _with_errors(values: Sequence[float], errors: Sequence[float]) -> zip[tuple[float, float]]:
    return zip(values, errors or [0.0] * len(values), strict=True)


def _draw_bars(ax: Axes, explanation: Explanation, target: str, bars: Sequence[_Bar], scale: Shades) -> Figure:
    ends = [(bar.start, bar.start + (bar.value or 0.0)) for bar in bars]
    lowest, highest = min(map(min, ends)), max(map(max, ends))
    span = (highest - lowest) or 0.02
    limit = max([abs(bar.value) for bar in bars if bar.value is not None], default=1.0)
    room = 46 * span / max(size_pt(ax)[0] - 92, 46)  # points at both sides, for the numbers
    ax.set_xlim(lowest - room, highest + room)
    if explanation.score == "probability":  # room for numbers is no reason for ticks that no probability reaches
        ax.set_xticks([tick for tick in ax.get_xticks() if min(0, lowest) <= round(tick, 9) <= max(1, highest)])
        ax.set_xlim(lowest - room, highest + room)
    for row, (bar, (start, end)) in enumerate(zip(bars, ends, strict=True)):
        if bar.value is None:
            ax.plot([start, start], [row - 0.36, row + 0.36], color=DARK, linewidth=2.2, label="level")
            said, x, toward = f"{start:.3f}".replace("-", "\N{MINUS SIGN}"), start, 1
        else:
            side = scale.sign(bar.value)
            edge = tuple(0.7 * part for part in side[:3])
            ax.barh(row, bar.value, 0.62, left=start, color=side, edgecolor=edge, linewidth=0.7, label=plain(bar.name))
            toward = 1 if bar.value >= 0 else -1
            said, x = number(bar.value, limit), end
            if bar.error:
                ax.errorbar(end, row, xerr=2 * bar.error, color=DARK, linewidth=0.9, capsize=2)
                x = end + toward * 2 * bar.error
        where: dict[str, Any] = {"ha": "left" if toward > 0 else "right", "va": "center"}
        weight = "bold" if bar.strong else "normal"
        ax.annotate(
            said, (x, row), (4 * toward, 0), textcoords="offset points", fontsize=8.5, fontweight=weight, **where
        )
        if row + 1 < len(bars) and abs(bars[row + 1].start - end) < 1e-9:
            ax.plot([end, end], [row + 0.31, row + 0.69], color=GREY, linewidth=0.8)
    names = [plain(bar.name, 46) for bar in bars]
    fonts = text("".join(names))
    ax.set_yticks(range(len(bars)), names, fontsize=9, **fonts)
    ax.set_ylim(len(bars) - 0.4, -0.6)
    for level in (bars[0].start, explanation.values[target].full):
        ax.axvline(level, color=PALE, linewidth=1, zorder=0)
    ax.set_xlabel(score_name(explanation, target), fontsize=9, color=DARK, **text(target))
    ax.tick_params(axis="x", labelsize=8.5, length=2, colors=DARK)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(PALE)
    return figure_of(ax)
