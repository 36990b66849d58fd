"""The checkpoint folder: what is written is read back, and damage of any kind is one clear line."""

import importlib.util
import json
from pathlib import Path

import pytest

from parallelnet import checkpoint
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
        ({"classes": ["a"]}, "at least two"),
        ({"modalities": ["smell"]}, "modalities"),
        ({"temperatures": {}}, "temperature of both is None"),
        ({"temperatures": 7}, "temperatures is 7"),
        ({"temperatures": {"both": -1}}, "temperature of both is -1"),
        ({"conformal": None}, "conformal is None"),
        ({"conformal": {"both": 2}}, "conformal of both is 2"),
        ({"network": 7}, "network is 7"),
        ({"name": None}, "name is None"),
        ({"signals": {"clip_s": 99}}, "clip"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_damage_is_one_line(folder, changes, text):
    damage(folder, **changes)
    with pytest.raises(CheckpointError, match=text) as found:
        checkpoint.read(folder)
    assert "\n" not in str(found.value)


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
