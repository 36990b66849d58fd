"""Many samples, a csv row each: nothing that is finished is lost, and nothing is mixed into it.

`predict --manifest` and `explain --manifest` are both this. Each row is in the file before the next one is made, and
is one line, so that a half-written one can be told. What other options, another checkpoint or other data gave is never
added to (`records.begun`). `--resume` tries failed samples again, because a file may be back or
a limit raised; their rows go back to where the manifest has the samples.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, records
from .errors import ManifestError, OptionError, ParallelNetError, brief, refuse
from .records import harmless, original
from .types import Modalities, Prediction, Sample

if TYPE_CHECKING:
    from .predictor import Predictor

_LONGEST_REASON = 500  # characters: an error may quote what it read, and what it read is a stranger's

Row = Mapping[str, str | int]
# A whole row of a file: its bytes with the line's end, and why the sample failed; "" where it did not.
Kept = tuple[bytes, str]


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What became of a manifest's rows; the first three make all of them.

    Attributes:
        n_ok: done now.
        n_error: failed, now or in an earlier run and not tried again; their rows say why.
        n_skipped: done by an earlier run.
        first_error: id and reason of the first that failed; "" where none did.
    """

    n_ok: int
    n_error: int
    n_skipped: int
    first_error: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A csv of results.

    Attributes:
        path: where it lies.
        columns: among them `id`, `status` (`ok` or `error`) and `reason`; the last is `checkpoint`.
        checkpoint: whose results it holds.
        numbers: columns of numbers that we write; all others are text, and no spreadsheet may run it.
    """

    path: Path
    columns: tuple[str, ...]
    checkpoint: str
    numbers: frozenset[str] = frozenset()

    def line(self, sample: Sample, row: Row) -> bytes:
        """Return a sample's row as it stands in the file: one line, whatever its texts hold."""
        cells = dict.fromkeys(self.columns, "") | {**row, "id": sample.id, "checkpoint": self.checkpoint}
        return csv_line([str(cells[name]) if name in self.numbers else cell(cells[name]) for name in self.columns])

    def rows(self) -> Iterator[dict[str, str]]:
        """Yield the whole rows with their texts as they came."""
        with self.path.open("rb") as stream:
            stream.readline()
            for line in stream:
                row = self._row(line.rstrip(b"\n\0"))
                if row:
                    yield {name: text if name in self.numbers else original(text) for name, text in row.items()}

    def read(self, places: Mapping[str, int]) -> tuple[dict[int, Kept], bool]:
        """Return the whole rows by their samples' places, and whether the file is just these.

        A half-written last row does not count, nor do zeros behind it, which a power cut may leave.

        Args:
            places: of the samples, by their ids as cells.

        Raises:
            ManifestError: the file is no table of these columns, samples and checkpoint.
        """
        found: dict[int, Kept] = {}
        if not self.path.exists():
            return found, False
        header = csv_line(self.columns)
        with self.path.open("rb") as stream:
            first = stream.readline()
            if first != header and not header.startswith(first.rstrip(b"\0")):
                raise self._foreign("line 1")
            sound = first == header
            for number, line in enumerate(stream, start=2):
                text = line.rstrip(b"\n\0")
                row = self._row(text)
                place = places.get(row.get("id", ""))
                if place is not None and place not in found:
                    failure = original(row["reason"]) or "it failed" if row["status"] == "error" else ""
                    found[place] = text + b"\n", failure
                elif text and (row or line.endswith(b"\n")):
                    raise self._foreign(f"line {number}")
                sound = sound and place is not None and line == text + b"\n"
        return found, sound

    def _row(self, text: bytes) -> dict[str, str]:
        # The cells of a line; nothing where they are no whole row of this table.
        limit = csv.field_size_limit(len(text) + 1)  # what we wrote we can read, however long its id
        try:
            (cells,) = csv.reader([text.decode("utf-8")], strict=True)
        except (csv.Error, ValueError):
            return {}
        finally:
            csv.field_size_limit(limit)
        # The checkpoint stands last, so a row that ends with it is whole even where its line has no end.
        if len(cells) != len(self.columns) or cells[-1] != cell(self.checkpoint):
            return {}
        row = dict(zip(self.columns, cells, strict=True))
        return row if row["status"] in ("ok", "error") else {}

    def _foreign(self, where: str) -> ManifestError:
        return ManifestError(
            f"{self.path} does not hold results of checkpoint {self.checkpoint} for these samples alone ({where}), so "
            "they cannot be added to. Mend: another --out."
        )

    def write(self, rows: Mapping[int, Kept]) -> None:
        """Replace the file by the rows in their samples' order, whole or not at all."""
        lines = (line for _, (line, _) in sorted(rows.items()))
        records.write_whole(self.path, lambda stream: stream.writelines((csv_line(self.columns), *lines)))

    def add(self, stream: io.FileIO, line: bytes) -> None:
        """Append a line, the whole of it or nothing.

        Raises:
            OSError: the disk is full, for instance.
            ParallelNetError: the file was taken away, and the line would go where nobody finds it.
        """
        state = os.fstat(stream.fileno())
        if not (self.path.exists() and os.path.samestat(state, self.path.stat())):
            raise ParallelNetError(
                f"{self.path} was moved, removed or replaced while it was being written; its rows went with it. Mend: "
                "put it back and go on with --resume, or another --out."
            )
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(stream.fileno(), state.st_size)
            raise


