"""Figures: what is drawn is what was counted, they need no display, and the same counts are the same file."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from parallelnet.evaluation import evaluate
from parallelnet.report import drawing, plots

CLASSES = ("anger", "happy", "hate", "sad")


@pytest.fixture
def metrics():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=80)  # no `sad` in the truth
    raised = np.exp(rng.normal(size=(80, 4)) + 2 * np.eye(4)[y])
    return evaluate(y, raised / raised.sum(axis=1, keepdims=True), CLASSES, n_bootstrap=2)


def test_cells_show_part_and_count(metrics):
    figure = plots.confusion_matrix(metrics)
    texts = [text.get_text() for text in figure.axes[0].texts]
    row = metrics.confusion_matrix[1]
    assert texts[4:8] == [f"{count / sum(row):.0%}\n{count}" for count in row]
    assert texts[12:] == ["-"] * 4
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(CLASSES)
    assert figure.axes[0].get_ylabel() == "true"


def test_reliability_dots_are_the_filled_bins(metrics):
    ax = Figure().subplots(1, 2)[1]
    plots.reliability_diagram(metrics, ax)
    dots = ax.collections[1].get_offsets()
    np.testing.assert_allclose(dots, [bin_[1:] for bin_ in metrics.reliability if bin_[0]])


ROWS = [
    {"epoch": 0, "train_loss": 1.4, "train_accuracy": 0.3, "validation_loss": None, "lr": 0.1},
    {"epoch": "0", "train_loss": "", "validation_loss": "1.3", "validation_accuracy": "0.4"},
    {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "validation_loss": float("nan")},
    {"epoch": 1, "validation_loss": 1.1, "validation_accuracy": 0.45, "validation_kappa": -0.2},
]


def test_curves_join_the_rows_of_an_epoch():
    losses, scores = plots.training_curves(ROWS).axes
    lines = {line.get_label(): line.get_xydata().tolist() for ax in (losses, scores) for line in ax.lines}
    assert lines == {
        "train loss": [[0, 1.4], [1, 1.0]],
        "validation loss": [[0, 1.3], [1, 1.1]],
        "train accuracy": [[0, 0.3], [1, 0.5]],
        "validation accuracy": [[0, 0.4], [1, 0.45]],
        "validation kappa": [[1, -0.2]],
    }
    assert scores.get_ylim()[0] == -0.2
    assert not plots.training_curves([]).axes[0].lines


def test_files_are_written_and_repeat(metrics, tmp_path):
    png, table = plots.save_confusion(metrics, tmp_path / "new")
    assert (png.name, table.name) == ("confusion.png", "confusion.csv")
    with table.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header[1:] == list(CLASSES)
    assert [[int(x) for x in row[1:]] for row in rows] == [list(row) for row in metrics.confusion_matrix]
    saved = [png, plots.save_training_curves(ROWS, tmp_path / "a" / "b")]
    for path in saved:
        with Image.open(path) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("L").getcolors()) > 50  # shades: something was drawn
    again, _ = plots.save_confusion(metrics, tmp_path / "again")
    assert again.read_bytes() == png.read_bytes()


# --- of a built data set ----------------------------------------------------------------------------------------------

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
    ax = plots.class_shares(COUNTS, PAPER).axes[0]
    assert widths(ax, 0) == pytest.approx([0.1, 0.6, 0, 0.3])
    assert widths(ax, 1) == pytest.approx([PAPER[name] / 80_893 for name in COUNTS])
    assert "60.0%  (60)" in texts(ax.figure)
    assert "53.1%  (42,958)" in texts(ax.figure)
    alone = plots.class_shares(COUNTS).axes[0]
    assert len(alone.containers) == 1
    assert alone.get_legend() is None


def test_the_curve_is_stacked_and_the_threshold_marked():
    figure = plots.threshold_curve(CURVE, 0.5, 123, CLASSES)
    ax = figure.axes[0]
    assert texts(figure) == ["0.5: 123 kept"]
    top = max(path.vertices[:, 1].max() for path in ax.collections[-1].get_paths())
    assert top == 200  # 1 + 2 + 3 + 4 times 20
    assert ax.lines[0].get_xdata()[0] == 0.5
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(reversed(CLASSES))
    assert ax.get_ylim()[1] > top


def test_teachers_agree_on_the_diagonal():
    figure = plots.teacher_table(NAMED, CLASSES)
    total = sum(sum(row.values()) for row in NAMED.values())
    assert texts(figure)[5] == f"11\n{11 / total:.1%}"
    agreed = (0 + 11 + 22 + 33) / total
    assert figure.axes[0].get_title(loc="left") == f"The two teachers agree on {agreed:.1%}"
    assert len(figure.axes[0].patches) == 4


def test_confidences_are_stacked_by_source():
    ax = plots.confidences(BINS, 0.5).axes[0]
    tops = [bar.get_y() + bar.get_height() for bar in ax.containers[1]]
    assert tops[9:14] == [0, 3, 3, 8, 8]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["picture decided, 30", "speech decided, 40"]
    assert ax.get_ylim()[1] > 8


def test_durations():
    ax = plots.durations((0, 2, 5)).axes[0]
    assert [bar.get_height() for bar in ax.containers[0]] == [0, 2, 5]


EMPTY = {
    "shares": lambda: plots.class_shares(dict.fromkeys(CLASSES, 0), PAPER),
    "curve": lambda: plots.threshold_curve(((0.0, 0, {}), (0.95, 0, {})), 0.99, 0, CLASSES),
    "teachers": lambda: plots.teacher_table({}, CLASSES),
    "confidences": lambda: plots.confidences({}, 0.5),
    "durations": lambda: plots.durations(()),
}


@pytest.mark.parametrize("make", EMPTY.values(), ids=EMPTY)
def test_nothing_is_drawn_without_complaint(make, tmp_path):
    assert drawing.save(make(), tmp_path / "figure.png").stat().st_size > 1000


def test_the_same_counts_are_the_same_file(tmp_path):
    files = [drawing.save(plots.class_shares(COUNTS, PAPER), tmp_path / f"{k}.png") for k in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_no_pyplot_and_nothing_at_import():
    code = (
        "import sys, parallelnet.report.plots as p; early = 'matplotlib' in sys.modules; p.training_curves([]); "
        "print(early, 'matplotlib.pyplot' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
