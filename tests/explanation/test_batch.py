"""A manifest's explanations: a folder a sample, a row a sample, an index, and going on where a run was cut off."""

import csv
import errno
import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet import records
from parallelnet.errors import ManifestError, OptionError, ParallelNetError
from parallelnet.explanation import batch as explanations
from parallelnet.explanation.result import Explanation
from parallelnet.options import ExplainOptions
from parallelnet.predictor import load
from parallelnet.types import Sample

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location(
    "checkpoint_fixture", Path(__file__).parents[1] / "checkpoint_fixture.py"
)
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy_checkpoint, check = fixtures.toy_checkpoint, fixtures.check

HOSTILE = "<b>&../x"


@pytest.fixture(scope="module")
def model(toy_checkpoint):
    return load(toy_checkpoint.path)


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(0)
    speech, image = str(tmp_path / "a.wav"), str(tmp_path / "a.png")
    soundfile.write(speech, 0.1 * rng.normal(size=8_000), 16_000)
    Image.fromarray(rng.integers(256, size=(60, 50, 3), dtype=np.uint8)).save(image)
    times = (("no", 0.0, 0.2), ("way", 0.3, 0.5))
    return [
        Sample("pair", speech=speech, image=image, label="sad", word_times=times),
        Sample(HOSTILE, image=image, label="happy"),
        Sample("gone", speech=str(tmp_path / "missing.wav"), label="happy"),
        Sample("unknown", speech=speech),
        Sample("bad", problem="row 5: the fold is -1."),
    ]


@pytest.fixture
def options():
    return ExplainOptions(n_segments=2, grid="1x2", target="label")


def rows(folder):
    with (folder / explanations.TABLE).open(newline="", encoding="utf-8") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def test_a_folder_and_a_row_a_sample_bad_ones_with_their_reason(model, samples, options, tmp_path):
    out, steps = tmp_path / "new" / "out", []
    counts = explanations.explain_manifest(model, samples, out, options, progress=steps.append)
    assert (counts.n_ok, counts.n_error, counts.n_skipped) == (2, 3, 0)
    assert counts.first_error.startswith("gone: Speech '")
    assert sum(steps) == 5
    found = rows(out)
    assert list(found) == ["pair", HOSTILE, "gone", "unknown", "bad"]
    assert "missing.wav" in found["gone"]["reason"]
    assert "none is known" in found["unknown"]["reason"]  # its label
    assert "fold is -1" in found["bad"]["reason"]
    assert found["pair"]["target"] == "sad"
    for name in ("pair", HOSTILE):
        folder = out / found[name]["folder"]
        assert folder.parent == out / "samples"  # no id leads out of it
        explanation = Explanation.from_json((folder / "explanation.json").read_text(encoding="utf-8"))
        check(explanation)
        assert float(found[name]["full_value"]) == pytest.approx(explanation.of_target.full, abs=1e-6)  # six decimals
        assert (folder / "report.html").stat().st_size > 1_000
    assert [
        unit.word
        for unit in Explanation.from_json((out / found["pair"]["folder"] / "explanation.json").read_text()).speech_units
    ] == ["no", "way"]
    kept, rate = soundfile.read(out / found["pair"]["folder"] / "kept.wav")
    assert (len(kept), rate) == (8_000, 16_000)
    index = (out / "index.html").read_text(encoding="utf-8")
    assert f"{found['pair']['folder']}/report.html" in index
    assert "<b>&../x" not in index
    assert "missing.wav" in index


