"""The sample under the shades of its units' values: waveform and spectrogram, words, picture (paper Fig. 4)."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np

from ..audio import SAMPLE_RATE_HZ, mel_matrix
from ..explanation.result import Explanation
from .drawing import DARK, GREY, Shown, colour_bar, draw_edges, envelope, ink, number, owners, paint, panels, plain

if TYPE_CHECKING:
    from .drawing import Axes, FigureBase

_STRIPES = 2400  # of a whole waveform: more than a figure has pixels
_INK = 0.8  # how dark the loudest part of a spectrogram is
_TICKS = {250: "250 Hz", 1000: "1 kHz", 4000: "4 kHz"}
_MANY = 64  # units; between more there are no lines
_OPACITY = 0.65  # of the strongest picture unit
_N_STRONGEST = 3  # picture units that are outlined, with their values


def heights(shown: Shown, parts: Sequence[str]) -> tuple[float, list[float]]:
    """Return the inches that `draw_sample` needs for these parts, and those of `speech` and `words` in it."""
    left = [3.1 if name == "speech" else words_size(shown, 7.0)[1] - 0.9 for name in parts if name != "picture"]
    return max(sum(left), 4.0 * ("picture" in parts)), left


def draw_sample(panel: FigureBase, shown: Shown, parts: Sequence[str]) -> None:
    """Draw `speech`, `words` and `picture`, as far as they are among the parts, the picture on the right."""
    sees, (height, below) = "picture" in parts, heights(shown, parts)
    left, right = panels(panel, widths=(7, 3.7)) if sees and below else (panel, panel)
    for k, part in enumerate(panels(left, heights=below) if below else ()):
        draw = draw_speech if parts[k] == "speech" else draw_words
        draw(part, shown, width_in=7.0, bar=not sees and k == len(below) - 1)
    if sees:  # at the top, also beside a long text
        draw_picture(panels(right, heights=(4.0, height - 4.0))[0] if height > 4.5 else right, shown, finder=False)


# --- speech -----------------------------------------------------------------------------------------------------------


def draw_speech(panel: FigureBase, shown: Shown, *, bar: bool = True, width_in: float = 10.0) -> None:
    """Draw waveform and log-mel over the seconds of the file, each unit in the shade of its value.

    The line below the waveform marks the units that are kept (paper section 3.3). Where the spectrogram was divided
    over frequency as well, its patches have shades of their own. The words above are those that matter most.
    """
    above, below = panel.subplots(2, 1, height_ratios=(2, 3))
    _draw_waveform(above, shown)
    _draw_log_mel(below, shown)
    duration_s = len(shown.material.waveform) / SAMPLE_RATE_HZ
    for ax in (above, below):
        ax.set_xlim(0, duration_s)
        ax.spines[:].set_visible(False)
    named: dict[float, str] = {}
    for unit, _ in sorted(
        zip(shown.of.speech_units, shown.values.speech_units, strict=True), key=lambda each: -abs(each[1])
    ):
        middle = (unit.start_s + unit.end_s) / 2
        if unit.word and all(abs(middle - other) > 0.28 / width_in * duration_s for other in named):
            named[middle] = plain(unit.word, 20)
    slant: dict[str, Any] = {"rotation": 35, "ha": "left", "rotation_mode": "anchor", "fontsize": 9}
    above.set_xticks(list(named), list(named.values()), **slant)
    above.tick_params(labelbottom=False, labeltop=True, length=0, pad=1)
    if bar:
        colour_bar(panel, [above, below], shown.scale, shown.score)


def _owner(explanation: Explanation, times: np.ndarray) -> np.ndarray:
    """Return the speech unit of each moment; -1 where quiet was left out."""
    units, slack = explanation.speech_units, 0.016  # half a frame
    owner = np.searchsorted([unit.reach_start_s for unit in units], times + 1e-9, side="right") - 1
    return np.where(times <= units[-1].reach_end_s + slack, owner, -1)


def _draw_waveform(ax: Axes, shown: Shown) -> None:
    wave, units = np.asarray(shown.material.waveform, np.float32), shown.of.speech_units
    low, high = envelope(wave / (float(np.abs(wave).max(initial=0)) or 1.0), _STRIPES)
    times = np.arange(len(low)) * len(wave) / len(low) / SAMPLE_RATE_HZ
    owner, grey = _owner(shown.of, times), (0.73, 0.73, 0.73, 1.0)
    for k, face in enumerate([grey, *paint(shown.scale, shown.values.speech_units)], -1):
        edge = np.multiply(face[:3], 0.72)  # seen on white whatever the shade
        ax.fill_between(times, low, high, where=owner == k, facecolor=face, edgecolor=edge, linewidth=0.35)
    spans = [(unit.reach_start_s, unit.reach_end_s) for unit in units]
    if len(units) <= _MANY:
        ax.vlines(sorted({*itertools.chain(*spans)}), -1.4, 1.1, color="#AAAAAA", linewidth=0.5)
    kept = [(a, b - a) for (a, b), keep in zip(spans, shown.of.kept, strict=True) if keep]
    ax.broken_barh(kept, (-1.34, 0.14), facecolors=DARK, linewidth=0, label="kept")
    ax.set(ylim=(-1.4, 1.1), yticks=[-1.27], yticklabels=["kept"])


def _draw_log_mel(ax: Axes, shown: Shown) -> None:
    """Draw the spectrogram as ink on paper that has the shades, of each band its own: quiet parts show them as well."""
    log_mel, units = np.asarray(shown.material.log_mel, np.float32), shown.of.speech_units
    paints = paint(shown.scale, shown.values.speech_bands or [(value,) for value in shown.values.speech_units])
    (n_mels, n_frames), n_bands = log_mel.shape, paints.shape[1]
    start_s, step_s = shown.material.log_mel_start_s, shown.material.frame_s
    owner = _owner(shown.of, start_s + np.arange(n_frames) * step_s)  # frames are centred
    band = np.arange(n_mels) * n_bands // n_mels  # the lowest first
    paper = np.where((owner < 0)[None, :, None], 1.0, paints[owner[None], band[:, None], :3])
    picture = np.clip(paper * (1 - _INK * log_mel[..., None] ** 1.5), 0, 1)
    extent = (start_s - step_s / 2, start_s + (n_frames - 0.5) * step_s, 0.0, float(n_mels))
    ax.imshow(picture, origin="lower", aspect="auto", extent=extent, interpolation="nearest")
    if len(units) <= _MANY:
        ax.vlines([unit.reach_start_s for unit in units], 0, n_mels, color="white", linewidth=0.7)
    if n_bands <= 16:
        ax.hlines(np.ceil(np.arange(1, n_bands) * n_mels / n_bands), *extent[:2], color="white", linewidth=0.5)
    # A mel band lies where its filter is highest.
    peaks = np.argmax(mel_matrix(), axis=0) * (SAMPLE_RATE_HZ / 2) / (mel_matrix().shape[0] - 1)
    ax.set_yticks(np.searchsorted(peaks, list(_TICKS)), list(_TICKS.values()))
    ax.tick_params(labelsize=8.5, length=2, colors=DARK)
    ax.set_xlabel("seconds in the file", fontsize=9, color=DARK)


# --- words ------------------------------------------------------------------------------------------------------------


def words_size(shown: Shown, width_in: float = 10.0) -> tuple[float, float]:
    """Return width and height in inches of the words' figure."""
    size, lines = _lines(shown.of, width_in)
    return width_in, 1.3 + len(lines) * 3.2 * size / 72


