"""A clip as a sample: predicted by its sound and the mean of its best frames, explained by the best one."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from parallelnet import predictor, video, voting
from parallelnet.errors import InputError
from parallelnet.explanation.batch import write_explanation
from parallelnet.explanation.explaining import explain
from parallelnet.report import terminal
from parallelnet.types import Prediction, Sample

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("clip_fixture", Path(__file__).with_name("clip_fixture.py"))
clips = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(clips)
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
make_checkpoint, toy_checkpoint = fixtures.make_checkpoint, fixtures.toy_checkpoint

SAME = 1e-5  # probabilities from float32 logits of up to 10, as in test_predictor


@pytest.fixture
def model(toy_checkpoint):
    return predictor.load(toy_checkpoint.path, face="off")


@pytest.fixture
def clip(tmp_path, picture, tone):
    return str(clips.write_clip(tmp_path / "a.mp4", lambda s: np.roll(picture, int(30 * s), 1), tone, fps=4))


def test_every_window_meets_every_frame(model, clip):
    found = model.predict(clip, clip)
    heard, seen = model.sense(clip, clip)
    assert len(seen) == len(found.frames) == video.AVERAGED
    pairs = [model.predict_signals(model.signals_of(heard, each)) for each in seen]
    for name, p in found.probs.items():
        assert p == pytest.approx(np.mean([each.probs[name] for each in pairs]), abs=SAME)
        alone = np.mean([each.alone["image"][name] for each in pairs])
        assert found.alone["image"][name] == pytest.approx(alone, abs=SAME)
        assert found.alone["speech"][name] == pytest.approx(pairs[0].alone["speech"][name], abs=SAME)


def test_clips_among_other_samples(model, clip, tone_wav, picture_png):
    samples = [
        Sample("a", speech=str(tone_wav), image=str(picture_png)),
        Sample("b", speech=clip, image=clip),
        Sample("c", speech=str(tone_wav)),
        Sample("d", image=str(picture_png)),
    ]
    many = list(model.predict_each(samples))
    for sample, found in zip(samples, many, strict=True):
        one = model.predict(sample.speech, sample.image)
        assert found.emotion == one.emotion
        assert list(found.probs.values()) == pytest.approx(list(one.probs.values()), abs=SAME)
    assert [len(found.frames) for found in many] == [0, 5, 0, 0]


def test_the_frames_are_named_and_come_back_from_json(model, clip, capsys):
    found = model.predict(clip, clip)
    assert Prediction.from_json(found.to_json()) == found
    assert json.loads(found.to_json())["frames"][0] == {
        "index": found.frames[0].index,
        "time_s": found.frames[0].time_s,
    }
    terminal.show("prediction", of=found, others=())
    assert f"frames     {found.frames[0]}, averaged with " in capsys.readouterr().out


def test_long_speech_points_to_the_time_line(model, tone, capsys):
    terminal.show("prediction", of=model.predict(np.tile(tone, 5), sample_rate_hz=16_000), others=())
    assert "windows    4, averaged: parallelnet timeline FILE" in capsys.readouterr().out
    terminal.show("prediction", of=model.predict(tone, sample_rate_hz=16_000), others=())
    assert "timeline" not in capsys.readouterr().out


def test_without_sound_or_pictures_what_is_there_is_judged(model, tmp_path, picture, tone):
    silent = clips.write_clip(tmp_path / "silent.mp4", picture, seconds=0.5)
    found = model.predict(silent, silent)
    assert found.modalities == ("image",)
    assert found.warnings[0] == "The clip has no sound track: its frames alone were judged."
    dark = clips.write_clip(tmp_path / "dark.mp4", None, tone)
    found = model.predict(dark, dark)
    assert found.modalities == ("speech",)
    assert "The clip has no pictures: its sound alone was judged." in found.warnings


def test_a_model_of_one_modality_takes_its_part(make_checkpoint, clip):
    for name in ("speech", "image"):
        model = predictor.load(make_checkpoint(name, modalities=(name,)).path, face="off")
        assert model.predict(clip, clip).modalities == (name,)


def test_a_network_that_does_not_separate(make_checkpoint, clip):
    model = predictor.load(make_checkpoint(separable=False).path, face="off")
    heard, seen = model.sense(clip, clip)
    pairs = [model.predict_signals(model.signals_of(heard, each)) for each in seen]
    found = model.predict(clip, clip)
    for name, p in found.probs.items():
        assert p == pytest.approx(np.mean([each.probs[name] for each in pairs]), abs=SAME)


def test_the_best_frame_is_explained_and_named(model, clip, tmp_path):
    explanation = explain(clip, clip, model=model, grid="2x2", n_segments=2)
    best = model.predict(clip, clip).frames[0]
    assert explanation.prediction.frames == (best,)
    heard, seen = model.sense(clip, clip)
    single = model.predict_signals(model.signals_of(heard, seen[0]))
    assert explanation.of_target.full == pytest.approx(single.probs[explanation.target], abs=SAME)
    page = write_explanation(explanation, tmp_path / "out", speech_name="a.mp4", image_name="a.mp4")
    assert f"a.mp4, {best}" in page.read_text(encoding="utf-8")


def test_the_same_file_twice_is_a_clip_or_refused(model, tone_wav):
    with pytest.raises(InputError, match="is no clip that is known"):
        model.predict(str(tone_wav), str(tone_wav))


def test_pictures_of_a_sample_stand_together():
    """Means over an owner's rows rely on it."""
    owners = []

    class Model:
        separable, modalities = True, ("speech", "image")

        def speech_branches(self, x):
            return (x.reshape(len(x), -1)[:, :1],)

        image_branches = speech_branches

        def head(self, speech, image, modalities):
            owners.append((modalities, speech, image))
            given = [x[0] for x in (speech, image) if x is not None]
            return np.repeat(sum(given), 2, axis=1)

    def images(*values):
        return np.stack([np.full((3, 2, 2), v, np.float32) for v in values])

    block = {
        0: voting.Signals(images(1, 2)[:, :1], images(10, 20, 30), None),
        3: voting.Signals(images(5)[:, :1], images(40), None),
    }
    voting.votes(Model(), block, [0, 1])
    name, speech, image = owners[-1]
    assert name == "both"
    pairs = list(zip(speech[0].ravel().tolist(), image[0].ravel().tolist(), strict=True))
    assert pairs == [(1, 10), (1, 20), (1, 30), (2, 10), (2, 20), (2, 30), (5, 40)]
