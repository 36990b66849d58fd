"""Speech: from any source to mono 16 kHz, and on to log-mel windows in [0, 1] (design section 4).

The paper (section 3.2) feeds spectrogram pictures of unstated settings; ours are constants here. 0 is silence, so that
"keeping the other as zero" (paper section 3.3) really means a modality that says nothing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count, takewhile
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .errors import InputError, MissingExtraError, opened
from .options import LimitOptions, SignalOptions

SAMPLE_RATE_HZ = 16_000
N_FFT = 1024  # 64 ms: two to four periods of a low voice, so harmonics show
N_MELS = 128
N_FRAMES = 128  # of one window: 4.096 s at a hop of 512 samples (32 ms)
STRIDE_FRAMES = N_FRAMES // 2  # between windows of a long recording
FLOOR_DB = -80.0  # relative to the loudest mel band of the whole utterance; maps to 0
RATES_HZ = (4_000, 192_000)  # lowest and highest sample rate that is read

TRIM_DB = -40.0  # `trim` keeps what lies between the first and last 32 ms louder than this, relative to the loudest
TRIM_SAMPLES = 512

Waveform = npt.NDArray[np.float32]
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | npt.NDArray[Any]

_FORMATS = 'wav, flac, ogg, opus, mp3, aiff; m4a, aac, mp4 and webm with pip install "parallelnet[video]"'
_BLOCK_S = 20  # read, mixed down and resampled at a time: memory stays flat however many channels there are
_FRAMES_AT_ONCE = 256  # about 2 MB of spectra: fits the cache, and an hour needs no more memory than a second
_MP3_SLACK = 2 * 1152  # encoder delay and padding, which players may or may not count
_UNKNOWN_LENGTH = 0x7FFFF000  # from here on a chunk size is what programs write that cannot seek back
_HEADER_SLACK = 44  # bytes: some programs count the header of a wav as sound
_MAX_CHUNKS = 1_000  # of a wav or aiff before its sound; real ones have a handful
_DEFAULT_LIMITS = LimitOptions()
_DEFAULT_SIGNALS = SignalOptions()


# --- any source to a waveform -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Track:
    """Sound that is being decoded: `blocks` are mono float32, `n_samples` what the header says (None: it does not)."""

    name: str
    sample_rate_hz: int
    n_samples: int | None
    blocks: Iterator[npt.NDArray[np.float32]]
    slack: int = 0  # samples that may be missing at the end before the file counts as cut off


def read(
    source: Source,
    *,
    sample_rate_hz: int | None = None,
    limits: LimitOptions = _DEFAULT_LIMITS,
    notes: list[str] | None = None,
) -> Waveform:
    """Return speech as mono float32 `[n_samples]` at 16,000 Hz, in about [-1, 1].

    Channels are averaged; the rate is changed by soxr (HQ). Digital silence is allowed: see `is_silent`.

    Args:
        source: path, bytes, binary stream, or array `[n]` or `[n, channels]`; integers are scaled by their range.
        sample_rate_hz: of an array, 4,000 to 192,000; files carry their own.
        limits: longer speech is refused, from the header where it tells the length.
        notes: gets a sentence for each thing that was done to the sound and should be known.

    Raises:
        InputError: missing, unreadable, empty, cut off, too long, no sound, or with NaN or infinite samples.
        MissingExtraError: m4a, aac, mp4 or webm without the `video` extra.
    """
    if isinstance(source, np.ndarray):
        return _waveform(_array_track(source, sample_rate_hz), limits)
    with opened(source, "Speech", _FORMATS) as (stream, name):
        head = stream.read(16)
        container = _container_beyond_libsndfile(head)
        if container is None:
            _refuse_cut(stream, head, name)
        stream.seek(0)
        with _soundfile_track(stream, name) if container is None else _av_track(stream, name, container) as track:
            return _waveform(track, limits)


def _container_beyond_libsndfile(head: bytes) -> str | None:
    """Return the name of a container that only PyAV reads, told by its first 16 bytes."""
    if head[4:8] == b"ftyp":
        return "MP4"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "WebM"
    if head[:4] == b"0&\xb2u":
        return "WMA"
    if head[:5] == b"#!AMR":
        return "AMR"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS sync with layer 0; mp3 has layer 1 to 3
        return "AAC"
    return None


def _cut(name: str, promised: str, arrived: str) -> InputError:
    return InputError(f"{name} is cut off: it promises {promised}, {arrived} arrived. Mend: copy or record it again.")


def _refuse_cut(stream: BinaryIO, head: bytes, name: str) -> None:
    """Refuse a wav, aiff or ogg that ends too early, which libsndfile would read as if it were whole."""
    size = stream.seek(0, os.SEEK_END)
    if head[:4] in (b"RIFF", b"FORM"):
        order, wanted = ("<I", b"data") if head[:4] == b"RIFF" else (">I", b"SSND")
        at = 12
        for _ in range(_MAX_CHUNKS):
            if at + 8 > size:
                return
            stream.seek(at)
            chunk = stream.read(8)
            n_bytes = struct.unpack(order, chunk[4:])[0]
            if chunk[:4] == wanted:
                if n_bytes < _UNKNOWN_LENGTH and at + 8 + n_bytes > size + _HEADER_SLACK:
                    raise _cut(name, f"{n_bytes} bytes of sound", str(size - at - 8))
                return
            at += 8 + n_bytes + n_bytes % 2
    elif head[:4] == b"OggS":
        stream.seek(max(0, size - 2 * 65_307))  # a page is at most 65,307 bytes
        tail = stream.read()
        page = tail[max(0, tail.rfind(b"OggS")) :]
        n_segments = page[26] if len(page) > 26 else 255
        n_bytes = 27 + n_segments + sum(page[27 : 27 + n_segments])
        if len(page) < n_bytes:
            raise _cut(name, f"{n_bytes} bytes in its last page", str(len(page)))


@contextmanager
def _soundfile_track(stream: BinaryIO, name: str) -> Iterator[_Track]:
    import soundfile  # loads a C library: only where a file is read

    try:
        with soundfile.SoundFile(stream) as file:
            known = 0 < file.frames < 2**62  # libsndfile says 2**63 - 1 where a stream tells no length
            # Not `file.blocks`: where a file is cut off, that repeats what its buffer held before.
            reads = (file.read(_BLOCK_S * file.samplerate, "float32", always_2d=True) for _ in count())
            blocks = map(_mono, takewhile(len, reads))
            slack = _MP3_SLACK if file.format == "MP3" else 0
            yield _Track(name, file.samplerate, file.frames if known else None, blocks, slack)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").strip().rstrip(".")
        raise InputError(f"{name} is no sound, or cut off or damaged ({reason}). Allowed: {_FORMATS}.") from None


@contextmanager
def _av_track(stream: BinaryIO, name: str, container: str) -> Iterator[_Track]:
    try:
        import av
    except ImportError:
        raise MissingExtraError(f"{name} is {container}: reading it", "video") from None
    try:
        with av.open(stream, mode="r") as file:
            if not file.streams.audio:
                raise InputError(f"{name} is {container} without a sound track. Allowed: {_FORMATS}.")
            audio = file.streams.audio[0]
            seconds = audio.duration * audio.time_base if audio.duration and audio.time_base else None
            n_samples = None if seconds is None else int(seconds * audio.rate)
            planes = av.AudioResampler(format="fltp")  # sample format only: channels and rate stay
            blocks = (_mono(part.to_ndarray().T) for frame in file.decode(audio) for part in planes.resample(frame))
            # Encoders pad: a frame at either end may be counted and not decoded. Half a second is a real loss.
            yield _Track(name, audio.rate, n_samples, blocks, slack=audio.rate // 2)
    except av.FFmpegError as error:
        reason = f"{container}, cut off or damaged ({error.strerror})"
        raise InputError(f"{name} is {reason}. Allowed: {_FORMATS}.") from None


def _array_track(array: npt.NDArray[Any], sample_rate_hz: int | None) -> _Track:
    name = f"Speech array {array.dtype}{list(array.shape)}"
    if sample_rate_hz is None:
        raise InputError(f"{name} came without its rate. Mend: pass sample_rate_hz, for instance 16000.")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} is of the wrong type; allowed: float or integer samples.")
    if array.ndim not in (1, 2):
        raise InputError(f"{name} has {array.ndim} axes; allowed: [n] or [n, channels].")
    if array.ndim == 2 and array.shape[1] > array.shape[0] > 0:
        raise InputError(f"{name} has more channels than samples; allowed: [n, channels]. Mend: transpose it.")
    samples = array.reshape(len(array), -1) if array.size else np.zeros((0, 1), np.float32)
    step = _BLOCK_S * SAMPLE_RATE_HZ
    blocks = (_mono(_to_float(samples[at : at + step])) for at in range(0, len(samples), step))
    return _Track(name, sample_rate_hz, len(samples), blocks)


def _to_float(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return floats; integers become [-1, 1) by the range of their type, unsigned ones around its middle."""
    if samples.dtype.kind == "f":
        return samples
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return samples / half - (1.0 if samples.dtype.kind == "u" else 0.0)


