from collections import Counter

import pytest

from parallelnet.data.pairs import distinct_pictures
from parallelnet.data.splits import deal_parts
from parallelnet.errors import ManifestError
from parallelnet.options import PairsOptions
from parallelnet.types import EMOTIONS, Sample


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
