"""What is in a file of sound: one recording or several, each ready for its decoder.

Recorders that cannot seek back leave 0 or a huge number for a size, some count the header, some stop before they write
it, and libsndfile believes them. So the chunks of wav, aiff, au, caf and w64 are read here, by one walker, and
libsndfile gets the same sound behind a right header.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ..errors import InputError
from . import frames
from .spliced import Link, Part, Spliced, cut_off

FORMATS = (
    'wav, flac, ogg, opus, mp3, aiff, au, caf; m4a, aac, amr, wma, mp4 and webm with pip install "parallelnet[video]"'
)

_Found = tuple[list[Link], int]  # recordings, and where the last of them ends
_Reader = Callable[[str, list[str]], _Found]  # from a file's name and notes


def links(file: Spliced, name: str, notes: list[str]) -> Iterator[Link]:
    """Yield the recordings of a whole file, one behind the other.

    `notes` gets a sentence for everything that was judged differently from what the file says.
    """
    at = _skipped(file, 0)
    reader = _reader(file, at)
    if reader is None:
        # From 0: the size of a tag may be wrong.
        stop = min(file.size, _SEARCHED)
        at = min(next(file.find(_STRONG, 0, stop), stop), frames.mpeg_search(file, 0, stop))
        reader = _reader(file, at) if at < stop else None
    if reader is None:
        yield Link("", file)  # libsndfile knows a few more kinds
    while reader is not None:
        found, end = reader(name, notes)
        yield from found
        reader = _reader(file, _skipped(file, end))  # else the rest is tags and padding


def no_sound(file: Spliced, name: str) -> InputError:
    """Return the error for a file that nothing here reads, with what it is where that shows."""
    return InputError(f"{name} is no sound that is known{what_else(file)}. Allowed: {FORMATS}.")


def what_else(file: Spliced) -> str:
    """Return what a file is that is neither sound nor a clip, as `: it is text`; "" where that does not show."""
    head = file.at(0, 512)
    what = next((f"it is {what}" for magic, what in _UNREAD if head.startswith(magic)), "")
    if not what and next(file.find(_NOT_ZERO), None) is None:
        what = "it holds nothing but zeros"
    if not what and head.isascii() and head.decode("ascii").replace("\n", "").replace("\r", "").isprintable():
        what = "it is a web page" if head.lstrip()[:1] == b"<" else "it is text"
    return f": {what}" if what else ""


# --- files of chunks --------------------------------------------------------------------------------------------------

_HEADER_SLACK = 44  # bytes: some programs count the header of a wav as sound
_MAX_CHUNKS = 1_000  # before the sound; real files have a handful
_LONGEST_FORMAT = 1 << 16  # bytes of a chunk that says how the sound is coded
_REST_S = 0.5  # of sound behind the promised end: shorter is junk
_CODES = (1, 2, 3, 6, 7, 0x11, 0x31, 0x38, 0x40, 0xFFFE)  # of a wav, that libsndfile reads
_MOST_CHANNELS = 1024  # of libsndfile
_MPEG_CODES = (0x50, 0x55)  # mp2 and mp3 inside a wav
_USUAL = (b"fmt ", b"data", b"LIST", b"fact", b"COMM", b"SSND")
_TOLD = (b"FVER", b"COMM", b"fmt ", b"fact")  # chunks that say how the sound of a wav or aiff is coded
_FULL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Kind:  # how the chunks of one kind of file are written
    what: str  # for errors; its last word is FFmpeg's name
    magic: re.Pattern[bytes]  # how a file begins
    order: Literal["little", "big"]  # of the bytes of a size
    sound: bytes = b"data"  # name of the chunk with the sound; b"" for an au, which has no chunks
    first: int = 12  # bytes before the first chunk
    head: int = 8  # bytes of a chunk's name and size
    size_at: int = 4  # where in them the size is
    own: int = 0  # bytes of the head that a size counts
    even: int = 1  # chunks are filled up to a multiple of this; those of a wav or aiff may not be
    unknown: int = 0x7FFFF000  # from here on a size is what programs write that cannot seek back
    mended: bool = False  # a wav or aiff, whose chunks programs get wrong: they are written anew


_KINDS = (
    _Kind("wav", re.compile(rb"(?:RIFF|RF64|BW64)....WAVE", re.DOTALL), "little", mended=True),
    _Kind("big-endian wav", re.compile(rb"RIFX....WAVE", re.DOTALL), "big", mended=True),
    _Kind("aiff", re.compile(rb"FORM....AIF[FC]", re.DOTALL), "big", b"SSND", mended=True),
    _Kind("caf", re.compile(rb"caff\x00\x01\x00\x00"), "big", first=8, head=12, unknown=1 << 62),
    _Kind(
        "w64", re.compile(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"), "little",
        first=40, head=24, size_at=16, own=24, even=8, unknown=1 << 62,
    ),
    _Kind("au", re.compile(rb"\.snd.{20}", re.DOTALL), "big", b"", first=0),
    _Kind("au", re.compile(rb"dns\..{20}", re.DOTALL), "little", b"", first=0),
)  # fmt: skip
_BEGINS = re.compile(b"|".join(kind.magic.pattern for kind in _KINDS), re.DOTALL)


def _recording(kind: _Kind, file: Spliced, start: int, name: str, notes: list[str]) -> _Found:
    found: dict[bytes, tuple[int, int]] = {}  # name -> where its content begins, how long it says it is
    for chunk, begin, size in _chunks(kind, file, start + kind.first) if kind.sound else ():
        found[chunk] = begin, size
        if chunk == kind.sound:
            break
    if not kind.sound:
        found[b""] = start + _number(kind, file, start + 4), _number(kind, file, start + 8)
    if kind.sound not in found:
        missing = f"it has no chunk {kind.sound.decode()!r}"
        raise InputError(f"{name} is {kind.what} without sound: {missing}. Mend: copy or record it again.")
    at, promised = found[kind.sound]
    if b"ds64" in found and promised == _FULL:  # RF64: sizes of 64 bits stand in a chunk of their own
        promised = _number(kind, file, found[b"ds64"][0] + 8, 8)
    fmt = found.get(b"fmt ", (0, 0))[0]
    rate_bytes = max(8_000, _number(kind, file, fmt + 8)) if fmt else 64_000
    stop, end = _sound_end(kind, file, at, promised, rate_bytes, name, notes)
    coding = _number(kind, file, fmt, 2) if fmt else _CODES[0]
    n_channels = _number(kind, file, fmt + 2, 2) if fmt else 1
    if not 1 <= n_channels <= _MOST_CHANNELS:
        raise InputError(f"{name} is {kind.what} of {n_channels} channels; allowed: 1 to {_MOST_CHANNELS}.")
    if coding in _MPEG_CODES:
        return frames.mpeg_links(file, at, stop, name)[0], end
    if kind.mended:
        whole = _mended(kind, file, start, found, stop)
    else:
        size = min(stop - at + kind.own, _FULL if kind.first == 0 else 1 << 63)
        before = at - kind.head + kind.size_at if kind.first else start + 8
        width = kind.head - kind.size_at
        # Behind the sound of a caf may stand what its decoder needs; behind that of a w64, junk would be read as sound.
        rest = file.cut(before + width, end if kind.what == "caf" else stop)
        whole = file.with_parts([*file.cut(start, before), size.to_bytes(width, kind.order), *rest])
    core = coding in _CODES
    what = kind.what if core else f"{kind.what} of coding 0x{coding:04x}"
    return [Link(what, whole, kind.what.split()[-1], core=core)], end


def _number(kind: _Kind, file: Spliced, at: int, n_bytes: int = 4) -> int:
    return int.from_bytes(file.at(at, n_bytes), kind.order)


def _chunks(kind: _Kind, file: Spliced, at: int) -> Iterator[tuple[bytes, int, int]]:
    # The name of each, where its content begins, and how long it says it is.
    for _ in range(_MAX_CHUNKS):
        # At an even place, or at once where a program forgot the byte between.
        forgotten = _named(file.at(at, 4)) and file.at(at + 1, 4) not in _USUAL
        at += at % 2 if kind.mended and not forgotten else 0
        head = file.at(at, kind.head)
        if len(head) < kind.head:
            return
        size = int.from_bytes(head[kind.size_at :], kind.order) - kind.own
        yield head[:4], at + kind.head, size
        at += kind.head + max(0, -(-size // kind.even) * kind.even)


def _named(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


def _sound_end(
    kind: _Kind, file: Spliced, at: int, promised: int, rate_bytes: int, name: str, notes: list[str]
) -> tuple[int, int]:
    # Where the sound ends that begins at `at`, and where the file goes on behind it and its last chunks.
    size = file.size
    if promised <= 0 and _chunks_end(kind, file, at) > at:  # empty, with chunks behind it
        return at, _chunks_end(kind, file, at)
    if promised <= 0 or promised == _FULL or (promised >= kind.unknown and at + promised > size):  # never written
        stop = next(file.find(kind.magic, at), size)
        return stop, stop
    if at + promised > size + _HEADER_SLACK:
        raise cut_off(name, f"{promised} bytes of sound", str(max(0, size - at)))
    stop = min(at + promised, size)
    end = _chunks_end(kind, file, stop)
    rest = size - end
    known = end >= stop + kind.head or _is_next(file, end) or next(file.find(_NOT_ZERO, end), None) is None
    if rest <= _REST_S * rate_bytes or known:
        return stop, end
    notes.append(
        f"The header of the {kind.what} promises {promised} bytes of sound; the {rest} behind them were read as sound, "
        "too."
    )
    return size, size


def _is_next(file: Spliced, at: int) -> bool:
    head = file.at(at, 24)
    return bool(_BEGINS.match(head)) or frames.id3_size(head[:10]) > 0 or head[:3] == b"TAG"


def _chunks_end(kind: _Kind, file: Spliced, at: int) -> int:
    # Where the chain ends that begins here; at once where none does, or where a new file begins.
    if not kind.sound:
        return at
    for name, begin, size in _chunks(kind, file, at):
        head = begin - kind.head
        if _BEGINS.match(file.at(head, 24)):
            return head
        if not _named(name) or size < 0 or begin + size > file.size + 1:  # the last chunk may lack its padding
            break
        at = min(begin + size, file.size)
    return at


def _mended(kind: _Kind, file: Spliced, start: int, found: dict[bytes, tuple[int, int]], stop: int) -> Spliced:
    # The same sound behind a header whose sizes are right, without the chunks that say nothing of it.
    at = found[kind.sound][0]
    n_bytes, magic = stop - at, file.at(start, 12)
    parts: list[Part] = []
    for chunk in _TOLD:
        if chunk in found:
            begin, size = found[chunk]
            content = file.at(begin, min(size, _LONGEST_FORMAT))
            if chunk == b"COMM" and not any(content[2:6]):  # the count of samples was never written
                frame = int.from_bytes(content[:2]) * -(-int.from_bytes(content[6:8]) // 8)
                count = min(max(0, n_bytes - 8) // max(1, frame), _FULL)
                content = content[:2] + count.to_bytes(4) + content[6:]
            parts += [chunk, len(content).to_bytes(4, kind.order), content, bytes(len(content) % 2)]
    parts += [kind.sound, min(n_bytes, _FULL).to_bytes(4, kind.order), *file.cut(at, stop), bytes(n_bytes % 2)]
    total = 4 + sum(map(len, parts))
    mark = b"RIFF" if magic[:4] in (b"RF64", b"BW64") else magic[:4]
    if total > _FULL and mark == b"RIFF":
        mark = b"RF64"
        sizes = b"".join(size.to_bytes(8, "little") for size in (total, n_bytes, 0))
        parts = [b"ds64", (28).to_bytes(4, "little"), sizes, bytes(4), *parts]
    return file.with_parts([mark, min(total, _FULL).to_bytes(4, kind.order), magic[8:], *parts])


# --- what begins where ------------------------------------------------------------------------------------------------

_NOT_ZERO = re.compile(rb"[^\x00]")
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # of Unicode text, from programs that take everything for text
# Heads so long that they are no chance anywhere, for instance behind what a web form sent.
_STRONG = re.compile(
    b"|".join(
        (
            *(kind.magic.pattern for kind in _KINDS if kind.sound),
            frames.FLAC.pattern,
            rb"\.snd\x00\x00\x00[\x18-\x40]",
            rb"OggS\x00\x02\x00{8}",
            rb"\x00...ftyp[a-zA-Z]",
        )
    ),
    re.DOTALL,
)
_SEARCHED = 1 << 23  # bytes of an unknown file: more than any cover picture
_TS_PACKET = 188  # bytes between the marks of an MPEG transport stream

# How a file begins -> what it is, FFmpeg's name for it, whether libsndfile reads some of its codings.
_CONTAINERS = tuple(
    (re.compile(pattern, re.DOTALL), what, av_format, core)
    for pattern, what, av_format, core in (
        (rb"....(?:ftyp|moov|mdat|wide|free|skip|pnot|styp)", "MP4", "mov", False),
        (rb"\x1aE\xdf\xa3", "WebM", "matroska", False),
        (rb"0&\xb2u", "WMA", "asf", False),
        (rb"#!AMR", "AMR", "amr", False),
        (rb".{8}AVI LIST", "AVI", "avi", False),
        (rb"FLV\x01", "Flash video", "flv", False),
        (rb"\x00\x00\x01\xba", "MPEG video", "mpeg", False),
        (rb"wvpk", "WavPack", "wv", False),
        (rb"MAC ", "Monkey's Audio", "ape", False),
        (rb"TTA1", "True Audio", "tta", False),
        (rb"MPCK", "Musepack", "mpc8", False),
        (rb"DSD ", "DSD", "dsf", False),
        (rb"\.RMF", "RealMedia", "rm", False),
        (rb"NIST_1A", "NIST Sphere", "nistsphere", True),
        (rb"Creative Voice File", "VOC", "voc", True),
    )
)
# Known, and read by nobody here.
_UNREAD = (
    (b"#!SILK", "Silk, as WeChat and Skype record"),
    (b"\x02#!SILK", "Silk, as WeChat and Skype record"),
    (b"MThd", "MIDI, which is notes"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
)


def _skipped(file: Spliced, at: int) -> int:
    # Behind tags, zeros and marks.
    while at < file.size and _reader(file, at) is None:
        head = file.at(at, 10)
        if head[:1] == b"\0":
            at = next(file.find(_NOT_ZERO, at), file.size)
            continue
        n_bytes = frames.id3_size(head) or next((len(mark) for mark in _MARKS if head.startswith(mark)), 0)
        if not n_bytes:
            break
        at += n_bytes
    return at


def _reader(file: Spliced, at: int) -> _Reader | None:
    head = file.at(at, 24)
    for kind in _KINDS:
        if kind.magic.match(head):
            return partial(_recording, kind, file, at)
    if frames.FLAC.match(head):
        return lambda *_: frames.flac_links(file, at)
    if head[:4] == b"OggS":
        return lambda name, _: frames.ogg_links(file, at, name)
    if frames.mpeg_begins(file, at, file.size):
        return lambda name, _: frames.mpeg_links(file, at, file.size, name)
    for magic, what, av_format, core in _CONTAINERS:
        if magic.match(head):
            return lambda *_: _container(file, at, what, av_format, core=core)
    if _is_adts(file, at):
        return lambda *_: _container(file, at, "AAC", "aac")
    if head[:1] == file.at(at + _TS_PACKET, 1) == b"G":
        return lambda *_: _container(file, at, "MPEG video", "mpegts")
    return None


def _container(file: Spliced, at: int, what: str, av_format: str, *, core: bool = False) -> _Found:
    end = file.size  # FFmpeg reads the first of joined recordings, not the next
    if what == "MP4":
        end = _mp4_end(file, at)
    elif what == "AMR":
        end = next(file.find(re.compile(rb"#!AMR(?:-WB)?\n"), at + 1), end)
    return [Link(what, file.joined(range(at, end)), av_format, core=core)], end


def _mp4_end(file: Spliced, at: int) -> int:
    # Where the next recording begins: a box of the type `ftyp` behind that with the table of contents.
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
    # Two frames of bare AAC follow each other, or one ends the file.
    for _ in range(2):
        head = file.at(at, 7)
        if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
            return False
        at += max(7, (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5)
        if at == file.size:
            return True
    return True
