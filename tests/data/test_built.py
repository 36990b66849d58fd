from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from parallelnet.data import built, shards
from parallelnet.data.built import DATASET_JSON, MADE_BY, BuildReport
from parallelnet.data.dataset import digest, fingerprint, open_content, open_data
from parallelnet.data.shards import Example
from parallelnet.errors import ManifestError


def draft(row: int) -> Example:
    speech, image = io.BytesIO(), io.BytesIO()
    rng = np.random.default_rng(row)
    soundfile.write(speech, 0.1 * rng.normal(size=800), 16_000, format="FLAC", subtype="PCM_16")
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(image, format="PNG")
    return Example(
        row=row,
        id=f"../{row}",  # an id is no file name
        text=f"Tweet {row}!",
        image_path=f"/corpus/{row}.png",
        sentiment="negative",
        spoken_text=f"tweet {row}",
        image=image.getvalue(),
        group=str(row),
        image_group=str(row),
        speech=speech.getvalue(),
        duration_s=0.05,
        word_times=(("tweet", 0.0, 0.02), (str(row), 0.02, 0.05)),
        tts_voice="en-us",
        speech_probs=(0.1, 0.2, 0.3, 0.4),
        image_probs=(0.7, 0.1, 0.1, 0.1),
        label="anger",
        label_source="image",
        confidence=0.7,
    )


def make_built(folder: Path, parts: Sequence[Sequence[Example]]) -> BuildReport:
    """Write what `build tweets` leaves, as far as readers need it."""
    (folder / "data").mkdir(parents=True)
    listed = []
    for n, drafts in enumerate(parts):
        name = shards.shard_name(n, len(parts))
        n_rows, sha256 = shards.write_shard(folder / "data" / name, drafts)
        listed.append({"name": name, "n": n_rows, "sha256": sha256})
    n_kept = sum(len(part) for part in parts)
    report = BuildReport(
        made_by=MADE_BY,
        n_read=n_kept,
        n_kept=n_kept,
        n_rejected=0,
        rejected={},
        class_counts={"anger": n_kept},
        sentiment_counts={"negative": n_kept},
        label_source_counts={"image": n_kept},
        teacher_agreement=0.0,
        n_taught=n_kept,
        threshold=0.5,
        rule="max",
        labels="emotion",
        threshold_curve=((0.0, n_kept, {"anger": n_kept}),),
        tts={},
        languages={},
        teachers={},
        duration_s=0.05 * n_kept,
        options={},
        files={},
        input={},
        versions={},
        shards=tuple(listed),
        rejected_sha256="",
        fingerprint=shards.fingerprint(listed),
    )
    (folder / DATASET_JSON).write_text(report.to_json(), encoding="utf-8")
    return report


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "parallelnet" / "built"


@pytest.fixture
def folder(tmp_path: Path, cache: Path) -> Path:
    make_built(tmp_path / "set", [[draft(0), draft(1)], [], [draft(5)]])
    return tmp_path / "set"


def test_samples_have_files_that_open_and_the_words_that_were_spoken(folder: Path) -> None:
    samples = open_data(folder)
    assert digest(folder) == built.read_report(folder).fingerprint

    assert [sample.id for sample in samples] == ["../0", "../1", "../5"]
    for sample, made in zip(samples, map(draft, (0, 1, 5)), strict=True):
        assert sample.speech is not None
        assert sample.image is not None
        assert Path(sample.speech).read_bytes() == made.speech
        assert Path(sample.image).read_bytes() == made.image
        assert Path(sample.image).suffix == ".png"
        assert sample.text == made.spoken_text == " ".join(word for word, *_ in sample.word_times)
        assert (sample.label, sample.sentiment) == ("anger", "negative")
        assert (sample.group, sample.image_group) == (made.group, made.image_group)
        assert sample.extra["tweet"] == made.text
        assert sample.extra["image_probs"] == "[0.7, 0.1, 0.1, 0.1]"


def test_files_are_unpacked_once_and_again_when_the_cache_was_emptied(folder: Path, cache: Path) -> None:
    first = open_data(folder)
    (unpacked,) = cache.iterdir()
    assert unpacked.name == built.read_report(folder).fingerprint
    times = {path: path.stat().st_mtime_ns for path in unpacked.rglob("*") if path.is_file()}

    assert open_content(folder).samples == first
    assert {path: path.stat().st_mtime_ns for path in unpacked.rglob("*") if path.is_file()} == times
    assert len(times) == 6

    shutil.rmtree(cache)
    assert fingerprint(open_data(folder)) == fingerprint(first)


def test_a_copy_elsewhere_is_the_same_data_set(folder: Path, cache: Path) -> None:
    copied = shutil.copytree(folder, folder.with_name("copy"))

    assert open_data(copied) == open_data(folder)
    assert len(list(cache.iterdir())) == 1


def test_unpacking_that_is_cut_off_leaves_nothing_that_looks_complete(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, n_written = Path.write_bytes, 0

    def full(self: Path, content: bytes) -> int:
        nonlocal n_written
        n_written += 1
        if n_written == 4:
            raise OSError(28, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ManifestError, match=r"cannot be unpacked into .*: No space left on device\. Mend: make room"):
        open_data(folder)
    assert list(cache.iterdir()) == []

    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parents[1]))
    assert all(Path(path).is_file() for s in open_data(folder) for path in (s.speech or "", s.image or ""))


