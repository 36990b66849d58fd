"""Rows of csv, JSON and Parquet that others wrote: what is broken costs its row, and what follows is read on.

Whatever the encoding, line ends and separator. Csv and JSON Lines are read line by line and Parquet batch by batch, in
bounded memory; one JSON list is held whole. What the columns mean is for `tables`.
"""

import codecs
import csv
import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from ..errors import ManifestError, brief, shown
from .shards import pyarrow_parquet

# Characters from which on a row is taken for broken: a quote was opened and never closed. (Python's own limit for one
# field is 131,072; the longest posts of any network have 25,000 to 65,000.)
MAX_RECORD = 100_000

MAX_LINE = 1 << 20  # bytes (characters in UTF-16) of the longest line that is held; a JSON object of a tweet: 10,000
DEEP = "lists or objects nested too deeply"  # why JSON is not read at which Python gives up

_HEAD = 4096  # bytes by which text, line ends and a JSON list are known
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_N_DIGITS = 4300  # of the longest whole number that Python reads
_ARRAY = re.compile(r"\ufeff?\s*\[\s*[{\]]")
_BETWEEN = re.compile(r"[\s,]*")

_WIDE = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"}
_WIDE |= {codecs.BOM_UTF16_BE: "utf-16"}  # UTF-32 first: its mark begins with that of UTF-16


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        line: 1-based number of its first line; 0 where rows are not lines.
        values: by column; of a csv of which only this module knows, its fields in their order.
        problem: why it cannot be read, or "".
    """

    line: int
    values: Any
    problem: str = ""


def any_text(content: bytes) -> str:
    """Return text of unknown encoding: UTF-8 where it is that, else Windows-1252, else Latin-1, which loses no byte."""
    for encoding in ("utf-8-sig", "cp1252"):  # the tweets of MVSA were saved in more than one encoding
        with suppress(UnicodeDecodeError):
            return content.decode(encoding)
    return content.decode("latin-1")


def _head(source: Path) -> tuple[bytes, str]:
    with source.open("rb") as stream:
        head = stream.read(_HEAD)
    return head, next((name for mark, name in _WIDE.items() if head.startswith(mark)), "")


def read_lines(source: Path) -> Iterator[tuple[int, str]]:
    r"""Yield (1-based number, text with its end) of each line, `\n`, `\r\n` or, where the first one is that, `\r`.

    UTF-16 and UTF-32 are known by their byte order mark. All else goes line by line, as `any_text` reads it. Of a line
    longer than `MAX_LINE` comes as much and one more, the rest is skipped.
    """
    head, wide = _head(source)
    ends = re.search(r"\r\n|[\r\n]", head.decode(wide or "latin-1", "ignore"))
    end = "\r" if ends and ends[0] == "\r" else "\n"  # the old Mac's
    number = 0
    with source.open(encoding=wide or "latin-1", errors="replace", newline=end) as stream:  # Latin-1 is bytes
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            yield number, line if wide else any_text(line.encode("latin-1"))
            while len(line) > MAX_LINE and not line.endswith(end):
                line = stream.readline(MAX_LINE + 1)


def is_text(source: Path) -> bool:
    """Return whether a file begins like text: of what no csv holds there is none in the first line, and little behind.

    UTF-16 without its byte order mark is none: every other byte of it is NUL.
    """
    head, wide = _head(source)
    first = re.split(rb"[\r\n]", head.lstrip(b"\r\n"), maxsplit=1)[0]
    # One of a few rows may be broken, so in 512 bytes only NUL counts; of random bytes a tenth is no text.
    n_odd = head.count(b"\0") if len(head) < 512 else len(_NO_TEXT.findall(head))
    return bool(wide) or (not _NO_TEXT.search(first) and n_odd <= len(head) / 20)


# --- csv --------------------------------------------------------------------------------------------------------------

_CSV_ERRORS = {  # what Python says, and what that means
    "unexpected end": "a quote is opened and not closed",
    "new-line": "a carriage return outside quotes that ends no line",
    "field larger": f"longer than {MAX_RECORD:,} characters",
}


def csv_rows(lines: Iterable[tuple[int, str]], delimiter: str, n_fields: int = 0) -> Iterator[Row]:
    """Yield each row with its fields as `values`; blank lines are none.

    A row that breaks the rules (text after a closing quote, a quote that is not closed within `MAX_RECORD` characters
    or the file, another number of fields than the header but for empty ones behind, NUL) costs its first line only:
    reading goes on with the next line, so that an opened quote does not swallow the rows behind it. `lines` are those
    of `read_lines`; with `n_fields` 0 a row may have any number of fields.
    """
    source, waiting = iter(lines), deque[tuple[int, str]]()
    taken: list[tuple[int, str]] = []

    def feed() -> Iterator[str]:
        """Yield the texts of the next lines, up to `MAX_RECORD` characters, and note in `taken` which."""
        n_left = MAX_RECORD
        while n_left > 0 and (line := waiting.popleft() if waiting else next(source, None)):
            taken.append(line)
            n_left -= len(line[1])
            if n_left >= 0 or len(taken) == 1:
                yield line[1]

    while True:
        taken.clear()
        try:
            fields = next(csv.reader(feed(), delimiter=delimiter, strict=True), [])
            while n_fields and len(fields) > n_fields and not fields[-1].strip():
                fields.pop()  # a separator behind the last field
            problems = {
                f"longer than {MAX_RECORD:,} characters": sum(map(len, fields)) > MAX_RECORD,
                "holds a NUL character": any("\0" in field for field in fields),
                f"{len(fields)} fields where the header has {n_fields}": fields and n_fields not in (0, len(fields)),
            }
            problem = next((text for text, holds in problems.items() if holds), "")
        except csv.Error as error:
            texts = (text for part, text in _CSV_ERRORS.items() if part in str(error))
            fields, problem = [], next(texts, f"broken quoting ({error})")
        if not taken:
            return
        if problem:
            waiting.extendleft(reversed(taken[1:]))
            if taken[0][1].strip():
                yield Row(taken[0][0], (), problem)
        elif fields:
            yield Row(taken[0][0], tuple(fields))


# --- JSON -------------------------------------------------------------------------------------------------------------


class _Object(dict[str, Any]):
    """A JSON object, which knows whether it names a key twice: nobody knows which of the two is meant."""

    twice = ""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        if len(self) < len(pairs):
            names = [name for name, _ in pairs]
            self.twice = next(name for name in names if names.count(name) > 1)


_Object.__name__ = "dict"  # as errors call it


_DECODER = json.JSONDecoder(  # an id of so many digits is one all the same
    object_pairs_hook=_Object, parse_int=lambda digits: int(digits) if len(digits) <= _N_DIGITS else digits
)


def json_rows(source: Path) -> Iterator[Row]:
    """Yield each row of JSON: of one list of objects, or of an object a line; blank lines are none."""
    head, wide = _head(source)
    if _ARRAY.match(head.decode(wide or "utf-8", "replace")):
        content = source.read_bytes()
        yield from _json_list(content.decode(wide, "replace") if wide else any_text(content))
        return
    for number, line in read_lines(source):
        if len(line) > MAX_LINE:
            yield Row(number, {}, f"longer than {MAX_LINE:,} characters")
        elif line.strip():
            try:
                yield _json_row(number, _DECODER.decode(line))
            except ValueError as error:
                yield Row(number, {}, f"broken JSON: {error}")
            except RecursionError:
                yield Row(number, {}, DEEP)


def _json_list(text: str) -> Iterator[Row]:
    """Yield the rows of one JSON list, as pandas writes it; all behind broken JSON in it is lost, in one row."""
    place = text.index("[") + 1
    try:
        while True:
            place += len(_BETWEEN.match(text, place)[0])  # type: ignore[index]  # it matches nothing, too
            if text[place : place + 1] == "]":
                return
            value, place = _DECODER.raw_decode(text, place)
            yield _json_row(0, value)
    except ValueError as error:
        problem = "the list does not end" if place == len(text) else str(error)
    except RecursionError:
        problem = DEEP
    yield Row(0, {}, f"broken JSON from here on: {problem}")


def _json_row(line: int, value: Any) -> Row:
    if not isinstance(value, _Object):
        return Row(line, {}, f"no JSON object but {type(value).__name__}")
    return Row(line, {}, f"names {shown(value.twice)} twice") if value.twice else Row(line, value)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def open_parquet(source: Path) -> tuple[list[str], frozenset[str], Callable[[Collection[str]], Iterator[Row]]]:
    """Return the names of the columns, which of them hold files, and what yields the rows of some columns.

    Of a row group that is damaged the rows from the damage on are lost, no others.

    Raises:
        ManifestError: it is no whole Parquet file.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = pyarrow_parquet(f"Reading the Parquet file {source.name}")
    broken = (pyarrow.ArrowException, OSError, ValueError, OverflowError)
    try:
        with parquet.ParquetFile(source) as file:
            schema = file.schema_arrow
    except broken as error:
        raise ManifestError(f"{source} is no whole Parquet file: {brief(str(error))}") from None
    classes = _classes(schema.metadata)
    kinds = ("is_struct", "is_binary", "is_large_binary", "is_binary_view", "is_fixed_size_binary")
    tests = [getattr(pyarrow.types, kind) for kind in kinds]
    files = frozenset(field.name for field in schema if any(test(field.type) for test in tests))

    def row(names: Collection[str], cells: tuple[Any, ...]) -> Row:
        values = {}
        for name, cell in zip(names, cells, strict=True):
            try:
                value = cell.as_py()
            except broken as error:
                return Row(0, {}, f"{shown(name)} cannot be read: {brief(str(error))}")
            if name in classes and isinstance(value, int):
                value = classes[name][value] if 0 <= value < len(classes[name]) else None  # -1 is "not told"
            values[name] = value
        return Row(0, values)

    def rows(names: Collection[str]) -> Iterator[Row]:
        n_at_once = 8 if files & set(names) else 256  # rows that are held: a file may have many megabytes
        # Without the buffer a whole column of a row group would be held.
        with parquet.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                n_left = file.metadata.row_group(group).num_rows
                try:
                    for batch in file.iter_batches(n_at_once, row_groups=[group], columns=list(names)):
                        for cells in zip(*batch.columns, strict=True):
                            yield row(batch.schema.names, cells)
                            n_left -= 1
                except broken as error:
                    yield from repeat(Row(0, {}, f"row group {group} is damaged: {brief(str(error))}"), n_left)

    return schema.names, files, rows


def _classes(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    try:  # what Hugging Face's datasets write beside
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        labels = {name: each["names"] for name, each in features.items() if each.get("_type") == "ClassLabel"}
        return {name: list(map(str, classes)) for name, classes in labels.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
