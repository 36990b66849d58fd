"""Parts of a network that do not learn, and what they make of each file: computed once, kept by path."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .network import Branches, ModalityBranches, ParallelNet

Freeze = Literal["none", "backbones", "branches"]


def freeze(network: ParallelNet, what: Freeze) -> None:
    """Stop parts of a network from learning, in place.

    `backbones`: N2's features, and the 1x1 convolution before the speech backbone, which then copies the spectrogram
    into the three channels: to learn it would take a pass through the whole backbone at each step, which is what
    freezing is to save. `branches`: all but the heads and their fusion.
    """
    for part in (network.speech, network.image):
        if part is None or what == "none":
            continue
        for module in (part,) if what == "branches" else (part.n2.adapt, part.n2.backbone):
            module.requires_grad_(False)
        if what == "backbones" and isinstance(part.n2.adapt, nn.Conv2d):
            nn.init.ones_(part.n2.adapt.weight)
            nn.init.zeros_(part.n2.adapt.bias)  # type: ignore[arg-type]  # built with a bias


class FrozenPart:
    """What the frozen part makes of signals; each path is computed once.

    Only for separable networks without augmentation: otherwise the same file does not give the same features.
    """

    def __init__(self, network: ParallelNet, what: Freeze) -> None:
        """Take a network whose frozen part is `backbones` or `branches`."""
        assert network.separable
        assert what != "none"
        self.network = network
        self.what = what
        self._kept: dict[tuple[str, str | None], tuple[Tensor, ...]] = {}

    def speech(self, path: str | None, windows: Tensor) -> tuple[Tensor, ...]:
        """Return the features of an utterance's windows [n_windows, 1, 128, 128]; None stands for silence."""
        return self._of("speech", path, windows, self.network.speech)

    def image(self, path: str | None, picture: Tensor) -> tuple[Tensor, ...]:
        """Return the features [1, ...] of a picture [3, 128, 128]; None stands for black."""
        return self._of("image", path, picture[None], self.network.image)

    def zeros(self, modality: Literal["speech", "image"], like: Tensor) -> tuple[Tensor, ...]:
        """Return the features of an absent modality, [1, ...], for a signal shaped `like` [n, ...]."""
        part = self.network.speech if modality == "speech" else self.network.image
        return self._of(modality, None, torch.zeros_like(like[:1]), part)

    def _of(self, modality: str, path: str | None, x: Tensor, part: ModalityBranches | None) -> tuple[Tensor, ...]:
        if part is None or (self.what == "backbones" and part.mirror):  # a mirror image needs features of its own
            return ()
        key = (modality, path)
        if key not in self._kept:
            training = part.training
            part.eval()
            with torch.no_grad():
                device = next(part.parameters()).device
                x = x.to(device)
                kept = part(x) if self.what == "branches" else (part.n2.features(part.n2.adapt(part.prepare(x))),)
            part.train(training)
            self._kept[key] = tuple(k.cpu() for k in kept)
        return self._kept[key]


def branches(part: ModalityBranches, x: Tensor, kept: tuple[Tensor, ...]) -> Branches:
    """Return (N1, N2) of a signal, taking over what was kept: both outputs, N2's features, or nothing."""
    if len(kept) == 2:
        return kept[0], kept[1]
    if not kept:
        return part(x)  # type: ignore[no-any-return]
    return part.n1(part.prepare(x)), part.n2.embed(kept[0])
