"""A file or folder that knows what was asked of it, who holds it, and is written whole or not at all; cells of a csv.

Whatever can be stopped and gone on with (`predict`, `explain`, `train`, `build`, `experiment`) keeps these promises
through this module: two processes never write one place (`held`), results of different questions are never mixed
(`begun`), and a stop at any moment leaves the old file or the new one (`write_whole`).
"""

import errno
import glob
import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import FullDiskError, OptionError, ParallelNetError, brief

LOCK = ".lock"  # name of a held folder's lock inside it; a held file's stands beside it as `.NAME.lock`

_PARTIAL = f"{'[0-9a-f]' * 32}.partial"  # behind the name of what is not whole yet
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SHOWN = 4  # differences that an error names


# --- written whole or not at all --------------------------------------------------------------------------------------


def write_whole(target: Path, write: Callable[[BinaryIO], object], *, sync: bool = True) -> tuple[str, int]:
    """Write a file so that it is whole or not there at all, and return its sha256 and size in bytes.

    Args:
        target: the file; replaced if it exists.
        write: gets the open file, which it may also read and seek in.
        sync: wait until the disk has it (8 ms), so that it outlasts a power cut, too. Not worth it for one of many
            small files that can be made again.

    Raises:
        OSError: the disk is full, for instance. The old file is untouched, and nothing is left behind.
    """
    # A name of its own: what an earlier, killed run is still writing must not come in between.
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("w+b") as stream:
            write(stream)
            stream.flush()
            if sync:
                os.fsync(stream.fileno())  # else a power cut may leave the new name with nothing behind it
            n_bytes = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        partial.replace(target)
        if sync:
            with suppress(OSError):  # Windows opens no folders, some network disks sync none
                folder = os.open(target.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
    finally:
        partial.unlink(missing_ok=True)
    return digest, n_bytes


def write_text(target: Path, text: str) -> None:
    """Write a utf-8 text file whole or not at all; see `write_whole`."""
    write_whole(target, lambda stream: stream.write(text.encode("utf-8")))


def write_json(target: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, whole or not at all; see `write_whole`."""
    write_text(target, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read_json(source: Path, *, mend: str, needed: Collection[str] = ()) -> dict[str, Any]:
    """Return the JSON object in a file of ours.

    Raises:
        OptionError: it cannot be read, or is no whole JSON object, or lacks a name of `needed`; `mend` is its last
            sentence.
    """
    try:
        record = json.loads(source.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("no JSON object")
        lacking = [name for name in needed if name not in record]
        if lacking:
            raise ValueError(f"it lacks {', '.join(map(repr, lacking))}")
    except FileNotFoundError:
        raise OptionError(f"{source} is missing. Mend: {mend}") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OptionError(f"{source} is damaged ({reason}). Mend: {mend}") from None
    return record


def sweep(place: Path) -> None:
    """Remove what killed processes left half-written of a file, or in a folder and below; for who holds it."""
    name = "*" if place.is_dir() else glob.escape(place.name)
    found = place.rglob if place.is_dir() else place.parent.glob
    for partial in (*found(f"{name}.{_PARTIAL}"), *found(f"{name}.asked.json.{_PARTIAL}")):
        partial.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error says that the disk (or the user's share of it) is full."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def full_disk_told(place: Path, goes_on: str) -> Iterator[None]:
    """Say in a FullDiskError of one line that the disk of `place` is full, and what `goes_on` once there is room."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        where = error.filename or place
        raise FullDiskError(
            f"The disk is full: {where} could not be written. What is finished is kept. Mend: make room; {goes_on}."
        ) from error


# --- who holds it -----------------------------------------------------------------------------------------------------


@contextmanager
def held(place: Path) -> Iterator[None]:
    """Hold an existing folder, or a file that may not be there yet, while the context or the process lasts.

    Raises:
        ParallelNetError: another process holds it.
        OSError: the lock cannot be written there.
    """
    from filelock import FileLock, Timeout  # 20 ms that --help need not wait

    path = place / LOCK if place.is_dir() else place.with_name(f".{place.name}{LOCK}")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ParallelNetError(
            f"Another process writes to {place}. Mend: wait for it, end it, or name another --out."
        ) from None
    try:
        yield
    finally:
        # While it is held: filelock never takes a lock whose file is gone, so nobody can hold another one meanwhile.
        path.unlink(missing_ok=True)
        lock.release()


def is_empty(folder: Path) -> bool:
    """Return whether a folder is missing or holds nothing but our lock."""
    return not folder.is_dir() or all(path.name == LOCK for path in folder.iterdir())


# --- what was asked of it ---------------------------------------------------------------------------------------------


def beside(out: Path) -> Path:
    """Return where it is written down what was asked of a file."""
    return out.with_name(f"{out.name}.asked.json")


def begun(
    record: Path, asked: Mapping[str, Any], *, place: Path, free: Collection[str] = (), other: str = "another --out"
) -> None:
    """Write down what is asked of a place, or check that it is what was asked there before.

    Args:
        record: the file that says it: `beside(out)` of a file, or a file inside a folder.
        asked: all that decides the results, for JSON: options, hashes of checkpoint and data.
        place: how the error names the place.
        free: names in `asked` that may differ.
        other: how the error calls another place.

    Raises:
        OptionError: something else was asked there before, or the record is damaged.
    """
    now = json.loads(json.dumps(asked))
    if not record.is_file():
        write_json(record, now)
        return
    before = read_json(record, mend=f"{other}; what was asked for the results there is not known any more.")
    found = differences(before, now, free=free)
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise OptionError(
            f"{place} was begun with other options or data: {'; '.join(found[:_SHOWN])}{more}. Mend: the same ones, or "
            f"{other}."
        )


def differences(before: Any, now: Any, *, free: Collection[str] = (), prefix: str = "") -> list[str]:
    """Return a phrase for each value in which two records as read from JSON differ: `face was 'auto', is 'off'`.

    Names in `free` may differ at the first level.
    """
    found = []
    for name in sorted({*before, *now} - set(free)):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, prefix=f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name} was {brief(repr(old), 80)}, is {brief(repr(new), 80)}")
    return found


# --- text of others in csv files that we write ------------------------------------------------------------------------

# Excel, LibreOffice and Google Sheets run a cell that begins with one of these as a formula, and an id or a file name
# comes from strangers. Such a text gets an apostrophe in front, as OWASP's page on "CSV Injection" says. With the
# full-width signs, which spreadsheets in East Asia take for the plain ones. Our own numbers (`-0.12`) go as they are.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def harmless(text: str) -> str:
    """Return a text as a CSV cell that no spreadsheet runs; `original` undoes it, for every text."""
    # One that has the apostrophe already gets another, else two texts would be written alike.
    return f"'{text}" if _FORMULA.match(text) else text


def original(cell: str) -> str:
    """Return the text that `harmless` made a cell of; a cell that it did not change comes back as it is."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
