"""Tables and pages about results, filled in from their JSON alone: the same files give the same bytes.

Words and tables stand in `templates`; a LaTeX table is some columns of a Markdown table.
"""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from parallelnet.options import PRESETS, TablesOptions
from parallelnet.report.numbers import cells, excludes_zero, fill, latex_table, plain, tables_of
from parallelnet.types import EMOTIONS, SENTIMENTS

from .prepared import STUDIES, TABLE1

Record = Mapping[str, Any]

NO_RUN = "No row was run to its end."
MARK = "<!-- Made by `parallelnet experiment render` from the JSON beside the tables; changes by hand are lost. -->"
DEFAULT_CLIP_S = next(float(str(each.default)) for each in fields(TablesOptions) if each.name == "clip_s")
# Caption, and which columns of the Markdown table.
_LATEX = {
    "table1": ("Emotions from speech and picture, 95 % bootstrap intervals in brackets", (0, 2, 3, 5, 6)),
    "table2": ("Sentiment in three classes, 95 % bootstrap intervals in brackets", (0, 3, 4, 5, 6, 8)),
    "modalities": ("Each modality, alone and missing, 95 % bootstrap intervals in brackets", (0, 3, 4, 5, 6)),
}


class Result(NamedTuple):
    """One committed result: its folder's name, and its JSON, `KIND.json`."""

    name: str
    kind: str  # `table1`, `table2` or `modalities`
    record: Record
    notes: str  # what a person wrote beside it, or ""
    plots: tuple[str, ...]  # names of the pictures beside it


def text_of(template: str, **facts: Any) -> str:
    """Return a template of this package filled in."""
    return fill(__package__, template, mark=MARK, **facts)


def run(record: Record) -> Any:
    """Return the rows that were run to their end: by key where the result has them so, else a list."""
    if isinstance(record["rows"], Mapping):
        return {key: row for key, row in record["rows"].items() if not row["reason"]}
    return [row for row in record["rows"] if "found" in row]


def not_run(rows: Any, name: str = "key") -> dict[str, list[str]]:
    """Return {why: rows that were not run} of a result's `rows`, in their order, by key or by `title`."""
    every = [{"key": k, **row} for k, row in rows.items()] if isinstance(rows, Mapping) else rows
    found: dict[str, list[str]] = {}
    for row in every:
        why = row.get("reason") or row.get("missing")
        if why:
            found.setdefault(why, []).append(row[name])
    return found


def best(values: Mapping[str, float]) -> list[str]:
    """Return the names of the highest value: several where they are tied."""
    top = round(max(values.values()), 9)
    return [name for name, value in values.items() if round(value, 9) == top]


def direction(found: Record) -> int:
    """Return 1 or -1 for a difference that is surely above or below zero, else 0."""
    return 0 if not excludes_zero(found["ci95"]) else 1 if found["difference"] > 0 else -1


def headline(kind: str, record: Record) -> str:
    """Return the one sentence of a result: the first line of what it says."""
    return said(kind, record).splitlines()[0].removeprefix("- ")


def said(kind: str, record: Record) -> str:
    """Return what a result says, as a Markdown list."""
    rows = run(record)
    if not rows:
        return f"- {NO_RUN}\n"
    missing = not_run(record["rows"], "title" if kind == "modalities" else "key")
    facts = {"record": record, "run": rows, "direction": direction, "not_run": missing}
    return text_of(f"{kind}_said.md.j2", **facts, **_FACTS[kind](record, rows))


def ordered(names: Sequence[str], values: Sequence[float], between: str) -> str:
    """Return names from the highest value to the lowest, equals joined by ` = ` in the order in which they came."""
    by_value: dict[float, list[str]] = {}
    for name, value in zip(names, values, strict=True):
        by_value.setdefault(round(value, 9), []).append(name)
    return between.join(" = ".join(by_value[value]) for value in sorted(by_value, reverse=True))


def printed(record: Record) -> tuple[list[str], list[float], list[float]]:
    """Return the rows of a Table 1 that have a printed accuracy, that accuracy, and ours."""
    rows = {key: row for key, row in run(record).items() if row["printed"] is not None}
    return list(rows), [row["printed"] for row in rows.values()], [row["pooled"]["accuracy"] for row in rows.values()]


