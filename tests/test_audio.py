from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from parallelnet import audio

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


def test_silence_is_zero():
    silence = np.zeros(20_000, np.float32)
    assert not audio.log_mel(silence).any()
    assert not audio.cut(silence)[:].any()


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
    (window,) = audio.cut(tone)[:]
    assert window.shape == (1, 128, 128)
    assert window.dtype == np.float32
    assert window.max() == 1
    # Frame k sees samples from 512 k - 512 on: from frame 64 on (512 * 63.5 = 32,512 > 32,000) nothing but padding.
    assert not window[:, :, 64:].any()
    assert window[:, :, :62].any(axis=(0, 1)).all()


def test_a_clip_of_exactly_the_length_is_one_window_and_one_sample_more_is_two():
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal(65_537).astype(np.float32)
    assert audio.cut(waveform[:65_536])[:].shape == (1, 1, 128, 128)
    assert audio.cut(waveform)[:].shape == (2, 1, 128, 128)


def test_windows_of_a_long_recording_are_cut_from_its_log_mel():
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal(160_000).astype(np.float32)
    mel = audio.log_mel(waveform)
    windows = audio.cut(waveform)[:]
    starts = audio.window_starts(mel.shape[1])
    assert starts[-1] + 128 == mel.shape[1]
    for window, start in zip(windows, starts, strict=True):
        np.testing.assert_array_equal(window[0], mel[:, start : start + 128])


def test_trim_cuts_the_quiet_ends_only(tone):
    loud = np.tile(tone[8_000:24_000], 2)
    quiet = np.full(16_000, 1e-5, np.float32)
    kept = audio.trim_slice(np.concatenate([quiet, loud, quiet]))
    assert (
        len(loud) <= kept.stop - kept.start <= len(loud) + 4 * audio.TRIM_SAMPLES
    )  # a frame at each end, and its rounding
    assert audio.trim_slice(np.zeros(100, np.float32)) == slice(0, 100)
