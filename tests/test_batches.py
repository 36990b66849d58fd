"""Rows of many samples: whole or not there, in order, tried again where they failed, never on top of something else."""

import csv
import errno
import os
import resource
import uuid
from dataclasses import replace

import pytest

from parallelnet import batches, records
from parallelnet.errors import InputError, ManifestError, ParallelNetError
from parallelnet.types import Sample

COLUMNS = ("id", "status", "reason", "value", "text", "checkpoint")
IDS = ("a", "=1+1", "c, d", "'-e", "föhn", "-5", "g")
SAMPLES = tuple(Sample(name) for name in IDS)


@pytest.fixture
def table(tmp_path):
    return batches.Table(tmp_path / "out.csv", COLUMNS, "toy", frozenset({"value"}))


def rows_of(table):
    with table.path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def run_held(table, work):
    with batches.writing(table.path):
        return batches.run(table, SAMPLES, work)


class Work:
    """Answers every sample but those that are away, and remembers whom it was asked about."""

    def __init__(self, away=(), stop=None):
        self.away, self.stop, self.asked = set(away), stop, []

    def __call__(self, todo):
        for sample in todo:
            self.asked.append(sample.id)
            if self.stop and sample.id == self.stop[0]:
                raise self.stop[1]
            if sample.id in self.away:
                yield batches.failed(InputError(f"Speech '{sample.id}' does not exist."))
            else:
                yield {"status": "ok", "value": f"{-IDS.index(sample.id):.1f}", "text": "two\nlines"}


@pytest.fixture
def whole(table):
    """The bytes of a run that nothing disturbed."""
    batches.run(table, SAMPLES, Work())
    content = table.path.read_bytes()
    table.path.unlink()
    return content


def test_every_row_is_one_line_that_no_spreadsheet_runs(table):
    counts = batches.run(table, SAMPLES, Work(away=("c, d",)))
    assert counts == batches.BatchCounts(6, 1, 0, "c, d: Speech 'c, d' does not exist.")
    found = rows_of(table)
    assert [row["id"] for row in found] == ["a", "'=1+1", "c, d", "''-e", "föhn", "'-5", "g"]
    assert [row["id"] for row in table.rows()] == list(IDS)
    assert [row["value"] for row in found] == ["0.0", "-1.0", "", "-3.0", "-4.0", "-5.0", "-6.0"]  # numbers stay so
    assert found[0]["text"] == "two lines"
    assert table.path.read_bytes().count(b"\n") == len(IDS) + 1
    assert all(row["checkpoint"] == "toy" for row in found)


def test_a_row_is_on_disk_before_the_next_is_made(table):
    seen = []

    def work(todo):
        for _ in todo:
            seen.append(len(rows_of(table)))
            yield {"status": "ok"}

    batches.run(table, SAMPLES, work)
    assert seen == list(range(len(IDS)))


def test_failed_samples_are_tried_again_and_stand_where_they_belong(table, whole):
    away = ("a", "föhn", "g")
    batches.run(table, SAMPLES, Work(away))
    kept, steps = Work(), []
    counts = batches.run(table, SAMPLES, kept, retry_failed=False, progress=steps.append)
    assert counts == batches.BatchCounts(0, 3, 4, "a: Speech 'a' does not exist.")
    assert (kept.asked, steps) == ([], [7])
    again = Work(("g",))
    assert batches.run(table, SAMPLES, again) == batches.BatchCounts(2, 1, 4, "g: Speech 'g' does not exist.")
    assert again.asked == list(away)
    assert [row["id"] for row in table.rows()] == list(IDS)
    assert batches.run(table, SAMPLES, Work()) == batches.BatchCounts(1, 0, 6)
    assert table.path.read_bytes() == whole


class KilledError(BaseException):
    """The process is gone: nothing after it runs."""


