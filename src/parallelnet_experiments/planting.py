"""Planted evidence: real speech and pictures in which the place of the one telling part is known (design section 7).

An emotional part of RAVDESS inside neutral speech of the same speaker, a face of FER-2013 in one cell of a picture
without faces, and pairs of the two of which neither part alone tells. A model is trained on them; where it is right
and changes its mind without the cue, an explanation must point at the cue.

What could give the cue away elsewhere is kept out. A voice's cue is as loud as the speech around it, because the
log-mel is relative to the loudest band of the whole clip: a louder cue would show in every other frame. Pictures are
grey, because FER-2013 is. The class `none` has joints and pasted patches too, so that those are no evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from parallelnet import audio, image

CLIP_SAMPLES = audio.N_FRAMES * audio.hop()  # one window: 4.096 s, 128 frames of 32 ms
FADE_SAMPLES = 160  # 10 ms: no click, and short against a unit
JOINT_SAMPLES = 800  # 50 ms between neutral utterances
CELL_PIXELS = 64  # side of a cell in the file; FER-2013's faces are 48
FEATHER_PIXELS = 3  # of 64, over which a face fades into the picture around it
PEAK = 0.9
NONE = "none"  # class of clips and pictures without a cue
NEUTRAL = "neutral"  # what corpora call the speech that cues are planted in

Grey = npt.NDArray[np.uint8]
"""[height, width]."""


# --- speech -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeechPlant:
    """A clip with a cue at a known time, float32 at 16 kHz in [-0.9, 0.9].

    Attributes:
        waveform: [65536], 4.096 s.
        without: the same speech without the cue, equal outside of it.
        start: first sample of the cue.
        end: first sample after it.
        units: units that the cue fills whole, of `n_units` equal ones.
    """

    waveform: audio.Waveform
    without: audio.Waveform
    start: int
    end: int
    units: tuple[int, ...]


def neutral_bed(utterances: Sequence[audio.Waveform], rng: np.random.Generator) -> audio.Waveform:
    """Return 4.096 s [65536] cut at random out of trimmed utterances in random order, joined by cross-fades.

    They keep the level at which they were recorded.
    """
    fade_in = _rise(JOINT_SAMPLES)
    joined = np.zeros(JOINT_SAMPLES, np.float32)
    wanted = CLIP_SAMPLES + max(map(len, utterances))
    while len(joined) < wanted:
        for number in rng.permutation(len(utterances)):
            piece = utterances[number].copy()
            piece[:JOINT_SAMPLES] *= fade_in
            joined[-JOINT_SAMPLES:] *= fade_in[::-1]
            joined[-JOINT_SAMPLES:] += piece[:JOINT_SAMPLES]
            joined = np.concatenate([joined, piece[JOINT_SAMPLES:]])
    first = int(rng.integers(len(joined) - CLIP_SAMPLES + 1))
    return joined[first : first + CLIP_SAMPLES].copy()


def voiced_part(waveform: audio.Waveform, n_samples: int, rng: np.random.Generator) -> audio.Waveform:
    """Return `n_samples` from a random one of the places whose power is at most 3 dB below that of the loudest.

    A waveform that is shorter is not stretched: the caller leaves it out.
    """
    power = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    starts = np.arange(0, len(waveform) - n_samples + 1, FADE_SAMPLES)
    of_start = power[starts + n_samples] - power[starts]
    first = int(rng.choice(starts[of_start >= of_start.max() / 2]))
    return waveform[first : first + n_samples]


def plant_speech(
    bed: audio.Waveform, part: Callable[[int], audio.Waveform], n_units: int, n_cue: int, rng: np.random.Generator
) -> SpeechPlant:
    """Return neutral speech with a cue over `n_cue` whole units at a random place.

    The cue's loudest mel band is made as loud as the bed's: the log-mel is relative to the loudest band of the whole
    clip, so outside of the cue it stays what it was, and tells nothing.

    Args:
        bed: neutral speech [65536].
        part: returns so many samples of the cue.
        n_units: equal units of the clip.
        n_cue: units that the cue covers.
        rng: chooses the place.
    """
    first = int(rng.integers(n_units - n_cue + 1))
    start, end = (round(k * CLIP_SAMPLES / n_units) for k in (first, first + n_cue))
    weight = np.ones(end - start, np.float32)
    weight[:FADE_SAMPLES] = _rise(FADE_SAMPLES)
    weight[-FADE_SAMPLES:] = weight[FADE_SAMPLES - 1 :: -1]
    cue = np.zeros_like(bed)
    cue[start:end] = part(end - start) * weight
    cue *= np.float32(np.sqrt(loudest_band(bed) / loudest_band(cue)))
    mixed = bed.copy()
    mixed[start:end] *= 1 - weight
    mixed += cue
    scale = np.float32(PEAK / max(np.abs(mixed).max(), np.abs(bed).max()))
    return SpeechPlant(mixed * scale, bed * scale, start, end, tuple(range(first, first + n_cue)))


def loudest_band(waveform: audio.Waveform) -> float:
    """Return the power of the loudest mel band in any frame, to which `audio.log_mel` is relative."""
    padded = np.pad(waveform, audio.N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, audio.N_FFT)[:: audio.hop()]
    window = np.hanning(audio.N_FFT + 1)[:-1]
    return float((np.abs(np.fft.rfft(frames * window)) ** 2 @ audio.mel_matrix()).max())


def _rise(n: int) -> npt.NDArray[np.float32]:
    # Raised cosine: it and its mirror image sum to 1.
    return np.square(np.sin(np.pi / 2 * (np.arange(n) + 0.5) / n)).astype(np.float32)


# --- pictures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImagePlant:
    """A grey picture with a cue in a known cell.

    Attributes:
        pixels: uint8 [rows * 64, columns * 64].
        without: the same picture without the cue, equal outside of the cell.
        cell: (row, column) of the grid.
    """

    pixels: Grey
    without: Grey
    cell: tuple[int, int]


def background(rgb: image.Pixels, grid: tuple[int, int], rng: np.random.Generator) -> Grey:
    """Return a random part of a picture, grey, mirrored half of the time, 64 pixels a cell."""
    height, width = (n * CELL_PIXELS for n in grid)
    picture = Image.fromarray(rgb).convert("L")
    scale = min(picture.width / width, picture.height / height) * rng.uniform(0.7, 1.0)
    wide, high = scale * width, scale * height
    left, top = rng.uniform(0, picture.width - wide), rng.uniform(0, picture.height - high)
    box = (left, top, left + wide, top + high)
    grey = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box))
    return np.ascontiguousarray(grey[:, ::-1] if rng.random() < 0.5 else grey)


def plant_image(bed: Grey, patch: Grey, grid: tuple[int, int], rng: np.random.Generator) -> ImagePlant:
    """Return a picture with a patch (a face) over one random cell; its edge fades into the picture within the cell."""
    row, column = int(rng.integers(grid[0])), int(rng.integers(grid[1]))
    high, wide = bed.shape[0] // grid[0], bed.shape[1] // grid[1]
    fitted = np.asarray(Image.fromarray(patch).resize((wide, high), Image.Resampling.BICUBIC), np.float32)
    rows, columns = (
        np.minimum(1, (np.minimum(np.arange(n), np.arange(n)[::-1]) + 1) / (FEATHER_PIXELS + 1)) for n in (high, wide)
    )
    weight = np.outer(rows, columns)
    here = (slice(row * high, (row + 1) * high), slice(column * wide, (column + 1) * wide))
    pixels = bed.copy()
    pixels[here] = np.rint(weight * fitted + (1 - weight) * bed[here]).astype(np.uint8)
    return ImagePlant(pixels, bed, (row, column))
