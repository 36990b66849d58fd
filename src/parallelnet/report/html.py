"""One explanation as one HTML file that needs nothing else, the index of many, and what every page is made of.

Everything that is shown is written into the page here, for the class that was explained; the page's script repaints it
for the other classes, plays, and lights up. Without a script, and on paper, the essentials are still there.

A page needs no network, no other file, no program but a browser. Names, transcripts and class names come from anywhere:
Jinja escapes them, the script gets them in one JSON block and only ever writes them as text, and the page's content
policy runs no script but its own, known by its hash.
"""

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import soundfile
from markupsafe import Markup, escape
from PIL import Image

from ..audio import SAMPLE_RATE_HZ
from ..errors import unknown
from ..explanation.result import ClassValues, Explanation
from . import drawing
from .drawing import SMALLEST, Colours
from .numbers import environment, short

LONGEST_SIDE = 1200  # pixels of the picture in a page

_COLUMNS = 1000  # of a waveform: more than a screen shows, and no more for an hour than for a second
_LOSSLESS_S = 30  # longer speech is written as MP3, which every browser plays as well, at about 18 kbit/s
_STEPS = 12  # parts named one by one on the way from base to score
_ROWS = 400  # of the table of all numbers; the JSON has them all
_SEEN = 5e-4  # what is less is not spoken of


def render(
    explanation: Explanation,
    *,
    title: str = "",
    speech_name: str = "",
    image_name: str = "",
    colours: Colours = "paper",
) -> str:
    """Return the page of one explanation.

    Args:
        explanation: what is shown; without material there are neither players nor picture, and the page says so.
        title: heading; the names of the files when left out.
        speech_name: name of the speech file, for the reader.
        image_name: name of the picture file, for the reader.
        colours: `paper` (yellow for, blue against) or `safe` (told apart with any colour vision); the page can switch.

    Raises:
        OptionError: there are no such colours.
    """
    if colours not in get_args(Colours):
        raise unknown("colours", colours, get_args(Colours), "colours")
    view = _View(explanation)
    return render_page(
        "report.html.j2",
        explanation=explanation,
        view=view,
        title=title or " + ".join(filter(None, (speech_name, image_name))) or "Explanation",
        speech_name=speech_name,
        image_name=image_name,
        colours=colours,
        divisions=drawing.divisions(explanation),
        data=script_json({"explanation": explanation.to_dict(), "page": view.for_script()}),
    )


def render_index(rows: Sequence[Mapping[str, str]], *, title: str = "Explanations") -> str:
    """Return the page that lists many explanations.

    Args:
        rows: of `explanations.csv`, in the order in which they are shown, with `thumbnail`: a data URI, or "".
        title: heading.
    """
    judged = [row["label"] == row["emotion"] for row in rows if row["label"] and row["emotion"]]
    emotions = sorted({row["emotion"] for row in rows} - {""})
    return render_page("index.html.j2", rows=rows, title=title, emotions=emotions, judged=judged)


