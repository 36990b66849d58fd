import sys
import types
import urllib.error

import pytest
import torch
from torch import nn

from parallelnet.errors import CheckpointError, MissingExtraError, OptionError
from parallelnet.models import features
from parallelnet.models.features import Normalise
from parallelnet.models.variants import BACKBONES, IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty torch hub cache, and nothing can be fetched into it."""

    def refuse(*_args, **_kwargs):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    yield tmp_path / "checkpoints"
    torch.hub.set_dir(before)


@pytest.mark.parametrize("name", BACKBONES)
def test_facts_agree_with_the_network(name):
    facts = BACKBONES[name]
    with torch.device("meta"):  # shapes without arithmetic
        feature = features.build(name).eval()(torch.zeros(1, 3, 128, 128))
    assert feature.shape[1] == facts.channels
    if facts.stride:
        assert feature.shape[2:] == (128 // facts.stride, 128 // facts.stride)


@pytest.mark.parametrize("name", ["squeezenet1_0", "shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf"])
def test_any_torchvision_classifier_serves(name):
    assert name not in BACKBONES
    feature = features.build(name).eval()(torch.rand(1, 3, 128, 128))
    assert feature.ndim == 4
    assert feature.isfinite().all()


def test_the_cut_keeps_what_torchvision_computes_before_its_pooling():
    from torchvision import models

    ours = features.build("mobilenet_v3_small").eval()
    theirs = models.get_model("mobilenet_v3_small", weights=None).eval()
    theirs.features.load_state_dict(ours[1].state_dict())
    x = torch.rand(1, 3, 128, 128)
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    # Two computations of the same sums of at most 10^3 float32 products a layer.
    torch.testing.assert_close(ours(x), theirs.features((x - mean) / std), rtol=1e-4, atol=1e-5)


def test_densenet_ends_in_the_relu_that_torchvision_keeps_outside_its_modules():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        feature = features.build("densenet121").eval()(torch.rand(1, 3, 64, 64))
    assert feature.min() == 0


def test_inception_weights_get_the_range_that_torchvision_transforms_to():
    x = torch.rand(2, 3, 4, 4)
    imagenet = Normalise(IMAGENET_MEAN, IMAGENET_STD)(x)
    scale, shift = torch.tensor(IMAGENET_STD) / 0.5, (torch.tensor(IMAGENET_MEAN) - 0.5) / 0.5
    transformed = imagenet * scale.view(3, 1, 1) + shift.view(3, 1, 1)  # torchvision's `transform_input`
    ours = Normalise(BACKBONES["inception3a"].mean, BACKBONES["inception3a"].std)(x)
    torch.testing.assert_close(ours, transformed)


def test_pretrained_weights_come_from_the_hub_cache(hub):
    from torchvision import models

    donor = models.get_model("mobilenet_v3_small", weights=None)
    hub.mkdir()
    torch.save(donor.state_dict(), hub / "mobilenet_v3_small-047dcff4.pth")
    built = features.build("mobilenet_v3_small", "imagenet")
    for ours, theirs in zip(built[1].parameters(), donor.features.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_that_cannot_be_fetched_name_the_cache_and_the_way_without(hub):
    with pytest.raises(CheckpointError, match="--weights none") as caught:
        features.build("mobilenet_v3_small", "imagenet")
    assert str(hub) in str(caught.value)
    assert "mobilenet_v3_small-047dcff4.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_networks_of_ours_have_no_pretrained_weights():
    with pytest.raises(OptionError, match="no pretrained weights"):
        features.build("compact-image", "imagenet")


def test_an_unknown_backbone_gets_a_suggestion():
    with pytest.raises(OptionError, match=r"Unknown backbone 'resnet19'. Did you mean 'resnet18'\?.*--backbone"):
        features.build("resnet19")


def test_timm_without_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"'timm:resnet18'.*parallelnet\[timm\]"):
        features.build("timm:resnet18")


class _TimmNet(nn.Module):
    pretrained_cfg = types.MappingProxyType({"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)})

    def forward_features(self, x):
        return x[..., ::32, ::32]


@pytest.mark.parametrize("name", ["hf-hub:someone/net", "local-dir:/tmp/net", "a/b"])
def test_a_timm_name_makes_nothing_be_fetched(name):
    with pytest.raises(OptionError, match=r"--backbone is 'timm:.*a name of timm's own list"):
        features.build(f"timm:{name}")


def test_timm_networks_get_the_normalisation_that_timm_names(monkeypatch):
    asked = {}

    def create_model(name, **options):
        asked.update(options, name=name)
        return _TimmNet()

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))
    feature = features.build("timm:some_net", "imagenet")(torch.zeros(1, 3, 128, 128))
    assert feature.shape == (1, 3, 4, 4)
    assert (feature == -2).all()  # (0 - 0.5) / 0.25
    assert asked == {"name": "some_net", "pretrained": True, "num_classes": 0}
