"""What a time line costs, and whether it is right: a talk of 30 minutes, joined from RAVDESS's unseen speakers.

    .venv/bin/python benchmarks/timeline.py ravdess:../shared/data/ravdess

Writes `benchmarks/results/timeline.json`: the peak memory and seconds of `parallelnet timeline` in a fresh process for
30 and for 60 minutes, and the share of windows whose emotion is that of the utterance spoken in the middle of what they
stand for. The talk goes from emotion to emotion every 15 to 45 seconds, with pauses of 3 to 6 s of faint noise. It lies
in a temporary folder, which needs 500 MB of room.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import random
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile

from parallelnet import LimitOptions, audio, load, timeline
from parallelnet.data.dataset import open_data

ROOT = Path(__file__).resolve().parents[1]
SPEAKERS = ("17", "18", "19", "20")  # nobody whom the bundled checkpoint learnt from, stopped or was calibrated on
RATE = audio.SAMPLE_RATE_HZ


def talk(path: Path, data: str, minutes: int) -> list[tuple[float, float, str]]:
    """Write a talk, 16-bit at 16 kHz, and return (start, end, emotion) of each utterance."""
    rng, noise = random.Random(0), np.random.default_rng(0)
    by_emotion: dict[str, list[str]] = {}
    for sample in open_data(data):
        if sample.speech and sample.label and Path(sample.speech).stem[-2:] in SPEAKERS:
            by_emotion.setdefault(sample.label, []).append(sample.speech)
    for files in by_emotion.values():
        rng.shuffle(files)
    taken, told, at_s, before = dict.fromkeys(by_emotion, 0), [], 0.0, ""
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        while at_s < 60 * minutes:
            emotion = before = rng.choice([name for name in by_emotion if name != before])
            for _ in range(rng.randint(4, 12)):
                voice = audio.read(by_emotion[emotion][taken[emotion] % len(by_emotion[emotion])])
                taken[emotion] += 1
                file.write(voice)
                told.append((at_s, at_s + len(voice) / RATE, emotion))
                at_s += len(voice) / RATE
            if rng.random() < 0.6:
                pause = round(rng.uniform(3, 6) * RATE)
                file.write((1e-4 * noise.standard_normal(pause)).astype("f4"))
                at_s += pause / RATE
    return told


def peak(path: Path, out: Path) -> dict[str, float]:
    """Return the peak memory in MB (10^6 bytes) of one `timeline` in a fresh process, and its seconds."""
    command = [
        sys.executable,
        "-m",
        "parallelnet",
        "timeline",
        str(path),
        "--out",
        str(out),
        "--json",
        "--threads",
        "1",
    ]
    start = time.perf_counter()
    with Path(os.devnull).open("wb") as nowhere:
        actions = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)]
        child = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(child, 0)  # of this child alone
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}.")
    return {
        "peak_mb": round(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, 1),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
    }


def right(path: Path, told: list[tuple[float, float, str]]) -> dict[str, float]:
    """Return the share of windows that name the emotion spoken, and of sets that hold it, by way of levelling."""
    model = load(limits=LimitOptions(max_duration_s=1e5))
    found = timeline.follow(model, path)
    middles = found.spans.mean(axis=1)
    truth = [next((name for start, end, name in told if start <= at < end), None) for at in middles]
    spoken = np.array([name is not None for name in truth])
    column = np.array([model.classes.index(name) if name else 0 for name in truth])

    def share(probs: np.ndarray) -> float:
        return round(float((probs.argmax(axis=1) == column)[spoken].mean()), 3)

    heard = model.hear(path)
    _, _, windows = timeline._heard(heard, model.signals.clip_s)
    together = replace(windows, loudest=max(piece.max() for _, piece in audio.pieces(windows.power, 256)))
    frames = iter(())
    whole = np.stack([said[1] for said in timeline._judged(model, found.windows, together, frames) if said])
    return {
        "windows": int(spoken.sum()),
        "each_alone": share(found.own),
        "smoothed": share(found.probs),
        "each_alone_levelled_by_the_loudest_of_all": share(whole),
        "sets_that_hold_it": round(float(found.likely[np.arange(len(column)), column][spoken].mean()), 3),
        "unsure": round(float((found.likely.sum(axis=1) > 1)[spoken].mean()), 3),
    }


def main() -> None:
    """Measure and write."""
    data = sys.argv[1] if len(sys.argv) > 1 else "ravdess:../shared/data/ravdess"
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (30, 60):
            path = Path(folder) / f"{minutes}.flac"
            told = talk(path, data, minutes)
            runs[str(minutes)] = peak(path, Path(folder) / "out")
            if minutes == 30:
                accuracy = right(path, told)
    names = ("parallelnet", "numpy", "onnxruntime", "soundfile")
    result = {
        "what": "`parallelnet timeline` of a talk joined from RAVDESS's unseen speakers, by its minutes; windows that "
        "name the emotion spoken, of 30 minutes",
        "by_minutes": runs,
        "right": accuracy,
        "smooth_s": timeline.SMOOTH_S,
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load_1_min": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
    }
    (ROOT / "benchmarks/results/timeline.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
