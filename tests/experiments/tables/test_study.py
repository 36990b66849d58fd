"""Data that no table can be made of are refused before training; a stop loses nothing; a failing row says why."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from parallelnet import checkpoint, records
from parallelnet.checkpoint import ModelFacts
from parallelnet.data.dataset import open_data
from parallelnet.errors import (
    CheckpointError,
    FullDiskError,
    ManifestError,
    OptionError,
    ParallelNetError,
    StoppedError,
)
from parallelnet.models.variants import network_options
from parallelnet.options import PRESETS, Recipe
from parallelnet.training.parts import deal_parts, usable
from parallelnet.training.run import METRICS, _collect
from parallelnet_experiments.tables import prepared, study

_spec = importlib.util.spec_from_file_location("table_material", Path(__file__).with_name("table_material.py"))
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

RECIPE = replace(PRESETS["paper"], epochs=2, batch_size=4, learning_rate=1e-3)


def run(these, asked, material=None, *, recipe=RECIPE, **given):
    return study.Study(asked, recipe, material or prepared.prepare(asked), **given).run(these)


THREE = tuple(prepared.ROWS[key] for key in ("ser-only", "ier-only", "parallelnet"))


@pytest.fixture
def data(tmp_path):
    """Twelve speakers, an utterance and a picture of each of two classes."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    made.write_pairs(folder, 12, splits=False)
    return folder


def test_every_row_has_the_same_folds(data, tmp_path):
    asked = made.options(data, tmp_path / "out")
    material = prepared.prepare(asked)
    assert material.classes == ("anger", "sad")
    assert len(material.parts) == 2
    tested = [s.id for part in material.parts for s in part.test]
    assert sorted(tested) == sorted(s.id for s in material.samples)
    for part in material.parts:  # no speaker on two sides
        sides = [{s.group for s in side} for side in (part.train, part.validation, part.test)]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert len(set(material.components.values())) == 12
    found = material.describe()
    assert found["name"] == "pairs"
    assert found["counts"] == {"anger": 12, "sad": 12}
    assert str(tmp_path) not in json.dumps(found)
    # The same folds for networks of one modality, which `train` deals itself.
    for row in THREE:
        network = network_options(row.variant, size="small")
        train_options = prepared.train_options(asked, "label", variant=row.variant, classes=material.classes)
        samples, _ = usable(open_data(asked.data), train_options, network)
        parts = deal_parts(samples, train_options)
        assert [[s.id for s in part.test] for part in parts] == [[s.id for s in part.test] for part in material.parts]


def test_own_folds_are_taken(data, tmp_path):
    made.rewrite(data / "manifest.csv", lambda s: replace(s, fold=int(s.group[-1]) % 2))
    material = prepared.prepare(made.options(data, tmp_path / "out"))
    assert all(s.fold == number for number, part in enumerate(material.parts) for s in part.test)
    with pytest.raises(ManifestError, match="not 0 to 2"):
        prepared.prepare(made.options(data, tmp_path / "out", folds=3))


@pytest.mark.parametrize(
    ("change", "folds", "target", "said"),
    [
        # All sad ones in fold 1: fold 0 could not be tested on them.
        (
            lambda s: replace(s, fold=int(s.label == "sad"), group=s.id),
            *(2, "label", r"fold 0, test part has no sample of class 'sad', of which there are 12"),
        ),
        (lambda s: replace(s, group=f"g{int(s.group.split('-')[1]) % 2}"), 5, "label", "2 sets"),
        # Two rare ones: each fold's training part has one of them, which cannot be on both of its sides.
        (
            lambda s: s if s.label == "sad" or s.id in ("anger-0", "anger-1") else None,
            *(2, "label", r"too small for --folds 2: its 14 samples .* 'anger', has 2;"),
        ),
        (
            lambda s: replace(s, label="", sentiment="neutral"),
            *(2, "label", r"no sample with a label, but 24 with a sentiment.*experiment table2"),
        ),
        (lambda s: replace(s, label=s.label if s.label == "sad" else ""), 2, "label", "one class only: 'sad'"),
        (lambda s: s, 2, "sentiment", "no sample with a sentiment"),
        (
            lambda s: replace(s, image=None) if s.id == "sad-3" else s,
            *(2, "label", r"1 of 24 samples have no speech or no picture, the first is 'sad-3'"),
        ),
    ],
)
def test_data_of_which_no_table_can_be_made_are_refused(data, tmp_path, change, folds, target, said):
    made.rewrite(data / "manifest.csv", change)
    with pytest.raises(ManifestError, match=said) as caught:
        prepared.prepare(made.options(data, tmp_path / "out", folds=folds), target_column=target)
    for foreign in ("10 parts", "build pairs", "--target-column"):  # what `train` would say
        assert foreign not in str(caught.value)


