"""What every option dataclass is built on: values within what their annotations allow, and who gave them."""

import math
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import Field, fields
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple, get_args, get_origin, get_type_hints

from ..errors import OptionError, refuse

# Threads or processes. More gain nothing, and a thousand take the machine from everybody on it: where no further
# thread can be made, ONNX Runtime waits for ever.
MOST_AT_ONCE = max(64, os.cpu_count() or 1)


class Allowed(NamedTuple):
    """Which values an option may have, in words and as a test; stands in its annotation: `Annotated[int, FROM_0]`."""

    told: str
    holds: Callable[[Any], bool]


ABOVE_0 = Allowed("a number above 0", lambda value: math.isfinite(value) and value > 0)
FROM_0 = Allowed("0 or more", lambda value: value >= 0)
FROM_1 = Allowed("1 or more", lambda value: value >= 1)
FROM_2 = Allowed("2 or more", lambda value: value >= 2)
BELOW_1 = Allowed("0 up to, not including, 1", lambda value: 0 <= value < 1)
FOLDS = Allowed("0, or 2 and more", lambda value: value == 0 or value >= 2)
TO_A_THIRD = Allowed("above 0 and at most 1/3", lambda value: 0 < value <= 1 / 3)


def between(low: float, high: float, unit: str = "") -> Allowed:
    """Return what allows both ends and all between them."""
    return Allowed(f"{low} to {high}{unit}", lambda value: low <= value <= high)


AT_ONCE = between(0, MOST_AT_ONCE)  # a number of threads or processes, or 0 for the engine's own choice


Against = Iterable[tuple[object, str]]


class Checked:
    """Base of all option dataclasses: values within what their annotations allow, and nothing of `_against`.

    Attributes:
        COMMON: names of the fields that a command's `--help` shows, of all its dataclasses; all where it is empty.
        FLAGS: errors call a field by its flag, not by its name.
    """

    __slots__ = ()
    COMMON: ClassVar[str] = ""
    FLAGS: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, flag, allowed in _rules(type(self)):  # type: ignore[arg-type]  # mypy takes the instances' hash for the class's
            value = getattr(self, name)
            if not (value is None or allowed.holds(value)):
                raise OptionError(f"{flag} is {value!r}; allowed: {allowed.told}.")
        refuse(OptionError, self._against())

    def _against(self) -> Against:
        """Return what must not be, as where values contradict each other, and the error for it; the first is told."""
        return ()

    @classmethod
    def summary(cls) -> str:
        """Return the first paragraph of the docstring: what the command does."""
        return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


def typed(field: Field[Any]) -> str:
    """Return what the user types for a field: a flag, or its name in capitals where it is positional."""
    return field.name.upper() if field.metadata.get("positional") else "--" + field.name.replace("_", "-")


@cache
def _rules(cls: Any) -> list[tuple[str, str, Allowed]]:
    """Return (field, flag, what is allowed) for every bound and every closed choice of a dataclass."""
    hints, rules = get_type_hints(cls, include_extras=True), []
    for field in fields(cls):
        found = [mark for mark in getattr(hints[field.name], "__metadata__", ()) if isinstance(mark, Allowed)]
        for part in (hints[field.name], *get_args(hints[field.name])):
            if get_origin(part) is Literal:
                found.append(Allowed(", ".join(map(str, get_args(part))), get_args(part).__contains__))
        rules += [(field.name, typed(field) if cls.FLAGS else field.name, allowed) for allowed in found]
    return rules


def companions(options: Any, given: Collection[str]) -> None:
    """Raise where a flag was given that says nothing without another one, and that one is not there.

    Args:
        options: an option dataclass; a field's metadata `with` names the flags of which it needs one.
        given: names of the fields that the user gave, on the command line or in a --config file. Their values do not
            tell: a user may well give the default.
    """
    names = {field.name: typed(field) for field in fields(options)}
    for field in fields(options):
        needed = field.metadata.get("with", ())
        idle = field.name not in given or getattr(options, field.name) is False  # `--no-listen` asks for nothing
        if needed and not idle and all(getattr(options, name) is None for name in needed):
            flag, others = names[field.name], " or ".join(names[name] for name in needed)
            raise OptionError(f"{flag} goes with {others}, which was not given. Mend: add it, or leave out {flag}.")
