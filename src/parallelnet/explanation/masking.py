"""Masked signals, each distinct mask computed once, in batches that shrink when memory runs out."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError

Array = npt.NDArray[np.float32]
Branches = tuple[Array, Array]
"""Outputs of N1 and N2 of one modality, each float32 [n, embed_dim]."""
Masks = npt.NDArray[np.bool_]
"""[n masks, n players]; True: the player is present."""
Rows = npt.NDArray[np.intp]

log = logging.getLogger(__name__)

_NOTE_EVERY_S = 10.0  # long work says how far it is
_MASK_BYTES = 400
"""Kept for a distinct mask besides its features: two keys, their places in a dict and a set, and its scores."""
# numpy and Python raise MemoryError. The others have no class that could be named without importing torch or ONNX
# Runtime: torch on a GPU ("CUDA out of memory"; its class OutOfMemoryError) and on a CPU ("can't allocate memory"),
# ONNX Runtime ("Failed to allocate memory for requested buffer"; C++'s own std::bad_alloc, on Windows "bad
# allocation"), whose exceptions arrive wrapped, with their text.
_OUT_OF_MEMORY = re.compile(r"out of memory|allocate memory|bad[_ ]alloc", re.IGNORECASE)


class Batches:
    """Runs many rows in batches, and in smaller ones from then on when memory runs out.

    Attributes:
        size: rows in a batch.
    """

    def __init__(self, size: int) -> None:
        """Begin with batches of `size` rows, 1 or more."""
        self.size = size

    def run(self, n: int, compute: Callable[[slice], tuple[npt.NDArray[Any], ...]]) -> tuple[npt.NDArray[Any], ...]:
        """Return the joined outputs of `compute` over rows 0 to n - 1; n is 1 or more.

        Raises:
            InputError: memory ran out on a single row.
        """
        parts = []
        at = 0
        started = said = time.monotonic()
        while at < n:
            batch = slice(at, min(at + self.size, n))
            try:
                parts.append(compute(batch))
            except Exception as error:
                if not _out_of_memory(error):
                    raise
                if batch.stop - at == 1:
                    raise InputError(
                        "Memory ran out on a single masked input. Mend: end other programs, or take another --device."
                    ) from error
                self.size = (batch.stop - at) // 2
                continue
            at = batch.stop
            now = time.monotonic()
            if now - said > _NOTE_EVERY_S and at < n:
                said = now
                log.info(
                    "%s of %s masked inputs, about %.0f s left", f"{at:,}", f"{n:,}", (now - started) * (n - at) / at
                )
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


class MaskedSignal:
    """One window or the picture; remembers the branch features of every distinct mask that it was asked about.

    Masks are told apart by the players who own something here: two that differ only elsewhere are one.
    """

    def __init__(
        self,
        signal: Array,
        baseline: Array,
        owners: npt.NDArray[np.int16],
        branches: Callable[[Array], Branches] | None,
        batches: Batches,
    ) -> None:
        """Take the signal; nothing is computed yet.

        Args:
            signal: float32 [channels, 128, 128].
            baseline: what absent players' cells are replaced by, of the same shape.
            owners: the player of each cell, [128, 128]; cells of owner -1 are never replaced.
            branches: computes features of masked signals; None where the network's branches do not separate.
            batches: how many at a time.
        """
        self._players: Rows = np.unique(owners[owners >= 0]).astype(np.intp)
        self._signal = signal
        self._baseline = baseline
        # Nobody's cells look up one column more, which is always True.
        self._columns = np.where(owners >= 0, np.searchsorted(self._players, owners), len(self._players))
        self._branches = branches
        self._batches = batches
        self._numbers: dict[bytes, int] = {}
        self._features: tuple[Array, ...] = ()

    @property
    def n_distinct(self) -> int:
        """How many distinct masks were asked about."""
        return len(self._numbers)

    def numbered(self, masks: Masks) -> Rows:
        """Return the number of each mask, 0 to `n_distinct` - 1, once the features of all of them are known.

        Args:
            masks: bool [n, players of the whole modality].

        Raises:
            InputError: memory ran out on a single input.
        """
        keys = packed(masks[:, self._players])
        new: dict[bytes, int] = {}
        for at, key in enumerate(keys):
            if key not in self._numbers:
                new.setdefault(key, at)
        if new and self._branches is not None:
            run, fresh = self._branches, masks[list(new.values())]
            features = self._batches.run(len(fresh), lambda batch: run(self.inputs(fresh[batch])))
            known = self._features or tuple(own[:0] for own in features)
            self._features = tuple(np.concatenate(pair) for pair in zip(known, features, strict=True))
        # Only now, so that a failure leaves no number without features.
        self._numbers.update(zip(new, range(self.n_distinct, self.n_distinct + len(new)), strict=True))
        return np.array([self._numbers[key] for key in keys], np.intp)

    def inputs(self, masks: Masks) -> Array:
        """Return the signal with absent players' cells at the baseline, float32 [n masks, channels, 128, 128]."""
        present = np.ones((len(masks), len(self._players) + 1), np.bool_)
        present[:, :-1] = masks[:, self._players]
        return np.where(present[:, self._columns][:, None], self._signal, self._baseline)

    def features(self, numbers: Rows) -> Branches:
        """Return the branch features of masks by their numbers."""
        first, second = self._features
        return first[numbers], second[numbers]

    def bytes_for(self, n_masks: int, n_players: int) -> int:
        """Return how much memory `n_masks` distinct masks of the whole modality would take here, from above.

        Counted are all of them, or all choices of the players in here where these are fewer.
        """
        if not self._features and self._branches is not None:
            self.numbered(np.ones((1, n_players), np.bool_))  # every method asks about it; tells the features' size
        each: int = _MASK_BYTES + sum(kept[0].nbytes for kept in self._features)
        choices: int = 1 << len(self._players)
        return min(n_masks, choices) * each


def packed(masks: Masks) -> list[bytes]:
    """Return a key for each mask: its bits."""
    bits = np.packbits(masks, axis=1)
    width, joined = bits.shape[1], bits.tobytes()
    return [joined[at * width : (at + 1) * width] for at in range(len(bits))]


def _out_of_memory(error: BaseException | None) -> bool:
    """Return True where an exception, or what caused it, says that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__
    return False
