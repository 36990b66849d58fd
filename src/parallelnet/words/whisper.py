"""Recognition and alignment with Whisper (faster-whisper), where its model can be had.

Whisper cannot be forced to a text, so `align` recognises and lays the text on what was recognised: equal words take
the times that were heard, words between them share what lies between. It was written against faster-whisper 1.2.1 and
has not been run on a real model: none could be had where it was written.
"""

from contextlib import suppress
from difflib import SequenceMatcher
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .. import audio
from ..errors import InputError, MissingExtraError, brief
from .alignment import Alignment, Mark, Word, number, plain, quoted, tokens, units, word_times

MIN_MATCHED = 0.5  # part of the text's words that must be heard; a choice, not measured
_FILES = ("model.bin", "config.json", "tokenizer.json")  # without the last, faster-whisper would download one


class Whisper:
    """The engine `whisper`: the first 30 s tell the language; greedy but for beams of 5, so repeats are equal."""

    def __init__(self, model: str | None = None) -> None:
        """Load the model: a folder in CTranslate2's format, from faster-whisper's cache, or downloaded.

        Names are `tiny` to `large-v3`, or `owner/name`; None is `small`. What it raises: `words.transcribe`.
        """
        try:
            import faster_whisper
        except ImportError:
            raise MissingExtraError("Recognising words with Whisper", "whisper") from None
        named = model or "small"
        self.name = f"whisper {Path(named).name} (faster-whisper {version('faster-whisper')})"
        self._model: Any = _load(faster_whisper, named)

    def transcribe(self, waveform: audio.Waveform) -> Alignment:
        """Return the words that are heard; see `words.transcribe`."""
        words, probs = self._heard(waveform)
        return Alignment(tuple(words), self.name, _mean(probs), 1.0, ())

    def align(self, waveform: audio.Waveform, text: str) -> Alignment:
        """Return the text's words on the times of those that are heard; see `words.align`."""
        found = tokens(text)
        names = units(found, lambda token: any(map(str.isalnum, token)))
        if not names:
            raise InputError(f"Text has no word that can be spoken ({quoted(found, 3)}). Mend: write words in --text.")
        heard, probs = self._heard(waveform)
        equal, words = _lay(names, heard)
        matched = len(equal) / len(names)
        if matched < MIN_MATCHED:
            said = " ".join(word.text for word in heard)
            raise InputError(
                f"Text does not fit the speech: {len(names) - len(equal)} of {len(names)} words were not heard "
                f"(allowed: {1 - MIN_MATCHED:.0%}); recognition heard {said[:200]!r}. "
                "Mend: check --text, or use --transcribe."
            )
        missing = [name for at, name in enumerate(names) if at not in equal]
        where = f"{len(missing)} of {len(names)} words, {quoted(missing)}"
        warning = f"Not heard, times estimated from the words beside them: {where}."
        confidence = _mean([probs[at] for at in equal.values()])
        return Alignment(tuple(words), self.name, confidence, matched, (warning,) if missing else ())

    def _heard(self, waveform: audio.Waveform) -> tuple[list[Word], list[float]]:
        """Return the recognised words inside the waveform, in order and without overlaps, and their probabilities."""
        # Temperature 0 alone: the fallback to higher ones draws at random.
        segments, _ = self._model.transcribe(waveform, word_timestamps=True, temperature=0.0, beam_size=5)
        last_s = len(waveform) / audio.SAMPLE_RATE_HZ
        words: list[Word] = []
        probs: list[float] = []
        for word in (word for segment in segments for word in segment.words or ()):
            start = max(float(word.start), words[-1].end_s if words else 0.0)
            end = min(float(word.end), last_s)
            if word.word.strip() and start < end:
                words.append(Word(word.word.strip(), start, end))
                probs.append(float(word.probability))
        if not words:
            raise InputError("No speech found: no word was recognised. Mend: louder, longer or clearer speech.")
        return words, probs


def _mean(probs: list[float]) -> float:
    return float(np.clip(np.mean(probs), 0, 1))


def _load(package: Any, named: str) -> Any:
    folder = Path(named)
    if folder.is_dir():
        lacking = [name for name in _FILES if not (folder / name).is_file()]
        if lacking:
            raise InputError(
                f"Whisper model folder {named!r} lacks {', '.join(lacking)}; allowed: a model in CTranslate2's format. "
                "Mend: see --stt-model."
            )
    elif folder.is_absolute() or named.startswith((".", "~")) or named.count("/") > 1:
        raise InputError(f"Whisper model {named!r} is no folder. Mend: check --stt-model.")
    settings = {"device": "cpu", "compute_type": "int8"}
    try:
        with suppress(OSError):  # not in the cache (huggingface_hub's LocalEntryNotFoundError)
            return package.WhisperModel(named, local_files_only=True, **settings)
        return package.WhisperModel(named, **settings)
    # The hub, its transport and CTranslate2 have unrelated families of errors; each means that there is no model.
    except Exception as error:
        reason = brief(str(error)) or type(error).__name__
        raise InputError(
            f"Whisper model {named!r} cannot be had ({reason}). "
            "Mend: a folder with --stt-model, a network, or --stt pocketsphinx."
        ) from None


def _key(text: str) -> str:
    """Return what two spellings of a word have in common: letters and digits, small; a number in words."""
    digits = plain(text)
    if digits.replace(",", "").isdigit():
        return number(digits).replace(" ", "")
    return "".join(character for character in text.casefold() if character.isalnum())


def _lay(names: list[str], heard: list[Word]) -> tuple[dict[int, int], list[Word]]:
    """Return which heard word each name equals, and all names with times, in order and without overlaps."""
    matcher = SequenceMatcher(None, [_key(name) for name in names], [_key(word.text) for word in heard], autojunk=False)
    equal: dict[int, int] = {}
    marks: list[Mark] = []
    for kind, first, last, heard_first, heard_last in matcher.get_opcodes():
        if kind == "equal":
            equal |= zip(range(first, last), range(heard_first, heard_last), strict=True)
        elif kind == "replace":  # else in the text and not heard, or heard and not in the text
            marks.append((first, heard[heard_first].start_s, heard[heard_last - 1].end_s))
    marks += [(name, heard[place].start_s, heard[place].end_s) for name, place in equal.items()]
    return equal, [Word(*timed) for timed in word_times(names, marks, heard[-1].end_s)]
