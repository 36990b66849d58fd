"""How large a crop around a found face suits a checkpoint that learnt FER-2013's framing: accuracy by crop size.

    python runs/faces/crop.py --ferplus DIR --work DIR --exclude IDS.txt [--n 600]

Faces of FER+'s validation part, with FER-2013's label, are enlarged two to six times and laid into bigger scenes: half
into a face-free picture of a tweet, half onto a border of their own drawn-out edges. The search finds each; the bundled
checkpoint judges a square around its box, of each factor and shift, and FER-2013's own frame for comparison.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from label import overlap
from PIL import Image
from scenes import Pictures, Scenes

from parallelnet import faces, load

FACTORS = (0.9, 1.0, 1.1, 1.2, 1.3, 1.45, 1.6)  # side of the square over the geometric mean of the box's sides


def main(ferplus: Path, work: Path, exclude: Path, n: int) -> None:
    """Print the table."""
    model = load(face="off", n_threads=1)
    with (ferplus / "metadata.csv").open(encoding="utf-8") as stream:
        rows = [r for r in csv.DictReader(stream) if r["split"] != "train" and r["fer_label"] in model.classes]
    pictures = Pictures(work, exclude)
    backgrounds = Scenes(pictures, np.load(work / "faces.npz")).without
    rng = np.random.default_rng(0)
    cases = []
    for k in rng.permutation(len(rows))[:n]:
        face = Image.open(ferplus / rows[k]["path"]).convert("RGB")
        side = int(rng.integers(96, 289))
        if rng.random() < 0.5:
            scene = pictures.pixels(backgrounds[rng.integers(len(backgrounds))])
            scene = np.asarray(Image.fromarray(scene).resize((640, 640 * scene.shape[0] // scene.shape[1])))
            left, top = (int(rng.integers(max(1, free - side))) for free in (scene.shape[1], scene.shape[0]))
            scene = np.pad(scene, ((0, max(0, side - scene.shape[0])), (0, 0), (0, 0)))
        else:
            border = int(side * rng.uniform(0.4, 1))
            around = np.pad(np.asarray(face.resize((side, side))), ((border,) * 2,) * 2 + ((0, 0),), mode="edge")
            scene, left, top = around, border, border
        scene = scene.copy()
        scene[top : top + side, left : left + side] = np.asarray(face.resize((side, side), Image.Resampling.BICUBIC))
        cases.append((scene, np.array([left, top, side, side], float), rows[k]["fer_label"]))
    found = []
    for scene, frame, truth in cases:
        near = [np.array(each.box, float) for each in faces.find(scene)]
        near = [box for box in near if overlap(box, frame[None])[0] > 0.3]
        if near:
            found.append((scene, frame, near[0], truth))
    sides = np.array([frame[2] for _, frame, _, _ in found])
    boxes = np.array([box for _, _, box, _ in found])
    off = np.array([b[:2] + b[2:] / 2 - f[:2] - f[2:] / 2 for _, f, b, _ in found]) / sides[:, None]
    mean = np.sqrt(boxes[:, 2] * boxes[:, 3])
    print(f"found {len(found)} of {len(cases)}; frame over sqrt(w h): median {np.median(sides / mean):.3f}, over the")
    print(f"longer side {np.median(sides / boxes[:, 2:].max(axis=1)):.3f}; centre off by {np.median(off, axis=0)}")

    def accuracy(squares: list[tuple[float, float, float]]) -> float:
        crops = []
        for (scene, *_), (x, y, side) in zip(found, squares, strict=True):
            whole = min(round(side), *scene.shape[:2])
            left = min(max(0, round(x - whole / 2)), scene.shape[1] - whole)
            top = min(max(0, round(y - whole / 2)), scene.shape[0] - whole)
            crops.append(scene[top : top + whole, left : left + whole])
        said = model.predict(image=crops)
        return float(np.mean([each.emotion == truth for each, (*_, truth) in zip(said, found, strict=True)]))

    print(f"FER-2013's own frame: {accuracy([(f[0] + f[2] / 2, f[1] + f[3] / 2, f[2]) for _, f, _, _ in found]):.3f}")
    for factor, shift in (*((each, 0.0) for each in FACTORS), (1.2, -0.05), (1.2, 0.05)):
        squares = []
        for _, _, (left, top, width, height), _ in found:
            side = factor * np.sqrt(width * height)
            squares.append((left + width / 2, top + height / 2 + shift * side, side))
        print(f"factor {factor:.2f}, shifted {shift:+.2f}: {accuracy(squares):.3f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--ferplus", "--work", "--exclude"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--n", type=int, default=600)
    given = parser.parse_args()
    main(given.ferplus, given.work, given.exclude, given.n)
