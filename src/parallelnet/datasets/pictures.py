"""Pictures of tweets: is there one, can it be decoded, and what is its difference hash."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import ParallelNetError
from ..image import Pixels, TooLargeError, read
from ..options import LimitOptions
from ..records import is_disk_full
from .draft import Draft

MAX_BYTES = 64 << 20
"""Largest picture file that is read: posted photos have a hundredth of it, and every byte ends up in the data set."""

_HASH_SIDE = 8  # bits a row and rows of the difference hash


class CheckPicture:
    """Step: reads the picture of each draft, decodes it whole, and keeps its bytes as found and its difference hash.

    An animation stands for its first frame: that is what is hashed and what teachers see.
    """

    name = "check-picture"

    def __init__(self, max_pixels: int, folder: Path) -> None:
        """Take what decides which pictures are refused.

        Args:
            max_pixels: pictures of more (width times height) are, from their header.
            folder: pictures that a link leads to outside of it are: a table from a stranger must not read the files of
                this machine into a data set. The folder itself may be a link.
        """
        self._limits = LimitOptions(max_pixels=max_pixels)
        self._folder = os.path.realpath(folder)

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """Yield each draft with `image` and `image_dhash`, or with the reason why it has none."""
        for draft in drafts:
            yield draft if draft.reason else self._checked(draft)

    def _checked(self, draft: Draft) -> Draft:
        try:
            content = _content(draft.image_path, self._folder)
            dhash = difference_hash(read(content, limits=self._limits))
        except _UnfitError as unfit:
            return draft.reject(unfit.reason, str(unfit))
        except TooLargeError as error:
            return draft.reject("picture-too-large", str(error))
        except Exception as error:  # whatever it is, one stranger's file must not stop the build for ever
            if is_disk_full(error):  # no fault of the row: it would be lost for ever
                raise
            told = str(error) if isinstance(error, ParallelNetError) else f"{type(error).__name__}: {error}"
            return draft.reject("picture-unreadable", told)
        return replace(draft, image=content, image_dhash=dhash)


class _UnfitError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def is_inside(path: str | Path, folder: str) -> bool:
    """Return whether a path stays in a folder (itself resolved) once its links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(folder)


def _content(name: str, folder: str) -> bytes:
    """Return the bytes of a picture file.

    Raises:
        _UnfitError: there is none, it is no file, a link leads out of the folder, or nobody would post one so large.
    """
    if not name:
        raise _UnfitError("picture-missing", "the row names no picture")
    file = Path(name).name  # details end up in the data set: the folders of this machine do not belong there
    try:
        if not is_inside(name, folder):
            raise _UnfitError("picture-outside", f"{file!r} is a link, or behind one, that leads out; see --images")
        state = Path(name).stat()
        if not stat.S_ISREG(state.st_mode):  # a named pipe would be waited for, for ever
            raise _UnfitError("picture-unreadable", f"{file!r} is no regular file")
        if state.st_size > MAX_BYTES:
            size = f"{state.st_size:,} bytes; read are up to {MAX_BYTES:,}"
            raise _UnfitError("picture-too-large", f"{file!r} has {size}")
        return Path(name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise _UnfitError("picture-missing", f"there is no file {file!r}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _UnfitError("picture-unreadable", f"{file!r} cannot be opened: {reason}") from None


def difference_hash(rgb: Pixels) -> int:
    """Return the 64-bit difference hash of a picture: does it get brighter from each column to the next, row by row.

    Greys at 9 x 8 (Lanczos), as `imagehash.dhash` of ImageHash 4.3 does it, to the bit (tests hold values of it). That
    package is not used because it needs SciPy and PyWavelets for its other hashes.

    Args:
        rgb: uint8 `[h, w, 3]`.

    Returns:
        0 to 2^64 - 1; the highest bit compares the first two pixels of the uppermost row.
    """
    grey = Image.fromarray(rgb).convert("L")
    small = np.asarray(grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.LANCZOS))
    brighter = small[:, 1:] > small[:, :-1]
    return int.from_bytes(np.packbits(brighter).tobytes(), "big")
