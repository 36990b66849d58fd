from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallelnet.data.splits import (
    carve_validation,
    check_disjoint,
    components,
    deal,
    drop_overlaps,
    grouped_folds,
)
from parallelnet.errors import ManifestError
from parallelnet.types import EMOTIONS, Sample


def _speakers(n_speakers: int, per_class: int = 3) -> tuple[Sample, ...]:
    """Return `per_class` utterances of each emotion by each speaker."""
    return tuple(
        Sample(id=f"{speaker}-{label}-{n}", speech="a.wav", label=label, group=f"actor_{speaker:02d}")
        for speaker in range(n_speakers)
        for label in EMOTIONS
        for n in range(per_class)
    )


def test_disjoint_samples_pass() -> None:
    check_disjoint(
        [
            Sample(id="1", split="train", fold=0, group="a", image_group="x"),
            Sample(id="2", split="train", fold=0, group="a", image_group="y"),
            Sample(id="3", split="test", fold=1, group="b"),
            Sample(id="4", split="", fold=None, group="a"),  # on no side at all
            Sample(id="5", split="test", fold=1),  # no group known
            Sample(id="6", split="train", fold=0),
            Sample(id="7", split="test", fold=1, group="x"),  # a speaker called like a picture's hash
        ]
    )


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"split": "test"}, r"group 'a' stands in split train \(id '1'\) and in split test \(id '2'\)"),
        ({"split": "test", "group": ""}, r"image_group 'x' stands in split train .* and in split test"),
        ({"fold": 1}, r"group 'a' stands in fold 0 \(id '1'\) and in fold 1 \(id '2'\)"),
        ({"fold": 1, "group": "b"}, r"image_group 'x' stands in fold 0"),
    ],
)
def test_an_overlap_is_refused_with_one_offender(second: dict[str, object], message: str) -> None:
    first = Sample(id="1", split="train", fold=0, group="a", image_group="x")

    with pytest.raises(ManifestError, match=message) as refusal:
        check_disjoint([first, replace(first, id="2", **second)])  # type: ignore[arg-type]

    assert "Mend:" in str(refusal.value)


def test_components_join_speakers_through_pictures() -> None:
    pairs = [("a", "x"), ("b", "y"), ("c", "x"), ("", ""), ("", ""), ("b", ""), ("", "y"), ("x", "")]
    samples = [Sample(id=str(n), group=group, image_group=image) for n, (group, image) in enumerate(pairs)]

    assert components(samples).tolist() == [0, 1, 0, 2, 3, 1, 1, 4]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=25))
def test_components_are_the_finest_closed_sets(pairs: list[tuple[int, int]]) -> None:
    samples = [Sample(id=str(n), group=f"{g or ''}", image_group=f"{i or ''}") for n, (g, i) in enumerate(pairs)]
    found = components(samples)
    # The reference: repeat "who shares anything takes the smaller number" until nothing moves.
    expected = list(range(len(samples)))
    for _ in samples:
        for a, first in enumerate(samples):
            for b, second in enumerate(samples):
                shared = (first.group and first.group == second.group) or (
                    first.image_group and first.image_group == second.image_group
                )
                if shared:
                    expected[a] = expected[b] = min(expected[a], expected[b])

    assert [found.tolist().index(number) for number in found] == expected


def test_folds_are_stratified_grouped_and_repeatable() -> None:
    samples = _speakers(10)

    folded = grouped_folds(samples, 5, seed=3)

    check_disjoint(folded)
    counts = Counter((sample.fold, sample.label) for sample in folded)
    assert set(counts.values()) == {6}  # ten equal speakers: two a fold, three utterances of each class by each
    assert folded == grouped_folds(samples, 5, seed=3)
    assert folded != grouped_folds(samples, 5, seed=4)
    assert [replace(sample, fold=None) for sample in folded] == list(samples)


def test_pictures_that_are_all_alone_are_stratified() -> None:
    samples = [Sample(id=str(n), image_group=str(n), label=EMOTIONS[n % 7 % 4]) for n in range(140)]

    parts = deal(samples, 5, seed=0)

    for label in EMOTIONS:
        sizes = Counter(int(part) for part, sample in zip(parts, samples, strict=True) if sample.label == label)
        assert max(sizes.values()) - min(sizes.values()) <= 1


