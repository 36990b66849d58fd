"""Duplicates over a whole set: against a search that compares every row with every other."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallelnet.data.shards import Example
from parallelnet.datasets import duplicates
from parallelnet.datasets.duplicates import (
    find_duplicates,
    is_flat,
    near_pairs,
    save,
    settled,
    signature,
    text_key,
)

FIELDS = [("id_key", "<u8"), ("text_key", "<u8"), ("picture_key", "<u8"), ("dhash", "<u8"), ("usable", "?")]
BASE = 0x123456789ABCDEF0  # no flat hash
Row = tuple[int, int, int, int, bool]


def saved(folder: Path, rows: Sequence[Row], *cuts: int) -> list[Path]:
    """Save rows as parts that end at the cuts."""
    table = np.array(rows, dtype=FIELDS)
    paths = []
    for number, part in enumerate(np.split(table, cuts)):
        paths.append(folder / f"{number}.npy")
        save(paths[-1], part)
    return paths


def brute(rows: Sequence[Row], near_bits: int) -> dict[str, list[int]]:
    """Return the lowest row of each row's component, by comparing all pairs."""
    flat = is_flat(np.array([row[3] for row in rows], dtype=np.uint64))
    lowest = {name: list(range(len(rows))) for name in ("sample", "group", "image_group")}

    def join(name: str, one: int, two: int) -> None:
        roots = lowest[name]
        low, high = sorted((roots[one], roots[two]))
        lowest[name] = [low if root == high else root for root in roots]

    for one, two in itertools.combinations(range(len(rows)), 2):
        if not (rows[one][4] and rows[two][4]):
            continue
        text = rows[one][1] == rows[two][1]
        close = (rows[one][3] ^ rows[two][3]).bit_count() <= near_bits and not (flat[one] or flat[two])
        picture = rows[one][2] == rows[two][2] or close
        if text and picture:
            join("sample", one, two)
        if text or picture:
            join("group", one, two)
        if picture:
            join("image_group", one, two)
    return lowest


@st.composite
def some_rows(draw: st.DrawFn) -> list[Row]:
    """Rows of few texts, few pictures, and hashes a few bits from one of three, one of them flat."""

    def dhash() -> int:
        center = draw(st.sampled_from([BASE, BASE ^ 0b111 << 30, 0]))
        for bit in draw(st.lists(st.integers(0, 63), max_size=6)):
            center ^= 1 << bit
        return center

    n_rows = draw(st.integers(0, 14))
    few = st.integers(0, 5)
    return [
        (draw(few), draw(st.integers(0, 3)), draw(st.integers(0, 20)), dhash(), draw(st.integers(0, 6)) > 0)
        for _ in range(n_rows)
    ]


@pytest.mark.parametrize("at_once", [8192, 2], ids=["at once", "in slices"])
def test_finds_what_comparing_all_pairs_finds(tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "SLICE", at_once)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(rows=some_rows(), near_bits=st.sampled_from([0, 1, 4, 7]), cut=st.integers(0, 14))
    def check(rows: list[Row], near_bits: int, cut: int) -> None:
        expected = brute(rows, near_bits)
        parts = saved(tmp_path, rows, min(cut, len(rows)))
        for mode, survivors in (("sample", "sample"), ("any", "group"), ("keep", None)):
            found = find_duplicates(parts, mode=mode, near_bits=near_bits)
            assert found["survivor"].tolist() == (expected[survivors] if survivors else list(range(len(rows))))
            assert found["group"].tolist() == expected["group"]
            assert found["image_group"].tolist() == expected["image_group"]
            first = {row[0]: number for number, row in reversed(list(enumerate(rows)))}
            assert found["id_taken"].tolist() == [first[row[0]] != number for number, row in enumerate(rows)]

    check()