def draw_words(panel: FigureBase, shown: Shown, *, bar: bool = True, width_in: float = 10.0) -> None:
    """Draw the transcript, each word on the shade of its value, its second below; words not kept are dotted."""
    from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, VPacker

    ax = panel.subplots()
    ax.set_axis_off()
    size, lines = _lines(shown.of, width_in)
    words = iter(range(len(shown.of.speech_units)))
    rows: list[Any] = [
        HPacker(
            children=[_word(shown, k, size) for k in itertools.islice(words, n)], align="top", pad=0, sep=0.9 * size
        )
        for n in lines
    ]
    text = VPacker(children=rows, align="left", pad=0, sep=0.9 * size)
    ax.add_artist(AnchoredOffsetbox("upper left", child=text, frameon=False, pad=0.4, borderpad=0))
    if bar:
        colour_bar(panel, ax, shown.scale, shown.score)
        if not all(shown.of.kept):
            said = f"dotted: below the {shown.of.percentile:g}th percentile, silenced"
            panel.text(0.99, 0.01, said, ha="right", fontsize=8.5, color=GREY)


def _lines(explanation: Explanation, width_in: float) -> tuple[float, list[int]]:
    """Return the points of the type, larger for few words, and how many words stand in each line."""

    def cells(word: str) -> int:
        return sum(1 + (c in "mwMW\N{WHITE SQUARE}" or east_asian_width(c) in "WF") for c in plain(word, 40))

    # In letters of mean width: a word, at least as wide as its second, and the air around it.
    text = " ".join("x" * (max(cells(unit.word), 2) + 1) for unit in explanation.speech_units)
    # Few words are written large; where they are one part of many, very many are written small.
    for size in (18.0, 15.0, 13.0, 11.0) if width_in >= 10 else (18.0, 15.0, 13.0, 11.0, 8.0, 5.0):
        lines = textwrap.wrap(text, max(round(width_in * 72 / (0.64 * size)), 8), break_long_words=False)
        if len(lines) <= (2 if size > 11 else 12):
            break
    return size, [len(line.split()) for line in lines]


