"""What is done with each range of the input, in whatever process: looked over first, made into a shard later.

Both are jobs of `executors`: small, hashable, opened once in each process. Their tasks are indices of ranges. Every
outcome is files below the work folder, the last of which says that the range is finished.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ManifestError, ParallelNetError
from ..options import TweetsOptions
from ..records import write_whole
from ..synthesis.synthesis import SynthesisError
from ..synthesis.tts import Engine, open_engine
from . import ranges, shards
from .clock import Seconds, StepClock, peak_memory_bytes
from .decision import Decide, OwnLabel
from .draft import Draft, Step
from .duplicates import Duplicates, Found, Signatures, Unchanged
from .exclusion import Exclude, read_excluded
from .pictures import CheckPicture
from .recipe import relative, root_of
from .record import WORK
from .steps import CheckSound, CleanText, Speak
from .summary import Counting, ShardSummary
from .teachers import Teach, Teacher, open_teacher


@dataclass(frozen=True, slots=True)
class RangeDone:
    """What a task tells of the range that it finished.

    Attributes:
        index: of the range.
        n_read: its rows.
        n_kept: rows that were kept; of a range that was only looked over, rows without a reason yet.
        peak_memory_bytes: of the process.
    """

    index: int
    n_read: int
    n_kept: int
    peak_memory_bytes: int


def chained(steps: Iterable[Step], drafts: Iterable[Draft], clock: StepClock) -> Iterator[Draft]:
    """Return the drafts after all steps, each step's time charged to its name."""
    flowing = clock.timed("read", drafts)
    for step in steps:
        flowing = clock.timed(step.name, step(flowing))
    return flowing


def looking_steps(options: TweetsOptions) -> list[Step]:
    """Return the steps that need neither engine nor teachers: what duplicates are known by."""
    return [CleanText(options.emoji, options.max_characters), CheckPicture(options.max_pixels, root_of(options))]


def open_speaker(options: TweetsOptions) -> Engine:
    """Return the engine that speaks.

    Raises:
        OptionError: no such engine, or options that it does not have.
        MissingExtraError: it is not installed.
    """
    return open_engine(options.tts, model=options.tts_model, rate=options.rate, pitch=options.pitch)


def open_teachers(options: TweetsOptions) -> dict[str, Teacher]:
    """Return the teachers by modality, speech first; none where the source's own labels are kept.

    Raises:
        CheckpointError: one cannot be opened.
        OptionError: its classes cannot be mapped to ours.
    """
    if options.labels == "sentiment":
        return {}
    specs = {"speech": options.speech_teacher, "image": options.image_teacher}
    return {
        modality: open_teacher(
            spec, modality, label_map=options.label_map, renormalise=options.renormalise, max_pixels=options.max_pixels
        )
        for modality, spec in specs.items()
    }


@dataclass(frozen=True)
class LookOver:
    """Job: the signatures of a range, by which duplicates are found across all ranges.

    Attributes:
        options: with absolute paths.
    """

    options: TweetsOptions

    def open(self) -> Callable[[int], RangeDone]:
        """Return the function that looks over the range of an index."""
        steps = looking_steps(self.options)
        _warm(steps)

        def look(index: int) -> RangeDone:
            return self._look(index, steps)

        return look

    def called(self, index: int) -> str:
        """Return how errors name the range of an index."""
        return _rows(self.options, index)

    def _look(self, index: int, steps: list[Step]) -> RangeDone:
        work = _work(self.options)
        clock = StepClock("sign")
        drafts = ranges.read_range(ranges.range_path(self.options, index), self.options)
        signatures = Signatures.of(chained(steps, drafts, clock))
        signatures.save(signatures_path(self.options, index))
        _finish(look_path(self.options, index), work, json.dumps(_plain(clock.seconds())))
        table = signatures.table
        return RangeDone(index, len(table), int(table["usable"].sum()), peak_memory_bytes())


