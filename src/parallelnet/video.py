"""A clip to what can be judged: its sound as any recording's, and of its frames those that show a face best.

What a phone sends may be turned, of a varying frame rate, without sound or pictures, or cut. What is there is used, and
what is not is said. A frame is decoded, judged and forgotten before the next: memory does not grow with the length.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import audio_files, image_files, judging
from .audio_files.containers import links, what_else
from .audio_files.spliced import CutOffError, Link, Spliced
from .errors import InputError, MissingExtraError, needed, opened
from .image import SIZE, Pixels
from .options import LimitOptions, SignalOptions
from .types import ClipFrame

FORMATS = "mp4, mov, 3gp, webm, mkv, avi, flv, mpeg or wmv"
CANDIDATES = 24  # frames of a clip that are looked at: one a second of what people send each other
AVERAGED = 5  # of them that vote: the sharpest faces
MAX_SIDE = 1920  # pixels: larger frames are halved and quartered, which leaves a face more than the model sees of it

_FORMATS = ("mov", "matroska", "avi", "flv", "mpeg", "mpegts", "asf")
_SLACK_S = 0.5  # that pictures may end before the clip says it does
_DECODERS = min(4, os.cpu_count() or 1)
_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}  # clockwise, as older files say it

_DEFAULT_LIMITS = LimitOptions()


@dataclass(frozen=True, slots=True)
class Clip:
    """What of a clip can be judged; at least one of the two is there.

    Attributes:
        waveform: sound track, float32 `[n_samples]` at 16 kHz, or None.
        seen: its best frames, each with its `frame`, the best one first; empty where there are no pictures.
        notes: one sentence for each thing that is missing or cut.
    """

    waveform: audio_files.Kept | None
    seen: tuple[judging.Seen, ...]
    notes: tuple[str, ...]


def is_clip(source: object) -> bool:
    """Return whether a path names a file with moving pictures, from its content; False for what cannot be opened."""
    with suppress(InputError, MissingExtraError, OSError, ValueError):
        if isinstance(source, str | os.PathLike):
            with _opened(source) as (_, track, _):
                return track is not None
    return False


def read(
    source: audio_files.Source,
    signals: SignalOptions,
    limits: LimitOptions = _DEFAULT_LIMITS,
    wanted: Collection[str] = ("speech", "image"),
) -> Clip:
    """Return the sound of a clip, and its best frames.

    `CANDIDATES` frames, evenly over the clip, are searched for faces. Of those with a face (of all where none has one)
    the `AVERAGED` best are kept: a large, sharp face is better than a small or a blurred one.

    Args:
        source: path, bytes or binary stream.
        signals: of the checkpoint: whether a face is sought.
        limits: how long it may last, and how many pixels a frame may have.
        wanted: `speech`, `image` or both; what is not is not looked for.

    Raises:
        InputError: no clip, too long, too large, or with nothing in it that can be decoded.
        MissingExtraError: the `video` extra is missing.
    """
    notes: list[str] = []
    waveform = speech(source, limits, notes) if "speech" in wanted else None
    found: list[judging.Seen] = []
    for at, rgb in frames(source, limits, notes) if "image" in wanted else ():
        found.append(replace(judging.see(rgb, signals), frame=at))
        found = sorted(found, key=_clearness, reverse=True)[:AVERAGED]
    if waveform is None and not found:
        raise InputError(f"The clip holds nothing that can be judged. {' '.join(notes)}")
    n_faces = sum(seen.face.known for seen in found)
    return Clip(waveform, tuple(found[: n_faces or None]), tuple(notes))


def _clearness(seen: judging.Seen) -> tuple[bool, float]:
    """Return whether there is a face, and how much fine structure is seen of it: blurred and small ones have little."""
    grey: npt.NDArray[np.float32] = seen.pixels.mean(axis=0)
    curved = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    share = min(1.0, min(seen.face.box[2:]) / SIZE)  # the noise of a face that was enlarged passes for structure
    return seen.face.known, float(share * curved.std())


def speech(source: audio_files.Source, limits: LimitOptions, notes: list[str]) -> audio_files.Kept | None:
    """Return the sound track of a clip as `audio.read_long` does, as far as it goes; None where there is none.

    `notes` gets a sentence where it is missing or cut. Raises as `read` does, and where sound holds no number.
    """
    with _opened(source) as (file, _, _):
        if not file.streams.audio:
            notes.append("The clip has no sound track: its frames alone were judged.")
            return None
    try:
        with audio_files.stream(source, None, limits, notes) as blocks:
            return audio_files.gathered(_until_cut(blocks, notes))
    except CutOffError:
        notes.append("Nothing of the sound track can be decoded: the frames alone were judged.")
        return None


def _until_cut(blocks: Iterator[audio_files.Waveform], notes: list[str]) -> Iterator[audio_files.Waveform]:
    n = 0
    try:
        for block in blocks:
            n += len(block)
            yield block
    except CutOffError:
        if not n:
            raise
        seconds = n / audio_files.SAMPLE_RATE_HZ
        notes.append(f"The sound track is cut off or damaged after {seconds:.1f} s: what lies before that was used.")


# --- frames -----------------------------------------------------------------------------------------------------------


def frames(
    source: audio_files.Source, limits: LimitOptions, notes: list[str], every_s: float | None = None
) -> Iterator[tuple[ClipFrame, Pixels]]:
    """Yield frames of a clip in order, `every_s` seconds apart or `CANDIDATES` over all; key frames where they suffice.

    They are upright, uint8 `[h, w, 3]`, of at most `MAX_SIDE` a side. Seconds count from the start of the sound, or of
    the pictures where there is none. `notes` gets a sentence where pictures are missing or cut.

    Raises:
        InputError, MissingExtraError: as `read` does.
    """
    with _opened(source) as (file, track, name):
        if track is None:
            notes.append("The clip has no pictures: its sound alone was judged.")
            return
        image_files.refuse_size(f"A frame of {name}", track.codec_context.width, track.codec_context.height, limits)
        times, n_keys, promised_s = _times(file, track, name, limits)
    shown, last_s = False, 0.0
    if times:
        span_s = times[-1] - times[0]
        step_s = every_s or span_s / CANDIDATES
        keys_only = n_keys * step_s >= span_s > 0
        next_s = times[0] + (step_s / 2 if every_s is None and len(times) > CANDIDATES else 0)
        for last_s, frame, how in _decoded(source, keys_only=keys_only):
            if last_s >= next_s - 1e-6:
                image_files.refuse_size(f"A frame of {name}", frame.width, frame.height, limits)
                index = bisect_left(times, last_s - 1e-6)
                shown = True
                yield ClipFrame(index, round(max(0.0, last_s), 3)), _upright(frame, *how)
                next_s += step_s * (1 + max(0.0, (last_s - next_s + 1e-6) // step_s)) if step_s else 0.0
    if not shown:
        notes.append("No frame of the clip can be decoded: its sound alone was judged.")
    elif (times[-1] if keys_only else last_s) + _SLACK_S < promised_s:
        notes.append(f"The pictures are cut off or damaged after {last_s:.1f} s: those before were used.")


def duration_s(source: audio_files.Source, limits: LimitOptions) -> float:
    """Return when the last frame of a clip is shown, in seconds; 0 without pictures. Raises as `read` does."""
    with _opened(source) as (file, track, name):
        return max(_times(file, track, name, limits)[0], default=0.0) if track is not None else 0.0


@contextmanager
def _opened(source: Any) -> Iterator[tuple[Any, Any, str]]:
    # The container, its largest track of moving pictures (or None), and the name for errors.
    with opened(source, "Clip", FORMATS) as (stream, name):
        whole = Spliced(stream)
        link = _link(whole, name)
        if link is None:
            raise InputError(f"{name} is no clip that is known{what_else(whole)}. Allowed: {FORMATS}.")
        av = needed("av", f"{name} is {link.what}: reading it", "video")
        from av.stream import Disposition

        still = Disposition.attached_pic | Disposition.timed_thumbnails  # the cover of a song is no video
        try:
            # The container is named, so that FFmpeg never takes a stranger's file for a list of others to open.
            with av.open(link.file, mode="r", format=link.av_format, metadata_errors="ignore") as file:
                moving = [s for s in file.streams.video if s.codec_context and not s.disposition & still]
                track = max(moving, key=lambda each: each.codec_context.width or 0, default=None)
                yield file, track, name
        except av.FFmpegError as error:
            raise InputError(
                f"{name} is {link.what}, cut off, damaged or of an unknown coding ({error.strerror}). Mend: copy it "
                "again; a clip that was cut while it was recorded may lack the index at its end."
            ) from None


def _link(file: Spliced, name: str) -> Link | None:
    with suppress(InputError):
        link = next(links(file, name, []), None)
        return link if link and link.av_format in _FORMATS else None
    return None


def _times(file: Any, track: Any, name: str, limits: LimitOptions) -> tuple[array[float], int, float]:
    """Return when each frame that is there is shown, in order, how many key frames there are, and the promised end."""
    start, times, n_keys = _start(file, track), array("d"), 0
    for packet in _packets(file, track):
        stamp = packet.dts if packet.pts is None else packet.pts
        if packet.size and stamp is not None:
            times.append(float(stamp * packet.time_base - start))
            n_keys += packet.is_keyframe
            if times[-1] - times[0] > limits.max_duration_s:
                allowed = f"more than {limits.max_duration_s:g} s. Mend: cut it, or raise --max-duration-s."
                raise InputError(f"{name} shows pictures for {allowed}")
    promised = track.duration * track.time_base if track.duration else (file.duration or 0) / 1e6
    return array("d", sorted(times)), n_keys, float(promised)


def _decoded(source: Any, *, keys_only: bool) -> Iterator[tuple[float, Any, tuple[float, tuple[int, ...]]]]:
    """Yield for every frame that can be decoded its second, itself, and how it is shown (`_upright`)."""
    import av

    with _opened(source) as (file, track, _):
        track.codec_context.thread_count, track.thread_type = _DECODERS, "AUTO"
        if keys_only:
            track.codec_context.skip_frame = "NONKEY"
        start, matrix = _start(file, track), None
        for packet in _packets(file, track):
            shown: list[Any] = []
            with suppress(av.FFmpegError):  # of one packet; those behind it may be whole
                shown = packet.decode()
            for frame in shown:
                stamp = frame.dts if frame.pts is None else frame.pts
                if stamp is not None and not frame.is_corrupt:
                    # Of the first alone: a frame whose side data were asked for is freed by the garbage collector only.
                    matrix = matrix or _matrix(frame, track)
                    aspect = float(track.sample_aspect_ratio or 1)
                    yield float(stamp * frame.time_base - start), frame, (aspect, matrix)


def _packets(file: Any, track: Any) -> Iterator[Any]:
    import av

    with suppress(av.FFmpegError):  # what came until then is there
        yield from file.demux(track)


def _start(file: Any, track: Any) -> Any:
    tracks = (*file.streams.audio[:1], track)
    return next((each.start_time * each.time_base for each in tracks if each.start_time is not None), 0)


def _upright(frame: Any, aspect: float, matrix: tuple[int, ...]) -> Pixels:
    """Return a frame as it is to be shown: square pixels, turned and mirrored as the clip says, not over `MAX_SIDE`."""
    width, height = frame.width * aspect if 0.1 < aspect < 10 else frame.width, frame.height
    scale = min(1.0, MAX_SIDE / max(width, height))
    size = {"width": max(1, round(width * scale)), "height": max(1, round(height * scale))}
    rgb: Pixels = frame.reformat(**size, format="rgb24").to_ndarray()
    a, b, c, d = matrix
    if abs(b) > abs(a):
        rgb, a, d = rgb.swapaxes(0, 1), c, b
    return np.ascontiguousarray(rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _matrix(frame: Any, track: Any) -> tuple[int, ...]:
    # x' = a x + c y, y' = b x + d y (ISO 14496-12, 8.3.2), as signs and sizes; the frame's own, or an older file's tag.
    with suppress(KeyError, ValueError):
        numbers = np.frombuffer(bytes(frame.side_data["DISPLAYMATRIX"]), "<i4")
        return tuple(int(numbers[k]) for k in (0, 1, 3, 4))
    turn = str(track.metadata.get("rotate", "0"))
    return _TURNS.get(int(turn) % 360 if turn.lstrip("-").isdigit() else 0, (1, 0, 0, 1))
