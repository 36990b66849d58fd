"""`train`, `export`, `list` and `experiment`: networks, what there is to choose from, and the paper's studies."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import options
from ..errors import OptionError
from ..report import terminal
from . import Console, Given, extra, recipe, say

if TYPE_CHECKING:
    from ..training.run import TrainReport


def train(chosen: options.TrainOptions, console: Console, given: Given) -> None:
    """Train a variant and print what it is worth."""
    how = recipe(chosen.preset, given)
    with extra("Training", "train"):
        from ..training.run import train as run
    report = run(chosen, how, quiet=console.quiet)
    if report.checkpoints:  # of several devices: the first one's process tells
        say(console, report.to_json(), _show_report, report)


def _show_report(report: TrainReport) -> None:
    for folder, by_setting in zip(report.checkpoints, report.metrics, strict=True):
        print(folder)
        rows = [["", "accuracy", "macro F1", "kappa", "UAR"]]
        for setting, m in by_setting.items():
            rows.append([setting, *(f"{x:.3f}" for x in (m.accuracy, m.macro_f1, m.cohen_kappa, m.uar))])
        terminal.table(rows)
    for setting, summary in report.summary.items():
        mean, std = summary["mean"]["accuracy"], summary["std"]["accuracy"]
        print(f"accuracy over the folds, {setting}: {mean:.3f} ± {std:.3f}")


def export(chosen: options.ExportOptions, console: Console, _: Given) -> None:
    """Write the graphs of a checkpoint from its weights."""
    from .. import checkpoint

    opened = checkpoint.read(checkpoint.resolve(chosen.checkpoint))
    folder = opened.path if chosen.out is None else Path(chosen.out)
    if chosen.out is not None and folder.exists():
        raise OptionError(f"--out {folder} exists already; name a new folder.")
    with extra("The ONNX export", "train"):
        from ..models import stored
    network = stored.open_network(opened)
    if chosen.out is not None:
        checkpoint.copy(opened, folder)
    paths = [str(path) for path in stored.export(network, opened.facts, folder, int8=chosen.int8)]
    say(console, json.dumps({"checkpoint": str(folder), "graphs": paths}), print, "\n".join(paths))


def show_list(chosen: options.ListOptions, console: Console, _: Given) -> None:
    """Print the records of one registry, each with `name` and `summary`; only that one is imported."""
    listed = _listed(chosen.what)
    lines = "\n".join(f"{record['name']:<26} {record['summary']}" for record in listed)
    say(console, json.dumps(listed, ensure_ascii=False, indent=2), print, lines)


def _listed(what: str) -> list[dict[str, Any]]:
    if what == "variants":
        from ..models.variants import VARIANTS

        return [
            {
                "name": name,
                "summary": variant.summary,
                "source": variant.source,
                "modalities": list(variant.network.modalities),
                "separable": variant.network.separable,
                "network": asdict(variant.network),
            }
            for name, variant in VARIANTS.items()
        ]
    if what == "backbones":
        from ..models.variants import BACKBONES

        return [{"name": name, **asdict(backbone)} for name, backbone in BACKBONES.items()]
    if what == "corpora":
        from ..data.dataset import list_corpora

        return [{**record, "summary": record["title"]} for record in list_corpora()]
    from .. import checkpoint

    records = []
    for name, folder in checkpoint.bundled().items():
        facts = checkpoint.read(folder).facts
        shown = ("variant", "classes", "modalities", "separable", "metrics", "data")
        summary = f"{facts.variant}: {' + '.join(facts.modalities)}; {', '.join(facts.classes)}"
        rest = {key: getattr(facts, key) for key in shown}
        records.append({"name": name, "summary": summary, "path": str(folder), **rest})
    return records


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
