"""Speech units: words or segments (design section 7), their frames of the log-mel, and the sound of those that matter.

The paper reduces values to the time axis, sets the segments below the 30th percentile to zero and transcribes the rest:
`kept_units`, `keep` (section 3.3). Its first attempt turned the masked spectrogram itself into speech, which "was not
meaningful": `invert` lets people hear why.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import audio
from ..errors import InputError
from .parts import SpeechUnit

OVERLAP_SHARE = 0.5  # of the shorter word: what aligners blur at a border is less, a wrong time is usually more
MOST_UNITS = np.iinfo(np.int16).max  # frames carry their unit's number as int16
ROUNDING_S = 1e-9  # by which words may overlap whatever they last: times that are sums are rounded in their last digit
SLACK_S = 0.05  # by which a last word may outlast the speech: recognisers count in frames of 10 to 20 ms
FADE_S = 0.010  # two to three periods of a voice: too short to hear a word in, long enough not to click

# Measured on the three examples: log-mel of the result against the original correlate by 0.998 to 0.999 with 20 and 60,
# no better with 60 fits, up to 0.0006 better with 200 rounds, which take three times as long.
N_FITS = 20  # of the power spectrum to the mels
N_ROUNDS = 60  # of Griffin-Lim
MOMENTUM = 0.99  # of the fast variant (Perraudin, Balazs, Sondergaard 2013)
BLOCK_FRAMES = 2048  # rebuilt at a time (66 s at the default hop): memory stays at about 100 MB
BLEND_FRAMES = 16  # in which one block passes over to the next, whose phases are others
_TINY = np.float32(1e-12)
_HANN = np.hanning(audio.N_FFT + 1)[:-1].astype(np.float32)  # as `audio.log_mel` uses it


def segments(duration_s: float, n: int, *, start_s: float = 0.0) -> tuple[SpeechUnit, ...]:
    """Return `n` segments of equal length, in order of time; `fit_units` then joins what is too short.

    They begin at `start_s` of the file, above 0 where quiet before it was left out.

    Raises:
        InputError: none or too many segments are asked for, or there is nothing to divide.
    """
    if not 1 <= n <= MOST_UNITS:
        raise InputError(f"Cannot divide speech into {n} segments; allowed: 1 to {MOST_UNITS:,}. See --n-segments.")
    if not 0 < duration_s < math.inf:
        raise InputError(f"Cannot divide {duration_s:g} s of speech into segments; allowed: more than 0 s.")
    edges = [start_s + duration_s * place / n for place in range(n)] + [start_s + duration_s]
    return tuple(SpeechUnit(a, b, "", a, b) for a, b in pairwise(edges))


def word_units(words: Iterable[Any], duration_s: float) -> tuple[SpeechUnit, ...]:
    """Return one unit a word, in order of time; their reaches cover 0 to `duration_s` without gap or overlap.

    A pause goes to the nearer word: two neighbours part in the middle between them, or in the middle of what they share
    where their times overlap a little (up to `OVERLAP_SHARE` of the shorter). Times stay as given, but for an end less
    than `SLACK_S` behind the end of the speech. A word may last 0 s, as recognisers sometimes say: `fit_units` joins it
    to its neighbour where no frame is left for it.

    Args:
        words: (text, start in s, end in s), in any order.
        duration_s: of the whole file.

    Raises:
        InputError: no or too many words, a word without text, or times that are no numbers, outside the speech,
            reversed, or overlap by more.
    """
    found = sorted((_word(word, duration_s) for word in words), key=lambda word: word[1:])
    if not 1 <= len(found) <= MOST_UNITS:
        raise InputError(
            f"Cannot divide the speech by {len(found)} words; allowed: 1 to {MOST_UNITS:,}. Mend: --units segments."
        )
    edges = [0.0]
    for (text, start_s, end_s), (next_text, next_start_s, next_end_s) in pairwise(found):
        shared_s = end_s - next_start_s  # below 0: a pause
        shorter_s = min(end_s - start_s, next_end_s - next_start_s)
        if shared_s > OVERLAP_SHARE * shorter_s + ROUNDING_S:
            raise InputError(
                f"Words {_short(text)} ({start_s:.3f} to {end_s:.3f} s) and {_short(next_text)} ({next_start_s:.3f} "
                f"to {next_end_s:.3f} s) overlap by {shared_s:.3f} s; allowed: half of the shorter. Mend the times."
            )
        edges.append(max(edges[-1], (end_s + next_start_s) / 2))
    edges.append(duration_s)
    return tuple(
        SpeechUnit(start_s, end_s, text, edges[n], edges[n + 1]) for n, (text, start_s, end_s) in enumerate(found)
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")  # repr also keeps the message on one line


def _word(word: Any, duration_s: float) -> tuple[str, float, float]:
    """Return a word as (text, start in s, end in s), refused unless it lies within the speech."""
    try:
        text, start_s, end_s = str(word[0]), float(word[1]), float(word[2])
    except (TypeError, ValueError, IndexError, KeyError):
        raise InputError(f"Word {_short(str(word))} is not (text, start in s, end in s).") from None
    text = " ".join(text.split())
    named = f"Word {_short(text)}"
    outside = not 0 <= start_s < duration_s or end_s > duration_s + SLACK_S
    for wrong, said in (
        (not text, f"The word at {start_s:g} to {end_s:g} s has no text. Mend: leave it out."),
        (not math.isfinite(end_s - start_s), f"{named} has no times: {start_s} to {end_s} s; allowed: seconds."),
        (end_s < start_s, f"{named} ends at {end_s:g} s, before it begins at {start_s:g} s."),
        (
            outside,
            f"{named} goes from {start_s:g} to {end_s:g} s; allowed: 0 to {duration_s:g} s, the length of the speech. "
            "Mend: check that times and file belong together.",
        ),
    ):
        if wrong:
            raise InputError(said)
    return text, start_s, min(end_s, duration_s)


def fit_units(
    units: Sequence[SpeechUnit], n_samples: int, clip_s: float, offset_s: float = 0.0
) -> tuple[SpeechUnit, ...]:
    """Return the units, those that own no frame joined to the nearer neighbour that does ("word1 word2").

    A mask can only silence whole frames (32 ms apart by default): what lies between two of them cannot be asked about
    on its own, and joining keeps every word in what people read. The same happens to units that lie in quiet at the
    ends that was left out. The shortest clip is two frames, so at most two units. Arguments as for `frame_owners`.
    """
    owners = frame_owners(units, n_samples, clip_s, offset_s)
    counts = np.bincount(owners[owners >= 0], minlength=len(units))
    heard = np.flatnonzero(counts)
    groups: list[list[SpeechUnit]] = [[] for _ in heard]
    for place, unit in enumerate(units):
        after = int(np.searchsorted(heard, place))  # the first unit with frames from here on
        if after == len(heard):
            after -= 1
        elif after > 0 and heard[after] != place:
            before_gap = unit.start_s - units[heard[after - 1]].end_s
            after -= before_gap <= units[heard[after]].start_s - unit.end_s
        groups[after].append(unit)
    return tuple(map(_joined, groups))


def _joined(units: Sequence[SpeechUnit]) -> SpeechUnit:
    text = " ".join(unit.word for unit in units if unit.word)
    return replace(units[0], end_s=max(unit.end_s for unit in units), word=text, reach_end_s=units[-1].reach_end_s)


# --- frames -----------------------------------------------------------------------------------------------------------


def own_frames(n_samples: int, clip_s: float) -> int:
    """Return how many frames of `audio.log_mel_for_windows` see any of `n_samples` samples; the rest is padding."""
    step = audio.hop(clip_s)
    # Frame f sees the samples from f * step - 512 up to f * step + 512.
    return min(audio.n_frames(n_samples, clip_s), -(-(n_samples + audio.N_FFT // 2) // step))


def inner_edges(units: Sequence[SpeechUnit]) -> npt.NDArray[np.int64]:
    """Return the first sample of the reach of each unit but the first, int64 `[n - 1]`, counted in the file at 16 kHz.

    Masks and what is played use the same borders. What lies before the first reach is the first unit's, what lies
    behind the last one the last unit's.
    """
    return np.array([round(unit.reach_start_s * audio.SAMPLE_RATE_HZ) for unit in units[1:]], np.int64)


def frame_owners(
    units: Sequence[SpeechUnit], n_samples: int, clip_s: float, offset_s: float = 0.0
) -> npt.NDArray[np.int16]:
    """Return the unit of each frame of `audio.log_mel_for_windows`, int16 `[n_frames]`; -1: it sees only padding.

    A frame belongs to the unit whose reach holds its centre, which lies at a multiple of the hop from the first sample.

    Args:
        units: in order of time; their seconds are those of the file.
        n_samples: of the speech that the model hears (`judging.Heard.part`), at 16 kHz.
        clip_s: seconds of 128 frames.
        offset_s: where it begins in the file.
    """
    n_own = own_frames(n_samples, clip_s)
    owners = np.full(max(audio.N_FRAMES, n_own), -1, np.int16)
    centres = round(offset_s * audio.SAMPLE_RATE_HZ) + np.arange(n_own) * audio.hop(clip_s)
    owners[:n_own] = np.searchsorted(inner_edges(units), centres, side="right")
    return owners


# --- what is heard of them -------------------------------------------------------------------------------------------


def kept_units(values: Sequence[float], percentile: float = 30.0) -> tuple[bool, ...]:
    """Return for each speech unit whether its value reaches the percentile of all units' values (paper section 3.3).

    The percentile, 0 (keeps all) to 100 (keeps the highest), is numpy's, interpolated linearly between neighbours in
    rank, so of 16 units and 30 the five lowest go; of 3, one; of 2, one; a single unit stays. What ties with it stays,
    so equal values all do, and the highest always does. The sign plays no part.

    Raises:
        InputError: no values, values that are not finite, or a percentile outside 0 to 100.
    """
    numbers = np.asarray(values, np.float64)
    if not (numbers.size and np.isfinite(numbers).all()):
        raise InputError("Which speech units to keep cannot be told: their values are missing, NaN or infinite.")
    if not 0 <= percentile <= 100:
        raise InputError(f"Percentile {percentile:g} is out of range; allowed: 0 to 100. See --percentile.")
    # Rounding within numpy's interpolation must not drop the very unit that it lands on.
    threshold = np.percentile(numbers, percentile) - 1e-9 * np.ptp(numbers)
    return tuple(bool(value >= threshold) for value in numbers)


def keep(waveform: audio.Waveform, units: Sequence[SpeechUnit], kept: Sequence[bool]) -> audio.Waveform:
    """Return the whole speech, float32 `[n]` at 16 kHz, with all but the kept units silenced.

    Samples of kept units are untouched. On the silenced side of each border a raised cosine leads from 1 to 0 within
    `FADE_S`, or half of the silenced stretch where it is shorter: so no kept sound is lost and nothing clicks. Beyond,
    samples are exactly 0. Before the first reach and behind the last one, the first and last unit rule, as in masks.
    `waveform - keep(...)` is what was taken.
    """
    edges = [0, *np.clip(inner_edges(units), 0, len(waveform)).tolist(), len(waveform)]
    gain = np.repeat(np.asarray(kept, np.float32), np.diff(edges))
    silenced = np.flatnonzero(np.diff(gain, prepend=1, append=1)).reshape(-1, 2)
    for first, end in silenced.tolist():
        between = first > 0 and end < len(waveform)
        n = min(round(FADE_S * audio.SAMPLE_RATE_HZ), (end - first) // (2 if between else 1))
        falling = (0.5 + 0.5 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))).astype(np.float32)
        if first > 0:
            gain[first : first + n] = falling
        if end < len(waveform):
            gain[end - n : end] = falling[::-1]
    return waveform * gain


# --- the spectrogram back to sound, which the paper tried and rejected ------------------------------------------------


def invert(mel: npt.NDArray[np.float32], clip_s: float, n_samples: int, *, seed: int = 0) -> audio.Waveform:
    """Return speech rebuilt from a log-mel, float32 `[n_samples]` with a peak of 1 (silence stays 0).

    A log-mel has lost the phases, the spectrum between its 128 bands and everything 80 dB below the loudest. The power
    spectrum is fitted to the mels by multiplicative updates, which keep it at 0 or above (Lee and Seung 2001); phases
    are found by the fast Griffin-Lim algorithm from random ones.

    With all cells kept, the result's own log-mel correlates with the original by 0.998; but cells cut out take
    harmonics from their voice, and phases are then guessed from what is left: "not meaningful" (paper section 3.3).

    Args:
        mel: float32 `[128, n_frames]` in [0, 1], as `audio.log_mel_for_windows` gives it; 0 is silent.
        clip_s: seconds of 128 frames. Above 8.192 s frames no longer overlap, and what lies between them is silent.
        n_samples: of the speech that the log-mel was made of (`judging.Heard.part`).
        seed: of the first phases; the same seed gives the same bits on one machine.
    """
    step = audio.hop(clip_s)
    rng = np.random.default_rng(seed)
    levels = mel[:, : own_frames(n_samples, clip_s)].T
    sound = np.zeros(max(n_samples, (len(levels) - 1) * step + audio.N_FFT // 2) + audio.N_FFT // 2, np.float32)
    weight = np.zeros_like(sound)
    for first in range(0, len(levels), BLOCK_FRAMES):
        block = levels[first : first + BLOCK_FRAMES + BLEND_FRAMES]
        # dB below the loudest back to power; 0 stands for 80 dB below or less, so it becomes nothing at all.
        power = np.where(block > 0, 10 ** ((1 - block) * np.float32(audio.FLOOR_DB / 10)), 0).astype(np.float32)
        piece = _with_phases(np.sqrt(_unmixed(power)), step, rng)
        place = np.arange(1, len(piece) + 1, dtype=np.float32)
        ramp = np.minimum(np.minimum(place, place[::-1]) / (BLEND_FRAMES * step), 1)
        sound[first * step : first * step + len(piece)] += ramp * piece
        weight[first * step : first * step + len(piece)] += ramp
    sound /= np.maximum(weight, _TINY)
    waveform: audio.Waveform = sound[audio.N_FFT // 2 :][:n_samples]  # the first frame is centred on the first sample
    waveform /= max(np.abs(waveform).max(), _TINY)
    return waveform


def _unmixed(power: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a power spectrum `[n_frames, 513]`, 0 or more, whose mels are `power` `[n_frames, 128]`."""
    filters = audio.mel_matrix()
    gain = np.maximum(filters.sum(axis=1), _TINY)
    spread = filters.T / gain
    spectrum: npt.NDArray[np.float32] = power @ spread / np.maximum(filters.sum(axis=0), _TINY).mean()
    for _ in range(N_FITS):
        # Updates for the Kullback-Leibler divergence: it weighs relative errors, as levels in dB do, where least
        # squares would only fit the loudest bands.
        ratio = power / np.maximum(spectrum @ filters, _TINY)
        spectrum *= (ratio @ filters.T) / gain
    return spectrum


