"""Figures of explanations: what is drawn where, in which shade, and what is refused."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
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


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def labelled(ax, kind):
    return [artist for artist in ax.get_children() if isinstance(artist, kind)]


@pytest.mark.parametrize("colours", ["paper", "safe"])
def test_shades_tell_sides_and_amounts(colours):
    scale = drawing.shades(colours, (0.2, -0.1))
    assert scale.limit == 0.2
    assert [side(scale.one(value)) for value in (0.2, 0.05, 0, -0.05, -0.2)] == [1, 1, 0, -1, -1]
    np.testing.assert_array_equal(scale.of(9), scale.of(0.2))
    saturation = [np.ptp(scale.one(value)[:3]) for value in (0, 0.05, 0.1, 0.2)]
    assert saturation == sorted(saturation)
    assert max(scale.one(0)[:3]) < 0.93  # seen on white


@pytest.mark.parametrize("colours", ["paper", "safe"])
def test_ink_reads_on_every_shade(colours):
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    scale = drawing.shades(colours, (1.0,))
    inks = set()
    for value in np.linspace(-1, 1, 101):
        ink = scale.ink(value)
        light, dark = sorted((luminance(scale.one(value)), float(ink == "white")), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA
        inks.add(ink)
    assert inks == {"black", "white"} or colours == "safe"


def test_nothing_looks_like_much():
    assert drawing.shades("paper", (0.0, 0.0)).limit == 0.01
    assert drawing.shades("paper", ()).limit == 0.01


def test_numbers():
    wanted = {(0.1234, 0.5): "+0.123", (-0.0001, 0.5): "0", (-2.345, 3.0): "\N{MINUS SIGN}2.35", (12.34, 20.0): "+12.3"}
    assert {args: drawing.number(*args) for args in wanted} == wanted


def test_waveform_stands_in_the_seconds_of_the_file_in_the_shades_of_its_units():
    explanation = explain()
    figure = plots.speech_plot(explanation)
    above, below = figure.axes
    trimmed, units = (c for c in above.collections if isinstance(c, PolyCollection) and c.get_label() != "kept")
    spans = [tuple(path.vertices[:, 0][[0, len(path.vertices) // 2 - 1]].round(3)) for path in units.get_paths()]
    assert spans == list(pairwise(CUTS))
    assert [side(colour) for colour in units.get_facecolors()] == signs(SPEECH)
    ends = [(path.vertices[:, 0].min().round(3), path.vertices[:, 0].max().round(3)) for path in trimmed.get_paths()]
    assert ends == [(0.0, 0.5), (3.0, 3.5)]
    assert above.get_xlim() == below.get_xlim() == (0, 3.5)
    assert below.get_xlabel() == "seconds in the file"
    kept = next(c for c in above.collections if c.get_label() == "kept")
    starts = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in kept.get_paths()]
    assert starts == [(0.5, 1.0), (1.5, 2.0), (2.0, 3.0)]
    words = {text.get_text(): text.xy[0] for text in above.texts}
    assert words["not"] == pytest.approx(0.75)
    assert set(WORDS) <= set(words)


def test_spectrogram_lies_where_its_frames_are():
    explanation = explain()
    image = plots.speech_plot(explanation).axes[1].images[0]
    pixels, (left, right, _, top) = image.get_array(), image.get_extent()
    assert (left, right, top) == pytest.approx((0.5 - 0.016, 0.5 + 95.5 * 0.032, 128))
    middles = [round((0.5 * (a + b) - 0.5) / 0.032) for a, b in pairwise(CUTS)]
    assert [side(pixels[64, frame]) for frame in middles] == signs(SPEECH)
    assert pixels[64, -1].tolist() == [1, 1, 1]  # after the last unit: no shade
    loud = replace(explanation, material=replace(explanation.material, log_mel=np.ones((128, 96), np.float32)))
    assert plots.speech_plot(loud).axes[1].images[0].get_array()[64, 5].max() < 0.3


def test_bands_have_patches_of_their_own():
    explanation = explain()
    bands = ((0.1, -0.1), (-0.1, -0.1), (0.0, 0.1), (0.1, 0.1))
    values = {"happy": replace(explanation.of_target, speech_bands=bands)}
    pixels = plots.speech_plot(replace(explanation, values=values, mel_bands=2)).axes[1].images[0].get_array()
    frames = [round((a + 0.2 - 0.5) / 0.032) for a in CUTS[:-1]]
    assert [(side(pixels[0, f]), side(pixels[127, f])) for f in frames] == [(1, -1), (-1, -1), (0, 1), (1, 1)]


def test_words_stand_on_their_shades_over_their_seconds():
    figure = plots.words_plot(explain())
    ax = figure.axes[0]
    boxes = labelled(ax, FancyBboxPatch)
    assert [box.get_label() for box in boxes] == list(WORDS)
    assert [side(box.get_facecolor()) for box in boxes] == signs(SPEECH)
    drawn = [text.get_text() for text in ax.texts if text.get_text() != "happy: what each word did"]
    assert drawn[:8] == ["not", "0.60", "a$b$", "1.10", "x_1^2", "1.60", "so", "2.10"]
    assert len(ax.lines) == 1  # one word is not kept
    edges = [(box.get_x(), box.get_x() + box.get_width()) for box in boxes]
    assert all(a[1] < b[0] for a, b in pairwise(edges))
    assert boxes[1].get_x() <= ax.lines[0].get_xdata()[0] <= edges[1][1]


def test_long_texts_get_lines_and_shrink_into_a_given_place():
    n = 60
    times = np.linspace(0, 3, n + 1)
    explanation = replace(
        explain(),
        speech_units=tuple(SpeechUnit(a, b, "emotion", a, b) for a, b in pairwise(times)),
        values={"happy": replace(explain().of_target, speech_units=(0.1,) * n)},
        kept=(True,) * n,
    )
    figure = Figure(figsize=(6, 1.5))
    ax = figure.add_axes((0, 0, 1, 1))
    assert plots.words_plot(explanation, ax, bar=False) is figure
    boxes = labelled(ax, FancyBboxPatch)
    assert len({box.get_y() for box in boxes}) > 2
    assert max(box.get_x() + box.get_width() for box in boxes) <= 6 * 72 + 1e-6
    assert max(box.get_y() + box.get_height() for box in boxes) <= 1.5 * 72
    wide = plots.words_plot(explanation)
    assert wide.get_size_inches()[1] > plots.words_plot(explain()).get_size_inches()[1]


def test_picture_cells_have_the_shades_of_their_values_in_the_box():
    explanation = explain()
    figure = plots.picture_plot(explanation)
    ax = figure.axes[0]
    whole, cells = ax.images
    assert whole.get_array().shape == (60, 90, 3)
    assert cells.get_extent() == [30, 75, 50, 10]
    paint = cells.get_array()
    assert paint.shape == (2, 3, 4)
    assert [side(colour) for colour in paint.reshape(6, 4)] == signs(PICTURE)
    opacity = paint[..., 3].ravel()
    assert opacity.max() == opacity[0] == pytest.approx(0.65)
    assert list(np.argsort(opacity)) == list(np.argsort(np.abs(PICTURE)))
    assert opacity[4] == 0  # what does nothing hides nothing
    seen = next(patch for patch in ax.patches if patch.get_label() == "seen")
    assert seen.get_bbox().bounds == (30, 10, 45, 40)
    strong = [patch.get_bbox().bounds for patch in ax.patches if patch.get_label() == "strong"]
    assert strong == [(30, 10, 15, 20), (60, 30, 15, 20), (45, 10, 15, 20)]
    assert [text.get_text() for text in ax.texts if text.get_text()[0] in "+\N{MINUS SIGN}"] == [
        "+0.300",
        "+0.130",
        "\N{MINUS SIGN}0.100",
    ]


def test_picture_goes_near_to_a_small_box():
    explanation = replace(explain(), image_box=(40, 20, 9, 9))
    figure = plots.picture_plot(explanation)
    ax = figure.axes[0]
    assert ax.get_xlim() == pytest.approx((37.3, 51.7))
    assert ax.get_ylim() == pytest.approx((31.7, 17.3))
    finder = next(child for child in ax.child_axes if child.images)
    assert [patch.get_bbox().bounds for patch in finder.patches] == [(40, 20, 9, 9)] * 2
    assert not any(child.images for child in plots.picture_plot(explanation, finder=False).axes[0].child_axes)


def test_superpixels_are_mapped_into_the_box():
    labels = np.zeros((128, 128), int)
    labels[:, 64:] = 1
    labels[64:, 64:] = 2
    explanation = explain(picture=(0.2, -0.1, 0.0), labels=tuple(labels.ravel().tolist()))
    ax = plots.picture_plot(explanation).axes[0]
    cells = ax.images[1]
    assert cells.get_extent() == [30, 75, 50, 10]
    paint = cells.get_array()
    assert paint.shape == (128, 128, 4)
    assert [side(paint[10, 10]), side(paint[10, 100]), side(paint[100, 100])] == [1, -1, 0]
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert places["+0.200"] == pytest.approx((30 + 45 * 0.25, 30), abs=0.4)  # half a pixel of the model's square
    assert places["\N{MINUS SIGN}0.100"] == pytest.approx((30 + 45 * 0.75, 20), abs=0.4)


def bars(figure):
    return {
        bar.get_label(): (bar[0].get_x(), bar[0].get_width(), bar[0].get_facecolor())
        for bar in figure.axes[0].containers
    }


def test_modalities_lead_from_base_to_the_whole():
    explanation = explain(speech=(0.1, -0.3, 0.0, 0.05))
    own = explanation.of_target
    found = bars(plots.modality_plot(explanation))
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
    assert list(bars(plots.modality_plot(explanation))) == [f"value of the {left}"]
    names = {path.stem for path in plots.save_all(explanation, tmp_path)}
    own = {"speech", "words"} if left == "speech" else {"picture"}
    assert names == {"explanation", "modality", "waterfall", "division"} | own


def test_waterfall_leads_to_the_prediction_and_sums_the_rest():
    explanation = explain()
    figure = plots.waterfall_plot(explanation, k=3)
    found = bars(figure)
    assert list(found) == [
        "picture: row 1, column 1",
        "speech: a$b$ (1.10 s)",
        "picture: row 2, column 3",
        "7 other units",
    ]
    at = 0.25
    for start, change, colour in found.values():
        assert start == pytest.approx(at)
        assert side(colour) == np.sign(change)
        at += change
    assert at == pytest.approx(explanation.full_value)
    drawn = [text.get_text() for text in figure.axes[0].texts]
    assert (drawn[0], drawn[-1]) == ("0.250", f"{explanation.full_value:.3f}")
    assert "1 other unit" in bars(plots.waterfall_plot(explanation, k=9))
    with pytest.raises(OptionError, match="k is 0; allowed: 1 or more"):
        plots.waterfall_plot(explanation, k=0)


def test_waterfall_says_what_a_method_loses():
    explanation = explain()
    missing = replace(explanation.of_target, full=explanation.full_value + 0.05)
    found = bars(plots.waterfall_plot(replace(explanation, values={"happy": missing})))
    assert found["lost by the method"][1] == pytest.approx(0.05)


def test_another_class_shows_its_own_values():
    explanation = explain()
    boxes = labelled(plots.words_plot(explanation, target="sad").axes[0], FancyBboxPatch)
    assert [side(box.get_facecolor()) for box in boxes] == signs(-np.array(SPEECH))
    assert any("probability of sad" in said for said in texts(plots.words_plot(explanation, target="sad")))


def test_interactions_are_a_matrix_with_names():
    explanation = explain(method="exact")
    figure = plots.interaction_plot(explanation)
    ax = figure.axes[0]
    cells = ax.images[0].get_array()
    assert cells.shape == (4, 6, 4)
    table = np.array(explanation.interactions)
    assert [side(colour) for colour in cells.reshape(-1, 4)] == [
        side(colour) for colour in drawing.shades("paper", *explanation.interactions).of(table).reshape(-1, 4)
    ]
    assert (side(cells[1, 0]), side(cells[1, 1]), side(cells[0, 4])) == (-1, 1, 0)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"{word} ({unit.start_s:.2f} s)" for word, unit in zip(WORDS, explanation.speech_units, strict=True)
    ]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3", "1", "2", "3"]
    drawn = [text.get_text() for text in ax.texts]
    assert {"row 1", "row 2", "+0.030", "\N{MINUS SIGN}0.060"} <= set(drawn)
    maps = plots.interaction_plot(explanation, small_multiples=True).axes[0].child_axes
    assert [child.get_title() for child in maps[:4]] == list(WORDS)
    assert maps[1].images[0].get_array().shape == (2, 3, 4)


def test_what_has_no_interactions_or_division_is_refused():
    with pytest.raises(InputError, match=r"Method owen gives no interactions. Mend: .* --method exact"):
        plots.interaction_plot(explain())
    with pytest.raises(InputError, match=r"Method exact divides nothing. Mend: .* --method owen or paper"):
        plots.division_plot(explain(method="exact"))


def test_division_is_a_tree_of_boxes():
    explanation = explain()
    ax = plots.division_plot(explanation).axes[0]
    boxes = {int(box.get_label()): box for box in labelled(ax, FancyBboxPatch)}
    assert len(boxes) == len(explanation.nodes) == 7 + 11
    for k, node in enumerate(explanation.nodes):
        value = explanation.of_target.nodes[k]
        assert side(boxes[k].get_facecolor()) in (int(np.sign(value)), 0 if abs(value) < 0.02 else 9)
        if node.parent >= 0:
            parent = boxes[node.parent]
            assert parent.get_y() < boxes[k].get_y()
            assert parent.get_x() - 1e-6 <= boxes[k].get_x()
            assert boxes[k].get_x() + boxes[k].get_width() <= parent.get_x() + parent.get_width() + 1e-6
    drawn = [text.get_text() for text in ax.texts]
    assert {"speech", "picture", *WORDS, "1, 1", "2, 3", "+0.300"} <= set(drawn)
    assert not any("lost" in said for said in drawn)
    paper = [text.get_text() for text in plots.division_plot(explain(method="paper")).axes[0].texts]
    assert sum("lost +0.010" in said for said in paper) == 3 + 5  # the parts that have halves


def test_without_material_signals_are_refused_and_numbers_drawn(tmp_path):
    explanation = Explanation.from_json(explain().to_json())
    for draw in (plots.speech_plot, plots.picture_plot):
        with pytest.raises(InputError, match=r"has no (waveform|picture) \(material\): it was read from JSON.* Mend: "):
            draw(explanation)
    names = [path.name for path in plots.save_all(explanation, tmp_path)]
    assert names == ["explanation.png", "words.png", "modality.png", "waterfall.png", "division.png"]


def test_what_a_sample_lacks_is_refused():
    with pytest.raises(InputError, match="without speech: there is nothing to draw"):
        plots.speech_plot(explain(speech=()))
    with pytest.raises(InputError, match="without picture"):
        plots.picture_plot(explain(picture=()))
    with pytest.raises(InputError, match=r"The speech units are segments, not words. Mend: "):
        plots.words_plot(explain(words=()))
    with pytest.raises(OptionError, match=r"Unknown target 'hapy'. Did you mean 'happy'"):
        plots.modality_plot(explain(), target="hapy")
    with pytest.raises(OptionError, match=r"Unknown colours 'pink'. Available: paper, safe. See --colours"):
        plots.words_plot(explain(), colours="pink")


ODD = ("\u65e5\u672c\ud800", "\u05e9\u05dc\u05d5\u05dd", "\U0001f469\u200d\U0001f467\ufe0f\x00\n", "$\\frac{")


@pytest.mark.parametrize("method", ["owen", "exact"])
def test_any_text_is_drawn_as_text(method, tmp_path):
    # Warnings are errors here: a missing glyph would raise while the file is written.
    explanation = explain(words=ODD, method=method, emotion="$x_1$ \u65e5 <b>")
    assert len(plots.save_all(explanation, tmp_path)) == (7 if method == "owen" else 8)
    figure = plots.words_plot(explanation)
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
    boxes = labelled(plots.words_plot(explanation).axes[0], FancyBboxPatch)
    assert {side(box.get_facecolor()) for box in boxes} == {int(np.sign(value))}


def test_overview_has_the_parts_and_repeats(tmp_path):
    explanation = explain()
    figure = plots.overview(explanation)
    drawn = texts(figure)
    assert {"happy", "a$b$", "seconds in the file", "only together", "everything present"} <= set(drawn)
    line = "probability of happy: 0.250 with nothing present, 0.500 with everything (owen)"
    assert line in drawn
    first, again = (drawing.save(plots.overview(explanation), tmp_path / name) for name in ("a.png", "b.png"))
    assert first.read_bytes() == again.read_bytes()


def test_figures_can_share_an_axes():
    figure = Figure(figsize=(12, 12))
    axes = figure.subplots(4, 2)
    explanation = explain()
    assert plots.speech_plot(explanation, (axes[0, 0], axes[1, 0])) is figure
    drawers = (plots.words_plot, plots.picture_plot, plots.modality_plot, plots.waterfall_plot, plots.division_plot)
    for draw, ax in zip(drawers, axes.ravel()[3:], strict=True):
        assert draw(explanation, ax) is figure
    assert plots.interaction_plot(explain(method="exact"), axes[0, 1]) is figure


@pytest.mark.parametrize("grid", [(1, 1), (1, 8), (16, 16)])
def test_grids_of_any_size(grid):
    n = grid[0] * grid[1]
    picture = tuple(np.linspace(-0.01, 0.02, n).tolist()) if n > 1 else (0.2,)
    figure = plots.picture_plot(explain(picture=picture, grid=grid))
    assert figure.axes[0].images[1].get_array().shape == (*grid, 4)
    strong = [patch for patch in labelled(figure.axes[0], Rectangle) if patch.get_label() == "strong"]
    assert len(strong) == min(3, n)
    ax = plots.interaction_plot(explain(picture=picture, grid=grid, method="exact")).axes[0]
    assert ax.images[0].get_array().shape == (4, n, 4)
    tree = plots.division_plot(explain(picture=picture, grid=grid)).axes[0]
    assert len(labelled(tree, FancyBboxPatch)) == 7 + 2 * n - 1


def test_no_pyplot_and_nothing_at_import():
    code = (
        "import sys, parallelnet.report.explanation_plots as p; early = 'matplotlib' in sys.modules; "
        "from parallelnet.report.drawing import shades, width_pt; shades('paper', [1.0]); width_pt('a', 9); "
        "print(early, 'matplotlib.pyplot' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
