"""`predict`, `explain` and `evaluate`: what a model says of a sample, of a manifest's samples, of labelled ones."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import options
from ..errors import ManifestError, OptionError
from ..report import terminal
from . import Console, Given, held_folder, progress, say

if TYPE_CHECKING:
    from ..batches import BatchCounts


def predict(chosen: options.PredictOptions, console: Console, _: Given) -> None:
    """Say which emotion a sample shows; of a manifest, write a row each."""
    if chosen.manifest is not None:
        _predict_many(chosen, chosen.manifest, console)
        return
    _refuse_nothing(chosen, "predict")
    from ..predictor import load_chosen

    prediction = load_chosen(chosen, chosen.labels).predict(chosen.speech, chosen.image)
    say(console, prediction.to_json(), terminal.show_prediction, prediction)


def _predict_many(chosen: options.PredictOptions, manifest: str, console: Console) -> None:
    from ..batches import predict_manifest
    from ..data.manifest import MANIFEST_CSV

    out = Path(chosen.out or "")
    read = [path for path in (Path(manifest), Path(manifest) / MANIFEST_CSV) if path.exists()]
    if out.exists() and any(map(out.samefile, read)):
        raise OptionError(f"--out {out} is the manifest itself. Mend: another --out.")
    write = partial(
        predict_manifest, modalities=chosen.modalities, resume=chosen.resume, retry_failed=chosen.retry_failed
    )
    _many(chosen, console, write, "predicted", {"out": str(out)})


def explain(chosen: options.ExplainOptions, console: Console, _: Given) -> None:
    """Say why, with a report where --out names one; of a manifest, write a folder and a row each, and the index."""
    if chosen.manifest is not None:
        from ..explanation.batch import explain_manifest

        files = {"out": str(chosen.out), "index": str(Path(chosen.out or "") / "index.html")}
        _many(chosen, console, partial(explain_manifest, options=chosen), "explained", files)
        return
    _refuse_nothing(chosen, "explain")
    report = None
    with held_folder(chosen.out):
        from ..data.manifest import read_word_times
        from ..explanation.explaining import explain
        from ..predictor import load_chosen

        word_times = () if chosen.word_times is None else read_word_times(chosen.word_times)
        model = load_chosen(chosen, chosen.labels)
        explanation = explain(chosen.speech, chosen.image, model=model, options=chosen, word_times=word_times)
        if chosen.out is not None:
            from ..explanation.batch import write_explanation

            given = (("speech_name", chosen.speech), ("image_name", chosen.image))
            names = {name: Path(path).name for name, path in given if path is not None}
            report = write_explanation(explanation, chosen.out, **names)
    say(console, explanation.to_json(), terminal.show_explanation, explanation)
    if report is not None and not console.json:
        print(f"report     {report}")


def _refuse_nothing(chosen: options.SampleOptions, what: str) -> None:
    if chosen.speech is None and chosen.image is None:
        raise OptionError(f"Nothing to {what}. Mend: give --speech FILE, --image FILE, both, or --manifest FILE.")


def _many(
    chosen: options.SampleOptions,
    console: Console,
    write: Callable[..., BatchCounts],
    done: str,
    files: dict[str, str],
) -> None:
    """Do a manifest's samples, say what became of them, and where rows failed the first reason."""
    from ..data.dataset import digest, open_data
    from ..predictor import load_chosen

    manifest, out = str(chosen.manifest), files["out"]
    samples = open_data(manifest, keep_bad_rows=True)
    model = load_chosen(chosen, chosen.labels)
    with progress(len(samples), console) as step:
        counts = write(model, samples, out, data=digest(manifest), progress=step)
    told = f"{counts.n_ok} {done}, {counts.n_error} failed, {counts.n_skipped} done before: {list(files.values())[-1]}"
    say(console, json.dumps({**files, **asdict(counts)}), print, told)
    if counts.n_error:
        n = "1 sample" if counts.n_error == 1 else f"{counts.n_error} samples"
        said = f"{n} failed; the first, {counts.first_error.rstrip('.')}. All reasons: {out}"
        if not (counts.n_ok or counts.n_skipped):  # where none went well, the command has failed, too
            raise ManifestError(said)
        logging.getLogger(__name__).warning("%s", said)


def evaluate(chosen: options.EvaluateOptions, console: Console, _: Given) -> None:
    """Measure a model on labelled samples."""
    from .. import measurement
    from ..data.dataset import open_data
    from ..predictor import load_chosen

    with held_folder(chosen.out):
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
    told = (
        f"{predictor.name} on {chosen.data}, split {split}, modalities {chosen.modalities}\n{measured.metrics.table()}"
    )
    if measured.failures:
        name, reason = measured.failures[0]
        where = f"see {chosen.out}/{measurement.FAILURES}" if chosen.out else "--out DIR lists them"
        told += f"\n\n{len(measured.failures)} samples could not be evaluated ({where}); the first, {name}: {reason}"
    say(console, json.dumps({**measured.to_dict(), **facts}, ensure_ascii=False), print, told)
