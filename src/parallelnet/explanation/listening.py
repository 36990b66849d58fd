"""From values back to sound (paper section 3.3): the speech without what did not matter, and the way not taken.

The paper reduces values to the time axis, sets the segments below the 30th percentile to zero and transcribes the rest:
`kept_units`, `keep`. Its first attempt turned the masked spectrogram itself into speech, which "was not meaningful":
`invert` lets people hear why.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .. import audio
from ..errors import InputError
from .parts import SpeechUnit
from .units import inner_edges, own_frames

FADE_S = 0.010  # two to three periods of a voice: too short to hear a word in, long enough not to click

# Measured on the three examples: log-mel of the result against the original correlate by 0.998 to 0.999 with 20 and 60,
# no better with 60 fits, up to 0.0006 better with 200 rounds, which take three times as long.
N_FITS = 20  # of the power spectrum to the mels
N_ROUNDS = 60  # of Griffin-Lim
MOMENTUM = 0.99  # of the fast variant (Perraudin, Balazs, Sondergaard 2013)
BLOCK_FRAMES = 2048  # rebuilt at a time (66 s at the default hop): memory stays at about 100 MB
BLEND_FRAMES = 16  # in which one block passes over to the next, whose phases are others
_TINY = np.float32(1e-12)


def kept_units(values: Sequence[float], percentile: float = 30.0) -> tuple[bool, ...]:
    """Return for each speech unit whether its value reaches the percentile of all units' values (paper section 3.3).

    The percentile is numpy's, interpolated linearly between neighbours in rank, so of 16 units and 30 the five lowest
    go; of 3, one; of 2, one; a single unit stays. What ties with the percentile stays, so equal values all do, and the
    highest always does. The sign plays no part: where all values are negative, the least negative stay.

    Args:
        values: of the units for one class, finite, at least one.
        percentile: 0 (keeps all) to 100 (keeps the highest).

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


def keep(
    waveform: audio.Waveform, units: Sequence[SpeechUnit], kept: Sequence[bool], fade_s: float = FADE_S
) -> audio.Waveform:
    """Return the speech with all but the kept units silenced, float32 `[n]`, as long as before.

    Samples of kept units are untouched. On the silenced side of each border a raised cosine leads from 1 to 0 within
    `fade_s`, or half of the silenced stretch where it is shorter: so no kept sound is lost and nothing clicks. Beyond,
    samples are exactly 0. Before the first reach and behind the last one, the first and last unit rule, as in masks.
    `waveform - keep(...)` is what was taken.

    Args:
        waveform: float32 `[n]` at 16 kHz, as given, whole.
        units: in order of time.
        kept: for each of them whether it stays.
        fade_s: length of a fade in seconds.
    """
    assert len(units) == len(kept) > 0, "a verdict for each unit"
    edges = [0, *np.clip(inner_edges(units), 0, len(waveform)).tolist(), len(waveform)]
    stays = np.repeat(np.asarray(kept, bool), np.diff(edges))
    gain = stays.astype(np.float32)
    borders = np.flatnonzero(np.diff(stays)) + 1
    stretches = np.split(np.arange(len(waveform)), borders)
    for stretch in stretches:
        if not len(stretch) or stays[stretch[0]]:
            continue
        first, end = int(stretch[0]), int(stretch[-1]) + 1
        between = first > 0 and end < len(waveform)
        n = min(round(fade_s * audio.SAMPLE_RATE_HZ), (end - first) // (2 if between else 1))
        falling = (0.5 + 0.5 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))).astype(np.float32)
        if first > 0:
            gain[first : first + n] = falling
        if end < len(waveform):
            gain[end - n : end] = falling[::-1]
    silenced: audio.Waveform = waveform * gain
    return silenced


# --- the spectrogram back to sound, which the paper tried and rejected ------------------------------------------------


def masked(
    mel: npt.NDArray[np.float32], owners: npt.NDArray[np.int16], kept: Sequence[bool]
) -> npt.NDArray[np.float32]:
    """Return the log-mel with the cells of all but the kept players at 0, 80 dB below its loudest.

    Args:
        mel: float32 `[128, n_frames]` in [0, 1].
        owners: the player of each cell; nobody's (-1) stays.
        kept: for each player whether it stays.
    """
    stays = np.append(np.asarray(kept, bool), True)  # the last one is nobody's: owner -1
    return np.where(stays[owners], mel, np.float32(0))


