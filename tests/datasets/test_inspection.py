"""What a built data set holds, counted from its shards; and what is said where there is none."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from parallelnet.data.built import read_report
from parallelnet.data.shards import REASONS
from parallelnet.datasets.inspection import PAPER_COUNTS, choose, inspect, load
from parallelnet.errors import ManifestError
from parallelnet.report import terminal
from parallelnet.types import EMOTIONS, SENTIMENTS

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("built_fixture", Path(__file__).with_name("built_fixture.py"))
built = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(built)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    built.build(folder)
    return folder


def test_the_shards_are_counted(folder):
    kept, found = built.kept_drafts(), inspect(folder)
    assert found["classes"] == list(EMOTIONS)
    assert found["name"] == "posts"
    tally = found["tally"]
    assert tally["n"] == 12
    for name in EMOTIONS:
        for source in ("speech", "image"):
            n = sum(d.label == name and d.label_source == source for d in kept)
            assert tally["sources"][name].get(source, 0) == n
        assert sum(row[name] for row in tally["sentiments"].values() if name in row) == found["class_counts"][name]
    for voice in built.VOICES:
        assert sum(tally["voices"][voice].values()) == 6
    assert {name: sum(row.values()) for name, row in tally["languages"].items()} == {"en": 10, "es": 2}


def test_what_each_teacher_says_is_told_apart(folder):
    named = inspect(folder)["tally"]["named"]
    # Rows 0, 2, 4 are happy by the picture, 1, 3 by the speech; the other teacher always says sad.
    assert (named["sad"]["happy"], named["happy"]["sad"]) == (3, 2)
    assert named["happy"]["happy"] == 0
    assert named["sad"]["sad"] == 3  # the sad ones: both say so
    tally = inspect(folder)["tally"]
    observed = 3 / 12
    by_chance = sum(sum(named[name].values()) / 12 * sum(row[name] for row in named.values()) / 12 for name in EMOTIONS)
    assert tally["teacher_kappa"] == pytest.approx((observed - by_chance) / (1 - by_chance))


def test_durations(folder):
    durations = inspect(folder)["tally"]["durations"]
    assert durations["total_s"] == pytest.approx(12 * 0.7)
    assert (durations["shortest_s"], durations["longest_s"]) == (pytest.approx(0.6), pytest.approx(0.8))
    assert durations["median_s"] == pytest.approx(0.7, abs=0.05)  # the width of a bin
    assert durations["seconds"] == [12]


def test_confidences_fall_into_their_bins(folder):
    bins = inspect(folder)["tally"]["confidences"]
    confidences = [round(0.55 + 0.03 * row, 2) for row in range(12)]
    for place in range(20):
        n = sum(round(100 * c) // 5 == place for c in confidences)
        assert sum(counts[place] for counts in bins.values()) == n


def test_examples_of_each_class_do_not_depend_on_the_shards(folder, tmp_path):
    found = inspect(folder, examples=2)
    labels = [example["label"] for example in found["examples"]]
    assert labels == sorted(labels, key=EMOTIONS.index)
    # Two of each, one of hate (there is no other), and one more in its turn.
    assert {name: labels.count(name) for name in EMOTIONS}["hate"] == 1
    report = built.build(tmp_path, kept=list(reversed(built.kept_drafts())))
    first = read_report(folder)
    paths = first.paths(folder)
    chosen = choose(paths, first, 8)
    assert choose(report.paths(tmp_path), report, 8) == chosen
    everything = choose(paths, first, 100)
    assert sorted(everything) == sorted(d.id for d in built.kept_drafts())
    assert everything[:8] == chosen


def test_rows_are_loaded_in_the_order_that_was_asked(folder):
    paths = read_report(folder).paths(folder)
    rows = list(load(paths, ("t11", "t0"), with_bytes=True))
    assert [row.id for row in rows] == ["t11", "t0"]
    assert rows[1].speech == built.kept_drafts()[0].speech
    assert rows[1].image == built.kept_drafts()[0].image
    assert next(load(paths, ("t0",), with_bytes=False)).speech == b""


def test_sentiment_needs_no_teachers(tmp_path):
    built.build(tmp_path, "sentiment")
    found = inspect(tmp_path)
    assert found["classes"] == list(SENTIMENTS)
    assert found["tally"]["sources"] == {name: {"source": 4} for name in SENTIMENTS}
    assert found["tally"]["named"] == {}
    assert found["tally"]["sentiments"] == {}
    assert found["tally"]["teacher_kappa"] is None
    assert {example["label"] for example in found["examples"]} == set(SENTIMENTS)


def test_a_set_without_rows(tmp_path):
    built.build(tmp_path, kept=[])
    found = inspect(tmp_path)
    assert found["tally"]["n"] == 0
    assert found["examples"] == []
    assert found["tally"]["durations"]["longest_s"] == found["tally"]["durations"]["shortest_s"] == 0


def test_json_has_the_record_and_the_counts(folder):
    found = json.loads(json.dumps(inspect(folder)))
    assert found["n_read"] == found["n_kept"] + found["n_rejected"] == 16
    assert found["tally"]["sources"]["hate"] == {"image": 1}
    assert 0 <= found["tally"]["voice_association"] <= 1
    assert found["classes"] == list(EMOTIONS)
    assert found["examples"][0]["spoken_text"].startswith("good day")


@pytest.mark.parametrize("labels", ["emotion", "sentiment"])
def test_the_terminal_shows_it(tmp_path, capsys, labels):
    built.build(tmp_path, labels)
    terminal.show("inspection", found=inspect(tmp_path), reasons=REASONS, paper=PAPER_COUNTS)
    said = capsys.readouterr().out
    assert "12 of " in said
    assert ("42,958" in said) == (labels == "emotion")
    assert ("low-confidence" in said) == (labels == "emotion")
    assert ("agree on 25.0%" in said) == (labels == "emotion")
    assert "en-gb-x-rp" in said
    assert "good day number" in said
    assert max(map(len, said.splitlines())) <= 120


def test_the_terminal_is_not_obeyed(tmp_path, capsys):
    kept = [built.draft(0, "sad", "speech", 0.9, spoken_text="\x1b[2J\x07clear " + "x" * 500, tts_voice="a\x1b[31mb")]
    built.build(tmp_path, kept=kept)
    terminal.show("inspection", found=inspect(tmp_path), reasons=REASONS, paper=PAPER_COUNTS)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\x07" not in said


@pytest.mark.parametrize(
    ("wreck", "said"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: folder.mkdir(), "is no built data set"),
        (lambda folder: folder.write_text(""), "is a file"),
        (lambda folder: (folder / ".build").mkdir(parents=True), "did not finish"),
        (lambda folder: built.build(folder, finished=False), "did not finish"),
        (lambda folder: (built.build(folder), (folder / "dataset.json").write_text("{"))[1], "cannot be used"),
        (lambda folder: (built.build(folder), (folder / "dataset.json").write_text("[1]"))[1], "not written by"),
        (
            lambda folder: (built.build(folder), (folder / "dataset.json").write_text('{"made_by": "x"}'))[1],
            "not written",
        ),
    ],
)
def test_what_is_no_build_is_said_so(tmp_path, wreck, said):
    wreck(tmp_path / "set")
    with pytest.raises(ManifestError, match=said) as caught:
        inspect(tmp_path / "set")
    assert "\n" not in str(caught.value)


def test_shards_must_bear_the_record_out(tmp_path):
    report = built.build(tmp_path)
    shard = report.paths(tmp_path)[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ManifestError, match=r"train-00001-of-00002\.parquet is not what was built"):
        inspect(tmp_path)
    with pytest.raises(ManifestError, match="no whole shard"):
        inspect(tmp_path, report=report)
    shard.unlink()
    with pytest.raises(ManifestError, match=r"lacks its file data/train-00001"):
        inspect(tmp_path)
    with pytest.raises(ManifestError, match="is missing"):
        inspect(tmp_path, report=report)
    shard.write_bytes(report.paths(tmp_path)[0].read_bytes())
    with pytest.raises(ManifestError, match="hold 12 rows, but"):
        inspect(tmp_path, report=replace(report, n_kept=13))
