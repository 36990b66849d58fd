"""Tweets as others keep them, row by row: a table, or a folder of MVSA or B-T4SA.

Nothing of a source is held but the row that is being read, whatever its size. A row that cannot be used is a draft that
says so, and the next one is read. Which ids stand twice is found later, with the duplicates.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

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
from ..data.tables import format_of, open_table
from ..errors import ManifestError
from .draft import Draft
from .pictures import is_inside
from .tweet_columns import KNOWN, Labels, TweetColumns, tweet_draft, unreadable

_N_DIGITS = 19  # a number of fewer digits fits 64 bits, as the ids of tweets do


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


def read_tweets(source: Path, format: str = "auto", *, images: Path | None = None, labels: Labels) -> Iterator[Draft]:
    """Yield a draft a row, numbered from 0 on, in the order of the source.

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


# --- tables -----------------------------------------------------------------------------------------------------------


def _read_table(source: Path, given: str, folder: Path, labels: Labels) -> Iterator[Draft]:
    table = open_table(source, known=KNOWN, format=given)
    columns = TweetColumns(table, labels)
    inside = [name for name in columns.names("image") if name in table.binary]
    if inside:
        raise ManifestError(
            f"{source} holds the pictures themselves in its column {inside[0]!r}. Needed: paths of picture files. "
            "Mend: write them as files, and their paths as the column."
        )
    for row, found in enumerate(table.read(columns.names())):
        where = f"line {found.line}" if found.line else f"row {row}"
        if found.problem:
            yield unreadable(row, f"{where}: {found.problem}")
        else:
            yield columns.draft(row, found.values, folder, where)


# --- corpora ----------------------------------------------------------------------------------------------------------


def _read_mvsa(source: Path, folder: Path, labels: Labels) -> Iterator[Draft]:
    """MVSA, in the order of its label file; where annotators disagree there is no sentiment (see `read_mvsa`)."""
    root = os.path.realpath(source)
    for row, (number, *votes) in enumerate(mvsa_lines(source)):
        where = f"line {row + 2}"
        words = source / "data" / f"{number}.txt"
        if not number.isdigit():
            yield unreadable(row, f"{where}: {number[:40]!r} is no number of a tweet")
            continue
        if words.is_symlink() and not is_inside(words, root):
            yield unreadable(row, f"{where}: data/{words.name} is a link that leads out")
            continue
        try:
            text = any_text(words.read_bytes()).strip()
        except OSError as error:
            yield unreadable(row, f"{where}: no text data/{words.name} ({error.strerror})")
            continue
        sentiment, why_none = mvsa_sentiment(votes[0], votes[1])
        why_none = why_none if labels == "sentiment" else ""
        yield tweet_draft(row, number, text, f"data/{number}.jpg", folder, where, sentiment, why_none)


def _read_b_t4sa(source: Path, folder: Path, labels: Labels) -> Iterator[Draft]:
    """B-T4SA, a row a picture: train, then validation, then test."""
    texts_file = b_t4sa_texts(source)
    lines = b_t4sa_lines(source)
    if texts_file is None:
        raise ManifestError(
            f"{source} has the pictures of B-T4SA but no raw_tweets_text.csv, there or one folder above."
        )
    with tempfile.TemporaryDirectory(prefix="parallelnet-") as scratch, closing(_Texts(texts_file, scratch)) as texts:
        for row, (_, where, name, number) in enumerate(lines):
            where = where.rpartition(os.sep)[2]  # the folders of this machine do not belong into a data set
            stem = name.rpartition("/")[2].partition(".")[0]
            tweet = stem.partition("-")[0]
            if not (tweet.isdecimal() and tweet.isascii() and len(tweet) < _N_DIGITS):
                yield unreadable(row, f"{where}: {name[:200]!r} is no picture of a tweet")
                continue
            sentiment, why_none = B_T4SA_SENTIMENTS.get(number, ""), ""
            if labels == "sentiment" and not sentiment:
                why_none = f"sentiment {number[:40]!r}; allowed: {', '.join(B_T4SA_SENTIMENTS)}"
            yield tweet_draft(row, stem, texts.of(int(tweet)), name, folder, where, sentiment, why_none)


class _Texts:
    """The texts of T4SA by tweet, on disk: 3.4 million would take a gigabyte of memory as a dict.

    Costs a scratch file in the system's temporary folder, a little larger than the csv, and some 10 s once.
    """

    def __init__(self, source: Path, scratch: str) -> None:
        self._database = sqlite3.connect(Path(scratch) / "texts.sqlite")
        # The file lives as long as this object: nothing needs to survive a crash.
        self._database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; CREATE TABLE texts (id, text);"
        )
        rows = (row.values for row in csv_rows(read_lines(source), ",", 2) if not row.problem)
        pairs = ((int(name), text) for name, text in rows if name.isdecimal() and len(name) < _N_DIGITS)
        with self._database:
            self._database.executemany("INSERT INTO texts VALUES (?, ?)", pairs)
            self._database.execute("CREATE INDEX by_id ON texts (id)")

    def of(self, tweet: int) -> str:
        """Return the text of a tweet (of the last line that has it), "" where there is none."""
        found = self._database.execute("SELECT text FROM texts WHERE id = ? ORDER BY rowid DESC LIMIT 1", (tweet,))
        return str(next(found, ("",))[0])

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
