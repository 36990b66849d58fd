"""Trains the rows of a table on the same samples, folds, budget and seed, and goes on where it was stopped.

Every row is a run of `training.run.train` in a folder of its own below the table's work folder: what a fold has
finished is never trained again. What can be said up front is: missing labels, folds without a class, another table in
the folder. A row that fails does not stop the others; its cell says why.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from parallelnet import records
from parallelnet.data import splits
from parallelnet.data.dataset import fingerprint, open_data
from parallelnet.data.loading import SignalStore
from parallelnet.errors import FullDiskError, ManifestError, OptionError, ParallelNetError
from parallelnet.models.variants import BranchOptions, NetworkOptions, network_options
from parallelnet.options import Recipe, SignalOptions, TablesOptions, TrainOptions
from parallelnet.training.parts import Parts, class_list, deal_parts, usable
from parallelnet.training.run import METRICS, TEST, is_first, read_finished, train
from parallelnet.training.watching import in_one_line
from parallelnet.types import Sample

from .rows import Row
from .starts import identity, starts_of

log = logging.getLogger(__name__)

PLAN = "plan.json"
"""What all rows of a work folder have in common: another table there is refused."""


@dataclass(frozen=True, slots=True)
class Material:
    """The samples that every row learns from and is judged on.

    Attributes:
        name: the data's name, without its place.
        samples: with a label, speech and picture.
        labels: class of each sample id.
        classes: in index order.
        parts: for each fold who learns, who stops and calibrates, and who is reported on.
        components: for each sample id the set that shares speaker or picture, drawn whole by bootstraps.
        fingerprint: of the samples, sha256.
        n_left_out: samples of the data without a label.
    """

    name: str
    samples: tuple[Sample, ...]
    labels: dict[str, str]
    classes: tuple[str, ...]
    parts: tuple[Parts, ...]
    components: dict[str, str]
    fingerprint: str
    n_left_out: int

    def describe(self) -> dict[str, Any]:
        """Return what a result says of its data: name, fingerprint, counts."""
        counts = Counter(self.labels.values())
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "n": len(self.samples),
            "n_left_out": self.n_left_out,
            "n_components": len(set(self.components.values())),
            "counts": {name: counts[name] for name in self.classes},
            "folds": [
                {name: len(getattr(part, name)) for name in ("train", "validation", "test")} for part in self.parts
            ],
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: its run folder, how many folds are finished, and why not all; "" where all are."""

    row: Row
    folder: Path
    n_done: int
    reason: str


class OutOfTimeError(Exception):
    """`--max-minutes` are over: no further fold is begun."""


def prepare(options: TablesOptions, *, target_column: str = "label") -> Material:
    """Open the data, deal the folds and check that every row can be trained and judged on each of them.

    Raises:
        ManifestError: no such data, labels or modality missing, too few groups, a fold or a part without a class.
    """
    both = NetworkOptions(BranchOptions("compact-speech"), BranchOptions("compact-image"))
    every = open_data(options.data)
    asked = _train_options(options, "", "parallelnet", (), target_column, ())
    if not any(getattr(s, target_column) for s in every):
        raise ManifestError(_no_labels(options, target_column, every))
    samples, labels = usable(every, asked, both)
    lacking = [s for s in samples if s.speech is None or s.image is None]
    if lacking:
        raise ManifestError(
            f"{options.data}: {len(lacking)} of {len(samples)} samples have no speech or no picture, the first is "
            f"{lacking[0].id!r}. All rows of a table are judged on the same samples. Mend: leave them out."
        )
    parts = _dealt(samples, asked, options)
    classes = class_list(list(labels.values()), ())
    if len(classes) < 2:
        raise ManifestError(
            f"{options.data} has one class only: {classes[0]!r}. A table needs two at least. See --data."
        )
    for fold, part in enumerate(parts):
        for name in ("test", "train", "validation"):
            _check_classes(options, f"fold {fold}, {name} part", getattr(part, name), labels, classes)
    numbers = splits.components(samples)
    return Material(
        name=Path(options.data.partition(":")[2] or options.data).name,
        samples=samples,
        labels=labels,
        classes=classes,
        parts=parts,
        components={s.id: str(number) for s, number in zip(samples, numbers, strict=True)},
        fingerprint=fingerprint(samples),
        n_left_out=len(every) - len(samples),
    )


def _no_labels(options: TablesOptions, target_column: str, every: Sequence[Sample]) -> str:
    said = f"{options.data} has no sample with a {target_column}"
    if target_column == "label" and any(s.sentiment for s in every):
        return (
            f"{said}, but {sum(bool(s.sentiment) for s in every)} with a sentiment. Mend: parallelnet experiment "
            "table2, which is about sentiments, or data with emotions (build tweets --labels emotion)."
        )
    return f"{said}. Mend: data with one; a manifest holds it in the column {target_column!r}. See --data."


