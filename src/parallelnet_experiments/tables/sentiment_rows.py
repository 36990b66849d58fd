"""The rows of the paper's Table 2, and what each of them does on one fold.

All of them learn from the training part of a fold, choose on its validation part, and answer for its test part. What a
row is tested on, it never sees; what it chooses on, it does not learn from, for the networks cannot either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from parallelnet.data.loading import SignalStore
from parallelnet.errors import OptionError, unknown
from parallelnet.options import Recipe, Table2Options
from parallelnet.training.fit import Hardware
from parallelnet.training.parts import Parts
from parallelnet.types import SENTIMENTS, Sample

from . import gaspar, picture_network, text_reference, vadicamo
from .picture_network import FineTune, Pictures, Start, Trained
from .text_reference import Ints, Probs, TextClassifier

N_CLASSES = len(SENTIMENTS)


@dataclass(frozen=True, slots=True)
class Said:
    """What a row says of a fold's test part.

    Attributes:
        probs: [n, 3], in the order of the test part.
        facts: what was chosen, counted and spent, ready for JSON.
    """

    probs: Probs
    facts: dict[str, Any]


@dataclass(slots=True)
class Shared:
    """What rows and folds have in common, computed once.

    Attributes:
        store: decoded signals.
        hardware: where networks are trained.
        unlabelled: tweets without a human label that share nothing with the labelled ones.
        content: what each picture shows, by sample id; filled by who needs it.
        texts: text classifier of each fold; filled by `text_of`.
    """

    store: SignalStore
    hardware: Hardware
    unlabelled: tuple[Sample, ...] = ()
    content: dict[str, Probs] = field(default_factory=dict)
    texts: dict[int, TextClassifier] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoldTask:
    """One row on one fold.

    Attributes:
        number: of the fold.
        parts: who is learnt from, chosen on, tested on; all with a sentiment.
        options: of the table.
        recipe: how networks learn.
        folder: for logs and resumable states.
        shared: what rows and folds have in common.
    """

    number: int
    parts: Parts
    options: Table2Options
    recipe: Recipe
    folder: Path
    shared: Shared


Method = Callable[[FoldTask], Said]


@dataclass(frozen=True, slots=True)
class SentimentRow:
    """One row.

    Attributes:
        key: names the row in the JSON, in `--rows`, and its folder of runs.
        title: names it in the table.
        uses: what of a tweet it gets when it is tested: words, speech, picture.
        source: who published the method.
        method: what it does on a fold; None for a variant that `runner` trains.
        start: the weights its picture network starts from.
        printed: the accuracy in percent that the paper prints for the method.
    """

    key: str
    title: str
    uses: tuple[str, ...]
    source: str
    method: Method | None
    start: Start = "none"
    printed: float | None = None


def labels_of(samples: Sequence[Sample]) -> Ints:
    """Return the human labels as indices of `SENTIMENTS`, [n]."""
    return np.array([SENTIMENTS.index(s.sentiment) for s in samples], dtype=np.int64)


def majority(task: FoldTask) -> Said:
    """Say how frequent each class is in the training part: the most frequent one is predicted throughout."""
    share = np.bincount(labels_of(task.parts.train), minlength=N_CLASSES) / len(task.parts.train)
    return Said(np.tile(share, (len(task.parts.test), 1)), {"predicts": SENTIMENTS[int(share.argmax())]})


def text_of(task: FoldTask) -> TextClassifier:
    """Return the text classifier of a fold, fitted once for all rows that read."""
    known = task.shared.texts
    if task.number not in known:
        train, validation = task.parts.train, task.parts.validation
        known[task.number] = text_reference.choose_text(
            texts_of(train), labels_of(train), texts_of(validation), labels_of(validation), N_CLASSES
        )
    return known[task.number]


def texts_of(samples: Sequence[Sample]) -> list[str]:
    """Return their texts."""
    return [s.text for s in samples]


def text(task: FoldTask) -> Said:
    """Read the tweet."""
    classifier = text_of(task)
    return Said(classifier.probs(texts_of(task.parts.test)), {"text": text_facts(classifier)})


def text_facts(classifier: TextClassifier) -> dict[str, Any]:
    """Return what the validation part decided about the text classifier."""
    choice = classifier.choice
    return {"c": choice.c, "class_weight": choice.class_weight, "validation_macro_f1": _rounded(choice.macro_f1)}


def cross_media(task: FoldTask, *, start: Start) -> Said:
    """See the picture alone, with a network that learnt from labels that the words gave (Vadicamo et al.)."""
    classifier, train = text_of(task), task.parts.train
    truth = labels_of(train)
    said = text_reference.out_of_fold(train, truth, N_CLASSES, classifier.choice, task.options.seed)
    others = task.shared.unlabelled
    learnt = vadicamo.label_pictures(
        train,
        said,
        others,
        classifier.probs(texts_of(others)),
        truth,
        SENTIMENTS,
        task.options.confident_part,
    )
    trained = _see(task, Pictures(learnt.samples, learnt.labels), start)
    facts = {"text": text_facts(classifier), "labels": learnt.facts, "image": trained.facts}
    return Said(trained.test_probs, facts)


def weighted_sum(task: FoldTask, *, start: Start, with_content: bool) -> Said:
    """Weigh words, picture and what the picture shows (Gaspar & Alexandre)."""
    classifier = text_of(task)
    train, validation, test = task.parts.train, task.parts.validation, task.parts.test
    trained = _see(task, Pictures(train, labels_of(train)), start)
    chosen_on = [classifier.probs(texts_of(validation)), trained.validation_probs]
    answers = [classifier.probs(texts_of(test)), trained.test_probs]
    if with_content:
        content = task.shared.content
        shown = [np.stack([content[s.id] for s in part]) for part in (train, validation, test)]
        counted = gaspar.count_content(shown[0], labels_of(train), N_CLASSES)
        chosen_on.append(counted.probs(shown[1]))
        answers.append(counted.probs(shown[2]))
    weights, score = gaspar.choose_weights(chosen_on, labels_of(validation))
    named = dict(zip(("text", "image", "content"), (*weights, 0.0), strict=False))
    facts = {
        "weights": {name: round(weight, 2) for name, weight in named.items()},
        "validation_macro_f1": _rounded(score),
        "text": text_facts(classifier),
        "image": trained.facts,
    }
    return Said(gaspar.weighted_sum(answers, weights), facts)


def _see(task: FoldTask, train: Pictures, start: Start) -> Trained:
    # From random weights everything learns: features that nobody trained are no features.
    fine_tune: FineTune = task.options.fine_tune if start == "imagenet" else "all"
    return picture_network.train_pictures(
        train,
        Pictures(task.parts.validation, labels_of(task.parts.validation)),
        task.parts.test,
        SENTIMENTS,
        size=task.options.size,
        start=start,
        fine_tune=fine_tune,
        recipe=task.recipe,
        store=task.shared.store,
        folder=task.folder,
        seed=task.options.seed,
        hardware=task.shared.hardware,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _index(*rows: SentimentRow) -> Mapping[str, SentimentRow]:
    return {row.key: row for row in rows}


_VADICAMO = "Vadicamo et al. (2017), cross-media learning"
_GASPAR = "Gaspar and Alexandre (2019), multimodal sentiment analysis"

ROWS: Mapping[str, SentimentRow] = _index(
    SentimentRow("majority", "Majority class", (), "ours", majority),
    SentimentRow("text", "Text reference: TF-IDF, logistic regression", ("words",), "ours", text),
    SentimentRow(
        "vadicamo",
        "Vadicamo et al., re-implemented, from random weights",
        ("picture",),
        _VADICAMO,
        partial(cross_media, start="none"),
        printed=51.30,
    ),
    SentimentRow(
        "vadicamo-imagenet",
        "Vadicamo et al., re-implemented (VGG19, ImageNet)",
        ("picture",),
        _VADICAMO,
        partial(cross_media, start="imagenet"),
        start="imagenet",
        printed=51.30,
    ),
    SentimentRow(
        "gaspar",
        "Gaspar & Alexandre, re-implemented, w_c = 0, from random weights",
        ("words", "picture"),
        _GASPAR,
        partial(weighted_sum, start="none", with_content=False),
        printed=60.42,
    ),
    SentimentRow(
        "gaspar-content",
        "Gaspar & Alexandre, re-implemented (with content, ImageNet)",
        ("words", "picture"),
        _GASPAR,
        partial(weighted_sum, start="imagenet", with_content=True),
        start="imagenet",
        printed=60.42,
    ),
    SentimentRow("parallelnet", "ParallelNet", ("speech", "picture"), "the paper, Table 2", None, printed=89.68),
)
"""In the order of the table. The two original rows stand there even where they cannot be run."""


def chosen(keys: Sequence[str]) -> tuple[SentimentRow, ...]:
    """Return the rows to run: the named ones in the order of the table, or all.

    Raises:
        OptionError: no such row, or one that stands there twice.
    """
    for key in keys:
        if key not in ROWS:
            raise unknown("row", key, ROWS, "--rows")
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise OptionError(f"--rows names {twice[0]!r} twice; allowed: each row once.")
    return tuple(row for row in ROWS.values() if row.key in set(keys or ROWS))
