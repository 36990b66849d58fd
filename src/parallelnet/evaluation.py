"""Measured figures from arrays: metrics with intervals, folds, paired tests.

Definitions are scikit-learn's (the tests compare), in the form of `bootstrap`, which a thousand rounds can afford.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from . import bootstrap
from .calibration import N_BINS as N_BINS
from .calibration import class_indices, reliability
from .calibration import conformal_threshold as conformal_threshold
from .calibration import fit_temperature as fit_temperature
from .errors import InputError, refuse

# The metrics that are one number; each has an interval, as has `recall_CLASS` for every class.
SCALARS = ("accuracy", "macro_f1", "cohen_kappa", "uar", "ece", "nll", "brier")
# A true class said to be less likely than this counts as so likely: one such sample must not make `nll` infinite.
MIN_PROB = 1e-12


@dataclass(frozen=True, slots=True)
class Metrics:
    """What predictions are worth. NaN (JSON `null`) stands where a figure is not defined.

    Attributes:
        classes: names in the order of the confusion matrix.
        n: samples.
        accuracy: part that is right; speech papers call it weighted accuracy (WA).
        macro_f1: mean F1 over the classes that occur in the truth or in the predictions.
        cohen_kappa: agreement beyond chance, -1 to 1.
        uar: unweighted average recall (UA): the mean recall over the classes that occur in the truth.
        ece: expected calibration error, top label, `N_BINS` bins of equal width, 0 to 1.
        nll: mean negative log-likelihood of the true class, in nats; probabilities below 1e-12 count as 1e-12.
        brier: mean squared distance to the one-hot truth, 0 to 2.
        per_class_recall: class to recall; NaN for a class that the truth lacks.
        per_class_n: class to its samples in the truth.
        confusion_matrix: counts; rows are the true class, columns the predicted one.
        reliability: the bins behind `ece`, from low to high: samples whose largest probability falls there, the mean
            of that probability, and the part of them that is right.
        ci95: metric or `recall_CLASS` to the bounds of its 95 % percentile bootstrap interval. That of `ece` lies
            high, for resampling adds noise to every bin.
        n_bootstrap: rounds behind `ci95`.
        seed: of the bootstrap.
        resample: `sample`; `file` where samples that share an utterance or picture were drawn together; or `group`
            where whole groups (speakers) were.
        n_groups: groups drawn from; equals `n` for `sample`. With few of them the intervals are rough.
    """

    classes: tuple[str, ...]
    n: int
    accuracy: float
    macro_f1: float
    cohen_kappa: float
    uar: float
    ece: float
    nll: float
    brier: float
    per_class_recall: Mapping[str, float]
    per_class_n: Mapping[str, int]
    confusion_matrix: tuple[tuple[int, ...], ...]
    reliability: tuple[tuple[int, float, float], ...]
    ci95: Mapping[str, tuple[float, float]]
    n_bootstrap: int
    seed: int
    resample: str
    n_groups: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for strict JSON: NaN becomes None."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)), parse_constant=lambda _: None)
        return found

    def to_json(self) -> str:
        """Return the result as one JSON object; the inverse of `from_json`."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the result that `to_json` wrote."""
        return cls(**{name: _to_nan(value) for name, value in json.loads(text).items()})

    def table(self) -> str:
        """Return the metrics as lines of text for a terminal."""
        names = {"accuracy": "accuracy (WA)", "uar": "UAR (UA)"}
        rows = [(names.get(name, name), getattr(self, name), name, "") for name in SCALARS]
        rows += [
            (f"recall {name}", value, f"recall_{name}", f"n {self.per_class_n[name]}")
            for name, value in self.per_class_recall.items()
        ]
        width = max(len(title) for title, *_ in rows)
        drawn = {"group": f"{self.n_groups} groups", "file": f"{self.n_groups} files, with all samples that share one"}
        lines = [f"{self.n} samples; 95 % bootstrap intervals over {drawn.get(self.resample, 'samples')}"]
        for title, value, key, note in rows:
            said, low, high = ("  -  " if math.isnan(x) else f"{x:.3f}" for x in (value, *self.ci95[key]))
            lines.append(f"{title:<{width}}  {said}  [{low}, {high}]  {note}".rstrip())
        missing = [name for name, n in self.per_class_n.items() if n == 0]
        if missing:
            lines.append(f"No sample is {' or '.join(missing)}: UAR is over the other classes.")
        counts = zip(self.classes, self.confusion_matrix, strict=True)
        matrix = [("true \\ said", *self.classes), *((name, *map(str, row)) for name, row in counts)]
        width = max(len(cell) for row in matrix for cell in row) + 2
        lines += ["", *(row[0].ljust(width) + "".join(cell.rjust(width) for cell in row[1:]) for row in matrix)]
        return "\n".join(lines)


