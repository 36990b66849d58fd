"""What each step of a build costs, and how much memory a process took."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seconds:
    """Time spent.

    Attributes:
        wall_s: by the clock on the wall.
        cpu_s: of processor time, of this process and of its children that have ended.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        """Return the sum of both."""
        return Seconds(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


class StepClock:
    """Seconds of each step alone, though the steps are generators that draw on one another.

    At every moment one name is charged: that of the innermost step that is running.
    """

    def __init__(self, outside: str) -> None:
        """Begin to charge `outside`: whoever consumes the last step."""
        self._spent: dict[str, Seconds] = {}
        self._current = outside
        self._since = _now()

    def _switch(self, name: str) -> str:
        now, before = _now(), self._current
        passed = Seconds(now.wall_s - self._since.wall_s, now.cpu_s - self._since.cpu_s)
        self._spent[before] = self._spent.get(before, Seconds()) + passed
        self._current, self._since = name, now
        return before

    def timed(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; the time that each takes to come is charged to `name`."""
        iterator = iter(items)
        while True:
            before = self._switch(name)
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._switch(before)
            yield item

    def seconds(self) -> Mapping[str, Seconds]:
        """Return what every name was charged until now."""
        self._switch(self._current)
        return dict(self._spent)


def _now() -> Seconds:
    if sys.platform == "win32":  # which has no resource module and tells nothing of children
        return Seconds(time.perf_counter(), time.process_time())
    import resource

    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return Seconds(time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in used))


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held, in bytes; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss, which a process on Linux inherits from the one that started it.
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_name() -> str:
    """Return the name of the processor, or "" where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def n_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
