"""From what two teachers say to the label of a sample (paper section 3.1): their classes made ours, and who decides.

The paper's teachers know excitement and disgust; Plutchik's wheel makes them happy and hate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..data.dataset import EMOTION_WORDS
from ..data.shards import Example
from ..errors import InputError, OptionError, shown, unknown
from ..records import read_json
from ..types import EMOTIONS

RULES: tuple[str, ...] = ("max", "agree")
"""The teacher whose largest probability is the larger one decides; `agree`: only where both name the same class."""

# fmt: off
DROPPED_WORDS: frozenset[str] = frozenset((
    "neutral", "neu", "calm", "boredom", "bored", "other", "unknown", "unk", "<unk>",
    "fear", "fearful", "fea", "afraid", "surprise", "surprised", "sur", "awe", "contempt", "frustration", "fru",
))
# fmt: on
"""What teachers call what is none of the paper's four; its probability is dropped."""


def read_label_map(path: str) -> dict[str, str | None]:
    """Return {own class: our class, or None to drop it} from a JSON file; `OptionError` where it is no such file."""
    needed = f'--label-map needs a JSON object {{"own class": one of {", ".join(EMOTIONS)}, or null}}.'
    found = read_json(Path(path), mend=needed)
    for own, ours in found.items():
        if ours is not None and ours not in EMOTIONS:
            raise OptionError(f"{path} maps {shown(own)} to {shown(ours)}. Mend: {needed}")
    return found


def classes_to_emotions(
    classes: Sequence[str], label_map: Mapping[str, str | None], *, teacher: str
) -> dict[str, str | None]:
    """Return which of `EMOTIONS` each class of a teacher is merged into; None for one that is dropped.

    The user's map goes first, then `dataset.EMOTION_WORDS` (excitement is happy, disgust is hate), then
    `DROPPED_WORDS`; capitals do not count. The map may name classes of the other teacher. `teacher` begins errors.

    Raises:
        OptionError: a class that no table knows, or none that becomes one of ours.
    """
    given = {own.strip().casefold(): ours for own, ours in label_map.items()}
    known: dict[str, str | None] = {**dict.fromkeys(DROPPED_WORDS), **EMOTION_WORDS, **given}
    words = {own: own.strip().casefold() for own in classes}
    strange = [own for own, word in words.items() if word not in known]
    if strange:
        raise OptionError(
            f"{teacher} has classes that no table names: {', '.join(map(repr, strange))}. Mend: name them in a file "
            f'for --label-map, {{"{strange[0]}": one of {", ".join(EMOTIONS)}, or null to drop it}}.'
        )
    table = {own: known[word] for own, word in words.items()}
    if not any(table.values()):
        raise OptionError(
            f"{teacher} tells {', '.join(classes)} apart, none of which is one of {', '.join(EMOTIONS)}. "
            "Mend: another teacher, or --label-map."
        )
    return table


def merge(own: Mapping[str, float], table: Mapping[str, str | None], *, renormalise: bool = True) -> tuple[float, ...]:
    """Return one probability for each of `EMOTIONS`: the sum over the teacher's classes that are merged into it.

    They are scaled to sum to 1 unless `renormalise` is False: then they sum to 1 less what was dropped.

    Raises:
        InputError: the probabilities are not finite, or all of them fall on classes that are dropped.
    """
    if not all(map(math.isfinite, own.values())):
        raise InputError("The teacher gave probabilities that are not finite.")
    sums = dict.fromkeys(EMOTIONS, 0.0)
    for name, p in own.items():
        ours = table[name]
        if ours is not None:
            sums[ours] += float(p)
    total = math.fsum(sums.values())
    if total <= 0:
        raise InputError("The teacher gave all its probability to classes that are dropped.")
    # Without dropped classes the sum is 1 but for rounding, which is left alone.
    scale = total if renormalise and any(ours is None for ours in table.values()) else 1.0
    return tuple(p / scale for p in sums.values())


class Decision(NamedTuple):
    """What two teachers come to: the class of `source` (`speech` or `image`) with its probability, kept or not.

    `reason` is `low-confidence` or `teachers-disagree` where the sample is not kept, else "".
    """

    label: str
    source: str
    confidence: float
    reason: str = ""


def decide(
    speech_probs: Sequence[float], image_probs: Sequence[float], *, threshold: float = 0.5, rule: str = "max"
) -> Decision:
    """Return the label of a sample, as paper section 3.1 prints it.

    `max1` is the largest probability that the speech teacher gives, `max2` the picture teacher's. The larger of the two
    decides: its class is the label. Where it is less than the threshold the sample is dropped; a sample exactly at the
    threshold is kept. The paper does not say what becomes of `max1 = max2`; here the speech decides. Of classes that
    one teacher finds equally probable, the first in index order counts.

    The paper renames excitement and disgust (happy and hate, Plutchik) once samples are labelled. Here that is done
    before (`merge`), so that joy spread over two classes of a teacher is not smaller for it.

    Rule `agree` is the alternative of paper section 5.4: the same decision, but dropped unless both teachers find the
    same class most probable. The threshold still holds for the larger probability, and is looked at first.

    Args:
        speech_probs: one probability for each of `EMOTIONS`, in their order; may sum to less than 1.
        image_probs: likewise.
        threshold: smallest deciding probability that is kept; the paper's is twice that of a guess among four.
        rule: `max` or `agree`.

    Raises:
        OptionError: no such rule.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES, "--rule")
    assert len(speech_probs) == len(image_probs) == len(EMOTIONS), (speech_probs, image_probs)
    max1, max2 = max(speech_probs), max(image_probs)
    heard, seen = EMOTIONS[speech_probs.index(max1)], EMOTIONS[image_probs.index(max2)]
    reason = "teachers-disagree" if rule == "agree" and heard != seen else ""
    reason = "low-confidence" if max(max1, max2) < threshold else reason
    return Decision(*((heard, "speech", max1) if max1 >= max2 else (seen, "image", max2)), reason)


def decided(example: Example, *, threshold: float, rule: str) -> Example:
    """Set `label`, `label_source` and `confidence`; reject `low-confidence` and `teachers-disagree`; see `decide`."""
    found = decide(example.speech_probs, example.image_probs, threshold=threshold, rule=rule)
    if found.reason == "low-confidence":
        return example.reject(found.reason, f"{found.label} by {found.source} with {found.confidence:.3f}")
    if found.reason:
        other = example.image_probs if found.source == "speech" else example.speech_probs
        second = EMOTIONS[other.index(max(other))]
        detail = f"{found.source} says {found.label} ({found.confidence:.3f}), the other teacher {second}"
        return example.reject(found.reason, detail)
    return replace(example, label=found.label, label_source=found.source, confidence=found.confidence)


def own_label(example: Example) -> Example:
    """Keep the source's own sentiment as what is learnt, without teachers; reject `no-sentiment`."""
    if not example.sentiment:
        return example.reject("no-sentiment")
    return replace(example, label="", label_source="source", confidence=1.0)
