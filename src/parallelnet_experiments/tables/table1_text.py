"""Table 1 as Markdown and LaTeX: pure functions of `table1.json`, the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import captions
from .rows import STUDIES, TABLE1

NONE = "-"
"""Stands where a row has no such figure; why a row was not run stands in its accuracy."""

FEW_COMPONENTS = 30
"""Below it percentile intervals are known to be too narrow, and the reader is told."""


def markdown(record: Mapping[str, Any]) -> str:
    """Return the whole result as Markdown: tables, and what must be known to read them."""
    parts = [
        "# Table 1: which network recognises emotions from speech and picture",
        caption(record),
        "Accuracy of all out-of-fold predictions in percent, 95 % bootstrap interval in brackets, then mean ± standard "
        "deviation over the folds. `Paper` is what the paper prints, on data that cannot be had. `Validation` is the "
        "accuracy on the inner validation part, the only one that a recipe may be chosen by.",
        _table(_HEAD, [_row(record["rows"][key]) for key in TABLE1] + _reference_rows(record)),
        *_order(record),
        _fusion(record),
        "## Studies that the text reports",
        "The paper prints no figures for these.",
        _table(_HEAD, [_row(record["rows"][key]) for key in STUDIES]),
        "## Differences",
        *_differences(record),
        "## How training went",
        *_training(record),
        "## Fig. 3: what ParallelNet says of each class",
        *_confusion(record),
        "## Where speech alone and picture alone disagree (section 3.2.1)",
        *_disagreement(record),
        *_figure4(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def caption(record: Mapping[str, Any]) -> str:
    """Return which data, folds, networks and recipe the figures are of."""
    data, options = record["data"], record["options"]
    counts = ", ".join(f"{name} {n:,}" for name, n in data["counts"].items())
    run = [row for row in record["rows"].values() if not row["reason"]]
    backbones = sorted({name for row in run for name in row["network"]["backbones"].values()})
    rough = " So few sets make rough intervals." if data["n_components"] < FEW_COMPONENTS else ""
    lines = [
        f"Data: {captions.identity(record)}, {data['n']:,} samples: {counts}; "
        f"{data['n_components']:,} sets that share a speaker or a picture, drawn whole by every interval.{rough}",
        f"{options['folds']} folds, stratified and grouped, the same for every row, as are budget and seed "
        f"({options['seed']}). {captions.budget(record, backbones)}",
    ]
    absent = captions.absent_classes(record)
    if absent:
        lines.append(absent)
    built = data.get("built")
    if built and built.get("labels") != "sentiment":
        teachers = " and ".join(f"{m} {t.get('name', '')}" for m, t in built.get("teachers", {}).items())
        lines.append(f"The labels were made by teachers ({teachers}), not by people (paper section 3.1).")
    return "\n".join(lines)


_HEAD = (
    *("Row", "N2 (speech / picture)", "Paper", "Accuracy", "Folds", "Macro F1", "Kappa", "UAR"),
    *("Validation", "Parameters", "Minutes"),
)


def _row(row: Mapping[str, Any]) -> list[str]:
    printed = NONE if row["printed"] is None else f"{row['printed']:.2f}"
    if row["reason"]:
        return [row["title"], NONE, printed, row["reason"], *[NONE] * (len(_HEAD) - 4)]
    network, pooled = row["network"], row["pooled"]
    used = " / ".join(network["backbones"].values())
    at_least = "≥ " if row["seconds_are_of_last_start"] else ""
    return [
        row["title"],
        used,
        printed,
        with_interval(pooled, "accuracy"),
        f"{percent(row['mean']['accuracy'])} ± {percent(row['std']['accuracy'])}",
        with_interval(pooled, "macro_f1"),
        with_interval(pooled, "cohen_kappa", scale=1, digits=3),
        with_interval(pooled, "uar"),
        percent(row["validation"]["accuracy"]),
        f"{network['parameters']:,}",
        f"{at_least}{row['seconds'] / 60:.1f}",
    ]


def _reference_rows(record: Mapping[str, Any]) -> list[list[str]]:
    names = {
        "majority": "Majority class",
        "teacher-rule": "Teacher rule (ceiling: it made the labels)",
        "speech-teacher": "Speech teacher alone (made labels)",
        "image-teacher": "Picture teacher alone (made labels)",
    }
    found = []
    for key, title in names.items():
        row = record["references"][key]
        if row["reason"]:
            found.append([title, NONE, NONE, row["reason"], *[NONE] * (len(_HEAD) - 4)])
            continue
        pooled = row["pooled"]
        cells = [with_interval(pooled, "macro_f1"), with_interval(pooled, "cohen_kappa", scale=1, digits=3)]
        cells += [with_interval(pooled, "uar"), NONE, NONE, NONE]
        found.append([title, NONE, NONE, with_interval(pooled, "accuracy"), NONE, *cells])
    return found


def _order(record: Mapping[str, Any]) -> list[str]:
    """Return the order of the rows here beside the paper's."""
    run = {key: record["rows"][key] for key in TABLE1 if not record["rows"][key]["reason"]}
    if len(run) < 2:
        return []
    paper = captions.tied(list(run), [row["printed"] for row in run.values()], ", ")
    ours = captions.tied(list(run), [row["pooled"]["accuracy"] for row in run.values()], ", ")
    note = " (`=`: tied, no order)" if " = " in ours else ""
    return [f"From best to worst, the paper: {paper}. Here: {ours}{note}."]


