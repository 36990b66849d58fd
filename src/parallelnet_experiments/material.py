"""Planted evidence as a folder that `parallelnet train --data` takes: files, and a manifest that says where cues are.

`parallelnet experiment plant TASK --out DIR ...`. Beside the columns of every manifest there are:

- `planted`: `cue`; for the class `none` half `decoy` (neutral speech, another picture's patch), half `nothing`;
- `cue_start_s`, `cue_end_s`, `cue_units`, `n_units`: when, in seconds and in units counted from 0;
- `cue_cell`, `grid`: where: row and column counted from 0, in a grid of rows x columns;
- `without_speech`, `without_image`: the same without the cue (validation and test), relative to the folder;
- `voice_source`, `face_source`, `background`: what was planted in what; `voice`, `face`: their emotions in pairs.
"""

import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from parallelnet import audio, records
from parallelnet.data.manifest import MANIFEST_CSV, write_manifest
from parallelnet.errors import ManifestError
from parallelnet.options import PLANT_TASKS, PlantOptions
from parallelnet.types import SPLITS, Sample

from .planting import NONE, Pictures, Plant, Voices, background, grey, plant_image, read_pictures, read_voices

PLANT_JSON = "plant.json"  # what the material was asked to be; written before its first file


@contextmanager
def held(*folders: Path) -> Iterator[None]:
    """Hold folders, made where they are missing, and say in one line that the disk is full.

    Raises:
        FullDiskError: what is finished is kept.
        ParallelNetError: another process writes there.
    """
    with records.full_disk_told(folders[0], "the same line goes on"), ExitStack() as stack:
        for folder in dict.fromkeys(each.absolute() for each in folders):  # one where they are the same
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(records.held(folder))
        yield


def plant(options: PlantOptions) -> Path:
    """Write the material and return its manifest, which is written last; a folder that is complete stays as it is.

    Raises:
        OptionError: options contradict each other, or those of the material that is there.
        ManifestError: sources that cannot be read, a split without cues, or a folder that holds something else.
        ParallelNetError: see `held`.
    """
    out = Path(options.out)
    facts, manifest = out / PLANT_JSON, out / MANIFEST_CSV
    with held(out):
        if not facts.is_file() and not records.is_empty(out):
            raise ManifestError(f"--out {out} holds something else. Mend: name another folder.")
        records.begun(facts, asdict(replace(options, out="")), place=out)
        if manifest.is_file():
            return manifest
        records.sweep(out)
        rows = list(_rows(options, out))
        if options.task == "pair":
            # What ears and eyes learn first, each from its own half: two small manifests beside the pairs'.
            for column in ("voice", "face"):
                write_manifest(out / f"{column}.csv", [replace(s, label=s.extra[column]) for s in rows])
        return write_manifest(manifest, rows)


def _rows(options: PlantOptions, out: Path) -> Iterator[Sample]:
    for name in ("speech", "image"):
        (out / name).mkdir(exist_ok=True)
    readers: dict[str, Callable[[PlantOptions], Mapping[str, Any]]] = {"speech": read_voices, "image": read_pictures}
    sources = [read(options) for name, read in readers.items() if name in options.needs]
    make: dict[str, Callable[..., Iterator[Sample]]] = {"speech": _speech, "image": _images, "pair": _pairs}
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng((options.seed, number))
        work = _Work(options, out, split, getattr(options, f"n_{split}"), rng)
        yield from make[options.task](work, *(found[split] for found in sources))


