"""Temperature and conformal threshold against known answers."""

import math

import numpy as np
import pytest

from parallelnet.calibration import conformal_threshold, fit_temperature
from parallelnet.errors import InputError
from parallelnet.evaluation import evaluate

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


def test_temperature_recovers_a_known_scale():
    rng = np.random.default_rng(0)
    calibrated = rng.normal(size=(20_000, 4)) * 2
    y = (softmax(calibrated).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    for scale in (0.3, 1.0, 4.0):
        # 1 / T is estimated with a standard error of about 0.01 on 20,000 samples of this spread; four of them.
        assert fit_temperature(calibrated * scale, y) == pytest.approx(scale, rel=0.04)
    t = fit_temperature(calibrated * 4, y)
    before, after = (evaluate(y, softmax(calibrated * 4 / k), CLASSES, n_bootstrap=1) for k in (1, t))
    assert after.nll < before.nll
    assert after.ece < 0.02 < before.ece


def test_temperature_stays_in_its_bounds():
    y = np.array([0, 1, 2])
    assert 0.02 <= fit_temperature(np.eye(3) * 5, y) < 0.2  # all right: the surer the better
    assert fit_temperature(-np.eye(3) * 5, y) == pytest.approx(50, rel=1e-3)  # all wrong: the less sure the better
    with pytest.raises(InputError, match="not finite"):
        fit_temperature(np.full((3, 3), np.nan), y)


def test_conformal_threshold_by_hand():
    # Nine samples with true probabilities 0.1 to 0.9: rank (9 + 1) * 0.9 = 9 of 9, the largest of 1 - p.
    p = np.arange(1, 10) / 10
    table = np.column_stack([p, 1 - p])
    assert conformal_threshold(table, np.zeros(9, int)) == pytest.approx(0.9)
    assert conformal_threshold(table, np.zeros(9, int), coverage=0.5) == pytest.approx(0.5)
    # Eight cannot promise 90 %: all classes.
    assert conformal_threshold(table[:8], np.zeros(8, int)) == 1.0
    with pytest.raises(InputError, match="coverage is 1"):
        conformal_threshold(table, np.zeros(9, int), coverage=1)


@pytest.mark.parametrize("n_calibration", [40, 200])
def test_conformal_sets_cover_as_promised(n_calibration):
    covered, size = [], []
    for seed in range(100):
        y, logits = drawn(n_calibration + 500, seed=seed)
        p = softmax(logits)
        q = conformal_threshold(p[:n_calibration], y[:n_calibration])
        sets = 1 - p[n_calibration:] <= q
        covered.append(sets[np.arange(500), y[n_calibration:]].mean())
        size.append(sets.sum(axis=1).mean())
    # Expected between 0.9 and 0.9 + 1 / (n + 1). One draw's coverage is Beta with standard deviation sqrt(0.09 / n),
    # and 500 tests add sqrt(0.09 / 500); four standard errors of the mean of a hundred.
    tolerance = 4 * math.sqrt((0.09 / n_calibration + 0.09 / 500) / 100)
    assert 0.9 - tolerance <= np.mean(covered) <= 0.9 + 1 / (n_calibration + 1) + tolerance
    assert np.mean(size) < 3.5  # naming every class would cover, too
