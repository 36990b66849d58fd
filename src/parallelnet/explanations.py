"""The explanations of a whole manifest: a folder a sample, a row a sample, one page that leads to all."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image

from . import image, predictions
from .errors import ManifestError, OptionError
from .explained import Explanation
from .explanation.explaining import explain
from .options import ExplainOptions
from .predictor import Predictor
from .report import explanation_plots, html
from .types import Sample

TABLE = "explanations.csv"
SETTINGS = "settings.json"
COLUMNS = (
    "id",
    "status",
    "reason",
    "folder",
    "label",
    "emotion",
    "probability",
    "target",
    "base_value",
    "full_value",
    "speech_value",
    "image_value",
    "synergy",
    "efficiency_gap",
    "top",
    "warnings",
    "seconds",
    "checkpoint",
)
_SMALL = "thumbnail.png"
_SOUNDS = ("kept", "silenced", "inverted")
_FILES = ("report.html", "explanation.json", _SMALL, *(f"{name}.wav" for name in _SOUNDS))
# What may differ between a run and the one that goes on behind it: where it runs, not what it finds.
_FREE = ("manifest", "out", "resume", "threads", "memory_mb", "speech", "image")


def write_explanation(
    explanation: Explanation,
    folder: str | Path,
    *,
    title: str = "",
    speech_name: str = "",
    image_name: str = "",
) -> Path:
    """Write `report.html`, `explanation.json`, plots and sounds into a folder, made where it is missing.

    Args:
        explanation: with its material.
        folder: files of these names in it are replaced.
        title: of the report.
        speech_name: what the report calls the speech, for instance its file's name.
        image_name: likewise the picture.

    Returns:
        The path of the report.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name in (*_FILES, *explanation_plots.NAMES):
        (target / name).unlink(missing_ok=True)  # or sounds of an earlier explanation would stand beside this picture
    (target / "explanation.json").write_text(explanation.to_json() + "\n", encoding="utf-8")
    explanation_plots.save_all(explanation, target)
    _write_sounds(explanation, target)
    if explanation.material is not None and explanation.material.picture is not None:
        small = Image.fromarray(explanation.material.picture)
        small.thumbnail((144, 144))  # twice the side that the index shows, for dense screens
        small.save(target / _SMALL)
    report = html.write(
        explanation, target / "report.html", title=title, speech_name=speech_name, image_name=image_name
    )
    return report


def _write_sounds(explanation: Explanation, folder: Path) -> None:
    import soundfile

    from .audio import SAMPLE_RATE_HZ

    for name in _SOUNDS:
        sound = getattr(explanation.material, name, None)
        if sound is not None:
            soundfile.write(folder / f"{name}.wav", sound, SAMPLE_RATE_HZ, subtype="PCM_16")


def explain_manifest(
    model: Predictor,
    samples: Sequence[Sample],
    out: str | Path,
    options: ExplainOptions,
    *,
    progress: Callable[[int], object] | None = None,
) -> predictions.BatchCounts:
    """Write a folder and a row of `explanations.csv` for each sample, and `index.html`; a bad file is a row.

    Args:
        model: from `predictor.load`.
        samples: with unique ids and paths that can be opened as they are; `word_times` become units, `label` is what
            `--target label` explains.
        out: folder. Its index is made from the rows at the end, also when the run is interrupted.
        options: how to explain; `resume` keeps what an earlier run with the same options finished.
        progress: called with the number of samples that were finished, those of an earlier run first.

    Raises:
        ManifestError: ids by which rows cannot be told apart.
        OptionError: `out` holds something and `resume` is off, or results of other options.
    """
    predictions.check_ids([sample.id for sample in samples])
    target = Path(out)
    done = _started(target, options, model.name)
    todo = [sample for sample in samples if sample.id not in done]
    n_skipped, n_error, first_error = len(samples) - len(todo), 0, ""
    if progress is not None and n_skipped:
        progress(n_skipped)
    try:
        with (target / TABLE).open("a", newline="", encoding="utf-8") as stream:
            rows = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            if not (target / TABLE).stat().st_size:
                rows.writeheader()
            for sample in todo:
                row = _row(model, sample, target, options)
                if row["status"] == "error":
                    n_error += 1
                    first_error = first_error or f"{sample.id}: {row['reason']}"
                rows.writerow(row)
                stream.flush()
                if progress is not None:
                    progress(1)
    finally:
        _write_index(target)
    return predictions.BatchCounts(
        n_ok=len(todo) - n_error, n_error=n_error, n_skipped=n_skipped, first_error=first_error
    )