def test_it_goes_on_where_it_was_cut_off_and_loses_nothing(model, samples, options, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    explanations.explain_manifest(model, samples, whole, options)
    real, calls = explanations.explain, []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(explanations, "explain", interrupted)
        with pytest.raises(KeyboardInterrupt):
            explanations.explain_manifest(model, samples, cut, options)
    assert list(rows(cut)) == ["pair"]
    assert "report.html" in (cut / "index.html").read_text(encoding="utf-8")
    with (cut / explanations.TABLE).open("a", encoding="utf-8") as stream:
        stream.write("half,a row")
    with pytest.raises(OptionError, match="--resume"):
        explanations.explain_manifest(model, samples, cut, options)
    go_on = ExplainOptions(n_segments=2, grid="1x2", target="label", resume=True, manifest="m", out="o")
    counts = explanations.explain_manifest(model, samples, cut, go_on)
    assert (counts.n_ok, counts.n_error, counts.n_skipped) == (1, 3, 1)
    assert (cut / "index.html").read_bytes() == (whole / "index.html").read_bytes()
    free = ("seconds",)
    assert [{k: v for k, v in row.items() if k not in free} for row in rows(cut).values()] == [
        {k: v for k, v in row.items() if k not in free} for row in rows(whole).values()
    ]


def test_other_options_or_a_foreign_folder_are_not_gone_on_with(model, samples, options, tmp_path):
    out = tmp_path / "out"
    explanations.explain_manifest(model, samples[:1], out, options)
    other = ExplainOptions(n_segments=3, grid="1x2", target="label", resume=True, manifest="m", out="o")
    with pytest.raises(OptionError, match=r"other options or data: n_segments was 2, is 3\."):
        explanations.explain_manifest(model, samples[:1], out, other)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    resumed = ExplainOptions(resume=True, manifest="m", out="o")
    with pytest.raises(OptionError, match="holds no explanations"):
        explanations.explain_manifest(model, samples, foreign, resumed)
    with pytest.raises(OptionError, match="data was"):
        explanations.explain_manifest(model, samples[1:2], out, replace(other, n_segments=2))
    records.write_json(out / "settings.json", {**json.loads((out / "settings.json").read_text()), "version": "0"})
    with pytest.raises(OptionError, match="sensitivity was False, is True; version was '0', is"):
        explanations.explain_manifest(model, samples[:1], out, replace(other, n_segments=2, sensitivity=True))
    (out / "settings.json").write_text('{"grid": ')
    with pytest.raises(OptionError, match=r"settings.json is damaged .*another --out"):
        explanations.explain_manifest(model, samples[:1], out, other)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(OptionError, match="is a file; allowed: a folder"):
        explanations.explain_manifest(model, samples[:1], taken, options)
    with pytest.raises(ManifestError, match="more than once"):
        explanations.explain_manifest(model, [samples[0]] * 2, tmp_path / "two", options)
    assert not (tmp_path / "two").exists()


def test_settings_on_disk_say_how_it_was_explained(model, samples, options, tmp_path):
    explanations.explain_manifest(model, samples[:1], tmp_path / "out", options)
    settings = json.loads((tmp_path / "out" / explanations.SETTINGS).read_text(encoding="utf-8"))
    assert settings["checkpoint"]["name"] == "toy"
    assert settings["n_segments"] == 2
    assert settings["labels"] == list(model.classes)
    assert not {"out", "threads", "memory_mb", "resume", "max_pixels"} & set(settings)


def test_a_full_disk_stops_and_the_sample_is_done_again(model, samples, options, tmp_path, monkeypatch):
    """Our output fails in the middle of the second sample's folder; a run that goes on redoes this folder only."""
    out = tmp_path / "out"
    sample, real, calls = samples[0], explanations._write_sounds, []
    three = [sample, replace(sample, id="b"), replace(sample, id="c")]

    def full(explanation, folder):
        calls.append(folder)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "kept.wav"))
        real(explanation, folder)

    with monkeypatch.context() as patch:
        patch.setattr(explanations, "_write_sounds", full)
        with pytest.raises(ParallelNetError, match=r"b/kept.wav cannot be written: the disk is full\. .*--resume"):
            explanations.explain_manifest(model, three, out, options)
    assert list(rows(out)) == ["pair"]
    assert (out / "samples" / "b" / "explanation.json").exists()
    stale = out / "samples" / "b" / "inverted.wav"
    stale.write_text("of the stopped run")
    counts = explanations.explain_manifest(model, three, out, replace(options, resume=True, manifest="m", out="o"))
    assert (counts.n_ok, counts.n_error, counts.n_skipped) == (2, 0, 1)
    assert not stale.exists()
    assert (out / "samples" / "b" / "kept.wav").stat().st_size > 1000


