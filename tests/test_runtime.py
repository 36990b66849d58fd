"""The runtime against the toy's numpy, and torch against ONNX on a real network."""

import copy
import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parallelnet import checkpoint, runtime
from parallelnet.errors import CheckpointError, InputError, OptionError
from parallelnet.runtime import open_runtime
from parallelnet.types import EMOTIONS

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location("checkpoint_fixture", Path(__file__).with_name("checkpoint_fixture.py"))
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy, toy_checkpoint, make_checkpoint = fixtures.toy, fixtures.toy_checkpoint, fixtures.make_checkpoint

# The graphs are float32: sums of up to 49,152 products of the order of 0.01, each rounded to 6e-8 relative, against
# float64; errors of some 1e-6, times values of up to 30.
FLOAT32 = 1e-4


def signals(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, 1, 128, 128), np.float32), rng.random((n, 3, 128, 128), np.float32)


@pytest.fixture(scope="module")
def model(toy_checkpoint):
    return open_runtime(toy_checkpoint)


def test_logits_are_the_networks_over_the_temperature(model, toy):
    speech, image = signals(3)
    np.testing.assert_allclose(model.logits(speech, image), toy.logits(speech, image) / 2, atol=FLOAT32)
    assert model.logits(speech, image).dtype == np.float32


def test_composition_is_exactly_the_logits(model):
    speech, image = signals(3)
    composed = model.head(model.speech_branches(speech), model.image_branches(image))
    np.testing.assert_array_equal(composed, model.logits(speech, image))  # the same three calls


@pytest.mark.parametrize(("missing", "temperature"), [("image", 3), ("speech", 4)])
def test_a_missing_modality_is_the_branches_of_zeros(model, toy, missing, temperature):
    speech, image = signals(2)
    if missing == "image":
        expected = toy.logits(speech, np.zeros_like(image))
        arrived = model.logits(speech=speech), model.head(model.speech_branches(speech), None)
    else:
        expected = toy.logits(np.zeros_like(speech), image)
        arrived = model.logits(image=image), model.head(None, model.image_branches(image))
    for logits in arrived:
        np.testing.assert_allclose(logits, expected / temperature, atol=FLOAT32)


def test_zero_branches_are_computed_once(toy_checkpoint, monkeypatch):
    calls = []
    run = runtime._OnnxBackend.run
    monkeypatch.setattr(
        runtime._OnnxBackend, "run", lambda self, part, arrays: calls.append(part) or run(self, part, arrays)
    )
    model = open_runtime(toy_checkpoint)
    speech, _ = signals(2)
    for _ in range(3):
        model.logits(speech=speech)
    assert calls == ["speech", "image", "head"] + 3 * ["speech", "head"]


def test_modalities_chooses_the_temperature(model):
    speech, _ = signals(2)
    branches = model.speech_branches(speech)
    # 3 and 2 are the toy's temperatures for speech and both; one division each in float32.
    np.testing.assert_allclose(
        model.head(branches, None) * 3, model.head(branches, None, modalities="both") * 2, rtol=1e-6
    )


def test_large_batches_run_in_chunks(model, monkeypatch):
    speech, image = signals(7)
    whole = model.logits(speech, image)
    rows = []
    run = model._backend.run
    monkeypatch.setattr(model._backend, "run", lambda part, a: rows.append((part, len(a[0]))) or run(part, a))
    monkeypatch.setattr(runtime, "_PASS_ROWS", 3)
    monkeypatch.setattr(runtime, "_HEAD_ROWS", 4)
    np.testing.assert_allclose(model.logits(speech, image), whole, atol=FLOAT32)
    assert [n for part, n in rows if part == "speech"] == [3, 3, 1]
    assert [n for part, n in rows if part == "head"] == [4, 3]


