"""The whole way on a data set of twelve clips: learns, resumes to the same bits, folds, freezes, refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from parallelnet import checkpoint
from parallelnet.data.manifest import read_manifest, write_manifest
from parallelnet.errors import CheckpointError, ManifestError, OptionError
from parallelnet.models.stored import load_matching
from parallelnet.models.variants import VARIANTS
from parallelnet.options import PRESETS, AugmentOptions, Recipe, TrainOptions
from parallelnet.training import fit, run
from parallelnet.training.learner import Learner, class_weights

RECIPE = replace(
    PRESETS["compact"], epochs=3, batch_size=4, ema=0.5, speech_versions=2, modality_dropout=0.3, clip_gradient=5.0
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small batches on shared cores run faster, and steadier, on one thread."""
    torch.set_num_threads(1)


def options(data: Path, out: Path, *, export: bool = False, **changes: object) -> TrainOptions:
    # Graphs take longer to write than these networks to train: one test asks for them.
    return TrainOptions(data=str(data), out=str(out), accelerator="cpu", export=export, **changes)  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / checkpoint.WEIGHTS)


def test_a_stopped_run_goes_on_to_the_same_bits(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run.train(options(pairs, tmp_path / "whole", export=True), RECIPE, quiet=True)

    original = Learner.on_train_epoch_start

    def stop(self: Learner) -> None:
        original(self)
        if self.current_epoch == 2:
            raise RuntimeError("pulled plug")

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "on_train_epoch_start", stop)
        with pytest.raises(RuntimeError, match="pulled plug"):
            run.train(options(pairs, tmp_path / "cut"), RECIPE, quiet=True)
    assert not (tmp_path / "cut" / run.METRICS).exists()
    with pytest.raises(OptionError, match=r"not empty.*--resume"):
        run.train(options(pairs, tmp_path / "cut"), RECIPE, quiet=True)
    with pytest.raises(OptionError, match="seed was 0, is 1"):
        run.train(options(pairs, tmp_path / "cut", resume=True, seed=1), RECIPE, quiet=True)
    with pytest.raises(OptionError, match="learning_rate"):
        run.train(options(pairs, tmp_path / "cut", resume=True), replace(RECIPE, learning_rate=1.0), quiet=True)
    run.train(options(pairs, tmp_path / "cut", resume=True), RECIPE, quiet=True)

    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(first[name], second[name]) for name in first)
    logs = [fit.read_log(tmp_path / name) for name in ("whole", "cut")]
    assert logs[0] == logs[1]

    # What was said of each test sample gives the published figures again.
    said = json.loads((tmp_path / "whole" / run.TEST).read_text())
    both = said["settings"]["both"]
    assert set(said["settings"]) == {"both", "speech", "image"}
    assert [name.rpartition("-")[0] for name in both["ids"]] == [said["classes"][k] for k in both["labels"]]
    right = np.mean(np.argmax(both["probs"], axis=1) == both["labels"])
    record = json.loads((tmp_path / "whole" / run.METRICS).read_text())
    assert right == record["test"]["both"]["accuracy"]
    assert np.argmax(both["raw_probs"], axis=1).tolist() == np.argmax(both["probs"], axis=1).tolist()
    assert record["validation"]["both"]["n"] == 2

    # And what a run leaves behind is all there.
    facts = checkpoint.read(whole.checkpoints[0]).facts
    assert facts.classes == ("anger", "sad")
    assert facts.data["train"]["speakers"] == 4
    assert facts.metrics["test"]["both"]["n"] == 2
    assert all((whole.checkpoints[0] / name).is_file() for name in (*facts.graphs, "README.md"))
    assert "| both |" not in (whole.checkpoints[0] / "README.md").read_text()  # settings stand there in words
    assert all((tmp_path / "whole" / name).is_file() for name in ("training.png", "both/confusion.png", "options.json"))
    assert not (tmp_path / "whole" / "state").exists()
    rows = fit.read_log(tmp_path / "whole")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert {"train_loss", "validation_loss", "validation_kappa", "train_macro_f1"} <= set(rows[0])

    # A finished run is not trained again.
    before = (tmp_path / "whole" / run.METRICS).stat().st_mtime_ns
    again = run.train(options(pairs, tmp_path / "whole", resume=True), RECIPE, quiet=True)
    assert (tmp_path / "whole" / run.METRICS).stat().st_mtime_ns == before
    assert again.to_json() == whole.to_json()


