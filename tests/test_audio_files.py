from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from parallelnet import audio_files
from parallelnet.errors import InputError, MissingExtraError
from parallelnet.options import LimitOptions


def encoded(samples, rate_hz=16_000, kind="WAV", subtype=None, **options) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate_hz, format=kind, subtype=subtype, **options)
    return stream.getvalue()


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subtype", "loudest_error"),
    [
        ("WAV", "PCM_U8", 1 / 128),  # one step of 8 bits
        ("WAV", "PCM_16", 1 / 32_768),
        ("WAV", "PCM_24", 1 / 2**23),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("FLAC", "PCM_16", 1 / 32_768),
        ("AIFF", "PCM_16", 1 / 32_768),
    ],
)
def test_lossless_files_come_back(tone, kind, subtype, loudest_error):
    waveform = audio_files.read(encoded(tone, kind=kind, subtype=subtype))
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, tone, atol=loudest_error)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_lossy_files_sound_alike(tone, kind, subtype):
    waveform = audio_files.read(encoded(tone, kind=kind, subtype=subtype))
    n = min(len(waveform), len(tone))
    assert n == pytest.approx(len(tone), abs=2_304)  # two mp3 frames
    # Lossy coders keep the wave of a steady tone; 0.95 fails when the pitch, the order or the channel is wrong.
    best = max(np.corrcoef(waveform[shift:n], tone[: n - shift])[0, 1] for shift in range(0, 64))
    assert best > 0.95


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_keeps_length_and_pitch(rate_hz):
    seconds = np.arange(rate_hz) / rate_hz
    waveform = audio_files.read(encoded(0.5 * np.sin(2 * np.pi * 1_000 * seconds), rate_hz))
    assert abs(len(waveform) - 16_000) <= 1
    assert np.abs(np.fft.rfft(waveform[:16_000], 16_000)).argmax() == 1_000  # bins of 1 Hz
    np.testing.assert_allclose(np.abs(waveform[4_000:12_000]).max(), 0.5, atol=0.01)  # soxr's ripple is below 0.01 dB


def test_resampling_in_blocks_equals_resampling_at_once(monkeypatch, tone):
    samples = np.tile(tone, 4)
    at_once = soxr.resample(samples, 44_100, 16_000, quality="HQ")
    monkeypatch.setattr(audio_files, "BLOCK_S", 1)  # 2.9 s of file are three blocks,
    monkeypatch.setattr(audio_files, "BLOCK_S", 1)
    for waveform in (
        audio_files.read(encoded(samples, 44_100, subtype="FLOAT")),
        audio_files.read(samples, sample_rate_hz=44_100),
    ):
        np.testing.assert_allclose(waveform, at_once, atol=1e-6)  # float32 rounding


def test_channels_are_averaged(tone):
    channels = np.stack([tone, np.zeros_like(tone), 2 * tone], axis=1) / 2
    np.testing.assert_allclose(audio_files.read(encoded(channels, subtype="FLOAT")), tone / 2, atol=1e-7)
    np.testing.assert_allclose(audio_files.read(channels, sample_rate_hz=16_000), tone / 2, atol=1e-7)
    assert len(audio_files.read(encoded(np.tile(tone[:, None], 12)))) == len(tone)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([-32_768, 0, 16_384], np.int16), [-1, 0, 0.5]),
        (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-1, 0, 0.5], np.float16), [-1, 0, 0.5]),
        (np.array([-1, 0, 0.5], np.float64), [-1, 0, 0.5]),
    ],
)
def test_arrays_are_scaled_by_their_type(values, expected):
    np.testing.assert_array_equal(audio_files.read(values, sample_rate_hz=16_000), np.array(expected, np.float32))


def test_every_way_in_gives_the_same(tone_wav):
    expected = audio_files.read(tone_wav)
    data = tone_wav.read_bytes()
    with tone_wav.open("rb") as stream:
        stream.seek(100)  # a stream counts from its start, wherever it stands
        sources = [str(tone_wav), data, bytearray(data), memoryview(data), stream, io.BytesIO(data)]
        for source in sources:
            np.testing.assert_array_equal(audio_files.read(source), expected)
        assert not stream.closed


