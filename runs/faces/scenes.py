"""What the face search learns from: pictures with the teacher's labels, and random canvases made of them."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from label import overlap
from PIL import Image, ImageFilter

SIDE = 192  # pixels of a training canvas
NEAR_BITS = 9  # of a 64-bit difference hash: a near copy
N_DEVELOPMENT = 350  # pictures that are kept out of training, to choose the threshold on
SURE, DOUBTFUL = 0.65, 0.2  # mean score of the teacher's views


def agreed(views: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes that the views agree on, and the doubtful ones: `[n, 5]`, the last their mean score."""
    rows = [[*box, k] for k, (_, _, boxes) in enumerate(views) for box in boxes]
    left = np.array(rows).reshape(-1, 6)
    left = left[np.argsort(-left[:, 4])]
    sure, doubtful = [], []
    while len(left):
        same = overlap(left[0], left) >= 0.4
        same[0] = True
        own, left = left[same], left[~same]
        side = math.sqrt(own[0, 2] * own[0, 3])
        able = [k for k, (longer, _, _) in enumerate(views) if 11 <= side * longer <= 330]
        best = {int(k): own[own[:, 5] == k, 4].max() for k in set(own[:, 5])}
        mean = float(np.mean([best.get(k, 0) for k in able])) if able else 0.0
        box = [*np.average(own[:, :4], axis=0, weights=own[:, 4]), mean]
        if mean >= SURE and len(able) >= 2:
            sure.append(box)
        elif own[0, 4] >= 0.4 and mean >= DOUBTFUL:
            doubtful.append(box)
    return np.array(sure).reshape(-1, 5), np.array(doubtful).reshape(-1, 5)


class Pictures:
    """What `label` wrote, without the excluded pictures and near copies; `development` are kept out of training."""

    def __init__(self, work: Path, exclude: Path) -> None:
        """Read it."""
        names = set(exclude.read_text().split())
        records = json.loads((work / "pictures.json").read_text())
        out = np.array([each["hash"] for each in records if each["id"] in names], np.uint64)
        first: dict[int, Any] = {}
        for each in records:
            first.setdefault(each["hash"], each)
        self.records = [
            each
            for each in first.values()
            if not len(out) or np.bitwise_count(out ^ np.uint64(each["hash"])).min() > NEAR_BITS
        ]
        self.labels = [agreed(each["views"]) for each in self.records]
        self._pixels = np.memmap(work / "pixels.bin", np.uint8, "r")
        order = np.random.default_rng(1).permutation(len(self.records))
        self.development, self.training = order[:N_DEVELOPMENT].tolist(), order[N_DEVELOPMENT:].tolist()

    def pixels(self, k: int) -> np.ndarray:
        """Return uint8 `[h, w, 3]`."""
        shape, offset = self.records[k]["shape"], self.records[k]["offset"]
        return np.asarray(self._pixels[offset : offset + math.prod(shape)]).reshape(shape)


def placed(zoom: float, turn: float, mirror: bool, source: Any, target: Any) -> np.ndarray:
    """Return the affine map `[2, 3]` that takes the point `source` to `target`."""
    cosine, sine = math.cos(turn) * zoom, math.sin(turn) * zoom
    linear = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([-1 if mirror else 1, 1])
    return np.column_stack([linear, np.asarray(target) - linear @ np.asarray(source)])


