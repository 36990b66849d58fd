"""Options of `build` and `inspect`: pairs of two corpora, and data sets from plain tweets (paper section 3.1)."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from .checks import ABOVE_0, AT_ONCE, FOLDS, FROM_0, TO_A_THIRD, Against, Allowed, Checked, between
from .running import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class PairsOptions(Checked):
    """How utterances and pictures of the same class become pairs.

    Attributes:
        speech: where the utterances are: CORPUS:PATH or a manifest.
        image: where the pictures are: CORPUS:PATH or a manifest.
        out: folder to make, with manifest.csv, speech and image inside.
        classes: the classes to use; empty uses every class that either side has.
        folds: number of folds to deal speakers and pictures to; 0 makes train, validation and test instead.
        per_class: pairs of each class in the training split, or in each fold; without it as many as the larger of
            utterances and pictures of that class there, at most 20,000.
        per_class_eval: pairs of each class in validation and in test; without it as many as the larger.
        seed: of dealing and pairing.
        link: `symlink` links to the corpora, which must stay where they are; `copy` makes DIR whole in itself.
        validation_speakers: speakers of the validation split, as the corpus names them, or their numbers.
        test_speakers: speakers of the test split.
        image_validation: part of the training pictures that becomes the validation split, where the picture corpus
            has none or its own is the test split.
        image_test_split: which split of the picture corpus is the test split; `auto` is its test split, or its
            validation split where it has no other, and the report says so.
        validation_fraction: size of the validation split where neither speakers nor the corpus give one.
        test_fraction: size of the test split where neither speakers nor the corpus give one.
        overwrite: replace another build in DIR.
    """

    speech: str
    image: str
    out: str
    classes: tuple[str, ...] = ()
    folds: Annotated[int, FOLDS] = 0
    per_class: Annotated[int | None, ABOVE_0] = None
    per_class_eval: Annotated[int | None, ABOVE_0] = None
    seed: Annotated[int, FROM_0] = 0
    link: Literal["symlink", "copy"] = "symlink"
    validation_speakers: tuple[str, ...] = ()
    test_speakers: tuple[str, ...] = ()
    image_validation: Annotated[float, TO_A_THIRD] = 0.1
    image_test_split: Literal["auto", "test", "validation"] = "auto"
    validation_fraction: Annotated[float, TO_A_THIRD] = 0.1
    test_fraction: Annotated[float, TO_A_THIRD] = 0.2
    overwrite: bool = False

    def _against(self) -> Against:
        yield (
            self.folds and (self.validation_speakers or self.test_speakers),
            "--folds deals all speakers, so --validation-speakers and --test-speakers cannot be given with it. "
            "Mend: leave out one of the two.",
        )


@dataclass(frozen=True, slots=True)
class TweetsOptions(Checked):
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

    COMMON: ClassVar = (
        "tweets out format images labels tts tts_model voices duplicates speech_teacher image_teacher rule threshold "
        "exclude limit workers executor seed dry_run overwrite"
    )

    tweets: str
    out: str
    format: Literal["auto", "b-t4sa", "mvsa", "csv", "jsonl", "parquet"] = "auto"
    images: str | None = None
    labels: Literal["emotion", "sentiment"] = "emotion"
    tts: str = "espeak-ng"
    tts_model: str | None = None
    voices: tuple[str, ...] = ()
    rate: Annotated[int, FROM_0] = 0
    pitch: Annotated[int, Allowed("0 to 99, or -1 for the engine's own", lambda pitch: -1 <= pitch <= 99)] = -1
    emoji: Literal["name", "drop"] = "name"
    max_characters: Annotated[int, ABOVE_0] = 1000
    max_pixels: Annotated[int, ABOVE_0] = MAX_PIXELS
    duplicates: Literal["sample", "any", "keep"] = "sample"
    near_bits: Annotated[int, between(0, 16)] = 4
    speech_teacher: str = "teacher-speech"
    image_teacher: str = "teacher-image"
    label_map: str | None = None
    renormalise: bool = True
    rule: Literal["max", "agree"] = "max"
    threshold: Annotated[float, between(0, 1)] = 0.5
    exclude: str | None = None
    rows_per_shard: Annotated[int, ABOVE_0] = 256
    limit: Annotated[int, FROM_0] = 0
    workers: Annotated[int, AT_ONCE] = 0
    executor: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    seed: Annotated[int, FROM_0] = 0
    dry_run: bool = False
    overwrite: bool = False

    def _against(self) -> Against:
        told = "--ray-address names a cluster, but --executor is not ray. Mend: add --executor ray."
        yield self.ray_address is not None and self.executor != "ray", told


@dataclass(frozen=True, slots=True)
class InspectOptions(Checked):
    """Show what a built data set holds: counts, drops by reason, teachers, examples.

    Attributes:
        data: folder that `build tweets` made.
        examples: rows to show of each class.
    """

    data: str = field(metadata={"positional": True})
    examples: Annotated[int, FROM_0] = 3
