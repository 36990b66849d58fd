"""What larger data sets need, from what was measured: writes docs/scaling.md.

    .venv/bin/python benchmarks/scaling.py [--usd-per-core-hour 0.04] [--usd-per-tb-month 20] [--check]

Reads `benchmarks/results/build_tweets.json` (cost of each step, from benchmarks/build_tweets.py) and
`results/build-tweets.json` (bytes a tweet, from runs/reproduce_small.sh). The prices are assumptions; give your own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "scaling.md"
SIZES = {"4,079 (the tweets measured)": 4_079, "470,586 (B-T4SA)": 470_586, "100 million": 100_000_000}
N_CORES = (2, 16, 64)
COORDINATOR_BYTES = 64
"""Memory a tweet that duplicates across the whole set may take (docs/design.md, section 8)."""


def page(measured: dict[str, Any], built: dict[str, Any], usd_per_core_hour: float, usd_per_tb_month: float) -> str:
    """Return the page; the same figures give the same text."""
    steps = measured["step_s_per_tweet"]
    total_s = measured["step_s_per_tweet_sum"]
    seen = measured["workers"]
    share = measured["of_ideal"]
    bytes_a_tweet = built["bytes"] / built["n_kept"]
    kept = built["n_kept"] / built["n_read"]
    # Start, duplicates and card, which a larger set pays once, are a good part of so small a build.
    shards_per_s = measured["n_tweets"] / measured["phases_s"]["make shards"]
    steady = shards_per_s * total_s / seen
    steady_beside = shards_per_s / measured["tweets_per_s"]["plain loop, one thread"]
    lines = [
        "# What larger data sets need",
        "",
        "Made by `benchmarks/scaling.py` from "
        "[benchmarks/results/build_tweets.json](../benchmarks/results/build_tweets.json)",
        "and [results/build-tweets.json](../results/build-tweets.json); not written by hand.",
        "",
        f"Measured on {measured['n_tweets']} tweets on {measured['machine']['n_cores']} cores "
        f"({measured['machine']['cpu']}, {measured['date']}, load {measured['load_1_min']} before). "
        "Seconds a tweet of each step, one thread:",
        "",
        "| step | ms a tweet | share |",
        "| --- | --- | --- |",
        *(f"| {name} | {1000 * s:.2f} | {s / total_s:.0%} |" for name, s in sorted(steps.items(), key=lambda i: -i[1])),
        f"| **all** | {1000 * total_s:.2f} | |",
        "",
        f"{seen} workers did {share:.2f} of what {seen} cores could if a build cost nothing but its steps, and "
        f"{measured['beside_plain_loop']:.2f} times what a plain loop over the same steps does in one thread; "
        f"while shards were made, {steady:.2f} and {steady_beside:.2f} (start, duplicates and card are paid once). "
        f"{kept:.0%} of the rows were kept, {bytes_a_tweet / 1000:.0f} kB each (picture as found, speech as FLAC).",
        "",
        "| tweets | core hours | "
        + " | ".join(f"hours on {n} cores" for n in N_CORES)
        + " | disk, TB | coordinator memory, GB | USD for cores | USD a month for disk |",
        "| --- |" + " --- |" * (len(N_CORES) + 5),
    ]
    for name, n in SIZES.items():
        core_hours = n * total_s / share / 3600
        disk_tb = n * kept * bytes_a_tweet / 1e12
        lines.append(
            f"| {name} | {core_hours:,.1f} | "
            + " | ".join(f"{core_hours / cores:,.1f}" for cores in N_CORES)
            + f" | {disk_tb:,.3f} | {n * COORDINATOR_BYTES / 1e9:,.2f} | {core_hours * usd_per_core_hour:,.2f} "
            f"| {disk_tb * usd_per_tb_month:,.2f} |"
        )
    lines += [
        "",
        f"Assumed, not measured: {usd_per_core_hour} USD a core hour and {usd_per_tb_month} USD a TB and month; that "
        "more cores scale as these did; that other tweets cost what these cost. The input is split by one "
        "thread before the workers begin. Pictures must lie where every worker can read them.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the page, or with --check say whether it is what the figures say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--usd-per-core-hour", type=float, default=0.04)
    parser.add_argument("--usd-per-tb-month", type=float, default=20.0)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    measured = json.loads((ROOT / "benchmarks" / "results" / "build_tweets.json").read_text(encoding="utf-8"))
    built = json.loads((ROOT / "results" / "build-tweets.json").read_text(encoding="utf-8"))
    text = page(measured, built, arguments.usd_per_core_hour, arguments.usd_per_tb_month)
    if arguments.check:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit("docs/scaling.md is not what the results say. Mend: .venv/bin/python benchmarks/scaling.py")
        return
    PAGE.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
