"""espeak-ng: small, quick, offline from pip alone, with word times; a formant synthesiser that sounds like one.

The package `espeakng-loader` (extra `tts`) brings the library and its data. Both are under the GPL 3, so they are an
extra, and are loaded in a process of their own (`synthesis_child.py`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import numpy as np

from ..errors import InputError, MissingExtraError, OptionError
from .synthesis import SynthesisProcess
from .utterance import Spoken, settings
from .word_timing import marks_of_words, without_pauses, word_times

RATES = (80, 450)  # words a minute that the engine takes


class EspeakEngine:
    """Engine `espeak-ng`; see `tts.Engine`. May be used by several threads, forked and pickled."""

    name = "espeak-ng"
    # American and British, five men and five women: the variants change pitch, formants, breath and roughness. On 12
    # tweets their median pitch lies between 96 and 107 Hz, and 182 and 216 Hz, at 167 to 175 words a minute.
    voices: tuple[str, ...] = (
        *("en-us", "en-us+f1", "en-us+f2", "en-us+f3", "en-us+m1", "en-us+m3"),
        *("en-gb-x-rp", "en-gb-x-rp+f2", "en-gb-x-rp+f4", "en-gb-x-rp+m4"),
    )

    def __init__(self, model: str | None = None, rate: int = 0, pitch: int = -1) -> None:
        """See `tts.Engine`."""
        if not hasattr(os, "fork"):
            raise OptionError(f"--tts espeak-ng speaks in copies of a process, which {sys.platform} does not have.")
        if model is not None:
            raise OptionError("--tts-model: espeak-ng needs none. Mend: leave it out, or name a voice by --voices.")
        if rate and not RATES[0] <= rate <= RATES[1]:
            raise OptionError(f"--rate is {rate}; espeak-ng takes {RATES[0]} to {RATES[1]} words a minute.")
        try:
            import espeakng_loader
        except ImportError:
            raise MissingExtraError("Speaking with espeak-ng", "tts") from None
        self._rate, self._pitch = rate, pitch
        self.settings = settings(rate, pitch)
        start = {"library": espeakng_loader.get_library_path(), "data": espeakng_loader.get_data_path()}
        self._process = SynthesisProcess(self.name, start)
        try:
            self.version = self._process.version
        except InputError as error:
            raise OptionError(
                f"{error} Mend: install it again (pip install --force-reinstall espeakng-loader)."
            ) from None

    def check_voices(self, voices: Sequence[str]) -> None:
        """See `tts.Engine`."""
        for voice in voices:
            try:
                self._process.speak("a", voice)
            except InputError as error:
                raise OptionError(
                    f"--voices {voice!r}: {error} Needed: a language, and a variant where one is wanted, for instance "
                    f"{', '.join(self.voices)}."
                ) from None

    def speak(self, text: str, voice: str) -> Spoken:
        """See `tts.Engine`; 22,050 Hz."""
        text = text.replace("\0", " ")
        spoken = self._process.speak(text, voice, rate=self._rate, pitch=self._pitch)
        waveform = spoken.samples.astype(np.float32) / np.float32(32_768)
        marks = without_pauses(marks_of_words(text, spoken.marks), waveform, spoken.sample_rate_hz)
        times = word_times(text.split(), marks, len(waveform) / spoken.sample_rate_hz)
        return Spoken(waveform, spoken.sample_rate_hz, times)
