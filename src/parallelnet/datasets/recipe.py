"""What decides the bytes of a build, and whose the folder is that it is written into.

A folder belongs to one recipe. The same recipe goes on where it stopped; another is refused, or replaces it when asked.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from ..errors import ManifestError, OptionError
from ..options import TweetsOptions
from ..records import LOCK, differences, held, is_disk_full, read_json, write_json
from . import shards, tweets
from .hub_teachers import HUB_PREFIX
from .record import DATASET_JSON, MADE_BY, WORK, read_report

_log = logging.getLogger(__name__)

PAGES: tuple[str, ...] = ("README.md", "figures", "gallery.html")

PARTS: tuple[str, ...] = ("data", "rejected.parquet", *PAGES, "build-log.json")
"""What a build makes, besides `dataset.json`; --overwrite removes nothing else."""

FREE_OPTIONS: tuple[str, ...] = ("out", "workers", "executor", "ray_address", "dry_run", "overwrite")
"""Options that do not change a byte."""

PATH_OPTIONS: tuple[str, ...] = (
    *("tweets", "out", "images", "exclude", "label_map", "tts_model", "speech_teacher", "image_teacher"),
)

VERSIONED: tuple[str, ...] = (
    *("parallelnet", "numpy", "pyarrow", "pillow", "soundfile", "soxr", "onnxruntime", "scikit-image", "scipy"),
    *("ftfy", "emoji", "espeakng-loader", "piper-tts", "torch", "transformers"),
)
"""Packages whose release may change the bytes, where they are installed."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the bytes of a build.

    Attributes:
        options: by name, without the folders of this machine.
        files: {option: sha256} of the small files that options name.
        input: name, format and sha256 of what is read.
        tools: engine, teachers and versions; empty until they have been opened.
    """

    options: Mapping[str, Any]
    files: Mapping[str, str]
    input: Mapping[str, Any]
    tools: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, stored: Mapping[str, Any]) -> list[str]:
        """Return, a phrase each, where a stored recipe says something else."""
        own = json.loads(json.dumps(asdict(self)))
        found = []
        for part in ("options", "files", "input", "tools"):
            if part in stored:
                found += differences(stored[part], own[part], prefix="--" if part == "options" else f"{part}.")
        return [_as_flag(phrase) if phrase.startswith("--") else phrase for phrase in found]


def _as_flag(phrase: str) -> str:
    name, _, said = phrase.partition(" ")
    return f"{name.replace('_', '-')} {said}"


def absolute(options: TweetsOptions) -> TweetsOptions:
    """Return the options with absolute paths, so that they mean the same in processes with another working folder."""
    changed: dict[str, Any] = {}
    for name in PATH_OPTIONS:
        value = getattr(options, name)
        if value is None:
            continue
        kind, path = _local(value)
        # A teacher or a voice may be a name instead.
        if name in ("tweets", "out", "images") or Path(path).exists():
            changed[name] = kind + os.path.abspath(path)  # noqa: PTH100  (not resolved: links may be meant)
    return replace(options, **changed)


def _local(value: str) -> tuple[str, str]:
    """Return what stands before the path of a teacher that is a Hugging Face model in a folder, and the path."""
    return (HUB_PREFIX, value.removeprefix(HUB_PREFIX)) if value.startswith(HUB_PREFIX) else ("", value)


def root_of(options: TweetsOptions) -> Path:
    """Return the folder that pictures are named relative to."""
    source = Path(options.tweets)
    return Path(options.images) if options.images else source if source.is_dir() else source.parent


def write_recipe(options: TweetsOptions) -> Recipe:
    """Return the recipe of these options, without tools.

    Raises:
        ManifestError: the input or a file that an option names cannot be read.
        OptionError: --images is no folder.
    """
    if options.images and not Path(options.images).is_dir():
        raise OptionError(
            f"--images {options.images} is no folder. Needed: the folder that picture paths are relative to; left out, "
            "it is the folder of --tweets."
        )
    listed = {name: value for name, value in asdict(options).items() if name not in FREE_OPTIONS}
    listed["voices"] = list(options.voices)  # as it comes back from JSON
    for name in PATH_OPTIONS:
        kind, path = _local(listed.get(name) or "")
        if path and Path(path).exists():
            listed[name] = kind + Path(path).name
    if options.labels == "sentiment":  # no teacher is asked
        for name in ("speech_teacher", "image_teacher", "label_map", "renormalise", "rule", "threshold"):
            listed.pop(name)
    named = {name: getattr(options, name) for name in ("exclude", "label_map", "tts_model")}
    files = {name: _sha256(Path(value)) for name, value in named.items() if value and Path(value).is_file()}
    return Recipe(listed, files, _input(options))


def _input(options: TweetsOptions) -> dict[str, Any]:
    source = Path(options.tweets)
    given = tweets.detect_format(source) if options.format == "auto" else options.format
    if source.is_file():
        return {"name": source.name, "format": given, "sha256": _sha256(source)}
    # Of a folder: of the rows that are read from it.
    total = hashlib.sha256()
    root = root_of(options)
    for draft in tweets.read_tweets(source, given, images=root if options.images else None, labels=options.labels):
        row = [draft.id, draft.text, relative(draft.image_path, root), draft.sentiment, draft.reason]
        total.update(json.dumps(row).encode() + b"\n")
    return {"name": source.name, "format": given, "sha256": total.hexdigest()}


def relative(path: str, root: Path) -> str:
    """Return a path without the folder that all pictures lie in; another path as it is."""
    prefix = f"{root}{os.sep}"
    return path.removeprefix(prefix).replace(os.sep, "/") if path.startswith(prefix) else path


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from None


def versions() -> dict[str, str]:
    """Return the releases of `VERSIONED` that are installed."""
    found = {}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def is_finished(folder: Path, recipe: Recipe, *, overwrite: bool) -> bool:
    """Return whether the folder holds this very build already, complete.

    Engine, teachers and versions of then need not be those of now: what is complete stays as it is. A data set that
    lost a file, or whose bytes are not those that were built, is not complete any more, and is built again;
    so is one that kept no row, since pictures that were missing may be there now.

    Raises:
        OptionError: it holds another build, and --overwrite is not given.
        ManifestError: its dataset.json is none of ours.
    """
    if not (folder / DATASET_JSON).is_file():
        return False
    stored = read_report(folder)
    found = recipe.differences({"options": stored.options, "files": stored.files, "input": stored.input})
    if found and not overwrite:
        raise _another(folder, found)
    if found or not stored.n_kept:
        return False
    damaged = shards.damaged(folder, stored.files_sha256())
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        _log.warning("%s: %s%s is missing or not what was built; the set is built again.", folder, damaged[0], more)
    return not damaged


def _stored(source: Path) -> dict[str, Any]:
    stored = read_json(source, mend="another folder for --out.")
    if stored.get("made_by") != MADE_BY:
        raise ManifestError(f"{source} was not made by build tweets. Mend: another folder for --out.")
    return stored


def _another(folder: Path, found: list[str]) -> OptionError:
    told = "; ".join(found[:4]) + (f"; and {len(found) - 4} more" if len(found) > 4 else "")
    return OptionError(f"--out {folder} holds another build: {told}. Mend: another folder, or --overwrite.")


@contextmanager
def claimed(folder: Path, recipe: Recipe, *, overwrite: bool) -> Iterator[Literal["new", "continued"]]:
    """Make the folder ours while the context lasts: empty, the same build unfinished, or another to be replaced.

    Raises:
        OptionError: it holds another build, and --overwrite is not given; or it cannot be written to.
        ManifestError: it holds something that no build made.
        ParallelNetError: another process builds there.
    """
    work, clearing = folder / WORK, folder / WORK / "clearing"
    stored, finished = work / "recipe.json", folder / DATASET_JSON
    if folder.exists() and not folder.is_dir():
        raise ManifestError(f"--out {folder} is a file. Needed: a folder, or a name that is free.")
    was_there = folder.is_dir()
    holds = {path.name for path in folder.iterdir()} - {LOCK} if was_there else set()
    if holds - {WORK} and not any(path.is_file() for path in (finished, stored, clearing)):
        raise ManifestError(f"--out {folder} is not empty and was not made by build tweets. Mend: another folder.")
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise OptionError(
            f"--out {folder} cannot be written to: {error.strerror} ({error.filename}). Nothing was begun. "
            "Mend: another folder, or its permissions."
        ) from None
    try:
        # Of the folder, not of what is inside: that goes away with the last run that needs it.
        with held(folder):
            yield from _taken(folder, recipe, overwrite=overwrite)
    except BaseException:
        if not was_there:
            with suppress(OSError):  # it holds what is gone on with, or somebody put something in meanwhile
                folder.rmdir()
        raise


def _taken(folder: Path, recipe: Recipe, *, overwrite: bool) -> Iterator[Literal["new", "continued"]]:
    """Do what `claimed` promises in a folder that is held."""
    work, clearing = folder / WORK, folder / WORK / "clearing"
    stored, finished = work / "recipe.json", folder / DATASET_JSON
    work.mkdir(exist_ok=True)  # who held it before has removed it
    goes_on = stored.is_file() and not finished.is_file() and not clearing.is_file()
    found = recipe.differences(_stored(stored)) if goes_on else []
    if found and not overwrite:
        raise _another(folder, found)
    goes_on = goes_on and not found
    if not goes_on:
        clearing.touch()  # until the recipe is written the folder would else be nobody's, were we killed
        _clear(folder)
    for name in ("partial", "rows", "surveyed", "rejected", "made"):
        (work / name).mkdir(exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    for partial in work.rglob("*.partial"):  # of runs that were killed
        partial.unlink(missing_ok=True)
    if not goes_on:
        write_json(stored, {"made_by": MADE_BY, **asdict(recipe)})
        clearing.unlink()
    try:
        yield "continued" if goes_on else "new"
    except BaseException:
        # Nothing to go on with: what is left would only bar the way for another try.
        if not finished.is_file() and not (work / "rows.json").is_file():
            _clear(folder)
            shutil.rmtree(work)
        raise


def tidy(folder: Path) -> bool:
    """Remove what a run left in a complete data set that was ended after its last file; True if there was something.

    Raises:
        ParallelNetError: another process builds there.
    """
    if not (folder / WORK).is_dir():
        return False
    with held(folder):
        if (folder / DATASET_JSON).is_file():  # else another build has begun in between
            remove_work(folder)
    return True


def remove_work(folder: Path) -> None:
    """Remove what is needed only until a data set is complete."""
    shutil.rmtree(folder / WORK, ignore_errors=True)


def _clear(folder: Path) -> None:
    # First: without it nobody takes the rest for complete.
    (folder / DATASET_JSON).unlink(missing_ok=True)
    (folder / WORK / "recipe.json").unlink(missing_ok=True)
    for inner in (folder / WORK).iterdir():
        if inner.is_dir():
            shutil.rmtree(inner)
        elif inner.name != "clearing":
            inner.unlink()
    _remove(folder, PARTS)


def remove_pages(folder: Path) -> None:
    """Remove what people read of a data set; it is written last and cannot be gone on with."""
    _remove(folder, PAGES)


def _remove(folder: Path, names: tuple[str, ...]) -> None:
    for path in (folder / name for name in names):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
