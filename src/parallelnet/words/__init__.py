"""Text <-> time: which word of a recording is when (recognition, or alignment of a given text).

One interface, two engines: `pocketsphinx` works offline from pip alone, on English; `whisper` (faster-whisper) knows
many languages, where its model can be had. An engine is a class with `transcribe` and `align`, and one line
in `STT_ENGINES`; its packages are imported in its `__init__`. An alignment that failed raises; it is never replaced by
an even spacing or by another engine.
"""

from .. import audio
from ..errors import InputError, unknown
from .alignment import Alignment, Word, tokens
from .sphinx import PocketSphinx
from .whisper import Whisper

__all__ = ["STT_ENGINES", "Alignment", "Word", "align", "transcribe"]


Engine = PocketSphinx | Whisper

# Engines by the name of `--stt`; each is made from a model's name or folder (None: its own).
STT_ENGINES: dict[str, type[Engine]] = {"pocketsphinx": PocketSphinx, "whisper": Whisper}


def transcribe(waveform: audio.Waveform, *, engine: str = "pocketsphinx", model: str | None = None) -> Alignment:
    """Return the words that are heard in a waveform, with their times; `matched` is 1.0.

    Args:
        waveform: mono float32 `[n_samples]` at 16 kHz, as `audio.read` gives.
        engine: a name in `STT_ENGINES`.
        model: of the whisper engine: a folder, or a name that faster-whisper downloads.

    Raises:
        InputError: no speech found, or the model cannot be had.
        OptionError: no such engine, or a model for an engine that takes none.
        MissingExtraError: the engine's packages are not installed.
    """
    return _engine(waveform, engine, model).transcribe(waveform)


def align(waveform: audio.Waveform, text: str, *, engine: str = "pocketsphinx", model: str | None = None) -> Alignment:
    """Return the words of a text as they were given, with the times at which they are spoken.

    A word is a white-space token, spelling, case and punctuation as given. A token that is not spoken (a dash, an
    emoji; for pocketsphinx also one in foreign letters) stands in the word beside it: the words joined by blanks are
    the tokens joined by blanks.

    The arguments are those of `transcribe`, and so is what else is raised.

    Raises:
        InputError: the text is empty, or does not fit the sound (the message says how badly and what was heard
            instead).
    """
    tokens(text)
    return _engine(waveform, engine, model).align(waveform, text)


def _engine(waveform: audio.Waveform, name: str, model: str | None) -> Engine:
    if not waveform.any():
        raise InputError("No speech found: the recording is digital silence. Mend: record it again.")
    if name not in STT_ENGINES:
        raise unknown("speech engine", name, STT_ENGINES, "--stt")
    return STT_ENGINES[name](model)
