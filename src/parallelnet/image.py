"""Pictures: from any source to upright RGB, the face in it, and on to a 128 x 128 tensor in [0, 1] (design section 4).

The paper (section 3.2) resizes whole pictures. Models that learnt from tight face crops (FER-2013) need the face first:
`crop_face` cuts it out as FER-2013 frames one, and says what it did.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from .errors import InputError, MissingExtraError, opened
from .options import LimitOptions, SignalOptions
from .types import FaceCrop

if TYPE_CHECKING:
    from skimage.feature import Cascade

SIZE = 128  # side of the tensor in pixels

# How large the cascade's box is within a FER-2013 picture. Measured: 300 pictures of FER-2013 train, drawn at random
# (seed 0), scaled to 192 pixels and given a border of 96, searched at 320 pixels with the settings below. Found in 181;
# median side of the box 0.925 of the picture with the border drawn out, 0.888 with it mirrored (quartiles 0.81 to
# 0.98), centre off by less than 0.004 of the side either way: so the crop is the box over 0.9, not shifted.
FACE_SHARE = 0.9
TIGHT_SIDE = 96  # pixels: a picture no larger is taken for a face crop already (FER-2013: 48, other sets up to 96)
TIGHT_SHARE = 0.7  # of the longer side: a face that fills so much of a picture makes it a face crop as well

# Search: chosen on 80 pictures of MVSA, looked through one by one. With at least 5 raw hits 14 pictures got a box,
# nearly all of them faces; with 3 hits 25, the added ones mostly false; 5 hits at 256 pixels with a drawn-out border
# (so that faces at the edge have room) added seven boxes, six of them false.
DETECT_SIDE = 320  # pixels, the longer side of the picture that is searched
DETECT_MIN_SIDE = 24  # pixels: the cascade's own window, 7.5 % of the longer side
DETECT_HITS = 5  # overlapping raw hits that make a face

Pixels = npt.NDArray[np.uint8]
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | npt.NDArray[Any] | Image.Image

_FORMATS = 'jpeg, png, webp, gif, bmp, tiff, ppm, avif; heic with pip install "parallelnet[video]"'
# Named one by one: Pillow would also start Ghostscript for an eps, for instance. MPO (phones) opens as JPEG.
_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PILLOW_LIMIT = threading.Lock()
_DEFAULT_LIMITS = LimitOptions()
_DEFAULT_SIGNALS = SignalOptions()


# --- any source to upright RGB ----------------------------------------------------------------------------------------


def read(source: Source, *, limits: LimitOptions = _DEFAULT_LIMITS) -> Pixels:
    """Return a picture as uint8 `[height, width, 3]`, RGB, upright (EXIF orientation applied).

    Transparent parts are shown over white, as pages and chats show them; black would be the model's "no picture".
    Grey becomes three equal channels, 16 bits become 8, an animation gives its first frame.

    Args:
        source: path, bytes, binary stream, PIL image, or array `[h, w]`, `[h, w, 1]`, `[h, w, 3]`, `[h, w, 4]`
            of uint8, uint16, bool, or floats in [0, 1].
        limits: larger pictures are refused, from the header.

    Raises:
        InputError: missing, unreadable, empty, cut off, too large, or no picture.
        MissingExtraError: HEIC without the `video` extra.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if isinstance(source, Image.Image):
        return _from_pillow(source, "Picture", limits)
    with opened(source, "Picture", _FORMATS) as (stream, name):
        return _from_pillow(_open(stream, name), name, limits)


def _open(stream: BinaryIO, name: str) -> Image.Image:
    """Return the picture with its header read and nothing decoded."""
    head = stream.read(12)
    stream.seek(0)
    formats: tuple[str, ...] = _PILLOW_FORMATS
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        try:
            import pillow_heif
        except ImportError:
            raise MissingExtraError(f"{name} is HEIC: reading it", "video") from None
        pillow_heif.register_heif_opener()
        formats = ("HEIF",)
    try:
        # Pillow's own limit is one for the whole process and unknown to our options: ours is checked next.
        with _PILLOW_LIMIT:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(stream, formats=formats)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        raise InputError(f"{name} is no picture that can be read. Allowed: {_FORMATS}.") from None
    except Exception as error:  # plug-ins raise anything, SyntaxError and struct.error among them, on a bad header
        raise InputError(f"{name} is damaged ({_one_line(error)}). Allowed: {_FORMATS}.") from None


