from __future__ import annotations

import io
import struct
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parallelnet import image
from parallelnet.errors import InputError, MissingExtraError
from parallelnet.options import LimitOptions

EXAMPLES = Path(__file__).parents[1] / "examples"


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A png that ends after its header: enough to tell the size, nothing to decode."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 1_000) + b"IDAT" + bytes(100)


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_files_come_back(picture, kind):
    rgb = image.read(encoded(Image.fromarray(picture), kind))
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, picture)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "MPO"])
def test_lossy_files_look_alike(picture, kind):
    options = {"quality": 95, "subsampling": 0} if kind in ("JPEG", "MPO") else {}
    rgb = image.read(encoded(Image.fromarray(picture), kind, **options))
    # gif has 256 colours for the whole picture, webp halves the colour resolution: a few levels of 255 on average.
    assert np.abs(rgb.astype(int) - picture).mean() < 6


def test_every_way_in_gives_the_same(picture, picture_png):
    data = picture_png.read_bytes()
    with picture_png.open("rb") as stream, Image.open(picture_png) as opened:
        stream.seek(20)
        for source in (picture_png, str(picture_png), data, bytearray(data), stream, io.BytesIO(data), opened, picture):
            np.testing.assert_array_equal(image.read(source), picture)
        assert not stream.closed


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(orientation, kind):
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20], upright[:12, 20:], upright[12:, :20] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    # What a camera stores so that the viewer's turn (EXIF 2.32, table 6) makes it upright again.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    rgb = image.read(encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert rgb.shape == upright.shape
    # Middles of the quarters, away from jpeg's ringing at the edges.
    for row, column in ((6, 10), (6, 30), (18, 10), (18, 30)):
        np.testing.assert_allclose(rgb[row, column], upright[row, column], atol=6)


def test_sixteen_bit_grey_is_scaled(tmp_path):
    grey = np.array([[0, 257 * 10, 257 * 128], [257 * 200, 65_534, 65_535]], np.uint16)
    expected = np.repeat(np.array([[0, 10, 128], [200, 255, 255]], np.uint8)[:, :, None], 3, axis=2)
    for kind in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(image.read(encoded(Image.fromarray(grey), kind)), expected)
    np.testing.assert_array_equal(image.read(grey), expected)


def test_grey_one_bit_and_palette(picture):
    grey = Image.fromarray(picture).convert("L")
    expected = np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(image.read(encoded(grey, "PNG")), expected)
    one_bit = grey.point(lambda value: 255 * (value > 100), mode="1")
    np.testing.assert_array_equal(image.read(encoded(one_bit, "PNG")), np.where(expected > 100, 255, 0))
    palette = Image.fromarray(picture).quantize(16)
    np.testing.assert_array_equal(image.read(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))


def test_transparent_parts_are_white(picture):
    alpha = np.full((60, 80), 255, np.uint8)
    alpha[:30] = 0
    alpha[30:40] = 51  # a fifth
    expected = picture.copy()
    expected[:30] = 255
    expected[30:40] = np.round(picture[30:40] * 0.2 + 255 * 0.8)
    rgba = Image.fromarray(np.dstack([picture, alpha]))
    np.testing.assert_allclose(image.read(encoded(rgba, "PNG")).astype(int), expected, atol=1)  # rounding of products
    np.testing.assert_allclose(image.read(np.asarray(rgba)).astype(int), expected, atol=1)
    grey = image.read(encoded(rgba.convert("LA"), "PNG"))
    assert (grey[:30] == 255).all()
    assert (grey[40:] < 255).any()


