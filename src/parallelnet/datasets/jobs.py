"""What is done with each range of the input, in whatever process: cut out, looked over, later made into a shard.

Looking over and making are jobs of `executors`: small, hashable, opened once in each process. Their tasks are indices
of ranges. Every outcome is files below the work folder, the last of which says that the range is finished.
"""

import importlib.util
import json
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ..data import built, tables
from ..data.shards import Example, shard_name, write_shard
from ..errors import ManifestError, MissingExtraError, ParallelNetError, refuse
from ..options import TweetsOptions
from ..records import write_json, write_text
from ..synthesis import synthesis, tts
from ..types import Modality
from . import duplicates, recipe, steps, tweets
from .counts import Counts
from .teachers import Teacher, decided, open_teacher, own_label, taught


def work_file(options: TweetsOptions, name: str, index: int | None = None) -> Path:
    """Return a file below the work folder.

    Args:
        options: of the build.
        name: of the file; of that of a range: its folder, and what it ends in.
        index: of the range: `rows/.jsonl` as cut; `surveyed/.jsonl` looked over, `surveyed/.npy` its signatures,
            `surveyed/.json` says that they are there; `made/.json` says that its shard is, and which rows it lacks.
    """
    path = Path(options.out) / built.WORK / name
    return path if index is None else path.with_name(f"{index:05d}{path.name}")


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held, in bytes; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    # Not ru_maxrss, which a process on Linux inherits from the one that started it.
    told = re.search(r"VmHWM:\s*(\d+) kB", status.read_text("ascii", "replace") if status.exists() else "")
    return int(told[1]) * 1024 if told else 0


# --- the input, cut once into ranges ----------------------------------------------------------------------------------


def read_input(options: TweetsOptions) -> Iterator[Example]:
    """Return the rows of the input that are to be read, numbered from 0; see `read_tweets`."""
    images = Path(options.images) if options.images else None
    rows = tweets.read_tweets(Path(options.tweets), options.format, images=images, labels=options.labels)
    return islice(rows, options.limit or None)


