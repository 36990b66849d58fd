"""Where the work of a build happens: processes of this machine, or a Ray cluster.

An executor takes a `Job` and its tasks and gives their outcomes as they come, in no order that may be relied on. What
is done knows nothing of where: every task is a pure function of itself and the job, so the bytes are the same anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, Self

from ..errors import unknown
from .local_executor import LocalExecutor
from .ray_executor import RayExecutor
from .tasks import Job


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
