"""What the user did wrong, said so that they can mend it.

Every message names what was wrong, what arrived, what is allowed and how to mend it, in one line. The command
line prints it and exits with status 2; in a batch it becomes the `reason` of a row.
"""

import io
import os
import reprlib
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, cast


class ParallelNetError(ValueError):
    """Anything that a caller can mend. Its text is one line."""


class InputError(ParallelNetError):
    """A speech file, a picture or an array that cannot be used."""


class ManifestError(ParallelNetError):
    """A manifest, a corpus folder or a split that cannot be used."""


class CheckpointError(ParallelNetError):
    """A checkpoint that is missing, cut, foreign or newer than this program."""


class OptionError(ParallelNetError):
    """An option out of its range, or options that contradict each other."""


class FullDiskError(ParallelNetError):
    """Nothing more can be written, so nothing that depends on it goes on: no other row, no other fold."""


class StoppedError(KeyboardInterrupt):
    """A signal asks the program to end, as Ctrl-C does: no error, so nothing that catches `Exception` holds it up."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__()
        self.number = number


class MissingExtraError(ParallelNetError):
    """A feature whose packages are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        """Say which extra brings `feature`.

        Args:
            feature: what was asked for, in words that begin the sentence.
            extra: the name inside `pip install "parallelnet[...]"`.
        """
        super().__init__(f'{feature} needs packages that are not installed. Mend: pip install "parallelnet[{extra}]"')


def unknown(kind: str, name: str, allowed: Iterable[str], flag: str) -> OptionError:
    """Return the error for a name that is not in a registry.

    Args:
        kind: what the name should have been, for instance `backbone`.
        name: what arrived.
        allowed: the registry's names.
        flag: where it is set, for instance `--backbone`.
    """
    names = sorted(allowed)
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return OptionError(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(names)}. See {flag}.")


def refuse(error: type[Exception], rows: Iterable[tuple[object, str]]) -> None:
    """Raise an error with the text of the first row that is so: each is what must not be, and what to say of it."""
    for wrong, told in rows:
        if wrong:
            raise error(told)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80
_SHORT.maxlevel = 3


def shown(value: object) -> str:
    """Return a user's value as an error shows it: its `repr`, whose middle is left out where it is long."""
    return brief(_SHORT.repr(value))


def brief(text: str, limit: int = 200) -> str:
    """Return text of a stranger as it may stand in a line of ours: one line, no control characters, and not too long.

    What was cut off is three points.
    """
    line = " ".join(text[: 4 * limit].split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= limit and len(text) <= 4 * limit else f"{line[: limit - 3]}..."


@contextmanager
def opened(source: object, kind: str, formats: str) -> Iterator[tuple[BinaryIO, str]]:
    """Yield what a user named as a seekable binary stream at its start, and the name that errors call it by.

    Args:
        source: path, bytes or binary stream. A path's file is closed at the end, a caller's stream is not.
        kind: what it should hold, for instance `Speech`.
        formats: what may be in it, for the error texts.

    Raises:
        InputError: missing, a folder, unreadable, empty (0 bytes), or none of the above types.
    """
    with ExitStack() as stack:
        stream: BinaryIO
        if isinstance(source, str | os.PathLike):
            if not os.fspath(source):
                raise InputError(f"{kind} has an empty path. Mend: name the file.")
            name = f"{kind} {os.fspath(source)!r}"
            stream = stack.enter_context(_opened_path(Path(source), name, formats))
        elif isinstance(source, bytes | bytearray | memoryview):
            name, stream = f"{kind} (bytes)", io.BytesIO(source)
        elif hasattr(source, "read") and not isinstance(source, io.TextIOBase):
            name = f"{kind} {getattr(source, 'name', '(stream)')!r}"
            seekable = hasattr(source, "seekable") and source.seekable()
            stream = cast(BinaryIO, source) if seekable else io.BytesIO(source.read())
        else:
            raise InputError(
                f"{kind} is of type {type(source).__name__}; allowed: a path, bytes, a binary stream (open(..., 'rb')) "
                "or an array."
            )
        if stream.seek(0, os.SEEK_END) == 0:
            raise InputError(f"{name} is empty (0 bytes). Mend: copy it again, or make it again.")
        stream.seek(0)
        yield stream, name


def _opened_path(path: Path, name: str, formats: str) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        # Checked first: opening a named pipe would wait for ever, and a device never ends.
        if stat.S_ISREG(mode):
            return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{name} does not exist. Mend: check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise InputError(f"{name} cannot be opened: {getattr(error, 'strerror', None) or error}.") from None
    what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
    raise InputError(f"{name} is {what}; allowed: a file ({formats}).")
