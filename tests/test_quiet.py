"""Nothing but our lines on standard error; seen in processes of their own, since it is about file descriptors."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import logging, os, sys, threading, warnings
from parallelnet import cli
notes = logging.getLogger("parallelnet")
with cli.only_ours(everything={everything}):
    notes.addHandler(logging.StreamHandler(sys.stderr))
    os.write(2, b"a C library\\n")
    warnings.warn("a warning")
    logging.getLogger("other").warning("another package")
    notes.warning("our note")
    print("our line", file=sys.stderr)
    thread = threading.Thread(target=lambda: print("our thread", file=sys.stderr))
    thread.start(); thread.join()
    os.system("echo a child >&2")
os.write(2, b"later\\n")
print("last", file=sys.stderr)
"""


def standard_error(everything, *flags):
    code = SCRIPT.format(everything=everything)
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True).stderr


def test_only_our_lines_are_seen_and_later_all_again():
    assert standard_error(False).splitlines() == ["our note", "our line", "our thread", "later", "last"]


@pytest.mark.parametrize(("everything", "flags"), [(True, ()), (False, ("-X", "faulthandler"))])
def test_everything_is_seen_where_somebody_looks_for_a_defect(everything, flags):
    said = standard_error(everything, *flags)
    assert all(line in said for line in ("a C library", "a warning", "another package", "a child", "our note"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("line", ["list corpora", "list corpora --json"])
def test_a_standard_output_that_is_full_is_one_line_and_status_2(line):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "parallelnet", *line.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("parallelnet: No space left on device")
    assert done.stderr.count("\n") == 1
