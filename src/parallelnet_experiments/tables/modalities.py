"""Both modalities, speech alone, picture alone, and each missing at test time; with calibration (paper 4.3.1, 5.4).

Three networks on the same folds: `parallelnet`, `ser-only`, `ier-only`; if asked, also `parallelnet` trained with
modalities dropped at random. They are rows of `runner`, so runs that `experiment table1` finished in the same --work
are read, not trained again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from parallelnet import checkpoint, records
from parallelnet.errors import ManifestError, OptionError
from parallelnet.models.network import SIDE
from parallelnet.models.variants import SMALL_SIDE
from parallelnet.options import ModalitiesOptions, Recipe

from ..faithfulness_summary import circumstances
from . import modality_plots, modality_tables, runner
from .fold_runs import backbones, pool, read_folds
from .modality_statistics import Answers, figures
from .rows import TABLE1, Row
from .starts import start_names
from .statistics import difference
from .teacher_rule import built_facts, built_record, refuse_teachers

log = logging.getLogger(__name__)

RESULT = "modalities.json"
PRIVATE = ("data", "out", "work", "init_from")
"""Options that name places of one machine."""


@dataclass(frozen=True, slots=True)
class DroppingRow(Row):
    """`parallelnet` with another part of its samples missing a modality while training.

    Attributes:
        dropped: that part.
    """

    dropped: float = 0.0

    def recipe(self, table: Recipe) -> Recipe:
        """Return the table's recipe with this part dropped."""
        return replace(table, modality_dropout=self.dropped)


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the study: which network, and what of each sample it gets at test time.

    Attributes:
        key: names the line in the JSON and its plots.
        title: names it in the tables.
        row: key of the row that is trained.
        setting: `both`, `speech` or `image`: the rest is zero.
    """

    key: str
    title: str
    row: str
    setting: str


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
QUESTIONS: tuple[tuple[str, str], ...] = (
    ("both", "speech"),
    ("both", "image"),
    ("both", "both-without-image"),
    ("both", "both-without-speech"),
    ("speech", "both-without-image"),
    ("image", "both-without-speech"),
)
"""Differences, first minus second: what fusion earns over each modality, what a missing one costs, and what a network
of one modality is ahead of one that has lost the other."""
DROPPED_QUESTIONS: tuple[tuple[str, str], ...] = tuple(
    (dropped.key, plain.key) for dropped, plain in zip(DROPPED, SETTINGS, strict=False)
)


def measure(options: ModalitiesOptions, recipe: Recipe, *, quiet: bool = True) -> Path:
    """Train what is missing, write `modalities.json`, its tables and plots, and return the JSON's path.

    Args:
        options: data, folds, size, and the rest that all rows share.
        recipe: how all rows learn.
        quiet: no progress bars.

    Raises:
        ManifestError: the data cannot be used, or no network is finished.
        OptionError: the work folder holds other runs, a dropout that the recipe has already, or a start from a
            teacher that made the labels.
        ParallelNetError: see `runner.held`.
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
        rows.append(DroppingRow(key, f"modality dropout {dropped:g}", "parallelnet", source, dropped=dropped))
    built = built_record(options.data)
    refuse_teachers(options.init_from, built)
    material = runner.prepare(options)
    with runner.held(options):
        outcomes = runner.run_rows(rows, options, recipe, material, init_from=options.init_from, quiet=quiet)
        if all(outcome.reason for outcome in outcomes):
            raise ManifestError(f"No network is finished on all folds: {outcomes[0].row.key}: {outcomes[0].reason}.")
        answers, missing = _read(outcomes, options, material)
        record = {
            "what": "each modality alone, both, and each missing at test time; calibration",
            "data": material.describe() | {"built": built_facts(built)},
            "backbones": {
                outcome.row.key: backbones(outcome.folder / "fold-0") for outcome in outcomes if not outcome.reason
            },
            "input_side": SMALL_SIDE if options.size == "small" else SIDE,
            "options": {
                **{name: value for name, value in asdict(options).items() if name not in PRIVATE},
                "init_from": start_names(options.init_from),
                "recipe": asdict(recipe),
            },
            **result(answers, missing, options.n_bootstrap, options.seed),
            **circumstances(options.threads),
        }
        out = Path(options.out)
        records.write_json(out / RESULT, record)
        for name, text in modality_tables.files(json.loads((out / RESULT).read_text(encoding="utf-8"))).items():
            records.write_text(out / name, text)
        modality_plots.save(record, out)
    return out / RESULT