def test_joint_graph_with_missing_modality(make_checkpoint, toy):
    model = open_runtime(make_checkpoint(separable=False, temperatures={"both": 2.0, "speech": 5.0, "image": 1.0}))
    speech, image = signals(2)
    np.testing.assert_allclose(model.logits(speech, image), toy.logits(speech, image) / 2, atol=FLOAT32)
    silent = toy.logits(speech, np.zeros_like(image)) / 5
    np.testing.assert_allclose(model.logits(speech=speech), silent, atol=FLOAT32)
    with pytest.raises(InputError, match="use logits"):
        model.speech_branches(speech)
    with pytest.raises(InputError, match="use logits"):
        model.head(None, None)


@pytest.mark.parametrize("name", ["speech", "image"])
def test_single_modality_networks(make_checkpoint, toy, name):
    model = open_runtime(make_checkpoint(modalities=(name,)))
    speech, image = signals(2)
    x, other = (speech, image) if name == "speech" else (image, speech)
    n1, n2 = toy.branches(name, x)
    np.testing.assert_allclose(model.logits(**{name: x}), (n1 + n2) @ toy.mix, atol=FLOAT32)
    wrong = "image" if name == "speech" else "speech"
    with pytest.raises(InputError, match=f"{wrong} was given, but checkpoint toy takes {name} only"):
        model.logits(**{wrong: other})


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.logits(), "Neither speech nor image"),
        (lambda m: m.logits(np.zeros((2, 1, 128, 128)), np.zeros((3, 3, 128, 128))), "2 speech rows .* 3 image rows"),
        (lambda m: m.speech_branches(np.zeros((2, 128, 128))), r"\(2, 128, 128\); allowed: .*\[n, 1, 128, 128\]"),
        (lambda m: m.image_branches(np.zeros((0, 3, 128, 128))), "n of 1 or more"),
        (lambda m: m.image_branches([1]), "image is list"),
        (lambda m: m.head((np.zeros((2, 3), "f4"), np.zeros((1, 3), "f4")), None), "2 and 1 rows"),
    ],
)
def test_wrong_arrays(model, call, text):
    with pytest.raises(InputError, match=text):
        call(model)


def test_numbers_that_are_not_finite_are_refused(model):
    speech, _ = signals(1)
    with pytest.raises(CheckpointError, match="not finite"):
        model.logits(speech=speech * np.float32(np.nan))


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_cut_graphs_are_one_line(make_checkpoint, keep):
    opened = make_checkpoint()
    path = opened.path / "image.onnx"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match=r"image.onnx cannot be loaded .*copy it again") as caught:
        open_runtime(opened)
    assert "\n" not in str(caught.value)


def test_a_graph_of_another_network_is_refused(make_checkpoint):
    opened = make_checkpoint()
    (opened.path / "image.onnx").write_bytes((opened.path / "speech.onnx").read_bytes())
    with pytest.raises(CheckpointError, match=r"image.onnx maps speech to speech_n1.*needed: image to image_n1"):
        open_runtime(opened)


def test_missing_graphs_and_weights(make_checkpoint):
    opened = make_checkpoint()
    with pytest.raises(CheckpointError, match=r"no speech.int8.onnx"):
        open_runtime(opened, int8=True)
    (opened.path / "head.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"no head.onnx"):
        open_runtime(opened)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"device": "tpu"}, "--device is 'tpu'; allowed: onnx, cpu"),
        ({"device": "cpu", "int8": True}, "--int8 runs quantised ONNX"),
        ({"n_threads": 0}, "--threads is 0"),
    ],
)
def test_wrong_options(toy_checkpoint, settings, text):
    with pytest.raises(OptionError, match=text):
        open_runtime(toy_checkpoint, **settings)


def test_an_absent_device_names_those_there(toy_checkpoint):
    import torch

    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(OptionError, match="Available: onnx, cpu"):
        open_runtime(toy_checkpoint, device=absent)


