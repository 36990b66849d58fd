from __future__ import annotations

import io
import os
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from parallelnet import audio
from parallelnet.errors import InputError, MissingExtraError
from parallelnet.options import LimitOptions


def encoded(samples, rate_hz=16_000, kind="WAV", subtype=None, **options) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate_hz, format=kind, subtype=subtype, **options)
    return stream.getvalue()


# --- log-mel ----------------------------------------------------------------------------------------------------------


class NoNumba(types.ModuleType):
    """Stands for numba: its decorators return what they decorate. Log-mels need nothing of what it compiles."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **_: given[0] if given and callable(given[0]) else lambda function: function


@pytest.fixture(scope="module")
def librosa_log_mel():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numba", NoNumba("numba"))  # it would compile for half a minute of processor time
        import librosa

        librosa.feature.melspectrogram(y=np.zeros(4096, np.float32), sr=16_000)  # librosa imports its parts when used

    def compute(waveform, hop=512):
        power = librosa.feature.melspectrogram(
            y=waveform, sr=16_000, n_fft=1024, hop_length=hop, n_mels=128, fmin=0, fmax=8000, power=2.0,
            window="hann", center=True, pad_mode="constant", htk=False, norm="slaney",
        )  # fmt: skip
        return librosa.power_to_db(power, ref=np.max, top_db=80) / 80 + 1

    return compute


@pytest.mark.parametrize("n_samples", [70_001, 65_536, 1_025])
def test_log_mel_agrees_with_librosa(librosa_log_mel, n_samples):
    rng = np.random.default_rng(0)
    waveform = (rng.standard_normal(n_samples) * np.geomspace(1, 1e-3, n_samples)).astype(np.float32)
    ours = audio.log_mel(waveform)
    assert ours.shape == (128, 1 + n_samples // 512)
    assert ours.dtype == np.float32
    # 1e-4 of the [0, 1] scale is 0.008 dB: the issue's own bound, some ten times float32 rounding of both sides.
    np.testing.assert_allclose(ours, librosa_log_mel(waveform), atol=1e-4)


def test_log_mel_of_a_tone_and_another_hop_agrees_with_librosa(librosa_log_mel, tone):
    np.testing.assert_allclose(audio.log_mel(tone, clip_s=2.0), librosa_log_mel(tone, hop=250), atol=1e-4)


@pytest.mark.parametrize("gain", [1e-6, 1e-30, 1e4])
def test_level_of_the_recording_does_not_matter(tone, gain):
    # Both are scaled to a peak of 1 first; float32 rounding of the gain moves a band near the floor by 1e-5.
    np.testing.assert_allclose(audio.log_mel(tone * np.float32(gain)), audio.log_mel(tone), atol=1e-4)


def test_log_mel_does_not_depend_on_the_chunks(tone, monkeypatch):
    whole = audio.log_mel(tone)
    monkeypatch.setattr(audio, "_FRAMES_AT_ONCE", 7)
    np.testing.assert_allclose(audio.log_mel(tone), whole, atol=1e-6)  # the order of BLAS' sums may differ


def test_silence_is_zero_and_told():
    silence = np.zeros(20_000, np.float32)
    assert audio.is_silent(silence)
    assert not audio.log_mel(silence).any()
    assert not audio.windows(silence).any()
    assert not audio.is_silent(np.array([0, 1e-9], np.float32))


def test_mel_matrix_is_shared_and_cannot_be_changed():
    assert audio.mel_matrix() is audio.mel_matrix()
    with pytest.raises(ValueError, match="read-only"):
        audio.mel_matrix()[0, 0] = 1


# --- windows ----------------------------------------------------------------------------------------------------------


def test_hop_and_starts():
    assert audio.hop() == 512
    assert audio.hop(2.0) == 250
    assert audio.window_starts(1) == audio.window_starts(128) == (0,)
    assert audio.window_starts(129) == (0, 1)
    assert audio.window_starts(192) == (0, 64)
    assert audio.window_starts(200) == (0, 64, 72)


def test_short_utterance_is_one_window_and_its_padding_is_exactly_zero(tone):
    (window,) = audio.windows(tone)
    assert window.shape == (1, 128, 128)
    assert window.dtype == np.float32
    assert window.max() == 1
    # Frame k sees samples from 512 k - 512 on: from frame 64 on (512 * 63.5 = 32,512 > 32,000) nothing but padding.
    assert not window[:, :, 64:].any()
    assert window[:, :, :62].any(axis=(0, 1)).all()


def test_a_clip_of_exactly_the_length_is_one_window_and_one_sample_more_is_two():
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal(65_537).astype(np.float32)
    assert audio.windows(waveform[:65_536]).shape == (1, 1, 128, 128)
    assert audio.windows(waveform).shape == (2, 1, 128, 128)


def test_windows_of_a_long_recording_are_cut_from_its_log_mel():
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal(160_000).astype(np.float32)
    mel = audio.log_mel(waveform)
    windows = audio.windows(waveform)
    starts = audio.window_starts(mel.shape[1])
    assert starts[-1] + 128 == mel.shape[1]
    for window, start in zip(windows, starts, strict=True):
        np.testing.assert_array_equal(window[0], mel[:, start : start + 128])


def test_trim_cuts_the_quiet_ends_only(tone):
    loud = np.tile(tone[8_000:24_000], 2)
    quiet = np.full(16_000, 1e-5, np.float32)
    trimmed = audio.trim(np.concatenate([quiet, loud, quiet]))
    assert len(loud) <= len(trimmed) <= len(loud) + 4 * audio.TRIM_SAMPLES  # a frame at each end, and its rounding
    silence = np.zeros(100, np.float32)
    np.testing.assert_array_equal(audio.trim(silence), silence)


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
    waveform = audio.read(encoded(tone, kind=kind, subtype=subtype))
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, tone, atol=loudest_error)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_lossy_files_sound_alike(tone, kind, subtype):
    waveform = audio.read(encoded(tone, kind=kind, subtype=subtype))
    n = min(len(waveform), len(tone))
    assert n == pytest.approx(len(tone), abs=2_304)  # two mp3 frames
    # Lossy coders keep the wave of a steady tone; 0.95 fails when the pitch, the order or the channel is wrong.
    best = max(np.corrcoef(waveform[shift:n], tone[: n - shift])[0, 1] for shift in range(0, 64))
    assert best > 0.95


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_keeps_length_and_pitch(rate_hz):
    seconds = np.arange(rate_hz) / rate_hz
    waveform = audio.read(encoded(0.5 * np.sin(2 * np.pi * 1_000 * seconds), rate_hz))
    assert abs(len(waveform) - 16_000) <= 1
    assert np.abs(np.fft.rfft(waveform[:16_000], 16_000)).argmax() == 1_000  # bins of 1 Hz
    np.testing.assert_allclose(np.abs(waveform[4_000:12_000]).max(), 0.5, atol=0.01)  # soxr's ripple is below 0.01 dB


def test_resampling_in_blocks_equals_resampling_at_once(monkeypatch, tone):
    samples = np.tile(tone, 4)
    at_once = soxr.resample(samples, 44_100, 16_000, quality="HQ")
    monkeypatch.setattr(audio, "_BLOCK_S", 1)  # 2.9 s of file are three blocks, of array eight
    for waveform in (audio.read(encoded(samples, 44_100, subtype="FLOAT")), audio.read(samples, sample_rate_hz=44_100)):
        np.testing.assert_allclose(waveform, at_once, atol=1e-6)  # float32 rounding


def test_channels_are_averaged(tone):
    channels = np.stack([tone, np.zeros_like(tone), 2 * tone], axis=1) / 2
    np.testing.assert_allclose(audio.read(encoded(channels, subtype="FLOAT")), tone / 2, atol=1e-7)
    np.testing.assert_allclose(audio.read(channels, sample_rate_hz=16_000), tone / 2, atol=1e-7)
    assert len(audio.read(encoded(np.tile(tone[:, None], 12)))) == len(tone)


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
    np.testing.assert_array_equal(audio.read(values, sample_rate_hz=16_000), np.array(expected, np.float32))


def test_every_way_in_gives_the_same(tone_wav):
    expected = audio.read(tone_wav)
    data = tone_wav.read_bytes()
    with tone_wav.open("rb") as stream:
        stream.seek(100)  # a stream counts from its start, wherever it stands
        sources = [str(tone_wav), data, bytearray(data), memoryview(data), stream, io.BytesIO(data)]
        for source in sources:
            np.testing.assert_array_equal(audio.read(source), expected)
        assert not stream.closed


def test_a_stream_that_cannot_seek_is_read(tone_wav):
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as stream:
        stream.write(tone_wav.read_bytes()[:44] + bytes(20))
    with os.fdopen(read_end, "rb") as stream, pytest.raises(InputError, match="cut off"):
        audio.read(stream)


def test_a_wav_from_a_pipe_of_unknown_length_is_read(tone):
    data = bytearray(encoded(tone))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert len(audio.read(bytes(data))) == len(tone)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.97])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_a_file_that_is_cut_off_is_refused(kind, share):
    noise = np.random.default_rng(0).standard_normal(160_000) * 0.1
    data = encoded(noise, kind=kind)
    with pytest.raises(InputError, match="cut off") as caught:
        audio.read(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)


def test_a_wav_of_endless_empty_chunks_is_given_up():
    with pytest.raises(InputError, match=r"no sound"):
        audio.read(encoded(np.zeros(9))[:12] + bytes(8 * 100_000))


def test_missing_empty_folder_and_text_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        audio.read(tmp_path / "none.wav")
    with pytest.raises(InputError, match="is a folder"):
        audio.read(tmp_path)
    empty = tmp_path / "empty.wav"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.wav' is empty \(0 bytes\)"):
        audio.read(empty)
    with pytest.raises(InputError, match=r"is empty \(0 bytes\)"):
        audio.read(b"")
    text = tmp_path / "text.wav"
    text.write_text("This is no sound. " * 100)
    with pytest.raises(InputError, match=r"text\.wav' is no sound.*Allowed: wav, flac"):
        audio.read(text)
    with pytest.raises(InputError, match="holds no samples"):
        audio.read(encoded(np.zeros(0)))
    with pytest.raises(InputError, match="null byte"):
        audio.read("a\0b.wav")


def test_unreadable_is_refused(tone_wav, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root, who runs tests in containers
    with pytest.raises(InputError, match=r"tone\.wav' cannot be opened: Permission denied"):
        audio.read(tone_wav)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_a_device_that_never_ends_is_refused():
    with pytest.raises(InputError, match="not a regular file"):
        audio.read("/dev/zero")


@pytest.mark.parametrize("source", [None, 3, ["a.wav"], io.StringIO("x")])
def test_wrong_types_are_refused(source):
    with pytest.raises(InputError, match=f"type {type(source).__name__}; allowed: a path"):
        audio.read(source)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tone, bad):
    tone[1_000] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        audio.read(encoded(tone, subtype="FLOAT"))
    with pytest.raises(InputError, match="NaN or infinite"):
        audio.read(tone, sample_rate_hz=44_100)
    with pytest.raises(InputError, match="NaN or infinite"):
        audio.read(np.full(100, 1e300), sample_rate_hz=16_000)


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
        audio.read(array, sample_rate_hz=rate_hz)


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
        audio.read(path)


def test_a_header_that_does_not_tell_the_length_does_not_lift_the_limit(tone):
    blocks = iter([tone] * 10)
    track = audio._Track("Speech x.mp3", 16_000, None, blocks)
    with pytest.raises(InputError, match="--max-duration-s"):
        audio._waveform(track, LimitOptions(max_duration_s=5))
    assert len(list(blocks)) == 7  # three blocks of 2 s were enough to see it


@pytest.mark.parametrize("head", [b"\0\0\0\x20ftypM4A \0\0\0\0", b"\xff\xf1\x50\x80" + bytes(12)])
def test_m4a_without_the_extra_names_it(monkeypatch, head):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r'pip install "parallelnet\[video\]"'):
        audio.read(head + bytes(100))


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
    waveform = audio.read(m4a)
    assert len(waveform) == pytest.approx(len(tone), abs=2_048)  # two AAC frames
    n = min(len(waveform), len(tone))
    assert max(np.corrcoef(waveform[s:n], tone[: n - s])[0, 1] for s in range(0, 1_200)) > 0.95
    assert np.abs(waveform).max() == pytest.approx(np.abs(tone).max() / 2, rel=0.2)  # the mean of both channels


def test_m4a_that_is_cut_off_or_too_long_is_refused(m4a):
    with pytest.raises(InputError, match="cut off"):
        audio.read(m4a[: len(m4a) // 2])
    with pytest.raises(InputError, match="--max-duration-s"):
        audio.read(m4a, limits=LimitOptions(max_duration_s=1))
