"""The explanations of a whole manifest: a folder a sample, a row a sample, one page that leads to all."""

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path

from PIL import Image

from .. import audio, batches, image, records
from ..errors import InputError, ManifestError, OptionError, refuse
from ..options import ExplainOptions, ModelOptions
from ..predictor import Predictor
from ..report import explanation_plots, html
from ..types import Sample
from .explaining import explain
from .result import Explanation

TABLE = "explanations.csv"
SETTINGS = "settings.json"
# What the table says of an explanation, column by column.
_FIGURES: dict[str, Callable[[Explanation], str]] = {
    "emotion": lambda of: of.emotion,
    "probability": lambda of: f"{of.prediction.probs[of.emotion]:.6f}",
    "target": lambda of: of.target,
    "base_value": lambda of: f"{of.of_target.base:.6f}",
    "full_value": lambda of: f"{of.of_target.full:.6f}",
    "speech_value": lambda of: f"{of.of_target.speech:.6f}",
    "image_value": lambda of: f"{of.of_target.image:.6f}",
    "synergy": lambda of: f"{of.of_target.synergy:.6f}",
    "efficiency_gap": lambda of: f"{of.of_target.efficiency_gap:.3g}",
    "top": lambda of: "|".join(f"{modality} {name} {value:+.3f}" for modality, name, value in of.top(3)),
    "modalities": lambda of: "|".join(of.modalities),
    "face": lambda of: of.prediction.face.status if of.prediction.face else "",
    "warnings": lambda of: "|".join(of.warnings),
    "seconds": lambda of: f"{of.seconds:.3f}",
}
_NUMBERS = frozenset(_FIGURES) - {"emotion", "target", "top", "modalities", "face", "warnings"}
COLUMNS = ("id", "status", "reason", "folder", "label", *_FIGURES, "checkpoint")
_SMALL = "thumbnail.png"
_SOUNDS = ("kept", "silenced", "inverted")
_FILES = ("report.html", "explanation.json", _SMALL, *(f"{name}.wav" for name in _SOUNDS))
# What does not decide the results, and what opens the model, which `Predictor.asked` says.
_FREE = {"manifest", "out", "resume", "retry_failed", "memory_mb", "speech", "image", "labels"} | {
    field.name for field in fields(ModelOptions)
}


