import json
from collections.abc import Callable
from pathlib import Path

import pytest

from parallelnet.data.corpora import read_corpus
from parallelnet.errors import ManifestError

Make = Callable[[Path], Path]
Table = Callable[[Path, list[list[object]]], Path]


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


def _emobox(tmp_path: Path, wav: Make) -> Path:
    """Write EmoBox's own tree: data/CORPUS beside downloads/CORPUS."""
    root = tmp_path / "data" / "aesdd"
    rows = []
    for key, code in (("a1", "a"), ("h1", "h"), ("f1", "f"), ("s1", "s")):
        wav(tmp_path / "downloads" / "aesdd" / f"{key} (5).wav")
        rows.append(
            {
                "key": f"aesdd-{key}", "dataset": "aesdd", "wav": f"downloads/aesdd/{key} (5).wav", "type": "raw",
                "sample_rate": 44100, "length": 3.2, "task": "category", "emo": code, "channel": 1,
            }
        )  # fmt: skip
    rows.append({**rows[0], "key": "aesdd-a2", "wav": "downloads/aesdd/gone.wav"})
    rows.append({**rows[0], "key": "aesdd-a3", "start_time": 0.5, "end_time": 1.0})
    for fold, chosen in ((1, rows[:2]), (2, rows[2:4])):
        path = root / f"fold_{fold}" / f"aesdd_test_fold_{fold}.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{json.dumps(row)}\n" for row in chosen), encoding="utf-8")
    (root / "aesdd.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    names = {"a": "Angry", "h": "Happy", "f": "Fear", "s": "Sad"}
    (root / "label_map.json").write_text(json.dumps(names), encoding="utf-8")
    return root


def test_emobox_with_its_label_map_and_folds(tmp_path: Path, wav: Make) -> None:
    content = read_corpus("emobox", _emobox(tmp_path, wav))

    assert {s.id: (s.label, s.fold) for s in content.samples} == {
        "aesdd-a1": ("anger", 0),
        "aesdd-h1": ("happy", 0),
        "aesdd-s1": ("sad", 1),
    }
    assert content.drops == {
        "label 'fear' is not used": 1,
        "sound is missing": 1,
        "a part of a longer recording": 1,
    }


def test_one_fold_file_of_emobox_finds_the_sounds_above_it(tmp_path: Path, wav: Make) -> None:
    root = _emobox(tmp_path, wav)

    content = read_corpus("emobox", root / "fold_1" / "aesdd_test_fold_1.jsonl")

    assert [s.label for s in content.samples] == ["anger", "happy"]


def test_an_emobox_row_may_not_climb_out(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"key": "1", "wav": "../secret.wav", "emo": "sad"}\n', encoding="utf-8")

    with pytest.raises(ManifestError, match=r"row 1: path '\.\./secret\.wav' leaves its folder"):
        read_corpus("emobox", tmp_path / "x.jsonl")


def test_nkululeko_csv(tmp_path: Path, wav: Make, table: Table) -> None:
    for name in ("1", "2", "3", "4"):
        wav(tmp_path / "audio" / f"{name}.wav")
    rows = [
        ["file", "start", "end", "speaker", "gender", "emotion"],
        ["audio/1.wav", "0 days", "", "anna", "female", "anger"],
        ["audio/2.wav", "0 days 00:00:00", "NaT", "bob", "male", "Happiness"],
        ["audio/3.wav", "0 days 00:00:01", "0 days 00:00:02", "bob", "male", "anger"],
        ["audio/4.wav", "0 days", "", "bob", "male", "neutral"],
        ["audio/gone.wav", "0 days", "", "bob", "male", "sad"],
    ]
    table(tmp_path / "db.csv", rows)

    content = read_corpus("nkululeko", tmp_path)

    assert [(s.id, s.label, s.group, s.extra) for s in content.samples] == [
        ("audio/1.wav", "anger", "anna", {"gender": "female"}),
        ("audio/2.wav", "happy", "bob", {"gender": "male"}),
    ]
    assert content.drops == {
        "a part of a longer recording": 1,
        "label 'neutral' is not used": 1,
        "sound is missing": 1,
    }


def test_nkululeko_without_its_columns_is_refused(tmp_path: Path, table: Table) -> None:
    source = table(tmp_path / "db.csv", [["path", "emotion"], ["a.wav", "sad"]])

    with pytest.raises(ManifestError, match="has no column 'file'; it has: path, emotion"):
        read_corpus("nkululeko", source)


def test_two_csv_files_are_ambiguous(tmp_path: Path, table: Table) -> None:
    for name in ("train", "test"):
        table(tmp_path / f"{name}.csv", [["file", "emotion"], ["a.wav", "sad"]])

    with pytest.raises(ManifestError, match="holds 2 csv files; needed: one"):
        read_corpus("nkululeko", tmp_path)


def test_our_manifest_keeps_its_labels(tmp_path: Path, table: Table) -> None:
    table(tmp_path / "manifest.csv", [["speech", "label"], ["a.wav", "calm"]])

    assert [s.label for s in read_corpus("manifest", tmp_path).samples] == ["calm"]
