"""Equations against plain torch, counts against arithmetic, and every row of the paper's studies run once."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from parallelnet import checkpoint
from parallelnet.errors import InputError, OptionError
from parallelnet.models.layers import embedding
from parallelnet.models.network import ParallelNet, build
from parallelnet.models.stored import open_network, save_weights
from parallelnet.models.variants import VARIANTS, BranchOptions, NetworkOptions
from parallelnet.types import EMOTIONS

SMALL = NetworkOptions(
    speech=BranchOptions("compact-speech", (4, 4, 4, 4, 4)),
    image=BranchOptions("compact-image", (4, 4, 4), input_pool=2),
    embed_dim=8,
    hidden=(6, 5),
)
# Sums of at most some 10^4 float32 products in another order: sqrt(1e4) roundings of 6e-8, with a margin of ten.
CLOSE = {"rtol": 1e-4, "atol": 6e-5}

PARAMETERS = {
    "compact": 1_427_501,
    "compact-ser-only": 505_906,
    "compact-ier-only": 896_564,
    "parallelnet": 74_804_661,
    "ser-only": 33_695_690,
    "ier-only": 39_005_668,
    "baseline-1": 73_250_355,
    "baseline-2": 73_250_355,
    "baseline-3": 73_249_581,
    "parallelnet-vgg16": 69_494_965,
    "parallelnet-vgg19": 80_114_357,
    "parallelnet-resnet34": 82_634_933,
    "parallelnet-resnet50": 137_419_445,
    "parallelnet-resnet101": 175_403_701,
    "parallelnet-inception3a": 158_066_293,
    "parallelnet-inception4a": 92_367_925,
    "parallelnet-mobilenet": 69_682_229,
    "parallelnet-densenet": 70_752_565,
    "parallelnet-efficientnet": 73_249_581,
    "parallelnet-additive": 74_804_663,
}
SLOW = {name for name, count in PARAMETERS.items() if count > 100e6 or "vgg" in name} | {"parallelnet-additive"}


def speech(n=2):
    return torch.rand(n, 1, 128, 128, generator=torch.Generator().manual_seed(1))


def image(n=2):
    return torch.rand(n, 3, 128, 128, generator=torch.Generator().manual_seed(2))


def make(options=SMALL, seed=0) -> ParallelNet:
    """A network whose batch norms have seen something, so that evaluation is no trivial case."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(options, EMOTIONS)
        with torch.no_grad():
            network(speech(), image())
    return network.eval()


@pytest.fixture(scope="module")
def network():
    return make()


def dense(layers: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """The paper's three dense layers of one head, written out."""
    first, second, third = (layer for layer in layers if isinstance(layer, nn.Linear))
    x = torch.clamp(x @ first.weight.T + first.bias, min=0)
    x = torch.clamp(x @ second.weight.T + second.bias, min=0)
    return x @ third.weight.T + third.bias


def test_equations_1_and_2_written_out(network):
    n1_s, n2_s = network.speech_branches(speech())
    n1_i, n2_i = network.image_branches(image())
    f_i = n1_i + n2_s
    f_s = n1_s + n2_i
    f_mul = f_i * f_s
    fusion = network.fusion
    w = fusion.late.raw.exp() / fusion.late.raw.exp().sum()
    wanted = (
        w[0] * dense(fusion.speech_head, f_s)
        + w[1] * dense(fusion.image_head, f_i)
        + w[2] * dense(fusion.intermediate_head, f_mul)
    )
    torch.testing.assert_close(network(speech(), image()), wanted, **CLOSE)


def test_additive_fusion_written_out():
    network = make(replace(SMALL, fusion="add"))
    (n1_s, n2_s), (n1_i, n2_i) = network.speech_branches(speech()), network.image_branches(image())
    f_i, f_s = n1_i + n2_s, n1_s + n2_i
    v = torch.softmax(network.fusion.intermediate.raw, 0)
    w = torch.softmax(network.fusion.late.raw, 0)
    wanted = (
        w[0] * dense(network.fusion.speech_head, f_s)
        + w[1] * dense(network.fusion.image_head, f_i)
        + w[2] * dense(network.fusion.intermediate_head, v[0] * f_i + v[1] * f_s)
    )
    torch.testing.assert_close(network(speech(), image()), wanted, **CLOSE)


def test_n1_and_n2_written_out(network):
    def norm(x, layer):
        return functional.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias)

    part = network.speech
    x = speech()
    for layer in (layer for layer in part.n1.map if isinstance(layer, nn.Conv2d)):
        x = functional.max_pool2d(torch.relu(functional.conv2d(x, layer.weight, layer.bias, padding=1)), 2)
    last = part.n1.dense[-1]
    n1 = norm(x, part.n1.map[-1]).flatten(1) @ last.weight.T + last.bias
    three = part.n2.adapt.weight.view(1, 3, 1, 1) * speech() + part.n2.adapt.bias.view(1, 3, 1, 1)
    last = part.n2.dense[-1]
    n2 = norm(part.n2.backbone(three), part.n2.norm).flatten(1) @ last.weight.T + last.bias
    torch.testing.assert_close(network.speech_branches(speech()), (n1, n2), **CLOSE)


