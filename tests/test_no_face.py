"""An image without a face beside speech, or with several: who decides, and where it is said."""

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet import batches, cli, faces
from parallelnet.errors import OptionError
from parallelnet.explanation.explaining import explain
from parallelnet.options import EvaluateOptions, ExplainOptions, PredictOptions, SignalOptions
from parallelnet.predictor import load
from parallelnet.types import Prediction, Sample

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
make_checkpoint = fixtures.make_checkpoint

RATE_HZ = 16_000
LARGE, SMALL = (20, 30, 60, 80), (200, 40, 24, 30)


@pytest.fixture
def path(make_checkpoint):
    """A checkpoint that learnt from faces."""
    return make_checkpoint(signals=SignalOptions(face="auto")).path


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)


@pytest.fixture
def speech():
    t = np.arange(RATE_HZ) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 300 * t) * np.sin(3 * t)).astype(np.float32)


@pytest.fixture
def two_faces(monkeypatch):
    found = [faces.Face(LARGE, 0.9), faces.Face(SMALL, 0.8)]
    monkeypatch.setattr(faces, "find", lambda rgb: found)


@pytest.fixture
def files(tmp_path, noise, speech):
    Image.fromarray(noise).save(tmp_path / "noise.png")
    soundfile.write(tmp_path / "speech.wav", speech, RATE_HZ)
    return str(tmp_path / "speech.wav"), str(tmp_path / "noise.png")


def test_without_a_face_the_speech_alone_decides(path, noise, speech):
    model = load(path)
    found = model.predict(speech, noise, sample_rate_hz=RATE_HZ)
    assert found.modalities == ("speech",)
    assert found.probs == model.predict(speech, sample_rate_hz=RATE_HZ).probs
    assert found.face.status == "not-found"
    assert "No face was found in the image: the speech alone decided." in found.warnings
    assert found.without_face == "by the speech alone: no face was found in the image"
    assert Prediction.from_json(found.to_json()) == found


def test_the_whole_image_is_used_where_that_is_asked_or_nothing_else_is_there(path, noise, speech):
    asked = load(path, when_no_face="use").predict(speech, noise, sample_rate_hz=RATE_HZ)
    assert asked.modalities == ("speech", "image")
    alone = load(path).predict(image=noise)
    silent = load(path).predict(np.zeros(RATE_HZ, np.float32), noise, sample_rate_hz=RATE_HZ)
    assert alone.modalities == ("image",)
    assert silent.modalities == ("speech", "image")
    for found in (asked, alone, silent):
        assert found.without_face == "judged without a face: the whole image was used"
        assert any(line.startswith("No face was found: the whole image was used") for line in found.warnings)


def test_a_checkpoint_of_scenes_uses_every_image(make_checkpoint, noise, speech):
    scenes = make_checkpoint(signals=SignalOptions(face="off")).path
    for face in (None, "auto"):
        model = load(scenes, face=face)
        assert model.when_no_face == "use"
        assert model.predict(speech, noise, sample_rate_hz=RATE_HZ).modalities == ("speech", "image")


def test_the_other_faces_are_listed(path, noise, two_faces):
    found = load(path).predict(image=noise)
    assert found.face.status == "cropped"
    assert found.face.others == (SMALL,)
    assert json.loads(found.to_json())["face"]["others"] == [list(SMALL)]
    assert found.without_face == ""


def test_each_face_is_judged(path, noise, speech, two_faces):
    found = load(path).predict_faces(speech, noise, sample_rate_hz=RATE_HZ)
    assert [each.face.others for each in found] == [(SMALL,), (LARGE,)]
    assert found[0].face.box[2] > found[1].face.box[2]
    assert found[0].probs != found[1].probs


def test_each_face_is_a_row_and_resumes(path, files, two_faces, tmp_path):
    samples = [Sample("a", image=files[1]), Sample("b", speech=files[0]), Sample("c", image="missing.png")]
    out = tmp_path / "out.csv"
    for resume in (False, True):
        batches.predict_manifest(load(path), samples, out, all_faces=True, resume=resume)
        with out.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["id"] for row in rows] == ["a", "a#2", "b", "c"]
        assert rows[0]["other_faces"] == "200 40 24 30"
        assert rows[1]["other_faces"] == "20 30 60 80"
        assert rows[0]["face_box"] != rows[1]["face_box"]
        assert (rows[2]["face"], rows[2]["face_box"], rows[3]["status"]) == ("", "", "error")


def test_a_row_says_that_no_face_was_found(path, files, tmp_path):
    batches.predict_manifest(load(path), [Sample("a", *files)], tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["face"], row["modalities"], row["face_box"]) == ("not-found", "speech", "0 0 300 200")


def test_an_explanation_leaves_the_image_out_as_well(path, files):
    found = explain(*files, model=load(path), n_segments=4)
    assert found.modalities == ("speech",)
    assert found.prediction.without_face.startswith("by the speech alone")
    used = explain(*files, model=load(path, when_no_face="use"), n_segments=4, grid="2x2")
    assert used.modalities == ("speech", "image")


def test_the_command_line_says_it_in_its_first_line(path, files, capsys):
    arguments = ["predict", "--speech", files[0], "--image", files[1], "--checkpoint", str(path)]
    cli.main(arguments)
    assert capsys.readouterr().out.splitlines()[0].endswith("%), by the speech alone: no face was found in the image")
    cli.main([*arguments, "--when-no-face", "use"])
    assert capsys.readouterr().out.splitlines()[0].endswith("%), judged without a face: the whole image was used")


def test_the_command_line_judges_all_faces(path, files, two_faces, capsys):
    arguments = ["predict", "--image", files[1], "--checkpoint", str(path), "--face", "all"]
    cli.main([*arguments, "--json"])
    assert [each["face"]["others"] for each in json.loads(capsys.readouterr().out)] == [[list(SMALL)], [list(LARGE)]]
    cli.main(arguments)
    assert capsys.readouterr().out.count("cropped: ") == 2
    cli.main(arguments[:-2])
    assert "not judged 24 x 30 pixels at 200, 40, another face" in capsys.readouterr().out


def test_contradictions_are_refused():
    with pytest.raises(OptionError, match="--face off seeks none"):
        PredictOptions(face="off", when_no_face="use")
    with pytest.raises(OptionError, match="Mend: --face auto, the largest"):
        ExplainOptions(face="all")
    with pytest.raises(OptionError, match="Mend: --face auto, the largest"):
        EvaluateOptions(data="x", face="all")
