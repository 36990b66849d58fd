"""What out-of-fold predictions are worth, and whether two rows differ: figures with intervals, paired tests, Holm.

Samples that share a speaker or a picture are no independent samples, so every interval draws whole components of them.
McNemar's exact test knows no components and is too sure where they are few; beside it stands a test that swaps the two
rows' answers component by component.
"""

import datetime
import itertools
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from parallelnet import evaluation
from parallelnet.calibration import Floats, Ints
from parallelnet.evaluation import MIN_PROB, evaluate

COMPARED = ("accuracy", "macro_f1", "cohen_kappa", "uar")  # figures of which the difference of two rows is told
MAX_EXACT = 14  # components up to which all 2**n ways of swapping are counted; beyond, `N_SWAPS` of them are drawn
N_SWAPS = 10_000
SWAPS_AT_ONCE = 500  # of some thousand components: 16 MB of signs
CONVERGED = 0.01  # A validation loss is as good as the lowest when it is at most this part above it
PACKAGES = ("parallelnet", "numpy", "onnxruntime", "torch", "captum", "shap", "shapiq")

Figures = Callable[[Floats], Mapping[str, Floats]]  # from summed rows [n, columns] to figures of each of them, [n]


class Draws(NamedTuple):
    """Rounds of a bootstrap, and its seed."""

    n: int
    seed: int


