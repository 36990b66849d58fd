"""What a row's finished folds have left behind, read back: measured figures, curves, what was said of each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parallelnet import checkpoint
from parallelnet.calibration import Floats
from parallelnet.options import Recipe
from parallelnet.training.fit import read_log
from parallelnet.training.run import METRICS, TEST, read_finished

from .runner import Material
from .statistics import Pooled, convergence

CURVES = (
    "train_loss",
    "validation_loss",
    *(f"{part}_{kind}" for part in ("train", "validation") for kind in ("accuracy", "macro_f1", "kappa")),
)
"""Columns of a training log that the results keep."""
DECIMALS = 4


@dataclass(frozen=True, slots=True)
class FoldRun:
    """One fold of a row.

    Attributes:
        folder: of the run.
        setting: `both`, or the only modality of a network that takes one.
        record: `metrics.json`.
        log: a row of figures an epoch.
        n_starts: how often training was begun; with more than one, `seconds` are those of the last.
    """

    folder: Path
    setting: str
    record: dict[str, Any]
    log: list[dict[str, float]]
    n_starts: int

    def summary(self, recipe: Recipe) -> dict[str, Any]:
        """Return the fold's figures: on its test part, on its inner validation part, and how training went."""
        test = self.record["test"][self.setting]
        keys = ("n", "accuracy", "macro_f1", "cohen_kappa", "uar", "ece", "confusion_matrix")
        return {
            "test": {name: test[name] for name in keys},
            "validation": self.record["validation"].get(self.setting),
            "training": convergence(self.log, keep=recipe.keep, max_epochs=recipe.epochs),
            "seconds": self.record["seconds"],
            "n_starts": self.n_starts,
        }

    def curves(self) -> dict[str, list[float | None]]:
        """Return each column of the training log, one number an epoch; None where an epoch has none."""

        def rounded(value: float | None) -> float | None:
            return None if value is None or math.isnan(value) else round(value, DECIMALS)

        return {name: [rounded(row.get(name)) for row in self.log] for name in CURVES}


def read_folds(folder: Path, n_folds: int) -> tuple[FoldRun, ...]:
    """Return the folds of a row that is whole."""
    found = []
    for number in range(n_folds):
        fold = folder / f"fold-{number}"
        record = read_finished(fold / METRICS, "test", "validation")
        setting = "both" if "both" in record["test"] else next(iter(record["test"]))
        n_starts = len(list((fold / "logs").glob("start-*")))
        found.append(FoldRun(fold, setting, record, read_log(fold), n_starts))
    return tuple(found)


def pool(folds: Sequence[FoldRun], material: Material) -> Pooled:
    """Return what the folds' networks said of their test parts, as one."""
    ids: list[str] = []
    columns: dict[str, list[Any]] = {"folds": [], "labels": [], "probs": [], "raw_probs": []}
    for number, fold in enumerate(folds):
        said = read_finished(fold.folder / TEST, "settings")["settings"][fold.setting]
        ids += said["ids"]
        columns["folds"] += [number] * len(said["ids"])
        for name in ("labels", "probs", "raw_probs"):
            columns[name] += said[name]
    return Pooled(
        tuple(ids),
        np.array(columns["folds"], dtype=np.int64),
        np.array(columns["labels"], dtype=np.int64),
        _probabilities(columns["probs"]),
        _probabilities(columns["raw_probs"]),
        tuple(material.components[id_] for id_ in ids),
    )


def _probabilities(rows: list[list[float]]) -> Floats:
    # They were rounded when they were written, so their sum is off by as much.
    values = np.array(rows, dtype=np.float64)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def backbones(folder: Path) -> dict[str, str]:
    """Return by modality which backbone the network of a fold's folder has."""
    facts = checkpoint.read(folder / "checkpoint").facts
    return {name: facts.network[name]["backbone"] for name in facts.modalities}


def network_facts(fold: FoldRun) -> dict[str, Any]:
    """Return what was really trained: backbones, structure, number of parameters, and on which machine."""
    facts = checkpoint.read(fold.folder / "checkpoint").facts
    network = facts.network
    return {
        "backbones": backbones(fold.folder),
        "input_side": {name: 128 // network[name]["input_pool"] for name in facts.modalities},
        "configuration": network["configuration"],
        "fusion": network["fusion"],
        "embed_dim": network["embed_dim"],
        "parameters": fold.record["parameters"],
        "started_from": list(facts.training.get("started_from", ())),
        "versions": dict(facts.versions),
    }