def test_fusion_weights_are_the_softmax_of_random_numbers(network):
    other = build(SMALL, EMOTIONS)
    assert not torch.equal(network.fusion.late.raw, other.fusion.late.raw)
    assert network.fusion.late.raw.requires_grad
    terms = torch.eye(3).unbind()
    torch.testing.assert_close(network.fusion.late(*terms), torch.softmax(network.fusion.late.raw, 0))


def test_the_gradient_of_the_raw_fusion_weights_is_the_softmaxs(network):
    terms = [torch.rand(2, 4, dtype=torch.float64) for _ in range(3)]
    late = network.fusion.late
    late.zero_grad()
    total = late(*terms).sum()
    total.backward()
    w = torch.softmax(late.raw.detach(), 0)
    # d(sum_k w_k O_k) / d raw_k = w_k (O_k - O)
    wanted = torch.stack([w[k] * (terms[k].sum() - total.detach()) for k in range(3)])
    torch.testing.assert_close(late.raw.grad, wanted.float())


def test_logits_are_exactly_the_composition_of_branches_and_head(network):
    composed = network.head(network.speech_branches(speech()), network.image_branches(image()))
    assert torch.equal(network.logits(speech(), image()), composed)  # the same three calls
    assert network.separable


def test_no_branch_sees_the_other_modality(network):
    x, y = speech().requires_grad_(), image().requires_grad_()
    n1_s, n2_s = network.speech_branches(x)
    n1_i, n2_i = network.image_branches(y)
    assert torch.autograd.grad((n1_s + n2_s).sum(), y, allow_unused=True) == (None,)
    assert torch.autograd.grad((n1_i + n2_i).sum(), x, allow_unused=True) == (None,)


@pytest.mark.parametrize("configuration", [1, 2])
def test_a_criss_cross_before_n2_written_out(configuration):
    network = make(replace(SMALL, configuration=configuration))
    heard, seen = network.speech, network.image
    small = functional.avg_pool2d(image(), 2)
    map_s, map_i = heard.n1.map(speech()), seen.n1.map(small)
    cross = network.criss_cross

    def resized(x, side):
        return functional.interpolate(x, (side, side), mode="bilinear", align_corners=False)

    n2_s = heard.n2.embed(heard.n2.backbone(heard.n2.adapt(speech()) + resized(cross.to_speech(map_i), 128)))
    n2_i = seen.n2.embed(seen.n2.backbone(small + resized(cross.to_image(map_s), 64)))
    n1_s, n1_i = heard.n1.dense(map_s), seen.n1.dense(map_i)
    # Configuration 2 sums within a modality; configuration 1 crosses after N2 as well.
    f_s, f_i = (n1_s + n2_i, n1_i + n2_s) if configuration == 1 else (n1_s + n2_s, n1_i + n2_i)
    w = torch.softmax(network.fusion.late.raw, 0)
    heads = network.fusion.speech_head, network.fusion.image_head, network.fusion.intermediate_head
    wanted = sum(w[k] * dense(heads[k], f) for k, f in enumerate((f_s, f_i, f_s * f_i)))
    torch.testing.assert_close(network(speech(), image()), wanted, **CLOSE)


