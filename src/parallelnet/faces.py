"""Faces of an image: their boxes, largest first, from a small network of our own on ONNX Runtime.

`runs/face_search.py` trained it, and `face_search/README.md` beside the graph says on what. It is fully convolutional
and has no anchors: each cell of three grids says how sure it is of a face around it, and how far its four edges are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 320  # pixels that the longer side is brought to: faces from a thirtieth of it on are found
THRESHOLD = 0.5  # chosen on 350 pictures of tweets that were kept out of training
OVERLAP = 0.4  # intersection over union: from here on, two boxes are one face
GRAPH = Path(__file__).parent / "face_search" / "faces.onnx"
_STRIDES = (8, 16, 32)  # pixels a cell of each grid is wide
_ENOUGH = 4 * SIDE  # pixels: of larger pictures every second, third, ... pixel is looked at before they are shrunk

Boxes = npt.NDArray[np.float32]
"""[n, 4]: left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face in an image.

    Attributes:
        box: left, top, width, height in pixels of the image, from brow to chin and ear to ear; inside the image.
        score: how sure the search is, `THRESHOLD` to 1.
    """

    box: tuple[int, int, int, int]
    score: float


def find(rgb: npt.NDArray[np.uint8]) -> list[Face]:
    """Return the faces of an image, uint8 `[h, w, 3]`, upright; the largest first, of equal ones the upper, left one.

    Frontal and half-turned faces, tilted by up to 30 degrees, from about a thirtieth of the longer side on.
    """
    height, width = rgb.shape[:2]
    step = max(1, max(height, width) // _ENOUGH)
    small = Image.fromarray(np.ascontiguousarray(rgb[::step, ::step]))
    scale = SIDE / max(height, width)
    fitted = np.asarray(
        small.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR)
    )
    boxes, scores = _judged(fitted)
    kept = _distinct(boxes, scores)
    edges = np.array([width, height, width, height])
    found = np.clip(np.rint(boxes[kept] / scale), 0, edges).astype(int)
    faces = [
        Face((left, top, right - left, bottom - top), round(score, 4))
        for (left, top, right, bottom), score in zip(found.tolist(), scores[kept].tolist(), strict=True)
        if right > left and bottom > top
    ]
    return sorted(faces, key=lambda face: (-face.box[2] * face.box[3], face.box[1], face.box[0]))


def _judged(fitted: npt.NDArray[np.uint8]) -> tuple[Boxes, npt.NDArray[np.float32]]:
    # Boxes in pixels of `fitted` and their scores, from the threshold on.
    rows, columns = (-(-side // _STRIDES[-1]) * _STRIDES[-1] for side in fitted.shape[:2])
    canvas = np.zeros((1, 3, rows, columns), np.float32)
    canvas[0, :, : fitted.shape[0], : fitted.shape[1]] = fitted.transpose(2, 0, 1)
    boxes, scores = [], []
    for stride, grid in zip(_STRIDES, _session().run(None, {"image": canvas}), strict=True):
        score = 1 / (1 + np.exp(-grid[0, 0]))
        row, column = np.nonzero(score >= THRESHOLD)
        left, top, right, bottom = np.exp(grid[0, 1:, row, column].T)
        x, y = column + np.float32(0.5), row + np.float32(0.5)
        boxes.append(np.stack([x - left, y - top, x + right, y + bottom], axis=1) * np.float32(stride))
        scores.append(score[row, column])
    return np.concatenate(boxes), np.concatenate(scores)


def _distinct(boxes: Boxes, scores: npt.NDArray[np.float32]) -> list[int]:
    # Places of the surest boxes, without those that overlap a surer one.
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    kept, left = [], np.argsort(-scores, kind="stable")
    while len(left):
        first, left = int(left[0]), left[1:]
        kept.append(first)
        sides = np.minimum(boxes[first, 2:], boxes[left, 2:]) - np.maximum(boxes[first, :2], boxes[left, :2])
        shared = sides.clip(0).prod(axis=1)
        left = left[shared < OVERLAP * (areas[first] + areas[left] - shared)]
    return kept


@cache
def _session() -> Any:
    import onnxruntime  # telemetry is off before this line: see parallelnet/__init__.py

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # files are decoded side by side already, and one pass takes a few milliseconds
    return onnxruntime.InferenceSession(str(GRAPH), options, providers=["CPUExecutionProvider"])