def invert(mel: npt.NDArray[np.float32], clip_s: float, n_samples: int, *, seed: int = 0) -> audio.Waveform:
    """Return speech rebuilt from a log-mel, float32 `[n_samples]` with a peak of 1 (silence stays 0).

    A log-mel has lost the phases, the spectrum between its 128 bands and everything 80 dB below the loudest. The power
    spectrum is fitted to the mels by multiplicative updates, which keep it at 0 or above (Lee and Seung 2001); phases
    are found by the fast Griffin-Lim algorithm from random ones.

    The paper "first applied the shapely values directly and converted the spectrogram to speech; however, the speech
    reconstructed by this method was not meaningful" (section 3.3). With all cells kept, the result's own log-mel
    correlates with the original by 0.998; but cells cut out take harmonics from their voice, and phases are then
    guessed from what is left. Silencing in time alone (`keep`) plays the recording itself.

    Args:
        mel: float32 `[128, n_frames]` in [0, 1], as `audio.log_mel_for_windows` gives it; see `masked`.
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
    spread = filters.T / np.maximum(filters.sum(axis=1), _TINY)
    spectrum: npt.NDArray[np.float32] = power @ spread / np.maximum(filters.sum(axis=0), _TINY).mean()
    gain = filters.sum(axis=1)
    for _ in range(N_FITS):
        # Updates for the Kullback-Leibler divergence: it weighs relative errors, as levels in dB do, where least
        # squares would only fit the loudest bands.
        ratio = power / np.maximum(spectrum @ filters, _TINY)
        spectrum *= (ratio @ filters.T) / np.maximum(gain, _TINY)
    return spectrum


def _with_phases(magnitude: npt.NDArray[np.float32], step: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a waveform as `_synthesised` gives it, whose spectra have about this magnitude `[n_frames, 513]`."""
    angles = rng.uniform(0, 2 * np.pi, magnitude.shape)
    phases = np.exp(1j * angles).astype(np.complex64)
    before = np.zeros_like(phases)
    for _ in range(N_ROUNDS):
        now = _analysed(_synthesised(magnitude * phases, step), step, len(magnitude))
        ahead = now + np.float32(MOMENTUM) * (now - before)
        phases = ahead / np.maximum(np.abs(ahead), _TINY)
        before = now
    return _synthesised(magnitude * phases, step)


def _hann() -> npt.NDArray[np.float32]:
    # As `audio.log_mel` uses it.
    window: npt.NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(audio.N_FFT) / audio.N_FFT)
    return window.astype(np.float32)


def _analysed(sound: npt.NDArray[np.float32], step: int, n_frames: int) -> npt.NDArray[np.complex64]:
    """Return the spectra `[n_frames, 513]` of a waveform as `_synthesised` gives it."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, audio.N_FFT)[: n_frames * step : step]
    return np.fft.rfft(frames * _hann()).astype(np.complex64, copy=False)


def _synthesised(spectra: npt.NDArray[np.complex64], step: int) -> npt.NDArray[np.float32]:
    """Return the waveform `[(n_frames - 1) * step + 1024]` whose spectra are nearest in least squares.

    Frames are added where they lie, weighed by the window, and divided by the sum of its squares (Griffin, Lim 1984).
    """
    n_frames = len(spectra)
    n_steps = -(-audio.N_FFT // step)  # that a frame is long
    window = np.zeros(n_steps * step, np.float32)
    window[: audio.N_FFT] = _hann()
    frames = np.zeros((n_frames, n_steps * step), np.float32)
    frames[:, : audio.N_FFT] = np.fft.irfft(spectra, audio.N_FFT)
    total = np.zeros((n_frames + n_steps - 1, step), np.float32)
    weight = np.zeros_like(total)
    for part in range(n_steps):  # all frames at once, a step of each at a time
        at, piece = slice(part, part + n_frames), slice(part * step, (part + 1) * step)
        total[at] += (frames * window)[:, piece]
        weight[at] += np.square(window)[piece]
    # At both ends, and between frames that do not overlap, the window leaves next to nothing to divide by.
    total /= np.maximum(weight, np.float32(1e-3))
    return total.ravel()[: (n_frames - 1) * step + audio.N_FFT]
