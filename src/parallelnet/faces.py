"""Faces of an image: their boxes, largest first, from two small networks of our own on ONNX Runtime.

The first is fully convolutional: each cell of three grids says how sure it is of a face around it, and how far its four
edges are. The second looks at each such box at the image's own resolution, and says whether it is a face, and where.
`runs/faces` trained them; `face_search/README.md` beside the graphs says on what.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 256  # pixels that the longer side is brought to: faces from a twentieth of it on are found
PROPOSED = 0.15  # score from which on the second network looks at a box
MOST = 16  # boxes that it looks at, the surest: half a millisecond each
THRESHOLD = 0.95  # on 350 images of tweets that were kept out of training: precision 0.94 beside the teacher
OVERLAP = 0.4  # intersection over union: from here on, two boxes are one face
FOLDER = Path(__file__).parent / "face_search"
_STRIDES = (8, 16, 32)  # pixels a cell of each grid is wide
_CROP, _AROUND = 56, 1.6  # pixels of what the second network sees, and its side over the box's: `runs/faces/second.py`
_ENOUGH = 4 * SIDE  # pixels: of larger images every second, third, ... pixel is looked at before they are shrunk

Boxes = npt.NDArray[np.float32]
"""[n, 4]: left, top, right, bottom."""
Scores = npt.NDArray[np.float32]


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

    Frontal and half-turned faces, tilted by up to 30 degrees, from about a twentieth of the longer side on.
    """
    boxes, scores = looked_at(rgb)
    sure = scores >= THRESHOLD
    height, width = rgb.shape[:2]
    edges = np.clip(np.rint(boxes[sure]), 0, [width, height, width, height]).astype(int)
    faces = [
        Face((left, top, right - left, bottom - top), round(score, 4))
        for (left, top, right, bottom), score in zip(edges.tolist(), scores[sure].tolist(), strict=True)
        if right > left and bottom > top
    ]
    return sorted(faces, key=lambda face: (-face.box[2] * face.box[3], face.box[1], face.box[0]))


def proposals(rgb: npt.NDArray[np.uint8]) -> tuple[Boxes, Scores]:
    """Return what the first network takes for faces, from `PROPOSED` on: boxes in pixels of the image, and scores."""
    height, width = rgb.shape[:2]
    small, _ = _thinned(rgb)
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    fitted = np.asarray(small.resize(size, Image.Resampling.BILINEAR))
    rows, columns = (-(-side // _STRIDES[-1]) * _STRIDES[-1] for side in fitted.shape[:2])
    canvas = np.zeros((1, 3, rows, columns), np.float32)
    canvas[0, :, : fitted.shape[0], : fitted.shape[1]] = fitted.transpose(2, 0, 1)
    boxes, scores = [], []
    mirrored = np.ascontiguousarray(canvas[..., ::-1])
    both = zip(_STRIDES, *(_session("first").run(None, {"image": each}) for each in (canvas, mirrored)), strict=True)
    for stride, seen, mirror in both:
        grid = (seen + mirror[:, [0, 3, 2, 1, 4], :, ::-1]) / 2  # what both ways agree on is seldom wrong
        score = 1 / (1 + np.exp(-grid[0, 0]))
        row, column = np.nonzero(score >= PROPOSED)
        left, top, right, bottom = np.exp(grid[0, 1:, row, column].T)
        x, y = column + np.float32(0.5), row + np.float32(0.5)
        boxes.append(np.stack([x - left, y - top, x + right, y + bottom], axis=1) * np.float32(stride / scale))
        scores.append(score[row, column])
    return _distinct(np.concatenate(boxes), np.concatenate(scores))


def looked_at(rgb: npt.NDArray[np.uint8]) -> tuple[Boxes, Scores]:
    """Return the surest proposals as the second network moves and scores them, in pixels of the image."""
    boxes, scores = (each[:MOST] for each in proposals(rgb))
    if not len(boxes):
        return boxes, scores
    small, step = _thinned(rgb)
    sides = boxes[:, 2:] - boxes[:, :2]
    centres, means = boxes[:, :2] + sides / 2, np.sqrt(sides.prod(axis=1))
    squares = zip(*(centres / step).T, _AROUND / 2 * means / step, strict=True)
    crops = [_crop(small, x, y, reach) for x, y, reach in squares]
    said = _session("second").run(None, {"crops": np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)})[0]
    centres = centres + said[:, 1:3] * means[:, None]
    half = sides / 2 * np.exp(said[:, 3:])
    logits = said[:, 0] + np.log(scores / (1 - scores))  # each network alone finds a tenth less
    return _distinct(np.concatenate([centres - half, centres + half], axis=1), 1 / (1 + np.exp(-logits)))


def _thinned(rgb: npt.NDArray[np.uint8]) -> tuple[Image.Image, int]:
    step = max(1, max(rgb.shape[:2]) // _ENOUGH)
    return Image.fromarray(np.ascontiguousarray(rgb[::step, ::step])), step


def _crop(image: Image.Image, x: float, y: float, reach: float) -> npt.NDArray[np.uint8]:
    # A square around a point, brought to `_CROP` pixels; black where it leaves the image.
    canvas = Image.new("RGB", (_CROP, _CROP))
    left, top = max(0.0, x - reach), max(0.0, y - reach)
    right, bottom = min(float(image.width), x + reach), min(float(image.height), y + reach)
    scale = _CROP / (2 * reach)
    size = round((right - left) * scale), round((bottom - top) * scale)
    if min(size) > 0:
        part = image.resize(size, Image.Resampling.BILINEAR, (left, top, right, bottom))
        canvas.paste(part, (round((left - x + reach) * scale), round((top - y + reach) * scale)))
    return np.asarray(canvas)


def _distinct(boxes: Boxes, scores: Scores) -> tuple[Boxes, Scores]:
    # The surest boxes, in their order, without those that overlap a surer one.
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    kept, left = [], np.argsort(-scores, kind="stable")
    while len(left):
        first, left = int(left[0]), left[1:]
        kept.append(first)
        sides = np.minimum(boxes[first, 2:], boxes[left, 2:]) - np.maximum(boxes[first, :2], boxes[left, :2])
        shared = sides.clip(0).prod(axis=1)
        left = left[shared < OVERLAP * (areas[first] + areas[left] - shared)]
    return boxes[kept], scores[kept]


@cache
def _session(name: str) -> Any:
    import onnxruntime  # telemetry is off before this line: see parallelnet/__init__.py

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # files are decoded side by side already, and one pass takes a few milliseconds
    return onnxruntime.InferenceSession(str(FOLDER / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