@pytest.mark.parametrize("damage", ["empty-metrics", "no-test", "not-whole"])
def test_a_damaged_fold_is_named_before_anything_is_trained(data, tmp_path, monkeypatch, damage):
    asked = made.options(data, tmp_path / "out")
    material = prepared.prepare(asked)
    calls = trained(monkeypatch, material)
    run(THREE, asked, material)
    fold = study.work_folder(asked) / "parallelnet" / "fold-1"
    if damage == "empty-metrics":
        (fold / METRICS).write_text("")
    elif damage == "no-test":
        (fold / "test.json").unlink()
    else:
        (fold / METRICS).write_text("{}")
    calls.clear()
    with pytest.raises(OptionError, match=r"remove the folder .*, and the same line trains it again") as caught:
        run(THREE, asked, material)
    assert str(caught.value).startswith(f"{fold}/")
    assert calls == []
    if damage != "no-test":  # `train --resume` reads the figures alone
        with pytest.raises(OptionError, match=r"fold-1/metrics\.json is damaged"):
            _collect(fold.parent, prepared.train_options(asked, "label", out=str(fold.parent)))


@pytest.mark.parametrize("error", [StoppedError(15), KeyboardInterrupt(), FullDiskError("The disk is full.")])
def test_a_stop_and_a_full_disk_are_no_failed_row(data, tmp_path, monkeypatch, error):
    def ends(*_, **__):
        raise error

    monkeypatch.setattr(study, "train", ends)
    with pytest.raises(type(error)) as caught:
        run(THREE, made.options(data, tmp_path / "out"))
    assert caught.value is error


@pytest.mark.parametrize("work", [None, "out", "elsewhere"])
def test_one_table_at_a_time_in_a_folder(data, tmp_path, work):
    asked = made.options(data, tmp_path / "out", work=None if work is None else str(tmp_path / work))
    with study.held(asked):
        for folder in {asked.out, str(study.work_folder(asked))}:
            with pytest.raises(ParallelNetError, match="Another process writes to"), records.held(Path(folder)):
                pytest.fail("two hold it")
        other = replace(asked, out=str(tmp_path / "other"), work=str(study.work_folder(asked)))
        with pytest.raises(ParallelNetError, match="Another process writes to"), study.held(other):
            pytest.fail("two tables train in one work folder")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FullDiskError, match=r"the same line goes on\.$"), study.held(asked):
        raise full


def test_another_table_in_the_folder_is_refused(data, tmp_path):
    def claim(recipe: Recipe = RECIPE, **changes):
        run((), made.options(data, tmp_path / "out", **changes), recipe=recipe)

    claim()
    claim(rows=("ser-only",), threads=2, max_minutes=3.0, n_bootstrap=9)  # hardware, limits and rows may change
    with pytest.raises(OptionError, match="seed was 0, is 1"):
        claim(seed=1)
    with pytest.raises(OptionError, match=r"epochs was 2, is 3.*another --work"):
        claim(replace(RECIPE, epochs=3))
    with pytest.raises(OptionError, match="size was 'small', is 'paper'"):
        claim(size="paper")
    made.rewrite(data / "manifest.csv", lambda s: None if s.id == "sad-3" else s)
    with pytest.raises(OptionError, match="fingerprint was"):
        claim()
    (tmp_path / "out" / "runs" / "plan.json").write_text("{")
    with pytest.raises(OptionError, match=r"plan\.json is damaged .* Mend: another --work"):
        claim()


