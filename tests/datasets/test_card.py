"""The data set card: every number from the record, the same bytes each time, other people's text harmless."""

import dataclasses
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from parallelnet.data.shards import REASONS
from parallelnet.datasets.inspection import PAPER_COUNTS, card, inspect, write_card
from parallelnet.types import EMOTIONS

_spec = importlib.util.spec_from_file_location("built_fixture", Path(__file__).with_name("built_fixture.py"))
built = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(built)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    built.build(folder)
    write_card(folder)
    return folder


def cells(text, first):
    """Return the cells of the table row that begins with this one."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_papers_counts_are_the_papers():
    assert sum(PAPER_COUNTS.values()) == 80_893
    assert set(PAPER_COUNTS) == set(EMOTIONS)


def test_front_matter_is_what_the_hub_reads(folder):
    yaml = pytest.importorskip("yaml")
    _, front, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    front = yaml.safe_load(front)
    assert front["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}
    ]
    assert front["license"] == "other"
    assert front["language"] == ["en", "es"]
    assert front["size_categories"] == ["n<1K"]
    assert "emotion-recognition" in front["tags"]
    assert front["pretty_name"] == "posts: speech + picture emotion"


def test_counts_stand_beside_the_papers(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert cells(text, "happy") == ["happy", "5", "41.7 %", "42,958", "53.1 %"]
    assert cells(text, "hate") == ["hate", "1", "8.3 %", "4,401", "5.4 %"]
    assert cells(text, "**all**")[1::2] == ["**12**", "**80,893**"]


def test_drops_agreement_and_thresholds(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "16 rows were read, 12 kept and 4 left out" in text
    for reason, n in {"low-confidence": 2, "no-words": 1, "excluded": 1}.items():
        assert cells(text, f"`{reason}`")[1:] == [str(n), f"{100 * n / 16:.1f} %", REASONS[reason]]
    assert "**25.0 %** get the same class" in text
    assert cells(text, "**0.5**")[1] == "**12**"
    assert cells(text, "0.4")[1] == "14"
    # 0.55 + 0.03 * row: rows 9, 10, 11 are at least 0.8.
    assert cells(text, "0.8")[1] == "3"


def test_every_figure_is_there_and_nothing_else(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\]\((figures/\w+\.png)\)", text))
    assert named == {f"figures/{path.name}" for path in (folder / "figures").iterdir()}
    assert len(named) == 5


def test_a_threshold_between_the_curves_points_has_its_row(tmp_path):
    report = dataclasses.replace(built.build(tmp_path), threshold=0.525)
    text = card(inspect(tmp_path, report=report))
    assert cells(text, "**0.525**")[1] == "**12**"
    assert cells(text, "0.5")[1] == "12"


def test_the_same_build_is_the_same_card(folder, tmp_path):
    report = built.build(tmp_path, finished=False)  # as `build tweets` does: dataset.json comes last
    write_card(tmp_path, report=report)
    for path in [folder / "README.md", *(folder / "figures").iterdir()]:
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert not re.search(r"\b20[2-9]\d-\d\d", (folder / "README.md").read_text(encoding="utf-8"))


def test_paths_of_the_machine_stay_out(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert cells(text, "`--tts-model`")[1] == "`voice.onnx`"
    assert cells(text, "`--speech-teacher`")[1] == "`hf:owner/name`"
    assert "secret" not in text
    assert str(folder) not in text


def test_limits_are_told(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    for said in ("pseudo-labels", "synthetic", "section 5.4", "100 %", "licence"):
        assert said in text


def test_sentiment_is_told_apart(tmp_path):
    built.build(tmp_path, "sentiment")
    text = card(inspect(tmp_path))
    assert "--labels sentiment" in text
    assert "--target-column sentiment" in text
    assert cells(text, "neutral")[:3] == ["neutral", "4", "33.3 %"]
    for absent in ("42,958", "## Teachers", "## Threshold", "pseudo-labels.**", "max1", "section 5.4"):
        assert absent not in text
    assert re.findall(r"figures/\w+", text) == ["figures/classes", "figures/durations"]


def test_a_set_without_rows_has_a_card(tmp_path):
    built.build(tmp_path, kept=[])
    text = card(inspect(tmp_path))
    assert "No sample was kept." in text
    assert cells(text, "happy")[1:3] == ["0", "-"]


HOSTILE = "<script>x</script> | **b** [a](http://e.org) `c` $d$ @me #1 www.e.org \u202e\x1b\nnext"


def test_texts_of_others_are_harmless(tmp_path):
    kept = [built.draft(0, "sad", "speech", 0.9, spoken_text=HOSTILE, id="a|b`c", tts_voice="v|w")]
    kept += built.kept_drafts()[1:]
    built.build(tmp_path, kept=kept)
    text = card(inspect(tmp_path))
    row = next(line for line in text.splitlines() if "script" in line)
    assert "<script" not in text
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert not re.search(r"[\u202e\x1b]", text)
    assert "](http\\:" not in text
    assert "\\[a\\]\\(http\\://" in row


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["emotion", "sentiment"])
def test_the_cards_own_code_loads_it(tmp_path, labels):
    built.build(tmp_path / "set", labels)
    text = write_card(tmp_path / "set").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", text, re.S)[1].replace('"DIR"', repr(str(tmp_path / "set")))
    program += "print(len(rows), sample_rate_hz, len(speech), picture.size, text, row['id'])\n"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["12", "16000", "9600", "(24,", "16)", "good", "day", "number0", "t0"]
