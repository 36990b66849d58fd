"""From a voice and a picture to an `Explanation`, on a toy checkpoint whose numbers are known."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from parallelnet import audio_files, words
from parallelnet.errors import InputError, OptionError
from parallelnet.explanation.explaining import explain
from parallelnet.explanation.result import Explanation
from parallelnet.options import ExplainOptions, SignalOptions
from parallelnet.predictor import load

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_path = Path(__file__).parents[1] / "checkpoint_fixture.py"
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", _path)
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy_checkpoint, make_checkpoint, check = fixtures.toy_checkpoint, fixtures.make_checkpoint, fixtures.check

RATE_HZ = 16_000
# Both sides are the same float32 graphs on the same input; only the rows that share a batch differ.
SAME = 1e-6
FEW = {"n_segments": 4, "grid": "2x2"}


@pytest.fixture(scope="module")
def model(toy_checkpoint):
    return load(toy_checkpoint.path)


def long_tone(tone, seconds=9):
    return np.tile(tone, 5)[: seconds * RATE_HZ]


@pytest.mark.parametrize("method", ["owen", "paper", "exact", "sampled"])
def test_every_method_explains_what_predict_says(model, tone, picture, method):
    said = model.predict(tone, picture, sample_rate_hz=RATE_HZ)
    found = explain(tone, picture, model=model, sample_rate_hz=RATE_HZ, method=method, **FEW)
    assert found.prediction == said
    assert found.target == said.emotion
    assert found.method == method
    for name, probability in said.probs.items():
        assert found.values[name].full == pytest.approx(probability, abs=SAME)
    check(found)
    assert Explanation.from_json(found.to_json()) == found
    assert len(found.speech_units) == len(found.of_target.speech_units) == 4
    assert [len(row) for row in found.to_dict()["image_values"]] == [2, 2]
    assert (found.interactions is not None) == (method == "exact")
    assert (found.nodes != ()) == (method in ("owen", "paper"))


def test_long_recordings_are_explained_as_predict_hears_them(model, tone, picture):
    waveform = long_tone(tone)
    said = model.predict(waveform, picture, sample_rate_hz=RATE_HZ)
    found = explain(waveform, picture, model=model, sample_rate_hz=RATE_HZ)
    assert found.budget.n_windows == said.n_windows > 2
    assert found.of_target.full == pytest.approx(said.probs[said.emotion], abs=SAME)
    assert found.of_target.efficiency_gap <= 1e-6
    assert found.budget.speech_passes == 172 * said.n_windows
    assert found.budget.image_passes == 172 * said.n_windows
    # The picture is the same in every window, and a window hears only some of the segments.
    assert found.budget.passes_saved >= 172 * (said.n_windows - 1)


def test_recordings_too_long_for_memory_are_explained_alike(model, tone, picture, monkeypatch):
    settings = dict(model=model, sample_rate_hz=RATE_HZ, invert=True, **FEW)
    expected = explain(long_tone(tone), picture, **settings)
    monkeypatch.setattr(audio_files, "IN_MEMORY_BYTES", 1_000)
    found = explain(long_tone(tone), picture, **settings)
    assert found.values == expected.values
    for name in ("waveform", "kept", "silenced", "inverted", "log_mel"):
        np.testing.assert_array_equal(getattr(found.material, name), getattr(expected.material, name))


def test_log_odds_are_those_of_the_predicted_probability(model, tone, picture):
    found = explain(long_tone(tone), picture, model=model, sample_rate_hz=RATE_HZ, score="log-odds", **FEW)
    p = found.prediction.probs[found.target]
    assert found.of_target.full == pytest.approx(np.log(p / (1 - p)), abs=1e-4)  # the slope there is 1 / (p (1 - p))
    check(found)


def test_one_modality_alone(model, tone, picture):
    heard = explain(tone, model=model, sample_rate_hz=RATE_HZ, n_segments=4)
    assert heard.of_target.full == pytest.approx(
        model.predict(tone, sample_rate_hz=RATE_HZ).probs[heard.target], abs=SAME
    )
    assert heard.of_target.image_units == ()
    assert heard.modality_values["image"] == 0
    assert heard.budget.image_passes == 0
    check(heard)
    seen = explain(None, picture, model=model, grid="2x4")
    assert seen.of_target.full == pytest.approx(model.predict(image=picture).probs[seen.target], abs=SAME)
    assert seen.speech_units == ()
    assert seen.kept == ()
    assert [len(row) for row in seen.to_dict()["image_values"]] == [4, 4]
    check(seen)


def test_known_words_become_the_units(model, tone, picture):
    times = (("no", 0.2, 0.5), ("way", 1.0, 1.4))
    found = explain(tone, picture, model=model, sample_rate_hz=RATE_HZ, word_times=times, grid="1x1")
    assert [(u.word, u.start_s, u.end_s) for u in found.speech_units] == list(times)
    assert [(u.reach_start_s, u.reach_end_s) for u in found.speech_units] == [(0, 0.75), (0.75, 2.0)]
    assert found.units == "words"
    assert found.words_from == "given"
    assert set(found.heard) <= {"no", "way"}
    ignored = explain(tone, model=model, sample_rate_hz=RATE_HZ, word_times=times, units="segments", n_segments=3)
    assert [u.word for u in ignored.speech_units] == ["", "", ""]


def test_text_and_recognition_reach_the_recogniser_and_its_words_the_units(model, tone, monkeypatch):
    asked = []

    def answer(waveform, *given, engine, model):
        asked.append((len(waveform), *given, engine, model))
        return words.Alignment((words.Word("hm", 0.5, 1.0),), "listener 1", 0.5, 1.0, ("mumbled",))

    monkeypatch.setattr(words, "align", answer)
    monkeypatch.setattr(words, "transcribe", answer)
    found = explain(tone, model=model, sample_rate_hz=RATE_HZ, text="hm", stt="whisper", stt_model="there")
    assert asked == [(32_000, "hm", "whisper", "there")]
    assert found.words_from == "listener 1"
    assert "mumbled" in found.warnings
    again = explain(tone, model=model, sample_rate_hz=RATE_HZ, transcribe=True, listen=True)
    assert again.speech_units[0].word == "hm"
    assert again.heard == ("hm",)
    assert again.heard_by == "listener 1"


def test_targets(model, tone):
    classes = model.classes
    other = next(name for name in classes if name != model.predict(tone, sample_rate_hz=RATE_HZ).emotion)
    found = explain(tone, model=model, sample_rate_hz=RATE_HZ, target=other, n_segments=2)
    assert found.target == other != found.emotion
    assert found.of_target.full == pytest.approx(found.prediction.probs[other], abs=SAME)
    truth = explain(tone, model=model, sample_rate_hz=RATE_HZ, target="label", label=other, n_segments=2)
    assert truth.target == other
    with pytest.raises(OptionError, match="none is known"):
        explain(tone, model=model, sample_rate_hz=RATE_HZ, target="label")
    with pytest.raises(OptionError, match="Unknown class 'joy'"):
        explain(tone, model=model, sample_rate_hz=RATE_HZ, target="joy")


def test_fewer_labels_compete_as_in_predict(toy_checkpoint, tone, picture):
    two = load(toy_checkpoint.path, labels=("anger", "sad"))
    found = explain(tone, picture, model=two, sample_rate_hz=RATE_HZ, **FEW)
    assert set(found.values) == {"anger", "sad"}
    assert found.of_target.full == pytest.approx(found.prediction.probs[found.target], abs=SAME)
    check(found)


def test_bands_are_summed_to_their_segments(model, tone):
    found = explain(tone, model=model, sample_rate_hz=RATE_HZ, n_segments=4, mel_bands=2)
    assert np.shape(found.of_target.speech_bands) == (4, 2)
    np.testing.assert_allclose(np.sum(found.of_target.speech_bands, 1), found.of_target.speech_units, atol=1e-12)
    check(found)


def test_superpixels_cover_the_square(model, picture):
    found = explain(None, picture, model=model, superpixels=6)
    labels = np.array(found.image_labels)
    assert labels.shape == (128 * 128,)
    assert found.image_grid is None
    assert set(labels) == set(range(len(found.of_target.image_units)))
    check(found)


def test_what_is_kept_is_what_reaches_the_percentile(model, tone):
    found = explain(tone, model=model, sample_rate_hz=RATE_HZ, n_segments=10, percentile=30, invert=True)
    values = np.array(found.of_target.speech_units)
    assert found.kept == tuple(values >= np.percentile(values, 30))
    material = found.material
    # Within a fade, a - (a - b) rounds once in float32.
    np.testing.assert_allclose(material.kept + material.silenced, material.waveform, atol=6e-8)
    for unit, kept in zip(found.speech_units, found.kept, strict=True):
        middle = slice(int((unit.start_s + 0.05) * RATE_HZ), int((unit.end_s - 0.05) * RATE_HZ))
        assert (
            np.array_equal(material.kept[middle], material.waveform[middle])
            if kept
            else not material.kept[middle].any()
        )
    assert material.inverted.shape == tone.shape
    assert np.abs(material.inverted).max() == pytest.approx(1)


def test_sensitivity_names_every_other_pair_of_baselines(model, tone, picture):
    found = explain(tone, picture, model=model, sample_rate_hz=RATE_HZ, sensitivity=True, **FEW)
    pairs = {(each.speech_baseline, each.image_baseline) for each in found.sensitivity}
    assert len(found.sensitivity) == len(pairs) == 4 * 3 - 1
    assert (found.speech_baseline, found.image_baseline) not in pairs
    again = next(each for each in found.sensitivity if (each.speech_baseline, each.image_baseline) == ("blur", "mean"))
    direct = explain(
        tone, picture, model=model, sample_rate_hz=RATE_HZ, baseline_speech="blur", baseline_image="mean", **FEW
    )
    assert again.speech == pytest.approx(direct.modality_values["speech"])
    assert again.base == pytest.approx(direct.of_target.base)
    assert -1 <= again.rank_correlation <= 1


def test_trimmed_speech_keeps_the_seconds_of_the_file(make_checkpoint, tone):
    trimming = load(make_checkpoint(signals=SignalOptions(trim=True)).path)
    quiet = np.zeros(RATE_HZ, np.float32)
    found = explain(np.concatenate([quiet, tone, quiet]), model=trimming, sample_rate_hz=RATE_HZ, n_segments=4)
    assert 0.9 < found.speech_units[0].start_s < 1.2  # the tone swells from nothing, so the trim starts a little late
    assert 2.8 < found.speech_units[-1].end_s < 3.1
    assert len(found.material.waveform) == 4 * RATE_HZ
    assert found.material.log_mel_start_s == pytest.approx(found.speech_units[0].start_s)
    check(found)


def test_silence_around_speech_leaves_the_windows_and_the_seconds_of_the_file(model, tone, picture):
    before, behind = np.zeros(10 * RATE_HZ, np.float32), np.zeros(5 * RATE_HZ, np.float32)
    waveform = np.concatenate([before, tone, behind])
    said = model.predict(waveform, picture, sample_rate_hz=RATE_HZ)
    bare = explain(tone, picture, model=model, sample_rate_hz=RATE_HZ, **FEW)
    found = explain(waveform, picture, model=model, sample_rate_hz=RATE_HZ, **FEW)
    assert found.prediction == said
    assert found.of_target.full == pytest.approx(said.probs[said.emotion], abs=SAME)
    assert found.of_target.full == pytest.approx(bare.of_target.full, abs=SAME)
    assert found.of_target.speech_units == pytest.approx(bare.of_target.speech_units, abs=SAME)
    for unit, plain in zip(found.speech_units, bare.speech_units, strict=True):
        assert (unit.start_s, unit.end_s) == (10 + plain.start_s, 10 + plain.end_s)
    assert len(found.material.waveform) == 17 * RATE_HZ
    assert found.material.log_mel_start_s == 10
    np.testing.assert_array_equal(found.material.log_mel, bare.material.log_mel)
    np.testing.assert_array_equal(found.material.kept[10 * RATE_HZ : 12 * RATE_HZ], bare.material.kept)
    assert "15.0 s of 17.0 s of speech hold nothing" in found.warnings[0]
    check(found)


def test_windows_that_hold_nothing_are_left_out_of_explanations_as_well(model, tone):
    waveform = np.concatenate([tone, np.zeros(12 * RATE_HZ, np.float32), long_tone(tone, 7)])
    said = model.predict(waveform, sample_rate_hz=RATE_HZ)
    found = explain(waveform, model=model, sample_rate_hz=RATE_HZ, n_segments=8)
    assert found.budget.n_windows == said.n_windows < 6
    assert found.of_target.full == pytest.approx(said.probs[said.emotion], abs=SAME)
    # 21 s in 8 segments: the third and fourth lie within the silence, which no window hears.
    assert found.of_target.speech_units[2:4] == (0, 0)
    assert all(value != 0 for value in (found.of_target.speech_units[0], found.of_target.speech_units[-1]))
    check(found)


def test_words_keep_their_times_in_a_file_that_begins_with_silence(model, tone):
    waveform = np.concatenate([np.zeros(10 * RATE_HZ, np.float32), tone])
    times = [("before", 1.0, 1.5), ("one", 10.2, 10.8), ("two", 11.0, 11.9)]
    found = explain(waveform, model=model, sample_rate_hz=RATE_HZ, word_times=times)
    assert [(unit.word, unit.end_s) for unit in found.speech_units] == [("before one", 10.8), ("two", 11.9)]
    assert any("3 words became 2 units" in line for line in found.warnings)
    check(found)


def test_a_clip_of_one_frame_is_explained_with_what_it_has(model):
    click = np.full(100, 0.1, np.float32)
    found = explain(click, model=model, sample_rate_hz=RATE_HZ)
    assert 1 <= len(found.speech_units) <= 2
    assert any("16 segments became" in line for line in found.warnings)
    check(found)


def test_silence_is_explained_as_nothing(model):
    found = explain(np.zeros(RATE_HZ, np.float32), model=model, sample_rate_hz=RATE_HZ, n_segments=4)
    assert found.of_target.speech_units == pytest.approx((0, 0, 0, 0), abs=SAME)
    assert any("silence" in line for line in found.warnings)


def test_networks_that_cross_early_are_evaluated_whole_and_say_so(make_checkpoint, tone, picture):
    crossing = load(make_checkpoint(separable=False).path)
    found = explain(tone, picture, model=crossing, sample_rate_hz=RATE_HZ, n_segments=2, grid="1x2")
    assert found.budget.joint_passes > 0
    assert found.budget.speech_passes == found.budget.image_passes == 0
    assert any("do not separate" in line for line in found.warnings)
    assert found.of_target.full == pytest.approx(found.prediction.probs[found.target], abs=SAME)
    check(found)


def test_contradictions_and_bad_divisions_are_named(model, tone, picture):
    with pytest.raises(OptionError, match="there is none"):
        explain(None, picture, model=model, text="hello")
    with pytest.raises(OptionError, match="--units words needs words"):
        explain(tone, model=model, sample_rate_hz=RATE_HZ, units="words")
    with pytest.raises(OptionError, match=r"Unknown option 'metod'\. Did you mean 'method'"):
        explain(tone, model=model, sample_rate_hz=RATE_HZ, metod="owen")
    with pytest.raises(OptionError, match="open already"):
        explain(tone, model=model, sample_rate_hz=RATE_HZ, checkpoint="compact")
    with pytest.raises(InputError, match="128 x 128 cells"):
        explain(None, picture, model=model, grid="128x128")
    with pytest.raises(InputError, match=r"owen|sampled"):
        explain(tone, picture, model=model, sample_rate_hz=RATE_HZ, method="exact", n_segments=30)
    with pytest.raises(InputError, match="Neither speech nor image"):
        explain(model=model)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"grid": "4"}, "--grid"),
        ({"grid": "0x4"}, "--grid"),
        ({"grid": "4x4x4"}, "--grid"),
        ({"n_segments": 0}, "--n-segments"),
        ({"percentile": 100}, "--percentile"),
        ({"n_samples": 1}, "--n-samples"),
        ({"memory_mb": 1}, "--memory-mb"),
        ({"mel_bands": 0}, "--mel-bands"),
        ({"superpixels": 1}, "--superpixels"),
        ({"text": "a", "transcribe": True}, "--text and --transcribe"),
        ({"units": "segments", "text": "a"}, "--units segments"),
        ({"manifest": "m.csv"}, "--out"),
        ({"manifest": "m.csv", "out": "o", "speech": "a.wav"}, "--manifest"),
        ({"manifest": "m.csv", "out": "o", "text": "a"}, "--text belongs"),
        ({"resume": True}, "--resume"),
    ],
)
def test_options_out_of_range_name_their_flag(given, said):
    with pytest.raises(OptionError, match=said):
        ExplainOptions(**given)


def test_the_bundled_model_opens_by_itself_and_says_the_same_again(tone, picture):
    first, again = (explain(tone, picture, sample_rate_hz=RATE_HZ, **FEW) for _ in range(2))
    assert first.prediction.checkpoint == "compact"
    assert first.values == again.values  # to the bit: the same calls in one process (design, section 6)
