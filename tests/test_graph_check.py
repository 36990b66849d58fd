"""Graphs of strangers: what a file says it would do is seen before anything opens it."""

import importlib.util
import os
import struct
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from parallelnet import checkpoint, graph_check, runtime
from parallelnet.errors import CheckpointError
from parallelnet.runtime import open_runtime

_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
make_checkpoint = fixtures.make_checkpoint

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def constant(name, values, kind="float32"):
    return numpy_helper.from_array(np.asarray(values, kind), name)


def external(location="weights.bin"):
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def model(nodes=(), tensors=(), **facts):
    """A graph x [n, 4] -> y that adds `w`, with what a stranger put before it."""
    ports = [helper.make_tensor_value_info(name, FLOAT, ["n", 4]) for name in "xy"]
    tensors = list(tensors) or [constant("w", [1.0])]
    last = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([*nodes, last], "g", ports[:1], ports[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    for name, value in facts.items():
        getattr(made, name).extend(value)
    return made


def endless_loop():
    """A body that always says: go on."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["go"]), helper.make_node("Identity", ["v"], ["out"])],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("go", TensorProto.BOOL, []), helper.make_tensor_value_info("out", FLOAT, [1])],
    )
    return helper.make_node("Loop", ["", "true", "start"], ["w"], body=body)


LOOP = [constant("true", True, "bool"), constant("start", [0.0])]


def in_attribute(**value):
    """An operator that is allowed, with something inside that is not."""
    node = helper.make_node("Constant", [], ["w"])
    node.attribute.append(AttributeProto(name="value", **value))
    return node


def renamed(operator, domain=""):
    return helper.make_node(operator, ["x"], ["z"], domain=domain)


def huge(*dims):
    return TensorProto(name="w", data_type=FLOAT, dims=dims, raw_data=b"\0" * 4)


def sparse():
    values, places = constant("w", [1.0]), constant("", [0], "int64")
    return helper.make_sparse_tensor(values, places, [10**12])


def sparse_weights():
    made = model()
    made.graph.sparse_initializer.append(sparse())
    return made


FUNCTION = helper.make_function(
    "own", "Relu", ["a"], ["b"], [helper.make_node("Loop", ["a"], ["b"])], [helper.make_opsetid("", 18)]
)


def field(number, content):
    """One length-delimited field of protobuf."""
    size, head = (
        len(content),
        bytes([number << 3 | 2]) if number < 16 else bytes([(number << 3 & 127) | 130, number >> 4]),
    )
    sizes = b""
    while size > 127:
        sizes, size = sizes + bytes([size & 127 | 128]), size >> 7
    return head + sizes + bytes([size]) + content


REFUSED = {
    "absolute": (model(tensors=[external("/etc/passwd")]), "weights outside the file"),
    "beside": (model(tensors=[external()]), "weights outside the file"),
    "place alone": (model(tensors=[TensorProto(name="w", data_location=1)]), "weights outside the file"),
    "in a constant": (model([in_attribute(type=4, t=external())]), "weights outside the file"),
    "in a list": (model([in_attribute(type=9, tensors=[external()])]), "weights outside the file"),
    "loop": (model([endless_loop()], LOOP), "the operator 'Loop'"),
    "graph inside": (model([in_attribute(type=5, g=model().graph)]), "graphs inside an operator"),
    "graphs inside": (model([in_attribute(type=10, graphs=[model().graph])]), "graphs inside an operator"),
    "if": (model([renamed("If")]), "the operator 'If'"),
    "scan": (model([renamed("Scan")]), "the operator 'Scan'"),
    "random": (model([renamed("RandomNormalLike")]), "the operator 'RandomNormalLike'"),
    "sequence": (model([renamed("SplitToSequence")]), "the operator 'SplitToSequence'"),
    "terminal": (model([renamed("Add\x1b[31m")]), "the operator 'Add\N{REPLACEMENT CHARACTER}\\[31m'"),
    "domain": (model([renamed("Add", "com.microsoft")]), "an operator of the domain 'com.microsoft'"),
    "functions": (model(functions=[FUNCTION]), "functions of its own"),
    "training": (model(training_info=[onnx.TrainingInfoProto()]), "steps of training"),
    "sparse": (sparse_weights(), "sparse weights"),
    "sparse constant": (model([in_attribute(type=11, sparse_tensor=sparse())]), "sparse weights"),
    "huge": (model(tensors=[huge(10**6, 10**6)]), "1000000 x 1000000 numbers"),
    "negative": (model(tensors=[huge(-1)]), "a tensor of .* numbers"),
    "packed dimensions": (field(7, field(5, field(1, b"\1" * 70) + b"\x4a\4zero")), "more than 64 dimensions"),
    "dimensions": (model(tensors=[huge(*[1] * 70)]), "more than 64 dimensions"),
}


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "graph.onnx"
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        return path

    return write


def test_a_plain_graph_names_its_ports(written):
    made = model([helper.make_node("Relu", ["x"], ["z"], domain="ai.onnx")])
    assert graph_check.check(written(made)) == (("x",), ("y",))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_may_harm_is_refused_by_name(written, kind):
    made, text = REFUSED[kind]
    with pytest.raises(CheckpointError, match=rf"is refused: it has .*({text})") as caught:
        graph_check.check(written(made))
    assert str(caught.value).isprintable()


LOOPING = field(1, field(4, b"Loop"))  # graph.node.op_type
SNEAKED = {
    # Protobuf joins a message that stands there twice, and of a name takes the last.
    "a second graph": (model().SerializeToString() + field(7, LOOPING), "the operator 'Loop'"),
    "a second name": (field(7, field(1, field(4, b"Add") + field(4, b"Loop"))), "the operator 'Loop'"),
    "an unknown field": (model().SerializeToString() + field(30, b"x"), "unknown field 30"),
    "a place of 33 bits": (field(7, field(5, b"\x70\x81\x80\x80\x80\x10")), "weights outside the file"),
}


@pytest.mark.parametrize("kind", SNEAKED)
def test_nothing_hides_from_the_reader(written, kind):
    content, text = SNEAKED[kind]
    with pytest.raises(CheckpointError, match=text):
        graph_check.check(written(content))


@pytest.mark.parametrize("content", [b"", b"\xff" * 30, b"PK\x03\x04 a zip", b"\x3a\xff\xff\xff\xff\x0f", b"\x3b\x3c"])
def test_what_is_no_graph_is_one_line(written, content):
    with pytest.raises(CheckpointError, match=r"cannot be loaded|is refused") as caught:
        graph_check.check(written(content))
    assert str(caught.value).isprintable()


def test_every_cut_of_a_graph_is_refused_or_still_whole(written):
    whole = model(tensors=[constant("w", np.ones(100))]).SerializeToString()
    for keep in range(len(whole)):
        # Between two fields of the model a cut leaves a shorter message, which is whole, but never one with a graph.
        try:
            ports = graph_check.check(written(whole[:keep]))
        except CheckpointError:
            continue
        assert ports == ((), ()) or onnx.load_from_string(whole[:keep]).graph.node[0].op_type == "Add"


def test_a_million_parts_are_refused_soon(written, monkeypatch):
    monkeypatch.setattr(graph_check, "MAX_FIELDS", 10_000)
    numbers = b"\x25" + struct.pack("<f", 1.0)  # float_data, one field a number
    began = time.monotonic()
    with pytest.raises(CheckpointError, match="more than 10,000 parts"):
        graph_check.check(written(field(7, field(5, numbers * 200_000))))
    assert time.monotonic() - began < 5  # 10,000 fields take 10 ms; 200,000 would take 20 times as long


@pytest.mark.parametrize("name", sorted(checkpoint.bundled()))
def test_bundled_graphs_pass_in_little_time(name):
    opened = checkpoint.read(checkpoint.bundled()[name])
    began = time.process_time()
    for graph in opened.facts.graphs:
        assert graph_check.check(opened.graph(graph)) == runtime._ports(graph[:-5], opened.facts.modalities)
    assert time.process_time() - began < 0.1  # 3 ms on a quiet machine: no reading of weights


# --- through the checkpoint -------------------------------------------------------------------------------------------


def attacked(opened, change):
    """Let a stranger change the head of a checkpoint: `change` takes the graph before `logits` leaves it."""
    path = opened.path / "head.onnx"
    made = onnx.load(path)
    for node in made.graph.node:
        for k, name in enumerate(node.output):
            if name == "logits":
                node.output[k] = "raw"
    change(made.graph)
    path.write_bytes(made.SerializeToString())


def add(graph, nodes, **tensors):
    graph.node.extend(helper.make_node(*node, **facts) for *node, facts in nodes)
    graph.initializer.extend(constant(name, values, kind) for name, (values, kind) in tensors.items())


def bomb(graph):
    # 400 GB in one operator, all from eight numbers of shape.
    add(
        graph,
        [
            ("Expand", ["raw", "shape"], ["much"], {}),
            ("ReduceMax", ["much"], ["most"], {"keepdims": 0}),
            ("Add", ["raw", "most"], ["logits"], {}),
        ],
        shape=([10**6, 10**5 // 4, 1, 4], "int64"),
    )


def doubling(graph, first="raw"):
    # Every operator alone is harmless.
    names = [first, *(f"d{k}" for k in range(40))]
    add(graph, [("Concat", [a, a], [b], {"axis": 0}) for a, b in pairwise(names)])
    add(graph, [("ReduceMax", [names[-1]], ["most"], {"keepdims": 0}), ("Add", ["raw", "most"], ["logits"], {})])


def doubling_of_constants(graph):
    # onnxruntime would compute it while the graph is opened.
    add(graph, [], one=([1.0], "float32"))
    doubling(graph, "one")


@pytest.mark.parametrize("change", [bomb, doubling, doubling_of_constants], ids=lambda change: change.__name__)
def test_bombs_end_at_the_limit_of_memory(make_checkpoint, change, monkeypatch):
    import onnxruntime

    def limited(n_bytes):
        memory = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg({"max_mem": n_bytes}))

    opened = make_checkpoint(change.__name__)
    attacked(opened, change)
    runtime._onnxruntime()
    limited(2**27)  # so that the test itself needs little
    try:
        with pytest.raises(CheckpointError, match=r"head graph failed on .* more memory than"):
            open_runtime(opened)
    finally:
        limited(runtime._MEMORY_BYTES)


def test_an_endless_loop_is_refused_before_it_runs(make_checkpoint):
    opened = make_checkpoint("loop")

    def loop(graph):
        graph.node.append(endless_loop())
        graph.initializer.extend(LOOP)
        add(graph, [("Add", ["raw", "w"], ["logits"], {})])

    attacked(opened, loop)
    with pytest.raises(CheckpointError, match=r"head.onnx is refused: it has .*'Loop'"):
        open_runtime(opened)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["head.onnx", "model.json"])
def test_a_pipe_in_place_of_a_file_is_no_file(make_checkpoint, name):
    opened = make_checkpoint("pipe")
    (opened.path / name).unlink()
    os.mkfifo(opened.path / name)
    with pytest.raises(CheckpointError, match=r"has no head.onnx|no regular file"):
        open_runtime(checkpoint.read(opened.path))


def lying(nodes, **tensors):
    return lambda graph: add(graph, nodes, **tensors)


LIES = {
    "fewer classes": (
        lying([("Gather", ["raw", "first"], ["logits"], {"axis": 1})], first=([0, 1, 2], "int64")),
        "tells 3 classes apart, but model.json names 4",
    ),
    "one row for all": (
        lying([("ReduceMean", ["raw", "rows"], ["logits"], {"keepdims": 0})], rows=([0], "int64")),
        r"gave float32 \[4\] for 1 samples",
    ),
    "two rows": (lying([("Concat", ["raw", "raw"], ["logits"], {"axis": 0})]), r"gave float32 \[2, 4\] for 1 samples"),
    "not a number": (
        lying([("Sub", ["raw", "raw"], ["nothing"], {}), ("Div", ["nothing", "nothing"], ["logits"], {})]),
        "not finite",
    ),
    "beyond float32": (
        lying([("Mul", ["raw", "large"], ["logits"], {})], large=([1e38], "float32")),
        "not finite",
    ),
    "whole numbers": (lying([("Cast", ["raw"], ["logits"], {"to": INT64})]), "gave int64"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_leaves_the_model_is_checked_and_not_believed(make_checkpoint, lie):
    change, text = LIES[lie]
    opened = make_checkpoint("lie", temperatures={"both": 0.02, "speech": 0.02, "image": 0.02})

    def changed(graph):
        change(graph)
        # Says nothing of its shape: only the real output tells.
        graph.output[0].type.tensor_type.ClearField("shape")
        if lie == "whole numbers":
            graph.output[0].type.tensor_type.elem_type = INT64

    attacked(opened, changed)
    with pytest.raises(CheckpointError, match=text) as caught:
        open_runtime(opened)
    assert "\n" not in str(caught.value)


def test_branches_of_different_widths_are_refused(make_checkpoint):
    opened = make_checkpoint("wide")
    path = opened.path / "image.onnx"
    made = onnx.load(path)
    for node in made.graph.node:
        if "image_n2" in node.output:
            node.output[0] = "narrow"
    add(made.graph, [("Concat", ["narrow", "narrow"], ["image_n2"], {"axis": 1})])
    made.graph.output[1].type.tensor_type.ClearField("shape")
    path.write_bytes(made.SerializeToString())
    with pytest.raises(CheckpointError, match="image part of the model gave 6 numbers a sample, another branch 3"):
        open_runtime(opened)
