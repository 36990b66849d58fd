"""The binary division of a modality (paper Fig. 2): what is halved along which axis.

Nodes stand root first, parents before their halves; a leaf is one player.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import Modality
from .result import DivisionNode


def speech_division(n_units: int, mel_bands: int = 1) -> tuple[DivisionNode, ...]:
    """Return the division of speech: the list of units halved by count, its first half with the odd one.

    With mel bands, time and frequency in turn (the paper divides the spectrogram, a picture), time first; where one of
    them is down to one, the other goes on. Player numbers: unit * mel_bands + band.
    """
    return _block_division("speech", n_units, mel_bands, first_axis=0)


def grid_division(rows: int, columns: int) -> tuple[DivisionNode, ...]:
    """Return the division of a grid: rows and columns halved in turn, beginning with whichever there are more of.

    A square grid is first cut into top and bottom. The first half has the odd row or column.
    """
    return _block_division("image", rows, columns, first_axis=0 if rows >= columns else 1)


def superpixel_division(owners: npt.NDArray[np.int16]) -> tuple[DivisionNode, ...]:
    """Return the division of superpixels: halved at the median of their centres, along the axis on which these spread.

    Regions have no rows and columns to take turns with: each part is cut across its longer side, measured between its
    outermost centres (a tie: top from bottom). The first half, upper or left, has the odd region.

    Args:
        owners: int16 `[128, 128]` from `superpixel_owners`.
    """
    sizes = np.bincount(owners.ravel())
    places = np.indices(owners.shape).reshape(2, -1)
    centres = np.stack([np.bincount(owners.ravel(), place) / sizes for place in places])
    nodes: list[DivisionNode] = []

    def add(part: npt.NDArray[np.intp], parent: int) -> None:
        at = len(nodes)
        nodes.append(DivisionNode("image", parent, tuple(sorted(part.tolist()))))
        if len(part) == 1:
            return
        spread = np.ptp(centres[:, part], axis=1)
        along = centres[1 if spread[1] > spread[0] else 0, part]
        for half in np.array_split(part[np.lexsort((part, along))], 2):  # a tie: the lower number first
            add(half, at)

    add(np.arange(len(sizes)), -1)
    return tuple(nodes)


def _block_division(modality: Modality, rows: int, columns: int, *, first_axis: int) -> tuple[DivisionNode, ...]:
    """Return the division of `rows` x `columns` players, numbered row by row."""
    nodes: list[DivisionNode] = []

    def add(block: npt.NDArray[np.intp], axis: int, parent: int) -> None:
        at = len(nodes)
        nodes.append(DivisionNode(modality, parent, tuple(block.ravel().tolist())))
        if block.size == 1:
            return
        axis = axis if block.shape[axis] > 1 else 1 - axis
        for half in np.array_split(block, 2, axis):
            add(half, 1 - axis, at)

    add(np.arange(rows * columns).reshape(rows, columns), first_axis, -1)
    return tuple(nodes)


def fold_bands(values: npt.NDArray[Any], mel_bands: int) -> npt.NDArray[Any]:
    """Return values of units from values of players, `[n_units * mel_bands, ...]` -> `[n_units, ...]`: sums over bands.

    This is the paper's "averaging along the frequency axis" (section 3.3), up to a factor that is the same for all
    units: spread a player's value evenly over its pixels (m mels by f frames: each has value / (m f)), average over the
    128 mels of a frame (the bands give value / (m f) * m / 128 each, so their sum / (128 f)), and sum over the unit's f
    frames: the sum over its bands / 128. Without the 128, units still add up to the speech's value (Eq. 5).

    Only for what adds up: values and interactions, not standard errors.
    """
    folded: npt.NDArray[Any] = values.reshape(-1, mel_bands, *values.shape[1:]).sum(axis=1)
    return folded
