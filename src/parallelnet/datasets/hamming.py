"""All pairs of 64-bit hashes that differ in a few bits, and what such pairs join together, in bounded memory.

`near_pairs` is the search of Manku, Jain and Das Sarma 2007 (Detecting near-duplicates for web crawling, WWW): cut 64
bits into `b` blocks; two hashes that differ in at most `k` bits have at least `b - k` blocks alike. For every choice of
`b - k` blocks the hashes are sorted by these blocks alone, so that such pairs stand side by side. It is exact: every
pair is found, whatever `b` is, which only says how much is sorted and how much compared.
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

# Measured on one core of an AMD EPYC with a million hashes: a hash and choice to sort, a pair to compare.
_SORT_NS, _COMPARE_NS = 100.0, 27.0
# Bits of a picture's hash depend on each other: 21 neighbouring bits of 3,960 real tweets' hashes are as often alike as
# 16 flips of a coin.
_FAIR_SHARE = 0.75


class Components:
    """Rows joined step by step into components; the root of each is its lowest row.

    Whatever the order of the joins, the roots are the same: a parent is never above its child. Not
    `scipy.sparse.csgraph`, which wants all pairs at once: they come in any number, and memory is bounded here.
    """

    def __init__(self, parents: Rows) -> None:
        """Take for each row a lower one of its component that is its own parent, or the row itself."""
        self.parents = parents

    def _roots(self, rows: Rows) -> Rows:
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
        for at in slices(left.size):
            one, two = left[at], right[at]
            while one.size:
                one, two = self._roots(one), self._roots(two)
                apart = one != two
                one, two = one[apart], two[apart]
                np.minimum.at(self.parents, np.maximum(one, two), np.minimum(one, two))

    def flatten(self) -> Rows:
        """Return the root of every row, `[n_rows]`; the array is the components' own."""
        for at in slices(self.parents.size):
            self._roots(np.arange(at.start, at.stop))
        return self.parents


def slices(n_rows: int) -> Iterator[slice]:
    """Yield slices of at most `SLICE` rows that cover all."""
    return (slice(start, min(start + SLICE, n_rows)) for start in range(0, n_rows, SLICE))


def near_pairs(hashes: Hashes, bits: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield the positions of all pairs of hashes that differ in at most `bits` bits, some of them more than once.

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
