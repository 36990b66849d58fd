"""Teachers of `build tweets`: what gives each utterance and each picture its class probabilities (paper section 3.1).

A teacher is a checkpoint of ours or a classifier of Hugging Face transformers. It looks at one file at a time, so that
what it says of a sample depends on nothing but the sample: not on its neighbours, the shard, or the number of workers.
(Measured for the bundled teachers on one core: blocks of 32 are at most 15 percent faster, 6 ms a file either way.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from .. import checkpoint
from ..data.shards import Example
from ..errors import CheckpointError, InputError, OptionError, ParallelNetError
from ..options import MAX_PIXELS, LimitOptions
from ..predictor import Predictor
from ..types import EMOTIONS, Modality
from .decision import classes_to_emotions, merge, read_label_map
from .hub_teachers import HUB_PREFIX, open_hub_classifier

_ANY_LENGTH_S = 24 * 3600.0  # --max-characters limits it, not this


class Classifier(Protocol):
    """What looks at a file, with classes of its own.

    Attributes:
        name: of the checkpoint or model, without folders of this machine.
        classes: in the order of the probabilities.
    """

    name: str
    classes: tuple[str, ...]

    def probs(self, file: bytes) -> Sequence[float]:
        """Return one probability a class, summing to 1.

        Raises:
            InputError: the file cannot be used.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """Return what is known of it, `sha256` of all that decides its answers among it."""
        ...


@dataclass(frozen=True)
class Teacher:
    """A classifier whose probabilities are merged to `EMOTIONS`; `open_teacher` makes one.

    Attributes:
        name: of the checkpoint or model, without folders of this machine.
        modality: what it is asked about.
        table: own class to ours; None for one that is dropped.
        renormalise: scale what is left to sum to 1.
    """

    name: str
    modality: Modality
    table: Mapping[str, str | None]
    renormalise: bool
    _classifier: Classifier

    @property
    def classes(self) -> tuple[str, ...]:
        """The teacher's own classes, in its order."""
        return self._classifier.classes

    def probs(self, file: bytes) -> tuple[float, ...]:
        """Return one probability for each of `EMOTIONS`.

        Raises:
            ParallelNetError: this file cannot be judged.
            OSError: of this machine, not of the file.
        """
        try:
            own = self._classifier.probs(file)
            return merge(dict(zip(self.classes, own, strict=True)), self.table, renormalise=self.renormalise)
        except (ParallelNetError, OSError):
            raise
        except Exception as error:  # a runtime's own errors, no memory: one stranger's file must not stop the build
            raise InputError(f"{self.name} failed on it ({type(error).__name__}: {error}).") from error

    def describe(self) -> dict[str, Any]:
        """Return what `dataset.json` and the data set card say of it: plain values, the same on every machine."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "map": {own: ours for own, ours in self.table.items() if ours is not None},
            "dropped": [own for own, ours in self.table.items() if ours is None],
            "never_named": [ours for ours in EMOTIONS if ours not in self.table.values()],
            "renormalise": self.renormalise,
            **self._classifier.facts(),
        }


def open_teacher(
    spec: str,
    modality: Modality,
    *,
    label_map: str | None = None,
    renormalise: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> Teacher:
    """Return a teacher, ready to judge files.

    It computes on one thread, and holds an open network: processes open their own from the same arguments.

    Args:
        spec: bundled name, folder or `hf:OWNER/NAME` of a checkpoint of ours (one for both modalities serves with the
            one); or `hf-model:NAME`, `hf-model:FOLDER` of a transformers audio or image classification model.
        modality: `speech` or `image`.
        label_map: JSON file {own class: our class or null}; goes before the tables here.
        renormalise: after merging, scale the probabilities of our classes to sum to 1.
        max_pixels: of a picture.

    Raises:
        CheckpointError: no such checkpoint or model, or a damaged one.
        MissingExtraError: transformers is asked for and not installed.
        OptionError: it does not take the modality, or its classes cannot be mapped to ours.
    """
    flag = f"--{modality}-teacher"
    limits = LimitOptions(max_duration_s=_ANY_LENGTH_S, max_pixels=max_pixels)
    given = read_label_map(label_map) if label_map is not None else {}
    classifier: Classifier
    if spec.startswith(HUB_PREFIX):
        classifier = open_hub_classifier(spec.removeprefix(HUB_PREFIX), modality, flag=flag, limits=limits)
    else:
        classifier = _OurClassifier(spec, modality, flag, limits)
    table = classes_to_emotions(classifier.classes, given, teacher=f"{flag} {spec}")
    return Teacher(classifier.name, modality, table, renormalise, classifier)


class _OurClassifier:
    """A checkpoint of ours, on ONNX Runtime."""

    def __init__(self, spec: str, modality: Modality, flag: str, limits: LimitOptions) -> None:
        self._opened, self._modality = checkpoint.opened(spec, flag), modality
        if modality not in self._opened.facts.modalities:
            raise OptionError(
                f"{flag} {spec} takes {' and '.join(self._opened.facts.modalities)}; needed: a checkpoint that takes "
                f"{modality}. See parallelnet list checkpoints."
            )
        self._predictor = Predictor(self._opened, n_threads=1, limits=limits)
        self.name, self.classes = self._predictor.name, self._predictor.classes

    def probs(self, file: bytes) -> Sequence[float]:
        speech, picture = (file, None) if self._modality == "speech" else (None, file)
        said = self._predictor.predict(speech, picture).probs
        return [said[name] for name in self.classes]

    def facts(self) -> dict[str, Any]:
        facts = self._opened.facts
        found: dict[str, Any] = {"kind": "parallelnet", "variant": facts.variant}
        if self._modality == "image":
            found["face"] = self._predictor.signals.face
        found["started_from"] = list(facts.training.get("started_from", ()))
        # The graphs are the weights that answer; model.json holds temperatures and how files become tensors.
        found["sha256"] = files_sha256(self._opened.path, (checkpoint.MODEL_JSON, *facts.graphs))
        return found


def files_sha256(folder: Path, names: Iterable[str]) -> str:
    """Return one SHA-256 of several files, their names and lengths included.

    Raises:
        CheckpointError: one of them cannot be read.
    """
    total = hashlib.sha256()
    for name in names:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise CheckpointError(f"{folder / name} cannot be read: {error.strerror}.") from None
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


class Teach:
    """Step: sets `speech_probs` or `image_probs`; rejects `teacher-failed`."""

    def __init__(self, teacher: Teacher) -> None:
        """Take the teacher of one modality."""
        self.name = f"teach-{teacher.modality}"
        self._teacher = teacher

    def __call__(self, example: Example) -> Example:
        """See `steps.Step`."""
        modality = self._teacher.modality
        try:
            said = self._teacher.probs(example.speech if modality == "speech" else example.image)
        except ParallelNetError as error:
            return example.reject("teacher-failed", f"{modality}: {error}")
        return replace(example, speech_probs=said) if modality == "speech" else replace(example, image_probs=said)
