"""A small built data set without a build: shards as `build tweets` writes them, every number known beforehand."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from parallelnet.data import shards
from parallelnet.data.built import MADE_BY, BuildReport
from parallelnet.data.shards import Example
from parallelnet.types import EMOTIONS, SENTIMENTS

VOICES = ("en-us", "en-gb-x-rp")
RATE_HZ = 16_000


def flac(duration_s: float, pitch: int = 0) -> bytes:
    """Return a tone as FLAC."""
    file = io.BytesIO()
    wave = 0.3 * np.sin(2 * np.pi * (200 + pitch) * np.arange(round(duration_s * RATE_HZ)) / RATE_HZ)
    soundfile.write(file, wave, RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def png(seed: int) -> bytes:
    """Return a picture of 24 x 16."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def draft(
    row: int, label: str, source: str, confidence: float, *, labels: str = "emotion", **changes: object
) -> Example:
    """Return a kept row; the teacher that did not decide finds `sad` most probable, with 0.4."""
    k = EMOTIONS.index(label) if labels == "emotion" else 0
    best = [confidence if j == k else (1 - confidence) / 3 for j in range(4)]
    other = [0.4 if j == 3 else 0.2 for j in range(4)]
    emotions = labels == "emotion"
    words = ("good", "day", f"number{row}")
    facts: dict[str, object] = {
        "row": row,
        "id": f"t{row}",
        "text": f"good day! #number{row} http://t.co/x",
        "image_path": f"images/{row}.png",
        "sentiment": SENTIMENTS[row % 3] if emotions else label,
        "spoken_text": " ".join(words),
        "language": "es" if row % 5 == 4 else "en",
        "image": png(row),
        "image_dhash": row,
        "group": f"g{row}",
        "image_group": f"p{row}",
        "speech": flac(0.6 + 0.1 * (row % 3), row),
        "duration_s": 0.6 + 0.1 * (row % 3),
        "word_times": tuple((word, 0.2 * j, 0.2 * j + 0.2) for j, word in enumerate(words)),
        "tts_engine": "espeak-ng",
        "tts_version": "1.52.0",
        "tts_voice": VOICES[row % 2],
        "speech_probs": tuple(best if source == "speech" else other) if emotions else (),
        "image_probs": tuple(best if source == "image" else other) if emotions else (),
        "label": label if emotions else "",
        "label_source": source,
        "confidence": confidence,
    }
    return Example(**(facts | changes))


def kept_drafts(labels: str = "emotion") -> list[Example]:
    """Return 12 rows: 5 happy, 3 anger, 1 hate, 3 sad; or, of sentiments, 4 each."""
    if labels == "sentiment":
        return [draft(row, SENTIMENTS[row % 3], "source", 1.0, labels=labels) for row in range(12)]
    names = ["happy"] * 5 + ["anger"] * 3 + ["hate"] + ["sad"] * 3
    return [draft(row, name, "speech" if row % 2 else "image", 0.55 + 0.03 * row) for row, name in enumerate(names)]


def rejected_drafts(first_row: int) -> list[Example]:
    """Return 4 rows that fell out: two unsure, one without words, one that was marked."""
    unsure = draft(first_row, "sad", "speech", 0.45)
    return [
        unsure.reject("low-confidence", "0.45"),
        draft(first_row + 1, "sad", "image", 0.45).reject("low-confidence", "0.45"),
        Example(row=first_row + 2, id=f"t{first_row + 2}").reject("no-words"),
        draft(first_row + 3, "sad", "image", 0.9, speech_probs=(), image_probs=()).reject("excluded"),
    ]


def build(
    folder: Path, labels: str = "emotion", kept: list[Example] | None = None, *, finished: bool = True
) -> BuildReport:
    """Write a data set of two shards and return its record; without `dataset.json` unless it is finished."""
    kept = kept_drafts(labels) if kept is None else kept
    rejected = rejected_drafts(len(kept)) if labels == "emotion" else []
    (folder / "data").mkdir(parents=True, exist_ok=True)
    half = len(kept) // 2
    listed = []
    for index, part in enumerate((kept[:half], kept[half:])):
        name = shards.shard_name(index, 2)
        n_rows, sha256 = shards.write_shard(folder / "data" / name, part)
        listed.append({"name": name, "n": n_rows, "sha256": sha256})
    _, rejected_sha256 = shards.write_rejected(folder / "rejected.parquet", rejected)
    taught = [d for d in (*kept, *rejected) if d.speech_probs]
    classes = EMOTIONS if labels == "emotion" else SENTIMENTS
    counts = Counter(d.label if labels == "emotion" else d.sentiment for d in kept)
    report = BuildReport(
        made_by=MADE_BY,
        n_read=len(kept) + len(rejected),
        n_kept=len(kept),
        n_rejected=len(rejected),
        rejected=dict(Counter(d.reason for d in rejected)),
        class_counts={name: counts[name] for name in classes},
        sentiment_counts=dict(Counter(d.sentiment for d in kept)),
        label_source_counts=dict(Counter(d.label_source for d in kept)),
        teacher_agreement=0.25 if taught else None,
        n_taught=len(taught),
        threshold=0.5,
        rule="max",
        labels=labels,
        threshold_curve=tuple(_point(step / 20, taught) for step in range(20)) if taught else (),
        tts={"engine": "espeak-ng", "version": "1.52.0", "voices": dict(Counter(d.tts_voice for d in kept))},
        languages=dict(Counter(d.language for d in kept)),
        teachers={"speech": {"name": "teacher-speech"}, "image": {"name": "teacher-image"}} if taught else {},
        duration_s=sum(d.duration_s for d in kept),
        options={
            "speech_teacher": "hf:owner/name",
            "labels": labels,
            "threshold": 0.5,
            "max_pixels": 1_000_000,
            "tts_model": "/home/me/secret/voice.onnx",
        },
        files={},
        input={"name": "posts.csv", "format": "csv", "sha256": "ab" * 32},
        versions={"parallelnet": "0.1.0"},
        shards=tuple(listed),
        rejected_sha256=rejected_sha256,
        fingerprint=shards.fingerprint(listed),
    )
    if finished:
        (folder / "dataset.json").write_text(report.to_json(), encoding="utf-8")
    return report


def _point(threshold: float, taught: list[Example]) -> tuple[float, int, dict[str, int]]:
    counts = Counter()
    for each in taught:
        surer = max(each.speech_probs, each.image_probs, key=max)
        if max(surer) >= threshold:
            counts[EMOTIONS[surer.index(max(surer))]] += 1
    return threshold, sum(counts.values()), {name: counts[name] for name in EMOTIONS}
