"""The rows of the paper's Table 1 and its studies, as data, and what each is made of: samples, folds, initial weights.

A row says what is trained (or which method answers) and what the paper prints; how networks are trained is the same for
all of a table, but for a row whose question is the recipe itself.

What can be said before anything is trained is said here: missing labels, folds without a class, starting checkpoints
that fit no row. Who starts from a teacher that made the labels would be rewarded for being like it, "they will get a
100 % accuracy" (paper section 5.4): no row may take over a teacher's weights.
"""

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from parallelnet import checkpoint
from parallelnet.data import splits
from parallelnet.data.built import is_built, read_report
from parallelnet.data.dataset import fingerprint, open_data
from parallelnet.datasets.teachers import files_sha256
from parallelnet.errors import CheckpointError, ManifestError, OptionError, unknown
from parallelnet.models.variants import BranchOptions, NetworkOptions, network_options
from parallelnet.options import Recipe, TablesOptions, TrainOptions
from parallelnet.training.parts import Parts, class_list, deal_parts, usable
from parallelnet.types import Sample

log = logging.getLogger(__name__)

# What a reader must know of data that `build tweets` made: source, teachers, rule, engine.
BUILT = (
    *("fingerprint", "input", "labels", "rule", "threshold", "teachers", "teacher_agreement", "tts"),
    *("n_read", "n_kept"),
)

# How far the low and the high rate of section 5.4 lie from the table's own. The paper names neither; a step of ten is
# what its own ReduceLROnPlateau takes.
RATE_STEP = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        key: names the row in the JSON, in `--rows`, and its folder of runs.
        title: names it in the table.
        variant: entry of `models.variants.VARIANTS` that is trained; "" where a method answers.
        source: where the paper speaks of it, or who published the method.
        printed: the paper's accuracy in percent.
        rate_factor: of the recipe's learning rate.
        dropped: part of the samples that lack a modality in training; None leaves the recipe's.
        method: what answers in place of a trained variant: from a `study.FoldTask` to probabilities of its test part,
            [n, n_classes], and what was chosen, counted and spent, ready for JSON.
        uses: what of a sample a method gets when it is tested: words, speech, picture.
        start: the weights that a method's picture network starts from.
        depends: options that a method's answers depend on, beside those of the whole table.
    """

    key: str
    title: str
    variant: str
    source: str
    printed: float | None = None
    rate_factor: float = 1.0
    dropped: float | None = None
    method: Callable[[Any], Any] | None = None
    uses: tuple[str, ...] = ()
    start: Literal["none", "imagenet"] = "none"
    depends: tuple[str, ...] = ()

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Those, and what learns where it starts from ImageNet weights."""
        return self.depends if self.start == "none" else (*self.depends, "fine_tune")

    def recipe(self, table: Recipe) -> Recipe:
        """Return how this row learns: as the table's other rows, but for its own rate and dropout."""
        dropout = table.modality_dropout if self.dropped is None else self.dropped
        return replace(table, learning_rate=table.learning_rate * self.rate_factor, modality_dropout=dropout)


def index(*rows: Row) -> dict[str, Row]:
    """Return the rows by key."""
    return {row.key: row for row in rows}


# The six rows that the paper prints, in its order. Baselines 1 to 3 are the study of configurations 1 to 3, too.
TABLE1: dict[str, Row] = index(
    Row("ser-only", "SER only", "ser-only", "Table 1; section 4.3.1", 60.17),
    Row("ier-only", "IER only", "ier-only", "Table 1; section 4.3.1", 66.93),
    Row("baseline-1", "Baseline 1: criss-cross before and after N2", "baseline-1", "Table 1; section 4.3.2", 63.93),
    Row("baseline-2", "Baseline 2: criss-cross before N2", "baseline-2", "Table 1; section 4.3.2", 61.81),
    Row("baseline-3", "Baseline 3: criss-cross after N2", "baseline-3", "Table 1; section 4.3.2", 67.70),
    Row("parallelnet", "Proposed (ParallelNet)", "parallelnet", "Table 1; section 3.2", 83.29),
)

