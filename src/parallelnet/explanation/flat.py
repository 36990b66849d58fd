"""`exact` and `sampled`: all players alike, whatever part of whichever modality they are (design section 7)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .attribution import Attribution, corners_of, n_players
from .game import Game, Scores
from .masking import Masks

_BLOCK_PAIRINGS = 2**16
"""Pairings of the full table that `exact` holds at a time: 2 MB for four classes."""


def exact(game: Game, *, n_samples: int = 0, seed: int = 0) -> Attribution:
    """Return Shapley values of all m + k players, and the interactions of each speech with each picture player.

    From the scores of all 2^(m + k) coalitions, which take 2^m + 2^k masks. The table V is never held as a whole: it
    enters sums, block by block. With memberships Z (N = 1 - Z), `w(j) = j! (n-j-1)! / n!`, `o(j) = j! (n-j-2)! /
    (n-1)!`, n = m + k, and `W_a = w(|s|+|t|-a) V`, `O_a` alike: speech `Z_s' W_1 1 - N_s' W_0 1`, picture `Z_i' W_1' 1
    - N_i' W_0' 1`, interactions `Z_s' O_2 Z_i - Z_s' O_1 N_i - N_s' O_1 Z_i + N_s' O_0 N_i` (design section 7; Grabisch
    and Roubens 1999).

    Raises:
        InputError: so many coalitions do not fit; says how many and what to do instead.
    """
    m, k, c = n_players(game.speech), n_players(game.image), game.n_classes
    game.refuse_unless_fits(
        2**m, 2**k, 2 ** (m + k), method="exact", mend="--method owen or --method sampled, or fewer parts"
    )
    n = m + k
    # Zeros at the end: an index of -1, -2 or beyond the range finds them, which are the coalitions that do not exist.
    w, o = np.zeros(n + 2), np.zeros(n + 2)
    w[:n] = [1 / (n * math.comb(n - 1, j)) for j in range(n)]
    o[: n - 1] = [1 / ((n - 1) * math.comb(n - 2, j)) for j in range(n - 1)]
    speech, image, interactions = np.zeros((c, m)), np.zeros((c, k)), np.zeros((c, m, k))
    corners = np.zeros((2, 2, c))
    width = min(2**k, _BLOCK_PAIRINGS)
    for left, right, v in _blocks(game, m, k, _BLOCK_PAIRINGS // width, width):
        zs, zi = left.astype(np.float64), right.astype(np.float64)
        ns, ni = 1 - zs, 1 - zi
        sizes = left.sum(1)[:, None] + right.sum(1)
        gains, losses = w[sizes - 1] * v, w[sizes] * v  # each [class, speech coalition, picture coalition]
        speech += gains.sum(2) @ zs - losses.sum(2) @ ns
        image += gains.sum(1) @ zi - losses.sum(1) @ ni
        if m and k:
            one = o[sizes - 1] * v
            interactions += zs.T @ ((o[sizes - 2] * v) @ zi - one @ ni) + ns.T @ ((o[sizes] * v) @ ni - one @ zi)
        for s, rows in enumerate((~left.any(1), left.all(1))):
            for i, columns in enumerate((~right.any(1), right.all(1))):
                if rows.any() and columns.any():
                    corners[s, i] = v[:, rows.argmax(), columns.argmax()]
    return _flat(corners, speech.T, image.T, interactions=interactions.transpose(1, 2, 0) if m and k else None)


def sampled(game: Game, *, n_samples: int, seed: int) -> Attribution:
    """Return unbiased estimates of the Shapley values of all players, and their standard errors.

    Each sample draws an order of the speech players and one of the picture players, and scores the grid of all pairs
    of their first p and first q. An order of all players that keeps these two is a path through the grid; the mean over
    all such paths has a closed form: the step from p to p + 1 with q picture players present lies on
    `C(p+q, p) C(m+k-p-q-1, k-q)` of the `C(m+k, m)` paths. At most m + k + 2 masks and (m+1) (k+1) scores a sample. The
    values of each sample add up to the whole, so their mean does.

    Raises:
        InputError: the game refuses so many masks.
    """
    assert n_samples >= 2, "a single sample has no standard error"
    m, k = n_players(game.speech), n_players(game.image)
    masks = [n_samples * (n + 1) if n else 1 for n in (m, k)]
    pairings = n_samples * (m + 1) * (k + 1)
    game.refuse_unless_fits(
        masks[0], masks[1], pairings, method="sampled", mend="a smaller --n-samples, or fewer parts"
    )
    rng = np.random.default_rng(seed)
    corners = corners_of(game)
    on_speech, on_image = _path_shares(m, k), _path_shares(k, m).T
    mean, squares = np.zeros((m + k, game.n_classes)), np.zeros((m + k, game.n_classes))
    for drawn in range(1, n_samples + 1):
        orders = rng.permutation(m), rng.permutation(k)
        grid = game.table(_prefixes(orders[0]), _prefixes(orders[1]))
        grid[np.ix_([0, -1], [0, -1])] = corners
        values = np.empty_like(mean)
        values[orders[0]] = (on_speech[:, :, None] * np.diff(grid, axis=0)).sum(1)
        values[m + orders[1]] = (on_image[:, :, None] * np.diff(grid, axis=1)).sum(0)
        # Welford 1962: the variance without keeping the samples, and without subtracting large squares.
        change = values - mean
        mean += change / drawn
        squares += change * (values - mean)
    errors = np.sqrt(squares / (n_samples - 1) / n_samples)
    return _flat(corners, mean[:m], mean[m:], errors=(errors[:m], errors[m:]))


def _flat(
    corners: Scores,
    speech: Scores,
    image: Scores,
    *,
    interactions: Scores | None = None,
    errors: tuple[Scores, Scores] | None = None,
) -> Attribution:
    """Return the attribution of a method without a division."""
    none = np.zeros((0, corners.shape[-1]))
    return Attribution(
        corners=corners,
        speech=speech,
        image=image,
        modality=np.stack([speech.sum(0), image.sum(0)]),
        interactions=interactions,
        speech_errors=errors and errors[0],
        image_errors=errors and errors[1],
        nodes=(),
        node_values=none,
        node_lost=none,
    )


def _blocks(game: Game, m: int, k: int, height: int, width: int) -> Iterator[tuple[Masks, Masks, Scores]]:
    """Yield the full table in blocks: speech coalitions, picture coalitions, scores `[class, speech, picture]`."""
    for top in range(0, 2**m, height):
        left = _coalitions(top, min(top + height, 2**m), m)
        for start in range(0, 2**k, width):
            right = _coalitions(start, min(start + width, 2**k), k)
            yield left, right, np.moveaxis(game.table(left, right), -1, 0)


def _coalitions(start: int, stop: int, n: int) -> Masks:
    """Return coalitions of n players, numbered by their bits: player j is in those whose bit j is set."""
    return (np.arange(start, stop)[:, None] >> np.arange(n) & 1).astype(np.bool_)


def _prefixes(order: npt.NDArray[np.int64]) -> Masks:
    """Return masks of the first 0, 1, ..., n players of an order, `[n + 1, n]`."""
    place = np.argsort(order)
    return np.arange(len(order) + 1)[:, None] > place


def _path_shares(m: int, k: int) -> Scores:
    """Return the share of paths on which step p -> p + 1 finds q of the other kind present, `[m, k + 1]`."""
    log_factorials = np.array([math.lgamma(j + 1) for j in range(m + k + 1)])

    def log_choose(of: npt.NDArray[np.intp], some: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = log_factorials[of] - log_factorials[some] - log_factorials[of - some]
        return found

    p, q = np.indices((m, k + 1))
    paths = log_choose(p + q, p) + log_choose(m + k - p - q - 1, k - q)
    shares: Scores = np.exp(paths - log_choose(np.array(m + k), np.array(m)))
    # Logarithms of large factorials lose digits: each step lies on some path, so its shares make 1.
    shares /= shares.sum(1, keepdims=True)
    return shares
