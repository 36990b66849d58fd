"""The way in: a path, bytes, a stream or an array, as mono float32 at 16 kHz."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import InputError, opened
from ..options import LimitOptions
from .decoding import BLOCK_S, Block, decoded
from .links import FORMATS
from .spliced import Spliced
from .stored import Kept, gathered

SAMPLE_RATE_HZ = 16_000
RATES_HZ = (4_000, 192_000)  # lowest and highest sample rate that is read

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

_DEFAULT_LIMITS = LimitOptions()


def read(
    source: Source,
    *,
    sample_rate_hz: int | None = None,
    limits: LimitOptions = _DEFAULT_LIMITS,
    notes: list[str] | None = None,
) -> Waveform:
    """Return speech as mono float32 `[n_samples]` at 16,000 Hz, in about [-1, 1].

    Channels are averaged; the rate is changed by soxr (HQ). Digital silence is allowed: see `audio.is_silent`.

    Args:
        source: path, bytes, binary stream, or array `[n]` or `[n, channels]`; integers are scaled by their range.
        sample_rate_hz: of an array, 4,000 to 192,000; files carry their own.
        limits: longer speech is refused, from the header where it tells the length.
        notes: gets a sentence for everything that was read differently from what the source says.

    Raises:
        InputError: missing, unreadable, empty, cut off, too long, no sound, or with NaN or infinite samples.
        MissingExtraError: m4a, aac, mp4 or webm without the `video` extra.
    """
    with stream(source, sample_rate_hz=sample_rate_hz, limits=limits, notes=notes) as blocks:
        return np.concatenate(list(blocks))


def read_long(
    source: Source,
    *,
    sample_rate_hz: int | None = None,
    limits: LimitOptions = _DEFAULT_LIMITS,
    notes: list[str] | None = None,
) -> Kept:
    """Return what `read` does, but of more than 4 minutes a `Stored`: memory does not grow with the length.

    Args:
        source: see `read`.
        sample_rate_hz: see `read`.
        limits: see `read`.
        notes: see `read`.

    Raises:
        InputError: see `read`.
        MissingExtraError: see `read`.
        OSError: no room for a temporary file.
    """
    with stream(source, sample_rate_hz=sample_rate_hz, limits=limits, notes=notes) as blocks:
        return gathered(blocks)


@contextmanager
def stream(
    source: Source,
    *,
    sample_rate_hz: int | None = None,
    limits: LimitOptions = _DEFAULT_LIMITS,
    notes: list[str] | None = None,
) -> Iterator[Iterator[Waveform]]:
    """Yield speech block by block, mono float32 `[n]` at 16,000 Hz: what `read` joins.

    Memory does not grow with the length. What is wrong with a source may show as late as its last block.

    Args:
        source: see `read`.
        sample_rate_hz: see `read`.
        limits: see `read`.
        notes: see `read`; filled while the blocks are taken.

    Raises:
        InputError: see `read`.
        MissingExtraError: see `read`.
    """
    notes = [] if notes is None else notes
    if isinstance(source, np.ndarray):
        name = f"Speech array {source.dtype}{list(source.shape)}"
        with closing(_prepared(name, _of_array(source, sample_rate_hz, name, limits), limits, notes)) as blocks:
            yield blocks
        return
    with opened(source, "Speech", FORMATS) as (file, name):
        raw = decoded(Spliced.whole(file), name, lambda seconds: _refuse_long(name, seconds, limits), notes)
        with closing(_prepared(name, raw, limits, notes)) as blocks:
            yield blocks


def _of_array(array: npt.NDArray[Any], sample_rate_hz: int | None, name: str, limits: LimitOptions) -> Iterator[Block]:
    if sample_rate_hz is None:
        raise InputError(f"{name} came without its rate. Mend: pass sample_rate_hz, for instance 16000.")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} is of the wrong type; allowed: float or integer samples.")
    if array.ndim not in (1, 2):
        raise InputError(f"{name} has {array.ndim} axes; allowed: [n] or [n, channels].")
    if array.ndim == 2 and array.shape[1] > array.shape[0] > 0:
        raise InputError(f"{name} has more channels than samples; allowed: [n, channels]. Mend: transpose it.")
    samples = array.reshape(len(array), -1) if array.size else np.zeros((0, 1), np.float32)
    _refuse_rate(name, sample_rate_hz)
    _refuse_long(name, len(samples) / sample_rate_hz, limits)
    for at in range(0, len(samples), BLOCK_S * SAMPLE_RATE_HZ):
        yield sample_rate_hz, _to_float(samples[at : at + BLOCK_S * SAMPLE_RATE_HZ])


def _to_float(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return floats; integers become [-1, 1) by the range of their type, unsigned ones around its middle."""
    if samples.dtype.kind == "f":
        return samples
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return samples / half - (1.0 if samples.dtype.kind == "u" else 0.0)


def _prepared(name: str, raw: Iterator[Block], limits: LimitOptions, notes: list[str]) -> Generator[Waveform]:
    """Yield raw blocks as mono at 16 kHz; every refusal that does not depend on the container is here."""
    import soxr

    resampler, now, n_out, n_in, seconds = None, 0, 0, 0, 0.0
    for rate, block in raw:
        _refuse_rate(name, rate)
        seconds += len(block) / rate
        _refuse_long(name, seconds, limits)  # a header may be silent or wrong
        if rate != now:  # the first block, or a recording of another rate behind the first
            if resampler is not None and len(rest := _finite(name, _flushed(resampler))):
                yield rest
            resampler = None
            if rate != SAMPLE_RATE_HZ:
                resampler = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
            now = rate
        mono = _finite(name, _mono(block, notes))
        n_in += len(mono)
        # Once more: resampling can overshoot what float32 holds.
        mono = mono if resampler is None else _finite(name, resampler.resample_chunk(mono))
        n_out += len(mono)
        if len(mono):
            yield mono
    if n_in == 0:
        raise InputError(f"{name} holds no samples. Mend: record it again.")
    if resampler is not None and len(rest := _finite(name, _flushed(resampler))):
        n_out += len(rest)
        yield rest
    if n_out == 0:
        raise InputError(f"{name} is shorter than one sample at {SAMPLE_RATE_HZ} Hz. Mend: record it again.")


def _flushed(resampler: Any) -> Waveform:
    rest: Waveform = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    return rest


def _mono(block: npt.NDArray[Any], notes: list[str]) -> Waveform:
    """Return the mean over channels of `[n, channels]`, float32 `[n]`; the louder one where they cancel out."""
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
