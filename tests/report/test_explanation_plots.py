"""Figures of explanations: what is drawn where, in which shade, and what is refused."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.text import Text
from PIL import Image

from parallelnet.errors import InputError, OptionError
from parallelnet.explanation.parts import ClassValues, DivisionNode, Material, SpeechUnit
from parallelnet.explanation.result import Explanation
from parallelnet.report import drawing
from parallelnet.report import explanation_plots as plots
from parallelnet.types import FaceCrop, Prediction

WORDS = ("not", "a$b$", "x_1^2", "so")
SPEECH = (0.1, -0.2, 0.0, 0.05)
PICTURE = (0.3, -0.1, 0.02, -0.05, 0.0, 0.13)
CUTS = (0.5, 1.0, 1.5, 2.0, 3.0)
RATE = 16000


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(drawing, "_DPI", 40)  # what is drawn is asked of the figures; files need not take time


def halves(modality, units, nodes, parent=-1):
    at = len(nodes)
    nodes.append(DivisionNode(modality, parent, tuple(units)))
    if len(units) > 1:
        middle = (len(units) + 1) // 2
        halves(modality, units[:middle], nodes, at)
        halves(modality, units[middle:], nodes, at)
    return nodes


def explain(speech=SPEECH, picture=PICTURE, words=WORDS, *, method="owen", grid=(2, 3), emotion="happy", labels=()):
    """Return an explanation with material: 3.5 s of speech, 0.5 s at both ends without unit; a box in 90 x 60."""
    nodes = halves("speech", range(len(speech)), []) if speech else []
    nodes = halves("image", range(len(picture)), nodes) if picture else nodes
    units_of = {"speech": speech, "image": picture}
    sums = tuple(sum(units_of[node.modality][k] for k in node.units) for node in nodes)
    interactions = tuple(tuple(s * p for p in picture) for s in speech) if method == "exact" else None
    own = ClassValues(
        base=0.25,
        speech_alone=0.25 + 0.5 * sum(speech),
        image_alone=0.25 + 0.8 * sum(picture),
        full=0.25 + sum(speech) + sum(picture),
        speech=sum(speech),
        image=sum(picture),
        speech_units=speech,
        image_units=picture,
        interactions=interactions,
        nodes=sums,
        lost=tuple(0.01 if len(node.units) > 1 and method == "paper" else 0.0 for node in nodes),
    )
    minus = {name: tuple(-value for value in getattr(own, name)) for name in ("speech_units", "image_units", "nodes")}
    other = replace(own, full=0.25 - sum(speech) - sum(picture), speech=-own.speech, image=-own.image, **minus)
    names = words or [""] * len(speech)
    box = (30, 10, 45, 40)
    return Explanation(
        prediction=Prediction(
            emotion,
            {emotion: own.full, "sad": 1 - own.full},
            (emotion,),
            False,
            ("speech",),
            {},
            FaceCrop("off", "off", box),
            1,
            "toy",
        ),
        target=emotion,
        values={emotion: own, "sad": other},
        method=method,
        score="probability",
        modalities=(*(["speech"] if speech else []), *(["image"] if picture else [])),
        units=("words" if words else "segments") if speech else "",
        speech_units=tuple(
            SpeechUnit(a + 0.1, b - 0.1, w, a, b) for a, b, w in zip(CUTS, CUTS[1:], names, strict=False)
        )
        if speech
        else (),
        image_grid=None if labels or not picture else grid,
        image_labels=labels,
        image_box=box if picture else None,
        image_size=(90, 60) if picture else None,
        nodes=tuple(nodes) if method in ("owen", "paper") else (),
        kept=(True, False, True, True) if speech else (),
        material=Material(
            waveform=np.sin(np.arange(3.5 * RATE) / 20).astype(np.float32) if speech else None,
            log_mel=np.full((128, 96), 0.0, np.float32) if speech else None,
            log_mel_start_s=0.5,
            picture=np.full((60, 90, 3), 90, np.uint8) if picture else None,
        ),
    )


def side(colour):
    """Return 1 for yellow or orange (more red than blue), -1 for blue, 0 for the grey between."""
    gap = float(colour[0]) - float(colour[2])
    return 0 if abs(gap) < 0.03 else int(np.sign(gap))


def signs(values):
    return [int(np.sign(value)) for value in values]


def span_of(path):
    return path.vertices[:, 0].min(), path.vertices[:, 0].max()


def boxes_of(figure):
    """Return the words' texts, each with its box."""
    figure.draw_without_rendering()
    return [text for text in figure.findobj(Text) if text.get_bbox_patch() is not None]


