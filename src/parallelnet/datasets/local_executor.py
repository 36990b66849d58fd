"""The executor `local`: processes of this machine."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from ..errors import ParallelNetError
from .clock import n_cores
from .tasks import Failure, Job, attempt, one_thread_in_children

_log = logging.getLogger(__name__)


class LocalExecutor:
    """Processes of this machine, one task at a time in each.

    They are fresh interpreters (spawn): nothing of the caller, no thread and no lock, is copied into them. They stay
    for the next `run` of the same context, and end with the process that started them, whatever ends it.
    """

    def __init__(self, workers: int = 0, address: str | None = None) -> None:
        """Set how many work at the same time.

        Args:
            workers: 0 takes one for each CPU core that this process may use.
            address: not used.
        """
        self.n_workers = workers or n_cores()
        self._idle: list[_Worker] = []

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the processes end."""
        while self._idle:
            self._idle.pop().dismiss()

    def run(self, job: Job, tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the outcome of every task, as they are finished.

        Raises:
            ParallelNetError: what a task raised, or two worker processes died at one task.
            OSError: what a task raised.
            RuntimeError: a defect in a task, with its traceback.
        """
        waiting = iter(tasks)
        crew: dict[Connection, _Worker] = {}
        try:
            for task in islice(waiting, self.n_workers):
                worker = self._idle.pop() if self._idle else _Worker()
                crew[worker.connection] = worker
                worker.give(job, task)
            while crew:
                # A process that dies closes its end, so waiting for the connections misses no death.
                for ready in wait(list(crew)):
                    assert isinstance(ready, Connection)
                    worker = crew[ready]
                    try:
                        outcome = worker.outcome()
                    except _DeadWorkerError as death:
                        again = self._once_more(job, crew.pop(ready), death)
                        crew[again.connection] = again
                        continue
                    following = next(waiting, _NONE)
                    if following is _NONE:
                        self._idle.append(crew.pop(ready))
                    else:
                        worker.give(job, following)
                    yield outcome
        finally:
            for worker in crew.values():
                worker.stop()

    def _once_more(self, job: Job, dead: _Worker, death: _DeadWorkerError) -> _Worker:
        """Give the task of a worker that died to a fresh one: memory may have been short for a moment.

        Raises:
            ParallelNetError: it has ended two workers.
        """
        if dead.tries > 1:
            raise ParallelNetError(
                f"A worker process {death} in the middle of its task, {job.called(dead.task)}, twice. What was "
                "finished is kept. Mend: start the same command line again, with fewer --workers if memory is short. "
                "If it always ends there, one of these rows does it: take its picture away."
            ) from None
        told = "A worker process %s in the middle of its task, %s; that is tried once more."
        _log.warning(told, death, job.called(dead.task))
        worker = _Worker()
        worker.give(job, dead.task, tries=dead.tries + 1)
        return worker


_NONE = object()


class _DeadWorkerError(Exception):
    """A worker process ended in the middle of its task; the text says how."""


class _Worker:
    """One process of the local executor, seen from outside."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # Not a daemon: those may have no children, and speaking takes one an utterance.
        self._process = context.Process(target=_serve, args=(theirs,), name="parallelnet-worker")
        with one_thread_in_children():
            self._process.start()
        theirs.close()  # or its end would stay open here when the process dies

    def give(self, job: Job, task: Any, tries: int = 1) -> None:
        """Hand over a task, for the `tries`-th time; if the process is dead already, `outcome` says so."""
        self.task, self.tries = task, tries
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send((job, task))

    def outcome(self) -> Any:
        try:
            outcome = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise _DeadWorkerError(_death(self._process.exitcode)) from None
        if isinstance(outcome, Failure):
            raise outcome.error()
        return outcome

    def dismiss(self) -> None:
        """Let the process end by itself: it has nothing to do any more."""
        self.connection.close()
        self._process.join()

    def stop(self) -> None:
        """End the process now, in the middle of its task."""
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name if -exitcode in set(signal.Signals) else str(-exitcode)
        how = f"was ended by signal {name}"
        how += " (out of memory, most often)" if name == "SIGKILL" else ""
    else:
        how = f"ended with status {exitcode}"
    return how


def _serve(connection: Connection) -> None:
    """Be a worker process: take tasks until nobody gives any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator ends us in order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job, task = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        outcome = attempt(job, task)
        try:
            connection.send(outcome)
        except (BrokenPipeError, ConnectionResetError):
            return
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            connection.send(Failure.of(error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # nobody is left to write for
