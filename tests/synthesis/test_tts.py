import hashlib
import importlib.util
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from parallelnet.errors import InputError, MissingExtraError, OptionError
from parallelnet.synthesis import synthesis, tts
from parallelnet.synthesis.tts import EspeakEngine, FliteEngine, PiperEngine

needs_espeak = pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="needs the extra tts")
needs_piper = pytest.mark.skipif(importlib.util.find_spec("piper") is None, reason="needs piper-tts")
TEXT = "Hello there, I can't pay $100.50 for 1,234 of the apples: it's @home at 10:30pm! thx"


@pytest.fixture(scope="module")
def espeak():
    return tts.open_engine("espeak-ng")


@pytest.fixture(scope="module")
def flite():
    try:
        return tts.open_engine("flite")
    except OptionError as error:
        pytest.skip(str(error))


def held(spoken, text):
    """Assert what is promised of every speech, and return its times."""
    assert spoken.waveform.dtype == np.float32
    assert spoken.waveform.ndim == 1
    assert 0.05 < np.abs(spoken.waveform).max() <= 1
    duration_s = len(spoken.waveform) / spoken.sample_rate_hz
    assert [word for word, _, _ in spoken.word_times] == text.split()
    before_s = 0.0
    for _, start_s, end_s in spoken.word_times:
        assert before_s <= start_s < end_s <= duration_s
        before_s = end_s - 1e-9
    return spoken.word_times


# --- words and their times --------------------------------------------------------------------------------------------


def test_words_without_marks_share_by_letters():
    found = tts.word_times(["of", "the", "new", "mornings"], [(0, 0.0, 0.5), (1, 0.6, 1.2), (3, 1.4, 2.0)], 2.0)
    assert found == (("of", 0.0, 0.5), ("the", 0.6, 0.9), ("new", 0.9, 1.2), ("mornings", 1.4, 2.0))


def test_words_before_the_first_mark_share_it():
    found = tts.word_times(["aa", "bb", "cccc"], [(2, 0.0, 0.8)], 1.0)
    assert [(word, round(start, 6), round(end, 6)) for word, start, end in found] == [
        ("aa", 0.0, 0.2),
        ("bb", 0.2, 0.4),
        ("cccc", 0.4, 0.8),
    ]


def test_several_marks_are_one_word_and_order_is_kept():
    marks = [(1, 0.9, 1.0), (0, 0.0, 0.2), (0, 0.5, 0.95), (0, 1.5, 1.6)]  # the last comes back after word 1
    assert tts.word_times(["a", "b"], marks, 1.2) == (("a", 0.0, 0.9), ("b", 0.9, 1.0))
    assert tts.word_times(["a"], [(0, 0.5, 9.0)], 1.2) == (("a", 0.5, 1.2),)
    assert tts.word_times(["a", "b"], [], 1.0) == ()


def test_characters_belong_to_words():
    marks = tts.marks_of_words("ab  cd\nef", [(0, 0, 1), (1, 1, 2), (4, 2, 3), (7, 3, 4), (99, 4, 5)])
    assert [word for word, _, _ in marks] == [0, 0, 1, 2, 2]


def test_pauses_are_no_part_of_a_word():
    waveform = np.zeros(100, np.float32)
    waveform[10:40] = 0.5
    marks = [(0, 0.0, 0.8), (1, 0.8, 1.0)]
    assert tts.without_pauses(marks, waveform, 100) == [(0, 0.0, 0.4), (1, 0.8, 1.0)]


def test_voices_are_spread_and_fixed():
    voices = ("a", "b", "c")
    dealt = [tts.voice_of(voices, 0, row) for row in range(3_000)]
    counts = [dealt.count(voice) for voice in voices]
    assert min(counts) > 900  # 1,000 each, standard deviation 26
    assert dealt == [tts.voice_of(voices, 0, row) for row in range(3_000)]
    assert dealt != [tts.voice_of(voices, 1, row) for row in range(3_000)]
    assert dealt[:6] == ["a", "a", "c", "a", "b", "a"]  # builds of today and of tomorrow are the same


# --- espeak-ng --------------------------------------------------------------------------------------------------------


@needs_espeak
def test_espeak_gives_each_word_its_time(espeak):
    times = dict((word, (start, end)) for word, start, end in held(espeak.speak(TEXT, "en-us"), TEXT))
    assert times["Hello"][0] < 0.05
    assert times["1,234"][1] - times["1,234"][0] > 4 * (times["of"][1] - times["of"][0])  # six spoken words
    assert times["I"][0] - times["there,"][1] > 0.1  # the pause of the comma belongs to nobody
    assert times["can't"][1] - times["can't"][0] > 0.2


