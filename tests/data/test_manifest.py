import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from parallelnet.data.manifest import read_manifest, write_manifest
from parallelnet.data.tables import tidy
from parallelnet.errors import ManifestError, ParallelNetError
from parallelnet.types import Sample

Table = Callable[[Path, list[list[object]]], Path]


def _samples(folder: Path) -> tuple[Sample, ...]:
    return (
        Sample(
            id="a",
            speech=str(folder / "speech" / "a.wav"),
            image=str(folder / "image" / "a.png"),
            text='he said "no",\nthen left',
            label="anger",
            sentiment="negative",
            split="train",
            fold=0,
            group="actor_01",
            image_group="f00d",
            word_times=(("he", 0.0, 0.25), ("said", 0.25, 0.5)),
            extra={"intensity": "strong"},
        ),
        Sample(id="b", image=str(folder / "image" / "b.png"), label="sad", split="test", extra={"intensity": ""}),
    )


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_every_format_gives_back_what_was_written(tmp_path: Path, ending: str) -> None:
    samples = _samples(tmp_path)
    path = write_manifest(tmp_path / "manifest.csv", samples)
    if ending != ".csv":
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        path.unlink()
        path = path.with_suffix(ending)
        if ending == ".jsonl":
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        else:
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)

    assert read_manifest(path) == samples
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # no partial file is left


def test_the_written_paths_are_relative_and_a_moved_folder_still_reads(tmp_path: Path) -> None:
    write_manifest(tmp_path / "old" / ".." / "manifest.csv", _samples(tmp_path))
    with (tmp_path / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        assert next(csv.DictReader(stream))["speech"] == "speech/a.wav"
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "manifest.csv").rename(moved / "manifest.csv")

    assert read_manifest(moved) == _samples(moved)


def test_a_file_outside_the_folder_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"Sample 'a'.*lies outside"):
        write_manifest(tmp_path / "deep" / "manifest.csv", _samples(tmp_path))


def test_nothing_to_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="would have no rows"):
        write_manifest(tmp_path / "manifest.csv", [])


def test_one_column_is_enough(tmp_path: Path, table: Table) -> None:
    path = table(tmp_path / "m.csv", [["speech"], ["a.wav"], ["b.wav"]])

    assert [(s.id, s.speech, s.image) for s in read_manifest(path)] == [
        ("1", str(tmp_path / "a.wav"), None),
        ("2", str(tmp_path / "b.wav"), None),
    ]


