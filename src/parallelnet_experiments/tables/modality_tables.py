"""What the study of the modalities found, as Markdown and LaTeX: pure functions of its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import captions

SHOWN = (("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("cohen_kappa", "kappa"), ("uar", "UAR"))
CALIBRATED = (("ece", "ECE"), ("nll", "log loss"), ("brier", "Brier"))
ROUNDING = 1e-12
"""What a difference of two equal means may come to: a processor may sum each in another order, in float64."""


def files(record: Mapping[str, Any]) -> dict[str, str]:
    """Return file name to text of every table that is made from the study's JSON."""
    head = f"# Modalities on {record['data']['name']}\n\n{_caption(record)}\n\n"
    return {"modalities.md": head + markdown(record), "modalities.tex": latex(record)}


def _caption(record: Mapping[str, Any]) -> str:
    """Return which data and training budget the figures are of."""
    counts = ", ".join(f"{name} {n:,}" for name, n in record["data"]["counts"].items())
    backbones = sorted({name for names in record.get("backbones", {}).values() for name in names.values()})
    said = [f"Data: {captions.identity(record)}, {record['data']['n']:,} samples: {counts}."]
    said += [
        f"{record['options']['folds']} folds.",
        captions.budget(record, backbones),
        _dropout(record),
        captions.absent_classes(record),
    ]
    return " ".join(each for each in said if each)


def _dropout(record: Mapping[str, Any]) -> str:
    """Return how often `both` lost a modality while it was trained."""
    other = record["options"].get("with_dropout")
    said = f"Modality dropout: {captions.recipe_of(record)['modality_dropout']:g} of the training samples of “both”"
    return said + (f", {other:g} in the rows “other dropout”." if other is not None else ".")