@needs_espeak
@pytest.mark.parametrize("voice", EspeakEngine.voices)
def test_espeak_voices_differ_and_speak(espeak, voice):
    spoken = espeak.speak("I am so happy today, thank you!", voice)
    held(spoken, "I am so happy today, thank you!")
    others = [
        espeak.speak("I am so happy today, thank you!", other).waveform for other in espeak.voices if other != voice
    ]
    assert not any(len(other) == len(spoken.waveform) and (other == spoken.waveform).all() for other in others)


@needs_espeak
@pytest.mark.parametrize("voice", ["en-us", "en-us+f3", "en-gb-x-rp+f2", "en-us+whisper"])
def test_espeak_repeats_itself_in_any_order_and_process(espeak, voice):
    first = espeak.speak(TEXT, voice)
    espeak.speak("something else", "en-gb-x-rp+m4")
    again = espeak.speak(TEXT, voice)
    assert first.waveform.tobytes() == again.waveform.tobytes()
    assert first.word_times == again.word_times
    code = (
        "import sys, hashlib\nfrom parallelnet.synthesis import tts\n"
        "engine = tts.open_engine('espeak-ng')\n"
        "print(hashlib.sha256(engine.speak(sys.argv[1], sys.argv[2]).waveform.tobytes()).hexdigest())\n"
    )
    time.sleep(1.1 - time.time() % 1)  # another second: breath is noise that the clock seeds
    done = subprocess.run(
        [sys.executable, "-c", code, TEXT, voice], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(first.waveform.tobytes()).hexdigest()


@needs_espeak
@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u0631\u062d\u0628\u0627 hello \u05e9\u05dc\u05d5\u05dd \u043c\u0438\u0440 \u65e5\u672c \ud55c\uad6d",
        "x" * 3_000,
        "of the of the in the and a to the",
        "<speak>hi</speak> [[hello]] {x} \\ `a`",
        "3 1,000,000,000 12:45 2015-07-21 -5\u00b0 50% 08988544546",
        "caf\u00e9 na\u00efve \u0142\u00f3d\u017a \u00fcber",
    ],
)
def test_espeak_speaks_what_people_write(espeak, text):
    held(espeak.speak(text, "en-us"), text)


@needs_espeak
def test_espeak_speaks_ten_thousand_characters(espeak):
    text = "so happy now " * 770
    times = held(espeak.speak(text, "en-us"), text)
    assert len(times) == 3 * 770


@needs_espeak
def test_espeak_refuses_what_it_does_not_have(espeak):
    with pytest.raises(OptionError, match=r"--voices 'xx': espeak-ng has no voice 'xx'. Needed: .*en-gb-x-rp"):
        espeak.check_voices(["en-us", "xx"])
    with pytest.raises(OptionError, match=r"has no variant 'nobody'"):
        espeak.check_voices(["en-us+nobody"])
    with pytest.raises(OptionError, match=r"--rate is 20; espeak-ng takes 80 to 450"):
        EspeakEngine(rate=20)
    with pytest.raises(OptionError, match=r"--tts-model: espeak-ng needs none"):
        EspeakEngine("x.onnx")
    espeak.check_voices(espeak.voices)


@needs_espeak
def test_espeak_rate_and_pitch():
    slow, fast = (EspeakEngine(rate=rate, pitch=80).speak(TEXT, "en-us") for rate in (100, 300))
    assert len(slow.waveform) > 2 * len(fast.waveform)
    assert EspeakEngine(rate=100, pitch=0).settings == "rate=100 pitch=0"
    assert EspeakEngine().settings == ""
    low = EspeakEngine(rate=100, pitch=0).speak(TEXT, "en-us")
    assert not np.array_equal(low.waveform, slow.waveform)


@needs_espeak
def test_espeak_works_from_a_long_path(tmp_path, monkeypatch):
    import espeakng_loader

    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    (folder / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(folder / "espeak-ng-data"))
    spoken = EspeakEngine().speak("hello", "en-us+f3")
    monkeypatch.undo()
    assert spoken.waveform.tobytes() == EspeakEngine().speak("hello", "en-us+f3").waveform.tobytes()


@needs_espeak
def test_espeak_without_its_data_stops_at_once(tmp_path, monkeypatch):
    import espeakng_loader

    (tmp_path / "espeak-ng-data" / "voices" / "!v").mkdir(parents=True)
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(tmp_path / "espeak-ng-data"))
    with pytest.raises(OptionError, match=r"espeak-ng cannot be used: .*Mend: install it again"):
        EspeakEngine()
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(tmp_path / "none.so"))
    with pytest.raises(OptionError, match=r"espeak-ng cannot be used: .*none.so"):
        EspeakEngine()


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtraError, match=r'Speaking with espeak-ng needs .*pip install "parallelnet\[tts\]"'):
        tts.open_engine("espeak-ng")
    with pytest.raises(OptionError, match=r"Unknown engine 'espeak'. Did you mean 'espeak-ng'.*See --tts"):
        tts.open_engine("espeak")


