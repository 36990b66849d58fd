"""Table 2 on tweets whose words decide: rows, folds, what is kept, what is missing, and bad data."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import nn

from parallelnet.data.manifest import read_manifest, write_manifest
from parallelnet.errors import CheckpointError, ManifestError, OptionError
from parallelnet.evaluation import evaluate
from parallelnet.options import PRESETS, Recipe, Table2Options
from parallelnet.training.run import METRICS
from parallelnet.types import SENTIMENTS, Sample
from parallelnet_experiments.tables import pages, picture_network, sentiment_methods, statistics, study, table2
from parallelnet_experiments.tables.sentiment_methods import ROWS
from parallelnet_experiments.tables.statistics import Draws, Pooled
from parallelnet_experiments.tables.study import Fold, FoldTask

CUES = ("awful", "table", "lovely")
FILLER = ("today", "again", "really", "somewhere", "people", "nothing", "monday", "coffee")
RECIPE = Recipe(epochs=1, batch_size=16, learning_rate=1e-3, early_stopping=0, keep="last")
FAST = ("majority", "text", "vadicamo", "vadicamo-imagenet", "gaspar", "gaspar-content")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small batches on shared cores run faster, and steadier, on one thread."""
    torch.set_num_threads(1)


def write_tweets(folder: Path, n_per_class: int = 22, *, sound: bool = False, unlabelled: int = 0) -> Path:
    """Write tweets whose words tell the sentiment and whose pictures are noise; without sound no speech is there."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    samples = []
    for k in range(3 * n_per_class + unlabelled):
        label = k % 3
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{k}.png")
        if sound:
            soundfile.write(folder / f"{k}.wav", 0.1 * rng.standard_normal(8000), 16_000)
        samples.append(
            Sample(
                f"t{k}",
                speech=str(folder / f"{k}.wav"),
                image=str(folder / f"{k}.png"),
                text=f"{' '.join(rng.choice(FILLER, 4))} {CUES[label]}",
                sentiment=SENTIMENTS[label] if k < 3 * n_per_class else "",
                group=f"g{k // 3}",  # three tweets that belong together
                image_group=f"i{k}",
            )
        )
    return write_manifest(folder / "manifest.csv", samples)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tweets(tmp_path_factory.mktemp("data") / "tweets").parent


def options(data: Path, out: Path, **changes: Any) -> Table2Options:
    given: dict[str, Any] = {
        "folds": 2,
        "size": "paper",
        "rows": FAST,
        "accelerator": "cpu",
        "threads": 1,
        "n_bootstrap": 50,
    }
    return Table2Options(data=str(data), out=str(out), **(given | changes))


class TinyVgg(nn.Module):
    """What torchvision's VGG19 has, small."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """VGG19 is tiny, its ImageNet weights are random, and each time that it is asked for is written down."""
    asked: list[str] = []

    def vgg19(start: str) -> nn.Module:
        asked.append(start)
        return TinyVgg()

    monkeypatch.setattr(picture_network, "vgg19", vgg19)
    monkeypatch.setattr(picture_network, "VGG_SIDE", 32)
    return asked


def run(data: Path, out: Path, **changes: Any) -> dict[str, Any]:
    path = table2.measure(options(data, out, **changes), RECIPE)
    assert path == out / "table2.json"
    return json.loads(path.read_text(encoding="utf-8"))


def by_key(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in record["rows"]}