def test_what_a_killed_run_left_of_a_sample_that_fails_now_goes(model, samples, options, tmp_path):
    out = tmp_path / "out"
    explanations.explain_manifest(model, samples[2:3], out, options)  # its file is away
    half = out / "samples" / "gone"
    half.mkdir(parents=True)
    (half / "explanation.json").write_text("{")
    go_on = replace(options, resume=True, manifest="m", out="o")
    assert explanations.explain_manifest(model, samples[2:3], out, go_on).n_error == 1
    assert not half.exists()
    (half).mkdir()
    (half / "notes.txt").write_text("mine")
    explanations.explain_manifest(model, samples[2:3], out, go_on)
    assert (half / "notes.txt").read_text() == "mine"


def test_failed_samples_are_explained_when_their_file_is_back(model, samples, options, tmp_path):
    out, back = tmp_path / "out", tmp_path / "missing.wav"
    explanations.explain_manifest(model, samples[:4], out, options)
    back.write_bytes(Path(samples[0].speech).read_bytes())
    go_on = replace(options, resume=True, manifest="m", out="o")
    kept = explanations.explain_manifest(model, samples[:4], out, replace(go_on, retry_failed=False))
    assert (kept.n_ok, kept.n_error, kept.n_skipped) == (0, 2, 2)
    counts = explanations.explain_manifest(model, samples[:4], out, go_on)
    assert (counts.n_ok, counts.n_error, counts.n_skipped) == (1, 1, 2)
    assert [(name, row["status"]) for name, row in rows(out).items()] == [
        ("pair", "ok"),
        (HOSTILE, "ok"),
        ("gone", "ok"),
        ("unknown", "error"),
    ]
    assert "samples/gone/report.html" in (out / "index.html").read_text(encoding="utf-8")


def test_a_folder_that_is_taken_away_ends_the_batch_and_does_not_come_back(
    model, samples, options, tmp_path, monkeypatch
):
    out, real = tmp_path / "out", explanations.explain

    def moved(*args, **kwargs):
        if out.exists():
            out.rename(tmp_path / "elsewhere")
        return real(*args, **kwargs)

    monkeypatch.setattr(explanations, "explain", moved)
    with pytest.raises(ParallelNetError, match=r"out.* cannot be written: No such file"):
        explanations.explain_manifest(model, samples[:2], out, options)
    assert not out.exists()


def test_ids_and_labels_are_no_formulas_and_the_index_shows_them_as_they_came(model, samples, options, tmp_path):
    sample = replace(samples[1], id="=A1", label="@x")
    explanations.explain_manifest(model, [sample], tmp_path / "out", replace(options, target=None))
    (found,) = rows(tmp_path / "out").values()
    assert (found["id"], found["label"], found["status"]) == ("'=A1", "'@x", "ok")
    assert not any(found[name].startswith("'") for name in ("base_value", "image_value", "synergy"))
    index = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "=A1" in index
    assert "&#39;=A1" not in index


@pytest.mark.parametrize("method", ["owen", "paper", "exact", "sampled"])
def test_spectrograms_in_bands_are_drawn_and_reported(model, samples, tmp_path, method):
    small = {"n_segments": 2, "grid": "1x2", "mel_bands": 2, "method": method}
    found = explanations.explain(samples[0].speech, samples[0].image, model=model, **small)
    report = explanations.write_explanation(found, tmp_path / "out")
    if method in ("owen", "paper"):
        assert "band 2" in report.read_text(encoding="utf-8")
        assert (tmp_path / "out" / "division.png").is_file()


def test_nothing_of_an_earlier_explanation_stays(model, samples, tmp_path):
    small = {"n_segments": 2, "grid": "1x2"}
    explanations.write_explanation(explanations.explain(samples[0].speech, model=model, **small), tmp_path)
    assert (tmp_path / "kept.wav").is_file()
    mine = tmp_path / "thesis.txt"
    mine.write_text("mine")
    explanations.write_explanation(explanations.explain(None, samples[0].image, model=model, **small), tmp_path)
    assert not (tmp_path / "kept.wav").exists()
    assert not (tmp_path / "speech.png").exists()
    assert (tmp_path / "picture.png").is_file()
    assert mine.read_text() == "mine"