def csv_line(cells: Sequence[str]) -> bytes:
    """Return cells as one line of csv."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8")


def cell(text: str | int) -> str:
    """Return a text as a cell of one line that no spreadsheet runs; what utf-8 cannot hold is escaped."""
    return harmless(" ".join(str(text).splitlines()).encode("utf-8", "backslashreplace").decode())


def failed(error: Exception) -> Row:
    """Return the row of a sample that failed, and why; a full disk is no fault of the sample's, and raised again."""
    if records.is_disk_full(error):
        raise error
    # Exceptions that are not ours were not written for users; their kind is needed to make sense of them.
    kind = "" if isinstance(error, ParallelNetError) else f"{type(error).__name__}: "
    return {"status": "error", "reason": brief(f"{kind}{error}", _LONGEST_REASON)}


def check_ids(samples: Sequence[Sample]) -> None:
    """Refuse ids by which rows could not be told apart, with a ManifestError: repeated, empty, or of several lines."""
    n = len(samples) - len({cell(sample.id) for sample in samples})
    broken = next((sample.id for sample in samples if len(sample.id.splitlines()) != 1), None)
    several = f"The id {broken!r} is empty or holds a line break; allowed: one line of text."
    told_apart = f"{n} ids occur more than once; their rows could not be told apart."
    refuse(ManifestError, [(n, told_apart), (broken is not None, several)])


def digest(samples: Sequence[Sample]) -> str:
    """Return the sha256 over what the rows of a manifest or corpus say, wherever its folder lies.

    Files count by their place below the folder that they share, not by their content.
    """
    # Not Path.resolve: it would follow links out of the folder.
    files = [os.path.abspath(path) for s in samples for path in (s.speech, s.image) if path is not None]  # noqa: PTH100
    try:
        root = os.path.commonpath([str(Path(path).parent) for path in files])
    except ValueError:  # no files at all, or on several drives
        root = ""
    names = iter([path[len(root) :].replace(os.sep, "/") for path in files])
    total = hashlib.sha256()
    for s in samples:
        own = [None if path is None else next(names) for path in (s.speech, s.image)]
        said = [s.id, s.text, s.label, s.sentiment, s.split, s.fold, s.group, s.image_group, s.word_times]
        total.update(json.dumps([own, said, bool(s.problem)]).encode() + b"\n")
    return total.hexdigest()


