"""Do explanations point at evidence whose place is known? Ours and the peers', on planted material (design section 7).

First that there is something to explain: the model is right, and changes its mind without the cue. Then for each
explainer whether it finds the place, what removing and adding parts in its order does to the score, and whether it says
the same of a network with random weights, which it must not.

Nothing is tuned here. What is computed for a sample is written down at once, and not computed again after a stop.
"""

import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parallelnet import checkpoint, records
from parallelnet.data import dataset
from parallelnet.errors import ManifestError, OptionError, ParallelNetError
from parallelnet.explanation import faithfulness
from parallelnet.options import FaithfulnessOptions
from parallelnet.predictor import Predictor

from . import explainers, peers
from .explainers import GRADIENTS, Baselines, Case, Networks, Stage, read_cases
from .material import PLANT_JSON, held, published
from .tables import pages
from .tables.statistics import Draws, circumstances, mean, null

Records = Mapping[tuple[str, str], Mapping[str, Any]]

log = logging.getLogger(__name__)

# For each task, under which baselines values are computed and curves scored; the first one is the default.
BASELINES: dict[str, tuple[Baselines, ...]] = {
    "speech": tuple((name, "black") for name in ("silence", "band-floor", "mean", "blur")),
    "image": tuple(("silence", name) for name in ("black", "mean", "blur")),
    "pair": (("silence", "black"), ("mean", "mean"), ("blur", "blur")),
}
CROSSED = ("owen", "exact", "occlusion", "integrated-gradients")  # their values are computed under every baseline
# Explainers that are asked about random weights, too; the other peers estimate what these compute.
RANDOMISED = ("owen", "paper", "sampled", "exact", "occlusion", *GRADIENTS)
# Options that what is computed for a sample does not depend on: a journal of others is not gone on with.
FREE = ("data", "checkpoint", "out", "n_samples", "skip", "n_checks", "explainers", "n_bootstrap", "threads")


class Journal:
    """What is computed already, a JSON line each; a line that a stop cut off, or that is damaged, is computed again."""

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        """Open or begin it.

        Raises:
            OptionError: it belongs to other options, another model or other material.
        """
        self._path, text = path, json.dumps(head)
        there = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in there if line.endswith("\n")]
        if whole and whole[0].strip() != text:
            raise OptionError(f"{path} was computed with other options, model or material. Mend: another --out.")
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        kept = [f"{text}\n"]
        for line in whole[1:]:
            with suppress(ValueError, TypeError, KeyError):
                record = json.loads(line)
                self.records[record["id"], record["what"]] = record
                kept.append(line)
        if whole and len(kept) < len(whole):
            log.warning("%s: %d damaged lines are computed again", path, len(whole) - len(kept))
        records.write_text(path, "".join(kept))

    def once(self, sample: str, what: str, compute: Callable[[], Mapping[str, Any]]) -> None:
        """Compute what is not there yet and keep it, as it will be read again; arrays become lists."""
        if (sample, what) in self.records:
            return
        line = json.dumps({"id": sample, "what": what, **compute()}, default=np.ndarray.tolist)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
        self.records[sample, what] = json.loads(line)


