"""A row of a data set that was made of tweets, and the Parquet files that hold such rows, kept and rejected.

A shard holds the kept rows of one fixed range of the input, with the sound and the picture inside. The same rows give
the same bytes (with the same pyarrow): nothing of the time, the machine or the process goes in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from ..errors import ManifestError, MissingExtraError
from ..records import write_whole
from ..types import EMOTIONS

SAMPLE_RATE_HZ = 16_000  # of the speech in a shard
ROWS_PER_GROUP = 32  # of one row group: about 2 MB of sound and pictures, what a reader must hold to get at one row

_KINDS = {
    **{"row": "int64", "duration_s": "float64", "confidence": "float64", "speech": "audio", "image": "image"},
    **{"word_times": "words", "speech_probs": "probs", "image_probs": "probs"},
}
_NAMES = (
    "row id text spoken_text language speech duration_s word_times image image_dhash text_sha256 label label_source "
    "confidence speech_probs image_probs sentiment group image_group tts_engine tts_version tts_voice"
)
# Columns of a shard, in order, and what each holds. Probabilities are null where no teacher was asked.
COLUMNS: dict[str, str] = {name: _KINDS.get(name, "string") for name in _NAMES.split()}
# Columns of `rejected.parquet`: of the picture its path. Probabilities are null where no teacher was reached.
REJECTED_COLUMNS: dict[str, str] = {
    **{"row": "int64", "id": "string", "text": "string", "image": "string", "reason": "string", "detail": "string"},
    **{"speech_probs": "probs", "image_probs": "probs"},
}

_REPEATING = ("language", "label", "label_source", "sentiment", "tts_engine", "tts_version", "tts_voice", "reason")

# Every reason for which a row falls out, and what it means.
REASONS: dict[str, str] = {
    "unreadable-row": "the row of the input cannot be used",
    "no-words": "no words are left after cleaning",
    "text-too-long": "the cleaned text is longer than --max-characters",
    "picture-missing": "there is no picture",
    "picture-outside": "the picture's path, or a link, leaves the input's folder",
    "picture-unreadable": "the picture is damaged, cut or of no known format",
    "picture-too-large": "the picture has more pixels than --max-pixels, or than its bytes can honestly hold",
    "duplicate": "an earlier row has the same text and the same picture, or nearly so",
    "excluded": "named by --exclude",
    "speech-failed": "the engine could not speak the text",
    "speech-silent": "what the engine spoke is silent or cannot be heard",
    "teacher-failed": "a teacher could not judge the sample",
    "low-confidence": "no teacher is as sure as --threshold",
    "teachers-disagree": "the teachers name different emotions (--rule agree)",
    "no-sentiment": "the source has no sentiment for it (--labels sentiment)",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the input and what the steps of a build found out about it.

    Attributes:
        row: 0-based number in the input.
        id: unique in the built data set.
        text: as found; `spoken_text` is what is spoken of it, words separated by single spaces.
        image_path: path that can be opened; "" where the row names none. `image`: its bytes as found.
        sentiment: the source's own, or "".
        language: code of the language of `spoken_text` (ISO 639-1), "" where it is not clear.
        image_dhash: 64-bit difference hash of the picture.
        group: component of rows that share text or picture, nearly or exactly; `image_group` of those that share the
            picture.
        speech: the utterance, FLAC, 16 kHz, mono, 16 bit; `duration_s` is its length in seconds.
        word_times: (word, start in s, end in s) of each word of `spoken_text`.
        tts_voice: voice, with rate and pitch where they are not the engine's own.
        speech_probs: of `EMOTIONS`, as the speech teacher gives them; `image_probs` the picture teacher's.
        label: emotion, or "" with --labels sentiment.
        label_source: `speech` or `image`: which teacher decided; `source` for the source's own label.
        confidence: the deciding probability; 1 for the source's own label.
        reason: key of `REASONS` once it is rejected; `detail` is one line on what exactly was wrong.
    """

    row: int
    id: str
    text: str = ""
    image_path: str = ""
    sentiment: str = ""
    spoken_text: str = ""
    language: str = ""
    image: bytes = b""
    image_dhash: int = 0
    group: str = ""
    image_group: str = ""
    speech: bytes = b""
    duration_s: float = 0.0
    word_times: tuple[tuple[str, float, float], ...] = ()
    tts_engine: str = ""
    tts_version: str = ""
    tts_voice: str = ""
    speech_probs: tuple[float, ...] = ()
    image_probs: tuple[float, ...] = ()
    label: str = ""
    label_source: str = ""
    confidence: float = 0.0
    reason: str = ""
    detail: str = ""

    def reject(self, reason: str, detail: str = "") -> Example:
        """Return the row with its reason, without the bytes that nobody needs any more."""
        assert reason in REASONS, reason
        return replace(self, reason=reason, detail=" ".join(detail.split()), image=b"", speech=b"")


