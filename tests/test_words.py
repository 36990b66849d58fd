"""Text <-> time: pocketsphinx runs for real; of Whisper all but the model, for which a stand-in takes its place."""

import csv
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parallelnet import audio, words
from parallelnet.errors import InputError, MissingExtraError, OptionError, ParallelNetError
from parallelnet.words import alignment, sphinx, whisper

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def happy():
    """Real speech of 3.8 s, about 1.0 to 2.9 s: kids are talking by the door."""
    pytest.importorskip("pocketsphinx")
    return audio.read(EXAMPLES / "happy.flac")


@pytest.fixture(scope="module")
def aligned(happy):
    return words.align(happy, "Kids — are TALKING, by the   مرحبا doorr! 🙂")


def check_times(found, waveform):
    """Assert what every alignment holds: words in order, apart, longer than nothing, inside the waveform."""
    times = [time for word in found.words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert all(word.start_s < word.end_s for word in found.words)
    assert times[0] >= 0
    assert times[-1] <= len(waveform) / audio.SAMPLE_RATE_HZ


# --- pocketsphinx -----------------------------------------------------------------------------------------------------


def test_words_keep_the_users_spelling_and_nothing_of_the_text_is_lost(aligned, happy):
    assert [word.text for word in aligned.words] == ["Kids —", "are", "TALKING,", "by", "the مرحبا", "doorr! 🙂"]
    check_times(aligned, happy)
    assert aligned.engine.startswith("pocketsphinx 5")


def test_times_lie_where_the_words_are(aligned):
    # Read off a spectrogram to a tenth of a second: speech from 1.0, the closure of t in `talking` at 1.4, the end of
    # `door` before 2.9; pocketsphinx's frames are 10 ms, its model tells words apart to some 50 ms.
    starts = {word.text.split()[0].strip(",!").lower(): word.start_s for word in aligned.words}
    assert starts["kids"] == pytest.approx(1.0, abs=0.15)
    assert starts["talking"] == pytest.approx(1.4, abs=0.15)
    assert aligned.words[-1].end_s == pytest.approx(2.9, abs=0.15)


def test_what_was_guessed_or_foreign_is_said(aligned):
    assert aligned.warnings == (
        "Not in the dictionary, pronunciation guessed: 'doorr! 🙂'.",
        "Not English, counted to the word beside it: 'مرحبا'.",
    )


def test_same_input_same_words_at_any_level(happy):
    once = words.align(happy, "kids are talking by the door")
    assert words.align(happy, "kids are talking by the door") == once
    quiet = words.align(happy * np.float32(1e-4), "kids are talking by the door")
    # Rounding to 16 bits may shift a boundary by a frame.
    for word, other in zip(once.words, quiet.words, strict=True):
        assert word.start_s == pytest.approx(other.start_s, abs=0.021)


def test_wrong_words_are_named_and_much_wrong_text_is_refused_with_what_was_heard(happy):
    swapped = words.align(happy, "dogs are sitting by the door")
    assert swapped.warnings[0] == "The sound does not bear out 2 of 6 words: 'dogs', 'sitting'."
    with pytest.raises(InputError, match=r"Text does not fit the speech: .* of 3 words.*heard '.*by the door'.*--text"):
        words.align(happy, "we went home")


def test_text_that_says_a_part_only_is_warned_of(happy):
    found = words.align(happy, "by the door")
    assert any("of the speech" in warning for warning in found.warnings)
    assert found.words[0].start_s == pytest.approx(2.0, abs=0.15)


def test_text_longer_than_the_recording_is_refused_before_the_search(happy):
    with pytest.raises(InputError, match=r"its 2000 words need at least .* s, the recording has 3\.77 s"):
        words.align(happy, "door " * 2000)
    with pytest.raises(InputError, match="need at least"):
        words.align(happy[20_000:20_001], "door")


def test_recognition_hears_the_door(happy):
    heard = words.transcribe(happy)
    check_times(heard, happy)
    assert [word.text for word in heard.words][-3:] == ["by", "the", "door"]


@pytest.mark.parametrize("text", ["🙂 🙃", "مرحبا بالعالم", "— …", "你好"])
def test_text_without_anything_to_say_in_english(text, tone):
    pytest.importorskip("pocketsphinx")
    with pytest.raises(InputError, match=r"no word that pocketsphinx can say .*--stt whisper"):
        words.align(tone, text)


def test_a_tone_is_no_speech(tone):
    pytest.importorskip("pocketsphinx")
    with pytest.raises(InputError, match=r"No speech found|broke off"):
        words.align(tone, "kids are talking")
    with pytest.raises(InputError, match="No speech found"):
        words.transcribe(tone[:160])


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_empty_text(text, tone):
    with pytest.raises(InputError, match="Text is empty"):
        words.align(tone, text)


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\ud800"])
def test_control_characters_are_refused_in_one_line(character, tone):
    with pytest.raises(InputError, match=r"U\+[0-9A-F]{4} at position 2") as caught:
        words.align(tone, f"by{character} the door")
    assert str(caught.value).isprintable()


def test_digital_silence():
    silence = np.zeros(16_000, np.float32)
    for call in (lambda: words.align(silence, "door"), lambda: words.transcribe(silence)):
        with pytest.raises(InputError, match="digital silence"):
            call()


def test_unknown_engine_and_a_model_for_the_wrong_one(tone):
    with pytest.raises(OptionError, match=r"'whispr'.*Did you mean 'whisper'.*pocketsphinx, whisper.*--stt"):
        words.transcribe(tone, engine="whispr")
    with pytest.raises(OptionError, match="--stt-model"):
        words.transcribe(tone, model="small")


@pytest.mark.parametrize(("engine", "package"), [("pocketsphinx", "pocketsphinx"), ("whisper", "faster_whisper")])
def test_missing_packages_are_named(engine, package, tone, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extra = {"pocketsphinx": "stt", "whisper": "whisper"}[engine]
    with pytest.raises(MissingExtraError, match=rf"parallelnet\[{extra}\]"):
        words.transcribe(tone, engine=engine)


def test_engines_are_quiet_and_words_import_nothing_heavy(happy):
    code = (
        "import sys; from parallelnet import audio, words\n"
        "assert not {'pocketsphinx', 'faster_whisper', 'onnxruntime', 'soundfile'} & set(sys.modules)\n"
        f"print(len(words.align(audio.read({str(EXAMPLES / 'happy.flac')!r}), 'kids are talking by the door').words))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert (done.stdout, done.stderr) == ("6\n", "")


@pytest.mark.slow
def test_every_example_fits_its_transcript():
    pytest.importorskip("pocketsphinx")
    with (EXAMPLES / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            waveform = audio.read(EXAMPLES / row["speech"])
            found = words.align(waveform, row["text"])
            assert [word.text for word in found.words] == row["text"].split()
            check_times(found, waveform)


# --- spelling ---------------------------------------------------------------------------------------------------------

DICTIONARY = {"so": "S OW", "happy": "HH AE P IY", "today": "T AH D EY", "cafe": "K AH F EY", "net": "N EH T"}
DICTIONARY |= {"parallel": "P EH R AH L EH L", "eleven": "IH L EH V AH N", "n": "EH N", "l": "EH L", "p": "P IY"}


@pytest.mark.parametrize(
    ("token", "phones", "guessed"),
    [
        ("Happy!", "HH AE P IY", False),
        ("#SoHappyToday", "S OW HH AE P IY T AH D EY", False),
        ("café", "K AH F EY", False),
        ("11", "IH L EH V AH N", False),
        ("parallelnet", "P EH R AH L EH L N EH T", True),
        ("NLP", "EH N EH L P IY", True),
        ("shake", "SH EY K", True),
        ("queen's", "K W IY N S", True),
    ],
)
def test_pronunciations(token, phones, guessed):
    assert alignment.pronounce(token, DICTIONARY.get) == ([phones], guessed)


@pytest.mark.parametrize(
    ("digits", "said"),
    [
        ("0", "zero"),
        ("21", "twenty one"),
        ("100", "one hundred"),
        ("1,024.05", "one thousand twenty four point zero five"),
        ("7000000", "seven million"),
        ("1234567890123", "one two three four five six seven eight nine zero one two three"),
    ],
)
def test_numbers(digits, said):
    assert alignment.number(digits) == said


def test_years():
    assert alignment.year("1984") == "nineteen eighty four"
    assert alignment.year("1905") == "nineteen oh five"
    assert alignment.year("2001") is None


@pytest.mark.parametrize(
    "token", ["'a", "x" * 300, "edeide" * 2000, "'" * 9 + "s", "qzx", "1.2.3", "e", "U.S.A.", "²", "http://t.co/a1"]
)
def test_everything_spoken_gets_phones_of_the_model(token):
    phones = {phone for sounds in alignment._SOUNDS.values() for phone in sounds.split()} | {"EY", "AY", "OW"}
    assert alignment.spoken(token)
    readings, _ = alignment.pronounce(token, {"one": "W AH N", "two": "T UW", "three": "TH R IY"}.get)
    assert readings
    assert all(reading and set(reading.split()) <= phones for reading in readings)


# --- whisper ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hears(monkeypatch):
    """Make Whisper's model hear `(word, start, end)`; the records are the package's own, only the model is ours."""
    package = pytest.importorskip("faster_whisper")
    from faster_whisper.transcribe import Segment
    from faster_whisper.transcribe import Word as Heard

    def put(said, options=None):
        class Model:
            def __init__(self, model_size_or_path, device="auto", compute_type="default", local_files_only=False):
                pass

            def transcribe(self, sound, *, word_timestamps, temperature, beam_size):
                assert sound.dtype == np.float32
                assert word_timestamps
                heard = [Heard(start, end, f" {word}", 0.5) for word, start, end in said]
                facts = {"id": 1, "seek": 0, "start": 0.0, "end": 2.0, "text": "", "tokens": [], "avg_logprob": -0.1}
                facts |= {"compression_ratio": 1.0, "no_speech_prob": 0.0, "temperature": 0.0}
                return iter([Segment(**facts, words=heard), Segment(**facts, words=None)] if said else []), None

        monkeypatch.setattr(package, "WhisperModel", Model)

    return put


def test_whisper_words(hears, tone):
    hears([("Hello,", 0.1, 0.5), ("world", 0.4, 0.9), ("", 0.9, 1.0), ("late", 1.9, 2.5)])
    found = words.transcribe(tone, engine="whisper")
    assert found.words == (words.Word("Hello,", 0.1, 0.5), words.Word("world", 0.5, 0.9), words.Word("late", 1.9, 2.0))
    assert found.engine.startswith("whisper small (faster-whisper 1.")
    assert found.warnings == ()


def test_whisper_lays_the_text_on_what_it_heard(hears, tone):
    hears([("hello", 0.2, 0.4), ("um", 0.4, 0.5), ("wide", 0.5, 0.7), ("world", 0.8, 1.0), ("eleven", 1.0, 1.2)])
    found = words.align(tone, "Oh HELLO, whole World — مرحبا 11", engine="whisper")
    assert [word.text for word in found.words] == ["Oh", "HELLO,", "whole", "World —", "مرحبا", "11"]
    check_times(found, tone)
    assert found.words[2] == words.Word("whole", 0.4, 0.7)
    assert found.words[-1] == words.Word("11", 1.0, 1.2)
    assert "3 of 6 words, 'Oh', 'whole', 'مرحبا'" in found.warnings[0]


def test_whisper_refuses_text_that_it_did_not_hear(hears, tone):
    hears([("hello", 0.2, 0.4), ("world", 0.4, 0.8)])
    with pytest.raises(InputError, match=r"3 of 3 words were not heard .*heard 'hello world'"):
        words.align(tone, "never mind that", engine="whisper")
    hears([])
    with pytest.raises(InputError, match="No speech found"):
        words.align(tone, "never", engine="whisper")


def test_whisper_model_that_cannot_be_had(tone, tmp_path, monkeypatch):
    pytest.importorskip("faster_whisper")

    def no_network(*_):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"lacks model\.bin, config\.json, tokenizer\.json.*--stt-model"):
        words.transcribe(tone, engine="whisper", model=str(tmp_path))
    with pytest.raises(InputError, match=r"is no folder.*--stt-model"):
        words.transcribe(tone, engine="whisper", model="./nowhere")
    for name in whisper._FILES:
        (tmp_path / name).write_bytes(b"{}")
    for model in (str(tmp_path), "no-such-size"):
        with pytest.raises(InputError, match=r"cannot be had \(.*--stt-model") as caught:
            words.transcribe(tone, engine="whisper", model=model)
        assert "\n" not in str(caught.value)


def test_units_lose_nothing():
    found = alignment.tokens("… well 🙂 then — go")
    assert alignment.units(found, alignment.spoken) == ["… well 🙂", "then —", "go"]
    assert alignment.units(["🙂"], alignment.spoken) == []


def test_registry_is_what_errors_list():
    assert set(words.STT_ENGINES) == {"pocketsphinx", "whisper"}
    assert issubclass(InputError, ParallelNetError)
    assert sphinx.MAX_LOSS < sphinx.MAX_WORD_LOSS
