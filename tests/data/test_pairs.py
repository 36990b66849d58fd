import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelnet.data.dataset import fingerprint
from parallelnet.data.manifest import read_manifest
from parallelnet.data.pairs import build_pairs, combine
from parallelnet.data.splits import carve_validation, check_disjoint
from parallelnet.errors import ManifestError, OptionError
from parallelnet.options import PairsOptions
from parallelnet.types import EMOTIONS, Sample

Make = Callable[[Path], Path]
Options = Callable[..., PairsOptions]


def all_there(samples: Iterable[Sample]) -> bool:
    return all(Path(path or "").is_file() for sample in samples for path in (sample.speech, sample.image))


@pytest.fixture
def options(ravdess: Path, fer2013: Path, tmp_path: Path) -> Options:
    """Return a function that gives the options of the bundled model, in small."""

    def make(**changes: object) -> PairsOptions:
        values: dict[str, object] = {
            "speech": f"ravdess:{ravdess}",
            "image": f"fer2013:{fer2013}",
            "out": str(tmp_path / "pairs"),
            "validation_speakers": ("7",),
            "test_speakers": ("8", "actor_09", "10"),
        }
        if changes.get("folds"):
            values |= {"validation_speakers": (), "test_speakers": ()}
        return PairsOptions(**(values | changes))  # type: ignore[arg-type]

    return make


