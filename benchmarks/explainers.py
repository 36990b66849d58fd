"""What an explanation of the bundled model costs by our methods and by shap, shapiq and captum: passes and seconds.

    .venv/bin/python benchmarks/explainers.py [--threads 2]

Writes `benchmarks/results/explainers.json`. One sample, the same masks and baseline for all, one process. Every peer is
given its best: masks of all of a method's rows applied at once in numpy and run in the model's own batches (peers apply
them one by one by default), a joint masker with our own division for shap's PartitionExplainer, limits on evaluations
lifted, captum's perturbations of a whole order in one call, only the explained class (ours give all of them at the same
cost). Compilation (numba), imports and caches are warmed before the clock starts. Needs shap, shapiq, captum, torch.

`whole model` is what a peer's user has: each row of masks runs the speech and the picture branches. `our game` is the
same peer asking our table, which runs each branch once for each distinct mask of its modality.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import parallelnet
from parallelnet import audio, image
from parallelnet.explanation import faithfulness, players, units
from parallelnet.explanation.estimators import EXPLAINERS
from parallelnet.explanation.game import NetworkGame
from parallelnet_experiments import peers

ROOT = Path(__file__).resolve().parents[1]
SPEECH, PICTURE = "examples/happy.flac", "examples/astronaut.jpg"
ROUNDS = 3
SLOW_S = 40.0  # what takes longer runs once
COLD = {
    "parallelnet explain, owen, 16 segments x 4x4": (["--n-segments", "16", "--grid", "4x4"], 3.0),
    "parallelnet explain, exact, 8 segments x 2x4": (
        ["--method", "exact", "--n-segments", "8", "--grid", "2x4"],
        6.0,
    ),
}
"""Arguments, and the seconds that we aimed at."""


class Bench:
    """One sample divided in one way."""

    def __init__(self, model: parallelnet.Predictor, n_segments: int, grid: tuple[int, int]) -> None:
        """Decode and divide it as `explain` does."""
        self.model = model
        waveform = audio.read(ROOT / SPEECH)
        duration_s = len(waveform) / audio.SAMPLE_RATE_HZ
        parts = units.fit_units(units.segments(duration_s, n_segments), len(waveform), model.signals.clip_s)
        pixels, _ = image.signal(ROOT / PICTURE, model.signals)
        self.speech = players.speech_players(waveform, model.signals, parts)
        self.image = players.image_players(pixels, players.grid_owners(*grid), grid)
        self.n_speech, self.n = n_segments, n_segments + grid[0] * grid[1]
        assert len(parts) == n_segments
        self.column = int(self.game().table(*self.everybody())[0, 0].argmax())

    def everybody(self) -> tuple[Any, Any]:
        """Return the masks with everybody present."""
        return np.ones((1, self.n_speech), bool), np.ones((1, self.n - self.n_speech), bool)

    def game(self) -> NetworkGame:
        """Return a game that has computed nothing yet."""
        return NetworkGame(self.model.model, self.speech, self.image, columns=self.model.columns, memory_mb=4096)

    def whole(self, masks: Any) -> Any:
        """Return the score of each row of masks [rows], each by a pass of the whole model over its masked signals."""
        masks = np.asarray(masks, bool)
        scores = np.zeros(len(masks))
        for at in range(0, len(masks), 256):  # 50 MB of masked pictures at a time
            rows = masks[at : at + 256]
            heard = _masked(self.speech, rows[:, : self.n_speech])
            seen = _masked(self.image, rows[:, self.n_speech :])
            for start in self.speech.starts:
                logits = self.model.model.logits(np.ascontiguousarray(heard[..., start : start + 128]), seen)
                chosen = logits[:, self.model.columns].astype(np.float64)
                raised = np.exp(chosen - chosen.max(axis=1, keepdims=True))
                scores[at : at + 256] += raised[:, self.column] / raised.sum(axis=1) / len(self.speech.starts)
        return scores

    def question(self, score: peers.Score) -> peers.Question:
        """Return what a peer is asked."""
        tree = peers.linkage(self.speech.division, self.image.division)
        return peers.Question(score, self.n, tree, seed=0)


def _masked(side: players.Players, masks: Any) -> Any:
    present = np.concatenate([masks, np.ones((len(masks), 1), bool)], axis=1)[:, side.owners]  # owner -1: always there
    return np.where(present[:, None], side.signal, side.baseline)


@dataclass
class Asked:
    """A score that counts its rows."""

    score: peers.Score
    rows: int = 0

    def __call__(self, masks: Any) -> Any:
        """Return the scores."""
        self.rows += len(masks)
        return self.score(masks)


def timed(once: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Return the answer, and median seconds of a few runs (one, where it is slow)."""
    walls, cpus = [], []
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        answer = once()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        if len(walls) == ROUNDS or walls[0] > SLOW_S:
            break
    said = {"seconds": round(statistics.median(walls), 3), "cpu_seconds": round(statistics.median(cpus), 3)}
    return answer, said | {"rounds": len(walls)}


