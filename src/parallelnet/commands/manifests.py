"""`parallelnet predict --manifest` and `parallelnet explain --manifest`: many samples, and what became of them."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .. import options
from ..errors import ManifestError, OptionError
from .console import Console, progress

if TYPE_CHECKING:
    from ..batches import BatchCounts


def predict(chosen: options.PredictOptions, console: Console) -> None:
    """Write a row of predictions a sample."""
    from ..data.dataset import digest, open_data
    from ..predictions import predict_manifest
    from ..predictor import load_chosen

    assert chosen.manifest is not None
    assert chosen.out is not None
    if Path(chosen.out).exists() and any(map(Path(chosen.out).samefile, _manifest_files(chosen.manifest))):
        raise OptionError(f"--out {chosen.out} is the manifest itself. Mend: another --out.")
    samples = open_data(chosen.manifest, keep_bad_rows=True)
    predictor = load_chosen(chosen, chosen.labels)
    with progress(len(samples), console) as step:
        counts = predict_manifest(
            predictor,
            samples,
            chosen.out,
            modalities=chosen.modalities,
            resume=chosen.resume,
            retry_failed=chosen.retry_failed,
            data=digest(chosen.manifest),
            progress=step,
        )
    if console.json:
        print(json.dumps({"out": chosen.out, **asdict(counts)}))
    else:
        print(f"{counts.n_ok} predicted, {counts.n_error} failed, {counts.n_skipped} done before: {chosen.out}")
    _refuse_if_all_failed(counts, chosen.out)


def explain(chosen: options.ExplainOptions, console: Console) -> None:
    """Write a folder and a row a sample, and the index."""
    from ..data.dataset import digest, open_data
    from ..explanation.batch import explain_manifest
    from ..predictor import load_chosen

    assert chosen.manifest is not None
    assert chosen.out is not None
    samples = open_data(chosen.manifest, keep_bad_rows=True)
    with progress(len(samples), console) as step:
        model = load_chosen(chosen, chosen.labels)
        counts = explain_manifest(model, samples, chosen.out, chosen, data=digest(chosen.manifest), progress=step)
    index = Path(chosen.out) / "index.html"
    if console.json:
        print(json.dumps({"out": chosen.out, "index": str(index), **asdict(counts)}))
    else:
        print(f"{counts.n_ok} explained, {counts.n_error} failed, {counts.n_skipped} done before: {index}")
    _refuse_if_all_failed(counts, chosen.out)


def _manifest_files(manifest: str) -> list[Path]:
    from ..data.manifest import MANIFEST_CSV

    return [path for path in (Path(manifest), Path(manifest) / MANIFEST_CSV) if path.exists()]


def _refuse_if_all_failed(counts: BatchCounts, out: str) -> None:
    """Say the first reason where rows failed; where none went well, the command has failed, too."""
    if not counts.n_error:
        return
    n = counts.n_error
    told = "1 sample" if n == 1 else f"{n} samples"
    said = f"{told} failed; the first, {counts.first_error.rstrip('.')}. All reasons: {out}"
    if counts.n_ok or counts.n_skipped:
        logging.getLogger(__name__).warning("%s", said)
    else:
        raise ManifestError(said)