def _fusion(record: Mapping[str, Any]) -> str:
    found = record["fusion"]
    if found["reason"]:
        return f"Does fusion earn its place? {found['reason'].capitalize()}."
    said = "earns its place" if found["earned"] else "does not earn its place"
    return (
        f"Fusion {said}: ParallelNet minus the better single modality ({found['best_single']}) is "
        f"{_points(found)} points of accuracy."
    )


def _differences(record: Mapping[str, Any]) -> list[str]:
    if not record["differences"]:
        return ["None: fewer than two of the rows that are compared were run."]
    head = ["Difference", "Accuracy", "Macro F1", "Kappa", "Only first / only second right"]
    head += ["p, McNemar (Holm)", "p, components swapped (Holm)"]
    rows = [
        [
            f"{each['first']} minus {each['second']}",
            _points(each["accuracy"]),
            _points(each["macro_f1"]),
            _points(each["cohen_kappa"], scale=1, digits=3),
            f"{each['only_first']} / {each['only_second']}",
            f"{p_value(each['p_mcnemar'])} ({p_value(each['p_mcnemar_holm'])})",
            f"{p_value(each['p_components'])} ({p_value(each['p_components_holm'])})",
        ]
        for each in record["differences"]
    ]
    n = record["differences"][0]["n_components"]
    note = (
        "Points of percent, 95 % interval in brackets. McNemar's exact test takes samples for independent, which those "
        f"that share a speaker or picture are not; the last column swaps whole sets of them ({n:,}). Holm's adjustment "
        f"is over the {len(rows)} differences of this table."
    )
    return [note, _table(head, rows)]


def _training(record: Mapping[str, Any]) -> list[str]:
    low, high = record["paper"]["convergence_epochs"]
    head = ["Row", "Learning rate", "Epochs trained", f"Converged at (paper: {low} to {high})", "Gap accuracy, F1"]
    head += ["Correlation", "Kappa", "Training minus validation", "Swing"]
    rows = []
    for row in record["rows"].values():
        if row["reason"]:
            continue
        training = row["training"]
        limit = sum(training["at_limit"])
        rows.append(
            [
                row["title"],
                f"{row['learning_rate']:.3g}",
                _spread(training["epochs"]),
                _spread(training["converged_epoch"]) + (f"; {limit} at the limit" if limit else ""),
                _points_of(training["mean_gap"]),
                NONE if training["correlation"] is None else f"{training['correlation']:.2f}",
                NONE if training["kappa"] is None else f"{training['kappa']:.2f}",
                _points_of(training["overfit"]),
                _points_of(training["swing"]),
            ]
        )
    if not rows:
        return ["No row was run to its end."]
    note = (
        "Mean over the folds (lowest to highest). Converged: first epoch whose validation loss is within 1 % of the "
        "lowest; `at the limit`: folds whose lowest loss is that of the last epoch allowed. In-line convergence, which "
        "the paper judges by eye: the mean gap, in points, between the curves of accuracy and macro F1 on the "
        "validation part, and their correlation over the epochs. Training minus validation: accuracy while learning "
        "(augmented) minus validation accuracy, at the epoch that was kept. Swing: mean change of validation accuracy "
        "from one epoch to the next."
    )
    return [note, _table(head, rows)]


def _confusion(record: Mapping[str, Any]) -> list[str]:
    row = record["rows"]["parallelnet"]
    if row["reason"]:
        return [row["reason"].capitalize() + "."]
    pooled = row["pooled"]
    rows = []
    for name, counts in zip(pooled["classes"], pooled["confusion_matrix"], strict=True):
        n = sum(counts)
        cells = [f"{percent(count / n)} ({count:,})" if n else NONE for count in counts]
        rows.append([name, *cells, with_interval({**pooled, **_recalls(pooled)}, f"recall_{name}")])
    return [
        "Percent (and number) of each true class; out-of-fold predictions of all folds.",
        _table(["true \\ said", *pooled["classes"], "recall"], rows),
    ]


