"""The game on networks, against plain loops over `logits`, and against what `predict` says."""

import importlib.util
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from parallelnet import audio, predictor
from parallelnet.errors import CheckpointError, InputError
from parallelnet.explanation import game as game_module
from parallelnet.explanation.estimators import EXPLAINERS
from parallelnet.explanation.game import NetworkGame
from parallelnet.explanation.parts import Budget
from parallelnet.explanation.players import Players, grid_division, grid_owners, image_players, speech_division
from parallelnet.runtime import open_runtime

# Test folders are no packages (importlib mode), so what two of them share is loaded by its path.
_spec = importlib.util.spec_from_file_location(
    "checkpoint_fixture", Path(__file__).parents[1] / "checkpoint_fixture.py"
)
fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fixtures)
toy, toy_checkpoint, make_checkpoint = fixtures.toy, fixtures.toy_checkpoint, fixtures.make_checkpoint

# Logits of the float32 graphs hang on the size of the batch by some 1e-6 (sums of 49,152 products of 0.01, times values
# of up to 30; see test_runtime), and a probability moves by at most a quarter of what its logit does.
FLOAT32 = 1e-5
LONG = 230  # frames: windows at 0, 64, 102


def speech_signal(n, n_frames=128, n_own=None, seed=1):
    """Random speech of n units over its first `n_own` frames, its baseline random as well."""
    rng = np.random.default_rng(seed)
    n_own = n_own or n_frames
    owners = np.full((128, n_frames), -1, np.int16)
    owners[:, :n_own] = np.arange(n_own) * n // n_own
    mel, baseline = rng.random((2, 128, n_frames), np.float32)
    return Players(owners, n, speech_division(n), mel[None], baseline[None], audio.window_starts(n_frames))


def image_signal(rows, columns, seed=2):
    pixels, baseline = np.random.default_rng(seed).random((2, 3, 128, 128), np.float32)
    return Players(grid_owners(rows, columns), rows * columns, grid_division(rows, columns), pixels, baseline)


def some_masks(n, count=6, seed=3):
    masks = np.random.default_rng(seed).random((count, n)) < 0.5
    masks[0], masks[1] = False, True
    return masks


def masked(signal, baseline, owners, mask):
    """The plain way: cell by cell of one player after the other."""
    found = signal.copy()
    for player in np.flatnonzero(~mask):
        found[..., owners == player] = baseline[..., owners == player]
    return found


def plain_table(model, speech, image, speech_masks, image_masks, columns):
    """Mean probabilities over the windows, one pass of the whole network for each pairing."""
    found = np.zeros((len(speech_masks), len(image_masks), len(columns)))
    for (s, own), (i, seen) in itertools.product(enumerate(speech_masks), enumerate(image_masks)):
        mel = None if speech is None else masked(speech.signal, speech.baseline, speech.owners, own)
        pixels = None if image is None else masked(image.signal, image.baseline, image.owners, seen)[None]
        cuts = [None] if mel is None else [mel[None, ..., at : at + 128] for at in speech.starts]
        for cut in cuts:
            raised = np.exp(model.logits(cut, pixels)[0, columns].astype(np.float64))
            found[s, i] += raised / raised.sum() / len(cuts)
    return found


ABSENT = np.zeros((1, 0), np.bool_)
KINDS = {
    "pair": (speech_signal(5, n_own=100), image_signal(2, 3)),
    "long": (speech_signal(6, LONG), image_signal(2, 2)),
    "speech": (speech_signal(4), None),
    "long speech": (speech_signal(7, LONG), None),
    "image": (None, image_signal(2, 3)),
}


def masks_of(speech, image, count=6):
    return tuple(ABSENT if own is None else some_masks(own.n, count) for own in (speech, image))


@pytest.fixture(scope="module")
def model(toy_checkpoint):
    return open_runtime(toy_checkpoint)


