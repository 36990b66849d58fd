"""Pictures: from any source to upright RGB, the face in it, and on to a 128 x 128 tensor in [0, 1] (design section 4).

The paper (section 3.2) resizes whole pictures. Models that learnt from tight face crops (FER-2013) need the face first:
`crop_face` cuts it out as FER-2013 frames one, and says what it did.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import faces, image_files
from .errors import InputError, opened
from .image_files import Pixels as Pixels
from .image_files import TooLargeError as TooLargeError
from .options import LimitOptions, SignalOptions
from .types import FaceCrop

SIZE = 128  # side of the tensor in pixels

# How FER-2013 frames a face, beside the search's box. 500 faces of its validation part, laid into bigger scenes
# (`runs/faces/crop.py`): the median frame is 1.23 times the mean of the box's sides, centred on it to 0.01. `compact`
# is right on 0.78 of those found in FER-2013's own frames, on 0.80, 0.79, 0.79 and 0.78 in squares of 1.0, 1.1, 1.2 and
# 1.3 (0.74 at 1.6), shifted by 0.05 or not: all but the last within chance. Of 120 such faces that fill an image of 256
# pixels 80 are taken for tight crops, 4 are cropped further, and in 36 no face is found.
CROP = 1.1  # side of the frame over the geometric mean of the sides of the box
TIGHT_SIDE = 96  # pixels: a picture no larger is taken for a face crop already (FER-2013: 48, other sets up to 96)
TIGHT_SHARE = 0.7  # of the longer side: a face whose frame fills so much of a picture makes it a face crop as well

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | npt.NDArray[Any] | Image.Image

_DEFAULT_LIMITS = LimitOptions()
_DEFAULT_SIGNALS = SignalOptions()

_STRIP = 1 << 20  # pixels that are converted at a time: beside the decoder's picture only the result is held
# What a camera stores of an upright picture (EXIF 2.32, table 6): axes to flip, from 5 on of its transposed.
_FLIPS = {2: (1,), 3: (0, 1), 4: (0,), 6: (0,), 7: (0, 1), 8: (1,)}


# --- any source to upright RGB ----------------------------------------------------------------------------------------


def read(source: Source, *, limits: LimitOptions = _DEFAULT_LIMITS) -> Pixels:
    """Return a picture as uint8 `[height, width, 3]`, sRGB, upright (EXIF orientation applied).

    Transparent parts are shown over white, as pages and chats show them; black would be the model's "no picture".
    Grey becomes three equal channels, 16 bits become 8, an animation gives its first frame, a colour profile is
    applied. A baseline JPEG of up to four times `max_pixels` is decoded at half its size. The peak of memory is 7 bytes
    a pixel (jpeg, png, bmp), up to 16 for webp, avif and heic.

    Args:
        source: path, bytes, binary stream, PIL image, or array `[h, w]`, `[h, w, 1]`, `[h, w, 3]`, `[h, w, 4]`
            of uint8, uint16 (white is 65535), other integers from 0 to 255, bool, or floats in [0, 1].
        limits: larger pictures are refused, from the header.

    Raises:
        InputError: missing, unreadable, empty, cut off, too large, no picture, or numbers whose white is not known.
        MissingExtraError: HEIC without the `video` extra.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if isinstance(source, Image.Image):
        image_files.refuse_size("Picture", *source.size, limits)
        return _from_pillow(source, "Picture")
    with opened(source, "Picture", image_files.FORMATS) as (stream, name):
        picture = image_files.open_picture(stream, name, limits)
        rgb = _from_pillow(picture, name)
        if picture.format == "PNG" and not rgb[-2:].any():
            with image_files.damaged(name):
                image_files.refuse_short_png(picture, stream, name)
        return rgb


def _from_pillow(picture: Image.Image, name: str) -> Pixels:
    with image_files.damaged(name):
        turn = image_files.load(picture)
        width, height = picture.size
        if picture.mode.startswith("I") or picture.mode == "F":
            samples, white = image_files.numbers(picture, name)
            return _from_samples(samples, name, turn, white)
        to_rgb = image_files.to_rgb(picture, name)
        return _in_strips(width, height, turn, lambda top, bottom: to_rgb(picture.crop((0, top, width, bottom))))