@pytest.mark.parametrize("configuration", [1, 2])
def test_a_network_that_crosses_before_n2_has_no_branches_and_says_so(configuration):
    network = make(replace(SMALL, configuration=configuration))
    assert not network.separable
    for call in (
        lambda: network.speech_branches(speech()),
        lambda: network.image_branches(image()),
        lambda: network.head(None, None),
    ):
        with pytest.raises(OptionError, match=r"crosses its modalities before N2.*Use logits\(speech, image\)"):
            call()


@pytest.mark.parametrize("configuration", [1, 2, 3])
@pytest.mark.parametrize("training", [False, True])
def test_a_missing_modality_is_the_same_as_zeros(configuration, training):
    network = make(replace(SMALL, configuration=configuration)).train(training)
    silence, black = torch.zeros_like(speech()), torch.zeros_like(image())
    # Not equal bit by bit: one row of zeros is computed and repeated, and batches are summed in another order.
    torch.testing.assert_close(network(speech(), None), network(speech(), black), **CLOSE)
    torch.testing.assert_close(network(None, image()), network(silence, image()), **CLOSE)


@pytest.mark.parametrize(("gone", "left"), [("image", "speech"), ("speech", "image")])
def test_a_single_modality_net_is_a_head_on_n1_plus_n2(gone, left):
    network = make(replace(SMALL, **{gone: None}))
    assert network.modalities == (left,)
    x = {"speech": speech(), "image": image()}[left]
    branches = getattr(network, f"{left}_branches")(x)
    given = {"speech": None, "image": None, left: x}
    wanted = dense(network.fusion.head, branches[0] + branches[1])
    torch.testing.assert_close(network.logits(**given), wanted, **CLOSE)
    both = network.logits(speech(), image())
    assert torch.equal(both, network.logits(**given))  # the same calls: the other modality is not looked at
    with pytest.raises(OptionError, match=f"takes {left} only"):
        getattr(network, f"{gone}_branches")(x)
    with pytest.raises(InputError, match=f"This network takes {left}; it was given none of it"):
        network.logits(**{**given, left: None, gone: {"speech": speech(), "image": image()}[gone]})


def test_the_embedding_of_one_modality_is_its_n1_plus_n2(network):
    n1, n2 = network.speech_branches(speech())
    assert torch.equal(embedding((n1, n2)), n1 + n2)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ((None, None), "given none of it"),
        ((torch.zeros(2, 3, 128, 128), None), r"speech has shape \(2, 3, 128, 128\); allowed: \[n, 1, 128, 128\]"),
        ((None, torch.zeros(3, 128, 128)), r"image has shape \(3, 128, 128\)"),
        ((torch.zeros(2, 1, 128, 128), torch.zeros(3, 3, 128, 128)), "2 log-mels came with 3 pictures"),
    ],
)
def test_inputs_of_a_wrong_shape_are_named(network, inputs, text):
    with pytest.raises(InputError, match=text):
        network(*inputs)


def test_the_head_asks_for_the_branches_that_are_missing(network):
    with pytest.raises(OptionError, match="head needs the outputs of image_branches"):
        network.head(network.speech_branches(speech()), None)


@pytest.mark.parametrize("classes", [("happy",), ("happy", "happy")])
def test_classes_must_differ(classes):
    with pytest.raises(OptionError, match="at least two, all different"):
        build(SMALL, classes)


def test_a_backbone_without_a_feature_map_is_refused():
    with pytest.raises(OptionError, match="Backbone 'vit_b_32' cannot take 64 x 64 pictures"):
        build(replace(SMALL, image=replace(SMALL.image, backbone="vit_b_32")), EMOTIONS)


def test_channels_last_changes_nothing_but_the_memory(network):
    wanted = network(speech(), image())
    other = make().to(memory_format=torch.channels_last)
    given = (x.contiguous(memory_format=torch.channels_last) for x in (speech(), image()))
    torch.testing.assert_close(other(*given), wanted, **CLOSE)


