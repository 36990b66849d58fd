from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parallelnet.data.dataset import read_corpus
from parallelnet.data.image_corpora import cache_root
from parallelnet.errors import ManifestError

Make = Callable[[Path], Path]
Table = Callable[[Path, list[list[object]]], Path]


def test_fer2013_in_folders(fer2013: Path, picture: Make) -> None:
    picture(fer2013 / "train" / "fear" / "0.png")
    picture(fer2013 / "test" / "disgust" / "0.png")
    picture(fer2013 / "stray.png")

    content = read_corpus("fer2013", fer2013)

    assert len(content.samples) == (10 + 2) * (1 + 2 + 3 + 4) + 1
    assert [(s.label, s.split) for s in content.samples if s.id == "test/disgust/0"] == [("hate", "test")]
    assert content.drops == {"label 'fear' is not used": 1, "not in a folder SPLIT/CLASS": 1}


def test_fer2013_by_the_packed_table(tmp_path: Path, picture: Make, table: Table) -> None:
    picture(tmp_path / "train" / "anger" / "Training_1.png")
    table(
        tmp_path / "metadata.csv",
        [["path", "label", "split"], ["train/anger/Training_1.png", "anger", "train"], ["gone.png", "sad", "train"]],
    )

    content = read_corpus("fer2013", tmp_path)

    assert [(s.id, s.label, s.split) for s in content.samples] == [("train/anger/Training_1", "anger", "train")]
    assert content.drops == {"file of the table is missing": 1}


def test_fer2013_from_its_csv_gives_the_pixels_back(
    tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 48, 48))
    text = [" ".join(map(str, rows.ravel())) for rows in pixels]
    usages = ["Training", "PublicTest", "PrivateTest", "Training", "Other"]
    rows = [
        ["emotion", "pixels", "Usage"],
        *([emotion, *row] for emotion, *row in zip("01327", text, usages, strict=True)),
    ]
    source = table(tmp_path / "fer" / "fer2013.csv", rows)

    content = read_corpus("fer2013", source.parent)

    assert [(s.label, s.split) for s in content.samples] == [
        ("anger", "train"),
        ("hate", "validation"),
        ("happy", "test"),
    ]
    for sample, expected in zip(content.samples, pixels, strict=False):
        assert Path(str(sample.image)).is_relative_to(cache_root())
        assert np.array_equal(np.asarray(Image.open(str(sample.image))), expected)
    assert content.drops == {"label 'fear' is not used": 1, "emotion is not 0 to 6": 1}
    assert list(source.parent.iterdir()) == [source]  # the corpus itself stays as it was
    assert read_corpus("fer2013", source) == content


def test_a_cut_fer2013_csv_names_its_row(tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = table(tmp_path / "fer2013.csv", [["emotion", "pixels", "Usage"], ["0", "1 2 3", "Training"]])

    with pytest.raises(ManifestError, match="row 1: pixels are not 2304 numbers from 0 to 255"):
        read_corpus("fer2013", source)


def test_fi_merges_eight_emotions_into_four(tmp_path: Path, picture: Make) -> None:
    names = ("amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sadness")
    for name in names:
        picture(tmp_path / name / f"{name}_1.jpg")
    picture(tmp_path / "test" / "anger" / "2.jpg")
    picture(tmp_path / "misc" / "3.jpg")

    content = read_corpus("fi", tmp_path)

    assert {s.id: (s.label, s.split) for s in content.samples} == {
        "amusement/amusement_1": ("happy", ""),
        "anger/anger_1": ("anger", ""),
        "contentment/contentment_1": ("happy", ""),
        "disgust/disgust_1": ("hate", ""),
        "excitement/excitement_1": ("happy", ""),
        "sadness/sadness_1": ("sad", ""),
        "test/anger/2": ("anger", "test"),
    }
    assert content.drops == {
        "label 'awe' is not used": 1,
        "label 'fear' is not used": 1,
        "not in a folder of FI's eight emotions": 1,
    }


def _mvsa(root: Path, picture: Make, lines: list[str], header: str) -> Path:
    (root / "data").mkdir(parents=True)
    (root / "labelResultAll.txt").write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    for line in lines:
        number = line.partition("\t")[0]
        picture(root / "data" / f"{number}.jpg")
        (root / "data" / f"{number}.txt").write_bytes(f"tweet {number} caf".encode() + b"\xe9")
    return root


def test_mvsa_single_merges_text_and_picture(tmp_path: Path, picture: Make) -> None:
    lines = ["1\tpositive,positive", "2\tneutral,negative", "3\tpositive,neutral", "4\tpositive,negative"]
    root = _mvsa(tmp_path / "MVSA_Single", picture, lines, "ID\ttext,image")
    (root / "data" / "3.jpg").unlink()

    content = read_corpus("mvsa", root)

    assert {s.id: (s.sentiment, s.text, s.label) for s in content.samples} == {
        "1": ("positive", "tweet 1 café", ""),  # latin-1, as some of the published files
        "2": ("negative", "tweet 2 café", ""),
    }
    assert content.drops == {"picture is missing": 1, "text and picture contradict each other": 1}


def test_mvsa_multiple_takes_the_majority_of_three(tmp_path: Path, picture: Make) -> None:
    lines = [
        "1\tpositive,neutral\tpositive,neutral\tnegative,positive",
        "2\tneutral,neutral\tneutral,neutral\tneutral,neutral",
        "3\tpositive,neutral\tneutral,neutral\tnegative,neutral",
        "4\tpositive,negative\tpositive,negative\tpositive,positive",
    ]
    root = _mvsa(tmp_path / "MVSA", picture, lines, "ID\ttext,image\ttext,image\ttext,image")

    content = read_corpus("mvsa", root)

    assert {s.id: s.sentiment for s in content.samples} == {"1": "positive", "2": "neutral"}
    assert content.samples[0].extra == {"text_sentiment": "positive", "image_sentiment": "neutral"}
    assert content.drops == {"annotators do not agree": 1, "text and picture contradict each other": 1}


def test_b_t4sa_joins_pictures_and_tweets(tmp_path: Path, picture: Make, table: Table) -> None:
    root = tmp_path / "b-t4sa_imgs"
    lists = {
        "train": ["data/75801/758014713804587008-1.jpg 2", "data/75801/758014713804587008-2.jpg 2"],
        "val": ["data/78476/784760943188189184-1.jpg 0", "data/78476/784760943188189185-1.jpg 7"],
        "test": ["data/00001/000010000000000000-1.jpg 1"],
    }
    for name, lines in lists.items():
        for line in lines:
            picture(root / line.split()[0])
        (root / f"b-t4sa_{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / lists["test"][0].split()[0]).unlink()
    table(
        tmp_path / "raw_tweets_text.csv",
        [["id", "text"], ["758014713804587008", "what a day,\nreally"], ["9", "of no picture here"]],
    )

    content = read_corpus("b-t4sa", root)

    assert [(s.id, s.sentiment, s.split, s.group, s.text) for s in content.samples] == [
        ("758014713804587008-1", "positive", "train", "758014713804587008", "what a day,\nreally"),
        ("758014713804587008-2", "positive", "train", "758014713804587008", "what a day,\nreally"),
        ("784760943188189184-1", "negative", "validation", "784760943188189184", ""),
    ]
    assert content.drops == {"sentiment is not 0, 1 or 2": 1, "picture is missing": 1}


@pytest.mark.parametrize(("name", "message"), [("mvsa", "has no labelResultAll.txt"), ("b-t4sa", "b-t4sa_train.txt")])
def test_a_folder_that_is_not_the_corpus_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_corpus(name, tmp_path)
