"""Every corpus that is read here: one entry each, with its label map as a plain table (design section 3).

A corpus is added by one reader (`speech_corpora`, `image_corpora`, `generic_corpora`) and one line in `CORPORA`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import ManifestError, unknown
from ..types import EMOTIONS, SENTIMENTS, Sample
from . import generic_corpora, image_corpora, speech_corpora

Reader = Callable[[Path, Counter[str]], Iterator[Sample]]

EMOTION_WORDS: dict[str, str] = {
    "anger": "anger",
    "angry": "anger",
    "ang": "anger",
    "happy": "happy",
    "happiness": "happy",
    "hap": "happy",
    "joy": "happy",
    "excitement": "happy",
    "excited": "happy",
    "exc": "happy",
    "amusement": "happy",
    "contentment": "happy",
    "hate": "hate",
    "disgust": "hate",
    "disgusted": "hate",
    "dis": "hate",
    "sad": "sad",
    "sadness": "sad",
}
"""What corpora call the paper's four emotions: excitement is merged into happy, disgust renamed to hate (Plutchik)."""

RAVDESS_LABELS: dict[str, str] = {
    "angry": "anger",
    "happy": "happy",
    "disgust": "hate",
    "sad": "sad",
    "anger": "anger",  # the packed table is renamed already
    "hate": "hate",
}

FER2013_LABELS = RAVDESS_LABELS | {"sadness": "sad"}

IEMOCAP_LABELS: dict[str, str] = {"ang": "anger", "hap": "happy", "exc": "happy", "dis": "hate", "sad": "sad"}

FI_LABELS: dict[str, str] = {
    "amusement": "happy",
    "contentment": "happy",
    "excitement": "happy",
    "anger": "anger",
    "disgust": "hate",
    "sadness": "sad",
}
"""Awe and fear are dropped (design section 3)."""

ACTED_LABELS: dict[str, str] = {"angry": "anger", "happy": "happy", "disgust": "hate", "sad": "sad"}
"""CREMA-D, EmoDB and TESS, by the names that their readers give the codes."""

SENTIMENT_LABELS: dict[str, str] = {name: name for name in SENTIMENTS}


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is known of a corpus.

    Attributes:
        name: what users write before the colon of `CORPUS:PATH`.
        title: what it is, in one line.
        modality: what its files are.
        reader: yields its samples with the corpus's own labels; its docstring says how the corpus is laid out.
        labels: the corpus's own label to ours. A label that is not here is dropped and counted. None keeps every
            label as it is.
        target: the field of a sample that the labels fill.
    """

    name: str
    title: str
    modality: Literal["speech", "image", "any"]
    reader: Reader
    labels: Mapping[str, str] | None
    target: Literal["label", "sentiment"] = "label"

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that a sample can have, in index order; empty where the corpus may have any."""
        order = EMOTIONS if self.target == "label" else SENTIMENTS
        return () if self.labels is None else tuple(name for name in order if name in self.labels.values())


@dataclass(frozen=True, slots=True)
class CorpusContent:
    """What a corpus folder held.

    Attributes:
        samples: with our labels, in a fixed order.
        drops: how many were left out, by reason.
    """

    samples: tuple[Sample, ...]
    drops: Mapping[str, int]


CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus("ravdess", "RAVDESS, acted English speech", "speech", speech_corpora.read_ravdess, RAVDESS_LABELS),
        Corpus("iemocap", "IEMOCAP, English dialogues", "speech", speech_corpora.read_iemocap, IEMOCAP_LABELS),
        Corpus("crema-d", "CREMA-D, acted English speech", "speech", speech_corpora.read_crema_d, ACTED_LABELS),
        Corpus("emodb", "EmoDB, acted German speech", "speech", speech_corpora.read_emodb, ACTED_LABELS),
        Corpus("tess", "TESS, single English words", "speech", speech_corpora.read_tess, ACTED_LABELS),
        Corpus("fer2013", "FER-2013, faces of 48 x 48 pixels", "image", image_corpora.read_fer2013, FER2013_LABELS),
        Corpus("fi", "FI, pictures from Flickr and Instagram", "image", image_corpora.read_fi, FI_LABELS),
        Corpus("mvsa", "MVSA, tweets", "image", image_corpora.read_mvsa, SENTIMENT_LABELS, "sentiment"),
        Corpus("b-t4sa", "B-T4SA, tweets", "image", image_corpora.read_b_t4sa, SENTIMENT_LABELS, "sentiment"),
        Corpus("folder", "a folder a class", "any", generic_corpora.read_folder, EMOTION_WORDS),
        Corpus("emobox", "EmoBox json lines", "speech", generic_corpora.read_emobox, EMOTION_WORDS),
        Corpus("nkululeko", "nkululeko csv", "speech", generic_corpora.read_nkululeko, EMOTION_WORDS),
        Corpus("manifest", "a manifest of parallelnet", "any", generic_corpora.read_own, None),
    )
}


def read_corpus(name: str, root: str | os.PathLike[str], *, labels: Mapping[str, str] | None = None) -> CorpusContent:
    """Return the samples of a corpus with our labels, and what was dropped.

    Args:
        name: key of `CORPORA`.
        root: the corpus's folder or file, as published.
        labels: instead of the corpus's own label map, for instance to learn all eight classes of RAVDESS.

    Raises:
        OptionError: no such corpus.
        ManifestError: the path is missing, is not this corpus, or nothing of it is left.
    """
    if name not in CORPORA:
        raise unknown("corpus", name, CORPORA, "parallelnet list corpora")
    corpus, source = CORPORA[name], Path(root)
    if not source.exists():
        raise ManifestError(f"There is no {source} to read {name} from.")
    table = corpus.labels if labels is None else labels
    drops: Counter[str] = Counter()
    samples: list[Sample] = []
    seen: set[str] = set()
    for sample in corpus.reader(source, drops):
        native = getattr(sample, corpus.target)
        if sample.id in seen:  # copies of TESS hold the whole corpus twice, one inside the other
            drops["stands twice in the corpus"] += 1
            continue
        seen.add(sample.id)
        if table is None:
            samples.append(sample)
        elif native in table:
            ours = table[native]
            samples.append(replace(sample, label=ours) if corpus.target == "label" else replace(sample, sentiment=ours))
        else:
            drops[f"label {native!r} is not used"] += 1
    if not samples:
        reasons = "; ".join(f"{reason}: {n}" for reason, n in drops.most_common(5))
        raise ManifestError(
            f"{source} holds nothing of {name} that can be used ({reasons or 'no file of the kind was found'}). "
            f"Expected: {_layout(corpus)}"
        )
    return CorpusContent(tuple(samples), dict(drops))


def _layout(corpus: Corpus) -> str:
    return " ".join((corpus.reader.__doc__ or "").split("\n\n")[1].split())


def list_corpora() -> list[dict[str, Any]]:
    """Return what `parallelnet list corpora` prints: one plain record a corpus."""
    return [
        {
            "name": corpus.name,
            "title": corpus.title,
            "modality": corpus.modality,
            "target": corpus.target,
            "classes": list(corpus.classes),
            "labels": dict(corpus.labels or {}),
            "layout": _layout(corpus),
        }
        for corpus in CORPORA.values()
    ]
