"""The table from finished runs: every figure is what the predictions say, no silent holes, the same bytes each time."""

from __future__ import annotations

import importlib.util
import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from parallelnet import checkpoint
from parallelnet.data.manifest import read_word_times
from parallelnet.datasets import teachers
from parallelnet.errors import CheckpointError, OptionError
from parallelnet.explanation.explaining import explain
from parallelnet.options import PRESETS
from parallelnet_experiments.tables import pages, prepared, result_plots, study, table1

_spec = importlib.util.spec_from_file_location("table_material", Path(__file__).with_name("table_material.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

_spec = importlib.util.spec_from_file_location(
    "built_fixture", Path(__file__).parents[2] / "datasets" / "built_fixture.py"
)
built_fixture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(built_fixture)

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
    return prepared.prepare(asked)


@pytest.fixture(scope="module")
def outcomes(asked, material):
    """Three whole rows, the additive one whole, and a baseline that failed."""
    work = study.work_folder(asked)
    found = [
        made.write_runs(work, key, material, skill=skill, seed=seed) for seed, (key, skill) in enumerate(SKILLS.items())
    ]
    failed = study.Outcome(prepared.Row("baseline-1", "", "baseline-1", ""), work / "baseline-1", 1, "failed: a | b")
    return [*found, failed]


@pytest.fixture(scope="module")
def written(outcomes, asked, material):
    return result_plots.dump(table1.summarise(outcomes, asked, RECIPE, material))


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
    empty = json.loads(result_plots.dump(table1.summarise([], asked, RECIPE, material)))
    text = pages.markdown("table1", empty)
    assert empty["differences"] == []
    assert "not run: not asked for (--rows)" in text
    assert "Does fusion earn its place? Not told" in text
    assert "needs ser-only" in empty["disagreement"]["reason"]
    result_plots.write("table1", empty, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"table1.json", "table1.md", "table1.tex"}
    several = table1.summarise([], replace(asked, rows=()), RECIPE, material)
    assert several["rows"]["additive"]["reason"] == "not run: not asked for (--studies)"


def test_markdown_tells_all_and_every_table_is_whole(record):
    text = pages.markdown("table1", record)
    assert "| SER only | vgg16-narrow | 60.17 |" in text
    assert "failed: a \\| b" in text  # a bar in a reason does not end its cell
    assert "32 x 32 inputs" in text
    assert "12 sets that share a speaker or a picture, drawn whole by every interval. So few sets" in text
    assert "Fusion earns its place" in text or "Fusion does not earn its place" in text
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 6
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    printed = record["rows"]["parallelnet"]["pooled"]
    low, high = printed["ci95"]["accuracy"]
    assert f"| 83.29 | {100 * printed['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}] |" in text


def test_both_files_tell_the_whole_budget_and_what_the_data_lack(record):
    record["recipe"] |= {"samples_per_epoch": 8, "schedule": "one-cycle"}
    record["options"]["clip_s"] = 1.024
    record["data"]["built"] = {"fingerprint": "51929ccae507" + 52 * "0", "labels": "sentiment"}
    print_ = record["data"]["fingerprint"][:12]
    sizes = sorted(fold["train"] for fold in record["data"]["folds"])
    for text in pages.files("table1", record).values():
        text = text.replace("\\_", "_")
        assert "narrow layers; backbones vgg16-narrow; vgg19-narrow)" in text
        drawn = f"at most 3 epochs of 8 samples each, drawn from the {sizes[0]}"
        assert drawn in text
        assert "batches of 4, adam, peak learning rate 0.001, starting weights none, speech windows of 1.024 s" in text
        assert (
            f"(fingerprint of the samples used: {print_}; of the build, as in its dataset.json: 51929ccae507)" in text
        )
        assert "No sample is of class happy or hate: macro F1 and UAR are means over the 2 classes" in text
    record["recipe"]["samples_per_epoch"] = 0
    record["options"]["clip_s"] = 4.096
    record["data"]["counts"] = dict.fromkeys(("anger", "happy", "hate", "sad"), 6)
    said = pages.caption(record)
    assert "at most 3 epochs, batches of 4" in said
    assert "speech windows" not in said
    assert "No sample" not in said


def test_equal_rows_are_not_put_in_an_order(record):
    for key, accuracy in (("ser-only", 0.5), ("ier-only", 0.75), ("parallelnet", 0.5)):
        record["rows"][key]["pooled"]["accuracy"] = accuracy
    text = pages.markdown("table1", record)
    assert "the paper: parallelnet, ier-only, ser-only.\nHere: ier-only, ser-only = parallelnet (`=`: tied" in text


def test_an_unfinished_row_says_so_and_is_compared_with_nothing(outcomes, asked, material):
    reason = "1 of 2 folds: stopped after --max-minutes 2"
    stopped = [replace(each, n_done=1, reason=reason) if each.row.key == "ier-only" else each for each in outcomes]
    record = json.loads(result_plots.dump(table1.summarise(stopped, asked, RECIPE, material)))
    assert f"| IER only | - | 66.93 | {reason} | - |" in pages.markdown("table1", record)
    assert reason in pages.latex("table1", record)
    assert not [each for each in record["differences"] if "ier-only" in (each["first"], each["second"])]
    assert record["fusion"]["reason"].startswith("not told")
    assert "ier-only" not in pages.printed(record)[0]


def test_latex_is_escaped_and_balanced(record):
    record["data"]["name"] = "a_b & 50% {x} \\y"
    text = pages.latex("table1", record)
    assert "a\\_b \\& 50\\% \\{x\\} \\textbackslash{}y" in text
    body = text.partition("\\begin{tabular}{lrrrr}")[2].partition("\\end{tabular}")[0]
    for line in body.splitlines():
        if line.endswith("\\\\"):
            n_cells = line.replace("\\&", "").count("&") + 1
            assert n_cells == 5
    assert text.isascii()


def test_rendering_gives_the_same_bytes(record, tmp_path):
    first, second = (result_plots.write("table1", record, tmp_path / name).parent for name in ("a", "b"))
    files = (
        "table1.json",
        "table1.md",
        "table1.tex",
        "curves.png",
        "differences.png",
        "confusion.png",
        "confusion.csv",
    )
    assert {path.name for path in first.iterdir()} == set(files)
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    again = json.loads(result_plots.dump(record))
    assert again == record
    assert result_plots.dump(again) == result_plots.dump(record)


def test_dump_keeps_what_is_in_strings():
    record = {"a": ["x,  y", "[\n z ]", "{"], "b": [1, 2.5, None], "c": [], "d": [[1, 2], [3]]}
    text = result_plots.dump(record)
    assert json.loads(text) == record
    assert '"b": [1, 2.5, null]' in text


def test_no_place_of_this_machine_is_published(written, asked):
    assert str(Path(asked.out).parent) not in written


# --- teachers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def toy(tmp_path):
    """Write a checkpoint whose graph holds these bytes, and return its folder."""

    def write(folder, name="ours", content=b"w", started_from=()):
        facts = checkpoint.ModelFacts(
            name=name, variant="ser-only", network={}, modalities=("speech",), training={"started_from": started_from}
        )
        checkpoint.write(tmp_path / folder, facts)
        for graph in facts.graphs:
            (tmp_path / folder / graph).write_bytes(content)
        return str(tmp_path / folder)

    return write


def test_teachers_are_refused_as_a_start(toy):
    ears = toy("a", "ears", b"1")
    digest = teachers.files_sha256(Path(ears), (checkpoint.MODEL_JSON, "speech.onnx", "head.onnx"))
    built = {
        "labels": "emotion",
        "teachers": {
            "speech": {"name": "other name", "sha256": digest},
            "image": {"name": "eyes", "sha256": "0", "started_from": ["mother"]},
        },
    }
    kin = {
        "speech": [ears],
        "image": [
            *(toy("b", "eyes"), toy("c", "mother")),
            *(toy("d", "child", started_from=["eyes"]), toy("e", "sister", started_from=["mother"])),
        ],
    }
    for modality, sources in kin.items():
        for source in sources:
            with pytest.raises(OptionError, match=rf"shares weights with, the {modality} teacher .* section 5\.4"):
                prepared.refuse_teachers([toy("f", "stranger"), source], built)
            prepared.refuse_teachers([source], None)  # no teacher made these labels
            prepared.refuse_teachers([source], {**built, "labels": "sentiment"})
    prepared.refuse_teachers([toy("g", "stranger", b"2")], built)
    for name, refused in (("h", False), ("i", True)):  # of `train --no-export`
        source = Path(toy(name, "stranger", started_from=["eyes"] if refused else []))
        for graph in source.glob("*.onnx"):
            graph.unlink()
        with pytest.raises(OptionError, match="image teacher") if refused else nullcontext():
            prepared.refuse_teachers([str(source)], built)
    with pytest.raises(CheckpointError):
        prepared.refuse_teachers(["/no/such"], built)


@pytest.mark.parametrize("name", ["compact", "teacher-speech", "teacher-image"])
def test_bundled_checkpoints_are_kin_of_the_bundled_teachers(name):
    described = {"speech": teachers.open_teacher("teacher-speech", "speech").describe()}
    with pytest.raises(OptionError, match="the speech teacher 'teacher-speech'"):
        prepared.refuse_teachers([name], {"labels": "emotion", "teachers": described})


def test_the_labelling_rule_is_computed_anew_from_the_shards(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    drafts = [
        built_fixture.draft(
            row, ("anger", "happy", "sad")[row % 3], "speech" if row % 2 else "image", 0.6 + 0.005 * row
        )
        for row in range(66)
    ]
    built_fixture.build(tmp_path / "built", kept=drafts)
    asked = made.options(tmp_path / "built", tmp_path / "out")
    material = prepared.prepare(asked)
    found = table1.references(material, asked)
    assert found["teacher-rule"]["pooled"]["accuracy"] == 1.0
    # The fixture's other teacher finds `sad` most probable: each is right where it decided, or the label is sad.
    hears = np.mean([draft.label == "sad" or draft.label_source == "speech" for draft in drafts])
    sees = np.mean([draft.label == "sad" or draft.label_source == "image" for draft in drafts])
    assert found["speech-teacher"]["pooled"]["accuracy"] == pytest.approx(hears)
    assert found["image-teacher"]["pooled"]["accuracy"] == pytest.approx(sees)
    assert "nll" not in found["teacher-rule"]["pooled"]["ci95"]
    # Not by looking at the labels: with another threshold the rule would have dropped these rows.
    stricter = table1.references(replace(material, built={**material.built, "threshold": 0.7}), asked)
    dropped = np.mean([draft.confidence < 0.7 for draft in drafts])
    assert stricter["teacher-rule"]["pooled"]["accuracy"] == pytest.approx(1 - dropped)
    own = table1.references(replace(material, built={**material.built, "labels": "sentiment"}), asked)
    assert own["teacher-rule"]["reason"] == "not applicable: the labels are the source's own"


# --- Fig. 4 -----------------------------------------------------------------------------------------------------------


def test_examples_are_drawn_from_every_class_and_fold_they_are_tested_in(material):
    found = result_plots.drawn(material, 2, seed=0)
    assert [material.labels[s.id] for _, s in found] == ["anger", "anger", "sad", "sad"]
    assert all(s in material.parts[fold].test for fold, s in found)
    assert found == result_plots.drawn(material, 2, seed=0)
    assert found != result_plots.drawn(material, 2, seed=1)
    assert len(result_plots.drawn(material, 99, seed=0)) == 24


def test_the_grid_says_what_the_paper_says():
    examples = Path(__file__).parents[3] / "examples"
    explanation = explain(
        examples / "happy.flac", examples / "astronaut.jpg", word_times=read_word_times(examples / "happy.words.json")
    )
    pairs = zip(explanation.speech_units, explanation.values["happy"].speech_units, strict=True)
    values = {unit.word: value for unit, value in pairs}
    words = result_plots.strongest_words(explanation)
    assert 1 <= len(words) <= 3
    assert [values[word] for word in words] == sorted(values.values(), reverse=True)[: len(words)]
    assert values[words[-1]] > 0
    figure = result_plots.grid([explanation, explanation], ["happy", "sad"])
    score = explanation.prediction.probs["happy"]
    drawn = {text.get_text(): text.get_color() for text in figure.findobj(Text)}
    right, wrong = (drawn[f"P: happy, GT: {truth}, Score: {score:.2f}"] for truth in ("happy", "sad"))
    assert right != wrong  # a wrong one stands out
    assert set(values) <= set(drawn)


def test_figure_without_its_row_says_why(outcomes, material, tmp_path):
    found = result_plots.figure4(outcomes[:2], material, 1, 0, tmp_path)
    assert found == {"reason": "not drawn: needs parallelnet (not asked for)"}
    assert not list(tmp_path.glob("*.png"))
