"""What a network's answers in one setting are worth: classes, calibration before and after scaling, conformal sets.

Everything is pooled over the folds: each sample is answered once, by the network that did not see it. Intervals draw
whole components of samples that share a speaker or a picture, as those of `statistics` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parallelnet import bootstrap
from parallelnet.calibration import Floats
from parallelnet.evaluation import MIN_PROB, evaluate

from .statistics import Pooled, mean, null

CALIBRATED = ("ece", "nll", "brier")
"""The figures that temperature scaling is there to lower; it leaves the winning class of a window as it is."""
COVERAGE = 0.9
"""What conformal sets promise (design section 6)."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the networks of all folds say of the samples that each of them did not see, in one setting.

    Attributes:
        classes: names in the order of the columns.
        pooled: the predictions.
        temperatures: of each fold.
        thresholds: conformal threshold of each fold at `COVERAGE`; None where too few samples were held out.
    """

    classes: tuple[str, ...]
    pooled: Pooled
    temperatures: tuple[float, ...]
    thresholds: tuple[float | None, ...]


def figures(answers: Answers, *, n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Return everything that is told of one setting, ready for strict JSON.

    Args:
        answers: pooled over the folds.
        n_bootstrap: rounds of each interval.
        seed: of the bootstrap.
    """
    row = answers.pooled
    before, after = (
        evaluate(row.labels, probs, answers.classes, n_bootstrap=n_bootstrap, seed=seed, groups=row.groups)
        for probs in (row.raw, row.probs)
    )
    return {
        "n": len(row.labels),
        "metrics": after.to_dict(),
        "raw_metrics": before.to_dict(),
        "per_class": per_class(answers, n_bootstrap=n_bootstrap, seed=seed),
        "calibration": {
            "temperatures": list(answers.temperatures),
            "change": calibration_change(row, n_bootstrap=n_bootstrap, seed=seed),
        },
        "conformal": conformal(answers, n_bootstrap=n_bootstrap, seed=seed),
        "fold_accuracy": [float(row.right[row.folds == k].mean()) for k in np.unique(row.folds)],
    }


def per_class(answers: Answers, *, n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Return for each class its samples, precision, recall and F1 with intervals; null where one is not defined."""
    n_classes, row = len(answers.classes), answers.pooled
    rows = bootstrap.rows(row.labels, row.probs, MIN_PROB)
    units = bootstrap.sum_groups(rows, row.groups)
    of_sample = _class_figures(rows.sum(axis=0, keepdims=True), n_classes)
    of_rounds = _class_figures(np.concatenate(list(bootstrap.rounds(units, n_bootstrap, seed))), n_classes)
    return {
        name: {
            "n": int(np.count_nonzero(row.labels == k)),
            **{
                kind: {
                    "value": null(values[0, k]),
                    "ci95": [null(bound) for bound in bootstrap.interval(of_rounds[kind][:, k])],
                }
                for kind, values in of_sample.items()
            },
        }
        for k, name in enumerate(answers.classes)
    }


def _class_figures(total: Floats, n_classes: int) -> dict[str, Floats]:
    matrix = total[:, : n_classes**2].reshape(-1, n_classes, n_classes)
    right = np.einsum("rkk->rk", matrix)
    true, said = matrix.sum(axis=2), matrix.sum(axis=1)

    def part(above: Floats, below: Floats) -> Floats:
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)

    return {"precision": part(right, said), "recall": part(right, true), "f1": part(2 * right, true + said)}


def calibration_change(row: Pooled, *, n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Return scaled minus raw in each figure of `CALIBRATED`, with intervals from the same draws for both."""
    n_classes = row.probs.shape[1]
    both = np.hstack([bootstrap.rows(row.labels, probs, MIN_PROB) for probs in (row.raw, row.probs)])
    units = bootstrap.sum_groups(both, row.groups)

    def gaps(total: Floats) -> dict[str, Floats]:
        raw, scaled = (bootstrap.figures(half, n_classes)[0] for half in np.hsplit(total, 2))
        return {name: scaled[name] - raw[name] for name in CALIBRATED}

    found = gaps(both.sum(axis=0, keepdims=True))
    drawn = gaps(np.concatenate(list(bootstrap.rounds(units, n_bootstrap, seed))))
    return {
        name: {"difference": float(found[name][0]), "ci95": list(bootstrap.interval(drawn[name]))}
        for name in CALIBRATED
    }


def conformal(answers: Answers, *, n_bootstrap: int, seed: int) -> dict[str, Any] | str:
    """Return how often the conformal set holds the truth and how large it is, or why there are no sets.

    A set holds every class c with 1 - p(c) at most the threshold of the fold, and always the most probable one, as
    `predict` makes them (design section 6).
    """
    row = answers.pooled
    thresholds: Sequence[float | None] = [answers.thresholds[k] for k in row.folds]
    kept = np.array([each is not None for each in thresholds])
    if not kept.any():
        return "no fold had enough validation samples for a threshold"
    limit = np.array([0.0 if each is None else each for each in thresholds])[kept, None]
    probs, labels = row.probs[kept], row.labels[kept]
    held = (1 - probs <= limit) | (probs == probs.max(axis=1, keepdims=True))
    groups = [name for name, has in zip(row.groups, kept, strict=True) if has]
    columns = {
        "coverage": held[np.arange(len(probs)), labels],
        "mean_size": held.sum(axis=1),
        "one_class": held.sum(axis=1) == 1,
    }
    return {
        "wanted_coverage": COVERAGE,
        "thresholds": list(answers.thresholds),
        "n": len(labels),
        **{
            name: mean(column.astype(np.float64), groups, n_bootstrap=n_bootstrap, seed=seed)
            for name, column in columns.items()
        },
    }
