"""Cross-media learning of Vadicamo et al. (Table 2), re-implemented: words label the pictures that a network learns.

A text classifier labels tweets, only those of which it is confident are kept, and a picture network learns their
pictures with these labels. When it is asked, it sees the picture alone: nothing is fused. Here as there it is tested on
human labels.

The text classifier is ours (`text_reference`), for the original's cannot be had: it learns the human-labelled texts of
the training part. So that labels of training pictures are predictions and no copies, each is given by a classifier that
has not seen its text (inner cross-validation); tweets without a human label get theirs from the classifier of the whole
training part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parallelnet.errors import ManifestError
from parallelnet.types import Sample

from .text_reference import Ints, Probs


@dataclass(frozen=True, slots=True)
class PseudoLabelled:
    """Tweets whose pictures are learnt.

    Attributes:
        samples: the tweets that the text classifier is most confident of.
        labels: what it says of them, [n].
        facts: how many it chose from and kept, and how often it agrees with people.
    """

    samples: tuple[Sample, ...]
    labels: Ints
    facts: dict[str, Any]


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
    classes: Sequence[str],
    part: float,
) -> PseudoLabelled:
    """Return the tweets that a picture network learns, labelled by their words.

    Args:
        labelled: training part, whose human labels are only used to say how good the others are.
        labelled_probs: what classifiers that have not seen each text say of it.
        unlabelled: further tweets, or none.
        unlabelled_probs: what the classifier of the whole training part says of them.
        truth: human labels of `labelled`.
        classes: names of the classes.
        part: of each predicted class that is kept.

    Raises:
        ManifestError: the classifier gives a class to no tweet, which a network could then not learn.
    """
    everyone = (*labelled, *unlabelled)
    probs = np.concatenate([labelled_probs, unlabelled_probs.reshape(-1, len(classes))])
    kept = most_confident(probs, part)
    said = probs.argmax(axis=1)
    counts = np.bincount(said[kept], minlength=len(classes))
    lacking = [name for name, count in zip(classes, counts, strict=True) if not count]
    if lacking:
        raise ManifestError(
            f"The text classifier calls none of {len(everyone)} tweets {lacking[0]!r}, so no picture can be learnt as "
            "such. Mend: more tweets of it, or more tweets with --unlabelled."
        )
    ours = kept[: len(labelled)]
    agreed = (said[: len(labelled)] == truth)[ours]
    facts = {
        "n_candidates": len(everyone),
        "n_unlabelled": len(unlabelled),
        "n_kept": int(kept.sum()),
        "n_kept_unlabelled": int(kept[len(labelled) :].sum()),
        "kept_per_class": {name: int(count) for name, count in zip(classes, counts, strict=True)},
        "least_confidence_per_class": {
            name: round(float(probs.max(axis=1)[kept & (said == k)].min()), 4) for k, name in enumerate(classes)
        },
        "agreement_with_people": round(float(agreed.mean()), 4) if len(agreed) else None,
    }
    chosen = tuple(s for s, keep in zip(everyone, kept, strict=True) if keep)
    return PseudoLabelled(chosen, said[kept].astype(np.int64), facts)


def beside(
    samples: Sequence[Sample], labelled: Sequence[Sample], hashes: Mapping[str, str], *, together: bool
) -> tuple[Sample, ...]:
    """Return the unlabelled tweets that share neither picture nor words with any labelled one, each once.

    A network that had learnt the picture of a test tweet, under whatever label, would know it again. What counts is the
    bytes of the picture, its difference hash where the build wrote one, the words, and the groups.

    Args:
        samples: unlabelled tweets.
        labelled: tweets with a human label, of all folds.
        hashes: sha256 of the bytes of each picture, by path.
        together: both come from one build, so that their groups mean the same.
    """
    known = {key for s in labelled for key in _keys(s, hashes, together)}
    seen: set[tuple[str, str]] = set()
    kept = []
    for sample in samples:
        keys = _keys(sample, hashes, together)
        own = (hashes.get(sample.image or "", ""), _words(sample.text))
        if all(own) and own not in seen and not keys & known:
            seen.add(own)
            kept.append(sample)
    return tuple(kept)


def _keys(sample: Sample, hashes: Mapping[str, str], together: bool) -> set[tuple[str, str]]:
    found = {
        "picture": hashes.get(sample.image or "", ""),
        "dhash": sample.extra.get("image_dhash", ""),
        "words": _words(sample.text),
    }
    if together:
        found |= {"group": sample.group, "image_group": sample.image_group}
    return {(kind, value) for kind, value in found.items() if value}


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
