"""Rows x folds: computes what is missing, and goes on where it was stopped; then reads what finished folds have left.

Every row has a folder below the table's work folder, every fold one in it: what is finished is never computed again. A
row is a network that `training.run.train` trains, or a method that answers for one fold after the other. One that fails
or has no time left does not stop the others: its outcome says why.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from parallelnet import checkpoint, records
from parallelnet.calibration import Floats
from parallelnet.checkpoint import ModelFacts
from parallelnet.data.loading import SignalStore
from parallelnet.errors import FullDiskError, ManifestError, OptionError, ParallelNetError
from parallelnet.evaluation import evaluate
from parallelnet.models.variants import NetworkOptions, network_options
from parallelnet.options import Recipe, SignalOptions, TablesOptions
from parallelnet.training.parts import Parts
from parallelnet.training.run import METRICS, TEST, is_first, read_finished, train
from parallelnet.training.watching import in_one_line

from ..material import held as hold
from .prepared import Material, Row, identity, starts_of, train_options
from .statistics import Pooled

log = logging.getLogger(__name__)

# What all rows of a work folder, or all folds of a method's folder, have in common: others there are refused.
PLAN = "plan.json"
BeforeFold = Callable[[int], None]

# Options that every run of a work folder has in common. Rows may be added, hardware and time limits may change.
SHARED = ("folds", "seed", "size", "weights", "clip_s", "trim", "face")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: its run folder, how many folds are finished, and why not all; "" where all are."""

    row: Row
    folder: Path
    n_done: int
    reason: str


@dataclass(frozen=True, slots=True)
class FoldTask:
    """What a method answers: one fold."""

    row: Row
    number: int
    parts: Parts
    folder: Path  # for logs and resumable states
    study: "Study"
    store: SignalStore


@dataclass(frozen=True, slots=True)
class Study:
    """Rows on the same samples, folds, budget and seed."""

    options: Any
    recipe: Recipe  # how all networks learn
    material: Material
    target_column: str = "label"
    init_from: tuple[str, ...] = ()  # checkpoints that rows take branches from: see `starts_of`
    depends: Mapping[str, Any] = field(default_factory=dict)  # values of what methods name as `Row.depends`
    shared: Any = None  # what methods have in common, computed once
    quiet: bool = True  # no progress bars

    def run(self, rows: Sequence[Row]) -> tuple[Outcome, ...]:
        """Compute what is missing of the rows, one after the other, and return what became of each.

        Raises:
            ManifestError: a finished fold was tested on other samples.
            OptionError: the work folder holds runs of other options or data, a finished fold's files are missing or
                damaged, or no row can start from a checkpoint.
            CheckpointError: a starting checkpoint cannot be used.
        """
        options, work = self.options, work_folder(self.options)
        starts = starts_of(rows, self.init_from, options)
        leads = is_first(options.devices)
        if leads:
            asked = {name: getattr(options, name) for name in SHARED} | {
                "target_column": self.target_column,
                "init_from": [identity(source) for source in self.init_from],
                "fingerprint": self.material.fingerprint,
                "recipe": asdict(self.recipe),
            }
            if not (work / PLAN).is_file() and not records.is_empty(work):
                raise OptionError(f"{work} is not empty and holds no runs of a table. Mend: name another --work.")
            _claim(work, asked)
        for row in rows:  # now, not after hours of training
            read(work / row.key, self.material)
        store = SignalStore(SignalOptions(options.clip_s, options.trim, options.face))
        clock, outcomes = partial(_in_time, options.max_minutes, time.monotonic()), []
        first: dict[tuple[NetworkOptions, Recipe], Row] = {}
        for row in rows:
            folder, reason = work / row.key, self._unfit(row, first)
            n_done = 0
            if not reason:
                if row.method is None:
                    reason = _reason(row, partial(self._train, row, folder, starts.get(row.key, ()), store, clock))
                elif leads:
                    _claim(folder, {"start": row.start, **{name: self.depends[name] for name in row.depends_on}})
                    reason = _reason(row, partial(self._ask, row, folder, store, clock))
                n_done = len(read(folder, self.material))
            if n_done and reason:
                reason = f"{n_done} of {options.folds} folds, {reason.removeprefix('not run: ')}"
            outcomes.append(Outcome(row, folder, n_done, reason))
        if not leads:
            raise SystemExit  # Lightning started this process to train along; what is left the first one does alone
        return tuple(outcomes)

    def _unfit(self, row: Row, first: dict[tuple[NetworkOptions, Recipe], Row]) -> str:
        """Return why a row cannot be run with these options, or ""; `first` remembers which networks were trained."""
        if row.start == "imagenet" and self.options.weights != "imagenet":
            return "not run: needs ImageNet weights"
        if row.method is None:
            network = network_options(row.variant, size=self.options.size)
            twin = first.setdefault((network, row.recipe(self.recipe)), row)
            if twin is not row:  # narrow backbones stand for several of the paper's
                return f"not run: at --size {self.options.size} the same network as {twin.key}"
        return ""

    def _train(self, row: Row, folder: Path, init_from: tuple[str, ...], store: SignalStore, clock: BeforeFold) -> None:
        given: dict[str, Any] = {"classes": self.material.classes, "init_from": init_from, "resume": True}
        # No graphs: nobody deploys a fold, and they would take longer than a small network's training.
        given |= {"out": str(folder), "variant": row.variant, "export": False}
        asked = train_options(self.options, self.target_column, **given)
        train(asked, row.recipe(self.recipe), quiet=self.quiet, store=store, before_part=clock)

    def _ask(self, row: Row, folder: Path, store: SignalStore, clock: BeforeFold) -> None:
        """Ask a method; a fold's `metrics.json` is written last, as that of a trained network."""
        assert row.method is not None
        classes, labels_of = self.material.classes, self.material.labels
        for number, parts in enumerate(self.material.parts):
            fold = folder / f"fold-{number}"
            if (fold / METRICS).is_file():
                continue
            clock(number)
            started = time.monotonic()
            fold.mkdir(exist_ok=True)
            probs, facts = row.method(FoldTask(row, number, parts, fold, self, store))
            labels = [classes.index(labels_of[s.id]) for s in parts.test]
            said = {"ids": [s.id for s in parts.test], "labels": labels, "probs": probs.tolist()}
            records.write_json(fold / TEST, {"classes": list(classes), "settings": {"both": said}})
            spent = {"seconds": round(time.monotonic() - started, 1)}
            test = {"both": evaluate(labels, probs, classes, n_bootstrap=1).to_dict()}
            records.write_json(fold / METRICS, {"test": test, "validation": {}, **spent, "facts": facts | spent})
            log.info("%s, fold %d of %d: %.0f s", row.key, number + 1, self.options.folds, spent["seconds"])


