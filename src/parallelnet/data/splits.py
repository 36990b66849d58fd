"""Splits and folds in which no speaker, author or picture stands on two sides.

`group` (speaker, author) and `image_group` (content of the picture) both bind: samples that share either belong
together, so what is dealt are the connected components of the two.
"""

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress, product

import numpy as np

from ..errors import ManifestError, refuse, shown
from ..options import PairsOptions
from ..types import SPLITS, Sample
from .tables import left_out

MAX_CARVED = 1 / 3  # of a training set that `carve_validation` may take where the groups allow no smaller part

# With folds: size of the smallest set of pairs that shares nothing with the rest, as a part of a fold's training part,
# so that training can cut its validation part of that size (design section 6).
BLOCK_FRACTION = 0.1

_GROUPS = ("group", "image_group")


def check_disjoint(samples: Iterable[Sample]) -> None:
    """Refuse samples of which a speaker, an author or a picture stands in two splits or two folds.

    Raises:
        ManifestError: names the first offender and two of its rows.
    """
    seen: dict[tuple[str, str, str], tuple[object, str]] = {}
    for sample in samples:
        for (kind, side), column in product((("split", sample.split or None), ("fold", sample.fold)), _GROUPS):
            group = getattr(sample, column)
            if side is None or not group:
                continue
            before, other = seen.setdefault((kind, column, group), (side, sample.id))
            if before != side:
                raise ManifestError(
                    f"{column} {shown(group)} stands in {kind} {before} (id {shown(other)}) and in {kind} {side} "
                    f"(id {shown(sample.id)}). Mend: a speaker and a picture belong to one {kind} only; drop or "
                    "move one of the two."
                )


