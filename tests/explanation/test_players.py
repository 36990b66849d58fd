from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parallelnet import audio
from parallelnet.errors import InputError, OptionError
from parallelnet.explanation import players
from parallelnet.explanation.parts import SpeechUnit
from parallelnet.explanation.players import (
    IMAGE_BASELINES,
    SPEECH_BASELINES,
    fold_bands,
    grid_division,
    speech_division,
    superpixel_division,
)
from parallelnet.explanation.units import SLACK_S, fit_units, frame_owners, own_frames, segments, word_units
from parallelnet.options import SignalOptions

SIGNALS = SignalOptions()
few = settings(deadline=None, max_examples=30)  # no deadline: a loaded machine is no failure
KIDS = (("Kids", 0.5, 0.8), ("are", 0.9, 1.0), ("talking", 1.0, 1.6))


def noise(n_samples: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)


def assert_divided(division, n: int) -> None:
    """Root first, parents before their two halves, halves share out their parent, leaves single and complete."""
    assert division[0].parent == -1
    assert division[0].units == tuple(range(n))
    assert len(division) == 2 * n - 1
    halves: dict[int, list[tuple[int, ...]]] = {}
    for place, node in enumerate(division[1:], start=1):
        assert 0 <= node.parent < place
        assert list(node.units) == sorted(node.units)
        halves.setdefault(node.parent, []).append(node.units)
    for place, node in enumerate(division):
        if len(node.units) == 1:
            assert place not in halves
        else:
            first, second = halves[place]
            assert sorted(first + second) == list(node.units)
            assert len(first) >= 1
            assert len(second) >= 1


def assert_covering(units, start_s: float, end_s: float) -> None:
    assert units[0].reach_start_s == start_s
    assert units[-1].reach_end_s == end_s
    assert all(one.reach_end_s == after.reach_start_s for one, after in pairwise(units))
    assert all(unit.reach_start_s <= unit.reach_end_s for unit in units)


# --- segments ---------------------------------------------------------------------------------------------------------


def test_segments_are_equal_and_cover_the_speech():
    units = segments(2.0, 4)
    assert units[1] == SpeechUnit(0.5, 1.0, "", 0.5, 1.0)
    assert_covering(units, 0.0, 2.0)


def test_segments_of_trimmed_speech_begin_where_it_does():
    units = segments(2.0, 4, start_s=0.25)
    assert_covering(units, 0.25, 2.25)


@few
@given(duration_s=st.floats(1e-4, 4000), n=st.integers(1, 300))
def test_any_number_of_segments_covers_any_duration(duration_s, n):
    units = segments(duration_s, n)
    assert len(units) == n
    assert_covering(units, 0.0, duration_s)


@pytest.mark.parametrize(("duration_s", "n", "said"), [(1, 0, "0 segments"), (1, 40_000, "1 to 32,767"), (0, 3, "0 s")])
def test_impossible_segments_are_refused(duration_s, n, said):
    with pytest.raises(InputError, match=said):
        segments(duration_s, n)


# --- words ------------------------------------------------------------------------------------------------------------


def test_a_pause_goes_to_the_nearer_word():
    units = word_units(KIDS, 2.0)
    assert [unit.word for unit in units] == ["Kids", "are", "talking"]
    assert [(unit.start_s, unit.end_s) for unit in units] == [(0.5, 0.8), (0.9, 1.0), (1.0, 1.6)]
    assert [unit.reach_start_s for unit in units] == pytest.approx([0, 0.85, 1.0])
    assert_covering(units, 0.0, 2.0)


def test_words_are_sorted_by_time_and_their_text_is_one_line():
    units = word_units([["b\n b", 1, 2], ("a", 0, 1)], 2)
    assert [unit.word for unit in units] == ["a", "b b"]


@st.composite
def spoken(draw):
    """Words that overlap their neighbour by less than half of the shorter, or not at all; and the duration."""
    lengths = draw(st.lists(st.floats(0, 1), min_size=1, max_size=20))
    at, words = draw(st.floats(0, 1)), []
    for place, length in enumerate(lengths):
        words.append((f"w{place}", at, at + length))
        shorter = min(length, lengths[place + 1]) if place + 1 < len(lengths) else 0
        at += length + draw(st.one_of(st.floats(0, 0.5), st.floats(-0.49, 0).map(lambda part, s=shorter: part * s)))
    duration_s = max(end for _, _, end in words) + draw(st.floats(0.01, 1))
    return words, duration_s


