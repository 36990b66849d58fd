"""Every explainer of the study behind one function: ours, the peers', gradients, and a random one.

Gradients come from captum, on the torch network (the `train` extra). What a gradient says of each cell is brought to
the players that the other methods have. A network is asked about the probability that `predict` says, at its
temperature and over all windows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parallelnet import runtime
from parallelnet.checkpoint import Checkpoint
from parallelnet.errors import InputError, MissingExtraError, unknown
from parallelnet.explanation import faithfulness
from parallelnet.explanation.estimators import EXPLAINERS
from parallelnet.explanation.faithfulness import Floats
from parallelnet.explanation.game import NetworkGame
from parallelnet.explanation.players import Players

from . import peers
from .evidence import Baselines, Stage

if TYPE_CHECKING:
    from parallelnet.models.network import ParallelNet

GRADIENTS = ("integrated-gradients", "grad-cam")
RANDOM = "random"
NAMES = (*EXPLAINERS, *peers.VALUES, *GRADIENTS, *peers.INTERACTIONS, RANDOM)
PACKAGES: dict[str, tuple[str, ...]] = {
    **{name: ("shap",) for name in (*peers.VALUES, *peers.INTERACTIONS) if name.startswith("shap-")},
    **dict.fromkeys(("captum-sampling", "occlusion", *GRADIENTS), ("captum", "torch")),
    "shapiq-sampled": ("shapiq",),
}
"""What has to be installed for each explainer that is not ours."""
MOST_EXACT = 10  # players of a modality: 2^16 passes, at 4 ms each, are too many for a study of many samples
STEPS = 50  # of integrated gradients: captum's default


@dataclass(frozen=True, slots=True)
class Said:
    """What an explainer says of one sample.

    Attributes:
        values: of the players, speech first; None where it only tells interactions.
        together: of each speech unit with each picture cell, [m, k]; None where it does not tell.
        passes: inputs through one modality's branches; a whole-model pass of a pair counts as two, a backward pass as
            one more. None where explainers share what is computed.
        seconds: wall time; None likewise.
        cpu_seconds: of all threads; what to compare where other programs share the machine.
    """

    values: Floats | None
    together: Floats | None
    passes: int | None
    seconds: float | None
    cpu_seconds: float | None


@dataclass(frozen=True, slots=True)
class Networks:
    """The model in the forms that explainers ask for, beside the predictor's.

    Attributes:
        network: for gradients; None without torch.
        temperature: divisor of its logits.
        n_samplings: pairs of random orders of `sampled`.
        other: for games, in place of the predictor's model.
    """

    network: Any
    temperature: float
    n_samplings: int
    other: runtime.Model | None = None


def score_of(game: NetworkGame, column: int) -> tuple[peers.Score, Counter[str]]:
    """Return a game as peers ask it, and a counter of the `rows` that they ask for."""
    n_speech = 0 if game.speech is None else game.speech.n
    asked: Counter[str] = Counter()

    def score(masks: npt.NDArray[np.bool_]) -> Floats:
        masks = np.asarray(masks, np.bool_)
        asked["rows"] += len(masks)
        speech, row = faithfulness.distinct(masks[:, :n_speech])
        picture, col = faithfulness.distinct(masks[:, n_speech:])
        return np.asarray(game.table(speech, picture)[row, col, column], np.float64)

    return score, asked


def say(name: str, stage: Stage, baselines: Baselines, networks: Networks) -> Said:
    """Return what an explainer says of a sample.

    Args:
        name: one of `NAMES`.
        stage: the sample.
        baselines: what absent parts are replaced by, and what integrated gradients start from.
        networks: the model, in both forms.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    values = together = None
    m, n_sides = stage.n_speech, len(stage.sides)
    if name == RANDOM:
        rng = np.random.default_rng(stage.seed)
        values, passes = rng.random(stage.n), 0
        together = rng.random((m, stage.n - m)) if n_sides == 2 else None
    elif name in GRADIENTS:
        of = Gradients(
            networks.network, *stage.signals(baselines), column=stage.column, temperature=networks.temperature
        )
        values, steps = (of.grad_cam(), n_sides) if name == "grad-cam" else (of.integrated(), STEPS)
        passes = 2 * n_sides * steps
    elif name in EXPLAINERS:
        game = stage.game(baselines, networks.other)
        found = EXPLAINERS[name](game, n_samples=networks.n_samplings, seed=stage.seed)
        values = np.concatenate([found.speech[:, stage.column], found.image[:, stage.column]])
        together = None if found.interactions is None else found.interactions[..., stage.column]
        passes = game.budget.speech_passes + game.budget.image_passes + 2 * game.budget.joint_passes
    else:
        game = stage.game(baselines, networks.other)
        score, asked = score_of(game, stage.column)
        halves = [() if side is None else side.division for side in (game.speech, game.image)]
        question = peers.Question(score, stage.n, peers.linkage(*halves), stage.seed % 2**31)
        if name in peers.VALUES:
            values = peers.VALUES[name](question)
        else:
            together = peers.INTERACTIONS[name](question)[:m, m:]
        passes = asked["rows"] * n_sides
    if stage.shared and networks.other is None:
        return Said(values, together, None, None, None)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    return Said(values, together, passes, round(wall, 4), round(cpu, 4))