def _dealt(samples: tuple[Sample, ...], asked: TrainOptions, options: TablesOptions) -> tuple[Parts, ...]:
    """Return the parts of each fold; where that cannot be, say it of --folds and the data.

    What `data.splits` says is of one training part and of tenths, which nobody who asks for a table has named.
    """
    given = {s.fold for s in samples}
    try:
        return deal_parts(samples, asked)
    except ManifestError as error:
        if given not in ({None}, set(range(options.folds))):  # the manifest's own folds are others: said well already
            raise
        n_sets = len(set(splits.components(samples).tolist()))
        counts = Counter(getattr(s, asked.target_column) for s in samples)
        rarest = min(counts, key=lambda name: (counts[name], name))
        few = "few, or too unequal," if n_sets < len(samples) else "few"
        raise ManifestError(
            f"{options.data} is too small for --folds {options.folds}: its {len(samples)} samples fall into {n_sets} "
            f"sets that share no speaker and no picture, the rarest class, {rarest!r}, has {counts[rarest]}; too {few} "
            "for every fold to hold each class in its test part and in the validation part that is cut from the rest. "
            "Mend: fewer --folds, or more samples in more sets (see --data)."
        ) from error


def _check_classes(
    options: TablesOptions, where: str, part: Iterable[Sample], labels: dict[str, str], classes: Sequence[str]
) -> None:
    counts = Counter(labels[s.id] for s in part)
    missing = [name for name in classes if not counts[name]]
    if missing:
        total = Counter(labels.values())[missing[0]]
        raise ManifestError(
            f"{options.data}: {where} has no sample of class {missing[0]!r}, of which there are {total} in all. "
            "Mend: more samples of it, fewer --folds, or other folds in the manifest."
        )


def work_folder(options: TablesOptions) -> Path:
    """Return where the training runs lie."""
    return Path(options.work) if options.work else Path(options.out) / "runs"


@contextmanager
def held(options: TablesOptions) -> Iterator[None]:
    """Hold --out and the work folder, made where they are missing, and say errors of the moment in one line.

    Raises:
        FullDiskError: the disk is full; finished folds are kept.
        ParallelNetError: another process writes there, memory is used up, or a data worker died.
    """
    out, work = Path(options.out), work_folder(options)
    if not is_first(options.devices):  # the first process holds them
        yield
        return
    with records.full_disk_told(out, "the same line goes on"), in_one_line(), ExitStack() as stack:
        for folder in dict.fromkeys((out.absolute(), work.absolute())):  # one where they are the same
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(records.held(folder))
        yield


def run_rows(
    rows: Sequence[Row],
    options: TablesOptions,
    recipe: Recipe,
    material: Material | None = None,
    *,
    target_column: str = "label",
    init_from: tuple[str, ...] = (),
    quiet: bool = True,
) -> tuple[Outcome, ...]:
    """Train what is missing of the rows, one after the other, and return what became of each.

    Args:
        rows: which ones.
        options: on what, at which size, for how long.
        recipe: how all of them learn.
        material: what `prepare` gave; made here when left out.
        target_column: `label` or `sentiment`.
        init_from: checkpoints from which each row takes over the branches that it has, too: see `starts_of`.
        quiet: no progress bars.

    Raises:
        ManifestError: the data cannot be used.
        OptionError: the work folder holds runs of other options or data, a finished fold's files are missing or
            damaged, or no row can start from a checkpoint.
        CheckpointError: a starting checkpoint cannot be used.
    """
    material = material or prepare(options, target_column=target_column)
    work = work_folder(options)
    starts = starts_of(rows, init_from, options)
    leads = is_first(options.devices)
    if leads:
        claim(work, options, recipe, material, target_column=target_column, init_from=init_from)
    store = SignalStore(SignalOptions(options.clip_s, options.trim, options.face))
    clock = _Clock(options.max_minutes)
    for row in rows:  # now, not after hours of training
        check_finished(work / row.key, options.folds)
    outcomes = []
    first: dict[tuple[NetworkOptions, Recipe], Row] = {}
    for row in rows:
        folder = work / row.key
        network = network_options(row.variant, size=options.size)
        twin = first.setdefault((network, row.recipe(recipe)), row)
        if twin is not row:  # narrow backbones stand for several of the paper's
            reason = f"not run: at --size {options.size} the same network as {twin.key}"
            outcomes.append(Outcome(row, folder, 0, reason))
            continue
        asked = _train_options(options, str(folder), row.variant, material.classes, target_column, starts[row.key])
        reason = _trained(row, asked, row.recipe(recipe), clock, store, quiet=quiet)
        n_done = sum((folder / f"fold-{k}" / METRICS).is_file() for k in range(options.folds))
        if n_done and reason.startswith("not run"):
            reason = f"{n_done} of {options.folds} folds" + reason.removeprefix("not run")
        outcomes.append(Outcome(row, folder, n_done, reason))
        if leads and not reason:
            _check_same_folds(folder, material)
    if not leads:
        raise SystemExit  # Lightning started this process to train along; what is left the first one does alone
    return tuple(outcomes)


