import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from parallelnet.data import rows as module
from parallelnet.data.tables import column_name, inside, open_table, read_table, storable, tidy
from parallelnet.errors import ManifestError


def values(path: Path, **options: Any) -> list[Mapping[str, Any]]:
    return [row for _, row in read_table(path, **options)]


def test_a_csv_with_byte_order_mark_and_a_line_break_inside_quotes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('﻿id,text\n1,"two\nlines, one field"\n\n2,ü\n'.encode())

    assert open_table(path).columns == ("id", "text")
    assert values(path) == [{"id": "1", "text": "two\nlines, one field"}, {"id": "2", "text": "ü"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"id,speech\n", "has no rows"),
        ("a.csv", b"id,speech\n1,a.wav\n2,b.wav,more\n", r"row 2 \(line 3\): 3 fields where the header has 2"),
        ("a.csv", b'id,speech\n1,a.wav\n2,"b.wav\n', r"row 2 \(line 3\): a quote is opened and not closed"),
        ("a.csv", b"i,d,x\0\n", "is not text that can be read as csv"),
        ("a.csv", b"\xef\xbb\xbfsep=;\n", "holds blank lines only"),
        ("a.csv", b"id,id\n1,2\n", "names its column 'id' twice"),
        ("a.csv", b"ID,id \n1,2\n", "names its column 'id' twice"),
        ("a.jsonl", b'{"id": 1}\n{"id": \n', r"row 2 \(line 2\): broken JSON"),
        ("a.jsonl", b'{"id": 1}\n{"id": 1, "id": 2}\n', r"row 2 \(line 2\): names 'id' twice"),
        ("a.jsonl", b'{"id": 1}\n{"id": 1, "Id ": 2}\n', "row 2 .*differ in case or space only"),
        ("a.jsonl", b'{"id": 1}\n{"id": "a\\u0000"}\n', "row 2 .*'id' holds a NUL"),
        ("a.jsonl", b"[1, 2]\n", r"is no JSON Lines: .*\(no JSON object but list\)"),
        ("a.json", b"[" * 100_000, r"is no JSON Lines: .*\(lists or objects nested too deeply\)"),
        ("a.json", b'[{"id": 1}, {"id": 2', "row 2: broken JSON from here on: "),
        ("a.json", b'[{"id": 1},', "row 2: broken JSON from here on: the list does not end"),
        ("a.parquet", b"PAR1 cut off", "is no whole Parquet file"),
        ("a.xlsx", b"x", r"Allowed endings: \.csv, \.tsv, \.txt, \.jsonl, "),
    ],
)
def test_a_broken_table_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")

    with pytest.raises(ManifestError, match=message) as refusal:
        read_table(path, known=("id",))

    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


