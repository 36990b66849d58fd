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
from parallelnet.report import explanation_plots
from parallelnet.report.drawing import DARK, colour_bar, place, plain, save, score_name, text, unit_shades
from parallelnet.report.signal_plots import words_height
from parallelnet.types import Sample

from .prepared import Material
from .study import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW = "parallelnet"
"""The row whose network is explained."""
N_WORDS = 3
_WIDTH, _SIDE, _MARGIN, _HEAD, _SPEECH = 11.0, 2.6, 0.3, 0.65, 1.75  # inches


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
    """Return the examples below one another: picture, P, GT, Score, words, waveform; each with its scale of shades.

    Args:
        explanations: with their material.
        truths: ground truth of each.
    """
    from matplotlib.figure import Figure

    across = _WIDTH - _SIDE - 3 * _MARGIN
    words = [words_height(e, across) if e.units == "words" else 0.0 for e in explanations]
    heights = [max(_HEAD + each + _SPEECH, _SIDE) + _MARGIN for each in words]
    total = sum(heights) + _MARGIN + 0.1
    figure = Figure(figsize=(_WIDTH, total))
    top = total - _MARGIN
    for explanation, truth, words_in, height in zip(explanations, truths, words, heights, strict=True):
        picture = place(figure, _MARGIN, top - _SIDE, _SIDE, _SIDE)
        explanation_plots.picture_plot(explanation, picture, bar=False, finder=False)
        left = _SIDE + 2 * _MARGIN
        _write_heading(figure, explanation, truth, left, top)
        if words_in:
            lines = place(figure, left, top - _HEAD - words_in, across, words_in)
            explanation_plots.words_plot(explanation, lines, bar=False)
        below = top - _HEAD - words_in
        axes = (
            place(figure, left + 0.5, below - 0.7, across - 0.5, 0.65),
            place(figure, left + 0.5, below - 1.5, across - 0.5, 0.75),
        )
        explanation_plots.speech_plot(explanation, axes, bar=False)
        top -= height
    return figure


def _write_heading(figure: Figure, explanation: Explanation, truth: str, left: float, top: float) -> None:
    said = explanation.prediction.emotion
    score = explanation.prediction.probs[said]
    line = plain(f"P: {said}, GT: {truth}, Score: {score:.2f}", 90)
    up = figure.get_size_inches()[1]
    weight: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "color": DARK if said == truth else "#B00020"}
    figure.text(left / _WIDTH, (top - 0.2) / up, line, va="center", **weight, **text(line))
    bar_at = place(figure, _WIDTH - _MARGIN - 2.3, top - 0.18, 2.2, 0.11)
    bar_at.set_axis_off()
    scale = unit_shades(explanation.values[explanation.target], "paper")
    colour_bar(bar_at, scale, score_name(explanation, explanation.target), (0, 0, 1, 1))