def published(plant: Mapping[str, Any]) -> dict[str, Any]:
    """Return the material's options without the places of one machine: a corpus' name, or a path's last part."""
    kept = {name: value for name, value in plant.items() if name != "out"}
    for name in ("speech", "image", "backgrounds"):
        corpus, colon, path = str(kept.get(name, "")).partition(":")
        kept[name] = corpus if colon else Path(corpus or path).name
    return kept


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

    def keep(self, kind: str, name: str, made: Plant, *, bare: bool = False) -> tuple[str, dict[str, str]]:
        """Write a clip or picture, and where something is measured its counterpart without the cue.

        Where `bare`, the counterpart stands in its place, too. Returns its path, and the columns about the cue.
        """
        path = self._write(kind, name, made.without if bare else made.signal)
        without = self._write(kind, f"{name}-without", made.without) if self.split != "train" else ""
        return str(self.out / path), {f"without_{kind}": without, **made.where}

    def _write(self, kind: str, name: str, signal: Any) -> str:
        # Write FLAC or PNG, whole or not at all, and return its path relative to the folder.
        import soundfile

        content = io.BytesIO()  # libsndfile has words of its own for a full disk
        if kind == "speech":
            soundfile.write(content, signal, audio.SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
        else:
            Image.fromarray(signal).save(content, format="PNG", compress_level=1)
        path = f"{kind}/{name}.{'flac' if kind == 'speech' else 'png'}"
        records.write_whole(self.out / path, lambda stream: stream.write(content.getbuffer()), sync=False)
        return path

    def labelled(self, labels: Sequence[str]) -> Iterator[tuple[str, str, str]]:
        """Yield name, class and `planted` of each sample of one modality; of `none`, every other one is a decoy."""
        for index, label in zip(range(self.n), itertools.cycle((*labels, NONE)), strict=False):
            decoy = index // (len(labels) + 1) % 2 == 0
            planted = "cue" if label != NONE else "decoy" if decoy else "nothing"
            yield f"{self.split}-{label}-{index:05d}", label, planted


def _speech(work: _Work, voices: Voices) -> Iterator[Sample]:
    cues = {label: work.cycle(voices.cues[label]) for label in work.options.voices}
    speakers = itertools.cycle(sorted(voices.neutral))
    for name, label, planted in work.labelled(work.options.voices):
        # A decoy has a part of another neutral utterance planted just like a cue.
        cue = voices.neutral[next(speakers)][0] if label == NONE else next(cues[label])
        made = voices.plant(cue, work.options, work.rng)
        clip, where = work.keep("speech", name, made, bare=planted == "nothing")
        extra = {"planted": planted, "voice_source": cue.id, **where}
        yield Sample(name, speech=clip, label=label, split=work.split, group=cue.group, extra=extra)


def _images(work: _Work, pictures: Pictures) -> Iterator[Sample]:
    rng, grid = work.rng, PLANT_TASKS[work.options.task].grid
    cues = {label: work.cycle(pictures.cues[label]) for label in work.options.faces}
    beds, others = work.cycle(pictures.backgrounds), work.cycle(pictures.backgrounds)
    for name, label, planted in work.labelled(work.options.faces):
        base = next(beds)
        bed = background(grey(base), grid, rng)
        source = next(others if label == NONE else cues[label])
        patch = Image.fromarray(background(grey(source), (1, 1), rng)) if label == NONE else grey(source)
        picture, where = work.keep("image", name, plant_image(bed, patch, grid, rng), bare=planted == "nothing")
        extra = {"planted": planted, "face_source": source.id, **where, "background": base.id}
        yield Sample(name, image=picture, label=label, split=work.split, image_group=base.image_group[:16], extra=extra)


def _pairs(work: _Work, voices: Voices, pictures: Pictures) -> Iterator[Sample]:
    """Yield pairs by fours: two clips and two pictures, each with each, so that each alone stands under both labels."""
    options, rng, grid = work.options, work.rng, PLANT_TASKS[work.options.task].grid
    heard = {label: work.cycle(voices.cues[label]) for label in options.voices}
    seen = {label: work.cycle(pictures.cues[label]) for label in options.faces}
    beds = work.cycle(pictures.backgrounds)
    for index in range(-(-work.n // 4)):
        clips, shown = [], []
        for voice, cues in heard.items():
            cue = next(cues)
            made = voices.plant(cue, options, rng)
            clips.append((voice, cue, *work.keep("speech", f"{work.split}-{voice}-{index:05d}", made)))
        base = next(beds)
        for face, cues in seen.items():
            source = next(cues)
            made = plant_image(background(grey(base), grid, rng), grey(source), grid, rng)
            shown.append((face, source, *work.keep("image", f"{work.split}-{face}-{index:05d}", made)))
        for (v, (voice, cue, speech, when)), (f, (face, source, image, where)) in itertools.product(
            enumerate(clips), enumerate(shown)
        ):
            facts = {"voice": voice, "face": face, "voice_source": cue.id, "face_source": source.id}
            yield Sample(
                f"{work.split}-{voice}-{face}-{index:05d}",
                speech=speech,
                image=image,
                label="agree" if v == f else "differ",
                split=work.split,
                group=cue.group,
                image_group=base.image_group[:16],
                extra={"planted": "cue", **facts, "background": base.id, **when, **where},
            )
