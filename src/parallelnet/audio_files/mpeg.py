"""MPEG sound (mp3, mp2, mp1): where its frames lie, however many there really are.

libmpg123 guesses the length of a file without a Xing header from its size and its first frame, and libsndfile stops
there: a recording of changing bit rate loses up to half of its sound. So the frames are counted here, and the decoder
gets them alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from ..errors import InputError
from .spliced import Link, Spliced, cut_off

# kbit/s by (lower sampling frequency?, layer); the first entry is the free format, whose frames tell no length.
_KBPS = {
    (False, 1): (0, *range(32, 449, 32)),
    (False, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (True, 2): (0, *range(8, 65, 8), *range(80, 161, 16)),
    (True, 3): (0, *range(8, 65, 8), *range(80, 161, 16)),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_SYNC = re.compile(rb"\xff[\xe2-\xef\xf2-\xff][\x10-\xeb]", re.DOTALL)
_VBRI_AT = 36
_SURE = 4  # frames in a row that are no chance
_SLACK = 2 * 1152  # samples: the coder's delay and padding, which decoders may or may not count
_LOSS_S = 0.5  # of sound that may lie destroyed between frames


@dataclass(frozen=True, slots=True)
class _Frame:
    n_bytes: int
    n_samples: int
    rate_hz: int
    kind: tuple[int, int, int, bool]  # version, layer, rate, mono: what a decoder cannot change on its way


@lru_cache(maxsize=4096)
def _frame(header: bytes) -> _Frame | None:
    """Return what four bytes say, or None where they begin no frame of known length."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer, protected = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3), not header[1] & 1
    bits, rate, padded = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3 or header[3] & 3 == 2:
        return None
    low = version != 3
    kbps, rate_hz = _KBPS[low, layer][bits], _RATES_HZ[version][rate]
    n_samples = 384 if layer == 1 else 576 if low and layer == 3 else 1152
    slot = 4 if layer == 1 else 1  # bytes, of which a frame is a whole number
    n_bytes = (n_samples // 8 // slot * kbps * 1000 // rate_hz + padded) * slot
    if n_bytes < 4 + 2 * protected:
        return None
    return _Frame(n_bytes, n_samples, rate_hz, (version, layer, rate, header[3] >> 6 == 3))


@dataclass(slots=True)
class _Run:
    """Frames that one decoder can read in a row."""

    first: bytes  # header
    frame: _Frame
    tag: range | None = None  # a frame that holds a Xing, Info or VBRI header instead of sound
    promised: int | None = None  # frames, by that header
    parts: list[range] = field(default_factory=list)
    n_frames: int = 0

    def add(self, start: int, stop: int) -> None:
        if self.parts and self.parts[-1].stop == start:
            self.parts[-1] = range(self.parts[-1].start, stop)
        else:
            self.parts.append(range(start, stop))
        self.n_frames += 1


def begins(file: Spliced, at: int, stop: int, wanted: int = 2) -> bool:
    """Return whether frames begin here: `wanted` of a kind in a row, or fewer that end with the file."""
    kind = None
    for _ in range(wanted):
        frame = _frame(file.at(at, 4))
        if frame is None or kind not in (None, frame.kind):
            return kind is not None and at == stop
        kind, at = frame.kind, at + frame.n_bytes
        if at > stop:
            return False
    return True


def search(file: Spliced, start: int, stop: int) -> int:
    """Return where the next frames begin that are no chance; `stop` where there are none."""
    return next((at for at in file.find(_SYNC, start, stop) if begins(file, at, stop, _SURE)), stop)


def id3_size(head: bytes) -> int:
    """Return the bytes of an ID3v2 tag by its first ten, 0 where there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or head[3] == 0xFF or max(head[6:10]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return size + (20 if head[5] & 0x10 else 10)


def links(file: Spliced, start: int, stop: int, name: str) -> tuple[list[Link], int]:
    """Return the recordings of the frames that begin at `start` (see `begins`), and where their last frame ends.

    A new one begins with each Xing header, and where rate, layer or the number of channels changes.

    Raises:
        InputError: a Xing header promises more frames than there are, or much in the middle is no sound.
    """
    runs: list[_Run] = []
    end, lost = start, 0
    for at, gap in _frames(file, start, stop):
        header = file.at(at, 4)
        frame = _frame(header)
        assert frame is not None
        stops = at + frame.n_bytes
        promised = _promised(file.at(at, min(frame.n_bytes, 64)), frame)
        if promised is not None:
            runs.append(_Run(header, frame, range(at, stops), promised or None))
        else:
            if not runs or runs[-1].frame.kind != frame.kind:
                runs.append(_Run(header, frame))
            runs[-1].add(at, stops)
        lost += gap
        end = stops
    n_bytes = sum(len(part) for run in runs for part in run.parts)
    seconds = sum(run.n_frames * run.frame.n_samples / run.frame.rate_hz for run in runs)
    if lost * seconds > _LOSS_S * n_bytes:
        what = f"{lost} bytes between its frames are no sound; allowed: {_LOSS_S:g} s of them"
        raise InputError(f"{name} is damaged: {what}. Mend: copy or record it again.")
    return [_link(file, run, name) for run in runs if run.n_frames or run.promised], end


def _frames(file: Spliced, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield where each whole frame begins, and how many bytes before it belong to nothing."""
    first = _frame(file.at(start, 4))
    at, kind, junk = start, first and first.kind, 0
    while at + 4 <= stop:
        frame = _frame(file.at(at, 4))
        if frame is not None and at + frame.n_bytes <= stop and (frame.kind == kind or begins(file, at, stop, _SURE)):
            yield at, junk
            at, kind, junk = at + frame.n_bytes, frame.kind, 0
            continue
        kind = None
        tag = id3_size(file.at(at, 10))
        if tag and at + tag < stop:
            at += tag
            continue
        found = search(file, at + 1, stop)
        at, junk = found, junk + found - at


def _promised(body: bytes, frame: _Frame) -> int | None:
    """Return the frames that a Xing, Info or VBRI header promises, 0 if it does not say, None if this is sound."""
    if frame.kind[1] != 3:
        return None
    if body[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        return int.from_bytes(body[_VBRI_AT + 14 : _VBRI_AT + 18])
    at = 4 + _side_bytes(frame)
    # Two bytes later where the frame has a checksum, which some programs count and some do not.
    for begin in (at, at + 2):
        if body[begin : begin + 4] in (b"Xing", b"Info"):
            return int.from_bytes(body[begin + 8 : begin + 12]) if body[begin + 7] & 1 else 0
    return None


def _side_bytes(frame: _Frame) -> int:
    version, _, _, mono = frame.kind
    return (17 if mono else 32) if version == 3 else (9 if mono else 17)


def _link(file: Spliced, run: _Run, name: str) -> Link:
    frame, what = run.frame, f"mp{run.frame.kind[1]}"
    n_samples = frame.n_samples
    missing = (run.promised or 0) - run.n_frames  # one is none: some programs count the header itself
    if missing * n_samples > _SLACK:
        raise cut_off(name, f"{run.promised} frames", str(run.n_frames))
    n_samples *= run.n_frames
    parts = [piece for part in run.parts for piece in file.cut(part.start, part.stop)]
    if run.tag is not None and run.promised and missing >= 0:
        # Kept for what else it says: how much the coder put before and behind the sound.
        whole = file.with_parts(file.cut(run.tag.start, run.tag.stop) + parts)
        return Link(what, whole, "mp3", n_samples=n_samples, slack=_SLACK)
    lead = _lead(run)
    return Link(what, file.with_parts([lead, *parts]), "mp3", n_samples=n_samples, slack=_SLACK, lead=frame.n_samples)


def _lead(run: _Run) -> bytes:
    """Return a frame of silence of the lowest bit rate.

    Where libmpg123 finds it first, it guesses more samples than there are, never fewer, and reads to the real end.
    """
    header = bytes((0xFF, run.first[1] | 1, run.first[2] & 0x0C | 1 << 4, run.first[3]))  # no checksum, no padding
    frame = _frame(header)
    assert frame is not None
    return header.ljust(frame.n_bytes, b"\0")