def _from_pillow(picture: Image.Image, name: str, limits: LimitOptions) -> Pixels:
    _refuse_size(name, *picture.size, limits)
    try:
        picture.load()
        turn = _UPRIGHT.get(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception as error:
        raise InputError(f"{name} is cut off or damaged ({_one_line(error)}). Mend: copy it again.") from None
    if picture.mode.startswith("I") or picture.mode == "F":
        rgb = Image.fromarray(_eight_bits(np.asarray(picture), name)).convert("RGB")
    elif picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    else:
        try:
            rgb = picture.convert("RGB")
        except ValueError:  # LAB, for instance
            raise InputError(f"{name} has colours of mode {picture.mode}. Mend: save it as RGB.") from None
    return np.array(rgb if turn is None else rgb.transpose(turn))


def _from_array(array: npt.NDArray[Any], limits: LimitOptions) -> Pixels:
    name = f"Picture array {array.dtype}{list(array.shape)}"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise InputError(f"{name} has the wrong shape; allowed: [h, w], [h, w, 1], [h, w, 3] or [h, w, 4].")
    _refuse_size(name, array.shape[1], array.shape[0], limits)
    pixels = _eight_bits(array, name)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return _from_pillow(Image.fromarray(pixels), name, limits)


def _refuse_size(name: str, width: int, height: int, limits: LimitOptions) -> None:
    if width * height == 0:
        raise InputError(f"{name} has no pixels ({width} x {height}).")
    if width * height > limits.max_pixels:
        raise InputError(
            f"{name} has {width} x {height} = {width * height:,} pixels; allowed: up to {limits.max_pixels:,}. "
            "Mend: scale it down, or raise --max-pixels."
        )


def _eight_bits(samples: npt.NDArray[Any], name: str) -> Pixels:
    """Return samples of any allowed type as uint8: 16 bits are divided by 257, floats in [0, 1] multiplied by 255."""
    kind = samples.dtype.kind
    if samples.dtype == np.uint8:
        return np.ascontiguousarray(samples)
    if kind == "b":
        return samples.astype(np.uint8) * np.uint8(255)
    if kind == "f":
        if not (samples.min() >= 0 and samples.max() <= 1):  # also refuses NaN
            raise InputError(f"{name} holds {samples.min()} to {samples.max()}; allowed: floats in [0, 1], no NaN.")
        return np.round(samples.astype(np.float32) * 255).astype(np.uint8)
    # Pillow gives 16-bit files as uint16 or, from some formats, as int32 with the same values.
    if samples.dtype == np.uint16 or (samples.dtype == np.int32 and samples.min() >= 0 and samples.max() <= 65535):
        return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise InputError(f"{name} holds {samples.dtype} samples; allowed: uint8, uint16, bool, or floats in [0, 1].")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


# --- the face ---------------------------------------------------------------------------------------------------------


def crop_face(rgb: Pixels, mode: Literal["auto", "off"] = "auto") -> tuple[Pixels, FaceCrop]:
    """Return the part of a picture that the model shall see, and what was done to find it.

    Args:
        rgb: uint8 `[h, w, 3]`, upright.
        mode: `auto` cuts out the largest frontal face, framed as in FER-2013; `off` keeps the whole picture.

    Returns:
        The crop, uint8 `[h', w', 3]`, and a `FaceCrop` with its box in pixels of `rgb`.
    """
    height, width = rgb.shape[:2]
    whole = (0, 0, width, height)
    if mode == "off":
        return rgb, FaceCrop("off", "off", whole)
    if max(height, width) <= TIGHT_SIDE:
        return rgb, FaceCrop("auto", "tight", whole)
    face = _largest_face(rgb)
    if face is None:
        return rgb, FaceCrop("auto", "not-found", whole)
    centre_x, centre_y, face_side = face
    side = face_side / FACE_SHARE
    if side >= TIGHT_SHARE * max(height, width):
        return rgb, FaceCrop("auto", "tight", whole)
    side = min(round(side), height, width)
    left = min(max(0, round(centre_x - side / 2)), width - side)
    top = min(max(0, round(centre_y - side / 2)), height - side)
    return rgb[top : top + side, left : left + side], FaceCrop("auto", "cropped", (left, top, side, side))


def _largest_face(rgb: Pixels) -> tuple[float, float, float] | None:
    """Return centre x, centre y and side of the largest frontal face in pixels of `rgb`, or None."""
    height, width = rgb.shape[:2]
    scale = DETECT_SIDE / max(height, width)
    small = Image.fromarray(rgb).convert("L")
    small = small.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR)
    grey = np.asarray(small)
    if min(grey.shape) < DETECT_MIN_SIDE:
        return None
    found = _cascade().detect_multi_scale(
        img=grey,
        scale_factor=1.1,
        step_ratio=1.2,
        min_size=(DETECT_MIN_SIDE, DETECT_MIN_SIDE),
        max_size=(min(grey.shape), min(grey.shape)),
        min_neighbor_number=DETECT_HITS,
    )
    if not found:
        return None
    box = max(found, key=lambda box: (box["width"], -box["r"], -box["c"]))  # ties: the upper, then the left one
    half = box["width"] / 2
    return (box["c"] + half) / scale, (box["r"] + half) / scale, box["width"] / scale


@cache
def _cascade() -> Cascade:
    # Inside, because scikit-image takes 0.3 s to load: pictures that need no face search do not pay for it.
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    path: str = lbp_frontal_face_cascade_filename()  # type: ignore[no-untyped-call]
    return Cascade(path)


# --- to the tensor ----------------------------------------------------------------------------------------------------


def resize(rgb: Pixels) -> npt.NDArray[np.float32]:
    """Return a picture as float32 `[3, 128, 128]` in [0, 1]; bilinear, antialiased, the aspect is not kept."""
    small = Image.fromarray(rgb).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def signal(
    source: Source, options: SignalOptions = _DEFAULT_SIGNALS, limits: LimitOptions = _DEFAULT_LIMITS
) -> tuple[npt.NDArray[np.float32], FaceCrop]:
    """Return the tensor of a source, float32 `[3, 128, 128]`, and its `FaceCrop`: `read`, `crop_face`, `resize`.

    Raises:
        InputError: see `read`.
        MissingExtraError: see `read`.
    """
    rgb, face = crop_face(read(source, limits=limits), options.face)
    return resize(rgb), face
