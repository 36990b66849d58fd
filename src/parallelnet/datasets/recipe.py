"""What decides the bytes of a build, and whose the folder is that it is written into.

A folder belongs to one recipe. The same recipe goes on where it stopped; another is refused, or replaces it when asked.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

from ..data.built import DATASET_JSON, MADE_BY, WORK, read_report
from ..data.shards import file_sha256
from ..errors import ManifestError, OptionError, refuse
from ..options import TweetsOptions
from ..records import LOCK, differences, held, read_json, sweep, write_json
from . import teachers, tweets

# What people read of a data set; written last, and not gone on with.
PAGES: tuple[str, ...] = ("README.md", "figures", "gallery.html")
# What a build makes, besides `dataset.json`; --overwrite removes nothing else.
_PARTS = ("data", "rejected.parquet", *PAGES, "build-log.json")
# Options that do not change a byte, and those that change none where labels are the source's own.
_FREE_OPTIONS = ("out", "workers", "executor", "ray_address", "dry_run", "overwrite")
_TEACHER_OPTIONS = ("speech_teacher", "image_teacher", "label_map", "renormalise", "rule", "threshold")
_PATH_OPTIONS = ("tweets", "out", "images", "exclude", "label_map", "tts_model", *_TEACHER_OPTIONS[:2])
# Packages whose release may change the bytes, where they are installed.
_VERSIONED = (
    *("parallelnet", "numpy", "pyarrow", "pillow", "soundfile", "soxr", "onnxruntime", "scipy"),
    *("ftfy", "emoji", "espeakng-loader", "piper-tts", "torch", "transformers"),
)


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
        """Return, a phrase each, where a stored recipe, perhaps without tools, says something else."""
        now = json.loads(json.dumps(asdict(self)))
        said = [
            {f"--{name.replace('_', '-')}": value for name, value in record["options"].items()}
            | {part: record[part] for part in ("files", "input", "tools") if part in stored}
            for record in (stored, now)
        ]
        return differences(*said)


def absolute(options: TweetsOptions) -> TweetsOptions:
    """Return the options with absolute paths, so that they mean the same in processes with another working folder."""
    # Not resolved: links may be meant. A teacher or a voice may be a name instead.
    changed: dict[str, Any] = {
        name: kind + os.path.abspath(path)  # noqa: PTH100
        for name, (kind, path) in _paths(asdict(options)).items()
        if name in ("tweets", "out", "images") or Path(path).exists()
    }
    return replace(options, **changed)


def _paths(options: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return of the options that may name a path what stands before it, where it is a Hugging Face model's, and it."""
    given = {name: str(options.get(name) or "") for name in _PATH_OPTIONS}
    kinds = {name: teachers.HUB_PREFIX * value.startswith(teachers.HUB_PREFIX) for name, value in given.items()}
    return {name: (kind, given[name].removeprefix(kind)) for name, kind in kinds.items() if given[name] != kind}


def root_of(options: TweetsOptions) -> Path:
    """Return the folder that pictures are named relative to."""
    source = Path(options.tweets)
    return Path(options.images) if options.images else source if source.is_dir() else source.parent


def relative(path: str, root: Path) -> str:
    """Return a path without the folder that all pictures lie in; another path as it is."""
    prefix = f"{root}{os.sep}"
    return path.removeprefix(prefix).replace(os.sep, "/") if path.startswith(prefix) else path


def write_recipe(options: TweetsOptions) -> Recipe:
    """Return the recipe of these options, without tools.

    Raises:
        ManifestError: the input or a file that an option names cannot be read.
        OptionError: --images is no folder.
    """
    told = f"--images {options.images} is no folder. Needed: the folder that picture paths are relative to; left out,"
    if options.images and not Path(options.images).is_dir():
        raise OptionError(f"{told} it is the folder of --tweets.")
    free = _FREE_OPTIONS if options.labels == "emotion" else _FREE_OPTIONS + _TEACHER_OPTIONS
    listed = {name: value for name, value in asdict(options).items() if name not in free}
    listed["voices"] = list(options.voices)  # as it comes back from JSON
    files = {}
    for name, (kind, path) in _paths(listed).items():
        if Path(path).exists():
            listed[name] = kind + Path(path).name
        if name in ("exclude", "label_map", "tts_model") and Path(path).is_file():
            files[name] = file_sha256(Path(path))
    return Recipe(listed, files, _input(options))


def _input(options: TweetsOptions) -> dict[str, Any]:
    source = Path(options.tweets)
    given = tweets.detect_format(source) if options.format == "auto" else options.format
    if source.is_file():
        return {"name": source.name, "format": given, "sha256": file_sha256(source)}
    # Of a folder: of the rows that are read from it.
    total, root = hashlib.sha256(), root_of(options)
    for row in tweets.read_tweets(source, given, images=root if options.images else None, labels=options.labels):
        said = [row.id, row.text, relative(row.image_path, root), row.sentiment, row.reason]
        total.update(json.dumps(said).encode() + b"\n")
    return {"name": source.name, "format": given, "sha256": total.hexdigest()}


