"""Do our rows stand in the paper's order? Rank agreement of two lists of figures of the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """How far two rankings agree.

    Attributes:
        n: rows.
        same_order: pairs of rows that stand in the same order in both.
        n_pairs: pairs of rows.
        kendall: tau-b, -1 to 1; None where one list has one value only.
        kendall_p: its exact two-sided p value (asymptotic with ties); None where `kendall` is.
        spearman: rho, -1 to 1; None where one list has one value only.
        swapped: pairs (higher in the first list, lower in the second) by place in the lists.
    """

    n: int
    same_order: int
    n_pairs: int
    kendall: float | None
    kendall_p: float | None
    spearman: float | None
    swapped: tuple[tuple[int, int], ...]


def rank_agreement(first: Sequence[float], second: Sequence[float]) -> RankAgreement:
    """Return how far the order of the same rows agrees in two lists; two rows at least.

    A pair that is tied in either list stands in the same order in neither.
    """
    from scipy.stats import kendalltau, spearmanr

    assert len(first) == len(second) >= 2, "two figures of each row, of two rows at least"
    pairs = list(itertools.combinations(range(len(first)), 2))
    signs = [(first[i] - first[j]) * (second[i] - second[j]) for i, j in pairs]
    swapped = [(i, j) if first[i] > first[j] else (j, i) for (i, j), sign in zip(pairs, signs, strict=True) if sign < 0]
    if len(set(first)) == 1 or len(set(second)) == 1:
        return RankAgreement(len(first), sum(s > 0 for s in signs), len(pairs), None, None, None, tuple(swapped))
    tau = kendalltau(first, second)
    return RankAgreement(
        n=len(first),
        same_order=sum(sign > 0 for sign in signs),
        n_pairs=len(pairs),
        kendall=float(tau.statistic),
        kendall_p=float(tau.pvalue),
        spearman=float(spearmanr(first, second).statistic),
        swapped=tuple(swapped),
    )
