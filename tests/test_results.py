"""What is published stands in a committed JSON: tables are made from it, and figures in the docs are in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallelnet_experiments.tables.pages import faithfulness

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted((ROOT / "results").glob("faithfulness*"))
TASKS = ("speech", "image", "pair")


def figures(found: Any) -> Iterator[str]:
    """Yield every mean with its interval, as tables and docs print it."""
    if isinstance(found, dict):
        if set(found) >= {"mean", "ci95"}:
            low, high = found["ci95"]
            yield f"{found['mean']:.3f} [{low:.3f}, {high:.3f}]"
        for value in found.values():
            yield from figures(value)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_tables_are_made_from_their_json(folder: Path) -> None:
    there = [folder / f"{task}.json" for task in TASKS if (folder / f"{task}.json").is_file()]
    assert there
    made = "\n".join(faithfulness(json.loads(path.read_text(encoding="utf-8"))) for path in there)
    assert (folder / "table.md").read_text(encoding="utf-8") == made


def test_every_interval_in_the_docs_is_measured() -> None:
    assert STUDIES
    known = {
        each
        for folder in STUDIES
        for path in folder.glob("*.json")
        for each in figures(json.loads(path.read_text(encoding="utf-8")))
    }
    said = re.findall(r"-?\d\.\d{3} \[-?\d\.\d{3}, -?\d\.\d{3}\]", (ROOT / "docs" / "explanations.md").read_text())
    assert len(said) > 20
    assert not [each for each in said if each not in known]


def test_the_benchmark_in_the_docs_is_the_one_in_the_json() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "explainers.json").read_text(encoding="utf-8"))
    docs = (ROOT / "docs" / "explanations.md").read_text(encoding="utf-8")
    for name, rows in found["explanations"].items():
        assert f"| **{name}** |" in docs
        for row in rows:
            times = row.get("times_our_seconds")
            passes = f"{row['speech_passes']:,} + {row['image_passes']:,}"
            cells = [
                row["method"],
                row["score"],
                passes,
                f"{row['seconds']:.2f}",
                "1" if times is None else f"{times:.1f}",
            ]
            assert f"| {' | '.join(cells)} |" in docs
    for cold in found["cold_process"].values():
        assert f"{cold['seconds']:.1f} s" in docs
    exact = [
        row["max_abs_difference"]
        for rows in found["explanations"].values()
        for row in rows
        if row.get("max_abs_difference") is not None
    ]
    assert max(exact) < 1e-14


def test_no_result_names_a_place_of_one_machine() -> None:
    for path in [*ROOT.glob("results/**/*.json"), *ROOT.glob("benchmarks/results/*.json")]:
        assert not re.search(r'"/(home|root|work|tmp|mnt)/', path.read_text(encoding="utf-8")), path
