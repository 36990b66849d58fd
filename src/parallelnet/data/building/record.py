"""`dataset.json`: what a built data set is, and that it is complete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

DATASET_JSON = "dataset.json"
"""Written last: where it is, the build is complete."""

MADE_BY = "parallelnet build tweets"

WORK = ".build"
"""Folder, below the data set, of what is needed until the build is complete."""

Counts = Mapping[str, int]


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
