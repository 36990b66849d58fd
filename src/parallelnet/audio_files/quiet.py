"""What C libraries print about a stranger's file, kept off standard output and error."""

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
    """The C library's `stdout` and `stderr`, pointed at nothing while any thread decodes.

    libmpg123, built into libsndfile, complains by `fprintf(stderr, ...)`, libsndfile's reader of SDS by `printf`, and
    neither takes an option. glibc and macOS let a program set those variables. Python writes to the descriptors
    itself, so that no line of ours is held back; redirected descriptors would swallow what other threads say.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._kept: list[int | None] = []

    def enter(self) -> None:
        with self._lock:
            self._n_inside += 1
            if self._n_inside == 1:
                variables, nothing = _streams()
                self._kept = [variable.value for variable in variables]
                for variable in variables:
                    variable.value = nothing

    def leave(self) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._restore()

    def after_fork(self) -> None:
        """Undo in a child what its parent's threads were about, none of which it has."""
        if self._n_inside:
            self._restore()
        self._lock, self._n_inside = threading.Lock(), 0

    def _restore(self) -> None:
        for variable, kept in zip(_streams()[0], self._kept, strict=True):
            variable.value = kept


@cache
def _streams() -> tuple[list[Any], int | None]:
    """Return the variables `stdout` and `stderr`, and a stream to nowhere.

    No variables where the C library does not let us set them: musl keeps them constant, Windows gives each library
    its own.
    """
    if sys.platform == "darwin":
        names = ["__stdoutp", "__stderrp"]
    elif "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}):
        names = ["stdout", "stderr"]
    else:
        return [], None
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    nothing: int | None = library.fopen(os.devnull.encode(), b"w")
    return [ctypes.c_void_p.in_dll(library, name) for name in names] if nothing else [], nothing


_GAG = _Gag()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_GAG.after_fork)


@contextmanager
def quiet() -> Iterator[None]:
    """Let C code of this process print nothing meanwhile; nested, and from several threads."""
    _GAG.enter()
    try:
        yield
    finally:
        _GAG.leave()
