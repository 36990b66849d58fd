"""What results say, as lists of plain sentences: pure functions of `table1.json`, `table2.json`, `modalities.json`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from parallelnet.report.numbers import excludes_zero, fill, interval, listed, number, points

Record = Mapping[str, Any]

NO_RUN = "No row was run to its end."
CALIBRATED = {"ece": "ECE", "nll": "log loss", "brier": "Brier"}


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


def _told(ci95: Sequence[float | None]) -> str:
    return "the interval of the difference " + ("excludes zero" if excludes_zero(ci95) else "does not exclude zero")


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


# --- Table 1 ----------------------------------------------------------------------------------------------------------


def table1_headline(record: Record) -> str:
    """Return the one sentence of a Table 1: whether fusion earns its place."""
    found = record["fusion"]
    if found["reason"]:
        return f"Whether fusion beats the best single modality is {found['reason']}."
    single = found["best_single"]
    ours, theirs = (record["rows"][key]["network"].get("started_from", []) for key in ("parallelnet", single))
    names = [listed([f"`{name}`" for name in names]) if names else "random weights" for names in (ours, theirs)]
    unlike = f" (ParallelNet's branches started from {names[0]}, those of {single} from {names[1]})"
    gap = f"{points(found)} points of accuracy over {single}, the better single modality"
    gap += unlike if ours != theirs else ""
    if found["earned"]:
        return f"Fusion earns its place: {gap}; the interval excludes zero."
    if found["ci95"][1] < 0:
        return f"Fusion does harm: {gap}; the interval excludes zero."
    return f"Fusion does not earn its place: {gap}; the interval does not exclude zero."


def table1(record: Record) -> str:
    """Return what a Table 1 says: fusion, the paper's order, differences, references, training, what is missing."""
    rows = run(record)
    if not rows:
        return f"- {NO_RUN}\n"
    accuracies = {key: row["pooled"]["accuracy"] for key, row in rows.items()}
    gaps = sorted(record["differences"], key=lambda each: each["accuracy"]["difference"])  # losses first
    majority = record["references"]["majority"]["pooled"]["accuracy"]
    configurations = {key: accuracies[key] for key in accuracies if key.startswith("baseline-")}
    families = [key for key in rows if key.startswith("parallelnet-") and "parallelnet" in rows]
    pair = [rows[key]["training"] for key in ("ier-only", "ser-only") if key in rows]
    known = len(pair) == 2 and None not in (each[n] for each in pair for n in ("overfit", "mean_gap", "kappa"))
    return fill(
        __package__,
        "table1_said.md.j2",
        record=record,
        run=rows,
        headline=table1_headline(record),
        order=_order(record, rows),
        differences={
            "Differences in accuracy whose interval excludes zero, in points": [e for e in gaps if _sure(e)],
            "Differences that cannot be told from none": [each for each in gaps if not _sure(each)],
        },
        robust=[f"{e['first']} minus {e['second']}" for e in record["differences"] if e["p_components_holm"] < 0.05],
        configurations=best(configurations) if len(configurations) == 3 else [],
        families=families,
        better=[key for key in families if accuracies[key] > accuracies["parallelnet"]],
        majority=majority,
        weak=[key for key, row in rows.items() if (row["pooled"]["ci95"]["accuracy"][0] or 0) <= majority],
        epochs=sorted(epoch for row in rows.values() for epoch in row["training"]["converged_epoch"]),
        at_limit=sum(sum(row["training"]["at_limit"]) for row in rows.values()),
        overfit=pair if known else [],
        not_run=not_run(record["rows"]),
    )


def _sure(difference: Record) -> bool:
    return excludes_zero(difference["accuracy"]["ci95"])


def _order(record: Record, rows: Mapping[str, Record]) -> dict[str, Any] | None:
    """Return how far the rows stand in the paper's order, and every pair that does not; None for less than two."""
    both = [key for key, row in rows.items() if row["printed"] is not None]
    if len(both) < 2:
        return None
    printed = [rows[key]["printed"] for key in both]
    ours = [rows[key]["pooled"]["accuracy"] for key in both]
    gaps = {frozenset((each["first"], each["second"])): each["accuracy"]["ci95"] for each in record["differences"]}
    swapped = [
        {
            "high": both[i],
            "low": both[j],
            "high_ours": ours[i],
            "low_ours": ours[j],
            "high_printed": printed[i],
            "low_printed": printed[j],
            "ci95": gaps.get(frozenset((both[i], both[j]))),
        }
        for i, j in rank_agreement(printed, ours).swapped
    ]
    return {"agreement": _agreement(printed, ours, both), "swapped": swapped}


# --- Table 2 ----------------------------------------------------------------------------------------------------------


