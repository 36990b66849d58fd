"""Picture networks of the methods of Table 2: VGG19 with a new last layer, trained on pictures alone.

They learn on the training of every other network here (`training.fit`): a `ParallelNet` that only sees, whose N1 says
nothing and whose N2 is VGG19 up to fc7. At the small size VGG19 is narrow, as in the row `parallelnet`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from parallelnet.data.loading import SignalStore
from parallelnet.models import features, variants
from parallelnet.models.layers import N1, N2, ModalityBranches, SingleHead
from parallelnet.models.network import SIDE, ParallelNet
from parallelnet.models.variants import SMALL_SIDE, network_options
from parallelnet.options import Recipe
from parallelnet.training.finish import Judge, calibrate
from parallelnet.training.fit import Hardware, Part, fit
from parallelnet.types import Sample

from .text_reference import Ints, Probs

VGG_SIDE = 224
"""Side that VGG19's dense layers were trained for. Signals are 128 x 128 (design section 4) and enlarged to it."""
SMALL_WIDTH = 128
"""Width of fc6 and fc7 at the small size; VGG19's own have 4096."""
CONTENT_BATCH = 16

Start = Literal["none", "imagenet"]


class Nothing(N1):
    """An N1 that says nothing: VGG19 stands alone."""

    def __init__(self, width: int) -> None:
        """Take the width of N2's output, to which zeros are added."""
        nn.Module.__init__(self)
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros `[n, width]`."""
        return x.new_zeros(len(x), self.width)


class UpToFc7(N2):
    """A classifier without its last layer, as an N2: the features as its backbone, fc6 and fc7 as its embedding."""

    def __init__(self, backbone: nn.Module, dense: nn.Module) -> None:
        """Take what freezing stops (the features) and what always learns (fc6 and fc7)."""
        nn.Module.__init__(self)
        self.adapt = nn.Identity()
        self.backbone = backbone
        self.dense = nn.Sequential(nn.Flatten(), dense)

    def embed(self, features: Tensor) -> Tensor:
        """Return fc7's output `[n, width]` from the feature map."""
        return self.dense(features)  # type: ignore[no-any-return]


def vgg19(start: Start) -> nn.Module:
    """Return torchvision's VGG19 with all its layers, for 1000 classes.

    Raises:
        CheckpointError: the ImageNet weights could not be fetched.
    """
    from torchvision import models

    if start == "imagenet":
        return features.pretrained(variants.BACKBONES["vgg19"])
    return models.vgg19(weights=None)  # type: ignore[no-any-return]