def test_torch_that_is_not_installed_names_the_extra(toy_checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # makes `import torch` fail
    with pytest.raises(ValueError, match=r"--device cpu needs .*parallelnet\[train\]"):
        open_runtime(toy_checkpoint, device="cpu")


def test_telemetry_is_off_and_torch_stays_out():
    code = (
        "import os, sys; os.environ.pop('ORT_DISABLE_TELEMETRY', None); import parallelnet.runtime as r; "
        "r._onnxruntime(); print(os.environ['ORT_DISABLE_TELEMETRY'], 'torch' in sys.modules)"
    )
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1", "False"]


def build_real(folder, kind):
    """A small real network and its checkpoint, weights only."""
    import torch

    from parallelnet.models import network, stored, variants

    hears = variants.BranchOptions("compact-speech", (4, 4), input_pool=4)
    sees = variants.BranchOptions("compact-image", (4, 4), input_pool=4)
    options = variants.NetworkOptions(
        speech=hears,
        image=None if kind == "speech" else sees,
        configuration=1 if kind == "crossed early" else 3,
        embed_dim=8,
        hidden=(6,),
    )
    torch.manual_seed(0)
    built = network.build(options, EMOTIONS).eval()
    facts = checkpoint.ModelFacts(
        name="real",
        variant="test",
        network=options.to_dict(),
        modalities=options.modalities,
        separable=options.separable,
        temperatures={"both": 0.5, "speech": 0.25, "image": 2.0},
    )
    opened = checkpoint.write(folder, facts)
    stored.save_weights(built, opened.weights)
    return built, opened


def given_to(facts):
    speech, image = signals(3)
    several = [("speech", {"speech": speech})]
    if "image" in facts.modalities:
        several += [("image", {"image": image}), ("both", {"speech": speech, "image": image})]
    return several


@pytest.mark.parametrize("kind", ["both", "crossed early", "speech"])
def test_torch_runs_the_checkpoints_weights(tmp_path, kind):
    import torch

    built, opened = build_real(tmp_path, kind)
    torch.manual_seed(1)  # so that weights which were not loaded would differ
    model = open_runtime(opened, device="cpu")
    for modalities, arrays in given_to(opened.facts):
        with torch.no_grad():
            raw = built.logits(**{name: torch.from_numpy(x) for name, x in arrays.items()}).numpy()
        # The same kernels on batches of another size: a few roundings of 6e-8 in logits of the order of 1.
        expected = raw / opened.facts.temperatures[modalities]
        np.testing.assert_allclose(model.logits(**arrays), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("again", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy])
def test_torch_models_can_be_pickled_and_copied(tmp_path, again):
    _, opened = build_real(tmp_path, "both")
    model = open_runtime(opened, device="cpu")
    speech, image = signals(3)
    expected = model.logits(speech, image)
    other = again(model)
    assert (other.device, other.classes) == ("cpu", model.classes)
    # The same kernels on the same batch.
    np.testing.assert_allclose(other.logits(speech, image), expected, atol=1e-6)


def test_torch_weights_that_are_missing_or_cut(tmp_path):
    _, opened = build_real(tmp_path, "speech")
    opened.weights.write_bytes(opened.weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model.safetensors cannot be read"):
        open_runtime(opened, device="cpu")
    opened.weights.unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        open_runtime(opened, device="cpu")


@pytest.mark.parametrize("kind", ["both", pytest.param("crossed early", marks=pytest.mark.slow)])
def test_torch_and_onnx_agree(tmp_path, kind):
    from parallelnet.models import stored

    built, opened = build_real(tmp_path, kind)
    stored.export(built, opened.facts, opened.path)
    by_onnx, by_torch = open_runtime(opened, n_threads=1), open_runtime(opened, device="cpu")
    for _, arrays in given_to(opened.facts):
        # float32 sums of up to 1e4 products in different orders: some 100 roundings of 6e-8, then over 0.25.
        np.testing.assert_allclose(by_torch.logits(**arrays), by_onnx.logits(**arrays), atol=4e-5, rtol=1e-5)
    if opened.facts.separable:
        speech, _ = signals(3)
        for left, right in zip(by_torch.speech_branches(speech), by_onnx.speech_branches(speech), strict=True):
            np.testing.assert_allclose(left, right, atol=1e-5, rtol=1e-5)
