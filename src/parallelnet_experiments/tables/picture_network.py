"""Picture networks of the methods of Table 2: VGG19 with a new last layer, trained on pictures alone.

They learn on the training of every other network here (`training.fit`): a `ParallelNet` that only sees, whose N1 says
nothing and whose N2 is VGG19 up to fc7. At the small size VGG19 is narrow, as in the row `parallelnet`.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models

from parallelnet.calibration import Floats, Ints
from parallelnet.data.loading import SignalStore
from parallelnet.models import features, variants
from parallelnet.models.layers import N1, N2, ModalityBranches, SingleHead, evaluating
from parallelnet.models.network import SIDE, Freeze, ParallelNet
from parallelnet.training.finish import calibrate, outputs_of
from parallelnet.training.fit import Part, fit
from parallelnet.types import SENTIMENTS, Sample

from .study import FoldTask

# Side that VGG19's dense layers were trained for. Signals are 128 x 128 (design section 4) and enlarged to it.
VGG_SIDE = 224
SMALL_WIDTH = 128  # width of fc6 and fc7 at the small size; VGG19's own have 4096
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
        facts = variants.network_options("ier-only", size="small").image
        assert facts is not None
        prepare = nn.AvgPool2d(facts.input_pool)
        backbone = features.build(facts.backbone)
        with evaluating(backbone):
            n_features = backbone(torch.zeros(1, 3, SIDE // facts.input_pool, SIDE // facts.input_pool)).numel()
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


def labels_of(samples: Sequence[Sample]) -> Ints:
    """Return the human labels as indices of `SENTIMENTS`, [n]."""
    return np.array([SENTIMENTS.index(s.sentiment) for s in samples], dtype=np.int64)


def pictures(samples: Sequence[Sample], labels: Ints | None = None) -> Part:
    """Return samples with a class each (people's without `labels`) as the training takes them.

    Speech is left out: it would be decoded in vain.
    """
    chosen = labels_of(samples) if labels is None else labels
    return Part(tuple(replace(s, speech=None) for s in samples), tuple(int(label) for label in chosen))


def train_pictures(task: FoldTask, train: Part) -> tuple[tuple[Floats, Floats], dict[str, Any]]:
    """Train the picture network of a fold; a state found in its folder is where training goes on.

    Args:
        task: the fold: its validation part stops the training and fits the temperature.
        train: what is learnt.

    Returns:
        What it says of the validation part, on which it is calibrated, and of the test part, each [n, 3]; and epochs,
        seconds, parameters, network.
    """
    options, start, started = task.study.options, task.row.start, time.monotonic()
    validation = pictures(task.parts.validation)
    torch.manual_seed(options.seed)
    network = picture_network(SENTIMENTS, options.size, start)
    # From random weights everything learns: features that nobody trained are no features.
    fine_tune = options.fine_tune if start == "imagenet" else "all"
    frozen: Freeze = "backbones" if fine_tune == "fc6" else "none"
    # One device: with more, each process would write the same files.
    how = (task.store, task.study.recipe, task.folder, replace(options, devices=1))
    epochs, _ = fit(network, train, validation, *how, quiet=task.study.quiet, frozen=frozen)
    network.to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    temperature = calibrate(network, validation, task.store)[0][0]["image"]
    outputs = [outputs_of(network, each, task.store, "image") for each in (validation, pictures(task.parts.test))]
    said, answers = (each.probs(temperature) for each in outputs if each is not None)
    shutil.rmtree(task.folder / "state", ignore_errors=True)
    narrow = options.size == "small" and start == "none"
    name = f"VGG19 narrow, {variants.SMALL_SIDE} x {variants.SMALL_SIDE} pictures" if narrow else "VGG19"
    facts = {
        "network": f"{name}, {'ImageNet' if start == 'imagenet' else 'random'} weights",
        "fine_tuned": fine_tune,
        "epochs": epochs,
        "seconds": round(time.monotonic() - started, 1),
        "parameters": sum(p.numel() for p in network.parameters()),
        "temperature": round(temperature, 4),
    }
    return (said, answers), facts


def content_probs(samples: Sequence[Sample], store: SignalStore, classifier: nn.Module) -> Floats:
    """Return what an ImageNet classifier (logits of normalised pictures) says that each shows, [n, n_content]."""
    prepare = nn.Sequential(
        nn.Upsample(VGG_SIDE, mode="bilinear", align_corners=False),
        features.Normalise(variants.IMAGENET_MEAN, variants.IMAGENET_STD),
    )
    found = []
    with evaluating(classifier):
        for first in range(0, len(samples), CONTENT_BATCH):
            batch = [store.picture(s.image or "") for s in samples[first : first + CONTENT_BATCH]]
            found.append(classifier(prepare(torch.from_numpy(np.stack(batch)))).double().softmax(-1).numpy())
    return np.concatenate(found)
