"""What is counted while a data set is built: of one shard, and of all together."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ..types import EMOTIONS, SENTIMENTS
from .clock import Seconds
from .decision import decide
from .draft import REASONS, Draft
from .record import Counts

THRESHOLDS: tuple[float, ...] = tuple(step / 20 for step in range(20))
"""At which `threshold_curve` says what would be kept: 0, 0.05, ... 0.95."""


@dataclass(slots=True)
class Counting:
    """Counts that grow draft by draft.

    Attributes:
        rule: that the teachers' probabilities are decided by, for the threshold curve.
        n_read: drafts.
        rejected: by reason.
        labels: of kept drafts.
        sentiments: of kept drafts, the source's own; "" where it has none.
        sources: who decided the label.
        voices: that spoke.
        languages: of the spoken texts; "" where it is not clear.
        durations_s: of the utterances.
        n_taught: drafts that both teachers judged, whether kept or not.
        n_agreed: those for which both find the same class most probable.
        curve: (threshold, class) to drafts that would be kept.
    """

    rule: str
    n_read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    sentiments: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    voices: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    durations_s: list[float] = field(default_factory=list)
    n_taught: int = 0
    n_agreed: int = 0
    curve: Counter[tuple[float, str]] = field(default_factory=Counter)

    def add(self, draft: Draft) -> None:
        """Count one more draft."""
        self.n_read += 1
        if draft.speech_probs and draft.image_probs:
            self._add_taught(draft)
        if draft.reason:
            self.rejected[draft.reason] += 1
            return
        self.labels[draft.label] += 1
        self.sentiments[draft.sentiment] += 1
        self.sources[draft.label_source] += 1
        self.voices[draft.tts_voice] += 1
        self.languages[draft.language] += 1
        self.durations_s.append(draft.duration_s)

    def _add_taught(self, draft: Draft) -> None:
        self.n_taught += 1
        self.n_agreed += _first_largest(draft.speech_probs) == _first_largest(draft.image_probs)
        for threshold in THRESHOLDS:
            decision = decide(draft.speech_probs, draft.image_probs, threshold=threshold, rule=self.rule)
            if not decision.reason:
                self.curve[threshold, decision.label] += 1


def _first_largest(probs: Sequence[float]) -> int:
    return max(range(len(probs)), key=probs.__getitem__)


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """What one range of the input became; its file, written last, says that the range is finished.

    Attributes:
        index: of the range.
        name: of the shard.
        sha256: of the shard's bytes.
        n_read: rows of the range.
        n_kept: rows of the shard.
        rejected: {reason: n}.
        label_counts: {label: n} of kept rows.
        sentiment_counts: {sentiment: n} of kept rows.
        label_source_counts: {who decided: n}.
        voices: {voice: n}.
        languages: {language: n}.
        duration_s: of all speech in the shard.
        n_taught: rows that both teachers judged.
        n_agreed: those for which both find the same class most probable.
        curve: (threshold, class, n) that would be kept.
        seconds: what each step took in this range, {step: (wall s, CPU s)}. No part of the data set.
        peak_memory_bytes: of the process that made it. No part of the data set.
    """

    index: int
    name: str
    sha256: str
    n_read: int
    n_kept: int
    rejected: Counts
    label_counts: Counts
    sentiment_counts: Counts
    label_source_counts: Counts
    voices: Counts
    languages: Counts
    duration_s: float
    n_taught: int
    n_agreed: int
    curve: tuple[tuple[float, str, int], ...]
    seconds: Mapping[str, tuple[float, float]]
    peak_memory_bytes: int

    @classmethod
    def of(
        cls,
        counting: Counting,
        *,
        index: int,
        name: str,
        sha256: str,
        seconds: Mapping[str, Seconds],
        peak_memory_bytes: int,
    ) -> Self:
        """Return the summary of what was counted."""
        return cls(
            index=index,
            name=name,
            sha256=sha256,
            n_read=counting.n_read,
            n_kept=counting.n_read - sum(counting.rejected.values()),
            rejected=dict(sorted(counting.rejected.items())),
            label_counts=dict(sorted(counting.labels.items())),
            sentiment_counts=dict(sorted(counting.sentiments.items())),
            label_source_counts=dict(sorted(counting.sources.items())),
            voices=dict(sorted(counting.voices.items())),
            languages=dict(sorted(counting.languages.items())),
            duration_s=math.fsum(counting.durations_s),
            n_taught=counting.n_taught,
            n_agreed=counting.n_agreed,
            curve=tuple((threshold, label, n) for (threshold, label), n in sorted(counting.curve.items())),
            seconds={step: (spent.wall_s, spent.cpu_s) for step, spent in seconds.items()},
            peak_memory_bytes=peak_memory_bytes,
        )

    def to_json(self) -> str:
        """Return the summary as one JSON object; the inverse of `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the summary that `to_json` wrote."""
        record = json.loads(text)
        record["curve"] = tuple((threshold, label, n) for threshold, label, n in record["curve"])
        record["seconds"] = {step: (wall_s, cpu_s) for step, (wall_s, cpu_s) in record["seconds"].items()}
        return cls(**record)


def total(summaries: Iterable[ShardSummary], labels: str) -> dict[str, Any]:
    """Return the counts of `BuildReport` over all shards.

    Args:
        summaries: in the order of the shards.
        labels: `emotion` or `sentiment`: what a class is.
    """
    names = ("rejected", "label_counts", "sentiment_counts", "label_source_counts", "voices", "languages")
    counters: dict[str, Counter[str]] = {name: Counter() for name in names}
    curve: Counter[tuple[float, str]] = Counter()
    numbers = Counter[str]()
    durations_s: list[float] = []
    for summary in summaries:
        for name, counter in counters.items():
            counter.update(getattr(summary, name))
        numbers.update({name: getattr(summary, name) for name in ("n_read", "n_kept", "n_taught", "n_agreed")})
        curve.update({(threshold, label): n for threshold, label, n in summary.curve})
        durations_s.append(summary.duration_s)
    classes, counted = (
        (EMOTIONS, counters["label_counts"]) if labels == "emotion" else (SENTIMENTS, counters["sentiment_counts"])
    )
    return {
        "n_read": numbers["n_read"],
        "n_kept": numbers["n_kept"],
        "n_rejected": numbers["n_read"] - numbers["n_kept"],
        "rejected": {reason: counters["rejected"][reason] for reason in REASONS if counters["rejected"][reason]},
        "class_counts": {name: counted[name] for name in classes},
        "sentiment_counts": dict(sorted(counters["sentiment_counts"].items())),
        "label_source_counts": dict(sorted(counters["label_source_counts"].items())),
        "teacher_agreement": numbers["n_agreed"] / numbers["n_taught"] if numbers["n_taught"] else None,
        "n_taught": numbers["n_taught"],
        "threshold_curve": _curve(curve) if numbers["n_taught"] else (),
        "languages": dict(sorted(counters["languages"].items())),
        "duration_s": math.fsum(durations_s),
        "voices": dict(sorted(counters["voices"].items())),
    }


def _curve(curve: Counter[tuple[float, str]]) -> tuple[tuple[float, int, Counts], ...]:
    points = []
    for threshold in THRESHOLDS:
        counts = {label: curve[threshold, label] for label in EMOTIONS}
        points.append((threshold, sum(counts.values()), counts))
    return tuple(points)
