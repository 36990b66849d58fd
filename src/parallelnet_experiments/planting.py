"""Planted evidence: real speech and pictures in which the place of the one telling part is known (design section 7).

An emotional part of RAVDESS inside neutral speech of the same speaker, a face of FER-2013 in one cell of a picture
without faces, and pairs of the two of which neither part alone tells. A model is trained on them; where it is right
and changes its mind without the cue, an explanation must point at the cue.

What could give the cue away elsewhere is kept out. A voice's cue is as loud as the speech around it, because the
log-mel is relative to the loudest band of the whole clip: a louder cue would show in every other frame. Pictures are
grey, because FER-2013 is. The class `none` has joints and pasted patches too, so that those are no evidence. No
speaker, no face and no background stands in two splits; speakers and faces are where `build pairs` had them for the
bundled model, whose ears and eyes may then be started from.
"""

import functools
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
from PIL import Image

from parallelnet import audio, image, records
from parallelnet.data import dataset, pairs, splits
from parallelnet.data.dataset import CORPORA, read_corpus
from parallelnet.errors import InputError, ManifestError, OptionError
from parallelnet.options import PairsOptions, PlantOptions
from parallelnet.types import SPLITS, Sample

log = logging.getLogger(__name__)

CLIP_SAMPLES = audio.N_FRAMES * audio.hop()  # one window: 4.096 s, 128 frames of 32 ms
FADE_SAMPLES = 160  # 10 ms: no click, and short against a unit
JOINT_SAMPLES = 800  # 50 ms between neutral utterances
CELL_PIXELS = 64  # side of a cell in the file; FER-2013's faces are 48
FEATHER_PIXELS = 3  # of 64, over which a face fades into the picture around it
PEAK = 0.9
NONE = "none"  # class of clips and pictures without a cue
NEUTRAL = "neutral"  # what corpora call the speech that cues are planted in
FACELESS_JSON = "faceless.json"
SPEEDS = (0.85, 0.92, 1.0, 1.08, 1.17)  # of the training voices; about a semitone and a half apart

Grey = npt.NDArray[np.uint8]  # [height, width]


class Plant(NamedTuple):
    """A clip (float32 at 16 kHz in [-0.9, 0.9], [65536]) or a grey picture (uint8 [rows * 64, columns * 64]).

    `where` are the columns of the manifest that say where the cue is; elsewhere `signal` is as `without`.
    """

    signal: npt.NDArray[Any]
    without: npt.NDArray[Any]
    where: dict[str, str]


# --- speech -----------------------------------------------------------------------------------------------------------


def neutral_bed(utterances: Sequence[audio.Waveform], rng: np.random.Generator) -> audio.Waveform:
    """Return 4.096 s [65536] cut at random out of trimmed utterances in random order, joined by cross-fades."""
    fade_in = _rise(JOINT_SAMPLES)
    joined = np.zeros(JOINT_SAMPLES, np.float32)
    wanted = CLIP_SAMPLES + max(map(len, utterances))
    while len(joined) < wanted:
        for number in rng.permutation(len(utterances)):
            piece = utterances[number].copy()
            piece[:JOINT_SAMPLES] *= fade_in
            piece[:JOINT_SAMPLES] += joined[-JOINT_SAMPLES:] * fade_in[::-1]
            joined = np.concatenate([joined[:-JOINT_SAMPLES], piece])
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
) -> Plant:
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
    cue *= np.float32(np.sqrt(_loudest_band(bed) / _loudest_band(cue)))
    mixed = bed.copy()
    mixed[start:end] *= 1 - weight
    mixed += cue
    scale = np.float32(PEAK / max(np.abs(mixed).max(), np.abs(bed).max()))
    times = {f"cue_{name}_s": f"{k / audio.SAMPLE_RATE_HZ:.3f}" for name, k in (("start", start), ("end", end))}
    units = {"cue_units": " ".join(map(str, range(first, first + n_cue))), "n_units": str(n_units)}
    return Plant(mixed * scale, bed * scale, times | units)


def _loudest_band(waveform: audio.Waveform) -> float:
    # Return the power of the loudest mel band in any frame, to which `audio.log_mel` is relative.
    padded = np.pad(waveform, audio.N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, audio.N_FFT)[:: audio.hop()]
    window = np.hanning(audio.N_FFT + 1)[:-1]
    return float((np.abs(np.fft.rfft(frames * window)) ** 2 @ audio.mel_matrix()).max())


def _rise(n: int) -> npt.NDArray[np.float32]:
    # Raised cosine: it and its mirror image sum to 1.
    return np.square(np.sin(np.pi / 2 * (np.arange(n) + 0.5) / n)).astype(np.float32)


