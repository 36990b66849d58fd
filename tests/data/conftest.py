"""Small real corpora: every sound is a wav that plays, every picture a file that opens, no two alike."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet.types import EMOTIONS

Make = Callable[[Path], Path]


def _wav_maker() -> Make:
    n_made = 0

    def make(path: Path) -> Path:
        nonlocal n_made
        n_made += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        time_s = np.arange(400) / 8000
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + n_made) * time_s), 8000)
        return path

    return make


def _picture_maker(first_seed: int) -> Make:
    n_made = first_seed

    def make(path: Path) -> Path:
        nonlocal n_made
        n_made += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(n_made).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return make


@pytest.fixture
def wav() -> Make:
    """Return a function that writes a wav of 50 ms; the next one has another pitch."""
    return _wav_maker()


@pytest.fixture
def picture() -> Make:
    """Return a function that writes a picture of 8 x 8; the next one has other pixels."""
    return _picture_maker(0)


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with RAVDESS and FER-2013 in small, written once; tests get links to its files."""
    root = tmp_path_factory.mktemp("corpora")
    wav, picture = _wav_maker(), _picture_maker(1000)
    for actor in range(1, 11):
        for emotion in ("01", "03", "04", "05", "07"):
            for statement in ("01", "02"):
                wav(root / "ravdess" / f"Actor_{actor:02d}" / f"03-01-{emotion}-01-{statement}-01-{actor:02d}.wav")
    for split, factor in (("train", 10), ("validation", 2)):
        for number, label in enumerate(EMOTIONS):
            for index in range(factor * (number + 1)):
                picture(root / "fer2013" / split / label / f"{index:03d}.png")
    return root


@pytest.fixture
def ravdess(corpora: Path, tmp_path: Path) -> Path:
    """Return RAVDESS in small: ten actors, two utterances of each emotion and two neutral ones, original names."""
    return Path(shutil.copytree(corpora / "ravdess", tmp_path / "ravdess", copy_function=os.link))


@pytest.fixture
def fer2013(corpora: Path, tmp_path: Path) -> Path:
    """Return FER-2013 in small: folders train (10, 20, 30, 40 pictures a class) and validation (2, 4, 6, 8)."""
    return Path(shutil.copytree(corpora / "fer2013", tmp_path / "fer2013", copy_function=os.link))
