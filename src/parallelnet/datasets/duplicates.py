"""Rows with the same text or picture, found over the whole set: which to drop, and which must not be torn apart.

Texts are equal when the 64-bit hash of their `spoken.normalised` form is. Pictures are near when their bytes are equal
or their difference hashes differ in at most `near_bits` of 64 bits; a picture that is nearly flat or whose rows are
nearly all alike (`is_flat`) is near by its bytes only, because the hash says too little of it. To be near is not
transitive (a near b, b near c, a not near c), so everything here goes by connected components: rows that a chain of
such pairs links count as one, and their lowest row stands for all of them.

Nothing is compared beyond 64-bit hashes: of 100 million rows two different texts share one with probability 3e-4
(n^2 / 2^65). Memory is bounded, whatever the rows.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..data.shards import Example
from ..records import write_whole
from ..synthesis.spoken import normalised

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.signedinteger[Any]]
Flags = npt.NDArray[np.bool_]
Table = npt.NDArray[Any]

# Chosen on 4,079 real tweets: of the 104 pairs within 4 bits whose bytes differ four show different pictures (mean
# difference of their 32 x 32 greys above 12 of 255), each with f0f0f0f0f0f0f0f0 or 0 as one hash. These limits drop the
# four and one true pair, and call 16 pictures flat.
FLAT_BITS = 7  # as many bits set, or as many not set
FLAT_CHANGES = 3  # as many bits, of 56, that differ from the row above

BITS = 64
SLICE = 1 << 13  # rows that are worked on at a time: 64 KiB an array, so that what lies between costs next to nothing

# Measured on one core of an AMD EPYC with a million hashes: a hash and choice to sort, a pair to compare.
_SORT_NS, _COMPARE_NS = 100.0, 27.0
# Bits of a picture's hash depend on each other: 21 neighbouring bits of 3,960 real tweets' hashes are as often alike as
# 16 flips of a coin.
_FAIR_SHARE = 0.75

SIGNATURE = np.dtype(
    [("id_key", "<u8"), ("text_key", "<u8"), ("picture_key", "<u8"), ("dhash", "<u8"), ("usable", "?")]
)


# --- what is known of each row, and what was found --------------------------------------------------------------------


def signature(row: Example) -> tuple[int, int, int, int, bool]:
    """Return the fields of `SIGNATURE`, of a row whose text was cleaned and whose picture was checked.

    Keys are heads of hashes, of 64 bits; `usable` is what was not rejected so far. 33 bytes in a file.
    """
    known = (0, 0, 0) if row.reason else (text_key(row), head_of_hash(row.image), row.image_dhash)
    return head_of_hash(row.id.encode()), *known, not row.reason


def text_key(example: Example) -> int:
    """Return the 64-bit hash of the normalised text, of the spoken one where the normal form has nothing left."""
    return head_of_hash((normalised(example.spoken_text) or example.spoken_text).encode())


def head_of_hash(content: bytes) -> int:
    """Return the first 64 bits of the SHA-256 of something."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def is_flat(dhash: Hashes) -> Flags:
    """Return which difference hashes say too little to go by: nearly no edges, or nearly none between rows."""
    n_set = np.bitwise_count(dhash)
    changed = np.bitwise_count((dhash ^ (dhash >> np.uint64(8))) & np.uint64((1 << 56) - 1))
    few: Flags = (n_set <= FLAT_BITS) | (n_set >= BITS - FLAT_BITS) | (changed <= FLAT_CHANGES)
    return few


def save(path: Path, table: Table) -> None:
    """Write signatures, or what was found, as one .npy, whole or not at all; `np.load` reads it."""
    write_whole(path, lambda stream: np.save(stream, table, allow_pickle=False))


