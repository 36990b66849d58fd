"""Csv that others broke: what is wrong costs its row, and never the rows behind it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelnet.data import rows as module
from parallelnet.data.rows import csv_rows, read_lines


def rows(text: str, n_fields: int = 0, delimiter: str = ",") -> list[tuple[int, tuple[str, ...], str]]:
    lines = enumerate(text.splitlines(keepends=True), 1)
    return [(row.line, row.values, row.problem) for row in csv_rows(lines, delimiter, n_fields)]


FIELD = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=6)


@given(table=st.lists(st.lists(FIELD, min_size=3, max_size=3), max_size=6), delimiter=st.sampled_from(",\t;|"))
def test_whole_csv_reads_as_it_was_written(table: list[list[str]], delimiter: str) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(table)
    lines = enumerate(io.StringIO(stream.getvalue(), newline="\n"), 1)
    assert [row.values for row in csv_rows(lines, delimiter, 3)] == [tuple(fields) for fields in table]


def test_a_quote_that_is_never_closed_costs_its_line_only() -> None:
    found = rows('1,"never closed,a.jpg\n2,fine,b.jpg\n3,fine,c.jpg\n', 3)
    assert found == [
        (1, (), "a quote is opened and not closed"),
        (2, ("2", "fine", "b.jpg"), ""),
        (3, ("3", "fine", "c.jpg"), ""),
    ]


def test_a_quote_that_the_next_row_closes_does_not_swallow_it() -> None:
    found = rows('1,"never closed,a.jpg\n2,"quoted, well",b.jpg\n3,fine,c.jpg\n', 3)
    assert [row[1] for row in found] == [(), ("2", "quoted, well", "b.jpg"), ("3", "fine", "c.jpg")]
    assert found[0][2].startswith("broken quoting")


def test_a_row_of_the_wrong_length_that_swallowed_others_gives_them_back() -> None:
    found = rows('1,"open\n2,fine,b.jpg\n3,"\n4,fine,d.jpg\n', 3)
    assert [row[1] for row in found] == [(), ("2", "fine", "b.jpg"), (), ("4", "fine", "d.jpg")]
    assert found[0][2] == "2 fields where the header has 3"


def test_the_search_for_a_closing_quote_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORD", 1000)
    n_taken = 0

    def lines() -> object:
        nonlocal n_taken
        yield 1, '1,"open,a.jpg\n'
        for number in range(2, 10_000):
            n_taken += 1
            yield number, "2,fine,b.jpg\n"

    found = csv_rows(lines(), ",", 3)
    assert next(found).problem == "a quote is opened and not closed"
    assert n_taken < 100
    assert sum(row.values == ("2", "fine", "b.jpg") for row in found) == 9998


def test_quoted_fields_may_hold_lines_and_quotes() -> None:
    assert rows('1,"two\nlines, ""quoted""",a.jpg\n\n2,5" screen,b.jpg', 3) == [
        (1, ("1", 'two\nlines, "quoted"', "a.jpg"), ""),
        (4, ("2", '5" screen', "b.jpg"), ""),
    ]


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("1,two\n", "2 fields where the header has 3"),
        ("1,two,3,4\n", "4 fields where the header has 3"),
        ("1,tw\0o,3\n", "holds a NUL character"),
        (f"1,{'x' * 100_001},3\n", "longer than 100,000 characters"),
        (f"1,{'x' * 200_000},3\n", "longer than 100,000 characters"),
        ('1,"a"b,3\n', "broken quoting"),
    ],
)
def test_what_is_wrong_is_said_and_the_next_row_is_read(line: str, detail: str) -> None:
    bad, good = rows(f"{line}2,fine,b.jpg\n", 3)
    assert detail in bad[2]
    assert good[1] == ("2", "fine", "b.jpg")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.csv"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    path.write_bytes(mark + "id,größe\r\n1,é\n".encode(encoding))
    assert list(read_lines(path)) == [(1, "id,größe\r\n"), (2, "1,é\n")]


def test_a_line_in_another_encoding_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("née\n".encode() + "née\n".encode("latin-1") + "日本\n".encode())
    assert [text for _, text in read_lines(path)] == ["née\n", "née\n", "日本\n"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_without_end_is_not_held(tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 100)
    path = tmp_path / "x.csv"
    path.write_bytes(("a\n" + "x" * 1000 + "\nb\n" + "y" * 101 + "\nc\n" + "z" * 999).encode(encoding))
    lines = [text for _, text in read_lines(path)]
    assert [line[0] for line in lines] == list("axbycz")
    assert max(map(len, lines)) == 101
