"""Files that lie about themselves, or that are honestly large."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parallelnet import image, image_files
from parallelnet.errors import InputError
from parallelnet.image_files import TooLargeError
from parallelnet.options import LimitOptions


def encoded(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, raw, *, depth=8, colour=2, interlaced=0):
    """Return a png whose pixels, inflated, are `raw`, whatever its header says."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


# --- claims -----------------------------------------------------------------------------------------------------------

CHILD = """
import sys
from parallelnet import errors, image
def peak(): return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
before = peak()
try:
    image.read(sys.stdin.buffer.read())
except errors.InputError as error:
    print(type(error).__name__, end=" ")
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell the peak of memory")
@pytest.mark.parametrize(
    "file",
    [
        png(1, 60_000_000, bytes(100)),
        encoded(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[:21] + b"\xff\xff\xff\x0f" + bytes(40),
        encoded(Image.new("P", (8, 8)), "GIF").replace(b"\x08\0\x08\0", b"\xff\xff\xff\xff"),
    ],
    ids=["png", "webp", "gif"],
)
def test_what_is_refused_costs_no_memory(file):
    done = subprocess.run([sys.executable, "-c", CHILD], input=file, capture_output=True, check=True)
    said, peak_mb = done.stdout.decode().split()
    assert said == "TooLargeError"
    assert float(peak_mb) < 20  # Pillow's plug-ins; the pixels would take 180 MB and more


def test_a_claim_that_its_bytes_cannot_hold_is_refused():
    with pytest.raises(
        TooLargeError, match=r"claims 1 x 60000000 = 60,000,000 pixels in \d+ bytes.*Mend: scale it down"
    ):
        image.read(png(1, 60_000_000, bytes(100)))


def test_honest_plain_pictures_are_read():
    black = encoded(Image.new("RGB", (4_200, 4_100)))  # more than any file may claim without its bytes
    assert image_files.FREE_PIXELS < 4_200 * 4_100
    assert len(black) < 60_000
    assert not image.read(black).any()
    webp = encoded(Image.new("RGB", (2_000, 1_500), "red"), "WEBP", lossless=True)
    assert len(webp) < 1_000
    assert (image.read(webp) == (255, 0, 0)).all()


def test_webp_is_refused_before_its_plug_in_sees_it(monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    for size, options in (
        ((16_383, 3), {"lossless": True}),
        ((30, 40), {}),
        ((30, 40), {"exif": b"Exif\0\0" + bytes(20)}),
    ):
        file = encoded(Image.new("RGB", size), "WEBP", **options)
        with pytest.raises(TooLargeError, match=f"has {size[0]} x {size[1]} = "):
            image.read(file, limits=LimitOptions(max_pixels=1_000))


def test_a_tiff_of_one_enormous_tile_is_refused():
    tags = [
        (256, 10),
        (257, 10),
        (258, 8),
        (259, 5),
        (262, 1),
        (277, 1),
        (322, 60_000),
        (323, 60_000),
        (324, 200),
        (325, 9),
    ]
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    file = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    with pytest.raises(TooLargeError, match=r"A tile of Picture .* has 60000 x 60000"):
        image.read(file.ljust(250, b"\0"))


def test_a_file_of_more_bytes_than_any_such_picture_has_is_refused():
    limits = LimitOptions(max_pixels=1_000)
    file = encoded(Image.new("RGB", (30, 30)))
    assert image.read(file + bytes(1_000_000), limits=limits).shape == (30, 30, 3)
    with pytest.raises(TooLargeError, match=r"bytes; allowed: up to 16 for each of --max-pixels \(1,000\)"):
        image.read(file + bytes(1_100_000), limits=limits)


# --- large JPEG -------------------------------------------------------------------------------------------------------


def test_a_large_photo_is_decoded_at_half_its_size(picture):
    file = encoded(Image.fromarray(picture), "JPEG", quality=95, subsampling=0)
    assert image.read(file, limits=LimitOptions(max_pixels=4_800)).shape == (60, 80, 3)
    half = image.read(file, limits=LimitOptions(max_pixels=4_799))
    assert half.shape == (30, 40, 3)
    expected = np.asarray(Image.fromarray(picture).resize((40, 30), Image.Resampling.BOX))
    assert np.abs(half.astype(int) - expected).mean() < 4  # jpeg
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(picture), "JPEG", exif=exif)
    assert image.read(turned, limits=LimitOptions(max_pixels=4_799)).shape == (40, 30, 3)


def test_larger_or_progressive_ones_are_refused_with_their_own_size(picture):
    for options, n in (({}, 1_199), ({"progressive": True}, 4_799)):
        file = encoded(Image.fromarray(picture), "JPEG", **options)
        with pytest.raises(TooLargeError, match=r"has 80 x 60 = 4,800 pixels.*raise --max-pixels"):
            image.read(file, limits=LimitOptions(max_pixels=n))


# --- cut inside, where Pillow leaves the rest black -------------------------------------------------------------------


@pytest.mark.parametrize("colour", [0, 2, 6])
def test_a_png_whose_rows_end_too_early_is_refused(colour):
    row = 1 + 8 * {0: 1, 2: 3, 6: 4}[colour]
    raw = b"".join(b"\0" + bytes([200]) * (row - 1) for _ in range(9))
    if colour != 6:  # what is missing there is transparent, so white
        with pytest.raises(InputError, match="is cut off: its last rows are missing"):
            image.read(png(8, 9, raw[: 6 * row], colour=colour))
    assert image.read(png(8, 9, raw, colour=colour)).shape == (9, 8, 3)


def test_a_png_that_is_black_below_is_read(picture):
    picture[30:] = 0
    for options in ({}, {"optimize": True}):
        np.testing.assert_array_equal(image.read(encoded(Image.fromarray(picture), **options)), picture)
    assert not image.read(encoded(Image.new("1", (33, 9)))).any()


def test_the_bytes_of_an_interlaced_png_are_known():
    # 8 x 8 grey: passes of 1x1, 1x1, 2x1, 2x2, 4x2, 4x4 and 8x4 pixels, a filter byte a row.
    raw = bytes(2 + 2 + 3 + 6 + 10 + 20 + 36)
    assert not image.read(png(8, 8, raw, colour=0, interlaced=1)).any()
    with pytest.raises(InputError, match="is cut off"):
        image.read(png(8, 8, raw[:-1], colour=0, interlaced=1))


def test_a_png_that_cannot_hold_its_rows_is_cut_off():
    with pytest.raises(InputError, match=r"is cut off or damaged .*truncated"):
        image.read(png(4_000, 3_000, bytes(10)))


def test_a_png_that_is_broken_inside_is_refused():
    # Pillow decodes a png to find its EXIF, and does not raise a second time.
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(256, size=(60, 80, 3), dtype=np.uint8)))
    with pytest.raises(InputError, match="is cut off or damaged"):
        image.read(whole[:5_000] + b"\xff" * 20 + whole[5_020:])


# --- odd, but fine ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0no such thing as a header",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",  # 65,535 entries, none there
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x02\0\0\0\x06\0\x08\0\0\0\0\0",  # two orientations
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",  # the 99th
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_is_no_reason_to_refuse_or_to_warn(picture, exif, kind):
    rgb = image.read(encoded(Image.fromarray(picture), kind, exif=exif))  # warnings are errors in tests
    assert rgb.size == picture.size


def test_what_begins_as_a_picture_is_not_called_none():
    for start, kind in ((b"\xff\xd8\xff\xe0", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"II*\0\x08\0\0\0", "tiff")):
        with pytest.raises(InputError, match=rf"begins as {kind} but is damaged|is damaged|cut off"):
            image.read(start + bytes(60))
