"""`parallelnet build tweets`: from a table of tweets to a speech+image data set with emotions (paper section 3.1).

Five phases, each of which is skipped where it is finished already: cut the input into ranges; look every range over;
find duplicates across them; make every range into a shard; finish with what is made of all shards. What is written
appears whole, `dataset.json` last, so a build that was killed anywhere goes on, and ends with the same bytes.
"""

from __future__ import annotations

import logging
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np

from ..data.built import DATASET_JSON, MADE_BY, WORK, BuildReport, read_report
from ..data.shards import REJECTED_COLUMNS, Example, fingerprint, pyarrow_parquet, read_rows, write_rejected
from ..errors import ManifestError, ParallelNetError, refuse
from ..options import TweetsOptions
from ..records import is_disk_full, read_json, sweep, write_json, write_text
from . import duplicates, executors, jobs, recipe, steps
from .counts import Counts

BUILD_LOG_JSON = "build-log.json"  # what differs between runs: seconds, memory, machine; no part of the data set
DRY_RUN_ROWS = 20

_log = logging.getLogger(__name__)
_read = partial(read_json, mend="start the same command line again, with --overwrite.")


@dataclass(frozen=True, slots=True)
class Done:
    """How far a build is: rows of the input, those of the ranges that are finished, and how many of these were kept."""

    n_rows: int
    n_read: int
    n_kept: int

    def and_also(self, made: Mapping[str, Any]) -> Done:
        """Return how far it is with one more range, by what was written down of that."""
        return replace(self, n_read=self.n_read + made["counts"]["n_read"], n_kept=self.n_kept + made["shard"]["n"])


Progress = Callable[[Done], object]  # called whenever a range is finished, and first with what earlier runs finished


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build would do (`--dry-run`): `trial` is what the first rows became, in a temporary folder."""

    n_rows: int
    n_shards: int
    n_workers: int
    estimated_s: float
    folder: str
    trial: BuildReport


def build_tweets(options: TweetsOptions, *, progress: Progress = lambda done: None) -> BuildReport:
    """Build the data set, or go on with it, and return what it is. A finished one is left as it is.

    Raises:
        OptionError: options that cannot be fulfilled, or the folder holds another build.
        ManifestError: the input cannot be read, or the folder holds something else.
        MissingExtraError: the engine, pyarrow or Ray is not installed.
        CheckpointError: a teacher cannot be opened.
        ParallelNetError: the disk is full, a worker died, or another process builds there. What was finished is kept.
    """
    started = time.perf_counter()
    pyarrow_parquet()  # first of all: without it hours of work could not be written
    options = recipe.absolute(options)
    folder = Path(options.out)
    plain = recipe.write_recipe(options)
    if recipe.is_finished(folder, plain, overwrite=options.overwrite):
        done = "what a run that was ended left in it was removed" if recipe.tidy(folder) else "nothing was done"
        _log.info("%s is complete already; %s.", folder, done)
        return read_report(folder)
    is_empty = next(jobs.read_input(options), None) is None
    refuse(ManifestError, [(is_empty, f"--tweets {options.tweets} has no rows. Needed: at least one.")])
    complete = replace(plain, tools=_tools(options))
    with (
        _disk_errors(folder),
        executors.EXECUTORS[options.executor](options.workers, options.ray_address) as executor,
        recipe.claimed(folder, complete, overwrite=options.overwrite),
    ):
        return _run(options, complete, executor, progress, started)


def plan_tweets(options: TweetsOptions) -> Plan:
    """Build the first rows into a temporary folder and return what the whole build would do; raises the same."""
    whole = recipe.absolute(options)
    recipe.write_recipe(whole)  # refuses what cannot be read
    n_rows = sum(1 for _ in jobs.read_input(whole))
    folder = tempfile.mkdtemp(prefix="parallelnet-dry-run-")
    trial = replace(options, out=folder, limit=min(DRY_RUN_ROWS, n_rows), workers=1, executor="local", ray_address=None)
    report = build_tweets(trial)
    log = _read(Path(folder, BUILD_LOG_JSON))
    with executors.EXECUTORS[options.executor](options.workers, options.ray_address) as executor:
        n_workers = executor.n_workers
    n_shards = -(-n_rows // options.rows_per_shard)
    estimated_s = n_rows * log["step_wall_s_per_row"] / min(n_workers, n_shards)
    return Plan(n_rows, n_shards, n_workers, estimated_s, folder, report)


def _tools(options: TweetsOptions) -> dict[str, Any]:
    """Open all that the options name once, before the first row, and return what it says of itself."""
    if options.exclude:
        steps.read_excluded(options.exclude)
    engine = jobs.open_speaker(options)
    voices = list(options.voices or engine.voices)
    return {
        "tts": {"engine": engine.name, "version": engine.version, "settings": engine.settings, "voices": voices},
        "teachers": {modality: teacher.describe() for modality, teacher in jobs.open_teachers(options).items()},
        "versions": recipe.versions(),
    }


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Say in one line what the disk did not do; whatever was not whole has been removed already."""
    try:
        yield
    except OSError as error:
        full, where = is_disk_full(error), f" {error.filename}" if error.filename else ""
        told = f"The build in {folder} stopped: {error.strerror or error}{where}. What"
        told = f"The disk of {folder} is full ({error.strerror}). Nothing is half-written, and what" if full else told
        raise ParallelNetError(
            f"{told} is finished is kept. Mend: {'make room' if full else 'put that right'} and start the same command "
            "line again; it goes on from here."
        ) from error


