"""Every figure of an explanation from one place: the single ones, all of them in one, and as files.

Figures belong to nobody else: no pyplot, no window, no global state. One scale of shades serves all figures of a
sample: yellow for the class, blue against it (paper Fig. 4), or orange and blue for any colour vision.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..explanation.result import Explanation
from .division_plots import division_plot
from .drawing import (
    DARK,
    GREY,
    Colours,
    colour_bar,
    of_class,
    place,
    plain,
    save,
    score_name,
    text,
    unit_shades,
    width_pt,
)
from .interaction_plots import interaction_plot
from .picture_plots import picture_plot
from .signal_plots import speech_plot, words_height, words_plot
from .value_plots import modality_plot, waterfall_plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "division_plot",
    "interaction_plot",
    "modality_plot",
    "overview",
    "picture_plot",
    "save_all",
    "speech_plot",
    "waterfall_plot",
    "words_plot",
]

_WIDTH = 11.0  # inches; the letters are read at half the width of a screen
_MARGIN = 0.25
_SIDE = 3.4  # the picture's column


def overview(explanation: Explanation, *, target: str | None = None, colours: Colours = "paper") -> Figure:
    """Return one figure with what there is: speech, words, picture, modalities, and the units that matter most.

    Without material (read from JSON) speech and picture are left out.

    Args:
        explanation: of one modality or both.
        target: class whose values are shown; the explained one when None.
        colours: `paper` (yellow for, blue against) or `safe` (for any colour vision).

    Raises:
        OptionError: no such class or colours.
    """
    from matplotlib.figure import Figure

    name, values = of_class(explanation, target)
    scale = unit_shades(values, colours)
    hears, sees, reads = _applies(explanation)
    left_width = _WIDTH - 2 * _MARGIN - (_SIDE + 0.3 if sees and (hears or reads) else 0)
    words = words_height(explanation, left_width) if reads else 0.0
    speech = 3.45 if hears else 0.0
    upper = max(speech + words, 3.5 if sees else 0.0)
    n_rows = min(8, len(values.speech_units) + len(values.image_units)) + 3
    lower = max(0.26 * n_rows, 2.0)
    beside = sees and not (hears or reads)  # a picture alone stands next to the numbers
    if beside:
        upper, lower = -0.3, 4.4
    height = 0.95 + upper + 0.45 + lower + 0.65
    figure = Figure(figsize=(_WIDTH, height))
    top = height - 0.95
    if hears:
        across = left_width - 0.55
        axes = place(figure, 0.75, top - 1.3, across, 1.0), place(figure, 0.75, top - 2.85, across, 1.5)
        speech_plot(explanation, axes, target=name, colours=colours, bar=False)
    if reads:
        lines = place(figure, _MARGIN, top - speech - words, left_width, words)
        words_plot(explanation, lines, bar=False, target=name, colours=colours)
    if sees:
        spot = (_MARGIN, 0.55, 4.4, lower) if beside else (_WIDTH - _MARGIN - _SIDE, top - 3.4, _SIDE, 3.3)
        picture_plot(explanation, place(figure, *spot), bar=False, finder=False, target=name, colours=colours)
    alone = len(explanation.modalities) == 1
    if not (alone or beside):
        modality_plot(explanation, place(figure, 1.55, 0.55, 3.0, lower), target=name, colours=colours)
    left = 2.1 if alone and not beside else 7.1
    way = place(figure, left, 0.55, _WIDTH - 0.5 - left, lower)
    waterfall_plot(explanation, way, k=8, target=name, colours=colours)
    _draw_heading(figure, explanation, name)
    bar_at = place(figure, _WIDTH - _MARGIN - 2.6, height - 0.42, 2.5, 0.13)
    bar_at.set_axis_off()
    colour_bar(bar_at, scale, score_name(explanation, name), (0, 0, 1, 1))
    return figure


NAMES = tuple(
    f"{name}.png"
    for name in (
        *("explanation", "speech", "words", "picture", "modality", "waterfall", "division"),
        *("interaction", "interaction_maps"),
    )
)
"""What `save_all` may write."""


def save_all(
    explanation: Explanation,
    folder: str | os.PathLike[str],
    *,
    target: str | None = None,
    colours: Colours = "paper",
) -> list[Path]:
    """Write the figures that apply as PNG into a folder, made where it is missing, and return their paths.

    `explanation.png` is the overview; then `speech`, `words`, `picture`, `modality`, `waterfall`, `division`,
    `interaction` and `interaction_maps`, each where the sample, the method and the material have what it shows.

    Raises:
        OptionError: no such class or colours.
    """
    name, values = of_class(explanation, target)
    hears, sees, reads = _applies(explanation)
    crosses = values.interactions is not None and len(explanation.modalities) == 2
    wanted: list[tuple[str, bool, Callable[..., Figure]]] = [
        ("explanation", True, overview),
        ("speech", hears, speech_plot),
        ("words", reads, words_plot),
        ("picture", sees, picture_plot),
        ("modality", True, modality_plot),
        ("waterfall", True, waterfall_plot),
        ("division", bool(explanation.nodes), division_plot),
        ("interaction", crosses, interaction_plot),
    ]
    target_folder = Path(folder)
    paths = [
        save(draw(explanation, target=name, colours=colours), target_folder / f"{stem}.png")
        for stem, applies, draw in wanted
        if applies
    ]
    if crosses:
        maps = interaction_plot(explanation, target=name, colours=colours, small_multiples=True)
        paths.append(save(maps, target_folder / "interaction_maps.png"))
    return paths


def _applies(explanation: Explanation) -> tuple[bool, bool, bool]:
    """Return whether there is a waveform to draw, a picture, and words."""
    material = explanation.material
    hears = "speech" in explanation.modalities and getattr(material, "waveform", None) is not None
    sees = "image" in explanation.modalities and getattr(material, "picture", None) is not None
    return hears, sees, explanation.units == "words"


def _draw_heading(figure: Figure, explanation: Explanation, target: str) -> None:
    prediction = explanation.prediction
    heard = " and ".join("picture" if modality == "image" else modality for modality in explanation.modalities)
    said = plain(prediction.emotion, 30)
    sure = f"{prediction.probs[prediction.emotion]:.0%} sure, from {heard}"
    height = figure.get_size_inches()[1]
    left = _MARGIN / _WIDTH
    figure.text(left, 1 - 0.38 / height, said, fontsize=20, fontweight="bold", color=DARK, **text(said))
    values = explanation.values[target]
    beside = left + (width_pt(said, 20) * 1.15 + 8) / 72 / _WIDTH  # bold is wider
    figure.text(beside, 1 - 0.38 / height, sure, fontsize=11, color=DARK)
    ends = (f"{value:.3f}".replace("-", "\N{MINUS SIGN}") for value in (values.base, values.full))
    line = "{}: {} with nothing present, {} with everything ({})".format(
        score_name(explanation, target), *ends, explanation.method
    )
    figure.text(left, 1 - 0.66 / height, line, fontsize=9.5, color=GREY, **text(line))
