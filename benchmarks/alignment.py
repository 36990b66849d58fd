"""How well forced alignment tells a text that was spoken from one that was not: chooses the limits in words/sphinx.py.

    .venv/bin/python benchmarks/alignment.py PATH_OF_RAVDESS

Writes `benchmarks/results/alignment.json`: every tenth recording of RAVDESS actors 1 to 14 (none of those that the
published figures are reported on) against its own text and against wrong ones. Losses are nats a frame that the sound
is less likely under the text than under the best phones (`parallelnet.words.sphinx`).
"""

from __future__ import annotations

import csv
import datetime
import functools
import json
import os
import platform
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from parallelnet import audio
from parallelnet.errors import InputError
from parallelnet.words import sphinx

ROOT = Path(__file__).resolve().parents[1]
EVERY = 10
SENTENCES = ("kids are talking by the door", "dogs are sitting by the door")
QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)


def texts(right: str, rng: np.random.Generator) -> dict[str, str]:
    """Return the texts that a recording is held against."""
    words = right.split()
    return {
        "right": right,
        "the other sentence (4 of 6 words are right)": next(text for text in SENTENCES if text != right),
        "its words shuffled": " ".join(rng.permutation(words)),
        "its first half": " ".join(words[:3]),
        "wrong, short": "we went home",
        "wrong, as long": "never mind what she said about it",
        "wrong, foreign": "der hund sitzt vor der alten tuer",
    }


def summary(fits: list[sphinx.Fit | None]) -> dict[str, object]:
    """Return shares and quantiles of one kind of text; None stands for a text refused before the search."""
    whole = [fit for fit in fits if fit is not None and fit.losses]
    accepted = [fit for fit in whole if fit.loss <= sphinx.MAX_LOSS and fit.matched >= sphinx.MIN_MATCHED]
    found: dict[str, object] = {
        "n": len(fits),
        "accepted": round(len(accepted) / len(fits), 3),
        "accepted_without_warning": round(
            sum(fit.matched == 1 and fit.missed <= sphinx.MAX_MISSED for fit in accepted) / len(fits), 3
        ),
        "broke_off": round(1 - len(whole) / len(fits), 3),
    }
    if whole:
        columns = {"loss": [fit.loss for fit in whole], "missed": [fit.missed for fit in whole]}
        columns["word_loss"] = [loss for fit in whole for loss in fit.losses]
        for name, values in columns.items():
            found[name] = {f"q{q:g}": round(float(np.quantile(values, q)), 2) for q in QUANTILES}
        found["matched_mean"] = round(float(np.mean([fit.matched for fit in whole])), 3)
    return found


def main() -> None:
    """Measure and write."""
    data = Path(sys.argv[1])
    with (data / "metadata.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if int(row["speaker"][-2:]) <= 14][::EVERY]
    engine = sphinx.PocketSphinx()
    engine._phones = functools.lru_cache(1)(engine._phones)  # type: ignore[method-assign] # the same for every text
    rng = np.random.default_rng(0)
    fits: dict[str, list[sphinx.Fit | None]] = {}
    start = time.process_time()
    for row in rows:
        waveform = audio.read(data / row["path"])
        for kind, text in texts(row["transcript"], rng).items():
            try:
                fits.setdefault(kind, []).append(engine.fit(waveform, text))
            except InputError:
                fits.setdefault(kind, []).append(None)
    found = {
        "what": "forced alignment of right and wrong texts; losses in nats a frame, missed: part of the speech",
        "data": f"RAVDESS actors 1 to 14, every {EVERY}th recording",
        "limits": {name: getattr(sphinx, name) for name in ("MAX_LOSS", "MAX_WORD_LOSS", "MIN_MATCHED", "MAX_MISSED")},
        "texts": {kind: summary(of_kind) for kind, of_kind in fits.items()},
        "cpu_seconds": round(time.process_time() - start, 1),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load_1_min": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("parallelnet", "numpy", "pocketsphinx")},
    }
    target = ROOT / "benchmarks" / "results" / "alignment.json"
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found["texts"], indent=2))


if __name__ == "__main__":
    main()
