"""shap, shapiq and captum on the games that we play: the same players, the same masks, the same baseline.

Gradients come from captum, on the torch network (the `train` extra). What a gradient says of each cell is brought to
the players that the other methods have. A network is asked about the probability that `predict` says, at its
temperature and over all windows.

Each peer is given its best: it hears of players, not of pixels, so that no time goes into masking one by one; masks
arrive together, as many as it can use at once; limits that would cut it short are raised. What a mask costs is the
business of the `Score` behind it.
"""

import contextlib
import importlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from parallelnet import runtime
from parallelnet.checkpoint import Checkpoint
from parallelnet.errors import InputError, MissingExtraError
from parallelnet.explanation.faithfulness import Floats
from parallelnet.explanation.parts import DivisionNode
from parallelnet.explanation.players import Players

if TYPE_CHECKING:
    from parallelnet.models.network import ParallelNet

Bools = npt.NDArray[np.bool_]
Score = Callable[[Bools], Floats]  # masks [rows, players], True for present, to the score of the explained class [rows]

NO_LIMIT = 10_000_000
CAPTUM_ORDERS = 25  # its default
KERNEL_BUDGET = 2048  # beside two for each player: shap's own default
SHAP_PERMUTATIONS = 10  # its default
STEPS = 50  # of integrated gradients: captum's default


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
    """Return `captum.attr` and torch; a MissingExtraError where one of them is not installed."""
    return _package("captum.attr"), _package("torch")


