"""Readers of picture corpora as they are published: a folder in, samples with the corpus's own labels out.

A reader parses names and tables and decodes nothing (but for FER-2013's original csv, whose pictures are no files).
What it leaves out it counts in `drops`, by reason.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from .. import records
from ..errors import ManifestError, refuse
from ..types import Sample
from .rows import any_text, csv_rows, read_lines
from .tables import PACKED_TABLE, files_below, inside, left_out, packed_files, read_table

IMAGE_SUFFIXES: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".heic")

# `emotion` and `Usage` of the original csv, and our name of that split
FER2013_EMOTIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FER2013_USAGES: dict[str, str] = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}

SPLIT_FOLDERS: dict[str, str] = {  # what people call the folders of their splits, and our name
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    "test": "test",
}

FI_CLASSES: tuple[str, ...] = ("amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sadness")

# What stands in `b-t4sa_*.txt`, and our name of that split.
B_T4SA_SPLITS: dict[str, str] = {"train": "train", "val": "validation", "test": "test"}
B_T4SA_SENTIMENTS: dict[str, str] = {"0": "negative", "1": "neutral", "2": "positive"}

MVSA_LABELS = "labelResultAll.txt"


def cache_root() -> Path:
    """Return where pictures go that had to be converted: below `XDG_CACHE_HOME`, by default `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parallelnet"


def read_fer2013(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the pictures of FER-2013 (Goodfellow et al. 2013, arXiv 1307.0414) with their split.

    One of: the packed table `metadata.csv` (path, label, split); folders `train|validation|test/CLASS/*.jpg`; the
    original csv (`emotion,pixels,Usage`, as `fer2013.csv` in the folder or named itself). Training is `train`,
    PublicTest `validation`, PrivateTest `test`. The pixels of the csv are written as PNG once, into a folder of
    `cache_root()` named after the csv's sha256: the corpus itself may be read-only.
    """
    original = root if root.is_file() else root / "fer2013.csv"
    if original.is_file():
        yield from _read_fer2013_csv(original, drops)
    elif (root / PACKED_TABLE).is_file():
        for path, row in packed_files(root, drops, "split"):
            yield _picture(root, path, row["label"], row["split"])
    else:
        for path in files_below(root, IMAGE_SUFFIXES):
            parts = path.relative_to(root).parts
            split = SPLIT_FOLDERS.get(parts[0].lower(), "")
            if not left_out(drops, {"not in a folder SPLIT/CLASS": len(parts) != 3 or not split}):
                yield _picture(root, path, parts[1], split)


def _picture(root: Path, path: Path, label: str, split: str) -> Sample:
    name = path.relative_to(root).with_suffix("").as_posix()
    return Sample(id=name, image=str(path), label=label.lower(), split=split)


def _read_fer2013_csv(source: Path, drops: Counter[str]) -> Iterator[Sample]:
    import numpy as np
    from PIL import Image

    rows = read_table(source, "emotion", "pixels", "Usage")
    folder = cache_root() / f"fer2013-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    emotions = {str(number): name for number, name in enumerate(FER2013_EMOTIONS)}
    for index, (where, row) in enumerate(rows):
        label, split = emotions.get(row["emotion"], ""), FER2013_USAGES.get(row["Usage"], "")
        odd = {"emotion is not 0 to 6": not label, "usage is none of Training, PublicTest, PrivateTest": not split}
        if not left_out(drops, odd):
            path = folder / f"{row['Usage']}_{index:05d}.png"
            if not path.is_file():
                try:
                    values = np.array(row["pixels"].split(), dtype=np.uint8).reshape(48, 48)
                except (ValueError, OverflowError):
                    raise ManifestError(
                        f"{where}: pixels are not 2304 numbers from 0 to 255. The csv may have been cut off; copy it "
                        "again."
                    ) from None
                records.write_whole(path, partial(Image.fromarray(values).save, format="PNG"), sync=False)
            yield Sample(id=path.stem, image=str(path), label=label, split=split)


def read_fi(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the pictures of FI, Flickr and Instagram (You et al. 2016, arXiv 1605.02677).

    Folders of the eight emotions (`amusement/*.jpg`, ...), below folders train, val, test where the copy is split.
    """
    for path in files_below(root, IMAGE_SUFFIXES):
        *_, before, label, _ = ("", "", *path.relative_to(root).parts)
        if not left_out(drops, {"not in a folder of FI's eight emotions": label.lower() not in FI_CLASSES}):
            yield _picture(root, path, label, SPLIT_FOLDERS.get(before.lower(), ""))


def read_mvsa(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the tweets of MVSA-Single and MVSA-Multiple (Niu et al. 2016, doi 10.1007/978-3-319-27674-8_2).

    `data/ID.txt`, `data/ID.jpg` and `labelResultAll.txt`: a header, then `ID`, tab, `text,image` sentiment, once for
    MVSA-Single and once an annotator (three) for MVSA-Multiple. As everybody does since Xu and Mao 2017 (doi
    10.1145/3132847.3133142): at least two of three annotators must agree on the text and on the picture; where text
    and picture differ, neutral gives way; positive against negative is dropped.
    """
    for number, text_sentiment, image_sentiment in mvsa_lines(root):
        path, words = root / "data" / f"{number}.jpg", root / "data" / f"{number}.txt"
        sentiment, why_none = mvsa_sentiment(text_sentiment, image_sentiment)
        is_there = number.isdigit() and path.is_file()
        if not left_out(drops, {why_none: why_none, "picture is missing": not is_there}):
            yield Sample(
                id=number,
                image=str(path),
                text=any_text(words.read_bytes()).strip() if words.is_file() else "",
                sentiment=sentiment,
                extra={"text_sentiment": text_sentiment, "image_sentiment": image_sentiment},
            )


def mvsa_lines(root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield ID, sentiment of the text and sentiment of the picture ("" where annotators disagree) of each tweet."""
    source = root / MVSA_LABELS
    if not source.is_file():
        raise ManifestError(f"{root} has no {MVSA_LABELS}. Expected: the folder that holds it and data/.")
    for _, line in islice(read_lines(source), 1, None):
        number, *votes = line.strip().split("\t")
        if number:
            texts, pictures = ([vote.partition(",")[at] for vote in votes] for at in (0, 2))
            yield number, _majority(texts), _majority(pictures)


def mvsa_sentiment(text_sentiment: str, image_sentiment: str) -> tuple[str, str]:
    """Return the sentiment of a tweet from that of its text and its picture, and why it has none or ""."""
    either = {text_sentiment, image_sentiment}
    whys = {
        "annotators do not agree": "" in either,
        "text and picture contradict each other": either == {"positive", "negative"},
    }
    why_none = next((why for why, holds in whys.items() if holds), "")
    return "" if why_none else next(iter(either - {"neutral"}), "neutral"), why_none


def _majority(votes: list[str]) -> str:
    """Return what more than half of the annotators chose, or ""."""
    best, n = Counter(vote.strip() for vote in votes).most_common(1)[0] if votes else ("", 0)
    return best if 2 * n > len(votes) else ""


def read_b_t4sa(root: Path, drops: Counter[str]) -> Iterator[Sample]:
    """Yield the pictures of B-T4SA (Vadicamo et al. 2017, http://www.t4sa.it) with their tweets.

    `b-t4sa_train.txt`, `b-t4sa_val.txt`, `b-t4sa_test.txt`, as `b-t4sa_imgs.tar` unpacks them: a line is
    `data/75801/758014713804587008-1.jpg 2`, path and sentiment (0 negative, 1 neutral, 2 positive). Texts come from
    `raw_tweets_text.csv` (id, text) in the same folder or the one above, where it is. The group is the tweet: it may
    have several pictures. The sentiments are those of a text classifier, not of people.
    """
    found = []
    for split, where, name, sentiment in b_t4sa_lines(root):
        path = Path(inside(root, name, where))
        unknown = sentiment not in B_T4SA_SENTIMENTS
        odd = {"sentiment is not 0, 1 or 2": unknown, "picture is missing": not path.is_file()}
        if name and not left_out(drops, odd):
            found.append((path, B_T4SA_SENTIMENTS[sentiment], split, path.stem.partition("-")[0]))
    wanted = {tweet for *_, tweet in found}
    texts = {tweet: text for tweet, text in b_t4sa_texts(root) or () if tweet in wanted}  # of seven times as many
    for path, sentiment, split, tweet in found:
        text = texts.get(tweet, "")
        yield Sample(id=path.stem, image=str(path), text=text, sentiment=sentiment, split=split, group=tweet)


def b_t4sa_lines(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield split, how errors name the line, picture path and sentiment (as found) of each line of the lists."""
    lists = {split: root / f"b-t4sa_{name}.txt" for name, split in B_T4SA_SPLITS.items()}
    told = f"{root} has none of {', '.join(path.name for path in lists.values())}."
    found = {split: path for split, path in lists.items() if path.is_file()}
    refuse(ManifestError, [(not found, f"{told} Expected: what b-t4sa_imgs.tar unpacks.")])
    for split, source in found.items():
        for number, line in read_lines(source):
            name, _, sentiment = line.strip().rpartition(" ")
            if name or sentiment:
                yield split, f"{source}, row {number}", name, sentiment


def b_t4sa_texts(root: Path) -> Iterator[tuple[str, str]] | None:
    """Return tweet and text of each row of T4SA's texts, in the folder of the pictures or the one above, if there."""
    sources = (root / "raw_tweets_text.csv", root.parent / "raw_tweets_text.csv")
    found = [(row.values for row in csv_rows(read_lines(s), ",", 2) if not row.problem) for s in sources if s.is_file()]
    return found[0] if found else None
