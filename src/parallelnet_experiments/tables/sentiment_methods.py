"""The rows of the paper's Table 2, and what each of their methods does on one fold.

All of them learn from the training part of a fold, choose on its validation part, and answer for its test part. What a
row is tested on, it never sees; what it chooses on, it does not learn from, for the networks cannot either.

Cross-media learning of Vadicamo et al.: words label the pictures that a network learns; asked, it sees the picture
alone, and nothing is fused. The text classifier is ours (`text_reference`), for the original's cannot be had. So that
labels of training pictures are predictions and no copies, each is given by a classifier that has not seen its text.

The weighted sum of Gaspar & Alexandre: `p = w_t p_text + w_i p_image + w_c p_content`. That it is a weighted sum of
these three is published; the rest is our reconstruction: what a picture shows is a class of an ImageNet classifier, the
probability of each such class under each sentiment is counted on the training part with Laplace smoothing and turned
round by Bayes' rule, and the weights are those of a grid with the best macro F1 on the validation part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parallelnet import records
from parallelnet.errors import ManifestError
from parallelnet.training.fit import Hardware, Part
from parallelnet.types import SENTIMENTS, Sample

from . import picture_network, text_reference
from .picture_network import pictures
from .rows import Row, index
from .study import FoldTask
from .text_reference import Ints, Probs, TextClassifier, macro_f1

Said = tuple[Probs, dict[str, Any]]
"""Of a fold's test part: probabilities [n, 3], and what was chosen, counted and spent, ready for JSON."""

N_CLASSES = len(SENTIMENTS)
STEP = 0.05
"""Of the grid of weights."""
SMOOTHING = 1.0
"""Laplace's: every class of content counts as seen once more under every sentiment."""


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
    texts: dict[int, tuple[TextClassifier, float]] = field(default_factory=dict)


def labels_of(samples: Sequence[Sample]) -> Ints:
    """Return the human labels as indices of `SENTIMENTS`, [n]."""
    return np.array([SENTIMENTS.index(s.sentiment) for s in samples], dtype=np.int64)


def texts_of(samples: Sequence[Sample]) -> list[str]:
    """Return their texts."""
    return [s.text for s in samples]


def text_of(task: FoldTask) -> tuple[TextClassifier, dict[str, Any]]:
    """Return the text classifier of a fold, fitted once for all rows that read, and what its validation part chose."""
    known = task.study.shared.texts
    if task.number not in known:
        train, validation = ((texts_of(part), labels_of(part)) for part in (task.parts.train, task.parts.validation))
        known[task.number] = text_reference.choose_text(*train, *validation, N_CLASSES)
    found, score = known[task.number]
    return found, {"c": found.c, "class_weight": found.class_weight, "validation_macro_f1": round(score, 4)}


def content_of(task: FoldTask) -> dict[str, Probs]:
    """Return what each picture shows, by sample id; computed once for all folds."""
    kept, samples = task.study.shared.kept, task.study.material.samples
    if not kept.is_file():
        probs = picture_network.content_probs(samples, task.store, picture_network.vgg19("imagenet"))
        ids = np.array([s.id for s in samples])
        records.write_whole(kept, lambda f: np.savez_compressed(f, ids=ids, probs=probs.astype(np.float32)))
    with np.load(kept) as found:
        return dict(zip(found["ids"].tolist(), found["probs"].astype(np.float64), strict=True))


# --- methods ----------------------------------------------------------------------------------------------------------


def majority(task: FoldTask) -> Said:
    """Say how frequent each class is in the training part: the most frequent one is predicted throughout."""
    share = np.bincount(labels_of(task.parts.train), minlength=N_CLASSES) / len(task.parts.train)
    return np.tile(share, (len(task.parts.test), 1)), {"predicts": SENTIMENTS[int(share.argmax())]}


