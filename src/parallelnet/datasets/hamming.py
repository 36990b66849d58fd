"""All pairs of 64-bit hashes that differ in a few bits, and what such pairs join together, in bounded memory.

`near_pairs` is the search of Manku, Jain and Das Sarma 2007 (Detecting near-duplicates for web crawling, WWW): cut 64
bits into `b` blocks; two hashes that differ in at most `k` bits have at least `b - k` blocks alike. For every choice of
`b - k` blocks the hashes are sorted with these blocks in front, so that such pairs stand side by side. It is exact:
every pair is found, whatever `b` is, which only says how much is sorted and how much compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.signedinteger[Any]]

BITS = 64
SLICE = 1 << 13  # rows that are worked on at a time: 64 KiB an array, so that what lies between costs next to nothing

# Measured on one core of an AMD EPYC with a million hashes: moving the bits and sorting 70 to 95 ns a hash and choice,
# comparing 27 ns a pair.
_SORT_NS, _COMPARE_NS = 80.0, 27.0
# Bits of a picture's hash depend on each other: 21 neighbouring bits of 3,960 real tweets' hashes are as often alike as
# 16 flips of a coin.
_FAIR_SHARE = 0.75


class Components:
    """Rows joined step by step into components; the root of each is its lowest row.

    Whatever the order of the joins, the roots are the same: a parent is never above its child.
    """

    def __init__(self, n_rows: int) -> None:
        """Let every row be a component of its own; 4 bytes a row (8 from 2^31 rows on)."""
        self.parents: Rows = np.arange(n_rows, dtype=row_type(n_rows))

    def copy(self) -> Components:
        """Return the same components, to be joined further on their own."""
        twin = Components(0)
        twin.parents = self.parents.copy()
        return twin

    def roots(self, rows: Rows) -> Rows:
        """Return the root of each row, and let what was passed on the way point further up (path halving)."""
        parents, found = self.parents, self.parents[rows]
        while True:
            above = parents[parents[found]]
            if np.array_equal(above, found):
                parents[rows] = found
                return found
            parents[found] = above
            found = above

    def join(self, left: Rows, right: Rows) -> None:
        """Join the component of `left[i]` with that of `right[i]`, for every i.

        Every root that has a lower one across some pair hooks to the lowest such: the roots that still have pairs
        halve at least with every round.
        """
        while left.size:
            left, right = self.roots(left), self.roots(right)
            apart = left != right
            left, right = left[apart], right[apart]
            np.minimum.at(self.parents, np.maximum(left, right), np.minimum(left, right))

    def flatten(self) -> Rows:
        """Return the root of every row, `[n_rows]`; the array is the components' own."""
        for start in range(0, self.parents.size, SLICE):
            rows: Rows = np.arange(start, min(start + SLICE, self.parents.size))
            self.roots(rows)
        return self.parents


def row_type(n_rows: int) -> type[np.int32] | type[np.int64]:
    """Return the smallest type that numbers so many rows."""
    return np.int32 if n_rows < 2**31 else np.int64


def near_pairs(hashes: Hashes, bits: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield the positions of all pairs of hashes that differ in at most `bits` bits, some of them more than once.

    Needs 8 bytes a hash beside the hashes. The time grows steeply with `bits`: for a million hashes seconds up to 4,
    a minute at 8.

    Args:
        hashes: ascending, each once.
        bits: 0 to 32.
    """
    if bits == 0 or hashes.size < 2:
        return
    n_blocks = _n_blocks(hashes.size, bits)
    edges = [BITS * number // n_blocks for number in range(n_blocks + 1)]
    keys = np.empty_like(hashes)
    for chosen in combinations(range(n_blocks), n_blocks - bits):
        moves, n_front = _moves(edges, chosen)
        for start in range(0, hashes.size, SLICE):
            keys[start : start + SLICE] = _moved(hashes[start : start + SLICE], moves)
        keys.sort()
        back = [(target, source, width) for source, target, width in moves]
        for left, right in _alike_in_front(keys, n_front):
            near = np.bitwise_count(left ^ right) <= bits
            if near.any():
                yield (
                    np.searchsorted(hashes, _moved(left[near], back)),
                    np.searchsorted(hashes, _moved(right[near], back)),
                )


def _n_blocks(n_hashes: int, bits: int) -> int:
    """Return into how many blocks to cut, for the least time."""

    def cost(n_blocks: int) -> float:
        n_front = (BITS // n_blocks) * (n_blocks - bits)
        n_beside = n_hashes / 2 / 2 ** (_FAIR_SHARE * n_front)
        return math.comb(n_blocks, bits) * (_SORT_NS + _COMPARE_NS * (1 + n_beside))

    return min(range(bits + 1, min(bits + 8, BITS) + 1), key=cost)


def _moves(edges: list[int], chosen: tuple[int, ...]) -> tuple[list[tuple[int, int, int]], int]:
    """Return (source, target, width) in bits of what moves, the chosen blocks to the front, and the front's width."""
    rest = [block for block in range(len(edges) - 1) if block not in chosen]
    moves: list[tuple[int, int, int]] = []
    end = BITS
    for block in (*reversed(chosen), *reversed(rest)):
        source, width = edges[block], edges[block + 1] - edges[block]
        end -= width
        if moves and moves[-1][0] == source + width:  # beside the one before, and stays there: they move as one
            moves[-1] = (source, end, width + moves[-1][2])
        else:
            moves.append((source, end, width))
    return moves, sum(edges[block + 1] - edges[block] for block in chosen)


def _moved(hashes: Hashes, moves: list[tuple[int, int, int]]) -> Hashes:
    moved = np.zeros_like(hashes)
    for source, target, width in moves:
        block = (hashes >> np.uint64(source)) & np.uint64((1 << width) - 1)
        moved |= block << np.uint64(target)
    return moved


def _alike_in_front(keys: Hashes, n_front: int) -> Iterator[tuple[Hashes, Hashes]]:
    """Yield all pairs of ascending keys whose first `n_front` bits are alike, at most `SLICE` pairs at a time."""
    n_behind = np.uint64(BITS - n_front)
    for start in range(0, keys.size, SLICE):
        left: Rows = np.arange(start, min(start + SLICE, keys.size))
        lag = 0
        while left.size:
            lag += 1
            left = left[: np.searchsorted(left, keys.size - lag)]
            left = left[(keys[left] ^ keys[left + lag]) >> n_behind == 0]
            if left.size:
                yield keys[left], keys[left + lag]
