"""Rows of a csv that others wrote: whatever is broken costs the row that it is in, and what follows is read on.

`tables.read_table` refuses such files, as a manifest must be right. Here they are read line by line, in bounded memory.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import AnyStr

from ..image_corpora import any_text

DELIMITERS: tuple[str, ...] = (",", "\t", ";", "|")

MAX_RECORD = 100_000
"""Characters from which on a row is taken for broken: a quote was opened and never closed. (Python's own limit for one
field is 131,072; the longest posts of any network have 25,000 to 65,000.)"""

MAX_LINE = 1 << 20
"""Bytes (characters in UTF-16) of the longest line that is held; a JSON object of a tweet has some 10,000."""

_HEAD = 4096  # bytes by which text is known
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_MAX_NO_TEXT = 20  # one byte in so many

_WIDE = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"}
_WIDE |= {codecs.BOM_UTF16_BE: "utf-16"}  # UTF-32 first: its mark begins with that of UTF-16


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row of a csv.

    Attributes:
        line: 1-based number of its first line.
        fields: what it holds; none where it cannot be read.
        detail: why it cannot be read, or "".
    """

    line: int
    fields: tuple[str, ...]
    detail: str = ""


def read_lines(source: Path) -> Iterator[tuple[int, str]]:
    r"""Yield (1-based number, text with its end) of each line, `\n` or `\r\n`.

    UTF-16 and UTF-32 are known by their byte order mark. All else goes line by line: UTF-8, or else Latin-1, which
    loses no byte, so that `mending.mend` can find out what was meant. Of a line longer than `MAX_LINE` comes as much
    and one more, the rest is skipped.
    """
    with source.open("rb") as stream:
        head = stream.read(4)
        stream.seek(0)
        wide = next((name for mark, name in _WIDE.items() if head.startswith(mark)), None)
        if wide:
            text = io.TextIOWrapper(stream, encoding=wide, errors="replace", newline="\n")
            yield from enumerate(_bounded(text.readline, "\n"), 1)
        else:
            for number, line in enumerate(_bounded(stream.readline, b"\n"), 1):
                yield number, any_text(line)


def is_text(source: Path) -> bool:
    """Return whether a file begins like text: of what no csv holds there is none in the first line, and little behind.

    UTF-16 without its byte order mark is none: every other byte of it is NUL.
    """
    with source.open("rb") as stream:
        head = stream.read(_HEAD)
    if any(head.startswith(mark) for mark in _WIDE):
        return True
    first = head.lstrip(b"\r\n").partition(b"\n")[0]
    # One of a few rows may be broken; of random bytes a tenth is no text.
    return not _NO_TEXT.search(first) and len(_NO_TEXT.findall(head)) <= len(head) / _MAX_NO_TEXT


def _bounded(read: Callable[[int], AnyStr], end: AnyStr) -> Iterator[AnyStr]:
    while line := read(MAX_LINE + 1):
        yield line
        rest = line
        while len(rest) > MAX_LINE and not rest.endswith(end):
            rest = read(MAX_LINE + 1)


def csv_rows(lines: Iterable[tuple[int, str]], delimiter: str, n_fields: int = 0) -> Iterator[CsvRow]:
    """Yield each row; blank lines are none.

    A row that breaks the rules (text after a closing quote, a quote that is not closed within `MAX_RECORD` characters
    or the file, another number of fields than the header, NUL) costs its first line only: reading goes on with the
    next line, so that an opened quote does not swallow the rows behind it.

    Args:
        lines: as `read_lines` gives them.
        delimiter: between fields.
        n_fields: how many a row must have; 0 for any number.
    """
    source, waiting = iter(lines), deque[tuple[int, str]]()
    while True:
        taken: list[tuple[int, str]] = []
        try:
            fields = next(csv.reader(_feed(source, waiting, taken), delimiter=delimiter, strict=True), None)
            detail = "" if fields is None else _what_is_wrong(fields, n_fields)
        except csv.Error as error:
            fields, detail = [], _in_words(str(error))
        if not taken:
            return
        if detail:
            waiting.extendleft(reversed(taken[1:]))
            yield CsvRow(taken[0][0], (), f"line {taken[0][0]}: {detail}")
        elif fields:
            yield CsvRow(taken[0][0], tuple(fields))


def _feed(
    source: Iterator[tuple[int, str]], waiting: deque[tuple[int, str]], taken: list[tuple[int, str]]
) -> Iterator[str]:
    """Yield the texts of the next lines, up to `MAX_RECORD` characters, and note in `taken` which."""
    n_left = MAX_RECORD
    while n_left > 0:
        line = waiting.popleft() if waiting else next(source, None)
        if line is None:
            return
        taken.append(line)
        n_left -= len(line[1])
        if n_left >= 0 or len(taken) == 1:
            yield line[1]


def _what_is_wrong(fields: list[str], n_fields: int) -> str:
    if sum(map(len, fields)) > MAX_RECORD:
        return f"longer than {MAX_RECORD:,} characters"
    if any("\0" in field for field in fields):
        return "holds a NUL character"
    if fields and n_fields and len(fields) != n_fields:
        return f"{len(fields)} fields where the header has {n_fields}"
    return ""


def _in_words(error: str) -> str:
    if "unexpected end" in error:
        return "a quote is opened and not closed"
    if "new-line" in error:
        return "a carriage return outside quotes that ends no line"
    if "field larger" in error:
        return f"longer than {MAX_RECORD:,} characters"
    return f"broken quoting ({error})"
