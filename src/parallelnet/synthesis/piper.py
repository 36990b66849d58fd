"""Piper: neural voices, from a voice file (NAME.onnx with NAME.onnx.json beside it) and the package `piper-tts`.

The package is under the GPL 3 and is not part of any extra of ours. Deterministic: both kinds of noise that its
voices add are switched off, and one thread computes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OptionError
from .utterance import Spoken, settings
from .word_timing import Mark, word_times

NATURAL_RATE = 170  # words a minute that --rate stretches from: a guess, since voice files do not say theirs


class PiperEngine:
    """Engine `piper`; see `tts.Engine`. One process may speak with it at a time: it keeps its session open.

    Its voices are the speakers of the voice file, by name or number; "0" where there is one.
    """

    name = "piper"
    voices: tuple[str, ...]

    def __init__(self, model: str | None = None, rate: int = 0, pitch: int = -1) -> None:
        """See `tts.Engine`."""
        if pitch >= 0:
            raise OptionError("--pitch: Piper's voices have their own. Mend: leave it out, or use --tts espeak-ng.")
        if model is None:
            raise OptionError(
                "--tts piper needs a voice file. Mend: --tts-model VOICE.onnx with VOICE.onnx.json beside it (see "
                "https://huggingface.co/rhasspy/piper-voices), or use --tts espeak-ng."
            )
        try:
            from piper import PiperVoice  # noqa: F401 (whether it is there)
        except ImportError:
            raise OptionError(
                "--tts piper needs the package piper-tts, which is not installed. Mend: pip install piper-tts."
            ) from None
        self._model, self._rate = Path(model), rate
        for path in (self._model, self._model.with_name(self._model.name + ".json")):
            if not path.is_file():
                raise OptionError(f"--tts-model: {path} does not exist. Needed: VOICE.onnx and VOICE.onnx.json.")
        self._voice = self._opened()
        config = self._voice.config
        named = sorted(config.speaker_id_map, key=lambda name: int(config.speaker_id_map[name]))
        self.voices = tuple(named) or tuple(str(number) for number in range(max(1, config.num_speakers)))
        self.settings = settings(rate, pitch)
        digest = sha256(self._model.read_bytes()).hexdigest()[:16]
        self.version = f"{version('piper-tts')}, {self._model.name} {digest}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self._model), self._rate)

    def _opened(self) -> Any:
        import onnxruntime
        from piper import PiperVoice
        from piper.config import PiperConfig

        # Not PiperVoice.load: its session takes as many threads as there are cores.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            config = PiperConfig.from_dict(json.loads(Path(f"{self._model}.json").read_text(encoding="utf-8")))
            session = onnxruntime.InferenceSession(str(self._model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises kinds of its own
            reason = " ".join(str(error).split()) or type(error).__name__
            raise OptionError(
                f"--tts-model: {self._model} is no voice of Piper, or cut off ({reason[:200]})."
            ) from None
        return PiperVoice(session=session, config=config)

    def check_voices(self, voices: Sequence[str]) -> None:
        """See `tts.Engine`."""
        for voice in voices:
            if voice not in self.voices:
                raise OptionError(f"--voices {voice!r}: {self._model.name} has {', '.join(self.voices[:20])}.")

    def speak(self, text: str, voice: str) -> Spoken:
        """See `tts.Engine`; the voice's own rate, mostly 22,050 Hz.

        Word times come from the voice's own durations of phones, where its file gives them (`python -m
        piper.patch_voice_with_alignment`) and its words are those of the text; else there are none.
        """
        from piper import SynthesisConfig

        config = self._voice.config
        chosen = SynthesisConfig(
            speaker_id=self.voices.index(voice) if not config.speaker_id_map else int(config.speaker_id_map[voice]),
            length_scale=config.length_scale * NATURAL_RATE / self._rate if self._rate else None,
            noise_scale=0.0,
            noise_w_scale=0.0,
        )
        try:
            chunks = list(self._voice.synthesize(text, chosen, include_alignments=True))
        except Exception as error:  # whatever a voice's graph may do with a text
            raise InputError(f"piper could not speak it: {' '.join(str(error).split())[:200]}.") from None
        if not chunks:
            raise InputError("piper found nothing to speak in it.")
        waveform = np.concatenate([np.atleast_1d(chunk.audio_float_array) for chunk in chunks]).astype(np.float32)
        rate_hz = int(config.sample_rate)
        words = text.split()
        marks = _marks(chunks, rate_hz)
        # Piper joins and splits words as espeak-ng does, and says only where they end: other numbers cannot be matched.
        known = len(marks) == len(words)
        return Spoken(waveform, rate_hz, word_times(words, marks, len(waveform) / rate_hz) if known else ())


def _marks(chunks: Sequence[Any], rate_hz: int) -> list[Mark]:
    """Return a mark for each word that Piper spoke; none where the voice does not say how long its phones are."""
    marks: list[Mark] = []
    n_before = 0
    for chunk in chunks:
        if chunk.phoneme_alignments is None:
            return []
        at, start, spoken = n_before, n_before, False
        for part in [*chunk.phoneme_alignments, None]:
            if part is None or part.phoneme in (" ", "^", "$"):  # between words, before and after a sentence
                if spoken:
                    marks.append((len(marks), start / rate_hz, at / rate_hz))
                at += 0 if part is None else int(part.num_samples)
                start, spoken = at, False
            else:
                spoken = spoken or part.phoneme.isalpha()
                at += int(part.num_samples)
        n_before += len(chunk.audio_float_array)
    return marks
