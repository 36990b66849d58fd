import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parallelnet.records import harmless, original


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "'=1", "''@x"])
def test_what_a_spreadsheet_would_run_begins_with_an_apostrophe(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=1", "1-2", " x", "'quoted'", "'", "actor-01", "ü"])
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == original(text) == text


@given(text=st.text(st.sampled_from("'=-@+\t\ra "), max_size=6))
@example(text="'=1")
def test_every_text_comes_back(text: str) -> None:
    assert original(harmless(text)) == text
