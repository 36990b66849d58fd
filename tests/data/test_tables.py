from pathlib import Path

import pytest

from parallelnet.data.tables import inside, read_table
from parallelnet.errors import ManifestError


def test_a_csv_with_byte_order_mark_and_a_line_break_inside_quotes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('﻿id,text\n1,"two\nlines, one field"\n\n2,ü\n'.encode())

    table = read_table(path)

    assert table.columns == ("id", "text")
    assert table.rows == ({"id": "1", "text": "two\nlines, one field"}, {"id": "2", "text": "ü"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"id,speech\n", "has no rows"),
        ("a.csv", b"id,speech\n1,a.wav\n2,b.wav,more\n", r"row 2 \(line 3\) has 3 fields where the header has 2"),
        ("a.csv", b'id,speech\n1,a.wav\n2,"b.wav\n', "is broken csv after row 1"),
        ("a.csv", b"id,id\n1,2\n", "names its column 'id' twice"),
        ("a.csv", b"id,text\n1,\xff\xfe\n", "is not utf-8"),
        ("a.jsonl", b'{"id": 1}\n{"id": \n', "row 2 is broken JSON"),
        ("a.jsonl", b"[1, 2]\n", "line 1 is no JSON object but list"),
        ("a.parquet", b"PAR1 cut off", "is no whole Parquet file"),
        ("a.xlsx", b"x", r"Allowed endings: \.csv, \.jsonl, \.parquet"),
    ],
)
def test_a_broken_table_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")

    with pytest.raises(ManifestError, match=message) as refusal:
        read_table(path)

    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"There is no file .*none\.csv"):
        read_table(tmp_path / "none.csv")


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,label\nx,y\n", encoding="utf-8")

    with pytest.raises(ManifestError, match="has no column 'emotion'; it has: file, label"):
        read_table(tmp_path / "a.csv").require("file", "emotion")


@pytest.mark.parametrize(
    "value", ["../a.wav", "a/../../b.wav", "/etc/passwd", "C:\\a.wav", "\\\\host\\a.wav", "a\\..\\b.wav", "a\0.wav"]
)
def test_a_path_that_leaves_its_folder_is_refused(value: str) -> None:
    with pytest.raises(ManifestError, match=r"x\.csv, row 3: path .* leaves its folder"):
        inside(Path("data"), value, "x.csv, row 3")


def test_a_path_inside_is_joined_with_its_folder() -> None:
    assert inside(Path("data"), "a/..b/c d.wav", "row") == str(Path("data") / "a" / "..b" / "c d.wav")
