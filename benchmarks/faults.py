"""Whether anything finished is ever lost: every long command, ended in every way, gone on with and compared.

    .venv/bin/python benchmarks/faults.py [--only build predict] [--limit 20]        (make faults)

Each trial starts a real command on small made-up input, lets one fault fall on it at a seeded moment, starts the same
command line again and compares what it leaves with what an undisturbed run left. Faults: SIGKILL, SIGTERM, SIGINT (to
the process, and to its whole group as Ctrl-C sends it), a disk that fills up (a small tmpfs; needs root), a folder that
cannot be written to, a folder that is removed meanwhile, a second process on the same folder, a worker that dies.

A trial is *survived* when the end equals the undisturbed run, *lost* when it does not, or when something that was
finished was done again. Besides, everything must end as promised (exit status, one line, no traceback); what does not
is *unexpected*. Trials are kept as lines in `build/faults/`, so a stopped run of this script goes on, too.
Writes `benchmarks/results/faults.json`.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import json
import math
import os
import platform
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "faults"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(WORK / "cache")}
LIMIT_S = 300.0
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "INT to the group": signal.SIGINT}
# How many trials a job gets of each fault. Training and tables take seconds to start, so they get fewer.
PLAN = {
    "build": {"KILL": 9, "TERM": 5, "INT": 3, "INT to the group": 3}
    | {"full disk": 6, "read-only": 2, "deleted": 3, "two processes": 3, "dead worker": 6},
    "predict": {"KILL": 30, "TERM": 12, "INT": 8, "INT to the group": 6}
    | {"full disk": 8, "read-only": 2, "deleted": 4, "two processes": 4},
    "explain": {"KILL": 20, "TERM": 10, "INT": 6, "INT to the group": 4}
    | {"full disk": 8, "read-only": 2, "deleted": 4, "two processes": 4},
    "train": {"KILL": 8, "TERM": 5, "INT": 2, "INT to the group": 2}
    | {"full disk": 3, "read-only": 1, "deleted": 1, "two processes": 2, "dead worker": 2},
    "experiment": {"KILL": 5, "TERM": 2, "INT": 1, "INT to the group": 1} | {"full disk": 1, "two processes": 1},
}


# --- the commands under test ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A command line that can be gone on with.

    Attributes:
        name: key of `PLAN`.
        arguments: without `--out`.
        again: what is added to go on.
        out: name of the file or folder that it writes.
        left: what of the result counts: digests and figures by name. Seconds, dates and machines do not.
        done: what is finished at any moment; finished things must not be done again.
    """

    name: str
    arguments: tuple[str, ...]
    again: tuple[str, ...]
    out: str
    left: Callable[[Path], dict[str, Any]]
    done: Callable[[Path], set[str]] = lambda out: set()

    def command(self, out: Path, *, again: bool = False) -> list[str]:
        """Return the whole command line."""
        extra = self.again if again else ()
        return [sys.executable, "-m", "parallelnet", *self.arguments, "--out", str(out), *extra]


@dataclass
class Reference:
    """The undisturbed run: seconds until its output appears and until it ends, what it leaves, and its bytes."""

    begins_s: float
    ends_s: float
    left: dict[str, Any]
    n_bytes: int


def sha(data: bytes) -> str:
    """Return a short digest."""
    return hashlib.sha256(data).hexdigest()[:16]


def without(record: Any, names: frozenset[str]) -> Any:
    """Return a JSON value without what may differ between two runs."""
    if isinstance(record, dict):
        return {key: without(value, names) for key, value in record.items() if key not in names}
    return [without(value, names) for value in record] if isinstance(record, list) else record


# What two runs that came to the same may differ in: when, where, and in how many starts they were made.
TIMES = frozenset(
    {"seconds", "date", "machine", "load_1_min", "out", "versions", "n_starts", "seconds_are_of_last_start"}
)


def figures(path: Path) -> Any:
    """Return what a JSON file says, without times and machines."""
    return without(json.loads(path.read_text(encoding="utf-8")), TIMES)


def alike(one: Any, other: Any) -> bool:
    """Return whether two results are the same, numbers to 1e-6.

    The same weights answer to about 1e-9 the same in two processes: sums are taken in another order where arrays lie
    elsewhere in memory. Weights, rows and shards are compared as bytes.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def rows_of(path: Path) -> dict[str, Any]:
    """Return the digest of each whole row by id, without the column of seconds."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    rows = csv.DictReader(line for line in text.splitlines(True) if line.endswith("\n"))
    ok = (row for row in rows if row["status"] == "ok")
    return {row["id"]: sha(repr([v for k, v in row.items() if k != "seconds"]).encode()) for row in ok}


