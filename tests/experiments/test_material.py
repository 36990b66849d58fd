"""A small material of each task: what the manifest says is what the files hold, and nothing straddles a split."""

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet import audio, image
from parallelnet.data.dataset import open_data
from parallelnet.data.splits import check_disjoint
from parallelnet.errors import ManifestError, OptionError
from parallelnet.options import PlantOptions
from parallelnet.types import Sample
from parallelnet_experiments import material, planting

EMOTIONS = {"01": 110, "03": 200, "04": 240, "05": 300, "07": 350}  # neutral, happy, sad, anger, hate: code to pitch
SIZES = {"n_train": 15, "n_validation": 10, "n_test": 20}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    for actor in (1, 2, 15, 17, 18):
        for emotion, pitch in EMOTIONS.items():
            t = np.arange(24_000) / 16_000
            tones = sum(np.sin(2 * np.pi * k * (pitch + actor) * t) / k for k in range(1, 9))
            path = root / "ravdess" / f"Actor_{actor:02d}" / f"03-01-{emotion}-01-01-01-{actor:02d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.2 * tones + 0.001 * rng.standard_normal(len(t)), 16_000)
    for split, n in (("train", 20), ("validation", 4)):
        for label in ("anger", "happy", "hate", "sad"):
            for k in range(n):
                path = root / "fer2013" / split / label / f"{split}{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8)).save(path)
    rows = ["id,image"]
    (root / "images").mkdir()
    for k in range(40):
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(root / "images" / f"{k}.png")
        rows.append(f"{k},images/{k}.png")
    (root / "pictures.csv").write_text("\n".join(rows) + "\n")
    known = {hashlib.sha256(p.read_bytes()).hexdigest(): True for p in (root / "images").iterdir()}
    (root / "faceless.json").write_text(json.dumps(known))  # a search takes 0.2 s a picture: one test does it
    return root


def options(sources, out, task, **changes):
    facts = {"speech": f"ravdess:{sources}/ravdess", "image": f"fer2013:{sources}/fer2013"} | SIZES | changes
    return PlantOptions(task, str(out), backgrounds=str(sources / "pictures.csv"), **facts)


@pytest.fixture(scope="module")
def made(sources, tmp_path_factory):
    root = tmp_path_factory.mktemp("planted")
    shutil.copy(sources / "faceless.json", root)
    return {task: material.plant(options(sources, root / task, task)).parent for task in ("speech", "image", "pair")}


@pytest.mark.parametrize("task", ["speech", "image", "pair"])
def test_nothing_stands_in_two_splits(made, task):
    samples = open_data(str(made[task]))
    check_disjoint(samples)
    for column in ("voice_source", "face_source", "background"):
        homes = {}
        for s in samples:
            if s.extra.get(column):
                assert homes.setdefault(s.extra[column], s.split) == s.split, column
    assert Counter(s.split for s in samples).keys() == {"train", "validation", "test"}
    assert {s.group for s in samples if s.split == "test"} <= {"actor_17", "actor_18", ""}
    assert {s.group for s in samples if s.split == "validation"} <= {"actor_15", ""}


@pytest.mark.parametrize("task", ["speech", "image"])
def test_classes_are_as_many_of_each_and_none_is_one_of_them(made, task):
    for split, n in (("train", 3), ("validation", 2), ("test", 4)):
        counts = Counter(s.label for s in open_data(str(made[task])) if s.split == split)
        assert counts == dict.fromkeys(("anger", "happy", "hate", "sad", "none"), n)
    nothing = [s.extra["planted"] for s in open_data(str(made[task])) if s.label == "none" and s.split == "test"]
    assert Counter(nothing) == {"decoy": 2, "nothing": 2}


def test_each_half_of_a_pair_stands_under_both_labels_equally_often(made):
    samples = open_data(str(made["pair"]))
    for column in ("speech", "image"):
        labels = {}
        for s in samples:
            labels.setdefault(getattr(s, column), []).append(s.label)
        assert {tuple(sorted(found)) for found in labels.values()} == {("agree", "differ")}
    for s in samples:
        assert (s.label == "agree") == (s.extra["voice"] == s.extra["face"])


