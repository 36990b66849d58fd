"""Whole builds of 40 synthetic tweets: spoken by the real engine, judged by checkpoints of one matrix each."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from parallelnet.data import shards
from parallelnet.data.built import DATASET_JSON, WORK, BuildReport
from parallelnet.data.dataset import open_data
from parallelnet.datasets import build
from parallelnet.datasets.build import BUILD_LOG_JSON, Done, build_tweets, plan_tweets
from parallelnet.errors import ManifestError, MissingExtraError, OptionError, ParallelNetError
from parallelnet.options import TweetsOptions
from parallelnet.types import EMOTIONS

_spec = importlib.util.spec_from_file_location(
    "checkpoint_fixture", Path(__file__).parents[1] / "checkpoint_fixture.py"
)
assert _spec is not None
fixtures = importlib.util.module_from_spec(_spec)
assert _spec.loader is not None
# Its dataclasses look their own module up.
sys.modules.setdefault("checkpoint_fixture", fixtures)
_spec.loader.exec_module(fixtures)

N_ROWS = 40
REJECTED = {"no-words": 1, "text-too-long": 1, "picture-missing": 2, "picture-unreadable": 1, "duplicate": 2}
"""Rows made bad on purpose; `low-confidence` comes beside them."""


@dataclass(frozen=True)
class World:
    """Tweets, teachers, and the data set that they become without interruption."""

    root: Path
    options: TweetsOptions
    report: BuildReport


def write_tweets(folder: Path) -> Path:
    """Write the tweets and their pictures and return the table."""
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(3)
    words = ("sun", "rain", "dog", "train", "coffee", "monday", "laughing", "crying", "angry", "quiet", "river")
    rows = []
    for n in range(N_ROWS):
        text = " ".join(rng.choice(words, 4)) + f" number {n} #LegDay 😀"
        name = f"pictures/{n}.png"
        # Large blocks: difference hashes of noise would be as good as random, too.
        pixels = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / name)
        rows.append([f"t{n}", text, name, ("negative", "neutral", "positive")[n % 3]])
    rows[3][1] = "http://t.co/abc"
    rows[4][1] = "long " * 300
    (folder / "pictures" / "5.png").unlink()
    rows[6][2] = ""
    whole = (folder / "pictures" / "7.png").read_bytes()
    (folder / "pictures" / "7.png").write_bytes(whole[: len(whole) // 2])
    rows[20][1:3] = rows[8][1:3]
    shutil.copy(folder / "pictures" / "9.png", folder / "pictures" / "39.png")
    rows[39][1] = rows[9][1].upper()
    table = folder / "tweets.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["id", "text", "image", "sentiment"], *rows])
    return table


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("tweets")
    for modality in ("speech", "image"):
        fixtures.write_toy(root / modality, modalities=(modality,), temperatures={modality: 2.0})
    options = TweetsOptions(
        tweets=str(write_tweets(root / "input")),
        out=str(root / "whole"),
        speech_teacher=str(root / "speech"),
        image_teacher=str(root / "image"),
        rows_per_shard=9,
        workers=1,
    )
    return World(root, options, build_tweets(options))


def hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a data set, but of what tells of the run."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != BUILD_LOG_JSON
    }


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_every_row_is_kept_or_rejected_with_its_reason(world: World) -> None:
    report, out = world.report, Path(world.options.out)
    rejected = pq.read_table(out / "rejected.parquet").to_pylist()
    kept = [draft for path in sorted((out / "data").iterdir()) for draft in shards.read_shard(path)]

    assert report.n_read == N_ROWS == report.n_kept + report.n_rejected
    assert sorted([row["row"] for row in rejected] + [draft.row for draft in kept]) == list(range(N_ROWS))
    assert [draft.row for draft in kept] == sorted(draft.row for draft in kept)
    by_reason = Counter(row["reason"] for row in rejected)
    assert report.rejected == by_reason
    assert {reason: by_reason[reason] for reason in REJECTED} == REJECTED
    assert set(by_reason) <= {*REJECTED, "low-confidence"}
    assert {row["row"]: row["reason"] for row in rejected if row["row"] in (20, 39)} == {
        20: "duplicate",
        39: "duplicate",
    }
    for row in rejected:
        assert (row["speech_probs"] is not None) == (row["reason"] == "low-confidence"), row


def test_what_is_kept_is_spoken_judged_and_decided(world: World) -> None:
    kept = [d for path in sorted((Path(world.options.out) / "data").iterdir()) for d in shards.read_shard(path)]

    assert kept, "the toy teachers are never sure: the test shows nothing"
    for draft in kept:
        waveform, rate_hz = soundfile.read(io.BytesIO(draft.speech))
        assert rate_hz == shards.SAMPLE_RATE_HZ
        assert abs(len(waveform) / rate_hz - draft.duration_s) < 1e-6
        assert np.abs(waveform).max() > 0.01
        assert [word for word, *_ in draft.word_times] == draft.spoken_text.split()
        assert "leg day grinning face" in draft.spoken_text
        best = {"speech": max(draft.speech_probs), "image": max(draft.image_probs)}
        assert draft.confidence == max(best.values()) >= world.options.threshold
        assert best[draft.label_source] == draft.confidence
        probs = draft.speech_probs if draft.label_source == "speech" else draft.image_probs
        assert draft.label == EMOTIONS[probs.index(max(probs))]
        assert (Path(world.options.tweets).parent / "pictures" / draft.image_path).read_bytes() == draft.image


def test_the_report_counts_what_is_in_the_shards(world: World) -> None:
    report, out = world.report, Path(world.options.out)
    kept = [d for path in sorted((out / "data").iterdir()) for d in shards.read_shard(path, with_bytes=False)]

    assert BuildReport.from_json((out / DATASET_JSON).read_text()) == report
    assert report.class_counts == {name: sum(d.label == name for d in kept) for name in EMOTIONS}
    assert report.sentiment_counts == Counter(d.sentiment for d in kept)
    assert report.label_source_counts == Counter(d.label_source for d in kept)
    assert report.tts["voices"] == Counter(d.tts_voice for d in kept)
    assert report.languages == Counter(d.language for d in kept)
    assert report.duration_s == pytest.approx(sum(d.duration_s for d in kept), abs=1e-9)
    assert report.n_taught == report.n_kept + report.rejected.get("low-confidence", 0)
    # At threshold 0 all that were judged are kept; at ours what is kept; the counts never grow.
    curve = {threshold: n for threshold, n, _ in report.threshold_curve}
    assert curve[0.0] == report.n_taught
    assert curve[0.5] == report.n_kept
    assert sorted(curve.values(), reverse=True) == list(curve.values())
    for _, n, counts in report.threshold_curve:
        assert n == sum(counts.values())
    assert report.teachers["speech"] != report.teachers["image"]
    for listed in report.shards:
        path = out / "data" / listed["name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == listed["sha256"]
        assert pq.read_metadata(path).num_rows == listed["n"]


def test_the_folder_holds_what_it_should_and_no_place_of_this_machine(world: World) -> None:
    out = Path(world.options.out)
    names = {path.name for path in out.iterdir()}

    assert {"data", "rejected.parquet", "README.md", "gallery.html", BUILD_LOG_JSON, DATASET_JSON} <= names
    assert WORK not in names
    assert sorted(path.name for path in (out / "data").iterdir()) == [shards.shard_name(n, 5) for n in range(5)]
    here = str(world.root).encode()
    assert [path for path in out.rglob("*") if path.is_file() and here in path.read_bytes()] == []


def test_the_log_tells_what_each_step_costs(world: World) -> None:
    log = json.loads((Path(world.options.out) / BUILD_LOG_JSON).read_text())

    assert {"look over: clean-text", "check-picture", "duplicates", "speak", "check-sound", "decide", "write"} <= set(
        log["steps"]
    )
    assert log["step_wall_s_per_row"] == pytest.approx(sum(step["wall_s"] for step in log["steps"].values()) / N_ROWS)
    # One worker: what the steps took lies within what the whole took.
    assert 0 < log["step_wall_s_per_row"] * N_ROWS < log["wall_s"]
    assert log["peak_memory_bytes"]["worker"] > 10**7
    assert log["n_rows_made_in_this_run"] == N_ROWS


def test_datasets_reads_all_of_it(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)  # or it would count this at the hub

    found = datasets.load_dataset("parquet", data_dir=world.options.out, cache_dir=str(tmp_path))

    assert {name: split.num_rows for name, split in found.items()} == {"train": world.report.n_kept}
    row = found["train"].cast_column("speech", datasets.Audio(decode=False))[0]
    assert soundfile.read(io.BytesIO(row["speech"]["bytes"]))[1] == 16_000
    assert row["image"].size == (72, 64)
    assert row["label"] in EMOTIONS


def test_it_opens_as_samples(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    samples = open_data(world.options.out)

    assert len(samples) == world.report.n_kept
    assert len({sample.id for sample in samples}) == len(samples)


# --- the same bytes, whatever happens ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_make_the_same_bytes(world: World, tmp_path: Path) -> None:
    told: list[Done] = []

    report = build_tweets(replace(world.options, out=str(tmp_path / "set"), workers=2), progress=told.append)

    assert report == world.report
    assert hashes(tmp_path / "set") == hashes(Path(world.options.out))
    assert told[0] == Done(N_ROWS, 0, 0)
    assert told[-1] == Done(N_ROWS, N_ROWS, report.n_kept)
    assert len(told) == 1 + 5


SCRIPT = """
import json, sys
from parallelnet.datasets.build import build_tweets
from parallelnet.options import TweetsOptions
if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    build_tweets(TweetsOptions(**{**given, "voices": tuple(given["voices"])}))
"""


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Return a function that starts a build in a process group of its own."""
    script = tmp_path / "build_script.py"
    script.write_text(SCRIPT)

    def started(options: TweetsOptions, **settings: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(script), json.dumps(asdict(options))]
        return subprocess.Popen(command, start_new_session=True, **settings)

    return started


