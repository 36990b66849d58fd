"""shap, shapiq and captum on the games that we play: the same players, the same masks, the same baseline.

Each peer is given its best: it hears of players, not of pixels, so that no time goes into masking one by one; masks
arrive together, as many as it can use at once; limits that would cut it short are raised. What a mask costs is the
business of the `Score` behind it.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parallelnet.errors import MissingExtraError
from parallelnet.explanation.parts import DivisionNode

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Score = Callable[[Bools], Floats]
"""Masks [rows, players], True for present, to the score of the explained class [rows]."""

NO_LIMIT = 10_000_000
CAPTUM_ORDERS = 25  # its default
KERNEL_BUDGET = 2048  # beside two for each player: shap's own default
SHAP_PERMUTATIONS = 10  # its default


@dataclass(frozen=True, slots=True)
class Question:
    """What is explained: a score of present players.

    Attributes:
        score: of masks.
        n: players; those of the speech first.
        tree: the joint division as scipy writes one, [n - 1, 4]; see `linkage`.
        seed: of what is random.
    """

    score: Score
    n: int
    tree: Floats
    seed: int


def linkage(speech: Sequence[DivisionNode], image: Sequence[DivisionNode]) -> Floats:
    """Return the divisions of both modalities as one scipy linkage matrix, float64 `[n - 1, 4]`.

    Rows are (one half, other half, distance, players), halves before wholes; a number below n is a player, those of the
    picture behind those of the speech. The last row joins the modalities, where there are two.
    """
    divisions = [division for division in (speech, image) if division]
    n = sum(len(division[0].units) for division in divisions)
    rows: list[tuple[float, ...]] = []
    roots, first = [], 0
    for division in divisions:
        made: dict[int, int] = {}
        for k in reversed(range(len(division))):  # parents stand before their halves
            halves = [made[j] for j, node in enumerate(division) if node.parent == k]
            made[k] = n + len(rows) if halves else first + division[k].units[0]
            if halves:
                rows.append((*halves, len(rows) + 1, len(division[k].units)))
        roots.append(made[0])
        first += len(division[0].units)
    if len(roots) == 2:
        rows.append((*roots, len(rows) + 1, n))
    return np.array(rows, np.float64).reshape(-1, 4)


# --- shap -------------------------------------------------------------------------------------------------------------


def shap_partition(asked: Question) -> Floats:
    """Return Owen values of the players by `shap.PartitionExplainer`, on our own division, with no limit."""
    return _shap_values(asked, "Partition", tree=asked.tree)


def shap_permutation(asked: Question) -> Floats:
    """Return Shapley values by `shap.PermutationExplainer`: its 10 random orders, each forwards and backwards."""
    return _shap_values(asked, "Permutation", max_evals=SHAP_PERMUTATIONS * (2 * asked.n + 1))


def shap_exact(asked: Question) -> Floats:
    """Return Shapley values by `shap.ExactExplainer`: all 2^n masks."""
    return _shap_values(asked, "Exact")


def shap_interactions(asked: Question) -> Floats:
    """Return the interaction of each pair by `shap.ExactExplainer`, [n, n]: all 2^n masks.

    They are Shapley-Taylor indices (Sundararajan et al. 2020), which share what three players tell together otherwise
    than the Shapley interaction index does. shap puts half of it into each of a pair's two places; here it is whole.
    """
    return 2 * _shap_values(asked, "Exact", interactions=True)


def shap_kernel(asked: Question) -> Floats:
    """Return Shapley values by `shap.KernelExplainer`: its 2,048 and 2 n masks, no feature left out."""
    with _shap(asked.seed) as shap:
        explainer = shap.KernelExplainer(lambda rows: asked.score(rows > 0.5), np.zeros((1, asked.n)), silent=True)
        samples = KERNEL_BUDGET + 2 * asked.n
        found = explainer.shap_values(np.ones((1, asked.n)), nsamples=samples, l1_reg=False, silent=True)
    return np.asarray(found, np.float64).reshape(asked.n)


def _shap_values(
    asked: Question, method: str, *, tree: Floats | None = None, max_evals: int = NO_LIMIT, **options: Any
) -> Floats:
    with _shap(asked.seed) as shap:

        class Joint(shap.maskers.Masker):  # type: ignore[misc, name-defined, unused-ignore]
            """The masked sample is the mask itself: one masker for speech and picture, with one joint division."""

            shape, clustering, immutable_outputs = (1, asked.n), tree, True

            def __call__(self, mask: Any, x: Any) -> tuple[Bools]:
                return (np.array(self._standardize_mask(mask, x), np.bool_)[None],)

        seed = {"seed": asked.seed} if method == "Permutation" else {}
        explainer = getattr(shap.explainers, method)(asked.score, Joint(), **seed)
        limits = {"max_evals": max_evals, "batch_size": NO_LIMIT}
        found = explainer(np.ones((1, asked.n)), **limits, silent=True, **options)
    return np.asarray(np.asarray(found.values, np.float64)[0])


@contextlib.contextmanager
def _shap(seed: int) -> Iterator[Any]:
    """Yield shap; its draws are numpy's global ones, which are as they were afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies' ageing
        try:
            import shap
        except ImportError:
            raise MissingExtraError("Comparing with shap", "bench") from None
        logging.getLogger("shap").setLevel(logging.WARNING)  # it tells of every step
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            yield shap
        finally:
            np.random.set_state(state)


