"""A file as its decoder should see it: ranges of the real one, with mended headers in between."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import BinaryIO

from ..errors import InputError

_WINDOW = 1 << 16  # bytes read at a time: decoders ask for a few at a time, and parsers for four
_AHEAD = 1 << 20  # bytes searched at a time

Part = bytes | range  # bytes of our own, or offsets `range(start, stop)` in the real file


class Spliced:
    """A seekable binary stream made of parts. It never raises: what the disk refuses is kept in `errors`.

    Decoders written in C call it, and an exception inside such a call would be printed and lost.
    """

    def __init__(self, stream: BinaryIO, parts: Iterable[Part] | None = None) -> None:
        """Take parts of `stream`, or all of it; this object alone must read it while it is in use."""
        self._stream = stream
        parts = [range(stream.seek(0, os.SEEK_END))] if parts is None else parts
        self._parts = [part for part in parts if len(part)]
        self._ends = list(accumulate(map(len, self._parts)))
        self.size = self._ends[-1] if self._ends else 0
        self.errors: list[OSError] = []
        self._window, self._window_at = b"", 0
        self._position = 0

    def with_parts(self, parts: Iterable[Part]) -> Spliced:
        """Return other parts of the same real file, with the same `errors`."""
        other = Spliced(self._stream, parts)
        other.errors = self.errors
        return other

    def joined(self, *ranges: range) -> Spliced:
        """Return some ranges of this as one."""
        return self.with_parts(chain.from_iterable(self.cut(part.start, part.stop) for part in ranges))

    def at(self, position: int, n_bytes: int) -> bytes:
        """Return up to `n_bytes` from `position` on; fewer at the end."""
        start = position - self._window_at
        if start < 0 or start + n_bytes > len(self._window):
            self._window, self._window_at, start = self._gathered(position, max(n_bytes, _WINDOW)), position, 0
        return self._window[start : start + n_bytes]

    def cut(self, start: int, stop: int | None = None) -> list[Part]:
        """Return the parts that lie in `start` to `stop` (the end when left out)."""
        stop = self.size if stop is None else min(stop, self.size)
        found: list[Part] = []
        index = bisect_right(self._ends, start)
        while start < stop:
            part = self._parts[index]
            first = start - (self._ends[index] - len(part))
            found.append(part[first : first + stop - start])
            start, index = self._ends[index], index + 1
        return found

    def find(self, pattern: re.Pattern[bytes], start: int = 0, stop: int | None = None) -> Iterator[int]:
        """Yield where a pattern of at most 64 bytes begins, in order."""
        stop = self.size if stop is None else min(stop, self.size)
        # The last 64 bytes of a block belong to the next one, too, where a pattern that begins in them is whole.
        for at in range(start, stop, _AHEAD):
            block = self._gathered(at, min(_AHEAD + 64, stop - at))
            yield from (at + match.start() for match in pattern.finditer(block) if match.start() < _AHEAD)

    def _gathered(self, position: int, n_bytes: int) -> bytes:
        found = []
        for part in self.cut(position, position + n_bytes):
            if isinstance(part, bytes):
                found.append(part)
                continue
            try:
                self._stream.seek(part.start)
                found.append(self._stream.read(len(part)))
            except OSError as error:
                self.errors.append(error)
                break
        return b"".join(found)

    # What soundfile and PyAV call.

    def read(self, n_bytes: int = -1) -> bytes:
        """Return the next bytes."""
        found = self.at(self._position, self.size - self._position if n_bytes < 0 else n_bytes)
        self._position += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; never before the start."""
        self._position = max(0, (0, self._position, self.size)[whence] + offset)
        return self._position

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._position


def add(parts: list[range], part: range) -> None:
    """Add what lies behind the others, joined to the last of them where it touches it."""
    if parts and parts[-1].stop == part.start:
        part = range(parts.pop().start, part.stop)
    parts.append(part)


@dataclass(frozen=True, slots=True)
class Link:
    """One recording of a file; several may follow one another.

    Attributes:
        what: its format, for error texts.
        file: the bytes that the decoder gets.
        av_format: FFmpeg's name of the container, so that nothing is guessed there; empty if FFmpeg does not read it.
        core: whether libsndfile may read it; else PyAV alone.
        n_samples: how many it holds, where that was counted; else what the decoder says.
        slack: samples that may be missing at the end before it counts as cut off.
        lead: samples at the start that are no part of it.
    """

    what: str
    file: Spliced
    av_format: str = ""
    core: bool = True
    n_samples: int = 0
    slack: int = 0
    lead: int = 0


class CutOffError(InputError):
    """Sound that ends too early, or cannot be decoded from somewhere on; what came before that is good."""


def cut_off(name: str, promised: str, arrived: str) -> CutOffError:
    """Return the error for a file that ends before what it promises."""
    return CutOffError(f"{name} is cut off: it promises {promised}, {arrived} arrived. Mend: copy or record it again.")
