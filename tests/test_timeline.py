"""Time lines: the windows of a prediction kept apart, pauses left out, neighbours averaged, memory flat."""

import importlib.util
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from parallelnet import audio, judging, predictor, timeline
from parallelnet.errors import InputError
from parallelnet.options import LimitOptions

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
fixtures = {}
for name in ("clip_fixture", "checkpoint_fixture"):
    _spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    fixtures[name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(fixtures[name])
write_clip = fixtures["clip_fixture"].write_clip
make_checkpoint, toy_checkpoint = fixtures["checkpoint_fixture"].make_checkpoint, fixtures["checkpoint_fixture"].toy_checkpoint  # fmt: skip  # noqa: E501

RATE = 16_000


@pytest.fixture
def model(toy_checkpoint):
    return predictor.load(toy_checkpoint.path)


def voice(seconds, seed=0):
    """A tone that changes four times a second, so that windows differ."""
    rng = np.random.default_rng(seed)
    pitch = np.repeat(rng.uniform(100, 900, int(4 * seconds) + 1), RATE // 4)[: int(seconds * RATE)]
    return (0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)).astype(np.float32)


def talk(path, *parts):
    """Write voices (seconds) and pauses (negative seconds)."""
    waves = [voice(s, seed) if s > 0 else np.zeros(int(-s * RATE), np.float32) for seed, s in enumerate(parts)]
    soundfile.write(path, np.concatenate(waves), RATE)
    return path


def test_windows_are_those_of_a_prediction(model, tmp_path):
    path = talk(tmp_path / "a.wav", 11, -5, 3, -4, 9)
    found = timeline.follow(model, path, smooth_s=0)
    heard = model.hear(path)
    starts = sorted(set(np.round(found.windows[:, 0], 6)))
    expected = np.array(heard.starts(4.096)) * 512 / RATE + heard.offset_s
    np.testing.assert_allclose(starts, expected, atol=1e-6)
    windows = replace(heard.windows(4.096), loudest=None)
    probs = model.model.head(model.model.speech_branches(windows[:1]), None, modalities="speech")[0]
    assert found.own[0].argmax() == probs.argmax()
    np.testing.assert_array_equal(found.own, found.probs)
    np.testing.assert_allclose(found.own.sum(axis=1), 1)


def test_a_window_is_levelled_by_itself(model, tmp_path):
    """As if it were an utterance: a loud minute elsewhere must not change what is heard."""
    quiet = 0.02 * voice(4.096, 5)
    soundfile.write(tmp_path / "alone.wav", quiet, RATE, subtype="FLOAT")
    soundfile.write(
        tmp_path / "beside.wav", np.concatenate([quiet, np.zeros(5 * RATE), voice(6)]), RATE, subtype="FLOAT"
    )
    alone, beside = (timeline.follow(model, tmp_path / f"{name}.wav", smooth_s=0) for name in ("alone", "beside"))
    np.testing.assert_allclose(alone.own[0], beside.own[0], atol=1e-3)  # frames at the end see silence instead of zeros


def test_spans_and_pauses_fill_the_whole_and_never_overlap(model, tmp_path):
    found = timeline.follow(model, talk(tmp_path / "a.wav", -4, 11, -5, 0.6, -3, 9, -6))
    parts = sorted([*map(tuple, found.spans), *found.pauses])
    assert parts[0][0] == 0
    assert parts[-1][1] == pytest.approx(found.duration_s)
    for (_, end), (start, _) in pairwise(parts):
        assert end == pytest.approx(start, abs=1e-3)
    np.testing.assert_allclose([end - start for start, end in found.pauses], [4, 5, 3, 6], atol=0.6)
    inside = (found.windows[:, 0] <= found.spans[:, 0] + 1e-6) & (found.spans[:, 1] <= found.windows[:, 1] + 1e-6)
    assert inside.all()


def test_a_recording_shorter_than_a_window(model, tmp_path):
    found = timeline.follow(model, talk(tmp_path / "a.wav", 1.5))
    assert len(found.spans) == 1
    assert found.spans[0] == pytest.approx([0, 1.5], abs=0.05)
    assert found.pauses == ()


def test_smoothing_is_a_triangle_over_time():
    own = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    middles = np.array([0.0, 2, 4, 100])
    found = timeline._smoothed(own, middles, 6.0)
    weights = np.array([1, 2 / 3, 1 / 3])
    np.testing.assert_allclose(found[0], [1 / weights.sum(), (weights[1:] / weights.sum()).sum()])
    np.testing.assert_allclose(found[3], [0, 1])  # nothing is near
    np.testing.assert_array_equal(timeline._smoothed(own, middles, 0.0), own)


def test_passages_are_runs_that_touch_and_agree():
    spans = np.array([[0, 2], [2, 4], [4, 6], [9, 11], [11, 13.0]])
    probs = np.array([[0.8, 0.2], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])
    likely = np.array([[1, 0], [1, 1], [1, 0], [1, 0], [0, 1]], bool)
    used = ("speech",) * 5
    found = timeline.Timeline(("a", "b"), spans, spans, probs, probs, likely, used, ((6.0, 9.0),), 13.0, 0.0, "toy")
    assert [(p.start_s, p.end_s, p.emotion, p.likely) for p in found.passages()] == [
        (0, 2, "a", ("a",)),
        (2, 4, "a", ("a", "b")),
        (4, 6, "a", ("a",)),
        (9, 11, "a", ("a",)),
        (11, 13, "b", ("b",)),
    ]


def test_the_set_holds_the_emotion_and_what_the_window_leaves_open(model, tmp_path):
    found = timeline.follow(model, talk(tmp_path / "a.wav", 30))
    assert found.likely[np.arange(len(found.probs)), found.probs.argmax(axis=1)].all()
    threshold = model.facts.conformal["speech"]
    assert (found.likely >= (1 - found.own <= threshold)).all()
    assert found.likely_of(0)[0] == found.emotion(0)


def test_frames_of_a_clip_are_judged_with_the_windows_around_them(make_checkpoint, tmp_path, picture):
    model = predictor.load(make_checkpoint(modalities=("speech", "image")).path, face="off")
    path = write_clip(tmp_path / "a.mp4", picture, voice(6), seconds=3, fps=4)
    found = timeline.follow(model, path, smooth_s=0)
    assert found.used[0] == "both"
    sound = timeline.follow(model, write_clip(tmp_path / "b.mp4", None, voice(6)), smooth_s=0)
    assert set(sound.used) == {"speech"}
    assert not np.allclose(sound.own[0], found.own[0])
    assert sound.warnings[0] == "The clip has no pictures: its sound alone was judged." or "sound" not in sound.warnings


def test_a_silent_clip_is_followed_by_its_frames(make_checkpoint, tmp_path, picture):
    model = predictor.load(make_checkpoint(modalities=("speech", "image")).path, face="off")
    found = timeline.follow(model, write_clip(tmp_path / "a.mp4", picture, seconds=9, fps=2))
    assert set(found.used) == {"image"}
    assert found.waveform is None
    assert found.duration_s == pytest.approx(8.5)
    assert "The clip has no sound track: its frames alone were judged." in found.warnings


def test_a_clip_without_a_face_is_not_judged_by_its_frames(model, tmp_path, picture):
    model = predictor.load(model._opened.path, face="auto")
    big = picture.repeat(4, 0).repeat(4, 1)
    with pytest.raises(InputError, match="Nothing in it can be judged"):
        timeline.follow(model, write_clip(tmp_path / "a.mp4", big, seconds=1, fps=1))
    found = timeline.follow(model, write_clip(tmp_path / "b.mp4", big, voice(2), seconds=1, fps=1))
    assert found.used == ("speech",)
    assert any("A face was found in 0 of" in note for note in found.warnings)


def test_what_a_model_does_not_take(make_checkpoint, tmp_path):
    model = predictor.load(make_checkpoint(modalities=("image",)).path)
    with pytest.raises(InputError, match="takes no speech"):
        timeline.follow(model, talk(tmp_path / "a.wav", 2))


def test_limits_and_bad_files(toy_checkpoint, tmp_path):
    model = predictor.load(toy_checkpoint.path, limits=LimitOptions(max_duration_s=1))
    with pytest.raises(InputError, match="--max-duration-s"):
        timeline.follow(model, talk(tmp_path / "a.wav", 2))
    (tmp_path / "b.mp4").write_text("words")
    with pytest.raises(InputError, match="it is text"):
        timeline.follow(model, tmp_path / "b.mp4")


def test_frames_of_a_long_pause_are_not_kept(model):
    """Else memory would grow with the length of a pause."""
    windows = np.array([[0.0, 4.0], [1000.0, 1004.0]])
    taken = []

    def frames():
        for at in range(1010):
            taken.append(at)
            yield float(at), np.zeros((3, 128, 128), np.float32)

    votes = []
    real, timeline.voting.votes = timeline.voting.votes, lambda m, block, c: votes.append(block) or real(m, block, c)
    try:
        list(timeline._judged(model, windows, None, frames()))
    finally:
        timeline.voting.votes = real
    assert [len(signals.image) for signals in votes[0].values()] == [4, 4]


def test_judging_says_which_windows_belong_to_which_stretch():
    wave = np.concatenate([voice(5), np.zeros(4 * RATE), voice(1), np.zeros(4 * RATE), voice(1)]).astype(np.float32)
    heard = judging.hear(wave, predictor.load().signals)
    parts = list(heard.starts_by_stretch(4.096))
    assert len(parts) == len(heard.stretches) == 3
    assert heard.starts(4.096) == tuple(sorted({start for part in parts for start in part}))
    assert audio.cut(heard.part, 4.096, parts[2])[:].shape == (1, 1, 128, 128)
