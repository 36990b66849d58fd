"""The table from finished runs: every figure is what the predictions say, no silent holes, the same bytes each time."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parallelnet import checkpoint
from parallelnet.errors import CheckpointError, OptionError
from parallelnet.experiments import figure4, runner, table1, table1_text, teacher_rule
from parallelnet.options import PRESETS

_spec = importlib.util.spec_from_file_location("table_material", Path(__file__).with_name("table_material.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

RECIPE = replace(PRESETS["paper"], epochs=3, batch_size=4, learning_rate=1e-3)
SKILLS = {"ser-only": 0.3, "ier-only": 0.4, "parallelnet": 0.95, "additive": 0.5}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    (folder / "pairs").mkdir()
    made.write_pairs(folder / "pairs", 12, splits=False)
    return made.options(folder / "pairs", folder / "out", rows=tuple(SKILLS))


@pytest.fixture(scope="module")
def material(asked):
    return runner.prepare(asked)


@pytest.fixture(scope="module")
def outcomes(asked, material):
    """Three whole rows, the additive one whole, and a baseline that failed."""
    work = runner.work_folder(asked)
    found = [
        made.write_runs(work, key, material, skill=skill, seed=seed) for seed, (key, skill) in enumerate(SKILLS.items())
    ]
    failed = runner.Outcome(runner.Row("baseline-1", "", "baseline-1", ""), work / "baseline-1", 1, "failed: a | b")
    return [*found, failed]


@pytest.fixture(scope="module")
def written(outcomes, asked, material):
    return table1.dump(table1.summarise(outcomes, asked, RECIPE, material, None))


@pytest.fixture
def record(written):
    return json.loads(written)


def test_figures_are_those_of_the_predictions(record, outcomes, material):
    for outcome in outcomes[:4]:
        right = total = 0
        for fold in (0, 1):
            said = json.loads((outcome.folder / f"fold-{fold}" / "test.json").read_text())["settings"]
            for each in said.values():
                right += int((np.argmax(each["probs"], axis=1) == each["labels"]).sum())
                total += len(each["ids"])
        row = record["rows"][outcome.row.key]
        assert row["pooled"]["accuracy"] == pytest.approx(right / total)
        assert row["pooled"]["n"] == total == 24
        assert row["pooled"]["resample"] == "group"
        assert row["pooled"]["n_groups"] == 12
        folds = [fold["test"]["accuracy"] for fold in row["folds"]]
        assert row["mean"]["accuracy"] == pytest.approx(np.mean(folds))
        assert row["std"]["accuracy"] == pytest.approx(np.std(folds, ddof=1))
        assert row["validation"]["accuracy"] == 0.75
        assert row["seconds"] == 120.0
        assert row["network"]["parameters"] == 1234
        assert len(row["curves"]) == 2
        assert len(row["curves"][0]["validation_loss"]) == 3
    assert record["rows"]["parallelnet"]["network"]["backbones"] == {
        "speech": "vgg16-narrow",
        "image": "vgg19-narrow",
    }


def test_every_row_has_figures_or_a_reason(record):
    for row in (*record["rows"].values(), *record["references"].values()):
        assert bool(row["reason"]) != ("pooled" in row)
    assert record["rows"]["baseline-1"]["reason"] == "failed: a | b"
    assert record["rows"]["baseline-2"]["reason"] == "not run: not asked for (--rows)"
    assert record["references"]["teacher-rule"]["reason"].startswith("not applicable: no teacher")


def test_differences_are_ours_minus_theirs_with_holm_over_all(record):
    pairs = [(each["first"], each["second"]) for each in record["differences"]]
    assert pairs == [
        ("parallelnet", "ser-only"),
        ("parallelnet", "ier-only"),
        ("parallelnet", "additive"),
        ("ier-only", "ser-only"),
    ]
    for each in record["differences"]:
        ours, theirs = (record["rows"][each[name]]["pooled"] for name in ("first", "second"))
        assert each["accuracy"]["difference"] == pytest.approx(ours["accuracy"] - theirs["accuracy"])
        assert each["p_mcnemar_holm"] >= each["p_mcnemar"]
    fusion = record["fusion"]
    assert fusion["best_single"] in ("ser-only", "ier-only")
    assert fusion["earned"] == (fusion["ci95"][0] > 0)


def test_majority_class_is_that_of_the_training_part(record, material):
    right = 0
    for part in material.parts:
        counts = [sum(material.labels[s.id] == name for s in part.train) for name in material.classes]
        guess = material.classes[int(np.argmax(counts))]
        right += sum(material.labels[s.id] == guess for s in part.test)
    assert record["references"]["majority"]["pooled"]["accuracy"] == pytest.approx(right / 24)


def test_what_was_not_run_leaves_no_hole(asked, material, tmp_path):
    empty = json.loads(table1.dump(table1.summarise([], asked, RECIPE, material, None)))
    text = table1_text.markdown(empty)
    assert empty["differences"] == []
    assert "not run: not asked for (--rows)" in text
    assert "Does fusion earn its place? Not told" in text
    assert "needs ser-only" in empty["disagreement"]["reason"]
    assert table1.render(empty, tmp_path) == (tmp_path / "table1.md", tmp_path / "table1.tex")
    several = table1.summarise([], replace(asked, rows=()), RECIPE, material, None)
    assert several["rows"]["additive"]["reason"] == "not run: not asked for (--studies)"


def test_markdown_tells_all_and_every_table_is_whole(record):
    text = table1_text.markdown(record)
    assert "| SER only | vgg16-narrow | 60.17 |" in text
    assert "failed: a \\| b" in text  # a bar in a reason does not end its cell
    assert "64 x 64 inputs" in text
    assert "fingerprint" in text
    assert "Fusion earns its place" in text or "Fusion does not earn its place" in text
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 6
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    printed = record["rows"]["parallelnet"]["pooled"]
    low, high = printed["ci95"]["accuracy"]
    assert f"| 83.29 | {100 * printed['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}] |" in text


def test_latex_is_escaped_and_balanced(record):
    record["data"]["name"] = "a_b & 50% {x} \\y"
    text = table1_text.latex(record)
    assert "a\\_b \\& 50\\% \\{x\\} \\textbackslash{}y" in text
    body = text.partition("\\begin{tabular}{lrlll}")[2].partition("\\end{tabular}")[0]
    for line in body.splitlines():
        if line.endswith("\\\\"):
            n_cells = line.replace("\\&", "").count("&") + 1
            assert n_cells == (3 if "multicolumn" in line else 5)
    assert text.isascii()


def test_rendering_gives_the_same_bytes(record, tmp_path):
    first, second = (table1.render(record, tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == [
        *("table1.md", "table1.tex", "curves.png", "differences.png", "confusion.png", "confusion.csv"),
    ]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    again = json.loads(table1.dump(record))
    assert again == record
    assert table1.dump(again) == table1.dump(record)


def test_dump_keeps_what_is_in_strings():
    record = {"a": ["x,  y", "[\n z ]", "{"], "b": [1, 2.5, None], "c": [], "d": [[1, 2], [3]]}
    text = table1.dump(record)
    assert json.loads(text) == record
    assert '"b": [1, 2.5, null]' in text


def test_no_place_of_this_machine_is_published(written, asked):
    assert str(Path(asked.out).parent) not in written


# --- teachers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def toy(tmp_path):
    """A checkpoint with a weights file, not bundled."""

    def write(name, content=b"w", started_from=()):
        folder = tmp_path / name
        facts = checkpoint.ModelFacts(name=name, variant="compact", network={}, training={"started_from": started_from})
        checkpoint.write(folder, facts)
        (folder / "model.safetensors").write_bytes(content)
        return str(folder)

    return write


def test_teachers_are_refused_as_a_start(toy):
    import hashlib

    digest = hashlib.sha256(b"ears").hexdigest()
    built = {
        "labels": "emotion",
        "teachers": {"speech": {"name": "ears", "weights": digest}, "image": {"name": "eyes", "weights": "0"}},
    }
    for source in (toy("ears", b"other"), toy("renamed", b"ears"), toy("child", b"x", started_from=("eyes",))):
        with pytest.raises(OptionError, match=r"shares weights with, the (speech|image) teacher"):
            teacher_rule.refuse_teachers([source], built)
    teacher_rule.refuse_teachers([toy("stranger")], built)
    teacher_rule.refuse_teachers([toy("ears2", b"ears")], None)  # whose labels no teacher made
    teacher_rule.refuse_teachers([toy("ears3", b"ears")], {**built, "labels": "sentiment"})
    with pytest.raises(CheckpointError):
        teacher_rule.refuse_teachers(["/no/such"], built)


def test_the_bundled_model_shares_the_bundled_teachers(toy):
    name = next(iter(checkpoint.bundled()))
    built = {"labels": "emotion", "teachers": {"speech": {"name": name}}}
    with pytest.raises(OptionError, match=r"paper section 5\.4"):
        teacher_rule.refuse_teachers([checkpoint.DEFAULT_CHECKPOINT], built)
    other = {"labels": "emotion", "teachers": {"speech": {"name": "somebody's"}}}
    teacher_rule.refuse_teachers([checkpoint.DEFAULT_CHECKPOINT], other)


# --- Fig. 4 -----------------------------------------------------------------------------------------------------------


def test_examples_are_drawn_from_every_class_and_fold_they_are_tested_in(material):
    found = figure4.drawn(material, 2, seed=0)
    assert [material.labels[s.id] for _, s in found] == ["anger", "anger", "sad", "sad"]
    assert all(s in material.parts[fold].test for fold, s in found)
    assert found == figure4.drawn(material, 2, seed=0)
    assert found != figure4.drawn(material, 2, seed=1)
    assert len(figure4.drawn(material, 99, seed=0)) == 24


def test_figure_without_its_row_says_why(outcomes, material, tmp_path):
    found = figure4.draw(outcomes[:2], material, 1, 0, tmp_path)
    assert found == {"reason": "not drawn: needs parallelnet (not asked for)"}
    assert not list(tmp_path.glob("*.png"))
