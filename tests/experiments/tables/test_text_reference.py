"""The text reference: learns words, chooses on the validation part alone, and labels no text that it has seen."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from parallelnet.errors import ManifestError
from parallelnet.types import SENTIMENTS, Sample
from parallelnet_experiments.tables import sentiment_methods
from parallelnet_experiments.tables.sentiment_methods import C_GRID, CLASS_WEIGHTS

CUES = ("awful gloomy", "table chair", "lovely sunny")
FILLER = ("today", "again", "really", "somewhere", "people", "nothing", "monday", "coffee")


def tweets(n_per_class: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(3), n_per_class)
    return [f"{' '.join(rng.choice(FILLER, 3))} {CUES[label].split()[rng.integers(2)]}" for label in labels], labels


def test_words_decide() -> None:
    texts, labels = tweets(20)
    classifier, _ = sentiment_methods.choose_text(texts, labels, *tweets(6, 1))
    unseen, truth = tweets(10, 2)
    probs = classifier.probs(unseen)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert (probs.argmax(axis=1) == truth).mean() > 0.9
    assert classifier.probs([]).shape == (0, 3)


def test_the_choice_is_the_best_on_the_validation_part() -> None:
    texts, labels = tweets(20)
    rng = np.random.default_rng(3)
    noisy = np.where(rng.random(len(labels)) < 0.4, rng.integers(3, size=len(labels)), labels)
    validation, truth = tweets(15, 1)
    truth = np.where(rng.random(len(truth)) < 0.4, 2, truth)
    chosen, best = sentiment_methods.choose_text(texts, noisy, validation, truth)
    scores = {}
    for class_weight in CLASS_WEIGHTS:
        for c in C_GRID:
            fitted = sentiment_methods.fit_text(texts, noisy, c, class_weight)
            scores[c, class_weight] = sentiment_methods.macro_f1(truth, fitted.probs(validation))
    assert len(set(scores.values())) > 1  # or every choice would be the best
    assert best == max(scores.values())
    assert (chosen.c, chosen.class_weight) == next(key for key, score in scores.items() if score == best)


def test_training_texts_are_labelled_by_who_has_not_seen_them() -> None:
    # Words that stand in one text alone: whoever has seen the text knows its label, who has not cannot.
    samples = [Sample(str(k), image="x", text=f"word{chr(97 + k)}x", sentiment=SENTIMENTS[k % 3]) for k in range(24)]
    labels = np.arange(24) % 3
    texts = [s.text for s in samples]
    fitted = sentiment_methods.fit_text(texts, labels, 30.0, "none")
    seen = fitted.probs(texts)
    assert (seen.argmax(axis=1) == labels).all()
    unseen = sentiment_methods.out_of_fold(samples, labels, 0, fitted)
    assert (unseen.argmax(axis=1) == labels).mean() < 0.6
    np.testing.assert_allclose(unseen.max(axis=1), 1 / 3, atol=0.1)
    # And texts that belong together are left out together.
    together = [
        Sample(s.id, image="x", text=f"same{k % 8}x", sentiment=SENTIMENTS[k % 8 % 3], group=str(k % 8))
        for k, s in enumerate(samples)
    ]
    truth = np.array([k % 8 % 3 for k in range(24)])
    said = sentiment_methods.out_of_fold(together, truth, 0, fitted)
    assert (said.argmax(axis=1) == truth).mean() < 0.7


def test_a_class_that_an_inner_part_lacks_has_no_probability() -> None:
    texts, labels = tweets(6)
    two = labels != 1
    classifier = sentiment_methods.fit_text(
        [t for t, keep in zip(texts, two, strict=True) if keep], labels[two], 1.0, "none"
    )
    assert (classifier.probs(texts)[:, 1] == 0).all()


def test_texts_without_words_are_refused() -> None:
    with pytest.raises(ManifestError, match="None of 3 training texts has a word"):
        sentiment_methods.fit_text(["!", "?", "a"], np.arange(3), 1.0, "none")


def test_macro_f1_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    for n_said in (3, 2, 1):  # classes that are never predicted count, too
        labels, said = rng.integers(3, size=30), rng.integers(n_said, size=30)
        expected = f1_score(labels, said, labels=[0, 1, 2], average="macro", zero_division=0.0)
        assert sentiment_methods.macro_f1(labels, np.eye(3)[said]) == pytest.approx(expected)
    assert sentiment_methods.macro_f1(np.array([0, 0]), np.eye(3)[[0, 0]]) == pytest.approx(1 / 3)
