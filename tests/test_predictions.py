"""A manifest's predictions as a CSV: rows, reasons, and going on where a run was cut off."""

import csv
import importlib.util
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet import batches, checkpoint, records
from parallelnet.batches import predict_manifest
from parallelnet.errors import CheckpointError, OptionError, ParallelNetError
from parallelnet.options import LimitOptions
from parallelnet.predictor import load
from parallelnet.types import Sample

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy, toy_checkpoint, make_checkpoint = fixtures.toy, fixtures.toy_checkpoint, fixtures.make_checkpoint

# Probabilities from float32 logits of up to 10: errors of 1e-6 there, no larger after the softmax. See test_runtime.
SAME = 1e-5


@pytest.fixture(scope="module")
def toy_predictor(toy_checkpoint):
    return load(toy_checkpoint.path)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Both modalities, a file that is missing, 12 s of speech alone, nothing at all, a picture alone."""
    root = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    speech, image = {}, {}
    for seconds in (1, 12):
        speech[seconds] = str(root / f"{seconds}.wav")
        soundfile.write(speech[seconds], 0.1 * rng.normal(size=seconds * 16_000), 16_000)
    for k in (0, 1):
        image[k] = str(root / f"{k}.png")
        Image.fromarray(rng.integers(256, size=(60, 50, 3), dtype=np.uint8)).save(image[k])
    return [
        Sample("pair", speech=speech[1], image=image[0]),
        Sample("gone", speech=str(root / "missing.wav"), image=image[0]),
        Sample("föhn", speech=speech[12]),
        Sample("none"),
        Sample("seen, only", image=image[1]),
    ]


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_row_a_sample_with_its_reason(toy_predictor, samples, tmp_path):
    out, steps = tmp_path / "new" / "out.csv", []
    counts = predict_manifest(toy_predictor, samples, out, progress=steps.append)
    assert (counts.n_ok, counts.n_error, counts.n_skipped) == (3, 2, 0)
    assert sum(steps) == len(samples)
    found = rows(out)
    assert tuple(found[0]) == batches.columns(toy_predictor.classes)
    assert [row["id"] for row in found] == [sample.id for sample in samples]
    assert [row["status"] for row in found] == ["ok", "error", "ok", "error", "ok"]
    assert "does not exist" in found[1]["reason"]
    assert found[1]["emotion"] == found[1]["prob_sad"] == ""
    single = toy_predictor.predict(samples[0].speech, samples[0].image)
    # Six decimals are written: half of the last, and what a batch may differ by.
    assert [float(found[0][f"prob_{name}"]) for name in single.probs] == pytest.approx(
        list(single.probs.values()), abs=SAME + 5e-7
    )
    assert found[0]["emotion"] == single.emotion
    assert found[0]["conformal_set"] == "|".join(single.conformal_set)
    assert found[0]["uncertain"] == str(single.uncertain).lower()
    assert (found[0]["modalities"], found[0]["face"]) == ("speech|image", "off")
    assert [row["n_windows"] for row in found] == ["1", "", "5", "", "0"]


def test_what_cannot_be_judged_is_said_in_its_row(toy_predictor, samples, tmp_path):
    black, padded = tmp_path / "black.png", tmp_path / "padded.wav"
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(black)
    voice = soundfile.read(samples[0].speech)[0]
    soundfile.write(padded, np.concatenate([np.zeros(160_000), voice]), 16_000)
    predict_manifest(toy_predictor, [Sample("a", speech=str(padded), image=str(black))], tmp_path / "out.csv")
    (found,) = rows(tmp_path / "out.csv")
    assert (found["status"], found["n_windows"]) == ("ok", "1")
    assert found["warnings"].split("|") == [
        "10.0 s of 11.0 s of speech hold nothing and were left out.",
        "The picture is all but one colour: there was nothing to see.",
    ]


def test_modalities_leave_one_out(toy_predictor, samples, tmp_path):
    predict_manifest(toy_predictor, samples, tmp_path / "out.csv", modalities="image")
    found = rows(tmp_path / "out.csv")
    assert [row["modalities"] for row in found] == ["image", "image", "", "", "image"]


def test_a_run_cut_anywhere_resumes_to_the_same_bytes(toy_predictor, samples, tmp_path):
    whole = tmp_path / "whole.csv"
    predict_manifest(toy_predictor, samples, whole)
    content = whole.read_bytes()
    cut = tmp_path / "cut.csv"
    records.beside(whole).rename(records.beside(cut))
    # Every kind of cut: nothing, inside the header, inside a row, inside the two bytes of "ö", before a line's end.
    places = {0, 5, content.index(b"\n"), content.index(b"\n") + 1, content.index("ö".encode()) + 1, len(content) - 1}
    for end in sorted(places | set(range(7, len(content), 101))):
        cut.write_bytes(content[:end])
        predict_manifest(toy_predictor, samples, cut, resume=True)
        assert cut.read_bytes() == content


def test_each_row_is_on_disk_before_the_next_sample_runs(toy_predictor, samples, tmp_path, monkeypatch):
    out, seen = tmp_path / "out.csv", []
    run = toy_predictor.model._backend.run
    monkeypatch.setattr(toy_predictor.model._backend, "run", lambda *given: seen.append(len(rows(out))) or run(*given))
    predict_manifest(toy_predictor, samples, out)
    assert sorted(set(seen)) == [0, 2, 4]  # the other two failed before they came to the network


def test_what_is_finished_is_not_overwritten(toy_predictor, samples, tmp_path):
    out = tmp_path / "out.csv"
    predict_manifest(toy_predictor, samples, out)
    before = out.read_bytes()
    with pytest.raises(OptionError, match=r"exists\. Mend: --resume"):
        predict_manifest(toy_predictor, samples, out)
    counts = predict_manifest(toy_predictor, samples, out, resume=True)
    assert (counts.n_ok, counts.n_error, counts.n_skipped) == (0, 2, 3)
    assert out.read_bytes() == before


def test_a_file_that_was_away_is_tried_again(toy_predictor, samples, tmp_path):
    back, out = tmp_path / "back.wav", tmp_path / "out.csv"
    away = [samples[0], Sample("back", speech=str(back)), samples[4]]
    assert predict_manifest(toy_predictor, away, out).n_error == 1
    back.write_bytes(Path(samples[0].speech).read_bytes())
    kept = predict_manifest(toy_predictor, away, out, resume=True, retry_failed=False)
    assert (kept.n_ok, kept.n_error, kept.n_skipped) == (0, 1, 2)
    assert kept.first_error.startswith("back: Speech")
    counts = predict_manifest(toy_predictor, away, out, resume=True)
    assert (counts.n_ok, counts.n_error, counts.n_skipped, counts.first_error) == (1, 0, 2, "")
    assert [(row["id"], row["status"]) for row in rows(out)] == [("pair", "ok"), ("back", "ok"), ("seen, only", "ok")]


def test_other_options_data_or_checkpoint_are_not_mixed_in(
    toy_predictor, toy_checkpoint, make_checkpoint, samples, tmp_path
):
    out = tmp_path / "out.csv"
    predict_manifest(toy_predictor, samples[:2], out)
    before = out.read_bytes()
    place = toy_checkpoint.path
    others = {
        "face was 'off', is 'auto'": (load(place, face="auto"), samples[:2], {}),
        "labels was": (load(place, labels=toy_predictor.classes[:2]), samples[:2], {}),
        "modalities was 'both', is 'image'": (toy_predictor, samples[:2], {"modalities": "image"}),
        "checkpoint.sha256 was": (load(make_checkpoint("other", data={"n": 1}).path), samples[:2], {}),
        "data was '[0-9a-f]{64}', is": (toy_predictor, samples[1:3], {}),
        "data was '[0-9a-f]{64}', is 'x'": (toy_predictor, samples[:2], {"data": "x"}),
    }
    for told, (model, asked, changes) in others.items():
        with pytest.raises(OptionError, match=f"begun with other options or data: {told}.*another --out"):
            predict_manifest(model, asked, out, resume=True, **changes)
        assert out.read_bytes() == before
    # What decides no result may change: limits, threads, where the checkpoint lies.
    moved = shutil.copytree(place, tmp_path / "moved")
    free = load(moved, n_threads=1, limits=LimitOptions(max_duration_s=7, max_pixels=10_000))
    assert predict_manifest(free, samples[:2], out, resume=True).n_skipped == 1


def test_a_graph_that_changed_is_another_checkpoint(toy_checkpoint, tmp_path):
    copied = checkpoint.read(shutil.copytree(toy_checkpoint.path, tmp_path / "copied"))
    assert copied.digest() == toy_checkpoint.digest()
    (copied.path / "README.md").write_text("a card decides nothing")
    assert copied.digest() == toy_checkpoint.digest()
    with (copied.path / "head.onnx").open("ab") as graph:
        graph.write(b"\0")
    assert copied.digest() != toy_checkpoint.digest()
    with pytest.raises(CheckpointError, match="int8"):
        copied.digest(int8=True)


@pytest.mark.parametrize("kind", ["without its record", "damaged record", "foreign"])
def test_a_file_that_cannot_be_added_to_is_left_alone(toy_predictor, samples, tmp_path, kind):
    out = tmp_path / "out.csv"
    predict_manifest(toy_predictor, samples, out)
    if kind == "without its record":
        records.beside(out).unlink()
    elif kind == "damaged record":
        records.beside(out).write_text('{"face": "of')
    else:
        out.write_text("something else")
    told = {
        "without its record": r"out.csv.asked.json, which says .* Mend: bring that file along, or another --out\.",
        "damaged record": r"out.csv.asked.json is damaged .*another --out",
        "foreign": "does not hold results of checkpoint toy",
    }
    before = out.read_bytes()
    with pytest.raises(ParallelNetError, match=told[kind]):
        predict_manifest(toy_predictor, samples, out, resume=True)
    assert out.read_bytes() == before


def test_an_empty_file_is_begun_and_an_old_record_is_forgotten(toy_predictor, samples, tmp_path):
    out = tmp_path / "out.csv"
    out.touch()
    records.beside(out).write_text("of a file that was moved away")
    assert predict_manifest(toy_predictor, samples[:1], out).n_ok == 1


def test_one_process_at_a_time(toy_predictor, samples, tmp_path):
    out = tmp_path / "out.csv"
    with records.held(out), pytest.raises(ParallelNetError, match="Another process writes to"):
        predict_manifest(toy_predictor, samples, out)
    assert not out.exists()
    predict_manifest(toy_predictor, samples, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.asked.json"]


def test_a_link_is_the_file_that_it_leads_to(toy_predictor, samples, tmp_path):
    real, link = tmp_path / "real" / "out.csv", tmp_path / "link.csv"
    real.parent.mkdir()
    link.symlink_to(real)
    predict_manifest(toy_predictor, samples, link)
    assert link.is_symlink()
    assert len(rows(real)) == len(samples)
    with records.held(real), pytest.raises(ParallelNetError, match="Another process"):
        predict_manifest(toy_predictor, samples, link, resume=True)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_an_out_that_is_no_file_is_refused(toy_predictor, samples, tmp_path, kind):
    out = tmp_path / "out.csv"
    out.mkdir() if kind == "folder" else os.mkfifo(out)
    with pytest.raises(OptionError, match="allowed: a csv file"):
        predict_manifest(toy_predictor, samples, out)


def test_a_decoder_that_breaks_is_a_row_not_a_stop(toy_predictor, samples, tmp_path, monkeypatch):
    read = toy_predictor._single

    def broken(speech, *rest):
        if speech == samples[2].speech:
            raise ZeroDivisionError("deep\ninside")
        return read(speech, *rest)

    monkeypatch.setattr(toy_predictor, "_single", broken)
    counts = predict_manifest(toy_predictor, samples, tmp_path / "out.csv")
    assert counts.n_error == 3
    assert rows(tmp_path / "out.csv")[2]["reason"] == "ZeroDivisionError: deep inside"


def test_a_sample_without_the_modality_that_is_asked_for_says_so(toy_predictor, samples, tmp_path):
    lone = [replace(samples[0], id="picture alone", speech=None)]
    predict_manifest(toy_predictor, lone, tmp_path / "out.csv", modalities="speech")
    assert rows(tmp_path / "out.csv")[0]["reason"] == "It has no speech, and --modalities is speech."