def failures_of(out: Path) -> list[str]:
    """Return why rows failed; nothing where the output has no rows."""
    table = out / "explanations.csv" if out.is_dir() else out
    if table.suffix != ".csv" or not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8", errors="replace") as stream:
        return [f"{row['id']}: {row['reason']}" for row in csv.DictReader(stream) if row["status"] == "error"]


def predicted(out: Path) -> dict[str, Any]:
    """Return the file's digest: rows, their order, everything."""
    return {out.name: sha(out.read_bytes())}


def explained(out: Path) -> dict[str, Any]:
    """Return the rows and each sample's JSON; the pages must be there."""
    rows = rows_of(out / "explanations.csv")
    found = {str(p.relative_to(out)): figures(p) for p in sorted(out.glob("samples/*/explanation.json"))}
    pages = [str(p.relative_to(out)) for p in sorted(out.rglob("*.html"))]
    return {**rows, **found, "pages": sha(repr(pages).encode()), "order": sha(repr(list(rows)).encode())}


def built(out: Path) -> dict[str, Any]:
    """Return every file that is part of the data set, byte for byte."""
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.name != "build-log.json"]
    return {str(p.relative_to(out)): sha(p.read_bytes()) for p in files}


def trained(out: Path) -> dict[str, Any]:
    """Return weights, graphs and figures."""
    weights = sha((out / "checkpoint" / "model.safetensors").read_bytes())
    return {"weights": weights, **{name: figures(out / name) for name in ("test.json", "metrics.json")}}


def measured(out: Path) -> dict[str, Any]:
    """Return the table's figures and each fold's."""
    folds = sorted(out.glob("runs/*/fold-*/metrics.json"))
    return {str(p.relative_to(out)): figures(p) for p in [out / "table1.json", *folds]}


def jobs(data: Path) -> dict[str, Job]:
    """Return what is tried, on the input that `make_input` made."""
    one_thread = shlex.split("--threads 1 --quiet")
    learn = (*shlex.split("--size small --accelerator cpu --data"), str(data / "learn.csv"), *one_thread)
    build = shlex.split("build tweets --labels sentiment --rows-per-shard 6 --workers 2 --quiet --tweets")
    predict = shlex.split("predict --face off --manifest")
    explain = shlex.split("explain --face off --n-segments 4 --grid 2x2 --manifest")
    train = (*shlex.split("train --variant parallelnet --epochs 6 --no-export"), *learn)
    table = (
        *shlex.split("experiment table1 --folds 2 --rows ser-only parallelnet --epochs 2 --n-bootstrap 20"),
        *learn,
    )
    resume = ("--resume",)
    return {
        "build": Job("build", (*build, str(data / "tweets.csv")), (), "set", built),
        "predict": Job(
            "predict",
            (*predict, str(data / "manifest.csv"), *one_thread),
            resume,
            "rows.csv",
            predicted,
            lambda out: set(rows_of(out).items()),
        ),
        "explain": Job(
            "explain",
            (*explain, str(data / "few.csv"), *one_thread),
            resume,
            "why",
            explained,
            lambda out: set(rows_of(out / "explanations.csv").items()),
        ),
        "train": Job("train", train, resume, "run", trained),
        "train with a data worker": Job("train", (*train, "--workers", "1"), resume, "run", trained),
        "experiment": Job("experiment", (*table, *learn), (), "table", measured),
    }


