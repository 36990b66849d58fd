"""Rows that people marked as wrong, broken or offensive: left out when the data set is built again (paper 3.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..data.tables import read_table
from ..errors import ManifestError, shown
from ..records import original
from .draft import Draft

# What spreadsheets make of a tweet's 18 digits; its last ones are lost for good.
_REWRITTEN = re.compile(r"\d([.,]\d+)?E\+\d+")


def read_excluded(path: str | Path) -> frozenset[str]:
    """Return the ids in the column `id` of what gallery.html exported, or of any table that has one.

    Args:
        path: see `tables.open_table`.

    Raises:
        ManifestError: missing, empty, broken, without the column, or with ids that are blank or that a spreadsheet
            rewrote.
    """
    table = read_table(path, known=("id",))
    table.require("id")
    ids = set()
    for index, row in enumerate(table.rows):
        said = "" if row.get("id") is None else original(str(row["id"]).strip())
        ids.add(said)
        if not said:
            raise ManifestError(f"{table.where(index)} has no id. Mend: delete the row, or name the row to exclude.")
        if isinstance(row["id"], str) and _REWRITTEN.fullmatch(said):
            raise ManifestError(
                f"{table.where(index)} has id {shown(said)}: a spreadsheet rewrote it and lost digits. "
                "Mend: export it from gallery.html again and do not save it in a spreadsheet."
            )
    return frozenset(ids)


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