def _from_array(array: npt.NDArray[Any], limits: LimitOptions) -> Pixels:
    name = f"Picture array {array.dtype}{list(array.shape)}"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InputError(f"{name} has the wrong shape; allowed: [h, w], [h, w, 1], [h, w, 3] or [h, w, 4].")
    image_files.refuse_size(name, array.shape[1], array.shape[0], limits)
    with image_files.damaged(name):
        return _from_samples(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array, name, 1, None)


def _from_samples(samples: npt.NDArray[Any], name: str, turn: int, white: int | None) -> Pixels:
    to_eight_bits = image_files.to_eight_bits(samples, name, white=white)

    def strip(top: int, bottom: int) -> Pixels:
        picture = Image.fromarray(to_eight_bits(samples[top:bottom]))
        return image_files.to_rgb(picture, name)(picture)

    return _in_strips(samples.shape[1], samples.shape[0], turn, strip)


def _in_strips(width: int, height: int, turn: int, strip: Callable[[int, int], Pixels]) -> Pixels:
    upright = np.empty((width, height, 3) if turn >= 5 else (height, width, 3), np.uint8)
    stored = np.flip(upright.swapaxes(0, 1) if turn >= 5 else upright, _FLIPS.get(turn, ()))  # a view
    n_rows = max(1, _STRIP // width)
    for top in range(0, height, n_rows):
        stored[top : top + n_rows] = strip(top, min(top + n_rows, height))
    return upright


# --- the face ---------------------------------------------------------------------------------------------------------


def crop_face(rgb: Pixels, mode: Literal["auto", "off"] = "auto", which: int = 0) -> tuple[Pixels, FaceCrop]:
    """Return the part of a picture that the model shall see, and what was done to find it.

    Args:
        rgb: uint8 `[h, w, 3]`, upright.
        mode: `auto` cuts out a face, framed as in FER-2013; `off` keeps the whole picture.
        which: of several faces, 0 for the largest.

    Returns:
        The crop, uint8 `[h', w', 3]`, and a `FaceCrop` with its box in pixels of `rgb`.
    """
    height, width = rgb.shape[:2]
    whole = (0, 0, width, height)
    if mode == "off":
        return rgb, FaceCrop("off", "off", whole)
    if max(height, width) <= TIGHT_SIDE:
        return rgb, FaceCrop("auto", "tight", whole)
    boxes = [face.box for face in faces.find(rgb)]
    if which >= len(boxes):
        return rgb, FaceCrop("auto", "not-found", whole)
    left, top, wide, high = boxes.pop(which)
    side = min(round(CROP * math.sqrt(wide * high)), height, width)
    if CROP * math.sqrt(wide * high) >= TIGHT_SHARE * max(height, width):
        return rgb, FaceCrop("auto", "tight", whole, tuple(boxes))
    left = min(max(0, round(left + (wide - side) / 2)), width - side)
    top = min(max(0, round(top + (high - side) / 2)), height - side)
    crop = rgb[top : top + side, left : left + side]
    return crop, FaceCrop("auto", "cropped", (left, top, side, side), tuple(boxes))


# --- to the tensor ----------------------------------------------------------------------------------------------------


def resize(rgb: Pixels) -> npt.NDArray[np.float32]:
    """Return a picture as float32 `[3, 128, 128]` in [0, 1]; bilinear, antialiased, the aspect is not kept."""
    small = Image.fromarray(rgb).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def signal(
    source: Source, options: SignalOptions = _DEFAULT_SIGNALS, limits: LimitOptions = _DEFAULT_LIMITS
) -> tuple[npt.NDArray[np.float32], FaceCrop]:
    """Return the tensor of a source, float32 `[3, 128, 128]`, and its `FaceCrop`: `read`, `crop_face`, `resize`."""
    rgb, face = crop_face(read(source, limits=limits), options.face)
    return resize(rgb), face