def _trimmed(path: str, speed: float = 1.0) -> audio.Waveform:
    # Return an utterance without the quiet at its ends, as fast as asked.
    wave, rate = audio.read(path), audio.SAMPLE_RATE_HZ
    wave = wave[audio.trim_slice(wave)]
    return wave if speed == 1 else soxr.resample(wave, rate * speed, rate)


class Voices:
    """Utterances of one split, trimmed; emotions as cues, neutral ones as beds."""

    def __init__(self, samples: Sequence[Sample], speeds: Sequence[float] = (1.0,)) -> None:
        """Take the utterances, and the speeds at which a speaker may be heard: other voices, where there are few."""
        self.speeds, self.wave = tuple(speeds), functools.cache(_trimmed)
        self.cues = _by([s for s in samples if s.label != NEUTRAL], "label")
        self.neutral = _by([s for s in samples if s.label == NEUTRAL], "group")

    def plant(self, cue: Sample, options: PlantOptions, rng: np.random.Generator) -> Plant:
        """Return 4.096 s of neutral speech of the same speaker with a part of `cue` in it.

        A neutral cue stands for its speaker: what is planted is any neutral part, joints included.
        """
        speed = float(rng.choice(self.speeds))
        neutral = [self.wave(s.speech, speed) for s in self.neutral[cue.group]]
        bed = neutral_bed(neutral, rng)
        wave = neutral_bed(neutral, rng) if cue.label == NEUTRAL else self.wave(cue.speech, speed)
        n_cue = int(rng.integers(options.cue_range[0], options.cue_range[1] + 1))
        return plant_speech(bed, lambda n: voiced_part(wave, n, rng), options.units, n_cue, rng)


def read_voices(options: PlantOptions) -> dict[str, Voices]:
    """Return the utterances of each split, speakers in one split each."""
    name, colon, path = options.speech.partition(":")
    if not colon or name not in CORPORA:
        raise OptionError(f"--speech is {options.speech!r}; needed: CORPUS:PATH of a corpus with neutral speech.")
    labels = {**(CORPORA[name].labels or {}), NEUTRAL: NEUTRAL}
    speech = tuple(s for s in read_corpus(name, path, labels=labels).samples if s.label in {NEUTRAL, *options.voices})
    speech = _clear(speech, "speech", options)
    longest = -(-options.cue_range[1] * CLIP_SAMPLES // options.units)
    voices = {}
    for split in SPLITS:
        here = [s for s in speech if _side(s.group, options) == split]
        voices[split] = these = Voices(here, SPEEDS if split == "train" else (1.0,))
        for label in options.voices:
            long_enough = [s for s in these.cues[label] if len(these.wave(s.speech)) >= longest * max(these.speeds)]
            n_short = len(these.cues[label]) - len(long_enough)
            log.info("%s: %d utterances of %s left out: shorter than the cue", split, n_short, label)
            these.cues[label] = [s for s in long_enough if these.neutral[s.group]]
        _need(split, "utterance", these.cues, options.voices)
    return voices


def _side(speaker: str, options: PlantOptions) -> str:
    # Return the split of a speaker, told by name or by the number at its end (`actor_07`: 7).
    names = {speaker, *(found.lstrip("0") for found in re.findall(r"\d+$", speaker))}
    given = {"test": options.test_speakers, "validation": options.validation_speakers}
    return next((split for split, speakers in given.items() if names & set(speakers)), "train")


# --- pictures ---------------------------------------------------------------------------------------------------------


def grey(sample: Sample) -> Image.Image:
    """Return the picture of a sample in grey."""
    return Image.fromarray(image.read(sample.image or "")).convert("L")


def background(picture: Image.Image, grid: tuple[int, int], rng: np.random.Generator) -> Grey:
    """Return a random part of a grey picture, mirrored half of the time, 64 pixels a cell."""
    height, width = (n * CELL_PIXELS for n in grid)
    scale = min(picture.width / width, picture.height / height) * rng.uniform(0.7, 1.0)
    wide, high = scale * width, scale * height
    left, top = rng.uniform(0, picture.width - wide), rng.uniform(0, picture.height - high)
    part = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, (left, top, left + wide, top + high)))
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


