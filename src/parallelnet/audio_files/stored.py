"""Arrays that may be too long for memory: beyond a bound they lie in a file without a name."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

IN_MEMORY_BYTES = 16 << 20  # longest array that stays in memory: 4 minutes of sound at 16 kHz
Array = npt.NDArray[np.float32]


class Stored:
    """Float32 numbers `[n]`, or rows of them `[n, width]`, in a file that is gone with the process.

    `[a:b]` is a view, as numpy's slices are; `np.asarray` reads it. Any number of threads may.
    """

    def __init__(self, mapped: mmap.mmap, view: Array) -> None:
        """Take a part of a mapped file; `gathered` makes it."""
        self._mapped = mapped
        self._view = view

    def __len__(self) -> int:
        """Return how many numbers or rows there are."""
        return len(self._view)

    def __getitem__(self, part: slice) -> Stored:
        """Return a part, which is not read yet."""
        return Stored(self._mapped, self._view[part])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return what it holds, read anew."""
        found = np.array(self._view, dtype)
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows; pages that were read would count as memory of ours
            self._mapped.madvise(mmap.MADV_DONTNEED)
        return found


Kept = Array | Stored  # what is sliced, and read by `np.asarray`, in either place


def gathered(blocks: Iterable[Array]) -> Kept:
    """Return blocks, float32 `[n]` or `[n, width]`, as one array; a long one lies in a temporary file.

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
            return _written(chain(kept, rest))
    return kept[0] if len(kept) == 1 else np.concatenate(kept)


def pieces(kept: Kept, n_rows: int) -> Iterator[tuple[int, Array]]:
    """Yield where each piece begins, and what it holds: `n_rows` numbers or rows, the last one fewer."""
    return ((at, np.asarray(kept[at : at + n_rows])) for at in range(0, len(kept), n_rows))


def _written(blocks: Iterable[Array]) -> Stored:
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