def _word(shown: Shown, k: int, size: float) -> Any:
    from matplotlib.offsetbox import TextArea, VPacker

    unit, shade = shown.of.speech_units[k], paint(shown.scale, shown.values.speech_units[k])
    box: dict[str, Any] = {"boxstyle": "round,pad=0.25", "facecolor": shade, "edgecolor": shade}
    if shown.of.kept and not shown.of.kept[k]:
        box |= {"edgecolor": DARK, "linestyle": ":", "linewidth": 1.5}
    word = TextArea(plain(unit.word, 40), textprops={"fontsize": size, "color": ink(shade), "bbox": box})
    second = TextArea(f"{unit.start_s:.2f}", textprops={"fontsize": 0.62 * size, "color": GREY})
    return VPacker(children=[word, second], align="center", pad=0, sep=0.4 * size)


# --- picture ----------------------------------------------------------------------------------------------------------


def picture_size(shown: Shown) -> tuple[float, float]:
    """Return width and height in inches of the picture's figure."""
    left, right, bottom, top = _view(shown)
    ratio = min(max((right - left) / (bottom - top), 0.4), 3.0)
    height = min(4.6, 7.5 / ratio)
    return max(height * ratio, 2.8) + 1.7, height + 1.3


def _view(shown: Shown) -> tuple[float, float, float, float]:
    """Return left, right, bottom, top of what is drawn, in pixels: the whole picture, or the near of a small box."""
    (height, width), (left, top, across, down) = shown.material.picture.shape[:2], shown.box
    margin = 0.3 * max(across, down) if across * down <= 0.3 * width * height else max(width, height)
    right, bottom = min(width, left + across + margin), min(height, top + down + margin)
    return max(0, left - margin), right, bottom, max(0, top - margin)


def draw_picture(panel: FigureBase, shown: Shown, *, bar: bool = True, finder: bool = True) -> None:
    """Draw the upright picture under the shades of its units, the part that the model saw framed.

    A unit is the more opaque the more it matters, in place of going through grey, so that the picture stays as it is
    where nothing happened. Where the model saw a small part only, the figure goes near, and the finder, a small
    picture, shows where that is.
    """
    from matplotlib.patches import Rectangle

    ax, picture, view = panel.subplots(), np.asarray(shown.material.picture), _view(shown)
    left, top, width, height = box = shown.box
    owner, values = owners(shown.of), np.asarray(shown.values.image_units)
    extent = (left, left + width, top + height, top)
    shades = paint(shown.scale, 0.8 * shown.limit * np.sign(values))
    shades[:, 3] = _OPACITY * np.clip(np.abs(values) / shown.limit, 0, 1) ** 0.75
    ax.imshow(picture, alpha=0.5)  # on white: what the model did not see is pale
    ax.imshow(picture[top : top + height, left : left + width], extent=extent)
    ax.imshow(shades[owner], extent=extent, interpolation="nearest")
    ax.add_patch(Rectangle(box[:2], width, height, fill=False, edgecolor=DARK, linewidth=1.4))
    if len(values) <= 1024:
        draw_edges(ax, owner, box, color="white", linewidth=0.6, alpha=0.6)
    _mark_strongest(ax, shown, owner)
    ax.set(xlim=view[:2], ylim=view[2:])  # imshow takes the view to what it drew
    ax.set_axis_off()
    if finder and view != (0, picture.shape[1], picture.shape[0], 0):
        small = ax.inset_axes((1.03, 0.7, 0.3, 0.3), anchor="NW")
        small.imshow(picture)
        small.set_axis_off()
        for colour, across in (("white", 2.6), (DARK, 1.2)):
            small.add_patch(Rectangle(box[:2], width, height, fill=False, edgecolor=colour, linewidth=across))
    if bar:
        colour_bar(panel, ax, shown.scale, shown.score)


def _mark_strongest(ax: Axes, shown: Shown, owner: np.ndarray) -> None:
    """Outline the strongest units, dark in white so that it is seen on any picture, with their values in them."""
    from matplotlib.patheffects import withStroke

    left, top, width, height = shown.box
    values, placed = shown.values.image_units, list[tuple[float, float]]()
    # A border of nothing: a unit at the edge is closed there, and one that is everything has an outline at all.
    around = (left - width / 128, top - height / 128, width * 130 / 128, height * 130 / 128)
    strongest = [k for k in sorted(range(len(values)), key=lambda k: -abs(values[k]))[:_N_STRONGEST] if values[k]]
    for colour, across in (("white", 3.2), (DARK, 1.3)):
        for k in strongest:
            draw_edges(ax, np.pad(owner == k, 1), around, color=colour, linewidth=across)
    for k in strongest:
        rows, columns = np.nonzero(owner == k)
        # A bent unit's centre may lie outside it: the place in it that is nearest.
        near = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
        x, y = left + (columns[near] + 0.5) / 128 * width, top + (rows[near] + 0.5) / 128 * height
        while any(abs(x - a) < 0.24 * width and abs(y - b) < 0.075 * height for a, b in placed):
            y += 0.08 * height
        placed.append((x, y))
        halo = [withStroke(linewidth=2.5, foreground="white")]
        ax.text(x, y, number(values[k], shown.limit), ha="center", va="center", fontsize=8.5, path_effects=halo)
