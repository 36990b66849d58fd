"""The files of a time line: a table, subtitles, a figure, and a page that is complete or links its sound."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet.report import timeline as pages
from parallelnet.timeline import Timeline

HOSTILE = "=1+1 --> <script>alert(1)</script>"


def line(classes=("anger", "happy"), waveform=None, seconds=40.0, **facts):
    """A time line of windows of 2 s, a pause from 10 to 14 s: the first class, the second class, then unsure."""
    edges = np.arange(0, seconds + 0.1, 2)
    spans = np.stack([edges[:-1], edges[1:]], axis=1)
    spans = spans[(spans[:, 1] <= 10) | (spans[:, 0] >= 14)]
    first = np.where(spans[:, 0] < 10, 0.9, np.where(spans[:, 0] < 20, 0.2, 0.45))
    probs = np.stack([first, 1 - first], axis=1)
    windows = np.stack([spans[:, 0] - 1, spans[:, 1] + 1], axis=1).clip(0, seconds)
    if waveform is None:
        waveform = 0.2 * np.sin(2 * np.pi * 200 * np.arange(int(seconds * 16_000)) / 16_000).astype(np.float32)
    made = {
        "classes": classes, "windows": windows, "spans": spans, "own": probs, "probs": probs, "likely": probs > 0.4,
        "used": ("speech",) * len(spans), "pauses": ((10.0, 14.0),), "duration_s": seconds, "smooth_s": 0.0,
        "checkpoint": "toy", "waveform": waveform, "warnings": ("It was noisy.",),
    }  # fmt: skip
    return Timeline(**made | facts)


def test_table(tmp_path):
    pages.write(line(), tmp_path)
    with (tmp_path / "timeline.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["used"] for row in rows].index("pause") == 5
    assert rows[5]["start_s"] == "10.000000"
    assert rows[5]["end_s"] == "14.000000"
    assert rows[5]["emotion"] == rows[5]["anger"] == ""
    assert rows[0] | {"window_start_s": ""} == {
        "start_s": "0.000000", "end_s": "2.000000", "used": "speech", "emotion": "anger", "unsure": "no",
        "set": "anger", "anger": "0.900000", "happy": "0.100000", "own anger": "0.900000", "own happy": "0.100000",
        "window_start_s": "", "window_end_s": "3.000000",
    }  # fmt: skip
    assert rows[-1]["unsure"] == "yes"
    assert rows[-1]["set"] == "happy|anger"


def test_subtitles(tmp_path):
    pages.write(line(), tmp_path)
    text = (tmp_path / "timeline.vtt").read_text(encoding="utf-8")
    assert text.startswith("WEBVTT\n\n")
    assert re.findall(r"(\S+) --> (\S+)\n(.*)\n", text) == [
        ("00:00:00.000", "00:00:10.000", "anger 90 %"),
        ("00:00:14.000", "00:00:20.000", "happy 80 %"),
        ("00:00:20.000", "00:00:40.000", "unsure: happy or anger"),
    ]
    assert pages._stamp(3725.5) == "01:02:05.500"
    assert pages.clock(3725.5) == "1:02:05"
    assert pages.clock(65) == "1:05"


def test_names_of_strangers_are_text_everywhere(tmp_path):
    page = pages.write(line((HOSTILE, "b")), tmp_path, title=HOSTILE).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "default-src 'none'" in page
    text = (tmp_path / "timeline.vtt").read_text(encoding="utf-8")
    assert "<script" not in text
    assert len(re.findall(" --> ", text)) == 3
    assert (tmp_path / "timeline.csv").read_text(encoding="utf-8").splitlines()[1].split(",")[3].startswith("'=")


def test_figure(tmp_path):
    pages.write(line(), tmp_path, title="$x$ " + HOSTILE)
    with Image.open(tmp_path / "timeline.png") as figure:
        assert figure.width > 1500
        assert np.asarray(figure.convert("L")).std() > 10


def test_the_sound_is_inside(tmp_path):
    (tmp_path / "sound.mp3").write_bytes(b"of an earlier one")
    page = pages.write(line(), tmp_path).read_text(encoding="utf-8")
    assert 'src="data:audio/mpeg;base64,' in page
    assert "media-src data:;" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"timeline.{kind}" for kind in ("csv", "html", "png", "vtt")
    ]


def test_a_large_sound_lies_beside_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "EMBEDDED_BYTES", 1000)
    page = pages.write(line(), tmp_path).read_text(encoding="utf-8")
    assert 'src="sound.mp3"' in page
    assert "media-src 'self' file:;" in page
    info = soundfile.info(tmp_path / "sound.mp3")
    assert info.samplerate == 16_000
    assert info.duration == pytest.approx(40, abs=0.15)  # LAME pads both ends
    assert (tmp_path / "sound.mp3").stat().st_size == pytest.approx(40 * 4000, rel=0.02)  # 32 kbit/s, every second


def test_without_sound_there_is_no_player(tmp_path):
    page = pages.write(replace(line(), waveform=None), tmp_path)
    assert "<audio" not in page.read_text(encoding="utf-8")


def test_the_curve_ends_at_a_pause_that_smoothing_does_not_reach_across():
    assert [(run.start, run.stop) for run in pages._runs(line())] == [(0, 5), (5, 18)]
    assert [(run.start, run.stop) for run in pages._runs(line(smooth_s=6.0))] == [(0, 18)]