def test_all_rows_stand_in_the_table(data: Path, tmp_path: Path, tiny: list[str]) -> None:
    record = run(data, tmp_path / "out")
    rows = by_key(record)
    assert list(rows) == list(ROWS)
    # Words decide, so who reads is right and who sees noise is not.
    assert rows["text"]["found"]["accuracy"] > 0.8
    assert rows["gaspar"]["found"]["accuracy"] > 0.7
    assert rows["vadicamo"]["found"]["accuracy"] < 0.7
    assert rows["majority"]["found"]["accuracy"] == pytest.approx(1 / 3, abs=0.1)
    # Every row was tested on every tweet, once.
    for key in ("majority", "text", "vadicamo", "gaspar"):
        assert rows[key]["found"]["n"] == 66
        assert sum(fold["n"] for fold in rows[key]["folds"]) == 66
        assert rows[key]["found"]["resample"] == "group"
        assert rows[key]["found"]["n_groups"] == 22
    for key in ("vadicamo-imagenet", "gaspar-content"):
        assert rows[key]["missing"] == "not run: needs ImageNet weights"
    assert rows["parallelnet"]["missing"] == "not run: not among --rows"
    assert set(tiny) == {"none"}
    weights = [fold["facts"]["weights"] for fold in rows["gaspar"]["folds"]]
    assert all(each["content"] == 0 and each["text"] + each["image"] == 1 for each in weights)
    assert rows["text"]["printed"] is None
    assert (rows["vadicamo"]["printed"], rows["gaspar"]["printed"], rows["parallelnet"]["printed"]) == (
        51.3,
        60.42,
        89.68,
    )
    # What it says of where it was made.
    assert record["data"]["counts"] == dict.fromkeys(SENTIMENTS, 22)
    assert {"date", "machine", "versions", "options"} <= set(record)
    assert str(tmp_path) not in json.dumps(record)
    for name, text in pages.files("table2", record).items():
        assert (tmp_path / "out" / name).read_text(encoding="utf-8") == text
        assert text.count("not run: needs ImageNet weights") == 2
        assert "re-implemented" in text
        assert "89.68" in text


def test_with_imagenet_weights_the_original_rows_run(data: Path, tmp_path: Path, tiny: list[str]) -> None:
    rows = by_key(
        run(data, tmp_path / "out", rows=("vadicamo-imagenet", "gaspar-content"), weights="imagenet", fine_tune="fc6")
    )
    found = rows["vadicamo-imagenet"]
    assert found["folds"][0]["facts"]["image"]["network"] == "VGG19, ImageNet weights"
    assert found["folds"][0]["facts"]["image"]["fine_tuned"] == "fc6"
    assert found["folds"][0]["facts"]["labels"]["n_kept"] < found["folds"][0]["facts"]["labels"]["n_candidates"]
    weights = rows["gaspar-content"]["folds"][0]["facts"]["weights"]
    assert set(weights) == {"text", "image", "content"}
    assert sum(weights.values()) == pytest.approx(1)
    assert set(tiny) == {"imagenet"}


