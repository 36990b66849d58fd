"""Tables and pages about results, filled in from their JSON alone: the same files give the same bytes.

Words and tables stand in `templates`; a LaTeX table is some columns of a Markdown table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from parallelnet.options import PRESETS, TablesOptions
from parallelnet.report.numbers import cells, fill, latex_table, plain, tables_of
from parallelnet.types import EMOTIONS, SENTIMENTS

from . import findings
from .prepared import STUDIES, TABLE1

Record = Mapping[str, Any]

MARK = "<!-- Made by `parallelnet experiment render` from the JSON beside the tables; changes by hand are lost. -->"
DEFAULT_CLIP_S = next(float(str(each.default)) for each in fields(TablesOptions) if each.name == "clip_s")
_LATEX = {
    "table1": ("Emotions from speech and picture, 95 % bootstrap intervals in brackets", (0, 2, 3, 5, 6)),
    "table2": ("Sentiment in three classes, 95 % bootstrap intervals in brackets", (0, 3, 4, 5, 6, 8)),
    "modalities": ("Each modality, alone and missing, 95 % bootstrap intervals in brackets", (0, 3, 4, 5, 6)),
}
"""Caption, and which columns of the Markdown table."""


@dataclass(frozen=True, slots=True)
class Result:
    """One committed result.

    Attributes:
        name: its folder's.
        kind: `table1`, `table2` or `modalities`: the name of its JSON.
        record: what the JSON says.
        notes: what a person wrote beside it, or "".
        plots: names of the pictures beside it.
    """

    name: str
    kind: str
    record: Record
    notes: str = ""
    plots: tuple[str, ...] = ()


def text_of(template: str, **facts: Any) -> str:
    """Return a template of this package filled in."""
    return fill(__package__, template, mark=MARK, **facts)


# --- what every result says of its figures ----------------------------------------------------------------------------


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


def _rows(record: Record) -> list[Record]:
    return list(record["rows"].values() if isinstance(record["rows"], Mapping) else record["rows"])


def _networks(record: Record) -> list[Record]:
    return [row["network"] for row in _rows(record) if isinstance(row.get("network"), Mapping)]


def _inputs(record: Record) -> str:
    """Return `32 x 32 inputs, ` where the networks took averaged ones, as far as the result says so."""
    sides = {side for network in _networks(record) for side in network["input_side"].values()}
    sides |= {record["input_side"]} if "input_side" in record else set()
    return "".join(f"{side} x {side} inputs, " for side in sorted(sides))


def _backbones(record: Record) -> list[str]:
    known = [*record.get("backbones", {}).values(), *(network["backbones"] for network in _networks(record))]
    found = sorted({name for backbones in known for name in backbones.values()})
    facts = [row["folds"][0]["facts"] for row in _rows(record) if "found" in row and row.get("folds")]
    networks = (each.get("network") or each.get("image", {}).get("network") for each in facts)  # of Table 2
    return found or [name for name in dict.fromkeys(networks) if name]


# --- tables -----------------------------------------------------------------------------------------------------------


def files(kind: str, record: Record) -> dict[str, str]:
    """Return file name to text of the tables of a result: `KIND.md` and `KIND.tex`."""
    return {f"{kind}.md": markdown(kind, record), f"{kind}.tex": latex(kind, record)}


def markdown(kind: str, record: Record, *, page: bool = False) -> str:
    """Return all tables of a result and what must be known to read them.

    Args:
        kind: `table1`, `table2` or `modalities`.
        record: the JSON.
        page: for a page, which has a title and the caption already.
    """
    facts = {"caption": caption(record), "page": page, "h": "###" if page else "##", "record": cells(record)}
    if kind == "table1":
        studies = {key: record["rows"][key] for key in STUDIES}
        facts |= {"order": findings.orders(record), "spread": _spread, "six": TABLE1}
        facts |= {"studies": cells(findings.run({"rows": studies})), "not_run": findings.not_run(studies, "title")}
    return text_of(f"{kind}.md.j2", run=cells(findings.run(record)), **facts)


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


def _spread(values: Sequence[int]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values)} to {max(values)})"


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


# --- pages ------------------------------------------------------------------------------------------------------------


def page(result: Result, title: str, others: Sequence[Result], to: str) -> str:
    """Return the page of a result.

    Args:
        result: what it is about.
        title: heading.
        others: further attempts on the same data, this one among them; none or one: nothing is said of them.
        to: how to get from the pages to the results, `../../results`.
    """
    record = result.record
    folds: list[Record] = record["data"]["folds"]
    sizes = (" / ".join(f"{fold[part]:,}" for part in ("train", "validation", "test")) for fold in folds)
    return text_of(
        "page.md.j2",
        title=title,
        kind=result.kind,
        folder=f"{to}/{result.name}",
        record=record,
        said=findings.said(result.kind, record),
        caption=caption(record),
        folds=list(dict.fromkeys(sizes)),
        deviations=deviations(record),
        attempts=[_attempt(each, result) for each in others],
        notes=result.notes.strip(),
        tables=markdown(result.kind, record, page=True),
        plots=result.plots,
    )


def same_data(result: Result, results: Sequence[Result]) -> list[Result]:
    """Return the results of one kind on the same data, in the order in which they were made."""
    fingerprint = result.record["data"]["fingerprint"]
    found = [each for each in results if each.kind == result.kind and each.record["data"]["fingerprint"] == fingerprint]
    return sorted(found, key=lambda each: (each.record["date"], each.name))


def _attempt(each: Result, this: Result) -> dict[str, Any]:
    """Return the line of one attempt at Table 1: what was changed, and what it came to."""
    names = ("weights", "clip_s", "trim", "face", "init_from", "seed", "folds")
    options, before = ({name: of.record["options"].get(name) for name in names} for of in (each, this))
    changed = [*recipe_changes(options, before), *recipe_changes(recipe_of(each.record), recipe_of(this.record))]
    known = {key: row["validation"]["accuracy"] for key, row in findings.run(each.record).items()}
    singles = {key: known[key] for key in ("ser-only", "ier-only") if known.get(key) is not None}
    return {
        "name": each.name,
        "this": each is this,
        "record": each.record,
        "changed": "this one" if each is this else "; ".join(changed) or "the same",
        "inputs": _inputs(each.record),
        "ours": known.get("parallelnet"),
        "singles": {key: singles[key] for key in findings.best(singles)[:1]} if singles else {},
    }
