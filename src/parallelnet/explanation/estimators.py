"""Four ways to share a game's score among its players (paper section 3.3, design section 7), for all classes at once.

`owen` and `paper` go along the binary division of each modality (Fig. 2); `exact` and `sampled` take all players alike.
Each raises InputError where the game refuses so many masks. A new one is a function and a line in `EXPLAINERS`;
errors, `parallelnet list` and tests derive from it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from .game import Masks, NetworkGame, Rows, Scores
from .parts import DivisionNode
from .players import Players

_BLOCK_PAIRINGS = 2**16  # pairings of the full table that `exact` holds at a time: 2 MB for four classes


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a method found; everything float64, the last axis is the class.

    Attributes:
        corners: score `[speech absent or present, image absent or present, class]`; what the sample lacks is alike.
        speech: value of each speech player, `[m, class]`.
        image: value of each picture player, `[k, class]`.
        modality: value of speech and picture as wholes, `[2, class]`. Of `owen` and `paper` the Shapley values of
            these two (Eq. 3); of `exact` and `sampled` the sums over their players.
        node_values: value of each of `nodes`, `[n nodes, class]`; None where there are none.
        node_lost: value of each part less those of its halves, 0 for leaves; all 0 for `owen`, which loses nothing.
        nodes: the parts of both divisions, speech first; `parent` counts in this tuple. Empty for `exact`, `sampled`.
        interactions: Shapley interaction index of each speech player with each picture player, `[m, k, class]`, from
            `exact` of a sample with both.
        speech_errors: standard errors of `speech`, from `sampled`.
        image_errors: standard errors of `image`, likewise.
    """

    corners: Scores
    speech: Scores
    image: Scores
    modality: Scores
    node_values: Scores | None = None
    node_lost: Scores | None = None
    nodes: tuple[DivisionNode, ...] = ()
    interactions: Scores | None = None
    speech_errors: Scores | None = None
    image_errors: Scores | None = None


def n_players(players: Players | None) -> int:
    """Return how many players a modality has; 0 where it is not there."""
    return 0 if players is None else players.n


def ends(players: Players | None) -> Masks:
    """Return the masks of nobody and everybody; of a modality that is not there, its only one."""
    return np.repeat(np.array([[False], [True]]), players.n, axis=1) if players else np.zeros((1, 0), np.bool_)


def corners_of(game: NetworkGame) -> Scores:
    """Return v with each modality absent and present as a whole, `[2, 2, class]`, from one evaluation.

    Every other table takes these four from here: a network's answer can differ in the last bit with the size of the
    batch, and values that must add up to the same difference must not disagree about it.
    """
    return np.broadcast_to(game.table(ends(game.speech), ends(game.image)), (2, 2, game.n_classes)).copy()


def two_player_values(corners: Scores) -> Scores:
    """Return the Shapley values of speech and picture as two players (Eq. 3, 4), `[2, class]`."""
    return np.stack([(corners[1] - corners[0]).mean(0), (corners[:, 1] - corners[:, 0]).mean(0)])


# --- along the binary division ---------------------------------------------------------------------------------------


def owen(game: NetworkGame, *, n_samples: int = 0, seed: int = 0) -> Attribution:
    """Return values along the binary division that add up at every part (Eq. 5), exactly: no sampling.

    Each part is weighed in every context that the division above it offers: at every level the sibling is present or
    absent as a whole. These are Owen's values for nested coalitions: `C(root) = {0}`, `C(a) = C(A) u {c + b : c in
    C(A)}` for halves a, b of A, `phi(A)` the mean over c in C(A) of `v(c + A) - v(c)`. Speech and picture are the
    halves of the whole. (2 n^2 + 4) / 3 masks of a modality with n players, a power of two.
    """
    counts = [_n_contexts(own) if own else 1 for own in (game.speech, game.image)]
    pairings = counts[0] * len(ends(game.image)) + counts[1] * len(ends(game.speech))
    game.refuse_unless_fits(counts[0], counts[1], pairings, method="owen", mend="--method sampled, or fewer parts")
    corners = corners_of(game)

    def values(own: Players, *, speech: bool) -> Scores:
        masks, without, present = _contexts(own)
        scores = _beside_ends(game, corners, masks, speech=speech)
        # Mean over contexts in this modality and over the other one's being absent or present.
        return np.stack([(scores[w] - scores[c]).mean((0, 1)) for w, c in zip(present, without, strict=True)])

    found = _along_division(game, corners, values)
    return replace(found, node_lost=np.zeros((len(found.nodes), game.n_classes)))


