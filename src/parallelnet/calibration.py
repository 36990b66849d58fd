"""Probabilities that can be believed: temperature, conformal threshold, and how far off the bins are.

Fitted on samples that neither the network nor its stopping saw (design section 6); scipy is imported where it is used.
"""

import math

import numpy as np
import numpy.typing as npt

from .errors import InputError

# Calibration bins of equal width over [0, 1], as Guo et al. 2017 (On Calibration of Modern Neural Networks).
N_BINS = 15

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
    from scipy.special import log_softmax

    z = np.asarray(logits, dtype=np.float64)
    y = class_indices(y_true, z)
    if not np.isfinite(z).all():
        raise InputError("The logits hold numbers that are not finite.")

    def loss(log_temperature: float) -> float:
        return -float(np.mean(log_softmax(z / math.exp(log_temperature), axis=1)[np.arange(len(y)), y]))

    # In log(T) the loss has one minimum (it is convex in 1/T), so a bounded search cannot miss it.
    bounds = (math.log(0.02), math.log(50.0))
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def softmax(logits: npt.ArrayLike) -> Floats:
    """Return probabilities [n, n_classes] of logits; no logit is too large for it."""
    raised = np.asarray(logits, dtype=np.float64)  # scipy.special would take longer to load than to predict
    raised = np.exp(raised - raised.max(axis=1, keepdims=True))
    probs: Floats = raised / raised.sum(axis=1, keepdims=True)
    return probs


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
    y = class_indices(y_true, p)
    if not 0 < coverage < 1:
        raise InputError(f"coverage is {coverage}; between 0 and 1, for instance 0.9.")
    scores = np.sort(1.0 - p[np.arange(len(y)), y])
    # The tiny step keeps an exact product, say (9 + 1) * 0.9, from being rounded up past itself.
    rank = math.ceil((len(y) + 1) * coverage - 1e-9)
    return float(scores[rank - 1]) if rank <= len(y) else 1.0


def bins(p: Floats) -> Ints:
    """Return the bin of each sample's largest probability: [k/15, (k+1)/15), the last with exactly 1, too."""
    index: Ints = np.minimum((p.max(axis=1) * N_BINS).astype(np.int64), N_BINS - 1)
    return index


def reliability(y: Ints, p: Floats) -> tuple[tuple[int, float, float], ...]:
    """Return each bin's samples, mean confidence, and part that is right; from low confidence to high."""
    index, sure, right = bins(p), p.max(axis=1), p.argmax(axis=1) == y
    found = []
    for k in range(N_BINS):
        inside = index == k
        n = int(np.count_nonzero(inside))
        found.append((n, float(sure[inside].mean()), float(right[inside].mean())) if n else (0, math.nan, math.nan))
    return tuple(found)


def class_indices(y_true: npt.ArrayLike, table: Floats) -> Ints:
    """Return the true classes as int64 [n], checked against the table [n, n_classes] that they belong to.

    Raises:
        InputError: shapes do not fit, or a class that the table has no column for.
    """
    y = np.asarray(y_true)
    if table.ndim != 2 or y.ndim != 1 or len(y) != len(table) or not len(y):
        raise InputError(f"Classes of shape {y.shape} do not fit a table of shape {table.shape}: [n] and [n, classes].")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= table.shape[1]:
        raise InputError(f"True classes are integers from 0 to {table.shape[1] - 1}; got {y.dtype} up to {y.max()}.")
    return y.astype(np.int64)