def allowed(names: Sequence[str], task: str, n_players: Mapping[str, int]) -> tuple[list[str], dict[str, str]]:
    """Return the explainers that can be asked about a task, and why the others cannot.

    Raises:
        OptionError: an unknown name.
        MissingExtraError: one was asked for by name and is not installed.
    """
    for name in names:
        if name not in NAMES:
            raise unknown("explainer", name, NAMES, "--explainers")
    chosen, left_out = [], {}
    largest = max(n_players.values())
    for name in names or NAMES:
        missing = [package for package in PACKAGES.get(name, ()) if find_spec(package) is None]
        if missing and names:
            raise MissingExtraError(f"--explainers {name}", "bench")
        if missing:
            left_out[name] = f"{' and '.join(missing)} is not installed"
        elif name == "exact" and largest > MOST_EXACT:
            left_out[name] = f"{largest} players of one modality need 2^{largest} passes a sample"
        elif name in peers.INTERACTIONS and task != "pair":
            left_out[name] = "tells interactions, and there is one modality"
        else:
            chosen.append(name)
    return chosen, left_out


# --- torch networks ---------------------------------------------------------------------------------------------------


class _Random(runtime._TorchBackend):  # the same passes, but of a network that is in no checkpoint
    def __init__(self, network: ParallelNet) -> None:
        _, self._torch = peers.captum()
        self._network, self._device = network, "cpu"


def random_model(opened: Checkpoint, seed: int) -> tuple[ParallelNet, runtime.Model]:
    """Return a checkpoint's network with all weights drawn anew, and the same ready to be played with.

    A model without what it learnt must not be explained alike (Adebayo et al., arXiv 1810.03292).
    """
    _, torch = peers.captum()
    from parallelnet.models import network, variants

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = network.build(variants.NetworkOptions.from_dict(opened.facts.network), opened.facts.classes).eval()
    return made, runtime.Model(opened, _Random(made), "cpu")


class Gradients:
    """Gradient methods on one sample."""

    def __init__(
        self,
        network: ParallelNet,
        speech: Players | None,
        image: Players | None,
        *,
        column: int,
        temperature: float,
    ) -> None:
        """Take what is explained.

        Args:
            network: in evaluation mode.
            speech: the sample's, with the baseline that integrated gradients start from; None without speech.
            image: likewise.
            column: class that is explained.
            temperature: divisor of the logits.
        """
        self._captum, self._torch = peers.captum()
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
        probs = []
        for start in self._starts:
            speech = given["speech"][..., start : start + 128] if "speech" in given else None
            logits = self._network.logits(speech, given.get("image")) / self._temperature
            probs.append(logits.softmax(1)[:, self._column])
        return self._torch.stack(probs).mean(0)

    def _last_map(self, backbone: Any) -> Any:
        """Return the module whose output is the last one in the backbone to tell places apart."""
        seen: list[Any] = []

        def watch(module: Any, _: Any, output: Any) -> None:
            if isinstance(output, self._torch.Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
                seen.append(module)

        hooks = [module.register_forward_hook(watch) for module in backbone.modules()]
        try:
            with self._torch.no_grad():
                self._probability(*self._inputs)
        finally:
            for hook in hooks:
                hook.remove()
        assert seen, "no map of the backbone tells places apart"
        return seen[-1]


def _by_player(cells: Any, players: Players) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the sum of a tensor's cells over each player, and how many cells each has."""
    owned = players.owners >= 0
    owners = players.owners[owned].astype(np.int64)
    sums = np.bincount(owners, cells.double().numpy()[owned], players.n)
    return sums.astype(np.float64), np.bincount(owners, minlength=players.n)
