"""Tweets as others keep them, row by row: a table, or a folder of MVSA or B-T4SA.

Nothing of a source is held but the row that is being read, whatever its size. A row that cannot be used is a draft that
says so, and the next one is read. Which ids stand twice is found later, with the duplicates.
"""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ...errors import ManifestError, MissingExtraError
from ..image_corpora import (
    B_T4SA_SENTIMENTS,
    B_T4SA_SPLITS,
    MVSA_LABELS,
    any_text,
    b_t4sa_lines,
    b_t4sa_texts,
    mvsa_lines,
    mvsa_sentiment,
)
from .csv_rows import DELIMITERS, MAX_LINE, csv_rows, is_text, read_lines
from .draft import Draft
from .pictures import is_inside
from .tweet_columns import COLUMNS, Labels, TweetColumns, UnusableError, plain, tweet_draft, unreadable

_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
_N_LOOKED_AT = 1000  # rows of JSON Lines whose keys say what the columns are
_N_DIGITS = 19  # a number of fewer digits fits 64 bits, as the ids of tweets do
_N_AT_ONCE = 256  # rows of Parquet that are held


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
    if not is_text(source):
        raise ManifestError(
            f"{source} is not text that can be read as csv: it is UTF-16 without a byte order mark, a workbook, "
            "packed, or damaged. Mend: save it as csv in UTF-8, or give --format."
        )
    lines = read_lines(source)
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        raise ManifestError(f"{source} holds blank lines only. Needed: a header and at least one row.")
    if "\r" in first[1].rstrip("\r\n"):
        raise ManifestError(f"{source} ends its lines in the old Mac manner (CR). Mend: save it with LF or CR LF.")
    delimiter = max(DELIMITERS, key=lambda sign: _fit(first[1], sign))
    header = next(csv_rows(chain([first], lines), delimiter))
    if header.detail:
        raise ManifestError(f"{source} has no header that can be read: {header.detail}.")
    columns = TweetColumns(source, header.fields, labels)
    for row, record in enumerate(csv_rows(lines, delimiter, len(header.fields))):
        if record.detail:
            yield unreadable(row, record.detail)
        else:
            values = dict(zip(header.fields, record.fields, strict=True))
            yield columns.draft(row, values, folder, f"line {record.line}")


def _fit(header: str, delimiter: str) -> tuple[int, int]:
    """Return how many columns of ours a header has, and how many columns, if this is what separates them."""
    names = next(csv.reader([header], delimiter=delimiter), [])
    known = {name for allowed in COLUMNS.values() for name in allowed}
    return len(known & {plain(name) for name in names}), len(names)


def _read_json_lines(source: Path, folder: Path, labels: Labels) -> Iterator[Draft]:
    """JSON Lines; its columns are the keys of the first `_N_LOOKED_AT` objects."""
    names: dict[str, None] = {}
    n_objects = 0
    for _, line in islice(_filled(read_lines(source)), _N_LOOKED_AT):
        try:
            names |= dict.fromkeys(_object(line))
            n_objects += 1
        except UnusableError:
            continue
    if not n_objects:
        raise ManifestError(f"{source} is no JSON Lines: none of its first lines is an object. Needed: one a line.")
    columns = TweetColumns(source, tuple(names), labels)
    for row, (number, line) in enumerate(_filled(read_lines(source))):
        where = f"line {number}"
        try:
            values = _object(line)
        except UnusableError as error:
            yield unreadable(row, f"{where}: {error}")
        else:
            yield columns.draft(row, values, folder, where)


