"""The manifest: one row a sample, as csv, JSON Lines or Parquet, with paths relative to it (design section 3)."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from .. import records
from ..errors import ManifestError, MissingExtraError
from ..types import SPLITS, Sample
from .tables import FORMATS, inside, read_table

COLUMNS: tuple[str, ...] = (
    "id",
    "speech",
    "image",
    "text",
    "label",
    "sentiment",
    "split",
    "fold",
    "group",
    "image_group",
    "word_times",
)
"""Columns that mean something here; only `speech` or `image` is required, and unknown ones are kept."""

MANIFEST_CSV = "manifest.csv"

Target = Literal["label", "sentiment"]


def read_manifest(
    path: str | os.PathLike[str],
    *,
    classes: Collection[str] | None = None,
    target: Target = "label",
    keep_bad_rows: bool = False,
) -> tuple[Sample, ...]:
    """Return the samples of a manifest, their paths ready to be opened.

    The files need not exist: a missing one is that row's error when it is read (`dataset.check_files` lists them).
    Without an `id` column a sample is called after its row number.

    Args:
        path: the manifest, or a folder that holds `manifest.csv`.
        classes: the allowed values of `target`; None allows all. An empty value means unknown and passes.
        target: the column that `classes` is about.
        keep_bad_rows: a row that cannot be used becomes a sample with its `problem`, for batches that go on.

    Raises:
        ManifestError: anything that the manifest has wrong, with the number of the row.
    """
    source = Path(path)
    if source.is_dir():
        source = source / MANIFEST_CSV
        if not source.is_file():
            raise ManifestError(f"The folder {path} has no {MANIFEST_CSV}. Mend: name the manifest itself.")
    table = read_table(source)
    if not {"speech", "image"} & set(table.columns):
        raise ManifestError(
            f"{source} has neither a column 'speech' nor 'image'; it has: {', '.join(table.columns)}. "
            "Needed: at least one of the two."
        )
    samples = []
    seen: dict[str, int] = {}
    for index, row in enumerate(table.rows):
        where = table.where(index)
        try:
            sample = _sample(row, index, source.parent, where)
        except ManifestError as error:
            if not keep_bad_rows:
                raise
            sample = Sample(_text(row.get("id")) or str(index + 1), problem=str(error))
        if sample.id in seen:
            raise ManifestError(f"{where}: id {sample.id!r} was given to row {seen[sample.id]} before. Ids are unique.")
        seen[sample.id] = index + 1
        value = getattr(sample, target)
        if classes is not None and value and value not in classes:
            raise ManifestError(f"{where}: {target} {value!r} is not among the classes: {', '.join(classes)}.")
        samples.append(sample)
    return tuple(samples)


def _sample(row: Mapping[str, Any], index: int, folder: Path, where: str) -> Sample:
    text = {name: _text(row.get(name)) for name in COLUMNS if name not in ("fold", "word_times")}
    if "id" in row and not text["id"]:
        raise ManifestError(f"{where}: the id is empty. Mend: fill it, or leave the whole column out.")
    if not text["speech"] and not text["image"]:
        raise ManifestError(f"{where} names neither speech nor image. Needed: at least one path.")
    if text["split"] and text["split"] not in SPLITS:
        raise ManifestError(f"{where}: split is {text['split']!r}; allowed: {', '.join(SPLITS)} or nothing.")
    return Sample(
        id=text["id"] or str(index + 1),
        speech=inside(folder, text["speech"], where) if text["speech"] else None,
        image=inside(folder, text["image"], where) if text["image"] else None,
        text=text["text"],
        label=text["label"],
        sentiment=text["sentiment"],
        split=text["split"],
        fold=_fold(row.get("fold"), where),
        group=text["group"],
        image_group=text["image_group"],
        word_times=_word_times(row.get("word_times"), where),
        extra={name: _text(value) for name, value in row.items() if name not in COLUMNS},
    )


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):  # how pandas writes "nothing"
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _fold(value: Any, where: str) -> int | None:
    if _text(value) == "":
        return None
    try:
        number = float(value)  # "3.0" is what pandas makes of 3 in a column that has gaps
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not number.is_integer() or number < 0:
        raise ManifestError(f"{where}: fold is {value!r}; allowed: 0, 1, 2, ... or nothing.")
    return int(number)


def _word_times(value: Any, where: str) -> tuple[tuple[str, float, float], ...]:
    if _text(value) == "":
        return ()
    try:
        listed = json.loads(value) if isinstance(value, str) else value
        words = tuple((word, float(start_s), float(end_s)) for word, start_s, end_s in listed)
    except (ValueError, TypeError) as error:
        raise ManifestError(f"{where}: word_times is no JSON [[word, start_s, end_s], ...]: {error}.") from None
    before_s = 0.0
    for word, start_s, end_s in words:
        if not isinstance(word, str) or not (before_s <= start_s <= end_s < math.inf):
            raise ManifestError(
                f"{where}: word_times has {[word, start_s, end_s]!r}; needed: a word, then start and end in seconds, "
                "the start not before that of the word before it and the end not before the start."
            )
        before_s = start_s
    return words


def read_word_times(path: str | os.PathLike[str]) -> tuple[tuple[str, float, float], ...]:
    """Return the (word, start in s, end in s) of a JSON file `[[word, start_s, end_s], ...]`.

    Raises:
        ManifestError: missing, unreadable, not of this form, or without a word.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    found = _word_times(text.strip(), str(path))
    if not found:
        raise ManifestError(f"{path} holds no words. Needed: JSON [[word, start_s, end_s], ...].")
    return found


