"""Planted samples ready to be explained, and every explainer behind one function: ours, the peers', gradients, random.

A sample knows where its cue is, and what the model says with and without it. All explainers are asked about the same
players, of which absent ones are replaced by the same baselines.
"""

import time
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from parallelnet import audio, image, runtime
from parallelnet.data import dataset, splits
from parallelnet.errors import ManifestError, MissingExtraError, OptionError, unknown
from parallelnet.explanation import faithfulness, players, units
from parallelnet.explanation.estimators import EXPLAINERS
from parallelnet.explanation.faithfulness import Floats
from parallelnet.explanation.game import NetworkGame, Score
from parallelnet.predictor import Predictor
from parallelnet.types import Sample

from . import peers

GRADIENTS = ("integrated-gradients", "grad-cam")
RANDOM = "random"
NAMES = (*EXPLAINERS, *peers.VALUES, *GRADIENTS, *peers.INTERACTIONS, RANDOM)
# What has to be installed for each explainer that is not ours.
PACKAGES: dict[str, tuple[str, ...]] = {
    **{name: ("shap",) for name in (*peers.VALUES, *peers.INTERACTIONS) if name.startswith("shap-")},
    **dict.fromkeys(("captum-sampling", "occlusion", *GRADIENTS), ("captum", "torch")),
    "shapiq-sampled": ("shapiq",),
}
MOST_EXACT = 10  # players of a modality: 2^16 passes, at 4 ms each, are too many for a study of many samples
Baselines = tuple[str, str]  # what absent speech and absent picture parts are replaced by


