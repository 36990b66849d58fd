"""Backbones as torch modules: torchvision and timm networks cut before their classifier, and our small ones.

A backbone turns `[n, 3, h, w]` in [0, 1] into a feature map `[n, C, h', w']`; ImageNet normalisation is inside it, so
that zero means black and silence for every network.
"""

import http.client
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models import efficientnet, vgg

from ..errors import CheckpointError, MissingExtraError, OptionError, unknown
from .variants import BACKBONES, IMAGENET_MEAN, IMAGENET_STD, TIMM, Backbone, Weights

# Names that torchvision gives to what comes after the feature map.
_CLASSIFIER = frozenset({"avgpool", "classifier", "fc", "head", "heads", "dropout", "flatten"})


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


def _from_torchvision(facts: Backbone, weights: Weights) -> nn.Module:
    """Return a torchvision classifier without its classifier, normalisation first."""
    # GoogLeNet and Inception v3 train auxiliary classifiers unless told not to, and take minutes to start from scipy's
    # truncated normal distribution; torch's default start is as good under batch norm.
    quiet = {"aux_logits": False, "init_weights": False} if facts.model in ("googlenet", "inception_v3") else {}
    model = pretrained(facts) if weights == "imagenet" else models.get_model(facts.model, weights=None, **quiet)
    stages: list[nn.Module] = [Normalise(facts.mean, facts.std)]
    for name, stage in model.named_children():  # in the order in which torchvision's forward runs them
        if name in _CLASSIFIER:
            break
        stages += [] if name.lower().startswith("aux") else [stage]
        if name == facts.cut:
            break
    return nn.Sequential(*stages, *([nn.ReLU()] if facts.relu else []))


def pretrained(facts: Backbone) -> nn.Module:
    """Return a torchvision classifier with the weights that its facts name, fetched on first use.

    Raises:
        OptionError: there are none.
        CheckpointError: they could not be fetched.
    """
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


