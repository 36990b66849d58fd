"""What every page is made of: its template, and speech and pictures as text, data URIs and SVG outlines.

A page needs nothing else: no network, no other file, no program but a browser. Names, transcripts and class names come
from anywhere. Jinja escapes them, the script gets them in one JSON block and only ever writes them as text, and the
page's content policy runs no script but its own, known by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ..audio import SAMPLE_RATE_HZ
from .drawing import envelope

LONGEST_SIDE = 1200
"""Pixels of the picture in a page."""

_LONGEST_NAME = 60  # characters of a word, class or file that are shown
_COLUMNS = 1000  # of a waveform: more than a screen shows, and no more for an hour than for a second
_LOSSLESS_S = 30  # longer speech is written as MP3, which every browser plays as well, at about 18 kbit/s


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("parallelnet", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "link": _link}
    return environment


def render_page(template: str, **content: Any) -> str:
    """Return a page that needs nothing else: the template with its style and script inside, which alone may run."""
    environment = _environment()
    assert environment.loader is not None
    sources = {}
    for kind in ("css", "js"):
        name = f"{template.split('.')[0]}.{kind}"
        sources[kind] = Markup(environment.loader.get_source(environment, name)[0])
    digest = base64.b64encode(hashlib.sha256(sources["js"].encode()).digest()).decode()
    page = environment.get_template(template).render(**sources, script_hash=digest, **content)
    return page.encode("utf-8", "replace").decode()  # file names may hold bytes that are no text


def script_json(data: Any) -> Markup:
    """Return JSON that no HTML parser takes for markup, and no old script engine for the end of a line."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _link(path: str) -> str:
    """Return a relative path as an address; what would be a scheme (`javascript:`) is part of the path."""
    return quote(path.encode("utf-8", "replace"), safe="/")


def short(text: str) -> str:
    """Return a text that is not ours cut to what a line holds; the JSON has all of it."""
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "\u2026"


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
    low, high = envelope(wave / loudest, _COLUMNS)
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
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Clockwise around each pixel: top to the right, right side down, bottom to the left, left side up.
    for shift, (x0, y0), (x1, y1) in (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    ):
        border = padded & ~np.roll(padded, (-shift[0], -shift[1]), (0, 1))
        for row, column in np.argwhere(border) - 1:
            steps.setdefault((int(column) + x0, int(row) + y0), []).append((int(column) + x1, int(row) + y1))
    path: list[str] = []
    while steps:
        start = at = next(iter(steps))
        corners: list[tuple[int, int]] = [start]
        while at in steps:
            to = steps[at].pop()
            if not steps[at]:
                del steps[at]
            if len(corners) > 1 and (corners[-2][0] == at[0] == to[0] or corners[-2][1] == at[1] == to[1]):
                corners.pop()  # on one straight line
            corners.append(to)
            at = to
        path.append("M" + "L".join(f"{x} {y}" for x, y in corners) + "z")
    return "".join(path)
