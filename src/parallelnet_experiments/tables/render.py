"""Results as pages: every table beside the committed JSON and every page about it, rewritten from the JSON alone.

The same files give the same bytes each time, so that a test can hold the committed ones to it. What cannot be computed
stands in `results/NAME/notes.md`; figures there must be in a JSON.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os.path import relpath
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import UndefinedError

from parallelnet import records
from parallelnet.datasets.inspection import PAPER_COUNTS
from parallelnet.errors import ManifestError, OptionError, ParallelNetError
from parallelnet.options import RenderOptions
from parallelnet.report.numbers import cells

from . import pages
from .pages import MARK, Result

TASKS = ("speech", "image", "pair")  # of the studies of faithfulness, in the order of their table
NOTES = "notes.md"
TITLES = {"table1": "Table 1", "table2": "Table 2", "modalities": "Modalities"}  # of the pages, by kind of result
# What the `dataset.json` of `build tweets` holds, with `build-log.json` as its `log` where that is there.
BUILD = {"n_read", "n_kept", "rejected", "class_counts", "threshold_curve"}
FIGURE = re.compile(r"(?<![\w.])(\d+\.\d+)(?![\w.]*\d)")
# Numbers that name a place, not a result.
REFERENCE = re.compile(r"(?:sections?|Eq\.|Fig\.|Table|version)\s+[\d.]+(?:(?:,| and)\s+[\d.]+)*", re.IGNORECASE)


class RenderReport(NamedTuple):
    """Which files were new or other than before, which as they should be, and which pages no JSON makes any more."""

    written: tuple[Path, ...]
    unchanged: tuple[Path, ...]
    removed: tuple[Path, ...]

    def to_json(self) -> str:
        """Return the report as one JSON object."""
        return json.dumps(self._asdict(), default=Path.as_posix)


def render(options: RenderOptions) -> RenderReport:
    """Rewrite tables and pages, or with `check` say which are not what they should be.

    Raises:
        OptionError: no results there, or a JSON that is damaged.
        ManifestError: a JSON of something else, or notes with a figure that stands in none.
        ParallelNetError: with `check`: a file is missing, other than it should be, or made by no JSON.
    """
    results, out = Path(options.results), Path(options.out)
    wanted = files(results, out)
    ours = (path for path in sorted(out.glob("*.md")) if path.read_text(encoding="utf-8").startswith(MARK))
    left = [path for path in ours if path not in wanted]
    # As bytes: line ends count.
    other = [path for path, text in wanted.items() if not path.is_file() or path.read_bytes() != text.encode()]
    if options.check and (other or left):
        said = [f"{path} {'differs' if path.is_file() else 'is missing'}" for path in other]
        said += [f"{path} is made by no JSON" for path in left]
        raise ParallelNetError(f"{'; '.join(said)}. Mend: parallelnet experiment render")
    for path in other:
        path.parent.mkdir(parents=True, exist_ok=True)
        records.write_text(path, wanted[path])
    for path in left:
        path.unlink()
    drawn: list[Path] = []
    for each in read_results(results) if options.plots else ():
        from . import result_plots

        drawn += result_plots.save(each.kind, each.record, results / each.name)
    return RenderReport((*other, *drawn), tuple(path for path in wanted if path not in other), tuple(left))


def files(results: Path, out: Path) -> dict[Path, str]:
    """Return every file that is made from the results, and its text; errors as of `render`."""
    found, wanted = read_results(results), {}
    there = [*sorted(results.glob("*.json")), *sorted(results.glob("*/*.json"))]
    paths = [path for path in there if path.stem not in (*TITLES, *TASKS)]
    others = {path.relative_to(results).with_suffix("").as_posix(): cells(_read(path)) for path in paths}
    studies = [folder for folder in sorted(results.glob("faithfulness*")) if folder.is_dir()]
    for folder in studies:
        texts = []
        for path in filter(Path.is_file, (folder / f"{task}.json" for task in TASKS)):
            with _read_from(path):
                texts.append(pages.faithfulness(_read(path)))
        wanted[folder / "table.md"] = "\n".join(texts)
    if not (found or others or studies):
        raise OptionError(f"--results {results} holds no results; needed: for instance {results}/table1/table1.json.")
    to = Path(relpath(results, out)).as_posix()

    headlines = []
    for result in found:
        folder = results / result.name
        with _read_from(folder / f"{result.kind}.json"):
            wanted |= {folder / name: text for name, text in pages.files(result.kind, result.record).items()}
            like = (result.kind, result.record["data"]["fingerprint"])  # the same data: attempts, as they were made
            tries = [each for each in found if (each.kind, each.record["data"]["fingerprint"]) == like]
            tries.sort(key=lambda each: (each.record["date"], each.name))
            title = f"{TITLES[result.kind]} on {result.record['data']['name']}"
            title += f" ({result.name})" if len(tries) > 1 else ""
            tries = tries if result.kind == "table1" else []
            wanted[out / f"{result.name}.md"] = pages.page(result, title, tries, to)
            headlines.append({"headline": pages.headline(result.kind, result.record), **result._asdict()})
    builds = {name: record for name, record in others.items() if set(record) >= BUILD}
    for name, record in builds.items():
        with _read_from(results / f"{name}.json"):
            text = pages.text_of("build.md.j2", name=name, record=record, to=to, paper=PAPER_COUNTS)
            wanted[out / f"{name.replace('/', '-')}.md"] = text
    rest = {name: list(_measured(record, ())) for name, record in others.items() if name not in builds}
    models = {name: measured for name, measured in rest.items() if measured}
    if models:
        wanted[out / "models.md"] = pages.text_of("models.md.j2", models=models, to=to)
    facts = {"builds": builds, "models": models, "studies": [folder.name for folder in studies], "to": to}
    return {**wanted, out / "index.md": pages.text_of("index.md.j2", found=headlines, **facts)}


def _measured(found: Any, where: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield everything that `evaluation.Metrics` wrote, with the names that lead to it."""
    if isinstance(found, Mapping) and {"accuracy", "ci95", "per_class_recall", "n"} <= set(found):
        yield " ".join(where), found
    elif isinstance(found, Mapping | list):
        for name, value in found.items() if isinstance(found, Mapping) else enumerate(found):
            yield from _measured(value, (*where, str(name)))


