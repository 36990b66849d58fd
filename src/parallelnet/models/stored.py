"""A network on the disk: weights as safetensors, of which nothing can run, and ONNX graphs, which run without torch.

Three graphs where the branches are separable (design section 5), two for a single modality, one otherwise; all with a
free batch dimension, float32, in one file each. Logits leave raw: the runtime divides by the temperature.
"""

import os
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from .. import graph_check, records
from ..checkpoint import Checkpoint, ModelFacts, int8_name
from ..errors import CheckpointError, MissingExtraError, brief
from .layers import evaluating
from .network import SHAPES, ParallelNet, build
from .variants import NetworkOptions

if TYPE_CHECKING:
    import onnx

OPSET = 18  # The dynamo exporter's native opset: nothing is converted, and every onnxruntime since 1.14 (2023) runs it

BATCH = "n"  # Name of the free dimension, the only one there is; the exporter would call it by a number of its own

# Operators that become int8: they hold the weights. Norms, sums and the product of Eq. 1 stay float32.
QUANTISED = ("Conv", "Gemm", "MatMul")


class _Call(nn.Module):
    """A method of the network as a module of its own, as the exporter wants it."""

    def __init__(self, network: ParallelNet, call: Callable[..., Any]) -> None:
        super().__init__()
        self.network = network
        self.call = call

    def forward(self, *inputs: Tensor) -> Any:
        return self.call(*inputs)


# What a graph computes: tensors in the order of the inputs to those of the outputs; name and shape of one sample of
# each input; names of the outputs.
Graph = tuple[Callable[..., Any], Mapping[str, tuple[int, ...]], tuple[str, ...]]


def graphs(network: ParallelNet) -> dict[str, Graph]:
    """Return the graphs that a network consists of: file name to graph.

    Inputs and outputs are named `speech`, `image`, `speech_n1`, `speech_n2`, `image_n1`, `image_n2` and `logits`.
    """
    shapes = {name: SHAPES[name] for name in network.modalities}
    if not network.separable:
        return {"joint.onnx": (network.logits, shapes, ("logits",))}
    branches = {"speech": network.speech_branches, "image": network.image_branches}
    ends = {name: (f"{name}_n1", f"{name}_n2") for name in shapes}

    def head(*outputs: Tensor) -> Tensor:
        pairs: dict[str, Any] = dict(zip(ends, zip(outputs[::2], outputs[1::2], strict=True), strict=True))
        return network.head(pairs.get("speech"), pairs.get("image"))

    return {
        **{f"{name}.onnx": (branches[name], {name: shape}, ends[name]) for name, shape in shapes.items()},
        "head.onnx": (head, dict.fromkeys(chain(*ends.values()), (network.embed_dim,)), ("logits",)),
    }


