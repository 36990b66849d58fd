"""A job and its tasks, whoever does them: opened once in a process, one thread, failures that can travel."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import ParallelNetError

THREAD_VARIABLES: tuple[str, ...] = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by numerical libraries on their import. One thread a worker: sums in another order would be other bytes."""


class Job(Hashable, Protocol):
    """What is to be done with each task: small, hashable and to be pickled; `open` makes what is costly."""

    def open(self) -> Callable[[Any], Any]:
        """Return the function of one task. Called once in each worker process."""
        ...

    def called(self, task: Any) -> str:
        """Return how errors name a task, for instance `rows 0 to 255`."""
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
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)  # for what was imported before the variables could be set
    return job.open()


def attempt(job: Job, task: Any) -> Any:
    """Return the outcome of a task, or the `Failure` that it ended in."""
    try:
        return _opened(job)(task)
    except Exception as error:
        return Failure.of(error)


@contextmanager
def one_thread_in_children() -> Iterator[None]:
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
