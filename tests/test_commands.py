"""`build tweets` and `inspect` as users call them: a small set on the way, what they print, what stops them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from parallelnet import cli, commands
from parallelnet.datasets.build import Done


@pytest.fixture
def tweets(tmp_path: Path) -> Path:
    for k in range(3):
        Image.linear_gradient("L").rotate(40 * k).resize((60, 50)).convert("RGB").save(tmp_path / f"{k}.jpg")
    source = tmp_path / "tweets.csv"
    source.write_text(
        "id,text,image,sentiment\n"
        "a,what a lovely morning,0.jpg,positive\n"
        "b,http://t.co/x,1.jpg,negative\n"
        "c,nobody called me back,2.jpg,negative\n"
        "d,no picture here,gone.jpg,neutral\n",
        encoding="utf-8",
    )
    return source


def run(*arguments: object) -> int:
    return cli.main([str(a) for a in arguments])


def test_a_data_set_from_a_table_and_back(
    tweets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "set"
    build = ("build", "tweets", "--tweets", tweets, "--out", out, "--labels", "sentiment", "--workers", 1)

    assert run(*build, "--json", "--quiet") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n_read"], report["n_kept"], report["n_rejected"]) == (4, 2, 2)
    assert report["rejected"] == {"no-words": 1, "picture-missing": 1}
    assert report["sentiment_counts"] == {"negative": 1, "positive": 1}

    assert run("inspect", out) == 0
    told = capsys.readouterr().out
    assert "2 of 4 rows kept" in told
    assert "what a lovely morning" in told
    assert run("inspect", out, "--json", "--examples", 0) == 0
    assert json.loads(capsys.readouterr().out)["n_kept"] == 2

    # Again: nothing to do. With other options: refused, in one line.
    assert run(*build, "--quiet") == 0
    assert f"{out}/gallery.html" in capsys.readouterr().out
    assert run(*build, "--seed", 1, "--quiet") == 2
    said = capsys.readouterr().err
    assert "--seed was 0, is 1" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--tweets", "missing.csv"), "missing.csv"),
        (("--tweets", "tweets.csv", "--tts", "espeak"), "Did you mean 'espeak-ng'"),
        (("--tweets", "tweets.csv", "--image-teacher", "nobody"), "nobody"),
        (("--tweets", "tweets.csv", "--voices", "zz"), "zz"),
        (("--tweets", "tweets.csv", "--ray-address", "x"), "--executor ray"),
        (("--tweets", "tweets.csv", "--threshold", "2"), "--threshold is 2"),
        (("--tweets", "tweets.csv", "--images", "nofolder"), "nofolder is no folder"),
        (("--tweets", "other.csv"), "other.csv"),
    ],
)
def test_what_stops_a_build_before_its_first_tweet(
    tweets: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert run("build", "tweets", *arguments, "--out", "set") == 2
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_a_build_that_keeps_nothing_is_told_as_an_error(
    tweets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    build = ("build", "tweets", "--tweets", tweets, "--out", tmp_path / "set", "--labels", "sentiment", "--workers", 1)
    for _ in range(2):
        assert run(*build, "--images", tmp_path / "empty", "--quiet") == 2
        said = capsys.readouterr().err
        assert "was kept: 3 of 4 fell out as picture-missing (there is no picture)" in said
        assert (tmp_path / "set" / "rejected.parquet").is_file()

    for picture in tmp_path.glob("*.jpg"):
        picture.rename(tmp_path / "empty" / picture.name)
    assert run(*build, "--images", tmp_path / "empty", "--quiet") == 0
    assert "2 of 4 rows kept" in capsys.readouterr().out


def test_inspecting_what_is_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("")
    assert run("inspect", tmp_path / "README.md") == 2
    assert "README.md is a file" in capsys.readouterr().err
    assert run("inspect", tmp_path) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_progress_off_a_terminal_is_a_line_a_minute_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("tqdm.std.time", lambda: clock[-1])
    with commands._rows(quiet=False) as step:
        for now, n_read in ((110.0, 50), (120.0, 100), (180.0, 400), (190.0, 450)):  # 50 were done before
            clock.append(now)
            step(Done(450, n_read, n_read // 2))
    assert [line.strip() for line in capsys.readouterr().err.splitlines() if line.strip()] == [
        "400 of 450 rows,  5.00row/s, 00:10 left, dropped=200, kept=200",
        "450 of 450 rows,  5.00row/s, 00:00 left, dropped=225, kept=225",
    ]
    with commands._rows(quiet=True) as step:
        step(Done(1, 1, 1))
    assert capsys.readouterr().err == ""
