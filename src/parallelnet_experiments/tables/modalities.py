"""Both modalities, speech alone, picture alone, and each missing at test time; with calibration (paper 4.3.1, 5.4).

Three networks on the same folds: `parallelnet`, `ser-only`, `ier-only`; if asked, also `parallelnet` trained with
modalities dropped at random. They are rows of `study`, so runs that `experiment table1` finished in the same --work are
read, not trained again. Everything is pooled over the folds: each sample is answered once, by the network that did not
see it, and intervals draw whole components of samples that share a speaker or a picture.
"""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from parallelnet import evaluation
from parallelnet.calibration import Floats
from parallelnet.errors import ManifestError, OptionError
from parallelnet.evaluation import MIN_PROB
from parallelnet.models.network import SIDE
from parallelnet.models.variants import SMALL_SIDE
from parallelnet.options import ModalitiesOptions, Recipe

from . import prepared, result_plots, statistics, study
from .prepared import TABLE1, Row
from .statistics import Draws, Pooled, circumstances, difference, gaps, intervals, join, mean

# The figures that temperature scaling is there to lower; it leaves the winning class of a window as it is.
CALIBRATED = ("ece", "nll", "brier")
COVERAGE = 0.9  # what conformal sets promise (design section 6)


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the study: which network, and what of each sample it gets at test time."""

    key: str  # names the line in the JSON and its plots
    title: str
    row: str  # key of the row that is trained
    setting: str  # `both`, `speech` or `image`: the rest is zero


SETTINGS: tuple[Setting, ...] = (
    Setting("both", "both", "parallelnet", "both"),
    Setting("both-without-image", "both (picture missing)", "parallelnet", "speech"),
    Setting("both-without-speech", "both (speech missing)", "parallelnet", "image"),
    Setting("speech", "speech alone", "ser-only", "speech"),
    Setting("image", "picture alone", "ier-only", "image"),
)
DROPPED: tuple[Setting, ...] = tuple(
    replace(each, key=f"dropout-{each.key.removeprefix('both-')}", title=f"other dropout: {each.title}", row="dropout")
    for each in SETTINGS[:3]
)
# Differences, first minus second: what fusion earns over each modality, what a missing one costs, what a network of one
# modality is ahead of one that has lost the other, and what another dropout changes.
QUESTIONS: tuple[tuple[str, str], ...] = (
    ("both", "speech"),
    ("both", "image"),
    ("both", "both-without-image"),
    ("both", "both-without-speech"),
    ("speech", "both-without-image"),
    ("image", "both-without-speech"),
    *((dropped.key, plain.key) for dropped, plain in zip(DROPPED, SETTINGS, strict=False)),
)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the networks of all folds say of the samples that each of them did not see, in one setting.

    Attributes:
        classes: names in the order of the columns.
        pooled: the predictions.
        temperatures: of each fold.
        thresholds: conformal threshold of each fold at `COVERAGE`; None where too few samples were held out.
    """

    classes: tuple[str, ...]
    pooled: Pooled
    temperatures: tuple[float, ...]
    thresholds: tuple[float | None, ...]


def measure(options: ModalitiesOptions, recipe: Recipe, *, quiet: bool = True) -> Path:
    """Train what is missing, write `modalities.json`, its tables and plots, and return the JSON's path.

    Raises:
        ManifestError: the data cannot be used, or no network is finished.
        OptionError: the work folder holds other runs, a dropout that the recipe has already, or a start from a
            teacher that made the labels.
        ParallelNetError: see `study.held`.
    """
    dropped = options.with_dropout
    if dropped == recipe.modality_dropout:
        raise OptionError(
            f"--with-dropout is {dropped}, which every row of this recipe has already; allowed: another part. "
            "See --modality-dropout."
        )
    rows = [TABLE1[key] for key in ("parallelnet", "ser-only", "ier-only")]
    if dropped is not None:
        key, source = f"parallelnet-dropout-{dropped:g}", "design, section 5: missing modality"
        rows.append(Row(key, f"modality dropout {dropped:g}", "parallelnet", source, dropped=dropped))
    material = prepared.prepare(options)
    with study.held(options):
        outcomes = study.Study(options, recipe, material, init_from=options.init_from, quiet=quiet).run(rows)
        whole = [outcome for outcome in outcomes if not outcome.reason]
        if not whole:
            raise ManifestError(f"No network is finished on all folds: {outcomes[0].row.key}: {outcomes[0].reason}.")
        by_row = {outcome.row.key: outcome for outcome in outcomes}
        if dropped is not None:
            by_row["dropout"] = outcomes[-1]
        answers, missing = {}, {}
        for setting in (*SETTINGS, *DROPPED):
            outcome = by_row.get(setting.row)
            if outcome is None or outcome.reason:
                missing[setting.key] = outcome.reason if outcome else "not run: no --with-dropout"
            else:
                answers[setting.key] = read_answers(outcome.folder, setting.setting, material)
        record = {
            "what": "each modality alone, both, and each missing at test time; calibration",
            "data": material.describe(),
            "backbones": {each.row.key: study.read(each.folder, material)[0].backbones for each in whole},
            "input_side": SMALL_SIDE if options.size == "small" else SIDE,
            "options": prepared.published(options) | {"recipe": asdict(recipe)},
            **result(answers, missing, Draws(options.n_bootstrap, options.seed)),
            **circumstances(options.threads),
        }
        return result_plots.write("modalities", record, Path(options.out))