# --- the process that speaks ------------------------------------------------------------------------------------------


@pytest.fixture
def process(tmp_path, monkeypatch):
    """A process whose library does as the text says: `crash`, `hang`, `leave`, or it speaks 3 samples."""
    program = Path(synthesis.__file__).with_name("synthesis_child.py").read_text()
    toy = """
class Toy:
    version = "7"
    n_spoken = 0
    def __init__(self): pass
    def speak(self, text, voice, rate, pitch):
        Toy.n_spoken += 1
        if text == "crash": ctypes.string_at(0)
        if text == "hang": signal.pause()
        if text == "leave": os.kill(os.getppid(), signal.SIGKILL)
        return 8000, [(0, 0.0, Toy.n_spoken)], bytes([1, 0, 2, 0, 3, 0]) + bytes(2_000_000 if text == "long" else 0)
Espeak = lambda **_: Toy()
"""
    path = tmp_path / "child.py"
    path.write_text(program.replace('if __name__ == "__main__":', toy + '\nif __name__ == "__main__":'))
    monkeypatch.setattr(synthesis, "_PROGRAM", path)
    speaking = synthesis.SynthesisProcess("espeak-ng", {}, timeout_s=5)
    yield speaking
    speaking._forget()


def said(process):
    return (process.speak("x", "v")[0] * 32_768).tolist()


def test_every_utterance_is_the_first_of_its_process(process):
    assert process.version == "7"
    for _ in range(2):
        waveform, rate_hz, marks = process.speak("x", "v")
        assert (waveform * 32_768).tolist() == [1, 2, 3]
        assert (rate_hz, marks) == (8000, [(0, 0.0, 1.0)])
    assert len(process.speak("long", "v")[0]) == 1_000_003


def test_a_crash_costs_one_utterance(process):
    with pytest.raises(InputError, match=r"espeak-ng crashed \(SIGSEGV\)"):
        process.speak("crash", "v")
    server = process._process.pid
    assert said(process) == [1, 2, 3]
    assert process._process.pid == server


def test_what_hangs_is_given_up(process, monkeypatch):
    monkeypatch.setattr(process, "_timeout_s", 0.3)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"espeak-ng took longer than 0.3 s"):
        process.speak("hang", "v")
    assert time.monotonic() - start < 5
    monkeypatch.undo()


def test_a_killed_process_is_started_again(process):
    process.speak("x", "v")
    first = process._process
    os.kill(first.pid, signal.SIGKILL)
    assert said(process) == [1, 2, 3]
    assert process._process.pid != first.pid
    with pytest.raises(synthesis.SynthesisError, match=r"ended twice"):
        process.speak("leave", "v")
    assert said(process) == [1, 2, 3]


def test_threads_and_pickles_and_forks(process):
    found = []
    threads = [threading.Thread(target=lambda: found.append(said(process))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[1, 2, 3]] * 8
    again = pickle.loads(pickle.dumps(process))
    assert said(again) == [1, 2, 3]
    assert again._process.pid != process._process.pid
    again._forget()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            own = said(process) == [1, 2, 3]
            os.write(writing, b"%d" % (own and process._process.pid))
            process._forget()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(reading, 20)) not in (0, process._process.pid)
    os.close(reading)
    os.close(writing)
    assert said(process) == [1, 2, 3]