def make_input(data: Path) -> None:
    """Make sounds, pictures, manifests and tweets from the bundled examples."""
    if (data / "tweets.csv").is_file():
        return
    (data / "media").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    voices = {name: soundfile.read(ROOT / "examples" / f"{name}.flac")[0] for name in ("anger", "happy", "sad")}
    picture = Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB").resize((160, 160))
    rows = []
    for k in range(48):
        label = ("anger", "happy", "sad")[k % 3]
        sound = np.roll(voices[label], int(rng.integers(4000)))[: 16_000 + 200 * k]
        soundfile.write(data / "media" / f"{k}.flac", sound * rng.uniform(0.5, 1), 16_000)
        turned = picture.rotate(3 * k % 40).crop((k, k, k + 96, k + 96))
        turned.save(data / "media" / f"{k}.png")
        split = "train" if k < 30 else "validation" if k < 39 else "test"
        rows.append([k, f"media/{k}.flac", f"media/{k}.png", label, f"speaker-{k // 3}", f"face-{k}", split])
    header = ["id", "speech", "image", "label", "group", "image_group", "split"]
    for name, chosen in (("manifest.csv", rows), ("few.csv", rows[:8]), ("learn.csv", rows)):
        with (data / name).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([header, *chosen])
    words = shlex.split("we all saw the long train leave in the morning rain and nobody said why it was so late")
    with (data / "tweets.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "text", "image", "sentiment"])
        for k in range(60):
            text = " ".join(rng.permutation(words)[:7])
            table.writerow([k, text, f"media/{k % 48}.png", ("negative", "neutral", "positive")[k % 3]])


# --- running, disturbing, going on ------------------------------------------------------------------------------------


@dataclass
class Ended:
    """How a process ended."""

    status: int
    error: str


@dataclass
class Trial:
    """One fault on one job: what was wrong, if anything, and the seconds that the trial took."""

    job: str
    fault: str
    seed: int
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> Ended:
    """Wait for a process; one that does not end is killed and told."""
    try:
        _, error = process.communicate(timeout=LIMIT_S)
        return Ended(process.returncode, error)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, error = process.communicate()
        return Ended(-999, f"did not end within {LIMIT_S:g} s: {error}")


def wait_for_moment(process: subprocess.Popen[str], out: Path, reference: Reference, rng: random.Random) -> None:
    """Wait until a seeded moment between the start and the end of the command, most often while it writes."""
    if rng.random() < 0.1:
        time.sleep(0.4 + rng.random() * reference.begins_s)
        return
    while process.poll() is None and not out.exists():
        time.sleep(0.01)
    until = time.monotonic() + rng.random() * (reference.ends_s - reference.begins_s)
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)


def check_end(trial: Trial, ended: Ended, allowed: tuple[int, ...], *, line: bool = True) -> None:
    """Note a status that was not promised, a traceback, or anything but one line of ours."""
    if ended.status not in allowed:
        trial.unexpected.append(f"exit {ended.status}, allowed {allowed}: {ended.error.strip()[-300:]}")
    lines = [text for text in ended.error.splitlines() if text.strip()]
    wanted = 1 if line and ended.status not in (0, -signal.SIGKILL) else 0
    ours = [text for text in lines if text.startswith("parallelnet: ")]
    if "Traceback" in ended.error or len(ours) != wanted or len(lines) > wanted + 2:
        trial.unexpected.append(f"standard error of exit {ended.status}: {ended.error.strip()[-400:]!r}")


def go_on(trial: Trial, job: Job, out: Path, reference: Reference) -> None:
    """Start the command again and compare what it leaves with the undisturbed run."""
    finished = job.done(out) if out.exists() else set()
    ended = end(start(job.command(out, again=True)))
    if ended.status != 0:
        trial.lost.append(f"going on: exit {ended.status}: {ended.error.strip()[-400:]}")
        return
    compare(trial, job, out, reference)
    again = finished - job.done(out) if job.name in ("predict", "explain") else set()
    if again:
        trial.lost.append(f"{len(again)} finished rows are not there any more, or differ")


def compare(trial: Trial, job: Job, out: Path, reference: Reference) -> None:
    """Note what differs from the undisturbed run, and what should not be left behind."""
    try:
        left = job.left(out)
    except (OSError, ValueError, KeyError) as error:
        trial.lost.append(f"what is left cannot be read: {error}")
        return
    differs = sorted(k for k in {*left, *reference.left} if not alike(left.get(k), reference.left.get(k)))
    if differs:
        reasons = "; ".join(failures_of(out))
        trial.lost.append(f"differs from the undisturbed run: {', '.join(differs[:5])} {reasons}".strip())
    stray = [p.name for p in out.parent.rglob("*") if p.name.endswith((".partial", ".lock")) or p.name == ".build"]
    if stray:
        trial.unexpected.append(f"left behind: {', '.join(stray[:5])}")