def plant_image(bed: Grey, patch: Image.Image, grid: tuple[int, int], rng: np.random.Generator) -> Plant:
    """Return a picture with a patch (a face) over one random cell; its edge fades into the picture within the cell."""
    row, column = int(rng.integers(grid[0])), int(rng.integers(grid[1]))
    high, wide = bed.shape[0] // grid[0], bed.shape[1] // grid[1]
    fitted = np.asarray(patch.resize((wide, high), Image.Resampling.BICUBIC), np.float32)
    rows, columns = (
        np.minimum(1, (np.minimum(np.arange(n), np.arange(n)[::-1]) + 1) / (FEATHER_PIXELS + 1)) for n in (high, wide)
    )
    weight = np.outer(rows, columns)
    here = (slice(row * high, (row + 1) * high), slice(column * wide, (column + 1) * wide))
    pixels = bed.copy()
    pixels[here] = np.rint(weight * fitted + (1 - weight) * bed[here]).astype(np.uint8)
    return Plant(pixels, bed, {"cue_cell": f"{row} {column}", "grid": f"{grid[0]}x{grid[1]}"})


class Pictures(NamedTuple):
    """Faces, by class, and backgrounds of one split."""

    cues: dict[str, list[Sample]]
    backgrounds: list[Sample]


def read_pictures(options: PlantOptions) -> dict[str, Pictures]:
    """Return faces and backgrounds of each split; a background's content decides where it goes."""
    # All classes are dealt, planted or not: a face then stands in the split in which the bundled model has it.
    faces = _dealt(tuple(s for s in dataset.open_data(options.image) if s.label and s.image is not None), options)
    faces = _clear(tuple(s for s in faces if s.label in options.faces), "image", options)
    shown = dataset.with_image_groups([s for s in dataset.open_data(options.backgrounds) if s.image is not None])
    found = {s.image_group: s for s in reversed(shown)}  # of equal ones the first
    beds: dict[str, list[Sample]] = defaultdict(list)
    for key in faceless(found, options.n_backgrounds, Path(options.out).parent / FACELESS_JSON):
        tenth = int(key[-4:], 16) % 10
        beds["test" if tenth < 2 else "validation" if tenth == 2 else "train"].append(found[key])
    pictures = {split: Pictures(_by([s for s in faces if s.split == split], "label"), beds[split]) for split in SPLITS}
    for split, these in pictures.items():
        _need(split, "face", these.cues, options.faces)
        _need(split, "background", {"": these.backgrounds}, ("",))
    return pictures


def faceless(pictures: Mapping[str, Sample], n: int, kept: Path) -> list[str]:
    """Return the keys of the first `n` pictures that can be read and in which our face finder finds no face.

    Args:
        pictures: by the sha256 of their bytes, which is also the order.
        n: how many are enough.
        kept: JSON file that remembers what was found, since a search takes 0.2 s.
    """
    mend = "remove it, and the pictures are looked at again."
    known: dict[str, bool] = records.read_json(kept, mend=mend) if kept.is_file() else {}
    clean: list[str] = []
    for key in sorted(pictures):
        if key not in known:
            known[key] = False
            with suppress(InputError):
                known[key] = image.crop_face(image.read(pictures[key].image or ""))[1].status == "not-found"
            if len(known) % 200 == 0:
                records.write_json(kept, known)
        clean += [key] if known[key] else []
        if len(clean) == n:
            break
    records.write_json(kept, known)
    log.info("%d backgrounds without a face", len(clean))
    return clean


def _dealt(faces: tuple[Sample, ...], options: PlantOptions) -> tuple[Sample, ...]:
    # Return the faces with the splits that `build pairs` gives them, as for the bundled model.
    same = PairsOptions("", options.image, "", image_test_split=options.image_test_split)
    faces = pairs.distinct_pictures(faces, same, Counter())
    train = tuple(s for s in faces if s.split in ("train", ""))
    cut = {s.id for s in splits.carve_validation(train, same.image_validation, same.seed)[1]}
    return tuple(replace(s, split="validation") if s.id in cut else s for s in faces)


def _by(samples: Sequence[Sample], column: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for s in samples:
        found[getattr(s, column)].append(s)
    return found


def _clear(
    samples: tuple[Sample, ...], modality: Literal["speech", "image"], options: PlantOptions
) -> tuple[Sample, ...]:
    # Return the neutral samples and those whose class the bundled model sees or hears clearly.
    if not options.min_cue_prob:
        return samples
    from parallelnet.predictor import load

    candidates = [s for s in samples if s.label != NEUTRAL]
    said = zip(candidates, load(n_threads=1).predict_each(candidates, modalities=modality), strict=True)
    unclear = {s.id for s, found in said if isinstance(found, Exception) or found.probs[s.label] < options.min_cue_prob}
    log.info("%s: %d of %d cues left out: not clear to the bundled model", modality, len(unclear), len(candidates))
    return tuple(s for s in samples if s.id not in unclear)


def _need(split: str, what: str, have: Mapping[str, Sequence[Sample]], wanted: Sequence[str]) -> None:
    for label in wanted:
        if not have.get(label):
            raise ManifestError(f"There is no {what}{f' of {label}' if label else ''} to plant in {split}.")
