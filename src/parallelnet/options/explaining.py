"""Options of `explain`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import OptionError
from .checks import require
from .commands import ModelOptions

# Flags that divide or replace a part of the sample say nothing where there is no such part (checks.companions).
_SPEECH = {"with": ("speech", "manifest")}
_IMAGE = {"with": ("image", "manifest")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions(ModelOptions):
    """Say why: which words, which part of the picture, and what only the two together told; --manifest for many.

    Attributes:
        speech: utterance: wav, flac, ogg, opus, mp3, aiff, au or caf; others with the extra video.
        image: picture: jpeg, png, webp, gif, bmp, tiff or avif; heic with the extra video.
        manifest: csv, jsonl or parquet with columns speech and image (paths relative to it, inside its folder), or
            CORPUS:PATH; needs --out.
        out: folder for report.html, explanation.json, plots and sounds; with --manifest one a sample, and index.html.
        resume: with --manifest, keep the finished samples of --out and do the others, with the same options and data;
            without it an --out that is not empty is refused. (Of one sample, what an earlier explanation left there is
            replaced.)
        retry_failed: with --resume, try the samples again that failed before (a file may be back, a limit raised);
            --no-retry-failed keeps their rows.
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
        labels: classes to choose from, their probabilities renormalised; all of the checkpoint's when left out.
        n_samples: pairs of random orders, for `sampled`.
        seed: of the random orders.
        memory_mb: most memory for the features and tables of an explanation, in MB.
    """

    speech: str | None = None
    image: str | None = None
    manifest: str | None = None
    out: str | None = None
    resume: bool = False
    retry_failed: bool = True
    method: Literal["owen", "paper", "exact", "sampled"] = "owen"
    units: Literal["words", "segments"] | None = field(default=None, metadata=_SPEECH)
    n_segments: int = field(default=16, metadata=_SPEECH)
    grid: str = field(default="4x4", metadata=_IMAGE)
    superpixels: int = field(default=0, metadata=_IMAGE)
    mel_bands: int = field(default=1, metadata=_SPEECH)
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
    percentile: float = field(default=30.0, metadata=_SPEECH)
    listen: bool = field(default=False, metadata=_SPEECH)
    invert: bool = field(default=False, metadata=_SPEECH)
    labels: tuple[str, ...] = ()
    n_samples: int = 32
    seed: int = 0
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        ModelOptions.__post_init__(self)
        single = self.speech is not None or self.image is not None
        if self.manifest is not None and single:
            raise OptionError("--manifest names many samples, --speech and --image one. Leave out one of the two.")
        if self.manifest is not None and self.out is None:
            raise OptionError("--manifest needs --out DIR: each sample's explanation becomes a folder there.")
        if self.resume and self.manifest is None:
            raise OptionError("--resume goes with --manifest; one sample is explained anew.")
        require(1 <= self.n_segments <= 512, "--n-segments", self.n_segments, "1 to 512")
        require(1 <= self.mel_bands <= 128, "--mel-bands", self.mel_bands, "1 to 128")
        require(self.superpixels == 0 or 2 <= self.superpixels <= 512, "--superpixels", self.superpixels, "2 to 512")
        _ = self.rows_columns  # checks them
        require(0 <= self.percentile < 100, "--percentile", self.percentile, "0 up to, not including, 100")
        require(self.n_samples >= 2, "--n-samples", self.n_samples, "2 or more: fewer have no standard error")
        require(self.seed >= 0, "--seed", self.seed, "0 or more")
        require(self.memory_mb >= 16, "--memory-mb", self.memory_mb, "16 or more")
        sources = {"--text": self.text, "--word-times": self.word_times, "--transcribe": self.transcribe or None}
        given = [flag for flag, value in sources.items() if value is not None]
        if len(given) > 1:
            raise OptionError(f"{' and '.join(given)} each say which words are spoken. Leave out all but one.")
        if self.manifest is not None and given and given != ["--transcribe"]:
            raise OptionError(f"{given[0]} belongs to one sample; a --manifest has columns text and word_times.")
        if self.units == "segments" and given:
            raise OptionError(f"--units segments has no use for {given[0]}. Leave out one of the two.")

    @property
    def rows_columns(self) -> tuple[int, int]:
        """Rows and columns of the picture's cells.

        Raises:
            OptionError: not `RxC` of 1 to 128 each.
        """
        rows, cross, columns = self.grid.lower().partition("x")
        sound = bool(cross) and all(
            side.isascii() and side.isdigit() and 1 <= int(side) <= 128 for side in (rows, columns)
        )
        require(sound, "--grid", self.grid, "ROWSxCOLUMNS of 1 to 128 each, for instance 4x4")
        return int(rows), int(columns)
