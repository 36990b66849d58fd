"""Parts: no speaker on two sides, classes in order, and refusals that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallelnet.data.dataset import open_data
from parallelnet.errors import ManifestError
from parallelnet.models.variants import VARIANTS
from parallelnet.options import TrainOptions
from parallelnet.training.parts import class_list, deal_parts, usable


def options(data: Path, **changes: object) -> TrainOptions:
    return TrainOptions(data=str(data), out="unused", **changes)  # type: ignore[arg-type]


def test_the_manifest_s_split_is_kept(pairs: Path) -> None:
    (parts,) = deal_parts(open_data(pairs), options(pairs))
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [8, 2, 2]


def test_without_a_split_30_percent_of_the_speakers_are_for_the_test(unsplit: Path) -> None:
    (parts,) = deal_parts(open_data(unsplit), options(unsplit))
    speakers = [{s.group for s in p} for p in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 12
    assert 3 <= len(speakers[2]) <= 5  # tenths of twelve speakers hold one or two each


def test_every_sample_is_tested_in_one_fold_and_never_learnt_there(unsplit: Path) -> None:
    folds = deal_parts(open_data(unsplit), options(unsplit, folds=4))
    tested = [s.id for parts in folds for s in parts.test]
    assert sorted(tested) == sorted(s.id for s in open_data(unsplit))
    for parts in folds:
        sides = [{s.group for s in p} for p in (parts.train, parts.validation, parts.test)]
        assert all(sides)
        assert sum(map(len, sides)) == len(set.union(*sides))


def test_what_a_network_does_not_take_is_left_out(pairs: Path) -> None:
    samples, labels = usable(open_data(pairs), options(pairs), VARIANTS["ser-only"].network)
    assert all(s.image is None and s.speech for s in samples)
    assert set(labels.values()) == {"anger", "sad"}


def test_nothing_with_a_label_is_refused(pairs: Path) -> None:
    with pytest.raises(ManifestError, match="no sample with a sentiment"):
        usable(open_data(pairs), options(pairs, target_column="sentiment"), VARIANTS["compact"].network)


def test_classes_come_in_the_usual_order_or_as_asked_for() -> None:
    assert class_list(["sad", "anger", "sad"], ()) == ("anger", "sad")
    assert class_list(["positive", "negative"], ()) == ("negative", "positive")
    assert class_list(["b", "a"], ()) == ("a", "b")
    assert class_list(["sad", "anger"], ("sad", "anger")) == ("sad", "anger")
    with pytest.raises(ManifestError, match="no sample of class 'hate'"):
        class_list(["sad"], ("sad", "hate"))
