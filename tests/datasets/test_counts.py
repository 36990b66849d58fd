import json
from dataclasses import replace

import pytest

from parallelnet.data.shards import Example
from parallelnet.datasets.counts import THRESHOLDS, Counts, cramers_v

TAUGHT = Example(
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


def counted(rows):
    counts = Counts()
    for row in rows:
        counts.add(row)
    return counts


def test_rejected_rows_count_by_reason_and_nowhere_else():
    unsure = replace(TAUGHT, speech_probs=(0.3, 0.3, 0.2, 0.2), image_probs=(0.4, 0.2, 0.2, 0.2)).reject(
        "low-confidence"
    )

    found = counted([TAUGHT, Example(1, "b").reject("duplicate"), unsure]).facts("emotion", "max")

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

    found = counted([TAUGHT, unsure, untaught]).facts("emotion", "max")

    assert found["n_taught"] == 2
    assert found["teacher_agreement"] == 0.5
    curve = {threshold: (n, counts["anger"], counts["happy"]) for threshold, n, counts in found["threshold_curve"]}
    assert curve[0.0] == curve[0.4] == (2, 1, 1)
    assert curve[0.45] == curve[0.7] == (1, 0, 1)
    assert curve[0.75] == (0, 0, 0)
    assert tuple(curve) == THRESHOLDS


def test_the_curve_follows_the_rule():
    found = counted([TAUGHT]).facts("emotion", "agree")

    assert [n for _, n, _ in found["threshold_curve"]] == [0] * len(THRESHOLDS)


def test_without_teachers_there_is_no_agreement_and_classes_are_sentiments():
    kept = replace(TAUGHT, speech_probs=(), image_probs=(), label="", label_source="source", confidence=1.0)

    found = (counted([kept]) + counted([])).facts("sentiment", "max")

    assert found["teacher_agreement"] is None
    assert found["threshold_curve"] == ()
    assert found["class_counts"] == {"negative": 0, "neutral": 0, "positive": 1}


def test_parts_add_up_in_any_cut_and_come_back_from_json():
    rows = [replace(TAUGHT, row=n, duration_s=0.1 * n) for n in range(9)] + [Example(9, "b").reject("duplicate")]
    whole, parts = counted(rows), counted(rows[:4]) + counted(rows[4:])

    assert parts == replace(whole, duration_s=pytest.approx(whole.duration_s))
    for counts in (whole, Counts()):
        assert Counts.from_record(json.loads(json.dumps(counts.to_record()))) == counts


def test_cramers_v():
    assert cramers_v({"a": {"x": 50}, "b": {"y": 50}}) == pytest.approx(1, abs=0.01)
    assert cramers_v({"a": {"x": 25, "y": 25}, "b": {"x": 25, "y": 25}}) == 0
    assert cramers_v({"a": {"x": 25, "y": 25}}) is None
    assert cramers_v({"a": {"x": 3}, "b": {"x": 3}}) is None
    assert cramers_v({}) is None
    assert 0.4 < cramers_v({"a": {"x": 75, "y": 25}, "b": {"x": 25, "y": 75}}) < 0.5