def paint_of(text):
    return side(text.get_bbox_patch().get_facecolor())


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("colours", ["paper", "safe"])
def test_shades_tell_sides_and_amounts(colours):
    scale = drawing.shades(colours, (0.2, -0.1))
    assert drawing.limit_of(scale) == 0.2
    assert [side(scale.to_rgba(value)) for value in (0.2, 0.05, 0, -0.05, -0.2)] == [1, 1, 0, -1, -1]
    np.testing.assert_array_equal(scale.to_rgba(9), scale.to_rgba(0.2))
    saturation = [np.ptp(scale.to_rgba(value)[:3]) for value in (0, 0.05, 0.1, 0.2)]
    assert saturation == sorted(saturation)
    assert max(scale.to_rgba(0)[:3]) < 0.93  # seen on white


@pytest.mark.parametrize("colours", ["paper", "safe"])
def test_ink_reads_on_every_shade(colours):
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    scale = drawing.shades(colours, (1.0,))
    inks = set()
    for value in np.linspace(-1, 1, 101):
        ink = drawing.ink(scale.to_rgba(value))
        light, dark = sorted((luminance(scale.to_rgba(value)), float(ink == "white")), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA
        inks.add(ink)
    assert inks == {"black", "white"} or colours == "safe"


def test_nothing_looks_like_much():
    assert drawing.limit_of(drawing.shades("paper", (0.0, 0.0))) == 0.01
    assert drawing.limit_of(drawing.shades("paper", ())) == 0.01


def test_numbers():
    wanted = {(0.1234, 0.5): "+0.123", (-0.0001, 0.5): "0", (-2.345, 3.0): "\N{MINUS SIGN}2.35", (12.34, 20.0): "+12.3"}
    assert {args: drawing.number(*args) for args in wanted} == wanted


def test_waveform_stands_in_the_seconds_of_the_file_in_the_shades_of_its_units():
    explanation = explain()
    figure = plots.plot(explanation, "speech")
    above, below = figure.axes[:2]
    trimmed, *units = (c for c in above.collections if isinstance(c, PolyCollection) and c.get_label() != "kept")

    def span(part):
        spans = [span_of(path) for path in part.get_paths()]
        return min(a for a, _ in spans), max(b for _, b in spans)

    stripe = 3.5 / 2400 + 0.016  # the places of the envelope, and half a frame
    np.testing.assert_allclose([span(part) for part in units], list(pairwise(CUTS)), atol=stripe)
    assert [side(unit.get_facecolor()[0]) for unit in units] == signs(SPEECH)
    np.testing.assert_allclose([span_of(path) for path in trimmed.get_paths()], [(0, 0.5), (3, 3.5)], atol=stripe)
    assert above.get_xlim() == below.get_xlim() == (0, 3.5)
    assert below.get_xlabel() == "seconds in the file"
    kept = next(c for c in above.collections if c.get_label() == "kept")
    assert [span_of(path) for path in kept.get_paths()] == [(0.5, 1.0), (1.5, 2.0), (2.0, 3.0)]
    words = {label.get_text(): at for at, label in zip(above.get_xticks(), above.get_xticklabels(), strict=True)}
    assert words["not"] == pytest.approx(0.75)
    assert set(WORDS) == set(words)


def test_only_words_that_have_room_are_written_the_strongest_first():
    n = 60
    units = tuple(SpeechUnit(a, b, f"w{k}", a, b) for k, (a, b) in enumerate(pairwise(np.linspace(0, 3, n + 1))))
    own = replace(explain().of_target, speech_units=tuple(0.001 * k for k in range(n)))
    crowded = replace(explain(), speech_units=units, values={"happy": own}, kept=(True,) * n)
    above = plots.plot(crowded, "speech").axes[0]
    names = [label.get_text() for label in above.get_xticklabels()]
    assert names[0] == "w59"
    assert len(names) < 40
    assert np.diff(sorted(above.get_xticks())).min() > 0.09  # seconds: a quarter of an inch, more than a slanted line


def test_spectrogram_lies_where_its_frames_are():
    explanation = explain()
    image = plots.plot(explanation, "speech").axes[1].images[0]
    pixels, (left, right, _, top) = image.get_array(), image.get_extent()
    assert (left, right, top) == pytest.approx((0.5 - 0.016, 0.5 + 95.5 * 0.032, 128))
    middles = [round((0.5 * (a + b) - 0.5) / 0.032) for a, b in pairwise(CUTS)]
    assert [side(pixels[64, frame]) for frame in middles] == signs(SPEECH)
    assert pixels[64, -1].tolist() == [1, 1, 1]  # after the last unit: no shade
    loud = replace(explanation, material=replace(explanation.material, log_mel=np.ones((128, 96), np.float32)))
    assert plots.plot(loud, "speech").axes[1].images[0].get_array()[64, 5].max() < 0.3


def test_bands_have_patches_of_their_own():
    explanation = explain()
    bands = ((0.1, -0.1), (-0.1, -0.1), (0.0, 0.1), (0.1, 0.1))
    values = {"happy": replace(explanation.of_target, speech_bands=bands)}
    pixels = plots.plot(replace(explanation, values=values, mel_bands=2), "speech").axes[1].images[0].get_array()
    frames = [round((a + 0.2 - 0.5) / 0.032) for a in CUTS[:-1]]
    assert [(side(pixels[0, f]), side(pixels[127, f])) for f in frames] == [(1, -1), (-1, -1), (0, 1), (1, 1)]


def test_words_stand_on_their_shades_over_their_seconds():
    figure = plots.plot(explain(), "words")
    words = boxes_of(figure)
    assert [word.get_text() for word in words] == list(WORDS)
    assert [paint_of(word) for word in words] == signs(SPEECH)
    assert {"0.60", "1.10", "1.60", "2.10"} <= set(texts(figure))
    assert [word.get_bbox_patch().get_linestyle() for word in words] == ["solid", ":", "solid", "solid"]  # kept or not
    assert any(said.startswith("dotted: below the 30th percentile") for said in texts(figure))


@pytest.mark.parametrize("word", ["emotion", "WWWWWWWW", "\u65e5\u672c\u8a9e", "\u05e9\u05dc\u05d5\u05dd", "i"])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_words_get_lines_and_never_touch(n, word):
    times = np.linspace(0, 3, n + 1)
    explanation = replace(
        explain(),
        speech_units=tuple(SpeechUnit(a, b, word, a, b) for a, b in pairwise(times)),
        values={"happy": replace(explain().of_target, speech_units=(0.1,) * n)},
        kept=(True,) * n,
    )
    figure = plots.plot(explanation, "words")
    places = [text.get_bbox_patch().get_window_extent() for text in boxes_of(figure)]
    assert max(place.x1 for place in places) <= figure.bbox.x1
    assert all(a.x1 < b.x0 or a.y0 > b.y1 for a, b in pairwise(places))
    assert min(place.y0 for place in places) > figure.axes[1].get_window_extent().y1  # above the scale
    lines = len({round(place.y0) for place in places})
    assert (lines > 2) == (n == 60)


def test_picture_cells_have_the_shades_of_their_values_in_the_box():
    explanation = explain()
    figure = plots.plot(explanation, "picture")
    ax = figure.axes[0]
    whole, seen, cells = ax.images
    assert whole.get_array().shape == (60, 90, 3)
    assert whole.get_alpha() == 0.5  # pale, but for what the model saw
    assert seen.get_extent() == cells.get_extent() == [30, 75, 50, 10]
    paint = cells.get_array()[32::64, 21::43]  # one pixel of each cell
    assert paint.shape == (2, 3, 4)
    assert [side(colour) for colour in paint.reshape(6, 4)] == signs(PICTURE)
    opacity = paint[..., 3].ravel()
    assert opacity.max() == opacity[0] == pytest.approx(0.65)
    assert list(np.argsort(opacity)) == list(np.argsort(np.abs(PICTURE)))
    assert opacity[4] == 0  # what does nothing hides nothing
    (frame,) = ax.patches
    assert frame.get_bbox().bounds == (30, 10, 45, 40)
    # By size; each stands in its cell.
    found = {text.get_text(): text.get_position() for text in ax.texts}
    middles = {"+0.300": (37.5, 20), "+0.130": (67.5, 40), "\N{MINUS SIGN}0.100": (52.5, 20)}
    assert list(found) == list(middles)
    for said, middle in middles.items():
        assert found[said] == pytest.approx(middle, abs=0.4)  # half a pixel of the model's square


def test_values_of_neighbours_do_not_touch():
    picture = tuple(0.3 if k in (17, 18, 33) else 0.0 for k in range(256))
    figure = plots.plot(explain(picture=picture, grid=(16, 16)), "picture")
    figure.draw_without_rendering()
    places = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(places) == 3
    assert not any(a.overlaps(b) for k, a in enumerate(places) for b in places[:k])


def test_picture_goes_near_to_a_small_box():
    explanation = replace(explain(), image_box=(40, 20, 9, 9))
    figure = plots.plot(explanation, "picture")
    ax = figure.axes[0]
    assert ax.get_xlim() == pytest.approx((37.3, 51.7))
    assert ax.get_ylim() == pytest.approx((31.7, 17.3))
    finder = next(child for child in ax.child_axes if child.images)
    assert [patch.get_bbox().bounds for patch in finder.patches] == [(40, 20, 9, 9)] * 2


def test_superpixels_are_mapped_into_the_box():
    labels = np.zeros((128, 128), int)
    labels[:, 64:] = 1
    labels[64:, 64:] = 2
    explanation = explain(picture=(0.2, -0.1, 0.0), labels=tuple(labels.ravel().tolist()))
    ax = plots.plot(explanation, "picture").axes[0]
    cells = ax.images[2]
    assert cells.get_extent() == [30, 75, 50, 10]
    paint = cells.get_array()
    assert paint.shape == (128, 128, 4)
    assert [side(paint[10, 10]), side(paint[10, 100]), side(paint[100, 100])] == [1, -1, 0]
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert places["+0.200"] == pytest.approx((30 + 45 * 0.25, 30), abs=0.4)  # half a pixel of the model's square
    assert places["\N{MINUS SIGN}0.100"] == pytest.approx((30 + 45 * 0.75, 20), abs=0.4)


def bars(figure):
    """Return {name: (start, change, colour)} of the bars that are no levels."""
    ax = figure.axes[0]
    drawn = next(each for each in ax.containers if isinstance(each, BarContainer))
    names = [label.get_text() for label in ax.get_yticklabels()]
    pairs = zip(names, drawn, strict=True)
    return {name: (bar.get_x(), bar.get_width(), bar.get_facecolor()) for name, bar in pairs if bar.get_width()}


def test_modalities_lead_from_base_to_the_whole():
    explanation = explain(speech=(0.1, -0.3, 0.0, 0.05))
    own = explanation.of_target
    found = bars(plots.plot(explanation, "modality"))
    changes = {
        "only the speech": (0.25, own.speech_alone - own.base),
        "only the picture": (own.speech_alone, own.image_alone - own.base),
        "only together": (own.full - own.synergy, own.synergy),
        "value of the speech": (0.25, own.speech),
        "value of the picture": (0.25 + own.speech, own.image),
    }
    assert list(found) == list(changes)
    for name, (start, change) in changes.items():
        assert found[name][:2] == pytest.approx(
            (min(start, start + change) if change < 0 and found[name][1] > 0 else start, change)
        ), name
        assert side(found[name][2]) == np.sign(change)
    assert {side(colour) for _, _, colour in found.values()} == {1, -1}


@pytest.mark.parametrize("gone", ["speech", "picture"])
def test_one_modality_alone(gone, tmp_path):
    explanation = explain(**{gone: ()})
    left = "picture" if gone == "speech" else "speech"
    assert list(bars(plots.plot(explanation, "modality"))) == [f"value of the {left}"]
    names = {path.stem for path in plots.save_all(explanation, tmp_path)}
    own = {"speech", "words"} if left == "speech" else {"picture"}
    assert names == {"explanation", "modality", "waterfall", "division"} | own


def test_waterfall_leads_to_the_prediction_and_sums_the_rest():
    explanation = explain(picture=(*PICTURE, *PICTURE), grid=(4, 3))
    figure = plots.plot(explanation, "waterfall")
    found = bars(figure)
    assert [list(found)[k] for k in (0, 1, 2, -1)] == [
        "picture: row 1, column 1",
        "picture: row 3, column 1",
        "speech: a$b$ (1.10 s)",
        "6 other parts",
    ]
    assert len(found) == 10 + 1
    at = 0.25
    for start, change, colour in found.values():
        assert start + min(change, 0) - min(change, 0) == pytest.approx(at)
        assert side(colour) == np.sign(change)
        at += change
    assert at == pytest.approx(explanation.of_target.full)
    drawn = [text.get_text() for text in figure.axes[0].texts]
    assert (drawn[0], drawn[-1]) == ("0.250", f"{explanation.of_target.full:.3f}")
    # One that is left over is named: a line of its own says no less.
    assert not any(
        "other" in name for name in bars(plots.plot(explain(picture=(*PICTURE, 0.1), grid=(1, 7)), "waterfall"))
    )


def test_waterfall_shows_twice_the_error_of_samples():
    sampled = replace(explain().of_target, speech_errors=(0.01,) * 4, image_errors=(0.02,) * 6)
    ax = plots.plot(replace(explain(), values={"happy": sampled}), "waterfall").axes[0]
    errors = next(each for each in ax.containers if isinstance(each, ErrorbarContainer))
    spans = [np.ptp(line[:, 0]) for line in errors[2][0].get_segments()]
    assert spans[:3] == pytest.approx([0, 0.08, 0.04])  # the level, a cell, a word


def test_waterfall_says_what_a_method_loses():
    explanation = explain()
    missing = replace(explanation.of_target, full=explanation.of_target.full + 0.05)
    found = bars(plots.plot(replace(explanation, values={"happy": missing}), "waterfall"))
    assert found["in no part"][1] == pytest.approx(0.05)


def test_another_class_shows_its_own_values():
    explanation = explain()
    boxes = boxes_of(plots.plot(explanation, "words", target="sad"))
    assert [paint_of(box) for box in boxes] == signs(-np.array(SPEECH))
    assert any("probability of sad" in said for said in texts(plots.plot(explanation, "words", target="sad")))


def test_interactions_are_a_matrix_with_names():
    explanation = explain(method="exact")
    figure = plots.plot(explanation, "interaction")
    ax = figure.axes[0]
    cells = ax.images[0].get_array()
    assert cells.shape == (4, 6, 4)
    table = np.array(explanation.interactions)
    assert [side(colour) for colour in cells.reshape(-1, 4)] == [
        side(colour) for colour in drawing.shades("paper", *explanation.interactions).to_rgba(table).reshape(-1, 4)
    ]
    assert (side(cells[1, 0]), side(cells[1, 1]), side(cells[0, 4])) == (-1, 1, 0)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"{word} ({unit.start_s:.2f} s)" for word, unit in zip(WORDS, explanation.speech_units, strict=True)
    ]
    cells = [label.get_text() for label in ax.get_xticklabels()]
    assert cells == ["1, 1", "1, 2", "1, 3", "2, 1", "2, 2", "2, 3"]
    assert {"+0.030", "\N{MINUS SIGN}0.060"} <= {text.get_text() for text in ax.texts}
    maps = plots.plot(explanation, "interaction_maps").axes
    assert [child.get_title() for child in maps[:4]] == list(WORDS)
    assert maps[1].images[0].get_array()[32::64, 21::43].shape == (2, 3, 4)


