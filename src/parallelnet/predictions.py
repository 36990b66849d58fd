"""The CSV of many predictions: written row by row, and gone on with where it was cut off."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ManifestError, OptionError, ParallelNetError
from .types import Modalities, Prediction, Sample

if TYPE_CHECKING:
    from .predictor import Predictor


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What became of a manifest's rows.

    Attributes:
        n_ok: predicted now.
        n_error: could not be read now; their rows say why.
        n_skipped: finished by an earlier run.
        first_error: id and reason of the first that could not be read now; "" where all went well.
    """

    n_ok: int
    n_error: int
    n_skipped: int
    first_error: str = ""


def predict_manifest(
    predictor: Predictor,
    samples: Sequence[Sample],
    out: str | os.PathLike[str],
    *,
    modalities: Modalities = "both",
    resume: bool = False,
    progress: Callable[[int], object] | None = None,
) -> BatchCounts:
    """Write one CSV row a sample, in order, and return how many went well. A bad file is a row with its reason.

    Rows are on disk after each block of up to 64 samples, so that a killed run loses one block at most.

    Args:
        predictor: from `predictor.load`.
        samples: with unique ids and paths that can be opened as they are.
        out: CSV file to write; its columns: `columns`.
        modalities: `speech` or `image` leaves the other out.
        resume: keep the rows (ok or error) that an earlier run finished in `out`, drop a half-written last one, and
            go on behind them.
        progress: called with the number of rows that were finished, those of an earlier run first.

    Raises:
        ManifestError: ids by which rows cannot be told apart, or an `out` that holds something else.
        OptionError: `out` exists and `resume` is off: nothing that was finished is lost.
    """
    check_ids([sample.id for sample in samples])
    target = Path(out)
    done: frozenset[str] = frozenset()
    if target.exists():
        if not resume:
            raise OptionError(f"{target} exists. Mend: --resume to go on with it, or another --out.")
        done = finished(target, columns(predictor.classes), predictor.name)
    todo = [sample for sample in samples if sample.id not in done]
    n_skipped, n_error, first_error = len(samples) - len(todo), 0, ""
    if progress is not None and n_skipped:
        progress(n_skipped)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("a", newline="", encoding="utf-8") as stream:
        rows = csv.DictWriter(stream, columns(predictor.classes), lineterminator="\n")
        if not target.stat().st_size:
            rows.writeheader()
        outcomes = predictor.predict_each(todo, modalities=modalities)
        for sample, outcome in zip(todo, outcomes, strict=True):
            rows.writerow(row(sample.id, outcome, predictor.name))
            stream.flush()  # a block's rows come at once, after its pass through the network: this costs nothing
            if isinstance(outcome, Exception):
                n_error += 1
                first_error = first_error or f"{sample.id}: {reason(outcome)}"
            if progress is not None:
                progress(1)
    return BatchCounts(n_ok=len(todo) - n_error, n_error=n_error, n_skipped=n_skipped, first_error=first_error)


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
        return {"id": sample_id, "status": "error", "reason": reason(outcome), "checkpoint": checkpoint}
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


def finished(path: Path, header: Sequence[str], checkpoint: str) -> frozenset[str]:
    """Return the ids that have a whole row, after cutting a half-written last row off the file.

    Args:
        path: CSV whose rows have an `id` and a `checkpoint`.
        header: its columns.
        checkpoint: that made every row.

    Raises:
        ManifestError: the file is not a CSV with these columns, of this checkpoint; it is left as it is.
    """
    foreign = ManifestError(
        f"{path} does not hold results of checkpoint {checkpoint} with the columns {', '.join(header)}, so they cannot "
        "be added to. Mend: another --out."
    )
    first = (",".join(header) + "\n").encode()
    with path.open("rb") as stream:
        if not first.startswith(stream.readline()):
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


def reason(error: Exception) -> str:
    """Return why a sample failed, in one line."""
    # Exceptions that are not ours were not written for users; their kind is needed to make sense of them.
    kind = "" if isinstance(error, ParallelNetError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())
