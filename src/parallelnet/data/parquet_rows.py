"""Rows of Parquet that others wrote, batch by batch; what cannot be read costs its row, or its row group."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ManifestError, MissingExtraError, shown
from .rows import OpenTable, Row, column_name, made_row

_N_AT_ONCE = 256  # rows that are held
_N_BYTES_AT_ONCE = 8  # of a table that holds files: one may have many megabytes


def open_parquet(source: Path, known: frozenset[str]) -> OpenTable:
    """Parquet, batch by batch; of a row group that is damaged the rows from the damage on are lost, no others."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(f"Reading the Parquet file {source.name}", "train") from None
    broken = (pyarrow.ArrowException, OSError, ValueError, OverflowError)
    try:
        with parquet.ParquetFile(source) as file:
            schema = file.schema_arrow
            classes = _classes(schema.metadata)
    except broken as error:
        reason = str(error).splitlines()[0]
        raise ManifestError(f"{source} is no whole Parquet file: {reason[:200]}") from None
    columns = {name: column_name(name, known) for name in schema.names}
    binary = frozenset(columns[field.name] for field in schema if _holds_files(field.type, pyarrow.types))

    def rows(wanted: Collection[str]) -> Iterator[Row]:
        names = [name for name, ours in columns.items() if ours and (not wanted or ours in wanted)]
        n_rows = _N_BYTES_AT_ONCE if binary & {columns[name] for name in names} else _N_AT_ONCE
        # Without the buffer a whole column of a row group would be held.
        with parquet.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                n_left = file.metadata.row_group(group).num_rows
                try:
                    for batch in file.iter_batches(n_rows, row_groups=[group], columns=names):
                        for row in _batch_rows(batch, columns, classes, broken):
                            yield row
                            n_left -= 1
                except broken as error:
                    reason = str(error).splitlines()[0]
                    for _ in range(n_left):
                        yield Row(0, {}, f"row group {group} is damaged: {reason[:200]}")

    return OpenTable(source, "parquet", tuple(filter(None, map(columns.get, schema.names))), binary, rows)


def _holds_files(kind: Any, types: Any) -> bool:
    tests = (types.is_struct, types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _classes(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of the numbered classes of each column, from what Hugging Face's datasets write beside."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        labels = {name: each["names"] for name, each in features.items() if each.get("_type") == "ClassLabel"}
        return {name: list(map(str, classes)) for name, classes in labels.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _batch_rows(
    batch: Any, columns: Mapping[str, str], classes: Mapping[str, list[str]], broken: tuple[type[Exception], ...]
) -> Iterator[Row]:
    cells = [_cells(batch.column(place), broken) for place in range(batch.num_columns)]
    names = batch.schema.names
    for fields in zip(*cells, strict=True):
        bad = next((place for place, field in enumerate(fields) if isinstance(field, Exception)), None)
        if bad is not None:
            yield Row(0, {}, f"{shown(names[bad])} cannot be read: {str(fields[bad])[:200]}")
            continue
        values = {}
        for name, field in zip(names, fields, strict=True):
            if name in classes and isinstance(field, int):
                field = classes[name][field] if 0 <= field < len(classes[name]) else None  # -1 is "not told"
            values[columns[name]] = field
        yield made_row(0, values, len(names))


def _cells(column: Any, broken: tuple[type[Exception], ...]) -> list[Any]:
    """Return the values of a column; where one cannot be had, its exception."""

    def cell(scalar: Any) -> Any:
        try:
            return scalar.as_py()
        except broken as error:
            return error

    try:
        values: list[Any] = column.to_pylist()
    except broken:
        return [cell(scalar) for scalar in column]
    return values
