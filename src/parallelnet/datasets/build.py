"""`parallelnet build tweets`: from a table of tweets to a speech+image data set with emotions (paper section 3.1).

Five phases, each of which is skipped where it is finished already: cut the input into ranges; look every range over;
find duplicates across them; make every range into a shard; finish with what is made of all shards. What is written
appears whole, `dataset.json` last, so a build that was killed anywhere goes on, and ends with the same bytes.
"""

from __future__ import annotations

import json
import logging
import platform
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..data.built import DATASET_JSON, MADE_BY, WORK, BuildReport, read_report
from ..data.shards import REJECTED_COLUMNS, fingerprint, join_rejected, pyarrow_parquet, read_rows
from ..errors import ParallelNetError
from ..options import TweetsOptions
from ..records import is_disk_full, write_json, write_text
from . import jobs, recipe
from .counts import Counts
from .duplicates import find_duplicates, save
from .executors import EXECUTORS, Executor, n_cores
from .recipe import Recipe
from .steps import Clock, read_excluded

BUILD_LOG_JSON = "build-log.json"
"""What differs between runs: seconds, memory, machine. No part of the data set."""

DRY_RUN_ROWS = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """How far a build is.

    Attributes:
        n_rows: of the input.
        n_read: rows of the ranges that are finished, by this run or an earlier one; `n_kept` of those.
    """

    n_rows: int
    n_read: int
    n_kept: int


Progress = Callable[[Done], object]
"""Called whenever a range is finished, and first with what earlier runs finished."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build would do (`--dry-run`).

    Attributes:
        n_rows: of the input that would be read, and become `n_shards`.
        n_workers: that would work at the same time.
        estimated_s: for all of it, from the rows of the trial.
        folder: temporary, with the data set that the first rows became, `trial`.
    """

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
    jobs.check_input(options)
    complete = replace(plain, tools=_tools(options))
    with (
        _disk_errors(folder),
        EXECUTORS[options.executor](options.workers, options.ray_address) as executor,
        recipe.claimed(folder, complete, overwrite=options.overwrite),
    ):
        return _Build(options, complete, executor, progress).run(started)