def export(
    network: ParallelNet, facts: ModelFacts, folder: str | os.PathLike[str], int8: bool = False
) -> tuple[Path, ...]:
    """Write the network's ONNX graphs into a checkpoint folder and return their paths.

    Args:
        network: on the CPU; exported as it predicts, without dropout.
        facts: of its checkpoint; says which graphs belong there.
        folder: the checkpoint.
        int8: write `*.int8.onnx` beside them. The activations' ranges are taken from each batch as it comes, so a
            sample's logits depend a little on its batch.

    Raises:
        CheckpointError: the facts describe another kind of network.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    todo = graphs(network)
    if tuple(todo) != facts.graphs:
        raise CheckpointError(
            f"model.json describes the graphs {', '.join(facts.graphs)}; this network has {', '.join(todo)}."
        )
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    with evaluating(network):
        for name, graph in todo.items():
            paths.append(_write(_trace(network, graph), target / name))
            if int8:
                paths.append(_quantise(target / name))
    return tuple(paths)


def _trace(network: ParallelNet, graph: Graph) -> "onnx.ModelProto":
    call, inputs, outputs = graph
    # Two samples: an example of one would be taken for a fixed batch of one.
    examples = tuple(torch.zeros(2, *shape) for shape in inputs.values())
    try:
        program = torch.onnx.export(
            _Call(network, call).eval(),
            examples,
            dynamo=True,
            dynamic_shapes=(tuple({0: torch.export.Dim.DYNAMIC} for _ in examples),),  # the one parameter is *inputs
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
        )
    except ImportError:
        raise MissingExtraError("The ONNX export", "train") from None
    assert program is not None
    return program.model_proto


def _write(model: "onnx.ModelProto", path: Path) -> Path:
    import onnx

    # The exporter notes stack traces with this machine's paths; a published graph carries none of them.
    graph = model.graph
    used = {node.domain for node in graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    # Shapes inside the graph have batch sizes of their own (a picture and its mirror image are two); whoever runs the
    # graph works them out.
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = BATCH
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    content = model.SerializeToString(deterministic=True)
    onnx.checker.check_model(content)
    records.write_whole(path, lambda stream: stream.write(content))
    graph_check.check(path)  # what we write, we run
    return path


def _quantise(path: Path) -> Path:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as scratch:
        prepared, made = Path(scratch) / "prepared.onnx", Path(scratch) / "made.onnx"
        # Folds each batch norm into its convolution and infers shapes, which quantisation needs.
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        # Unsigned weights: onnxruntime's CPU kernels have no integer convolution with signed ones.
        quantize_dynamic(
            prepared, made, op_types_to_quantize=list(QUANTISED), weight_type=QuantType.QUInt8, per_channel=False
        )
        return _write(onnx.load(made), path.with_name(int8_name(path.name)))


def save_weights(network: nn.Module, path: str | os.PathLike[str]) -> Path:
    """Write all parameters and running statistics of a network, on any device, whole; return the file's path."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    records.write_whole(target, lambda stream: stream.write(save(tensors, metadata={"format": "pt"})))
    return target


def open_network(opened: Checkpoint) -> ParallelNet:
    """Return the network of a checkpoint with its weights, on the CPU.

    Raises:
        CheckpointError: the weights are missing, cut, or of another network than `model.json` says.
        OptionError: a backbone that does not exist.
    """
    facts, source = opened.facts, opened.weights
    options = NetworkOptions.from_dict(facts.network)
    if (options.modalities, options.separable) != (facts.modalities, facts.separable):
        raise CheckpointError(
            f"{opened.path} is damaged: its network takes {' and '.join(options.modalities)} and is "
            f"{'' if options.separable else 'not '}separable, its modalities and separable say otherwise."
        )
    found = _read(source)
    # A stranger may ask for layers of terabytes, which would be made before they are compared. No weight is smaller
    # than a byte.
    if options.fewest_weights > source.stat().st_size:
        raise CheckpointError(
            f"{source} cannot be read: it is smaller than the network that model.json describes. It may have been cut "
            "off; copy it again."
        )
    network = build(options, facts.classes)
    try:
        network.load_state_dict(found)
    except RuntimeError as error:
        reason = brief(str(error).partition("\n")[2])  # behind a line that names the class
        raise CheckpointError(
            f"{source} belongs to another network: {reason} Mend: use the model.json beside it."
        ) from None
    return network


def load_matching(network: nn.Module, path: str | os.PathLike[str]) -> int:
    """Take over every tensor of a file whose name and shape the network has, and return how many.

    That is how a network starts from parts that were trained alone: the branches of a single-modality network have
    the names and shapes of the same branches in a network with both.

    Raises:
        CheckpointError: the file is missing or cut, or nothing in it fits.
    """
    found, wanted = _read(Path(path)), network.state_dict()
    fitting = {name: tensor for name, tensor in found.items() if name in wanted and wanted[name].shape == tensor.shape}
    if not fitting:
        raise CheckpointError(
            f"{path} has nothing that fits this network: no tensor of the same name and shape. Mend: start from a "
            "checkpoint of the same family, see --init-from and --backbone."
        )
    network.load_state_dict(fitting, strict=False)
    return len(fitting)


def _read(source: Path) -> dict[str, Tensor]:
    if not source.is_file():
        raise CheckpointError(f"There are no weights at {source}; a checkpoint that is only run has none.")
    try:
        return load_file(source)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{source} cannot be read: {brief(str(error))}. It may have been cut off; copy it again."
        ) from None