def pyarrow_parquet(feature: str = "A built data set (Parquet)") -> tuple[Any, Any]:
    """Return the modules `pyarrow` and `pyarrow.parquet`; raises `MissingExtraError` where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(feature, "train") from None
    return pyarrow, pyarrow.parquet


def _schema(columns: Mapping[str, str]) -> Any:
    """Return the arrow schema, with the metadata from which `datasets` (releases 2 to 5) knows sound and pictures."""
    pa, _ = pyarrow_parquet()
    text, number = pa.string(), pa.float64()
    blob = pa.struct([("bytes", pa.binary()), ("path", text)])
    plain = {name: {"dtype": name, "_type": "Value"} for name in ("string", "int64", "float64")}
    word = {"word": plain["string"], "start_s": plain["float64"], "end_s": plain["float64"]}
    probs = {"feature": plain["float64"], "length": len(EMOTIONS), "_type": "Sequence"}
    kinds = {
        "string": (text, plain["string"]),
        "int64": (pa.int64(), plain["int64"]),
        "float64": (number, plain["float64"]),
        "audio": (blob, {"sampling_rate": SAMPLE_RATE_HZ, "_type": "Audio"}),
        "image": (blob, {"_type": "Image"}),
        "words": (pa.list_(pa.struct([("word", text), ("start_s", number), ("end_s", number)])), [word]),
        "probs": (pa.list_(number, len(EMOTIONS)), probs),
    }
    features = {name: kinds[kind][1] for name, kind in columns.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(name, kinds[kind][0]) for name, kind in columns.items()], metadata=metadata)


def shard_name(index: int, n_shards: int) -> str:
    """Return the name of a shard, which `datasets` knows as a piece of the split `train`."""
    return f"train-{index:05d}-of-{n_shards:05d}.parquet"


def write_shard(path: Path, examples: Iterable[Example]) -> tuple[int, str]:
    """Write the kept ones of some rows as a shard, one row group in memory at a time; perhaps without any row.

    Returns:
        How many rows are in it, and the sha256 of its bytes.
    """
    return _write(path, (_record(example) for example in examples if not example.reason), COLUMNS)


def write_rejected(path: Path, examples: Iterable[Example]) -> tuple[int, str]:
    """Write the rejected ones of some rows, each with its reason; returns as `write_shard` does."""
    rejected = (example for example in examples if example.reason)
    records = ({**_record(example, REJECTED_COLUMNS), "image": example.image_path} for example in rejected)
    return _write(path, records, REJECTED_COLUMNS, rows_per_group=8192)


def _record(example: Example, columns: Mapping[str, str] = COLUMNS) -> dict[str, Any]:
    # Names only: the folders of the machine that built the set are nobody's business.
    special: dict[str, Any] = {
        "speech": {"bytes": example.speech, "path": f"{example.row:08d}.flac"},
        "image": {"bytes": example.image, "path": PurePath(example.image_path).name},
        "image_dhash": f"{example.image_dhash:016x}",
        "text_sha256": hashlib.sha256(example.text.encode()).hexdigest(),
        "word_times": [{"word": word, "start_s": start, "end_s": end} for word, start, end in example.word_times],
        "speech_probs": list(example.speech_probs) or None,
        "image_probs": list(example.image_probs) or None,
    }
    return {name: special[name] if name in special else getattr(example, name) for name in columns}


def _write(
    path: Path, records: Iterable[dict[str, Any]], columns: Mapping[str, str], rows_per_group: int = ROWS_PER_GROUP
) -> tuple[int, str]:
    pa, parquet = pyarrow_parquet()
    schema, rows, n = _schema(columns), iter(records), 0
    sink = pa.BufferOutputStream()
    parquet.write_table(schema.empty_table(), sink)
    names = parquet.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    leaves = [names.column(index).path for index in range(len(names))]  # `speech.bytes`, for instance
    # FLAC and pictures are compressed already, and no two are alike.
    compression = {name: "none" if name.endswith(".bytes") else "zstd" for name in leaves}
    dictionary = [name for name in leaves if name in _REPEATING]

    def write(stream: BinaryIO) -> None:
        nonlocal n
        with parquet.ParquetWriter(
            stream, schema, compression=compression, use_dictionary=dictionary, version="2.6"
        ) as writer:
            while group := list(islice(rows, rows_per_group)):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                n += len(group)

    digest, _ = write_whole(path, write)
    return n, digest


def read_rows(
    path: Path,
    wanted: Iterable[str],
    columns: Mapping[str, str] = COLUMNS,
    made: Callable[[dict[str, Any]], Any] = dict,
) -> Iterator[Any]:
    """Yield the rows of a shard or a file of rejected rows, one row group in memory at a time.

    Args:
        path: the file.
        wanted: columns, or parts of them (`image.path`); the others are not read.
        columns: `COLUMNS` or `REJECTED_COLUMNS`: what the file must have.
        made: is given each row as {column: value}, and returns what is yielded.

    Raises:
        ManifestError: no whole file of ours.
    """
    pa, parquet = pyarrow_parquet()
    try:
        with parquet.ParquetFile(path) as source:
            if not source.schema_arrow.equals(_schema(columns)):  # a stranger's
                raise KeyError("its columns are not those of a build")
            for batch in source.iter_batches(batch_size=ROWS_PER_GROUP, columns=list(wanted)):
                yield from map(made, batch.to_pylist())
    except FileNotFoundError:
        raise ManifestError(f"The shard {path} is missing. Mend: build again into the same folder.") from None
    except (pa.ArrowException, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ManifestError(f"{path} is no whole shard of a built data set: {reason}") from None


def read_shard(path: Path, *, with_bytes: bool = True) -> Iterator[Example]:
    """Yield the rows of a shard; without its bytes, sound and picture stay unread, `speech` and `image` empty.

    Raises:
        ManifestError: no whole shard of ours.
    """
    wanted = [f"{name}.path" if name in ("speech", "image") and not with_bytes else name for name in COLUMNS]
    return read_rows(path, wanted, made=_example)


def _example(record: dict[str, Any]) -> Example:
    known = {name: value for name, value in record.items() if name != "text_sha256"}
    known |= {
        "speech": record["speech"].get("bytes", b""),
        "image": record["image"].get("bytes", b""),
        "image_path": record["image"]["path"],
        "image_dhash": int(record["image_dhash"], 16),
        "word_times": tuple((word["word"], word["start_s"], word["end_s"]) for word in record["word_times"]),
        "speech_probs": tuple(record["speech_probs"] or ()),
        "image_probs": tuple(record["image_probs"] or ()),
    }
    return Example(**known)


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file's bytes; raises `ManifestError` where it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from None


def fingerprint(shards: Sequence[Mapping[str, Any]]) -> str:
    """Return the sha256 of all shards: what `cd DIR && sha256sum data/*.parquet | sha256sum` prints.

    Args:
        shards: `name` and `sha256` of each, in the order of their names.
    """
    lines = (f"{shard['sha256']}  data/{shard['name']}\n" for shard in shards)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
