"""Local processes here; Ray clusters are slow to start, so what needs one is marked so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parallelnet.datasets.executors import EXECUTORS, THREAD_VARIABLES, LocalExecutor
from parallelnet.errors import CheckpointError, MissingExtraError, ParallelNetError


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module of jobs, importable in worker processes too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import executor_jobs

    return executor_jobs


def alive(pid: int) -> bool:
    """Return whether a process runs; one that ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_every_task_comes_out_once_and_a_process_opens_the_job_once(jobs: Any) -> None:
    with EXECUTORS["local"](2, None) as executor:
        outcomes = list(executor.run(jobs.Square(), range(9)))

    assert sorted(square for square, *_ in outcomes) == [n * n for n in range(9)]
    processes = {pid for _, pid, _, _ in outcomes}
    assert 1 <= len(processes) <= 2
    assert os.getpid() not in processes
    # Each process counts on from its first task: it opened the job once.
    for pid in processes:
        counts = [count for _, at, count, _ in outcomes if at == pid]
        assert counts == list(range(1, len(counts) + 1))
    assert {threads for *_, threads in outcomes} == {1}
    until(lambda: not any(map(alive, processes)))


def test_the_processes_of_one_run_do_the_next_as_well(jobs: Any) -> None:
    with LocalExecutor(1) as executor:
        ((_, first, *_),) = executor.run(jobs.Square(), [1])
        ((_, second, n_opened, _),) = executor.run(jobs.Square(), [2])
        assert list(executor.run(jobs.Fail(), ["fine"])) == ["fine"]  # another job
        ((_, third, again, _),) = executor.run(jobs.Square(), [3])

    assert first == second == third
    assert (n_opened, again) == (2, 1)  # opened anew once another job was in between


def test_the_callers_environment_is_as_before(jobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}

    with LocalExecutor(1) as executor:
        assert [square for square, *_ in executor.run(jobs.Square(), [5])] == [25]

    assert {name: os.environ.get(name) for name in THREAD_VARIABLES} == before


def test_without_tasks_no_process_is_started(jobs: Any) -> None:
    with LocalExecutor(2) as executor:
        assert list(executor.run(jobs.FailToOpen(), [])) == []


def test_what_a_task_raises_is_raised(jobs: Any) -> None:
    def outcome(how: str) -> list[Any]:
        with LocalExecutor(1) as executor:
            return list(executor.run(jobs.Fail(), [how]))

    with pytest.raises(CheckpointError, match=r"^weights are cut$"):
        outcome("caller's")
    with pytest.raises(MissingExtraError, match=r'^Speaking needs .* pip install "parallelnet\[tts\]"$'):
        outcome("missing")
    with pytest.raises(OSError, match="No space left on device") as caught:
        outcome("disk")
    assert caught.value.filename == "/x/y"
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: by 0[\s\S]*in _fail"):
        outcome("defect")
    with pytest.raises(RuntimeError, match=r"AttributeError|PicklingError"):
        outcome("unpicklable")
    with pytest.raises(CheckpointError, match="no such teacher"), LocalExecutor(1) as executor:
        list(executor.run(jobs.FailToOpen(), [0]))


def test_a_worker_that_dies_is_named_with_its_signal(jobs: Any) -> None:
    expected = r"ended by signal SIGKILL \(out of memory.*its task, task killed, twice.*start the same command"
    with pytest.raises(ParallelNetError, match=expected), LocalExecutor(1) as executor:
        list(executor.run(jobs.Fail(), ["fine", "killed"]))


def test_a_task_whose_worker_died_once_is_done_by_another(jobs: Any, tmp_path: Path, caplog: Any) -> None:
    with LocalExecutor(2) as executor:
        assert sorted(executor.run(jobs.KillOnce(str(tmp_path / "mark")), range(5))) == list(range(5))
    assert "SIGKILL" in caplog.text
    assert "that is tried once more" in caplog.text