def _filled(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    return (line for line in lines if line[1].strip())


def _object(line: str) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise UnusableError(f"longer than {MAX_LINE:,} characters")
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnusableError(f"broken JSON: {error}") from None
    if not isinstance(values, dict):
        raise UnusableError(f"no JSON object but {type(values).__name__}")
    return values


def _read_parquet(source: Path, folder: Path, labels: Labels) -> Iterator[Draft]:
    """Parquet, batch by batch; of a row group that is damaged the rows from the damage on are lost, no others."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(f"Reading the Parquet file {source.name}", "train") from None
    try:
        # Without the buffer a whole column of a row group would be held.
        file = parquet.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise ManifestError(f"{source} is no whole Parquet file: {str(error).splitlines()[0]}") from None
    with file:
        schema = file.schema_arrow
        columns = TweetColumns(source, tuple(schema.names), labels)
        for name in columns.names("image"):
            if pyarrow.types.is_struct(schema.field(name).type) or pyarrow.types.is_binary(schema.field(name).type):
                raise ManifestError(
                    f"{source} holds the pictures themselves in its column {name!r}. Needed: paths of picture files. "
                    "Mend: write them as files, and their paths as the column."
                )
        row = 0
        for group in range(file.num_row_groups):
            end = row + file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(_N_AT_ONCE, row_groups=[group], columns=columns.names()):
                    for values in batch.to_pylist():
                        yield columns.draft(row, values, folder, f"row {row}")
                        row += 1
            except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
                reason = str(error).splitlines()[0]
                for lost in range(row, end):
                    yield unreadable(lost, f"row {lost}: row group {group} is damaged: {reason}")
            row = end


# --- corpora ----------------------------------------------------------------------------------------------------------


def _read_mvsa(source: Path, folder: Path, labels: Labels) -> Iterator[Draft]:
    """MVSA, in the order of its label file; where annotators disagree there is no sentiment (see `read_mvsa`)."""
    root = os.path.realpath(source)
    for row, (number, *votes) in enumerate(mvsa_lines(source)):
        where = f"line {row + 2}"
        words = source / "data" / f"{number}.txt"
        if not number.isdigit():
            yield unreadable(row, f"{where}: {number[:40]!r} is no number of a tweet")
            continue
        if words.is_symlink() and not is_inside(words, root):
            yield unreadable(row, f"{where}: data/{words.name} is a link that leads out")
            continue
        try:
            text = any_text(words.read_bytes()).strip()
        except OSError as error:
            yield unreadable(row, f"{where}: no text data/{words.name} ({error.strerror})")
            continue
        sentiment, why_none = mvsa_sentiment(votes[0], votes[1])
        why_none = why_none if labels == "sentiment" else ""
        yield tweet_draft(row, number, text, f"data/{number}.jpg", folder, where, sentiment, why_none)


def _read_b_t4sa(source: Path, folder: Path, labels: Labels) -> Iterator[Draft]:
    """B-T4SA, a row a picture: train, then validation, then test."""
    texts_file = b_t4sa_texts(source)
    lines = b_t4sa_lines(source)
    if texts_file is None:
        raise ManifestError(
            f"{source} has the pictures of B-T4SA but no raw_tweets_text.csv, there or one folder above."
        )
    with tempfile.TemporaryDirectory(prefix="parallelnet-") as scratch, closing(_Texts(texts_file, scratch)) as texts:
        for row, (_, where, name, number) in enumerate(lines):
            where = where.rpartition(os.sep)[2]  # the folders of this machine do not belong into a data set
            stem = name.rpartition("/")[2].partition(".")[0]
            tweet = stem.partition("-")[0]
            if not (tweet.isdecimal() and tweet.isascii() and len(tweet) < _N_DIGITS):
                yield unreadable(row, f"{where}: {name[:200]!r} is no picture of a tweet")
                continue
            sentiment, why_none = B_T4SA_SENTIMENTS.get(number, ""), ""
            if labels == "sentiment" and not sentiment:
                why_none = f"sentiment {number[:40]!r}; allowed: {', '.join(B_T4SA_SENTIMENTS)}"
            yield tweet_draft(row, stem, texts.of(int(tweet)), name, folder, where, sentiment, why_none)


class _Texts:
    """The texts of T4SA by tweet, on disk: 3.4 million would take a gigabyte of memory as a dict.

    Costs a scratch file in the system's temporary folder, a little larger than the csv, and some 10 s once.
    """

    def __init__(self, source: Path, scratch: str) -> None:
        self._database = sqlite3.connect(Path(scratch) / "texts.sqlite")
        # The file lives as long as this object: nothing needs to survive a crash.
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; CREATE TABLE texts (id, text);"
        )
        rows = (row.fields for row in csv_rows(read_lines(source), ",", 2) if not row.detail)
        pairs = ((int(name), text) for name, text in rows if name.isdecimal() and len(name) < _N_DIGITS)
        with self._database:
            self._database.executemany("INSERT INTO texts VALUES (?, ?)", pairs)
            self._database.execute("CREATE INDEX by_id ON texts (id)")

    def of(self, tweet: int) -> str:
        """Return the text of a tweet (of the last line that has it), "" where there is none."""
        found = self._database.execute("SELECT text FROM texts WHERE id = ? ORDER BY rowid DESC LIMIT 1", (tweet,))
        return str(next(found, ("",))[0])

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
