"""Engines that speak a text, behind one contract: `TTS_ENGINES`.

A new engine is one class and one line here. Its constructor takes what `--tts-model`, `--rate` and `--pitch` say and
raises where it cannot work on this machine, so that a build stops before its first tweet.

All voices named here speak English; what other scripts hold is spelled or read with an English accent.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from ..errors import unknown
from .espeak import EspeakEngine
from .flite import FliteEngine
from .piper import PiperEngine
from .utterance import Spoken

__all__ = ["TTS_ENGINES", "Engine", "Spoken", "open_engine", "voice_of"]


class Engine(Protocol):
    """What speaks.

    Attributes:
        name: key in `TTS_ENGINES`.
        version: of the engine, and of its voice file where it has one.
        voices: usual ones, different enough that a voice is not a class.
        settings: rate and pitch as they are written after the voice's name, "" where they are the engine's own.
    """

    name: str
    version: str
    voices: tuple[str, ...]
    settings: str

    def __init__(self, model: str | None = None, rate: int = 0, pitch: int = -1) -> None:
        """Open the engine.

        Args:
            model: voice file, for engines that need one.
            rate: words a minute; 0: the engine's own.
            pitch: 0 to 99; -1: the engine's own.

        Raises:
            MissingExtraError: its packages are not installed.
            OptionError: it is not installed, or does not have what is asked for.
        """
        ...

    def check_voices(self, voices: Sequence[str]) -> None:
        """Raise `OptionError` for the first voice that the engine does not have."""
        ...

    def speak(self, text: str, voice: str) -> Spoken:
        """Return the speech: the same bytes for the same text and voice, in every process and order on one machine.

        Raises:
            InputError: this text cannot be spoken; others can.
        """
        ...


TTS_ENGINES: dict[str, type[Engine]] = {
    "espeak-ng": EspeakEngine,
    "flite": FliteEngine,
    "piper": PiperEngine,
}
"""Engines by the name of `--tts`."""


def open_engine(name: str, *, model: str | None = None, rate: int = 0, pitch: int = -1) -> Engine:
    """Return an engine that can speak here.

    Raises:
        OptionError: no such engine; also what the engine's constructor raises.
        MissingExtraError: see `Engine`.
    """
    if name not in TTS_ENGINES:
        raise unknown("engine", name, TTS_ENGINES, "--tts")
    return TTS_ENGINES[name](model, rate, pitch)


def voice_of(voices: Sequence[str], seed: int, row: int) -> str:
    """Return the voice of a row: spread evenly, and the same whoever speaks it and in whatever order."""
    digest = sha256(f"voice {seed} {row}".encode()).digest()
    return voices[int.from_bytes(digest[:8], "big") % len(voices)]
