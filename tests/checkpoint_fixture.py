"""A checkpoint small enough to be worked out by hand: real ONNX graphs of one matrix each, no training, no torch."""

import math
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from parallelnet import checkpoint

SHAPES = {"speech": (1, 128, 128), "image": (3, 128, 128)}
WIDTH = 3
CLASSES = ("anger", "happy", "hate", "sad")


@dataclass(frozen=True)
class Toy:
    """The numbers in the graphs, and what they say in numpy."""

    weights: dict[str, np.ndarray]
    biases: dict[str, np.ndarray]
    mix: np.ndarray

    def branches(self, name, x):
        both = x.reshape(len(x), -1).astype(np.float64) @ self.weights[name] + self.biases[name]
        return both[:, :WIDTH], both[:, WIDTH:]

    def logits(self, speech, image):
        """Raw logits from F_mul alone, so that each modality changes what the other does."""
        (n1_s, n2_s), (n1_i, n2_i) = self.branches("speech", speech), self.branches("image", image)
        return (n1_i + n2_s) * (n1_s + n2_i) @ self.mix


def make_toy():
    rng = np.random.default_rng(7)
    sizes = {name: int(np.prod(shape)) for name, shape in SHAPES.items()}
    return Toy(
        # Scaled so that branches, and so logits, are of the order of 1 to 10.
        {name: rng.normal(size=(size, 2 * WIDTH)) * 3 / np.sqrt(size) for name, size in sizes.items()},
        {name: rng.normal(size=2 * WIDTH) for name in sizes},
        rng.normal(size=(WIDTH, len(CLASSES))),
    )


def _save(nodes, inputs, outputs, constants, path):
    def ports(shapes):
        return [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["n", *shape]) for k, shape in shapes.items()]

    tensors = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()]
    graph = helper.make_graph(
        [helper.make_node(*node) for node in nodes], path.stem, ports(inputs), ports(outputs), tensors
    )
    # IR 10 and opset 18: what `models.stored` writes.
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def _branch(toy, name):
    """Return nodes and constants of one modality's branches."""
    nodes = [("Flatten", [name], [f"{name}_flat"])]
    constants = {}
    for k, part in ((1, slice(0, WIDTH)), (2, slice(WIDTH, None))):
        nodes.append(("Gemm", [f"{name}_flat", f"{name}_w{k}", f"{name}_b{k}"], [f"{name}_n{k}"]))
        constants |= {f"{name}_w{k}": toy.weights[name][:, part], f"{name}_b{k}": toy.biases[name][part]}
    return nodes, constants


FUSION = [
    ("Add", ["image_n1", "speech_n2"], ["f_i"]),
    ("Add", ["speech_n1", "image_n2"], ["f_s"]),
    ("Mul", ["f_i", "f_s"], ["f_mul"]),
    ("MatMul", ["f_mul", "mix"], ["logits"]),
]


def write_toy(folder, *, modalities=("speech", "image"), separable=True, **facts):
    """Write a checkpoint whose graphs compute what `Toy` computes; one modality: logits of N1 + N2."""
    toy = make_toy()
    written = checkpoint.ModelFacts("toy", "toy", {}, CLASSES, modalities, separable)
    opened = checkpoint.write(folder, replace(written, **facts))
    logits = {"logits": (len(CLASSES),)}
    branches = {name: _branch(toy, name) for name in modalities}
    if not separable:
        nodes = [node for own, _ in branches.values() for node in own]
        constants = branches["speech"][1] | branches["image"][1] | {"mix": toy.mix}
        _save([*nodes, *FUSION], SHAPES, logits, constants, folder / "joint.onnx")
        return opened
    ends = {name: {f"{name}_n{k}": (WIDTH,) for k in (1, 2)} for name in modalities}
    for name, (nodes, constants) in branches.items():
        _save(nodes, {name: SHAPES[name]}, ends[name], constants, folder / f"{name}.onnx")
    alone = [("Add", list(ends[modalities[0]]), ["f"]), ("MatMul", ["f", "mix"], ["logits"])]
    inputs = {port: shape for pair in ends.values() for port, shape in pair.items()}
    _save(FUSION if len(modalities) == 2 else alone, inputs, logits, {"mix": toy.mix}, folder / "head.onnx")
    return opened


@pytest.fixture(scope="session")
def toy():
    return make_toy()


@pytest.fixture(scope="session")
def toy_checkpoint(tmp_path_factory):
    """Separable, both modalities; each setting with a temperature of its own, the picture alone not calibrated."""
    return write_toy(
        tmp_path_factory.mktemp("toy"),
        temperatures={"both": 2.0, "speech": 3.0, "image": 4.0},
        conformal={"both": 0.6, "speech": 0.7, "image": None},
    )


@pytest.fixture
def make_checkpoint(tmp_path):
    """Write another toy: `make_checkpoint(folder_name, modalities=..., separable=..., ...)`."""
    return lambda name="made", **settings: write_toy(tmp_path / name, **settings)


# --- what the numbers of an explanation promise -----------------------------------------------------------------------


def check(explanation, tolerance=1e-6):
    """Fail unless the numbers keep what their method promises.

    Every method: finite numbers, as many values as units, speech and picture together make `full - base`, and over the
    classes probabilities' values add up to 0. All but `paper`: the units make `full - base` (Eq. 5), and each part of
    the division is the sum of its halves. `paper`: each part less its halves is what it says is lost.
    """
    for name, values in explanation.values.items():
        for broken, gap in _gaps(explanation, values):
            assert gap <= tolerance, f"{name}: {broken} by {gap:.3g}"
    if explanation.score == "probability" and len(explanation.values) == len(explanation.prediction.probs):
        gap = abs(math.fsum(values.full - values.base for values in explanation.values.values()))
        assert gap <= tolerance, f"the classes' changes add up to {gap:.3g}"


def _gaps(explanation, values):
    nodes, lossy = explanation.nodes, explanation.method == "paper"
    counts = len(values.speech_units), len(values.nodes), len(values.lost)
    assert counts == (len(explanation.speech_units), len(nodes), len(nodes)), "not as many values as units"
    yield "speech and picture miss full - base", abs(values.speech + values.image - (values.full - values.base))
    if not lossy:
        yield "the units miss full - base", values.efficiency_gap
    for k, node in enumerate(nodes):
        halves = [values.nodes[j] for j, other in enumerate(nodes) if other.parent == k]
        lost = values.nodes[k] - math.fsum(halves) if halves else 0.0
        yield f"a part of {node.modality} misses its halves", abs(lost - values.lost[k] * lossy)
