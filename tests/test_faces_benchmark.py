"""Tests of the measurement of face searches (benchmarks/faces.py) and of its annotations."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("faces_benchmark", ROOT / "benchmarks" / "faces.py")
assert _spec
assert _spec.loader
faces = importlib.util.module_from_spec(_spec)
sys.modules["faces_benchmark"] = faces  # dataclasses look their module up
_spec.loader.exec_module(faces)


def truth(x: float, kind: str = "face", note: str = "") -> object:
    return faces.Truth((x, 0, 30, 40), kind, note)


def test_iou() -> None:
    assert faces.iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert faces.iou((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert faces.iou((0, 0, 10, 10), (10, 0, 10, 10)) == 0


def test_a_face_counts_once_and_ignored_boxes_any_number_of_times() -> None:
    first, second, hard = (0, 0, 30, 40, 0.9), (1, 0, 30, 40, 0.8), (100, 0, 30, 40, 0.7)
    face, ignored = truth(0), truth(100, "hard", "small")
    assert faces.matches([first, second, hard, hard], [face, ignored]) == [face, None, ignored, ignored]


def test_quality_of_known_finds() -> None:
    truths = [[truth(0), truth(100, "drawn")], [truth(0)], []]
    found = [[(0, 0, 30, 40, 0.9), (100, 0, 33, 44, 0.8)], [], [(0, 0, 5, 5, 0.9), (0, 0, 5, 5, 0.1)]]
    result = faces.quality(found, truths, 0.5)
    assert (result["recall"], result["precision"], result["hits"], result["false"]) == (0.5, 0.5, 1, 1)
    assert result["largest_find_is_largest_face"] == "0 of 2 images with a face"  # the drawn one is larger
    assert result["largest_find_is"] == {"face": 0, "hard": 0, "drawn": 1, "false": 1}
    assert result["images_without_any_box_that_got_one"] == "1 of 1"
    assert result["recall_by_width"]["24 to 31"] == "1 of 2"


def test_annotations_keep_their_own_rules() -> None:
    truths = faces.read_truths(ROOT / "benchmarks" / "data" / "faces.csv")
    boxes = [box for of_one in truths.values() for box in of_one]
    assert len(truths) == 200
    assert set(Counter(box.kind for box in boxes)) == {"face", "hard", "drawn"}
    assert all(box.box[2] >= 24 for box in boxes if box.kind == "face")
    assert all(box.kind == "hard" and box.box[2] < 24 for box in boxes if box.note == "small")
    assert all(min(box.box[:2]) >= 0 and max(box.box[0] + box.box[2], box.box[1] + box.box[3]) <= 256 for box in boxes)
