"""Standard error is ours: what C libraries, `warnings` and other packages' logging print there does not reach it.

Libtiff and libmpg123 write straight to file descriptor 2. Turning it away for each file would need a lock over all
threads and lose lines of ours meanwhile; so the command line moves Python's own stream to a copy once, and leaves the
descriptor to the libraries. A program that imports us keeps its own.
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
    """Let nothing but what goes through `sys.stderr` (our notes, progress, errors) be seen while the context lasts.

    Child processes inherit it: what they print to their standard error is not seen either.

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
        with warnings.catch_warnings(), _libraries_silenced():
            if not sys.warnoptions:  # python -W, PYTHONWARNINGS: somebody wants to see them
                warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(silent)
        sys.unraisablehook = hook


@contextmanager
def _libraries_silenced() -> Iterator[None]:
    stream = sys.stderr
    try:
        number = stream.fileno()
    except (AttributeError, OSError, ValueError):  # none, closed, or captured by a test
        number = -1
    if number != 2:
        yield
        return
    stream.flush()
    ours = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        sys.stderr = io.TextIOWrapper(
            os.fdopen(ours, "wb", buffering=0, closefd=False),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=True,
            write_through=True,
        )
        yield
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        sys.stderr = stream
        os.dup2(ours, 2)
        os.close(nowhere)
        os.close(ours)
