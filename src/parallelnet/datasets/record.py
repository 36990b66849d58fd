"""`dataset.json`: what a built data set is, and that it is complete."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from ..errors import ManifestError
from . import shards

DATASET_JSON = "dataset.json"
"""Written last: where it is, the build is complete."""

MADE_BY = "parallelnet build tweets"

WORK = ".build"
"""Folder, below the data set, of what is needed until the build is complete."""

Counts = Mapping[str, int]

_SHARD = re.compile(r"train-\d{5,9}-of-\d{5,9}\.parquet", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KINDS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float)}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a built data set is: the content of `dataset.json`, the same for every build from the same input.

    Attributes:
        made_by: name of the command, by which its folders are known.
        n_read: rows of the input.
        n_kept: rows in the shards.
        n_rejected: rows in rejected.parquet; `n_read = n_kept + n_rejected`.
        rejected: {reason: n}, in the order of the steps.
        class_counts: {class: n}, of emotions or, with `labels` sentiment, of sentiments.
        sentiment_counts: {the source's sentiment: n}; "" where it has none.
        label_source_counts: {`speech`, `image` or `source`: n}.
        teacher_agreement: part of the rows judged by both teachers for which both find the same class most probable.
        n_taught: rows judged by both.
        threshold: smallest deciding probability that was kept.
        rule: `max` or `agree`.
        labels: `emotion` or `sentiment`.
        threshold_curve: (threshold, rows that would be kept, {class: n}); empty without teachers.
        tts: engine, version, voices {voice: n}.
        languages: {ISO 639-1: n}.
        teachers: {`speech`, `image`: what each says of itself}; empty without teachers.
        duration_s: of all speech.
        options: of the build that decide what is in it.
        files: {option: sha256} of the files that options named.
        input: name, format, sha256.
        versions: of the programs that made it.
        shards: name, n and sha256 of each.
        rejected_sha256: of rejected.parquet.
        fingerprint: of all shards; see `shards.fingerprint`.
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the report as one JSON object, indented for people; the inverse of `from_json`."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the report that `to_json` wrote."""
        record = json.loads(text)
        known = {item.name for item in fields(cls)}
        record = {name: value for name, value in record.items() if name in known}
        record["threshold_curve"] = tuple((at, n, counts) for at, n, counts in record["threshold_curve"])
        record["shards"] = tuple(record["shards"])
        return cls(**record)

    def files_sha256(self) -> dict[str, str]:
        """Return what was built, as {path in the folder: sha256}: the shards and `rejected.parquet`."""
        listed = {f"data/{shard['name']}": str(shard["sha256"]) for shard in self.shards}
        return {**listed, "rejected.parquet": self.rejected_sha256}


def read_report(out: Path) -> BuildReport:
    """Return `dataset.json` of a built data set, whoever it comes from.

    Names in it are used as paths: they are what a build makes. The fingerprint names the cache of what is unpacked, so
    it is computed from the shards that are listed, whatever the file says.

    Raises:
        ManifestError: there is none, it is none of ours, or it contradicts itself.
    """
    source = out / DATASET_JSON
    try:
        record = json.loads(source.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("made_by") != MADE_BY:
            raise ValueError("it was not written by build tweets")
        report = BuildReport.from_json(json.dumps(record))
        _check(report)
        own = shards.fingerprint((shard["name"], shard["sha256"]) for shard in report.shards)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ManifestError(f"{source} cannot be used: {said}. Mend: copy the folder again, or build again.") from None
    if report.fingerprint != own:
        _log.warning("%s has a fingerprint that is not that of its shards; theirs is used.", source)
    return replace(report, fingerprint=own)


def _check(report: BuildReport) -> None:
    for item in fields(report):
        if item.name == "fingerprint":  # is computed anew
            continue
        value = getattr(report, item.name)
        wanted = _KINDS.get(str(item.type), dict if str(item.type).startswith(("Counts", "Mapping")) else object)
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not object):
            raise ValueError(f"its {item.name} is {str(value)[:40]!r}")
        counts = value if str(item.type) == "Counts" and isinstance(value, dict) else {}
        if not all(isinstance(n, int) for n in counts.values()):
            raise ValueError(f"its {item.name} are no counts")
    if report.labels not in ("emotion", "sentiment"):
        raise ValueError(f"its labels are {report.labels[:40]!r}")
    for shard in report.shards:
        whole = _SHARD.fullmatch(str(shard["name"])) and _SHA256.fullmatch(str(shard["sha256"]))
        if not whole or not isinstance(shard["n"], int):
            raise ValueError(f"its shard {str(shard['name'])[:80]!r} is none that a build makes")
    names = [shard["name"] for shard in report.shards]
    if len(set(names)) < len(names) or sum(shard["n"] for shard in report.shards) != report.n_kept:
        raise ValueError("its shards do not hold its rows")