def test_a_stream_that_cannot_seek_is_read(tone_wav):
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as stream:
        stream.write(tone_wav.read_bytes()[:44] + bytes(20))
    with os.fdopen(read_end, "rb") as stream, pytest.raises(InputError, match="cut off"):
        audio_files.read(stream)


def test_a_wav_from_a_pipe_of_unknown_length_is_read(tone):
    data = bytearray(encoded(tone))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert len(audio_files.read(bytes(data))) == len(tone)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.97])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_a_file_that_is_cut_off_is_refused(kind, share):
    noise = np.random.default_rng(0).standard_normal(160_000) * 0.1
    data = encoded(noise, kind=kind)
    with pytest.raises(InputError, match="cut off") as caught:
        audio_files.read(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)


def test_a_wav_of_endless_empty_chunks_is_given_up():
    with pytest.raises(InputError, match=r"without sound: it has no chunk 'data'"):
        audio_files.read(encoded(np.zeros(9))[:12] + bytes(8 * 100_000))


def test_missing_empty_folder_and_text_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        audio_files.read(tmp_path / "none.wav")
    with pytest.raises(InputError, match="is a folder"):
        audio_files.read(tmp_path)
    empty = tmp_path / "empty.wav"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.wav' is empty \(0 bytes\)"):
        audio_files.read(empty)
    with pytest.raises(InputError, match=r"is empty \(0 bytes\)"):
        audio_files.read(b"")
    text = tmp_path / "text.wav"
    text.write_text("This is no sound. " * 100)
    with pytest.raises(InputError, match=r"text\.wav' is no sound.*it is text\. Allowed: wav, flac"):
        audio_files.read(text)
    with pytest.raises(InputError, match="holds no samples"):
        audio_files.read(encoded(np.zeros(0)))
    with pytest.raises(InputError, match="null byte"):
        audio_files.read("a\0b.wav")


def test_unreadable_is_refused(tone_wav, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root, who runs tests in containers
    with pytest.raises(InputError, match=r"tone\.wav' cannot be opened: Permission denied"):
        audio_files.read(tone_wav)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_a_device_that_never_ends_is_refused():
    with pytest.raises(InputError, match="not a regular file"):
        audio_files.read("/dev/zero")


@pytest.mark.parametrize("source", [None, 3, ["a.wav"], io.StringIO("x")])
def test_wrong_types_are_refused(source):
    with pytest.raises(InputError, match=f"type {type(source).__name__}; allowed: a path"):
        audio_files.read(source)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tone, bad):
    tone[1_000] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        audio_files.read(encoded(tone, subtype="FLOAT"))
    with pytest.raises(InputError, match="NaN or infinite"):
        audio_files.read(tone, sample_rate_hz=44_100)
    with pytest.raises(InputError, match="NaN or infinite"):
        audio_files.read(np.full(100, 1e300), sample_rate_hz=16_000)


@pytest.mark.parametrize(
    ("array", "rate_hz", "message"),
    [
        (np.zeros(9), None, "pass sample_rate_hz"),
        (np.zeros(0), 16_000, "no samples"),
        (np.zeros((0, 2)), 16_000, "no samples"),
        (np.zeros((2, 0)), 16_000, "no samples"),
        (np.zeros((2, 9)), 16_000, "transpose it"),
        (np.zeros((2, 9, 9)), 16_000, "3 axes"),
        (np.zeros(9, complex), 16_000, "wrong type"),
        (np.zeros(9), 3_999, "allowed: 4000 to 192000"),
        (np.zeros(9), 192_001, "allowed: 4000 to 192000"),
        (np.zeros(2), 192_000, "shorter than one sample"),
    ],
)
def test_wrong_arrays_are_refused(array, rate_hz, message):
    with pytest.raises(InputError, match=message):
        audio_files.read(array, sample_rate_hz=rate_hz)


