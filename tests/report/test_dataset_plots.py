"""Figures of a data set: what is drawn is what was counted, and the same counts are the same file."""

import pytest

from parallelnet.report import drawing
from parallelnet.report import plots as dataset_plots

CLASSES = ("anger", "happy", "hate", "sad")
COUNTS = {"anger": 10, "happy": 60, "hate": 0, "sad": 30}
PAPER = {"anger": 19_913, "happy": 42_958, "hate": 4_401, "sad": 13_621}
CURVE = tuple(
    (step / 20, 10 * (20 - step), {name: k * (20 - step) for k, name in enumerate(CLASSES, 1)}) for step in range(20)
)
NAMED = {row: {column: 10 * i + j for j, column in enumerate(CLASSES)} for i, row in enumerate(CLASSES)}
BINS = {"image": (0,) * 10 + (3,) * 10, "speech": (0,) * 12 + (5,) * 8}


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def widths(ax, which):
    return [bar.get_width() for bar in ax.containers[which]]


def test_shares_stand_beside_the_papers():
    ax = dataset_plots.class_shares(COUNTS, PAPER).axes[0]
    assert widths(ax, 0) == pytest.approx([0.1, 0.6, 0, 0.3])
    assert widths(ax, 1) == pytest.approx([PAPER[name] / 80_893 for name in COUNTS])
    assert "60.0%  (60)" in texts(ax.figure)
    assert "53.1%  (42,958)" in texts(ax.figure)
    alone = dataset_plots.class_shares(COUNTS).axes[0]
    assert len(alone.containers) == 1
    assert alone.get_legend() is None


def test_the_curve_is_stacked_and_the_threshold_marked():
    figure = dataset_plots.threshold_curve(CURVE, 0.5, 123, CLASSES)
    ax = figure.axes[0]
    assert texts(figure) == ["0.5: 123 kept"]
    top = max(path.vertices[:, 1].max() for path in ax.collections[-1].get_paths())
    assert top == 200  # 1 + 2 + 3 + 4 times 20
    assert ax.lines[0].get_xdata()[0] == 0.5
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(reversed(CLASSES))
    assert ax.get_ylim()[1] > top


def test_teachers_agree_on_the_diagonal():
    figure = dataset_plots.teacher_table(NAMED, CLASSES)
    total = sum(sum(row.values()) for row in NAMED.values())
    assert texts(figure)[5] == f"11\n{11 / total:.1%}"
    agreed = (0 + 11 + 22 + 33) / total
    assert figure.axes[0].get_title(loc="left") == f"The two teachers agree on {agreed:.1%}"
    assert len(figure.axes[0].patches) == 4


def test_confidences_are_stacked_by_source():
    ax = dataset_plots.confidences(BINS, 0.5).axes[0]
    tops = [bar.get_y() + bar.get_height() for bar in ax.containers[1]]
    assert tops[9:14] == [0, 3, 3, 8, 8]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["picture decided, 30", "speech decided, 40"]
    assert ax.get_ylim()[1] > 8


def test_durations():
    ax = dataset_plots.durations((0, 2, 5)).axes[0]
    assert [bar.get_height() for bar in ax.containers[0]] == [0, 2, 5]


EMPTY = {
    "shares": lambda: dataset_plots.class_shares(dict.fromkeys(CLASSES, 0), PAPER),
    "curve": lambda: dataset_plots.threshold_curve(((0.0, 0, {}), (0.95, 0, {})), 0.99, 0, CLASSES),
    "teachers": lambda: dataset_plots.teacher_table({}, CLASSES),
    "confidences": lambda: dataset_plots.confidences({}, 0.5),
    "durations": lambda: dataset_plots.durations(()),
}


@pytest.mark.parametrize("make", EMPTY.values(), ids=EMPTY)
def test_nothing_is_drawn_without_complaint(make, tmp_path):
    assert drawing.save(make(), tmp_path / "figure.png").stat().st_size > 1000


def test_the_same_counts_are_the_same_file(tmp_path):
    files = [drawing.save(dataset_plots.class_shares(COUNTS, PAPER), tmp_path / f"{k}.png") for k in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()
