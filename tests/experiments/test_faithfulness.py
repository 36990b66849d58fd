"""The study on material and models small enough to be known; peers against what our own methods say."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image

from parallelnet import checkpoint
from parallelnet.data import dataset
from parallelnet.data.manifest import write_manifest
from parallelnet.errors import ManifestError, OptionError
from parallelnet.explanation import players
from parallelnet.explanation.game import NetworkGame
from parallelnet.explanation.parts import DivisionNode
from parallelnet.options import FaithfulnessOptions
from parallelnet.predictor import Predictor
from parallelnet.types import Sample
from parallelnet_experiments import explainers, faithfulness, peers
from parallelnet_experiments.tables import pages
from parallelnet_experiments.tables.statistics import Draws

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location(
    "checkpoint_fixture", Path(__file__).parents[1] / "checkpoint_fixture.py"
)
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)

N_UNITS, CUE = 8, 5
GRID, CELL = (2, 4), (1, 2)
PLAIN = ("owen", "paper", "exact", "sampled", "random")


def plant(folder, opened, *, n=6):
    """Write material in which the toy model is right: pairs, labelled as it says, with counterparts."""
    rng = np.random.default_rng(1)
    rows = []
    for k in range(n):
        bed = 0.01 * rng.standard_normal(65_536).astype(np.float32)
        cue = bed.copy()
        cue[CUE * 8192 : (CUE + 1) * 8192] += 0.3 * np.sin(np.arange(8192) * rng.uniform(0.05, 0.5)).astype(np.float32)
        grey = rng.integers(0, 60, (128, 256), dtype=np.uint8)
        face = grey.copy()
        face[64:, 128:192] = rng.integers(0, 256, (64, 64))
        for name, wave, pixels in (("", cue, face), ("-without", bed, grey)):
            soundfile.write(folder / f"{k}{name}.flac", wave, 16_000)
            Image.fromarray(pixels).save(folder / f"{k}{name}.png")
        extra = {"planted": "cue", "cue_units": str(CUE), "n_units": str(N_UNITS), "cue_cell": "1 2", "grid": "2x4"}
        extra |= {"without_speech": f"{k}-without.flac", "without_image": f"{k}-without.png"}
        rows.append(
            Sample(f"s{k}", str(folder / f"{k}.flac"), str(folder / f"{k}.png"), split="test", label="sad", extra=extra)
        )
    said = Predictor(opened, face="off", n_threads=1).predict_each(rows)
    write_manifest(
        folder / "manifest.csv", [replace(s, label=each.emotion) for s, each in zip(rows, said, strict=True)]
    )
    (folder / "plant.json").write_text(
        json.dumps({"task": "pair", "out": "", "speech": "ravdess:/home/me/ravdess", "image": "/home/me/faces.csv"})
    )
    return folder


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return fixtures.write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def material(opened, tmp_path_factory):
    return plant(tmp_path_factory.mktemp("planted"), opened)


@pytest.fixture
def options(opened, material, tmp_path):
    return FaithfulnessOptions(
        data=str(material), checkpoint=str(opened.path), out=str(tmp_path / "out"), explainers=PLAIN,
        n_samples=4, n_checks=2, n_orders=4, n_samplings=4, n_bootstrap=50, threads=1,
    )  # fmt: skip


@pytest.fixture
def stage(opened, material):
    predictor = Predictor(opened, face="off", n_threads=1)
    cases, _ = explainers.read_cases(material, "test", predictor)
    return explainers.Stage(predictor, cases[0])


@pytest.fixture
def networks(stage):
    return explainers.Networks(None, 1.0, 4)


# --- the study --------------------------------------------------------------------------------------------------------


def test_a_study_says_everything_with_its_n(options):
    path = faithfulness.measure(options)
    found = json.loads(path.read_text())
    assert path.name == "pair.json"
    need_each = found["counts"].pop("explained_needs_each")
    assert found["counts"] == {
        "samples": 6, "with_cue": 6, "explained": 4, "explained_right": 4, "explained_primary": 4, "skipped_first": 0,
    }  # fmt: skip
    assert found["model"]["accuracy"]["mean"] == 1  # labels are what the model says
    assert set(found["model"]["without"]) == {"speech", "image", "speech+image"}
    default = "silence+black"
    for name in PLAIN:
        each = found["explainers"][name][default]
        assert each["auc"]["primary"]["speech"]["n"] == each["auc"]["primary"]["image"]["n"] == 4
        assert each["curves"][default]["deletion"]["n"] == 2
    first = found["explainers"]["exact"][default]["pair_first"]
    assert first["primary"]["n"] == 4
    assert first.get("needs_each", {"n": 0})["n"] == need_each
    assert "pair_first" not in found["explainers"]["owen"][default]
    assert found["chance_first"] == pytest.approx(1 / 64)
    assert set(found["explainers"]["owen"]) == set(found["random_orders"]) == {default, "mean+mean", "blur+blur"}
    assert set(found["explainers"]["owen"]["mean+mean"]["curves"]) == set(found["random_orders"])  # crossed
    # 8 + 8 units: 44 masks each by halving, (2 * 64 + 4) / 3; 256 each for exact.
    assert found["explainers"]["owen"][default]["passes"] == 88
    assert found["explainers"]["exact"][default]["passes"] == 512
    assert "no model.safetensors" in found["left_out"]["random weights"]
    assert found["material"]["fingerprint"]
    assert found["material"]["options"]["speech"] == "ravdess"
    assert "/home/me" not in path.read_text()
    assert str(path.parent) not in path.read_text()
    table = (path.parent / "table.md").read_text()
    found["counts"]["explained_needs_each"] = need_each
    assert table == pages.faithfulness(found)
    assert "| owen | " in table
    assert "Chance of the planted pair being first: 0.016" in table


def test_a_study_goes_on_after_a_stop_and_comes_to_the_same(options, monkeypatch):
    whole = json.loads(faithfulness.measure(options).read_text())
    journal = Path(options.out) / "pair.journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:9]) + '{"id": \n' + lines[9][:40])  # damaged, and killed while writing
    said = []
    real = explainers.say
    monkeypatch.setattr(explainers, "say", lambda *a: said.append(a[0]) or real(*a))
    again = json.loads(faithfulness.measure(options).read_text())
    n_values = sum('"values:' in line for line in lines)
    n_kept = sum('"values:' in line for line in lines[:9])
    assert len(said) == n_values - n_kept < n_values

    def timeless(found):
        by = found["explainers"]
        for each in (each for name in by for each in by[name].values()):
            each.pop("seconds"), each.pop("cpu_seconds")
        return {k: v for k, v in found.items() if k not in ("date", "load_1_min")}

    assert timeless(again) == timeless(whole)


def test_other_options_do_not_go_on_with_what_is_there(options):
    faithfulness.measure(replace(options, explainers=("random",), n_checks=0))
    with pytest.raises(OptionError, match=r"computed with other options, model or material\. Mend: another --out"):
        faithfulness.measure(replace(options, seed=1))


def test_more_samples_may_follow(options):
    few = faithfulness.measure(replace(options, explainers=("owen",), n_checks=0, n_samples=2))
    assert json.loads(few.read_text())["counts"]["explained"] == 2
    more = faithfulness.measure(replace(options, explainers=("owen",), n_checks=0, n_samples=0))
    assert json.loads(more.read_text())["counts"]["explained"] == 6


def test_material_that_was_not_planted_is_refused(options, tmp_path):
    with pytest.raises(ManifestError, match=r"has no plant\.json"):
        faithfulness.measure(replace(options, data=str(tmp_path)))


def test_a_split_without_samples_is_refused(options):
    with pytest.raises(ManifestError, match="no planted samples in its validation split"):
        faithfulness.measure(replace(options, split="validation"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skip": -1}, "--skip is -1"),
        ({"n_samples": -1}, "--n-samples is -1"),
        ({"n_orders": 1}, "2 or more"),
    ],
)
def test_bad_options_are_refused(change, message):
    with pytest.raises(OptionError, match=message):
        FaithfulnessOptions(data="", checkpoint="", out="", **change)


def test_places_of_the_cue(stage):
    place = stage.case.place()
    assert np.flatnonzero(place["speech"]).tolist() == [CUE]
    assert np.flatnonzero(place["image"]).tolist() == [CELL[0] * GRID[1] + CELL[1]]
    assert (stage.n, stage.n_speech) == (16, 8)


def test_a_removed_cue_is_another_file(material):
    sample = next(iter(dataset.open_data(material)))
    without = explainers._without(sample, ("speech",), material)
    assert without.speech.endswith("-without.flac")
    assert without.image == sample.image


def test_samples_that_share_a_file_are_drawn_together(monkeypatch, tmp_path):
    files = {"a": ("1", "x"), "b": ("1", "y"), "c": ("2", "y"), "d": ("3", "z")}
    rows = [Sample(k, *paths, label="sad", split="test", extra={"planted": "cue"}) for k, paths in files.items()]
    monkeypatch.setattr(explainers.dataset, "open_data", lambda folder: rows)
    said = SimpleNamespace(probs={"sad": 1.0}, emotion="sad")
    predictor = SimpleNamespace(classes=("sad",), predict_each=lambda samples: [said] * len(samples))
    groups = [case.group for case in explainers.read_cases(tmp_path, "test", predictor)[0]]
    assert groups[0] == groups[1] == groups[2] != groups[3]


@pytest.mark.parametrize(
    ("without", "needed"),
    [
        ({"speech": 0.7, "image": 0.5, "speech+image": 0.9}, True),  # half of 0.9's way above 0.5 is at 0.7
        ({"speech": 0.71, "image": 0.5}, False),
        ({"speech": 0.5, "image": 0.89}, False),
        ({"speech": 0.1}, True),
    ],
)
def test_cues_are_needed_where_half_of_the_probability_above_chance_goes_with_each(stage, without, needed):
    probs = {stage.case.sample.label: 0.9, "other": 0.1}
    assert replace(stage.case, probs=probs, without=without).needs_each == needed


def test_samples_that_were_looked_at_are_left_out(options, stage, material, opened):
    cases, _ = explainers.read_cases(material, "test", Predictor(opened, face="off", n_threads=1))
    first, rest = (
        {case.sample.id for case in faithfulness.drawn(cases, replace(options, n_samples=n, skip=skip))}
        for n, skip in ((2, 0), (0, 2))
    )
    assert len(first) == 2
    assert len(rest) == 4
    assert not first & rest
    with pytest.raises(OptionError, match="--skip 6 leaves none"):
        faithfulness.drawn(cases, replace(options, skip=6))


def test_unknown_explainers_are_refused():
    with pytest.raises(OptionError, match="Unknown explainer 'oven'"):
        explainers.allowed(("oven",), "pair", {"speech": 8, "image": 8})


def test_what_is_left_out_and_why():
    chosen, left_out = explainers.allowed((), "speech", {"speech": 16})
    assert "owen" in chosen
    assert left_out["exact"] == "16 players of one modality need 2^16 passes a sample"
    assert "one modality" in left_out["shapiq-sampled"]
    monkeyed, why = explainers.allowed(("exact",), "pair", {"speech": 8, "image": 8})
    assert monkeyed == ["exact"]
    assert not why


# --- figures ----------------------------------------------------------------------------------------------------------


class Known:
    """A case of four speech units, the last of which is the cue; sample number k."""

    def __init__(self, k, right=True, changed=True):
        self.sample = Sample(f"s{k}", label="sad", extra={"planted": "cue"})
        self.probs = {"sad": 0.9, "none": 0.1} if right else {"sad": 0.1, "none": 0.9}
        self.emotion = "sad" if right else "none"
        self.said = {"speech": "none" if changed else self.emotion}
        self.without = {"speech": 0.2}
        self.right, self.changed, self.cue, self.group = right, changed, True, f"g{k}"
        self.needs_each = changed

    def place(self):
        return {"speech": np.array([False, False, False, True])}


def records(values):
    return {
        (f"s{k}", "values:owen@silence+black"): {
            "values": v, "together": None, "passes": 12, "seconds": 1.0, "cpu_seconds": 1.0,
        }
        for k, v in enumerate(values)
    }  # fmt: skip


def test_a_perfect_explanation_has_an_auc_of_one_and_a_random_one_of_a_half():
    rng = np.random.default_rng(0)
    cases = [Known(k) for k in range(300)]
    for values, expected, band in (
        ([[0, 0.1, 0, 0.5]] * 300, 1.0, 0),
        # One of four parts is planted: variance of an AUC (4 + 1) / (12 * 1 * 3); of the mean of 300 a standard
        # deviation of 0.0215; four of them.
        (rng.random((300, 4)).tolist(), 0.5, 0.086),
    ):
        found = faithfulness.summarise("speech", cases, cases, records(values), Draws(200, 0))
        figure = found["explainers"]["owen"]["silence+black"]["auc"]["primary"]["speech"]
        assert figure["mean"] == pytest.approx(expected, abs=band)
        assert figure["ci95"][0] <= figure["mean"] <= figure["ci95"][1]
        assert figure["n"] == 300


def test_the_figures_are_of_samples_where_there_is_something_to_explain():
    cases = [Known(0), Known(1, right=False), Known(2, changed=False)]
    values = [[0, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 0]]
    found = faithfulness.summarise("speech", cases, cases, records(values), Draws(50, 0))
    auc = found["explainers"]["owen"]["silence+black"]["auc"]
    assert {name: (each["speech"]["mean"], each["speech"]["n"]) for name, each in auc.items()} == {
        "primary": (1.0, 1), "right": (0.5, 2), "all": (pytest.approx(1 / 3), 3), "needs_each": (1.0, 1),
    }  # fmt: skip
    assert found["model"]["changes_its_mind"]["mean"] == 0.5
    assert found["model"]["without"]["speech"]["prob"]["mean"] == pytest.approx(0.2)


def test_a_study_of_nothing_explained_has_no_figures():
    cases = [Known(0, right=False)]
    found = faithfulness.summarise("speech", cases, cases, records([[0, 0, 0, 1]]), Draws(50, 0))
    assert found["explainers"]["owen"]["silence+black"]["auc"]["primary"] == {}


# --- peers ------------------------------------------------------------------------------------------------------------


def test_the_joint_division_as_a_linkage():
    speech = (DivisionNode("speech", -1, (0, 1, 2)), DivisionNode("speech", 0, (0, 1)), DivisionNode("speech", 1, (0,)),
              DivisionNode("speech", 1, (1,)), DivisionNode("speech", 0, (2,)))  # fmt: skip
    image = players.grid_division(1, 2)
    found = peers.linkage(speech, image)
    assert found[:, [0, 1]].astype(int).tolist() == [[0, 1], [5, 2], [3, 4], [6, 7]]
    assert found[:, 3].tolist() == [2, 3, 2, 5]
    assert peers.linkage((), image).tolist() == [[0, 1, 1, 2]]
    one = (DivisionNode("image", -1, (0,)),)
    assert peers.linkage(speech, one)[-1].tolist() == [5, 3, 3, 4]


def test_a_game_as_peers_ask_it(stage):
    game = stage.game(("silence", "black"))
    score, asked = explainers.score_of(game, stage.column)
    masks = np.random.default_rng(0).random((20, 16)) < 0.5
    masks[0] = True
    one_by_one = [game.table(row[None, :8], row[None, 8:])[0, 0, stage.column] for row in masks]
    np.testing.assert_allclose(score(masks), one_by_one, rtol=0, atol=1e-6)  # float32 batches of other sizes
    assert asked["rows"] == 20
    assert score(masks[:1])[0] == pytest.approx(stage.case.probs[stage.case.sample.label], abs=1e-6)


def test_occlusion_is_what_is_lost_without_a_player(stage, networks):
    pytest.importorskip("captum")
    said = explainers.say("occlusion", stage, ("silence", "black"), networks)
    score, _ = explainers.score_of(stage.game(("silence", "black")), stage.column)
    lost = score(np.ones((1, 16), bool)) - score(~np.eye(16, dtype=bool))
    np.testing.assert_allclose(said["values"], lost, rtol=0, atol=1e-6)
    assert said["passes"] == 2 * 17


def test_a_shared_game_says_the_same_and_keeps_quiet_about_cost(opened, material):
    cases, _ = explainers.read_cases(material, "test", Predictor(opened, face="off", n_threads=1))
    stages = [explainers.Stage(Predictor(opened, n_threads=1), cases[0], shared=shared) for shared in (False, True)]
    networks = explainers.Networks(None, 1.0, 4)
    for name in ("owen", "exact"):
        alone, shared = (explainers.say(name, each, ("silence", "black"), networks) for each in stages)
        np.testing.assert_allclose(shared["values"], alone["values"], rtol=0, atol=1e-6)  # float32, other batch sizes
        assert alone["passes"] > 0
        assert shared["passes"] is shared["seconds"] is None


@pytest.mark.slow  # shap compiles its loops
@pytest.mark.parametrize("name", ["shap-partition"])
def test_shap_finds_our_owen_values(name, stage, networks):
    pytest.importorskip("shap")
    ours, theirs = (explainers.say(each, stage, ("mean", "blur"), networks)["values"] for each in ("owen", name))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_exact_peers_find_our_exact_values(stage, networks):
    pytest.importorskip("shap")
    shapiq = pytest.importorskip("shapiq")
    ours = explainers.say("exact", stage, ("silence", "black"), networks)
    score, _ = explainers.score_of(stage.game(("silence", "black")), stage.column)
    question = peers.Question(score, 16, np.zeros((0, 4)), 0)
    np.testing.assert_allclose(peers.shap_values(question, "Exact"), ours["values"], rtol=0, atol=1e-5)
    small = peers.Question(lambda masks: score(np.pad(masks, ((0, 0), (0, 8)))), 8, np.zeros((0, 4)), 0)
    exact = shapiq.ExactComputer(game=small.score, n_players=8)("SV", order=1).dict_values
    theirs = [exact[k,] for k in range(8)]
    np.testing.assert_allclose(theirs, peers.shap_values(small, "Exact"), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shap-permutation", "shap-kernel", "captum-sampling"])
def test_sampling_peers_add_up_and_repeat_themselves(name, stage, networks):
    pytest.importorskip(name.partition("-")[0])
    first, second = (explainers.say(name, stage, ("silence", "black"), networks)["values"] for _ in range(2))
    assert (first == second).all()
    score, _ = explainers.score_of(stage.game(("silence", "black")), stage.column)
    whole, nothing = score(np.stack([np.ones(16, bool), np.zeros(16, bool)]))
    assert first.sum() == pytest.approx(whole - nothing, abs=1e-5)


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny():
    """A network of both modalities with random weights, and what a checkpoint would say of it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("captum")
    from parallelnet.models import network
    from parallelnet.models.variants import BranchOptions, NetworkOptions

    options = NetworkOptions(
        speech=BranchOptions("compact-speech", channels=(4,), input_pool=4),
        image=BranchOptions("compact-image", channels=(4,), input_pool=4, mirror=True),
        embed_dim=8,
        hidden=(8,),
    )
    torch.manual_seed(3)
    made = network.build(options, ("anger", "happy", "sad")).eval()
    facts = checkpoint.ModelFacts("tiny", "tiny", options.to_dict(), ("anger", "happy", "sad"))
    return made, checkpoint.Checkpoint(Path("nowhere"), facts)


