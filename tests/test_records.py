"""Whole files, locks that end with their process, and results of different questions that are never mixed."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parallelnet import records
from parallelnet.errors import OptionError, ParallelNetError

# Holds a place, says so, and waits to be ended.
HOLDER = """
import sys
from pathlib import Path
from parallelnet import records
with records.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """Return what starts a process that holds a place."""
    started = []

    def start(place):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["folder", "file", "file that is not there yet"])
def test_what_one_process_holds_another_does_not_get(kind, tmp_path, holder):
    place = tmp_path / "place"
    if kind == "folder":
        place.mkdir()
    elif kind == "file":
        place.write_text("rows")
    process = holder(place)
    with pytest.raises(ParallelNetError, match=r"Another process writes to .*place"), records.held(place):
        pytest.fail("two hold it")
    process.communicate("")  # ends in order
    with records.held(place):
        pass
    assert [path.name for path in tmp_path.rglob("*lock")] == []


def test_a_hold_ends_with_a_killed_process(tmp_path, holder):
    process = holder(tmp_path)
    process.kill()
    process.wait()
    assert (tmp_path / records.LOCK).exists()
    assert records.is_empty(tmp_path)
    with records.held(tmp_path):
        pass


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.json"
    records.write_json(target, {"old": 1})

    def fail(stream):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        records.write_whole(target, fail)
    assert records.is_disk_full(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert records.read_json(target, mend="") == {"old": 1}


def test_write_whole_tells_what_it_wrote(tmp_path):
    digest, n_bytes = records.write_whole(tmp_path / "a", lambda stream: stream.write(b"abc"))
    assert (digest[:8], n_bytes) == ("ba7816bf", 3)  # sha256("abc"), FIPS 180-2, appendix B.1


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\udcff", "[" * 100_000])
def test_a_damaged_record_is_one_line_with_its_mend(text, tmp_path):
    source = tmp_path / "options.json"
    source.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(OptionError, match=r"options.json is damaged \(.*\)\. Mend: begin anew\.$") as caught:
        records.read_json(source, mend="begin anew.")
    assert "\n" not in str(caught.value)


def test_what_was_asked_is_kept_and_what_differs_is_refused(tmp_path):
    out = tmp_path / "predictions.csv"
    source = records.beside(out)
    asked = {"face": "auto", "checkpoint": {"name": "compact", "sha256": "1"}, "threads": 1, "labels": ("a", "b")}
    records.begun(source, asked, place=out)
    records.begun(source, asked, place=out)
    records.begun(source, {**asked, "threads": 2}, place=out, free=("threads",))
    assert json.loads(source.read_text())["threads"] == 1
    other = {**asked, "face": "off", "checkpoint": {"name": "compact", "sha256": "2"}}
    with pytest.raises(OptionError) as caught:
        records.begun(source, other, place=out)
    assert str(caught.value) == (
        f"{out} was begun with other options or data: checkpoint.sha256 was '1', is '2'; face was 'auto', is 'off'. "
        "Mend: the same ones, or another --out."
    )


def test_records_are_beside_files(tmp_path):
    assert records.beside(Path("x/a.csv")) == Path("x/a.csv.asked.json")
