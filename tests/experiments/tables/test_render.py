"""Pages from committed JSON: what they say follows from the figures, the same bytes each time, nothing by hand."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from parallelnet import checkpoint
from parallelnet.data.built import BuildReport
from parallelnet.errors import ManifestError, OptionError, ParallelNetError
from parallelnet.evaluation import evaluate
from parallelnet.options import PRESETS, RenderOptions, Table1Options
from parallelnet.training.parts import Parts
from parallelnet.types import SENTIMENTS, Sample
from parallelnet_experiments.tables import modalities, pages, result_plots, table1, table2
from parallelnet_experiments.tables.modalities import Answers
from parallelnet_experiments.tables.prepared import TABLE1, Material
from parallelnet_experiments.tables.render import render, unknown_figures
from parallelnet_experiments.tables.sentiment_methods import ROWS as SENTIMENT_ROWS
from parallelnet_experiments.tables.statistics import Draws, Pooled
from parallelnet_experiments.tables.study import Fold, Outcome

ROOT = Path(__file__).resolve().parents[3]
CLASSES = ("anger", "sad")
N_FOLDS, N = 2, 60
RECIPE = replace(PRESETS["paper"], epochs=4, learning_rate=1e-3)
# How far the true class's logit is raised: the paper's order, but for ier-only below ser-only.
SKILL = {
    "ser-only": 1.2,
    "ier-only": 0.3,
    "baseline-1": 0.8,
    "baseline-2": 0.7,
    "baseline-3": 1.6,
    "parallelnet": 4.0,
}


def said(skill: float, seed: int, n_classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng(0).integers(n_classes, size=N)
    noise = np.random.default_rng(seed).normal(size=(N, n_classes))
    raised = np.exp(noise + skill * np.eye(n_classes)[labels])
    return labels, raised / raised.sum(axis=1, keepdims=True)


FOLDS = np.repeat(np.arange(N_FOLDS), N // N_FOLDS)
IDS = tuple(f"s{k}" for k in range(N))
GROUPS = tuple(f"g{k // 3}" for k in range(N))


def material() -> Material:
    labels = {name: CLASSES[y] for name, y in zip(IDS, said(0, 0)[0], strict=True)}
    samples = tuple(Sample(name, label=labels[name], fold=int(fold)) for name, fold in zip(IDS, FOLDS, strict=True))
    parts = tuple(
        Parts(tuple(s for s in samples if s.fold != k), (), tuple(s for s in samples if s.fold == k))
        for k in range(N_FOLDS)
    )
    return Material("toy", samples, labels, CLASSES, parts, dict(zip(IDS, GROUPS, strict=True)), "fingerprint", 0)


def write_row(folder: Path, key: str) -> Outcome:
    """Write what `train` leaves of a row, as far as Table 1 reads it."""
    labels, probs = said(SKILL[key], list(SKILL).index(key) + 1)
    modality = {"ser-only": "speech", "ier-only": "image"}.get(key, "both")
    taken = ("speech", "image") if modality == "both" else (modality,)
    for fold in range(N_FOLDS):
        home, inside = folder / f"fold-{fold}", fold == FOLDS
        branch = {"backbone": "vgg16-narrow", "input_pool": 2}
        network = {"configuration": 3, "fusion": "multiply", "embed_dim": 8, **dict.fromkeys(taken, branch)}
        checkpoint.write(home / "checkpoint", checkpoint.ModelFacts("x", key, network, CLASSES, taken, True))
        answers = {
            "ids": [name for name, has in zip(IDS, inside, strict=True) if has],
            "labels": labels[inside].tolist(),
            "probs": probs[inside].tolist(),
            "raw_probs": probs[inside].tolist(),
        }
        (home / "test.json").write_text(json.dumps({"classes": CLASSES, "settings": {modality: answers}}))
        metrics = evaluate(labels[inside], probs[inside], CLASSES, n_bootstrap=2)
        validation = {"n": 5, "accuracy": 0.6, "macro_f1": 0.6, "cohen_kappa": 0.2}
        record = {"test": {modality: metrics.to_dict()}, "validation": {modality: validation}}
        (home / "metrics.json").write_text(json.dumps({**record, "seconds": 60.0, "parameters": 1000}))
        log = home / "logs" / "start-0"
        log.mkdir(parents=True)
        kinds = ("loss", "accuracy", "macro_f1", "kappa")
        names = [f"{part}_{kind}" for part in ("train", "validation") for kind in kinds]
        rows = [",".join(["epoch", *names])]
        rows += [",".join([str(epoch), *[str(0.9 - 0.1 * epoch)] * len(names)]) for epoch in range(3)]
        (log / "metrics.csv").write_text("\n".join(rows) + "\n")
    return Outcome(TABLE1[key], folder, N_FOLDS, "")


@pytest.fixture(scope="module")
def record1(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A Table 1, as `experiment table1` writes it."""
    work = tmp_path_factory.mktemp("runs")
    outcomes = [write_row(work / key, key) for key in SKILL]
    options = Table1Options(data="toy", out="out", folds=N_FOLDS, size="small", n_bootstrap=200)
    return json.loads(result_plots.dump(table1.summarise(outcomes, options, RECIPE, material())))


