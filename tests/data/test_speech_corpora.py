import json
from collections.abc import Callable
from pathlib import Path

import pytest

from parallelnet.data.dataset import read_corpus
from parallelnet.errors import ManifestError

Make = Callable[[Path], Path]
Table = Callable[[Path, list[list[object]]], Path]


def test_ravdess_by_its_original_names(ravdess: Path, wav: Make) -> None:
    wav(ravdess / "Actor_01" / "03-02-03-01-01-01-01.wav")  # a song
    wav(ravdess / "Actor_01" / "03-01-09-01-01-01-01.wav")  # there is no ninth emotion
    wav(ravdess / "Actor_01" / "notes.wav")
    wav(ravdess / "Actor_01" / "._03-01-03-01-01-01-01.wav")  # what macOS leaves behind

    content = read_corpus("ravdess", ravdess)

    assert len(content.samples) == 10 * 4 * 2
    assert content.drops == {
        "label 'neutral' is not used": 20,
        "not spoken sound (song or video)": 1,
        "file name has a number outside RAVDESS's table": 1,
        "file name is not RAVDESS's seven numbers": 1,
    }
    disgust = next(s for s in content.samples if s.id == "03-01-07-01-02-01-10")
    assert (disgust.label, disgust.group, disgust.text) == ("hate", "actor_10", "dogs are sitting by the door")
    assert disgust.extra == {"intensity": "normal", "sex": "female"}
    assert Path(str(disgust.speech)).is_file()


def test_all_classes_of_ravdess_can_be_kept(ravdess: Path) -> None:
    content = read_corpus("ravdess", ravdess, labels={"neutral": "neutral", "angry": "angry"})

    assert {sample.label for sample in content.samples} == {"neutral", "angry"}
    assert sum(content.drops.values()) == 60


def test_ravdess_by_the_packed_table(tmp_path: Path, wav: Make, table: Table) -> None:
    wav(tmp_path / "actor_01" / "03-01-05-01-01-01.wav")
    rows = [
        ["path", "label", "speaker", "transcript", "intensity"],
        ["actor_01/03-01-05-01-01-01.wav", "anger", "actor_01", "kids are talking", "strong"],
        ["actor_01/gone.wav", "anger", "actor_01", "kids are talking", "normal"],
    ]
    table(tmp_path / "metadata.csv", rows)

    content = read_corpus("ravdess", tmp_path)

    (sample,) = content.samples
    assert (sample.label, sample.group, sample.extra) == (
        "anger",
        "actor_01",
        {"intensity": "strong", "sex": "male"},
    )
    assert content.drops == {"file of the table is missing": 1}


def test_iemocap_takes_session_and_gender_of_the_turn(tmp_path: Path, wav: Make) -> None:
    session = tmp_path / "Session2"
    turns = {
        "Ses02F_impro01_F000": "hap",
        "Ses02F_impro01_M000": "exc",
        "Ses02F_impro01_MXX0": "xxx",
        "Ses02M_script01_1_F003": "dis",
        "Ses02M_script01_1_M004": "ang",  # its sound is missing
    }
    for turn in list(turns)[:4]:
        wav(session / "sentences" / "wav" / turn.rpartition("_")[0] / f"{turn}.wav")
    for dialog in ("Ses02F_impro01", "Ses02M_script01_1"):
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        for turn, emotion in turns.items():
            if turn.startswith(dialog):
                lines += [f"[6.2901 - 8.2357]\t{turn}\t{emotion}\t[2.5000, 2.5000, 2.5000]", "C-E2:\tNeutral;\t()", ""]
        target = session / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines), encoding="utf-8")
    (session / "dialog" / "EmoEvaluation" / "._Ses02F_impro01.txt").write_bytes(b"\x00\x05\x16\x07")
    transcripts = session / "dialog" / "transcriptions"
    transcripts.mkdir()
    (transcripts / "Ses02F_impro01.txt").write_text(
        "Ses02F_impro01_F000 [006.2901-008.2357]: Excuse me.\n", encoding="utf-8"
    )

    content = read_corpus("iemocap", tmp_path)

    assert {s.id: (s.label, s.group, s.fold) for s in content.samples} == {
        "Ses02F_impro01_F000": ("happy", "Ses02F", 1),
        "Ses02F_impro01_M000": ("happy", "Ses02M", 1),
        "Ses02M_script01_1_F003": ("hate", "Ses02F", 1),
    }
    assert content.samples[0].text == "Excuse me."
    assert content.drops == {"label 'xxx' is not used": 1, "sound of the turn is missing": 1}


def test_crema_d_reads_wav_only_and_knows_its_odd_file(tmp_path: Path, wav: Make) -> None:
    for name in ("1001_DFA_ANG_XX", "1002_IEO_DIS_HI", "1003_TSI_FEA_LO", "1040_ITH_SAD_X", "summary"):
        wav(tmp_path / "AudioWAV" / f"{name}.wav")
    wav(tmp_path / "AudioMP3" / "1001_DFA_ANG_XX.mp3")

    content = read_corpus("crema-d", tmp_path)

    found = {s.id: (s.label, s.group, s.extra["intensity"]) for s in content.samples}
    assert found == {
        "1001_DFA_ANG_XX": ("anger", "1001", ""),
        "1002_IEO_DIS_HI": ("hate", "1002", "high"),
        "1040_ITH_SAD_X": ("sad", "1040", ""),
    }
    assert content.samples[0].text == "don't forget a jacket"
    assert str(content.samples[0].speech).endswith(".wav")
    assert content.drops == {
        "label 'fear' is not used": 1,
        "file name is not CREMA-D's actor_sentence_emotion_intensity": 1,
    }


def test_emodb_reads_the_letter_of_the_german_word(tmp_path: Path, wav: Make) -> None:
    for name in ("03a01Fa", "08b02Wc", "09a05Eb", "10a07Ta", "11a02La", "03a01F"):
        wav(tmp_path / "wav" / f"{name}.wav")

    content = read_corpus("emodb", tmp_path)

    assert {s.id: (s.label, s.group) for s in content.samples} == {
        "03a01Fa": ("happy", "03"),
        "08b02Wc": ("anger", "08"),
        "09a05Eb": ("hate", "09"),
        "10a07Ta": ("sad", "10"),
    }
    assert content.drops["label 'bored' is not used"] == 1
    assert sum(content.drops.values()) == 2


def test_tess_counts_its_copy_inside_itself(tmp_path: Path, wav: Make) -> None:
    for root in (tmp_path, tmp_path / "TESS Toronto emotional speech set data"):
        wav(root / "OAF_angry" / "OAF_back_angry.wav")
        wav(root / "YAF_pleasant_surprised" / "YAF_back_ps.wav")
    wav(tmp_path / "OAF_Sad" / "OA_bite_sad.wav")  # the F is missing as in OA_bite_neutral.wav

    content = read_corpus("tess", tmp_path)

    assert {s.id: (s.label, s.group, s.text) for s in content.samples} == {
        "OAF_back_angry": ("anger", "OAF", "say the word back"),
        "OA_bite_sad": ("sad", "OAF", "say the word bite"),
    }
    assert content.drops == {"stands twice in the corpus": 2, "label 'ps' is not used": 1}


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
