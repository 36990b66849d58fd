"""The game that the parts of a sample play on the network: scores of all pairings of speech masks and picture masks.

Because each branch of the network sees one modality only, a table of a speech masks x b picture masks costs a + b
passes through branches and a * b evaluations of the small head (design section 7). Each distinct mask of a window or
of the picture is computed once, in batches that shrink when memory runs out.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .. import audio
from ..calibration import softmax
from ..errors import InputError
from ..types import Modalities
from .parts import Budget
from .players import Players

if TYPE_CHECKING:
    from ..runtime import Model

Scores = npt.NDArray[np.float64]
Score = Literal["probability", "log-odds"]
Array = npt.NDArray[Any]
Masks = npt.NDArray[np.bool_]  # [n masks, n players]; True: the player is present
Rows = npt.NDArray[np.intp]

log = logging.getLogger(__name__)

_NOTE_EVERY_S = 10.0  # long work says how far it is
# Kept for a distinct mask besides its features: two keys, their places in a dict and a set, and its scores.
_MASK_BYTES = 400
# numpy and Python raise MemoryError. The others have no class that could be named without importing torch or ONNX
# Runtime: torch on a GPU ("CUDA out of memory"; its class OutOfMemoryError) and on a CPU ("can't allocate memory"),
# ONNX Runtime ("Failed to allocate memory for requested buffer"; C++'s own std::bad_alloc, on Windows "bad
# allocation"), whose exceptions arrive wrapped, with their text.
_OUT_OF_MEMORY = re.compile(r"out of memory|allocate memory|bad[_ ]alloc", re.IGNORECASE)
_PASS_ROWS = 32
_HEAD_ROWS = 4096  # rows of one batch through branches and through the head, where memory allows: more is no faster
_BATCH_SHARE = 4  # a batch takes at most this part of the memory
_INPUT_BYTES = 2**19  # a masked picture (196,608 bytes), its mask, and what a backend copies of them
# Head evaluations that an explanation may take: some four minutes of the bundled model's on two cores.
_MOST_HEAD_ROWS = 2**26
# Passes through a whole network that one may take: some ten minutes of a small network's on two cores.
_MOST_JOINT_PASSES = 2**16
_MB = 2**20


class NetworkGame:
    """The score of every class for every choice of players who are present.

    Absent players' cells are at the baseline, in the log-mel and in the picture. A recording of several windows is
    scored as `predict` does it: probabilities averaged over the windows, each of which sees the same picture. The
    sample's own temperature applies throughout, so that the score with everybody present is that of `predict`.

    Attributes:
        n_classes: classes that compete.
        speech: players of the speech; None where the sample has none, and the network hears silence.
        image: players of the picture; None where the sample has none, and the network sees black.
        memory_mb: most memory for features and batches, in MB (2^20 bytes); what the network takes comes on top.
    """

    def __init__(
        self,
        model: Model,
        speech: Players | None,
        image: Players | None,
        *,
        columns: Sequence[int],
        score: Score = "probability",
        memory_mb: int = 1024,
    ) -> None:
        """Set the game up; nothing is computed yet.

        `columns` are the classes that compete, two or more, as columns of the logits; `score` is the `probability` of a
        class, or its `log-odds`, log(p / (1 - p)); the others see above.
        """
        assert speech is not None or image is not None, "there is nothing to explain"
        self.n_classes, self.memory_mb, self.speech, self.image = len(columns), memory_mb, speech, image
        self._model, self._columns, self._score = model, list(columns), score
        self._modalities: Modalities = "image" if speech is None else "speech" if image is None else "both"
        self._batch_bytes = memory_mb * _MB // _BATCH_SHARE
        self._batches = Batches(min(_PASS_ROWS, self._batch_bytes // _INPUT_BYTES))
        self._head_batches: Batches | None = None  # sized when the width of the features is known
        hears, sees = (model.speech_branches, model.image_branches) if model.separable else (None, None)
        # Without speech there is one window, in which nothing is heard.
        self._windows: list[MaskedSignal | None] = [None]
        if speech is not None:
            self._windows = [MaskedSignal(speech, start, hears, self._batches) for start in speech.starts]
        self._picture = None if image is None else MaskedSignal(image, 0, sees, self._batches)
        self._heard: set[bytes] = set()
        self._n_evaluated = 0

    @property
    def budget(self) -> Budget:
        """What was asked for and computed so far."""
        n_windows = len(self._windows)
        if not self._model.separable:
            return Budget(joint_passes=self._n_evaluated, n_windows=n_windows)
        speech = len(self._heard) * n_windows
        image = 0 if self._picture is None else self._picture.n_distinct * n_windows
        n_run = sum(each.n_distinct for each in (*self._windows, self._picture) if each is not None)
        return Budget(speech, image, speech + image - n_run, 0, self._n_evaluated, n_windows)

    def table(self, speech_masks: Masks, image_masks: Masks) -> Scores:
        """Return the score of every pairing, float64 [a, b, n_classes].

        Branches run for masks that no earlier call asked about, the head for all pairings that differ in a window.

        Args:
            speech_masks: bool [a, m], True: present. [1, 0] where the sample has no speech.
            image_masks: bool [b, k] likewise.

        Raises:
            InputError: memory ran out on a single input.
        """
        for players, masks in ((self.speech, speech_masks), (self.image, image_masks)):
            wanted = (1, 0) if players is None else (len(masks), players.n)
            assert masks.shape == wanted, f"masks of shape {masks.shape}; expected {wanted}"
        nobody = np.zeros(1, np.intp)
        shown = nobody if self._picture is None else self._picture.numbered(image_masks)
        probs = np.zeros((len(speech_masks), len(shown), self.n_classes))
        for window in self._windows:
            # What differs only outside this window is the same in it.
            own = nobody if window is None else window.numbered(speech_masks)
            heard, back = np.unique(own, return_inverse=True)
            probs += self._pairings(window, heard, shown)[back]
        probs /= len(self._windows)
        if self.speech is not None:
            self._heard.update(_packed(speech_masks))
        if self._score == "probability":
            return probs
        # 1 - p as the sum of the other classes: near 1 a difference would lose all digits. Both stay above the
        # smallest float64, 2e-308, so that log-odds stay within 708 of 0 where logits are further apart than that.
        others = probs @ (1 - np.eye(self.n_classes))
        least = np.finfo(np.float64).tiny
        scores: Scores = np.log(np.maximum(probs, least)) - np.log(np.maximum(others, least))
        return scores

    def refuse_unless_fits(self, speech_masks: int, image_masks: int, pairings: int, *, method: str, mend: str) -> None:
        """Raise an error, before anything is computed, if a method needs more than `memory_mb`, or hours.

        Args:
            speech_masks: distinct masks that will be asked about; 1 where the sample has no speech.
            image_masks: likewise.
            pairings: scores that will be asked for.
            method: its name, for the error text.
            mend: what to do instead.

        Raises:
            InputError: says the numbers and `mend`.
        """
        needed = self._batch_bytes
        parts = []
        for name, players, signals, n_masks in (
            ("speech", self.speech, self._windows, speech_masks),
            ("picture", self.image, [self._picture], image_masks),
        ):
            if players is not None:
                parts.append(f"{players.n} {name} parts ({_said(n_masks)} masks)")
                needed += n_masks * players.n  # the masks themselves, a byte a player
                needed += sum(each.bytes_for(n_masks, players.n) for each in signals if each is not None)
        evaluations = pairings * len(self._windows)
        most, unit = (_MOST_HEAD_ROWS, "head evaluations") if self._model.separable else (_MOST_JOINT_PASSES, "passes")
        wrong = []
        if evaluations > most:
            wrong.append(f"{_said(evaluations)} {unit} (allowed: {_said(most)})")
        if needed > self.memory_mb * _MB:
            wrong.append(f"{_said(-(-needed // _MB))} MB (allowed: --memory-mb {self.memory_mb})")
        if wrong:
            raise InputError(f"--method {method} of {' and '.join(parts)} takes {' and '.join(wrong)}. Mend: {mend}.")

    def _pairings(self, window: MaskedSignal | None, heard: Rows, shown: Rows) -> Scores:
        """Return the probabilities of all pairings of numbered masks, `[a, b, n_classes]`.

        A network that crosses its modalities early takes a pass of all of it for each; else the head goes on from the
        kept features of the branches.
        """
        run: Callable[..., Array] = self._model.head if self._model.separable else self._model.logits
        batches, n = self._batches, len(heard) * len(shown)

        def compute(batch: slice) -> tuple[Scores]:
            places = np.divmod(np.arange(batch.start, batch.stop), len(shown))
            speech = None if window is None else window.rows(heard[places[0]])
            image = None if self._picture is None else self._picture.rows(shown[places[1]])
            # As `predict` does it: only the chosen classes compete.
            return (softmax(run(speech, image, modalities=self._modalities)[:, self._columns]),)

        if self._model.separable:
            if self._head_batches is None:
                there = [each for each in (window, self._picture) if each is not None]
                # Twice: gathered here, and once more inside the backend.
                row_bytes = 2 * sum(part.nbytes for each in there for part in each.rows(np.zeros(1, np.intp)))
                self._head_batches = Batches(min(_HEAD_ROWS, self._batch_bytes // row_bytes))
            batches = self._head_batches
        self._n_evaluated += n
        probs = batches.run(n, compute)[0] if n else np.zeros(0)
        return probs.reshape(len(heard), len(shown), self.n_classes)


class MaskedSignal:
    """One window or the picture; remembers the branch features of every distinct mask that it was asked about.

    Masks are told apart by the players who own something here: two that differ only elsewhere are one.
    """

    def __init__(
        self, own: Players, start: int, branches: Callable[[Array], tuple[Array, Array]] | None, batches: Batches
    ) -> None:
        """Take the window of 128 columns from `start` on; `branches` is None where the network's do not separate."""
        cut = (..., slice(start, start + audio.N_FRAMES))
        owners, self._signal, self._baseline = own.owners[cut], own.signal[cut], own.baseline[cut]
        self._players: Rows = np.unique(owners[owners >= 0]).astype(np.intp)
        # Nobody's cells look up one column more, which is always True.
        self._columns = np.where(owners >= 0, np.searchsorted(self._players, owners), len(self._players))
        self._branches, self._batches = branches, batches
        self._numbers: dict[bytes, int] = {}
        self._kept: tuple[Array, ...] = ()  # features by number; without branches the masks themselves

    @property
    def n_distinct(self) -> int:
        """How many distinct masks were asked about."""
        return len(self._numbers)

    def numbered(self, masks: Masks) -> Rows:
        """Return the number of each mask `[n, players of the whole modality]`, once the features of all are known.

        Raises:
            InputError: memory ran out on a single input.
        """
        keys = _packed(masks[:, self._players])
        new = {key: at for at, key in enumerate(keys) if key not in self._numbers}
        if new:
            fresh: tuple[Array, ...] = (masks[list(new.values())],)
            if self._branches is not None:
                run, asked = self._branches, fresh[0]
                fresh = self._batches.run(len(asked), lambda batch: run(self._inputs(asked[batch])))
            known = self._kept or tuple(own[:0] for own in fresh)
            self._kept = tuple(np.concatenate(pair) for pair in zip(known, fresh, strict=True))
        # Only now, so that a failure leaves no number without features.
        self._numbers.update(zip(new, range(self.n_distinct, self.n_distinct + len(new)), strict=True))
        return np.array([self._numbers[key] for key in keys], np.intp)

    def rows(self, numbers: Rows) -> Any:
        """Return the branch features of masks by their numbers; without branches the masked signals."""
        kept = tuple(own[numbers] for own in self._kept)
        return self._inputs(kept[0]) if self._branches is None else kept

    def _inputs(self, masks: Masks) -> Array:
        """Return the signal with absent players' cells at the baseline, float32 [n masks, channels, 128, 128]."""
        present = np.ones((len(masks), len(self._players) + 1), np.bool_)
        present[:, :-1] = masks[:, self._players]
        return np.where(present[:, self._columns][:, None], self._signal, self._baseline)

    def bytes_for(self, n_masks: int, n_players: int) -> int:
        """Return how much memory `n_masks` distinct masks of the whole modality would take here, from above.

        Counted are all of them, or all choices of the players in here where these are fewer.
        """
        if not self._kept:
            self.numbered(np.ones((1, n_players), np.bool_))  # every method asks about it; tells the features' size
        each: int = _MASK_BYTES + sum(own[0].nbytes for own in self._kept)
        return min(n_masks, 1 << len(self._players)) * each


class Batches:
    """Runs many rows in batches of `size`, and in smaller ones from then on when memory runs out."""

    def __init__(self, size: int) -> None:
        """Begin with batches of `size` rows, of one where that is less."""
        self.size = max(1, size)

    def run(self, n: int, compute: Callable[[slice], tuple[Array, ...]]) -> tuple[Array, ...]:
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
            at, now = batch.stop, time.monotonic()
            if now - said > _NOTE_EVERY_S and at < n:
                said, left_s = now, (now - started) * (n - at) / at
                log.info("%s of %s masked inputs, about %.0f s left", f"{at:,}", f"{n:,}", left_s)
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _packed(masks: Masks) -> list[bytes]:
    """Return a key for each mask: its bits."""
    return [row.tobytes() for row in np.packbits(masks, axis=1)]


def _out_of_memory(error: BaseException | None) -> bool:
    """Return True where an exception, or what caused it, says that memory ran out."""
    while error is not None and not (isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error))):
        error = error.__cause__
    return error is not None


def _said(n: int) -> str:
    """Return a count in words that fit a line, however large."""
    return f"{n:,}" if n < 10**15 else f"some 10^{int(math.log10(n))}"
