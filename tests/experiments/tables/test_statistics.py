"""Against scikit-learn, scipy, brute force and examples worked out by hand."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics

from parallelnet_experiments.tables import statistics
from parallelnet_experiments.tables.statistics import Draws, Pooled

CLASSES = ("anger", "happy", "sad")


def pooled(seed, n=60, n_groups=12, skill=0.5):
    """Return a row that is right on about `skill` of its samples; the same samples for every seed."""
    labels = np.random.default_rng(99).integers(0, 3, n)
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(3), n)
    # The true class gets the largest probability on some: swapped with whatever was the largest.
    for i in np.flatnonzero(rng.random(n) < skill):
        top = probs[i].argmax()
        probs[i, [top, labels[i]]] = probs[i, [labels[i], top]]
    ids = tuple(f"s{k}" for k in range(n))
    return Pooled(ids, np.arange(n) % 3, labels, probs, probs, tuple(f"g{k % n_groups}" for k in range(n)))


def test_difference_is_that_of_scikit_learn():
    a, b = pooled(1, skill=0.8), pooled(2, skill=0.3)
    found = statistics.difference(a, b, Draws(200, 0))
    y = a.labels
    for name, score in (
        ("accuracy", metrics.accuracy_score),
        ("macro_f1", lambda y, s: metrics.f1_score(y, s, average="macro")),
        ("cohen_kappa", metrics.cohen_kappa_score),
        ("uar", metrics.balanced_accuracy_score),
    ):
        # Sums of 60 doubles: off by rounding only.
        assert found[name]["difference"] == pytest.approx(score(y, a.said) - score(y, b.said), abs=1e-12)
        low, high = found[name]["ci95"]
        assert low < found[name]["difference"] < high
    only_a, only_b = int((a.right & ~b.right).sum()), int((b.right & ~a.right).sum())
    assert (found["only_first"], found["only_second"]) == (only_a, only_b)
    assert found["p_mcnemar"] == pytest.approx(binomtest(only_a, only_a + only_b).pvalue)
    assert found["n_components"] == 12


def macro_f1(y, said):
    # Ten times as fast as scikit-learn's, which 8,000 calls need; all three classes occur in every draw here.
    scores = [2 * ((y == k) & (said == k)).sum() / ((y == k).sum() + (said == k).sum()) for k in range(3)]
    return float(np.mean(scores))


def test_interval_is_that_of_drawing_components_one_by_one():
    a, b = pooled(1, skill=0.8), pooled(2, skill=0.3)
    names = sorted(set(a.groups))
    members = {name: np.flatnonzero(np.array(a.groups) == name) for name in names}
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(4000):
        rows = np.concatenate([members[name] for name in rng.choice(names, len(names))])
        f1 = [macro_f1(a.labels[rows], each.said[rows]) for each in (a, b)]
        drawn.append(f1[0] - f1[1])
    found = statistics.difference(a, b, Draws(4000, 0))["macro_f1"]["ci95"]
    # Two independent bootstraps of 4,000 rounds: the standard error of a 2.5 % quantile is about 0.005 here.
    assert found == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.025)


def test_rows_that_say_the_same_do_not_differ():
    a = pooled(1)
    found = statistics.difference(a, a, Draws(50, 0))
    assert found["accuracy"] == {"difference": 0.0, "ci95": [0.0, 0.0]}
    assert found["p_mcnemar"] == found["p_components"] == 1.0


def test_difference_refuses_other_samples():
    with pytest.raises(AssertionError):
        statistics.difference(pooled(1), pooled(1, n=59), Draws(2, 0))


def test_swaps_against_brute_force():
    rng = np.random.default_rng(0)
    differences = rng.integers(-1, 2, 40).astype(float)
    groups = [f"g{k % 9}" for k in range(40)]
    sums = [sum(d for d, g in zip(differences, groups, strict=True) if g == f"g{k}") for k in range(9)]
    far = [
        abs(sum(s * x for s, x in zip(signs, sums, strict=True))) >= abs(sum(sums)) - 1e-9
        for signs in itertools.product((-1, 1), repeat=9)
    ]
    assert statistics.swap_test(differences, groups, seed=0) == pytest.approx(np.mean(far))


def test_swaps_of_single_samples_are_mcnemars_test():
    # Each sample its own component: then swapping is the sign test, which is McNemar's exact test.
    for n_first, n_second in ((9, 2), (6, 6), (12, 0)):
        differences = [1.0] * n_first + [-1.0] * n_second + [0.0] * 30
        groups = [str(k) for k in range(len(differences))]
        exact = binomtest(n_first, n_first + n_second).pvalue
        assert statistics.swap_test(differences, groups, seed=0) == pytest.approx(exact)
    # Beyond MAX_EXACT swaps are drawn: 10,000 of them have a standard error below 0.005.
    differences = [1.0] * 20 + [-1.0] * 10
    drawn = statistics.swap_test(differences, [str(k) for k in range(30)], seed=0)
    assert drawn == pytest.approx(binomtest(20, 30).pvalue, abs=0.015)


def test_few_components_can_prove_little():
    # 30 to 0 by samples, but all of them in three components: the smallest possible p is 2 / 2**3.
    differences = [1.0] * 30
    assert binomtest(30, 30).pvalue < 1e-8
    assert statistics.swap_test(differences, [str(k % 3) for k in range(30)], seed=0) == 0.25


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert statistics.holm([]) == []
    rng = np.random.default_rng(0)
    p = rng.random(8).tolist()
    by_definition = []  # the largest of (m - rank) p over all that are no larger
    order = sorted(p)
    for value in p:
        by_definition.append(min(1.0, max((8 - k) * order[k] for k in range(8) if order[k] <= value)))
    assert statistics.holm(p) == pytest.approx(by_definition)


def row(probs, labels=(0, 0, 1, 1)):
    probs = np.array(probs, dtype=float)
    n = len(probs)
    return Pooled(tuple(map(str, range(n))), np.zeros(n, int), np.array(labels), probs, probs, tuple("aabb"))


def test_where_modalities_disagree_by_hand():
    speech = row([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
    image = row([[0.4, 0.6], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9]])  # differs on samples 0 and 3
    multiply = row([[0.6, 0.4], [0.8, 0.2], [0.1, 0.9], [0.4, 0.6]])
    add = row([[0.8, 0.2], [0.7, 0.3], [0.2, 0.8], [0.7, 0.3]])
    found = statistics.where_modalities_disagree(speech, image, multiply, add, Draws(50, 0))
    assert found["disagree"]["n"] == found["agree"]["n"] == 2
    differ = found["disagree"]
    # The surer one says class 0 of sample 0 (speech, 0.9) and class 1 of sample 3 (picture, 0.9).
    assert differ["multiply"]["score_of_surer"]["mean"] == pytest.approx((0.6 + 0.6) / 2)
    assert differ["add"]["score_of_surer"]["mean"] == pytest.approx((0.8 + 0.3) / 2)
    assert differ["multiply"]["accuracy"]["mean"] == 1.0
    assert differ["add"]["accuracy"]["mean"] == 0.5
    assert differ["multiply minus add"]["accuracy"]["mean"] == 0.5
    assert differ["multiply"]["confidence"]["mean"] == pytest.approx(0.6)
    same = statistics.where_modalities_disagree(speech, speech, multiply, add, Draws(5, 0))
    assert same["disagree"] == {"n": 0}


def log(**columns):
    names = ("validation_loss", "validation_accuracy", "validation_macro_f1", "validation_kappa", "train_accuracy")
    rows = zip(*(columns[name] for name in names), strict=True)
    return [dict(zip(names, values, strict=True)) for values in rows]


def test_convergence_by_hand():
    rows = log(
        validation_loss=[1.0, 0.504, 0.5, 0.6],
        validation_accuracy=[0.4, 0.6, 0.7, 0.5],
        validation_macro_f1=[0.3, 0.5, 0.6, 0.4],
        validation_kappa=[0.0, 0.2, 0.4, 0.1],
        train_accuracy=[0.5, 0.7, 0.9, 1.0],
    )
    found = statistics.convergence(rows, keep="best", max_epochs=30)
    assert (found["best_epoch"], found["kept_epoch"], found["converged_epoch"], found["epochs"]) == (3, 3, 2, 4)
    assert not found["at_limit"]
    assert found["in_line"]["mean_gap"] == pytest.approx(0.1)
    assert found["in_line"]["correlation"] == pytest.approx(1.0)
    assert found["overfit"] == pytest.approx(0.2)
    assert found["swing"] == pytest.approx((0.2 + 0.1 + 0.2) / 3)
    assert found["at_kept_epoch"]["kappa"] == pytest.approx(0.4)
    last = statistics.convergence(rows, keep="last", max_epochs=4)
    assert last["kept_epoch"] == 4
    assert last["overfit"] == pytest.approx(0.5)
    assert statistics.convergence(rows[:3], keep="best", max_epochs=3)["at_limit"]


def test_flat_curves_have_no_correlation():
    same = {"validation_loss": [1, 1, 1], "validation_kappa": [0, 0, 0], "train_accuracy": [1, 1, 1]}
    rows = log(**same, validation_accuracy=[0.5, 0.5, 0.5], validation_macro_f1=[0.3, 0.3, 0.3])
    found = statistics.convergence(rows, keep="best", max_epochs=3)
    assert found["in_line"] == {"mean_gap": pytest.approx(0.2), "correlation": None}
    assert found["converged_epoch"] == 1
