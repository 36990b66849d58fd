"""Results as lines of text."""

from typing import Any


def show(name: str, **facts: Any) -> None:
    """Print what the template `NAME.txt.j2` of this package says of some facts."""
    from .numbers import fill  # jinja2 only where something is shown

    print(fill(__package__, f"{name}.txt.j2", **facts), end="")