@pytest.mark.parametrize("columns", [[0, 1, 2, 3], [3, 1]])
@pytest.mark.parametrize("kind", KINDS)
def test_table_is_that_of_plain_loops(model, kind, columns):
    speech, image = KINDS[kind]
    masks = masks_of(speech, image)
    game = NetworkGame(model, speech, image, columns=columns)
    found = game.table(*masks)
    assert found.dtype == np.float64
    expected = plain_table(model, speech, image, *masks, columns)
    np.testing.assert_allclose(found, expected, atol=FLOAT32)
    assert np.ptp(expected, axis=(0, 1)).max() > 0.01  # or any masks would do
    # The features are kept, but the head takes its rows in another order: other rows fall into a kernel's last block.
    np.testing.assert_allclose(game.table(masks[0][::-1], masks[1]), found[::-1], atol=FLOAT32)


@pytest.mark.parametrize("kind", ["pair", "long", "speech"])
def test_networks_that_cross_early_take_joint_passes(make_checkpoint, kind):
    crossed = open_runtime(make_checkpoint(separable=False, temperatures={"both": 2.0, "speech": 5.0}))
    speech, image = KINDS[kind]
    masks = masks_of(speech, image, 4)
    game = NetworkGame(crossed, speech, image, columns=range(4))
    expected = plain_table(crossed, speech, image, *masks, range(4))
    np.testing.assert_allclose(game.table(*masks), expected, atol=FLOAT32)
    n_windows = len(speech.starts)
    if n_windows == 1:
        assert game.budget == Budget(joint_passes=len(masks[0]) * len(masks[1]))
    else:
        assert 0 < game.budget.joint_passes <= n_windows * len(masks[0]) * len(masks[1])
        assert (game.budget.n_windows, game.budget.speech_passes) == (n_windows, 0)


@pytest.mark.parametrize("name", ["speech", "image"])
def test_networks_of_one_modality(make_checkpoint, name):
    single = open_runtime(make_checkpoint(modalities=(name,)))
    speech, image = (KINDS["pair"][0], None) if name == "speech" else (None, KINDS["pair"][1])
    masks = masks_of(speech, image)
    found = NetworkGame(single, speech, image, columns=range(4)).table(*masks)
    np.testing.assert_allclose(found, plain_table(single, speech, image, *masks, range(4)), atol=FLOAT32)


def test_torch_runs_the_game(tmp_path):
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("test_runtime", Path(__file__).parents[1] / "test_runtime.py")
    runtime_tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runtime_tests)
    _, opened = runtime_tests.build_real(tmp_path, "both")
    by_torch = open_runtime(opened, device="cpu")
    speech, image = KINDS["pair"]
    masks = masks_of(speech, image, 3)
    found = NetworkGame(by_torch, speech, image, columns=range(4)).table(*masks)
    np.testing.assert_allclose(found, plain_table(by_torch, speech, image, *masks, range(4)), atol=FLOAT32)


