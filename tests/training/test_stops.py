"""A training that ends in any way, at any moment, goes on to the same weights, figures and answers."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file
from torch.utils.data import get_worker_info

from parallelnet import checkpoint, cli, records
from parallelnet.data.loading import SampleDataset
from parallelnet.errors import CheckpointError, FullDiskError, InputError, OptionError, ParallelNetError, StoppedError
from parallelnet.options import PRESETS, AugmentOptions, Recipe, TrainOptions
from parallelnet.training import fit, run, watching
from parallelnet.training.learner import Learner

RECIPE = replace(
    PRESETS["compact"], epochs=3, batch_size=4, keep="best", schedule="constant", augment=AugmentOptions(noise=0.5)
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small batches on shared cores run faster, and steadier, on one thread."""
    torch.set_num_threads(1)


def options(data: Path, out: Path, **changes: Any) -> TrainOptions:
    asked: dict[str, Any] = {"variant": "ser-only", "size": "small", "accelerator": "cpu", "export": False, **changes}
    return TrainOptions(data=str(data), out=str(out), **asked)


def came_to(folder: Path) -> dict[str, Any]:
    """What a finished run came to."""
    record = json.loads((folder / run.METRICS).read_text())
    del record["seconds"]
    weights = {name: tensor.tolist() for name, tensor in load_file(folder / "checkpoint" / checkpoint.WEIGHTS).items()}
    said = json.loads((folder / run.TEST).read_text())
    return {"figures": record, "said": said, "log": fit.read_log(folder), "weights": weights}


def leaves(value: Any) -> Iterator[Any]:
    """Every name and figure of a nested record, in order."""
    if isinstance(value, dict):
        for name in sorted(value):
            yield name
            yield from leaves(value[name])
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def same(first: Path, second: Path) -> bool:
    """Whether two runs came to the same.

    One step of AdamW moves each weight by about the learning rate, 2e-3. Where tensors happen to lie in memory moves
    float32 results by about 1e-8.
    """
    found = came_to(first), came_to(second)
    for name in found[0]:
        for one, other in zip(leaves(found[0][name]), leaves(found[1][name]), strict=True):
            same = one == other if not isinstance(one, float) else one == pytest.approx(other, abs=1e-5, nan_ok=True)
            assert same, (name, one, other)
    return True


