"""Backbones as torch modules: torchvision and timm networks cut before their classifier, and our small ones."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, MissingExtraError, OptionError
from .backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone, Weights
from .compact import CompactImage, CompactSpeech
from .narrow import efficientnet_narrow, vgg_narrow

_CLASSIFIER = frozenset({"avgpool", "classifier", "fc", "head", "heads", "dropout", "flatten"})
"""Names that torchvision gives to what comes after the feature map."""


class Normalise(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel, as pretrained weights expect."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        """Take the mean and the standard deviation of each channel."""
        super().__init__()
        # Not in the checkpoint: a constant of the backbone, not something learnt.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x `[n, 3, h, w]`, normalised."""
        return (x - self.mean) / self.std


def _stages(model: nn.Module, cut: str) -> Iterator[nn.Module]:
    # torchvision registers its stages in the order in which its forward runs them.
    for name, stage in model.named_children():
        if name in _CLASSIFIER:
            return
        if name.lower().startswith("aux"):
            continue
        yield stage
        if name == cut:
            return


def from_torchvision(facts: Backbone, weights: Weights) -> nn.Module:
    """Return a torchvision classifier without its classifier, normalisation first."""
    from torchvision import models

    # GoogLeNet and Inception v3 train auxiliary classifiers unless told not to, and take minutes to start from scipy's
    # truncated normal distribution; torch's default start is as good under batch norm.
    quiet = {"aux_logits": False, "init_weights": False} if facts.model in ("googlenet", "inception_v3") else {}
    fetch = weights == "imagenet"
    model = pretrained(facts) if fetch else models.get_model(facts.model, weights=None, **quiet)
    stages = list(_stages(model, facts.cut))
    if facts.relu:
        stages.append(nn.ReLU())
    return nn.Sequential(Normalise(facts.mean, facts.std), *stages)


def pretrained(facts: Backbone) -> nn.Module:
    """Return a torchvision classifier with the weights that its facts name, fetched on first use.

    Raises:
        OptionError: there are none.
        CheckpointError: they could not be fetched.
    """
    from torchvision import models

    choices = models.get_model_weights(facts.model)
    if facts.weights not in choices.__members__:
        raise OptionError(f"Backbone {facts.model!r} has no weights {facts.weights}. Mend: --weights none")
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        return models.get_model(facts.model, weights=choices[facts.weights])  # type: ignore[no-any-return]
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        url = choices[facts.weights].url
        raise CheckpointError(
            f"The ImageNet weights of {facts.model} could not be fetched from {url}: {str(error).splitlines()[0]}. "
            f"Mend: put {url.rsplit('/', 1)[-1]} into {cache}, or start without them: --weights none"
        ) from error


class TimmFeatures(nn.Module):
    """A timm network up to its feature map."""

    def __init__(self, body: nn.Module) -> None:
        """Take what `timm.create_model` returned."""
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the last feature map of x `[n, 3, h, w]`."""
        return self.body.forward_features(x)  # type: ignore[operator, no-any-return]


def from_timm(facts: Backbone, weights: Weights) -> nn.Module:
    """Return a timm network without its classifier, with the normalisation that timm says it expects."""
    try:
        import timm
    except ImportError:
        raise MissingExtraError(f"Backbone 'timm:{facts.model}'", "timm") from None
    try:
        body = timm.create_model(facts.model, pretrained=weights == "imagenet", num_classes=0)
    except OSError as error:  # the hub's errors and timeouts derive from it
        raise CheckpointError(
            f"The weights of timm:{facts.model} could not be fetched: {str(error).splitlines()[0]}. "
            "Mend: start without them: --weights none"
        ) from error
    except RuntimeError as error:
        raise OptionError(f"timm:{facts.model}: {str(error).splitlines()[0]}. See --backbone.") from error
    mean, std = body.pretrained_cfg["mean"], body.pretrained_cfg["std"]
    return nn.Sequential(Normalise(tuple(mean), tuple(std)), TimmFeatures(body))


def ours(facts: Backbone, weights: Weights) -> nn.Module:
    """Return one of the small networks of the compact variant, or a narrow one of the paper's."""
    if weights != "none":
        raise OptionError(f"Backbone {facts.model!r} has no pretrained weights. Mend: --weights none")
    return OURS[facts.model]()


def _narrow(build: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(Normalise(IMAGENET_MEAN, IMAGENET_STD), build())


OURS: dict[str, Callable[[], nn.Module]] = {
    "compact-speech": CompactSpeech,
    "compact-image": CompactImage,
    "vgg16-narrow": lambda: _narrow(lambda: vgg_narrow(16)),
    "vgg19-narrow": lambda: _narrow(lambda: vgg_narrow(19)),
    "efficientnet-narrow": lambda: _narrow(efficientnet_narrow),
}


BUILDERS: dict[str, Callable[[Backbone, Weights], nn.Module]] = {
    "torchvision": from_torchvision,
    "timm": from_timm,
    "parallelnet": ours,
}
