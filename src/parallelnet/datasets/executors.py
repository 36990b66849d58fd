"""Where the work of a build happens: processes of this machine, or a Ray cluster.

An executor takes a `Job` and its tasks and gives their outcomes as they come, in no order that may be relied on. What
is done knows nothing of where: every task is a pure function of itself and the job, so the bytes are the same anywhere.

Not loky: one worker that dies breaks its whole pool, and it cannot say whose task it was, which is tried once more.
"""

import functools
import logging
import multiprocessing
import os
import pickle
import re
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, cast

from ..errors import MissingExtraError, ParallelNetError, brief, refuse

# Read by numerical libraries on their import. One thread a worker: sums in another order would be other bytes.
THREAD_VARIABLES: tuple[str, ...] = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
RAY_RETRIES = 4  # times that Ray does a task again whose worker or node died, before the build stops


def n_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- a job and its tasks, whoever does them ---------------------------------------------------------------------------


class Job(Hashable, Protocol):
    """What is to be done with each task: small, hashable and to be pickled; `open` makes what is costly."""

    def open(self) -> Callable[[Any], Any]:
        """Return the function of one task; called once in each worker process."""

    def called(self, task: Any) -> str:
        """Return how errors name a task, for instance `rows 0 to 255`."""


def _failure(error: Exception) -> Callable[[], Exception]:
    """Return what makes an exception in another process: as it is where a caller can mend it, else with its traceback.

    Not through __init__: MissingExtraError's takes other arguments than its text.
    """
    kind: type[Exception] = type(error) if isinstance(error, ParallelNetError) else RuntimeError
    told = str(error)
    if isinstance(error, OSError):
        return functools.partial(OSError, error.errno, error.strerror or told, error.filename)
    if kind is RuntimeError:
        trace = "".join(traceback.format_exception(error))
        told = f"A task failed in its worker: {type(error).__name__}: {error}\n{trace}"
    return functools.partial(kind.__new__, kind, told)


def _raised(outcome: Any) -> Any:
    """Return the outcome of a task, or raise what it ended in."""
    if isinstance(outcome, functools.partial):
        raise outcome()
    return outcome


@functools.lru_cache(maxsize=1)
def _opened(job: Job) -> Callable[[Any], Any]:
    import threadpoolctl

    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    threadpoolctl.threadpool_limits(1)  # for what was imported already
    return job.open()


def _attempt(job: Job, task: Any) -> Any:
    """Return the outcome of a task, or the failure that it ended in; the next one of the same job finds it open."""
    try:
        return _opened(job)(task)
    except Exception as error:
        return _failure(error)


# --- processes of this machine ----------------------------------------------------------------------------------------


class LocalExecutor(AbstractContextManager[Any]):
    """Processes of this machine, one task at a time in each.

    They are fresh interpreters (spawn): nothing of the caller, no thread and no lock, is copied into them. They stay
    for the next `run` of the same context, and end with the process that started them, whatever ends it.
    """

    def __init__(self, workers: int = 0, address: str | None = None) -> None:
        """Set how many work at the same time; 0 takes one for each CPU core. There is no address."""
        self.n_workers = workers or n_cores()
        self._idle: list[_Worker] = []

    def __exit__(self, *_: object) -> None:
        """Let the processes end by themselves: they have nothing to do any more."""
        for worker in self._idle:
            worker.connection.close()
        while self._idle:
            self._idle.pop().process.join()

    def run(self, job: Job, tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the outcome of every task, as they are finished.

        Raises:
            ParallelNetError: what a task raised, or two worker processes died at one task.
            OSError: what a task raised.
            RuntimeError: a defect in a task, with its traceback.
        """
        waiting = iter(tasks)
        busy: dict[Connection, _Worker] = {}

        def give(worker: _Worker, task: Any, tries: int = 1) -> None:
            worker.task, worker.tries = task, tries
            busy[worker.connection] = worker
            with suppress(BrokenPipeError, ConnectionResetError):  # it is dead already, as waiting for it will show
                worker.connection.send((job, task))

        try:
            for task in islice(waiting, self.n_workers):
                give(self._idle.pop() if self._idle else _Worker(), task)
            while busy:
                # A process that dies closes its end, so waiting for the connections misses no death.
                for ready in cast(list[Connection], wait(list(busy))):
                    worker = busy.pop(ready)
                    try:
                        outcome = ready.recv()
                    except (EOFError, ConnectionResetError):
                        worker.blame(job.called(worker.task))
                        give(_Worker(), worker.task, worker.tries + 1)
                        continue
                    self._idle.append(worker)
                    _raised(outcome)
                    for task in islice(waiting, 1):
                        give(self._idle.pop(), task)
                    yield outcome
        finally:
            for worker in busy.values():  # in the middle of their tasks
                worker.process.terminate()
                worker.process.join(5)
                worker.process.kill()  # nothing where it has ended
                worker.process.join()
                worker.connection.close()


class _Worker:
    """One process of the local executor, seen from outside, and the task that it has for the `tries`-th time."""

    def __init__(self) -> None:
        self.task, self.tries = None, 0
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # Not a daemon: those may have no children, and speaking takes one an utterance.
        self.process = context.Process(target=_serve, args=(theirs,), name="parallelnet-worker")
        self.process.start()
        theirs.close()  # or its end would stay open here when the process dies

    def blame(self, task: str) -> None:
        """Say how it died. Its task is tried once more, since memory may have been short for a moment.

        Raises:
            ParallelNetError: the task has ended two workers.
        """
        self.process.join()
        code = self.process.exitcode or 0
        name = next((each.name for each in signal.Signals if each == -code), f"{-code}")
        death = f"was ended by signal {name}" if code < 0 else f"ended with status {code}"
        death += " (out of memory, most often)" if name == "SIGKILL" else ""
        told = f"A worker process {death} in the middle of its task, {task}"
        mend = (
            "What was finished is kept. Mend: start the same command line again, with fewer --workers if memory is "
            "short. If it always ends there, one of these rows does it: take its picture away."
        )
        refuse(ParallelNetError, [(self.tries > 1, f"{told}, twice. {mend}")])
        logging.getLogger(__name__).warning("%s; that is tried once more.", told)


def _serve(connection: Connection) -> None:
    """Be a worker process: take tasks until nobody gives any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator ends us in order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionResetError, BrokenPipeError):
        while True:
            outcome = _attempt(*connection.recv())
            try:
                connection.send(outcome)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                connection.send(_failure(error))


