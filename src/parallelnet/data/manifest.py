"""The manifest: one row a sample, as csv, JSON Lines or Parquet, with paths relative to it (design section 3)."""

import csv
import hashlib
import io
import json
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ManifestError, ParallelNetError, brief, refuse, shown
from ..records import harmless, original, write_text, write_whole
from ..types import EMOTIONS, SENTIMENTS, SPLITS, Sample
from . import image_corpora, tables
from .rows import DEEP

_PATHS = ("speech", "image")
_NAMES = ("id", "label", "sentiment", "split", "group", "image_group")  # not text to be read

# Columns that mean something here; only `speech` or `image` is required, and unknown ones are kept.
COLUMNS = ("id", "speech", "image", "text", "label", "sentiment", "split", "fold", "group", "image_group", "word_times")
MANIFEST_CSV = "manifest.csv"
MAX_ID = 1000  # characters of the longest id
MAX_FOLD = 2**31 - 1  # what a column of 32-bit integers holds

_log = logging.getLogger(__name__)
_FIGURE = re.compile(r"-\d+([.,]\d+)?([eE][+-]?\d+)?")


def read_manifest(path: str | os.PathLike[str], *, keep_bad_rows: bool = False) -> tuple[Sample, ...]:
    """Return the samples of a manifest, their paths ready to be opened.

    The files need not exist: a missing one is that row's error when it is read.
    Without an `id` column a sample is called after its row number. Speech and pictures may stand in the table
    themselves, as bytes or as Hugging Face's `{bytes, path}`; `audio` is `speech` where there is no such column.

    Space around labels, sentiments, groups, splits and ids means nothing, and neither do capitals: of names that differ
    in them alone all get one spelling, and a note says so.

    Args:
        path: the manifest, or a folder that holds `manifest.csv`; see `tables.open_table`.
        keep_bad_rows: a row that cannot be used becomes a sample with its `problem`, for batches that go on.

    Raises:
        ManifestError: anything that the manifest has wrong, with the number of the row.
        ParallelNetError: files that stand in the table cannot be unpacked.
    """
    source = Path(path)
    if source.is_dir():
        source = source / MANIFEST_CSV
        told = f"The folder {path} has no {MANIFEST_CSV}. Mend: name the manifest itself."
        refuse(ManifestError, [(not source.is_file(), told)])
    table = tables.open_table(source, known=(*COLUMNS, "audio"))
    table.refuse_twice(table.columns)
    audio = "audio" if "speech" not in table.columns else ""
    told = f"it has: {tables.listed(table.columns)}. Needed: at least one of the two."
    usable = {"speech", "image", audio} & set(table.columns)
    refuse(ManifestError, [(not usable, f"{source} has neither a column 'speech' nor 'image'; {told}")])
    lacking = [name for name in COLUMNS if name not in table.columns]
    for name in table.columns:
        near = get_close_matches(name, lacking, n=1, cutoff=0.8) if name not in COLUMNS else []
        if near:
            _log.warning("%s: the column %s is none that is read. Did you mean %r?", source, shown(name), near[0])
    samples: list[Sample] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(table.read(()), 1):
        values = {"speech" if name == audio else name: value for name, value in row.values.items()}
        if table.format == "csv":  # as `_cell` writes it
            values = {original(name): value if name in _PATHS else original(value) for name, value in values.items()}
        try:
            tables.refuse_broken(source, number, row)
            sample = _sample(f"{source}, row {number}", source.parent, values, seen)
        except ManifestError as error:
            if not keep_bad_rows:
                raise
            sample = Sample(_free_id(values, seen), problem=str(error))
        if sample.id:
            seen[sample.id] = number
        samples.append(sample)
    refuse(ManifestError, [(not samples, f"{source} has no rows. Needed: at least one below the header.")])
    return tuple(_same_spelling(tuple(_all_named(samples, set(seen))), source))


