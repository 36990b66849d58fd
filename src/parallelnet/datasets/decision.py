"""Which of two teachers names the emotion of a sample (paper section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import unknown
from ..types import EMOTIONS
from .draft import Draft

Rule = Literal["max", "agree"]
RULES: dict[str, str] = {
    "max": "the teacher whose largest probability is the larger one decides",
    "agree": "the same, but only where the largest probability of both is of the same class",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What two teachers come to.

    Attributes:
        label: the deciding teacher's most probable class, also where the sample is not kept.
        source: `speech` or `image`: who decides.
        confidence: the deciding probability.
        reason: `low-confidence` or `teachers-disagree` where the sample is not kept, else "".
    """

    label: str
    source: Literal["speech", "image"]
    confidence: float
    reason: Literal["", "low-confidence", "teachers-disagree"] = ""


def decide(
    speech_probs: Sequence[float], image_probs: Sequence[float], *, threshold: float = 0.5, rule: str = "max"
) -> Decision:
    """Return the label of a sample, as paper section 3.1 prints it.

    `max1` is the largest probability that the speech teacher gives, `max2` the picture teacher's. The larger of the two
    decides: its class is the label. Where it is less than the threshold the sample is dropped; a sample exactly at the
    threshold is kept. The paper does not say what becomes of `max1 = max2`; here the speech decides. Of classes that
    one teacher finds equally probable, the first in index order counts.

    The paper renames excitement and disgust (happy and hate, Plutchik) once samples are labelled. Here that is done
    before (`merging.merge`), so that joy spread over two classes of a teacher is not smaller for it.

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
    heard, seen = speech_probs.index(max1), image_probs.index(max2)
    label, source, confidence = (heard, "speech", max1) if max1 >= max2 else (seen, "image", max2)
    reason: Literal["", "low-confidence", "teachers-disagree"] = ""
    if confidence < threshold:
        reason = "low-confidence"
    elif rule == "agree" and heard != seen:
        reason = "teachers-disagree"
    return Decision(EMOTIONS[label], "speech" if source == "speech" else "image", confidence, reason)


class Decide:
    """Sets `label`, `label_source` and `confidence`; rejects `low-confidence` and `teachers-disagree`."""

    name = "decide"

    def __init__(self, threshold: float = 0.5, rule: str = "max") -> None:
        """See `decide`.

        Raises:
            OptionError: no such rule.
        """
        if rule not in RULES:
            raise unknown("rule", rule, RULES, "--rule")
        self._threshold, self._rule = threshold, rule

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """See `draft.Step`."""
        for draft in drafts:
            yield draft if draft.reason else self._decided(draft)

    def _decided(self, draft: Draft) -> Draft:
        found = decide(draft.speech_probs, draft.image_probs, threshold=self._threshold, rule=self._rule)
        if found.reason == "low-confidence":
            return draft.reject(found.reason, f"{found.label} by {found.source} with {found.confidence:.3f}")
        if found.reason:
            other = draft.image_probs if found.source == "speech" else draft.speech_probs
            second = EMOTIONS[other.index(max(other))]
            return draft.reject(
                found.reason, f"{found.source} says {found.label} ({found.confidence:.3f}), the other teacher {second}"
            )
        return replace(draft, label=found.label, label_source=found.source, confidence=found.confidence)


class OwnLabel:
    """Keeps the source's own sentiment as what is learnt, without teachers; rejects `no-sentiment`."""

    name = "own-label"

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """See `draft.Step`."""
        for draft in drafts:
            if draft.reason:
                yield draft
            elif not draft.sentiment:
                yield draft.reject("no-sentiment")
            else:
                yield replace(draft, label="", label_source="source", confidence=1.0)