def ours(bench: Bench, method: str) -> tuple[Any, dict[str, Any]]:
    """Return our values [n], interactions or None, and what they cost."""

    def once() -> Any:
        game = bench.game()
        return EXPLAINERS[method](game, n_samples=32, seed=0), game.budget

    (found, budget), cost = timed(once)
    values = np.concatenate([found.speech, found.image])[:, bench.column]
    together = None if found.interactions is None else found.interactions[..., bench.column]
    row = {"method": f"parallelnet {method}", "score": "our game", "rows": None, **cost}
    row |= {"speech_passes": budget.speech_passes, "image_passes": budget.image_passes}
    row |= {"head_evaluations": budget.head_evaluations, "classes": game_classes(bench)}
    return (values, together), row


def game_classes(bench: Bench) -> int:
    """Return how many classes an explanation of ours is about."""
    return len(bench.model.columns)


def theirs(bench: Bench, name: str, peer: Callable[[peers.Question], Any], *, table: bool = False) -> tuple[Any, Any]:
    """Return a peer's values, and what they cost; on the whole model, or (`table`) on our game."""

    def once() -> Any:
        game = bench.game()
        asked = Asked(through(game, bench) if table else bench.whole)
        return peer(bench.question(asked)), asked.rows, game.budget

    (found, rows, budget), cost = timed(once)
    row = {"method": name, "score": "our game" if table else "whole model", "rows": rows, **cost}
    n_windows = len(bench.speech.starts)
    speech, picture = (budget.speech_passes, budget.image_passes) if table else (rows * n_windows, rows * n_windows)
    row |= {"speech_passes": speech, "image_passes": picture, "head_evaluations": budget.head_evaluations or rows}
    print(f"  {name}, {row['score']}: {rows:,} rows, {row['seconds']} s", file=sys.stderr, flush=True)
    return found, row | {"classes": 1}


def through(game: NetworkGame, bench: Bench) -> peers.Score:
    """Return our game as a peer's score: distinct masks of each modality, then their pairings."""

    def score(masks: Any) -> Any:
        masks = np.asarray(masks, bool)
        heard, row = faithfulness.distinct(masks[:, : bench.n_speech])
        seen, col = faithfulness.distinct(masks[:, bench.n_speech :])
        return game.table(heard, seen)[row, col, bench.column]

    return score


def shap_exact(asked: peers.Question) -> Any:
    """Return Shapley values by `shap.ExactExplainer`: all 2^n masks."""
    return peers.shap_values(asked, "Exact")


def shapiq_exact(asked: peers.Question, index: str = "SV") -> Any:
    """Return exact values by `shapiq.ExactComputer`: Shapley values [n] (`SV`) or interactions [n, n] (`SII`)."""
    import shapiq

    order = 1 if index == "SV" else 2
    found = shapiq.ExactComputer(game=asked.score, n_players=asked.n)(index, order=order)
    values = np.zeros((asked.n,) * order)
    for group, value in found.dict_values.items():
        if len(group) == order:
            values[group] = values[group[::-1]] = value
    return values


def shapiq_pairs(asked: peers.Question) -> Any:
    """Return exact interactions of all pairs."""
    return shapiq_exact(asked, "SII")


def compared(row: dict[str, Any], first: dict[str, Any], difference: Any | None) -> dict[str, Any]:
    """Return a row with its ratio to ours, and the largest difference where both compute the same."""
    row["times_our_seconds"] = round(row["seconds"] / first["seconds"], 2)
    row["times_our_cpu_seconds"] = round(row["cpu_seconds"] / first["cpu_seconds"], 2)
    if difference is not None:
        row["max_abs_difference"] = float(np.abs(difference).max())
    return row


def part_owen(model: parallelnet.Predictor) -> list[dict[str, Any]]:
    """Return 16 segments x 4x4: `owen` beside what can be asked of 32 players."""
    bench = Bench(model, 16, (4, 4))
    (values, _), first = ours(bench, "owen")
    found, row = theirs(bench, "shap PartitionExplainer, our division", peers.VALUES["shap-partition"])
    rows = [first, compared(row, first, found - values)]
    found, row = theirs(bench, "shap PartitionExplainer, our division", peers.VALUES["shap-partition"], table=True)
    rows.append(compared(row, first, found - values))
    for name, peer in (
        ("shap PermutationExplainer, 10 orders both ways", peers.VALUES["shap-permutation"]),
        ("captum ShapleyValueSampling, 25 orders", peers.VALUES["captum-sampling"]),
        ("shap KernelExplainer, 2,048 + 2 n masks", peers.shap_kernel),
    ):
        rows.append(compared(theirs(bench, name, peer)[1], first, None))
    return rows


