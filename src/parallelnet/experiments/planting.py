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
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from .. import audio, image
from ..errors import OptionError

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


@dataclass(frozen=True, slots=True)
class Task:
    """What a material looks like.

    Attributes:
        classes: emotions that are planted.
        n_units: equal units of the 4.096 s clip; 0: no speech.
        cue_units: fewest and most units that a voice's cue covers.
        grid: rows and columns of the picture; (0, 0): no picture.
    """

    classes: tuple[str, ...]
    n_units: int = 0
    cue_units: tuple[int, int] = (0, 0)
    grid: tuple[int, int] = (0, 0)


TASKS: dict[str, Task] = {
    "speech": Task(("anger", "happy", "hate", "sad"), n_units=16, cue_units=(2, 4)),
    "image": Task(("anger", "happy", "hate", "sad"), grid=(4, 4)),
    "pair": Task(("anger", "happy"), n_units=8, cue_units=(1, 1), grid=(2, 4)),
}


@dataclass(frozen=True, slots=True)
class PlantOptions:
    """Make material with planted evidence: clips and pictures whose one telling part is known.

    Attributes:
        task: `speech` (an emotional part in neutral speech), `image` (a face in a picture) or `pair` (both; only
            together they tell).
        out: folder to make, with manifest.csv, speech and image inside.
        speech: where the utterances are: a speech corpus with neutral speech, CORPUS:PATH.
        image: where the faces are: CORPUS:PATH or a manifest.
        backgrounds: where pictures without faces are: CORPUS:PATH or a manifest.
        classes: emotions to plant; the task's own when empty. `pair` takes two.
        voice_classes: for `pair`, the two emotions of the voice where they are not those of the face.
        cue_units: fewest and most speech units that a cue covers; the task's own when empty.
        n_units: equal units of the clip; the task's own when 0.
        min_cue_prob: plant only utterances and faces to whose true class the bundled model gives at least this
            probability, as they come from the corpus; 0 plants all.
        n_backgrounds: pictures without a face to look for; all splits together.
        n_train: samples of the training split.
        n_validation: samples of the validation split.
        n_test: samples of the test split.
        validation_speakers: speakers of the validation split, as the corpus names them, or their numbers.
        test_speakers: speakers of the test split.
        image_test_split: split of the face corpus that is the test split.
        seed: of everything random.
    """

    task: Literal["speech", "image", "pair"] = field(metadata={"positional": True})
    out: str
    speech: str = ""
    image: str = ""
    backgrounds: str = ""
    classes: tuple[str, ...] = ()
    voice_classes: tuple[str, ...] = ()
    cue_units: tuple[int, ...] = ()
    n_units: int = 0
    min_cue_prob: float = 0.0
    n_backgrounds: int = 1500
    n_train: int = 6000
    n_validation: int = 400
    n_test: int = 800
    validation_speakers: tuple[str, ...] = ("15", "16")
    test_speakers: tuple[str, ...] = ("17", "18", "19", "20")
    image_test_split: Literal["auto", "test", "validation"] = "validation"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise OptionError(f"TASK is {self.task!r}; allowed: {', '.join(TASKS)}.")
        for name in self.needs:
            if not getattr(self, name):
                raise OptionError(f"Task {self.task!r} needs --{name}.")
        if not 0 <= self.min_cue_prob < 1:
            raise OptionError(f"--min-cue-prob is {self.min_cue_prob!r}; allowed: 0 up to, not including, 1.")
        if min(self.n_train, self.n_validation, self.n_test) < 1 or self.n_units < 0 or self.seed < 0:
            raise OptionError("--n-train, --n-validation and --n-test are 1 or more, --n-units and --seed 0 or more.")
        if self.task == "pair" and not (len(self.faces) == len(self.voices) == 2):
            raise OptionError("Task 'pair' takes two --classes, and two --voice-classes or none.")
        units, (fewest, most) = self.units, self.cue_range
        if "speech" in self.needs and not 1 <= fewest <= most < units:
            raise OptionError(f"--cue-units are {fewest} {most}; allowed: 1 up to, not including, {units}.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Which sources the task takes."""
        pictures = ("image", "backgrounds")
        return {"speech": ("speech",), "image": pictures, "pair": ("speech", *pictures)}[self.task]

    @property
    def faces(self) -> tuple[str, ...]:
        """Emotions of faces (of the voice where there are none)."""
        return self.classes or TASKS[self.task].classes

    @property
    def voices(self) -> tuple[str, ...]:
        """Emotions of voices."""
        return self.voice_classes or self.faces

    @property
    def units(self) -> int:
        """Equal units of the clip."""
        return self.n_units or TASKS[self.task].n_units

    @property
    def cue_range(self) -> tuple[int, int]:
        """Fewest and most units of a cue."""
        given = self.cue_units or TASKS[self.task].cue_units
        return given[0], given[-1]


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
