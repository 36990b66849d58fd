"""The command line: parse, call one module, print.

Options are the dataclasses of `options`; `flags` turns them into flags and help. Only the chosen command's options
are built and only its modules imported, so that `--help` is instant and `predict` never opens torch. Results go to
standard output, progress and notes to standard error; what the user can mend is one line there and exit status 2.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, options
from .errors import ManifestError, MissingExtraError, OptionError, ParallelNetError, unknown

if TYPE_CHECKING:
    from .evaluation import Metrics
    from .predictor import Predictor
    from .types import Prediction, Sample

USAGE = """usage: parallelnet COMMAND ...
       parallelnet COMMAND --help

Which emotion a voice and a picture show, how sure that is, and why (ParallelNet, speech and image).

commands:
{commands}

options:
  -h, --help  show this help
  --version   show the version
"""

Console = options.ConsoleOptions


def _predict(chosen: options.PredictOptions, console: Console, _: Mapping[str, Any]) -> None:
    if chosen.manifest is not None:
        _predict_manifest(chosen, console)
        return
    prediction = _predictor(chosen, labels=chosen.labels).predict(chosen.speech, chosen.image)
    if console.json:
        print(prediction.to_json())
    else:
        _show(prediction)


def _predict_manifest(chosen: options.PredictOptions, console: Console) -> None:
    from .data.dataset import open_data
    from .predictor import predict_manifest

    assert chosen.manifest is not None
    assert chosen.out is not None
    samples = open_data(chosen.manifest)
    predictor = _predictor(chosen, labels=chosen.labels)
    with _progress(len(samples), console) as step:
        counts = predict_manifest(
            predictor, samples, chosen.out, modalities=chosen.modalities, resume=chosen.resume, progress=step
        )
    if console.json:
        print(json.dumps({"out": chosen.out, **asdict(counts)}))
    else:
        print(f"{counts.n_ok} predicted, {counts.n_error} failed, {counts.n_skipped} done before: {chosen.out}")


def _show(prediction: Prediction) -> None:
    print(f"{prediction.emotion}  ({prediction.probs[prediction.emotion]:.0%})\n")
    rows = [["", *prediction.probs], [" + ".join(prediction.modalities), *_figures(prediction.probs)]]
    rows += [[f"{name} alone", *_figures(probs)] for name, probs in prediction.alone.items()]
    _table(rows)
    print(f"\n90 % set    {', '.join(prediction.conformal_set)}{'  (uncertain)' if prediction.uncertain else ''}")
    if prediction.face is not None:
        left, top, width, height = prediction.face.box
        print(f"face       {prediction.face.status}: {width} x {height} pixels at {left}, {top}")
    print(f"checkpoint {prediction.checkpoint}")
    for warning in prediction.warnings:
        print(f"note       {warning}")


def _figures(probs: Mapping[str, float]) -> list[str]:
    return [f"{p:.3f}" for p in probs.values()]


def _evaluate(chosen: options.EvaluateOptions, console: Console, _: Mapping[str, Any]) -> None:
    from .data.dataset import open_data
    from .evaluation import evaluate

    samples, split = _part(open_data(chosen.data), chosen.split)
    predictor = _predictor(chosen)
    probs, known, failures = _measured(predictor, samples, chosen, console)
    if not known:
        reason = failures[0][1] if failures else "it is empty"
        raise ManifestError(f"None of the {len(samples)} samples of {chosen.data} can be evaluated: {reason}")
    targets = [predictor.classes.index(getattr(sample, chosen.target_column)) for sample in known]
    groups = [sample.group or sample.id for sample in known] if chosen.resample == "group" else None
    metrics = evaluate(
        targets, probs, predictor.classes, n_bootstrap=chosen.n_bootstrap, seed=chosen.seed, groups=groups
    )
    record = {
        **metrics.to_dict(),
        "n_failed": len(failures),
        "data": chosen.data,
        "split": split,
        "modalities": chosen.modalities,
        "checkpoint": predictor.name,
    }
    if chosen.out is not None:
        _write_evaluation(Path(chosen.out), metrics, record, failures)
    if console.json:
        print(json.dumps(record, ensure_ascii=False))
        return
    print(f"{predictor.name} on {chosen.data}, split {split}, modalities {chosen.modalities}")
    print(metrics.table())
    if failures:
        where = f"; see {chosen.out}/failures.csv" if chosen.out else "; --out DIR lists them"
        print(
            f"\n{len(failures)} samples could not be evaluated, the first ({failures[0][0]}): {failures[0][1]}{where}"
        )


def _part(samples: Sequence[Sample], split: str | None) -> tuple[list[Sample], str]:
    """Return the samples of a split, and its name; by default the test split where there are splits."""
    if split is None:
        split = "test" if any(sample.split for sample in samples) else "all"
    chosen = [sample for sample in samples if split in ("all", sample.split)]
    if not chosen:
        there = sorted({sample.split or "none" for sample in samples})
        raise ManifestError(f"No sample has the split {split!r}; there are: {', '.join(there)}. See --split.")
    return chosen, split


def _measured(
    predictor: Predictor, samples: Sequence[Sample], chosen: options.EvaluateOptions, console: Console
) -> tuple[list[list[float]], list[Sample], list[tuple[str, str]]]:
    """Return probabilities and samples that were predicted, and id and reason of those that could not be."""
    failures = []
    labelled = []
    for sample in samples:
        target = getattr(sample, chosen.target_column)
        if target in predictor.classes:
            labelled.append(sample)
        else:
            allowed = ", ".join(predictor.classes)
            failures.append((sample.id, f"{chosen.target_column} {target!r} is none of the model's: {allowed}."))
    probs, known = [], []
    with _progress(len(labelled), console) as step:
        outcomes = predictor.predict_each(labelled, modalities=chosen.modalities)
        for sample, outcome in zip(labelled, outcomes, strict=True):
            if isinstance(outcome, Exception):
                failures.append((sample.id, " ".join(str(outcome).split())))
            else:
                probs.append(list(outcome.probs.values()))
                known.append(sample)
            step(1)
    return probs, known, failures


def _write_evaluation(
    folder: Path, metrics: Metrics, record: Mapping[str, Any], failures: Iterable[tuple[str, str]]
) -> None:
    from .report.plots import confusion_matrix

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    counts = [[name, *row] for name, row in zip(metrics.classes, metrics.confusion_matrix, strict=True)]
    _write_csv(folder / "confusion.csv", [["true", *metrics.classes], *counts])
    _write_csv(folder / "failures.csv", [["id", "reason"], *failures])
    confusion_matrix(metrics.confusion_matrix, metrics.classes).savefig(folder / "confusion.png")


def _write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def _predictor(chosen: options.ModelOptions, labels: Sequence[str] = ()) -> Predictor:
    from .predictor import load

    return load(
        chosen.checkpoint,
        device=chosen.device,
        face=chosen.face,
        int8=chosen.int8,
        n_threads=chosen.threads or None,
        labels=labels,
        limits=chosen.limits,
    )


@contextmanager
def _progress(total: int, console: Console) -> Iterator[Callable[[int], object]]:
    """Yield what to call with each number of finished samples; the bar goes to standard error."""
    from tqdm import tqdm

    with tqdm(total=total, disable=console.quiet or not sys.stderr.isatty(), unit="sample") as bar:
        yield bar.update


def _train(chosen: options.TrainOptions, console: Console, given: Mapping[str, Any]) -> None:
    recipe = _recipe(options.PRESETS[chosen.preset], given)
    with _extra("Training", "train"):
        from . import training
    result = training.train(chosen, recipe, quiet=console.quiet)
    if console.json:
        print(result.to_json())
        return
    print(result.table())
    print(chosen.out)


def _recipe(preset: options.Recipe, given: Mapping[str, Any]) -> options.Recipe:
    """Return the preset with the parts that were given in place of its own."""
    augment = {f.name: given[f.name] for f in fields(options.AugmentOptions) if f.name in given}
    learning = {f.name: given[f.name] for f in fields(options.Recipe) if f.name in given}
    return replace(preset, **learning, augment=replace(preset.augment, **augment))


def _export(chosen: options.ExportOptions, console: Console, _: Mapping[str, Any]) -> None:
    from . import checkpoint

    opened = checkpoint.read(checkpoint.resolve(chosen.checkpoint))
    with _extra("The ONNX export", "train"):
        from .models import network, onnx, variants, weights
    net = network.build(variants.NetworkOptions.from_dict(opened.facts.network), opened.facts.classes)
    weights.load_weights(net, opened.weights)
    folder = opened.path
    if chosen.out is not None:
        folder = Path(chosen.out)
        if folder.exists():
            raise OptionError(f"--out {folder} exists already; name a new folder.")
        shutil.copytree(opened.path, folder, ignore=shutil.ignore_patterns("*.onnx"))
    paths = [str(path) for path in onnx.export(net, opened.facts, folder, int8=chosen.int8)]
    print(json.dumps({"checkpoint": str(folder), "graphs": paths}) if console.json else "\n".join(paths))


@contextmanager
def _extra(feature: str, extra: str) -> Iterator[None]:
    """Turn a missing package into the error that names the extra which brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "parallelnet":
            raise
        raise MissingExtraError(feature, extra) from None


