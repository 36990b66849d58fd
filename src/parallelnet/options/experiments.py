"""Options of `experiment`: material with planted evidence, and whether explanations find it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import OptionError


@dataclass(frozen=True, slots=True)
class PlantTask:
    """What a material looks like.

    Attributes:
        classes: emotions that are planted.
        n_units: equal units of the 4.096 s clip; 0: no speech.
        cue_units: fewest and most units that a voice's cue covers.
        grid: rows and columns of the picture; (0, 0): no picture.
    """

    classes: tuple[str, ...]
    n_units: int = 0
    cue_units: tuple[int, int] = (0, 0)
    grid: tuple[int, int] = (0, 0)


PLANT_TASKS: dict[str, PlantTask] = {
    "speech": PlantTask(("anger", "happy", "hate", "sad"), n_units=16, cue_units=(2, 4)),
    "image": PlantTask(("anger", "happy", "hate", "sad"), grid=(4, 4)),
    "pair": PlantTask(("anger", "happy"), n_units=8, cue_units=(1, 1), grid=(2, 4)),
}


@dataclass(frozen=True, slots=True)
class PlantOptions:
    """Make material with planted evidence: clips and pictures whose one telling part is known.

    Attributes:
        task: `speech` (an emotional part in neutral speech), `image` (a face in a picture) or `pair` (both; only
            together they tell).
        out: folder to make, with manifest.csv, speech and image inside.
        speech: where the utterances are: a speech corpus with neutral speech, CORPUS:PATH.
        image: where the faces are: CORPUS:PATH or a manifest.
        backgrounds: where pictures without faces are: CORPUS:PATH or a manifest.
        classes: emotions to plant; the task's own when empty. `pair` takes two.
        voice_classes: for `pair`, the two emotions of the voice where they are not those of the face.
        cue_units: fewest and most speech units that a cue covers; the task's own when empty.
        n_units: equal units of the clip; the task's own when 0.
        min_cue_prob: plant only utterances and faces to whose true class the bundled model gives at least this
            probability, as they come from the corpus; 0 plants all.
        n_backgrounds: pictures without a face to look for; all splits together.
        n_train: samples of the training split.
        n_validation: samples of the validation split.
        n_test: samples of the test split.
        validation_speakers: speakers of the validation split, as the corpus names them, or their numbers.
        test_speakers: speakers of the test split.
        image_test_split: split of the face corpus that is the test split.
        seed: of everything random.
    """

    task: Literal["speech", "image", "pair"] = field(metadata={"positional": True})
    out: str
    speech: str = ""
    image: str = ""
    backgrounds: str = ""
    classes: tuple[str, ...] = ()
    voice_classes: tuple[str, ...] = ()
    cue_units: tuple[int, ...] = ()
    n_units: int = 0
    min_cue_prob: float = 0.0
    n_backgrounds: int = 1500
    n_train: int = 6000
    n_validation: int = 400
    n_test: int = 800
    validation_speakers: tuple[str, ...] = ("15", "16")
    test_speakers: tuple[str, ...] = ("17", "18", "19", "20")
    image_test_split: Literal["auto", "test", "validation"] = "validation"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in PLANT_TASKS:
            raise OptionError(f"TASK is {self.task!r}; allowed: {', '.join(PLANT_TASKS)}.")
        for name in self.needs:
            if not getattr(self, name):
                raise OptionError(f"Task {self.task!r} needs --{name}.")
        if not 0 <= self.min_cue_prob < 1:
            raise OptionError(f"--min-cue-prob is {self.min_cue_prob!r}; allowed: 0 up to, not including, 1.")
        if min(self.n_train, self.n_validation, self.n_test) < 1 or self.n_units < 0 or self.seed < 0:
            raise OptionError("--n-train, --n-validation and --n-test are 1 or more, --n-units and --seed 0 or more.")
        if self.task == "pair" and not (len(self.faces) == len(self.voices) == 2):
            raise OptionError("Task 'pair' takes two --classes, and two --voice-classes or none.")
        units, (fewest, most) = self.units, self.cue_range
        if "speech" in self.needs and not 1 <= fewest <= most < units:
            raise OptionError(f"--cue-units are {fewest} {most}; allowed: 1 up to, not including, {units}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Which sources the task takes."""
        pictures = ("image", "backgrounds")
        return {"speech": ("speech",), "image": pictures, "pair": ("speech", *pictures)}[self.task]

    @property
    def faces(self) -> tuple[str, ...]:
        """Emotions of faces (of the voice where there are none)."""
        return self.classes or PLANT_TASKS[self.task].classes

    @property
    def voices(self) -> tuple[str, ...]:
        """Emotions of voices."""
        return self.voice_classes or self.faces

    @property
    def units(self) -> int:
        """Equal units of the clip."""
        return self.n_units or PLANT_TASKS[self.task].n_units

    @property
    def cue_range(self) -> tuple[int, int]:
        """Fewest and most units of a cue."""
        given = self.cue_units or PLANT_TASKS[self.task].cue_units
        return given[0], given[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaithfulnessOptions:
    """Measure whether explanations find planted evidence; ours beside those of shap, shapiq and captum.

    Attributes:
        data: planted material: a folder with plant.json and manifest.csv.
        checkpoint: model that was trained on it.
        out: folder of the results: TASK.json, and table.md of all tasks there.
        split: part of the material that is measured; `validation` for trying things out.
        n_samples: samples with a cue that are explained, drawn at random; 0 takes all.
        skip: samples that are drawn first and left out, for a question that was thought of while looking at them.
        n_checks: how many of them also get curves, other baselines and random weights, which costs most; passes and
            seconds are theirs, for elsewhere explainers share what is computed.
        n_orders: random orders beside each curve.
        n_samplings: pairs of random orders of `sampled`.
        explainers: which ones; all that the task allows when empty.
        score: what is explained: the `probability` of the class that was planted, or its `log-odds`.
        n_bootstrap: rounds of the bootstrap.
        threads: CPU threads of the network; 0 leaves the choice to the library.
        seed: of everything random.
    """

    data: str
    checkpoint: str
    out: str
    split: Literal["test", "validation"] = "test"
    n_samples: int = 60
    skip: int = 0
    n_checks: int = 20
    n_orders: int = 8
    n_samplings: int = 16
    explainers: tuple[str, ...] = ()
    score: Literal["probability", "log-odds"] = "probability"
    n_bootstrap: int = 1000
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_samples", "skip", "n_checks", "seed", "threads"):
            if getattr(self, name) < 0:
                raise OptionError(f"--{name.replace('_', '-')} is {getattr(self, name)!r}; allowed: 0 or more.")
        if min(self.n_orders, self.n_samplings, self.n_bootstrap) < 2:
            raise OptionError("--n-orders, --n-samplings and --n-bootstrap are 2 or more.")
