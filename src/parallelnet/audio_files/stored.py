"""Arrays that may be too long for memory: beyond a bound they lie in a file without a name."""

from __future__ import annotations

import errno
import math
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

IN_MEMORY_BYTES = 16 << 20
"""Longest array that stays in memory: 4 minutes of sound at 16 kHz."""

Array = npt.NDArray[np.float32]


class _File:
    """A temporary file without a name, closed when nobody holds it any more."""

    def __init__(self) -> None:
        import tempfile  # no short recording needs it

        with _no_room():
            self._stream = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the next line
        weakref.finalize(self, self._stream.close)
        self._lock = Lock()  # it has one position

    def write(self, block: Array) -> None:
        with _no_room():
            self._stream.write(np.ascontiguousarray(block).data)

    def flush(self) -> None:
        with _no_room():
            self._stream.flush()

    def fill(self, found: Array, first_byte: int) -> None:
        with self._lock:
            self._stream.seek(first_byte)
            n_bytes = self._stream.readinto(found.data)
        assert n_bytes == found.nbytes, "a temporary file lost bytes"


class Stored:
    """Float32 numbers `[n]`, or rows of them `[n, width]`, in a file that is gone with the process.

    `[a:b]` is a view, as numpy's slices are; `np.asarray` reads it. Any number of threads may.
    """

    def __init__(self, file: _File, width: tuple[int, ...], rows: range) -> None:
        """Take rows of a file whose rows have `width` (() for numbers); `gathered` makes it."""
        self._file = file
        self._width = width
        self._rows = rows

    def __len__(self) -> int:
        """Return how many numbers or rows there are."""
        return len(self._rows)

    def __getitem__(self, part: slice) -> Stored:
        """Return a part, which is not read yet; its step is 1."""
        return Stored(self._file, self._width, self._rows[part])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return what it holds, read anew."""
        found = np.empty((len(self), *self._width), np.float32)
        self._file.fill(found, self._rows.start * found.itemsize * math.prod(self._width))
        return found if dtype is None else found.astype(dtype, copy=False)


Kept = Array | Stored
"""What is sliced, and read by `np.asarray`, in either place."""


def gathered(blocks: Iterable[Array]) -> Kept:
    """Return blocks as one array; a long one lies in a temporary file, so that memory stays flat.

    Args:
        blocks: one or more, float32 `[n]` or `[n, width]`.

    Raises:
        OSError: there is no room for the file (`ENOSPC`). No source is to blame for that.
    """
    kept: list[Array] = []
    n_bytes = 0
    rest = iter(blocks)
    for block in rest:
        kept.append(block)
        n_bytes += block.nbytes
        if n_bytes > IN_MEMORY_BYTES:
            return _written(kept, rest)
    return kept[0] if len(kept) == 1 else np.concatenate(kept)


def pieces(kept: Kept, n_rows: int) -> Iterator[tuple[int, Array]]:
    """Yield where each piece begins, and what it holds: `n_rows` numbers or rows, the last one fewer."""
    return ((at, np.asarray(kept[at : at + n_rows])) for at in range(0, len(kept), n_rows))


def _written(kept: list[Array], rest: Iterator[Array]) -> Stored:
    """Return blocks in a temporary file, first those that were kept; `kept` is empty afterwards."""
    width, n, file = kept[0].shape[1:], 0, _File()
    for blocks in (kept, rest):
        for block in blocks:
            file.write(block)
            n += len(block)
        kept.clear()
    file.flush()
    return Stored(file, width, range(n))


@contextmanager
def _no_room() -> Iterator[None]:
    import tempfile

    try:
        yield
    except OSError as error:  # a full disk, or no folder at all in which tempfile could write
        text = "No room for the temporary file of a long recording"
        raise OSError(errno.ENOSPC, text, tempfile.tempdir or "TMPDIR") from error
