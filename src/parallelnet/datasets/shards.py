"""The Parquet files of a built data set: their explicit schema, written whole or not at all, read back as drafts.

A shard holds the kept rows of one fixed range of the input, with the sound and the picture inside. The same drafts
give the same bytes (with the same pyarrow): nothing of the time, the machine or the process goes in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from ..errors import ManifestError, MissingExtraError
from ..records import write_whole
from ..types import EMOTIONS
from .draft import Draft

SAMPLE_RATE_HZ = 16_000
"""Of the speech in a shard."""

ROWS_PER_GROUP = 32
"""Rows of one row group: about 2 MB of sound and pictures, what a reader must hold to get at one row."""

_VALUES = {
    "row": "int64",
    "id": "string",
    "text": "string",
    "spoken_text": "string",
    "language": "string",
    "speech": "audio",
    "duration_s": "float64",
    "word_times": "words",
    "image": "image",
    "image_dhash": "string",
    "text_sha256": "string",
    "label": "string",
    "label_source": "string",
    "confidence": "float64",
    "speech_probs": "probs",
    "image_probs": "probs",
    "sentiment": "string",
    "group": "string",
    "image_group": "string",
    "tts_engine": "string",
    "tts_version": "string",
    "tts_voice": "string",
}
"""Columns of a shard, in order, and what each holds."""

_REJECTED_VALUES = {
    "row": "int64",
    "id": "string",
    "text": "string",
    "image": "string",
    "reason": "string",
    "detail": "string",
    "speech_probs": "probs",
    "image_probs": "probs",
}

_REPEATING = ("language", "label", "label_source", "sentiment", "tts_engine", "tts_version", "tts_voice", "reason")

COLUMNS: tuple[str, ...] = tuple(_VALUES)
REJECTED_COLUMNS: tuple[str, ...] = tuple(_REJECTED_VALUES)


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written.

    Attributes:
        n: rows in it.
        sha256: of its bytes.
        n_bytes: its size.
    """

    n: int
    sha256: str
    n_bytes: int


def pyarrow_parquet() -> tuple[Any, Any]:
    """Return the modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        MissingExtraError: they are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("A built data set (Parquet)", "train") from None
    return pyarrow, pyarrow.parquet


def _schema(values: Mapping[str, str]) -> Any:
    """Return the arrow schema, with the `huggingface` metadata from which `datasets` knows sound and pictures."""
    pa, _ = pyarrow_parquet()
    blob = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    words = pa.list_(pa.struct([("word", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())]))
    probs = pa.list_(pa.float64(), len(EMOTIONS))
    types = {"audio": blob, "image": blob, "words": words, "probs": probs}
    plain = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
    features = {name: _feature(kind) for name, kind in values.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(name, (types | plain)[kind]) for name, kind in values.items()], metadata=metadata)


def _feature(kind: str) -> Any:
    """Return a column's feature as `datasets` writes it; these forms are read by its releases 2 to 5."""

    def value(dtype: str) -> dict[str, str]:
        return {"dtype": dtype, "_type": "Value"}

    if kind == "audio":
        return {"sampling_rate": SAMPLE_RATE_HZ, "_type": "Audio"}
    if kind == "image":
        return {"_type": "Image"}
    if kind == "words":
        return [{"word": value("string"), "start_s": value("float64"), "end_s": value("float64")}]
    if kind == "probs":
        return {"feature": value("float64"), "length": len(EMOTIONS), "_type": "Sequence"}
    return value(kind)


def shard_schema() -> Any:
    """Return the arrow schema of a shard. `speech_probs` and `image_probs` are null where no teacher was asked."""
    return _schema(_VALUES)


def rejected_schema() -> Any:
    """Return the arrow schema of `rejected.parquet`. Probabilities are null where no teacher was reached."""
    return _schema(_REJECTED_VALUES)


def shard_name(index: int, n_shards: int) -> str:
    """Return the name of a shard, which `datasets` knows as a piece of the split `train`."""
    return f"train-{index:05d}-of-{n_shards:05d}.parquet"


def write_shard(path: Path, drafts: Iterable[Draft], *, partials: Path) -> Written:
    """Write the kept ones of some drafts as a shard; with none of them, a shard without rows.

    Args:
        path: the shard.
        drafts: consumed one row group at a time, so that memory does not grow with the shard.
        partials: folder on the same disk for what is not whole yet.
    """
    kept = (_record(draft) for draft in drafts if not draft.reason)
    return _write(path, kept, shard_schema(), partials)


def write_rejected(path: Path, drafts: Iterable[Draft], *, partials: Path) -> Written:
    """Write the rejected ones of some drafts, each with its reason."""
    rejected = (_rejected_record(draft) for draft in drafts if draft.reason)
    return _write(path, rejected, rejected_schema(), partials)


def join_rejected(path: Path, parts: Iterable[Path], *, partials: Path) -> Written:
    """Write several files of rejected rows as one, in their order, one row group in memory at a time."""
    _, parquet = pyarrow_parquet()

    def records() -> Iterator[dict[str, Any]]:
        for part in parts:
            with parquet.ParquetFile(part) as source:
                for batch in source.iter_batches(batch_size=1024):
                    yield from batch.to_pylist()

    return _write(path, records(), rejected_schema(), partials, rows_per_group=8192)