def _kill_at(monkeypatch, step):
    """Let the run end at its n-th touch of the disk, before (even) or after (odd) it, with all that would follow."""
    touches = iter(range(10**6))

    def counted(real):
        def call(*args, **kwargs):
            at = next(touches)
            if 2 * at >= step:
                raise KilledError
            result = real(*args, **kwargs)
            if 2 * at + 1 >= step:
                raise KilledError
            return result

        return call

    monkeypatch.setattr(records, "write_whole", counted(records.write_whole))
    monkeypatch.setattr(batches.Table, "add", counted(batches.Table.add))


@pytest.mark.parametrize("earlier", [(), ("a", "föhn", "g"), IDS], ids=["fresh", "some failed", "all failed"])
def test_a_kill_at_any_step_loses_no_finished_row(table, whole, monkeypatch, earlier):
    for step in range(40):
        table.path.unlink(missing_ok=True)
        if earlier:
            batches.run(table, SAMPLES, Work(earlier))
        before = {row["id"] for row in table.rows() if row["status"] == "ok"} if earlier else set()
        with monkeypatch.context() as patch:
            _kill_at(patch, step)
            try:
                batches.run(table, SAMPLES, Work())
                ended = True
            except KilledError:
                ended = False
        there = [row["id"] for row in table.rows()] if table.path.exists() else []
        assert len(there) == len(set(there))
        assert before <= set(there)
        batches.run(table, SAMPLES, Work())
        assert table.path.read_bytes() == whole
        if ended:
            break
    assert ended


