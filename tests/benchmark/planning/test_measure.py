"""Measurements of a recipe on this machine: complete, and scaled where they would take too long."""

import pytest

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.planning.extent import DataExtent
from quadrat.benchmark.planning.measure import Limits, measure
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
    assert found.notes == ()


def test_what_is_too_large_for_a_cpu_is_measured_small_and_scaled() -> None:
    suite = load_suite("quickstart", ["learner.crop=288", "learner.batch_size=4", "resources.gpus=1"])
    limits = Limits(phase_s=0.05, cpu_step_s=0.0, cpu_image_px=48 * 64 // 4)
    found = measure(suite, EXTENT, count_work(suite, EXTENT), "cpu", limits=limits)
    no_gpu, images, crops = found.notes
    assert "this machine has none" in no_gpu
    assert images == "images were measured at 32 x 24 and scaled by 4.0"
    assert crops == "an iteration was measured with two crops of 144 px and scaled by 8"
    assert found.host_bytes is None
