"""The game that the parts of a sample play on the network: scores of all pairings of speech masks and picture masks.

Because each branch of the network sees one modality only, a table of a speech masks x b picture masks costs a + b
passes through branches and a * b evaluations of the small head (design section 7).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from .. import audio
from ..calibration import softmax
from ..errors import InputError
from ..types import Modalities
from .masking import Array, Batches, Branches, MaskedSignal, Masks, Rows, packed
from .parts import Budget
from .players import ImageSignal, Players, SpeechSignal

Scores = npt.NDArray[np.float64]
Score = Literal["probability", "log-odds"]

_PASS_ROWS = 32
_HEAD_ROWS = 4096
"""Rows of one batch through branches and through the head, where memory allows: more is no faster."""
_BATCH_SHARE = 4
"""A batch takes at most this part of the memory."""
_INPUT_BYTES = 2**19
"""A masked picture (196,608 bytes), its mask, and what a backend copies of them."""
_MOST_HEAD_ROWS = 2**26
"""Head evaluations that an explanation may take: some four minutes of the bundled model's on two cores."""
_MOST_JOINT_PASSES = 2**16
"""Passes through a whole network that one may take: some ten minutes of a small network's on two cores."""
_MB = 2**20


class Game(Protocol):
    """Scores of every class for every choice of players who are present."""

    n_classes: int
    speech: Players | None
    image: Players | None

    def table(self, speech_masks: Masks, image_masks: Masks) -> Scores:
        """Return the score of every pairing, float64 [a, b, n_classes].

        Args:
            speech_masks: bool [a, m], True: present. [1, 0] where the sample has no speech.
            image_masks: bool [b, k] likewise.
        """

    def refuse_unless_fits(self, speech_masks: int, image_masks: int, pairings: int, *, method: str, mend: str) -> None:
        """Raise an error, before anything is computed, if a method asks for more than this game can give.

        Args:
            speech_masks: distinct masks that will be asked about; 1 where the sample has no speech.
            image_masks: likewise.
            pairings: scores that will be asked for.
            method: its name, for the error text.
            mend: what to do instead.

        Raises:
            InputError: says the numbers and `mend`.
        """


class Network(Protocol):
    """What the game needs of a model (design section 5); `runtime.Model` is one."""

    separable: bool

    def speech_branches(self, speech: Array) -> Branches:
        """Return (N1_s, N2_s) of windows [n, 1, 128, 128]."""

    def image_branches(self, image: Array) -> Branches:
        """Return (N1_i, N2_i) of pictures [n, 3, 128, 128]."""

    def head(self, speech: Branches | None, image: Branches | None, *, modalities: Modalities | None) -> Array:
        """Return calibrated logits [n, n_classes] of branches."""

    def logits(self, speech: Array | None, image: Array | None, *, modalities: Modalities | None) -> Array:
        """Return calibrated logits [n, n_classes] of signals."""


