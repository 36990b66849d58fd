"""Players of an explanation: which part of the log-mel and of the picture each owns, and how they are divided.

Paper section 3.3 and Fig. 2 divide each modality in two "for a specified number of times"; design section 7 says into
what. Speech units own frames (with mel bands: frames of a band), picture units own pixels of the model's square.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import audio, image
from ..errors import InputError, entry, needed
from ..options import SignalOptions
from ..types import Modality
from .parts import DivisionNode, SpeechUnit
from .units import MOST_UNITS, frame_owners

Owners = npt.NDArray[np.int16]
Signal = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

# Compactness 20 in CIELAB, after a blur of one pixel. With scikit-image's 10 and none, small regions of busy pictures
# are joined until few are left (24 asked for: 13 on the astronaut, 1 on noise); with 50 regions are nearly the grid.
SLIC = {"compactness": 20.0, "sigma": 1.0}
FLOOR_PERCENTILE = 5  # of a mel band over the utterance: the recording's background noise
SPEECH_BLUR_FRAMES = 8.0  # sigma; 256 ms at the default hop: words melt, the voice's colour and level stay
IMAGE_BLUR_PIXELS = 12.0  # sigma, of 128: eyes and mouth are gone, light and skin stay


@dataclass(frozen=True, slots=True)
class Players:
    """The players of one modality, what they own, and what stands there without them.

    Attributes:
        owners: int16, for speech `[128 mels, n_frames]`, for a picture `[128, 128]`: whose each cell or pixel is; -1
            is nobody's and never masked (padding after the speech).
        n: players; 0 to n - 1 are all in `owners`.
        division: the binary division, root first, parents before their halves. `units` of a node are player numbers,
            a leaf has one.
        signal: float32 in [0, 1], the log-mel `[1, 128, n_frames]`, 128 frames or more, or the pixels `[3, 128, 128]`.
        baseline: of the same shape, what absent players' cells are replaced by.
        starts: first frame of each window; a picture is one.
    """

    owners: Owners
    n: int
    division: tuple[DivisionNode, ...]
    signal: Signal
    baseline: Signal
    starts: tuple[int, ...] = (0,)


# --- who owns which pixel ---------------------------------------------------------------------------------------------


def grid_owners(rows: int, columns: int, seen: tuple[int, int] | None = None) -> Owners:
    """Return the cell that each pixel of the model's square lies in, int16 `[128, 128]`, numbered row by row.

    A pixel belongs to the cell that holds its centre: where 128 does not divide evenly, cells differ by one pixel.

    Raises:
        InputError: the grid is finer than what the model saw (`seen`: width and height in pixels of the picture), and
            would ask about pixels that resizing invented, or finer than the model's square.
    """
    width, height = seen or (image.SIZE, image.SIZE)
    most = min(height, image.SIZE), min(width, image.SIZE)
    if not (1 <= rows <= most[0] and 1 <= columns <= most[1]):
        raise InputError(
            f"A grid of {rows} x {columns} cells (rows x columns) does not fit the {width} x {height} pixels (width x "
            f"height) that the model saw; allowed: 1x1 to {most[0]}x{most[1]}. See --grid."
        )
    centres = 2 * np.arange(image.SIZE) + 1  # in half pixels: whole numbers, so that no border hangs on rounding
    row, column = (centres * n // (2 * image.SIZE) for n in (rows, columns))
    return (row[:, None] * columns + column[None, :]).astype(np.int16)


def superpixel_owners(pixels: Signal, n: int, seen: tuple[int, int] | None = None) -> Owners:
    """Return the superpixel of each pixel, int16 `[128, 128]`: about `n` connected regions of like colour.

    SLIC (Achanta et al. 2012, scikit-image). Numbered from 0 in reading order of their first pixels. SLIC starts from
    a regular grid and joins crumbs to their neighbours, so how many regions come out is only near `n`. `pixels` are
    float32 `[3, 128, 128]` in [0, 1], `seen` is as for `grid_owners`.

    Raises:
        InputError: none, or more than the picture has pixels.
        MissingExtraError: without the `superpixels` extra.
    """
    width, height = seen or (image.SIZE, image.SIZE)
    most = min(width * height, image.SIZE**2)
    if not 1 <= n <= most:
        raise InputError(
            f"{n} superpixels do not fit the {width} x {height} pixels (width x height) that the model saw; allowed: "
            f"1 to {most}. See --superpixels."
        )
    if n == 1:
        return np.zeros((image.SIZE, image.SIZE), np.int16)
    needed("skimage", "--superpixels", "superpixels")
    from skimage.measure import label
    from skimage.segmentation import slic

    regions = slic(pixels.transpose(1, 2, 0), n_segments=n, start_label=1, channel_axis=-1, **SLIC)
    # Once more by connection: a region in two pieces would be one player in two places. Labels come in reading order.
    connected: Any = label(regions, connectivity=1, background=0)  # type: ignore[no-untyped-call]
    return np.asarray(connected - 1, np.int16)


# --- the binary division (Fig. 2): what is halved along which axis; parents stand before their halves ---


def speech_division(n_units: int, mel_bands: int = 1) -> tuple[DivisionNode, ...]:
    """Return the division of speech: the list of units halved by count, its first half with the odd one.

    With mel bands, time and frequency in turn (the paper divides the spectrogram, a picture), time first; where one of
    them is down to one, the other goes on. Player numbers: unit * mel_bands + band.
    """
    return _division("speech", np.arange(n_units * mel_bands).reshape(n_units, mel_bands), 0)


def grid_division(rows: int, columns: int) -> tuple[DivisionNode, ...]:
    """Return the division of a grid: rows and columns halved in turn, beginning with whichever there are more of.

    A square grid is first cut into top and bottom. The first half has the odd row or column.
    """
    return _division("image", np.arange(rows * columns).reshape(rows, columns), 0 if rows >= columns else 1)


def superpixel_division(owners: npt.NDArray[np.int16]) -> tuple[DivisionNode, ...]:
    """Return the division of superpixels: halved at the median of their centres, along the axis on which these spread.

    Regions have no rows and columns to take turns with: each part is cut across its longer side, measured between its
    outermost centres (a tie: top from bottom). The first half, upper or left, has the odd region.

    Args:
        owners: int16 `[128, 128]` from `superpixel_owners`.
    """
    sizes = np.bincount(owners.ravel())
    places = np.indices(owners.shape).reshape(2, -1)
    centres = np.stack([np.bincount(owners.ravel(), place) / sizes for place in places])

    def halved(part: Rows, axis: int) -> tuple[list[Rows], int]:
        spread = np.ptp(centres[:, part], axis=1)
        along = centres[1 if spread[1] > spread[0] else 0, part]
        return np.array_split(part[np.lexsort((part, along))], 2), axis  # a tie: the lower number first

    return _division("image", np.arange(len(sizes)), 0, halved)


def _in_turn(block: Rows, axis: int) -> tuple[list[Rows], int]:
    axis = axis if block.shape[axis] > 1 else 1 - axis
    return np.array_split(block, 2, axis), 1 - axis


def _division(
    modality: Modality, whole: Rows, first_axis: int, halved: Callable[[Rows, int], tuple[list[Rows], int]] = _in_turn
) -> tuple[DivisionNode, ...]:
    """Return the division of the players `whole`; `halved` cuts a part along an axis, and says along which to go on."""
    nodes: list[DivisionNode] = []

    def add(part: Rows, axis: int, parent: int) -> None:
        at = len(nodes)
        nodes.append(DivisionNode(modality, parent, tuple(sorted(part.ravel().tolist()))))
        if part.size > 1:
            halves, then = halved(part, axis)
            for half in halves:
                add(half, then, at)

    add(whole, first_axis, -1)
    return tuple(nodes)


def fold_bands(values: npt.NDArray[Any] | None, mel_bands: int) -> npt.NDArray[Any] | None:
    """Return values of units from values of players, `[n_units * mel_bands, ...]` -> `[n_units, ...]`: sums over bands.

    None stays None.
    This is the paper's "averaging along the frequency axis" (section 3.3), up to a factor of 128 that is the same for
    all units: without it, units still add up to the speech's value (Eq. 5).
    """
    return None if values is None else values.reshape(-1, mel_bands, *values.shape[1:]).sum(axis=1)


# --- what absent players are replaced by: the signal's own frames or pixels in, the same shape out --------------------


def _spread(values: npt.NDArray[Any], signal: Signal) -> Signal:
    return np.broadcast_to(values, signal.shape).astype(np.float32)


def _mean(signal: Signal, axis: int | tuple[int, ...]) -> Signal:
    return _spread(signal.mean(axis=axis, keepdims=True, dtype=np.float64), signal)


def _blurred(signal: Signal, sigma: float, axes: tuple[int, ...]) -> Signal:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(signal, sigma, mode="nearest", axes=axes))  # beyond the ends their values go on


# The paper keeps the other modality "as zero" (section 3.3): `silence` and `black`, the defaults. The others ask the
# model about something that it is more used to; an explanation that hangs on the choice is worth little.
SPEECH_BASELINES: dict[str, Callable[[Signal], Signal]] = {
    "silence": np.zeros_like,
    "band-floor": lambda mel: _spread(np.percentile(mel, FLOOR_PERCENTILE, axis=1, keepdims=True), mel),
    "mean": lambda mel: _mean(mel, 1),
    "blur": lambda mel: _blurred(mel, SPEECH_BLUR_FRAMES, (1,)),
}
IMAGE_BASELINES: dict[str, Callable[[Signal], Signal]] = {
    "black": np.zeros_like,
    "mean": lambda pixels: _mean(pixels, (1, 2)),
    "blur": lambda pixels: _blurred(pixels, IMAGE_BLUR_PIXELS, (1, 2)),
}


# --- players ----------------------------------------------------------------------------------------------------------


def speech_players(
    waveform: audio.Waveform,
    signals: SignalOptions,
    units: Sequence[SpeechUnit],
    *,
    offset_s: float = 0.0,
    starts: tuple[int, ...] = (),
    baseline: str = "silence",
    mel_bands: int = 1,
) -> Players:
    """Return the players of the speech.

    Frames belong to units as `frame_owners` says, mel bands to the one of `mel_bands` that holds them: player = unit *
    mel_bands + band, the lowest band first, all of 128 / mel_bands mels to within one. Baselines are made of the
    frames that see any sound; the padding after them stays 0.

    Args:
        waveform: float32 `[n]` at 16 kHz, what the model hears: `judging.Heard.part`.
        signals: of the checkpoint.
        units: from `fit_units`.
        offset_s: where the waveform begins in the file, whose seconds the units count.
        starts: first frame of each window that votes; () cuts all of them.
        baseline: one of `SPEECH_BASELINES`.
        mel_bands: 1 divides time only.

    Raises:
        InputError: a unit without a frame, more bands than mels, or more players than can be numbered.
        OptionError: an unknown baseline.
    """
    replaced = entry("baseline", baseline, SPEECH_BASELINES, "--baseline-speech")
    n = len(units) * mel_bands
    if not (1 <= mel_bands <= audio.N_MELS and n <= MOST_UNITS):
        raise InputError(
            f"{len(units)} speech units x {mel_bands} mel bands make {n:,} parts; allowed: 1 to {audio.N_MELS} bands, "
            f"up to {MOST_UNITS:,} parts. See --mel-bands."
        )
    owner = frame_owners(units, len(waveform), signals.clip_s, offset_s)
    own = owner >= 0
    if len(np.unique(owner[own])) < len(units):
        raise InputError(
            f"{len(units)} speech units for {own.sum()} frames: one owns none. Mend: join them (fit_units)."
        )
    mel = audio.log_mel_for_windows(waveform, signals.clip_s)
    band = np.arange(audio.N_MELS) * mel_bands // audio.N_MELS
    owners = np.where(own, owner * mel_bands + band[:, None], -1).astype(np.int16)
    absent = np.zeros_like(mel)
    absent[:, own] = replaced(mel[:, own])
    division = speech_division(len(units), mel_bands)
    return Players(owners, n, division, mel[None], absent[None], starts or audio.window_starts(mel.shape[1]))


def image_players(
    pixels: Signal, owners: Owners, grid: tuple[int, int] | None = None, *, baseline: str = "black"
) -> Players:
    """Return the players of the picture.

    Args:
        pixels: float32 `[3, 128, 128]` in [0, 1].
        owners: from `grid_owners` or `superpixel_owners`.
        grid: rows and columns of the former; None for superpixels.
        baseline: one of `IMAGE_BASELINES`.

    Raises:
        OptionError: an unknown baseline.
    """
    absent = entry("baseline", baseline, IMAGE_BASELINES, "--baseline-image")(pixels)
    division = superpixel_division(owners) if grid is None else grid_division(*grid)
    return Players(owners, int(owners.max()) + 1, division, pixels, absent)