def _read(
    outcomes: Sequence[runner.Outcome], options: ModalitiesOptions, material: runner.Material
) -> tuple[dict[str, Answers], dict[str, str]]:
    """Return the answers of each setting that was run, and why each of the others was not."""
    by_row = {outcome.row.key: outcome for outcome in outcomes}
    if options.with_dropout is not None:
        by_row["dropout"] = outcomes[-1]
    answers, missing = {}, {}
    for setting in (*SETTINGS, *DROPPED):
        outcome = by_row.get(setting.row)
        if outcome is None:
            missing[setting.key] = "not run: no --with-dropout"
        elif outcome.reason:
            missing[setting.key] = outcome.reason
        else:
            answers[setting.key] = read_answers(outcome.folder, options.folds, setting.setting, material)
    return answers, missing


def result(answers: Mapping[str, Answers], missing: Mapping[str, str], n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Return `rows`, `differences` and `best_single`: all that is measured, ready for strict JSON.

    Args:
        answers: of each setting that was run.
        missing: why each of the others was not.
        n_bootstrap: rounds of every interval.
        seed: of the bootstrap.
    """
    given = {"n_bootstrap": n_bootstrap, "seed": seed}
    found = {key: figures(each, **given) for key, each in answers.items()}
    title = {setting.key: setting.title for setting in (*SETTINGS, *DROPPED)}
    rows: list[dict[str, Any]] = []
    for setting in (*SETTINGS, *DROPPED):
        head = {"key": setting.key, "title": setting.title, "network": setting.row, "setting": setting.setting}
        known = {"found": found[setting.key]} if setting.key in found else {"missing": missing[setting.key]}
        rows.append({**head, **known})
    differences: list[dict[str, Any]] = []
    for first, second in (*QUESTIONS, *DROPPED_QUESTIONS):
        pair = {"first": first, "second": second, "first_title": title[first], "second_title": title[second]}
        without = next((key for key in (first, second) if key not in answers), None)
        known = (
            {"found": difference(answers[first].pooled, answers[second].pooled, **given)}
            if without is None
            else {"missing": f"{title[without]}: {missing[without]}"}
        )
        differences.append({**pair, **known})
    singles = [key for key in ("speech", "image") if key in found]
    best = max(singles, key=lambda key: found[key]["metrics"]["accuracy"], default=None)
    classes = next(iter(answers.values())).classes
    return {"classes": list(classes), "rows": rows, "differences": differences, "best_single": best}


def read_answers(folder: Path, n_folds: int, setting: str, material: runner.Material) -> Answers:
    """Return what the networks of a run folder said in one setting, all folds together.

    Args:
        folder: of `train`, whole.
        n_folds: how many folds it has.
        setting: `both`, `speech` or `image`.
        material: says what bootstraps draw whole.

    Raises:
        ManifestError: a fold was not tested in this setting.
    """
    folds = read_folds(folder, n_folds)
    for number, fold in enumerate(folds):
        if setting not in fold.record["test"]:
            there = ", ".join(fold.record["test"])
            raise ManifestError(f"{folder.name}, fold {number} was not tested with {setting}; there are {there}.")
    facts = [checkpoint.read(fold.folder / "checkpoint").facts for fold in folds]
    return Answers(
        classes=facts[0].classes,
        pooled=pool([replace(fold, setting=setting) for fold in folds], material),
        temperatures=tuple(each.temperatures[setting] for each in facts),
        thresholds=tuple(each.conformal.get(setting) for each in facts),
    )
