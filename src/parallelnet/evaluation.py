"""Measured figures from arrays: metrics with intervals, folds, paired tests, calibration.

Every metric is computed from one row of counts and sums (confusion cells, calibration bins, log losses). Such rows
add up over samples, so a bootstrap round is a weighted sum of them, and a thousand rounds are one matrix product.
The definitions are scikit-learn's, which the tests compare with; scipy is imported where it is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .errors import InputError

N_BINS = 15
"""Calibration bins of equal width over [0, 1], as Guo et al. 2017 (On Calibration of Modern Neural Networks)."""
SCALARS = ("accuracy", "macro_f1", "cohen_kappa", "uar", "ece", "nll", "brier")
"""The metrics that are one number; each has an interval, as has `recall_CLASS` for every class."""
_MAX_WEIGHTS = 4_000_000
"""Bootstrap weights held at once: 32 MB of float64."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class _Record:
    """A result that becomes strict JSON and comes back: NaN is written as null, tuples as lists."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for strict JSON: NaN becomes None."""
        return {field.name: _to_null(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    def to_json(self) -> str:
        """Return the result as one JSON object; the inverse of `from_json`."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the result that `to_json` wrote."""
        return cls(**{name: _to_nan(value) for name, value in json.loads(text).items()})


@dataclass(frozen=True, slots=True)
class Metrics(_Record):
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
        resample: `sample`, or `group` where whole groups (speakers) were drawn.
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

    @property
    def missing(self) -> tuple[str, ...]:
        """Classes that the truth lacks: `uar` does not count them."""
        return tuple(name for name, n in self.per_class_n.items() if n == 0)

    def table(self) -> str:
        """Return the metrics as lines of text for a terminal."""
        names = {"accuracy": "accuracy (WA)", "uar": "UAR (UA)"}
        rows = [(names.get(name, name), getattr(self, name), name, "") for name in SCALARS]
        rows += [
            (f"recall {name}", value, f"recall_{name}", f"n {self.per_class_n[name]}")
            for name, value in self.per_class_recall.items()
        ]
        width = max(len(title) for title, *_ in rows)
        lines = [f"{self.n} samples; 95 % bootstrap intervals over {self._drawn}"]
        for title, value, key, note in rows:
            low, high = self.ci95[key]
            interval = f"[{_figure(low)}, {_figure(high)}]"
            lines.append(f"{title:<{width}}  {_figure(value)}  {interval}  {note}".rstrip())
        if self.missing:
            lines.append(f"No sample is {' or '.join(self.missing)}: UAR is over the other classes.")
        return "\n".join([*lines, "", *self._matrix_lines()])

    @property
    def _drawn(self) -> str:
        return f"{self.n_groups} groups" if self.resample == "group" else "samples"

    def _matrix_lines(self) -> Iterator[str]:
        cells = [*self.classes, *(str(count) for row in self.confusion_matrix for count in row), "true \\ said"]
        width = max(len(cell) for cell in cells) + 2
        yield "true \\ said".ljust(width) + "".join(name.rjust(width) for name in self.classes)
        for name, row in zip(self.classes, self.confusion_matrix, strict=True):
            yield name.ljust(width) + "".join(str(count).rjust(width) for count in row)


def evaluate(
    y_true: npt.ArrayLike,
    probs: npt.ArrayLike,
    classes: Sequence[str],
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    groups: Sequence[str] | None = None,
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

    Raises:
        InputError: shapes do not fit, or values are no classes or no probabilities.
    """
    y, p = _checked(y_true, probs, len(classes))
    if n_bootstrap < 1:
        raise InputError(f"n_bootstrap is {n_bootstrap}; at least 1. See --n-bootstrap.")
    rows = _rows(y, p)
    units = rows if groups is None else _sum_groups(rows, groups)
    scalars, recall = _figures(rows.sum(axis=0, keepdims=True), len(classes))
    drawn = [_figures(total, len(classes)) for total in _bootstrap(units, n_bootstrap, seed)]
    ci95 = {name: _interval(np.concatenate([s[name] for s, _ in drawn])) for name in SCALARS}
    recalls = np.concatenate([r for _, r in drawn])
    ci95 |= {f"recall_{name}": _interval(recalls[:, k]) for k, name in enumerate(classes)}
    matrix = _confusion(rows.sum(axis=0, keepdims=True), len(classes))[0]
    return Metrics(
        classes=tuple(classes),
        n=len(y),
        **{name: _number(scalars[name][0]) for name in SCALARS},
        per_class_recall={name: _number(recall[0, k]) for k, name in enumerate(classes)},
        per_class_n={name: int(np.count_nonzero(y == k)) for k, name in enumerate(classes)},
        confusion_matrix=tuple(tuple(int(count) for count in row) for row in matrix),
        reliability=_reliability(y, p),
        ci95=ci95,
        n_bootstrap=n_bootstrap,
        seed=seed,
        resample="sample" if groups is None else "group",
        n_groups=len(units),
    )


@dataclass(frozen=True, slots=True)
class FoldSummary(_Record):
    """Metrics over k folds, as papers report them.

    Attributes:
        n_folds: folds.
        mean: metric or `recall_CLASS` to its mean over the folds in which it is defined.
        std: the same to its standard deviation (n - 1 in the denominator); NaN for fewer than two folds.
        classes: names in the order of the confusion matrix.
        confusion_matrix: counts summed over the folds; rows are the true class.
    """

    n_folds: int
    mean: Mapping[str, float]
    std: Mapping[str, float]
    classes: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]

    def table(self) -> str:
        """Return mean and standard deviation as lines of text for a terminal."""
        width = max(len(name) for name in self.mean)
        lines = [f"{name:<{width}}  {_figure(self.mean[name])} ± {_figure(self.std[name])}" for name in self.mean]
        return "\n".join([f"mean ± standard deviation over {self.n_folds} folds", *lines])


def summarise_folds(folds: Sequence[Metrics]) -> FoldSummary:
    """Return mean and standard deviation of every metric over the folds.

    Raises:
        InputError: no folds, or folds with different classes.
    """
    if not folds:
        raise InputError("There are no folds to summarise; at least one.")
    classes = folds[0].classes
    if any(fold.classes != classes for fold in folds):
        raise InputError("The folds have different classes; a summary needs the same ones in the same order.")
    values = {name: np.array([getattr(fold, name) for fold in folds]) for name in SCALARS}
    values |= {f"recall_{name}": np.array([fold.per_class_recall[name] for fold in folds]) for name in classes}
    defined = {name: column[~np.isnan(column)] for name, column in values.items()}
    matrix = np.sum([fold.confusion_matrix for fold in folds], axis=0)
    return FoldSummary(
        n_folds=len(folds),
        mean={name: float(column.mean()) if len(column) else math.nan for name, column in defined.items()},
        std={name: float(column.std(ddof=1)) if len(column) > 1 else math.nan for name, column in defined.items()},
        classes=classes,
        confusion_matrix=tuple(tuple(int(count) for count in row) for row in matrix),
    )


@dataclass(frozen=True, slots=True)
class PairedTest(_Record):
    """Two models on the same samples.

    Attributes:
        n: samples.
        accuracy_a: of the first model.
        accuracy_b: of the second.
        difference: accuracy of b minus that of a.
        ci95: bounds of its 95 % percentile bootstrap interval.
        only_a: samples that only the first gets right.
        only_b: samples that only the second gets right.
        p_value: exact two-sided McNemar test: chance of a split of these that is no less uneven.
    """

    n: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    ci95: tuple[float, float]
    only_a: int
    only_b: int
    p_value: float


def paired_test(
    correct_a: npt.ArrayLike,
    correct_b: npt.ArrayLike,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> PairedTest:
    """Return the exact McNemar test and the interval of the difference in accuracy.

    Args:
        correct_a: whether the first model is right, booleans [n].
        correct_b: the same of the second, on the same samples in the same order.
        n_bootstrap: rounds of the percentile bootstrap.
        seed: of the bootstrap.
        groups: speaker of each sample, to draw whole groups (see `evaluate`); the McNemar test knows no groups.

    Raises:
        InputError: lengths differ, or there are no samples.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise InputError(f"A paired test needs two equally long lists; got shapes {a.shape} and {b.shape}.")
    rows = np.column_stack([b.astype(np.float64) - a, np.ones(len(a))])
    units = rows if groups is None else _sum_groups(rows, groups)
    drawn = np.concatenate([total[:, 0] / total[:, 1] for total in _bootstrap(units, n_bootstrap, seed)])
    only_a, only_b = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    return PairedTest(
        n=len(a),
        accuracy_a=float(a.mean()),
        accuracy_b=float(b.mean()),
        difference=float(b.mean() - a.mean()),
        ci95=_interval(drawn),
        only_a=only_a,
        only_b=only_b,
        p_value=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
    )


def fit_temperature(logits: npt.ArrayLike, y_true: npt.ArrayLike) -> float:
    """Return the divisor of the logits that makes the true classes most likely (Guo et al. 2017).

    Args:
        logits: [n, n_classes], as the network gives them.
        y_true: index of the true class, integers [n].

    Returns:
        A temperature between 0.02 and 50. Where every sample is right, one so small that the loss vanishes: calibrate
        on samples that the network was not fitted to.

    Raises:
        InputError: shapes do not fit.
    """
    from scipy.optimize import minimize_scalar

    z = np.asarray(logits, dtype=np.float64)
    y = _indices(y_true, z)
    if not np.isfinite(z).all():
        raise InputError("The logits hold numbers that are not finite.")

    def loss(log_temperature: float) -> float:
        scaled = z / math.exp(log_temperature)
        top = scaled.max(axis=1)
        return float(np.mean(top + np.log(np.exp(scaled - top[:, None]).sum(axis=1)) - scaled[np.arange(len(y)), y]))

    # In log(T) the loss has one minimum (it is convex in 1/T), so a bounded search cannot miss it.
    bounds = (math.log(0.02), math.log(50.0))
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def conformal_threshold(probs: npt.ArrayLike, y_true: npt.ArrayLike, coverage: float = 0.9) -> float:
    """Return the q for which `{c : 1 - p(c) <= q}` holds the true class with probability `coverage` or more.

    Split conformal prediction: q is the ceil((n + 1) * coverage)-th smallest of 1 - p(true class) on n samples that
    the model was not fitted to. The guarantee is for new samples exchangeable with these (same kind of speaker and
    recording), on average over draws of the calibration part. 1.0, all classes, where n is too small to promise it.

    Args:
        probs: calibrated probabilities, [n, n_classes].
        y_true: index of the true class, integers [n].
        coverage: wanted part of samples whose set holds the true class.

    Raises:
        InputError: shapes do not fit, or `coverage` does not lie between 0 and 1.
    """
    p = np.asarray(probs, dtype=np.float64)
    y = _indices(y_true, p)
    if not 0 < coverage < 1:
        raise InputError(f"coverage is {coverage}; between 0 and 1, for instance 0.9.")
    scores = np.sort(1.0 - p[np.arange(len(y)), y])
    # The tiny step keeps an exact product, say (9 + 1) * 0.9, from being rounded up past itself.
    rank = math.ceil((len(y) + 1) * coverage - 1e-9)
    return float(scores[rank - 1]) if rank <= len(y) else 1.0


def _indices(y_true: npt.ArrayLike, table: Floats) -> Ints:
    y = np.asarray(y_true)
    if table.ndim != 2 or y.ndim != 1 or len(y) != len(table) or not len(y):
        raise InputError(f"Classes of shape {y.shape} do not fit a table of shape {table.shape}: [n] and [n, classes].")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= table.shape[1]:
        raise InputError(f"True classes are integers from 0 to {table.shape[1] - 1}; got {y.dtype} up to {y.max()}.")
    return y.astype(np.int64)


def _checked(y_true: npt.ArrayLike, probs: npt.ArrayLike, n_classes: int) -> tuple[Ints, Floats]:
    p = np.asarray(probs, dtype=np.float64)
    y = _indices(y_true, p)
    if p.shape[1] != n_classes:
        raise InputError(f"The probabilities have {p.shape[1]} columns for {n_classes} classes.")
    # 1e-3: float32 softmax and averages of it are off by 1e-6 at most; logits given by mistake are off by far more.
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise InputError("The probabilities are not: every row must be finite, not below 0, and sum to 1.")
    return y, p


def _bins(p: Floats) -> Ints:
    # Half-open bins [k/15, (k+1)/15); a confidence of exactly 1 belongs to the last.
    index: Ints = np.minimum((p.max(axis=1) * N_BINS).astype(np.int64), N_BINS - 1)
    return index


def _rows(y: Ints, p: Floats) -> Floats:
    """Return what each sample adds: confusion cells, correct minus confident in its bin, log loss, Brier."""
    n, n_classes = p.shape
    said = p.argmax(axis=1)
    index = np.arange(n)
    rows = np.zeros((n, n_classes**2 + N_BINS + 2))
    rows[index, y * n_classes + said] = 1
    rows[index, n_classes**2 + _bins(p)] = (said == y) - p.max(axis=1)
    rows[:, -2] = -np.log(np.maximum(p[index, y], 1e-12))
    rows[:, -1] = np.square(p - np.eye(n_classes)[y]).sum(axis=1)
    return rows


def _confusion(total: Floats, n_classes: int) -> Floats:
    return total[:, : n_classes**2].reshape(-1, n_classes, n_classes)


def _figures(total: Floats, n_classes: int) -> tuple[dict[str, Floats], Floats]:
    """Return scalars {name: [rounds]} and recalls [rounds, n_classes] from summed rows [rounds, columns]."""
    matrix = _confusion(total, n_classes)
    n = matrix.sum(axis=(1, 2))
    right = np.einsum("rkk->rk", matrix)
    true, said = matrix.sum(axis=2), matrix.sum(axis=1)
    recall = _divide(right, true)
    agreed, chance = right.sum(axis=1) / n, (true * said).sum(axis=1) / n**2
    f1 = _divide(2 * right, true + said)
    scalars = {
        "accuracy": agreed,
        "macro_f1": _mean_defined(f1),
        "cohen_kappa": _divide(agreed - chance, 1 - chance),
        "uar": _mean_defined(recall),
        "ece": np.abs(total[:, n_classes**2 : -2]).sum(axis=1) / n,
        "nll": total[:, -2] / n,
        "brier": total[:, -1] / n,
    }
    return scalars, recall


def _divide(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _mean_defined(values: Floats) -> Floats:
    # At least one class is defined in each row, for every sample has one.
    defined = ~np.isnan(values)
    mean: Floats = np.where(defined, values, 0).sum(axis=1) / defined.sum(axis=1)
    return mean


def _sum_groups(rows: Floats, groups: Sequence[str]) -> Floats:
    if len(groups) != len(rows):
        raise InputError(f"There are {len(groups)} groups for {len(rows)} samples; one each.")
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    summed = np.zeros((len(names), rows.shape[1]))
    np.add.at(summed, index, rows)
    return summed


def _bootstrap(units: Floats, n_rounds: int, seed: int) -> Iterator[Floats]:
    """Yield the summed rows [rounds, columns] of bootstrap rounds, each drawing as many units as there are."""
    rng = np.random.default_rng(seed)
    n = len(units)
    step = max(1, min(n_rounds, _MAX_WEIGHTS // n))
    for start in range(0, n_rounds, step):
        rounds = min(step, n_rounds - start)
        drawn = rng.integers(n, size=(rounds, n)) + n * np.arange(rounds)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rounds * n).reshape(rounds, n).astype(np.float64) @ units


def _interval(values: Floats) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _reliability(y: Ints, p: Floats) -> tuple[tuple[int, float, float], ...]:
    index, sure, right = _bins(p), p.max(axis=1), p.argmax(axis=1) == y
    counts = np.bincount(index, minlength=N_BINS).astype(np.float64)
    confidence = _divide(np.bincount(index, sure, N_BINS).astype(np.float64), counts)
    accuracy = _divide(np.bincount(index, right, N_BINS).astype(np.float64), counts)
    return tuple((int(n), _number(c), _number(a)) for n, c, a in zip(counts, confidence, accuracy, strict=True))


def _number(value: np.floating[Any]) -> float:
    # One NaN for all: Python compares containers by identity first, so a result equals what its JSON gives back.
    return math.nan if np.isnan(value) else float(value)


def _to_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_null(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_to_null(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _to_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_to_nan(item) for item in value)
    return math.nan if value is None else value


def _figure(value: float) -> str:
    return "  -  " if math.isnan(value) else f"{value:.3f}"
