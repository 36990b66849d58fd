"""`experiment table2`: the paper's Table 2 on tweets with human labels (section 5.3).

Every row is tested on the same samples, each by a model that never saw it; `table2.json` holds every figure, and the
tables beside it are made from it alone.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from parallelnet import records
from parallelnet.data.dataset import file_hashes, open_data
from parallelnet.data.loading import SignalStore
from parallelnet.errors import ManifestError
from parallelnet.evaluation import evaluate
from parallelnet.models.network import SIDE
from parallelnet.models.variants import SMALL_SIDE
from parallelnet.options import Recipe, SignalOptions, Table2Options
from parallelnet.training.fit import Hardware
from parallelnet.types import SENTIMENTS, Sample

from ..faithfulness_summary import circumstances
from . import picture_network, runner, sentiment_rows, sentiment_tables, statistics, vadicamo
from .runner import Material
from .sentiment_rows import SentimentRow, Shared
from .sentiment_study import Answered, Clock, Study
from .teacher_rule import built_record

log = logging.getLogger(__name__)

RESULT = "table2.json"
TABLE, LATEX = "table2.md", "table2.tex"
OURS = "parallelnet"
PRIVATE = ("data", "out", "work", "unlabelled", "rows", "max_minutes", "threads", "workers")
"""Options that name places of one machine, or do not change a number."""
BUILT = ("fingerprint", "input", "labels", "languages", "tts", "n_read", "n_kept", "rejected")
PER_FOLD = ("n", "accuracy", "macro_f1", "cohen_kappa", "uar", "per_class_recall", "confusion_matrix")


def measure(options: Table2Options, recipe: Recipe, *, quiet: bool = True) -> Path:
    """Run what is missing, write `table2.json` and its tables, and return the JSON's path.

    Args:
        options: data, folds, size, and what the methods of the table need.
        recipe: how all networks learn.
        quiet: no progress bars.

    Raises:
        ManifestError: the data have no sentiment or no texts, a fold lacks a class, or the files of a finished one are
            damaged.
        OptionError: the work folder holds runs of other options or data.
        CheckpointError: ImageNet weights were asked for and cannot be fetched.
        ParallelNetError: see `runner.held`.
    """
    rows = sentiment_rows.chosen(options.rows)
    material, others = prepare(options)
    with runner.held(options):
        runner.claim(runner.work_folder(options), options, recipe, material, target_column="sentiment", init_from=())
        answers = _answers(rows, options, recipe, material, others, quiet=quiet)
        record = {
            "what": "sentiment in three classes against human labels: the paper's Table 2",
            "data": {**material.describe(), "n_unlabelled": len(others), "built": _built(options.data)},
            "input_side": SMALL_SIDE if options.size == "small" else SIDE,
            "options": {
                **{name: value for name, value in asdict(options).items() if name not in PRIVATE},
                "recipe": asdict(recipe),
            },
            **result(answers, options.n_bootstrap, options.seed),
            **circumstances(options.threads),
        }
        out = Path(options.out)
        records.write_json(out / RESULT, record)
        for name, text in tables(json.loads((out / RESULT).read_text(encoding="utf-8"))).items():
            records.write_text(out / name, text)
    return out / RESULT


def _answers(
    rows: Sequence[SentimentRow],
    options: Table2Options,
    recipe: Recipe,
    material: Material,
    others: tuple[Sample, ...],
    *,
    quiet: bool,
) -> dict[str, Answered]:
    if options.weights == "imagenet" and any(row.start == "imagenet" for row in rows):
        picture_network.vgg19("imagenet")  # raises now, not after hours of other rows
    signals = SignalOptions(options.clip_s, options.trim, options.face)
    # One device: with more, each process would go on to write the same files.
    hardware = Hardware(options.accelerator, workers=options.workers, quiet=quiet)
    shared = Shared(SignalStore(signals), hardware, others)
    study = Study(options, recipe, material, shared, Clock(options.max_minutes), quiet)
    for row in rows:  # now, not after hours of other rows
        study.check(row)
    return {row.key: study.answer(row) for row in rows}


def tables(record: Mapping[str, Any]) -> dict[str, str]:
    """Return file name to text of every table that is made from the JSON."""
    return {TABLE: sentiment_tables.markdown(record), LATEX: sentiment_tables.latex(record)}


def _built(data: str) -> dict[str, Any] | None:
    """Return what a reader must know of tweets that `build tweets` made; None of other data."""
    record = built_record(data) or {}
    return {name: record[name] for name in BUILT if name in record} or None


def prepare(options: Table2Options) -> tuple[Material, tuple[Sample, ...]]:
    """Open the data, deal the folds, and return them with the tweets that nobody labelled.

    Raises:
        ManifestError: no sentiment, a class of it missing (in a fold), a labelled tweet without words, speech or
            picture.
    """
    every = open_data(options.data, hash_images=False)
    counts = Counter(s.sentiment for s in every if s.sentiment)
    wrong = sorted(set(counts) - set(SENTIMENTS))
    missing = [name for name in SENTIMENTS if not counts[name]]
    if wrong or missing:
        found = ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "none"
        raise ManifestError(
            f"{options.data}: the sentiments of {len(every)} samples are: {found}; needed: {', '.join(SENTIMENTS)}, "
            "each of them. Mend: parallelnet build tweets --labels sentiment"
        )
    wordless = [s for s in every if s.sentiment and not s.text.strip()]
    if wordless:
        raise ManifestError(
            f"{options.data}: {len(wordless)} labelled samples have no text, the first is {wordless[0].id!r}. The rows "
            "that read are tested on the same samples as the others. Mend: fill the column 'text', or leave them out."
        )
    material = runner.prepare(options, target_column="sentiment")
    return material, _unlabelled(options, every, material.samples)


def _unlabelled(options: Table2Options, every: Sequence[Sample], labelled: Sequence[Sample]) -> tuple[Sample, ...]:
    beside = [(s, True) for s in every if not s.sentiment]
    if options.unlabelled:
        # Rows that have a sentiment are labelled tweets: those of --data once more, or more of them than it has.
        beside += [(s, False) for s in open_data(options.unlabelled, hash_images=False) if not s.sentiment]
    if not beside:
        return ()
    there = (s.image for s in (*labelled, *(s for s, _ in beside)) if s.image is not None and Path(s.image).is_file())
    hashes = file_hashes(there)
    found: dict[str, Sample] = {}
    for together in (True, False):
        kept = vadicamo.beside([s for s, own in beside if own == together], labelled, hashes, together=together)
        for sample in kept:
            found.setdefault(hashes[sample.image or ""], sample)
    log.info("%d of %d tweets that nobody labelled share nothing with the labelled ones", len(found), len(beside))
    return tuple(replace(s, id=f"unlabelled-{k}", speech=None) for k, s in enumerate(found.values()))


def result(answers: Mapping[str, Answered], n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Return `classes` and `rows`: all that is measured, ready for strict JSON.

    Each row has `found` (pooled figures with intervals, and ParallelNet's minus its) or `missing` (why not), and its
    finished folds. P values of the differences are adjusted together, by Holm's method.

    Args:
        answers: of the rows that were asked for, by key.
        n_bootstrap: rounds of every interval.
        seed: of the bootstrap.
    """
    ours = answers[OURS].pooled if OURS in answers else None
    differences: dict[str, dict[str, Any]] = {}
    for key, each in answers.items():
        if ours is not None and each.pooled is not None and key != OURS:
            differences[key] = statistics.difference(ours, each.pooled, n_bootstrap=n_bootstrap, seed=seed)
    adjusted = statistics.holm([found["p_components"] for found in differences.values()])
    for found, p in zip(differences.values(), adjusted, strict=True):
        found["p_holm"] = p
    rows = []
    for key, row in sentiment_rows.ROWS.items():
        head: dict[str, Any] = {
            "key": key,
            "title": row.title,
            "source": row.source,
            "uses": list(row.uses),
            "start": row.start,
            "printed": row.printed,
        }
        answered = answers.get(key)
        if answered is None:
            rows.append({**head, "folds": [], "missing": "not run: not among --rows"})
            continue
        folds = _per_fold(answered)
        if answered.pooled is None:
            rows.append({**head, "folds": folds, "missing": answered.reason})
            continue
        found = statistics.figures(answered.pooled, SENTIMENTS, n_bootstrap=n_bootstrap, seed=seed)
        rows.append({**head, "folds": folds, "found": found, "parallelnet_minus": differences.get(key)})
    return {"classes": list(SENTIMENTS), "rows": rows}


def _per_fold(answered: Answered) -> list[dict[str, Any]]:
    by_number = {int(part.folds[0]): part for part in answered.parts}
    found = []
    for number, facts in answered.folds:
        figures: dict[str, Any] = {}
        if number in by_number:
            part = by_number[number]
            metrics = evaluate(part.labels, part.probs, SENTIMENTS, n_bootstrap=1).to_dict()
            figures = {name: metrics[name] for name in PER_FOLD}
        found.append({"fold": number, **figures, "facts": dict(facts)})
    return found