def test_when_one_fails_the_others_are_ended(jobs: Any, tmp_path: Path) -> None:
    with LocalExecutor(2) as executor:
        running = executor.run(jobs.Linger(str(tmp_path), 0.0), range(4))
        next(running)
        running.close()

    workers = {int(path.suffix[1:]) for path in tmp_path.iterdir() if path.suffix != ".partial"}
    assert workers
    assert not any(map(alive, workers))


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start without it
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import executor_jobs
from parallelnet.datasets.executors import LocalExecutor
if __name__ == "__main__":
    with LocalExecutor(2) as executor:
        print(list(executor.run(executor_jobs.Linger(sys.argv[2], 60.0), range(2))))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "ctrl-c"])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    told = tmp_path / "told"
    told.mkdir()
    command = [sys.executable, str(script), str(Path(__file__).parent), str(told)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:

        def working() -> list[int]:
            return [int(path.suffix[1:]) for path in told.iterdir() if path.suffix != ".partial"]

        until(lambda: len(working()) == 2, 60)
        workers = working()
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does: to the workers as well
        else:
            process.kill()
        assert process.wait(20) != 0
        assert process.stderr is not None
        errors = process.stderr.read().decode()
    until(lambda: not any(map(alive, workers)))
    if how == signal.SIGINT:
        assert errors.count("KeyboardInterrupt") == 1, errors  # of the coordinator alone


def test_ray_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"parallelnet\[ray\]"):
        EXECUTORS["ray"](1, None)


# --- Ray: a real cluster of two nodes on this machine -----------------------------------------------------------------


@pytest.fixture
def cluster(jobs: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a cluster of two nodes with one core each; not the one that the driver joins may be removed."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(jobs.__file__).parent), prepend=os.pathsep)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        made.second = made.add_node(num_cpus=1)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_works_on_both_nodes_and_goes_on_when_one_dies(cluster: Any, jobs: Any) -> None:
    with EXECUTORS["ray"](0, cluster.address) as executor:
        assert executor.n_workers == 2
        outcomes = []
        for outcome in executor.run(jobs.Where(1.0), range(12)):
            outcomes.append(outcome)
            if len(outcomes) == 4:
                cluster.remove_node(cluster.second, allow_graceful=False)

    assert sorted(task for task, _ in outcomes) == list(range(12))
    nodes = [node for _, node in outcomes]
    assert len(set(nodes)) == 2, "only one node was used: its death would prove nothing"
    assert len(set(nodes[-4:])) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_raises_what_a_task_raises(cluster: Any, jobs: Any) -> None:
    def outcome(how: str) -> list[Any]:
        return list(executor.run(jobs.Fail(), [how]))

    with EXECUTORS["ray"](1, cluster.address) as executor:
        assert [square for square, *_ in executor.run(jobs.Square(), [7])] == [49]
        assert {threads for *_, threads in executor.run(jobs.Square(), range(3))} == {1}
        with pytest.raises(CheckpointError, match=r"^weights are cut$"):
            outcome("caller's")
        with pytest.raises(MissingExtraError, match=r"^Speaking needs"):
            outcome("missing")
        with pytest.raises(OSError, match="No space left on device"):
            outcome("disk")
        with pytest.raises(RuntimeError, match=r"ZeroDivisionError: by 0[\s\S]*in _fail"):
            outcome("defect")
        with pytest.raises(ParallelNetError, match="could not do a task"):
            outcome("killed")


@pytest.mark.slow
def test_ray_that_cannot_be_joined_is_said() -> None:
    pytest.importorskip("ray")
    with pytest.raises(ParallelNetError, match=r"No Ray cluster .* --ray-address 127\.0\.0\.1:9"):  # noqa: SIM117
        with EXECUTORS["ray"](1, "127.0.0.1:9"):
            pass


RAY_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import executor_jobs
from parallelnet.datasets.executors import EXECUTORS
if __name__ == "__main__":
    with EXECUTORS["ray"](1, None) as executor:
        print(sorted(square for square, *_ in executor.run(executor_jobs.Square(), range(3))))
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_ray_on_this_machine_talks_to_nobody_else(tmp_path: Path) -> None:
    """Ray asks the metadata services of three clouds when a cluster starts, unless it is kept from that."""
    pytest.importorskip("ray")
    script, trace = tmp_path / "script.py", tmp_path / "trace"
    script.write_text(RAY_SCRIPT)
    here = str(Path(__file__).parent)
    watched = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace)]
    done = subprocess.run(
        [*watched, sys.executable, str(script), here],
        env=os.environ | {"PYTHONPATH": here},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )

    assert done.stdout.strip().endswith("[0, 1, 4]")
    lines = [line for line in trace.read_text(errors="replace").splitlines() if "sin_addr=" in line or "sin6_" in line]
    assert lines, "no connection was seen: the trace proves nothing"
    assert [line for line in lines if "127.0.0.1" not in line and '"::1"' not in line] == []
