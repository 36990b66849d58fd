"""Do explanations point at evidence whose place is known? Ours and the peers', on planted material (design section 7).

First that there is something to explain: the model is right, and changes its mind without the cue. Then for each
explainer whether it finds the place, what removing and adding parts in its order does to the score, and whether it says
the same of a network with random weights, which it must not.

Nothing is tuned here. What is computed for a sample is written down at once, and not computed again after a stop.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from parallelnet import checkpoint, records
from parallelnet.data import dataset
from parallelnet.errors import ManifestError, OptionError, ParallelNetError
from parallelnet.explanation import faithfulness
from parallelnet.options import FaithfulnessOptions
from parallelnet.predictor import Predictor

from . import explainers, faithfulness_summary
from .evidence import Baselines, Case, Stage, read_cases
from .explainers import GRADIENTS, Networks
from .material import PLANT_JSON, held
from .tables import pages
from .tables.statistics import circumstances

log = logging.getLogger(__name__)

BASELINES: dict[str, tuple[Baselines, ...]] = {
    "speech": tuple((name, "black") for name in ("silence", "band-floor", "mean", "blur")),
    "image": tuple(("silence", name) for name in ("black", "mean", "blur")),
    "pair": (("silence", "black"), ("mean", "mean"), ("blur", "blur")),
}
"""For each task, under which baselines values are computed and curves scored; the first one is the default."""
CROSSED = ("owen", "exact", "occlusion", "integrated-gradients")
"""Explainers whose values are computed under every baseline."""
RANDOMISED = ("owen", "paper", "sampled", "exact", "occlusion", *GRADIENTS)
"""Explainers that are asked about random weights, too; the other peers estimate what these compute."""
FREE = ("data", "checkpoint", "out", "n_samples", "skip", "n_checks", "explainers", "n_bootstrap", "threads")
"""Options that what is computed for a sample does not depend on: a journal of others is not gone on with."""


class Journal:
    """What is computed already, a JSON line each; a line that a stop cut off, or that is damaged, is computed again."""

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        """Open or begin it.

        Raises:
            OptionError: it belongs to other options, another model or other material.
        """
        self._path = path
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        text = json.dumps(head)
        whole = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in whole if line.endswith("\n")]
        if whole and whole[0].strip() != text:
            raise OptionError(f"{path} was computed with other options, model or material. Mend: another --out.")
        kept = [f"{text}\n"]
        for line in whole[1:]:
            with suppress(ValueError, TypeError, KeyError):
                record = json.loads(line)
                self.records[record["id"], record["what"]] = record
                kept.append(line)
        if whole and len(kept) < len(whole):
            log.warning("%s: %d damaged lines are computed again", path, len(whole) - len(kept))
        records.write_text(path, "".join(kept))

    def add(self, sample: str, what: str, **found: Any) -> None:
        """Keep what was computed, as it will be read again; arrays become lists."""
        line = json.dumps({"id": sample, "what": what, **found}, default=np.ndarray.tolist)
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
    with held(Path(options.out)):
        return _measure(options, Path(options.out))


def _measure(options: FaithfulnessOptions, out: Path) -> Path:
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
    head = {**asked, "material": fingerprint, "checkpoint": _model_hash(opened)}
    journal = Journal(out / f"{plant['task']}.journal.jsonl", head)
    study, left_out = _study(options, plant["task"], opened, predictor, journal, chosen[0])
    for number, case in enumerate(chosen):
        started = time.perf_counter()
        study.explain(case, checked=number < options.n_checks)
        seconds = time.perf_counter() - started
        log.info("%s %d of %d: %s, %.1f s", study.task, number + 1, len(chosen), case.sample.id, seconds)
    result = faithfulness_summary.summarise(
        study.task, cases, chosen, journal.records, n_bootstrap=options.n_bootstrap, seed=options.seed
    )
    result["counts"]["skipped_first"] = options.skip
    record = {
        **result,
        "dropped": dict(dropped),
        "left_out": left_out,
        "failed": study.failed,
        "options": asked,
        "material": {"fingerprint": fingerprint, "split": options.split, "options": _published(plant)},
        "checkpoint": {"name": opened.facts.name, "sha256": head["checkpoint"], "variant": opened.facts.variant},
        **circumstances(options.threads),
    }
    path = out / f"{study.task}.json"
    records.write_json(path, record)
    there = [out / f"{name}.json" for name in BASELINES if (out / f"{name}.json").is_file()]
    mend = "remove it, and the same line of that task writes it again."
    tables = [pages.faithfulness(records.read_json(each, mend=mend)) for each in there]
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


@dataclass(frozen=True, slots=True)
class _Study:
    """Computes what is missing for one sample after the other."""

    options: FaithfulnessOptions
    task: str
    opened: checkpoint.Checkpoint
    predictor: Predictor
    networks: Networks
    journal: Journal
    names: Sequence[str]
    failed: dict[str, dict[str, str]] = field(default_factory=dict)

    def explain(self, case: Case, *, checked: bool) -> None:
        """Explain one sample by every explainer; where `checked` also its curves, baselines and random weights."""
        stage = Stage(self.predictor, case, score=self.options.score, seed=self.options.seed, shared=not checked)
        default, *others = BASELINES[self.task]
        for name in self.names:
            self._said(name, stage, default)
        if not checked:
            return
        for baselines in others:
            for name in self.names:
                if name in CROSSED:
                    self._said(name, stage, baselines)
        for baselines in (default, *others):
            self._curves(stage, baselines)
        self._randomised(stage, default)

    def _said(self, name: str, stage: Stage, baselines: Baselines) -> None:
        key = stage.case.sample.id, f"values:{name}@{'+'.join(baselines)}"
        if key in self.journal.records:
            return
        try:
            self.journal.add(*key, **asdict(explainers.say(name, stage, baselines, self.networks)))
        except ParallelNetError as error:
            self.failed.setdefault(name, {})[key[0]] = str(error)

    def _curves(self, stage: Stage, baselines: Baselines) -> None:
        key = stage.case.sample.id, f"curves@{'+'.join(baselines)}"
        if key in self.journal.records:
            return
        ours = {
            what.removeprefix("values:"): faithfulness.order(record["values"], stage.seed)
            for (sample, what), record in self.journal.records.items()
            if sample == key[0] and what.startswith("values:") and record["values"] is not None
        }
        random = faithfulness.random_orders(stage.n, self.options.n_orders, stage.seed)
        orders = np.concatenate([np.array(list(ours.values())).reshape(-1, stage.n), random])
        found = faithfulness.curves(stage.game(baselines), orders, stage.column)
        areas = np.stack([found.deletion_area, found.insertion_area], axis=1).tolist()
        by_name = dict(zip(ours, areas, strict=False))
        full, base = float(found.deletion[0, 0]), float(found.deletion[0, -1])
        self.journal.add(*key, areas=by_name, random=areas[len(ours) :], full=full, base=base)

    def _randomised(self, stage: Stage, baselines: Baselines) -> None:
        id_, known = stage.case.sample.id, self.journal.records
        wanted = [name for name in self.names if name in RANDOMISED and (id_, f"random:{name}") not in known]
        if not wanted or self.networks.network is None:
            return
        # A network of its own for each sample, so that the average is over networks, too.
        network, model = explainers.random_model(self.opened, stage.seed % 2**31)
        networks = replace(self.networks, other=model, network=network)
        for name in wanted:
            trained = known.get((id_, f"values:{name}@{'+'.join(baselines)}"))
            if trained is not None and trained["values"] is not None:
                found = explainers.say(name, stage, baselines, networks).values
                assert found is not None
                rho = faithfulness.rank_correlation(trained["values"], found)
                self.journal.add(id_, f"random:{name}", rank_correlation=None if math.isnan(rho) else rho)


def _study(
    options: FaithfulnessOptions,
    task: str,
    opened: checkpoint.Checkpoint,
    predictor: Predictor,
    journal: Journal,
    first: Case,
) -> tuple[_Study, dict[str, str]]:
    """Return the study, and which explainers are left out of it and why; its players are those of the `first` case."""
    n_players = {name: len(side) for name, side in first.place().items()}
    names, left_out = explainers.allowed(options.explainers, task, n_players)
    temperature = opened.facts.temperatures.get("both" if len(n_players) == 2 else next(iter(n_players)), 1.0)
    network = reason = None
    if find_spec("torch") is None or find_spec("captum") is None:
        reason = "torch or captum is not installed"
    elif not opened.weights.is_file():
        reason = f"the checkpoint has no {opened.weights.name}"
    else:
        from parallelnet.models import stored

        network = stored.open_network(opened).eval()
    if reason:
        left_out |= {"random weights": reason, **{name: reason for name in names if name in GRADIENTS}}
        names = [name for name in names if name not in GRADIENTS]
    networks = Networks(network, temperature, options.n_samplings)
    return _Study(options, task, opened, predictor, networks, journal, names), left_out


def _published(plant: Mapping[str, Any]) -> dict[str, Any]:
    """Return the material's options without the places of one machine: a corpus' name, or a path's last part."""
    kept = {name: value for name, value in plant.items() if name != "out"}
    for name in ("speech", "image", "backgrounds"):
        corpus, colon, path = str(kept.get(name, "")).partition(":")
        kept[name] = corpus if colon else Path(corpus or path).name
    return kept


def _model_hash(opened: checkpoint.Checkpoint) -> str:
    paths = [str(opened.graph(name)) for name in opened.facts.graphs]
    hashes = dataset.file_hashes(paths)
    return " ".join(hashes[path][:16] for path in paths)
