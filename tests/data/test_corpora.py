import json
from pathlib import Path

import pytest

from parallelnet.data.corpora import CORPORA, list_corpora, read_corpus
from parallelnet.errors import ManifestError, OptionError
from parallelnet.types import EMOTIONS, SENTIMENTS


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
