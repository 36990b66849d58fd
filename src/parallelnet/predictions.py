"""The CSV of many predictions: its columns and rows, and how to go on with one that was cut off."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from .errors import ManifestError, ParallelNetError
from .types import Prediction


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns. Sets are joined by `|`; an error row holds only id, status, reason and checkpoint."""
    return (
        "id",
        "status",
        "reason",
        "emotion",
        *(f"prob_{name}" for name in classes),
        "conformal_set",
        "uncertain",
        "modalities",
        "face",
        "n_windows",
        "warnings",
        "checkpoint",
    )


def row(sample_id: str, outcome: Prediction | Exception, checkpoint: str) -> dict[str, str | int]:
    """Return one sample's row, status `ok` or `error`; columns that do not apply are left out."""
    if isinstance(outcome, Exception):
        # Exceptions that are not ours were not written for users; their kind is needed to make sense of them.
        kind = "" if isinstance(outcome, ParallelNetError) else f"{type(outcome).__name__}: "
        reason = " ".join(f"{kind}{outcome}".split())
        return {"id": sample_id, "status": "error", "reason": reason, "checkpoint": checkpoint}
    return {
        "id": sample_id,
        "status": "ok",
        "emotion": outcome.emotion,
        **{f"prob_{name}": f"{p:.6f}" for name, p in outcome.probs.items()},
        "conformal_set": "|".join(outcome.conformal_set),
        "uncertain": str(outcome.uncertain).lower(),
        "modalities": "|".join(outcome.modalities),
        "face": outcome.face.status if outcome.face else "",
        "n_windows": outcome.n_windows,
        "warnings": "|".join(outcome.warnings),
        "checkpoint": checkpoint,
    }


def check_ids(ids: Sequence[str]) -> None:
    """Refuse ids by which rows could not be told apart.

    Raises:
        ManifestError: an id twice, an empty one, or one of several lines (a row must be a line, so that a half-written
            one can be told).
    """
    repeated = len(ids) - len(set(ids))
    if repeated:
        raise ManifestError(f"{repeated} ids occur more than once; their rows could not be told apart.")
    broken = next((name for name in ids if len(name.splitlines()) != 1), None)
    if broken is not None:
        raise ManifestError(f"The id {broken!r} is empty or holds a line break; allowed: one line of text.")


def finished(path: Path, classes: Sequence[str], checkpoint: str) -> frozenset[str]:
    """Return the ids that have a whole row, after cutting a half-written last row off the file.

    Raises:
        ManifestError: the file is not a CSV of this checkpoint with these classes; it is left as it is.
    """
    foreign = ManifestError(
        f"{path} does not hold predictions of checkpoint {checkpoint} for {', '.join(classes)}, so they cannot be "
        "added to. Mend: another --out."
    )
    header = (",".join(columns(classes)) + "\n").encode()
    with path.open("rb") as stream:
        if not header.startswith(stream.readline()):
            raise foreign
        stream.seek(0)
        whole = sum(len(line) for line in stream if line.endswith(b"\n"))
    ids: set[str] = set()
    # A cut may fall inside a letter; the half row that it belongs to is not looked at.
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as text:
        for found in csv.DictReader(line for line in text if line.endswith("\n")):
            if None in found or found["checkpoint"] != checkpoint:  # too many fields, or too few
                raise foreign
            ids.add(found["id"])
    os.truncate(path, whole)
    return frozenset(ids)
