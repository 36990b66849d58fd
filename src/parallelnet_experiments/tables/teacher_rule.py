"""The teachers that made the labels: the ceiling of every table on their labels, and refused as a start (paper 5.4).

Who starts from a teacher would be rewarded for being like it: "they will get a 100 % accuracy". So the labelling rule
itself stands in the table as a row, and no row may take over a teacher's weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from parallelnet import checkpoint
from parallelnet.data.built import is_built, read_report
from parallelnet.data.shards import read_shard
from parallelnet.datasets.decision import decide
from parallelnet.datasets.teachers import files_sha256
from parallelnet.errors import OptionError
from parallelnet.types import EMOTIONS

from .runner import Material


def built_record(data: str) -> dict[str, Any] | None:
    """Return the `dataset.json` of what `build tweets` made; None for other data."""
    return asdict(read_report(Path(data))) if is_built(data) else None


def built_facts(built: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a reader must know of data that `build tweets` made: source, teachers, rule, engine."""
    if built is None:
        return None
    names = (
        *("fingerprint", "input", "labels", "rule", "threshold", "teachers", "teacher_agreement", "tts"),
        *("n_read", "n_kept"),
    )
    return {name: built[name] for name in names if name in built}


def refuse_teachers(sources: Sequence[str], built: Mapping[str, Any] | None) -> None:
    """Refuse checkpoints that made the labels of the data, or that share weights with those.

    Checkpoints share weights when their files are the same, when one was trained from the other, or both from a third
    one: the bundled teachers have the ears and eyes of the bundled `compact`.

    Args:
        sources: checkpoints to start from.
        built: the data's `dataset.json`; None: data whose labels no teacher made.

    Raises:
        OptionError: names the first such checkpoint and the teacher.
        CheckpointError: a source cannot be opened.
    """
    if built is None or built["labels"] == "sentiment":
        return
    names_of = {path.resolve(): name for name, path in checkpoint.bundled().items()}
    for source in sources:
        opened = checkpoint.opened(source, "--init-from")
        kin = {opened.facts.name, *opened.facts.training.get("started_from", ())}
        kin.add(names_of.get(opened.path.resolve(), opened.facts.name))
        # A checkpoint of `train --no-export` has no graphs, so it is no copy of a teacher, which has: its kin decides.
        graphs = [name for name in opened.facts.graphs if (opened.path / name).is_file()]
        digest = files_sha256(opened.path, (checkpoint.MODEL_JSON, *graphs))
        for modality, teacher in built["teachers"].items():
            if kin & {teacher["name"], *teacher.get("started_from", ())} or digest == teacher.get("sha256"):
                raise OptionError(
                    f"--init-from {source} is, or shares weights with, the {modality} teacher {teacher['name']!r}, "
                    "which made the labels of this data: it would be judged by its own opinion (paper section 5.4). "
                    "Mend: leave it out, or name a checkpoint that learnt from other data."
                )


def references(material: Material, data: str, built: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return what the rule, and each teacher alone, say of the table's samples, computed from their probabilities.

    Returns:
        For `teacher-rule`, `speech-teacher` and `image-teacher` either `said` (class index of each sample in the
        order of `material.samples`, -1 for none of the classes) or the `reason` why there is none.
    """
    names = ("teacher-rule", "speech-teacher", "image-teacher")
    if built is None:
        return {name: {"reason": "not applicable: no teacher made the labels of this data"} for name in names}
    if built["labels"] == "sentiment":
        return {name: {"reason": "not applicable: the labels are the source's own"} for name in names}
    probs = _teacher_probs(Path(data))
    said: dict[str, list[str]] = {name: [] for name in names}
    for sample in material.samples:
        speech, image = probs[sample.id]
        decision = decide(speech, image, threshold=built["threshold"], rule=built["rule"])
        said["teacher-rule"].append("" if decision.reason else decision.label)
        said["speech-teacher"].append(EMOTIONS[int(np.argmax(speech))])
        said["image-teacher"].append(EMOTIONS[int(np.argmax(image))])
    index = {name: number for number, name in enumerate(material.classes)}
    return {name: {"said": [index.get(label, -1) for label in labels]} for name, labels in said.items()}


def _teacher_probs(folder: Path) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return both teachers' probabilities of each sample id."""
    return {
        row.id: (row.speech_probs, row.image_probs)
        for path in sorted((folder / "data").glob("*.parquet"))
        for row in read_shard(path, with_bytes=False)
    }