def test_ten_hours_are_refused_from_the_header(tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(8), 8_000, subtype="PCM_U8")
    n_samples = 10 * 3600 * 8_000
    with path.open("r+b") as file:
        file.seek(40)
        file.write(n_samples.to_bytes(4, "little"))
        file.truncate(44 + n_samples)  # sparse: takes no room on the disk

    def fail(*_args, **_kwargs):
        raise AssertionError("decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(InputError, match=r"lasts 36,000 s or more; allowed: up to 900 s.*--max-duration-s"):
        audio_files.read(path)


def test_a_header_that_does_not_tell_the_length_does_not_lift_the_limit(tone, monkeypatch):
    monkeypatch.setattr(audio_files, "BLOCK_S", 1)
    taken = []
    mono = audio_files._mono
    monkeypatch.setattr(audio_files, "_mono", lambda block, notes: taken.append(len(block)) or mono(block, notes))
    with pytest.raises(InputError, match="--max-duration-s"):
        audio_files.read(encoded(tone) * 10, limits=LimitOptions(max_duration_s=5))  # each header is honest
    assert sum(taken) == 5 * 16_000


@pytest.fixture
def m4a(tone, tmp_path) -> bytes:
    if find_spec("av") is None:
        pytest.skip("needs the extra `video`")
    import av

    path = tmp_path / "tone.m4a"
    # The table of contents first, as phones and web pages have it: what is cut off then shows at the end only.
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as file:
        track = file.add_stream("aac", rate=16_000, layout="stereo", bit_rate=128_000)
        frame = av.AudioFrame.from_ndarray(np.stack([tone, np.zeros_like(tone)]), format="fltp", layout="stereo")
        frame.sample_rate = 16_000
        file.mux(track.encode(frame))
        file.mux(track.encode(None))
    return path.read_bytes()


def test_m4a_is_read_with_the_extra(m4a, tone):
    waveform = audio_files.read(m4a)
    assert len(waveform) == pytest.approx(len(tone), abs=2_048)  # two AAC frames
    n = min(len(waveform), len(tone))
    assert max(np.corrcoef(waveform[s:n], tone[: n - s])[0, 1] for s in range(0, 1_200)) > 0.95
    assert np.abs(waveform).max() == pytest.approx(np.abs(tone).max() / 2, rel=0.2)  # the mean of both channels


def test_joined_m4as_are_all_read(m4a):
    one = audio_files.read(m4a)
    np.testing.assert_array_equal(audio_files.read(m4a + m4a), np.tile(one, 2))


@pytest.mark.parametrize("times", [1, 2])
def test_webm_without_a_length_as_browsers_record_it(m4a, tone, times):
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="webm", options={"live": "1"}) as out:
        track = out.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(soxr.resample(tone, 16_000, 48_000)[None], format="flt", layout="mono")
        frame.sample_rate = 48_000
        for part in av.AudioResampler(format="s16", layout="mono", rate=48_000, frame_size=960).resample(frame):
            out.mux(track.encode(part))
        out.mux(track.encode(None))
    waveform = audio_files.read(file.getvalue() * times)
    assert len(waveform) == pytest.approx(times * len(tone), abs=2 * 320)  # packets of 20 ms


