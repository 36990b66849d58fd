"""Backbones by name: facts alone, without torch; `features` builds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Weights = Literal["none", "imagenet"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
"""torchvision's Inception weights come from TensorFlow and want [-1, 1]; its `transform_input` does the same."""


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
        f"GoogLeNet cut after {cut}", "torchvision", "googlenet", channels, stride, cut=cut, mean=HALF, std=HALF
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