@given(
    n_utterances=st.integers(1, 12),
    n_pictures=st.integers(1, 12),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_combinations_are_different_and_even(n_utterances: int, n_pictures: int, share: float, seed: int) -> None:
    n_pairs = round(share * n_utterances * n_pictures)

    pairs = combine(n_utterances, n_pictures, n_pairs, np.random.default_rng(seed))

    assert len(pairs) == len(set(pairs)) == n_pairs
    for position, size in ((0, n_utterances), (1, n_pictures)):
        counts = np.bincount([pair[position] for pair in pairs], minlength=size)
        assert len(counts) == size
        assert counts.max() - counts.min() <= 1


def test_the_manifest_says_everything(options: Options) -> None:
    report = build_pairs(options())

    samples = read_manifest(report.manifest)
    assert json.loads(json.dumps(asdict(report)))["n_pairs"] == report.n_pairs == len(samples)
    assert all_there(samples)
    check_disjoint(samples)
    for sample in samples:
        source = Path(str(sample.speech)).resolve()
        assert sample.group == f"actor_{source.stem[-2:]}"
        assert sample.extra["speech_source"] == f"ravdess:{source.stem}"
        assert sample.extra["intensity"] == "normal"
        assert sample.text.endswith("by the door")
        picture = Path(str(sample.image)).resolve()
        assert picture.parent.name == sample.label
        assert sample.extra["image_source"].startswith("fer2013:")
        assert (picture.parent.parent.name == "validation") == (sample.split == "test")
    assert len({sample.id for sample in samples}) == len(samples)


def test_the_parts_hold_whom_they_should(options: Options) -> None:
    report = build_pairs(options(per_class=30))

    assert report.speakers == {
        "train": [f"actor_{n:02d}" for n in range(1, 7)],
        "validation": ["actor_07"],
        "test": ["actor_08", "actor_09", "actor_10"],
    }
    assert {part: {label: n["pairs"] for label, n in counts.items()} for part, counts in report.counts.items()} == {
        "train": dict.fromkeys(EMOTIONS, 30),
        "validation": {"anger": 2, "happy": 2, "hate": 3, "sad": 4},  # the larger of 2 utterances and the pictures
        "test": {"anger": 6, "happy": 6, "hate": 6, "sad": 8},  # of 6 utterances
    }
    assert report.n_utterances == 80
    assert report.drops["speech"] == {"label 'neutral' is not used": 20}
    # 9, 18, 27 and 36 pictures of the four classes to train with.
    assert report.drops["image"] == {"not needed for so few pairs": 36 - 30}


def test_utterances_and_pictures_are_used_evenly_within_the_class(options: Options) -> None:
    samples = read_manifest(build_pairs(options(per_class=25)).manifest)

    for label in EMOTIONS:
        train = [sample for sample in samples if sample.split == "train" and sample.label == label]
        for counts in (Counter(s.speech for s in train), Counter(s.image for s in train)):
            assert max(counts.values()) - min(counts.values()) <= 1
        assert len({(s.speech, s.image) for s in train}) == 25


@pytest.mark.parametrize("link", ["symlink", "copy"])
def test_files_are_linked_or_copied(options: Options, link: str, tmp_path: Path, ravdess: Path, fer2013: Path) -> None:
    report = build_pairs(options(link=link))

    samples = read_manifest(report.manifest)
    assert {Path(str(s.speech)).is_symlink() for s in samples} == {link == "symlink"}
    assert report.fingerprint == fingerprint(samples)
    shutil.rmtree(ravdess)
    shutil.rmtree(fer2013)
    assert all_there(samples) == (link == "copy")
    if link == "copy":
        moved = (tmp_path / "pairs").rename(tmp_path / "moved")
        assert fingerprint(read_manifest(moved)) == report.fingerprint


def test_pictures_in_two_splits_or_under_two_labels_leave(options: Options, fer2013: Path) -> None:
    shutil.copy(fer2013 / "validation" / "sad" / "000.png", fer2013 / "train" / "sad" / "leak.png")
    shutil.copy(fer2013 / "train" / "sad" / "001.png", fer2013 / "train" / "anger" / "doubt.png")

    report = build_pairs(options())

    assert report.drops["image"] == {"picture of train stands in test too": 1, "picture stands under two labels": 2}
    sources = {sample.extra["image_source"] for sample in read_manifest(report.manifest)}
    assert "fer2013:validation/sad/000" in sources
    assert sources.isdisjoint(f"fer2013:train/{name}" for name in ("sad/leak", "sad/001", "anger/doubt"))


def test_folds_share_nothing_and_leave_room_for_a_validation_part(options: Options) -> None:
    report = build_pairs(options(folds=5))

    samples = read_manifest(report.manifest)
    assert {sample.fold for sample in samples} == set(range(5))
    assert {sample.split for sample in samples} == {""}
    check_disjoint(samples)
    assert set(report.counts) == {f"fold {n}" for n in range(5)}
    assert {len(speakers) for speakers in report.speakers.values()} == {2}
    train = [sample for sample in samples if sample.fold != 0]
    left, cut = carve_validation(train, 0.1, seed=0)
    assert 0.05 <= len(cut) / len(train) <= 0.2  # eight blocks: an eighth each, not quite equal
    assert {s.group for s in left}.isdisjoint(s.group for s in cut)


def test_pairs_a_class_and_fold_are_kept_to(options: Options) -> None:
    report = build_pairs(options(folds=5, per_class=3))

    assert {n["pairs"] for counts in report.counts.values() for n in counts.values()} == {3}


def test_the_same_build_is_the_same_bytes_and_another_seed_is_not(options: Options, tmp_path: Path) -> None:
    first = build_pairs(options())
    again = build_pairs(options())
    elsewhere = build_pairs(options(out=str(tmp_path / "other")))
    other = build_pairs(options(out=str(tmp_path / "seed"), seed=1))

    assert first == again
    assert Path(first.manifest).read_bytes() == Path(elsewhere.manifest).read_bytes()
    assert first.fingerprint == elsewhere.fingerprint != other.fingerprint


def test_a_killed_build_continues_and_the_manifest_comes_last(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(build_pairs(options(out=str(tmp_path / "whole"))).manifest).read_bytes()
    n_linked = 0
    real_link = Path.symlink_to

    def link(self: Path, target: Path) -> None:
        nonlocal n_linked
        n_linked += 1
        if n_linked == 50:
            raise KeyboardInterrupt
        real_link(self, target)

    monkeypatch.setattr(Path, "symlink_to", link)
    with pytest.raises(KeyboardInterrupt):
        build_pairs(options())
    assert not (tmp_path / "pairs" / "manifest.csv").exists()
    monkeypatch.undo()

    assert Path(build_pairs(options()).manifest).read_bytes() == whole


def test_another_build_is_replaced_only_when_asked(options: Options, tmp_path: Path) -> None:
    first = build_pairs(options())

    with pytest.raises(ManifestError, match=r"holds another build\. Mend: another folder, or --overwrite"):
        build_pairs(options(seed=1))
    assert fingerprint(read_manifest(first.manifest)) == first.fingerprint
    second = build_pairs(options(seed=1, per_class=3, overwrite=True))

    assert fingerprint(read_manifest(second.manifest)) == second.fingerprint
    files = {path for name in ("speech", "image") for path in (tmp_path / "pairs" / name).iterdir()}
    assert files == {Path(str(p)) for s in read_manifest(second.manifest) for p in (s.speech, s.image)}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_else_is_never_touched(options: Options, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "thesis.txt").write_text("years of work", encoding="utf-8")

    with pytest.raises(ManifestError, match="is not empty and was not made by build pairs"):
        build_pairs(options(overwrite=overwrite))
    assert [path.name for path in (tmp_path / "pairs").iterdir()] == ["thesis.txt"]


def test_a_class_that_one_side_lacks_is_refused_and_can_be_left_out(options: Options, fer2013: Path) -> None:
    shutil.rmtree(fer2013 / "validation" / "hate")

    with pytest.raises(ManifestError, match=r"Class 'hate' has 6 utterances and 0 pictures in test; .*--classes"):
        build_pairs(options())
    report = build_pairs(options(classes=("anger", "happy", "sad")))

    assert {label for counts in report.counts.values() for label in counts} == {"anger", "happy", "sad"}


def test_more_pairs_than_there_are_combinations_are_refused(options: Options) -> None:
    with pytest.raises(ManifestError, match=r"100 pairs of class 'anger' in validation .*2 utterances and 1 pictures"):
        build_pairs(options(per_class_eval=100))


def test_speech_without_speakers_is_refused(options: Options, tmp_path: Path, wav: Make) -> None:
    for label in EMOTIONS:
        wav(tmp_path / "plain" / label / "1.wav")

    with pytest.raises(ManifestError, match="does not say who speaks in 4 of 4 utterances"):
        build_pairs(options(speech=f"folder:{tmp_path / 'plain'}"))


def test_the_wrong_side_and_the_wrong_target_leave_nothing(options: Options, tmp_path: Path, picture: Make) -> None:
    with pytest.raises(ManifestError, match=r"--image .* leaves nothing to pair \(no image: 80; "):
        build_pairs(options(image=options().speech))
    picture(tmp_path / "mvsa" / "data" / "1.jpg")
    (tmp_path / "mvsa" / "labelResultAll.txt").write_text("ID\ttext,image\n1\tpositive,positive\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"--image .* leaves nothing to pair \(no label: 1\)"):
        build_pairs(options(image=f"mvsa:{tmp_path / 'mvsa'}"))


def test_pictures_from_the_cache_are_copied(options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    rows = ["emotion,pixels,Usage"]
    for usage, n in (("Training", 20), ("PublicTest", 2), ("PrivateTest", 2)):
        for emotion in (0, 1, 3, 4):
            rows += [f"{emotion},{' '.join(map(str, rng.integers(0, 256, 48 * 48)))},{usage}" for _ in range(n)]
    (tmp_path / "fer2013.csv").write_text("\n".join(rows), encoding="utf-8")

    image = f"fer2013:{tmp_path / 'fer2013.csv'}"
    report = build_pairs(options(image=image, image_test_split="validation"))
    shutil.rmtree(tmp_path / "cache")

    assert all_there(read_manifest(report.manifest))
    assert report.drops["image"] == {"split 'test' is not used (--image-test-split validation)": 8}


def test_a_corpus_without_a_test_split_gives_its_validation_split_and_says_so(options: Options) -> None:
    report = build_pairs(options())

    assert report.notes == [f"--image {options().image} has no test split: its validation split is the test split."]
    assert build_pairs(options(image_test_split="validation", overwrite=True)).notes == []
    with pytest.raises(ManifestError, match="has no split 'test'; it has: train, validation"):
        build_pairs(options(image_test_split="test", overwrite=True))


def test_a_corpus_without_any_split_and_speakers_without_names_are_dealt(
    options: Options, fer2013: Path, tmp_path: Path
) -> None:
    (fer2013 / "train").rename(tmp_path / "classes")

    report = build_pairs(options(image=f"folder:{tmp_path / 'classes'}", validation_speakers=(), test_speakers=()))

    assert {part: len(speakers) for part, speakers in report.speakers.items()} == {
        "train": 7,
        "validation": 1,
        "test": 2,
    }
    assert report.notes == []


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"folds": 1}, "--folds"),
        ({"per_class": 0}, "--per-class"),
        ({"test_fraction": 0.5}, "--test-fraction"),
        ({"link": "hard"}, "--link"),
        ({"folds": 5, "test_speakers": ("1",)}, "--folds deals all speakers"),
    ],
)
def test_options_out_of_range_are_refused(options: Options, changes: dict[str, object], flag: str) -> None:
    with pytest.raises(OptionError, match=flag):
        options(**changes)


@pytest.mark.data
def test_the_pairs_of_the_bundled_model(tmp_path: Path) -> None:
    root = os.environ.get("PARALLELNET_DATA")
    if not root:
        pytest.skip("PARALLELNET_DATA does not name the folder with ravdess/ and fer2013/ unpacked from ../shared/data")

    report = build_pairs(
        PairsOptions(
            speech=f"ravdess:{root}/ravdess",
            image=f"fer2013:{root}/fer2013",
            out=str(tmp_path / "pairs"),
            per_class=4000,
            validation_speakers=("15", "16"),
            test_speakers=("17", "18", "19", "20"),
            image_test_split="validation",
        )
    )

    samples = read_manifest(report.manifest)
    check_disjoint(samples)
    assert {part: len(speakers) for part, speakers in report.speakers.items()} == {
        "train": 14,
        "validation": 2,
        "test": 4,
    }
    assert {n["pairs"] for n in report.counts["train"].values()} == {4000}
    assert {n["utterances"] for n in report.counts["test"].values()} == {32}
    # Every distinct picture of the validation part but those under two labels: 2,071 rows hold 2,061 of them.
    assert sum(n["pictures"] for n in report.counts["test"].values()) == 2061
