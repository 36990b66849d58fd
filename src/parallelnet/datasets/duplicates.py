"""Rows with the same text or picture, found over the whole set: which to drop, and which must not be torn apart.

Texts are equal when the 64-bit hash of their `spoken.normalised` form is. Pictures are near when their bytes are equal
or their difference hashes differ in at most `near_bits` of 64 bits; a picture that is nearly flat or whose rows are
nearly all alike (`is_flat`) is near by its bytes only, because the hash says too little of it. To be near is not
transitive (a near b, b near c, a not near c), so everything here goes by connected components: rows that a chain of
such pairs links count as one, and their lowest row stands for all of them.

Nothing is compared beyond 64-bit hashes: of 100 million rows two different texts share one with probability 3e-4
(n^2 / 2^65).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import ManifestError
from ..records import write_whole
from ..synthesis.spoken import normalised
from .draft import Draft
from .hamming import SLICE, Components, Hashes, Rows, near_pairs, row_type

Flags = npt.NDArray[np.bool_]

# Chosen on 4,079 real tweets: of the 104 pairs within 4 bits whose bytes differ four show different pictures (mean
# difference of their 32 x 32 greys above 12 of 255), each with f0f0f0f0f0f0f0f0 or 0 as one hash. These limits drop the
# four and one true pair, and call 16 pictures flat.
FLAT_BITS = 7  # as many bits set, or as many not set
FLAT_CHANGES = 3  # as many bits, of 56, that differ from the row above

_SIGNATURE = np.dtype(
    [("id_key", "<u8"), ("text_key", "<u8"), ("picture_key", "<u8"), ("dhash", "<u8"), ("usable", "?")]
)
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: any odd number makes x -> x * _ODD one to one
_LARGE_CLASS = 4096  # members from which on pairs are not all compared, but searched


# --- what is known of each row ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signatures:
    """What finding duplicates needs to know of a range of rows: 33 bytes each, on disk.

    Attributes:
        table: structured array `[n_rows]`: `id_key`, `text_key`, `picture_key` (uint64: heads of hashes), `dhash`
            (uint64), `usable` (bool: not rejected so far).
    """

    table: npt.NDArray[Any]

    @classmethod
    def of(cls, drafts: Iterable[Draft]) -> Signatures:
        """Return the signatures of drafts that went through `CleanText` and `CheckPicture`."""
        rows = [
            (_key(draft.id.encode()), 0, 0, 0, False)
            if draft.reason
            else (_key(draft.id.encode()), text_key(draft), _key(draft.image), draft.image_dhash, True)
            for draft in drafts
        ]
        return cls(np.array(rows, dtype=_SIGNATURE))

    def save(self, path: Path) -> None:
        """Write them as one .npy, whole or not at all."""
        _save(path, self.table)

    @classmethod
    def load(cls, path: Path) -> Signatures:
        """Return what `save` wrote."""
        return cls(np.load(path, allow_pickle=False))


def text_key(draft: Draft) -> int:
    """Return the 64-bit hash of the normalised text, of the spoken one where the normal form has nothing left."""
    return _key((normalised(draft.spoken_text) or draft.spoken_text).encode())


def is_flat(dhash: Hashes) -> Flags:
    """Return which difference hashes say too little to go by: nearly no edges, or nearly none between rows."""
    flat = np.empty(dhash.size, dtype=np.bool_)
    for at in _slices(dhash.size):
        n_set = np.bitwise_count(dhash[at])
        changed = (dhash[at] ^ (dhash[at] >> np.uint64(8))) & np.uint64((1 << 56) - 1)
        few = (n_set <= FLAT_BITS) | (n_set >= 64 - FLAT_BITS)
        flat[at] = few | (np.bitwise_count(changed) <= FLAT_CHANGES)
    return flat


def _key(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def _save(path: Path, table: npt.NDArray[Any]) -> None:
    write_whole(path, lambda stream: np.save(stream, table, allow_pickle=False))


# --- what was found ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of each row once all were compared; 13 bytes a row (25 from 2^31 rows on).

    Attributes:
        table: structured array `[n_rows]`: `survivor` (the row that stays instead; the row itself if it stays),
            `group`, `image_group` (lowest row of the component) and `id_taken` (an earlier row has the same id).
    """

    table: npt.NDArray[Any]

    @property
    def survivor(self) -> Rows:
        """For each row the one that stays in its place: itself, or a lower one."""
        return self.table["survivor"]

    @property
    def drop(self) -> Flags:
        """Which rows are duplicates, bool `[n_rows]`."""
        dropped: Flags = self.survivor != np.arange(self.table.size, dtype=self.survivor.dtype)
        return dropped

    @property
    def group(self) -> Rows:
        """Lowest row of the component linked by equal texts or near pictures."""
        return self.table["group"]

    @property
    def image_group(self) -> Rows:
        """Lowest row of the component linked by near pictures."""
        return self.table["image_group"]

    def save(self, path: Path) -> None:
        """Write it as one .npy, whole or not at all."""
        _save(path, self.table)

    @classmethod
    def load(cls, path: Path) -> Found:
        """Return what `save` wrote, mapped: only the rows that are looked up are read."""
        return cls(np.load(path, mmap_mode="r", allow_pickle=False))


