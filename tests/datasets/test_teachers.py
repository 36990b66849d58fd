"""Teachers: who may be one, what they say of a file, and how their classes become ours."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parallelnet import checkpoint, predictor
from parallelnet.data.shards import Example
from parallelnet.datasets import teachers
from parallelnet.datasets.teachers import classes_to_emotions, merge, open_teacher, read_label_map, taught
from parallelnet.errors import CheckpointError, InputError, MissingExtraError, OptionError
from parallelnet.training.finish import model_card
from parallelnet.types import EMOTIONS

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_source = Path(__file__).parents[1] / "checkpoint_fixture.py"
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", _source)
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy_checkpoint, make_checkpoint = fixtures.toy_checkpoint, fixtures.make_checkpoint

EXAMPLES = Path(__file__).parents[2] / "examples"
SPEECH = (EXAMPLES / "happy.flac").read_bytes()
PICTURE = (EXAMPLES / "astronaut.jpg").read_bytes()
FILES = {"speech": SPEECH, "image": PICTURE}
# A teacher runs on one thread, `predict` on as many as there are: float32 sums in another order. See test_predictor.
SAME = 1e-5
FI = ("amusement", "Excitement", "disgust", "sadness", "awe")


def to_emotions(classes, label_map=None):
    return classes_to_emotions(classes, label_map or {}, teacher="The teacher")


def test_merging_by_the_documented_table():
    table = to_emotions(FI)
    assert table == {"amusement": "happy", "Excitement": "happy", "disgust": "hate", "sadness": "sad", "awe": None}
    own = dict(zip(FI, (0.3, 0.2, 0.1, 0.2, 0.2), strict=True))
    assert merge(own, table, renormalise=False) == pytest.approx((0.0, 0.5, 0.1, 0.2))
    assert merge(own, table) == pytest.approx((0.0, 0.625, 0.125, 0.25))


def test_merging_before_the_decision_is_what_makes_it_happy():
    # Largest single class: sadness with 0.4. All joy together: 0.6.
    own = dict(zip(FI, (0.3, 0.3, 0.0, 0.4, 0.0), strict=True))
    merged = merge(own, to_emotions(FI))
    assert EMOTIONS[int(np.argmax(merged))] == "happy"


def test_own_four_classes_are_left_to_the_bit():
    own = {"sad": 0.1, "anger": 0.2, "hate": 0.3, "happy": 0.1 + 0.3}
    assert merge(own, to_emotions(tuple(own))) == (0.2, 0.4, 0.3, 0.1)


def test_the_users_map_goes_first_and_may_name_classes_of_the_other_teacher():
    table = to_emotions(("LABEL_0", "sad", "Neutral"), {"label_0": "hate", "sad": None, "joy of the other": "happy"})
    assert table == {"LABEL_0": "hate", "sad": None, "Neutral": None}


def test_a_class_that_no_table_knows_is_refused_with_what_to_write():
    with pytest.raises(
        OptionError, match=r"--image-teacher x has .* no table names: 'LABEL_0', 'LABEL_1'.*--label-map"
    ):
        classes_to_emotions(("LABEL_0", "sad", "LABEL_1"), {}, teacher="--image-teacher x")


def test_a_teacher_without_any_class_of_ours_is_refused():
    with pytest.raises(OptionError, match="none of which is one of anger, happy, hate, sad"):
        to_emotions(("neutral", "fear"))


@pytest.mark.parametrize(
    ("own", "message"),
    [({"sad": float("nan"), "awe": 0.5}, "not finite"), ({"sad": 0.0, "awe": 1.0}, "classes that are dropped")],
)
def test_probabilities_that_cannot_be_merged(own, message):
    with pytest.raises(InputError, match=message):
        merge(own, to_emotions(tuple(own)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"is damaged \(Expecting"),
        ("[]", "no JSON object"),
        ('{"joy": "glad"}', "maps 'joy' to 'glad'"),
        (None, "is missing"),
    ],
)
def test_label_maps_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "map.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        OptionError, match=rf"map\.json .*{message}.*--label-map needs .* one of anger, happy, hate, sad, or null"
    ):
        read_label_map(str(path))


@pytest.mark.parametrize("modality", ["speech", "image"])
def test_a_checkpoint_for_both_says_what_predict_says_of_one(toy_checkpoint, modality):
    teacher = open_teacher(str(toy_checkpoint.path), modality)
    expected = predictor.load(toy_checkpoint.path).predict(**{modality: FILES[modality]}).probs
    said = teacher.probs(FILES[modality])
    assert dict(zip(EMOTIONS, said, strict=True)) == pytest.approx(expected, abs=SAME)
    assert len(set(said)) > 1


def test_own_classes_are_merged_and_dropped_mass_may_stay_dropped(make_checkpoint, tmp_path):
    classes = ("neutral", "excitement", "odd", "joy")
    path = str(make_checkpoint("own", classes=classes, modalities=("image",)).path)
    own = predictor.load(path).predict(image=PICTURE).probs
    label_map = tmp_path / "map.json"
    label_map.write_text('{"odd": "hate"}')
    with pytest.raises(OptionError, match="'odd'"):
        open_teacher(path, "image")
    kept = open_teacher(path, "image", label_map=str(label_map), renormalise=False)
    expected = (0.0, own["excitement"] + own["joy"], own["odd"], 0.0)
    assert kept.probs(PICTURE) == pytest.approx(expected, abs=SAME)
    scaled = open_teacher(path, "image", label_map=str(label_map))
    assert scaled.probs(PICTURE) == pytest.approx(tuple(p / sum(expected) for p in expected), abs=SAME)
    assert sum(scaled.probs(PICTURE)) == pytest.approx(1)
    told = scaled.describe()
    assert told["map"] == {"excitement": "happy", "odd": "hate", "joy": "happy"}
    assert (told["dropped"], told["never_named"], told["renormalise"]) == (["neutral"], ["anger", "sad"], True)


def test_one_bad_file_is_its_own_error_and_changes_nothing_for_the_others(toy_checkpoint):
    teacher = open_teacher(str(toy_checkpoint.path), "image")
    alone = teacher.probs(PICTURE)
    for bad in (PICTURE[:3000], b""):
        with pytest.raises(InputError):
            teacher.probs(bad)
    assert teacher.probs(PICTURE) == alone  # to the bit: each file is judged alone, by the same calls


def test_wrong_modality_is_refused(make_checkpoint):
    path = make_checkpoint("heard", modalities=("speech",)).path
    with pytest.raises(OptionError, match=r"--image-teacher .* takes speech; needed: a checkpoint that takes image"):
        open_teacher(str(path), "image")


def test_no_such_teacher():
    with pytest.raises(CheckpointError, match="No checkpoint 'teacher-smell'"):
        open_teacher("teacher-smell", "speech")


def test_describe_is_plain_and_tells_other_weights_apart(make_checkpoint, tmp_path):
    opened = make_checkpoint("first", training={"started_from": ["compact"]})
    told = open_teacher(str(opened.path), "image").describe()
    assert json.loads(json.dumps(told)) == told
    assert str(tmp_path) not in json.dumps(told)
    assert (told["name"], told["face"], told["started_from"], told["classes"]) == (
        *("toy", "off", ["compact"]),
        list(fixtures.CLASSES),
    )
    assert "face" not in open_teacher(str(opened.path), "speech").describe()
    same = make_checkpoint("second", training={"started_from": ["compact"]})
    assert open_teacher(str(same.path), "image").describe()["sha256"] == told["sha256"]
    checkpoint.write(same.path, replace(same.facts, temperatures={"both": 1.0, "speech": 1.0, "image": 1.5}))
    assert open_teacher(str(same.path), "image").describe()["sha256"] != told["sha256"]


def test_teach_step(toy_checkpoint):
    teacher = open_teacher(str(toy_checkpoint.path), "speech")
    judged = taught(Example(0, "a", speech=SPEECH, image=PICTURE), teacher=teacher)
    assert (judged.speech_probs, judged.image_probs, judged.image) == (teacher.probs(SPEECH), (), PICTURE)
    failed = taught(Example(2, "b", speech=b"noise"), teacher=teacher)
    assert (failed.id, failed.reason) == ("b", "teacher-failed")
    assert failed.detail.startswith("speech: Speech (bytes) is no sound")


@pytest.mark.parametrize(("modality", "variant"), [("speech", "compact-ser-only"), ("image", "compact-ier-only")])
def test_bundled_teachers(modality, variant):
    teacher = open_teacher(f"teacher-{modality}", modality)
    told = teacher.describe()
    assert (told["name"], told["variant"]) == (f"teacher-{modality}", variant)
    assert (told["classes"], told["dropped"], told["started_from"]) == (list(EMOTIONS), [], ["compact"])
    assert told.get("face") == ("auto" if modality == "image" else None)
    said = teacher.probs(FILES[modality])
    assert sum(said) == pytest.approx(1)
    assert EMOTIONS[int(np.argmax(said))] == "happy"  # an acted happy voice, a smiling astronaut


@pytest.mark.parametrize("name", ["teacher-speech", "teacher-image"])
def test_bundled_teachers_are_what_their_cards_and_results_say(name):
    root = Path(__file__).parents[2]
    opened = checkpoint.read(checkpoint.bundled()[name])
    notes = (root / "runs" / f"{name}-card.md").read_text(encoding="utf-8")
    assert (opened.path / "README.md").read_text(encoding="utf-8") == model_card(opened.facts, notes)
    results = json.loads((root / "results" / "teachers.json").read_text(encoding="utf-8"))
    assert results[name] == json.loads(json.dumps(opened.facts.metrics))
    assert sum(file.stat().st_size for file in opened.path.iterdir()) < 8_000_000
    (setting,) = opened.facts.modalities
    found = results[name]["test"][setting]
    low, high = found["ci95"]["accuracy"]
    docs = (root / "docs" / "teachers.md").read_text(encoding="utf-8")
    assert f"{found['accuracy']:.3f} [{low:.3f}, {high:.3f}]" in docs


def test_hub_models_need_their_extra(monkeypatch):
    monkeypatch.setattr(teachers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"--speech-teacher hf-model:a/b needs .*parallelnet\[hf\]"):
        open_teacher("hf-model:a/b", "speech")


@pytest.fixture(scope="module")
def hub_models(tmp_path_factory):
    """Folders of tiny classifiers of transformers, with random weights: {kind: folder}."""
    transformers = pytest.importorskip("transformers")
    import torch

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("hub")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    heard = transformers.Wav2Vec2Config(
        **small,
        conv_dim=(8, 8),
        conv_kernel=(10, 8),
        conv_stride=(10, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        id2label=dict(enumerate(("neu", "hap", "ang", "sad"))),
    )
    seen = transformers.ViTConfig(**small, image_size=32, patch_size=16, id2label=dict(enumerate(FI)))
    folders = {name: str(root / name) for name in ("speech", "image", "headless")}
    transformers.Wav2Vec2ForSequenceClassification(heard).save_pretrained(folders["speech"])
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(folders["speech"])
    transformers.ViTForImageClassification(seen).save_pretrained(folders["image"])
    transformers.ViTModel(seen).save_pretrained(folders["headless"])
    for name in ("image", "headless"):
        transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folders[name])
    return folders


@pytest.mark.slow
def test_hub_speech_model(hub_models):
    import soxr
    import torch
    import transformers

    from parallelnet import audio

    folder = hub_models["speech"]
    teacher = open_teacher(f"hf-model:{folder}", "speech", renormalise=False)
    threads = torch.get_num_threads()
    first = teacher.probs(SPEECH)
    with pytest.raises(InputError, match="cannot take it"):
        teacher.probs(short_wav())
    with pytest.raises(InputError):
        teacher.probs(b"noise")
    assert torch.get_num_threads() == threads
    # The same by hand, from what transformers documents: 8 kHz as its feature extractor asks, softmax of the logits.
    waveform = soxr.resample(audio.read(SPEECH), 16_000, 8_000)
    prepare = transformers.AutoFeatureExtractor.from_pretrained(folder)
    network = transformers.AutoModelForAudioClassification.from_pretrained(folder)
    with torch.inference_mode():
        logits = network(**prepare(waveform, sampling_rate=8_000, return_tensors="pt")).logits
    neutral, happy, anger, sad = logits[0].softmax(-1).tolist()
    assert first == pytest.approx((anger, happy, 0.0, sad), abs=1e-6)
    assert sum(first) == pytest.approx(1 - neutral, abs=1e-6)
    assert teacher.probs(SPEECH) == first
    told = teacher.describe()
    assert (told["name"], told["kind"], told["dropped"]) == ("speech", "transformers", ["neu"])
    assert folder not in json.dumps(told)


def short_wav():
    """A wav of 5 samples, shorter than any kernel."""
    import io

    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, np.full(5, 0.1), 16_000, format="WAV")
    return stream.getvalue()


@pytest.mark.slow
def test_hub_image_model(hub_models):
    import torch
    import transformers
    from PIL import Image

    folder = hub_models["image"]
    teacher = open_teacher(f"hf-model:{folder}", "image", renormalise=False)
    said = teacher.probs(PICTURE)
    prepare = transformers.AutoImageProcessor.from_pretrained(folder)
    network = transformers.AutoModelForImageClassification.from_pretrained(folder)
    with torch.inference_mode():
        logits = network(**prepare(Image.open(EXAMPLES / "astronaut.jpg").convert("RGB"), return_tensors="pt")).logits
    amusement, excitement, disgust, sadness, _ = logits[0].softmax(-1).tolist()
    assert said == pytest.approx((0.0, amusement + excitement, disgust, sadness), abs=1e-6)
    assert open_teacher(f"hf-model:{folder}", "image").describe()["sha256"] == teacher.describe()["sha256"]


@pytest.mark.slow
def test_hub_models_that_cannot_teach(hub_models, tmp_path, monkeypatch):
    with pytest.raises(OptionError, match=r"is a vit network, which is not for audio classification"):
        open_teacher(f"hf-model:{hub_models['image']}", "speech")
    with pytest.raises(CheckpointError, match=r"has no trained weights for classifier\."):
        open_teacher(f"hf-model:{hub_models['headless']}", "image")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        open_teacher(f"hf-model:{tmp_path}", "image")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="hf-model:nobody/nothing is no folder and could not be fetched"):
        open_teacher("hf-model:nobody/nothing", "image")


@pytest.mark.parametrize("modality", ["speech", "image"])
def test_an_unknown_teacher_is_told_with_its_own_flag(modality):
    with pytest.raises(CheckpointError, match=f"--{modality}-teacher: No checkpoint 'nonsense'") as caught:
        open_teacher("nonsense", modality)
    assert "--checkpoint" not in str(caught.value)
