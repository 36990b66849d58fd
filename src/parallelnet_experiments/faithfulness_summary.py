"""What a study of faithfulness found: every figure with its interval and its n."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from parallelnet import bootstrap
from parallelnet.explanation import faithfulness
from parallelnet.types import Sample

Records = Mapping[tuple[str, str], Mapping[str, Any]]
Figure = dict[str, Any]

PRIMARY = {"speech": "changed", "image": "changed", "pair": "right"}
"""Whose figures the table shows: samples on which the model is right and changes its mind without the cue. Of pairs
those on which it is right: between two classes, a model that has lost the cue still says one of them."""
PACKAGES = ("parallelnet", "numpy", "onnxruntime", "torch", "captum", "shap", "shapiq")


class Seen(Protocol):
    """What is needed of `faithfulness.Case`."""

    @property
    def sample(self) -> Sample:
        """Where the cue is."""

    @property
    def probs(self) -> Mapping[str, float]:
        """What the model says."""

    @property
    def without(self) -> Mapping[str, float]:
        """Probability of the label without cues."""

    @property
    def said(self) -> Mapping[str, str]:
        """What the model says without cues."""

    @property
    def group(self) -> str:
        """Samples that share files."""

    @property
    def emotion(self) -> str:
        """What the model says."""

    @property
    def right(self) -> bool:
        """It is what was planted."""

    @property
    def changed(self) -> bool:
        """It is not said without the cue."""

    @property
    def needs_each(self) -> bool:
        """Every one of its cues is needed."""

    @property
    def cue(self) -> bool:
        """There is one."""

    def place(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Where."""


class Averages:
    """Means over samples with bootstrap intervals; a round draws groups of samples that share files."""

    def __init__(self, n_rounds: int, seed: int) -> None:
        """Take the rounds of the bootstrap and the seed, the same for every figure."""
        self._n_rounds, self._seed = n_rounds, seed

    def figure(self, cases: Sequence[Seen], value: Callable[[Seen], float | None]) -> Figure | None:
        """Return mean, 95 % interval and n of a value over the samples that have it; None where none has."""
        found = [(case.group, x) for case in cases if (x := value(case)) is not None]
        if not found:
            return None
        groups, values = zip(*found, strict=True)
        rows = bootstrap.sum_groups(np.stack([np.array(values, np.float64), np.ones(len(values))], axis=1), groups)
        rounds = np.concatenate(list(bootstrap.rounds(rows, self._n_rounds, self._seed)))
        low, high = bootstrap.interval(rounds[:, 0] / rounds[:, 1])
        return {"mean": float(np.mean(values)), "ci95": [low, high], "n": len(values)}


def summarise(
    task: str, cases: Sequence[Seen], chosen: Sequence[Seen], records: Records, *, n_bootstrap: int, seed: int
) -> dict[str, Any]:
    """Return every figure of a study as plain dicts.

    Args:
        task: `speech`, `image` or `pair`.
        cases: all samples, for what the model is worth.
        chosen: those that were explained.
        records: by (sample, what), as the journal has them.
        n_bootstrap: rounds.
        seed: of the bootstrap.
    """
    averages = Averages(n_bootstrap, seed)
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
        "model": model_figures(cases, averages),
        "explainers": {},
    }
    for what in explained:
        name, _, baselines = what.removeprefix("values:").partition("@")
        found = _explainer(what, chosen, kept, records, averages)
        found |= _areas(what, kept, records, averages)
        if baselines == default:
            rho = averages.figure(kept, lambda case, name=name: _field(records, case, f"random:{name}"))  # type: ignore[misc]
            if rho is not None:
                absolute = averages.figure(kept, lambda case, name=name: _field(records, case, f"random:{name}", abs))  # type: ignore[misc]
                found["random_weights"] = {"rank_correlation": rho, "absolute": absolute}
        result["explainers"].setdefault(name, {})[baselines] = found
    result["random_orders"] = _bands(kept, records)
    if any("product" in each for each in result["explainers"]) or task == "pair":
        result["chance_first"] = _chance(kept)
        result["product_of_values"] = averages.figure(
            kept, lambda case: _product(records.get((case.sample.id, f"values:exact@{default}")), case)
        )
    return result


def model_figures(cases: Sequence[Seen], averages: Averages) -> dict[str, Any]:
    """Return how right the model is, and what it says without the cues."""
    cues = [case for case in cases if case.cue]
    right = [case for case in cues if case.right]
    none = [case for case in cases if not case.cue]
    found: dict[str, Any] = {
        "accuracy": averages.figure(cases, lambda case: float(case.right)),
        "accuracy_with_cue": averages.figure(cues, lambda case: float(case.right)),
        "accuracy_without_any": averages.figure(none, lambda case: float(case.right)),
        "changes_its_mind": averages.figure(right, lambda case: float(case.changed)),
        "prob_with_cue": averages.figure(right, lambda case: case.probs[case.sample.label]),
        "without": {},
    }
    for name in right[0].said if right else ():
        found["without"][name] = {
            "changes_its_mind": averages.figure(right, lambda case, k=name: float(case.said[k] != case.emotion)),  # type: ignore[misc]
            "prob": averages.figure(right, lambda case, k=name: case.without[k]),  # type: ignore[misc]
            "accuracy": averages.figure(cues, lambda case, k=name: float(case.said[k] == case.sample.label)),  # type: ignore[misc]
        }
    return found


