"""Samples to metrics: what is drawn together, what failed, and the same figures as the predictions themselves."""

import errno
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet import measurement
from parallelnet.errors import ManifestError
from parallelnet.predictor import load
from parallelnet.types import EMOTIONS, Sample

_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy_checkpoint = fixtures.toy_checkpoint


@pytest.fixture
def samples(tmp_path):
    """Eight pairs of two utterances and four pictures, and one whose speech is missing."""
    rng = np.random.default_rng(0)
    for k in range(2):
        soundfile.write(tmp_path / f"{k}.wav", rng.normal(size=8000) * 0.1, 16_000)
    for k in range(4):
        Image.fromarray(rng.integers(256, size=(50, 50, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
    pairs = [
        Sample(
            f"pair-{k}",
            speech=str(tmp_path / f"{k % 2}.wav"),
            image=str(tmp_path / f"{k % 4}.png"),
            label=EMOTIONS[k % 4],
            group=f"speaker-{k % 2}",
        )
        for k in range(8)
    ]
    return [*pairs, Sample("gone", speech=str(tmp_path / "gone.wav"), label="sad")]


def test_pairs_that_share_an_utterance_or_picture_are_drawn_together(toy_checkpoint, samples):
    predictor = load(toy_checkpoint.path)
    both = measurement.measure(predictor, samples)
    assert both.failures[0][0] == "gone"
    assert "gone.wav" in both.failures[0][1]
    assert (both.metrics.n, both.metrics.resample, both.metrics.n_groups) == (8, "file", 2)
    seen = measurement.measure(predictor, samples[:8], modalities="image")
    assert (seen.metrics.resample, seen.metrics.n_groups) == ("file", 4)
    alone = measurement.measure(predictor, samples[:2])
    assert (alone.metrics.resample, alone.metrics.n_groups) == ("sample", 2)
    speakers = measurement.measure(predictor, samples[:8], modalities="image", by_group=True)
    assert speakers.metrics.n_groups == 2


def test_the_figures_are_those_of_the_predictions(toy_checkpoint, samples):
    predictor = load(toy_checkpoint.path)
    said = predictor.predict([s.speech for s in samples[:8]], [s.image for s in samples[:8]])
    right = np.mean([p.emotion == s.label for p, s in zip(said, samples, strict=False)])
    assert measurement.measure(predictor, samples[:8]).metrics.accuracy == pytest.approx(right)


def test_capitals_make_no_other_class(toy_checkpoint, samples):
    predictor = load(toy_checkpoint.path)
    loud = [replace(s, label=s.label.upper()) for s in samples[:8]]
    assert measurement.measure(predictor, loud).metrics == measurement.measure(predictor, samples[:8]).metrics


def test_no_failure_is_a_formula(toy_checkpoint, samples, tmp_path):
    bad = Sample("=1+1", speech=str(tmp_path / "gone.wav"), label="sad")
    measurement.write(tmp_path, measurement.measure(load(toy_checkpoint.path), [samples[0], bad]), {})
    assert (tmp_path / measurement.FAILURES).read_text().splitlines()[1].startswith("'=1+1,")


def test_nothing_that_can_be_measured_is_refused(toy_checkpoint, samples):
    with pytest.raises(ManifestError, match=r"None of 1 samples can be evaluated; the first: .*gone"):
        measurement.measure(load(toy_checkpoint.path), samples[8:])


def test_the_test_split_is_measured_where_there_are_splits(samples):

    split = [replace(s, split="test" if k < 3 else "train") for k, s in enumerate(samples)]
    assert [len(measurement.part(split, name)[0]) for name in (None, "train", "all")] == [3, 6, 9]
    assert measurement.part(samples, None)[1] == "all"
    with pytest.raises(ManifestError, match="No sample has the split 'validation'; there are: test, train"):
        measurement.part(split, "validation")


def test_a_bad_row_is_a_failure_with_its_reason(toy_checkpoint, samples):
    bad = Sample("bad", problem="row 9 is no good")
    chosen, _ = measurement.part([*samples[:2], bad], "all")
    assert measurement.measure(load(toy_checkpoint.path), chosen).failures == (("bad", "row 9 is no good"),)
    assert isinstance(next(load(toy_checkpoint.path).predict_each([bad])), ManifestError)


def test_a_full_disk_is_no_failure_of_a_sample(toy_checkpoint, samples, monkeypatch):
    predictor = load(toy_checkpoint.path)
    full = OSError(errno.ENOSPC, "No space left on device")  # where a long recording is kept while it is read
    monkeypatch.setattr(predictor, "hear", lambda *_, **__: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="No space left"):
        measurement.measure(predictor, samples[:4])
