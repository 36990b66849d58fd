"""The network (paper section 3.2): `ParallelNet` gets its parts and never chooses them; `build` does, from facts."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import InputError, OptionError
from . import features, layers
from .layers import N1, N2, Branches, CrissCross, HybridHead, ModalityBranches, SingleHead, evaluating
from .variants import BranchOptions, NetworkOptions, Weights

SIDE = 128  # Mel bands, frames, pixel rows and columns of every input (design section 4)
SHAPES = {"speech": (1, SIDE, SIDE), "image": (3, SIDE, SIDE)}  # of one sample's inputs


class ParallelNet(nn.Module):
    """Speech and picture to logits; where `separable`, exactly `head(speech_branches(s), image_branches(i))`.

    Attributes:
        classes: names in the order of the logits.
        modalities: what it takes: `speech`, `image` or both.
        separable: True where each branch sees one modality only.
        embed_dim: width of the branches' outputs.
    """

    def __init__(
        self,
        classes: Sequence[str],
        speech: ModalityBranches | None,
        image: ModalityBranches | None,
        fusion: SingleHead | HybridHead,
        criss_cross: CrissCross | None = None,
        *,
        embed_dim: int,
    ) -> None:
        """Take the parts; `build` makes them from `NetworkOptions`."""
        super().__init__()
        self.classes, self.embed_dim = tuple(classes), embed_dim
        self.speech, self.image, self.fusion, self.criss_cross = speech, image, fusion, criss_cross
        self.modalities = tuple(n for n, part in (("speech", speech), ("image", image)) if part is not None)
        self.separable = criss_cross is None

    def speech_branches(self, speech: Tensor) -> Branches:
        """Return (N1_s, N2_s), each `[n, embed_dim]`, of log-mels `[n, 1, 128, 128]` in [0, 1].

        Raises:
            OptionError: the network is not separable, or does not hear.
        """
        return self._branches("speech", speech)

    def image_branches(self, image: Tensor) -> Branches:
        """Return (N1_i, N2_i), each `[n, embed_dim]`, of pictures `[n, 3, 128, 128]` in [0, 1].

        Raises:
            OptionError: the network is not separable, or does not see.
        """
        return self._branches("image", image)

    def _branches(self, name: str, x: Tensor) -> Branches:
        self._must_separate(f"{name}_branches")
        if name not in self.modalities:
            raise OptionError(f"This network takes {self.modalities[0]} only; it has no {name}_branches.")
        _check_input(name, x)
        return getattr(self, name)(x)  # type: ignore[no-any-return]

    def head(self, speech_branches: Branches | None, image_branches: Branches | None) -> Tensor:
        """Return raw logits `[n, n_classes]` from the branches' outputs; a single-modality net ignores the other.

        Raises:
            OptionError: the network is not separable, or the branches of a modality that it takes are missing.
        """
        self._must_separate("head")
        given = {"speech": speech_branches, "image": image_branches}
        for name in self.modalities:
            if given[name] is None:
                raise OptionError(f"head needs the outputs of {name}_branches; for an absent input give zeros to it.")
        return self.fusion(*(given[name] if name in self.modalities else None for name in given))  # type: ignore[no-any-return]

    def _must_separate(self, method: str) -> None:
        if not self.separable:
            raise OptionError(
                f"This network crosses its modalities before N2 (configuration 1 or 2): {method} does not exist there. "
                "Use logits(speech, image), which costs one joint pass a pair."
            )

    def logits(self, speech: Tensor | None = None, image: Tensor | None = None) -> Tensor:
        """Return raw logits `[n, n_classes]`; a modality that is None is taken as zero (silence, black).

        Args:
            speech: log-mels `[n, 1, 128, 128]` in [0, 1].
            image: pictures `[n, 3, 128, 128]` in [0, 1].

        Raises:
            InputError: nothing that this network takes was given, or a shape is wrong.
        """
        given = {"speech": speech, "image": image}
        present = {name: x for name in self.modalities if (x := given[name]) is not None}
        if not present:
            raise InputError(f"This network takes {' and '.join(self.modalities)}; it was given none of it.")
        first, n = next(iter(present.values())), len(next(iter(present.values())))
        for name, x in present.items():
            _check_input(name, x)
            if len(x) != n:
                raise InputError(f"{n} log-mels came with {len(x)} pictures; allowed: as many of each.")
        # Zeros are all alike, so one sample does; but batch norm in training needs the whole batch for its statistics.
        signals = {
            name: present[name] if name in present else first.new_zeros(n if self.training else 1, *SHAPES[name])
            for name in self.modalities
        }
        if self.criss_cross is not None:
            log_mel, picture = (x.expand(n, -1, -1, -1) for x in signals.values())
            return self.fusion(*self.criss_cross(self.speech, self.image, log_mel, picture))  # type: ignore[no-any-return]
        outputs = {name: self._branches(name, x) for name, x in signals.items()}
        wide = {name: (n1.expand(n, -1), n2.expand(n, -1)) for name, (n1, n2) in outputs.items()}
        return self.head(wide.get("speech"), wide.get("image"))

    forward = logits


def _check_input(name: str, x: Tensor) -> None:
    if x.ndim != 4 or tuple(x.shape[1:]) != SHAPES[name]:
        raise InputError(f"{name} has shape {tuple(x.shape)}; allowed: [n, {', '.join(map(str, SHAPES[name]))}].")


def _branches(name: str, branch: BranchOptions, options: NetworkOptions, weights: Weights) -> ModalityBranches:
    n_in, side = SHAPES[name][0], SIDE // branch.input_pool
    n1 = N1(n_in, branch.channels, side, options.embed_dim, options.dropout)
    backbone = features.build(branch.backbone, weights)
    n2 = N2(n_in, backbone, _feature_shape(branch.backbone, backbone, side), options.embed_dim, options.dropout)
    prepare: list[nn.Module] = [layers.Luminance()] if branch.grey else []
    if branch.input_pool > 1:
        prepare.append(nn.AvgPool2d(branch.input_pool))
    return ModalityBranches(prepare, n1, n2, mirror=branch.mirror)


def _feature_shape(name: str, backbone: nn.Module, side: int) -> torch.Size:
    # One zero picture through it: right for every backbone there is, where a table would be right for those we know.
    try:
        with evaluating(backbone):
            feature = backbone(torch.zeros(1, 3, side, side))
    except (RuntimeError, ValueError, AssertionError, NotImplementedError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise OptionError(
            f"Backbone {name!r} cannot take {side} x {side} pictures: {reason}. See --backbone."
        ) from error

    if not isinstance(feature, Tensor) or feature.ndim != 4:
        raise OptionError(
            f"Backbone {name!r} yields no feature map [n, C, h, w]; use a convolutional one. See --backbone."
        )
    return feature.shape[1:]


def _head(options: NetworkOptions, n_classes: int) -> nn.Sequential:
    widths = (options.embed_dim, *options.hidden)
    layers: list[nn.Module] = []
    for before, after in zip(widths, options.hidden, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(options.head_dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], n_classes))


def build(options: NetworkOptions, classes: Sequence[str], *, weights: Weights = "none") -> ParallelNet:
    """Return the network that the options describe; the same options build the same layers, always.

    Args:
        options: of a variant, or of a checkpoint (`NetworkOptions.from_dict(facts.network)`).
        classes: names in the order of the logits; at least two.
        weights: where the backbones start: `none` (from torch's random state) or `imagenet`. Not part of the options:
            weights loaded from a checkpoint replace them all.

    Raises:
        OptionError: a backbone or weights that do not exist, or fewer than two classes.
        CheckpointError: pretrained weights could not be fetched.
    """
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise OptionError(f"classes are {list(classes)}; allowed: at least two, all different. See --classes.")
    parts = {name: _branches(name, getattr(options, name), options, weights) for name in options.modalities}
    fusion: SingleHead | HybridHead
    if len(parts) == 1:
        fusion = SingleHead(_head(options, len(classes)))
    else:
        heads = [_head(options, len(classes)) for _ in range(3)]
        intermediate = torch.mul if options.fusion == "multiply" else layers.WeightedAddition(2)  # Eq. 1 multiplies
        fusion = HybridHead(options.configuration in (1, 3), intermediate, heads)
    criss_cross = None
    if options.speech and options.image and not options.separable:
        criss_cross = CrissCross(options.speech.channels[-1], options.image.channels[-1])
    return ParallelNet(
        classes, parts.get("speech"), parts.get("image"), fusion, criss_cross, embed_dim=options.embed_dim
    )


Freeze = Literal["none", "backbones", "branches"]


def freeze(network: ParallelNet, what: Freeze) -> None:
    """Stop parts of a network from learning, in place.

    `backbones`: N2's features, and the 1x1 convolution before the speech backbone, which then copies the spectrogram
    into the three channels: to learn it would take a pass back through the whole backbone at each step, which is what
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
