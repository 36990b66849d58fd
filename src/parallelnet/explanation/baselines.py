"""What absent players are replaced by (design section 7): plain dicts of functions, signal in, signal out.

The paper keeps the other modality "as zero" (section 3.3): `silence` and `black`, the defaults. The others ask the
model about something that it is more used to hearing and seeing; an explanation that hangs on the choice is worth
little.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float32]

FLOOR_PERCENTILE = 5  # of a mel band over the utterance: the recording's background noise
SPEECH_BLUR_FRAMES = 8.0  # sigma; 256 ms at the default hop: words melt, the voice's colour and level stay
IMAGE_BLUR_PIXELS = 12.0  # sigma, of 128: eyes and mouth are gone, light and skin stay


def _zeros(signal: Signal) -> Signal:
    return np.zeros_like(signal)


def _blurred(signal: Signal, sigma: float, axis: int) -> Signal:
    """Return the signal smoothed by a Gaussian along one axis; beyond the ends the first and last value go on."""
    reach = int(np.ceil(4 * sigma))  # what lies further out weighs less than 1e-4 together
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    lines = np.moveaxis(signal, axis, -1)
    padded = np.pad(lines, [(0, 0)] * (signal.ndim - 1) + [(reach, reach)], mode="edge")
    smooth = np.zeros(lines.shape)  # float64: a sum of a hundred small terms
    for at, weight in enumerate(weights):
        smooth += weight * padded[..., at : at + lines.shape[-1]]
    return np.ascontiguousarray(np.moveaxis(smooth, -1, axis), dtype=np.float32)


# --- speech: the log-mel of the utterance's own frames, float32 [128 mels, n_frames] in [0, 1] ------------------------


def _band_floor(mel: Signal) -> Signal:
    floor = np.percentile(mel, FLOOR_PERCENTILE, axis=1, keepdims=True)
    return np.broadcast_to(floor, mel.shape).astype(np.float32)


def _band_mean(mel: Signal) -> Signal:
    mean = mel.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.broadcast_to(mean, mel.shape).astype(np.float32)


def _speech_blur(mel: Signal) -> Signal:
    return _blurred(mel, SPEECH_BLUR_FRAMES, axis=1)


SPEECH_BASELINES: dict[str, Callable[[Signal], Signal]] = {
    "silence": _zeros,
    "band-floor": _band_floor,
    "mean": _band_mean,
    "blur": _speech_blur,
}


# --- picture: float32 [3, 128, 128] in [0, 1] -------------------------------------------------------------------------


def _mean_colour(pixels: Signal) -> Signal:
    mean = pixels.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    return np.broadcast_to(mean, pixels.shape).astype(np.float32)


def _image_blur(pixels: Signal) -> Signal:
    return _blurred(_blurred(pixels, IMAGE_BLUR_PIXELS, axis=1), IMAGE_BLUR_PIXELS, axis=2)


IMAGE_BASELINES: dict[str, Callable[[Signal], Signal]] = {
    "black": _zeros,
    "mean": _mean_colour,
    "blur": _image_blur,
}
