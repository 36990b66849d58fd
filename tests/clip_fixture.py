"""Clips small enough for any test: a picture that moves a little, a tone, and what phones do to them."""

from fractions import Fraction

import av
import numpy as np

RATE_HZ = 16_000


def write_clip(
    path,
    picture=None,
    sound=None,
    *,
    seconds=2.0,
    fps=10,
    turn=None,
    times=None,
    gop=12,
    options=None,
    cover=None,
):
    """Write a clip: `picture` uint8 `[h, w, 3]` or a function of the second, `sound` float32 at 16 kHz.

    `turn` degrees counter-clockwise that players turn it by; `times` seconds of the frames, for a varying rate.
    """
    webm = str(path).endswith((".webm", ".mkv"))
    with av.open(str(path), "w", options=options or {}) as file:
        video = audio = None
        if picture is not None:
            look = picture if callable(picture) else lambda _: picture
            height, width = look(0.0).shape[:2]
            video = file.add_stream("mpeg4" if not webm else "libvpx", rate=fps)
            video.width, video.height, video.pix_fmt, video.bit_rate = width, height, "yuv420p", 4_000_000
            video.gop_size = gop
            video.codec_context.time_base = Fraction(1, 1000) if webm or times is not None else Fraction(1, fps)
            if turn is not None:
                video.set_display_rotation(turn)
        if sound is not None:
            audio = file.add_stream("libopus" if webm else "aac", rate=48_000 if webm else RATE_HZ, layout="mono")
        if cover is not None:
            still = file.add_stream("mjpeg", rate=1)
            still.width, still.height, still.pix_fmt = cover.shape[1], cover.shape[0], "yuvj420p"
            still.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(cover, format="rgb24").reformat(format="yuvj420p")
            for packet in [*still.encode(frame), *still.encode(None)]:
                file.mux(packet)
        if video is not None:
            for at in np.arange(0, seconds, 1 / fps) if times is None else times:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(look(float(at))), format="rgb24")
                unit = video.codec_context.time_base
                frame.pts, frame.time_base = round(float(at) / unit), unit
                for packet in video.encode(frame):
                    file.mux(packet)
            for packet in video.encode(None):
                file.mux(packet)
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(np.asarray(sound, np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
            for packet in [*audio.encode(frame), *audio.encode(None)]:
                file.mux(packet)
    return path