@pytest.fixture(scope="module")
def record2(record1: dict) -> dict:
    """A Table 2, where reading beats ParallelNet."""
    skill = {"majority": 0.0, "text": 3.0, "vadicamo": 0.2, "gaspar": 3.2, "parallelnet": 1.5}
    answers = {}
    for seed, key in enumerate(SENTIMENT_ROWS):
        if key not in skill:
            answers[key] = (), "not run: needs ImageNet weights"
            continue
        labels, probs = said(skill[key], seed + 1, 3)
        pooled = Pooled(IDS, FOLDS, labels, probs, probs, GROUPS)
        test = evaluate(labels, probs, SENTIMENTS, n_bootstrap=1).to_dict()
        answers[key] = (Fold(0, Path(), "both", {"test": {"both": test}, "facts": {}}, pooled),), ""
    found = table2.result(answers, Draws(200, 0))
    data = record1["data"] | {"counts": {"negative": 20, "neutral": 20, "positive": 20}, "n_unlabelled": 0}
    options = record1["options"] | {"recipe": record1["recipe"]}
    head = {name: record1[name] for name in ("date", "machine", "versions")}
    return json.loads(json.dumps({**found, "data": data, "options": options, **head}))


@pytest.fixture(scope="module")
def record3(record1: dict) -> dict:
    """A study of the modalities, without a row with dropout."""
    skill = {"both": 4.0, "both-without-image": 1.0, "both-without-speech": 0.5, "speech": 2.0, "image": 1.0}
    answers = {}
    for seed, (key, raised) in enumerate(skill.items()):
        labels, probs = said(raised, seed + 1)
        raw = probs**3 / (probs**3).sum(axis=1, keepdims=True)
        pooled = Pooled(IDS, FOLDS, labels, probs, raw, GROUPS)
        answers[key] = Answers(CLASSES, pooled, (3.0, 3.0), (0.6, 0.6))
    missing = {each.key: "not run: no --with-dropout" for each in modalities.DROPPED}
    found = modalities.result(answers, missing, Draws(200, 0))
    head = {name: record1[name] for name in ("data", "date", "machine", "versions")}
    return json.loads(json.dumps({**found, "options": record1["options"] | {"recipe": record1["recipe"]}, **head}))


def build_report() -> BuildReport:
    counts = {"anger": 5, "happy": 10, "hate": 1, "sad": 4}
    return BuildReport(
        made_by="parallelnet build tweets",
        n_read=30,
        n_kept=20,
        n_rejected=10,
        rejected={"duplicate": 7, "low-confidence": 3},
        class_counts=counts,
        sentiment_counts={"": 20},
        label_source_counts={"speech": 12, "image": 8},
        teacher_agreement=0.25,
        n_taught=23,
        threshold=0.5,
        rule="max",
        labels="emotion",
        threshold_curve=((0.5, 20, counts), (0.9, 1, {"happy": 1})),
        tts={"engine": "espeak-ng", "version": "1", "voices": {"en": 20}},
        languages={"en": 20},
        teachers={},
        duration_s=3600.0,
        options={},
        files={},
        input={"name": "tweets.csv", "format": "csv", "sha256": "x"},
        versions={},
        shards=(),
        rejected_sha256="x",
        fingerprint="0123456789abcdef",
    )


