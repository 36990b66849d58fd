"""flac, Ogg and MPEG sound: where frames and pages lie, how many there really are, and what is missing.

libsndfile reads nothing of a flac whose program could not seek back to write its length, the first of joined recordings
alone, and guesses the length of an mp3 without a Xing header from its size and its first frame: a recording of changing
bit rate loses up to half of its sound. So frames and pages are counted here, and the decoder gets them alone.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from ..errors import InputError
from .spliced import Link, Spliced, add, cut_off

# --- flac -------------------------------------------------------------------------------------------------------------

FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL)
_ID3V1 = 128  # bytes of the old kind of tag, at the end
_TOTAL_AT = 21  # four bits of this byte, and the four bytes behind it
# Samples, more than any flac has: told so many, libFLAC reads to the end, and says where a part of a frame ends it.
ENDLESS = (1 << 36) - 1


def flac_links(file: Spliced, start: int) -> tuple[list[Link], int]:
    """Return the recordings that begin at `start`, and the end of the last."""
    starts = [*file.find(FLAC, start), file.size]
    return [flac_link(file.joined(range(*both))) for both in pairwise(starts)], file.size


def flac_link(file: Spliced) -> Link:
    """Return one recording, `ENDLESS` where its header does not tell its number of samples."""
    head = file.at(0, 26)
    if len(head) == 26 and not head[_TOTAL_AT] & 15 and not any(head[22:]):
        stop = file.size - (_ID3V1 if file.at(file.size - _ID3V1, 3) == b"TAG" else 0)
        file = file.with_parts([head[:_TOTAL_AT], bytes((head[_TOTAL_AT] | 15,)), b"\xff" * 4, *file.cut(26, stop)])
    return Link("flac", file, "flac")


# --- Ogg --------------------------------------------------------------------------------------------------------------

# How the first packet of a stream begins -> what it holds. Others are no sound.
_CODINGS = {
    b"\x01vorbis": "Ogg Vorbis",
    b"OpusHead": "Ogg Opus",
    b"\x7fFLAC": "Ogg FLAC",
    b"fLaC": "Ogg FLAC",
    b"Speex   ": "Ogg Speex",
    b"CELT    ": "Ogg CELT",
    b"PCM     ": "Ogg PCM",
}
_PAGE = re.compile(rb"OggS\x00")
_PAGE_HEAD = struct.Struct("<4sBBQIIIB")  # mark, version, flags, granule, serial, number, checksum, segments
_FLAC_PREFIX = 9  # bytes before "fLaC" in the first packet of Ogg FLAC


@dataclass(slots=True)
class _Stream:
    head: bytes  # of its first packet
    coding: str  # "" for no sound
    parts: list[range] = field(default_factory=list)  # its pages; of flac what is in them
    n_pages: int = 0
    number: int = -1  # of the last page


def ogg_links(file: Spliced, start: int, name: str) -> tuple[list[Link], int]:
    """Return the recordings chained from `start` on, and where the last page ends."""
    chains: list[dict[int, _Stream]] = []
    end, heads = start, False
    for page, body, flags, serial, number in _pages(file, start, name):
        if flags & 2:  # the first page of a stream; those of one chain stand together
            if not heads:
                chains.append({})
            head = file.at(body.start, 16)
            coding = next((coding for magic, coding in _CODINGS.items() if head.startswith(magic)), "")
            chains[-1][serial] = _Stream(head, coding)
        heads, end = bool(flags & 2), page.stop
        stream = chains[-1].get(serial) if chains else None
        if stream is None:
            continue
        # A recorded radio programme has its three head pages, and then begins somewhere.
        missing = number - stream.number - 1
        if stream.n_pages > 3 and missing > 0:
            raise InputError(f"{name} is damaged: {missing} of its pages are missing. Mend: copy or record it again.")
        add(stream.parts, body if stream.coding == "Ogg FLAC" else page)
        stream.n_pages, stream.number = stream.n_pages + 1, number
    return [_ogg_link(file, chain, name) for chain in chains], end


def _pages(file: Spliced, at: int, name: str) -> Iterator[tuple[range, range, int, int, int]]:
    # Of each page: all of it, its content, flags, serial and number.
    # There may be something between the pages.
    while (at := at if file.at(at, 4) == b"OggS" else next(file.find(_PAGE, at), file.size)) < file.size:
        head = file.at(at, _PAGE_HEAD.size).ljust(_PAGE_HEAD.size, b"\xff")
        _, _, flags, _, serial, number, _, n_segments = _PAGE_HEAD.unpack(head)
        body = at + _PAGE_HEAD.size + n_segments
        stop = body + sum(file.at(at + _PAGE_HEAD.size, n_segments))
        if stop > file.size:
            raise cut_off(name, f"{stop - at} bytes in its last page", str(file.size - at))
        yield range(at, stop), range(body, stop), flags, serial, number
        at = stop


def _ogg_link(file: Spliced, chain: dict[int, _Stream], name: str) -> Link:
    stream = next((stream for stream in chain.values() if stream.coding), None)
    if stream is None:
        raise InputError(f"{name} is Ogg without a sound track. Allowed: Vorbis, Opus, FLAC; Speex with PyAV.")
    whole = file.joined(*stream.parts)
    if stream.coding == "Ogg FLAC":
        return flac_link(whole.joined(range(_FLAC_PREFIX if stream.head[:1] == b"\x7f" else 0, whole.size)))
    return Link(stream.coding, whole, "ogg", core=stream.coding in ("Ogg Vorbis", "Ogg Opus"))


# --- MPEG sound (mp3, mp2, mp1) ---------------------------------------------------------------------------------------

# kbit/s by (lower sampling frequency?, layer); the first entry is the free format, whose frames tell no length.
_LOW_KBPS = (0, *range(8, 65, 8), *range(80, 161, 16))
_KBPS = {
    (False, 1): (0, *range(32, 449, 32)),
    (False, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (True, 2): _LOW_KBPS,
    (True, 3): _LOW_KBPS,
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG_FRAME = re.compile(rb"\xff[\xe2-\xef\xf2-\xff][\x10-\xeb]", re.DOTALL)
_VBRI_AT = 36
_SURE = 4  # frames in a row that are no chance
_SLACK = 2 * 1152  # samples: the coder's delay and padding, which decoders may or may not count
_LOSS_S = 0.5  # of sound that may lie destroyed between frames


@dataclass(frozen=True, slots=True)
class _Frame:
    header: bytes
    n_bytes: int
    n_samples: int
    rate_hz: int
    kind: tuple[int, int, int, bool]  # version, layer, rate, mono: what a decoder cannot change on its way


@lru_cache(maxsize=4096)
def _frame(header: bytes) -> _Frame | None:
    # What four bytes say, or None where they begin no frame of known length.
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer, protected = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3), not header[1] & 1
    bits, rate, padded = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3 or header[3] & 3 == 2:
        return None
    low = version != 3
    rate_hz = _RATES_HZ[version][rate]
    n_samples = 384 if layer == 1 else 576 if low and layer == 3 else 1152
    slot = 4 if layer == 1 else 1  # bytes, of which a frame is a whole number
    n_bytes = (n_samples // 8 // slot * _KBPS[low, layer][bits] * 1000 // rate_hz + padded) * slot
    if n_bytes < 4 + 2 * protected:
        return None
    return _Frame(header, n_bytes, n_samples, rate_hz, (version, layer, rate, header[3] >> 6 == 3))


@dataclass(slots=True)
class _Run:  # frames that one decoder can read in a row
    first: _Frame
    promised: int | None  # frames, by a Xing, Info or VBRI header in place of the first's sound; 0 if it does not say
    parts: list[range] = field(default_factory=list)
    n_frames: int = 0  # that hold sound


def mpeg_begins(file: Spliced, at: int, stop: int, wanted: int = 2) -> bool:
    """Return whether frames begin here: `wanted` of a kind in a row, or fewer that end with the file."""
    kind = None
    for _ in range(wanted):
        frame = _frame(file.at(at, 4))
        if frame is None or kind not in (None, frame.kind):
            return kind is not None and at == stop
        kind, at = frame.kind, at + frame.n_bytes
        if at > stop:
            return False
    return True


def mpeg_search(file: Spliced, start: int, stop: int) -> int:
    """Return where the next frames begin that are no chance; `stop` where there are none."""
    return next((at for at in file.find(_MPEG_FRAME, start, stop) if mpeg_begins(file, at, stop, _SURE)), stop)


def id3_size(head: bytes) -> int:
    """Return the bytes of an ID3v2 tag by its first ten, 0 where there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or head[3] == 0xFF or max(head[6:10]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return size + (20 if head[5] & 0x10 else 10)


def mpeg_links(file: Spliced, start: int, stop: int, name: str) -> tuple[list[Link], int]:
    """Return the recordings of the frames that begin at `start` (see `mpeg_begins`), and where their last frame ends.

    A new one begins with each Xing header, and where rate, layer or the number of channels changes.
    """
    runs: list[_Run] = []
    end, lost = start, 0
    for at, frame, gap in _frames(file, start, stop):
        promised = _promised(file.at(at, min(frame.n_bytes, 64)), frame)
        if promised is not None or not runs or runs[-1].first.kind != frame.kind:
            runs.append(_Run(frame, promised))
        runs[-1].n_frames += promised is None
        lost, end = lost + gap, at + frame.n_bytes
        add(runs[-1].parts, range(at, end))
    n_bytes = sum(len(part) for run in runs for part in run.parts)
    seconds = sum(run.n_frames * run.first.n_samples / run.first.rate_hz for run in runs)
    if lost * seconds > _LOSS_S * n_bytes:
        what = f"{lost} bytes between its frames are no sound; allowed: {_LOSS_S:g} s of them"
        raise InputError(f"{name} is damaged: {what}. Mend: copy or record it again.")
    return [_mpeg_link(file, run, name) for run in runs if run.n_frames or run.promised], end


def _frames(file: Spliced, at: int, stop: int) -> Iterator[tuple[int, _Frame, int]]:
    # Where each whole frame begins, the frame, and how many bytes before it belong to nothing.
    first = _frame(file.at(at, 4))
    kind, junk = first and first.kind, 0
    while at + 4 <= stop:
        frame = _frame(file.at(at, 4))
        tag = id3_size(file.at(at, 10))
        if frame and at + frame.n_bytes <= stop and (frame.kind == kind or mpeg_begins(file, at, stop, _SURE)):
            yield at, frame, junk
            at, kind, junk = at + frame.n_bytes, frame.kind, 0
        elif tag and at + tag < stop:
            at, kind = at + tag, None
        else:
            found = mpeg_search(file, at + 1, stop)
            at, kind, junk = found, None, junk + found - at


def _promised(body: bytes, frame: _Frame) -> int | None:
    # The frames that a Xing, Info or VBRI header promises, 0 if it does not say, None if this is sound.
    version, layer, _, mono = frame.kind
    if layer == 3 and body[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        return int.from_bytes(body[_VBRI_AT + 14 : _VBRI_AT + 18])
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    # Two bytes later where the frame has a checksum, which some programs count and some do not.
    for at in (4 + side, 6 + side) if layer == 3 else ():
        if body[at : at + 4] in (b"Xing", b"Info"):
            return int.from_bytes(body[at + 8 : at + 12]) if body[at + 7] & 1 else 0
    return None


def _mpeg_link(file: Spliced, run: _Run, name: str) -> Link:
    first, what, lead = run.first, f"mp{run.first.kind[1]}", 0
    missing = (run.promised or 0) - run.n_frames  # one is none: some programs count the header itself
    if missing * first.n_samples > _SLACK:
        raise cut_off(name, f"{run.promised} frames", str(run.n_frames))
    whole = file.joined(*run.parts)
    # A right header is kept for what else it says: how much the coder put before and behind the sound.
    if not run.promised or missing < 0:
        # Where libmpg123 finds a frame of silence of the lowest bit rate first, it guesses more samples than there
        # are, never fewer, and reads to the real end.
        header = bytes((0xFF, first.header[1] | 1, first.header[2] & 0x0C | 1 << 4, first.header[3]))  # no checksum
        silence, lead = _frame(header), first.n_samples
        assert silence is not None
        sound = whole.cut(first.n_bytes if run.promised is not None else 0)
        whole = file.with_parts([header.ljust(silence.n_bytes, b"\0"), *sound])
    return Link(what, whole, "mp3", n_samples=first.n_samples * run.n_frames, slack=_SLACK, lead=lead)
