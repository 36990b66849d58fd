import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from parallelnet.data.shards import Example
from parallelnet.datasets import build, executors, jobs
from parallelnet.errors import ManifestError, MissingExtraError
from parallelnet.options import TweetsOptions


@pytest.fixture
def options(tmp_path, table):
    rows = [[f"t{n}", f"Tweet {n} é 😀", f"pictures/{n}.png", "positive"] for n in range(7)]
    rows[5][2] = "../elsewhere.png"
    source = table(tmp_path / "in" / "tweets.csv", [["id", "text", "image", "sentiment"], *rows])
    (tmp_path / "out" / ".build" / "rows").mkdir(parents=True)
    return TweetsOptions(tweets=str(source), out=str(tmp_path / "out"), rows_per_shard=3)


def read_all(options, n_ranges):
    return [
        row
        for index in range(n_ranges)
        for row in jobs.read_range(options, jobs.work_file(options, "rows/.jsonl", index))
    ]


def test_ranges_give_back_what_was_read(options):
    assert jobs.split(options) == 7

    assert read_all(options, 3) == list(jobs.read_input(options))
    assert not jobs.work_file(options, "rows/.jsonl", 3).exists()
    assert [row.row for row in read_all(options, 3)] == list(range(7))


def test_the_place_of_the_input_is_not_in_them(options, tmp_path):
    jobs.split(options)

    for path in (tmp_path / "out").rglob("*.jsonl"):
        assert str(tmp_path) not in path.read_text()
    assert read_all(options, 1)[0].image_path == str(tmp_path / "in" / "pictures" / "0.png")


def test_a_limit_is_kept(options):
    limited = TweetsOptions(tweets=options.tweets, out=options.out, rows_per_shard=3, limit=4)

    assert jobs.split(limited) == 4
    assert len(read_all(limited, 2)) == 4


def test_a_finished_cut_is_not_done_again_and_an_unfinished_one_is(options, tmp_path):
    jobs.split(options)
    done = tmp_path / "out" / ".build" / "rows.json"
    assert json.loads(done.read_text()) == {"n_rows": 7}
    before = read_all(options, 3)
    jobs.work_file(options, "rows/.jsonl", 1).write_text("half")

    done.unlink()
    assert jobs.split(options) == 7
    assert read_all(options, 3) == before
    shutil.move(options.tweets, tmp_path / "gone.csv")
    assert jobs.split(options) == 7


def test_an_input_without_rows_is_refused(tmp_path, table, options):
    empty = table(tmp_path / "in" / "empty.csv", [["id", "text", "image"]])

    with pytest.raises(ManifestError, match=r"empty\.csv has no rows"):
        build.build_tweets(TweetsOptions(tweets=str(empty), out=str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


def test_the_peak_is_the_process_s_own():
    big = bytearray(os.urandom(1)) * 300_000_000
    assert jobs.peak_memory_bytes() > len(big)
    program = "from parallelnet.datasets.jobs import peak_memory_bytes; print(peak_memory_bytes())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    del big

    assert 5_000_000 < int(done.stdout) < 250_000_000  # not the 300 MB of the process that started it


def test_the_machine_is_named():
    assert executors.n_cores() >= 1
    assert "\n" not in build._cpu_name()


def test_cleaning_needs_its_packages(options, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"Cleaning texts for speech needs .*parallelnet\[tts\]"):
        jobs.looking_steps(options)


def test_the_folder_of_the_pictures_may_be_a_link_to_another_disk(options, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "own.png")
    (tmp_path / "linked").symlink_to(tmp_path)
    check = jobs.looking_steps(replace(options, images=str(tmp_path / "linked")))["check-picture"]
    assert check(Example(0, "0", image_path=f"{tmp_path}/linked/own.png")).reason == ""
