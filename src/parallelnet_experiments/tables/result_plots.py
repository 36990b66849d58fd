"""Figures of results, drawn from their JSON: curves, confusion matrix, differences, reliability, recalls; Fig. 4."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from parallelnet import records
from parallelnet.errors import ParallelNetError
from parallelnet.evaluation import Metrics
from parallelnet.explanation.explaining import explain
from parallelnet.explanation.result import Explanation
from parallelnet.predictor import load
from parallelnet.report import drawing, plots, sample_plots
from parallelnet.report.drawing import DARK, Shown, heading, panels
from parallelnet.types import Sample

from . import pages
from .prepared import Material
from .study import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SCORES = {"accuracy": plots.BLUE, "macro_f1": plots.ORANGE, "kappa": plots.GREEN}
_STYLES: dict[str, Literal["-", "--"]] = {"validation": "-", "train": "--"}
# Okabe and Ito 2008: told apart with any colour vision.
COLOURS = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.PURPLE, "#E69F00", "#56B4E9", "#F0E442", plots.GREY)
N_ACROSS = 3
ROW = "parallelnet"  # the row whose network is explained in Fig. 4
N_WORDS = 3


def write(kind: str, record: Mapping[str, Any], out: Path) -> Path:
    """Write `KIND.json`, its tables and its pictures into a folder, and return the JSON's path.

    The same record gives the same bytes (pictures: with the same matplotlib).
    """
    path = out / f"{kind}.json"
    out.mkdir(parents=True, exist_ok=True)
    records.write_text(path, dump(record))
    again = json.loads(path.read_text(encoding="utf-8"))
    for name, text in pages.files(kind, again).items():
        records.write_text(out / name, text)
    save(kind, again, out)
    return path


def dump(record: Mapping[str, Any]) -> str:
    """Return a result as strict JSON, lists of bare values on one line."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    # A raw newline is never inside a JSON string, so "[\n" begins a list and nothing else.
    bare = re.compile(r"\[\n\s+([^\[\]{}]*?)\n\s+\]")
    return bare.sub(lambda found: "[" + re.sub(r",\n\s+", ", ", found[1]) + "]", text) + "\n"


def save(kind: str, record: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """Write what a result has figures for, and return the paths; the same result is the same file.

    `table1` has curves.png, differences.png, confusion.png, confusion.csv; `modalities` reliability-KEY.png of each
    setting and per-class.png; `table2` none.
    """
    rows = pages.run(record)
    figures: dict[str, Figure] = {}
    confusion: tuple[Path, ...] = ()
    how: dict[str, Any] = {"dpi": 130}
    if kind == "table1":
        figures |= {"curves.png": curves(record)} if rows else {}
        figures |= {"differences.png": differences(record)} if record["differences"] else {}
        if "parallelnet" in rows:
            confusion = plots.save_confusion(_metrics(rows["parallelnet"]["pooled"]), folder)
    elif kind == "modalities" and rows:
        figures = {f"reliability-{row['key']}.png": reliability_pair(row) for row in rows}
        figures["per-class.png"] = per_class_bars(record)
        how = {"dpi": 150, "bbox_inches": "tight"}
    for name, figure in figures.items():
        # Without the date and the version in it, the same result is the same file.
        figure.savefig(folder / name, metadata={"Software": None}, **how)
    return (*(folder / name for name in figures), *confusion)


def _metrics(found: Mapping[str, Any]) -> Metrics:
    return Metrics.from_json(json.dumps(found))


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def curves(record: Mapping[str, Any]) -> "Figure":
    """Return one panel a row: accuracy, macro F1 and kappa over epochs, mean of the folds, training dashed.

    A fold that stopped early counts up to its last epoch; the band is the lowest and the highest fold in validation.
    """
    from matplotlib.lines import Line2D

    rows = list(pages.run(record).values())
    n_down = -(-len(rows) // N_ACROSS)
    figure = _figure(3.7 * N_ACROSS, 2.6 * n_down + 0.5)
    grid = figure.subplots(n_down, N_ACROSS, squeeze=False, sharey=True).ravel()
    for ax, row in zip(grid, rows, strict=False):
        _draw_curves(ax, row)
    for ax in grid[len(rows) :]:
        ax.set_axis_off()
    handles = [Line2D([], [], color=colour, label=name.replace("_f1", " F1")) for name, colour in _SCORES.items()]
    handles += [Line2D([], [], color=plots.GREY, linestyle=style, label=part) for part, style in _STYLES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _draw_curves(ax: "Axes", row: Mapping[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    for (name, colour), (part, style) in itertools.product(_SCORES.items(), _STYLES.items()):
        folds = itertools.zip_longest(*(fold[f"{part}_{name}"] for fold in row["curves"]))
        by_epoch = {epoch: [v for v in values if v is not None] for epoch, values in enumerate(folds, 1)}
        known = {epoch: values for epoch, values in by_epoch.items() if values}
        ax.plot(list(known), [sum(v) / len(v) for v in known.values()], style, color=colour, linewidth=1.3)
        if part == "validation":
            lows, highs = ([edge(v) for v in known.values()] for edge in (min, max))
            ax.fill_between(list(known), lows, highs, color=colour, alpha=0.12, linewidth=0)
    ax.set_title(row["title"], fontsize=9, loc="left")
    ax.set(xlabel="epoch", ylim=(min(0.0, ax.get_ylim()[0]), 1.0))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    plots.tidy(ax)


def differences(record: Mapping[str, Any]) -> "Figure":
    """Return each difference in accuracy as a dot with its 95 % interval; grey where the interval holds zero."""
    found = record["differences"]
    figure = _figure(7.2, 0.34 * len(found) + 1.0)
    ax = figure.subplots()
    ax.axvline(0, color="#999999", linewidth=1)
    for y, each in enumerate(found):
        value, (low, high) = each["accuracy"]["difference"], each["accuracy"]["ci95"]
        colour = plots.GREY if low <= 0 <= high else (plots.BLUE if value > 0 else plots.ORANGE)
        ax.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=2)
        ax.plot([100 * value], [y], "o", color=colour, markersize=6)
    ax.set_yticks(range(len(found)), [f"{each['first']} minus {each['second']}" for each in found])
    ax.invert_yaxis()
    ax.set_xlabel("difference in accuracy, points (95 % interval)")
    plots.tidy(ax)
    return figure


def reliability_pair(row: Mapping[str, Any]) -> "Figure":
    """Return two reliability diagrams side by side: at temperature 1, and scaled by each fold's temperature."""
    figure = _figure(8.4, 4.6)
    before, after = figure.subplots(1, 2, sharey=True)
    found = row["found"]
    for ax, name, when in ((before, "raw_metrics", "temperature 1"), (after, "metrics", "scaled")):
        metrics = _metrics(found[name])
        plots.reliability_diagram(metrics, ax)
        ax.set(xlim=(0, 1.05), ylim=(0, 1.05))  # room for large dots at 1
        ax.set_title(f"{when}: calibration error {metrics.ece:.3f}")
    after.set_ylabel("")
    after.get_legend().remove()
    before.legend(loc="lower right", frameon=False)  # small bins stray above the diagonal
    figure.suptitle(f"{row['title']}, n = {found['n']:,}")
    return figure


def per_class_bars(record: Mapping[str, Any]) -> "Figure":
    """Return the recall of each class in each setting of the study of the modalities, with 95 % intervals."""
    rows = pages.run(record)
    classes = list(rows[0]["found"]["per_class"])
    figure = _figure(2.4 + 0.34 * len(rows) * len(classes), 4.4)
    ax = figure.subplots()
    width = 0.84 / len(rows)
    for k, row in enumerate(rows):
        for place, name in enumerate(classes):
            each = row["found"]["per_class"][name]["recall"]
            x = place + (k - (len(rows) - 1) / 2) * width
            label = row["title"] if place == 0 else "_"
            ax.bar(x, each["value"] or 0.0, 0.92 * width, color=COLOURS[k % len(COLOURS)], label=label)
            if each["value"] is None:  # no sample of the class: not a recall of 0
                ax.text(x, 0.01, "no sample", rotation=90, ha="center", va="bottom", fontsize=7)
            elif each["ci95"][0] is not None:
                ax.vlines(x, *each["ci95"], color="#333333", linewidth=1.2)
    sizes = {name: sorted({row["found"]["per_class"][name]["n"] for row in rows}) for name in classes}
    told = (" to ".join(f"{n:,}" for n in dict.fromkeys((each[0], each[-1]))) for each in sizes.values())
    ax.set_xticks(range(len(classes)), [f"{name}\nn = {n}" for name, n in zip(classes, told, strict=True)])
    ax.set(ylim=(0, 1), ylabel="recall, 95 % interval", xlabel="true class")
    plots.tidy(ax, "y")
    ax.tick_params(axis="x", length=0)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def figure4(outcomes: Sequence[Outcome], material: Material, per_class: int, seed: int, out: Path) -> dict[str, Any]:
    """Explain examples of each class, write `figure4.png`, and return what it shows or the reason why it is not there.

    The paper shows four that it chose (Fig. 4). These are drawn at random from each class, right or wrong alike, and
    each is explained by the network of the fold that never saw it; `parallelnet` must be whole.
    """
    outcome = next((each for each in outcomes if each.row.key == ROW), None)
    if outcome is None or outcome.reason:
        return {"reason": f"not drawn: needs {ROW} ({outcome.reason if outcome else 'not asked for'})"}
    found: list[dict[str, Any]] = []
    explanations: list[Explanation] = []
    opened = cache(lambda fold: load(outcome.folder / f"fold-{fold}" / "checkpoint", device="cpu"))
    for fold, sample in drawn(material, per_class, seed):
        words, model = sample.word_times, opened(fold)
        try:
            explanation = explain(sample.speech, sample.image, model=model, word_times=words, seed=seed)
        except ParallelNetError as error:  # the table that was trained for shall not be lost for a picture
            return {"reason": f"failed: {sample.id}: {error}"}
        explanations.append(explanation)
        emotion, values = explanation.prediction.emotion, explanation.values[explanation.target]
        sums = {"speech": sum(values.speech_units), "image": sum(values.image_units)}
        said = {
            "said": emotion,
            "truth": material.labels[sample.id],
            "score": round(explanation.prediction.probs[emotion], 4),
            "words": strongest_words(explanation),
            "modality_values": {name: round(float(value), 4) for name, value in sums.items()},
        }
        found.append({"id": sample.id, "fold": fold, **said})
    drawing.save(grid(explanations, [each["truth"] for each in found]), out / "figure4.png")
    return {"reason": "", "per_class": per_class, "examples": found}


def drawn(material: Material, per_class: int, seed: int) -> list[tuple[int, Sample]]:
    """Return (fold, sample) of examples drawn at random: so many of each class, in the order of the classes."""
    rng = np.random.default_rng(seed)
    tested = [(fold, sample) for fold, part in enumerate(material.parts) for sample in part.test]
    found = []
    for name in material.classes:
        of_class = [each for each in tested if material.labels[each[1].id] == name]
        found += [of_class[k] for k in sorted(rng.permutation(len(of_class))[:per_class])]
    return found


def strongest_words(explanation: Explanation) -> list[str]:
    """Return the words that count most for the prediction, strongest first; empty where words are not known."""
    if explanation.units != "words":
        return []
    values = np.array(explanation.values[explanation.target].speech_units)
    strongest = np.argsort(-values, kind="stable")[:N_WORDS]
    return [explanation.speech_units[k].word for k in strongest if values[k] > 0]


def grid(explanations: Sequence[Explanation], truths: Sequence[str]) -> "Figure":
    """Return the examples below one another: P, GT, Score, waveform, words, picture; each with its scale of shades."""
    examples = [Shown(explanation) for explanation in explanations]
    parts = [("speech", "words", "picture")[:: 1 if each.of.units == "words" else 2] for each in examples]
    heights = [0.5 + sample_plots.heights(each, shown)[0] for each, shown in zip(examples, parts, strict=True)]
    figure = _figure(11, sum(heights))
    for panel, each, shown, truth in zip(panels(figure, heights=heights), examples, parts, truths, strict=True):
        said = each.of.prediction.emotion
        line = f"P: {said}, GT: {truth}, Score: {each.of.prediction.probs[said]:.2f}"
        heading(panel, line, color=DARK if said == truth else "#B00020")
        sample_plots.draw_sample(panel, each, shown)
    return figure
