"""shap, shapiq and captum on the games that we play: the same players, the same masks, the same baseline.

Each peer is given its best: it hears of players, not of pixels, so that no time goes into masking one by one; masks
arrive together, as many as it can use at once; limits that would cut it short are raised. What a mask costs is the
business of the `Score` behind it.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

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


class Question(NamedTuple):
    """What is explained: a score of players, those of the speech first."""

    score: Score
    n: int
    tree: Floats  # their joint division, [n - 1, 4]; see `linkage`
    seed: int


Peer = Callable[[Question], Floats]


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


def shap_values(asked: Question, method: str, *, max_evals: int = NO_LIMIT, **options: Any) -> Floats:
    """Return what a shap explainer says by masks: values [n], or with `interactions=True` those of pairs [n, n]."""
    with _shap(asked.seed) as shap:

        class Joint(shap.maskers.Masker):  # type: ignore[misc, name-defined, unused-ignore]
            """The masked sample is the mask itself: one masker for speech and picture, with one joint division."""

            shape, immutable_outputs = (1, asked.n), True
            clustering = asked.tree if method == "Partition" else None

            def __call__(self, mask: Any, x: Any) -> tuple[Bools]:
                return (np.array(self._standardize_mask(mask, x), np.bool_)[None],)

        seed = {"seed": asked.seed} if method == "Permutation" else {}
        explainer = getattr(shap.explainers, method)(asked.score, Joint(), **seed)
        limits = {"max_evals": max_evals, "batch_size": NO_LIMIT}
        found = explainer(np.ones((1, asked.n)), **limits, silent=True, **options)
    return np.asarray(np.asarray(found.values, np.float64)[0])


def shap_kernel(asked: Question) -> Floats:
    """Return Shapley values by `shap.KernelExplainer`: its 2,048 and 2 n masks, no feature left out."""
    with _shap(asked.seed) as shap:
        explainer = shap.KernelExplainer(lambda rows: asked.score(rows > 0.5), np.zeros((1, asked.n)), silent=True)
        samples = KERNEL_BUDGET + 2 * asked.n
        found = explainer.shap_values(np.ones((1, asked.n)), nsamples=samples, l1_reg=False, silent=True)
    return np.asarray(found, np.float64).reshape(asked.n)


@contextlib.contextmanager
def _shap(seed: int) -> Iterator[Any]:
    """Yield shap; its draws are numpy's global ones, which are as they were afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies' ageing
        shap = _package("shap")
        logging.getLogger("shap").setLevel(logging.WARNING)  # it tells of every step
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            yield shap
        finally:
            np.random.set_state(state)


# --- captum and shapiq ------------------------------------------------------------------------------------------------


def captum_values(asked: Question, method: str, **options: Any) -> Floats:
    """Return what a captum perturbation method says of the players [n], all masks of an order at once."""
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
    return _package("captum.attr"), _package("torch")


def shapiq_sampled(asked: Question) -> Floats:
    """Return estimated interactions of all pairs, [n, n], by `shapiq.KernelSHAPIQ` with as many masks as KernelSHAP."""
    approximator = _package("shapiq").KernelSHAPIQ(n=asked.n, max_order=2, index="SII", random_state=asked.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it needs fewer masks than it was allowed
        found = approximator.approximate(budget=KERNEL_BUDGET + 2 * asked.n, game=asked.score).dict_values
    values = np.zeros((asked.n, asked.n))
    for pair, value in found.items():
        if len(pair) == 2:
            values[pair] = values[pair[::-1]] = value
    return values


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError(f"Comparing with {name.partition('.')[0]}", "bench") from None


VALUES: dict[str, Peer] = {
    "shap-partition": lambda asked: shap_values(asked, "Partition"),  # Owen values on our own division, with no limit
    "shap-permutation": lambda asked: shap_values(
        asked, "Permutation", max_evals=SHAP_PERMUTATIONS * (2 * asked.n + 1)
    ),
    "shap-kernel": shap_kernel,
    "captum-sampling": lambda asked: captum_values(asked, "ShapleyValueSampling", n_samples=CAPTUM_ORDERS),
    "occlusion": lambda asked: captum_values(asked, "FeatureAblation"),  # what is lost without each player
}
"""Peers that give each player a value, and cost little enough for 16 and more players."""

INTERACTIONS: dict[str, Peer] = {
    # Shapley-Taylor indices of all 2^n masks (Sundararajan et al. 2020), which share what three players tell together
    # otherwise than the Shapley interaction index does. shap puts half of it into each of a pair's two places.
    "shap-exact": lambda asked: 2 * shap_values(asked, "Exact", interactions=True),
    "shapiq-sampled": shapiq_sampled,
}
"""Peers that give each pair of players an interaction, and cost little enough to be asked of many samples."""
