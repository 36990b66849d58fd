"""Speech: from mono 16 kHz (`audio_files`) to log-mel windows in [0, 1] (design section 4).

The paper (section 3.2) feeds spectrogram pictures of unstated settings; ours are constants here. 0 is silence, so that
"keeping the other as zero" (paper section 3.3) really means a modality that says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .audio_files import RATES_HZ, SAMPLE_RATE_HZ, Source, Waveform, read
from .options import LimitOptions, SignalOptions

__all__ = [
    "FLOOR_DB", "N_FFT", "N_FRAMES", "N_MELS", "RATES_HZ", "SAMPLE_RATE_HZ", "STRIDE_FRAMES", "TRIM_DB", "TRIM_SAMPLES",
    "Source", "Waveform", "hop", "is_silent", "log_mel", "log_mel_for_windows", "mel_matrix", "n_frames", "read",
    "trim", "trim_slice", "window_starts", "windows",
]  # fmt: skip

N_FFT = 1024  # 64 ms: two to four periods of a low voice, so harmonics show
N_MELS = 128
N_FRAMES = 128  # of one window: 4.096 s at a hop of 512 samples (32 ms)
STRIDE_FRAMES = N_FRAMES // 2  # between windows of a long recording
FLOOR_DB = -80.0  # relative to the loudest mel band of the whole utterance; maps to 0

TRIM_DB = -40.0  # `trim` keeps what lies between the first and last 32 ms louder than this, relative to the loudest
TRIM_SAMPLES = 512

_FRAMES_AT_ONCE = 256  # about 2 MB of spectra: fits the cache, and an hour needs no more memory than a second
_DEFAULT_LIMITS = LimitOptions()
_DEFAULT_SIGNALS = SignalOptions()


def is_silent(samples: npt.NDArray[Any]) -> bool:
    """Return True for digital silence: a waveform, a log-mel or windows that hold nothing but zeros."""
    return not np.any(samples)


def trim(waveform: Waveform) -> Waveform:
    """Return the waveform without the quiet at both ends (`TRIM_DB`); 32 ms stay on either side.

    Digital silence comes back as it is: there is nothing to tell its ends by.
    """
    return waveform[trim_slice(waveform)]


def trim_slice(waveform: Waveform) -> slice:
    """Return which samples `trim` keeps."""
    if is_silent(waveform):
        return slice(0, len(waveform))
    edges = np.arange(0, len(waveform), TRIM_SAMPLES)
    scaled = waveform / np.abs(waveform).max()
    counts = np.diff(np.append(edges, len(waveform)))
    power = np.add.reduceat(np.square(scaled, dtype=np.float64), edges) / counts
    loud = np.flatnonzero(power >= power.max() * 10 ** (TRIM_DB / 10))
    return slice(max(0, int(loud[0]) - 1) * TRIM_SAMPLES, min((int(loud[-1]) + 2) * TRIM_SAMPLES, len(waveform)))


# --- waveform to log-mel ----------------------------------------------------------------------------------------------


def hop(clip_s: float = _DEFAULT_SIGNALS.clip_s) -> int:
    """Return the samples between two frames, so that `clip_s` seconds make 128 frames: 512 at 4.096 s."""
    return round(clip_s * SAMPLE_RATE_HZ / N_FRAMES)


@cache
def mel_matrix() -> npt.NDArray[np.float32]:
    """Return the mel filters `[513 bins, 128 mels]`: triangles of unit area on Slaney's scale, 0 to 8 kHz.

    The scale is linear up to 1,000 Hz (200/3 Hz a mel), then logarithmic (a factor 6.4 in 27 mels), as in
    M. Slaney, Auditory Toolbox, Interval Technical Report 1998-010.
    """
    log_step = np.log(6.4) / 27
    top = 15 + np.log(SAMPLE_RATE_HZ / 2 / 1000) / log_step
    mels = np.linspace(0, top, N_MELS + 2)
    corners = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * log_step))
    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1)[:, None]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling)) * (2 / (corners[2:] - corners[:-2]))
    matrix: npt.NDArray[np.float32] = triangles.astype(np.float32)
    matrix.setflags(write=False)  # shared by every caller
    return matrix


@cache
def _hann() -> npt.NDArray[np.float32]:
    # The periodic window, as spectrograms use it (librosa, torch): one sample longer, the last one dropped.
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    return window.astype(np.float32)


def log_mel(waveform: Waveform, clip_s: float = _DEFAULT_SIGNALS.clip_s) -> npt.NDArray[np.float32]:
    """Return the log-mel of a whole utterance, float32 `[128 mels, n_frames]` in [0, 1].

    `n_frames` is `1 + n_samples // hop(clip_s)`: frames are centred, with zeros around the utterance. 1 is the
    loudest band of the utterance, 0 is 80 dB below it or less. Digital silence is 0 throughout. The level of the
    recording does not matter (librosa's `power_to_db` has an absolute floor as well, which lifts quiet recordings).

    Args:
        waveform: float32 `[n_samples]` at 16 kHz, finite.
        clip_s: seconds that 128 frames cover; sets the hop.
    """
    step = hop(clip_s)
    n_frames = 1 + len(waveform) // step
    if is_silent(waveform):
        return np.zeros((N_MELS, n_frames), np.float32)
    padded = np.zeros(len(waveform) + N_FFT, np.float32)
    # Scaled to a peak of 1, so that squares of a very quiet recording do not vanish in float32.
    np.divide(waveform, np.abs(waveform).max(), out=padded[N_FFT // 2 : N_FFT // 2 + len(waveform)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::step]
    power = np.empty((n_frames, N_MELS), np.float32)
    for at in range(0, n_frames, _FRAMES_AT_ONCE):
        spectra = np.fft.rfft(frames[at : at + _FRAMES_AT_ONCE] * _hann())
        squares = np.square(spectra.real) + np.square(spectra.imag)
        power[at : at + _FRAMES_AT_ONCE] = squares.astype(np.float32, copy=False) @ mel_matrix()
    relative = power.T / power.max()
    # Floored a little below the floor and clipped after, so that what is too quiet is exactly 0.
    levels: npt.NDArray[np.float32] = 1 - np.log10(np.maximum(relative, 1e-9)) * np.float32(10 / FLOOR_DB)
    return np.maximum(levels, 0, dtype=np.float32, order="C")


def window_starts(n_frames: int) -> tuple[int, ...]:
    """Return the first frame of each window: every 64 frames, the last window flush with the end; 0 for a short one."""
    last = n_frames - N_FRAMES
    if last <= 0:
        return (0,)
    return (*range(0, last, STRIDE_FRAMES), last)


def n_frames(n_samples: int, clip_s: float = _DEFAULT_SIGNALS.clip_s) -> int:
    """Return the frames of `log_mel_for_windows`: 128 for up to `clip_s` seconds."""
    step = hop(clip_s)
    return N_FRAMES if n_samples <= step * N_FRAMES else 1 + n_samples // step


def log_mel_for_windows(waveform: Waveform, clip_s: float = _DEFAULT_SIGNALS.clip_s) -> npt.NDArray[np.float32]:
    """Return the log-mel that windows are cut from, float32 `[128 mels, n_frames]` with `n_frames` of 128 or more.

    An utterance of up to `clip_s` is followed by digital silence, which makes 129 frames, of which the last (half of
    it lies outside) is dropped. Frames that see only the padding are exactly 0.
    """
    n_clip = hop(clip_s) * N_FRAMES
    if len(waveform) <= n_clip:
        return log_mel(np.pad(waveform, (0, n_clip - len(waveform))), clip_s)[:, :N_FRAMES]
    return log_mel(waveform, clip_s)


def windows(
    waveform: Waveform, clip_s: float = _DEFAULT_SIGNALS.clip_s, starts: Sequence[int] = ()
) -> npt.NDArray[np.float32]:
    """Return overlapping windows of the log-mel, float32 `[n_windows, 1, 128 mels, 128 frames]` in [0, 1].

    Args:
        waveform: float32 `[n_samples]` at 16 kHz, finite.
        clip_s: seconds of a window.
        starts: first frame of each; () cuts all of `window_starts`.
    """
    mel = log_mel_for_windows(waveform, clip_s)
    return np.stack([mel[None, :, at : at + N_FRAMES] for at in starts or window_starts(mel.shape[1])])