def by_signal(trial: Trial, job: Job, folder: Path, reference: Reference, rng: random.Random) -> None:
    """End the process by a signal."""
    out, number = folder / job.out, SIGNALS[trial.fault]
    process = start(job.command(out))
    wait_for_moment(process, out, reference, rng)
    with suppress(ProcessLookupError):
        (os.killpg if "group" in trial.fault else os.kill)(process.pid, number)
    ended = end(process)
    before = ended.status == -number and not ended.error and not out.exists()  # not even Python was ready
    if number != signal.SIGKILL and not before:  # it may have been finished already
        check_end(trial, ended, (128 + number, 0))
    if ended.status == 0:
        compare(trial, job, out, reference)
    go_on(trial, job, out, reference)


def full_disk(trial: Trial, job: Job, folder: Path, reference: Reference, rng: random.Random) -> None:
    """Write to a disk that is too small, then to the same one with room."""
    size = max(4096, int(reference.n_bytes * rng.uniform(0.02, 0.95)))
    with mounted(folder, size):
        out = folder / job.out
        ended = end(start(job.command(out)))
        check_end(trial, ended, (2, 0))
        if ended.status == 2 and "space" not in ended.error and "full" not in ended.error:
            trial.unexpected.append(f"does not say that the disk is full: {ended.error.strip()[-300:]}")
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
        go_on(trial, job, out, reference)


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """Put a small disk in the place of a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def read_only(trial: Trial, job: Job, folder: Path, reference: Reference, rng: random.Random) -> None:
    """Write where nothing may be written."""
    with mounted(folder, 2**20):
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        check_end(trial, end(start(job.command(folder / job.out))), (2,))
        subprocess.run(["mount", "-o", "remount,rw,size=1g", str(folder)], check=True)
        go_on(trial, job, folder / job.out, reference)


def deleted(trial: Trial, job: Job, folder: Path, reference: Reference, rng: random.Random) -> None:
    """Remove the output while the command writes it."""
    out = folder / job.out
    process = start(job.command(out))
    wait_for_moment(process, out, reference, rng)
    if out.is_dir():
        shutil.rmtree(out, ignore_errors=True)
    else:
        out.unlink(missing_ok=True)
    check_end(trial, end(process), (0, 1 + 1))
    if out.is_dir():  # what came after the removal; the user removes it as well
        shutil.rmtree(out)
    for path in folder.iterdir():
        path.unlink()
    go_on(trial, job, out, reference)


def two_processes(trial: Trial, job: Job, folder: Path, reference: Reference, rng: random.Random) -> None:
    """Start the same command twice: one does it, the other is told."""
    out = folder / job.out
    first = start(job.command(out, again=True))
    time.sleep(rng.random() * reference.begins_s)
    second = start(job.command(out, again=True))
    ends = [end(first), end(second)]
    for ended in ends:
        check_end(trial, ended, (0, 2))
        if ended.status == 2 and "nother process" not in ended.error:
            trial.unexpected.append(f"does not say that another process is there: {ended.error.strip()[-300:]}")
    if all(ended.status != 0 for ended in ends):
        trial.lost.append("neither of two processes finished")
    go_on(trial, job, out, reference)


def dead_worker(trial: Trial, job: Job, folder: Path, reference: Reference, rng: random.Random) -> None:
    """Kill a worker process of the command."""
    out = folder / job.out
    process = start(job.command(out))
    wait_for_moment(process, out, reference, rng)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with suppress(OSError):
        workers = [int(pid) for pid in children.read_text().split()]
        if workers:
            os.kill(rng.choice(workers), signal.SIGKILL)
    check_end(trial, end(process), (2, 0))
    go_on(trial, job, out, reference)


FAULTS: dict[str, Callable[[Trial, Job, Path, Reference, random.Random], None]] = {
    **dict.fromkeys(SIGNALS, by_signal),
    "full disk": full_disk,
    "read-only": read_only,
    "deleted": deleted,
    "two processes": two_processes,
    "dead worker": dead_worker,
}


# --- the whole run ----------------------------------------------------------------------------------------------------


def reference_of(job: Job, folder: Path) -> Reference:
    """Run a job undisturbed, twice: what differs between the two would not be the fault's doing."""
    found = []
    for number in range(2):
        out = folder / str(number) / job.out
        out.parent.mkdir(parents=True)
        begun = time.monotonic()
        process = start(job.command(out))
        while process.poll() is None and not out.exists():
            time.sleep(0.01)
        begins_s = time.monotonic() - begun
        ended = end(process)
        assert ended.status == 0, f"{job.name} fails undisturbed: {ended.error}"
        n_bytes = sum(p.stat().st_size for p in out.parent.rglob("*") if p.is_file())
        found.append(Reference(begins_s, time.monotonic() - begun, job.left(out), n_bytes))
    assert alike(found[0].left, found[1].left), f"{job.name}: two undisturbed runs differ"
    return found[1]