def _with_phases(magnitude: npt.NDArray[np.float32], step: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a waveform `[(n_frames - 1) * step + 1024]` whose spectra have about this magnitude `[n_frames, 513]`."""
    phases = np.exp(1j * rng.uniform(0, 2 * np.pi, magnitude.shape)).astype(np.complex64)
    weight = _overlapped(np.broadcast_to(np.square(_HANN), (len(magnitude), audio.N_FFT)), step)
    # At both ends, and between frames that do not overlap, the window leaves next to nothing to divide by.
    weight = np.maximum(weight, np.float32(1e-3))

    def synthesised() -> npt.NDArray[np.float32]:
        """The waveform whose spectra are nearest in least squares (Griffin, Lim 1984)."""
        frames = np.fft.irfft(magnitude * phases, audio.N_FFT).astype(np.float32, copy=False)
        return _overlapped(frames * _HANN, step) / weight

    before = np.zeros_like(phases)
    for _ in range(N_ROUNDS):
        frames = np.lib.stride_tricks.sliding_window_view(synthesised(), audio.N_FFT)[::step]
        now = np.fft.rfft(frames * _HANN).astype(np.complex64, copy=False)
        ahead = now + np.float32(MOMENTUM) * (now - before)
        phases = ahead / np.maximum(np.abs(ahead), _TINY)
        before = now
    return synthesised()


def _overlapped(frames: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.float32]:
    """Return the sum of frames `[n, 1024]` that lie `step` samples apart, `[(n - 1) * step + 1024]`."""
    total = np.zeros((len(frames) - 1) * step + audio.N_FFT, np.float32)
    for at, frame in enumerate(frames):
        total[at * step : at * step + audio.N_FFT] += frame
    return total
