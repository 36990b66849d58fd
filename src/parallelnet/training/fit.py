"""Train one network on one training part, on Lightning, resumable at each epoch's end.

States to resume from are written whole, the one before is kept, and they are looked at before anything goes on.
"""

import csv
import io
import logging
import time
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from torch.utils.data import DataLoader

from .. import records
from ..data.loading import DrawSampler, SampleDataset, SignalStore, collate
from ..errors import CheckpointError, ManifestError
from ..models.network import Freeze, ParallelNet, freeze
from ..options import Recipe
from ..options.training import LearningOptions
from ..types import Sample
from .learner import Learner, class_weights
from .watching import FIGURES, EpochFigures, LastingEarlyStopping, Signals, in_one_line

log = logging.getLogger(__name__)

STATE = "state"  # Folder of the states in a run's folder; gone when the run is finished
# The newest state, the one an epoch older, and that of the best epoch.
LAST, BEFORE, BEST = "last.ckpt", "before.ckpt", "best.ckpt"


@dataclass(frozen=True, slots=True)
class Part:
    """Samples with their class indices, and the indices of their auxiliary values where something learns them."""

    samples: tuple[Sample, ...]
    labels: tuple[int, ...]
    auxiliary: tuple[tuple[int, ...], ...] = ()


def with_auxiliary(part: Part, columns: Sequence[str]) -> tuple[Part, tuple[int, ...]]:
    """Return the part with the values of manifest columns as indices, -1 where empty, and how many values each has.

    Raises:
        ManifestError: a column has fewer than two values.
    """
    found = []
    for column in columns:
        values = [str(getattr(s, column, "") or s.extra.get(column, "")) for s in part.samples]
        known = sorted(set(values) - {""})
        if len(known) < 2:
            raise ManifestError(
                f"--auxiliary {column}: the training part has {len(known)} value(s) of it; two at least."
            )
        found.append((len(known), [known.index(value) if value else -1 for value in values]))
    rows = tuple(zip(*(indices for _, indices in found), strict=True))
    return replace(part, auxiliary=rows), tuple(n for n, _ in found)


def fit(
    network: ParallelNet,
    train_part: Part,
    validation_part: Part,
    store: SignalStore,
    recipe: Recipe,
    folder: Path,
    options: LearningOptions,
    *,
    quiet: bool = False,
    frozen: Freeze = "none",
) -> tuple[int, float]:
    """Train a network in place and return the epochs trained in all and the seconds of this call.

    Seed and hardware are those of the options. Figures go to `folder/logs`, resumable states to `folder/state`; a state
    found there is where training goes on.

    Raises:
        ParallelNetError: a file cannot be used, states are damaged, memory is used up, a data worker died.
        OSError: the disk is full, for instance; the last whole epoch's state is kept.
        KeyboardInterrupt: a signal came, likewise.
    """
    network.to(memory_format=torch.channels_last)
    freeze(network, frozen)
    weights = class_weights(train_part.labels, len(network.classes)) if recipe.class_weights == "balanced" else None
    train_part, n_values = with_auxiliary(train_part, recipe.auxiliary)
    learner = Learner(network, recipe, weights, options.seed, n_values)
    signals = Signals()
    trainer = _trainer(recipe, folder, options, signals, quiet=quiet)
    state = folder / STATE
    # Only the first of several devices looks, and mends: the others are started once it has.
    last = resumable(state, keep_best=recipe.keep == "best") if trainer.is_global_zero else state / LAST
    known = last if last is not None and last.is_file() else None
    epoch = 0 if known is None else int(torch.load(known, map_location="cpu", weights_only=True)["epoch"]) + 1
    train_loader, validation_loader = (
        _loader(
            SampleDataset(p.samples, p.labels, store, recipe, options.seed, p.auxiliary),
            *(trainer, options.workers, epoch),
            shuffle=p is train_part,
        )
        for p in (train_part, validation_part)
    )
    start = time.monotonic()
    with warnings.catch_warnings(), in_one_line(), signals.kept(trainer):
        # More data workers than these data need, a folder to go on in, Lightning's own trouble with torch 2.15.
        for known_one in ("does not have many workers", "irectory .* exists and is not empty", "LeafSpec.*deprecated"):
            warnings.filterwarnings("ignore", f".*{known_one}")
        trainer.fit(learner, train_loader, validation_loader, ckpt_path=known)
    # From the file even for the last: a run that is resumed after its last epoch trains no more, and only the file
    # holds the averaged weights then.
    chosen = state / (BEST if recipe.keep == "best" else LAST)
    learner.load_state_dict(torch.load(chosen, map_location="cpu", weights_only=True)["state_dict"])
    progress: Any = trainer.fit_loop.epoch_progress.current  # `current_epoch` lags behind after an early stop, resumed
    return int(progress.processed), round(time.monotonic() - start, 1)


