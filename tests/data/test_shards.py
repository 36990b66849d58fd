from __future__ import annotations

import hashlib
import io
import json
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from parallelnet.data import shards
from parallelnet.data.shards import Example
from parallelnet.errors import ManifestError
from parallelnet.types import EMOTIONS


def flac(seed: int) -> bytes:
    content = io.BytesIO()
    noise = 0.1 * np.random.default_rng(seed).normal(size=1600)
    soundfile.write(content, noise, shards.SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return content.getvalue()


def png(seed: int) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


def draft(row: int) -> Example:
    return Example(
        row=row,
        id=f"id {row}",
        text="Übermorgen 😀\0\n",
        image_path=f"/home/somebody/pictures/{row}.png",
        sentiment="positive",
        spoken_text="Übermorgen grinning face",
        language="de",
        image=png(row),
        image_dhash=2**64 - 1 - row,
        group="3",
        image_group="4",
        speech=flac(row),
        duration_s=0.1,
        word_times=(("Übermorgen", 0.0, 0.04), ("grinning", 0.04, 0.07), ("face", 0.07, 0.1)),
        tts_engine="espeak-ng",
        tts_version="1.52",
        tts_voice="en-us",
        speech_probs=(0.1, 0.2, 0.3, 0.4),
        image_probs=(0.7, 0.1, 0.1, 0.1),
        label="anger",
        label_source="image",
        confidence=0.7,
    )


def test_a_shard_gives_back_what_was_kept(tmp_path: Path) -> None:
    drafts = [draft(0), draft(1).reject("duplicate"), replace(draft(2), word_times=(), speech_probs=(), image_probs=())]
    path = tmp_path / "shard.parquet"

    written = shards.write_shard(path, drafts)

    kept = [replace(d, image_path=f"{d.row}.png") for d in (drafts[0], drafts[2])]
    assert list(shards.read_shard(path)) == kept
    assert list(shards.read_shard(path, with_bytes=False)) == [replace(d, speech=b"", image=b"") for d in kept]
    assert written[0] == 2
    assert written[1] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(tmp_path.rglob("*.partial")) == []
    assert b"somebody" not in path.read_bytes()
    row = pq.read_table(path).to_pylist()[0]
    assert row["text_sha256"] == hashlib.sha256(drafts[0].text.encode()).hexdigest()
    assert tuple(row) == tuple(shards.COLUMNS)


def test_a_shard_without_rows_has_the_same_schema(tmp_path: Path) -> None:
    full, empty = tmp_path / "full.parquet", tmp_path / "empty.parquet"
    shards.write_shard(full, [draft(0)])

    assert shards.write_shard(empty, [draft(1).reject("duplicate")])[0] == 0

    assert list(shards.read_shard(empty)) == []
    assert pq.read_schema(empty).equals(pq.read_schema(full), check_metadata=True)


def test_the_same_drafts_give_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.parquet", "b.parquet")]
    digests = {shards.write_shard(path, map(draft, range(40)))[1] for path in paths}

    assert len(digests) == 1
    assert digests != {shards.write_shard(paths[0], map(draft, range(39)))[1]}


def test_row_groups_are_small_and_drafts_are_drawn_one_group_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    groups: list[int] = []

    def drawn() -> Iterator[Example]:
        for row in range(2 * shards.ROWS_PER_GROUP + 1):
            yield draft(row)
            groups.append(next(tmp_path.glob("*.partial")).stat().st_size)

    shards.write_shard(path, drawn())

    metadata = pq.ParquetFile(path).metadata
    assert groups[0] == groups[shards.ROWS_PER_GROUP - 2] < groups[shards.ROWS_PER_GROUP + 1]
    rows = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert rows == [shards.ROWS_PER_GROUP, shards.ROWS_PER_GROUP, 1]


def test_sound_and_pictures_are_stored_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    shards.write_shard(path, map(draft, range(5)))

    group = pq.ParquetFile(path).metadata.row_group(0)
    kinds = {group.column(i).path_in_schema: group.column(i).compression for i in range(group.num_columns)}
    assert kinds["speech.bytes"] == kinds["image.bytes"] == "UNCOMPRESSED"
    assert kinds["text"] == "ZSTD"
    assert draft(3).speech in path.read_bytes()


def test_rejected_rows_keep_their_reason_and_order(tmp_path: Path) -> None:
    fallen = [draft(row).reject("low-confidence", "0.4\nof 0.5") for row in (0, 1, 20, 21)]

    written = shards.write_rejected(tmp_path / "rejected.parquet", [draft(99), *fallen])

    rows = pq.read_table(tmp_path / "rejected.parquet").to_pylist()
    assert written[0] == len(rows) == 4
    assert [row["row"] for row in rows] == [0, 1, 20, 21]
    assert tuple(rows[0]) == tuple(shards.REJECTED_COLUMNS)
    assert {row["reason"] for row in rows} == {"low-confidence"}
    assert rows[0]["detail"] == "0.4 of 0.5"
    assert rows[0]["speech_probs"] == [0.1, 0.2, 0.3, 0.4]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    before = shards.write_shard(path, [draft(0)])

    def broken() -> Iterator[Example]:
        yield from map(draft, range(shards.ROWS_PER_GROUP + 1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards.write_shard(path, broken())

    assert hashlib.sha256(path.read_bytes()).hexdigest() == before[1]
    assert list(tmp_path.rglob("*.partial")) == []


def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            shards.write_shard(tmp_path / "shard.parquet", map(draft, range(40)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.rglob("*.partial")) == []
    assert not (tmp_path / "shard.parquet").exists()


@pytest.mark.parametrize("content", [b"", b"no parquet", None], ids=["empty", "foreign", "cut"])
def test_what_is_no_shard_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "shard.parquet"
    shards.write_shard(path, [draft(0)])
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)

    with pytest.raises(ManifestError, match=r"shard\.parquet is no whole shard"):
        list(shards.read_shard(path))


def test_a_table_of_other_columns_is_no_shard(tmp_path: Path) -> None:
    path = tmp_path / "rejected.parquet"
    shards.write_rejected(path, [draft(0).reject("duplicate")])

    with pytest.raises(ManifestError, match="is no whole shard"):
        list(shards.read_shard(path))


def test_the_fingerprint_is_what_two_commands_print(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    names = [shards.shard_name(n, 3) for n in range(3)]
    digests = [shards.write_shard(tmp_path / "data" / name, [draft(n)])[1] for n, name in enumerate(names)]
    listed = [{"name": name, "sha256": digest} for name, digest in zip(names, digests, strict=True)]
    printed = subprocess.run(
        "sha256sum data/*.parquet | sha256sum", shell=True, cwd=tmp_path, capture_output=True, check=True, text=True
    ).stdout

    assert shards.fingerprint(listed) == printed.split()[0]


def test_datasets_reads_it_with_sound_pictures_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    # Or it would count this at the hub: no test calls out.
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
    (tmp_path / "set" / "data").mkdir(parents=True)
    for n, rows in enumerate([[0, 1], [], [2]]):
        shards.write_shard(tmp_path / "set" / "data" / shards.shard_name(n, 3), map(draft, rows))
    rejected = [draft(7).reject("duplicate")]
    shards.write_rejected(tmp_path / "set" / "rejected.parquet", rejected)
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({}))

    found = datasets.load_dataset("parquet", data_dir=str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))

    assert list(found) == ["train"]
    table = found["train"]
    assert table.num_rows == 3
    assert table.features["speech"] == datasets.Audio(sampling_rate=16_000)
    assert table.features["image"] == datasets.Image()
    assert table.features["speech_probs"].length == len(EMOTIONS)
    # Audio is decoded by torchcodec, which needs the system's FFmpeg; soundfile does without.
    rows = list(table.cast_column("speech", datasets.Audio(decode=False)))
    for row, expected in zip(rows, map(draft, range(3)), strict=True):
        waveform, rate_hz = soundfile.read(io.BytesIO(row["speech"]["bytes"]))
        assert (rate_hz, waveform.shape) == (16_000, (1600,))
        assert np.array_equal(np.asarray(row["image"]), np.asarray(Image.open(io.BytesIO(expected.image))))
        assert row["text"] == expected.text
        assert row["word_times"][1] == {"word": "grinning", "start_s": 0.04, "end_s": 0.07}
        assert row["image_probs"] == list(expected.image_probs)
