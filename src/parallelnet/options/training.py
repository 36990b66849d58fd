"""How networks learn, and what they learn from: options of `train` and `build pairs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import OptionError
from .checks import at_once, fraction, positive, require


@dataclass(frozen=True, slots=True)
class AugmentOptions:
    """Random changes to training samples; 0 or false switches one off.

    Attributes:
        speed: largest relative change of speed and pitch together, by resampling (0.1 is 10 percent either way).
        noise: probability of added white or pink noise, 5 to 30 dB below the speech.
        equaliser_db: largest gain or loss, in dB, of a random smooth filter over frequency.
        time_shift_s: largest shift of the speech in seconds; what leaves the window is lost.
        tempo: largest relative change of tempo alone, by stretching the log-mel over time.
        time_masks: SpecAugment masks over time, each up to 16 frames.
        mel_masks: SpecAugment masks over mel bands, each up to 12 bands.
        mel_warp: largest relative stretch of the mel axis (vocal tract length).
        flip: mirror pictures half of the time.
        rotate_deg: largest rotation of pictures in degrees (one standard deviation is half of it).
        scale: largest relative zoom of pictures, in and out.
        shift: largest shift of pictures, as a part of their size.
        tone: largest relative change of brightness and contrast.
        erase: probability that a rectangle of the picture is painted over.
        mixup: parameter of the Beta distribution that mixes two samples and their labels.
    """

    speed: float = 0.0
    noise: float = 0.0
    equaliser_db: float = 0.0
    time_shift_s: float = 0.0
    tempo: float = 0.0
    time_masks: int = 0
    mel_masks: int = 0
    mel_warp: float = 0.0
    flip: bool = False
    rotate_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    tone: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("speed", "noise", "tempo", "mel_warp", "scale", "shift", "tone", "erase"):
            require(0 <= getattr(self, name) <= 1, f"--{name.replace('_', '-')}", getattr(self, name), "0 to 1")
        for name in ("equaliser_db", "time_shift_s", "time_masks", "mel_masks", "rotate_deg", "mixup"):
            require(getattr(self, name) >= 0, f"--{name.replace('_', '-')}", getattr(self, name), "0 or more")

    @property
    def any(self) -> bool:
        """True when at least one augmentation is on."""
        return any(bool(getattr(self, name)) for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network learns; a preset is one such recipe, and each flag given replaces its part of it.

    Attributes:
        epochs: passes over the training part, at most.
        batch_size: samples a step (and device).
        samples_per_epoch: samples drawn for one pass; 0 takes all.
        optimizer: `adam`, `adamw` or `sgd` (Nesterov momentum 0.9).
        learning_rate: of the optimizer; the peak where the schedule is `one-cycle`.
        weight_decay: of the optimizer, on weights with two or more dimensions.
        schedule: `plateau` multiplies the rate by 0.1 when the validation loss stalls, `one-cycle` rises and falls
            once, `constant` does nothing.
        plateau_patience: epochs without a better validation loss before the rate falls.
        early_stopping: epochs without a better validation loss before training stops; 0 trains to the end.
        keep: which weights become the checkpoint: `best` by validation loss, or the `last`.
        focal_weight: weight of the categorical focal loss.
        cross_entropy_weight: weight of the cross-entropy.
        label_smoothing: probability taken from the true class and spread over all classes.
        class_weights: `balanced` weighs each class by the inverse of its count, `none` does not.
        modality_dropout: probability that a training sample loses one modality, speech or image alike.
        ema: decay of the running average of the weights that is validated and kept; 0 switches it off.
        clip_gradient: largest norm of the gradient; 0 does not limit it.
        auxiliary: manifest columns (say `sex`, `intensity`, `text`) that the embedding learns to tell, too; the heads
            that do so are thrown away after training.
        auxiliary_weight: weight of their mean cross-entropy.
        speech_versions: augmented versions kept of each utterance; 0 augments anew each time (slower).
        augment: random changes to training samples.
    """

    epochs: int = 30
    batch_size: int = 64
    samples_per_epoch: int = 0
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 8e-6
    weight_decay: float = 0.0
    schedule: Literal["plateau", "one-cycle", "constant"] = "plateau"
    plateau_patience: int = 2
    early_stopping: int = 5
    keep: Literal["best", "last"] = "best"
    focal_weight: float = 1.0
    cross_entropy_weight: float = 0.5
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    modality_dropout: float = 0.0
    ema: float = 0.0
    clip_gradient: float = 0.0
    auxiliary: tuple[str, ...] = ()
    auxiliary_weight: float = 0.2
    speech_versions: int = 0
    augment: AugmentOptions = AugmentOptions()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            positive(f"--{name.replace('_', '-')}", getattr(self, name))
        for name in (
            "samples_per_epoch",
            "weight_decay",
            "early_stopping",
            "plateau_patience",
            "clip_gradient",
            "auxiliary_weight",
            "speech_versions",
        ):
            require(getattr(self, name) >= 0, f"--{name.replace('_', '-')}", getattr(self, name), "0 or more")
        if self.auxiliary and self.augment.mixup:
            raise OptionError("--auxiliary cannot be given with --mixup, whose samples have no single value. Drop one.")
        for name in ("label_smoothing", "modality_dropout", "ema"):
            fraction(f"--{name.replace('_', '-')}", getattr(self, name))
        require(
            min(self.focal_weight, self.cross_entropy_weight) >= 0 < self.focal_weight + self.cross_entropy_weight,
            "--focal-weight and --cross-entropy-weight",
            (self.focal_weight, self.cross_entropy_weight),
            "0 or more, not both 0",
        )