# A word of no length that begins where the one before ends, but for the last digit of a sum.
@example(
    ([("a", 2.0, 2.2892353465630726), ("b", 2.289235346563072, 2.289235346563072), ("c", 2.289235346563072, 3)], 3)
)
@few
@given(spoken())
def test_reaches_of_words_cover_the_speech(given_words):
    words, duration_s = given_words
    units = word_units(words, duration_s)
    assert sorted(unit.word for unit in units) == sorted(text for text, _, _ in words)
    assert_covering(units, 0.0, duration_s)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "0 words"),
        ([("a", 0.5, 2.2)], r"'a' goes from 0.5 to 2.2 s; allowed: 0 to 2 s"),
        ([("a", -0.1, 1)], "goes from -0.1"),
        ([("a", 2.0, 2.0)], "goes from 2 to 2"),
        ([("a", 1.0, 0.5)], "ends at 0.5 s, before it begins at 1 s"),
        ([("a", float("nan"), 1)], "'a' has no times"),
        ([("a", 0, float("inf"))], "'a' has no times"),
        ([(" ", 0, 1)], "has no text"),
        ([("a", 0, 1), ("b", 0.4, 1.2)], "'a' .* and 'b' .* overlap by 0.600 s"),
        ([("a", 0, 1), ("b", 0.9, 0.95)], "overlap by 0.100 s"),  # wholly inside another word
        ([("a", 0, 1), ("b", 0.5, 0.5)], "overlap"),
        ([("a", "soon", 1)], "is not .text, start in s, end in s."),
        (["ab"], "is not"),
        ([7], "is not"),
        ([("x" * 90, 3, 4)], r"'x{37}\.\.\.x+' goes"),
    ],
)
def test_words_that_do_not_fit_are_refused_in_one_line(words, said):
    with pytest.raises(InputError, match=said) as caught:
        word_units(words, 2.0)
    assert "\n" not in str(caught.value)


def test_a_last_word_may_outlast_the_speech_by_what_recognisers_round():
    (unit,) = word_units([("a", 1.0, 2.0 + SLACK_S / 2)], 2.0)
    assert unit.end_s == 2.0


# --- units and frames -------------------------------------------------------------------------------------------------


@few
@given(n_samples=st.integers(1, 70_000), clip_s=st.sampled_from([1.0, 4.096, 30.0]))
def test_frames_that_are_nobodys_are_silent_and_their_count_is_the_log_mels(n_samples, clip_s):
    mel = audio.log_mel_for_windows(np.ones(n_samples, np.float32), clip_s)
    owners = frame_owners(segments(n_samples / 16_000, 1), n_samples, clip_s)
    assert owners.shape == mel.shape[1:]
    assert not mel[:, owners < 0].any()
    assert (owners >= 0).sum() == own_frames(n_samples, clip_s) >= 1


def test_a_frame_belongs_to_the_unit_that_holds_its_centre():
    units = segments(4.0, 4)
    owners = frame_owners(units, 64_000, SIGNALS.clip_s)
    centres = np.arange(128) * 0.032
    inside = centres < 4
    np.testing.assert_array_equal(owners[inside], centres[inside].astype(int))
    assert owners[125] == owners[125:].max() == 3  # centred on 4.0 s, sees the last 32 ms
    np.testing.assert_array_equal(owners[126:], -1)


def test_trimmed_speech_keeps_the_seconds_of_the_file():
    units = word_units([("a", 1.0, 1.2), ("b", 1.4, 2.0)], 3.0)
    owners = frame_owners(units, 32_000, SIGNALS.clip_s, offset_s=0.96)
    centres = 0.96 + np.arange(own_frames(32_000, SIGNALS.clip_s)) * 0.032
    np.testing.assert_array_equal(owners[: len(centres)], centres >= 1.3)


def test_a_tone_shows_only_in_the_frames_of_its_unit():
    waveform = np.zeros(64_000, np.float32)
    waveform[17_000:31_000] = np.sin(np.arange(14_000) * 0.3)  # inside the second of four segments
    signal = players.speech_players(waveform, SIGNALS, segments(4.0, 4))
    assert signal.signal[0, signal.owners == 1].any()
    assert not signal.signal[0, signal.owners != 1].any()


