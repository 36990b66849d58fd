"""Picture files from anywhere: what they claim is weighed before a decoder is let near their pixels.

A file of 69 bytes may claim 60 million pixels, and a decoder believes it: half a gigabyte and seconds, for one row of a
stranger's table. So sizes come from the header, must fit `LimitOptions`, and must fit the bytes that stand for them.
"""

from __future__ import annotations

import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from .errors import InputError, MissingExtraError
from .options import LimitOptions

FORMATS = 'jpeg, png, webp, gif, bmp, tiff, ppm, avif; heic with pip install "parallelnet[video]"'

FREE_PIXELS = 4096 * 4096
"""So many may be claimed by any file: plain webp, avif and gif are honestly tiny, and 0.2 GB are affordable."""

PIXELS_A_BYTE = 1032
"""Above that: grey png at the best ratio of deflate (258 bytes in 2 bits). RGB png reach 344, plain jpeg 512."""

BYTES_A_PIXEL = 16
"""No uncompressed picture has more: four channels of 32 bits. Webp, avif and heic are read into memory whole."""

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
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PILLOW = threading.Lock()


class TooLargeError(InputError):
    """A picture with more pixels than are decoded, or than its bytes can honestly hold."""


@contextmanager
def damaged(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one line that names the file.

    Raises:
        InputError: the file cannot be decoded, or there is no memory for it.
    """
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
    """Return a picture of a size that may be decoded, with its header read and nothing decoded.

    A baseline JPEG of more than `max_pixels`, up to four times as many, is set to be decoded at half its size.

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
        _register_heic(name)
        formats = ("HEIF",)
    picture = _opened(stream, name, head, formats)
    _refuse_claim(name, *picture.size, n_bytes)
    _halve(picture, limits)
    refuse_size(name, *picture.size, limits)
    if picture.format == "PNG":
        _refuse_impossible_png(name, head, n_bytes)
    if picture.format == "TIFF":
        width, height = (getattr(picture, "tag_v2", {}).get(tag, 1) for tag in _TILE)
        if isinstance(width, int) and isinstance(height, int):  # a buffer for each, whatever the picture's own size
            refuse_size(f"A tile of {name}", max(1, width), max(1, height), limits)
    return picture


def load(picture: Image.Image) -> int:
    """Decode a picture in place, and return its EXIF orientation, 1 to 8, as what a viewer still has to do.

    Raises:
        Exception: whatever the plug-in raises; see `damaged`.
    """
    turn = 1
    with _quiet_pillow(), suppress(Exception):  # broken EXIF is no reason to refuse good pixels
        turn = picture.getexif().get(_EXIF_ORIENTATION, 1)
    # TIFF reads further directories while it decodes, and warns of them; the others decode side by side.
    with _quiet_pillow() if picture.format == "TIFF" else nullcontext():
        picture.load()
    if picture.format == "TIFF":  # Pillow has turned it
        return 1
    return turn if turn in range(1, 9) else 1


def refuse_short_png(stream: BinaryIO, name: str) -> None:
    """Refuse a png whose data end before its last row: Pillow leaves the rest black without a word.

    Costs as much as inflating it: to be called where the last rows came out black.

    Raises:
        InputError: rows are missing.
    """
    stream.seek(0)
    head = stream.read(33)
    needed, inflater, n = _png_bytes(head), zlib.decompressobj(), 0
    while len(chunk := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", chunk)
        if kind != b"IDAT":
            stream.seek(length + 4, os.SEEK_CUR)
            continue
        data = stream.read(length)
        while data:
            n += len(inflater.decompress(data, 1 << 20))
            data = inflater.unconsumed_tail
        stream.seek(4, os.SEEK_CUR)
    n += len(inflater.flush())
    if n < needed:
        raise InputError(f"{name} is cut off: its pixels need {needed:,} bytes, {n:,} arrived. Mend: copy it again.")


def refuse_size(name: str, width: int, height: int, limits: LimitOptions) -> None:
    """Refuse a picture without pixels or with more than are decoded.

    Raises:
        InputError: it has no pixels.
        TooLargeError: it has more than `limits.max_pixels`.
    """
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


def _register_heic(name: str) -> None:
    try:
        import pillow_heif
    except ImportError:
        raise MissingExtraError(f"{name} is HEIC: reading it", "video") from None
    pillow_heif.register_heif_opener()


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings (of odd EXIF, for instance) and its own limit of pixels out, both one for the process.

    Held only while headers are read: decoding goes on side by side.
    """
    with _PILLOW, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # unknown to our options: ours is checked next
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _opened(stream: BinaryIO, name: str, head: bytes, formats: tuple[str, ...]) -> Image.Image:
    try:
        with _quiet_pillow():
            return Image.open(stream, formats=formats)
    except UnidentifiedImageError:
        for start, (kind, read) in _STARTS.items():
            if head.startswith(start):  # "no picture" would be untrue
                raise InputError(
                    f"{name} begins as {kind} but is damaged, or of a kind that is not read. Allowed: {read}. "
                    "Mend: copy it again, or save it as png or jpeg."
                ) from None
        raise InputError(f"{name} is no picture that can be read. Allowed: {FORMATS}.") from None
    except MemoryError:
        raise TooLargeError(f"{name} needs more memory than there is. Mend: scale it down.") from None
    except Exception as error:  # plug-ins raise anything, SyntaxError and struct.error among them, on a bad header
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"{name} is damaged ({said}). Allowed: {FORMATS}.") from None


def _halve(picture: Image.Image, limits: LimitOptions) -> None:
    """Have a baseline JPEG that is too large decoded at half its size, where that is small enough.

    Its blocks are decoded to 4 x 4 instead of 8 x 8 pixels: a photo of 108 megapixels costs as much as one of 27.
    Progressive ones are not halved: their coefficients are all held, 3 to 6 bytes a pixel.
    """
    width, height = picture.size
    large = limits.max_pixels < width * height <= 4 * limits.max_pixels
    if large and min(width, height) > 1 and picture.format in ("JPEG", "MPO") and "progressive" not in picture.info:
        picture.draft(None, (width // 2, height // 2))


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height that the header of a webp names; None for other files and broken headers."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _png_bytes(head: bytes) -> int:
    """Return how many bytes the pixels of a png are before they are deflated, filter bytes included."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head[16:29])
    bits = depth * _PNG_CHANNELS.get(colour, 1)
    sides = [(width, height)]
    if interlaced:
        sides = [((width - x + dx - 1) // dx, (height - y + dy - 1) // dy) for x, y, dx, dy in _ADAM7]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sides if columns > 0 and rows > 0)


def _refuse_impossible_png(name: str, head: bytes, n_bytes: int) -> None:
    needed = _png_bytes(head)
    if needed > PIXELS_A_BYTE * n_bytes:
        raise InputError(
            f"{name} is cut off: its pixels are {needed:,} bytes, more than {n_bytes:,} bytes can hold. "
            "Mend: copy it again."
        )
