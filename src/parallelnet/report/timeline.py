"""A time line as files: a table, subtitles, a figure, and a page with the player beside the curve."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .. import records
from ..audio import PIECE, SAMPLE_RATE_HZ, Kept, pieces
from . import drawing
from .html import render_page, script_json
from .numbers import short

if TYPE_CHECKING:
    from ..timeline import Passage, Timeline

PAGE, TABLE, SUBTITLES, FIGURE, SOUND = "timeline.html", "timeline.csv", "timeline.vtt", "timeline.png", "sound.mp3"
EMBEDDED_BYTES = 20_000_000
"""Largest sound that goes into the page, 83 minutes; a larger one lies beside it."""

# Okabe and Ito's colours, told apart with any colour vision; more classes begin anew.
COLOURS = ("#D55E00", "#E69F00", "#8B5FBF", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#8A6D3B")
_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800)
_SOUND_MARK = "sound-of-the-page"
# A constant rate (32 kbit/s), so that a browser finds every second exactly. With a varying one it guesses.
_MP3: dict[str, Any] = {
    "format": "MP3",
    "subtype": "MPEG_LAYER_III",
    "bitrate_mode": "CONSTANT",
    "compression_level": 0.84,
}


def write(timeline: Timeline, folder: str | Path, *, title: str = "") -> Path:
    """Write `timeline.html`, `.csv`, `.vtt` and `.png` into a folder, made where it is missing.

    Files of these names are replaced. The sound is in the page as MP3, or beside it as `sound.mp3` where it has more
    than `EMBEDDED_BYTES`. Returns the path of the page.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    records.write_text(target / TABLE, _table(timeline))
    records.write_text(target / SUBTITLES, _subtitles(timeline))
    _figure(timeline, title, target / FIGURE)
    (target / SOUND).unlink(missing_ok=True)  # of an earlier time line
    n_bytes = 0
    if timeline.waveform is not None:
        _, n_bytes = records.write_whole(target / SOUND, lambda stream: _mp3(timeline.waveform, stream), sync=False)
    linked = n_bytes > EMBEDDED_BYTES
    head, _, tail = _page(timeline, title, linked=linked).partition(_SOUND_MARK)

    def write_page(stream: BinaryIO) -> None:
        stream.write(head.encode())
        if linked:
            stream.write(SOUND.encode())
        elif n_bytes:  # piece by piece: the page is never in memory with its sound
            stream.write(b"data:audio/mpeg;base64,")
            with (target / SOUND).open("rb") as sound:
                while piece := sound.read(3 << 18):
                    stream.write(base64.b64encode(piece))
        stream.write(tail.encode())

    records.write_whole(target / PAGE, write_page)
    if not linked:
        (target / SOUND).unlink(missing_ok=True)
    return target / PAGE


def _mp3(waveform: Kept, stream: BinaryIO) -> None:
    import soundfile

    # Through memory: libsndfile does not say that the disk is full, the system does. 240 kB a minute.
    coded = io.BytesIO()
    with soundfile.SoundFile(coded, "w", SAMPLE_RATE_HZ, 1, **_MP3) as file:
        for _, piece in pieces(waveform, PIECE):
            file.write(np.clip(piece, -1.0, 1.0))
    stream.write(coded.getbuffer())


# --- table and subtitles ----------------------------------------------------------------------------------------------


def _table(timeline: Timeline) -> str:
    of = timeline
    names = [*of.classes, *(f"own {name}" for name in of.classes), "window_start_s", "window_end_s"]
    found = [(*span, "pause", *[""] * (3 + len(names))) for span in of.pauses]
    for k, span in enumerate(of.spans.tolist()):
        likely = of.likely_of(k)
        said = (of.used[k], of.emotion(k), "yes" if len(likely) > 1 else "no", "|".join(likely))
        found.append((*span, *said, *of.probs[k], *of.own[k], *of.windows[k]))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for row in [("start_s", "end_s", "used", "emotion", "unsure", "set", *names), *sorted(found, key=itemgetter(0))]:
        rows.writerow(records.harmless(cell) if isinstance(cell, str) else f"{cell:.6f}" for cell in row)
    return text.getvalue()


def told(passage: Passage) -> str:
    """Return what is said of a passage: `happy 71 %`, or `unsure: happy or sad`."""
    if len(passage.likely) > 1:
        return f"unsure: {' or '.join(passage.likely)}"
    return f"{passage.emotion} {passage.probability:.0%}".replace("%", " %")


