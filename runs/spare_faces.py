"""Write a manifest of the FER-2013 faces that a set of pairs leaves over, for `runs/reproduce_small.sh`.

    python runs/spare_faces.py FER2013 PAIRS OUT

A backbone that learns from them meets no picture of PAIRS: neither the same bytes nor one whose difference hash is
within NEAR_BITS of 64, as FER-2013 holds crops and copies of the same photograph. A face under two labels is left out.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from parallelnet import image
from parallelnet.data.dataset import open_data
from parallelnet.datasets.steps import difference_hash
from parallelnet.errors import ParallelNetError
from parallelnet.types import Sample

NEAR_BITS = 4


def main(fer2013: str, pairs: str, out: str) -> None:
    """Write OUT/manifest.csv with the faces' own split and labels, and print how many of each."""
    used = {s.image_group: s for s in open_data(pairs)}
    faces = open_data(f"fer2013:{fer2013}")  # drops what stands twice or under two labels
    spare = [s for s in faces if s.image_group not in used]
    taken = _hashes(list(used.values()))
    kept = [s for s, h in zip(spare, _hashes(spare), strict=True) if np.bitwise_count(taken ^ h).min() > NEAR_BITS]
    target = Path(out) / "manifest.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("id", "image", "label", "split"))
        writer.writerows((s.id, f"fer2013/{s.id}{Path(str(s.image)).suffix}", s.label, s.split) for s in kept)
    link = target.with_name("fer2013")  # a manifest names files below its own folder
    if not link.exists():
        link.symlink_to(Path(fer2013).resolve(), target_is_directory=True)
    counts = Counter((s.split, s.label) for s in kept)
    print(f"{target}: {len(kept)} faces, {len(spare) - len(kept)} near a face of the pairs left out; {dict(counts)}")


def _hashes(samples: list[Sample]) -> np.ndarray:
    return np.array([difference_hash(image.read(str(s.image))) for s in samples], dtype=np.uint64)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("Usage: python runs/spare_faces.py FER2013 PAIRS OUT")
    try:
        main(*sys.argv[1:])
    except ParallelNetError as error:
        sys.exit(str(error))
