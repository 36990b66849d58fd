"""Pairs of hashes that are near: all of them, and their components whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallelnet.datasets import hamming
from parallelnet.datasets.hamming import Components, near_pairs


def planted(n_hashes: int, seed: int) -> np.ndarray:
    """Return hashes of which a third are 0 to 8 bits from another one, ascending, each once."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, n_hashes, dtype=np.uint64)
    for copy in rng.integers(0, n_hashes, n_hashes // 3):
        flips = rng.choice(64, rng.integers(0, 9), replace=False).astype(np.uint64)
        hashes[copy] = hashes[rng.integers(n_hashes)] ^ np.bitwise_or.reduce(np.uint64(1) << flips)
    return np.unique(hashes)


def found_pairs(hashes: np.ndarray, bits: int) -> set[tuple[int, int]]:
    found = [pair for pairs in near_pairs(hashes, bits) for pair in np.stack(pairs, axis=1).tolist()]
    return {(min(pair), max(pair)) for pair in found}


def all_pairs(hashes: np.ndarray, bits: int) -> set[tuple[int, int]]:
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None])
    return {(one, two) for one, two in np.argwhere(distances <= bits).tolist() if one < two}


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("more_blocks", [1, 2, 3])
def test_finds_every_pair_however_the_bits_are_cut(
    bits: int, more_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hamming, "_n_blocks", lambda n_hashes, bits: bits + more_blocks)
    monkeypatch.setattr(hamming, "SLICE", 64)  # so that pairs lie across its bounds
    hashes = planted(300, bits)
    expected = all_pairs(hashes, bits)
    assert len(expected) > 5
    assert found_pairs(hashes, bits) == expected


def test_sixteen_bits_and_hashes_that_share_nearly_all() -> None:
    hashes = np.arange(200, dtype=np.uint64)
    for bits in (1, 16):
        assert found_pairs(hashes, bits) == all_pairs(hashes, bits)


def test_no_bits_and_few_hashes() -> None:
    assert not list(near_pairs(planted(50, 0), 0))
    assert not list(near_pairs(np.zeros(0, dtype=np.uint64), 4))
    assert not list(near_pairs(np.zeros(1, dtype=np.uint64), 4))


def test_more_hashes_are_cut_into_more_blocks() -> None:
    blocks = [hamming._n_blocks(n_hashes, 4) for n_hashes in (100, 10**6, 10**8)]
    assert blocks == sorted(blocks)
    assert blocks[0] == 5
    assert blocks[-1] >= 7


@settings(deadline=None)
@given(edges=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40), seed=st.integers(0, 9))
def test_components_are_those_of_the_graph_and_named_by_their_lowest_row(
    edges: list[tuple[int, int]], seed: int
) -> None:
    lowest = list(range(20))
    for one, two in edges:
        low, high = sorted((lowest[one], lowest[two]))
        lowest = [low if root == high else root for root in lowest]
    order = np.random.default_rng(seed).permutation(len(edges))
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)[order]
    components = Components(np.arange(20))
    for part in np.array_split(pairs, 3):
        components.join(part[:, 0], part[:, 1])
    assert components.flatten().tolist() == lowest


@pytest.mark.parametrize("order", [1, -1], ids=["upwards", "downwards"])
def test_a_chain_of_a_hundred_thousand_is_joined_in_few_rounds(order: int) -> None:
    components = Components(np.arange(100_000))
    rows = np.arange(99_999)[::order]
    for part in np.array_split(rows, 20):
        components.join(part, part + 1)
    assert not components.flatten().any()  # rows that point only one step down would take minutes