def agreement(
    paper: Sequence[float], here: Sequence[float], titles: Sequence[str]
) -> tuple[str, list[tuple[int, int]]]:
    """Return how far the order of the same rows, two at least, agrees in two lists; a tied pair agrees in neither.

    Returns:
        A sentence, with the exact p value of tau-b where a list has several values. The pairs (higher in the first
        list, lower in the second) by place.
    """
    from scipy.stats import kendalltau, spearmanr

    signs = {
        (i, j) if paper[i] > paper[j] else (j, i): (paper[i] - paper[j]) * (here[i] - here[j])
        for i, j in itertools.combinations(range(len(paper)), 2)
    }
    swapped = [pair for pair, sign in signs.items() if sign < 0]
    n_same, n_tied = (sum(found) for found in zip(*((sign > 0, sign == 0) for sign in signs.values()), strict=True))
    said = f"{n_same} of {len(signs)} pairs of rows stand in the paper's order"
    if len(here) > 2 and min(len(set(paper)), len(set(here))) > 1:
        tau, rho = kendalltau(paper, here), spearmanr(paper, here)
        said += f" (Kendall's tau {tau.statistic:+.2f}, p {tau.pvalue:.3f}; Spearman's rho {rho.statistic:+.2f})"
    said += f"; {n_tied} are tied" if n_tied else ""
    first, second = (ordered(titles, values, " > ") for values in (paper, here))
    return f"{said}. The paper: {first}. Here: {second}.", swapped


def _table1(record: Record, rows: Mapping[str, Record]) -> dict[str, Any]:
    gaps, (keys, paper, here) = record["differences"], printed(record)
    told, places = agreement(paper, here, keys) if len(keys) > 1 else ("", [])
    compared = {frozenset((each["first"], each["second"])): each["accuracy"]["ci95"] for each in gaps}
    swapped = [(keys[high], keys[low], compared.get(frozenset((keys[high], keys[low])))) for high, low in places]
    accuracies = {key: row["pooled"]["accuracy"] for key, row in rows.items()}
    majority = record["references"]["majority"]["pooled"]["accuracy"]
    configurations = {key: value for key, value in accuracies.items() if key.startswith("baseline-")}
    families = [key for key in rows if key.startswith("parallelnet-") and "parallelnet" in rows]
    pair = [rows[key]["training"] for key in ("ier-only", "ser-only") if key in rows]
    known = len(pair) == 2 and None not in (each[n] for each in pair for n in ("overfit", "mean_gap", "kappa"))
    return {
        "order": {"agreement": told, "swapped": swapped} if told else {},
        "gaps": sorted(gaps, key=lambda each: each["accuracy"]["difference"]),  # losses first
        "configurations": best(configurations) if len(configurations) == 3 else [],
        "families": families,
        "better": [key for key in families if accuracies[key] > accuracies["parallelnet"]],
        "majority": majority,
        "weak": [key for key, row in rows.items() if (row["pooled"]["ci95"]["accuracy"][0] or 0) <= majority],
        "epochs": sorted(epoch for row in rows.values() for epoch in row["training"]["converged_epoch"]),
        "at_limit": sum(sum(row["training"]["at_limit"]) for row in rows.values()),
        "overfit": pair if known else [],
    }


def _table2(record: Record, rows: Sequence[Record]) -> dict[str, Any]:
    top = best({row["key"]: row["found"]["accuracy"] for row in rows})
    # Two rows of one method have the same printed figure: the one that starts as the original did speaks for it.
    methods: dict[float, Record] = {}
    for row in rows:
        if row["printed"] is not None and (row["printed"] not in methods or row["start"] == "imagenet"):
            methods[row["printed"]] = row
    ours = [row["found"]["accuracy"] for row in methods.values()]
    titles = [row["title"] for row in methods.values()]
    return {
        "top": [row for row in rows if row["key"] in top],
        "ours": next((row for row in rows if row["key"] == "parallelnet"), None),
        "agreement": agreement(list(methods), ours, titles)[0] if len(methods) > 1 else "",
    }


