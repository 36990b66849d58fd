import json
import shutil

import pytest

from parallelnet.datasets import ranges
from parallelnet.errors import ManifestError
from parallelnet.options import TweetsOptions


@pytest.fixture
def options(tmp_path, table):
    rows = [[f"t{n}", f"Tweet {n} é 😀", f"pictures/{n}.png", "positive"] for n in range(7)]
    rows[5][2] = "../elsewhere.png"
    source = table(tmp_path / "in" / "tweets.csv", [["id", "text", "image", "sentiment"], *rows])
    (tmp_path / "out" / ".build" / "rows").mkdir(parents=True)
    (tmp_path / "out" / ".build" / "partial").mkdir()
    return TweetsOptions(tweets=str(source), out=str(tmp_path / "out"), rows_per_shard=3)


def read_all(options, n_ranges):
    paths = [ranges.range_path(options, index) for index in range(n_ranges)]
    return [draft for path in paths for draft in ranges.read_range(path, options)]


def test_ranges_give_back_what_was_read(options):
    assert ranges.split(options, format="csv") == 7

    assert read_all(options, 3) == list(ranges.read_input(options, format="csv"))
    assert not ranges.range_path(options, 3).exists()
    assert [draft.row for draft in read_all(options, 3)] == list(range(7))


def test_the_place_of_the_input_is_not_in_them(options, tmp_path):
    ranges.split(options, format="csv")

    for path in (tmp_path / "out").rglob("*.jsonl"):
        assert str(tmp_path) not in path.read_text()
    assert read_all(options, 1)[0].image_path == str(tmp_path / "in" / "pictures" / "0.png")


def test_a_limit_is_kept(options):
    limited = TweetsOptions(tweets=options.tweets, out=options.out, rows_per_shard=3, limit=4)

    assert ranges.split(limited, format="csv") == 4
    assert len(read_all(limited, 2)) == 4


def test_a_finished_cut_is_not_done_again_and_an_unfinished_one_is(options, tmp_path):
    ranges.split(options, format="csv")
    done = tmp_path / "out" / ".build" / "rows.json"
    assert json.loads(done.read_text()) == {"n_rows": 7}
    before = read_all(options, 3)
    ranges.range_path(options, 1).write_text("half")

    done.unlink()
    assert ranges.split(options, format="csv") == 7
    assert read_all(options, 3) == before
    shutil.move(options.tweets, tmp_path / "gone.csv")
    assert ranges.split(options, format="csv") == 7


def test_an_input_without_rows_is_refused(tmp_path, table, options):
    empty = table(tmp_path / "in" / "empty.csv", [["id", "text", "image"]])

    with pytest.raises(ManifestError, match=r"empty\.csv has no rows"):
        ranges.split(TweetsOptions(tweets=str(empty), out=options.out), format="csv")