def _build_pairs(chosen: options.PairsOptions, console: Console, _: Mapping[str, Any]) -> None:
    from .data.pairs import build_pairs

    report = build_pairs(chosen)
    if console.json:
        print(report.to_json())
        return
    print(f"{report.n_pairs} pairs of {report.n_utterances} utterances and {report.n_pictures} pictures")
    rows = [["part", "class", "pairs", "utterances", "pictures"]]
    for part, classes in report.counts.items():
        rows += [
            [part, name, *(str(n[key]) for key in ("pairs", "utterances", "pictures"))] for name, n in classes.items()
        ]
    _table(rows)
    for side, reasons in report.drops.items():
        for reason, n in reasons.items():
            print(f"{side}: left out {n}: {reason}")
    print(report.manifest)


def _list(chosen: options.ListOptions, console: Console, _: Mapping[str, Any]) -> None:
    records = LISTS[chosen.what]()
    if console.json:
        print(json.dumps(records, ensure_ascii=False, indent=2))
        return
    for record in records:
        print(f"{record['name']:<26} {record['summary']}")


def _variants() -> list[dict[str, Any]]:
    from .models.variants import VARIANTS

    return [
        {
            "name": name,
            "summary": variant.summary,
            "source": variant.source,
            "modalities": list(variant.modalities),
            "separable": variant.separable,
            "network": variant.network.to_dict(),
        }
        for name, variant in VARIANTS.items()
    ]