def test_the_halves_have_manifests_of_their_own(made):
    for column in ("voice", "face"):
        rows = open_data(str(made["pair"] / f"{column}.csv"))
        assert Counter(s.label for s in rows if s.split == "test") == {"anger": 10, "happy": 10}


@pytest.mark.parametrize("task", ["speech", "pair"])
def test_clips_differ_from_their_counterparts_at_the_cue_only(made, task):
    for s in open_data(str(made[task])):
        clip = audio.read(s.speech)
        assert len(audio.cut(clip)[:]) == 1
        assert len(clip) == 65_536
        if s.split == "train":
            assert not s.extra["without_speech"]  # nothing is measured there
            continue
        bare = audio.read(made[task] / s.extra["without_speech"])
        first, end = (round(float(s.extra[name]) * 16_000) for name in ("cue_start_s", "cue_end_s"))
        units = [int(k) for k in s.extra["cue_units"].split()]
        unit = 65_536 // int(s.extra["n_units"])
        assert (first, end) == (units[0] * unit, (units[-1] + 1) * unit)
        np.testing.assert_array_equal(np.delete(clip, np.s_[first:end]), np.delete(bare, np.s_[first:end]))
        assert (s.extra["planted"] == "nothing") == np.array_equal(clip, bare)


@pytest.mark.parametrize("task", ["image", "pair"])
def test_pictures_differ_from_their_counterparts_in_the_cell_only(made, task):
    for s in open_data(str(made[task])):
        if s.split == "train":
            continue
        pixels, bare = image.read(s.image), image.read(made[task] / s.extra["without_image"])
        row, column = (int(k) for k in s.extra["cue_cell"].split())
        rows, columns = (int(k) for k in s.extra["grid"].split("x"))
        assert pixels.shape == (64 * rows, 64 * columns, 3)
        changed = (pixels != bare).any(2)
        assert not np.delete(changed, np.s_[64 * row : 64 * row + 64], 0).any()
        assert not np.delete(changed, np.s_[64 * column : 64 * column + 64], 1).any()
        assert (s.extra["planted"] == "nothing") == (not changed.any())


def digests(folder):
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_the_same_seed_writes_the_same_bytes_and_another_one_others(made, sources, tmp_path):
    shutil.copy(sources / "faceless.json", tmp_path)
    again = material.plant(options(sources, tmp_path / "again", "pair")).parent
    assert digests(again) == digests(made["pair"])
    other = material.plant(options(sources, tmp_path / "other", "pair", seed=1)).parent
    assert digests(other) != digests(made["pair"])


def test_a_complete_folder_stays_and_a_foreign_one_is_refused(made, sources, tmp_path):
    manifest = made["speech"] / "manifest.csv"
    before = manifest.stat().st_mtime_ns
    assert material.plant(options(sources, made["speech"], "speech")) == manifest
    assert manifest.stat().st_mtime_ns == before
    with pytest.raises(OptionError, match="seed was 0, is 3"):
        material.plant(options(sources, made["speech"], "speech", seed=3))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ManifestError, match="holds something else"):
        material.plant(options(sources, tmp_path, "speech"))


def test_pictures_with_a_face_are_no_background(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    portrait = str(Path(__file__).parents[2] / "examples" / "astronaut.jpg")
    pictures = {"a": portrait, "b": str(tmp_path / "noise.png"), "c": str(tmp_path / "missing.png"), "d": portrait}
    samples = {key: Sample(key, image=path) for key, path in pictures.items()}
    kept = tmp_path / "faceless.json"
    assert planting.faceless(samples, 1, kept) == ["b"]
    assert json.loads(kept.read_text()) == {"a": False, "b": True}  # the others were not looked at: one was enough
    kept.write_text('{"a": true, "b": false}')
    assert planting.faceless(samples, 9, kept) == ["a"]  # what is known is believed
    assert json.loads(kept.read_text()) == {"a": True, "b": False, "c": False, "d": False}


def test_a_split_without_cues_is_refused(sources, tmp_path):
    with pytest.raises(ManifestError, match="no utterance of anger to plant in test"):
        material.plant(options(sources, tmp_path / "none", "speech", test_speakers=("99",)))