def _modalities(record: Record, rows: Sequence[Record]) -> dict[str, Any]:
    asked = {(each["first"], each["second"]): each["found"] for each in record["differences"] if "found" in each}
    sets = ((row, row["found"]["conformal"]) for row in rows if not isinstance(row["found"]["conformal"], str))
    short = [row for row, each in sets if each["coverage"]["ci95"][1] < each["wanted_coverage"]]
    return {"asked": asked, "best": asked.get(("both", record["best_single"])), "short": short}


_FACTS: dict[str, Callable[[Record, Any], dict[str, Any]]] = {
    "table1": _table1,
    "table2": _table2,
    "modalities": _modalities,
}


def caption(record: Record) -> str:
    """Return which data, classes, folds, networks and training budget the figures are of; plain text."""
    return text_of("caption.j2", **_shared(record)).strip()


def deviations(record: Record) -> str:
    """Return what is not as the paper has it, as a list: data, networks, starting weights, recipe, folds."""
    rows = record["rows"] if isinstance(record["rows"], Mapping) else {}
    started = {
        name: [key for key, row in rows.items() if name in (row.get("network") or {}).get("started_from", ())]
        for name in record["options"].get("init_from") or ()
    }
    changed = recipe_changes(recipe_of(record), json.loads(json.dumps(asdict(PRESETS["paper"]))))
    return text_of("deviations.md.j2", **_shared(record), started=started, changed=changed)


def _shared(record: Record) -> dict[str, Any]:
    counts: Mapping[str, int] = record["data"]["counts"]
    there = [name for name, n in counts.items() if n]
    usual = next((known for known in (EMOTIONS, SENTIMENTS) if set(there) <= set(known)), ())
    sizes = sorted(fold["train"] for fold in record["data"].get("folds", ()))
    return {
        "data": {"built": None, "n_left_out": 0, **record["data"]},
        "options": {"init_from": (), **record["options"]},
        "recipe": {"samples_per_epoch": 0, "schedule": "", **recipe_of(record)},
        "absent": [name for name in dict.fromkeys((*usual, *counts)) if name not in there],
        "present": len(there),
        "inputs": _inputs(record),
        "backbones": _backbones(record),
        "drawn_from": " to ".join(f"{n:,}" for n in dict.fromkeys(sizes[:1] + sizes[-1:])),
        "dropout": "best_single" in record,
        "default_clip_s": DEFAULT_CLIP_S,
    }


def recipe_of(record: Record) -> Record:
    """Return how the rows of a result learnt."""
    found: Record = record.get("recipe") or record["options"]["recipe"]
    return found


def recipe_changes(recipe: Record, before: Record) -> list[str]:
    """Return what is other in a recipe, `name value (value before)`, augmentation as one."""
    found = []
    for name, value in recipe.items():
        old, title = before.get(name), name.replace("_", " ")
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = recipe_changes(value, old)
            found += [f"{title}: {', '.join(inner)}"] if inner else []
        elif value != old:
            found.append(f"{title} {plain(value)} ({plain(old)})")
    return found


def _networks(record: Record) -> list[Record]:
    rows = record["rows"].values() if isinstance(record["rows"], Mapping) else record["rows"]
    return [row["network"] for row in rows if isinstance(row.get("network"), Mapping)]


def _inputs(record: Record) -> str:
    """Return `32 x 32 inputs, ` where the networks took averaged ones, as far as the result says so."""
    sides = {side for network in _networks(record) for side in network["input_side"].values()}
    sides |= {record["input_side"]} if "input_side" in record else set()
    return "".join(f"{side} x {side} inputs, " for side in sorted(sides))


def _backbones(record: Record) -> list[str]:
    known = [*record.get("backbones", {}).values(), *(network["backbones"] for network in _networks(record))]
    found = sorted({name for backbones in known for name in backbones.values()})
    if found or isinstance(record["rows"], Mapping):
        return found
    facts = [row["folds"][0]["facts"] for row in record["rows"] if "found" in row and row.get("folds")]
    networks = (each.get("network") or each.get("image", {}).get("network") for each in facts)  # of Table 2
    return [name for name in dict.fromkeys(networks) if name]


