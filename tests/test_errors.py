"""What users' values become in an error: one line, never longer than a line can be."""

from parallelnet.cli import MAX_ERROR, main
from parallelnet.errors import brief, shown


def test_a_short_value_is_shown_as_it_is() -> None:
    assert shown("../a.wav") == "'../a.wav'"
    assert shown(["a", 2.0, 1.0]) == "['a', 2.0, 1.0]"


def test_a_long_value_is_cut() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in ("x" * 100_000, b"x" * 100_000, list(range(10_000)), {"a": "x" * 10_000}, 10**4000, deep):
        assert len(shown(value)) <= 200
    assert shown("begin" + "x" * 1000 + "end").startswith("'begin")
    assert shown("begin" + "x" * 1000 + "end").endswith("end'")


def test_a_text_becomes_one_line_of_bounded_length() -> None:
    assert brief("a\n b") == "a b"
    assert brief("x" * 300) == "x" * 197 + "..."


def test_no_error_of_the_command_line_is_endless(capsys) -> None:
    assert main(["predict", "--speech", "a" * 100_000]) == 2
    assert len(capsys.readouterr().err) <= MAX_ERROR + len("parallelnet: \n")
