"""The decision of paper section 3.1, case by case."""

import pytest

from parallelnet.data.shards import Example
from parallelnet.datasets.teachers import Decision, decide, decided, own_label
from parallelnet.errors import OptionError

FLAT = (0.25, 0.25, 0.25, 0.25)
HAPPY_08 = (0.1, 0.8, 0.05, 0.05)
HATE_07 = (0.1, 0.1, 0.7, 0.1)
SAD_05 = (0.2, 0.2, 0.1, 0.5)
ANGER_07 = (0.7, 0.1, 0.1, 0.1)

CASES = {
    # name: (speech, image, rule, threshold) -> (label, source, confidence, reason)
    "the paper's worked example": (HATE_07, HAPPY_08, "max", 0.5, "happy", "image", 0.8, ""),
    "the same, turned round": (HAPPY_08, HATE_07, "max", 0.5, "happy", "speech", 0.8, ""),
    "a tie goes to speech": (HATE_07, ANGER_07, "max", 0.5, "hate", "speech", 0.7, ""),
    "a tie goes to speech, whatever the class": (ANGER_07, HATE_07, "max", 0.5, "anger", "speech", 0.7, ""),
    "exactly the threshold is kept": (FLAT, SAD_05, "max", 0.5, "sad", "image", 0.5, ""),
    "just below is dropped": (FLAT, (0.2, 0.2, 0.11, 0.49), "max", 0.5, "sad", "image", 0.49, "low-confidence"),
    "the other teacher need not be sure": (FLAT, HAPPY_08, "max", 0.5, "happy", "image", 0.8, ""),
    "another threshold": (HATE_07, HAPPY_08, "max", 0.81, "happy", "image", 0.8, "low-confidence"),
    "threshold 0 keeps all": (FLAT, FLAT, "max", 0.0, "anger", "speech", 0.25, ""),
    "the first of equal classes": ((0.1, 0.4, 0.4, 0.1), FLAT, "max", 0.3, "happy", "speech", 0.4, ""),
    "mass may have been dropped": ((0.0, 0.0, 0.55, 0.0), (0.1, 0.1, 0.0, 0.0), "max", 0.5, "hate", "speech", 0.55, ""),
    "agree: both name it": (SAD_05, (0.1, 0.1, 0.0, 0.8), "agree", 0.5, "sad", "image", 0.8, ""),
    "agree: one may be unsure": ((0.2, 0.3, 0.25, 0.25), HAPPY_08, "agree", 0.5, "happy", "image", 0.8, ""),
    "agree: they differ": (HATE_07, HAPPY_08, "agree", 0.5, "happy", "image", 0.8, "teachers-disagree"),
    "agree: neither is sure": (
        *((0.4, 0.2, 0.2, 0.2), (0.45, 0.2, 0.2, 0.15), "agree", 0.5),
        *("anger", "image", 0.45, "low-confidence"),
    ),
    "agree: they differ, neither is sure": (
        *((0.4, 0.2, 0.2, 0.2), (0.2, 0.45, 0.2, 0.15), "agree", 0.5),
        *("happy", "image", 0.45, "low-confidence"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_decide(case):
    speech, image, rule, threshold, *expected = case
    assert decide(speech, image, threshold=threshold, rule=rule) == Decision(*expected)


def test_the_papers_threshold_and_rule_are_the_defaults():
    assert decide(FLAT, SAD_05).reason == ""
    assert decide(FLAT, (0.26, 0.26, 0.25, 0.23)).reason == "low-confidence"
    assert decide(HATE_07, HAPPY_08).reason == ""


def test_an_unknown_rule_is_refused():
    with pytest.raises(OptionError, match=r"Unknown rule 'agrees'.*Did you mean 'agree'.*--rule"):
        decide(FLAT, FLAT, rule="agrees")
    with pytest.raises(OptionError, match="--rule"):
        decide(FLAT, FLAT, rule="min")


def examples(*probs):
    return [
        Example(n, f"t{n}", speech_probs=s, image_probs=i, speech=b"s", image=b"i") for n, (s, i) in enumerate(probs)
    ]


def test_decide_step_says_why():
    given = examples((HATE_07, HAPPY_08), (FLAT, FLAT), (SAD_05, FLAT))
    kept, unsure, sad = (decided(row, threshold=0.5, rule="max") for row in given)
    assert (kept.label, kept.label_source, kept.confidence, kept.speech) == ("happy", "image", 0.8, b"s")
    assert (unsure.reason, unsure.label, unsure.speech) == ("low-confidence", "", b"")
    assert unsure.detail == "anger by speech with 0.250"
    assert unsure.speech_probs == FLAT  # the threshold curve counts rejected rows, too
    assert (sad.label, sad.label_source) == ("sad", "speech")


def test_decide_step_names_both_opinions():
    (differ,) = (decided(row, threshold=0.5, rule="agree") for row in examples((HATE_07, HAPPY_08)))
    assert differ.reason == "teachers-disagree"
    assert differ.detail == "image says happy (0.800), the other teacher hate"


def test_own_label():
    kept, without = map(own_label, [Example(0, "a", sentiment="negative"), Example(1, "b")])
    assert (kept.sentiment, kept.label, kept.label_source, kept.confidence) == ("negative", "", "source", 1.0)
    assert without.reason == "no-sentiment"
