import json
import subprocess
import sys

import pytest

from parallelnet.errors import CheckpointError, OptionError
from parallelnet.models.network import build
from parallelnet.models.variants import (
    NARROW,
    NARROW_CHANNELS,
    SMALL_SIDE,
    VARIANTS,
    BranchOptions,
    NetworkOptions,
    network_options,
)

STUDIES = {
    "parallelnet-vgg16": "vgg16",
    "parallelnet-vgg19": "vgg19",
    "parallelnet-resnet34": "resnet34",
    "parallelnet-resnet50": "resnet50",
    "parallelnet-resnet101": "resnet101",
    "parallelnet-inception3a": "inception3a",
    "parallelnet-inception4a": "inception4a",
    "parallelnet-mobilenet": "mobilenet_v2",
    "parallelnet-densenet": "densenet121",
    "parallelnet-efficientnet": "efficientnet_b0",
}


def test_every_row_of_the_papers_studies_is_there():
    rows = {"ser-only", "ier-only", "baseline-1", "baseline-2", "baseline-3", "parallelnet", "parallelnet-additive"}
    assert rows | set(STUDIES) | {"compact"} <= set(VARIANTS)


def test_the_proposed_network_has_the_papers_facts():
    proposed = VARIANTS["parallelnet"].network
    assert (proposed.speech.backbone, proposed.image.backbone) == ("vgg16", "vgg19")
    assert (proposed.configuration, proposed.fusion) == (3, "multiply")
    assert (proposed.embed_dim, proposed.hidden) == (1024, (1024, 1024))


@pytest.mark.parametrize(("name", "backbone"), STUDIES.items())
def test_a_study_differs_from_the_proposed_network_in_its_backbones_only(name, backbone):
    assert VARIANTS[name].network == network_options("parallelnet", backbone=backbone)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_baseline_is_efficientnet_in_its_configuration(number):
    row = VARIANTS[f"baseline-{number}"]
    assert row.network.configuration == number
    assert {row.network.speech.backbone, row.network.image.backbone} == {"efficientnet_b0"}
    assert row.network.separable == (number == 3)


def test_single_modality_rows_are_separable_and_say_what_they_take():
    assert VARIANTS["ser-only"].network.modalities == ("speech",)
    assert VARIANTS["ier-only"].network.modalities == ("image",)
    assert VARIANTS["ser-only"].network.separable


@pytest.mark.parametrize("name", VARIANTS)
def test_options_survive_json(name):
    options = VARIANTS[name].network
    assert NetworkOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


@pytest.mark.parametrize("name", ["compact", "compact-ser-only", "baseline-1", "baseline-2", "parallelnet-additive"])
def test_a_network_has_more_weights_than_the_fewest(name):
    options = network_options(name, size="small")
    n = sum(weights.numel() for weights in build(options, "abcd").state_dict().values())
    # Half of the small networks' weights are in N1 and the dense layers: a bound that would notice a damaged width.
    assert n / 10 < options.fewest_weights < n


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.pop("hidden"),
        lambda record: record.update(colour="red"),
        lambda record: record.update(configuration=4),
        lambda record: record.update(hidden=7),
        lambda record: record["speech"].pop("channels"),
        lambda record: record.update(speech="vgg16"),
        lambda record: record.update(embed_dim="many"),
    ],
)
def test_damaged_options_are_a_checkpoint_error(spoil):
    record = VARIANTS["parallelnet"].network.to_dict()
    spoil(record)
    with pytest.raises(CheckpointError, match="network is damaged"):
        NetworkOptions.from_dict(record)


def test_a_backbone_override_reaches_both_modalities_and_its_own_goes_first():
    both = network_options("parallelnet", backbone="resnet18")
    assert (both.speech.backbone, both.image.backbone) == ("resnet18", "resnet18")
    one = network_options("parallelnet", backbone="resnet18", image_backbone="resnet50")
    assert (one.speech.backbone, one.image.backbone) == ("resnet18", "resnet50")
    alone = network_options("ser-only", backbone="resnet18")
    assert alone.speech.backbone == "resnet18"
    assert alone.image is None


@pytest.mark.parametrize("name", [name for name in VARIANTS if not name.startswith("compact")])
def test_the_small_counterpart_keeps_the_structure_and_narrows_the_rest(name):
    row, narrow = VARIANTS[name].network, network_options(name, size="small")
    for fact in ("modalities", "configuration", "fusion", "separable"):
        assert getattr(narrow, fact) == getattr(row, fact)
    assert narrow.embed_dim < row.embed_dim
    for modality in row.modalities:
        own, small = getattr(row, modality), getattr(narrow, modality)
        assert small.backbone == NARROW.get(own.backbone, own.backbone)
        assert (128 // small.input_pool, small.channels) == (SMALL_SIDE, NARROW_CHANNELS)


def test_compact_is_small_already():
    assert network_options("compact", size="small") == VARIANTS["compact"].network


def test_a_given_backbone_goes_before_the_narrow_one():
    assert network_options("ser-only", size="small", backbone="vgg11").speech.backbone == "vgg11"


def test_a_backbone_for_a_modality_that_is_not_there_is_refused():
    with pytest.raises(OptionError, match=r"--image-backbone is 'vgg11', but variant 'ser-only' takes no image"):
        network_options("ser-only", image_backbone="vgg11")


def test_an_unknown_variant_gets_a_suggestion():
    with pytest.raises(OptionError, match=r"Unknown variant 'compakt'. Did you mean 'compact'\?.*--variant"):
        network_options("compakt")


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "neither was given"),
        ({"speech": BranchOptions("vgg16"), "configuration": 0}, "configuration is 0"),
        ({"speech": BranchOptions("vgg16", grey=True)}, "grey is set for speech"),
        ({"speech": BranchOptions("vgg16", mirror=True)}, "mirror is set for speech"),
        (
            {"speech": BranchOptions("vgg16"), "image": BranchOptions("vgg16", mirror=True), "configuration": 2},
            "mirror needs",
        ),
        ({"speech": BranchOptions("vgg16"), "fusion": "max"}, "fusion is 'max'; allowed: multiply, add"),
        ({"speech": BranchOptions("vgg16"), "embed_dim": 0}, "embed_dim is"),
        ({"speech": BranchOptions("vgg16"), "hidden": (8, -1)}, "hidden is"),
        ({"speech": BranchOptions("vgg16"), "dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_options_out_of_range_name_what_is_allowed(facts, text):
    with pytest.raises(OptionError, match=text):
        NetworkOptions(**facts)


@pytest.mark.parametrize("branch", [{"input_pool": 3}, {"channels": (4,) * 8}, {"input_pool": 64, "channels": (4, 4)}])
def test_branches_that_leave_nothing_of_the_input_are_refused(branch):
    with pytest.raises(OptionError, match="leaves nothing of a 128 x 128"):
        BranchOptions("vgg16", **branch)


def test_listing_variants_and_backbones_loads_no_torch():
    code = (
        "import sys, parallelnet.models.variants;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'torchvision', 'timm', 'onnx', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
