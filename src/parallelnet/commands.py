"""The work behind each command: options in, one module called, the result printed.

What a command needs it imports itself, so that none pays for another.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options, records
from .errors import ManifestError, MissingExtraError, OptionError
from .report import terminal

if TYPE_CHECKING:
    from .batches import BatchCounts
    from .datasets.build import Done

Console = options.ConsoleOptions
Given = Mapping[str, Any]  # the parts of a preset that were given, by name

# --- what several of them need ----------------------------------------------------------------------------------------


def _say(console: Console, as_json: str, show: Callable[..., object], *what: object, **facts: object) -> None:
    # As JSON, or as `show` does for people.
    if console.json:
        print(as_json)
    else:
        show(*what, **facts)


@contextmanager
def _progress(total: int, console: Console) -> Iterator[Callable[[int], object]]:
    # What to call with each number of finished samples; the bar goes to standard error.
    from tqdm import tqdm

    with tqdm(total=total, disable=console.quiet or not sys.stderr.isatty(), unit="sample") as bar:
        yield bar.update


def _held_folder(out: str | None) -> AbstractContextManager[None]:
    # That of --out, made where it is missing; before the work, which a wrong one would lose.
    if out is None:
        return nullcontext()
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"--out {out} is a file; allowed: a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return records.held(folder)


@contextmanager
def _extra(feature: str, name: str) -> Iterator[None]:
    """Turn a missing package into the error that names the extra which brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "parallelnet":
            raise
        raise MissingExtraError(feature, name) from None


# --- data sets --------------------------------------------------------------------------------------------------------


def build_pairs(chosen: options.PairsOptions, console: Console, _: Given) -> None:
    """Pair utterances and pictures of one class."""
    from .data.pairs import build_pairs

    report = build_pairs(chosen)
    _say(console, json.dumps(asdict(report), ensure_ascii=False), terminal.show, "pairs", of=report)


def build_tweets(chosen: options.TweetsOptions, console: Console, _: Given) -> None:
    """Build a speech+image data set from plain tweets, or say what that would be."""
    from .data.shards import REASONS
    from .datasets import build

    if chosen.dry_run:
        plan = build.plan_tweets(chosen)
        told = (
            f"{plan.n_rows:,} rows would become {plan.n_shards:,} shards in about {plan.estimated_s / 60:,.1f} min on "
            f"{plan.n_workers} workers. The first {plan.trial.n_read} rows ({plan.trial.n_kept} kept): {plan.folder}"
        )
        record = {**asdict(plan), "trial": json.loads(plan.trial.to_json())}
        _say(console, json.dumps(record, ensure_ascii=False), print, told)
        return
    with _rows(quiet=console.quiet) as step:
        report = build.build_tweets(chosen, progress=step)
    _say(console, report.to_json(), _show_data, chosen.out, 0)
    if not report.n_kept:
        reason, n = max(report.rejected.items(), key=lambda each: each[1])
        raise ManifestError(
            f"No row of {chosen.tweets} was kept: {n:,} of {report.n_read:,} fell out as {reason} ({REASONS[reason]}). "
            f"{chosen.out}/rejected.parquet says why each did. Mend: put that right and build again."
        )


@contextmanager
def _rows(*, quiet: bool) -> Iterator[Callable[[Done], None]]:
    # What takes what is finished so far: rate, remaining time, kept and dropped; a bar on a terminal, a line a minute
    # elsewhere.
    from tqdm import tqdm

    line = "{n} of {total} rows, {rate_fmt}, {remaining} left{postfix}\n"
    lines: dict[str, Any] = {} if sys.stderr.isatty() else {"mininterval": 60, "bar_format": line}
    with tqdm(unit="row", disable=quiet, delay=0.01, miniters=1, smoothing=0, **lines) as bar:

        def show(done: Done) -> None:
            if bar.total is None:  # what an earlier run finished says nothing of this one's rate
                bar.total, bar.initial, bar.n = done.n_rows, done.n_read, done.n_read
                bar.unpause()
            bar.set_postfix(kept=done.n_kept, dropped=done.n_read - done.n_kept, refresh=False)
            bar.update(done.n_read - bar.n)

        yield show