def components(samples: Sequence[Sample]) -> np.ndarray:
    """Return which samples belong together, because they share `group` or `image_group`; one without is alone.

    Returns:
        int64 [n_samples]: number of the connected component, counted from 0 in order of appearance.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(samples)
    nodes: dict[tuple[str, str], int] = {}
    edges = [
        (index, n + nodes.setdefault((column, getattr(sample, column)), len(nodes)))
        for index, sample in enumerate(samples)
        for column in _GROUPS
        if getattr(sample, column)
    ]
    ends = tuple(np.array(edges, np.int64).reshape(-1, 2).T)
    graph = coo_array((np.ones(len(edges)), ends), shape=(n + len(nodes), n + len(nodes)))
    numbers: np.ndarray = connected_components(graph, directed=False)[1]  # it begins with the first sample
    return numbers[:n].astype(np.int64)


def deal(samples: Sequence[Sample], n_parts: int, seed: int, *, target: str = "label") -> np.ndarray:
    """Return which of `n_parts` equal parts, 2 or more, each sample goes to: int64 [n_samples], 0 to n_parts - 1.

    Stratified by the field `target`; components are kept whole, so there must be one a part.

    Raises:
        ManifestError: fewer components than parts, or a part that would stay empty.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    groups = components(samples)
    sizes = np.bincount(groups)
    n_groups, largest = len(sizes), max(sizes, default=0) / max(len(groups), 1)
    told = f"{len(samples)} samples fall into {n_groups} sets that share no speaker and no picture (the largest holds "
    more = "Mend: fewer folds, or pairs built with more (parallelnet build pairs --folds)."
    refuse(ManifestError, [(n_groups < n_parts, f"{told}{largest:.0%}); {n_parts} are needed. {more}")])
    labels = [getattr(sample, target) for sample in samples]
    # The grouped splitter walks over groups in Python; pictures that are all alone need none of that.
    splitter = StratifiedKFold if n_groups == len(samples) else StratifiedGroupKFold
    parts = np.zeros(len(samples), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class rarer than n_parts: who needs every class checks it
        try:
            rounds = list(splitter(n_parts, shuffle=True, random_state=seed).split(labels, labels, groups))
        except ValueError as error:
            rarest = min(labels.count(label) for label in set(labels))
            raise ManifestError(
                f"{len(samples)} samples cannot be dealt to {n_parts} parts that each hold every class: the rarest "
                f"class has {rarest}. Mend: more samples of it, fewer folds, or rows with the split 'validation'."
            ) from error
    for number, (_, chosen) in enumerate(rounds):
        parts[chosen] = number
    told = f"{len(samples)} samples in {n_groups} sets that share no speaker and no picture leave part"
    why = f"of {n_parts} empty: the sets are too unequal. Mend: fewer folds."
    refuse(ManifestError, ((part not in parts, f"{told} {part} {why}") for part in range(n_parts)))
    return parts


def grouped_folds(samples: Sequence[Sample], n_folds: int, seed: int, *, target: str = "label") -> tuple[Sample, ...]:
    """Return the samples with `fold` set: stratified by class, no speaker and no picture in two folds.

    Raises:
        ManifestError: the groups do not allow so many folds.
    """
    parts = deal(samples, n_folds, seed, target=target)
    return tuple(replace(sample, fold=int(part)) for sample, part in zip(samples, parts, strict=True))


def carve_validation(
    train: Sequence[Sample], fraction: float, seed: int, *, target: str = "label"
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Return what is left of a training part and the validation part that was cut out of it, in their order.

    Stratified by class; no speaker and no picture on both sides. `fraction` of `train`, above 0 and at most a third, is
    wanted; where the groups are too few for that, the smallest possible part is cut, up to a third.

    Raises:
        ManifestError: the groups allow no such part, or one side would lack a class.
    """
    n_components = len(set(components(train).tolist()))
    n_parts = min(round(1 / fraction), n_components)
    mend = (
        "Mend: name the parts yourself (a column 'split'; parallelnet build pairs --validation-speakers and "
        "--test-speakers), or build pairs with --folds, which keeps the sets small."
    )
    n_least, share = round(1 / MAX_CARVED), "share no speaker and no picture"
    told = f"Nothing can be set apart from {len(train)} samples for validation or test: they fall into {n_components} "
    refuse(ManifestError, [(n_parts < n_least, f"{told}set(s) that {share}, and {n_least} are needed. {mend}")])
    parts = deal(train, n_parts, seed, target=target)
    classes = {getattr(sample, target) for sample in train}

    def is_whole(chosen: np.ndarray) -> bool:
        return {getattr(sample, target) for sample in compress(train, chosen)} == classes

    # Of the parts that hold every class, the one nearest to the wanted size.
    sizes = {part: float((parts == part).mean()) for part in range(n_parts) if is_whole(parts == part)}
    fitting = [part for part, size in sizes.items() if size <= max(MAX_CARVED, fraction)]
    told = f"No part of at most {MAX_CARVED:.0%} with every class can be set apart from {len(train)} samples in"
    refuse(ManifestError, [(not fitting, f"{told} {n_components} sets that {share}. {mend}")])
    inside = parts == min(fitting, key=lambda part: abs(sizes[part] - fraction))
    told = "Cutting a validation part would leave the training part without a class."
    refuse(ManifestError, [(not is_whole(~inside), f"{told} {mend}")])
    return tuple(compress(train, ~inside)), tuple(compress(train, inside))


def drop_overlaps(samples: Sequence[Sample], *, target: str = "label") -> tuple[tuple[Sample, ...], Mapping[str, int]]:
    """Return the samples with each picture once, and how many were dropped, by reason.

    A picture (`image_group`) with two labels is dropped wherever it stands: nobody knows which is right. A picture in
    two splits stays in the later one (test before validation before train), so that what is reported on does not
    shrink; within a split the first stays.
    """
    drops: Counter[str] = Counter()
    labels: defaultdict[str, set[str]] = defaultdict(set)
    home: dict[str, str] = {}
    for sample in samples:
        labels[sample.image_group].add(getattr(sample, target))
        home[sample.image_group] = max(home.get(sample.image_group, ""), sample.split, key=("", *SPLITS).index)
    kept: dict[str, Sample] = {}  # by content; what has none is kept by its id
    for sample in samples:
        key = sample.image_group
        whys = {
            "picture stands under two labels": key and len(labels[key]) > 1,
            f"picture of {sample.split or 'no split'} stands in {home[key]} too": key and sample.split != home[key],
            "picture stands twice in its split": key in kept,
        }
        if not left_out(drops, whys):
            kept[key or f"id {sample.id}"] = sample
    return tuple(kept.values()), dict(drops)


def part_name(split: str, fold: int | None) -> str:
    """Return how errors and reports call a split or a fold."""
    return split if fold is None else f"fold {fold}"


@dataclass(frozen=True, slots=True)
class Part:
    """Utterances and pictures that are paired with each other and with nothing else.

    Attributes:
        split: one of `SPLITS`, or "" with folds.
        fold: 0-based, or None with splits.
        block: 0-based part of the fold, which has `n_blocks`.
    """

    split: str
    fold: int | None
    block: int
    n_blocks: int
    speech: tuple[Sample, ...]
    image: tuple[Sample, ...]

    @property
    def name(self) -> str:
        """See `part_name`."""
        return part_name(self.split, self.fold)


def deal_parts(speech: tuple[Sample, ...], image: tuple[Sample, ...], options: PairsOptions) -> list[Part]:
    """Return what may be paired with what: one part a split, or one or more a fold.

    Splits are those of `--validation-speakers` and `--test-speakers`, else those of the corpus; what is then missing
    is cut from train at random, stratified and grouped. Folds are those of the corpus where it has as many
    (IEMOCAP's sessions), else dealt.

    Raises:
        ManifestError: unknown speakers, or too few speakers or pictures.
    """
    if options.folds:
        return _folds(speech, image, options)
    test = _speakers(options.test_speakers, speech, "--test-speakers")
    validation = _speakers(options.validation_speakers, speech, "--validation-speakers")
    told = "is in --validation-speakers and in --test-speakers. Allowed: one."
    refuse(ManifestError, ((name, f"Speaker {name!r} {told}") for name in sorted(test & validation)))
    if test or validation:
        sides = dict.fromkeys(test, "test") | dict.fromkeys(validation, "validation")
        speech = tuple(replace(sample, split=sides.get(sample.group, "train")) for sample in speech)
    has_splits = any(sample.split for sample in image)
    speech = _completed(speech, options, options.validation_fraction)
    image = _completed(image, options, options.image_validation if has_splits else options.validation_fraction)
    return [
        Part(split, None, 0, 1, *(tuple(s for s in samples if s.split == split) for samples in (speech, image)))
        for split in SPLITS
    ]


def _completed(samples: tuple[Sample, ...], options: PairsOptions, validation_fraction: float) -> tuple[Sample, ...]:
    samples = tuple(replace(sample, split=sample.split or "train") for sample in samples)
    had_test = any(sample.split == "test" for sample in samples)
    # A validation fraction is one of what was there before the test split was cut.
    part_left = 1 if had_test else 1 - options.test_fraction
    for split, fraction in {"test": options.test_fraction, "validation": validation_fraction / part_left}.items():
        if not any(sample.split == split for sample in samples):
            train = tuple(sample for sample in samples if sample.split == "train")
            _, cut = carve_validation(train, fraction, options.seed)
            chosen = {sample.id for sample in cut}
            samples = tuple(replace(s, split=split) if s.split == "train" and s.id in chosen else s for s in samples)
    return samples


def _speakers(names: Sequence[str], samples: Sequence[Sample], flag: str) -> set[str]:
    known = sorted({sample.group for sample in samples})
    chosen = set()
    for name in map(str, names):
        number = re.fullmatch(r"0*(\d+)", name)
        ending = rf".*?(?<!\d)0*{number[1]}" if number else re.escape(name)
        found = [name] if name in known else [speaker for speaker in known if re.fullmatch(ending, speaker)]
        if len(found) != 1:
            what = "is ambiguous" if found else "is not there"
            raise ManifestError(f"{flag}: speaker {name!r} {what}. Speakers: {', '.join(found or known)}.")
        chosen.add(found[0])
    return chosen


def _folds(speech: tuple[Sample, ...], image: tuple[Sample, ...], options: PairsOptions) -> list[Part]:
    n_folds, seed = options.folds, options.seed
    is_dealt = {sample.fold for sample in speech} == set(range(n_folds))
    speech, image = speech if is_dealt else grouped_folds(speech, n_folds, seed), grouped_folds(image, n_folds, seed)
    n_blocks = round(1 / (BLOCK_FRACTION * (n_folds - 1)))
    parts = []
    for fold in range(n_folds):
        spoken, seen = (tuple(s for s in samples if s.fold == fold) for samples in (speech, image))
        n = max(1, min(n_blocks, len({sample.group for sample in spoken})))
        both = [(samples, deal(samples, n, seed) if n > 1 else np.zeros(len(samples))) for samples in (spoken, seen)]
        parts += [
            Part("", fold, block, n, *(tuple(compress(samples, numbers == block)) for samples, numbers in both))
            for block in range(n)
        ]
    return parts
