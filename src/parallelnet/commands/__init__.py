"""The work behind each command: options in, one module called, the result printed. Here: what several of them need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .. import options, records
from ..errors import MissingExtraError, OptionError

Console = options.ConsoleOptions
Given = Mapping[str, Any]
"""The parts of a preset that were given, by name."""


def say(console: Console, as_json: str, show: Callable[..., object], *what: object) -> None:
    """Print a result: as JSON, or as `show` does for people."""
    if console.json:
        print(as_json)
    else:
        show(*what)


@contextmanager
def progress(total: int, console: Console) -> Iterator[Callable[[int], object]]:
    """Yield what to call with each number of finished samples; the bar goes to standard error."""
    from tqdm import tqdm

    with tqdm(total=total, disable=console.quiet or not sys.stderr.isatty(), unit="sample") as bar:
        yield bar.update


def held_folder(out: str | None) -> AbstractContextManager[None]:
    """Hold the folder of --out, made where it is missing; before the work, which a wrong one would lose."""
    if out is None:
        return nullcontext()
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"--out {out} is a file; allowed: a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return records.held(folder)


@contextmanager
def extra(feature: str, name: str) -> Iterator[None]:
    """Turn a missing package into the error that names the extra which brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "parallelnet":
            raise
        raise MissingExtraError(feature, name) from None


def recipe(preset: str, given: Given) -> options.Recipe:
    """Return the preset with the parts that were given in place of its own."""
    chosen = options.PRESETS[preset]
    augment = {f.name: given[f.name] for f in fields(options.AugmentOptions) if f.name in given}
    learning = {f.name: given[f.name] for f in fields(options.Recipe) if f.name in given}
    return replace(chosen, **learning, augment=replace(chosen.augment, **augment))
