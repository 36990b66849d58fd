"""The checkpoint folder: what is in it, read and checked without torch.

A checkpoint is a folder with `model.json` (facts), `model.safetensors` (weights for further training), ONNX graphs
(what users run) and `README.md` (model card). Nothing in it is pickled, so opening a stranger's checkpoint runs none
of their code.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from . import records
from .errors import CheckpointError, OptionError, brief
from .options import SignalOptions
from .types import EMOTIONS

FORMAT_VERSION = 1
MODEL_JSON = "model.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
DEFAULT_CHECKPOINT = "compact"

MAX_JSON_BYTES = 32 * 2**20  # largest `model.json` that is read; the metrics of a thousand classes take half of it
MAX_CLASSES = 1000
MAX_NAME = 100  # characters
_SETTINGS = ("both", "speech", "image")
TEMPERATURES = (0.01, 100.0)  # smallest and largest: twice beyond what `calibration.fit_temperature` gives


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
    temperatures: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(_SETTINGS, 1.0))
    conformal: Mapping[str, float | None] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the ONNX graphs that this network exports to."""
        parts = (*self.modalities, "head") if self.separable else ("joint",)
        return tuple(f"{part}.onnx" for part in parts)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checked checkpoint folder, and what its `model.json` says."""

    path: Path
    facts: ModelFacts

    @property
    def weights(self) -> Path:
        """Path of the weights for torch; may be missing in a checkpoint that is only run."""
        return self.path / WEIGHTS

    def graph(self, name: str, *, int8: bool = False) -> Path:
        """Return the path of one of `facts.graphs`, or of the quantised graph beside it.

        Raises:
            CheckpointError: the graph is not there.
        """
        path = self.path / (int8_name(name) if int8 else name)
        if not path.is_file():
            raise CheckpointError(f"Checkpoint {self.path} has no {path.name}. Mend: parallelnet export {self.path}")
        return path

    def digest(self, *, torch: bool = False, int8: bool = False) -> str:
        """Return the sha256 over all that its answers come from: the facts, and the graphs (the weights for torch).

        Raises:
            CheckpointError: one of them is not there.
            OSError: it cannot be read.
        """
        parts = [self.weights] if torch else [self.graph(name, int8=int8) for name in self.facts.graphs]
        total = hashlib.sha256()
        for path in (self.path / MODEL_JSON, *parts):
            with path.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
        return total.hexdigest()


def int8_name(graph: str) -> str:
    """Return the file name of a graph's quantised form."""
    return graph.replace(".onnx", ".int8.onnx")


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
    text = DEFAULT_CHECKPOINT if name is None else str(name)
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
        graphs = ["speech.onnx", "image.onnx", "head.onnx", "joint.onnx"]
        ours = [MODEL_JSON, WEIGHTS, CARD, *graphs, *map(int8_name, graphs)]
        return Path(snapshot_download(repo_id, allow_patterns=ours))
    except (OSError, ValueError) as error:  # the hub's own errors derive from these
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"Checkpoint hf:{repo_id} could not be fetched: {reason}") from error


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Return the checkpoint in a folder after checking its `model.json`.

    Raises:
        CheckpointError: the folder or its `model.json` is missing, cut, not ours, of a newer format, or says what no
            checkpoint of ours says.
    """
    folder = Path(path)
    source = folder / MODEL_JSON
    record = _record(source)
    version = record.get("format_version")
    if version is None or "variant" not in record:
        raise CheckpointError(f"{source} was not written by parallelnet: it names no format_version and variant.")
    if type(version) is int and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{folder} has format {_shown(version)}; this program reads up to {FORMAT_VERSION}. "
            "Mend: pip install --upgrade parallelnet"
        )
    known = [field.name for field in fields(ModelFacts)]
    for name in record.keys() - known:
        raise CheckpointError(f"{source} is damaged: {_shown(name)} is none of {', '.join(known)}.")
    for name in {"name", "network", "signals"} - record.keys():
        raise CheckpointError(f"{source} is damaged: it lacks {name}.")
    for what, value, allowed, is_so in _claims(record):
        if not is_so:
            raise CheckpointError(f"{source} is damaged: {what} is {_shown(value)}; allowed: {allowed}.")
    try:
        signals = SignalOptions(**record["signals"])
    except OptionError as error:
        raise CheckpointError(f"{source} is damaged: {brief(str(error))}") from None
    lists: dict[str, Any] = {name: tuple(record[name]) for name in ("classes", "modalities") if name in record}
    return Checkpoint(folder, ModelFacts(**record | lists | {"signals": signals}))


def _claims(record: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, bool]]:
    # Of each fact its name, value, what it may be, and whether it is; each may rely on those before it.
    for name, allowed, is_allowed in _FACTS:
        if name in record:
            yield name, record[name], allowed, is_allowed(record[name])
    for name, default in _SIGNALS.items():
        value, kinds = record["signals"][name], (float, int) if name == "clip_s" else (type(default),)
        yield f"{name} of signals", value, f"as {default!r} is", type(value) in kinds
    taken = record.get("modalities", _SETTINGS[1:])
    settings = _SETTINGS if len(taken) == 2 else taken
    temperatures, conformal = record.get("temperatures", dict.fromkeys(_SETTINGS, 1.0)), record.get("conformal", {})
    for setting in dict.fromkeys((*settings, *temperatures, *conformal)):
        yield "temperatures and conformal", setting, ", ".join(_SETTINGS), setting in _SETTINGS
        value, free = temperatures.get(setting), setting not in settings
        allowed = "{} to {}".format(*TEMPERATURES)
        yield f"temperature of {setting}", value, allowed, _within(value, *TEMPERATURES) or (free and value is None)
        value = conformal.get(setting)
        yield f"conformal of {setting}", value, "0 to 1, or null", value is None or _within(value, 0, 1)


def _record(source: Path) -> dict[str, Any]:
    try:
        if source.exists() and not source.is_file():  # opening a named pipe would wait for ever
            raise ValueError("no regular file")
        with source.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            raise ValueError(f"more than {MAX_JSON_BYTES >> 20} MiB")
        record = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except FileNotFoundError:
        raise CheckpointError(f"{source.parent} is no checkpoint: it has no {MODEL_JSON}.") from None
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # a whole number of more than 4300 digits is a ValueError, too
        why = "its JSON is nested too deeply" if isinstance(error, RecursionError) else brief(str(error))
        raise CheckpointError(f"{source} cannot be read: {why}. It may have been cut off; copy it again.") from None
    if not isinstance(record, dict):
        raise CheckpointError(f"{source} was not written by parallelnet: it holds no JSON object.")
    return record


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):  # which of the two counts is not for us to guess
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return record


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no JSON")


def _is_name(value: Any) -> bool:
    # No escape sequences for the terminal, no ends that nobody sees.
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable() and value == value.strip()


# What each fact may be: its name, that in words, and whether a value is so. The first that does not hold is told.
_OBJECTS = ("network", "temperatures", "conformal", "metrics", "data", "training", "versions")
_SIGNALS = asdict(SignalOptions())
_PATH = re.compile(r"[/\\]|^\.\.?$")
_A_NAME = f"1 to {MAX_NAME} printable characters"
_FACTS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("format_version", f"1 to {FORMAT_VERSION}", lambda v: type(v) is int and v >= 1),
    ("name", f"a name of {_A_NAME}, no path", lambda v: _is_name(v) and not _PATH.search(v)),
    ("variant", f"a name of {_A_NAME}, no path", lambda v: _is_name(v) and not _PATH.search(v)),
    ("separable", "true, false", lambda v: type(v) is bool),
    *((name, "an object", lambda v: isinstance(v, dict)) for name in _OBJECTS),
    ("classes", f"a list of names, each of {_A_NAME}", lambda v: type(v) is list and all(map(_is_name, v))),
    ("classes", f"at least two, at most {MAX_CLASSES}, all different",
     lambda v: 2 <= len(set(v)) == len(v) <= MAX_CLASSES),
    ("modalities", "speech and image, or one of them", lambda v: v in (["speech", "image"], ["speech"], ["image"])),
    ("signals", f"an object of {', '.join(_SIGNALS)}", lambda v: type(v) is dict and v.keys() == _SIGNALS.keys()),
)  # fmt: skip


def _within(value: Any, low: float, high: float) -> bool:
    # True is a number to Python; a whole number may be too large for a float.
    return type(value) in (int, float) and low <= value <= high and math.isfinite(value)


def _shown(value: Any) -> str:
    return brief(json.dumps(value, ensure_ascii=False), 80)


def copy(opened: Checkpoint, folder: Path) -> None:
    """Copy a checkpoint without its graphs into a new folder: of whatever lies there only files that belong to one."""
    folder.mkdir(parents=True)
    for name in (MODEL_JSON, WEIGHTS, CARD):
        if (opened.path / name).is_file():
            shutil.copyfile(opened.path / name, folder / name)


def write(path: str | os.PathLike[str], facts: ModelFacts) -> Checkpoint:
    """Write `model.json` whole or not at all into a folder, made where it is missing, and return the checkpoint."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    # A figure that is no number becomes null, for JSON has no NaN.
    record = json.loads(json.dumps(asdict(facts)), parse_constant=lambda _: None)
    records.write_json(folder / MODEL_JSON, record)
    return Checkpoint(folder, facts)
