"""What the option dataclasses check their values with."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from dataclasses import fields
from typing import Any

from ..errors import OptionError


def require(condition: bool, flag: str, value: object, allowed: str) -> None:
    """Raise `OptionError`, naming the flag, unless the condition holds."""
    if not condition:
        raise OptionError(f"{flag} is {value!r}; allowed: {allowed}.")


MOST_AT_ONCE = max(64, os.cpu_count() or 1)
"""Threads or processes. More gain nothing, and a thousand take the machine from everybody on it: where no further
thread can be made, ONNX Runtime waits for ever."""


def at_once(flag: str, value: int) -> None:
    """Raise unless the value is a number of threads or processes, or 0 for the engine's own choice."""
    require(0 <= value <= MOST_AT_ONCE, flag, value, f"0 to {MOST_AT_ONCE}")


def fraction(flag: str, value: float) -> None:
    """Raise unless the value is 0 or more and below 1."""
    require(0 <= value < 1, flag, value, "0 up to, not including, 1")


def positive(flag: str, value: float | None) -> None:
    """Raise unless the value is None, or finite and above 0."""
    if value is not None:
        require(math.isfinite(value) and value > 0, flag, value, "a number above 0")


def companions(options: Any, given: Collection[str]) -> None:
    """Raise where a flag was given that says nothing without another one, and that one is not there.

    Args:
        options: an option dataclass; a field's metadata `with` names the flags of which it needs one.
        given: names of the fields that the user gave, on the command line or in a --config file. Their values do not
            tell: a user may well give the default.
    """
    for field in fields(options):
        needed = field.metadata.get("with", ())
        idle = field.name not in given or getattr(options, field.name) is False  # `--no-listen` asks for nothing
        if needed and not idle and all(getattr(options, name) is None for name in needed):
            flag, others = f"--{field.name.replace('_', '-')}", " or ".join(f"--{name}" for name in needed)
            raise OptionError(f"{flag} goes with {others}, which was not given. Mend: add it, or leave out {flag}.")