def inspect(chosen: options.InspectOptions, console: Console, _: Given) -> None:
    """Show what a built data set holds."""
    with _extra("Inspecting a data set", "build"):
        import pyarrow  # noqa: F401  # asked for here, so that its absence is told by the extra
    if console.json:
        from .datasets.inspection import inspect as look

        print(json.dumps(look(Path(chosen.data), examples=chosen.examples), ensure_ascii=False))
    else:
        _show_data(chosen.data, chosen.examples)


def _show_data(folder: str, examples: int) -> None:
    from .data.shards import REASONS
    from .datasets.inspection import PAPER_COUNTS
    from .datasets.inspection import inspect as look

    terminal.show("inspection", found=look(Path(folder), examples=examples), reasons=REASONS, paper=PAPER_COUNTS)
    if not examples:
        print(f"\n{folder}/README.md, {folder}/gallery.html")


# --- networks, what there is to choose from, and the paper's studies --------------------------------------------------


def train(chosen: options.TrainOptions, console: Console, given: Given) -> None:
    """Train a variant and print what it is worth."""
    how = options.recipe(chosen.preset, given)
    with _extra("Training", "train"):
        from .training.run import train as run
    report = run(chosen, how, quiet=console.quiet)
    if report.checkpoints:  # of several devices: the first one's process tells
        _say(console, report.to_json(), terminal.show, "trained", of=report)


def export(chosen: options.ExportOptions, console: Console, _: Given) -> None:
    """Write the graphs of a checkpoint from its weights."""
    from . import checkpoint

    opened = checkpoint.read(checkpoint.resolve(chosen.checkpoint))
    folder = opened.path if chosen.out is None else Path(chosen.out)
    if chosen.out is not None and folder.exists():
        raise OptionError(f"--out {folder} exists already; name a new folder.")
    with _extra("The ONNX export", "train"):
        from .models import stored
    network = stored.open_network(opened)
    if chosen.out is not None:
        checkpoint.copy(opened, folder)
    paths = [str(path) for path in stored.export(network, opened.facts, folder, int8=chosen.int8)]
    _say(console, json.dumps({"checkpoint": str(folder), "graphs": paths}), print, "\n".join(paths))


def show_list(chosen: options.ListOptions, console: Console, _: Given) -> None:
    """Print the records of one registry, each with `name` and `summary`; only that one is imported."""
    listed = _listed(chosen.what)
    lines = "\n".join(f"{record['name']:<26} {record['summary']}" for record in listed)
    _say(console, json.dumps(listed, ensure_ascii=False, indent=2), print, lines)


def _listed(what: str) -> list[dict[str, Any]]:
    if what == "variants":
        from .models.variants import VARIANTS

        return [
            {
                "name": name,
                "summary": variant.summary,
                "source": variant.source,
                "modalities": list(variant.network.modalities),
                "separable": variant.network.separable,
                "network": asdict(variant.network),
            }
            for name, variant in VARIANTS.items()
        ]
    if what == "backbones":
        from .models.variants import BACKBONES

        return [{"name": name, **asdict(backbone)} for name, backbone in BACKBONES.items()]
    if what == "corpora":
        from .data.dataset import list_corpora

        return [{**record, "summary": record["title"]} for record in list_corpora()]
    from . import checkpoint

    records = []
    for name, folder in checkpoint.bundled().items():
        facts = checkpoint.read(folder).facts
        shown = ("variant", "classes", "modalities", "separable", "metrics", "data")
        summary = f"{facts.variant}: {' + '.join(facts.modalities)}; {', '.join(facts.classes)}"
        rest = {key: getattr(facts, key) for key in shown}
        records.append({"name": name, "summary": summary, "path": str(folder), **rest})
    return records


def plant(chosen: options.PlantOptions, console: Console, _: Given) -> None:
    """Make material with planted evidence."""
    from parallelnet_experiments.material import plant

    manifest = plant(chosen)
    _say(console, json.dumps({"manifest": str(manifest)}), print, manifest)


