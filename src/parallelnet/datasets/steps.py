"""Steps of `build tweets` from a row of the input to checked speech and picture.

A step is a function: a row that was not rejected in, the row out, with what was found out or with the reason why it
falls out. The other steps live with what they know: `teachers.taught`, `teachers.decided`.
"""

import io
import os
import re
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from PIL import Image

from .. import audio, image, options, records
from ..data.shards import Example
from ..data.tables import read_table
from ..errors import InputError, ManifestError, ParallelNetError, refuse, shown
from ..synthesis.spoken import clean_for_speech, language_of
from ..synthesis.tts import Engine, voice_of

AUDIBLE = 10 ** (-40 / 20)  # of full scale: speech whose loudest sample is below cannot be heard

# Largest picture file that is read: posted photos have a hundredth of it, and every byte ends up in the data set.
MAX_BYTES = 64 << 20

_ANY_LENGTH = options.LimitOptions(max_duration_s=24 * 3600)  # --max-characters limits it, not this
# What spreadsheets make of a tweet's 18 digits; its last ones are lost for good.
_REWRITTEN = re.compile(r"\d([.,]\d+)?E\+\d+")


Step = Callable[[Example], Example]


class Clock:
    """Seconds of each step: `spent` is {name: (by the clock on the wall, of processors, ended children included)}."""

    def __init__(self) -> None:
        """Begin now."""
        self.spent: dict[str, tuple[float, float]] = {}
        self._since = (time.perf_counter(), sum(os.times()[:4]))

    def lap(self, name: str) -> None:
        """Charge what has passed since the last lap to a name."""
        (wall_s, cpu_s), since = self.spent.get(name, (0.0, 0.0)), self._since
        self._since = (time.perf_counter(), sum(os.times()[:4]))  # user and system, of this process and its children
        self.spent[name] = (wall_s + self._since[0] - since[0], cpu_s + self._since[1] - since[1])


def advanced(example: Example, steps: Mapping[str, Step], clock: Clock) -> Example:
    """Return a row after the steps, by their names, or after the one that rejected it; a rejected one as it is."""
    for name, step in steps.items():
        if example.reason:
            break
        example = step(example)
        clock.lap(name)
    return example


def clean_text(example: Example, *, emoji: Literal["name", "drop"], max_characters: int) -> Example:
    """Set `spoken_text` and `language`; reject `no-words` and, of the cleaned text, `text-too-long`."""
    try:
        spoken = clean_for_speech(example.text, emoji=emoji)
        language = language_of(spoken) if spoken else ""
    except Exception as error:  # of ftfy, for instance: one stranger's text must not stop the build for ever
        if records.is_disk_full(error):  # no fault of the row: it would be lost for ever
            raise
        return example.reject("unreadable-row", f"its text cannot be cleaned ({type(error).__name__}: {error})")
    cleaned = replace(example, spoken_text=spoken, language=language)
    if not spoken:
        return cleaned.reject("no-words")
    if len(spoken) > max_characters:
        return cleaned.reject("text-too-long", f"{len(spoken):,} characters; allowed: {max_characters:,}")
    return cleaned


# --- pictures ---------------------------------------------------------------------------------------------------------


def check_picture(example: Example, *, max_pixels: int, folder: str) -> Example:
    """Set `image`, the bytes of the picture as found, and `image_dhash`, once it was decoded whole; or reject the row.

    An animation stands for its first frame: that is what is hashed and what teachers see. `max_pixels` (width times
    height) is compared with the header; see `picture_bytes` for `folder`.
    """
    try:
        content = picture_bytes(example.image_path, folder)
        dhash = difference_hash(image.read(content, limits=options.LimitOptions(max_pixels=max_pixels)))
    except UnfitError as unfit:
        return example.reject(*unfit.args)
    except image.TooLargeError as error:
        return example.reject("picture-too-large", str(error))
    except Exception as error:  # whatever it is, one stranger's file must not stop the build for ever
        if records.is_disk_full(error):
            raise
        told = str(error) if isinstance(error, ParallelNetError) else f"{type(error).__name__}: {error}"
        return example.reject("picture-unreadable", told)
    return replace(example, image=content, image_dhash=dhash)


