"""Speech: from mono 16 kHz (`audio_files`) to log-mel windows in [0, 1] (design section 4).

The paper (section 3.2) feeds spectrogram pictures of unstated settings; ours are constants here. 0 is silence, so that
"keeping the other as zero" (paper section 3.3) really means a modality that says nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from .audio_files import RATES_HZ, SAMPLE_RATE_HZ, Kept, Source, Waveform, coded, gathered, pieces, read, read_long
from .options import SignalOptions

__all__ = [
    "FLOOR_DB", "N_FFT", "N_FRAMES", "N_MELS", "PIECE", "RATES_HZ", "SAMPLE_RATE_HZ", "STRIDE_FRAMES", "TRIM_DB",
    "TRIM_SAMPLES", "Kept", "Source", "Waveform", "Windows", "by_block", "coded", "cut", "extremes", "hop", "log_mel",
    "log_mel_for_windows", "mel_matrix", "n_frames", "pieces", "read", "read_long", "trim_slice",
    "window_starts",
]  # fmt: skip

N_FFT = 1024  # 64 ms: two to four periods of a low voice, so harmonics show
N_MELS = 128
N_FRAMES = 128  # of one window: 4.096 s at a hop of 512 samples (32 ms)
STRIDE_FRAMES = N_FRAMES // 2  # between windows of a long recording
FLOOR_DB = -80.0  # relative to the loudest mel band of the whole utterance; maps to 0

TRIM_DB = -40.0  # relative to the loudest 32 ms: `trim_slice` keeps what lies between the first and last louder ones
TRIM_SAMPLES = 512
PIECE = TRIM_SAMPLES * 2048  # samples of a long recording that are looked at at once: 4 MB

_FRAMES_AT_ONCE = 256  # about 2 MB of spectra: fits the cache, and an hour needs no more memory than a second
_DEFAULT_SIGNALS = SignalOptions()


def trim_slice(waveform: Kept) -> slice:
    """Return which samples are left without the quiet at both ends (`TRIM_DB`); 32 ms stay on either side.

    Of digital silence all: there is nothing to tell its ends by.
    """
    low, high = extremes(waveform)
    if low == high == 0:
        return slice(0, len(waveform))
    power = by_block(waveform, lambda x: np.square(x / max(high, -low), dtype=np.float64).mean(axis=1))
    loud = np.flatnonzero(power >= power.max() * 10 ** (TRIM_DB / 10))
    return slice(max(0, int(loud[0]) - 1) * TRIM_SAMPLES, min((int(loud[-1]) + 2) * TRIM_SAMPLES, len(waveform)))


def by_block(waveform: Kept, measure: Callable[[Waveform], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Return a measure of each 32 ms, which it gets as `[n, 512]`; the last block may be shorter."""
    found = []
    for _, piece in pieces(waveform, PIECE):
        n_whole = len(piece) // TRIM_SAMPLES * TRIM_SAMPLES
        rest = piece[None, n_whole:]
        found += [measure(piece[:n_whole].reshape(-1, TRIM_SAMPLES)), *([measure(rest)] if rest.size else [])]
    return np.concatenate(found)


def extremes(waveform: Kept) -> tuple[float, float]:
    """Return the lowest and the highest sample."""
    found = [(float(piece.min()), float(piece.max())) for _, piece in pieces(waveform, PIECE)]
    return min(low for low, _ in found), max(high for _, high in found)


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
    power = np.concatenate(list(_power(waveform, clip_s)))
    return _levels(power, power.max())


def _power(waveform: Kept, clip_s: float) -> Iterator[npt.NDArray[np.float32]]:
    # Of each frame in each mel band, float32 `[n <= 256 frames, 128 mels]`; see `log_mel`.
    step, n_samples = hop(clip_s), len(waveform)
    low, high = extremes(waveform)
    # To a peak of 1, so that squares of a very quiet recording do not vanish in float32.
    scale = np.float32(max(high, -low) or 1)
    for at in range(0, 1 + n_samples // step, _FRAMES_AT_ONCE):
        n = min(_FRAMES_AT_ONCE, 1 + n_samples // step - at)
        first = at * step - N_FFT // 2
        padded = np.zeros((n - 1) * step + N_FFT, np.float32)
        there = slice(max(0, first), min(first + len(padded), n_samples))
        np.divide(np.asarray(waveform[there]), scale, out=padded[there.start - first : there.stop - first])
        spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::step] * _hann())
        squares = np.square(spectra.real) + np.square(spectra.imag)
        yield squares.astype(np.float32, copy=False) @ mel_matrix()


def _levels(power: npt.NDArray[np.float32], loudest: np.float32) -> npt.NDArray[np.float32]:
    # The log-mel `[128, n]` of some frames' power `[n, 128]`, relative to the utterance's loudest band.
    if not loudest:
        return np.zeros(power.shape[::-1], np.float32)
    relative = power.T / loudest
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
    return log_mel(np.asarray(_padded(waveform, clip_s)), clip_s)[:, : n_frames(len(waveform), clip_s)]


def _padded(waveform: Kept, clip_s: float) -> Kept:
    short = hop(clip_s) * N_FRAMES - len(waveform)
    return np.pad(np.asarray(waveform), (0, short)) if short > 0 else waveform


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of a log-mel, which are made when a slice of them is asked for; `[:]` makes all.

    Attributes:
        power: of each frame in each mel band, float32 `[n_frames, 128]`.
        loudest: of all bands; None levels each window by its own loudest band, as if it were an utterance by itself.
        starts: first frame of each window.
    """

    power: Kept
    loudest: np.float32 | None
    starts: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.starts)

    def __getitem__(self, part: slice) -> npt.NDArray[np.float32]:
        """Return windows, float32 `[n, 1, 128 mels, 128 frames]` in [0, 1]."""
        starts = self.starts[part]
        found = np.empty((len(starts), 1, N_MELS, N_FRAMES), np.float32)
        for window, at in zip(found, starts, strict=True):
            power = np.asarray(self.power[at : at + N_FRAMES])
            window[0] = _levels(power, power.max() if self.loudest is None else self.loudest)
        return found


def cut(waveform: Kept, clip_s: float = _DEFAULT_SIGNALS.clip_s, starts: Sequence[int] = ()) -> Windows:
    """Return overlapping windows of `clip_s` of the log-mel (`log_mel_for_windows`) of a recording of any length.

    They begin at the frames `starts`, or at all of `window_starts`. Raises OSError: no room for a temporary file.
    """
    power = gathered(_power(_padded(waveform, clip_s), clip_s))
    loudest = max(piece.max() for _, piece in pieces(power, _FRAMES_AT_ONCE))
    return Windows(power, loudest, tuple(starts) or window_starts(n_frames(len(waveform), clip_s)))