def paper(game: NetworkGame, *, n_samples: int = 0, seed: int = 0) -> Attribution:
    """Return the paper's values: Eq. 3 and 4 for speech and picture, then for the halves of each part in turn.

    A half a with its sibling b, everything else absent: `phi(a) = [v(a) - v(0)] / 2 + [v(a, b) - v(b)] / 2` (section
    3.3, Fig. 2: the other modality is kept "as zero", and so is what lies outside the part). The halves of A sum to
    `v(A) - v(0)` and not to `phi(A)`; what is lost on the way down is said for every part. 2 n masks of a modality.
    """
    counts = [1 + len(own.division) if own else 1 for own in (game.speech, game.image)]
    game.refuse_unless_fits(counts[0], counts[1], sum(counts), method="paper", mend="fewer parts")
    corners = corners_of(game)
    wholes = two_player_values(corners)

    def values(own: Players, *, speech: bool) -> Scores:
        masks = np.zeros((1 + len(own.division), own.n), np.bool_)  # nobody, then each part alone, the whole first
        for at, node in enumerate(own.division):
            masks[1 + at, list(node.units)] = True
        nobody, *parts = _beside_ends(game, corners, masks, speech=speech, alone=True)[:, 0]
        found = np.empty_like(parts)
        found[0] = wholes[0 if speech else 1]
        for whole, pair in _halves(own).items():
            for half, sibling in (pair, pair[::-1]):
                found[half] = (parts[half] - nobody) / 2 + (parts[whole] - parts[sibling]) / 2
        return found

    return _along_division(game, corners, values)


def _halves(players: Players) -> dict[int, list[int]]:
    """Return the places of the two halves of each part that has them, parents before children."""
    found: dict[int, list[int]] = {}
    for at, node in enumerate(players.division[1:], start=1):
        found.setdefault(node.parent, []).append(at)
    return dict(sorted(found.items()))


def _n_contexts(players: Players) -> int:
    """Return how many masks `_contexts` has: a part with halves adds two for each context, its halves have twice."""
    n_masks, n_contexts = 2, {0: 1}
    for whole, pair in _halves(players).items():
        n_masks += 2 * n_contexts[whole]
        n_contexts |= dict.fromkeys(pair, 2 * n_contexts[whole])
    return n_masks


def _contexts(players: Players) -> tuple[Masks, list[Rows], list[Rows]]:
    """Return every mask that `owen` asks about, and for each part the masks of its contexts without and with it.

    Rows 0 and 1 are nobody and everybody. No mask occurs twice: those that A adds have one half of A whole and the
    other absent; those that other parts add have all of A or nothing of it, or, added inside A, part of one half.
    """
    masks = np.zeros((_n_contexts(players), players.n), np.bool_)
    masks[1] = True
    nothing = np.zeros(0, np.intp)
    without, present = [nothing] * len(players.division), [nothing] * len(players.division)
    without[0], present[0] = np.array([0]), np.array([1])
    used = 2
    for whole, pair in _halves(players).items():
        added = np.arange(used, used + 2 * len(without[whole])).reshape(2, -1)
        used += added.size
        for half, own, beside in zip(pair, added, added[::-1], strict=True):
            masks[own] = masks[without[whole]]
            masks[np.ix_(own, np.array(players.division[half].units))] = True
            without[half] = np.concatenate([without[whole], beside])
            present[half] = np.concatenate([own, present[whole]])
    return masks, without, present


