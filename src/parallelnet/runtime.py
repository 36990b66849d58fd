"""The model as users run it: numpy in, numpy out, whatever computes underneath.

ONNX Runtime by default, so that the core needs no torch; torch on any of its devices when asked for. Both offer
design section 5's surface: `speech_branches`, `image_branches`, `head`, and `logits` as their composition.
"""

from dataclasses import replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from . import graph_check
from .checkpoint import Checkpoint
from .errors import CheckpointError, InputError, MissingExtraError, OptionError, brief, refuse
from .options import MOST_AT_ONCE
from .types import Modalities

Array = npt.NDArray[np.float32]
Branches = tuple[Array, Array]  # outputs of N1 and N2 of one modality, each float32 [n, embed_dim]
Device = Literal["onnx", "cpu", "cuda", "mps"]

SHAPES = {"speech": (1, 128, 128), "image": (3, 128, 128)}  # of one sample (design section 4)
_PASS_ROWS = 32  # samples in one pass through branches: VGG16's widest layer then holds 134 MB
_HEAD_ROWS = 4096  # rows in one pass through the head, which holds a few thousand numbers a row
# Most memory for what all graphs of the process compute: five times what VGG16 and VGG19 take. A stranger's graph may
# blow up a picture to terabytes, and nothing in its file says how large its numbers become.
_MEMORY_BYTES = 4 * 2**30