def shapiq_sampled(asked: Question) -> Floats:
    """Return estimated interactions of all pairs, [n, n], by `shapiq.KernelSHAPIQ` with as many masks as KernelSHAP."""
    approximator = _package("shapiq").KernelSHAPIQ(n=asked.n, max_order=2, index="SII", random_state=asked.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it needs fewer masks than it was allowed
        found = approximator.approximate(budget=KERNEL_BUDGET + 2 * asked.n, game=asked.score).dict_values
    values = np.zeros((asked.n, asked.n))
    for pair in filter(lambda players: len(players) == 2, found):
        values[pair] = values[pair[::-1]] = found[pair]
    return values


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError(f"Comparing with {name.partition('.')[0]}", "bench") from None


# Peers that give each player a value, and cost little enough for 16 and more players.
VALUES: dict[str, Peer] = {
    "shap-partition": lambda asked: shap_values(asked, "Partition"),  # Owen values on our own division, with no limit
    "shap-permutation": lambda asked: shap_values(
        asked, "Permutation", max_evals=SHAP_PERMUTATIONS * (2 * asked.n + 1)
    ),
    "shap-kernel": shap_kernel,
    "captum-sampling": lambda asked: captum_values(asked, "ShapleyValueSampling", n_samples=CAPTUM_ORDERS),
    "occlusion": lambda asked: captum_values(asked, "FeatureAblation"),  # what is lost without each player
}

# Peers that give each pair of players an interaction, and cost little enough to be asked of many samples.
INTERACTIONS: dict[str, Peer] = {
    # Shapley-Taylor indices of all 2^n masks (Sundararajan et al. 2020), which share what three players tell together
    # otherwise than the Shapley interaction index does. shap puts half of it into each of a pair's two places.
    "shap-exact": lambda asked: 2 * shap_values(asked, "Exact", interactions=True),
    "shapiq-sampled": shapiq_sampled,
}


class _Random(runtime._TorchBackend):  # the same passes, but of a network that is in no checkpoint
    def __init__(self, network: "ParallelNet") -> None:
        self._torch, self._network, self._device = captum()[1], network, "cpu"


def random_model(opened: Checkpoint, seed: int) -> tuple["ParallelNet", runtime.Model]:
    """Return a checkpoint's network with all weights drawn anew, and the same ready to be played with.

    A model without what it learnt must not be explained alike (Adebayo et al., arXiv 1810.03292).
    """
    _, torch = captum()
    from parallelnet.models import network, variants

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = network.build(variants.NetworkOptions.from_dict(opened.facts.network), opened.facts.classes).eval()
    return made, runtime.Model(opened, _Random(made), "cpu")


class Gradients:
    """Gradient methods on one sample."""

    def __init__(
        self, network: "ParallelNet", speech: Players | None, image: Players | None, column: int, temperature: float
    ) -> None:
        """Take a network in evaluation mode, both sides with their baselines, the class, and the logits' divisor."""
        self._captum, self._torch = captum()
        self._network, self._column, self._temperature = network, column, temperature
        self._starts = (0,) if speech is None else speech.starts
        self._players = {name: side for name, side in (("speech", speech), ("image", image)) if side is not None}
        self._inputs, self._baselines = (
            tuple(self._torch.from_numpy(np.array(x))[None] for x in cells)
            for cells in zip(*((side.signal, side.baseline) for side in self._players.values()), strict=True)
        )

    def integrated(self) -> Floats:
        """Return integrated gradients from the baseline (Sundararajan et al. 2017), summed over each player, [n].

        Sums, for they add up to the whole change of the score, like the values of the other methods.
        """
        method = self._captum.IntegratedGradients(self._probability)
        found = method.attribute(self._inputs, baselines=self._baselines, n_steps=STEPS)
        sides = zip(found, self._players.values(), strict=True)
        return np.concatenate([_by_player(cells[0].sum(0), side)[0] for cells, side in sides])

    def grad_cam(self) -> Floats:
        """Return Grad-CAM (Selvaraju et al. 2017) on the last map of each N2, averaged over each player, [n].

        Without its final ReLU, which would only make equal what is below zero. It sees nothing of N1.

        Raises:
            InputError: more than one window: captum keeps the map of one pass.
        """
        if len(self._starts) > 1:
            raise InputError(f"Grad-CAM takes one window; the speech has {len(self._starts)}.")
        parts = []
        for name, side in self._players.items():
            branches = getattr(self._network, name)
            layer = self._last_map(branches.n2.backbone)
            found = self._captum.LayerGradCam(self._probability, layer).attribute(self._inputs).detach()
            if branches.mirror:  # the map of the picture, and of its mirror image
                found = (found[:1] + found[1:].flip(3)) / 2
            resized = self._torch.nn.functional.interpolate
            cells = resized(found, side.owners.shape, mode="bilinear", align_corners=False)[0, 0]
            parts.append(np.divide(*_by_player(cells, side)))
        return np.concatenate(parts)

    def _probability(self, *signals: Any) -> Any:
        given = dict(zip(self._players, signals, strict=True))
        logits = [
            self._network.logits(given["speech"][..., k : k + 128] if "speech" in given else None, given.get("image"))
            for k in self._starts
        ]
        return (self._torch.stack(logits) / self._temperature).softmax(2)[..., self._column].mean(0)

    def _last_map(self, backbone: Any) -> Any:
        # Return the module whose output is the last one in the backbone to tell places apart.
        seen: list[Any] = []

        def watch(module: Any, _: Any, output: Any) -> None:
            if isinstance(output, self._torch.Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
                seen.append(module)

        with contextlib.ExitStack() as hooks, self._torch.no_grad():
            for module in backbone.modules():
                hooks.callback(module.register_forward_hook(watch).remove)
            self._probability(*self._inputs)
        assert seen, "no map of the backbone tells places apart"
        return seen[-1]


def _by_player(cells: Any, players: Players) -> tuple[Floats, npt.NDArray[np.int64]]:
    # Return the sum of a tensor's cells over each player, and how many cells each has.
    owned = players.owners >= 0
    owners = players.owners[owned].astype(np.int64)
    sums = np.bincount(owners, cells.double().numpy()[owned], players.n)
    return sums.astype(np.float64), np.bincount(owners, minlength=players.n)