@pytest.fixture
def results(tmp_path: Path, record1: dict, record2: dict, record3: dict) -> Path:
    """Everything that can be rendered: each table, a second attempt, a build, measured models, a study."""
    root = tmp_path / "results"
    second = json.loads(json.dumps(record1))
    second["recipe"]["learning_rate"] = 0.01
    second["recipe"]["augment"]["flip"] = True
    made = {"table1/table1": record1, "table1-second/table1": second, "table2/table2": record2}
    made |= {"modalities/modalities": record3, "build-tweets": asdict(build_report())}
    for name, record in made.items():
        path = root / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
    shutil.copy(ROOT / "results" / "compact.json", root)
    shutil.copytree(ROOT / "results" / "faithfulness", root / "faithfulness")
    return root


def options(results: Path, **given: bool) -> RenderOptions:
    return RenderOptions(results=str(results), out=str(results.parent / "docs" / "results"), **given)


def test_everything_is_rendered_and_the_same_each_time(results):
    first = render(options(results))
    names = {path.relative_to(results.parent).as_posix() for path in first.written}
    pages_made = ("index", "table1", "table1-second", "table2", "modalities", "build-tweets", "models")
    assert {f"docs/results/{name}.md" for name in pages_made} <= names
    assert {"results/table2/table2.tex", "results/modalities/modalities.md"} <= names
    # The committed table of the study is what its JSON says.
    assert results / "faithfulness" / "table.md" in first.unchanged
    before = {path: path.read_bytes() for path in first.written}
    again = render(options(results))
    assert again.written == ()
    assert {path: path.read_bytes() for path in before} == before
    assert json.loads(again.to_json())["written"] == []


def test_every_link_leads_somewhere(results):
    render(options(results))
    folder = results.parent / "docs" / "results"
    links = [
        (path.parent / link).resolve()
        for path in folder.glob("*.md")
        for link in re.findall(r"\]\(([^)]+)\)", path.read_text())
    ]
    assert len(links) > 15
    assert [link for link in links if not link.exists()] == []


def test_check_names_what_differs_and_writes_nothing(results):
    render(options(results))
    render(options(results, check=True))
    table = results / "table2" / "table2.md"
    page = results.parent / "docs" / "results" / "table1.md"
    table.write_text(table.read_text() + " ")
    page.unlink()
    with pytest.raises(ParallelNetError, match=r"table1\.md is missing") as caught:
        render(options(results, check=True))
    assert f"{table} differs" in str(caught.value)
    assert not page.exists()
    assert set(render(options(results)).written) == {page, table}


def test_pages_of_results_that_are_gone_go_and_others_stay(results):
    render(options(results))
    folder = results.parent / "docs" / "results"
    (folder / "own.md").write_text("written by a person\n")
    shutil.rmtree(results / "table2")
    with pytest.raises(ParallelNetError, match=r"table2\.md is made by no JSON"):
        render(options(results, check=True))
    assert render(options(results)).removed == (folder / "table2.md",)
    assert (folder / "own.md").exists()
    render(options(results, check=True))


def test_a_json_that_is_cut_is_named(results):
    (results / "table1" / "table1.json").write_text('{"rows": ')
    with pytest.raises(OptionError, match=r"table1\.json is damaged"):
        render(options(results))


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("where", ["x/table1.json", "x/table2.json", "x/modalities.json", "faithfulness-x/speech.json"])
def test_a_json_of_something_else_is_named(results, where, check):
    path = results / where
    path.parent.mkdir()
    path.write_text("{}")
    with pytest.raises(ManifestError, match="is no result of this program's experiments") as caught:
        render(options(results, check=check))
    assert str(path) in str(caught.value)


def test_a_json_that_lacks_something_inside_is_named(results, record1):
    path = results / "table1" / "table1.json"
    path.write_text(json.dumps({**record1, "rows": {"parallelnet": {}}}))
    with pytest.raises(ManifestError, match=r"table1/table1\.json is no result .*(KeyError|UndefinedError)"):
        render(options(results))


