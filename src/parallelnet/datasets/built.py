"""A built data set as samples: its sounds and pictures unpacked once, so that everything that takes files takes it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath

from ..data.image_corpora import IMAGE_SUFFIXES, cache_root
from ..errors import ManifestError
from ..types import Sample
from . import shards
from .draft import Draft
from .record import DATASET_JSON, WORK, BuildReport, read_report

_log = logging.getLogger(__name__)


def is_built(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder that `build tweets` made, complete or not."""
    folder = Path(path)
    return (folder / DATASET_JSON).is_file() or (folder / WORK).is_dir()


def read_built(path: str | os.PathLike[str]) -> tuple[Sample, ...]:
    """Return the samples of a built data set, in the order of the input.

    `text` is the spoken text, to which `word_times` belong; the tweet itself is `extra["tweet"]`. The files lie below
    `cache_root()/built/FINGERPRINT`, where they are put when the data set is opened for the first time.

    Raises:
        ManifestError: the build is not complete or kept no row, a shard is missing or not the one that was built, or
            the files cannot be unpacked.
    """
    if not (Path(path) / DATASET_JSON).is_file():
        raise ManifestError(
            f"The data set in {path} is not complete: there is no {DATASET_JSON}. Mend: start the same "
            "`parallelnet build tweets` again; it goes on where it stopped."
        )
    report = read_report(Path(path))
    if not report.n_kept:
        raise ManifestError(
            f"The data set in {path} has no rows: all {report.n_read:,} of its input fell out. "
            "Mend: put right what rejected.parquet says, and build it again."
        )
    names = [str(shard["name"]) for shard in report.shards]
    # Each time: ids and labels are read from the shards also where sounds and pictures are unpacked already, and the
    # fingerprint, which names the cache, is that of these hashes: no other set can have put its files there.
    shards.refuse_damaged(Path(path), {name: sha for name, sha in report.files_sha256().items() if name[:5] == "data/"})
    folder = cache_root() / "built" / report.fingerprint
    if not folder.is_dir():
        try:
            _unpack(Path(path), report, folder)
        except OSError as error:
            raise ManifestError(
                f"The files of {path} cannot be unpacked into {folder}: {error.strerror}. Mend: make room there, or "
                "set XDG_CACHE_HOME to a folder that has some."
            ) from None
    return tuple(sample for name in names for sample in _samples(Path(path) / "data" / name, folder))


def _samples(shard: Path, folder: Path) -> Iterator[Sample]:
    for draft in shards.read_shard(shard, with_bytes=False):
        speech, image = _files(draft, folder / shard.stem)
        yield Sample(
            id=draft.id,
            speech=str(speech),
            image=str(image),
            text=draft.spoken_text,
            label=draft.label,
            sentiment=draft.sentiment,
            group=draft.group,
            image_group=draft.image_group,
            word_times=draft.word_times,
            extra=_extra(draft),
        )


def _extra(draft: Draft) -> dict[str, str]:
    facts: dict[str, str] = {
        "tweet": draft.text,
        "language": draft.language,
        "label_source": draft.label_source,
        "confidence": repr(draft.confidence),
        "tts_engine": draft.tts_engine,
        "tts_version": draft.tts_version,
        "tts_voice": draft.tts_voice,
        "image_dhash": f"{draft.image_dhash:016x}",
    }
    if draft.speech_probs and draft.image_probs:
        facts["speech_probs"] = json.dumps(draft.speech_probs)
        facts["image_probs"] = json.dumps(draft.image_probs)
    return facts


def _files(draft: Draft, folder: Path) -> tuple[Path, Path]:
    """Return where speech and picture of a row are unpacked, with names that only we choose."""
    suffix = PurePath(draft.image_path).suffix.lower()
    stem = f"{draft.row:08d}"
    return folder / f"{stem}.flac", folder / f"{stem}{suffix if suffix in IMAGE_SUFFIXES else '.image'}"


def _unpack(path: Path, report: BuildReport, folder: Path) -> None:
    """Write all sounds and pictures, and only then call the folder what it is called."""
    _log.info("%s: %d sounds and pictures are unpacked into %s, once.", path, report.n_kept, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=folder.parent))
    try:
        for listed in report.shards:
            shard = path / "data" / str(listed["name"])
            (partial / shard.stem).mkdir()
            for draft in shards.read_shard(shard):
                speech, image = _files(draft, partial / shard.stem)
                speech.write_bytes(draft.speech)
                image.write_bytes(draft.image)
        try:
            partial.replace(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same files
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
