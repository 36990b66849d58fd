"""The parts of the networks (paper section 3.2, Fig. 1): N1, N2, criss-cross, heads and fusion."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

Branches = tuple[Tensor, Tensor]  # (output of N1, output of N2) of one modality, each `[n, embed_dim]`


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, without gradients, and leave it as it was."""
    training = module.training
    try:
        with torch.no_grad():
            module.eval()
            yield
    finally:
        module.train(training)


def embedding(branches: Branches) -> Tensor:
    """Return one modality's own embedding N1 + N2 `[n, embed_dim]`, for heads that hear or see alone."""
    return branches[0] + branches[1]


class N1(nn.Module):
    """(conv 3x3, ReLU, max-pool) blocks, batch norm; then flatten and dense (Fig. 1, bottom left)."""

    def __init__(self, n_in: int, channels: Sequence[int], side: int, embed_dim: int, dropout: float) -> None:
        """Take the channels of the input and of each block, and the side of the input."""
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((n_in, *channels)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.map = nn.Sequential(*layers, nn.BatchNorm2d(channels[-1]))
        n_features = channels[-1] * (side // 2 ** len(channels)) ** 2
        self.dense = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(n_features, embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[n, embed_dim]` from `[n, channels, side, side]`."""
        return self.dense(self.map(x))  # type: ignore[no-any-return]


class N2(nn.Module):
    """Backbone, batch norm, flatten, dense (Fig. 1, bottom right); for speech a 1x1 convolution makes three channels.

    `adapt`, `backbone` and `embed` are apart from `forward` so that a criss-cross can reach N2's input.
    """

    def __init__(self, n_in: int, backbone: nn.Module, feature: torch.Size, embed_dim: int, dropout: float) -> None:
        """Take the channels of the input, the backbone and the shape [C, h', w'] of its map."""
        super().__init__()
        self.adapt = nn.Identity() if n_in == 3 else nn.Conv2d(n_in, 3, 1)
        self.backbone = backbone
        self.norm = nn.BatchNorm2d(feature[0])
        self.dense = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(feature.numel(), embed_dim))

    def embed(self, features: Tensor) -> Tensor:
        """Return `[n, embed_dim]` from the backbone's map."""
        return self.dense(self.norm(features))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return `[n, embed_dim]` from `[n, channels, side, side]`."""
        return self.embed(self.backbone(self.adapt(x)))


class Luminance(nn.Module):
    """RGB to three equal channels of luminance (ITU-R BT.601, as Pillow turns pictures grey)."""

    weights: Tensor

    def __init__(self) -> None:
        """Keep the weights as a constant; they are no part of a checkpoint."""
        super().__init__()
        self.register_buffer("weights", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[n, 3, h, w]`; a grey picture stays as it is."""
        return (x * self.weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)


class ModalityBranches(nn.Module):
    """N1 and N2 of one modality."""

    def __init__(self, prepare: Sequence[nn.Module], n1: N1, n2: N2, *, mirror: bool = False) -> None:
        """Take what the input goes through first (averaging, luminance), and whether its mirror image counts, too."""
        super().__init__()
        self.prepare = nn.Sequential(*prepare)
        self.mirror, self.n1, self.n2 = mirror, n1, n2

    def forward(self, x: Tensor) -> Branches:
        """Return (N1(x), N2(x))."""
        x = self.prepare(x)
        if not self.mirror or self.training:
            return self.n1(x), self.n2(x)
        both = torch.cat([x, x.flip(3)])  # one pass: an exported graph then holds each weight once
        return self.n1(both).unflatten(0, (2, -1)).mean(0), self.n2(both).unflatten(0, (2, -1)).mean(0)


class CrissCross(nn.Module):
    """A criss-cross before N2: each N1's map, projected and resized, is added to the other modality's N2 input.

    Configurations 1 and 2 (paper 4.3.2). The paper draws neither; a 1x1 convolution and bilinear resizing are the
    least that makes the shapes agree.
    """

    def __init__(self, speech_channels: int, image_channels: int) -> None:
        """Take the widths of the two N1 maps."""
        super().__init__()
        self.to_image = nn.Conv2d(speech_channels, 3, 1)
        self.to_speech = nn.Conv2d(image_channels, 3, 1)

    def forward(
        self, speech: ModalityBranches, image: ModalityBranches, log_mel: Tensor, picture: Tensor
    ) -> tuple[Branches, Branches]:
        """Return (N1_s, N2_s) and (N1_i, N2_i), each N2 seeing both inputs."""
        log_mel, picture = speech.prepare(log_mel), image.prepare(picture)
        speech_map, image_map = speech.n1.map(log_mel), image.n1.map(picture)
        return (
            (speech.n1.dense(speech_map), _crossed(speech.n2, log_mel, self.to_speech(image_map))),
            (image.n1.dense(image_map), _crossed(image.n2, picture, self.to_image(speech_map))),
        )


def _crossed(n2: N2, own: Tensor, projected: Tensor) -> Tensor:
    adapted = n2.adapt(own)
    resized = functional.interpolate(projected, adapted.shape[-2:], mode="bilinear", align_corners=False)
    return n2.embed(n2.backbone(adapted + resized))


class WeightedAddition(nn.Module):
    """A sum whose weights are the softmax over learned numbers, which start at random (Eq. 2)."""

    def __init__(self, n_terms: int) -> None:
        """Draw the raw weights from torch's random state."""
        super().__init__()
        self.raw = nn.Parameter(torch.randn(n_terms))

    def forward(self, *terms: Tensor) -> Tensor:
        """Return the weighted sum of tensors of one shape."""
        return torch.stack([w * term for w, term in zip(self.raw.softmax(0), terms, strict=True)]).sum(0)


class SingleHead(nn.Module):
    """Logits of a network with one modality: head(N1 + N2)."""

    def __init__(self, head: nn.Module) -> None:
        """Take the dense layers."""
        super().__init__()
        self.head = head

    def forward(self, speech: Branches | None, image: Branches | None) -> Tensor:
        """Return logits `[n, n_classes]` from whichever modality there is."""
        branches = speech if speech is not None else image
        assert branches is not None
        return self.head(embedding(branches))  # type: ignore[no-any-return]


class HybridHead(nn.Module):
    """Intermediate fusion (Eq. 1), three heads and late fusion (Eq. 2)."""

    def __init__(self, crossed: bool, intermediate: Callable[..., Tensor], heads: Sequence[nn.Module]) -> None:
        """Take whether F_s and F_i each hold both modalities, the fusion of (F_i, F_s), and a head for all three."""
        super().__init__()
        self.crossed, self.intermediate = crossed, intermediate
        self.speech_head, self.image_head, self.intermediate_head = heads
        self.late = WeightedAddition(3)

    def fused(self, speech: Branches, image: Branches) -> tuple[Tensor, Tensor, Tensor]:
        """Return (F_s, F_i, F_mul or F_add), each `[n, embed_dim]`."""
        (n1_s, n2_s), (n1_i, n2_i) = speech, image
        if self.crossed:  # The paper's text: F_s = N1_s + N2_i. Its Eq. 1 prints N1_i there, leaving N2_i unused.
            n2_s, n2_i = n2_i, n2_s
        f_s, f_i = n1_s + n2_s, n1_i + n2_i
        return f_s, f_i, self.intermediate(f_i, f_s)

    def forward(self, speech: Branches | None, image: Branches | None) -> Tensor:
        """Return logits O `[n, n_classes]` of Eq. 2, before the softmax."""
        assert speech is not None
        assert image is not None
        f_s, f_i, f_mul = self.fused(speech, image)
        return self.late(self.speech_head(f_s), self.image_head(f_i), self.intermediate_head(f_mul))  # type: ignore[no-any-return]
