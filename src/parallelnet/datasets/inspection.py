"""A built data set as people see it: counted anew, with examples by a fixed rule; its card; a page to mark rows in.

The rule for what is shown: the smallest SHA-256 of their ids in each class, the classes taking turns. It looks like
chance, needs no seed, and does not depend on shards, so the same data set always shows the same rows.

The page, `gallery.html`, is for the paper's manual cleaning (section 3.1). It needs nothing else and connects to
nothing. Marks are kept by the browser, under the data set's fingerprint, and leave it only as a csv that the reader
saves.
"""

import base64
import hashlib
import heapq
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import soundfile

from .. import image, options
from ..data.built import DATASET_JSON, BuildReport, read_report, refuse_damaged
from ..data.shards import REASONS, REJECTED_COLUMNS, Example, read_rows, read_shard
from ..errors import InputError, ManifestError, refuse
from ..report import drawing, html, numbers, plots
from .counts import Counts, tally

# Why a person leaves a row out: as the exported csv says it, and as the page does.
MARKS: dict[str, str] = {
    "wrong-label": "wrong label",
    "broken": "broken",
    "duplicate": "duplicate",
    "offensive": "offensive",
    "other": "other",
}

_MOST_ROWS = 60  # of the page, as long as they fit into it
_MOST_BYTES = 14_000_000  # of the page: what a browser opens and a mail program sends without complaint
_MOST_EXCLUDED = 20_000  # ids of earlier marks that a page carries along
_PICTURE_SIDE = 480  # pixels: enough to judge a picture by, 30 to 40 kB
_LOSSLESS_S = 30.0  # longer speech is written anew as MP3, a fifth of the size
_MARGIN = 200_000  # bytes of style, script and frame

# Samples of each class in IIT-R SIER (paper section 3.1; 80,893 in all).
PAPER_COUNTS: dict[str, int] = {"anger": 19_913, "happy": 42_958, "hate": 4_401, "sad": 13_621}

FIGURES = "figures"  # folder of the card's figures, beside `data/`

_EXAMPLES = 3  # of each class, in the card
# Of no interest, of this machine, or told elsewhere in the card.
_OWN_OPTIONS = {"out", "workers", "executor", "ray_address", "dry_run", "overwrite", "tweets", "images"}
_PATHS = ("tts_model", "label_map", "exclude", "speech_teacher", "image_teacher")
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")


def inspect(out: Path, *, examples: int = 3, report: BuildReport | None = None) -> dict[str, Any]:
    """Return what a built data set holds, for the terminal, for JSON and for its card.

    That is `dataset.json`, and `name`, `classes` in index order, `tally` (see `counts.tally`) and `examples`. Its files
    must be those that were built, and are counted anew.

    Args:
        out: folder that `build tweets` made.
        examples: rows to show of each class.
        report: what `dataset.json` will hold, where it is not written yet.

    Raises:
        ManifestError: no build, a build that did not finish, or files that are missing or not what was built.
    """
    if report is None:  # else the files were written a moment ago
        report = read_report(out)
        refuse_damaged(out, report.damaged(out))
    counts, shards = Counts(), report.paths(out)
    for example in (row for shard in shards for row in read_shard(shard, with_bytes=False)):
        counts.add(example)
    n_kept = counts.kept.total()
    told = f"The shards of {out} hold {n_kept:,} rows, but {DATASET_JSON} says {report.n_kept:,}."
    mend = "Mend: copy the folder again, or build again with --overwrite."
    refuse(ManifestError, [(n_kept != report.n_kept, f"{told} {mend}")])
    fields = {"id": "id", "label": report.class_field, "spoken_text": "spoken_text", "source": "label_source"}
    fields |= {"confidence": "confidence", "voice": "tts_voice", "language": "language", "duration_s": "duration_s"}
    rows = load(shards, choose(shards, report, examples * len(report.classes)), with_bytes=False)
    shown = [{name: getattr(row, field) for name, field in fields.items()} for row in rows]
    shown.sort(key=lambda example: report.classes.index(str(example["label"])))
    own = {"name": report.name, "classes": list(report.classes), "tally": tally(counts, report.labels)}
    return {**asdict(report), **own, "examples": shown}


