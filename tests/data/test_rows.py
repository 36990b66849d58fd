"""Names as people mean them."""

import pytest

from parallelnet.data.rows import column_name, storable, tidy


@pytest.mark.parametrize(
    "text",
    [
        "très  sûr",
        " très sûr\n",
        "\u200btrès\u00a0sûr\ufeff",
        "tre\u0300s su\u0302r",
        "\u200dtrès sûr\u200c",
        "tr\u00adès sûr",
    ],
)
def test_what_nobody_sees_makes_no_other_name(text: str) -> None:
    assert tidy(text) == "très sûr"


def test_a_joiner_inside_a_word_stays() -> None:
    assert tidy("👨\u200d👩") == "👨\u200d👩"


@pytest.mark.parametrize(
    "name", ["image_group", "Image Group", "image-group", " IMAGE_GROUP\u00a0", "\ufeffimage_group"]
)
def test_a_known_column_is_found_however_it_is_written(name: str) -> None:
    assert column_name(name, frozenset(("image_group",))) == "image_group"


def test_an_unknown_column_keeps_its_name() -> None:
    assert column_name(" My-Column ", frozenset(("id",))) == "My-Column"


def test_lone_surrogates_become_storable() -> None:
    assert storable("a\ud83db") == "a\ufffdb"
    assert storable("\ud83d\ude00") == "😀"  # a pair that JSON wrote as two escapes
    assert storable("😀 é") == "😀 é"
