"""Rows of a built data set as one HTML file to look at, listen to and mark: the paper's manual cleaning (section 3.1).

The page needs nothing else and connects to nothing, like `html`. Marks are kept by the browser, under the data set's
fingerprint, and leave it only as a csv that the reader saves.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from .html_page import jpeg, render_page, script_json, sound

MARKS: dict[str, str] = {
    "wrong-label": "wrong label",
    "broken": "broken",
    "duplicate": "duplicate",
    "offensive": "offensive",
    "other": "other",
}
"""Why a person leaves a row out: as the exported csv says it, and as the page does."""

_PICTURE_SIDE = 480  # pixels: enough to judge a picture by, 30 to 40 kB
_LOSSLESS_S = 30.0  # longer speech is written anew as MP3, a fifth of the size
_MARGIN = 200_000  # bytes of style, script and frame


@dataclass(frozen=True, slots=True)
class GalleryRow:
    """One row as the page shows it.

    Attributes:
        id: of the row; what is exported.
        label: its class.
        text: as found.
        words: (word, start in s, end in s) of what is spoken.
        picture: what `picture_uri` gave, or "" where it cannot be shown.
        sound: what `sound_uri` gave, or "".
        duration_s: of the sound.
        voice: that speaks.
        language: ISO 639-1, or "".
        sentiment: the source's own, or "".
        speech_probs: the speech teacher's, in the order of the classes; empty without teachers.
        image_probs: the picture teacher's.
        source: who decided: `speech`, `image`, or `source` for the source's own label.
        confidence: the deciding probability.
    """

    id: str
    label: str
    text: str
    words: tuple[tuple[str, float, float], ...]
    picture: str
    sound: str
    duration_s: float
    voice: str = ""
    language: str = ""
    sentiment: str = ""
    speech_probs: tuple[float, ...] = ()
    image_probs: tuple[float, ...] = ()
    source: str = ""
    confidence: float = 0.0

    @property
    def agreed(self) -> bool | None:
        """Whether both teachers find the same class most probable; None without both."""
        both = bool(self.speech_probs and self.image_probs)
        return int(np.argmax(self.speech_probs)) == int(np.argmax(self.image_probs)) if both else None

    @property
    def n_bytes(self) -> int:
        """About how many bytes of the page it takes."""
        return len(self.picture) + len(self.sound) + 6 * len(self.text) + 120 * len(self.words) + 4000


def picture_uri(picture: npt.NDArray[np.uint8]) -> str:
    """Return a picture, uint8 `[h, w, 3]`, as a data URI of a JPEG with at most 480 pixels a side."""
    return jpeg(picture, _PICTURE_SIDE, quality=74)


def sound_uri(flac: bytes, duration_s: float) -> str:
    """Return FLAC as a data URI: its very bytes, or an MP3 of what lasts longer than 30 s."""
    if duration_s > _LOSSLESS_S:
        wave, _ = soundfile.read(io.BytesIO(flac), dtype="float32")
        return sound(wave)
    return f"data:audio/flac;base64,{base64.b64encode(flac).decode()}"


def within(rows: Iterable[GalleryRow], most_bytes: int) -> tuple[GalleryRow, ...]:
    """Return the first rows, as many as one page of at most so many bytes holds; at least one."""
    kept: list[GalleryRow] = []
    for row in rows:
        most_bytes -= row.n_bytes
        if kept and most_bytes < _MARGIN:
            break
        kept.append(row)
    return tuple(kept)


def write(path: str | Path, rows: Sequence[GalleryRow], **facts: Any) -> Path:
    """Write `render`'s page of these rows and facts as UTF-8 and return its path."""
    Path(path).write_text(render(rows, **facts), encoding="utf-8", newline="\n")
    return Path(path)


def render(
    rows: Sequence[GalleryRow],
    *,
    title: str,
    classes: Sequence[str],
    fingerprint: str,
    n_kept: int,
    first: int = 0,
    excluded: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        rows: in the order in which they are shown.
        title: heading.
        classes: in index order; those of the teachers' probabilities.
        fingerprint: of the data set; marks are kept under it.
        n_kept: rows of the whole data set.
        first: rows that were left out at the front, shown by earlier pages.
        excluded: ids that this build left out already by marks; they are exported again, so that the new csv does for
            the next build what both did.
    """
    return render_page(
        "gallery.html.j2",
        rows=rows,
        title=title,
        classes=[name for name in classes if any(row.label == name for row in rows)],
        all_classes=list(classes),
        sources=[name for name in ("speech", "image") if any(row.source == name for row in rows)],
        judged=any(row.agreed is not None for row in rows),
        languages=sorted({row.language for row in rows if row.language}),
        marks=MARKS,
        n_kept=n_kept,
        first=first,
        fingerprint=fingerprint,
        data=script_json({"fingerprint": fingerprint, "excluded": list(excluded), "marks": MARKS}),
    )
