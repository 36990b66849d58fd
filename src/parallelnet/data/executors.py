"""Where the work of a build happens: processes of this machine, or a Ray cluster.

An executor takes a `Job` and its tasks and gives their outcomes as they come, in no order that may be relied on. What
is done knows nothing of where: every task is a pure function of itself and the job, so the bytes are the same anywhere.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import re
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, Self

from ..errors import MissingExtraError, ParallelNetError, unknown
from .clock import n_cores

THREAD_VARIABLES: tuple[str, ...] = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by numerical libraries on their import. One thread a worker: sums in another order would be other bytes."""


class Job(Hashable, Protocol):
    """What is to be done with each task: small, hashable and to be pickled; `open` makes what is costly."""

    def open(self) -> Callable[[Any], Any]:
        """Return the function of one task. Called once in each worker process."""
        ...


class Executor(Protocol):
    """A place where tasks are worked on.

    Attributes:
        n_workers: how many at the same time, at most.
    """

    n_workers: int

    def __enter__(self) -> Self:
        """Make the place ready."""
        ...

    def __exit__(self, *_: object) -> None:
        """Stop whatever still works there."""
        ...

    def run(self, job: Job, tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the outcome of every task, as they are finished."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed, in a form that travels between processes.

    Attributes:
        kind: class of the error where it is one that a caller can mend or of the system; None for a defect.
        arguments: of that error.
        trace: its traceback as text.
    """

    kind: type[Exception] | None
    arguments: tuple[Any, ...]
    trace: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Return the failure that an exception is."""
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, ParallelNetError):
            return cls(type(error), (str(error),), trace)
        if isinstance(error, OSError):
            return cls(OSError, (error.errno, error.strerror or str(error), error.filename), trace)
        return cls(None, (f"{type(error).__name__}: {error}",), trace)

    def error(self) -> Exception:
        """Return the exception again, to be raised where the outcomes are awaited."""
        if self.kind is None:
            return RuntimeError(f"A task failed in its worker: {self.arguments[0]}\n{self.trace}")
        if issubclass(self.kind, OSError):
            return OSError(*self.arguments)
        # Not through __init__: MissingExtraError's takes other arguments than its text.
        return self.kind.__new__(self.kind, *self.arguments)


@functools.lru_cache(maxsize=1)
def _opened(job: Job) -> Callable[[Any], Any]:
    """Return the opened job; the next task of the same job in this process finds it open."""
    import threadpoolctl  # type: ignore[import-untyped]

    threadpoolctl.threadpool_limits(1)  # for what was imported before the variables could be set
    return job.open()


def _attempt(job: Job, task: Any) -> Any:
    """Return the outcome of a task, or the `Failure` that it ended in."""
    try:
        return _opened(job)(task)
    except Exception as error:
        return Failure.of(error)


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
            ParallelNetError: what a task raised, or a worker process died.
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
                    outcome = worker.outcome()
                    following = next(waiting, _NONE)
                    if following is _NONE:
                        self._idle.append(crew.pop(ready))
                    else:
                        worker.give(job, following)
                    yield outcome
        finally:
            for worker in crew.values():
                worker.stop()


_NONE = object()


class _Worker:
    """One process of the local executor, seen from outside."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # Not a daemon: those may have no children, and speaking takes one an utterance.
        self._process = context.Process(target=_serve, args=(theirs,), name="parallelnet-worker")
        with _one_thread_in_children():
            self._process.start()
        theirs.close()  # or its end would stay open here when the process dies

    def give(self, job: Job, task: Any) -> None:
        """Hand over a task; if the process is dead already, `outcome` says so."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send((job, task))

    def outcome(self) -> Any:
        try:
            outcome = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise ParallelNetError(_death(self._process.exitcode)) from None
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
    return (
        f"A worker process {how} in the middle of its task. What was finished is kept. Mend: start the same command "
        "line again, with fewer --workers if memory is short."
    )