def _recalls(pooled: Mapping[str, Any]) -> dict[str, Any]:
    return {f"recall_{name}": value for name, value in pooled["per_class_recall"].items()}


def _disagreement(record: Mapping[str, Any]) -> list[str]:
    found = record["disagreement"]
    if found["reason"]:
        return [found["reason"].capitalize() + "."]
    rows = []
    for name, said in (("disagree", "they disagree"), ("agree", "they agree")):
        part = found[name]
        if not part["n"]:
            rows.append([f"{said} (0)", *[NONE] * 4])
            continue
        for fused, each in part.items():
            if fused != "n":
                cells = [_mean_of(each[key]) for key in ("accuracy", "confidence", "score_of_surer")]
                rows.append([f"{said} ({part['n']:,})", fused, *cells])
    note = (
        "The paper multiplies so that a strong vote that the other modality does not share is weakened. `Surer "
        "modality's class`: the fused network's softmax score for the class that the surer of the two single networks "
        "names. All in percent, before calibration."
    )
    return [note, _table(["Samples where", "fusion", "accuracy", "confidence", "surer modality's class"], rows)]


def _figure4(record: Mapping[str, Any]) -> list[str]:
    found = record.get("figure4")
    if not found:
        return []
    if found["reason"]:
        return ["## Fig. 4: examples", found["reason"].capitalize() + "."]
    rows = [
        [each["id"], each["said"], each["truth"], f"{each['score']:.2f}", ", ".join(each["words"]) or NONE]
        for each in found["examples"]
    ]
    note = (
        "Drawn at random from each class, right or wrong, explained by the network of the fold that never saw them "
        "(`figure4.png`). P: predicted; GT: as labelled; score: softmax of P; words: those that count most for P."
    )
    return ["## Fig. 4: examples", note, _table(["id", "P", "GT", "Score", "Words"], rows)]


def latex(record: Mapping[str, Any]) -> str:
    """Return the rows of Table 1 as a LaTeX table."""
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escape(caption(record))}}}",
        "\\begin{tabular}{lrlll}",
        "\\hline",
        "Model & Paper (\\%) & Accuracy (\\%) & Macro F1 (\\%) & Kappa \\\\",
        "\\hline",
    ]
    for key in (*TABLE1, *STUDIES):
        row = record["rows"][key]
        printed = "--" if row["printed"] is None else f"{row['printed']:.2f}"
        if row["reason"]:
            reason = f"\\multicolumn{{3}}{{l}}{{{_escape(row['reason'])}}}"
            lines.append(f"{_escape(row['title'])} & {printed} & {reason} \\\\")
            continue
        pooled = row["pooled"]
        cells = [with_interval(pooled, "accuracy"), with_interval(pooled, "macro_f1")]
        cells.append(with_interval(pooled, "cohen_kappa", scale=1, digits=3))
        lines.append(" & ".join([_escape(row["title"]), printed, *map(_escape, cells)]) + " \\\\")
    lines.append("\\hline")
    for title, cells in ((row[0], row[3:7]) for row in _reference_rows(record)):
        accuracy, _, f1, kappa = cells
        lines.append(" & ".join([_escape(title), "--", *map(_escape, (accuracy, f1, kappa))]) + " \\\\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}", "\\end{table}"]) + "\n"


_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "±": "$\\pm$",
    "≥": "$\\geq$",
    "`": "'",
    "\n": " ",
}


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)


def percent(value: float | None) -> str:
    """Return a part as percent with one decimal."""
    return NONE if value is None else f"{100 * value:.1f}"


def with_interval(metrics: Mapping[str, Any], name: str, *, scale: float = 100, digits: int = 1) -> str:
    """Return a metric with its interval, as percent unless scaled otherwise."""
    value, (low, high) = metrics[name], metrics["ci95"][name]
    if value is None:
        return NONE
    if low is None:
        return f"{scale * value:.{digits}f}"
    return f"{scale * value:.{digits}f} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def _points(each: Mapping[str, Any], *, scale: float = 100, digits: int = 1) -> str:
    if each["difference"] is None:
        return NONE
    cells = [f"{scale * value:+.{digits}f}" for value in (each["difference"], *each["ci95"])]
    return f"{cells[0]} [{cells[1]}, {cells[2]}]"


def _mean_of(each: Mapping[str, Any]) -> str:
    return f"{100 * each['mean']:.1f} [{100 * each['ci95'][0]:.1f}, {100 * each['ci95'][1]:.1f}]"


def _points_of(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def p_value(value: float) -> str:
    """Return a p value, small ones as a bound."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _spread(values: Sequence[int]) -> str:
    mean = sum(values) / len(values)
    return f"{mean:.1f} ({min(values)} to {max(values)})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_line(head), "|" + " --- |" * len(head), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    # A reason may quote anything; a bar or a line break would end the cell.
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
