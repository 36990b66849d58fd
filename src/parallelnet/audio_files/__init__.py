"""Any source of speech to mono float32 at 16 kHz (design section 4): a path, bytes, a stream or an array.

Read to the real end: what a header says of its length is a promise to be kept, never a reason to stop before it.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import InputError, needed, opened, refuse
from ..options import LimitOptions
from .containers import FORMATS, links, no_sound
from .frames import ENDLESS
from .spliced import CutOffError, Link, Spliced, cut_off

SAMPLE_RATE_HZ = 16_000
RATES_HZ = (4_000, 192_000)  # lowest and highest sample rate that is read

BLOCK_S = 20  # decoded, mixed and resampled at a time: memory stays flat however long a recording is
_MOST_VALUES = 1 << 22  # of a block (16 MB), however many channels and samples a second a header claims
_AV_SLACK_S = 0.5  # coders pad: a frame at either end may be counted and not decoded; half a second is a real loss
_GUESSED = ("aac", "amr", "mpeg", "mpegts", "flv")  # containers whose header tells no length

# Channels that have nothing to do with each other leave one nth of their power in the mean of n. Half of that is left
# only where they oppose each other (of two: a correlation below -0.5), and speech that is in both is gone. Asked for
# each frame, because a hum that all channels share would hide it; where a tenth of a block's power cancels, so does a
# word.
_CANCELLED = 0.5
_PART_CANCELLED = 0.1
_FRAME = 512  # samples: 32 ms at 16 kHz, 11 ms at 48 kHz
_CANCELLED_NOTE = "The channels cancel each other out (opposite phase): the louder one was used."

Waveform = npt.NDArray[np.float32]
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | npt.NDArray[Any]
IN_MEMORY_BYTES = 16 << 20  # longest array that stays in memory: 4 minutes of sound at 16 kHz
_Block = tuple[int, npt.NDArray[Any]]  # samples a second, and samples `[n, channels]`

_DEFAULT_LIMITS = LimitOptions()


def read(
    source: Source,
    *,
    sample_rate_hz: int | None = None,
    limits: LimitOptions = _DEFAULT_LIMITS,
    notes: list[str] | None = None,
) -> Waveform:
    """Return speech as mono float32 `[n_samples]` at 16,000 Hz, in about [-1, 1].

    Channels are averaged; the rate is changed by soxr (HQ). Digital silence is allowed.

    Args:
        source: path, bytes, binary stream, or array `[n]` or `[n, channels]`; integers are scaled by their range.
        sample_rate_hz: of an array, 4,000 to 192,000; files carry their own.
        limits: longer speech is refused, from the header where it tells the length.
        notes: gets a sentence for everything that was read differently from what the source says.

    Raises:
        InputError: missing, unreadable, empty, cut off, too long, no sound, or with NaN or infinite samples.
        MissingExtraError: m4a, aac, mp4 or webm without the `video` extra.
    """
    with stream(source, sample_rate_hz, limits, notes) as blocks:
        return np.concatenate(list(blocks))


def read_long(
    source: Source,
    *,
    sample_rate_hz: int | None = None,
    limits: LimitOptions = _DEFAULT_LIMITS,
    notes: list[str] | None = None,
) -> Kept:
    """Return what `read` does, but of more than 4 minutes a `Stored`: memory does not grow with the length.

    Raises:
        OSError: no room for a temporary file; all else as of `read`.
    """
    with stream(source, sample_rate_hz, limits, notes) as blocks:
        return gathered(blocks)


@contextmanager
def stream(
    source: Source,
    sample_rate_hz: int | None = None,
    limits: LimitOptions = _DEFAULT_LIMITS,
    notes: list[str] | None = None,
) -> Iterator[Iterator[Waveform]]:
    """Yield block by block what `read` joins; `notes` are filled, and errors come, while blocks are taken."""
    notes = [] if notes is None else notes
    with ExitStack() as stack:
        if isinstance(source, np.ndarray):
            name = f"Speech array {source.dtype}{list(source.shape)}"
            raw = _of_array(source, sample_rate_hz, name, limits)
        else:
            file, name = stack.enter_context(opened(source, "Speech", FORMATS))
            raw = _decoded(Spliced(file), name, lambda seconds: _refuse_long(name, seconds, limits), notes)
        yield stack.enter_context(closing(_prepared(name, raw, limits, notes)))


def _of_array(array: npt.NDArray[Any], rate_hz: int | None, name: str, limits: LimitOptions) -> Iterator[_Block]:
    wide = array.ndim == 2 and array.shape[1] > array.shape[0] > 0
    wrong = [
        (rate_hz is None, f"{name} came without its rate. Mend: pass sample_rate_hz, for instance 16000."),
        (array.dtype.kind not in "fiu", f"{name} is of the wrong type; allowed: float or integer samples."),
        (array.ndim not in (1, 2), f"{name} has {array.ndim} axes; allowed: [n] or [n, channels]."),
        (wide, f"{name} has more channels than samples; allowed: [n, channels]. Mend: transpose it."),
    ]
    refuse(InputError, wrong)
    assert rate_hz is not None
    samples = array.reshape(len(array), -1) if array.size else np.zeros((0, 1), np.float32)
    _refuse_rate(name, rate_hz)
    _refuse_long(name, len(samples) / rate_hz, limits)
    # Integers become [-1, 1) by the range of their type, unsigned ones around its middle.
    half = 1 if array.dtype.kind == "f" else 2.0 ** (8 * array.dtype.itemsize - 1)
    for at in range(0, len(samples), BLOCK_S * SAMPLE_RATE_HZ):
        block = samples[at : at + BLOCK_S * SAMPLE_RATE_HZ]
        yield rate_hz, block if half == 1 else block / half - (1.0 if array.dtype.kind == "u" else 0.0)


def _prepared(name: str, raw: Iterator[_Block], limits: LimitOptions, notes: list[str]) -> Generator[Waveform]:
    import soxr

    n_out, n_in, seconds = 0, 0, 0.0
    for rate, blocks in groupby(raw, itemgetter(0)):  # a recording of another rate may stand behind the first
        _refuse_rate(name, rate)
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        for _, block in chain(blocks, [(rate, None)]):
            mono: Waveform = np.zeros(0, np.float32)
            if block is not None:
                seconds += len(block) / rate
                _refuse_long(name, seconds, limits)  # a header may be silent or wrong
                mono = _finite(name, _mono(block, notes))
            # Once more: resampling can overshoot what float32 holds.
            resampled = _finite(name, resampler.resample_chunk(mono, last=block is None))
            n_in, n_out = n_in + len(mono), n_out + len(resampled)
            if len(resampled):
                yield resampled
    if n_out == 0:
        what = f"is shorter than one sample at {SAMPLE_RATE_HZ} Hz" if n_in else "holds no samples"
        raise CutOffError(f"{name} {what}. Mend: record it again.")


def _mono(block: npt.NDArray[Any], notes: list[str]) -> Waveform:
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as infinite by the caller
        if block.shape[1] == 1 or not len(block):
            return np.ascontiguousarray(block[:, 0], dtype=np.float32)
        mixed = block.mean(axis=1)
        edges = np.arange(0, len(block), _FRAME)
        power = np.add.reduceat(np.square(block, dtype=np.float64), edges)  # [n_frames, channels]
        left = np.add.reduceat(np.square(mixed, dtype=np.float64), edges)
        whole = power.mean(axis=1)
        lost = whole[left < _CANCELLED * whole / block.shape[1]].sum()
        power = power.sum(axis=0)
        if lost > _PART_CANCELLED * whole.sum():
            # The first that is about as loud as the loudest: the choice must not change from block to block.
            mixed = block[:, np.flatnonzero(power >= power.max() / 2)[0]]
            if _CANCELLED_NOTE not in notes:
                notes.append(_CANCELLED_NOTE)
        return np.ascontiguousarray(mixed, dtype=np.float32)


def coded(samples: npt.NDArray[Any], **how: Any) -> bytes:
    """Return mono sound at 16 kHz, `[n_samples]`, as the bytes of a file; `format`, `subtype` are soundfile's."""
    import soundfile

    file = io.BytesIO()  # libsndfile does not say that the disk is full, the system does
    soundfile.write(file, samples, SAMPLE_RATE_HZ, **how)
    return file.getvalue()


