"""Curves and AUC against what can be worked out by hand, on games whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from parallelnet.errors import InputError
from parallelnet.explanation import faithfulness


class Additive:
    """v = what the present players weigh together; class 1 is its negative. Counts the masks that it is asked about."""

    def __init__(self, speech, image=(), together=0.0):
        self.weights = np.asarray(speech, float), np.asarray(image, float)
        self.speech, self.image = (SimpleNamespace(n=len(w)) if len(w) else None for w in self.weights)
        self.together = together  # for the first players of both
        self.n_asked = 0

    def table(self, speech_masks, image_masks):
        self.n_asked += len(speech_masks) + len(image_masks)
        value = (speech_masks @ self.weights[0])[:, None] + (image_masks @ self.weights[1])[None, :]
        if self.together:
            value = value + self.together * np.outer(speech_masks[:, 0], image_masks[:, 0])
        return np.stack([value, -value], axis=2)


def test_auc_of_a_planted_additive_game_is_one():
    planted = np.zeros(16, bool)
    planted[5:8] = True
    game = Additive(np.where(planted, 0.3, 0.01))
    alone = game.table(np.eye(16, dtype=bool), np.ones((1, 0), bool))[:, 0]
    assert faithfulness.auc(alone[:, 0], planted) == 1
    assert faithfulness.auc(alone[:, 1], planted) == 0  # the other class: the sign counts


def test_auc_of_random_values_is_a_half():
    rng = np.random.default_rng(0)
    planted = np.arange(16) < 3
    found = [faithfulness.auc(rng.random(16), planted) for _ in range(2000)]
    # Standard deviation of one: sqrt((16 + 1) / (12 * 3 * 13)) = 0.19; of the mean of 2,000: 0.0043; band: 4 of them.
    assert np.mean(found) == pytest.approx(0.5, abs=0.018)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=20))
def test_auc_agrees_with_scikit_learn_ties_and_all(parts):
    values, planted = map(list, zip(*parts, strict=True))
    if len(set(planted)) < 2:
        with pytest.raises(InputError, match=r"needs some that are and some that are not"):
            faithfulness.auc(values, planted)
        return
    assert faithfulness.auc(values, planted) == pytest.approx(roc_auc_score(planted, values))


def test_auc_of_a_constant_is_a_half():
    assert faithfulness.auc(np.zeros(5), [True, False, False, False, True]) == 0.5


@pytest.mark.parametrize(
    ("values", "planted", "message"),
    [
        ([1.0, 2.0], [True], "as many of each"),
        ([], [], "as many of each"),
        ([1.0, np.nan], [True, False], "not finite"),
        ([1.0, np.inf], [True, False], "not finite"),
    ],
)
def test_bad_values_are_refused(values, planted, message):
    for measure in (faithfulness.auc, faithfulness.first):
        with pytest.raises(InputError, match=message):
            measure(values, planted)


def test_first_is_the_part_of_the_largest_that_is_planted():
    planted = np.zeros((2, 3), bool)
    planted[1, 2] = True
    values = np.array([[1, 2, 3], [4, 5, 6]])
    assert faithfulness.first(values, planted) == 1
    assert faithfulness.first(-values, planted) == 0
    assert faithfulness.first(np.ones((2, 3)), planted) == pytest.approx(1 / 6)


def test_rank_correlation():
    assert faithfulness.rank_correlation([1, 2, 3], [10, 20, 1000]) == pytest.approx(1)
    assert faithfulness.rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # By hand: ranks (1, 2, 3, 4) and (2, 1, 4, 3); 1 - 6 * (1 + 1 + 1 + 1) / (4 * 15) = 0.6.
    assert faithfulness.rank_correlation([1, 2, 3, 4], [5, 4, 9, 8]) == pytest.approx(0.6)
    assert np.isnan(faithfulness.rank_correlation([1, 1, 1], [1, 2, 3]))


def test_curves_worked_out_by_hand():
    # Speech weighs 4 and 1, the picture 2; the first speech player and the picture tell 3 more together.
    game = Additive([4, 1], [2], together=3)
    found = faithfulness.curves(game, np.array([[0, 2, 1], [1, 2, 0]]), column=0)
    assert found.tolist() == [[[10, 3, 1, 0], [10, 9, 4, 0]], [[0, 4, 9, 10], [0, 1, 3, 10]]]
    # (10 + 3) / 2 + (3 + 1) / 2 + (1 + 0) / 2 = 9, over three steps.
    np.testing.assert_allclose(faithfulness.area(found), [[3, 18 / 3], [18 / 3, 9 / 3]])


def test_curves_follow_the_class_that_is_asked_for():
    found = faithfulness.curves(Additive([4, 1], [2]), np.array([[0, 1, 2]]), column=1)
    assert found[1].tolist() == [[0, -4, -5, -7]]


@pytest.mark.parametrize("sides", [([4, 1, 2], []), ([], [4, 1, 2])])
def test_curves_of_one_modality(sides):
    found = faithfulness.curves(Additive(*sides), np.array([[0, 2, 1]]), column=0)
    assert found.tolist() == [[[7, 3, 1, 0]], [[0, 4, 6, 7]]]


def test_the_best_order_of_an_additive_game_beats_every_random_one():
    weights = np.random.default_rng(3).normal(size=12)
    game = Additive(weights[:7], weights[7:])
    best = faithfulness.area(faithfulness.curves(game, faithfulness.order(weights, seed=0)[None], column=0))
    drawn = faithfulness.area(faithfulness.curves(game, faithfulness.random_orders(12, 40, seed=1), column=0))
    assert (best[0] < drawn[0]).all()
    assert (best[1] > drawn[1]).all()
    # An order and its reverse: what one keeps at a step the other takes, so the areas of the two are the whole's.
    np.testing.assert_allclose(drawn[0, ::2] + drawn[0, 1::2], weights.sum())


def test_an_order_and_its_reverse_ask_about_the_same_masks():
    n = 9
    forwards = faithfulness.random_orders(n, 1, seed=5)
    both = faithfulness.random_orders(n, 2, seed=5)
    assert (both[1] == both[0][::-1]).all()
    assert (both[0] == forwards[0]).all()
    alone, together = Additive(np.ones(n)), Additive(np.ones(n))
    faithfulness.curves(alone, forwards, column=0)
    faithfulness.curves(together, both, column=0)
    assert alone.n_asked == together.n_asked == 2 * (n - 1) + 2 + 1  # proper prefixes and rests, all, none; no picture


def test_equal_values_are_ordered_at_random_but_the_same_each_time():
    orders = [faithfulness.order(np.zeros(50), seed=k).tolist() for k in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(50))
    assert faithfulness.order([1.0, 3.0, 2.0], seed=0).tolist() == [1, 2, 0]


def test_an_order_that_forgets_a_player_is_a_mistake():
    with pytest.raises(AssertionError, match="each of the 3 players once"):
        faithfulness.curves(Additive([4, 1], [2]), np.array([[0, 0, 1]]), column=0)