class _View:
    """An explanation in the terms of its page: shades, places in percent, outlines; what the template asks for.

    Values have keys: s speech unit, i picture unit, x pair of them, n part of the division, l its loss, b mel band.
    """

    def __init__(self, explanation: Explanation) -> None:
        self.of = explanation
        self.points = explanation.score == "probability"  # shown in percent and percentage points, else as it is
        self.classes = list(explanation.values)
        self.target = self.classes.index(explanation.target)
        self.said = Counter(unit.word for unit in explanation.speech_units)
        self.keyed = [dict(_keyed(values)) for values in explanation.values.values()]
        self.scales = [_scales(values, SMALLEST if self.points else 10 * SMALLEST) for values in self.keyed]
        self.factor = 100 if self.points else 1
        self.digits = 1 if self.factor * self.scales[self.target]["s"] >= 5 else 2

    def for_script(self) -> dict[str, Any]:
        """Return values and scales of every class by the keys that elements carry, and names for the readout."""
        names = {key: self.name(key).striptags() for key in self.keyed[self.target] if key[0] in "si"}
        names |= {f"n{k}": self.node_name(k) for k in range(len(self.of.nodes))}
        return {
            "names": {key: short(name) for key, name in names.items()},
            "values": [{key: round(value, 7) for key, value in values.items()} for values in self.keyed],
            "scales": self.scales,
            "target": self.target,
            "factor": self.factor,
            "unit": "points" if self.points else "log-odds",
            "digits": self.digits,
        }

    # --- names as text ------------------------------------------------------------------------------------------------

    def name(self, key: str) -> Markup:
        """Return a unit's name as it stands in text: a word between quotation marks, on one line.

        A word is isolated from the direction of the text around; one that is said more than once has its second too.
        """
        place = int(key[1:])
        unit = self.of.speech_units[place] if key[0] == "s" else None
        if unit is None or not unit.word:
            said = self.of.speech_unit_name(place).replace("-", "\u2013") if unit else self.of.image_unit_name(place)
            return escape(said.replace(" ", "\u00a0"))
        when = f" at\u00a0{unit.start_s:.1f}\u00a0s" if self.said[unit.word] > 1 else ""
        return Markup("\u201c<bdi>{}</bdi>\u201d{}").format(short(unit.word), when)

    def node_name(self, place: int) -> str:
        """Return what a part of the division holds: seconds, words, or cells."""
        node = self.of.nodes[place]
        parts, bands = self.of.division_parts(node)
        if node.modality == "speech":
            units = self.of.speech_units
            said = f"{units[parts[0]].start_s:.2f}\u2013{units[parts[-1]].end_s:.2f} s"
            if units[parts[0]].word:
                said = " ".join(short(units[k].word) for k in parts[:6]) + " \u2026" * (len(parts) > 6)
            return said if len(bands) in (0, self.of.mel_bands) else f"{said}, {_span('band', bands, '')}"
        if len(node.units) == 1:
            return self.of.image_unit_name(parts[0])
        if self.of.image_grid is None:
            return f"{len(node.units)} regions"
        rows, columns = zip(*(divmod(k, self.of.image_grid[1]) for k in node.units), strict=True)
        return f"{_span('row', rows)}, {_span('column', columns)}"

    # --- speech -------------------------------------------------------------------------------------------------------

    @property
    def duration_s(self) -> float:
        """Seconds of the speech, with the quiet that was left out; without material, up to the last unit's end."""
        wave = getattr(self.of.material, "waveform", None)
        end_s = max((unit.reach_end_s for unit in self.of.speech_units), default=0.0)
        return end_s if wave is None else len(wave) / SAMPLE_RATE_HZ

    def players(self) -> Iterator[tuple[str, str, str, list[str]]]:
        """Yield (kind, sound as data URI, outline of the whole waveform, outline of each unit)."""
        material = self.of.material
        if material is None or material.waveform is None:
            return
        loudest = float(np.abs(material.waveform).max(initial=0.0)) or 1.0
        reaches = [(unit.reach_start_s, unit.reach_end_s) for unit in self.of.speech_units]
        for kind in ("original", "kept", "silenced", "inverted"):
            wave = material.waveform if kind == "original" else getattr(material, kind)
            if wave is not None:
                wave = np.asarray(wave, np.float32)
                yield kind, sound(wave), *waves(wave, reaches, max(loudest, float(np.abs(wave).max(initial=0.0))))

    # --- picture ------------------------------------------------------------------------------------------------------

    def pictures(self) -> Iterator[tuple[str, float, float, float, float]]:
        """Yield (data URI, left, top, width, height): the whole, and on top of it sharper what the model saw."""
        picture = getattr(self.of.material, "picture", None)
        if picture is not None:
            (height, width), box = picture.shape[:2], self.of.image_box
            yield jpeg(picture, LONGEST_SIDE), 0, 0, width, height
            if box is not None and max(height, width) > max(LONGEST_SIDE, *box[2:]):
                left, top, wide, high = box
                yield jpeg(picture[top : top + high, left : left + wide], 800), left, top, wide, high

    def regions(self) -> list[str]:
        """Return the outline of each picture unit, in the model's square of 128 x 128."""
        units = self.of.of_target.image_units
        owner = drawing.owners(self.of) if units else np.empty(0)
        return [outline(owner == unit) for unit in range(len(units))]

    # --- the way from base to score, and all numbers ------------------------------------------------------------------

    def steps(self, name: str) -> list[tuple[str, Markup | str, float, float]]:
        """Return (key, name, from, to) of the parts that move a class most, the rest as one, in order of size."""
        at, found = self.of.values[name].base, []
        for key, said, change in drawing.steps(self.of.values[name], _STEPS):
            found.append((key, said or self.name(key), at, at + change))
            at += change
        return found

    def rows(self) -> list[str]:
        """Return the keys of the units in their order; of very many, the largest for the target."""
        own = {key: abs(value) for key, value in self.keyed[self.target].items() if key[0] in "si"}
        kept = set(sorted(own, key=lambda key: -own[key])[:_ROWS])
        return [key for key in own if key in kept]

    def telling(self, values: ClassValues) -> Iterator[tuple[str, float, list[tuple[Markup, float]]]]:
        """Yield for each modality its name, value, and (name, value) of the two units that count most.

        A sampled value within twice its standard error may as well be 0: it is not named.
        """
        for modality, prefix, value, of_units, errors in (
            ("speech", "s", values.speech, values.speech_units, values.speech_errors),
            ("picture", "i", values.image, values.image_units, values.image_errors),
        ):
            sure = [
                (self.name(f"{prefix}{k}"), own)
                for k, own in sorted(enumerate(of_units), key=lambda each: -abs(each[1]))
                if abs(own) > 2 * (errors[k] if errors else 0) and abs(own) >= _SEEN
            ]
            if of_units:
                yield modality, value, sure[:2]


def _span(what: str, places: Iterable[int], plural: str = "s") -> str:
    first, last = min(places := list(places)) + 1, max(places) + 1
    return f"{what} {first}" if first == last else f"{what}{plural} {first}\u2013{last}"


