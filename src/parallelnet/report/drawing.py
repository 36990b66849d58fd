"""What the figures of explanations share: shades of values, texts taken literally, sizes in inches, files.

Words, class names and file names come from anywhere. They are drawn as they are: no mathematics between dollar signs,
no characters that the fonts lack (matplotlib would warn at every drawing, long after the figure left our hands).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..errors import InputError, unknown
from ..explanation.result import ClassValues, Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Colours = Literal["paper", "safe"]
Colour = tuple[float, float, float, float]

DARK, GREY, PALE = "#222222", "#666666", "#DDDDDD"
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
"""For every text that is not ours."""

# From against to for. The middle is a grey that is seen on white; the ends are as far from it as from each other.
# `paper` is the yellow and blue of the paper's Fig. 4. `safe` ends in Okabe and Ito's blue and vermilion, which are of
# like lightness, so that both sides weigh the same, and are told apart with any colour vision.
_STOPS: dict[str, tuple[str, ...]] = {
    "paper": ("#2450AE", "#5B86D6", "#A9BEE3", "#E3E3E0", "#F9E38C", "#FFD23A", "#F7B200"),
    "safe": ("#0072B2", "#4A9CCB", "#A6CBE2", "#E3E3E3", "#F1C3A0", "#E48F52", "#D55E00"),
}
_DPI = 150
_SMALLEST = 0.01  # a scale is at least this wide: all values 0 shall not look like large ones
# Tried for what the default font lacks, where they are installed. No colour fonts: matplotlib cannot draw them.
_SCRIPTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Tamil",
    "Noto Sans Telugu",
    "Noto Sans Thai",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Emoji",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Nirmala UI",
    "Segoe UI Symbol",
)


# --- values as shades -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shades:
    """A diverging colour scale, the same distance to both sides of 0.

    Attributes:
        colours: the colour map.
        limit: value of its ends.
    """

    colours: Colormap
    limit: float

    def of(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return RGBA in [0, 1], `[..., 4]`, of values `[...]`."""
        scaled = np.asarray(values, np.float64) / self.limit
        return np.asarray(self.colours(0.5 + 0.5 * np.clip(scaled, -1, 1)), np.float64)

    def one(self, value: float) -> Colour:
        """Return the RGBA of one value."""
        red, green, blue, alpha = (float(part) for part in self.of(value))
        return red, green, blue, alpha

    def sign(self, value: float) -> Colour:
        """Return the full colour of a value's side: for bars, whose length already says how much."""
        # Not the very ends, which are darker than large areas should be.
        return self.one(float(np.sign(value)) * 0.72 * self.limit)

    def ink(self, value: float) -> str:
        """Return black or white, whichever reads better on a value's shade (contrast at least 4.5, WCAG AA)."""
        return ink(self.one(value))


def ink(background: Iterable[float]) -> str:
    """Return black or white, whichever has the greater WCAG contrast with an RGB or RGBA colour."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in background]
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return "black" if luminance > 0.179 else "white"  # where (L + 0.05)^2 = 1.05 * 0.05: both have the same contrast


def shades(colours: Colours, *values: Iterable[float]) -> Shades:
    """Return the scale that holds all of these values.

    Raises:
        OptionError: no such colours.
    """
    if colours not in _STOPS:
        raise unknown("colours", str(colours), get_args(Colours), "--colours")
    from matplotlib.colors import LinearSegmentedColormap

    limit = max((abs(value) for some in values for value in some), default=0.0)
    return Shades(LinearSegmentedColormap.from_list(colours, _STOPS[colours]), max(limit, _SMALLEST))


def unit_shades(values: ClassValues, colours: Colours) -> Shades:
    """Return the one scale of speech and picture units, so that a shade means the same in every figure of a sample."""
    bands = (value for unit in values.speech_bands for value in unit)
    return shades(colours, values.speech_units, values.image_units, bands)


def colour_bar(ax: Axes, scale: Shades, label: str, bounds: tuple[float, float, float, float]) -> Axes:
    """Draw the scale beside an axes and return its axes.

    Args:
        ax: what it belongs to.
        scale: what it shows.
        label: what its numbers are parts of; taken literally.
        bounds: left, bottom, width, height in parts of `ax`; lies down where it is wider than high.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    inset = ax.inset_axes(bounds)
    box = inset.get_window_extent()
    lies = box.width > box.height
    bar = figure_of(ax).colorbar(
        ScalarMappable(Normalize(-scale.limit, scale.limit), scale.colours),
        cax=inset,
        orientation="horizontal" if lies else "vertical",
    )
    bar.outline.set_visible(False)
    ends = (-scale.limit, 0.0, scale.limit)
    bar.set_ticks(ends, labels=[number(value, scale.limit) for value in ends])
    inset.tick_params(labelsize=8, length=2, colors=DARK)
    # Read from the side of blue to the side of yellow, lying or standing; a short bar has no room for the sides.
    label = plain(label)
    sides = f"against \N{LEFTWARDS ARROW} {label} \N{RIGHTWARDS ARROW} for"
    length = (box.width if lies else box.height) * 72 / figure_of(ax).dpi
    label = sides if width_pt(sides, 8.5) < 1.15 * length else label
    (inset.set_xlabel if lies else inset.set_ylabel)(label, fontsize=8.5, color=DARK, **text(label))
    return inset