def _along_division(game: NetworkGame, corners: Scores, values: Callable[..., Scores]) -> Attribution:
    """Return the attribution that values of all parts of both divisions make: `values(players, speech=)` a modality."""
    nodes: list[DivisionNode] = []
    units, all_parts, all_lost = [], [], []
    for speech, own in ((True, game.speech), (False, game.image)):
        parts = np.zeros((0, game.n_classes)) if own is None else values(own, speech=speech)
        units.append(np.zeros((n_players(own), game.n_classes)))
        all_parts.append(parts)
        all_lost.append(np.zeros_like(parts))
        if own is None:
            continue
        for node, value in zip(own.division, parts, strict=True):
            if len(node.units) == 1:
                units[-1][node.units[0]] = value
        for whole, (first, second) in _halves(own).items():
            all_lost[-1][whole] = parts[whole] - (parts[first] + parts[second])
        shift = len(nodes)
        nodes += [replace(node, parent=node.parent + shift if node.parent >= 0 else -1) for node in own.division]
    node_values, node_lost = np.concatenate(all_parts), np.concatenate(all_lost)
    return Attribution(corners, units[0], units[1], two_player_values(corners), node_values, node_lost, tuple(nodes))


def _beside_ends(game: NetworkGame, corners: Scores, masks: Masks, *, speech: bool, alone: bool = False) -> Scores:
    """Return scores of one modality's masks with the other absent and present, or `alone`, `[n masks, 2 or 1, class]`.

    Rows 0 and 1 of the masks must be nobody and everybody: their scores are those of `corners`.
    """
    other = ends(game.image if speech else game.speech)[: 1 if alone else 2]
    known = (corners if speech else corners.swapaxes(0, 1))[:, : len(other)]
    if len(masks) == 2:
        return known
    rest = game.table(masks[2:], other) if speech else game.table(other, masks[2:]).swapaxes(0, 1)
    return np.concatenate([known, rest])


# --- all players alike -----------------------------------------------------------------------------------------------


def exact(game: NetworkGame, *, n_samples: int = 0, seed: int = 0) -> Attribution:
    """Return Shapley values of all m + k players, and the interactions of each speech with each picture player.

    From the scores of all 2^(m + k) coalitions, which take 2^m + 2^k masks. The table V is never held as a whole: it
    enters sums, block by block. With memberships Z (N = 1 - Z), `w(j) = j! (n-j-1)! / n!`, `o(j) = j! (n-j-2)! /
    (n-1)!`, n = m + k, and `W_a = w(|s|+|t|-a) V`, `O_a` alike: speech `Z_s' W_1 1 - N_s' W_0 1`, picture `Z_i' W_1' 1
    - N_i' W_0' 1`, interactions `Z_s' O_2 Z_i - Z_s' O_1 N_i - N_s' O_1 Z_i + N_s' O_0 N_i` (design section 7; Grabisch
    and Roubens 1999).
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
    height = _BLOCK_PAIRINGS // width
    for top, start in product(range(0, 2**m, height), range(0, 2**k, width)):
        left, right = _coalitions(top, height, m), _coalitions(start, width, k)
        v = np.moveaxis(game.table(left, right), -1, 0)
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
    modality = np.stack([speech.sum(1), image.sum(1)])
    together = interactions.transpose(1, 2, 0) if m and k else None
    return Attribution(corners, speech.T, image.T, modality, interactions=together)


def sampled(game: NetworkGame, *, n_samples: int, seed: int) -> Attribution:
    """Return unbiased estimates of the Shapley values of all players, and their standard errors.

    Each sample draws an order of the speech players and one of the picture players, and scores the grid of all pairs
    of their first p and first q. An order of all players that keeps these two is a path through the grid; the mean over
    all such paths has a closed form: the step from p to p + 1 with q picture players present lies on
    `C(p+q, p) C(m+k-p-q-1, k-q)` of the `C(m+k, m)` paths. At most m + k + 2 masks and (m+1) (k+1) scores a sample. The
    values of each sample add up to the whole, so their mean does.
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
    modality = np.stack([mean[:m].sum(0), mean[m:].sum(0)])
    return Attribution(corners, mean[:m], mean[m:], modality, speech_errors=errors[:m], image_errors=errors[m:])


def _coalitions(start: int, count: int, n: int) -> Masks:
    """Return coalitions of n players, numbered by their bits: player j is in those whose bit j is set."""
    return (np.arange(start, min(start + count, 2**n))[:, None] >> np.arange(n) & 1).astype(np.bool_)


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


# `(game, *, n_samples, seed)`: values of a game's players. `n_samples`, 2 or more, are pairs of random orders where a
# method samples, `seed` theirs.
EXPLAINERS: dict[str, Callable[..., Attribution]] = {"owen": owen, "paper": paper, "exact": exact, "sampled": sampled}