@dataclass(frozen=True, slots=True)
class Pooled:
    """What a row said of each sample, each by the network of the fold that never saw it.

    Attributes:
        ids: of the samples, fold after fold.
        folds: of each sample, [n].
        labels: true class, [n].
        probs: calibrated, [n, n_classes].
        raw: the network's own softmax, [n, n_classes].
        groups: component of each sample, drawn whole.
    """

    ids: tuple[str, ...]
    folds: Ints
    labels: Ints
    probs: Floats
    raw: Floats
    groups: tuple[str, ...]

    @property
    def said(self) -> Ints:
        """The most probable class of each sample."""
        return np.asarray(self.probs.argmax(axis=1))

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether it is the true one."""
        return np.asarray(self.said == self.labels)


def join(parts: Sequence[Pooled]) -> Pooled:
    """Return the predictions of several folds as one."""
    columns = {field.name: [getattr(each, field.name) for each in parts] for field in fields(Pooled)}
    ids, groups = (tuple(itertools.chain(*columns.pop(name))) for name in ("ids", "groups"))
    return Pooled(ids=ids, groups=groups, **{name: np.concatenate(each) for name, each in columns.items()})


def figures(row: Pooled, classes: Sequence[str], draws: Draws) -> dict[str, Any]:
    """Return every metric of the pooled predictions with its interval, as `evaluation.Metrics` writes it."""
    return evaluate(row.labels, row.probs, classes, n_bootstrap=draws.n, seed=draws.seed, groups=row.groups).to_dict()


def intervals(
    rows: Floats, groups: Sequence[str], of: Figures, draws: Draws, called: str = "difference"
) -> dict[str, dict[str, Any]]:
    """Return each figure of summed rows, under the name `called`, with its interval; groups are drawn whole.

    Args:
        rows: what each sample adds, [n, columns].
        groups: component of each sample.
        of: the figures.
        draws: rounds and seed.
        called: name of the figure itself beside its `ci95`.
    """
    units = evaluation.sum_groups(rows, groups)
    whole = of(units.sum(axis=0, keepdims=True))
    drawn = [of(total) for total in evaluation.rounds(units, *draws)]
    return {
        name: {
            called: null(value[0]),
            "ci95": [null(bound) for bound in evaluation.interval(np.concatenate([each[name] for each in drawn]))],
        }
        for name, value in whole.items()
    }


def gaps(probs: Sequence[Floats], row: Pooled, names: Sequence[str], draws: Draws) -> dict[str, dict[str, Any]]:
    """Return first minus second probabilities of the same samples: each named figure, with intervals of same draws."""
    both = np.hstack([evaluation.summands(row.labels, each, MIN_PROB) for each in probs])

    def of(total: Floats) -> dict[str, Floats]:
        ours, theirs = (evaluation.figures(half, row.probs.shape[1])[0] for half in np.hsplit(total, 2))
        return {name: ours[name] - theirs[name] for name in names}

    return intervals(both, row.groups, of, draws)


def difference(first: Pooled, second: Pooled, draws: Draws) -> dict[str, Any]:
    """Return first minus second: each figure of `COMPARED` with its interval, and two p values.

    The interval draws components, the same for both rows. `p_mcnemar` is McNemar's exact test over samples,
    `p_components` a permutation test that swaps whole components (see `swap_test`).
    """
    assert first.ids == second.ids, "both rows are tested on the same samples in the same order"
    from scipy.stats import binomtest

    only_first = int(np.count_nonzero(first.right & ~second.right))
    only_second = int(np.count_nonzero(second.right & ~first.right))
    n_apart = only_first + only_second
    return {
        **gaps((first.probs, second.probs), first, COMPARED, draws),
        "n": len(first.ids),
        "n_components": len(set(first.groups)),
        "only_first": only_first,
        "only_second": only_second,
        "p_mcnemar": float(binomtest(only_second, n_apart).pvalue) if n_apart else 1.0,  # exact, two-sided
        "p_components": swap_test(first.right.astype(float) - second.right, first.groups, seed=draws.seed),
    }


def swap_test(differences: Sequence[float] | Floats, groups: Sequence[str], *, seed: int) -> float:
    """Return the two-sided p value of a sum of differences whose sign may flip for each component as a whole.

    If two rows are equally good, which of them answered what could as well be swapped, component by component. The p
    value is the part of swaps that leave the rows at least as far apart. All swaps are counted for at most `MAX_EXACT`
    components that differ, else `N_SWAPS` are drawn (the one at hand counts, so that it is never 0).
    """
    sums = evaluation.sum_groups(np.asarray(differences, dtype=np.float64)[:, None], groups)[:, 0]
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    observed = abs(sums.sum()) - 1e-9  # sums of small integers: only rounding lies below this
    if len(sums) <= MAX_EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= observed).mean())
    rng, size = np.random.default_rng(seed), (SWAPS_AT_ONCE, len(sums))
    drawn = (rng.choice((-1.0, 1.0), size=size) @ sums for _ in range(N_SWAPS // SWAPS_AT_ONCE))
    return (1 + sum(int(np.count_nonzero(np.abs(each) >= observed)) for each in drawn)) / (1 + N_SWAPS)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjustment of p values, in their order: the chance of any false finding among them."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted.tolist()  # type: ignore[no-any-return]


def differences(
    pooled: Mapping[str, Pooled], pairs: Iterable[tuple[str, str]], draws: Draws
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return first minus second of the pairs whose rows are there, with Holm's adjustment of each p value over all."""
    found = {(a, b): difference(pooled[a], pooled[b], draws) for a, b in pairs if a in pooled and b in pooled}
    for name in ("p_mcnemar", "p_components"):
        for each, adjusted in zip(found.values(), holm([each[name] for each in found.values()]), strict=True):
            each[f"{name}_holm"] = adjusted
    return found


def mean(values: npt.ArrayLike, groups: Sequence[str], draws: Draws) -> dict[str, Any]:
    """Return a mean over samples with its interval, components drawn whole."""
    rows = np.column_stack([np.asarray(values, np.float64), np.ones(len(groups))])
    found = intervals(rows, groups, lambda total: {"": total[:, 0] / total[:, 1]}, draws, "mean")
    return {**found[""], "n": len(groups)}


