"""Results as pages: every table beside the committed JSON and every page about it, rewritten from the JSON alone.

The same files give the same bytes each time, so that a test can hold the committed ones to it. What cannot be computed
stands in `results/NAME/notes.md`; figures there must be in a JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Any

from parallelnet import records
from parallelnet.errors import ManifestError, OptionError, ParallelNetError
from parallelnet.options import RenderOptions

from .. import faithfulness_table
from . import findings, modality_tables, sentiment_tables, table1_text
from .modality_tables import table
from .other_pages import build_page, is_build, models_page
from .pages import MARK, Result, page, same_data, unknown_figures

TASKS = ("speech", "image", "pair")
"""Of the studies of faithfulness, in the order of their table."""
NOTES = "notes.md"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is made of one kind of result.

    Attributes:
        title: of its page.
        tables: record to Markdown and LaTeX.
        said: record to sentences.
        headline: record to the one sentence of the index.
    """

    title: str
    tables: Callable[[Mapping[str, Any]], tuple[str, str]]
    said: Callable[[Mapping[str, Any]], list[str]]
    headline: Callable[[Mapping[str, Any]], str]


NEEDED = ("data", "options", "rows", "classes", "date", "machine")
"""What every table's JSON holds; without it the file is something else."""
NEEDED_OF = {
    "table1": ("references", "differences", "fusion", "disagreement", "recipe", "paper"),
    "table2": (),
    "modalities": ("differences", "best_single"),
}

KINDS: dict[str, Kind] = {
    "table1": Kind(
        "Table 1",
        lambda record: (table1_text.markdown(record), table1_text.latex(record)),
        findings.table1,
        findings.table1_headline,
    ),
    "table2": Kind(
        "Table 2",
        lambda record: (sentiment_tables.markdown(record), sentiment_tables.latex(record)),
        findings.table2,
        findings.table2_headline,
    ),
    "modalities": Kind(
        "Modalities",
        lambda record: (
            modality_tables.files(record)["modalities.md"],
            modality_tables.files(record)["modalities.tex"],
        ),
        findings.modalities,
        findings.modalities_headline,
    ),
}


@dataclass(frozen=True, slots=True)
class RenderReport:
    """What was done.

    Attributes:
        written: files that were new or other than before.
        unchanged: files that were as they should be.
        removed: pages that no JSON makes any more.
    """

    written: tuple[Path, ...]
    unchanged: tuple[Path, ...]
    removed: tuple[Path, ...]

    def to_json(self) -> str:
        """Return the report as one JSON object."""
        names = ("written", "unchanged", "removed")
        return json.dumps({name: [path.as_posix() for path in getattr(self, name)] for name in names})


def render(options: RenderOptions) -> RenderReport:
    """Rewrite tables and pages, or with `check` say which are not what they should be.

    Raises:
        OptionError: no results there.
        ManifestError: a JSON that cannot be read, or notes with a figure that stands in none.
        ParallelNetError: with `check`: a file is missing, other than it should be, or made by no JSON.
    """
    results, out = Path(options.results), Path(options.out)
    wanted = files(results, out)
    left = [path for path in sorted(out.glob("*.md")) if path not in wanted and _is_ours(path)]
    other = [path for path, text in wanted.items() if not _same(path, text)]
    if options.check:
        if other or left:
            said = [f"{path} {'differs' if path.is_file() else 'is missing'}" for path in other]
            said += [f"{path} is made by no JSON" for path in left]
            raise ParallelNetError(f"{'; '.join(said)}. Mend: parallelnet experiment render")
        return RenderReport((), tuple(wanted), ())
    for path in other:
        path.parent.mkdir(parents=True, exist_ok=True)
        records.write_text(path, wanted[path])
    for path in left:
        path.unlink()
    drawn = _plots(results) if options.plots else ()
    unchanged = tuple(path for path in wanted if path not in set(other))
    return RenderReport((*other, *drawn), unchanged, tuple(left))


def files(results: Path, out: Path) -> dict[Path, str]:
    """Return every file that is made from the results, and its text.

    Raises:
        OptionError: no results there.
        ManifestError: a JSON that cannot be read, or notes with a figure that stands in none.
    """
    found = read_results(results)
    others = _others(results)
    studies = {folder: _faithfulness(folder) for folder in sorted(results.glob("faithfulness*")) if folder.is_dir()}
    if not (found or others or studies):
        raise OptionError(f"--results {results} holds no results; needed: for instance {results}/table1/table1.json.")
    to = Path(relpath(results, out)).as_posix()
    wanted = {folder / "table.md": text for folder, text in studies.items()}
    for result in found:
        kind = KINDS[result.kind]
        with _read_from(results / result.name / f"{result.kind}.json"):
            markdown, latex = kind.tables(result.record)
            wanted[results / result.name / f"{result.kind}.md"] = markdown
            wanted[results / result.name / f"{result.kind}.tex"] = latex
            title = f"{kind.title} on {result.record['data']['name']}" + _which(result, found)
            tries = same_data(result, found) if result.kind == "table1" else []
            wanted[out / f"{result.name}.md"] = page(result, title, kind.said(result.record), markdown, tries, to)
    builds = {name: record for name, record in others.items() if is_build(record)}
    for name, record in builds.items():
        with _read_from(results / f"{name}.json"):
            wanted[out / f"{_flat(name)}.md"] = build_page(name, record, to)
    models = models_page({name: record for name, record in others.items() if name not in builds}, to)
    if models:
        wanted[out / "models.md"] = models
    wanted[out / "index.md"] = index(found, builds, bool(models), [folder.name for folder in studies], to)
    return wanted


