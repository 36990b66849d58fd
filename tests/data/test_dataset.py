import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from parallelnet.data.dataset import digest, fingerprint, open_content, open_data, with_image_groups
from parallelnet.data.manifest import read_manifest, write_manifest
from parallelnet.errors import ManifestError, OptionError
from parallelnet.types import Sample

Make = Callable[[Path], Path]


def _manifest(folder: Path, wav: Make, picture: Make) -> Path:
    samples = [
        Sample(
            id=str(n),
            speech=str(wav(folder / f"{n}.wav")),
            image=str(picture(folder / f"{n}.png")),
            label="sad",
            split="train",
            extra={"note": "x"},
        )
        for n in range(3)
    ]
    return write_manifest(folder / "manifest.csv", samples)


def test_a_manifest_opens_by_file_and_by_folder(tmp_path: Path, wav: Make, picture: Make) -> None:
    folder = tmp_path / "with: colon"
    path = _manifest(folder, wav, picture)

    assert open_data(path) == open_data(folder) == open_data(f"manifest:{folder}") == read_manifest(path)


def test_the_digest_is_of_a_manifests_bytes_wherever_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"abc")
    assert digest(path)[:8] == digest(tmp_path)[:8] == "ba7816bf"  # sha256("abc"), FIPS 180-2, appendix B.1
    assert digest("ravdess:anywhere") == ""
    with pytest.raises(ManifestError, match="cannot be read"):
        digest(tmp_path / "gone.csv")


def test_a_corpus_opens_by_name(ravdess: Path) -> None:
    assert len(open_data(f"ravdess:{ravdess}")) == 80


def test_pictures_of_a_corpus_come_once_and_drops_are_logged(fer2013: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(fer2013 / "train" / "sad" / "000.png", fer2013 / "train" / "sad" / "copy.png")
    shutil.copy(fer2013 / "validation" / "sad" / "000.png", fer2013 / "train" / "sad" / "leak.png")
    shutil.copy(fer2013 / "train" / "sad" / "001.png", fer2013 / "train" / "anger" / "doubt.png")

    with caplog.at_level(logging.INFO):
        samples = open_data(f"fer2013:{fer2013}")

    assert len({sample.image_group for sample in samples}) == len(samples) == 120 - 1
    assert {"train/sad/copy", "train/sad/leak", "train/sad/001", "train/anger/doubt"}.isdisjoint(s.id for s in samples)
    assert "2 dropped: picture stands under two labels" in caplog.text
    assert "1 dropped: picture of train stands in validation too" in caplog.text
    assert "1 dropped: picture stands twice in its split" in caplog.text
    assert len(open_data(f"fer2013:{fer2013}", hash_images=False)) == 120 + 3


@pytest.mark.parametrize("kind", [OptionError, ManifestError])
def test_what_cannot_be_opened_says_how_to_mend(tmp_path: Path, kind: type[Exception]) -> None:
    if kind is OptionError:
        with pytest.raises(OptionError, match="Unknown corpus 'xyz'"):
            open_content(f"xyz:{tmp_path}")
    else:
        with pytest.raises(ManifestError, match=r"has no manifest\.csv\. Mend: .*CORPUS:"):
            open_content(tmp_path)


def test_the_fingerprint_is_of_the_content_not_of_the_place(tmp_path: Path, wav: Make, picture: Make) -> None:
    _manifest(tmp_path / "a", wav, picture)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first, second = open_data(tmp_path / "a"), open_data(tmp_path / "b")

    assert fingerprint(first) == fingerprint(second)
    (tmp_path / "b" / "0.wav").rename(tmp_path / "b" / "renamed.wav")
    renamed = (replace(second[0], speech=str(tmp_path / "b" / "renamed.wav")), *second[1:])
    assert fingerprint(renamed) == fingerprint(first)


def test_the_fingerprint_changes_with_a_byte_a_field_and_the_order(tmp_path: Path, wav: Make, picture: Make) -> None:
    _manifest(tmp_path, wav, picture)
    samples = open_data(tmp_path)
    seen = {
        fingerprint(samples),
        fingerprint(samples[::-1]),
        fingerprint((replace(samples[0], label=""), *samples[1:])),
    }
    with (tmp_path / "2.wav").open("ab") as stream:
        stream.write(b"\0")
    seen.add(fingerprint(samples))
    (tmp_path / "2.wav").unlink()
    seen.add(fingerprint(samples))

    assert len(seen) == 5


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"gone\.png cannot be read: No such file"):
        with_image_groups([Sample(id="1", image=str(tmp_path / "gone.png"))])