def write_manifest(path: str | os.PathLike[str], samples: Iterable[Sample]) -> Path:
    """Write samples as a manifest and return its path.

    The file is replaced whole, so that a killed process leaves the old one or the new one, never half of one.

    Args:
        path: where to; the ending (.csv, .jsonl, .parquet) says in which format.
        samples: their files must lie below the folder of `path`, and are named relative to it.

    Raises:
        ManifestError: no samples, another ending, or a file outside the folder.
        MissingExtraError: Parquet without pyarrow.
    """
    target = Path(path)
    folder = os.path.abspath(target.parent)  # noqa: PTH100
    rows = [_row(sample, folder) for sample in samples]
    if not rows:
        raise ManifestError(f"{target} would have no rows. Needed: at least one sample.")
    # Columns that nobody filled are left out, except the id: a manifest stays readable by eye.
    named = dict.fromkeys((*COLUMNS, *(name for row in rows for name in row)))
    columns = [name for name in named if name == "id" or any(row.get(name) not in (None, "") for row in rows)]
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".csv":
        records.write_text(target, _csv(columns, rows))
    elif target.suffix == ".jsonl":
        lines = (json.dumps({name: row.get(name) for name in columns}, ensure_ascii=False) for row in rows)
        records.write_text(target, "".join(f"{line}\n" for line in lines))
    elif target.suffix == ".parquet":
        _write_parquet(target, columns, rows)
    else:
        raise ManifestError(f"{target} would be no manifest. Allowed endings: {', '.join(FORMATS)}.")
    return target


def _row(sample: Sample, folder: str) -> dict[str, str | int | None]:
    row: dict[str, str | int | None] = {
        "id": sample.id,
        "speech": _relative(sample.speech, folder, sample.id),
        "image": _relative(sample.image, folder, sample.id),
        "word_times": json.dumps(sample.word_times, ensure_ascii=False) if sample.word_times else "",
        "fold": sample.fold,
    }
    for name in ("text", "label", "sentiment", "split", "group", "image_group"):
        row[name] = getattr(sample, name)
    return {**row, **sample.extra}


def _relative(value: str | None, folder: str, sample_id: str) -> str:
    if value is None:
        return ""
    # Not Path.resolve: it would follow the links that `build pairs` makes out of the folder.
    path = os.path.abspath(value)  # noqa: PTH100
    if not path.startswith(folder + os.sep):
        raise ManifestError(
            f"Sample {sample_id!r}: {value} lies outside {folder}, and manifests name only files below them. "
            "Mend: write the manifest above the files, or link them into its folder."
        )
    return path[len(folder) + 1 :].replace(os.sep, "/")


def _csv(columns: list[str], rows: list[dict[str, str | int | None]]) -> str:
    values = [[row.get(name) for name in columns] for row in rows]
    # Before Python 3.13 the writer left a lone carriage return unquoted, and readers took it for the end of the row.
    returns = any(isinstance(value, str) and "\r" in value for row in values for value in row)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL)
    writer.writerows([columns, *values])
    return text.getvalue()


def _write_parquet(path: Path, columns: list[str], rows: list[dict[str, str | int | None]]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Writing a Parquet manifest", "train") from None
    schema = pyarrow.schema([(name, pyarrow.int32() if name == "fold" else pyarrow.string()) for name in columns])
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    records.write_whole(path, lambda stream: pyarrow.parquet.write_table(table, stream))