_N2 = "section 4.3.2, choices for N2"
_FAMILIES = {"vgg16": "VGG-16", "vgg19": "VGG-19", "resnet34": "ResNet-34", "resnet50": "ResNet-50"}
_FAMILIES |= {"resnet101": "ResNet-101", "inception3a": "Inception 3a", "inception4a": "Inception 4a"}
_FAMILIES |= {"mobilenet": "MobileNet", "densenet": "DenseNet"}
_RATES = "section 5.4, ResNet"

# What the text reports without figures: families of N2, the fusion, the rate of ResNet (the smallest it names).
STUDIES: dict[str, Row] = index(
    Row("additive", "F_i and F_s added, not multiplied", "parallelnet-additive", "section 3.2.1"),
    *(Row(f"parallelnet-{name}", f"N2: {title}", f"parallelnet-{name}", _N2) for name, title in _FAMILIES.items()),
    Row("resnet34-low-rate", "N2: ResNet-34, low rate", "parallelnet-resnet34", _RATES, rate_factor=1 / RATE_STEP),
    Row("resnet34-high-rate", "N2: ResNet-34, high rate", "parallelnet-resnet34", _RATES, rate_factor=RATE_STEP),
)

ROWS: dict[str, Row] = TABLE1 | STUDIES

# Differences (first minus second) that the text claims beside those of `parallelnet` and every other row: that
# configuration 3 is the best of three, and that pictures alone do better than speech alone.
PAIRS_OF_INTEREST: tuple[tuple[str, str], ...] = (
    ("baseline-3", "baseline-1"),
    ("baseline-3", "baseline-2"),
    ("ier-only", "ser-only"),
)


def chosen(keys: Sequence[str], rows: Mapping[str, Row], otherwise: Mapping[str, Row]) -> tuple[Row, ...]:
    """Return the named rows in the order of the table, or `otherwise` where none is named.

    Raises:
        OptionError: no such row, or one that stands there twice.
    """
    for key in keys:
        if key not in rows:
            raise unknown("row", key, rows, "--rows")
    _once(keys, "--rows", "row")
    return tuple(row for row in rows.values() if row.key in (keys or otherwise))


def _once(names: Sequence[str], flag: str, kind: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"{flag} names {name!r} twice; allowed: each {kind} once.")


@dataclass(frozen=True, slots=True)
class Material:
    """The samples that every row learns from and is judged on.

    Attributes:
        name: the data's name, without its place.
        samples: with a label, speech and picture.
        labels: class of each sample id.
        classes: in index order.
        parts: for each fold who learns, who stops and calibrates, and who is reported on.
        components: for each sample id the set that shares speaker or picture, drawn whole by bootstraps.
        fingerprint: of the samples, sha256.
        n_left_out: samples of the data without a label.
        built: the `dataset.json` of what `build tweets` made; None for other data.
    """

    name: str
    samples: tuple[Sample, ...]
    labels: dict[str, str]
    classes: tuple[str, ...]
    parts: tuple[Parts, ...]
    components: dict[str, str]
    fingerprint: str
    n_left_out: int
    built: Mapping[str, Any] | None = None

    def describe(self, built: Sequence[str] = BUILT, **more: Any) -> dict[str, Any]:
        """Return what a result says of its data: name, fingerprint, counts, `more`, and names of its `dataset.json`."""
        counts = Counter(self.labels.values())
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "n": len(self.samples),
            "n_left_out": self.n_left_out,
            "n_components": len(set(self.components.values())),
            "counts": {name: counts[name] for name in self.classes},
            "folds": [
                {name: len(getattr(part, name)) for name in ("train", "validation", "test")} for part in self.parts
            ],
            **more,
            "built": {name: self.built[name] for name in built if name in self.built} if self.built else None,
        }


def train_options(options: TablesOptions, target_column: str, **given: Any) -> TrainOptions:
    """Return what `train` is asked for: all that a table and a training have in common, and what is `given`."""
    asked = {field.name for field in fields(TablesOptions)} & {field.name for field in fields(TrainOptions)} - {"out"}
    shared = {name: getattr(options, name) for name in asked}
    return TrainOptions(**shared, target_column=target_column, **{"out": "", "variant": "parallelnet", **given})  # type: ignore[arg-type]


