"""Figures of a setting against numbers worked out by hand; tables and plots from their record."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss, precision_recall_fscore_support

from parallelnet.report import numbers
from parallelnet_experiments.tables import modalities, pages, result_plots
from parallelnet_experiments.tables.modalities import Answers
from parallelnet_experiments.tables.statistics import Draws, Pooled, difference

CLASSES = ("anger", "happy", "sad")


def answers(seed: int = 0, n: int = 120, *, sure: float = 2.0, skill: float = 1.0) -> Answers:
    """Answers of five folds that are too sure: the raw ones are sharper by `sure` than the scaled ones."""
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(99).integers(3, size=n)
    logits = rng.normal(size=(n, 3)) + skill * np.eye(3)[labels]

    def softmax(z):
        raised = np.exp(z)
        return raised / raised.sum(axis=1, keepdims=True)

    ids, groups = tuple(f"s{k}" for k in range(n)), tuple(f"g{k // 4}" for k in range(n))
    pooled = Pooled(ids, np.arange(n) // 4 % 5, labels, softmax(logits), softmax(sure * logits), groups)
    return Answers(CLASSES, pooled, (sure,) * 5, (0.8,) * 5)


def record(**found):
    """A record of the study, with one row for each name, and one that was not run."""
    rows = [
        {"key": name, "title": f"title of {name}", "network": "parallelnet", "found": each}
        for name, each in found.items()
    ]
    rows.append({"key": "dropout", "title": "with dropout", "network": "parallelnet", "missing": "not run: none asked"})
    data = {
        "name": "pairs_5",
        "fingerprint": "f" * 64,
        "n": 120,
        "n_components": 30,
        "counts": dict.fromkeys(CLASSES, 40),
    }
    options = {"folds": 5, "seed": 0, "size": "small", "preset": "compact", "weights": "none", "clip_s": 1.024}
    recipe = {"epochs": 1, "batch_size": 8, "optimizer": "adam", "learning_rate": 0.001, "samples_per_epoch": 24}
    recipe["modality_dropout"] = 0.3
    backbones = {"parallelnet": {"speech": "vgg16-narrow", "image": "vgg19-narrow"}}
    head = {"data": data, "options": {**options, "recipe": recipe}, "backbones": backbones}
    return {**head, "rows": rows, "differences": []}


def test_both_files_tell_the_budget():
    for text in pages.files("modalities", record(both=measured())).values():
        assert "backbones vgg16-narrow; vgg19-narrow" in text
        assert "at most 1 epochs of 24 samples each, batches of 8, adam, learning rate 0.001" in text
        assert "speech windows of 1.024 s (default 4.096)" in text
        assert "fingerprint of the samples used: ffffffffffff" in text


def measured(seed: int = 0, **given):
    return modalities.figures(answers(seed, **given), Draws(50, 0))


def test_classes_have_scikit_learns_figures():
    given = answers().pooled
    found = measured()["per_class"]
    expected = precision_recall_fscore_support(given.labels, given.probs.argmax(axis=1))
    for k, name in enumerate(CLASSES):
        for kind, values in zip(("precision", "recall", "f1"), expected, strict=False):
            assert found[name][kind]["value"] == pytest.approx(values[k], abs=1e-12)
            low, high = found[name][kind]["ci95"]
            assert low < values[k] < high
        assert found[name]["n"] == expected[3][k]


def test_a_class_that_nobody_says_has_no_precision():
    given = answers()
    given.pooled.probs[:, 2] = 0
    given.pooled.probs[:, :] /= given.pooled.probs.sum(axis=1, keepdims=True)
    each = modalities.figures(given, Draws(20, 0))["per_class"]["sad"]
    assert each["precision"] == {"value": None, "ci95": [None, None]}
    assert each["recall"]["value"] == each["f1"]["value"] == 0


def test_scaling_is_judged_on_the_same_draws():
    given = answers().pooled
    change = measured()["calibration"]["change"]["nll"]
    expected = log_loss(given.labels, given.probs) - log_loss(given.labels, given.raw)
    assert change["difference"] == pytest.approx(expected, abs=1e-12)
    assert change["difference"] < 0  # the raw ones are too sure
    same = modalities.figures(answers(sure=1.0), Draws(20, 0))["calibration"]["change"]
    for each in same.values():
        # Equal columns of one matrix product, which a BLAS may sum in different orders: of 120 float64 values of up to
        # 10, so 120 roundings of 1e-15, over 120.
        assert [each["difference"], *each["ci95"]] == pytest.approx([0, 0, 0], abs=1e-14)
        assert not numbers.excludes_zero(each["ci95"])


@pytest.mark.parametrize(
    ("thresholds", "coverage", "mean_size", "n"),
    [
        ((0.75,) * 5, 5 / 8, 2, 8),  # 1 - 0.3 is inside, 1 - 0.2 is not
        ((0.0,) * 5, 2 / 8, 1, 8),  # never empty
        ((0.75, None, None, None, None), 3 / 4, 2, 4),  # only fold 0 promises anything
    ],
)
def test_conformal_sets_are_those_of_predict(thresholds, coverage, mean_size, n):
    given = replace(answers(n=8), thresholds=thresholds)
    given.pooled.probs[:] = [0.5, 0.3, 0.2]
    given.pooled.labels[:] = [0, 0, 1, 2, 1, 1, 2, 2]
    found = modalities.conformal(given, Draws(20, 0))
    assert found["coverage"]["mean"] == coverage
    assert found["mean_size"]["mean"] == mean_size
    assert found["one_class"]["mean"] == (mean_size == 1)
    assert found["n"] == n


def test_without_thresholds_it_says_why():
    found = modalities.conformal(replace(answers(), thresholds=(None,) * 5), Draws(20, 0))
    assert found == "no fold had enough validation samples for a threshold"


def test_tables_say_everything_and_nothing_twice():
    given = record(both=measured(), speech=measured(1))
    given["differences"] = [
        {
            "first_title": "title of both",
            "second_title": "title of speech",
            "found": difference(answers(0, skill=3.0).pooled, answers(1).pooled, Draws(50, 0)),
        },
        {"second_title": "x", "first_title": "with dropout", "missing": "not run: none asked"},
    ]
    text = pages.markdown("modalities", given)
    assert text == pages.markdown("modalities", json.loads(json.dumps(given)))
    metrics = given["rows"][0]["found"]["metrics"]
    low, high = metrics["ci95"]["accuracy"]
    assert f"| title of both | parallelnet | 120 | {metrics['accuracy']:.3f} [{low:.3f}, {high:.3f}] |" in text
    assert text.count("not run: none asked") == 2
    assert "**+" in text
    widths = {}
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        widths |= {block[:20]: {line.count(" |") for line in rows}} if rows else {}
    assert all(len(found) == 1 for found in widths.values())


def test_latex_is_escaped_and_every_row_as_wide():
    given = record(both=measured())
    text = pages.latex("modalities", given)
    assert r"pairs\_5" in text
    for part in text.split(r"\begin{tabular}")[1:]:
        body = part.split(r"\end{tabular}")[0]
        assert len({line.count(" & ") for line in body.splitlines() if line.endswith(r"\\")}) == 1


def test_plots_show_the_bins_and_the_recalls(tmp_path):
    given = record(both=measured(), speech=measured(1))
    found = given["rows"][0]["found"]
    figure = result_plots.reliability_pair(given["rows"][0])
    for ax, name in zip(figure.axes, ("raw_metrics", "metrics"), strict=True):
        dots = ax.collections[1].get_offsets()
        np.testing.assert_allclose(dots, [each[1:] for each in found[name]["reliability"] if each[0]])
        assert f"{found[name]['ece']:.3f}" in ax.get_title()
    bars = result_plots.per_class_bars(given).axes[0].patches
    assert len(bars) == 6
    recalls = [each["recall"]["value"] for each in found["per_class"].values()]
    np.testing.assert_allclose([bar.get_height() for bar in bars[:3]], recalls)
    paths = result_plots.save("modalities", given, tmp_path)
    assert [path.name for path in paths] == ["reliability-both.png", "reliability-speech.png", "per-class.png"]
    before = paths[0].read_bytes()
    result_plots.save("modalities", given, tmp_path)
    assert paths[0].read_bytes() == before


def test_a_class_without_samples_is_no_recall_of_zero():
    given = answers()
    given.pooled.labels[given.pooled.labels == 2] = 1
    found = modalities.figures(given, Draws(20, 0))
    assert found["per_class"]["sad"]["recall"]["value"] is None
    json.dumps(found, allow_nan=False)
    ax = result_plots.per_class_bars(record(both=found)).axes[0]
    assert [text.get_text() for text in ax.texts] == ["no sample"]
    assert not any(math.isnan(bar.get_height()) for bar in ax.patches)
