"""docs/reliability.md says what the committed measurements say, and they say that nothing was lost."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.mark.parametrize(("name", "least"), [("faults", 200), ("fuzz", 2_000)])
def test_enough_was_tried_and_nothing_went_wrong(name, least):
    total = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["total"]
    assert total["tried"] >= least
    assert (total.get("lost", 0), total["unexpected"]) == (0, 0)


def test_every_long_command_was_disturbed():
    tried = {
        job: sum(counts["tried"] for counts in faults.values())
        for job, faults in json.loads((RESULTS / "faults.json").read_text(encoding="utf-8"))["by_command"].items()
    }
    least = {"build": 20, "train": 20, "experiment": 10, "predict": 20, "explain": 20}
    assert {job: n for job, n in tried.items() if n < least[job]} == {}
    assert set(tried) == set(least)


def test_an_hour_of_speech_takes_the_memory_of_six_minutes():
    found = json.loads((RESULTS / "memory.json").read_text(encoding="utf-8"))
    peaks = {int(minutes): run["peak_mb"] for minutes, run in found["by_minutes"].items()}
    assert set(peaks) == {6, 60}
    assert found["ratio"] == pytest.approx(peaks[60] / peaks[6], abs=0.001)
    assert found["ratio"] <= 1.1


def test_the_page_shows_the_measured_figures():
    spec = importlib.util.spec_from_file_location("reliability_page", ROOT / "benchmarks" / "reliability_page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    source = ROOT / "docs" / "reliability.md"
    text = source.read_text(encoding="utf-8")
    assert page.with_figures(text) == text, "Mend: .venv/bin/python benchmarks/reliability_page.py"
