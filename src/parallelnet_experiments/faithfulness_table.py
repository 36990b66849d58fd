"""What a study of faithfulness found, as Markdown: pure functions of its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def table(record: Mapping[str, Any]) -> str:
    """Return the result of one task as Markdown; a pure function of its JSON."""
    counts, default = record["counts"], record["default_baseline"]
    lines = [f"## {record['task'].capitalize()}", "", *_model_lines(record), ""]
    who = "is right and changes its mind without the cue" if record["primary"] == "changed" else "is right"
    lines += [
        f"{counts['explained']} samples with a cue were explained, drawn at random; figures are of the "
        f"{counts['explained_primary']} on which the model {who}. 95 % bootstrap intervals in brackets. Baseline "
        f"{default.replace('+', ', ')}.",
        "",
    ]
    if counts["skipped_first"]:
        lines += [f"The {counts['skipped_first']} samples drawn first, which were looked at before, are left out.", ""]
    if record["task"] == "pair":
        lines += [
            f"{counts['explained_needs_each']} of those that it is right about need both cues: without either one the "
            "label loses at least half of what it has above chance.",
            "",
        ]
    sides = sorted(
        {side for each in record["explainers"].values() for found in each.values() for side in found["auc"]["primary"]},
        reverse=True,
    )
    pair = record["task"] == "pair"
    head = [
        "explainer",
        *(f"AUC, {side}" for side in sides),
        *(["planted pair first", "of those that need both cues"] if pair else []),
        "deletion (low)",
        "insertion (high)",
        "random weights",
        "passes",
        "CPU s",
    ]
    lines += ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for name, by_baseline in record["explainers"].items():
        found = by_baseline.get(default)
        if found is None:
            continue
        curves = found.get("curves", {}).get(default, {})
        cells = [name, *(_cell(found["auc"]["primary"].get(side)) for side in sides)]
        first = found.get("pair_first", {})
        cells += [_cell(first.get("primary")), _cell(first.get("needs_each"))] if pair else []
        cells += [_cell(curves.get("deletion")), _cell(curves.get("insertion"))]
        cells += [_cell(found.get("random_weights", {}).get("rank_correlation"))]
        cells += [
            "" if found[k] is None else f"{found[k]:,.{digits}f}" for k, digits in (("passes", 0), ("cpu_seconds", 2))
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *_notes(record), *_crossed(record)]
    return "\n".join(lines) + "\n"


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return ""
    low, high = figure["ci95"]
    return f"{figure['mean']:.3f} [{low:.3f}, {high:.3f}]"


def _model_lines(record: Mapping[str, Any]) -> list[str]:
    model, counts = record["model"], record["counts"]
    text = [
        f"The model is right on {_cell(model['accuracy'])} of {counts['samples']} samples, on "
        f"{_cell(model['accuracy_with_cue'])} of the {counts['with_cue']} with a cue. Of those it changes its mind "
        f"on {_cell(model['changes_its_mind'])} without the cue."
    ]
    for name, found in model["without"].items():
        text.append(
            f"Without the cue of {name.replace('+', ' and ')} the probability of what was planted goes from "
            f"{_cell(model['prob_with_cue'])} to {_cell(found['prob'])}; right on {_cell(found['accuracy'])}."
        )
    return text


def _notes(record: Mapping[str, Any]) -> list[str]:
    lines = []
    band = record["random_orders"].get(record["default_baseline"])
    if band:
        deletion, insertion = (band[name] for name in ("deletion", "insertion"))
        lines.append(
            f"Random orders: deletion {deletion['mean']:.3f} ({deletion['low']:.3f} to {deletion['high']:.3f}), "
            f"insertion {insertion['mean']:.3f} ({insertion['low']:.3f} to {insertion['high']:.3f}); the lowest "
            f"and highest of {deletion['orders']} orders, each a mean over {deletion['n']} samples. Curves, other "
            "baselines and random weights are of these samples."
        )
    if record.get("chance_first") is not None:
        lines.append(
            f"Chance of the planted pair being first: {record['chance_first']:.3f}; by the product of its parts' own "
            f"values (`exact`, without interactions): {_cell(record['product_of_values'])}."
        )
    lines += [f"Not run: {name}: {why}." for name, why in record["left_out"].items()]
    lines += [f"Dropped: {n} samples: {why}." for why, n in record["dropped"].items()]
    lines += [
        f"Failed: {name} on {len(ids)} samples: {next(iter(ids.values()))}" for name, ids in record["failed"].items()
    ]
    return [each for line in lines for each in (line, "")]


def _crossed(record: Mapping[str, Any]) -> list[str]:
    """Return deletion and insertion of `owen` with explain-baseline (rows) and score-baseline (columns) crossed."""
    by_baseline = {name: found for name, found in record["explainers"].get("owen", {}).items() if found.get("curves")}
    scored = list(record["random_orders"])
    if len(by_baseline) < 2:
        return []
    lines = [
        "`owen`, deletion / insertion area: values under the baseline of the row, scored with that of the column; "
        "and the AUC under it.",
        "",
        "| explained with | " + " | ".join(scored) + " | AUC |",
        "|" + " --- |" * (len(scored) + 2),
    ]
    for name, found in by_baseline.items():
        cells = [
            " / ".join(f"{found['curves'][each][which]['mean']:.3f}" for which in ("deletion", "insertion"))
            for each in scored
        ]
        aucs = ", ".join(f"{side} {_cell(each)}" for side, each in found["auc"]["primary"].items())
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {aucs} |")
    bands = [
        " / ".join(f"{record['random_orders'][each][which]['mean']:.3f}" for which in ("deletion", "insertion"))
        for each in scored
    ]
    lines.append("| random order | " + " | ".join(bands) + " | |")
    return [*lines, ""]
