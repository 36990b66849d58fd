"""A table as others send it, as rows of plain values: the one reader of csv, JSON and Parquet, and the rule for paths.

Rows come one by one, whatever the size of the file. A row that cannot be read says why, and the next one is read: what
that means is for the caller. `read_table` refuses the file, with the number of the row (the first row below the header
is row 1); `build tweets` and batches go on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import ManifestError, shown
from .csv_rows import csv_rows, is_text, likely_delimiter, read_lines, said_delimiter
from .json_rows import json_rows
from .parquet_rows import open_parquet
from .rows import OpenTable, Row, column_name, listed

FORMATS: dict[str, str] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
"""What the ending of a file says that it is."""

MAX_PATH = 4096
"""Characters of the longest path that any system opens."""

_N_LOOKED_AT = 1000  # rows of JSON whose keys say what the columns are


@dataclass(frozen=True, slots=True)
class Table:
    """All rows of a table, none of which is broken.

    Attributes:
        path: the file.
        columns: names of the columns, in the order of the file.
        rows: one mapping a row. Csv gives strings, JSON and Parquet whatever they hold.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]

    def where(self, index: int) -> str:
        """Return how errors name the row at a 0-based index."""
        return f"{self.path}, row {index + 1}"

    def require(self, *names: str) -> None:
        """Refuse the table unless it has all these columns.

        Raises:
            ManifestError: one of them is missing.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise ManifestError(
                f"{self.path} has no column {missing[0]!r}; it has: {listed(self.columns)}. Needed: {', '.join(names)}."
            )


def read_table(path: str | Path, *, known: Collection[str] = ()) -> Table:
    """Return all rows of a table, which must all be whole.

    Args:
        path: the file; see `open_table`.
        known: the columns that the caller looks for; see `open_table`.

    Raises:
        ManifestError: the file is no table, has no rows, or a row of it cannot be read.
        MissingExtraError: Parquet without pyarrow.
    """
    table = open_table(path, known=known)
    table.refuse_twice(table.columns)
    rows = []
    for number, row in enumerate(table.read(()), 1):
        if row.problem:
            raise ManifestError(f"{named(table.path, number, row)}: {row.problem}.")
        rows.append(row.values)
    if not rows:
        raise ManifestError(f"{table.path} has no rows. Needed: at least one below the header.")
    return Table(table.path, table.columns, tuple(rows))


def named(path: Path, number: int, row: Row) -> str:
    """Return how errors name a row that cannot be read, by its 1-based number and its line."""
    return f"{path}, row {number} (line {row.line})" if row.line else f"{path}, row {number}"


def open_table(path: str | Path, *, known: Collection[str] = (), format: str = "") -> OpenTable:
    """Return a table whose rows can be read.

    Csv is read in UTF-8, UTF-16, UTF-32 (with byte order mark) or Windows-1252, with comma, semicolon, tab or `|`, or
    what a first line `sep=;` says; rows in which every field is empty are none. JSON is an object a line, or one list
    of objects. Classes that Hugging Face numbers in Parquet are given by name.

    Args:
        path: the file; its ending (see `FORMATS`) or its first bytes say what it is.
        known: names of columns, in lower case, words joined by `_`. They are found whatever their case, the space
            around them, and with `-` or spaces for `_`.
        format: `csv`, `jsonl` or `parquet`, whatever the ending.

    Raises:
        ManifestError: the file is missing, empty, of no known kind, or has no header that can be read.
        MissingExtraError: Parquet without pyarrow.
    """
    source = Path(path)
    openers = {"csv": _open_csv, "jsonl": _open_json, "parquet": open_parquet}
    return openers[format or format_of(source)](source, frozenset(known))


def format_of(source: Path) -> str:
    """Return what a file is: `csv`, `jsonl` or `parquet`.

    Raises:
        ManifestError: it is missing, empty, or of no kind that is read here.
    """
    if not source.is_file():
        raise ManifestError(f"There is no file {source}.")
    with source.open("rb") as stream:
        head = stream.read(4)
    if not head:
        raise ManifestError(f"{source} is empty. Needed: a header and at least one row.")
    if head == b"PAR1":
        return "parquet"
    if source.suffix.lower() not in FORMATS:
        raise ManifestError(
            f"{source} is no table that is read here. Allowed endings: {', '.join(FORMATS)}. Mend: unpack it, or save "
            "it as one of these."
        )
    return FORMATS[source.suffix.lower()]


# --- csv and JSON -----------------------------------------------------------------------------------------------------


def _open_csv(source: Path, known: frozenset[str]) -> OpenTable:
    if not is_text(source):
        raise ManifestError(
            f"{source} is not text that can be read as csv: it is UTF-16 without a byte order mark, a workbook, "
            "packed, or damaged. Mend: save it as csv in UTF-8."
        )
    lines = read_lines(source)
    filled = (line for line in lines if line[1].strip())
    first = next(filled, None)
    delimiter = said_delimiter(first[1]) if first else ""
    if delimiter:
        first = next(filled, None)
    if first is None:
        raise ManifestError(f"{source} holds blank lines only. Needed: a header and at least one row.")
    delimiter = delimiter or likely_delimiter(first[1], lambda name: column_name(name, known) in known)
    header = next(csv_rows(chain([first], lines), delimiter))
    if header.detail:
        raise ManifestError(f"{source} has no header that can be read: line {header.line}: {header.detail}.")
    names = [column_name(field, known) for field in header.fields]

    def rows(_: Collection[str]) -> Iterator[Row]:
        for record in csv_rows(lines, delimiter, len(names)):
            if record.detail:
                yield Row(record.line, {}, record.detail)
            elif any(map(str.strip, record.fields)):
                pairs = zip(names, record.fields, strict=True)
                yield Row(record.line, {name: field for name, field in pairs if name})

    return OpenTable(source, "csv", tuple(filter(None, names)), frozenset(), rows)


def _open_json(source: Path, known: frozenset[str]) -> OpenTable:
    columns: dict[str, None] = {}
    problem, n_sound = "", 0
    for row in islice(json_rows(source, known), _N_LOOKED_AT):
        columns |= dict.fromkeys(row.values)
        problem, n_sound = problem or row.problem, n_sound + (not row.problem)
    if not n_sound:
        raise ManifestError(
            f"{source} is no JSON Lines: none of its first lines is an object that can be read ({problem or 'blank'}). "
            "Needed: one a line."
        )
    return OpenTable(source, "jsonl", tuple(columns), frozenset(), lambda _: json_rows(source, known))


# --- paths ------------------------------------------------------------------------------------------------------------


def inside(folder: Path, value: str, where: str) -> str:
    """Return a path of a table as a path that can be opened.

    Args:
        folder: where the table lies; the path must stay inside.
        value: the path as the table gives it, relative to `folder`.
        where: how an error names the row.

    Returns:
        `folder` joined with the path. The file may be missing; symbolic links inside the folder are followed later,
        since `build pairs` makes them.

    Raises:
        ManifestError: the path is absolute or climbs out with `..`. A manifest from a stranger must not read files
            that its folder does not hold.
    """
    posix, windows = PurePosixPath(value), PureWindowsPath(value)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in value:
        raise ManifestError(
            f"{where}: path {shown(value)} leaves its folder. Allowed: relative paths inside {str(folder.resolve())!r}."
        )
    if len(value) > MAX_PATH:
        raise ManifestError(f"{where}: a path has {len(value):,} characters; allowed: at most {MAX_PATH:,}.")
    return str(folder / posix)
