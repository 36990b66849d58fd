"""The search on real small images: the astronaut tilted, twice, tiny, huge, grey, transparent; a cat and text."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from parallelnet import faces, image

EXAMPLES = Path(__file__).parents[1] / "examples"
EYES_AND_MOUTH = ((203, 112), (243, 108), (228, 158))  # of the astronaut, read off by eye


@pytest.fixture(scope="module")
def astronaut():
    return image.read(EXAMPLES / "astronaut.jpg")


def holds(face, *points):
    left, top, width, height = face.box
    return all(left < x < left + width and top < y < top + height for x, y in points)


def test_the_astronaut_has_one_face(astronaut):
    (face,) = faces.find(astronaut)
    assert holds(face, *EYES_AND_MOUTH)
    assert 70 <= face.box[2] <= 130  # by eye, 90 pixels from ear to ear
    assert faces.THRESHOLD <= face.score <= 1


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_tilted_faces_are_found(astronaut, degrees):
    turned = np.asarray(Image.fromarray(astronaut).rotate(degrees, Image.Resampling.BILINEAR, center=(225, 125)))
    assert holds(faces.find(turned)[0], (225, 125))


def test_several_faces_come_largest_first(astronaut):
    portrait = Image.fromarray(astronaut).crop((125, 20, 325, 220))
    scene = Image.new("RGB", (640, 360), (90, 120, 90))
    for side, left in ((110, 30), (300, 160), (160, 470)):
        scene.paste(portrait.resize((side, side)), (left, 30))
    found = faces.find(np.asarray(scene))
    assert [int(face.box[0] > 160) + int(face.box[0] > 470) for face in found] == [1, 2, 0]
    areas = [face.box[2] * face.box[3] for face in found]
    assert areas == sorted(areas, reverse=True)


def page_of_text():
    page = Image.new("RGB", (500, 400), "white")
    for row in range(20):
        ImageDraw.Draw(page).text((20, 10 + 19 * row), "No face stands on this page, only letters.", fill="black")
    return np.asarray(page)


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((3, 4_000, 3), np.uint8),
        np.full((300, 400, 3), 200, np.uint8),
        np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8),
        page_of_text(),
    ],
    ids=("a pixel", "a sliver", "one colour", "noise", "text"),
)
def test_what_has_no_face(rgb):
    assert faces.find(rgb) == []


def test_a_cat_is_no_person():
    assert faces.find(image.read(EXAMPLES / "cat.jpg")) == []


@pytest.mark.parametrize("side", [64, 200, 1_500, 5_000])
def test_the_box_scales_with_the_image(astronaut, side):
    box = np.array(faces.find(astronaut)[0].box)
    resized = np.asarray(Image.fromarray(astronaut).resize((side, side)))
    (found,) = faces.find(resized)
    # Each side by a tenth, which is what other resamplings make of 55 pixels; of 64 pixels little is left.
    np.testing.assert_allclose(np.array(found.box) * 512 / side, box, atol=0.1 * box[2] * max(1, 128 / side))


def test_grey_and_transparent_images(astronaut, tmp_path):
    grey = image.read(astronaut.mean(axis=2).astype(np.uint8))
    assert holds(faces.find(grey)[0], *EYES_AND_MOUTH)
    cut_out = np.dstack([astronaut, np.full((512, 512), 255, np.uint8)])
    cut_out[300:, :, 3] = 0
    Image.fromarray(cut_out).save(tmp_path / "cut_out.png")
    assert holds(faces.find(image.read(tmp_path / "cut_out.png"))[0], *EYES_AND_MOUTH)


def test_boxes_stay_inside_the_image(astronaut):
    cut = astronaut[95:, 190:]
    (face, *_) = faces.find(cut)
    left, top, width, height = face.box
    assert left >= 0
    assert top >= 0
    assert left + width <= cut.shape[1]
    assert top + height <= cut.shape[0]


def test_the_image_is_left_as_it_was_and_may_be_a_view(astronaut):
    mirrored = astronaut[:, ::-1]
    before = mirrored.copy()
    (face,) = faces.find(mirrored)
    np.testing.assert_array_equal(mirrored, before)
    assert holds(face, *((511 - x, y) for x, y in EYES_AND_MOUTH))


def test_threads_find_the_same(astronaut):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(faces.find, [astronaut] * 8))
    assert all(each == found[0] for each in found)


def test_the_graphs_are_small():
    assert sum(path.stat().st_size for path in faces.FOLDER.glob("*.onnx")) < 1_000_000


def test_the_search_runs_without_scikit_image_opencv_and_torch():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('skimage', 'cv2', 'torch')));"
        "from parallelnet import faces, image;"
        f"print(len(faces.find(image.read({str(EXAMPLES / 'astronaut.jpg')!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