def choose(shards: Sequence[Path], report: BuildReport, n: int) -> tuple[str, ...]:
    """Return the ids of at most `n` rows to show, in the order of showing."""
    column = report.class_field

    def digest(id_: str) -> bytes:
        return hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest()

    def ids(name: str) -> Iterator[str]:
        rows = (row for path in shards for row in read_rows(path, ("id", column)))
        return (row["id"] for row in rows if row[column] == name)

    ranked = [heapq.nsmallest(n, ids(name), key=digest) for name in report.classes]  # memory for n ids a class
    return tuple(id_ for turn in zip_longest(*ranked) for id_ in turn if id_ is not None)[:n]


def load(shards: Sequence[Path], ids: Sequence[str], *, with_bytes: bool) -> Iterator[Example]:
    """Yield the rows with these ids, in the order of the ids, with their sound and picture or without."""
    wanted = set(ids)
    found: dict[str, Example] = {}
    for path in shards if wanted else ():
        # Most shards of a large data set hold none of them: their sounds and pictures are not read at all.
        if any(record["id"] in wanted for record in read_rows(path, ("id",))):
            found |= {row.id: row for row in read_shard(path, with_bytes=with_bytes) if row.id in wanted}
    yield from (found[id_] for id_ in ids)


# --- the card: `README.md`, from the build's own record alone ---------------------------------------------------------


def write_card(out: Path, *, report: BuildReport | None = None) -> Path:
    """Write `README.md` and its figures into a built data set and return the card's path.

    The same build gives the same bytes: nothing of the time or the place goes in.

    Args:
        out: folder that `build tweets` made.
        report: what `dataset.json` will hold, where it is not written yet; read from the folder when left out.

    Raises:
        ManifestError: no build, a build that did not finish, or shards that do not bear the record out.
    """
    found = inspect(out, examples=_EXAMPLES, report=report)
    for name, figure in _figures(found).items():
        drawing.save(figure, out / FIGURES / f"{name}.png")
    path = out / "README.md"
    path.write_text(card(found), encoding="utf-8", newline="\n")
    return path


def card(found: Mapping[str, Any]) -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        found: what the data set holds (`inspect`); every figure comes from there.
    """
    tally = found["tally"]
    # Every second of the curve's points, and the threshold that was used.
    points = {round(at, 6): n for at, _, n in found["threshold_curve"] if round(20 * at) in range(6, 19, 2)}
    points[found["threshold"]] = found["class_counts"]
    return numbers.fill(
        __package__,
        "card.md.j2",
        found=found,
        emotions=found["labels"] == "emotion",
        languages=sorted(filter(None, found["languages"])),
        size=_SIZES[min(max(len(str(found["n_kept"])) - 3, 0), len(_SIZES) - 1)],
        classes=_class_counts(found),
        paper=PAPER_COUNTS,
        reasons=REASONS,
        options={name: _said(name, found["options"][name]) for name in sorted({*found["options"]} - _OWN_OPTIONS)},
        sources=sorted({source for row in tally["sources"].values() for source in row}),
        thresholds=sorted(points.items()),
        voices=_ranked(tally["voices"], 24),
        spoken=_ranked(tally["languages"], 12),
    )


def _class_counts(found: Mapping[str, Any]) -> dict[str, int]:
    return {name: found["class_counts"].get(name, 0) for name in found["classes"]}


def _said(name: str, value: Any) -> Any:
    """Return the value of an option; of a path on this machine its last part."""
    local = name in _PATHS and isinstance(value, str) and not value.startswith(("hf:", "hf-model:"))
    return PurePath(value).name if local else value


def _ranked(table: Mapping[str, Mapping[str, int]], most: int) -> list[tuple[str, Mapping[str, int]]]:
    """Return so many rows of a table, those with the most samples first, and the others as one."""
    rows = sorted(table.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    others = sum((Counter(row) for _, row in rows[most:]), Counter[str]())
    return [*rows[:most], *([(f"{len(rows) - most:,} others", others)] if others else [])]


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return every figure that the card shows, by its name."""
    emotions, classes, tally = found["labels"] == "emotion", found["classes"], found["tally"]
    figures = {
        "classes": plots.class_shares(_class_counts(found), PAPER_COUNTS if emotions else None),
        "durations": plots.durations(tally["durations"]["seconds"]),
    }
    if emotions and found["threshold_curve"]:
        figures["threshold"] = plots.threshold_curve(
            found["threshold_curve"], found["threshold"], found["n_kept"], classes
        )
    if emotions and tally["named"]:
        figures["teachers"] = plots.teacher_table(tally["named"], classes)
        figures["confidences"] = plots.confidences(tally["confidences"], found["threshold"])
    return figures


