"""Rows of a csv that others wrote: whatever is broken costs the row that it is in, and what follows is read on.

Read line by line, in bounded memory, whatever encoding, line ends and separator it was saved with.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import AnyStr

DELIMITERS: tuple[str, ...] = (",", "\t", ";", "|")

MAX_RECORD = 100_000
"""Characters from which on a row is taken for broken: a quote was opened and never closed. (Python's own limit for one
field is 131,072; the longest posts of any network have 25,000 to 65,000.)"""

MAX_LINE = 1 << 20
"""Bytes (characters in UTF-16) of the longest line that is held; a JSON object of a tweet has some 10,000."""

_HEAD = 4096  # bytes by which text and line ends are known
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_MAX_NO_TEXT = 20  # one byte in so many
_FEW = 512  # bytes that are too few to count anything but NUL
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<delimiter>[^"\r\n])"?\s*', re.IGNORECASE)

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


def any_text(content: bytes) -> str:
    """Return text of unknown encoding: UTF-8 where it is that, else Windows-1252, else Latin-1, which loses no byte."""
    for encoding in ("utf-8-sig", "cp1252"):  # the tweets of MVSA were saved in more than one encoding
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def wide_encoding(source: Path) -> str:
    """Return `utf-16` or `utf-32` where a file's byte order mark says so, else ""."""
    with source.open("rb") as stream:
        head = stream.read(4)
    return next((name for mark, name in _WIDE.items() if head.startswith(mark)), "")


def read_lines(source: Path) -> Iterator[tuple[int, str]]:
    r"""Yield (1-based number, text with its end) of each line, `\n`, `\r\n` or, where the first one is that, `\r`.

    UTF-16 and UTF-32 are known by their byte order mark. All else goes line by line, as `any_text` reads it. Of a line
    longer than `MAX_LINE` comes as much and one more, the rest is skipped.
    """
    wide = wide_encoding(source)
    with source.open("rb") as stream:
        head = stream.read(_HEAD)
        stream.seek(0)
        ends = re.search(r"\r\n|[\r\n]", head.decode(wide, "ignore") if wide else head.decode("latin-1"))
        end = "\r" if ends and ends[0] == "\r" else "\n"
        if wide:
            wide_text = io.TextIOWrapper(stream, encoding=wide, errors="replace", newline=end)
            yield from enumerate(_bounded(wide_text.readline, end), 1)
        elif end == "\r":  # the old Mac's; bytes cannot be read so, but Latin-1 is bytes
            bytewise = io.TextIOWrapper(stream, encoding="latin-1", newline=end)
            for number, text in enumerate(_bounded(bytewise.readline, end), 1):
                yield number, any_text(text.encode("latin-1"))
        else:
            for number, line in enumerate(_bounded(stream.readline, b"\n"), 1):
                yield number, any_text(line)


def is_text(source: Path) -> bool:
    """Return whether a file begins like text: of what no csv holds there is none in the first line, and little behind.

    UTF-16 without its byte order mark is none: every other byte of it is NUL.
    """
    if wide_encoding(source):
        return True
    with source.open("rb") as stream:
        head = stream.read(_HEAD)
    first = re.split(rb"[\r\n]", head.lstrip(b"\r\n"), maxsplit=1)[0]
    # One of a few rows may be broken; of random bytes a tenth is no text.
    n_odd = head.count(b"\0") if len(head) < _FEW else len(_NO_TEXT.findall(head))
    return not _NO_TEXT.search(first) and n_odd <= len(head) / _MAX_NO_TEXT


def said_delimiter(line: str) -> str:
    """Return the separator that a first line `sep=;` tells Excel, or ""."""
    found = _SEPARATOR_LINE.fullmatch(line)
    return found["delimiter"] if found else ""


def likely_delimiter(header: str, is_known: Callable[[str], bool]) -> str:
    """Return what separates the names in a header: that of `DELIMITERS` which gives most known names, then most names.

    Args:
        header: the first line.
        is_known: whether a name is one that the caller looks for.
    """

    def fit(delimiter: str) -> tuple[int, int]:
        try:
            names: Collection[str] = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:  # longer than a field may be
            return 0, 0
        return sum(map(is_known, names)), len(names)

    return max(DELIMITERS, key=fit)


def _bounded(read: Callable[[int], AnyStr], end: AnyStr) -> Iterator[AnyStr]:
    while line := read(MAX_LINE + 1):
        yield line
        rest = line
        while len(rest) > MAX_LINE and not rest.endswith(end):
            rest = read(MAX_LINE + 1)


def csv_rows(lines: Iterable[tuple[int, str]], delimiter: str, n_fields: int = 0) -> Iterator[CsvRow]:
    """Yield each row; blank lines are none.

    A row that breaks the rules (text after a closing quote, a quote that is not closed within `MAX_RECORD` characters
    or the file, another number of fields than the header but for
    empty ones behind, NUL) costs its first line only: reading goes on with the
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
            while n_fields and fields and len(fields) > n_fields and not fields[-1].strip():
                fields.pop()  # a separator behind the last field
            detail = "" if fields is None else _what_is_wrong(fields, n_fields)
        except csv.Error as error:
            fields, detail = [], _in_words(str(error))
        if not taken:
            return
        if detail:
            waiting.extendleft(reversed(taken[1:]))
            if taken[0][1].strip():
                yield CsvRow(taken[0][0], (), detail)
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
