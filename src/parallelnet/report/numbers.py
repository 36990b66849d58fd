"""Numbers, tables and other people's text as every page and card prints them, and the templates that do it.

One format a kind of number, one writer a kind of table; a dash stands where a figure is not defined.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

Interval = Sequence[float | None]

NONE = "-"
BAR = "\N{DOUBLE VERTICAL LINE}"  # between the cells of `columns`
_LONGEST_NAME = 60  # characters of a word, class or file that a page shows
_LONGEST_LINE = 100  # of one on a terminal
# What a difference of two equal means may come to: a processor may sum each in another order, in float64.
ROUNDING = 1e-12


# --- numbers ----------------------------------------------------------------------------------------------------------


def number(value: float | None, digits: int = 3, *, scale: float = 1, sign: bool = False) -> str:
    """Return a number with so many decimals; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return NONE
    return f"{scale * value:{'+' if sign else ''}.{digits}f}"


def interval(value: float | None, ci95: Interval, digits: int = 3, *, scale: float = 1, sign: bool = False) -> str:
    """Return a number with its interval, `0.812 [0.790, 0.833]`; without where the interval is not defined.

    Args:
        value: the number.
        ci95: lower and upper bound; None where there is none.
        digits: decimals.
        scale: what all three are multiplied by.
        sign: `+` for what is not negative.
    """
    middle, *bounds = (number(each, digits, scale=scale, sign=sign) for each in (value, *ci95))
    return middle if NONE in (middle, *bounds) else f"{middle} [{', '.join(bounds)}]"


def metric(found: Mapping[str, Any], name: str, digits: int = 3, *, scale: float = 1) -> str:
    """Return a metric of `evaluation.Metrics.to_dict` with its interval; `recall_CLASS` is that of a class."""
    recalls = found["per_class_recall"]
    value = recalls[name.removeprefix("recall_")] if name.startswith("recall_") else found[name]
    return interval(value, found["ci95"][name], digits, scale=scale)


def mean(found: Mapping[str, Any] | None, digits: int = 3, *, scale: float = 1) -> str:
    """Return a mean with its interval, from `{"mean": ..., "ci95": ...}`; "" where there is none."""
    return "" if found is None else interval(found["mean"], found["ci95"], digits, scale=scale)


def change(found: Mapping[str, Any], digits: int = 3, *, scale: float = 1) -> str:
    """Return a difference with sign and interval, bold where the interval excludes zero."""
    text = interval(found["difference"], found["ci95"], digits, scale=scale, sign=True)
    return f"**{text}**" if excludes_zero(found["ci95"]) else text


def points(found: Mapping[str, Any]) -> str:
    """Return a difference of parts in points of percent, as `change`."""
    return "not defined" if None in (found["difference"], *found["ci95"]) else change(found, 1, scale=100)


def excludes_zero(ci95: Interval) -> bool:
    """True where an interval lies wholly on one side of 0, by more than `ROUNDING`."""
    low, high = ci95
    return low is not None and high is not None and (low > ROUNDING or high < -ROUNDING)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a part as percent, `13.5 %`."""
    return NONE if value is None else f"{number(value, digits, scale=100)} %"


def share(n: int, total: int) -> str:
    """Return n of a total as percent; a dash of nothing."""
    return percent(n / total) if total else NONE


def p_value(p: float, digits: int = 3) -> str:
    """Return a p value, one that would round to nothing as a bound."""
    return f"< {10**-digits:.{digits}f}" if p < 10**-digits else number(p, digits)


def count(n: int) -> str:
    """Return a whole number with commas between thousands."""
    return f"{n:,}"


def counts(found: Mapping[str, int]) -> str:
    """Return names with their counts, `happy 42,958, sad 13,621`."""
    return ", ".join(f"{name or 'unknown'} {n:,}" for name, n in found.items()) or "none"


def hours(seconds: float) -> str:
    """Return a length of time in the unit that fits it: s, min or h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def listed(names: Sequence[str]) -> str:
    """Return names as one would say them: `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def plain(value: Any) -> str:
    """Return the value of an option as text: lists joined, nothing as `none`."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


# --- tables -----------------------------------------------------------------------------------------------------------