def table2_headline(record: Record) -> str:
    """Return the one sentence of a Table 2: the most accurate row, and ParallelNet."""
    by_key = {row["key"]: row for row in run(record)}
    if not by_key:
        return NO_RUN
    top = best({key: row["found"]["accuracy"] for key, row in by_key.items()})
    titles = [f"“{by_key[key]['title']}”" for key in top]
    if len(top) == 1:
        said = f"The most accurate row is {titles[0]} with {_accuracy(by_key[top[0]])}"
    else:
        tied = number(by_key[top[0]]["found"]["accuracy"])
        said = f"The most accurate rows are {listed(titles)}, tied at {tied} accuracy"
    ours = by_key.get("parallelnet")
    return f"{said}." if ours is None or "parallelnet" in top else f"{said}; ParallelNet has {_accuracy(ours)}."


def _accuracy(row: Record) -> str:
    return f"{interval(row['found']['accuracy'], row['found']['ci95']['accuracy'])} accuracy"


def table2(record: Record) -> str:
    """Return what a Table 2 says: ParallelNet beside each method, the paper's order, what is missing."""
    rows = run(record)
    if not rows:
        return f"- {NO_RUN}\n"
    beside: dict[str, list[Record]] = {"worse than": [], "not to be told from": [], "better than": []}
    for row in rows:
        if row.get("parallelnet_minus"):
            gap = row["parallelnet_minus"]["accuracy"]
            better = "better than" if gap["difference"] > 0 else "worse than"
            beside[better if excludes_zero(gap["ci95"]) else "not to be told from"].append(row)
    # Two rows of one method have the same printed figure: the one that starts as the original did speaks for it.
    methods: dict[float, Record] = {}
    for row in rows:
        if row["printed"] is not None and (row["printed"] not in methods or row["start"] == "imagenet"):
            methods[row["printed"]] = row
    ours, titles = ([row["found"]["accuracy"] for row in methods.values()], [row["title"] for row in methods.values()])
    return fill(
        __package__,
        "table2_said.md.j2",
        headline=table2_headline(record),
        beside=beside,
        agreement=_agreement(list(methods), ours, titles) if len(methods) > 1 else "",
        not_run=not_run(record["rows"]),
    )


# --- modalities -------------------------------------------------------------------------------------------------------

_ASKED = {
    ("both", "speech"): "What the picture adds to speech",
    ("both", "image"): "What speech adds to the picture",
    ("both", "both-without-image"): "What a missing picture costs the fused network",
    ("both", "both-without-speech"): "What missing speech costs the fused network",
    ("speech", "both-without-image"): "What a network of speech alone is ahead of the fused one without its picture",
    ("image", "both-without-speech"): "What a network of pictures alone is ahead of the fused one without its speech",
    ("dropout-both", "both"): "What the other modality dropout in training changes with both there",
    ("dropout-without-image", "both-without-image"): "What it changes where the picture is missing",
    ("dropout-without-speech", "both-without-speech"): "What it changes where speech is missing",
}


def modalities_headline(record: Record) -> str:
    """Return the one sentence of the study of the modalities: both beside the better one."""
    wanted = ("both", record["best_single"])
    pair = next((each for each in record["differences"] if (each["first"], each["second"]) == wanted), None)
    if pair is None or "found" not in pair:
        return "Whether both modalities beat the better one is not told: not all networks were run."
    gap = pair["found"]["accuracy"]
    said = "more accurate than" if (gap["difference"] or 0) > 0 else "no more accurate than"
    who = f"{pair['second_title']}, the better one"
    return f"Both modalities are {said} {who}: {points(gap)} points; {_told(gap['ci95'])}."


def modalities(record: Record) -> str:
    """Return what the study of the modalities says: fusion, missing modalities, dropout, calibration, sets."""
    rows = run(record)
    if not rows:
        return f"- {NO_RUN}\n"
    sets = [{**row["found"]["conformal"], "title": row["title"]} for row in rows if _promises(row)]
    return fill(
        __package__,
        "modalities_said.md.j2",
        headline=modalities_headline(record),
        pairs=[(_ASKED[e["first"], e["second"]], e["found"]) for e in record["differences"] if "found" in e],
        scaling=dict(_scaling(rows)),
        sets=sets,
        short=[each["title"] for each in sets if each["coverage"]["ci95"][1] < each["wanted_coverage"]],
        not_run=not_run(record["rows"], "title"),
    )


def _promises(row: Record) -> bool:
    return not isinstance(row["found"]["conformal"], str)


def _scaling(rows: Sequence[Record]) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Yield ((what scaling does, to which figure), the settings), harm first."""
    for name, kind in itertools.product(("ece", "nll"), ("raises", "does not surely change", "lowers")):
        titles = []
        for row in rows:
            gap = row["found"]["calibration"]["change"][name]
            sure = "lowers" if gap["difference"] < 0 else "raises"
            if kind == (sure if excludes_zero(gap["ci95"]) else "does not surely change"):
                titles.append(row["title"])
        if titles:
            yield (kind, CALIBRATED[name]), titles


SAID = {"table1": table1, "table2": table2, "modalities": modalities}
HEADLINES = {"table1": table1_headline, "table2": table2_headline, "modalities": modalities_headline}