def _in_time(max_minutes: float, started: float, _: int) -> None:
    # `--max-minutes` are over: no further fold is begun.
    if max_minutes and (time.monotonic() - started) / 60 >= max_minutes:
        raise TimeoutError(f"not run: stopped after --max-minutes {max_minutes:g}; the same line goes on")


def _reason(row: Row, finish: Callable[[], None]) -> str:
    """Compute what is missing of a row and return "" or why it is not whole."""
    try:
        finish()
    except TimeoutError as stop:
        return str(stop)
    except FullDiskError:  # of no row: none could be kept
        raise
    except (ParallelNetError, RuntimeError, MemoryError) as error:  # RuntimeError: torch out of memory
        # Folders of one machine are no part of a result; the file's name is.
        reason = " ".join(re.sub(r"(?:[^/\s'\"]*/){2,}", "", str(error)).split()) or type(error).__name__
        log.warning("%s failed: %s", row.key, reason)
        return f"failed: {reason}"
    return ""


def work_folder(options: TablesOptions) -> Path:
    """Return where the runs lie."""
    return Path(options.work) if options.work else Path(options.out) / "runs"


@contextmanager
def held(options: TablesOptions) -> Iterator[None]:
    """Hold --out and the work folder, made where they are missing, and say errors of the moment in one line.

    Raises:
        FullDiskError: the disk is full; finished folds are kept.
        ParallelNetError: another process writes there, memory is used up, or a data worker died.
    """
    if not is_first(options.devices):  # the first process holds them
        yield
        return
    with in_one_line(), hold(Path(options.out), work_folder(options)):
        yield


def _claim(folder: Path, asked: Mapping[str, Any]) -> None:
    """Make a folder of runs and write down what they have in common; an OptionError where it holds others."""
    folder.mkdir(parents=True, exist_ok=True)
    records.begun(folder / PLAN, asked, place=folder, other="another --work (--out)")


@dataclass(frozen=True, slots=True)
class Fold:
    """One finished fold of a row, and what was said of each sample of its test part."""

    number: int
    folder: Path
    setting: str  # `both`, or the only modality of a network that takes one
    record: dict[str, Any]  # `metrics.json`
    said: Pooled

    @property
    def facts(self) -> ModelFacts:
        """What the checkpoint of a trained network says of itself."""
        return checkpoint.read(self.folder / "checkpoint").facts

    @property
    def backbones(self) -> dict[str, str]:
        """By modality the backbone of a trained network."""
        facts = self.facts
        return {name: facts.network[name]["backbone"] for name in facts.modalities}


def read(folder: Path, material: Material, setting: str = "") -> tuple[Fold, ...]:
    """Return the finished folds of a row, in one setting: the named one, or `both`, or the only one there is.

    Raises:
        OptionError: a file of a finished fold is missing or damaged.
        ManifestError: a fold was not tested in this setting, or on other samples than those of every other row.
    """
    found = []
    for number, part in enumerate(material.parts):
        fold = folder / f"fold-{number}"
        if not (fold / METRICS).is_file():
            continue
        record = read_finished(fold / METRICS, "test", "validation")
        settings = read_finished(fold / TEST, "settings")["settings"]
        where = f"{folder.name}, fold {number}"
        for name, each in settings.items():
            if each["ids"] != [s.id for s in part.test]:
                raise ManifestError(f"{where}, {name}: tested on other samples than the table's. Mend: another --work.")
        named = setting or ("both" if "both" in record["test"] else next(iter(record["test"])))
        if named not in record["test"]:
            raise ManifestError(f"{where} was not tested with {named}; there are {', '.join(record['test'])}.")
        said = settings[named]
        pooled = Pooled(
            tuple(said["ids"]),
            np.full(len(said["ids"]), number),
            np.array(said["labels"], dtype=np.int64),
            _probabilities(said["probs"]),
            _probabilities(said.get("raw_probs", said["probs"])),
            tuple(material.components[id_] for id_ in said["ids"]),
        )
        found.append(Fold(number, fold, named, record, pooled))
    return tuple(found)


def _probabilities(rows: list[list[float]]) -> Floats:
    # They were rounded when they were written, so their sum is off by as much.
    values = np.array(rows, dtype=np.float64)
    return np.asarray(values / values.sum(axis=1, keepdims=True))