def _explainer(
    what: str, chosen: Sequence[Seen], kept: Sequence[Seen], records: Records, averages: Averages
) -> dict[str, Any]:
    def auc(case: Seen, side: str) -> float | None:
        record = records.get((case.sample.id, what))
        if record is None or record["values"] is None:
            return None
        place = case.place()
        first = len(place["speech"]) if side == "image" and "speech" in place else 0
        return faithfulness.auc(record["values"][first : first + len(place[side])], place[side])

    def first(case: Seen) -> float | None:
        record = records.get((case.sample.id, what))
        if record is None or record["together"] is None:
            return None
        place = case.place()
        return faithfulness.first(np.abs(record["together"]), np.outer(place["speech"], place["image"]))

    def number(field: str) -> float | None:
        there = [records[case.sample.id, what][field] for case in chosen if (case.sample.id, what) in records]
        known = [x for x in there if x is not None]
        return float(np.median(known)) if known else None

    found: dict[str, Any] = {name: number(name) for name in ("passes", "seconds", "cpu_seconds")}
    sides = chosen[0].place() if chosen else {}
    populations = {"primary": kept, "right": [case for case in chosen if case.right], "all": chosen}
    populations["needs_each"] = [case for case in chosen if case.right and case.needs_each]
    for population, members in populations.items():
        figures = {side: averages.figure(members, lambda case, side=side: auc(case, side)) for side in sides}  # type: ignore[misc]
        found.setdefault("auc", {})[population] = {side: each for side, each in figures.items() if each is not None}
        pair = averages.figure(members, first)
        if pair is not None:
            found.setdefault("pair_first", {})[population] = pair
    return found


def _areas(what: str, kept: Sequence[Seen], records: Records, averages: Averages) -> dict[str, Any]:
    key = what.removeprefix("values:")
    found: dict[str, Any] = {}
    for scored in sorted({other for _, other in records if other.startswith("curves@")}):

        def value(case: Seen, which: int, scored: str = scored) -> float | None:
            record = records.get((case.sample.id, scored), {"areas": {}})
            return record["areas"][key][which] if key in record["areas"] else None

        deletion = averages.figure(kept, lambda case, value=value: value(case, 0))  # type: ignore[misc]
        insertion = averages.figure(kept, lambda case, value=value: value(case, 1))  # type: ignore[misc]
        if deletion is not None:
            found[scored.removeprefix("curves@")] = {"deletion": deletion, "insertion": insertion}
    return {"curves": found} if found else {}


def _bands(kept: Sequence[Seen], records: Records) -> dict[str, Any]:
    """Return for each score-baseline what random orders get: mean over samples, of the lowest and the highest order."""
    found = {}
    for scored in sorted({what for _, what in records if what.startswith("curves@")}):
        areas = [records[case.sample.id, scored]["random"] for case in kept if (case.sample.id, scored) in records]
        if areas:
            means = np.mean(areas, axis=0)  # [orders, 2]
            found[scored.removeprefix("curves@")] = {
                name: {
                    "mean": float(means[:, k].mean()),
                    "low": float(means[:, k].min()),
                    "high": float(means[:, k].max()),
                    "orders": len(means),
                    "n": len(areas),
                }
                for k, name in enumerate(("deletion", "insertion"))
            }
    return found


def _field(records: Records, case: Seen, what: str, change: Callable[[float], float] = lambda x: x) -> float | None:
    value = records.get((case.sample.id, what), {}).get("rank_correlation")
    return None if value is None else change(value)


def _chance(kept: Sequence[Seen]) -> float | None:
    """Return how often a random pair is the planted one."""
    shares = [float(np.prod([side.mean() for side in case.place().values()])) for case in kept]
    return float(np.mean(shares)) if shares else None


def _product(record: Mapping[str, Any] | None, case: Seen) -> float | None:
    """Return whether the planted pair has the largest product of its two parts' own values: the pair without pairs."""
    if record is None:
        return None
    place = case.place()
    values = np.abs(record["values"])
    m = len(place["speech"])
    return faithfulness.first(np.outer(values[:m], values[m:]), np.outer(place["speech"], place["image"]))


def circumstances(threads: int) -> dict[str, Any]:
    """Return date, machine and versions."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "threads": threads,
        "load_1_min": round(os.getloadavg()[0], 2),
        "versions": versions,
    }
