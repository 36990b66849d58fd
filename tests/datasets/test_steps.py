import importlib.util
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from parallelnet import audio
from parallelnet.datasets.draft import Draft
from parallelnet.datasets.steps import CheckSound, CleanText, Speak, flac
from parallelnet.errors import InputError, MissingExtraError, OptionError
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


def drafts(*texts):
    return [Draft(row, str(row), text=text, spoken_text=text) for row, text in enumerate(texts)]


@needs_tts
def test_clean_text():
    given = [
        *drafts("RT @x: So #HappyToday with all my lovely friends!! \U0001f602 http://t.co/a", "??", "word " * 30),
        Draft(3, "3", text="kept", reason="unreadable-row"),
    ]
    first, empty, long, rejected = CleanText("drop", max_characters=80)(iter(given))
    assert (first.spoken_text, first.language) == ("So happy today with all my lovely friends!", "en")
    assert (empty.reason, empty.detail) == ("no-words", "")
    assert (long.reason, long.detail) == ("text-too-long", "149 characters; allowed: 80")
    assert rejected is given[3]
    (named,) = CleanText()(drafts("\U0001f602"))
    assert named.spoken_text == "face with tears of joy"


def test_clean_text_needs_its_packages(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"Cleaning texts for speech needs .*parallelnet\[tts\]"):
        CleanText()


def test_speak_sets_what_was_spoken():
    given = [*drafts("one two three"), Draft(1, "1", reason="no-words")]
    spoken, rejected = Speak(Tone())(given)
    assert rejected is given[1]
    samples = audio.read(spoken.speech)
    assert spoken.duration_s == len(samples) / 16_000 == pytest.approx(0.3, abs=1e-4)
    assert [word for word, _, _ in spoken.word_times] == ["one", "two", "three"]
    assert max(end for _, _, end in spoken.word_times) <= spoken.duration_s
    assert spoken.speech[:4] == b"fLaC"
    assert (spoken.tts_engine, spoken.tts_version) == ("tone", "1")
    assert spoken.tts_voice in ("low rate=3", "high rate=3")
    assert abs(samples).max() == pytest.approx(0.3, abs=0.02)


def test_voices_depend_on_row_and_seed_only():
    rows = drafts(*["word"] * 40)
    voices = [draft.tts_voice for draft in Speak(Tone(), seed=1)(rows)]
    assert set(voices) == {"low rate=3", "high rate=3"}
    assert voices == [next(iter(Speak(Tone(), seed=1)([row]))).tts_voice for row in rows]
    assert voices != [draft.tts_voice for draft in Speak(Tone(), seed=2)(rows)]
    assert {draft.tts_voice for draft in Speak(Tone(), voices=["low"])(rows)} == {"low rate=3"}
    with pytest.raises(OptionError, match="no voice none"):
        Speak(Tone(), voices=["none"])


def test_speech_that_fails_or_is_silent_is_rejected_with_its_reason():
    given = drafts("fail", "nothing", "silent", "soft", "loud", "fine")
    checked = list(CheckSound()(Speak(Tone())(given)))
    assert [draft.reason for draft in checked] == ["speech-failed"] * 2 + ["speech-silent"] * 2 + ["", ""]
    assert checked[0].detail == "tone could not speak it."
    assert checked[1].detail == "tone gave no sound"
    assert checked[2].detail == "nothing but zeros"
    assert checked[3].detail == "the loudest sample is -46 dB of full scale"
    assert [draft.row for draft in checked] == list(range(6))
    assert not any(draft.speech for draft in checked[:4])
    assert abs(audio.read(checked[4].speech)).max() == pytest.approx(1, abs=1e-3)  # clipped, not wrapped round


def test_damaged_speech_is_found():
    (spoken,) = Speak(Tone())(drafts("one two three"))
    damaged = [replace(spoken, speech=data) for data in (b"", b"fLaC", spoken.speech[:60])]
    assert [draft.reason for draft in CheckSound()(damaged)] == ["speech-silent"] * 3
    long = replace(spoken, speech=flac(np.tile(np.float32([0.5, -0.5]), 16_000 * 700 // 2)))
    assert next(iter(CheckSound()([long]))).reason == ""  # eleven minutes: --max-characters decides, not this


def test_flac_is_exact():
    samples = np.float32([0, 0.5, -0.5, 1, -1, 2, 3.1 / 32_768])
    decoded = audio.read(flac(samples)) * 32_768
    assert decoded.tolist() == [0, 16_384, -16_384, 32_767, -32_768, 32_767, 3]


@needs_tts
def test_real_speech_is_the_same_bytes_across_processes():

    code = (
        "import hashlib\n"
        "from parallelnet.synthesis import tts\nfrom parallelnet.datasets.draft import Draft\n"
        "from parallelnet.datasets.steps import CheckSound, CleanText, Speak\n"
        "rows = [Draft(row, str(row), text='I am so happy today #LoveIt, number %d' % row) for row in range(12)]\n"
        "done = list(CheckSound()(Speak(tts.open_engine('espeak-ng'), seed=3)(CleanText()(rows))))\n"
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
    (draft,) = CheckSound()(Speak(tts.open_engine("espeak-ng"))(CleanText()(drafts("hello over there"))))
    assert draft.speech