@dataclass(frozen=True)
class MakeShard:
    """Job: the shard of a range, with its rejected rows and its summary.

    Attributes:
        options: with absolute paths.
        n_shards: how many there are, for their names.
    """

    options: TweetsOptions
    n_shards: int

    def open(self) -> Callable[[int], RangeDone]:
        """Open the engine and the teachers, and return the function that makes the shard of an index."""
        options = self.options
        teachers = open_teachers(options)
        steps = looking_steps(options)
        if options.exclude:
            steps.append(Exclude(read_excluded(options.exclude)))
        steps += [Speak(open_speaker(options), options.voices, options.seed), CheckSound()]
        for modality, teacher in teachers.items():
            steps.append(Teach(modality, teacher))
        steps.append(Decide(options.threshold, options.rule) if teachers else OwnLabel())
        _warm(steps)
        steps.insert(2, Duplicates(Found.load(found_path(options))))

        def make(index: int) -> RangeDone:
            try:
                return self._make(index, steps)
            except SynthesisError as error:
                raise ParallelNetError(f"{error} What was finished is kept. Mend: start the same line again.") from None

        return make

    def called(self, index: int) -> str:
        """Return how errors name the range of an index."""
        return _rows(self.options, index)

    def _make(self, index: int, steps: list[Step]) -> RangeDone:
        work, root = _work(self.options), root_of(self.options)
        clock, counting = StepClock("write"), Counting(self.options.rule)
        rejected: list[Draft] = []

        def counted() -> Iterator[Draft]:
            drafts = ranges.read_range(ranges.range_path(self.options, index), self.options)
            unchanged = Unchanged(Signatures.load(signatures_path(self.options, index)))
            for draft in chained([*steps[:2], unchanged, *steps[2:]], drafts, clock):
                counting.add(draft)
                if draft.reason:
                    # As the input names it: where the input lies on this machine is nobody's business.
                    detail = draft.detail.replace(f"{root}/", "")
                    rejected.append(replace(draft, image_path=relative(draft.image_path, root), detail=detail))
                else:
                    yield draft

        name = shards.shard_name(index, self.n_shards)
        written = shards.write_shard(Path(self.options.out) / "data" / name, counted(), partials=work / "partial")
        shards.write_rejected(rejected_path(self.options, index), rejected, partials=work / "partial")
        summary = ShardSummary.of(
            counting,
            index=index,
            name=name,
            sha256=written.sha256,
            seconds=clock.seconds(),
            peak_memory_bytes=peak_memory_bytes(),
        )
        assert summary.n_kept == written.n
        _finish(summary_path(self.options, index), work, summary.to_json())
        return RangeDone(index, summary.n_read, summary.n_kept, summary.peak_memory_bytes)


def _rows(options: TweetsOptions, index: int) -> str:
    first = index * options.rows_per_shard
    return f"rows {first} to {first + options.rows_per_shard - 1} of the input (the first is row 0)"


def _warm(steps: list[Step]) -> None:
    """Have the steps load what they load for their first row: no row's time, and no reason to stop half way."""
    shards.pyarrow_parquet()
    flowing: Iterable[Draft] = [Draft(0, "", text="Hello, world")]
    for step in steps:
        flowing = step(flowing)
    for _ in flowing:
        pass


def _work(options: TweetsOptions) -> Path:
    work = Path(options.out) / WORK
    if not work.is_dir():
        raise ManifestError(
            f"{socket.gethostname()} sees no folder {work}. Mend: every node of the cluster needs --out, --tweets and "
            "the pictures under the same paths, on a shared disk."
        )
    return work


def _finish(path: Path, work: Path, text: str) -> None:
    write_whole(path, lambda stream: stream.write(text.encode()), partials=work / "partial")


def _plain(seconds: Mapping[str, Seconds]) -> dict[str, tuple[float, float]]:
    return {step: (spent.wall_s, spent.cpu_s) for step, spent in seconds.items()}


def signatures_path(options: TweetsOptions, index: int) -> Path:
    """Return where the signatures of a range are."""
    return Path(options.out) / WORK / "surveyed" / f"{index:05d}.npy"


def look_path(options: TweetsOptions, index: int) -> Path:
    """Return the file that says that a range was looked over, and how long each step took."""
    return Path(options.out) / WORK / "surveyed" / f"{index:05d}.json"


def found_path(options: TweetsOptions) -> Path:
    """Return where the duplicates are that were found across all ranges."""
    return Path(options.out) / WORK / "duplicates.npy"


def rejected_path(options: TweetsOptions, index: int) -> Path:
    """Return where the rejected rows of a range are."""
    return Path(options.out) / WORK / "rejected" / f"{index:05d}.parquet"


def summary_path(options: TweetsOptions, index: int) -> Path:
    """Return the file that says that a range's shard is finished, and what is in it."""
    return Path(options.out) / WORK / "made" / f"{index:05d}.json"