def markdown(record: Mapping[str, Any]) -> str:
    """Return all tables of the study: settings, differences, classes, calibration, conformal sets."""
    parts = [
        ["## Settings", "", *_settings(record)],
        ["## Differences", "", *_differences(record)],
        ["## Classes", "", *_classes(record)],
        ["## Calibration", "", *_calibration(record)],
        ["## Conformal sets", "", *_conformal(record)],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def latex(record: Mapping[str, Any]) -> str:
    r"""Return the settings and the calibration as two LaTeX tables (package `booktabs`)."""
    settings = [["setting", *(title for _, title in SHOWN)]]
    calibration = [["setting", *(f"{title}, {when}" for _, title in CALIBRATED for when in ("raw", "scaled"))]]
    for row in record["rows"]:
        found = row.get("found")
        if found is None:
            settings.append([row["title"], row["missing"], *[""] * (len(SHOWN) - 1)])
            calibration.append([row["title"], row["missing"], *[""] * (2 * len(CALIBRATED) - 1)])
            continue
        settings.append([row["title"], *(interval(found["metrics"], name) for name, _ in SHOWN)])
        pairs = [(found["raw_metrics"], found["metrics"])[k] for _ in CALIBRATED for k in (0, 1)]
        names = [name for name, _ in CALIBRATED for _ in (0, 1)]
        calibration.append([row["title"], *(figure(m[name]) for m, name in zip(pairs, names, strict=True))])
    data = record["data"]["name"]
    caption = escaped(_caption(record))
    drawn = "95\\,\\% bootstrap intervals over components"
    return (
        latex_table(settings, f"Each modality, alone and missing, on {escaped(data)}; {drawn}. {caption}")
        + "\n"
        + latex_table(calibration, f"Calibration on {escaped(data)} before and after temperature scaling.")
    )


def figure(value: float | None) -> str:
    """Return a figure as the tables print it; a dash where it is not defined."""
    return "-" if value is None else f"{value:.3f}"


def bounds(value: float | None, ci95: Sequence[float | None], *, sign: bool = False) -> str:
    """Return a figure with its interval, `0.812 [0.790, 0.833]`; for differences with its sign."""
    if value is None or ci95[0] is None or ci95[1] is None:
        return figure(value)
    low, high = ci95
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" if sign else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def interval(metrics: Mapping[str, Any], name: str) -> str:
    """Return a metric of `evaluation.Metrics.to_dict` with its interval."""
    return bounds(metrics[name], metrics["ci95"][name])


def change(found: Mapping[str, Any]) -> str:
    """Return a difference with its sign and interval, bold where the interval excludes zero."""
    text = bounds(found["difference"], found["ci95"], sign=True)
    return f"**{text}**" if excludes_zero(found["ci95"]) else text


def p_value(p: float) -> str:
    """Return a p value as the tables print it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def excludes_zero(ci95: Sequence[float | None]) -> bool:
    """True where an interval lies wholly on one side of 0, by more than `ROUNDING`."""
    low, high = ci95
    return low is not None and high is not None and (low > ROUNDING or high < -ROUNDING)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table, the first row its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]


def latex_table(rows: Sequence[Sequence[str]], caption: str) -> str:
    """Return a LaTeX table, the first row its head; cells are text and are escaped, the caption is LaTeX."""
    head, *body = [" & ".join(escaped(cell) for cell in row) + r" \\" for row in rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text with LaTeX's special characters made plain."""
    plain = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    plain |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    return "".join(plain.get(sign, sign) for sign in text)


def _found(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in record["rows"]:
        if "found" in row:
            yield row["title"], row["found"]


def _missing(record: Mapping[str, Any]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for row in record["rows"]:
        if "found" not in row:
            reasons.setdefault(row["missing"], []).append(row["title"])
    return [line for why, titles in reasons.items() for line in ("", f"{'; '.join(titles)}: {why}.")]


def _settings(record: Mapping[str, Any]) -> list[str]:
    rows = [["setting", "network", "n", *(title for _, title in SHOWN), "accuracy of each fold"]]
    for row in record["rows"]:
        if "found" not in row:
            rows.append([row["title"], row["network"], "-", row["missing"], *["-"] * len(SHOWN)])
            continue
        found = row["found"]
        folds = " ".join(figure(value) for value in found["fold_accuracy"])
        cells = [interval(found["metrics"], name) for name, _ in SHOWN]
        rows.append([row["title"], row["network"], str(found["n"]), *cells, folds])
    n_groups = next((found["metrics"]["n_groups"] for _, found in _found(record)), 0)
    return [
        f"Out of fold, all folds together; 95 % bootstrap intervals over {n_groups} components (samples that share a",
        "speaker or a picture) in brackets.",
        "",
        *table(rows),
    ]


def _differences(record: Mapping[str, Any]) -> list[str]:
    rows = [["first", "minus second", "n", *(title for _, title in SHOWN), "p, components", "p, McNemar"]]
    for pair in record["differences"]:
        first, second = pair["first_title"], pair["second_title"]
        if "found" not in pair:
            rows.append([first, second, "-", pair["missing"], *["-"] * (len(SHOWN) + 1)])
            continue
        found = pair["found"]
        cells = [change(found[name]) for name, _ in SHOWN]
        rows.append(
            [first, second, str(found["n"]), *cells, p_value(found["p_components"]), p_value(found["p_mcnemar"])]
        )
    return [
        "On the same samples, from the same draws of components; bold where the interval excludes zero. The first p",
        "value swaps the answers of whole components; McNemar's takes samples as independent, and is too sure where",
        "they are not.",
        "",
        *table(rows),
    ]


def _classes(record: Mapping[str, Any]) -> list[str]:
    rows = [["setting", "class", "n", "precision", "recall", "F1"]]
    for title, found in _found(record):
        for name, each in found["per_class"].items():
            cells = [bounds(each[kind]["value"], each[kind]["ci95"]) for kind in ("precision", "recall", "f1")]
            rows.append([title, name, str(each["n"]), *cells])
    return [*table(rows), *_missing(record)]


def _calibration(record: Mapping[str, Any]) -> list[str]:
    rows = [["setting", "temperature of each fold", "figure", "raw", "scaled", "change"]]
    for title, found in _found(record):
        temperatures = " ".join(f"{value:.2f}" for value in found["calibration"]["temperatures"])
        for name, figure_title in CALIBRATED:
            both = [interval(found[metrics], name) for metrics in ("raw_metrics", "metrics")]
            rows.append([title, temperatures, figure_title, *both, change(found["calibration"]["change"][name])])
    return [
        "Raw is at temperature 1; scaled by the temperature that each fold's validation part chose. The calibration",
        "error (ECE) has 15 bins of equal width; its interval lies high, for resampling adds noise to every bin. Bold",
        "where the interval of the change excludes zero.",
        "",
        *table(rows),
        *_missing(record),
    ]


def _conformal(record: Mapping[str, Any]) -> list[str]:
    rows = [["setting", "n", "coverage, 0.9 wanted", "classes in a set", "sets of one class"]]
    for title, found in _found(record):
        sets = found["conformal"]
        if isinstance(sets, str):
            rows.append([title, "-", sets, "-", "-"])
            continue
        cells = [bounds(sets[name]["mean"], sets[name]["ci95"]) for name in ("coverage", "mean_size", "one_class")]
        rows.append([title, str(sets["n"]), *cells])
    return [
        "Sets that hold the truth with probability 0.9 or more, if the test samples are exchangeable with the",
        "validation part: other speakers may not be.",
        "",
        *table(rows),
        *_missing(record),
    ]