def measure(options: FaithfulnessOptions) -> Path:
    """Run the study, write `TASK.json` and `table.md`, and return the former's path.

    Raises:
        ManifestError: no planted material, or nothing of it can be explained.
        OptionError: a model that does not fit it, or an `out` of other options.
        MissingExtraError: a peer is not installed.
        ParallelNetError: see `material.held`; what is computed is kept.
    """
    out = Path(options.out)
    with held(out):
        folder = Path(options.data)
        if not (folder / PLANT_JSON).is_file():
            raise ManifestError(f"{folder} is no planted material: it has no {PLANT_JSON}. See --data.")
        plant = records.read_json(folder / PLANT_JSON, mend="another --data.", needed=("task",))
        opened = checkpoint.read(checkpoint.resolve(options.checkpoint))
        # A planted picture is seen whole: its cells are those of the file.
        predictor = Predictor(opened, face="off", n_threads=options.threads or None)
        cases, dropped = read_cases(folder, options.split, predictor)
        log.info("%s: %d samples, %.3f right", plant["task"], len(cases), np.mean([case.right for case in cases]))
        chosen = drawn(cases, options)
        fingerprint = dataset.fingerprint([case.sample for case in cases])
        asked = {name: value for name, value in asdict(options).items() if name not in FREE}
        head = {**asked, "material": fingerprint, "checkpoint": opened.digest()}
        journal = Journal(out / f"{plant['task']}.journal.jsonl", head)
        study = _Study(options, plant["task"], opened, predictor, journal, chosen[0])
        for number, case in enumerate(chosen):
            study.explain(case, checked=number < options.n_checks)
            log.info("%s %d of %d: %s", study.task, number + 1, len(chosen), case.sample.id)
        result = summarise(study.task, cases, chosen, journal.records, Draws(options.n_bootstrap, options.seed))
        result["counts"]["skipped_first"] = options.skip
        record = {
            **result,
            "dropped": dict(dropped),
            "left_out": study.left_out,
            "failed": study.failed,
            "options": asked,
            "material": {"fingerprint": fingerprint, "split": options.split, "options": published(plant)},
            "checkpoint": {"name": opened.facts.name, "sha256": head["checkpoint"], "variant": opened.facts.variant},
            **circumstances(options.threads),
        }
        path = out / f"{study.task}.json"
        records.write_json(path, record)
        there = filter(Path.is_file, (out / f"{name}.json" for name in BASELINES))
        mend = "remove it, and the same line of that task writes it again."
        tables = (pages.faithfulness(records.read_json(each, mend=mend)) for each in there)
        records.write_text(out / "table.md", "\n".join(tables))
        return path


def drawn(cases: Sequence[Case], options: FaithfulnessOptions) -> list[Case]:
    """Return the samples with a cue that are explained, in random order; the model need not be right."""
    found = [case for case in cases if case.cue]
    if not found:
        raise ManifestError("No sample of the material has a cue.")
    order = np.random.default_rng(options.seed).permutation(len(found))
    taken = order[options.skip :][: options.n_samples or len(found)]
    if not len(taken):
        raise OptionError(f"--skip {options.skip} leaves none of {len(found)} samples with a cue. Mend: a smaller one.")
    return [found[k] for k in taken]


class _Study:
    """Computes what is missing for one sample after the other."""

    def __init__(
        self,
        options: FaithfulnessOptions,
        task: str,
        opened: checkpoint.Checkpoint,
        predictor: Predictor,
        journal: Journal,
        first: Case,
    ) -> None:
        self.options, self.task, self.opened, self.predictor, self.journal = options, task, opened, predictor, journal
        self.failed: dict[str, dict[str, str]] = {}
        n_players = {name: len(side) for name, side in first.place().items()}
        self.names, self.left_out = explainers.allowed(options.explainers, task, n_players)
        temperature = opened.facts.temperatures.get("both" if len(n_players) == 2 else next(iter(n_players)), 1.0)
        network, reason = None, ""
        if find_spec("torch") is None or find_spec("captum") is None:
            reason = "torch or captum is not installed"
        elif not opened.weights.is_file():
            reason = f"the checkpoint has no {opened.weights.name}"
        else:
            from parallelnet.models import stored

            network = stored.open_network(opened).eval()
        if reason:
            without = [name for name in self.names if name in GRADIENTS]
            self.left_out |= dict.fromkeys(("random weights", *without), reason)
            self.names = [name for name in self.names if name not in GRADIENTS]
        self.networks = Networks(network, temperature, options.n_samplings)

    def explain(self, case: Case, *, checked: bool) -> None:
        """Explain one sample by every explainer; where `checked` also its curves, baselines and random weights."""
        stage = Stage(self.predictor, case, score=self.options.score, seed=self.options.seed, shared=not checked)
        default, *others = BASELINES[self.task]
        asked = [(name, default) for name in self.names]
        asked += itertools.product([name for name in self.names if name in CROSSED], others if checked else ())
        for name, baselines in asked:
            try:
                say = partial(explainers.say, name, stage, baselines, self.networks)
                self.journal.once(case.sample.id, f"values:{name}@{'+'.join(baselines)}", say)
            except ParallelNetError as error:
                self.failed.setdefault(name, {})[case.sample.id] = str(error)
        if checked:
            for baselines in (default, *others):
                curves = partial(self._curves, stage, baselines)
                self.journal.once(case.sample.id, f"curves@{'+'.join(baselines)}", curves)
            self._randomised(stage, default)

    def _curves(self, stage: Stage, baselines: Baselines) -> dict[str, Any]:
        ours = {
            what.removeprefix("values:"): faithfulness.order(record["values"], stage.seed)
            for (sample, what), record in self.journal.records.items()
            if sample == stage.case.sample.id and what.startswith("values:") and record["values"] is not None
        }
        random = faithfulness.random_orders(stage.n, self.options.n_orders, stage.seed)
        orders = np.concatenate([np.array(list(ours.values())).reshape(-1, stage.n), random])
        found = faithfulness.curves(stage.game(baselines), orders, stage.column)
        areas = faithfulness.area(found).T.tolist()
        own, ends = (
            dict(zip(ours, areas, strict=False)),
            {"full": found[0, 0, 0].item(), "base": found[0, 0, -1].item()},
        )
        return {"areas": own, "random": areas[len(ours) :], **ends}

    def _randomised(self, stage: Stage, baselines: Baselines) -> None:
        id_, known = stage.case.sample.id, self.journal.records
        wanted = [name for name in self.names if name in RANDOMISED and (id_, f"random:{name}") not in known]
        if not wanted or self.networks.network is None:
            return
        # A network of its own for each sample, so that the average is over networks, too.
        network, model = peers.random_model(self.opened, stage.seed % 2**31)
        networks = self.networks._replace(other=model, network=network)
        for name in wanted:
            trained = known.get((id_, f"values:{name}@{'+'.join(baselines)}"))
            if trained is not None and trained["values"] is not None:
                found = np.asarray(explainers.say(name, stage, baselines, networks)["values"])
                rho = {"rank_correlation": null(faithfulness.rank_correlation(trained["values"], found))}
                self.journal.once(id_, f"random:{name}", partial(dict, rho))