class _TimmFeatures(nn.Module):
    """A timm network up to its feature map."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body.forward_features(x)  # type: ignore[operator, no-any-return]


def _from_timm(facts: Backbone, weights: Weights) -> nn.Module:
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
    return nn.Sequential(Normalise(tuple(mean), tuple(std)), _TimmFeatures(body))


# The small networks of the variant `compact`: N2's features, trained from scratch on two CPU cores.


def _conv_norm(n_in: int, n_out: int, kernel: int | tuple[int, int] = 3, stride: int = 1) -> nn.Sequential:
    # Keeps the size, but for the stride; batch norm brings the bias.
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (sides[0] // 2, sides[1] // 2)
    return nn.Sequential(nn.Conv2d(n_in, n_out, sides, stride, padding, bias=False), nn.BatchNorm2d(n_out))


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around a short cut (He et al. 2016, basic block)."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv_norm(n_in, n_out, 3, stride), nn.ReLU(), _conv_norm(n_out, n_out))
        same = n_in == n_out and stride == 1
        self.short_cut: nn.Module = nn.Identity() if same else _conv_norm(n_in, n_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.short_cut(x))


class CompactImage(nn.Module):
    """A residual network for faces: `[n, 3, h, w]` to `[n, 128, 1, 1]`, averaged over the picture."""

    def __init__(self) -> None:
        """Draw the weights from torch's random state."""
        super().__init__()
        self.body = nn.Sequential(
            *(_conv_norm(3, 32, 3, 2), nn.ReLU()),
            *(_Residual(32, 32), _Residual(32, 64, 2), _Residual(64, 64), _Residual(64, 128, 2), _Residual(128, 128)),
            nn.AdaptiveAvgPool2d(1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of pictures in [0, 1]."""
        # Batch norm follows the first convolution, but centred inputs start it better: 0 to 1 becomes -1 to 1.
        return self.body(2 * x - 1)  # type: ignore[no-any-return]


class CompactSpeech(nn.Module):
    """A network for log-mels: `[n, 3, mels, frames]` to `[n, 256, 1, 1]`, mean and deviation over time.

    Frequency is pooled away first, then convolutions run along time only: an utterance's emotion is in how its
    spectrum moves, not in when it does.
    """

    def __init__(self) -> None:
        """Draw the weights from torch's random state."""
        super().__init__()
        self.body = nn.Sequential(
            *(_conv_norm(9, 32, 3, 2), nn.ReLU(), nn.MaxPool2d(2)),
            *(_conv_norm(32, 48), nn.ReLU(), nn.MaxPool2d((2, 1))),
            *(_conv_norm(48, 64), nn.ReLU(), nn.MaxPool2d((2, 1))),
            nn.AdaptiveAvgPool2d((8, None)),
            *(nn.Conv2d(64, 128, (8, 3), padding=(0, 1), bias=False), nn.BatchNorm2d(128), nn.ReLU()),
            *(_conv_norm(128, 128, (1, 5)), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of log-mels."""
        # Each band also without its mean over time (what a microphone or a room colours drops out), and its slope.
        slope = functional.pad(x[..., 2:] - x[..., :-2], (1, 1))
        steps = self.body(torch.cat([x, x - x.mean(3, keepdim=True), slope], 1))
        mean = steps.mean(3, keepdim=True)
        # The small number keeps the root's gradient finite where nothing moves (silence).
        deviation = ((steps - mean).square().mean(3, keepdim=True) + 1e-5).sqrt()
        return torch.cat([mean, deviation], 1)


# The paper's backbones, narrow: the same layout with an eighth or a quarter of the channels, for small machines.
# torchvision builds them from the lists of layers below; they start from random weights, for nobody published any.

# Convolutions of each stage of VGG16 and VGG19 (Simonyan and Zisserman 2014, table 1, D and E).
VGG_LAYERS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_WIDTHS = (8, 16, 32, 64, 64)  # An eighth of 64, 128, 256, 512, 512

# Expansion, kernel, stride, channels in and out, layers of EfficientNet-B0's stages (Tan and Le 2019, table 1).
EFFICIENTNET_BLOCKS = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


def _vgg_narrow(depth: int) -> nn.Module:
    layers = chain(*([width] * n + ["M"] for width, n in zip(VGG_WIDTHS, VGG_LAYERS[depth], strict=True)))
    # Batch norm, because sixteen layers without it do not learn from random weights in a few epochs.
    return nn.Sequential(Normalise(IMAGENET_MEAN, IMAGENET_STD), vgg.make_layers(list(layers), batch_norm=True))


def _efficientnet_narrow() -> nn.Module:
    block = partial(efficientnet.MBConvConfig, width_mult=0.25, depth_mult=0.25)
    network = efficientnet.EfficientNet([block(*stage) for stage in EFFICIENTNET_BLOCKS], dropout=0.0)
    return nn.Sequential(Normalise(IMAGENET_MEAN, IMAGENET_STD), network.features)


OURS: dict[str, Callable[[], nn.Module]] = {
    "compact-speech": CompactSpeech,
    "compact-image": CompactImage,
    "vgg16-narrow": partial(_vgg_narrow, 16),
    "vgg19-narrow": partial(_vgg_narrow, 19),
    "efficientnet-narrow": _efficientnet_narrow,
}


def _find(name: str) -> Backbone:
    if name.startswith(TIMM):
        model = name[len(TIMM) :]
        if set(model) & set(":/\\"):  # `hf-hub:`, `local-dir:`: a name must not make it read from there
            raise OptionError(f"--backbone is {name!r}; allowed: timm:NAME, a name of timm's own list.")
        return Backbone(f"{model} of timm", "timm", model, weights="default")
    if name in models.list_models(module=models):
        return Backbone(f"{name} of torchvision", "torchvision", name, relu=name.startswith("densenet"))
    raise unknown("backbone", name, BACKBONES, "--backbone; also any torchvision classifier, and timm:NAME")


def build(name: str, weights: Weights = "none") -> nn.Module:
    """Return a backbone as a module: `[n, 3, h, w]` in [0, 1] to a feature map `[n, C, h', w']`.

    Args:
        name: one of `BACKBONES`, any torchvision classifier, or `timm:NAME`.
        weights: `none` starts from random weights, `imagenet` fetches pretrained ones on first use.

    Raises:
        OptionError: no such backbone, or no such weights.
        CheckpointError: the pretrained weights could not be fetched.
        MissingExtraError: timm is not installed.
    """
    facts = BACKBONES.get(name) or _find(name)
    if facts.origin == "torchvision":
        return _from_torchvision(facts, weights)
    if facts.origin == "timm":
        return _from_timm(facts, weights)
    if weights != "none":
        raise OptionError(f"Backbone {name!r} has no pretrained weights. Mend: --weights none")
    return OURS[name]()
