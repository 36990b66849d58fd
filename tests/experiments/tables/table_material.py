"""Small data and run folders for the tests of tables: what a finished training leaves, written without training."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np

from parallelnet import checkpoint
from parallelnet.checkpoint import ModelFacts
from parallelnet.data.manifest import read_manifest, write_manifest
from parallelnet.evaluation import evaluate
from parallelnet.models.variants import network_options
from parallelnet.options import Table1Options
from parallelnet_experiments.tables.prepared import ROWS, Material, prepare
from parallelnet_experiments.tables.study import Outcome

_spec = importlib.util.spec_from_file_location(
    "training_conftest", Path(__file__).parents[2] / "training" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_training = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_training)
write_pairs = _training.write_pairs


def options(data: Path, out: Path, **changes: object) -> Table1Options:
    given = {"folds": 2, "size": "small", "accelerator": "cpu", "threads": 1, "n_bootstrap": 50, **changes}
    return Table1Options(data=str(data), out=str(out), **given)  # type: ignore[arg-type]


def rewrite(manifest: Path, change) -> Path:  # type: ignore[no-untyped-def]
    """Write a manifest again with each sample changed; None leaves it out."""
    changed = [change(sample) for sample in read_manifest(manifest)]
    return write_manifest(manifest, [sample for sample in changed if sample is not None])


def write_runs(work: Path, key: str, material: Material, *, skill: float, seed: int = 0) -> Outcome:
    """Write the folds of a row that is right on about `skill` of its samples, and return its outcome."""
    row = ROWS[key]
    rng = np.random.default_rng(seed)
    network = network_options(row.variant, size="small")
    setting = "both" if len(network.modalities) == 2 else network.modalities[0]
    classes = material.classes
    for number, part in enumerate(material.parts):
        folder = work / key / f"fold-{number}"
        (folder / "logs" / "start-0").mkdir(parents=True)
        labels = np.array([classes.index(material.labels[s.id]) for s in part.test])
        probs = rng.dirichlet(np.ones(len(classes)), len(labels))
        for i in np.flatnonzero(rng.random(len(labels)) < skill):
            top = probs[i].argmax()
            probs[i, [top, labels[i]]] = probs[i, [labels[i], top]]
        said = {
            "ids": [s.id for s in part.test],
            "labels": labels.tolist(),
            "probs": probs.round(6).tolist(),
            "raw_probs": probs.round(6).tolist(),
        }
        _dump(folder / "test.json", {"classes": list(classes), "settings": {setting: said}})
        metrics = evaluate(labels, probs, classes, n_bootstrap=2)
        _dump(
            folder / "metrics.json",
            {
                "test": {setting: metrics.to_dict()},
                "conformal": {},
                "epochs": 3,
                "seconds": 60.0,
                "parameters": 1234,
                "validation": {setting: {"n": 4, "accuracy": 0.75, "macro_f1": 0.7, "cohen_kappa": 0.5}},
            },
        )
        names = ["loss", "accuracy", "macro_f1", "kappa"]
        head = ["epoch", *(f"{p}_{n}" for p in ("train", "validation") for n in names)]
        lines = [[epoch, *rng.random(8).round(4)] for epoch in range(3)]
        text = "\n".join(",".join(map(str, line)) for line in (head, *lines))
        (folder / "logs" / "start-0" / "metrics.csv").write_text(text + "\n", encoding="utf-8")
        facts = ModelFacts(
            name=f"{key}-fold-{number}",
            variant=row.variant,
            network=network.to_dict(),
            classes=classes,
            modalities=network.modalities,
            separable=network.separable,
        )
        checkpoint.write(folder / "checkpoint", facts)
    return Outcome(row, work / key, "")


def _dump(path: Path, record: object) -> None:
    path.write_text(json.dumps(record), encoding="utf-8")


__all__ = ["options", "prepare", "rewrite", "write_pairs", "write_runs"]
