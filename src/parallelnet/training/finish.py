"""From a trained network to a checkpoint: calibrate on the validation part, report on the test part, export, card.

Window probabilities are averaged as `predict` averages them, so that what is reported is what users get.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..calibration import softmax
from ..data.loading import Batch, SampleDataset, SignalStore, collate
from ..evaluation import Metrics, conformal_threshold, evaluate, fit_temperature
from ..models.network import FrozenPart, ParallelNet, branches
from ..options import Recipe
from ..types import Modalities
from .fit import Part

BATCH = 64
DECIMALS = 6
"""Of the probabilities that are kept for each sample: finer than anything that is read off them."""
MIN_CALIBRATION = 20
"""Samples below which neither a temperature nor a 90 % threshold is worth its name."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network says of a part.

    Attributes:
        logits: raw, of windows [w, n_classes].
        owner: sample of each window [w].
        labels: the truth [n].
        files: what was heard, or seen where nothing was heard, of each sample: pairs that share it stand or fall
            together, so a bootstrap draws it whole.
        ids: of the samples.
    """

    logits: NDArray[np.float64]
    owner: NDArray[np.int64]
    labels: NDArray[np.int64]
    files: tuple[str, ...]
    ids: tuple[str, ...]

    def probs(self, temperature: float) -> NDArray[np.float64]:
        """Return [n, n_classes]: softmax of logits / temperature, averaged over each sample's windows."""
        summed = np.zeros((len(self.labels), self.logits.shape[1]))
        np.add.at(summed, self.owner, softmax(self.logits / temperature))
        return summed / np.bincount(self.owner, minlength=len(self.labels))[:, None]


def settings(network: ParallelNet) -> tuple[Modalities, ...]:
    """Return the ways in which a network can be used: both modalities, and each alone; or its only one."""
    if len(network.modalities) == 2:
        return ("both", "speech", "image")
    return ("speech",) if network.modalities == ("speech",) else ("image",)


class Judge:
    """Runs a trained network over parts; each file goes through its branches once, whatever is asked after."""

    def __init__(self, network: ParallelNet, store: SignalStore) -> None:
        """Take a network in evaluation mode, on the CPU."""
        self.network = network
        self.store = store
        self.frozen = FrozenPart(network, "branches") if network.separable else None
        self._said: dict[tuple[int, Modalities], tuple[Part, Outputs | None]] = {}

    def outputs(self, part: Part, modalities: Modalities) -> Outputs | None:
        """Return what the network says of the samples that have these modalities; None where there are none.

        Each part goes through once: calibration, figures and conformal sets all ask for the same.
        """
        key = (id(part), modalities)  # the part is kept beside, so that no other gets its id
        if key not in self._said:
            self._said[key] = part, self._outputs(part, modalities)
        return self._said[key][1]

    def _outputs(self, part: Part, modalities: Modalities) -> Outputs | None:
        wanted = ("speech", "image") if modalities == "both" else (modalities,)
        absent = {name: None for name in ("speech", "image") if name not in wanted}
        chosen = [
            (replace(s, **absent), label)  # type: ignore[arg-type]  # only speech or image, set to None
            for s, label in zip(part.samples, part.labels, strict=True)
            if all(getattr(s, name) is not None for name in wanted)
        ]
        if not chosen:
            return None
        samples = [s for s, _ in chosen]
        dataset = SampleDataset(samples, [y for _, y in chosen], self.store, Recipe(), 0, self.frozen)
        logits, owner = [], []
        with torch.no_grad():
            for first in range(0, len(samples), BATCH):
                # No draw: what `predict` sees.
                batch = collate([dataset[place, None] for place in range(first, min(first + BATCH, len(samples)))])
                logits.append(self._logits(batch).double().numpy())
                owner.append(batch.owner.numpy() + first)
        return Outputs(
            np.concatenate(logits),
            np.concatenate(owner),
            np.array(dataset.labels),
            tuple(s.speech or s.image or s.id for s in samples),
            tuple(s.id for s in samples),
        )

    def _logits(self, batch: Batch) -> Tensor:
        image = batch.image[batch.owner]
        if self.frozen is None:
            return self.network.logits(batch.speech, image)
        heard = branches(self.network.speech, batch.speech, batch.speech_kept)
        seen = branches(self.network.image, image, tuple(k[batch.owner] for k in batch.image_kept))
        return self.network.head(heard, seen)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature and conformal threshold for each setting; None where the part was too small."""

    temperatures: Mapping[str, float]
    conformal: Mapping[str, float | None]


def calibrate(judge: Judge, validation: Part) -> Calibration:
    """Return temperatures and 90 % conformal thresholds from the validation part (design section 6)."""
    temperatures: dict[str, float] = {}
    conformal: dict[str, float | None] = {}
    for setting in settings(judge.network):
        outputs = judge.outputs(validation, setting)
        temperatures[setting], conformal[setting] = 1.0, None
        if outputs is None or len(outputs.labels) < MIN_CALIBRATION:
            continue
        temperatures[setting] = fit_temperature(outputs.logits, outputs.labels[outputs.owner])
        conformal[setting] = conformal_threshold(outputs.probs(temperatures[setting]), outputs.labels)
    return Calibration(temperatures, conformal)


@dataclass(frozen=True, slots=True)
class Report:
    """What a network is worth on the test part, by setting.

    Attributes:
        metrics: with intervals that draw utterances (pictures, where only they are used) with all pairs that they stand
            in: pairs that share one are no independent samples.
        said: of each sample `ids`, `labels` (class indices), `probs` (calibrated, [n, n_classes]) and `raw_probs` (at
            temperature 1).
        in_sets: how often the conformal set holds the truth, and how many classes it holds on average; only of settings
            that have a threshold.
    """

    metrics: dict[str, Metrics]
    said: dict[str, Any]
    in_sets: dict[str, Any]


def report(judge: Judge, test: Part, calibration: Calibration) -> Report:
    """Return what the network is worth on the test part."""
    found = Report({}, {}, {})
    for setting in settings(judge.network):
        outputs, threshold = judge.outputs(test, setting), calibration.conformal[setting]
        if outputs is None:
            continue
        probs, labels = outputs.probs(calibration.temperatures[setting]), outputs.labels
        found.metrics[setting] = evaluate(labels, probs, judge.network.classes, groups=outputs.files, drawn="file")
        found.said[setting] = {
            "ids": list(outputs.ids),
            "labels": labels.tolist(),
            "probs": probs.round(DECIMALS).tolist(),
            "raw_probs": outputs.probs(1.0).round(DECIMALS).tolist(),
        }
        if threshold is not None:
            held = (1 - probs <= threshold) | (probs == probs.max(axis=1, keepdims=True))
            coverage, size = held[np.arange(len(probs)), labels].mean(), held.sum(axis=1).mean()
            found.in_sets[setting] = {"coverage": float(coverage), "mean_size": float(size)}
    return found


def validated(judge: Judge, validation: Part, calibration: Calibration) -> dict[str, Any]:
    """Return accuracy, macro F1 and kappa of each setting on the validation part, which all tuning goes by."""
    found: dict[str, Any] = {}
    for setting in settings(judge.network):
        outputs = judge.outputs(validation, setting)
        if outputs is not None:
            probs = outputs.probs(calibration.temperatures[setting])
            metrics = evaluate(outputs.labels, probs, judge.network.classes, n_bootstrap=1)
            found[setting] = {name: getattr(metrics, name) for name in ("n", "accuracy", "macro_f1", "cohen_kappa")}
    return found
