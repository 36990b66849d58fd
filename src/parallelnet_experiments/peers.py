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
        n_speech: how many of them are the speech's.
        tree: the joint division as scipy writes one, [n - 1, 4]; see `linkage`.
        seed: of what is random.
    """

    score: Score
    n: int
    n_speech: int
    tree: Floats
    seed: int


def linkage(speech: Sequence[DivisionNode], image: Sequence[DivisionNode]) -> Floats:
    """Return the divisions of both modalities as one scipy linkage matrix, float64 `[n - 1, 4]`.

    Rows are (one half, other half, distance, players), halves before wholes; a number below n is a player, those of the
    picture behind those of the speech. The last row joins the modalities, where there are two.
    """
    divisions = [division for division in (speech, image) if division]
    n = sum(len(division[0].units) for division in divisions)
    rows: list[tuple[float, float, float, float]] = []
    roots, first = [], 0
    for division in divisions:
        made: dict[int, int] = {}
        for k in reversed(range(len(division))):  # parents stand before their halves
            halves = [made[j] for j, node in enumerate(division) if node.parent == k]
            if not halves:
                made[k] = first + division[k].units[0]
                continue
            rows.append((*halves, float(len(rows) + 1), float(len(division[k].units))))  # type: ignore[arg-type]
            made[k] = n + len(rows) - 1
        roots.append(made[0])
        first += len(division[0].units)
    if len(roots) == 2:
        rows.append((roots[0], roots[1], float(len(rows) + 1), float(n)))
    return np.array(rows, np.float64).reshape(-1, 4)


# --- shap -------------------------------------------------------------------------------------------------------------


def shap_partition(asked: Question) -> Floats:
    """Return Owen values of the players by `shap.PartitionExplainer`, on our own division, with no limit."""
    with _shap(asked.seed) as shap:
        explainer = shap.explainers.Partition(asked.score, _masker(shap, asked.n, asked.tree))
        found = explainer(_all(asked.n), max_evals=NO_LIMIT, batch_size=NO_LIMIT, silent=True)
    return _values(found)


def shap_permutation(asked: Question) -> Floats:
    """Return Shapley values by `shap.PermutationExplainer`: its 10 random orders, each forwards and backwards."""
    with _shap(asked.seed) as shap:
        explainer = shap.explainers.Permutation(asked.score, _masker(shap, asked.n), seed=asked.seed)
        evaluations = SHAP_PERMUTATIONS * (2 * asked.n + 1)
        found = explainer(_all(asked.n), max_evals=evaluations, batch_size=NO_LIMIT, silent=True)
    return _values(found)


def shap_kernel(asked: Question) -> Floats:
    """Return Shapley values by `shap.KernelExplainer`: its 2,048 and 2 n masks, no feature left out."""
    with _shap(asked.seed) as shap:
        explainer = shap.KernelExplainer(lambda rows: asked.score(rows > 0.5), np.zeros((1, asked.n)), silent=True)
        samples = KERNEL_BUDGET + 2 * asked.n
        found = explainer.shap_values(_all(asked.n), nsamples=samples, l1_reg=False, silent=True)
    return np.asarray(found, np.float64).reshape(asked.n)


def shap_exact(asked: Question) -> Floats:
    """Return Shapley values by `shap.ExactExplainer`: all 2^n masks."""
    with _shap(asked.seed) as shap:
        explainer = shap.explainers.Exact(asked.score, _masker(shap, asked.n))
        return _values(explainer(_all(asked.n), max_evals=NO_LIMIT, batch_size=NO_LIMIT, silent=True))


def shap_interactions(asked: Question) -> Floats:
    """Return the interaction of each pair by `shap.ExactExplainer`, [n, n]: all 2^n masks.

    They are Shapley-Taylor indices (Sundararajan et al. 2020), which share what three players tell together otherwise
    than the Shapley interaction index does. shap puts half of it into each of a pair's two places; here it is whole.
    """
    with _shap(asked.seed) as shap:
        explainer = shap.explainers.Exact(asked.score, _masker(shap, asked.n))
        options = {"max_evals": NO_LIMIT, "batch_size": NO_LIMIT, "silent": True}
        found = np.asarray(explainer(_all(asked.n), interactions=True, **options).values, np.float64)
    return 2 * found.reshape(asked.n, asked.n)


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


def _masker(shap: Any, n: int, tree: Floats | None = None) -> Any:
    """Return a masker whose masked sample is the mask itself: one for speech and picture, with one joint division."""

    class Joint(shap.maskers.Masker):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            self.shape = (1, n)
            self.clustering = tree
            self.immutable_outputs = True

        def __call__(self, mask: Any, x: Any) -> tuple[Bools]:
            return (np.array(self._standardize_mask(mask, x), np.bool_)[None],)

    return Joint()


def _all(n: int) -> Floats:
    return np.ones((1, n))


def _values(found: Any) -> Floats:
    values: Floats = np.asarray(found.values, np.float64)[0]
    return values


# --- captum -----------------------------------------------------------------------------------------------------------


def captum_sampling(asked: Question) -> Floats:
    """Return Shapley values by `captum.ShapleyValueSampling`: its 25 random orders, all masks of an order at once."""
    return _captum(asked, "ShapleyValueSampling", n_samples=CAPTUM_ORDERS)


def occlusion(asked: Question) -> Floats:
    """Return what is lost without each player, by `captum.FeatureAblation`, all masks at once."""
    return _captum(asked, "FeatureAblation")


def _captum(asked: Question, method: str, **options: Any) -> Floats:
    captum_attr, torch = captum()

    def forward(rows: Any) -> Any:
        return torch.as_tensor(asked.score(rows.numpy() > 0.5))

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(asked.seed)
        found = getattr(captum_attr, method)(forward).attribute(
            torch.ones(1, asked.n, dtype=torch.float64),
            baselines=torch.zeros(1, asked.n, dtype=torch.float64),
            perturbations_per_eval=asked.n,
            **options,
        )
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
    found = _shapiq().ExactComputer(game=asked.score, n_players=asked.n)(index, order=1 if index == "SV" else 2)
    return _of_order(found, asked.n, 1 if index == "SV" else 2)


def shapiq_sampled(asked: Question) -> Floats:
    """Return estimated interactions of all pairs, [n, n], by `shapiq.KernelSHAPIQ` with as many masks as KernelSHAP."""
    approximator = _shapiq().KernelSHAPIQ(n=asked.n, max_order=2, index="SII", random_state=asked.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it needs fewer masks than it was allowed
        found = approximator.approximate(budget=KERNEL_BUDGET + 2 * asked.n, game=asked.score)
    return _of_order(found, asked.n, 2)


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
            values[players] = value
            values[players[::-1]] = value
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