def test_before_part_can_stop_a_run_between_its_folds(unsplit: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    def stop(number: int) -> None:
        asked.append(number)
        if number == 1:
            raise TimeoutError("no time left")

    chosen = options(unsplit, tmp_path / "run", folds=3, resume=True, variant="ier-only", size="small")
    recipe = replace(RECIPE, epochs=1)
    with pytest.raises(TimeoutError, match="no time left"):
        run.train(chosen, recipe, quiet=True, before_part=stop)
    assert (tmp_path / "run" / "fold-0" / run.METRICS).is_file()
    assert not (tmp_path / "run" / "fold-1").exists()
    run.train(chosen, recipe, quiet=True, before_part=asked.append)
    assert asked == [0, 1, 1, 2]


def test_it_learns(pairs: Path, tmp_path: Path) -> None:
    recipe = Recipe(epochs=12, batch_size=8, learning_rate=2e-3, early_stopping=0, keep="last")
    report = run.train(options(pairs, tmp_path / "run"), recipe, quiet=True)
    losses = [row["train_loss"] for row in fit.read_log(tmp_path / "run")]
    assert losses[-1] < 0.5 * losses[0]
    assert report.metrics[0]["both"].accuracy == 1.0


def test_folds_are_summed_up(unsplit: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1, augment=AugmentOptions())
    report = run.train(options(unsplit, tmp_path / "run", folds=2, variant="compact-ser-only"), recipe, quiet=True)
    assert len(report.checkpoints) == 2
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == report.summary
    assert report.summary["speech"]["n_folds"] == 2
    mean = np.mean([m["speech"].accuracy for m in report.metrics])
    assert report.summary["speech"]["mean"]["accuracy"] == pytest.approx(mean)


def test_frozen_branches_stay_and_the_rest_learns(pairs: Path, tmp_path: Path) -> None:
    start = run.train(options(pairs, tmp_path / "start"), replace(RECIPE, epochs=1), quiet=True)
    source = weights(tmp_path / "start")
    plain = replace(RECIPE, epochs=2, ema=0.0, augment=AugmentOptions(), speech_versions=0)
    frozen = options(pairs, tmp_path / "kept", init_from=(str(start.checkpoints[0]),), freeze="branches")
    run.train(frozen, plain, quiet=True)
    after = weights(tmp_path / "kept")
    changed = {name for name in after if not torch.equal(after[name], source[name])}
    assert changed
    assert all(name.startswith("fusion.") for name in changed)


def test_frozen_backbones_train_the_rest(pairs: Path, tmp_path: Path) -> None:
    plain = replace(RECIPE, epochs=1, ema=0.0, augment=AugmentOptions(), speech_versions=0)
    run.train(options(pairs, tmp_path / "a", freeze="backbones"), plain, quiet=True)
    run.train(options(pairs, tmp_path / "b", freeze="backbones"), replace(plain, learning_rate=1e-2), quiet=True)
    first, second = weights(tmp_path / "a"), weights(tmp_path / "b")
    same = {name for name in first if torch.equal(first[name], second[name])}
    assert {name for name in first if ".n2.backbone." in name} <= same
    assert torch.equal(first["speech.n2.adapt.weight"], torch.ones(3, 1, 1, 1))
    assert any(".n1." in name for name in set(first) - same)


def test_ears_and_eyes_are_taken_over_by_name(pairs: Path, tmp_path: Path) -> None:
    for variant in ("compact-ser-only", "compact-ier-only"):
        short = replace(RECIPE, epochs=1)
        run.train(options(pairs, tmp_path / variant, variant=variant), short, quiet=True)
    network = run.build(VARIANTS["compact"].network, ("anger", "sad"))
    for variant, part in (("compact-ser-only", "speech."), ("compact-ier-only", "image.")):
        file = tmp_path / variant / "checkpoint" / checkpoint.WEIGHTS
        n_taken = load_matching(network, file)
        assert n_taken == sum(name.startswith(part) for name in load_file(file))
        assert torch.equal(network.state_dict()[f"{part}n1.map.0.weight"], load_file(file)[f"{part}n1.map.0.weight"])


def test_auxiliary_columns_are_learnt_and_thrown_away(pairs: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1, auxiliary=("sex",), augment=AugmentOptions())
    run.train(options(pairs, tmp_path / "run", variant="compact-ser-only"), recipe, quiet=True)
    assert not [name for name in weights(tmp_path / "run") if "auxiliary" in name]
    with pytest.raises(ManifestError, match=r"--auxiliary colour: .* 0 value"):
        run.train(options(pairs, tmp_path / "other"), replace(recipe, auxiliary=("colour",)), quiet=True)
    with pytest.raises(OptionError, match="--auxiliary cannot be given with --mixup"):
        replace(recipe, augment=AugmentOptions(mixup=0.2))


def test_a_speaker_in_two_splits_is_refused(pairs: Path, tmp_path: Path) -> None:
    samples = read_manifest(pairs)
    write_manifest(pairs, [replace(s, group="speaker-0") for s in samples])
    with pytest.raises(ManifestError, match="group 'speaker-0' stands in split"):
        run.train(options(pairs, tmp_path / "run"), RECIPE, quiet=True)


def test_a_label_outside_the_classes_is_refused(pairs: Path, tmp_path: Path) -> None:
    samples = read_manifest(pairs)
    write_manifest(pairs, [replace(s, label="hate") if s.split == "test" else s for s in samples])
    with pytest.raises(ManifestError, match="label 'hate'; the classes are anger, sad"):
        run.train(options(pairs, tmp_path / "run"), RECIPE, quiet=True)


def test_starting_weights_that_are_not_there_are_refused(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No checkpoint"):
        run.train(options(pairs, tmp_path / "run", init_from=(str(tmp_path / "none"),)), RECIPE, quiet=True)


def test_class_weights_are_scikit_learn_s() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = [0, 0, 0, 1, 2, 2]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(labels, 3), expected)