def _keyed(values: ClassValues) -> Iterator[tuple[str, float]]:
    columns = (values.speech_units, values.image_units, values.nodes, values.lost)
    for letter, column in zip("sinl", columns, strict=True):
        yield from ((f"{letter}{k}", value) for k, value in enumerate(column))
    for letter, rows in (("x", values.interactions or ()), ("b", values.speech_bands)):
        yield from ((f"{letter}{j}.{k}", value) for j, row in enumerate(rows) for k, value in enumerate(row))


def _scales(values: dict[str, float], smallest: float) -> dict[str, float]:
    """Return for each letter the value of the strongest colour; speech and picture share one, to be compared."""
    largest = dict.fromkeys("sixnlb", smallest)
    for key, value in values.items():
        largest[key[0]] = max(largest[key[0]], abs(value))
    largest["s"] = largest["i"] = max(largest["s"], largest["i"])
    return largest


# --- what every page is made of ---------------------------------------------------------------------------------------


def render_page(template: str, **content: Any) -> str:
    """Return a page that needs nothing else: the template with its style and script inside, which alone may run."""
    stem, folder = template.partition(".")[0], Path(__file__).with_name("templates")
    css, js = (Markup((folder / f"{stem}.{kind}").read_text(encoding="utf-8")) for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(js.encode()).digest()).decode()
    page = environment(__package__).get_template(template).render(css=css, js=js, script_hash=digest, **content)
    return page.encode("utf-8", "replace").decode()  # file names may hold bytes that are no text


def script_json(data: Any) -> Markup:
    """Return JSON that no HTML parser takes for markup, and no old script engine for the end of a line."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


# --- signals ----------------------------------------------------------------------------------------------------------


def sound(wave: npt.NDArray[np.float32]) -> str:
    """Return speech as FLAC, or long speech as MP3: what Chromium, Firefox and Safari all play."""
    file = io.BytesIO()
    mp3 = len(wave) > _LOSSLESS_S * SAMPLE_RATE_HZ
    kind: dict[str, Any] = {"format": "FLAC", "subtype": "PCM_16"}
    if mp3:
        kind = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE", "compression_level": 0.7}
    soundfile.write(file, np.clip(wave, -1.0, 1.0), SAMPLE_RATE_HZ, **kind)
    return _data_uri("audio/mpeg" if mp3 else "audio/flac", file)


def waves(
    wave: npt.NDArray[np.float32], reaches: Sequence[tuple[float, float]], loudest: float
) -> tuple[str, list[str]]:
    """Return the outline of a waveform, and of each part of it, as SVG paths in a field of 1000 x 100.

    Args:
        wave: float32 `[n]` at 16 kHz.
        reaches: start and end in seconds of each part.
        loudest: magnitude that fills the field.
    """
    low, high = drawing.envelope(wave / loudest, _COLUMNS)
    columns = len(low)
    low, high = np.minimum(low, -0.008), np.maximum(high, 0.008)  # a hair's width: silence is a line, not nothing

    def path(start_s: float, end_s: float) -> str:
        start, stop = (round(at * SAMPLE_RATE_HZ / len(wave) * columns) for at in (start_s, end_s))
        at = np.arange(start, min(stop + 1, columns))  # one column more, to meet the next part without a gap
        xs = np.concatenate([at, at[::-1]]) * 1000 / columns
        ys = 50 - 48 * np.concatenate([high[at], low[at[::-1]]])
        return "M" + "L".join(f"{x:.4g} {y:.1f}" for x, y in zip(xs, ys, strict=True)) + "z" if len(at) else ""

    return path(0.0, len(wave) / SAMPLE_RATE_HZ), [path(*reach) for reach in reaches]


def jpeg(picture: npt.NDArray[np.uint8], longest: int, quality: int = 85) -> str:
    """Return a picture, uint8 `[h, w, 3]`, as JPEG with at most `longest` pixels a side."""
    image = Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return _data_uri("image/jpeg", file)


def _data_uri(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def outline(inside: npt.NDArray[np.bool_]) -> str:
    """Return the border of a region, bool `[h, w]`, as an SVG path along the edges of its pixels."""
    padded = np.pad(inside, 1)
    ways: dict[complex, list[complex]] = {}  # from each corner (x + y i), which ways the border goes on
    # Clockwise around each pixel: top to the right, right side down, bottom to the left, left side up.
    for way, corner in ((1, 0), (1j, 1), (-1, 1 + 1j), (-1j, 1j)):
        outward = way * -1j
        border = padded & ~np.roll(padded, (-int(outward.imag), -int(outward.real)), (0, 1))
        for row, column in np.argwhere(border) - 1:
            ways.setdefault(complex(column, row) + corner, []).append(way)
    path: list[str] = []
    while ways:
        at, before = next(iter(ways)), 0j
        corners = []
        while at in ways:
            way = ways[at].pop()
            if not ways[at]:
                del ways[at]
            if way != before:
                corners.append(f"{at.real:.0f} {at.imag:.0f}")
            at, before = at + way, way
        path.append(f"M{'L'.join(corners)}z")
    return "".join(path)
