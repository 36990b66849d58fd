"""What an ONNX file would do, read from its bytes before anything opens it.

A graph may come from a stranger. It computes, ends, and reads no other file: operators of a list, all of the standard
domain, no graphs inside operators (`Loop` may never end), no functions that hide operators, no weights outside the
file. How large its numbers may grow depends on its inputs; `runtime` limits the memory.

The core has no `onnx` package, so this is a small reader of protobuf's wire format. What it does not know it refuses:
the program that opens the file later must see nothing that was not seen here.
"""

import mmap
import os
from collections.abc import Iterator
from math import prod
from pathlib import Path

from .errors import CheckpointError, brief

MAX_BYTES = 2**31 - 1  # protobuf reads no larger file
MAX_FIELDS = 2_000_000  # some two seconds of work; the largest of torchvision's networks has a tenth of it
MAX_DIMENSIONS = 64  # of a tensor; numpy takes no more either

# Operators of the standard domain that compute numbers from numbers and end. Not here: control flow, random numbers,
# sequences and optional values, texts, files of pictures, and what only training needs.
OPERATORS = frozenset(
    """
    Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization
    BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress
    Concat Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv DepthToSpace
    DequantizeLinear Det Div DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max
    MaxPool MaxUnpool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow
    QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence RotaryEmbedding Round ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK
    Transpose Trilu Unsqueeze Upsample Where Xor
    """.split()  # noqa: SIM905  # a list of 150 lines would say no more
)

Ports = tuple[tuple[str, ...], tuple[str, ...]]  # names of a graph's inputs and of its outputs

# What is known of each message (onnx.proto): number of a field to what it is. "" is passed over, a word is the message
# inside, "!" what a graph must not have, "=" what is looked at.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": dict.fromkeys((1, 2, 3, 4, 5, 6, 8, 14), "")
    | {7: "graph", 20: "!steps of training", 25: "!functions of its own"},
    "graph": dict.fromkeys((2, 10, 13, 14, 16), "")
    | {1: "node", 5: "tensor", 11: "input", 12: "output", 15: "!sparse weights"},
    "node": dict.fromkeys((1, 2, 3, 6, 8, 9), "")
    | {4: "=the operator", 5: "attribute", 7: "=an operator of the domain"},
    "attribute": dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20), "")
    | {5: "tensor", 10: "tensor", 6: "!graphs inside an operator", 11: "!graphs inside an operator"}
    | {21: "!attributes of a function", 22: "!sparse weights", 23: "!sparse weights"},
    "tensor": dict.fromkeys((2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16), "")
    | {1: "=size", 3: "!weights in parts", 13: "!weights outside the file", 14: "=place"},
    "input": dict.fromkeys((2, 3, 4), "") | {1: "=input"},
    "output": dict.fromkeys((2, 3, 4), "") | {1: "=output"},
}
_ALLOWED = {"=the operator": OPERATORS, "=an operator of the domain": ("", "ai.onnx")}
_SIZES = {1: 8, 5: 4}  # bytes by wire type; 0 is a number of its own length, 2 tells its bytes


class _ForbiddenError(Exception): ...  # the graph has what none of ours has


def check(path: Path) -> Ports:
    """Return the names of a graph's inputs and outputs, once nothing in its file can do harm.

    Args:
        path: an ONNX file, float32 or int8.

    Raises:
        CheckpointError: it is cut, no ONNX file, or holds what may not end, read other files or hide something.
    """
    try:
        with path.open("rb") as file:
            if not 0 < os.fstat(file.fileno()).st_size <= MAX_BYTES:
                raise ValueError("it is empty, or has more than 2 GiB")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                inputs, outputs = _Walk(data).names.values()
                return tuple(inputs), tuple(outputs)
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be loaded ({brief(str(error))}). It may have been cut off; copy it again."
        ) from None
    except _ForbiddenError as error:
        raise CheckpointError(
            f"{path} is refused: it has {error}, which no network of ours has. Mend: a checkpoint whose graphs "
            "`parallelnet export` wrote."
        ) from None


class _Walk:  # one pass over a model; weights are stepped over, not read
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._n_fields = 0
        self.names: dict[str, list[str]] = {"input": [], "output": []}
        self._message("model", 0, len(data))

    def _message(self, kind: str, at: int, end: int) -> None:
        known = _MESSAGES[kind]
        sizes: list[int] = []
        for number, value, size in self._fields(at, end):
            rule = known.get(number, "!")
            if rule[:1] == "!":
                raise _ForbiddenError(rule[1:] or f"an unknown field {number} in a {kind}")
            if rule == "=size":
                packed, stop = value, value + size
                while packed < stop and len(sizes) <= MAX_DIMENSIONS:
                    found, packed = self._varint(packed, stop)
                    sizes.append(found)
                sizes += [value] if size < 0 else []
                if len(sizes) > MAX_DIMENSIONS:
                    raise _ForbiddenError(f"a tensor of more than {MAX_DIMENSIONS} dimensions")
            elif rule == "=place":
                if value or size >= 0:  # 0: in the file itself
                    raise _ForbiddenError("weights outside the file")
            elif rule[:1] == "=":
                name = self._data[value : value + min(size, 200)].decode("utf-8", "replace") if size >= 0 else ""
                if name not in _ALLOWED.get(rule, (name,)):
                    raise _ForbiddenError(f"{rule[1:]} {brief(name)!r}")
                self.names.get(rule[1:], []).append(name)
            elif rule and size < 0:
                raise ValueError(f"field {number} of a {kind} is a number")
            elif rule:
                self._message(rule, value, value + size)
        # Two bits are the smallest number there is. A tensor that is said to be larger would be made before it is read.
        if kind == "tensor" and (max(sizes, default=0) > MAX_BYTES or prod(sizes) > 8 * (end - at)):
            raise _ForbiddenError(f"a tensor of {' x '.join(map(str, sizes[:8]))} numbers in {end - at} bytes")

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        # Each field's number, its value or where it begins, and its size in bytes (-1 for a value).
        while at < end:
            self._n_fields += 1
            if self._n_fields > MAX_FIELDS:
                raise _ForbiddenError(f"more than {MAX_FIELDS:,} parts")
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                value, at = self._varint(at, end)
                yield number, value, -1
                continue
            size = _SIZES.get(wire, -1)
            if wire == 2:
                size, at = self._varint(at, end)
            if size < 0:
                raise ValueError("it is no ONNX file")
            if size > end - at:
                raise ValueError("it ends too early")
            yield number, at, size
            at += size

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self._data[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value, at
        raise ValueError("it ends too early")