def progress_of(folder: Path) -> tuple[int, int, int]:
    """Return how many ranges were cut, looked over and made."""
    work = folder / WORK
    return (
        len(list(work.glob("rows/*.jsonl"))),
        len(list(work.glob("surveyed/*.json"))),
        len(list(work.glob("made/*.json"))),
    )


def test_a_build_killed_in_each_phase_goes_on_to_the_same_bytes(world: World, tmp_path: Path, start: Any) -> None:
    out = tmp_path / "set"
    options = replace(world.options, out=str(out), workers=2)
    for reached in ((1, 0, 0), (5, 1, 0), (5, 5, 2)):
        process = start(options)
        deadline = time.monotonic() + 60
        while process.poll() is None and not all(
            now >= then for now, then in zip(progress_of(out), reached, strict=True)
        ):
            assert time.monotonic() < deadline, progress_of(out)
            time.sleep(0.002)
        process.kill()  # the coordinator alone: its workers must end by themselves
        process.wait()
        assert not (out / DATASET_JSON).exists(), "too late: it was complete"
    made = {path: path.stat().st_mtime_ns for path in out.glob("data/*.parquet")}
    assert len(made) >= 2
    (out / "data" / f"train-00000-of-00005.parquet.{32 * '0'}.partial").write_bytes(b"half")

    report = build_tweets(options)

    assert report == world.report
    assert hashes(out) == hashes(Path(world.options.out))
    n_done = sum(path.stat().st_mtime_ns == then for path, then in made.items())
    assert n_done >= 2, "finished shards were made again"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_a_build_killed_at_ten_random_moments_ends_with_the_same_bytes(
    world: World, tmp_path: Path, start: Any, seed: int
) -> None:
    rng = random.Random(seed)
    out = tmp_path / "set"
    options = replace(world.options, out=str(out), workers=2)
    begun = time.monotonic()
    start(replace(options, out=str(tmp_path / "timed"))).wait()
    whole_s = time.monotonic() - begun
    n_killed = 0
    while n_killed < 10:
        process = start(options)
        try:
            process.wait(rng.uniform(0.3 * whole_s, whole_s))
        except subprocess.TimeoutExpired:
            # Half of the times the whole group at once, else the coordinator alone.
            (os.killpg if n_killed % 2 else os.kill)(process.pid, signal.SIGKILL)
            n_killed += 1
        process.wait()
        if (out / DATASET_JSON).exists():  # complete between two kills: from the start again
            # Killed between its last file and the removal of what it needed, the next start removes that.
            assert build_tweets(options) == world.report
            assert hashes(out) == hashes(Path(world.options.out))
            shutil.rmtree(out)

    assert build_tweets(options) == world.report
    assert hashes(out) == hashes(Path(world.options.out))


