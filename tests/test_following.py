"""`parallelnet timeline` and `listen` as they are typed."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from parallelnet import cli, listening, load

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy_checkpoint = fixtures.toy_checkpoint
_spec = importlib.util.spec_from_file_location("clip_fixture", Path(__file__).with_name("clip_fixture.py"))
clips = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(clips)


@pytest.fixture
def run(capsys, toy_checkpoint):
    def run(*arguments):
        status = cli.main([*map(str, arguments), "--checkpoint", str(toy_checkpoint.path)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_timeline_writes_its_files_and_says_where(run, tone, tmp_path):
    soundfile.write(tmp_path / "talk.wav", np.concatenate([np.tile(tone, 3), np.zeros(64_000)]), 16_000)
    status, out, err = run("timeline", tmp_path / "talk.wav", "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    assert "and 1 pauses in 10 s" in out
    assert f"page       {tmp_path}/out/timeline.html" in out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["timeline.csv", "timeline.html", "timeline.png", "timeline.vtt"]
    assert "talk.wav" in (tmp_path / "out" / "timeline.html").read_text(encoding="utf-8")
    status, out, _ = run("timeline", tmp_path / "talk.wav", "--out", tmp_path / "out", "--json", "--smooth-s", "0")
    assert json.loads(out)["n_windows"] == 2
    assert json.loads(out)["duration_s"] == 10


def test_a_clip_is_predicted_and_explained(run, tone, picture, tmp_path):
    clip = clips.write_clip(tmp_path / "a.mp4", picture, tone, fps=4)
    status, out, _ = run("predict", clip, "--face", "off", "--json")
    frame = json.loads(out)["frames"][0]
    assert (status, json.loads(out)["modalities"]) == (0, ["speech", "image"])
    status, _, _ = run(
        "explain", clip, "--face", "off", "--grid", "1x2", "--n-segments", "2", "--out", tmp_path / "out"
    )
    assert status == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"a.mp4, frame {frame['index']} at {frame['time_s']:.2f} s" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("timeline", "gone.wav", "--out", "out"), "'gone.wav' does not exist"),
        (("timeline", "text.mp4", "--out", "out"), "it is text"),
        (("timeline", "text.mp4"), "Missing: --out"),
        (("timeline", "text.mp4", "--out", "text.mp4"), "is a file; allowed: a folder"),
        (("timeline", "text.mp4", "--out", "out", "--smooth-s", "-1"), "--smooth-s is -1.0"),
        (("predict", "text.mp4"), "is no clip that is known: it is text"),
        (("explain", "text.mp4", "--speech", "a.wav"), "FILE is a clip with all of a sample"),
        (("explain", "text.mp4", "--resume"), "--resume goes with --manifest"),
        (("listen", "--step-s", "0"), "--step-s is 0.0"),
        (("listen", "--microphone", "no such one"), "microphone"),
    ],
)
def test_refusals_are_one_line(run, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("text.mp4").write_text("words and no pictures")
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_what_listen_prints(tone):
    found = list(listening.listen(load(), [np.tile(tone, 2), np.zeros(100_000, np.float32)], step_s=2))
    assert str(found[0]).startswith(f"    2.0 s  {found[0].prediction.emotion} ")
    assert str(found[-1]) == "   10.0 s  nobody speaks"
    assert json.loads(found[-1].to_json()) == {"at_s": 10.0, "prediction": None}
