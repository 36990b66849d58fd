"""What the numbers of pictures mean: the right value, or a refusal that names what is not known."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from parallelnet import image
from parallelnet.errors import InputError


def encoded(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def tiff(samples, *, bits, photometric=1, sample_format=1, order="<"):
    """Return a TIFF of one uncompressed strip; `samples` are its bytes, `[h, w]` of `bits` each."""
    (height, width), data = samples
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 0), (277, 1), (278, height)]
    tags += [(279, len(data)), (339, sample_format)]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, 4 if tag in (273, 279) else 3, 1)
        + (struct.pack(f"{order}I", start if tag == 273 else value) if tag in (273, 279) else b"")
        + (b"" if tag in (273, 279) else struct.pack(f"{order}HH", value, 0))
        for tag, value in tags
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return head + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + data


GREY = np.array([[0, 10, 100], [128, 200, 255]], np.uint8)
RGB = np.repeat(GREY[:, :, None], 3, axis=2)


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint32, np.uint64, ">i4"])
def test_integers_up_to_255_are_of_eight_bits(dtype):
    np.testing.assert_array_equal(image.read(GREY.astype(dtype)), RGB)
    np.testing.assert_array_equal(image.read(RGB.astype(dtype)), RGB)


@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int32, np.int64, np.uint32])
def test_integers_up_to_65535_are_of_sixteen_bits(dtype):
    np.testing.assert_array_equal(image.read((GREY.astype(np.int64) * 257).astype(dtype)), RGB)


@pytest.mark.parametrize(
    ("dtype", "high"),
    [
        (np.uint16, 255),
        (np.uint16, 1023),
        (np.uint16, 4095),
        (np.int32, 256),
        (np.int32, 4095),
        (np.int64, 16_383),
        (np.int32, 1),
    ],
)
def test_a_white_that_is_not_known_is_refused(dtype, high):
    samples = np.linspace(0, high, 12).astype(dtype).reshape(3, 4)
    with pytest.raises(InputError, match=rf"from 0 to {high}, so white may be 1, 255, 4095 or 65535.*Mend: \.astype"):
        image.read(samples)
    # As the error says, the same picture in floats is not in doubt.
    assert image.read(samples / high).max() == 255


@pytest.mark.parametrize(("low", "high"), [(-1, 200), (0, 70_000), (-128, 127)])
def test_numbers_outside_every_range_are_refused(low, high):
    with pytest.raises(InputError, match=rf"from {low} to {high}; allowed: uint8.*Mend: divide by the value of white"):
        image.read(np.array([[low, high]], np.int64))


def test_floats_up_to_255_are_told_what_to_do():
    with pytest.raises(InputError, match=r"0\.0 to 255\.0; allowed: floats in \[0, 1\].*Mend: divide by 255"):
        image.read(GREY.astype(float))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64, bool, np.float32])
def test_black_is_black_in_every_type(dtype):
    assert not image.read(np.zeros((2, 3), dtype)).any()


def test_the_layout_in_memory_does_not_matter():
    big = np.zeros((4, 6, 3), np.uint8)
    big[::2, ::2] = RGB
    big.flags.writeable = False
    for view in (big[::2, ::2], np.asfortranarray(RGB), RGB[::-1][::-1], np.moveaxis(np.moveaxis(RGB, 2, 0), 0, 2)):
        np.testing.assert_array_equal(image.read(view), RGB)
    for wide in (
        np.asfortranarray(GREY.astype(np.uint16) * 257),
        np.repeat(GREY, 2, axis=1)[:, ::2].astype(np.float64) / 255,
    ):
        np.testing.assert_array_equal(image.read(wide), RGB)


def test_what_is_read_is_the_callers_own():
    given = RGB.copy()
    image.read(given)[:] = 7
    np.testing.assert_array_equal(given, RGB)


# --- pictures of more than 8 bits -------------------------------------------------------------------------------------


def test_mode_i_of_eight_bits():
    np.testing.assert_array_equal(image.read(Image.fromarray(GREY).convert("I")), RGB)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("sample_format", "kind"), [(1, "u4"), (2, "i4")])
def test_tiff_of_32_bits_with_values_of_eight(order, sample_format, kind):
    data = GREY.astype(f"{order}{kind}").tobytes()
    file = tiff((GREY.shape, data), bits=32, sample_format=sample_format, order=order)
    if (order, sample_format) == (">", 1):  # Pillow reads none of these
        with pytest.raises(InputError, match=r"begins as tiff but is damaged, or of a kind that is not read"):
            image.read(file)
    else:
        np.testing.assert_array_equal(image.read(file), RGB)


def test_tiff_that_counts_from_white_is_turned_round():
    for bits, white, kind in ((8, 255, "u1"), (16, 65_535, "<u2")):
        stored = (white - GREY.astype(np.int64) * (white // 255)).astype(kind)
        np.testing.assert_array_equal(image.read(tiff((GREY.shape, stored.tobytes()), bits=bits, photometric=0)), RGB)
    floats = tiff((GREY.shape, (GREY / 255).astype("<f4").tobytes()), bits=32, photometric=0, sample_format=3)
    with pytest.raises(InputError, match=r"counts float32 from white \(0\) to black"):
        image.read(floats)


def test_tiff_of_12_bits_is_scaled_by_its_white():
    values = [0, 2048, 4095, 1024]
    packed = b"".join(((a << 12) | b).to_bytes(3, "big") for a, b in zip(values[::2], values[1::2], strict=True))
    rgb = image.read(tiff(((1, 4), packed), bits=12))
    np.testing.assert_array_equal(rgb[0, :, 0], [0, 128, 255, 64])


def test_tiff_of_floats_and_of_signed_bytes():
    floats = (GREY / 255).astype("<f4")
    np.testing.assert_array_equal(image.read(tiff((GREY.shape, floats.tobytes()), bits=32, sample_format=3)), RGB)
    with pytest.raises(InputError, match=r"allowed: floats in \[0, 1\]"):
        image.read(tiff((GREY.shape, GREY.astype("<f4").tobytes()), bits=32, sample_format=3))
    with pytest.raises(InputError, match="signed samples"):
        image.read(tiff((GREY.shape, GREY.tobytes()), bits=8, sample_format=2))


def test_a_file_of_sixteen_bits_says_what_white_is():
    dark = (GREY.astype(np.uint16)).reshape(2, 3)
    for kind in ("PNG", "TIFF", "PPM"):
        assert image.read(encoded(Image.fromarray(dark), kind)).max() == 1  # 255 of 65535
    with pytest.raises(InputError, match="white may be"):
        image.read(dark)


def test_transparent_grey_of_sixteen_bits_is_white():
    file = encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG")
    clear = b"tRNS" + struct.pack(">H", 10 * 257)
    import zlib

    chunk = struct.pack(">I", 2) + clear + struct.pack(">I", zlib.crc32(clear))
    expected = RGB.copy()
    expected[0, 1] = 255
    np.testing.assert_array_equal(image.read(file[:33] + chunk + file[33:]), expected)


def test_lab_is_refused_and_other_modes_are_read(picture):
    rgb = Image.fromarray(picture)
    with pytest.raises(InputError, match="colours of mode LAB"):
        image.read(
            ImageCms.profileToProfile(
                rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
            )
        )
    for mode in ("YCbCr", "HSV", "RGBX", "CMYK"):
        # Rounding of their own colour arithmetic.
        assert np.abs(image.read(rgb.convert(mode)).astype(int) - picture).max() <= 6, mode


# --- colour profiles --------------------------------------------------------------------------------------------------

P3 = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
PROPHOTO = [(0.79767, 0.28804, 0.0), (0.13519, 0.71187, 0.0), (0.03134, 0.00009, 0.82491)]


def profile(columns, gamma):
    """Return an ICC profile (version 2) of three primaries, XYZ under D50, and a gamma."""

    def fixed(values):
        return b"".join(struct.pack(">i", round(x * 65_536)) for x in values)

    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed((0.9642, 1, 0.8249))}
    tags |= {name: b"XYZ \0\0\0\0" + fixed(xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags |= {name: curve for name in (b"rTRC", b"gTRC", b"bTRC")}
    tags |= {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"cprt": b"text\0\0\0\0none" + bytes(4),
    }
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = bytearray(128)
    struct.pack_into(">I", head, 0, at + len(body))
    head[8:12], head[12:24], head[36:40] = b"\x02\x10\0\0", b"mntrRGB XYZ ", b"acsp"
    head[68:80] = fixed((0.9642, 1, 0.8249))
    return bytes(head) + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize(("columns", "gamma"), [(P3, 2.2), (PROPHOTO, 1.8)], ids=["P3", "ProPhoto"])
def test_colours_of_a_profile_become_those_that_viewers_show(picture, columns, gamma):
    own = profile(columns, gamma)
    srgb, theirs = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(own))
    stored = ImageCms.profileToProfile(Image.fromarray(picture), srgb, theirs)
    assert stored is not None
    assert np.abs(np.asarray(stored).astype(int) - picture).max() > 20, "the test shows nothing"
    rgb = image.read(encoded(stored, icc_profile=own))
    # 8 bits of a wide space say less of dark colours of a narrow one.
    assert np.abs(rgb.astype(int) - picture).mean() < 2
    alpha = stored.convert("RGBA")
    alpha.putalpha(Image.new("L", alpha.size, 255))
    np.testing.assert_allclose(image.read(encoded(alpha, icc_profile=own)).astype(int), rgb, atol=1)


def test_profiles_of_srgb_broken_or_foreign_change_nothing(picture):
    rgb = Image.fromarray(picture)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for own in (srgb, b"broken", srgb[:200], bytes(500)):
        np.testing.assert_array_equal(image.read(encoded(rgb, icc_profile=own)), picture)
    grey = rgb.convert("L")
    np.testing.assert_array_equal(
        image.read(encoded(grey, icc_profile=profile(P3, 2.2))), np.asarray(grey.convert("RGB"))
    )
