"""The model card: `README.md` of a checkpoint, made from its facts alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..checkpoint import ModelFacts

SETTINGS = {"both": "speech and picture", "speech": "speech alone", "image": "picture alone"}


def model_card(facts: ModelFacts, notes: str = "") -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        facts: of the checkpoint; every figure comes from there.
        notes: what only people know: terms, intended use, limits, bias. Markdown, put before the figures.
    """
    parts = [
        "---\nlibrary_name: parallelnet\ntags: [emotion-recognition, speech, image, multimodal]\n---",
        f"# {facts.name}",
        f"Variant `{facts.variant}` of ParallelNet (Kumar, Malik, Raman: Interpretable Multimodal Emotion Recognition "
        f"using Hybrid Fusion of Speech and Image Data). It takes {' and '.join(facts.modalities)} and tells "
        f"{', '.join(facts.classes)} apart.",
        notes.strip(),
        "## Data\n\n" + _data(facts),
        "## Measured on the test part\n\n" + figures(facts),
        "## Calibration\n\n" + _calibration(facts),
        "## Training\n\n" + _training(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _data(facts: ModelFacts) -> str:
    names = ("train", "validation", "test")
    rows = [
        [name, *(facts.data[name][key] for key in ("samples", "utterances", "pictures", "speakers"))]
        + [facts.data[name]["per_class"].get(c, 0) for c in facts.classes]
        for name in names
        if name in facts.data
    ]
    return _table(["part", "samples", "utterances", "pictures", "speakers", *facts.classes], rows) + (
        f"\n\nNo speaker and no picture stands in two parts. Fingerprint of the data: `{facts.data['fingerprint']}`."
    )


def figures(facts: ModelFacts) -> str:
    """Return the tables of test figures with their intervals, as Markdown; README shows them too."""
    tested: Mapping[str, Any] = facts.metrics.get("test", {})
    if not tested:
        return "There was no test part."
    names = [
        ("accuracy", "accuracy"),
        ("macro_f1", "macro F1"),
        ("cohen_kappa", "kappa"),
        ("uar", "UAR"),
        ("ece", "ECE"),
    ]
    rows = [
        [SETTINGS[setting], *(_with_interval(m[key], m["ci95"][key]) for key, _ in names)]
        for setting, m in tested.items()
    ]
    recalls = [
        [SETTINGS[setting]]
        + [_with_interval(m["per_class_recall"][c], m["ci95"][f"recall_{c}"]) for c in facts.classes]
        for setting, m in tested.items()
    ]
    return (
        "95 % bootstrap intervals in brackets; what is drawn are utterances (pictures, for picture alone) with all "
        "pairs that they stand in. They hold for these speakers; for new ones they would be wider.\n\n"
        + _table(["used", *(title for _, title in names)], rows)
        + "\n\nRecall of each class:\n\n"
        + _table(["used", *facts.classes], recalls)
    )


def _calibration(facts: ModelFacts) -> str:
    held: Mapping[str, Any] = facts.metrics.get("conformal", {})
    rows = []
    for setting, temperature in facts.temperatures.items():
        if setting not in facts.conformal:
            continue
        threshold = facts.conformal[setting]
        found = held.get(setting, {})
        rows.append(
            [
                SETTINGS[setting],
                _number(temperature),
                "not calibrated" if threshold is None else _number(1 - threshold),
                _number(found.get("coverage")),
                _number(found.get("mean_size")),
            ]
        )
    return (
        "One temperature a setting, fitted on the validation part; a class is in the 90 % conformal set when its "
        "probability reaches the level below, from the same part. Coverage and size are measured on the test part.\n\n"
        + _table(["used", "temperature", "level", "coverage", "mean set size"], rows)
    )


def _training(facts: ModelFacts) -> str:
    recipe = dict(facts.training.get("recipe", {}))
    augment = recipe.pop("augment", {})
    rest = {name: value for name, value in facts.training.items() if name != "recipe"}
    rows = {**rest, **recipe, **augment, "epochs trained": facts.metrics.get("epochs"), **facts.versions}
    return _table(["option", "value"], [[name, _plain(value)] for name, value in rows.items()])


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _with_interval(value: float | None, interval: Iterable[float | None]) -> str:
    low, high = interval
    return f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in lines)
