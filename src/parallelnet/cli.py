"""The command line: parse, call one module, print.

Options are the dataclasses of `options`; `flags` turns them into flags and help. Only the chosen command's options
are built and only its modules imported, so that `--help` is instant and `predict` never opens torch. Results go to
standard output, progress and notes to standard error; what the user can mend is one line there and exit status 2.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

from . import __version__, options, quiet, records
from .errors import ParallelNetError, StoppedError, brief, unknown
from .options.checks import Checked

USAGE = """usage: parallelnet COMMAND ...
       parallelnet COMMAND --help

Which emotion a voice and a picture show, and how sure that is (ParallelNet, speech and image).

commands:
{commands}

options:
  -h, --help  show this help
  --version   show the version
"""


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        run: function of `commands`, as MODULE.NAME; gets the command's options, the console's, and what was given of a
            preset.
        options: dataclass whose fields are the flags.
        presets: dataclasses whose fields are flags too, each replacing a part of a preset.
        goes_on: how a stopped run is gone on with; "" where there is nothing to go on with.
    """

    run: str
    options: type[Checked]
    presets: tuple[type[Checked], ...] = ()
    goes_on: str = ""


LEARNING = (options.Recipe, options.AugmentOptions)
MAX_ERROR = 1500
"""Characters of the longest error that is printed: a stranger's file may make it quote anything."""

RESUME = "the same command line with --resume goes on from here"
AGAIN = "the same command line goes on from here"

COMMANDS: dict[str, Command] = {
    "build pairs": Command("datasets.build_pairs", options.PairsOptions, goes_on=AGAIN),
    "build tweets": Command("datasets.build_tweets", options.TweetsOptions, goes_on=AGAIN),
    "inspect": Command("datasets.inspect", options.InspectOptions),
    "train": Command("networks.train", options.TrainOptions, LEARNING, RESUME),
    "evaluate": Command("samples.evaluate", options.EvaluateOptions),
    "predict": Command("samples.predict", options.PredictOptions, goes_on=RESUME),
    "explain": Command("samples.explain", options.ExplainOptions, goes_on=RESUME),
    "timeline": Command("following.timeline", options.TimelineOptions),
    "listen": Command("following.listen", options.ListenOptions),
    "experiment plant": Command("networks.plant", options.PlantOptions, goes_on=AGAIN),
    "experiment faithfulness": Command("networks.faithfulness", options.FaithfulnessOptions, goes_on=AGAIN),
    "experiment table1": Command("networks.table1", options.Table1Options, LEARNING, AGAIN),
    "experiment table2": Command("networks.table2", options.Table2Options, LEARNING, AGAIN),
    "experiment modalities": Command("networks.modalities", options.ModalitiesOptions, LEARNING, AGAIN),
    "experiment render": Command("networks.render", options.RenderOptions),
    "export": Command("networks.export", options.ExportOptions),
    "list": Command("networks.show_list", options.ListOptions),
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
    main = threading.current_thread() is threading.main_thread()  # only there Python lets handlers be set
    # Not where somebody else decides already: under nohup SIGHUP is ignored, and a program that calls us has its own.
    ours = [number for number in numbers if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _failed(error: Exception, *, debug: bool) -> int:
    said = error
    if isinstance(error, OSError) and error.strerror:  # a folder that cannot be written, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        mend = "make room, or another" if records.is_disk_full(error) else "its permissions, or another"
        said = ParallelNetError(f"{where}{error.strerror}. Mend: {mend} path (--out; TMPDIR for temporary files).")
    ours = not isinstance(said, ParallelNetError)
    if debug:
        traceback.print_exc()
    elif ours:
        text = brief(f"{type(error).__name__}: {error}", MAX_ERROR)
        print(f"parallelnet: this is a defect of the program: {text}. Run with --debug to see where.", file=sys.stderr)
    else:
        print(f"parallelnet: {brief(str(said), MAX_ERROR)}", file=sys.stderr)
    return 1 if ours else 2


def _run(given: list[str]) -> None:
    if given[:1] == ["--version"]:
        print(f"parallelnet {__version__}")
        return
    n_words = next((n for n in (2, 1) if " ".join(given[:n]) in COMMANDS), 0)
    if not n_words:
        _tell_or_refuse(given)
        return
    from . import flags

    name = " ".join(given[:n_words])
    command, shown = COMMANDS[name], [COMMANDS[name].options, options.ConsoleOptions]
    (chosen, console), presets = flags.parse(f"parallelnet {name}", given[n_words:], shown, command.presets)
    for notes in map(logging.getLogger, ("parallelnet", "parallelnet_experiments")):  # not other packages' loggers
        notes.handlers = [logging.StreamHandler(sys.stderr)]
        notes.setLevel(logging.WARNING if console.quiet else logging.INFO)
    try:
        module, _, function = command.run.partition(".")
        getattr(import_module(f"{__package__}.commands.{module}"), function)(chosen, console, presets)
    except KeyboardInterrupt as stop:
        one = getattr(chosen, "manifest", "") is None  # a single sample is predicted and explained anew
        if command.goes_on and not one:
            stop.args = (f"what is finished is kept; {command.goes_on}.",)
        raise


def _tell_or_refuse(given: list[str]) -> None:
    """Print the help of all commands or of a group, such as `build`; raise where it was not that which was asked."""
    help_alone: tuple[list[str], ...] = ([], ["-h"], ["--help"])
    every = given[:1] in help_alone
    group = COMMANDS if every else {name: each for name, each in COMMANDS.items() if name.startswith(f"{given[0]} ")}
    if not every and not (group and given[1:2] in help_alone):
        raise unknown("command", " ".join(given[: 2 if group else 1]), group or COMMANDS, "parallelnet --help")
    lines = (f"  {name:<13} {command.options.summary()}" for name, command in group.items())
    print(USAGE.format(commands="\n".join(lines)), end="")