def versions() -> dict[str, str]:
    """Return the releases of the packages that may change the bytes, as far as they are installed."""
    return {name: found.version for name in _VERSIONED for found in islice(metadata.distributions(name=name), 1)}


def is_finished(folder: Path, recipe: Recipe, *, overwrite: bool) -> bool:
    """Return whether the folder holds this very build already, complete.

    Engine, teachers and versions of then need not be those of now. A data set that lost a file, or whose bytes are not
    those that were built, is built again; so is one that kept no row: pictures that were missing may be there now.

    Raises:
        OptionError: it holds another build, and --overwrite is not given.
        ManifestError: its dataset.json is none of ours.
    """
    if not (folder / DATASET_JSON).is_file():
        return False
    stored = read_report(folder)
    found = recipe.differences({"options": stored.options, "files": stored.files, "input": stored.input})
    _refuse_another(folder, [] if overwrite else found)
    damaged = list(stored.damaged(folder)) if stored.n_kept and not found else []
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        logging.getLogger(__name__).warning(
            "%s: %s%s is missing or not what was built; the set is built again.", folder, damaged[0], more
        )
    return bool(stored.n_kept) and not found and not damaged


def _refuse_another(folder: Path, found: list[str]) -> None:
    told = "; ".join(found[:4]) + (f"; and {len(found) - 4} more" if len(found) > 4 else "")
    refuse(OptionError, [(found, f"--out {folder} holds another build: {told}. Mend: another folder, or --overwrite.")])


@contextmanager
def claimed(folder: Path, recipe: Recipe, *, overwrite: bool) -> Iterator[bool]:
    """Make the folder ours while the context lasts; True where it holds the same build unfinished, which goes on.

    Raises:
        OptionError: it holds another build, and --overwrite is not given.
        OSError: it cannot be written to.
        ManifestError: it holds something that no build made.
        ParallelNetError: another process builds there.
    """
    work, stored, finished = folder / WORK, folder / WORK / "recipe.json", folder / DATASET_JSON
    was_there = folder.is_dir()
    holds = {path.name for path in folder.iterdir()} - {LOCK, WORK} if was_there else set()
    strange = f"--out {folder} is not empty and was not made by build tweets. Mend: another folder."
    problems = [
        (folder.exists() and not was_there, f"--out {folder} is a file. Needed: a folder, or a name that is free."),
        (holds and not (stored.is_file() or finished.is_file()), strange),
    ]
    refuse(ManifestError, problems)
    work.mkdir(parents=True, exist_ok=True)
    try:
        # Of the folder, not of what is inside: that goes away with the last run that needs it.
        with held(folder):
            goes_on = _taken(folder, recipe, overwrite=overwrite)
            try:
                yield goes_on
            except BaseException:
                # Nothing to go on with: what is left would only bar the way for another try.
                if not finished.is_file() and not (work / "rows.json").is_file():
                    _clear(folder)
                    shutil.rmtree(work)
                raise
    finally:
        if not was_there:
            with suppress(OSError):  # it holds the data set or what is gone on with, or somebody put something in
                folder.rmdir()


def _taken(folder: Path, recipe: Recipe, *, overwrite: bool) -> bool:
    """Make a folder that is held ready for a build, and return whether that goes on."""
    work, stored, finished = folder / WORK, folder / WORK / "recipe.json", folder / DATASET_JSON
    work.mkdir(exist_ok=True)  # who held it before has removed it
    goes_on = stored.is_file() and not finished.is_file()
    if goes_on:
        needed = ("made_by", "options", "files", "input", "tools")
        found = recipe.differences(read_json(stored, needed=needed, mend="another folder for --out."))
        _refuse_another(folder, [] if overwrite else found)
        goes_on = not found
    if not goes_on:
        # What marks the folder as ours goes last: killed in between, it is a damaged build or one to be replaced.
        _clear(folder)
        write_json(stored, {"made_by": MADE_BY, **asdict(recipe)})
        finished.unlink(missing_ok=True)
    for path in (folder / "data", *(work / name for name in ("rows", "surveyed", "made"))):
        path.mkdir(exist_ok=True)
    sweep(folder)  # after runs that were killed
    return goes_on


def tidy(folder: Path) -> bool:
    """Remove what a run left in a complete data set that was ended after its last file; True if there was something.

    Raises:
        ParallelNetError: another process builds there.
    """
    if not (folder / WORK).is_dir():
        return False
    with held(folder):
        if (folder / DATASET_JSON).is_file():  # else another build has begun in between
            shutil.rmtree(folder / WORK, ignore_errors=True)
    return True


def _clear(folder: Path) -> None:
    """Remove what a build made, but for what says that it did."""
    remove(folder / WORK, [path.name for path in (folder / WORK).iterdir() if path.name != "recipe.json"])
    remove(folder, _PARTS)


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files and folders of these names, where they are there."""
    for path in (folder / name for name in names):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
