"""What a method finds, and what all methods ask of a game first: nobody and everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .game import Divided, Game, Scores
from .masking import Masks
from .result import DivisionNode


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a method found; everything float64, the last axis is the class.

    Attributes:
        corners: v, the score, `[speech absent or present, image absent or present, class]`; a modality that the sample
            lacks changes nothing.
        speech: value of each speech player, `[m, class]`.
        image: value of each picture player, `[k, class]`.
        modality: value of speech and picture as wholes, `[2, class]`. Of `owen` and `paper` the Shapley values of
            these two (Eq. 3); of `exact` and `sampled` the sums over their players.
        interactions: Shapley interaction index of each speech player with each picture player, `[m, k, class]`, from
            `exact` of a sample with both; else None.
        speech_errors: standard errors of `speech`, from `sampled`; else None.
        image_errors: standard errors of `image`, likewise.
        nodes: the parts of both divisions, speech first; `parent` counts in this tuple. Empty for `exact`, `sampled`.
        node_values: value of each part, `[n nodes, class]`.
        node_lost: value of each part less those of its halves, 0 for leaves; all 0 for `owen`, which loses nothing.
    """

    corners: Scores
    speech: Scores
    image: Scores
    modality: Scores
    interactions: Scores | None
    speech_errors: Scores | None
    image_errors: Scores | None
    nodes: tuple[DivisionNode, ...]
    node_values: Scores
    node_lost: Scores


def n_players(players: Divided | None) -> int:
    """Return how many players a modality has; 0 where it is not there."""
    return 0 if players is None else players.n


def ends(players: Divided | None) -> Masks:
    """Return the masks of nobody and everybody; of a modality that is not there, its only one."""
    if players is None:
        return np.zeros((1, 0), np.bool_)
    return np.repeat(np.array([[False], [True]]), players.n, axis=1)


def corners_of(game: Game) -> Scores:
    """Return v with each modality absent and present as a whole, `[2, 2, class]`, from one evaluation.

    Every other table takes these four from here: a network's answer can differ in the last bit with the size of the
    batch, and values that must add up to the same difference must not disagree about it.
    """
    return np.broadcast_to(game.table(ends(game.speech), ends(game.image)), (2, 2, game.n_classes)).copy()


def two_player_values(corners: Scores) -> Scores:
    """Return the Shapley values of speech and picture as two players (Eq. 3, 4), `[2, class]`."""
    return np.stack([(corners[1] - corners[0]).mean(0), (corners[:, 1] - corners[:, 0]).mean(0)])
