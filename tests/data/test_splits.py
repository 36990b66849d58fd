from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallelnet.data.pairs import distinct_pictures
from parallelnet.data.splits import (
    carve_validation,
    check_disjoint,
    components,
    deal,
    deal_parts,
    drop_overlaps,
    grouped_folds,
)
from parallelnet.errors import ManifestError
from parallelnet.options import PairsOptions
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


# --- for pairs --------------------------------------------------------------------------------------------------------


def _options(**changes: object) -> PairsOptions:
    return PairsOptions(speech="ravdess:s", image="fer2013:i", out="o", **changes)  # type: ignore[arg-type]


def _speech(n_speakers: int = 20, **fields: object) -> tuple[Sample, ...]:
    return tuple(
        Sample(id=f"{n}-{label}", speech="a.wav", label=label, group=f"actor_{n + 1:02d}", **fields)  # type: ignore[arg-type]
        for n in range(n_speakers)
        for label in EMOTIONS
    )


def _pictures(*splits: str, each: int = 40) -> tuple[Sample, ...]:
    return tuple(
        Sample(id=f"{split}{n}-{label}", image="a.png", image_group=f"{split}{n}-{label}", label=label, split=split)
        for split in splits or ("",)
        for n in range(each)
        for label in EMOTIONS
    )


def test_speakers_are_found_by_name_and_by_number() -> None:
    options = _options(validation_speakers=("1", "actor_02"), test_speakers=("010", "11"))

    parts = {
        part.name: {sample.group for sample in part.speech} for part in deal_parts(_speech(), _pictures(), options)
    }

    assert parts["validation"] == {"actor_01", "actor_02"}
    assert parts["test"] == {"actor_10", "actor_11"}
    assert len(parts["train"]) == 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_speakers": ("21",)}, r"--test-speakers: speaker '21' is not there\. Speakers: actor_01, actor_02"),
        ({"test_speakers": ("actor_1",)}, r"speaker 'actor_1' is not there"),
        (
            {"validation_speakers": ("1",), "test_speakers": ("actor_01",)},
            r"'actor_01' is in --validation-speakers and",
        ),
    ],
)
def test_speakers_that_cannot_be_meant_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        deal_parts(_speech(), _pictures(), _options(**changes))


def test_a_number_that_means_two_speakers_is_refused() -> None:
    speech = (*_speech(), Sample(id="x", speech="a.wav", label="sad", group="child_07"))

    with pytest.raises(ManifestError, match=r"speaker '7' is ambiguous\. Speakers: actor_07, child_07"):
        deal_parts(speech, _pictures(), _options(test_speakers=("7",)))


def test_without_names_or_splits_the_fractions_hold() -> None:
    parts = deal_parts(_speech(), _pictures(), _options())

    assert {part.name: len({s.group for s in part.speech}) for part in parts} == {
        "train": 14,
        "validation": 2,
        "test": 4,
    }
    # 40 a class: a fifth is 8; an eighth of the other 32 is 4 (0.1 of the whole, counted in whole parts).
    for name, size in (("test", 8), ("validation", 4), ("train", 28)):
        part = next(part for part in parts if part.name == name)
        assert Counter(sample.label for sample in part.image) == dict.fromkeys(EMOTIONS, size)


def test_the_splits_of_a_corpus_stay() -> None:
    image = _pictures("train", "validation", "test", each=5)
    speech = tuple(
        Sample(id=f"{n}-{label}", speech="a.wav", label=label, group=str(n), split=split)
        for n, split in enumerate(("train", "validation", "test"))
        for label in EMOTIONS
    )

    for part in deal_parts(speech, image, _options()):
        assert {sample.split for sample in (*part.speech, *part.image)} == {part.split}
        assert len(part.image) == 20


def test_the_validation_pictures_may_become_the_test_pictures() -> None:
    drops: Counter[str] = Counter()
    options = _options(image_test_split="validation", image_validation=0.1)
    image = distinct_pictures(_pictures("train", "validation", "test"), options, drops)

    parts = {part.name: part for part in deal_parts(_speech(), image, options)}

    assert len(parts["test"].image) == 160
    assert all(sample.id.startswith("validation") for sample in parts["test"].image)
    assert all(sample.id.startswith("train") for name in ("train", "validation") for sample in parts[name].image)
    assert Counter(sample.label for sample in parts["validation"].image) == dict.fromkeys(EMOTIONS, 4)
    assert drops == {"split 'test' is not used (--image-test-split validation)": 160}


def test_a_test_split_that_the_pictures_lack_is_refused() -> None:
    with pytest.raises(
        ManifestError, match=r"has no split 'test'; it has: train, validation\. Mend: --image-test-split"
    ):
        distinct_pictures(_pictures("train", "validation"), _options(image_test_split="test"), Counter())


def test_the_test_split_is_found_where_nobody_names_it() -> None:
    for splits, expected in (
        (("train", "validation", "test"), "test"),
        (("train", "validation"), "validation"),
        (("train", "test"), "test"),
    ):
        image = distinct_pictures(_pictures(*splits), _options(), Counter())
        parts = {part.name: part for part in deal_parts(_speech(), image, _options())}
        assert {sample.id[: len(expected)] for sample in parts["test"].image} == {expected}
        assert all(parts[name].image for name in ("train", "validation"))


def test_folds_come_in_blocks_small_enough_for_a_validation_part() -> None:
    parts = deal_parts(_speech(), _pictures(), _options(folds=5))

    assert Counter(part.fold for part in parts) == dict.fromkeys(range(5), 2)
    assert all(len({sample.group for sample in part.speech}) == 2 for part in parts)
    pictures = Counter(sample.image_group for part in parts for sample in part.image)
    assert set(pictures.values()) == {1}
    assert len(pictures) == 160


def test_natural_folds_of_speech_stay() -> None:
    speech = tuple(
        Sample(id=f"{n}-{label}", speech="a.wav", label=label, group=f"Ses{n}", fold=n // 2)
        for n in range(10)
        for label in EMOTIONS
    )

    parts = deal_parts(speech, _pictures(), _options(folds=5))

    assert all(sample.fold == part.fold for part in parts for sample in part.speech)


def test_splits_of_pictures_do_not_bind_folds() -> None:
    image = distinct_pictures(_pictures("train", "validation"), _options(folds=5), Counter())

    assert {sample.split for sample in image} == {""}
    assert len(image) == 320