def settled(example: Example, found: Table) -> Example:
    """Return a row with its final `id`, and with `group` and `image_group` or rejected as a duplicate.

    An id that an earlier row has gets the row as a suffix, `ID#ROW`; so does one that ends like such an id already.
    That makes ids unique, over kept and rejected rows together, without knowing them all: a suffix stands once, and
    nothing else ends in `#` and digits, but for `#ROW` where a row has no id of its own.

    Args:
        example: may be rejected already.
        found: what `find_duplicates` returned, perhaps mapped from its file.
    """
    known, own = found[example.row], example.id
    ends_like_a_suffix = "#" in own and own.rpartition("#")[2].isdecimal()
    if own != f"#{example.row}" and (known["id_taken"] or ends_like_a_suffix):
        example = replace(example, id=f"{own}#{example.row}")
    if example.reason:
        return example
    if known["survivor"] != example.row:
        return example.reject("duplicate", f"of row {known['survivor']}")
    return replace(example, group=str(known["group"]), image_group=str(known["image_group"]))


# --- the search -------------------------------------------------------------------------------------------------------


def find_duplicates(parts: Sequence[Path], *, mode: Literal["sample", "any", "keep"], near_bits: int) -> Table:
    """Return duplicates and groups over all rows of all parts.

    Rows that are not usable take no part. `sample` drops a row when equal text and near picture, both in the same pair
    of rows, link it to a lower one; `any` when equal text or near picture do; `keep` drops none. Groups are of all
    usable rows, dropped or not. Needs at most 64 bytes a row at its peak. How the rows are cut into parts is no matter.

    Args:
        parts: files of arrays of `SIGNATURE`; row 0 is the first of the first part.
        mode: what is dropped.
        near_bits: 0 to 16; see `near_pairs` for the time it takes.

    Returns:
        Structured array `[n_rows]`, 13 bytes a row (25 from 2^31 rows on): `survivor` (the row that stays instead, or
        the row itself), `group`, `image_group` (lowest row of the component), `id_taken` (an earlier row has the id).
    """

    def column(name: str, of: slice | str = "usable") -> Table:
        """Return one field of the usable rows or of a slice, read part by part."""
        tables = (np.load(part, allow_pickle=False) for part in parts)
        return np.concatenate([table[name][table[of] if isinstance(of, str) else of] for table in tables])

    ids = column("id_key", slice(None))
    rows: Rows = np.arange(ids.size, dtype=np.int32 if ids.size < 2**31 else np.int64)
    usable, id_taken = rows[column("usable", slice(None))], _first_alike(ids) != rows
    del ids, rows
    texts, images = _first_alike(column("text_key")), _first_alike(column("picture_key"))
    samples = _first_alike(texts.astype(np.uint64) << np.uint64(32) | images.astype(np.uint64))
    dhash = column("dhash")
    sound = np.flatnonzero(~is_flat(dhash)).astype(texts.dtype)
    _join_near(images, sound, dhash[sound], near_bits)
    sound = sound[np.argsort(texts[sound], kind="stable")]
    edges = np.append(np.flatnonzero(_changes(texts[sound])), sound.size)
    for at in np.flatnonzero(np.diff(edges) > 1):
        same_text = sound[edges[at] : edges[at + 1]]
        _join_near(samples, same_text, dhash[same_text], near_bits)
    del dhash, sound, edges
    roots = {"survivor": flatten(samples), "image_group": flatten(images).copy()}
    join(images, np.arange(texts.size, dtype=texts.dtype), texts)
    roots["group"] = flatten(images)
    if mode == "any":
        roots["survivor"] = roots["group"]
    found = np.empty(id_taken.size, dtype=[*((name, usable.dtype) for name in roots), ("id_taken", "?")])
    found["id_taken"] = id_taken
    for name, lowest in roots.items():
        found[name] = np.arange(id_taken.size)
        if name != "survivor" or mode != "keep":
            found[name][usable] = usable[lowest]
    return found


def _first_alike(keys: Hashes) -> Rows:
    """Return for each row the first one that has the same key."""
    order: Rows = np.argsort(keys, kind="stable").astype(np.int32 if keys.size < 2**31 else np.int64)
    first, new = np.empty_like(order), _changes(keys[order])
    first[order] = order[new][np.cumsum(new, dtype=order.dtype) - 1]
    return first


def _changes(ordered: Table) -> Flags:
    """Return which values differ from the one before."""
    return np.append(True, ordered[1:] != ordered[:-1])[: ordered.size]


