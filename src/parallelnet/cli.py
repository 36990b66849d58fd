"""The command line: parse, call one module, print.

Options are the dataclasses of `options`; `flags` turns them into flags and help. Only the chosen command's options
are built and only its modules imported, so that `--help` is instant and `predict` never opens torch. Results go to
standard output, progress and notes to standard error; what the user can mend is one line there and exit status 2.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__, options, quiet, records
from .commands import datasets, experiments, manifests
from .commands.console import Console, extra, held_folder, progress, recipe
from .errors import OptionError, ParallelNetError, StoppedError, brief, unknown
from .report import terminal

USAGE = """usage: parallelnet COMMAND ...
       parallelnet COMMAND --help

Which emotion a voice and a picture show, and how sure that is (ParallelNet, speech and image).

commands:
{commands}

options:
  -h, --help  show this help
  --version   show the version
"""


def _predict(chosen: options.PredictOptions, console: Console, _: Mapping[str, Any]) -> None:
    if chosen.manifest is not None:
        manifests.predict(chosen, console)
        return
    from .predictor import load_chosen

    prediction = load_chosen(chosen, chosen.labels).predict(chosen.speech, chosen.image)
    if console.json:
        print(prediction.to_json())
    else:
        terminal.show_prediction(prediction)


def _explain(chosen: options.ExplainOptions, console: Console, _: Mapping[str, Any]) -> None:
    if chosen.manifest is not None:
        manifests.explain(chosen, console)
        return
    if chosen.speech is None and chosen.image is None:
        raise OptionError("Nothing to explain. Mend: give --speech FILE, --image FILE, both, or --manifest FILE.")
    with held_folder(chosen.out):
        _explain_one(chosen, console)


def _explain_one(chosen: options.ExplainOptions, console: Console) -> None:
    from .data.manifest import read_word_times
    from .explanation.explaining import explain
    from .predictor import load_chosen

    word_times = () if chosen.word_times is None else read_word_times(chosen.word_times)
    model = load_chosen(chosen, chosen.labels)
    explanation = explain(chosen.speech, chosen.image, model=model, options=chosen, word_times=word_times)
    report = None
    if chosen.out is not None:
        from .explanation.batch import write_explanation

        given = (("speech_name", chosen.speech), ("image_name", chosen.image))
        names = {name: Path(path).name for name, path in given if path is not None}
        report = write_explanation(explanation, chosen.out, **names)
    if console.json:
        print(explanation.to_json())
    else:
        terminal.show_explanation(explanation)
        if report is not None:
            print(f"report     {report}")


def _evaluate(chosen: options.EvaluateOptions, console: Console, _: Mapping[str, Any]) -> None:
    with held_folder(chosen.out):
        _measure(chosen, console)


def _measure(chosen: options.EvaluateOptions, console: Console) -> None:
    from . import measurement
    from .data.dataset import open_data
    from .predictor import load_chosen

    samples, split = measurement.part(open_data(chosen.data, keep_bad_rows=True), chosen.split)
    predictor = load_chosen(chosen)
    with progress(len(samples), console) as step:
        measured = measurement.measure(
            predictor,
            samples,
            modalities=chosen.modalities,
            target_column=chosen.target_column,
            by_group=chosen.resample == "group",
            n_bootstrap=chosen.n_bootstrap,
            seed=chosen.seed,
            progress=step,
        )
    facts = {"data": chosen.data, "split": split, "modalities": chosen.modalities, "checkpoint": predictor.name}
    if chosen.out is not None:
        measurement.write(Path(chosen.out), measured, facts)
    if console.json:
        print(json.dumps({**measured.to_dict(), **facts}, ensure_ascii=False))
        return
    print(f"{predictor.name} on {chosen.data}, split {split}, modalities {chosen.modalities}")
    print(measured.metrics.table())
    if measured.failures:
        name, reason = measured.failures[0]
        where = f"see {chosen.out}/{measurement.FAILURES}" if chosen.out else "--out DIR lists them"
        print(f"\n{len(measured.failures)} samples could not be evaluated ({where}); the first, {name}: {reason}")


def _train(chosen: options.TrainOptions, console: Console, given: Mapping[str, Any]) -> None:
    chosen_recipe = recipe(options.PRESETS[chosen.preset], given)
    with extra("Training", "train"):
        from .training.run import train
    report = train(chosen, chosen_recipe, quiet=console.quiet)
    if not report.checkpoints:  # of several devices: the first one's process tells
        return
    if console.json:
        print(report.to_json())
        return
    for folder, by_setting in zip(report.checkpoints, report.metrics, strict=True):
        print(folder)
        rows = [["", "accuracy", "macro F1", "kappa", "UAR"]]
        for setting, m in by_setting.items():
            rows.append([setting, *(f"{x:.3f}" for x in (m.accuracy, m.macro_f1, m.cohen_kappa, m.uar))])
        terminal.table(rows)
    for setting, summary in report.summary.items():
        mean, std = summary["mean"]["accuracy"], summary["std"]["accuracy"]
        print(f"accuracy over the folds, {setting}: {mean:.3f} ± {std:.3f}")


def _export(chosen: options.ExportOptions, console: Console, _: Mapping[str, Any]) -> None:
    from . import checkpoint

    opened = checkpoint.read(checkpoint.resolve(chosen.checkpoint))
    folder = opened.path if chosen.out is None else Path(chosen.out)
    if chosen.out is not None and folder.exists():
        raise OptionError(f"--out {folder} exists already; name a new folder.")
    with extra("The ONNX export", "train"):
        from .models import onnx, weights
    net = weights.open_network(opened)
    if chosen.out is not None:
        checkpoint.copy(opened, folder)
    paths = [str(path) for path in onnx.export(net, opened.facts, folder, int8=chosen.int8)]
    print(json.dumps({"checkpoint": str(folder), "graphs": paths}) if console.json else "\n".join(paths))


def _list(chosen: options.ListOptions, console: Console, _: Mapping[str, Any]) -> None:
    from .listing import LISTS

    listed = LISTS[chosen.what]()
    if console.json:
        print(json.dumps(listed, ensure_ascii=False, indent=2))
        return
    for record in listed:
        print(f"{record['name']:<26} {record['summary']}")


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        run: does it; gets its options, the console options and the parts of a preset that were given.
        options: dataclass whose fields are the flags.
        presets: dataclasses whose fields are flags too, each replacing a part of a preset.
        goes_on: how a stopped run is gone on with; "" where there is nothing to go on with.
    """

    run: Callable[[Any, Console, Mapping[str, Any]], None]
    options: type
    presets: tuple[type, ...] = ()
    goes_on: str = ""


