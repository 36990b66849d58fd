"""A built data set as people see it: counted anew, with examples by a fixed rule, and as a page to mark rows in.

The rule for what is shown: the smallest SHA-256 of their ids in each class, the classes taking turns. It looks like
chance, needs no seed, and does not depend on shards, so the same data set always shows the same rows.

The page, `gallery.html`, is for the paper's manual cleaning (section 3.1). It needs nothing else and connects to
nothing. Marks are kept by the browser, under the data set's fingerprint, and leave it only as a csv that the reader
saves.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import soundfile

from .. import image
from ..data.built import DATASET_JSON, BuildReport, read_report, refuse_damaged
from ..data.shards import REJECTED_COLUMNS, Example, read_rows, read_shard
from ..errors import InputError, ManifestError
from ..options import LimitOptions
from ..report.html import jpeg, render_page, script_json, sound
from .counts import Counts, tally

MARKS: dict[str, str] = {
    "wrong-label": "wrong label",
    "broken": "broken",
    "duplicate": "duplicate",
    "offensive": "offensive",
    "other": "other",
}
"""Why a person leaves a row out: as the exported csv says it, and as the page does."""

_MOST_ROWS = 60  # of the page, as long as they fit into it
_MOST_BYTES = 14_000_000  # of the page: what a browser opens and a mail program sends without complaint
_MOST_EXCLUDED = 20_000  # ids of earlier marks that a page carries along
_PICTURE_SIDE = 480  # pixels: enough to judge a picture by, 30 to 40 kB
_LOSSLESS_S = 30.0  # longer speech is written anew as MP3, a fifth of the size
_MARGIN = 200_000  # bytes of style, script and frame


def inspect(out: Path, *, examples: int = 3, report: BuildReport | None = None) -> dict[str, Any]:
    """Return what a built data set holds, for the terminal, for JSON and for its card.

    That is `dataset.json`, and `name`, `classes` in index order, `tally` (see `counts.tally`) and `examples`. Its files
    must be those that were built, and are counted anew.

    Args:
        out: folder that `build tweets` made.
        examples: rows to show of each class.
        report: what `dataset.json` will hold, where it is not written yet.

    Raises:
        ManifestError: no build, a build that did not finish, or files that are missing or not what was built.
    """
    if report is None:  # else the files were written a moment ago
        report = read_report(out)
        refuse_damaged(out, report.damaged(out))
    counts, shards = Counts(), report.paths(out)
    for shard in shards:
        for example in read_shard(shard, with_bytes=False):
            counts.add(example)
    if counts.n_kept != report.n_kept:
        raise ManifestError(
            f"The shards of {out} hold {counts.n_kept:,} rows, but {DATASET_JSON} says {report.n_kept:,}. "
            "Mend: copy the folder again, or build again with --overwrite."
        )
    shown = [
        {
            "id": row.id,
            "label": class_of(row, report.labels),
            "spoken_text": row.spoken_text,
            "source": row.label_source,
            "confidence": row.confidence,
            "voice": row.tts_voice,
            "language": row.language,
            "duration_s": row.duration_s,
        }
        for row in load(shards, choose(shards, report, examples * len(report.classes)), with_bytes=False)
    ]
    shown.sort(key=lambda example: report.classes.index(str(example["label"])))
    own = {"name": report.name, "classes": list(report.classes), "tally": tally(counts, report.labels)}
    return {**asdict(report), **own, "examples": shown}


def class_of(row: Example, labels: str) -> str:
    """Return the class of a row, where `labels` (`emotion` or `sentiment`) are learnt."""
    return row.label if labels == "emotion" else row.sentiment


def choose(shards: Sequence[Path], report: BuildReport, n: int) -> tuple[str, ...]:
    """Return the ids of at most `n` rows to show, in the order of showing."""
    column = "label" if report.labels == "emotion" else "sentiment"

    def digest(id_: str) -> bytes:
        return hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest()

    def ids(name: str) -> Iterator[str]:
        for path in shards:
            yield from (row["id"] for row in read_rows(path, ("id", column)) if row[column] == name)

    ranked = [heapq.nsmallest(n, ids(name), key=digest) for name in report.classes]  # memory for n ids a class
    return tuple(id_ for turn in zip_longest(*ranked) for id_ in turn if id_ is not None)[:n]


def load(shards: Sequence[Path], ids: Sequence[str], *, with_bytes: bool) -> Iterator[Example]:
    """Yield the rows with these ids, in the order of the ids, with their sound and picture or without."""
    wanted = set(ids)
    found: dict[str, Example] = {}
    for path in shards if wanted else ():
        # Most shards of a large data set hold none of them: their sounds and pictures are not read at all.
        if any(record["id"] in wanted for record in read_rows(path, ("id",))):
            found |= {row.id: row for row in read_shard(path, with_bytes=with_bytes) if row.id in wanted}
    yield from (found[id_] for id_ in ids)


# --- the page ---------------------------------------------------------------------------------------------------------


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
    rows = load(shards, choose(shards, report, _MOST_ROWS), with_bytes=True)
    rejected = read_rows(out / "rejected.parquet", ("id", "reason"), REJECTED_COLUMNS)
    # Exported again, so that the new csv does for the next build what both did.
    excluded = [record["id"] for record in rejected if record["reason"] == "excluded"]
    page = render(
        within((_card(row, class_of(row, report.labels), limits) for row in rows), _MOST_BYTES),
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
    picture = ""
    with suppress(InputError):  # it was read when the set was built; a newer Pillow may think otherwise
        picture = jpeg(image.read(row.image, limits=limits), _PICTURE_SIDE, quality=74)
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
