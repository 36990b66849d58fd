"""Metrics, folds and paired tests against values worked out by hand."""

import json
import math

import numpy as np
import pytest

from parallelnet.errors import InputError
from parallelnet.evaluation import Metrics, evaluate, summarise_folds
from parallelnet.report import terminal

CLASSES = ("anger", "happy", "hate", "sad")


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


def one_hot(said, n_classes):
    return np.eye(n_classes)[said]


def test_by_hand():
    # Truth a a a b b; said a a b b a.
    y = [0, 0, 0, 1, 1]
    p = [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.9, 0.1]]
    found = evaluate(y, p, ("a", "b"), n_bootstrap=5)
    assert found.confusion_matrix == ((2, 1), (1, 1))
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.per_class_recall == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 2)}
    assert found.uar == pytest.approx(7 / 12)
    assert found.macro_f1 == pytest.approx((4 / 6 + 2 / 4) / 2)
    chance = (3 * 3 + 2 * 2) / 25
    assert found.cohen_kappa == pytest.approx((3 / 5 - chance) / (1 - chance))
    assert found.nll == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7, 0.1]).mean())
    assert found.brier == pytest.approx(2 * np.square([0.1, 0.2, 0.6, 0.3, 0.9]).mean())
    # Bins of 1/15: 0.6 in the 9th, 0.7 in the 10th, 0.8 in the 12th, both 0.9 in the 13th (one of them right).
    assert found.ece == pytest.approx((0.6 + (1 - 0.7) + (1 - 0.8) + abs(1 - 1.8)) / 5)
    assert [n for n, _, _ in found.reliability] == [0] * 9 + [1, 1, 0, 1, 2, 0]
    assert found.reliability[13][1:] == (pytest.approx(0.9), pytest.approx(0.5))
    assert (found.n, found.per_class_n) == (5, {"a": 3, "b": 2})


def shown(capsys, found):
    """What `evaluate` prints of metrics."""
    facts = {"checkpoint": "toy", "data": "d", "split": "all", "modalities": "both"}
    terminal.show("measured", of=found, failures=(("a", "gone"),), facts=facts, out="DIR")
    told = capsys.readouterr().out
    assert told.endswith("1 samples could not be evaluated (see DIR/failures.csv); the first, a: gone\n")
    return told


def test_a_class_that_the_truth_lacks_is_null_and_said(capsys):
    y, said = [0, 0, 1, 1], [0, 0, 1, 2]
    found = evaluate(y, one_hot(said, 4), CLASSES, n_bootstrap=50)
    assert math.isnan(found.per_class_recall["hate"])
    assert found.uar == pytest.approx((1 + 0.5) / 2)
    # F1 over the three classes that occur anywhere: 1, 2/3 and 0; `sad` occurs nowhere.
    assert found.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    record = json.loads(found.to_json())
    assert record["per_class_recall"]["hate"] is None
    assert record["ci95"]["recall_hate"] == [None, None]
    told = shown(capsys, found)
    assert "No sample is hate or sad: UAR is over the other classes." in told
    assert "recall hate      -     [  -  ,   -  ]  n 0" in told


def test_one_class_alone_has_no_kappa():
    found = evaluate([1, 1], one_hot([1, 1], 2), ("a", "b"), n_bootstrap=10)
    assert found.accuracy == 1
    assert math.isnan(found.cohen_kappa)
    assert json.loads(found.to_json())["cohen_kappa"] is None


def test_a_class_that_is_never_said_has_recall_and_f1_of_zero():
    found = evaluate([0, 1, 1, 2], one_hot([0, 1, 1, 1], 3), ("a", "b", "c"), n_bootstrap=1)
    assert found.per_class_recall == {"a": 1, "b": 1, "c": 0}
    assert found.uar == pytest.approx(2 / 3)
    assert found.macro_f1 == pytest.approx((1 + 4 / 5 + 0) / 3)


def test_one_impossible_truth_does_not_make_the_loss_infinite():
    found = evaluate([0, 1], one_hot([0, 0], 2), ("a", "b"), n_bootstrap=1)
    assert found.nll == pytest.approx(-math.log(1e-12) / 2)
    assert found.brier == 1


def test_rounding_of_float32_passes_without_a_warning():
    y, logits = drawn()
    exact = softmax(logits)
    rough = np.round(exact, 4)  # rows off by up to 2e-4, where scikit-learn warns from 1.5e-8
    assert evaluate(y, rough, CLASSES, n_bootstrap=1).nll == pytest.approx(
        evaluate(y, exact, CLASSES, n_bootstrap=1).nll, rel=1e-3
    )
    assert evaluate(y, exact.astype(np.float32), CLASSES, n_bootstrap=1).n == 300


