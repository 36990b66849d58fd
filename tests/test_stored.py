"""Recordings too long for memory: in a file without a name they are heard as they are in memory, to the bit."""

import errno
import io
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from parallelnet import audio, audio_files, judging, records
from parallelnet.audio_files import gathered
from parallelnet.options import SignalOptions

RATE_HZ = 16_000


@pytest.fixture
def small_memory(monkeypatch):
    """Let nearly everything go to files, and be looked at in pieces of a quarter of a second."""
    monkeypatch.setattr(audio_files, "IN_MEMORY_BYTES", 1_000)
    monkeypatch.setattr(audio, "PIECE", judging.BLOCK * 8)


def noise(seconds, level=0.1):
    return (level * np.random.default_rng(3).standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def zeros(seconds):
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def blocks(array, n=3_000):
    return (array[at : at + n] for at in range(0, len(array), n))


def click():
    found = zeros(3)
    found[20_000:20_020] = 0.9
    return found


RECORDINGS = {
    "whole": noise(9.1),
    "zeros inside": np.concatenate([zeros(3.1), noise(3), zeros(7.77), noise(5), zeros(2.5)]),
    "noise inside": np.concatenate([noise(3), noise(6, 1e-5), noise(5)]),
    "zeros and noise": np.concatenate([noise(2), zeros(1.4), noise(3, 1e-5), zeros(1.3), noise(5)]) + np.float32(0.1),
    # Quiet is looked at from a block before it on: the zeros end where a piece of 8 blocks ends.
    "zeros to a border": np.concatenate([noise(64 * 0.032), zeros(71 * 0.032), noise(0.9, 1e-4), noise(5)]),
    "a click": np.concatenate([noise(2), click(), noise(2)]),
    "very soft": noise(9, 1e-22),
    "shorter than a window": noise(1.234),
    "silence": zeros(9),
    "one value": zeros(9) + np.float32(0.3),
}


@pytest.mark.parametrize("trim", [False, True])
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_stored_recording_is_heard_as_an_array_is(name, trim, request):
    signals = SignalOptions(trim=trim)
    expected = judging.hear(RECORDINGS[name], signals)
    windows = expected.windows(signals.clip_s)[:]
    request.getfixturevalue("small_memory")
    kept = gathered(blocks(RECORDINGS[name]))
    assert isinstance(kept, audio_files.Stored)
    heard = judging.hear(kept, signals)
    assert (heard.stretches, heard.reasons) == (expected.stretches, expected.reasons)
    np.testing.assert_array_equal(np.asarray(heard.part), expected.part)
    found = heard.windows(signals.clip_s)
    assert isinstance(found.power, audio_files.Stored)
    np.testing.assert_array_equal(found[:], windows)
    np.testing.assert_array_equal(found[1:3], windows[1:3])


@pytest.mark.parametrize("shape", [(1_000,), (300, 7)])
def test_slices_are_those_of_an_array(small_memory, shape):
    array = np.random.default_rng(0).random(shape, dtype=np.float32)
    kept = gathered(blocks(array, 90))
    assert len(kept) == len(array)
    for part in (slice(None), slice(5, 9), slice(-7, None), slice(290, 9_999), slice(20, 10)):
        np.testing.assert_array_equal(np.asarray(kept[part]), array[part])
        np.testing.assert_array_equal(np.asarray(kept[2:-3][part]), array[2:-3][part])
    assert np.asarray(kept, np.float64).dtype == np.float64


def test_what_is_short_stays_in_memory():
    array = noise(0.5)
    assert isinstance(gathered(blocks(array)), np.ndarray)
    np.testing.assert_array_equal(gathered(blocks(array)), array)


def test_threads_may_share_one(small_memory):
    array = noise(4)
    kept = gathered(blocks(array))
    with ThreadPoolExecutor(4) as pool:
        starts = np.random.default_rng(0).integers(0, len(array), 400)
        for at, found in zip(starts, pool.map(lambda at: np.asarray(kept[at : at + 999]), starts), strict=True):
            np.testing.assert_array_equal(found, array[at : at + 999])


def test_nothing_is_left_on_disk_even_while_it_is_in_use(small_memory, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = gathered(blocks(noise(2)))
    assert list(tmp_path.iterdir()) == []
    assert np.asarray(kept[:5]).any()


class Full(io.BytesIO):
    """A temporary file on a disk where nobody may write any more."""

    def write(self, data):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.parametrize("why", ["a full disk", "no folder"])
def test_no_room_for_the_file_is_no_fault_of_the_recording(small_memory, tmp_path, monkeypatch, why):
    if why == "a full disk":
        monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    else:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OSError, match="No room for the temporary file of a long recording") as caught:
        gathered(blocks(noise(2)))
    assert records.is_disk_full(caught.value)
