"""Rows are facts: each builds, each stands where the paper says, and only the rate studies learn otherwise."""

import pytest

from parallelnet.errors import OptionError
from parallelnet.models.variants import VARIANTS, network_options
from parallelnet.options import Recipe
from parallelnet_experiments.tables import prepared


def test_the_paper_prints_these_six():
    assert {row.key: row.printed for row in prepared.TABLE1.values()} == {
        "ser-only": 60.17,
        "ier-only": 66.93,
        "baseline-1": 63.93,
        "baseline-2": 61.81,
        "baseline-3": 67.70,
        "parallelnet": 83.29,
    }
    assert all(row.printed is None for row in prepared.STUDIES.values())


@pytest.mark.parametrize("key", prepared.ROWS)
def test_every_row_is_a_network(key):
    row = prepared.ROWS[key]
    assert row.key == key
    assert row.title
    assert row.source
    for size in ("paper", "small"):
        assert network_options(row.variant, size=size).modalities == VARIANTS[row.variant].network.modalities


def test_every_variant_of_the_paper_has_a_row():
    # efficientnet equals baseline-3: the same network, trained once.
    ours = {name for name in VARIANTS if name.startswith("compact")} | {"parallelnet-efficientnet"}
    assert {row.variant for row in prepared.ROWS.values()} == set(VARIANTS) - ours


def test_only_the_rate_studies_learn_otherwise():
    recipe = Recipe(learning_rate=1e-3, epochs=7)
    rates = {key: row.recipe(recipe).learning_rate for key, row in prepared.ROWS.items()}
    assert rates.pop("resnet34-low-rate") == pytest.approx(1e-4)
    assert rates.pop("resnet34-high-rate") == pytest.approx(1e-2)
    assert set(rates.values()) == {1e-3}
    assert all(row.recipe(recipe).epochs == 7 for row in prepared.ROWS.values())


def test_choice_of_rows():
    assert [row.key for row in prepared.chosen((), prepared.ROWS, prepared.TABLE1)] == list(prepared.TABLE1)
    assert [row.key for row in prepared.chosen((), prepared.ROWS, prepared.ROWS)] == list(prepared.ROWS)
    # In the order of the table, whatever the order asked for.
    assert [row.key for row in prepared.chosen(("additive", "ser-only"), prepared.ROWS, prepared.TABLE1)] == [
        "ser-only",
        "additive",
    ]
    with pytest.raises(OptionError, match=r"Unknown row 'parallelnett'. Did you mean 'parallelnet'\?.*--rows"):
        prepared.chosen(("parallelnett",), prepared.ROWS, prepared.TABLE1)
    with pytest.raises(OptionError, match="'ser-only' twice"):
        prepared.chosen(("ser-only", "ser-only"), prepared.ROWS, prepared.TABLE1)


def test_pairs_of_interest_are_rows():
    assert all(key in prepared.ROWS for pair in prepared.PAIRS_OF_INTEREST for key in pair)