def test_nothing_to_render_is_an_error(tmp_path):
    with pytest.raises(OptionError, match="holds no results"):
        render(RenderOptions(results=str(tmp_path), out=str(tmp_path / "out")))
    with pytest.raises(OptionError, match="--plots"):
        RenderOptions(check=True, plots=True)


def test_notes_are_taken_over_and_their_figures_held_to_the_json(results, record1):
    accuracy = record1["rows"]["parallelnet"]["pooled"]["accuracy"]
    notes = results / "table1" / "notes.md"
    notes.write_text(f"Of 2 tries, {accuracy:.3f} or {100 * accuracy:.1f} % (section 5.4, version 1.2.3).\n")
    render(options(results))
    assert notes.read_text().strip() in (results.parent / "docs" / "results" / "table1.md").read_text()
    notes.write_text("A figure of 12.3457 % that nobody measured.\n")
    with pytest.raises(ManifestError, match=r"has 12\.3457, which stands in no JSON"):
        render(options(results))


def test_figures_are_found_as_parts_and_as_percent():
    record = {"a": [0.12345, {"b": -7.5}], "curves": [0.777], "name": "0.999", "on": True}
    assert unknown_figures("12.3 %, 0.123 and 7.50, not 0.777, 0.999 or 1.0; -0.12", [record]) == [
        "0.777",
        "0.999",
        "1.0",
    ]
    assert unknown_figures("Table 1.2, sections 3.1 and 4.2, Eq. 5.1, file-0.1.txt, 3 folds", [record]) == []


def test_table1_says_what_follows(record1):
    text = pages.said("table1", record1)
    assert "Fusion earns its place" in text
    ours = {key: row["pooled"]["accuracy"] for key, row in record1["rows"].items() if not row["reason"]}
    assert ours["ser-only"] > ours["ier-only"]
    order = sorted(ours, key=lambda key: -ours[key])
    assert f"Here: {' > '.join(order)}." in text
    same, swapped = pages.agreement([TABLE1[key].printed for key in ours], list(ours.values()), list(ours))
    assert same.startswith(f"{15 - len(swapped)} of 15 pairs of rows stand in the paper's order (Kendall's tau ")
    assert f"- {same}\n" in text
    assert text.count("Against the paper's order") == len(swapped) > 0
    assert f"ser-only ({100 * ours['ser-only']:.1f} %; printed 60.17 %) lies above ier-only" in text
    assert "baseline-3 is the most accurate (as the paper says)" in text
    assert "parallelnet minus ser-only" in text
    assert "Missing, not run: not asked for (--studies): additive" in text
    for each in record1["differences"]:
        low, high = each["accuracy"]["ci95"]
        kind = "interval excludes zero" if low > 0 or high < 0 else "cannot be told from none"
        line = next(line for line in text.splitlines() if kind in line and line.startswith("- Differences"))
        assert f"{each['first']} minus {each['second']} " in line


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ([0.01, 0.2], "Fusion earns its place"),
        ([-0.01, 0.2], "Fusion does not earn its place"),
        ([-0.3, -0.1], "Fusion does harm"),
    ],
)
def test_fusion_is_judged_by_its_interval(record1, interval, said):
    fusion = {"reason": "", "best_single": "ser-only", "difference": sum(interval) / 2, "ci95": interval}
    changed = record1 | {"fusion": fusion | {"earned": interval[0] > 0}}
    assert pages.headline("table1", changed).startswith(said)


def test_table1_without_its_rows(record1):
    rows = {key: row | {"reason": "stopped"} for key, row in record1["rows"].items()}
    assert pages.said("table1", record1 | {"rows": rows}) == f"- {pages.NO_RUN}\n"


def test_table2_says_what_follows(record2):
    text = pages.said("table2", record2)
    rows = {row["key"]: row for row in record2["rows"]}
    best = max((row for row in record2["rows"] if "found" in row), key=lambda row: row["found"]["accuracy"])
    assert f"The most accurate row is “{best['title']}”" in text
    assert "ParallelNet is better than, in points of accuracy: Majority class" in text
    assert f"ParallelNet is worse than, in points of accuracy: {rows['text']['title']}" in text
    printed = ("vadicamo", "gaspar", "parallelnet")
    figures = ([rows[key]["printed"] for key in printed], [rows[key]["found"]["accuracy"] for key in printed])
    assert f"- {pages.agreement(*figures, [rows[key]['title'] for key in printed])[0]}\n" in text
    assert "Missing, not run: needs ImageNet weights: vadicamo-imagenet; gaspar-content." in text