# --- what predict says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [(), ("happy", "sad", "anger")])
@pytest.mark.parametrize("seconds", [2, 9])
@pytest.mark.parametrize("kind", ["both", "speech", "image"])
@pytest.mark.parametrize("method", ["owen", "exact"])
def test_full_value_is_what_predict_says(toy_checkpoint, tone, picture, method, kind, seconds, labels):
    opened = predictor.load(toy_checkpoint.path, labels=labels, face="off")
    wave = np.tile(tone, -(-seconds // 2))[: 16_000 * seconds] * np.linspace(1, 0.1, 16_000 * seconds, dtype=np.float32)
    pixels, _ = predictor.image.signal(picture, opened.signals)
    said = opened.predict(
        wave if kind != "image" else None, picture if kind != "speech" else None, sample_rate_hz=16_000
    )
    speech = image = None
    if kind != "image":
        mel = audio.log_mel_for_windows(
            wave[audio.trim_slice(wave)] if opened.signals.trim else wave, opened.signals.clip_s
        )
        owners = np.repeat(np.arange(mel.shape[1])[None] * 3 // mel.shape[1], 128, axis=0).astype(np.int16)
        starts = audio.window_starts(mel.shape[1])
        assert len(starts) == said.n_windows
        speech = Players(owners, 3, speech_division(3), mel[None], np.zeros_like(mel[None]), starts)
    if kind != "speech":
        image = image_players(pixels, grid_owners(1, 2), (1, 2))
    columns = [opened.facts.classes.index(name) for name in opened.classes]
    game = NetworkGame(opened.model, speech, image, columns=columns)
    found = EXPLAINERS[method](game, n_samples=2, seed=0)
    np.testing.assert_allclose(found.corners[1, 1], list(said.probs.values()), atol=FLOAT32)
    whole = found.corners[1, 1] - found.corners[0, 0]
    # Eq. 5, to the 1e-6; the methods themselves are tested to rounding.
    np.testing.assert_allclose(found.speech.sum(0) + found.image.sum(0), whole, atol=1e-6)
    log_odds = NetworkGame(opened.model, speech, image, columns=columns, score="log-odds")
    p = np.array(list(said.probs.values()))
    full = EXPLAINERS[method](log_odds, n_samples=2, seed=0).corners[1, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(-full)), p, atol=FLOAT32)


def test_log_odds_stay_finite_and_keep_their_digits():
    """Probabilities that float64 rounds to 1, and to 0, from logits that are far apart."""

    class Sure:
        separable = False

        def logits(self, speech, image, *, modalities):
            return np.array([[50.0, 0, -3000]] * len(speech), np.float32)

    game = NetworkGame(Sure(), speech_signal(1), None, columns=range(3), score="log-odds")
    scores = game.table(np.ones((1, 1), np.bool_), ABSENT)[0, 0]
    # p / (1 - p) of two classes is e^50; the third's probability is below the smallest float64, 2.2e-308: log -708.4.
    np.testing.assert_allclose(scores, [50, -50, -708.4], atol=0.01)


# --- what it costs ----------------------------------------------------------------------------------------------------


class Counting:
    """A model that notes the rows of every call, and fails on more than it has memory for."""

    def __init__(self, model, most=None, error=None):
        self.model, self.most, self.error = model, most or {}, error
        self.separable = model.separable
        self.rows = {"speech": [], "image": [], "head": [], "joint": []}

    def _run(self, part, n, compute):
        if n > self.most.get(part, n):
            raise self.error
        self.rows[part].append(n)
        return compute()

    def speech_branches(self, x):
        return self._run("speech", len(x), lambda: self.model.speech_branches(x))

    def image_branches(self, x):
        return self._run("image", len(x), lambda: self.model.image_branches(x))

    def head(self, speech, image, *, modalities):
        n = len((speech or image)[0])
        return self._run("head", n, lambda: self.model.head(speech, image, modalities=modalities))

    def logits(self, speech, image, *, modalities):
        return self._run("joint", len(speech), lambda: self.model.logits(speech, image, modalities=modalities))

    def total(self):
        return {part: sum(rows) for part, rows in self.rows.items()}


@pytest.mark.parametrize(
    ("method", "n", "grid", "passes", "head"),
    [
        ("owen", 16, (4, 4), 172, 684),
        ("paper", 16, (4, 4), 32, 64),
        pytest.param("exact", 8, (2, 4), 256, 2**16, id="exact"),
    ],
)
def test_budget_of_one_window_is_what_was_run(model, method, n, grid, passes, head):
    counting = Counting(model)
    game = NetworkGame(counting, speech_signal(n), image_signal(*grid), columns=range(4))
    EXPLAINERS[method](game, n_samples=2, seed=0)
    assert game.budget == Budget(passes, passes, 0, 0, head, 1)
    assert counting.total() == {"speech": passes, "image": passes, "head": head, "joint": 0}


@pytest.mark.parametrize(("kind", "passes"), [("speech", (12, 0)), ("image", (0, 28))])
def test_a_modality_that_is_not_there_costs_nothing(model, kind, passes):
    counting = Counting(model)
    game = NetworkGame(counting, *KINDS[kind], columns=range(4))
    EXPLAINERS["owen"](game, n_samples=2, seed=0)
    assert (game.budget.speech_passes, game.budget.image_passes, game.budget.passes_saved) == (*passes, 0)
    assert (counting.total()["speech"], counting.total()["image"]) == passes


def test_windows_share_the_picture_and_what_is_the_same_in_them(model):
    speech, image = speech_signal(6, LONG), image_signal(2, 2)
    counting = Counting(model)
    game = NetworkGame(counting, speech, image, columns=range(4))
    EXPLAINERS["exact"](game, n_samples=2, seed=0)
    # Units of 38 or 39 frames; the windows at 0, 64 and 102 of 128 frames see units 0 to 3, 1 to 4 and 2 to 5.
    ran = 3 * 2**4
    assert game.budget == Budget(64 * 3, 16 * 3, 64 * 3 + 16 * 3 - ran - 16, 0, ran * 16, 3)
    assert counting.total() == {"speech": ran, "image": 16, "head": ran * 16, "joint": 0}


def test_what_was_asked_before_is_not_run_again(model):
    speech, image = KINDS["pair"]
    counting = Counting(model)
    game = NetworkGame(counting, speech, image, columns=range(4))
    masks, more = masks_of(speech, image), some_masks(5, 9, seed=8)
    first = game.table(*masks)
    before = counting.total()
    np.testing.assert_array_equal(game.table(*masks), first)
    assert {part: counting.total()[part] - before[part] for part in ("speech", "image")} == {"speech": 0, "image": 0}
    game.table(np.concatenate([more, masks[0], more]), masks[1])
    distinct = len(np.unique(np.concatenate([more, masks[0]]), axis=0))
    assert counting.total()["speech"] == game.budget.speech_passes == distinct
    np.testing.assert_array_equal(game.table(*masks), first)  # the features moved, and stayed the same
    assert game.table(masks[0][:0], masks[1]).shape == (0, 6, 4)


# --- memory -----------------------------------------------------------------------------------------------------------


def chained(error):
    """The error as the runtime passes it on."""
    wrapped = CheckpointError(f"The image graph failed on (32, 3, 128, 128) ({str(error).splitlines()[0]}).")
    wrapped.__cause__ = error
    return wrapped


# What they say when memory runs out, seen with onnxruntime 1.32 and torch 2.15 under a limit of address space.
ORT = RuntimeError(
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. Name:'relu_4_nchwc' Status "
    "Message: bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "
    "Failed to allocate memory for requested buffer of size 134217728\n"
)
TORCH_CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000 bytes. Error code 12 (Cannot allocate memory)"
)
TORCH_GPU = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
OUT_OF_MEMORY = [MemoryError(), chained(ORT), chained(RuntimeError("std::bad_alloc")), TORCH_CPU, TORCH_GPU]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:40] or "MemoryError")
def test_batches_shrink_when_memory_runs_out(model, error):
    speech, image = speech_signal(16), image_signal(4, 4)
    tight = Counting(model, {"speech": 5, "image": 3, "head": 100}, error)
    found = EXPLAINERS["owen"](NetworkGame(tight, speech, image, columns=range(4)), n_samples=2, seed=0)
    roomy = EXPLAINERS["owen"](NetworkGame(model, speech, image, columns=range(4)), n_samples=2, seed=0)
    np.testing.assert_allclose(found.speech, roomy.speech, atol=FLOAT32)
    np.testing.assert_allclose(found.image, roomy.image, atol=FLOAT32)
    assert tight.total() == {"speech": 172, "image": 172, "head": 684, "joint": 0}
    assert (max(tight.rows["image"]), max(tight.rows["head"])) == (2, 85)  # 4 of speech, halved; 340 head rows, twice