def write_explanation(
    explanation: Explanation, folder: str | Path, *, title: str = "", speech_name: str = "", image_name: str = ""
) -> Path:
    """Write `report.html`, `explanation.json`, plots and sounds into a folder, made where it is missing.

    Files of these names in it are replaced. Returns the path of the report, which has the title, and which calls the
    speech and the picture by the names given, for instance those of their files.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    _clear(target)  # or sounds of an earlier explanation would stand beside this picture
    (target / "explanation.json").write_text(explanation.to_json() + "\n", encoding="utf-8")
    explanation_plots.save_all(explanation, target)
    _write_sounds(explanation, target)
    if explanation.material is not None and explanation.material.picture is not None:
        small = Image.fromarray(explanation.material.picture)
        small.thumbnail((144, 144))  # twice the side that the index shows, for dense screens
        small.save(target / _SMALL)
    frames = explanation.prediction.frames
    if frames:
        image_name = f"{image_name}, {frames[0]}"
        title = title or image_name
    page = html.render(explanation, title=title, speech_name=speech_name, image_name=image_name)
    (target / "report.html").write_text(page, encoding="utf-8")
    return target / "report.html"


def _clear(folder: Path) -> None:
    for name in (*_FILES, *explanation_plots.NAMES):
        (folder / name).unlink(missing_ok=True)


def _write_sounds(explanation: Explanation, folder: Path) -> None:
    for name in _SOUNDS:
        sound = getattr(explanation.material, name, None)
        if sound is not None:
            (folder / f"{name}.wav").write_bytes(audio.coded(sound, subtype="PCM_16", format="WAV"))


def explain_manifest(
    model: Predictor,
    samples: Sequence[Sample],
    out: str | Path,
    options: ExplainOptions,
    *,
    data: str = "",
    progress: Callable[[int], object] | None = None,
) -> batches.BatchCounts:
    """Write a folder and a row of `explanations.csv` for each sample, and `index.html`; a bad file is a row.

    What was asked (`Predictor.asked`, the options, `data`) is kept in `settings.json`.

    Args:
        model: from `predictor.load`.
        samples: with unique ids and paths that can be opened as they are; `word_times` become units, `label` is what
            `--target label` explains.
        out: folder. Its index is made from the rows at the end, also when the run is stopped.
        options: how to explain; `resume` keeps what an earlier run with the same options finished, `retry_failed`
            tries the samples again that failed there.
        data: hash of where the samples come from (`data.dataset.digest`); that of their rows when left out.
        progress: called with the number of samples that were finished, those of an earlier run first.

    Raises:
        ManifestError: ids by which rows cannot be told apart, or a table that holds something else.
        OptionError: `out` holds something and `resume` is off, or results of other options, data or checkpoint.
        ParallelNetError: another process writes there, or `out` cannot be written any more.
    """
    batches.check_ids(samples)
    target = Path(out)
    refuse(OptionError, [(target.exists() and not target.is_dir(), f"--out {target} is a file; allowed: a folder.")])
    target.mkdir(parents=True, exist_ok=True)
    decide = {name: value for name, value in asdict(options).items() if name not in _FREE}
    asked = batches.asked(model, samples, data, **decide)
    with batches.writing(target):
        used = not records.is_empty(target)
        told = f"{target} exists and is not empty. Mend: --resume to go on with it, or another --out."
        mend = f"{target} holds no explanations to go on with ({SETTINGS} is missing). Mend: another --out."
        refuse(OptionError, [(used and not options.resume, told), (used and not (target / SETTINGS).is_file(), mend)])
        records.begun(target / SETTINGS, asked, place=target)
        table = batches.Table(target / TABLE, COLUMNS, model.name, _NUMBERS)
        return batches.run(
            table,
            samples,
            lambda todo: (_explained(model, sample, target, options) for sample in todo),
            retry_failed=options.retry_failed,
            finish=lambda: _write_index(table),
            progress=progress,
        )


def _explained(model: Predictor, sample: Sample, target: Path, options: ExplainOptions) -> batches.Row:
    # In a folder of their own, so that no id can name the table or the index.
    folder = target / "samples" / _folder(sample.id)
    row: dict[str, str | int] = {"label": sample.label}
    takes, explained = model.modalities, False
    aligned = options.units == "words" and sample.text and not sample.word_times and not options.transcribe
    single = replace(options, manifest=None, out=None, resume=False, text=sample.text if aligned else options.text)
    try:
        if sample.problem:
            raise ManifestError(sample.problem)
        explanation = explain(
            sample.speech if "speech" in takes else None,
            sample.image if "image" in takes else None,
            model=model,
            options=single,
            word_times=sample.word_times,
            label=sample.label,
        )
        explained = True
        folder.parent.mkdir(exist_ok=True)  # not its parents: an --out that was taken away must not come back half
        speech_name, image_name = (Path(path or "").name for path in (sample.speech, sample.image))
        write_explanation(explanation, folder, title=sample.id, speech_name=speech_name, image_name=image_name)
    except Exception as error:  # one bad file must not end a batch, whatever its decoder raises, nor an odd explanation
        if explained and isinstance(error, OSError):
            raise
        row |= batches.failed(error)
        if folder.is_dir():  # what a killed run left half-written
            _clear(folder)
            with suppress(OSError):  # a file of somebody else lies in it
                folder.rmdir()
        return row
    row |= {name: said(explanation) for name, said in _FIGURES.items()}
    return row | {"status": "ok", "folder": folder.relative_to(target).as_posix()}


def _folder(sample_id: str) -> str:
    """Return a folder name for any id: its letters and digits, and a short hash where that lost something."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", sample_id).strip("-.")[:80]
    # Two ids may also differ by case alone, which some file systems do not see.
    if plain == sample_id and plain == plain.lower():
        return plain
    return f"{plain or 'sample'}-{hashlib.sha256(sample_id.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _write_index(table: batches.Table) -> None:
    folder, rows = table.path.parent, []
    for row in table.rows():
        small = ""
        with suppress(InputError):  # there is no picture, or somebody took it away
            small = html.jpeg(image.read(folder / row["folder"] / _SMALL), 72, quality=70)
        rows.append({**row, "thumbnail": small})
    records.write_text(folder / "index.html", html.render_index(rows))
