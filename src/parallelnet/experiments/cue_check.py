"""Is the cue what a model goes by? How often it is right with the cue, and what it says when the cue is gone.

Shown before any explanation is measured: where a model is wrong, or says the same without the cue, its explanation
need not point there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..data.dataset import open_data
from ..errors import ManifestError
from ..predictor import Predictor, load
from ..types import Prediction, Sample
from .planting import NONE


@dataclass(frozen=True, slots=True)
class Removal:
    """What happens to the samples that a model is right about when a cue is removed.

    Attributes:
        changed: part of them that is then given another class.
        prob_with: mean probability of the true class with the cue.
        prob_without: the same without it.
        usable: ids of those that are then given another class.
    """

    changed: float
    prob_with: float
    prob_without: float
    usable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CueReport:
    """How a model fares on one split of planted material.

    Attributes:
        n: samples with a cue.
        accuracy: on them.
        recall: of each class.
        none_recall: part of the samples without a cue (class `none`) that is said to have none; None without such.
        alone: accuracy on the samples with a cue from `speech` or `image` alone, for pairs.
        removed: by what was removed: `speech`, `image`, `both`.
    """

    n: int
    accuracy: float
    recall: Mapping[str, float]
    none_recall: float | None
    alone: Mapping[str, float]
    removed: Mapping[str, Removal]


@dataclass(frozen=True, slots=True)
class CueCheckOptions:
    """Say how often a model is right on planted material, and what it says without the cue.

    Attributes:
        data: folder that the material was written to.
        checkpoint: bundled name, folder, or hf:OWNER/NAME; the bundled model when left out.
        split: part that is looked at.
        labels: classes to choose from; all of the checkpoint's when left out.
    """

    data: str = field(metadata={"positional": True})
    checkpoint: str | None = None
    split: Literal["validation", "test"] = "validation"
    labels: tuple[str, ...] = ()


def check_cues(model: Predictor, samples: Sequence[Sample], folder: Path) -> CueReport:
    """Return how a model fares on planted material.

    Args:
        model: anything trained on it, or the bundled model; a class that it lacks counts as wrong.
        samples: of one split, from `material.plant`.
        folder: the material's, which `without_speech` and `without_image` are relative to.

    Raises:
        ManifestError: no sample has a cue.
    """
    planted = [s for s in samples if s.extra.get("planted") == "cue"]
    if not planted:
        raise ManifestError("No sample has a cue (column 'planted'). Mend: use material that experiment plant made.")
    said = _predicted(model, planted)
    right = np.array([p.emotion == s.label for s, p in zip(planted, said, strict=True)])
    nothing = [s for s in samples if s.label == NONE]
    none_recall = float(np.mean([p.emotion == NONE for p in _predicted(model, nothing)])) if nothing else None
    modalities: list[str] = [
        name for name in ("speech", "image") if getattr(planted[0], name) and name in model.modalities
    ]
    alone: dict[str, float] = {
        str(name): float(np.mean([_best(p.alone[name]) == s.label for s, p in zip(planted, said, strict=True)]))
        for name in (modalities if len(modalities) == 2 else ())
    }
    removed = {}
    for name in (*modalities, "both") if len(modalities) == 2 else modalities:
        gone = modalities if name == "both" else [name]
        bare = [replace(s, **{m: str(folder / s.extra[f"without_{m}"]) for m in gone}) for s in planted]  # type: ignore[arg-type]
        removed[name] = _removal(planted, said, _predicted(model, bare), right)
    recall = {
        label: float(right[[s.label == label for s in planted]].mean()) for label in sorted({s.label for s in planted})
    }
    return CueReport(len(planted), float(right.mean()), recall, none_recall, alone, removed)


def _removal(
    planted: Sequence[Sample], said: Sequence[Prediction], bare: Sequence[Prediction], right: np.ndarray
) -> Removal:
    rows = [
        (s.id, before.probs[s.label], after.probs[s.label], after.emotion != s.label)
        for s, before, after, correct in zip(planted, said, bare, right, strict=True)
        if correct
    ]
    if not rows:
        return Removal(float("nan"), float("nan"), float("nan"), ())
    _, with_cue, without, changed = zip(*rows, strict=True)
    usable = tuple(row[0] for row in rows if row[3])
    return Removal(float(np.mean(changed)), float(np.mean(with_cue)), float(np.mean(without)), usable)


def _best(probs: Mapping[str, float]) -> str:
    return max(probs, key=lambda name: probs[name])


def _predicted(model: Predictor, samples: Sequence[Sample]) -> list[Prediction]:
    found = []
    for outcome in model.predict_each(samples):
        if isinstance(outcome, Exception):
            raise outcome
        found.append(outcome)
    return found


def main(arguments: Sequence[str]) -> int:
    """Run `python -m parallelnet.experiments.cue_check FOLDER ...`, which prints JSON; return the exit status."""
    import json

    from ..flags import parse

    (options,), _ = parse("parallelnet experiment cue-check", arguments, [CueCheckOptions])
    model = load(options.checkpoint, n_threads=1, labels=options.labels)
    samples = [s for s in open_data(options.data) if s.split == options.split]
    report = asdict(check_cues(model, samples, Path(options.data)))
    for removal in report["removed"].values():
        removal["usable"] = len(removal["usable"])
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
