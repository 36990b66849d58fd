import importlib.util
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from parallelnet.datasets import recipe
from parallelnet.errors import ManifestError, OptionError, ParallelNetError
from parallelnet.options import TweetsOptions

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("built_fixture", Path(__file__).with_name("built_fixture.py"))
built = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(built)


@pytest.fixture
def options(tmp_path, table):
    source = table(tmp_path / "tweets.csv", [["text", "image"], ["hello", "1.png"]])
    return TweetsOptions(tweets=str(source), out=str(tmp_path / "out"))


def test_paths_become_absolute_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher").mkdir()

    made = recipe.absolute(TweetsOptions("tweets.csv", "out", speech_teacher="teacher", image_teacher="teacher-image"))

    assert (made.tweets, made.out) == (str(tmp_path / "tweets.csv"), str(tmp_path / "out"))
    assert (made.speech_teacher, made.image_teacher) == (str(tmp_path / "teacher"), "teacher-image")


def test_what_changes_no_byte_is_not_in_the_recipe(options):
    first = recipe.write_recipe(options)

    for free in ({"workers": 7}, {"executor": "ray"}, {"out": "/elsewhere"}, {"overwrite": True}):
        assert recipe.write_recipe(replace(options, **free)) == first
    assert recipe.write_recipe(replace(options, seed=1)) != first
    assert str(Path(options.tweets).parent) not in repr(first)


def test_options_of_teachers_count_only_where_there_are_some(options):
    sentiment = replace(options, labels="sentiment")

    assert recipe.write_recipe(sentiment) == recipe.write_recipe(replace(sentiment, threshold=0.9))
    assert recipe.write_recipe(options) != recipe.write_recipe(replace(options, threshold=0.9))


def test_the_content_of_named_files_counts(options, tmp_path):
    marks = tmp_path / "marks.csv"
    marks.write_text("id\n1\n")
    first = recipe.write_recipe(replace(options, exclude=str(marks)))
    marks.write_text("id\n2\n")
    second = recipe.write_recipe(replace(options, exclude=str(marks)))

    assert first.options == second.options
    (told,) = second.differences(asdict(first))
    assert told.startswith("files.exclude was ")


def test_differences_name_flags(options):
    before = asdict(recipe.write_recipe(options))

    assert recipe.write_recipe(options).differences(before) == []
    told = recipe.write_recipe(replace(options, near_bits=2, rows_per_shard=9)).differences(before)
    assert told == ["--near-bits was 4, is 2", "--rows-per-shard was 256, is 9"]


@pytest.mark.parametrize("when", ["before the recipe", "while another is cleared", "before that is done"])
def test_a_start_that_was_killed_early_can_be_done_again(options, tmp_path, when):
    out = tmp_path / "out"
    made_from = recipe.write_recipe(options)
    if when != "before the recipe":
        built.build(out)
    (out / ".build").mkdir(parents=True)
    if when == "while another is cleared":
        (out / "data" / "train-00000-of-00002.parquet").unlink()
    if when == "before that is done":
        (out / ".build" / "recipe.json").write_text(json.dumps({"made_by": "x", **asdict(made_from)}))

    with recipe.claimed(out, made_from, overwrite=True) as goes_on:
        assert not goes_on
        assert list((out / "data").iterdir()) == []
        assert not (out / "dataset.json").exists()
    with recipe.claimed(out, made_from, overwrite=False) as goes_on:
        assert goes_on


def test_a_folder_that_is_claimed_twice_at_once_is_refused(options, tmp_path):
    made_from = recipe.write_recipe(options)

    with (
        recipe.claimed(tmp_path / "out", made_from, overwrite=False),
        pytest.raises(ParallelNetError, match="Another process writes"),
        recipe.claimed(tmp_path / "out", made_from, overwrite=False),
    ):
        pass


def test_a_foreign_dataset_json_is_left_alone(options, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset.json").write_text("{}")

    with pytest.raises(ManifestError, match=r"dataset\.json cannot be used: it was not written by build tweets"):
        recipe.is_finished(tmp_path / "out", recipe.write_recipe(options), overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dataset.json"]


def test_the_folder_of_a_hugging_face_model_is_a_path_too(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()

    made = recipe.absolute(replace(options, speech_teacher="hf-model:model", image_teacher="hf-model:OWNER/NAME"))

    assert (made.speech_teacher, made.image_teacher) == (f"hf-model:{tmp_path / 'model'}", "hf-model:OWNER/NAME")
    assert recipe.write_recipe(made).options["speech_teacher"] == "hf-model:model"


def test_images_must_be_a_folder(options):
    with pytest.raises(OptionError, match=r"--images .*tweets\.csv is no folder"):
        recipe.write_recipe(replace(options, images=options.tweets))


@pytest.mark.parametrize("name", ["data/train-00000-of-00002.parquet", "rejected.parquet"])
def test_a_finished_build_whose_bytes_changed_is_not_finished(options, tmp_path, caplog, name):
    out = tmp_path / "out"
    made_from = recipe.write_recipe(options)
    report = replace(built.build(out), options=made_from.options, files=made_from.files, input=made_from.input)
    (out / "dataset.json").write_text(report.to_json())

    assert recipe.is_finished(out, made_from, overwrite=False)
    (out / name).write_bytes(b"other")
    for overwrite in (False, True):
        assert not recipe.is_finished(out, made_from, overwrite=overwrite)
    assert f"{name} is missing or not what was built" in caplog.text


@pytest.mark.parametrize("there", [False, True])
def test_a_start_that_is_refused_leaves_nothing(options, tmp_path, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()
    with (
        pytest.raises(ManifestError, match="no header"),
        recipe.claimed(out, recipe.write_recipe(options), overwrite=False),
    ):
        raise ManifestError("no header")

    assert out.exists() == there
    assert not there or list(out.iterdir()) == []


def test_what_is_cut_into_rows_already_stays_after_an_error(options, tmp_path):
    made_from = recipe.write_recipe(options)
    with recipe.claimed(tmp_path / "out", made_from, overwrite=False):
        (tmp_path / "out" / ".build" / "rows.json").write_text("{}")
    with (
        pytest.raises(ManifestError, match="later"),
        recipe.claimed(tmp_path / "out", made_from, overwrite=False),
    ):
        raise ManifestError("later")

    with recipe.claimed(tmp_path / "out", made_from, overwrite=False) as goes_on:
        assert goes_on


def test_a_folder_that_cannot_be_made_is_said_to_be_so(options, tmp_path):
    (tmp_path / "afile").write_text("")

    with (
        pytest.raises(NotADirectoryError, match=r"Not a directory: '.*/afile/sub"),
        recipe.claimed(tmp_path / "afile" / "sub", recipe.write_recipe(options), overwrite=False),
    ):
        pass