def where_modalities_disagree(
    speech: Pooled, image: Pooled, multiply: Pooled, add: Pooled, draws: Draws
) -> dict[str, Any]:
    """Return how multiplication and addition do where speech alone and picture alone name different classes.

    The paper's reason for multiplying (3.2.1): where one modality is strongly for a class and the other weakly for
    another, the sum goes with the strong one, the product is weakened. So beside accuracy stands the softmax score of
    the fused network for the class of the surer modality, on samples where they disagree and where they agree.
    """
    sides = np.stack([speech.raw, image.raw])  # [2, n, n_classes]
    index = np.arange(len(speech.ids))
    surer = sides.max(axis=2).argmax(axis=0)  # a tie: speech, as in the labelling
    strong = sides[surer, index].argmax(axis=1)
    by_row = {
        name: {
            "accuracy": row.right.astype(float),
            "confidence": row.raw.max(axis=1),
            "score_of_surer": row.raw[index, strong],
        }
        for name, row in (("multiply", multiply), ("add", add))
    }
    by_row["multiply minus add"] = {key: by_row["multiply"][key] - by_row["add"][key] for key in by_row["add"]}
    # By the softmax scores that are compared here; calibration differs between folds and may move a close call.
    differ = sides[0].argmax(axis=1) != sides[1].argmax(axis=1)
    found: dict[str, Any] = {}
    for name, where in (("disagree", differ), ("agree", ~differ)):
        groups = list(itertools.compress(multiply.groups, where))
        rows = by_row if groups else {}
        found[name] = {"n": len(groups)} | {
            row: {key: mean(value[where], groups, draws) for key, value in each.items()} for row, each in rows.items()
        }
    return found


def convergence(log: Sequence[Mapping[str, float]], *, keep: str, max_epochs: int) -> dict[str, Any]:
    """Return when a fold's training converged and whether its curves go in line, from its log (one row an epoch).

    Epochs count from 1. `converged_epoch` is the first whose validation loss is within `CONVERGED` of the lowest;
    `at_limit` says that the lowest is the very last that was allowed, so that training was perhaps not over.
    `in_line` is our measure of the paper's "in-line convergence" of accuracy and macro F1 on the validation part: the
    mean absolute gap of the two curves and their correlation (None where one of them is flat). `overfit` is accuracy in
    training, measured while learning and under augmentation, minus that in validation; `swing` is how far validation
    accuracy moves from one epoch to the next, on average (the "fluctuation" of section 5.4).
    """
    loss = np.array([row["validation_loss"] for row in log])
    accuracy, f1, kappa, learnt = (
        np.array([row[name] for row in log])
        for name in ("validation_accuracy", "validation_macro_f1", "validation_kappa", "train_accuracy")
    )
    best = int(np.nanargmin(loss))
    kept = best if keep == "best" else len(log) - 1
    flat = len(log) < 3 or not np.ptp(accuracy) or not np.ptp(f1)
    return {
        "epochs": len(log),
        "best_epoch": best + 1,
        "kept_epoch": kept + 1,
        "converged_epoch": int(np.flatnonzero(loss <= loss[best] * (1 + CONVERGED))[0]) + 1,
        "at_limit": best + 1 == max_epochs,
        "in_line": {
            "mean_gap": float(np.abs(accuracy - f1).mean()),
            "correlation": None if flat else float(np.corrcoef(accuracy, f1)[0, 1]),
        },
        "at_kept_epoch": {
            "accuracy": float(accuracy[kept]),
            "macro_f1": float(f1[kept]),
            "kappa": null(kappa[kept]),
            "train_accuracy": float(learnt[kept]),
        },
        "overfit": float(learnt[kept] - accuracy[kept]),
        "swing": float(np.abs(np.diff(accuracy)).mean()) if len(log) > 1 else None,
    }


def null(value: float) -> float | None:
    """Return a number that strict JSON can hold: None for NaN."""
    return None if math.isnan(value) else float(value)


def circumstances(threads: int) -> dict[str, Any]:
    """Return date, machine and versions."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "threads": threads,
        "load_1_min": round(os.getloadavg()[0], 2),
        "versions": versions,
    }
