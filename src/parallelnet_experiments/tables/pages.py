"""What every page about results has in common: data, what differs from the paper, attempts, notes; the index.

Pure functions of the committed JSON: the same files give the same pages, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from parallelnet.options import PRESETS

from .captions import absent_classes, identity, inputs, recipe_of
from .modality_tables import excludes_zero, table

MARK = "<!-- Made by `parallelnet experiment render` from the JSON beside the tables; changes by hand are lost. -->"
FIGURE = re.compile(r"(?<![\w.])(\d+\.\d+)(?![\w.]*\d)")
REFERENCE = re.compile(r"(?:sections?|Eq\.|Fig\.|Table|version)\s+[\d.]+(?:(?:,| and)\s+[\d.]+)*", re.IGNORECASE)
"""Numbers that name a place, not a result."""


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
    record: Mapping[str, Any]
    notes: str = ""
    plots: tuple[str, ...] = ()


def page(result: Result, title: str, said: Sequence[str], tables: str, others: Sequence[Result], to: str) -> str:
    """Return the page of a result.

    Args:
        result: what it is about.
        title: heading.
        said: what the figures say, a sentence or more each; becomes a list.
        tables: the result's own Markdown.
        others: further attempts on the same data, this one among them; none or one: nothing is said of them.
        to: how to get from the pages to the results, `../../results`.
    """
    folder = f"{to}/{result.name}"
    parts = [
        MARK,
        f"# {title}",
        f"From [{result.kind}.json]({folder}/{result.kind}.json) of {result.record['date']}; tables: "
        f"[Markdown]({folder}/{result.kind}.md), [LaTeX]({folder}/{result.kind}.tex).",
        "## What it says",
        "\n".join(f"- {line}" for line in said),
        "## Data and split",
        data_lines(result.record),
        "## What differs from the paper",
        "\n".join(f"- {line}" for line in deviations(result.record)),
    ]
    if len(others) > 1:
        parts += ["## Attempts on the same data", *attempts(result, others)]
    if result.notes:
        parts += ["## Notes", result.notes.strip()]
    parts += ["## All figures", demoted(tables)]
    if result.plots:
        parts += ["## Plots", "\n".join(f"![{name.removesuffix('.png')}]({folder}/{name})\n" for name in result.plots)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def demoted(markdown: str) -> str:
    """Return Markdown without its first heading, the others one level lower."""
    lines = markdown.splitlines()
    if lines and lines[0].startswith("# "):
        lines = lines[1:]
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in lines).strip()


def data_lines(record: Mapping[str, Any]) -> str:
    """Return which samples, of which classes, in which folds, on which machine."""
    data, options = record["data"], record["options"]
    counts = ", ".join(f"{name} {n:,}" for name, n in data["counts"].items())
    shared = "words" if data.get("built") else "a speaker"
    lines = [
        f"{identity(record)}: {data['n']:,} samples ({counts}) in "
        f"{data['n_components']:,} components, sets that share {shared} or a picture. No component straddles a "
        "fold, and every interval draws components whole."
    ]
    absent = absent_classes(record)
    if absent:
        lines.append(absent)
    if data.get("n_left_out"):
        lines.append(f"{data['n_left_out']:,} samples without a label were left out.")
    built = data.get("built")
    if built:
        lines.append(_built(built))
    sizes = [f"{fold['train']:,} / {fold['validation']:,} / {fold['test']:,}" for fold in data["folds"]]
    lines.append(
        f"{options['folds']} folds, the same for every row; each fold's network learns, stops and calibrates, and is "
        f"tested on {'; '.join(sizes)} samples. Every sample is answered once, by the network that never saw it. "
        f"Intervals: 95 %, {options['n_bootstrap']:,} rounds of the bootstrap. Seed {options['seed']}."
    )
    lines.append(f"Machine: {record['machine']}.")
    return "\n\n".join(lines)


def _built(built: Mapping[str, Any]) -> str:
    said = f"Built by `parallelnet build tweets`: {built['n_kept']:,} of {built['n_read']:,} rows kept"
    if built.get("tts"):
        said += f", spoken by {built['tts'].get('engine', '?')} {built['tts'].get('version', '')}".rstrip()
    if built.get("labels") == "sentiment":
        return f"{said}; the sentiments are the source's own."
    teachers = " and ".join(f"`{each.get('name', '?')}` ({side})" for side, each in built.get("teachers", {}).items())
    said += f"; labels by rule `{built.get('rule')}` from the teachers {teachers}, threshold {built.get('threshold')}"
    if built.get("teacher_agreement") is not None:
        said += f", who name the same emotion for {percent(built['teacher_agreement'])} of the rows"
    return f"{said}. What is measured is agreement with these teachers, not with people."


def deviations(record: Mapping[str, Any]) -> list[str]:
    """Return what is not as the paper has it: data, networks, starting weights, recipe, folds."""
    options = record["options"]
    lines = ["The data: the paper's (IIT-R SIER, B-T4SA) cannot be had, so its figures are not to be subtracted from."]
    if options["size"] == "small":
        lines.append(
            f"The networks: small counterparts, with {inputs(record)}narrow layers and small backbones; a row keeps "
            "its key and its structure (`--size small`)."
        )
    if options["weights"] == "none":
        but = " but for what is said next" if options.get("init_from") else ""
        lines.append(f"The backbones start from random weights{but}; the paper's are pre-trained.")
    if options.get("init_from"):
        lines.append(_starts(record))
    changed = recipe_changes(recipe_of(record), json.loads(json.dumps(asdict(PRESETS["paper"]))))
    if changed:
        lines.append(f"The recipe (in brackets the paper's, section 4.2): {'; '.join(changed)}.")
    if options["folds"] != 5:
        lines.append(f"{options['folds']} folds, the paper has 5.")
    lines.append(
        "Folds are grouped, and early stopping and calibration see a validation part that is cut from the training "
        "folds; the paper says of neither how it was done, and prints validation accuracies."
    )
    return lines


def _starts(record: Mapping[str, Any]) -> str:
    """Return which rows started from which checkpoints."""
    rows = record["rows"] if isinstance(record["rows"], Mapping) else {}
    said = []
    for name in record["options"]["init_from"]:
        taken = [key for key, row in rows.items() if name in (row.get("network") or {}).get("started_from", ())]
        said.append(f"`{name}`" + (f" (rows {listed(taken)})" if taken else ""))
    return f"Branches of the same kind as in {' and '.join(said)} start from there; the others start at random."


def recipe_changes(recipe: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Return what is other in a recipe, `name value (value before)`, augmentation as one."""
    found = []
    for name, value in recipe.items():
        old = before.get(name)
        if value == old:
            continue
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = recipe_changes(value, old)
            found.append(f"{name.replace('_', ' ')}: {', '.join(inner)}")
        else:
            found.append(f"{name.replace('_', ' ')} {_value(value)} ({_value(old)})")
    return found


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def same_data(result: Result, results: Sequence[Result]) -> list[Result]:
    """Return the results of one kind on the same data, in the order in which they were made."""
    fingerprint = result.record["data"]["fingerprint"]
    found = [each for each in results if each.kind == result.kind and each.record["data"]["fingerprint"] == fingerprint]
    return sorted(found, key=lambda each: (each.record["date"], each.name))


