"""Small synthetic signals that any test may use; nothing here needs a network, torch or real data."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import settings
from PIL import Image

# The same examples each time, so that `make test` says the same of the same code: random ones are for `make fuzz`.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


@pytest.fixture
def tone() -> npt.NDArray[np.float32]:
    """Two seconds at 16 kHz, float32 `[32000]`: a 220 Hz voice-like tone that swells and fades, with a little noise."""
    seconds = np.arange(32_000) / 16_000
    rng = np.random.default_rng(0)
    harmonics = sum(np.sin(2 * np.pi * 220 * k * seconds) / k for k in range(1, 12))
    swell = 0.3 * np.sin(np.pi * seconds / 2) ** 2
    return (swell * harmonics + 1e-3 * rng.standard_normal(len(seconds))).astype(np.float32)


@pytest.fixture
def picture() -> npt.NDArray[np.uint8]:
    """A picture of 60 rows and 80 columns, uint8 `[60, 80, 3]`: smooth, and different in every corner."""
    rows, columns = np.mgrid[0:60, 0:80]
    return np.stack([rows * 4, columns * 3, (rows + columns) % 128], axis=2).astype(np.uint8)


@pytest.fixture
def tone_wav(tone: npt.NDArray[np.float32], tmp_path: Path) -> Path:
    """The tone as a 16-bit wav."""
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone, 16_000)
    return path


@pytest.fixture
def picture_png(picture: npt.NDArray[np.uint8], tmp_path: Path) -> Path:
    """The picture as a png."""
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def table() -> Callable[[Path, Iterable[Iterable[object]]], Path]:
    """Return a function that writes rows, the header first, as csv."""

    def make(path: Path, rows: Iterable[Iterable[object]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(rows)
        return path

    return make