def evaluate(
    y_true: npt.ArrayLike,
    probs: npt.ArrayLike,
    classes: Sequence[str],
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    drawn: Literal["group", "file"] = "group",
) -> Metrics:
    """Return every metric of the design with its 95 % interval.

    Args:
        y_true: index of the true class, integers [n].
        probs: probability of each class, [n, n_classes], rows sum to 1.
        classes: class names in the order of the columns.
        n_bootstrap: rounds of the percentile bootstrap.
        seed: of the bootstrap.
        groups: speaker (or author) of each sample. When given, rounds draw whole groups, which is what the interval
            for new speakers asks for; without it they draw samples, and samples of one speaker count as independent.
        drawn: what `groups` are, noted in the result: speakers or authors, or files that samples share.

    Raises:
        InputError: shapes do not fit, or values are no classes or no probabilities.
    """
    p = np.asarray(probs, dtype=np.float64)
    y = class_indices(y_true, p)
    n, n_columns = len(classes), p.shape[1]
    # 1e-3: float32 softmax and averages of it are off by 1e-6 at most; logits given by mistake are off by far more.
    sums_to_1 = np.isfinite(p).all() and p.min() >= 0 and np.abs(p.sum(axis=1) - 1).max() <= 1e-3
    wrong = [
        (n_columns != n or n < 2, f"The probabilities have {n_columns} columns for {n} classes; two or more, as many."),
        (not sums_to_1, "The probabilities are not: every row must be finite, not below 0, and sum to 1."),
        (n_bootstrap < 1, f"n_bootstrap is {n_bootstrap}; at least 1. See --n-bootstrap."),
    ]
    refuse(InputError, wrong)
    p = p / p.sum(axis=1, keepdims=True)  # without what float32 left
    rows = bootstrap.rows(y, p, MIN_PROB)
    units = rows if groups is None else bootstrap.sum_groups(rows, groups)
    rounds = [bootstrap.figures(total, len(classes)) for total in bootstrap.rounds(units, n_bootstrap, seed)]
    ci95 = {name: bootstrap.interval(np.concatenate([s[name] for s, _ in rounds])) for name in SCALARS}
    recalls = np.concatenate([r for _, r in rounds])
    ci95 |= {f"recall_{name}": bootstrap.interval(recalls[:, k]) for k, name in enumerate(classes)}
    scalars, recall = bootstrap.figures(rows.sum(axis=0, keepdims=True), len(classes))
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, (y, p.argmax(axis=1)), 1)
    return Metrics(
        classes=tuple(classes),
        n=len(y),
        **{name: _number(value[0]) for name, value in scalars.items()},
        per_class_recall={name: _number(value) for name, value in zip(classes, recall[0], strict=True)},
        per_class_n={name: int(n) for name, n in zip(classes, matrix.sum(axis=1), strict=True)},
        confusion_matrix=tuple(map(tuple, matrix.tolist())),
        reliability=reliability(y, p),
        ci95=ci95,
        n_bootstrap=n_bootstrap,
        seed=seed,
        resample="sample" if groups is None else drawn,
        n_groups=len(units),
    )


def summarise_folds(folds: Sequence[Metrics]) -> dict[str, Any]:
    """Return `mean` and `std` (n - 1 below) of every metric over the folds in which it is defined, ready for JSON.

    `n_folds`, `classes` and the sum of the `confusion_matrix` stand beside them; None is what is not defined.

    Raises:
        InputError: no folds, or folds with different classes.
    """
    found = {fold.classes for fold in folds}
    different = "The folds have different classes; a summary needs the same ones in the same order."
    refuse(InputError, [(not found, "There are no folds to summarise; at least one."), (len(found) > 1, different)])
    (classes,) = found
    values = {name: np.array([getattr(fold, name) for fold in folds]) for name in SCALARS}
    values |= {f"recall_{name}": np.array([fold.per_class_recall[name] for fold in folds]) for name in classes}
    defined = {name: column[~np.isnan(column)] for name, column in values.items()}
    return {
        "n_folds": len(folds),
        "mean": {name: float(column.mean()) if len(column) else None for name, column in defined.items()},
        "std": {name: float(column.std(ddof=1)) if len(column) > 1 else None for name, column in defined.items()},
        "classes": list(classes),
        "confusion_matrix": np.sum([fold.confusion_matrix for fold in folds], axis=0).tolist(),
    }


def _number(value: float | np.floating[Any]) -> float:
    # One NaN for all: Python compares containers by identity first, so a result equals what its JSON gives back.
    return math.nan if np.isnan(value) else float(value)


def _to_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_to_nan(item) for item in value)
    return math.nan if value is None else value
