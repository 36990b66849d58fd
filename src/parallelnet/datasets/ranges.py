"""The input of a build, cut once into ranges of rows: what becomes a shard, whoever makes it and whenever."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from ..data.rows import storable
from ..errors import ManifestError
from ..options import TweetsOptions
from ..records import write_whole
from . import tweets
from .draft import Draft
from .recipe import relative, root_of
from .record import WORK

_FIELDS = ("row", "id", "text", "image_path", "sentiment", "reason", "detail")


def split(options: TweetsOptions, *, format: str) -> int:
    """Cut the input into files of `rows_per_shard` rows below the work folder, and return how many rows it has.

    Done once: `rows.json`, written last, says so.

    Args:
        options: with absolute paths.
        format: of the input; not `auto`.

    Raises:
        ManifestError: the input cannot be read, or has no rows.
    """
    work = Path(options.out) / WORK
    finished = work / "rows.json"
    if finished.is_file():
        return int(json.loads(finished.read_text(encoding="ascii"))["n_rows"])
    drafts = read_input(options, format=format)
    n_rows = 0
    while rows := list(islice(drafts, options.rows_per_shard)):
        write_range(range_path(options, n_rows // options.rows_per_shard), rows, options)
        n_rows += len(rows)
    if not n_rows:
        raise _no_rows(options)
    text = json.dumps({"n_rows": n_rows})
    write_whole(finished, lambda stream: stream.write(text.encode()), partials=work / "partial")
    return n_rows


def check_input(options: TweetsOptions, *, format: str) -> None:
    """Read the first row, so that an input that is none stops a build before it touches a folder.

    Raises:
        ManifestError: the input cannot be read, or has no rows.
    """
    if next(read_input(options, format=format), None) is None:
        raise _no_rows(options)


def _no_rows(options: TweetsOptions) -> ManifestError:
    return ManifestError(f"--tweets {options.tweets} has no rows. Needed: at least one.")


def read_input(options: TweetsOptions, *, format: str) -> Iterator[Draft]:
    """Return the rows of the input that are to be read, numbered from 0, their texts such as files can hold."""
    images = Path(options.images) if options.images else None
    drafts = tweets.read_tweets(Path(options.tweets), format, images=images, labels=options.labels)
    return islice(drafts, options.limit or None)


def range_path(options: TweetsOptions, index: int) -> Path:
    """Return where the rows of a range are."""
    return Path(options.out) / WORK / "rows" / f"{index:05d}.jsonl"


def write_range(path: Path, drafts: Iterable[Draft], options: TweetsOptions) -> None:
    """Write rows that nothing has been done to yet, the paths of their pictures relative to the input's folder."""
    root = root_of(options)
    lines = []
    for draft in drafts:
        values = {name: getattr(draft, name) for name in _FIELDS}
        values["image_path"] = relative(draft.image_path, root)
        for name in ("id", "text", "image_path", "sentiment", "detail"):
            values[name] = storable(values[name])
        lines.append(json.dumps(values) + "\n")
    content = "".join(lines).encode("ascii")
    write_whole(path, lambda stream: stream.write(content), partials=Path(options.out) / WORK / "partial")


def read_range(path: Path, options: TweetsOptions) -> Iterator[Draft]:
    """Yield the rows of a range, ready for the first step."""
    root = root_of(options)
    with path.open(encoding="ascii") as stream:
        for line in stream:
            values = json.loads(line)
            if values["image_path"] and not values["reason"]:
                values["image_path"] = str(root / values["image_path"])
            yield Draft(**values)
