"""Options of the commands that run a model, of every command's console, and of how files become tensors."""

import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from .checks import ABOVE_0, AT_ONCE, FROM_0, Against, Allowed, Checked, between

MAX_DURATION_S = 900.0
MAX_PIXELS = 50_000_000  # the 50-megapixel cameras of phones (8160 x 6120); 0.35 to 1 GB while it is decoded

# Flags that say nothing where there is no such part of the sample, or no --manifest (checks.companions).
_SPEECH = {"with": ("speech", "manifest", "file")}
_IMAGE = {"with": ("image", "manifest", "file")}
_MANIFEST = {"with": ("manifest",)}
_POSITIONAL = {"positional": True}
_ONE_FACE = "--face all judges each face of an image, which predict does alone. Mend: --face auto, the largest."


def _rows_columns(grid: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,3})x([0-9]{1,3})", grid.lower())
    return (int(found[1]), int(found[2])) if found else (0, 0)


_GRID = Allowed(
    "ROWSxCOLUMNS of 1 to 128 each, for instance 4x4",
    lambda grid: all(1 <= side <= 128 for side in _rows_columns(grid)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleOptions(Checked):
    """How a command speaks; every command has these.

    Attributes:
        json: print the result as JSON on standard output.
        quiet: no progress and no notes on standard error.
        debug: show where an error comes from.
    """

    json: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, slots=True)
class SignalOptions(Checked):
    """How files become tensors (design section 4); kept in the checkpoint.

    Attributes:
        clip_s: length of one speech window in seconds; 128 frames always, so the hop is a 128th of it.
        trim: cut silence from both ends of the speech before anything else.
        face: `auto` crops the largest face of each picture, `off` uses it whole.
    """

    # Below 0.512 s a hop is shorter than 64 samples: a 1024-point window then sees every sound 16 times over.
    clip_s: Annotated[float, between(0.5, 30, " seconds")] = 4.096
    trim: bool = False
    face: Literal["auto", "off"] = "off"


@dataclass(frozen=True, slots=True)
class LimitOptions(Checked):
    """How large an input may be.

    Attributes:
        max_duration_s: longest speech that is read, in seconds.
        max_pixels: largest picture that is decoded, in pixels (width times height); a baseline JPEG of up to four
            times as many is decoded at half its size.
    """

    max_duration_s: Annotated[float, ABOVE_0] = MAX_DURATION_S
    max_pixels: Annotated[int, ABOVE_0] = MAX_PIXELS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions(LimitOptions):
    """Which model runs, and how.

    Attributes:
        checkpoint: bundled name, folder, or hf:OWNER/NAME; the bundled model when left out.
        device: `onnx` runs ONNX Runtime on the CPU; `cpu`, `cuda` and `mps` run torch (extra: train).
        int8: use the quantised graphs.
        face: `auto` crops the largest face, `off` uses the whole picture, `all` judges each face (predict); the
            checkpoint's own when left out.
        when_no_face: where no face is found beside speech, let the `speech` alone decide, or `use` the whole image;
            `speech` when left out, and `use` for a checkpoint that learnt from whole scenes.
        threads: CPU threads; 0 leaves the choice to the engine.
    """

    checkpoint: str | None = None
    device: Literal["onnx", "cpu", "cuda", "mps"] = "onnx"
    int8: bool = False
    face: Literal["auto", "off", "all"] | None = None
    when_no_face: Literal["speech", "use"] | None = None
    threads: Annotated[int, AT_ONCE] = 0

    def _against(self) -> Against:
        told = f"--int8 names quantised ONNX graphs, but --device is {self.device!r}. Leave out one."
        yield self.int8 and self.device != "onnx", told
        told = "--when-no-face says what decides where no face is found, and --face off seeks none. Leave out one."
        yield self.face == "off" and self.when_no_face is not None, told

    @property
    def limits(self) -> LimitOptions:
        """How large an input may be."""
        return LimitOptions(self.max_duration_s, self.max_pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions(ModelOptions):
    """What the model is given: one sample, or many.

    Attributes:
        file: a clip, whose sound and best frames are the sample (extra: video); or give --speech, --image, or both.
        speech: utterance: wav, flac, ogg, opus, mp3, aiff, au or caf; others with the extra video.
        image: picture: jpeg, png, webp, gif, bmp, tiff or avif; heic with the extra video.
        manifest: csv, jsonl or parquet with columns speech and image (paths relative to it, inside its folder), or
            CORPUS:PATH; needs --out.
        resume: with --manifest, keep what is finished in --out and do the others, with the same options and data;
            without it an --out that is there already is refused.
        retry_failed: with --resume, try the samples again that failed before (a file may be back, a limit raised);
            --no-retry-failed keeps their rows.
        labels: classes to choose from, their probabilities renormalised; all of the checkpoint's when left out.
    """

    file: str | None = field(default=None, metadata=_POSITIONAL)
    speech: str | None = None
    image: str | None = None
    manifest: str | None = None
    resume: bool = field(default=False, metadata=_MANIFEST)
    retry_failed: bool = field(default=True, metadata=_MANIFEST)
    labels: tuple[str, ...] = ()

    def _against(self) -> Against:
        # Named, not super(): a slotted dataclass is a new class, which the compiler's __class__ does not know.
        yield from ModelOptions._against(self)
        parts = self.speech is not None or self.image is not None
        told = "--manifest names many samples, --speech and --image one. Leave out one of the two."
        yield self.manifest is not None and parts, told
        told = (
            "FILE is a clip with all of a sample; --speech, --image and --manifest name others. Leave out one of them."
        )
        yield self.file is not None and (parts or self.manifest is not None), told


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions(SampleOptions):
    """Say which emotion an utterance and a picture show, or either alone; with --manifest for many.

    Attributes:
        out: csv with one row a sample of --manifest: status, reason, emotion, probabilities.
        modalities: what is used of each row of --manifest: `both`, `speech` or `image`.
    """

    out: str | None = None
    modalities: Literal["both", "speech", "image"] = field(default="both", metadata=_MANIFEST)

    def _against(self) -> Against:
        yield from SampleOptions._against(self)
        told = "--manifest and --out go together: predictions of the manifest's rows go to --out FILE."
        yield (self.manifest is None) != (self.out is None), told


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions(SampleOptions):
    """Say why: which words, which part of the picture, and what only the two together told; --manifest for many.

    Attributes:
        out: folder for report.html, explanation.json, plots and sounds; with --manifest one a sample, and index.html.
            (Of one sample, what an earlier explanation left there is replaced.)
        method: `owen` (exact on the binary division, the values add up), `paper` (paper section 3.3 to the letter),
            `exact` (Shapley values and every interaction of a speech unit with a cell; few units), or `sampled`.
        units: `words` or `segments` of equal length; when left out, words where they are known, else segments.
        n_segments: equal segments, where units are segments.
        grid: rows x columns of picture cells, say 4x4.
        superpixels: about how many superpixels (SLIC) divide the picture, in place of --grid; 0 for a grid.
        mel_bands: bands that the spectrogram is divided into as well, for the paper's division in two dimensions; their
            values are summed to each unit's.
        text: what is said; its words are aligned with the speech.
        word_times: JSON file of [[word, start in s, end in s], ...], where the words' times are known.
        transcribe: let a recogniser find the words.
        stt: recogniser: `pocketsphinx` (offline) or `whisper`; each is an extra (stt, whisper).
        stt_model: folder or name of the recogniser's model; pocketsphinx brings its own.
        target: class that is explained, or `label` for the truth in --manifest (paper Eq. 4); the predicted one when
            left out.
        score: what is explained: the `probability` of a class, or its `log-odds`.
        baseline_speech: what absent speech is replaced by: `silence`, `band-floor`, `mean` or `blur`.
        baseline_image: what absent cells are replaced by: `black`, `mean` or `blur`.
        sensitivity: explain under every pair of baselines, and say how far they agree.
        percentile: speech units whose value lies below this percentile are silenced in what is played and read.
        listen: let the recogniser write down what is left after silencing (paper section 3.3).
        invert: also rebuild speech from the masked spectrogram, which the paper tried and rejected, to hear why.
        n_samples: pairs of random orders, for `sampled`.
        seed: of the random orders.
        memory_mb: most memory for the features and tables of an explanation, in MB.
    """

    COMMON: ClassVar = (
        "file speech image manifest out resume checkpoint labels method units n_segments grid text word_times "
        "transcribe stt target baseline_speech baseline_image sensitivity listen"
    )

    out: str | None = None
    method: Literal["owen", "paper", "exact", "sampled"] = "owen"
    units: Literal["words", "segments"] | None = field(default=None, metadata=_SPEECH)
    n_segments: Annotated[int, between(1, 512)] = field(default=16, metadata=_SPEECH)
    grid: Annotated[str, _GRID] = field(default="4x4", metadata=_IMAGE)
    superpixels: Annotated[int, Allowed("2 to 512", lambda n: n == 0 or 2 <= n <= 512)] = field(
        default=0, metadata=_IMAGE
    )
    mel_bands: Annotated[int, between(1, 128)] = field(default=1, metadata=_SPEECH)
    text: str | None = field(default=None, metadata=_SPEECH)
    word_times: str | None = field(default=None, metadata=_SPEECH)
    transcribe: bool = field(default=False, metadata=_SPEECH)
    stt: Literal["pocketsphinx", "whisper"] = field(default="pocketsphinx", metadata=_SPEECH)
    stt_model: str | None = field(default=None, metadata=_SPEECH)
    target: str | None = None
    score: Literal["probability", "log-odds"] = "probability"
    baseline_speech: Literal["silence", "band-floor", "mean", "blur"] = field(default="silence", metadata=_SPEECH)
    baseline_image: Literal["black", "mean", "blur"] = field(default="black", metadata=_IMAGE)
    sensitivity: bool = False
    percentile: Annotated[float, Allowed("0 up to, not including, 100", lambda p: 0 <= p < 100)] = field(
        default=30.0, metadata=_SPEECH
    )
    listen: bool = field(default=False, metadata=_SPEECH)
    invert: bool = field(default=False, metadata=_SPEECH)
    n_samples: Annotated[int, Allowed("2 or more: fewer have no standard error", lambda n: n >= 2)] = 32
    seed: Annotated[int, FROM_0] = 0
    memory_mb: Annotated[int, Allowed("16 or more", lambda mb: mb >= 16)] = 1024

    def _against(self) -> Against:
        yield from SampleOptions._against(self)
        yield self.face == "all", _ONE_FACE
        many, sources = self.manifest is not None, (self.text, self.word_times, self.transcribe or None)
        flags = zip(("--text", "--word-times", "--transcribe"), sources, strict=True)
        given = " and ".join(flag for flag, value in flags if value is not None)
        yield from (
            (
                many and self.out is None,
                "--manifest needs --out DIR: each sample's explanation becomes a folder there.",
            ),
            (self.resume and not many, "--resume goes with --manifest; one sample is explained anew."),
            (" and " in given, f"{given} each say which words are spoken. Leave out all but one."),
            (
                many and given not in ("", "--transcribe"),
                f"{given} belongs to one sample; a --manifest has columns text and word_times.",
            ),
            (
                self.units == "segments" and given,
                f"--units segments has no use for {given}. Leave out one of the two.",
            ),
        )

    @property
    def rows_columns(self) -> tuple[int, int]:
        """Rows and columns of the picture's cells, 1 to 128 each."""
        return _rows_columns(self.grid)


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
    n_bootstrap: Annotated[int, ABOVE_0] = 1000
    resample: Literal["sample", "group"] = "sample"
    seed: Annotated[int, FROM_0] = 0

    def _against(self) -> Against:
        yield from ModelOptions._against(self)
        yield self.face == "all", _ONE_FACE


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions(Checked):
    """Write the ONNX graphs of a checkpoint from its weights (extra: train).

    Attributes:
        checkpoint: bundled name, folder, or hf:OWNER/NAME.
        out: folder for the whole checkpoint with its graphs; into the checkpoint itself when left out.
        int8: also write quantised graphs.
    """

    checkpoint: str = field(metadata=_POSITIONAL)
    out: str | None = None
    int8: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions(Checked):
    """Show what there is.

    Attributes:
        what: `variants` (networks of the paper's studies), `backbones`, `corpora` or `checkpoints`.
    """

    what: Literal["variants", "backbones", "corpora", "checkpoints"] = field(metadata=_POSITIONAL)