def _write(
    path: Path,
    records: Iterable[dict[str, Any]],
    schema: Any,
    partials: Path,
    rows_per_group: int = ROWS_PER_GROUP,
) -> Written:
    pa, parquet = pyarrow_parquet()
    n = 0

    def write(stream: BinaryIO) -> None:
        nonlocal n
        leaves = _leaves(schema)
        # FLAC and pictures are compressed already, and no two are alike.
        compression = {name: "none" if name.endswith(".bytes") else "zstd" for name in leaves}
        dictionary = [name for name in leaves if name in _REPEATING]
        with parquet.ParquetWriter(
            stream, schema, compression=compression, use_dictionary=dictionary, version="2.6"
        ) as writer:
            group: list[dict[str, Any]] = []
            for record in records:
                group.append(record)
                n += 1
                if len(group) == rows_per_group:
                    writer.write_table(pa.Table.from_pylist(group, schema=schema))
                    group = []
            if group:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))

    digest, n_bytes = write_whole(path, write, partials=partials)
    return Written(n, digest, n_bytes)


def _leaves(schema: Any) -> list[str]:
    """Return the names that Parquet gives the columns, `speech.bytes` for instance."""
    pa, parquet = pyarrow_parquet()
    sink = pa.BufferOutputStream()
    parquet.write_table(schema.empty_table(), sink)
    written = parquet.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [written.column(index).path for index in range(len(written))]


def damaged(folder: Path, listed: Mapping[str, str]) -> list[str]:
    """Return which files of a data set are missing or not what was built: all of each is read.

    Args:
        folder: of the data set.
        listed: {path in it: sha256}, as `dataset.json` has them.

    Raises:
        ManifestError: one is there and cannot be read.
    """
    return [name for name, sha256 in listed.items() if _sha256(folder / name) != sha256]


def refuse_damaged(folder: Path, listed: Mapping[str, str]) -> None:
    """Refuse a data set with a file that is missing or not what was built.

    Raises:
        ManifestError: there is one, or it cannot be read.
    """
    mend = "Mend: copy it again, or start the same `parallelnet build tweets` again, which builds the data set anew."
    for name in damaged(folder, listed):
        if not (folder / name).is_file():
            raise ManifestError(f"{folder} lacks its file {name}. {mend}")
        raise ManifestError(f"{folder / name} is not what was built. {mend}")


def _sha256(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from None


def _record(draft: Draft) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(draft, name) for name in _VALUES if name != "text_sha256"}
    # Names only: the folders of the machine that built the set are nobody's business.
    return values | {
        "speech": {"bytes": draft.speech, "path": f"{draft.row:08d}.flac"},
        "image": {"bytes": draft.image, "path": PurePath(draft.image_path).name},
        "image_dhash": f"{draft.image_dhash:016x}",
        "text_sha256": hashlib.sha256(draft.text.encode()).hexdigest(),
        "word_times": [{"word": word, "start_s": start, "end_s": end} for word, start, end in draft.word_times],
        "speech_probs": list(draft.speech_probs) or None,
        "image_probs": list(draft.image_probs) or None,
    }


def _rejected_record(draft: Draft) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(draft, name) for name in ("row", "id", "text", "reason", "detail")}
    return values | {
        "image": draft.image_path,
        "speech_probs": list(draft.speech_probs) or None,
        "image_probs": list(draft.image_probs) or None,
    }


def read_shard(path: Path, *, with_bytes: bool = True) -> Iterator[Draft]:
    """Yield the rows of a shard, one row group in memory at a time.

    Args:
        path: the shard.
        with_bytes: False leaves sound and picture unread, and `speech` and `image` empty.

    Raises:
        ManifestError: no whole shard of ours.
    """
    pa, parquet = pyarrow_parquet()
    columns = [f"{name}.path" if name in ("speech", "image") and not with_bytes else name for name in _VALUES]
    try:
        with parquet.ParquetFile(path) as source:
            if not source.schema_arrow.equals(shard_schema()):  # a stranger's
                raise KeyError("its columns are not those of a build")
            for batch in source.iter_batches(batch_size=ROWS_PER_GROUP, columns=columns):
                for record in batch.to_pylist():
                    yield _draft(record)
    except (pa.ArrowException, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ManifestError(f"{path} is no whole shard of a built data set: {reason}") from None


def _draft(record: dict[str, Any]) -> Draft:
    known = {name: record[name] for name in _VALUES if name not in ("speech", "image", "text_sha256")}
    known |= {
        "speech": record["speech"].get("bytes", b""),
        "image": record["image"].get("bytes", b""),
        "image_path": record["image"]["path"],
        "image_dhash": int(record["image_dhash"], 16),
        "word_times": tuple((word["word"], word["start_s"], word["end_s"]) for word in record["word_times"]),
        "speech_probs": tuple(record["speech_probs"] or ()),
        "image_probs": tuple(record["image_probs"] or ()),
    }
    return Draft(**known)


def fingerprint(shards: Iterable[tuple[str, str]]) -> str:
    """Return the sha256 of all shards: what `cd DIR && sha256sum data/*.parquet | sha256sum` prints.

    Args:
        shards: (name, sha256) of each, in the order of their names.
    """
    total = hashlib.sha256()
    for name, digest in shards:
        total.update(f"{digest}  data/{name}\n".encode())
    return total.hexdigest()
