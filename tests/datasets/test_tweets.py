"""Tweets from tables and corpora, as others keep them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from parallelnet.data.shards import Example
from parallelnet.datasets.tweets import detect_format, read_tweets
from parallelnet.errors import ManifestError


def read(source: Path, labels: str = "emotion", **options: object) -> list[Example]:
    return list(read_tweets(source, labels=labels, **options))


def written(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def brief(rows: list[Example]) -> list[tuple[str, str, str]]:
    return [(row.id, row.text, row.reason) for row in rows]


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_with_any_separator(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [
        ["Tweet ID", "Full-Text", "Image Path", "Sentiment"],
        ["7", f'"héllo{delimiter} world"', "pics/a.jpg", "POS"],
        ["8", "two", "b.jpg", "neutral"],
    ]
    source = written(tmp_path / "x.csv", "\n".join(map(delimiter.join, rows)), encoding)
    first, second = read(source)
    assert first == Example(
        0, "7", f"héllo{delimiter} world", image_path=str(tmp_path / "pics" / "a.jpg"), sentiment="positive"
    )
    assert (second.row, second.sentiment) == (1, "neutral")


def test_rows_of_a_table_without_ids_are_called_by_their_number(tmp_path: Path) -> None:
    source = written(tmp_path / "x.csv", "text,image\rone,a.jpg\rshort\rthree,c.jpg\r")
    assert [(row.id, row.reason) for row in read(source)] == [("0", ""), ("#1", "unreadable-row"), ("2", "")]


def test_images_folder_is_what_paths_are_relative_to(tmp_path: Path) -> None:
    source = written(tmp_path / "x.csv", "text,image\nhello,a.jpg\n")
    (row,) = read(source, images=tmp_path / "elsewhere")
    assert row.image_path == str(tmp_path / "elsewhere" / "a.jpg")


def test_broken_rows_are_drafts_and_the_rest_goes_on(tmp_path: Path) -> None:
    source = written(
        tmp_path / "x.csv",
        'id,text,image\n1,"open,a.jpg\n2,fine,b.jpg\n3,short\n4,nu\0l,d.jpg\n5,"br"oken,e.jpg\n6,"two\nlines",f.jpg\n',
    )
    rows = read(source)
    assert [(row.row, row.reason) for row in rows] == [
        (0, "unreadable-row"),
        (1, ""),
        (2, "unreadable-row"),
        (3, "unreadable-row"),
        (4, "unreadable-row"),
        (5, ""),
    ]
    assert rows[2].detail == "line 4: 2 fields where the header has 3"
    assert rows[5].text == "two\nlines"
    assert [row.id for row in rows] == ["#0", "2", "#2", "#3", "#4", "6"]


def test_a_line_that_is_not_utf8_loses_nothing(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    source.write_bytes(b"text,image\ncaf\xe9,a.jpg\n" + "日本,b.jpg\n".encode())
    assert [row.text for row in read(source)] == ["café", "日本"]


@pytest.mark.parametrize(
    ("picture", "reason", "detail"),
    [
        ("../a.jpg", "picture-outside", "leaves the folder"),
        ("/etc/passwd", "picture-outside", "leaves the folder"),
        ("C:\\a.jpg", "picture-outside", "leaves the folder"),
        ("b/../../a.jpg", "picture-outside", "leaves the folder"),
        ("https://example.org/a.jpg", "picture-missing", "nothing is fetched"),
        ("", "picture-missing", "line 2: no picture"),
        ("b/a.jpg", "", ""),
    ],
)
def test_paths_of_pictures(tmp_path: Path, picture: str, reason: str, detail: str) -> None:
    source = written(tmp_path / "x.csv", f"text,image\nhello,{picture}\n")
    (row,) = read(source)
    assert row.reason == reason
    assert detail in row.detail
    assert str(tmp_path) not in row.detail
    assert row.image_path == ("" if reason else str(tmp_path / picture))


def test_sentiments_are_words_and_never_numbers(tmp_path: Path) -> None:
    source = written(tmp_path / "x.csv", "text,image,sentiment\na,a.jpg,Negative\nb,b.jpg,0\nc,c.jpg,\n")
    known, number, none = read(source, labels="sentiment")
    assert (known.sentiment, known.reason) == ("negative", "")
    assert (number.reason, number.detail) == (
        "no-sentiment",
        "line 3: sentiment '0'; allowed: negative, neutral, positive",
    )
    assert (none.sentiment, none.reason) == ("", "")  # the label step says it
    assert [row.reason for row in read(source)] == ["", "", ""]


def test_json_lines_of_mixed_shape(tmp_path: Path) -> None:
    rows = [
        '{"id": 758014713804587008, "text": "héllo", "media": ["a.jpg"]}',
        "",
        '{"full_text": "other \\ud83d\\ude00", "image": "b.jpg"}',
        '{"id": null, "text": "half \\ud83d", "image": "c.jpg"}',
        '{"text": "many", "media": ["a.jpg", "b.jpg"]}',
        '{"text": 5, "image": "a.jpg"}',
        '{"text": "cut", "ima',
        '["text"]',
        '{"text": "nul \\u0000", "image": "a.jpg"}',
        "[" * 100_000,
        '{"text": "no picture"}',
        '{"id": {"a": 1}, "text": "x", "image": "a.jpg"}',
    ]
    rows = read(written(tmp_path / "x.jsonl", "\n".join(rows)))
    bad = "unreadable-row"
    assert brief(rows) == [
        ("758014713804587008", "héllo", ""),
        ("#1", "other \N{GRINNING FACE}", ""),
        ("#2", "half \N{REPLACEMENT CHARACTER}", ""),
        *[(f"#{row}", "", bad) for row in range(3, 9)],
        ("#9", "no picture", "picture-missing"),
        ("#10", "", bad),
    ]
    details = [row.detail for row in rows]
    assert details[3] == "line 5: 2 pictures; allowed: one a row"
    assert details[4] == "line 6: the text is int; allowed: a string"
    assert details[5].startswith("line 7: broken JSON: ")
    assert details[6] == "line 8: no JSON object but list"
    assert details[10] == "line 12: the id is dict; allowed: a string"


def parquet_file(path: Path, table: dict[str, object], **options: object) -> Path:
    parquet.write_table(pyarrow.table(table), path, **options)
    return path


def test_parquet(tmp_path: Path) -> None:
    table = {
        "id": [1.0, None, float("nan")],
        "text": ["a", None, "c"],
        "image": ["a.jpg", "b.jpg", None],
        "more": [1, 2, 3],
    }
    rows = read(parquet_file(tmp_path / "x.parquet", table))
    assert brief(rows) == [("1", "a", ""), ("#1", "", ""), ("#2", "c", "picture-missing")]
    assert rows == read((tmp_path / "x.parquet").rename(tmp_path / "no-ending"))


def test_a_damaged_row_group_costs_its_rows_only(tmp_path: Path) -> None:
    n_rows = 3000
    table = {"text": [f"text {row}" for row in range(n_rows)], "image": [f"{row}.jpg" for row in range(n_rows)]}
    source = parquet_file(tmp_path / "x.parquet", table, row_group_size=1000, use_dictionary=False, compression="zstd")
    place = parquet.ParquetFile(source).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(source.read_bytes())
    content[place : place + 400] = bytes(400)
    source.write_bytes(content)
    rows = read(source)
    assert [row.row for row in rows] == list(range(n_rows))
    assert {row.reason for row in rows[:1000] + rows[2000:]} == {""}
    assert {row.reason for row in rows[1000:2000]} == {"unreadable-row"}
    assert rows[1500].detail.startswith("row 1500: row group 1 is damaged: ")


def test_parquet_with_pictures_inside_is_refused(tmp_path: Path) -> None:
    image = [{"bytes": b"x", "path": "a.jpg"}]
    source = parquet_file(tmp_path / "x.parquet", {"text": ["a"], "image": image})
    with pytest.raises(ManifestError, match="holds the pictures themselves in its column 'image'"):
        read(source)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "", "is empty"),
        ("x.csv", "\n \n", "blank lines only"),
        ("x.csv", "id,words,image\n1,a,b.jpg\n", r"no column with the text of a tweet; it has: id, words, image"),
        ("x.csv", "text,url\na,b\n", r"no column with the image .* Allowed names: image, image_path, "),
        ("x.csv", "text,text,image\na,b,c\n", "names its column 'text' twice"),
        ("x.csv", '"text,image\na,b.jpg\n', "no header that can be read"),
        ("x.csv", "PK\x03\x04\0\0\0", "not text that can be read as csv: .* a workbook"),
        ("x.jsonl", "[\n1,\n2\n]", "is no JSON Lines"),
        ("x.jsonl", '{"a": 1}', r"no column with the text of a tweet; it has: a\."),
        ("x.parquet", "PAR1 cut", "no whole Parquet file"),
        ("x.zip", "PK", "Allowed endings: .csv, "),
    ],
)
def test_hopeless_files_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read(written(tmp_path / name, content))


def test_hopeless_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no file or folder"):
        read(tmp_path / "none.csv")
    with pytest.raises(ManifestError, match=r"neither MVSA .* nor B-T4SA"):
        read(tmp_path)
    with pytest.raises(ManifestError, match="is a folder, which --format csv cannot be"):
        read(tmp_path, format="csv")
    source = written(tmp_path / "x.csv", "text,image\na,b.jpg\n")
    with pytest.raises(ManifestError, match="is a file, which --format mvsa cannot be"):
        read(source, format="mvsa")
    with pytest.raises(ManifestError, match="is missing, which"):
        read(tmp_path / "none", format="mvsa")
    with pytest.raises(ManifestError, match="no column with the sentiment"):
        read(source, labels="sentiment")


# --- corpora ----------------------------------------------------------------------------------------------------------


def test_mvsa(tmp_path: Path) -> None:
    labels = "ID\ttext,image\n1\tneutral,positive\n2\tpositive,negative\n3\tneutral,neutral\nx/../y\tneutral,neutral\n"
    written(tmp_path / "labelResultAll.txt", labels)
    written(tmp_path / "data" / "1.txt", "RT @a: caf\xe9\r\n", "latin-1")
    written(tmp_path / "data" / "2.txt", "second\n")
    assert detect_format(tmp_path) == "mvsa"
    first, against, wordless, foreign = read(tmp_path)
    assert first == Example(0, "1", "RT @a: café", image_path=str(tmp_path / "data/1.jpg"), sentiment="positive")
    assert (against.reason, against.sentiment) == ("", "")
    assert (wordless.reason, foreign.reason) == ("unreadable-row", "unreadable-row")
    assert wordless.detail == "line 4: no text data/3.txt (No such file or directory)"
    _, against, *_ = read(tmp_path, labels="sentiment")
    assert (against.reason, against.detail) == ("no-sentiment", "line 3: text and picture contradict each other")


@pytest.mark.parametrize("above", [False, True])
def test_b_t4sa(tmp_path: Path, above: bool) -> None:
    root = tmp_path / "images"
    written(
        root / "b-t4sa_train.txt",
        "data/10000/100001-1.jpg 2\ndata/10000/100001-2.jpg 0\n../100001-3.jpg 1\nlost.jpg 1\ndata/1/100002-1.jpg 7\n",
    )
    written(root / "b-t4sa_test.txt", "data/10000/100009-1.jpg 1\n")
    with pytest.raises(ManifestError, match=r"no raw_tweets_text.csv"):
        read(root)
    texts = 'id,text\n100001,"hello, ""world"""\nbroken "row\n100002,"never closed\n100009,other\n'
    written((tmp_path if above else root) / "raw_tweets_text.csv", texts)
    assert detect_format(root) == "b-t4sa"
    rows = read(root, labels="sentiment")
    assert [row.row for row in rows] == list(range(6))
    assert brief(rows) == [
        ("100001-1", 'hello, "world"', ""),
        ("100001-2", 'hello, "world"', ""),
        ("100001-3", 'hello, "world"', "picture-outside"),
        ("#3", "", "unreadable-row"),
        ("100002-1", "", "no-sentiment"),
        ("100009-1", "other", ""),
    ]
    assert [row.sentiment for row in rows] == ["positive", "negative", "neutral", "", "", "neutral"]
    assert rows[0].image_path == str(root / "data/10000/100001-1.jpg")
    assert rows[3].detail == "b-t4sa_train.txt, row 4: 'lost.jpg' is no picture of a tweet"


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl", "b-t4sa"])
def test_memory_does_not_grow_with_the_source(tmp_path: Path, kind: str) -> None:
    def source(n_rows: int) -> Path:
        folder = tmp_path / str(n_rows)
        if kind == "csv":
            text = "".join(f"{row},text of some length {row},{row}.jpg\n" for row in range(n_rows))
            return written(folder / "x.csv", f"id,text,image\n{text}")
        if kind == "jsonl":
            rows = ({"id": row, "text": f"text of some length {row}", "image": "a.jpg"} for row in range(n_rows))
            return written(folder / "x.jsonl", "\n".join(map(json.dumps, rows)))
        written(folder / "b-t4sa_train.txt", "".join(f"data/1/{row}-1.jpg 1\n" for row in range(n_rows)))
        written(folder / "raw_tweets_text.csv", "".join(f"{row},some text {row}\n" for row in range(n_rows)))
        return folder

    peaks = []
    for n_rows in (1000, 1000, 6000):  # the first loads what is loaded once
        path = source(n_rows)
        tracemalloc.start()
        assert sum(not row.reason for row in read_tweets(path, labels="emotion")) == n_rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 50_000  # 5,000 rows more, of which 100 bytes each would be half a million


