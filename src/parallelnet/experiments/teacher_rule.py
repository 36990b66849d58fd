"""The teachers that made the labels: the ceiling of every table on their labels, and refused as a start (paper 5.4).

Who starts from a teacher would be rewarded for being like it: "they will get a 100 % accuracy". So the labelling rule
itself stands in the table as a row, and no row may take over a teacher's weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..data.built import is_built, read_report
from ..data.dataset import file_hashes
from ..errors import OptionError
from ..types import EMOTIONS
from .runner import Material


def built_record(data: str) -> dict[str, Any] | None:
    """Return the `dataset.json` of what `build tweets` made; None for other data."""
    return read_report(data).to_dict() if is_built(data) else None


def refuse_teachers(sources: Sequence[str], built: Mapping[str, Any] | None) -> None:
    """Refuse checkpoints that made the labels of the data, or that share weights with those.

    A checkpoint shares them when its files are the teacher's, when it was trained from it by name, or when both come
    with the package (the bundled model has the bundled teachers' ears and eyes).

    Args:
        sources: checkpoints to start from.
        built: the data's `dataset.json`; None: data whose labels no teacher made.

    Raises:
        OptionError: names the first such checkpoint and the teacher.
        CheckpointError: a source cannot be opened.
    """
    teachers = (built or {}).get("teachers") or {}
    if built is None or built.get("labels") == "sentiment" or not teachers:
        return
    bundled = {path.resolve(): name for name, path in checkpoint.bundled().items()}
    for source in sources:
        opened = checkpoint.read(checkpoint.resolve(source))
        names = {opened.facts.name, *opened.facts.training.get("started_from", ())}
        home = bundled.get(opened.path.resolve())
        if home is not None:
            names.add(home)
        files = [str(path) for path in opened.path.glob("*") if path.suffix in (".safetensors", ".onnx")]
        hashes = set(file_hashes(files).values())
        for modality, teacher in teachers.items():
            called = str(teacher.get("name", ""))
            shared = home is not None and called in bundled.values()
            if shared or called in names or hashes & set(_texts(teacher)):
                raise OptionError(
                    f"--init-from {source} is, or shares weights with, the {modality} teacher {called!r}, which made "
                    "the labels of this data: it would be judged by its own opinion (paper section 5.4). Mend: leave "
                    "it out, or name a checkpoint that learnt from other data."
                )


def _texts(record: Any) -> Iterator[str]:
    if isinstance(record, str):
        yield record
    elif isinstance(record, Mapping):
        for value in record.values():
            yield from _texts(value)
    elif isinstance(record, list | tuple):
        for value in record:
            yield from _texts(value)


def references(material: Material, data: str, built: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return what the rule, and each teacher alone, say of the table's samples, computed from their probabilities.

    Returns:
        For `teacher-rule`, `speech-teacher` and `image-teacher` either `said` (class index of each sample in the
        order of `material.samples`, -1 for none of the classes) or the `reason` why there is none.
    """
    names = ("teacher-rule", "speech-teacher", "image-teacher")
    if built is None:
        return {name: {"reason": "not applicable: no teacher made the labels of this data"} for name in names}
    if built.get("labels") == "sentiment":
        return {name: {"reason": "not applicable: the labels are the source's own"} for name in names}
    from ..data.decision import decide

    probs = _teacher_probs(Path(data))
    said: dict[str, list[str]] = {name: [] for name in names}
    for sample in material.samples:
        speech, image = probs[sample.id]
        decision = decide(speech, image, threshold=built["threshold"], rule=built["rule"])
        said["teacher-rule"].append(decision.label)
        said["speech-teacher"].append(EMOTIONS[int(np.argmax(speech))])
        said["image-teacher"].append(EMOTIONS[int(np.argmax(image))])
    index = {name: number for number, name in enumerate(material.classes)}
    return {name: {"said": [index.get(label, -1) for label in labels]} for name, labels in said.items()}


def _teacher_probs(folder: Path) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return both teachers' probabilities of each sample id; only these columns are read, not sound and picture."""
    import pyarrow.parquet as pq

    found = {}
    for shard in sorted((folder / "data").glob("*.parquet")):
        table = pq.read_table(shard, columns=["id", "speech_probs", "image_probs"]).to_pydict()
        for id_, speech, image in zip(table["id"], table["speech_probs"], table["image_probs"], strict=True):
            found[id_] = tuple(speech), tuple(image)
    return found
