"""Figures on the speech: its waveform and spectrogram, and its words, in the shades of its units' values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE_HZ, mel_matrix
from ..errors import InputError
from ..explanation.result import Explanation
from .drawing import (
    DARK,
    GREY,
    Colours,
    Shades,
    bare,
    colour_bar,
    figure_of,
    heading,
    need,
    of_class,
    place,
    plain,
    score_name,
    size_pt,
    text,
    unit_shades,
    width_pt,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STRIPES = 2400  # of a whole waveform: more than a figure has pixels
_INK = 0.8  # how dark the loudest part of a spectrogram is
_TICKS_HZ = (250, 1000, 4000)
_NOTE: dict[str, Any] = {"fontsize": 8.5, "color": GREY, "annotation_clip": False}


# --- speech -----------------------------------------------------------------------------------------------------------


def speech_plot(
    explanation: Explanation,
    axes: tuple[Axes, Axes] | None = None,
    *,
    target: str | None = None,
    colours: Colours = "paper",
    bar: bool = True,
) -> Figure:
    """Return waveform and log-mel over the seconds of the file, each unit in the shade of its value (paper Fig. 4).

    The line below the waveform marks the units that are kept (paper section 3.3). Where the spectrogram was divided
    over frequency as well, its patches have shades of their own.

    Args:
        explanation: with its material.
        axes: where to draw the waveform and the log-mel; None makes a figure.
        target: class whose values are shown; the explained one when None.
        colours: `paper` (yellow for, blue against) or `safe` (for any colour vision).
        bar: whether to draw the colour bar, on the right.

    Raises:
        InputError: a sample without speech, or no material.
        OptionError: no such class or colours.
    """
    name, values = of_class(explanation, target)
    waveform, log_mel = (need(explanation, "speech", signal) for signal in ("waveform", "log_mel"))
    scale = unit_shades(values, colours)
    if axes is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4.2))
        wave_ax = place(figure, 0.65, 2.4, 8.3, 1.1)
        axes = wave_ax, place(figure, 0.65, 0.55, 8.3, 1.7)
        heading(wave_ax, f"{name}: what each part of the speech did", 0.4)
    above, below = axes
    duration_s = len(waveform) / SAMPLE_RATE_HZ
    _draw_waveform(above, explanation, np.asarray(waveform, np.float32), scale.of(values.speech_units))
    shown = values.speech_bands or tuple((value,) for value in values.speech_units)
    _draw_log_mel(below, explanation, np.asarray(log_mel, np.float32), scale.of(shown))
    for ax in axes:
        ax.set_xlim(0, duration_s)
    _name_words(above, explanation, values.speech_units)
    if bar:
        height = above.get_position().y1 - below.get_position().y0
        part = height / below.get_position().height  # the bar stands beside both
        colour_bar(below, scale, score_name(explanation, name), (1.015, 0, 0.014, part))
    return figure_of(above)


def _draw_waveform(ax: Axes, explanation: Explanation, waveform: npt.NDArray[np.float32], paints: Any) -> None:
    from matplotlib.collections import PolyCollection

    wave = waveform / (float(np.abs(waveform).max(initial=0)) or 1.0)
    units = explanation.speech_units
    duration_s = len(wave) / SAMPLE_RATE_HZ
    first, last = units[0].reach_start_s, units[-1].reach_end_s
    spans = [(unit.reach_start_s, unit.reach_end_s) for unit in units]
    # Quiet that was left out belongs to no unit; it is shown, without a shade.
    outside = [_outline(wave, *span) for span in ((0.0, first), (last, duration_s)) if span[1] - span[0] > 1e-3]
    ax.add_collection(
        PolyCollection(outside, facecolors="#BBBBBB", edgecolors="#BBBBBB", linewidths=0.3, label="left out")
    )
    edges = np.concatenate([paints[:, :3] * 0.72, np.ones((len(units), 1))], axis=1)  # seen on white whatever the shade
    outlines = [_outline(wave, *span) for span in spans]
    ax.add_collection(PolyCollection(outlines, facecolors=paints, edgecolors=edges, linewidths=0.35, label="units"))
    lines = {time_s for span in spans for time_s in span} if len(units) <= 64 else ()
    for time_s in sorted(lines):
        ax.axvline(time_s, color="#AAAAAA", linewidth=0.5, zorder=0)
    kept = [(a, b - a) for (a, b), keep in zip(spans, explanation.kept, strict=True) if keep]
    ax.broken_barh(kept, (-1.34, 0.14), facecolors=DARK, linewidth=0, label="kept")
    ax.set_ylim(-1.4, 1.1)
    ax.set_yticks([-1.27], ["kept"], fontsize=8.5, color=DARK)
    ax.tick_params(length=0, labelbottom=False)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)


def _outline(wave: npt.NDArray[np.float32], start_s: float, end_s: float) -> npt.NDArray[np.float64]:
    """Return the corners of the area between the waveform's highest and lowest values in narrow stripes."""
    start = min(max(round(start_s * SAMPLE_RATE_HZ), 0), len(wave) - 1)
    part = wave[start : max(round(end_s * SAMPLE_RATE_HZ) + 1, start + 1)]
    n_stripes = max(1, min(len(part), math.ceil(_STRIPES * len(part) / len(wave))))
    at = np.arange(n_stripes) * len(part) // n_stripes
    high, low = np.maximum.reduceat(part, at), np.minimum.reduceat(part, at)
    times = np.append(start + at, start + len(part) - 1) / SAMPLE_RATE_HZ
    upper = np.column_stack([times, np.append(high, high[-1])])
    lower = np.column_stack([times, np.append(low, low[-1])])
    return np.concatenate([upper, lower[::-1]]).astype(np.float64)