def test_json_round_trip():
    y, logits = drawn(50)
    found = evaluate(y % 2, softmax(logits), CLASSES, n_bootstrap=20)
    assert Metrics.from_json(found.to_json()) == found
    summary = summarise_folds([found])
    assert json.loads(json.dumps(summary)) == summary
    wanted = {"n", "accuracy", "macro_f1", "cohen_kappa", "uar", "ece", "per_class_recall", "confusion_matrix", "ci95"}
    assert wanted <= set(found.to_dict())


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        right = rng.random(100) < 0.7
        low, high = evaluate(np.zeros(100, int), one_hot(np.where(right, 0, 1), 2), ("a", "b"), seed=seed).ci95[
            "accuracy"
        ]
        covered += low <= 0.7 <= high
    # Binomial(200, 0.95): 190, standard deviation 3.1; percentile intervals at n = 100 cover some 93 to 94 %. Five
    # standard deviations below, and never all of them.
    assert 174 <= covered < 200


def test_groups_are_drawn_whole(capsys):
    # Ten speakers of twenty samples, each all right or all wrong: twenty times fewer independent draws.
    groups = np.repeat([f"speaker {k}" for k in range(10)], 20)
    right = np.repeat(np.arange(10) % 2 == 0, 20)
    p = one_hot(np.where(right, 0, 1), 2)
    y = np.zeros(200, int)
    by_sample, by_group = evaluate(y, p, ("a", "b")), evaluate(y, p, ("a", "b"), groups=list(groups))

    def width(found):
        low, high = found.ci95["accuracy"]
        return high - low

    assert by_sample.accuracy == by_group.accuracy
    # sqrt(20) = 4.5 times wider; quantiles of ten draws are coarse, so a third either way.
    assert 3 < width(by_group) / width(by_sample) < 6
    assert (by_group.resample, by_group.n_groups, by_sample.resample, by_sample.n_groups) == (
        "group",
        10,
        "sample",
        200,
    )
    assert "10 groups" in shown(capsys, by_group)


@pytest.mark.parametrize(
    ("y", "p", "text"),
    [
        ([0, 1], [[1, 0]], "do not fit"),
        ([], np.zeros((0, 2)), "do not fit"),
        ([0, 2], [[1, 0], [0, 1]], "integers from 0 to 1"),
        ([0.0, 1.0], [[1, 0], [0, 1]], "integers"),
        ([0], [[0.2, 0.3, 0.5]], "3 columns for 2 classes"),
        ([0], [[1.0]], "1 columns for 2 classes"),
        ([0], [[3.0, -2.0]], "must be finite, not below 0, and sum to 1"),
        ([0], [[0.7, 0.7]], "sum to 1"),
        ([0], [[np.nan, 1]], "finite"),
    ],
)
def test_arrays_that_are_no_predictions(y, p, text):
    with pytest.raises(InputError, match=text):
        evaluate(y, p, ("a", "b"))


def test_one_class_is_no_choice():
    with pytest.raises(InputError, match="two or more"):
        evaluate([0], [[1.0]], ("a",))


def test_groups_need_one_each():
    with pytest.raises(InputError, match="1 groups for 2 samples"):
        evaluate([0, 1], [[1, 0], [0, 1]], ("a", "b"), groups=["x"])


def test_folds_by_hand():
    folds = [
        evaluate([0, 0, 1, 1], one_hot(said, 2), ("a", "b"), n_bootstrap=1)
        for said in ([0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 0, 1])
    ]
    summary = summarise_folds(folds)
    assert summary["mean"]["accuracy"] == pytest.approx(0.75)
    assert summary["std"]["accuracy"] == pytest.approx(0.25)  # of 1, 0.75 and 0.5, n - 1 below
    assert summary["mean"]["recall_b"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert summary["confusion_matrix"] == [[4, 2], [1, 5]]
    lacking = evaluate([0], one_hot([0], 2), ("a", "b"), n_bootstrap=1)
    assert summarise_folds([folds[2], lacking])["mean"]["recall_b"] == 0.5
    assert summarise_folds(folds[:1])["std"]["accuracy"] is None
    with pytest.raises(InputError, match="no folds"):
        summarise_folds([])
    with pytest.raises(InputError, match="different classes"):
        summarise_folds([folds[0], evaluate([0], one_hot([0], 2), ("b", "a"), n_bootstrap=1)])
