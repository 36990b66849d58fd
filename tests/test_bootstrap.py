"""The rounds' arithmetic against scikit-learn's, and their intervals against a plain bootstrap."""

import time

import numpy as np
import pytest

from parallelnet import evaluation
from parallelnet.evaluation import MIN_PROB, SCALARS, evaluate

CLASSES = ("anger", "happy", "hate", "sad")
EXACT = 1e-12  # the same sums in another order, in float64


def drawn(n=300, n_classes=4, seed=0, skill=1.5):
    """True classes and logits of a model of some skill, not calibrated."""
    rng = np.random.default_rng(seed)
    y = rng.choice(n_classes, size=n, p=np.arange(1, n_classes + 1) / (n_classes * (n_classes + 1) / 2))
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), y] += skill
    return y, logits


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


CASES = {
    "all classes": (4, {}),
    "two classes": (2, {}),
    "a class that the truth lacks": (4, {"true": (0, 1, 0, 3)}),
    "a class that is never said": (4, {"said": (0, 1, 0, 3)}),
    "a class that occurs nowhere": (4, {"true": (0, 1, 0, 3), "said": (0, 1, 0, 3)}),
    "one class in the truth": (4, {"true": (2, 2, 2, 2)}),
    "one class in both": (4, {"true": (2, 2, 2, 2), "said": (2, 2, 2, 2)}),
    "never right": (2, {"true": (0, 0), "said": (1, 1)}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_arithmetic_is_scikit_learns(case):
    # `evaluate` gives scikit-learn's figures of the sample; all of it drawn once must give the same.
    n_classes, become = CASES[case]
    y, logits = drawn(n_classes=n_classes)
    p = softmax(logits)
    if "true" in become:
        y = np.array(become["true"])[y]
    if "said" in become:
        p = np.eye(n_classes)[np.array(become["said"])[p.argmax(axis=1)]] * 0.9 + 0.1 / n_classes
    found = evaluate(y, p, CLASSES[:n_classes], n_bootstrap=1)
    total = evaluation.summands(y, p, MIN_PROB).sum(axis=0, keepdims=True)
    scalars, recall = evaluation.figures(total, n_classes)
    assert set(scalars) == set(SCALARS)
    for name in SCALARS:
        assert scalars[name][0] == pytest.approx(getattr(found, name), abs=EXACT, nan_ok=True), name
    assert list(recall[0]) == pytest.approx(list(found.per_class_recall.values()), abs=EXACT, nan_ok=True)
    assert np.array_equal(total[0, : n_classes**2].reshape(n_classes, n_classes), found.confusion_matrix)
    assert np.isnan(scalars["cohen_kappa"][0]) == (case == "one class in both")


def test_intervals_are_those_of_a_plain_bootstrap():
    y, logits = drawn(200)
    p = softmax(logits)
    found = evaluate(y, p, CLASSES, n_bootstrap=4000, seed=1)
    rng = np.random.default_rng(2)
    rounds = []
    for _ in range(1000):
        draw = rng.integers(len(y), size=len(y))
        rounds.append(evaluation.summands(y[draw], p[draw], MIN_PROB).sum(axis=0))
    scalars, recalls = evaluation.figures(np.array(rounds), 4)
    scalars["recall_sad"] = recalls[:, 3]
    for name, values in scalars.items():
        # The standard error of a 2.5 % quantile is about 2.7 / sqrt(rounds) standard deviations, 0.085 for a thousand;
        # four of them.
        assert found.ci95[name] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.34 * values.std())
        low, high = found.ci95[name]
        assert low < high


def test_seed_repeats_and_small_chunks_change_nothing(monkeypatch):
    y, logits = drawn(100)
    p = softmax(logits)
    first, again = (evaluate(y, p, CLASSES, seed=3) for _ in range(2))
    assert first == again
    assert evaluate(y, p, CLASSES, seed=4).ci95 != first.ci95
    monkeypatch.setattr(evaluation, "MAX_WEIGHTS", 700)  # seven rounds at a time
    in_chunks = evaluate(y, p, CLASSES, seed=3)
    for name, bounds in first.ci95.items():
        assert in_chunks.ci95[name] == pytest.approx(bounds, abs=EXACT)


def test_a_thousand_rounds_are_fast():
    y, logits = drawn(1000)
    p = softmax(logits)
    start = time.process_time()  # of this process: other work on the machine does not count
    evaluate(y, p, CLASSES, n_bootstrap=1000)
    assert time.process_time() - start < 3  # 0.15 s on an idle core; tens of seconds for a loop over scikit-learn
