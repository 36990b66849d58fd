"""`owen` and `paper`: values along the binary division of each modality (paper section 3.3 and Fig. 2; design 7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .attribution import Attribution, corners_of, ends, two_player_values
from .game import Divided, Game, Scores
from .masking import Masks, Rows
from .result import DivisionNode


def owen(game: Game, *, n_samples: int = 0, seed: int = 0) -> Attribution:
    """Return values along the binary division that add up at every part (Eq. 5), exactly: no sampling.

    Each part is weighed in every context that the division above it offers: at every level the sibling is present or
    absent as a whole. These are Owen's values for nested coalitions: `C(root) = {0}`, `C(a) = C(A) u {c + b : c in
    C(A)}` for halves a, b of A, `phi(A)` the mean over c in C(A) of `v(c + A) - v(c)`. Speech and picture are the
    halves of the whole. (2 n^2 + 4) / 3 masks of a modality with n players, a power of two.

    Raises:
        InputError: the game refuses so many masks.
    """
    counts = [1 if own is None else 2 + sum(2 * n for n, _, _ in _splits(own)) for own in (game.speech, game.image)]
    n_ends = [1 if own is None else 2 for own in (game.speech, game.image)]
    pairings = counts[0] * n_ends[1] + counts[1] * n_ends[0]
    game.refuse_unless_fits(counts[0], counts[1], pairings, method="owen", mend="--method sampled, or fewer parts")
    corners = corners_of(game)
    values = []
    for speech, own in ((True, game.speech), (False, game.image)):
        if own is None:
            values.append(np.zeros((0, game.n_classes)))
            continue
        masks, without, present = _contexts(own)
        scores = _beside_ends(game, corners, masks, speech=speech)
        # Mean over contexts in this modality and over the other one's being absent or present.
        values.append(np.stack([(scores[w] - scores[c]).mean((0, 1)) for w, c in zip(present, without, strict=True)]))
    found = _along_division(game, corners, *values)
    return replace(found, node_lost=np.zeros_like(found.node_lost))


def paper(game: Game, *, n_samples: int = 0, seed: int = 0) -> Attribution:
    """Return the paper's values: Eq. 3 and 4 for speech and picture, then for the halves of each part in turn.

    A half a with its sibling b, everything else absent: `phi(a) = [v(a) - v(0)] / 2 + [v(a, b) - v(b)] / 2` (section
    3.3, Fig. 2: the other modality is kept "as zero", and so is what lies outside the part). The halves of A sum to
    `v(A) - v(0)` and not to `phi(A)`; what is lost on the way down is said for every part. 2 n masks of a modality.

    Raises:
        InputError: the game refuses so many masks.
    """
    counts = [1 if own is None else 1 + len(own.division) for own in (game.speech, game.image)]
    game.refuse_unless_fits(counts[0], counts[1], sum(counts), method="paper", mend="fewer parts")
    corners = corners_of(game)
    wholes = two_player_values(corners)
    values = []
    for speech, own in ((True, game.speech), (False, game.image)):
        if own is None:
            values.append(np.zeros((0, game.n_classes)))
            continue
        masks = np.zeros((1 + len(own.division), own.n), np.bool_)  # nobody, then each part alone, the whole first
        for at, node in enumerate(own.division):
            masks[1 + at, list(node.units)] = True
        scores = _beside_ends(game, corners, masks, speech=speech, alone=True)[:, 0]
        nobody, parts = scores[0], scores[1:]
        found = np.empty_like(parts)
        found[0] = wholes[0 if speech else 1]
        for whole, (first, second) in _halves(own).items():
            for half, sibling in ((first, second), (second, first)):
                found[half] = (parts[half] - nobody) / 2 + (parts[whole] - parts[sibling]) / 2
        values.append(found)
    return _along_division(game, corners, *values)


def _halves(players: Divided) -> dict[int, tuple[int, int]]:
    """Return the places of the halves of each part that has them, parents before children."""
    found: dict[int, list[int]] = {}
    for at, node in enumerate(players.division):
        if node.parent >= 0:
            found.setdefault(node.parent, []).append(at)
    assert all(len(pair) == 2 for pair in found.values()), "a division halves"
    return {whole: (pair[0], pair[1]) for whole, pair in sorted(found.items())}


def _splits(players: Divided) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Yield for each part with halves: how many contexts it has, its place, and the places of its halves."""
    n_contexts = {0: 1}
    for whole, pair in _halves(players).items():
        yield n_contexts[whole], whole, pair
        n_contexts |= dict.fromkeys(pair, 2 * n_contexts[whole])


def _contexts(players: Divided) -> tuple[Masks, list[Rows], list[Rows]]:
    """Return every mask that `owen` asks about, and for each part the masks of its contexts without and with it.

    Rows 0 and 1 are nobody and everybody. No mask occurs twice: those that A adds have one half of A whole and the
    other absent; those that other parts add have all of A or nothing of it, or, added inside A, part of one half.
    """
    splits = list(_splits(players))
    masks = np.zeros((2 + sum(2 * n for n, _, _ in splits), players.n), np.bool_)
    masks[1] = True
    nothing = np.zeros(0, np.intp)
    without, present = [nothing] * len(players.division), [nothing] * len(players.division)
    without[0], present[0] = np.array([0]), np.array([1])
    used = 2
    for n_contexts, whole, pair in splits:
        added = np.arange(used, used + 2 * n_contexts).reshape(2, n_contexts)
        used += 2 * n_contexts
        for half, own, beside in zip(pair, added, added[::-1], strict=True):
            masks[own] = masks[without[whole]]
            masks[np.ix_(own, np.array(players.division[half].units))] = True
            without[half] = np.concatenate([without[whole], beside])
            present[half] = np.concatenate([own, present[whole]])
    return masks, without, present


def _along_division(game: Game, corners: Scores, speech: Scores, image: Scores) -> Attribution:
    """Return the attribution that values of all parts of both divisions make."""
    nodes: list[DivisionNode] = []
    units = []
    lost = []
    for own, values in ((game.speech, speech), (game.image, image)):
        division = () if own is None else own.division
        by_unit = np.zeros((0 if own is None else own.n, game.n_classes))
        own_lost = np.zeros_like(values)
        for at, node in enumerate(division):
            if len(node.units) == 1:
                by_unit[node.units[0]] = values[at]
        for whole, (first, second) in ({} if own is None else _halves(own)).items():
            own_lost[whole] = values[whole] - (values[first] + values[second])
        shift = len(nodes)
        nodes += [replace(node, parent=node.parent + shift if node.parent >= 0 else -1) for node in division]
        units.append(by_unit)
        lost.append(own_lost)
    return Attribution(
        corners=corners,
        speech=units[0],
        image=units[1],
        modality=two_player_values(corners),
        interactions=None,
        speech_errors=None,
        image_errors=None,
        nodes=tuple(nodes),
        node_values=np.concatenate([speech, image]),
        node_lost=np.concatenate(lost),
    )


def _beside_ends(game: Game, corners: Scores, masks: Masks, *, speech: bool, alone: bool = False) -> Scores:
    """Return scores of one modality's masks with the other absent and present, `[n masks, 2 or 1, class]`.

    Args:
        game: what is played.
        corners: from `corners_of`.
        masks: rows 0 and 1 must be nobody and everybody.
        speech: whether they are the speech's.
        alone: only with the other absent.
    """
    other = ends(game.image if speech else game.speech)[: 1 if alone else 2]
    known = (corners if speech else corners.swapaxes(0, 1))[:, : len(other)]
    if len(masks) == 2:
        return known
    rest = game.table(masks[2:], other) if speech else game.table(other, masks[2:]).swapaxes(0, 1)
    return np.concatenate([known, rest])
