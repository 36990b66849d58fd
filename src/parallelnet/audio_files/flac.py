"""flac: the number of samples that a program left out which could not seek back, and recordings joined to one."""

from __future__ import annotations

import re
from functools import cache

from .spliced import Link, Part, Spliced, cut_off

HEAD = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL)
_SYNC = re.compile(rb"\xff[\xf8\xf9][^\x00]", re.DOTALL)
_LONGEST_FRAME = 1 << 20  # bytes; eight channels of 32 bits and 32,768 samples
_SHORTEST_FRAME = 9  # bytes: header, one channel of one value, checksum
_ID3V1 = 128  # bytes of the old kind of tag, at the end
_TOTAL_AT = 21  # four bits of this byte, and the four bytes behind it
_BLOCKS = {1: 192, **{k: 576 << (k - 2) for k in range(2, 6)}, **{k: 256 << (k - 8) for k in range(8, 16)}}


def links(file: Spliced, start: int, name: str) -> tuple[list[Link], int]:
    """Return the recordings that begin at `start`, and the end of the last.

    Raises:
        InputError: see `link`.
    """
    starts = list(file.find(HEAD, start))
    ends = [*starts[1:], file.size]
    return [link(file.with_parts(file.cut(*both)), name) for both in zip(starts, ends, strict=True)], file.size


def link(file: Spliced, name: str, total: int = 0) -> Link:
    """Return one recording with its number of samples in the header, without which libsndfile cannot end it.

    Args:
        file: it alone.
        name: what errors call it.
        total: samples, where something else tells them.

    Raises:
        InputError: nothing tells the samples, and the last frame is not whole.
    """
    head = file.at(0, 26)
    if len(head) < 26 or head[_TOTAL_AT] & 15 or any(head[22:]):
        return Link("flac", file, "flac")
    total = total or _last_sample(file)
    if not total:
        raise cut_off(name, "a whole last frame", "a part of one")
    count = bytes((head[_TOTAL_AT] & 0xF0 | total >> 32 & 15,)) + (total & 0xFFFFFFFF).to_bytes(4)
    parts: list[Part] = [head[:_TOTAL_AT] + count, *file.cut(26)]
    return Link("flac", file.with_parts(parts), "flac")


def _last_sample(file: Spliced) -> int:
    """Return the samples up to the end of the last frame, 0 where no whole frame ends the file."""
    stop = file.size - (_ID3V1 if file.at(file.size - _ID3V1, 3) == b"TAG" else 0)
    begin = max(42, stop - _LONGEST_FRAME)
    tail = file.at(begin, stop - begin)
    fixed = int.from_bytes(file.at(8, 2))
    for match in reversed(list(_SYNC.finditer(tail))):
        frame = tail[match.start() :]
        count = _samples(frame, fixed)
        if count and not _crc(frame, 0x8005, 16):  # the checksum behind the frame makes that of the whole 0
            return count
    return 0


def _samples(frame: bytes, fixed: int) -> int:
    """Return the samples up to the end of the frame that begins here, 0 if none does."""
    lead = 8 - (~frame[4] & 0xFF).bit_length() if len(frame) >= _SHORTEST_FRAME else 1  # ones at its front
    if lead == 1 or lead == 8:
        return 0
    n_bytes = max(1, lead)  # of the number, coded like a letter of UTF-8
    number = frame[4] & (0x7F >> lead)
    for byte in frame[5 : 4 + n_bytes]:
        number = number << 6 | byte & 0x3F
    at = 4 + n_bytes
    code = frame[2] >> 4
    if code in (6, 7):
        size = int.from_bytes(frame[at : at + code - 5]) + 1
        at += code - 5
    else:
        size = _BLOCKS.get(code, 0)
    at += {12: 1, 13: 2, 14: 2}.get(frame[2] & 15, 0)
    if _crc(frame[: at + 1], 0x07, 8):
        return 0
    return (number if frame[1] & 1 else number * fixed) + size


def _crc(data: bytes, polynomial: int, n_bits: int) -> int:
    table = _table(polynomial, n_bits)
    shift, mask, value = n_bits - 8, (1 << n_bits) - 1, 0
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value


@cache
def _table(polynomial: int, n_bits: int) -> list[int]:
    top, mask = 1 << (n_bits - 1), (1 << n_bits) - 1
    table = []
    for value in range(256):
        rest = value << (n_bits - 8)
        for _ in range(8):
            rest = (rest << 1 ^ (polynomial if rest & top else 0)) & mask
        table.append(rest)
    return table
