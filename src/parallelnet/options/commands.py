"""Options of the commands that run a model, and of every command's console."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import OptionError
from .checks import at_once, positive, require
from .signals import MAX_DURATION_S, MAX_PIXELS, LimitOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleOptions:
    """How a command speaks; every command has these.

    Attributes:
        json: print the result as JSON on standard output.
        quiet: no progress and no notes on standard error.
        debug: show where an error comes from.
    """

    json: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which model runs, and how.

    Attributes:
        checkpoint: bundled name, folder, or hf:OWNER/NAME; the bundled model when left out.
        device: `onnx` runs ONNX Runtime on the CPU; `cpu`, `cuda` and `mps` run torch (extra: train).
        int8: use the quantised graphs.
        face: `auto` crops the largest frontal face, `off` uses the whole picture; the checkpoint's own when left out.
        threads: CPU threads; 0 leaves the choice to the engine.
        max_duration_s: longest speech that is read, in seconds.
        max_pixels: largest picture that is decoded, in pixels (width times height); a baseline JPEG of up to four
            times as many is decoded at half its size.
    """

    checkpoint: str | None = None
    device: Literal["onnx", "cpu", "cuda", "mps"] = "onnx"
    int8: bool = False
    face: Literal["auto", "off"] | None = None
    threads: int = 0
    max_duration_s: float = MAX_DURATION_S
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        at_once("--threads", self.threads)
        _ = self.limits  # checks them
        if self.int8 and self.device != "onnx":
            raise OptionError(f"--int8 names quantised ONNX graphs, but --device is {self.device!r}. Leave out one.")

    @property
    def limits(self) -> LimitOptions:
        """How large an input may be."""
        return LimitOptions(self.max_duration_s, self.max_pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions(ModelOptions):
    """Say which emotion an utterance and a picture show, or either alone; with --manifest for many.

    Attributes:
        speech: utterance: wav, flac, ogg, opus, mp3, aiff, au or caf; others with the extra video.
        image: picture: jpeg, png, webp, gif, bmp, tiff or avif; heic with the extra video.
        manifest: csv, jsonl or parquet with columns speech and image (paths relative to it, inside its folder), or
            CORPUS:PATH; needs --out.
        out: csv with one row a sample of --manifest: status, reason, emotion, probabilities.
        resume: keep the finished rows of --out and do the others, with the same options and data; without it an --out
            that exists is refused.
        retry_failed: with --resume, try the samples again that failed before (a file may be back, a limit raised);
            --no-retry-failed keeps their rows.
        modalities: what is used of each row of --manifest: `both`, `speech` or `image`.
        labels: classes to choose from, their probabilities renormalised; all of the checkpoint's when left out.
    """

    speech: str | None = None
    image: str | None = None
    manifest: str | None = None
    out: str | None = None
    resume: bool = field(default=False, metadata={"with": ("manifest",)})
    retry_failed: bool = field(default=True, metadata={"with": ("manifest",)})
    modalities: Literal["both", "speech", "image"] = field(default="both", metadata={"with": ("manifest",)})
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Named, not super(): a slotted dataclass is a new class, which the compiler's __class__ does not know.
        ModelOptions.__post_init__(self)
        single = self.speech is not None or self.image is not None
        if self.manifest is None and not single:
            raise OptionError("Nothing to predict. Mend: give --speech FILE, --image FILE, both, or --manifest FILE.")
        if self.manifest is not None and single:
            raise OptionError("--manifest names many samples, --speech and --image one. Leave out one of the two.")
        if (self.manifest is None) != (self.out is None):
            raise OptionError("--manifest and --out go together: predictions of the manifest's rows go to --out FILE.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions(ModelOptions):
    """Measure a model on labelled samples; every figure with its 95 % bootstrap interval.

    Attributes:
        data: manifest, folder with manifest.csv, or CORPUS:PATH.
        modalities: what the model is given: `both`, or `speech` or `image` with the other at zero.
        split: part that is measured: `test`, `validation`, `train` or `all`; when left out, `test` where the manifest
            has splits, else all.
        target_column: where the truth stands: `label` (emotion) or `sentiment`.
        out: folder for metrics.json, confusion.csv, confusion.png and failures.csv.
        n_bootstrap: rounds of the bootstrap.
        resample: what a bootstrap round draws: `sample` (samples that share an utterance or picture go together), or
            `group`, which asks how it does on new speakers.
        seed: of the bootstrap.
    """

    data: str
    modalities: Literal["both", "speech", "image"] = "both"
    split: Literal["test", "validation", "train", "all"] | None = None
    target_column: Literal["label", "sentiment"] = "label"
    out: str | None = None
    n_bootstrap: int = 1000
    resample: Literal["sample", "group"] = "sample"
    seed: int = 0

    def __post_init__(self) -> None:
        ModelOptions.__post_init__(self)
        positive("--n-bootstrap", self.n_bootstrap)
        require(self.seed >= 0, "--seed", self.seed, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Write the ONNX graphs of a checkpoint from its weights (extra: train).

    Attributes:
        checkpoint: bundled name, folder, or hf:OWNER/NAME.
        out: folder for the whole checkpoint with its graphs; into the checkpoint itself when left out.
        int8: also write quantised graphs.
    """

    checkpoint: str = field(metadata={"positional": True})
    out: str | None = None
    int8: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Show what there is.

    Attributes:
        what: `variants` (networks of the paper's studies), `backbones`, `corpora` or `checkpoints`.
    """

    what: Literal["variants", "backbones", "corpora", "checkpoints"] = field(metadata={"positional": True})