class Model:
    """A network ready to run, from any number of threads; a copy, pickled or deep, opens its checkpoint anew.

    Attributes:
        name: the checkpoint's name.
        classes: class names in the order of the logits.
        modalities: what the network takes.
        separable: True where each branch sees one modality only; `speech_branches`, `image_branches` and `head` exist
            only then.
        device: where it runs.
    """

    def __init__(self, checkpoint: Checkpoint, backend: Any, device: Device) -> None:
        """Take what computes (`open_runtime` chooses it), and try it on silence and black.

        `backend.run(part, arrays)` returns the outputs of one part as a tuple, each float32 [n, ...]: the branches of
        `speech` or `image`, the `head`, or all as `joint` where nothing separates.

        Raises:
            CheckpointError: what comes out does not fit `model.json`, or is no number.
        """
        facts = checkpoint.facts
        self.name = facts.name
        self.classes = facts.classes
        self.modalities = facts.modalities
        self.separable = facts.separable
        self.device = device
        self._temperatures = facts.temperatures
        self._backend = backend
        self._width: int | None = None
        # Batch norms and biases make something of silence, too; it is the same for every sample, so computed once.
        self._zeros: dict[str, Branches] = {}
        zeros = {name: np.zeros((1, *SHAPES[name]), np.float32) for name in self.modalities}
        if self.separable:
            self._zeros = {name: self._branches(name, x) for name, x in zeros.items()}
            self.head(self._zeros.get("speech"), self._zeros.get("image"))
        else:
            self.logits(zeros.get("speech"), zeros.get("image"))

    def speech_branches(self, speech: Array) -> Branches:
        """Return (N1_s, N2_s), each float32 [n, embed_dim], of log-mel windows [n, 1, 128, 128] in [0, 1].

        Raises:
            InputError: another shape, or a network without speech, or one that is not separable.
        """
        return self._branches("speech", speech)

    def image_branches(self, image: Array) -> Branches:
        """Return (N1_i, N2_i), each float32 [n, embed_dim], of pictures [n, 3, 128, 128] in [0, 1]; see above."""
        return self._branches("image", image)

    def _branches(self, name: str, x: Array) -> Branches:
        self._must_separate()
        self.refuse_unless_taken(**{name: x})
        first, second = self._run(name, (_checked(name, x),), _PASS_ROWS)
        return first, second

    def head(
        self,
        speech_branches: Branches | None = None,
        image_branches: Branches | None = None,
        *,
        modalities: Modalities | None = None,
    ) -> Array:
        """Return logits over the temperature, float32 [n, n_classes]; their softmax is the calibrated probability.

        Args:
            speech_branches: what `speech_branches` gave, or None: the branches' answer to silence.
            image_branches: what `image_branches` gave, or None: the branches' answer to a black picture.
            modalities: whose temperature applies. None: that of what was given. An explanation that takes players
                away from a sample with both keeps `both`, so that its full value is the predicted probability.

        Raises:
            InputError: nothing given, different lengths, or a modality that this network does not take.
        """
        self._must_separate()
        given = {"speech": speech_branches, "image": image_branches}
        n = self._count({name: None if pair is None else pair[0] for name, pair in given.items()})
        arrays: list[Array] = []
        for name in self.modalities:
            first, second = given[name] or (np.repeat(zero, n, axis=0) for zero in self._zeros[name])
            if len(first) != len(second):
                raise InputError(f"The {name} branches have {len(first)} and {len(second)} rows; as many of each.")
            arrays += first, second
        raw = self._run("head", tuple(arrays), _HEAD_ROWS)[0]
        return self._calibrated(raw, modalities, given)

    def logits(
        self, speech: Array | None = None, image: Array | None = None, *, modalities: Modalities | None = None
    ) -> Array:
        """Return logits over the temperature, float32 [n, n_classes], from the signals themselves.

        Args:
            speech: log-mel windows [n, 1, 128, 128] in [0, 1], or None: silence.
            image: pictures [n, 3, 128, 128] in [0, 1], or None: black.
            modalities: whose temperature applies; see `head`.

        Raises:
            InputError: nothing given, a wrong shape, different lengths, or a modality that this network does not take.
        """
        given = {"speech": speech, "image": image}
        n = self._count(given)
        if self.separable:
            branches = (None if x is None else self._branches(name, x) for name, x in given.items())
            return self.head(*branches, modalities=modalities)
        zeros = np.float32(0)
        arrays = [np.broadcast_to(zeros, (n, *SHAPES[k])) if x is None else _checked(k, x) for k, x in given.items()]
        return self._calibrated(self._run("joint", tuple(arrays), _PASS_ROWS)[0], modalities, given)

    def _run(self, part: str, arrays: tuple[Array, ...], n_rows: int) -> tuple[Array, ...]:
        chunks = []
        for at in range(0, len(arrays[0]), n_rows):
            chunk = tuple(np.ascontiguousarray(x[at : at + n_rows]) for x in arrays)
            outputs = self._backend.run(part, chunk)
            for output in outputs:
                self._check_output(part, output, len(chunk[0]))
            chunks.append(outputs)
        return chunks[0] if len(chunks) == 1 else tuple(np.concatenate(column) for column in zip(*chunks, strict=True))

    def _check_output(self, part: str, output: Array, n_rows: int) -> None:
        # A graph may say one shape and give another.
        width, last = output.shape[-1] if output.ndim else 0, part in ("head", "joint")
        mend = "Mend: the graphs that belong together (parallelnet export)."
        if output.ndim != 2 or len(output) != n_rows or output.dtype != np.float32:
            why = f"gave {output.dtype} {list(output.shape)} for {n_rows} samples; needed: float32 [n, width]. {mend}"
        elif last and width != len(self.classes):
            why = f"tells {width} classes apart, but model.json names {len(self.classes)}. {mend}"
        elif not last and width != (self._width or width):
            why = f"gave {width} numbers a sample, another branch {self._width}; all give as many. {mend}"
        elif not np.isfinite(output).all():
            why = "gave numbers that are not finite: its weights or its input are damaged."
        else:
            self._width = self._width if last else width
            return
        raise CheckpointError(f"The {part} part of the model {why}")

    def refuse_unless_taken(self, speech: Any = None, image: Any = None) -> None:
        """Refuse with an InputError a sample of neither modality, or of one that this network does not take."""
        given = [name for name, x in (("speech", speech), ("image", image)) if x is not None]
        if not given:
            raise InputError(f"Neither speech nor image was given; {self.name} takes {' and '.join(self.modalities)}.")
        for name in given:
            if name not in self.modalities:
                raise InputError(f"{name} was given, but checkpoint {self.name} takes {self.modalities[0]} only.")

    def _count(self, given: dict[str, Array | None]) -> int:
        self.refuse_unless_taken(**given)
        n, *others = (len(x) for x in given.values() if x is not None)
        if others not in ([], [n]):
            raise InputError(f"{n} speech rows came with {others[0]} image rows; as many of each.")
        return n

    def _must_separate(self) -> None:
        if not self.separable:
            raise InputError("This model crosses its modalities early: it has no separate branches; use logits().")

    def _calibrated(self, raw: Array, modalities: Modalities | None, given: dict[str, Any]) -> Array:
        there = [name for name, x in given.items() if x is not None]
        setting = modalities or (there[0] if len(there) == 1 else "both")
        with np.errstate(over="ignore"):  # told below, in words
            logits = raw / np.float32(self._temperatures.get(setting, 1.0))
        if not np.isfinite(logits).all():
            raise CheckpointError("The model's logits over its temperature are not finite: its weights are damaged.")
        return logits


