from dataclasses import replace

import pytest

from parallelnet.datasets.clock import Seconds
from parallelnet.datasets.draft import Draft
from parallelnet.datasets.summary import THRESHOLDS, Counting, ShardSummary, total

TAUGHT = Draft(
    0,
    "a",
    sentiment="positive",
    language="en",
    tts_voice="en-us",
    duration_s=1.5,
    speech_probs=(0.6, 0.2, 0.1, 0.1),
    image_probs=(0.1, 0.7, 0.1, 0.1),
    label="happy",
    label_source="image",
    confidence=0.7,
)


def summary(drafts, rule="max", index=0):
    counting = Counting(rule)
    for draft in drafts:
        counting.add(draft)
    return ShardSummary.of(
        counting, index=index, name=f"{index}", sha256="x", seconds={"speak": Seconds(1.0, 0.5)}, peak_memory_bytes=7
    )


def test_rejected_rows_count_by_reason_and_nowhere_else():
    unsure = replace(TAUGHT, speech_probs=(0.3, 0.3, 0.2, 0.2), image_probs=(0.4, 0.2, 0.2, 0.2)).reject(
        "low-confidence"
    )

    found = total([summary([TAUGHT, Draft(1, "b").reject("duplicate"), unsure])], "emotion")

    assert (found["n_read"], found["n_kept"], found["n_rejected"]) == (3, 1, 2)
    assert found["rejected"] == {"duplicate": 1, "low-confidence": 1}
    assert found["class_counts"] == {"anger": 0, "happy": 1, "hate": 0, "sad": 0}
    assert found["label_source_counts"] == {"image": 1}
    assert found["duration_s"] == 1.5


def test_agreement_and_curve_are_of_all_rows_that_both_teachers_judged():
    # Both name anger, neither surely; a tie of the picture's goes to the first class.
    unsure = replace(TAUGHT, speech_probs=(0.3, 0.3, 0.2, 0.2), image_probs=(0.4, 0.2, 0.2, 0.2)).reject(
        "low-confidence"
    )
    untaught = replace(TAUGHT, image_probs=()).reject("teacher-failed")

    found = total([summary([TAUGHT, unsure, untaught])], "emotion")

    assert found["n_taught"] == 2
    assert found["teacher_agreement"] == 0.5
    curve = {threshold: (n, counts["anger"], counts["happy"]) for threshold, n, counts in found["threshold_curve"]}
    assert curve[0.0] == curve[0.4] == (2, 1, 1)
    assert curve[0.45] == curve[0.7] == (1, 0, 1)
    assert curve[0.75] == (0, 0, 0)
    assert tuple(curve) == THRESHOLDS


def test_the_curve_follows_the_rule():
    found = total([summary([TAUGHT], rule="agree")], "emotion")

    assert [n for _, n, _ in found["threshold_curve"]] == [0] * len(THRESHOLDS)


def test_without_teachers_there_is_no_agreement_and_classes_are_sentiments():
    kept = replace(TAUGHT, speech_probs=(), image_probs=(), label="", label_source="source", confidence=1.0)

    found = total([summary([kept]), summary([], index=1)], "sentiment")

    assert found["teacher_agreement"] is None
    assert found["threshold_curve"] == ()
    assert found["class_counts"] == {"negative": 0, "neutral": 0, "positive": 1}


def test_shards_add_up_in_any_cut():
    drafts = [replace(TAUGHT, row=n, duration_s=0.1 * n) for n in range(9)]
    whole = total([summary(drafts)], "emotion")
    parts = total([summary(drafts[:4]), summary(drafts[4:], index=1)], "emotion")

    assert parts == whole | {"duration_s": pytest.approx(whole["duration_s"])}


def test_a_summary_comes_back_from_its_json():
    made = summary([TAUGHT, Draft(1, "b").reject("duplicate")])

    assert ShardSummary.from_json(made.to_json()) == made
