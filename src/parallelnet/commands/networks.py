"""`train`, `export` and `list`: networks, and what there is to choose from, derived from the registries themselves."""

from __future__ import annotations

import json
from dataclasses import asdict
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
        from ..models import onnx, weights
    network = weights.open_network(opened)
    if chosen.out is not None:
        checkpoint.copy(opened, folder)
    paths = [str(path) for path in onnx.export(network, opened.facts, folder, int8=chosen.int8)]
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
        from ..models.backbones import BACKBONES

        return [{"name": name, **asdict(backbone)} for name, backbone in BACKBONES.items()]
    if what == "corpora":
        from ..data.corpora import list_corpora

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
