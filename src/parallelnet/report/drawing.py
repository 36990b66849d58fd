"""What the views of an explanation share: its parts in order, values as shades, texts taken literally, files.

Words, class names and file names come from anywhere. They are drawn as they are: no mathematics between dollar signs,
no characters that the fonts lack (matplotlib would warn at every drawing, long after the figure left our hands).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..errors import unknown
from ..explanation.result import ClassValues, Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure, FigureBase

Colours = Literal["paper", "safe"]
DARK, GREY, PALE = "#222222", "#666666", "#DDDDDD"
SMALLEST = 0.01  # the strongest colour stands for at least this much: values near 0 shall not look like large ones

# From against to for. The middle is a grey that is seen on white; the ends are as far from it as from each other.
# `paper` is the yellow and blue of the paper's Fig. 4. `safe` ends in Okabe and Ito's blue and vermilion, which are of
# like lightness, so that both sides weigh the same, and are told apart with any colour vision.
_STOPS: dict[str, tuple[str, ...]] = {
    "paper": ("#2450AE", "#5B86D6", "#A9BEE3", "#E3E3E0", "#F9E38C", "#FFD23A", "#F7B200"),
    "safe": ("#0072B2", "#4A9CCB", "#A6CBE2", "#E3E3E3", "#F1C3A0", "#E48F52", "#D55E00"),
}
_DPI = 150
# Tried for what the default font lacks, where they are installed. No colour fonts: matplotlib cannot draw them.
_SCRIPTS = (
    *(f"Noto Sans {name}" for name in ("CJK SC", "CJK JP", "Devanagari", "Bengali", "Tamil", "Telugu", "Thai")),
    *("Noto Sans Arabic", "Noto Sans Hebrew", "Noto Emoji", "Arial Unicode MS", "Microsoft YaHei", "Malgun Gothic"),
    *("Nirmala UI", "Segoe UI Symbol"),
)


# --- the parts of an explanation --------------------------------------------------------------------------------------


class Shown:
    """What a figure is of: an explanation, the class whose values are shown, and the colours.

    Attributes:
        of: the explanation.
        material: its signals; None where it was read from JSON.
        box: left, top, width, height of the part of the picture that the model saw.
        target: the class.
        values: what every part did to its score.
        colours: `paper` or `safe`.
        scale: shades of speech and picture units, so that one means the same in every figure of a sample.
        limit: value of the strongest shade.
        score: what the values are parts of: `probability of happy`.
    """

    def __init__(self, explanation: Explanation, target: str | None = None, colours: Colours = "paper") -> None:
        """Choose the class, the explained one when None.

        Raises:
            OptionError: the explanation has no such class, or there are no such colours.
        """
        self.of, self.target, self.colours = explanation, target or explanation.target, colours
        self.material: Any = explanation.material
        self.box: Any = explanation.image_box
        if self.target not in explanation.values:
            raise unknown("target", self.target, explanation.values, "--target")
        self.values = explanation.values[self.target]
        self.scale = shades(colours, self.values.speech_units, self.values.image_units, *self.values.speech_bands)
        self.limit = limit_of(self.scale)
        self.score = f"{explanation.score} of {plain(self.target, 30)}"

    def name(self, key: str) -> str:
        """Return the name of a unit, `s3` or `i5`; a word with its second, because words repeat."""
        place = int(key[1:])
        if key[0] == "i":
            return self.of.image_unit_name(place)
        unit = self.of.speech_units[place]
        word = plain(unit.word, 16)
        if not word.isascii():  # marks of direction: the seconds stay behind a word that is written from right to left
            word = plain(f"\N{LEFT-TO-RIGHT MARK}{word}\N{LEFT-TO-RIGHT MARK}", 18)
        return f"{word} ({unit.start_s:.2f} s)" if word else self.of.speech_unit_name(place)


def steps(values: ClassValues, most: int) -> list[tuple[str, str, float]]:
    """Return the way from base to score as (key, what, change), the largest units first.

    The key of a unit is `s3` or `i5`, and its `what` is "". Units beyond `most` are one step, and so is what a method
    loses (`paper`): their key is "".
    """
    units = [(f"s{k}", "", value) for k, value in enumerate(values.speech_units)]
    units += [(f"i{k}", "", value) for k, value in enumerate(values.image_units)]
    units.sort(key=lambda unit: -abs(unit[2]))
    lost = values.full - values.base - math.fsum(unit[2] for unit in units)
    if len(units) > most + 1:
        units[most:] = [("", f"{len(units) - most} other parts", math.fsum(unit[2] for unit in units[most:]))]
    return [*units, ("", "in no part", lost)] if abs(lost) > 1e-6 else units


def divisions(explanation: Explanation) -> list[tuple[str, list[tuple[int, int, int]]]]:
    """Return for each modality its name and (place in `nodes`, level, leaves to the left) of each part."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    levels, free = [-1], [0]  # of each part, and of nobody in front: its level, and the leaves up to its next half
    for place, node in enumerate(explanation.nodes):
        level, left = levels[node.parent + 1] + 1, free[node.parent + 1] if node.parent >= 0 else 0
        free[node.parent + 1] += len(node.units)
        levels.append(level)
        free.append(left)
        found.setdefault(node.modality, []).append((place, level, left))
    return list(found.items())


