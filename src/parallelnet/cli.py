"""The command line: parse, call one module, print.

Options are the dataclasses of `options`; `flags` turns them into flags and help. Only the chosen command's options
are built and only its modules imported, so that `--help` is instant and `predict` never opens torch. Results go to
standard output, progress and notes to standard error; what the user can mend is one line there and exit status 2.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module

from . import __version__, options, records
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
        run: function of `commands`; gets the command's options, the console's, and what was given of a preset.
        options: dataclass whose fields are the flags.
        presets: dataclasses whose fields are flags too, each replacing a part of a preset.
        goes_on: how a stopped run is gone on with; "" where there is nothing to go on with.
    """

    run: str
    options: type[Checked]
    presets: tuple[type[Checked], ...] = ()
    goes_on: str = ""


LEARNING = (options.Recipe, options.AugmentOptions)
MAX_ERROR = 1500  # characters of the longest error that is printed: a stranger's file may make it quote anything

RESUME = "the same command line with --resume goes on from here"
AGAIN = "the same command line goes on from here"

COMMANDS: dict[str, Command] = {
    "build pairs": Command("build_pairs", options.PairsOptions, goes_on=AGAIN),
    "build tweets": Command("build_tweets", options.TweetsOptions, goes_on=AGAIN),
    "inspect": Command("inspect", options.InspectOptions),
    "train": Command("train", options.TrainOptions, LEARNING, RESUME),
    "evaluate": Command("evaluate", options.EvaluateOptions),
    "predict": Command("predict", options.PredictOptions, goes_on=RESUME),
    "explain": Command("explain", options.ExplainOptions, goes_on=RESUME),
    "timeline": Command("timeline", options.TimelineOptions),
    "listen": Command("listen", options.ListenOptions),
    "experiment plant": Command("plant", options.PlantOptions, goes_on=AGAIN),
    "experiment faithfulness": Command("faithfulness", options.FaithfulnessOptions, goes_on=AGAIN),
    "experiment table1": Command("table1", options.Table1Options, LEARNING, AGAIN),
    "experiment table2": Command("table2", options.Table2Options, LEARNING, AGAIN),
    "experiment modalities": Command("modalities", options.ModalitiesOptions, LEARNING, AGAIN),
    "experiment render": Command("render", options.RenderOptions),
    "export": Command("export", options.ExportOptions),
    "list": Command("show_list", options.ListOptions),
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
    with only_ours(everything="--debug" in given):
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
        getattr(import_module(f"{__package__}.commands"), command.run)(chosen, console, presets)
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


# --- our two streams are ours -----------------------------------------------------------------------------------------

# Libtiff, libmpg123 and libsndfile write straight to file descriptors 1 and 2. Turning these away for each file would
# need a lock over all threads and lose lines of ours meanwhile; so Python's own streams move to copies once, and the
# descriptors are left to the libraries. A program that imports us keeps its own.


@contextmanager
def only_ours(*, everything: bool = False) -> Iterator[None]:
    """Let nothing but what goes through `sys.stdout` and `sys.stderr` be seen: not what libraries print or warn of.

    Child processes inherit it: what they print themselves is not seen either.

    Args:
        everything: change nothing, to look for a defect.
    """
    # Who starts Python to look into it wants what it prints there.
    if everything or sys.flags.verbose or sys._xoptions or faulthandler.is_enabled():
        yield
        return
    root, silent, hook = logging.getLogger(), logging.NullHandler(), sys.unraisablehook
    root.addHandler(silent)  # without any handler Python prints other packages' warnings by itself
    sys.unraisablehook = lambda _: None  # "Exception ignored in" a callback: what matters is raised elsewhere
    try:
        with warnings.catch_warnings(), _moved("stdout", 1), _moved("stderr", 2):
            if not sys.warnoptions:  # python -W, PYTHONWARNINGS: somebody wants to see them
                warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(silent)
        sys.unraisablehook = hook


@contextmanager
def _moved(name: str, number: int) -> Iterator[None]:
    # `sys.NAME` writes to a copy of its file descriptor, and the descriptor itself leads nowhere.
    stream = getattr(sys, name)
    try:
        found = stream.fileno()
    except (AttributeError, OSError, ValueError):  # none, closed, or captured by a test
        found = -1
    if found != number:
        yield
        return
    stream.flush()
    ours = os.dup(number)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    at_once = number == 2
    copy = io.TextIOWrapper(
        os.fdopen(ours, "wb", buffering=0 if at_once else -1, closefd=False),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=at_once,
    )
    try:
        os.dup2(nowhere, number)
        setattr(sys, name, copy)
        yield
    finally:
        with suppress(OSError, ValueError):  # the command has flushed it already, and told what could not be written
            copy.close()
        setattr(sys, name, stream)
        os.dup2(ours, number)
        os.close(nowhere)
        os.close(ours)