def faithfulness(chosen: options.FaithfulnessOptions, console: Console, _: Given) -> None:
    """Ask whether explanations find planted evidence."""
    from parallelnet_experiments.faithfulness import measure

    _show_table(measure(chosen), console, "table")


def _table(name: str, title: str) -> Callable[[options.TablesOptions, Console, Given], None]:
    # The command that trains and compares the rows of a table, by the name of its module and files; a missing extra is
    # asked for in the name of `title`.
    def run(chosen: options.TablesOptions, console: Console, given: Given) -> None:
        with _extra(title, "train"):
            module = import_module(f"parallelnet_experiments.tables.{name}")
        _show_table(module.measure(chosen, options.recipe(chosen.preset, given), quiet=console.quiet), console, name)

    return run


table1 = _table("table1", "Table 1")
table2 = _table("table2", "Table 2")
modalities = _table("modalities", "The comparison of modalities")


def _show_table(result: Path, console: Console, table: str) -> None:
    text = (result.parent / f"{table}.md").read_text(encoding="utf-8")
    _say(console, result.read_text(encoding="utf-8").rstrip("\n"), print, f"{text}\n{result}")


def render(chosen: options.RenderOptions, console: Console, _: Given) -> None:
    """Rewrite the tables and pages from their JSON, or check that they are what it says."""
    from parallelnet_experiments.tables.render import render

    report = render(chosen)
    lines = [f"{what} {path}" for what in ("written", "removed") for path in getattr(report, what)]
    lines.append(f"{len(report.unchanged)} files are what the results say")
    _say(console, report.to_json(), print, "\n".join(lines))


# --- what a model says of a sample, of a manifest's samples, of labelled ones -----------------------------------------


def predict(chosen: options.PredictOptions, console: Console, _: Given) -> None:
    """Say which emotion a sample shows; of a manifest, write a row each."""
    if chosen.manifest is not None:
        from .batches import predict_manifest
        from .data.manifest import MANIFEST_CSV

        manifest, out = Path(chosen.manifest), Path(chosen.out or "")
        if out.exists() and any(path.exists() and out.samefile(path) for path in (manifest, manifest / MANIFEST_CSV)):
            raise OptionError(f"--out {out} is the manifest itself. Mend: another --out.")
        given = {name: getattr(chosen, name) for name in ("modalities", "resume", "retry_failed")}
        given["all_faces"] = chosen.face == "all"
        _many(chosen, console, partial(predict_manifest, **given), "predicted", {"out": str(out)})
        return
    from .predictor import load_chosen

    model, sample, every = load_chosen(chosen, chosen.labels), _sample(chosen, "predict"), chosen.face == "all"
    found = model.predict_faces(*sample) if every else [model.predict(*sample)]
    if console.json:
        print(f"[{', '.join(one.to_json() for one in found)}]" if every else found[0].to_json())
        return
    for one in found:
        terminal.show("prediction", of=one, others=() if every or one.face is None else one.face.others)


def explain(chosen: options.ExplainOptions, console: Console, _: Given) -> None:
    """Say why, with a report where --out names one; of a manifest, write a folder and a row each, and the index."""
    if chosen.manifest is not None:
        from .explanation.batch import explain_manifest

        files = {"out": str(chosen.out), "index": str(Path(chosen.out or "") / "index.html")}
        _many(chosen, console, partial(explain_manifest, options=chosen), "explained", files)
        return
    speech, image = _sample(chosen, "explain")
    report = None
    with _held_folder(chosen.out):
        from .data.manifest import read_word_times
        from .explanation.explaining import explain
        from .predictor import load_chosen

        word_times = () if chosen.word_times is None else read_word_times(chosen.word_times)
        model = load_chosen(chosen, chosen.labels)
        explanation = explain(speech, image, model=model, options=chosen, word_times=word_times)
        if chosen.out is not None:
            from .explanation.batch import write_explanation

            given = (("speech_name", speech), ("image_name", image))
            names = {name: Path(path).name for name, path in given if path is not None}
            report = write_explanation(explanation, chosen.out, **names)
    _say(console, explanation.to_json(), terminal.show, "explanation", of=explanation)
    if report is not None and not console.json:
        print(f"report     {report}")


