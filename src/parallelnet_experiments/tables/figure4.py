"""The paper's Fig. 4: examples with P, GT, Score, picture, highlighted words, and the waveform in yellow and blue.

The paper shows four that it chose. These are drawn at random from each class, right or wrong alike, and each is
explained by the network of the fold that never saw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parallelnet.errors import ParallelNetError
from parallelnet.explanation.explaining import explain
from parallelnet.explanation.parts import SpeechUnit
from parallelnet.explanation.result import Explanation
from parallelnet.predictor import load
from parallelnet.report import sample_plots
from parallelnet.report.drawing import DARK, Shown, heading, panels, save
from parallelnet.types import Sample

from .prepared import Material
from .study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW = "parallelnet"
"""The row whose network is explained."""
N_WORDS = 3


def draw(outcomes: Sequence[Outcome], material: Material, per_class: int, seed: int, out: Path) -> dict[str, Any]:
    """Explain examples of each class, write `figure4.png`, and return what it shows or the reason why it is not there.

    Args:
        outcomes: of the table; `parallelnet` must be whole.
        material: where the examples come from.
        per_class: examples of each class.
        seed: of the draw.
        out: folder of the figure.
    """
    outcome = next((each for each in outcomes if each.row.key == ROW), None)
    if outcome is None or outcome.reason:
        return {"reason": f"not drawn: needs {ROW} ({outcome.reason if outcome else 'not asked for'})"}
    examples = drawn(material, per_class, seed)
    found: list[dict[str, Any]] = []
    explanations: list[Explanation] = []
    models: dict[int, Any] = {}
    for fold, sample in examples:
        if fold not in models:
            models[fold] = load(outcome.folder / f"fold-{fold}" / "checkpoint", device="cpu")
        try:
            explanation = explain(
                sample.speech, sample.image, model=models[fold], word_times=sample.word_times, seed=seed
            )
        except ParallelNetError as error:  # the table that was trained for shall not be lost for a picture
            return {"reason": f"failed: {sample.id}: {error}"}
        explanations.append(explanation)
        found.append(
            {
                "id": sample.id,
                "fold": fold,
                "said": explanation.prediction.emotion,
                "truth": material.labels[sample.id],
                "score": round(explanation.prediction.probs[explanation.prediction.emotion], 4),
                "words": strongest_words(explanation),
                "modality_values": {name: round(float(value), 4) for name, value in _modalities(explanation).items()},
            }
        )
    save(grid(explanations, [each["truth"] for each in found]), out / "figure4.png")
    return {"reason": "", "per_class": per_class, "examples": found}


def drawn(material: Material, per_class: int, seed: int) -> list[tuple[int, Sample]]:
    """Return (fold, sample) of examples drawn at random: so many of each class, in the order of the classes."""
    rng = np.random.default_rng(seed)
    tested = [(fold, sample) for fold, part in enumerate(material.parts) for sample in part.test]
    found = []
    for name in material.classes:
        of_class = [each for each in tested if material.labels[each[1].id] == name]
        chosen = rng.permutation(len(of_class))[:per_class]
        found += [of_class[k] for k in sorted(chosen)]
    return found


def strongest_words(explanation: Explanation) -> list[str]:
    """Return the words that count most for the prediction, strongest first; empty where words are not known."""
    if explanation.units != "words":
        return []
    values = explanation.values[explanation.target].speech_units
    pairs: list[tuple[float, SpeechUnit]] = list(zip(values, explanation.speech_units, strict=True))
    by_value = sorted(pairs, key=lambda each: -each[0])
    return [unit.word for value, unit in by_value[:N_WORDS] if value > 0]


def _modalities(explanation: Explanation) -> dict[str, float]:
    values = explanation.values[explanation.target]
    return {"speech": sum(values.speech_units), "image": sum(values.image_units)}


def grid(explanations: Sequence[Explanation], truths: Sequence[str]) -> Figure:
    """Return the examples below one another: P, GT, Score, waveform, words, picture; each with its scale of shades.

    Args:
        explanations: with their material.
        truths: ground truth of each.
    """
    from matplotlib.figure import Figure

    examples = [Shown(explanation) for explanation in explanations]
    parts = [("speech", "words", "picture")[:: 1 if each.of.units == "words" else 2] for each in examples]
    heights = [0.5 + sample_plots.heights(each, shown)[0] for each, shown in zip(examples, parts, strict=True)]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    for panel, each, shown, truth in zip(panels(figure, heights=heights), examples, parts, truths, strict=True):
        said = each.of.prediction.emotion
        line = f"P: {said}, GT: {truth}, Score: {each.of.prediction.probs[said]:.2f}"
        heading(panel, line, color=DARK if said == truth else "#B00020")
        sample_plots.draw_sample(panel, each, shown)
    return figure
