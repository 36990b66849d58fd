"""The checkpoint folder: what is written is read back, and damage of any kind is one clear line."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from parallelnet import checkpoint
from parallelnet.checkpoint import ModelFacts
from parallelnet.errors import CheckpointError
from parallelnet.predictor import load

_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
make_checkpoint = fixtures.make_checkpoint


@pytest.fixture
def folder(make_checkpoint):
    return make_checkpoint("copy", conformal={"both": 0.5}).path


def damage(folder, **changes):
    file = folder / checkpoint.MODEL_JSON
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_what_is_written_is_read_back(folder):
    before = checkpoint.read(folder)
    assert checkpoint.read(checkpoint.write(folder, before.facts).path) == before


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format_version": checkpoint.FORMAT_VERSION + 1}, "reads up to 1"),
        ({"format_version": 0}, "format_version is 0"),
        ({"format_version": True}, "format_version is true"),
        ({"classes": ["a"]}, "at least two"),
        ({"classes": ["a", "a"]}, "all different"),
        ({"classes": [["a"], ["b"]]}, r"classes is \[\["),
        ({"classes": {"a": 0, "b": 1}}, "classes is {"),
        ({"classes": "ab"}, 'classes is "ab"'),
        ({"classes": ["a", 1]}, "classes is"),
        ({"classes": ["a", " b"]}, "classes is"),
        ({"classes": ["a", ""]}, "classes is"),
        ({"classes": ["a", "\x1b[31mb"]}, "classes is"),
        ({"classes": ["a", "b\u202ec"]}, "classes is"),
        ({"classes": ["a", "\ud800"]}, "classes is"),
        ({"classes": ["a", "b" * 101]}, "1 to 100 printable"),
        ({"classes": [str(k) for k in range(1001)]}, "at most 1000"),
        ({"modalities": ["smell"]}, "modalities"),
        ({"modalities": ["image", "speech"]}, "modalities"),
        ({"modalities": [["speech"]]}, "modalities"),
        ({"separable": 1}, "separable is 1"),
        ({"temperatures": {}}, "temperature of both is null"),
        ({"temperatures": 7}, "temperatures is 7"),
        ({"temperatures": {"both": -1}}, "temperature of both is -1"),
        ({"temperatures": {"both": 1e-320}}, "temperature of both is 1e-320; allowed: 0.01 to 100"),
        ({"temperatures": {"both": 1e300}}, "temperature of both is 1e"),
        ({"temperatures": {"both": 10**400}}, "temperature of both is 1000"),
        ({"temperatures": {"both": True}}, "temperature of both is true"),
        ({"temperatures": {"both": "1"}}, 'temperature of both is "1"'),
        ({"temperatures": {"both": 1, "speech": 1, "image": [1]}}, "temperature of image is"),
        ({"temperatures": {"both": 1, "speech": 1, "image": 1, "smell": 1}}, 'is "smell"; allowed: both'),
        ({"temperatures": {"both": float("nan")}}, "NaN is no JSON"),
        ({"metrics": {"test": float("inf")}}, "Infinity is no JSON"),
        ({"conformal": None}, "conformal is null"),
        ({"conformal": {"both": 2}}, "conformal of both is 2"),
        ({"conformal": {"both": True}}, "conformal of both is true"),
        ({"conformal": {"smell": 0.5}}, 'is "smell"; allowed: both'),
        ({"network": 7}, "network is 7"),
        ({"name": None}, "name is null"),
        ({"name": ""}, 'name is ""'),
        ({"name": ".."}, r'name is "\.\."'),
        ({"name": "../../etc/x"}, "name is .*no path"),
        ({"name": "a\\b"}, "name is .*no path"),
        ({"name": "a\nb"}, "name is"),
        ({"variant": "\x07"}, "variant is"),
        ({"variant": 3}, "variant is 3"),
        ({"signals": {"clip_s": 99, "trim": False, "face": "off"}}, "clip"),
        ({"signals": {"clip_s": True, "trim": False, "face": "off"}}, "clip_s of signals is true"),
        ({"signals": {"clip_s": 4.0, "trim": "false", "face": "off"}}, "trim of signals is"),
        ({"signals": {"clip_s": 4.0, "trim": False, "face": ["off"]}}, "face of signals is"),
        ({"signals": {"clip_s": 4.0}}, "signals is"),
        ({"signals": None}, "signals is null"),
        ({"surprise": 1}, "surprise"),
        ({"\x1bsurprise" * 100: 1}, "surprise"),
    ],
)
def test_damage_is_one_line(folder, changes, text):
    damage(folder, **changes)
    with pytest.raises(CheckpointError, match=text) as found:
        checkpoint.read(folder)
    assert str(found.value).isprintable()
    assert len(str(found.value).replace(str(folder), "")) < 400


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"a": ' + "[" * 100_000, "nested too deeply|cannot be read"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"variant": "a", "variant": "b"}', "'variant' stands there twice"),
        ('{"metrics": {"n": 1, "n": 2}}', "'n' stands there twice"),
        ('{"format_version": ' + "9" * 5000 + "}", "cannot be read: .*4300 digits"),
        ("[]", "no JSON object"),
        ("", "may have been cut off"),
        (b"\xff\xfe", "may have been cut off"),
    ],
)
def test_files_that_only_look_like_json(folder, content, text):
    file = folder / checkpoint.MODEL_JSON
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError, match=text) as found:
        checkpoint.read(folder)
    assert str(found.value).isprintable()


def test_a_file_of_gigabytes_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_JSON_BYTES", 1000)
    file = folder / checkpoint.MODEL_JSON
    file.write_text(file.read_text() + " " * 1000)
    with pytest.raises(CheckpointError, match="cannot be read: more than"):
        checkpoint.read(folder)


def test_a_figure_that_is_no_number_is_written_as_null(folder):
    facts = replace(checkpoint.read(folder).facts, metrics={"kappa": float("nan")})
    assert checkpoint.read(checkpoint.write(folder, facts).path).facts.metrics == {"kappa": None}


def test_names_of_other_scripts_are_names(folder):
    damage(folder, classes=["злость", "幸せ", "happy / glad", "tristesse (forte)"])
    assert checkpoint.read(folder).facts.classes[1] == "幸せ"


def test_only_files_of_ours_come_from_the_hub(monkeypatch, tmp_path):
    import huggingface_hub

    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **settings: asked.update(settings, name=name) or tmp_path
    )
    assert checkpoint.resolve("hf:somebody/model") == tmp_path
    assert asked["name"] == "somebody/model"
    everything = {path.name for folder in checkpoint.bundled().values() for path in folder.iterdir()}
    assert everything <= set(asked["allow_patterns"])
    for name in ("pytorch_model.bin", "run.py", "model.json.exe", "x/model.json", "other.onnx", ".gitattributes"):
        assert not list(huggingface_hub.utils.filter_repo_objects([name], allow_patterns=asked["allow_patterns"]))


def test_a_copy_takes_only_what_belongs_to_a_checkpoint(folder, tmp_path):
    (folder / "secret").symlink_to(Path("/etc/hostname"))
    (folder / "deep").mkdir()
    checkpoint.copy(checkpoint.read(folder), tmp_path / "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["model.json"]
    assert checkpoint.read(tmp_path / "taken").facts == checkpoint.read(folder).facts


def test_nothing_is_written_through_links_of_a_stranger(folder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("model.json", "model.json.partial"):
        (folder / name).unlink(missing_ok=True)
    facts = ModelFacts("a", "b", {})
    for name in ("model.json", "model.json.partial"):
        (folder / name).symlink_to(precious)
    checkpoint.write(folder, facts)
    assert precious.read_text() == "mine"
    assert not (folder / "model.json").is_symlink()


def test_a_cut_or_foreign_folder_is_refused(folder, tmp_path):
    file = folder / checkpoint.MODEL_JSON
    file.write_text(file.read_text()[:40])
    with pytest.raises(CheckpointError, match="may have been cut off"):
        checkpoint.read(folder)
    file.write_text('{"some": "json"}')
    with pytest.raises(CheckpointError, match="not written by parallelnet"):
        checkpoint.read(folder)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint.read(tmp_path)
    with pytest.raises(CheckpointError, match=r"No checkpoint 'nowhere'.*bundled"):
        checkpoint.resolve("nowhere")


def test_classes_that_do_not_fit_the_graph_are_refused(folder):
    damage(folder, classes=["a", "b", "c"])
    with pytest.raises(CheckpointError, match=r"tells 4 classes apart, but model\.json names 3"):
        load(folder).predict(image=b"")