def read_results(results: Path) -> list[Result]:
    """Return the tables of the paper and the studies of the modalities below a folder, by kind; errors as `render`."""
    found = []
    for kind in TITLES:
        for source in sorted(results.glob(f"*/{kind}.json")):
            notes, record = source.with_name(NOTES), _read(source)
            text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
            plots = tuple(path.name for path in sorted(source.parent.glob("*.png")))
            with _read_from(source):
                _ = record["data"]["fingerprint"], record["date"], record["rows"]  # other results' pages ask for them
            found.append(Result(source.parent.name, kind, record, text, plots))
    for result in found:
        unknown = unknown_figures(result.notes, [each.record for each in found])
        if unknown:
            raise ManifestError(
                f"{results / result.name / NOTES} has {', '.join(unknown)}, which stands in no JSON of the results. "
                "Mend: take the figure from there, or leave it out."
            )
        if sum(each.name == result.name for each in found) > 1:
            raise ManifestError(f"{results / result.name} holds two kinds of results; allowed: a folder for each.")
    return found


@contextmanager
def _read_from(path: Path) -> Iterator[None]:
    """Say of a JSON that its figures are not where they should be, instead of a defect of the program."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, UndefinedError) as error:
        raise ManifestError(
            f"{path} is no result of this program's experiments: {type(error).__name__}: {error}. Mend: make it again, "
            "or take it away."
        ) from error


def _read(path: Path) -> dict[str, Any]:
    return records.read_json(path, mend="make it again, or take it away.")


def unknown_figures(notes: str, records: Sequence[Any]) -> list[str]:
    """Return the figures with decimals in a text that stand in none of the records, as parts or as percent.

    Numbers after `section`, `Eq.`, `Fig.`, `Table` and `version` are places.
    """
    said = dict.fromkeys(FIGURE.findall(REFERENCE.sub("", notes)))
    numbers = {abs(value) for record in records for value in _numbers(record)}
    lengths = {len(each.partition(".")[2]) for each in said}
    known = {f"{scale * value:.{digits}f}" for digits in lengths for value in numbers for scale in (1, 100)}
    return [each for each in said if each not in known]


def _numbers(found: Any) -> Iterator[float]:
    if isinstance(found, Mapping):
        # Of curves there are so many that anything would be among them.
        yield from _numbers([value for name, value in found.items() if name not in ("curves", "reliability")])
    elif isinstance(found, list | tuple):
        yield from itertools.chain.from_iterable(map(_numbers, found))
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield float(found)
