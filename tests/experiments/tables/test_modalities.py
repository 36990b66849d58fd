"""The study from run folders to files: what is read, what is compared, what is said of what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from parallelnet import checkpoint
from parallelnet.errors import ManifestError, OptionError
from parallelnet.options import PRESETS, ModalitiesOptions
from parallelnet.training.parts import Parts
from parallelnet.types import Sample
from parallelnet_experiments.tables import modalities, pages, prepared, result_plots, study

CLASSES = ("anger", "sad")
N_FOLDS = 2
SETTINGS = {"parallelnet": ("both", "speech", "image"), "ser-only": ("speech",), "ier-only": ("image",)}
SKILL = {"both": 2.5, "speech": 1.5, "image": 0.5}


def write_run(folder: Path, modality_settings: tuple[str, ...]) -> Path:
    """Write what `train` leaves of a run, as far as it is read: the answers of two folds and their calibration."""
    for fold in range(N_FOLDS):
        rng = np.random.default_rng(fold)
        labels = rng.integers(2, size=30)
        said = {}
        for setting in modality_settings:
            logits = rng.normal(size=(30, 2)) + SKILL[setting] * np.eye(2)[labels]
            both = {}
            for name, temperature in (("raw_probs", 0.5), ("probs", 1.0)):
                raised = np.exp(logits / temperature)
                both[name] = (raised / raised.sum(axis=1, keepdims=True)).round(6).tolist()
            ids = [f"{fold}-{k}" for k in range(30)]
            said[setting] = {"ids": ids, "labels": labels.tolist(), **both}
        taken = tuple(name for name in ("speech", "image") if name in modality_settings)
        facts = checkpoint.ModelFacts(
            "x",
            "x",
            {name: {"backbone": "vgg16-narrow"} for name in taken},
            CLASSES,
            taken,
            True,
            temperatures=dict.fromkeys(modality_settings, 1.5 + fold),
            conformal=dict.fromkeys(modality_settings, 0.6),
        )
        checkpoint.write(folder / f"fold-{fold}" / "checkpoint", facts)
        home = folder / f"fold-{fold}"
        (home / "test.json").write_text(json.dumps({"classes": CLASSES, "settings": said}))
        (home / "metrics.json").write_text(json.dumps({"test": {name: {} for name in said}, "validation": {}}))
    return folder


COMPONENTS = {f"{fold}-{k}": f"{fold}-{k // 3}" for fold in range(N_FOLDS) for k in range(30)}
PARTS = tuple(Parts((), (), tuple(Sample(f"{fold}-{k}", speech="x") for k in range(30))) for fold in range(N_FOLDS))
MATERIAL = prepared.Material("toy", (), {}, CLASSES, PARTS, COMPONENTS, "f", 0)


def test_answers_are_those_of_the_folds(tmp_path):
    folder = write_run(tmp_path / "parallelnet", SETTINGS["parallelnet"])
    found = modalities.read_answers(folder, "speech", MATERIAL)
    said = json.loads((folder / "fold-1" / "test.json").read_text())["settings"]["speech"]
    assert found.pooled.ids[30:] == tuple(said["ids"])
    np.testing.assert_allclose(found.pooled.probs[30:], said["probs"], atol=2e-6)  # kept with six decimals
    np.testing.assert_allclose(found.pooled.raw[30:], said["raw_probs"], atol=2e-6)
    assert found.pooled.labels[30:].tolist() == said["labels"]
    assert found.temperatures == (1.5, 2.5)
    assert found.thresholds == (0.6, 0.6)
    assert set(found.pooled.groups) == set(COMPONENTS.values())
    np.testing.assert_allclose(found.pooled.probs.sum(axis=1), 1, atol=1e-12)


def test_a_setting_that_was_not_tested_is_refused(tmp_path):
    folder = write_run(tmp_path / "ser-only", SETTINGS["ser-only"])
    with pytest.raises(ManifestError, match="fold 0 was not tested with both; there are speech"):
        modalities.read_answers(folder, "both", MATERIAL)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Stand in for data and training: all rows but those of `failing` have run folders."""
    failing: dict[str, str] = {}
    asked = []

    def run(self, rows):
        outcomes = []
        for row in rows:
            asked.append((row.key, row.variant, row.recipe(self.recipe).modality_dropout))
            reason = failing.get(row.key, "")
            folder = tmp_path / "runs" / row.key
            if not reason:
                write_run(folder, SETTINGS[row.variant])
            outcomes.append(study.Outcome(row, folder, reason))
        return tuple(outcomes)

    monkeypatch.setattr(prepared, "prepare", lambda options: MATERIAL)
    monkeypatch.setattr(study.Study, "run", run)
    monkeypatch.setattr(result_plots, "save", lambda kind, record, folder: ())
    given = ModalitiesOptions(data="/somewhere/toy", out=str(tmp_path / "out"), folds=N_FOLDS, n_bootstrap=50)
    return given, failing, asked