def test_joint_passes_shrink_too(make_checkpoint):
    crossed = open_runtime(make_checkpoint(separable=False))
    tight = Counting(crossed, {"joint": 3}, MemoryError())
    speech, image = KINDS["pair"]
    masks = masks_of(speech, image, 4)
    found = NetworkGame(tight, speech, image, columns=range(4)).table(*masks)
    np.testing.assert_allclose(found, plain_table(crossed, speech, image, *masks, range(4)), atol=FLOAT32)
    assert max(tight.rows["joint"]) == 2


def test_one_row_that_does_not_fit_is_said(model):
    tight = Counting(model, {"image": 0}, MemoryError())
    speech, image = KINDS["pair"]
    game = NetworkGame(tight, speech, image, columns=range(4))
    with pytest.raises(InputError, match=r"Memory ran out on a single masked input\. Mend: "):
        game.table(*masks_of(speech, image))
    tight.most = {}  # and nothing is left half done
    found = game.table(*masks_of(speech, image))
    np.testing.assert_allclose(
        found, plain_table(model, speech, image, *masks_of(speech, image), range(4)), atol=FLOAT32
    )


def test_other_failures_come_through(model):
    broken = Counting(model, {"speech": 4}, CheckpointError("The model gave numbers that are not finite."))
    speech, image = KINDS["pair"]
    with pytest.raises(CheckpointError, match="not finite"):
        NetworkGame(broken, speech, image, columns=range(4)).table(*masks_of(speech, image))
    assert broken.rows["speech"] == []