def prepare(options: TablesOptions, *, target_column: str = "label") -> Material:
    """Open the data, deal the folds and check that every row can be trained and judged on each of them.

    Raises:
        ManifestError: no such data, labels or modality missing, too few groups, a fold or a part without a class.
        OptionError: a start from a teacher that made the labels.
        CheckpointError: a starting checkpoint cannot be opened.
    """
    built = asdict(read_report(Path(options.data))) if is_built(options.data) else None
    refuse_teachers(getattr(options, "init_from", ()), built)
    every = open_data(options.data)
    if not any(getattr(s, target_column) for s in every):
        said, n = f"{options.data} has no sample with a {target_column}", sum(bool(s.sentiment) for s in every)
        if target_column == "label" and n:
            raise ManifestError(
                f"{said}, but {n} with a sentiment. Mend: parallelnet experiment table2, which is about sentiments, or "
                "data with emotions (build tweets --labels emotion)."
            )
        raise ManifestError(
            f"{said}. Mend: data with one; a manifest holds it in the column {target_column!r}. See --data."
        )
    asked = train_options(options, target_column)
    both = NetworkOptions(BranchOptions("compact-speech"), BranchOptions("compact-image"))
    samples, labels = usable(every, asked, both)
    lacking = [s for s in samples if s.speech is None or s.image is None]
    if lacking:
        raise ManifestError(
            f"{options.data}: {len(lacking)} of {len(samples)} samples have no speech or no picture, the first is "
            f"{lacking[0].id!r}. All rows of a table are judged on the same samples. Mend: leave them out."
        )
    sets = [str(number) for number in splits.components(samples)]
    parts = _dealt(samples, asked, len(set(sets)))
    classes = class_list(list(labels.values()), ())
    if len(classes) < 2:
        raise ManifestError(
            f"{options.data} has one class only: {classes[0]!r}. A table needs two at least. See --data."
        )
    for (fold, part), where in itertools.product(enumerate(parts), ("test", "train", "validation")):
        missing = [name for name in classes if name not in {labels[s.id] for s in getattr(part, where)}]
        if missing:
            raise ManifestError(
                f"{options.data}: fold {fold}, {where} part has no sample of class {missing[0]!r}, of which there are "
                f"{[*labels.values()].count(missing[0])} in all. Mend: more samples of it, fewer --folds, or other "
                "folds in the manifest."
            )
    return Material(
        name=Path(options.data.partition(":")[2] or options.data).name,
        samples=samples,
        labels=labels,
        classes=classes,
        parts=parts,
        components=dict(zip((s.id for s in samples), sets, strict=True)),
        fingerprint=fingerprint(samples),
        n_left_out=len(every) - len(samples),
        built=built,
    )


def _dealt(samples: tuple[Sample, ...], asked: TrainOptions, n_sets: int) -> tuple[Parts, ...]:
    """Return the parts of each fold; where that cannot be, say it of --folds and the data.

    What `data.splits` says is of one training part and of tenths, which nobody who asks for a table has named.
    """
    try:
        return deal_parts(samples, asked)
    except ManifestError as error:
        if {s.fold for s in samples} not in ({None}, set(range(asked.folds))):  # other folds of its own: said well
            raise
        n_rarest, rarest = min(
            (n, name) for name, n in Counter(getattr(s, asked.target_column) for s in samples).items()
        )
        few = "few, or too unequal," if n_sets < len(samples) else "few"
        raise ManifestError(
            f"{asked.data} is too small for --folds {asked.folds}: its {len(samples)} samples fall into {n_sets} "
            f"sets that share no speaker and no picture, the rarest class, {rarest!r}, has {n_rarest}; too {few} "
            "for every fold to hold each class in its test part and in the validation part that is cut from the rest. "
            "Mend: fewer --folds, or more samples in more sets (see --data)."
        ) from error


