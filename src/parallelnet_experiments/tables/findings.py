"""What results say, in plain sentences: pure functions of `table1.json`, `table2.json`, `modalities.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .captions import tied
from .modality_tables import CALIBRATED, bounds, change, excludes_zero, figure
from .pages import listed, percent, points
from .ranking import rank_agreement

NO_RUN = "No row was run to its end."


def table1(record: Mapping[str, Any]) -> list[str]:
    """Return what a Table 1 says: order beside the paper's, fusion, differences, training, references."""
    run = {key: row for key, row in record["rows"].items() if not row["reason"]}
    if not run:
        return [NO_RUN]
    lines = [_fusion(record), *_order(record, run), *_differences(record), *_claims(run), *_references(record, run)]
    lines += [*_training(record, run), *_left_out(record["rows"])]
    return lines


def table1_headline(record: Mapping[str, Any]) -> str:
    """Return the one sentence of a Table 1."""
    return _fusion(record)


def _fusion(record: Mapping[str, Any]) -> str:
    found = record["fusion"]
    if found["reason"]:
        return f"Whether fusion beats the best single modality is {found['reason']}."
    gap = f"{points(found)} points of accuracy over {found['best_single']}, the better single modality"
    gap += _unlike_starts(record["rows"], found["best_single"])
    if found["earned"]:
        return f"Fusion earns its place: {gap}; the interval excludes zero."
    if found["ci95"][1] < 0:
        return f"Fusion does harm: {gap}; the interval excludes zero."
    return f"Fusion does not earn its place: {gap}; the interval does not exclude zero."


def _unlike_starts(rows: Mapping[str, Any], single: str) -> str:
    """Return what ParallelNet started from and the single modality did not, for a reader to weigh."""
    ours, theirs = (rows[key]["network"].get("started_from", []) for key in ("parallelnet", single))
    if ours == theirs:
        return ""
    said = [listed([f"`{name}`" for name in names]) if names else "random weights" for names in (ours, theirs)]
    return f" (ParallelNet's branches started from {said[0]}, those of {single} from {said[1]})"


