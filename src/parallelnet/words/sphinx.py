"""Alignment and recognition with pocketsphinx: offline, English, from pip alone.

Forced alignment always finds *some* times, so what it found is judged: for each word, how many nats a frame (10 ms) the
sound is less likely under the text than under the best sequence of phones whatever (the goodness of pronunciation of
S. M. Witt and S. J. Young, Speech Communication 30, 2000, as a loss). The limits below were chosen on RAVDESS actors 1
to 14 (benchmarks/alignment.py, benchmarks/results/alignment.json, where the share of right and wrong texts on either
side of them stands).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain, count, takewhile
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import audio
from ..errors import InputError, MissingExtraError, OptionError
from .alignment import Alignment, Word, plain, pronounce, quoted, spoken, tokens, units

FRAME_HZ = 100  # frames a second
MAX_LOSS = 2.5  # nats a frame over all words: above, the text is refused
MAX_WORD_LOSS = 3.5  # of one word: above, the sound does not bear it out
MIN_MATCHED = 0.5  # part of the words that must be borne out
MAX_MISSED = 0.3  # part of the speech outside all words: above, a warning
MIN_SPEECH_S = 0.1  # less speech than this is none

_PAD_S = 0.3  # silence added after the end: pocketsphinx repeats the score of the last segment but one for the last
_HEARD_S = 30.0  # how much is recognised to say what was heard instead: recognition takes about a third of real time
_STATES = 3  # of a phone, each at least a frame
_PEAK = 0.5  # every recording is scaled to this, so that 16 bits hold a quiet one as well as a loud one
# Wide: with the default beams 1e-48 a right text of an acted voice is lost more often. Scores of all senones, so that
# those of two searches are measured from the same best one.
_BEAMS = {"beam": 1e-80, "pbeam": 1e-80, "wbeam": 1e-60}
_PHONE_BEAMS = {"beam": 1e-20, "pbeam": 1e-20, "lw": 2.0}  # pocketsphinx's own advice for phones
_SHIFT = 2.0**10  # scores of the phone search are kept in units of 2**10 (SENSCR_SHIFT); of the others in nats


class _Segment(NamedTuple):
    name: str  # without the number of its variant: `are(2)` is `are`
    start: int  # frames
    end: int  # first frame after it
    nats: float  # acoustic log score against the best senone of each frame, at most 0
    prob: float

    @property
    def filler(self) -> bool:
        return self.name[0] in "<[+" or self.name == "SIL"


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a text fits a waveform, before anything is judged.

    Attributes:
        segments: of each unit, a word of the text, that the search got to.
        losses: nats a frame of each unit, lower is better; empty where the alignment broke off.
        missed: part of the speech frames outside all units.
        speech_s: seconds of speech, whatever is said.
        guessed: units whose pronunciation was guessed.
        foreign: tokens with letters that no English model can say.
    """

    units: tuple[str, ...]
    segments: tuple[_Segment, ...]
    losses: tuple[float, ...]
    missed: float
    speech_s: float
    guessed: tuple[str, ...]
    foreign: tuple[str, ...]

    @property
    def loss(self) -> float:
        """The loss of all units, nats a frame."""
        n_frames = [segment.end - segment.start for segment in self.segments]
        return float(np.average(self.losses, weights=n_frames)) if self.losses else math.inf

    @property
    def matched(self) -> float:
        """Part of the units that the sound bears out."""
        return sum(loss <= MAX_WORD_LOSS for loss in self.losses) / len(self.units)