PRESETS: dict[str, Recipe] = {
    # Paper section 4.2, to the letter.
    "paper": Recipe(),
    # Ours, for `compact` from random weights on two CPU cores: balanced cross-entropy, strong augmentation, one cycle.
    "compact": Recipe(
        epochs=30,
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=0.05,
        schedule="one-cycle",
        early_stopping=0,
        keep="last",
        focal_weight=0.0,
        cross_entropy_weight=1.0,
        label_smoothing=0.05,
        class_weights="balanced",
        modality_dropout=0.5,
        ema=0.998,
        speech_versions=16,
        augment=AugmentOptions(
            speed=0.15,
            noise=0.3,
            equaliser_db=3.0,
            time_shift_s=0.5,
            tempo=0.1,
            time_masks=1,
            mel_masks=2,
            mel_warp=0.06,
            flip=True,
            rotate_deg=15.0,
            scale=0.17,
            shift=0.1,
            tone=0.3,
            erase=0.3,
            mixup=0.2,
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Train a variant on a manifest or corpus and write a checkpoint.

    Attributes:
        data: manifest, folder with manifest.csv, or CORPUS:PATH.
        out: run folder; holds options, logs, plots, metrics and the checkpoint (one folder a fold with --folds).
        variant: row of the paper's tables; see `parallelnet list variants`.
        preset: recipe to start from: `paper` (section 4.2) or `compact`; other flags replace its parts.
        target_column: what is learnt: `label` (emotion) or `sentiment`.
        classes: classes in index order; those of the training part when empty.
        folds: number of cross-validation folds; 0 uses the manifest's split, or 70 / 30 where it has none.
        seed: of everything random.
        resume: go on where a stopped run in --out left off.
        weights: starting weights of the backbones: `imagenet` (downloaded once by torchvision) or `none`.
        size: `paper` builds the variant as it is, `small` its counterpart for two CPU cores: narrow backbones, 32 x 32
            inputs, dense layers an eighth as wide.
        backbone: replaces the variant's backbones for both modalities; see `parallelnet list backbones`.
        speech_backbone: the same for speech only.
        image_backbone: the same for pictures only.
        init_from: checkpoints whose matching parts are taken over before training, in this order.
        freeze: parts that do not learn: `backbones`, `branches` (all but the heads), or `none`.
        clip_s: length of one speech window in seconds.
        trim: cut silence from both ends of the speech.
        face: `auto` crops the largest frontal face of each picture, `off` uses it whole.
        accelerator: where to train, as Lightning names it: `cpu`, `gpu`, `mps`, `auto`.
        devices: number of devices.
        nodes: number of machines.
        workers: processes that load data; 0 loads in the training process and keeps decoded signals.
        threads: CPU threads of torch; 0 leaves torch's choice.
        export: write the ONNX graphs; without them a checkpoint runs on torch, until `parallelnet export`.
        int8: also write quantised graphs.
        card_notes: Markdown file put into the model card: terms, intended use, limits, bias.
    """

    data: str
    out: str
    variant: str = "compact"
    preset: Literal["paper", "compact"] = "compact"
    target_column: Literal["label", "sentiment"] = "label"
    classes: tuple[str, ...] = ()
    folds: int = 0
    seed: int = 0
    resume: bool = False
    weights: Literal["imagenet", "none"] = "none"
    size: Literal["paper", "small"] = "paper"
    backbone: str | None = None
    speech_backbone: str | None = None
    image_backbone: str | None = None
    init_from: tuple[str, ...] = ()
    freeze: Literal["none", "backbones", "branches"] = "none"
    clip_s: float = 4.096
    trim: bool = False
    face: Literal["auto", "off"] = "off"
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    workers: int = 0
    threads: int = 0
    export: bool = True
    int8: bool = False
    card_notes: str | None = None

    def __post_init__(self) -> None:
        require(self.preset in PRESETS, "--preset", self.preset, ", ".join(PRESETS))
        require(self.folds == 0 or self.folds >= 2, "--folds", self.folds, "0, or 2 and more")
        require(self.seed >= 0, "--seed", self.seed, "0 or more")
        at_once("--workers", self.workers)
        at_once("--threads", self.threads)
        require(self.devices >= 1 and self.nodes >= 1, "--devices and --nodes", (self.devices, self.nodes), "1 or more")
        if self.int8 and not self.export:
            raise OptionError("--int8 names ONNX graphs, but --no-export writes none. Leave out one of the two.")


@dataclass(frozen=True, slots=True)
class PairsOptions:
    """How utterances and pictures of the same class become pairs.

    Attributes:
        speech: where the utterances are: CORPUS:PATH or a manifest.
        image: where the pictures are: CORPUS:PATH or a manifest.
        out: folder to make, with manifest.csv, speech and image inside.
        classes: the classes to use; empty uses every class that either side has.
        folds: number of folds to deal speakers and pictures to; 0 makes train, validation and test instead.
        per_class: pairs of each class in the training split, or in each fold; without it as many as the larger of
            utterances and pictures of that class there, at most 20,000.
        per_class_eval: pairs of each class in validation and in test; without it as many as the larger.
        seed: of dealing and pairing.
        link: `symlink` links to the corpora, which must stay where they are; `copy` makes DIR whole in itself.
        validation_speakers: speakers of the validation split, as the corpus names them, or their numbers.
        test_speakers: speakers of the test split.
        image_validation: part of the training pictures that becomes the validation split, where the picture corpus
            has none or its own is the test split.
        image_test_split: which split of the picture corpus is the test split; `auto` is its test split, or its
            validation split where it has no other, and the report says so.
        validation_fraction: size of the validation split where neither speakers nor the corpus give one.
        test_fraction: size of the test split where neither speakers nor the corpus give one.
        overwrite: replace another build in DIR.
    """

    speech: str
    image: str
    out: str
    classes: tuple[str, ...] = ()
    folds: int = 0
    per_class: int | None = None
    per_class_eval: int | None = None
    seed: int = 0
    link: Literal["symlink", "copy"] = "symlink"
    validation_speakers: tuple[str, ...] = ()
    test_speakers: tuple[str, ...] = ()
    image_validation: float = 0.1
    image_test_split: Literal["auto", "test", "validation"] = "auto"
    validation_fraction: float = 0.1
    test_fraction: float = 0.2
    overwrite: bool = False

    def __post_init__(self) -> None:
        require(self.folds == 0 or self.folds >= 2, "--folds", self.folds, "0, or 2 and more")
        positive("--per-class", self.per_class)
        positive("--per-class-eval", self.per_class_eval)
        require(self.seed >= 0, "--seed", self.seed, "0 or more")
        require(self.link in ("symlink", "copy"), "--link", self.link, "symlink, copy")
        require(
            self.image_test_split in ("auto", "test", "validation"),
            "--image-test-split",
            self.image_test_split,
            "auto, test, validation",
        )
        for name in ("image_validation", "validation_fraction", "test_fraction"):
            value = getattr(self, name)
            require(0 < value <= 1 / 3, f"--{name.replace('_', '-')}", value, "above 0 and at most 1/3")
        if self.folds and (self.validation_speakers or self.test_speakers):
            raise OptionError(
                "--folds deals all speakers, so --validation-speakers and --test-speakers cannot be given with it. "
                "Mend: leave out one of the two."
            )