def tables_of(markdown: str) -> list[list[list[str]]]:
    """Return the cells of every table in Markdown: tables of rows, the first of each its head."""
    found: list[list[list[str]]] = []
    for block in markdown.split("\n\n"):
        lines = [line.strip("|") for line in block.splitlines() if line.startswith("|")]
        rows = [[each.strip().replace("\\|", "|") for each in re.split(r"(?<!\\)\|", line)] for line in lines]
        found += [[rows[0], *rows[2:]]] if rows else []
    return found


def cell(text: str) -> str:
    """Return text as one line in which no bar ends the cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def cells(found: Any) -> Any:
    """Return a copy of JSON, every text in it as `cell`: what a table quotes may come from anywhere."""
    if isinstance(found, Mapping):
        return {cell(str(name)): cells(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [cells(value) for value in found]
    return cell(found) if isinstance(found, str) else found


def latex_table(rows: Sequence[Sequence[str]], caption: str) -> str:
    r"""Return a LaTeX table (package `booktabs`), the first row its head; cells and caption are plain text."""
    head, *body = (" & ".join(map(latex, row)) + r" \\" for row in rows)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"±": r"$\pm$", "≥": r"$\geq$", "“": "``", "”": "''", "`": "'"}


def latex(text: str) -> str:
    """Return text as one line of LaTeX: special characters made plain, Markdown's bold taken away."""
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()).replace("**", ""))


# --- other people's text ----------------------------------------------------------------------------------------------

# What Markdown (with GitHub's tables, autolinks and mathematics) could take for its own.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#|~!$@:])")


def escape(text: object, longest: int = 120) -> str:
    """Return text that is not ours as one line that Markdown shows as it is: no markup, no links, no HTML.

    Args:
        text: from anywhere.
        longest: characters that are shown.
    """
    line = _readable(str(text))
    line = line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?i)\bwww\.", r"www\\.", _SPECIAL.sub(r"\\\1", line))


def code(value: object) -> str:
    """Return a value of ours or not as code: backticks in it would end it, bars would end a table's cell."""
    line = _readable("" if value is None else str(value))
    return f"`{line.replace('`', chr(0x2019)).replace('|', chr(0x2223))}`" if line else "none"


def _readable(text: str) -> str:
    """Return one line without control characters, marks that turn the direction of what follows, and surrogates."""
    turning = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    kinds = {each: unicodedata.category(each) for each in set(text)}
    kept = (" " if kinds[each] == "Cc" else each for each in text if each not in turning and kinds[each] != "Cs")
    return " ".join("".join(kept).split())


# --- templates --------------------------------------------------------------------------------------------------------


def short(text: str) -> str:
    """Return a text that is not ours cut to what a line of a page holds; the JSON has all of it."""
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "\u2026"


def _link(path: str) -> str:
    """Return a relative path as an address; what would be a scheme (`javascript:`) is part of the path."""
    return quote(path.encode("utf-8", "replace"), safe="/")


def _line(text: str) -> str:
    """Return text from anywhere as one line that a terminal shows and does not obey."""
    line = "".join(each if each.isprintable() and each != BAR else " " for each in text)
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "\u2026"


def columns(text: str) -> str:
    """Return lines of cells, with `BAR` between them, in columns: the first left-aligned, the others right-aligned."""
    rows = [line.split(BAR) for line in text.splitlines()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)
    return "\n".join(map(str.rstrip, lines))


@lru_cache
def environment(package: str) -> Environment:
    """Return what fills in the templates of a package's `templates` folder; those of HTML escape what they are given.

    Elsewhere `cells`, `escape` and `line` stand between other people's text and Markdown or a terminal.
    """
    found = Environment(
        loader=PackageLoader(package),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: NONE if value is None else value,
        autoescape=lambda name: str(name).endswith(".html.j2"),
    )
    kit: list[Callable[..., Any]] = [number, interval, metric, mean, change, excludes_zero, points, percent, p_value]
    kit += [count, counts, hours, listed, plain, cell, escape, code, columns, short]
    found.filters |= {each.__name__: each for each in kit} | {"link": _link, "line": _line}
    found.globals |= {"share": share}
    return found


def fill(package: str, template: str, **facts: Any) -> str:
    """Return a template of a package's `templates` folder filled in, blank lines never doubled.

    Args:
        package: dotted name.
        template: file name.
        facts: what it may name; every other name is an error.
    """
    text = environment(package).get_template(template).render(**facts)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