def starts_of(rows: Sequence[Row], init_from: Sequence[str], options: TablesOptions) -> Mapping[str, tuple[str, ...]]:
    """Return by row the checkpoints that it starts from: those with a branch of its kind, backbone and widths alike.

    A row without any starts from random weights: what was learnt by the eyes of one family says nothing to ears, nor to
    another family, even where single layers have the same shape.

    Raises:
        OptionError: a checkpoint fits no row of Table 1 or its studies, or stands there twice.
        CheckpointError: a checkpoint cannot be read.
    """
    if not init_from:
        return {}
    _once(init_from, "--init-from", "checkpoint")
    # All rows: a part of a table, or the study of modalities, has the same --init-from as the whole.
    networks = {row.key: network_options(row.variant, size=options.size) for row in (*ROWS.values(), *rows)}
    found: dict[str, tuple[str, ...]] = dict.fromkeys(networks, ())
    for name in init_from:
        source = NetworkOptions.from_dict(checkpoint.opened(name, "--init-from").facts.network)
        branches = {name: getattr(source, name) for name in source.modalities}
        fitting = {
            key
            for key, network in networks.items()
            if network.embed_dim == source.embed_dim
            and any(getattr(network, name) == branch for name, branch in branches.items())
        }
        if not fitting:
            said = " and ".join(f"{branch.backbone} for {name}" for name, branch in branches.items())
            raise OptionError(
                f"--init-from {name}: its network ({said}, {source.embed_dim} wide) shares no branch with any row at "
                f"--size {options.size}. Mend: a checkpoint that `parallelnet train --size {options.size}` made of a "
                "variant with the rows' backbones."
            )
        if not fitting & {row.key for row in rows}:
            log.warning("--init-from %s: none of the rows that were asked for takes anything from it", name)
        found |= {key: (*found[key], name) for key in fitting}
    return found


def published(options: TablesOptions, *private: str) -> dict[str, Any]:
    """Return the options as a result has them: no place of one machine, starting checkpoints by their own names."""
    found = {name: value for name, value in asdict(options).items() if name not in ("data", "out", "work", *private)}
    if "init_from" in found:
        found["init_from"] = [checkpoint.opened(each, "--init-from").facts.name for each in found["init_from"]]
    return found


def identity(source: str) -> str:
    """Return name and weights of a starting checkpoint: what a folder holds may have changed since a row began."""
    opened = checkpoint.opened(source, "--init-from")
    if not opened.weights.is_file():
        raise CheckpointError(f"--init-from {source} has no {opened.weights.name} to start from.")
    with opened.weights.open("rb") as stream:
        return f"{opened.facts.name} (weights {hashlib.file_digest(stream, 'sha256').hexdigest()[:12]})"


def refuse_teachers(sources: Sequence[str], built: Mapping[str, Any] | None) -> None:
    """Refuse checkpoints that made the labels of the data, or that share weights with those.

    Checkpoints share weights when their files are the same, when one was trained from the other, or both from a third
    one: the bundled teachers have the ears and eyes of the bundled `compact`.

    Args:
        sources: checkpoints to start from.
        built: the data's `dataset.json`; None: data whose labels no teacher made.

    Raises:
        OptionError: names the first such checkpoint and the teacher.
        CheckpointError: a source cannot be opened.
    """
    if built is None or built["labels"] == "sentiment":
        return
    names_of = {path.resolve(): name for name, path in checkpoint.bundled().items()}
    for source in sources:
        opened = checkpoint.opened(source, "--init-from")
        kin = {opened.facts.name, *opened.facts.training.get("started_from", ())}
        kin.add(names_of.get(opened.path.resolve(), opened.facts.name))
        # A checkpoint of `train --no-export` has no graphs, so it is no copy of a teacher, which has: its kin decides.
        graphs = [name for name in opened.facts.graphs if (opened.path / name).is_file()]
        digest = files_sha256(opened.path, (checkpoint.MODEL_JSON, *graphs))
        for modality, teacher in built["teachers"].items():
            if kin & {teacher["name"], *teacher.get("started_from", ())} or digest == teacher.get("sha256"):
                raise OptionError(
                    f"--init-from {source} is, or shares weights with, the {modality} teacher {teacher['name']!r}, "
                    "which made the labels of this data: it would be judged by its own opinion (paper section 5.4). "
                    "Mend: leave it out, or name a checkpoint that learnt from other data."
                )