# Not resource.ru_maxrss: a child inherits that of the process that started it.
_READ = """
import re, sys
from pathlib import Path
from parallelnet.datasets.tweets import read_tweets
n = sum(1 for row in read_tweets(Path(sys.argv[1]), labels="emotion"))
print(n, int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
def test_a_large_row_group_of_parquet_is_not_held(tmp_path: Path) -> None:
    peaks = []
    for n_rows in (10_000, 500_000):  # texts of 500 characters that do not compress: 250 MB in one row group
        texts = [f"{row:010d}" * 50 for row in range(n_rows)]
        source = parquet_file(
            tmp_path / f"{n_rows}.parquet",
            {"text": texts, "image": ["a.jpg"] * n_rows},
            row_group_size=n_rows,
            compression="none",
            use_dictionary=False,
        )
        done = subprocess.run(
            [sys.executable, "-c", _READ, str(source)], capture_output=True, text=True, check=True, timeout=300
        )
        n_read, peak_mib = map(int, done.stdout.split())
        assert n_read == n_rows
        peaks.append(peak_mib)
    assert peaks[1] < peaks[0] + 120  # what pyarrow's allocator keeps after use is up to 75 MiB, however much is read


@pytest.mark.parametrize(
    "content",
    [
        "text,image\nhello,a.jpg\n".encode("utf-16-le"),
        "text,image\nhello,a.jpg\n".encode("utf-16-be"),
        bytes(range(256)) * 20,
        random.Random(0).randbytes(5000).replace(b"\n", b"\r"),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
    ],
    ids=["utf-16-le", "utf-16-be", "all bytes", "random bytes", "png"],
)
def test_what_is_no_text_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ManifestError, match="is not text that can be read as csv"):
        read(tmp_path / "x.csv")


def test_a_text_of_mvsa_behind_a_link_that_leads_out_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "mvsa"
    (folder / "data").mkdir(parents=True)
    (folder / "labelResultAll.txt").write_text("ID\ttext,image\n1\tpositive,positive\n2\tpositive,positive\n")
    (tmp_path / "secret").write_text("secret")
    (folder / "data" / "1.txt").symlink_to(tmp_path / "secret")
    (folder / "data" / "2.txt").write_text("hello")

    first, second = read_tweets(folder, labels="sentiment")

    assert (first.reason, first.detail) == ("unreadable-row", "line 2: data/1.txt is a link that leads out")
    assert second.text == "hello"
