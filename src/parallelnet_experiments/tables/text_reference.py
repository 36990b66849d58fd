"""Sentiment from a tweet's words alone: TF-IDF and logistic regression, the reference that Table 2 is read against.

The same classifier is the text part of both re-implemented methods of the table: it labels pictures for cross-media
learning, and gives `p_text` of the weighted sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
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
class TextClassifier:
    """A fitted classifier and how it was made.

    Attributes:
        c: inverse regularisation strength, one of `C_GRID`.
        class_weight: one of `CLASS_WEIGHTS`.
        n_classes: columns of what it says.
    """

    c: float
    class_weight: ClassWeight
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


def fit_text(
    texts: Sequence[str],
    labels: Ints,
    n_classes: int,
    *,
    c: float,
    class_weight: ClassWeight,
    vectoriser: Any = None,
) -> TextClassifier:
    """Return a fitted classifier.

    Words and pairs of words, sublinear term counts; the solver (lbfgs) starts at zero, so nothing here is random.

    Args:
        texts: as written in the tweets.
        labels: class of each, [n], at least two different ones.
        n_classes: classes in all.
        c: inverse regularisation strength.
        class_weight: whether rare classes count as much as frequent ones.
        vectoriser: fitted on these texts before; a new one without it.

    Raises:
        ManifestError: no text has a word.
    """
    from sklearn.linear_model import LogisticRegression

    vectoriser = vectoriser or _vectoriser(texts)
    weight = None if class_weight == "none" else class_weight
    regression = LogisticRegression(C=c, class_weight=weight, max_iter=2000)
    return TextClassifier(c, class_weight, n_classes, vectoriser, regression.fit(vectoriser.transform(texts), labels))


def choose_text(
    texts: Sequence[str], labels: Ints, validation_texts: Sequence[str], validation_labels: Ints, n_classes: int
) -> tuple[TextClassifier, float]:
    """Return the classifier whose C and class weight have the best macro F1 on the validation part, and that F1.

    Of equally good ones the first of the grid, with the stronger regularisation. It is not fitted again on both parts,
    for networks have to do without the validation part, too.

    Raises:
        ManifestError: no text has a word.
    """
    vectoriser = _vectoriser(texts)
    tried = (
        fit_text(texts, labels, n_classes, c=c, class_weight=weight, vectoriser=vectoriser)
        for weight, c in itertools.product(CLASS_WEIGHTS, C_GRID)
    )
    scored = ((each, macro_f1(validation_labels, each.probs(validation_texts), n_classes)) for each in tried)
    return max(scored, key=lambda found: found[1])


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


def out_of_fold(samples: Sequence[Sample], labels: Ints, seed: int, like: TextClassifier) -> Probs:
    """Return what classifiers that have not seen a text, made `like` another one, say of it, [n, n_classes].

    Inner cross-validation over the samples, stratified, with samples that share a speaker, a text or a picture in one
    part; so labels of training pictures are predictions, as they are of tweets that nobody labelled, and no copies.

    Raises:
        ManifestError: the groups do not allow `N_INNER` parts.
    """
    parts = deal(samples, N_INNER, seed, target="sentiment")
    texts = [s.text for s in samples]
    probs = np.zeros((len(samples), like.n_classes))
    for inside in (parts == part for part in range(N_INNER)):
        seen = list(itertools.compress(texts, ~inside))
        fitted = fit_text(seen, labels[~inside], like.n_classes, c=like.c, class_weight=like.class_weight)
        probs[inside] = fitted.probs(list(itertools.compress(texts, inside)))
    return probs


def macro_f1(labels: Ints, probs: Probs, n_classes: int) -> float:
    """Return the mean F1 over all classes, 0 for one that neither occurs nor is predicted: what choices go by."""
    # By hand: the grids ask hundreds of times, and scikit-learn takes milliseconds to look at its arguments.
    cells = labels * n_classes + probs.argmax(axis=1)
    matrix = np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)
    either = matrix.sum(axis=0) + matrix.sum(axis=1)
    return float((2 * matrix.diagonal() / np.maximum(either, 1)).mean())