def test_what_has_no_interactions_or_division_is_refused():
    with pytest.raises(InputError, match=r"Method owen gives no interactions. Mend: .* --method exact"):
        plots.plot(explain(), "interaction")
    with pytest.raises(InputError, match=r"Method exact divides nothing. Mend: .* --method owen or paper"):
        plots.plot(explain(method="exact"), "division")


def test_division_is_a_tree_of_boxes():
    explanation = explain()
    speech, picture = plots.plot(explanation, "division").axes[:2]
    assert (speech.get_title(loc="left"), picture.get_title(loc="left")) == ("speech", "picture")
    boxes = {
        place: box
        for ax, nodes in ((speech, range(7)), (picture, range(7, 18)))
        for place, box in zip(nodes, ax.containers[0], strict=True)
    }
    assert len(boxes) == len(explanation.nodes) == 7 + 11
    for k, node in enumerate(explanation.nodes):
        value = explanation.of_target.nodes[k]
        assert side(boxes[k].get_facecolor()) in (int(np.sign(value)), 0 if abs(value) < 0.02 else 9)
        if node.parent >= 0:
            parent = boxes[node.parent]
            assert parent.get_y() + parent.get_height() < boxes[k].get_y()
            assert parent.get_x() <= boxes[k].get_x()
            assert boxes[k].get_x() + boxes[k].get_width() <= parent.get_x() + parent.get_width()
    assert [label.get_text() for label in speech.get_xticklabels()] == list(WORDS)
    assert {"1, 1", "2, 3"} <= {label.get_text() for label in picture.get_xticklabels()}
    drawn = [text.get_text() for text in (*speech.texts, *picture.texts)]
    assert "+0.300" in drawn
    assert not any("lost" in said for said in drawn)
    paper = texts(plots.plot(explain(method="paper"), "division"))
    assert sum("lost +0.010" in said for said in paper) == 3 + 5  # the parts that have halves