def _backbones() -> list[dict[str, Any]]:
    from .models.backbones import BACKBONES

    return [{"name": name, **asdict(backbone)} for name, backbone in BACKBONES.items()]


def _corpora() -> list[dict[str, Any]]:
    from .data.corpora import list_corpora

    return [{**record, "summary": record["title"]} for record in list_corpora()]


def _checkpoints() -> list[dict[str, Any]]:
    from . import checkpoint

    records = []
    for name, folder in checkpoint.bundled().items():
        facts = checkpoint.read(folder).facts
        heard = " + ".join(facts.modalities)
        records.append(
            {
                "name": name,
                "summary": f"{facts.variant}: {heard}; {', '.join(facts.classes)}",
                "path": str(folder),
                "variant": facts.variant,
                "classes": list(facts.classes),
                "modalities": list(facts.modalities),
                "separable": facts.separable,
                "metrics": facts.metrics,
                "data": facts.data,
            }
        )
    return records


LISTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "variants": _variants,
    "backbones": _backbones,
    "corpora": _corpora,
    "checkpoints": _checkpoints,
}


def _table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: the first left-aligned, the others right-aligned."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        run: does it; gets its options, the console options and the parts of a preset that were given.
        options: dataclass whose fields are the flags.
        presets: dataclasses whose fields are flags too, each replacing a part of a preset.
    """

    run: Callable[[Any, Console, Mapping[str, Any]], None]
    options: type
    presets: tuple[type, ...] = ()


COMMANDS: dict[str, Command] = {
    "build pairs": Command(_build_pairs, options.PairsOptions),
    "train": Command(_train, options.TrainOptions, (options.Recipe, options.AugmentOptions)),
    "evaluate": Command(_evaluate, options.EvaluateOptions),
    "predict": Command(_predict, options.PredictOptions),
    "export": Command(_export, options.ExportOptions),
    "list": Command(_list, options.ListOptions),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Args:
        arguments: without the program's name; those of the process when left out.

    Returns:
        0 when done, 2 when the user can mend it, 1 for an error of ours, 130 when interrupted, 141 when whoever reads
        the output went away.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(given)
        sys.stdout.flush()
    except SystemExit as leaving:  # the parser's own --help
        return leaving.code if isinstance(leaving.code, int) else 0
    except BrokenPipeError:
        # Python flushes standard output once more on leaving; there it must find somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("parallelnet: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        return _explain(error, debug="--debug" in given)
    return 0


def _explain(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if isinstance(error, ParallelNetError):
        if not debug:
            print(f"parallelnet: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if not debug:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"parallelnet: this is a defect of the program: {text}. Run with --debug to see where.", file=sys.stderr)
    return 1


def _run(given: list[str]) -> None:
    if not given or given[0] in ("-h", "--help"):
        print(_help(COMMANDS), end="")
        return
    if given[0] == "--version":
        print(f"parallelnet {__version__}")
        return
    name, rest = _command(given)
    if not name:
        return
    from . import flags

    command = COMMANDS[name]
    (chosen, console), presets = flags.parse(f"parallelnet {name}", rest, [command.options, Console], command.presets)
    _speak_up(quiet=console.quiet)
    command.run(chosen, console, presets)


def _command(given: list[str]) -> tuple[str, list[str]]:
    """Return the command's name and the arguments after it; an empty name when a group's help was all it took."""
    for n_words in (2, 1):
        name = " ".join(given[:n_words])
        if name in COMMANDS:
            return name, given[n_words:]
    group = {name: command for name, command in COMMANDS.items() if name.startswith(f"{given[0]} ")}
    if group and (len(given) == 1 or given[1] in ("-h", "--help")):
        print(_help(group), end="")
        return "", []
    name = " ".join(given[: 2 if group else 1])
    raise unknown("command", name, group or COMMANDS, "parallelnet --help")


def _help(commands: Mapping[str, Command]) -> str:
    lines = (f"  {name:<13} {_summary(command.options)}" for name, command in commands.items())
    return USAGE.format(commands="\n".join(lines))


def _summary(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


def _speak_up(*, quiet: bool) -> None:
    """Send our notes to standard error; those of other packages only from warnings upward."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING, force=True)
    logging.getLogger("parallelnet").setLevel(logging.WARNING if quiet else logging.INFO)
