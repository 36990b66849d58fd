"""Table 1 and Fig. 3 of the paper on data that anyone can have: train the rows, measure, write down (sections 4 and 5).

`table1.json` holds every figure; the tables and pictures beside it are made from it alone. A row that was not run or
failed stands in it with the reason. What is tuned, is tuned on the inner validation part, whose figures stand beside
those of the test; each attempt is an OUT of its own, with its recipe in its JSON.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from parallelnet import records
from parallelnet.evaluation import Metrics, summarise_folds
from parallelnet.options import PRESETS, Recipe, Table1Options

from ..faithfulness_summary import circumstances
from . import figure4, table1_text, table_plots
from .fold_runs import FoldRun, network_facts, pool, read_folds
from .rows import PAIRS_OF_INTEREST, ROWS, Row, chosen
from .runner import Material, Outcome, held, prepare, run_rows
from .starts import start_names
from .statistics import Pooled, difference, figures, holm, null, where_modalities_disagree
from .teacher_rule import built_facts, built_record, references, refuse_teachers

log = logging.getLogger(__name__)

PAPER = {"convergence_epochs": [18, 23], "max_epochs": 30}
"""Section 4.2: when its networks converged, and how long they were trained at most."""
REFERENCES = {
    "majority": "the most frequent class of each fold's training part",
    "teacher-rule": "the labelling rule itself, from the teachers' probabilities (section 5.4)",
    "speech-teacher": "the teacher that heard, alone",
    "image-teacher": "the teacher that saw, alone",
}


def measure(options: Table1Options, recipe: Recipe | None = None, *, quiet: bool = True) -> Path:
    """Train what is missing, measure, write `table1.json`, tables and pictures, and return the JSON's path.

    Args:
        options: which rows, on what, for how long.
        recipe: how every row learns; the preset's without it.
        quiet: no progress bars.

    Raises:
        ManifestError: the data cannot be used, or its folds are too small for a class.
        OptionError: an unknown row, a teacher as a start, or a folder of another table.
        CheckpointError: a starting checkpoint cannot be used.
        ParallelNetError: see `runner.held`.
    """
    recipe = recipe or PRESETS[options.preset]
    asked = chosen(options.rows, studies=options.studies)
    built = built_record(options.data)
    refuse_teachers(options.init_from, built)
    material = prepare(options)
    with held(options):
        outcomes = run_rows(asked, options, recipe, material, init_from=options.init_from, quiet=quiet)
        record = summarise(outcomes, options, recipe, material, built)
        out = Path(options.out)
        if options.figure4:
            record["figure4"] = figure4.draw(outcomes, material, options.figure4, options.seed, out)
        path = out / "table1.json"
        records.write_text(path, dump(record))
        render(json.loads(path.read_text(encoding="utf-8")), out)
    return path


def render(record: Mapping[str, Any], out: Path) -> tuple[Path, ...]:
    """Write `table1.md`, `table1.tex` and the pictures of a result into a folder, and return their paths.

    The same record gives the same bytes (pictures: with the same matplotlib).
    """
    out.mkdir(parents=True, exist_ok=True)
    texts = {"table1.md": table1_text.markdown(record), "table1.tex": table1_text.latex(record)}
    for name, text in texts.items():
        records.write_text(out / name, text)
    return (*(out / name for name in texts), *table_plots.save_all(record, out))


def summarise(
    outcomes: Sequence[Outcome],
    options: Table1Options,
    recipe: Recipe,
    material: Material,
    built: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return everything that is known of the rows, ready for JSON."""
    shared = {"n_bootstrap": options.n_bootstrap, "seed": options.seed}
    by_key = {outcome.row.key: outcome for outcome in outcomes}
    rows: dict[str, Any] = {}
    pooled: dict[str, Pooled] = {}
    for row in ROWS.values():
        outcome = by_key.get(row.key)
        reason = _not_asked(row, options) if outcome is None else outcome.reason
        rows[row.key] = {**_facts(row), "reason": reason}
        if outcome is not None and not reason:
            folds = read_folds(outcome.folder, options.folds)
            pooled[row.key] = pool(folds, material)
            rows[row.key] |= _measured(folds, row.recipe(recipe))
            rows[row.key]["pooled"] = figures(pooled[row.key], material.classes, **shared)
    return {
        "table": "table1",
        "paper": PAPER,
        "data": material.describe() | {"built": built_facts(built)},
        "classes": list(material.classes),
        "rows": rows,
        "references": _references(material, options, built),
        "differences": _differences(pooled, **shared),
        "fusion": _fusion(pooled, **shared),
        "disagreement": _disagreement(pooled, rows, **shared),
        "options": _published(options),
        "recipe": json.loads(json.dumps(asdict(recipe))),
        **circumstances(options.threads),
    }


def _facts(row: Row) -> dict[str, Any]:
    return {"title": row.title, "variant": row.variant, "source": row.source, "printed": row.printed}


def _not_asked(row: Row, options: Table1Options) -> str:
    return "not run: not asked for (--rows)" if options.rows else "not run: not asked for (--studies)"


