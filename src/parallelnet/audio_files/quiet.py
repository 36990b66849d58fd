"""What C libraries print about a stranger's file, kept off standard error."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


class _Gag:
    """The C library's `stderr`, pointed at nothing while any thread decodes.

    libmpg123, built into libsndfile, prints by `fprintf(stderr, ...)` and takes no option there. glibc and macOS let a
    program set that variable. Python writes to the descriptor itself, so that no line of ours is held back; a
    descriptor that is redirected would swallow what other threads say.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._kept: int | None = None

    def enter(self) -> None:
        with self._lock:
            self._n_inside += 1
            if self._n_inside == 1 and (found := _streams()) is not None:
                variable, nothing = found
                self._kept, variable.value = variable.value, nothing

    def leave(self) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0 and (found := _streams()) is not None:
                found[0].value = self._kept

    def after_fork(self) -> None:
        """Undo in a child what its parent's other threads were about."""
        if self._n_inside and (found := _streams()) is not None:
            found[0].value = self._kept
        self.__init__()  # type: ignore[misc]


@cache
def _streams() -> tuple[Any, int] | None:
    """Return the variable `stderr` and a stream to nowhere; None where the C library does not let us set it."""
    if sys.platform == "darwin":
        name = "__stderrp"
    elif "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}):
        name = "stderr"
    else:  # musl keeps it constant, Windows gives each library its own
        return None
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    nothing = library.fopen(os.devnull.encode(), b"w")
    return (ctypes.c_void_p.in_dll(library, name), nothing) if nothing else None


_GAG = _Gag()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_GAG.after_fork)


@contextmanager
def quiet() -> Iterator[None]:
    """Let C code of this process print nothing meanwhile; nested and from several threads alike."""
    _GAG.enter()
    try:
        yield
    finally:
        _GAG.leave()
