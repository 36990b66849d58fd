import os
import subprocess
import sys
import time

from parallelnet.datasets.clock import StepClock, cpu_name, n_cores, peak_memory_bytes


def slow(items, seconds):
    for item in items:
        time.sleep(seconds)
        yield item


def test_each_step_is_charged_for_its_own_time_alone():
    clock = StepClock("writing")
    drawn = clock.timed("first", slow(range(3), 0.02))
    drawn = clock.timed("second", slow(drawn, 0.04))

    for _ in drawn:
        time.sleep(0.01)

    spent = {name: seconds.wall_s for name, seconds in clock.seconds().items()}
    # A sleep is never shorter than asked for; a busy machine makes it longer, hence the order alone beside it.
    assert spent["first"] >= 3 * 0.02
    assert spent["second"] >= 3 * 0.04
    assert spent["writing"] >= 3 * 0.01
    assert spent["second"] > spent["first"] > spent["writing"]


def test_waiting_costs_no_processor_time_and_work_does():
    clock = StepClock("outside")
    list(clock.timed("waits", slow([0], 0.3)))
    list(clock.timed("works", (sum(range(400_000)) for _ in range(20))))

    spent = clock.seconds()
    assert spent["waits"].cpu_s < 0.1
    assert spent["works"].cpu_s > 0.05
    assert spent["works"].cpu_s <= 1.5 * spent["works"].wall_s


def test_children_that_ended_count():
    clock = StepClock("outside")

    def spoken():
        yield subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)

    list(clock.timed("speak", spoken()))

    assert clock.seconds()["speak"].cpu_s > 0.05


def test_the_peak_is_the_process_s_own():
    big = bytearray(os.urandom(1)) * 300_000_000
    assert peak_memory_bytes() > len(big)
    program = "from parallelnet.datasets.clock import peak_memory_bytes; print(peak_memory_bytes())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    del big

    assert 5_000_000 < int(done.stdout) < 200_000_000  # not the 300 MB of the process that started it


def test_the_machine_is_named():
    assert n_cores() >= 1
    assert "\n" not in cpu_name()
