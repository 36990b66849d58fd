"""Which columns of a table hold a tweet's id, text, picture and sentiment, and its rows made drafts by them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..data.tables import OpenTable, inside, listed
from ..errors import ManifestError
from ..types import SENTIMENTS
from .draft import Draft

COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "tweet_id", "id_str", "status_id", "post_id"),
    "text": ("text", "tweet", "full_text", "tweet_text", "content", "caption"),
    "image": ("image", "image_path", "picture", "photo", "media", "image_file", "file_name", "filename"),
    "sentiment": ("sentiment", "sentiment_label"),
}
"""What a column may be called, in any case, words joined by `_`, `-` or spaces. Where a table has several of a kind, a
row's value is that of the first that is not empty."""

KNOWN: frozenset[str] = frozenset(name for allowed in COLUMNS.values() for name in allowed)

_SENTIMENT_WORDS = {"neg": "negative", "neu": "neutral", "pos": "positive"} | {name: name for name in SENTIMENTS}
# Names joined by "/", none of them "." or "..": what any system takes for a relative path that stays below.
_PLAIN_PATH = re.compile(r"(?:(?!\.\.?/)[^/\\:\0]+/)*(?!\.\.?$)[^/\\:\0]+")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)

Labels = Literal["emotion", "sentiment"]


class UnusableError(Exception):
    """What is wrong with a row."""


class TweetColumns:
    """Which columns of a table hold what, and rows made drafts by them."""

    def __init__(self, table: OpenTable, labels: Labels) -> None:
        """Find the columns of a table by their names.

        Raises:
            ManifestError: one that is needed is missing, or stands twice.
        """
        self._labels = labels
        self._names = {kind: [name for name in allowed if name in table.columns] for kind, allowed in COLUMNS.items()}
        table.refuse_twice(self.names())
        for kind in ("text", "image", *(["sentiment"] if labels == "sentiment" else [])):
            if not self._names[kind]:
                raise ManifestError(
                    f"{table.path} has no column with the {kind} of a tweet; it has: {listed(table.columns)}. "
                    f"Allowed names: {', '.join(COLUMNS[kind])}. Mend: name the column in the header."
                )

    def names(self, kind: str = "") -> list[str]:
        """Return the columns of a kind, or all that are used."""
        kinds = [kind] if kind else list(COLUMNS)
        return [name for each in kinds for name in self._names[each]]

    def draft(self, row: int, values: Mapping[str, Any], folder: Path, where: str) -> Draft:
        """Return a row as a draft; `where` is how the detail of a rejected one names it."""
        try:
            found = {kind: self._value(kind, values) for kind in COLUMNS}
        except UnusableError as error:
            return unreadable(row, f"{where}: {error}")
        # By its number; where others have ids, in a form that none of theirs keeps (see `duplicates.Duplicates`).
        name = " ".join(found["id"].split()) or (f"#{row}" if self._names["id"] else str(row))
        sentiment = _SENTIMENT_WORDS.get(found["sentiment"].lower(), "")
        why_none = ""
        if self._labels == "sentiment" and found["sentiment"] and not sentiment:
            why_none = f"sentiment {found['sentiment'][:40]!r}; allowed: {', '.join(SENTIMENTS)}"
        return tweet_draft(row, name, found["text"], found["image"], folder, where, sentiment, why_none)

    def _value(self, kind: str, values: Mapping[str, Any]) -> str:
        """Return the first value of a kind that is not empty; text as it is, all else without space around it."""
        for name in self._names[kind]:
            value = _string(values.get(name), kind)
            if value.strip():
                return value if kind == "text" else value.strip()
        return ""


def _string(value: object, kind: str) -> str:
    """Return a value of a table as a string.

    Raises:
        UnusableError: it is none, or several.
    """
    if isinstance(value, list) and len(value) == 1 and kind == "image":
        value = value[0]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""  # how pandas writes that there is nothing
    if isinstance(value, str):
        return value
    if kind in ("id", "sentiment") and isinstance(value, int | float) and not isinstance(value, bool):
        return str(int(value)) if value == value // 1 and math.isfinite(value) else str(value)
    if isinstance(value, list) and kind == "image":
        raise UnusableError(f"{len(value)} pictures; allowed: one a row")
    raise UnusableError(f"the {kind} is {type(value).__name__}; allowed: a string")


def unreadable(row: int, detail: str) -> Draft:
    """Return the draft of a row of which nothing can be used; its id is `#` and its number, as no other row's."""
    return Draft(row, f"#{row}").reject("unreadable-row", detail)


def tweet_draft(
    row: int, name: str, text: str, picture: str, folder: Path, where: str, sentiment: str, why_none: str = ""
) -> Draft:
    """Return the draft of a row, rejected where its picture cannot be used or its sentiment is wanting.

    Args:
        row: number of the row.
        name: the tweet's id.
        text: as found.
        picture: path as the source gives it, relative to `folder`.
        folder: that paths must not leave.
        where: how the detail names the row.
        sentiment: one of ours, or "".
        why_none: why there is no sentiment though one is needed, or "".
    """
    if not picture:
        return Draft(row, name, text, "", sentiment).reject("picture-missing", f"{where}: no picture")
    if _ADDRESS.match(picture):
        detail = f"{where}: {picture[:200]!r} is an address; nothing is fetched"
        return Draft(row, name, text, "", sentiment).reject("picture-missing", detail)
    try:
        # `inside` takes 50 microseconds, which is hours for a hundred million rows: it is asked where there is doubt.
        path = f"{folder}{os.sep}{picture}" if _PLAIN_PATH.fullmatch(picture) else inside(folder, picture, where)
    except ManifestError:
        detail = f"{where}: {picture[:200]!r} leaves the folder of the pictures"
        return Draft(row, name, text, "", sentiment).reject("picture-outside", detail)
    draft = Draft(row, name, text, path, sentiment)
    return draft.reject("no-sentiment", f"{where}: {why_none}") if why_none else draft