def picture_bytes(name: str, folder: str) -> bytes:
    """Return the bytes of a picture file.

    Args:
        name: its path.
        folder: itself resolved. A picture that a link leads to outside of it is refused: a table from a stranger must
            not read the files of this machine into a data set.

    Raises:
        UnfitError: there is none, it is no file, a link leads out of the folder, or nobody would post one so large.
    """
    if not name:
        raise UnfitError("picture-missing", "the row names no picture")
    file = Path(name).name  # details end up in the data set: the folders of this machine do not belong there
    try:
        if not Path(os.path.realpath(name)).is_relative_to(folder):
            raise UnfitError("picture-outside", f"{file!r} is a link, or behind one, that leads out; see --images")
        state = Path(name).stat()
        if not stat.S_ISREG(state.st_mode):  # a named pipe would be waited for, for ever
            raise UnfitError("picture-unreadable", f"{file!r} is no regular file")
        told = f"{file!r} has {state.st_size:,} bytes; read are up to {MAX_BYTES:,}"
        if state.st_size > MAX_BYTES:
            raise UnfitError("picture-too-large", told)
        return Path(name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UnfitError("picture-missing", f"there is no file {file!r}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnfitError("picture-unreadable", f"{file!r} cannot be opened: {reason}") from None


class UnfitError(Exception):
    """A picture file that is not read: the key of `REASONS` for it, and what exactly is wrong."""


def difference_hash(rgb: image.Pixels) -> int:
    """Return the 64-bit difference hash of a picture: does it get brighter from each column to the next, row by row.

    Greys at 9 x 8 (Lanczos), as `imagehash.dhash` of ImageHash 4.3 does it, to the bit (tests hold values of it). That
    package is not used because it needs SciPy and PyWavelets for its other hashes.

    Args:
        rgb: uint8 `[h, w, 3]`.

    Returns:
        0 to 2^64 - 1; the highest bit compares the first two pixels of the uppermost row.
    """
    small = np.asarray(Image.fromarray(rgb).convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


# --- rows that people marked ------------------------------------------------------------------------------------------


def read_excluded(path: str | Path) -> frozenset[str]:
    """Return the ids in the column `id` of what gallery.html exported, or of any other table.

    Raises:
        ManifestError: no such table, or without the column, or with ids that are blank or that a spreadsheet rewrote.
    """
    ids = set()
    for where, row in read_table(path, "id", known=("id",)):
        said = "" if row.get("id") is None else records.original(str(row["id"]).strip())
        if not said:
            raise ManifestError(f"{where} has no id. Mend: delete the row, or name the row to exclude.")
        told = (
            f"{where} has id {shown(said)}: a spreadsheet rewrote it and lost digits. Mend: export it from gallery.html"
        )
        lost = isinstance(row["id"], str) and _REWRITTEN.fullmatch(said)
        refuse(ManifestError, [(lost, f"{told} again and do not save it in a spreadsheet.")])
        ids.add(said)
    return frozenset(ids)


def exclude(example: Example, *, ids: frozenset[str]) -> Example:
    """Reject, as `excluded`, the rows that people marked."""
    return example.reject("excluded") if example.id in ids else example


# --- speech -----------------------------------------------------------------------------------------------------------


def speak(example: Example, *, engine: Engine, voices: Sequence[str] = (), seed: int = 0) -> Example:
    """Set `speech`, `duration_s`, `word_times` and what spoke; reject `speech-failed`.

    The engine's `voices`, where there is none its usual ones, are spread over the rows by the seed.
    """
    voice = voice_of(tuple(voices) or engine.voices, seed, example.row)
    said = f"{voice} {engine.settings}".strip()
    example = replace(example, tts_engine=engine.name, tts_version=engine.version, tts_voice=said)
    try:
        spoken = engine.speak(example.spoken_text, voice)
    except InputError as error:
        return example.reject("speech-failed", str(error))
    waveform = spoken.waveform
    if spoken.sample_rate_hz != audio.SAMPLE_RATE_HZ:
        waveform = soxr.resample(waveform, spoken.sample_rate_hz, audio.SAMPLE_RATE_HZ, quality="HQ")
    if not len(waveform):
        return example.reject("speech-failed", f"{engine.name} gave no sound")
    duration_s = len(waveform) / audio.SAMPLE_RATE_HZ
    times = tuple((word, min(start, duration_s), min(end, duration_s)) for word, start, end in spoken.word_times)
    return replace(example, speech=flac(waveform), duration_s=duration_s, word_times=times)


def check_sound(example: Example) -> Example:
    """Reject, as `speech-silent`, speech that cannot be decoded again, is silent or too soft to be heard."""
    try:
        waveform = audio.read(example.speech, limits=_ANY_LENGTH)
    except InputError as error:
        return example.reject("speech-silent", str(error))
    loudest = float(np.abs(waveform).max(initial=0))
    told = f"the loudest sample is {20 * np.log10(loudest):.0f} dB of full scale" if loudest else "nothing but zeros"
    return example if loudest >= AUDIBLE else example.reject("speech-silent", told)


def flac(waveform: npt.NDArray[np.float32]) -> bytes:
    """Return mono speech `[n_samples]` at 16 kHz, clipped to [-1, 1], as FLAC of 16 bits: the same bytes each time."""
    samples = np.clip(np.rint(waveform * 32_768), -32_768, 32_767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, audio.SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()
