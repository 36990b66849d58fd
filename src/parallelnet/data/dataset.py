"""Samples from wherever they are: a corpus as published, a manifest, a built data set; and their fingerprint.

Every corpus that is read here has one entry, with its label map as a plain table (design section 3). A corpus is added
by one reader (here, in `speech_corpora` or in `image_corpora`) and one line in `CORPORA`.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import ManifestError, refuse, unknown
from ..types import EMOTIONS, SENTIMENTS, Sample
from . import built, image_corpora, shards, speech_corpora, splits, tables
from .manifest import MANIFEST_CSV, read_manifest

Reader = Callable[[Path, Counter[str]], Iterator[Sample]]

# What corpora call the paper's four emotions: excitement is merged into happy, disgust renamed to hate (Plutchik).
_WORDS: dict[str, tuple[str, ...]] = {
    "anger": ("anger", "angry", "ang"),
    "happy": ("happy", "happiness", "hap", "joy", "excitement", "excited", "exc", "amusement", "contentment"),
    "hate": ("hate", "disgust", "disgusted", "dis"),
    "sad": ("sad", "sadness"),
}
EMOTION_WORDS: dict[str, str] = {word: emotion for emotion, words in _WORDS.items() for word in words}


def _map(*words: str) -> dict[str, str]:
    return {word: EMOTION_WORDS[word] for word in words}


_ACTED = _map("angry", "happy", "disgust", "sad")  # by the names that the readers give the codes of CREMA-D, ...
_RAVDESS = _ACTED | _map("anger", "hate")  # the packed table is renamed already
_FER2013 = _RAVDESS | _map("sadness")
_IEMOCAP = _map("ang", "hap", "exc", "dis", "sad")
_FI = _map(
    "amusement", "contentment", "excitement", "anger", "disgust", "sadness"
)  # no awe, no fear (design section 3)
_SENTIMENTS = {name: name for name in SENTIMENTS}


def read_folder(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield sounds and pictures from a folder a class.

    `CLASS/file`, or `CLASS/SPEAKER/file` where the speaker (or author) is known, below folders train, validation and
    test where the data is split. The ending says whether a file is speech or a picture.
    """
    for path in tables.files_below(root, (*speech_corpora.AUDIO_SUFFIXES, *image_corpora.IMAGE_SUFFIXES)):
        parts = path.relative_to(root).parts[:-1]
        split = image_corpora.SPLIT_FOLDERS.get(parts[0].lower(), "") if parts else ""
        parts = parts[1:] if split else parts
        is_speech = path.suffix.lower() in speech_corpora.AUDIO_SUFFIXES
        if not tables.left_out(drops, {"not in a folder CLASS or CLASS/SPEAKER": len(parts) not in (1, 2)}):
            yield Sample(
                id=path.relative_to(root).as_posix(),
                speech=str(path) if is_speech else None,
                image=None if is_speech else str(path),
                label=tables.tidy(parts[0]).lower(),
                split=split,
                group=tables.tidy(" ".join(parts[1:])),
            )