def test_palette_and_rgb_with_a_transparent_colour():
    palette = Image.new("P", (4, 2), 0)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.putpixel((3, 1), 1)
    rgb = image.read(encoded(palette, "PNG", transparency=0))
    np.testing.assert_array_equal(rgb[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(rgb[1, 3], [200, 0, 0])
    plain = Image.new("RGB", (4, 2), (1, 2, 3))
    assert (image.read(encoded(plain, "PNG", transparency=(1, 2, 3))) == 255).all()


def test_cmyk_jpeg_is_not_inverted():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow make red
    rgb = image.read(encoded(cmyk, "JPEG", quality=95))
    np.testing.assert_allclose(rgb[8, 8], [255, 0, 0], atol=6)  # jpeg


def test_animation_gives_its_first_frame():
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    for kind in ("GIF", "WEBP"):
        rgb = image.read(encoded(red, kind, save_all=True, append_images=[blue]))
        assert rgb[4, 4, 0] > 240
        assert rgb[4, 4, 2] < 15


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 3), 7, np.uint8), 7),
        (np.full((2, 3, 1), 7, np.uint8), 7),
        (np.full((2, 3, 3), 0.5), 128),
        (np.full((2, 3, 3), 0.5, np.float32), 128),
        (np.full((2, 3, 3), 65_535, np.uint16), 255),
        (np.ones((2, 3), bool), 255),
    ],
)
def test_arrays_are_scaled_by_their_type(array, expected):
    rgb = image.read(array)
    assert rgb.shape == (2, 3, 3)
    assert (rgb == expected).all()


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_file_that_is_cut_off_is_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(InputError, match=r"cut off|damaged|no picture") as caught:
        image.read(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)


def test_missing_empty_folder_and_text_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        image.read(tmp_path / "none.png")
    with pytest.raises(InputError, match="is a folder"):
        image.read(tmp_path)
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.png' is empty \(0 bytes\)"):
        image.read(empty)
    text = tmp_path / "text.png"
    text.write_text("This is no picture. " * 100)
    with pytest.raises(InputError, match=r"text\.png' is no picture that can be read. Allowed: jpeg"):
        image.read(text)


def test_unreadable_is_refused(picture_png, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root, who runs tests in containers
    with pytest.raises(InputError, match="cannot be opened: Permission denied"):
        image.read(picture_png)


@pytest.mark.parametrize("source", [None, 3, ["a.png"], io.StringIO("x")])
def test_wrong_types_are_refused(source):
    with pytest.raises(InputError, match=f"type {type(source).__name__}; allowed: a path"):
        image.read(source)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 4), np.uint8), "no pixels"),
        (np.zeros(4, np.uint8), "wrong shape"),
        (np.zeros((3, 8, 8), np.uint8), "wrong shape"),
        (np.full((2, 2), np.nan), "no NaN"),
        (np.full((2, 2), 200.0), r"allowed: floats in \[0, 1\]"),
        (np.full((2, 2), np.inf), r"allowed: floats in \[0, 1\]"),
        (np.full((2, 2), -1, np.int64), "allowed: uint8, uint16"),
        (np.zeros((2, 2), complex), "allowed: uint8, uint16"),
    ],
)
def test_wrong_arrays_are_refused(array, message):
    with pytest.raises(InputError, match=message):
        image.read(array)


def test_an_enormous_picture_is_refused_from_its_header():
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(InputError, match=r"claims 30000 x 30000 = 900,000,000 pixels in 141 bytes.*: 16,777,216"):
        image.read(png_header(30_000, 30_000))
    with pytest.raises(InputError, match=r"9000 x 9000 = 81,000,000 pixels; allowed: up to 50,0.*--max-pixels"):
        image.read(png_header(9_000, 9_000) + bytes(100_000))
    assert limit == Image.MAX_IMAGE_PIXELS  # Pillow's own guard is back in place
    # Our limit is the one that counts, where Pillow would have stopped at 179 million pixels.
    with pytest.raises(InputError, match="cut off or damaged"):
        image.read(png_header(30_000, 6_000) + bytes(600_000), limits=LimitOptions(max_pixels=10**9))


def test_the_limit_holds_for_arrays_and_pictures_too(picture):
    limits = LimitOptions(max_pixels=4_799)
    for source in (picture, Image.fromarray(picture)):
        with pytest.raises(InputError, match=r"80 x 60 = 4,800 pixels"):
            image.read(source, limits=limits)
    assert image.read(picture, limits=LimitOptions(max_pixels=4_800)).shape == (60, 80, 3)


def test_heic_without_the_extra_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r'HEIC.*pip install "parallelnet\[video\]"'):
        image.read(b"\0\0\0\x20ftypheic" + bytes(100))


