"""An explanation in the terms of its page: shades, places in percent, sentences; what the template asks for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from markupsafe import Markup

from ..audio import SAMPLE_RATE_HZ
from ..explanation.result import ClassValues, Explanation
from .html_signals import LONGEST_SIDE, jpeg, outline, sound, waves

_STEPS = 12  # parts named one by one on the way from base to score
_ROWS = 400  # of the table of all numbers; the JSON has them all
_LONGEST_NAME = 60  # characters of a word, class or file that are shown
_ABSENT_SPEECH = {"band-floor": "each band at its floor", "mean": "each band at its mean", "blur": "blurred speech"}
_ABSENT_IMAGE = {"black": "a black picture", "mean": "a picture of its mean colour", "blur": "a blurred picture"}
_SMALLEST = 0.01  # the strongest colour stands for at least this much: values near 0 shall not look like large ones


class View:
    """An explanation in the terms of the page: shades, places in percent, outlines, sentences."""

    def __init__(self, explanation: Explanation) -> None:
        """Gather every class's values under the keys that the page's elements carry."""
        self.of = explanation
        self.points = explanation.score == "probability"  # shown in percent and percentage points, else as it is
        self.classes = list(explanation.values)
        self.target = self.classes.index(explanation.target)
        self.said = Counter(unit.word for unit in explanation.speech_units)
        self.keyed = [dict(_keyed(values)) for values in explanation.values.values()]
        self.scales = [_scales(values, 1.0 if self.points else 10.0) for values in self.keyed]
        scale = self.scales[self.target]["s"] * (100 if self.points else 1)
        self.digits = 1 if scale >= 5 else 2

    # --- what the script gets -----------------------------------------------------------------------------------------

    def for_script(self) -> dict[str, Any]:
        """Return values and scales of every class by the keys that elements carry, and names for the readout."""
        names = {key: self.name(key).striptags() for key in self.keyed[self.target] if key[0] in "si"}
        names |= {f"n{k}": self.node_name(k) for k in range(len(self.of.nodes))}
        return {
            "names": {key: short(name) for key, name in names.items()},
            "values": [{key: round(value, 7) for key, value in values.items()} for values in self.keyed],
            "scales": self.scales,
            "target": self.target,
            "factor": 100 if self.points else 1,
            "unit": "points" if self.points else "log-odds",
            "digits": self.digits,
        }

    # --- numbers as text ----------------------------------------------------------------------------------------------

    def score(self, value: float) -> str:
        """Return a score: `96.1%`, or the log-odds."""
        return f"{100 * value:.1f}%" if self.points else f"{value:.2f}".replace("-", "\u2212")

    def signed(self, value: float, digits: int | None = None) -> str:
        """Return a value with its sign, in points or log-odds; one that rounds to 0 has none."""
        text = f"{value * (100 if self.points else 1):+.{self.digits if digits is None else digits}f}"
        return text.lstrip("+-") if not float(text) else text.replace("-", "\u2212")

    def shade(self, key: str, style: str = "") -> Markup:
        """Return the attributes of an element coloured by the value with this key; `style` is CSS of ours."""
        value = self.keyed[self.target].get(key, 0.0)
        part = min(1.0, abs(value) / self.scales[self.target][key[0]])
        return Markup('data-u="{}" data-sign="{}" style="{}--m:{:.3f}"').format(
            key, "-" if value < 0 else "+", style, part
        )

    # --- speech -------------------------------------------------------------------------------------------------------

    @property
    def duration_s(self) -> float:
        """Seconds of the speech, with the quiet that was left out; without material, up to the last unit's end."""
        material = self.of.material
        if material is not None and material.waveform is not None:
            return float(len(material.waveform)) / SAMPLE_RATE_HZ
        return max((unit.reach_end_s for unit in self.of.speech_units), default=0.0)

    def players(self) -> Iterator[tuple[str, str, str, list[str]]]:
        """Yield (kind, sound as data URI, outline of the whole waveform, outline of each unit)."""
        material = self.of.material
        if material is None or material.waveform is None:
            return
        loudest = float(np.abs(material.waveform).max(initial=0.0)) or 1.0
        for kind in ("original", "kept", "silenced", "inverted"):
            wave = material.waveform if kind == "original" else getattr(material, kind)
            if wave is not None:
                wave = np.asarray(wave, np.float32)
                reaches = [(unit.reach_start_s, unit.reach_end_s) for unit in self.of.speech_units]
                yield kind, sound(wave), *waves(wave, reaches, max(loudest, float(np.abs(wave).max(initial=0.0))))

    def ticks(self) -> list[tuple[float, str]]:
        """Return (percent, text) of at most ten times under the waveform, none so late that its text sticks out."""
        steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)
        step = next((step for step in steps if self.duration_s / step <= 9), 3600)
        places = [k * step for k in range(int(self.duration_s / step) + 1)] if self.duration_s else []
        return [(100 * at / self.duration_s, _clock(at, step)) for at in places if at <= 0.94 * self.duration_s]

    # --- picture ------------------------------------------------------------------------------------------------------

    def pictures(self) -> Iterator[tuple[str, float, float, float, float]]:
        """Yield (data URI, left, top, width, height): the whole, and on top of it sharper what the model saw."""
        picture = self.of.material.picture if self.of.material is not None else None
        if picture is None:
            return
        height, width = picture.shape[:2]
        yield jpeg(picture, LONGEST_SIDE), 0, 0, width, height
        box = self.of.image_box
        if box is not None and max(height, width) > LONGEST_SIDE and max(box[2:]) < max(height, width):
            left, top, wide, high = box
            yield jpeg(picture[top : top + high, left : left + wide], 800), left, top, wide, high

    def regions(self) -> list[str]:
        """Return the outline of each picture unit, in the model's square of 128 x 128."""
        count = len(self.of.of_target.image_units)
        if self.of.image_grid is None:
            labels = np.asarray(self.of.image_labels, np.int64).reshape(128, -1) if self.of.image_labels else None
            return [] if labels is None else [outline(labels == unit) for unit in range(count)]
        rows, columns = self.of.image_grid
        wide, high = 128 / columns, 128 / rows
        places = (divmod(unit, columns) for unit in range(count))
        return [f"M{column * wide:.5g} {row * high:.5g}h{wide:.5g}v{high:.5g}h-{wide:.5g}z" for row, column in places]

    @property
    def frame(self) -> tuple[float, float, float, float] | None:
        """Left, top, width, height of what is shown of the picture: what the model saw with a little around it."""
        if self.of.image_box is None or self.of.image_size is None:
            return None
        left, top, width, height = self.of.image_box
        margin = 0.12 * max(width, height)
        x, y = max(0.0, left - margin), max(0.0, top - margin)
        right, bottom = (
            min(self.of.image_size[0], left + width + margin),
            min(self.of.image_size[1], top + height + margin),
        )
        return x, y, right - x, bottom - y

    # --- the way from base to score -----------------------------------------------------------------------------------

    def steps(self, name: str) -> list[tuple[str, Markup, float, float]]:
        """Return (key, name, from, to) of the parts that move a class most, the rest as one, in order of size."""
        values = self.of.values[name]
        units = [(f"s{k}", value) for k, value in enumerate(values.speech_units)]
        units += [(f"i{k}", value) for k, value in enumerate(values.image_units)]
        units.sort(key=lambda unit: -abs(unit[1]))
        named, rest = units[:_STEPS], units[_STEPS:]
        if len(rest) == 1:
            named, rest = units, []
        rows = [(key, self.name(key), value) for key, value in named]
        if rest:
            rows.append(("", Markup("{} other parts").format(len(rest)), math.fsum(value for _, value in rest)))
        if values.efficiency_gap > 1e-6:  # `paper` loses some on the way down
            lost = values.full - values.base - math.fsum(value for _, value in units)
            rows.append(("", Markup("in no part"), lost))
        at, steps = values.base, []
        for key, label, value in rows:
            steps.append((key, label, at, at + value))
            at += value
        return steps

    def axis(self, values: Iterable[float]) -> tuple[float, float]:
        """Return the lowest value and the width of an axis that holds these with some air."""
        values = list(values)
        low, high = min(values), max(values)
        air = 0.04 * max(high - low, _SMALLEST)
        return low - air, high - low + 2 * air

    def name(self, key: str) -> Markup:
        """Return a unit's name as it stands in text: a word between quotation marks, on one line.

        A word is isolated from the direction of the text around; one that is said more than once has its second too.
        """
        place = int(key[1:])
        if key[0] == "i":
            return Markup("{}").format(self.of.image_unit_name(place).replace(" ", "\u00a0"))
        unit = self.of.speech_units[place]
        if not unit.word:
            return Markup("{}").format(self.of.speech_unit_name(place).replace("-", "\u2013").replace(" ", "\u00a0"))
        when = f" at\u00a0{unit.start_s:.1f}\u00a0s" if self.said[unit.word] > 1 else ""
        return Markup("\u201c<bdi>{}</bdi>\u201d{}").format(short(unit.word), when)

    # --- the table of all numbers -------------------------------------------------------------------------------------

    def rows(self) -> list[str]:
        """Return the keys of the units in their order; of very many, the largest for the target."""
        own = self.keyed[self.target]
        keys = [key for key in own if key[0] in "si"]
        kept = set(sorted(keys, key=lambda key: -abs(own[key]))[:_ROWS])
        return [key for key in keys if key in kept]

    def left_out(self) -> int:
        """Return how many units `rows` leaves out."""
        return max(0, len(self.of.of_target.speech_units) + len(self.of.of_target.image_units) - _ROWS)

    def error(self, key: str) -> str:
        """Return the standard error of a unit's value for the target."""
        values = self.of.of_target
        errors = values.speech_errors if key[0] == "s" else values.image_errors
        return self.signed(errors[int(key[1:])], 2).lstrip("+") if errors else ""

    # --- in words -----------------------------------------------------------------------------------------------------

    def absent(self) -> str:
        """Return what stands in place of what is absent: `silence and a black picture`."""
        speech, image = self.of.speech_baseline, self.of.image_baseline
        return " and ".join(
            text for text in (_ABSENT_SPEECH.get(speech, speech), _ABSENT_IMAGE.get(image, image)) if text
        )

    def why(self, name: str) -> Markup:
        """Return one sentence of why a class has its score, from the numbers and no more than they say."""
        values, both = self.of.values[name], len(self.of.modalities) > 1
        change = values.full - values.base
        start, end = self.score(values.base), self.score(values.full)
        label = Markup("<b><bdi>{}</bdi></b>").format(short(name))
        if max(map(abs, (*values.speech_units, *values.image_units, change)), default=0.0) < 5e-4:
            return Markup("No part of this sample moves {}: it stays at {}.").format(label, end)
        moved = "stays" if start == end else "rises" if change > 0 else "falls"
        text = Markup("From {} with {}, {} {} {} {}").format(
            start, self.absent() or "nothing", label, moved, "at" if start == end else "to", end
        )
        parts = []
        for modality, prefix, value, of_units, errors in (
            ("speech", "s", values.speech, values.speech_units, values.speech_errors),
            ("picture", "i", values.image, values.image_units, values.image_errors),
        ):
            if of_units:
                # A sampled value within twice its standard error may as well be 0: it is not named.
                sure = [
                    k for k, v in enumerate(of_units) if abs(v) > 2 * (errors[k] if errors else 0) and abs(v) >= 5e-4
                ]
                best = sorted(sure, key=lambda k: -abs(of_units[k]))[:2]
                most = Markup(" and ").join(
                    Markup("{} ({})").format(self.name(f"{prefix}{k}"), self.signed(of_units[k])) for k in best
                )
                lead = Markup("the {} brings {}, ").format(modality, self.amount(value)) if both else Markup("")
                plural = "parts are" if len(best) > 1 else "part is"
                told = (
                    Markup("{} largest {} {}").format("its" if both else "the", plural, most)
                    if most
                    else Markup("no part stands out")
                )
                parts.append(lead + told)
        text += Markup(": ") + Markup("; ").join(parts)
        if both and abs(values.synergy) >= 5e-4:
            more = "more" if values.synergy > 0 else "less"
            amount = self.amount(abs(values.synergy)).lstrip("+")
            text += Markup("; the two together are worth {} {} than the sum of what each does alone").format(
                amount, more
            )
        return text + Markup(".")

    def amount(self, value: float) -> str:
        """Return a signed value with its unit: `+9.1 points`."""
        return f"{self.signed(value)} {'points' if self.points else 'in log-odds'}"

    # --- the division -------------------------------------------------------------------------------------------------

    def divisions(self) -> Iterator[tuple[str, int, list[tuple[str, int, float, float]]]]:
        """Yield for each modality (name, levels, (key, level, left, width in percent) of each part)."""
        children: dict[int, list[int]] = {}
        for place, node in enumerate(self.of.nodes):
            children.setdefault(node.parent, []).append(place)
        for root in children.get(-1, []):
            parts: list[tuple[str, int, float, float]] = []
            stack, at = [(root, 0)], 0
            total = len(self.of.nodes[root].units)
            while stack:  # depth first, so that leaves come from left to right
                place, level = stack.pop()
                width = len(self.of.nodes[place].units)
                parts.append((f"n{place}", level, 100 * at / total, 100 * width / total))
                below = children.get(place, [])
                at += 0 if below else width
                stack += [(child, level + 1) for child in reversed(below)]
            yield self.of.nodes[root].modality, 1 + max(part[1] for part in parts), parts

    def node_name(self, place: int) -> str:
        """Return what a part of the division holds: seconds, words, or cells."""
        node = self.of.nodes[place]
        parts, bands = self.of.division_parts(node)
        first, last = parts[0], parts[-1]
        if node.modality == "speech":
            units = self.of.speech_units
            words = " ".join(short(units[k].word) for k in parts[:6]) + (" \u2026" if len(parts) > 6 else "")
            said = words if units[first].word else f"{units[first].start_s:.2f}\u2013{units[last].end_s:.2f} s"
            if len(bands) in (0, self.of.mel_bands):
                return said
            return f"{said}, band {bands[0] + 1}" + (f"\u2013{bands[-1] + 1}" if len(bands) > 1 else "")
        if len(node.units) == 1:
            return self.of.image_unit_name(first)
        if self.of.image_grid is None:
            return f"{len(node.units)} regions"
        spans = []
        for axis, word in enumerate(("row", "column")):
            places = {divmod(k, self.of.image_grid[1])[axis] + 1 for k in node.units}
            first, last = min(places), max(places)
            spans.append(f"{word} {first}" if first == last else f"{word}s {first}\u2013{last}")
        return ", ".join(spans)