def test_m4a_that_is_cut_off_or_too_long_is_refused(m4a):
    with pytest.raises(InputError, match="cut off"):
        audio_files.read(m4a[: len(m4a) // 2])
    with pytest.raises(InputError, match="--max-duration-s"):
        audio_files.read(m4a, limits=LimitOptions(max_duration_s=1))


# --- read to the real end ---------------------------------------------------------------------------------------------


def put(data, at, value) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def same(data, samples, tolerance=1 / 32_768, **options):
    """The bytes hold these samples, neither fewer nor more."""
    notes: list[str] = []
    waveform = audio_files.read(data, notes=notes, **options)
    assert len(waveform) == len(samples)
    np.testing.assert_allclose(waveform, samples, atol=tolerance)
    return notes


def mp3_frames(data):
    """Where each frame of an mp3 of 16 kHz (MPEG 2, layer 3) begins and ends, counted without the code under test."""
    kbps = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
    found, at = [], data.index(b"\xff\xf3")
    while data[at : at + 2] == b"\xff\xf3":
        n_bytes = 72 * kbps[data[at + 2] >> 4] * 1000 // 16_000 + (data[at + 2] >> 1 & 1)
        found.append((at, at + n_bytes))
        at += n_bytes
    return found


@pytest.fixture(scope="module")
def speech():
    """Three seconds: noise, a pause, noise, so that a variable bit rate varies."""
    noise = np.random.default_rng(1).standard_normal(48_000).astype(np.float32) * 0.1
    noise[16_000:32_000] = 0
    return noise


@pytest.fixture(scope="module")
def vbr(speech) -> bytes:
    return encoded(speech, kind="MP3", bitrate_mode="VARIABLE", compression_level=0.5)


@pytest.fixture(scope="module")
def bare(vbr) -> bytes:
    """The same frames without the Xing header, as from a pipe."""
    (_, start), *_ = mp3_frames(vbr)
    return vbr[start:]


ID3 = (
    b"ID3\x03\x00\x00\x00\x00\x27\x09" + b"\xff\xd8\xff\xe0" * 1_248 + b"APIC\xff\xfb\x90\x00\0"
)  # 10 + 5,001 bytes: a picture that looks like frames


@pytest.mark.parametrize("quiet_first", [False, True])
def test_an_mp3_without_xing_is_read_to_its_end(speech, quiet_first):
    samples = np.roll(speech, -16_000 if quiet_first else 0)
    data = encoded(samples, kind="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    frames = mp3_frames(data)
    waveform = audio_files.read(data[frames[0][1] :])
    assert len(waveform) == 576 * (len(frames) - 1)
    whole = audio_files.read(data)  # without the 1,105 samples before it that the coder put there
    assert len(whole) == len(samples)
    np.testing.assert_allclose(waveform[1_105 : 1_105 + len(whole)], whole, atol=1e-5)


def test_joined_mp3s_are_read_one_by_one(vbr, bare, speech):
    twice = audio_files.read(vbr + ID3 + vbr)
    np.testing.assert_allclose(twice, np.tile(audio_files.read(vbr), 2), atol=1e-5)
    n_bare = len(audio_files.read(bare))
    assert len(audio_files.read(bare + vbr)) == n_bare + len(speech)
    # Here the Xing header counts the first part only.
    assert len(audio_files.read(vbr + bare)) == 2 * n_bare


@pytest.mark.parametrize("channels", [1, 2])
def test_joined_mp3s_of_two_rates_and_channel_counts(vbr, speech, channels):
    slow = soxr.resample(speech, 16_000, 11_025)
    other = encoded(np.stack([slow] * channels, axis=1), 11_025, kind="MP3")
    assert len(audio_files.read(vbr + other + vbr)) == pytest.approx(3 * len(speech), abs=2)


@pytest.mark.parametrize(
    ("front", "back"),
    [
        (ID3, b""),
        (bytes(2_000), b""),
        (b"\xef\xbb\xbf", bytes(500)),
        (b"", b"TAG" + bytes(125)),
        (b"", b"APETAGEX" + bytes(3_000)),
        (ID3 + bytes(100) + ID3, b"\xff" * 300),
        (put(ID3, 6, b"\x00\x00\x01\x02"), b""),  # the size of the tag is wrong
        (b"--boundary\r\nContent-Type: audio/mpeg\r\n\r\n", b"\r\n--boundary--\r\n"),
    ],
)
@pytest.mark.parametrize("kind", ["vbr", "bare", "wav", "flac", "ogg"])
def test_bytes_before_and_behind_are_no_sound(front, back, kind, vbr, bare, speech):
    files = {"vbr": vbr, "bare": bare}
    data = files.get(kind) or encoded(speech, kind=kind.upper())
    np.testing.assert_array_equal(audio_files.read(front + data + back), audio_files.read(data))


def test_an_mp3_with_a_hole_is_refused_and_with_a_scratch_is_read(bare, vbr):
    frames = mp3_frames(bare)
    first, last = frames[10][0], frames[60][0]
    with pytest.raises(InputError, match=r"is damaged: .* bytes between its frames are no sound"):
        audio_files.read(put(bare, first, bytes(last - first)))
    scratched = bare[: frames[10][0] + 40] + bare[frames[10][1] :]
    assert len(audio_files.read(scratched)) == pytest.approx(576 * len(frames), abs=2 * 576)
    _, (start, stop), *_ = mp3_frames(vbr)
    scratched = vbr[: start + 40] + vbr[stop:]  # two frames of 36 ms less than its Xing header promises
    assert len(audio_files.read(scratched)) == pytest.approx(48_000, abs=2 * 576)


def test_an_mp3_inside_a_wav_is_read(bare):
    fmt = struct.pack("<HHIIHH", 0x55, 1, 16_000, 4_000, 1, 0)
    for size in (len(bare), 0):
        data = b"RIFF" + bytes(4) + b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size) + bare
        np.testing.assert_array_equal(audio_files.read(data), audio_files.read(bare))


# --- headers that are wrong -------------------------------------------------------------------------------------------

NEVER_WRITTEN = [bytes(4), b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x00\xf0\xff\x7f"]


@pytest.mark.parametrize("size", NEVER_WRITTEN)
@pytest.mark.parametrize("kind", ["WAV", "RIFX", "AIFF", "AU"])
def test_a_size_that_was_never_written(tone, kind, size):
    data = encoded(tone, kind="WAV", endian="BIG") if kind == "RIFX" else encoded(tone, kind=kind)
    size = size if kind == "WAV" else size[::-1]
    at = {"WAV": 40, "RIFX": 40, "AIFF": data.find(b"SSND") + 4, "AU": 8}[kind]
    data = put(data, at, size)
    if kind == "AIFF" and not any(size):
        data = put(data, data.index(b"COMM") + 10, size)
    same(data if kind == "AU" else put(data, 4, size), tone)


@pytest.mark.parametrize("size", [bytes(8), b"\xff" * 8])
@pytest.mark.parametrize("kind", ["CAF", "W64"])
def test_a_long_size_that_was_never_written(tone, kind, size):
    data = encoded(tone, kind=kind, subtype="PCM_16")
    mark = b"data" if kind == "CAF" else b"data\xf3\xac\xd3\x11"
    same(put(data, data.index(mark) + (4 if kind == "CAF" else 16), size), tone)


@pytest.mark.parametrize("size", [None, bytes(8)])
def test_rf64(tone, size):
    data = encoded(tone, kind="RF64")
    same(data if size is None else put(data, data.index(b"ds64") + 16, size), tone)


def test_more_than_4_gb_is_measured_whole(tmp_path):
    path = tmp_path / "long.wav"
    n_bytes = 5 << 30
    data = put(encoded(np.zeros(0), 192_000, kind="RF64"), 20, struct.pack("<QQ", n_bytes, n_bytes))
    with path.open("wb") as file:
        file.write(data)
        file.truncate(len(data) + n_bytes)  # sparse: takes no room on the disk
    with pytest.raises(InputError, match=f"lasts {n_bytes / 384_000:,.0f} s or more"):
        audio_files.read(path)


def test_a_wrong_riff_size_odd_chunks_and_chunks_behind_the_sound(tone):
    data = encoded(tone)
    for size in (0, 36, 2**31, len(data) + 8):
        same(put(data, 4, struct.pack("<I", size)), tone)
    listed = b"LIST" + struct.pack("<I", 5) + b"INFOx"
    same(data[:12] + listed + b"\0" + data[12:], tone)
    same(data[:12] + listed + data[12:], tone)  # its padding was forgotten
    assert same(data + listed, tone) == []
    empty = data[:40] + bytes(4) + b"LIST" + struct.pack("<I", 26) + bytes(26)
    with pytest.raises(InputError, match="holds no samples"):
        audio_files.read(empty)


def test_sound_behind_the_promised_end_is_read_and_said(tone):
    (note,) = same(put(encoded(tone), 40, struct.pack("<I", 2_000)), tone)
    assert note == "The header of the wav promises 2000 bytes of sound; the 62000 behind them were read as sound, too."


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "W64", "FLAC"])
def test_recordings_written_behind_each_other_are_all_read(tone, kind):
    subtype = "PCM_16"
    one, two = encoded(tone, kind=kind, subtype=subtype), encoded(tone[::-1], kind=kind, subtype=subtype)
    same(one + two, np.concatenate([tone, tone[::-1]]))
    if kind == "WAV":
        same(put(one, 40, bytes(4)) + put(two, 40, b"\xff" * 4), np.concatenate([tone, tone[::-1]]))
        same(one + encoded(soxr.resample(tone, 16_000, 32_000), 32_000), np.tile(tone, 2), tolerance=0.02)


CODINGS = ["PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32"]


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [(k, c) for k in ("WAV", "WAVEX", "AU", "AIFF", "CAF", "W64") for c in CODINGS if soundfile.check_format(k, c)],
)
def test_codings_are_read_as_libsndfile_does(tone, kind, subtype):
    data = encoded(tone, kind=kind, subtype=subtype)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_array_equal(audio_files.read(data), expected)


