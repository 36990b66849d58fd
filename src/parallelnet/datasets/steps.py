"""Steps of `build tweets` from a text to checked speech; see `draft.Step` for what every step promises.

The other steps live with what they know: `pictures.CheckPicture`, `duplicates.Duplicates`, `teachers.Teach`,
`decision.Decide`.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from .. import audio
from ..errors import InputError, MissingExtraError
from ..options import LimitOptions
from ..records import is_disk_full
from ..synthesis.spoken import clean_for_speech, language_of
from ..synthesis.tts import Engine, voice_of
from .draft import Draft

AUDIBLE = 10 ** (-40 / 20)  # of full scale: speech whose loudest sample is below cannot be heard
_ANY_LENGTH = LimitOptions(max_duration_s=24 * 3600)  # --max-characters limits it, not this


class CleanText:
    """Sets `spoken_text` and `language`; rejects `no-words` and `text-too-long`."""

    name = "clean-text"

    def __init__(self, emoji: Literal["name", "drop"] = "name", max_characters: int = 1_000) -> None:
        """See `spoken.clean_for_speech`; `max_characters` counts the cleaned text.

        Raises:
            MissingExtraError: the packages that mend texts, know emoji and languages are not installed.
        """
        if not all(importlib.util.find_spec(package) for package in ("ftfy", "emoji", "py3langid")):
            raise MissingExtraError("Cleaning texts for speech", "tts")
        self._emoji, self._max_characters = emoji, max_characters

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """See `draft.Step`."""
        for draft in drafts:
            yield draft if draft.reason else self._cleaned(draft)

    def _cleaned(self, draft: Draft) -> Draft:
        try:
            spoken = clean_for_speech(draft.text, emoji=self._emoji)
            language = language_of(spoken) if spoken else ""
        except Exception as error:  # of ftfy, for instance: one stranger's text must not stop the build for ever
            if is_disk_full(error):  # no fault of the row: it would be lost for ever
                raise
            return draft.reject("unreadable-row", f"its text cannot be cleaned ({type(error).__name__}: {error})")
        if not spoken:
            return draft.reject("no-words")
        cleaned = replace(draft, spoken_text=spoken, language=language)
        if len(spoken) > self._max_characters:
            return cleaned.reject("text-too-long", f"{len(spoken):,} characters; allowed: {self._max_characters:,}")
        return cleaned


class Speak:
    """Sets `speech`, `duration_s`, `word_times` and what spoke; rejects `speech-failed`."""

    name = "speak"

    def __init__(self, engine: Engine, voices: Sequence[str] = (), seed: int = 0) -> None:
        """Check the voices, so that a build stops before its first tweet.

        Args:
            engine: that speaks.
            voices: of the engine, spread over the rows by the seed; its usual ones where there is none.
            seed: of the spread.

        Raises:
            OptionError: the engine does not have one of the voices.
        """
        engine.check_voices(voices)
        self._engine, self._voices, self._seed = engine, tuple(voices) or engine.voices, seed

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """See `draft.Step`."""
        for draft in drafts:
            yield draft if draft.reason else self._spoken(draft)

    def _spoken(self, draft: Draft) -> Draft:
        engine, voice = self._engine, voice_of(self._voices, self._seed, draft.row)
        draft = replace(
            draft,
            tts_engine=engine.name,
            tts_version=engine.version,
            tts_voice=f"{voice} {engine.settings}".strip(),
        )
        try:
            spoken = engine.speak(draft.spoken_text, voice)
        except InputError as error:
            return draft.reject("speech-failed", str(error))
        waveform = _at_16_khz(spoken.waveform, spoken.sample_rate_hz)
        if not len(waveform):
            return draft.reject("speech-failed", f"{engine.name} gave no sound")
        duration_s = len(waveform) / audio.SAMPLE_RATE_HZ
        times = tuple((word, min(start, duration_s), min(end, duration_s)) for word, start, end in spoken.word_times)
        return replace(draft, speech=flac(waveform), duration_s=duration_s, word_times=times)


class CheckSound:
    """Rejects, as `speech-silent`, speech that cannot be decoded again, is silent or too soft to be heard."""

    name = "check-sound"

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """See `draft.Step`."""
        for draft in drafts:
            yield draft if draft.reason else self._checked(draft)

    def _checked(self, draft: Draft) -> Draft:
        try:
            waveform = audio.read(draft.speech, limits=_ANY_LENGTH)
        except InputError as error:
            return draft.reject("speech-silent", str(error))
        if audio.is_silent(waveform):
            return draft.reject("speech-silent", "nothing but zeros")
        loudest = float(np.abs(waveform).max())
        if loudest < AUDIBLE:
            return draft.reject("speech-silent", f"the loudest sample is {20 * np.log10(loudest):.0f} dB of full scale")
        return draft


def flac(waveform: npt.NDArray[np.float32]) -> bytes:
    """Return mono speech at 16 kHz as FLAC of 16 bits: the same bytes for the same samples.

    Args:
        waveform: `[n_samples]`; what lies beyond [-1, 1] is clipped.
    """
    samples = np.clip(np.rint(waveform * 32_768), -32_768, 32_767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, audio.SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _at_16_khz(waveform: npt.NDArray[np.float32], sample_rate_hz: int) -> npt.NDArray[np.float32]:
    if sample_rate_hz == audio.SAMPLE_RATE_HZ:
        return waveform
    resampled: npt.NDArray[np.float32] = soxr.resample(waveform, sample_rate_hz, audio.SAMPLE_RATE_HZ, quality="HQ")
    return resampled