class NetworkGame:
    """The game on a network: a `Game`.

    Absent players' cells are at the baseline, in the log-mel and in the picture. A recording of several windows is
    scored as `predict` does it: probabilities averaged over the windows, each of which sees the same picture. The
    sample's own temperature applies throughout, so that the score with everybody present is that of `predict`.

    Attributes:
        n_classes: classes that compete.
        speech: players of the speech; None where the sample has none.
        image: players of the picture, likewise.
        memory_mb: most memory for features and batches, in MB (2^20 bytes); what the network takes comes on top.
    """

    def __init__(
        self,
        model: Network,
        speech: SpeechSignal | None,
        image: ImageSignal | None,
        *,
        columns: Sequence[int],
        score: Score = "probability",
        memory_mb: int = 1024,
    ) -> None:
        """Set the game up; nothing is computed yet.

        Args:
            model: the network.
            speech: None where the sample has none; the network then hears silence, whatever the baseline.
            image: None where the sample has none; the network then sees black.
            columns: the classes that compete, as columns of the logits; two or more.
            score: `probability` of a class, or `log-odds` of it: log(p / (1 - p)).
            memory_mb: see above.
        """
        assert speech is not None or image is not None, "there is nothing to explain"
        self.n_classes = len(columns)
        self.memory_mb = memory_mb
        self._model = model
        self._columns = list(columns)
        self._score = score
        self.speech = None if speech is None else speech.players
        self.image = None if image is None else image.players
        self._modalities: Modalities = "image" if speech is None else "speech" if image is None else "both"
        self._batch_bytes = memory_mb * _MB // _BATCH_SHARE
        self._batches = Batches(max(1, min(_PASS_ROWS, self._batch_bytes // _INPUT_BYTES)))
        self._head_batches: Batches | None = None  # sized when the width of the features is known
        hears, sees = (model.speech_branches, model.image_branches) if model.separable else (None, None)
        # Without speech there is one window, in which nothing is heard.
        self._windows: list[MaskedSignal | None] = [None]
        self._picture: MaskedSignal | None = None
        if speech is not None:
            mel, baseline, owners = speech.mel[None], speech.baseline[None], speech.players.owners
            cuts = [(..., slice(at, at + audio.N_FRAMES)) for at in speech.starts]
            self._windows = [MaskedSignal(mel[cut], baseline[cut], owners[cut], hears, self._batches) for cut in cuts]
        if image is not None:
            self._picture = MaskedSignal(image.pixels, image.baseline, image.players.owners, sees, self._batches)
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
        """Return the score of every pairing, float64 [a, b, n_classes]; see `Game.table`.

        Branches run for masks that no earlier call asked about, the head for all pairings that differ in a window.

        Raises:
            InputError: memory ran out on a single input.
        """
        for players, masks in ((self.speech, speech_masks), (self.image, image_masks)):
            wanted = (1, 0) if players is None else (len(masks), players.n)
            assert masks.shape == wanted, f"masks of shape {masks.shape}; expected {wanted}"
        shown = _numbers(self._picture, image_masks)
        total = np.zeros((len(speech_masks), len(image_masks), self.n_classes))
        for window in self._windows:
            # What differs only outside this window is the same in it.
            heard, first, back = np.unique(_numbers(window, speech_masks), return_index=True, return_inverse=True)
            if self._model.separable:
                probs = self._by_head(window, heard, shown)
            else:
                probs = self._by_joint_passes(window, speech_masks[first], image_masks)
            total += probs.reshape(len(heard), len(shown), self.n_classes)[back]
        if self.speech is not None:
            self._heard.update(packed(speech_masks))
        return self._scored(total / len(self._windows))

    def refuse_unless_fits(self, speech_masks: int, image_masks: int, pairings: int, *, method: str, mend: str) -> None:
        """Raise an error if a method needs more than `memory_mb`, or hours; see `Game.refuse_unless_fits`.

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

    def _by_head(self, window: MaskedSignal | None, heard: Rows, shown: Rows) -> Scores:
        """Return the probabilities of all pairings of numbered masks, [a * b, n_classes], from kept features."""

        def compute(batch: slice) -> tuple[Scores]:
            s, i = np.divmod(np.arange(batch.start, batch.stop), len(shown))
            speech = None if window is None else window.features(heard[s])
            image = None if self._picture is None else self._picture.features(shown[i])
            return (self._probs(self._model.head(speech, image, modalities=self._modalities)),)

        if self._head_batches is None:
            there = [each for each in (window, self._picture) if each is not None]
            # Twice: gathered here, and once more inside the backend.
            row_bytes = 2 * sum(part.nbytes for each in there for part in each.features(np.zeros(1, np.intp)))
            self._head_batches = Batches(max(1, min(_HEAD_ROWS, self._batch_bytes // row_bytes)))
        return self._evaluated(self._head_batches, len(heard) * len(shown), compute)

    def _by_joint_passes(self, window: MaskedSignal | None, speech_masks: Masks, image_masks: Masks) -> Scores:
        """Return the same where the network crosses its modalities early: a pass of all of it for each pairing."""

        def compute(batch: slice) -> tuple[Scores]:
            s, i = np.divmod(np.arange(batch.start, batch.stop), len(image_masks))
            speech = None if window is None else window.inputs(speech_masks[s])
            image = None if self._picture is None else self._picture.inputs(image_masks[i])
            return (self._probs(self._model.logits(speech, image, modalities=self._modalities)),)

        return self._evaluated(self._batches, len(speech_masks) * len(image_masks), compute)

    def _evaluated(self, batches: Batches, n: int, compute: Callable[[slice], tuple[Scores]]) -> Scores:
        if n == 0:
            return np.zeros((0, self.n_classes))
        self._n_evaluated += n
        return batches.run(n, compute)[0]

    def _probs(self, logits: Array) -> Scores:
        # As `predict` does it: only the chosen classes compete.
        return softmax(logits[:, self._columns])

    def _scored(self, probs: Scores) -> Scores:
        if self._score == "probability":
            return probs
        # 1 - p as the sum of the other classes: near 1 a difference would lose all digits. Both stay above the
        # smallest float64, 2e-308, so that log-odds stay within 708 of 0 where logits are further apart than that.
        others = probs @ (1 - np.eye(self.n_classes))
        least = np.finfo(np.float64).tiny
        scores: Scores = np.log(np.maximum(probs, least)) - np.log(np.maximum(others, least))
        return scores


def _numbers(signal: MaskedSignal | None, masks: Masks) -> Rows:
    """Return the masks' numbers; of a modality that is not there, that of its only one."""
    return np.zeros(1, np.intp) if signal is None else signal.numbered(masks)


def _said(n: int) -> str:
    """Return a count in words that fit a line, however large."""
    return f"{n:,}" if n < 10**15 else f"some 10^{int(math.log10(n))}"
