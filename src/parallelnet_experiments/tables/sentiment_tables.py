"""Table 2 as Markdown and LaTeX: pure functions of its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import captions
from .modality_tables import change, escaped, figure, interval, latex_table, p_value, table

SHOWN = (("accuracy", "accuracy (WA)"), ("macro_f1", "macro F1"), ("uar", "UAR (UA)"))
NOTES = """\
Every row is tested on the same samples, each by a model that saw neither it nor a tweet with the same words or
picture; what is chosen (regularisation, weights of the sum, when to stop) is chosen on a validation part cut from the
training folds. Bold differences: the interval excludes zero; the p value swaps the answers of whole components and is
Holm's over the rows. The last column is what the paper prints for the method on B-T4SA, other data under another split:
nothing to subtract from.

ParallelNet hears the tweet's words, spoken by a speech synthesiser, and sees its picture; the text reference reads the
words themselves.

Vadicamo et al., re-implemented: labels come from our text classifier, which learns the human-labelled texts of the
training folds; labels of training pictures are predictions of classifiers that have not seen their texts (inner
cross-validation), and the most confident part of each predicted class is kept. The network is tested on the picture
alone.

Gaspar & Alexandre, re-implemented: that the method is a weighted sum of text, picture and content is published; the
rest is our reconstruction. Weights come from a grid in steps of 0.05, by macro F1 on the validation part. Content is a
class of an ImageNet classifier, counted under each sentiment on the training part with Laplace smoothing."""


def markdown(record: Mapping[str, Any]) -> str:
    """Return the table, the classes, the confusion matrices, the folds, and what to know about them."""
    parts = [
        [f"# Table 2 on {record['data']['name']}", "", *_data(record)],
        [*_rows(record)],
        [NOTES],
        ["## Classes", "", *_classes(record)],
        ["## Confusion matrices", "", *_matrices(record)],
        ["## Folds", "", *_folds(record)],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def latex(record: Mapping[str, Any]) -> str:
    r"""Return the table in LaTeX (package `booktabs`); what is missing says why."""
    rows = [["method", *(title for _, title in SHOWN), "ParallelNet minus it", "paper"]]
    for row in record["rows"]:
        found, printed = row.get("found"), _printed(row)
        if found is None:
            rows.append([row["title"], row["missing"], *[""] * len(SHOWN), printed])
            continue
        difference = row["parallelnet_minus"]
        gap = change(difference["accuracy"]).replace("*", "") if difference else _no_gap(row)
        rows.append([row["title"], *(interval(found, name) for name, _ in SHOWN), gap, printed])
    data = escaped(record["data"]["name"])
    return latex_table(
        rows,
        f"Sentiment in three classes on {data}; 95\\,\\% bootstrap intervals over components, differences in accuracy. "
        f"{escaped(_trained(record))}",
    )


def _trained(record: Mapping[str, Any]) -> str:
    """Return the budget of the networks, and which classes are not there."""
    networks = (_network(row) for row in record["rows"] if "found" in row and row["folds"])
    said = [captions.budget(record, (name for name in networks if name != "-")), captions.absent_classes(record)]
    return " ".join(each for each in said if each)


def _no_gap(row: Mapping[str, Any]) -> str:
    return "-" if row["key"] == "parallelnet" else "ParallelNet is not there"


def _printed(row: Mapping[str, Any]) -> str:
    return "-" if row["printed"] is None else f"{row['printed']:.2f} %"


def _data(record: Mapping[str, Any]) -> Iterator[str]:
    data, options = record["data"], record["options"]
    counts = ", ".join(f"{n} {name}" for name, n in data["counts"].items())
    yield (
        f"{captions.identity(record)}: {data['n']} tweets with human labels ({counts}) in {data['n_components']} "
        f"components that share no words and no picture; {options['folds']} folds. {data['n_unlabelled']} tweets "
        "without a label beside them. Out of fold, all folds together; 95 % bootstrap intervals over components in "
        "brackets."
    )
    yield _trained(record)


def _rows(record: Mapping[str, Any]) -> list[str]:
    rows = [
        ["method", "is given", "network", *(t for _, t in SHOWN), "accuracy: ParallelNet minus it", "p (Holm)", "paper"]
    ]
    for row in record["rows"]:
        head = [row["title"], " and ".join(row["uses"]) or "nothing"]
        if "found" not in row:
            rows.append([*head, "-", row["missing"], *["-"] * (len(SHOWN) + 1), _printed(row)])
            continue
        difference = row["parallelnet_minus"]
        gap = [change(difference["accuracy"]), p_value(difference["p_holm"])] if difference else [_no_gap(row), "-"]
        cells = [interval(row["found"], name) for name, _ in SHOWN]
        rows.append([*head, _network(row), *cells, *gap, _printed(row)])
    return table(rows)


def _network(row: Mapping[str, Any]) -> str:
    facts = row["folds"][0]["facts"]
    return str(facts.get("network") or facts.get("image", {}).get("network") or "-")


def _classes(record: Mapping[str, Any]) -> list[str]:
    rows = [["method", *(f"recall, {name} ({record['data']['counts'][name]})" for name in record["classes"])]]
    for row in _found(record):
        found = row["found"]
        cells = [interval({**found["per_class_recall"], "ci95": _recalls(found)}, name) for name in record["classes"]]
        rows.append([row["title"], *cells])
    return table(rows)


def _recalls(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("recall_"): bounds for name, bounds in found["ci95"].items()}


def _matrices(record: Mapping[str, Any]) -> list[str]:
    rows = [["method", "true", *(f"said {name}" for name in record["classes"])]]
    for row in _found(record):
        for name, counts in zip(record["classes"], row["found"]["confusion_matrix"], strict=True):
            rows.append([row["title"], name, *map(str, counts)])
    return table(rows)


def _folds(record: Mapping[str, Any]) -> list[str]:
    rows = [["method", "fold", "n", "accuracy", "macro F1", "chosen on the validation part"]]
    for row in record["rows"]:
        for fold in row["folds"]:
            cells = [figure(fold.get(name)) for name in ("accuracy", "macro_f1")]
            rows.append([row["title"], str(fold["fold"]), str(fold.get("n", "-")), *cells, _facts(fold["facts"])])
    return table(rows)


def _facts(facts: Mapping[str, Any]) -> str:
    said = []
    if "predicts" in facts:
        said.append(f"predicts {facts['predicts']}")
    if "weights" in facts:
        weights = (f"{name} {weight:.2f}" for name, weight in facts["weights"].items())
        said.append(f"weights {', '.join(weights)}")
    if "text" in facts:
        said.append(f"C {facts['text']['c']:g}, class weight {facts['text']['class_weight']}")
    if "labels" in facts:
        labels = facts["labels"]
        agreed = labels["agreement_with_people"]
        said.append(
            f"{labels['n_kept']} of {labels['n_candidates']} pictures labelled"
            + (f", {agreed:.1%} as people do" if agreed is not None else "")
        )
    epochs = facts.get("epochs", facts.get("image", {}).get("epochs"))
    if epochs is not None:
        said.append(f"{epochs} epochs")
    return "; ".join(said) or "-"


def _found(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (row for row in record["rows"] if "found" in row)
