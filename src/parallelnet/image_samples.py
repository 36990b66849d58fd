"""What the numbers of a picture mean: depth, sign, transparency and colour profile, to 8-bit RGB as people see it.

Where white is known, samples are scaled to it. Where it is not, the picture is refused: 0 to 255 in 16 bits is a
picture to one and nearly black to another, and a wrong guess would be judged without a word.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import InputError

Pixels = npt.NDArray[np.uint8]

WHITE_8, WHITE_16 = 255, 65_535
_SURELY_16 = 4096  # of a type that has 16 bits: below, the picture is nearly black, or of 8, 10 or 12 bits
_SURELY_WIDE = 32_768  # of wider types, which promise no white: below, it may be of 9 to 15 bits

_ALLOWED = "allowed: uint8, uint16 up to 65535, other integers from 0 to 255, bool, or floats in [0, 1]"
_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 262, 258, 339  # tags of TIFF
_PROFILES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_OF_PROFILE = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}  # every other mode holds RGB


# --- arrays -----------------------------------------------------------------------------------------------------------


def to_eight_bits(
    samples: npt.NDArray[Any], name: str, *, white: int | None = None
) -> Callable[[npt.NDArray[Any]], Pixels]:
    """Return the function that makes uint8 of these samples, or of any part of them.

    Args:
        samples: of any type and byte order.
        name: how errors call the picture.
        white: the value of white where it is known, for integers.

    Raises:
        InputError: they have no known white, or lie outside their range.
    """
    kind, n_bytes = samples.dtype.kind, samples.dtype.itemsize
    if kind == "b":
        return lambda part: part.astype(np.uint8) * np.uint8(255)
    if kind == "u" and n_bytes == 1:
        return np.ascontiguousarray
    if kind not in "iuf":
        raise InputError(f"{name} holds {samples.dtype} samples; {_ALLOWED}.")
    low, high = samples.min(), samples.max()
    if kind == "f":
        if not (low >= 0 and high <= 1):  # also refuses NaN
            mend = "divide by 255" if low >= 0 and 1 < high <= 255 else "scale them to [0, 1]"
            raise InputError(f"{name} holds {low} to {high}; allowed: floats in [0, 1], no NaN. Mend: {mend}.")
        return lambda part: np.round(part.astype(np.float32) * 255).astype(np.uint8)
    if white is None:
        white = _white(name, samples.dtype, int(low), int(high))
    if white == WHITE_8:
        return lambda part: part.astype(np.uint8)
    known = white
    return lambda part: ((part.astype(np.uint32) * 510 + known) // (2 * known)).astype(np.uint8)


def _white(name: str, dtype: np.dtype[Any], low: int, high: int) -> int:
    """Return the value of white that the type or the values leave no doubt of."""
    told = f"{name} holds {dtype} samples from {low} to {high}"
    if low < 0 or high > WHITE_16:
        raise InputError(f"{told}; {_ALLOWED}. Mend: divide by the value of white, to floats in [0, 1].")
    sixteen = dtype.kind == "u" and dtype.itemsize == 2
    if high == 0 or high >= (_SURELY_16 if sixteen else _SURELY_WIDE):
        return WHITE_16
    if not sixteen and 1 < high <= WHITE_8:  # nobody keeps a nearly black picture of 16 bits in 32
        return WHITE_8
    raise InputError(
        f"{told}, so white may be 1, 255, 4095 or 65535; it is not known. Mend: .astype(np.uint8) where white is 255, "
        "else divide by white, to floats in [0, 1]."
    )


# --- pictures of Pillow -----------------------------------------------------------------------------------------------


def is_numeric(picture: Image.Image) -> bool:
    """Return whether a picture holds one number a pixel of more than 8 bits: modes I, I;16 and F."""
    return picture.mode.startswith("I") or picture.mode == "F"


def numbers(picture: Image.Image, name: str) -> tuple[npt.NDArray[Any], int | None]:
    """Return the numbers of a picture for which `is_numeric` holds, `[h, w]`, and the value of white where it is known.

    Raises:
        InputError: a TIFF that counts from white to black in floats.
    """
    samples = np.asarray(picture)
    # Files of 16 bits, and those that Pillow widens and scales to 16 bits. A TIFF of 32 bits is kept as it is.
    known = picture.format in ("PNG", "PPM") or (picture.format is not None and samples.dtype.itemsize == 2)
    white = WHITE_16 if known and samples.dtype.kind in "iu" else None
    tags = getattr(picture, "tag_v2", {})
    if np.array_equal(np.atleast_1d(tags.get(_BITS, 0)), [12]):  # Pillow unpacks them as they are
        white = 4095
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow turns 8 bits round, but nothing wider
        if white is None:
            raise InputError(f"{name} counts {samples.dtype} from white (0) to black. Mend: save it as 8 or 16 bits.")
        samples = np.subtract(white, samples, dtype=np.uint16)
    clear = picture.info.get("transparency")
    if isinstance(clear, int) and white is not None:
        samples = np.where(samples == clear, np.asarray(white, samples.dtype), samples)
    return samples, white


def to_rgb(picture: Image.Image, name: str) -> Callable[[Image.Image], Pixels]:
    """Return the function that makes RGB, uint8 `[h, w, 3]`, of this picture or of a strip of it.

    Transparent parts are shown over white. Colours of a profile other than sRGB become sRGB, as viewers show them; a
    profile that is broken or of another kind of colours is left alone, as browsers do.

    Raises:
        InputError: colours that are not read, or signed samples.
    """
    tags = getattr(picture, "tag_v2", {})
    if 2 in np.atleast_1d(tags.get(_SAMPLE_FORMAT, 1)):
        raise InputError(f"{name} holds signed samples. Mend: save it with unsigned ones.")
    if picture.mode == "LAB":
        raise InputError(f"{name} has colours of mode {picture.mode}. Mend: save it as RGB.")
    to_srgb = _to_srgb(picture)
    if picture.has_transparency_data:

        def over_white(strip: Image.Image) -> Pixels:
            rgba = strip.convert("RGBA")
            if to_srgb is not None:
                managed = to_srgb(strip.convert("RGBA").convert("RGB"))
                managed.putalpha(rgba.getchannel("A"))
                rgba = managed
            return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))

        return over_white
    if to_srgb is not None:
        return lambda strip: np.asarray(to_srgb(strip))
    return lambda strip: np.asarray(strip.convert("RGB"))


def _to_srgb(picture: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """Return what brings the colours of a picture (or its transparent twin in RGB) to sRGB; None where they are."""
    profile = picture.info.get("icc_profile")
    if not profile or not isinstance(profile, bytes):
        return None
    from PIL import ImageCms  # loads a C library: only for pictures that have a profile

    wanted = _OF_PROFILE.get(picture.mode, "RGB")
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        named = ImageCms.getProfileDescription(own)
        if _PROFILES.get(own.profile.xcolor_space) != wanted or "sRGB" in named:
            return None
        transform = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), wanted, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None

    def managed(strip: Image.Image) -> Image.Image:
        shown = ImageCms.applyTransform(strip.convert(wanted), transform)
        assert shown is not None
        return shown

    return managed