def test_a_chain_counts_as_one_and_its_lowest_row_stays(tmp_path: Path) -> None:
    chain = [BASE ^ ((1 << 3 * step) - 1) for step in range(5)]  # 3 bits from one to the next, 12 from end to end
    rows = [(number, 1, number, dhash, True) for number, dhash in enumerate(chain)]
    shuffled = [rows[number] for number in (4, 0, 2, 3, 1)]
    found = find_duplicates(saved(tmp_path, shuffled), mode="sample", near_bits=4)
    assert found["survivor"].tolist() == [0] * 5
    without_a_link = [row for row in shuffled if row[0] != 2]
    found = find_duplicates(saved(tmp_path, without_a_link), mode="sample", near_bits=4)
    assert found["survivor"].tolist() == [0, 1, 0, 1]


def test_a_link_by_another_text_is_none_for_samples(tmp_path: Path) -> None:
    ends = [BASE, BASE ^ 0b111, BASE ^ 0b111111]  # first and last are linked only by the one between
    rows = [(0, 1, 0, ends[0], True), (1, 2, 1, ends[1], True), (2, 1, 2, ends[2], True)]
    found = find_duplicates(saved(tmp_path, rows), mode="sample", near_bits=4)
    assert found["image_group"].tolist() == [0, 0, 0]
    assert found["survivor"].tolist() == [0, 1, 2]


def test_flat_pictures_are_near_by_their_bytes_only(tmp_path: Path) -> None:
    rows = [(0, 1, 7, 0, True), (1, 1, 8, 0, True), (2, 1, 7, 0, True)]
    found = find_duplicates(saved(tmp_path, rows), mode="sample", near_bits=16)
    assert found["survivor"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("dhash", "flat"),
    [
        (0, True),
        (2**64 - 1, True),
        (0x0000000C0C000800, True),  # 5 bits: something small on white, tweets 1083 and 1191
        (0xF0F0F0F0F0F0F0F0, True),  # bright in the middle: near to many others
        (0xF8F8F8F4F0F0F0F0, True),
        (0xCECECECECE4E4CCC, True),
        (0x000000929C008800, False),
        (0x3232337171713133, False),
        (BASE, False),
    ],
)
def test_hashes_that_say_too_little(dhash: int, flat: bool) -> None:
    assert is_flat(np.array([dhash], dtype=np.uint64)).tolist() == [flat]


def test_no_row_that_is_usable(tmp_path: Path) -> None:
    nothing_usable = saved(tmp_path, [(0, 0, 0, 0, False)] * 3)
    assert find_duplicates(nothing_usable, mode="any", near_bits=4)["group"].tolist() == [0, 1, 2]


def signed(rows: Sequence[Example]) -> np.ndarray:
    return np.array(list(map(signature, rows)), dtype=FIELDS)


def example(row: int, **facts: object) -> Example:
    return replace(Example(row, id=f"t{row}", spoken_text="good day", image=b"picture", image_dhash=BASE), **facts)


def test_signatures_of_examples_and_the_step(tmp_path: Path) -> None:
    examples = [
        example(0),
        example(1, spoken_text="another thing", image=b"other", image_dhash=BASE ^ 2**64 - 1),
        example(2, id="t0").reject("no-words"),
        example(3, spoken_text="Good day!", image=b"scaled", image_dhash=BASE ^ 1),
        example(4, spoken_text="good day", image=b"x", image_dhash=~BASE & 2**64 - 1, id="t1"),
    ]
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    save(paths[0], signed(examples[:2]))
    save(paths[1], signed(examples[2:]))
    save(tmp_path / "found.npy", find_duplicates(paths, mode="sample", near_bits=4))
    assert not list(tmp_path.glob("*.partial"))
    found = np.load(tmp_path / "found.npy", mmap_mode="r")
    first, other, rejected, again, same_id = (settled(each, found) for each in examples)
    assert (first.group, first.image_group, first.reason, first.id) == ("0", "0", "", "t0")
    assert (other.group, other.image_group, other.id) == ("0", "1", "t1")  # linked by the picture of row 4
    assert rejected == replace(examples[2], id="t0#2")
    assert (again.reason, again.detail, again.image) == ("duplicate", "of row 0", b"")
    assert (same_id.group, same_id.image_group, same_id.id) == ("0", "1", "t1#4")


