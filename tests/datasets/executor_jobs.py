"""Jobs for the tests of executors: in a file of their own, because worker processes import them by name."""

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from parallelnet.errors import CheckpointError, MissingExtraError


def called(_, task):
    """Return how errors name a task."""
    return f"task {task}"


@dataclass(frozen=True)
class Square:
    """Square numbers, and tell of the process: (square, process id, times opened in it, threads)."""

    called = called

    def open(self):
        import numpy as np
        import threadpoolctl

        opened = []

        def work(number):
            opened.append(number)
            np.ones((4, 4)) @ np.ones((4, 4))
            threads = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
            assert threads, "no library to look at"
            return number * number, os.getpid(), len(opened), max(threads)

        return work


@dataclass(frozen=True)
class Fail:
    """Fail in the way that the task names."""

    called = called

    def open(self):
        return self._fail

    def _fail(self, how):
        if how == "caller's":
            raise CheckpointError("weights are cut")
        if how == "missing":
            raise MissingExtraError("Speaking", "tts")
        if how == "disk":
            raise OSError(errno.ENOSPC, "No space left on device", "/x/y")
        if how == "defect":
            raise ZeroDivisionError("by 0")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "unpicklable":
            return lambda: None
        return how


@dataclass(frozen=True)
class FailToOpen:
    """Cannot be opened."""

    called = called

    def open(self):
        raise CheckpointError("no such teacher")


@dataclass(frozen=True)
class KillOnce:
    """Be killed by the first task that comes; a file remembers that it was."""

    mark: str

    called = called

    def open(self):
        return self._work

    def _work(self, task):
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return task


@dataclass(frozen=True)
class Linger:
    """Write a file that says who works on the task, then take long."""

    folder: str
    seconds: float

    called = called

    def open(self):
        return self._linger

    def _linger(self, task):
        partial = Path(self.folder) / f"{task}.{os.getpid()}.partial"
        partial.write_text(str(os.getpid()))
        partial.rename(Path(self.folder) / f"{task}.{os.getpid()}")
        time.sleep(self.seconds)
        return task


@dataclass(frozen=True)
class Where:
    """Tell the Ray node that a task ran on, after a while."""

    seconds: float

    called = called

    def open(self):
        import ray

        def work(task):
            time.sleep(self.seconds)
            return task, ray.get_runtime_context().get_node_id()

        return work