def _end_with_parent() -> None:
    cast(Any, multiprocessing.parent_process()).join()
    os._exit(1)  # nobody is left to write for


# --- a Ray cluster, which is nobody's but the user's: nothing here calls out ------------------------------------------


class RayExecutor(AbstractContextManager[Any]):
    """A Ray cluster: one that runs, or one of this machine's processes that is started and stopped with us.

    Every node must see the input, the output and the teachers under the same paths, and have the same packages. The
    tasks of a node that dies are done again on another.
    """

    def __init__(self, workers: int = 0, address: str | None = None) -> None:
        """Set how many tasks to do at the same time (0: one for each CPU core of the cluster), and which cluster.

        That is the address of its head node, `HOST:PORT` or `auto`; None starts a cluster of this machine alone.

        Raises:
            MissingExtraError: Ray is not installed.
            ParallelNetError: no cluster can be joined there.
        """
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read on import and by what it starts: nothing of ours calls out
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the coming default; else it warns
        if address is None:  # all on the loopback address, without asking a name server abroad which is ours
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        try:
            import ray
        except ImportError:
            raise MissingExtraError("--executor ray", "ray") from None
        self._ray: Any = ray
        alone = {"num_cpus": workers or n_cores(), "include_dashboard": False, "address": "local"}
        started: dict[str, Any] = alone if address is None else {"address": address}
        try:
            host, colon, port = (address or "").rpartition(":")
            if colon and port.isdecimal() and "//" not in host:
                # Where nobody answers, Ray itself would go on asking for ten minutes and more.
                socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            with _without_usage_process(ray):
                self._ray.init(log_to_driver=False, logging_level="ERROR", **started)
        except (OSError, RuntimeError, ValueError) as error:
            raise ParallelNetError(
                f"No Ray cluster can be joined at --ray-address {address}: {_plain(error)} Mend: HOST:PORT as `ray "
                "start --head` prints it, or leave it out."
            ) from None
        self.n_workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(self, job: Job, tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the outcome of every task, and raise, as `LocalExecutor.run` does."""
        ray = self._ray
        # Bytes are the same whoever does it, so a task that was lost with its node may be done again.
        remote = ray.remote(num_cpus=1, max_retries=RAY_RETRIES)(_attempt)
        started = (remote.remote(job, task) for task in tasks)
        pending = list(islice(started, self.n_workers))
        try:
            while pending:
                (ready,), pending = ray.wait(pending, num_returns=1)
                try:
                    outcome = _raised(ray.get(ready))
                except ray.exceptions.RayError as error:
                    raise ParallelNetError(
                        f"The Ray cluster could not do a task ({type(error).__name__}: {_plain(error)}). It is tried "
                        f"again {RAY_RETRIES} times where a worker or node died. What was finished is kept. Mend: see "
                        "that every node has the same packages and the same paths, and start the same line again."
                    ) from None
                pending += islice(started, 1)
                yield outcome
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


@contextmanager
def _without_usage_process(ray: Any) -> Iterator[None]:
    """Have a cluster that starts meanwhile start no API server.

    Without a dashboard its one module is the report of usage. That is switched off, but Ray 2.60 asks the metadata
    services of three clouds whose machine this is before it looks at the switch (seen by strace). Ray goes on without
    the server, as it does where the server cannot be started.
    """
    services = ray._private.services
    original = services.start_api_server
    services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        services.start_api_server = original


def _plain(error: Exception) -> str:
    """Return the gist of Ray's errors, which are pages long and in colour, on one line."""
    return brief(re.sub(r"\x1b\[[0-9;]*m", "", str(error)), 400)


Executor = LocalExecutor | RayExecutor

# By the name of `--executor`; each is made with `(workers, address)`.
EXECUTORS: dict[str, type[LocalExecutor] | type[RayExecutor]] = {"local": LocalExecutor, "ray": RayExecutor}