def _mono(block: npt.NDArray[Any]) -> Waveform:
    """Return the mean over channels of `[n, channels]`, float32 `[n]`."""
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as infinite by the caller
        mixed = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        return np.ascontiguousarray(mixed, dtype=np.float32)


def _waveform(track: _Track, limits: LimitOptions) -> Waveform:
    """Return the whole track at 16 kHz; every refusal that does not depend on the container is here."""
    rate = track.sample_rate_hz
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise InputError(f"{track.name} has {rate} samples a second; allowed: {RATES_HZ[0]} to {RATES_HZ[1]}.")
    if track.n_samples is not None:
        _refuse_long(track, track.n_samples, limits)
    import soxr

    stream = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
    parts: list[Waveform] = []
    n_read = 0
    for block in track.blocks:
        _refuse_not_finite(track, block)
        n_read += len(block)
        _refuse_long(track, n_read, limits)  # a header may be silent or wrong
        parts.append(block if rate == SAMPLE_RATE_HZ else stream.resample_chunk(block))
    if n_read == 0:
        raise InputError(f"{track.name} holds no samples. Mend: record it again.")
    if track.n_samples is not None and n_read + track.slack < track.n_samples:
        raise _cut(track.name, f"{track.n_samples} samples", str(n_read))
    if rate != SAMPLE_RATE_HZ:
        parts.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    waveform = np.concatenate(parts)
    _refuse_not_finite(track, waveform)  # once more: resampling can overshoot what float32 holds
    if not len(waveform):
        raise InputError(f"{track.name} is shorter than one sample at {SAMPLE_RATE_HZ} Hz. Mend: record it again.")
    return waveform


def _refuse_not_finite(track: _Track, samples: Waveform) -> None:
    if not np.isfinite(samples).all():
        raise InputError(f"{track.name} holds NaN or infinite samples. Mend: write it again from its origin.")


def _refuse_long(track: _Track, n_samples: int, limits: LimitOptions) -> None:
    if n_samples > limits.max_duration_s * track.sample_rate_hz:
        raise InputError(
            f"{track.name} lasts {n_samples / track.sample_rate_hz:,.0f} s or more; allowed: up to "
            f"{limits.max_duration_s:g} s. Mend: cut it, or raise --max-duration-s."
        )


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
