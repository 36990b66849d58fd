"""What beside the learning happens while Lightning trains: figures of each epoch, signals, errors of the moment."""

from __future__ import annotations

import csv
import io
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from tqdm import tqdm

from .. import records
from ..errors import ParallelNetError, StoppedError

log = logging.getLogger(__name__)

FIGURES = "metrics.csv"


class EpochFigures(Callback):
    """Says each epoch's figures in a line and keeps them as a row; on a terminal a bar shows how far the epoch is.

    The row is written before the epoch's state is: whoever goes on from a state finds the figures of all epochs
    before it.
    """

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        """Take the folder for `metrics.csv`."""
        self._folder = folder
        self._rows: list[Mapping[str, float]] = []
        self._bar: Any = None
        self._has_bar = not quiet and sys.stderr.isatty()
        self._started = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin the bar."""
        self._started = time.monotonic()
        shown = self._has_bar and trainer.is_global_zero
        name = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self._bar = tqdm(
            total=trainer.num_training_batches, desc=name, unit="batch", leave=False, file=sys.stderr, disable=not shown
        )

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: object, **__: object
    ) -> None:
        """Move the bar."""
        self._bar.update()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Say and keep the epoch's figures."""
        self._bar.close()
        # On every device: some figures are gathered from all of them.
        figures = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        if not trainer.is_global_zero:
            return
        self._rows.append({"epoch": trainer.current_epoch, **figures})
        names = dict.fromkeys(name for row in self._rows for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        self._folder.mkdir(parents=True, exist_ok=True)
        records.write_text(self._folder / FIGURES, text.getvalue())
        shown = (f"{name.replace('_', ' ')} {figures[name]:.3f}" for name in _SHOWN if name in figures)
        log.info(
            "epoch %d of %d: %s, %.0f s",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            ", ".join(shown),
            time.monotonic() - self._started,
        )

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leave no bar behind."""
        if self._bar is not None:
            self._bar.close()


_SHOWN = ("train_loss", "validation_loss", "validation_accuracy", "validation_macro_f1")


class LastingEarlyStopping(EarlyStopping):
    """Early stopping that stays stopped: a run that is resumed after it trains no more."""

    stopped = False

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Look whether to stop; states are written after this."""
        super().on_train_epoch_end(trainer, pl_module)
        self.stopped = trainer.should_stop

    def state_dict(self) -> dict[str, Any]:
        """Return what to restore, whether it stopped among it."""
        return {**super().state_dict(), "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore."""
        super().load_state_dict(state_dict)
        self.stopped = state_dict.get("stopped", self.wait_count >= self.patience)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop again where the state that was restored is the one that stopped."""
        trainer.should_stop = trainer.should_stop or self.stopped


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

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take SIGTERM back: Lightning has just taken it."""
        self._restore()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
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
        if threading.current_thread() is not threading.main_thread():
            return
        for number, handler in self._before.items():
            if handler is not None:  # None: not set from Python, and cannot be set again
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
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ParallelNetError(_no_memory(error)) from error
    except RuntimeError as error:
        said = " ".join(str(error).split())
        if "DataLoader worker" in said:
            raise ParallelNetError(
                f"A data worker died: {said.rstrip('.')}. Mend: fewer --workers, or more memory."
            ) from error
        if "can't allocate memory" in said or "not enough memory" in said:
            raise ParallelNetError(_no_memory(error)) from error
        raise


def _no_memory(error: BaseException) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return f"Memory is used up ({said[:200]}). Mend: a smaller --batch-size, fewer --workers, or more memory."


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Print nothing of an OSError in TensorBoard's thread: the training gets it, too."""
    before = threading.excepthook

    def print_others(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, OSError):
            before(args)

    threading.excepthook = print_others
    try:
        yield
    finally:
        threading.excepthook = before
