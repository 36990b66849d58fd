"""Speech and pictures as text that stands in a page: data URIs and SVG outlines."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from ..audio import SAMPLE_RATE_HZ

LONGEST_SIDE = 1200
"""Pixels of the picture in a page."""

_COLUMNS = 1000  # of a waveform: more than a screen shows, and no more for an hour than for a second
_LOSSLESS_S = 30  # longer speech is written as MP3, which every browser plays as well, at about 18 kbit/s


def sound(wave: npt.NDArray[np.float32]) -> str:
    """Return speech as FLAC, or long speech as MP3: what Chromium, Firefox and Safari all play."""
    file = io.BytesIO()
    clipped = np.clip(wave, -1.0, 1.0)
    if len(wave) <= _LOSSLESS_S * SAMPLE_RATE_HZ:
        soundfile.write(file, clipped, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
        return _data_uri("audio/flac", file)
    soundfile.write(
        file,
        clipped,
        SAMPLE_RATE_HZ,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=0.7,
    )
    return _data_uri("audio/mpeg", file)


def waves(
    wave: npt.NDArray[np.float32], reaches: Sequence[tuple[float, float]], loudest: float
) -> tuple[str, list[str]]:
    """Return the outline of a waveform, and of each part of it, as SVG paths in a field of 1000 x 100.

    Args:
        wave: float32 `[n]` at 16 kHz.
        reaches: start and end in seconds of each part.
        loudest: magnitude that fills the field.
    """
    columns = min(_COLUMNS, len(wave))
    cuts = np.linspace(0, len(wave), columns + 1).astype(int)[:-1]
    # At least a hair's width: silence is a line, not nothing.
    high = np.maximum(np.maximum.reduceat(wave, cuts) / loudest, 0.008)
    low = np.minimum(np.minimum.reduceat(wave, cuts) / loudest, -0.008)

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
            if len(corners) > 1 and _in_line(corners[-2], at, to):
                corners[-1] = to
            else:
                corners.append(to)
            at = to
        path.append("M" + "L".join(f"{x} {y}" for x, y in corners) + "z")
    return "".join(path)


def _in_line(a: Sequence[int], b: Sequence[int], c: Sequence[int]) -> bool:
    return (a[0] == b[0] == c[0]) or (a[1] == b[1] == c[1])
