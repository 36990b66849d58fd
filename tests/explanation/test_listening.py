from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallelnet import audio
from parallelnet.errors import InputError
from parallelnet.explanation import units as listening
from parallelnet.explanation.units import frame_owners, segments, word_units

HAPPY = Path(__file__).parents[2] / "examples" / "happy.flac"
CLIP_S = 4.096
few = settings(deadline=None, max_examples=50)  # no deadline: a loaded machine is no failure


# --- which units stay -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "n_lost"), [(1, 0), (2, 1), (3, 1), (4, 1), (8, 3), (11, 3), (16, 5)])
def test_units_below_the_thirtieth_percentile_go(n, n_lost):
    values = np.random.default_rng(0).permutation(n) / 7 - 0.5
    kept = listening.kept_units(values)
    assert np.flatnonzero(~np.array(kept)).tolist() == sorted(np.argsort(values)[:n_lost].tolist())


def test_ties_stay():
    assert listening.kept_units([0.1, 0.1, 0.1]) == (True, True, True)
    assert listening.kept_units([0.0, 0.0, 0.0, 0.5]) == (True, True, True, True)
    assert listening.kept_units([-0.3, -0.1, -0.2]) == (False, True, True)


def test_the_ends_of_the_percentile():
    values = [0.3, 0.1, 0.2]
    assert listening.kept_units(values, 0) == (True, True, True)
    assert listening.kept_units(values, 100) == (True, False, False)


@few
@given(
    values=st.lists(st.floats(-1, 1), min_size=1, max_size=40),
    percentile=st.one_of(st.integers(0, 100), st.floats(0, 100)),
)
def test_the_highest_always_stays_and_no_kept_unit_is_below_a_lost_one(values, percentile):
    kept = listening.kept_units(values, percentile)
    assert kept[int(np.argmax(values))]
    lost = [value for value, stays in zip(values, kept, strict=True) if not stays]
    assert all(value > max(lost, default=-2) for value, stays in zip(values, kept, strict=True) if stays)


@pytest.mark.parametrize(
    ("values", "percentile", "said"),
    [([], 30, "missing"), ([0.1, float("nan")], 30, "NaN"), ([0.1], 101, "0 to 100. See --percentile")],
)
def test_impossible_percentiles_are_refused(values, percentile, said):
    with pytest.raises(InputError, match=said):
        listening.kept_units(values, percentile)


# --- the waveform without the others ----------------------------------------------------------------------------------


def test_kept_parts_are_untouched_and_silenced_parts_are_zero():
    tone = np.sin(2 * np.pi * 220 * np.arange(32_000) / 16_000).astype(np.float32)
    units = word_units([("a", 0.2, 0.4), ("b", 0.6, 0.9), ("c", 1.1, 1.6)], 2.0)  # borders at 0.5 and 1.0 s
    sound = listening.keep(tone, units, (True, False, True))
    np.testing.assert_array_equal(sound[:8_000], tone[:8_000])
    np.testing.assert_array_equal(sound[16_000:], tone[16_000:])
    assert not sound[8_160:15_840].any()  # 10 ms are 160 samples
    taken = tone - sound
    assert not taken[:8_000].any()
    np.testing.assert_array_equal(taken[8_160:15_840], tone[8_160:15_840])
    assert sound.dtype == np.float32