def open_runtime(
    checkpoint: Checkpoint, *, device: Device = "onnx", int8: bool = False, n_threads: int | None = None
) -> Model:
    """Return the checkpoint's network, ready to run.

    Args:
        checkpoint: as `checkpoint.read` gives it.
        device: `onnx` (ONNX Runtime on the CPU), or torch's `cpu`, `cuda`, `mps`.
        int8: run the quantised graphs; ONNX only.
        n_threads: CPU threads; None leaves the choice to the library.

    Raises:
        CheckpointError: graphs or weights are missing, cut or do not fit.
        MissingExtraError: torch was asked for and is not installed.
        OptionError: no such device here, or options that contradict each other.
    """
    on_torch, known = device != "onnx", get_args(Device)
    torch_too = f"--int8 runs quantised ONNX graphs, --device {device} runs torch; give one of the two."
    few = n_threads is None or 1 <= n_threads <= MOST_AT_ONCE
    rows = [
        (device not in known, f"--device is {device!r}; allowed: {', '.join(known)}."),
        (not few, f"--threads is {n_threads!r}; allowed: 1 to {MOST_AT_ONCE}."),
        (int8 and on_torch, torch_too),
    ]
    refuse(OptionError, rows)
    backend = _TorchBackend(checkpoint, device, n_threads) if on_torch else _OnnxBackend(checkpoint, int8, n_threads)
    return Model(checkpoint, backend, device)


class _Backend:  # made again where it is unpickled or copied: sessions and devices do not travel
    def __init__(self, checkpoint: Checkpoint, *how: Any) -> None:
        self._made_of = replace(checkpoint, path=checkpoint.path.absolute()), *how

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_of