def _subtitles(timeline: Timeline) -> str:
    cues = [
        f"{_stamp(each.start_s)} --> {_stamp(each.end_s)}\n{html.escape(drawing.plain(told(each), 200), quote=False)}\n"
        for each in timeline.passages()
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _stamp(seconds: float) -> str:
    ms = round(1000 * seconds)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


# --- figure -----------------------------------------------------------------------------------------------------------


def clock(seconds: float) -> str:
    """Return a time as players show it: `1:05`, `1:02:03`."""
    whole = int(seconds + 1e-6)
    minutes = f"{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    return f"{f'{whole // 3600}:' if whole >= 3600 else ''}{minutes}:{whole % 60:02}"


def _ticks(duration_s: float, most: int = 12) -> list[float]:
    step = next((step for step in _TICKS_S if duration_s / step <= most), _TICKS_S[-1])
    return [float(at) for at in range(0, int(duration_s) + 1, step)]


def _runs(timeline: Timeline) -> Iterator[slice]:
    """Yield the windows that a curve joins: only a pause that smoothing does not reach across ends it."""
    longest = max(timeline.smooth_s, 1e-3)
    breaks = np.cumsum(np.append(0, timeline.spans[1:, 0] - timeline.spans[:-1, 1] > longest))
    for _, group in groupby(range(len(breaks)), breaks.__getitem__):
        run = list(group)
        yield slice(run[0], run[-1] + 1)


def _line(timeline: Timeline, run: slice, c: int) -> tuple[list[float], list[float]]:
    """Return seconds and probabilities of a class along a run, from its first moment to its last."""
    spans, probs = timeline.spans[run], timeline.probs[run, c].tolist()
    return [spans[0, 0], *spans.mean(axis=1).tolist(), spans[-1, 1]], [probs[0], *probs, probs[-1]]


def _figure(timeline: Timeline, title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(6, 1))
    passages = list(timeline.passages())
    for c, name in enumerate(timeline.classes):
        colour = COLOURS[c % len(COLOURS)]
        points: list[tuple[float, float]] = []
        for run in _runs(timeline):
            points += [*zip(*_line(timeline, run, c), strict=True), (np.nan, np.nan)]  # ends the line
        above.plot(*zip(*points, strict=True), color=colour, linewidth=1.4, label=drawing.plain(name, 30))
        for unsure, style in ((False, {}), (True, {"alpha": 0.3, "hatch": "////"})):
            own = [p for p in passages if p.emotion == name and (len(p.likely) > 1) == unsure]
            reach = [(p.start_s, p.end_s - p.start_s) for p in own]
            below.broken_barh(reach, (0, 1), facecolor=colour, edgecolor="white", linewidth=0, **style)
    for ax in (above, below):
        still = [(start, end - start) for start, end in timeline.pauses]
        ax.broken_barh(still, (0, 1), facecolor="none", edgecolor=drawing.PALE, hatch="xxx", linewidth=0)
    above.set(ylim=(0, 1), xlim=(0, timeline.duration_s), ylabel="probability (smoothed)")
    above.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    below.set(ylim=(0, 1), yticks=[])
    below.set_xlabel("pale and hatched: unsure (more than one class in the 90 % set); crosses: a pause, not judged")
    below.set_xticks(_ticks(timeline.duration_s), [clock(at) for at in _ticks(timeline.duration_s)])
    for ax in (above, below):
        ax.spines[:].set_visible(False)
        ax.tick_params(colors=drawing.DARK, length=2)
    drawing.heading(figure, title or "Time line")
    drawing.save(figure, path)


# --- page -------------------------------------------------------------------------------------------------------------


def _page(timeline: Timeline, title: str, *, linked: bool) -> str:
    duration_s = max(timeline.duration_s, 1e-3)
    curves = []
    for c in range(len(timeline.classes)):
        parts = []
        for run in _runs(timeline):
            points = zip(*_line(timeline, run, c), strict=True)
            parts.append("M" + "L".join(f"{at:.2f} {100 - 100 * p:.1f}" for at, p in points))
        curves.append("".join(parts))
    passages = list(timeline.passages())
    judged_s = float((timeline.spans[:, 1] - timeline.spans[:, 0]).sum())
    lasts = {name: sum(p.end_s - p.start_s for p in passages if p.emotion == name) for name in timeline.classes}
    unsure_s = sum(p.end_s - p.start_s for p in passages if len(p.likely) > 1)
    return render_page(
        "timeline.html.j2",
        of=timeline,
        title=title or "Time line",
        duration_s=duration_s,
        curves=curves,
        passages=passages,
        told=lambda passage: short(told(passage)),
        clock=clock,
        ticks={"overview": _ticks(duration_s), "detail": _ticks(duration_s, max(12, int(duration_s / 10)))},
        colour=lambda name: COLOURS[timeline.classes.index(name) % len(COLOURS)],
        shares=[(name, lasts[name] / judged_s) for name in sorted(lasts, key=lambda name: -lasts[name])],
        judged_s=judged_s,
        unsure=unsure_s / judged_s,
        sound=_SOUND_MARK if timeline.waveform is not None else "",
        linked=linked,
        data=script_json(
            {
                "classes": timeline.classes,
                "duration": duration_s,
                "spans": np.round(timeline.spans, 3).tolist(),
                "probs": np.round(timeline.probs, 3).tolist(),
                "likely": [[int(c) for c in np.flatnonzero(row)] for row in timeline.likely],
            }
        ),
    )