def test_nothing_clicks():
    seconds = np.arange(32_000) / 16_000
    tone = np.cos(2 * np.pi * 100 * seconds).astype(np.float32)  # at its peak on every border
    sound = listening.keep(tone, segments(2.0, 4), (False, True, False, True))
    assert np.abs(np.diff(np.where((seconds // 0.5) % 2, tone, 0))).max() > 0.9  # without fades it would
    # The tone's own steps, and those of the fade: half of pi over its 160 samples, less a little.
    allowed = np.abs(np.diff(tone)).max() + np.pi / 2 / 160
    assert np.abs(np.diff(sound)).max() <= allowed
    assert np.abs(np.diff(tone - sound)).max() <= allowed


def test_a_silenced_stretch_shorter_than_its_fades_still_closes():
    ones = np.ones(1_600, np.float32)
    units = word_units([("a", 0.0, 0.04), ("b", 0.045, 0.05), ("c", 0.055, 0.1)], 0.1)  # b reaches over 10 ms
    sound = listening.keep(ones, units, (True, False, True))
    silenced = sound[sound < 1]
    assert len(silenced) == 160
    assert silenced.min() < 0.001  # cos^2 one sample from its end: (pi / 2 / 81)^2
    np.testing.assert_allclose(silenced, silenced[::-1], atol=1e-6)  # float32


def test_neighbours_that_share_a_fate_have_no_fade_between_them():
    ones = np.ones(16_000, np.float32)
    units = segments(1.0, 4)
    np.testing.assert_array_equal(listening.keep(ones, units, (True,) * 4), ones)
    assert np.count_nonzero(listening.keep(ones, units, (True, True, False, False))) == 8_000 + 160


@few
@given(n_samples=st.integers(1, 3_000), kept=st.lists(st.booleans(), min_size=1, max_size=30))
def test_any_units_of_any_clip(n_samples, kept):
    ones = np.ones(n_samples, np.float32)
    units = segments(n_samples / 16_000, len(kept))
    sound = listening.keep(ones, units, kept)
    assert sound.shape == ones.shape
    assert ((sound >= 0) & (sound <= 1)).all()
    edges = np.round(np.arange(len(kept) + 1) * n_samples / len(kept)).astype(int)
    for stays, first, end in zip(kept, edges, edges[1:], strict=False):
        assert (sound[first + 1 : end - 1] == 1).all() or not stays  # 1: rounding of the border
    if not any(kept):
        assert not sound.any()


def test_the_model_hears_no_more_than_the_silenced_wave_plays():
    """Masks and waveform part at the same borders: frames well inside silenced units are silent in both."""
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    units, kept = segments(3.0, 6), (True, False, True, True, False, False)
    mel = audio.log_mel_for_windows(listening.keep(noise, units, kept))
    owners = frame_owners(units, 48_000, CLIP_S)
    silenced = np.isin(owners, [1, 4, 5])
    # A frame sees 32 ms to each side, and fades take 10 ms: two frames from a kept one nothing is left.
    inside = silenced & ~np.convolve(~silenced, np.ones(5), "same").astype(bool)
    assert inside.sum() > 10
    assert not mel[:, inside].any()
    assert mel[:, (owners == 2)].any(axis=0).all()


# --- the spectrogram back to sound ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def happy() -> np.ndarray:
    return audio.read(HAPPY)


def likeness(mel: np.ndarray, sound: np.ndarray, clip_s: float) -> float:
    own = frame_owners(segments(1.0, 1), len(sound), clip_s) >= 0
    again = audio.log_mel_for_windows(sound, clip_s)
    return float(np.corrcoef(mel[:, own].ravel(), again[:, own].ravel())[0, 1])


@pytest.mark.parametrize("clip_s", [2.0, 4.096, 12.0])  # at 12 s frames no longer overlap
def test_a_log_mel_turned_into_sound_has_nearly_the_same_log_mel(happy, clip_s):
    mel = audio.log_mel_for_windows(happy, clip_s)
    sound = listening.invert(mel, clip_s, len(happy))
    assert sound.shape == happy.shape
    assert sound.dtype == np.float32
    assert np.abs(sound).max() == 1
    # Measured: 0.9984, 0.9991, 0.9996. Random phases without Griffin-Lim give 0.981 to 0.984, one round 0.992.
    assert likeness(mel, sound, clip_s) > 0.997


def test_inverting_is_fast_and_gives_the_same_bits_again(happy):
    mel = audio.log_mel_for_windows(np.resize(happy, 80_000))
    started = time.process_time()  # of this process: other work on the machine does not count
    sound = listening.invert(mel, CLIP_S, 80_000)
    assert time.process_time() - started < 1.5
    np.testing.assert_array_equal(sound, listening.invert(mel, CLIP_S, 80_000))
    assert (sound != listening.invert(mel, CLIP_S, 80_000, seed=1)).any()


def test_masked_players_are_silent_in_the_inverted_sound(happy):
    mel = audio.log_mel_for_windows(happy)
    owners = frame_owners(segments(len(happy) / 16_000, 4), len(happy), CLIP_S)
    sound = listening.invert(np.where(np.isin(owners, [0, 3]), 0, mel), CLIP_S, len(happy))
    quarter = len(happy) // 4
    assert not sound[: quarter - 1024].any()  # frames reach 512 samples beyond their centre, which is one hop off
    assert not sound[3 * quarter + 1024 :].any()


def test_inverting_joins_blocks_of_long_speech(happy, monkeypatch):
    mel = audio.log_mel_for_windows(happy)
    monkeypatch.setattr(listening, "BLOCK_FRAMES", 40)
    sound = listening.invert(mel, CLIP_S, len(happy))
    assert sound.shape == happy.shape
    # Measured 0.9955: where blocks pass over, their phases differ. 128 frames make four blocks here.
    assert likeness(mel, sound, CLIP_S) > 0.99


@pytest.mark.parametrize("n_samples", [1, 100, 513, 65_536, 65_537])
def test_inverting_gives_as_many_samples_as_there_were(n_samples):
    noise = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    assert listening.invert(audio.log_mel_for_windows(noise), CLIP_S, n_samples).shape == (n_samples,)


def test_silence_stays_silence():
    assert not listening.invert(np.zeros((128, 128), np.float32), CLIP_S, 1_000).any()