def read_answers(folder: Path, setting: str, material: prepared.Material) -> Answers:
    """Return what the networks of a run folder said in one setting, all folds together.

    Raises:
        ManifestError: a fold was not tested in this setting.
    """
    folds = study.read(folder, material, setting)
    facts = [fold.facts for fold in folds]
    return Answers(
        classes=facts[0].classes,
        pooled=join([fold.said for fold in folds]),
        temperatures=tuple(each.temperatures[setting] for each in facts),
        thresholds=tuple(each.conformal.get(setting) for each in facts),
    )


def result(answers: Mapping[str, Answers], missing: Mapping[str, str], draws: Draws) -> dict[str, Any]:
    """Return `rows`, `differences` and `best_single`: all that is measured, and why each `missing` setting was not."""
    found = {key: figures(each, draws) for key, each in answers.items()}
    title = {setting.key: setting.title for setting in (*SETTINGS, *DROPPED)}
    rows = [
        {"key": each.key, "title": each.title, "network": each.row, "setting": each.setting}
        | ({"found": found[each.key]} if each.key in found else {"missing": missing[each.key]})
        for each in (*SETTINGS, *DROPPED)
    ]
    differences: list[dict[str, Any]] = []
    for first, second in QUESTIONS:
        pair = {"first": first, "second": second, "first_title": title[first], "second_title": title[second]}
        without = [f"{title[key]}: {missing[key]}" for key in (first, second) if key not in answers]
        compared = {} if without else difference(answers[first].pooled, answers[second].pooled, draws)
        differences.append(pair | ({"missing": without[0]} if without else {"found": compared}))
    singles = [key for key in ("speech", "image") if key in found]
    best = max(singles, key=lambda key: found[key]["metrics"]["accuracy"], default=None)
    classes = next(iter(answers.values())).classes
    return {"classes": list(classes), "rows": rows, "differences": differences, "best_single": best}


def figures(answers: Answers, draws: Draws) -> dict[str, Any]:
    """Return everything that is told of one setting, ready for strict JSON: classes, calibration, conformal sets."""
    row = answers.pooled
    before, after = (
        statistics.figures(replace(row, probs=each), answers.classes, draws) for each in (row.raw, row.probs)
    )
    return {
        "n": len(row.labels),
        "metrics": after,
        "raw_metrics": before,
        "per_class": per_class(answers, draws),
        "calibration": {
            "temperatures": list(answers.temperatures),
            "change": gaps((row.probs, row.raw), row, CALIBRATED, draws),  # scaled minus raw
        },
        "conformal": conformal(answers, draws),
        "fold_accuracy": [float(row.right[row.folds == k].mean()) for k in np.unique(row.folds)],
    }


def per_class(answers: Answers, draws: Draws) -> dict[str, Any]:
    """Return for each class its samples, precision, recall and F1 with intervals; null where one is not defined."""
    n_classes, row = len(answers.classes), answers.pooled

    def of(total: Floats) -> dict[str, Floats]:
        matrix = total[:, : n_classes**2].reshape(-1, n_classes, n_classes)
        right, true, said = np.einsum("rkk->rk", matrix), matrix.sum(axis=2), matrix.sum(axis=1)
        parts = {"precision": (right, said), "recall": (right, true), "f1": (2 * right, true + said)}
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
            return {f"{kind} {k}": (a / b)[:, k] for kind, (a, b) in parts.items() for k in range(n_classes)}

    found = intervals(evaluation.summands(row.labels, row.probs, MIN_PROB), row.groups, of, draws, "value")
    return {
        name: {
            "n": int(np.count_nonzero(row.labels == k)),
            **{kind: found[f"{kind} {k}"] for kind in ("precision", "recall", "f1")},
        }
        for k, name in enumerate(answers.classes)
    }


def conformal(answers: Answers, draws: Draws) -> dict[str, Any] | str:
    """Return how often the conformal set holds the truth and how large it is, or why there are no sets.

    A set holds every class c with 1 - p(c) at most the threshold of the fold, and always the most probable one, as
    `predict` makes them (design section 6).
    """
    row = answers.pooled
    limit = np.array([answers.thresholds[k] for k in row.folds], dtype=np.float64)  # NaN for None
    kept = ~np.isnan(limit)
    if not kept.any():
        return "no fold had enough validation samples for a threshold"
    probs, labels = row.probs[kept], row.labels[kept]
    sets = (1 - probs <= limit[kept, None]) | (probs == probs.max(axis=1, keepdims=True))
    groups = list(itertools.compress(row.groups, kept))
    columns = {
        "coverage": sets[np.arange(len(probs)), labels],
        "mean_size": sets.sum(axis=1),
        "one_class": sets.sum(axis=1) == 1,
    }
    return {
        "wanted_coverage": COVERAGE,
        "thresholds": list(answers.thresholds),
        "n": len(labels),
        **{name: mean(column, groups, draws) for name, column in columns.items()},
    }
