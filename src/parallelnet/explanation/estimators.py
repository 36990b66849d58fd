"""Four ways to share a game's score among its players (paper section 3.3, design section 7), for all classes at once.

A new one is a function and a line here; errors, `parallelnet list` and tests derive from `EXPLAINERS`.
"""

from __future__ import annotations

from typing import Protocol

from .attribution import Attribution
from .flat import exact, sampled
from .game import Game
from .nested import owen, paper

__all__ = ["EXPLAINERS", "Attribution", "Explainer"]


class Explainer(Protocol):
    """One way to explain."""

    def __call__(self, game: Game, *, n_samples: int, seed: int) -> Attribution:
        """Return the values of a game's players.

        Args:
            game: what they play.
            n_samples: pairs of random orders, 2 or more, where the method samples.
            seed: of the random orders.

        Raises:
            InputError: the game refuses what the method asks for.
        """
        ...


EXPLAINERS: dict[str, Explainer] = {"owen": owen, "paper": paper, "exact": exact, "sampled": sampled}
