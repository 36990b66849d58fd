"""The loop behind the microphone, with blocks of a file; and what a machine without one is told."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from parallelnet import audio_files, listening, predictor
from parallelnet.errors import InputError, MissingExtraError

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy_checkpoint = fixtures.toy_checkpoint

RATE = 16_000


@pytest.fixture
def model(toy_checkpoint):
    return predictor.load(toy_checkpoint.path)


def heard_of(model, wave, n_block=4000, **options):
    blocks = (wave[at : at + n_block] for at in range(0, len(wave), n_block))
    return list(listening.listen(model, blocks, **options))


def test_blocks_of_a_file_go_the_way_of_a_microphone(model, tone, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.tile(tone, 4), RATE, subtype="FLOAT")
    with audio_files.stream(tmp_path / "a.wav") as blocks:
        found = list(listening.listen(model, blocks))
    assert [heard.at_s for heard in found] == pytest.approx(range(1, 9))
    assert all(heard.prediction.modalities == ("speech",) for heard in found)
    last = model.predict(np.tile(tone, 4)[-int(4.096 * RATE) :], sample_rate_hz=RATE)
    assert found[-1].prediction.probs == pytest.approx(last.probs)


@pytest.mark.parametrize("n_block", [160, 4000, 50_000])
def test_the_size_of_blocks_changes_nothing(model, tone, n_block):
    wave = np.tile(tone, 3)
    assert heard_of(model, wave, n_block) == heard_of(model, wave)


def test_steps(model, tone):
    assert len(heard_of(model, np.tile(tone, 2), step_s=0.5)) == 8
    assert len(heard_of(model, tone[:100])) == 0


def test_where_nobody_speaks_nothing_is_said(model, tone):
    quiet = np.zeros(6 * RATE, np.float32)
    assert [heard.prediction for heard in heard_of(model, quiet)] == [None] * 6
    hiss = (1e-4 * np.random.default_rng(0).standard_normal(6 * RATE)).astype(np.float32)
    answers = heard_of(model, np.concatenate([tone, hiss]))
    assert answers[0].prediction is not None
    assert answers[-1].prediction is None  # 45 dB and more below the voice before it
    click = np.zeros(2 * RATE, np.float32)
    click[1000:1100] = 0.5
    assert heard_of(model, click)[0].prediction is None


def test_without_a_microphone_one_line_says_so():
    with pytest.raises((InputError, MissingExtraError), match="microphone"), listening.microphone("no such microphone"):
        pass


def test_the_command_refuses_in_one_line(toy_checkpoint):
    line = [
        sys.executable,
        "-m",
        "parallelnet",
        "listen",
        "--microphone",
        "no such",
        "--checkpoint",
        toy_checkpoint.path,
    ]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "microphone" in done.stderr


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"parallelnet\[listen\]"), listening.microphone():
        pass
