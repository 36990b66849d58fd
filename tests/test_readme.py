"""The README tells the truth: its figures are those of the committed JSON, its commands print what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from parallelnet import checkpoint
from parallelnet.training.finish import figures, model_card

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def facts() -> checkpoint.ModelFacts:
    return checkpoint.read(checkpoint.bundled()["compact"]).facts


def test_both_commands_are_shown() -> None:
    assert [command.split()[0] for command, _ in COMMANDS_SHOWN] == ["predict", "explain"]


def test_the_figures_are_the_bundled_model_s(facts: checkpoint.ModelFacts) -> None:
    assert figures(facts) in README
    assert json.loads((ROOT / "results" / "compact.json").read_text()) == json.loads(json.dumps(facts.metrics))


def test_the_model_card_is_made_from_the_facts(facts: checkpoint.ModelFacts) -> None:
    card = (checkpoint.bundled()["compact"] / "README.md").read_text(encoding="utf-8")
    assert card == model_card(facts, (ROOT / "runs" / "compact-card.md").read_text(encoding="utf-8"))


def test_the_checkpoint_is_small_enough_to_ship_and_holds_no_path_of_ours() -> None:
    files = list(checkpoint.bundled()["compact"].iterdir())
    assert sum(file.stat().st_size for file in files) <= 20_000_000
    for file in files:
        content = file.read_bytes()
        assert not [mark for mark in (b"/home/", b"site-packages", b".venv", b"/src/parallelnet") if mark in content]


NUMBER = re.compile(r"[-+]?\d+\.\d+")
COMMANDS_SHOWN = re.findall(r"```\n\$ parallelnet ([^\n]*)\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(
    ("command", "shown"), COMMANDS_SHOWN, ids=[command.split()[0] for command, _ in COMMANDS_SHOWN]
)
def test_commands_print_what_the_readme_shows(command: str, shown: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parallelnet", *command.split()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = done.stdout.strip()
    assert NUMBER.sub("#", found) == NUMBER.sub("#", shown.strip())
    # The last digit printed may be rounded the other way where another processor sums in another order.
    for ours, theirs in zip(NUMBER.findall(found), NUMBER.findall(shown), strict=True):
        assert float(ours) == pytest.approx(float(theirs), abs=1.001 * 10.0 ** -len(theirs.partition(".")[2]))


def test_the_python_runs(tmp_path: Path) -> None:
    code = "".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    code = code.replace('"examples/', f'"{ROOT}/examples/')  # so that the report is not written into the checkout
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.count("Prediction(") == 2
    assert found.stdout.split()[0] in ("anger", "happy", "hate", "sad")
    assert (tmp_path / "report" / "report.html").is_file()


def test_every_path_and_command_that_it_names_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for script in re.findall(r"bash (runs/[\w.-]+)", README):
        assert os.access(ROOT / script, os.R_OK), script
    named = set(re.findall(r"parallelnet ((?:build|experiment) [a-z0-9]+|[a-z]+)(?= -|`| [a-z]+`)", README))
    from parallelnet.cli import COMMANDS

    assert named <= set(COMMANDS), named