def gradients_of(network, speech, image):
    return peers.Gradients(network, speech, image, column=1, temperature=1.5)


def test_integrated_gradients_add_up(tiny, stage):
    network, _ = tiny
    asked = gradients_of(network, *stage.signals(("silence", "mean")))
    found = asked.integrated()
    import torch

    with torch.no_grad():
        change = asked._probability(*asked._inputs) - asked._probability(*asked._baselines)
    assert len(found) == 16
    # Gauss-Legendre with 50 points of a function that bends where ReLUs switch: within 2 % of the change, or 1e-3.
    assert found.sum() == pytest.approx(float(change), rel=0.02, abs=1e-3)


def test_grad_cam_of_a_mirrored_picture_is_mirrored(tiny, stage):
    network, _ = tiny  # its picture branch averages over both sides
    speech, image = stage.signals(("silence", "black"))
    found = gradients_of(network, speech, image).grad_cam()
    turned = replace(image, signal=image.signal[:, :, ::-1])
    mirrored = gradients_of(network, speech, turned).grad_cam()
    np.testing.assert_allclose(mirrored[8:].reshape(GRID)[:, ::-1], found[8:].reshape(GRID), atol=1e-6)
    np.testing.assert_allclose(mirrored[:8], found[:8], atol=1e-6)
    assert np.ptp(found[8:]) > 0


def test_random_networks_differ_by_seed_and_play(tiny, stage):
    _, opened = tiny
    tables = []
    for seed in (1, 1, 2):
        network, model = peers.random_model(opened, seed)
        assert not network.training
        tables.append(NetworkGame(
            model, *stage.signals(("silence", "black")), columns=[0, 1, 2]
        ).table(np.ones((1, 8), bool), np.ones((1, 8), bool)))  # fmt: skip
    assert (tables[0] == tables[1]).all()
    assert (tables[0] != tables[2]).any()
