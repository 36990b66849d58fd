"""What text and time come to: words with their seconds, and how well the sound bore them out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Word:
    """A word as spoken or written, with seconds from the start of the waveform."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """Words in their order, and what is known about how right they are.

    Attributes:
        words: without overlaps, each longer than nothing, all inside the waveform.
        engine: name and version, for instance `pocketsphinx 5.1.1`.
        confidence: what the engine offers, 0 to 1; None where it offers none.
        matched: part of the text's words that the sound bore out, 0 to 1; 1.0 for plain recognition.
        warnings: one line each.
    """

    words: tuple[Word, ...]
    engine: str
    confidence: float | None
    matched: float
    warnings: tuple[str, ...]


def tokens(text: str) -> list[str]:
    """Return the white-space tokens of a text.

    Raises:
        InputError: no text, or control characters, which would spoil terminals and reports.
    """
    for at, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
            raise InputError(
                f"Text holds the control character U+{ord(character):04X} at position {at}; allowed: letters, signs "
                "and white space. Mend: remove it from --text."
            )
    found = text.split()
    if not found:
        raise InputError("Text is empty; allowed: the words that are spoken. Mend: give --text, or use --transcribe.")
    return found


def units(found: list[str], spoken: Callable[[str], bool]) -> list[str]:
    """Return the tokens that are spoken, each with those around it that are not (dashes, emoji, foreign letters).

    What is not spoken has no time of its own; so it goes with the word before it, at the start with the word after.
    Nothing of the text is lost: the units joined by blanks are the tokens joined by blanks. Empty where no token is
    spoken.
    """
    joined: list[str] = []
    leading: list[str] = []
    for token in found:
        if spoken(token):
            joined.append(" ".join([*leading, token]))
            leading = []
        elif joined:
            joined[-1] += f" {token}"
        else:
            leading.append(token)
    return joined


def quoted(texts: list[str], limit: int = 5) -> str:
    """Return a few texts in quotes for a one-line message, and how many more there are."""
    shown = ", ".join(repr(text[:40]) for text in texts[:limit])
    return shown if len(texts) <= limit else f"{shown} and {len(texts) - limit} more"
