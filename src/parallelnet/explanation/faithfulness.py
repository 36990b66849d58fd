"""Do values point at what the model goes by? AUC of a known place, deletion and insertion curves (design section 7).

Curves are no ground truth: methods rank differently by them than by annotated evidence (arXiv 2506.04391), and what a
removed part is replaced by decides much. So a curve is scored on a game of its own, whose baseline need not be the one
under which the values were computed, and beside it stand the curves of random orders.
"""

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .game import NetworkGame

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


# --- a known place ----------------------------------------------------------------------------------------------------


def auc(values: npt.ArrayLike, planted: npt.ArrayLike) -> float:
    """Return the area under the ROC curve of values against a known place.

    It is the probability that a planted part (True, [n]) has a larger value than another one, a tie counting half (Mann
    and Whitney 1947): 1 for a perfect explanation, 0.5 for a random or a constant one.

    Raises:
        InputError: lengths differ, a value is not finite, or everything or nothing is planted.
    """
    found, there = _checked(values, planted)
    n = int(there.sum())
    if n in (0, len(there)):
        raise InputError(f"{n} of {len(there)} parts are planted; an AUC needs some that are and some that are not.")
    from scipy.stats import rankdata  # 0.3 s to load

    above = rankdata(found)[there].sum() - n * (n + 1) / 2
    return float(above / (n * (len(there) - n)))


def first(values: npt.ArrayLike, planted: npt.ArrayLike) -> float:
    """Return 1 where the part of the largest value is planted, 0 where it is not (the pointing game).

    Both are of one shape. Where several share the largest value it is the part of them that is planted: what picking
    one of them at random gives on average.

    Raises:
        InputError: shapes differ, a value is not finite, or there are none.
    """
    found, there = _checked(values, planted)
    return float(there[found == found.max()].mean())


def rank_correlation(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return Spearman's rank correlation of two lists of values, -1 to 1; NaN where either is constant."""
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def _checked(values: npt.ArrayLike, planted: npt.ArrayLike) -> tuple[Floats, Bools]:
    found, there = np.asarray(values, np.float64), np.asarray(planted, np.bool_)
    if found.shape != there.shape or not found.size:
        raise InputError(f"Values of shape {found.shape} came with a place of shape {there.shape}; as many of each.")
    if not np.isfinite(found).all():
        raise InputError("A value is not finite, so it has no rank.")
    return found.ravel(), there.ravel()


# --- curves -----------------------------------------------------------------------------------------------------------


def area(scores: Floats) -> Floats:
    """Return the area under curves `[..., n + 1]` over the part of the players from 0 to 1, by trapezoids."""
    return np.asarray((scores[..., 1:] + scores[..., :-1]).mean(axis=-1) / 2)


def order(values: npt.ArrayLike, seed: int) -> Ints:
    """Return players by value, the largest first, [n]; equal values in random order, so that no place is favoured."""
    found = np.asarray(values, np.float64)
    return np.lexsort((np.random.default_rng(seed).random(len(found)), -found)).astype(np.int64)


def random_orders(n: int, n_orders: int, seed: int) -> Ints:
    """Return random orders of n players, [n_orders, n]; every second one is the one before it backwards.

    Backwards, an order asks about the very masks that forwards make the other curve, so that a pair costs as much as
    one; and its noise partly cancels (antithetic sampling).
    """
    rng = np.random.default_rng(seed)
    forwards = np.array([rng.permutation(n) for _ in range((n_orders + 1) // 2)], np.int64).reshape(-1, n)
    return np.stack([forwards, forwards[:, ::-1]], axis=1).reshape(-1, n)[:n_orders]


def curves(game: NetworkGame, orders: Ints, column: int) -> Floats:
    """Return deletion and insertion curves of orders of the players (Petsiuk et al. 2018, arXiv 1806.07421).

    `[2, orders, n + 1]`: the score while players are taken away, from the whole sample to nothing, each from the first
    of an order on; and while they are added, from nothing on. The area of the former is small where what is taken first
    was needed, that of the latter large where it suffices. Every mask is asked once, however many orders need it.

    Args:
        game: its baseline replaces whoever is absent (the score-baseline).
        orders: players, speech from 0 on and the picture's behind them, [orders, n]; each row names every one once.
        column: class whose score is followed.
    """
    n_speech, n_image = (0 if side is None else int(side.n) for side in (game.speech, game.image))
    n = n_speech + n_image
    step = np.argsort(orders, axis=1)  # when each player's turn comes
    named = np.take_along_axis(orders, step, axis=1)
    assert (named == np.arange(n)).all(), f"an order does not name each of the {n} players once"
    taken = step[:, None, :] < np.arange(n + 1)[None, :, None]  # [orders, n + 1, players]
    masks = np.stack([~taken, taken]).reshape(-1, n)
    speech, row = distinct(masks[:, :n_speech])
    image, col = distinct(masks[:, n_speech:])
    return np.asarray(game.table(speech, image)[row, col, column], np.float64).reshape(2, len(orders), n + 1)


def distinct(masks: Bools) -> tuple[Bools, Ints]:
    """Return the distinct masks, and the place of each mask among them."""
    found, place = np.unique(masks, axis=0, return_inverse=True)
    return found, place.ravel().astype(np.int64)