def check_finished(folder: Path, n_folds: int) -> None:
    """Read what the finished folds of a row have left, so that damage is found before anything else is trained.

    Raises:
        OptionError: a file of a finished fold is missing or damaged.
    """
    for number in range(n_folds):
        fold = folder / f"fold-{number}"
        if (fold / METRICS).is_file():
            read_finished(fold / METRICS, "test")
            read_finished(fold / TEST, "settings")


class _Clock:
    """Ends the command between two folds once its minutes are over."""

    def __init__(self, max_minutes: float) -> None:
        self._max_minutes = max_minutes
        self._started = time.monotonic()

    def before_part(self, number: int) -> None:
        """Raise when no further fold may begin."""
        minutes = (time.monotonic() - self._started) / 60
        if self._max_minutes and minutes >= self._max_minutes:
            raise OutOfTimeError(f"not run: stopped after --max-minutes {self._max_minutes:g}")


def _trained(row: Row, asked: TrainOptions, recipe: Recipe, clock: _Clock, store: SignalStore, *, quiet: bool) -> str:
    """Train a row and return "" or why it is not whole."""
    log.info("%s: %s", row.key, asked.out)
    try:
        train(asked, recipe, quiet=quiet, store=store, before_part=clock.before_part)
    except OutOfTimeError as stop:
        return str(stop)
    except FullDiskError:  # of no row: none could be kept
        raise
    except (ParallelNetError, RuntimeError, MemoryError) as error:  # RuntimeError: torch out of memory
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("%s failed: %s", row.key, reason)
        return f"failed: {reason.replace(str(Path(asked.out)), row.key).replace(asked.data, Path(asked.data).name)}"
    return ""


def _train_options(
    options: TablesOptions,
    out: str,
    variant: str,
    classes: tuple[str, ...],
    target_column: str,
    init_from: tuple[str, ...],
) -> TrainOptions:
    return TrainOptions(
        data=options.data,
        out=out,
        variant=variant,
        preset=options.preset,
        target_column=target_column,  # type: ignore[arg-type]  # one of its two values
        classes=classes,
        folds=options.folds,
        seed=options.seed,
        resume=True,
        weights=options.weights,
        size=options.size,
        init_from=init_from,
        clip_s=options.clip_s,
        trim=options.trim,
        face=options.face,
        accelerator=options.accelerator,
        devices=options.devices,
        workers=options.workers,
        threads=options.threads,
        export=False,  # nobody deploys a fold, and its graphs would take longer than a small network's training
    )


def claim(
    work: Path,
    options: TablesOptions,
    recipe: Recipe,
    material: Material,
    *,
    target_column: str,
    init_from: tuple[str, ...],
) -> None:
    """Make the work folder and write down what all its runs have in common; check it where it was there before.

    Raises:
        OptionError: it holds a table of other options or data, or something else.
    """
    plan = work / PLAN
    if not plan.is_file() and not records.is_empty(work):
        raise OptionError(f"{work} is not empty and holds no runs of a table. Mend: name another --work.")
    work.mkdir(parents=True, exist_ok=True)
    asked = {
        **{name: getattr(options, name) for name in SHARED},
        "target_column": target_column,
        "init_from": [identity(source) for source in init_from],
        "fingerprint": material.fingerprint,
        "recipe": asdict(recipe),
    }
    records.begun(plan, asked, place=work, other="another --work (--out)")


SHARED = ("folds", "seed", "size", "weights", "clip_s", "trim", "face")
"""Options that every run of a work folder has in common. Rows may be added, hardware and time limits may change."""


def _check_same_folds(folder: Path, material: Material) -> None:
    """Hold a row to what the table promises: every row is tested on the same samples, fold by fold."""
    for number, part in enumerate(material.parts):
        said = read_finished(folder / f"fold-{number}" / TEST, "settings")
        wanted = [s.id for s in part.test]
        for setting, found in said["settings"].items():
            if found["ids"] != wanted:
                raise ManifestError(
                    f"{folder.name}, fold {number}, {setting}: tested on other samples than the table's. "
                    "Mend: another --work."
                )
