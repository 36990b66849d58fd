"""Audio and image classifiers of Hugging Face transformers, as teachers (extra: hf).

Only what cannot run is read: safetensors weights and JSON, no pickles, no code of the repository. A folder is read
where it lies; a name is fetched once into the hub's cache, and from there with `HF_HUB_OFFLINE=1`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soxr

from .. import audio, image
from ..data.shards import file_sha256
from ..errors import CheckpointError, InputError, MissingExtraError, OptionError
from ..options import LimitOptions
from ..types import Modality

HUB_PREFIX = "hf-model:"
"""Before the name or folder of a Hugging Face model, where a teacher is named."""
_FILES = ("*.json", "*.safetensors", "*.txt")
_TASKS = {"speech": "audio classification", "image": "image classification"}


def open_hub_classifier(source: str, modality: Modality, *, flag: str, limits: LimitOptions) -> HubClassifier:
    """Return a classifier, ready to look at files.

    Args:
        source: folder, or OWNER/NAME on the hub.
        modality: what it is asked about.
        flag: that named it, for the error texts.
        limits: how large a file may be.

    Raises:
        CheckpointError: it cannot be found, fetched or loaded, or has no trained head.
        MissingExtraError: transformers or torch is not installed.
        OptionError: it is a classifier of something else.
    """
    if not all(importlib.util.find_spec(package) for package in ("transformers", "torch", "torchvision")):
        raise MissingExtraError(f"{flag} hf-model:{source}", "hf")
    folder = _folder(source, flag)
    transformers: Any = importlib.import_module("transformers")
    if modality == "speech":
        kind, reader = transformers.AutoModelForAudioClassification, transformers.AutoFeatureExtractor
    else:
        kind, reader = transformers.AutoModelForImageClassification, transformers.AutoImageProcessor
    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet(transformers):
            config = transformers.AutoConfig.from_pretrained(folder, **safe)
            if type(config) not in kind._model_mapping:
                raise OptionError(
                    f"{flag} hf-model:{source} is a {config.model_type} network, which is not for {_TASKS[modality]}."
                )
            prepare = reader.from_pretrained(folder, **safe)
            network, loaded = kind.from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, **safe
            )
    except OptionError:
        raise
    except Exception as error:  # transformers raises OSError, ValueError, KeyError, SafetensorError, RuntimeError...
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{flag} hf-model:{source} cannot be loaded: {reason}") from None
    if loaded["missing_keys"] or loaded["mismatched_keys"]:
        missing = sorted(map(str, (*loaded["missing_keys"], *loaded["mismatched_keys"])))
        raise CheckpointError(
            f"{flag} hf-model:{source} has no trained weights for {', '.join(missing[:3])}. Mend: name a model that "
            f"was trained for {_TASKS[modality]}, not one that is to be trained for it."
        )
    name = folder.resolve().name if Path(source).is_dir() else source
    return HubClassifier(name, folder, modality, network.eval(), prepare, limits)


class HubClassifier:
    """One network of transformers with what prepares its input.

    Attributes:
        name: of the model, or of its folder.
        classes: in the order of the probabilities, as the model's configuration names them.
    """

    def __init__(
        self, name: str, folder: Path, modality: Modality, network: Any, prepare: Any, limits: LimitOptions
    ) -> None:
        """Take what `open_hub_classifier` loaded."""
        self.name, self._folder, self._modality, self._limits = name, folder, modality, limits
        self._network, self._prepare = network, prepare
        names = network.config.id2label
        self.classes: tuple[str, ...] = tuple(str(names[k]) for k in range(network.config.num_labels))
        if len(set(self.classes)) < len(self.classes):
            raise CheckpointError(f"{folder.name} names the same class twice: {', '.join(self.classes)}.")

    def probs(self, file: bytes) -> Sequence[float]:
        """Return one probability a class, of the whole utterance or picture.

        Raises:
            InputError: the file cannot be read, or the network cannot take it (too short, for instance).
        """
        import torch

        inputs = self._inputs(file)
        with _one_thread(), torch.inference_mode():
            try:
                logits = self._network(**inputs).logits
            except (RuntimeError, ValueError, IndexError) as error:  # a signal shorter than a kernel, for instance
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise InputError(f"{type(self._network).__name__} cannot take it: {reason}") from None
            found: list[float] = logits[0].double().softmax(-1).tolist()
        return found

    def _inputs(self, file: bytes) -> Any:
        if self._modality == "image":
            return self._prepare(images=image.read(file, limits=self._limits), return_tensors="pt")
        waveform = audio.read(file, limits=self._limits)
        rate_hz = int(self._prepare.sampling_rate)
        if rate_hz != audio.SAMPLE_RATE_HZ:
            waveform = soxr.resample(waveform, audio.SAMPLE_RATE_HZ, rate_hz)
        return self._prepare(waveform, sampling_rate=rate_hz, return_tensors="pt")

    def facts(self) -> dict[str, Any]:
        """Return what is known of it; `sha256` covers weights and configuration."""
        total = hashlib.sha256()
        for path in sorted((*self._folder.glob("*.safetensors"), *self._folder.glob("*config.json"))):
            total.update(f"{path.name}\0{file_sha256(path)}\0".encode())
        return {"kind": "transformers", "network": type(self._network).__name__, "sha256": total.hexdigest()}


def _folder(source: str, flag: str) -> Path:
    if Path(source).is_dir():
        return Path(source)
    # Only on the explicit `hf-model:` prefix: nothing here calls out unless it was asked to.
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=list(_FILES)))
    except (OSError, ValueError) as error:  # the hub's own errors derive from these
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{flag} hf-model:{source} is no folder and could not be fetched: {reason}") from None


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from writing progress and load reports on standard error; what matters becomes an error."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute on one thread: the sums, and so the last digits, depend on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