def test_without_material_signals_are_refused_and_numbers_drawn(tmp_path):
    explanation = Explanation.from_json(explain().to_json())
    for name in ("speech", "picture"):
        with pytest.raises(InputError, match=r"has no (waveform|picture) \(material\): it was read from JSON.* Mend: "):
            plots.plot(explanation, name)
    names = [path.name for path in plots.save_all(explanation, tmp_path)]
    assert names == ["explanation.png", "words.png", "modality.png", "waterfall.png", "division.png"]


def test_what_a_sample_lacks_is_refused():
    with pytest.raises(InputError, match="without speech: there is nothing to draw"):
        plots.plot(explain(speech=()), "speech")
    with pytest.raises(InputError, match="without picture"):
        plots.plot(explain(picture=()), "picture")
    with pytest.raises(InputError, match=r"The speech units are segments, not words. Mend: "):
        plots.plot(explain(words=()), "words")
    with pytest.raises(OptionError, match=r"Unknown target 'hapy'. Did you mean 'happy'"):
        plots.plot(explain(), "modality", target="hapy")
    with pytest.raises(OptionError, match=r"Unknown colours 'pink'. Available: paper, safe. See --colours"):
        plots.plot(explain(), "words", colours="pink")


ODD = ("\u65e5\u672c\ud800", "\u05e9\u05dc\u05d5\u05dd", "\U0001f469\u200d\U0001f467\ufe0f\x00\n", "$\\frac{")


