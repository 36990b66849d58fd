"""Samples from wherever they are: a corpus as published, a manifest, a built data set; and their fingerprint."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..errors import ManifestError
from ..types import Sample
from . import built
from .corpora import CORPORA, CorpusContent, read_corpus, read_own
from .manifest import MANIFEST_CSV, read_manifest
from .splits import drop_overlaps

_log = logging.getLogger(__name__)


def _parts(spec: str | os.PathLike[str]) -> tuple[str, Path]:
    """Return what stands before and behind the colon of `CORPUS:PATH`; "" and a path, even one with a colon in it."""
    name, colon, path = os.fspath(spec).partition(":")
    return (name, Path(path)) if colon and not Path(spec).exists() and "/" not in name else ("", Path(spec))


def open_content(spec: str | os.PathLike[str], *, keep_bad_rows: bool = False) -> CorpusContent:
    """Return samples and drops of `CORPUS:PATH`, a manifest, a folder with `manifest.csv`, or what `build tweets` made.

    Raises:
        OptionError: no such corpus.
        ManifestError: nothing usable there.
    """
    name, path = _parts(spec)
    if name:
        return read_corpus(name, path)
    if path.is_dir() and not (path / MANIFEST_CSV).is_file():
        if built.is_built(path):
            return CorpusContent(built.read_built(path), {})
        raise ManifestError(
            f"The folder {path} has no {MANIFEST_CSV}. Mend: name the manifest, or say which corpus it is: "
            f"CORPUS:{path} with one of {', '.join(CORPORA)}."
        )
    return CorpusContent(read_manifest(path, keep_bad_rows=keep_bad_rows), {})


def open_data(
    spec: str | os.PathLike[str], *, hash_images: bool = True, keep_bad_rows: bool = False
) -> tuple[Sample, ...]:
    """Return the samples of what `open_content` opens, ready to be trained on.

    A manifest is taken at its word. Pictures of a corpus as published get the hash of their content as `image_group`,
    and those that stand twice, in two splits or under two labels are dropped (`splits.drop_overlaps`). What was dropped
    is logged, by reason.

    Args:
        spec: as for `open_content`.
        hash_images: False leaves the pictures of a corpus unread (B-T4SA has 63 GB of them) and so undeduplicated.
        keep_bad_rows: a manifest's row that cannot be used becomes a sample with its `problem`, for batches that go on.

    Raises:
        ParallelNetError: see `open_content`.
    """
    name, _ = _parts(spec)
    content = open_content(spec, keep_bad_rows=keep_bad_rows)
    samples, drops = content.samples, Counter(content.drops)
    if name and CORPORA[name].reader is not read_own and hash_images:
        samples, dropped = drop_overlaps(with_image_groups(samples), target=CORPORA[name].target)
        drops.update(dropped)
    for reason, n in drops.items():
        _log.info("%s: %d dropped: %s", spec, n, reason)
    return samples


def digest(spec: str | os.PathLike[str]) -> str:
    """Return the sha256 of a manifest's bytes, or the fingerprint of what `build tweets` made.

    "" for a corpus as published: there is no one file that says what it holds, its samples do.

    Raises:
        ManifestError: it cannot be read.
    """
    name, path = _parts(spec)
    if name:
        return ""
    if path.is_dir() and (path / MANIFEST_CSV).is_file():
        path /= MANIFEST_CSV
    elif built.is_built(path):
        return built.read_report(path).fingerprint
    return file_hashes([str(path)])[str(path)]


def file_hashes(paths: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of each file's bytes, each file read once.

    Raises:
        ManifestError: a file cannot be read.
    """
    distinct = sorted(set(paths))

    def digest(path: str) -> str:
        try:
            with Path(path).open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ManifestError(f"{path} cannot be read: {error.strerror}.") from None

    with ThreadPoolExecutor(max_workers=4) as pool:  # waiting for the disk, not the processor, is what takes time
        return dict(zip(distinct, pool.map(digest, distinct), strict=True))


def with_image_groups(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples with the sha256 of their picture's bytes as `image_group` where they have none.

    Raises:
        ManifestError: a picture cannot be read.
    """
    hashes = file_hashes(s.image for s in samples if s.image is not None and not s.image_group)
    return tuple(replace(s, image_group=s.image_group or hashes.get(s.image or "", "")) for s in samples)


def fingerprint(samples: Iterable[Sample], *, hashes: Mapping[str, str] | None = None) -> str:
    """Return the sha256 over what the samples hold: their fields and the bytes of their files, in their order.

    It depends on neither the names nor the place of the files, so a copied folder has the same fingerprint; columns
    that we do not know do not count. The order counts, since training with the same seed shuffles from it. A file
    that is not there counts as missing.

    Args:
        samples: with paths that can be opened.
        hashes: sha256 by path, where they are known already; None reads every file.
    """
    listed = list(samples)
    if hashes is None:
        paths = {p for s in listed for p in (s.speech, s.image) if p is not None}
        hashes = file_hashes(p for p in paths if Path(p).is_file())
    total = hashlib.sha256()
    for s in listed:
        files = [None if p is None else hashes.get(p, "missing") for p in (s.speech, s.image)]
        fields = [s.id, s.text, s.label, s.sentiment, s.split, s.fold, s.group, s.image_group, s.word_times]
        total.update(json.dumps([files, fields], ensure_ascii=False).encode() + b"\n")
    return total.hexdigest()
