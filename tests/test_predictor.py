"""From files and arrays to predictions, alone and in lists."""

import copy
import importlib.util
import io
import multiprocessing
import os
import pickle
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import parallelnet
from parallelnet import audio, audio_files, batches, predictor, voting
from parallelnet.errors import CheckpointError, InputError, OptionError
from parallelnet.options import LimitOptions, SignalOptions
from parallelnet.predictor import load
from parallelnet.types import Prediction, Sample

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy, toy_checkpoint, make_checkpoint = fixtures.toy, fixtures.toy_checkpoint, fixtures.make_checkpoint

RATE_HZ = 16_000
# Probabilities from float32 logits of up to 10: errors of 1e-6 there, no larger after the softmax. See test_runtime.
SAME = 1e-5


def tone(seconds, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * (200 + 150 * seed) * t) * np.sin(3 * t) + 0.02 * rng.normal(size=len(t))).astype(
        "f4"
    )


def picture(seed=0, size=(60, 50)):
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(*size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of three utterances (1, 2 and 12 s) and three pictures, and of files that are none."""
    root = tmp_path_factory.mktemp("files")
    paths = {}
    for k, seconds in enumerate((1, 2, 12)):
        paths[f"speech{k}"] = str(root / f"{k}.wav")
        soundfile.write(paths[f"speech{k}"], tone(seconds, k), RATE_HZ)
        paths[f"image{k}"] = str(root / f"{k}.png")
        Image.fromarray(picture(k)).save(paths[f"image{k}"])
    for name in ("empty.wav", "empty.png"):
        (root / name).write_bytes(b"")
        paths[name] = str(root / name)
    (root / "text.png").write_text("no picture")
    paths["text.png"] = str(root / "text.png")
    paths["missing"] = str(root / "missing.wav")
    return paths


@pytest.fixture(scope="module")
def toy_predictor(toy_checkpoint):
    return load(toy_checkpoint.path)


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def values(prediction):
    return list(prediction.probs.values())


def assert_same(left: Prediction, right: Prediction):
    np.testing.assert_allclose(values(left), values(right), atol=SAME)
    for name, probs in left.alone.items():
        np.testing.assert_allclose(list(probs.values()), list(right.alone[name].values()), atol=SAME)
    assert replace(left, probs={}, alone={}) == replace(right, probs={}, alone={})


def test_a_pair_by_hand(toy_predictor, toy, files):
    found = toy_predictor.predict(files["speech0"], files["image0"])
    speech = audio.cut(audio.read(files["speech0"]))[:]
    image, _ = parallelnet.predictor.image.signal(files["image0"])
    silence, black = np.zeros_like(speech), np.zeros_like(image[None])
    assert list(found.probs) == ["anger", "happy", "hate", "sad"]
    np.testing.assert_allclose(values(found), softmax(toy.logits(speech, image[None]) / 2)[0], atol=SAME)
    heard, seen = found.alone["speech"], found.alone["image"]
    np.testing.assert_allclose(list(heard.values()), softmax(toy.logits(speech, black) / 3)[0], atol=SAME)
    np.testing.assert_allclose(list(seen.values()), softmax(toy.logits(silence, image[None]) / 4)[0], atol=SAME)
    assert found.emotion == max(found.probs, key=found.probs.get)
    assert (found.modalities, found.n_windows, found.checkpoint) == (("speech", "image"), 1, "toy")
    assert found.face is not None
    assert found.face.status == "off"
    assert sum(values(found)) == pytest.approx(1, abs=1e-12)


def test_one_modality_equals_what_the_pair_says_of_it_alone(toy_predictor, files):
    pair = toy_predictor.predict(files["speech0"], files["image0"])
    for name, given in (("speech", {"speech": files["speech0"]}), ("image", {"image": files["image0"]})):
        single = toy_predictor.predict(**given)
        np.testing.assert_allclose(values(single), list(pair.alone[name].values()), atol=SAME)
        assert single.modalities == (name,)
        assert single.alone == {}
    assert toy_predictor.predict(image=files["image0"]).n_windows == 0
    assert toy_predictor.predict(files["speech0"]).face is None


def test_long_speech_is_the_mean_over_windows(toy_predictor, toy, files):
    windows = audio.cut(audio.read(files["speech2"]))[:]
    assert len(windows) > 2
    image, _ = parallelnet.predictor.image.signal(files["image0"])
    found = toy_predictor.predict(files["speech2"], files["image0"])
    each = softmax(toy.logits(windows, np.repeat(image[None], len(windows), axis=0)) / 2)
    assert np.abs(each - each[0]).max() > 100 * SAME  # else the mean would show nothing
    np.testing.assert_allclose(values(found), each.mean(axis=0), atol=SAME)
    assert found.n_windows == len(windows)


@pytest.mark.parametrize("kind", ["bytes", "stream", "array", "pillow"])
def test_every_kind_of_source_says_the_same(toy_predictor, files, kind):
    expected = toy_predictor.predict(files["speech0"], files["image0"])
    content = {name: Path(files[name]).read_bytes() for name in ("speech0", "image0")}
    speech, image, settings = {
        "bytes": (content["speech0"], content["image0"], {}),
        "stream": (io.BytesIO(content["speech0"]), io.BytesIO(content["image0"]), {}),
        "array": (soundfile.read(files["speech0"], dtype="int16")[0], picture(0), {"sample_rate_hz": RATE_HZ}),
        "pillow": (files["speech0"], Image.fromarray(picture(0)), {}),
    }[kind]
    assert_same(toy_predictor.predict(speech, image, **settings), expected)


@pytest.mark.parametrize("block", [1, 2, 64])
def test_a_mixed_list_equals_one_by_one(toy_predictor, files, monkeypatch, block):
    monkeypatch.setattr(predictor, "_BLOCK_SAMPLES", block)
    speech = [files["speech0"], None, files["speech2"], files["speech1"], None]
    images = [files["image0"], files["image1"], None, files["image2"], files["image0"]]
    listed = toy_predictor.predict(speech, images)
    assert len(listed) == 5
    for pair, found in zip(zip(speech, images, strict=True), listed, strict=True):
        assert_same(found, toy_predictor.predict(*pair))
    for found, path in zip(toy_predictor.predict(image=tuple(images[:2])), images[:2], strict=True):
        assert_same(found, toy_predictor.predict(image=path))


def test_a_list_is_one_pass_through_each_branch(toy_predictor, files, monkeypatch):
    calls = []
    backend = toy_predictor.model._backend
    run = backend.run
    toy_predictor.predict(files["speech0"])  # so that the branches of zeros are known
    toy_predictor.predict(image=files["image0"])
    monkeypatch.setattr(backend, "run", lambda part, arrays: calls.append(part) or run(part, arrays))
    toy_predictor.predict(
        [files["speech0"], files["speech1"], None], [files["image0"], files["image1"], files["image2"]]
    )
    assert sorted(calls) == ["head", "head", "head", "image", "speech"]


def test_blocks_stay_small_however_long_the_recordings(toy_predictor, files, monkeypatch):
    monkeypatch.setattr(predictor, "_BLOCK_WINDOWS", 4)
    sizes = []
    block = toy_predictor._judged
    monkeypatch.setattr(toy_predictor, "_judged", lambda b: sizes.append(len(b)) or block(b))
    toy_predictor.predict([files["speech2"]] * 3)  # 5 windows each
    assert sizes == [1, 1, 1, 0]


def test_windows_run_a_few_at_a_time_however_many_there_are(toy_predictor, files, monkeypatch):
    speech = [files["speech2"], None, files["speech0"], files["speech2"]]  # 5, 0, 1 and 5 windows
    images = [files["image0"], files["image1"], files["image2"], None]
    expected = toy_predictor.predict(speech, images)
    monkeypatch.setattr(voting, "_WINDOWS_AT_ONCE", 4)
    monkeypatch.setattr(audio_files, "IN_MEMORY_BYTES", 1_000)  # and from temporary files
    sizes = []
    hears = toy_predictor.model.speech_branches
    monkeypatch.setattr(toy_predictor.model, "speech_branches", lambda x: sizes.append(len(x)) or hears(x))
    for found, theirs in zip(toy_predictor.predict(speech, images), expected, strict=True):
        assert_same(found, theirs)
    assert sizes == [4, 4, 3]


def test_no_room_for_a_temporary_file_is_told_as_what_it_is(toy_predictor, files, monkeypatch, tmp_path):
    monkeypatch.setattr(audio_files, "IN_MEMORY_BYTES", 1_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    (found,) = toy_predictor.predict_each([Sample("a", files["speech0"])])
    with pytest.raises(OSError, match="No room"):  # and no row of the sample's
        batches.failed(found)


def test_singly_is_what_each_sample_says_alone(toy_predictor, files, monkeypatch):
    sizes = []
    block = toy_predictor._judged
    monkeypatch.setattr(toy_predictor, "_judged", lambda b: sizes.append(len(b)) or block(b))
    samples = [Sample("a", files["speech0"], files["image0"]), Sample("b", image=files["image1"]), Sample("c")]
    found = list(toy_predictor.predict_each(samples, singly=True))
    assert sizes == [1, 1, 1, 0]  # "c" has nothing to be judged
    assert found[0] == toy_predictor.predict(files["speech0"], files["image0"])  # to the bit: it is the same pass
    assert found[1] == toy_predictor.predict(image=files["image1"])
    assert isinstance(found[2], Exception)


def test_a_stop_waits_for_the_files_being_read_and_not_for_those_in_line(toy_predictor, files, monkeypatch):
    started, go_on = [], threading.Event()
    read = toy_predictor._single

    def slow(speech, *rest):
        if speech == files["speech0"]:
            started.append(speech)
            assert go_on.wait(60)
        return read(speech, *rest)

    monkeypatch.setattr(toy_predictor, "_single", slow)
    line = [Sample("first", files["speech1"]), *(Sample(str(k), files["speech0"]) for k in range(40))]
    outcomes = toy_predictor.predict_each(line, singly=True)
    next(outcomes)
    threading.Timer(0.2, go_on.set).start()
    outcomes.close()
    assert len(started) <= predictor._DECODERS  # and twice as many were in line


def test_empty_lists(toy_predictor):
    assert toy_predictor.predict([]) == []
    assert toy_predictor.predict([], []) == []


def test_networks_that_cross_early_and_single_modality_networks(make_checkpoint, toy, files):
    joint = load(make_checkpoint("joint", separable=False).path)
    found = joint.predict([files["speech2"], None], [files["image0"], files["image1"]])
    windows, (image, _) = (
        audio.cut(audio.read(files["speech2"]))[:],
        parallelnet.predictor.image.signal(files["image0"]),
    )
    pictures = np.repeat(image[None], len(windows), axis=0)
    np.testing.assert_allclose(values(found[0]), softmax(toy.logits(windows, pictures)).mean(axis=0), atol=SAME)
    heard = softmax(toy.logits(windows, np.zeros_like(pictures))).mean(axis=0)
    np.testing.assert_allclose(list(found[0].alone["speech"].values()), heard, atol=SAME)
    single = load(make_checkpoint("single", modalities=("image",)).path)
    assert single.predict(image=files["image0"]).modalities == ("image",)
    with pytest.raises(InputError, match="speech was given, but checkpoint toy takes image only"):
        single.predict(files["speech0"], files["image0"])
    sample = Sample("a", speech=files["speech0"], image=files["image0"])
    assert [p.modalities for p in single.predict_each([sample])] == [("image",)]
    with pytest.raises(OptionError, match="--modalities is 'speech'; checkpoint toy takes image"):
        single.predict_each([sample], modalities="speech")


def test_conformal_sets(make_checkpoint, files):
    def sets(**conformal):
        found = load(make_checkpoint(str(conformal), conformal=conformal).path).predict(files["speech0"])
        return found, found.conformal_set

    found, everything = sets(speech=1.0)
    assert everything == tuple(found.probs)
    assert found.uncertain
    # A threshold that nothing reaches leaves the most probable class, and no doubt.
    found, top = sets(speech=0.0)
    assert top == (found.emotion,)
    assert not found.uncertain
    assert found.warnings == ()
    _, third, second, _ = sorted(found.probs.values())
    between = (second + third) / 2  # a threshold at a probability itself would hang on its last digit
    _, two = sets(speech=1 - between)
    assert two == tuple(name for name, p in found.probs.items() if p > between)
    assert len(two) == 2
    found, unknown = sets(both=1.0)
    assert unknown == (found.emotion,)
    assert "not calibrated" in found.warnings[0]


def test_labels_leave_the_others_out(toy_checkpoint, toy_predictor, files):
    chosen = load(toy_checkpoint.path, labels=("sad", "anger"))
    found, every = (
        chosen.predict(files["speech0"], files["image0"]),
        toy_predictor.predict(files["speech0"], files["image0"]),
    )
    assert list(found.probs) == ["anger", "sad"]
    ratio = every.probs["anger"] / (every.probs["anger"] + every.probs["sad"])
    assert found.probs["anger"] == pytest.approx(ratio, abs=SAME)
    assert "Only anger, sad were allowed" in found.warnings[0]
    with pytest.raises(OptionError, match=r"Unknown class 'angry'. Did you mean 'anger'"):
        load(toy_checkpoint.path, labels=("angry", "sad"))
    with pytest.raises(OptionError, match="at least two"):
        load(toy_checkpoint.path, labels=("sad",))


def test_warnings_of_silence_and_of_no_face(make_checkpoint):
    opened = make_checkpoint(signals=SignalOptions(face="auto"), conformal={"both": 0.5})
    silent, noise = np.zeros(RATE_HZ, np.float32), picture(0, (200, 200))
    found = load(opened.path).predict(silent, noise, sample_rate_hz=RATE_HZ)
    assert [line.split(":")[0] for line in found.warnings] == ["The speech is digital silence", "No face was found"]
    assert found.face.status == "not-found"
    assert load(opened.path, face="off").predict(image=noise).face.status == "off"


@pytest.mark.parametrize(("before", "behind"), [(10, 0), (0, 30), (7.3, 5.1)])
def test_silence_around_speech_says_the_same_and_is_told(toy_predictor, files, before, behind):
    voice = soundfile.read(files["speech1"], dtype="float32")[0]
    bare = toy_predictor.predict(voice, files["image0"], sample_rate_hz=RATE_HZ)
    silence = [np.zeros(round(seconds * RATE_HZ), np.float32) for seconds in (before, behind)]
    found = toy_predictor.predict(
        np.concatenate([silence[0], voice, silence[1]]), files["image0"], sample_rate_hz=RATE_HZ
    )
    assert bare.warnings == ()
    assert len(found.warnings) == 1
    assert f"{before + behind:.1f} s of {before + behind + 2:.1f} s of speech hold nothing" in found.warnings[0]
    assert_same(replace(found, warnings=()), bare)


def test_windows_between_two_utterances_do_not_vote(toy_predictor, toy, files):
    voice = soundfile.read(files["speech1"], dtype="float32")[0]
    joined = np.concatenate([voice, np.zeros(10 * RATE_HZ, np.float32), voice])
    found = toy_predictor.predict(joined, sample_rate_hz=RATE_HZ)
    assert found.n_windows == 2
    mel = audio.log_mel(joined)
    ends = np.stack([mel[None, :, :128], mel[None, :, -128:]])
    each = softmax(toy.logits(ends, np.zeros((2, 3, 128, 128))) / 3)
    np.testing.assert_allclose(values(found), each.mean(axis=0), atol=SAME)


@pytest.mark.parametrize(
    ("speech", "image", "text"),
    [
        (np.zeros(1, np.float32) + 0.5, None, "too short to be judged"),
        (tone(0.006), None, "0.006 s of sound"),
        (None, np.zeros((48, 48), np.uint8), "one colour"),
        (None, np.zeros((1, 1, 3), np.uint8), "1 x 1 pixels"),
        (np.zeros(RATE_HZ, np.float32), np.full((48, 48), 255, np.uint8), "digital silence"),
    ],
)
def test_what_cannot_be_judged_is_answered_with_a_warning(toy_predictor, speech, image, text):
    both = toy_predictor.predict(speech, image, sample_rate_hz=RATE_HZ)
    found = [line for line in both.warnings if "not calibrated" not in line]
    assert len(found) == (speech is not None) + (image is not None)
    assert text in found[0]
    assert both.to_dict()["warnings"] == both.warnings


def test_what_reading_noted_is_a_warning(toy_predictor, files, monkeypatch):
    def noting(source, *, notes, **named):
        notes.append("The channels cancel each other out: one of them was used.")
        return read(source, notes=notes, **named)

    read = audio.read_long
    monkeypatch.setattr(audio, "read_long", noting)
    found = toy_predictor.predict([files["speech0"]])[0]
    assert found.warnings == ("The channels cancel each other out: one of them was used.",)


# --- other processes, other threads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy, copy.copy])
@pytest.mark.parametrize("separable", [True, False])
def test_a_predictor_can_be_pickled_and_copied(make_checkpoint, files, monkeypatch, tmp_path, again, separable):
    opened = make_checkpoint(separable=separable)
    monkeypatch.chdir(tmp_path)
    model = load(os.path.relpath(opened.path), labels=("sad", "anger"), limits=LimitOptions(max_duration_s=5))
    expected = model.predict(files["speech1"], files["image0"])
    monkeypatch.chdir("/")  # a checkpoint opened by a relative path is found from anywhere
    other = again(model)
    assert other.predict(files["speech1"], files["image0"]) == expected
    assert other.classes == ("anger", "sad")
    with pytest.raises(InputError, match="max-duration-s"):
        other.predict(files["speech2"])
    assert again(model.model).logits(np.zeros((1, 1, 128, 128), np.float32)).shape == (1, 4)


def test_a_predictor_whose_checkpoint_is_gone_says_so_when_it_is_unpickled(make_checkpoint):
    opened = make_checkpoint()
    kept = pickle.dumps(load(opened.path))
    (opened.path / "head.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"has no head\.onnx"):
        pickle.loads(kept)


def test_spawned_processes_and_threads_say_the_same(toy_predictor, files):
    jobs = [files[name] for name in ("speech0", "speech1", "speech2")]
    expected = [toy_predictor.predict(job, files["image0"]) for job in jobs]
    fresh = pickle.loads(pickle.dumps(toy_predictor))  # has not heard silence yet: threads meet there, too
    with ThreadPoolExecutor(8) as threads:
        at_once = threads.map(lambda job: fresh.predict(job, files["image0"]), jobs * 8)
        for found, same in zip(at_once, expected * 8, strict=True):
            assert_same(found, same)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for found, same in zip(pool.map(toy_predictor.predict, jobs, [files["image0"]] * 3), expected, strict=True):
            assert_same(found, same)


@pytest.mark.parametrize(
    ("speech", "image", "text"),
    [
        (None, None, "Neither speech nor image was given; toy takes speech and image"),
        ("missing", None, "does not exist"),
        ("empty.wav", "image0", "is empty"),
        ("speech0", "text.png", "no picture that can be read"),
        (["speech0"], "image0", "image is one source beside a list"),
        (["speech0"], ["image0", "image1"], "1 speech sources and 2 pictures"),
        (["speech0", "missing"], None, "Item 1 of the list: .* does not exist"),
        (["speech0", None], None, "Item 1 of the list: Neither speech nor image"),
    ],
)
def test_bad_input_is_one_line(toy_predictor, files, speech, image, text):
    def named(x):
        return [files.get(k) for k in x] if isinstance(x, list) else files.get(x)

    with pytest.raises(InputError, match=text) as caught:
        toy_predictor.predict(named(speech), named(image))
    assert "\n" not in str(caught.value)


def test_arrays_need_a_rate_and_limits_hold(toy_checkpoint, toy_predictor, files):
    with pytest.raises(InputError, match="sample_rate_hz"):
        toy_predictor.predict(tone(1))
    short = load(toy_checkpoint.path, limits=LimitOptions(max_duration_s=0.5))
    with pytest.raises(InputError, match="max-duration-s"):
        short.predict(files["speech0"])
    with pytest.raises(CheckpointError, match="No checkpoint 'nowhere'"):
        load("nowhere")


def test_lazy_public_names(toy_checkpoint, files, monkeypatch):
    assert set(parallelnet.__all__) <= set(dir(parallelnet))
    for name in parallelnet.__all__:
        assert getattr(parallelnet, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'emotion'"):
        _ = parallelnet.emotion
    monkeypatch.setattr(predictor, "load", lambda: load(toy_checkpoint.path))
    predictor._bundled.cache_clear()
    assert parallelnet.predict(image=files["image0"]).checkpoint == "toy"
    predictor._bundled.cache_clear()
