"""Writes the figures of `faults.json`, `fuzz.json` and `memory.json` into docs/reliability.md.

.venv/bin/python benchmarks/reliability_page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->"


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _table(rows: list[list[object]]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def figures() -> str:
    """Return the tables, and what all figures were measured on."""
    faults, fuzz, memory = map(_read, ("faults", "fuzz", "memory"))
    kinds = list(dict.fromkeys(fault for counts in faults["by_command"].values() for fault in counts))
    rows: list[list[object]] = [["command", *kinds, "lost", "unexpected"]]
    for job, counts in faults["by_command"].items():
        wrong = [sum(each[name] for each in counts.values()) for name in ("lost", "unexpected")]
        rows.append([f"`{job}`", *(counts[kind]["tried"] if kind in counts else "-" for kind in kinds), *wrong])
    damaged: list[list[object]] = [["input", "tried", "read", "refused", "unexpected", "slowest, ms"]]
    counted = ("tried", "read", "refused", "unexpected", "slowest_ms")
    damaged += [[kind, *(each[name] for name in counted)] for kind, each in fuzz["by_kind"].items()]
    return (
        f"`make faults`: {faults['total']['tried']} trials in {faults['minutes']:g} minutes, {faults['total']['lost']} "
        f"lost, {faults['total']['unexpected']} unexpected ({faults['date']}, {faults['machine']}). "
        "Columns count the trials of each fault.\n\n"
        f"{_table(rows)}\n\n"
        f"`make fuzz`: {fuzz['total']['tried']:,} damaged inputs, {fuzz['total']['unexpected']} unexpected "
        f"({fuzz['date']}, {fuzz['machine']}). Each had 1 GB of memory and 10 s.\n\n"
        f"{_table(damaged)}\n\n"
        "`benchmarks/memory.py`: `predict` takes "
        + " and ".join(f"{run['peak_mb']:.0f} MB of {n} minutes" for n, run in memory["by_minutes"].items())
        + f" of speech, {memory['ratio']:.2f} times as much ({memory['date']}, {memory['machine']}).\n"
    )


def with_figures(text: str) -> str:
    """Return the page with the figures in their place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{figures()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
