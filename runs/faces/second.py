"""The second look: a small network that says of each box that the search proposes whether it is a face, and moves it.

    python runs/faces/second.py mine --work DIR --exclude IDS.txt
    python runs/faces/second.py train --work DIR --exclude IDS.txt
    python runs/faces/second.py export --work DIR --out src/parallelnet/face_search/second.onnx

After `train.py train` and `export`. It sees a square around each box at the image's own resolution, so that all of its
training goes into what the first network is wrong about. Ten minutes on one core.
"""

from __future__ import annotations

import argparse
import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from label import overlap
from network import Block, convolution
from PIL import Image
from scenes import Pictures, Scenes, placed, taken_badly, warped
from torch import nn
from torch.nn import functional

SIDE = 56  # pixels of a crop
AROUND = 1.6  # side of the square that is cropped over the geometric mean of the box's sides
BATCH = 64
N_MINED = 2000  # pictures whose proposals are mistakes to learn from


class SecondNetwork(nn.Module):
    """[n, 3, 56, 56] of 0 to 255 -> [n, 5]: logit of a face; shift right and down in sides; log growth in x and y."""

    def __init__(self) -> None:
        """Build it: 120,000 parameters."""
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, 24, 3, 2),
            convolution(24, 48, 3, 2),
            Block(48, 48),
            Block(48, 48),
            Block(48, 96, 2),
            Block(96, 96),
            Block(96, 96, 2),
        )
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(96 * 16, 5)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return float32 [n, 5]."""
        out: torch.Tensor = self.out(self.drop(self.features((x - 127.5) / 64).flatten(1)))
        return out


def mine(work: Path, exclude: Path) -> None:
    """Write what the first network proposes on the training pictures, by their places, at a low threshold."""
    from parallelnet import faces

    pictures = Pictures(work, exclude)
    found: dict[str, Any] = {}
    for k in pictures.training[:N_MINED]:
        boxes, scores = faces.proposals(pictures.pixels(k))
        found[str(k)] = np.column_stack([boxes, scores]).astype(np.float32)
    np.savez(work / "proposals.npz", **found)


class Crops:
    """Random crops: half faces, half what was proposed and is none (and some that nobody proposed)."""

    def __init__(self, pictures: Pictures, scenes: Scenes, proposals: Any) -> None:
        """Take what they are made of."""
        self._pictures, self._scenes = pictures, scenes
        self.faces: list[tuple[int, np.ndarray]] = []
        self.others: list[tuple[int, np.ndarray]] = []
        for k in pictures.training:
            longer = max(pictures.records[k]["shape"])
            sure, doubtful = (boxes[:, :4] * longer for boxes in pictures.labels[k])
            self.faces += [(k, box) for box in sure if box[2] * box[3] >= 13**2]
            for left, top, right, bottom, _ in proposals.get(str(k), ()):
                box = np.array([left, top, right - left, bottom - top])
                near = np.concatenate([sure, doubtful])
                if box[2] * box[3] >= 13**2 and not (len(near) and overlap(box, near).max() > 0.2):
                    self.others.append((k, box))
        self.false_score = np.full(len(self.others), 0.7)

    def draw(self, rng: Any) -> tuple[np.ndarray, np.ndarray, int]:
        """Return pixels, [is a face, its centre from the box's (x, y) in sides, log growth (x, y)], place or -1."""
        kind, at, target = rng.random(), -1, np.zeros(5, np.float32)
        if kind < 0.42:
            k, face = self.faces[rng.integers(len(self.faces))]
            picture = Image.fromarray(self._pictures.pixels(k))
        elif kind < 0.55:
            k = self._scenes.without[rng.integers(len(self._scenes.without))]
            picture, boxes = self._scenes.pasted(rng, Image.fromarray(self._pictures.pixels(k)).resize((192, 192)))
            if not len(boxes):
                return self.draw(rng)
            face = boxes[rng.integers(len(boxes))]
        elif kind < 0.93:
            weights = self._weights
            at = int(np.searchsorted(weights, rng.random() * weights[-1]))
            k, box = self.others[at]
            return self._cropped(rng, Image.fromarray(self._pictures.pixels(k)), box), target, at
        else:
            k = self._scenes.without[rng.integers(len(self._scenes.without))]
            height, width = self._pictures.pixels(k).shape[:2]
            side = rng.uniform(0.04, 0.7) * min(height, width)
            size = side * np.array([0.85, 1.15])
            box = np.concatenate([rng.random(2) * [width, height] - size / 2, size])
            return self._cropped(rng, Image.fromarray(self._pictures.pixels(k)), box), target, -1
        side = math.sqrt(face[2] * face[3])
        size = face[2:] * np.exp(rng.normal(0, 0.12, 2) + rng.normal(0, 0.08))
        centre = face[:2] + face[2:] / 2 + rng.normal(0, 0.1, 2) * side
        own = math.sqrt(size.prod())
        mirror = rng.random() < 0.5
        shift = (face[:2] + face[2:] / 2 - centre) / own * [-1 if mirror else 1, 1]
        target[:] = [1, *shift, *np.log(face[2:] / size)]
        box = np.concatenate([centre - size / 2, size])
        return self._cropped(rng, picture, box, mirror, math.radians(rng.normal(0, 5))), target, -1

    @property
    def _weights(self) -> np.ndarray:
        return np.cumsum(self.false_score + 0.03)

    def _cropped(
        self, rng: Any, picture: Image.Image, box: np.ndarray, mirror: bool | None = None, turn: float | None = None
    ) -> np.ndarray:
        side = AROUND * math.sqrt(box[2] * box[3])
        mirror = bool(rng.random() < 0.5) if mirror is None else mirror
        turn = math.radians(rng.normal(0, 8)) if turn is None else turn
        centre = box[:2] + box[2:] / 2
        reach = side * 0.8
        left, top = (max(0, int(x - reach)) for x in centre)
        right, bottom = np.minimum((centre + reach).astype(int), picture.size).tolist()
        part = picture.crop((left, top, max(left, right), max(top, bottom)))
        if not part.width or not part.height:
            return np.zeros((SIDE, SIDE, 3), np.uint8)
        affine = placed(SIDE / side, turn, mirror, centre - [left, top], (SIDE / 2, SIDE / 2))
        return taken_badly(warped(part, affine, canvas=SIDE), rng)


def train(work: Path, exclude: Path, n_steps: int) -> None:
    """Train on one thread; `second.pt` is kept every 250 steps."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures = Pictures(work, exclude)
    scenes = Scenes(pictures, np.load(work / "faces.npz"))
    crops = Crops(pictures, scenes, dict(np.load(work / "proposals.npz")))
    print(f"{len(crops.faces)} faces, {len(crops.others)} others", flush=True)
    network = SecondNetwork().to(memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.03)
    kept, first = work / "second.pt", 0
    if kept.exists():
        state = torch.load(kept, weights_only=False)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        crops.false_score, first = state["false_score"], state["step"]
    said = []
    for step in range(first, n_steps):
        rng = np.random.default_rng((11, step))
        drawn = [crops.draw(rng) for _ in range(BATCH)]
        pixels = torch.from_numpy(np.stack([each[0] for each in drawn])).permute(0, 3, 1, 2).float()
        wanted = torch.from_numpy(np.stack([each[1] for each in drawn]))
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / n_steps)) + 1e-5
        network.train()
        with torch.autocast("cpu", torch.bfloat16):
            out = network(pixels)
        out = out.float()
        score = functional.binary_cross_entropy_with_logits(out[:, 0], wanted[:, 0] * 0.98 + 0.01)
        moved = functional.smooth_l1_loss(out[:, 1:], wanted[:, 1:], reduction="none", beta=0.1).sum(1)
        loss = score + 0.5 * (moved * wanted[:, 0]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        with torch.no_grad():
            rest = 1 - min(0.999, (step + 2) / (step + 21))
            for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
                mean.lerp_(now, rest) if mean.is_floating_point() else mean.copy_(now)
            probs = out[:, 0].sigmoid().tolist()
        for (*_, at), prob in zip(drawn, probs, strict=True):
            if at >= 0:
                crops.false_score[at] = (crops.false_score[at] + prob) / 2
        said.append(
            (score.item(), float(np.mean([(p > 0.5) == (w > 0.5) for p, w in zip(probs, wanted[:, 0], strict=True)])))
        )
        if step % 100 == 99:
            print(f"{step + 1} of {n_steps}: loss, right {np.mean(said[-100:], axis=0).round(3)}", flush=True)
        if step % 250 == 249 or step == n_steps - 1:
            parts = {"network": network.state_dict(), "average": average.state_dict()}
            parts |= {"optimizer": optimizer.state_dict(), "false_score": crops.false_score, "step": step + 1}
            torch.save(parts, kept.with_suffix(".new"))
            kept.with_suffix(".new").replace(kept)


def export(work: Path, out: Path) -> None:
    """Write the ONNX graph."""
    from train import write_graph

    network = SecondNetwork()
    network.load_state_dict(torch.load(work / "second.pt", weights_only=False)["average"])
    write_graph(network, torch.zeros(2, 3, SIDE, SIDE), out, "crops", {"crops": {0: "n"}, "said": {0: "n"}})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["mine", "train", "export"])
    for name in ("--work", "--exclude", "--out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    given = parser.parse_args()
    if given.what == "mine":
        mine(given.work, given.exclude)
    elif given.what == "train":
        train(given.work, given.exclude, given.steps)
    else:
        export(given.work, given.out)
