"""How fast `build tweets` is: with one and two workers, beside a plain loop over the same steps in one thread.

    .venv/bin/python benchmarks/build_tweets.py TWEETS.csv [--limit 512] [--workers 2]

Needs a quiet machine. Writes `benchmarks/results/build_tweets.json`: tweets a second of each, the seconds a tweet that
each step takes by itself, and two ratios:

- `of_ideal`: tweets a second with N workers / (N / sum of the steps' own seconds a tweet), the steps measured with one
  worker. 1 would be a build that costs nothing but its steps.
- `beside_plain_loop`: tweets a second with N workers / those of the plain loop, which writes one shard and does nothing
  that a build does beside (no ranges, no processes, no card).

Every run is a fresh process with one thread a library, and starts from nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROWS_PER_SHARD = 64


def plain_loop(tweets: str, limit: int, out: str) -> dict[str, Any]:
    """Do the steps over all rows in this thread, and write one shard; duplicates are found in between, as they must."""
    import numpy as np

    from parallelnet.data.shards import write_shard
    from parallelnet.datasets import jobs
    from parallelnet.datasets.duplicates import SIGNATURE, find_duplicates, save, settled, signature
    from parallelnet.datasets.steps import Clock, advanced
    from parallelnet.options import TweetsOptions

    options = TweetsOptions(tweets=tweets, out=out, limit=limit)
    folder = Path(out)
    folder.mkdir()
    begun, clock = time.perf_counter(), Clock()
    looking, making = jobs.looking_steps(options), jobs.making_steps(options)

    def looked() -> Any:
        return (advanced(row, looking, clock) for row in jobs.read_input(options))

    keys = np.array([signature(row) for row in looked()], SIGNATURE)
    save(folder / "signatures.npy", keys)
    found = find_duplicates([folder / "signatures.npy"], mode=options.duplicates, near_bits=options.near_bits)
    made = (advanced(settled(row, found), making, clock) for row in looked())
    n_kept, _ = write_shard(folder / "shard.parquet", made)
    wall_s = time.perf_counter() - begun
    return {"wall_s": wall_s, "n_kept": n_kept, "peak_memory_bytes": jobs.peak_memory_bytes()}


def build(tweets: str, limit: int, out: str, workers: int) -> dict[str, Any]:
    """Build with so many workers and return its log."""
    from parallelnet.datasets.build import BUILD_LOG_JSON, build_tweets
    from parallelnet.options import TweetsOptions

    options = TweetsOptions(tweets=tweets, out=out, limit=limit, workers=workers, rows_per_shard=ROWS_PER_SHARD)
    report = build_tweets(options)
    log: dict[str, Any] = json.loads((Path(out) / BUILD_LOG_JSON).read_text(encoding="utf-8"))
    return {**log, "n_kept": report.n_kept, "fingerprint": report.fingerprint}


def measured(what: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a fresh process measured."""
    command = [sys.executable, __file__, arguments.tweets, "--limit", str(arguments.limit), "--only", what]
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(what, round(arguments.limit / found["wall_s"], 3), "tweets a second", file=sys.stderr)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tweets")
    parser.add_argument("--limit", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", help="what this process is to measure: plain, or a number of workers")
    arguments = parser.parse_args()
    if arguments.only:
        with tempfile.TemporaryDirectory() as scratch:
            out = str(Path(scratch) / "out")
            given = (arguments.tweets, arguments.limit, out)
            print(json.dumps(plain_loop(*given) if arguments.only == "plain" else build(*given, int(arguments.only))))
        return
    load = os.getloadavg()[0]
    plain, one, many = (measured(what, arguments) for what in ("plain", "1", str(arguments.workers)))
    assert one["fingerprint"] == many["fingerprint"]
    assert one["n_kept"] == plain["n_kept"]
    per_s = {name: arguments.limit / run["wall_s"] for name, run in (("plain", plain), ("one", one), ("many", many))}
    found = {
        "what": "tweets a second of build tweets, cold, with everything from reading to the card",
        "n_tweets": arguments.limit,
        "workers": arguments.workers,
        "tweets_per_s": {
            "plain loop, one thread": per_s["plain"],
            "build, 1 worker": per_s["one"],
            f"build, {arguments.workers} workers": per_s["many"],
        },
        "step_s_per_tweet": {name: step["wall_s_per_row"] for name, step in one["steps"].items()},
        "step_s_per_tweet_sum": one["step_wall_s_per_row"],
        "of_ideal": per_s["many"] * one["step_wall_s_per_row"] / arguments.workers,
        "beside_plain_loop": per_s["many"] / per_s["plain"],
        "phases_s": many["phases_s"],
        "real_time_factor": many["real_time_factor"],
        "peak_memory_bytes": many["peak_memory_bytes"] | {"plain loop": plain["peak_memory_bytes"]},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": many["machine"],
        "load_1_min": round(load, 2),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("parallelnet", "numpy", "onnxruntime", "pyarrow", "espeakng-loader")},
    }
    target = ROOT / "benchmarks" / "results" / "build_tweets.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: found[name] for name in ("tweets_per_s", "of_ideal", "beside_plain_loop")}, indent=2))


if __name__ == "__main__":
    main()