def test_a_stop_puts_back_what_was_not_tried_again(table):
    batches.run(table, SAMPLES, Work(("a", "föhn", "g")))
    finished = []
    stopping = Work(stop=("föhn", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        batches.run(table, SAMPLES, stopping, finish=lambda: finished.append(1))
    assert [(row["id"], row["status"]) for row in table.rows()] == [
        (name, "error" if name in ("föhn", "g") else "ok") for name in IDS
    ]
    assert finished == [1]


def test_a_file_cut_anywhere_is_gone_on_with(table, whole):
    ends = {k for k in range(len(whole)) if whole[k : k + 1] == b"\n"}
    for end in sorted({*range(0, len(whole), 5), *ends, *(end + 1 for end in ends)}):
        for tail in (b"", b"\0" * 7):  # what a power cut may leave behind the last write
            table.path.write_bytes(whole[:end] + tail)
            counts = batches.run(table, SAMPLES, Work())
            # A row that lacks nothing but its line's end is whole.
            done = max(0, (whole[:end] + b"\n" if whole[end : end + 1] == b"\n" else whole[:end]).count(b"\n") - 1)
            assert counts.n_skipped == done, whole[:end]
            assert table.path.read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda text: text.replace("id,status", "id,state"), "line 1"),
        (lambda text: text.replace("\n", "\r\n"), "line 1"),
        (lambda text: text.replace("toy", "other", 1), "line 2"),
        (lambda text: text.replace("\na,", "\nz,"), "line 2"),
        (lambda text: text.replace("\na,ok", "\na,new"), "line 2"),
        (lambda text: text.replace('"c, d"', '"c, d'), "line 4"),
        (lambda text: text + text.splitlines()[1] + "\n", "line 9"),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(table, whole, change, where):
    table.path.write_text(change(whole.decode()), newline="")
    before = table.path.read_bytes()
    with pytest.raises(ManifestError, match=rf"does not hold results of checkpoint toy .*\({where}.*another --out"):
        batches.run(table, SAMPLES, Work())
    assert table.path.read_bytes() == before


def test_an_empty_line_is_no_foreign_row(table, whole):
    table.path.write_bytes(whole + b"\n")
    assert batches.run(table, SAMPLES, Work()).n_skipped == len(IDS)
    assert table.path.read_bytes() == whole


def test_a_full_disk_ends_the_batch_with_whole_rows(table, whole):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    middle = whole.index(b"f\xc3\xb6hn") + 5
    resource.setrlimit(resource.RLIMIT_FSIZE, (middle, hard))  # a write beyond it is cut short, the next one fails
    try:
        with pytest.raises(
            ParallelNetError, match=r"out.csv cannot be written: the disk is full\. .*make room.*--resume"
        ):
            run_held(table, Work())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert table.path.read_bytes() == whole[: whole.index(b"f\xc3\xb6hn")]
    assert batches.run(table, SAMPLES, Work()).n_skipped == 4
    assert table.path.read_bytes() == whole


def test_what_a_killed_process_left_half_written_goes(table, tmp_path):
    def half(name):
        path = tmp_path / f"{name}.{uuid.uuid4().hex}.partial"
        path.write_text("half")
        return path

    ours = [half("out.csv"), half("out.csv.asked.json")]
    others = [half("out.csv2"), half("about.csv"), tmp_path / "out.csv.mine.partial"]
    others[-1].write_text("mine")
    run_held(table, Work())
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)
    with batches.writing(tmp_path):  # a held folder is ours with all that was being written in it
        assert [path.name for path in tmp_path.glob("*.partial")] == ["out.csv.mine.partial"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_an_error_of_our_own_output_is_no_row(table, number):
    work = Work(stop=("c, d", OSError(number, os.strerror(number), "elsewhere.png")))
    with pytest.raises(ParallelNetError, match=r"^elsewhere.png cannot be written: .*What is finished is kept"):
        run_held(table, work)
    assert [row["id"] for row in table.rows()] == ["a", "=1+1"]


def test_a_full_disk_is_never_a_samples_fault():
    with pytest.raises(OSError, match="No space"):
        batches.failed(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert batches.failed(OSError(errno.EIO, "broken"))["reason"] == "OSError: [Errno 5] broken"


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_file_that_was_taken_away_is_noticed_at_once(table, tmp_path, how):
    def work(todo):
        yield {"status": "ok"}
        if how == "removed":
            table.path.unlink()
        else:
            table.path.rename(tmp_path / "elsewhere.csv")
        if how == "replaced":
            table.path.write_text("mine")
        yield {"status": "ok"}
        pytest.fail("it goes on")

    with pytest.raises(ParallelNetError, match="was moved, removed or replaced"):
        batches.run(table, SAMPLES, work)
    assert (table.path.read_text() if how == "replaced" else table.path.exists()) == (
        "mine" if how == "replaced" else False
    )


def test_a_reason_is_one_line_of_bounded_length():
    assert batches.failed(ZeroDivisionError("deep\ninside"))["reason"] == "ZeroDivisionError: deep inside"
    assert len(batches.failed(InputError("x" * 10_000))["reason"]) == 500


@pytest.mark.parametrize("name", ["\ud800", "x" * 200_000, "nul\0l"])
def test_odd_ids_are_read_back(table, name):
    samples = (Sample(name), Sample("b"))
    work = [{"status": "ok", "text": "=2"}, {"status": "ok"}]
    batches.check_ids(samples)
    batches.run(table, samples, lambda todo: (work[samples.index(s)] for s in todo))
    limit = csv.field_size_limit()
    assert batches.run(table, samples, lambda todo: (row for row in ())).n_skipped == 2
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (["a", "a"], "1 ids occur more than once"),
        (["\ud800", "\\ud800"], "more than once"),  # they would be written alike
        (["a\nb"], "line break"),
        ([""], "empty"),
    ],
)
def test_ids_that_cannot_be_told_apart(ids, text):
    with pytest.raises(ManifestError, match=text):
        batches.check_ids([Sample(name) for name in ids])


def test_a_digest_knows_rows_and_not_their_place():
    samples = [
        Sample("1", speech="/data/a/x.wav", image="/data/b/x.png", label="sad"),
        Sample("2", speech="/data/a/y.wav"),
    ]
    moved = [replace(s, speech=s.speech.replace("/data", "/mnt"), image=s.image and "/mnt/b/x.png") for s in samples]
    assert batches.digest(samples) == batches.digest(moved)
    for other in (
        samples[::-1],
        samples[:1],
        [replace(samples[0], label="happy"), samples[1]],
        [replace(samples[0], speech="/data/c/x.wav"), samples[1]],
        [replace(samples[0], problem="bad"), samples[1]],
        [replace(samples[0], speech=None), samples[1]],
    ):
        assert batches.digest(other) != batches.digest(samples)
    assert batches.digest([]) != batches.digest([Sample("only text")])
