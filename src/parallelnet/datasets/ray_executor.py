"""The executor `ray`: tasks on a Ray cluster, which is nobody's but the user's: nothing here calls out."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Self

from ..errors import MissingExtraError, ParallelNetError
from .clock import n_cores
from .tasks import Failure, Job, attempt, one_thread_in_children

RAY_RETRIES = 4
"""Times that Ray does a task again whose worker or node died, before the build stops."""


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
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the coming default; else it warns
        if address is None:  # all on the loopback address, without asking a name server abroad which is ours
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
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
            started: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "address": self._address}
            if self._address is None:
                cores = self._workers or n_cores()
                started |= {"num_cpus": cores, "include_dashboard": False, "address": "local"}
            try:
                _refuse_silence(self._address)
                with one_thread_in_children(), _without_usage_process(ray):
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
        remote = ray.remote(num_cpus=1, max_retries=RAY_RETRIES)(attempt)
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


def _refuse_silence(address: str | None) -> None:
    """Raise `OSError` where nobody answers at HOST:PORT; Ray itself would go on asking for ten minutes and more."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal() and "//" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _plain(error: Exception) -> str:
    """Return the gist of Ray's errors, which are pages long and in colour, on one line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return " ".join(text.split())[:400]