class Unchanged:
    """Step: stops the build where a picture is not the one by which duplicates were looked for.

    A build may go on weeks after it was stopped. Costs nothing but a hash of bytes that were read anyway.
    """

    name = "check-unchanged"

    def __init__(self, signatures: Signatures) -> None:
        """Take the signatures of the range whose drafts will come."""
        self._table = signatures.table

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """Yield the drafts as they are.

        Raises:
            ManifestError: the picture of one has changed, appeared or gone since the range was looked over.
        """
        for draft, known in zip(drafts, self._table, strict=True):
            same = not draft.reason and _key(draft.image) == known["picture_key"] if known["usable"] else draft.reason
            if not same:
                raise ManifestError(
                    f"The picture of row {draft.row} ({PurePath(draft.image_path).name!r}) is not what it was when "
                    "this build looked for duplicates. What was finished is kept. Mend: put the picture of then "
                    "back, or build anew into another --out."
                )
            yield draft


class Duplicates:
    """Step: makes the id of each draft unique, names its groups, or rejects it as a duplicate.

    An id that an earlier row has gets the row as a suffix, `ID#ROW`; so does one that ends like such an id already.
    That makes ids unique, over kept and rejected rows together, without knowing them all: a suffix stands once, and
    nothing else ends in `#` and digits, but for `#ROW` where a row has no id of its own.
    """

    name = "duplicates"

    def __init__(self, found: Found) -> None:
        """Look rows up in `found`; in a worker `Found.load(path)`, which maps the file instead of copying it."""
        self._table = found.table

    def __call__(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        """Yield each draft with its final `id`, and `group` and `image_group` or the reason why it falls out."""
        for draft in drafts:
            yield self._looked_up(draft)

    def _looked_up(self, draft: Draft) -> Draft:
        known = self._table[draft.row]
        if draft.id != f"#{draft.row}" and (known["id_taken"] or _ends_like_a_suffix(draft.id)):
            draft = replace(draft, id=f"{draft.id}#{draft.row}")
        if draft.reason:
            return draft
        if known["survivor"] != draft.row:
            return draft.reject("duplicate", f"of row {known['survivor']}")
        return replace(draft, group=str(known["group"]), image_group=str(known["image_group"]))


def _ends_like_a_suffix(name: str) -> bool:
    return name.rpartition("#")[2].isdecimal() and "#" in name


# --- the search -------------------------------------------------------------------------------------------------------


def find_duplicates(parts: Sequence[Path], *, mode: Literal["sample", "any", "keep"], near_bits: int) -> Found:
    """Return duplicates and groups over all rows of all parts.

    Rows that are not usable take no part. `sample` drops a row when equal text and near picture, both in the same pair
    of rows, link it to a lower one; `any` when equal text or near picture do; `keep` drops none. Groups are of all
    usable rows, dropped or not.

    Needs at most 64 bytes a row at its peak. The result does not depend on how the rows are cut into parts.

    Args:
        parts: saved `Signatures`; row 0 is the first of the first part.
        mode: what is dropped.
        near_bits: 0 to 16; see `near_pairs` for the time it takes.
    """
    ids_taken, usable = _ids_and_usable(parts)
    images = _near_components(_column(parts, "dhash", usable.size), near_bits)
    _join_equal(images, _column(parts, "picture_key", usable.size))
    images.flatten()
    survivors = Components(usable.size)
    if mode == "sample":
        _join_samples(survivors, images, parts, near_bits)
        survivors.flatten()
    groups = images.copy()
    _join_equal(groups, _column(parts, "text_key", usable.size))
    groups.flatten()
    if mode == "any":
        survivors = groups

    whole = row_type(ids_taken.size)
    fields = [("survivor", whole), ("group", whole), ("image_group", whole), ("id_taken", "?")]
    table = np.empty(ids_taken.size, dtype=fields)
    table["id_taken"] = ids_taken
    for name, components in (("survivor", survivors), ("group", groups), ("image_group", images)):
        table[name] = np.arange(ids_taken.size, dtype=whole)
        for rows in _slices(usable.size):
            table[name][usable[rows]] = usable[components.parents[rows]]
    return Found(table)


def _slices(n_rows: int) -> Iterator[slice]:
    return (slice(start, min(start + SLICE, n_rows)) for start in range(0, n_rows, SLICE))


def _ids_and_usable(parts: Sequence[Path]) -> tuple[Flags, Rows]:
    """Return which rows have an earlier one's id, and the numbers of the usable rows, ascending."""
    tables = (Signatures.load(part).table for part in parts)
    columns = [(table["id_key"].copy(), table["usable"].copy()) for table in tables]
    if not columns:
        return np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=row_type(0))
    keys = np.concatenate([keys for keys, _ in columns])
    usable = _numbers(np.concatenate([flags for _, flags in columns]))
    del columns
    order = _order(keys, kind="stable")  # of equal ids the lowest row comes first
    taken = np.zeros(keys.size, dtype=np.bool_)
    for _, right in _neighbours(order, keys):
        taken[right] = True
    return taken, usable


