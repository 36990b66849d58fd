"""Resumable states of a training: written whole, the one before kept, looked at before anything goes on from them."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from .. import records
from ..errors import CheckpointError

log = logging.getLogger(__name__)

STATE = "state"
"""Folder of the states in a run's folder; gone when the run is finished."""
LAST, BEST = "last.ckpt", "best.ckpt"
_BEFORE, _NEXT = "before.ckpt", "next.ckpt"
"""The state one epoch older than the last, and the newest while the two others change their names."""


class WholeStates(TorchCheckpointIO):
    """Keeps states so that a stop, a crash or a full disk at any moment leaves a whole one to go on from.

    Lightning's own way copies from the temporary folder over the old file where the two are on different disks.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a state; of the last one, the one before is kept, too."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(checkpoint, content)  # to memory first: torch has words of its own for a full disk
        if target.name != LAST:
            records.write_whole(target, lambda stream: stream.write(content.getbuffer()))
            return
        records.write_whole(target.with_name(_NEXT), lambda stream: stream.write(content.getbuffer()))
        _advance(target.parent)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Return a state: tensors and plain values, nothing that could run."""
        return torch.load(path, map_location="cpu", weights_only=True)


def _advance(folder: Path) -> None:
    last = folder / LAST
    if last.is_file():
        last.replace(folder / _BEFORE)
    (folder / _NEXT).replace(last)


def resumable(folder: Path, *, keep_best: bool) -> Path | None:
    """Return the state to go on from, the newest that is whole; None where training has not finished an epoch yet.

    Args:
        folder: of the states.
        keep_best: the best state is wanted in the end, so it must be whole, too.

    Raises:
        CheckpointError: there are states, and what is needed of them is damaged.
    """
    last, damaged = folder / LAST, ""
    for name in (_NEXT, LAST, _BEFORE):
        path = folder / name
        if not path.is_file():
            continue
        if not is_whole(path):
            damaged = damaged or str(path)
            continue
        if damaged:
            log.warning("%s is damaged; going on from the epoch before it", damaged)
        if name == _NEXT:  # a stop came between the changes of names
            _advance(folder)
        elif name == _BEFORE:
            path.replace(last)
        if keep_best and not is_whole(folder / BEST):
            damaged = str(folder / BEST)
            break
        return last
    if not damaged:
        return None
    raise CheckpointError(
        f"{damaged} is damaged, so this training cannot go on. Mend: remove {folder}, and the same line trains it from "
        "the beginning."
    )


def is_whole(path: Path) -> bool:
    """Return whether a state is there and its bytes are those that were written: torch writes a zip with checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # damage makes zipfile raise a dozen kinds: BadZipFile, EOFError, NotImplementedError, OSError...
        return False
