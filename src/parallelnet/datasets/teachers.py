"""Teachers of `build tweets`: what gives utterances and pictures class probabilities, and samples labels (paper 3.1).

A teacher is a checkpoint of ours or an audio or image classifier of Hugging Face transformers (extra: hf). Of the
latter only what cannot run is read: safetensors weights and JSON, no pickles, no code of the repository. A folder is
read where it lies; a name is fetched once into the hub's cache, and from there with `HF_HUB_OFFLINE=1`.

It looks at one file at a time, on one thread, so that what it says of a sample depends on nothing but the sample: not
on its neighbours, the shard, or the number of workers. (Measured for the bundled teachers on one core: blocks of 32 are
at most 15 percent faster, 6 ms a file either way.) The paper's teachers know excitement and disgust; Plutchik's wheel
makes them happy and hate.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import soxr

from .. import audio, checkpoint, image, options, predictor, records
from ..data.dataset import EMOTION_WORDS
from ..data.shards import Example, file_sha256
from ..errors import (
    CheckpointError,
    InputError,
    MissingExtraError,
    OptionError,
    ParallelNetError,
    brief,
    refuse,
    shown,
    unknown,
)
from ..types import EMOTIONS, Modality

HUB_PREFIX = "hf-model:"  # before the name or folder of a Hugging Face model, where a teacher is named
_ANY_LENGTH_S = 24 * 3600.0  # --max-characters limits it, not this
_HUB_FILES = ["*.json", "*.safetensors", "*.txt"]
# What a teacher of transformers is made of: the classes of its network and of what prepares its input.
_HUB_KINDS = {
    "speech": ("audio classification", "AutoModelForAudioClassification", "AutoFeatureExtractor"),
    "image": ("image classification", "AutoModelForImageClassification", "AutoImageProcessor"),
}

RULES: tuple[str, ...] = ("max", "agree")  # the larger probability decides; `agree`: only where both name one class
# What teachers call what is none of the paper's four; its probability is dropped.
# fmt: off
DROPPED_WORDS: frozenset[str] = frozenset((
    "neutral", "neu", "calm", "boredom", "bored", "other", "unknown", "unk", "<unk>",
    "fear", "fearful", "fea", "afraid", "surprise", "surprised", "sur", "awe", "contempt", "frustration", "fru",
))
# fmt: on


@dataclass(frozen=True)
class Teacher:
    """A classifier whose probabilities are merged to `EMOTIONS`; `open_teacher` makes one.

    Attributes:
        table: own class to ours; None for one that is dropped.
        renormalise: scale what is left to sum to 1.
    """

    modality: Modality
    classifier: _OurClassifier | _HubClassifier
    table: Mapping[str, str | None]
    renormalise: bool

    def probs(self, file: bytes) -> tuple[float, ...]:
        """Return one probability for each of `EMOTIONS`.

        Raises:
            ParallelNetError: this file cannot be judged.
            OSError: of this machine, not of the file.
        """
        try:
            own = dict(zip(self.classifier.classes, self.classifier.probs(file), strict=True))
            return merge(own, self.table, renormalise=self.renormalise)
        except (ParallelNetError, OSError):
            raise
        except Exception as error:  # a runtime's own errors, no memory: one stranger's file must not stop the build
            raise InputError(f"{self.classifier.name} failed on it ({type(error).__name__}: {error}).") from error

    def describe(self) -> dict[str, Any]:
        """Return what `dataset.json` and the data set card say of it: plain values, the same on every machine."""
        return {
            "name": self.classifier.name,
            "classes": list(self.classifier.classes),
            "map": {own: ours for own, ours in self.table.items() if ours is not None},
            "dropped": [own for own, ours in self.table.items() if ours is None],
            "never_named": [ours for ours in EMOTIONS if ours not in self.table.values()],
            "renormalise": self.renormalise,
            **self.classifier.facts(),
        }


def open_teacher(
    spec: str,
    modality: Modality,
    *,
    label_map: str | None = None,
    renormalise: bool = True,
    max_pixels: int = options.MAX_PIXELS,
) -> Teacher:
    """Return a teacher, ready to judge files; processes open their own instead of handing one over.

    Args:
        spec: bundled name, folder or `hf:OWNER/NAME` of a checkpoint of ours (one for both modalities serves with the
            one); or `hf-model:NAME`, `hf-model:FOLDER` of a transformers audio or image classification model.
        modality: `speech` or `image`.
        label_map: see `read_label_map`.
        renormalise: see `merge`.
        max_pixels: of a picture.

    Raises:
        CheckpointError: no such checkpoint or model, or a damaged one.
        MissingExtraError: transformers is asked for and not installed.
        OptionError: it does not take the modality, or its classes cannot be mapped to ours.
    """
    flag, limits = f"--{modality}-teacher", options.LimitOptions(max_duration_s=_ANY_LENGTH_S, max_pixels=max_pixels)
    given = read_label_map(label_map) if label_map is not None else {}
    kind = _HubClassifier if spec.startswith(HUB_PREFIX) else _OurClassifier
    classifier: _HubClassifier | _OurClassifier = kind(spec, modality, flag, limits)
    table = classes_to_emotions(classifier.classes, given, teacher=f"{flag} {spec}")
    return Teacher(modality, classifier, table, renormalise)


def taught(example: Example, *, teacher: Teacher) -> Example:
    """Set `speech_probs` or `image_probs`; reject `teacher-failed`."""
    modality = teacher.modality
    try:
        said = teacher.probs(example.speech if modality == "speech" else example.image)
    except ParallelNetError as error:
        return example.reject("teacher-failed", f"{modality}: {error}")
    return replace(example, speech_probs=said) if modality == "speech" else replace(example, image_probs=said)


# --- a checkpoint of ours, on ONNX Runtime ----------------------------------------------------------------------------


class _OurClassifier:
    """What gives one probability a class of its own, summing to 1, and knows what decides its answers."""

    def __init__(self, spec: str, modality: Modality, flag: str, limits: options.LimitOptions) -> None:
        self._opened, self._modality = checkpoint.opened(spec, flag), modality
        takes = self._opened.facts.modalities
        needed = f"needed: a checkpoint that takes {modality}. See parallelnet list checkpoints."
        refuse(OptionError, [(modality not in takes, f"{flag} {spec} takes {' and '.join(takes)}; {needed}")])
        self._predictor = predictor.Predictor(self._opened, n_threads=1, limits=limits)
        self.name, self.classes = self._predictor.name, self._predictor.classes

    def probs(self, file: bytes) -> Sequence[float]:
        speech, picture = (file, None) if self._modality == "speech" else (None, file)
        said = self._predictor.predict(speech, picture).probs
        return [said[name] for name in self.classes]

    def facts(self) -> dict[str, Any]:
        facts = self._opened.facts
        return {
            "kind": "parallelnet",
            "variant": facts.variant,
            **({"face": self._predictor.signals.face} if self._modality == "image" else {}),
            "started_from": list(facts.training.get("started_from", ())),
            # The graphs are the weights that answer; model.json holds temperatures and how files become tensors.
            "sha256": files_sha256(self._opened.path, (checkpoint.MODEL_JSON, *facts.graphs)),
        }


def files_sha256(folder: Path, names: Iterable[str]) -> str:
    """Return one SHA-256 of several files, names and lengths included; `CheckpointError` where one cannot be read."""
    total = hashlib.sha256()
    for name in names:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise CheckpointError(f"{folder / name} cannot be read: {error.strerror}.") from None
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


# --- a classifier of Hugging Face transformers ------------------------------------------------------------------------


class _HubClassifier:
    """The same; see `_OurClassifier`."""

    def __init__(self, spec: str, modality: Modality, flag: str, limits: options.LimitOptions) -> None:
        if not all(importlib.util.find_spec(package) for package in ("transformers", "torch", "torchvision")):
            raise MissingExtraError(f"{flag} {spec}", "hf")
        source = Path(spec.removeprefix(HUB_PREFIX))
        self.name = source.resolve().name if source.is_dir() else spec.removeprefix(HUB_PREFIX)
        self._folder = source
        if not source.is_dir():  # only on the explicit `hf-model:` prefix: nothing here calls out unless asked to
            from huggingface_hub import snapshot_download

            try:
                self._folder = Path(snapshot_download(self.name, allow_patterns=_HUB_FILES))
            except (OSError, ValueError) as error:  # the hub's own errors derive from these
                told = f"{flag} {spec} is no folder and could not be fetched: {brief(str(error))}"
                raise CheckpointError(told) from None
        self._modality, self._limits = modality, limits
        self._network, self._prepare = _opened(self._folder, spec, modality, flag)
        names = self._network.config.id2label
        self.classes = tuple(str(names[k]) for k in range(self._network.config.num_labels))
        twice = len(set(self.classes)) < len(self.classes)
        refuse(CheckpointError, [(twice, f"{self.name} names the same class twice: {', '.join(self.classes)}.")])

    def probs(self, file: bytes) -> Sequence[float]:
        import threadpoolctl
        import torch

        if self._modality == "image":
            inputs = self._prepare(images=image.read(file, limits=self._limits), return_tensors="pt")
        else:
            waveform, rate_hz = audio.read(file, limits=self._limits), int(self._prepare.sampling_rate)
            if rate_hz != audio.SAMPLE_RATE_HZ:
                waveform = soxr.resample(waveform, audio.SAMPLE_RATE_HZ, rate_hz)
            inputs = self._prepare(waveform, sampling_rate=rate_hz, return_tensors="pt")
        # The sums, and so the last digits, depend on the number of threads.
        with threadpoolctl.threadpool_limits(1), torch.inference_mode():
            try:
                logits = self._network(**inputs).logits
            except (RuntimeError, ValueError, IndexError) as error:  # a signal shorter than a kernel, for instance
                raise InputError(f"{type(self._network).__name__} cannot take it: {brief(str(error))}") from None
            found: list[float] = logits[0].double().softmax(-1).tolist()
        return found

    def facts(self) -> dict[str, Any]:
        total = hashlib.sha256()  # of weights and configuration
        for path in sorted((*self._folder.glob("*.safetensors"), *self._folder.glob("*config.json"))):
            total.update(f"{path.name}\0{file_sha256(path)}\0".encode())
        return {"kind": "transformers", "network": type(self._network).__name__, "sha256": total.hexdigest()}


def _opened(folder: Path, spec: str, modality: Modality, flag: str) -> tuple[Any, Any]:
    """Return a network of transformers, and what prepares its input."""
    transformers: Any = importlib.import_module("transformers")
    task, *names = _HUB_KINDS[modality]
    kind, reader = (getattr(transformers, name) for name in names)
    safe = {"local_files_only": True, "trust_remote_code": False}
    # No progress and load reports on standard error: what matters becomes an error.
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **safe)
        told = f"{flag} {spec} is a {config.model_type} network, which is not for {task}."
        refuse(OptionError, [(type(config) not in kind._model_mapping, told)])
        prepare = reader.from_pretrained(folder, **safe)
        network, loaded = kind.from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True, **safe
        )
    except OptionError:
        raise
    except Exception as error:  # transformers raises OSError, ValueError, KeyError, SafetensorError, RuntimeError...
        raise CheckpointError(f"{flag} {spec} cannot be loaded: {brief(str(error), 300)}") from None
    missing = sorted(map(str, (*loaded["missing_keys"], *loaded["mismatched_keys"])))
    told = f"{flag} {spec} has no trained weights for {', '.join(missing[:3])}."
    mend = f"Mend: name a model that was trained for {task}, not one that is to be trained for it."
    refuse(CheckpointError, [(missing, f"{told} {mend}")])
    return network.eval(), prepare


# --- from what both say to the label: their classes made ours, and who decides ----------------------------------------


def read_label_map(path: str) -> dict[str, str | None]:
    """Return {own class: our class, or None to drop it} from a JSON file; `OptionError` where it is no such file."""
    needed = f'--label-map needs a JSON object {{"own class": one of {", ".join(EMOTIONS)}, or null}}.'
    found = records.read_json(Path(path), mend=needed)
    strange = {own: ours for own, ours in found.items() if ours not in (None, *EMOTIONS)}
    rows = ((True, f"{path} maps {shown(own)} to {shown(ours)}. Mend: {needed}") for own, ours in strange.items())
    refuse(OptionError, rows)
    return found


def classes_to_emotions(
    classes: Sequence[str], label_map: Mapping[str, str | None], *, teacher: str
) -> dict[str, str | None]:
    """Return which of `EMOTIONS` each class of a teacher is merged into; None for one that is dropped.

    The user's map goes first, then `dataset.EMOTION_WORDS` (excitement is happy, disgust is hate), then
    `DROPPED_WORDS`; capitals do not count. The map may name classes of the other teacher. `teacher` begins errors.

    Raises:
        OptionError: a class that no table knows, or none that becomes one of ours.
    """
    given = {own.strip().casefold(): ours for own, ours in label_map.items()}
    known: dict[str, str | None] = {**dict.fromkeys(DROPPED_WORDS), **EMOTION_WORDS, **given}
    words = {own: own.strip().casefold() for own in classes}
    strange = [own for own, word in words.items() if word not in known]
    table, ours = {own: known.get(word) for own, word in words.items()}, ", ".join(EMOTIONS)
    told = f"{teacher} has classes that no table names: {', '.join(map(repr, strange))}. Mend: name them in a file for"
    mend = f'--label-map, {{"{"".join(strange[:1])}": one of {ours}, or null to drop it}}.'
    none = f"{teacher} tells {', '.join(classes)} apart, none of which is one of {ours}. Mend: another teacher, or"
    refuse(OptionError, [(strange, f"{told} {mend}"), (not any(table.values()), f"{none} --label-map.")])
    return table


def merge(own: Mapping[str, float], table: Mapping[str, str | None], *, renormalise: bool = True) -> tuple[float, ...]:
    """Return one probability for each of `EMOTIONS`: the sum over the teacher's classes that are merged into it.

    They are scaled to sum to 1 unless `renormalise` is False: then they sum to 1 less what was dropped.

    Raises:
        InputError: the probabilities are not finite, or all of them fall on classes that are dropped.
    """
    if not all(map(math.isfinite, own.values())):
        raise InputError("The teacher gave probabilities that are not finite.")
    sums = dict.fromkeys((*EMOTIONS, None), 0.0)
    for name, p in own.items():
        sums[table[name]] += float(p)
    del sums[None]  # what is dropped
    total = math.fsum(sums.values())
    refuse(InputError, [(total <= 0, "The teacher gave all its probability to classes that are dropped.")])
    # Without dropped classes the sum is 1 but for rounding, which is left alone.
    scale = total if renormalise and any(ours is None for ours in table.values()) else 1.0
    return tuple(p / scale for p in sums.values())


class Decision(NamedTuple):
    """What two teachers come to: the class of `source` (`speech` or `image`) with its probability, kept or not.

    `reason` is `low-confidence` or `teachers-disagree` where the sample is not kept, else "".
    """

    label: str
    source: str
    confidence: float
    reason: str = ""


def decide(
    speech_probs: Sequence[float], image_probs: Sequence[float], *, threshold: float = 0.5, rule: str = "max"
) -> Decision:
    """Return the label of a sample, as paper section 3.1 prints it.

    `max1` is the largest probability that the speech teacher gives, `max2` the picture teacher's. The larger of the two
    decides: its class is the label. Where it is less than the threshold the sample is dropped; a sample exactly at the
    threshold is kept. The paper does not say what becomes of `max1 = max2`; here the speech decides. Of classes that
    one teacher finds equally probable, the first in index order counts.

    The paper renames excitement and disgust (happy and hate, Plutchik) once samples are labelled. Here that is done
    before (`merge`), so that joy spread over two classes of a teacher is not smaller for it.

    Rule `agree` is the alternative of paper section 5.4: the same decision, but dropped unless both teachers find the
    same class most probable. The threshold still holds for the larger probability, and is looked at first.

    Args:
        speech_probs: one probability for each of `EMOTIONS`, in their order; may sum to less than 1.
        image_probs: likewise.
        threshold: smallest deciding probability that is kept; the paper's is twice that of a guess among four.
        rule: `max` or `agree`.

    Raises:
        OptionError: no such rule.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES, "--rule")
    assert len(speech_probs) == len(image_probs) == len(EMOTIONS), (speech_probs, image_probs)
    max1, max2 = max(speech_probs), max(image_probs)
    heard, seen = EMOTIONS[speech_probs.index(max1)], EMOTIONS[image_probs.index(max2)]
    reason = "teachers-disagree" if rule == "agree" and heard != seen else ""
    reason = "low-confidence" if max(max1, max2) < threshold else reason
    return Decision(*((heard, "speech", max1) if max1 >= max2 else (seen, "image", max2)), reason)


def decided(example: Example, *, threshold: float, rule: str) -> Example:
    """Set `label`, `label_source` and `confidence`; reject `low-confidence` and `teachers-disagree`; see `decide`."""
    found = decide(example.speech_probs, example.image_probs, threshold=threshold, rule=rule)
    if found.reason:
        other = example.image_probs if found.source == "speech" else example.speech_probs
        second = EMOTIONS[other.index(max(other))]
        low = f"{found.label} by {found.source} with {found.confidence:.3f}"
        differ = f"{found.source} says {found.label} ({found.confidence:.3f}), the other teacher {second}"
        return example.reject(found.reason, low if found.reason == "low-confidence" else differ)
    return replace(example, label=found.label, label_source=found.source, confidence=found.confidence)


def own_label(example: Example) -> Example:
    """Keep the source's own sentiment as what is learnt, without teachers; reject `no-sentiment`."""
    own = replace(example, label="", label_source="source", confidence=1.0)
    return own if own.sentiment else example.reject("no-sentiment")
