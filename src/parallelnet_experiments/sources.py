"""What is planted, and what it is planted in: utterances, faces and faceless pictures, dealt to splits.

No speaker, no face and no background stands in two splits; speakers and faces are where `build pairs` had them for the
bundled model, whose ears and eyes may then be started from.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import soxr
from PIL import Image

from parallelnet import audio, image, records
from parallelnet.data import dataset, pairs, splits
from parallelnet.data.corpora import CORPORA, read_corpus
from parallelnet.errors import InputError, ManifestError, OptionError
from parallelnet.options import PairsOptions, PlantOptions
from parallelnet.types import SPLITS, Sample

from .planting import CLIP_SAMPLES, NEUTRAL, Grey, SpeechPlant, background, neutral_bed, plant_speech, voiced_part

log = logging.getLogger(__name__)

FACELESS_JSON = "faceless.json"
SPEEDS = (0.85, 0.92, 1.0, 1.08, 1.17)  # of the training voices; about a semitone and a half apart


class Voices:
    """Utterances of one split, trimmed; emotions as cues, neutral ones as beds."""

    def __init__(self, samples: Sequence[Sample], speeds: Sequence[float] = (1.0,)) -> None:
        """Take the utterances, those labelled `neutral` among them.

        Args:
            samples: of one split.
            speeds: at which a speaker may be heard, as a tape is: other voices, where there are few to learn from.
        """
        self.speeds = tuple(speeds)
        self._waves: dict[tuple[str, float], audio.Waveform] = {}
        self.cues: dict[str, list[Sample]] = defaultdict(list)
        self.neutral: dict[str, list[Sample]] = defaultdict(list)
        for s in samples:
            if s.label == NEUTRAL:
                self.neutral[s.group].append(s)
            else:
                self.cues[s.label].append(s)

    def wave(self, sample: Sample, speed: float = 1.0) -> audio.Waveform:
        """Return an utterance without the quiet at its ends."""
        assert sample.speech is not None
        key = (sample.speech, speed)
        if key not in self._waves:
            wave = audio.trim(audio.read(sample.speech))
            rate = audio.SAMPLE_RATE_HZ
            self._waves[key] = wave if speed == 1 else soxr.resample(wave, rate * speed, rate)
        return self._waves[key]

    def plant(self, cue: Sample, options: PlantOptions, rng: np.random.Generator) -> SpeechPlant:
        """Return 4.096 s of neutral speech of the same speaker with a part of `cue` in it.

        A neutral cue stands for its speaker: what is planted is any neutral part, joints included.
        """
        fewest, most = options.cue_range
        speed = float(rng.choice(self.speeds))
        neutral = [self.wave(s, speed) for s in self.neutral[cue.group]]
        bed = neutral_bed(neutral, rng)
        wave = neutral_bed(neutral, rng) if cue.label == NEUTRAL else self.wave(cue, speed)
        n_cue = int(rng.integers(fewest, most + 1))
        return plant_speech(bed, lambda n: voiced_part(wave, n, rng), options.units, n_cue, rng)


class Pictures:
    """Faces and backgrounds of one split."""

    def __init__(self, faces: Sequence[Sample], backgrounds: Sequence[Sample]) -> None:
        """Take the samples."""
        self.backgrounds = list(backgrounds)
        self.cues: dict[str, list[Sample]] = defaultdict(list)
        for s in faces:
            self.cues[s.label].append(s)

    def bed(self, sample: Sample, grid: tuple[int, int], rng: np.random.Generator) -> Grey:
        """Return a background's picture."""
        assert sample.image is not None
        return background(image.read(sample.image), grid, rng)

    def face(self, sample: Sample) -> Grey:
        """Return a face."""
        assert sample.image is not None
        return np.asarray(Image.fromarray(image.read(sample.image)).convert("L"))


