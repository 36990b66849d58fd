"""flite: Debian's and Homebrew's small engine. Its voice rms is far easier to understand than espeak-ng's.

Through the library (its program prints words, and times of phones, but not which phones are whose), in a process of
its own (`synthesis_child.py`). Word times are those of the engine's phones, so they are exact.
"""

from __future__ import annotations

import ctypes.util
import os
import sys
import unicodedata
from collections.abc import Sequence

import numpy as np

from ..errors import InputError, OptionError
from .synthesis import SynthesisProcess
from .utterance import Spoken, settings
from .word_timing import marks_of_words, word_times

NATURAL_RATE = 140  # words a minute on 12 tweets (rms 128, slt 145, awb 144); --rate stretches from there
_ALL_VOICES = ("rms", "slt", "awb", "kal16", "kal")


class FliteEngine:
    """Engine `flite`; see `tts.Engine`. May be used by several threads, forked and pickled."""

    name = "flite"
    # American man and woman, Scottish man: statistical voices at 16 kHz. kal and kal16 are older and rougher.
    voices: tuple[str, ...] = ("rms", "slt", "awb")

    def __init__(self, model: str | None = None, rate: int = 0, pitch: int = -1) -> None:
        """See `tts.Engine`."""
        if not hasattr(os, "fork"):
            raise OptionError(f"--tts flite speaks in copies of a process, which {sys.platform} does not have.")
        if model is not None:
            raise OptionError("--tts-model: flite brings its voices. Mend: leave it out, or name some by --voices.")
        if pitch >= 0:
            raise OptionError("--pitch: flite's voices have their own. Mend: leave it out, or use --tts espeak-ng.")
        library = ctypes.util.find_library("flite")
        found = {voice: ctypes.util.find_library(f"flite_cmu_us_{voice}") for voice in _ALL_VOICES}
        self._voices = {voice: path for voice, path in found.items() if path}
        if library is None or not self._voices:
            raise OptionError(
                "--tts flite: flite is not installed. Mend: apt-get install flite (macOS: brew install flite), or use "
                "--tts espeak-ng."
            )
        self._stretch = rate / NATURAL_RATE
        self.settings = settings(rate, pitch)
        self._process = SynthesisProcess(self.name, {"library": library, "voices": self._voices})
        try:
            self.version = self._process.version
        except InputError as error:
            raise OptionError(
                f"--tts flite: {error} Mend: install it again (apt-get install --reinstall flite)."
            ) from None

    def check_voices(self, voices: Sequence[str]) -> None:
        """See `tts.Engine`."""
        for voice in voices:
            if voice not in self._voices:
                raise OptionError(f"--voices {voice!r}: flite has {', '.join(self._voices)}.")

    def speak(self, text: str, voice: str) -> Spoken:
        """See `tts.Engine`; 16,000 Hz (kal 8,000). Letters beyond ASCII lose their accents; others are not spoken."""
        words = text.split()
        said = [(number, plain) for number, word in enumerate(words) for plain in _ascii(word).split()]
        if not said:
            raise InputError("flite cannot read a single letter of it.")
        line = " ".join(plain for _, plain in said)
        spoken = self._process.speak(line, voice, rate=self._stretch)
        marks = [(said[at][0], start_s, end_s) for at, start_s, end_s in marks_of_words(line, spoken.marks)]
        times = word_times(words, marks, len(spoken.samples) / spoken.sample_rate_hz)
        return Spoken(spoken.samples.astype(np.float32) / np.float32(32_768), spoken.sample_rate_hz, times)


def _ascii(word: str) -> str:
    """Return a word in ASCII: flite reads bytes, and says nothing for others."""
    folded = unicodedata.normalize("NFKD", word.replace("\u2019", "'").replace("\u2026", "..."))
    for letter, letters in (
        ("ß", "ss"),
        ("æ", "ae"),
        ("ø", "o"),
        ("œ", "oe"),
        ("ł", "l"),
        ("£", "pounds "),
        ("€", "euros "),
    ):
        folded = folded.replace(letter, letters)
    return "".join(sign for sign in folded if " " <= sign <= "~")