def files(kind: str, record: Record) -> dict[str, str]:
    """Return file name to text of the tables of a result: `KIND.md` and `KIND.tex`."""
    return {f"{kind}.md": markdown(kind, record), f"{kind}.tex": latex(kind, record)}


def markdown(kind: str, record: Record, *, page: bool = False) -> str:
    """Return all tables of a result and what must be known to read them; a page has a title and the caption already."""
    facts = {"caption": caption(record), "page": page, "h": "###" if page else "##", "record": cells(record)}
    if kind == "table1":
        studies = {key: record["rows"][key] for key in STUDIES}
        keys, paper, here = printed(record)
        orders = {name: ordered(keys, values, ", ") for name, values in (("paper", paper), ("here", here))}
        facts |= {"order": orders if len(keys) > 1 else {}, "six": TABLE1}
        facts |= {"studies": cells(run({"rows": studies})), "not_run": not_run(studies, "title")}
    return text_of(f"{kind}.md.j2", run=cells(run(record)), **facts)


def latex(kind: str, record: Record) -> str:
    r"""Return the tables of a result that a paper shows in LaTeX (package `booktabs`); what is missing says why."""
    main, *others = tables_of(markdown(kind, record))
    title, columns = _LATEX[kind]
    rows = [*main, *(row for other in others if other[0] == main[0] for row in other[1:])]
    text = latex_table([[row[k] for k in columns] for row in rows], f"{title}. {caption(record)}")
    for other in others:
        if other[0][-1] == "change":
            rows = [[setting, *found] for setting, _, *found in other]
            text += "\n" + latex_table(rows, "Calibration before and after temperature scaling.")
    return text


def faithfulness(record: Record) -> str:
    """Return the tables of one task of a study of faithfulness."""
    explainers = cells(record["explainers"])
    default = record["default_baseline"]
    sides = {side for each in explainers.values() for found in each.values() for side in found["auc"]["primary"]}
    return text_of(
        "faithfulness.md.j2",
        record=cells(record),
        explainers={name: found[default] for name, found in explainers.items() if default in found},
        sides=sorted(sides, reverse=True),
        crossed={name: found for name, found in explainers.get("owen", {}).items() if found.get("curves")},
    )


def page(result: Result, title: str, others: Sequence[Result], to: str) -> str:
    """Return the page of a result; `others` are attempts on the same data, `to` leads from pages to results."""
    record = result.record
    folds: list[Record] = record["data"]["folds"]
    sizes = (" / ".join(f"{fold[part]:,}" for part in ("train", "validation", "test")) for fold in folds)
    return text_of(
        "page.md.j2",
        title=title,
        kind=result.kind,
        folder=f"{to}/{result.name}",
        record=record,
        said=said(result.kind, record),
        caption=caption(record),
        folds=list(dict.fromkeys(sizes)),
        deviations=deviations(record),
        attempts=[_attempt(each, result) for each in others],
        notes=result.notes.strip(),
        tables=markdown(result.kind, record, page=True),
        plots=result.plots,
    )


def _attempt(each: Result, this: Result) -> dict[str, Any]:
    """Return the line of one attempt at Table 1: what was changed, and what it came to."""
    names = ("weights", "clip_s", "trim", "face", "init_from", "seed", "folds")
    options, before = ({name: of.record["options"].get(name) for name in names} for of in (each, this))
    changed = [*recipe_changes(options, before), *recipe_changes(recipe_of(each.record), recipe_of(this.record))]
    known = {key: row["validation"]["accuracy"] for key, row in run(each.record).items()}
    singles = {key: known[key] for key in ("ser-only", "ier-only") if known.get(key) is not None}
    return {
        "name": each.name,
        "this": each is this,
        "record": each.record,
        "changed": "this one" if each is this else "; ".join(changed) or "the same",
        "inputs": _inputs(each.record),
        "ours": known.get("parallelnet"),
        "singles": {key: singles[key] for key in best(singles)[:1]} if singles else {},
    }
