"""Estimates: work times measured speed, as can be done by hand."""

import os

import pytest
from support.fake_trials import make_suite

from quadrat.benchmark.config.sharing import SharedNeeds
from quadrat.benchmark.planning.estimate import estimate
from quadrat.benchmark.planning.extent import DataExtent
from quadrat.benchmark.planning.measure import Measured

ENTROPY = SharedNeeds(signals=("entropy",), features=False)
EXTENT = DataExtent(num_pool=10, num_test=4, height=48, width=64, num_classes=3, source="by hand")
MEASURED = Measured(
    device="cpu",
    threads=1,
    is_cpu_time=True,
    iteration_s=2.0,
    evaluate_s=0.5,
    score_s={ENTROPY: 0.25},
    encode_s=0.0,
    feature_bytes=0,
    fitted_bytes=1000,
    gpu_bytes=None,
    host_bytes=10**9,
    notes=(),
)
ON_GPU = Measured(**{**vars(MEASURED), "device": "cuda", "gpu_bytes": 10**9})


def test_hours_are_work_times_what_was_measured() -> None:
    # 10 fits of 3 iterations, 10 evaluations of 4 images, 4 scorings (round 0 and 1 of 2 seeds) of 10 images.
    plan = estimate(make_suite(), EXTENT, MEASURED, num_devices=1)
    assert (plan.fit_s, plan.evaluate_s, plan.score_s) == (60.0, 20.0, 10.0)
    assert (plan.device_s, plan.wall_s, plan.in_flight) == (90.0, 90.0, 1)


def test_devices_share_the_work_but_no_trial_is_split() -> None:
    two, many = (estimate(make_suite(), EXTENT, MEASURED, num_devices=number) for number in (2, 100))
    assert (two.wall_s, two.device_s) == (45.0, 90.0)
    assert many.wall_s == 27.0  # the 9 iterations of one trial, each with its share of the rest
    assert many.in_flight == 4


def test_running_side_by_side_lengthens_the_wall_time_of_more_than_one_trial() -> None:
    slower = Measured(**{**vars(MEASURED), "side_by_side": 1.5})
    one, two = (estimate(make_suite(), EXTENT, slower, num_devices=number) for number in (1, 2))
    assert (one.wall_s, one.device_s) == (90.0, 90.0)
    assert (two.wall_s, two.device_s) == (67.5, 90.0)


def test_trials_that_share_a_gpu_take_turns() -> None:
    suite = make_suite(resources={"gpus": 0.5})
    assert estimate(suite, EXTENT, ON_GPU, num_devices=1).wall_s == 90.0
    assert estimate(suite, EXTENT, ON_GPU, num_devices=1).in_flight == 2


@pytest.mark.parametrize(("gpus", "num_gpus", "in_flight"), [(0.4, 1, 2), (0.4, 2, 4), (1, 3, 3), (0.25, 1, 4)])
def test_a_gpu_is_shared_by_whole_fractions(gpus: float, num_gpus: int, in_flight: int) -> None:
    assert estimate(make_suite(resources={"gpus": gpus}), EXTENT, ON_GPU, num_devices=num_gpus).in_flight == in_flight


def test_trials_on_cuda_without_a_gpu_of_their_own_are_as_many_as_the_cores_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(3))
    suite = make_suite(resources={"device": "cuda"})
    assert estimate(suite, EXTENT, ON_GPU, num_devices=1).in_flight == 3


def test_the_store_keeps_round_0_and_the_last_round_of_each_trial() -> None:
    plan = estimate(make_suite(), EXTENT, MEASURED, num_devices=1)
    assert plan.light_bytes == (4 + 2) * 1000
    assert plan.all_bytes == 10 * 1000 + 4 * 10 * 12 * 4  # models; scores of 4 passes over 120 regions
    assert plan.selection_bytes == 4 * 16 * 28
    assert plan.packed_bytes == 4 * 14 * 48 * 64
