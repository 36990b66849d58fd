"""Tweets as others keep them, row by row: a table, or a folder of MVSA or B-T4SA.

Nothing of a source is held but the row that is being read, whatever its size. A row that cannot be used is a draft that
says so, and the next one is read. Which ids stand twice is found later, with the duplicates.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from ..errors import ManifestError, MissingExtraError
from ..types import SENTIMENTS
from .csv_rows import DELIMITERS, MAX_LINE, csv_rows, read_lines
from .draft import Draft
from .image_corpora import (
    B_T4SA_SENTIMENTS,
    B_T4SA_SPLITS,
    MVSA_LABELS,
    any_text,
    b_t4sa_lines,
    b_t4sa_texts,
    mvsa_lines,
    mvsa_sentiment,
)
from .tables import inside

COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "tweet_id", "id_str", "status_id", "post_id"),
    "text": ("text", "tweet", "full_text", "tweet_text", "content", "caption"),
    "image": ("image", "image_path", "picture", "photo", "media", "image_file", "file_name", "filename"),
    "sentiment": ("sentiment", "sentiment_label"),
}
"""What a column may be called, in any case, words joined by `_`, `-` or spaces. Where a table has several of a kind, a
row's value is that of the first that is not empty."""

_SENTIMENT_WORDS = {"neg": "negative", "neu": "neutral", "pos": "positive"} | {name: name for name in SENTIMENTS}
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//|data:", re.IGNORECASE)
_N_LOOKED_AT = 1000  # rows of JSON Lines whose keys say what the columns are
_N_AT_ONCE = 256  # rows of Parquet that are held

Labels = Literal["emotion", "sentiment"]


class _UnusableError(Exception):
    """What is wrong with a row."""


def detect_format(source: Path) -> str:
    """Return what a source is: `b-t4sa`, `mvsa`, `csv`, `jsonl` or `parquet`.

    Raises:
        ManifestError: there is nothing, or it is none of them.
    """
    if source.is_dir():
        if (source / MVSA_LABELS).is_file():
            return "mvsa"
        if any((source / f"b-t4sa_{name}.txt").is_file() for name in B_T4SA_SPLITS):
            return "b-t4sa"
        raise ManifestError(
            f"The folder {source} is neither MVSA ({MVSA_LABELS}) nor B-T4SA (b-t4sa_train.txt, ...). "
            "Allowed: those, or the path of a csv, JSON Lines or Parquet file."
        )
    if not source.is_file():
        raise ManifestError(f"There is no file or folder {source}.")
    with source.open("rb") as stream:
        head = stream.read(4)
    if not head:
        raise ManifestError(f"{source} is empty. Needed: at least one tweet.")
    if head == b"PAR1":
        return "parquet"
    if source.suffix.lower() not in _SUFFIXES:
        raise ManifestError(
            f"{source} is no table that is read here. Allowed endings: {', '.join(_SUFFIXES)}. "
            "Mend: unpack it, or give --format."
        )
    return _SUFFIXES[source.suffix.lower()]


def read_tweets(source: Path, format: str = "auto", *, images: Path | None = None, labels: Labels) -> Iterator[Draft]:
    """Yield a draft a row, numbered from 0 on, in the order of the source.

    Text and ids are as found; a row without an id is called by its number. A row that cannot be read is rejected as
    `unreadable-row`, one whose picture lies outside the folder as `picture-outside`, one that has an address for a
    picture as `picture-missing`: nothing is fetched. Whether there is a picture is seen later.

    Sentiments of tables are words (`negative`, `neutral`, `positive`, or their first three letters). Numbers are not
    taken: 0 is negative in B-T4SA and neutral elsewhere. With `sentiment` as labels another value is rejected as
    `no-sentiment`, with `emotion` it is left out.

    Args:
        source: the table or the folder.
        format: what it is; `auto` finds out.
        images: folder that the paths of pictures are relative to; without it the source's.
        labels: what will be learnt; `sentiment` needs a source that has them.

    Raises:
        ManifestError: no row of the source could be used: it is missing, empty, of no known kind, or has no column
            for the text, for the picture or, where it is needed, for the sentiment.
        MissingExtraError: Parquet without pyarrow.
    """
    given = detect_format(source) if format == "auto" else format
    if (given in ("mvsa", "b-t4sa")) != source.is_dir():
        what = "a folder" if source.is_dir() else "a file" if source.is_file() else "missing"
        raise ManifestError(f"{source} is {what}, which --format {given} cannot be.")
    if source.is_file() and source.stat().st_size == 0:
        raise ManifestError(f"{source} is empty. Needed: at least one tweet.")
    readers: dict[str, Callable[[Path, Path, Labels], Iterator[Draft]]] = {
        "csv": _read_csv,
        "jsonl": _read_json_lines,
        "parquet": _read_parquet,
        "mvsa": _read_mvsa,
        "b-t4sa": _read_b_t4sa,
    }
    folder = images or (source if source.is_dir() else source.parent)
    yield from readers[given](source, folder, labels)


# --- tables -----------------------------------------------------------------------------------------------------------


def _read_csv(source: Path, folder: Path, labels: Labels) -> Iterator[Draft]:
    """Csv; what separates the fields is that of `DELIMITERS` by which the first line has most columns of ours."""
    lines = read_lines(source)
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        raise ManifestError(f"{source} holds blank lines only. Needed: a header and at least one row.")
    if "\r" in first[1].rstrip("\r\n"):
        raise ManifestError(f"{source} ends its lines in the old Mac manner (CR). Mend: save it with LF or CR LF.")
    delimiter = max(DELIMITERS, key=lambda sign: _fit(first[1], sign))
    rows = csv_rows(chain([first], lines), delimiter)
    header = next(rows).fields
    columns = _Columns(source, header, labels)
    for row, record in enumerate(csv_rows(((line, text) for line, text in lines), delimiter, len(header))):
        where = f"line {record.line}"
        if record.detail:
            yield _unreadable(row, record.detail)
        else:
            yield columns.draft(row, dict(zip(header, record.fields, strict=True)), folder, where)
