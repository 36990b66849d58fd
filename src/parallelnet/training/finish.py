"""From a trained network to a checkpoint: calibrate on the validation part, report on the test part, export, card.

Window probabilities are averaged as `predict` averages them, so that what is reported is what users get.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..calibration import softmax
from ..checkpoint import ModelFacts
from ..data.loading import SampleDataset, SignalStore, collate
from ..evaluation import Metrics, conformal_threshold, evaluate, fit_temperature
from ..models.network import ParallelNet
from ..options import Recipe
from ..report import numbers
from ..types import Sample
from .fit import Part

BATCH = 64
DECIMALS = 6  # Of the probabilities that are kept for each sample: finer than anything that is read off them
MIN_CALIBRATION = 20  # Samples below which neither a temperature nor a 90 % threshold is worth its name


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network says of a part.

    Attributes:
        logits: raw, of windows [w, n_classes].
        owner: sample of each window [w].
        labels: the truth [n].
        samples: without what the network was not given [n].
    """

    logits: NDArray[np.float64]
    owner: NDArray[np.int64]
    labels: NDArray[np.int64]
    samples: tuple[Sample, ...]

    def probs(self, temperature: float) -> NDArray[np.float64]:
        """Return [n, n_classes]: softmax of logits / temperature, averaged over each sample's windows."""
        summed = np.zeros((len(self.labels), self.logits.shape[1]))
        np.add.at(summed, self.owner, softmax(self.logits / temperature))
        return summed / np.bincount(self.owner, minlength=len(self.labels))[:, None]


def outputs_of(network: ParallelNet, part: Part, store: SignalStore, setting: str) -> Outputs | None:
    """Return what a network, in evaluation mode on the CPU, says of the samples that have a setting's modalities.

    None where there are no such samples.
    """
    wanted = ("speech", "image") if setting == "both" else (setting,)
    absent = {name: None for name in ("speech", "image") if name not in wanted}
    chosen = [
        (replace(s, **absent), label)  # type: ignore[arg-type]  # only speech or image, set to None
        for s, label in zip(part.samples, part.labels, strict=True)
        if all(getattr(s, name) is not None for name in wanted)
    ]
    if not chosen:
        return None
    samples, labels = zip(*chosen, strict=True)
    dataset = SampleDataset(samples, labels, store, Recipe(), 0)
    logits, owner = [], []
    for first in range(0, len(samples), BATCH):
        # No draw: what `predict` sees. An absent signal is no batch of zeros: one pass through its branches does.
        batch = collate([dataset[place, None] for place in range(first, min(first + BATCH, len(samples)))])
        image = None if "image" in absent else batch.image[batch.owner]
        with torch.no_grad():
            said = network.logits(None if "speech" in absent else batch.speech, image)
        logits.append(said.double().numpy())
        owner.append(batch.owner.numpy() + first)
    return Outputs(np.concatenate(logits), np.concatenate(owner), np.array(labels), samples)


Calibration = tuple[dict[str, float], dict[str, float | None]]  # temperatures and conformal thresholds, by setting


def calibrate(network: ParallelNet, validation: Part, store: SignalStore) -> tuple[Calibration, dict[str, Any]]:
    """Return what the validation part says (design section 6), by setting: both modalities, and each alone.

    Returns:
        Temperatures, 1 where the part was too small, and 90 % thresholds, None there. `n`, accuracy, macro F1 and
        kappa, which all tuning goes by; only where there are samples.
    """
    settings = ("both", *network.modalities) if len(network.modalities) == 2 else network.modalities
    temperatures, conformal, figures = dict.fromkeys(settings, 1.0), dict.fromkeys(settings), {}
    for setting in settings:
        outputs = outputs_of(network, validation, store, setting)
        if outputs is None:
            continue
        labels = outputs.labels
        if enough := len(labels) >= MIN_CALIBRATION:
            temperatures[setting] = fit_temperature(outputs.logits, labels[outputs.owner])
        probs = outputs.probs(temperatures[setting])
        conformal[setting] = conformal_threshold(probs, labels) if enough else None
        metrics = evaluate(labels, probs, network.classes, n_bootstrap=1).to_dict()
        figures[setting] = {name: metrics[name] for name in ("n", "accuracy", "macro_f1", "cohen_kappa")}
    return (temperatures, conformal), figures


def report(
    network: ParallelNet, test: Part, store: SignalStore, calibration: Calibration
) -> tuple[dict[str, Metrics], dict[str, Any], dict[str, Any]]:
    """Return what the network is worth on the test part, by setting.

    Returns:
        Metrics, with intervals that draw utterances (pictures, where only they are used) with all pairs that they stand
        in: pairs that share one are no independent samples. Of each sample `ids`, `labels` (class indices), `probs`
        (calibrated, [n, n_classes]) and `raw_probs` (at temperature 1). How often the conformal set holds the truth,
        and how many classes it holds on average; only of settings that have a threshold.
    """
    found: dict[str, Metrics] = {}
    said, in_sets = {}, {}
    for setting, threshold in calibration[1].items():
        outputs = outputs_of(network, test, store, setting)
        if outputs is None:
            continue
        probs, labels = outputs.probs(calibration[0][setting]), outputs.labels
        files = [s.speech or s.image or s.id for s in outputs.samples]  # drawn whole
        found[setting] = evaluate(labels, probs, network.classes, groups=files, drawn="file")
        said[setting] = {
            "ids": [s.id for s in outputs.samples],
            "labels": labels.tolist(),
            "probs": probs.round(DECIMALS).tolist(),
            "raw_probs": outputs.probs(1.0).round(DECIMALS).tolist(),
        }
        if threshold is not None:
            held = (1 - probs <= threshold) | (probs == probs.max(axis=1, keepdims=True))
            coverage, size = held[np.arange(len(probs)), labels].mean(), held.sum(axis=1).mean()
            in_sets[setting] = {"coverage": float(coverage), "mean_size": float(size)}
    return found, said, in_sets


SETTINGS = {"both": "speech and picture", "speech": "speech alone", "image": "picture alone"}


def model_card(facts: ModelFacts, notes: str = "") -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        facts: of the checkpoint; every figure comes from there.
        notes: what only people know: terms, intended use, limits, bias. Markdown, put before the figures.
    """
    recipe = dict(facts.training.get("recipe", {}))
    augment = recipe.pop("augment", {})
    rest = {name: value for name, value in facts.training.items() if name != "recipe"}
    training = {**rest, **recipe, **augment, "epochs trained": facts.metrics.get("epochs"), **facts.versions}
    return numbers.fill(
        __package__,
        "model_card.md.j2",
        facts=facts,
        notes=notes.strip(),
        figures=figures(facts),
        settings=SETTINGS,
        training={name: numbers.plain(value) for name, value in training.items()},
    )


def figures(facts: ModelFacts) -> str:
    """Return the tables of test figures with their intervals, as Markdown; README shows them too."""
    tested = facts.metrics.get("test", {})
    return numbers.fill(__package__, "figures.md.j2", tested=tested, classes=facts.classes, settings=SETTINGS).strip()