def mapped(boxes: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the upright boxes around the mapped ellipses that fill `boxes`."""
    half = boxes[:, 2:4] / 2
    centre = (boxes[:, :2] + half) @ affine[:, :2].T + affine[:, 2]
    reach = np.sqrt(half**2 @ affine[:, :2].T ** 2)
    return np.column_stack([centre - reach, 2 * reach])


def warped(picture: Image.Image, affine: np.ndarray, fill: Any = 0, canvas: int = SIDE) -> Image.Image:
    """Return a square canvas with the mapped picture."""
    inverse = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]
    zoom = math.sqrt(abs(np.linalg.det(affine[:, :2])))
    if zoom < 0.6:
        width, height = picture.size
        picture = picture.resize((max(1, round(width * zoom / 0.8)), max(1, round(height * zoom / 0.8))))
        inverse = np.diag([picture.width / width, picture.height / height]) @ inverse
    return picture.transform((canvas, canvas), Image.AFFINE, inverse.ravel().tolist(), Image.BILINEAR, fillcolor=fill)


def turned(rng: Any) -> float:
    """Return an angle in radians."""
    return math.radians(rng.uniform(-35, 35) if rng.random() < 0.3 else rng.normal(0, 7))


def log_uniform(rng: Any, low: float, high: float) -> float:
    """Return a size."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def taken_badly(picture: Image.Image, rng: Any) -> np.ndarray:
    """Return uint8 `[SIDE, SIDE, 3]` in another light, sometimes grey, blurred, compressed or noisy."""
    if rng.random() < 0.8:
        gamma, gain = rng.uniform(0.6, 1.6), rng.uniform(0.6, 1.3) * np.exp(rng.normal(0, 0.08, 3))
        curve = 255 * gain[:, None] * (np.arange(256) / 255) ** gamma + rng.uniform(-25, 25)
        picture = picture.point(curve.clip(0, 255).astype(int).ravel().tolist())
    if rng.random() < 0.15:
        picture = picture.convert("L").convert("RGB")
    if rng.random() < 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.8)))
    if rng.random() < 0.25:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=int(rng.integers(20, 80)))
        picture = Image.open(stream).convert("RGB")
    pixels = np.asarray(picture)
    if rng.random() < 0.12:
        noise = rng.normal(0, rng.uniform(2, 14), pixels.shape[:2])[:, :, None]
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return pixels