def asked(predictor: Predictor, samples: Sequence[Sample], data: str, **options: Any) -> dict[str, Any]:
    """Return all that decides results, for `records.begun`; without a hash of their `data` the samples' own rows."""
    return {"version": __version__, "data": data or digest(samples), **predictor.asked(), **options}


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Hold a file or an existing folder, and say in a ParallelNetError how to go on where it cannot be written."""
    try:
        with records.held(place):
            records.sweep(place)
            yield
    except OSError as error:
        full = records.is_disk_full(error)
        why = "the disk is full" if full else error.strerror or str(error)
        raise ParallelNetError(
            f"{error.filename or place} cannot be written: {why}. What is finished is kept. Mend: "
            f"{'make room' if full else 'put that right'}, then the same command line with --resume."
        ) from error


def run(
    table: Table,
    samples: Sequence[Sample],
    work: Callable[[Sequence[Sample]], Generator[Row]],
    *,
    retry_failed: bool = True,
    finish: Callable[[], object] = lambda: None,
    progress: Callable[[int], object] | None = None,
) -> BatchCounts:
    """Write the rows that are missing, and return what became of all of them.

    To be called inside `writing`, where what is asked now is what was asked of the rows that are there. A stop between
    any two steps loses no finished row; at worst the next run puts rows of samples that were tried again in place.

    Args:
        table: its file may be missing, or cut off by a kill.
        samples: all of them, checked by `check_ids`.
        work: yields a row for each sample that it is given, in order and without its id.
        retry_failed: do failed samples of an earlier run again; False leaves their rows.
        finish: is called at the end, also when the run is stopped.
        progress: called with the number of samples that are finished, those of an earlier run first.

    Raises:
        ManifestError: the file holds something else; it is left as it is.
        ParallelNetError: it was taken away while it was written.
        OSError: our output cannot be written. The file holds whole rows, and none of the sample that was under way.
    """
    places = {cell(sample.id): place for place, sample in enumerate(samples)}
    kept, sound = table.read(places)
    again = {place: kept.pop(place) for place in list(kept) if kept[place][1] and retry_failed}
    if again or not sound or list(kept) != sorted(kept):
        table.write(kept)
    todo = [place for place in range(len(samples)) if place not in kept]
    ordered = not again and (not todo or not kept or max(kept) < todo[0])
    errors = {place: error for place, (_, error) in kept.items() if error}
    n_skipped = len(kept) - len(errors)
    told = progress or (lambda _: None)
    if kept:
        told(len(kept))
    del kept  # 300 MB for a million rows

    def tidy() -> None:  # rows go where the manifest has their samples; those not tried again come back
        if not ordered and table.path.exists():
            table.write({**again, **table.read(places)[0]})
        finish()

    try:
        with table.path.open("ab", buffering=0) as stream, closing(work([samples[place] for place in todo])) as rows:
            for place, row in zip(todo, rows, strict=True):
                table.add(stream, table.line(samples[place], row))
                if row["status"] == "error":
                    errors[place] = str(row["reason"])
                told(1)
    except BaseException:
        with suppress(Exception):  # the first reason is the one to be told
            tidy()
        raise
    tidy()
    first = [brief(f"{samples[place].id}: {errors[place]}", _LONGEST_REASON) for place in sorted(errors)[:1]]
    return BatchCounts(len(samples) - n_skipped - len(errors), len(errors), n_skipped, *first)


# --- predictions ------------------------------------------------------------------------------------------------------


def predict_manifest(
    predictor: Predictor,
    samples: Sequence[Sample],
    out: str | os.PathLike[str],
    *,
    modalities: Modalities = "both",
    resume: bool = False,
    retry_failed: bool = True,
    all_faces: bool = False,
    data: str = "",
    progress: Callable[[int], object] | None = None,
) -> BatchCounts:
    """Write one CSV row a sample, in order, and return how many went well. A bad file is a row with its reason.

    Each row is on disk before the next is made; on a GPU, 64 at once. What was asked (`Predictor.asked`, `modalities`,
    `data`) is kept beside `out` in `OUT.asked.json`.

    Args:
        predictor: from `predictor.load`.
        samples: with unique ids and paths that can be opened as they are.
        out: CSV file to write; its columns: `columns`.
        modalities: `speech` or `image` leaves the other out.
        resume: keep the rows that an earlier run finished in `out`, and do the rest.
        retry_failed: when resuming, try the samples again that failed before; False keeps their rows.
        all_faces: a row for each face of an image, the largest first; the ids of the others end in #2, #3, ...
        data: hash of where the samples come from (`data.dataset.digest`); that of their rows when left out.
        progress: called with the number of rows that were finished, those of an earlier run first.

    Raises:
        ManifestError: ids by which rows cannot be told apart, or an `out` that holds something else.
        OptionError: `out` exists and `resume` is off, or it was begun with other options, data or checkpoint.
        ParallelNetError: another process writes there, or `out` cannot be written any more.
    """
    samples = list(predictor.each_face(samples)) if all_faces else samples
    check_ids(samples)
    target = Path(out)
    if target.is_symlink():  # else the file would be written where nobody locks it, and its link replaced
        target = target.resolve()
    if target.exists() and not target.is_file():
        raise OptionError(f"--out {out} is no regular file; allowed: a csv file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    now = asked(predictor, samples, data, modalities=modalities)
    with writing(target):
        record = records.beside(target)
        there = target.exists() and target.stat().st_size > 0
        alone = (
            f"{target} has results, but {record.name}, which says what was asked for them, is not beside it (an "
            "older version wrote them, or they were copied alone). Mend: bring that file along, or another --out."
        )
        exists = f"{target} exists. Mend: --resume to go on with it, or another --out."
        refuse(OptionError, [(there and not resume, exists), (there and not record.exists(), alone)])
        if not there:
            record.unlink(missing_ok=True)  # of a file that is gone
        records.begun(record, now, place=target)
        table = Table(target, columns(predictor.classes), predictor.name)

        def work(todo: Sequence[Sample]) -> Generator[Row]:
            yield from map(_row, predictor.predict_each(todo, modalities=modalities, singly=True))

        return run(table, samples, work, retry_failed=retry_failed, progress=progress)


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns. Sets are joined by `|`; an error row holds only id, status, reason and checkpoint."""
    probs = (f"prob_{name}" for name in classes)
    last = (
        "conformal_set",
        "uncertain",
        "modalities",
        "face",
        "face_box",
        "other_faces",
        "n_windows",
        "warnings",
        "checkpoint",
    )
    return ("id", "status", "reason", "emotion", *probs, *last)


def _row(outcome: Prediction | Exception) -> Row:
    if isinstance(outcome, Exception):
        return failed(outcome)
    return {
        "status": "ok",
        "emotion": outcome.emotion,
        **{f"prob_{name}": f"{p:.6f}" for name, p in outcome.probs.items()},
        "conformal_set": "|".join(outcome.conformal_set),
        "uncertain": str(outcome.uncertain).lower(),
        "modalities": "|".join(outcome.modalities),
        **(outcome.face.cells() if outcome.face else {}),
        "n_windows": outcome.n_windows,
        "warnings": "|".join(outcome.warnings),
    }
