"""Planted evidence as a folder that `parallelnet train --data` takes: files, and a manifest that says where cues are.

`python -m parallelnet_experiments.material TASK --out DIR ...`. Beside the columns of every manifest there are:

- `planted`: `cue`; for the class `none` half `decoy` (neutral speech, another picture's patch), half `nothing`;
- `cue_start_s`, `cue_end_s`, `cue_units`, `n_units`: when, in seconds and in units counted from 0;
- `cue_cell`, `grid`: where: row and column counted from 0, in a grid of rows x columns;
- `without_speech`, `without_image`: the same without the cue (validation and test), relative to the folder;
- `voice_source`, `face_source`, `background`: what was planted in what; `voice`, `face`: their emotions in pairs.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from parallelnet import audio, records
from parallelnet.data.manifest import MANIFEST_CSV, write_manifest
from parallelnet.errors import ManifestError
from parallelnet.options import PLANT_TASKS, PlantOptions
from parallelnet.types import SPLITS, Sample

from .planting import NONE, Grey, ImagePlant, SpeechPlant, plant_image
from .sources import Pictures, Voices, read_pictures, read_voices

PLANT_JSON = "plant.json"
"""What the material was asked to be; written before its first file."""


def plant(options: PlantOptions) -> Path:
    """Write the material and return its manifest, which is written last; a folder that is complete stays as it is.

    Raises:
        OptionError: options contradict each other, or those of the material that is there.
        ManifestError: sources that cannot be read, a split without cues, or a folder that holds something else.
        ParallelNetError: another process writes there, or the disk is full.
    """
    out = Path(options.out)
    with records.full_disk_told(out, "the same line goes on"):
        out.mkdir(parents=True, exist_ok=True)
        with records.held(out):
            facts = out / PLANT_JSON
            if not facts.is_file() and not records.is_empty(out):
                raise ManifestError(f"--out {out} holds something else. Mend: name another folder.")
            records.begun(facts, asdict(replace(options, out="")), place=out)
            manifest = out / MANIFEST_CSV
            return manifest if manifest.is_file() else _plant(options, out)


def _plant(options: PlantOptions, out: Path) -> Path:
    records.sweep(out)
    for name in ("speech", "image"):
        (out / name).mkdir(exist_ok=True)
    voices = read_voices(options) if "speech" in options.needs else {}
    pictures = read_pictures(options) if "image" in options.needs else {}
    rows: list[Sample] = []
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng((options.seed, number))
        work = _Work(options, out, split, getattr(options, f"n_{split}"), rng)
        if options.task == "pair":
            rows += _pairs(work, voices[split], pictures[split])
        elif options.task == "speech":
            rows += _speech(work, voices[split])
        else:
            rows += _images(work, pictures[split])
    if options.task == "pair":
        # What ears and eyes learn first, each from its own half: two small manifests beside the pairs'.
        for column in ("voice", "face"):
            write_manifest(out / f"{column}.csv", [replace(s, label=s.extra[column]) for s in rows])
    return write_manifest(out / MANIFEST_CSV, rows)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is made for one split."""

    options: PlantOptions
    out: Path
    split: str
    n: int
    rng: np.random.Generator

    def cycle(self, items: Sequence[Sample]) -> Iterator[Sample]:
        """Yield the items round and round, each as often as the others."""
        return itertools.cycle([items[k] for k in self.rng.permutation(len(items))])

    def keep_speech(self, name: str, plant: SpeechPlant) -> tuple[str, dict[str, str]]:
        """Write a clip and its counterpart; return their paths and the columns that say where the cue is."""
        path = self._flac(name, plant.waveform)
        without = self._flac(f"{name}-without", plant.without) if self.counterparts else ""
        start_s, end_s = (f"{k / audio.SAMPLE_RATE_HZ:.3f}" for k in (plant.start, plant.end))
        where = {"cue_start_s": start_s, "cue_end_s": end_s, "cue_units": " ".join(map(str, plant.units))}
        columns = {"without_speech": without, **where, "n_units": str(self.options.units)}
        return str(self.out / path), columns

    def keep_image(self, name: str, plant: ImagePlant) -> tuple[str, dict[str, str]]:
        """Write a picture and its counterpart likewise."""
        path = self._png(name, plant.pixels)
        without = self._png(f"{name}-without", plant.without) if self.counterparts else ""
        where = {
            "cue_cell": f"{plant.cell[0]} {plant.cell[1]}",
            "grid": "{}x{}".format(*PLANT_TASKS[self.options.task].grid),
        }
        return str(self.out / path), {"without_image": without, **where}

    @property
    def counterparts(self) -> bool:
        """True where clips without their cue are written, too: where something is measured."""
        return self.split != "train"

    def _flac(self, name: str, wave: audio.Waveform) -> str:
        import soundfile

        path = f"speech/{name}.flac"
        content = io.BytesIO()  # libsndfile has words of its own for a full disk
        soundfile.write(content, wave, audio.SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
        records.write_whole(self.out / path, lambda stream: stream.write(content.getbuffer()), sync=False)
        return path

    def _png(self, name: str, pixels: Grey) -> str:
        path = f"image/{name}.png"
        picture = Image.fromarray(pixels)
        records.write_whole(
            self.out / path, lambda stream: picture.save(stream, format="PNG", compress_level=1), sync=False
        )
        return path


def _speech(work: _Work, voices: Voices) -> Iterator[Sample]:
    options, rng = work.options, work.rng
    cues = {label: work.cycle(voices.cues[label]) for label in options.voices}
    speakers = itertools.cycle(sorted(voices.neutral))
    for index, label in zip(range(work.n), itertools.cycle((*options.voices, NONE)), strict=False):
        name = f"{work.split}-{label}-{index:05d}"
        # Of `none`, every other one has a part of another neutral utterance planted just like a cue.
        cue = voices.neutral[next(speakers)][0] if label == NONE else next(cues[label])
        made = voices.plant(cue, options, rng)
        decoy = label == NONE and index // (len(options.voices) + 1) % 2 == 0
        if label == NONE and not decoy:
            made = replace(made, waveform=made.without)
        clip, where = work.keep_speech(name, made)
        planted = "cue" if label != NONE else "decoy" if decoy else "nothing"
        extra = {"planted": planted, "voice_source": cue.id}
        yield Sample(name, speech=clip, label=label, split=work.split, group=cue.group, extra=extra | where)


def _images(work: _Work, pictures: Pictures) -> Iterator[Sample]:
    options, rng = work.options, work.rng
    grid = PLANT_TASKS[options.task].grid
    cues = {label: work.cycle(pictures.cues[label]) for label in options.faces}
    beds, others = work.cycle(pictures.backgrounds), work.cycle(pictures.backgrounds)
    for index, label in zip(range(work.n), itertools.cycle((*options.faces, NONE)), strict=False):
        name = f"{work.split}-{label}-{index:05d}"
        base = next(beds)
        bed = pictures.bed(base, grid, rng)
        source = next(others) if label == NONE else next(cues[label])
        patch = pictures.bed(source, (1, 1), rng) if label == NONE else pictures.face(source)
        made = plant_image(bed, patch, grid, rng)
        decoy = label == NONE and index // (len(options.faces) + 1) % 2 == 0
        if label == NONE and not decoy:
            made = replace(made, pixels=made.without)
        picture, where = work.keep_image(name, made)
        planted = "cue" if label != NONE else "decoy" if decoy else "nothing"
        extra = {"planted": planted, "face_source": source.id}
        group = base.image_group[:16]
        yield Sample(
            name,
            image=picture,
            label=label,
            split=work.split,
            image_group=group,
            extra=extra | where | {"background": base.id},
        )


def _pairs(work: _Work, voices: Voices, pictures: Pictures) -> Iterator[Sample]:
    """Yield pairs by fours: two clips and two pictures, each with each, so that each alone stands under both labels."""
    options, rng = work.options, work.rng
    grid = PLANT_TASKS[options.task].grid
    heard = {label: work.cycle(voices.cues[label]) for label in options.voices}
    seen = {label: work.cycle(pictures.cues[label]) for label in options.faces}
    beds = work.cycle(pictures.backgrounds)
    for index in range(-(-work.n // 4)):
        clips, shown = [], []
        for voice in options.voices:
            cue = next(heard[voice])
            made = voices.plant(cue, options, rng)
            clips.append((voice, cue, work.keep_speech(f"{work.split}-{voice}-{index:05d}", made)))
        base = next(beds)
        for face in options.faces:
            source = next(seen[face])
            made_image = plant_image(pictures.bed(base, grid, rng), pictures.face(source), grid, rng)
            shown.append((face, source, work.keep_image(f"{work.split}-{face}-{index:05d}", made_image)))
        for v, (voice, cue, (clip, when)) in enumerate(clips):
            for f, (face, source, (picture, where)) in enumerate(shown):
                yield Sample(
                    f"{work.split}-{voice}-{face}-{index:05d}",
                    speech=clip,
                    image=picture,
                    label="agree" if v == f else "differ",
                    split=work.split,
                    group=cue.group,
                    image_group=base.image_group[:16],
                    extra={
                        "planted": "cue",
                        "voice": voice,
                        "face": face,
                        "voice_source": cue.id,
                        "face_source": source.id,
                        "background": base.id,
                        **when,
                        **where,
                    },
                )