@pytest.mark.parametrize("method", ["owen", "exact"])
def test_any_text_is_drawn_as_text(method, tmp_path):
    # Warnings are errors here: a missing glyph would raise while the file is written.
    explanation = explain(words=ODD, method=method, emotion="$x_1$ \u65e5 <b>")
    assert len(plots.save_all(explanation, tmp_path)) == (7 if method == "owen" else 8)
    figure = plots.plot(explanation, "words")
    drawn = texts(figure)
    assert "$\\frac{" in drawn
    assert any("$x_1$" in said and "<b>" in said for said in drawn)
    assert not any(c in said for said in drawn for c in "\x00\n\ud800")
    literal = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert literal
    assert not any(text.get_parse_math() for text in literal)


def test_texts_are_cut_and_missing_characters_shown():
    assert drawing.plain("a\tb\x00 c\u2028d") == "a b c d"
    assert drawing.plain("x" * 70) == "x" * 59 + "\N{HORIZONTAL ELLIPSIS}"
    assert drawing.plain("\ud800") == "\N{WHITE SQUARE}"
    assert drawing.plain("\u00e9t\u00e9") == "\u00e9t\u00e9"


@pytest.mark.parametrize("value", [0.0, -0.05])
def test_all_zero_and_all_negative(value, tmp_path):
    explanation = explain(speech=(value,) * 4, picture=(value,) * 6)
    path = drawing.save(plots.overview(explanation), tmp_path / "new" / "overview.png")
    with Image.open(path) as picture:
        assert min(picture.size) > 200
        assert len(picture.convert("L").getcolors()) > 50  # shades: something was drawn
    assert {paint_of(box) for box in boxes_of(plots.plot(explanation, "words"))} == {int(np.sign(value))}