def test_a_folder_of_something_else_is_refused(data, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("mine")
    asked = made.options(data, tmp_path / "out", work=str(tmp_path / "work"))
    with pytest.raises(OptionError, match="holds no runs of a table"):
        run(THREE, asked)
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["thesis.txt"]


def trained(monkeypatch, material, *, fail=None, stop=None):
    """Let training write finished folds at once; `fail` names a row that raises, `stop` a (row, fold) that stops."""
    calls = []

    def train(asked, recipe, *, quiet, store, before_part):
        folder = Path(asked.out)
        calls.append((folder.name, recipe.learning_rate, asked.folds, asked.classes, asked.init_from))
        if folder.name == fail:
            raise RuntimeError(f"out of memory in {folder}")
        if not (folder / "fold-0").exists():
            made.write_runs(folder.parent, folder.name, material, skill=0.5)
        for number in range(asked.folds):
            metrics = folder / f"fold-{number}" / METRICS
            hidden = metrics.with_suffix(".hidden")  # a fold counts as finished once its metrics are there
            if not hidden.exists() and not (folder / "begun").exists():
                metrics.rename(hidden)
        (folder / "begun").touch()
        for number in range(asked.folds):
            metrics = folder / f"fold-{number}" / METRICS
            if not metrics.exists():
                before_part(number)
                if (folder.name, number) == stop:
                    raise KeyboardInterrupt
                metrics.with_suffix(".hidden").rename(metrics)

    monkeypatch.setattr(study, "train", train)
    return calls


def test_rows_learn_alike_and_a_failing_one_says_why(data, tmp_path, monkeypatch):
    asked = made.options(data, tmp_path / "out")
    material = prepared.prepare(asked)
    calls = trained(monkeypatch, material, fail="ier-only")
    found = run(THREE, asked, material)
    assert [(o.row.key, o.n_done, o.reason) for o in found] == [
        ("ser-only", 2, ""),
        ("ier-only", 0, "failed: out of memory in ier-only"),
        ("parallelnet", 2, ""),
    ]
    assert calls == [(row.key, 1e-3, 2, ("anger", "sad"), ()) for row in THREE]


def eyes(folder: Path, backbone: str, size: str = "small") -> str:
    """Write a checkpoint that sees, named as its folder, and return its path."""
    network = network_options("ier-only", size=size, image_backbone=backbone)
    facts = ModelFacts(folder.name, "ier-only", network.to_dict(), ("a", "b"), network.modalities, True)
    written = checkpoint.write(folder, facts)
    written.weights.write_bytes(b"weights")
    return str(written.path)


def test_a_row_starts_from_the_checkpoints_that_share_a_branch_with_it(data, tmp_path):
    vgg, efficient = eyes(tmp_path / "vgg", "vgg19-narrow"), eyes(tmp_path / "efficient", "efficientnet-narrow")
    asked = made.options(data, tmp_path / "out")
    baseline = prepared.ROWS["baseline-1"]
    found = prepared.starts_of((*THREE, baseline), (vgg, efficient), asked)
    assert {row.key: found[row.key] for row in (*THREE, baseline)} == {
        "ser-only": (),  # ears take nothing from eyes
        "ier-only": (vgg,),
        "parallelnet": (vgg,),
        "baseline-1": (efficient,),
    }
    assert found["additive"] == (vgg,)
    assert prepared.published(replace(asked, init_from=(vgg, efficient)))["init_from"] == ["vgg", "efficient"]
    assert (
        prepared.starts_of(THREE, (efficient,), asked)["parallelnet"] == ()
    )  # a row of the table that is not asked for
    with pytest.raises(
        OptionError, match=r"its network \(vgg19 for image, 1024 wide\) shares no branch with any row at"
    ):
        prepared.starts_of(THREE, (vgg, eyes(tmp_path / "large", "vgg19", "paper")), asked)
    with pytest.raises(OptionError, match=r"--init-from names .* twice"):
        prepared.starts_of(THREE, (vgg, vgg), asked)
    with pytest.raises(CheckpointError, match="--init-from: No checkpoint 'nowhere'") as caught:
        run(THREE, asked, init_from=("nowhere",))
    assert "--checkpoint" not in str(caught.value)
    assert not study.work_folder(asked).exists()


def test_each_row_is_trained_with_its_own_starts(data, tmp_path, monkeypatch, caplog):
    asked = made.options(data, tmp_path / "out")
    material = prepared.prepare(asked)
    start = eyes(tmp_path / "eyes", "vgg19-narrow")
    calls = trained(monkeypatch, material)
    run(THREE, asked, material, init_from=(start,))
    assert [(call[0], call[4]) for call in calls] == [
        ("ser-only", ()),
        ("ier-only", (start,)),
        ("parallelnet", (start,)),
    ]
    # The same folder with other weights is another start, and one that no row takes from is told.
    (Path(start) / checkpoint.WEIGHTS).write_bytes(b"others")
    with pytest.raises(OptionError, match=r"init_from was \['eyes \(weights "):
        run(THREE, asked, material, init_from=(start,))
    (Path(start) / checkpoint.WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"--init-from .* has no model\.safetensors to start from"):
        run(THREE, asked, material, init_from=(start,))
    prepared.starts_of(THREE[:1], (start,), asked)
    assert "none of the rows that were asked for takes anything from it" in caplog.text


def test_an_interrupted_table_goes_on(data, tmp_path, monkeypatch):
    asked = made.options(data, tmp_path / "out")
    material = prepared.prepare(asked)
    with monkeypatch.context() as patch:
        trained(patch, material, stop=("ier-only", 1))
        with pytest.raises(KeyboardInterrupt):
            run(THREE, asked, material)
    work = study.work_folder(asked)
    before = (work / "ier-only" / "fold-0" / METRICS).stat().st_mtime_ns
    trained(monkeypatch, material)
    assert [o.reason for o in run(THREE, asked, material)] == ["", "", ""]
    assert (work / "ier-only" / "fold-0" / METRICS).stat().st_mtime_ns == before


def test_time_is_up_between_two_folds(data, tmp_path, monkeypatch):
    asked = made.options(data, tmp_path / "out", max_minutes=2.0)
    material = prepared.prepare(asked)
    trained(monkeypatch, material)
    minutes = iter([0.0, 0.5, 1.0, 1.5, 2.5, 3.0])  # asked for at the start, then before each fold
    monkeypatch.setattr(study.time, "monotonic", lambda: 60 * next(minutes))
    found = run(THREE, asked, material)
    assert [(o.n_done, o.reason) for o in found] == [
        (2, ""),
        (1, "1 of 2 folds, stopped after --max-minutes 2; the same line goes on"),
        (0, "not run: stopped after --max-minutes 2; the same line goes on"),
    ]


def test_the_same_network_is_not_trained_twice(data, tmp_path, monkeypatch):
    asked = made.options(data, tmp_path / "out")
    material = prepared.prepare(asked)
    calls = trained(monkeypatch, material)
    keys = ("parallelnet-resnet34", "parallelnet-resnet50", "resnet34-low-rate")
    found = run([prepared.ROWS[key] for key in keys], asked, material)
    assert [o.reason for o in found] == ["", "not run: at --size small the same network as parallelnet-resnet34", ""]
    assert [call[:2] for call in calls] == [(keys[0], 1e-3), (keys[2], pytest.approx(1e-4))]


def test_a_row_that_was_tested_on_other_samples_is_refused(data, tmp_path):
    material = prepared.prepare(made.options(data, tmp_path / "out"))
    made.write_runs(tmp_path, "ser-only", material, skill=0.5)
    assert len(study.read(tmp_path / "ser-only", material)) == 2
    swapped = replace(material, parts=material.parts[::-1])
    with pytest.raises(ManifestError, match="ser-only, fold 0, speech: tested on other samples"):
        study.read(tmp_path / "ser-only", swapped)


@pytest.mark.slow
def test_three_rows_for_real(data, tmp_path):
    asked = made.options(data, tmp_path / "out")
    material = prepared.prepare(asked)
    found = run(THREE, asked, material)
    assert [(o.n_done, o.reason) for o in found] == [(2, "")] * 3
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob(METRICS)}
    assert len(stamps) == 6
    assert run(THREE, asked, material) == found  # nothing is trained again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob(METRICS)} == stamps