def test_many_channels_and_lying_headers_cost_nothing():
    fmt = struct.pack("<HHIIHH", 1, 65_535, 192_000, 0, 0, 16)
    head = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + fmt + b"data\xff\xff\xff\xff"
    with pytest.raises(InputError, match="65535 channels; allowed: 1 to 1024"):
        audio_files.read(head + bytes(100))
    tracemalloc.start()
    with pytest.raises(InputError, match="no samples"):
        audio_files.read(put(head, 22, struct.pack("<H", 1_024)) + bytes(100))
    assert tracemalloc.get_traced_memory()[1] < 64 << 20  # a block of 20 s would be 15 GB
    tracemalloc.stop()


# --- flac and Ogg -----------------------------------------------------------------------------------------------------


def streamed(flac: bytes) -> bytes:
    """The same without its number of samples and checksum, as from a pipe."""
    return flac[:21] + bytes((flac[21] & 0xF0,)) + bytes(20) + flac[42:]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("n_samples", [1, 100, 4_096, 32_000])
def test_flac_without_its_number_of_samples(tone, subtype, n_samples):
    flac = streamed(encoded(tone[:n_samples], kind="FLAC", subtype=subtype))
    same(flac, tone[:n_samples])
    same(flac + b"TAG" + bytes(125), tone[:n_samples])
    same(flac + flac, np.tile(tone[:n_samples], 2))
    with pytest.raises(InputError, match="cut off"):
        audio_files.read(flac[:-3])


