"""The running emotion of a voice: blocks of sound in, what the model says of the last seconds out.

Nothing is kept but the last window, and nothing is written or sent anywhere.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import audio, judging
from .errors import InputError, MissingExtraError
from .types import Prediction

if TYPE_CHECKING:
    from .predictor import Predictor

STEP_S = 1.0
_BLOCK_S = 0.25  # of what a microphone gives at a time


@dataclass(frozen=True, slots=True)
class Heard:
    """What is said of the last seconds.

    Attributes:
        at_s: how long it has been listened until then.
        prediction: of the last window; None where it holds too little sound.
    """

    at_s: float
    prediction: Prediction | None

    def __str__(self) -> str:
        """Return it as one line: `12.0 s  happy 71 %  (unsure: or sad)`."""
        of, said = self.prediction, "nobody speaks"
        if of is not None:
            others = " or ".join(name for name in of.conformal_set if name != of.emotion)
            said = f"{of.emotion} {of.probs[of.emotion]:.0%}{f'  (unsure: or {others})' if others else ''}"
        return f"{self.at_s:7.1f} s  {said}"

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        said = None if self.prediction is None else self.prediction.to_dict()
        return json.dumps({"at_s": self.at_s, "prediction": said}, ensure_ascii=False)


def listen(model: Predictor, blocks: Iterable[audio.Waveform], *, step_s: float = STEP_S) -> Iterator[Heard]:
    """Yield what a model says of the last window, each time that `step_s` seconds more have been heard.

    Nobody is taken to speak where nothing in the window is louder than `judging.QUIET_DB` below the loudest yet, which
    is forgotten by half in a minute, or where it holds less sound than can be judged.

    Args:
        model: from `predictor.load`.
        blocks: mono float32 `[n]` at 16 kHz, of any length.
        step_s: seconds between two answers.

    Raises:
        InputError: the model takes no speech.
    """
    model.model.refuse_unless_taken(blocks)
    size, step = (round(s * audio.SAMPLE_RATE_HZ) for s in (model.signals.clip_s, step_s))
    window = np.zeros(0, np.float32)
    n, due, loudest = 0, step, 0.0
    for block in blocks:
        while len(block):
            part, block = block[: due - n], block[due - n :]
            n, window = n + len(part), np.concatenate([window, part])[-size:]
            if n < due:
                continue
            due += step
            peak = float(np.abs(window).max())
            loudest = max(peak, loudest * 0.5 ** (step_s / 60))
            quiet = peak <= max(judging.FAINT, loudest * 10 ** (judging.QUIET_DB / 20))
            heard = judging.hear(window, model.signals)
            nobody = quiet or any(reason.endswith(judging.TOO_SHORT) for reason in heard.reasons)
            said = None if nobody else model.predict_signals(model.signals_of(heard))
            yield Heard(n / audio.SAMPLE_RATE_HZ, said)


@contextmanager
def microphone(name: str | None = None) -> Iterator[Iterator[audio.Waveform]]:
    """Yield the blocks of a microphone, mono float32 at 16 kHz, without end; it is closed on leaving.

    Args:
        name: part of its name, or its number; the system's default when left out.

    Raises:
        MissingExtraError: the `listen` extra is missing.
        InputError: no PortAudio, no microphone, or one that cannot be opened.
    """
    import soxr

    try:
        import sounddevice
    except ModuleNotFoundError:
        raise MissingExtraError("Listening to a microphone", "listen") from None
    except OSError as error:  # Linux has no PortAudio in the wheel
        raise InputError(f"No microphone can be opened: {error}. Mend: apt-get install libportaudio2.") from None
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    device = int(name) if name is not None and name.isdigit() else name
    try:
        rate = round(sounddevice.query_devices(device, "input")["default_samplerate"])
        stream = sounddevice.InputStream(
            device=device,
            channels=1,
            samplerate=rate,
            blocksize=round(_BLOCK_S * rate),
            dtype="float32",
            callback=lambda block, *_: waiting.put(block[:, 0].copy()),
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"No microphone can be opened ({said}). Mend: connect one, or name it with --microphone."
        ) from None
    resampler = soxr.ResampleStream(rate, audio.SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")

    def blocks() -> Iterator[audio.Waveform]:
        while True:
            try:
                yield resampler.resample_chunk(waiting.get(timeout=5))
            except queue.Empty:
                raise InputError("The microphone gives no sound any more. Mend: connect it again.") from None

    with stream:
        yield blocks()
