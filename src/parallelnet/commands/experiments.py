"""`parallelnet experiment`: planted evidence, and the paper's tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from .. import options
from . import Console, Given, extra, recipe, say


def plant(chosen: options.PlantOptions, console: Console, _: Given) -> None:
    """Make material with planted evidence."""
    from parallelnet_experiments.material import plant

    manifest = plant(chosen)
    say(console, json.dumps({"manifest": str(manifest)}), print, manifest)


def faithfulness(chosen: options.FaithfulnessOptions, console: Console, _: Given) -> None:
    """Ask whether explanations find planted evidence."""
    from parallelnet_experiments.faithfulness import measure

    _show(measure(chosen), console, "table")


def _table(name: str, title: str) -> Callable[[options.TablesOptions, Console, Given], None]:
    """Return the command that trains and compares the rows of a table.

    Args:
        name: of its module and of its files.
        title: what a missing extra is asked for.
    """

    def run(chosen: options.TablesOptions, console: Console, given: Given) -> None:
        with extra(title, "train"):
            module = import_module(f"parallelnet_experiments.tables.{name}")
        _show(module.measure(chosen, recipe(chosen.preset, given), quiet=console.quiet), console, name)

    return run


table1 = _table("table1", "Table 1")
table2 = _table("table2", "Table 2")
modalities = _table("modalities", "The comparison of modalities")


def _show(result: Path, console: Console, table: str) -> None:
    text = (result.parent / f"{table}.md").read_text(encoding="utf-8")
    say(console, result.read_text(encoding="utf-8").rstrip("\n"), print, f"{text}\n{result}")


def render(chosen: options.RenderOptions, console: Console, _: Given) -> None:
    """Rewrite the tables and pages from their JSON, or check that they are what it says."""
    from parallelnet_experiments.tables.render import render

    report = render(chosen)
    lines = [f"{what} {path}" for what in ("written", "removed") for path in getattr(report, what)]
    lines.append(f"{len(report.unchanged)} files are what the results say")
    say(console, report.to_json(), print, "\n".join(lines))
