"""Augmentation: repeatable, in range, off when it is off, and doing what its name says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parallelnet.data.loading import augment_image, augment_speech, augment_waveform, mixup
from parallelnet.options import AugmentOptions


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ALL = AugmentOptions(
    speed=0.1, noise=1.0, equaliser_db=3, time_shift_s=0.5, tempo=0.1, time_masks=2, mel_masks=2, mel_warp=0.1,
    flip=True, rotate_deg=15, scale=0.2, shift=0.1, tone=0.3, erase=1.0, mixup=0.2,
)  # fmt: skip


def test_nothing_on_changes_nothing(tone: np.ndarray) -> None:
    off = AugmentOptions()
    assert not off.any
    speech, image = torch.rand(2, 1, 128, 128), torch.rand(2, 3, 128, 128)
    assert torch.equal(augment_speech(speech, off, generator()), speech)
    assert torch.equal(augment_image(image, off, generator()), image)
    np.testing.assert_array_equal(augment_waveform(tone, off, np.random.default_rng(0)), tone)
    assert mixup([speech], 0.0, generator())[0] is speech


def test_the_same_seed_gives_the_same_and_another_gives_another(tone: np.ndarray) -> None:
    speech, image = torch.rand(4, 1, 128, 128), torch.rand(4, 3, 128, 128)
    for call, value in ((augment_speech, speech), (augment_image, image)):
        first, again, other = (call(value, ALL, generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert first.shape == value.shape
        assert first.min() >= 0
        assert first.max() <= 1
    waves = [augment_waveform(tone, ALL, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(waves[0], waves[1])
    assert len(waves[0]) != len(waves[2])  # another speed


def test_speed_changes_length_and_pitch_together(tone: np.ndarray) -> None:
    changed = augment_waveform(tone, AugmentOptions(speed=0.2), np.random.default_rng(3))

    def pitch_hz(wave: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(wave))
        return float(spectrum.argmax() * 16_000 / len(wave))

    factor = len(tone) / len(changed)
    assert abs(factor - 1) > 0.01
    assert pitch_hz(changed) == pytest.approx(pitch_hz(tone) * factor, rel=0.01)  # bins are half a hertz wide


def test_noise_keeps_to_its_level(tone: np.ndarray) -> None:
    for seed in range(8):
        added = augment_waveform(tone, AugmentOptions(noise=1.0), np.random.default_rng(seed)) - tone
        snr_db = 10 * np.log10(np.mean(tone**2) / np.mean(added**2))
        assert 5 - 0.01 <= snr_db <= 30 + 0.01  # float32 noise of 32,000 samples


def test_silence_stays_silence() -> None:
    silence = np.zeros(16_000, dtype=np.float32)
    assert not augment_waveform(silence, ALL, np.random.default_rng(0)).any()
    assert not augment_speech(torch.zeros(2, 1, 128, 128), ALL, generator()).any()


def test_masks_cover_whole_frames_and_bands() -> None:
    masked = augment_speech(torch.ones(16, 1, 128, 128), AugmentOptions(time_masks=1, mel_masks=1), generator())
    for window in masked[:, 0]:
        hidden_frames = (window == 0).all(0).sum()
        hidden_bands = (window == 0).all(1).sum()
        assert hidden_frames <= 16
        assert hidden_bands <= 12
    assert (masked == 0).any()


def test_flip_alone_mirrors_about_half() -> None:
    image = torch.rand(64, 3, 128, 128)
    flipped = augment_image(image, AugmentOptions(flip=True), generator())
    # 1e-4: grid_sample's arithmetic, on values up to 1.
    same = torch.isclose(flipped, image, atol=1e-4).flatten(1).all(1)
    mirrored = torch.isclose(flipped, image.flip(3), atol=1e-4).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_mixup_mixes_signals_and_targets_alike() -> None:
    signal = torch.arange(8.0)[:, None]
    target = torch.nn.functional.one_hot(torch.arange(8), 8).float()
    mixed, mixed_target = mixup([signal, target], 1.0, generator(4))
    torch.testing.assert_close(mixed[:, 0], mixed_target @ signal[:, 0])
    torch.testing.assert_close(mixed_target.sum(1), torch.ones(8))
    assert not torch.equal(mixed, signal)
