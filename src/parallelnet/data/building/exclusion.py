"""Rows that people marked as wrong, broken or offensive: left out when the data set is built again (paper 3.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import ManifestError
from ..tables import FORMATS, read_table
from .draft import Draft

_SEPARATORS = (",", ";", "\t")
# What spreadsheets make of a tweet's 18 digits; its last ones are lost for good.
_REWRITTEN = re.compile(r"\d([.,]\d+)?E\+\d+")


def read_excluded(path: str | Path) -> frozenset[str]:
    """Return the ids in the column `id` of what gallery.html exported, or of any table that has one.

    Args:
        path: csv (comma, semicolon or tab), JSON Lines or Parquet.

    Raises:
        ManifestError: missing, empty, broken, without the column, or with ids that are blank or that a spreadsheet
            rewrote.
    """
    source = Path(path)
    if source.is_file() and source.suffix.lower() not in (".tsv", ".txt", ".json", *FORMATS):
        raise ManifestError(f"--exclude {source} is no table that is read here. Allowed endings: {', '.join(FORMATS)}.")
    table = read_table(source, delimiter=_separator(source))
    table.require("id")
    for index, row in enumerate(table.rows):
        said = "" if row["id"] is None else str(row["id"]).strip()
        if not said:
            raise ManifestError(f"{table.where(index)} has no id. Mend: delete the row, or name the row to exclude.")
        if isinstance(row["id"], str) and _REWRITTEN.fullmatch(said):
            raise ManifestError(
                f"{table.where(index)} has id {said!r}: a spreadsheet rewrote it and lost digits. "
                "Mend: export it from gallery.html again and do not save it in a spreadsheet."
            )
    return frozenset(str(row["id"]).strip() for row in table.rows)


class Exclude:
    """Step that leaves out the rows that people marked."""

    name = "exclude"

    def __init__(self, ids: frozenset[str]) -> None:
        """Leave out the rows with these ids."""
        self._ids = ids

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """Yield each draft, rejected as `excluded` where its id was marked."""
        for draft in drafts:
            yield draft.reject("excluded") if not draft.reason and draft.id in self._ids else draft


def _separator(path: Path) -> str:
    """Return what separates the names in the first line: spreadsheets save csv with what their country uses."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline(10_000)
    except (OSError, UnicodeDecodeError):
        return ","  # read_table says what is wrong
    return max(_SEPARATORS, key=head.count)
