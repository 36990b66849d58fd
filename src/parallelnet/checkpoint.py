"""The checkpoint folder: what is in it, read and checked without torch.

A checkpoint is a folder with `model.json` (facts), `model.safetensors` (weights for further training), ONNX graphs
(what users run) and `README.md` (model card). Nothing in it is pickled, so opening a stranger's checkpoint runs none
of their code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from . import records
from .errors import CheckpointError, OptionError
from .options import SignalOptions
from .types import EMOTIONS

FORMAT_VERSION = 1
MODEL_JSON = "model.json"
WEIGHTS = "model.safetensors"
SEPARABLE_GRAPHS = ("speech.onnx", "image.onnx", "head.onnx")
JOINT_GRAPHS = ("joint.onnx",)
SINGLE_GRAPHS = {"speech": ("speech.onnx", "head.onnx"), "image": ("image.onnx", "head.onnx")}
DEFAULT_CHECKPOINT = "compact"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What `model.json` says (design section 5).

    Attributes:
        name: short name, shown with every prediction.
        variant: key of `VARIANTS`, the row of the paper's tables.
        network: options of the network as `models.network` builds it (backbones, widths, configuration).
        classes: class names in the order of the logits.
        modalities: what the network takes: both, or one.
        separable: True where each branch sees one modality only (design section 5).
        signals: how files become tensors.
        temperatures: divisor of the logits for `both`, `speech`, `image`, so that probabilities are calibrated.
        conformal: for `both`, `speech`, `image`: a class enters the set when 1 - p does not exceed this; None where
            it was not calibrated.
        metrics: measured figures, by part and modality.
        data: what it was trained, stopped, calibrated and reported on.
        training: options of the training run.
        versions: programs that wrote it.
        format_version: of this file.
    """

    name: str
    variant: str
    network: Mapping[str, Any]
    classes: tuple[str, ...] = EMOTIONS
    modalities: tuple[str, ...] = ("speech", "image")
    separable: bool = True
    signals: SignalOptions = field(default_factory=SignalOptions)
    temperatures: Mapping[str, float] = field(default_factory=lambda: {"both": 1.0, "speech": 1.0, "image": 1.0})
    conformal: Mapping[str, float | None] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the ONNX graphs that this network exports to."""
        if not self.separable:
            return JOINT_GRAPHS
        if len(self.modalities) == 1:
            return SINGLE_GRAPHS[self.modalities[0]]
        return SEPARABLE_GRAPHS


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checked checkpoint folder.

    Attributes:
        path: the folder.
        facts: what its `model.json` says.
    """

    path: Path
    facts: ModelFacts

    @property
    def weights(self) -> Path:
        """Path of the weights for torch; may be missing in a checkpoint that is only run."""
        return self.path / WEIGHTS

    def graph(self, name: str, *, int8: bool = False) -> Path:
        """Return the path of one ONNX graph.

        Args:
            name: one of `facts.graphs`.
            int8: the quantised graph beside it.

        Raises:
            CheckpointError: the graph is not there.
        """
        path = self.path / (name.replace(".onnx", ".int8.onnx") if int8 else name)
        if not path.is_file():
            raise CheckpointError(f"Checkpoint {self.path} has no {path.name}. Mend: parallelnet export {self.path}")
        return path


def bundled() -> dict[str, Path]:
    """Return the checkpoints that come with the package: name to folder."""
    root = Path(str(files("parallelnet") / "checkpoints"))
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{MODEL_JSON}"))}


def resolve(name: str | os.PathLike[str] | None) -> Path:
    """Return the folder that a user's `--checkpoint` means.

    Args:
        name: a bundled name, a folder, `hf:OWNER/NAME` on the Hugging Face hub, or None for the bundled default.

    Raises:
        CheckpointError: nothing of that name.
    """
    known = bundled()
    if name is None:
        name = DEFAULT_CHECKPOINT
    text = str(name)
    if text in known:
        return known[text]
    if Path(text).is_dir():
        return Path(text)
    if text.startswith("hf:"):
        return _from_hub(text[3:])
    raise CheckpointError(
        f"No checkpoint {text!r}. Allowed: a folder with {MODEL_JSON}, hf:OWNER/NAME, or a bundled one: "
        f"{', '.join(known) or 'none'}. See --checkpoint."
    )