def short(text: str) -> str:
    """Return a text that is not ours cut to what a line holds; the JSON has all of it."""
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "\u2026"


def _clock(seconds: float, step: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{rest:.1f} s" if step < 1 else f"{seconds:.0f} s" if step < 30 else f"{minutes:.0f}:{rest:02.0f}"


def _keyed(values: ClassValues) -> Iterator[tuple[str, float]]:
    """Yield (key, value) of everything coloured: s speech unit, i picture unit, x pair, n part, l its loss, b band."""
    for letter, column in zip(
        "sinl", (values.speech_units, values.image_units, values.nodes, values.lost), strict=True
    ):
        yield from ((f"{letter}{k}", value) for k, value in enumerate(column))
    for letter, table in (("x", values.interactions or ()), ("b", values.speech_bands)):
        yield from ((f"{letter}{j}.{k}", value) for j, row in enumerate(table) for k, value in enumerate(row))


def _scales(values: dict[str, float], unit: float) -> dict[str, float]:
    """Return for each letter the value of the strongest colour; speech and picture share one, to be compared."""
    largest = {letter: _SMALLEST * unit for letter in "sixnlb"}
    for key, value in values.items():
        largest[key[0]] = max(largest[key[0]], abs(value))
    largest["s"] = largest["i"] = max(largest["s"], largest["i"])
    return largest
