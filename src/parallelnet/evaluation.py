"""Measured figures from arrays: metrics with intervals, folds, paired tests.

Every figure is computed from one row of counts and sums a sample (confusion cells, calibration bins, log losses). Such
rows add up, so a bootstrap round is a weighted sum of them, and a thousand rounds are one matrix product: 0.15 s for a
thousand samples, where a loop over scikit-learn takes seconds. The definitions are scikit-learn's; the tests compare.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from .calibration import N_BINS as N_BINS
from .calibration import Floats, Ints, bins, class_indices, reliability
from .calibration import conformal_threshold as conformal_threshold
from .calibration import fit_temperature as fit_temperature
from .errors import InputError, refuse

# The metrics that are one number; each has an interval, as has `recall_CLASS` for every class.
SCALARS = ("accuracy", "macro_f1", "cohen_kappa", "uar", "ece", "nll", "brier")
# A true class said to be less likely than this counts as so likely: one such sample must not make `nll` infinite.
MIN_PROB = 1e-12
MAX_WEIGHTS = 4_000_000  # bootstrap weights held at once: 32 MB of float64


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
    rows = summands(y, p, MIN_PROB)
    units = rows if groups is None else sum_groups(rows, groups)
    found = [figures(total, n) for total in rounds(units, n_bootstrap, seed)]
    ci95 = {name: interval(np.concatenate([s[name] for s, _ in found])) for name in SCALARS}
    recalls = np.concatenate([r for _, r in found])
    ci95 |= {f"recall_{name}": interval(recalls[:, k]) for k, name in enumerate(classes)}
    scalars, recall = figures(rows.sum(axis=0, keepdims=True), n)
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


def summands(y: Ints, p: Floats, min_prob: float) -> Floats:
    """Return what each sample adds, [n, n_classes**2 + N_BINS + 2], by true classes [n] and probabilities.

    These are confusion cells, correct minus confident in its bin, log loss (of `min_prob` at least) and Brier.
    """
    n, n_classes = p.shape
    said = p.argmax(axis=1)
    index = np.arange(n)
    found = np.zeros((n, n_classes**2 + N_BINS + 2))
    found[index, y * n_classes + said] = 1
    found[index, n_classes**2 + bins(p)] = (said == y) - p.max(axis=1)
    found[:, -2] = -np.log(np.maximum(p[index, y], min_prob))
    found[:, -1] = np.square(p - np.eye(n_classes)[y]).sum(axis=1)
    return found


def sum_groups(rows: Floats, groups: Sequence[str]) -> Floats:
    """Return the sum of each group's rows, [n_groups, columns]; an InputError where not one group a row is given."""
    if len(groups) != len(rows):
        raise InputError(f"There are {len(groups)} groups for {len(rows)} samples; one each.")
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    summed = np.zeros((len(names), rows.shape[1]))
    np.add.at(summed, index, rows)
    return summed


def rounds(units: Floats, n_rounds: int, seed: int) -> Iterator[Floats]:
    """Yield the summed rows [rounds, columns] of bootstrap rounds, each drawing as many units as there are."""
    rng = np.random.default_rng(seed)
    n = len(units)
    step = max(1, min(n_rounds, MAX_WEIGHTS // n))
    for start in range(0, n_rounds, step):
        k = min(step, n_rounds - start)
        drawn = rng.integers(n, size=(k, n)) + n * np.arange(k)[:, None]
        yield np.bincount(drawn.ravel(), minlength=k * n).reshape(k, n).astype(np.float64) @ units


def figures(total: Floats, n_classes: int) -> tuple[dict[str, Floats], Floats]:
    """Return scalars {name: [rounds]} and recalls [rounds, n_classes] from summed `summands` [rounds, columns].

    NaN stands where a figure is not defined.
    """
    matrix = total[:, : n_classes**2].reshape(-1, n_classes, n_classes)
    n = matrix.sum(axis=(1, 2))
    right = np.einsum("rkk->rk", matrix)
    true, said = matrix.sum(axis=2), matrix.sum(axis=1)
    recall = _divide(right, true)
    agreed, chance = right.sum(axis=1) / n, (true * said).sum(axis=1) / n**2
    f1 = _divide(2 * right, true + said)
    scalars = {
        "accuracy": agreed,
        "macro_f1": np.nanmean(f1, axis=1),
        "cohen_kappa": _divide(agreed - chance, 1 - chance),
        "uar": np.nanmean(recall, axis=1),
        "ece": np.abs(total[:, n_classes**2 : -2]).sum(axis=1) / n,
        "nll": total[:, -2] / n,
        "brier": total[:, -1] / n,
    }
    return scalars, recall


def interval(values: Floats) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of the rounds in which the figure is defined; NaN where there are none."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _divide(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


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
