"""What a study of faithfulness found: every figure with its interval and its n."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from parallelnet.explanation import faithfulness

from .evidence import Case
from .tables.statistics import Draws, mean

Records = Mapping[tuple[str, str], Mapping[str, Any]]
Value = Callable[[Case], float | None]
Figure = Callable[[Sequence[Case], Value], dict[str, Any] | None]
"""From samples and a value of each, None where it has none, to their mean with interval and n."""

PRIMARY = {"speech": "changed", "image": "changed", "pair": "right"}
"""Whose figures the table shows: samples on which the model is right and changes its mind without the cue. Of pairs
those on which it is right: between two classes, a model that has lost the cue still says one of them."""


def summarise(
    task: str, cases: Sequence[Case], chosen: Sequence[Case], records: Records, draws: Draws
) -> dict[str, Any]:
    """Return every figure of a study as plain dicts.

    Args:
        task: `speech`, `image` or `pair`.
        cases: all samples, for what the model is worth.
        chosen: those that were explained.
        records: by (sample, what), as the journal has them.
        draws: of groups of samples that share files.
    """

    def figure(members: Sequence[Case], value: Value) -> dict[str, Any] | None:
        found = [(case.group, x) for case in members if (x := value(case)) is not None]
        if not found:
            return None
        groups, values = zip(*found, strict=True)
        return mean(values, groups, draws)

    primary = PRIMARY[task]
    kept = [case for case in chosen if case.right and (case.changed or primary == "right")]
    explained = list(dict.fromkeys(what for _, what in records if what.startswith("values:")))
    default = next((what.partition("@")[2] for what in explained if what.startswith("values:random@")), "")
    result: dict[str, Any] = {
        "what": "faithfulness of explanations to planted evidence",
        "task": task,
        "primary": primary,
        "default_baseline": default,
        "counts": {
            "samples": len(cases),
            "with_cue": sum(case.cue for case in cases),
            "explained": len(chosen),
            "explained_right": sum(case.right for case in chosen),
            "explained_primary": len(kept),
            "explained_needs_each": sum(case.right and case.needs_each for case in chosen),
        },
        "model": _model(cases, figure),
        "explainers": {},
    }
    for what in explained:
        name, _, baselines = what.removeprefix("values:").partition("@")
        found = _costs(what, chosen, records) | _places(what, chosen, kept, records, figure)
        found |= _areas(what, kept, records, figure)
        rho = figure(kept, partial(_correlation, records, name)) if baselines == default else None
        if rho is not None:
            absolute = figure(kept, partial(_correlation, records, name, change=abs))
            found["random_weights"] = {"rank_correlation": rho, "absolute": absolute}
        result["explainers"].setdefault(name, {})[baselines] = found
    result["random_orders"] = _bands(kept, records)
    if task == "pair":
        shares = [np.prod([side.mean() for side in case.place().values()]) for case in kept]
        result["chance_first"] = (
            float(np.mean(shares)) if shares else None
        )  # how often a random pair is the planted one
        result["product_of_values"] = figure(kept, partial(_product, records, f"values:exact@{default}"))
    return result


def _model(cases: Sequence[Case], figure: Figure) -> dict[str, Any]:
    """Return how right the model is, and what it says without the cues."""
    cues = [case for case in cases if case.cue]
    right = [case for case in cues if case.right]

    def is_right(case: Case) -> float:
        return float(case.right)

    found: dict[str, Any] = {
        "accuracy": figure(cases, is_right),
        "accuracy_with_cue": figure(cues, is_right),
        "accuracy_without_any": figure([case for case in cases if not case.cue], is_right),
        "changes_its_mind": figure(right, lambda case: float(case.changed)),
        "prob_with_cue": figure(right, lambda case: case.probs[case.sample.label]),
        "without": {},
    }
    for name in right[0].said if right else ():
        of: dict[str, tuple[Sequence[Case], Callable[[str, Case], float]]] = {
            "changes_its_mind": (right, lambda k, case: float(case.said[k] != case.emotion)),
            "prob": (right, lambda k, case: case.without[k]),
            "accuracy": (cues, lambda k, case: float(case.said[k] == case.sample.label)),
        }
        found["without"][name] = {key: figure(members, partial(value, name)) for key, (members, value) in of.items()}
    return found


def _costs(what: str, chosen: Sequence[Case], records: Records) -> dict[str, Any]:
    there = [records[case.sample.id, what] for case in chosen if (case.sample.id, what) in records]
    known = {name: [r[name] for r in there if r[name] is not None] for name in ("passes", "seconds", "cpu_seconds")}
    return {name: float(np.median(values)) if values else None for name, values in known.items()}


def _places(
    what: str, chosen: Sequence[Case], kept: Sequence[Case], records: Records, figure: Figure
) -> dict[str, Any]:
    """Return how well an explainer finds the places of the cues, of several populations."""
    populations = {"primary": kept, "right": [case for case in chosen if case.right], "all": chosen}
    populations["needs_each"] = [case for case in chosen if case.right and case.needs_each]
    found: dict[str, Any] = {}
    for population, members in populations.items():
        sides = chosen[0].place() if chosen else {}
        figures = {side: figure(members, partial(_auc, records, what, side)) for side in sides}
        found.setdefault("auc", {})[population] = {side: each for side, each in figures.items() if each is not None}
        pair = figure(members, partial(_first, records, what))
        if pair is not None:
            found.setdefault("pair_first", {})[population] = pair
    return found


def _areas(what: str, kept: Sequence[Case], records: Records, figure: Figure) -> dict[str, Any]:
    """Return the areas under the curves of an explainer's orders, by the baseline that they were scored with."""
    found: dict[str, Any] = {}
    for scored in sorted({other for _, other in records if other.startswith("curves@")}):
        each = {
            name: figure(kept, partial(_area, records, what.removeprefix("values:"), scored, which))
            for which, name in enumerate(("deletion", "insertion"))
        }
        if each["deletion"] is not None:
            found[scored.removeprefix("curves@")] = each
    return {"curves": found} if found else {}


