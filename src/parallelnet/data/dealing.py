"""Speakers and pictures to splits or folds, before anything is paired: no speaker and no picture on two sides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ..errors import ManifestError
from ..options import PairsOptions
from ..types import SPLITS, Sample
from . import dataset, splits

BLOCK_FRACTION = 0.1
"""With folds: size of the smallest set that shares nothing with the rest, as a part of a fold's training part, so that
training can cut its validation part of that size (design section 6)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Utterances and pictures that are paired with each other and with nothing else.

    Attributes:
        split: one of `SPLITS`, or "" with folds.
        fold: 0-based, or None with splits.
        block: 0-based part of the fold.
        speech: the utterances.
        image: the pictures.
    """

    split: str
    fold: int | None
    block: int
    speech: tuple[Sample, ...]
    image: tuple[Sample, ...]

    @property
    def name(self) -> str:
        """How errors and reports call the split or the fold."""
        return self.split if self.fold is None else f"fold {self.fold}"


def image_test_split(have: Collection[str], options: PairsOptions) -> str:
    """Return which of the splits that the pictures have is the test split: `test` or `validation`."""
    if options.image_test_split != "auto":
        return options.image_test_split
    return "validation" if "validation" in have and "test" not in have else "test"


def distinct_pictures(samples: tuple[Sample, ...], options: PairsOptions, drops: Counter[str]) -> tuple[Sample, ...]:
    """Return the pictures with their content's hash, each once, in their final splits as far as the corpus has them.

    Args:
        samples: pictures with labels.
        options: what of them is the test split.
        drops: counts what is left out, by reason.

    Raises:
        ManifestError: the corpus has no such test split.
    """
    have = {sample.split for sample in samples}
    test_split = image_test_split(have, options)
    if not options.folds and have != {""}:
        if options.image_test_split not in ("auto", *have):
            raise ManifestError(
                f"--image {options.image} has no split {options.image_test_split!r}; it has: "
                f"{', '.join(sorted(have))}. Mend: --image-test-split with one that is there."
            )
        if test_split == "validation":
            n_before = len(samples)
            samples = tuple(
                replace(s, split="test") if s.split == "validation" else s for s in samples if s.split != "test"
            )
            if len(samples) < n_before:
                drops["split 'test' is not used (--image-test-split validation)"] += n_before - len(samples)
    if options.folds:
        samples = tuple(replace(sample, split="") for sample in samples)
    kept, dropped = splits.drop_overlaps(dataset.with_image_groups(samples))
    drops.update(dropped)
    return kept


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
    named = {
        "test": _speakers(options.test_speakers, speech, "--test-speakers"),
        "validation": _speakers(options.validation_speakers, speech, "--validation-speakers"),
    }
    both = sorted(named["test"] & named["validation"])
    if both:
        raise ManifestError(f"Speaker {both[0]!r} is in --validation-speakers and in --test-speakers. Allowed: one.")
    if named["test"] or named["validation"]:
        sides = {speaker: split for split, speakers in named.items() for speaker in speakers}
        speech = tuple(replace(sample, split=sides.get(sample.group, "train")) for sample in speech)
    has_splits = any(sample.split for sample in image)
    image_validation = options.image_validation if has_splits else options.validation_fraction
    speech = _completed(speech, options.test_fraction, options.validation_fraction, options.seed)
    image = _completed(image, options.test_fraction, image_validation, options.seed)
    return [
        Part(split, None, 0, tuple(s for s in speech if s.split == split), tuple(s for s in image if s.split == split))
        for split in SPLITS
    ]


def _completed(
    samples: tuple[Sample, ...], test_fraction: float, validation_fraction: float, seed: int
) -> tuple[Sample, ...]:
    """Return the samples all with a split; a test or validation split that is missing is cut from train."""
    samples = tuple(sample if sample.split else replace(sample, split="train") for sample in samples)
    had_test = any(sample.split == "test" for sample in samples)
    # A validation fraction is one of what was there before the test split was cut.
    wanted = {"test": test_fraction, "validation": validation_fraction / (1 if had_test else 1 - test_fraction)}
    for split, fraction in wanted.items():
        if not any(sample.split == split for sample in samples):
            train = tuple(sample for sample in samples if sample.split == "train")
            _, cut = splits.carve_validation(train, fraction, seed)
            chosen = {sample.id for sample in cut}
            samples = tuple(replace(s, split=split) if s.split == "train" and s.id in chosen else s for s in samples)
    return samples


def _speakers(names: Sequence[str], samples: Sequence[Sample], flag: str) -> set[str]:
    """Return the corpus's speakers that a user's names or numbers mean."""
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
    natural = {sample.fold for sample in speech}
    if natural != set(range(n_folds)):
        speech = splits.grouped_folds(speech, n_folds, seed)
    image = splits.grouped_folds(image, n_folds, seed)
    n_blocks = round(1 / (BLOCK_FRACTION * (n_folds - 1)))
    parts = []
    for fold in sorted({sample.fold for sample in speech if sample.fold is not None}):
        spoken = tuple(sample for sample in speech if sample.fold == fold)
        seen = tuple(sample for sample in image if sample.fold == fold)
        n = max(1, min(n_blocks, len({sample.group for sample in spoken})))
        blocks = zip(_blocks(spoken, n, seed), _blocks(seen, n, seed), strict=True)
        parts += [Part("", fold, block, *both) for block, both in enumerate(blocks)]
    return parts


def _blocks(samples: tuple[Sample, ...], n_blocks: int, seed: int) -> list[tuple[Sample, ...]]:
    if n_blocks == 1:
        return [samples]
    numbers = splits.deal(samples, n_blocks, seed)
    return [tuple(s for s, number in zip(samples, numbers, strict=True) if number == n) for n in range(n_blocks)]