def fails(patch: pytest.MonkeyPatch, owner: Any, name: str, *, when: Callable[..., bool], error: BaseException) -> None:
    """Let a function raise instead of being called, where `when` says so of its arguments."""
    original = getattr(owner, name)

    def called(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            raise error
        return original(*args, **kwargs)

    patch.setattr(owner, name, called)


def written(name: str) -> Callable[..., bool]:
    return lambda target, *_, **__: target.name == name


def always(*_: Any, **__: Any) -> bool:
    return True


MOMENTS: list[tuple[Any, str, Callable[..., bool]]] = [
    (records, "write_json", written(run.OPTIONS)),
    (records, "write_whole", written(watching.FIGURES)),  # the first epoch is over, and nothing of it is kept
    (records, "write_whole", written(fit.BEST)),
    (records, "write_whole", written(fit.LAST)),  # the best epoch is kept, the last is not
    (Learner, "training_step", lambda self, batch, index: (self.current_epoch, index) == (1, 1)),
    (Path, "replace", lambda self, target: self.name == fit.LAST),  # the new state is to come, no name has changed
    (records, "write_whole", lambda target, *_: target.name == fit.LAST and target.with_name(fit.BEFORE).is_file()),
    (Learner, "validation_step", lambda self, batch, index: self.current_epoch == 2),
    (run, "calibrate", always),
    (run, "report", always),
    (records, "write_whole", written(checkpoint.WEIGHTS)),
    (records, "write_whole", written("README.md")),
    (records, "write_whole", written(checkpoint.MODEL_JSON)),
    (run.plots, "save_training_curves", always),
    (records, "write_json", written(run.TEST)),
    (records, "write_json", written(run.METRICS)),
    (run.shutil, "rmtree", always),
]


def test_stopped_at_every_step_it_comes_to_the_same(pairs: Path, tmp_path: Path) -> None:
    run.train(options(pairs, tmp_path / "whole"), RECIPE, quiet=True)
    asked = options(pairs, tmp_path / "cut", resume=True)
    for owner, name, when in MOMENTS:
        with pytest.MonkeyPatch.context() as patch:
            fails(patch, owner, name, when=when, error=StoppedError(signal.SIGTERM))
            with pytest.raises(StoppedError) as caught:
                run.train(asked, RECIPE, quiet=True)
            assert caught.value.number == signal.SIGTERM
        assert not list((tmp_path / "cut").rglob("*.partial"))
        assert not (tmp_path / "cut" / records.LOCK).exists()
    assert (tmp_path / "cut" / fit.STATE).is_dir()  # it was stopped while it was removed
    run.train(asked, RECIPE, quiet=True)
    assert same(tmp_path / "whole", tmp_path / "cut")
    assert not (tmp_path / "cut" / fit.STATE).exists()


def test_stopped_after_an_early_stop_it_trains_no_more(pairs: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=9, early_stopping=1, optimizer="sgd", learning_rate=3.0, ema=0.0)
    run.train(options(pairs, tmp_path / "whole"), recipe, quiet=True)
    n_epochs = json.loads((tmp_path / "whole" / run.METRICS).read_text())["epochs"]
    assert n_epochs == len(fit.read_log(tmp_path / "whole")) < 9
    asked = options(pairs, tmp_path / "cut", resume=True)
    with pytest.MonkeyPatch.context() as patch:
        fails(patch, run, "calibrate", when=always, error=KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run.train(asked, recipe, quiet=True)
    run.train(asked, recipe, quiet=True)
    assert same(tmp_path / "whole", tmp_path / "cut")


@pytest.fixture
def cut(pairs: Path, tmp_path: Path) -> TrainOptions:
    """A run of which two of three epochs are finished."""
    asked = options(pairs, tmp_path / "cut", resume=True)
    with pytest.MonkeyPatch.context() as patch:
        fails(
            patch,
            Learner,
            "training_step",
            when=lambda self, batch, index: self.current_epoch == 2,
            error=KeyboardInterrupt(),
        )
        with pytest.raises(KeyboardInterrupt):
            run.train(asked, RECIPE, quiet=True)
    return asked


def test_gone_on_with_data_workers_it_draws_what_it_would_have_drawn(
    pairs: Path, tmp_path: Path, cut: TrainOptions
) -> None:
    run.train(options(pairs, tmp_path / "whole"), RECIPE, quiet=True)
    run.train(replace(cut, workers=1), RECIPE, quiet=True)  # workers get the first batches before training begins
    assert same(tmp_path / "whole", tmp_path / "cut")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize("damage", [flip, cut_off, Path.unlink])
def test_a_damaged_state_is_told_and_the_one_before_goes_on(
    cut: TrainOptions, pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    state = Path(cut.out) / fit.STATE
    damage(state / fit.LAST)
    run.train(cut, RECIPE, quiet=True)
    told = [message for message in caplog.messages if "is damaged; going on from the epoch before it" in message]
    assert len(told) == (damage is not Path.unlink)
    run.train(options(pairs, tmp_path / "whole"), RECIPE, quiet=True)
    assert same(tmp_path / "whole", Path(cut.out))


@pytest.mark.parametrize("damaged", [(fit.LAST, fit.BEFORE), (fit.BEST,)])
def test_where_no_whole_state_is_left_it_is_refused_and_nothing_is_trained(
    cut: TrainOptions, damaged: tuple[str, ...]
) -> None:
    state = Path(cut.out) / fit.STATE
    for name in damaged:
        flip(state / name)
    with pytest.raises(CheckpointError, match=rf"{damaged[0]} is damaged, .* Mend: remove {state}, and the same line"):
        run.train(cut, RECIPE, quiet=True)
    assert len(fit.read_log(Path(cut.out))) == 2


def test_a_full_disk_is_one_line_and_keeps_the_epochs_before(pairs: Path, tmp_path: Path) -> None:
    asked = options(pairs, tmp_path / "cut", resume=True)
    for name in (fit.LAST, watching.FIGURES, run.METRICS):
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        n_before = len(list((tmp_path / "cut").rglob("*.ckpt")))
        with pytest.MonkeyPatch.context() as patch:
            fails(patch, records, "write_whole", when=written(name), error=full)
            with pytest.raises(FullDiskError, match=r"^The disk is full: .* the same line with --resume goes on\.$"):
                run.train(asked, RECIPE, quiet=True)
        assert len(list((tmp_path / "cut").rglob("*.ckpt"))) >= n_before
    run.train(asked, RECIPE, quiet=True)
    run.train(options(pairs, tmp_path / "whole"), RECIPE, quiet=True)
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_states_are_written_whole_and_the_one_before_is_kept(tmp_path: Path) -> None:
    keeper = fit.WholeStates()
    last = tmp_path / "state" / fit.LAST
    for epoch in range(3):
        keeper.save_checkpoint({"epoch": epoch}, last)
    assert [keeper.load_checkpoint(last.with_name(name))["epoch"] for name in (fit.BEFORE, fit.LAST)] == [1, 2]
    with pytest.MonkeyPatch.context() as patch:
        fails(patch, os, "fsync", when=always, error=OSError(errno.ENOSPC, "full"))
        with pytest.raises(OSError, match="full"):
            keeper.save_checkpoint({"epoch": 3}, last)
    assert [path.name for path in last.parent.iterdir()] == [fit.BEFORE]
    assert fit.resumable(last.parent, keep_best=False) == last
    assert keeper.load_checkpoint(last)["epoch"] == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"seed": 0'])
def test_half_written_options_are_one_line(cut: TrainOptions, text: str) -> None:
    (Path(cut.out) / run.OPTIONS).write_text(text)
    with pytest.raises(OptionError, match=r"options\.json is damaged \(.*Mend: another --out"):
        run.train(cut, RECIPE, quiet=True)


def test_one_process_trains_in_a_folder(cut: TrainOptions) -> None:
    with records.held(Path(cut.out)), pytest.raises(ParallelNetError, match=r"Another process writes to .*cut"):
        run.train(cut, RECIPE, quiet=True)


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def reads_nothing() -> None:
    raise InputError("Sample 'a': Speech 'a.wav' does not exist. Mend: check the path.")


@pytest.mark.parametrize(
    ("happens", "kind", "told"),
    [
        (dies, ParallelNetError, r"^A data worker died: .* Mend: fewer --workers, or more memory\.$"),
        (reads_nothing, InputError, r"^Sample 'a': Speech 'a.wav' does not exist\. Mend: check the path\.$"),
    ],
)
def test_what_happens_in_a_data_worker_is_one_line(
    pairs: Path, tmp_path: Path, happens: Callable[[], None], kind: type[Exception], told: str
) -> None:
    original = SampleDataset.__getitem__

    def item(self: SampleDataset, index: tuple[int, int | None]) -> Any:
        if get_worker_info() is not None:
            happens()
        return original(self, index)

    asked = options(pairs, tmp_path / "run", workers=1, resume=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SampleDataset, "__getitem__", item)
        with pytest.raises(kind, match=told):
            run.train(asked, replace(RECIPE, epochs=1), quiet=True)
    run.train(asked, replace(RECIPE, epochs=1), quiet=True)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
@pytest.mark.parametrize("where", [(Learner, "training_step"), (run, "report")])
def test_used_up_memory_is_one_line(pairs: Path, tmp_path: Path, error: Exception, where: tuple[Any, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fails(patch, *where, when=always, error=error)
        with pytest.raises(ParallelNetError, match=r"^Memory is used up \(.*Mend: a smaller --batch-size"):
            run.train(options(pairs, tmp_path / "run"), replace(RECIPE, epochs=1), quiet=True)


def test_json_is_all_that_stands_on_standard_output(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(pairs), "--out", str(tmp_path / "run"), "--variant", "ser-only", "--size", "small"]
    status = cli.main(["train", *arguments, "--epochs", "2", "--accelerator", "cpu", "--no-export", "--json"])
    out, error = capsys.readouterr()
    assert status == 0
    assert json.loads(out)["out"] == str(tmp_path / "run")
    assert [line.partition(":")[0] for line in error.splitlines()] == ["epoch 1 of 2", "epoch 2 of 2"]


def test_handlers_of_signals_are_left_as_they_were(pairs: Path, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    seen = []

    def look(self: ModelCheckpoint, *_: Any) -> None:
        seen.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)])
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelCheckpoint, "on_train_epoch_end", look)
        with pytest.raises(KeyboardInterrupt):
            run.train(options(pairs, tmp_path / "run"), RECIPE, quiet=True)
    assert seen == [before]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.slow  # starts torch in three processes: 30 s
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_command_with_its_number_and_its_workers(pairs: Path, tmp_path: Path, number: int) -> None:
    out = tmp_path / "run"
    arguments = ["--data", str(pairs), "--out", str(out), "--variant", "ser-only", "--size", "small", "--epochs", "500"]
    command = [sys.executable, "-m", "parallelnet", "train", *arguments, "--accelerator", "cpu", "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 120
        while not (out / "state" / fit.LAST).is_file() and time.monotonic() < end:
            time.sleep(0.1)
        process.send_signal(number)
        stdout, error = process.communicate(timeout=60)
    finally:
        process.kill()
    lines = [line for line in error.splitlines() if not line.startswith("epoch ")]
    told = "what is finished is kept; the same command line with --resume goes on from here."
    assert (process.returncode, stdout) == (128 + number, "")
    assert lines == [f"parallelnet: stopped by {signal.Signals(number).name}: {told}"]
    assert fit.is_whole(out / "state" / fit.LAST)
    assert not (out / records.LOCK).exists()
    children = subprocess.run(["pgrep", "-f", str(out)], capture_output=True, text=True).stdout
    assert children == ""


def test_recipe_has_what_can_go_wrong() -> None:
    assert isinstance(RECIPE, Recipe)
    assert RECIPE.ema
    assert RECIPE.modality_dropout
    assert RECIPE.augment.any
