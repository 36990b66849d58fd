"""Sentiment from a tweet's words alone: TF-IDF and logistic regression, the reference that Table 2 is read against.

The same classifier is the text part of both re-implemented methods of the table: it labels pictures for cross-media
learning, and gives `p_text` of the weighted sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from parallelnet.data.splits import deal
from parallelnet.errors import ManifestError
from parallelnet.types import Sample

Probs = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ClassWeight = Literal["none", "balanced"]

C_GRID: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Inverse regularisation strengths that are tried."""
CLASS_WEIGHTS: tuple[ClassWeight, ...] = ("none", "balanced")
"""Whether rare classes count as much as frequent ones; tried with each C."""
N_INNER = 5
"""Parts of the inner cross-validation that labels the training texts."""


@dataclass(frozen=True, slots=True)
class TextChoice:
    """What the validation part decided.

    Attributes:
        c: inverse regularisation strength, one of `C_GRID`.
        class_weight: one of `CLASS_WEIGHTS`.
        macro_f1: on the validation part; None where nothing was chosen.
    """

    c: float
    class_weight: ClassWeight
    macro_f1: float | None = None


@dataclass(frozen=True, slots=True)
class TextClassifier:
    """A fitted classifier and how it was made.

    Attributes:
        choice: C and class weight.
        n_classes: columns of what it says.
    """

    choice: TextChoice
    n_classes: int
    _vectoriser: Any
    _regression: Any

    def probs(self, texts: Sequence[str]) -> Probs:
        """Return the probability of each class, [n, n_classes]; a text without a known word gets the intercepts'."""
        probs = np.zeros((len(texts), self.n_classes))
        if len(texts):
            # An inner training part may lack a rare class, and scikit-learn then leaves its column out.
            probs[:, self._regression.classes_] = self._regression.predict_proba(self._vectoriser.transform(texts))
        return probs


def fit_text(texts: Sequence[str], labels: Ints, n_classes: int, choice: TextChoice) -> TextClassifier:
    """Return the classifier of the choice, fitted.

    Words and pairs of words, sublinear term counts; the solver (lbfgs) starts at zero, so nothing here is random.

    Args:
        texts: as written in the tweets.
        labels: class of each, [n], at least two different ones.
        n_classes: classes in all.
        choice: C and class weight.

    Raises:
        ManifestError: no text has a word.
    """
    vectoriser = _vectoriser(texts)
    return TextClassifier(choice, n_classes, vectoriser, _regression(vectoriser.transform(texts), labels, choice))


def choose_text(
    texts: Sequence[str], labels: Ints, validation_texts: Sequence[str], validation_labels: Ints, n_classes: int
) -> TextClassifier:
    """Return the classifier whose C and class weight have the best macro F1 on the validation part.

    Of equally good ones the first of the grid, with the stronger regularisation. It is not fitted again on both parts,
    for networks have to do without the validation part, too.

    Raises:
        ManifestError: no text has a word.
    """
    vectoriser = _vectoriser(texts)
    counts = vectoriser.transform(texts)
    best: TextClassifier | None = None
    for class_weight, c in itertools.product(CLASS_WEIGHTS, C_GRID):
        choice = TextChoice(c, class_weight)
        found = TextClassifier(choice, n_classes, vectoriser, _regression(counts, labels, choice))
        score = macro_f1(validation_labels, found.probs(validation_texts), n_classes)
        if best is None or best.choice.macro_f1 is None or score > best.choice.macro_f1:
            best = replace(found, choice=replace(choice, macro_f1=score))
    assert best is not None
    return best


def _vectoriser(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode").fit(texts)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        raise ManifestError(
            f"None of {len(texts)} training texts has a word of two letters or more. Needed: a column 'text' with the "
            "words of each tweet."
        ) from None


def _regression(counts: Any, labels: Ints, choice: TextChoice) -> Any:
    from sklearn.linear_model import LogisticRegression

    weight = None if choice.class_weight == "none" else choice.class_weight
    return LogisticRegression(C=choice.c, class_weight=weight, max_iter=2000).fit(counts, labels)


def out_of_fold(samples: Sequence[Sample], labels: Ints, n_classes: int, choice: TextChoice, seed: int) -> Probs:
    """Return what classifiers that have not seen a text say of it, [n, n_classes].

    Inner cross-validation over the samples, stratified, with samples that share a speaker, a text or a picture in one
    part; so labels of training pictures are predictions, as they are of tweets that nobody labelled, and no copies.

    Raises:
        ManifestError: the groups do not allow `N_INNER` parts.
    """
    parts = deal(samples, N_INNER, seed, target="sentiment")
    probs = np.zeros((len(samples), n_classes))
    for part in range(N_INNER):
        inside = parts == part
        fitted = fit_text([s.text for s in itertools.compress(samples, ~inside)], labels[~inside], n_classes, choice)
        probs[inside] = fitted.probs([s.text for s in itertools.compress(samples, inside)])
    return probs


def macro_f1(labels: Ints, probs: Probs, n_classes: int) -> float:
    """Return the mean F1 over all classes, 0 for one that neither occurs nor is predicted: what choices go by."""
    # By hand: the grids ask hundreds of times, and scikit-learn takes milliseconds to look at its arguments.
    cells = labels * n_classes + probs.argmax(axis=1)
    matrix = np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)
    either = matrix.sum(axis=0) + matrix.sum(axis=1)
    return float((2 * matrix.diagonal() / np.maximum(either, 1)).mean())