# Whose figures the table shows: samples on which the model is right and changes its mind without the cue. Of pairs
# those on which it is right: between two classes, a model that has lost the cue still says one of them.
PRIMARY = {"speech": "changed", "image": "changed", "pair": "right"}
CURVES = ("deletion", "insertion")
COSTS = ("passes", "seconds", "cpu_seconds")


def summarise(
    task: str, cases: Sequence[Case], chosen: Sequence[Case], records: Records, draws: Draws
) -> dict[str, Any]:
    """Return every figure of a study with its interval and its n, as plain dicts.

    All `cases` say what the model is worth; `chosen` were explained. Records are by (sample, what), as the journal has
    them. Bootstraps draw groups of samples that share files.
    """
    primary = PRIMARY[task]
    kept = [case for case in chosen if case.right and (case.changed or primary == "right")]
    found = _Figures(chosen, kept, records, draws)
    explained = dict.fromkeys(what for _, what in records if what.startswith("values:"))
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
        rho = [found.told(f"random:{name}", "rank_correlation", told) for told in (lambda x, _: x, lambda x, _: abs(x))]
        if baselines == default and rho[0] is not None:
            each["random_weights"] = dict(zip(("rank_correlation", "absolute"), rho, strict=True))
    result["random_orders"] = found.bands()
    if task == "pair":
        chance = found.mean(kept, lambda case: float(planted_pair(case).mean()))
        result["chance_first"] = chance and chance["mean"]  # that a random pair is the planted one
        result["product_of_values"] = found.told(f"values:exact@{default}", "values", product)
    return result


# What is told of one sample: of the values of its players, or of the interactions of its pairs.


def auc(side: str, values: Sequence[float], case: Case) -> float:
    """Return how well the values of one modality tell the planted parts from the others."""
    place = case.place()
    own = np.split(values, [len(place.get("speech", ()))])[side == "image"]
    return faithfulness.auc(own, place[side])


def planted_pair(case: Case) -> npt.NDArray[np.bool_]:
    """Return which pair of a speech unit and a picture cell is the planted one, [m, k]."""
    return np.outer(*case.place().values())


def first_of_all(pairs: Sequence[Sequence[float]], case: Case) -> float:
    """Return whether the planted pair has the largest interaction."""
    return faithfulness.first(np.abs(pairs), planted_pair(case))


def product(values: Sequence[float], case: Case) -> float:
    """Return whether the planted pair has the largest product of its parts' own values: the pair without pairs."""
    wanted = planted_pair(case)
    return faithfulness.first(np.outer(*np.split(np.abs(values), [len(wanted)])), wanted)


def _area(key: str, which: int, areas: Mapping[str, Sequence[float]], _: Case) -> float | None:
    return areas[key][which] if key in areas else None


