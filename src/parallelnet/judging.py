"""What of a voice and of a picture can be judged, and what speaks against it: decoded signals in, reasons out.

The only place that says so. `Predictor.hear` and `Predictor.see` ask it, and everything that predicts, explains,
evaluates or teaches goes through them; training asks for the same stretches. A part that holds nothing must not vote:
ten seconds of digital silence before an utterance moved its probabilities by 0.44 (mean of 83 RAVDESS utterances).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from . import audio, image
from .options import SignalOptions
from .types import ClipFrame, FaceCrop

BLOCK = audio.TRIM_SAMPLES  # 32 ms: levels are told for each; `audio.PIECE` holds a whole number of them

# Speech spans some 40 dB between its loudest vowels and its faintest sounds; RAVDESS hears its room 46 dB or more below
# the loudest 32 ms (median 84), and starts and ends with up to 1.1 s of that.
QUIET_DB = -45.0  # relative to the loudest block: what is softer holds nothing
QUIET_S = 2.0  # what holds nothing for longer is left out; shorter pauses belong to speech, and models learnt with them
# Of 0, 0.25, 0.5 and 0.75 s this changed the answers to 83 RAVDESS utterances least (by 0.032 in the mean).
LEAD_S = 0.25  # that stay of noise beside what is heard; digital silence goes to the sample
TOO_SHORT = "is too short to be judged."
LEFT_OUT = "hold nothing and were left out."
FLAT_S = 1.0  # of one value in longer quiet: somebody put it there; RAVDESS's own zeros last up to 0.9 s

SHORTEST_S = 0.3  # of sound: a vowel takes 0.1 to 0.2 s, and no shorter sound can be told from a click
FAINT = 2.0**-12  # of full scale, -72 dB: eight steps of 16-bit files, whose rounding is heard as noise then

LEAST_SIDE = 16  # pixels: below about 15 a face, people stop recognising it (Bachmann 1991)
PATCH = 8  # of the model's 128 pixels: means over such squares leave out noise and JPEG's traces
UNSEEN = 2 / 255  # that patches of one colour may differ by, 1 %: less is not seen by eyes either
DARKEST = 1 / 16  # of white: what 12-bit numbers in a file of 16 bits come to at most
SPECK = 0.02  # of all patches that may differ by more: a dot on a page is no picture


@dataclass(frozen=True, slots=True)
class Heard:
    """What of a recording can be judged.

    Attributes:
        waveform: the whole recording, float32 `[n_samples]` at 16 kHz; a long one is read by `np.asarray`.
        stretches: what is heard of it, in samples: at least one, in order, with nothing between them.
        reasons: to distrust an answer, one sentence each.
        sounds: False where all of it is one value.
    """

    waveform: audio.Kept
    stretches: tuple[slice, ...]
    reasons: tuple[str, ...]
    sounds: bool = True

    @property
    def part(self) -> audio.Kept:
        """From the first stretch to the end of the last: what the log-mel is made of."""
        return self.waveform[self.stretches[0].start : self.stretches[-1].stop]

    @property
    def offset_s(self) -> float:
        """Where `part` begins in the recording, in seconds."""
        return float(self.stretches[0].start / audio.SAMPLE_RATE_HZ)

    def starts(self, clip_s: float) -> tuple[int, ...]:
        """Return the first frame of each window of `part` that votes."""
        return tuple(sorted({start for starts in self.starts_by_stretch(clip_s) for start in starts}))

    def starts_by_stretch(self, clip_s: float) -> Iterator[list[int]]:
        """Yield the first frames of the windows of each stretch, which is cut as if it were alone."""
        step, first = audio.hop(clip_s), self.stretches[0].start
        n_frames = audio.n_frames(len(self.part), clip_s)
        for stretch in self.stretches:
            # A last stretch shorter than a window is heard with what lies before it.
            start = min(round((stretch.start - first) / step), n_frames - audio.N_FRAMES)
            end = n_frames if stretch is self.stretches[-1] else 1 + (stretch.stop - first) // step
            yield [start + at for at in audio.window_starts(end - start)]

    def windows(self, clip_s: float) -> audio.Windows:
        """Return the windows that vote, float32 `[n_windows, 1, 128 mels, 128 frames]` in [0, 1] where sliced."""
        return audio.cut(self.part, clip_s, self.starts(clip_s))


@dataclass(frozen=True, slots=True)
class Seen:
    """What of a picture can be judged.

    Attributes:
        rgb: the whole picture, uint8 `[h, w, 3]`, upright.
        pixels: what the model sees of it, float32 `[3, 128, 128]` in [0, 1].
        face: what was done to find the face.
        reasons: one sentence for each reason to distrust an answer.
        frame: which frame of a clip it is; None for a picture.
    """

    rgb: image.Pixels
    pixels: npt.NDArray[np.float32]
    face: FaceCrop
    reasons: tuple[str, ...]
    frame: ClipFrame | None = None


def hear(waveform: audio.Kept, signals: SignalOptions, notes: Sequence[str] = ()) -> Heard:
    """Return what of a recording can be judged.

    Args:
        waveform: float32 `[n_samples]` at 16 kHz, finite, not empty.
        signals: of the checkpoint: whether it trims, and how long its windows are.
        notes: what reading it had to say, which stands first among the reasons.
    """
    kept = audio.trim_slice(waveform) if signals.trim else slice(0, len(waveform))
    low, high = audio.extremes(waveform)
    levels = audio.by_block(waveform[kept], lambda x: x.var(axis=1, dtype=np.float64))  # a constant offset is no sound
    sounding = np.flatnonzero(levels > levels.max() * 10 ** (QUIET_DB / 10))  # none in a single value throughout
    found = _stretches(waveform[kept], sounding, max(high, -low))
    heard = Heard(waveform, tuple(slice(kept.start + a, kept.start + b) for a, b in found), (), bool(high > low))
    against = _against_speech(len(waveform), low, high, len(sounding))
    return replace(heard, reasons=(*notes, *against, *_left_out(heard, kept, signals.clip_s)))


def see(rgb: image.Pixels, signals: SignalOptions, which: int = 0) -> Seen:
    """Return what can be judged of a picture, uint8 `[h, w, 3]`, upright.

    `signals` say whether a face is sought, and `which` is taken of several, 0 for the largest.
    """
    crop, face = image.crop_face(rgb, signals.face, which)
    pixels = image.resize(crop)
    return Seen(rgb, pixels, face, tuple(_against_picture(pixels, face)))


def together(
    heard: Heard | None, seen: Seen | None, when_no_face: Literal["speech", "use"]
) -> tuple[Seen | None, tuple[str, ...]]:
    """Return what is seen of a sample, and all reasons to distrust an answer.

    With `speech`, an image without a face is left out where there is sound to judge.
    """
    if heard is not None and heard.sounds and seen is not None and not seen.face.known and when_no_face == "speech":
        return None, (*heard.reasons, "No face was found in the image: the speech alone decided.")
    return seen, tuple(reason for part in (heard, seen) if part for reason in part.reasons)


# --- speech -----------------------------------------------------------------------------------------------------------


def _stretches(waveform: audio.Kept, sounding: npt.NDArray[np.intp], peak: float) -> list[tuple[int, int]]:
    n = len(waveform)
    if not len(sounding):
        return [(0, n)]
    runs = np.split(sounding, np.flatnonzero(np.diff(sounding) - 1 > QUIET_S * audio.SAMPLE_RATE_HZ / BLOCK) + 1)
    # A click alone, such as that of a stop button, is no voice; where there is no more, it is all there is.
    long = [run for run in runs if len(run) * BLOCK >= SHORTEST_S * audio.SAMPLE_RATE_HZ] or runs
    loud = [(int(run[0]) * BLOCK, min((int(run[-1]) + 1) * BLOCK, n)) for run in long]
    quiet = [(end, start) for (_, end), (start, _) in pairwise([(0, 0), *loud, (n, n)])]
    edges = [_quiet_beside(waveform, end, start, peak) for end, start in quiet]
    found = [(start, stop) for (_, start), (stop, _) in pairwise(edges)]
    # A block may differ from one value in rounding alone; then it is flat to its end.
    return [own if own[0] < own[1] else block for own, block in zip(found, loud, strict=True)]


def _quiet_beside(waveform: audio.Kept, end: int, start: int, peak: float) -> tuple[int, int]:
    # Where the stretch before the quiet from `end` to `start` ends, and where the one behind it begins, in samples.
    # Short quiet belongs to both. Of longer quiet digital silence goes to the sample, so that an utterance with zeros
    # before it is the very utterance: networks answer otherwise where frames begin half a hop later.
    n, longest, lead = start - end, QUIET_S * audio.SAMPLE_RATE_HZ, round(LEAD_S * audio.SAMPLE_RATE_HZ)
    if n <= longest:
        return start, end
    around = slice(max(0, end - BLOCK), start + BLOCK)  # sound may begin or end within a block
    flat = [around.start + edge for edge in _flat(waveform[around], peak)]
    stop, begin = (flat[0], flat[-1]) if flat else (start, end)
    return (stop if stop - end <= longest else end + lead), (begin if start - begin <= longest else start - lead)


def _flat(quiet: audio.Kept, peak: float) -> list[int]:
    # First and end sample of each long run of one value; steps of 1e-5 of the peak are resampling's.
    found: list[int] = []
    start, before = 0, np.asarray(quiet[:1])
    for at, piece in audio.pieces(quiet, audio.PIECE):
        steps = np.flatnonzero(np.abs(np.diff(piece, prepend=before)) > 1e-5 * peak) + at
        end = [len(quiet)] if at + len(piece) == len(quiet) else []
        edges = np.concatenate([[start], steps, end]).astype(np.int64)
        long = np.flatnonzero(np.diff(edges) >= FLAT_S * audio.SAMPLE_RATE_HZ)
        found += [int(edges[k]) for run in long for k in (run, run + 1)]
        start, before = int(edges[-1]), piece[-1:]
    return found


def _against_speech(n_samples: int, low: float, high: float, n_sounding: int) -> Iterator[str]:
    sound_s = min(n_sounding * BLOCK, n_samples) / audio.SAMPLE_RATE_HZ
    swing = (high - low) / 2
    if low == high == 0:
        yield "The speech is digital silence: there was nothing to hear."
    elif sound_s < SHORTEST_S:
        yield f"The speech holds {sound_s:.2g} s of sound: less than {SHORTEST_S:g} s {TOO_SHORT}"
    elif swing < FAINT:
        yield f"The speech is all but silent, {-20 * np.log10(swing):.0f} dB below full scale: it may hold noise alone."


def _left_out(heard: Heard, kept: slice, clip_s: float) -> Iterator[str]:
    # How much of what was to be heard lies in no window that votes.
    step, n = audio.hop(clip_s), len(heard.part)
    starts = np.array(heard.starts(clip_s)) * step
    ends = np.minimum(starts + audio.N_FRAMES * step, n)
    covered = np.minimum(ends, np.append(starts[1:], n)) - starts
    whole = kept.stop - kept.start
    left_s = (whole - int(covered.sum())) / audio.SAMPLE_RATE_HZ
    if left_s >= 0.1:
        yield f"{left_s:.1f} s of {whole / audio.SAMPLE_RATE_HZ:.1f} s of speech {LEFT_OUT}"


# --- pictures ---------------------------------------------------------------------------------------------------------


def _against_picture(pixels: npt.NDArray[np.float32], face: FaceCrop) -> Iterator[str]:
    width, height = face.box[2:]
    n = image.SIZE // PATCH
    patches = pixels.reshape(3, n, PATCH, n, PATCH).mean(axis=(2, 4)).reshape(3, -1)
    differs = np.abs(patches - np.median(patches, axis=1, keepdims=True)) > UNSEEN
    if min(width, height) < LEAST_SIDE:
        yield f"The picture has {width} x {height} pixels: less than {LEAST_SIDE} a side is too small to be judged."
    elif differs.mean(axis=1).max() < SPECK:
        yield "The picture is all but one colour: there was nothing to see."
    elif patches.max() < DARKEST:
        yield (
            f"The picture is all but black, {patches.max():.1%} of white at its brightest, as 12 bits stored in 16 are."
        )
    if not face.known:
        yield "No face was found: the whole image was used, which is outside what this model knows."