@needs_espeak
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_process_ends_with_its_owner():
    code = (
        "import os, time\nfrom parallelnet.synthesis import tts\n"
        "engine = tts.open_engine('espeak-ng')\n"
        "held = os.dup(engine._process._line.fileno())\n"
        "os.set_inheritable(held, True)\n"
        "if os.fork() == 0:\n    time.sleep(20)\n    os._exit(0)\n"  # holds the pipe open
        "print(engine._process._process.pid, flush=True)\ntime.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.stdout.close()
    owner.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break  # ended; whoever inherits it has not looked yet
        time.sleep(0.1)
    else:
        assert not Path(f"/proc/{pid}").exists()


# --- flite ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("voice", FliteEngine.voices)
def test_flite_speaks_with_exact_times(flite, voice):
    text = "Hello there, it costs $100.50 at (the) caf\u00e9 \u043c\u0438\u0440 so-called 10:30pm"
    spoken = flite.speak(text, voice)
    times = dict((word, (start, end)) for word, start, end in held(spoken, text))
    assert times["$100.50"][1] - times["$100.50"][0] > 3 * (times["it"][1] - times["it"][0])
    assert times["it"][0] - times["there,"][1] > 0.03
    again = flite.speak(text, voice)
    assert spoken.waveform.tobytes() == again.waveform.tobytes()


def test_flite_refuses(flite):
    with pytest.raises(InputError, match=r"flite cannot read a single letter"):
        flite.speak("\u043c\u0438\u0440", "rms")
    with pytest.raises(OptionError, match=r"--voices 'en-us': flite has .*rms"):
        flite.check_voices(["en-us"])
    with pytest.raises(OptionError, match=r"--pitch: flite"):
        FliteEngine(pitch=3)
    slow = FliteEngine(rate=70).speak("hello over there", "rms")
    assert len(slow.waveform) > 1.5 * len(flite.speak("hello over there", "rms").waveform)


def test_missing_flite_says_what_to_install(monkeypatch):
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(OptionError, match=r"flite is not installed. Mend: apt-get install flite"):
        tts.open_engine("flite")


# --- piper ------------------------------------------------------------------------------------------------------------


def test_piper_says_what_it_needs(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match=r"--tts piper needs a voice file. Mend: --tts-model"):
        tts.open_engine("piper")
    with pytest.raises(OptionError, match=r"--pitch: Piper"):
        PiperEngine("x.onnx", pitch=4)
    monkeypatch.setitem(sys.modules, "piper", None)
    with pytest.raises(OptionError, match=r"package piper-tts, which is not installed. Mend: pip install piper-tts"):
        tts.open_engine("piper", model=str(tmp_path / "x.onnx"))


@pytest.fixture
def voice_file(tmp_path):
    """A voice with Piper's ports: each phone is 512 samples of a tone whose pitch is its number, times length_scale."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def constant(name, value):
        return numpy_helper.from_array(np.asarray(value), name)

    nodes = [
        helper.make_node("Cast", ["input"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["ids", "two"], ["column"]),
        helper.make_node("Mul", ["column", "ramp"], ["phase"]),
        helper.make_node("Sin", ["phase"], ["wave"]),
        helper.make_node("Reshape", ["wave", "flat"], ["output"]),
        helper.make_node("Mul", ["ids", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "frames"], ["durations"]),
    ]
    ramp = (np.arange(512) * 2 * np.pi * 20 / 16_000).astype(np.float32)[None, None]
    values = [
        *(constant("two", np.array([2])), constant("ramp", ramp), constant("flat", np.array([1, 1, 1, -1]))),
        *(constant("zero", np.float32(0)), constant("frames", np.float32(2))),
    ]
    ports = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, "n"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    outputs = [
        helper.make_tensor_value_info("output", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("durations", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph(nodes, "toy", ports, outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "toy.onnx"
    onnx.save(model, str(path))
    from piper.phonemize_espeak import EspeakPhonemizer

    phones = sorted(
        {sign for part in EspeakPhonemizer().phonemize("en-us", TEXT + " abcdefghijklmnopqrstuvwxyz") for sign in part}
    )
    ids = {"_": [0], "^": [1], "$": [2], **{phone: [number + 3] for number, phone in enumerate(phones)}}
    config = {
        **{"audio": {"sample_rate": 16_000}, "espeak": {"voice": "en-us"}, "num_symbols": len(ids), "num_speakers": 1},
        **{"phoneme_id_map": ids, "hop_length": 256},
    }
    Path(f"{path}.json").write_text(json.dumps(config))
    return path


@needs_piper
def test_piper_speaks_with_a_voice_file(voice_file):
    engine = tts.open_engine("piper", model=str(voice_file))
    assert engine.voices == ("0",)
    assert "toy.onnx" in engine.version
    spoken = engine.speak("hello there. my friend", "0")
    times = held(spoken, "hello there. my friend")
    assert times[1][2] < times[2][1]  # the silence between sentences is nobody's
    assert (
        spoken.waveform.tobytes()
        == pickle.loads(pickle.dumps(engine)).speak("hello there. my friend", "0").waveform.tobytes()
    )
    with pytest.raises(OptionError, match=r"--voices 'x': toy.onnx has 0"):
        engine.check_voices(["x"])
    assert engine.speak("one 1234 two", "0").word_times == ()  # more words are spoken than are written


@needs_piper
def test_piper_refuses_what_is_no_voice(tmp_path):
    path = tmp_path / "x.onnx"
    with pytest.raises(OptionError, match=r"x.onnx does not exist. Needed: VOICE.onnx and VOICE.onnx.json"):
        tts.open_engine("piper", model=str(path))
    path.write_bytes(b"nothing")
    Path(f"{path}.json").write_text("{}")
    with pytest.raises(OptionError, match=r"is no voice of Piper, or cut off"):
        tts.open_engine("piper", model=str(path))