class Scenes:
    """Random canvases: tweets' faces, face-free pictures (half of them with FER+ faces pasted in), FER+ close-ups."""

    def __init__(self, pictures: Pictures, faces: Any) -> None:
        """Take what they are made of."""
        self._pictures, self._faces, self._boxes = pictures, faces["pixels"], faces["boxes"]
        labels = pictures.labels
        self.with_faces = [k for k in pictures.training if len(labels[k][0])]
        self.without = [
            k
            for k in pictures.training
            if not len(labels[k][0]) and not any(box[4] > 0.35 or box[2] * box[3] > 0.01 for box in labels[k][1])
        ]
        self.false_score = np.full(len(self.without), 0.5)  # highest of each face-free picture, lately

    def draw(self, rng: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Return pixels, faces `[n, 4]`, boxes to ignore `[m, 4]`, and which face-free picture it is, or -1."""
        kind, free, ignored = rng.random(), -1, np.zeros((0, 4))
        if kind < 0.58:
            picture, boxes, ignored = self._tweet(rng, self.with_faces[rng.integers(len(self.with_faces))])
        elif kind < 0.92:
            weights = self.false_score + 0.06
            free = int(rng.choice(len(weights), p=weights / weights.sum()))
            picture, boxes, ignored = self._tweet(rng, self.without[free])
            if rng.random() < 0.45:
                picture, boxes = self.pasted(rng, picture)
                free = -1 if len(boxes) else free
        else:
            picture, boxes = self._close_up(rng)
        return taken_badly(picture, rng), boxes, ignored, free

    def _tweet(self, rng: Any, k: int) -> tuple[Image.Image, np.ndarray, np.ndarray]:
        pixels = self._pictures.pixels(k)
        height, width = pixels.shape[:2]
        longer = max(height, width)
        sure, doubtful = (boxes[:, :4] * longer for boxes in self._pictures.labels[k])
        mirror, turn = rng.random() < 0.5, turned(rng)
        if len(sure) and rng.random() < 0.6:  # one face at a size of its own
            box = sure[rng.integers(len(sure))]
            side = math.sqrt(box[2] * box[3])
            zoom = min(max(log_uniform(rng, 11, 165) / side, 90 / longer), 3.2)
            margin = min(0.5 * side * zoom, SIDE * 0.45)
            source, target = box[:2] + box[2:] / 2, rng.uniform(margin, SIDE - margin, 2)
        else:
            zoom = log_uniform(rng, 130, 420) / longer
            source = np.array([width / 2, height / 2])
            target = SIDE / 2 + rng.uniform(-0.5, 0.5, 2) * np.abs(SIDE - 2 * source * zoom)
        affine = placed(zoom, turn, mirror, source, target)
        fill = (0, 0, 0) if rng.random() < 0.7 else tuple(int(x) for x in rng.integers(0, 256, 3))
        return warped(Image.fromarray(pixels), affine, fill), mapped(sure, affine), mapped(doubtful, affine)

    def _face(self, rng: Any, grey: float) -> tuple[np.ndarray, np.ndarray]:
        k = rng.integers(len(self._faces))
        face = self._faces[k].astype(np.float32)
        face = (face - face.min()) / (np.ptp(face) + 1e-6)
        bottom, top = rng.uniform(0, 0.25), rng.uniform(0.55, 1)
        face = (bottom + (top - bottom) * face ** rng.uniform(0.7, 1.4))[:, :, None].repeat(3, axis=2)
        if rng.random() >= grey:
            face = face ** [rng.uniform(0.7, 1), 1, rng.uniform(1, 1.5)] * [1, *rng.uniform([0.72, 0.5], [0.95, 0.9])]
        return (face * 255).clip(0, 255).astype(np.uint8), self._boxes[k]

    def pasted(self, rng: Any, picture: Image.Image) -> tuple[Image.Image, np.ndarray]:
        """Return a canvas with FER+ faces laid into it, and their boxes."""
        # Three in ten patches are no faces, so that a seam is not taken for one.
        boxes: list[np.ndarray] = []
        for _ in range(int(rng.integers(1, 4))):
            is_face = rng.random() < 0.7
            patch, box = self._face(rng, 0.2)
            if not is_face:
                other = self._pictures.pixels(self.without[rng.integers(len(self.without))])
                side = min(int(rng.integers(24, min(other.shape[:2]) // 2 + 25)), *other.shape[:2])
                top, left = (int(rng.integers(free - side + 1)) for free in other.shape[:2])
                patch = np.asarray(Image.fromarray(other[top : top + side, left : left + side]).resize((48, 48)))
            zoom = log_uniform(rng, 14, 150) / 48
            margin = min(19.2 * zoom, 90)
            turn, target = math.radians(rng.uniform(-30, 30)), rng.uniform(margin, SIDE - margin, 2)
            affine = placed(zoom, turn, rng.random() < 0.5, (24, 24), target)
            where = mapped(box[None], affine)[0]
            if boxes and overlap(where, np.array(boxes)).max() > 0.05:
                continue
            mask = np.ones((48, 48))
            if rng.random() < 0.8:
                rows, columns = np.mgrid[0:48, 0:48] - 23.5
                far = np.hypot(columns / rng.uniform(17, 23), rows / rng.uniform(20, 24))
                mask = np.clip((1 - far) * rng.uniform(3, 12) + 0.5, 0, 1)
            shown = warped(Image.fromarray((mask * 255).astype(np.uint8)), affine)
            picture = Image.composite(warped(Image.fromarray(patch), affine), picture, shown)
            boxes += [where] * is_face
        return picture, np.array(boxes).reshape(-1, 4)

    def _close_up(self, rng: Any) -> tuple[Image.Image, np.ndarray]:
        face, box = self._face(rng, 0.4)
        zoom, turn = SIDE * rng.uniform(0.35, 1.15) / 48, turned(rng)
        affine = placed(zoom, turn, rng.random() < 0.5, (24, 24), rng.uniform(0.38, 0.62, 2) * SIDE)
        if rng.random() < 0.5:  # its edges drawn out
            drawn = Image.fromarray(np.pad(face, ((30, 30), (30, 30), (0, 0)), mode="edge"))
            canvas = warped(drawn, np.column_stack([affine[:, :2], affine[:, 2] - affine[:, :2] @ [30, 30]]))
        else:
            canvas = Image.new("RGB", (SIDE, SIDE), tuple(int(x) for x in rng.integers(0, 256, 3)))
            canvas.paste(warped(Image.fromarray(face), affine), mask=warped(Image.new("L", (48, 48), 255), affine))
        return canvas, mapped(box[None], affine)