def _sample(where: str, folder: Path, values: Mapping[str, Any], seen: Mapping[str, int]) -> Sample:
    name = {column: tables.tidy(_text(values.get(column), where, column)) for column in _NAMES}
    id_, said, split = name["id"], name["split"], image_corpora.SPLIT_FOLDERS.get(name["split"].lower(), "")
    problems = [
        ("id" in values and not id_, f"{where}: the id is empty. Mend: fill it, or leave the whole column out."),
        (len(id_) > MAX_ID, f"{where}: the id has {len(id_):,} characters; allowed: at most {MAX_ID:,}."),
        (id_ in seen, f"{where}: id {shown(id_)} was given to row {seen.get(id_)} before. Ids are unique."),
        (said and not split, f"{where}: split is {shown(said)}; allowed: {', '.join(SPLITS)} or nothing."),
    ]
    refuse(ManifestError, problems)
    speech, image = (_file(values.get(column), folder, where, column) for column in _PATHS)
    nothing = speech is None and image is None
    refuse(ManifestError, [(nothing, f"{where} names neither speech nor image. Needed: at least one path.")])
    return Sample(
        **{**name, "split": split},
        face=0,
        speech=speech,
        image=image,
        text=_text(values.get("text"), where, "text"),
        fold=_fold(values.get("fold"), where),
        word_times=_word_times(values.get("word_times"), where),
        extra={
            column: _text(value, where, column, plain=False)
            for column, value in values.items()
            if column not in COLUMNS and not isinstance(value, bytes)
        },
    )


def _free_id(values: Mapping[str, Any], seen: Mapping[str, int]) -> str:
    try:
        name = tables.tidy(_text(values.get("id"), "", "id"))
    except ManifestError:
        return ""
    return name if len(name) <= MAX_ID and name not in seen else ""


def _all_named(samples: Iterable[Sample], taken: set[str]) -> Iterator[Sample]:
    """Yield the samples with an id each: those without one get their row's number, or more where a row has that."""
    for number, sample in enumerate(samples, 1):
        name = sample.id or str(number)
        while not sample.id and name in taken:
            name = f"row {name}"
        taken.add(name)
        yield replace(sample, id=name)


def _same_spelling(samples: Sequence[Sample], source: Path) -> Sequence[Sample]:
    """Return the samples with one spelling of each label, sentiment and group: ours, or else the most frequent one.

    Two classes that differ in capitals alone are one class with a slip of the pen, and a speaker that is spelled in two
    ways would stand in training and test.
    """
    for column in ("label", "sentiment", "group", "image_group"):
        counts = Counter(getattr(sample, column) for sample in samples)
        best = {name.casefold(): name for name, _ in reversed(counts.most_common())}
        best |= {name: name for name in (*EMOTIONS, *SENTIMENTS) if name in counts}
        chosen = {name: best[name.casefold()] for name in counts if name != best[name.casefold()]}
        if chosen:
            more = f" and {len(chosen) - 1} more" if len(chosen) > 1 else ""
            other = next(iter(chosen))
            _log.warning(
                "%s: values of %s that differ in capitals only are taken for one: %s for %s%s.",
                *(source, column, shown(other), shown(chosen[other]), more),
            )
            samples = [replace(s, **{column: chosen.get(getattr(s, column), getattr(s, column))}) for s in samples]
    return samples


def _text(value: Any, where: str, column: str, *, plain: bool = True) -> str:
    """Return a value as text: "" for nothing, whole numbers without point; lists and objects as JSON or, plain, not."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # how pandas writes "nothing": NaN, NaT
        return ""
    told = f"{where}: {column} is of type {type(value).__name__}; allowed: text."
    refuse(ManifestError, [(plain and isinstance(value, list | tuple | dict | bytes), told)])
    if plain and isinstance(value, float) and value.is_integer():
        return str(int(value))  # what pandas makes of 3 in a column that has gaps
    try:
        told = json.dumps(
            value, ensure_ascii=False, default=lambda x: f"{len(x)} bytes" if isinstance(x, bytes) else str(x)
        )
    except RecursionError:
        raise ManifestError(f"{where}: {column} holds {DEEP}.") from None
    return tables.storable(told)


def _file(value: Any, folder: Path, where: str, column: str) -> str | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):  # Hugging Face's Audio and Image
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, bytes):
        return _unpacked(value)
    if value is None or value != value or value == "":
        return None
    told = f"{where}: {column} is of type {type(value).__name__}; allowed: a path, bytes, or {{bytes, path}}."
    refuse(ManifestError, [(not isinstance(value, str), told)])
    path = tables.inside(folder, value, where)
    bare = value.strip()  # "1, a.wav": hardly a file whose name begins with a space
    return path if value == bare or Path(path).exists() else tables.inside(folder, bare, where) if bare else None


def _unpacked(content: bytes) -> str:
    # By its content's name the same bytes lie there once, and no table can put its bytes in the place of another's.
    digest = hashlib.sha256(content).hexdigest()
    target = image_corpora.cache_root() / "unpacked" / digest[:2] / digest
    try:
        if not (target.is_file() and target.stat().st_size == len(content)):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, lambda stream: stream.write(content))
    except OSError as error:  # no row is to blame for that
        raise ParallelNetError(
            f"{target} cannot be written: {error.strerror}. Mend: make room there, or set XDG_CACHE_HOME to a folder "
            "that has some."
        ) from None
    return str(target)


def _fold(value: Any, where: str) -> int | None:
    text = _text(value, where, "fold").strip()
    if not text:
        return None
    try:
        number = float(text.replace(",", "."))  # "3.0" and, where people write so, "3,0"
    except ValueError:
        number = -1.0
    odd = isinstance(value, bool) or not number.is_integer() or not 0 <= number <= MAX_FOLD
    refuse(ManifestError, [(odd, f"{where}: fold is {shown(value)}; allowed: 0, 1, 2, ... or nothing.")])
    return int(number)


def _word_times(value: Any, where: str) -> tuple[tuple[str, float, float], ...]:
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return ()
    try:
        found = json.loads(value) if isinstance(value, str) else value
        words = tuple((word, float(start_s), float(end_s)) for word, start_s, end_s in found)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = DEEP if isinstance(error, RecursionError) else brief(str(error))
        raise ManifestError(f"{where}: word_times is no JSON [[word, start_s, end_s], ...]: {reason}.") from None
    for (word, start_s, end_s), (_, before_s, _) in zip(words, (("", 0.0, 0.0), *words), strict=False):
        if not isinstance(word, str) or not (before_s <= start_s <= end_s < math.inf):
            raise ManifestError(
                f"{where}: word_times has {shown([word, start_s, end_s])}; needed: a word, then start and end in "
                "seconds, the start not before that of the word before it and the end not before the start."
            )
    return words


def read_word_times(path: str | os.PathLike[str]) -> tuple[tuple[str, float, float], ...]:
    """Return the (word, start in s, end in s) of a JSON file `[[word, start_s, end_s], ...]`.

    Raises:
        ManifestError: missing, unreadable, not of this form, or without a word.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    found = _word_times(text, str(path))
    refuse(ManifestError, [(not found, f"{path} holds no words. Needed: JSON [[word, start_s, end_s], ...].")])
    return found


