"""Steps from a row of the input to checked speech and picture, and the clock that times them."""

import importlib.util
import io
import os
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parallelnet import audio
from parallelnet.data.shards import Example
from parallelnet.datasets import steps
from parallelnet.datasets.steps import (
    Clock,
    advanced,
    check_picture,
    check_sound,
    clean_text,
    difference_hash,
    exclude,
    flac,
    read_excluded,
    speak,
)
from parallelnet.errors import InputError, ManifestError, OptionError
from parallelnet.options import MAX_PIXELS
from parallelnet.synthesis import tts
from parallelnet.synthesis.tts import Spoken

PACKAGES = ("espeakng_loader", "ftfy", "emoji", "py3langid")
needs_tts = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in PACKAGES), reason="needs the extra tts"
)


class Tone:
    """An engine that hums for a tenth of a second a word, at a level that the text names."""

    name, version, voices, settings = "tone", "1", ("low", "high"), "rate=3"

    def check_voices(self, voices):
        if "none" in voices:
            raise OptionError("no voice none")

    def speak(self, text, voice):
        if text == "fail":
            raise InputError("tone could not speak it.")
        n = {"nothing": 0}.get(text, 2_205 * len(text.split()))
        level = {"silent": 0.0, "soft": 0.005, "loud": 3.0}.get(text, 0.3)
        wave = level * np.sin(np.arange(n) * (0.1 if voice == "low" else 0.2)).astype(np.float32)
        times = tuple((word, 0.1 * at, 0.1 * at + 0.1) for at, word in enumerate(text.split()))
        return Spoken(wave.astype(np.float32), 22_050, times)


CLEAN = partial(clean_text, emoji="name", max_characters=1000)
SPEAK = partial(speak, engine=Tone())


def examples(*texts):
    return [Example(row, str(row), text=text, spoken_text=text) for row, text in enumerate(texts)]


@needs_tts
def test_clean_text():
    given = examples("RT @x: So #HappyToday with all my lovely friends!! \U0001f602 http://t.co/a", "??", "word " * 30)
    first, empty, long = (clean_text(row, emoji="drop", max_characters=80) for row in given)
    assert (first.spoken_text, first.language) == ("So happy today with all my lovely friends!", "en")
    assert (empty.reason, empty.detail) == ("no-words", "")
    assert (long.reason, long.detail) == ("text-too-long", "149 characters; allowed: 80")
    (named,) = map(CLEAN, examples("\U0001f602"))
    assert named.spoken_text == "face with tears of joy"


def test_speak_sets_what_was_spoken():
    (spoken,) = map(SPEAK, examples("one two three"))
    samples = audio.read(spoken.speech)
    assert spoken.duration_s == len(samples) / 16_000 == pytest.approx(0.3, abs=1e-4)
    assert [word for word, _, _ in spoken.word_times] == ["one", "two", "three"]
    assert max(end for _, _, end in spoken.word_times) <= spoken.duration_s
    assert spoken.speech[:4] == b"fLaC"
    assert (spoken.tts_engine, spoken.tts_version) == ("tone", "1")
    assert spoken.tts_voice in ("low rate=3", "high rate=3")
    assert abs(samples).max() == pytest.approx(0.3, abs=0.02)


def test_voices_depend_on_row_and_seed_only():
    rows = examples(*["word"] * 40)
    voices = [example.tts_voice for example in map(partial(speak, engine=Tone(), seed=1), rows)]
    assert set(voices) == {"low rate=3", "high rate=3"}
    assert voices == [speak(row, engine=Tone(), seed=1).tts_voice for row in reversed(rows)][::-1]
    assert voices != [example.tts_voice for example in map(partial(speak, engine=Tone(), seed=2), rows)]
    assert {example.tts_voice for example in map(partial(speak, engine=Tone(), voices=["low"]), rows)} == {"low rate=3"}


def test_speech_that_fails_or_is_silent_is_rejected_with_its_reason():
    given = examples("fail", "nothing", "silent", "soft", "loud", "fine")
    checked = [advanced(row, {"speak": SPEAK, "check-sound": check_sound}, Clock()) for row in given]
    assert [example.reason for example in checked] == ["speech-failed"] * 2 + ["speech-silent"] * 2 + ["", ""]
    assert checked[0].detail == "tone could not speak it."
    assert checked[1].detail == "tone gave no sound"
    assert checked[2].detail == "nothing but zeros"
    assert checked[3].detail == "the loudest sample is -46 dB of full scale"
    assert [example.row for example in checked] == list(range(6))
    assert not any(example.speech for example in checked[:4])
    assert abs(audio.read(checked[4].speech)).max() == pytest.approx(1, abs=1e-3)  # clipped, not wrapped round


