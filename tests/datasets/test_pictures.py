"""Pictures of tweets: which can be used, why not, and their difference hash."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parallelnet.datasets import pictures
from parallelnet.datasets.draft import Draft
from parallelnet.datasets.pictures import CheckPicture, difference_hash
from parallelnet.options import MAX_PIXELS


def encoded(pixels: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def checked(path: Path | str, max_pixels: int = MAX_PIXELS) -> Draft:
    folder = Path(path).parent if str(path) else Path()
    (draft,) = CheckPicture(max_pixels, folder)([Draft(0, "0", image_path=str(path))])
    return draft


def waves() -> np.ndarray:
    rows, columns = np.mgrid[0:60, 0:80]
    reds = 128 + 100 * np.sin(columns / 9 + rows / 17)
    greens, blues = 128 + 90 * np.cos(rows / 5), 128 + 80 * np.sin(columns * rows / 300)
    return np.stack([reds, greens, blues], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("seed", "expected"),
    [(0, 0xA626756D09939949), (1, 0x31268EDB845F532B), (2, 0x68B8158865905567), (3, 0x33546420050694B5)],
)
def test_hash_is_that_of_imagehash(seed: int, expected: int) -> None:
    """`int(str(imagehash.dhash(picture)), 16)` with ImageHash 4.3.2; also equal on 400 real pictures."""
    shape = (5 + 37 * seed, 11 + 50 * seed, 3)
    assert difference_hash(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)) == expected


def test_hash_of_a_smooth_picture_is_that_of_imagehash(picture: np.ndarray) -> None:
    assert difference_hash(waves()) == 0x8E8E1C1C1C383831
    grey = np.full((40, 40, 3), 200, dtype=np.uint8)
    assert difference_hash(grey) == 0


def test_scaled_or_recompressed_is_near_and_another_picture_is_not() -> None:
    pixels = waves()
    original = difference_hash(pixels)
    scaled = np.asarray(Image.fromarray(pixels).resize((160, 120)))
    pressed = np.asarray(Image.open(io.BytesIO(encoded(pixels, "JPEG", quality=30))))
    for other in (scaled, pressed):
        assert (difference_hash(other) ^ original).bit_count() <= 4
    assert (difference_hash(pixels[:, ::-1]) ^ original).bit_count() > 20


@pytest.mark.parametrize(("format", "ending"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "jpg"), ("GIF", "png")])
def test_bytes_are_kept_as_found_whatever_the_name_says(tmp_path: Path, format: str, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(encoded(waves(), format))
    draft = checked(path)
    assert (draft.reason, draft.image) == ("", path.read_bytes())
    assert (draft.image_dhash ^ 0x8E8E1C1C1C383831).bit_count() <= 2


def test_an_animation_stands_for_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(waves()), Image.fromarray(waves()[::-1, ::-1])]
    path = tmp_path / "a.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    draft = checked(path)
    assert draft.image == path.read_bytes()
    assert draft.image_dhash == difference_hash(waves())


def test_what_is_no_picture_says_why(tmp_path: Path) -> None:
    whole = encoded(waves())
    contents = {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"<html>not found</html>", "head": whole[:20]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        draft = checked(tmp_path / name)
        assert draft.reason == "picture-unreadable", name
        assert draft.image == b""
        assert str(tmp_path) not in draft.detail
    assert "0 bytes" in checked(tmp_path / "empty").detail
    assert "cut off" in checked(tmp_path / "cut").detail


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "none.jpg", tmp_path / "file" / "below.jpg", ""):
        draft = checked(path)
        assert draft.reason == "picture-missing"
        assert str(tmp_path) not in draft.detail
    assert checked(tmp_path / "none.jpg").detail == "there is no file 'none.jpg'"


@pytest.mark.parametrize("name", ["a" * 300 + ".jpg", "nul\0.jpg"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    assert checked(f"{tmp_path}/{name}").reason == "picture-unreadable"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        draft = checked(path)
        assert (draft.reason, "no regular file" in draft.detail) == ("picture-unreadable", True)


def png(width: int, height: int, data: bytes = b"", colour: int = 2) -> bytes:
    """Return a png of a few bytes whose header claims many pixels, or a palette that is not there (colour 3)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_too_many_pixels_are_refused_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(60_000, 60_000))
    draft = checked(path)
    assert draft.reason == "picture-too-large"
    assert "60000 x 60000" in draft.detail
    path.write_bytes(encoded(waves()))
    assert checked(path, 60 * 80).reason == ""
    assert checked(path, 60 * 80 - 1).reason == "picture-too-large"


def test_too_many_bytes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(waves()))
    monkeypatch.setattr(pictures, "MAX_BYTES", path.stat().st_size - 1)
    draft = checked(path)
    assert (draft.reason, "bytes; read are up to" in draft.detail) == ("picture-too-large", True)


def test_rejected_drafts_pass_untouched_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(waves()))
    rejected = Draft(1, "1", image_path=str(path)).reject("no-words")
    drafts = [Draft(0, "0", image_path=str(path)), rejected, Draft(2, "2")]
    found = list(CheckPicture(MAX_PIXELS, tmp_path)(drafts))
    assert [draft.row for draft in found] == [0, 1, 2]
    assert found[1] is rejected
    assert [draft.reason for draft in found] == ["", "no-words", "picture-missing"]


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    folder, secret = tmp_path / "posts", tmp_path / "secret.png"
    (folder / "sub").mkdir(parents=True)
    secret.write_bytes(encoded(waves()))
    (folder / "own.png").write_bytes(encoded(waves()))
    (folder / "link.png").symlink_to(secret)
    (folder / "chain.png").symlink_to("link.png")
    (folder / "up").symlink_to(tmp_path)
    (folder / "inside.png").symlink_to("own.png")
    names = ("link.png", "chain.png", "up/secret.png", "inside.png", "own.png")
    drafts = [Draft(n, str(n), image_path=f"{folder}/{name}") for n, name in enumerate(names)]

    found = list(CheckPicture(MAX_PIXELS, folder)(drafts))

    assert [draft.reason for draft in found] == ["picture-outside"] * 3 + ["", ""]
    assert not any(str(tmp_path) in draft.detail or draft.image for draft in found[:3])
    # The folder itself may be a link: pictures on another disk.
    (tmp_path / "linked").symlink_to(folder)
    linked = Draft(0, "0", image_path=f"{tmp_path}/linked/own.png")
    assert [draft.reason for draft in CheckPicture(MAX_PIXELS, tmp_path / "linked")([linked])] == [""]


@pytest.mark.parametrize(
    "error",
    [AssertionError(), MemoryError(), RecursionError("deep"), SyntaxError("x"), struct.error("y")],
)
def test_whatever_a_decoder_raises_is_one_rejected_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    path = tmp_path / "a.png"
    path.write_bytes(encoded(waves()))
    for place in ("parallelnet.image_files.load", "parallelnet.datasets.pictures.difference_hash"):
        with monkeypatch.context() as patched:
            patched.setattr(place, fail)
            draft = checked(path)
        assert draft.reason in ("picture-unreadable", "picture-too-large"), place
        assert draft.detail
        assert "\n" not in draft.detail


def test_a_palette_that_is_not_there_is_one_rejected_row(tmp_path: Path) -> None:
    path = tmp_path / "plte.png"
    path.write_bytes(png(4, 4, bytes(4 * 5), colour=3))
    assert checked(path).reason == "picture-unreadable"
