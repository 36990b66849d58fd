"""What beside the learning happens while Lightning trains: figures of each epoch, signals, errors of the moment."""

import logging
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from tqdm import tqdm

from .. import records
from ..errors import ParallelNetError, StoppedError

log = logging.getLogger(__name__)

FIGURES = "metrics.csv"
_SHOWN = ("train_loss", "validation_loss", "validation_accuracy", "validation_macro_f1")


class EpochFigures(Callback):
    """Says each epoch's figures in a line and keeps them as a row; on a terminal a bar shows how far the epoch is.

    The row is written before the epoch's state is: whoever goes on from a state finds the figures of all epochs
    before it.
    """

    def __init__(self, path: Path, *, quiet: bool) -> None:
        """Take the csv to write."""
        self._path, self._has_bar = path, not quiet and sys.stderr.isatty()
        self._rows: list[dict[str, float]] = []
        self._bar, self._started = tqdm(disable=True), 0.0

    def setup(self, trainer: lightning.Trainer, *_: object, **__: object) -> None:
        """Make the csv's folder: how many there are says how often training was begun."""
        if trainer.is_global_zero:
            self._path.parent.mkdir(parents=True)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin the bar."""
        self._started = time.monotonic()
        shown = self._has_bar and trainer.is_global_zero
        name = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self._bar = tqdm(total=trainer.num_training_batches, desc=name, unit="batch", leave=False, disable=not shown)

    def on_train_batch_end(self, *_: object, **__: object) -> None:
        """Move the bar."""
        self._bar.update()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Say and keep the epoch's figures."""
        self._bar.close()
        # On every device: some figures are gathered from all of them.
        figures = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        if not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch
        self._rows.append({"epoch": epoch, **figures})
        names = list(dict.fromkeys(chain(*self._rows)))
        lines = [names, *([str(row.get(name, "")) for name in names] for row in self._rows)]
        records.write_text(self._path, "".join(f"{','.join(line)}\n" for line in lines))
        shown = ", ".join(f"{name.replace('_', ' ')} {figures[name]:.3f}" for name in _SHOWN if name in figures)
        log.info("epoch %d of %d: %s, %.0f s", epoch + 1, trainer.max_epochs, shown, time.monotonic() - self._started)

    def on_exception(self, *_: object) -> None:
        """Leave no bar behind."""
        self._bar.close()


class LastingEarlyStopping(EarlyStopping):
    """Early stopping that stays stopped: a run that is resumed after it trains no more."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop again where the state that was restored is the one that stopped."""
        trainer.should_stop = trainer.should_stop or self.stopped_epoch > 0


class Signals(Callback):
    """Leaves signals to whoever has them, and remembers which one ended the training.

    Lightning's own handler of SIGTERM ends the process with status 0 after the batch, and its handling of Ctrl-C with
    status 1. What a stop leaves on the disk is the last whole epoch's state: a part of an epoch could not be gone on
    with to the same weights.
    """

    def __init__(self) -> None:
        """Remember who has the signals now."""
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._stop: KeyboardInterrupt | None = None

    def on_train_start(self, *_: object) -> None:
        """Take SIGTERM back: Lightning has just taken it."""
        self._restore()

    def on_exception(self, trainer: object, pl_module: object, exception: BaseException) -> None:
        """Remember a stop."""
        if isinstance(exception, KeyboardInterrupt):
            self._stop = exception

    @contextmanager
    def kept(self, trainer: lightning.Trainer) -> Iterator[None]:
        """Raise a stop as it came, and leave the signals' handlers as they were.

        Raises:
            KeyboardInterrupt: a signal came.
        """
        try:
            yield
        except SystemExit:
            if self._stop is not None:
                raise self._stop from None
            if trainer.received_sigterm:  # before training began
                raise StoppedError(signal.SIGTERM) from None
            raise
        finally:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None: not set from Python, and cannot be set again
            if handler is not None and threading.current_thread() is threading.main_thread():
                signal.signal(number, handler)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn what can go wrong at any moment of a training into errors of one line.

    Raises:
        ParallelNetError: memory is used up, a data worker died, or a file that a worker reads cannot be used.
    """
    try:
        yield
    except ParallelNetError as error:
        # A data worker sends its traceback along; our own words are in its last line.
        _, is_worker_s, traceback = str(error).partition("Original Traceback")
        if not is_worker_s:
            raise
        said = traceback.strip().splitlines()[-1]
        raise type(error)(said.partition(": ")[2]) from error
    except (MemoryError, RuntimeError) as error:  # torch's OutOfMemoryError is one, too
        said, kinds = " ".join(str(error).split()) or type(error).__name__, (MemoryError, torch.OutOfMemoryError)
        if "DataLoader worker" in said:
            told = f"A data worker died: {said.rstrip('.')}. Mend: fewer --workers, or more memory."
        elif isinstance(error, kinds) or re.search("(can't allocate|enough) memory", said):
            told = f"Memory is used up ({said[:200]}). Mend: a smaller --batch-size, fewer --workers, or more memory."
        else:
            raise
        raise ParallelNetError(told) from error
