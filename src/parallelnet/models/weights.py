"""A network's weights as safetensors: nothing in the file can run."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from .. import records
from ..checkpoint import Checkpoint
from ..errors import CheckpointError, brief
from .network import ParallelNet, build
from .variants import NetworkOptions


def save_weights(network: nn.Module, path: str | os.PathLike[str]) -> Path:
    """Write all parameters and running statistics of a network and return the file's path.

    The file is replaced whole: a killed process leaves the old one or the new one.

    Args:
        network: on any device, in any memory format.
        path: usually `Checkpoint.weights`.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = save(tensors, metadata={"format": "pt"})
    records.write_whole(target, lambda stream: stream.write(content))
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
    _refuse_missing(source)
    # A stranger may ask for layers of terabytes, which would be made before they are compared. No weight is smaller
    # than a byte.
    if options.fewest_weights > source.stat().st_size:
        raise CheckpointError(
            f"{source} cannot be read: it is smaller than the network that model.json describes. It may have been cut "
            "off; copy it again."
        )
    network = build(options, facts.classes)
    load_weights(network, source)
    return network


def load_weights(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fill a network, on whatever device it is, with the weights that `save_weights` wrote.

    Raises:
        CheckpointError: the file is missing, cut or foreign, or belongs to a network of other layers.
    """
    source = Path(path)
    found = _read(source)
    wanted = network.state_dict()
    reshaped = [
        f"{name} {list(found[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    problems = {
        "lacks": sorted(wanted.keys() - found.keys()),
        "has beyond this network": sorted(found.keys() - wanted.keys()),
        "has in another shape": reshaped,
    }
    reason = "; ".join(f"{what} {_first(names)}" for what, names in problems.items() if names)
    if reason:
        raise CheckpointError(f"{source} belongs to another network: it {reason}. Mend: use the model.json beside it.")
    network.load_state_dict(found)


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
    _refuse_missing(source)
    try:
        return load_file(source)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{source} cannot be read: {brief(str(error))}. It may have been cut off; copy it again."
        ) from None


def _refuse_missing(source: Path) -> None:
    if not source.is_file():
        raise CheckpointError(f"There are no weights at {source}; a checkpoint that is only run has none.")


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return brief(", ".join(names[:2])) + more