@dataclass(frozen=True, slots=True)
class Case:
    """One sample with its planted columns, and what the model makes of it.

    Attributes:
        sample: with `cue_units`, `n_units`, `cue_cell`, `grid` among its extra columns, where it has them.
        probs: of each class.
        without: probability of the label without the cues of `speech`, of `image`, of `speech+image`.
        said: what the model says without them.
        group: samples of one group share a clip or a picture.
    """

    sample: Sample
    probs: Mapping[str, float]
    without: Mapping[str, float]
    said: Mapping[str, str]
    group: str

    @property
    def emotion(self) -> str:
        """What the model says."""
        return max(self.probs, key=lambda name: self.probs[name])

    @property
    def right(self) -> bool:
        """True where it says what was planted."""
        return self.emotion == self.sample.label

    @property
    def needs_each(self) -> bool:
        """Without any one of its cues the label loses at least half of what it has above chance (1 / classes)."""
        half = (self.probs[self.sample.label] + 1 / len(self.probs)) / 2
        return all(p <= half for name, p in self.without.items() if "+" not in name)

    @property
    def changed(self) -> bool:
        """True where it says something else without a cue."""
        return any(name != self.emotion for name in self.said.values())

    @property
    def cue(self) -> bool:
        """True where a cue was planted."""
        return self.sample.extra["planted"] == "cue"

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        rows, columns = self.sample.extra["grid"].split("x")
        return int(rows), int(columns)

    def place(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Return which speech units and which picture cells, row by row, hold the cue."""
        extra, found = self.sample.extra, {}
        if self.sample.speech is not None:
            found["speech"] = np.isin(np.arange(int(extra["n_units"])), [int(k) for k in extra["cue_units"].split()])
        if self.sample.image is not None:
            row, column = (int(k) for k in extra["cue_cell"].split())
            found["image"] = np.arange(self.grid[0] * self.grid[1]) == row * self.grid[1] + column
        return found


def read_cases(folder: Path, split: str, predictor: Predictor) -> tuple[list[Case], Counter[str]]:
    """Return the samples of a split with what the model says of them, with and without their cues; and what is dropped.

    Raises:
        ManifestError: it is no planted material, or its split is empty.
        OptionError: the model does not know its classes.
    """
    samples = [s for s in dataset.open_data(folder) if s.split == split]
    if not samples or "planted" not in samples[0].extra:
        raise ManifestError(f"{folder} has no planted samples in its {split} split. See --data, --split.")
    missing = {s.label for s in samples} - set(predictor.classes)
    if missing:
        raise OptionError(
            f"The model does not know {', '.join(sorted(missing))}. Mend: the --checkpoint trained on it."
        )
    parts = [name for name in ("speech", "image") if getattr(samples[0], name) is not None]
    removals = ["", *parts, *(["+".join(parts)] if len(parts) == 2 else [])]
    outcomes = [predictor.predict_each([_without(s, names.split("+"), folder) for s in samples]) for names in removals]
    # Samples that share a file, over however many steps, are drawn together.
    groups = splits.components([replace(s, group=s.speech or "", image_group=s.image or "") for s in samples])
    cases, dropped = [], Counter[str]()
    for sample, group, said in zip(samples, groups, zip(*outcomes, strict=True), strict=True):
        failed = next((each for each in said if isinstance(each, Exception)), None)
        if failed is not None:
            dropped[f"cannot be read: {type(failed).__name__}"] += 1
            continue
        found = {name: each for name, each in zip(removals, said, strict=True) if not isinstance(each, Exception)}
        probs = found.pop("").probs
        without = {name: each.probs[sample.label] for name, each in found.items()}
        cases.append(Case(sample, probs, without, {name: each.emotion for name, each in found.items()}, str(group)))
    return cases, dropped


def _without(sample: Sample, names: Iterable[str], folder: Path) -> Sample:
    # What has no counterpart has no cue there.
    paths = {name: sample.extra.get(f"without_{name}") for name in names}
    return replace(sample, **{name: str(folder / path) for name, path in paths.items() if path})  # type: ignore[arg-type]


class Stage:
    """One sample ready to be played with, under any baselines and on any network of the same checkpoint."""

    def __init__(
        self, predictor: Predictor, case: Case, score: Score = "probability", seed: int = 0, *, shared: bool = False
    ) -> None:
        """Decode the sample; InputError where it cannot be read or divided as its material says.

        Args:
            predictor: the model.
            case: the sample.
            score: what is explained.
            seed: of the study; the sample's own depends on it and on its id.
            shared: explainers share what a game has computed: quicker, and what each of them costs is not known.
        """
        self.case, self.shared = case, shared
        self._predictor, self._score = predictor, score
        self._games: dict[Baselines, NetworkGame] = {}
        sample = case.sample
        self.column = predictor.classes.index(sample.label)
        self.sides = case.place()
        self.n = sum(len(side) for side in self.sides.values())  # players
        self.n_speech = len(self.sides.get("speech", ()))
        self.seed = zlib.crc32(f"{seed} {sample.id}".encode())
        if sample.speech is not None and predictor.signals.trim:
            raise OptionError("The checkpoint trims its speech: units of the material would shift. Mend: no --trim.")
        limits, signals = predictor.limits, predictor.signals
        self._heard = None if sample.speech is None else audio.read(sample.speech, limits=limits)
        self._pixels = None if sample.image is None else image.signal(sample.image, signals, limits)[0]

    def signals(self, baselines: Baselines) -> tuple[players.Players | None, players.Players | None]:
        """Return both sides of a game."""
        speech = picture = None
        if self._heard is not None:
            parts = units.segments(len(self._heard) / audio.SAMPLE_RATE_HZ, self.n_speech)
            speech = players.speech_players(self._heard, self._predictor.signals, parts, baseline=baselines[0])
        if self._pixels is not None:
            owners = players.grid_owners(*self.case.grid)
            picture = players.image_players(self._pixels, owners, self.case.grid, baseline=baselines[1])
        return speech, picture

    def game(self, baselines: Baselines, model: runtime.Model | None = None) -> NetworkGame:
        """Return a game that has computed nothing, or the `shared` one; games of another `model` are never shared."""
        if model is None and baselines in self._games:
            return self._games[baselines]
        columns, score = self._predictor.columns, self._score
        game = NetworkGame(model or self._predictor.model, *self.signals(baselines), columns=columns, score=score)
        if model is None and self.shared:
            self._games[baselines] = game
        return game


class Networks(NamedTuple):
    """The model in the forms that explainers ask for, beside the predictor's."""

    network: Any  # for gradients; None without torch
    temperature: float  # divisor of its logits
    n_samplings: int  # pairs of random orders of `sampled`
    other: runtime.Model | None = None  # for games, in place of the predictor's model


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


def say(name: str, stage: Stage, baselines: Baselines, networks: Networks) -> dict[str, Any]:
    """Return what an explainer of `NAMES` says of a sample; integrated gradients start from the baselines.

    Returns:
        `values` of the players, speech first, None where it only tells interactions; `together` of each speech unit
        with each picture cell, [m, k], None where it does not tell. `passes`, inputs through one modality's branches: a
        whole-model pass of a pair counts as two, a backward pass as one more. `seconds`, wall time; `cpu_seconds` of
        all threads, to compare where other programs share the machine. These three are None where games are shared.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    values = together = None
    m, n_sides = stage.n_speech, len(stage.sides)
    if name == RANDOM:
        rng = np.random.default_rng(stage.seed)
        values, passes = rng.random(stage.n), 0
        together = rng.random((m, stage.n - m)) if n_sides == 2 else None
    elif name in GRADIENTS:
        of = peers.Gradients(networks.network, *stage.signals(baselines), stage.column, networks.temperature)
        values, steps = (of.grad_cam(), n_sides) if name == "grad-cam" else (of.integrated(), peers.STEPS)
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
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    cost = {"passes": passes, "seconds": round(wall, 4), "cpu_seconds": round(cpu, 4)}
    shared = stage.shared and networks.other is None
    return {"values": values, "together": together, **(dict.fromkeys(cost) if shared else cost)}


def allowed(names: Sequence[str], task: str, n_players: Mapping[str, int]) -> tuple[list[str], dict[str, str]]:
    """Return the explainers that can be asked about a task, and why the others cannot.

    Raises:
        OptionError: an unknown name.
        MissingExtraError: one was asked for by name and is not installed.
    """
    chosen, left_out = [], {}
    largest = max(n_players.values())
    for name in names or NAMES:
        if name not in NAMES:
            raise unknown("explainer", name, NAMES, "--explainers")
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
