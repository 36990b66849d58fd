"""What of a voice and of a picture can be judged: which stretches are heard, and the reasons to distrust an answer."""

import re

import numpy as np
import pytest
import soxr
from PIL import Image

from parallelnet import audio, judging
from parallelnet.options import SignalOptions

RATE_HZ = 16_000
CLIP_S = SignalOptions().clip_s


def hear(waveform, **signals):
    return judging.hear(np.asarray(waveform, np.float32), SignalOptions(**signals))


def see(pixels, face="off"):
    array = np.asarray(pixels)
    return judging.see(np.stack([array] * 3, axis=2) if array.ndim == 2 else array, SignalOptions(face=face))


def zeros(seconds):
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def noise(seconds, level_db=0.0):
    """White noise: 0 dB is an RMS of 0.1."""
    rng = np.random.default_rng(3)
    return (0.1 * 10 ** (level_db / 20) * rng.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


# --- what is heard ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.5, 4.096, 4.2, 12])
def test_speech_without_long_quiet_is_heard_whole_in_the_windows_it_always_had(seconds):
    voice = noise(seconds)
    heard = hear(voice)
    assert heard.stretches == (slice(0, len(voice)),)
    assert heard.reasons == ()
    np.testing.assert_array_equal(heard.windows(CLIP_S)[:], audio.cut(voice)[:])


@pytest.mark.parametrize("seconds", [1.0, 1.9])
def test_short_pauses_belong_to_speech(seconds):
    heard = hear(np.concatenate([zeros(seconds), noise(2), zeros(seconds), noise(2), zeros(seconds)]))
    assert heard.stretches == (slice(0, len(heard.waveform)),)
    assert heard.reasons == ()


@pytest.mark.parametrize(("before", "behind"), [(10, 0), (0, 10), (30, 0), (2.5, 7.3), (3.00001, 3.1)])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_an_utterance_with_zeros_at_its_ends_is_the_bare_utterance(tone, before, behind, offset):
    heard = hear(np.concatenate([zeros(before), tone, zeros(behind)]) + np.float32(offset))
    np.testing.assert_array_equal(heard.part, tone + np.float32(offset))
    assert heard.offset_s == round(before * RATE_HZ) / RATE_HZ
    whole_s = (round(before * RATE_HZ) + 32_000 + round(behind * RATE_HZ)) / RATE_HZ
    assert heard.reasons == (f"{before + behind:.1f} s of {whole_s:.1f} s of speech hold nothing and were left out.",)


def test_what_resampling_smears_into_digital_silence_is_still_silence():
    at_44 = np.concatenate([np.zeros(441_000), soxr.resample(noise(2), RATE_HZ, 44_100)])
    heard = hear(audio.read(at_44, sample_rate_hz=44_100))
    # soxr's filter rings for a few hundred samples; above 1e-5 of the peak for fewer.
    assert 160_000 - 200 < heard.stretches[0].start <= 160_000


def test_a_quarter_of_a_second_of_noise_stays_beside_speech():
    heard = hear(np.concatenate([noise(10, -60), noise(3), noise(10, -60)]))
    (stretch,) = heard.stretches
    assert (stretch.start, stretch.stop) == pytest.approx((9.75 * RATE_HZ, 13.25 * RATE_HZ), abs=judging.BLOCK)
    assert "19.5 s of 23.0 s" in heard.reasons[0]


def test_soft_speech_is_heard():
    heard = hear(np.concatenate([noise(4), noise(6, -35), noise(4)]))
    assert heard.stretches == (slice(0, len(heard.waveform)),)


@pytest.mark.parametrize("quiet", [zeros(10), noise(10, -70)], ids=["zeros", "noise"])
def test_silence_in_the_middle_has_no_window_of_its_own(quiet):
    first, second = noise(3), noise(7)
    heard = hear(np.concatenate([first, quiet, second]))
    assert len(heard.stretches) == 2
    starts = heard.starts(CLIP_S)
    # One window for 3 s; for 7 s as many as it has alone, on the frame next to where it begins.
    alone = audio.window_starts(1 + len(second) // 512)
    assert starts[0] == 0
    lead = heard.stretches[1].start / 512
    assert starts[1:-1] == tuple(round(lead) + at for at in alone)[:-1]
    assert starts[-1] + 128 == 1 + len(heard.part) // 512
    assert "were left out" in heard.reasons[0]
    windows = heard.windows(CLIP_S)[:]
    np.testing.assert_array_equal(windows, audio.cut(heard.part, CLIP_S, starts)[:])
    loud = (windows[:, 0].max(axis=1) > 1 + judging.QUIET_DB / 80).mean(axis=1)  # share of frames that hold something
    assert (loud > 0.5).all()


def test_the_last_stretch_may_be_shorter_than_a_window():
    heard = hear(np.concatenate([noise(6), zeros(20), noise(1)]))
    starts = heard.starts(CLIP_S)
    assert starts[-1] == 1 + len(heard.part) // 512 - 128
    assert heard.windows(CLIP_S)[:].shape == (len(starts), 1, 128, 128)


@pytest.mark.parametrize("at", ["before", "behind", "between"])
def test_a_click_alone_does_not_vote(at):
    voice, click = noise(3), zeros(5)
    click[40_000:40_020] = 0.5
    parts = {"before": [click, voice], "behind": [voice, click], "between": [voice, click, voice]}[at]
    heard = hear(np.concatenate(parts))
    spans = {"before": [(5, 8)], "behind": [(0, 3)], "between": [(0, 3), (8, 11)]}[at]
    assert heard.stretches == tuple(slice(a * RATE_HZ, b * RATE_HZ) for a, b in spans)


def test_a_click_that_is_all_there_is_is_heard_and_doubted():
    click = zeros(10)
    click[80_000:80_020] = 0.5
    heard = hear(click)
    assert len(heard.starts(CLIP_S)) == 1
    assert "0.032 s of sound: less than 0.3 s is too short" in heard.reasons[0]


def test_trimming_comes_first_and_is_not_said(tone):
    padded = np.concatenate([zeros(4), tone, zeros(4)])
    heard = hear(padded, trim=True)
    np.testing.assert_array_equal(heard.part, padded[audio.trim_slice(padded)])
    assert heard.reasons == ()


def test_notes_of_reading_stand_first():
    heard = judging.hear(zeros(1), SignalOptions(), ["The channels cancel each other out."])
    assert heard.reasons[0] == "The channels cancel each other out."
    assert len(heard.reasons) == 2


# --- against speech ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waveform", "text"),
    [
        (zeros(1), "digital silence"),
        (zeros(20), "digital silence"),
        (np.zeros(1), "digital silence"),
        (np.array([0.25]), "0 s of sound: less than 0.3 s is too short"),
        (np.full(RATE_HZ, 0.25), "0 s of sound"),
        (np.full(RATE_HZ + 37, 0.1), "0.* s of sound"),
        (noise(0.006), "0.006 s of sound"),
        (noise(0.25), "0.25 s of sound"),
        (np.clip(np.round(noise(2) * 10), -1, 1) / 2**15, "all but silent, 90 dB below full scale"),
        (0.1 + np.clip(np.round(noise(2) * 10), -1, 1) / 2**15, "all but silent"),
    ],
    ids=[
        "zeros",
        "long",
        "a zero",
        "a sample",
        "constant",
        "constant but for rounding",
        "6 ms",
        "250 ms",
        "last bits",
        "offset",
    ],
)
def test_reasons_against_speech(waveform, text):
    heard = hear(waveform)
    assert len(heard.reasons) == 1
    assert re.search(text, heard.reasons[0])
    assert heard.stretches == (slice(0, len(waveform)),)


@pytest.mark.parametrize("gain", [1, 1e-2, 10])
@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_a_short_word_is_no_reason_whatever_its_level(gain, offset):
    assert hear(noise(0.4) * gain + offset).reasons == ()


# --- against pictures -------------------------------------------------------------------------------------------------


def face(low, high, side=64):
    """A face of two eyes and a mouth, float, dark on light, between two levels."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    dark = sum(np.exp(-(((columns - x) / w) ** 2 + ((rows - y) / 0.06) ** 2)) for x, y, w in DOTS)
    light = 0.8 - 0.5 * np.hypot(rows - 0.5, columns - 0.5)
    return low + (high - low) * np.clip(light - 0.6 * dark, 0, 1)


DOTS = ((0.32, 0.38, 0.09), (0.68, 0.38, 0.09), (0.5, 0.74, 0.16))
RNG = np.random.default_rng(5)


def dot():
    page = np.full((200, 200), 255)
    page[90:100, 90:100] = 0
    return page


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((48, 48)),
        np.full((48, 48), 255),
        np.full((300, 200, 3), (200, 30, 90)),
        RNG.integers(126, 130, (48, 48)),
        np.clip(np.round(RNG.normal(20, 2, (500, 500, 3))), 0, 255),
        dot(),
    ],
    ids=["black", "white", "red", "jpeg's traces", "a sensor's noise", "a dot"],
)
def test_one_colour_is_a_reason(pixels):
    assert see(pixels.astype(np.uint8)).reasons == ("The picture is all but one colour: there was nothing to see.",)


@pytest.mark.parametrize(
    "pixels",
    [
        face(0, 255),
        face(0, 24),  # a dark photo
        face(118, 130),  # a faded scan
        face(120, 135) + RNG.normal(0, 2, (64, 64)),
        np.tile(np.linspace(0, 255, 256), (256, 1)),
        RNG.integers(0, 256, (60, 50, 3)),
        np.stack([np.tile([60, 200], (64, 32)), np.tile([200, 60], (64, 32)), np.full((64, 64), 90)], axis=2),
    ],
    ids=["face", "dark", "faded", "faded and noisy", "gradient", "noise", "of one brightness"],
)
def test_pictures_that_show_something_are_not_doubted(pixels):
    if pixels.ndim == 3 and pixels.shape[0] == 64:
        pixels = np.repeat(np.repeat(pixels[:4, :4], 16, axis=0), 16, axis=1)  # fields that no averaging joins
    assert see(np.round(pixels).astype(np.uint8)).reasons == ()


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (15, 400)])
def test_pictures_too_small_for_a_face(shape):
    (reason,) = see(RNG.integers(0, 256, shape).astype(np.uint8)).reasons
    assert reason.startswith(f"The picture has {shape[1]} x {shape[0]} pixels: less than 16 a side")
    assert see(RNG.integers(0, 256, (16, 16)).astype(np.uint8)).reasons == ()


def test_no_face_is_a_reason_beside_others():
    reasons = see(np.full((200, 200), 128, np.uint8), face="auto").reasons
    assert [line.split(":")[0] for line in reasons] == ["The picture is all but one colour", "No face was found"]


def test_nothing_but_transparency_is_one_colour():
    from parallelnet import image

    rgb = image.read(Image.fromarray(np.zeros((60, 60, 4), np.uint8), "RGBA"))
    assert "one colour" in see(rgb).reasons[0]


def test_a_picture_of_12_bits_in_16_is_doubted():
    dark = np.round(np.clip(face(0, 255), 0, 255) / 16.1).astype(np.uint8)  # what 0..4095 of 65,535 comes to
    assert see(dark).reasons[0].startswith("The picture is all but black, ")
