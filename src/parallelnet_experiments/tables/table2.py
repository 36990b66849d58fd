"""`experiment table2`: the paper's Table 2 on tweets with human labels (section 5.3).

Every row is tested on the same samples, each by a model that never saw it; `table2.json` holds every figure, and the
tables beside it are made from it alone.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from parallelnet.data.dataset import file_hashes, fingerprint, open_data
from parallelnet.errors import ManifestError
from parallelnet.models.network import SIDE
from parallelnet.models.variants import SMALL_SIDE
from parallelnet.options import Recipe, Table2Options
from parallelnet.types import SENTIMENTS, Sample

from . import picture_network, prepared, result_plots, sentiment_methods, statistics, study
from .prepared import chosen

log = logging.getLogger(__name__)

OURS = "parallelnet"
BUILT = ("fingerprint", "input", "labels", "languages", "tts", "n_read", "n_kept", "rejected")
PER_FOLD = ("n", "accuracy", "macro_f1", "cohen_kappa", "uar", "per_class_recall", "confusion_matrix")


def measure(options: Table2Options, recipe: Recipe, *, quiet: bool = True) -> Path:
    """Run what is missing, write `table2.json` and its tables, and return the JSON's path.

    Raises:
        ManifestError: the data have no sentiment or no texts, a fold lacks a class, or the files of a finished one are
            damaged.
        OptionError: the work folder holds runs of other options or data.
        CheckpointError: ImageNet weights were asked for and cannot be fetched.
        ParallelNetError: see `study.held`.
    """
    rows = chosen(options.rows, sentiment_methods.ROWS, sentiment_methods.ROWS)
    material, others = prepare(options)
    with study.held(options):
        if options.weights == "imagenet" and any(row.start == "imagenet" for row in rows):
            picture_network.vgg19("imagenet")  # raises now, not after hours of other rows
        asked = {"confident_part": options.confident_part, "fine_tune": options.fine_tune}
        shared = sentiment_methods.Shared(others, study.work_folder(options) / "content.npz")
        depends = {**asked, "unlabelled": fingerprint(others)}
        own: dict[str, Any] = {"target_column": "sentiment", "depends": depends, "shared": shared}
        outcomes = study.Study(options, recipe, material, **own, quiet=quiet).run(rows)
        answers = {each.row.key: (study.read(each.folder, material), each.reason) for each in outcomes}
        record = {
            "what": "sentiment in three classes against human labels: the paper's Table 2",
            "data": material.describe(BUILT, n_unlabelled=len(others)),
            "input_side": SMALL_SIDE if options.size == "small" else SIDE,
            # Without those that do not change a number.
            "options": prepared.published(options, "unlabelled", "rows", "max_minutes", "threads", "workers")
            | {"recipe": asdict(recipe)},
            **result(answers, statistics.Draws(options.n_bootstrap, options.seed), options.weights),
            **statistics.circumstances(options.threads),
        }
        return result_plots.write("table2", record, Path(options.out))


def result(
    answers: Mapping[str, tuple[Sequence[study.Fold], str]], draws: statistics.Draws, weights: str = "none"
) -> dict[str, Any]:
    """Return `classes` and `rows`: all that is measured, ready for strict JSON.

    Each row has `found` (pooled figures with intervals, and ParallelNet's minus its) or `missing` (why not), and its
    finished folds. P values of the differences are adjusted together, by Holm's method.

    Args:
        answers: of the rows that were asked for, by key: the finished folds, and why not all are; "" where they are.
        draws: of every interval.
        weights: starting weights of the trained network.
    """
    pooled = {
        key: statistics.join([fold.said for fold in folds]) for key, (folds, reason) in answers.items() if not reason
    }
    others = [(OURS, key) for key in pooled if key != OURS]
    gaps = {key: found for (_, key), found in statistics.differences(pooled, others, draws).items()}
    for found in gaps.values():
        del found["p_mcnemar_holm"]
        found["p_holm"] = found.pop("p_components_holm")
    rows = []
    for key, row in sentiment_methods.ROWS.items():
        folds, reason = answers.get(key, ((), "not run: not among --rows"))
        known: dict[str, Any] = {"missing": reason}
        if key in pooled:
            known = {"found": statistics.figures(pooled[key], SENTIMENTS, draws), "parallelnet_minus": gaps.get(key)}
        facts = {name: getattr(row, name) for name in ("key", "title", "source", "uses", "start", "printed")}
        rows.append({**facts, "folds": [_fold(each, weights) for each in folds], **known})
    return {"classes": list(SENTIMENTS), "rows": rows}


def _fold(fold: study.Fold, weights: str) -> dict[str, Any]:
    """Return the figures of a fold, and what was chosen, counted and spent."""
    facts = fold.record.get("facts")
    if facts is None:  # of a trained network
        start = "ImageNet" if weights == "imagenet" else "random"
        facts = {name: fold.record[name] for name in ("parameters", "epochs", "seconds", "validation")}
        facts = {"network": f"{' and '.join(fold.backbones.values())} and {start} weights", **facts}
    test = fold.record["test"][fold.setting]
    return {"fold": fold.number, **{name: test[name] for name in PER_FOLD}, "facts": facts}


def prepare(options: Table2Options) -> tuple[prepared.Material, tuple[Sample, ...]]:
    """Open the data, deal the folds, and return them with the tweets that nobody labelled.

    Raises:
        ManifestError: no sentiment, a class of it missing (in a fold), a labelled tweet without words, speech or
            picture.
    """
    every = open_data(options.data, hash_images=False)
    counts = Counter(s.sentiment for s in every if s.sentiment)
    if set(counts) != set(SENTIMENTS):
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
    material = prepared.prepare(options, target_column="sentiment")
    return material, _unlabelled(options, every, material.samples)


def _unlabelled(options: Table2Options, every: Sequence[Sample], labelled: Sequence[Sample]) -> tuple[Sample, ...]:
    own = [s for s in every if not s.sentiment]
    # Rows that have a sentiment are labelled tweets: those of --data once more, or more of them than it has.
    more = open_data(options.unlabelled, hash_images=False) if options.unlabelled else ()
    others = [s for s in more if not s.sentiment]
    if not own and not others:
        return ()
    hashes = file_hashes(s.image for s in (*labelled, *own, *others) if s.image is not None and Path(s.image).is_file())
    found: dict[str, Sample] = {}
    for sample in (*beside(own, labelled, hashes, together=True), *beside(others, labelled, hashes, together=False)):
        found.setdefault(hashes[sample.image or ""], sample)
    n_beside = len(own) + len(others)
    log.info("%d of %d tweets that nobody labelled share nothing with the labelled ones", len(found), n_beside)
    return tuple(replace(s, id=f"unlabelled-{k}", speech=None) for k, s in enumerate(found.values()))


def beside(
    samples: Sequence[Sample], labelled: Sequence[Sample], hashes: Mapping[str, str], *, together: bool
) -> tuple[Sample, ...]:
    """Return the unlabelled tweets that share neither picture nor words with any labelled one, each once.

    A network that had learnt the picture of a test tweet, under whatever label, would know it again. What counts is the
    bytes of the picture, its difference hash where the build wrote one, the words, and the groups.

    Args:
        samples: unlabelled tweets.
        labelled: tweets with a human label, of all folds.
        hashes: sha256 of the bytes of each picture, by path.
        together: both come from one build, so that their groups mean the same.
    """

    def keys(s: Sample) -> set[tuple[str, str]]:
        words = "".join(c if c.isalnum() else " " for c in s.text.casefold()).split()
        found = {"picture": hashes.get(s.image or "", ""), "words": " ".join(words)}
        found["dhash"] = s.extra.get("image_dhash", "")
        if together:
            found |= {"group": s.group, "image_group": s.image_group}
        return {(kind, value) for kind, value in found.items() if value}

    known = {key for s in labelled for key in keys(s)}
    kept: dict[frozenset[tuple[str, str]], Sample] = {}
    for found, sample in ((keys(sample), sample) for sample in samples):
        own = frozenset(key for key in found if key[0] in ("picture", "words"))
        if len(own) == 2 and not found & known:
            kept.setdefault(own, sample)
    return tuple(kept.values())
