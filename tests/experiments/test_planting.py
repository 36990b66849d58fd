"""Signals with a planted cue: it is where it is said to be, and nowhere else."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from parallelnet import audio
from parallelnet.errors import OptionError
from parallelnet.options import PlantOptions
from parallelnet_experiments import planting
from parallelnet_experiments.planting import CLIP_SAMPLES

UNITS = 16


def voice(pitch_hz, seconds, loudness=0.3, seed=0):
    """Return a buzz with harmonics and a little noise: every mel band has something."""
    t = np.arange(int(seconds * 16_000)) / 16_000
    tones = sum(np.sin(2 * np.pi * k * pitch_hz * t) / k for k in range(1, 20))
    noise = 0.01 * np.random.default_rng(seed).standard_normal(len(t))
    return (loudness * (tones + noise)).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def bed(rng):
    return planting.neutral_bed([voice(110, 1.5), voice(120, 1.8, seed=1)], rng)


def test_a_bed_fills_one_window_exactly_and_is_never_silent(bed):
    assert bed.shape == (CLIP_SAMPLES,)
    assert audio.cut(bed)[:].shape == (1, 1, 128, 128)
    power = np.square(bed).reshape(256, -1).mean(1)
    assert power.min() > 0.2 * np.median(power)  # a joint of two fades loses at most half of the amplitude


@pytest.mark.parametrize("loudness", [0.01, 0.9])
@pytest.mark.parametrize("n_cue", [1, 2, 4])
def test_a_spoken_cue_shows_inside_its_units_and_nowhere_else(bed, rng, n_cue, loudness):
    source = voice(300, 2.0, loudness)
    made = planting.plant_speech(bed, lambda n: planting.voiced_part(source, n, rng), UNITS, n_cue, rng)
    unit = CLIP_SAMPLES // UNITS
    units = [int(k) for k in made.where["cue_units"].split()]
    start, end = (round(16_000 * float(made.where[f"cue_{name}_s"])) for name in ("start", "end"))
    assert (start, end) == (units[0] * unit, (units[-1] + 1) * unit)
    assert len(units) == n_cue
    assert end <= CLIP_SAMPLES
    outside = np.r_[0:start, end:CLIP_SAMPLES]
    np.testing.assert_array_equal(made.signal[outside], made.without[outside])
    assert np.abs(made.signal).max() <= planting.PEAK + 1e-6
    with_cue, without = (audio.cut(w)[:][0, 0] for w in (made.signal, made.without))
    difference = np.abs(with_cue - without).max(0)
    first, last = start // 512, end // 512
    # Frames of 64 ms every 32 ms: one frame on either side still sees the cue. Elsewhere the levels, relative to the
    # loudest band of the clip, may move by what border frames add to it: 0.4 dB of 80.
    far = np.r_[0 : max(0, first - 1), last + 1 : 128]
    assert difference[far].max() < 0.005
    assert np.median(difference[first + 1 : last]) > 0.1


def test_a_cue_comes_to_every_place(bed):
    places = {
        planting.plant_speech(bed, lambda n: voice(300, 2)[:n], UNITS, 4, np.random.default_rng(k)).where["cue_units"]
        for k in range(200)
    }
    assert places == {f"{k} {k + 1} {k + 2} {k + 3}" for k in range(13)}


def test_a_cue_is_taken_from_where_the_voice_is(rng):
    quiet = np.full(16_000, 1e-4, np.float32)
    source = np.concatenate([quiet, voice(200, 1.0), quiet])
    for _ in range(20):
        part = planting.voiced_part(source, 8_000, rng)
        assert np.mean(np.abs(part) > 1e-3) > 0.4  # at most 3 dB below the loudest half second


def test_the_joint_of_two_fades_keeps_the_amplitude():
    rise = planting._rise(planting.JOINT_SAMPLES)
    np.testing.assert_allclose(rise + rise[::-1], 1, atol=1e-6)


@pytest.mark.parametrize("grid", [(4, 4), (2, 4)])
def test_a_face_lies_inside_its_cell_and_nowhere_else(rng, grid):
    picture = Image.fromarray(rng.integers(60, 90, (300, 400), dtype=np.uint8))
    face = Image.fromarray(np.full((48, 48), 250, np.uint8))
    cells = set()
    for _ in range(150):
        bed = planting.background(picture, grid, rng)
        assert bed.shape == (grid[0] * 64, grid[1] * 64)
        made = planting.plant_image(bed, face, grid, rng)
        row, column = cell = tuple(int(k) for k in made.where["cue_cell"].split())
        cells.add(cell)
        inside = np.zeros(bed.shape, bool)
        inside[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64] = True
        np.testing.assert_array_equal(made.without, bed)
        np.testing.assert_array_equal(made.signal[~inside], bed[~inside])
        assert (made.signal[inside] == 250).mean() > 0.7
    assert len(cells) == grid[0] * grid[1]


@pytest.mark.parametrize("size", [(40, 900), (900, 40), (64, 64)])
def test_backgrounds_of_any_shape_fill_the_grid(rng, size):
    picture = Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8))
    assert planting.background(picture, (2, 4), rng).shape == (128, 256)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "smell"}, "TASK is 'smell'; allowed: speech, image, pair"),
        ({"speech": ""}, "Task 'pair' needs --speech"),
        ({"backgrounds": ""}, "Task 'pair' needs --backgrounds"),
        ({"classes": ("anger", "happy", "sad")}, "takes two --classes"),
        ({"cue_units": (3, 8)}, "--cue-units are 3 8; allowed: 1 up to, not including, 8"),
        ({"min_cue_prob": 1.0}, "--min-cue-prob is 1.0"),
        ({"n_test": 0}, "--n-test"),
    ],
)
def test_options_out_of_range_are_named(changes, said):
    sound = PlantOptions("pair", "out", speech="ravdess:a", image="fer2013:b", backgrounds="c")
    with pytest.raises(OptionError, match=said):
        dataclasses.replace(sound, **changes)
