"""docs/scaling.md is what the measurements say."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("scaling", ROOT / "benchmarks" / "scaling.py")
scaling = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scaling)

MEASURED = json.loads((ROOT / "benchmarks" / "results" / "build_tweets.json").read_text(encoding="utf-8"))
BUILT = json.loads((ROOT / "results" / "build-tweets.json").read_text(encoding="utf-8"))


def test_the_page_is_that_of_the_committed_figures():
    assert (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8") == scaling.page(MEASURED, BUILT, 0.04, 20.0)


def test_twice_as_slow_is_twice_as_dear():
    def hours(measured):
        row = next(line for line in scaling.page(measured, BUILT, 0.04, 20.0).splitlines() if "100 million" in line)
        return float(row.split("|")[2].replace(",", ""))

    slower = MEASURED | {"step_s_per_tweet_sum": 2 * MEASURED["step_s_per_tweet_sum"]}
    assert abs(hours(slower) / hours(MEASURED) - 2) < 1e-4
