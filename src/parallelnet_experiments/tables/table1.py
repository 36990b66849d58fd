"""Table 1 and Fig. 3 of the paper on data that anyone can have: train the rows, measure, write down (sections 4 and 5).

`table1.json` holds every figure; the tables and pictures beside it are made from it alone. A row that was not run or
failed stands in it with the reason. What is tuned, is tuned on the inner validation part, whose figures stand beside
those of the test; each attempt is an OUT of its own, with its recipe in its JSON.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from parallelnet.data.shards import read_shard
from parallelnet.datasets.teachers import decide
from parallelnet.evaluation import Metrics, summarise_folds
from parallelnet.options import PRESETS, Recipe, Table1Options
from parallelnet.training.fit import read_log
from parallelnet.types import EMOTIONS

from . import result_plots, statistics
from .prepared import PAIRS_OF_INTEREST, ROWS, TABLE1, Material, chosen, prepare, published
from .statistics import Draws, Pooled, null
from .study import Fold, Outcome, Study, held, read

# Section 4.2: when its networks converged, and how long they were trained at most.
PAPER = {"convergence_epochs": [18, 23], "max_epochs": 30}
REFERENCES = {
    "majority": "the most frequent class of each fold's training part",
    "teacher-rule": "the labelling rule itself, from the teachers' probabilities (section 5.4)",
    "speech-teacher": "the teacher that heard, alone",
    "image-teacher": "the teacher that saw, alone",
}

# Columns of a training log that the results keep, with `DECIMALS`.
CURVES = (
    "train_loss",
    "validation_loss",
    *(f"{part}_{kind}" for part in ("train", "validation") for kind in ("accuracy", "macro_f1", "kappa")),
)
DECIMALS = 4
EPOCHS = ("epochs", "best_epoch", "converged_epoch", "at_limit")  # figures of each fold
LEARNT = ("mean_gap", "correlation", "kappa", "overfit", "swing")  # figures of which the mean is told


def measure(options: Table1Options, recipe: Recipe | None = None, *, quiet: bool = True) -> Path:
    """Train what is missing, measure, write `table1.json`, tables and pictures, and return the JSON's path.

    Raises:
        ManifestError: the data cannot be used, or its folds are too small for a class.
        OptionError: an unknown row, a teacher as a start, or a folder of another table.
        CheckpointError: a starting checkpoint cannot be used.
        ParallelNetError: see `study.held`.
    """
    recipe = recipe or PRESETS[options.preset]
    asked = chosen(options.rows, ROWS, ROWS if options.studies else TABLE1)
    material = prepare(options)
    with held(options):
        outcomes = Study(options, recipe, material, init_from=options.init_from, quiet=quiet).run(asked)
        record = summarise(outcomes, options, recipe, material)
        out = Path(options.out)
        if options.figure4:
            record["figure4"] = result_plots.figure4(outcomes, material, options.figure4, options.seed, out)
        return result_plots.write("table1", record, out)


def summarise(
    outcomes: Sequence[Outcome], options: Table1Options, recipe: Recipe, material: Material
) -> dict[str, Any]:
    """Return everything that is known of the rows, ready for JSON."""
    draws = Draws(options.n_bootstrap, options.seed)
    reasons = dict.fromkeys(ROWS, f"not run: not asked for ({'--rows' if options.rows else '--studies'})")
    reasons |= {outcome.row.key: outcome.reason for outcome in outcomes}
    told = ("title", "variant", "source", "printed")
    rows = {key: {n: getattr(row, n) for n in told} | {"reason": reasons[key]} for key, row in ROWS.items()}
    pooled: dict[str, Pooled] = {}
    for row, folder in ((each.row, each.folder) for each in outcomes if not each.reason):
        folds = read(folder, material)
        pooled[row.key] = statistics.join([fold.said for fold in folds])
        rows[row.key] |= _measured(folds, row.recipe(recipe))
        rows[row.key]["pooled"] = statistics.figures(pooled[row.key], material.classes, draws)
    # What the text speaks of: `parallelnet` minus each other row, and some pairs.
    pairs = [*(("parallelnet", key) for key in ROWS if key != "parallelnet"), *PAIRS_OF_INTEREST]
    gaps = statistics.differences(pooled, pairs, draws)
    needed = ("ser-only", "ier-only", "parallelnet", "additive")
    missing = [f"not told: needs {key} ({rows[key]['reason']})" for key in needed if key not in pooled]
    apart: dict[str, Any] = {}
    if not missing:
        speech, image, multiply, add = (pooled[key] for key in needed)
        apart = statistics.where_modalities_disagree(speech, image, multiply, add, draws)
    return {
        "table": "table1",
        "paper": PAPER,
        "data": material.describe(),
        "classes": list(material.classes),
        "rows": rows,
        "references": references(material, options),
        "differences": [{"first": first, "second": second} | each for (first, second), each in gaps.items()],
        "fusion": _fusion(pooled, gaps),
        "disagreement": {"reason": missing[0] if missing else "", **apart},
        "options": published(options),
        "recipe": json.loads(json.dumps(asdict(recipe))),
        **statistics.circumstances(options.threads),
    }


def _measured(folds: Sequence[Fold], recipe: Recipe) -> dict[str, Any]:
    """Return each fold's figures, their mean and deviation, the validation part's, time, network and curves."""
    logs = [read_log(fold.folder) for fold in folds]
    tests = [fold.record["test"][fold.setting] for fold in folds]
    names = ("accuracy", "macro_f1", "cohen_kappa", "uar")
    each = [
        {
            "test": {name: test[name] for name in ("n", *names, "ece", "confusion_matrix")},
            "validation": fold.record["validation"].get(fold.setting),
            "training": statistics.convergence(log, keep=recipe.keep, max_epochs=recipe.epochs),
            "seconds": fold.record["seconds"],  # with more than one start those of the last
            "n_starts": len(list((fold.folder / "logs").glob("start-*"))),
        }
        for fold, log, test in zip(folds, logs, tests, strict=True)
    ]
    summary, facts = summarise_folds([Metrics.from_json(json.dumps(test)) for test in tests]), folds[0].facts
    training = [
        {**found["training"], **found["training"]["in_line"], "kappa": found["training"]["at_kept_epoch"]["kappa"]}
        for found in each
    ]
    return {
        "network": {  # what was really trained, and on which machine
            "backbones": folds[0].backbones,
            "input_side": {name: 128 // facts.network[name]["input_pool"] for name in facts.modalities},
            **{name: facts.network[name] for name in ("configuration", "fusion", "embed_dim")},
            "parameters": folds[0].record["parameters"],
            "started_from": list(facts.training.get("started_from", ())),
            "versions": dict(facts.versions),
        },
        "learning_rate": recipe.learning_rate,
        "folds": each,
        "mean": {name: summary["mean"][name] for name in names},
        "std": {name: summary["std"][name] for name in names},
        "validation": {
            name: _mean([found["validation"].get(name) for found in each if found["validation"]]) for name in names[:3]
        },
        "training": {name: [found[name] for found in training] for name in EPOCHS}
        | {name: _mean([found[name] for found in training]) for name in LEARNT},
        "seconds": round(sum(found["seconds"] for found in each), 1),
        "seconds_are_of_last_start": any(found["n_starts"] > 1 for found in each),
        "curves": [
            {name: [null(round(epoch.get(name, math.nan), DECIMALS)) for epoch in log] for name in CURVES}
            for log in logs
        ],
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def references(material: Material, options: Table1Options) -> dict[str, dict[str, Any]]:
    """Return figures of the majority class, of the labelling rule (the ceiling on its labels), of each teacher alone.

    The rule's answers are computed from the teachers' probabilities, not looked up in the labels.
    """
    draws = Draws(options.n_bootstrap, options.seed)
    found: dict[str, dict[str, Any]] = {name: {"title": title, "reason": ""} for name, title in REFERENCES.items()}
    said = {"majority": _majority(material)}
    if material.built is None or material.built["labels"] == "sentiment":
        why = "the labels are the source's own" if material.built else "no teacher made the labels of this data"
        for name in [*REFERENCES][1:]:
            found[name]["reason"] = f"not applicable: {why}"
    else:
        said |= _teachers(material, material.built, Path(options.data))
    for name, answers in said.items():
        found[name]["pooled"] = _guessed(answers, material, draws)
    return found


def _majority(material: Material) -> dict[str, str]:
    # Return for each tested sample the most frequent class of its fold's training part; of equals the first.
    guess: dict[str, str] = {}
    for part in material.parts:
        counts = Counter(material.labels[s.id] for s in part.train)
        guess |= dict.fromkeys((s.id for s in part.test), max(material.classes, key=counts.__getitem__))
    return guess


def _teachers(material: Material, built: Mapping[str, Any], folder: Path) -> dict[str, dict[str, str]]:
    # Return what the rule, and each teacher alone, say of each sample; "" where the rule decides nothing.
    said: dict[str, dict[str, str]] = {name: {} for name in [*REFERENCES][1:]}
    for path in sorted((folder / "data").glob("*.parquet")):
        for draft in (each for each in read_shard(path, with_bytes=False) if each.id in material.labels):
            decision = decide(draft.speech_probs, draft.image_probs, threshold=built["threshold"], rule=built["rule"])
            said["teacher-rule"][draft.id] = "" if decision.reason else decision.label
            said["speech-teacher"][draft.id] = EMOTIONS[int(np.argmax(draft.speech_probs))]
            said["image-teacher"][draft.id] = EMOTIONS[int(np.argmax(draft.image_probs))]
    return said


def _guessed(said: Mapping[str, str], material: Material, draws: Draws) -> dict[str, Any]:
    """Return the figures of bare answers: those that need no probabilities. An answer that is no class is wrong."""
    ids = [s.id for part in material.parts for s in part.test]
    index = {name: number for number, name in enumerate(material.classes)}
    labels = np.array([index[material.labels[id_]] for id_ in ids])
    answers = np.array([index.get(said[id_], -1) for id_ in ids])
    # One column more for answers outside the classes; it is dropped again where nobody gave one.
    classes = (*material.classes, "other") if (answers < 0).any() else material.classes
    probs = np.eye(len(classes))[answers]
    row = Pooled(tuple(ids), np.zeros(len(ids), int), labels, probs, probs, tuple(material.components[k] for k in ids))
    found, of_probs = statistics.figures(row, classes, draws), ("ece", "nll", "brier", "reliability")
    found["ci95"] = {name: bounds for name, bounds in found["ci95"].items() if name not in of_probs}
    return {name: value for name, value in found.items() if name not in of_probs}


def _fusion(pooled: Mapping[str, Pooled], gaps: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    """Return whether `parallelnet` beats the better single modality with an interval that excludes zero."""
    single = [key for key in ("ser-only", "ier-only") if key in pooled]
    if "parallelnet" not in pooled or len(single) < 2:
        return {"reason": "not told: parallelnet, ser-only and ier-only are needed, and not all of them were run"}
    best = max(single, key=lambda key: float(pooled[key].right.mean()))
    found = gaps["parallelnet", best]["accuracy"]
    return {"reason": "", "best_single": best, **found, "earned": found["ci95"][0] > 0}
