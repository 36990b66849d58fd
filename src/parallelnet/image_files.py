"""Picture files from anywhere: what they claim, and what their numbers mean, to 8-bit RGB as people see it.

A file of 69 bytes may claim 60 million pixels, and a decoder believes it: half a gigabyte and seconds, for one row of a
stranger's table. So sizes come from the header, must fit `LimitOptions`, and must fit the bytes that stand for them.

Where white is known, samples are scaled to it. Where it is not, the picture is refused: 0 to 255 in 16 bits is a
picture to one and nearly black to another, and a wrong guess would be judged without a word.
"""

import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from .errors import InputError, MissingExtraError
from .options import LimitOptions

Pixels = npt.NDArray[np.uint8]

FORMATS = 'jpeg, png, webp, gif, bmp, tiff, ppm, avif; heic with pip install "parallelnet[video]"'

# So many may be claimed by any file: plain webp, avif and gif are honestly tiny, and 0.2 GB are affordable.
FREE_PIXELS = 4096 * 4096
# Above that: grey png at the best ratio of deflate (258 bytes in 2 bits). RGB png reach 344, plain jpeg 512.
PIXELS_A_BYTE = 1032
# No uncompressed picture has more: four channels of 32 bits. Webp, avif and heic are read into memory whole.
BYTES_A_PIXEL = 16

# Named one by one: Pillow would also start Ghostscript for an eps, for instance. MPO (phones) opens as JPEG.
_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_STARTS = {
    b"\xff\xd8\xff": ("jpeg", "8 bits, Huffman or arithmetic coding"),
    b"\x89PNG": ("png", "all of the PNG standard"),
    b"II": ("tiff", "grey, RGB, CMYK or a palette of 8 bits, grey and RGB of 16 bits"),
    b"MM": ("tiff", "grey, RGB, CMYK or a palette of 8 bits, grey and RGB of 16 bits"),
    b"GIF8": ("gif", "GIF87a and GIF89a"),
    b"BM": ("bmp", "1 to 32 bits"),
}
_EXIF_ORIENTATION = 0x0112
_TILE = (322, 323)  # TIFF: TileWidth, TileLength
_PILLOW = threading.Lock()


class TooLargeError(InputError):
    """A picture with more pixels than are decoded, or than its bytes can honestly hold."""


@contextmanager
def damaged(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError of one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise TooLargeError(f"{name} needs more memory than there is. Mend: scale it down.") from None
    except Exception as error:  # plug-ins raise anything: SyntaxError, struct.error, AssertionError, RecursionError...
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"{name} is cut off or damaged ({said}). Mend: copy it again.") from None


