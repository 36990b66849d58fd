"""`Explanation`: what it promises, checks, and becomes elsewhere."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

from parallelnet.errors import InputError
from parallelnet.explanation.parts import Budget, ClassValues, DivisionNode, Material, Sensitivity, SpeechUnit
from parallelnet.explanation.result import Explanation
from parallelnet.types import FaceCrop, Prediction

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_path = Path(__file__).parents[1] / "checkpoint_fixture.py"
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", _path)
assert _spec is not None
assert _spec.loader is not None
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
check = _fixtures.check

UNITS = (SpeechUnit(0.1, 0.4, "no", 0.0, 0.5), SpeechUnit(0.6, 0.9, "way", 0.5, 1.0))
NODES = (
    DivisionNode("speech", -1, (0, 1)),
    DivisionNode("speech", 0, (0,)),
    DivisionNode("speech", 0, (1,)),
    DivisionNode("image", -1, (0, 1)),
    DivisionNode("image", 3, (0,)),
    DivisionNode("image", 3, (1,)),
)


def values(sign: float = 1.0) -> ClassValues:
    """From 0.5 to 0.5 + 0.3 sign: speech 0.1 (0.3 and -0.2), picture 0.2 (0.15 and 0.05)."""
    return ClassValues(
        base=0.5,
        speech_alone=0.5 + sign * 0.05,
        image_alone=0.5 + sign * 0.15,
        full=0.5 + sign * 0.3,
        speech=sign * 0.1,
        image=sign * 0.2,
        speech_units=(sign * 0.3, sign * -0.2),
        image_units=(sign * 0.15, sign * 0.05),
        interactions=((sign * 0.04, 0.0), (sign * 0.05, sign * 0.01)),
        nodes=tuple(sign * x for x in (0.1, 0.3, -0.2, 0.2, 0.15, 0.05)),
        lost=(0.0,) * 6,
    )


def explanation() -> Explanation:
    prediction = Prediction(
        emotion="anger",
        probs={"anger": 0.8, "sad": 0.2},
        conformal_set=("anger",),
        uncertain=False,
        modalities=("speech", "image"),
        alone={"speech": {"anger": 0.55, "sad": 0.45}},
        face=FaceCrop("auto", "cropped", (10, 20, 40, 60)),
        n_windows=1,
        checkpoint="toy",
        warnings=("careful",),
    )
    return Explanation(
        prediction=prediction,
        target="anger",
        values={"anger": values(), "sad": values(-1.0)},
        method="owen",
        score="probability",
        modalities=("speech", "image"),
        units="words",
        speech_units=UNITS,
        words_from="given",
        image_grid=(1, 2),
        image_box=(10, 20, 40, 60),
        image_size=(100, 90),
        nodes=NODES,
        kept=(True, False),
        heard=("no",),
        speech_baseline="silence",
        image_baseline="black",
        sensitivity=(Sensitivity("mean", "black", 0.4, 0.1, 0.2, 0.5),),
        budget=Budget(4, 4, 0, 0, 12, 1),
        seconds=0.5,
    )


def test_json_brings_everything_back_but_the_signals() -> None:
    original = replace(explanation(), material=Material(waveform=np.zeros(4)))
    back = Explanation.from_json(original.to_json())
    assert back == original  # material takes no part in comparisons
    assert back.material is None


def test_superpixels_absent_modalities_and_bands_survive_json() -> None:
    regions = replace(explanation(), image_grid=None, image_labels=(0, 1, 1, 0))
    assert Explanation.from_json(regions.to_json()) == regions
    alone = replace(values(), image_units=(), interactions=None, speech_bands=((0.1, 0.2), (-0.2, 0.0)))
    speech = replace(explanation(), values={"anger": alone, "sad": alone}, image_grid=None, image_box=None)
    assert Explanation.from_json(speech.to_json()) == speech
    assert json.loads(speech.to_json())["image_values"] == []


def test_json_has_what_the_contract_names() -> None:
    record = json.loads(explanation().to_json())
    assert record["emotion"] == record["target"] == "anger"
    assert record["base_value"] == 0.5
    assert record["full_value"] == 0.8
    assert record["efficiency_gap"] < 1e-12  # the numbers above add up but for rounding
    assert record["modality_values"] == {"speech": 0.1, "image": 0.2}
    assert record["speech_units"][1] == {
        "start_s": 0.6,
        "end_s": 0.9,
        "word": "way",
        "reach_start_s": 0.5,
        "reach_end_s": 1.0,
        "value": -0.2,
    }
    assert record["image_values"] == [[0.15, 0.05]]
    assert record["interactions"] == [[0.04, 0.0], [0.05, 0.01]]
    assert record["budget"]["speech_passes"] == 4
    assert record["classes"]["sad"]["image_values"] == [[-0.15, -0.05]]
    assert record["prediction"]["conformal_set"] == ["anger"]


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"emotion": "anger"}', '{"classes": {"a": 1}}'])
def test_foreign_json_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not the JSON of an explanation"):
        Explanation.from_json(text)


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        explanation().target = "sad"  # type: ignore[misc]


def test_top_takes_the_largest_magnitude_of_either_modality() -> None:
    assert explanation().top(3) == (
        ("speech", "no", 0.3),
        ("speech", "way", -0.2),
        ("image", "row 1, column 1", 0.15),
    )
    assert explanation().top(1, target="sad") == (("speech", "no", -0.3),)


def test_names_of_cells_and_segments() -> None:
    regions = replace(explanation(), image_grid=None, image_labels=(0, 1))
    assert regions.image_unit_name(1) == "region 2"
    segments = replace(explanation(), speech_units=(replace(UNITS[0], word=""),))
    assert segments.speech_unit_name(0) == "0.10-0.40 s"


def test_synergy_is_what_neither_part_told_alone() -> None:
    assert values().synergy == pytest.approx(0.8 - 0.55 - 0.65 + 0.5)


def test_check_passes_what_adds_up() -> None:
    check(explanation())


def broken(**changes: object) -> Explanation:
    return replace(explanation(), values={"anger": replace(values(), **changes), "sad": values(-1.0)})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"speech_units": (0.3, -0.1)}, "the units miss full - base by 0.1"),
        ({"speech": 0.2}, "speech and picture miss full - base by 0.1"),
        ({"speech_units": (0.1,)}, "not as many values as units"),
        ({"nodes": (0.1, 0.3, -0.1, 0.2, 0.15, 0.05)}, "a part of speech misses its halves by 0.1"),
        ({"image": math.nan}, "speech and picture miss full - base by nan"),
    ],
)
def test_check_names_what_is_broken(changed: dict[str, object], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check(broken(**changed))


def test_the_paper_s_method_allows_what_it_says_is_lost() -> None:
    lossy = broken(nodes=(0.1, 0.3, -0.1, 0.2, 0.15, 0.05), lost=(-0.1, 0, 0, 0, 0, 0), speech_units=(0.3, -0.1))
    check(replace(lossy, method="paper"))
    with pytest.raises(AssertionError, match="misses its halves"):
        check(replace(broken(nodes=(0.1, 0.3, -0.1, 0.2, 0.15, 0.05)), method="paper"))


def test_check_sees_classes_that_do_not_balance() -> None:
    with pytest.raises(AssertionError, match=r"the classes' changes add up to 0\.6"):
        check(replace(explanation(), values={"anger": values(), "sad": values()}))


def test_the_notebook_view_escapes_and_names_the_target() -> None:
    hostile = replace(explanation(), speech_units=(replace(UNITS[0], word="<script>x"), UNITS[1]))
    shown = hostile._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;x" in shown
    assert "<b>anger</b>" in shown
    assert "+0.300" in shown


def test_to_shap_keeps_names_values_and_bases() -> None:
    pytest.importorskip("shap")
    theirs = explanation().to_shap()
    assert theirs.feature_names[:2] == ["speech: no", "speech: way"]
    assert theirs.output_names == ["anger", "sad"]
    np.testing.assert_allclose(theirs.base_values + theirs.values.sum(0), [0.8, 0.2], atol=1e-12)


def test_to_shapiq_keeps_single_values_and_pairs() -> None:
    pytest.importorskip("shapiq")
    theirs = explanation().to_shapiq()
    assert theirs[(0,)] == 0.3
    assert theirs[(1, 2)] == 0.05  # "way" with the first cell: pairs of a unit and a cell alone
    assert theirs[(0, 1)] == 0.0
    assert theirs.baseline_value == 0.5
    assert theirs.index == "SII"
    assert replace(explanation(), values={"anger": replace(values(), interactions=None)}).to_shapiq().index == "SV"
