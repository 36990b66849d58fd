"""`parallelnet build tweets`: from a table of tweets to a speech+image data set with emotions (paper section 3.1).

Five phases, each of which is skipped where it is finished already: cut the input into ranges; look every range over;
find duplicates across them; make every range into a shard; finish with what is made of all shards. What is written
appears whole, `dataset.json` last, so a build that was killed anywhere goes on, and ends with the same bytes.
"""

from __future__ import annotations

import json
import logging
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ParallelNetError
from ..options import TweetsOptions
from ..records import is_disk_full, write_whole
from . import jobs, ranges, recipe, shards
from .clock import Seconds, cpu_name, n_cores, peak_memory_bytes
from .exclusion import read_excluded
from .executors import Executor, open_executor
from .recipe import Recipe
from .record import DATASET_JSON, MADE_BY, WORK, BuildReport
from .summary import ShardSummary, total

BUILD_LOG_JSON = "build-log.json"
"""What differs between runs: seconds, memory, machine. No part of the data set."""

DRY_RUN_ROWS = 20


@dataclass(frozen=True, slots=True)
class Done:
    """How far a build is.

    Attributes:
        n_rows: of the input.
        n_read: rows of the ranges that are finished, by this run or an earlier one.
        n_kept: of those.
    """

    n_rows: int
    n_read: int
    n_kept: int


Progress = Callable[[Done], object]
"""Called whenever a range is finished, and first with what earlier runs finished."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build would do (`--dry-run`).

    Attributes:
        n_rows: of the input that would be read.
        n_shards: that they would become.
        n_workers: that would work at the same time.
        estimated_s: for all of it, from the rows of the trial.
        folder: temporary, with the data set that the first rows became.
        trial: what that is.
    """

    n_rows: int
    n_shards: int
    n_workers: int
    estimated_s: float
    folder: str
    trial: BuildReport


def build_tweets(options: TweetsOptions, *, progress: Progress | None = None) -> BuildReport:
    """Build the data set, or go on with it, and return what it is. A finished one is left as it is.

    Args:
        options: what to build; `dry_run` is `plan_tweets`'s and ignored here.
        progress: is told of the rows that are finished; at first of those that earlier runs finished.

    Raises:
        OptionError: options that cannot be fulfilled, or the folder holds another build.
        ManifestError: the input cannot be read, or the folder holds something else.
        MissingExtraError: the engine, pyarrow or Ray is not installed.
        CheckpointError: a teacher cannot be opened.
        ParallelNetError: the disk is full, a worker died, or another process builds there. What was finished is kept.
    """
    started = time.perf_counter()
    shards.pyarrow_parquet()  # first of all: without it hours of work could not be written
    options = recipe.absolute(options)
    folder = Path(options.out)
    plain = recipe.write_recipe(options)
    if recipe.is_finished(folder, plain, overwrite=options.overwrite):
        done = "what a run that was ended left in it was removed" if recipe.tidy(folder) else "nothing was done"
        _log.info("%s is complete already; %s.", folder, done)
        return BuildReport.from_json((folder / DATASET_JSON).read_text(encoding="utf-8"))
    ranges.check_input(options, format=plain.input["format"])
    complete = replace(plain, tools=_tools(options))
    with (
        _disk_errors(folder),
        open_executor(options.executor, options.workers, options.ray_address) as executor,
        recipe.claimed(folder, complete, overwrite=options.overwrite),
    ):
        return _Build(options, complete, executor, progress or _silent).run(started)


