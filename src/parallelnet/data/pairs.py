"""`parallelnet build pairs`: utterances and pictures of the same class, paired inside each split or fold.

Speech and picture corpora with true labels exist; one with both hardly does. Speakers and pictures are dealt to
splits (or folds) first and paired inside, so nothing of one split is ever seen in another.
"""

import hashlib
import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from .. import records
from ..errors import ManifestError, refuse
from ..options import PairsOptions
from ..types import Sample
from . import dataset, image_corpora, splits, tables
from .manifest import MANIFEST_CSV, write_manifest

REPORT_JSON = "pairs.json"  # what the build was asked for, beside the manifest; written before the first file

MAX_PER_CLASS = 20_000  # pairs a class and split that are made without being asked for; more want `--per-class`

_SIDES = ("speech", "image")


@dataclass(frozen=True, slots=True)
class PairsReport:
    """What `build pairs` made.

    Attributes:
        counts: part (split, or `fold 0`, ...) to class to the numbers of `pairs`, `utterances`, `pictures`.
        speakers: part to its speakers.
        n_utterances: different ones in the `n_pairs` rows; so is `n_pictures`.
        drops: what was left out, by corpus (`speech`, `image`) and reason.
        notes: what was decided that nobody asked for, a line each.
        fingerprint: `dataset.fingerprint` of the manifest.
    """

    manifest: str
    counts: Mapping[str, Mapping[str, Mapping[str, int]]]
    speakers: Mapping[str, Sequence[str]]
    n_pairs: int
    n_utterances: int
    n_pictures: int
    drops: Mapping[str, Mapping[str, int]]
    notes: Sequence[str]
    fingerprint: str


def build_pairs(options: PairsOptions) -> PairsReport:
    """Write `DIR/manifest.csv` with one row a pair, its files below `DIR/speech` and `DIR/image`, and say what it is.

    The manifest is written last, whole: its existence means that the build is complete. The same options over the
    same corpora give the same bytes; a build that was killed continues.

    Raises:
        OptionError: options out of range.
        ManifestError: a corpus that cannot be read, a class missing in a split, speakers that do not exist, or a
            folder that holds something else.
        ParallelNetError: another process writes there, or the disk is full.
    """
    contents = {side: dataset.open_content(getattr(options, side)) for side in _SIDES}
    drops = {side: Counter(content.drops) for side, content in contents.items()}
    speech, image = (_labelled(contents[side].samples, side, options, drops[side]) for side in _SIDES)
    image = distinct_pictures(image, options, drops["image"])
    pairs = _paired(splits.deal_parts(speech, image, options), options)
    splits.check_disjoint(pairs)
    used = {path for pair in pairs for path in (pair.speech, pair.image)}
    for side, samples in zip(_SIDES, (speech, image), strict=True):
        left = sum(getattr(sample, side) not in used for sample in samples)
        drops[side] += Counter({"not needed for so few pairs": left})
    given = {sample.split for sample in contents["image"].samples}
    stands_in = not options.folds and image_test_split(given, options) == "validation" != options.image_test_split
    folder = Path(options.out)
    refuse(ManifestError, [(folder.is_file(), f"--out {folder} is a file. Mend: name a folder.")])
    with records.full_disk_told(folder, "the same line goes on"):
        folder.mkdir(parents=True, exist_ok=True)
        with records.held(folder):
            _claim(folder, options, pairs)
            records.sweep(folder)
            pairs, hashes = _with_files(pairs, folder, options)
            manifest = write_manifest(folder / MANIFEST_CSV, pairs)
    names = dict.fromkeys(splits.part_name(pair.split, pair.fold) for pair in pairs)
    parts = {name: [pair for pair in pairs if splits.part_name(pair.split, pair.fold) == name] for name in names}
    return PairsReport(
        manifest=str(manifest),
        counts={
            name: {label: _numbers(p for p in listed if p.label == label) for label in {p.label: 0 for p in listed}}
            for name, listed in parts.items()
        },
        speakers={name: sorted({pair.group for pair in listed}) for name, listed in parts.items()},
        **{f"n_{name}": n for name, n in _numbers(pairs).items()},
        drops={side: dict(counter) for side, counter in drops.items()},
        notes=[f"--image {options.image} has no test split: its validation split is the test split."] * stands_in,
        fingerprint=dataset.fingerprint(pairs, hashes=hashes),
    )