def plan_tweets(options: TweetsOptions) -> Plan:
    """Build the first rows into a temporary folder and return what the whole build would do.

    Raises:
        ParallelNetError: as `build_tweets`.
    """
    whole = recipe.absolute(options)
    recipe.write_recipe(whole)  # refuses what cannot be read
    n_rows = sum(1 for _ in jobs.read_input(whole))
    folder = tempfile.mkdtemp(prefix="parallelnet-dry-run-")
    trial = replace(options, out=folder, limit=min(DRY_RUN_ROWS, n_rows), workers=1, executor="local", ray_address=None)
    report = build_tweets(trial)
    log = json.loads((Path(folder) / BUILD_LOG_JSON).read_text(encoding="utf-8"))
    with EXECUTORS[options.executor](options.workers, options.ray_address) as executor:
        n_workers = executor.n_workers
    n_shards = -(-n_rows // options.rows_per_shard)
    estimated_s = n_rows * log["step_wall_s_per_row"] / min(n_workers, n_shards)
    return Plan(n_rows, n_shards, n_workers, estimated_s, folder, report)


def _tools(options: TweetsOptions) -> dict[str, Any]:
    """Open all that the options name once, before the first row, and return what it says of itself."""
    if options.exclude:
        read_excluded(options.exclude)
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
        told, mend = f"The disk of {folder} is full ({error.strerror}). Nothing is half-written, and what", "make room"
        if not is_disk_full(error):
            where = f" {error.filename}" if error.filename else ""
            told, mend = f"The build in {folder} stopped: {error.strerror or error}{where}. What", "put that right"
        raise ParallelNetError(
            f"{told} is finished is kept. Mend: {mend} and start the same command line again; it goes on from here."
        ) from error


class _Build:
    """One run of the phases over a folder that is ours."""

    def __init__(self, options: TweetsOptions, made_from: Recipe, executor: Executor, progress: Progress) -> None:
        self._options, self._recipe, self._executor, self._progress = options, made_from, executor, progress
        self._folder = Path(options.out)
        self._n_made = Counter[str]()
        self._worker_peak_bytes = 0

    def run(self, started: float) -> BuildReport:
        began, clock = datetime.now(UTC).isoformat(timespec="seconds"), Clock()
        n_rows = jobs.split(self._options)
        n_shards = -(-n_rows // self._options.rows_per_shard)
        clock.lap("split")
        for done in self._executor.run(jobs.LookOver(self._options), self._left("surveyed/.json", n_shards)):
            self._worker_peak_bytes = max(self._worker_peak_bytes, done["peak_memory_bytes"])
        clock.lap("look over")
        found = jobs.work_file(self._options, "duplicates.npy")
        if not found.is_file():
            parts = [jobs.work_file(self._options, "surveyed/.npy", index) for index in range(n_shards)]
            save(found, find_duplicates(parts, mode=self._options.duplicates, near_bits=self._options.near_bits))
        clock.lap("find duplicates")
        self._make_shards(n_shards, n_rows)
        clock.lap("make shards")
        report = self._finish(n_shards)
        clock.lap("finish")
        phases_s = {name: wall_s for name, (wall_s, _) in clock.spent.items()}
        self._write_log(report, {"began": began, "wall_s": time.perf_counter() - started, "phases_s": phases_s})
        write_text(self._folder / DATASET_JSON, report.to_json())
        shutil.rmtree(self._folder / WORK, ignore_errors=True)
        return report

    def _left(self, name: str, n_shards: int) -> list[int]:
        """Return the ranges that lack the file which says that they are finished."""
        return [index for index in range(n_shards) if not jobs.work_file(self._options, name, index).is_file()]

    def _records(self, name: str, n_shards: int) -> Iterator[dict[str, Any]]:
        """Yield what was written down of each range that is finished."""
        for path in (jobs.work_file(self._options, name, index) for index in range(n_shards)):
            if path.is_file():
                yield json.loads(path.read_text(encoding="utf-8"))

    def _make_shards(self, n_shards: int, n_rows: int) -> None:
        left, earlier = self._left("made/.json", n_shards), [(0, 0)]
        earlier += [(made["counts"]["n_read"], made["shard"]["n"]) for made in self._records("made/.json", n_shards)]
        n_read, n_kept = map(sum, zip(*earlier, strict=True))
        self._progress(Done(n_rows, n_read, n_kept))
        for made in self._executor.run(jobs.MakeShard(self._options, n_shards), left):
            n_read, n_kept = n_read + made["counts"]["n_read"], n_kept + made["shard"]["n"]
            self._n_made.update(shards=1, rows=made["counts"]["n_read"])
            self._worker_peak_bytes = max(self._worker_peak_bytes, made["peak_memory_bytes"])
            self._progress(Done(n_rows, n_read, n_kept))

    def _finish(self, n_shards: int) -> BuildReport:
        from .card import write_card
        from .gallery import write_gallery

        options, tools = self._options, self._recipe.tools
        parts = (jobs.work_file(options, "rejected/.parquet", index) for index in range(n_shards))
        rejected = join_rejected(self._folder / "rejected.parquet", parts)
        counts, listed = Counts(), []
        for made in self._records("made/.json", n_shards):
            counts += Counts.from_record(made["counts"])
            listed.append(made["shard"])
        report = BuildReport(
            made_by=MADE_BY,
            **counts.facts(options.labels, options.rule),
            **{name: getattr(options, name) for name in ("threshold", "rule", "labels")},
            tts={**tools["tts"], "voices": counts.by("tts_voice")},
            teachers=tools["teachers"],
            **{name: getattr(self._recipe, name) for name in ("options", "files", "input")},
            versions=tools["versions"],
            shards=tuple(listed),
            rejected_sha256=rejected.sha256,
            fingerprint=fingerprint(listed),
        )
        assert report.n_rejected == rejected.n == counts.rejected.total()
        if options.exclude:
            self._warn_of_unknown(read_excluded(options.exclude))
        try:
            write_card(self._folder, report=report)
            write_gallery(self._folder, report=report)
        except OSError:  # a full disk: they are not written as one
            recipe.remove(self._folder, recipe.PAGES)
            raise
        return report

    def _warn_of_unknown(self, excluded: frozenset[str]) -> None:
        """Tell how many of the ids to exclude no row has: every row that has one is among the rejected."""
        excluded -= {row["id"] for row in read_rows(self._folder / "rejected.parquet", ("id",), REJECTED_COLUMNS)}
        if excluded:
            told = "%d of the ids in --exclude %s match no row (%s, ...): are they of another input?"
            _log.warning(told, len(excluded), self._options.exclude, min(excluded))

    def _write_log(self, report: BuildReport, run: dict[str, Any]) -> None:
        spent: dict[str, Any] = {}
        for prefix, name in (("look over: ", "surveyed/.json"), ("", "made/.json")):
            for record in self._records(name, len(report.shards)):
                for step, seconds in record["seconds"].items():
                    spent[prefix + step] = np.add(spent.get(prefix + step, 0.0), seconds)
        # Seconds of work a second of speech; of a whole build only.
        is_whole = report.duration_s and self._n_made["shards"] == len(report.shards)
        log = {
            **run,
            "executor": self._options.executor,
            "workers": self._executor.n_workers,
            "n_shards": len(report.shards),
            "n_shards_made_in_this_run": self._n_made["shards"],
            "n_rows_made_in_this_run": self._n_made["rows"],
            "rows_per_s": self._n_made["rows"] / run["wall_s"],
            "speech_s": report.duration_s,
            "real_time_factor": run["wall_s"] / report.duration_s if is_whole else None,
            "steps": {
                name: {"wall_s": wall_s, "cpu_s": cpu_s, "wall_s_per_row": wall_s / report.n_read}
                for name, (wall_s, cpu_s) in spent.items()
            },
            "step_wall_s_per_row": sum(wall_s for wall_s, _ in spent.values()) / report.n_read,
            "peak_memory_bytes": {"coordinator": jobs.peak_memory_bytes(), "worker": self._worker_peak_bytes},
            "machine": {"cpu": _cpu_name(), "n_cores": n_cores(), "platform": platform.platform()},
        }
        write_json(self._folder / BUILD_LOG_JSON, log)


def _cpu_name() -> str:
    """Return the name of the processor, or "" where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