def _bands(kept: Sequence[Case], records: Records) -> dict[str, Any]:
    """Return for each score-baseline what random orders get: mean over samples, of the lowest and the highest order."""
    found = {}
    for scored in sorted({what for _, what in records if what.startswith("curves@")}):
        areas = [records[case.sample.id, scored]["random"] for case in kept if (case.sample.id, scored) in records]
        if areas:
            means = np.mean(areas, axis=0)  # [orders, 2]
            figures = {"mean": means.mean(axis=0), "low": means.min(axis=0), "high": means.max(axis=0)}
            found[scored.removeprefix("curves@")] = {
                name: {key: float(values[k]) for key, values in figures.items()}
                | {"orders": len(means), "n": len(areas)}
                for k, name in enumerate(("deletion", "insertion"))
            }
    return found


# --- values of one sample ---------------------------------------------------------------------------------------------


def _auc(records: Records, what: str, side: str, case: Case) -> float | None:
    """Return how well the values of one modality tell the planted parts from the others."""
    values, place = records.get((case.sample.id, what), {}).get("values"), case.place()
    if values is None:
        return None
    first = len(place["speech"]) if side == "image" and "speech" in place else 0
    return faithfulness.auc(values[first : first + len(place[side])], place[side])


def _first(records: Records, what: str, case: Case) -> float | None:
    """Return whether the planted pair has the largest interaction."""
    together = records.get((case.sample.id, what), {}).get("together")
    return None if together is None else _largest(np.abs(together), case)


def _product(records: Records, what: str, case: Case) -> float | None:
    """Return whether the planted pair has the largest product of its two parts' own values: the pair without pairs."""
    values = records.get((case.sample.id, what), {}).get("values")
    if values is None:
        return None
    m = len(case.place()["speech"])
    return _largest(np.outer(np.abs(values[:m]), np.abs(values[m:])), case)


def _largest(pairs: Any, case: Case) -> float:
    place = case.place()
    return faithfulness.first(pairs, np.outer(place["speech"], place["image"]))


def _area(records: Records, key: str, scored: str, which: int, case: Case) -> float | None:
    areas = records.get((case.sample.id, scored), {}).get("areas", {})
    return areas[key][which] if key in areas else None


def _correlation(records: Records, name: str, case: Case, change: Callable[[float], float] = float) -> float | None:
    value = records.get((case.sample.id, f"random:{name}"), {}).get("rank_correlation")
    return None if value is None else change(value)
