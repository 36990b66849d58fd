"""Predictions and explanations as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..explanation.result import Explanation
    from ..types import Prediction

_LINE = 100  # characters of one


def show_prediction(prediction: Prediction) -> None:
    """Print a prediction as the command line does."""
    print(f"{prediction.emotion}  ({prediction.probs[prediction.emotion]:.0%})")
    _show_notes(prediction.warnings)
    print()
    rows = [["", *prediction.probs], [" + ".join(prediction.modalities), *_figures(prediction.probs)]]
    rows += [[f"{name} alone", *_figures(probs)] for name, probs in prediction.alone.items()]
    table(rows)
    print(f"\n90 % set    {', '.join(prediction.conformal_set)}{'  (uncertain)' if prediction.uncertain else ''}")
    if prediction.face is not None:
        left, top, width, height = prediction.face.box
        print(f"face       {prediction.face.status}: {width} x {height} pixels at {left}, {top}")
    print(f"checkpoint {prediction.checkpoint}")


def show_explanation(explanation: Explanation) -> None:
    """Print an explanation of its target: the modalities, the eight largest units, what it cost, and the notes."""
    values = explanation.of_target
    predicted = "" if explanation.target == explanation.emotion else f" (predicted: {explanation.emotion})"
    start = f"{values.base:.3f} with nothing present"
    print(f"{explanation.target}{predicted}: {explanation.score} {values.full:.3f}, from {start}")
    _show_notes(explanation.warnings)
    print()
    pair = len(explanation.modalities) > 1
    rows = [["", "value", *(["without the other"] if pair else [])]]
    for name in explanation.modalities:
        value, alone = (getattr(values, part) for part in (name, f"{name}_alone"))
        rows.append([name, f"{value:+.3f}", *([f"{alone - values.base:+.3f}"] if pair else [])])
    if pair:
        # Below 0 where each alone says much of the same.
        rows.append(["only together", f"{values.synergy:+.3f}", ""])
    table(rows)
    print()
    table([[f"{modality}: {name}", f"{value:+.3f}"] for modality, name, value in explanation.top(8)])
    if explanation.heard is not None:
        label = "heard" if explanation.heard_by else "kept words"
        print(f"\n{label:<11}{' '.join(explanation.heard) or '(nothing)'}")
    cost = explanation.budget
    passes = cost.joint_passes or cost.speech_passes + cost.image_passes
    saved = f" ({cost.passes_saved:,} of them saved)" if cost.passes_saved else ""
    print(f"\nmethod     {explanation.method}: {passes:,} passes{saved}, {cost.head_evaluations:,} head rows")
    print(f"gap        {values.efficiency_gap:.6f} between the sum of all values and the whole way")
    agreeing = [each.rank_correlation for each in explanation.sensitivity if each.rank_correlation is not None]
    if agreeing:
        said = f"{min(agreeing):.2f} to {max(agreeing):.2f} over {len(agreeing)} other pairs of baselines"
        print(f"baselines  rank correlation of the values {said}")


def _show_notes(warnings: Sequence[str]) -> None:
    """Print each reason to distrust an answer right below it, where nobody reads past it."""
    for warning in warnings:
        print(f"note       {warning}")


def show_inspection(found: Mapping[str, Any], reasons: Mapping[str, str], paper: Mapping[str, int]) -> None:
    """Print what a built data set holds.

    Args:
        found: `Inspection.to_dict()`: this part of the package does not know `data`.
        reasons: {reason for which rows fall out: what it means}.
        paper: {class: samples in the paper's data set}.
    """
    classes, tally = found["classes"], found["tally"]
    times = tally["durations"]
    print(f"{_line(found['name'])}: {found['n_kept']:,} of {found['n_read']:,} rows kept\n")
    _show_classes(found, paper if found["labels"] == "emotion" else {})
    if found["rejected"]:
        print(f"\n{found['n_rejected']:,} rows fell out")
        width = max(map(len, found["rejected"]))
        for reason, n in sorted(found["rejected"].items(), key=lambda item: -item[1]):
            print(f"{reason.ljust(width)}  {n:>9,}  {reasons.get(reason, '')}".rstrip())
    if found["teachers"]:
        _show_teachers(found)
    for what, title in (("voices", "voice"), ("languages", "language")):
        print()
        _show_shares(title, tally[what], classes)
    engine = f"{found['tts'].get('engine', '')} {found['tts'].get('version', '')}".strip()
    lengths = f"{times['shortest_s']:.1f} to {times['longest_s']:.1f} s each, median {times['median_s']:.1f} s"
    print(f"\nspeech     {_time(found['duration_s'])} by {_line(engine)}; {lengths}")
    for modality, teacher in found["teachers"].items():
        print(f"teacher    {modality}: {_line(str(teacher.get('name', '')))}")
    print(f"shards     {len(found['shards']):,}, fingerprint {found['fingerprint']}")
    if found["examples"]:
        print("\nexamples, by a fixed rule")
    width = max(map(len, classes))
    for example in found["examples"]:
        sure = f"  {example['confidence']:>4.0%} {example['source'].ljust(6)}" if found["teachers"] else ""
        print(_line(f"{example['label'].ljust(width)}{sure}  {example['id']}: {example['spoken_text']}"))


def _show_classes(found: Mapping[str, Any], paper: Mapping[str, int]) -> None:
    rows = [["class", "samples", "share", *(["in the paper", "share"] if paper else [])]]
    for name in found["classes"]:
        n = found["class_counts"].get(name, 0)
        theirs = [f"{paper[name]:,}", _share(paper[name], sum(paper.values()))] if paper else []
        rows.append([name, f"{n:,}", _share(n, found["n_kept"]), *theirs])
    table(rows)


def _show_teachers(found: Mapping[str, Any]) -> None:
    classes, sources = found["classes"], list(found["label_source_counts"])
    if found["teacher_agreement"] is not None:
        print(f"\nteachers agree on {found['teacher_agreement']:.1%} of the rows that both judged; who decided:")
        rows = [["", *sources]]
        for name in classes:
            own = found["tally"]["sources"].get(name, {})
            rows.append(
                [name, *(f"{own.get(each, 0):,} ({_share(own.get(each, 0), sum(own.values()))})" for each in sources)]
            )
        table(rows)
    if found["threshold_curve"]:
        print(f"\nthreshold {found['threshold']:g}, rule {found['rule']}; other thresholds would have kept:")
        rows = [["", "samples", *classes]]
        for at, n, counts in found["threshold_curve"]:
            if round(20 * at) in range(6, 19, 2):
                rows.append([f"{at:g}", f"{n:,}", *(_share(counts.get(name, 0), n) for name in classes)])
        table(rows)


def _show_shares(title: str, counts: Mapping[str, Mapping[str, int]], classes: Sequence[str], most: int = 8) -> None:
    """Print how many rows there are of each name, the most frequent first, and the share of each class in them."""
    ranked = sorted(counts.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    rows = [[title, "samples", *classes]]
    for name, own in ranked[:most]:
        n = sum(own.values())
        rows.append([_line(name) or "(not clear)", f"{n:,}", *(_share(own.get(each, 0), n) for each in classes)])
    table(rows)
    if len(ranked) > most:
        print(f"and {len(ranked) - most:,} more")


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: the first left-aligned, the others right-aligned."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


def _figures(probs: Mapping[str, float]) -> list[str]:
    return [f"{p:.3f}" for p in probs.values()]


def _share(n: int, total: int) -> str:
    return f"{n / total:.1%}" if total else "-"


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:,.1f} h"
    )


def _line(text: str) -> str:
    """Return text from anywhere as one line that a terminal shows and does not obey."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return line if len(line) <= _LINE else line[: _LINE - 1] + "\N{HORIZONTAL ELLIPSIS}"
