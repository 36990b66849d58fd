"""Tweets as others keep them, row by row: a table, or a folder of MVSA or B-T4SA.

Nothing of a source is held but the row that is being read, whatever its size. A row that cannot be used says so, and
the next one is read. Which ids stand twice is found later, with the duplicates.
"""

from __future__ import annotations

import math
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..data.image_corpora import (
    B_T4SA_SENTIMENTS,
    B_T4SA_SPLITS,
    MVSA_LABELS,
    b_t4sa_lines,
    b_t4sa_texts,
    mvsa_lines,
    mvsa_sentiment,
)
from ..data.rows import any_text, csv_rows, read_lines
from ..data.shards import Example
from ..data.tables import format_of, inside, listed, open_table
from ..errors import ManifestError
from ..types import SENTIMENTS
from .steps import is_inside

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

_N_DIGITS = 19  # a number of fewer digits fits 64 bits, as the ids of tweets do

Labels = Literal["emotion", "sentiment"]


def detect_format(source: Path) -> str:
    """Return what a source is: `b-t4sa`, `mvsa`, `csv`, `jsonl` or `parquet`.

    Raises:
        ManifestError: there is nothing, or it is none of them.
    """
    if source.is_dir():
        if (source / MVSA_LABELS).is_file():
            return "mvsa"
        if any((source / f"b-t4sa_{name}.txt").is_file() for name in B_T4SA_SPLITS):
            return "b-t4sa"
        raise ManifestError(
            f"The folder {source} is neither MVSA ({MVSA_LABELS}) nor B-T4SA (b-t4sa_train.txt, ...). "
            "Allowed: those, or the path of a csv, JSON Lines or Parquet file."
        )
    if not source.exists():
        raise ManifestError(f"There is no file or folder {source}.")
    return format_of(source)


def read_tweets(source: Path, format: str = "auto", *, images: Path | None = None, labels: Labels) -> Iterator[Example]:
    """Yield the rows of a source, numbered from 0 on, in its order.

    Text and ids are as found; a row without an id is called by its number. A row that cannot be read is rejected as
    `unreadable-row`, one whose picture lies outside the folder as `picture-outside`, one that has an address for a
    picture as `picture-missing`: nothing is fetched. Whether there is a picture is seen later.

    Sentiments of tables are words (`negative`, `neutral`, `positive`, or their first three letters). Numbers are not
    taken: 0 is negative in B-T4SA and neutral elsewhere. With `sentiment` as labels another value is rejected as
    `no-sentiment`, with `emotion` it is left out.

    Args:
        source: the table or the folder.
        format: what it is; `auto` finds out.
        images: folder that the paths of pictures are relative to; without it the source's.
        labels: what will be learnt; `sentiment` needs a source that has them.

    Raises:
        ManifestError: no row of the source could be used: it is missing, empty, of no known kind, or has no column
            for the text, for the picture or, where it is needed, for the sentiment.
        MissingExtraError: Parquet without pyarrow.
    """
    given = detect_format(source) if format == "auto" else format
    if (given in ("mvsa", "b-t4sa")) != source.is_dir():
        what = "a folder" if source.is_dir() else "a file" if source.is_file() else "missing"
        raise ManifestError(f"{source} is {what}, which --format {given} cannot be.")
    if source.is_file() and source.stat().st_size == 0:
        raise ManifestError(f"{source} is empty. Needed: at least one tweet.")
    folder = images or (source if source.is_dir() else source.parent)
    if given == "mvsa":
        yield from _read_mvsa(source, folder, labels)
    elif given == "b-t4sa":
        yield from _read_b_t4sa(source, folder, labels)
    else:
        yield from _read_table(source, given, folder, labels)


def _unreadable(row: int, detail: str) -> Example:
    """Return a row of which nothing can be used; its id is `#` and its number, as no other row's."""
    return Example(row, f"#{row}").reject("unreadable-row", detail)


def _tweet(tweet: Example, picture: str, folder: Path, where: str, why_none: str) -> Example:
    """Return a row with the path of its picture, or rejected where that or the sentiment cannot be used.

    Args:
        tweet: what else is known of it.
        picture: path as the source gives it, relative to `folder`.
        folder: that paths must not leave.
        where: how the detail names the row.
        why_none: why there is no sentiment though one is needed, or "".
    """
    if not picture:
        return tweet.reject("picture-missing", f"{where}: no picture")
    if _ADDRESS.match(picture):
        return tweet.reject("picture-missing", f"{where}: {picture[:200]!r} is an address; nothing is fetched")
    try:
        # `inside` takes 50 microseconds, which is hours for a hundred million rows: it is asked where there is doubt.
        path = f"{folder}{os.sep}{picture}" if _PLAIN_PATH.fullmatch(picture) else inside(folder, picture, where)
    except ManifestError:
        return tweet.reject("picture-outside", f"{where}: {picture[:200]!r} leaves the folder of the pictures")
    found = replace(tweet, image_path=path)
    return found.reject("no-sentiment", f"{where}: {why_none}") if why_none else found