def attempts(result: Result, others: Sequence[Result]) -> list[str]:
    """Return a table of all attempts at Table 1 on the same data: what was changed, and what it came to.

    Whatever was chosen between attempts was chosen on the inner validation part; the test column is what came of it.
    """
    rows = [["attempt", "date", "recipe, beside this one", "network", "validation: ParallelNet", "best single", "test"]]
    for each in others:
        changed = "this one" if each is result else "; ".join(_changes(each.record, result.record)) or "the same"
        name = f"**{each.name}**" if each is result else f"[{each.name}]({each.name}.md)"
        rows.append([name, each.record["date"], changed, _size(each.record), *_outcome(each.record)])
    return [
        "On the same data, by date and name. Validation: mean accuracy on the inner validation parts, the only thing "
        "that a recipe is chosen by; who makes a further attempt knows the test of the one before, though. Test: "
        "ParallelNet minus the better single modality, points of accuracy.",
        "\n".join(table(rows)),
    ]


def _changes(record: Mapping[str, Any], this: Mapping[str, Any]) -> list[str]:
    names = ("weights", "clip_s", "trim", "face", "init_from", "seed", "folds")
    options, before = ({name: each["options"].get(name) for name in names} for each in (record, this))
    return [*recipe_changes(options, before), *recipe_changes(recipe_of(record), recipe_of(this))]


def _size(record: Mapping[str, Any]) -> str:
    return f"{record['options']['size']}, {inputs(record)}".rstrip(", ")


def _outcome(record: Mapping[str, Any]) -> list[str]:
    rows, fusion = record["rows"], record["fusion"]
    known = {key: row["validation"]["accuracy"] for key, row in rows.items() if not row["reason"]}
    singles = {key: known[key] for key in ("ser-only", "ier-only") if known.get(key) is not None}
    best = max(singles, key=lambda key: singles[key], default=None)
    ours = known.get("parallelnet")
    return [
        "-" if ours is None else percent(ours),
        "-" if best is None else f"{percent(singles[best])} ({best})",
        fusion["reason"] or f"{points(fusion)} over {fusion['best_single']}",
    ]


def percent(value: float) -> str:
    """Return a part as percent."""
    return f"{100 * value:.1f} %"


def points(found: Mapping[str, Any]) -> str:
    """Return a difference of parts in points of percent with its interval, bold where that excludes zero."""
    if found["difference"] is None or None in found["ci95"]:
        return "not defined"
    text = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * value for value in (found["difference"], *found["ci95"])))
    return f"**{text}**" if excludes_zero(found["ci95"]) else text


def listed(names: Sequence[str]) -> str:
    """Return names as one would say them: `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def unknown_figures(notes: str, records: Sequence[Any]) -> list[str]:
    """Return the figures with decimals in a text that stand in none of the records, as parts or as percent.

    Numbers after `section`, `Eq.`, `Fig.`, `Table` and `version` are places.
    """
    said = dict.fromkeys(FIGURE.findall(REFERENCE.sub("", notes)))
    numbers = {abs(value) for record in records for value in _numbers(record)}
    known = {digits: _printed(numbers, digits) for digits in {len(each.partition(".")[2]) for each in said}}
    return [each for each in said if each not in known[len(each.partition(".")[2])]]


def _printed(numbers: set[float], digits: int) -> set[str]:
    return {f"{scale * value:.{digits}f}" for value in numbers for scale in (1, 100)}


def _numbers(found: Any) -> Iterator[float]:
    if isinstance(found, Mapping):
        for name, value in found.items():
            if name not in ("curves", "reliability"):  # so many that anything would be among them
                yield from _numbers(value)
    elif isinstance(found, list | tuple):
        for value in found:
            yield from _numbers(value)
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield float(found)
