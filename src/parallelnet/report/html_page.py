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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from markupsafe import Markup
from PIL import Image

from ..audio import SAMPLE_RATE_HZ
from .drawing import envelope
from .numbers import environment

LONGEST_SIDE = 1200
"""Pixels of the picture in a page."""

_COLUMNS = 1000  # of a waveform: more than a screen shows, and no more for an hour than for a second
_LOSSLESS_S = 30  # longer speech is written as MP3, which every browser plays as well, at about 18 kbit/s


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
