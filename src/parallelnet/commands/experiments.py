"""`parallelnet experiment`: planted evidence, and the paper's tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import options
from .console import Console, extra, recipe


def plant(chosen: options.PlantOptions, console: Console, _: Mapping[str, Any]) -> None:
    """Make material with planted evidence."""
    from parallelnet_experiments.material import plant

    manifest = plant(chosen)
    print(json.dumps({"manifest": str(manifest)}) if console.json else manifest)


def faithfulness(chosen: options.FaithfulnessOptions, console: Console, _: Mapping[str, Any]) -> None:
    """Ask whether explanations find planted evidence."""
    from parallelnet_experiments.faithfulness import measure

    _show(measure(chosen), console, "table")


def table1(chosen: options.Table1Options, console: Console, given: Mapping[str, Any]) -> None:
    """Train and compare the rows of Table 1."""
    with extra("Table 1", "train"):
        from parallelnet_experiments.tables.table1 import measure
    _show(measure(chosen, recipe(options.PRESETS[chosen.preset], given), quiet=console.quiet), console, "table1")


def table2(chosen: options.Table2Options, console: Console, given: Mapping[str, Any]) -> None:
    """Train and compare the rows of Table 2."""
    with extra("Table 2", "train"):
        from parallelnet_experiments.tables.table2 import measure
    _show(measure(chosen, recipe(options.PRESETS[chosen.preset], given), quiet=console.quiet), console, "table2")


def modalities(chosen: options.ModalitiesOptions, console: Console, given: Mapping[str, Any]) -> None:
    """Compare both modalities with each alone."""
    with extra("The comparison of modalities", "train"):
        from parallelnet_experiments.tables.modalities import measure
    _show(measure(chosen, recipe(options.PRESETS[chosen.preset], given), quiet=console.quiet), console, "modalities")


def _show(result: Path, console: Console, table: str) -> None:
    if console.json:
        print(result.read_text(encoding="utf-8"), end="")
    else:
        print((result.parent / f"{table}.md").read_text(encoding="utf-8") + f"\n{result}")


def render(chosen: options.RenderOptions, console: Console, _: Mapping[str, Any]) -> None:
    """Rewrite the tables and pages from their JSON, or check that they are what it says."""
    from parallelnet_experiments.tables.render import render

    report = render(chosen)
    if console.json:
        print(report.to_json())
        return
    for what in ("written", "removed"):
        for path in getattr(report, what):
            print(f"{what} {path}")
    print(f"{len(report.unchanged)} files are what the results say")
