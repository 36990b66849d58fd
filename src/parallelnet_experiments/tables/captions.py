"""What every table must say of its figures before they can be read: which data, which classes, which training budget.

Pure functions of a result's JSON, in plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from parallelnet.options import TablesOptions
from parallelnet.types import EMOTIONS, SENTIMENTS

DEFAULT_CLIP_S = next(float(str(each.default)) for each in fields(TablesOptions) if each.name == "clip_s")


def identity(record: Mapping[str, Any]) -> str:
    """Return the data's name and what it can be recognised by; two prints where `build tweets` made it."""
    data = record["data"]
    said = f"{data['name']} (fingerprint of the samples used: {data['fingerprint'][:12]}"
    built = (data.get("built") or {}).get("fingerprint")
    if built:
        said += f"; of the build, as in its dataset.json: {built[:12]}"
    return f"{said})"


def absent_classes(record: Mapping[str, Any]) -> str:
    """Return which of the usual classes no sample has, and what follows for the figures; "" where all are there."""
    counts: Mapping[str, int] = record["data"]["counts"]
    there = [name for name, n in counts.items() if n]
    usual = next((known for known in (EMOTIONS, SENTIMENTS) if set(there) <= set(known)), ())
    absent = [name for name in dict.fromkeys((*usual, *counts)) if name not in there]
    if not absent:
        return ""
    total = len(there) + len(absent)
    return (
        f"No sample is of class {' or '.join(absent)}: macro F1 and UAR are means over the {len(there)} classes "
        f"that are there, not over {total}, and not comparable with figures over {total}."
    )


def budget(record: Mapping[str, Any], backbones: Iterable[str] = ()) -> str:
    """Return which networks were trained and for how long: size, epochs, samples an epoch, batch, rate, speech window.

    Args:
        record: of a result.
        backbones: of the networks that were trained, as far as known; named where they are small.
    """
    options, recipe = record["options"], recipe_of(record)
    used = "; ".join(dict.fromkeys(backbones))
    size = "Networks as in the paper"
    if options["size"] != "paper":
        size = f"Small counterparts of the paper's networks ({inputs(record)}narrow layers"
        size += f"; backbones {used})" if used else ")"
    drawn = recipe.get("samples_per_epoch", 0)
    learning = [
        f"at most {recipe['epochs']} epochs" + (f" of {drawn:,} samples each{_of(record)}" if drawn else ""),
        f"batches of {recipe['batch_size']}",
        recipe["optimizer"],
        f"{'peak ' if recipe.get('schedule') == 'one-cycle' else ''}learning rate {recipe['learning_rate']:g}",
        f"starting weights {options['weights']}" + _starts(options),
    ]
    if options["clip_s"] != DEFAULT_CLIP_S:
        learning.append(f"speech windows of {options['clip_s']:g} s (default {DEFAULT_CLIP_S:g})")
    return f"{size}. Recipe `{options['preset']}`: {', '.join(learning)}."


def _starts(options: Mapping[str, Any]) -> str:
    names = " and ".join(options.get("init_from") or ())
    return f" (branches that {names} have, too, start from there)" if names else ""


def inputs(record: Mapping[str, Any]) -> str:
    """Return `32 x 32 inputs, ` where the networks took averaged ones, as far as the result says so."""
    rows = record["rows"].values() if isinstance(record["rows"], Mapping) else record["rows"]
    networks = [row["network"] for row in rows if isinstance(row.get("network"), Mapping)]
    sides: set[int] = {side for network in networks for side in network["input_side"].values()}
    if "input_side" in record:
        sides.add(record["input_side"])
    return "".join(f"{side} x {side} inputs, " for side in sorted(sides))


def _of(record: Mapping[str, Any]) -> str:
    sizes = sorted(fold["train"] for fold in record["data"].get("folds", ()))
    if not sizes:
        return ""
    low, high = sizes[0], sizes[-1]
    return f", drawn from the {low:,}" + (f" to {high:,}" if high > low else "") + " to learn from"


def recipe_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the rows of a result learnt."""
    found: Mapping[str, Any] = record.get("recipe") or record["options"]["recipe"]
    return found


def tied(names: Sequence[str], values: Sequence[float], between: str) -> str:
    """Return names from the highest value to the lowest, equals joined by ` = ` in the order in which they came."""
    by_value: dict[float, list[str]] = {}
    for name, value in zip(names, values, strict=True):
        by_value.setdefault(round(value, 9), []).append(name)
    return between.join(" = ".join(by_value[value]) for value in sorted(by_value, reverse=True))