def _measured(folds: Sequence[FoldRun], recipe: Recipe) -> dict[str, Any]:
    """Return each fold's figures, their mean and deviation, the validation part's, time, network and curves."""
    each = [fold.summary(recipe) for fold in folds]
    metrics = [Metrics.from_json(json.dumps(fold.record["test"][fold.setting])) for fold in folds]
    summary = summarise_folds(metrics)
    training = [found["training"] for found in each]
    names = ("accuracy", "macro_f1", "cohen_kappa", "uar")
    return {
        "network": network_facts(folds[0]),
        "learning_rate": recipe.learning_rate,
        "folds": each,
        "mean": {name: null(summary.mean[name]) for name in names},
        "std": {name: null(summary.std[name]) for name in names},
        "validation": {
            name: _mean([found["validation"].get(name) for found in each if found["validation"]])
            for name in ("accuracy", "macro_f1", "cohen_kappa")
        },
        "training": {
            **{
                name: [found[name] for found in training]
                for name in ("epochs", "best_epoch", "converged_epoch", "at_limit")
            },
            "mean_gap": _mean([found["in_line"]["mean_gap"] for found in training]),
            "correlation": _mean([found["in_line"]["correlation"] for found in training]),
            "kappa": _mean([found["at_kept_epoch"]["kappa"] for found in training]),
            "overfit": _mean([found["overfit"] for found in training]),
            "swing": _mean([found["swing"] for found in training]),
        },
        "seconds": round(sum(found["seconds"] for found in each), 1),
        "seconds_are_of_last_start": any(found["n_starts"] > 1 for found in each),
        "curves": [fold.curves() for fold in folds],
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _references(
    material: Material, options: Table1Options, built: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """Return what needs no training: the majority class, the labelling rule, each teacher alone."""
    found: dict[str, dict[str, Any]] = {name: {"title": title, "reason": ""} for name, title in REFERENCES.items()}
    shared = {"n_bootstrap": options.n_bootstrap, "seed": options.seed}
    found["majority"]["pooled"] = _guessed(_majority(material), material, **shared)
    for name, said in references(material, options.data, built).items():
        if "reason" in said:
            found[name]["reason"] = said["reason"]
        else:
            by_id = dict(zip((s.id for s in material.samples), said["said"], strict=True))
            found[name]["pooled"] = _guessed(by_id, material, **shared)
    return found


def _majority(material: Material) -> dict[str, int]:
    """Return for each tested sample the most frequent class of its fold's training part; of equals the first."""
    guess: dict[str, int] = {}
    for part in material.parts:
        counts = Counter(material.labels[s.id] for s in part.train)
        most = max(range(len(material.classes)), key=lambda k: counts[material.classes[k]])
        guess |= {s.id: most for s in part.test}
    return guess


def _guessed(said: Mapping[str, int], material: Material, *, n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Return the figures of bare answers: those that need no probabilities. An answer that is no class is wrong."""
    ids = [s.id for part in material.parts for s in part.test]
    labels = np.array([material.classes.index(material.labels[id_]) for id_ in ids])
    answers = np.array([said[id_] for id_ in ids])
    # One column more for answers outside the classes; it is dropped again where nobody gave one.
    classes = (*material.classes, "other") if (answers < 0).any() else material.classes
    probs = np.eye(len(classes))[answers]
    folds = np.concatenate([[k] * len(part.test) for k, part in enumerate(material.parts)])
    row = Pooled(tuple(ids), folds, labels, probs, probs, tuple(material.components[id_] for id_ in ids))
    found = figures(row, classes, n_bootstrap=n_bootstrap, seed=seed)
    no_probs = ("ece", "nll", "brier", "reliability")
    kept = {name: value for name, value in found.items() if name not in no_probs}
    kept["ci95"] = {name: value for name, value in found["ci95"].items() if name not in no_probs}
    return kept


def _differences(pooled: Mapping[str, Pooled], *, n_bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """Return `parallelnet` minus each other row and the pairs that the text speaks of, Holm's adjustment over all."""
    pairs = [("parallelnet", key) for key in ROWS if key != "parallelnet"]
    pairs += PAIRS_OF_INTEREST
    found = [
        {
            "first": first,
            "second": second,
            **difference(pooled[first], pooled[second], n_bootstrap=n_bootstrap, seed=seed),
        }
        for first, second in pairs
        if first in pooled and second in pooled
    ]
    for name in ("p_mcnemar", "p_components"):
        for each, adjusted in zip(found, holm([each[name] for each in found]), strict=True):
            each[f"{name}_holm"] = adjusted
    return found


def _fusion(pooled: Mapping[str, Pooled], *, n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Return whether `parallelnet` beats the better single modality with an interval that excludes zero."""
    single = [key for key in ("ser-only", "ier-only") if key in pooled]
    if "parallelnet" not in pooled or len(single) < 2:
        return {"reason": "not told: parallelnet, ser-only and ier-only are needed, and not all of them were run"}
    best = max(single, key=lambda key: float(pooled[key].right.mean()))
    found = difference(pooled["parallelnet"], pooled[best], n_bootstrap=n_bootstrap, seed=seed)["accuracy"]
    return {"reason": "", "best_single": best, **found, "earned": found["ci95"][0] > 0}


def _disagreement(
    pooled: Mapping[str, Pooled], rows: Mapping[str, Any], *, n_bootstrap: int, seed: int
) -> dict[str, Any]:
    needed = ("ser-only", "ier-only", "parallelnet", "additive")
    missing = [key for key in needed if key not in pooled]
    if missing:
        return {"reason": f"not told: needs {missing[0]} ({rows[missing[0]]['reason']})"}
    found = where_modalities_disagree(*(pooled[key] for key in needed), n_bootstrap=n_bootstrap, seed=seed)
    return {"reason": "", **found}


def _published(options: Table1Options) -> dict[str, Any]:
    """Return the options without the places of one machine."""
    kept = asdict(options)
    for name in ("data", "out", "work"):
        del kept[name]
    kept["init_from"] = start_names(options.init_from)
    return kept


def dump(record: Mapping[str, Any]) -> str:
    """Return a result as strict JSON, lists of bare values on one line."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    # A raw newline is never inside a JSON string, so "[\n" begins a list and nothing else.
    bare = re.compile(r"\[\n\s+([^\[\]{}]*?)\n\s+\]")
    return bare.sub(lambda found: "[" + re.sub(r",\n\s+", ", ", found[1]) + "]", text) + "\n"