def test_too_few_speakers_for_the_folds_are_refused() -> None:
    with pytest.raises(ManifestError, match=r"36 samples fall into 3 sets .* 5 are needed"):
        grouped_folds(_speakers(3), 5, seed=0)


def test_folds_through_shared_pictures_are_refused() -> None:
    samples = [replace(sample, image_group="same") for sample in _speakers(10)]

    with pytest.raises(ManifestError, match=r"fall into 1 sets .*the largest holds 100%"):
        grouped_folds(samples, 5, seed=0)


def test_classes_rarer_than_the_parts_are_refused() -> None:
    samples = [Sample(id=str(n), group=str(n), label=str(n)) for n in range(3)]

    with pytest.raises(ManifestError, match="3 samples cannot be dealt to 3 parts"):
        deal(samples, 3, seed=0)


@settings(max_examples=30, deadline=None)
@given(
    n_speakers=st.integers(3, 14),
    per_class=st.integers(1, 4),
    fraction=st.floats(0.05, 1 / 3),
    seed=st.integers(0, 2**31),
)
def test_a_validation_part_is_disjoint_whole_and_not_too_large(
    n_speakers: int, per_class: int, fraction: float, seed: int
) -> None:
    train = _speakers(n_speakers, per_class)

    left, cut = carve_validation(train, fraction, seed)

    assert sorted((*left, *cut), key=train.index) == list(train)
    assert {s.group for s in left}.isdisjoint(s.group for s in cut)
    assert {s.label for s in left} == {s.label for s in cut} == set(EMOTIONS)
    # Speakers are equal here, so the cut is that many of them, and one more or less cannot come nearer.
    wanted = max(1, n_speakers * fraction)
    assert abs(len({s.group for s in cut}) - wanted) <= 1
    assert len(cut) <= len(train) / 3 + 1e-9


def test_of_unequal_parts_the_one_nearest_to_the_fraction_is_carved() -> None:
    train = tuple(
        Sample(id=f"{speaker}-{label}-{n}", label=label, group=str(speaker))
        for speaker in range(1, 8)
        for label in EMOTIONS
        for n in range(speaker)
    )
    sizes = np.bincount(deal(train, 5, seed=0)) / len(train)  # 0.2 of the whole asks for five parts
    distances = abs(sizes - 0.2)
    assert distances.max() > distances.min()  # or the choice would not matter

    _, cut = carve_validation(train, 0.2, seed=0)

    assert abs(len(cut) / len(train) - 0.2) == pytest.approx(distances.min(), abs=1e-12)  # float rounding only


def test_a_validation_part_from_pairs_that_share_everything_is_refused_with_a_way_out() -> None:
    train = [replace(sample, image_group=str(n % 4)) for n, sample in enumerate(_speakers(10))]

    with pytest.raises(ManifestError, match=r"fall into 1 set.*--validation-speakers.*--folds"):
        carve_validation(train, 0.1, seed=0)


def test_a_class_that_stands_in_one_set_only_cannot_be_carved() -> None:
    train = [*_speakers(10), Sample(id="rare", label="awe", group="actor_00")]

    with pytest.raises(ManifestError, match=r"with every class|without a class"):
        carve_validation(train, 0.1, seed=0)


def test_overlapping_pictures_leave_the_earlier_split() -> None:
    def picture(number: int, content: str, label: str, split: str) -> Sample:
        return Sample(id=str(number), image="x.png", image_group=content, label=label, split=split)

    samples = [
        picture(0, "a", "sad", "train"),
        picture(1, "a", "sad", "test"),
        picture(2, "b", "sad", "validation"),
        picture(3, "b", "sad", "train"),
        picture(4, "c", "sad", "train"),
        picture(5, "c", "happy", "test"),
        picture(6, "d", "sad", "train"),
        picture(7, "d", "sad", "train"),
        Sample(id="8", speech="x.wav", label="sad", split="train"),
    ]

    kept, drops = drop_overlaps(samples)

    assert [sample.id for sample in kept] == ["1", "2", "6", "8"]
    assert drops == {
        "picture of train stands in test too": 1,
        "picture of train stands in validation too": 1,
        "picture stands under two labels": 2,
        "picture stands twice in its split": 1,
    }
    check_disjoint(kept)
    assert drop_overlaps(kept) == (kept, {})


def test_dealing_nothing_is_refused() -> None:
    with pytest.raises(ManifestError, match="0 samples fall into 0 sets"):
        deal([], 2, seed=0)
    assert components([]).dtype == np.int64
