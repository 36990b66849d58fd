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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("timeline", "gone.wav", "--out", "out"), "'gone.wav' does not exist"),
        (("timeline", "text.mp4", "--out", "out"), "it is text"),
        (("timeline", "text.mp4"), "Missing: --out"),
        (("timeline", "text.mp4", "--out", "text.mp4"), "is a file; allowed: a folder"),
        (("timeline", "text.mp4", "--out", "out", "--smooth-s", "-1"), "--smooth-s is -1.0"),
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
