"""The whole way of `parallelnet train`: data -> parts -> one network a fold -> checkpoint and metrics.

A run folder holds `options.json` (what was asked for, the data's fingerprint, versions), and for the fixed split or
for each `fold-K`: `logs`, `state` (to resume), `checkpoint`, plots, and `metrics.json`, written last: its existence
means that this part is finished.
"""

import json
import logging
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

from .. import checkpoint, records
from ..checkpoint import ModelFacts
from ..data.dataset import fingerprint, open_data
from ..data.loading import SignalStore
from ..errors import ManifestError, OptionError
from ..evaluation import Metrics, summarise_folds
from ..models.network import ParallelNet, build
from ..models.stored import export, load_matching, save_weights
from ..models.variants import NetworkOptions, network_options
from ..options import PRESETS, Recipe, TrainOptions
from ..report import plots
from ..types import Sample
from .finish import Calibration, calibrate, model_card, report
from .fit import STATE, Part, fit, read_log
from .parts import Parts, class_list, deal_parts, usable
from .watching import in_one_line

log = logging.getLogger(__name__)

METRICS = "metrics.json"
# What the network said of each sample of the test part, by setting: for paired tests and pooled figures.
TEST = "test.json"
OPTIONS = "options.json"

# Options that may change when a stopped run goes on; the data are compared by fingerprint.
NOT_COMPARED = (
    *("versions", "accelerator", "devices", "workers", "threads"),  # of the machine
    *("resume", "data", "out", "init_from", "card_notes", "export"),
)


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a run came to.

    Attributes:
        out: the run folder.
        checkpoints: one for each fold, or the one.
        metrics: for each of them the test metrics by setting (`both`, `speech`, `image`); empty without a test part.
        summary: by setting: mean and standard deviation over the folds; empty without folds.
    """

    out: Path
    checkpoints: tuple[Path, ...]
    metrics: tuple[Mapping[str, Metrics], ...]
    summary: Mapping[str, Any]

    def to_json(self) -> str:
        """Return the report as one JSON object."""
        metrics = [{name: m.to_dict() for name, m in each.items()} for each in self.metrics]
        return json.dumps({**asdict(self), "metrics": metrics}, ensure_ascii=False, default=str)


def train(
    options: TrainOptions,
    recipe: Recipe | None = None,
    *,
    quiet: bool = False,
    store: SignalStore | None = None,
    before_part: Callable[[int], None] | None = None,
) -> TrainReport:
    """Train a variant as `options` say and return where it lies and what it is worth.

    Args:
        options: what to train, on what, where to.
        recipe: how; the preset's own recipe without it.
        quiet: no progress bar.
        store: decoded signals of an earlier run with the same signal settings, to be used again; a new one without it.
        before_part: called with the number of each part that is about to be trained; what it raises stops the run,
            which can go on later with `resume`.

    Raises:
        ManifestError: the data cannot be used.
        OptionError: options contradict each other or the run that is to be resumed, or what it left is damaged.
        CheckpointError: a starting checkpoint, or the state of the run, cannot be used.
        FullDiskError: the disk is full; what is finished is kept.
        ParallelNetError: another process trains there, memory is used up, or a data worker died.
        KeyboardInterrupt: a signal came; the last whole epoch is kept.
    """
    recipe = recipe or PRESETS[options.preset]
    names = ("size", "backbone", "speech_backbone", "image_backbone")
    network = network_options(options.variant, **{name: getattr(options, name) for name in names})
    if options.card_notes and not Path(options.card_notes).is_file():
        raise OptionError(f"--card-notes {options.card_notes} is no file.")
    samples, labels_of = usable(open_data(options.data), options, network)
    parts = deal_parts(samples, options)
    classes = class_list([labels_of[s.id] for s in parts[0].train], options.classes)
    out = Path(options.out)
    if options.threads:
        torch.set_num_threads(options.threads)
    if store is None or store.signals != options.signals:
        store = SignalStore(options.signals)

    first = is_first(options.devices)
    with _claimed(out, options, recipe, fingerprint(samples)) if first else nullcontext():
        for number, part in enumerate(parts):
            folder = out / f"fold-{number}" if options.folds else out
            if (folder / METRICS).is_file():
                if first:
                    shutil.rmtree(folder / STATE, ignore_errors=True)  # a stop may have come between the two
                continue
            if before_part is not None:
                before_part(number)
            train_part(_Task(folder, part, labels_of, classes, network, options, recipe), store, quiet=quiet)
        return _collect(out, options) if first else TrainReport(out, (), (), {})


def is_first(devices: int) -> bool:
    """Return whether this process is the first of those that train together; it alone holds and writes the run folder.

    Lightning starts the others with the same command line and their number in the environment.
    """
    return devices == 1 or getattr(rank_zero_only, "rank", 0) == 0  # one device: the number is another program's


@contextmanager
def _claimed(out: Path, options: TrainOptions, recipe: Recipe, data: str) -> Iterator[None]:
    """Hold the run folder, made where it is missing; for --resume, `options.json` must say what is asked now."""
    with records.full_disk_told(out, "the same line with --resume goes on"), in_one_line():
        out.mkdir(parents=True, exist_ok=True)
        with records.held(out):
            source = out / OPTIONS
            if not records.is_empty(out) and not (options.resume and source.is_file()):
                mend = "--resume goes on with it" if source.is_file() else "name a new folder"
                raise OptionError(f"--out {out} is not empty. Mend: {mend}.")
            asked = {**asdict(options), "recipe": asdict(recipe), "fingerprint": data, "versions": versions()}
            records.begun(source, asked, place=out, free=NOT_COMPARED)
            records.sweep(out)
            yield


def versions() -> dict[str, str]:
    """Return what a run's numbers depend on: programs and processor."""
    names = ("parallelnet", "torch", "torchvision", "lightning", "numpy", "soxr", "pillow")
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        **{name: version(name) for name in names},
    }


