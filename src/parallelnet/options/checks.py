"""What the option dataclasses check their values with."""

from __future__ import annotations

import math

from ..errors import OptionError


def require(condition: bool, flag: str, value: object, allowed: str) -> None:
    """Raise `OptionError`, naming the flag, unless the condition holds."""
    if not condition:
        raise OptionError(f"{flag} is {value!r}; allowed: {allowed}.")


def fraction(flag: str, value: float) -> None:
    """Raise unless the value is 0 or more and below 1."""
    require(0 <= value < 1, flag, value, "0 up to, not including, 1")


def positive(flag: str, value: float | None) -> None:
    """Raise unless the value is None, or finite and above 0."""
    if value is not None:
        require(math.isfinite(value) and value > 0, flag, value, "a number above 0")
