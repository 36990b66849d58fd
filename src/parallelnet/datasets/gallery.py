"""Rows of a built data set as one HTML file to look at, listen to and mark: the paper's manual cleaning (section 3.1).

The page needs nothing else and connects to nothing. Marks are kept by the browser, under the data set's fingerprint,
and leave it only as a csv that the reader saves.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile

from .. import image
from ..data.built import BuildReport, read_report
from ..data.shards import REJECTED_COLUMNS, Example, read_rows
from ..errors import InputError
from ..options import LimitOptions
from ..report.html_page import jpeg, render_page, script_json, sound
from .inspection import choose, class_of, load

MARKS: dict[str, str] = {
    "wrong-label": "wrong label",
    "broken": "broken",
    "duplicate": "duplicate",
    "offensive": "offensive",
    "other": "other",
}
"""Why a person leaves a row out: as the exported csv says it, and as the page does."""

MOST_ROWS = 60
"""Of the page, as long as they fit into it."""

MOST_BYTES = 14_000_000
"""Largest page: what a browser opens and a mail program sends without complaint."""

_MOST_EXCLUDED = 20_000  # ids of earlier marks that a page carries along
_PICTURE_SIDE = 480  # pixels: enough to judge a picture by, 30 to 40 kB
_LOSSLESS_S = 30.0  # longer speech is written anew as MP3, a fifth of the size
_MARGIN = 200_000  # bytes of style, script and frame


class Card(NamedTuple):
    """A row as the page shows it: with its class, and as data URIs picture and sound, "" where they cannot be shown."""

    row: Example
    label: str
    picture: str
    sound: str

    @property
    def words(self) -> tuple[tuple[str, float, float], ...]:
        """What is spoken: (word, start in s, end in s), all at 0 where no times are known."""
        return self.row.word_times or tuple((word, 0.0, 0.0) for word in self.row.spoken_text.split())

    @property
    def agreed(self) -> bool | None:
        """Whether both teachers find the same class most probable; None without both."""
        speech, picture = self.row.speech_probs, self.row.image_probs
        return speech.index(max(speech)) == picture.index(max(picture)) if speech and picture else None

    @property
    def n_bytes(self) -> int:
        """About how many bytes of the page it takes."""
        return len(self.picture) + len(self.sound) + 6 * len(self.row.text) + 120 * len(self.words) + 4000


def write_gallery(out: Path, *, report: BuildReport | None = None) -> Path:
    """Write `gallery.html` of a built data set, its rows spread over the classes, and return its path.

    Arguments and errors are those of `inspect`.
    """
    report = report or read_report(out)
    limits = LimitOptions(max_pixels=int(report.options.get("max_pixels", LimitOptions().max_pixels)))
    shards = report.paths(out)
    rows = load(shards, choose(shards, report, MOST_ROWS), with_bytes=True)
    rejected = read_rows(out / "rejected.parquet", ("id", "reason"), REJECTED_COLUMNS)
    # Exported again, so that the new csv does for the next build what both did.
    excluded = [record["id"] for record in rejected if record["reason"] == "excluded"]
    page = render(
        within((_card(row, class_of(row, report.labels), limits) for row in rows), MOST_BYTES),
        title=f"{report.name}: speech + picture {report.labels}",
        classes=report.classes,
        fingerprint=report.fingerprint,
        n_kept=report.n_kept,
        excluded=excluded if len(excluded) <= _MOST_EXCLUDED else (),
    )
    path = out / "gallery.html"
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def _card(row: Example, label: str, limits: LimitOptions) -> Card:
    try:
        picture = jpeg(image.read(row.image, limits=limits), _PICTURE_SIDE, quality=74)
    except InputError:  # it was read when the set was built; a newer Pillow may think otherwise
        picture = ""
    return Card(row, label, picture, sound_uri(row.speech, row.duration_s) if row.speech else "")


def sound_uri(flac: bytes, duration_s: float) -> str:
    """Return FLAC as a data URI: its very bytes, or an MP3 of what lasts longer than 30 s."""
    if duration_s > _LOSSLESS_S:
        wave, _ = soundfile.read(io.BytesIO(flac), dtype="float32")
        return sound(wave)
    return f"data:audio/flac;base64,{base64.b64encode(flac).decode()}"


def within(cards: Iterable[Card], most_bytes: int) -> list[Card]:
    """Return the first cards, as many as one page of at most so many bytes holds; at least one."""
    kept: list[Card] = []
    for card in cards:
        most_bytes -= card.n_bytes
        if kept and most_bytes < _MARGIN:
            break
        kept.append(card)
    return kept


def render(
    cards: Sequence[Card],
    *,
    title: str,
    classes: Sequence[str],
    fingerprint: str,
    n_kept: int,
    excluded: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        cards: in the order in which they are shown.
        title: heading.
        classes: in index order; those of the teachers' probabilities.
        fingerprint: of the data set; marks are kept under it.
        n_kept: rows of the whole data set.
        excluded: ids that this build left out already by marks.
    """
    return render_page(
        "gallery.html.j2",
        cards=cards,
        title=title,
        classes=[name for name in classes if any(card.label == name for card in cards)],
        all_classes=list(classes),
        sources=[name for name in ("speech", "image") if any(card.row.label_source == name for card in cards)],
        judged=any(card.agreed is not None for card in cards),
        languages=sorted({card.row.language for card in cards if card.row.language}),
        marks=MARKS,
        n_kept=n_kept,
        fingerprint=fingerprint,
        data=script_json({"fingerprint": fingerprint, "excluded": list(excluded), "marks": MARKS}),
    )
