"""Sound as its decoders give it: libsndfile, and PyAV for what libsndfile does not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, MissingExtraError
from .links import FORMATS, links, no_sound
from .spliced import Link, Spliced, cut_off

BLOCK_S = 20  # decoded, mixed and resampled at a time: memory stays flat however long a recording is
_MOST_VALUES = 1 << 22  # of a block (16 MB), however many channels and samples a second a header claims
_AV_SLACK_S = 0.5  # coders pad: a frame at either end may be counted and not decoded; half a second is a real loss
_GUESSED = ("aac", "amr", "mpeg", "mpegts", "flv")  # containers whose header tells no length

Block = tuple[int, npt.NDArray[np.float32]]
"""Samples a second, and samples `[n, channels]`."""


def decoded(file: Spliced, name: str, refuse_long: Callable[[float], None], notes: list[str]) -> Iterator[Block]:
    """Yield everything that a file holds, block after block.

    Args:
        file: all of it.
        name: what errors call it.
        refuse_long: raises if a recording of so many seconds is too long; asked before it is decoded.
        notes: see `links`.

    Raises:
        InputError: no sound, cut off, damaged, or of a coding that is not read.
        MissingExtraError: only PyAV reads it, which is not installed.
    """
    blocks = _of_all(file, name, refuse_long, notes)
    block: Block | None
    while True:
        try:
            block = next(blocks, None)
        except InputError:
            if not file.errors:
                raise
            block = None
        if file.errors:  # before any guess of a decoder that bytes are missing
            error = file.errors[0]
            raise InputError(f"{name} could not be read to its end: {error.strerror or error}.")
        if block is None:
            return
        yield block


def _of_all(file: Spliced, name: str, refuse_long: Callable[[float], None], notes: list[str]) -> Iterator[Block]:
    for link in links(file, name, notes):
        yield from (_by_soundfile if link.core else _by_av)(link, name, refuse_long)


def _by_soundfile(link: Link, name: str, refuse_long: Callable[[float], None]) -> Iterator[Block]:
    import soundfile  # loads a C library: only where a file is read

    try:
        file = soundfile.SoundFile(link.file)
    except soundfile.LibsndfileError as error:
        if not link.what:
            raise no_sound(link.file, name) from None
        if link.av_format:
            yield from _by_av(link, name, refuse_long, _reason(error))
            return
        raise InputError(
            f"{name} is {link.what}, damaged or of a coding that is not read ({_reason(error)})."
        ) from None
    n_read = 0
    with file:
        rate = file.samplerate
        # libsndfile says 2**63 - 1 where a stream tells no length.
        n_samples = link.n_samples or (file.frames if file.frames < 1 << 62 else 0)
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
    reason: str = error.error_string.removeprefix("Error : ").strip().rstrip(".")
    return reason


def _by_av(link: Link, name: str, refuse_long: Callable[[float], None], refused: str = "") -> Iterator[Block]:
    """Yield what PyAV decodes; `refused` says why libsndfile did not."""
    try:
        import av
    except ImportError:
        why = f"{link.what} of a coding that libsndfile does not read ({refused})" if refused else link.what
        raise MissingExtraError(f"{name} is {why}: reading it", "video") from None
    done_s = 0.0
    try:
        # The container is named, so that FFmpeg never takes a stranger's file for a list of others to open.
        link.file.seek(0)  # libsndfile may have been there
        with av.open(link.file, mode="r", format=link.av_format, metadata_errors="ignore") as file:
            if not file.streams.audio:
                raise InputError(f"{name} is {link.what} without a sound track. Allowed: {FORMATS}.")
            track = file.streams.audio[0]
            seconds = _promised_s(file, track)
            refuse_long(seconds)
            for rate, block in _gathered(_frames(file, track)):
                done_s += len(block) / rate
                yield rate, block
        if done_s + _AV_SLACK_S < seconds:
            raise cut_off(name, f"{seconds:.1f} s", f"{done_s:.1f} s")
    except av.FFmpegError as error:
        what = (
            f"{link.what}, cut off or damaged" if done_s else f"{link.what}, cut off, damaged or of an unknown coding"
        )
        raise InputError(f"{name} is {what} ({error.strerror}). Allowed: {FORMATS}.") from None


def _promised_s(file: Any, track: Any) -> float:
    """Return the seconds that a header promises; 0 where none does and FFmpeg guesses from the bit rate."""
    if file.format.name in _GUESSED:
        return 0.0
    if track.duration and track.time_base:
        return float(track.duration * track.time_base)
    # WebM tells the length of the whole, which may be that of the pictures.
    return float(file.duration or 0) / 1e6 if len(file.streams) == 1 else 0.0


def _frames(file: Any, track: Any) -> Iterator[Block]:
    import av

    now: Any = None
    planes: Any = None
    for frame in file.decode(track):
        shape = frame.format.name, frame.layout.name, frame.sample_rate
        if shape != now:  # a stream may change on its way
            now, planes = shape, av.AudioResampler(format="fltp")  # sample format only: channels and rate stay
        yield from ((part.sample_rate, part.to_ndarray().T) for part in planes.resample(frame))


def _gathered(blocks: Iterator[Block]) -> Iterator[Block]:
    """Join small blocks to those that the rest is made for."""
    waiting: list[npt.NDArray[np.float32]] = []
    rate = n_channels = n_waiting = 0
    for new_rate, block in chain(blocks, [(0, np.zeros((0, 0), np.float32))]):
        if waiting and (
            (new_rate, block.shape[1]) != (rate, n_channels)
            or n_waiting >= min(BLOCK_S * rate, _MOST_VALUES // n_channels)
        ):
            yield rate, np.concatenate(waiting)
            waiting, n_waiting = [], 0
        rate, n_channels = new_rate, block.shape[1]
        waiting.append(block)
        n_waiting += len(block)
