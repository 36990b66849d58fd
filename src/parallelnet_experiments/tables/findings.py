"""What results say, as lists of plain sentences: pure functions of `table1.json`, `table2.json`, `modalities.json`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from parallelnet.report.numbers import excludes_zero, fill

Record = Mapping[str, Any]

NO_RUN = "No row was run to its end."


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
    """Return what a result says, as a Markdown list.

    Args:
        kind: `table1`, `table2` or `modalities`.
        record: the JSON.
    """
    rows = run(record)
    if not rows:
        return f"- {NO_RUN}\n"
    name = "title" if kind == "modalities" else "key"
    facts = {"record": record, "run": rows, "direction": direction, "not_run": not_run(record["rows"], name)}
    return fill(__package__, f"{kind}_said.md.j2", **facts, **_FACTS[kind](record, rows))


# --- the paper's order ------------------------------------------------------------------------------------------------


class RankAgreement(NamedTuple):
    """How far two rankings agree.

    Attributes:
        same_order: pairs of rows that stand in the same order in both.
        n_pairs: pairs of rows.
        kendall: tau-b, -1 to 1; None where one list has one value only.
        kendall_p: its exact two-sided p value (asymptotic with ties); None where `kendall` is.
        spearman: rho, -1 to 1; None where one list has one value only.
        swapped: pairs (higher in the first list, lower in the second) by place in the lists.
    """

    same_order: int
    n_pairs: int
    kendall: float | None
    kendall_p: float | None
    spearman: float | None
    swapped: tuple[tuple[int, int], ...]


def rank_agreement(first: Sequence[float], second: Sequence[float]) -> RankAgreement:
    """Return how far the order of the same rows agrees in two lists; two rows at least.

    A pair that is tied in either list stands in the same order in neither.
    """
    from scipy.stats import kendalltau, spearmanr

    pairs = list(itertools.combinations(range(len(first)), 2))
    signs = [(first[i] - first[j]) * (second[i] - second[j]) for i, j in pairs]
    swapped = tuple(
        (i, j) if first[i] > first[j] else (j, i) for (i, j), sign in zip(pairs, signs, strict=True) if sign < 0
    )
    same = sum(sign > 0 for sign in signs)
    if len(set(first)) == 1 or len(set(second)) == 1:
        return RankAgreement(same, len(pairs), None, None, None, swapped)
    tau, rho = kendalltau(first, second), spearmanr(first, second)
    return RankAgreement(same, len(pairs), float(tau.statistic), float(tau.pvalue), float(rho.statistic), swapped)


def ordered(names: Sequence[str], values: Sequence[float], between: str) -> str:
    """Return names from the highest value to the lowest, equals joined by ` = ` in the order in which they came."""
    by_value: dict[float, list[str]] = {}
    for name, value in zip(names, values, strict=True):
        by_value.setdefault(round(value, 9), []).append(name)
    return between.join(" = ".join(by_value[value]) for value in sorted(by_value, reverse=True))


def orders(record: Record) -> dict[str, str]:
    """Return the order of the rows of a Table 1 in the `paper` and `here`; nothing for less than two."""
    rows = {key: row for key, row in run(record).items() if row["printed"] is not None}
    ours = {key: row["pooled"]["accuracy"] for key, row in rows.items()}
    values = {"paper": [row["printed"] for row in rows.values()], "here": list(ours.values())}
    return {name: ordered(list(rows), each, ", ") for name, each in values.items() if len(rows) > 1}


def _agreement(printed: Sequence[float], ours: Sequence[float], titles: Sequence[str]) -> str:
    found = rank_agreement(printed, ours)
    paper, here = (ordered(titles, values, " > ") for values in (printed, ours))
    n_tied = found.n_pairs - found.same_order - len(found.swapped)
    said = f"{found.same_order} of {found.n_pairs} pairs of rows stand in the paper's order"
    if found.kendall is not None and len(ours) > 2:
        said += f" (Kendall's tau {found.kendall:+.2f}, p {found.kendall_p:.3f}; Spearman's rho {found.spearman:+.2f})"
    return f"{said}{f'; {n_tied} are tied' if n_tied else ''}. The paper: {paper}. Here: {here}."


# --- what the lists need beside the JSON ------------------------------------------------------------------------------


def _table1(record: Record, rows: Mapping[str, Record]) -> dict[str, Any]:
    accuracies = {key: row["pooled"]["accuracy"] for key, row in rows.items()}
    majority = record["references"]["majority"]["pooled"]["accuracy"]
    configurations = {key: value for key, value in accuracies.items() if key.startswith("baseline-")}
    families = [key for key in rows if key.startswith("parallelnet-") and "parallelnet" in rows]
    pair = [rows[key]["training"] for key in ("ier-only", "ser-only") if key in rows]
    known = len(pair) == 2 and None not in (each[n] for each in pair for n in ("overfit", "mean_gap", "kappa"))
    return {
        "order": _order(record, rows),
        "gaps": sorted(record["differences"], key=lambda each: each["accuracy"]["difference"]),  # losses first
        "configurations": best(configurations) if len(configurations) == 3 else [],
        "families": families,
        "better": [key for key in families if accuracies[key] > accuracies["parallelnet"]],
        "majority": majority,
        "weak": [key for key, row in rows.items() if (row["pooled"]["ci95"]["accuracy"][0] or 0) <= majority],
        "epochs": sorted(epoch for row in rows.values() for epoch in row["training"]["converged_epoch"]),
        "at_limit": sum(sum(row["training"]["at_limit"]) for row in rows.values()),
        "overfit": pair if known else [],
    }


def _order(record: Record, rows: Mapping[str, Record]) -> dict[str, Any]:
    """Return how far the rows stand in the paper's order, and every pair that does not; nothing for less than two."""
    both = [key for key, row in rows.items() if row["printed"] is not None]
    if len(both) < 2:
        return {}
    printed = [rows[key]["printed"] for key in both]
    ours = [rows[key]["pooled"]["accuracy"] for key in both]
    gaps = {frozenset((each["first"], each["second"])): each["accuracy"]["ci95"] for each in record["differences"]}
    swapped = [(both[i], both[j]) for i, j in rank_agreement(printed, ours).swapped]
    return {
        "agreement": _agreement(printed, ours, both),
        "swapped": [(high, low, gaps.get(frozenset((high, low)))) for high, low in swapped],
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
        "agreement": _agreement(list(methods), ours, titles) if len(methods) > 1 else "",
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
