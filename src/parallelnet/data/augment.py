"""Random changes to training samples: waveforms in numpy, one by one; batches of tensors in torch, on their device.

Everything takes its generator, so that a sample's fate depends on the seed, the epoch and its place alone, and a
resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import math

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ..audio import SAMPLE_RATE_HZ
from ..options import AugmentOptions

MAX_TIME_MASK = 16  # frames, 0.5 s of a 4.096 s window
MAX_MEL_MASK = 12  # of 128 bands
WINDOW_S = 4.096


def augment_waveform(
    waveform: NDArray[np.float32], options: AugmentOptions, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a changed copy of [n_samples] mono speech at 16 kHz: speed, noise, equaliser.

    Speed changes tempo and pitch together, as a tape does; its length changes with it.
    """
    if not waveform.any():
        return waveform
    if options.speed:
        factor = 1 + rng.uniform(-options.speed, options.speed)
        waveform = soxr.resample(waveform, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ, quality="MQ")
    if options.equaliser_db:
        spectrum = np.fft.rfft(waveform)
        # Six random gains, joined by straight lines over a linear frequency axis: rooms and microphones, not notches.
        gains_db = rng.uniform(-options.equaliser_db, options.equaliser_db, 6)
        gains_db = np.interp(np.linspace(0, 5, len(spectrum)), range(6), gains_db)
        waveform = np.fft.irfft(spectrum * 10 ** (gains_db / 20), len(waveform)).astype(np.float32)
    if rng.random() < options.noise:
        noise = rng.standard_normal(len(waveform)).astype(np.float32)
        if rng.random() < 0.5:  # pink: power falls as 1 / f
            spectrum = np.fft.rfft(noise)
            noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(noise)).astype(np.float32)
        snr_db = rng.uniform(5, 30)
        scale = np.sqrt(np.mean(waveform**2) / max(float(np.mean(noise**2)), 1e-12)) * 10 ** (-snr_db / 20)
        waveform = waveform + np.float32(scale) * noise
    return np.ascontiguousarray(waveform, dtype=np.float32)


def augment_speech(speech: Tensor, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Return changed log-mel windows [n, 1, 128, 128] in [0, 1]: mel warp, tempo, time shift, masks (SpecAugment)."""
    n, _, n_mels, n_frames = speech.shape
    if options.mel_warp or options.time_shift_s or options.tempo:
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0] = 1 + _signed(options.tempo, generator, n)
        # grid_sample's coordinates run from -1 to 1 over the window; a shift of the whole window would be 2.
        theta[:, 0, 2] = _signed(2 * options.time_shift_s / WINDOW_S, generator, n)
        theta[:, 1, 1] = 1 + _signed(options.mel_warp, generator, n)
        theta[:, 1, 2] = theta[:, 1, 1] - 1  # the lowest band stays where it is
        speech = _moved(speech, theta)
    for _ in range(options.time_masks):
        speech = speech * _mask(n, n_frames, MAX_TIME_MASK, generator).to(speech.device)[:, None, None, :]
    for _ in range(options.mel_masks):
        speech = speech * _mask(n, n_mels, MAX_MEL_MASK, generator).to(speech.device)[:, None, :, None]
    return speech


def _signed(largest: float, generator: torch.Generator, *shape: int) -> Tensor:
    return largest * (2 * torch.rand(*shape, generator=generator) - 1)


def _moved(batch: Tensor, theta: Tensor) -> Tensor:
    """Return a batch [n, channels, h, w] sampled on the grids of affine maps [n, 2, 3]."""
    grid = affine_grid(theta.to(batch.device), list(batch.shape), align_corners=False)
    return grid_sample(batch, grid, align_corners=False)


def _mask(n: int, length: int, largest: int, generator: torch.Generator) -> Tensor:
    width = torch.randint(0, largest + 1, (n, 1), generator=generator)
    start = (torch.rand(n, 1, generator=generator) * (length - width)).long()
    place = torch.arange(length)[None]
    return ((place < start) | (place >= start + width)).float()


def augment_image(image: Tensor, options: AugmentOptions, generator: torch.Generator) -> Tensor:
    """Return changed pictures [n, 3, h, w] in [0, 1]: flip, rotation, scale, shift, tone, erased rectangles."""
    n, _, height, width = image.shape
    if options.flip or options.rotate_deg or options.scale or options.shift:
        angle = torch.randn(n, generator=generator).clamp(-2, 2) * math.radians(options.rotate_deg) / 2
        zoom = 1 / (1 + _signed(options.scale, generator, n))
        mirror = torch.ones(n)
        if options.flip:
            mirror = (torch.rand(n, generator=generator) < 0.5).float() * 2 - 1
        rows = (angle.cos() * zoom * mirror, -angle.sin() * zoom, angle.sin() * zoom * mirror, angle.cos() * zoom)
        turn = torch.stack(rows, 1).reshape(n, 2, 2)
        image = _moved(image, torch.cat([turn, _signed(2 * options.shift, generator, n, 2)[:, :, None]], 2))
    if options.tone:
        mean = image.mean((1, 2, 3), keepdim=True)
        contrast, brightness = _signed(options.tone, generator, 2, n, 1, 1, 1).to(image.device)
        image = ((image - mean) * (1 + contrast) + mean + brightness / 2).clamp(0, 1)
    if options.erase:
        size = torch.randint(height // 8, height // 2, (n, 2), generator=generator)
        corner = (torch.rand(n, 2, generator=generator) * (height - size)).long()
        at = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1)[None]
        inside = ((at >= corner[:, None, None]) & (at < (corner + size)[:, None, None])).all(-1)
        inside = inside & (torch.rand(n, 1, 1, generator=generator) < options.erase)
        paint = torch.rand(n, 1, 1, 1, generator=generator).to(image.device)
        image = torch.where(inside[:, None].to(image.device), paint, image)
    return image


def mixup(tensors: list[Tensor], parameter: float, generator: torch.Generator) -> list[Tensor]:
    """Return each [n, ...] tensor mixed with a shuffled copy of itself, by one Beta(a, a) factor for the batch.

    Args:
        tensors: signals and target probabilities of the same n samples.
        parameter: a of the Beta distribution; 0 returns the tensors unchanged.
        generator: source of the factor and the order.
    """
    if not parameter:
        return tensors
    # torch has no Beta that takes a generator; numpy's, seeded from it, has.
    seed = int(torch.randint(0, 2**31, (1,), generator=generator))
    factor = float(np.random.default_rng(seed).beta(parameter, parameter))
    order = torch.randperm(len(tensors[0]), generator=generator)
    return [factor * t + (1 - factor) * t[order.to(t.device)] for t in tensors]
