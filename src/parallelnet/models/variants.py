"""The rows of the paper's studies, and the backbones that there are, as facts, without torch.

A variant is one `NetworkOptions` and a sentence. `network.build` turns any `NetworkOptions` into a network and never
learns the variant's name, so that a new row is one entry in `VARIANTS`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from ..errors import CheckpointError, OptionError, unknown
from ..options.checks import BELOW_1, Against, Allowed, Checked

Weights = Literal["none", "imagenet"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# torchvision's Inception weights come from TensorFlow and want [-1, 1]; its `transform_input` does the same.
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Backbone:
    """Facts about one backbone.

    Attributes:
        summary: one line for `parallelnet list backbones`.
        origin: `torchvision`, `timm` or `parallelnet`.
        model: the name there.
        channels: channels of the feature map; 0 where it is found out by building it.
        stride: input pixels per pixel of the feature map; 0 where it is found out.
        cut: last stage that is kept; "" keeps all before the pooling and the classifier.
        weights: name of the pretrained weights; "" where there are none.
        mean: of each channel, subtracted from the input.
        std: of each channel, which the difference is divided by.
        relu: a ReLU follows the last stage (torchvision's DenseNet keeps it outside its modules).
    """

    summary: str
    origin: Literal["torchvision", "timm", "parallelnet"]
    model: str
    channels: int = 0
    stride: int = 0
    cut: str = ""
    # The first weights that torchvision published for each net: nearest to what the paper could have used.
    weights: str = "IMAGENET1K_V1"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    relu: bool = False


def _google(cut: str, channels: int, stride: int) -> Backbone:
    return Backbone(
        f"GoogLeNet cut after {cut}", "torchvision", "googlenet", channels, stride, cut, mean=HALF, std=HALF
    )


def _ours(model: str, summary: str, channels: int, stride: int) -> Backbone:
    return Backbone(summary, "parallelnet", model, channels, stride, weights="")


BACKBONES: dict[str, Backbone] = {
    "compact-speech": _ours("compact-speech", "ours: small, from scratch, for speech", 256, 0),
    "compact-image": _ours("compact-image", "ours: small residual net, for faces", 128, 0),
    "vgg16-narrow": _ours("vgg16-narrow", "VGG16 an eighth as wide, with batch norm", 64, 32),
    "vgg19-narrow": _ours("vgg19-narrow", "VGG19 an eighth as wide, with batch norm", 64, 32),
    "efficientnet-narrow": _ours("efficientnet-narrow", "EfficientNet-B0 a quarter as wide, a block a stage", 320, 32),
    "vgg16": Backbone("VGG16", "torchvision", "vgg16", 512, 32),
    "vgg19": Backbone("VGG19", "torchvision", "vgg19", 512, 32),
    "resnet18": Backbone("ResNet-18", "torchvision", "resnet18", 512, 32),
    "resnet34": Backbone("ResNet-34", "torchvision", "resnet34", 512, 32),
    "resnet50": Backbone("ResNet-50", "torchvision", "resnet50", 2048, 32),
    "resnet101": Backbone("ResNet-101", "torchvision", "resnet101", 2048, 32),
    "inception3a": _google("inception3a", 256, 8),
    "inception4a": _google("inception4a", 512, 16),
    "googlenet": _google("inception5b", 1024, 32),
    "inception_v3": Backbone("Inception v3", "torchvision", "inception_v3", 2048, 0, mean=HALF, std=HALF),
    "mobilenet_v2": Backbone("MobileNetV2", "torchvision", "mobilenet_v2", 1280, 32),
    "mobilenet_v3_small": Backbone("MobileNetV3 small", "torchvision", "mobilenet_v3_small", 576, 32),
    "densenet121": Backbone("DenseNet-121", "torchvision", "densenet121", 1024, 32, relu=True),
    "efficientnet_b0": Backbone("EfficientNet-B0", "torchvision", "efficientnet_b0", 1280, 32),
}

TIMM = "timm:"

COUNTS = Allowed(
    "whole numbers above 0",
    lambda value: all(type(n) is int and n > 0 for n in (value if isinstance(value, tuple) else (value,))),
)

# Widths of N1's blocks. The paper gives none; four halvings of 128 leave 128 x 8 x 8 = 8192 numbers, as many as VGG's
# 512 x 4 x 4, so that N1 and N2 reach their dense layers equally wide.
PAPER_CHANNELS = (16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class BranchOptions(Checked):
    """N1 and N2 of one modality.

    Attributes:
        backbone: N2's features: a name in `BACKBONES`, any torchvision classifier, or `timm:NAME`.
        channels: widths of N1's (conv 3x3, ReLU, max-pool) blocks; each block halves both sides.
        input_pool: side of the squares that are averaged before N1 and N2; 1 keeps the 128 x 128 input.
        grey: pictures are turned to luminance first, for networks that learn from grey faces and then meet colour.
        mirror: the outputs for a picture and its mirror image are averaged, but for training: twice the work, steadier.
    """

    FLAGS = False
    backbone: Annotated[str, Allowed("a name", lambda name: isinstance(name, str) and name != "")]
    channels: Annotated[tuple[int, ...], COUNTS] = PAPER_CHANNELS
    input_pool: Annotated[int, COUNTS] = 1
    grey: bool = False
    mirror: bool = False

    def _against(self) -> Against:
        yield (
            128 % self.input_pool or 128 // self.input_pool < 2 ** len(self.channels),
            f"input_pool {self.input_pool} with {len(self.channels)} N1 blocks leaves nothing of a 128 x 128 "
            "input; allowed: a divisor of 128, and at most as many blocks as the rest can be halved.",
        )


_OF_IMAGES = {"grey": "a log-mel has one channel already", "mirror": "speech backwards is another thing"}


@dataclass(frozen=True, slots=True)
class NetworkOptions(Checked):
    """Everything that decides a network but its classes; `checkpoint.ModelFacts.network` keeps it as plain JSON.

    Attributes:
        speech: the branches of the speech, or None for a network that does not hear.
        image: the branches of the picture, or None for a network that does not see.
        configuration: where the modalities cross (paper 4.3.2): 1 before and after N2, 2 before, 3 after.
        fusion: what makes the intermediate feature of F_i and F_s: `multiply` (Eq. 1) or `add` (weighted addition).
        embed_dim: width in which all of N1 and N2 end.
        hidden: widths of each head's dense layers before the classes.
        dropout: part of the numbers dropped before the last dense layer of N1 and N2, while training.
        head_dropout: part of the numbers dropped after each hidden layer of a head, while training.
    """

    FLAGS = False
    speech: BranchOptions | None = None
    image: BranchOptions | None = None
    configuration: Literal[1, 2, 3] = 3
    fusion: Literal["multiply", "add"] = "multiply"
    embed_dim: Annotated[int, COUNTS] = 1024
    hidden: Annotated[tuple[int, ...], COUNTS] = (1024, 1024)
    dropout: Annotated[float, BELOW_1] = 0.0
    head_dropout: Annotated[float, BELOW_1] = 0.0

    def _against(self) -> Against:
        yield not self.modalities, "A network needs branches for speech, for image, or for both; neither was given."
        for fact, reason in _OF_IMAGES.items():
            told = f"{fact} is set for speech; allowed: for image only, {reason}."
            yield self.speech is not None and getattr(self.speech, fact), told
        alone = "mirror needs a picture branch that sees the picture alone: configuration 3."
        yield self.image is not None and self.image.mirror and not self.separable, alone

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the network takes, speech first."""
        return tuple(name for name in ("speech", "image") if getattr(self, name) is not None)

    @property
    def separable(self) -> bool:
        """True where each branch sees one modality only: nothing crosses before N2."""
        return len(self.modalities) == 1 or self.configuration == 3

    @property
    def fewest_weights(self) -> int:
        """Weights of N1, dense layers and heads: fewer than the network has, known without building it."""
        heads = 1 if len(self.modalities) == 1 else 3
        widths = (self.embed_dim, *self.hidden)
        n = heads * sum(a * b for a, b in zip(widths, self.hidden, strict=False))
        for branch in filter(None, (self.speech, self.image)):
            side = 128 // branch.input_pool // 2 ** len(branch.channels)
            n += sum(9 * a * b for a, b in pairwise((1, *branch.channels)))
            n += branch.channels[-1] * side * side * self.embed_dim
        return n

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for `model.json`."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Return the options that `to_dict` wrote.

        Raises:
            CheckpointError: the record is not one of ours.
        """
        try:
            branches = {name: record[name] for name in ("speech", "image") if record.get(name) is not None}
            made = {k: BranchOptions(**{**each, "channels": tuple(each["channels"])}) for k, each in branches.items()}
            return cls(**{**record, **made, "hidden": tuple(record["hidden"])})
        except (KeyError, TypeError, ValueError) as error:
            allowed = ", ".join(field.name for field in fields(cls))
            raise CheckpointError(f"The checkpoint's network is damaged: {error}; allowed: {allowed}.") from None


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the paper's studies, or one of ours.

    Attributes:
        network: the facts that the network is built from.
        summary: one line for `parallelnet list variants`.
        source: where the row stands in the paper, or that it is ours.
    """

    network: NetworkOptions
    summary: str
    source: str


def _pair(speech: str, image: str, **facts: Any) -> NetworkOptions:
    return NetworkOptions(BranchOptions(speech), BranchOptions(image), **facts)


def _study(backbone: str, summary: str) -> Variant:
    return Variant(_pair(backbone, backbone), summary, "section 4.3.2, choices for N2")


_COMPACT = NetworkOptions(
    speech=BranchOptions("compact-speech", (8, 16, 24, 32, 48)),
    # FER-2013's faces are 48 x 48: the 128 x 128 input of the contract holds nothing that 64 x 64 does not.
    image=BranchOptions("compact-image", (16, 32, 48, 64), input_pool=2, grey=True, mirror=True),
    embed_dim=128,
    hidden=(128, 64),
    dropout=0.3,
    head_dropout=0.3,
)

VARIANTS: dict[str, Variant] = {
    "compact": Variant(_COMPACT, "small residual nets from scratch; a two-core CPU trains it", "ours"),
    "compact-ser-only": Variant(
        replace(_COMPACT, image=None, dropout=0.2, head_dropout=0.2), "the ears of compact, alone", "ours"
    ),
    "compact-ier-only": Variant(
        replace(_COMPACT, speech=None, dropout=0.2, head_dropout=0.1), "the eyes of compact, alone", "ours"
    ),
    "parallelnet": Variant(
        _pair("vgg16", "vgg19"), "the proposed network: VGG16 hears, VGG19 sees", "Table 1, Proposed; section 3.2"
    ),
    # The paper does not name the backbones of its two single-modality rows; those of the proposed network are taken.
    "ser-only": Variant(NetworkOptions(speech=BranchOptions("vgg16")), "speech alone, VGG16", "Table 1, SER Only"),
    "ier-only": Variant(NetworkOptions(image=BranchOptions("vgg19")), "picture alone, VGG19", "Table 1, IER Only"),
    **{
        f"baseline-{k}": Variant(
            _pair("efficientnet_b0", "efficientnet_b0", configuration=k), f"criss-cross {where} N2", "Table 1"
        )
        for k, where in enumerate(("before and after", "before", "after"), 1)
    },
    "parallelnet-vgg16": _study("vgg16", "both N2 are VGG16"),
    "parallelnet-vgg19": _study("vgg19", "both N2 are VGG19"),
    "parallelnet-resnet34": _study("resnet34", "both N2 are ResNet-34"),
    "parallelnet-resnet50": _study("resnet50", "both N2 are ResNet-50"),
    "parallelnet-resnet101": _study("resnet101", "both N2 are ResNet-101"),
    "parallelnet-inception3a": _study("inception3a", "both N2 are GoogLeNet cut after 3a"),
    "parallelnet-inception4a": _study("inception4a", "both N2 are GoogLeNet cut after 4a"),
    "parallelnet-mobilenet": _study("mobilenet_v2", "both N2 are MobileNetV2 (the paper cites v1)"),
    "parallelnet-densenet": _study("densenet121", "both N2 are DenseNet-121"),
    "parallelnet-efficientnet": _study("efficientnet_b0", "both N2 are EfficientNet-B0; equals baseline-3"),
    "parallelnet-additive": Variant(
        _pair("vgg16", "vgg19", fusion="add"), "F_i and F_s added with learned weights", "section 3.2.1"
    ),
}

Size = Literal["paper", "small"]

# What stands for a backbone at the size `small`; one that is not named here stays as it is.
NARROW: dict[str, str] = {
    "vgg16": "vgg16-narrow",
    "vgg19": "vgg19-narrow",
    "efficientnet_b0": "efficientnet-narrow",
    "resnet34": "resnet18",
    "resnet50": "resnet18",
    "resnet101": "resnet18",
    "mobilenet_v2": "mobilenet_v3_small",
}

NARROW_CHANNELS = (8, 16, 24, 32)  # Widths of N1's blocks at the size `small`

# Side of the squares averaged before N1 and N2 at the size `small`: 32 x 32 inputs, a quarter of the work of 64 x 64.
# In the same CPU time a network then sees three to four times as many samples, which is worth more to it.
SMALL_POOL = 4


SMALL_SIDE = 128 // SMALL_POOL  # Rows and columns of the inputs at the size `small`


def small(options: NetworkOptions) -> NetworkOptions:
    """Return the network with the same structure, small enough for two CPU cores.

    Configuration, fusion and modalities stay; inputs are averaged to 32 x 32, N1 and all dense layers are an eighth
    as wide, and the backbones narrow (`NARROW`). Dropout, because the small sets that such machines can learn are soon
    known by heart.
    """
    wide: dict[str, BranchOptions] = {name: getattr(options, name) for name in options.modalities}
    thin: dict[str, Any] = {"channels": NARROW_CHANNELS, "input_pool": SMALL_POOL}
    branches: dict[str, Any] = {
        name: replace(b, backbone=NARROW.get(b.backbone, b.backbone), **thin) for name, b in wide.items()
    }
    return replace(options, **branches, embed_dim=128, hidden=(128, 128), dropout=0.3, head_dropout=0.3)


def network_options(
    name: str,
    *,
    size: Size = "paper",
    backbone: str | None = None,
    speech_backbone: str | None = None,
    image_backbone: str | None = None,
) -> NetworkOptions:
    """Return a variant's network, changed where the user says so.

    Args:
        name: key of `VARIANTS`.
        size: `paper` takes the row as it is, `small` its small counterpart.
        backbone: of every modality that the variant takes.
        speech_backbone: goes before `backbone`.
        image_backbone: likewise.

    Raises:
        OptionError: no such variant, or a backbone for a modality that the variant lacks.
    """
    if name not in VARIANTS:
        raise unknown("variant", name, VARIANTS, "--variant")
    options = VARIANTS[name].network
    if size == "small" and not name.startswith("compact"):  # compact is small already
        options = small(options)
    for modality, own in (("speech", speech_backbone), ("image", image_backbone)):
        branch = getattr(options, modality)
        if branch is None and own is not None:
            raise OptionError(f"--{modality}-backbone is {own!r}, but variant {name!r} takes no {modality}.")
        if branch is not None and (own or backbone):
            options = replace(options, **{modality: replace(branch, backbone=own or backbone)})
    return options