class PocketSphinx:
    """The engine `pocketsphinx`, with its bundled English model. Every call loads afresh: same input, same words."""

    def __init__(self, model: str | None = None) -> None:
        """Import pocketsphinx; raises `MissingExtraError`, or `OptionError` where a model is named."""
        if model is not None:
            raise OptionError("pocketsphinx brings its own model. Mend: no --stt-model, or --stt whisper.")
        try:
            import pocketsphinx
        except ImportError:
            raise MissingExtraError("Recognising and aligning words", "stt") from None
        self._package: Any = pocketsphinx
        self.name = f"pocketsphinx {version('pocketsphinx')}"

    def transcribe(self, waveform: audio.Waveform) -> Alignment:
        """Return the words that are heard, English only; see `words.transcribe`."""
        heard = self._heard(waveform)
        words = _words([segment.name for segment in heard], heard, len(waveform))
        if not words:
            raise InputError("No speech found: no word was recognised. Mend: louder, longer or clearer speech.")
        probs = np.average([s.prob for s in heard], weights=[s.end - s.start for s in heard])
        return Alignment(words, self.name, float(np.clip(probs, 0, 1)), 1.0, ())

    def align(self, waveform: audio.Waveform, text: str) -> Alignment:
        """Return the text's words with their times; see `words.align`."""
        fit = self.fit(waveform, text)
        if fit.speech_s < MIN_SPEECH_S:
            raise InputError(f"No speech found to align the text to: {fit.speech_s:.2f} s of it. Mend: another file.")
        if fit.loss > MAX_LOSS or fit.matched < MIN_MATCHED:
            raise InputError(self._misfit(waveform, fit))
        unmatched = [unit for unit, loss in zip(fit.units, fit.losses, strict=True) if loss > MAX_WORD_LOSS]
        share = f"{len(unmatched)} of {len(fit.units)} words"
        warnings = {
            f"The sound does not bear out {share}: {quoted(unmatched)}.": bool(unmatched),
            f"The text covers {1 - fit.missed:.0%} of the speech; the rest stands between its words.": (
                fit.missed > MAX_MISSED
            ),
            f"Not in the dictionary, pronunciation guessed: {quoted(fit.guessed)}.": bool(fit.guessed),
            f"Not English, counted to the word beside it: {quoted(fit.foreign)}.": bool(fit.foreign),
        }
        words = _words(fit.units, fit.segments, len(waveform))
        return Alignment(words, self.name, None, fit.matched, tuple(text for text, holds in warnings.items() if holds))

    def fit(self, waveform: audio.Waveform, text: str) -> Fit:
        """Return how well a text fits; `InputError` only for nothing to say, or more than fits into the recording."""
        found = tokens(text)
        names = units(found, spoken)
        if not names:
            raise InputError(
                f"Text has no word that pocketsphinx can say ({quoted(found, 3)}); it knows English. "
                "Mend: the words in Latin letters, or --stt whisper."
            )
        foreign = [token for token in found if not spoken(token) and any(map(str.isalnum, token))]
        decoder = self._decoder(lm=None, **_BEAMS)
        expected, guessed, n_phones = _prepare(decoder, names)
        shortest_s = n_phones * _STATES / FRAME_HZ
        length_s = len(waveform) / audio.SAMPLE_RATE_HZ
        if shortest_s > length_s:
            raise InputError(
                f"Text does not fit the speech: its {len(names)} words need at least {shortest_s:.2f} s, "
                f"the recording has {length_s:.2f} s. Mend: check --text."
            )
        pcm = _pcm(waveform)
        decoder.set_align_text(" ".join(expected))
        segments = [segment for segment in _decode(decoder, pcm) if not segment.filler]
        per_frame, speech = self._phones(pcm)
        # The search keeps what it has when it cannot reach the end, and calls it a result all the same.
        n_frames = math.ceil(length_s * FRAME_HZ)  # without the silence added
        segments = [s._replace(end=min(s.end, len(per_frame))) for s in segments if s.start < n_frames]
        outside = speech.copy()
        for segment in segments:
            outside[segment.start : segment.end] = False
        losses = ((float(per_frame[s.start : s.end].sum()) - s.nats) / (s.end - s.start) for s in segments)
        return Fit(
            units=tuple(names),
            segments=tuple(segments),
            losses=tuple(losses) if [segment.name for segment in segments] == expected else (),
            missed=float(outside.sum() / max(1, speech.sum())),
            speech_s=float(speech.sum()) / FRAME_HZ,
            guessed=tuple(guessed),
            foreign=tuple(foreign),
        )

    def _misfit(self, waveform: audio.Waveform, fit: Fit) -> str:
        n_units = len(fit.units)
        n_bad = sum(loss > MAX_WORD_LOSS for loss in fit.losses)
        how = (
            f"the sound does not bear out {n_bad} of {n_units} words (it is {fit.loss:.1f} nats a frame less likely "
            f"than the best phones; allowed: {MAX_LOSS:g})"
        )
        if not fit.losses:
            how = f"the alignment broke off after {len(fit.segments)} of {n_units} words"
        n_samples = round(_HEARD_S * audio.SAMPLE_RATE_HZ)
        heard = " ".join(segment.name for segment in self._heard(waveform[:n_samples]))
        where = f" in the first {_HEARD_S:g} s" if len(waveform) > n_samples else ""
        instead = f"recognition heard {heard[:200]!r}{where}" if heard else f"recognition heard no word{where}"
        return f"Text does not fit the speech: {how}; {instead}. Mend: check --text, or use --transcribe."

    def _heard(self, waveform: audio.Waveform) -> list[_Segment]:
        return [segment for segment in _decode(self._decoder(), _pcm(waveform)) if not segment.filler]

    def _phones(self, pcm: bytes) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the score of the best phones in nats, and whether they are speech, of each frame."""
        grammar = self._package.get_model_path("en-us/en-us-phone.lm.bin")
        decoder = self._decoder(lm=None, allphone=grammar, **_PHONE_BEAMS)
        segments = _decode(decoder, pcm)
        scores, speech = np.zeros(decoder.n_frames()), np.zeros(decoder.n_frames(), np.bool_)
        for segment in segments:
            scores[segment.start : segment.end] = segment.nats * _SHIFT / (segment.end - segment.start)
            speech[segment.start : segment.end] = not segment.filler
        return scores, speech

    def _decoder(self, **config: Any) -> Any:
        # The default is to talk on standard error.
        return self._package.Decoder(loglevel="FATAL", compallsen=True, **config)


def _prepare(decoder: Any, names: list[str]) -> tuple[list[str], list[str], int]:
    """Return the decoder's word for each unit, the units that were guessed, and the fewest phones of all.

    A unit that is no dictionary word becomes one: `_3`, with a variant `_3(2)` for each further reading.
    """
    known: dict[str, tuple[str, bool, int]] = {}
    for unit in names:
        if unit in known:
            continue
        name, guess = plain(unit).lower(), False
        if decoder.lookup_word(name) is None:
            name = f"_{len(known)}"
            readings, guess = pronounce(unit, decoder.lookup_word)
            for at, phones in enumerate(readings):
                decoder.add_word(name if at == 0 else f"{name}({at + 1})", phones, False)
        variants = map(decoder.lookup_word, chain((name,), (f"{name}({at})" for at in count(2))))
        n_phones = min(len(phones.split()) for phones in takewhile(bool, variants))
        known[unit] = (name, guess, n_phones)
    decoder.add_word("_", "SIL", True)  # brings all of them into use
    guessed = [unit for unit, (_, guess, _) in known.items() if guess]
    return [known[unit][0] for unit in names], guessed, sum(known[unit][2] for unit in names)


def _decode(decoder: Any, pcm: bytes) -> list[_Segment]:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    n_frames = decoder.n_frames()
    return [
        # What is lost below the smallest float is lost for long segments only: at 10 nats a frame, from 0.7 s on.
        _Segment(
            name=s.word.partition("(")[0],
            start=s.start_frame,
            end=min(s.end_frame + 1, n_frames),
            nats=math.log(s.ascore) if s.ascore > 0 else -745.0,
            prob=s.prob,
        )
        for s in decoder.seg() or ()
        if s.start_frame < n_frames
    ]


def _pcm(waveform: audio.Waveform) -> bytes:
    # 16-bit samples at a fixed peak, with silence after them
    scaled = waveform * (_PEAK * 32767 / float(np.abs(waveform).max()))
    return np.pad(scaled, (0, round(_PAD_S * audio.SAMPLE_RATE_HZ))).astype("<i2").tobytes()


def _words(names: Iterable[str], segments: Iterable[_Segment], n_samples: int) -> tuple[Word, ...]:
    times_s = [(s.start / FRAME_HZ, min(s.end / FRAME_HZ, n_samples / audio.SAMPLE_RATE_HZ)) for s in segments]
    return tuple(Word(name, *times) for name, times in zip(names, times_s, strict=True) if times[0] < times[1])
