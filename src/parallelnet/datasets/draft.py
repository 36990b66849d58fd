"""One tweet on its way to a sample: what each step of `build tweets` knows of it, and why it may fall out.

A step takes drafts and gives drafts, as many and in the same order. A draft that is rejected keeps its reason and
passes through the later steps untouched, so that whoever writes them sees every row that was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

REASONS: dict[str, str] = {
    "unreadable-row": "the row of the input cannot be used",
    "no-words": "no words are left after cleaning",
    "text-too-long": "the cleaned text is longer than --max-characters",
    "picture-missing": "there is no picture",
    "picture-outside": "the picture's path, or a link, leaves the input's folder",
    "picture-unreadable": "the picture is damaged, cut or of no known format",
    "picture-too-large": "the picture has more pixels than --max-pixels, or than its bytes can honestly hold",
    "duplicate": "an earlier row has the same text and the same picture, or nearly so",
    "excluded": "named by --exclude",
    "speech-failed": "the engine could not speak the text",
    "speech-silent": "what the engine spoke is silent or cannot be heard",
    "teacher-failed": "a teacher could not judge the sample",
    "low-confidence": "no teacher is as sure as --threshold",
    "teachers-disagree": "the teachers name different emotions (--rule agree)",
    "no-sentiment": "the source has no sentiment for it (--labels sentiment)",
}
"""Every reason for which a row falls out, and what it means."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A row of the input and what the steps found out about it.

    Attributes:
        row: 0-based number in the input.
        id: unique in the built data set.
        text: as found.
        image_path: path that can be opened; "" where the row names none.
        sentiment: the source's own, or "".
        spoken_text: what is spoken: words separated by single spaces.
        language: code of the language of `spoken_text` (ISO 639-1), "" where it is not clear.
        image: the picture's bytes as found.
        image_dhash: 64-bit difference hash of the picture.
        group: component of rows that share text or picture, nearly or exactly.
        image_group: component of rows that share the picture, nearly or exactly.
        speech: the utterance, FLAC, 16 kHz, mono, 16 bit.
        duration_s: its length in seconds.
        word_times: (word, start in s, end in s) of each word of `spoken_text`.
        tts_engine: name of the engine.
        tts_version: version of the engine.
        tts_voice: voice, with rate and pitch where they are not the engine's own.
        speech_probs: the speech teacher's probabilities, merged to our classes.
        image_probs: the image teacher's.
        label: emotion, or "" with --labels sentiment.
        label_source: `speech` or `image`: which teacher decided; `source` for the source's own label.
        confidence: the deciding probability; 1 for the source's own label.
        reason: key of `REASONS` once it is rejected.
        detail: one line on what exactly was wrong.
    """

    row: int
    id: str
    text: str = ""
    image_path: str = ""
    sentiment: str = ""
    spoken_text: str = ""
    language: str = ""
    image: bytes = b""
    image_dhash: int = 0
    group: str = ""
    image_group: str = ""
    speech: bytes = b""
    duration_s: float = 0.0
    word_times: tuple[tuple[str, float, float], ...] = ()
    tts_engine: str = ""
    tts_version: str = ""
    tts_voice: str = ""
    speech_probs: tuple[float, ...] = ()
    image_probs: tuple[float, ...] = ()
    label: str = ""
    label_source: str = ""
    confidence: float = 0.0
    reason: str = ""
    detail: str = ""

    def reject(self, reason: str, detail: str = "") -> Draft:
        """Return the draft with its reason, without the bytes that nobody needs any more."""
        assert reason in REASONS, reason
        return replace(self, reason=reason, detail=" ".join(detail.split()), image=b"", speech=b"")


class Step(Protocol):
    """What every step of the build is: drafts in, drafts out, none lost, the order kept."""

    name: str

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """Yield each draft with what this step adds to it, or with the reason why it falls out."""
        ...