def plan_tweets(options: TweetsOptions) -> Plan:
    """Build the first rows into a temporary folder and return what the whole build would do.

    Raises:
        ParallelNetError: as `build_tweets`.
    """
    whole = recipe.absolute(options)
    plain = recipe.write_recipe(whole)
    n_rows = sum(1 for _ in ranges.read_input(whole, format=plain.input["format"]))
    folder = tempfile.mkdtemp(prefix="parallelnet-dry-run-")
    trial = replace(options, out=folder, limit=min(DRY_RUN_ROWS, n_rows), workers=1, executor="local", ray_address=None)
    report = build_tweets(trial)
    log = json.loads((Path(folder) / BUILD_LOG_JSON).read_text(encoding="utf-8"))
    with open_executor(options.executor, options.workers, options.ray_address) as executor:
        n_workers = executor.n_workers
    per_row_s = sum(step["wall_s"] for step in log["steps"].values()) / report.n_read
    n_shards = -(-n_rows // options.rows_per_shard)
    return Plan(n_rows, n_shards, n_workers, n_rows * per_row_s / min(n_workers, n_shards), folder, report)


def _silent(done: Done) -> None:
    """Show nothing."""


def _tools(options: TweetsOptions) -> dict[str, Any]:
    """Open all that the options name once, before the first row, and return what it says of itself."""
    if options.exclude:
        read_excluded(options.exclude)
    engine = jobs.open_speaker(options)
    engine.check_voices(options.voices)
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
        if is_disk_full(error):
            raise ParallelNetError(
                f"The disk of {folder} is full ({error.strerror}). Nothing is half-written, and what is finished is "
                "kept. Mend: make room and start the same command line again; it goes on from here."
            ) from error
        where = f" {error.filename}" if error.filename else ""
        raise ParallelNetError(
            f"The build in {folder} stopped: {error.strerror or error}{where}. What is finished is kept. Mend: put "
            "that right and start the same command line again; it goes on from here."
        ) from error


class _Build:
    """One run of the phases over a folder that is ours."""

    def __init__(self, options: TweetsOptions, made_from: Recipe, executor: Executor, progress: Progress) -> None:
        self._options, self._recipe, self._executor, self._progress = options, made_from, executor, progress
        self._folder = Path(options.out)
        self._phases_s: dict[str, float] = {}
        self._worker_peak_bytes = 0
        self._made = {"shards": 0, "rows": 0}

    def run(self, started: float) -> BuildReport:
        options = self._options
        began = datetime.now(UTC).isoformat(timespec="seconds")
        with self._phase("split"):
            n_rows = ranges.split(options, format=self._recipe.input["format"])
        n_shards = -(-n_rows // options.rows_per_shard)
        with self._phase("look over"):
            left = [index for index in range(n_shards) if not jobs.look_path(options, index).is_file()]
            for done in self._executor.run(jobs.LookOver(options), left):
                self._worker_peak_bytes = max(self._worker_peak_bytes, done.peak_memory_bytes)
        with self._phase("find duplicates"):
            self._find_duplicates(n_shards)
        with self._phase("make shards"):
            self._make_shards(n_shards, n_rows)
        with self._phase("finish"):
            report = self._finish(n_shards)
        self._write_log(report, n_shards, began, time.perf_counter() - started)
        text = report.to_json()
        write_whole(self._folder / DATASET_JSON, lambda s: s.write(text.encode()), partials=self._work / "partial")
        recipe.remove_work(self._folder)
        return report

    @property
    def _work(self) -> Path:
        return self._folder / WORK

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self._phases_s[name] = time.perf_counter() - begun

    def _find_duplicates(self, n_shards: int) -> None:
        from .duplicates import find_duplicates

        target = jobs.found_path(self._options)
        if target.is_file():
            return
        parts = [jobs.signatures_path(self._options, index) for index in range(n_shards)]
        found = find_duplicates(parts, mode=self._options.duplicates, near_bits=self._options.near_bits)
        found.save(target)

    def _make_shards(self, n_shards: int, n_rows: int) -> None:
        n_read = n_kept = 0
        left = []
        for index in range(n_shards):
            path = jobs.summary_path(self._options, index)
            if path.is_file():
                summary = ShardSummary.from_json(path.read_text(encoding="utf-8"))
                n_read, n_kept = n_read + summary.n_read, n_kept + summary.n_kept
            else:
                left.append(index)
        self._progress(Done(n_rows, n_read, n_kept))
        for done in self._executor.run(jobs.MakeShard(self._options, n_shards), left):
            n_read, n_kept = n_read + done.n_read, n_kept + done.n_kept
            self._made["shards"] += 1
            self._made["rows"] += done.n_read
            self._worker_peak_bytes = max(self._worker_peak_bytes, done.peak_memory_bytes)
            self._progress(Done(n_rows, n_read, n_kept))

    def _summaries(self, n_shards: int) -> Iterator[ShardSummary]:
        for index in range(n_shards):
            yield ShardSummary.from_json(jobs.summary_path(self._options, index).read_text(encoding="utf-8"))

    def _finish(self, n_shards: int) -> BuildReport:
        from .card import write_card
        from .gallery import write_gallery

        options, tools = self._options, self._recipe.tools
        parts = (jobs.rejected_path(options, index) for index in range(n_shards))
        rejected = shards.join_rejected(self._folder / "rejected.parquet", parts, partials=self._work / "partial")
        listed: tuple[dict[str, Any], ...] = tuple(
            {"name": made.name, "n": made.n_kept, "sha256": made.sha256} for made in self._summaries(n_shards)
        )
        counts = total(self._summaries(n_shards), options.labels)
        voices = counts.pop("voices")
        report = BuildReport(
            made_by=MADE_BY,
            **counts,
            threshold=options.threshold,
            rule=options.rule,
            labels=options.labels,
            tts={**tools["tts"], "voices": voices},
            teachers=tools["teachers"],
            options=self._recipe.options,
            files=self._recipe.files,
            input=self._recipe.input,
            versions=tools["versions"],
            shards=listed,
            rejected_sha256=rejected.sha256,
            fingerprint=shards.fingerprint((shard["name"], shard["sha256"]) for shard in listed),
        )
        assert report.n_rejected == rejected.n == sum(report.rejected.values())
        if options.exclude:
            self._warn_of_unknown(read_excluded(options.exclude))
        facts = json.loads(report.to_json())
        try:
            write_card(self._folder, manifest=facts)
            write_gallery(self._folder, manifest=facts)
        except OSError:  # a full disk: they are not written as one
            recipe.remove_pages(self._folder)
            raise
        return report

    def _warn_of_unknown(self, excluded: frozenset[str]) -> None:
        """Tell how many of the ids to exclude no row has: every row that has one is among the rejected."""
        _, parquet = shards.pyarrow_parquet()
        with parquet.ParquetFile(self._folder / "rejected.parquet") as source:
            for batch in source.iter_batches(columns=["id"]):
                excluded -= set(batch.column(0).to_pylist())
        if excluded:
            _log.warning(
                "%d of the ids in --exclude %s match no row (%s, ...): are they of another input?",
                len(excluded),
                self._options.exclude,
                min(excluded),
            )

    def _write_log(self, report: BuildReport, n_shards: int, began: str, wall_s: float) -> None:
        steps: dict[str, Seconds] = {}
        for index in range(n_shards):
            looked = json.loads(jobs.look_path(self._options, index).read_text(encoding="utf-8"))
            made = ShardSummary.from_json(jobs.summary_path(self._options, index).read_text(encoding="utf-8"))
            for prefix, seconds in (("look over: ", looked), ("", made.seconds)):
                for step, spent in seconds.items():
                    name = prefix + step
                    steps[name] = steps.get(name, Seconds()) + Seconds(*spent)
        log = {
            "began": began,
            "executor": self._options.executor,
            "workers": self._executor.n_workers,
            "wall_s": wall_s,
            "phases_s": self._phases_s,
            "n_shards": n_shards,
            "n_shards_made_in_this_run": self._made["shards"],
            "n_rows_made_in_this_run": self._made["rows"],
            "rows_per_s": self._made["rows"] / wall_s,
            "speech_s": report.duration_s,
            # Seconds of work a second of speech; of a whole build only.
            "real_time_factor": wall_s / report.duration_s
            if report.duration_s and self._made["shards"] == n_shards
            else None,
            "steps": {
                name: {**asdict(spent), "wall_s_per_row": spent.wall_s / report.n_read} for name, spent in steps.items()
            },
            "step_wall_s_per_row": sum(spent.wall_s for spent in steps.values()) / report.n_read,
            "peak_memory_bytes": {"coordinator": peak_memory_bytes(), "worker": self._worker_peak_bytes},
            "machine": {"cpu": cpu_name(), "n_cores": n_cores(), "platform": platform.platform()},
        }
        text = json.dumps(log, indent=2) + "\n"
        target = self._folder / BUILD_LOG_JSON
        write_whole(target, lambda stream: stream.write(text.encode()), partials=self._work / "partial")