@contextmanager
def _one_thread_in_children() -> Iterator[None]:
    """Have processes that start meanwhile begin with one thread for each numerical library."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(connection: Connection) -> None:
    """Be a worker process: take tasks until nobody gives any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator ends us in order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job, task = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        outcome = _attempt(job, task)
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


class RayExecutor:
    """A Ray cluster: one that runs, or one of this machine's processes that is started and stopped with us.

    Every node must see the input, the output and the teachers under the same paths, and have the same packages. The
    tasks of a node that dies are done again on another.
    """

    def __init__(self, workers: int = 0, address: str | None = None) -> None:
        """Set which cluster.

        Args:
            workers: tasks at the same time, at most; 0 takes one for each CPU core of the cluster.
            address: of the head node, `HOST:PORT` or `auto`; None starts a cluster of this machine alone.

        Raises:
            MissingExtraError: Ray is not installed.
        """
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read on import and by what it starts: nothing of ours calls out
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise MissingExtraError("--executor ray", "ray") from None
        self._ray, self._workers, self._address = ray, workers, address
        self._ours = False
        self.n_workers = workers

    def __enter__(self) -> Self:
        """Join or start the cluster."""
        ray = self._ray
        if not ray.is_initialized():
            started: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
            if self._address is None:
                cores = LocalExecutor(self._workers).n_workers
                started |= {"num_cpus": cores, "include_dashboard": False, "address": "local"}
            else:
                started["address"] = self._address
            try:
                _refuse_silence(self._address)
                with _one_thread_in_children():
                    ray.init(**started)
            except (OSError, RuntimeError, ValueError) as error:
                raise ParallelNetError(
                    f"No Ray cluster can be joined at --ray-address {self._address}: {_plain(error)} Mend: HOST:PORT "
                    "as `ray start --head` prints it, or leave it out."
                ) from None
            self._ours = True
        self.n_workers = self._workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster; one that we started stops."""
        if self._ours:
            self._ray.shutdown()

    def run(self, job: Job, tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the outcome of every task, as they are finished.

        Raises:
            ParallelNetError: what a task raised, or its workers died again and again.
            OSError: what a task raised.
            RuntimeError: a defect in a task, with its traceback.
        """
        ray = self._ray
        # Bytes are the same whoever does it, so a task that was lost with its node may be done again.
        remote = ray.remote(num_cpus=1, max_retries=RAY_RETRIES)(_attempt)
        waiting = iter(tasks)
        pending = {remote.remote(job, task) for task in islice(waiting, self.n_workers)}
        try:
            while pending:
                (ready, *_), _ = ray.wait(list(pending), num_returns=1)
                pending.remove(ready)
                try:
                    outcome = ray.get(ready)
                except ray.exceptions.RayError as error:
                    raise ParallelNetError(
                        f"The Ray cluster could not do a task ({type(error).__name__}: {_plain(error)}). It is tried "
                        f"again {RAY_RETRIES} times where a worker or node died. What was finished is kept. Mend: see "
                        "that every node has the same packages and the same paths, and start the same line again."
                    ) from None
                if isinstance(outcome, Failure):
                    raise outcome.error()
                for task in islice(waiting, 1):
                    pending.add(remote.remote(job, task))
                yield outcome
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


def _refuse_silence(address: str | None) -> None:
    """Raise `OSError` where nobody answers at HOST:PORT; Ray itself would go on asking for ten minutes and more."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal() and "//" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _plain(error: Exception) -> str:
    """Return the gist of Ray's errors, which are pages long and in colour, on one line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return " ".join(text.split())[:400]


RAY_RETRIES = 4
"""Times that Ray does a task again whose worker or node died, before the build stops."""

EXECUTORS: dict[str, type[LocalExecutor] | type[RayExecutor]] = {"local": LocalExecutor, "ray": RayExecutor}
"""Each is made with `(workers, address)` and used as a context manager."""


def open_executor(name: str, workers: int, address: str | None) -> Executor:
    """Return the executor of a name, to be used in a `with` statement.

    Raises:
        OptionError: no such executor.
        MissingExtraError: its packages are not installed.
    """
    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS, "--executor")
    return EXECUTORS[name](workers, address)