def read_own(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the samples of a manifest of ours.

    A csv, json lines or Parquet file with the columns id, speech, image, text, label, sentiment, split, fold, group,
    image_group, word_times, or a folder with manifest.csv. Only speech or image is required; paths are relative to it.
    """
    yield from read_manifest(root)  # it has errors, not drops


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is known of a corpus.

    Attributes:
        name: what users write before the colon of `CORPUS:PATH`.
        reader: yields its samples with the corpus's own labels; its docstring says how the corpus is laid out.
        labels: the corpus's own label to ours. A label that is not here is dropped and counted. None keeps every
            label as it is.
        target: the field of a sample that the labels fill.
    """

    name: str
    title: str
    modality: Literal["speech", "image", "any"]
    reader: Reader
    labels: Mapping[str, str] | None
    target: Literal["label", "sentiment"] = "label"

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that a sample can have, in index order; empty where the corpus may have any."""
        order = EMOTIONS if self.target == "label" else SENTIMENTS
        return () if self.labels is None else tuple(name for name in order if name in self.labels.values())

    @property
    def layout(self) -> str:
        """How the corpus is laid out, in one line."""
        return " ".join((self.reader.__doc__ or "").split("\n\n")[1].split())


CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus("ravdess", "RAVDESS, acted English speech", "speech", speech_corpora.read_ravdess, _RAVDESS),
        Corpus("iemocap", "IEMOCAP, English dialogues", "speech", speech_corpora.read_iemocap, _IEMOCAP),
        Corpus("crema-d", "CREMA-D, acted English speech", "speech", speech_corpora.read_crema_d, _ACTED),
        Corpus("emodb", "EmoDB, acted German speech", "speech", speech_corpora.read_emodb, _ACTED),
        Corpus("tess", "TESS, single English words", "speech", speech_corpora.read_tess, _ACTED),
        Corpus("fer2013", "FER-2013, faces of 48 x 48 pixels", "image", image_corpora.read_fer2013, _FER2013),
        Corpus("fi", "FI, pictures from Flickr and Instagram", "image", image_corpora.read_fi, _FI),
        Corpus("mvsa", "MVSA, tweets", "image", image_corpora.read_mvsa, _SENTIMENTS, "sentiment"),
        Corpus("b-t4sa", "B-T4SA, tweets", "image", image_corpora.read_b_t4sa, _SENTIMENTS, "sentiment"),
        Corpus("folder", "a folder a class", "any", read_folder, EMOTION_WORDS),
        Corpus("emobox", "EmoBox json lines", "speech", speech_corpora.read_emobox, EMOTION_WORDS),
        Corpus("nkululeko", "nkululeko csv", "speech", speech_corpora.read_nkululeko, EMOTION_WORDS),
        Corpus("manifest", "a manifest of parallelnet", "any", read_own, None),
    )
}


@dataclass(frozen=True, slots=True)
class CorpusContent:
    """What a corpus folder held: samples with our labels, in a fixed order, and how many were left out, by reason."""

    samples: tuple[Sample, ...]
    drops: Mapping[str, int]


def read_corpus(name: str, root: str | os.PathLike[str], *, labels: Mapping[str, str] | None = None) -> CorpusContent:
    """Return the samples of a corpus, a key of `CORPORA`, from its folder or file as published, and what was dropped.

    `labels` are used instead of the corpus's own map, for instance to learn all eight classes of RAVDESS.

    Raises:
        OptionError: no such corpus.
        ManifestError: the path is missing, is not this corpus, or nothing of it is left.
    """
    if name not in CORPORA:
        raise unknown("corpus", name, CORPORA, "parallelnet list corpora")
    corpus, source = CORPORA[name], Path(root)
    refuse(ManifestError, [(not source.exists(), f"There is no {source} to read {name} from.")])
    ours = corpus.labels if labels is None else labels
    drops: Counter[str] = Counter()
    seen, kept = set[str](), list[Sample]()
    for sample in corpus.reader(source, drops):
        label = getattr(sample, corpus.target)
        whys = {  # copies of TESS hold the whole corpus twice, one inside the other
            "stands twice in the corpus": sample.id in seen,
            f"label {label!r} is not used": ours is not None and label not in ours,
        }
        if not tables.left_out(drops, whys):
            changed: dict[str, Any] = {} if ours is None else {corpus.target: ours[label]}
            kept.append(replace(sample, **changed))
        seen.add(sample.id)
    why = reasons(drops) or "no file of the kind was found"
    told = f"{source} holds nothing of {name} that can be used ({why}). Expected: {corpus.layout}"
    refuse(ManifestError, [(not kept, told)])
    return CorpusContent(tuple(kept), dict(drops))


def reasons(drops: Counter[str]) -> str:
    """Return the most frequent reasons why samples were dropped, as an error lists them."""
    return "; ".join(f"{reason}: {n}" for reason, n in drops.most_common(5))


def list_corpora() -> list[dict[str, Any]]:
    """Return what `parallelnet list corpora` prints: one plain record a corpus."""
    names = ("name", "title", "modality", "target", "classes", "labels", "layout")
    listed = [{name: getattr(corpus, name) for name in names} for corpus in CORPORA.values()]
    return [{**record, "labels": record["labels"] or {}} for record in listed]


# --- any source, corpus or not -------------------------------------------------------------------------------------


def _parts(spec: str | os.PathLike[str]) -> tuple[str, Path]:
    """Return what stands before and behind the colon of `CORPUS:PATH`; "" and a path, even one with a colon in it."""
    name, colon, path = os.fspath(spec).partition(":")
    return (name, Path(path)) if colon and not Path(spec).exists() and "/" not in name else ("", Path(spec))


def open_content(spec: str | os.PathLike[str], *, keep_bad_rows: bool = False) -> CorpusContent:
    """Return samples and drops of `CORPUS:PATH`, a manifest, a folder with `manifest.csv`, or what `build tweets` made.

    Raises:
        OptionError: no such corpus.
        ManifestError: nothing usable there.
    """
    name, path = _parts(spec)
    if name:
        return read_corpus(name, path)
    if path.is_dir() and not (path / MANIFEST_CSV).is_file():
        if built.is_built(path):
            return CorpusContent(built.read_built(path), {})
        raise ManifestError(
            f"The folder {path} has no {MANIFEST_CSV}. Mend: name the manifest, or say which corpus it is: "
            f"CORPUS:{path} with one of {', '.join(CORPORA)}."
        )
    return CorpusContent(read_manifest(path, keep_bad_rows=keep_bad_rows), {})


def open_data(
    spec: str | os.PathLike[str], *, hash_images: bool = True, keep_bad_rows: bool = False
) -> tuple[Sample, ...]:
    """Return the samples of what `open_content` opens, ready to be trained on.

    A manifest is taken at its word. Pictures of a corpus as published get the hash of their content as `image_group`,
    and those that stand twice, in two splits or under two labels are dropped (`splits.drop_overlaps`). What was dropped
    is logged, by reason.

    Args:
        spec: as for `open_content`.
        hash_images: False leaves the pictures of a corpus unread (B-T4SA has 63 GB of them) and so undeduplicated.
        keep_bad_rows: a manifest's row that cannot be used becomes a sample with its `problem`, for batches that go on.

    Raises:
        ParallelNetError: see `open_content`.
    """
    name, _ = _parts(spec)
    content = open_content(spec, keep_bad_rows=keep_bad_rows)
    samples, drops = content.samples, Counter(content.drops)
    if name and CORPORA[name].reader is not read_own and hash_images:
        samples, dropped = splits.drop_overlaps(with_image_groups(samples), target=CORPORA[name].target)
        drops.update(dropped)
    for reason, n in drops.items():
        logging.getLogger(__name__).info("%s: %d dropped: %s", spec, n, reason)
    return samples


def digest(spec: str | os.PathLike[str]) -> str:
    """Return the sha256 of a manifest's bytes, or the fingerprint of what `build tweets` made.

    "" for a corpus as published: there is no one file that says what it holds, its samples do.

    Raises:
        ManifestError: it cannot be read.
    """
    name, path = _parts(spec)
    if name:
        return ""
    if path.is_dir() and (path / MANIFEST_CSV).is_file():
        path /= MANIFEST_CSV
    elif built.is_built(path):
        return built.read_report(path).fingerprint
    return shards.file_sha256(path)


def file_hashes(paths: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of each file's bytes, each file read once.

    Raises:
        ManifestError: a file cannot be read.
    """
    distinct = sorted(set(paths))
    with ThreadPoolExecutor(max_workers=4) as pool:  # waiting for the disk, not the processor, is what takes time
        return dict(zip(distinct, pool.map(shards.file_sha256, distinct), strict=True))


def with_image_groups(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples with the sha256 of their picture's bytes as `image_group` where they have none.

    Raises:
        ManifestError: a picture cannot be read.
    """
    hashes = file_hashes(s.image for s in samples if s.image is not None and not s.image_group)
    return tuple(replace(s, image_group=s.image_group or hashes.get(s.image or "", "")) for s in samples)


def fingerprint(samples: Iterable[Sample], *, hashes: Mapping[str, str] | None = None) -> str:
    """Return the sha256 over what the samples hold: their fields and the bytes of their files, in their order.

    It depends on neither the names nor the place of the files, so a copied folder has the same fingerprint; columns
    that we do not know do not count. The order counts, since training with the same seed shuffles from it. A file
    that is not there counts as missing.

    Args:
        samples: with paths that can be opened.
        hashes: sha256 by path, where they are known already; None reads every file.
    """
    listed = list(samples)
    if hashes is None:
        paths = {p for s in listed for p in (s.speech, s.image) if p is not None}
        hashes = file_hashes(p for p in paths if Path(p).is_file())
    total = hashlib.sha256()
    for s in listed:
        files = [None if p is None else hashes.get(p, "missing") for p in (s.speech, s.image)]
        fields = [s.id, s.text, s.label, s.sentiment, s.split, s.fold, s.group, s.image_group, s.word_times]
        total.update(json.dumps([files, fields], ensure_ascii=False).encode() + b"\n")
    return total.hexdigest()
