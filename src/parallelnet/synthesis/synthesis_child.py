"""Program that speaks: a library of C is loaded once, and every utterance is spoken by a fresh copy of this process.

Started by `synthesis.py` by its path, with the standard library alone, so that it is small (a fork copies little) and
holds no thread of anybody else. A copy per utterance, because espeak-ng repeats itself only in a process that has not
spoken yet, and because a library of C may crash on what people write: then one copy is lost, and one row.

Its standard input is a connection of `multiprocessing`: a JSON object comes, and a line of JSON with 16-bit samples
behind it goes back.
espeak-ng is under the GPL 3: it is loaded here, in a process of its own, and only where the user installed it.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
from itertools import count, pairwise, takewhile
from multiprocessing.connection import Connection, Pipe
from typing import Any

_LOOK_S = 2.0  # between looks whether whoever started us is still there

# Sample rate in Hz, (character position, start in s, end in s) of what was spoken, and the 16-bit samples.
Speech = tuple[int, list[tuple[int, float, float]], bytes]


class RefusedError(Exception):
    """The library does not do this; its text says why."""


# --- espeak-ng --------------------------------------------------------------------------------------------------------


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h, revision 12."""

    _fields_ = (
        *(("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int)),
        *(("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int)),
        *(("user_data", ctypes.c_void_p), ("id", ctypes.c_int * 2)),
    )


_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples by a call back, all before espeak_Synth returns
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: or a wrong path would end the process
_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_WORD, _END = 1, 5  # espeak_EVENT_TYPE: a word begins; a clause is over, with the pause after it
_PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """espeak-ng 1.52 by its C interface."""

    def __init__(self, library: str, data: str) -> None:
        """Load the library from its path, and the data from the folder `espeak-ng-data`."""
        self._library = ctypes.CDLL(library)
        # A long path ends the process (it is copied into 160 bytes), so it is a short one from inside.
        os.chdir(os.path.dirname(data))  # noqa: PTH120 (pathlib costs 10 ms of start)
        self._variants = frozenset(os.listdir(os.path.join(data, "voices", "!v")))  # noqa: PTH118, PTH208
        self._rate_hz = self._library.espeak_Initialize(_SYNCHRONOUS, 0, b".", _DO_NOT_EXIT)
        if self._rate_hz <= 0:
            raise RefusedError("its data cannot be read")
        self._library.espeak_Info.restype = ctypes.c_char_p
        self._library.espeak_ListVoices.restype = ctypes.c_void_p
        self._library.espeak_ListVoices(None)  # read once here instead of once in every copy: saves it 10 ms
        self.version = self._library.espeak_Info(None).decode()

    def speak(self, text: str, voice: str, rate: float, pitch: int) -> Speech:
        """Return what is spoken; a rate of 0 and a pitch of -1 are the library's own."""
        library, samples, words, ends = self._library, bytearray(), [], []

        def receive(wave: Any, n_samples: int, events: Any) -> int:
            if wave and n_samples > 0:
                samples.extend(ctypes.string_at(wave, 2 * n_samples))
            for event in takewhile(lambda event: event.type, map(events.__getitem__, count())):  # the last is of type 0
                if event.type == _WORD:
                    words.append((event.text_position - 1, event.sample))
                elif event.type == _END:
                    ends.append(event.sample)
            return 0

        name, _, variant = voice.partition("+")
        # An unknown variant would be left out without a word, an unknown voice replaced by British English.
        if variant and variant not in self._variants:
            raise RefusedError(f"has no variant {variant!r}")
        if not name or library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RefusedError(f"has no voice {name!r}")
        if rate > 0:
            library.espeak_SetParameter(_RATE, int(rate), 0)
        if pitch >= 0:
            library.espeak_SetParameter(_PITCH, pitch, 0)
        # Breath and whisper are noise, seeded by the clock: the same voice would be other bytes in another process.
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        ctypes.CDLL(None).srand(1)
        call_back = _PROTOTYPE(receive)
        library.espeak_SetSynthCallback(call_back)
        data = text.encode()
        if library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 0, 0, _UTF8, None, None) != 0:
            raise RefusedError("could not speak it")
        n_samples, rate_hz = len(samples) // 2, self._rate_hz
        after = dict(pairwise(sorted({start for _, start in words} | set(ends) | {n_samples})))
        spans = [(at, start, min(after.get(start, n_samples), n_samples)) for at, start in words]
        marks = [(at, start / rate_hz, end / rate_hz) for at, start, end in spans if start < end]
        return rate_hz, marks, bytes(samples)


# --- flite ------------------------------------------------------------------------------------------------------------


class _Wave(ctypes.Structure):
    """cst_wave of cst_wave.h."""

    _fields_ = (
        *(("type", ctypes.c_char_p), ("sample_rate", ctypes.c_int), ("num_samples", ctypes.c_int)),
        *(("num_channels", ctypes.c_int), ("samples", ctypes.POINTER(ctypes.c_short))),
    )


class _Voice(ctypes.Structure):
    """The head of cst_voice of cst_voice.h."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


_FIRST_PHONE = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"  # the end of what is before it
_LAST_PHONE = b"R:SylStructure.daughtern.daughtern.R:Segment.end"


class Flite:
    """flite 2 by its C interface, which knows the times of the words, as its program does not."""

    def __init__(self, library: str, voices: dict[str, str]) -> None:
        """Load the library, and the libraries of voices by their short names."""
        self._library = flite = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)  # the voices' libraries need its names
        pointer = ctypes.c_void_p
        for name, result, arguments in (
            ("flite_synth_text", pointer, [ctypes.c_char_p, pointer]),
            ("utt_wave", ctypes.POINTER(_Wave), [pointer]),
            ("utt_relation", pointer, [pointer, ctypes.c_char_p]),
            ("relation_head", pointer, [pointer]),
            ("item_next", pointer, [pointer]),
            ("item_daughter", pointer, [pointer]),
            ("ffeature_float", ctypes.c_float, [pointer, ctypes.c_char_p]),
            ("ffeature_string", ctypes.c_char_p, [pointer, ctypes.c_char_p]),
            ("feat_set_float", None, [pointer, ctypes.c_char_p, ctypes.c_float]),
        ):
            function = getattr(flite, name)
            function.restype, function.argtypes = result, arguments
        flite.flite_init()
        self._voices: dict[str, Any] = {}
        for voice, path in voices.items():
            register = getattr(ctypes.CDLL(path), f"register_cmu_us_{voice}")
            register.restype, register.argtypes = ctypes.POINTER(_Voice), [ctypes.c_char_p]
            self._voices[voice] = register(None)
        real = os.path.basename(os.path.realpath(_loaded(library)))  # noqa: PTH119
        self.version = real.partition(".so.")[2] or real

    def speak(self, text: str, voice: str, rate: float, pitch: int) -> Speech:
        """Return what is spoken; the rate is a factor here, and ASCII is all it reads."""
        flite = self._library
        if voice not in self._voices:
            raise RefusedError(f"has no voice {voice!r}")
        if rate > 0:
            flite.feat_set_float(self._voices[voice].contents.features, b"duration_stretch", 1 / rate)
        utterance = flite.flite_synth_text(text.encode("ascii"), self._voices[voice])
        if not utterance:
            raise RefusedError("could not speak it")
        wave, marks, at = flite.utt_wave(utterance).contents, [], 0
        token = flite.relation_head(flite.utt_relation(utterance, b"Token"))
        while token:
            name = flite.ffeature_string(token, b"name").decode("ascii", "replace")
            found = text.find(name, at)
            word = flite.item_daughter(token) if found >= 0 else None
            while word:
                marks.append((found, flite.ffeature_float(word, _FIRST_PHONE), flite.ffeature_float(word, _LAST_PHONE)))
                word = flite.item_next(word)
            at = found + len(name) if found >= 0 else at
            token = flite.item_next(token)
        marks = [mark for mark in marks if mark[1] < mark[2]]
        return wave.sample_rate, marks, ctypes.string_at(wave.samples, 2 * wave.num_samples)


def _loaded(library: str) -> str:
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:  # noqa: PTH123
        for line in maps:
            if os.path.basename(line.rstrip()).startswith(library.partition(".so")[0] + ".so"):  # noqa: PTH119
                return line.split(maxsplit=5)[5].rstrip()
    return library


def _message(head: dict[str, Any], content: bytes = b"") -> bytes:
    return json.dumps(head).encode() + b"\n" + content


def _answer(library: Any, request: dict[str, Any]) -> bytes:
    try:
        rate_hz, marks, samples = library.speak(request["text"], request["voice"], request["rate"], request["pitch"])
    except RefusedError as refused:
        return _message({"refused": str(refused)})
    return _message({"sample_rate_hz": rate_hz, "marks": marks}, samples)


def _by_a_copy(library: Any, request: dict[str, Any]) -> bytes:
    reading, writing = Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            writing.send_bytes(_answer(library, request))
            status = 0
        finally:
            os._exit(status)
    writing.close()
    answer, refused = b"", "failed"
    with reading:
        if not reading.poll(request["timeout_s"]):
            refused = f"took longer than {request['timeout_s']:g} s"
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(EOFError):
            answer = reading.recv_bytes()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0 and refused == "failed":
        refused = f"crashed ({signal.Signals(-status).name})"
    return _message({"refused": refused}) if status else answer


def main() -> None:
    """Load the library that the JSON of the first argument names, then answer until the line, standard input, ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us decides when to end
    start, owner = json.loads(sys.argv[1]), Connection(0)
    try:
        library: Any = Espeak(**start["espeak-ng"]) if "espeak-ng" in start else Flite(**start["flite"])
    except (OSError, AttributeError, RefusedError) as error:
        owner.send_bytes(_message({"refused": str(error)}))
        return
    gc.collect()
    gc.freeze()  # or the first collection in a copy would write to every page that it shares
    with contextlib.suppress(EOFError, ConnectionError):  # whoever started us has ended
        parent = os.getppid()
        owner.send_bytes(_message({"version": library.version}))
        while os.getppid() == parent:  # a copy of whoever started us may hold the line open after its end
            if owner.poll(_LOOK_S):
                owner.send_bytes(_by_a_copy(library, json.loads(owner.recv_bytes())))


if __name__ == "__main__":
    main()