def test_a_grey_branch_sees_the_luminance_of_a_picture_and_grey_pictures_unchanged():
    options = replace(SMALL, image=replace(SMALL.image, grey=True))
    grey, colour = make(options), make()
    colour.load_state_dict(grey.state_dict())  # the same weights: luminance learns nothing
    red, green, blue = image().unbind(1)
    luminance = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(grey.image_branches(image()), colour.image_branches(luminance), **CLOSE)
    torch.testing.assert_close(grey.image_branches(luminance), colour.image_branches(luminance), **CLOSE)
    assert not torch.allclose(colour.image_branches(image())[1], grey.image_branches(image())[1], **CLOSE)


def test_dropout_acts_in_training_only():
    network = make(replace(SMALL, dropout=0.5, head_dropout=0.5))
    assert torch.equal(network(speech(), image()), network(speech(), image()))
    network.train()
    assert not torch.equal(network(speech(), image()), network(speech(), image()))


@pytest.mark.parametrize("name", VARIANTS)
def test_parameter_counts(name):
    with torch.device("meta"):
        network = build(VARIANTS[name].network, EMOTIONS)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


def test_the_proposed_networks_count_is_the_papers_arithmetic():
    conv = [(16, 1), (32, 16), (64, 32), (128, 64)], [(16, 3), (32, 16), (64, 32), (128, 64)]
    n1 = sum(9 * a * b + a for blocks in conv for a, b in blocks) + 2 * (2 * 128 + 8192 * 1024 + 1024)
    vgg16, vgg19 = 14_714_688, 20_024_384  # Simonyan & Zisserman without the dense layers
    n2 = vgg16 + vgg19 + 2 * (2 * 512 + 8192 * 1024 + 1024) + 2 * 3  # 1x1 convolution: three weights, three biases
    heads = 3 * (2 * (1024 * 1024 + 1024) + 1024 * 4 + 4) + 3
    assert n1 + n2 + heads == PARAMETERS["parallelnet"]


def test_compact_stays_small():
    assert PARAMETERS["compact"] <= 2_200_000


def run_and_round_trip(name, options, folder):
    """Forward, backward, checkpoint: what every row of the studies must do."""
    row = VARIANTS[name].network
    network = build(options, EMOTIONS)
    logits = network(speech(), image())
    assert logits.shape == (2, len(EMOTIONS))
    functional.cross_entropy(logits, torch.tensor([0, 3])).backward()
    silent = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not silent
    network.zero_grad()
    network.eval()
    with torch.no_grad():
        wanted = network(speech(), image())
    facts = checkpoint.ModelFacts(name, name, options.to_dict(), modalities=row.modalities, separable=row.separable)
    written = checkpoint.write(folder, facts)
    save_weights(network, written.weights)
    del network
    read = checkpoint.read(folder)
    assert read.facts == facts
    rebuilt = open_network(read).eval()
    read.weights.unlink()  # up to 700 MB, twenty times
    assert (rebuilt.modalities, rebuilt.separable) == (row.modalities, row.separable)
    with torch.no_grad():  # close, not equal: two networks, whose tensors may lie and be summed otherwise
        torch.testing.assert_close(rebuilt(speech(), image()), wanted, **CLOSE)


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - SLOW - {"parallelnet", "ier-only"}))
def test_every_row_runs_and_round_trips_with_narrow_dense_layers(name, tmp_path):
    run_and_round_trip(name, replace(VARIANTS[name].network, embed_dim=16, hidden=(8, 8)), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_runs_and_round_trips_in_full(name, tmp_path):
    run_and_round_trip(name, VARIANTS[name].network, tmp_path)


def test_a_mirrored_branch_is_the_mean_over_both_sides_but_for_training():
    options = replace(SMALL, image=replace(SMALL.image, mirror=True))
    mirrored, plain = make(options), make()
    plain.load_state_dict(mirrored.state_dict())
    x = image()
    for both, left, right in zip(
        mirrored.image_branches(x), plain.image_branches(x), plain.image_branches(x.flip(3)), strict=True
    ):
        torch.testing.assert_close(both, (left + right) / 2, **CLOSE)
        assert not torch.allclose(left, right, **CLOSE)
    torch.testing.assert_close(mirrored.image_branches(x), mirrored.image_branches(x.flip(3)), **CLOSE)
    assert mirrored.train().image.mirror
    one, other = mirrored.train(), plain.train()
    torch.testing.assert_close(one.image_branches(x), other.image_branches(x), **CLOSE)