def planned(only: list[str], limit: int) -> list[Trial]:
    """Return the trials, each with its seed, those of all commands mixed so that a cut run has tried all of them."""
    every = [Trial(name, fault, k) for name, faults in PLAN.items() for fault, n in faults.items() for k in range(n)]
    if os.geteuid() != 0:  # a tmpfs can be mounted by root only
        every = [trial for trial in every if trial.fault not in ("full disk", "read-only")]
    random.Random(0).shuffle(every)
    chosen = [trial for trial in every if not only or trial.job in only]
    return chosen[:limit] if limit else chosen


def attempt(trial: Trial, every: dict[str, Job], references: dict[str, Reference]) -> Trial:
    """Make one trial."""
    name = "train with a data worker" if (trial.job, trial.fault) == ("train", "dead worker") else trial.job
    rng = random.Random(f"{trial.job} {trial.fault} {trial.seed}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="parallelnet-fault-", dir=WORK) as folder:
        FAULTS[trial.fault](trial, every[name], Path(folder), references[name], rng)
    trial.seconds = round(time.monotonic() - begun, 1)
    return trial


def main() -> None:
    """Try, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], choices=list(PLAN), help="commands to try; all when left out")
    parser.add_argument("--limit", type=int, default=0, help="so many trials only; the result is then not written")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="trials side by side")
    arguments = parser.parse_args()
    # A background job of a shell ignores Ctrl-C, and so would every command that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    make_input(WORK / "data")
    every = jobs(WORK / "data")
    log = WORK / "trials.jsonl"
    known = [Trial(**json.loads(line)) for line in log.read_text().splitlines()] if log.is_file() else []
    keys = {(trial.job, trial.fault, trial.seed) for trial in known}
    left = [t for t in planned(arguments.only, arguments.limit) if (t.job, t.fault, t.seed) not in keys]
    names = {t.job for t in left} | ({"train with a data worker"} if any(t.job == "train" for t in left) else set())
    references = {}
    for name in sorted(names):
        with tempfile.TemporaryDirectory(prefix="parallelnet-reference-", dir=WORK) as folder:
            references[name] = reference_of(every[name], Path(folder))
    with ThreadPoolExecutor(arguments.workers) as pool, log.open("a", encoding="utf-8") as stream:
        for trial in pool.map(lambda t: attempt(t, every, references), left):
            known.append(trial)
            stream.write(json.dumps(vars(trial)) + "\n")
            stream.flush()
            wrong = "; ".join([*trial.lost, *trial.unexpected])
            print(f"{len(known)} {trial.job}, {trial.fault}, {trial.seed}: {wrong or 'survived'}", file=sys.stderr)
    if arguments.limit or arguments.only:
        return
    write_result(known, arguments.workers)


def write_result(trials: list[Trial], workers: int) -> None:
    """Count and write."""
    table = {
        job: {
            fault: {
                "tried": len(those),
                "survived": sum(not t.lost for t in those),
                "lost": sum(bool(t.lost) for t in those),
                "unexpected": sum(bool(t.unexpected) for t in those),
            }
            for fault in faults
            if (those := [t for t in trials if (t.job, t.fault) == (job, fault)])
        }
        for job, faults in PLAN.items()
    }
    total = Counter[str]()
    for faults in table.values():
        for counts in faults.values():
            total.update(counts)
    found = {
        "what": "commands ended by a fault at a seeded moment, gone on with and compared with an undisturbed run",
        "total": dict(total),
        "by_command": table,
        "wrong": [vars(t) for t in trials if t.lost or t.unexpected],
        "minutes": round(sum(t.seconds for t in trials) / workers / 60, 1),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("parallelnet", "torch", "lightning", "onnxruntime", "pyarrow", "filelock")},
    }
    target = ROOT / "benchmarks" / "results" / "faults.json"
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found["total"]))
    sys.exit(1 if total["lost"] or total["unexpected"] else 0)


if __name__ == "__main__":
    main()
