"""A manifest's predictions as a CSV: rows, reasons, and going on where a run was cut off."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet import audio, predictions, predictor
from parallelnet.errors import ManifestError, OptionError
from parallelnet.predictions import predict_manifest
from parallelnet.predictor import load
from parallelnet.types import Sample

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy, toy_checkpoint = fixtures.toy, fixtures.toy_checkpoint

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
    assert tuple(found[0]) == predictions.columns(toy_predictor.classes)
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


def test_a_run_cut_anywhere_resumes_to_the_same_file(toy_predictor, samples, tmp_path):
    whole = tmp_path / "whole.csv"
    predict_manifest(toy_predictor, samples, whole)
    content = whole.read_bytes()
    # Every kind of cut: nothing, inside the header, inside a row, inside the two bytes of "ö", before a line's end.
    places = {0, 5, content.index(b"\n"), content.index(b"\n") + 1, content.index("ö".encode()) + 1, len(content) - 1}
    for end in sorted(places | set(range(7, len(content), 101))):
        cut = tmp_path / "cut.csv"
        cut.write_bytes(content[:end])
        done = max(0, content[:end].count(b"\n") - 1)
        counts = predict_manifest(toy_predictor, samples, cut, resume=True)
        assert counts.n_skipped == done
        assert counts.n_ok + counts.n_error == len(samples) - done
        redone = rows(cut)
        assert [row["id"] for row in redone] == [sample.id for sample in samples]
        for row, expected in zip(redone, rows(whole), strict=True):
            assert float(row["prob_sad"] or 0) == pytest.approx(float(expected["prob_sad"] or 0), abs=SAME + 1e-6)
            assert (row["status"], row["reason"]) == (expected["status"], expected["reason"])


def test_rows_are_on_disk_after_each_block(toy_predictor, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, "_BLOCK_SAMPLES", 2)
    out, seen = tmp_path / "out.csv", []
    predict_manifest(toy_predictor, samples, out, progress=lambda _: seen.append(len(rows(out))))
    assert seen == [1, 2, 3, 4, 5]


def test_what_is_finished_is_not_overwritten(toy_predictor, samples, tmp_path):
    out = tmp_path / "out.csv"
    predict_manifest(toy_predictor, samples, out)
    before = out.read_bytes()
    with pytest.raises(OptionError, match=r"exists\. Mend: --resume"):
        predict_manifest(toy_predictor, samples, out)
    assert predict_manifest(toy_predictor, samples, out, resume=True).n_skipped == len(samples)
    assert out.read_bytes() == before


@pytest.mark.parametrize("content", ["something else", "id,status\n1,ok\n", "{header}1,ok\n", "{header}{foreign}\n"])
def test_a_foreign_file_is_refused_and_left_alone(toy_predictor, samples, tmp_path, content):
    columns = predictions.columns(toy_predictor.classes)
    out = tmp_path / "out.csv"
    foreign = ",".join(["x"] * (len(columns) - 1) + ["another-model"])
    out.write_text(content.format(header=",".join(columns) + "\n", foreign=foreign))
    before = out.read_bytes()
    with pytest.raises(ManifestError, match="does not hold results of checkpoint toy"):
        predict_manifest(toy_predictor, samples, out, resume=True)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("ids", "text"), [(["a", "a"], "1 ids occur more than once"), (["a\nb"], "line break"), ([""], "empty")]
)
def test_ids_that_cannot_be_told_apart(toy_predictor, tmp_path, ids, text):
    with pytest.raises(ManifestError, match=text):
        predict_manifest(toy_predictor, [Sample(name) for name in ids], tmp_path / "out.csv")


def test_a_decoder_that_breaks_is_a_row_not_a_stop(toy_predictor, samples, tmp_path, monkeypatch):
    read = audio.read

    def broken(source, *rest, **named):
        if source == samples[2].speech:
            raise ZeroDivisionError("deep\ninside")
        return read(source, *rest, **named)

    monkeypatch.setattr(audio, "read", broken)
    counts = predict_manifest(toy_predictor, samples, tmp_path / "out.csv")
    assert counts.n_error == 3
    assert rows(tmp_path / "out.csv")[2]["reason"] == "ZeroDivisionError: deep inside"