# --- the page ---------------------------------------------------------------------------------------------------------


class Card(NamedTuple):
    """A row as the page shows it: with its class, and as data URIs picture and sound, "" where they cannot be shown."""

    row: Example
    label: str
    picture: str
    sound: str

    @property
    def words(self) -> tuple[tuple[str, float, float], ...]:
        """What is spoken: (word, start in s, end in s), all at 0 where no times are known."""
        return self.row.word_times or tuple((word, 0.0, 0.0) for word in self.row.spoken_text.split())

    @property
    def agreed(self) -> bool | None:
        """Whether both teachers find the same class most probable; None without both."""
        speech, picture = self.row.speech_probs, self.row.image_probs
        return speech.index(max(speech)) == picture.index(max(picture)) if speech and picture else None

    @property
    def n_bytes(self) -> int:
        """About how many bytes of the page it takes."""
        return len(self.picture) + len(self.sound) + 6 * len(self.row.text) + 120 * len(self.words) + 4000


def write_gallery(out: Path, *, report: BuildReport | None = None) -> Path:
    """Write `gallery.html` of a built data set, its rows spread over the classes, and return its path.

    Arguments and errors are those of `inspect`.
    """
    report = report or read_report(out)
    limits = options.LimitOptions(max_pixels=int(report.options.get("max_pixels", options.LimitOptions().max_pixels)))
    shards = report.paths(out)
    rows = load(shards, choose(shards, report, _MOST_ROWS), with_bytes=True)
    rejected = read_rows(out / "rejected.parquet", ("id", "reason"), REJECTED_COLUMNS)
    # Exported again, so that the new csv does for the next build what both did.
    excluded = [record["id"] for record in rejected if record["reason"] == "excluded"]
    shown = within((_card(row, getattr(row, report.class_field), limits) for row in rows), _MOST_BYTES)
    path = out / "gallery.html"
    page = render(shown, report, excluded=excluded if len(excluded) <= _MOST_EXCLUDED else ())
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def _card(row: Example, label: str, limits: options.LimitOptions) -> Card:
    picture = ""
    with suppress(InputError):  # it was read when the set was built; a newer Pillow may think otherwise
        picture = html.jpeg(image.read(row.image, limits=limits), _PICTURE_SIDE, quality=74)
    return Card(row, label, picture, sound_uri(row.speech, row.duration_s) if row.speech else "")


def sound_uri(flac: bytes, duration_s: float) -> str:
    """Return FLAC as a data URI: its very bytes, or an MP3 of what lasts longer than 30 s."""
    if duration_s > _LOSSLESS_S:
        wave, _ = soundfile.read(io.BytesIO(flac), dtype="float32")
        return html.sound(wave)
    return f"data:audio/flac;base64,{base64.b64encode(flac).decode()}"


def within(cards: Iterable[Card], most_bytes: int) -> list[Card]:
    """Return the first cards, as many as one page of at most so many bytes holds; at least one."""
    kept: list[Card] = []
    for card in cards:
        most_bytes -= card.n_bytes
        if kept and most_bytes < _MARGIN:
            break
        kept.append(card)
    return kept


def render(cards: Sequence[Card], report: BuildReport, *, excluded: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        cards: in the order in which they are shown.
        report: of the data set; marks are kept under its fingerprint.
        excluded: ids that this build left out already by marks.
    """
    return html.render_page(
        "gallery.html.j2",
        cards=cards,
        title=f"{report.name}: speech + picture {report.labels}",
        classes=[name for name in report.classes if any(card.label == name for card in cards)],
        all_classes=list(report.classes),
        sources=[name for name in ("speech", "image") if any(card.row.label_source == name for card in cards)],
        judged=any(card.agreed is not None for card in cards),
        languages=sorted({card.row.language for card in cards if card.row.language}),
        marks=MARKS,
        n_kept=report.n_kept,
        fingerprint=report.fingerprint,
        data=html.script_json({"fingerprint": report.fingerprint, "excluded": list(excluded), "marks": MARKS}),
    )