def split(options: TweetsOptions) -> int:
    """Cut the input, once, into files of `rows_per_shard` rows, and return how many rows it has.

    `rows.json`, written last, says that it is done. Raises what `read_tweets` does.
    """
    finished = work_file(options, "rows.json")
    if finished.is_file():
        return int(json.loads(finished.read_text(encoding="ascii"))["n_rows"])
    rows, n_rows = read_input(options), 0
    while part := list(islice(rows, options.rows_per_shard)):
        write_range(options, work_file(options, "rows/.jsonl", n_rows // options.rows_per_shard), part)
        n_rows += len(part)
    write_json(finished, {"n_rows": n_rows})
    return n_rows


def stored(row: Example, root: Path) -> dict[str, Any]:
    """Return what is known of a row, but for sound and picture, for JSON; its path is relative to the input."""
    row = replace(row, speech=b"", image=b"", image_path=recipe.relative(row.image_path, root))
    values = {item.name: value for item in fields(row) if (value := getattr(row, item.name)) != item.default}
    return {name: tables.storable(value) if isinstance(value, str) else value for name, value in values.items()}


def write_range(options: TweetsOptions, path: Path, rows: Iterable[Example]) -> None:
    """Write rows, a line each, for `read_range`."""
    root = recipe.root_of(options)
    write_text(path, "".join(f"{json.dumps(stored(row, root))}\n" for row in rows))


def read_range(options: TweetsOptions, path: Path) -> Iterator[Example]:
    """Yield the rows that `write_range` wrote, ready for the next step.

    Raises:
        ManifestError: this machine does not see the work folder.
    """
    root = recipe.root_of(options)
    told = f"{socket.gethostname()} sees no folder {work_file(options, '')}. Mend: every node of the cluster needs"
    needed = "--out, --tweets and the pictures under the same paths, on a shared disk."
    refuse(ManifestError, [(not path.parent.is_dir(), f"{told} {needed}")])
    with path.open(encoding="ascii") as stream:
        for line in stream:
            values = json.loads(line)
            if "image_path" in values and "reason" not in values:
                values["image_path"] = str(root / values["image_path"])
            yield Example(**values)


# --- what is opened once in a process ---------------------------------------------------------------------------------


def looking_steps(options: TweetsOptions) -> dict[str, steps.Step]:
    """Return the steps that need neither engine nor teachers: what duplicates are known by.

    Raises:
        MissingExtraError: the packages that mend texts, know emoji and languages are not installed.
    """
    if not all(importlib.util.find_spec(package) for package in ("ftfy", "emoji", "py3langid")):
        raise MissingExtraError("Cleaning texts for speech", "tts")
    folder = os.path.realpath(recipe.root_of(options))  # it may be a link itself
    return {
        "clean-text": partial(steps.clean_text, emoji=options.emoji, max_characters=options.max_characters),
        "check-picture": partial(steps.check_picture, max_pixels=options.max_pixels, folder=folder),
    }


def open_speaker(options: TweetsOptions) -> tts.Engine:
    """Return the engine that speaks; raises what `open_engine` does, or `OptionError` for a voice that it lacks."""
    engine = tts.open_engine(options.tts, model=options.tts_model, rate=options.rate, pitch=options.pitch)
    engine.check_voices(options.voices)
    return engine


def open_teachers(options: TweetsOptions) -> dict[Modality, Teacher]:
    """Return the teachers, speech first; none for the source's own labels. Raises what `open_teacher` does."""
    specs: dict[Modality, str] = {"speech": options.speech_teacher, "image": options.image_teacher}
    shared: dict[str, Any] = {name: getattr(options, name) for name in ("label_map", "renormalise", "max_pixels")}
    asked = specs if options.labels == "emotion" else {}
    return {modality: open_teacher(spec, modality, **shared) for modality, spec in asked.items()}


def making_steps(options: TweetsOptions) -> dict[str, steps.Step]:
    """Return the steps from a row that is no duplicate to a labelled sample."""
    teachers = open_teachers(options)
    marked: dict[str, steps.Step] = {}
    if options.exclude:
        marked = {"exclude": partial(steps.exclude, ids=steps.read_excluded(options.exclude))}
    decide = {"decide": partial(decided, threshold=options.threshold, rule=options.rule)}
    return {
        **marked,
        "speak": partial(steps.speak, engine=open_speaker(options), voices=options.voices, seed=options.seed),
        "check-sound": steps.check_sound,
        **{f"teach-{modality}": partial(taught, teacher=teacher) for modality, teacher in teachers.items()},
        **(decide if teachers else {"own-label": own_label}),
    }


# --- the two jobs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LookOver:
    """Job: the signatures of a range, by which duplicates are found across all ranges."""

    options: TweetsOptions

    def called(self, index: int) -> str:
        """Return how errors name the range of an index."""
        first = index * self.options.rows_per_shard
        return f"rows {first} to {first + self.options.rows_per_shard - 1} of the input (the first is row 0)"

    def open(self) -> Callable[[int], dict[str, Any]]:
        """Return the function that looks over the range of an index."""
        options, looking = self.options, looking_steps(self.options)

        def look(index: int) -> dict[str, Any]:
            clock, rows, signatures = steps.Clock(), [], []
            for row in read_range(options, work_file(options, "rows/.jsonl", index)):
                clock.lap("read")
                looked = steps.advanced(row, looking, clock)
                signatures.append(duplicates.signature(looked))
                rows.append(replace(looked, image=b""))
                clock.lap("sign")
            write_range(options, work_file(options, "surveyed/.jsonl", index), rows)
            duplicates.save(work_file(options, "surveyed/.npy", index), np.array(signatures, duplicates.SIGNATURE))
            clock.lap("sign")
            return _finished(work_file(options, "surveyed/.json", index), clock)

        return look


@dataclass(frozen=True)
class MakeShard(LookOver):
    """Job: the shard of a range, and the record of it and of its rejected rows."""

    n_shards: int

    def open(self) -> Callable[[int], dict[str, Any]]:
        """Open the engine and the teachers, and return the function that makes the shard of an index."""
        options, making, root = self.options, making_steps(self.options), recipe.root_of(self.options)
        folder = os.path.realpath(root)
        found = np.load(work_file(options, "duplicates.npy"), mmap_mode="r", allow_pickle=False)

        def made(index: int, clock: steps.Clock, counts: Counts, rejected: list[dict[str, Any]]) -> Iterator[Example]:
            """Yield the rows that are kept, and put the others aside."""
            signatures = np.load(work_file(options, "surveyed/.npy", index), allow_pickle=False)
            rows = read_range(options, work_file(options, "surveyed/.jsonl", index))
            for row, known in zip(rows, signatures, strict=True):
                clock.lap("read")
                seen = row if row.reason else _with_picture(row, known["picture_key"], folder)
                clock.lap("check-picture")
                settled = duplicates.settled(seen, found)
                clock.lap("duplicates")
                done = steps.advanced(settled, making, clock)
                counts.add(done)
                if not done.reason:
                    yield done
                else:  # as the input names it: where that lies on this machine is nobody's business
                    rejected.append(stored(replace(done, detail=done.detail.replace(f"{root}/", "")), root))
                clock.lap("write")

        def make(index: int) -> dict[str, Any]:
            clock, counts, rejected = steps.Clock(), Counts(), list[dict[str, Any]]()
            name = shard_name(index, self.n_shards)
            try:
                n, sha256 = write_shard(Path(options.out) / "data" / name, made(index, clock, counts, rejected))
            except synthesis.SynthesisError as error:
                raise ParallelNetError(f"{error} What was finished is kept. Mend: start the same line again.") from None
            clock.lap("write")
            shard = {"name": name, "n": n, "sha256": sha256}
            record = {"shard": shard, "counts": counts.to_record(), "rejected": rejected}
            return _finished(work_file(options, "made/.json", index), clock, **record)

        return make


def _finished(target: Path, clock: steps.Clock, **record: Any) -> dict[str, Any]:
    """Write down that a range is finished, and return what was written."""
    done = {**record, "seconds": clock.spent, "peak_memory_bytes": peak_memory_bytes()}
    write_json(target, done)
    return done


def _with_picture(row: Example, key: int, folder: str) -> Example:
    """Return a row with its picture, which must be the one by which duplicates were looked for.

    A build may go on weeks after it was stopped. The same bytes need not be decoded again.

    Raises:
        ManifestError: the picture has changed or gone since.
    """
    try:
        content = steps.picture_bytes(row.image_path, folder)
    except steps.UnfitError:
        content = b""
    told = f"The picture of row {row.row} ({PurePath(row.image_path).name!r}) is not what it was when this build looked"
    mend = "Mend: put the picture of then back, or build anew into another --out."
    changed = duplicates.head_of_hash(content) != key
    refuse(ManifestError, [(changed, f"{told} for duplicates. What was finished is kept. {mend}")])
    return replace(row, image=content)
