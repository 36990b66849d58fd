"""wav, aiff, au, caf and w64: files of chunks whose sizes many programs write wrong, or not at all.

Recorders that cannot seek back leave 0 or a huge number, some count the header, some stop before they write the size,
and libsndfile believes them. So the chunks are read here, and libsndfile gets the same sound behind a right header.
"""

from __future__ import annotations

import re
from typing import Literal

from ..errors import InputError
from . import mpeg
from .spliced import Link, Spliced, cut_off

RIFF = re.compile(rb"(?:RIFF|RIFX|RF64|BW64)....WAVE", re.DOTALL)
FORM = re.compile(rb"FORM....AIF[FC]", re.DOTALL)
CAF = re.compile(rb"caff\x00\x01\x00\x00")
W64 = re.compile(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb")
_UNKNOWN_LENGTH = 0x7FFFF000  # from here on a chunk size is what programs write that cannot seek back
_HEADER_SLACK = 44  # bytes: some programs count the header of a wav as sound
_MAX_CHUNKS = 1_000  # before the sound; real files have a handful
_LONGEST_FORMAT = 1 << 16  # bytes of a chunk that says how the sound is coded
_REST_S = 0.5  # of sound behind the promised end: shorter is junk
_CODES = (1, 2, 3, 6, 7, 0x11, 0x31, 0x38, 0x40, 0xFFFE)  # of a wav, that libsndfile reads
_MOST_CHANNELS = 1024  # of libsndfile
_MPEG_CODES = (0x50, 0x55)  # mp2 and mp3 inside a wav
_USUAL = (b"fmt ", b"data", b"LIST", b"fact", b"COMM", b"SSND")
_KINDS = {b"FORM": "aiff", b"RIFX": "big-endian wav"}

_Order = Literal["little", "big"]
_Chunks = dict[bytes, tuple[int, int]]  # name -> where its content begins, how long it says it is


def links(file: Spliced, start: int, name: str, notes: list[str]) -> tuple[list[Link], int]:
    """Return the recordings of the wav or aiff that begins at `start`, and where it ends.

    Raises:
        InputError: it promises more sound than there is.
    """
    head = file.at(start, 12)
    what = _KINDS.get(head[:4], "wav")
    wanted = b"SSND" if head[:4] == b"FORM" else b"data"
    order: _Order = "big" if head[:4] in _KINDS else "little"
    chunks = _before_sound(file, start + 12, wanted, order)
    if wanted not in chunks:
        missing = f"it has no chunk {wanted.decode()!r}"
        raise InputError(f"{name} is {what} without sound: {missing}. Mend: copy or record it again.")
    at, promised = chunks[wanted]
    if b"ds64" in chunks and promised == 0xFFFFFFFF:  # RF64: sizes of 64 bits stand in a chunk of their own
        promised = int.from_bytes(file.at(chunks[b"ds64"][0] + 8, 8), "little")
    rate_bytes = _bytes_a_second(file, chunks, order)
    stop, end = _sound_end(file, at, promised, wanted, order, rate_bytes, name, what, notes)
    coding = _CODES[0]
    if b"fmt " in chunks:
        head = file.at(chunks[b"fmt "][0], 4)
        coding, n_channels = int.from_bytes(head[:2], order), int.from_bytes(head[2:], order)
        if not 1 <= n_channels <= _MOST_CHANNELS:
            raise InputError(f"{name} is {what} of {n_channels} channels; allowed: 1 to {_MOST_CHANNELS}.")
    if coding in _MPEG_CODES:
        return mpeg.links(file, at, stop, name)[0], end
    core = coding in _CODES
    mended = _mended(file, start, chunks, wanted, order, stop)
    return [Link(what if core else f"{what} of coding 0x{coding:04x}", mended, what.split()[-1], core=core)], end


def au(file: Spliced, start: int, name: str) -> tuple[list[Link], int]:
    """Return the recording of an au file, and where it ends.

    Raises:
        InputError: it promises more sound than there is.
    """
    head = file.at(start, 24)
    order: _Order = "big" if head[:1] == b"." else "little"
    at, promised = (int.from_bytes(head[k : k + 4], order) for k in (4, 8))
    arrived = max(0, file.size - start - at)
    if 0 < promised < _UNKNOWN_LENGTH:
        if promised > arrived + _HEADER_SLACK:
            raise cut_off(name, f"{promised} bytes of sound", str(arrived))
        arrived = min(promised, arrived)
    stop = start + at + arrived
    size = min(arrived, 0xFFFFFFFF).to_bytes(4, order)
    return [Link("au", file.with_parts([head[:8], size, *file.cut(start + 12, stop)]), "au")], stop


def wide(file: Spliced, start: int, name: str) -> tuple[list[Link], int]:
    """Return the recording of a caf or w64, whose sizes have 64 bits, and where it ends.

    Raises:
        InputError: it promises more sound than there is.
    """
    caf = CAF.match(file.at(start, 8)) is not None
    at, lead = (start + 8, 12) if caf else (start + 40, 24)
    size, head = 0, b""
    for _ in range(_MAX_CHUNKS):
        head = file.at(at, lead)
        size = int.from_bytes(head[4:], "big", signed=True) if caf else int.from_bytes(head[16:], "little") - lead
        if head[:4] == b"data" or len(head) < lead or size < 0:
            break
        at += lead + (size if caf else -(-size // 8) * 8)
    unknown = size <= 0 or size >= 1 << 62
    stop = at + lead + (0 if unknown else size)
    if head[:4] == b"data" and stop > file.size + _HEADER_SLACK:
        raise cut_off(name, f"{size} bytes of sound", str(file.size - at - lead))
    end = next(file.find(CAF if caf else W64, stop), file.size)
    if head[:4] == b"data" and unknown:
        n_bytes = end - stop
        head = head[:4] + n_bytes.to_bytes(8) if caf else head[:16] + (n_bytes + lead).to_bytes(8, "little")
    # Behind the sound of a caf may stand what its decoder needs; behind that of a w64, junk would be read as sound.
    parts = [*file.cut(start, at), head, *file.cut(at + lead, end if caf or unknown else stop)]
    return [Link("CAF" if caf else "W64", file.with_parts(parts), "caf" if caf else "w64")], end


def _before_sound(file: Spliced, at: int, wanted: bytes, order: _Order) -> _Chunks:
    """Return the chunks up to the sound (`wanted`)."""
    found: _Chunks = {}
    for _ in range(_MAX_CHUNKS):
        at = _next_chunk(file, at)
        head = file.at(at, 8)
        if len(head) < 8:
            break
        found[head[:4]] = at + 8, int.from_bytes(head[4:], order)
        if head[:4] == wanted:
            break
        at += 8 + found[head[:4]][1]
    return found


def _next_chunk(file: Spliced, at: int) -> int:
    """Return where the next chunk begins: at an even place, or at once where a program forgot the byte between."""
    forgotten = _named(file.at(at, 4)) and file.at(at + 1, 4) not in _USUAL
    return at if at % 2 == 0 or forgotten else at + 1


def _named(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


def _bytes_a_second(file: Spliced, chunks: _Chunks, order: _Order) -> int:
    """Return what a wav says of itself, at least 8,000; enough to tell half a second of sound from junk."""
    at = chunks.get(b"fmt ", (0, 0))[0]
    return max(8_000, int.from_bytes(file.at(at + 8, 4), order)) if at else 64_000


def _sound_end(
    file: Spliced, at: int, promised: int, wanted: bytes, order: _Order, rate_bytes: int, name: str, what: str,
    notes: list[str],
) -> tuple[int, int]:  # fmt: skip
    """Return where the sound ends that begins at `at`, and where the file goes on behind it and its last chunks."""
    size = file.size
    unknown = promised == 0xFFFFFFFF or (promised >= _UNKNOWN_LENGTH and at + promised > size)
    if promised == 0 or unknown:
        # Empty, with chunks behind it? Else the size was never written.
        if promised == 0 and _chunks_end(file, at, order) > at:
            return at, _chunks_end(file, at, order)
        stop = next(file.find(FORM if wanted == b"SSND" else RIFF, at), size)
        return stop, stop
    if at + promised > size + _HEADER_SLACK:
        raise cut_off(name, f"{promised} bytes of sound", str(max(0, size - at)))
    stop = min(at + promised, size)
    end = _chunks_end(file, stop, order)
    rest = size - end
    if rest <= _REST_S * rate_bytes or end > _next_chunk(file, stop) or _is_next(file, end) or _only_zeros(file, end):
        return stop, end
    notes.append(
        f"The header of the {what} promises {promised} bytes of sound; the {rest} behind them were read as sound, too."
    )
    return size, size


def _is_next(file: Spliced, at: int) -> bool:
    head = file.at(at, 12)
    return bool(RIFF.match(head) or FORM.match(head) or mpeg.id3_size(head) or head[:3] == b"TAG")


def _only_zeros(file: Spliced, at: int) -> bool:
    return next(file.find(re.compile(rb"[^\x00]"), at), None) is None


def _chunks_end(file: Spliced, at: int, order: _Order) -> int:
    """Return where the chain of chunks ends that begins here; at once where none does, or where a new file begins."""
    for _ in range(_MAX_CHUNKS):
        begin = _next_chunk(file, at)
        head = file.at(begin, 12)
        if len(head) < 8 or not _named(head[:4]) or RIFF.match(head) or FORM.match(head):
            return begin if RIFF.match(head) or FORM.match(head) else at
        end = begin + 8 + int.from_bytes(head[4:8], order)
        if end > file.size + 1:  # the last chunk may lack its padding
            return at
        at = min(end, file.size)
    return at


def _mended(file: Spliced, start: int, chunks: _Chunks, wanted: bytes, order: _Order, stop: int) -> Spliced:
    """Return the same sound behind a header whose sizes are right, without the chunks that say nothing of it."""
    at = chunks[wanted][0]
    sound = file.cut(at, stop)
    kind = file.at(start, 12)
    parts: list[bytes | range] = []
    for chunk in (b"FVER", b"COMM", b"fmt ", b"fact"):
        if chunk in chunks:
            begin, n_bytes = chunks[chunk]
            content = file.at(begin, min(n_bytes, _LONGEST_FORMAT))
            if chunk == b"COMM" and not any(content[2:6]):
                content = _counted(content, stop - at - 8)
            parts += [chunk, len(content).to_bytes(4, order), content, bytes(len(content) % 2)]
    body = [*parts, wanted, min(stop - at, 0xFFFFFFFF).to_bytes(4, order), *sound, bytes((stop - at) % 2)]
    total = 4 + sum(map(len, body))
    magic = b"RIFF" if kind[:4] in (b"RF64", b"BW64") else kind[:4]
    if total > 0xFFFFFFFF and magic == b"RIFF":
        magic = b"RF64"
        sizes = [(size).to_bytes(8, "little") for size in (total, stop - at, 0)]
        body = [b"ds64", (28).to_bytes(4, "little"), *sizes, bytes(4), *body]
    return file.with_parts([magic, min(total, 0xFFFFFFFF).to_bytes(4, order), kind[8:], *body])


def _counted(common: bytes, n_bytes: int) -> bytes:
    """Return the COMM chunk of an aiff with its count of samples, which was never written."""
    frame = int.from_bytes(common[:2]) * -(-int.from_bytes(common[6:8]) // 8)
    return common[:2] + min(max(0, n_bytes) // max(1, frame), 0xFFFFFFFF).to_bytes(4) + common[6:]