def ogg_page(packets, serial=7, number=0, granule=0, flags=0) -> bytes:
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,)) for packet in packets)
    head = struct.pack("<4sBBQIIIB", b"OggS", 0, flags, granule, serial, number, 0, len(lacing))
    page = head + lacing + b"".join(packets)
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", crc) + page[26:]


def ogg_flac(flac: bytes, n_samples: int, old: bool = False) -> bytes:
    """A flac of one short frame as Ogg."""
    first = b"fLaC" if old else b"\x7fFLAC\x01\x00\x00\x01" + flac[:42]
    at, headers = (4 if old else 42), []
    last = False
    while not last:
        last = at > 4 and bool(flac[at] & 0x80)
        size = 4 + int.from_bytes(flac[at + 1 : at + 4])
        headers.append(flac[at : at + size])
        at += size
    pages = [ogg_page([first], flags=2), ogg_page(headers, number=1)]
    return b"".join([*pages, ogg_page([flac[at:]], number=2, granule=n_samples, flags=4)])


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_flac_inside_ogg(tone, old, stream):
    flac = encoded(tone[6_000:8_000], kind="FLAC")
    ogg = ogg_flac(streamed(flac) if stream else flac, 2_000, old)
    same(ogg, tone[6_000:8_000])
    same(ogg + ogg, np.tile(tone[6_000:8_000], 2))


def test_chained_ogg_is_read_to_its_last_link(tone):
    vorbis = encoded(tone, kind="OGG")
    opus = encoded(soxr.resample(tone, 16_000, 48_000), 48_000, kind="OGG", subtype="OPUS")
    waveform = audio_files.read(vorbis + opus + vorbis)
    np.testing.assert_array_equal(waveform, np.concatenate([audio_files.read(part) for part in (vorbis, opus, vorbis)]))


