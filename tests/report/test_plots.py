"""Figures: what they show, that they need no display, and what is written."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from parallelnet.evaluation import evaluate
from parallelnet.report import plots

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
    losses, scores = plots.training_curves(ROWS, "title").axes
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


def test_no_pyplot_and_nothing_at_import():
    code = (
        "import sys, parallelnet.report.plots as p; early = 'matplotlib' in sys.modules; p.training_curves([]); "
        "print(early, 'matplotlib.pyplot' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