def test_tied_rows_are_not_put_in_an_order(record1, record2):
    changed = json.loads(json.dumps(record1))
    for row in changed["rows"].values():
        if not row["reason"]:
            row["pooled"]["accuracy"] = 0.5
    text = pages.said("table1", changed)
    assert "0 of 15 pairs of rows stand in the paper's order; 15 are tied." in text
    assert "Here: ser-only = ier-only = baseline-1 = baseline-2 = baseline-3 = parallelnet." in text
    assert "baseline-1, baseline-2 and baseline-3 are tied as the most accurate" in text
    two = json.loads(json.dumps(record2))
    for row in two["rows"]:
        if "found" in row:
            row["found"]["accuracy"] = 0.5
    assert pages.headline("table2", two).startswith("The most accurate rows are “Majority class”, “Text")
    assert "tied at 0.500 accuracy" in pages.headline("table2", two)


def test_table2_tells_the_budget_and_what_is_unfinished(record2):
    given = json.loads(json.dumps(record2))
    given["options"]["clip_s"] = 1.024
    given["rows"][3]["missing"] = "1 of 2 folds, stopped after --max-minutes 3"
    for text in pages.files("table2", given).values():
        assert f"at most {RECIPE.epochs} epochs" in text
        assert f"batches of {RECIPE.batch_size}" in text
        assert "speech windows of 1.024 s" in text
        assert "1 of 2 folds, stopped after --max-minutes 3" in text
    assert "fingerprint of the samples used: fingerprint" in pages.markdown("table2", given)
    assert given["rows"][3]["title"] not in pages.headline("table2", given)


def test_modalities_say_what_follows(record3):
    text = pages.said("modalities", record3)
    assert text.startswith("- Both modalities are more accurate than speech alone, the better one: **+")
    assert "What a missing picture costs the fused network: **+" in text
    assert "Temperature scaling lowers the log loss of both" in text
    assert "Conformal sets, which promise 90.0 %" in text
    assert "Missing, not run: no --with-dropout: other dropout: both" in text
    asked = json.loads(json.dumps(record3))
    asked["options"]["with_dropout"], asked["options"]["recipe"]["modality_dropout"] = 0.0, 0.3
    said = pages.markdown("modalities", asked)
    assert "Modality dropout: 0.3 of the training samples of “both”, 0 in the rows “other dropout”." in said


def test_attempts_stand_beside_each_other(results, record1):
    render(options(results))
    text = (results.parent / "docs" / "results" / "table1.md").read_text()
    validation = "60.0 %"
    line = next(line for line in text.splitlines() if line.startswith("| [table1-second]"))
    assert "augment: flip True (False)" in line
    assert "learning rate 0.01 (0.001)" in line
    assert f"| {validation} | {validation} (ser-only) |" in line
    assert "## Attempts" not in (results.parent / "docs" / "results" / "table2.md").read_text()


def test_what_rows_started_from_is_told(record1):
    started = json.loads(json.dumps(record1))
    started["options"]["init_from"] = ["eyes", "ears"]
    for key in ("ier-only", "parallelnet"):
        started["rows"][key]["network"]["started_from"] = ["eyes"]
    lines = pages.deviations(started)
    assert "in `eyes` (rows ier-only and parallelnet) and `ears` start from there; the others start at random" in lines
    assert "start from there" not in pages.deviations(record1)
    assert "random weights but for what is said next" in lines
    assert "starting weights none (branches that eyes and ears have, too, start from there)" in pages.caption(started)
    single = started["fusion"]["best_single"]
    started["rows"][single]["network"]["started_from"] = []
    told = f"(ParallelNet's branches started from `eyes`, those of {single} from random weights)"
    assert told in pages.headline("table1", started)
    assert "started from" not in pages.headline("table1", record1)


