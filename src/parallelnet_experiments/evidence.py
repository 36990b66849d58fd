"""Planted samples ready to be explained: where the cue is, what the model says with and without it, and their games."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from parallelnet import audio, image, runtime
from parallelnet.data import dataset, splits
from parallelnet.errors import ManifestError, OptionError
from parallelnet.explanation import players, units
from parallelnet.explanation.game import NetworkGame, Score
from parallelnet.predictor import Predictor
from parallelnet.types import Sample

Baselines = tuple[str, str]
"""What absent speech and absent picture parts are replaced by."""


@dataclass(frozen=True, slots=True)
class Case:
    """One sample, and what the model makes of it.

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
        rows, columns = (int(k) for k in self.sample.extra["grid"].split("x"))
        return rows, columns

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
        first, *others = (each for each in said if not isinstance(each, Exception))
        without = {name: each.probs[sample.label] for name, each in zip(removals[1:], others, strict=True)}
        heard = {name: each.emotion for name, each in zip(removals[1:], others, strict=True)}
        cases.append(Case(sample, first.probs, without, heard, str(group)))
    return cases, dropped


def _without(sample: Sample, names: Iterable[str], folder: Path) -> Sample:
    """Return the sample without the cues of some modalities; what has no counterpart has no cue there."""
    paths = {name: sample.extra.get(f"without_{name}") for name in names}
    return replace(sample, **{name: str(folder / path) for name, path in paths.items() if path})  # type: ignore[arg-type]


class Stage:
    """One sample ready to be played with, under any baselines and on any network of the same checkpoint."""

    def __init__(
        self,
        predictor: Predictor,
        case: Case,
        *,
        score: Score = "probability",
        seed: int = 0,
        shared: bool = False,
    ) -> None:
        """Decode the sample.

        Args:
            predictor: the model.
            case: the sample.
            score: what is explained.
            seed: of the study; the sample's own depends on it and on its id.
            shared: explainers share what a game has computed: quicker, and what each of them costs is not known.

        Raises:
            InputError: it cannot be read or divided as its material says.
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
        self._heard = self._pixels = None
        if sample.speech is not None:
            self._heard = audio.read(sample.speech, limits=predictor.limits)
            if predictor.signals.trim:
                raise OptionError(
                    "The checkpoint trims its speech: units of the material would shift. Mend: no --trim."
                )
        if sample.image is not None:
            self._pixels, _ = image.signal(sample.image, predictor.signals, predictor.limits)

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
        """Return a game; it has computed nothing yet, unless it is `shared`.

        Args:
            baselines: what absent parts are replaced by.
            model: another network than the predictor's, whose games are never shared.
        """
        if model is None and baselines in self._games:
            return self._games[baselines]
        used = model or self._predictor.model
        game = NetworkGame(used, *self.signals(baselines), columns=self._predictor.columns, score=self._score)
        if model is None and self.shared:
            self._games[baselines] = game
        return game