TABLE = [["Id", " größe"], ["1", "ä; |"], ["2", "zwei"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("name", ["a.csv", "a.TSV", "a.txt"])
def test_a_csv_is_read_however_it_was_saved(tmp_path: Path, encoding: str, end: str, delimiter: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes("".join(delimiter.join(row) + end for row in TABLE).encode(encoding))

    assert values(path, known=("id",)) == [{"id": "1", "größe": "ä; |"}, {"id": "2", "größe": "zwei"}]


@pytest.mark.parametrize(
    "text",
    [
        "id;text\r\n1;a,b\r\n",
        "sep=;\r\nid;text\r\n1;a,b\r\n",
        '"sep=^"\nid^text\n1^a,b\n',
        ',id,text,,\n0,1,"a,b",,\n,,,,\n',
        'id,text\n1,"a,b",,\n\n  \n',
        'ID\u00a0,\u200btext\n1,"a,b"\n',
    ],
)
def test_what_spreadsheets_add_is_no_part_of_a_row(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")

    assert values(tmp_path / "a.csv", known=("id", "text")) == [{"id": "1", "text": "a,b"}]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_list_is_read_as_its_objects(
    tmp_path: Path, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 100)  # so that objects lie across what is read at once
    rows = [{"id": n, "text": "x" * n} for n in range(60)]
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(rows, indent=indent), encoding="utf-8")

    assert values(tmp_path / "a.json") == rows


def test_numbers_and_text_that_nothing_can_hold_are_text_that_can(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": ' + "9" * 5000 + ', "text": "half \\ud83d"}\n', encoding="utf-8")

    assert values(tmp_path / "a.jsonl") == [{"id": "9" * 5000, "text": "half \ufffd"}]


def test_cells_of_parquet_that_cannot_be_read_cost_their_row(tmp_path: Path) -> None:
    strings = pyarrow.array([b"ok", b"\xff", b"fine"]).view(pyarrow.string())
    times = pyarrow.array([0, 0, 2**62], pyarrow.timestamp("us"))
    parquet.write_table(pyarrow.table({"Speech": strings, "when": times}), tmp_path / "a.parquet")

    first, *bad = open_table(tmp_path / "a.parquet", known=("speech",)).read(())

    assert (first.values["speech"], first.problem) == ("ok", "")
    assert [row.problem.partition(":")[0] for row in bad] == ["'Speech' cannot be read", "'when' cannot be read"]


def test_numbered_classes_of_hugging_face_get_their_names(tmp_path: Path) -> None:
    features = {"label": {"names": ["happy", "sad"], "_type": "ClassLabel"}, "n": {"_type": "Value"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pyarrow.table({"label": [0, 1, -1, 7], "n": [0, 1, 2, 3]}).replace_schema_metadata(metadata)
    parquet.write_table(table, tmp_path / "a.parquet")

    rows = values(tmp_path / "a.parquet")
    assert [(row["label"], row["n"]) for row in rows] == [("happy", 0), ("sad", 1), (None, 2), (None, 3)]


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"There is no file .*none\.csv"):
        read_table(tmp_path / "none.csv")


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,label\nx,y\n", encoding="utf-8")

    with pytest.raises(ManifestError, match="has no column 'emotion'; it has: file, label"):
        read_table(tmp_path / "a.csv", "file", "emotion")


@pytest.mark.parametrize(
    "value", ["../a.wav", "a/../../b.wav", "/etc/passwd", "C:\\a.wav", "\\\\host\\a.wav", "a\\..\\b.wav", "a\0.wav"]
)
def test_a_path_that_leaves_its_folder_is_refused(value: str) -> None:
    with pytest.raises(ManifestError, match=r"x\.csv, row 3: path .* leaves its folder"):
        inside(Path("data"), value, "x.csv, row 3")


def test_a_path_of_any_length_makes_a_short_error() -> None:
    for value in ("../" + "a" * 100_000, "a" * 100_000):
        with pytest.raises(ManifestError) as refusal:
            inside(Path("data"), value, "row 3")
        assert len(str(refusal.value)) < 400


def test_a_path_inside_is_joined_with_its_folder() -> None:
    assert inside(Path("data"), "a/..b/c d.wav", "row") == str(Path("data") / "a" / "..b" / "c d.wav")


@pytest.mark.parametrize(
    "text",
    [
        "très  sûr",
        " très sûr\n",
        "\u200btrès\u00a0sûr\ufeff",
        "tre\u0300s su\u0302r",
        "\u200dtrès sûr\u200c",
        "tr\u00adès sûr",
    ],
)
def test_what_nobody_sees_makes_no_other_name(text: str) -> None:
    assert tidy(text) == "très sûr"


def test_a_joiner_inside_a_word_stays() -> None:
    assert tidy("👨\u200d👩") == "👨\u200d👩"


@pytest.mark.parametrize(
    "name", ["image_group", "Image Group", "image-group", " IMAGE_GROUP\u00a0", "\ufeffimage_group"]
)
def test_a_known_column_is_found_however_it_is_written(name: str) -> None:
    assert column_name(name, frozenset(("image_group",))) == "image_group"


def test_an_unknown_column_keeps_its_name() -> None:
    assert column_name(" My-Column ", frozenset(("id",))) == "My-Column"


def test_lone_surrogates_become_storable() -> None:
    assert storable("a\ud83db") == "a\ufffdb"
    assert storable("\ud83d\ude00") == "😀"  # a pair that JSON wrote as two escapes
    assert storable("😀 é") == "😀 é"
