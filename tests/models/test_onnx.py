"""The exported graphs against the torch network."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from parallelnet import graph_check
from parallelnet.checkpoint import Checkpoint, ModelFacts
from parallelnet.errors import CheckpointError
from parallelnet.models.network import build
from parallelnet.models.stored import OPSET, export
from parallelnet.models.variants import BACKBONES, VARIANTS, BranchOptions, NetworkOptions
from parallelnet.runtime import open_runtime
from parallelnet.types import EMOTIONS

SMALL = NetworkOptions(
    speech=BranchOptions("compact-speech", (4, 4, 4)),
    image=BranchOptions("compact-image", (4, 4), input_pool=4),
    embed_dim=8,
    hidden=(6,),
)
# Both sides are float32 and sum some 10^4 products in different orders: 100 roundings of 6e-8, a margin of two.
FLOAT32 = 1e-5
# Activations have steps of 0.4 percent (8 bits), weights of 0.8 (7 bits); a dozen quantised layers in a row, their
# errors independent: sqrt(12) * 0.9 percent. Measured: 0.6 percent, with and without VNNI instructions.
INT8 = 0.03


def inputs(n, seed=0):
    rng = np.random.default_rng(seed)
    return {"speech": rng.random((n, 1, 128, 128), np.float32), "image": rng.random((n, 3, 128, 128), np.float32)}


def made(options):
    torch.manual_seed(0)
    network = build(options, EMOTIONS)
    with torch.no_grad():
        for seed in range(3):  # batch norms that have seen something
            network(*(torch.from_numpy(x) for x in inputs(4, seed).values()))
    facts = ModelFacts("test", "test", options.to_dict(), modalities=options.modalities, separable=options.separable)
    return network, facts


def run(folder, facts, values, suffix=".onnx"):
    """The graphs one after another, each fed by name from what there is."""
    import onnxruntime

    values = dict(values)
    for name in facts.graphs:
        session = onnxruntime.InferenceSession(folder / name.replace(".onnx", suffix))
        given = {port.name: values[port.name] for port in session.get_inputs()}
        values.update(zip((port.name for port in session.get_outputs()), session.run(None, given), strict=True))
    return values["logits"]


def expected(network, values):
    network.eval()
    with torch.no_grad():
        return network(*(torch.from_numpy(x) for x in values.values())).numpy()


@pytest.fixture(scope="module")
def compact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compact")
    network, facts = made(VARIANTS["compact"].network)
    network.to(memory_format=torch.channels_last)
    paths = export(network, facts, folder, int8=True)
    assert network.training  # left as it was
    return folder, network, facts, paths


def test_compact_agrees_with_torch_for_any_batch(compact):
    folder, network, facts, _ = compact
    for n in (1, 3):
        wanted = expected(network, inputs(n, 7))
        assert np.abs(run(folder, facts, inputs(n, 7)) - wanted).max() <= FLOAT32 * np.abs(wanted).max()


def test_int8_agrees_with_torch(compact):
    folder, network, facts, _ = compact
    values = inputs(3, 8)
    wanted = expected(network, values)
    assert np.abs(run(folder, facts, values, ".int8.onnx") - wanted).max() <= INT8 * np.abs(wanted).max()


def test_int8_is_a_third_of_the_size_or_less(compact):
    folder, _, facts, paths = compact
    assert [p.name for p in paths] == [n for g in facts.graphs for n in (g, g.replace(".onnx", ".int8.onnx"))]
    for name in facts.graphs:
        small = (folder / name.replace(".onnx", ".int8.onnx")).stat().st_size
        assert small < (folder / name).stat().st_size / (2 if name == "head.onnx" else 3)


def test_graphs_are_single_files_of_the_named_opset_with_named_ports(compact):
    folder, network, facts, paths = compact
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in paths)
    ports = {}
    for name in facts.graphs:
        model = onnx.load(folder / name)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
        ports[name] = tuple(
            tuple((v.name, v.type.tensor_type.shape.dim[0].dim_param) for v in values)
            for values in (model.graph.input, model.graph.output)
        )
    pair = {m: tuple((f"{m}_{part}", "n") for part in ("n1", "n2")) for m in ("speech", "image")}
    assert ports == {
        "speech.onnx": ((("speech", "n"),), pair["speech"]),
        "image.onnx": ((("image", "n"),), pair["image"]),
        "head.onnx": (pair["speech"] + pair["image"], (("logits", "n"),)),
    }
    assert network.embed_dim == 128


def test_graphs_tell_nothing_about_the_machine_that_wrote_them(compact):
    for path in compact[3]:
        data = path.read_bytes()
        for trace in (b"/parallelnet/", b"site-packages", b".py", b"stack_trace", b'File "', str(path.parent).encode()):
            # `org.pytorch.aten` is the only name with .py in it that onnxruntime's own passes write
            assert trace not in data.replace(b"org.pytorch", b""), (path.name, trace)


def agrees_with_torch(options, folder, **quantise):
    network, facts = made(options)
    paths = export(network, facts, folder, **quantise)
    assert set(facts.graphs) <= {p.name for p in paths}
    for n in (1, 3):
        wanted = expected(network, inputs(n, 7))
        scale = np.abs(wanted).max()
        assert np.abs(run(folder, facts, inputs(n, 7)) - wanted).max() <= FLOAT32 * scale
        if quantise:
            assert np.abs(run(folder, facts, inputs(n, 7), ".int8.onnx") - wanted).max() <= INT8 * scale


def test_a_net_that_hears_only_agrees_with_torch_also_in_int8(tmp_path):
    agrees_with_torch(replace(SMALL, image=None), tmp_path, int8=True)


def test_a_joint_net_agrees_with_torch(tmp_path):
    agrees_with_torch(replace(SMALL, configuration=1), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("options", [replace(SMALL, speech=None), replace(SMALL, configuration=2, fusion="add")])
def test_the_other_kinds_agree_with_torch(options, tmp_path):
    agrees_with_torch(options, tmp_path, int8=True)


@pytest.mark.slow
def test_the_same_network_gives_the_same_bytes(tmp_path):
    network, facts = made(replace(SMALL, speech=None))
    first = [p.read_bytes() for p in export(network, facts, tmp_path)]
    assert [p.read_bytes() for p in export(network, facts, tmp_path)] == first


def test_facts_of_another_kind_of_network_are_refused(tmp_path):
    network, facts = made(replace(SMALL, configuration=2))
    with pytest.raises(CheckpointError, match=r"describes the graphs speech.onnx.*this network has joint.onnx"):
        export(network, replace(facts, separable=True), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_graphs_of_every_backbone_are_graphs_that_run(name, tmp_path):
    options = NetworkOptions(image=BranchOptions(name, (4, 4)), embed_dim=8, hidden=(6,))
    network = build(options, EMOTIONS)
    facts = ModelFacts("test", "test", options.to_dict(), modalities=("image",))
    for path in export(network, facts, tmp_path, int8=True):  # which checks what it writes
        assert graph_check.check(path)[0]
    for int8 in (False, True):
        model = open_runtime(Checkpoint(tmp_path, facts), int8=int8)
        assert model.logits(image=inputs(2)["image"]).shape == (2, len(EMOTIONS))


def test_an_operator_that_no_graph_may_have_is_told_when_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(graph_check._ALLOWED, "=the operator", graph_check.OPERATORS - {"Gemm"})
    network, facts = made(SMALL)
    with pytest.raises(CheckpointError, match="has the operator 'Gemm'"):
        export(network, facts, tmp_path)
