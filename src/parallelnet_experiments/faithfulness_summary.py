"""What a study of faithfulness found: every figure with its interval and its n."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from parallelnet.explanation import faithfulness

from .explainers import Case
from .tables.statistics import Draws, mean

Records = Mapping[tuple[str, str], Mapping[str, Any]]

PRIMARY = {"speech": "changed", "image": "changed", "pair": "right"}
"""Whose figures the table shows: samples on which the model is right and changes its mind without the cue. Of pairs
those on which it is right: between two classes, a model that has lost the cue still says one of them."""
CURVES = ("deletion", "insertion")


def summarise(
    task: str, cases: Sequence[Case], chosen: Sequence[Case], records: Records, draws: Draws
) -> dict[str, Any]:
    """Return every figure of a study with its interval and its n, as plain dicts.

    Args:
        task: `speech`, `image` or `pair`.
        cases: all samples, for what the model is worth.
        chosen: those that were explained.
        records: by (sample, what), as the journal has them.
        draws: of groups of samples that share files.
    """
    primary = PRIMARY[task]
    kept = [case for case in chosen if case.right and (case.changed or primary == "right")]
    found = _Figures(chosen, kept, records, draws)
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
        "model": found.model(cases),
        "explainers": {},
    }
    for what in explained:
        name, _, baselines = what.removeprefix("values:").partition("@")
        result["explainers"].setdefault(name, {})[baselines] = each = found.explainer(what)
        rho = found.mean(kept, partial(found.correlation, name, float)) if baselines == default else None
        if rho is not None:
            absolute = found.mean(kept, partial(found.correlation, name, abs))
            each["random_weights"] = {"rank_correlation": rho, "absolute": absolute}
    result["random_orders"] = found.bands()
    if task == "pair":
        shares = [np.prod([side.mean() for side in case.place().values()]) for case in kept]
        result["chance_first"] = float(np.mean(shares)) if shares else None  # that a random pair is the planted one
        result["product_of_values"] = found.mean(kept, partial(found.product, f"values:exact@{default}"))
    return result


@dataclass(frozen=True, slots=True)
class _Figures:
    chosen: Sequence[Case]
    kept: Sequence[Case]
    records: Records
    draws: Draws

    def mean(self, members: Sequence[Case], value: Callable[[Case], float | None]) -> dict[str, Any] | None:
        """Return the mean with interval and n of a value of samples, None where a sample has none."""
        found = [(x, case.group) for case in members if (x := value(case)) is not None]
        return mean(*zip(*found, strict=True), self.draws) if found else None

    def read(self, case: Case, what: str, name: str) -> Any:
        return self.records.get((case.sample.id, what), {}).get(name)

    def scored(self) -> dict[str, str]:
        """Return each baseline that curves were scored with, and what their records are called."""
        found = sorted({what for _, what in self.records if what.startswith("curves@")})
        return {what.removeprefix("curves@"): what for what in found}

    def model(self, cases: Sequence[Case]) -> dict[str, Any]:
        """Return how right the model is, and what it says without the cues."""
        cues = [case for case in cases if case.cue]
        right, plain = [case for case in cues if case.right], [case for case in cases if not case.cue]
        found: dict[str, Any] = {
            "accuracy": self.mean(cases, lambda case: case.right),
            "accuracy_with_cue": self.mean(cues, lambda case: case.right),
            "accuracy_without_any": self.mean(plain, lambda case: case.right),
            "changes_its_mind": self.mean(right, lambda case: case.changed),
            "prob_with_cue": self.mean(right, lambda case: case.probs[case.sample.label]),
            "without": {},
        }
        for name in right[0].said if right else ():
            found["without"][name] = {
                "changes_its_mind": self.mean(right, lambda case, name=name: case.said[name] != case.emotion),
                "prob": self.mean(right, lambda case, name=name: case.without[name]),
                "accuracy": self.mean(cues, lambda case, name=name: case.said[name] == case.sample.label),
            }
        return found

    def explainer(self, what: str) -> dict[str, Any]:
        """Return what an explainer costs, how well it finds the cues of several populations, and its curves' areas."""
        found: dict[str, Any] = {}
        for cost in ("passes", "seconds", "cpu_seconds"):
            known = [value for case in self.chosen if (value := self.read(case, what, cost)) is not None]
            found[cost] = float(np.median(known)) if known else None
        right = [case for case in self.chosen if case.right]
        populations = {"primary": self.kept, "right": right, "all": self.chosen}
        populations["needs_each"] = [case for case in right if case.needs_each]
        found["auc"], first = {}, {}
        for population, members in populations.items():
            sides = {side: self.mean(members, partial(self.auc, what, side)) for side in self.chosen[0].place()}
            found["auc"][population] = {side: each for side, each in sides.items() if each is not None}
            pair = self.mean(members, partial(self.first, what))
            first |= {population: pair} if pair is not None else {}
        found |= {"pair_first": first} if first else {}
        curves = {}
        for baselines, scored in self.scored().items():
            key = what.removeprefix("values:")
            each = {name: self.mean(self.kept, partial(self.area, key, scored, k)) for k, name in enumerate(CURVES)}
            curves |= {baselines: each} if each["deletion"] is not None else {}
        return found | ({"curves": curves} if curves else {})

    def bands(self) -> dict[str, Any]:
        """Return for each score-baseline what random orders get: their mean, the lowest and the highest order."""
        found = {}
        for baselines, scored in self.scored().items():
            areas = [each for case in self.kept if (each := self.read(case, scored, "random")) is not None]
            if areas:
                means = np.mean(areas, axis=0)  # [orders, 2]
                figures = {"mean": means.mean(axis=0), "low": means.min(axis=0), "high": means.max(axis=0)}
                counts = {"orders": len(means), "n": len(areas)}
                found[baselines] = {
                    name: {key: float(values[k]) for key, values in figures.items()} | counts
                    for k, name in enumerate(CURVES)
                }
        return found

    # Values of one sample.

    def auc(self, what: str, side: str, case: Case) -> float | None:
        """Return how well the values of one modality tell the planted parts from the others."""
        values, place = self.read(case, what, "values"), case.place()
        first = len(place["speech"]) if side == "image" and "speech" in place else 0
        return None if values is None else faithfulness.auc(values[first : first + len(place[side])], place[side])

    def first(self, what: str, case: Case) -> float | None:
        """Return whether the planted pair has the largest interaction."""
        together, place = self.read(case, what, "together"), case.place()
        if together is None:
            return None
        return faithfulness.first(np.abs(together), np.outer(place["speech"], place["image"]))

    def product(self, what: str, case: Case) -> float | None:
        """Return whether the planted pair has the largest product of its parts' own values: the pair without pairs."""
        values, place = self.read(case, what, "values"), case.place()
        if values is None:
            return None
        speech, image = np.split(np.abs(values), [len(place["speech"])])
        return faithfulness.first(np.outer(speech, image), np.outer(place["speech"], place["image"]))

    def area(self, key: str, scored: str, which: int, case: Case) -> float | None:
        areas = self.read(case, scored, "areas") or {}
        return areas[key][which] if key in areas else None

    def correlation(self, name: str, change: Callable[[float], float], case: Case) -> float | None:
        value = self.read(case, f"random:{name}", "rank_correlation")
        return None if value is None else change(value)