def _order(record: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[str]:
    both = [key for key, row in run.items() if row["printed"] is not None]
    if len(both) < 2:
        return
    printed = [run[key]["printed"] for key in both]
    ours = [run[key]["pooled"]["accuracy"] for key in both]
    yield _agreement(printed, ours, both)
    gaps = {(each["first"], each["second"]): each["accuracy"] for each in record["differences"]}
    for i, j in rank_agreement(printed, ours).swapped:
        high, low = both[i], both[j]
        known = gaps.get((high, low)) or gaps.get((low, high))
        told = "the table does not compare the two" if known is None else _told(known["ci95"])
        yield (
            f"Against the paper's order: {low} ({percent(ours[j])}; printed {printed[j]:.2f} %) lies above {high} "
            f"({percent(ours[i])}; printed {printed[i]:.2f} %); {told}."
        )


def _told(ci95: Sequence[float | None]) -> str:
    return "the interval of the difference " + ("excludes zero" if excludes_zero(ci95) else "does not exclude zero")


def _agreement(printed: Sequence[float], ours: Sequence[float], titles: Sequence[str]) -> str:
    found = rank_agreement(printed, ours)
    paper, here = (tied(titles, values, " > ") for values in (printed, ours))
    n_tied = found.n_pairs - found.same_order - len(found.swapped)
    said = f"{found.same_order} of {found.n_pairs} pairs of rows stand in the paper's order"
    if found.kendall is not None and found.n > 2:
        said += f" (Kendall's tau {found.kendall:+.2f}, p {found.kendall_p:.3f}; Spearman's rho {found.spearman:+.2f})"
    if n_tied:
        said += f"; {n_tied} are tied"
    return f"{said}. The paper: {paper}. Here: {here}."


def _differences(record: Mapping[str, Any]) -> Iterator[str]:
    told = {True: [], False: []}  # type: dict[bool, list[str]]
    for each in record["differences"]:
        gap = each["accuracy"]
        said = f"{each['first']} minus {each['second']} {points(gap).replace('*', '')}"
        told[excludes_zero(gap["ci95"])].append(said)
    if told[True]:
        yield f"Differences in accuracy whose interval excludes zero, in points: {'; '.join(told[True])}."
    if told[False]:
        yield f"Differences that cannot be told from none: {'; '.join(told[False])}."
    robust = [f"{e['first']} minus {e['second']}" for e in record["differences"] if e["p_components_holm"] < 0.05]
    if record["differences"]:
        n = len(record["differences"])
        who = listed(robust) if robust else "none"
        yield f"With Holm's adjustment over all {n}, components swapped whole, below 0.05: {who}."


def _claims(run: Mapping[str, Any]) -> Iterator[str]:
    baselines = [key for key in ("baseline-1", "baseline-2", "baseline-3") if key in run]
    if len(baselines) == 3:
        best = _best({key: run[key]["pooled"]["accuracy"] for key in baselines})
        agrees = "as the paper says" if best == ["baseline-3"] else "the paper says baseline-3, criss-cross after N2"
        who = f"{best[0]} is the most accurate" if len(best) == 1 else f"{listed(best)} are tied as the most accurate"
        yield f"Of the three configurations of N1, {who} ({agrees})."
    families = [key for key in run if key.startswith("parallelnet-")]
    if families and "parallelnet" in run:
        ours = run["parallelnet"]["pooled"]["accuracy"]
        above = [key for key in families if run[key]["pooled"]["accuracy"] > ours]
        who = f"{listed(above)} do better" if above else "none does better"
        yield f"Of {len(families)} other choices for N2, {who} than parallelnet; the paper: none does."


def _best(values: Mapping[str, float]) -> list[str]:
    """Return the names of the highest value: several where they are tied."""
    top = round(max(values.values()), 9)
    return [name for name, value in values.items() if round(value, 9) == top]


def _references(record: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[str]:
    majority = record["references"]["majority"]["pooled"]["accuracy"]
    weak = [key for key, row in run.items() if (row["pooled"]["ci95"]["accuracy"][0] or 0) <= majority]
    said = f"The majority class alone is right on {percent(majority)}"
    yield f"{said}; " + (
        f"the intervals of {listed(weak)} do not lie above that."
        if weak
        else "the interval of every row lies above that."
    )
    ours = run.get("parallelnet")
    if ours is not None:
        yield (
            f"ParallelNet is right on {percent(ours['pooled']['accuracy'])}, the paper prints {ours['printed']:.2f} %: "
            "other data, other labels, so the two are not comparable."
        )
    for key, who in (("speech-teacher", "the speech teacher"), ("image-teacher", "the picture teacher")):
        row = record["references"][key]
        if not row["reason"]:
            yield f"Alone, {who} names the label of {percent(row['pooled']['accuracy'])}, for it helped to make them."


def _training(record: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[str]:
    low, high = record["paper"]["convergence_epochs"]
    epochs = sorted(epoch for row in run.values() for epoch in row["training"]["converged_epoch"])
    limit = sum(sum(row["training"]["at_limit"]) for row in run.values())
    yield (
        f"The networks of all folds converge after {epochs[0]} to {epochs[-1]} epochs, the middle one after "
        f"{epochs[len(epochs) // 2]} (paper: {low} to {high}); {limit} of {len(epochs)} have their lowest validation "
        "loss in the last epoch allowed" + (", so that more might have helped them." if limit else ".")
    )
    pair = [run.get(key) for key in ("ser-only", "ier-only")]
    if all(pair):
        hears, sees = ({n: row["training"][n] for n in ("overfit", "mean_gap", "kappa")} for row in pair if row)
        if None not in (*hears.values(), *sees.values()):
            yield (
                "The paper finds pictures alone over-fitted (high training, low validation accuracy, low kappa, "
                "accuracy and F1 not in line), speech alone in line. Here training minus validation accuracy is "
                f"{100 * sees['overfit']:+.1f} points for pictures and {100 * hears['overfit']:+.1f} for speech, kappa "
                f"{sees['kappa']:.2f} and {hears['kappa']:.2f}, the gap of accuracy and F1 "
                f"{100 * sees['mean_gap']:.1f} and {100 * hears['mean_gap']:.1f} points."
            )


def _left_out(rows: Mapping[str, Any]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for key, row in rows.items():
        if row["reason"]:
            reasons.setdefault(row["reason"], []).append(key)
    for reason, keys in reasons.items():
        yield f"Missing, {reason}: {'; '.join(keys)}."


def table2(record: Mapping[str, Any]) -> list[str]:
    """Return what a Table 2 says: ParallelNet beside each method, order beside the paper's, what is missing."""
    run = [row for row in record["rows"] if "found" in row]
    if not run:
        return [NO_RUN]
    lines = [table2_headline(record), *_beside(run), *_order2(run)]
    reasons = {row["key"]: {"reason": row.get("missing", "")} for row in record["rows"]}
    return [*lines, *_left_out(reasons)]


def table2_headline(record: Mapping[str, Any]) -> str:
    """Return the one sentence of a Table 2."""
    run = [row for row in record["rows"] if "found" in row]
    if not run:
        return NO_RUN
    by_key = {row["key"]: row for row in run}
    best = _best({key: row["found"]["accuracy"] for key, row in by_key.items()})
    ours = by_key.get("parallelnet")
    if len(best) == 1:
        said = f"The most accurate row is “{by_key[best[0]]['title']}” with {_accuracy(by_key[best[0]])}"
    else:
        who = listed([f"“{by_key[key]['title']}”" for key in best])
        said = f"The most accurate rows are {who}, tied at {figure(by_key[best[0]]['found']['accuracy'])} accuracy"
    return f"{said}." if ours is None or "parallelnet" in best else f"{said}; ParallelNet has {_accuracy(ours)}."


def _accuracy(row: Mapping[str, Any]) -> str:
    found = row["found"]
    return f"{bounds(found['accuracy'], found['ci95']['accuracy'])} accuracy"


def _beside(run: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    words = {True: [], False: [], None: []}  # type: dict[bool | None, list[str]]
    for row in run:
        found = row.get("parallelnet_minus")
        if found:
            gap = found["accuracy"]
            sure = (gap["difference"] > 0) if excludes_zero(gap["ci95"]) else None
            words[sure].append(f"{row['title']} ({points(gap).replace('*', '')})")
    for sure, said in ((True, "better than"), (False, "worse than"), (None, "not to be told from")):
        if words[sure]:
            yield f"ParallelNet is {said}, in points of accuracy: {'; '.join(words[sure])}."


def _order2(run: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    # Two rows of one method have the same printed figure: the one that starts as the original did speaks for it.
    methods: dict[float, Mapping[str, Any]] = {}
    for row in run:
        if row["printed"] is not None and (row["printed"] not in methods or row["start"] == "imagenet"):
            methods[row["printed"]] = row
    if len(methods) > 1:
        rows = list(methods.values())
        yield _agreement(list(methods), [row["found"]["accuracy"] for row in rows], [row["title"] for row in rows])


def modalities(record: Mapping[str, Any]) -> list[str]:
    """Return what the study of the modalities says: fusion, missing modalities, dropout, calibration, sets."""
    found = {row["key"]: row["found"] for row in record["rows"] if "found" in row}
    if not found:
        return [NO_RUN]
    lines = [modalities_headline(record), *_pairs(record)]
    lines += [*_calibrated(record, found), *_sets(record, found)]
    titles = {row["title"]: {"reason": row.get("missing", "")} for row in record["rows"]}
    return [*lines, *_left_out(titles)]


def modalities_headline(record: Mapping[str, Any]) -> str:
    """Return the one sentence of the study of the modalities."""
    best = record["best_single"]
    pair = next((p for p in record["differences"] if (p["first"], p["second"]) == ("both", best)), None)
    if pair is None or "found" not in pair:
        return "Whether both modalities beat the better one is not told: not all networks were run."
    gap = pair["found"]["accuracy"]
    said = "more accurate than" if (gap["difference"] or 0) > 0 else "no more accurate than"
    who = f"{pair['second_title']}, the better one"
    return f"Both modalities are {said} {who}: {points(gap)} points; {_told(gap['ci95'])}."


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


def _pairs(record: Mapping[str, Any]) -> Iterator[str]:
    for pair in record["differences"]:
        if "found" in pair:
            gap = pair["found"]["accuracy"]
            yield f"{_ASKED[pair['first'], pair['second']]}: {points(gap)} points; {_told(gap['ci95'])}."


def _calibrated(record: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    titles = {row["key"]: row["title"] for row in record["rows"]}
    for name, spoken in CALIBRATED[:2]:
        told: dict[str, list[str]] = {}
        for key, each in found.items():
            gap = each["calibration"]["change"][name]
            kind = "does not surely change"
            if excludes_zero(gap["ci95"]):
                kind = "lowers" if gap["difference"] < 0 else "raises"
            raw, scaled = (figure(each[metrics][name]) for metrics in ("raw_metrics", "metrics"))
            told.setdefault(kind, []).append(f"{titles[key]} ({raw} to {scaled}, {change(gap).replace('*', '')})")
        for kind, who in told.items():
            yield f"Temperature scaling {kind} the {spoken} of {'; '.join(who)}."


def _sets(record: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    titles = {row["key"]: row["title"] for row in record["rows"]}
    told = {key: each["conformal"] for key, each in found.items() if not isinstance(each["conformal"], str)}
    low = [key for key, sets in told.items() if sets["coverage"]["ci95"][1] < sets["wanted_coverage"]]
    if told:
        wanted = percent(next(iter(told.values()))["wanted_coverage"])
        who = "; ".join(
            f"{titles[key]} {percent(sets['coverage']['mean'])} with {sets['mean_size']['mean']:.2f} classes"
            for key, sets in told.items()
        )
        yield f"Conformal sets, which promise {wanted}, hold the truth: {who}." + (
            f" Surely less than promised: {listed([titles[key] for key in low])}." if low else ""
        )
