"""Options of `experiment`: planted evidence and whether explanations find it, and the paper's tables (sections 4, 5).

How the networks of the tables learn is a `Recipe` beside these, as for `train`: the preset, with what is given in place
of its parts.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from .checks import AT_ONCE, BELOW_1, FROM_0, FROM_1, FROM_2, Against, Allowed, Checked
from .training import LearningOptions


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
class PlantOptions(Checked):
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
    n_units: Annotated[int, FROM_0] = 0
    min_cue_prob: Annotated[float, BELOW_1] = 0.0
    n_backgrounds: ClassVar = 1500  # pictures without a face that are looked for, all splits together
    n_train: Annotated[int, FROM_1] = 6000
    n_validation: Annotated[int, FROM_1] = 400
    n_test: Annotated[int, FROM_1] = 800
    validation_speakers: tuple[str, ...] = ("15", "16")
    test_speakers: tuple[str, ...] = ("17", "18", "19", "20")
    image_test_split: Literal["auto", "test", "validation"] = "validation"
    seed: Annotated[int, FROM_0] = 0

    def _against(self) -> Against:
        units, (fewest, most) = self.units, self.cue_range
        two = len(self.faces) == len(self.voices) == 2
        yield from ((not getattr(self, name), f"Task {self.task!r} needs --{name}.") for name in self.needs)
        yield self.task == "pair" and not two, "Task 'pair' takes two --classes, and two --voice-classes or none."
        told = f"--cue-units are {fewest} {most}; allowed: 1 up to, not including, {units}."
        yield "speech" in self.needs and not 1 <= fewest <= most < units, told

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
class FaithfulnessOptions(Checked):
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
    n_samples: Annotated[int, FROM_0] = 60
    skip: Annotated[int, FROM_0] = 0
    n_checks: Annotated[int, FROM_0] = 20
    n_orders: Annotated[int, FROM_2] = 8
    n_samplings: Annotated[int, FROM_2] = 16
    explainers: tuple[str, ...] = ()
    score: Literal["probability", "log-odds"] = "probability"
    n_bootstrap: Annotated[int, FROM_2] = 1000
    threads: Annotated[int, AT_ONCE] = 0
    seed: Annotated[int, FROM_0] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesOptions(LearningOptions):
    """Folds, time and intervals: what every table asks, too.

    A table goes on where it was stopped; other options or other data in the same folder are refused.

    Attributes:
        out: folder of the results: JSON, tables and pictures.
        work: folder of the training runs, one a row (large; keep it out of version control); OUT/runs when left out.
        folds: number of folds; the data's own where they have as many, else dealt once for all rows, stratified and
            grouped.
        max_minutes: start no further fold after so many minutes; the same line goes on later. 0 sets no limit.
        n_bootstrap: rounds of the bootstrap behind every interval.
    """

    COMMON: ClassVar = (
        "data out work rows studies figure4 init_from with_dropout unlabelled folds max_minutes seed size preset "
        "weights accelerator workers threads epochs batch_size learning_rate"
    )

    work: str | None = None
    folds: Annotated[int, FROM_2] = 5
    max_minutes: Annotated[float, FROM_0] = 0.0
    n_bootstrap: Annotated[int, FROM_2] = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Table1Options(TablesOptions):
    """Reproduce the paper's Table 1 and Fig. 3 and 4: rows of the ablation studies on the same folds.

    Attributes:
        rows: keys of the rows to run, which happens in the order of the table; the six of the table when empty.
        studies: also run the studies that the text reports: each family of N2, additive fusion, ResNet at two rates.
        init_from: checkpoints to start from: each row takes over the branches that it has, too, with the same
            backbone, widths and input; teachers that made the labels are refused (section 5.4).
        figure4: examples of each class in the grid of Fig. 4, explained by the fold's network that never saw them; 0
            leaves the figure out.
    """

    rows: tuple[str, ...] = ()
    studies: bool = False
    init_from: tuple[str, ...] = ()
    figure4: Annotated[int, FROM_0] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table2Options(TablesOptions):
    """Reproduce the paper's Table 2: sentiment in three classes against human labels, beside the published methods.

    Attributes:
        rows: keys of the rows to run, which happens in the order of the table; all of them when empty.
        unlabelled: further tweets that nobody labelled, for cross-media learning: a folder that `build tweets` made, or
            a manifest with pictures and texts. Those that share a picture or the words with a labelled one are left
            out. Rows of --data without a sentiment are taken in any case.
        confident_part: part of the tweets of each class, as the text classifier sees it, that cross-media learning
            keeps: the most confident ones.
        fine_tune: what learns in the rows that start from ImageNet weights: `fc6` and the layers after it, or `all`.
    """

    rows: tuple[str, ...] = ()
    unlabelled: str | None = None
    confident_part: Annotated[float, Allowed("above 0, at most 1", lambda part: 0 < part <= 1)] = 0.5
    fine_tune: Literal["fc6", "all"] = "all"

    def _against(self) -> Against:
        told = "--weights imagenet goes with --size paper: narrow backbones, --size small, have no pretrained weights."
        yield self.size == "small" and self.weights == "imagenet", told


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalitiesOptions(TablesOptions):
    """Compare both modalities, speech alone and picture alone, each also with the other missing at test time.

    Attributes:
        init_from: checkpoints to start from, as for table1.
        with_dropout: also train `parallelnet` with this part of its samples missing a modality, in place of the
            recipe's; the row is not run when left out, and the table says so.
    """

    init_from: tuple[str, ...] = ()
    with_dropout: Annotated[float | None, BELOW_1] = None


@dataclass(frozen=True, slots=True)
class RenderOptions(Checked):
    """Rewrite the tables beside the committed results, and the pages about them, from their JSON alone.

    Attributes:
        results: folder of the results: NAME/table1.json, NAME/table2.json, NAME/modalities.json.
        out: folder of the pages.
        check: write nothing; exit with status 2 where a file is not what would be written.
        plots: also draw the plots again; `--check` leaves them out, for their bytes depend on matplotlib's version.
    """

    results: str = "results"
    out: str = "docs/results"
    check: bool = False
    plots: bool = False

    def _against(self) -> Against:
        yield self.check and self.plots, "--plots is True; allowed: without --check, which writes nothing."
