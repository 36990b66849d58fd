"""How long a cold process takes: `--help` and one `predict`, beside an empty Python.

    .venv/bin/python benchmarks/startup.py

Writes `benchmarks/results/startup.json`. Each figure is the median of several fresh processes, run in turn, so that a
noisy machine slows all of them alike; compare the differences.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7
PREDICT = ["-m", "parallelnet", "predict", "--speech", "examples/happy.flac", "--image", "examples/astronaut.jpg"]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "parallelnet --help": ["-m", "parallelnet", "--help"],
    "parallelnet predict, face found and cut out": [*PREDICT, "--json"],
    "parallelnet predict --face off": [*PREDICT, "--face", "off", "--json"],
    "parallelnet predict, speech alone": [*PREDICT[:5], "--json"],
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one fresh process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure and write."""
    for command in COMMANDS.values():
        seconds(command)  # fill the file cache
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(ROUNDS)]
    found = {
        "what": "wall seconds of a cold process, median of rounds",
        "rounds": ROUNDS,
        "seconds": {name: round(statistics.median(r[name] for r in rounds), 3) for name in COMMANDS},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load_1_min": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("parallelnet", "numpy", "onnxruntime")},
    }
    target = ROOT / "benchmarks" / "results" / "startup.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found["seconds"], indent=2))


if __name__ == "__main__":
    main()
