"""Readers of general layouts: a folder a class, EmoBox json lines, nkululeko csv, our own manifests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ManifestError
from ..types import Sample
from .image_corpora import IMAGE_SUFFIXES, SPLIT_FOLDERS, image_files
from .manifest import read_manifest
from .rows import tidy
from .speech_corpora import AUDIO_SUFFIXES, audio_files
from .tables import inside, read_table

EMOBOX_DEPTH = 4
"""How many folders above its json lines the root of EmoBox is looked for (data/CORPUS/fold_1/x.jsonl has three)."""

WHOLE_STARTS: tuple[str, ...] = ("", "0", "0.0", "0 days", "0 days 00:00:00")
WHOLE_ENDS: tuple[str, ...] = ("", "NaT", "nan")
"""What audformat writes for the start and the end of a file that is used whole."""


def read_folder(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield sounds and pictures from a folder a class.

    `CLASS/file`, or `CLASS/SPEAKER/file` where the speaker (or author) is known, below folders train, validation and
    test where the data is split. The ending says whether a file is speech or a picture.
    """
    for path in sorted((*audio_files(root), *image_files(root))):
        parts = path.relative_to(root).parts[:-1]
        split = SPLIT_FOLDERS.get(parts[0].lower(), "") if parts else ""
        parts = parts[1:] if split else parts
        if len(parts) not in (1, 2):
            drops["not in a folder CLASS or CLASS/SPEAKER"] += 1
            continue
        is_speech = path.suffix.lower() in AUDIO_SUFFIXES
        yield Sample(
            id=path.relative_to(root).as_posix(),
            speech=str(path) if is_speech else None,
            image=None if is_speech else str(path),
            label=tidy(parts[0]).lower(),
            split=split,
            group=tidy(parts[1]) if len(parts) == 2 else "",
        )


def read_emobox(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of an EmoBox manifest (Ma et al. 2024, arXiv 2406.07162).

    A json lines file (`key, dataset, wav, ..., emo`, one object a line), or the folder of a corpus
    (`data/CORPUS/CORPUS.jsonl`), whose `fold_N/CORPUS_test_fold_N.jsonl` then are the folds. Codes go through
    `label_map.json` where it lies beside. Paths of `wav` are looked for below the folder of the file and those above
    it, as they begin at EmoBox's own root. EmoBox does not name speakers unless a row has `speaker`, and some of its
    folds (EmoDB) have every speaker in all of them.
    """
    source = root if root.is_file() else root / f"{root.name}.jsonl"
    table = read_table(source)
    table.require("key", "wav", "emo")
    names = _label_map(source.parent)
    folds = _emobox_folds(source)
    for index, row in enumerate(table.rows):
        if row.get("start_time") is not None or row.get("end_time") is not None:
            drops["a part of a longer recording"] += 1
            continue
        path = _emobox_path(source.parent, str(row["wav"]), table.where(index))
        if path is None:
            drops["sound is missing"] += 1
            continue
        key, emotion = str(row["key"]), tidy(str(row["emo"]))
        yield Sample(
            id=key,
            speech=path,
            text=str(row.get("text") or ""),
            label=names.get(emotion, emotion).lower(),
            fold=folds.get(key),
            group=tidy(str(row.get("speaker") or "")),
            extra={"dataset": str(row.get("dataset") or "")},
        )


def _label_map(folder: Path) -> dict[str, str]:
    for source in (folder / "label_map.json", folder.parent / "label_map.json"):
        if source.is_file():
            try:
                return {str(code): str(name) for code, name in json.loads(source.read_text(encoding="utf-8")).items()}
            except (ValueError, AttributeError) as error:
                raise ManifestError(f"{source} is no JSON object of codes and names: {error}.") from None
    return {}


def _emobox_folds(source: Path) -> dict[str, int]:
    """Return the 0-based fold in which each key is tested; empty where the folds beside are not a partition."""
    folds: dict[str, int] = {}
    for path in source.parent.glob(f"fold_*/{source.stem}_test_fold_*.jsonl"):
        fold = int(path.stem.rpartition("_")[2]) - 1
        if any(folds.setdefault(str(row.get("key")), fold) != fold for row in read_table(path).rows):
            return {}
    return folds


def _emobox_path(folder: Path, name: str, where: str) -> str | None:
    for base in (folder, *folder.absolute().parents[:EMOBOX_DEPTH]):
        path = inside(base, name, where)
        if Path(path).is_file():
            return path
    return None


def read_nkululeko(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the utterances of an nkululeko (audformat) csv (Burkhardt et al. 2022, LREC).

    A csv with the columns `file` and `emotion`, and `speaker`, `split`, `text` where they are; paths are relative to
    the csv. Rows with `start` and `end` that name a part of a longer file are dropped.
    """
    known = ("file", "emotion", "speaker", "split", "text", "start", "end")
    table = read_table(_only_csv(root), known=known)
    table.require("file", "emotion")
    for index, row in enumerate(table.rows):
        path = inside(table.path.parent, row["file"], table.where(index))
        if row.get("start", "") not in WHOLE_STARTS or row.get("end", "") not in WHOLE_ENDS:
            drops["a part of a longer recording"] += 1
        elif Path(path).suffix.lower() in IMAGE_SUFFIXES or not Path(path).is_file():
            drops["sound is missing"] += 1
        else:
            extra = {name: value for name, value in row.items() if name not in known}
            yield _nkululeko_sample(row, path, extra)


def _only_csv(root: Path) -> Path:
    if root.is_file():
        return root
    found = sorted(root.glob("[!.]*.csv"))
    if len(found) != 1:
        raise ManifestError(f"{root} holds {len(found)} csv files; needed: one. Mend: name the csv itself.")
    return found[0]


def _nkululeko_sample(row: Mapping[str, Any], path: str, extra: Mapping[str, str]) -> Sample:
    return Sample(
        id=row["file"],
        speech=path,
        text=row.get("text", ""),
        label=tidy(row["emotion"]).lower(),
        split=SPLIT_FOLDERS.get(tidy(row.get("split", "")).lower(), ""),
        group=tidy(row.get("speaker", "")),
        extra=extra,
    )


def read_own(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the samples of a manifest of ours.

    A csv, json lines or Parquet file with the columns id, speech, image, text, label, sentiment, split, fold, group,
    image_group, word_times, or a folder with manifest.csv. Only speech or image is required; paths are relative to it.
    """
    del drops  # a manifest has errors, not drops
    yield from read_manifest(root)