def _finite(name: str, samples: Waveform) -> Waveform:
    if not np.isfinite(samples).all():
        raise InputError(f"{name} holds NaN or infinite samples. Mend: write it again from its origin.")
    return samples


def _refuse_rate(name: str, rate: int) -> None:
    if not RATES_HZ[0] <= rate <= RATES_HZ[1]:
        raise InputError(f"{name} has {rate} samples a second; allowed: {RATES_HZ[0]} to {RATES_HZ[1]}.")


def _refuse_long(name: str, seconds: float, limits: LimitOptions) -> None:
    if seconds > limits.max_duration_s:
        raise InputError(
            f"{name} lasts {seconds:,.0f} s or more; allowed: up to {limits.max_duration_s:g} s. "
            "Mend: cut it, or raise --max-duration-s."
        )


# --- arrays that may be too long for memory: beyond a bound they lie in a file without a name ------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """Float32 numbers `[n]`, or rows of them `[n, width]`, in a file that is gone with the process.

    `[a:b]` is a view, as numpy's slices are; `np.asarray` reads it. Any number of threads may.
    """

    mapped: mmap.mmap  # the whole file
    view: Waveform  # this part of it

    def __len__(self) -> int:
        """Return how many numbers or rows there are."""
        return len(self.view)

    def __getitem__(self, part: slice) -> Stored:
        """Return a part, which is not read yet."""
        return Stored(self.mapped, self.view[part])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return what it holds, read anew."""
        found = np.array(self.view, dtype)
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows; pages that were read would count as memory of ours
            self.mapped.madvise(mmap.MADV_DONTNEED)
        return found


