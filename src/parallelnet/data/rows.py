"""Rows of a table from whatever file, what its columns are called, and what text in them is taken to mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import ManifestError, brief, shown

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))
_JOINERS = "\u200c\u200d"  # these mean something inside a word, never around it


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        line: 1-based number of its first line; 0 where rows are not lines.
        values: by column; csv gives strings, the others whatever they hold. Columns without a name are left out.
        problem: why it cannot be read, or "".
    """

    line: int
    values: Mapping[str, Any]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table of which the names of the columns have been read.

    Attributes:
        path: the file.
        format: `csv`, `jsonl` or `parquet`.
        columns: names of the columns, in the order of the file; those that the caller knows as the caller writes them.
        binary: the columns that hold files, as bytes or as Hugging Face's `{bytes, path}`.
        read: yields the rows, once; of Parquet with these columns alone where any are named.
    """

    path: Path
    format: str
    columns: tuple[str, ...]
    binary: frozenset[str]
    read: Callable[[Collection[str]], Iterator[Row]]

    def refuse_twice(self, names: Collection[str]) -> None:
        """Refuse the table if one of these columns stands twice in it.

        Raises:
            ManifestError: it does.
        """
        twice = [name for name in names if self.columns.count(name) > 1]
        if twice:
            raise ManifestError(f"{self.path} names its column {shown(twice[0])} twice. Mend: rename one of them.")


def tidy(text: str) -> str:
    """Return a name as people mean it: composed (NFC), single spaces, none and nothing invisible around it."""
    return " ".join(unicodedata.normalize("NFC", text).translate(_INVISIBLE).split()).strip(_JOINERS)


def listed(columns: Collection[str]) -> str:
    """Return the names of columns as an error lists them."""
    names = [brief(name, 40) for name in columns]
    return ", ".join(names[:20] + ["..."] * (len(names) > 20)) or "none"


def storable(text: str) -> str:
    """Return the text without lone surrogates, which no utf-8 file can hold; each becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@lru_cache(maxsize=500)  # JSON says its names in every row
def column_name(name: str, known: frozenset[str]) -> str:
    """Return what a column is called here: one of `known` where it is that but for case, space and hyphens; or ""."""
    key = re.sub(r"[\s-]+", "_", tidy(name).lower())
    return key if key in known else tidy(name)


def made_row(line: int, values: dict[str, Any], n_columns: int) -> Row:
    """Return a row of values that are no csv's, with text that files can hold."""
    if len(values) < n_columns:
        return Row(line, {}, "two of its names differ in case or space only")
    values.pop("", None)
    for name, value in values.items():
        if isinstance(value, str):
            if "\0" in value:
                return Row(line, values, f"{shown(name)} holds a NUL character")
            values[name] = storable(value)
    return Row(line, values)
