"""The CSV of many predictions: a row a sample, and gone on with where it was cut off (`batches`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import batches, records
from .errors import OptionError
from .types import Modalities, Prediction, Sample

if TYPE_CHECKING:
    from .predictor import Predictor


def predict_manifest(
    predictor: Predictor,
    samples: Sequence[Sample],
    out: str | os.PathLike[str],
    *,
    modalities: Modalities = "both",
    resume: bool = False,
    retry_failed: bool = True,
    data: str = "",
    progress: Callable[[int], object] | None = None,
) -> batches.BatchCounts:
    """Write one CSV row a sample, in order, and return how many went well. A bad file is a row with its reason.

    Each row is on disk before the next is made; on a GPU, 64 at once. What was asked (`Predictor.asked`, `modalities`,
    `data`) is kept beside `out` in `OUT.asked.json`.

    Args:
        predictor: from `predictor.load`.
        samples: with unique ids and paths that can be opened as they are.
        out: CSV file to write; its columns: `columns`.
        modalities: `speech` or `image` leaves the other out.
        resume: keep the rows that an earlier run finished in `out`, drop a half-written last one, and do the rest.
        retry_failed: when resuming, try the samples again that failed before; False keeps their rows.
        data: hash of where the samples come from (`data.dataset.digest`); that of their rows when left out.
        progress: called with the number of rows that were finished, those of an earlier run first.

    Raises:
        ManifestError: ids by which rows cannot be told apart, or an `out` that holds something else.
        OptionError: `out` exists and `resume` is off, or it was begun with other options, data or checkpoint.
        ParallelNetError: another process writes there, or `out` cannot be written any more.
    """
    batches.check_ids(samples)
    target = Path(out)
    if target.is_symlink():  # else the file would be written where nobody locks it, and its link replaced
        target = target.resolve()
    if target.exists() and not target.is_file():
        raise OptionError(
            f"--out {out} is {'a folder' if target.is_dir() else 'no regular file'}; allowed: a csv file."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    asked = batches.asked(predictor, samples, data, modalities=modalities)
    with batches.writing(target):
        record = records.beside(target)
        if not target.exists() or not target.stat().st_size:
            record.unlink(missing_ok=True)  # of a file that is gone
        elif not resume:
            raise OptionError(f"{target} exists. Mend: --resume to go on with it, or another --out.")
        elif not record.exists():
            raise OptionError(
                f"{target} has results, but {record.name}, which says what was asked for them, is not beside it (an "
                "older version wrote them, or they were copied alone). Mend: bring that file along, or another --out."
            )
        records.begun(record, asked, place=target)
        table = batches.Table(target, columns(predictor.classes), predictor.name)

        def work(todo: Sequence[Sample]) -> Generator[batches.Row]:
            for outcome in predictor.predict_each(todo, modalities=modalities, singly=True):
                yield _row(outcome)

        return batches.run(table, samples, work, retry_failed=retry_failed, progress=progress)


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns. Sets are joined by `|`; an error row holds only id, status, reason and checkpoint."""
    probs = (f"prob_{name}" for name in classes)
    last = ("conformal_set", "uncertain", "modalities", "face", "n_windows", "warnings", "checkpoint")
    return ("id", "status", "reason", "emotion", *probs, *last)


def _row(outcome: Prediction | Exception) -> batches.Row:
    """Return one sample's row; columns that do not apply are left out."""
    if isinstance(outcome, Exception):
        return batches.failed(outcome)
    return {
        "status": "ok",
        "emotion": outcome.emotion,
        **{f"prob_{name}": f"{p:.6f}" for name, p in outcome.probs.items()},
        "conformal_set": "|".join(outcome.conformal_set),
        "uncertain": str(outcome.uncertain).lower(),
        "modalities": "|".join(outcome.modalities),
        "face": outcome.face.status if outcome.face else "",
        "n_windows": outcome.n_windows,
        "warnings": "|".join(outcome.warnings),
    }
