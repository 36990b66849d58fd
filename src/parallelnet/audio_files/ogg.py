"""Ogg: its pages, the recordings chained in it, and flac inside, which libsndfile does not read there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import InputError
from . import flac
from .spliced import Link, Part, Spliced, cut_off

# How the first packet of a stream begins -> what it holds; None: no sound.
_CODINGS: dict[bytes, str | None] = {
    b"\x01vorbis": "Ogg Vorbis",
    b"OpusHead": "Ogg Opus",
    b"\x7fFLAC": "Ogg FLAC",
    b"fLaC": "Ogg FLAC",
    b"Speex   ": "Ogg Speex",
    b"CELT    ": "Ogg CELT",
    b"PCM     ": "Ogg PCM",
}
_PAGE = re.compile(rb"OggS\x00")
_BY_LIBSNDFILE = ("Ogg Vorbis", "Ogg Opus")
_FLAC_PREFIX = 9  # bytes before "fLaC" in the first packet of Ogg FLAC


@dataclass(slots=True)
class _Stream:
    coding: str | None
    head: bytes  # of its first packet
    pages: list[range] = field(default_factory=list)
    bodies: list[range] = field(default_factory=list)
    last_number: int = -1
    granule: int = 0


def links(file: Spliced, start: int, name: str) -> tuple[list[Link], int]:
    """Return the recordings chained from `start` on, and where the last page ends.

    Raises:
        InputError: a page ends too early or is missing, or there is no sound.
    """
    chains: list[dict[int, _Stream]] = []
    end, heads = start, False
    for page, body, flags, granule, serial, number in _pages(file, start, name):
        if flags & 2:  # the first page of a stream; those of one chain stand together
            if not heads:
                chains.append({})
            chains[-1][serial] = _Stream(_coding(file.at(body.start, 8)), file.at(body.start, 16))
        heads = bool(flags & 2)
        stream = chains[-1].get(serial) if chains else None
        if stream is not None:
            _refuse_missing(stream, number, name)
            stream.pages.append(page)
            stream.bodies.append(body)
            if granule < 1 << 63:  # else no packet ends on this page
                stream.granule = granule
        end = page.stop
    found = [_link(file, chain, name) for chain in chains]
    return found, end


def _pages(file: Spliced, at: int, name: str) -> Iterator[tuple[range, range, int, int, int, int]]:
    """Yield each page: all of it, its content, flags, granule, serial and number."""
    while True:
        head = file.at(at, 27)
        if head[:4] != b"OggS":  # something between the pages, or the end
            at = next(file.find(_PAGE, at), file.size)
            if at == file.size:
                return
            continue
        n_segments = head[26] if len(head) == 27 else 255
        lacing = file.at(at + 27, n_segments)
        n_bytes = 27 + n_segments + sum(lacing)
        if at + n_bytes > file.size:
            raise cut_off(name, f"{n_bytes} bytes in its last page", str(file.size - at))
        page = range(at, at + n_bytes)
        numbers = [int.from_bytes(head[k:stop], "little") for k, stop in ((6, 14), (14, 18), (18, 22))]
        yield page, page[27 + n_segments :], head[5], numbers[0], numbers[1], numbers[2]
        at += n_bytes


def _coding(head: bytes) -> str | None:
    return next((coding for magic, coding in _CODINGS.items() if head.startswith(magic)), None)


def _refuse_missing(stream: _Stream, number: int, name: str) -> None:
    # A recorded radio programme has its three head pages, and then begins somewhere.
    if len(stream.pages) > 3 and number > stream.last_number + 1:
        missing = number - stream.last_number - 1
        raise InputError(f"{name} is damaged: {missing} of its pages are missing. Mend: copy or record it again.")
    stream.last_number = number


def _link(file: Spliced, chain: dict[int, _Stream], name: str) -> Link:
    sounds = [stream for stream in chain.values() if stream.coding]
    if not sounds:
        raise InputError(f"{name} is Ogg without a sound track. Allowed: Vorbis, Opus, FLAC; Speex with PyAV.")
    stream = sounds[0]
    assert stream.coding is not None
    if stream.coding == "Ogg FLAC":
        parts = [part for body in stream.bodies for part in file.cut(body.start, body.stop)]
        whole = file.with_parts(parts)
        prefix = _FLAC_PREFIX if stream.head[:1] == b"\x7f" else 0
        return flac.link(file.with_parts(whole.cut(prefix)), name, stream.granule)
    pages: list[Part] = [part for page in _joined(stream.pages) for part in file.cut(page.start, page.stop)]
    return Link(stream.coding, file.with_parts(pages), "ogg", core=stream.coding in _BY_LIBSNDFILE)


def _joined(pages: list[range]) -> list[range]:
    joined: list[range] = []
    for page in pages:
        if joined and joined[-1].stop == page.start:
            page = range(joined.pop().start, page.stop)
        joined.append(page)
    return joined
