"""The rows of the paper's Table 2, and what each of their methods does on one fold.

All of them learn from the training part of a fold, choose on its validation part, and answer for its test part. What a
row is tested on, it never sees; what it chooses on, it does not learn from, for the networks cannot either.

The text reference is TF-IDF and logistic regression. It is also the text part of both re-implemented methods, whose
original classifiers cannot be had.

Cross-media learning of Vadicamo et al.: words label the pictures that a network learns; asked, it sees the picture
alone, and nothing is fused. So that labels of training pictures are predictions and no copies, each is given by a
classifier that has not seen its text.

The weighted sum of Gaspar & Alexandre: `p = w_t p_text + w_i p_image + w_c p_content`. That it is a weighted sum of
these three is published; the rest is our reconstruction: what a picture shows is a class of an ImageNet classifier, the
probability of each such class under each sentiment is counted on the training part with Laplace smoothing and turned
round by Bayes' rule, and the weights are those of a grid with the best macro F1 on the validation part.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from parallelnet import records
from parallelnet.calibration import Floats, Ints
from parallelnet.data.splits import deal
from parallelnet.errors import ManifestError
from parallelnet.training.fit import Part
from parallelnet.types import SENTIMENTS, Sample

from . import picture_network
from .picture_network import labels_of, pictures
from .prepared import Row, index
from .study import FoldTask

ClassWeight = Literal["none", "balanced"]
# Of a fold's test part: probabilities [n, 3], and what was chosen, counted and spent, ready for JSON.
Said = tuple[Floats, dict[str, Any]]

N_CLASSES = len(SENTIMENTS)
C_GRID = (0.3, 1.0, 3.0, 10.0, 30.0)  # inverse regularisation strengths that are tried
CLASS_WEIGHTS: tuple[ClassWeight, ...] = ("none", "balanced")  # whether rare classes count as much as frequent ones
N_INNER = 5  # parts of the inner cross-validation that labels the training texts
N_STEPS = 20  # of the grid of weights: 0.05 each
SMOOTHING = 1.0  # Laplace's: every class of content counts as seen once more under every sentiment


@dataclass(slots=True)
class Shared:
    """What rows and folds have in common, computed once.

    Attributes:
        unlabelled: tweets without a human label that share nothing with the labelled ones.
        kept: file that remembers what each picture shows, for the classifier learns nothing here.
        texts: text classifier of each fold, and its macro F1 on the validation part; filled by `text_of`.
    """

    unlabelled: tuple[Sample, ...]
    kept: Path
    texts: "dict[int, tuple[TextClassifier, float]]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextClassifier:
    """A fitted classifier, and the C and class weight that it was made with."""

    c: float
    class_weight: ClassWeight
    _vectoriser: Any
    _regression: Any

    def probs(self, texts: Sequence[str]) -> Floats:
        """Return the probability of each class, [n, 3]; a text without a known word gets the intercepts'."""
        probs = np.zeros((len(texts), N_CLASSES))
        if len(texts):
            # An inner training part may lack a rare class, and scikit-learn then leaves its column out.
            probs[:, self._regression.classes_] = self._regression.predict_proba(self._vectoriser.transform(texts))
        return probs


