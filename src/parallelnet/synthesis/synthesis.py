"""The process that speaks, as its owner sees it: started when first needed, asked for one utterance after another."""

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError

_PROGRAM = Path(__file__).with_name("synthesis_child.py")
_START_TIMEOUT_S = 60.0
_TIMEOUT_S = 120.0  # of an utterance: far beyond any, so that no busy machine loses a row
_GRACE_S = 10.0  # that the process has beyond its own limit before it is taken for dead


# Float32 samples, their rate, and (character position, start in s, end in s) in order of time.
Rendering = tuple[npt.NDArray[np.float32], int, list[tuple[int, float, float]]]


class SynthesisError(RuntimeError):
    """The process that speaks cannot be started or kept alive: a trouble of the machine, not of a text."""


class SynthesisProcess:
    """A process that has loaded an engine's library and speaks each utterance in a fresh copy of itself.

    May be called from many threads (one after the other), copied by `fork` and pickled: a copy starts a process of
    its own. The process ends with its owner.
    """

    def __init__(self, engine: str, start: Mapping[str, Any], timeout_s: float = _TIMEOUT_S) -> None:
        """Start the process, and learn the library's `version`.

        Args:
            engine: `espeak-ng` or `flite`, also for error texts.
            start: what its class in `synthesis_child.py` is made from.
            timeout_s: after which an utterance is given up.

        Raises:
            InputError: the library cannot be loaded.
        """
        self._engine, self._start, self._timeout_s = engine, dict(start), timeout_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self.version = ""
        self._running()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._engine, self._start, self._timeout_s)

    def speak(self, text: str, voice: str, *, rate: float = 0, pitch: int = -1) -> Rendering:
        """Return what is spoken.

        Raises:
            InputError: the engine has no such voice, refused, crashed or took too long; the next call is not harmed.
            SynthesisError: the process died, and another one, too.
        """
        request = {"text": text, "voice": voice, "rate": rate, "pitch": pitch, "timeout_s": self._timeout_s}
        with self._lock:
            answer = self._ask(request) or self._ask(request)
        if answer is None:
            raise SynthesisError(f"The process of {self._engine} ended twice without an answer.")
        head, samples = answer
        if "refused" in head:
            raise InputError(f"{self._engine} {head['refused']}.")
        waveform = np.frombuffer(samples, np.int16).astype(np.float32) / np.float32(32_768)
        return waveform, head["sample_rate_hz"], [tuple(mark) for mark in head["marks"]]

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes] | None:
        self._running()
        try:
            self._line.send_bytes(json.dumps(request).encode())
            return self._received(self._timeout_s + _GRACE_S)
        except (OSError, EOFError):
            self._forget()
            return None

    def _received(self, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """Return the head and the bytes of an answer; raises EOFError if the process ended first, or was too late."""
        if not self._line.poll(timeout_s):
            raise EOFError
        head, _, content = self._line.recv_bytes().partition(b"\n")
        return json.loads(head), content

    def _running(self) -> None:
        """Start the process unless it runs; a copy of its owner starts its own."""
        if self._process is not None and self._owner == os.getpid():
            return
        self._forget()
        self._line, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PROGRAM), json.dumps({self._engine: self._start})],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what libraries complain of; what matters comes as an answer
            )
        self._owner = os.getpid()
        self._ending = weakref.finalize(self, _end, self._process, self._line, self._owner)
        try:
            head, _ = self._received(_START_TIMEOUT_S)
        except (OSError, EOFError):
            self._forget()
            raise SynthesisError(f"The process of {self._engine} could not be started.") from None
        if "refused" in head:
            self._forget()
            raise InputError(f"{self._engine} cannot be used: {head['refused']}.")
        self.version = head["version"]

    def _forget(self) -> None:
        if self._process is not None:
            self._ending()
            self._process = None


def _end(process: subprocess.Popen[bytes], line: Connection, owner: int) -> None:
    """End a process of ours; in a copy of its owner, only let go of it."""
    line.close()
    if os.getpid() != owner:
        process.returncode = 0  # not ours to wait for
        return
    process.kill()  # it holds nothing that could be lost
    process.wait()
