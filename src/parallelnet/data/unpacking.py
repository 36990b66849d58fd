"""Sounds and pictures that stand in a table, as files: everything that takes paths takes them, too."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import ParallelNetError
from ..records import write_whole
from .image_corpora import cache_root


def unpacked(content: bytes) -> Path:
    """Return a file that holds these bytes, below `cache_root()`, written where it is not there yet.

    It is called by the sha256 of its content, so that the same bytes lie there once, and no table can put its bytes in
    the place of another's.

    Raises:
        ParallelNetError: it cannot be written. No row is to blame for that, so it is no `ManifestError`.
    """
    digest = hashlib.sha256(content).hexdigest()
    target = cache_root() / "unpacked" / digest[:2] / digest
    try:
        if not (target.is_file() and target.stat().st_size == len(content)):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, lambda stream: stream.write(content))
    except OSError as error:
        raise ParallelNetError(
            f"{target} cannot be written: {error.strerror}. Mend: make room there, or set XDG_CACHE_HOME to a folder "
            "that has some."
        ) from None
    return target