def fit_text(
    texts: Sequence[str], labels: Ints, c: float, class_weight: ClassWeight, vectoriser: Any = None
) -> TextClassifier:
    """Return a fitted classifier: words and pairs of words, sublinear term counts, nothing random.

    Args:
        texts: as written in the tweets.
        labels: class of each, [n], at least two different ones.
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
    return TextClassifier(c, class_weight, vectoriser, regression.fit(vectoriser.transform(texts), labels))


def choose_text(
    texts: Sequence[str], labels: Ints, validation_texts: Sequence[str], validation_labels: Ints
) -> tuple[TextClassifier, float]:
    """Return the classifier whose C and class weight have the best macro F1 on the validation part, and that F1.

    Of equally good ones the first of the grid, with the stronger regularisation. It is not fitted again on both parts,
    for networks have to do without the validation part, too.

    Raises:
        ManifestError: no text has a word.
    """
    vectoriser = _vectoriser(texts)
    tried = (fit_text(texts, labels, c, weight, vectoriser) for weight, c in itertools.product(CLASS_WEIGHTS, C_GRID))
    scored = ((each, macro_f1(validation_labels, each.probs(validation_texts))) for each in tried)
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


def out_of_fold(samples: Sequence[Sample], labels: Ints, seed: int, like: TextClassifier) -> Floats:
    """Return what classifiers that have not seen a text, made `like` another one, say of it, [n, 3].

    Inner cross-validation over the samples, stratified, with samples that share a speaker, a text or a picture in one
    part.

    Raises:
        ManifestError: the groups do not allow `N_INNER` parts.
    """
    parts, texts = deal(samples, N_INNER, seed, target="sentiment"), _texts(samples)
    probs = np.zeros((len(samples), N_CLASSES))
    for inside in (parts == part for part in range(N_INNER)):
        fitted = fit_text(list(itertools.compress(texts, ~inside)), labels[~inside], like.c, like.class_weight)
        probs[inside] = fitted.probs(list(itertools.compress(texts, inside)))
    return probs


def macro_f1(labels: Ints, probs: Floats) -> float:
    """Return the mean F1 over all classes, 0 for one that neither occurs nor is predicted: what choices go by."""
    from sklearn.metrics import f1_score

    said, every = probs.argmax(axis=1), range(N_CLASSES)
    return float(f1_score(labels, said, labels=every, average="macro", zero_division=0.0))


def _texts(samples: Sequence[Sample]) -> list[str]:
    return [s.text for s in samples]


def text_of(task: FoldTask) -> tuple[TextClassifier, dict[str, Any]]:
    """Return the text classifier of a fold, fitted once for all rows that read, and what its validation part chose."""
    known = task.study.shared.texts
    if task.number not in known:
        train, validation = task.parts.train, task.parts.validation
        known[task.number] = choose_text(_texts(train), labels_of(train), _texts(validation), labels_of(validation))
    found, score = known[task.number]
    return found, {"c": found.c, "class_weight": found.class_weight, "validation_macro_f1": round(score, 4)}


def majority(task: FoldTask) -> Said:
    """Say how frequent each class is in the training part: the most frequent one is predicted throughout."""
    share = np.bincount(labels_of(task.parts.train), minlength=N_CLASSES) / len(task.parts.train)
    return np.tile(share, (len(task.parts.test), 1)), {"predicts": SENTIMENTS[int(share.argmax())]}


def text(task: FoldTask) -> Said:
    """Read the tweet."""
    classifier, facts = text_of(task)
    return classifier.probs(_texts(task.parts.test)), {"text": facts}


def cross_media(task: FoldTask) -> Said:
    """See the picture alone, with a network that learnt from labels that the words gave (Vadicamo et al.)."""
    (classifier, facts), train, others = text_of(task), task.parts.train, task.study.shared.unlabelled
    options, truth = task.study.options, labels_of(train)
    said = out_of_fold(train, truth, options.seed, classifier)
    others_said = classifier.probs(_texts(others))
    learnt, labels = label_pictures(train, said, others, others_said, truth, options.confident_part)
    (_, answers), image_facts = picture_network.train_pictures(task, learnt)
    return answers, {"text": facts, "labels": labels, "image": image_facts}


def weighted_sum(task: FoldTask) -> Said:
    """Weigh words, picture and, with ImageNet weights, what the picture shows (Gaspar & Alexandre)."""
    train, asked = task.parts.train, (task.parts.validation, task.parts.test)
    classifier, text_facts = text_of(task)
    seen, image_facts = picture_network.train_pictures(task, pictures(train))
    parts = [[classifier.probs(_texts(each)), probs] for each, probs in zip(asked, seen, strict=True)]
    if task.row.start == "imagenet":
        content = content_of(task)
        shown = [np.stack([content[s.id] for s in each]) for each in (train, *asked)]
        posterior = content_posterior(shown[0], labels_of(train))
        for each, there in zip(parts, shown[1:], strict=True):
            each.append(there @ posterior / there.sum(axis=1, keepdims=True))
    weights, score = choose_weights(parts[0], labels_of(task.parts.validation))
    facts = {
        "weights": {name: round(w, 2) for name, w in zip(("text", "image", "content"), (*weights, 0.0), strict=False)},
        "validation_macro_f1": round(score, 4),
        "text": text_facts,
        "image": image_facts,
    }
    return weighed(parts[1], weights), facts


_READ, _SEE = ("words",), ("picture",)

_VADICAMO = "Vadicamo et al. (2017), cross-media learning"
_GASPAR = "Gaspar and Alexandre (2019), multimodal sentiment analysis"
_SEEN = Row(
    "vadicamo",
    "Vadicamo et al., re-implemented",
    "",
    _VADICAMO,
    51.30,
    method=cross_media,
    uses=_SEE,
    depends=("confident_part", "unlabelled"),
)
_SUM = Row("gaspar", "Gaspar & Alexandre, re-implemented", "", _GASPAR, 60.42, method=weighted_sum, uses=_READ + _SEE)


ROWS = index(
    Row("majority", "Majority class", "", "ours", method=majority),
    Row("text", "Text reference: TF-IDF, logistic regression", "", "ours", method=text, uses=_READ),
    replace(_SEEN, title=f"{_SEEN.title}, from random weights"),
    replace(_SEEN, key="vadicamo-imagenet", title=f"{_SEEN.title} (VGG19, ImageNet)", start="imagenet"),
    replace(_SUM, title=f"{_SUM.title}, w_c = 0, from random weights"),
    replace(_SUM, key="gaspar-content", title=f"{_SUM.title} (with content, ImageNet)", start="imagenet"),
    Row("parallelnet", "ParallelNet", "parallelnet", "the paper, Table 2", 89.68, uses=("speech", "picture")),
)


# --- cross-media learning ---------------------------------------------------------------------------------------------


def most_confident(probs: Floats, part: float) -> npt.NDArray[np.bool_]:
    """Return which tweets are kept, [n]: of each predicted class the most probable part (0 to 1], rounded up.

    A part, not a bound on the probability as such: how large probabilities get depends on how strongly the classifier
    is regularised, and a bound that suits one fold would leave another without a class. Of equally probable ones the
    earlier.
    """
    said, confidence = probs.argmax(axis=1), probs.max(axis=1)
    kept = np.zeros(len(probs), dtype=bool)
    for each in np.unique(said):
        inside = np.flatnonzero(said == each)
        order = inside[np.argsort(-confidence[inside], kind="stable")]
        kept[order[: math.ceil(part * len(order))]] = True
    return kept


def label_pictures(
    labelled: Sequence[Sample],
    labelled_probs: Floats,
    unlabelled: Sequence[Sample],
    unlabelled_probs: Floats,
    truth: Ints,
    part: float,
) -> tuple[Part, dict[str, Any]]:
    """Return the tweets that a picture network learns, labelled by their words, and how many and how good they are.

    Args:
        labelled: training part.
        labelled_probs: what classifiers that have not seen each text say of it.
        unlabelled: further tweets, or none.
        unlabelled_probs: what the classifier of the whole training part says of them.
        truth: human labels of `labelled`, only to say how good the others are.
        part: of each predicted class that is kept.

    Raises:
        ManifestError: the classifier gives a class to no tweet, which a network could then not learn.
    """
    everyone, n = (*labelled, *unlabelled), len(labelled)
    probs = np.concatenate([labelled_probs, unlabelled_probs])
    kept, said = most_confident(probs, part), probs.argmax(axis=1)
    counts = dict(zip(SENTIMENTS, np.bincount(said[kept], minlength=N_CLASSES).tolist(), strict=True))
    lacking = [name for name, count in counts.items() if not count]
    if lacking:
        raise ManifestError(
            f"The text classifier calls none of {len(everyone)} tweets {lacking[0]!r}, so no picture can be learnt as "
            "such. Mend: more tweets of it, or more tweets with --unlabelled."
        )
    agreed = (said[:n] == truth)[kept[:n]]
    facts = {
        "n_candidates": len(everyone),
        "n_unlabelled": len(unlabelled),
        "n_kept": int(kept.sum()),
        "n_kept_unlabelled": int(kept[n:].sum()),
        "kept_per_class": counts,
        "least_confidence_per_class": {
            name: round(float(probs.max(axis=1)[kept & (said == k)].min()), 4) for k, name in enumerate(SENTIMENTS)
        },
        "agreement_with_people": round(float(agreed.mean()), 4) if len(agreed) else None,
    }
    return pictures(list(itertools.compress(everyone, kept)), said[kept]), facts


# --- the weighted sum -------------------------------------------------------------------------------------------------


def content_of(task: FoldTask) -> dict[str, Floats]:
    """Return what each picture shows, by sample id; computed once for all folds."""
    kept, samples = task.study.shared.kept, task.study.material.samples
    if not kept.is_file():
        probs = picture_network.content_probs(samples, task.store, picture_network.vgg19("imagenet"))
        ids = np.array([s.id for s in samples])
        records.write_whole(kept, lambda f: np.savez_compressed(f, ids=ids, probs=probs.astype(np.float32)))
    with np.load(kept) as found:
        return dict(zip(found["ids"].tolist(), found["probs"].astype(np.float64), strict=True))


def content_posterior(shown: Floats, labels: Ints) -> Floats:
    """Return P(sentiment | content class) as counted, [n_content, 3]; rows sum to 1.

    A picture counts for its most probable content class. By Bayes' rule from P(content class | sentiment) and
    P(sentiment), both counted with the same smoothing.

    Args:
        shown: the ImageNet classifier's probabilities of the training pictures, [n, n_content].
        labels: their sentiments, [n].
    """
    counts = np.full((N_CLASSES, shown.shape[1]), SMOOTHING)
    np.add.at(counts, (labels, shown.argmax(axis=1)), 1)
    likelihood = counts / counts.sum(axis=1, keepdims=True)
    prior = np.bincount(labels, minlength=N_CLASSES) + SMOOTHING  # its sum cancels
    joint = (likelihood * prior[:, None]).T
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def grid(n_parts: int) -> Floats:
    """Return every way to share 1 among the parts in steps of a twentieth, [n_ways, n_parts], in rising order."""
    ways = [each for each in itertools.product(range(N_STEPS + 1), repeat=n_parts) if sum(each) == N_STEPS]
    return np.array(ways, dtype=np.float64) / N_STEPS


def weighed(parts: Sequence[Floats], weights: npt.ArrayLike) -> Floats:
    """Return the parts' probabilities [n, 3] times their weights, summed."""
    return np.asarray(np.tensordot(np.asarray(weights, dtype=np.float64), np.stack(parts), axes=1))


def choose_weights(parts: Sequence[Floats], labels: Ints) -> tuple[tuple[float, ...], float]:
    """Return the weights of the grid with the best macro F1 of the parts' probabilities [n, 3], and that F1.

    Of equally good ones the sum that is the likeliest for the labels; where that is equal too, the first of the grid.
    """
    every = np.arange(len(labels))

    def worth(weights: Floats) -> tuple[float, float]:
        summed = weighed(parts, weights)
        return macro_f1(labels, summed), float(np.log(np.maximum(summed[every, labels], 1e-12)).sum())

    weights = max(grid(len(parts)), key=worth)
    return tuple(weights.tolist()), worth(weights)[0]