def test_a_finished_build_is_left_as_it_is(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(world.options.out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(build.jobs, "open_speaker", None)  # nothing is opened for it

    with caplog.at_level("INFO"):
        assert build_tweets(replace(world.options, workers=2)) == world.report

    assert "is complete already" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_what_a_complete_build_left_is_removed_by_the_next_start(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = Path(shutil.copytree(world.options.out, tmp_path / "set"))
    (out / WORK / "made").mkdir(parents=True)
    (out / WORK / "made" / "00000.json").write_text("{}")

    with caplog.at_level("INFO"):
        assert build_tweets(replace(world.options, out=str(out))) == world.report

    assert "is complete already; what a run that was ended left in it was removed" in caplog.text
    assert hashes(out) == hashes(Path(world.options.out))


def test_a_picture_that_changed_under_a_stopped_build_is_noticed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(shutil.copytree(world.root / "input", tmp_path / "input"))
    options = replace(
        world.options, tweets=str(source / "tweets.csv"), out=str(tmp_path / "set"), labels="sentiment", limit=12
    )
    with monkeypatch.context() as patched:
        patched.setattr(build.jobs, "MakeShard", lambda *_: 1 / 0)  # stopped once duplicates are known
        with pytest.raises(ZeroDivisionError):
            build_tweets(options)
    picture = source / "pictures" / "10.png"
    whole = picture.read_bytes()
    for content in ((source / "pictures" / "11.png").read_bytes(), b"", None):
        if content is None:
            picture.unlink()
        else:
            picture.write_bytes(content)
        with pytest.raises(ManifestError, match=r"picture of row 10 \('10\.png'\) is not what it was when this build"):
            build_tweets(options)
    picture.write_bytes(whole)
    assert build_tweets(options).n_read == 12


@pytest.mark.slow
@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_a_finished_build_whose_shard_is_lost_or_damaged_is_built_again(world: World, tmp_path: Path, how: str) -> None:
    out = Path(shutil.copytree(world.options.out, tmp_path / "set"))
    shard = out / "data" / shards.shard_name(1, 5)
    if how == "lost":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes().replace(b"fLaC", b"fLaX", 1))

    assert build_tweets(replace(world.options, out=str(out))) == world.report
    assert hashes(out) == hashes(Path(world.options.out))


# --- whose folder it is -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_another_build_is_refused_by_name_and_replaced_when_asked(world: World, tmp_path: Path) -> None:
    out = Path(shutil.copytree(world.options.out, tmp_path / "set"))
    (out / "notes.txt").write_text("mine")
    other = replace(world.options, out=str(out), threshold=0.9, limit=12)

    with pytest.raises(OptionError, match=r"holds another build: --limit was 0, is 12; --threshold was 0.5, is 0.9"):
        build_tweets(other)
    assert hashes(out).items() >= hashes(Path(world.options.out)).items()

    report = build_tweets(replace(other, overwrite=True))
    assert report.n_read == 12
    assert sorted(path.name for path in (out / "data").iterdir()) == [shards.shard_name(n, 2) for n in range(2)]
    assert (out / "notes.txt").read_text() == "mine"


def test_other_tweets_are_refused(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.root / "input", tmp_path / "input")
    with (tmp_path / "input" / "tweets.csv").open("a") as stream:
        stream.write("t40,one more,pictures/1.png,neutral\r\n")

    with pytest.raises(OptionError, match=r"holds another build: input\.sha256 was"):
        build_tweets(replace(world.options, tweets=str(tmp_path / "input" / "tweets.csv")))


def test_an_unfinished_build_of_another_engine_or_teacher_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(world.options, out=str(tmp_path / "set"))
    with monkeypatch.context() as patched:
        patched.setattr(build.duplicates, "find_duplicates", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_tweets(options)
    stored = tmp_path / "set" / WORK / "recipe.json"
    stored.write_text(stored.read_text().replace('"engine": "espeak-ng"', '"engine": "espeak-old"'))

    with pytest.raises(OptionError, match=r"tools\.tts\.engine was 'espeak-old', is 'espeak-ng'"):
        build_tweets(options)


def test_a_folder_of_something_else_is_left_alone(world: World, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    for overwrite in (False, True):
        with pytest.raises(ManifestError, match="is not empty and was not made by build tweets"):
            build_tweets(replace(world.options, out=str(tmp_path), overwrite=overwrite))
    with pytest.raises(ManifestError, match="is a file"):
        build_tweets(replace(world.options, out=str(tmp_path / "photo.jpg")))
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.slow
def test_two_builds_at_once_in_one_folder_are_refused(world: World, tmp_path: Path) -> None:
    options = replace(world.options, out=str(tmp_path / "set"))
    refused: list[str] = []

    def again(_: Done) -> None:
        if not refused:
            with pytest.raises(ParallelNetError, match="Another process writes to") as caught:
                build_tweets(options)
            refused.append(str(caught.value))

    assert build_tweets(options, progress=again) == world.report
    assert refused


# --- what stops a build before the first tweet, and in the middle -----------------------------------------------------


def test_an_engine_or_teacher_that_cannot_be_opened_stops_before_the_first_tweet(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    options = replace(world.options, out=str(out))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "espeakng_loader", None)
        with pytest.raises(MissingExtraError, match=r"parallelnet\[tts\]"):
            build_tweets(options)
    with pytest.raises(OptionError, match=r"Unknown .*engine"):
        build_tweets(replace(options, tts="parrot"))
    with pytest.raises(ParallelNetError, match="nowhere"):
        build_tweets(replace(options, image_teacher=str(tmp_path / "nowhere")))
    with pytest.raises(ManifestError, match="gone"):
        build_tweets(replace(options, exclude=str(tmp_path / "gone.csv")))
    with pytest.raises(ManifestError, match="nothing"):
        build_tweets(replace(options, tweets=str(tmp_path / "nothing.csv")))

    assert not out.exists()


@pytest.mark.slow
def test_a_full_disk_stops_clearly_and_the_build_goes_on_later(world: World, tmp_path: Path, start: Any) -> None:
    """Files of at most 60 kB stand for the disk: the tweets and their signatures fit, a shard does not."""
    import resource

    out = tmp_path / "set"
    options = replace(world.options, out=str(out))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    process = start(options, stderr=subprocess.PIPE, preexec_fn=limited)
    errors = process.communicate()[1].decode()

    assert process.returncode == 1
    message = errors.strip().splitlines()[-1]
    assert message.startswith("parallelnet.errors.ParallelNetError: The disk of")
    assert "is full (File too large). Nothing is half-written" in message
    assert list(out.rglob("*.partial")) == list((out / "data").iterdir()) == []
    assert build_tweets(options) == world.report
    assert hashes(out) == hashes(Path(world.options.out))


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """Yield a function that makes a disk of so many bytes, or changes its size, and returns where it is."""
    at = tmp_path / "disk"
    at.mkdir()

    def sized(n_bytes: int) -> Path:
        how = "remount," if os.path.ismount(at) else ""
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"{how}size={n_bytes}", "tmpfs", str(at)], check=False)
        if done.returncode:
            pytest.skip("needs the right to mount a disk in memory")
        return at

    yield sized
    if os.path.ismount(at):
        subprocess.run(["umount", str(at)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("n_bytes", [700_000, 2_500_000], ids=["while shards are made", "while it is finished"])
def test_a_disk_that_is_really_full(world: World, small_disk: Any, n_bytes: int) -> None:
    out = small_disk(n_bytes) / "set"
    options = replace(world.options, out=str(out))

    with pytest.raises(ParallelNetError, match=r"is full \(No space left on device\)\. Nothing is half-written"):
        build_tweets(options)

    for path in (out / "data").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == hashes(Path(world.options.out))[f"data/{path.name}"]
    left = {path.name for path in out.iterdir()} - {"rejected.parquet"}
    assert left == {"data", WORK}
    assert list(out.rglob("*.partial")) == []
    small_disk(50_000_000)
    assert build_tweets(options) == world.report
    assert hashes(out) == hashes(Path(world.options.out))


# --- Ray --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_ray_nodes_one_of_which_is_killed_make_the_same_bytes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        killed: list[int] = []

        def kill(done: Done) -> None:
            # Two ranges are in work at any time, on one core each: one of them is on the node that dies.
            if done.n_read and not killed:
                killed.append(done.n_read)
                cluster.remove_node(second, allow_graceful=False)

        options = replace(world.options, out=str(tmp_path / "set"), workers=0, executor="ray")
        report = build_tweets(replace(options, ray_address=cluster.address), progress=kill)
    finally:
        cluster.shutdown()

    assert killed
    assert killed[0] < N_ROWS
    assert report == world.report
    assert hashes(tmp_path / "set") == hashes(Path(world.options.out))


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sentiments_need_no_teachers_and_drop_nothing_for_confidence(world: World, tmp_path: Path) -> None:
    options = TweetsOptions(
        tweets=world.options.tweets, out=str(tmp_path / "set"), labels="sentiment", rows_per_shard=100, workers=1
    )

    report = build_tweets(options)

    assert report.rejected == REJECTED
    assert set(report.class_counts) == {"negative", "neutral", "positive"}
    assert sum(report.class_counts.values()) == report.n_kept == N_ROWS - sum(REJECTED.values())
    assert report.label_source_counts == {"source": report.n_kept}
    assert (report.teacher_agreement, report.threshold_curve, report.teachers) == (None, (), {})
    assert {draft.label for draft in shards.read_shard(tmp_path / "set" / "data" / shards.shard_name(0, 1))} == {""}


@pytest.mark.slow
def test_marked_rows_are_left_out(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = open_ids(world)
    # t3 fell out by itself; the last is of no row.
    (tmp_path / "marks.csv").write_text(f"id\n{kept[0]}\n{kept[1]}\nt3\nnosuch\n")

    report = build_tweets(replace(world.options, out=str(tmp_path / "set"), exclude=str(tmp_path / "marks.csv")))

    assert "1 of the ids in --exclude" in caplog.text
    assert "(nosuch, ...)" in caplog.text
    assert report.rejected["excluded"] == 2
    assert report.n_kept == world.report.n_kept - 2
    assert set(report.files) == {"exclude"}


def open_ids(world: World) -> list[str]:
    paths = sorted((Path(world.options.out) / "data").iterdir())
    return [draft.id for path in paths for draft in shards.read_shard(path, with_bytes=False)]


@pytest.mark.slow
def test_a_dry_run_builds_twenty_rows_elsewhere(world: World, tmp_path: Path) -> None:
    plan = plan_tweets(replace(world.options, out=str(tmp_path / "set"), dry_run=True))

    assert not (tmp_path / "set").exists()
    assert (plan.n_rows, plan.n_shards, plan.n_workers) == (N_ROWS, 5, 1)
    assert plan.trial.n_read == build.DRY_RUN_ROWS
    assert 0 < plan.estimated_s < 600
    assert (Path(plan.folder) / "gallery.html").is_file()
    shutil.rmtree(plan.folder)
