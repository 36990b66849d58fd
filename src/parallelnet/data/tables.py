"""A csv, JSON Lines or Parquet file as rows of plain values, and the one rule for the paths inside.

Everything that can be wrong with such a file is said here once, with the number of its row (the first row below the
header is row 1).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import ManifestError, MissingExtraError

FORMATS: tuple[str, ...] = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Table:
    """What a file of rows holds.

    Attributes:
        path: the file.
        columns: names of the columns, in the order of the file.
        rows: one mapping a row. Csv gives strings, JSON Lines and Parquet whatever they hold.
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
                f"{self.path} has no column {missing[0]!r}; it has: {', '.join(self.columns) or 'none'}. "
                f"Needed: {', '.join(names)}."
            )


def read_table(path: str | Path, *, delimiter: str = ",") -> Table:
    """Return all rows of a csv (utf-8, with or without byte order mark), JSON Lines or Parquet file.

    Args:
        path: the file; its ending says what it is. `.tsv` and `.txt` are read as csv.
        delimiter: what separates the fields of a csv.

    Raises:
        ManifestError: the file is missing, empty, cut off, not utf-8, or a row does not fit the header.
        MissingExtraError: Parquet without pyarrow.
    """
    source = Path(path)
    if not source.is_file():
        raise ManifestError(f"There is no file {source}.")
    if source.stat().st_size == 0:
        raise ManifestError(f"{source} is empty. Needed: a header and at least one row.")
    readers = {".jsonl": _read_json_lines, ".json": _read_json_lines, ".parquet": _read_parquet}
    if source.suffix.lower() in readers:
        table = readers[source.suffix.lower()](source)
    elif source.suffix.lower() in (".csv", ".tsv", ".txt"):
        table = _read_csv(source, delimiter)
    else:
        raise ManifestError(f"{source} is no table that is read here. Allowed endings: {', '.join(FORMATS)}.")
    if not table.rows:
        raise ManifestError(f"{source} has no rows. Needed: at least one below the header.")
    return table


def _read_csv(source: Path, delimiter: str) -> Table:
    rows: list[dict[str, str]] = []
    try:
        with source.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            columns = tuple(name.strip() for name in next(reader, []))
            twice = sorted({name for name in columns if columns.count(name) > 1})
            if twice:
                raise ManifestError(f"{source} names its column {twice[0]!r} twice. Mend: rename one of them.")
            for fields in reader:
                if not fields:  # a blank line
                    continue
                if len(fields) != len(columns):
                    raise ManifestError(
                        f"{source}, row {len(rows) + 1} (line {reader.line_num}) has {len(fields)} fields where the "
                        f"header has {len(columns)}. Mend: put fields that contain {delimiter!r} into double quotes."
                    )
                rows.append(dict(zip(columns, fields, strict=True)))
    except csv.Error as error:
        raise ManifestError(f"{source} is broken csv after row {len(rows)}: {error}.") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{source} is not utf-8 (byte {error.start}). Mend: save it as utf-8.") from None
    return Table(source, columns, tuple(rows))


def _read_json_lines(source: Path) -> Table:
    rows: list[dict[str, Any]] = []
    try:
        with source.open(encoding="utf-8-sig") as stream:
            for n_line, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ManifestError(f"{source}, line {n_line} is no JSON object but {type(row).__name__}.")
                rows.append(row)
    except json.JSONDecodeError as error:
        where = f"{source}, row {len(rows) + 1}"
        raise ManifestError(f"{where} is broken JSON: {error}. Needed: one object a line.") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{source} is not utf-8 (byte {error.start}). Mend: save it as utf-8.") from None
    columns = dict.fromkeys(name for row in rows for name in row)
    return Table(source, tuple(columns), tuple(rows))


def _read_parquet(source: Path) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(f"Reading the Parquet file {source.name}", "train") from None
    try:
        table = pyarrow.parquet.read_table(source)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ManifestError(f"{source} is no whole Parquet file: {reason}") from None
    return Table(source, tuple(table.column_names), tuple(table.to_pylist()))


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
            f"{where}: path {value!r} leaves its folder. Allowed: relative paths inside {str(folder.resolve())!r}."
        )
    return str(folder / posix)
