"""Batches: what evaluation sees is what `predict` sees, and every draw is repeatable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from parallelnet import audio, image
from parallelnet.data import loading
from parallelnet.data.loading import DrawSampler, SampleDataset, SignalStore, collate
from parallelnet.errors import InputError
from parallelnet.options import AugmentOptions, Recipe, SignalOptions
from parallelnet.types import Sample


@pytest.fixture
def samples(tone: np.ndarray, tone_wav: Path, tmp_path: Path) -> list[Sample]:
    photo, long = tmp_path / "photo.png", tmp_path / "long.wav"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(photo)
    soundfile.write(long, np.tile(tone, 4), 16_000)  # 8 s: three windows of 4.096 s
    return [
        Sample("short", speech=str(tone_wav), image=str(photo)),
        Sample("long", speech=str(long), image=None),
        Sample("seen", speech=None, image=str(photo)),
    ]


def dataset(samples: list[Sample], recipe: Recipe | None = None, seed: int = 0) -> SampleDataset:
    return SampleDataset(samples, range(len(samples)), SignalStore(SignalOptions()), recipe or Recipe(), seed)


def test_evaluation_sees_what_predict_sees(samples: list[Sample]) -> None:
    batch = collate([dataset(samples)[i, None] for i in range(3)])
    n_long = len(audio.cut(audio.read(samples[1].speech))[:])
    assert n_long > 1
    assert batch.owner.tolist() == [0, *[1] * n_long, 2]
    np.testing.assert_array_equal(batch.speech[0].numpy(), audio.cut(audio.read(samples[0].speech))[:][0])
    np.testing.assert_array_equal(batch.speech[1 : 1 + n_long].numpy(), audio.cut(audio.read(samples[1].speech))[:])
    assert not batch.speech[-1].any()
    assert not batch.image[1].any()
    # Half a step of the byte that a kept picture has for each value.
    np.testing.assert_allclose(
        batch.image[0].numpy(), image.signal(samples[0].image, SignalOptions())[0], atol=0.5 / 255
    )
    assert batch.label.tolist() == [0, 1, 2]


def test_silence_at_the_ends_is_neither_learnt_from_nor_judged(
    samples: list[Sample], tone: np.ndarray, tmp_path: Path
) -> None:
    quiet = np.zeros(160_000, np.float32)
    soundfile.write(tmp_path / "padded.wav", np.concatenate([quiet, tone, quiet]), 16_000)
    padded = dataset([replace(samples[0], speech=str(tmp_path / "padded.wav")), samples[0]])
    for draw in (None, 5):
        np.testing.assert_array_equal(padded[0, draw].speech.numpy(), padded[1, draw].speech.numpy())


def test_training_draws_one_window_that_depends_on_the_draw(samples: list[Sample]) -> None:
    data = dataset(samples)
    drawn = [data[1, draw].speech for draw in (5, 5, 6)]
    assert drawn[0].shape == (1, 1, 128, 128)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_versions_are_kept_and_as_many_as_asked_for(samples: list[Sample]) -> None:
    recipe = Recipe(speech_versions=2, augment=AugmentOptions(noise=1.0))
    data = dataset(samples, recipe)
    found = {data[0, draw].speech.numpy().tobytes() for draw in range(12)}
    assert len(found) == 2
    again = dataset(samples, recipe)
    assert {again[0, draw].speech.numpy().tobytes() for draw in range(12)} == found
    other = dataset(samples, recipe, seed=1)
    assert {other[0, draw].speech.numpy().tobytes() for draw in range(12)}.isdisjoint(found)


def test_a_full_store_still_answers(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "CACHE_BYTES", 0)
    assert torch.equal(dataset(samples)[0, None].speech, dataset(samples)[0, None].speech)


def test_a_bad_file_names_its_sample(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    with pytest.raises(InputError, match=r"Sample 'x': .*bad\.wav"):
        dataset([Sample("x", speech=str(bad))])[0, None]


def test_sampler_depends_on_seed_and_epoch_alone() -> None:
    sampler = DrawSampler(10, n_draws=25, seed=3)
    first = list(sampler)
    assert list(sampler) == first
    places = [place for place, _ in first]
    assert len(places) == 25
    assert min(places.count(i) for i in range(10)) == 2  # as even as 25 draws of 10 can be
    sampler.set_epoch(1)
    assert [draw for _, draw in sampler] == list(range(25, 50))
    assert [place for place, _ in sampler] != places


def test_devices_share_the_draws_evenly() -> None:
    shares = [list(DrawSampler(11, rank=rank, world_size=2)) for rank in (0, 1)]
    assert len(shares[0]) == len(shares[1]) == 5
    assert not set(shares[0]) & set(shares[1])