def _run(
    options: TweetsOptions, made_from: recipe.Recipe, executor: executors.Executor, progress: Progress, started: float
) -> BuildReport:
    """Do the phases over a folder that is ours."""
    began, clock = datetime.now(UTC).isoformat(timespec="seconds"), steps.Clock()
    folder, worker_peak_bytes = Path(options.out), 0
    n_rows = jobs.split(options)
    shards = range(-(-n_rows // options.rows_per_shard))

    def records(name: str) -> dict[int, Path]:  # of the ranges that are finished
        return {index: path for index in shards if (path := jobs.work_file(options, name, index)).is_file()}

    clock.lap("split")
    for done in executor.run(jobs.LookOver(options), sorted(set(shards) - set(records("surveyed/.json")))):
        worker_peak_bytes = max(worker_peak_bytes, done["peak_memory_bytes"])
    clock.lap("look over")
    if not (found := jobs.work_file(options, "duplicates.npy")).is_file():
        parts = [jobs.work_file(options, "surveyed/.npy", index) for index in shards]
        duplicates.save(found, duplicates.find_duplicates(parts, mode=options.duplicates, near_bits=options.near_bits))
    clock.lap("find duplicates")
    earlier = records("made/.json")
    so_far = reduce(Done.and_also, map(_read, earlier.values()), Done(n_rows, 0, 0))
    n_read_before = so_far.n_read
    progress(so_far)
    for made in executor.run(jobs.MakeShard(options, len(shards)), sorted(set(shards) - set(earlier))):
        so_far = so_far.and_also(made)
        worker_peak_bytes = max(worker_peak_bytes, made["peak_memory_bytes"])
        progress(so_far)
    sweep(folder)  # after workers that were killed
    clock.lap("make shards")
    finished = list(records("made/.json").values())
    report = _assembled(options, made_from, finished)
    clock.lap("finish")
    spent = {**_spent(records("surveyed/.json").values(), "look over: "), **_spent(finished)}
    wall_s, n_made = time.perf_counter() - started, so_far.n_read - n_read_before
    log = {
        "began": began,
        "wall_s": wall_s,
        "phases_s": {name: phase_s for name, (phase_s, _) in clock.spent.items()},
        "executor": options.executor,
        "workers": executor.n_workers,
        "n_shards": len(shards),
        "n_shards_made_in_this_run": len(shards) - len(earlier),
        "n_rows_made_in_this_run": n_made,
        "rows_per_s": n_made / wall_s,
        "speech_s": report.duration_s,
        # Seconds of work a second of speech; of a whole build only.
        "real_time_factor": wall_s / report.duration_s if report.duration_s and not earlier else None,
        "steps": {
            name: {"wall_s": step_s, "cpu_s": cpu_s, "wall_s_per_row": step_s / report.n_read}
            for name, (step_s, cpu_s) in spent.items()
        },
        "step_wall_s_per_row": sum(step_s for step_s, _ in spent.values()) / report.n_read,
        "peak_memory_bytes": {"coordinator": jobs.peak_memory_bytes(), "worker": worker_peak_bytes},
        "machine": {"cpu": _cpu_name(), "n_cores": executors.n_cores(), "platform": platform.platform()},
    }
    write_json(folder / BUILD_LOG_JSON, log)
    write_text(folder / DATASET_JSON, report.to_json())
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return report


def _spent(paths: Iterable[Path], prefix: str = "") -> dict[str, Any]:
    """Return {step: seconds by the clock and of the processor} of the ranges of these records together."""
    total: dict[str, Any] = {}
    for record in map(_read, paths):
        for step, seconds in record["seconds"].items():
            total[prefix + step] = np.add(total.get(prefix + step, 0.0), seconds)
    return total


def _assembled(options: TweetsOptions, made_from: recipe.Recipe, finished: Sequence[Path]) -> BuildReport:
    """Write all but `dataset.json` of a data set whose shards are made, and return what that will hold."""
    from .inspection import write_card, write_gallery

    folder, tools, counts, listed = Path(options.out), made_from.tools, Counts(), []
    for made in map(_read, finished):
        counts += Counts.from_record(made["counts"])
        listed.append(made["shard"])
    n_rejected, rejected_sha256 = write_rejected(
        folder / "rejected.parquet", (Example(**row) for made in map(_read, finished) for row in made["rejected"])
    )
    report = BuildReport(
        made_by=MADE_BY,
        **counts.facts(options.labels, options.rule),
        **{name: getattr(options, name) for name in ("threshold", "rule", "labels")},
        tts={**tools["tts"], "voices": counts.by("tts_voice")},
        teachers=tools["teachers"],
        **{name: getattr(made_from, name) for name in ("options", "files", "input")},
        versions=tools["versions"],
        shards=tuple(listed),
        rejected_sha256=rejected_sha256,
        fingerprint=fingerprint(listed),
    )
    assert report.n_rejected == n_rejected == counts.rejected.total()
    if options.exclude:  # every row that has such an id is among the rejected
        known = {row["id"] for row in read_rows(folder / "rejected.parquet", ("id",), REJECTED_COLUMNS)}
        strange = steps.read_excluded(options.exclude) - known
        if strange:
            told = "%d of the ids in --exclude %s match no row (%s, ...): are they of another input?"
            _log.warning(told, len(strange), options.exclude, min(strange))
    try:
        write_card(folder, report=report)
        write_gallery(folder, report=report)
    except OSError:  # a full disk: they are not written as one
        recipe.remove(folder, recipe.PAGES)
        raise
    return report


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    told = re.search(r"^model name\s*:(.*)", info.read_text("utf-8", "replace") if info.exists() else "", re.MULTILINE)
    return told[1].strip() if told else ""