Kept = Waveform | Stored  # what is sliced, and read by `np.asarray`, in either place


def gathered(blocks: Iterable[Waveform]) -> Kept:
    """Return blocks, float32 `[n]` or `[n, width]`, as one array; a long one lies in a temporary file.

    Raises:
        OSError: there is no room for the file (`ENOSPC`). No source is to blame for that.
    """
    kept: list[Waveform] = []
    n_bytes = 0
    rest = iter(blocks)
    for block in rest:
        kept.append(block)
        n_bytes += block.nbytes
        if n_bytes > IN_MEMORY_BYTES:
            return _written(chain(kept, rest))
    return kept[0] if len(kept) == 1 else np.concatenate(kept)


def pieces(kept: Kept, n_rows: int) -> Iterator[tuple[int, Waveform]]:
    """Yield where each piece begins, and what it holds: `n_rows` numbers or rows, the last one fewer."""
    return ((at, np.asarray(kept[at : at + n_rows])) for at in range(0, len(kept), n_rows))


def _written(blocks: Iterable[Waveform]) -> Stored:
    import tempfile  # no short recording needs it

    try:
        with tempfile.TemporaryFile() as file:  # the map outlives it
            for block in blocks:
                file.write(np.ascontiguousarray(block).data)
            file.flush()
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:  # a full disk, or no folder at all in which tempfile could write
        text = "No room for the temporary file of a long recording"
        raise OSError(errno.ENOSPC, text, tempfile.tempdir or "TMPDIR") from error
    return Stored(mapped, np.frombuffer(mapped, np.float32).reshape(-1, *block.shape[1:]))


# --- decoders: libsndfile, and PyAV for what libsndfile does not read -------------------------------------------------


def _decoded(file: Spliced, name: str, refuse_long: Callable[[float], None], notes: list[str]) -> Iterator[_Block]:
    try:
        for link in links(file, name, notes):
            for block in (_by_soundfile if link.core else _by_av)(link, name, refuse_long):
                if file.errors:
                    break
                yield block
    except InputError:
        if not file.errors:
            raise
    if file.errors:  # before any guess of a decoder that bytes are missing
        error = file.errors[0]
        raise InputError(f"{name} could not be read to its end: {error.strerror or error}.")


