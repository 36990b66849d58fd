"""Teachers of `build tweets`: what gives each utterance and each picture its class probabilities (paper section 3.1).

A teacher is a checkpoint of ours or a classifier of Hugging Face transformers. It looks at one file at a time, so that
what it says of a sample depends on nothing but the sample: not on its neighbours, the shard, or the number of workers.
(Measured for the bundled teachers on one core: blocks of 32 are at most 15 percent faster, 6 ms a file either way.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from .. import checkpoint
from ..errors import CheckpointError, InputError, OptionError, ParallelNetError
from ..options import MAX_PIXELS, LimitOptions
from ..predictor import Predictor
from ..records import is_disk_full
from ..types import EMOTIONS, Modality
from .draft import Draft
from .hub_teachers import HUB_PREFIX, open_hub_classifier
from .merging import classes_to_emotions, merge, read_label_map

_ANY_LENGTH_S = 24 * 3600.0  # --max-characters limits it, not this


class Classifier(Protocol):
    """What looks at a file, with classes of its own.

    Attributes:
        classes: in the order of the probabilities.
    """

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

    def probs(self, files: Sequence[bytes]) -> list[tuple[float, ...] | ParallelNetError]:
        """Return for each file one probability for each of `EMOTIONS`, or the error that kept it from them."""
        return [self._of(file) for file in files]

    def _of(self, file: bytes) -> tuple[float, ...] | ParallelNetError:
        try:
            own = self._classifier.probs(file)
            return merge(dict(zip(self.classes, own, strict=True)), self.table, renormalise=self.renormalise)
        except ParallelNetError as error:
            return error
        except OSError:  # of this machine, not of the file
            raise
        except Exception as error:  # a runtime's own errors, no memory: one stranger's file must not stop the build
            if is_disk_full(error):  # no fault of the row: it would be lost for ever
                raise
            return InputError(f"{self.name} failed on it ({type(error).__name__}: {error}).")

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
    modality: str,
    *,
    label_map: str | None = None,
    renormalise: bool = True,
    n_threads: int = 1,
    max_pixels: int = MAX_PIXELS,
) -> Teacher:
    """Return a teacher, ready to judge files.

    It holds an open network: processes open their own from the same arguments instead of handing one over.

    Args:
        spec: bundled name, folder or `hf:OWNER/NAME` of a checkpoint of ours (one for both modalities serves with the
            one); or `hf-model:NAME`, `hf-model:FOLDER` of a transformers audio or image classification model.
        modality: `speech` or `image`.
        label_map: JSON file {own class: our class or null}; goes before the tables here.
        renormalise: after merging, scale the probabilities of our classes to sum to 1.
        n_threads: CPU threads of the network.
        max_pixels: of a picture.

    Raises:
        CheckpointError: no such checkpoint or model, or a damaged one.
        MissingExtraError: transformers is asked for and not installed.
        OptionError: it does not take the modality, or its classes cannot be mapped to ours.
    """
    assert modality in ("speech", "image"), modality
    taken: Modality = "speech" if modality == "speech" else "image"
    flag = f"--{taken}-teacher"
    limits = LimitOptions(max_duration_s=_ANY_LENGTH_S, max_pixels=max_pixels)
    given = read_label_map(label_map) if label_map is not None else {}
    classifier: Classifier
    if spec.startswith(HUB_PREFIX):
        source = spec.removeprefix(HUB_PREFIX)
        name = Path(source).resolve().name if Path(source).is_dir() else source
        classifier = open_hub_classifier(source, taken, flag=flag, limits=limits, n_threads=n_threads)
    else:
        classifier = _OurClassifier(spec, taken, flag, limits, n_threads)
        name = classifier.name
    table = classes_to_emotions(classifier.classes, given, teacher=f"{flag} {spec}")
    return Teacher(name, taken, table, renormalise, classifier)


class _OurClassifier:
    """A checkpoint of ours, on ONNX Runtime."""

    def __init__(self, spec: str, modality: Modality, flag: str, limits: LimitOptions, n_threads: int) -> None:
        opened = checkpoint.opened(spec, flag)
        if modality not in opened.facts.modalities:
            raise OptionError(
                f"{flag} {spec} takes {' and '.join(opened.facts.modalities)}; needed: a checkpoint that takes "
                f"{modality}. See parallelnet list checkpoints."
            )
        self._predictor = Predictor(opened, n_threads=n_threads, limits=limits)
        self._modality = modality
        self._opened = opened
        self.name = self._predictor.name
        self.classes = self._predictor.classes

    def probs(self, file: bytes) -> Sequence[float]:
        speech, picture = (file if self._modality == name else None for name in ("speech", "image"))
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
    """Sets `speech_probs` or `image_probs`; rejects `teacher-failed`."""

    def __init__(self, modality: str, teacher: Teacher) -> None:
        """Take a teacher of this modality."""
        assert teacher.modality == modality, (teacher.modality, modality)
        self.name = f"teach-{modality}"
        self._teacher = teacher

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """See `draft.Step`."""
        for draft in drafts:
            yield draft if draft.reason else self._taught(draft)

    def _taught(self, draft: Draft) -> Draft:
        modality = self._teacher.modality
        (said,) = self._teacher.probs([draft.speech if modality == "speech" else draft.image])
        if isinstance(said, ParallelNetError):
            return draft.reject("teacher-failed", f"{modality}: {said}")
        return replace(draft, speech_probs=said) if modality == "speech" else replace(draft, image_probs=said)