@pytest.mark.skipif(find_spec("pillow_heif") is None, reason="needs the extra `video`")
def test_heic_is_read_with_the_extra(picture):
    import pillow_heif

    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(picture)).save(stream, quality=95)
    rgb = image.read(stream.getvalue())
    assert rgb.shape == picture.shape
    assert np.abs(rgb.astype(int) - picture).mean() < 6  # halved colour resolution
    with pytest.raises(InputError, match="--max-pixels"):
        image.read(stream.getvalue(), limits=LimitOptions(max_pixels=100))
    with pytest.raises(InputError, match=r"cut off|damaged|no picture"):
        image.read(stream.getvalue()[: len(stream.getvalue()) // 2])


# --- the tensor -------------------------------------------------------------------------------------------------------


def test_resize_keeps_range_and_corners(picture):
    tensor = image.resize(picture)
    assert tensor.shape == (3, 128, 128)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert tensor.min() >= 0
    assert tensor.max() <= 1
    np.testing.assert_allclose(tensor[:, 0, 0], picture[0, 0] / 255, atol=2 / 255)  # a step of the gradient
    np.testing.assert_allclose(tensor[:, -1, -1], picture[-1, -1] / 255, atol=5 / 255)
    assert not image.resize(np.zeros((9, 9, 3), np.uint8)).any()
    assert (image.resize(np.full((9, 9, 3), 255, np.uint8)) == 1).all()


def test_resize_is_antialiased():
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    # Eight columns make one: half black, half white. Without antialiasing every pixel would be black or white.
    # The columns at both ends see one stripe more of one kind (0.018 off).
    np.testing.assert_allclose(image.resize(stripes), 0.5, atol=0.02)


def test_signal_is_the_resized_picture(picture_png, picture):
    tensor, face = image.signal(picture_png)
    np.testing.assert_array_equal(tensor, image.resize(picture))
    assert (face.mode, face.status, face.box) == ("off", "off", (0, 0, 80, 60))


# --- the face ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def astronaut():
    return image.read(EXAMPLES / "astronaut.jpg")


def test_the_face_of_the_astronaut_is_cut_out(astronaut):
    crop, face = image.crop_face(astronaut, "auto")
    left, top, width, height = face.box
    assert face.status == "cropped"
    assert face.known
    assert width == height
    assert crop.shape == (height, width, 3)
    np.testing.assert_array_equal(crop, astronaut[top : top + height, left : left + width])
    # Both eyes and the mouth, read off the picture by eye, lie inside; the ear ring's flag on the sleeve does not.
    for x, y in ((203, 112), (243, 108), (228, 158)):
        assert left < x < left + width
        assert top < y < top + height
    assert 80 <= width <= 160


def test_the_box_scales_with_the_picture(astronaut):
    double = np.asarray(Image.fromarray(astronaut).resize((1024, 1024)))
    box = np.array(image.crop_face(astronaut)[1].box)
    # Both are searched at 320 pixels, from resamplings that differ by less than a grey level or so: same box.
    np.testing.assert_allclose(np.array(image.crop_face(double)[1].box) / 2, box, atol=12)


def test_a_face_at_the_edge_is_cut_square_and_inside(astronaut):
    _, top, side, _ = image.crop_face(astronaut)[1].box
    cut = astronaut[top + side // 20 :, :]
    crop, face = image.crop_face(cut)
    assert face.status == "cropped"
    assert crop.shape[0] == crop.shape[1] == face.box[2]
    assert face.box[0] >= 0
    assert face.box[1] >= 0
    assert face.box[0] + face.box[2] <= cut.shape[1]
    assert face.box[1] + face.box[3] <= cut.shape[0]


def test_a_crop_that_is_tight_already_is_used_whole(astronaut):
    left, top, side, _ = image.crop_face(astronaut)[1].box
    tight = astronaut[top : top + side, left : left + side]
    for size in (48, 96, 256):
        small = np.asarray(Image.fromarray(tight).resize((size, size)))
        crop, face = image.crop_face(small)
        assert crop is small
        assert face.status == "tight"
        assert face.box == (0, 0, size, size)


def test_no_face_uses_the_whole_picture_and_says_so(picture):
    large = np.asarray(Image.fromarray(picture).resize((400, 300)))
    crop, face = image.crop_face(large)
    assert crop is large
    assert face.status == "not-found"
    assert not face.known
    assert face.box == (0, 0, 400, 300)


def test_a_sliver_has_no_face():
    assert image.crop_face(np.zeros((3, 4_000, 3), np.uint8))[1].status == "not-found"