def test_damaged_speech_is_found():
    (spoken,) = map(SPEAK, examples("one two three"))
    damaged = [replace(spoken, speech=data) for data in (b"", b"fLaC", spoken.speech[:60])]
    assert [example.reason for example in map(check_sound, damaged)] == ["speech-silent"] * 3
    long = replace(spoken, speech=flac(np.tile(np.float32([0.5, -0.5]), 16_000 * 700 // 2)))
    assert check_sound(long).reason == ""  # eleven minutes: --max-characters decides, not this


def test_flac_is_exact():
    samples = np.float32([0, 0.5, -0.5, 1, -1, 2, 3.1 / 32_768])
    decoded = audio.read(flac(samples)) * 32_768
    assert decoded.tolist() == [0, 16_384, -16_384, 32_767, -32_768, 32_767, 3]


@needs_tts
def test_real_speech_is_the_same_bytes_across_processes():

    code = (
        "import hashlib\n"
        "from parallelnet.synthesis import tts\nfrom parallelnet.data.shards import Example\n"
        "from parallelnet.datasets.steps import check_sound, clean_text, speak\n"
        "rows = [Example(row, str(row), text='I am so happy today #LoveIt, number %d' % row) for row in range(12)]\n"
        "engine = tts.open_engine('espeak-ng')\n"
        "cleaned = [clean_text(row, emoji='name', max_characters=1000) for row in rows]\n"
        "done = [check_sound(speak(row, engine=engine, seed=3)) for row in cleaned]\n"
        "assert not any(d.reason for d in done), done\n"
        "assert len({d.tts_voice for d in done}) > 4\n"
        "digest = hashlib.sha256(b''.join(d.speech for d in done) + repr([d.word_times for d in done]).encode())\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code + "print(digest.hexdigest())"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    here = {}
    exec(code, here)  # with whatever this process has loaded, and its threads
    assert found == here["digest"].hexdigest() + "\n"


@needs_tts
def test_nothing_opens_a_socket(monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (row,) = examples("hello over there")
    assert check_sound(speak(CLEAN(row), engine=tts.open_engine("espeak-ng"))).speech


# --- pictures ---------------------------------------------------------------------------------------------------------


def encoded(pixels: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def checked(path: Path | str, max_pixels: int = MAX_PIXELS) -> Example:
    folder = Path(path).parent if str(path) else Path()
    return check_picture(Example(0, "0", image_path=str(path)), max_pixels=max_pixels, folder=os.path.realpath(folder))


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
    example = checked(path)
    assert (example.reason, example.image) == ("", path.read_bytes())
    assert (example.image_dhash ^ 0x8E8E1C1C1C383831).bit_count() <= 2


def test_an_animation_stands_for_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(waves()), Image.fromarray(waves()[::-1, ::-1])]
    path = tmp_path / "a.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    example = checked(path)
    assert example.image == path.read_bytes()
    assert example.image_dhash == difference_hash(waves())


def test_what_is_no_picture_says_why(tmp_path: Path) -> None:
    whole = encoded(waves())
    contents = {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"<html>not found</html>", "head": whole[:20]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        example = checked(tmp_path / name)
        assert example.reason == "picture-unreadable", name
        assert example.image == b""
        assert str(tmp_path) not in example.detail
    assert "0 bytes" in checked(tmp_path / "empty").detail
    assert "cut off" in checked(tmp_path / "cut").detail


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "none.jpg", tmp_path / "file" / "below.jpg", ""):
        example = checked(path)
        assert example.reason == "picture-missing"
        assert str(tmp_path) not in example.detail
    assert checked(tmp_path / "none.jpg").detail == "there is no file 'none.jpg'"


@pytest.mark.parametrize("name", ["a" * 300 + ".jpg", "nul\0.jpg"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    assert checked(f"{tmp_path}/{name}").reason == "picture-unreadable"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        example = checked(path)
        assert (example.reason, "no regular file" in example.detail) == ("picture-unreadable", True)


def png(width: int, height: int, data: bytes = b"", colour: int = 2) -> bytes:
    """Return a png of a few bytes whose header claims many pixels, or a palette that is not there (colour 3)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_too_many_pixels_are_refused_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(60_000, 60_000))
    example = checked(path)
    assert example.reason == "picture-too-large"
    assert "60000 x 60000" in example.detail
    path.write_bytes(encoded(waves()))
    assert checked(path, 60 * 80).reason == ""
    assert checked(path, 60 * 80 - 1).reason == "picture-too-large"


def test_too_many_bytes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(waves()))
    monkeypatch.setattr(steps, "MAX_BYTES", path.stat().st_size - 1)
    example = checked(path)
    assert (example.reason, "bytes; read are up to" in example.detail) == ("picture-too-large", True)


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
    examples = [Example(n, str(n), image_path=f"{folder}/{name}") for n, name in enumerate(names)]

    found = [check_picture(row, max_pixels=MAX_PIXELS, folder=str(folder)) for row in examples]

    assert [example.reason for example in found] == ["picture-outside"] * 3 + ["", ""]
    assert not any(str(tmp_path) in example.detail or example.image for example in found[:3])


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
    for place in ("parallelnet.image_files.load", "parallelnet.datasets.steps.difference_hash"):
        with monkeypatch.context() as patched:
            patched.setattr(place, fail)
            example = checked(path)
        assert example.reason in ("picture-unreadable", "picture-too-large"), place
        assert example.detail
        assert "\n" not in example.detail


def test_a_palette_that_is_not_there_is_one_rejected_row(tmp_path: Path) -> None:
    path = tmp_path / "plte.png"
    path.write_bytes(png(4, 4, bytes(4 * 5), colour=3))
    assert checked(path).reason == "picture-unreadable"


# --- rows that people marked ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'id,reason,note\n7,broken,\n8,other,"a, b"\n',
        "\ufeffid;reason;note\r\n7;broken;\r\n8;other;x\r\n",
        "reason\tid\nbroken\t7\nother\t 8 \n",
        "id\n7\n8\n7\n",
    ],
)
def test_ids_are_read_however_the_csv_was_saved(tmp_path, text):
    path = tmp_path / "marks.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_excluded(path) == {"7", "8"}


def test_json_lines_are_read_too(tmp_path):
    path = tmp_path / "marks.jsonl"
    path.write_text('{"id": 7}\n{"id": "8"}\n')
    assert read_excluded(path) == {"7", "8"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("marks.csv", None, "no file"),
        ("marks.csv", "", "empty"),
        ("marks.csv", "id,reason,note\n", "no rows"),
        ("marks.csv", "name,reason\n7,x\n", "no column 'id'"),
        ("marks.csv", "id,reason\n7,x\n,broken\n", "row 2 has no id"),
        ("marks.csv", "id,reason\n7.23E+17,x\n", "spreadsheet"),
        ("marks.csv", 'id\n"7\n', "a quote is opened"),
        ("marks.xlsx", "x", "Allowed endings"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, name, text, said):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ManifestError, match=said) as caught:
        read_excluded(path)
    assert "\n" not in str(caught.value)


def test_marked_rows_fall_out_and_nothing_else():
    ids = frozenset({"7", "nobody"})
    assert [exclude(Example(0, id_), ids=ids).reason for id_ in ("7", "70", "9")] == ["excluded", "", ""]


# --- one after the other, and what each costs -------------------------------------------------------------------------


def slow(seconds=0.0, work=0, reason=""):
    """Return a step that sleeps, works, or rejects."""

    def step(example):
        time.sleep(seconds)
        sum(range(work))
        return example.reject(reason) if reason else example

    return step


def test_a_rejected_row_passes_untouched():
    clock, gone = Clock(), Example(0, "0").reject("no-words")
    assert advanced(gone, {"never": slow()}, clock) is gone
    assert advanced(Example(0, "0"), {"first": slow(reason="duplicate"), "never": slow()}, clock).reason == "duplicate"
    assert set(clock.spent) == {"first"}


def test_each_step_is_charged_for_its_own_time_alone():
    clock = Clock()
    for _ in range(3):
        advanced(Example(0, "0"), {"first": slow(0.02), "second": slow(0.04)}, clock)
        time.sleep(0.01)
        clock.lap("writing")

    spent = {name: wall_s for name, (wall_s, _) in clock.spent.items()}
    # A sleep is never shorter than asked for; a busy machine makes it longer, hence the order alone beside it.
    assert spent["first"] >= 3 * 0.02
    assert spent["second"] >= 3 * 0.04
    assert spent["writing"] >= 3 * 0.01
    assert spent["second"] > spent["first"] > spent["writing"]


def test_waiting_costs_no_processor_time_and_work_does():
    clock = Clock()
    advanced(Example(0, "0"), {"waits": slow(0.3), "works": slow(work=8_000_000)}, clock)
    assert clock.spent["waits"][1] < 0.1
    wall_s, cpu_s = clock.spent["works"]
    assert 0.05 < cpu_s <= 1.5 * wall_s


def test_children_that_ended_count():
    clock = Clock()
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    clock.lap("speak")
    assert clock.spent["speak"][1] > 0.05