def _draw_log_mel(ax: Axes, explanation: Explanation, log_mel: npt.NDArray[np.float32], paints: Any) -> None:
    """Draw the spectrogram as ink on paper that has the shades: quiet parts show them as well.

    Args:
        ax: where.
        explanation: whose units tell the frames.
        log_mel: `[mels, frames]` in [0, 1].
        paints: RGBA `[units, bands, 4]`, lowest band first.
    """
    material = explanation.material
    assert material is not None
    n_mels, n_frames = log_mel.shape
    start_s, step_s = material.log_mel_start_s, material.frame_s
    times = start_s + np.arange(n_frames) * step_s  # frames are centred
    units = explanation.speech_units
    owner = np.searchsorted([unit.reach_start_s for unit in units], times + 1e-9, side="right") - 1
    inside = (owner >= 0) & (times <= units[-1].reach_end_s + step_s / 2)
    n_bands = paints.shape[1]
    band = np.arange(n_mels) * n_bands // n_mels
    paper = np.where(inside[None, :, None], paints[np.clip(owner, 0, None)[None], band[:, None], :3], 1.0)
    picture = np.clip(paper * (1 - _INK * log_mel[..., None] ** 1.5), 0, 1)
    extent = (start_s - step_s / 2, start_s + (n_frames - 0.5) * step_s, 0.0, float(n_mels))
    ax.imshow(picture, origin="lower", aspect="auto", extent=extent, interpolation="nearest")
    if len(units) <= 64:
        for time_s in sorted({unit.reach_start_s for unit in units} | {units[-1].reach_end_s}):
            ax.axvline(time_s, color="white", linewidth=0.7)
    for k in range(1, n_bands if n_bands <= 16 else 0):
        ax.axhline(math.ceil(k * n_mels / n_bands), color="white", linewidth=0.5)
    # A mel band lies where its filter is highest.
    peaks = np.argmax(mel_matrix(), axis=0) * (SAMPLE_RATE_HZ / 2) / (mel_matrix().shape[0] - 1)
    rows = np.searchsorted(peaks, _TICKS_HZ)
    ax.set_yticks(rows, [f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz" for hz in _TICKS_HZ])
    ax.tick_params(labelsize=8.5, length=2, colors=DARK)
    ax.set_xlabel("seconds in the file", fontsize=9, color=DARK)
    ax.spines[:].set_visible(False)


def _name_words(ax: Axes, explanation: Explanation, values: Sequence[float]) -> None:
    """Write the words over the waveform, the ones that matter most first, as long as there is room in two rows."""
    across = size_pt(ax)[0] / (ax.get_xlim()[1] or 1.0)
    taken: list[list[tuple[float, float]]] = [[], []]
    for k in sorted(range(len(values)), key=lambda k: -abs(values[k])):
        unit = explanation.speech_units[k]
        word = plain(unit.word, 20)
        middle = across * (unit.start_s + unit.end_s) / 2
        half = width_pt(word, 9) / 2 + 2
        for row, others in enumerate(taken):
            if word and all(middle + half <= left or middle - half >= right for left, right in others):
                others.append((middle - half, middle + half))
                ax.annotate(
                    word,
                    (middle / across, 1.0),
                    (0, 1 + 11 * row),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=9,
                    annotation_clip=False,
                    **text(word),
                )
                break


# --- words ------------------------------------------------------------------------------------------------------------


def words_plot(
    explanation: Explanation,
    ax: Axes | None = None,
    *,
    target: str | None = None,
    colours: Colours = "paper",
    bar: bool = True,
) -> Figure:
    """Return the transcript, each word on the shade of its value, its second below; words not kept are struck.

    Args:
        explanation: with words as speech units; needs no material.
        ax: where to draw, at the size that it has now; None makes a figure as high as the text.
        target: class whose values are shown; the explained one when None.
        colours: `paper` (yellow for, blue against) or `safe` (for any colour vision).
        bar: whether to draw the colour bar, below.

    Raises:
        InputError: a sample without speech, or its units are no words.
        OptionError: no such class or colours.
    """
    name, values = of_class(explanation, target)
    need(explanation, "speech")
    if explanation.units != "words":
        raise InputError(
            f"The speech units are {explanation.units}, not words. "
            "Mend: explain with --text, --transcribe or word times."
        )
    scale = unit_shades(values, colours)
    boxes: list[tuple[float, float, float]]
    if ax is None:
        from matplotlib.figure import Figure

        # Few words are written large.
        sizes = (18.0, 16.0, 14.5, 13.0)
        size = next((size for size in sizes if _lines(explanation, size, 9.5 * 72)[1] <= 2), sizes[-1])
        boxes, n_lines = _lines(explanation, size, 9.5 * 72)
        below = 0.75 if bar else 0.15
        inches = n_lines * _line_pt(size) / 72
        figure = Figure(figsize=(10, inches + below + 0.5))
        ax = place(figure, 0.25, below, 9.5, inches)
        heading(ax, f"{name}: what each word did", 0.15)
        width, height = 9.5 * 72, inches * 72
    else:
        width, height = size_pt(ax)
        size = 14.0
        boxes, n_lines = _lines(explanation, size, width)
        # In a place of given size the type shrinks until the text fits.
        while n_lines * _line_pt(size) > height and size > 4:
            size *= 0.93
            boxes, n_lines = _lines(explanation, size, width)
    bare(ax)
    ax.set(xlim=(0, width), ylim=(height, 0))
    for k, (unit, value, (left, line, across)) in enumerate(
        zip(explanation.speech_units, values.speech_units, boxes, strict=True)
    ):
        _draw_word(ax, plain(unit.word, 40), unit.start_s, scale, value, (left, line * _line_pt(size), across), size)
        if explanation.kept and not explanation.kept[k]:
            y = line * _line_pt(size) + 0.85 * size
            ax.plot(
                [left + 0.2 * size, left + across - 0.2 * size], [y, y], color=scale.ink(value), linewidth=size / 16
            )
    if bar:
        colour_bar(ax, scale, score_name(explanation, name), (22 / width, -20 / height, 0.4, 8 / height))
        if not all(explanation.kept):
            said = f"struck: below the {explanation.percentile:g}th percentile, silenced"
            ax.annotate(
                said, (1, 0), (0, -20), xycoords="axes fraction", textcoords="offset points", ha="right", **_NOTE
            )
    return figure_of(ax)


def words_height(explanation: Explanation, width_in: float, size: float = 14.0) -> float:
    """Return the inches that the words' text needs at a width, of type of 14 points and at most 6 lines."""
    return min(_lines(explanation, size, 72 * width_in)[1], 6) * _line_pt(size) / 72 + 0.05


def _line_pt(size: float) -> float:
    return 3.1 * size  # a word's box, its seconds, and air


def _lines(explanation: Explanation, size: float, width: float) -> tuple[list[tuple[float, float, float]], int]:
    """Return for each word its left edge in points, its line and its width, and how many lines there are."""
    boxes = []
    left, line = 0.0, 0
    for unit in explanation.speech_units:
        said = width_pt(plain(unit.word, 40), 100) * size / 100  # measured once for all sizes
        across = min(max(said + 0.7 * size, width_pt(f"{unit.start_s:.2f}", 100) * 0.62 * size / 100), width)
        if left and left + across > width:
            left, line = 0.0, line + 1
        boxes.append((left, float(line), across))
        left += across + 0.3 * size
    return boxes, line + 1


def _draw_word(
    ax: Axes, word: str, start_s: float, scale: Shades, value: float, box: tuple[float, float, float], size: float
) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, top, width = box
    rounded = f"round,pad=0,rounding_size={0.25 * size}"
    ax.add_patch(
        FancyBboxPatch(
            (left, top), width, 1.7 * size, rounded, facecolor=scale.one(value), edgecolor="none", label=word
        )
    )
    centre = left + width / 2
    ink = scale.ink(value)
    fit = min(1.0, width / (width_pt(word, 100) * size / 100 + 1e-9))  # a word longer than the line
    ax.text(centre, top + 0.87 * size, word, ha="center", va="center", fontsize=size * fit, color=ink, **text(word))
    at: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 0.62 * size, "color": GREY}
    ax.text(centre, top + 2.15 * size, f"{start_s:.2f}", **at)