class _OnnxBackend(_Backend):
    def __init__(self, checkpoint: Checkpoint, int8: bool, n_threads: int | None) -> None:
        super().__init__(checkpoint, int8, n_threads)
        options = _onnxruntime().SessionOptions()
        options.log_severity_level = 4  # its errors reach us as exceptions; lines of its own are not for the user
        options.intra_op_num_threads = n_threads or 0
        # The graphs take turns. Threads that spin in wait for work take the cores from the next graph's: three times
        # slower on two busy cores (24 ms a pair of the compact network instead of 8).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.use_env_allocators", "1")  # those with the limit of memory
        self._sessions: dict[str, Any] = {}
        for name in checkpoint.facts.graphs:
            part = name.removesuffix(".onnx")
            path = checkpoint.graph(name, int8=int8)
            wanted, found = _ports(part, checkpoint.facts.modalities), graph_check.check(path)
            if found != wanted:
                arrived = (brief(", ".join(names)) or "nothing" for names in found)
                raise CheckpointError(
                    f"{path} maps {' to '.join(arrived)}; needed: {', '.join(wanted[0])} to {', '.join(wanted[1])}. "
                    f"Mend: parallelnet export {checkpoint.path}"
                )
            try:
                self._sessions[part] = _onnxruntime().InferenceSession(
                    str(path),
                    options,
                    providers=["CPUExecutionProvider"],
                    # It computes what is constant while a graph is opened, past the limit of memory. Our exporter has
                    # done that already.
                    disabled_optimizers=["ConstantFolding"],
                )
            except Exception as error:  # its exceptions share no class of their own
                raise CheckpointError(
                    f"{path} cannot be loaded ({_first_line(error)}). It may have been cut off; copy it again."
                ) from None

    def run(self, part: str, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        session = self._sessions[part]
        names = (port.name for port in session.get_inputs())
        try:
            outputs = session.run(None, dict(zip(names, arrays, strict=True)))
        except Exception as error:
            shapes, why = ", ".join(str(x.shape) for x in arrays), _first_line(error)
            if "bfc_arena" in str(error):  # its source file of the allocator: the only sign there is
                why = f"it needs more memory than there is, or than the {_MEMORY_BYTES >> 30} GiB that models may take"
            raise CheckpointError(f"The {part} graph failed on {shapes} ({why}).") from error
        return tuple(outputs)


def _ports(part: str, modalities: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    # The names of a graph's inputs and outputs, as `models.stored` writes them and `Model` passes them.
    branches = {name: (f"{name}_n1", f"{name}_n2") for name in modalities}
    if part in branches:
        return (part,), branches[part]
    return (modalities if part == "joint" else tuple(port for pair in branches.values() for port in pair)), ("logits",)


@cache
def _onnxruntime() -> Any:
    import onnxruntime  # telemetry is off before this line: see parallelnet/__init__.py

    # Its warnings about a device that is not there (no GPU on this machine) are not the user's to mend.
    onnxruntime.set_default_logger_severity(4)
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg({"max_mem": _MEMORY_BYTES}))
    return onnxruntime


class _TorchBackend(_Backend):  # for devices that ONNX Runtime is not built for here
    def __init__(self, checkpoint: Checkpoint, device: str, n_threads: int | None) -> None:
        super().__init__(checkpoint, device, n_threads)
        try:
            import torch

            from .models import stored
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("parallelnet"):
                raise
            raise MissingExtraError(f"--device {device}", "train") from None
        available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not available[device]:
            there = ", ".join(["onnx", *(name for name, here in available.items() if here)])
            raise OptionError(f"--device {device} is not available on this machine. Available: {there}.")
        if n_threads is not None:
            torch.set_num_threads(n_threads)
        self._torch = torch
        self._device = device
        self._network = stored.open_network(checkpoint).to(device).eval()

    def run(self, part: str, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        with self._torch.inference_mode():
            tensors = [self._torch.as_tensor(np.ascontiguousarray(x)).to(self._device) for x in arrays]
            network = self._network
            if part == "head":
                given = dict(zip(network.modalities, zip(tensors[::2], tensors[1::2], strict=True), strict=True))
                outputs = (network.head(given.get("speech"), given.get("image")),)
            elif part == "joint":
                outputs = (network.logits(*tensors),)
            else:
                outputs = getattr(network, f"{part}_branches")(*tensors)
            return tuple(output.float().cpu().numpy() for output in outputs)


def _checked(name: str, x: Array) -> Array:
    if not isinstance(x, np.ndarray) or x.ndim != 4 or x.shape[1:] != SHAPES[name] or not len(x):
        arrived = x.shape if isinstance(x, np.ndarray) else type(x).__name__
        wanted = ", ".join(map(str, SHAPES[name]))
        raise InputError(f"{name} is {arrived}; allowed: a float32 array [n, {wanted}] with n of 1 or more.")
    return np.asarray(x, dtype=np.float32)


def _first_line(error: Exception) -> str:
    return brief((str(error).splitlines() or [type(error).__name__])[0].rstrip("."))
