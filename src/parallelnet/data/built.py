"""A data set that `build tweets` made: its `dataset.json`, and its rows as samples.

Sounds and pictures are unpacked once, so that everything that takes files takes it.
"""

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePath
from typing import Any, Self

from ..errors import ManifestError, refuse
from ..types import EMOTIONS, SENTIMENTS, Sample
from .image_corpora import IMAGE_SUFFIXES, cache_root
from .shards import Example, file_sha256, fingerprint, read_shard

DATASET_JSON = "dataset.json"  # written last: where it is, the build is complete
MADE_BY = "parallelnet build tweets"
WORK = ".build"  # folder, below the data set, of what is needed until the build is complete

Counts = Mapping[str, int]

_SHARD = re.compile(r"train-\d{5,9}-of-\d{5,9}\.parquet", re.ASCII)
_KINDS: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "Counts": dict, "Mapping": dict}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a built data set is: the content of `dataset.json`, the same for every build from the same input.

    Attributes:
        made_by: name of the command, by which its folders are known.
        n_read: rows of the input: `n_kept` in the shards and `n_rejected` in rejected.parquet.
        rejected: {reason: n}, in the order of the steps.
        class_counts: {class: n}, of emotions or, with `labels` sentiment, of sentiments.
        sentiment_counts: {the source's sentiment: n}; "" where it has none.
        label_source_counts: {`speech`, `image` or `source`: n}.
        teacher_agreement: part of the `n_taught` rows judged by both teachers that both name alike.
        threshold: smallest deciding probability that was kept.
        threshold_curve: (threshold, rows that would be kept, {class: n}); empty without teachers.
        tts: engine, version, voices {voice: n}.
        teachers: {`speech`, `image`: what each says of itself}; empty without teachers.
        duration_s: of all speech.
        options: of the build that decide what is in it; `files` {option: sha256} of the files that they named.
        input: name, format, sha256.
        versions: of the programs that made it.
        shards: name, n and sha256 of each; `fingerprint` is of all of them.
    """

    made_by: str
    n_read: int
    n_kept: int
    n_rejected: int
    rejected: Counts
    class_counts: Counts
    sentiment_counts: Counts
    label_source_counts: Counts
    teacher_agreement: float | None
    n_taught: int
    threshold: float
    rule: str
    labels: str
    threshold_curve: tuple[tuple[float, int, Counts], ...]
    tts: Mapping[str, Any]
    languages: Counts
    teachers: Mapping[str, Any]
    duration_s: float
    options: Mapping[str, Any]
    files: Mapping[str, str]
    input: Mapping[str, Any]
    versions: Mapping[str, str]
    shards: tuple[Mapping[str, Any], ...]
    rejected_sha256: str
    fingerprint: str

    def to_json(self) -> str:
        """Return the report as one JSON object, indented for people."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the report that `to_json` wrote."""
        record = json.loads(text)
        told = "it was not written by build tweets"
        refuse(ValueError, [(not isinstance(record, dict) or record.get("made_by") != MADE_BY, told)])
        record = {item.name: record[item.name] for item in fields(cls)}
        record["threshold_curve"] = tuple((at, n, counts) for at, n, counts in record["threshold_curve"])
        record["shards"] = tuple(record["shards"])
        return cls(**record)

    @property
    def name(self) -> str:
        """Name of the input without its ending."""
        name = str(self.input.get("name", ""))
        return PurePath(name).stem or name or "tweets"

    @property
    def classes(self) -> tuple[str, ...]:
        """In index order."""
        return EMOTIONS if self.labels == "emotion" else SENTIMENTS

    @property
    def class_field(self) -> str:
        """Field of a row that holds its class."""
        return "label" if self.labels == "emotion" else "sentiment"

    def paths(self, folder: Path) -> list[Path]:
        """Return the shards of the data set in a folder, in order."""
        return [folder / "data" / str(shard["name"]) for shard in self.shards]

    def damaged(self, folder: Path) -> Iterator[str]:
        """Yield which files in a folder, shards first, are missing or not what was built: all of each is read.

        Raises:
            ManifestError: one is there and cannot be read.
        """
        listed = {f"data/{shard['name']}": shard["sha256"] for shard in self.shards}
        for name, sha256 in {**listed, "rejected.parquet": self.rejected_sha256}.items():
            if not (folder / name).is_file() or file_sha256(folder / name) != sha256:
                yield name


def read_report(folder: Path) -> BuildReport:
    """Return `dataset.json` of a built data set, whoever it comes from.

    Names in it are used as paths: they are what a build makes. The fingerprint names the cache of what is unpacked, so
    it is computed from the shards that are listed, whatever the file says.

    Raises:
        ManifestError: no folder, no build, one that did not finish, or a record that contradicts itself.
    """
    source, needed = folder / DATASET_JSON, "Needed: the folder that `build tweets --out` made."
    begun = (folder / WORK).is_dir() or (folder / "data").is_dir()
    told = f"The build in {folder} did not finish: {DATASET_JSON}, which is written last, is missing."
    mend = "Mend: start the same `build tweets` again; it goes on where it stopped."
    problems = [
        (not folder.exists(), f"{folder} does not exist. {needed}"),
        (not folder.is_dir(), f"{folder} is a file. {needed}"),
        (begun and not source.is_file(), f"{told} {mend}"),
        (not source.is_file(), f"{folder} is no built data set: it has no {DATASET_JSON}. {needed}"),
    ]
    refuse(ManifestError, problems)
    try:
        report = BuildReport.from_json(source.read_text(encoding="utf-8"))
        _check(report)
        own = fingerprint(report.shards)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ManifestError(f"{source} cannot be used: {said}. Mend: copy the folder again, or build again.") from None
    if report.fingerprint != own:
        _log.warning("%s has a fingerprint that is not that of its shards; theirs is used.", source)
    return replace(report, fingerprint=own)


def _check(report: BuildReport) -> None:
    for item in fields(report):
        value, kind = getattr(report, item.name), str(item.type)
        wanted = _KINDS.get(kind.partition("[")[0], object)
        strange = item.name != "fingerprint" and not isinstance(value, wanted)  # that is computed anew
        refuse(ValueError, [(strange, f"its {item.name} is {str(value)[:40]!r}")])
        no_counts = kind == "Counts" and not all(isinstance(n, int) for n in value.values())
        refuse(ValueError, [(no_counts, f"its {item.name} are no counts")])
    refuse(ValueError, [(report.labels not in ("emotion", "sentiment"), f"its labels are {report.labels[:40]!r}")])
    names, n_rows = [str(shard["name"]) for shard in report.shards], 0
    for name, shard in zip(names, report.shards, strict=True):
        whole = _SHARD.fullmatch(name) and re.fullmatch(r"[0-9a-f]{64}", str(shard["sha256"]))
        strange = not (whole and isinstance(shard["n"], int))
        refuse(ValueError, [(strange, f"its shard {name[:80]!r} is none that a build makes")])
        n_rows += shard["n"]
    refuse(ValueError, [(n_rows != report.n_kept or len(set(names)) < len(names), "its shards do not hold its rows")])


def refuse_damaged(folder: Path, names: Iterable[str]) -> None:
    """Raise `ManifestError` for the first of the files of a data set that are missing or not what was built."""
    mend = "Mend: copy it again, or start the same `parallelnet build tweets` again, which builds the data set anew."
    for name in names:
        is_there = (folder / name).is_file()
        told = f"{folder / name} is not what was built" if is_there else f"{folder} lacks its file {name}"
        raise ManifestError(f"{told}. {mend}")


def is_built(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder that `build tweets` made, complete or not."""
    return Path(path, DATASET_JSON).is_file() or Path(path, WORK).is_dir()


def read_built(path: str | os.PathLike[str]) -> tuple[Sample, ...]:
    """Return the samples of a built data set, in the order of the input.

    `text` is the spoken text, to which `word_times` belong; the tweet itself is `extra["tweet"]`. The files lie below
    `cache_root()/built/FINGERPRINT`, where they are put when the data set is opened for the first time.

    Raises:
        ManifestError: the build is not complete or kept no row, a shard is missing or not the one that was built, or
            the files cannot be unpacked.
    """
    source = Path(path)
    report = read_report(source)
    told, mend = (
        f"all {report.n_read:,} of its input fell out.",
        "put right what rejected.parquet says, and build it again",
    )
    refuse(ManifestError, [(not report.n_kept, f"The data set in {path} has no rows: {told} Mend: {mend}.")])
    # Each time: ids and labels are read from the shards also where sounds and pictures are unpacked already, and the
    # fingerprint, which names the cache, is that of these hashes: no other set can have put its files there.
    refuse_damaged(source, (name for name in report.damaged(source) if name != "rejected.parquet"))
    folder = cache_root() / "built" / report.fingerprint
    if not folder.is_dir():
        try:
            _unpack(source, report, folder)
        except OSError as error:
            raise ManifestError(
                f"The files of {path} cannot be unpacked into {folder}: {error.strerror}. Mend: make room there, or "
                "set XDG_CACHE_HOME to a folder that has some."
            ) from None
    return tuple(
        _sample(example, folder / shard.stem)
        for shard in report.paths(source)
        for example in read_shard(shard, with_bytes=False)
    )


def _sample(example: Example, folder: Path) -> Sample:
    speech, image = map(str, _files(example, folder))
    told = ("language", "label_source", "tts_engine", "tts_version", "tts_voice")
    probs = ("speech_probs", "image_probs") if example.speech_probs and example.image_probs else ()
    return Sample(
        speech=speech,
        image=image,
        text=example.spoken_text,
        **{name: getattr(example, name) for name in ("id", "label", "sentiment", "group", "image_group", "word_times")},
        extra={
            "tweet": example.text,
            **{name: getattr(example, name) for name in told},
            "confidence": repr(example.confidence),
            "image_dhash": f"{example.image_dhash:016x}",
            **{name: json.dumps(getattr(example, name)) for name in probs},
        },
    )


def _files(example: Example, folder: Path) -> tuple[Path, Path]:
    """Return where speech and picture of a row are unpacked, with names that only we choose."""
    suffix = PurePath(example.image_path).suffix.lower()
    place = folder / f"{example.row:08d}"
    return place.with_suffix(".flac"), place.with_suffix(suffix if suffix in IMAGE_SUFFIXES else ".image")


def _unpack(source: Path, report: BuildReport, folder: Path) -> None:
    """Write all sounds and pictures, and only then call the folder what it is called."""
    _log.info("%s: %d sounds and pictures are unpacked into %s, once.", source, report.n_kept, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=folder.parent))
    try:
        for shard in report.paths(source):
            (partial / shard.stem).mkdir()
            for example in read_shard(shard):
                speech, image = _files(example, partial / shard.stem)
                speech.write_bytes(example.speech)
                image.write_bytes(example.image)
        try:
            partial.replace(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same files
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
