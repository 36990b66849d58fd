"""A small data set that can be learnt: low and high voices with dark and bright pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet.data.manifest import write_manifest
from parallelnet.types import Sample

CLASSES = ("anger", "sad")


def write_pairs(folder: Path, n_speakers: int = 6, *, splits: bool = True) -> Path:
    """Write two utterances and pictures a speaker, one of each class, and return the manifest."""
    rng = np.random.default_rng(0)
    samples = []
    for speaker in range(n_speakers):
        split = "train" if speaker < n_speakers - 2 else ("validation", "test")[speaker - n_speakers + 2]
        for index, label in enumerate(CLASSES):
            name = f"{label}-{speaker}"
            seconds = np.arange(16_000 * (5 if speaker == 0 else 1)) / 16_000  # one is longer than a window
            wave = np.sin(2 * np.pi * (200 + 2000 * index + 20 * speaker) * seconds)
            soundfile.write(folder / f"{name}.wav", 0.3 * wave + 0.01 * rng.standard_normal(len(wave)), 16_000)
            pixels = rng.integers(0, 60, (48, 48), np.uint8) + 180 * index
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
            samples.append(
                Sample(
                    name,
                    speech=str(folder / f"{name}.wav"),
                    image=str(folder / f"{name}.png"),
                    label=label,
                    split=split if splits else "",
                    group=f"speaker-{speaker}",
                    image_group=name,
                    extra={"sex": ("female", "male")[speaker % 2]},
                )
            )
    return write_manifest(folder / "manifest.csv", samples)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Six speakers: four to train on, one to stop and calibrate, one to report on."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    return write_pairs(folder)


@pytest.fixture
def unsplit(tmp_path: Path) -> Path:
    """Twelve speakers without splits."""
    folder = tmp_path / "unsplit"
    folder.mkdir()
    return write_pairs(folder, 12, splits=False)