def part_exact(model: parallelnet.Predictor) -> list[dict[str, Any]]:
    """Return 8 segments x 2x4: `exact` with all pairs; peers on our game (65,536 whole-model passes take minutes)."""
    bench = Bench(model, 8, (2, 4))
    (values, together), first = ours(bench, "exact")
    rows = [first]
    found, row = theirs(bench, "shap ExactExplainer", shap_exact, table=True)
    rows.append(compared(row, first, found - values))
    found, row = theirs(bench, "shapiq ExactComputer, SV", shapiq_exact, table=True)
    rows.append(compared(row, first, found - values))
    found, row = theirs(bench, "shapiq ExactComputer, SII order 2", shapiq_pairs, table=True)
    rows.append(compared(row, first, found[:8, 8:] - together))
    return rows


def part_small(model: parallelnet.Predictor) -> list[dict[str, Any]]:
    """Return 4 segments x 2x2: `exact` beside exact peers on the whole model."""
    bench = Bench(model, 4, (2, 2))
    (values, together), first = ours(bench, "exact")
    rows = [first]
    found, row = theirs(bench, "shap ExactExplainer", shap_exact)
    rows.append(compared(row, first, found - values))
    found, row = theirs(bench, "shapiq ExactComputer, SII order 2", shapiq_pairs)
    rows.append(compared(row, first, found[:4, 4:] - together))
    return rows


def cold() -> dict[str, Any]:
    """Return the wall seconds of fresh processes of the command line; the first one fills the file cache."""
    found: dict[str, Any] = {}
    for name, (arguments, aim) in COLD.items():
        command = [sys.executable, "-m", "parallelnet", "explain", "--speech", SPEECH, "--image", PICTURE]
        command += ["--units", "segments", *arguments, "--json"]
        walls = []
        for _ in range(1 + 5):
            start = time.perf_counter()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            walls.append(time.perf_counter() - start)
            if done.returncode:
                found[name] = {"error": done.stderr.strip().splitlines()[-1:]}
                break
        else:
            said = json.loads(done.stdout)
            found[name] = {
                "seconds": round(statistics.median(walls[1:]), 3), "aimed_at": aim, "rounds": len(walls) - 1,
                "of_which_explaining": round(said["seconds"], 3), "budget": said["budget"],
            }  # fmt: skip
        print(f"  {name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def whole_model_ms(model: parallelnet.Predictor) -> float:
    """Return the milliseconds of one row of masks on the whole model, in batches, median of rounds."""
    bench = Bench(model, 8, (2, 4))
    masks = np.random.default_rng(0).random((256, bench.n)) < 0.5
    return round(timed(lambda: bench.whole(masks))[1]["seconds"] / len(masks) * 1000, 3)


def warm() -> None:
    """Let imports and compilers run before the clock does."""
    nodes = players.grid_division(2, 2)
    question = peers.Question(lambda masks: np.asarray(masks, float).sum(1), 8, peers.linkage(nodes, nodes), 0)
    for peer in (*peers.VALUES.values(), shap_exact, shapiq_exact, shapiq_pairs):
        peer(question)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of the network, for all methods alike")
    threads = parser.parse_args().threads
    load = round(os.getloadavg()[0], 2)
    model = parallelnet.load(n_threads=threads)
    warm()
    parts = {
        "16 segments x 4x4": part_owen(model),
        "8 segments x 2x4": part_exact(model),
        "4 segments x 2x2": part_small(model),
    }
    ms = whole_model_ms(model)
    found = {
        "what": "passes and median seconds of one explanation, after decoding; see benchmarks/explainers.py",
        "sample": [SPEECH, PICTURE],
        "baseline": ["silence", "black"],
        "threads": threads,
        "explanations": parts,
        "whole_model_ms_a_row": ms,
        "estimate_exact_8_8_whole_model_seconds": round(2**16 * ms / 1000),
        "cold_process": cold(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load_1_min": load,
        "versions": {"python": platform.python_version()}
        | {
            name: version(name) for name in ("parallelnet", "numpy", "onnxruntime", "shap", "shapiq", "captum", "torch")
        },
    }
    target = ROOT / "benchmarks" / "results" / "explainers.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(parts, indent=2))


if __name__ == "__main__":
    main()
