"""The rows of the paper's Table 1 and of the studies that its text reports, as data.

A row says what is trained (or which method answers) and what the paper prints; how networks are trained is the same for
all of a table, but for a row whose question is the recipe itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from parallelnet.errors import OptionError, unknown
from parallelnet.options import Recipe

RATE_STEP = 10.0
"""How far the low and the high rate of section 5.4 lie from the table's own. The paper names neither; a step of ten is
what its own ReduceLROnPlateau takes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        key: names the row in the JSON, in `--rows`, and its folder of runs.
        title: names it in the table.
        variant: entry of `models.variants.VARIANTS` that is trained; "" where a method answers.
        source: where the paper speaks of it, or who published the method.
        printed: the paper's accuracy in percent; None where it prints none.
        rate_factor: what the recipe's learning rate is multiplied by.
        dropped: part of the samples that lack a modality in training; None leaves the recipe's.
        method: what answers in place of a trained variant: from a `study.FoldTask` to probabilities of its test part,
            [n, n_classes], and what was chosen, counted and spent, ready for JSON.
        uses: what of a sample a method gets when it is tested: words, speech, picture.
        start: the weights that a method's picture network starts from.
        depends: options that a method's answers depend on, beside those of the whole table.
    """

    key: str
    title: str
    variant: str
    source: str
    printed: float | None = None
    rate_factor: float = 1.0
    dropped: float | None = None
    method: Callable[[Any], Any] | None = None
    uses: tuple[str, ...] = ()
    start: Literal["none", "imagenet"] = "none"
    depends: tuple[str, ...] = ()

    def recipe(self, table: Recipe) -> Recipe:
        """Return how this row learns: as the table's other rows, but for its own rate and dropout."""
        dropout = table.modality_dropout if self.dropped is None else self.dropped
        return replace(table, learning_rate=table.learning_rate * self.rate_factor, modality_dropout=dropout)


def index(*rows: Row) -> dict[str, Row]:
    """Return the rows by key."""
    return {row.key: row for row in rows}


TABLE1: dict[str, Row] = index(
    Row("ser-only", "SER only", "ser-only", "Table 1; section 4.3.1", 60.17),
    Row("ier-only", "IER only", "ier-only", "Table 1; section 4.3.1", 66.93),
    Row("baseline-1", "Baseline 1: criss-cross before and after N2", "baseline-1", "Table 1; section 4.3.2", 63.93),
    Row("baseline-2", "Baseline 2: criss-cross before N2", "baseline-2", "Table 1; section 4.3.2", 61.81),
    Row("baseline-3", "Baseline 3: criss-cross after N2", "baseline-3", "Table 1; section 4.3.2", 67.70),
    Row("parallelnet", "Proposed (ParallelNet)", "parallelnet", "Table 1; section 3.2", 83.29),
)
"""The six rows that the paper prints, in its order. Baselines 1 to 3 are the study of configurations 1 to 3, too."""

_N2 = "section 4.3.2, choices for N2"
_RATES = "section 5.4, ResNet"

STUDIES: dict[str, Row] = index(
    Row("additive", "F_i and F_s added, not multiplied", "parallelnet-additive", "section 3.2.1"),
    Row("parallelnet-vgg16", "N2: VGG-16", "parallelnet-vgg16", _N2),
    Row("parallelnet-vgg19", "N2: VGG-19", "parallelnet-vgg19", _N2),
    Row("parallelnet-resnet34", "N2: ResNet-34", "parallelnet-resnet34", _N2),
    Row("parallelnet-resnet50", "N2: ResNet-50", "parallelnet-resnet50", _N2),
    Row("parallelnet-resnet101", "N2: ResNet-101", "parallelnet-resnet101", _N2),
    Row("parallelnet-inception3a", "N2: Inception 3a", "parallelnet-inception3a", _N2),
    Row("parallelnet-inception4a", "N2: Inception 4a", "parallelnet-inception4a", _N2),
    Row("parallelnet-mobilenet", "N2: MobileNet", "parallelnet-mobilenet", _N2),
    Row("parallelnet-densenet", "N2: DenseNet", "parallelnet-densenet", _N2),
    Row("resnet34-low-rate", "N2: ResNet-34, low rate", "parallelnet-resnet34", _RATES, rate_factor=1 / RATE_STEP),
    Row("resnet34-high-rate", "N2: ResNet-34, high rate", "parallelnet-resnet34", _RATES, rate_factor=RATE_STEP),
)
"""What the text reports without figures: families of N2, the fusion, the rate of ResNet (the smallest it names)."""

ROWS: dict[str, Row] = TABLE1 | STUDIES

PAIRS_OF_INTEREST: tuple[tuple[str, str], ...] = (
    ("baseline-3", "baseline-1"),
    ("baseline-3", "baseline-2"),
    ("ier-only", "ser-only"),
)
"""Differences (first minus second) that the text claims beside those of `parallelnet` and every other row: that
configuration 3 is the best of three, and that pictures alone do better than speech alone."""


def chosen(keys: Sequence[str], rows: Mapping[str, Row], otherwise: Mapping[str, Row]) -> tuple[Row, ...]:
    """Return the named rows in the order of the table, or `otherwise` where none is named.

    Raises:
        OptionError: no such row, or one that stands there twice.
    """
    for key in keys:
        if key not in rows:
            raise unknown("row", key, rows, "--rows")
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise OptionError(f"--rows names {twice[0]!r} twice; allowed: each row once.")
    return tuple(row for row in rows.values() if row.key in (keys or otherwise))