def _join_near(parents: Rows, rows: Rows, dhash: Hashes, near_bits: int) -> None:
    """Join rows whose difference hashes are near; `dhash[i]` is that of `rows[i]`."""
    first = _first_alike(dhash)
    join(parents, rows[first], rows)
    own = np.flatnonzero(first == np.arange(first.size, dtype=first.dtype))  # one row of each hash
    rows, dhash = rows[own], dhash[own]
    del first, own
    for left, right in near_pairs(dhash, near_bits):
        join(parents, rows[left], rows[right])


# --- components, and hashes that are near -----------------------------------------------------------------------------

# Rows are joined step by step into components, in an array that says for each row a lower one of its component (its
# parent), or the row itself where it is the lowest, the root. Whatever the order of the joins, the roots are the same.
# Not `scipy.sparse.csgraph`, which wants all pairs at once: they come in any number, and memory is bounded here.


def _roots(parents: Rows, rows: Rows) -> Rows:
    """Return the root of each row, and let what was passed on the way point further up (path halving)."""
    found = parents[rows]
    while not np.array_equal(above := parents[parents[found]], found):
        parents[found] = above
        found = above
    parents[rows] = found
    return found


def join(parents: Rows, left: Rows, right: Rows) -> None:
    """Join the component of `left[i]` with that of `right[i]`, for every i.

    Every root that has a lower one across some pair hooks to the lowest such: the roots that still have pairs halve at
    least with every round.
    """
    for at in slices(left.size):
        one, two = left[at], right[at]
        while one.size:
            one, two = _roots(parents, one), _roots(parents, two)
            apart = one != two
            one, two = one[apart], two[apart]
            np.minimum.at(parents, np.maximum(one, two), np.minimum(one, two))


def flatten(parents: Rows) -> Rows:
    """Return the root of every row, `[n_rows]`: the same array."""
    for at in slices(parents.size):
        _roots(parents, np.arange(at.start, at.stop))
    return parents


def slices(n_rows: int) -> Iterator[slice]:
    """Yield slices of at most `SLICE` rows that cover all."""
    return (slice(start, min(start + SLICE, n_rows)) for start in range(0, n_rows, SLICE))


def near_pairs(hashes: Hashes, bits: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield the positions of all pairs of hashes that differ in at most `bits` bits, some of them more than once.

    The search of Manku, Jain and Das Sarma 2007 (Detecting near-duplicates for web crawling, WWW): cut 64 bits into `b`
    blocks; two hashes that differ in at most `k` bits have at least `b - k` blocks alike. For every choice of `b - k`
    blocks the hashes are sorted by these blocks alone, so that such pairs stand side by side. It is exact: every pair
    is found, whatever `b` is, which only says how much is sorted and how much compared.

    Needs 16 bytes a hash beside the hashes. The time grows steeply with `bits`: for a million hashes seconds up to 4,
    two minutes at 8.

    Args:
        hashes: each once.
        bits: 0 to 32.
    """
    if bits == 0 or hashes.size < 2:
        return
    n_blocks = _n_blocks(hashes.size, bits)
    edges = [BITS * number // n_blocks for number in range(n_blocks + 1)]
    for chosen in combinations(range(n_blocks), n_blocks - bits):
        front = np.uint64(sum((1 << edges[block + 1]) - (1 << edges[block]) for block in chosen))
        order = np.argsort(hashes & front)
        for at in slices(hashes.size):
            places: Rows = np.arange(at.start, at.stop)
            lag = 0
            while places.size:
                lag += 1
                places = places[: np.searchsorted(places, hashes.size - lag)]
                left, right = order[places], order[places + lag]
                differing = hashes[left] ^ hashes[right]
                alike = differing & front == 0
                places, near = places[alike], np.bitwise_count(differing) <= bits
                if near.any():
                    yield left[near], right[near]
        del order  # before the next one is made


def _n_blocks(n_hashes: int, bits: int) -> int:
    """Return into how many blocks to cut, for the least time."""

    def cost(n_blocks: int) -> float:
        n_front = (BITS // n_blocks) * (n_blocks - bits)
        n_beside = n_hashes / 2 / 2 ** (_FAIR_SHARE * n_front)
        return math.comb(n_blocks, bits) * (_SORT_NS + _COMPARE_NS * (1 + n_beside))

    return min(range(bits + 1, min(bits + 8, BITS) + 1), key=cost)
