"""Train the face search, write its graph, and choose its threshold.

    python runs/faces/train.py train --work DIR --exclude IDS.txt
    python runs/faces/train.py export --work DIR --out src/parallelnet/face_search/faces.onnx
    python runs/faces/train.py choose --work DIR --exclude IDS.txt

WORK is what `label.py` wrote. IDS.txt names the pictures of `benchmarks/faces.py`: they and their near copies stay out.
20 minutes on one core with AMX. Stopped anywhere, `train` goes on.
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
from network import STRIDES, FaceNetwork, loss_of, targets
from scenes import Pictures, Scenes

BATCH = 16
LEAST_SHARE = 0.045  # of the longer side: smaller faces do not count where the threshold is chosen


def train(work: Path, exclude: Path, n_steps: int) -> None:
    """Train on one thread; `state.pt` is kept every 250 steps, and its `average` is what is exported."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scenes = Scenes(Pictures(work, exclude), np.load(work / "faces.npz"))
    network = FaceNetwork().to(memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    groups = [{"params": [p for p in network.parameters() if (p.ndim > 1) == big]} for big in (True, False)]
    groups[0]["weight_decay"], groups[1]["weight_decay"] = 0.02, 0.0
    optimizer = torch.optim.AdamW(groups, lr=2e-3)
    kept, first = work / "state.pt", 0
    if kept.exists():
        state = torch.load(kept, weights_only=False)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        scenes.false_score, first = state["false_score"], state["step"]
    for step in range(first, n_steps):
        rng = np.random.default_rng((7, step))
        drawn = [scenes.draw(rng) for _ in range(BATCH)]
        state, edges = (
            torch.from_numpy(np.stack(x)) for x in zip(*(targets(*each[1:3]) for each in drawn), strict=True)
        )
        pixels = torch.from_numpy(np.stack([each[0] for each in drawn])).permute(0, 3, 1, 2).float()
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * step / n_steps)) + 1e-5
        network.train()
        with torch.autocast("cpu", torch.bfloat16):
            grids = network(pixels)
        loss, probs = loss_of(grids, state, edges)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        with torch.no_grad():
            rest = 1 - min(0.999, (step + 2) / (step + 21))
            for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
                mean.lerp_(now, rest) if mean.is_floating_point() else mean.copy_(now)
        for (*_, free), highest in zip(drawn, (probs * (state >= 0)).amax(1).tolist(), strict=True):
            if free >= 0:  # drawn more often where it fools the network
                scenes.false_score[free] = (scenes.false_score[free] + highest) / 2
        if step % 100 == 99:
            print(f"{step + 1} of {n_steps}: loss {loss.item():.2f}, false {scenes.false_score.mean():.2f}", flush=True)
        if step % 250 == 249 or step == n_steps - 1:
            parts = {"network": network.state_dict(), "average": average.state_dict()}
            parts |= {"optimizer": optimizer.state_dict(), "false_score": scenes.false_score, "step": step + 1}
            torch.save(parts, kept.with_suffix(".new"))
            kept.with_suffix(".new").replace(kept)


def export(work: Path, out: Path) -> None:
    """Write the ONNX graph."""
    network = FaceNetwork()
    network.load_state_dict(torch.load(work / "state.pt", weights_only=False)["average"])
    names = [f"stride_{stride}" for stride in STRIDES]
    free = {name: {2: f"{name}_rows", 3: f"{name}_columns"} for name in ("image", *names)}
    write_graph(network, torch.zeros(1, 3, 320, 256), out, "image", free)


def write_graph(network: torch.nn.Module, example: torch.Tensor, out: Path, name: str, free: dict[str, Any]) -> None:
    """Write an ONNX graph, its larger weights in half precision; `free` names axes of input and outputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    out.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        network.eval(),
        (example,),
        str(out),
        dynamo=False,
        input_names=[name],
        output_names=[each for each in free if each != name],
        dynamic_axes=free,
        opset_version=17,
    )
    model = onnx.load(out)
    for weights in list(model.graph.initializer):
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.size > 256:
            half = f"{weights.name}_half"
            model.graph.initializer.remove(weights)
            model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), half))
            model.graph.node.insert(0, helper.make_node("Cast", [half], [weights.name], to=TensorProto.FLOAT))
    short: dict[str, str] = {each: each for each in ("", *free)}  # a fortieth of the file is names
    for node in model.graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [short.setdefault(each, f"t{len(short)}") for each in names]
    for weights in model.graph.initializer:
        weights.name = short[weights.name]
    onnx.checker.check_model(model)
    onnx.save(model, out)


def choose(work: Path, exclude: Path) -> None:
    """Print recall and precision against the teacher at each threshold, on the pictures kept out of training."""
    from parallelnet import faces

    faces.THRESHOLD = 0.1
    pictures = Pictures(work, exclude)
    found: list[tuple[float, bool]] = []  # score, right; what meets a doubtful box does not count
    n_faces = 0
    for k in pictures.development:
        pixels = pictures.pixels(k)
        sure, doubtful = (boxes[:, :4] * max(pixels.shape) for boxes in pictures.labels[k])
        n_faces += int((sure[:, 2] * sure[:, 3] >= (LEAST_SHARE * max(pixels.shape)) ** 2).sum())
        for face in sorted(faces.find(pixels), key=lambda face: -face.score):
            box = np.array(face.box, float)
            large = box[2] * box[3] >= (LEAST_SHARE * max(pixels.shape)) ** 2
            if len(sure) and overlap(box, sure).max() >= 0.4:
                best = int(overlap(box, sure).argmax())
                if sure[best, 2] * sure[best, 3] >= (LEAST_SHARE * max(pixels.shape)) ** 2:
                    found.append((face.score, True))
                sure = np.delete(sure, best, axis=0)
            elif large and not (len(doubtful) and overlap(box, doubtful).max() >= 0.3):
                found.append((face.score, False))
    for threshold in np.arange(0.2, 0.75, 0.05):
        right = [r for score, r in found if score >= threshold]
        told = f"recall {sum(right) / n_faces:.3f} precision {sum(right) / max(1, len(right)):.3f}"
        print(f"{threshold:.2f}: {told}, {len(right) - sum(right)} false")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "export", "choose"])
    for name in ("--work", "--exclude", "--out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=3600)
    given = parser.parse_args()
    if given.what == "train":
        train(given.work, given.exclude, given.steps)
    elif given.what == "export":
        export(given.work, given.out)
    else:
        choose(given.work, given.exclude)