@dataclass(frozen=True, slots=True)
class _Figures:
    chosen: Sequence[Case]
    kept: Sequence[Case]
    records: Records
    draws: Draws

    def mean(self, members: Sequence[Case], value: Callable[[Case], float | None]) -> dict[str, Any] | None:
        """Return the mean with interval and n of a value of samples, None where a sample has none."""
        found = [(x, case.group) for case in members if (x := value(case)) is not None]
        return mean([x for x, _ in found], [group for _, group in found], self.draws) if found else None

    def read(self, case: Case, what: str, name: str) -> Any:
        return self.records.get((case.sample.id, what), {}).get(name)

    def told(
        self, what: str, name: str, tell: Callable[[Any, Case], float | None], members: Sequence[Case] | None = None
    ) -> dict[str, Any] | None:
        """Return the mean of what is told of a value in the journal; None where no sample has it."""

        def value(case: Case) -> float | None:
            known = self.read(case, what, name)
            return None if known is None else tell(known, case)

        return self.mean(self.kept if members is None else members, value)

    def scored(self) -> dict[str, str]:
        """Return each baseline that curves were scored with, and what their records are called."""
        found = {what for _, what in self.records if what.startswith("curves@")}
        return {what.removeprefix("curves@"): what for what in sorted(found)}

    def model(self, cases: Sequence[Case]) -> dict[str, Any]:
        """Return how right the model is, and what it says without the cues."""
        cues = [case for case in cases if case.cue]
        right, plain = [case for case in cues if case.right], [case for case in cases if not case.cue]
        return {
            "accuracy": self.mean(cases, lambda case: case.right),
            "accuracy_with_cue": self.mean(cues, lambda case: case.right),
            "accuracy_without_any": self.mean(plain, lambda case: case.right),
            "changes_its_mind": self.mean(right, lambda case: case.changed),
            "prob_with_cue": self.mean(right, lambda case: case.probs[case.sample.label]),
            "without": {name: self.without(name, right, cues) for name in (right[0].said if right else ())},
        }

    def without(self, name: str, right: Sequence[Case], cues: Sequence[Case]) -> dict[str, Any]:
        """Return what the model says without the cues of `name`."""
        return {
            "changes_its_mind": self.mean(right, lambda case: case.said[name] != case.emotion),
            "prob": self.mean(right, lambda case: case.without[name]),
            "accuracy": self.mean(cues, lambda case: case.said[name] == case.sample.label),
        }

    def explainer(self, what: str) -> dict[str, Any]:
        """Return what an explainer costs, how well it finds the cues of several populations, and its curves' areas."""
        costs = {cost: [self.read(case, what, cost) for case in self.chosen] for cost in COSTS}
        known = {cost: [value for value in values if value is not None] for cost, values in costs.items()}
        found: dict[str, Any] = {cost: float(np.median(each)) if each else None for cost, each in known.items()}
        right = [case for case in self.chosen if case.right]
        populations = {"primary": self.kept, "right": right, "all": self.chosen}
        populations["needs_each"] = [case for case in right if case.needs_each]
        curves: dict[str, Any] = {}
        found["auc"], first = {}, {}
        for population, members in populations.items():
            sides = {side: self.told(what, "values", partial(auc, side), members) for side in self.chosen[0].place()}
            found["auc"][population] = {side: each for side, each in sides.items() if each is not None}
            first[population] = self.told(what, "together", first_of_all, members)
        key = what.removeprefix("values:")
        for baselines, scored in self.scored().items():
            each = {name: self.told(scored, "areas", partial(_area, key, k)) for k, name in enumerate(CURVES)}
            curves |= {baselines: each} if each["deletion"] is not None else {}
        first = {name: pair for name, pair in first.items() if pair is not None}
        return found | ({"pair_first": first} if first else {}) | ({"curves": curves} if curves else {})

    def bands(self) -> dict[str, Any]:
        """Return for each score-baseline what random orders get: their mean, the lowest and the highest order."""
        found = {}
        for baselines, scored in self.scored().items():
            areas = [each for case in self.kept if (each := self.read(case, scored, "random")) is not None]
            if areas:
                means = np.mean(areas, axis=0)  # [orders, 2]
                counts = {"orders": len(means), "n": len(areas)}
                found[baselines] = {
                    name: {"mean": float(each.mean()), "low": float(each.min()), "high": float(each.max()), **counts}
                    for name, each in zip(CURVES, means.T, strict=True)
                }
        return found
