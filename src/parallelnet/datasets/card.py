"""The data set card: `README.md` of a built data set, with its figures, made from the build's own record alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ..data.built import BuildReport
from ..data.shards import REASONS
from ..report import dataset_plots, drawing
from .card_text import FRONT_TAGS, LIMITS, LOADING, MADE, SENTIMENT_DIFFERS, code, escape
from .inspection import Inspection, inspect

PAPER_COUNTS: dict[str, int] = {"anger": 19_913, "happy": 42_958, "hate": 4_401, "sad": 13_621}
"""Samples of each class in IIT-R SIER (paper section 3.1; 80,893 in all)."""

FIGURES = "figures"
"""Folder of the card's figures, beside `data/`."""

_EXAMPLES = 3
_SOURCES = {"image": "picture", "source": "as the source says"}
_VOICES = 24  # rows of the table of voices
_LANGUAGES = 12
# Of no interest, of this machine, or told elsewhere in the card.
_OWN_OPTIONS = ("out", "workers", "executor", "ray_address", "dry_run", "overwrite", "tweets", "images")
_PATHS = ("tts_model", "label_map", "exclude", "speech_teacher", "image_teacher")


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


def card(found: Inspection) -> str:
    """Return the card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        found: what the data set holds; every figure comes from there.
    """
    emotions = found.report.labels == "emotion"
    lead = (
        f"{found.report.n_kept:,} posts as **speech + picture**, each with one of "
        f"{len(found.classes)} {'emotions' if emotions else 'sentiments'}: the text of each post was spoken by a "
        f"machine ({_hours(found.report.duration_s)} in all), the picture is the post's own. "
        "[`gallery.html`](gallery.html) shows a sample to look at and listen to, without a network."
    )
    parts = [
        _front_matter(found),
        f"# {_title(found, escape)}",
        lead,
        "" if emotions else SENTIMENT_DIFFERS,
        "## Classes\n\n" + _classes(found),
        "## How it was made\n\n"
        + MADE[found.report.labels].format(threshold=f"{found.report.threshold:g}", rule=_rule(found)),
        _options(found),
        "## What fell out\n\n" + _dropped(found),
        ("## Teachers\n\n" + _teachers(found)) if emotions else "",
        ("## Threshold\n\n" + _thresholds(found)) if emotions and found.report.threshold_curve else "",
        "## Speech\n\n" + _speech(found),
        ("## Sentiment and emotion\n\n" + _sentiments(found)) if emotions and found.tally.sentiments else "",
        "## How to load it\n\n" + LOADING[found.report.labels],
        "## Limits\n\n" + LIMITS[found.report.labels],
        "## Examples\n\n" + _examples(found),
        "## Provenance\n\n" + _provenance(found),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


# --- parts of the card ------------------------------------------------------------------------------------------------


def _front_matter(found: Inspection) -> str:
    languages = sorted(code for code in found.report.languages if code)
    lines = [
        "---",
        f"pretty_name: {json.dumps(_title(found))}",
        "license: other",
        "license_name: terms-of-the-source",
        *(["language:", *(f"- {json.dumps(code)}" for code in languages)] if languages else []),
        "task_categories:\n- audio-classification\n- image-classification",
        "tags:",
        *(f"- {tag}" for tag in (*FRONT_TAGS, f"{found.report.labels}-recognition")),
        f"size_categories:\n- {_size(found.report.n_kept)}",
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*.parquet",
        "---",
    ]
    return "\n".join(lines)


def _title(found: Inspection, shown: Callable[[str], str] = str) -> str:
    return f"{shown(found.name)}: speech + picture {found.report.labels}"


def _classes(found: Inspection) -> str:
    counts = {name: found.report.class_counts.get(name, 0) for name in found.classes}
    total, paper_total = sum(counts.values()), sum(PAPER_COUNTS.values())
    if found.report.labels != "emotion":
        rows = [[name, f"{n:,}", _share(n, total)] for name, n in counts.items()]
        return _image("classes", "Share of each class") + _table(["class", "samples", "share"], rows)
    rows = [
        [name, f"{n:,}", _share(n, total), f"{PAPER_COUNTS[name]:,}", _share(PAPER_COUNTS[name], paper_total)]
        for name, n in counts.items()
    ]
    rows.append(["**all**", f"**{total:,}**", "", f"**{paper_total:,}**", ""])
    head = ["class", "samples", "share", "in the paper's IIT-R SIER", "share there"]
    return (
        _image("classes", "Share of each class, beside the paper's data set")
        + "The sizes differ, so compare the shares. The paper built its set from B-T4SA with other teachers and "
        "another voice.\n\n" + _table(head, rows)
    )


def _options(found: Inspection) -> str:
    rows = []
    for name, value in sorted(found.report.options.items()):
        if name not in _OWN_OPTIONS:
            local = name in _PATHS and isinstance(value, str) and not value.startswith(("hf:", "hf-model:"))
            said = PurePath(value).name if local else value
            rows.append([f"`--{name.replace('_', '-')}`", _plain(said)])
    return "<details><summary>Options of the build</summary>\n\n" + _table(["option", "value"], rows) + "\n\n</details>"


def _dropped(found: Inspection) -> str:
    said = (
        f"{found.report.n_read:,} rows were read, {found.report.n_kept:,} kept and {found.report.n_rejected:,} left out"
    )
    if not found.report.n_rejected:
        return said + "."
    rows = [
        [f"`{reason}`", f"{n:,}", _share(n, found.report.n_read), escape(REASONS.get(reason, ""))]
        for reason, n in sorted(found.report.rejected.items(), key=lambda item: -item[1])
    ]
    return (
        said
        + "; `rejected.parquet` names each of them with its reason.\n\n"
        + _table(["reason", "rows", "of all read", "meaning"], rows)
    )


def _teachers(found: Inspection) -> str:
    names = {"speech": "Speech teacher", "image": "Picture teacher"}
    listed = [
        f"- **{names[key]}**: {_describe(found.report.teachers[key])}" for key in names if key in found.report.teachers
    ]
    parts = ["\n".join(listed)]
    agreement = found.report.teacher_agreement
    if agreement is not None:
        kappa = found.tally.teacher_kappa
        chance = (
            "" if kappa is None else f" Cohen's kappa over the kept samples: {kappa:.2f} (0 is chance, 1 complete)."
        )
        parts.append(
            f"Over all rows that both judged, **{agreement:.1%}** get the same class from both.{chance} "
            "Where they differ, the surer one decides, which is not the same as being right."
        )
    if found.tally.named:
        parts.append(
            _image("teachers", "Which class each teacher finds most probable, over the kept samples")
            + "Who decided, of the samples of each class:"
        )
        sources = sorted({source for row in found.tally.sources.values() for source in row})
        rows = []
        for name in found.classes:
            own = found.tally.sources.get(name, {})
            rows.append([name, *(_with_share(own.get(source, 0), sum(own.values())) for source in sources)])
        parts.append(_table(["class", *(escape(_SOURCES.get(source, source)) for source in sources)], rows))
        parts.append(_image("confidences", "Histogram of the deciding probability").strip())
    return "\n\n".join(part for part in parts if part)


def _thresholds(found: Inspection) -> str:
    taken = found.report.threshold
    points = {
        round(at, 6): counts for at, _, counts in found.report.threshold_curve if round(20 * at) in range(6, 19, 2)
    }
    rows = []
    for at, counts in sorted((points | {taken: found.report.class_counts}).items()):
        n = sum(counts.values())
        bold = "**" if at == taken else ""
        cells = [_share(counts.get(name, 0), n) for name in found.classes]
        rows.append([f"{bold}{at:g}{bold}", f"{bold}{n:,}{bold}", *cells])
    return (
        _image("threshold", "Samples that a threshold would keep")
        + f"Built with **{taken:g}**. Another threshold would have kept, of the rows that reached the teachers:\n\n"
        + _table(["threshold", "samples", *found.classes], rows)
    )


def _speech(found: Inspection) -> str:
    tts, lengths = found.report.tts, found.tally.durations
    said = (
        f"Spoken by **{escape(str(tts.get('engine', '')))}** {escape(str(tts.get('version', '')))}: FLAC, 16 kHz, "
        f"mono, 16 bit; {_hours(lengths.total_s)}. Half of the utterances are shorter than {lengths.median_s:.1f} s, "
        f"90 % last {lengths.p05_s:.1f} to {lengths.p95_s:.1f} s, all {lengths.shortest_s:.1f} to "
        f"{lengths.longest_s:.1f} s."
    )
    parts = [said, _image("durations", "Histogram of the lengths of the utterances").strip()]
    parts.append(_over_classes(found, "voice", found.tally.voices, _VOICES))
    association = found.tally.voice_association
    if association is not None:
        parts.append(
            f"Association of voice and class (Cramér's V, bias-corrected): **{association:.3f}**; 0 is none, at 1 the "
            "voice would give the class away."
        )
    parts.append("Languages of what is spoken, as far as the text tells:")
    parts.append(_over_classes(found, "language", found.tally.languages, _LANGUAGES))
    return "\n\n".join(parts)


def _over_classes(found: Inspection, what: str, table: Mapping[str, Mapping[str, int]], most: int) -> str:
    names = sorted(table, key=lambda name: (-sum(table[name].values()), name))
    total = sum(sum(row.values()) for row in table.values())
    rows = []
    for name in names[:most]:
        n = sum(table[name].values())
        cells = [_share(table[name].get(each, 0), n) for each in found.classes]
        rows.append([escape(name) or "(not clear)", _with_share(n, total), *cells])
    if names[most:]:
        n = sum(sum(table[name].values()) for name in names[most:])
        rows.append([f"{len(names) - most:,} others", _with_share(n, total), *[""] * len(found.classes)])
    return _table([what, "samples", *found.classes], rows)


def _sentiments(found: Inspection) -> str:
    rows = [
        [escape(name), *(_with_share(row.get(each, 0), sum(row.values())) for each in found.classes)]
        for name, row in found.tally.sentiments.items()
    ]
    return (
        "Rows: the sentiment that the source gives; columns: the emotion that the teachers gave. The teachers never "
        "saw the sentiment, so this is a check from outside.\n\n" + _table(["sentiment", *found.classes], rows)
    )


def _examples(found: Inspection) -> str:
    rows = [
        [escape(each.label), escape(each.spoken_text, 160), _decided(each.source, each.confidence), escape(each.id, 40)]
        for each in found.examples
    ]
    if not rows:
        return "No sample was kept."
    return "Chosen by a fixed rule, not by hand; what is spoken.\n\n" + _table(["class", "text", "decided", "id"], rows)


def _provenance(found: Inspection) -> str:
    rows = [
        [
            "input",
            f"{escape(str(found.report.input.get('name', '')))} ({escape(str(found.report.input.get('format', '')))})",
        ],
        ["SHA-256 of the input", code(found.report.input.get("sha256"))],
        ["fingerprint of this data set", code(found.report.fingerprint)],
        ["shards", f"{len(found.report.shards):,}"],
        *([escape(name), escape(str(version))] for name, version in sorted(found.report.versions.items())),
    ]
    return _table(["", ""], rows)


def _figures(found: Inspection) -> dict[str, Any]:
    """Return every figure that the card shows, by its name."""
    emotions = found.report.labels == "emotion"
    counts = {name: found.report.class_counts.get(name, 0) for name in found.classes}
    figures = {
        "classes": dataset_plots.class_shares(counts, PAPER_COUNTS if emotions else None),
        "durations": dataset_plots.durations(found.tally.durations.seconds),
    }
    if emotions and found.report.threshold_curve:
        figures["threshold"] = dataset_plots.threshold_curve(
            found.report.threshold_curve, found.report.threshold, found.report.n_kept, found.classes
        )
    if emotions and found.tally.named:
        figures["teachers"] = dataset_plots.teacher_table(found.tally.named, found.classes)
        figures["confidences"] = dataset_plots.confidences(found.tally.confidences, found.report.threshold)
    return figures


# --- cells ------------------------------------------------------------------------------------------------------------


def _rule(found: Inspection) -> str:
    if found.report.rule == "agree":
        return "only rows for which both teachers name the same class were kept (`--rule agree`), and the surer decided"
    return "the larger of the two decides (a tie: speech)"


def _describe(teacher: Mapping[str, Any]) -> str:
    facts = {key: value for key, value in teacher.items() if key != "name" and value not in (None, "", [], {})}
    told = "; ".join(f"{escape(key.replace('_', ' '))} {_plain(value)}" for key, value in facts.items())
    return f"{code(teacher.get('name', ''))}{'; ' + told if told else ''}"


def _decided(source: str, confidence: float) -> str:
    return escape(_SOURCES.get(source, source)) + ("" if source == "source" else f", {confidence:.0%}")


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(str(a))} → {_plain(b)}" for a, b in value.items()) or "none"
    if isinstance(value, str | bool | int | float | None):
        return "none" if value is None or value == "" else str(value) if isinstance(value, bool) else code(value)
    return ", ".join(code(each) for each in value) if isinstance(value, Iterable) and value else "none"


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _share(n: int, total: int) -> str:
    return f"{n / total:.1%}" if total else "-"


def _with_share(n: int, total: int) -> str:
    return f"{n:,} ({_share(n, total)})" if total else "-"


def _size(n: int) -> str:
    """Return the hub's name of a size."""
    steps = ((1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (1_000_000, "1M"), (10_000_000, "10M"))
    below = "n"
    for limit, name in steps:
        if n < limit:
            return f"n<{name}" if below == "n" else f"{below}<n<{name}"
        below = name
    return f"{below}<n<100M" if n < 100_000_000 else "100M<n<1B"


def _image(name: str, told: str) -> str:
    return f"![{told}]({FIGURES}/{name}.png)\n\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in lines)