# --- captum -----------------------------------------------------------------------------------------------------------


def captum_sampling(asked: Question) -> Floats:
    """Return Shapley values by `captum.ShapleyValueSampling`: its 25 random orders, all masks of an order at once."""
    return _captum_values(asked, "ShapleyValueSampling", n_samples=CAPTUM_ORDERS)


def occlusion(asked: Question) -> Floats:
    """Return what is lost without each player, by `captum.FeatureAblation`, all masks at once."""
    return _captum_values(asked, "FeatureAblation")


def _captum_values(asked: Question, method: str, **options: Any) -> Floats:
    captum_attr, torch = captum()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(asked.seed)
        there = torch.ones(1, asked.n, dtype=torch.float64)
        explainer = getattr(captum_attr, method)(lambda rows: torch.as_tensor(asked.score(rows.numpy() > 0.5)))
        found = explainer.attribute(there, baselines=0 * there, perturbations_per_eval=asked.n, **options)
    return np.asarray(found.numpy(), np.float64).reshape(asked.n)


def captum() -> tuple[Any, Any]:
    """Return `captum.attr` and torch.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    try:
        import captum.attr
        import torch
    except ImportError:
        raise MissingExtraError("Comparing with captum", "bench") from None
    return captum.attr, torch


# --- shapiq -----------------------------------------------------------------------------------------------------------


def shapiq_exact(asked: Question, index: str = "SV") -> Floats:
    """Return exact values by `shapiq.ExactComputer`: Shapley values [n] (`SV`) or interactions [n, n] (`SII`)."""
    order = 1 if index == "SV" else 2
    return _of_order(_shapiq().ExactComputer(game=asked.score, n_players=asked.n)(index, order=order), asked.n, order)


def shapiq_sampled(asked: Question) -> Floats:
    """Return estimated interactions of all pairs, [n, n], by `shapiq.KernelSHAPIQ` with as many masks as KernelSHAP."""
    approximator = _shapiq().KernelSHAPIQ(n=asked.n, max_order=2, index="SII", random_state=asked.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it needs fewer masks than it was allowed
        return _of_order(approximator.approximate(budget=KERNEL_BUDGET + 2 * asked.n, game=asked.score), asked.n, 2)


def _shapiq() -> Any:
    try:
        import shapiq
    except ImportError:
        raise MissingExtraError("Comparing with shapiq", "bench") from None
    return shapiq


def _of_order(found: Any, n: int, wanted: int) -> Floats:
    values = np.zeros((n,) * wanted)
    for players, value in found.dict_values.items():
        if len(players) == wanted:
            values[players] = values[players[::-1]] = value
    return values


VALUES: dict[str, Callable[[Question], Floats]] = {
    "shap-partition": shap_partition,
    "shap-permutation": shap_permutation,
    "shap-kernel": shap_kernel,
    "captum-sampling": captum_sampling,
    "occlusion": occlusion,
}
"""Peers that give each player a value, and cost little enough for 16 and more players."""

INTERACTIONS: dict[str, Callable[[Question], Floats]] = {
    "shap-exact": shap_interactions,
    "shapiq-sampled": shapiq_sampled,
}
"""Peers that give each pair of players an interaction, and cost little enough to be asked of many samples."""