def test_little_memory_makes_small_batches(model):
    small, large = Counting(model), Counting(model)
    speech, image = speech_signal(8), image_signal(2, 4)
    tables = [
        EXPLAINERS["exact"](NetworkGame(each, speech, image, columns=range(4), memory_mb=mb), n_samples=2, seed=0)
        for each, mb in ((small, 16), (large, 1024))
    ]
    np.testing.assert_allclose(tables[0].interactions, tables[1].interactions, atol=FLOAT32)
    assert (max(small.rows["image"]), max(large.rows["image"])) == (8, 32)  # a quarter of 16 MB, at 0.5 MB an input
    assert max(large.rows["head"]) == 4096


@pytest.mark.parametrize(
    ("method", "n", "grid", "memory_mb", "texts"),
    [
        (
            "exact",
            16,
            (4, 4),
            1024,
            [
                r"--method exact of 16 speech parts \(65,536 masks\) and 16 picture parts \(65,536 masks\)",
                r"takes 4,294,967,296 head evaluations \(allowed: 67,108,864\)\. Mend",  # memory would do: not named
                r"Mend: --method owen or --method sampled, or fewer parts\.$",
            ],
        ),
        ("exact", 16, (1, 2), 16, [r"takes 3\d MB \(allowed: --memory-mb 16\)\."]),
        ("exact", 4, (128, 128), 1024, [r"some 10\^4932 masks", r"Mend: --method owen"]),
        ("owen", 4, (128, 128), 1024, [r"178,956,972 masks", r"Mend: --method sampled"]),
        ("sampled", 100, (4, 4), 16, ["Mend: a smaller --n-samples"]),
        ("paper", 2, (128, 128), 64, ["Mend: fewer parts"]),
    ],
)
def test_what_does_not_fit_is_refused_with_its_number(model, method, n, grid, memory_mb, texts):
    counting = Counting(model)
    game = NetworkGame(counting, speech_signal(n), image_signal(*grid), columns=range(4), memory_mb=memory_mb)
    with pytest.raises(InputError) as caught:
        EXPLAINERS[method](game, n_samples=400, seed=0)
    for text in texts:
        assert re.search(text, str(caught.value)), str(caught.value)
    assert counting.total() == {"speech": 1, "image": 1, "head": 0, "joint": 0}  # to learn how large features are


def test_joint_passes_have_a_limit_of_their_own(make_checkpoint, monkeypatch):
    crossed = open_runtime(make_checkpoint(separable=False))
    game = NetworkGame(crossed, speech_signal(4), image_signal(2, 3), columns=range(4))
    monkeypatch.setattr(game_module, "_MOST_JOINT_PASSES", 1000)
    with pytest.raises(InputError, match=r"takes 1,024 passes \(allowed: 1,000\)\."):
        EXPLAINERS["exact"](game, n_samples=2, seed=0)
    assert game.budget.joint_passes == 0


def test_masks_of_another_size_are_a_mistake(model):
    game = NetworkGame(model, *KINDS["pair"], columns=range(4))
    with pytest.raises(AssertionError, match="masks of shape"):
        game.table(some_masks(4), some_masks(6))
