"""Who learns, who stops and calibrates, who is reported on: samples to parts, labels to classes (design section 6)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..data.splits import carve_validation, check_disjoint, deal, grouped_folds
from ..errors import ManifestError
from ..models.variants import NetworkOptions
from ..options import TrainOptions
from ..types import EMOTIONS, SENTIMENTS, Sample

log = logging.getLogger(__name__)

VALIDATION_FRACTION = 0.1  # Of the training part, grouped: what early stopping, plateau and calibration see


@dataclass(frozen=True, slots=True)
class Parts:
    """Samples to learn from, to stop and calibrate on, and to report on (may be empty)."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]


def usable(
    samples: Sequence[Sample], options: TrainOptions, network: NetworkOptions
) -> tuple[tuple[Sample, ...], dict[str, str]]:
    """Return the samples that have a label and something the network takes, and the label of each id.

    A modality that the network does not take is left out of the sample.
    """
    check_disjoint(samples)
    absent = {name: None for name in ("speech", "image") if name not in network.modalities}
    taken = [replace(s, **absent) for s in samples]  # type: ignore[arg-type]  # speech or image, set to None
    kept = [s for s in taken if getattr(s, options.target_column) and (s.speech, s.image) != (None, None)]
    if not kept:
        raise ManifestError(
            f"{options.data} has no sample with a {options.target_column} and {' or '.join(network.modalities)}. "
            "See --target-column and --variant."
        )
    if len(kept) < len(samples):
        n_out = len(samples) - len(kept)
        log.info("left out %d of %d samples: no label, or nothing to learn from", n_out, len(samples))
    return tuple(kept), {s.id: getattr(s, options.target_column) for s in kept}


def deal_parts(samples: tuple[Sample, ...], options: TrainOptions) -> tuple[Parts, ...]:
    """Return the parts of the fixed split, or of each fold; the manifest's own where it has them."""
    target, seed, n_folds = options.target_column, options.seed, options.folds
    if n_folds:
        given = {s.fold for s in samples}
        if given == {None}:
            samples = grouped_folds(samples, n_folds, seed, target=target)
        elif given != set(range(n_folds)):
            raise ManifestError(f"{options.data} has folds {sorted(map(str, given))}, not 0 to {n_folds - 1}.")
        splits = [["test" if s.fold == k else "train" for s in samples] for k in range(n_folds)]
    else:
        if not any(s.split for s in samples):
            tenth = deal(samples, 10, seed, target=target)  # paper section 4.2: 70 to 30
            samples = tuple(replace(s, split="test" if t < 3 else "train") for s, t in zip(samples, tenth, strict=True))
        splits = [[s.split or "" for s in samples]]
    found = []
    for split in splits:
        names = ("train", "validation", "test")
        dealt = Parts(*(tuple(s for s, part in zip(samples, split, strict=True) if part == name) for name in names))
        if not dealt.train:
            raise ManifestError(f"{options.data} has no row in the train split.")
        if not dealt.validation:
            dealt = Parts(*carve_validation(dealt.train, VALIDATION_FRACTION, seed, target=target), dealt.test)
        found.append(dealt)
    return tuple(found)


def class_list(labels: Sequence[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes in index order: the wanted ones, or those of the training labels in the usual order."""
    found = set(labels)
    for name in wanted:
        if name not in found:
            raise ManifestError(f"The training part has no sample of class {name!r}. See --classes.")
    order = next((known for known in (EMOTIONS, SENTIMENTS) if found <= set(known)), sorted(found))
    return wanted or tuple(name for name in order if name in found)
