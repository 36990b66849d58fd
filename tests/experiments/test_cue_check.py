"""Accuracy and changed minds on planted material, with a model that reads file names."""

from pathlib import Path

import pytest

from parallelnet.errors import ManifestError
from parallelnet.experiments.cue_check import check_cues
from parallelnet.types import Prediction, Sample


class Reader:
    """Says what stands in the file's name: `anger.flac`; of two modalities, `agree` where both say the same."""

    def __init__(self, modalities, classes):
        self.modalities, self.classes = modalities, classes

    def predict_each(self, samples):
        for s in samples:
            read = [Path(p).stem for p in (s.speech, s.image) if p is not None]
            if len(read) == 2:
                agree = {read[0] == read[1]: 0.9} if "quiet" not in read else {True: 0.5, False: 0.5}
                probs = {"agree": agree.get(True, 0.1), "differ": agree.get(False, 0.1)}
            else:
                probs = {name: 0.8 if name == read[0] else 0.1 for name in self.classes}
            alone = {name: {"agree": 0.6, "differ": 0.4} for name in ("speech", "image")} if len(read) == 2 else {}
            best = max(probs, key=probs.get)
            yield Prediction(best, probs, (best,), False, tuple(self.modalities), alone, None, 1, "reader")


def planted(name, label, clip, *, planted="cue", image=None):
    extra = {"planted": planted, "without_speech": "none.flac", "without_image": "quiet.png"}
    return Sample(name, speech=f"x/{clip}.flac", image=image, label=label, extra=extra)


def test_what_is_right_and_what_changes_without_the_cue(tmp_path):
    samples = [
        planted("1", "anger", "anger"),
        planted("2", "anger", "sad"),  # wrong
        planted("3", "sad", "sad"),
        planted("4", "none", "none", planted="decoy"),
        planted("5", "none", "anger", planted="nothing"),  # hears what is not there
    ]
    report = check_cues(Reader(("speech",), ("anger", "sad", "none")), samples, tmp_path)
    assert (report.n, report.accuracy, report.none_recall) == (3, pytest.approx(2 / 3), 0.5)
    assert report.recall == {"anger": 0.5, "sad": 1.0}
    assert set(report.removed) == {"speech"}
    removal = report.removed["speech"]
    assert (removal.changed, removal.usable) == (1.0, ("1", "3"))
    assert (removal.prob_with, removal.prob_without) == (pytest.approx(0.8), pytest.approx(0.1))


def test_a_model_that_does_not_mind_the_cue_has_nothing_usable(tmp_path):
    sample = planted("1", "none", "none")  # its counterpart reads the same
    removal = check_cues(Reader(("speech",), ("anger", "none")), [sample], tmp_path).removed["speech"]
    assert (removal.changed, removal.usable) == (0.0, ())
    assert removal.prob_with == removal.prob_without


def test_of_a_pair_each_half_is_removed_alone_and_both_together(tmp_path):
    samples = [
        planted("1", "agree", "happy", image="x/happy.png"),
        planted("2", "differ", "happy", image="x/anger.png"),
    ]
    for s in samples:
        s.extra["without_speech"] = "quiet.flac"
    report = check_cues(Reader(("speech", "image"), ("agree", "differ")), samples, tmp_path)
    assert report.accuracy == 1
    assert report.alone == {"speech": 0.5, "image": 0.5}
    assert set(report.removed) == {"speech", "image", "both"}
    for removal in report.removed.values():
        assert removal.prob_without == pytest.approx(0.5)
        assert removal.usable == ("2",)  # a tie goes to the first class: only the other one is changed


def test_material_without_a_cue_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="No sample has a cue"):
        check_cues(Reader(("speech",), ("a",)), [planted("1", "none", "none", planted="nothing")], tmp_path)
