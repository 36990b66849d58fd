"""How networks learn: recipes, what `train` and the experiments share, and `train` itself."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal

from .checks import ABOVE_0, AT_ONCE, BELOW_1, FOLDS, FROM_0, FROM_1, Against, Checked, between
from .running import SignalOptions

PART = between(0, 1)


@dataclass(frozen=True, slots=True)
class AugmentOptions(Checked):
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

    speed: Annotated[float, PART] = 0.0
    noise: Annotated[float, PART] = 0.0
    equaliser_db: Annotated[float, FROM_0] = 0.0
    time_shift_s: Annotated[float, FROM_0] = 0.0
    tempo: Annotated[float, PART] = 0.0
    time_masks: Annotated[int, FROM_0] = 0
    mel_masks: Annotated[int, FROM_0] = 0
    mel_warp: Annotated[float, PART] = 0.0
    flip: bool = False
    rotate_deg: Annotated[float, FROM_0] = 0.0
    scale: Annotated[float, PART] = 0.0
    shift: Annotated[float, PART] = 0.0
    tone: Annotated[float, PART] = 0.0
    erase: Annotated[float, PART] = 0.0
    mixup: Annotated[float, FROM_0] = 0.0

    @property
    def any(self) -> bool:
        """True when at least one augmentation is on."""
        return any(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Recipe(Checked):
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

    epochs: Annotated[int, ABOVE_0] = 30
    batch_size: Annotated[int, ABOVE_0] = 64
    samples_per_epoch: Annotated[int, FROM_0] = 0
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, ABOVE_0] = 8e-6
    weight_decay: Annotated[float, FROM_0] = 0.0
    schedule: Literal["plateau", "one-cycle", "constant"] = "plateau"
    plateau_patience: Annotated[int, FROM_0] = 2
    early_stopping: Annotated[int, FROM_0] = 5
    keep: Literal["best", "last"] = "best"
    focal_weight: Annotated[float, FROM_0] = 1.0
    cross_entropy_weight: Annotated[float, FROM_0] = 0.5
    label_smoothing: Annotated[float, BELOW_1] = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    modality_dropout: Annotated[float, BELOW_1] = 0.0
    ema: Annotated[float, BELOW_1] = 0.0
    clip_gradient: Annotated[float, FROM_0] = 0.0
    auxiliary: tuple[str, ...] = ()
    auxiliary_weight: Annotated[float, FROM_0] = 0.2
    speech_versions: Annotated[int, FROM_0] = 0
    augment: AugmentOptions = AugmentOptions()

    def _against(self) -> Against:
        weights = (self.focal_weight, self.cross_entropy_weight)
        mixed = "--auxiliary cannot be given with --mixup, whose samples have no single value. Drop one."
        yield self.auxiliary and self.augment.mixup, mixed
        yield (
            not any(weights),
            f"--focal-weight and --cross-entropy-weight is {weights}; allowed: 0 or more, not both 0.",
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


def recipe(preset: str, given: Mapping[str, Any]) -> Recipe:
    """Return a preset with the parts that were given, by name, in place of its own."""
    chosen, kinds = PRESETS[preset], (AugmentOptions, Recipe)
    augment, learning = ({f.name: given[f.name] for f in fields(kind) if f.name in given} for kind in kinds)
    return replace(chosen, **learning, augment=replace(chosen.augment, **augment))


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningOptions(SignalOptions):
    """Data, size of the networks and machine: what `train` and the experiments share.

    Attributes:
        data: manifest, folder with manifest.csv or made by `build`, or CORPUS:PATH.
        out: folder of the results.
        seed: of everything random.
        size: `paper` builds the variant as it is, `small` its counterpart for two CPU cores: narrow backbones, 32 x 32
            inputs, dense layers an eighth as wide.
        preset: recipe to start from: `paper` (section 4.2) or `compact`; other flags replace its parts.
        weights: starting weights of the backbones: `imagenet` (downloaded once by torchvision) or `none`.
        accelerator: where to train, as Lightning names it: `cpu`, `gpu`, `mps`, `auto`.
        devices: number of devices.
        workers: processes that load data; 0 loads in the training process and keeps decoded signals.
        threads: CPU threads of torch; 0 leaves torch's choice.
    """

    data: str
    out: str
    seed: Annotated[int, FROM_0] = 0
    size: Literal["paper", "small"] = "paper"
    preset: Literal["paper", "compact"] = "paper"
    weights: Literal["imagenet", "none"] = "none"
    accelerator: str = "auto"
    devices: Annotated[int, FROM_1] = 1
    workers: Annotated[int, AT_ONCE] = 0
    threads: Annotated[int, AT_ONCE] = 0

    @property
    def signals(self) -> SignalOptions:
        """How files become tensors."""
        return SignalOptions(self.clip_s, self.trim, self.face)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions(LearningOptions):
    """Train a variant on a manifest or corpus and write a checkpoint.

    Attributes:
        out: run folder; holds options, logs, plots, metrics and the checkpoint (one folder a fold with --folds).
        variant: row of the paper's tables; see `parallelnet list variants`.
        target_column: what is learnt: `label` (emotion) or `sentiment`.
        classes: classes in index order; those of the training part when empty.
        folds: number of cross-validation folds; 0 uses the manifest's split, or 70 / 30 where it has none.
        resume: go on where a stopped run in --out left off.
        backbone: replaces the variant's backbones for both modalities; see `parallelnet list backbones`.
        speech_backbone: the same for speech only.
        image_backbone: the same for pictures only.
        init_from: checkpoints whose matching parts are taken over before training, in this order.
        freeze: parts that do not learn: `backbones`, `branches` (all but the heads), or `none`.
        export: write the ONNX graphs; without them a checkpoint runs on torch, until `parallelnet export`.
        int8: also write quantised graphs.
        card_notes: Markdown file put into the model card: terms, intended use, limits, bias.
    """

    COMMON: ClassVar = (
        "data out variant target_column classes folds resume init_from seed size preset weights accelerator workers "
        "epochs batch_size learning_rate keep"
    )

    variant: str = "compact"
    preset: Literal["paper", "compact"] = "compact"
    target_column: Literal["label", "sentiment"] = "label"
    classes: tuple[str, ...] = ()
    folds: Annotated[int, FOLDS] = 0
    resume: bool = False
    backbone: str | None = None
    speech_backbone: str | None = None
    image_backbone: str | None = None
    init_from: tuple[str, ...] = ()
    freeze: Literal["none", "backbones", "branches"] = "none"
    export: bool = True
    int8: bool = False
    card_notes: str | None = None

    def _against(self) -> Against:
        told = "--int8 names ONNX graphs, but --no-export writes none. Leave out one of the two."
        yield self.int8 and not self.export, told
