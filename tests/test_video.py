"""Clips as phones and programs make them: turned, of a varying rate, without sound or pictures, cut, no clip at all."""

import gc
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from parallelnet import audio_files, video
from parallelnet.errors import InputError, MissingExtraError
from parallelnet.options import LimitOptions, SignalOptions
from parallelnet.types import ClipFrame

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("clip_fixture", Path(__file__).with_name("clip_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
write_clip = fixtures.write_clip

WHOLE = SignalOptions(face="off")
FACES = SignalOptions(face="auto")
LIMITS = LimitOptions()
SOUND = 0.3 * np.sin(2 * np.pi * 220 * np.arange(32_000) / 16_000).astype(np.float32)


def corners(rgb):
    """Return the colours of the corners: top left, top right, bottom left, bottom right; R, G, B or W."""
    h, w = rgb.shape[0] // 3, rgb.shape[1] // 3
    means = [part.mean((0, 1)) for part in (rgb[:h, :w], rgb[:h, -w:], rgb[-h:, :w], rgb[-h:, -w:])]
    return "".join("W" if mean.min() > 127 else "RGB"[mean.argmax()] for mean in means)


@pytest.fixture
def quarters():
    """64 rows, 96 columns: red, green over blue, white."""
    rgb = np.zeros((64, 96, 3), np.uint8)
    rgb[:32, :48], rgb[:32, 48:], rgb[32:, :48], rgb[32:, 48:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3
    return rgb


def seen(path, every_s=None, limits=LIMITS):
    notes = []
    return list(video.frames(path, limits, notes, every_s)), notes


def test_sound_and_frames_of_a_plain_clip(tmp_path, quarters):
    clip = video.read(write_clip(tmp_path / "a.mp4", quarters, SOUND), WHOLE)
    assert len(clip.waveform) == pytest.approx(32_000, abs=1100)  # AAC pads to whole frames of 1,024 samples
    assert len(clip.seen) == video.AVERAGED
    assert clip.notes == ()
    assert corners(clip.seen[0].rgb) == "RGBW"


@pytest.mark.parametrize(
    ("turn", "upright"), [(-90, "BRWG"), (90, "GWRB"), (180, "WBGR"), (None, "RGBW")]
)  # counter-clockwise
def test_a_clip_is_turned_as_its_display_matrix_says(tmp_path, quarters, turn, upright):
    ((_, rgb), *_), _ = seen(write_clip(tmp_path / "a.mp4", quarters, turn=turn, seconds=0.5))
    assert rgb.shape == ((96, 64, 3) if turn in (90, -90) else (64, 96, 3))
    assert corners(rgb) == upright


def test_older_files_say_it_in_a_tag():
    def matrix(turn):
        return video._matrix(SimpleNamespace(side_data={}), SimpleNamespace(metadata={"rotate": turn}))

    assert matrix("90") == matrix("-270") == (0, 1, -1, 0)
    assert matrix("odd") == (1, 0, 0, 1)


def test_frames_of_a_varying_rate_are_named_by_when_they_are_shown(tmp_path, quarters):
    times = [0, 0.03, 0.06, 0.4, 1.5, 1.6, 1.63, 3.2]
    frames, _ = seen(write_clip(tmp_path / "a.mp4", quarters, SOUND, times=times), every_s=0.5)
    assert [at for at, _ in frames] == [
        ClipFrame(0, 0.0),
        ClipFrame(4, 1.5),
        ClipFrame(7, 3.2),
    ]
    assert str(frames[1][0]) == "frame 4 at 1.50 s"


def test_key_frames_are_enough_for_a_long_clip(tmp_path, quarters, monkeypatch):
    asked = []
    decode = video._decoded
    monkeypatch.setattr(video, "_decoded", lambda *a, **k: asked.append(k["keys_only"]) or decode(*a, **k))
    path = write_clip(tmp_path / "a.mp4", quarters, seconds=6, fps=5, gop=5)
    frames, _ = seen(path, every_s=2.0)
    assert [at.index for at, _ in frames] == [0, 10, 20]
    frames, _ = seen(path, every_s=0.4)
    assert [at.index for at, _ in frames] == list(range(0, 30, 2))
    assert asked == [True, False]


def test_the_sharp_face_is_shown(tmp_path):
    with Image.open(Path(__file__).parent.parent / "examples" / "astronaut.jpg") as file:
        face = np.asarray(file.convert("RGB").crop((0, 0, 480, 400)))
    blurred = np.asarray(Image.fromarray(face).resize((60, 50)).resize((480, 400)))
    away = np.full_like(face, 90)
    path = write_clip(tmp_path / "a.mp4", lambda s: (away, blurred, face, away)[int(s * 2)], fps=2, seconds=2)
    clip = video.read(path, FACES)
    assert clip.seen[0].frame == ClipFrame(2, 1.0)
    assert {view.frame.index for view in clip.seen} <= {1, 2}  # those without a face have no vote
    assert clip.seen[0].face.status == "cropped"


def test_without_a_face_the_frames_are_kept_and_say_so(tmp_path, quarters):
    big = quarters.repeat(4, 0).repeat(4, 1)
    clip = video.read(write_clip(tmp_path / "a.mp4", big, SOUND, fps=2, seconds=1), FACES)
    assert [view.face.status for view in clip.seen] == ["not-found"] * 2
    assert any("No face" in reason for reason in clip.seen[0].reasons)


def test_without_sound_or_pictures_what_is_there_is_used(tmp_path, quarters):
    clip = video.read(write_clip(tmp_path / "a.mp4", quarters), WHOLE)
    assert clip.waveform is None
    assert clip.seen
    assert clip.notes == ("The clip has no sound track: its frames alone were judged.",)
    clip = video.read(write_clip(tmp_path / "b.mp4", None, SOUND), WHOLE)
    assert clip.seen == ()
    assert len(clip.waveform) > 30_000
    assert clip.notes == ("The clip has no pictures: its sound alone was judged.",)


def test_the_cover_of_a_song_is_no_picture_of_a_clip(tmp_path, quarters):
    path = write_clip(tmp_path / "song.mp4", None, SOUND, cover=quarters)
    assert not video.is_clip(path)
    assert video.read(path, WHOLE).seen == ()


def test_of_a_cut_clip_what_is_there_is_read(tmp_path, quarters):
    moving = lambda s: np.roll(quarters, int(40 * s), 1)  # noqa: E731
    whole = write_clip(tmp_path / "a.mp4", moving, SOUND, options={"movflags": "faststart"}).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    clip = video.read(tmp_path / "cut.mp4", WHOLE)
    assert 3_000 < len(clip.waveform) < 30_000
    assert max(view.frame.index for view in clip.seen) < 15
    assert any(note.startswith("The sound track is cut off or damaged after") for note in clip.notes)
    assert any(note.startswith("The pictures are cut off or damaged after") for note in clip.notes)


def test_a_cut_webm(tmp_path, quarters):
    moving = lambda s: np.roll(quarters, int(40 * s), 1)  # noqa: E731
    whole = write_clip(tmp_path / "a.webm", moving, SOUND).read_bytes()
    (tmp_path / "cut.webm").write_bytes(whole[: len(whole) * 6 // 10])
    clip = video.read(tmp_path / "cut.webm", WHOLE)
    assert max(view.frame.index for view in clip.seen) < 15
    assert any("cut off" in note for note in clip.notes)


@pytest.mark.parametrize(("code", "left"), [(b"V_VP8", "waveform"), (b"A_OPUS", "seen")])
def test_of_an_unknown_coding_the_other_part_is_used(tmp_path, quarters, code, left):
    whole = write_clip(tmp_path / "a.webm", quarters, SOUND).read_bytes()
    (tmp_path / "b.webm").write_bytes(whole.replace(code, b"Z" * len(code)))
    clip = video.read(tmp_path / "b.webm", WHOLE)
    assert (clip.waveform is not None, bool(clip.seen)) == (left == "waveform", left == "seen")
    assert len(clip.notes) == 1


def test_a_clip_that_lost_its_index(tmp_path, quarters):
    whole = write_clip(tmp_path / "a.mp4", quarters, SOUND).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(InputError, match="cut while it was recorded may lack the index") as caught:
        video.read(tmp_path / "cut.mp4", WHOLE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("text.mp4", b"words, not pictures\n" * 20, "is no clip that is known: it is text"),
        ("page.mp4", b"<html>sign in</html>\n", "it is a web page"),
        ("zeros.mp4", bytes(4000), "nothing but zeros"),
        ("empty.mp4", b"", "empty"),
        ("photo.mp4", b"\xff\xd8\xff" + bytes(100), "a picture"),
    ],
)
def test_what_is_no_clip(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    assert not video.is_clip(tmp_path / name)
    with pytest.raises(InputError, match=match):
        video.read(tmp_path / name, WHOLE)


def test_what_cannot_be_opened_is_no_clip(tmp_path):
    assert not video.is_clip(tmp_path / "gone.mp4")
    assert not video.is_clip(tmp_path)
    assert not video.is_clip(np.zeros(4))


def test_what_is_not_wanted_is_not_looked_for(tmp_path, quarters):
    path = write_clip(tmp_path / "a.mp4", quarters, SOUND)
    assert video.read(path, WHOLE, wanted=("speech",)).seen == ()
    assert video.read(path, WHOLE, wanted=("image",)).waveform is None
    with pytest.raises(InputError, match=r"holds nothing that can be judged\. The clip has no sound track"):
        video.read(write_clip(tmp_path / "b.mp4", quarters), WHOLE, wanted=("speech",))


def test_limits_of_length_and_pixels(tmp_path, quarters):
    path = write_clip(tmp_path / "a.mp4", quarters, seconds=3)
    with pytest.raises(InputError, match="more than 1 s"):
        video.read(path, WHOLE, LimitOptions(max_duration_s=1))
    with pytest.raises(InputError, match="96 x 64"):
        video.read(path, WHOLE, LimitOptions(max_pixels=1000))
    with pytest.raises(InputError, match="max-duration-s"):
        video.read(write_clip(tmp_path / "b.mp4", quarters, SOUND), WHOLE, LimitOptions(max_duration_s=1))


def test_a_large_frame_is_made_smaller(tmp_path, quarters, monkeypatch):
    monkeypatch.setattr(video, "MAX_SIDE", 48)
    ((_, rgb), *_), _ = seen(write_clip(tmp_path / "a.mp4", quarters, seconds=0.3))
    assert rgb.shape == (32, 48, 3)


def test_times_count_from_the_start_of_the_sound(tmp_path, quarters):
    path = write_clip(tmp_path / "a.mp4", quarters, SOUND, times=[0.5, 1.0, 1.5])
    frames, _ = seen(path, every_s=0.1)
    assert [round(at.time_s, 1) for at, _ in frames] == [0.5, 1.0, 1.5]


def test_speech_as_of_a_file_of_sound(tmp_path, quarters):
    path = write_clip(tmp_path / "a.mp4", quarters, SOUND)
    notes = []
    np.testing.assert_array_equal(video.speech(path, LIMITS, notes), audio_files.read(path))
    assert notes == []


def test_without_the_extra(tmp_path, quarters, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", quarters)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert not video.is_clip(path)
    with pytest.raises(MissingExtraError, match=r"parallelnet\[video\]"):
        video.read(path, WHOLE)


def test_a_frame_is_freed_before_the_next(tmp_path, quarters):
    """Else memory would grow by a decoded frame each, until the garbage collector happens to run."""
    av = pytest.importorskip("av")
    path = write_clip(tmp_path / "a.mp4", quarters, seconds=4)
    gc.collect()
    gc.disable()
    try:
        assert len(seen(path, every_s=0.1)[0]) == 40
        assert sum(type(each) is av.VideoFrame for each in gc.get_objects()) < 4
    finally:
        gc.enable()