def test_the_size_of_the_inputs_is_that_of_the_networks_that_were_trained(record1, record2):
    assert "with 64 x 64 inputs, narrow layers" in pages.deviations(record1)
    mixed = json.loads(json.dumps(record1))
    mixed["rows"]["ier-only"]["network"]["input_side"] = {"image": 32}
    assert "with 32 x 32 inputs, 64 x 64 inputs, narrow layers" in pages.deviations(mixed)
    assert "(narrow layers" in pages.caption(record2)  # it does not say
    assert "(32 x 32 inputs, narrow layers" in pages.caption(record2 | {"input_side": 32})


def test_what_differs_from_the_paper_is_computed(record1):
    lines = pages.deviations(record1)
    assert "learning rate 0.001 (8e-06)" in lines
    assert "epochs 4 (30)" in lines
    assert "2 folds, the paper has 5" in lines
    assert "--size small" in lines
    same = record1 | {"recipe": json.loads(json.dumps(asdict(PRESETS["paper"])))}
    same["options"] = record1["options"] | {"size": "paper", "weights": "imagenet", "folds": 5}
    lines = pages.deviations(same)
    assert "recipe" not in lines
    assert "small" not in lines
    assert "random weights" not in lines


def test_agreement_of_known_orders():
    said, swapped = pages.agreement([1, 2, 3, 4], [10, 20, 30, 40], "abcd")
    # The p value is exact: two of 4! orders are as far out.
    assert said.startswith("6 of 6 pairs of rows stand in the paper's order (Kendall's tau +1.00, p 0.083;")
    assert said.endswith("Spearman's rho +1.00). The paper: d > c > b > a. Here: d > c > b > a.")
    assert swapped == []
    said, swapped = pages.agreement([1, 2, 3], [1, 3, 2], "abc")
    assert "2 of 3 pairs of rows stand in the paper's order (Kendall's tau +0.33" in said
    assert "rho +0.50" in said
    assert swapped == [(2, 1)]
    said, swapped = pages.agreement([1, 2, 3], [5, 5, 5], "abc")
    assert said.startswith("0 of 3 pairs of rows stand in the paper's order; 3 are tied. The paper: c > b > a.")
    assert swapped == []


def test_a_build_stands_beside_the_paper_s_counts(results):
    render(options(results))
    text = (results.parent / "docs" / "results" / "build-tweets.md").read_text()
    assert "| happy | 10 | 50.0 % | 42,958 | 53.1 % |" in text
    assert "| duplicate | 7 | 23.3 % |" in text
    assert "| 0.90 | 1 | 0 | 1 | 0 | 0 |" in text
    assert "unknown 20" in text
    assert "What it took" not in text


def test_a_build_says_what_it_took_where_that_is_known(results):
    path = results / "build-tweets.json"
    record = json.loads(path.read_text())
    log = {"wall_s": 90.0, "workers": 2, "executor": "local", "began": "2026-11-26T08:36:25+00:00"}
    log |= {"n_rows_made_in_this_run": 30, "real_time_factor": 0.025, "machine": {"cpu": "a CPU", "n_cores": 2}}
    log |= {"peak_memory_bytes": {"coordinator": 3e8, "worker": 4e8}}
    path.write_text(json.dumps({**record, "log": log, "bytes": 5e6}))
    render(options(results))
    text = (results.parent / "docs" / "results" / "build-tweets.md").read_text()
    assert "90 s for 30 rows with 2 workers (local) on 2 cores (a CPU), 2026-11-26; real-time factor 0.025." in text
    assert "300 MB of the coordinator, 400 MB of a worker; 5 MB of shards" in text

    resumed = log | {"n_rows_made_in_this_run": 20, "real_time_factor": None}
    path.write_text(json.dumps({**record, "log": resumed, "bytes": 5e6}))
    render(options(results))
    text = (results.parent / "docs" / "results" / "build-tweets.md").read_text()
    assert "2026-11-26; the other 10 rows stood from an earlier start.\nPeak" in text


def test_committed_pages_are_those_of_the_committed_json():
    render(RenderOptions(results=str(ROOT / "results"), out=str(ROOT / "docs" / "results"), check=True))