@few
@given(
    n_samples=st.integers(1, 20_000),
    n=st.integers(1, 60),
    clip_s=st.sampled_from([0.5, 4.096, 30.0]),
)
def test_after_fitting_every_unit_owns_a_frame(n_samples, n, clip_s):
    units = segments(n_samples / 16_000, n)
    fitted = fit_units(units, n_samples, clip_s)
    owners = frame_owners(fitted, n_samples, clip_s)
    assert set(owners[owners >= 0]) == set(range(len(fitted)))
    assert_covering(fitted, 0.0, units[-1].reach_end_s)
    if n_samples / n > audio.hop(clip_s):  # each segment is longer than a hop, so it holds a centre
        assert fitted == units


@pytest.mark.parametrize(("n_samples", "n_left"), [(1, 2), (100, 2), (512, 2), (513, 2), (5000, 11)])
def test_clips_of_a_frame_or_few_still_have_units(n_samples, n_left):
    # Of 513 samples, the third frame (centred behind the end) falls to the same segment as the second.
    units = fit_units(segments(n_samples / 16_000, 16), n_samples, SIGNALS.clip_s)
    assert len(units) == n_left
    signal = players.speech_players(noise(n_samples), SIGNALS, units)
    assert signal.n == n_left
    assert signal.starts == (0,)


def test_short_words_join_their_nearer_neighbour_and_stay_readable():
    words = [("I", 0.10, 0.11), ("am", 0.115, 0.30), ("so", 0.6, 0.604), ("a", 0.6055, 0.6065), ("tired", 0.607, 1.0)]
    units = word_units(words, 1.2)
    fitted = fit_units(units, 19_200, SIGNALS.clip_s)
    # "I" reaches from 0 and so owns frames of the pause before it; "so" those of the pause since "am".
    assert [unit.word for unit in fitted] == ["I", "am", "so", "a tired"]
    assert fitted[-1] == SpeechUnit(0.6055, 1.0, "a tired", fitted[2].reach_end_s, 1.2)


def test_units_in_quiet_that_was_trimmed_join_what_is_heard():
    fitted = fit_units(segments(4.0, 4), 16_000, SIGNALS.clip_s, offset_s=2.2)
    assert [(unit.start_s, unit.end_s) for unit in fitted] == [(0.0, 3.0), (3.0, 4.0)]


def test_units_without_a_frame_are_refused():
    with pytest.raises(InputError, match=r"16 speech units for 2 frames.*fit_units"):
        players.speech_players(noise(100), SIGNALS, segments(100 / 16_000, 16))


# --- speech signals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", SPEECH_BASELINES)
def test_baselines_leave_the_padding_alone_and_lie_within_each_band(baseline, tone):
    signal = players.speech_players(tone, SIGNALS, segments(2.0, 8), baseline=baseline)
    own = signal.owners[0] >= 0
    assert signal.signal.dtype == signal.baseline.dtype == np.float32
    assert signal.signal.shape == signal.baseline.shape == (1, *signal.owners.shape) == (1, 128, 128)
    assert not signal.baseline[..., ~own].any()
    mel, absent = signal.signal[0, :, own].T, signal.baseline[0, :, own].T
    # 1e-6: float32 rounding of means.
    assert (absent <= mel.max(axis=1, keepdims=True) + 1e-6).all()
    assert baseline == "silence" or (absent >= mel.min(axis=1, keepdims=True) - 1e-6).all()