def _trainer(
    recipe: Recipe, folder: Path, options: LearningOptions, signals: Signals, *, quiet: bool
) -> lightning.Trainer:
    for name in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)  # what they say below that is about themselves
    state = folder / STATE
    # A folder for each start, so that the figures of the epochs before are kept.
    figures = EpochFigures(folder / "logs" / f"start-{len(_logs(folder))}" / FIGURES, quiet=quiet)
    callbacks: list[Callback] = [signals, figures]
    # Two, for `save_last` of one writes only in epochs that improve: a resumed run would then lose the others. The best
    # first: the last state says which epoch was the best, so that one must be there.
    for name, monitor in ((BEST, "validation_loss"), (LAST, None))[recipe.keep != "best" :]:
        callbacks.append(ModelCheckpoint(state, Path(name).stem, monitor=monitor, enable_version_counter=False))
    if recipe.early_stopping:
        callbacks.append(LastingEarlyStopping("validation_loss", patience=recipe.early_stopping))
    if recipe.ema:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema))
    return lightning.Trainer(
        max_epochs=recipe.epochs,
        accelerator=options.accelerator,
        devices=options.devices,
        logger=False,
        callbacks=callbacks,
        plugins=[WholeStates()],
        deterministic="warn",
        gradient_clip_val=recipe.clip_gradient or None,
        use_distributed_sampler=False,
        enable_progress_bar=False,  # it would go to standard output; EpochFigures has one
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _logs(folder: Path) -> list[Path]:
    return sorted((folder / "logs").glob("start-*"), key=lambda path: int(path.name.partition("-")[2]))


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return one row of figures an epoch from `folder/logs/start-*/metrics.csv`, training and validation together.

    An epoch that a stop cut off and a later start trained again has the later figures.
    """
    rows: dict[str, dict[str, float]] = {}
    # Missing: stopped before its first epoch was over, or nothing was left to train.
    for source in filter(Path.is_file, (start / FIGURES for start in _logs(folder))):
        for line in csv.DictReader(source.read_text(encoding="utf-8").splitlines()):
            rows[line["epoch"]] = {name: float(value) for name, value in line.items() if value}
    return sorted(rows.values(), key=lambda row: row["epoch"])


def _loader(
    dataset: SampleDataset, trainer: lightning.Trainer, workers: int, epoch: int, *, shuffle: bool
) -> DataLoader[Any]:
    recipe = dataset.recipe
    # Lightning sets the epoch, too, but where a run goes on only after data workers were told the first batches.
    places = {"rank": trainer.global_rank, "world_size": trainer.world_size, "epoch": epoch}
    drawn = DrawSampler(len(dataset), recipe.samples_per_epoch, dataset.seed, **places)
    # A last batch of one sample would stop batch norm, whose statistics need two.
    drop_last = shuffle and len(drawn) > recipe.batch_size and len(drawn) % recipe.batch_size == 1
    return DataLoader(
        dataset,
        recipe.batch_size,
        # (place, draw), which our data set takes: for evaluation every sample, on each device
        sampler=drawn if shuffle else [(place, None) for place in range(len(dataset))],
        collate_fn=collate,
        num_workers=workers,
        drop_last=drop_last,
    )


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
        if target.name == LAST and target.is_file():
            target.replace(target.with_name(BEFORE))
        records.write_whole(target, lambda stream: stream.write(content.getbuffer()))

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Return a state: tensors and plain values, nothing that could run."""
        return torch.load(path, map_location="cpu", weights_only=True)


def resumable(folder: Path, *, keep_best: bool) -> Path | None:
    """Return the state to go on from, the newest that is whole; None where training has not finished an epoch yet.

    Args:
        folder: of the states.
        keep_best: the best state is wanted in the end, so it must be whole, too.

    Raises:
        CheckpointError: there are states, and what is needed of them is damaged.
    """
    last, before = folder / LAST, folder / BEFORE
    if before.is_file() and not is_whole(last):
        if last.is_file():
            log.warning("%s is damaged; going on from the epoch before it", last)
        before.replace(last)
    if not last.is_file():
        return None
    for path in (last, folder / BEST)[: 1 + keep_best]:
        if not is_whole(path):
            raise CheckpointError(
                f"{path} is damaged, so this training cannot go on. Mend: remove {folder}, and the same line trains it "
                "from the beginning."
            )
    return last


def is_whole(path: Path) -> bool:
    """Return whether a state is there and its bytes are those that were written: torch writes a zip with checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # damage makes zipfile raise a dozen kinds: BadZipFile, EOFError, NotImplementedError, OSError...
        return False