def _which(result: Result, found: Sequence[Result]) -> str:
    """Return what tells a page from another of the same title."""
    return f" ({result.name})" if len(same_data(result, found)) > 1 else ""


def index(found: Sequence[Result], builds: Mapping[str, Any], models: bool, studies: Sequence[str], to: str) -> str:
    """Return the page that leads to all others.

    Args:
        found: tables of the paper and the study of the modalities.
        builds: data sets, by name.
        models: whether there is a page of measured models.
        studies: folders of the studies of faithfulness.
        to: how to get from the pages to the results.
    """
    parts = [
        MARK,
        "# Results",
        "Every figure here comes from a committed JSON; `parallelnet experiment render` makes these pages from them, "
        "and a test holds the pages to it.",
    ]
    if found:
        rows = [["result", "data", "samples", "networks", "what it says"]]
        for result in found:
            record = result.record
            name = f"[{result.name}]({result.name}.md)"
            data, size = record["data"], record["options"]["size"]
            rows.append([name, data["name"], f"{data['n']:,}", size, KINDS[result.kind].headline(record)])
        parts += ["## The paper's tables", "\n".join(table(rows))]
    if builds:
        lines = [
            f"- [{name}]({_flat(name)}.md): {each['n_kept']:,} of {each['n_read']:,} rows"
            for name, each in builds.items()
        ]
        parts += ["## Data sets", "\n".join(lines)]
    if models:
        parts += ["## Models", "- [Measured models](models.md)"]
    if studies:
        lines = [f"- [{name}]({to}/{name}/table.md)" for name in studies]
        parts += ["## Do explanations find what is known to be there", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def read_results(results: Path) -> list[Result]:
    """Return the tables of the paper and the studies of the modalities below a folder, by kind and name.

    Raises:
        ManifestError: a JSON that cannot be read, or notes with a figure that stands in none.
    """
    found = []
    for kind in KINDS:
        for source in sorted(results.glob(f"*/{kind}.json")):
            folder = source.parent
            notes = folder / NOTES
            text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
            plots = tuple(path.name for path in sorted(folder.glob("*.png")))
            record = _read(source)
            lacking = [name for name in (*NEEDED, *NEEDED_OF[kind]) if name not in record]
            if lacking:
                raise _no_result(source, f"it lacks {', '.join(map(repr, lacking))}")
            with _read_from(source):
                _ = record["data"]["fingerprint"], record["data"]["name"]  # which other results' pages ask for, too
            found.append(Result(folder.name, kind, record, text, plots))
    records = [result.record for result in found]
    for result in found:
        unknown = unknown_figures(result.notes, records)
        if unknown:
            raise ManifestError(
                f"{results / result.name / NOTES} has {', '.join(unknown)}, which stands in no JSON of the results. "
                "Mend: take the figure from there, or leave it out."
            )
    twice = {result.name for result in found if sum(each.name == result.name for each in found) > 1}
    if twice:
        raise ManifestError(f"{results / min(twice)} holds two kinds of results; allowed: a folder for each.")
    return found


def _others(results: Path) -> dict[str, Any]:
    """Return the JSON files that are none of the paper's tables, by name below the results."""
    known = {*KINDS, *TASKS}
    there = [*sorted(results.glob("*.json")), *sorted(results.glob("*/*.json"))]
    return {
        path.relative_to(results).with_suffix("").as_posix(): _read(path) for path in there if path.stem not in known
    }


def _faithfulness(folder: Path) -> str:
    tables = []
    for path in (folder / f"{task}.json" for task in TASKS):
        if path.is_file():
            record = _read(path)
            with _read_from(path):
                tables.append(faithfulness_table.table(record))
    return "\n".join(tables)


@contextmanager
def _read_from(path: Path) -> Iterator[None]:
    """Say of a JSON that its figures are not where they should be, instead of a defect of the program."""
    try:
        yield
    except (LookupError, TypeError, AttributeError) as error:
        raise _no_result(path, f"{type(error).__name__}: {error}") from error


def _no_result(path: Path, why: str) -> ManifestError:
    return ManifestError(
        f"{path} is no result of this program's experiments: {why}. Mend: make it again, or take it away."
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {error}. Mend: make it again, or take it away.") from None
    if not isinstance(record, dict):
        raise ManifestError(f"{path} holds no JSON object, so it is no result. Mend: make it again, or take it away.")
    return record


def _flat(name: str) -> str:
    return name.replace("/", "-")


def _is_ours(path: Path) -> bool:
    return path.read_text(encoding="utf-8").startswith(MARK)


def _same(path: Path, text: str) -> bool:
    # As bytes: line ends count.
    return path.is_file() and path.read_bytes() == text.encode()


def _plots(results: Path) -> tuple[Path, ...]:
    from . import modality_plots, table_plots

    drawn: list[Path] = []
    for result in read_results(results):
        save = {"table1": table_plots.save_all, "modalities": modality_plots.save}.get(result.kind)
        drawn += save(result.record, results / result.name) if save else ()
    return tuple(drawn)
