"""Our two streams are ours: what C libraries, `warnings` and other packages' logging print does not reach them.

Libtiff, libmpg123 and libsndfile write straight to file descriptors 1 and 2. Turning these away for each file would
need a lock over all threads and lose lines of ours meanwhile; so the command line moves Python's own streams to copies
once, and leaves the descriptors to the libraries. A program that imports us keeps its own.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def only_ours(*, everything: bool = False) -> Iterator[None]:
    """Let nothing but what goes through `sys.stdout` and `sys.stderr` be seen while the context lasts.

    Child processes inherit it: what they print themselves is not seen either.

    Args:
        everything: change nothing, to look for a defect.
    """
    # Who starts Python to look into it wants what it prints there.
    if everything or sys.flags.verbose or sys._xoptions or faulthandler.is_enabled():
        yield
        return
    root, silent, hook = logging.getLogger(), logging.NullHandler(), sys.unraisablehook
    root.addHandler(silent)  # without any handler Python prints other packages' warnings by itself
    sys.unraisablehook = lambda _: None  # "Exception ignored in" a callback: what matters is raised elsewhere
    try:
        with warnings.catch_warnings(), _moved("stdout", 1), _moved("stderr", 2):
            if not sys.warnoptions:  # python -W, PYTHONWARNINGS: somebody wants to see them
                warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(silent)
        sys.unraisablehook = hook


@contextmanager
def _moved(name: str, number: int) -> Iterator[None]:
    # `sys.NAME` writes to a copy of its file descriptor, and the descriptor itself leads nowhere.
    stream = getattr(sys, name)
    try:
        found = stream.fileno()
    except (AttributeError, OSError, ValueError):  # none, closed, or captured by a test
        found = -1
    if found != number:
        yield
        return
    stream.flush()
    ours = os.dup(number)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    at_once = number == 2
    copy = io.TextIOWrapper(
        os.fdopen(ours, "wb", buffering=0 if at_once else -1, closefd=False),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=at_once,
    )
    try:
        os.dup2(nowhere, number)
        setattr(sys, name, copy)
        yield
    finally:
        with suppress(OSError, ValueError):  # the command has flushed it already, and told what could not be written
            copy.close()
        setattr(sys, name, stream)
        os.dup2(ours, number)
        os.close(nowhere)
        os.close(ours)