@dataclass(frozen=True, slots=True)
class _Task:
    folder: Path
    parts: Parts
    labels_of: Mapping[str, str]
    classes: tuple[str, ...]
    network: NetworkOptions
    options: TrainOptions
    recipe: Recipe

    def part(self, samples: Sequence[Sample]) -> Part:
        for s in samples:
            if self.labels_of[s.id] not in self.classes:
                raise ManifestError(
                    f"Sample {s.id!r} has {self.options.target_column} {self.labels_of[s.id]!r}; the classes are "
                    f"{', '.join(self.classes)}. Mend: name it in --classes, or leave the row out."
                )
        return Part(tuple(samples), tuple(self.classes.index(self.labels_of[s.id]) for s in samples))


def train_part(task: _Task, store: SignalStore, *, quiet: bool) -> None:
    """Train, calibrate, report and export one network into its folder; `metrics.json` last."""
    options = task.options
    train_set, validation, test = (task.part(getattr(task.parts, field.name)) for field in fields(task.parts))
    torch.manual_seed(options.seed)
    network = build(task.network, task.classes, weights=options.weights)
    for source in options.init_from:
        taken = load_matching(network, checkpoint.opened(source, "--init-from").weights)
        log.info("took over %d tensors from %s", taken, source)
    task.folder.mkdir(parents=True, exist_ok=True)
    where = (store, task.recipe, task.folder, options)
    epochs, seconds = fit(network, train_set, validation, *where, quiet=quiet, frozen=options.freeze)
    if not is_first(options.devices):  # one of several devices finishes
        return
    network.to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    calibration, figures = calibrate(network, validation, store)
    found, said, in_sets = report(network, test, store, calibration)
    record: dict[str, Any] = {
        "test": {name: m.to_dict() for name, m in found.items()},
        "conformal": in_sets,
        "epochs": epochs,
        "seconds": seconds,
        "parameters": sum(p.numel() for p in network.parameters()),
        "validation": figures,
    }
    _write_checkpoint(task, network, calibration, record)
    for name, metrics in found.items():
        plots.save_confusion(metrics, task.folder / name)
    plots.save_training_curves(read_log(task.folder), task.folder)
    records.write_json(task.folder / TEST, {"classes": list(task.classes), "settings": said})
    records.write_json(task.folder / METRICS, record)
    shutil.rmtree(task.folder / STATE)  # what was trained is in the checkpoint now


def _write_checkpoint(task: _Task, network: ParallelNet, calibration: Calibration, record: Mapping[str, Any]) -> None:
    folder = task.folder / "checkpoint"
    options = task.options
    name = Path(options.out).resolve().name  # `--out .` has a name, too
    parts = {field.name: getattr(task.parts, field.name) for field in fields(task.parts)}
    facts = ModelFacts(
        name=f"{name}-{task.folder.name}" if options.folds else name,
        variant=options.variant,
        network=task.network.to_dict(),
        classes=task.classes,
        modalities=network.modalities,
        separable=network.separable,
        signals=options.signals,
        temperatures=calibration[0],
        conformal=calibration[1],
        metrics=dict(record),
        data={
            "name": Path(options.data).name,
            "fingerprint": fingerprint(chain(*parts.values())),
            **{name: _counts(task, samples) for name, samples in parts.items()},
        },
        training={
            **{name: getattr(options, name) for name in ("preset", "seed", "weights", "freeze")},
            "started_from": [checkpoint.read(checkpoint.resolve(source)).facts.name for source in options.init_from],
            "recipe": asdict(task.recipe),
        },
        versions=versions(),
    )
    save_weights(network, folder / checkpoint.WEIGHTS)
    if options.export:
        export(network, facts, folder, int8=options.int8)
    notes = Path(options.card_notes).read_text(encoding="utf-8") if options.card_notes else ""
    records.write_text(folder / "README.md", model_card(facts, notes))
    checkpoint.write(folder, facts)


def _counts(task: _Task, samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "samples": len(samples),
        "utterances": len({s.speech for s in samples if s.speech}),
        "pictures": len({s.image_group or s.image for s in samples if s.image}),
        "speakers": len({s.group for s in samples if s.group}),
        "per_class": {name: sum(task.labels_of[s.id] == name for s in samples) for name in task.classes},
    }


def _collect(out: Path, options: TrainOptions) -> TrainReport:
    folders = [out / f"fold-{k}" for k in range(options.folds)] if options.folds else [out]
    finished = [read_finished(folder / METRICS, "test") for folder in folders]
    metrics = tuple({name: Metrics.from_json(json.dumps(m)) for name, m in each["test"].items()} for each in finished)
    summary: dict[str, Any] = {}
    if options.folds:
        summary = {name: summarise_folds([m[name] for m in metrics]) for name in metrics[0]}
        records.write_json(out / "summary.json", summary)
    return TrainReport(out, tuple(folder / "checkpoint" for folder in folders), metrics, summary)


def read_finished(path: Path, *needed: str) -> dict[str, Any]:
    """Return the JSON that a finished part of a run has left in its folder, with the names that are needed of it.

    Raises:
        OptionError: it is missing or damaged; without its folder the part is trained again.
    """
    mend = f"remove the folder {path.parent}, and the same line trains it again."
    return records.read_json(path, needed=needed, mend=mend)
