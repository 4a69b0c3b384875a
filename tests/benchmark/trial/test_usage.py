"""What a round used is what the system says of the process."""

import time

import numpy as np

from quadrat.benchmark.trial.usage import Usage


def test_processor_time_is_counted_from_the_beginning_of_the_round_and_memory_is_a_peak() -> None:
    end_s = time.process_time() + 0.05
    while time.process_time() < end_s:  # before the beginning
        pass
    usage = Usage()
    start_s = time.monotonic()
    end_s = time.process_time() + 0.1
    while time.process_time() < end_s:
        pass
    time.sleep(0.05)
    found, wall_s = usage.read(), time.monotonic() - start_s
    assert 0.1 <= found["cpu_s"] + 0.001 and found["cpu_s"] < 0.15
    assert 0.15 <= wall_s <= found["wall_s"] + 0.01
    before = found["memory_bytes"]
    block = np.ones(int(before / 8 * 1.5))
    del block
    assert usage.read()["memory_bytes"] >= 1.4 * before
    assert "gpu_memory_bytes" not in found
