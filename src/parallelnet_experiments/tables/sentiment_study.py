"""Runs the rows of Table 2 fold by fold: what is finished is kept and read, what is missing is computed.

A row that fails or has no time left does not stop the others: it says why.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from parallelnet import records
from parallelnet.data.dataset import fingerprint
from parallelnet.errors import FullDiskError, ManifestError, ParallelNetError
from parallelnet.options import Recipe, Table2Options
from parallelnet.training.run import read_finished

from . import fold_runs, picture_network, runner, sentiment_rows
from .rows import Row
from .runner import Material
from .sentiment_rows import FoldTask, SentimentRow, Shared
from .statistics import Pooled
from .text_reference import Probs

log = logging.getLogger(__name__)

SAID = "said.json"
"""What a row says of a fold's test part; its existence means that the fold is finished."""
FINISHED = ("ids", "labels", "probs", "facts")
MADE_WITH = "made-with.json"
CONTENT = "content.npz"
NEEDS_IMAGENET = "not run: needs ImageNet weights"


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a row.

    Attributes:
        row: which one.
        folds: of each finished fold its number, and what was chosen, counted and spent.
        pooled: the predictions of all folds; None unless all are finished.
        parts: the predictions of each finished fold.
        reason: why not all are; "" where they are.
    """

    row: SentimentRow
    folds: tuple[tuple[int, Mapping[str, Any]], ...]
    parts: tuple[Pooled, ...]
    pooled: Pooled | None
    reason: str


class Clock:
    """Knows how much of `--max-minutes` is left."""

    def __init__(self, max_minutes: float) -> None:
        """Start it; 0 sets no limit."""
        self.max_minutes = max_minutes
        self._end = time.monotonic() + 60 * max_minutes

    @property
    def left(self) -> float:
        """Minutes; infinite without a limit."""
        return (self._end - time.monotonic()) / 60 if self.max_minutes else float("inf")

    @property
    def reason(self) -> str:
        """Why a fold was not begun."""
        return f"not run: stopped after --max-minutes {self.max_minutes:g}; the same line goes on"


class Study:
    """Computes what is missing of one row after the other."""

    def __init__(
        self, options: Table2Options, recipe: Recipe, material: Material, shared: Shared, clock: Clock, quiet: bool
    ) -> None:
        """Take what all rows have in common."""
        self._options, self._recipe, self._material = options, recipe, material
        self._shared, self._clock, self._quiet = shared, clock, quiet
        self._work = runner.work_folder(options)

    def answer(self, row: SentimentRow) -> Answered:
        """Return what a row says of all folds, as far as it comes."""
        if row.start == "imagenet" and self._options.weights != "imagenet":
            return Answered(row, (), (), None, NEEDS_IMAGENET)
        if row.method is None:
            return self._trained(row)
        self._claim(row)
        reason = ""
        for number in range(self._options.folds):
            folder = self._work / row.key / f"fold-{number}"
            if (folder / SAID).is_file():
                continue
            if self._clock.left <= 0:
                reason = self._clock.reason
                break
            try:
                self._run(row, number, folder)
            except FullDiskError:  # of no row: none could be kept
                raise
            except (ParallelNetError, RuntimeError, MemoryError) as error:  # RuntimeError: torch out of memory
                reason = f"failed: fold {number}: {_one_line(error)}"
                log.warning("%s %s", row.key, reason)
                break
        return self._read(row, reason)

    def check(self, row: SentimentRow) -> None:
        """Read what a row's finished folds have left.

        Raises:
            OptionError: a file of theirs is missing or damaged.
        """
        if row.method is None:
            runner.check_finished(self._work / row.key, self._options.folds)
            return
        for number in range(self._options.folds):
            path = self._work / row.key / f"fold-{number}" / SAID
            if path.is_file():
                read_finished(path, *FINISHED)

    def _claim(self, row: SentimentRow) -> None:
        """Hold a row's folder to the options that only some rows know."""
        said: dict[str, Any] = {"start": row.start}
        if row.start == "imagenet":
            said["fine_tune"] = self._options.fine_tune
        if row.key.startswith("vadicamo"):
            said |= {"confident_part": self._options.confident_part, "unlabelled": fingerprint(self._shared.unlabelled)}
        folder = self._work / row.key
        folder.mkdir(parents=True, exist_ok=True)
        records.begun(folder / MADE_WITH, said, place=folder, other="another --work (--out)")

    def _run(self, row: SentimentRow, number: int, folder: Path) -> None:
        assert row.method is not None
        started = time.monotonic()
        if row.key == "gaspar-content":
            self._look()
        folder.mkdir(parents=True, exist_ok=True)
        parts = self._material.parts[number]
        said = row.method(FoldTask(number, parts, self._options, self._recipe, folder, self._shared))
        record = {
            "ids": [s.id for s in parts.test],
            "labels": sentiment_rows.labels_of(parts.test).tolist(),
            "probs": said.probs.tolist(),
            "facts": {**said.facts, "seconds": round(time.monotonic() - started, 1)},
        }
        records.write_json(folder / SAID, record)
        log.info("%s, fold %d of %d: %.0f s", row.key, number + 1, self._options.folds, time.monotonic() - started)

    def _look(self) -> None:
        """Fill what each picture shows: once for all folds, for the classifier learns nothing here."""
        kept = self._work / CONTENT
        samples = self._material.samples
        if self._shared.content:
            return
        if not kept.is_file():
            probs = picture_network.content_probs(samples, self._shared.store, picture_network.vgg19("imagenet"))
            ids = np.array([s.id for s in samples])
            records.write_whole(kept, lambda f: np.savez_compressed(f, ids=ids, probs=probs.astype(np.float32)))
        with np.load(kept) as found:
            self._shared.content.update(zip(found["ids"].tolist(), found["probs"].astype(np.float64), strict=True))

    def _read(self, row: SentimentRow, reason: str) -> Answered:
        folds, parts = [], []
        for number, part in enumerate(self._material.parts):
            path = self._work / row.key / f"fold-{number}" / SAID
            if not path.is_file():
                continue
            said = read_finished(path, *FINISHED)
            if said["ids"] != [s.id for s in part.test]:
                raise ManifestError(f"{path} was tested on other samples than the table's. Mend: another --work.")
            folds.append((number, said["facts"]))
            probs = np.array(said["probs"], dtype=np.float64)
            parts.append(self._pool(number, said["ids"], said["labels"], probs))
        return _answered(row, folds, parts, self._options.folds, reason)

    def _pool(self, number: int, ids: Sequence[str], labels: Sequence[int], probs: Probs) -> Pooled:
        return Pooled(
            ids=tuple(ids),
            folds=np.full(len(ids), number),
            labels=np.array(labels, dtype=np.int64),
            probs=probs,
            raw=probs,
            groups=tuple(self._material.components[each] for each in ids),
        )

    def _trained(self, row: SentimentRow) -> Answered:
        """Return what a variant says that `runner` trains."""
        variant = Row(row.key, row.title, row.key, row.source, row.printed)
        # 0 would set no limit; a moment lets finished folds be collected and none begin.
        minutes = max(self._clock.left, 1e-9) if self._clock.max_minutes else 0.0
        options = replace(self._options, max_minutes=minutes)
        outcome = runner.run_rows(
            [variant], options, self._recipe, self._material, target_column="sentiment", quiet=self._quiet
        )[0]
        if outcome.reason:
            reason = re.sub(r"^\d+ of \d+ folds\W*", "", outcome.reason)
            if "--max-minutes" in reason:  # the minutes that were left, which nobody asked for
                reason = self._clock.reason
            return Answered(row, (), (), None, _counted(reason, outcome.n_done, self._options.folds))
        runs = fold_runs.read_folds(outcome.folder, self._options.folds)
        network = fold_runs.network_facts(runs[0])
        weights = "ImageNet weights" if self._options.weights == "imagenet" else "random weights"
        name = " and ".join((*network["backbones"].values(), weights))
        facts = [
            {"network": name, "parameters": network["parameters"]}
            | {key: run.record[key] for key in ("epochs", "seconds", "validation")}
            for run in runs
        ]
        pooled = fold_runs.pool(runs, self._material)
        parts = [_only(pooled, number) for number in range(self._options.folds)]
        return _answered(row, list(enumerate(facts)), parts, self._options.folds, "")


