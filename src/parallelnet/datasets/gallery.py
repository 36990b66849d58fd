"""`gallery.html` of a built data set: which rows it shows, and their signals in a form that a page holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import image
from ..errors import InputError
from ..options import LimitOptions
from ..report import gallery
from . import excerpt
from .draft import Draft
from .inspection import classes_of, name_of, open_report, shard_paths
from .tally import batches

ROWS = 60
"""Rows of a page, as long as they fit into it."""

MAX_BYTES = 14_000_000
"""Of a page: what a browser opens and a mail program sends without complaint."""

_EXCLUDED = 20_000  # ids of earlier marks that a page carries along


def write_gallery(
    out: Path, path: Path | None = None, *, manifest: Mapping[str, Any] | None = None, n: int = ROWS, skip: int = 0
) -> Path:
    """Write a page of rows to look at, listen to and mark, and return its path.

    Args:
        out: folder that `build tweets` made.
        path: the page; `gallery.html` in `out` when left out.
        manifest: what `dataset.json` will hold, where it is not written yet; read from the folder when left out.
        n: rows, spread over the classes by a fixed rule; fewer where they would make the page too large.
        skip: rows of earlier pages, so that the whole of a set can be gone through.

    Raises:
        ManifestError: no build, a build that did not finish, or shards that are missing or cut off.
    """
    report = open_report(out, manifest)
    classes, shards = classes_of(report), shard_paths(out, report)
    ids = excerpt.choose(shards, classes, report.labels, n, skip)
    limits = LimitOptions(max_pixels=int(report.options.get("max_pixels", LimitOptions().max_pixels)))
    rows = (_shown(row, report.labels, limits) for row in excerpt.load(shards, ids, signals=True))
    return gallery.write(
        path or out / "gallery.html",
        gallery.within(rows, MAX_BYTES),
        title=f"{name_of(report)}: speech + picture {report.labels}",
        classes=classes,
        fingerprint=report.fingerprint,
        n_kept=report.n_kept,
        first=skip,
        excluded=tuple(_excluded(out)),
    )


def _excluded(out: Path) -> Iterator[str]:
    """Yield the ids that marks left out of this build, where they are few enough to go along."""
    path = out / "rejected.parquet"
    if not path.is_file():
        return
    found: list[str] = []
    for batch in batches([path], ("id", "reason")):
        pairs = zip(batch.column("id").to_pylist(), batch.column("reason").to_pylist(), strict=True)
        found += [id_ for id_, reason in pairs if reason == "excluded"]
    yield from found if len(found) <= _EXCLUDED else ()


def _shown(row: Draft, labels: str, limits: LimitOptions) -> gallery.GalleryRow:
    try:
        picture = gallery.picture_uri(image.read(row.image, limits=limits))
    except InputError:  # it was read when the set was built; a newer Pillow may think otherwise
        picture = ""
    return gallery.GalleryRow(
        id=row.id,
        label=row.label if labels == "emotion" else row.sentiment,
        text=row.text,
        words=row.word_times or tuple((word, 0.0, 0.0) for word in row.spoken_text.split()),
        picture=picture,
        sound=gallery.sound_uri(row.speech, row.duration_s) if row.speech else "",
        duration_s=row.duration_s,
        voice=row.tts_voice,
        language=row.language,
        sentiment=row.sentiment,
        speech_probs=row.speech_probs,
        image_probs=row.image_probs,
        source=row.label_source,
        confidence=row.confidence,
    )
