"""Text of others in the CSV files that we write: never a formula in a spreadsheet, and the same text when read back.

Excel, LibreOffice and Google Sheets run a cell that begins with one of `= + - @`, a tab or a line end as a formula,
and an id or a file name comes from strangers. Such a text gets an apostrophe in front, as OWASP's page on "CSV
Injection" says. Numbers that we write ourselves (`-0.12`) are no text of others and do not go through here.
"""

from __future__ import annotations

import re

# With the full-width signs, which spreadsheets in East Asia take for the plain ones.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def harmless(text: str) -> str:
    """Return a text as a CSV cell that no spreadsheet runs; `original` undoes it, for every text."""
    # One that has the apostrophe already gets another, else two texts would be written alike.
    return f"'{text}" if _FORMULA.match(text) else text


def original(cell: str) -> str:
    """Return the text that `harmless` made a cell of; a cell that it did not change comes back as it is."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
