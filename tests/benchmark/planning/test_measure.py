"""Measurements of a recipe on this machine: complete, and scaled where they would take too long."""

import multiprocessing
import time
from collections.abc import Callable

import pytest
from support import companions

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.planning import side_by_side
from quadrat.benchmark.planning.extent import DataExtent
from quadrat.benchmark.planning.measure import Limits, measure
from quadrat.benchmark.planning.random_data import RandomData, seconds_per_item
from quadrat.benchmark.planning.side_by_side import beside
from quadrat.benchmark.planning.work import count_work

EXTENT = DataExtent(num_pool=10, num_test=4, height=48, width=64, num_classes=3, source="by hand")


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_recipe_is_measured(is_frozen: bool) -> None:
    settings = (
        ["learner.crop=32", "learner.frozen=true", "learner.scale=[1.0, 1.0]"] if is_frozen else ["learner.crop=32"]
    )
    suite = load_suite("quickstart", [*settings, "learner.batch_size=2"])
    work = count_work(suite, EXTENT)
    found = measure(suite, EXTENT, work, "cpu", limits=Limits(phase_s=0.05))
    assert found.iteration_s > 0 and found.evaluate_s > 0
    assert found.score_s.keys() == work.scorings.keys() and min(found.score_s.values()) > 0
    assert (found.encode_s > 0, found.feature_bytes > 0) == (is_frozen, is_frozen)
    assert found.fitted_bytes > 10_000
    assert [note for note in found.notes if "the machine is busy" not in note] == []


def test_what_is_too_large_for_a_cpu_is_measured_small_and_scaled() -> None:
    suite = load_suite("quickstart", ["learner.crop=288", "learner.batch_size=4", "resources.gpus=1"])
    limits = Limits(phase_s=0.05, cpu_step_s=0.0, cpu_image_px=48 * 64 // 4)
    found = measure(suite, EXTENT, count_work(suite, EXTENT), "cpu", limits=limits)
    no_gpu, images, crops = (note for note in found.notes if "the machine is busy" not in note)
    assert "this machine has none" in no_gpu
    assert images == "images were measured at 32 x 24 and scaled by 4.0"
    assert crops == "an iteration was measured with two crops of 144 px and scaled by 8"
    assert found.host_bytes is None


@pytest.mark.parametrize("threads", [1, 2])
def test_time_that_other_programs_take_is_not_counted_for_any_number_of_threads(threads: int) -> None:
    """An item works for 20 ms and waits for 60, as on a busy machine: by wall time it is four times as long."""
    data = RandomData((16, 16), 3, 8, "cpu", threads, 5.0)

    def work(on_step: Callable[[int, int], None]) -> None:
        for done in range(1, 11):
            until_s = time.thread_time() + 0.02
            while time.thread_time() < until_s:
                pass
            time.sleep(0.06)
            on_step(done, 10)

    assert seconds_per_item(data, work, warm_up=1) == pytest.approx(0.02 / threads, rel=0.3)


def test_processes_beside_have_begun_while_the_context_is_open_and_are_gone_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with beside(2, companions.idle) as have_begun:
        assert have_begun
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []
    monkeypatch.setattr(side_by_side, "_START_S", 0.2)
    with beside(1, companions.broken) as have_begun:
        assert not have_begun


@pytest.mark.slow
def test_what_running_side_by_side_costs_is_measured() -> None:
    suite = load_suite("quickstart", ["learner.crop=32", "learner.batch_size=2"])
    phases: list[str] = []
    limits = Limits(phase_s=0.2)
    found = measure(suite, EXTENT, count_work(suite, EXTENT), "cpu", phases.append, limits=limits, in_flight=2)
    assert "fit, 2 side by side" in phases
    assert 1.0 <= found.side_by_side < 20
