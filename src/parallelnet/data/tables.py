"""A table as others send it, as rows of plain values: the one reader of csv, JSON and Parquet, and the rule for paths.

Rows come one by one, whatever the size of the file. A row that cannot be read says why, and the next one is read: what
that means is for the caller. `read_table` refuses the file, with the number of the row (the first row below the header
is row 1); `build tweets` and batches go on.
"""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import ManifestError, brief, refuse, shown
from .rows import Row, csv_rows, is_text, json_rows, open_parquet, read_lines

FORMATS: dict[str, str] = {  # what the ending of a file says that it is
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    ".parquet": "parquet",
}

PACKED_TABLE = "metadata.csv"  # table of a corpus that was packed for courses, in the folder of its files

# Of macOS archives, Synology disks, Windows and Linux, in lower case; hidden ones begin with a point.
SYSTEM_FOLDERS: frozenset[str] = frozenset(("__macosx", "@eadir", "$recycle.bin", "lost+found"))
MAX_PATH = 4096  # characters of the longest path that any system opens

_N_LOOKED_AT = 1000  # rows of JSON whose keys say what the columns are
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<delimiter>[^"\r\n])"?\s*', re.IGNORECASE)
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table of which the names of the columns have been read.

    Attributes:
        format: `csv`, `jsonl` or `parquet`.
        columns: names of the columns, in the order of the file; those that the caller knows as the caller writes them.
        binary: the columns that hold files, as bytes or as Hugging Face's `{bytes, path}`.
        read: yields the rows, once, each a mapping by column without those that have no name; of Parquet with these
            columns alone where any are named. Csv gives strings, the others whatever they hold.
    """

    path: Path
    format: str
    columns: tuple[str, ...]
    binary: frozenset[str]
    read: Callable[[Collection[str]], Iterator[Row]]

    def refuse_twice(self, names: Collection[str]) -> None:
        """Raise `ManifestError` if one of these columns stands twice in the table."""
        for name in names:
            if self.columns.count(name) > 1:
                raise ManifestError(f"{self.path} names its column {shown(name)} twice. Mend: rename one of them.")


def read_table(
    path: str | Path, *needed: str, known: Collection[str] = ()
) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Return all rows of a table, which must all be whole: how errors name each, and its values by column.

    It must have the columns `needed`; the rest is as for `open_table`.

    Raises:
        ManifestError: the file is no table, lacks a column, has no rows, or a row of it cannot be read.
        MissingExtraError: Parquet without pyarrow.
    """
    table = open_table(path, known=known)
    table.refuse_twice(table.columns)
    has = f"it has: {listed(table.columns)}. Needed: {', '.join(needed)}."
    refuse(ManifestError, ((name not in table.columns, f"{path} has no column {name!r}; {has}") for name in needed))
    rows = []
    for number, row in enumerate(table.read(()), 1):
        refuse_broken(table.path, number, row)
        rows.append((f"{path}, row {number}", row.values))
    refuse(ManifestError, [(not rows, f"{path} has no rows. Needed: at least one below the header.")])
    return tuple(rows)


def refuse_broken(path: Path, number: int, row: Row) -> None:
    """Raise `ManifestError` for a row that cannot be read, by its 1-based number and its line."""
    if row.problem:
        raise ManifestError(f"{path}, row {number}{f' (line {row.line})' if row.line else ''}: {row.problem}.")


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
    openers = {"csv": _open_csv, "jsonl": _open_json, "parquet": _open_parquet}
    return openers[format or format_of(source)](source, frozenset(known))


def format_of(source: Path) -> str:
    """Return what a file is: `csv`, `jsonl` or `parquet`.

    Raises:
        ManifestError: it is missing, empty, or of no kind that is read here.
    """
    refuse(ManifestError, [(not source.is_file(), f"There is no file {source}.")])
    with source.open("rb") as stream:
        head = stream.read(4)
    given = "parquet" if head == b"PAR1" else FORMATS.get(source.suffix.lower(), "")
    told = f"{source} is no table that is read here. Allowed endings: {', '.join(FORMATS)}."
    mend = "Mend: unpack it, or save it as one of these."
    blank = f"{source} is empty. Needed: a header and at least one row."
    refuse(ManifestError, [(not head, blank), (not given, f"{told} {mend}")])
    return given


def _open_csv(source: Path, known: frozenset[str]) -> OpenTable:
    why = "it is UTF-16 without a byte order mark, a workbook, packed, or damaged. Mend: save it as csv in UTF-8."
    refuse(ManifestError, [(not is_text(source), f"{source} is not text that can be read as csv: {why}")])
    lines = read_lines(source)
    filled = (line for line in lines if line[1].strip())
    first = next(filled, None)
    told = _SEPARATOR_LINE.fullmatch(first[1]) if first else None  # what Excel is told
    first = next(filled, None) if told else first
    if first is None:
        raise ManifestError(f"{source} holds blank lines only. Needed: a header and at least one row.")
    delimiter = told["delimiter"] if told else _likely_delimiter(first[1], known)
    header = next(csv_rows(chain([first], lines), delimiter))
    if header.problem:
        raise ManifestError(f"{source} has no header that can be read: line {header.line}: {header.problem}.")
    names = [column_name(field, known) for field in header.values]

    def rows(_: Collection[str]) -> Iterator[Row]:
        for row in csv_rows(lines, delimiter, len(names)):
            if row.problem:
                yield Row(row.line, {}, row.problem)
            elif any(map(str.strip, row.values)):
                pairs = zip(names, row.values, strict=True)
                yield Row(row.line, {name: field for name, field in pairs if name})

    return OpenTable(source, "csv", tuple(filter(None, names)), frozenset(), rows)


def _likely_delimiter(header: str, known: frozenset[str]) -> str:
    def fit(delimiter: str) -> tuple[int, int]:
        try:
            names: list[str] = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:  # longer than a field may be
            return 0, 0
        return sum(column_name(name, known) in known for name in names), len(names)  # known ones count first

    return max(",\t;|", key=fit)


def _open_json(source: Path, known: frozenset[str]) -> OpenTable:
    columns: dict[str, None] = {}
    problem, n_sound = "", 0
    for row in islice(_known_here(json_rows(source), known), _N_LOOKED_AT):
        columns |= dict.fromkeys(row.values)
        problem, n_sound = problem or row.problem, n_sound + (not row.problem)
    why = f"none of its first lines is an object that can be read ({problem or 'blank'}). Needed: one a line."
    refuse(ManifestError, [(not n_sound, f"{source} is no JSON Lines: {why}")])
    return OpenTable(source, "jsonl", tuple(columns), frozenset(), lambda _: _known_here(json_rows(source), known))


def _open_parquet(source: Path, known: frozenset[str]) -> OpenTable:
    names, files, read = open_parquet(source)
    ours = {name: column_name(name, known) for name in names}

    def rows(wanted: Collection[str]) -> Iterator[Row]:
        return _known_here(read([name for name in ours if ours[name] and (not wanted or ours[name] in wanted)]), known)

    columns = tuple(ours[name] for name in names if ours[name])
    return OpenTable(source, "parquet", columns, frozenset(ours[name] for name in files), rows)


def _known_here(rows: Iterable[Row], known: frozenset[str]) -> Iterator[Row]:
    for row in rows:
        values = {column_name(name, known): value for name, value in row.values.items()}
        if len(values) < len(row.values):
            yield Row(row.line, {}, "two of its names differ in case or space only")
            continue
        values = {name: storable(v) if isinstance(v, str) else v for name, v in values.items() if name}
        broken = (f"{shown(k)} holds a NUL character" for k, v in values.items() if isinstance(v, str) and "\0" in v)
        yield Row(row.line, values, row.problem or next(broken, ""))


def tidy(text: str) -> str:
    """Return a name as people mean it: composed (NFC), single spaces, none and nothing invisible around it."""
    words = unicodedata.normalize("NFC", text).translate(_INVISIBLE).split()
    return " ".join(words).strip("\u200c\u200d")  # joiners mean something inside a word, never around it


@lru_cache(maxsize=500)  # JSON says its names in every row
def column_name(name: str, known: frozenset[str]) -> str:
    """Return what a column is called here: one of `known` where it is that but for case, space and hyphens; or ""."""
    key = re.sub(r"[\s-]+", "_", tidy(name).lower())
    return key if key in known else tidy(name)


def listed(columns: Collection[str]) -> str:
    """Return the names of columns as an error lists them."""
    names = [brief(name, 40) for name in columns]
    return ", ".join(names[:20] + ["..."] * (len(names) > 20)) or "none"


def storable(text: str) -> str:
    """Return the text without lone surrogates, which no utf-8 file can hold; each becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def inside(folder: Path, value: str, where: str) -> str:
    """Return a path of a table, relative to its folder, joined with that; `where` is how an error names the row.

    The file may be missing; symbolic links inside the folder are followed later, since `build pairs` makes them.

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


def left_out(drops: Counter[str], whys: Mapping[str, object]) -> bool:
    """Return whether one of the reasons holds; the first that does is counted in `drops`."""
    why = [reason for reason, holds in whys.items() if holds][:1]
    drops.update(why)
    return bool(why)


def packed_files(root: Path, drops: Counter[str], *needed: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield each file that the column `path` of `metadata.csv` in a corpus's folder names, with its row.

    Files that are not there are counted in `drops`; `needed` are more columns that the table must have.
    """
    for where, row in read_table(root / PACKED_TABLE, "path", "label", *needed):
        path = Path(inside(root, row["path"], where))
        if not left_out(drops, {"file of the table is missing": not path.is_file()}):
            yield path, row


def files_below(root: Path, suffixes: Collection[str]) -> list[Path]:
    """Return all files below a folder with one of these (lower-case) endings, in an order that no file system changes.

    Hidden folders and files and those of the system are left out.
    """
    found = (path for path in root.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    names = ((path, path.relative_to(root).parts) for path in found)
    return sorted(p for p, parts in names if not any(n[0] == "." or n.lower() in SYSTEM_FOLDERS for n in parts))
