"""Nothing calls out: we handle people's voices and faces. Watched by strace (Debian's package), so Linux only.

onnxruntime 1.29 and later send telemetry unless ORT_DISABLE_TELEMETRY is set before its import. Its first upload comes
about 9 s after the first session. So our child, its work done, stays alive for longer than onnxruntime by itself needs
to call out beside it: this negative control proves that the wait is long enough and that the check can fail.
"""

import csv
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parallelnet import checkpoint
from parallelnet.types import EMOTIONS

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy, toy_checkpoint = fixtures.toy, fixtures.toy_checkpoint

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("strace") is None,
    reason="needs Linux and strace (apt-get install strace)",
)

# Names of what makes onnxruntime keep quiet of itself (its telemetry_environment.h); a child must do without them.
SUPPRESSORS = {
    *("CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TRAVIS", "JENKINS_URL", "CODEBUILD_BUILD_ID"),
    *("BUILDKITE", "TEAMCITY_VERSION", "APPVEYOR", "BITBUCKET_BUILD_NUMBER", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI"),
    *("ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY"),
}
LIMIT_S = 90  # for the control's first call; 9 s on an idle machine
MARGIN_S = 4  # that our child is watched for longer than the control needed to call

ADDRESS = re.compile(
    r"(?:sin_port|sin6_port)=htons\((?P<port>\d+)\).*?"
    r'(?:inet_addr\("(?P<v4>[^"]+)"\)|inet_pton\(AF_INET6, "(?P<v6>[^"]+)")'
)


def calls_out(trace):
    """Return the lines of a trace that reach, or ask the way to, another machine.

    Whatever names an internet address that is not loopback counts, and so does every name lookup: one on port 53 even
    of loopback, and one through systemd's resolver. nscd's socket does not: it is also asked for user names.
    """
    found = []
    for line in trace.splitlines():
        address = ADDRESS.search(line)
        if address:
            host = address["v4"] or address["v6"]
            loopback = host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")
            if not loopback or address["port"] == "53":
                found.append(line)
        elif "systemd/resolve" in line:
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ('7 connect(8, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("20.42.65.92")}, 16) = 0', True),
        ('7 connect(8, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}, 16) = 0', True),
        ('7 connect(8, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, 16) = 0', False),
        (
            "7 sendto(8, ..., 50, 0, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), "
            'inet_pton(AF_INET6, "2603:1030::1", &sin6_addr), sin6_scope_id=0}, 28) = 50',
            True,
        ),
        (
            "7 connect(8, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), "
            'inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
            False,
        ),
        ('7 connect(8, {sa_family=AF_UNIX, sun_path="/run/systemd/resolve/io.systemd.Resolve"}, 42) = 0', True),
        ('7 connect(8, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT', False),
        ("7 socket(AF_INET6, SOCK_DGRAM, IPPROTO_IP) = 8", False),
    ],
)
def test_what_counts_as_calling_out(line, counts):
    assert bool(calls_out(line)) == counts


@pytest.fixture
def any_checkpoint(request):
    """The folder of the bundled checkpoint; of a toy while there is none."""
    return checkpoint.bundled().get(checkpoint.DEFAULT_CHECKPOINT) or request.getfixturevalue("toy_checkpoint").path


@pytest.fixture
def manifest(tmp_path, tone_wav, picture_png):
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "speech", "image", "label"])
        rows.writerows([[name, tone_wav.name, picture_png.name, name] for name in EMOTIONS])
    return path


class Watched:
    """A Python child under strace, with an empty home and none of the variables that quieten onnxruntime."""

    def __init__(self, folder, code):
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.trace = folder / "trace.txt"
        self.output = folder / "output.txt"
        environment = {name: value for name, value in os.environ.items() if name not in SUPPRESSORS}
        environment |= {"HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / ".cache"), "OMP_NUM_THREADS": "1"}
        with self.output.open("w") as stream:
            self.process = subprocess.Popen(
                [
                    "strace",
                    "-f",
                    "-qq",
                    "-e",
                    "trace=network",
                    "-s",
                    "64",
                    "-o",
                    self.trace,
                    sys.executable,
                    "-c",
                    code,
                ],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def found(self):
        return calls_out(self.trace.read_text(errors="replace")) if self.trace.exists() else []

    def identifiers(self):
        """Files that onnxruntime leaves behind to know the machine again."""
        return [path for path in self.home.rglob("*") if "Microsoft" in path.parts and path.is_file()]

    def until(self, condition):
        """Wait for a condition and return how long that took, or fail with what the child printed."""
        start = time.monotonic()
        while not condition():
            alive = self.process.poll() is None
            assert alive, f"the child ended: {self.output.read_text()}"
            assert time.monotonic() - start < LIMIT_S, f"nothing within {LIMIT_S} s: {self.output.read_text()}"
            time.sleep(0.1)
        return time.monotonic() - start

    def stop(self):
        """Let the child end: it waits for its standard input to close."""
        self.process.stdin.close()
        return self.process.wait(timeout=60)


OURS = """
import sys
import parallelnet
from parallelnet.cli import main
assert main(["predict", "--speech", {speech!r}, "--image", {image!r}, "--checkpoint", {checkpoint!r}, "--json"]) == 0
explain = ["explain", "--speech", {speech!r}, "--image", {image!r}, "--checkpoint", {checkpoint!r}, "--grid", "1x2"]
assert main([*explain, "--n-segments", "2", "--out", {folder!r}, "--json"]) == 0
# Recognition too, where its extra is installed; it finds no words in a tone, which is status 2.
assert main([*explain, "--transcribe"]) == 2
assert main(["evaluate", "--data", {manifest!r}, "--checkpoint", {checkpoint!r}, "--json", "--n-bootstrap", "10"]) == 0
print("done", flush=True)
sys.stdin.read()
"""
THEIRS = """
import sys
import onnxruntime
onnxruntime.InferenceSession({graph!r}, providers=["CPUExecutionProvider"])
sys.stdin.read()
"""


def test_import_predict_explain_and_evaluate_call_nobody_and_the_check_can_fail(
    tmp_path, any_checkpoint, tone_wav, picture_png, manifest
):
    files = {"speech": tone_wav, "image": picture_png, "checkpoint": any_checkpoint, "manifest": manifest}
    files["folder"] = tmp_path / "explained"
    # The same graph in onnxruntime alone: without our import, and so without the variable.
    theirs = Watched(tmp_path / "theirs", THEIRS.format(graph=str(any_checkpoint / "head.onnx")))
    ours = Watched(tmp_path / "ours", OURS.format(**{name: str(path) for name, path in files.items()}))
    try:
        needed_s = theirs.until(theirs.found)
        assert theirs.identifiers(), "onnxruntime by itself left no identifier: this test cannot tell any more"
        ours.until(lambda: ours.output.read_text().endswith("done\n"))
        time.sleep(needed_s + MARGIN_S)
    finally:
        theirs.stop()
        status = ours.stop()
    printed = ours.output.read_text()
    assert status == 0, printed
    assert '"emotion"' in printed  # it did predict, explain and evaluate
    assert '"efficiency_gap"' in printed
    assert '"confusion_matrix"' in printed
    assert ours.found() == []
    assert ours.identifiers() == []