def opened(name: str, flag: str) -> Checkpoint:
    """Return the checkpoint that a user named by another flag than `--checkpoint`; errors name that flag.

    Raises:
        CheckpointError: nothing of that name, or it is damaged.
    """
    try:
        return read(resolve(name))
    except CheckpointError as error:
        raise CheckpointError(f"{flag}: {str(error).removesuffix(' See --checkpoint.')}") from None


def _from_hub(repo_id: str) -> Path:
    # Only on the explicit `hf:` prefix: nothing here calls out unless it was asked to.
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, ignore_patterns=["*.bin", "*.pkl", "*.pt", "*.ckpt"]))
    except (OSError, ValueError) as error:  # the hub's own errors derive from these
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"Checkpoint hf:{repo_id} could not be fetched: {reason}") from error


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Return the checkpoint in a folder after checking its `model.json`.

    Raises:
        CheckpointError: the folder or its `model.json` is missing, cut, not ours, or of a newer format.
    """
    folder = Path(path)
    source = folder / MODEL_JSON
    try:
        record = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is no checkpoint: it has no {MODEL_JSON}.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{source} cannot be read: {error}. It may have been cut off; copy it again.") from None
    if not isinstance(record, dict) or "format_version" not in record or "variant" not in record:
        raise CheckpointError(f"{source} was not written by parallelnet: it names no format_version and variant.")
    version = record["format_version"]
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{source} is damaged: format_version is {version!r}; allowed: 1 to {FORMAT_VERSION}.")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{folder} has format {version!r}; this program reads up to {FORMAT_VERSION}. "
            "Mend: pip install --upgrade parallelnet"
        )
    try:
        record["signals"] = SignalOptions(**record["signals"])
        record["classes"] = tuple(record["classes"])
        record["modalities"] = tuple(record["modalities"])
        facts = ModelFacts(**record)
    except (KeyError, TypeError, OptionError) as error:
        raise CheckpointError(f"{source} is damaged: {error}.") from None
    _check(facts, source)
    return Checkpoint(folder, facts)


def _check(facts: ModelFacts, source: Path) -> None:
    kinds = {"name": str, "variant": str, "separable": bool} | dict.fromkeys(
        ("network", "temperatures", "conformal", "metrics", "data", "training", "versions"), dict
    )
    for field_name, kind in kinds.items():
        if not isinstance(getattr(facts, field_name), kind):
            raise CheckpointError(f"{source} is damaged: {field_name} is {getattr(facts, field_name)!r}.")
    if len(facts.classes) < 2 or len(set(facts.classes)) != len(facts.classes):
        raise CheckpointError(f"{source} is damaged: classes are {list(facts.classes)}; at least two, all different.")
    if facts.modalities not in (("speech", "image"), ("speech",), ("image",)):
        raise CheckpointError(f"{source} is damaged: modalities are {list(facts.modalities)}.")
    settings = ("both", "speech", "image") if len(facts.modalities) == 2 else facts.modalities
    for setting in settings:
        temperature, threshold = facts.temperatures.get(setting), facts.conformal.get(setting)
        if not isinstance(temperature, int | float) or not temperature > 0:
            raise CheckpointError(f"{source} is damaged: temperature of {setting} is {temperature!r}, not above 0.")
        if threshold is not None and not (isinstance(threshold, int | float) and 0 <= threshold <= 1):
            raise CheckpointError(f"{source} is damaged: conformal of {setting} is {threshold!r}, not from 0 to 1.")


def write(path: str | os.PathLike[str], facts: ModelFacts) -> Checkpoint:
    """Write `model.json` into a folder, made where it is missing, and return the checkpoint.

    The file is replaced whole, so that a killed process leaves the old one or the new one, never half of one.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / MODEL_JSON, asdict(facts))
    return Checkpoint(folder, facts)
