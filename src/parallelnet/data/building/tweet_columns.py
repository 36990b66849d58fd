"""Which columns of a table hold a tweet's id, text, picture and sentiment, and its rows made drafts by them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ...errors import ManifestError
from ...types import SENTIMENTS
from ..tables import inside
from .draft import Draft

COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "tweet_id", "id_str", "status_id", "post_id"),
    "text": ("text", "tweet", "full_text", "tweet_text", "content", "caption"),
    "image": ("image", "image_path", "picture", "photo", "media", "image_file", "file_name", "filename"),
    "sentiment": ("sentiment", "sentiment_label"),
}
"""What a column may be called, in any case, words joined by `_`, `-` or spaces. Where a table has several of a kind, a
row's value is that of the first that is not empty."""

_SENTIMENT_WORDS = {"neg": "negative", "neu": "neutral", "pos": "positive"} | {name: name for name in SENTIMENTS}
# Names joined by "/", none of them "." or "..": what any system takes for a relative path that stays below.
_PLAIN_PATH = re.compile(r"(?:(?!\.\.?/)[^/\\:\0]+/)*(?!\.\.?$)[^/\\:\0]+")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)

Labels = Literal["emotion", "sentiment"]


class UnusableError(Exception):
    """What is wrong with a row."""


class TweetColumns:
    """Which columns of a table hold what, and rows made drafts by them."""

    def __init__(self, source: Path, names: Sequence[str], labels: Labels) -> None:
        """Find the columns of a table by their names.

        Raises:
            ManifestError: one that is needed is missing, or stands twice.
        """
        self._labels = labels
        self._names: dict[str, list[str]] = {}
        for kind, allowed in COLUMNS.items():
            self._names[kind] = [name for alias in allowed for name in names if plain(name) == alias]
            twice = [name for name in self._names[kind] if list(names).count(name) > 1]
            if twice:
                raise ManifestError(f"{source} names its column {twice[0]!r} twice. Mend: rename one of them.")
        for kind in ("text", "image", *(["sentiment"] if labels == "sentiment" else [])):
            if not self._names[kind]:
                has = ", ".join(repr(name[:40]) for name in names[:20]) or "none"
                raise ManifestError(
                    f"{source} has no column with the {kind} of a tweet; it has: {has}. "
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
        name = " ".join(found["id"].split()) or str(row)
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
        if "\0" in value:
            raise UnusableError(f"the {kind} holds a NUL character")
        # JSON can hold half of an emoji, which no file can.
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if kind in ("id", "sentiment") and isinstance(value, int | float) and not isinstance(value, bool):
        return str(int(value)) if value == value // 1 and math.isfinite(value) else str(value)
    if isinstance(value, list) and kind == "image":
        raise UnusableError(f"{len(value)} pictures; allowed: one a row")
    raise UnusableError(f"the {kind} is {type(value).__name__}; allowed: a string")


def plain(name: str) -> str:
    """Return the name of a column as `COLUMNS` writes it."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def unreadable(row: int, detail: str) -> Draft:
    """Return the draft of a row of which nothing can be used."""
    return Draft(row, str(row)).reject("unreadable-row", detail)


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