def _numbers(pairs: Iterable[Sample]) -> dict[str, int]:
    ids, utterances, pictures = zip(*((s.id, s.speech, s.image_group) for s in pairs), strict=True)
    return {"pairs": len(ids), "utterances": len(set(utterances)), "pictures": len(set(pictures))}


def _labelled(samples: Sequence[Sample], side: str, options: PairsOptions, drops: Counter[str]) -> tuple[Sample, ...]:
    spec, kept = getattr(options, side), []
    for sample in samples:
        path = getattr(sample, side)
        whys = {
            f"no {side}": path is None,
            "no label": not sample.label,
            f"label {sample.label!r} is not in --classes": options.classes and sample.label not in options.classes,
            "file is missing": path is not None and not Path(path).is_file(),
        }
        if not tables.left_out(drops, whys):
            kept.append(sample)
    nameless = sum(not sample.group for sample in kept) if side == "speech" else 0
    nothing = f"--{side} {spec} leaves nothing to pair ({dataset.reasons(drops)})."
    told = f"--speech {spec} does not say who speaks in {nameless} of {len(kept)} utterances, so a voice could stand in"
    mend = "Mend: give it a manifest with a column 'group', or a nkululeko csv with 'speaker'."
    refuse(ManifestError, [(not kept, nothing), (nameless, f"{told} two splits. {mend}")])
    return tuple(kept)


def image_test_split(have: Collection[str], options: PairsOptions) -> str:
    """Return which of the splits that the pictures have is the test split: `test` or `validation`."""
    auto = "validation" if "validation" in have and "test" not in have else "test"
    return auto if options.image_test_split == "auto" else options.image_test_split


def distinct_pictures(samples: tuple[Sample, ...], options: PairsOptions, drops: Counter[str]) -> tuple[Sample, ...]:
    """Return the pictures with their content's hash, each once, in their final splits as far as the corpus has them.

    What is left out is counted in `drops`, by reason.

    Raises:
        ManifestError: the corpus has no such test split.
    """
    have = {sample.split for sample in samples}
    if options.folds:
        samples = tuple(replace(sample, split="") for sample in samples)
    elif have != {""}:
        lacks = f"--image {options.image} has no split {options.image_test_split!r}; it has"
        told = f"{lacks}: {', '.join(sorted(have))}. Mend: --image-test-split with one that is there."
        refuse(ManifestError, [(options.image_test_split not in ("auto", *have), told)])
        if image_test_split(have, options) == "validation":
            used = [sample for sample in samples if sample.split != "test"]
            drops += Counter({"split 'test' is not used (--image-test-split validation)": len(samples) - len(used)})
            samples = tuple(replace(s, split="test") if s.split == "validation" else s for s in used)
    kept, dropped = splits.drop_overlaps(dataset.with_image_groups(samples))
    drops.update(dropped)
    return kept


def _paired(parts: Sequence[splits.Part], options: PairsOptions) -> tuple[Sample, ...]:
    found = {sample.label for part in parts for sample in (*part.speech, *part.image)}
    corpora = [spec.partition(":")[0] for spec in (options.speech, options.image)]
    rng = np.random.default_rng(options.seed)
    pairs: list[Sample] = []
    for part in parts:
        for label in options.classes or sorted(found):
            spoken = [sample for sample in part.speech if sample.label == label]
            seen = [sample for sample in part.image if sample.label == label]
            told = f"Class {label!r} has {len(spoken)} utterances and {len(seen)} pictures in {part.name}; needed: one"
            mend = "Mend: --classes without it, fewer folds or larger fractions."
            refuse(ManifestError, [(not (spoken and seen), f"{told} of each in every part. {mend}")])
            n_pairs = _n_pairs(part, label, len(spoken), len(seen), options)
            name = part.split if part.fold is None else f"fold{part.fold}.{part.block}"
            for index, (s, i) in enumerate(combine(len(spoken), len(seen), n_pairs, rng)):
                own = {"speech_source": f"{corpora[0]}:{spoken[s].id}", "image_source": f"{corpora[1]}:{seen[i].id}"}
                pair = replace(
                    spoken[s],
                    id=f"{name}-{label}-{index:05d}",
                    **{field: getattr(seen[i], field) for field in ("image", "image_group")},
                    **{field: getattr(part, field) for field in ("split", "fold")},
                    extra={**seen[i].extra, **spoken[s].extra, **own},
                )
                pairs.append(pair)
    return tuple(pairs)