# --- texts ------------------------------------------------------------------------------------------------------------


def plain(said: str, longest: int = 60) -> str:
    """Return a text as it can be drawn on one line: no control characters, no characters that no font here has."""
    said = " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in said).split())
    said = "".join(c if c.isascii() else _drawable(c) for c in said)
    return said if len(said) <= longest else said[: longest - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def text(said: str) -> dict[str, Any]:
    """Return how to draw a text that is not ours: literally, and with more fonts where it needs them."""
    return PLAIN if said.isascii() else {**PLAIN, "fontfamily": list(_families())}


def number(value: float, limit: float) -> str:
    """Return a signed number with as many decimals as values up to `limit` need."""
    decimals = 1 if limit >= 10 else 2 if limit >= 1 else 3
    rounded = round(value, decimals) + 0.0  # + 0.0: no minus before 0
    return (f"{rounded:+.{decimals}f}" if rounded else "0").replace("-", "\N{MINUS SIGN}")


@lru_cache(4096)
def width_pt(said: str, size: float) -> float:
    """Return the width of a text in points."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(dpi=72)  # a pixel is a point
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    drawn = figure.text(0, 0, said, fontsize=size, **text(said))
    return float(drawn.get_window_extent(renderer).width)


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


# --- explanations -----------------------------------------------------------------------------------------------------


def of_class(explanation: Explanation, target: str | None) -> tuple[str, ClassValues]:
    """Return the class that is shown, the explanation's target by default, and its values.

    Raises:
        OptionError: the explanation has no such class.
    """
    name = explanation.target if target is None else target
    if name not in explanation.values:
        raise unknown("target", name, explanation.values, "--target")
    return name, explanation.values[name]


def score_name(explanation: Explanation, target: str) -> str:
    """Return what the values are parts of: `probability of happy`."""
    return f"{explanation.score} of {plain(target, 30)}"


def need(explanation: Explanation, modality: str, signal: str = "") -> Any:
    """Return a signal of the material, or raise in one line what is missing.

    Args:
        explanation: what should have it.
        modality: `speech` or `image`, which the sample must have.
        signal: attribute of `Material`; "" asks for the modality alone.

    Raises:
        InputError: the sample lacks the modality, or the explanation its signals.
    """
    if modality not in explanation.modalities:
        other = "picture" if modality == "image" else "speech"
        raise InputError(f"This explanation is of a sample without {other}: there is nothing to draw.")
    if not signal:
        return None
    found = getattr(explanation.material, signal, None)
    if found is None:
        raise InputError(
            f"This explanation has no {signal} (material): it was read from JSON, which holds none. "
            "Mend: explain the files again."
        )
    return found


def unit_map(explanation: Explanation, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return values of the picture units as a picture: `[rows, columns]` of a grid, else `[128, 128]`."""
    values = np.asarray(values)
    if explanation.image_grid is not None:
        return values.reshape(explanation.image_grid)
    labels = np.asarray(explanation.image_labels, np.intp)
    side = round(len(labels) ** 0.5)
    return values[labels.reshape(side, side)]


MODALITY_NAMES = {"speech": "speech", "image": "picture"}
_LTR = "\N{LEFT-TO-RIGHT MARK}"


def speech_name(explanation: Explanation, index: int) -> str:
    """Return a word with its second, because words repeat; or a segment's seconds."""
    unit = explanation.speech_units[index]
    word = plain(unit.word, 16)
    if not word.isascii():  # marks of direction: the seconds stay behind a word that is written from right to left
        word = plain(f"{_LTR}{word}{_LTR}", 18)
    return f"{word} ({unit.start_s:.2f} s)" if word else explanation.speech_unit_name(index)


# --- figures ----------------------------------------------------------------------------------------------------------


def figure_of(ax: Axes) -> Figure:
    """Return the figure that an axes stands in."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Return a new axes at a place in inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def size_pt(ax: Axes) -> tuple[float, float]:
    """Return width and height of an axes in points, as it stands now."""
    box = ax.get_window_extent()
    dpi = figure_of(ax).dpi
    return box.width * 72 / dpi, box.height * 72 / dpi


def bare(ax: Axes) -> None:
    """Take frame and ticks away."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def heading(ax: Axes, said: str, above_in: float) -> None:
    """Write what a figure shows above its left edge, so many inches up."""
    said = plain(said, 90)
    ax.annotate(
        said,
        (0, 1),
        (0, 72 * above_in),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="left",
        va="bottom",
        fontsize=11,
        fontweight="bold",
        color=DARK,
        annotation_clip=False,
        **text(said),
    )


def title(ax: Axes, said: str, pad: float = 8) -> None:
    """Write what a figure shows as the title of its only axes, so many points up."""
    said = plain(said, 90)
    ax.set_title(said, loc="left", fontsize=11, fontweight="bold", color=DARK, pad=pad, **text(said))


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG and return its path. The same figure is the same file: no date, no version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    return path
