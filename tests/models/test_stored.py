import struct
from dataclasses import replace

import pytest
import torch
from torch import nn

from parallelnet.checkpoint import Checkpoint, ModelFacts
from parallelnet.errors import CheckpointError
from parallelnet.models.network import build
from parallelnet.models.stored import load_matching, open_network, save_weights
from parallelnet.models.variants import VARIANTS, BranchOptions, NetworkOptions


def net(width=3, *more):
    return nn.Sequential(nn.Conv2d(2, width, 3), nn.BatchNorm2d(width), *more)


def test_weights_and_running_statistics_come_back(tmp_path):
    first, second = net().to(memory_format=torch.channels_last), net()
    first(torch.rand(4, 2, 5, 5))
    path = save_weights(first, tmp_path / "new" / "model.safetensors")
    load_matching(second, path)
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"There are no weights at .*model.safetensors"):
        load_matching(net(), tmp_path / "model.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_a_cut_file_is_named(tmp_path, keep):
    path = save_weights(net(), tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"cannot be read: .* copy it again") as caught:
        load_matching(net(), path)
    assert "\n" not in str(caught.value)


def test_branches_trained_alone_move_into_the_network_with_both(tmp_path):
    alone, both = (build(VARIANTS[name].network, "abcd") for name in ("compact-ser-only", "compact"))
    before = {name: tensor.clone() for name, tensor in both.state_dict().items()}
    n = load_matching(both, save_weights(alone, tmp_path / "model.safetensors"))
    moved = {f"speech.{name}" for name in alone.speech.state_dict()}
    assert n == len(moved)
    for name, tensor in both.state_dict().items():
        source = alone.state_dict() if name in moved else before
        assert torch.equal(tensor, source[name]), name


def test_a_file_of_which_nothing_fits_is_refused(tmp_path):
    path = save_weights(nn.Linear(2, 2), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="has nothing that fits this network"):
        load_matching(net(), path)


NETWORK = NetworkOptions(image=BranchOptions("compact-image", (4, 4), input_pool=4), embed_dim=8, hidden=(6,))


def kept(folder, options=NETWORK, **changes):
    facts = ModelFacts("a", "b", NETWORK.to_dict(), classes=("a", "b"), modalities=("image",))
    save_weights(build(NETWORK, facts.classes), folder / "model.safetensors")
    return Checkpoint(folder, replace(facts, **{"network": options.to_dict(), **changes}))


def test_a_checkpoints_network_comes_back(tmp_path):
    opened = kept(tmp_path)
    assert open_network(opened).modalities == ("image",)


@pytest.mark.parametrize(
    ("options", "changes", "text"),
    [
        # Made before they are compared, these would take terabytes.
        (replace(NETWORK, embed_dim=10**9), {}, "smaller than the network that model.json describes"),
        (replace(NETWORK, hidden=(10**7, 10**7)), {}, "smaller than the network"),
        (replace(NETWORK, image=BranchOptions("compact-image", (10**6, 10**6))), {}, "smaller than the network"),
        (replace(NETWORK, hidden=(10**30,)), {}, "smaller than the network"),
        (
            replace(NETWORK, hidden=(5,)),
            {},
            r"belongs to another network: size mismatch .*\[6, 8\].* Mend: use the model",
        ),
        (replace(NETWORK, hidden=(6, 6)), {}, r"another network: Missing key.*fusion\.head\.6"),
        (replace(NETWORK, hidden=()), {}, r"another network: Unexpected key.*fusion\.head\.3"),
        (NETWORK, {"modalities": ("speech",)}, "takes image and is separable"),
        (NETWORK, {"separable": False}, "takes image and is separable"),
    ],
)
def test_weights_and_facts_that_do_not_belong_together_are_refused(tmp_path, options, changes, text):
    with pytest.raises(CheckpointError, match=text) as caught:
        open_network(kept(tmp_path, options, **changes))
    assert "\n" not in str(caught.value)


def header(content, size=None):
    return struct.pack("<Q", len(content) if size is None else size) + content


@pytest.mark.parametrize(
    "content",
    [
        header(b"{}", 2**62),
        header(b"[" * 100_000),
        header(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'),
        header(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}}') + b"\0" * 4,
        header(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + b"\0" * 4,
        header(b'{"a\\u001b[31m":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}') + b"\0" * 4,
    ],
)
def test_headers_that_lie_are_one_line(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_matching(net(), path)
    assert str(caught.value).isprintable()