def read_voices(options: PlantOptions) -> dict[str, Voices]:
    """Return the utterances of each split, speakers in one split each."""
    name, colon, path = options.speech.partition(":")
    if not colon or name not in CORPORA:
        raise OptionError(f"--speech is {options.speech!r}; needed: CORPUS:PATH of a corpus with neutral speech.")
    labels = {**(CORPORA[name].labels or {}), NEUTRAL: NEUTRAL}
    wanted = {NEUTRAL, *options.voices}
    speech = tuple(s for s in read_corpus(name, path, labels=labels).samples if s.label in wanted)
    speech = _clear(speech, "speech", options)
    voices = {
        split: Voices([s for s in speech if _side(s.group, options) == split], SPEEDS if split == "train" else (1.0,))
        for split in SPLITS
    }
    longest = -(-options.cue_range[1] * CLIP_SAMPLES // options.units)
    for split, these in voices.items():
        for label in options.voices:
            long_enough = [s for s in these.cues[label] if len(these.wave(s)) >= longest * max(these.speeds)]
            if len(long_enough) < len(these.cues[label]):
                n = len(these.cues[label]) - len(long_enough)
                log.info("%s: %d utterances of %s left out: shorter than the cue", split, n, label)
            these.cues[label] = [s for s in long_enough if these.neutral[s.group]]
        _need(split, "utterance", these.cues, options.voices)
    return voices


def read_pictures(options: PlantOptions) -> dict[str, Pictures]:
    """Return faces and backgrounds of each split; a background's content decides where it goes."""
    # All classes are dealt, planted or not: a face then stands in the split in which the bundled model has it.
    faces = _dealt(tuple(s for s in dataset.open_data(options.image) if s.label and s.image is not None), options)
    faces = tuple(s for s in faces if s.label in options.faces)
    faces = _clear(faces, "image", options)
    found: dict[str, Sample] = {}
    for s in dataset.with_image_groups([s for s in dataset.open_data(options.backgrounds) if s.image is not None]):
        found.setdefault(s.image_group, s)
    clean = faceless(found, options.n_backgrounds, Path(options.out).parent / FACELESS_JSON)
    digits = {key: int(key[-4:], 16) % 10 for key in clean}
    sides = {key: "test" if n < 2 else "validation" if n == 2 else "train" for key, n in digits.items()}
    pictures = {
        split: Pictures(
            [s for s in faces if s.split == split], [found[key] for key in sorted(clean) if sides[key] == split]
        )
        for split in SPLITS
    }
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
    n_seen = n_new = 0
    for key in sorted(pictures):
        if len(clean) == n:
            break
        if key not in known:
            known[key] = _is_faceless(pictures[key])
            n_new += 1
            if n_new % 200 == 0:
                records.write_json(kept, known)
        n_seen += 1
        clean += [key] if known[key] else []
    if n_new:
        records.write_json(kept, known)
    log.info("%d of %d backgrounds left out: a face, or unreadable", n_seen - len(clean), n_seen)
    return clean


def _is_faceless(sample: Sample) -> bool:
    assert sample.image is not None
    try:
        return image.crop_face(image.read(sample.image))[1].status == "not-found"
    except InputError:
        return False


def _side(speaker: str, options: PlantOptions) -> str:
    """Return the split of a speaker, told by name or by the number at its end (`actor_07`: 7)."""
    number = re.search(r"\d+$", speaker)
    names = {speaker, number[0].lstrip("0")} if number else {speaker}
    if names & set(options.test_speakers):
        return "test"
    return "validation" if names & set(options.validation_speakers) else "train"


def _dealt(faces: tuple[Sample, ...], options: PlantOptions) -> tuple[Sample, ...]:
    """Return the faces with the splits that `build pairs` gives them, as for the bundled model."""
    same = PairsOptions("", options.image, "", image_test_split=options.image_test_split)
    faces = pairs.distinct_pictures(faces, same, Counter())
    train = tuple(s for s in faces if s.split in ("train", ""))
    _, cut = splits.carve_validation(train, same.image_validation, same.seed)
    chosen = {s.id for s in cut}
    return tuple(replace(s, split="validation") if s.id in chosen else s for s in faces)


def _clear(
    samples: tuple[Sample, ...], modality: Literal["speech", "image"], options: PlantOptions
) -> tuple[Sample, ...]:
    """Return the neutral samples and those whose class the bundled model sees or hears clearly."""
    if not options.min_cue_prob:
        return samples
    from parallelnet.predictor import load

    candidates = [s for s in samples if s.label != NEUTRAL]
    said = load(n_threads=1).predict_each(candidates, modalities=modality)
    unclear = {
        s.id
        for s, p in zip(candidates, said, strict=True)
        if isinstance(p, Exception) or p.probs[s.label] < options.min_cue_prob
    }
    log.info("%s: %d of %d cues left out: not clear to the bundled model", modality, len(unclear), len(candidates))
    return tuple(s for s in samples if s.id not in unclear)


def _need(split: str, what: str, have: Mapping[str, Sequence[Sample]], wanted: Sequence[str]) -> None:
    for label in wanted:
        if not have.get(label):
            raise ManifestError(f"There is no {what}{f' of {label}' if label else ''} to plant in {split}.")