def open_picture(stream: BinaryIO, name: str, limits: LimitOptions) -> Image.Image:
    """Return a picture of a size that may be decoded (a large JPEG at half its size), with only its header read.

    Raises:
        InputError: no picture that is read, a damaged header, or fewer bytes than its pixels need.
        TooLargeError: too many pixels.
        MissingExtraError: HEIC without the `video` extra.
    """
    head = stream.read(64)
    n_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if n_bytes > BYTES_A_PIXEL * limits.max_pixels + (1 << 20):  # and a header
        raise TooLargeError(
            f"{name} has {n_bytes:,} bytes; allowed: up to {BYTES_A_PIXEL} for each of --max-pixels "
            f"({limits.max_pixels:,}). Mend: scale it down, or raise --max-pixels."
        )
    claimed = _webp_size(head)
    if claimed is not None:  # Pillow's plug-in makes room for it while it opens the file
        _refuse_claim(name, *claimed, n_bytes)
        refuse_size(name, *claimed, limits)
    formats: tuple[str, ...] = _PILLOW_FORMATS
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        try:
            import pillow_heif
        except ImportError:
            raise MissingExtraError(f"{name} is HEIC: reading it", "video") from None
        pillow_heif.register_heif_opener()
        formats = ("HEIF",)
    picture = _opened(stream, name, head, formats)
    _refuse_claim(name, *picture.size, n_bytes)
    # Blocks of a JPEG are decoded to 4 x 4 instead of 8 x 8 pixels: a photo of 108 megapixels costs as much as one of
    # 27. Progressive ones are not halved: their coefficients are all held, 3 to 6 bytes a pixel.
    width, height = picture.size
    large = limits.max_pixels < width * height <= 4 * limits.max_pixels
    if large and min(width, height) > 1 and picture.format in ("JPEG", "MPO") and "progressive" not in picture.info:
        picture.draft(None, (width // 2, height // 2))
    refuse_size(name, *picture.size, limits)
    if picture.format == "TIFF":
        width, height = (getattr(picture, "tag_v2", {}).get(tag, 1) for tag in _TILE)
        if isinstance(width, int) and isinstance(height, int):  # a buffer for each, whatever the picture's own size
            refuse_size(f"A tile of {name}", max(1, width), max(1, height), limits)
    return picture


def load(picture: Image.Image) -> int:
    """Decode a picture in place, and return its EXIF orientation, 1 to 8, as what a viewer still has to do."""
    # TIFF reads further directories while it decodes, and warns of them; the others decode side by side.
    with _quiet_pillow() if picture.format == "TIFF" else nullcontext():
        picture.load()
    turn = 1
    # Not before: a png is decoded to find its EXIF, and what is wrong with it would not be seen.
    with _quiet_pillow(), suppress(Exception):  # broken EXIF is no reason to refuse good pixels
        turn = picture.getexif().get(_EXIF_ORIENTATION, 1)
    return turn if turn in range(1, 9) and picture.format != "TIFF" else 1  # Pillow has turned a TIFF


def refuse_short_png(picture: Image.Image, stream: BinaryIO, name: str) -> None:
    """Refuse a decoded png whose data end before its last row: Pillow leaves the rest as it was, black, without a word.

    Costs as much as decoding it: to be called where the last rows came out black.
    """
    stream.seek(0)
    again = _opened(stream, name, b"", ("PNG",))
    again.im = Image.new(again.mode, again.size, (1,) * len(again.getbands()) if len(again.getbands()) > 1 else 1).im
    again.load()
    bottom = (0, max(0, picture.height - 2), *picture.size)
    if again.crop(bottom).tobytes() != picture.crop(bottom).tobytes():
        raise InputError(f"{name} is cut off: its last rows are missing. Mend: copy it again.")


def refuse_size(name: str, width: int, height: int, limits: LimitOptions) -> None:
    """Refuse a picture without pixels, or with more than `limits.max_pixels` (a TooLargeError)."""
    if width * height == 0:
        raise InputError(f"{name} has no pixels ({width} x {height}).")
    if width * height > limits.max_pixels:
        raise TooLargeError(
            f"{name} has {width} x {height} = {width * height:,} pixels; allowed: up to {limits.max_pixels:,}. "
            "Mend: scale it down, or raise --max-pixels."
        )


def _refuse_claim(name: str, width: int, height: int, n_bytes: int) -> None:
    allowed = max(FREE_PIXELS, PIXELS_A_BYTE * n_bytes)
    if width * height > allowed:
        raise TooLargeError(
            f"{name} claims {width} x {height} = {width * height:,} pixels in {n_bytes:,} bytes, as files do that "
            f"shall exhaust a machine; allowed: {FREE_PIXELS:,}, or {PIXELS_A_BYTE:,} a byte. Mend: scale it down."
        )


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    # Keeps Pillow's warnings (of odd EXIF, for instance) and its own limit of pixels out, both one for the process.
    # Held only while headers are read: decoding goes on side by side.
    with _PILLOW, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # unknown to our options: ours is checked next
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _opened(stream: BinaryIO, name: str, head: bytes, formats: tuple[str, ...]) -> Image.Image:
    with damaged(name), _quiet_pillow():
        try:
            return Image.open(stream, formats=formats)
        except UnidentifiedImageError:
            for start, (kind, read) in _STARTS.items():
                if head.startswith(start):  # "no picture" would be untrue
                    raise InputError(
                        f"{name} begins as {kind} but is damaged, or of a kind that is not read. Allowed: {read}. "
                        "Mend: copy it again, or save it as png or jpeg."
                    ) from None
            raise InputError(f"{name} is no picture that can be read. Allowed: {FORMATS}.") from None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    # Width and height that the header of a webp names; None for other files and broken headers.
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    # Where the width begins; its bits and those before the height; what is added to both.
    at, n_bits, step, more = {b"VP8X": (24, 24, 24, 1), b"VP8 ": (26, 14, 16, 0), b"VP8L": (21, 14, 14, 1)}.get(
        head[12:16], (0, 0, 0, 0)
    )
    number, mask = int.from_bytes(head[at : at + 6], "little"), (1 << n_bits) - 1
    return ((number & mask) + more, (number >> step & mask) + more) if at else None


# --- what the numbers mean -------------------------------------------------------------------------------------------

WHITE_8, WHITE_16 = 255, 65_535
_SURELY_16 = 4096  # of a type that has 16 bits: below, the picture is nearly black, or of 8, 10 or 12 bits
_SURELY_WIDE = 32_768  # of wider types, which promise no white: below, it may be of 9 to 15 bits

_ALLOWED = "allowed: uint8, uint16 up to 65535, other integers from 0 to 255, bool, or floats in [0, 1]"
_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 262, 258, 339  # tags of TIFF
_PROFILES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_OF_PROFILE = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}  # every other mode holds RGB


def to_eight_bits(
    samples: npt.NDArray[Any], name: str, *, white: int | None = None
) -> Callable[[npt.NDArray[Any]], Pixels]:
    """Return the function that makes uint8 of these samples, of any type and byte order, or of any part of them.

    `white` is its value where it is known, for integers.

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


def numbers(picture: Image.Image, name: str) -> tuple[npt.NDArray[Any], int | None]:
    """Return the numbers `[h, w]` of a picture of mode I, I;16 or F, and the value of white where it is known.

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
                alpha, rgba = rgba.getchannel("A"), to_srgb(rgba.convert("RGB"))
                rgba.putalpha(alpha)
            return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))

        return over_white
    return lambda strip: np.asarray(strip.convert("RGB") if to_srgb is None else to_srgb(strip))


def _to_srgb(picture: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    # What brings the colours of a picture (or its transparent twin in RGB) to sRGB; None where they are.
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

    return lambda strip: cast(Image.Image, ImageCms.applyTransform(strip.convert(wanted), transform))