def pages_of(ogg: bytes) -> list[bytes]:
    return [b"OggS" + page for page in ogg.split(b"OggS")[1:]]


def test_ogg_beside_other_streams_and_with_missing_pages(speech):
    vorbis = encoded(np.tile(speech, 8), kind="OGG")
    expected = audio_files.read(vorbis)
    pages = pages_of(vorbis)
    assert len(pages) > 6
    skeleton = ogg_page([b"fishead\0" + bytes(56)], serial=99, flags=2)
    beside = [skeleton, *pages[:3], ogg_page([bytes(50)], serial=99, number=1), *pages[3:]]
    np.testing.assert_array_equal(audio_files.read(b"".join(beside)), expected)
    with pytest.raises(InputError, match="damaged: 1 of its pages are missing"):
        audio_files.read(b"".join(pages[:4] + pages[5:]))
    with pytest.raises(InputError, match="Ogg without a sound track"):
        audio_files.read(skeleton)


# --- channels that cancel each other out ------------------------------------------------------------------------------

CANCEL = "The channels cancel each other out (opposite phase): the louder one was used."


@pytest.mark.parametrize("gain", [1, 1e-4])
@pytest.mark.parametrize("hiss", [0, 0.01])
def test_opposite_phase_is_heard_and_said(tone, gain, hiss):
    noise = np.random.default_rng(0).standard_normal((len(tone), 2)) * hiss * 0.1
    channels = (np.stack([tone, -tone], axis=1) + noise) * gain
    notes: list[str] = []
    waveform = audio_files.read(encoded(channels, subtype="FLOAT"), notes=notes)
    np.testing.assert_allclose(waveform, channels[:, 0], atol=1e-6)
    assert notes == [CANCEL]
    np.testing.assert_allclose(audio_files.read(channels, sample_rate_hz=16_000), channels[:, 0], atol=1e-6)


def test_only_blocks_that_cancel_are_taken_from_one_channel(tone, monkeypatch):
    monkeypatch.setattr(audio_files, "BLOCK_S", 1)
    left = np.tile(tone, 2)
    right = np.concatenate([tone, -0.9 * tone])
    notes: list[str] = []
    waveform = audio_files.read(encoded(np.stack([left, right], axis=1), subtype="FLOAT"), notes=notes)
    np.testing.assert_allclose(waveform, left, atol=1e-7)
    assert notes == [CANCEL]


@pytest.mark.parametrize(
    "mix",
    [
        [[1, 0], [0, 1]],  # two voices, one a channel
        [[1, 0], [1, 0]],
        [[1, 0], [0, 0]],
        [[1, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]],
        [[1, 0], [-0.4, 1]],
        [[0, 0], [0, 0]],
    ],
)
def test_other_channels_are_averaged_without_a_word(mix):
    voices = np.random.default_rng(0).standard_normal((2, 16_000)).astype(np.float32) * 0.1
    channels = (np.array(mix, np.float32) @ voices).T
    notes: list[str] = []
    waveform = audio_files.read(channels, sample_rate_hz=16_000, notes=notes)
    np.testing.assert_allclose(waveform, channels.mean(axis=1), atol=1e-7)
    assert notes == []


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_stream_gives_the_blocks_of_read_and_lets_go_of_the_file(tone_wav):
    with audio_files.stream(tone_wav) as blocks:
        np.testing.assert_array_equal(np.concatenate(list(blocks)), audio_files.read(tone_wav))
    with audio_files.stream(tone_wav) as blocks:
        next(blocks)
    tone_wav.unlink()


@pytest.mark.parametrize("kind", ["WAV", "MP3", "FLAC"])
def test_memory_does_not_grow_with_the_length(speech, kind):
    def peak(n):
        data = encoded(speech, kind=kind) * n
        tracemalloc.start()
        with audio_files.stream(data) as blocks:
            n_samples = sum(len(block) for block in blocks)
        most = tracemalloc.get_traced_memory()[1] - len(data)  # `data` itself is copied into a stream
        tracemalloc.stop()
        return n_samples, most

    (short, first), (long, second) = peak(10), peak(60)
    assert long == 6 * short
    assert second < 1.1 * first + (1 << 20)  # 1 MB: where each recording lies