LEARNING = (options.Recipe, options.AugmentOptions)
MAX_ERROR = 1500
"""Characters of the longest error that is printed: a stranger's file may make it quote anything."""

RESUME = "the same command line with --resume goes on from here"
AGAIN = "the same command line goes on from here"

COMMANDS: dict[str, Command] = {
    "build pairs": Command(datasets.build_pairs, options.PairsOptions, goes_on=AGAIN),
    "build tweets": Command(datasets.build_tweets, options.TweetsOptions, goes_on=AGAIN),
    "inspect": Command(datasets.inspect, options.InspectOptions),
    "train": Command(_train, options.TrainOptions, LEARNING, RESUME),
    "evaluate": Command(_evaluate, options.EvaluateOptions),
    "predict": Command(_predict, options.PredictOptions, goes_on=RESUME),
    "explain": Command(_explain, options.ExplainOptions, goes_on=RESUME),
    "experiment plant": Command(experiments.plant, options.PlantOptions, goes_on=AGAIN),
    "experiment faithfulness": Command(experiments.faithfulness, options.FaithfulnessOptions, goes_on=AGAIN),
    "experiment table1": Command(experiments.table1, options.Table1Options, LEARNING, AGAIN),
    "experiment table2": Command(experiments.table2, options.Table2Options, LEARNING, AGAIN),
    "experiment modalities": Command(experiments.modalities, options.ModalitiesOptions, LEARNING, AGAIN),
    "experiment render": Command(experiments.render, options.RenderOptions),
    "export": Command(_export, options.ExportOptions),
    "list": Command(_list, options.ListOptions),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Args:
        arguments: without the program's name; those of the process when left out.

    Returns:
        0 when done, 2 when the user can mend it, 1 for an error of ours, 128 and the signal's number when a signal
        ended it (130 for Ctrl-C, 143 for SIGTERM), 141 when whoever reads the output went away.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with quiet.only_ours(everything="--debug" in given):
        return _status(given)


def _status(given: list[str]) -> int:
    try:
        with _stoppable():
            _run(given)
        sys.stdout.flush()
    except SystemExit as leaving:  # the parser's own --help
        return leaving.code if isinstance(leaving.code, int) else 0
    except BrokenPipeError:
        # Python flushes standard output once more on leaving; there it must find somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, StoppedError) else int(signal.SIGINT)
        told = f": {stop.args[0]}" if stop.args and isinstance(stop.args[0], str) else ""
        print(f"parallelnet: stopped by {signal.Signals(number).name}{told}", file=sys.stderr)
        return 128 + number
    except Exception as error:
        return _failed(error, debug="--debug" in given)
    return 0


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: what is finished is kept, locks and workers let go."""

    def stop(number: int, _: object) -> None:
        raise StoppedError(number)

    def again(lost: sys.UnraisableHookArgs) -> None:
        # Python drops what is raised while it tidies up an object, a signal's exception, too: so it is sent once more.
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            unraisable(lost)
            return
        number = getattr(lost.exc_value, "number", signal.SIGINT)
        resend = threading.Timer(0.1, os.kill, (os.getpid(), number))
        resend.daemon = True
        resend.start()

    unraisable, sys.unraisablehook = sys.unraisablehook, again
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Not where somebody else decides already: under nohup SIGHUP is ignored, and a program that calls us has its own.
    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():  # only there Python lets handlers be set
        ours = []
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _failed(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    said = error
    if isinstance(error, OSError) and error.strerror:  # a folder that cannot be written, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        mend = "make room, or another" if records.is_disk_full(error) else "its permissions, or another"
        said = ParallelNetError(f"{where}{error.strerror}. Mend: {mend} path (--out; TMPDIR for temporary files).")
    if isinstance(said, ParallelNetError):
        if not debug:
            print(f"parallelnet: {brief(str(said), MAX_ERROR)}", file=sys.stderr)
        return 2
    if not debug:
        text = brief(f"{type(error).__name__}: {error}", MAX_ERROR)
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
    try:
        command.run(chosen, console, presets)
    except KeyboardInterrupt as stop:
        one = getattr(chosen, "manifest", "") is None  # a single sample is predicted and explained anew
        if command.goes_on and not one:
            stop.args = (f"what is finished is kept; {command.goes_on}.",)
        raise


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
    """Send our notes to standard error; other packages' keep their own ways, from warnings upward."""
    for notes in map(logging.getLogger, ("parallelnet", "parallelnet_experiments")):
        notes.handlers = [logging.StreamHandler(sys.stderr)]
        notes.setLevel(logging.WARNING if quiet else logging.INFO)
