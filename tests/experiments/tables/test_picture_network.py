"""The picture network: it sees pictures alone, learns the labels it is given, and is VGG19 but for its last layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from parallelnet.data.loading import SignalStore
from parallelnet.errors import CheckpointError
from parallelnet.models import features, variants
from parallelnet.models.network import freeze
from parallelnet.options import PRESETS, AugmentOptions, Recipe, SignalOptions, Table2Options
from parallelnet.training.parts import Parts
from parallelnet.types import SENTIMENTS, Sample
from parallelnet_experiments.tables import picture_network
from parallelnet_experiments.tables.picture_network import picture_network as build_network
from parallelnet_experiments.tables.prepared import Row
from parallelnet_experiments.tables.study import FoldTask

RECIPE = Recipe(epochs=12, batch_size=8, learning_rate=2e-2, early_stopping=0, keep="last", class_weights="balanced")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small batches on shared cores run faster, and steadier, on one thread."""
    torch.set_num_threads(1)


def write_pictures(folder: Path, n_per_class: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    folder.mkdir()
    samples = []
    for k in range(3 * n_per_class):
        pixels = rng.integers(0, 60, (32, 32, 3))
        pixels[:, :, k % 3] += 180
        path = folder / f"{k}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        # The speech is not there: whoever opens it fails.
        samples.append(Sample(f"t{k}", speech="none.wav", image=str(path), sentiment=SENTIMENTS[k % 3]))
    return samples


def train(samples: list[Sample], labels: np.ndarray, folder: Path, **changes: Any) -> SimpleNamespace:
    given = picture_network.pictures(samples, labels)
    asked = {"size": "small", "start": "none", "recipe": RECIPE} | changes
    start, recipe = asked.pop("start"), asked.pop("recipe")
    options = Table2Options(data="", out="", accelerator="cpu", **asked)
    study = SimpleNamespace(options=options, recipe=recipe, quiet=True)
    store, parts = SignalStore(SignalOptions()), Parts((), tuple(samples), tuple(samples))
    row = Row("", "", "", "", start=start)
    task = FoldTask(row, 0, parts, folder, study, store)  # type: ignore[arg-type]
    (validation_probs, test_probs), facts = picture_network.train_pictures(task, given)
    return SimpleNamespace(validation_probs=validation_probs, test_probs=test_probs, facts=facts)


class TinyVgg(nn.Module):
    """What torchvision's VGG19 has, small: `features`, `avgpool`, `classifier` with the last layer last."""

    def __init__(self, n_content: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(8))
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(
            *(nn.Linear(16, 12), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Linear(12, 8), nn.ReLU(), nn.Dropout(0.1)),
            nn.Linear(8, n_content),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def test_a_network_learns_the_labels_it_is_given_from_pictures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_network, "vgg19", lambda start: TinyVgg())
    monkeypatch.setattr(picture_network, "VGG_SIDE", 64)
    samples = write_pictures(tmp_path / "pictures", 8)
    turned = (np.arange(24) + 1) % 3  # not what the samples say of themselves
    trained = train(samples, turned, tmp_path / "run", size="paper")
    assert (trained.test_probs.argmax(axis=1) == turned).mean() > 0.9
    np.testing.assert_allclose(trained.test_probs.sum(axis=1), 1)
    # Both parts are the same pictures in the same batches here, so the same calls.
    np.testing.assert_array_equal(trained.test_probs, trained.validation_probs)
    assert trained.facts["network"] == "VGG19, random weights"
    assert trained.facts["epochs"] == RECIPE.epochs
    assert not (tmp_path / "run" / "state").exists()


def test_the_small_network_is_narrow(tmp_path: Path) -> None:
    samples = write_pictures(tmp_path / "pictures", 2)
    trained = train(samples, np.arange(6) % 3, tmp_path / "run", recipe=replace(RECIPE, epochs=1))
    assert trained.facts["network"] == "VGG19 narrow, 32 x 32 pictures, random weights"
    assert trained.test_probs.shape == (6, 3)
    assert trained.facts["parameters"] < 500_000


def test_vgg19_keeps_all_but_its_last_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = TinyVgg().eval()
    monkeypatch.setattr(picture_network, "vgg19", lambda start: model)
    network = build_network(SENTIMENTS, "paper", "imagenet").eval()
    pictures = torch.rand(2, 3, 128, 128)
    large = nn.functional.interpolate(pictures, size=(224, 224), mode="bilinear", align_corners=False)
    normalised = features.Normalise(variants.IMAGENET_MEAN, variants.IMAGENET_STD)(large)
    up_to_fc7 = model.classifier[:-1](torch.flatten(model.avgpool(model.features(normalised)), 1))
    head = network.fusion.head
    assert head.weight.shape == (3, 8)  # type: ignore[union-attr]
    torch.testing.assert_close(network.logits(image=pictures), head(up_to_fc7))
    # fc6 upward: convolutions stay, dense layers learn.
    freeze(network, "backbones")
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    assert not any("backbone" in name for name in learning)
    assert {name.split(".")[0] for name in learning} == {"image", "fusion"}
    assert sum(name.endswith("weight") for name in learning) == 3  # fc6, fc7, the new layer


@pytest.mark.parametrize("fine_tune", ["fc6", "all"])
def test_fine_tuning_changes_what_it_says(fine_tune: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = TinyVgg()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    monkeypatch.setattr(picture_network, "vgg19", lambda start: model)
    samples = write_pictures(tmp_path / "pictures", 2)
    recipe = replace(RECIPE, epochs=1)
    trained = train(
        samples, np.arange(6) % 3, tmp_path / "run", size="paper", start="imagenet", fine_tune=fine_tune, recipe=recipe
    )
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("features") for name in changed) == (fine_tune == "all")
    assert {"classifier.0.weight", "classifier.3.weight"} <= changed
    assert "classifier.6.weight" not in changed  # ImageNet's last layer is not used
    assert trained.facts["network"] == "VGG19, ImageNet weights"
    assert trained.facts["fine_tuned"] == fine_tune


def test_content_is_what_the_whole_classifier_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_network, "VGG_SIDE", 64)
    torch.manual_seed(0)
    model = TinyVgg().eval()
    samples = write_pictures(tmp_path / "pictures", 6)  # more than one batch
    store = SignalStore(SignalOptions())
    found = picture_network.content_probs(samples, store, model)
    assert found.shape == (18, 10)
    picture = torch.from_numpy(store.picture(samples[17].image or ""))[None]
    small = nn.functional.interpolate(picture, size=(64, 64), mode="bilinear", align_corners=False)
    logits = model(features.Normalise(variants.IMAGENET_MEAN, variants.IMAGENET_STD)(small))
    np.testing.assert_allclose(found[17], logits.softmax(-1)[0].detach().numpy(), rtol=1e-4)


def test_weights_that_cannot_be_fetched_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    def refused(*_: Any, **__: Any) -> nn.Module:
        raise OSError("no network here")

    monkeypatch.setattr(models, "get_model", refused)
    with pytest.raises(CheckpointError, match="weights of vgg19 could not be fetched"):
        picture_network.vgg19("imagenet")


@pytest.mark.slow
def test_the_real_vgg19_from_random_weights(tmp_path: Path) -> None:
    samples = write_pictures(tmp_path / "pictures", 1)
    recipe = replace(PRESETS["paper"], epochs=1, augment=AugmentOptions())
    trained = train(samples, np.arange(3), tmp_path / "run", size="paper", fine_tune="fc6", recipe=recipe)
    # 139,570,240 of VGG19 without its last layer, and 3 x (4096 + 1).
    assert trained.facts["parameters"] == 139_570_240 + 3 * 4097
    assert trained.test_probs.shape == (3, 3)
    content = picture_network.content_probs(samples, SignalStore(SignalOptions()), picture_network.vgg19("none"))
    assert content.shape == (3, 1000)