def picture_network(classes: Sequence[str], size: Literal["paper", "small"], start: Start) -> ParallelNet:
    """Return VGG19 with a new last layer for these classes.

    Args:
        classes: in the order of the logits.
        size: `paper` is VGG19; `small` its narrow counterpart on small pictures, without pretrained weights.
        start: `none` from torch's random state, or `imagenet`, always at full size.

    Raises:
        CheckpointError: the ImageNet weights could not be fetched.
    """
    prepare: nn.Module
    if size == "small" and start == "none":
        facts = network_options("ier-only", size="small").image
        assert facts is not None
        prepare = nn.AvgPool2d(facts.input_pool)
        backbone = features.build(facts.backbone)
        with torch.no_grad():
            n_features = backbone.eval()(torch.zeros(1, 3, SIDE // facts.input_pool, SIDE // facts.input_pool)).numel()
        backbone.train()
        widths = ((n_features, SMALL_WIDTH), (SMALL_WIDTH, SMALL_WIDTH))
        layers = [layer for shape in widths for layer in (nn.Linear(*shape), nn.ReLU(), nn.Dropout())]
        dense, width = nn.Sequential(*layers), SMALL_WIDTH
    else:
        model: Any = vgg19(start)
        prepare = nn.Upsample(VGG_SIDE, mode="bilinear", align_corners=False)
        normalise = features.Normalise(variants.IMAGENET_MEAN, variants.IMAGENET_STD)
        backbone = nn.Sequential(normalise, model.features, model.avgpool)
        dense, width = model.classifier[:-1], model.classifier[-1].in_features
    image = ModalityBranches([prepare], Nothing(width), UpToFc7(backbone, dense))
    return ParallelNet(classes, None, image, SingleHead(nn.Linear(width, len(classes))), embed_dim=width)


def pictures(samples: Sequence[Sample], labels: Ints) -> Part:
    """Return samples with a class each as the training takes them; speech is left out, it would be decoded in vain."""
    return Part(tuple(replace(s, speech=None) for s in samples), tuple(int(label) for label in labels))


def train_pictures(
    train: Part,
    validation: Part,
    test: Sequence[Sample],
    classes: Sequence[str],
    *,
    size: Literal["paper", "small"],
    start: Start,
    fine_tune: Literal["fc6", "all"],
    recipe: Recipe,
    store: SignalStore,
    folder: Path,
    seed: int,
    hardware: Hardware,
) -> tuple[tuple[Probs, Probs], dict[str, Any]]:
    """Train a picture network; a state found in the folder is where training goes on.

    Args:
        train: what it learns from.
        validation: what stops it, and what its temperature is fitted on.
        test: samples that it is asked about; their labels are not looked at.
        classes: names of the classes.
        size: see `picture_network`.
        start: see `picture_network`.
        fine_tune: `fc6` lets fc6, fc7 and the new layer learn, `all` all layers.
        recipe: how.
        store: decodes pictures and keeps them.
        folder: for logs and the state.
        seed: of everything random.
        hardware: where to train.

    Returns:
        What it says of the validation part, on which it is calibrated, and of the test part, each [n, n_classes]; and
        epochs, seconds, parameters, network.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    network = picture_network(classes, size, start)
    frozen: Literal["backbones", "none"] = "backbones" if fine_tune == "fc6" else "none"
    epochs, _ = fit(network, train, validation, store, recipe, folder, seed=seed, hardware=hardware, frozen=frozen)
    network.to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    judge = Judge(network, store)
    temperature = calibrate(judge, validation).temperatures["image"]
    asked = pictures(test, np.zeros(len(test), dtype=np.int64))
    outputs = [judge.outputs(each, "image") for each in (validation, asked)]
    said, answers = (each.probs(temperature) for each in outputs if each is not None)
    shutil.rmtree(folder / "state", ignore_errors=True)
    small = f"VGG19 narrow, {SMALL_SIDE} x {SMALL_SIDE} pictures, random weights"
    name = {"imagenet": "VGG19, ImageNet weights"}.get(start) or ("VGG19, random weights" if size == "paper" else small)
    facts = {
        "network": name,
        "fine_tuned": fine_tune,
        "epochs": epochs,
        "seconds": round(time.monotonic() - started, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "temperature": round(temperature, 4),
    }
    return (said, answers), facts


def content_probs(samples: Sequence[Sample], store: SignalStore, classifier: nn.Module, side: int = VGG_SIDE) -> Probs:
    """Return what an ImageNet classifier says that each picture shows, [n, n_content].

    Args:
        samples: with pictures.
        store: decodes them.
        classifier: pictures normalised as ImageNet's, `[n, 3, side, side]`, to logits `[n, n_content]`.
        side: that it takes.
    """
    prepare = nn.Sequential(
        nn.Upsample(side, mode="bilinear", align_corners=False),
        features.Normalise(variants.IMAGENET_MEAN, variants.IMAGENET_STD),
    )
    found, training = [], classifier.training
    classifier.eval()
    with torch.no_grad():
        for first in range(0, len(samples), CONTENT_BATCH):
            batch = [store.picture(s.image) for s in samples[first : first + CONTENT_BATCH] if s.image is not None]
            logits = classifier(prepare(torch.from_numpy(np.stack(batch))))
            found.append(logits.double().softmax(-1).numpy())
    classifier.train(training)
    return np.concatenate(found)
