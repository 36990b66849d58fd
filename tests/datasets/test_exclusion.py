"""Ids that people marked are read and left out; a damaged list is refused."""

import pytest

from parallelnet.datasets.draft import Draft
from parallelnet.datasets.exclusion import Exclude, read_excluded
from parallelnet.errors import ManifestError


@pytest.mark.parametrize(
    "text",
    [
        'id,reason,note\n7,broken,\n8,other,"a, b"\n',
        "\ufeffid;reason;note\r\n7;broken;\r\n8;other;x\r\n",
        "reason\tid\nbroken\t7\nother\t 8 \n",
        "id\n7\n8\n7\n",
    ],
)
def test_ids_are_read_however_the_csv_was_saved(tmp_path, text):
    path = tmp_path / "marks.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_excluded(path) == {"7", "8"}


def test_json_lines_are_read_too(tmp_path):
    path = tmp_path / "marks.jsonl"
    path.write_text('{"id": 7}\n{"id": "8"}\n')
    assert read_excluded(path) == {"7", "8"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("marks.csv", None, "no file"),
        ("marks.csv", "", "empty"),
        ("marks.csv", "id,reason,note\n", "no rows"),
        ("marks.csv", "name,reason\n7,x\n", "no column 'id'"),
        ("marks.csv", "id,reason\n7,x\n,broken\n", "row 2 has no id"),
        ("marks.csv", "id,reason\n7.23E+17,x\n", "spreadsheet"),
        ("marks.csv", 'id\n"7\n', "a quote is opened"),
        ("marks.xlsx", "x", "Allowed endings"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, name, text, said):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ManifestError, match=said) as caught:
        read_excluded(path)
    assert "\n" not in str(caught.value)


def test_marked_rows_fall_out_and_nothing_else():
    drafts = [Draft(0, "7"), Draft(1, "70"), Draft(2, "8").reject("no-words"), Draft(3, "9")]
    out = list(Exclude(frozenset({"7", "8", "nobody"}))(iter(drafts)))
    assert [draft.reason for draft in out] == ["excluded", "", "no-words", ""]
    assert [draft.id for draft in out] == [draft.id for draft in drafts]


def test_the_step_does_not_read_ahead():
    def drafts():
        yield Draft(0, "7")
        raise AssertionError("read ahead")

    assert next(Exclude(frozenset())(drafts())).id == "7"
