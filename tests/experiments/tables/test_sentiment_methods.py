"""The weighted sum: counts against a count by hand, the grid against brute force, Bayes against its formula."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import f1_score

from parallelnet.errors import ManifestError
from parallelnet.types import SENTIMENTS, Sample
from parallelnet_experiments.tables import sentiment_methods


def random_probs(rng: np.random.Generator, n: int, k: int = 3) -> np.ndarray:
    return rng.dirichlet(np.ones(k), n)


def test_content_is_counted_with_laplace_smoothing() -> None:
    # Five pictures of four contents; content 3 is never the most probable.
    content = np.array([[5, 3, 1, 1], [6, 2, 1, 1], [1, 7, 1, 1], [2, 2, 5, 1], [0, 9, 1, 0]]) / 10
    labels = np.array([0, 0, 0, 2, 2])
    posterior = sentiment_methods.content_posterior(content, labels)
    by_hand = [
        [Fraction(3, 7), Fraction(2, 7), Fraction(1, 7), Fraction(1, 7)],
        [Fraction(1, 4)] * 4,
        [Fraction(1, 6), Fraction(2, 6), Fraction(2, 6), Fraction(1, 6)],
    ]
    prior = np.array([4, 1, 3]) / 8
    # Bayes by hand, for content 1: 2/7 * 4/8, 1/4 * 1/8, 2/6 * 3/8.
    joint = np.array(by_hand, dtype=float) * prior[:, None]
    np.testing.assert_allclose(joint[:, 1], np.array([Fraction(8, 56), Fraction(1, 32), Fraction(6, 48)], dtype=float))
    np.testing.assert_allclose(posterior, (joint / joint.sum(axis=0)).T)
    np.testing.assert_allclose(posterior.sum(axis=1), 1)


def test_a_loop_counts_the_same() -> None:
    rng = np.random.default_rng(0)
    content, labels = random_probs(rng, 60, 7), rng.integers(3, size=60)
    posterior = sentiment_methods.content_posterior(content, labels)
    joint = np.zeros((7, 3))
    for sentiment, kind in itertools.product(range(3), range(7)):
        n = sum(1 for row, label in zip(content, labels, strict=True) if label == sentiment and row.argmax() == kind)
        total = sum(1 for label in labels if label == sentiment)
        joint[kind, sentiment] = (n + 1) / (total + 7) * (total + 1)
    np.testing.assert_allclose(posterior, joint / joint.sum(axis=1, keepdims=True))


def test_the_grid_is_the_simplex_in_steps_of_a_twentieth() -> None:
    for n_parts, n_ways in ((1, 1), (2, 21), (3, 231)):
        grid = sentiment_methods.grid(n_parts)
        assert grid.shape == (n_ways, n_parts)
        np.testing.assert_allclose(grid.sum(axis=1), 1, atol=1e-15)
    brute = [w for w in itertools.product(range(21), repeat=3) if sum(w) == 20]
    assert sorted(map(tuple, np.rint(sentiment_methods.grid(3) * 20).astype(int).tolist())) == sorted(brute)


@pytest.mark.parametrize("n_parts", [2, 3])
def test_the_weights_are_the_best_of_all(n_parts: int) -> None:
    rng = np.random.default_rng(n_parts)
    labels = rng.integers(3, size=40)
    parts = [
        0.4 * np.eye(3)[labels] + 0.6 * random_probs(rng, 40),
        *(random_probs(rng, 40) for _ in range(n_parts - 1)),
    ]
    weights, score = sentiment_methods.choose_weights(parts, labels)
    best = 0.0
    for ways in itertools.product(range(21), repeat=n_parts):
        if sum(ways) == 20:
            summed = sum(w / 20 * part for w, part in zip(ways, parts, strict=True))
            best = max(best, f1_score(labels, summed.argmax(axis=1), average="macro"))
    assert score == pytest.approx(best)
    said = sentiment_methods.weighed(parts, weights)
    np.testing.assert_allclose(said, sum(w * part for w, part in zip(weights, parts, strict=True)))
    assert f1_score(labels, said.argmax(axis=1), average="macro") == pytest.approx(best)


def test_of_equal_scores_the_likelier_sum_is_taken() -> None:
    # The second part is right and sure, the first right and unsure: every weight has the same F1.
    labels = np.array([0, 1, 2])
    unsure, sure = 0.1 * np.eye(3) + 0.3, np.eye(3)
    weights, score = sentiment_methods.choose_weights([unsure, sure], labels)
    assert score == 1
    assert weights == (0.0, 1.0)


def test_a_part_that_knows_nothing_gets_no_weight_where_it_would_harm() -> None:
    labels = np.array([0, 1, 2, 0])
    wrong = np.eye(3)[(labels + 1) % 3]
    weights, _ = sentiment_methods.choose_weights([np.eye(3)[labels], wrong], labels)
    assert weights == (1.0, 0.0)


def tweets(n: int, *, start: int = 0) -> list[Sample]:
    return [
        Sample(f"t{k}", image=f"{k}.png", text=f"tweet {k}", sentiment=SENTIMENTS[k % 3])
        for k in range(start, start + n)
    ]


def test_the_most_confident_of_each_predicted_class_are_kept() -> None:
    probs = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8], [0, 0.2, 0.8]])
    assert sentiment_methods.most_confident(probs, 0.5).tolist() == [True, True, False, True, True, False]
    assert sentiment_methods.most_confident(probs, 0.01).tolist() == [True, False, False, True, True, False]
    assert sentiment_methods.most_confident(probs, 1.0).all()


def test_pictures_get_the_labels_of_their_words_not_those_of_people() -> None:
    labelled, others = tweets(3), tweets(2, start=10)
    truth = np.array([0, 1, 2])
    ours = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.0, 0.1, 0.9]])  # the second one against people
    theirs = np.array([[0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    found, facts = sentiment_methods.label_pictures(labelled, ours, others, theirs, truth, 1.0)
    assert [s.id for s in found.samples] == ["t0", "t1", "t2", "t10", "t11"]
    assert list(found.labels) == [0, 0, 2, 1, 2]
    assert facts["agreement_with_people"] == pytest.approx(2 / 3, abs=1e-4)
    assert facts["n_kept_unlabelled"] == 2
    assert facts["kept_per_class"] == {"negative": 2, "neutral": 1, "positive": 2}
    half, half_facts = sentiment_methods.label_pictures(labelled, ours, others, theirs, truth, 0.5)
    assert [s.id for s in half.samples] == ["t0", "t2", "t10"]
    assert half_facts["least_confidence_per_class"] == {"negative": 0.8, "neutral": 0.8, "positive": 0.9}
    with pytest.raises(ManifestError, match="none of 3 tweets 'neutral'"):
        sentiment_methods.label_pictures(labelled, ours, [], np.empty((0, 3)), truth, 1.0)