def test_every_setting_is_measured_and_compared(trained, tmp_path):
    given, _, asked = trained
    path = modalities.measure(replace(given, with_dropout=0.3), PRESETS["paper"])
    assert asked == [
        ("parallelnet", "parallelnet", 0.0),
        ("ser-only", "ser-only", 0.0),
        ("ier-only", "ier-only", 0.0),
        ("parallelnet-dropout-0.3", "parallelnet", 0.3),
    ]
    record = json.loads(path.read_text())
    assert [row["key"] for row in record["rows"]] == [
        "both",
        "both-without-image",
        "both-without-speech",
        "speech",
        "image",
        "dropout-both",
        "dropout-without-image",
        "dropout-without-speech",
    ]
    assert all("found" in row for row in record["rows"])
    assert record["best_single"] == "speech"
    assert len(record["differences"]) == 9
    first = record["differences"][0]
    accuracies = {row["key"]: row["found"]["metrics"]["accuracy"] for row in record["rows"]}
    assert first["found"]["accuracy"]["difference"] == pytest.approx(accuracies["both"] - accuracies["speech"])
    for name, text in pages.files("modalities", record).items():
        assert (path.parent / name).read_text() == text
    assert "/somewhere" not in path.read_text()
    assert record["options"]["recipe"] == json.loads(json.dumps(asdict(PRESETS["paper"])))
    assert {"date", "machine", "versions"} <= set(record)
    assert set(record["backbones"]) == {"parallelnet", "ser-only", "ier-only", "parallelnet-dropout-0.3"}
    assert record["backbones"]["ser-only"] == {"speech": "vgg16-narrow"}
    assert record["data"]["built"] is None


def test_what_is_missing_says_why(trained):
    given, failing, _ = trained
    failing["ier-only"] = "2 of 5 folds: stopped after --max-minutes 1"
    path = modalities.measure(given, PRESETS["paper"])
    rows = {row["key"]: row for row in json.loads(path.read_text())["rows"]}
    assert rows["image"]["missing"] == failing["ier-only"]
    assert rows["dropout-both"]["missing"] == "not run: no --with-dropout"
    text = (path.parent / "modalities.md").read_text()
    assert "| picture alone | ier-only | - | 2 of 5 folds: stopped after --max-minutes 1 |" in text
    assert "picture alone: 2 of 5 folds" in text
    assert json.loads(path.read_text())["best_single"] == "speech"


def test_nothing_finished_is_an_error(trained):
    given, failing, _ = trained
    failing |= dict.fromkeys(SETTINGS, "not run: stopped")
    with pytest.raises(ManifestError, match="No network is finished on all folds: parallelnet: not run: stopped"):
        modalities.measure(given, PRESETS["paper"])
    assert not list(Path(given.out).glob("*.*"))  # only the folder of the runs


def test_options_that_contradict(trained):
    given, _, _ = trained
    assert not hasattr(given, "rows")  # the study has its own, so the command does not offer the flag
    same = PRESETS["compact"].modality_dropout
    with pytest.raises(OptionError, match="every row of this recipe has already"):
        modalities.measure(replace(given, with_dropout=same), PRESETS["compact"])
    with pytest.raises(OptionError, match=r"--with-dropout is 1\.0"):
        replace(given, with_dropout=1.0)
