"""Numbers and tables as pages print them; other people's text as Markdown that shows it and does nothing."""

from __future__ import annotations

import math

import pytest

from parallelnet.report import numbers


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (numbers.number(0.12345), "0.123"),
        (numbers.number(None), "-"),
        (numbers.number(math.nan), "-"),
        (numbers.interval(0.5, [0.25, 0.75], 1, scale=100), "50.0 [25.0, 75.0]"),
        (numbers.interval(0.5, [None, None]), "0.500"),
        (numbers.interval(None, [None, None]), "-"),
        (numbers.points({"difference": -0.02, "ci95": [-0.03, -0.01]}), "**-2.0 [-3.0, -1.0]**"),
        (numbers.points({"difference": 0.02, "ci95": [-0.01, 0.05]}), "+2.0 [-1.0, +5.0]"),
        (numbers.points({"difference": None, "ci95": [None, None]}), "not defined"),
        (numbers.percent(0.125), "12.5 %"),
        (numbers.share(1, 0), "-"),
        (numbers.p_value(0.0004), "< 0.001"),
        (numbers.p_value(0.0004, 4), "0.0004"),
        (numbers.counts({"": 2, "happy": 1_234}), "unknown 2, happy 1,234"),
        (numbers.listed(["a", "b", "c"]), "a, b and c"),
        (numbers.hours(5_400), "1.5 h"),
        (numbers.plain([]), "none"),
    ],
)
def test_one_format_a_kind_of_number(said, expected):
    assert said == expected


def test_an_interval_at_zero_does_not_exclude_it():
    assert not numbers.excludes_zero([None, None])
    assert not numbers.excludes_zero([-0.1, 0.0])
    assert not numbers.excludes_zero([3e-17, 0.1])  # 0, but for the order of a sum
    assert numbers.excludes_zero([1e-9, 0.1])


def test_a_latex_table_is_columns_of_a_markdown_table():
    row = numbers.cells({"why": "failed: a | b\nc", "n": [1, None]})
    assert row == {"why": "failed: a \\| b c", "n": [1, None]}
    text = f"Words.\n\n| x | why |\n| --- | --- |\n| **+1** | {row['why']} |\n\n| y |\n| --- |\n| 2 % |\n"
    found = numbers.tables_of(text)
    assert found == [[["x", "why"], ["**+1**", "failed: a | b c"]], [["y"], ["2 %"]]]
    latex = numbers.latex_table(found[0], "50 % & a_b\\")
    assert r"\caption{50 \% \& a\_b\textbackslash{}}" in latex
    assert "\n+1 & failed: a | b c \\\\\n" in latex


def test_other_peoples_text_is_shown_and_does_nothing():
    assert numbers.escape("a  b\n c") == "a b c"
    assert numbers.escape("x" * 200, 10) == "x" * 9 + "…"
    assert numbers.escape("a&b<c>") == "a&amp;b&lt;c&gt;"
    assert numbers.code("a`b|c") == "`a\u2019b\u2223c`"
    assert numbers.code("") == numbers.code(None) == "none"