def _sample(chosen: options.SampleOptions, what: str) -> tuple[str | None, str | None]:
    if chosen.file is chosen.speech is chosen.image is None:
        raise OptionError(f"Nothing to {what}. Mend: a clip, or --speech FILE, --image FILE, both, or --manifest FILE.")
    return chosen.speech or chosen.file, chosen.image or chosen.file


def _many(
    chosen: options.SampleOptions,
    console: Console,
    write: Callable[..., BatchCounts],
    done: str,
    files: dict[str, str],
) -> None:
    # Do a manifest's samples, say what became of them, and where rows failed the first reason.
    from .data.dataset import digest, open_data
    from .predictor import load_chosen

    manifest, out = str(chosen.manifest), files["out"]
    samples = open_data(manifest, keep_bad_rows=True)
    model = load_chosen(chosen, chosen.labels)
    with _progress(len(samples), console) as step:
        counts = write(model, samples, out, data=digest(manifest), progress=step)
    told = f"{counts.n_ok} {done}, {counts.n_error} failed, {counts.n_skipped} done before: {list(files.values())[-1]}"
    _say(console, json.dumps({**files, **asdict(counts)}), print, told)
    if counts.n_error:
        n = "1 sample" if counts.n_error == 1 else f"{counts.n_error} samples"
        said = f"{n} failed; the first, {counts.first_error.rstrip('.')}. All reasons: {out}"
        if not (counts.n_ok or counts.n_skipped):  # where none went well, the command has failed, too
            raise ManifestError(said)
        logging.getLogger(__name__).warning("%s", said)


def timeline(chosen: options.TimelineOptions, console: Console, _: Given) -> None:
    """Write the time line of a recording or a clip, and say what it holds."""
    with _held_folder(chosen.out):
        from .predictor import load_chosen
        from .report.timeline import write
        from .timeline import follow

        found = follow(load_chosen(chosen, chosen.labels), chosen.file, smooth_s=chosen.smooth_s)
        facts = {"page": str(write(found, chosen.out, title=Path(chosen.file).name)), **found.facts()}
    _say(console, json.dumps(facts, ensure_ascii=False), terminal.show, "timeline", **facts)


def listen(chosen: options.ListenOptions, console: Console, _: Given) -> None:
    """Print what the model says of the voice at the microphone, a line a step."""
    from . import listening
    from .predictor import load_chosen

    model = load_chosen(chosen, chosen.labels)
    with listening.microphone(chosen.microphone) as blocks:
        for heard in listening.listen(model, blocks, step_s=chosen.step_s):
            _say(console, heard.to_json(), partial(print, flush=True), str(heard))
            if chosen.seconds is not None and heard.at_s >= chosen.seconds:
                break


def evaluate(chosen: options.EvaluateOptions, console: Console, _: Given) -> None:
    """Measure a model on labelled samples."""
    from . import measurement
    from .data.dataset import open_data
    from .predictor import load_chosen

    with _held_folder(chosen.out):
        samples, split = measurement.part(open_data(chosen.data, keep_bad_rows=True), chosen.split)
        predictor = load_chosen(chosen)
        given = {name: getattr(chosen, name) for name in ("modalities", "target_column", "n_bootstrap", "seed")}
        with _progress(len(samples), console) as step:
            by_group = chosen.resample == "group"
            measured = measurement.measure(predictor, samples, by_group=by_group, progress=step, **given)
        facts = {"data": chosen.data, "split": split, "modalities": chosen.modalities, "checkpoint": predictor.name}
        if chosen.out is not None:
            measurement.write(Path(chosen.out), measured, facts)
    as_json = json.dumps({**measured.to_dict(), **facts}, ensure_ascii=False)
    told = {"of": measured.metrics, "failures": measured.failures, "facts": facts, "out": chosen.out}
    _say(console, as_json, terminal.show, "measured", **told)