def _read_table(source: Path, given: str, folder: Path, labels: Labels) -> Iterator[Example]:
    table = open_table(source, known=KNOWN, format=given)
    names = {kind: [name for name in allowed if name in table.columns] for kind, allowed in COLUMNS.items()}
    used = [name for of_kind in names.values() for name in of_kind]
    table.refuse_twice(used)
    for kind in ("text", "image", *(["sentiment"] if labels == "sentiment" else [])):
        if not names[kind]:
            raise ManifestError(
                f"{table.path} has no column with the {kind} of a tweet; it has: {listed(table.columns)}. "
                f"Allowed names: {', '.join(COLUMNS[kind])}. Mend: name the column in the header."
            )
    files = [name for name in names["image"] if name in table.binary]
    if files:
        raise ManifestError(
            f"{source} holds the pictures themselves in its column {files[0]!r}. Needed: paths of picture files. "
            "Mend: write them as files, and their paths as the column."
        )
    for row, found in enumerate(table.read(used)):
        where = f"line {found.line}" if found.line else f"row {row}"
        try:
            if found.problem:
                raise ValueError(found.problem)
            said = {kind: _value(kind, names[kind], found.values) for kind in COLUMNS}
        except ValueError as error:
            yield _unreadable(row, f"{where}: {error}")
            continue
        # By its number; where others have ids, in a form that none of theirs keeps (see `duplicates.settled`).
        name = " ".join(said["id"].split()) or (f"#{row}" if names["id"] else str(row))
        sentiment, why_none = _SENTIMENT_WORDS.get(said["sentiment"].lower(), ""), ""
        if labels == "sentiment" and said["sentiment"] and not sentiment:
            why_none = f"sentiment {said['sentiment'][:40]!r}; allowed: {', '.join(SENTIMENTS)}"
        tweet = Example(row, name, said["text"], sentiment=sentiment)
        yield _tweet(tweet, said["image"], folder, where, why_none)


def _value(kind: str, names: Sequence[str], values: Mapping[str, Any]) -> str:
    """Return the first value of a kind that is not empty; text as it is, all else without space around it.

    Raises:
        ValueError: it is no string, or several.
    """
    for name in names:
        value = _string(values.get(name), kind)
        if value.strip():
            return value if kind == "text" else value.strip()
    return ""


def _string(value: object, kind: str) -> str:
    if isinstance(value, list) and len(value) == 1 and kind == "image":
        value = value[0]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""  # how pandas writes that there is nothing
    if isinstance(value, str):
        return value
    if kind in ("id", "sentiment") and isinstance(value, int | float) and not isinstance(value, bool):
        return str(int(value)) if value == value // 1 and math.isfinite(value) else str(value)
    if isinstance(value, list) and kind == "image":
        raise ValueError(f"{len(value)} pictures; allowed: one a row")
    raise ValueError(f"the {kind} is {type(value).__name__}; allowed: a string")


def _read_mvsa(source: Path, folder: Path, labels: Labels) -> Iterator[Example]:
    """MVSA, in the order of its label file; where annotators disagree there is no sentiment (see `read_mvsa`)."""
    root = os.path.realpath(source)
    for row, (number, *votes) in enumerate(mvsa_lines(source)):
        where = f"line {row + 2}"
        words = source / "data" / f"{number}.txt"
        if not number.isdigit():
            yield _unreadable(row, f"{where}: {number[:40]!r} is no number of a tweet")
            continue
        if words.is_symlink() and not is_inside(words, root):
            yield _unreadable(row, f"{where}: data/{words.name} is a link that leads out")
            continue
        try:
            text = any_text(words.read_bytes()).strip()
        except OSError as error:
            yield _unreadable(row, f"{where}: no text data/{words.name} ({error.strerror})")
            continue
        sentiment, why_none = mvsa_sentiment(votes[0], votes[1])
        why_none = why_none if labels == "sentiment" else ""
        tweet = Example(row, number, text, sentiment=sentiment)
        yield _tweet(tweet, f"data/{number}.jpg", folder, where, why_none)


def _read_b_t4sa(source: Path, folder: Path, labels: Labels) -> Iterator[Example]:
    """B-T4SA, a row a picture: train, then validation, then test."""
    texts_file = b_t4sa_texts(source)
    lines = b_t4sa_lines(source)
    if texts_file is None:
        raise ManifestError(
            f"{source} has the pictures of B-T4SA but no raw_tweets_text.csv, there or one folder above."
        )
    with (
        tempfile.TemporaryDirectory(prefix="parallelnet-") as scratch,
        closing(_texts_by_tweet(texts_file, scratch)) as texts,
    ):
        for row, (_, where, name, number) in enumerate(lines):
            where = where.rpartition(os.sep)[2]  # the folders of this machine do not belong into a data set
            stem = name.rpartition("/")[2].partition(".")[0]
            tweet = stem.partition("-")[0]
            if not (tweet.isdecimal() and tweet.isascii() and len(tweet) < _N_DIGITS):
                yield _unreadable(row, f"{where}: {name[:200]!r} is no picture of a tweet")
                continue
            sentiment, why_none = B_T4SA_SENTIMENTS.get(number, ""), ""
            if labels == "sentiment" and not sentiment:
                why_none = f"sentiment {number[:40]!r}; allowed: {', '.join(B_T4SA_SENTIMENTS)}"
            # Of the last line that has the tweet.
            found = texts.execute("SELECT text FROM texts WHERE id = ? ORDER BY rowid DESC LIMIT 1", (int(tweet),))
            text = next(found, ("",))[0]
            yield _tweet(Example(row, stem, text, sentiment=sentiment), name, folder, where, why_none)


def _texts_by_tweet(source: Path, scratch: str) -> sqlite3.Connection:
    """Return the texts of T4SA on disk: 3.4 million would take a gigabyte of memory as a dict.

    Costs a scratch file in the system's temporary folder, a little larger than the csv, and some 10 s once.
    """
    database = sqlite3.connect(Path(scratch) / "texts.sqlite")
    # The file lives as long as the scratch folder: nothing needs to survive a crash.
    database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; CREATE TABLE texts (id, text);")
    rows = (row.values for row in csv_rows(read_lines(source), ",", 2) if not row.problem)
    pairs = ((int(name), text) for name, text in rows if name.isdecimal() and len(name) < _N_DIGITS)
    with database:
        database.executemany("INSERT INTO texts VALUES (?, ?)", pairs)
        database.execute("CREATE INDEX by_id ON texts (id)")
    return database
