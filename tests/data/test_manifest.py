import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from parallelnet.data.manifest import read_manifest, write_manifest
from parallelnet.errors import ManifestError
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
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    samples = _samples(tmp_path)

    path = write_manifest(tmp_path / f"manifest{ending}", samples)

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


def test_nothing_to_write_and_unknown_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="would have no rows"):
        write_manifest(tmp_path / "manifest.csv", [])
    with pytest.raises(ManifestError, match=r"Allowed endings: \.csv"):
        write_manifest(tmp_path / "manifest.xlsx", _samples(tmp_path))


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
        ([["id", "speech", "split"], ["1", "a", "dev"]], r"row 1: split is 'dev'; allowed: train, validation, test"),
        ([["id", "speech", "fold"], ["1", "a", "-1"]], r"row 1: fold is '-1'; allowed: 0, 1, 2"),
        ([["id", "speech", "fold"], ["1", "a", "1.5"]], r"row 1: fold is '1\.5'"),
        ([["id", "speech", "fold"], ["1", "a", "inf"]], r"row 1: fold is 'inf'"),
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


def test_labels_outside_the_classes_are_refused_and_unknown_ones_pass(tmp_path: Path, table: Table) -> None:
    path = table(tmp_path / "m.csv", [["speech", "label", "sentiment"], ["a", "sad", ""], ["b", "", "negative"]])

    assert len(read_manifest(path, classes=("sad", "happy"))) == 2
    with pytest.raises(ManifestError, match=r"row 1: label 'sad' is not among the classes: anger, happy"):
        read_manifest(path, classes=("anger", "happy"))
    with pytest.raises(ManifestError, match=r"row 2: sentiment 'negative' is not among the classes: positive"):
        read_manifest(path, classes=("positive",), target="sentiment")


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"has no manifest\.csv"):
        read_manifest(tmp_path)


# Control characters that no csv can carry (NUL) and lone surrogates, which are no text, stay out.
_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(text="a carriage return alone\rthen more", group="", note="", ending=".csv")
@given(text=_TEXT, group=_TEXT, note=_TEXT, ending=st.sampled_from([".csv", ".jsonl"]))
def test_any_text_survives(tmp_path: Path, text: str, group: str, note: str, ending: str) -> None:
    sample = Sample(id="1", image=str(tmp_path / "a.png"), text=text, group=group, extra={"note": note} if note else {})

    assert read_manifest(write_manifest(tmp_path / f"any{ending}", [sample])) == (sample,)


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