def test_values_of_other_types_are_taken_as_meant(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(
        '{"id": 7, "speech": "a.wav", "fold": 2, "word_times": [["hi", 0, 0.5]], "age": 30, "tags": ["x"]}\n'
        '{"id": 8, "speech": "b.wav", "fold": null, "image": null, "split": NaN}\n',
        encoding="utf-8",
    )

    first, second = read_manifest(tmp_path / "m.jsonl")

    assert (first.id, first.fold, first.word_times) == ("7", 2, (("hi", 0.0, 0.5),))
    assert first.extra == {"age": "30", "tags": '["x"]'}
    assert (second.fold, second.image, second.split) == (None, None, "")


def test_a_fold_that_pandas_made_a_float_is_a_fold(tmp_path: Path, table: Table) -> None:
    path = table(tmp_path / "m.csv", [["speech", "fold"], ["a.wav", "3.0"], ["b.wav", ""]])

    assert [sample.fold for sample in read_manifest(path)] == [3, None]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["id", "label"], ["1", "sad"]], r"has neither a column 'speech' nor 'image'; it has: id, label"),
        ([["id", "speech"], ["1", "a"], ["1", "b"]], r"row 2: id '1' was given to row 1 before"),
        ([["id", "speech"], ["", "a"]], r"row 1: the id is empty"),
        ([["id", "speech", "image"], ["1", "a", ""], ["2", "", ""]], r"row 2 names neither speech nor image"),
        ([["id", "speech"], ["1", "../a.wav"]], r"row 1: path '\.\./a\.wav' leaves its folder"),
        ([["id", "image"], ["1", "/etc/passwd"]], r"row 1: path '/etc/passwd' leaves its folder"),
        (
            [["id", "speech", "split"], ["1", "a", "held out"]],
            r"row 1: split is 'held out'; allowed: train, validation, test",
        ),
        ([["id", "speech", "fold"], ["1", "a", "-1"]], r"row 1: fold is '-1'; allowed: 0, 1, 2"),
        ([["id", "speech", "fold"], ["1", "a", "1.5"]], r"row 1: fold is '1\.5'"),
        ([["id", "speech", "fold"], ["1", "a", "inf"]], r"row 1: fold is 'inf'"),
        ([["id", "speech", "fold"], ["1", "a", "9" * 400]], r"row 1: fold is '9+\.\.\.9+'; allowed"),
        ([["id", "speech", "fold"], ["1", "a", "3000000000"]], r"row 1: fold is '3000000000'"),
        ([["id", "speech"], ["x" * 1001, "a"]], r"row 1: the id has 1,001 characters; allowed: at most 1,000"),
        ([["Speech", " SPEECH"], ["a", "b"]], r"names its column 'speech' twice"),
        ([["speech", "word_times"], ["a", "[" * 50_000]], r"row 1: word_times is no JSON .*nested too deeply"),
        ([["speech", "word_times"], ["a", f'[["a", 0, 1{"0" * 400}]]']], r"row 1: word_times is no JSON .*too large"),
        ([["speech", "word_times"], ["a", f'[["a", 0, "{"x" * 9000}"]]']], r"row 1: word_times is no JSON"),
        ([["id", "speech", "word_times"], ["1", "a", "[[1]]"]], r"row 1: word_times is no JSON"),
        ([["id", "speech", "word_times"], ["1", "a", "hello"]], r"row 1: word_times is no JSON"),
        ([["id", "speech", "word_times"], ["1", "a", '[["a", 2, 1]]']], r"word_times has \['a', 2\.0, 1\.0\]"),
        ([["id", "speech", "word_times"], ["1", "a", '[["a", -1, 1]]']], r"row 1: word_times has"),
        ([["id", "speech", "word_times"], ["1", "a", '[["a", 2, 3], ["b", 1, 4]]']], r"word_times has \['b'"),
        ([["id", "speech", "word_times"], ["1", "a", '[["a", 0, NaN]]']], r"row 1: word_times has"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(
    tmp_path: Path, table: Table, rows: list[list[object]], message: str
) -> None:
    path = table(tmp_path / "m.csv", rows)

    with pytest.raises(ManifestError, match=message) as refusal:
        read_manifest(path)

    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"has no manifest\.csv"):
        read_manifest(tmp_path)


# Control characters that no csv can carry (NUL) and lone surrogates, which are no text, stay out.
_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(text="=1+1", group="-a", note="'@b")
@example(text="a carriage return alone\rthen more", group="", note="")
@given(text=_TEXT, group=_TEXT, note=_TEXT)
def test_any_text_survives(tmp_path: Path, text: str, group: str, note: str) -> None:
    extra = {"note": note} if note else {}
    sample = Sample(id="1", image=str(tmp_path / "a.png"), text=text, group=tidy(group), extra=extra)

    assert read_manifest(write_manifest(tmp_path / "any.csv", [sample])) == (sample,)


