"""Pages about results that are no table of the paper: a build of `build tweets`, and models that were measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .modality_tables import figure, interval, table
from .pages import MARK, percent

PAPER_COUNTS = {"happy": 42_958, "sad": 13_621, "hate": 4_401, "anger": 19_913}
"""Of the paper's data set (section 3.1), 80,893 in all."""
SHOWN = (("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("cohen_kappa", "kappa"), ("uar", "UAR"), ("ece", "ECE"))


def is_build(record: Mapping[str, Any]) -> bool:
    """True for the `dataset.json` of `build tweets`."""
    return {"n_read", "n_kept", "rejected", "class_counts", "threshold_curve"} <= set(record)


def build_page(name: str, record: Mapping[str, Any], to: str) -> str:
    """Return the page about a data set that `build tweets` made.

    Args:
        name: of the JSON, without its ending, below the results.
        record: the `dataset.json`.
        to: how to get from the pages to the results.
    """
    source, tts = record["input"], record["tts"]
    parts = [
        MARK,
        f"# Data set {name}",
        f"From [{name}.json]({to}/{name}.json), made by `{record['made_by']}` of {source.get('name', '?')} "
        f"({source.get('format', '?')}). Fingerprint `{record['fingerprint'][:12]}`.",
        f"{record['n_read']:,} rows were read, {record['n_kept']:,} kept, {record['n_rejected']:,} rejected. "
        f"{record['duration_s'] / 3600:.2f} hours of speech by {tts.get('engine', '?')} ({tts.get('version', '?')}) "
        f"in {len(tts.get('voices', {}))} voices; languages: {_counts(record['languages'])}.",
        "## Classes",
        *_classes(record),
    ]
    if record["rejected"]:
        rows = [["reason", "rows", "of those read"]]
        rows += [[why, f"{n:,}", percent(n / record["n_read"])] for why, n in record["rejected"].items()]
        parts += ["## Rejected", "\n".join(table(rows))]
    if record["threshold_curve"]:
        classes = list(record["class_counts"])
        rows = [["threshold", "kept", *classes]]
        rows += [
            [f"{at:.2f}", f"{n:,}", *(f"{counts.get(each, 0):,}" for each in classes)]
            for at, n, counts in record["threshold_curve"]
        ]
        parts += ["## Threshold", f"Used: {record['threshold']}.", "\n".join(table(rows))]
    if "log" in record:
        parts += ["## What it took", _cost(record["log"], record)]
    return "\n\n".join(parts) + "\n"


def _cost(log: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Return a paragraph on `build-log.json`, which `runs/reproduce_small.sh` puts beside the counts."""
    made, memory, machine = log["n_rows_made_in_this_run"], log["peak_memory_bytes"], log["machine"]
    said = f"{log['wall_s']:,.0f} s for {made:,} rows with {log['workers']} workers ({log['executor']}) on "
    said += f"{machine['n_cores']} cores ({machine['cpu']}), {log['began'][:10]}"
    if made < record["n_read"]:
        said += f"; the other {record['n_read'] - made:,} rows stood from an earlier start"
    if log["real_time_factor"] is not None:
        said += f"; real-time factor {log['real_time_factor']:.3f}"
    said += f". Peak memory {memory['coordinator'] / 1e6:,.0f} MB of the coordinator, {memory['worker'] / 1e6:,.0f} MB "
    return said + f"of a worker; {record['bytes'] / 1e6:,.0f} MB of shards. Seconds a step: [scaling](../scaling.md)."


def _classes(record: Mapping[str, Any]) -> Iterator[str]:
    total, paper_total = max(record["n_kept"], 1), sum(PAPER_COUNTS.values())
    emotions = record["labels"] == "emotion"
    rows = [["class", "rows", "part", *(["paper", "part there"] if emotions else [])]]
    for name, n in record["class_counts"].items():
        row = [name, f"{n:,}", percent(n / total)]
        if emotions:
            printed = PAPER_COUNTS.get(name)
            row += ["-", "-"] if printed is None else [f"{printed:,}", percent(printed / paper_total)]
        rows.append(row)
    yield "\n".join(table(rows))
    if emotions:
        said = f"The label comes from: {_counts(record['label_source_counts'])}; rule `{record['rule']}`."
        if record["teacher_agreement"] is not None:
            said += f" The teachers name the same emotion for {percent(record['teacher_agreement'])} of "
            said += f"{record['n_taught']:,} rows."
        yield said
    if record["sentiment_counts"]:
        yield f"Sentiments of the source: {_counts(record['sentiment_counts'])}."


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'unknown'} {n:,}" for name, n in counts.items()) or "none"


def models_page(records: Mapping[str, Mapping[str, Any]], to: str) -> str:
    """Return a page with every measured model in some JSON files; "" where they hold none.

    Args:
        records: by name of the JSON, without its ending, below the results.
        to: how to get from the pages to the results.
    """
    parts = []
    for name, record in records.items():
        rows = [["part", "n", *(title for _, title in SHOWN), "recall of each class"]]
        for where, found in _measured(record, ()):
            recalls = ", ".join(f"{each} {figure(value)}" for each, value in found["per_class_recall"].items())
            rows.append([" ".join(where), f"{found['n']:,}", *(interval(found, key) for key, _ in SHOWN), recalls])
        if len(rows) > 1:
            parts += [f"## {name}", f"From [{name}.json]({to}/{name}.json).", "\n".join(table(rows))]
    if not parts:
        return ""
    head = "95 % bootstrap intervals in brackets; how samples were drawn stands in each JSON (`resample`)."
    return "\n\n".join([MARK, "# Measured models", head, *parts]) + "\n"


def _measured(found: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield everything that `evaluation.Metrics` wrote, with the names that lead to it."""
    if isinstance(found, Mapping):
        if {"accuracy", "ci95", "per_class_recall", "n"} <= set(found):
            yield where, found
            return
        for name, value in found.items():
            yield from _measured(value, (*where, str(name)))
    elif isinstance(found, Sequence) and not isinstance(found, str):
        for number, value in enumerate(found):
            yield from _measured(value, (*where, str(number)))