def _one_line(error: BaseException) -> str:
    # Folders of one machine are no part of a result; the file's name is.
    text = re.sub(r"/(?:[^/\s'\"]+/)+", "", str(error))
    return " ".join(text.split()) or type(error).__name__


def _counted(reason: str, n_done: int, n_folds: int) -> str:
    return f"{n_done} of {n_folds} folds, {reason.removeprefix('not run: ')}" if n_done else reason


def _only(pooled: Pooled, fold: int) -> Pooled:
    where = np.flatnonzero(pooled.folds == fold)
    return Pooled(
        ids=tuple(pooled.ids[k] for k in where),
        folds=pooled.folds[where],
        labels=pooled.labels[where],
        probs=pooled.probs[where],
        raw=pooled.raw[where],
        groups=tuple(pooled.groups[k] for k in where),
    )


def _answered(
    row: SentimentRow,
    folds: Sequence[tuple[int, Mapping[str, Any]]],
    parts: Sequence[Pooled],
    n_folds: int,
    reason: str,
) -> Answered:
    if len(folds) < n_folds:
        return Answered(row, tuple(folds), tuple(parts), None, _counted(reason, len(folds), n_folds))
    pooled = Pooled(
        ids=tuple(each for part in parts for each in part.ids),
        folds=np.concatenate([part.folds for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        probs=np.concatenate([part.probs for part in parts]),
        raw=np.concatenate([part.raw for part in parts]),
        groups=tuple(each for part in parts for each in part.groups),
    )
    return Answered(row, tuple(folds), tuple(parts), pooled, "")