def test_a_bad_row_is_refused_or_kept_with_its_problem(tmp_path):
    source = tmp_path / "manifest.csv"
    source.write_text("id,speech\na,a.wav\nb,../secret.wav\nc,\n")
    with pytest.raises(ManifestError, match=r"row 2: path '\.\./secret\.wav' leaves its folder"):
        read_manifest(source)
    sound, climbing, empty = read_manifest(source, keep_bad_rows=True)
    assert (sound.id, sound.problem) == ("a", "")
    assert (climbing.id, climbing.speech) == ("b", None)
    assert "leaves its folder" in climbing.problem
    assert "neither speech nor image" in empty.problem


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is unpacked away from the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _lines(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_one_bad_row_never_takes_the_others_with_it(tmp_path: Path) -> None:
    bad = [
        '{"id": "b", "speech": "b.wav", "fold": 1' + "0" * 400 + "}",
        '{"id": "c", "speech": "c.wav", "fold": true}',
        '{"id": "d", "speech": "d.wav", "word_times": [["x", 0, 1' + "0" * 400 + "]]}",
        '{"id": "e", "speech": {"a": 1}}',
        '{"id": ["f"], "speech": "f.wav"}',
        '{"id": "g", "speech": "g.wav", "label": {"a": 1}}',
        '{"id": "h", "speech": "h.wav", "more": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"id": "i", "id": "j", "speech": "i.wav"}',
        '{"id": "k", "speech": ',
        '{"id": "a", "speech": "again.wav"}',
        '{"id": "", "speech": "l.wav"}',
        '{"id": "' + "m" * 5000 + '", "speech": "m.wav"}',
    ]
    source = _lines(tmp_path / "m.jsonl", '{"id": "a", "speech": "a.wav"}', *bad, '{"id": "z", "speech": "z.wav"}')

    samples = read_manifest(source, keep_bad_rows=True)

    assert [s.id for s in samples] == ["a", "b", "c", "d", "e", "6", "g", "8", "9", "10", "11", "12", "13", "z"]
    assert [bool(s.problem) for s in samples] == [False, *[True] * len(bad), False]
    assert all(f"row {number}" in s.problem and len(s.problem) < 500 for number, s in enumerate(samples[1:-1], 2))
    assert "was given to row 1 before" in samples[10].problem


def test_a_row_without_an_id_never_takes_another_rows(tmp_path: Path) -> None:
    source = _lines(
        tmp_path / "m.jsonl", "broken", '{"id": 3, "speech": "a"}', '{"speech": "b"}', '{"id": "1", "speech": "c"}'
    )

    assert [(s.id, bool(s.problem)) for s in read_manifest(source, keep_bad_rows=True)] == [
        ("row 1", True),
        ("3", False),
        ("row 3", False),
        ("1", False),
    ]


def test_space_and_capitals_make_no_other_class_and_no_other_speaker(
    tmp_path: Path, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    head = ["ID ", "Speech", "LABEL", "Group", "Split", "fold"]
    rows = [
        ["a", " a.wav", "Happy", "A01", "Train", "0,0"],
        ["b", "b.wav", "HAPPY", "a01 ", " val", "1.0"],
        ["c", "c.wav", "happy\u00a0", "A01", "TEST", ""],
        ["d", "d.wav", "Bored ", "b", "dev", ""],
        ["e", "e.wav", "Bored", "b", "validation", ""],
        ["f", "f.wav", "bored", "b", "", ""],
    ]

    samples = read_manifest(table(tmp_path / "m.csv", [head, *rows]))

    assert [s.label for s in samples] == ["happy"] * 3 + ["Bored"] * 3
    assert [s.group for s in samples] == ["A01"] * 3 + ["b"] * 3
    assert [s.split for s in samples] == ["train", "validation", "test", "validation", "validation", ""]
    assert [s.fold for s in samples[:3]] == [0, 1, None]
    assert samples[0].speech == str(tmp_path / "a.wav")
    assert [line.split(": ", 1)[1] for line in caplog.messages] == [
        "values of label that differ in capitals only are taken for one: 'Happy' for 'happy' and 2 more.",
        "values of group that differ in capitals only are taken for one: 'a01' for 'A01'.",
    ]


def test_names_that_agree_are_kept_without_a_word(
    tmp_path: Path, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path / "m.csv", [["speech", "label"], ["a", "Happy"], ["b", "Happy"], ["c", "Sad"]])
    assert [s.label for s in read_manifest(path)] == ["Happy", "Happy", "Sad"]
    assert not caplog.messages


def test_a_file_whose_name_begins_with_a_space_is_that_file(tmp_path: Path, table: Table) -> None:
    (tmp_path / " a.wav").touch()
    (sample,) = read_manifest(table(tmp_path / "m.csv", [["speech"], [" a.wav"]]))
    assert sample.speech == str(tmp_path / " a.wav")


@pytest.mark.parametrize("kind", ["struct", "binary", "list"])
def test_files_that_stand_in_a_parquet_are_unpacked_once(tmp_path: Path, cache: Path, kind: str) -> None:
    contents = [b"RIFF one", b"RIFF one", b"RIFF two"]
    structs = [{"bytes": content, "path": "../../elsewhere.wav"} for content in contents]
    values = {"struct": structs, "binary": contents, "list": [[each] for each in structs]}[kind]
    parquet.write_table(pyarrow.table({"Audio": values, "label": [1.0, 2.0, None]}), tmp_path / "m.parquet")

    samples = read_manifest(tmp_path / "m.parquet")

    assert [Path(s.speech or "").read_bytes() for s in samples] == contents
    assert [s.label for s in samples] == ["1", "2", ""]
    assert [s.extra for s in samples] == [{}] * 3
    assert samples[0].speech == samples[1].speech
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 2


def test_a_struct_without_bytes_is_its_path_and_stays_inside(tmp_path: Path) -> None:
    values = [{"bytes": None, "path": "a.wav"}, {"bytes": None, "path": "/etc/passwd"}, {"bytes": None, "path": None}]
    images = ["a.png", "b.png", "c.png"]
    parquet.write_table(pyarrow.table({"speech": values, "image": images}), tmp_path / "m.parquet")

    first, outside, none = read_manifest(tmp_path / "m.parquet", keep_bad_rows=True)

    assert first.speech == str(tmp_path / "a.wav")
    assert "leaves its folder" in outside.problem
    assert (none.speech, none.problem) == (None, "")


def test_a_folder_that_cannot_be_written_is_nobodys_row(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the cache should be")
    parquet.write_table(pyarrow.table({"speech": [b"RIFF"]}), tmp_path / "m.parquet")
    with pytest.raises(ParallelNetError, match=r"cannot be written: .* set XDG_CACHE_HOME"):
        read_manifest(tmp_path / "m.parquet", keep_bad_rows=True)


def test_bytes_that_are_no_file_of_ours_are_left_out(tmp_path: Path) -> None:
    table = {"speech": ["a.wav"], "raw": [b"x" * 9000], "nested": [{"raw": b"x" * 9000, "n": 1}]}
    parquet.write_table(pyarrow.table(table), tmp_path / "m.parquet")
    (sample,) = read_manifest(tmp_path / "m.parquet")
    assert sample.extra == {"nested": json.dumps({"raw": "9000 bytes", "n": 1})}


def test_no_cell_of_a_written_csv_is_a_formula(tmp_path: Path) -> None:
    sample = Sample(
        id="=1+1",
        speech=str(tmp_path / "-a.wav"),
        image=str(tmp_path / "@b.png"),
        text="+1",
        label="'=x",
        group="\u0663",
        extra={"valence": "-0.5", "=name": "-2+3"},
    )

    path = write_manifest(tmp_path / "m.csv", [sample])

    assert read_manifest(path) == (sample,)
    with path.open(encoding="utf-8", newline="") as stream:
        head, row = csv.reader(stream)
    cells = dict(zip(head, row, strict=True))
    assert (cells["id"], cells["speech"], cells["image"]) == ("'=1+1", "./-a.wav", "./@b.png")
    assert cells.pop("valence") == "-0.5"  # a figure is no formula
    assert not [cell for cell in (*cells, *cells.values()) if cell.startswith(("=", "+", "-", "@"))]


def test_a_column_that_is_ours_but_for_a_letter_is_told(
    tmp_path: Path, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path / "m.csv", [["image", "speach", "weather"], ["a.png", "a.wav", "fair"]])
    with caplog.at_level("WARNING"):
        (sample,) = read_manifest(path)
    assert (sample.speech, sample.extra["speach"]) == (None, "a.wav")
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "the column 'speach' is none that is read. Did you mean 'speech'?"
    ]