def test_weights_that_are_not_there_stop_before_any_row(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(start: str) -> nn.Module:
        raise CheckpointError("no weights")

    monkeypatch.setattr(picture_network, "vgg19", refused)
    with pytest.raises(CheckpointError):
        run(data, tmp_path / "out", weights="imagenet")
    assert not list(tmp_path.rglob(METRICS))
    with pytest.raises(OptionError, match="narrow backbones, --size small, have no pretrained weights"):
        options(data, tmp_path / "out", weights="imagenet", size="small")


def counting(monkeypatch: pytest.MonkeyPatch, key: str, *, fail_at: int | None = None) -> list[int]:
    """Replace a row's method by one that notes the fold, and fails at one of them."""
    done: list[int] = []
    method = ROWS[key].method
    assert method is not None

    def noted(task: FoldTask) -> sentiment_methods.Said:
        if task.number == fail_at:
            raise OptionError("/some/where/x.png pulled plug")
        done.append(task.number)
        return method(task)

    monkeypatch.setattr(sentiment_methods, "ROWS", {**ROWS, key: replace(ROWS[key], method=noted)})
    return done


def test_finished_folds_are_kept_and_the_rest_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        assert counting(patch, "text", fail_at=1) == []
        rows = by_key(run(data, tmp_path / "out", rows=("majority", "text")))
    assert rows["text"]["missing"] == "1 of 2 folds, failed: x.png pulled plug"
    assert "found" in rows["majority"]  # the others are there
    assert [fold["fold"] for fold in rows["text"]["folds"]] == [0]
    done = counting(monkeypatch, "text")
    whole = run(data, tmp_path / "out", rows=("majority", "text"))
    assert done == [1]
    again = run(data, tmp_path / "out", rows=("majority", "text"))
    assert done == [1]
    assert whole["rows"] == again["rows"]
    at_once = run(data, tmp_path / "other", rows=("majority", "text"))
    for row in (*whole["rows"], *at_once["rows"]):
        for fold in row["folds"]:
            del fold["facts"]["seconds"]
    assert at_once["rows"] == whole["rows"]


def test_damaged_answers_are_named_before_anything_is_computed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(data, tmp_path / "out", rows=("majority",))
    damaged = next((tmp_path / "out").rglob("majority/fold-1/test.json"))
    damaged.write_text("")
    done = counting(monkeypatch, "majority")
    with pytest.raises(OptionError, match=r"test\.json is damaged .*remove the folder") as caught:
        run(data, tmp_path / "out", rows=("majority",))
    assert str(damaged.parent) in str(caught.value)
    assert done == []


def test_other_options_in_the_same_folder_are_refused(data: Path, tmp_path: Path, tiny: list[str]) -> None:
    run(data, tmp_path / "out", rows=("majority", "vadicamo"))
    with pytest.raises(OptionError, match="seed was 0, is 1"):
        run(data, tmp_path / "out", rows=("majority",), seed=1)
    with pytest.raises(OptionError, match=r"confident_part was 0\.5, is 0\.9"):
        run(data, tmp_path / "out", rows=("vadicamo",), confident_part=0.9)
    run(data, tmp_path / "out", rows=("text",), confident_part=0.9)  # which does not concern it


def test_minutes_end_between_folds(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.time, "monotonic", iter(range(0, 10_000, 40)).__next__)
    rows = by_key(run(data, tmp_path / "out", rows=("majority", "text"), max_minutes=3))
    # Two folds of the first row fit in; each looks at the clock a few times, 40 s apart.
    missing = [row["missing"] for key, row in rows.items() if key in ("majority", "text") and "missing" in row]
    assert missing
    assert all("stopped after --max-minutes 3; the same line goes on" in reason for reason in missing)


def test_unlabelled_tweets_are_learnt_where_there_are_some(tmp_path: Path, tiny: list[str]) -> None:
    data = write_tweets(tmp_path / "tweets", unlabelled=3).parent
    others = write_tweets(tmp_path / "others", 4)
    rng = np.random.default_rng(7)
    samples = []
    for k, sample in enumerate(read_manifest(others)):
        if k not in (0, 1):  # the first two keep picture and words, which stand in --data too
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(sample.image or "")
            sample = replace(sample, text=f"{sample.text} number{'abcdefghijklm'[k]}")
        samples.append(replace(sample, sentiment="" if k < 10 else sample.sentiment))
    write_manifest(others, samples)
    given = options(data, tmp_path / "out", unlabelled=str(others.parent))
    _, unlabelled = table2.prepare(given)
    assert len(unlabelled) == 3 + 8
    assert len({s.id for s in unlabelled}) == 11
    assert all(s.speech is None and not s.sentiment for s in unlabelled)
    rows = by_key(run(data, tmp_path / "out", rows=("vadicamo",), unlabelled=str(others.parent)))
    labels = rows["vadicamo"]["folds"][0]["facts"]["labels"]
    assert labels["n_unlabelled"] == 11
    assert labels["n_kept_unlabelled"] > 0


def test_what_shares_anything_with_a_labelled_tweet_is_not_learnt() -> None:
    labelled = [Sample("a", image="a.png", text="Hello, World!", group="7", extra={"image_dhash": "55"})]
    hashes = {"a.png": "A", "b.png": "B", "copy.png": "A", "c.png": "C", "d.png": "D"}
    same_picture = Sample("1", image="copy.png", text="other words")
    same_words = Sample("2", image="b.png", text="hello world")
    nearly_same_picture = Sample("3", image="d.png", text="third", extra={"image_dhash": "55"})
    same_group = Sample("4", image="c.png", text="something else", group="7")
    twice = Sample("5", image="c.png", text="Something else!")
    wordless, blind = Sample("6", image="d.png", text="!!"), Sample("7", speech="x.wav", text="deaf")
    everyone = [same_picture, same_words, nearly_same_picture, same_group, twice, wordless, blind]
    found = table2.beside(everyone, labelled, hashes, together=False)
    assert [s.id for s in found] == ["4"]
    found = table2.beside(everyone, labelled, hashes, together=True)
    assert [s.id for s in found] == ["5"]  # its group says nothing


def pooled(labels: np.ndarray, said: np.ndarray) -> Pooled:
    probs = 0.7 * np.eye(3)[said] + 0.1
    ids = tuple(map(str, range(len(labels))))
    return Pooled(ids, np.arange(len(labels)) % 2, labels, probs, probs, tuple(str(k // 2) for k in range(len(labels))))


def answered(whole: Pooled) -> tuple[list[Fold], str]:
    folds = []
    for number in (0, 1):
        here = whole.folds == number
        ids, groups = (tuple(itertools.compress(each, here)) for each in (whole.ids, whole.groups))
        part = Pooled(ids, *(each[here] for each in (whole.folds, whole.labels, whole.probs, whole.raw)), groups)
        test = {"both": evaluate(part.labels, part.probs, SENTIMENTS, n_bootstrap=1).to_dict()}
        folds.append(Fold(number, Path(), "both", {"test": test, "facts": {"network": "a network"}}, part))
    return folds, ""


def test_differences_are_paired_and_adjusted_together() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    right = labels.copy()
    some = np.where(rng.random(60) < 0.3, (labels + 1) % 3, labels)
    few = np.where(rng.random(60) < 0.7, (labels + 1) % 3, labels)
    answers = {
        key: answered(pooled(labels, said)) for key, said in (("text", some), ("gaspar", few), ("parallelnet", right))
    }
    found = table2.result(answers, Draws(200, 0))
    rows = {row["key"]: row for row in found["rows"]}
    for key, said in (("text", some), ("gaspar", few)):
        gap = rows[key]["parallelnet_minus"]
        assert gap["accuracy"]["difference"] == pytest.approx((said != labels).mean())
        low, high = gap["accuracy"]["ci95"]
        assert 0 < low < gap["accuracy"]["difference"] < high
    raw = [rows[key]["parallelnet_minus"]["p_components"] for key in ("text", "gaspar")]
    assert [rows[key]["parallelnet_minus"]["p_holm"] for key in ("text", "gaspar")] == statistics.holm(raw)
    assert rows["parallelnet"]["parallelnet_minus"] is None
    folds = answers["text"][0][0].said
    expected = evaluate(folds.labels, folds.probs, SENTIMENTS, n_bootstrap=1)
    assert rows["text"]["folds"][0]["accuracy"] == expected.accuracy
    assert rows["text"]["folds"][0]["confusion_matrix"] == [list(row) for row in expected.confusion_matrix]
    # The tables are pure functions of the JSON, and hold every row.
    record = {
        "data": {
            "name": "a_set",
            "n": 60,
            "n_components": 30,
            "n_unlabelled": 0,
            "counts": dict.fromkeys(SENTIMENTS, 20),
            "fingerprint": "0123456789abcdef",
            "built": None,
        },
        "options": {**asdict(Table2Options(data="a", out="b", folds=2)), "recipe": asdict(PRESETS["paper"])},
        **json.loads(json.dumps(found)),
    }
    tables = pages.files("table2", record)
    markdown, latex = tables["table2.md"], tables["table2.tex"]
    line = next(line for line in markdown.splitlines() if line.startswith("| Text reference"))
    assert f"**+{(some != labels).mean():.3f} [" in line
    assert all(row.title in markdown for row in ROWS.values())
    assert "Gaspar \\& Alexandre" in latex
    assert "a\\_set" in latex
    widths = {line.count("|") for line in markdown.split("\n\n")[1].splitlines() if line.startswith("|")}
    assert len(widths) <= 1


def rewritten(data: Path, folder: Path, change: Callable[[Sample], Sample | None]) -> Path:
    folder.mkdir()
    samples = []
    for sample in read_manifest(data / "manifest.csv"):
        changed = change(sample)
        if changed is not None:
            (folder / Path(sample.image or "").name).write_bytes(Path(sample.image or "").read_bytes())
            places = {
                name: str(folder / Path(getattr(sample, name)).name)
                for name in ("speech", "image")
                if getattr(changed, name)
            }
            samples.append(replace(changed, **places))  # type: ignore[arg-type]
    write_manifest(folder / "manifest.csv", samples)
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: replace(s, sentiment="", label="sad"),
            r"are: none; needed: .*Mend: parallelnet build tweets --labels sentiment",
        ),
        (
            lambda s: s if s.sentiment != "neutral" else None,
            r"22 negative, 22 positive; needed: negative, neutral, positive",
        ),
        (lambda s: replace(s, sentiment=s.sentiment.replace("neutral", "mixed")), r"22 mixed, 22 negative"),
        (
            lambda s: replace(s, text="" if s.id == "t7" else s.text),
            r"1 labelled samples have no text, the first is 't7'",
        ),
        (
            lambda s: replace(s, speech=None) if s.id == "t7" else s,
            r"1 of 66 samples have no speech or no picture.*'t7'",
        ),
        (
            lambda s: replace(s, fold=int(s.sentiment == "positive")),
            r"no sample of class 'positive'|share|lacks|no sample",
        ),
    ],
    ids=["no-sentiment", "no-neutral", "other-sentiment", "no-text", "no-speech", "class-in-one-fold"],
)
def test_data_that_cannot_be_used_are_refused(
    change: Callable[[Sample], Sample | None], said: str, data: Path, tmp_path: Path
) -> None:
    bad = rewritten(data, tmp_path / "bad", lambda s: (lambda t: t and replace(t, group="", image_group=""))(change(s)))
    with pytest.raises(ManifestError, match=said):
        run(bad, tmp_path / "out")
    assert not (tmp_path / "out" / "table2.json").exists()


def test_rows_and_parts_out_of_range_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Did you mean 'gaspar'"):
        run(data, tmp_path / "out", rows=("gaspr",))
    with pytest.raises(OptionError, match="twice"):
        run(data, tmp_path / "out", rows=("text", "text"))
    for part in (0.0, 1.5):
        with pytest.raises(OptionError, match="--confident-part"):
            options(data, tmp_path / "out", confident_part=part)


def test_every_row_uses_the_parts_that_the_networks_are_trained_on(data: Path, tmp_path: Path) -> None:
    material, _ = table2.prepare(options(data, tmp_path / "out"))
    assert material.classes == SENTIMENTS
    for part in material.parts:
        names = [{material.components[s.id] for s in getattr(part, name)} for name in ("train", "validation", "test")]
        assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    tested = [s.id for part in material.parts for s in part.test]
    assert sorted(tested) == sorted(s.id for s in material.samples)


@pytest.mark.slow
def test_parallelnet_is_trained_on_the_same_folds(tmp_path: Path) -> None:
    data = write_tweets(tmp_path / "tweets", sound=True).parent
    rows = by_key(run(data, tmp_path / "out", size="small", rows=()))
    ours = rows["parallelnet"]
    assert ours["found"]["n"] == 66
    assert ours["folds"][0]["facts"]["network"] == "vgg16-narrow and vgg19-narrow and random weights"
    for key in ("majority", "text", "vadicamo", "gaspar"):
        gap = rows[key]["parallelnet_minus"]
        expected = ours["found"]["accuracy"] - rows[key]["found"]["accuracy"]
        assert gap["accuracy"]["difference"] == pytest.approx(expected)
        assert gap["p_holm"] >= gap["p_components"]
    # A table of fewer minutes than it needs still collects what is finished.
    again = by_key(run(data, tmp_path / "out", size="small", rows=(), max_minutes=1e-6))
    assert again["parallelnet"]["found"]["accuracy"] == ours["found"]["accuracy"]
    assert asdict(RECIPE)["epochs"] == ours["folds"][0]["facts"]["epochs"]
    assert (study.work_folder(options(data, tmp_path / "out")) / "parallelnet" / "fold-1" / "test.json").is_file()
