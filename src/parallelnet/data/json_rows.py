"""Rows of JSON that others wrote: one object a line, or one list of objects; a broken line costs its own row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import shown
from .csv_rows import MAX_LINE, read_lines, wide_encoding
from .rows import Row, column_name, made_row

DEEP = "lists or objects nested too deeply"
"""Why JSON is not read at which Python gives up."""

_N_DIGITS = 4300  # of the longest whole number that Python reads
_HEAD = 4096  # characters by which a list is known
_ARRAY = re.compile(r"\ufeff?\s*\[\s*[{\]]")
_BETWEEN = re.compile(r"[\s,]*")


class _Object(dict[str, Any]):
    """A JSON object, which knows whether it names a key twice: nobody knows which of the two is meant."""

    twice = ""


_Object.__name__ = "dict"  # as errors call it


def _as_object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        made.twice = next(name for name in names if names.count(name) > 1)
    return made


def _as_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= _N_DIGITS else digits  # an id of so many digits is one all the same


_DECODER = json.JSONDecoder(object_pairs_hook=_as_object, parse_int=_as_number)


def json_rows(source: Path, known: frozenset[str]) -> Iterator[Row]:
    """Yield each row of JSON: of one list of objects, or of an object a line; blank lines are none.

    Args:
        source: UTF-8, or UTF-16 or UTF-32 with their byte order mark; lines may be Windows-1252.
        known: see `rows.column_name`.
    """
    with source.open(encoding=wide_encoding(source) or "utf-8", errors="replace") as stream:
        is_array = _ARRAY.match(stream.read(_HEAD))
    return _array(source, known) if is_array else _objects(source, known)


def _objects(source: Path, known: frozenset[str]) -> Iterator[Row]:
    """Yield the rows of JSON Lines."""
    for number, line in read_lines(source):
        if len(line) > MAX_LINE:
            yield Row(number, {}, f"longer than {MAX_LINE:,} characters")
        elif line.strip():
            try:
                value = _DECODER.decode(line)
            except ValueError as error:
                yield Row(number, {}, f"broken JSON: {error}")
            except RecursionError:
                yield Row(number, {}, DEEP)
            else:
                yield _json_row(number, value, known)


def _array(source: Path, known: frozenset[str]) -> Iterator[Row]:
    """Yield the rows of one JSON list, as pandas writes it; all behind broken JSON in it is lost, in one row."""
    with source.open(encoding=wide_encoding(source) or "utf-8-sig") as stream:
        try:
            text, place = stream.read(MAX_LINE).lstrip(), 1
            while True:
                place = _between(text, place)
                try:
                    if text[place : place + 1] == "]":
                        return
                    value, end = _DECODER.raw_decode(text, place)
                except ValueError as error:  # broken, or what was read ends inside it
                    more = stream.read(MAX_LINE)
                    if not more or len(text) - place > MAX_LINE:
                        reason = "the list does not end" if place == len(text) else error
                        yield Row(0, {}, f"broken JSON from here on: {reason}")
                        return
                    text, place = text[place:] + more, 0
                else:
                    yield _json_row(0, value, known)
                    place = end
        except UnicodeDecodeError as error:
            yield Row(0, {}, f"broken JSON from here on: {error}")
        except RecursionError:
            yield Row(0, {}, f"broken JSON from here on: {DEEP}")


def _between(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    assert found is not None  # it matches nothing, too
    return found.end()


def _json_row(line: int, value: Any, known: frozenset[str]) -> Row:
    if not isinstance(value, _Object):
        return Row(line, {}, f"no JSON object but {type(value).__name__}")
    if value.twice:
        return Row(line, {}, f"names {shown(value.twice)} twice")
    return made_row(line, {column_name(name, known): field for name, field in value.items()}, len(value))