def _numbers(flags: Flags) -> Rows:
    """Return the rows that are flagged, ascending."""
    rows: Rows = np.flatnonzero(flags).astype(row_type(flags.size))
    return rows


def _column(parts: Sequence[Path], name: str, n_usable: int) -> Hashes:
    """Return one field of all usable rows, read part by part."""
    column = np.empty(n_usable, dtype=np.uint64)
    end = 0
    for part in parts:
        table = Signatures.load(part).table
        values = table[name][table["usable"]]
        column[end : end + values.size] = values
        end += values.size
    assert end == n_usable
    return column


def _order(keys: Hashes, *, kind: Literal["quicksort", "stable"] = "quicksort") -> Rows:
    order: Rows = np.argsort(keys, kind=kind).astype(row_type(keys.size))
    return order


def _neighbours(order: Rows, *keys: Hashes) -> Iterator[tuple[Rows, Rows]]:
    """Yield the pairs of rows that stand side by side in an order and have the same keys."""
    for at in _slices(order.size - 1):
        left, right = order[at], order[at.start + 1 : at.stop + 1]
        same = np.logical_and.reduce([key[left] == key[right] for key in keys])
        yield left[same], right[same]


def _join_equal(components: Components, *keys: Hashes) -> None:
    order = _order(keys[0] if len(keys) == 1 else _pair_keys(*keys))
    for left, right in _neighbours(order, *keys):
        components.join(left, right)


def _near_components(dhash: Hashes, near_bits: int) -> Components:
    """Return the rows joined by difference hashes that are near, flat ones left out."""
    components = Components(dhash.size)
    rows = _numbers(~is_flat(dhash))
    hashes = dhash[rows]
    del dhash
    order = _order(hashes)
    hashes, rows = hashes[order], rows[order]
    del order
    first = np.ones(hashes.size, dtype=np.bool_)
    for at in _slices(hashes.size - 1):
        after = slice(at.start + 1, at.stop + 1)
        first[after] = hashes[after] != hashes[at]
        same = ~first[after]
        components.join(rows[at][same], rows[after][same])
    hashes, rows = hashes[first], rows[first]
    for left, right in near_pairs(hashes, near_bits):
        components.join(rows[left], rows[right])
    return components