def test_texts_without_a_normal_form_are_told_apart() -> None:
    marks = [example(0, spoken_text=text) for text in ("...", "!!!", "good  day", "good day")]
    keys = [text_key(each) for each in marks]
    assert keys[0] != keys[1]
    assert keys[2] == keys[3]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(["a", "a#1", "a#2", "a#3", "a#", "#1", "#", "", "3", None]), max_size=12),
    rejected=st.sets(st.integers(0, 11)),
)
def test_ids_end_up_unique(names: list[str | None], rejected: set[int], tmp_path: Path) -> None:
    names = [f"#{row}" if name is None else name for row, name in enumerate(names)]  # as a row without an id is called
    examples = [
        example(row, id=name, image=bytes([row]), spoken_text=f"number {row}", image_dhash=0)
        for row, name in enumerate(names)
    ]
    examples = [each.reject("no-words") if each.row in rejected else each for each in examples]
    save(tmp_path / "part.npy", signed(examples))
    found = find_duplicates([tmp_path / "part.npy"], mode="sample", near_bits=4)
    ids = [settled(each, found).id for each in examples]
    assert len(set(ids)) == len(ids)
    for name, given_id in zip(ids, names, strict=True):
        assert name == given_id or name.startswith(f"{given_id}#")


def many_rows(n_rows: int, kind: str) -> np.ndarray:
    """`mixed`: a tenth shares text, a tenth the picture nearly; else everything of one text, or all rows alike."""
    rng = np.random.default_rng(0)
    table = np.empty(n_rows, dtype=FIELDS)
    for name in ("id_key", "text_key", "picture_key", "dhash"):
        table[name] = rng.integers(0, 2**64, n_rows, dtype=np.uint64)
    table["usable"] = True
    copies, sources = rng.integers(0, n_rows, (2, n_rows // 10))
    if kind == "mixed":
        table["usable"] = rng.random(n_rows) > 0.02
        table["dhash"][copies] = table["dhash"][sources] ^ np.uint64(0b101)
        table["text_key"][copies[::2]] = table["text_key"][sources[::2]]
    else:
        table["text_key"] = 1
        # one bit from the one before: all in one component, all of one class
        table["dhash"] = np.bitwise_xor.accumulate(np.uint64(1) << rng.integers(0, 64, n_rows, dtype=np.uint64))
    if kind == "alike":
        table[1:] = table[0]
    return table


@pytest.mark.parametrize("kind", ["mixed", "one text", "alike"])
def test_memory_stays_below_64_bytes_a_row(tmp_path: Path, kind: str) -> None:
    n_rows = 100_000
    table = many_rows(n_rows, kind)
    parts = []
    for start in range(0, n_rows, 10_000):
        parts.append(tmp_path / f"{start}.npy")
        save(parts[-1], table[start : start + 10_000])
    del table
    near_bits = 1 if kind == "one text" else 4  # what is compared takes seconds there, whatever the memory
    find_duplicates(parts[:1], mode="sample", near_bits=near_bits)  # what is loaded only once is not counted
    tracemalloc.start()
    found = find_duplicates(parts, mode="sample", near_bits=near_bits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found["survivor"] != np.arange(n_rows)).any()
    assert peak <= 64 * n_rows


# --- pairs of hashes that are near, and components whatever the order -------------------------------------------------


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
    monkeypatch.setattr(duplicates, "_n_blocks", lambda n_hashes, bits: bits + more_blocks)
    monkeypatch.setattr(duplicates, "SLICE", 64)  # so that pairs lie across its bounds
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
    blocks = [duplicates._n_blocks(n_hashes, 4) for n_hashes in (100, 10**6, 10**8)]
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
    parents = np.arange(20)
    for part in np.array_split(pairs, 3):
        duplicates.join(parents, part[:, 0], part[:, 1])
    assert duplicates.flatten(parents).tolist() == lowest


@pytest.mark.parametrize("order", [1, -1], ids=["upwards", "downwards"])
def test_a_chain_of_a_hundred_thousand_is_joined_in_few_rounds(order: int) -> None:
    parents = np.arange(100_000)
    rows = np.arange(99_999)[::order]
    for part in np.array_split(rows, 20):
        duplicates.join(parents, part, part + 1)
    assert not duplicates.flatten(parents).any()  # rows that point only one step down would take minutes
