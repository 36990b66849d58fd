"""A network as ONNX graphs: what users run, without torch.

Three graphs where the branches are separable (design section 5), two for a single modality, one otherwise; all with a
free batch dimension, float32, in one file each. Logits leave raw: the runtime divides by the temperature.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import graph_check
from ..checkpoint import ModelFacts, int8_name
from ..errors import CheckpointError, MissingExtraError
from ..records import write_whole
from .network import INPUT_CHANNELS, SIDE, Branches, ParallelNet

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""The dynamo exporter's native opset: nothing is converted, and every onnxruntime since 1.14 (2023) runs it."""

BATCH = "n"
"""Name of the free dimension, the only one there is; the exporter would call it by a number of its own."""

QUANTISED = ("Conv", "Gemm", "MatMul")
"""Operators that become int8: they hold the weights. Norms, sums and the product of Eq. 1 stay float32."""


class _Call(nn.Module):
    """A method of the network as a module of its own, as the exporter wants it."""

    def __init__(self, network: ParallelNet, call: Callable[..., Any]) -> None:
        super().__init__()
        self.network = network
        self.call = call

    def forward(self, *inputs: Tensor) -> Any:
        return self.call(*inputs)


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph to be written.

    Attributes:
        call: what it computes: tensors in the order of `inputs` to those of `outputs`.
        inputs: name and shape of one sample.
        outputs: their names.
    """

    call: Callable[..., Any]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]


def graphs(network: ParallelNet) -> dict[str, Graph]:
    """Return the graphs that a network consists of: file name to graph.

    Inputs and outputs are named `speech`, `image`, `speech_n1`, `speech_n2`, `image_n1`, `image_n2` and `logits`.
    """
    shapes = {name: (INPUT_CHANNELS[name], SIDE, SIDE) for name in network.modalities}
    if not network.separable:
        return {"joint.onnx": Graph(network.logits, shapes, ("logits",))}
    branches = {"speech": network.speech_branches, "image": network.image_branches}
    written = {
        f"{name}.onnx": Graph(branches[name], {name: shape}, (f"{name}_n1", f"{name}_n2"))
        for name, shape in shapes.items()
    }
    width = network.embed_dim
    ends = {f"{name}_{part}": (width,) for name in network.modalities for part in ("n1", "n2")}

    def head(*outputs: Tensor) -> Tensor:
        pairs: dict[str, Branches] = dict(
            zip(network.modalities, zip(outputs[::2], outputs[1::2], strict=True), strict=True)
        )
        return network.head(pairs.get("speech"), pairs.get("image"))

    return {**written, "head.onnx": Graph(head, ends, ("logits",))}


def export(
    network: ParallelNet,
    facts: ModelFacts,
    folder: str | os.PathLike[str],
    int8: bool = False,
    calibration: Mapping[str, np.ndarray] | None = None,
) -> tuple[Path, ...]:
    """Write the network's ONNX graphs into a checkpoint folder and return their paths.

    Args:
        network: on the CPU; exported as it predicts, without dropout.
        facts: of its checkpoint; says which graphs belong there.
        folder: the checkpoint.
        int8: write `*.int8.onnx` beside them.
        calibration: float32 samples `speech` `[n, 1, 128, 128]` and `image` `[n, 3, 128, 128]` for static int8; a few
            hundred do. Without them the activations' ranges are taken from each batch as it comes: slower, and a
            sample's logits then depend a little on its batch.

    Raises:
        CheckpointError: the facts describe another kind of network, or the calibration lacks a modality.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    todo = graphs(network)
    if tuple(todo) != facts.graphs:
        raise CheckpointError(
            f"model.json describes the graphs {', '.join(facts.graphs)}; this network has {', '.join(todo)}."
        )
    missing = [name for name in network.modalities if calibration is not None and name not in calibration]
    if missing:
        raise CheckpointError(f"Calibration for int8 has no {missing[0]}; it needs {', '.join(network.modalities)}.")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    training = network.training
    network.eval()
    try:
        paths = []
        for name, graph in todo.items():
            paths.append(_write(_trace(network, graph), target / name))
            if int8:
                samples = None if calibration is None else _samples(network, graph, calibration)
                paths.append(_quantise(target / name, samples))
    finally:
        network.train(training)
    return tuple(paths)


def _trace(network: ParallelNet, graph: Graph) -> onnx.ModelProto:
    # Two samples: an example of one would be taken for a fixed batch of one.
    examples = tuple(torch.zeros(2, *shape) for shape in graph.inputs.values())
    batch = torch.export.Dim.DYNAMIC
    try:
        program = torch.onnx.export(
            _Call(network, graph.call).eval(),
            examples,
            dynamo=True,
            dynamic_shapes=(tuple({0: batch} for _ in examples),),  # the one parameter is *inputs
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            verbose=False,
        )
    except ImportError:
        raise MissingExtraError("The ONNX export", "train") from None
    assert program is not None
    return program.model_proto


def _write(model: onnx.ModelProto, path: Path) -> Path:
    import onnx

    _strip(model)
    content = model.SerializeToString(deterministic=True)
    onnx.checker.check_model(content)
    write_whole(path, lambda stream: stream.write(content))
    graph_check.check(path)  # what we write, we run
    return path


def _strip(model: onnx.ModelProto) -> None:
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


def _samples(network: ParallelNet, graph: Graph, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if set(graph.inputs) <= set(given):
        return {name: np.asarray(given[name], np.float32) for name in graph.inputs}
    # The head's inputs are what the branches make of the samples.
    branches = {"speech": network.speech_branches, "image": network.image_branches}
    samples: dict[str, np.ndarray] = {}
    with torch.no_grad():
        for name in network.modalities:
            whole = torch.from_numpy(np.asarray(given[name], np.float32))
            outputs = [branches[name](whole[i : i + 32]) for i in range(0, len(whole), 32)]
            for k, part in enumerate(("n1", "n2")):
                samples[f"{name}_{part}"] = torch.cat([pair[k] for pair in outputs]).numpy()
    return samples


def _quantise(path: Path, samples: Mapping[str, np.ndarray] | None) -> Path:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    target = path.with_name(int8_name(path.name))
    with TemporaryDirectory() as scratch:
        prepared, made = Path(scratch) / "prepared.onnx", Path(scratch) / "made.onnx"
        # Folds each batch norm into its convolution and infers shapes, which quantisation needs.
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        if samples is None:
            # Unsigned weights: onnxruntime's CPU kernels have no integer convolution with signed ones.
            quantize_dynamic(
                prepared, made, op_types_to_quantize=list(QUANTISED), weight_type=QuantType.QUInt8, per_channel=False
            )
        else:
            quantize_static(
                prepared,
                made,
                _Reader(samples),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # Weights of seven bits: a processor without VNNI adds two products of eight in 16 bits, which
                # saturates, and its logits were ten times further off (6 percent instead of 0.6).
                reduce_range=True,
            )
        return _write(onnx.load(made), target)


class _Reader:
    """Hands calibration samples to onnxruntime, one batch after another."""

    def __init__(self, samples: Mapping[str, np.ndarray], batch: int = 32) -> None:
        n = min(len(values) for values in samples.values())
        self._batches = iter([{k: v[i : i + batch] for k, v in samples.items()} for i in range(0, n, batch)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)