def test_a_changed_or_missing_shard_is_named(folder: Path) -> None:
    shard = folder / "data" / shards.shard_name(2, 3)
    whole = shard.read_bytes()
    shards.write_shard(shard, [replace(draft(5), label="sad")])
    with pytest.raises(ManifestError, match=r"train-00002-of-00003\.parquet is not what was built"):
        open_data(folder)
    shard.unlink()
    with pytest.raises(ManifestError, match=r"lacks its file data/train-00002-of-00003\.parquet"):
        open_data(folder)
    shard.write_bytes(whole)
    assert len(open_data(folder)) == 3


def test_a_build_that_is_not_complete_is_refused(folder: Path) -> None:
    (folder / ".build").mkdir()
    (folder / DATASET_JSON).unlink()

    assert built.is_built(folder)
    with pytest.raises(ManifestError, match=r"did not finish.*start the same .*build tweets"):
        open_data(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"made_by": "somebody"}', '{"made_by": "parallelnet build tweets"}'])
def test_a_foreign_dataset_json_is_refused(folder: Path, text: str) -> None:
    (folder / DATASET_JSON).write_text(text)

    with pytest.raises(ManifestError, match=r"dataset\.json cannot be used: "):
        open_data(folder)


def test_a_folder_with_a_manifest_is_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("id,speech\n1,a.wav\n")

    assert not built.is_built(tmp_path)
    assert [sample.id for sample in open_data(tmp_path)] == ["1"]


def test_the_report_comes_back_from_its_json(folder: Path) -> None:
    report = built.read_report(folder)

    assert BuildReport.from_json(report.to_json()) == report


def test_a_changed_shard_is_named_also_where_its_files_are_unpacked_already(folder: Path) -> None:
    open_data(folder)
    shard = folder / "data" / shards.shard_name(0, 3)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)

    with pytest.raises(ManifestError, match=r"is not what was built\. .*same `parallelnet build tweets` again"):
        open_data(folder)


def test_a_set_without_rows_is_refused(tmp_path: Path, cache: Path) -> None:
    make_built(tmp_path / "set", [[]])

    with pytest.raises(ManifestError, match="has no rows"):
        open_data(tmp_path / "set")
    assert not cache.exists()


def test_the_cache_is_named_by_the_shards_whatever_a_stranger_says(
    folder: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    honest = built.read_report(folder)
    for said in (honest.fingerprint, "/tmp/elsewhere", "../../up", None, 7):
        other = folder.with_name("other")
        shutil.rmtree(other, ignore_errors=True)
        report = make_built(other, [[replace(draft(0), speech=draft(7).speech)]])
        (other / DATASET_JSON).write_text(json.dumps(asdict(report) | {"fingerprint": said}))

        (sample,) = open_data(other)

        assert Path(str(sample.speech)).is_relative_to(cache / report.fingerprint)
        assert "fingerprint that is not that of its shards" in caplog.text
    assert sorted(path.name for path in cache.iterdir()) == [report.fingerprint]
    # And the honest set, opened later, has its own sounds.
    assert Path(str(open_data(folder)[0].speech)).read_bytes() == draft(0).speech


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "/etc/passwd"}, "its shard '/etc/passwd' is none that a build makes"),
        ({"name": "../../x.parquet"}, "is none that a build makes"),
        ({"name": "train-00000-of-00003.parquet\0"}, "is none that a build makes"),
        ({"name": "train-00001-of-00003.parquet"}, "do not hold its rows"),
        ({"sha256": "x"}, "is none that a build makes"),
        ({"n": 9}, "do not hold its rows"),
        ({"n": "2"}, "is none that a build makes"),
    ],
)
def test_shards_are_named_as_a_build_names_them(folder: Path, changes: dict[str, object], said: str) -> None:
    record = json.loads((folder / DATASET_JSON).read_text())
    record["shards"][0] |= changes
    (folder / DATASET_JSON).write_text(json.dumps(record))

    with pytest.raises(ManifestError, match=rf"cannot be used: .*{said}"):
        open_data(folder)


@pytest.mark.parametrize(
    "changes", [{"n_kept": "3"}, {"labels": "moods"}, {"class_counts": {"sad": "x"}}, {"tts": None}, {"shards": 3}]
)
def test_a_record_of_other_kinds_is_refused(folder: Path, changes: dict[str, object]) -> None:
    record = json.loads((folder / DATASET_JSON).read_text())
    (folder / DATASET_JSON).write_text(json.dumps(record | changes))

    with pytest.raises(ManifestError, match=r"dataset\.json cannot be used: "):
        open_data(folder)


def test_a_shard_of_other_columns_is_refused(folder: Path) -> None:
    shard = folder / "data" / shards.shard_name(0, 3)
    table = pq.read_table(shard)
    rows = table.column("row").cast("string")
    pq.write_table(table.set_column(table.column_names.index("row"), "row", rows), shard)
    record = json.loads((folder / DATASET_JSON).read_text())
    record["shards"][0]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    (folder / DATASET_JSON).write_text(json.dumps(record))

    with pytest.raises(ManifestError, match="its columns are not those of a build"):
        open_data(folder)