# --- writing ----------------------------------------------------------------------------------------------------------


def write_manifest(path: str | os.PathLike[str], samples: Iterable[Sample]) -> Path:
    """Write samples as a csv manifest, whole or not at all, and return its path; files are named relative to that.

    Raises:
        ManifestError: no samples, a file outside the folder, or a path that promises another format.
    """
    target = Path(path)
    told = f"A manifest is written as csv; {target} ends otherwise. Mend: name it *.csv."
    refuse(ManifestError, [(target.suffix.lower() != ".csv", told)])
    folder = os.path.abspath(target.parent)  # noqa: PTH100
    rows: list[dict[str, str | int | None]] = []
    for sample in samples:
        row = {name: getattr(sample, name) for name in COLUMNS}
        row |= {name: _relative(getattr(sample, name), folder, sample.id) for name in _PATHS}
        row["word_times"] = json.dumps(sample.word_times, ensure_ascii=False) if sample.word_times else ""
        rows.append({**row, **sample.extra})
    refuse(ManifestError, [(not rows, f"{target} would have no rows. Needed: at least one sample.")])
    # Columns that nobody filled are left out, except the id: a manifest stays readable by eye.
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in names if name == "id" or any(row.get(name) not in (None, "") for row in rows)]
    values: list[list[str | int | None]] = [[harmless(name) for name in columns]]
    values += [[_cell(name, row.get(name)) for name in columns] for row in rows]
    # Before Python 3.13 the writer left a lone carriage return unquoted, and readers took it for the end of the row.
    returns = any(isinstance(value, str) and "\r" in value for row in values for value in row)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL).writerows(values)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, text.getvalue())
    return target


def _relative(value: str | None, folder: str, sample_id: str) -> str:
    if value is None:
        return ""
    # Not Path.resolve: it would follow the links that `build pairs` makes out of the folder.
    path = os.path.abspath(value)  # noqa: PTH100
    why = f"{value} lies outside {folder}, and manifests name only files below them. Mend: write the manifest above the"
    told = f"Sample {shown(sample_id)}: {why} files, or link them into its folder."
    refuse(ManifestError, [(not path.startswith(folder + os.sep), told)])
    relative = path[len(folder) + 1 :].replace(os.sep, "/")
    return relative if harmless(relative) == relative else f"./{relative}"  # no formula, and the same path to anybody


def _cell(name: str, value: str | int | None) -> str | int | None:
    # Figures in columns that are not ours stay figures for whoever reads them.
    figure = name not in COLUMNS and isinstance(value, str) and _FIGURE.fullmatch(value)
    return harmless(value) if isinstance(value, str) and not figure else value