def envelope(wave: npt.NDArray[np.float32], columns: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the lowest and the highest value of a waveform in each of at most so many columns of equal length."""
    cuts = np.arange(min(columns, len(wave))) * len(wave) // min(columns, len(wave))
    return np.minimum.reduceat(wave, cuts), np.maximum.reduceat(wave, cuts)


def owners(explanation: Explanation) -> npt.NDArray[np.intp]:
    """Return the picture unit that each pixel of the model's square, `[128, 128]`, belongs to."""
    if explanation.image_grid is None:
        return np.asarray(explanation.image_labels, np.intp).reshape(128, 128)
    (rows, columns), twice = explanation.image_grid, 2 * np.arange(128) + 1
    return (twice * rows // 256)[:, None] * columns + twice * columns // 256


# --- values as shades -------------------------------------------------------------------------------------------------


def shades(colours: Colours, *values: Iterable[float]) -> ScalarMappable:
    """Return the diverging scale that holds all of these values, the same distance to both sides of 0.

    Raises:
        OptionError: no such colours.
    """
    if colours not in _STOPS:
        raise unknown("colours", str(colours), get_args(Colours), "--colours")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    limit = max((abs(value) for some in values for value in some), default=0.0)
    limit = max(limit, SMALLEST)
    return ScalarMappable(Normalize(-limit, limit), LinearSegmentedColormap.from_list(colours, _STOPS[colours]))


def limit_of(scale: ScalarMappable) -> float:
    """Return the value of a scale's strongest shade."""
    return float(scale.get_clim()[1] or SMALLEST)


def paint(scale: ScalarMappable, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return RGBA in [0, 1], `[..., 4]`, of values `[...]`."""
    return np.asarray(scale.to_rgba(np.asarray(values, np.float64)))


def ink(background: Iterable[float]) -> str:
    """Return black or white, whichever has the greater WCAG contrast with an RGB or RGBA colour."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in background]
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return "black" if luminance > 0.179 else "white"  # where (L + 0.05)^2 = 1.05 * 0.05: both have the same contrast


def colour_bar(panel: FigureBase, axes: Any, scale: ScalarMappable, label: str) -> None:
    """Draw the scale below axes, read from the side of against to the side of for; `label` says of what."""
    bar = panel.colorbar(scale, ax=axes, location="bottom", shrink=0.5, aspect=30)
    limit = limit_of(scale)
    ends = (-limit, 0.0, limit)
    bar.set_ticks(ends, labels=[number(value, limit) for value in ends])
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2, colors=DARK)
    sides = f"against \N{LEFTWARDS ARROW} {label} \N{RIGHTWARDS ARROW} for"
    bar.set_label(sides, fontsize=8.5, color=DARK)


def table(
    ax: Axes, cells: npt.NDArray[np.float64], said: Sequence[Sequence[str]], rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Draw a table: each cell in its colour, RGBA `[rows, columns, 4]`, with its text in black or white."""
    ax.imshow(cells, aspect="auto", interpolation="nearest")
    for i, row in enumerate(said):
        for j, text in enumerate(row):
            ax.text(j, i, text, ha="center", va="center", fontsize=8, linespacing=1.3, color=ink(cells[i, j]))
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns)
    ax.tick_params(length=0, colors=DARK)
    ax.spines[:].set_visible(False)


def draw_edges(ax: Axes, owner: npt.NDArray[Any], box: Sequence[float], **style: Any) -> None:
    """Draw lines where neighbouring pixels of the model's square, `[n, n]` in a box, have different owners."""
    left, top, width, height = box
    across, down = width / owner.shape[1], height / owner.shape[0]
    rows, columns = np.nonzero(owner[:, 1:] != owner[:, :-1])
    ax.vlines(left + (columns + 1) * across, top + rows * down, top + (rows + 1) * down, **style)
    rows, columns = np.nonzero(owner[1:] != owner[:-1])
    ax.hlines(top + (rows + 1) * down, left + columns * across, left + (columns + 1) * across, **style)


# --- texts and files --------------------------------------------------------------------------------------------------


def plain(said: str, longest: int = 60) -> str:
    """Return a text as it can be drawn on one line: no control characters, no characters that no font here has."""
    said = " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in said).split())
    said = "".join(c if c.isascii() else _drawable(c) for c in said)
    return said if len(said) <= longest else said[: longest - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def number(value: float, limit: float) -> str:
    """Return a signed number with as many decimals as values up to `limit` need."""
    decimals = 1 if limit >= 10 else 2 if limit >= 1 else 3
    rounded = round(value, decimals) + 0.0  # + 0.0: no minus before 0
    return minus(f"{rounded:+.{decimals}f}") if rounded else "0"


def minus(number: str) -> str:
    """Return a number as text with the sign that is as wide as a plus."""
    return number.replace("-", "\N{MINUS SIGN}")


def panels(figure: FigureBase, *, heights: Sequence[float] = (1,), widths: Sequence[float] = (1,)) -> list[Any]:
    """Return parts of a figure, below one another with these heights or beside one another with these widths."""
    parts: Any = figure.subfigures(len(heights), len(widths), height_ratios=heights, width_ratios=widths)
    return list(np.ravel(parts))


def heading(panel: FigureBase, said: str, **style: Any) -> None:
    """Write what a figure shows above its left edge."""
    panel.suptitle(plain(said, 90), **{"x": 0.01, "ha": "left", "fontsize": 11, "fontweight": "bold", **style})


def literal(figure: Figure) -> Figure:
    """Return a figure whose texts are drawn as they are, with more fonts where they need them."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        if not text.get_text().isascii():
            text.set_fontfamily(list(_families()))
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG and return its path. The same figure is the same file: no date, no version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    literal(figure).savefig(path, dpi=_DPI, bbox_inches="tight", pad_inches=0.12, metadata={"Software": None})
    return path


@lru_cache(1)
def _families() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ("sans-serif", *(name for name in _SCRIPTS if name in installed))


@lru_cache(1)
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    def of(name: str, weight: str) -> set[int]:
        return set(get_font(findfont(FontProperties(family=name, weight=weight))).get_charmap())

    # Titles are bold, and a bold font may have fewer characters.
    return frozenset().union(*(of(name, "normal") & of(name, "bold") for name in _families()))


def _drawable(character: str) -> str:
    if ord(character) in _characters():
        return character
    # What joins or varies its neighbours has no shape of its own to miss.
    return "" if unicodedata.category(character) in ("Cf", "Mn", "Me") else "\N{WHITE SQUARE}"