def _by_soundfile(link: Link, name: str, refuse_long: Callable[[float], None]) -> Iterator[_Block]:
    import soundfile  # loads a C library: only where a file is read

    try:
        file = soundfile.SoundFile(link.file)
    except soundfile.LibsndfileError as error:
        if not link.what:
            raise no_sound(link.file, name) from None
        if not link.av_format:
            what = "damaged or of a coding that is not read"
            raise InputError(f"{name} is {link.what}, {what} ({_reason(error)}).") from None
        yield from _by_av(link, name, refuse_long, _reason(error))
        return
    n_read = 0
    with file:
        rate = file.samplerate
        # libsndfile says 2**63 - 1 where a stream tells no length.
        n_samples = link.n_samples or (file.frames if file.frames < ENDLESS else 0)
        if file.frames == ENDLESS:  # soundfile would seek to where it stands, which fails at the end
            file.seekable = lambda: False
        refuse_long(n_samples / max(1, rate))
        step = max(1, min(BLOCK_S * rate, _MOST_VALUES // file.channels))
        try:
            file.read(link.lead)
            # Not `file.blocks`: where a file is cut off, that repeats what its buffer held before.
            while len(block := file.read(step, "float32", always_2d=True)):
                n_read += len(block)
                yield rate, block
        except soundfile.LibsndfileError as error:
            raise InputError(
                f"{name} is cut off or damaged ({_reason(error)}). Mend: copy or record it again."
            ) from None
        if n_read + link.slack < n_samples:
            raise cut_off(name, f"{n_samples} samples", str(n_read))


def _reason(error: Any) -> str:
    return str(error.error_string).removeprefix("Error : ").strip().rstrip(".")


def _by_av(link: Link, name: str, refuse_long: Callable[[float], None], refused: str = "") -> Iterator[_Block]:
    why = f"{link.what} of a coding that libsndfile does not read ({refused})" if refused else link.what
    av, done_s = needed("av", f"{name} is {why}: reading it", "video"), 0.0
    failed: list[Exception] = []
    try:
        # The container is named, so that FFmpeg never takes a stranger's file for a list of others to open.
        link.file.seek(0)  # libsndfile may have been there
        with av.open(link.file, mode="r", format=link.av_format, metadata_errors="ignore") as file:
            if not file.streams.audio:
                raise InputError(f"{name} is {link.what} without a sound track. Allowed: {FORMATS}.")
            track = file.streams.audio[0]
            seconds = _promised_s(file, track)
            refuse_long(seconds)
            for rate, block in _av_blocks(_until(av.FFmpegError, file.decode(track), failed)):
                done_s += len(block) / rate
                yield rate, block
        if failed:
            raise failed[0]
        if done_s + _AV_SLACK_S < seconds:
            raise cut_off(name, f"{seconds:.1f} s", f"{done_s:.1f} s")
    except av.FFmpegError as error:
        what = "cut off or damaged" if done_s else "cut off, damaged or of an unknown coding"
        raise CutOffError(f"{name} is {link.what}, {what} ({error.strerror}). Allowed: {FORMATS}.") from None


def _until(wrong: type[Exception], frames: Iterator[Any], failed: list[Exception]) -> Iterator[Any]:
    # What was decoded before an error still goes its way, through the resampler's rest.
    try:
        yield from frames
    except wrong as error:
        failed.append(error)


def _promised_s(file: Any, track: Any) -> float:
    # 0 where none does and FFmpeg guesses from the bit rate.
    if file.format.name in _GUESSED:
        return 0.0
    if track.duration and track.time_base:
        return float(track.duration * track.time_base)
    # WebM tells the length of the whole, which may be that of the pictures.
    return float(file.duration or 0) / 1e6 if len(file.streams) == 1 else 0.0


def _av_blocks(frames: Iterator[Any]) -> Iterator[_Block]:
    import av

    # A stream may change on its way.
    for (_, layout, rate), alike in groupby(frames, lambda f: (f.format.name, f.layout, f.sample_rate)):
        n_samples = max(1, min(BLOCK_S * rate, _MOST_VALUES // layout.nb_channels))
        planes = av.AudioResampler(format="fltp", frame_size=n_samples)  # sample format only: channels and rate stay
        for frame in chain(alike, [None]):
            yield from ((rate, part.to_ndarray().T) for part in planes.resample(frame))
