"""The weighted sum of Gaspar & Alexandre (Table 2), re-implemented: text, picture and what the picture shows.

`p = w_t p_text + w_i p_image + w_c p_content`. That it is a weighted sum of these three is published; the rest is our
reconstruction: what a picture shows is a class of an ImageNet classifier, the probability of each such class under each
sentiment is counted on the training part with Laplace smoothing and turned round by Bayes' rule, and the weights are
those of a grid with the best macro F1 on the validation part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from parallelnet.errors import InputError

from .text_reference import Ints, Probs, macro_f1

STEP = 0.05
SMOOTHING = 1.0
"""Laplace's: every class of content counts as seen once more under every sentiment."""


@dataclass(frozen=True, slots=True)
class ContentTable:
    """What was counted.

    Attributes:
        likelihood: P(content class | sentiment), [n_sentiments, n_content]; rows sum to 1.
        prior: P(sentiment), [n_sentiments], counted with the same smoothing.
    """

    likelihood: Probs
    prior: Probs

    @property
    def posterior(self) -> Probs:
        """P(sentiment | content class) by Bayes' rule, [n_content, n_sentiments]; rows sum to 1."""
        joint = (self.likelihood * self.prior[:, None]).T
        found: Probs = joint / joint.sum(axis=1, keepdims=True)
        return found

    def probs(self, content: npt.ArrayLike) -> Probs:
        """Return P(sentiment | picture), [n, n_sentiments]: the posterior averaged over what the picture may show.

        Args:
            content: the ImageNet classifier's probabilities, [n, n_content].
        """
        shown = np.asarray(content, dtype=np.float64)
        found: Probs = shown @ self.posterior / shown.sum(axis=1, keepdims=True)
        return found


def count_content(
    content: npt.ArrayLike, labels: Ints, n_sentiments: int, *, smoothing: float = SMOOTHING
) -> ContentTable:
    """Count which content stands under which sentiment; a picture counts for its most probable content class.

    Args:
        content: the ImageNet classifier's probabilities of the training pictures, [n, n_content].
        labels: their sentiments, [n].
        n_sentiments: sentiments in all.
        smoothing: added to every count; above 0, or content that was never seen would have no probability.

    Raises:
        InputError: shapes do not fit, or no smoothing.
    """
    shown = np.asarray(content)
    if shown.ndim != 2 or len(shown) != len(labels) or smoothing <= 0:
        raise InputError(
            f"Content of shape {shown.shape} came with {len(labels)} labels and smoothing {smoothing}; allowed: "
            "[n, n_content] with n labels, smoothing above 0."
        )
    counts = np.full((n_sentiments, shown.shape[1]), smoothing)
    np.add.at(counts, (np.asarray(labels), shown.argmax(axis=1)), 1)
    per_sentiment = np.bincount(labels, minlength=n_sentiments) + smoothing
    return ContentTable(counts / counts.sum(axis=1, keepdims=True), per_sentiment / per_sentiment.sum())


def grid(n_parts: int, step: float = STEP) -> Probs:
    """Return every way to share 1 among the parts in multiples of `step`, [n_ways, n_parts], in rising order.

    231 ways for three parts and 0.05, 21 for two. Multiples are counted as whole numbers, so that each row's sum is
    exact to the last bit of its division.
    """
    n_steps = round(1 / step)
    if n_parts < 1 or abs(n_steps * step - 1) > 1e-9:
        raise InputError(
            f"A grid of {n_parts} weights in steps of {step}: at least one weight, and steps that divide 1."
        )

    def shared(left: int, parts: int) -> list[list[int]]:
        if parts == 1:
            return [[left]]
        return [[first, *rest] for first in range(left + 1) for rest in shared(left - first, parts - 1)]

    return np.array(shared(n_steps, n_parts), dtype=np.float64) / n_steps


def weighted_sum(parts: Sequence[Probs], weights: npt.ArrayLike) -> Probs:
    """Return the parts' probabilities [n, n_sentiments] times their weights, summed."""
    summed: Probs = np.tensordot(np.asarray(weights, dtype=np.float64), np.stack(parts), axes=1)
    return summed


def choose_weights(parts: Sequence[Probs], labels: Ints, *, step: float = STEP) -> tuple[tuple[float, ...], float]:
    """Return the weights of the grid with the best macro F1, and that F1.

    Of equally good ones the sum that is the likeliest for the labels; where that is equal too, the first of the grid.

    Args:
        parts: of each part the probabilities on the validation part, [n, n_sentiments].
        labels: the truth, [n].
        step: of the grid.
    """
    n_sentiments = parts[0].shape[1]
    every = np.arange(len(labels))
    best: tuple[float, float] = (-1.0, 0.0)
    chosen: npt.NDArray[np.float64] = np.empty(0)
    for weights in grid(len(parts), step):
        summed = weighted_sum(parts, weights)
        log_likelihood = float(np.log(np.maximum(summed[every, labels], 1e-12)).sum())
        found = (macro_f1(labels, summed, n_sentiments), log_likelihood)
        if found > best:
            best, chosen = found, weights
    return tuple(float(w) for w in chosen), best[0]