def _n_pairs(part: splits.Part, label: str, n_utterances: int, n_pictures: int, options: PairsOptions) -> int:
    asked = options.per_class_eval if part.split in ("validation", "test") else options.per_class
    if asked is None:
        return min(max(n_utterances, n_pictures), MAX_PER_CLASS)
    asked = asked // part.n_blocks + (part.block < asked % part.n_blocks)
    n_most = n_utterances * n_pictures
    told = f"{asked} pairs of class {label!r} in {part.name} are asked for, but {n_utterances} utterances and"
    made = f"{n_pictures} pictures make only {n_most}. Mend: a smaller --per-class or --per-class-eval."
    refuse(ManifestError, [(asked > n_most, f"{told} {made}")])
    return asked


def combine(n_utterances: int, n_pictures: int, n_pairs: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return `n_pairs` different pairs in which every utterance and every picture occurs equally often, within one.

    Both are shuffled once and then walked round and round side by side. The two walks meet again in the same step
    after lcm(n_utterances, n_pictures) pairs; from there the pictures go on one place further, so that no pair comes
    twice (Chinese remainder theorem) until all have come.

    Returns:
        (utterance, picture) 0-based, shuffled; `n_pairs`, at most n_utterances * n_pictures, of them.
    """
    utterances, pictures = rng.permutation(n_utterances), rng.permutation(n_pictures)
    step = np.arange(n_pairs)
    turn = step // math.lcm(n_utterances, n_pictures)
    chosen = np.stack([utterances[step % n_utterances], pictures[(step + turn) % n_pictures]], axis=1)
    return [(int(s), int(i)) for s, i in rng.permutation(chosen)]


def _claim(folder: Path, options: PairsOptions, pairs: Sequence[Sample]) -> None:
    """Make the folder ours: empty, the same build, or another build that may be replaced."""
    record = {name: value for name, value in asdict(options).items() if name not in ("out", "overwrite")}
    listed = json.dumps([record, [[s.id, s.speech, s.image, s.image_group] for s in pairs]])
    key = hashlib.sha256(listed.encode()).hexdigest()
    report = folder / REPORT_JSON
    if not records.is_empty(folder):
        told = f"--out {folder} is not empty and was not made by build pairs. Mend: another folder."
        refuse(ManifestError, [(not report.is_file(), told)])
        if records.read_json(report, mend="another folder.").get("key") == key:
            return
        if not options.overwrite:
            raise ManifestError(f"--out {folder} holds another build. Mend: another folder, or --overwrite.")
        (folder / MANIFEST_CSV).unlink(missing_ok=True)  # first: without it nobody takes the rest for complete
        for side in _SIDES:
            shutil.rmtree(folder / side, ignore_errors=True)
    records.write_json(report, {"key": key, "options": record})


def _with_files(
    pairs: Sequence[Sample], folder: Path, options: PairsOptions
) -> tuple[tuple[Sample, ...], dict[str, str]]:
    """Return the pairs with their files linked or copied below the folder, and the sha256 of those files."""
    sources = dataset.file_hashes(path for pair in pairs for path in (pair.speech, pair.image) if path is not None)
    placed: dict[str | None, str] = {}
    for side in _SIDES:
        (folder / side).mkdir(exist_ok=True)
        for source in {getattr(pair, side) for pair in pairs}:
            path = Path(source)
            # The content in the name: two speakers may both have a 001.wav.
            stem = re.sub(r"[^\w.-]", "_", path.stem)
            target = folder / side / f"{stem}-{sources[source][:12]}{path.suffix.lower()}"
            placed[source] = str(target)
            if target.exists():
                continue
            # What was converted into the cache is copied always: a cache may be emptied at any time.
            if options.link == "copy" or path.is_relative_to(image_corpora.cache_root()):
                with path.open("rb") as original:
                    records.write_whole(target, partial(shutil.copyfileobj, original), sync=False)
            else:
                target.unlink(missing_ok=True)  # a link whose corpus went away
                target.symlink_to(path.absolute())
    hashes = {placed[source]: digest for source, digest in sources.items()}
    return tuple(replace(s, speech=placed[s.speech], image=placed[s.image]) for s in pairs), hashes
