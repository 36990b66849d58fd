"""The paper's backbones, narrow: the same layout with an eighth or a quarter of the channels, for small machines.

torchvision builds them from the lists of layers below. They start from random weights; nobody published any.
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torchvision.models import efficientnet, vgg

VGG_LAYERS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of each stage of VGG16 and VGG19 (Simonyan and Zisserman 2014, table 1, D and E)."""
VGG_WIDTHS = (8, 16, 32, 64, 64)
"""An eighth of 64, 128, 256, 512, 512."""

EFFICIENTNET_BLOCKS = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
"""Expansion, kernel, stride, channels in and out, layers of EfficientNet-B0's stages (Tan and Le 2019, table 1)."""


def vgg_narrow(depth: int) -> nn.Module:
    """Return VGG16's or VGG19's convolutions, an eighth as wide, each with batch norm.

    Batch norm, because sixteen layers without it do not learn from random weights in a few epochs.
    """
    layers: list[int | str] = []
    for width, n in zip(VGG_WIDTHS, VGG_LAYERS[depth], strict=True):
        layers += [width] * n + ["M"]
    return vgg.make_layers(layers, batch_norm=True)  # type: ignore[no-any-return]


def efficientnet_narrow() -> nn.Module:
    """Return EfficientNet-B0's stages, a quarter as wide, one block each."""
    block = partial(efficientnet.MBConvConfig, width_mult=0.25, depth_mult=0.25)
    network = efficientnet.EfficientNet([block(*stage) for stage in EFFICIENTNET_BLOCKS], dropout=0.0)
    return network.features  # type: ignore[no-any-return]
