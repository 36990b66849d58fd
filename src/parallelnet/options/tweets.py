"""Options of `build tweets` and `inspect`: from plain tweets to a speech+image data set (paper section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import OptionError
from .checks import at_once, positive, require
from .signals import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class TweetsOptions:
    """Speak tweets, have two teachers name their emotions, and write a speech+image data set (paper 3.1).

    Attributes:
        tweets: table of tweets, or folder of MVSA or B-T4SA.
        out: folder to make: data/*.parquet, rejected.parquet, README.md, gallery.html and, last, dataset.json.
        format: what `tweets` is; `auto` goes by its name and what is inside.
        images: folder that picture paths are relative to; the folder of `tweets` when left out.
        labels: `emotion` asks the teachers; `sentiment` keeps the source's own and drops nothing for confidence.
        tts: engine that speaks: `espeak-ng` (extra: tts), `flite` (where it is installed), `piper` (needs
            --tts-model and its package).
        tts_model: voice file of the engine, where it needs one.
        voices: the engine's voices, spread over the rows by seed; its usual ones when empty.
        rate: words a minute; 0 leaves the engine's own.
        pitch: 0 to 99, for engines that have it; -1 leaves the engine's own.
        emoji: `name` speaks an emoji's name, `drop` leaves it out.
        max_characters: longest cleaned text that is spoken.
        max_pixels: largest picture that is decoded, in pixels (width times height); a baseline JPEG of up to four
            times as many is decoded at half its size.
        duplicates: `sample` drops a row whose text and picture both stood in earlier rows, `any` one of which either
            did, `keep` none.
        near_bits: largest number of differing bits, of 64, at which two pictures are the same: 0 to 16; above 8 the
            search is slow.
        speech_teacher: bundled name, folder, hf:OWNER/NAME of a checkpoint of ours, or hf-model:NAME of a Hugging
            Face audio classification model; the bundled one when left out.
        image_teacher: the same for pictures.
        label_map: JSON file {own class: our class or null} for teachers whose classes have other names.
        renormalise: after merging a teacher's classes to ours, scale them to sum to 1 again.
        rule: `max` lets the surer teacher decide (the paper's), `agree` keeps only rows where both name one emotion.
        threshold: smallest deciding probability that is kept.
        exclude: csv with a column `id`: rows to leave out, as marked by hand in gallery.html.
        rows_per_shard: rows of the input that become one shard.
        limit: read only so many rows; 0 reads all.
        workers: processes that work at the same time; 0 takes one for each CPU core.
        executor: `local` processes, or `ray` (extra: ray).
        ray_address: cluster to join; a local one is started when left out.
        seed: of the choice of voices.
        dry_run: say what would be built, and build the first 20 rows into a temporary folder only.
        overwrite: replace another build in DIR.
    """

    tweets: str
    out: str
    format: Literal["auto", "b-t4sa", "mvsa", "csv", "jsonl", "parquet"] = "auto"
    images: str | None = None
    labels: Literal["emotion", "sentiment"] = "emotion"
    tts: str = "espeak-ng"
    tts_model: str | None = None
    voices: tuple[str, ...] = ()
    rate: int = 0
    pitch: int = -1
    emoji: Literal["name", "drop"] = "name"
    max_characters: int = 1000
    max_pixels: int = MAX_PIXELS
    duplicates: Literal["sample", "any", "keep"] = "sample"
    near_bits: int = 4
    speech_teacher: str = "teacher-speech"
    image_teacher: str = "teacher-image"
    label_map: str | None = None
    renormalise: bool = True
    rule: Literal["max", "agree"] = "max"
    threshold: float = 0.5
    exclude: str | None = None
    rows_per_shard: int = 256
    limit: int = 0
    workers: int = 0
    executor: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    seed: int = 0
    dry_run: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("max_characters", "max_pixels", "rows_per_shard"):
            positive(f"--{name.replace('_', '-')}", getattr(self, name))
        at_once("--workers", self.workers)
        for name in ("limit", "seed", "rate"):
            require(getattr(self, name) >= 0, f"--{name}", getattr(self, name), "0 or more")
        require(-1 <= self.pitch <= 99, "--pitch", self.pitch, "0 to 99, or -1 for the engine's own")
        require(0 <= self.near_bits <= 16, "--near-bits", self.near_bits, "0 to 16")
        require(0 <= self.threshold <= 1, "--threshold", self.threshold, "0 to 1")
        if self.ray_address is not None and self.executor != "ray":
            raise OptionError("--ray-address names a cluster, but --executor is not ray. Mend: add --executor ray.")


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """Show what a built data set holds: counts, drops by reason, teachers, examples.

    Attributes:
        data: folder that `build tweets` made.
        examples: rows to show of each class.
    """

    data: str = field(metadata={"positional": True})
    examples: int = 3

    def __post_init__(self) -> None:
        require(self.examples >= 0, "--examples", self.examples, "0 or more")
