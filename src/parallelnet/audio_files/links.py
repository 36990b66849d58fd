"""What is in a file of sound: one recording or several, each ready for its decoder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from ..errors import InputError
from . import chunked, flac, mpeg, ogg
from .spliced import Link, Spliced

FORMATS = (
    'wav, flac, ogg, opus, mp3, aiff, au, caf; m4a, aac, amr, wma, mp4 and webm with pip install "parallelnet[video]"'
)

_NOT_ZERO = re.compile(rb"[^\x00]")
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # of Unicode text, from programs that take everything for text
# Heads so long that they are no chance anywhere, for instance behind what a web form sent.
_STRONG = re.compile(
    b"|".join(
        (
            *(known.pattern for known in (chunked.RIFF, chunked.FORM, chunked.CAF, chunked.W64, flac.HEAD)),
            rb"\.snd\x00\x00\x00[\x18-\x40]",
            rb"OggS\x00\x02\x00{8}",
            rb"\x00...ftyp[a-zA-Z]",
        )
    ),
    re.DOTALL,
)
_AMR = re.compile(rb"#!AMR(?:-WB)?\n")
_TS_PACKET = 188  # bytes between the marks of an MPEG transport stream
_SEARCHED = 1 << 23  # bytes of an unknown file: more than any cover picture

# Where and how a file begins that only FFmpeg reads -> what it is, FFmpeg's name for it.
_CONTAINERS: tuple[tuple[int, bytes, str, str], ...] = (
    *((4, kind, "MP4", "mov") for kind in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp")),
    (0, b"\x1aE\xdf\xa3", "WebM", "matroska"),
    (0, b"0&\xb2u", "WMA", "asf"),
    (0, b"#!AMR", "AMR", "amr"),
    (8, b"AVI LIST", "AVI", "avi"),
    (0, b"FLV\x01", "Flash video", "flv"),
    (0, b"\0\0\1\xba", "MPEG video", "mpeg"),
    (0, b"wvpk", "WavPack", "wv"),
    (0, b"MAC ", "Monkey's Audio", "ape"),
    (0, b"TTA1", "True Audio", "tta"),
    (0, b"MPCK", "Musepack", "mpc8"),
    (0, b"DSD ", "DSD", "dsf"),
    (0, b".RMF", "RealMedia", "rm"),
)
# What libsndfile knows by its first bytes, and FFmpeg reads in more codings.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"NIST_1A", "NIST Sphere", "nistsphere"),
    (b"Creative Voice File", "VOC", "voc"),
)
# Known, and read by nobody here.
_UNREAD: tuple[tuple[bytes, str], ...] = (
    (b"#!SILK", "Silk, as WeChat and Skype record"),
    (b"\x02#!SILK", "Silk, as WeChat and Skype record"),
    (b"MThd", "MIDI, which is notes"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
)

_Reader = Callable[[str, list[str]], tuple[list[Link], int]]


def links(file: Spliced, name: str, notes: list[str]) -> Iterator[Link]:
    """Yield the recordings of a file, one behind the other.

    Args:
        file: all of it.
        name: what errors call it.
        notes: gets a sentence for everything that was judged differently from what the file says.

    Raises:
        InputError: no sound, cut off or damaged.
    """
    at = _skipped(file, 0)
    reader = _reader(file, at)
    if reader is None:
        # From 0: the size of a tag may be wrong.
        stop = min(file.size, _SEARCHED)
        at = min(next(file.find(_STRONG, 0, stop), stop), mpeg.search(file, 0, stop))
        reader = _reader(file, at) if at < stop else None
    if reader is None:
        yield Link("", file)  # libsndfile knows a few more kinds
        return
    while reader is not None:
        found, end = reader(name, notes)
        yield from found
        at = _skipped(file, end)
        reader = _reader(file, at)  # else the rest is tags and padding


def no_sound(file: Spliced, name: str) -> InputError:
    """Return the error for a file that nothing here reads, with what it is where that shows."""
    head = file.at(0, 512)
    what = next((f"it is {what}" for magic, what in _UNREAD if head.startswith(magic)), "")
    if not what and next(file.find(_NOT_ZERO), None) is None:
        what = "it holds nothing but zeros"
    if not what and head.isascii() and head.decode("ascii").replace("\n", "").replace("\r", "").isprintable():
        what = "it is a web page" if head.lstrip()[:1] == b"<" else "it is text"
    return InputError(f"{name} is no sound that is known{': ' * bool(what)}{what}. Allowed: {FORMATS}.")


def _skipped(file: Spliced, at: int) -> int:
    """Return where sound may begin from `at` on: behind tags, zeros and marks."""
    while at < file.size and _reader(file, at) is None:
        head = file.at(at, 10)
        mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
        if tag := mpeg.id3_size(head):
            at += tag
        elif head[:1] == b"\0":
            at = next(file.find(_NOT_ZERO, at), file.size)
        elif mark:
            at += len(mark)
        else:
            break
    return at


def _reader(file: Spliced, at: int) -> _Reader | None:
    """Return what reads the recordings that begin here; None where nothing known begins."""
    head = file.at(at, 24)
    if chunked.RIFF.match(head) or chunked.FORM.match(head):
        return partial(chunked.links, file, at)
    if head[:4] in (b".snd", b"dns.") and len(head) == 24:
        return lambda name, _: chunked.au(file, at, name)
    if chunked.CAF.match(head) or chunked.W64.match(head):
        return lambda name, _: chunked.wide(file, at, name)
    if flac.HEAD.match(head):
        return lambda name, _: flac.links(file, at, name)
    if head[:4] == b"OggS":
        return lambda name, _: ogg.links(file, at, name)
    if mpeg.begins(file, at, file.size):
        return lambda name, _: mpeg.links(file, at, file.size, name)
    for offset, magic, what, av_format in _CONTAINERS:
        if head[offset:].startswith(magic):
            return lambda *_: _container(file, at, what, av_format)
    for magic, what, av_format in _OTHERS:
        if head.startswith(magic):
            return lambda *_: ([Link(what, file.with_parts(file.cut(at)), av_format)], file.size)
    if _is_adts(file, at):
        return lambda *_: _container(file, at, "AAC", "aac")
    if head[:1] == file.at(at + _TS_PACKET, 1) == b"G":
        return lambda *_: _container(file, at, "MPEG video", "mpegts")
    return None


def _container(file: Spliced, at: int, what: str, av_format: str) -> tuple[list[Link], int]:
    """Return what only FFmpeg reads, and where it ends: FFmpeg reads the first of joined recordings, not the next."""
    end = file.size
    if what == "MP4":
        end = _mp4_end(file, at)
    elif what == "AMR":
        end = next(file.find(_AMR, at + 1), end)
    return [Link(what, file.with_parts(file.cut(at, end)), av_format, core=False)], end


def _mp4_end(file: Spliced, at: int) -> int:
    """Return where the next recording begins: a box of the type `ftyp` behind that with the table of contents."""
    seen = False
    while len(head := file.at(at, 16)) == 16:
        size, kind = int.from_bytes(head[:4]), head[4:8]
        size = int.from_bytes(head[8:]) if size == 1 else size
        if seen and kind == b"ftyp":
            return at
        if size < 8:  # 0: to the end of the file
            break
        seen = seen or kind == b"moov"
        at += size
    return file.size


def _is_adts(file: Spliced, at: int) -> bool:
    """Return whether two frames of bare AAC follow each other, or one ends the file."""
    for _ in range(2):
        head = file.at(at, 7)
        if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
            return False
        at += max(7, (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5)
        if at == file.size:
            return True
    return True