def test_overview_has_the_parts_and_repeats(tmp_path):
    explanation = explain()
    figure = plots.overview(explanation)
    drawn = texts(figure)
    told = {
        "happy: 50% sure, from speech and picture",
        "a$b$",
        "seconds in the file",
        "only together",
        "everything present",
    }
    assert told <= set(drawn)
    line = "probability of happy: 0.250 with nothing present, 0.500 with everything (owen)"
    assert line in drawn
    first, again = (drawing.save(plots.overview(explanation), tmp_path / name) for name in ("a.png", "b.png"))
    assert first.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("grid", [(1, 1), (1, 8), (16, 16)])
def test_grids_of_any_size(grid):
    n = grid[0] * grid[1]
    picture = tuple(np.linspace(-0.01, 0.02, n).tolist()) if n > 1 else (0.2,)
    figure = plots.plot(explain(picture=picture, grid=grid), "picture")
    assert len(np.unique(figure.axes[0].images[2].get_array().reshape(-1, 4), axis=0)) > (n > 1)
    assert len(figure.axes[0].texts) == min(3, n)
    ax = plots.plot(explain(picture=picture, grid=grid, method="exact"), "interaction").axes[0]
    assert ax.images[0].get_array().shape == (4, n, 4)
    tree = plots.plot(explain(picture=picture, grid=grid), "division").axes
    assert [len(ax.containers[0]) for ax in tree[:2]] == [7, 2 * n - 1]


def test_no_pyplot_and_nothing_at_import():
    code = (
        "import sys, parallelnet.report.explanation_plots as p; early = 'matplotlib' in sys.modules; "
        "from parallelnet.report.drawing import plain, shades; shades('paper', [1.0]); plain('\u65e5'); "
        "print(early, 'matplotlib.pyplot' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