def test_baselines_are_what_they_are_called(tone):
    units = segments(2.0, 8)
    made = {name: players.speech_players(tone, SIGNALS, units, baseline=name) for name in SPEECH_BASELINES}
    own = made["mean"].owners[0] >= 0
    mel = made["mean"].signal[0][:, own]
    assert not made["silence"].baseline.any()
    # float32 rounding of float64 results in [0, 1]
    np.testing.assert_allclose(made["mean"].baseline[0][:, own][:, 5], mel.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(made["band-floor"].baseline[0][:, own][:, 5], np.percentile(mel, 5, axis=1), atol=1e-6)
    from scipy.ndimage import gaussian_filter1d

    np.testing.assert_allclose(made["blur"].baseline[0][:, own], gaussian_filter1d(mel, 8, mode="nearest"), atol=1e-6)


def test_an_unknown_baseline_is_named():
    with pytest.raises(OptionError, match=r"Unknown baseline 'noise'.*band-floor.*--baseline-speech"):
        players.speech_players(noise(100), SIGNALS, segments(100 / 16_000, 1), baseline="noise")
    grid = players.grid_owners(1, 1)
    with pytest.raises(OptionError, match=r"Unknown baseline 'white'.*black.*--baseline-image"):
        players.image_players(two_colours(), grid, (1, 1), baseline="white")


def test_mel_bands_divide_frequency_too(tone):
    signal = players.speech_players(tone, SIGNALS, segments(2.0, 4), mel_bands=3)
    owners = signal.owners
    assert signal.n == 12
    assert set(np.unique(owners)) == {-1, *range(12)}
    assert [np.sum(owners[:, 0] == band) for band in range(3)] == [43, 43, 42]
    assert list(owners[:, 0]) == sorted(owners[:, 0])  # the lowest band first
    np.testing.assert_array_equal(owners[0, owners[0] >= 0] // 3, owners[-1, owners[0] >= 0] // 3)
    assert_divided(signal.division, 12)


@pytest.mark.parametrize(("n", "bands"), [(1, 0), (1, 129), (300, 128)])
def test_too_many_bands_are_refused(n, bands):
    with pytest.raises(InputError, match=r"1 to 128 bands.*32,767.*--mel-bands"):
        players.speech_players(noise(200_000), SIGNALS, segments(12.5, n), mel_bands=bands)


def test_long_speech_has_windows_and_every_frame_an_owner():
    signal = players.speech_players(noise(200_000), SIGNALS, segments(12.5, 16))
    assert signal.starts == audio.window_starts(391)
    assert signal.owners.min() == 0
    windows = audio.cut(noise(200_000))[:]
    cut = np.stack([signal.signal[..., at : at + 128] for at in signal.starts])
    np.testing.assert_array_equal(cut, windows)


def test_silence_has_players_too():
    signal = players.speech_players(np.zeros(16_000, np.float32), SIGNALS, segments(1.0, 4), baseline="blur")
    assert signal.n == 4
    assert not signal.baseline.any()


# --- the binary division ----------------------------------------------------------------------------------------------


@few
@given(n=st.integers(1, 40), bands=st.integers(1, 9))
def test_speech_divisions_are_binary_trees(n, bands):
    assert_divided(speech_division(n, bands), n * bands)


@few
@given(rows=st.integers(1, 12), columns=st.integers(1, 12))
def test_grid_divisions_are_binary_trees(rows, columns):
    assert_divided(grid_division(rows, columns), rows * columns)


def test_speech_is_halved_by_count_and_the_first_half_has_the_odd_one():
    assert [node.units for node in speech_division(5)] == [
        (0, 1, 2, 3, 4), (0, 1, 2), (0, 1), (0,), (1,), (2,), (3, 4), (3,), (4,),
    ]  # fmt: skip


def test_bands_and_time_take_turns():
    units = [node.units for node in speech_division(2, 2)]
    assert units == [(0, 1, 2, 3), (0, 1), (0,), (1,), (2, 3), (2,), (3,)]
    assert speech_division(4, 2)[2].units == (0, 2)  # half of the time, then the lower band of it


def test_the_side_of_a_grid_with_more_cells_is_halved_first():
    assert grid_division(2, 4)[1].units == (0, 1, 4, 5)
    assert grid_division(4, 2)[1].units == (0, 1, 2, 3)
    assert grid_division(2, 4)[2].units == (0, 1)  # then the other axis


def test_values_of_bands_are_the_papers_average_over_frequency():
    n_units, bands = 3, 4
    rng = np.random.default_rng(0)
    signal = players.speech_players(noise(48_000), SIGNALS, segments(3.0, n_units), mel_bands=bands)
    owners, values = signal.owners, rng.standard_normal(n_units * bands)
    own = owners >= 0
    pixels = np.where(own, (values / np.bincount(owners[own]))[owners], 0)  # spread evenly over the player's cells
    over_time = pixels.mean(axis=0)  # the paper's average along the frequency axis
    unit = owners[0] // bands
    paper = [over_time[(unit == k) & own[0]].sum() for k in range(n_units)]
    # float64 sums of some ten thousand terms
    np.testing.assert_allclose(fold_bands(values, bands) / 128, paper, rtol=1e-9)


def test_folding_keeps_further_axes():
    values = np.arange(24.0).reshape(6, 4)
    np.testing.assert_array_equal(fold_bands(values, 2), values[::2] + values[1::2])


# --- picture ----------------------------------------------------------------------------------------------------------


@few
@given(rows=st.integers(1, 128), columns=st.integers(1, 128))
def test_cells_are_near_equal_and_all_there(rows, columns):
    owners = players.grid_owners(rows, columns)
    counts = np.bincount(owners.ravel(), minlength=rows * columns)
    assert counts.min() >= (128 // rows) * (128 // columns)
    assert counts.max() <= -(-128 // rows) * -(-128 // columns)


@few
@given(rows=st.integers(1, 40), columns=st.integers(1, 40))
def test_cells_lie_where_equal_parts_of_the_square_are(rows, columns):
    width, height = 128 / columns, 128 / rows
    owners = players.grid_owners(rows, columns)
    for index in {0, columns - 1, rows * columns // 2, rows * columns - 1}:
        left, top = index % columns * width, index // columns * height
        at = np.argwhere(owners == index)
        edges = (*at.min(axis=0), *(at.max(axis=0) + 1))
        # Half a pixel: a pixel goes to the cell that holds its centre.
        np.testing.assert_allclose(edges, (top, left, top + height, left + width), atol=0.5 + 1e-9)


@pytest.mark.parametrize(
    ("rows", "columns", "seen", "said"),
    [
        (4, 4, (1, 1), "4 x 4 cells .* 1 x 1 pixels .* allowed: 1x1 to 1x1"),
        (4, 2, (2, 3), "allowed: 1x1 to 3x2"),
        (129, 1, (500, 500), "allowed: 1x1 to 128x128"),
        (0, 1, None, "0 x 1"),
    ],
)
def test_grids_finer_than_the_picture_are_refused(rows, columns, seen, said):
    with pytest.raises(InputError, match=f"{said}.*--grid"):
        players.grid_owners(rows, columns, seen)


def two_colours() -> np.ndarray:
    pixels = np.zeros((3, 128, 128), np.float32)
    pixels[0, :, :64], pixels[2, :, 64:] = 1, 1
    return pixels


@pytest.mark.parametrize("n", [1, 8, 24])
@pytest.mark.parametrize("kind", ["flat", "noise", "colours"])
def test_superpixels_are_consecutive_connected_and_divided(kind, n):
    from skimage.measure import label

    pixels = {
        "flat": np.full((3, 128, 128), 0.5, np.float32),
        "noise": np.random.default_rng(0).random((3, 128, 128), np.float32),
        "colours": two_colours(),
    }[kind]
    owners = players.superpixel_owners(pixels, n)
    assert owners.shape == (128, 128)
    assert owners.dtype == np.int16
    k = int(owners.max()) + 1
    assert sorted(set(owners.ravel())) == list(range(k))
    assert 1 <= k <= 2 * n
    assert all(label(owners == region, connectivity=1).max() == 1 for region in range(k))
    np.testing.assert_array_equal(owners, players.superpixel_owners(pixels, n))
    assert_divided(superpixel_division(owners), k)


def test_superpixels_follow_the_picture():
    owners = players.superpixel_owners(two_colours(), 16)
    left, right = set(owners[:, :62].ravel()), set(owners[:, 66:].ravel())  # the blur of one pixel may move the border
    assert not left & right


@pytest.mark.parametrize(("n", "seen"), [(0, None), (2, (1, 1)), (20_000, (500, 500))])
def test_impossible_superpixels_are_refused(n, seen):
    with pytest.raises(InputError, match=f"{n} superpixels .*--superpixels"):
        players.superpixel_owners(two_colours(), n, seen)


def test_superpixels_are_halved_across_the_longer_side():
    division = superpixel_division(players.grid_owners(2, 4))
    assert division[1].units == (0, 1, 4, 5)
    tall = superpixel_division(players.grid_owners(8, 2))
    assert tall[1].units == tuple(range(8))


@pytest.mark.parametrize("baseline", IMAGE_BASELINES)
def test_picture_baselines(baseline):
    pixels = np.random.default_rng(0).random((3, 128, 128), np.float32)
    signal = players.image_players(pixels, players.grid_owners(2, 4), (2, 4), baseline=baseline)
    assert signal.n == 8
    assert signal.baseline.shape == (3, 128, 128)
    assert signal.baseline.dtype == np.float32
    if baseline == "black":
        assert not signal.baseline.any()
    elif baseline == "mean":
        # float32 rounding
        np.testing.assert_allclose(signal.baseline[:, 3, 99], pixels.mean(axis=(1, 2)), atol=1e-6)
    else:
        from scipy.ndimage import gaussian_filter

        whole = gaussian_filter(pixels, (0, 12, 12), mode="nearest")
        # Both cut the Gaussian at four sigma; float32 rounding.
        np.testing.assert_allclose(signal.baseline, whole, atol=1e-6)