def _join_samples(samples: Components, images: Components, parts: Sequence[Path], near_bits: int) -> None:
    """Join rows with equal text and near picture.

    Two rows with both have the text and the component of pictures in common, so only such classes are searched.
    """
    texts = _column(parts, "text_key", images.parents.size)
    _join_equal(samples, texts, _column(parts, "picture_key", texts.size))
    hashes = _column(parts, "dhash", texts.size)
    order = _order(_pair_keys(texts, hashes))
    first = np.ones(hashes.size, dtype=np.bool_)  # which rows of the order begin another pair of text and hash
    for at in _slices(order.size - 1):
        left, right = order[at], order[at.start + 1 : at.stop + 1]
        same = (texts[left] == texts[right]) & (hashes[left] == hashes[right])
        first[at.start + 1 : at.stop + 1] = ~same
        same &= ~is_flat(hashes[left])
        samples.join(left[same], right[same])
    rows = order[first]
    del order, first
    rows = rows[~is_flat(hashes[rows])]
    rows, classes = _by_class(rows, texts, images.parents)
    del texts
    _join_near(samples, rows, classes, hashes, near_bits)


def _pair_keys(texts: Hashes, other: Hashes) -> Hashes:
    """Return a key of each pair: the same for the same pair, and different ones are told apart as texts' hashes are."""
    keys = other * _ODD
    keys += texts
    return keys


def _by_class(rows: Rows, texts: Hashes, images: Rows) -> tuple[Rows, Rows]:
    """Return rows so that those with one text and one component of pictures stand together, and the class of each."""
    keys = np.empty(rows.size, dtype=np.uint64)
    for at in _slices(rows.size):
        keys[at] = _pair_keys(texts[rows[at]], images[rows[at]].astype(np.uint64))
    rows = rows[_order(keys)]
    del keys
    first = np.ones(rows.size, dtype=np.bool_)
    for at in _slices(rows.size - 1):
        left, right = rows[at], rows[at.start + 1 : at.stop + 1]
        first[at.start + 1 : at.stop + 1] = (texts[left] != texts[right]) | (images[left] != images[right])
    return rows, np.cumsum(first, dtype=rows.dtype)


def _join_near(samples: Components, rows: Rows, classes: Rows, hashes: Hashes, near_bits: int) -> None:
    """Join, of the rows of one class, those whose hashes are near: small classes by comparing all, large by searching.

    Args:
        samples: the components to join.
        rows: class by class; no two of a class have the same hash.
        classes: number of the class of each of `rows`, ascending.
        hashes: difference hash of every row.
        near_bits: as in `find_duplicates`.
    """
    large = np.unique(classes[_LARGE_CLASS:][classes[_LARGE_CLASS:] == classes[:-_LARGE_CLASS]])
    starts, ends = np.searchsorted(classes, large, "left"), np.searchsorted(classes, large, "right")
    end = 0
    for large_start, large_end in zip(starts.tolist(), ends.tolist(), strict=True):
        _join_side_by_side(samples, rows[end:large_start], classes[end:large_start], hashes, near_bits)
        members, end = rows[large_start:large_end], large_end
        members[:] = members[_order(hashes[members])]
        for left, right in near_pairs(hashes[members], near_bits):
            samples.join(members[left], members[right])
    _join_side_by_side(samples, rows[end:], classes[end:], hashes, near_bits)


def _join_side_by_side(samples: Components, rows: Rows, classes: Rows, hashes: Hashes, near_bits: int) -> None:
    for at in _slices(rows.size):
        places: Rows = np.arange(at.start, at.stop)
        lag = 0
        while places.size:
            lag += 1
            places = places[: np.searchsorted(places, rows.size - lag)]
            places = places[classes[places] == classes[places + lag]]
            left, right = rows[places], rows[places + lag]
            near = np.bitwise_count(hashes[left] ^ hashes[right]) <= near_bits
            samples.join(left[near], right[near])
