"""Engines that speak a text, behind one contract: `TTS_ENGINES`.

A new engine is one class and one line there. Its constructor takes what `--tts-model`, `--rate` and `--pitch` say and
raises where it cannot work on this machine, so that a build stops before its first tweet.

All voices named here speak English; what other scripts hold is spelled or read with an English accent.
"""

import ctypes.util
import json
import os
import re
import sys
import unicodedata
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, MissingExtraError, OptionError, brief, unknown
from ..words.alignment import Mark, word_times
from .synthesis import SynthesisProcess

ESPEAK_RATES = (80, 450)  # words a minute that espeak-ng takes
FLITE_RATE = 140  # words a minute on 12 tweets (rms 128, slt 145, awb 144); --rate stretches from there
PIPER_RATE = 170  # words a minute that --rate stretches from: a guess, since voice files do not say theirs

_FLITE_VOICES = ("rms", "slt", "awb", "kal16", "kal")
_TO_ASCII = str.maketrans(
    {"\u2019": "'", "ß": "ss", "æ": "ae", "ø": "o", "œ": "oe", "ł": "l", "£": "pounds ", "€": "euros "}
)

QUIET = 10 ** (-60 / 20)  # of full scale: what an engine puts into a pause is below it


# --- a time for each word of the text ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text as it was spoken.

    Attributes:
        waveform: mono float32 `[n_samples]` in [-1, 1].
        sample_rate_hz: the engine's own.
        word_times: (word, start in s, end in s) of each word of the text (what stands between white space); empty
            where the engine does not say.
    """

    waveform: npt.NDArray[np.float32]
    sample_rate_hz: int
    word_times: tuple[tuple[str, float, float], ...]


def marks_of_words(text: str, spoken: Iterable[tuple[int, float, float]]) -> list[Mark]:
    """Return marks for pieces that an engine gives by their character position; before the first word: the first."""
    starts = [found.start() for found in re.finditer(r"\S+", text)]
    return [(max(0, bisect_right(starts, at) - 1), start_s, end_s) for at, start_s, end_s in spoken]


def without_pauses(marks: Iterable[Mark], waveform: npt.NDArray[np.float32], sample_rate_hz: int) -> list[Mark]:
    """Return marks that end where the last sound of the word does, not where the pause after it does."""
    loud = np.flatnonzero(np.abs(waveform) >= QUIET)
    ended: list[Mark] = []
    for word, start_s, end_s in marks:
        first, last = round(start_s * sample_rate_hz), round(end_s * sample_rate_hz)
        before = loud[: int(np.searchsorted(loud, last))]
        if len(before) and before[-1] >= first:
            end_s = min(end_s, (int(before[-1]) + 1) / sample_rate_hz)
        ended.append((word, start_s, end_s))
    return ended


# --- engines ----------------------------------------------------------------------------------------------------------


class Engine(ABC):
    """What speaks: the base of every engine.

    Attributes:
        name: key in `TTS_ENGINES`.
        version: of the engine, and of its voice file where it has one.
        voices: usual ones, different enough that a voice is not a class.
        settings: rate and pitch as they are written after the voice's name, "" where they are the engine's own.
    """

    name: str
    version: str
    voices: tuple[str, ...]
    _pitchless = ""  # what errors call it where its pitch cannot be chosen
    _known: tuple[str, ...]  # every voice that it has
    _owner: str  # what errors call whatever has them

    def __init__(self, model: str | None = None, rate: int = 0, pitch: int = -1) -> None:
        """Open the engine with a voice file (where it needs one), words a minute (0: its own), pitch (-1: its own).

        Raises:
            MissingExtraError: its packages are not installed.
            OptionError: it is not installed, or does not have what is asked for.
        """
        if pitch >= 0 and self._pitchless:
            raise OptionError(
                f"--pitch: {self._pitchless}'s voices have their own. Mend: leave it out, or use --tts espeak-ng."
            )
        self._rate, self._pitch = rate, pitch
        self.settings = " ".join([f"rate={rate}"] * (rate > 0) + [f"pitch={pitch}"] * (pitch >= 0))
        self._open(model)

    @abstractmethod
    def _open(self, model: str | None) -> None:
        """Open the engine, or raise; see `__init__`."""

    def check_voices(self, voices: Sequence[str]) -> None:
        """Raise `OptionError` for the first voice that the engine does not have."""
        for voice in voices:
            if voice not in self._known:
                raise OptionError(f"--voices {voice!r}: {self._owner} has {', '.join(self._known[:20])}.")

    @abstractmethod
    def speak(self, text: str, voice: str) -> Spoken:
        """Return the speech: the same bytes for the same text and voice, in every process and order on one machine.

        Raises:
            InputError: this text cannot be spoken; others can.
        """


class _Library(Engine):
    """An engine that is a library of C, in a process of its own; may be used by several threads, forked and pickled."""

    _instead: str  # of a model, as errors say it
    _mend: str  # what installs it again

    def _open(self, model: str | None) -> None:
        if not hasattr(os, "fork"):
            raise OptionError(f"--tts {self.name} speaks in copies of a process, which {sys.platform} does not have.")
        if model is not None:
            raise OptionError(f"--tts-model: {self.name} {self._instead} by --voices.")
        try:
            self._process = SynthesisProcess(self.name, self._found())
        except InputError as error:
            raise OptionError(f"--tts {self.name}: {error} Mend: install it again ({self._mend}).") from None
        self.version = self._process.version

    @abstractmethod
    def _found(self) -> Mapping[str, Any]:
        """Return what the speaking process is started with, or raise `OptionError`."""


class EspeakEngine(_Library):
    """espeak-ng: small, quick, offline from pip alone, with word times; a formant synthesiser that sounds like one.

    The package `espeakng-loader` (extra `tts`) brings the library and its data, both under the GPL 3.
    """

    name = "espeak-ng"
    _instead = "needs none. Mend: leave it out, or name a voice"
    _mend = "pip install --force-reinstall espeakng-loader"
    # American and British, five men and five women: the variants change pitch, formants, breath and roughness. On 12
    # tweets their median pitch lies between 96 and 107 Hz, and 182 and 216 Hz, at 167 to 175 words a minute.
    voices: tuple[str, ...] = (
        *("en-us", "en-us+f1", "en-us+f2", "en-us+f3", "en-us+m1", "en-us+m3"),
        *("en-gb-x-rp", "en-gb-x-rp+f2", "en-gb-x-rp+f4", "en-gb-x-rp+m4"),
    )

    def _found(self) -> Mapping[str, Any]:
        if self._rate and not ESPEAK_RATES[0] <= self._rate <= ESPEAK_RATES[1]:
            raise OptionError(
                f"--rate is {self._rate}; espeak-ng takes {ESPEAK_RATES[0]} to {ESPEAK_RATES[1]} words a minute."
            )
        try:
            import espeakng_loader
        except ImportError:
            raise MissingExtraError("Speaking with espeak-ng", "tts") from None
        return {"library": espeakng_loader.get_library_path(), "data": espeakng_loader.get_data_path()}

    def check_voices(self, voices: Sequence[str]) -> None:
        """See `Engine`."""
        for voice in voices:
            try:
                self._process.speak("a", voice)
            except InputError as error:
                raise OptionError(
                    f"--voices {voice!r}: {error} Needed: a language, and a variant where one is wanted, for instance "
                    f"{', '.join(self.voices)}."
                ) from None

    def speak(self, text: str, voice: str) -> Spoken:
        """See `Engine`; 22,050 Hz."""
        text = text.replace("\0", " ")
        waveform, rate_hz, spoken = self._process.speak(text, voice, rate=self._rate, pitch=self._pitch)
        marks = without_pauses(marks_of_words(text, spoken), waveform, rate_hz)
        return Spoken(waveform, rate_hz, word_times(text.split(), marks, len(waveform) / rate_hz))


class FliteEngine(_Library):
    """flite: Debian's and Homebrew's small engine. Its voice rms is far easier to understand than espeak-ng's.

    Through the library (its program does not print which phones are whose), so that word times are exact.
    """

    name = _owner = _pitchless = "flite"
    _instead = "brings its voices. Mend: leave it out, or name some"
    _mend = "apt-get install --reinstall flite"
    # American man and woman, Scottish man: statistical voices at 16 kHz. kal and kal16 are older and rougher.
    voices: tuple[str, ...] = ("rms", "slt", "awb")

    def _found(self) -> Mapping[str, Any]:
        library = ctypes.util.find_library("flite")
        found = {voice: ctypes.util.find_library(f"flite_cmu_us_{voice}") for voice in _FLITE_VOICES}
        paths = {voice: path for voice, path in found.items() if path}
        if library is None or not paths:
            raise OptionError(
                "--tts flite: flite is not installed. Mend: apt-get install flite (macOS: brew install flite), or use "
                "--tts espeak-ng."
            )
        self._known = tuple(paths)
        return {"library": library, "voices": paths}

    def speak(self, text: str, voice: str) -> Spoken:
        """See `Engine`; 16,000 Hz (kal 8,000). Letters beyond ASCII lose their accents; others are not spoken."""
        words = text.split()
        folded = [unicodedata.normalize("NFKD", word).translate(_TO_ASCII) for word in words]
        ascii_only = ("".join(sign for sign in word if " " <= sign <= "~") for word in folded)
        said = [(number, plain) for number, word in enumerate(ascii_only) for plain in word.split()]
        if not said:
            raise InputError("flite cannot read a single letter of it.")
        line = " ".join(plain for _, plain in said)
        waveform, rate_hz, spoken = self._process.speak(line, voice, rate=self._rate / FLITE_RATE)
        marks = [(said[at][0], start_s, end_s) for at, start_s, end_s in marks_of_words(line, spoken)]
        return Spoken(waveform, rate_hz, word_times(words, marks, len(waveform) / rate_hz))


class PiperEngine(Engine):
    """Piper: neural voices, from a voice file (NAME.onnx with NAME.onnx.json beside it) and the package `piper-tts`.

    The package is under the GPL 3 and is not part of any extra of ours. Deterministic: both kinds of noise that its
    voices add are switched off, and one thread computes. One process may speak with it at a time: it keeps its session
    open. Its voices are the speakers of the voice file, by name or number; "0" where there is one.
    """

    name, _pitchless = "piper", "Piper"

    def _open(self, model: str | None) -> None:
        if model is None:
            raise OptionError(
                "--tts piper needs a voice file. Mend: --tts-model VOICE.onnx with VOICE.onnx.json beside it (see "
                "https://huggingface.co/rhasspy/piper-voices), or use --tts espeak-ng."
            )
        try:
            from piper import PiperVoice
        except ImportError:
            raise OptionError(
                "--tts piper needs the package piper-tts, which is not installed. Mend: pip install piper-tts."
            ) from None
        self._model = Path(model)
        for path in (self._model, Path(f"{model}.json")):
            if not path.is_file():
                raise OptionError(f"--tts-model: {path} does not exist. Needed: VOICE.onnx and VOICE.onnx.json.")
        import onnxruntime
        from piper.config import PiperConfig

        # Not PiperVoice.load: its session takes as many threads as there are cores.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            config = PiperConfig.from_dict(json.loads(Path(f"{model}.json").read_text(encoding="utf-8")))
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises kinds of its own
            reason = brief(str(error)) or type(error).__name__
            raise OptionError(f"--tts-model: {model} is no voice of Piper, or cut off ({reason}).") from None
        self._voice = PiperVoice(session=session, config=config)
        named = sorted(config.speaker_id_map, key=lambda name: int(config.speaker_id_map[name]))
        self.voices = tuple(named) or tuple(str(number) for number in range(max(1, config.num_speakers)))
        self._known, self._owner = self.voices, self._model.name
        self.version = f"{version('piper-tts')}, {self._owner} {sha256(self._model.read_bytes()).hexdigest()[:16]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self._model), self._rate)

    def speak(self, text: str, voice: str) -> Spoken:
        """See `Engine`; the voice's own rate, mostly 22,050 Hz.

        Word times come from the voice's own durations of phones, where its file gives them (`python -m
        piper.patch_voice_with_alignment`) and its words are those of the text; else there are none.
        """
        from piper import SynthesisConfig

        config = self._voice.config
        chosen = SynthesisConfig(
            speaker_id=int(config.speaker_id_map.get(voice, self.voices.index(voice))),
            length_scale=config.length_scale * PIPER_RATE / self._rate if self._rate else None,
            noise_scale=0.0,
            noise_w_scale=0.0,
        )
        try:
            chunks = list(self._voice.synthesize(text, chosen, include_alignments=True))
        except Exception as error:  # whatever a voice's graph may do with a text
            raise InputError(f"piper could not speak it: {brief(str(error))}.") from None
        if not chunks:
            raise InputError("piper found nothing to speak in it.")
        waveform = np.concatenate([np.atleast_1d(chunk.audio_float_array) for chunk in chunks]).astype(np.float32)
        rate_hz, words = int(config.sample_rate), text.split()
        marks = _piper_marks(chunks, rate_hz)
        # Piper joins and splits words as espeak-ng does, and says only where they end: other numbers cannot be matched.
        known = len(marks) == len(words)
        return Spoken(waveform, rate_hz, word_times(words, marks, len(waveform) / rate_hz) if known else ())


def _piper_marks(chunks: Sequence[Any], rate_hz: int) -> list[Mark]:
    """Return a mark for each word that Piper spoke; none where the voice does not say how long its phones are."""
    marks: list[Mark] = []
    n_before = 0
    for chunk in chunks:
        if chunk.phoneme_alignments is None:
            return []
        at, start, spoken = n_before, n_before, False
        for part in [*chunk.phoneme_alignments, None]:
            n_samples = 0 if part is None else int(part.num_samples)
            if part is None or part.phoneme in (" ", "^", "$"):  # between words, before and after a sentence
                if spoken:
                    marks.append((len(marks), start / rate_hz, at / rate_hz))
                start, spoken = at + n_samples, False
            else:
                spoken = spoken or part.phoneme.isalpha()
            at += n_samples
        n_before += len(chunk.audio_float_array)
    return marks


TTS_ENGINES: dict[str, type[Engine]] = {"espeak-ng": EspeakEngine, "flite": FliteEngine, "piper": PiperEngine}


def open_engine(name: str, *, model: str | None = None, rate: int = 0, pitch: int = -1) -> Engine:
    """Return an engine that can speak here; raises `OptionError` for an unknown one, and what `Engine` does."""
    if name not in TTS_ENGINES:
        raise unknown("engine", name, TTS_ENGINES, "--tts")
    return TTS_ENGINES[name](model, rate, pitch)


def voice_of(voices: Sequence[str], seed: int, row: int) -> str:
    """Return the voice of a row: spread evenly, and the same whoever speaks it and in whatever order."""
    digest = sha256(f"voice {seed} {row}".encode()).digest()
    return voices[int.from_bytes(digest[:8], "big") % len(voices)]
