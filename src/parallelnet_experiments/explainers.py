"""Every explainer of the study behind one function: ours, the peers', gradients, and a random one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from parallelnet import runtime
from parallelnet.errors import MissingExtraError, unknown
from parallelnet.explanation import faithfulness
from parallelnet.explanation.estimators import EXPLAINERS
from parallelnet.explanation.faithfulness import Floats
from parallelnet.explanation.game import NetworkGame

from . import peers
from .evidence import Baselines, Stage

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

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists."""
        return {
            "values": None if self.values is None else self.values.tolist(),
            "together": None if self.together is None else self.together.tolist(),
            "passes": self.passes,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }


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
    m = stage.n_speech
    if name == RANDOM:
        rng = np.random.default_rng(stage.seed)
        values, passes = rng.random(stage.n), 0
        together = rng.random((m, stage.n - m)) if len(stage.sides) == 2 else None
    elif name in GRADIENTS:
        values, passes = _by_gradients(name, stage, baselines, networks)
    else:
        game = stage.game(baselines, networks.other)
        if name in EXPLAINERS:
            found = EXPLAINERS[name](game, n_samples=networks.n_samplings, seed=stage.seed)
            values = np.concatenate([found.speech[:, stage.column], found.image[:, stage.column]])
            together = None if found.interactions is None else found.interactions[..., stage.column]
            passes = game.budget.speech_passes + game.budget.image_passes + 2 * game.budget.joint_passes
        else:
            score, asked = score_of(game, stage.column)
            halves = [() if side is None else side.division for side in (game.speech, game.image)]
            question = peers.Question(score, stage.n, m, peers.linkage(*halves), stage.seed % 2**31)
            if name in peers.VALUES:
                values = peers.VALUES[name](question)
            else:
                together = peers.INTERACTIONS[name](question)[:m, m:]
            passes = asked["rows"] * len(stage.sides)
    if stage.shared and networks.other is None:
        return Said(values, together, None, None, None)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    return Said(values, together, passes, round(wall, 4), round(cpu, 4))


def _by_gradients(name: str, stage: Stage, baselines: Baselines, networks: Networks) -> tuple[Floats, int]:
    from . import gradients

    speech, picture = stage.signals(baselines)
    asked = gradients.Gradients(
        networks.network, speech, picture, column=stage.column, temperature=networks.temperature
    )
    there = len(stage.sides)
    if name == "grad-cam":
        return asked.grad_cam(), 2 * there * there
    return asked.integrated(), 2 * there * gradients.STEPS


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
