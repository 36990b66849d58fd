"""A model on labelled samples: predictions and truth to metrics, with every sample that could not be measured named."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from . import records
from .batches import cell, csv_line, failed
from .errors import ManifestError, shown
from .evaluation import Metrics, evaluate
from .predictor import Predictor
from .types import Modalities, Sample

FAILURES = "failures.csv"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model is worth on the samples that could be measured; id and reason of each of the others."""

    metrics: Metrics
    failures: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain dicts and lists, with `n_failed`, ready for JSON."""
        return {**self.metrics.to_dict(), "n_failed": len(self.failures)}


def part(samples: Sequence[Sample], split: str | None) -> tuple[list[Sample], str]:
    """Return the samples of a split or `all`, and its name; None is the test split where there are splits, else all.

    Raises:
        ManifestError: the split is empty.
    """
    if split is None:
        split = "test" if any(sample.split for sample in samples) else "all"
    chosen = [sample for sample in samples if split in ("all", sample.split) or sample.problem]
    if not chosen:
        there = sorted({sample.split or "none" for sample in samples})
        raise ManifestError(f"No sample has the split {split!r}; there are: {', '.join(there)}. See --split.")
    return chosen, split


def measure(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    modalities: Modalities = "both",
    target_column: Literal["label", "sentiment"] = "label",
    by_group: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Measured:
    """Return metrics of a model; a sample that cannot be read, or whose class it does not know, counts as failed.

    Args:
        predictor: from `predictor.load`.
        samples: labelled in their `target_column`.
        modalities: `speech` or `image` leaves the other out of every sample.
        target_column: `label` or `sentiment`.
        by_group: bootstrap rounds draw speakers; a sample without a group is one of its own. Without it they draw
            samples, those with the same utterance (picture, where only pictures are used) together.
        n_bootstrap: rounds of the bootstrap.
        seed: of the bootstrap.
        progress: called with each number of samples that are done.

    Raises:
        ManifestError: not one sample could be measured.
    """
    probs: list[list[float]] = []
    known: list[Sample] = []
    labelled, failures = _labelled(samples, predictor.classes, target_column)
    for sample, outcome in zip(labelled, predictor.predict_each(labelled, modalities=modalities), strict=True):
        if isinstance(outcome, Exception):
            failures.append((sample.id, str(failed(outcome)["reason"])))
        else:
            probs.append(list(outcome.probs.values()))
            known.append(sample)
        if progress is not None:
            progress(1)
    if not known:
        first = failures[0][1] if failures else "there are none."
        raise ManifestError(f"None of {len(samples)} samples can be evaluated; the first: {first}")
    groups: list[str] | None = [s.group or f"sample {s.id}" for s in known]
    if not by_group:  # the file each sample stands or falls with, where they share it: an utterance in two pairs is one
        groups = [(s.image if modalities == "image" or s.speech is None else s.speech) or s.id for s in known]
        groups = groups if len(set(groups)) < len(groups) else None
    metrics = evaluate(
        [predictor.classes.index(getattr(sample, target_column)) for sample in known],
        probs,
        predictor.classes,
        n_bootstrap=n_bootstrap,
        seed=seed,
        drawn="group" if by_group else "file",
        groups=groups,
    )
    return Measured(metrics, tuple(failures))


def _labelled(
    samples: Iterable[Sample], classes: Sequence[str], target_column: str
) -> tuple[list[Sample], list[tuple[str, str]]]:
    labelled, failures = [], []
    named = {name.casefold(): name for name in classes} | {name: name for name in classes}
    for sample in samples:
        said: str = getattr(sample, target_column)
        target = named.get(said, named.get(said.casefold(), ""))  # "Happy" is the model's "happy"
        if target and not sample.problem:
            labelled.append(replace(sample, **{target_column: target}))  # type: ignore[arg-type]  # label or sentiment
        else:
            foreign = f"{target_column} {shown(said)} is none of the model's {', '.join(classes)}."
            failures.append((sample.id, sample.problem or foreign))
    return labelled, failures


def write(folder: Path, measured: Measured, facts: Mapping[str, Any]) -> None:
    """Write confusion.png, confusion.csv, failures.csv, and metrics.json with `facts` last, replacing what is there."""
    from .report.plots import save_confusion

    save_confusion(measured.metrics, folder)
    rows = [csv_line(["id", "reason"]), *(csv_line([cell(name), cell(why)]) for name, why in measured.failures)]
    records.write_whole(folder / FAILURES, lambda stream: stream.writelines(rows))
    records.write_json(folder / "metrics.json", {**measured.to_dict(), **facts})
