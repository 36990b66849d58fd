import json
from collections.abc import Callable
from pathlib import Path

import pytest

from parallelnet.data.dataset import CORPORA, list_corpora, read_corpus
from parallelnet.errors import ManifestError, OptionError
from parallelnet.types import EMOTIONS, SENTIMENTS

Make = Callable[[Path], Path]
Table = Callable[[Path, list[list[object]]], Path]


def test_every_entry_says_what_it_is() -> None:
    for name, corpus in CORPORA.items():
        assert corpus.name == name
        assert corpus.reader.__doc__
        allowed = EMOTIONS if corpus.target == "label" else SENTIMENTS
        assert set((corpus.labels or {}).values()) <= set(allowed)
        assert corpus.classes == (tuple(allowed) if corpus.labels else ())


def test_the_papers_label_maps() -> None:
    assert CORPORA["iemocap"].labels == {"ang": "anger", "hap": "happy", "exc": "happy", "dis": "hate", "sad": "sad"}
    fi = CORPORA["fi"].labels or {}
    assert [fi.get(name) for name in ("amusement", "contentment", "excitement", "awe", "fear")] == [
        "happy",
        "happy",
        "happy",
        None,
        None,
    ]


def test_the_list_is_plain_and_says_the_layout() -> None:
    listed = json.loads(json.dumps(list_corpora()))

    assert [record["name"] for record in listed] == list(CORPORA)
    for record in listed:
        assert set(record) == {"name", "title", "modality", "target", "classes", "labels", "layout"}
        assert len(record["layout"]) > 40
        assert "\n" not in record["layout"]


def test_an_unknown_corpus_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"Unknown corpus 'ravdes'\. Did you mean 'ravdess'\?"):
        read_corpus("ravdes", tmp_path)


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_an_empty_folder_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError) as refusal:
        read_corpus(name, tmp_path)

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_a_missing_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match=f"There is no .* to read {name} from"):
        read_corpus(name, tmp_path / "none")


def test_a_folder_a_class_holds_speech_and_pictures(tmp_path: Path, wav: Make, picture: Make) -> None:
    wav(tmp_path / "Joy" / "anna" / "1.wav")
    wav(tmp_path / "test" / "sadness" / "2.flac")
    picture(tmp_path / "val" / "disgust" / "3.jpg")
    picture(tmp_path / "boredom" / "4.jpg")
    picture(tmp_path / "5.jpg")

    content = read_corpus("folder", tmp_path)

    assert {s.id: (s.label, s.split, s.group) for s in content.samples} == {
        "Joy/anna/1.wav": ("happy", "", "anna"),
        "test/sadness/2.flac": ("sad", "test", ""),
        "val/disgust/3.jpg": ("hate", "validation", ""),
    }
    assert [s.image is None for s in content.samples] == [True, True, False]
    assert content.drops == {"label 'boredom' is not used": 1, "not in a folder CLASS or CLASS/SPEAKER": 1}


@pytest.mark.parametrize("hidden", ["__MACOSX", ".git", "@eaDir", "Joy/.ipynb_checkpoints"])
def test_what_a_system_puts_beside_the_files_is_no_sample(tmp_path: Path, picture: Make, hidden: str) -> None:
    picture(tmp_path / "Joy " / "anna" / "1.jpg")
    picture(tmp_path / hidden / "Joy" / "2.jpg")
    picture(tmp_path / "Joy " / "anna" / "._1.jpg")
    (tmp_path / "Joy " / "Thumbs.db").touch()

    content = read_corpus("folder", tmp_path)

    assert [(s.label, s.group) for s in content.samples] == [("happy", "anna")]
    assert not content.drops


def test_our_manifest_keeps_its_labels(tmp_path: Path, table: Table) -> None:
    table(tmp_path / "manifest.csv", [["speech", "label"], ["a.wav", "calm"]])

    assert [s.label for s in read_corpus("manifest", tmp_path).samples] == ["calm"]
