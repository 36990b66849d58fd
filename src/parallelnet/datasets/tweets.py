"""Tweets as others keep them, row by row: a table, or a folder of MVSA or B-T4SA.

Nothing of a source is held but the row that is being read, whatever its size. A row that cannot be used says so, and
the next one is read. Which ids stand twice is found later, with the duplicates.
"""

import math
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..data import image_corpora
from ..data.rows import any_text
from ..data.shards import Example
from ..data.tables import format_of, inside, listed, open_table
from ..errors import ManifestError, refuse
from ..types import SENTIMENTS

# What a column may be called, in any case, words joined by `_`, `-` or spaces. Where a table has several of a kind, a
# row's value is that of the first that is not empty.
COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "tweet_id", "id_str", "status_id", "post_id"),
    "text": ("text", "tweet", "full_text", "tweet_text", "content", "caption"),
    "image": ("image", "image_path", "picture", "photo", "media", "image_file", "file_name", "filename"),
    "sentiment": ("sentiment", "sentiment_label"),
}
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
    refuse(ManifestError, [(not source.exists(), f"There is no file or folder {source}.")])
    if not source.is_dir():
        return format_of(source)
    lists = {
        "mvsa": [image_corpora.MVSA_LABELS],
        "b-t4sa": [f"b-t4sa_{name}.txt" for name in image_corpora.B_T4SA_SPLITS],
    }
    found = [given for given, names in lists.items() if any((source / name).is_file() for name in names)]
    told = f"The folder {source} is neither MVSA ({lists['mvsa'][0]}) nor B-T4SA (b-t4sa_train.txt, ...). Allowed:"
    refuse(ManifestError, [(not found, f"{told} those, or the path of a csv, JSON Lines or Parquet file.")])
    return found[0]


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
        ManifestError: no row of the source could be used: it is missing, empty, of no known kind, or lacks a column.
        MissingExtraError: Parquet without pyarrow.
    """
    given = detect_format(source) if format == "auto" else format
    readers = {"mvsa": _mvsa_rows, "b-t4sa": _b_t4sa_rows}
    what = "a folder" if source.is_dir() else "a file" if source.is_file() else "missing"
    problems = [
        ((given in readers) != source.is_dir(), f"{source} is {what}, which --format {given} cannot be."),
        (source.is_file() and not source.stat().st_size, f"{source} is empty. Needed: at least one tweet."),
    ]
    refuse(ManifestError, problems)
    folder = images or (source if source.is_dir() else source.parent)
    rows = readers.get(given, partial(_table_rows, format=given, labels=labels))
    for row, said in enumerate(rows(source)):
        if said.problem:  # its id is as no other row's
            yield Example(row, f"#{row}").reject("unreadable-row", f"{said.where}: {said.problem}")
        else:
            yield _tweet(row, said, folder, labels)


class _Said(NamedTuple):
    """What a source says of a tweet: details name the row by `where`; `problem` is why nothing of it can be used."""

    where: str
    problem: str = ""
    id: str = ""
    text: str = ""
    picture: str = ""
    sentiment: str = ""
    why_none: str = ""


def _tweet(row: int, said: _Said, folder: Path, labels: Labels) -> Example:
    """Return a row with the path of its picture, or rejected where that or the sentiment cannot be used."""
    tweet, picture = Example(row, said.id, said.text, sentiment=said.sentiment), said.picture
    if not picture or _ADDRESS.match(picture):
        why = f"{picture[:200]!r} is an address; nothing is fetched" if picture else "no picture"
        return tweet.reject("picture-missing", f"{said.where}: {why}")
    try:
        # `inside` takes 50 microseconds, which is hours for a hundred million rows: it is asked where there is doubt.
        path = f"{folder}{os.sep}{picture}" if _PLAIN_PATH.fullmatch(picture) else inside(folder, picture, said.where)
    except ManifestError:
        return tweet.reject("picture-outside", f"{said.where}: {picture[:200]!r} leaves the folder of the pictures")
    found = replace(tweet, image_path=path)
    if said.why_none and labels == "sentiment":
        return found.reject("no-sentiment", f"{said.where}: {said.why_none}")
    return found


def _why_none(said: str, allowed: Iterable[str]) -> str:
    return f"sentiment {said[:40]!r}; allowed: {', '.join(allowed)}"


def _table_rows(source: Path, format: str, labels: Labels) -> Iterator[_Said]:
    table = open_table(source, known=KNOWN, format=format)
    names = {kind: [name for name in allowed if name in table.columns] for kind, allowed in COLUMNS.items()}
    used = [name for of_kind in names.values() for name in of_kind]
    table.refuse_twice(used)
    for kind in ("text", "image", *(["sentiment"] if labels == "sentiment" else [])):
        has = f"{table.path} has no column with the {kind} of a tweet; it has: {listed(table.columns)}. Allowed names:"
        if not names[kind]:
            raise ManifestError(f"{has} {', '.join(COLUMNS[kind])}. Mend: name the column in the header.")
    mend = "Needed: paths of picture files. Mend: write them as files, and their paths as the column."
    held = f"{source} holds the pictures themselves in its column"
    refuse(ManifestError, ((name in table.binary, f"{held} {name!r}. {mend}") for name in names["image"]))
    for row, found in enumerate(table.read(used)):
        where = f"line {found.line}" if found.line else f"row {row}"
        try:
            refuse(ValueError, [(found.problem, found.problem)])
            id_, text, picture, word = (_value(kind, names[kind], found.values) for kind in COLUMNS)
        except ValueError as error:
            yield _Said(where, str(error))
            continue
        # By its number; where others have ids, in a form that none of theirs keeps (see `duplicates.settled`).
        name = " ".join(id_.split()) or (f"#{row}" if names["id"] else str(row))
        sentiment = _SENTIMENT_WORDS.get(word.lower(), "")
        why_none = _why_none(word, SENTIMENTS) if word and not sentiment else ""
        yield _Said(where, "", name, text, picture, sentiment, why_none)


def _value(kind: str, names: Sequence[str], values: Mapping[str, Any]) -> str:
    """Return the first value of a kind that is not empty; text as it is, all else without space around it."""
    found = (_string(values.get(name), kind) for name in names)
    value = next((each for each in found if each.strip()), "")
    return value if kind == "text" else value.strip()


def _string(value: object, kind: str) -> str:
    if isinstance(value, list) and len(value) == 1 and kind == "image":
        value = value[0]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""  # how pandas writes that there is nothing
    if isinstance(value, str):
        return value
    if kind in ("id", "sentiment") and isinstance(value, int | float) and not isinstance(value, bool):
        return str(int(value)) if value == value // 1 and math.isfinite(value) else str(value)
    many = isinstance(value, list) and kind == "image" and f"{len(value)} pictures; allowed: one a row"
    raise ValueError(many or f"the {kind} is {type(value).__name__}; allowed: a string")


def _mvsa_rows(source: Path) -> Iterator[_Said]:
    """Yield MVSA in the order of its label file; where annotators disagree there is no sentiment (see `read_mvsa`)."""
    root = os.path.realpath(source)
    for row, (number, *votes) in enumerate(image_corpora.mvsa_lines(source)):
        where, words, problem, text = f"line {row + 2}", source / "data" / f"{number}.txt", "", ""
        if not number.isdigit():
            problem = f"{number[:40]!r} is no number of a tweet"
        elif words.is_symlink() and not words.resolve().is_relative_to(root):
            problem = f"data/{words.name} is a link that leads out"
        else:
            try:
                text = any_text(words.read_bytes()).strip()
            except OSError as error:
                problem = f"no text data/{words.name} ({error.strerror})"
        yield _Said(where, problem, number, text, f"data/{number}.jpg", *image_corpora.mvsa_sentiment(*votes))


def _b_t4sa_rows(source: Path) -> Iterator[_Said]:
    """Yield B-T4SA, a row a picture: train, then validation, then test."""
    pairs = image_corpora.b_t4sa_texts(source)
    if pairs is None:
        told = f"{source} has the pictures of B-T4SA but no raw_tweets_text.csv, there or one folder above."
        raise ManifestError(told)
    with tempfile.TemporaryDirectory(prefix="parallelnet-") as scratch, closing(_by_tweet(pairs, scratch)) as texts:
        for _, where, name, number in image_corpora.b_t4sa_lines(source):
            where = where.rpartition(os.sep)[2]  # the folders of this machine do not belong into a data set
            stem = name.rpartition("/")[2].partition(".")[0]
            tweet = stem.partition("-")[0]
            if not (tweet.isdecimal() and tweet.isascii() and len(tweet) < _N_DIGITS):
                yield _Said(where, f"{name[:200]!r} is no picture of a tweet")
                continue
            sentiment = image_corpora.B_T4SA_SENTIMENTS.get(number, "")
            # Of the last line that has the tweet.
            found = texts.execute("SELECT text FROM texts WHERE id = ? ORDER BY rowid DESC LIMIT 1", (int(tweet),))
            why_none = "" if sentiment else _why_none(number, image_corpora.B_T4SA_SENTIMENTS)
            yield _Said(where, "", stem, next(found, ("",))[0], name, sentiment, why_none)


def _by_tweet(pairs: Iterable[tuple[str, str]], scratch: str) -> sqlite3.Connection:
    """Return the texts of T4SA on disk: 3.4 million would take a gigabyte of memory as a dict.

    Costs a scratch file in the system's temporary folder, a little larger than the csv, and some 10 s once.
    """
    database = sqlite3.connect(Path(scratch) / "texts.sqlite")
    # The file lives as long as the scratch folder: nothing needs to survive a crash.
    database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; CREATE TABLE texts (id, text);")
    rows = ((int(name), text) for name, text in pairs if name.isdecimal() and len(name) < _N_DIGITS)
    with database:
        database.executemany("INSERT INTO texts VALUES (?, ?)", rows)
        database.execute("CREATE INDEX by_id ON texts (id)")
    return database