def text(task: FoldTask) -> Said:
    """Read the tweet."""
    classifier, facts = text_of(task)
    return classifier.probs(texts_of(task.parts.test)), {"text": facts}


def cross_media(task: FoldTask) -> Said:
    """See the picture alone, with a network that learnt from labels that the words gave (Vadicamo et al.)."""
    (classifier, facts), train, others = text_of(task), task.parts.train, task.study.shared.unlabelled
    options, truth = task.study.options, labels_of(train)
    said = text_reference.out_of_fold(train, truth, options.seed, classifier)
    others_said = classifier.probs(texts_of(others))
    learnt, labels = label_pictures(train, said, others, others_said, truth, options.confident_part)
    (_, answers), image_facts = _see(task, learnt)
    return answers, {"text": facts, "labels": labels, "image": image_facts}


def weighted_sum(task: FoldTask) -> Said:
    """Weigh words, picture and, with ImageNet weights, what the picture shows (Gaspar & Alexandre)."""
    train, asked = task.parts.train, (task.parts.validation, task.parts.test)
    content = content_of(task) if task.row.start == "imagenet" else {}
    classifier, text_facts = text_of(task)
    seen, image_facts = _see(task, pictures(train, labels_of(train)))
    parts = [[classifier.probs(texts_of(each)), probs] for each, probs in zip(asked, seen, strict=True)]
    if content:
        shown = [np.stack([content[s.id] for s in each]) for each in (train, *asked)]
        posterior = content_posterior(shown[0], labels_of(train), N_CLASSES)
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


def _see(task: FoldTask, train: Part) -> tuple[tuple[Probs, Probs], dict[str, Any]]:
    """Return what a picture network says of the validation and of the test part, and facts of its training."""
    options = task.study.options
    return picture_network.train_pictures(
        train,
        pictures(task.parts.validation, labels_of(task.parts.validation)),
        task.parts.test,
        SENTIMENTS,
        size=options.size,
        start=task.row.start,
        # From random weights everything learns: features that nobody trained are no features.
        fine_tune=options.fine_tune if task.row.start == "imagenet" else "all",
        recipe=task.study.recipe,
        store=task.store,
        folder=task.folder,
        seed=options.seed,
        # One device: with more, each process would write the same files.
        hardware=Hardware(options.accelerator, 1, options.workers, task.study.quiet),
    )


_READ, _SEE = ("words",), ("picture",)
_LABELS = ("confident_part", "unlabelled")
_VADICAMO = "Vadicamo et al. (2017), cross-media learning"
_GASPAR = "Gaspar and Alexandre (2019), multimodal sentiment analysis"
_SEEN = Row("vadicamo", "Vadicamo et al., re-implemented", "", _VADICAMO, 51.30, method=cross_media, uses=_SEE)
_SUM = Row("gaspar", "Gaspar & Alexandre, re-implemented", "", _GASPAR, 60.42, method=weighted_sum, uses=_READ + _SEE)


def _as(row: Row, how: str, **facts: Any) -> Row:
    """Return a row of the same method, from other weights."""
    return replace(row, title=f"{row.title}{how}", **facts)


ROWS = index(
    Row("majority", "Majority class", "", "ours", method=majority),
    Row("text", "Text reference: TF-IDF, logistic regression", "", "ours", method=text, uses=_READ),
    _as(_SEEN, ", from random weights", depends=_LABELS),
    _as(_SEEN, " (VGG19, ImageNet)", key="vadicamo-imagenet", start="imagenet", depends=(*_LABELS, "fine_tune")),
    _as(_SUM, ", w_c = 0, from random weights"),
    _as(_SUM, " (with content, ImageNet)", key="gaspar-content", start="imagenet", depends=("fine_tune",)),
    Row("parallelnet", "ParallelNet", "parallelnet", "the paper, Table 2", 89.68, uses=("speech", "picture")),
)
"""In the order of the table. The two original rows stand there even where they cannot be run."""