# --- what is not read, and who says so --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!DOCTYPE html><html>404</html>", "no sound that is known: it is a web page"),
        (b'{"error": "no"}\n', "it is text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "it is a picture"),
        (b"MThd\x00\x00\x00\x06", "it is MIDI"),
        (b"\x02#!SILK_V3" + bytes(99), "it is Silk"),
        (bytes(5_000), "it holds nothing but zeros"),
        (bytes(range(256)) * 20, "no sound that is known. Allowed: wav"),
        (b"RIFF\x04\x00\x00\x00WAVE", "it has no chunk 'data'"),
    ],
)
def test_what_is_no_sound_is_named(data, message):
    with pytest.raises(InputError, match=message):
        audio_files.read(data)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "MP4"),
        (b"\xff\xf1\x50\x80\x00\xff\xfc" * 9, "AAC"),
        (ID3 + b"\xff\xf1\x50\x80\x00\xff\xfc" * 9, "AAC"),
        (b"\x1aE\xdf\xa3" + bytes(30), "WebM"),
        (b"#!AMR\n" + bytes(30), "AMR"),
        (ogg_page([b"Speex   1.2" + bytes(60)], flags=2), "Ogg Speex"),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 0x161, 1, 16_000, 1, 1, 0) + b"data\4\0\0\0abcd",
            "wav of coding 0x0161",
        ),
    ],
)
def test_what_needs_the_extra_names_it(monkeypatch, head, what):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=rf'{what}: reading it.*pip install "parallelnet\[video\]"'):
        audio_files.read(head + bytes(100) * (what != "AAC" and "wav" not in what))


def test_a_disk_that_fails_is_named():
    class Failing(io.BytesIO):
        def read(self, n_bytes=-1):
            if self.tell() > 60_000:
                raise OSError(5, "Input/output error")
            return super().read(n_bytes)

    with pytest.raises(InputError, match="could not be read to its end: Input/output error"):
        audio_files.read(Failing(encoded(np.zeros(100_000))))


def test_libraries_print_nothing_beside_our_line(vbr, tmp_path):
    frames = mp3_frames(vbr)
    damaged = bytearray(vbr)
    for start, _ in frames[5:]:
        damaged[start + 4 : start + 30] = b"\xa5" * 26
    path = tmp_path / "damaged.mp3"
    path.write_bytes(damaged)
    noisy = "import soundfile, sys; soundfile.read(sys.argv[1])"
    said = subprocess.run([sys.executable, "-c", noisy, str(path)], capture_output=True, text=True, timeout=60)
    assert "mpg123" in said.stderr  # or the rest would prove nothing
    command = [sys.executable, "-m", "parallelnet", "predict", "--json", "--threads", "1", "--speech", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 2)
    assert [line for line in done.stderr.splitlines() if not line.startswith("parallelnet: ")] == []
    assert len(done.stdout.splitlines()) == (done.returncode == 0)


@pytest.mark.parametrize("hum", [0.0, 0.003, 0.01, 0.03])
@pytest.mark.parametrize(
    "opposed", [slice(0, None), slice(16_000, None), slice(0, 12_000)], ids=["all", "end", "start"]
)
def test_channels_that_cancel_are_found_under_a_common_hum_and_for_a_part(tone, hum, opposed):
    buzz = hum * np.sin(2 * np.pi * 50 * np.arange(len(tone)) / 16_000).astype(np.float32)
    right = tone.copy()
    right[opposed] *= -1
    notes = []
    heard = audio_files.read(np.stack([tone + buzz, right + buzz], axis=1), sample_rate_hz=16_000, notes=notes)
    assert notes == ["The channels cancel each other out (opposite phase): the louder one was used."]
    np.testing.assert_allclose(heard, tone + buzz, atol=1e-6)  # float32


def test_channels_of_two_microphones_are_averaged_without_a_note(tone):
    late = np.concatenate([np.zeros(5, np.float32), tone[:-5]])  # 10 cm further away
    notes = []
    audio_files.read(np.stack([tone, 0.8 * late], axis=1), sample_rate_hz=16_000, notes=notes)
    assert notes == []
