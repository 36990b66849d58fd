"""How much memory `predict` takes of a long recording: of 60 minutes no more than of 6.

    .venv/bin/python benchmarks/memory.py

Writes `benchmarks/results/memory.json`: the peak of a fresh process each (most of it is ONNX Runtime's, for 32 windows
at once), and its seconds. The recordings are the examples' voices one after another; they lie in a temporary folder,
which needs 500 MB of room.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import soundfile

from parallelnet import audio

ROOT = Path(__file__).resolve().parents[1]
MINUTES = (6, 60)


def record(path: Path, minutes: int) -> None:
    """Write a recording of so many minutes, 16-bit wav at 16 kHz."""
    voices = [audio.read(voice) for voice in sorted((ROOT / "examples").glob("*.flac"))]
    left = minutes * 60 * audio.SAMPLE_RATE_HZ
    with soundfile.SoundFile(path, "w", audio.SAMPLE_RATE_HZ, 1) as file:
        while left:
            for voice in voices:
                file.write(voice[:left])
                left -= min(left, len(voice))


def peak(path: Path) -> dict[str, float]:
    """Return the peak memory in MB (10^6 bytes) of one `predict` in a fresh process, and its wall seconds."""
    command = [sys.executable, "-m", "parallelnet", "predict", "--speech", str(path), "--json", "--threads", "1"]
    command += ["--max-duration-s", "4000"]
    start = time.perf_counter()
    with Path(os.devnull).open("wb") as nowhere:
        actions = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)]
        child = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(child, 0)  # of this child alone
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}.")
    n_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"peak_mb": round(n_bytes / 1e6, 1), "seconds": round(seconds, 2)}


def main() -> None:
    """Measure and write."""
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in MINUTES:
            path = Path(folder) / f"{minutes}.wav"
            record(path, minutes)
            runs[str(minutes)] = peak(path)
    short, long = (runs[str(minutes)]["peak_mb"] for minutes in MINUTES)
    found = {
        "what": "peak memory and wall seconds of `predict --speech` in a fresh process, by minutes of speech",
        "by_minutes": runs,
        "ratio": round(long / short, 3),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load_1_min": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("parallelnet", "numpy", "onnxruntime", "soundfile")},
    }
    target = ROOT / "benchmarks" / "results" / "memory.json"
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