# --- cross-media learning ---------------------------------------------------------------------------------------------


def most_confident(probs: Probs, part: float) -> npt.NDArray[np.bool_]:
    """Return which tweets are kept: of each predicted class the part with the largest probability, rounded up.

    A part, not a bound on the probability as such: how large probabilities get depends on how strongly the classifier
    is regularised, which the validation part decides, and a bound that suits one fold would leave another without a
    class. Of equally probable ones the earlier.

    Args:
        probs: what the text classifier says, [n, n_classes].
        part: above 0, at most 1.
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
    labelled_probs: Probs,
    unlabelled: Sequence[Sample],
    unlabelled_probs: Probs,
    truth: Ints,
    part: float,
) -> tuple[Part, dict[str, Any]]:
    """Return the tweets that a picture network learns, labelled by their words, and how many and how good they are.

    Args:
        labelled: training part, whose human labels are only used to say how good the others are.
        labelled_probs: what classifiers that have not seen each text say of it.
        unlabelled: further tweets, or none.
        unlabelled_probs: what the classifier of the whole training part says of them.
        truth: human labels of `labelled`.
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


def content_posterior(shown: Probs, labels: Ints, n_sentiments: int, *, smoothing: float = SMOOTHING) -> Probs:
    """Return P(sentiment | content class) as counted, [n_content, n_sentiments]; rows sum to 1.

    A picture counts for its most probable content class. By Bayes' rule from P(content class | sentiment) and
    P(sentiment), both counted with the same smoothing.

    Args:
        shown: the ImageNet classifier's probabilities of the training pictures, [n, n_content].
        labels: their sentiments, [n].
        n_sentiments: sentiments in all.
        smoothing: added to every count; above 0, or content that was never seen would have no probability.
    """
    counts = np.full((n_sentiments, shown.shape[1]), smoothing)
    np.add.at(counts, (labels, shown.argmax(axis=1)), 1)
    likelihood = counts / counts.sum(axis=1, keepdims=True)
    prior = np.bincount(labels, minlength=n_sentiments) + smoothing  # its sum cancels
    joint = (likelihood * prior[:, None]).T
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def grid(n_parts: int, step: float = STEP) -> Probs:
    """Return every way to share 1 among the parts in multiples of `step`, [n_ways, n_parts], in rising order.

    231 ways for three parts and 0.05, 21 for two. Multiples are counted as whole numbers, so that each row's sum is
    exact to the last bit of its division.
    """
    n_steps = round(1 / step)
    assert abs(n_steps * step - 1) < 1e-9, "steps divide 1"
    ways = [each for each in itertools.product(range(n_steps + 1), repeat=n_parts) if sum(each) == n_steps]
    return np.array(ways, dtype=np.float64) / n_steps


def weighed(parts: Sequence[Probs], weights: npt.ArrayLike) -> Probs:
    """Return the parts' probabilities [n, n_sentiments] times their weights, summed."""
    return np.asarray(np.tensordot(np.asarray(weights, dtype=np.float64), np.stack(parts), axes=1))


def choose_weights(parts: Sequence[Probs], labels: Ints, *, step: float = STEP) -> tuple[tuple[float, ...], float]:
    """Return the weights of the grid with the best macro F1, and that F1.

    Of equally good ones the sum that is the likeliest for the labels; where that is equal too, the first of the grid.

    Args:
        parts: of each part the probabilities on the validation part, [n, n_sentiments].
        labels: the truth, [n].
        step: of the grid.
    """
    every = np.arange(len(labels))

    def worth(weights: Probs) -> tuple[float, float]:
        summed = weighed(parts, weights)
        log_likelihood = float(np.log(np.maximum(summed[every, labels], 1e-12)).sum())
        return macro_f1(labels, summed, parts[0].shape[1]), log_likelihood

    weights = max(grid(len(parts), step), key=worth)
    return tuple(weights.tolist()), worth(weights)[0]