def _started(target: Path, options: ExplainOptions, checkpoint: str) -> frozenset[str]:
    """Return the ids that are done, with the settings on disk."""
    settings = {name: value for name, value in asdict(options).items() if name not in _FREE}
    settings = json.loads(json.dumps({**settings, "checkpoint": checkpoint}))
    if target.exists() and any(target.iterdir()):
        if not options.resume:
            raise OptionError(f"{target} exists and is not empty. Mend: --resume to go on with it, or another --out.")
        if not (target / SETTINGS).is_file():
            raise OptionError(f"{target} holds no explanations to go on with ({SETTINGS} is missing). Another --out?")
        before = json.loads((target / SETTINGS).read_text(encoding="utf-8"))
        changed = [name for name in settings if before.get(name) != settings[name]]
        if changed:
            raise OptionError(
                f"{target} was begun with other options ({', '.join(changed)}). Mend: the same ones, or another --out."
            )
    target.mkdir(parents=True, exist_ok=True)
    (target / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    table = target / TABLE
    return predictions.finished(table, COLUMNS, checkpoint) if table.exists() else frozenset()


def _row(model: Predictor, sample: Sample, target: Path, options: ExplainOptions) -> dict[str, Any]:
    """Explain one sample, write its folder, and return its row."""
    row: dict[str, Any] = {"id": sample.id, "label": sample.label, "checkpoint": model.name}
    # In a folder of their own, so that no id can name the table or the index.
    folder = f"samples/{_folder(sample.id)}"
    try:
        if sample.problem:
            raise ManifestError(sample.problem)
        takes = model.modalities
        single = replace(options, manifest=None, out=None, resume=False)
        if options.units == "words" and sample.text and not sample.word_times and not options.transcribe:
            single = replace(single, text=sample.text)
        explanation = explain(
            sample.speech if "speech" in takes else None,
            sample.image if "image" in takes else None,
            model=model,
            options=single,
            word_times=sample.word_times,
            label=sample.label,
        )
        names = {
            f"{name}_name": Path(path).name
            for name, path in (("speech", sample.speech), ("image", sample.image))
            if path
        }
        write_explanation(explanation, target / folder, title=sample.id, **names)
    except Exception as error:  # one bad file must not end a batch, whatever its decoder raises
        return {**row, "status": "error", "reason": predictions.reason(error)}
    values = explanation.of_target
    return {
        **row,
        "status": "ok",
        "folder": folder,
        "emotion": explanation.emotion,
        "probability": f"{explanation.prediction.probs[explanation.emotion]:.6f}",
        "target": explanation.target,
        "base_value": f"{values.base:.6f}",
        "full_value": f"{values.full:.6f}",
        "speech_value": f"{values.speech:.6f}",
        "image_value": f"{values.image:.6f}",
        "synergy": f"{values.synergy:.6f}",
        "efficiency_gap": f"{values.efficiency_gap:.3g}",
        "top": "|".join(f"{modality} {name} {value:+.3f}" for modality, name, value in explanation.top(3)),
        "warnings": "|".join(explanation.warnings),
        "seconds": f"{explanation.seconds:.3f}",
    }


def _folder(sample_id: str) -> str:
    """Return a folder name for any id: its letters and digits, and a short hash where that lost something."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", sample_id).strip("-.")[:80]
    # Two ids may also differ by case alone, which some file systems do not see.
    if plain == sample_id and plain == plain.lower():
        return plain
    return f"{plain or 'sample'}-{hashlib.sha256(sample_id.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _write_index(target: Path) -> None:
    with (target / TABLE).open(newline="", encoding="utf-8", errors="replace") as stream:
        found = list(csv.DictReader(stream))
    html.write_index(
        [
            html.IndexRow(
                id=row["id"],
                link=f"{row['folder']}/report.html" if row["status"] == "ok" else "",
                status=row["status"],
                reason=row["reason"],
                emotion=row["emotion"],
                probability=float(row["probability"]) if row["probability"] else None,
                truth=row["label"],
                thumbnail=_thumbnail(target / row["folder"]) if row["status"] == "ok" else "",
            )
            for row in found
        ],
        target / "index.html",
    )


def _thumbnail(folder: Path) -> str:
    path = folder / _SMALL
    return html.thumbnail(image.read(path)) if path.is_file() else ""
