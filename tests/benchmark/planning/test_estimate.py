"""Plans: a few iterations are measured, the rest is arithmetic that can be done by hand."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.fake_trials import make_suite

from quadrat.benchmark.config.sharing import SharedNeeds
from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.planning.estimate import estimate
from quadrat.benchmark.planning.measure import Measured, measure
from quadrat.benchmark.planning.work import DataExtent, count_work
from quadrat.cluster.cli.main import cli
from quadrat.cluster.cli.plan_view import hours

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


def test_trials_that_share_a_gpu_take_turns() -> None:
    suite = make_suite(resources={"gpus": 0.5})
    assert estimate(suite, EXTENT, ON_GPU, num_devices=1).wall_s == 90.0
    assert estimate(suite, EXTENT, ON_GPU, num_devices=1).in_flight == 2


def test_the_store_keeps_round_0_and_the_last_round_of_each_trial() -> None:
    plan = estimate(make_suite(), EXTENT, MEASURED, num_devices=1)
    assert plan.light_bytes == (4 + 2) * 1000
    assert plan.all_bytes == 10 * 1000 + 4 * 10 * 12 * 4  # models; scores of 4 passes over 120 regions
    assert plan.selection_bytes == 4 * 16 * 28
    assert plan.packed_bytes == 4 * 14 * 48 * 64


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_recipe_is_measured(is_frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quadrat.benchmark.planning.measure._MEASURE_S", 0.05)
    settings = (
        ["learner.crop=32", "learner.frozen=true", "learner.scale=[1.0, 1.0]"] if is_frozen else ["learner.crop=32"]
    )
    suite = load_suite("quickstart", [*settings, "learner.batch_size=2"])
    work = count_work(suite, EXTENT)
    found = measure(suite, EXTENT, work, "cpu")
    assert found.iteration_s > 0 and found.evaluate_s > 0
    assert found.score_s.keys() == work.scorings.keys() and min(found.score_s.values()) > 0
    assert (found.encode_s > 0, found.feature_bytes > 0) == (is_frozen, is_frozen)
    assert found.fitted_bytes > 10_000
    assert found.notes == ()


def test_what_is_too_large_for_a_cpu_is_measured_small_and_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quadrat.benchmark.planning.measure._MEASURE_S", 0.05)
    monkeypatch.setattr("quadrat.benchmark.planning.measure._LONG_STEP_S", 0.0)
    monkeypatch.setattr("quadrat.benchmark.planning.measure._CPU_IMAGE_PX", 48 * 64 / 4)
    suite = load_suite("quickstart", ["learner.crop=288", "learner.batch_size=4", "resources.gpus=1"])
    found = measure(suite, EXTENT, count_work(suite, EXTENT), "cpu")
    no_gpu, images, crops = found.notes
    assert "this machine has none" in no_gpu
    assert images == "images were measured at 32 x 24 and scaled by 4.0"
    assert crops == "an iteration was measured with two crops of 144 px and scaled by 8"
    assert found.host_bytes is None


def test_show_plans_on_request(monkeypatch: pytest.MonkeyPatch, write_suite) -> None:
    monkeypatch.setattr("quadrat.benchmark.planning.measure._MEASURE_S", 0.05)
    done = CliRunner().invoke(cli, ["show", str(write_suite()), "--plan", "--devices", "3", "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["estimate"]["num_devices"] == 3
    assert plan["work"]["num_fits"] == 5
    assert plan["work"]["scorings"][0]["signals"] == ["entropy"]
    done = CliRunner().invoke(cli, ["show", str(write_suite()), "--plan"])
    assert "wall time" in done.output and "CPU core hours" in done.output


@pytest.mark.parametrize("option", ["--json", "--devices=2"])
def test_options_of_a_plan_want_a_plan(option: str) -> None:
    done = CliRunner().invoke(cli, ["show", "quickstart", option])
    assert done.exit_code == 2 and "expected with --plan" in done.output


def test_show_warns_of_budgets_beyond_the_pool_and_of_an_unknown_encoder(write_suite, tmp_path: Path) -> None:
    path = write_suite(budgets=[6, 5000], learner={"encoder": "xceptoin41", "weights": "none", "iterations": 1})
    done = CliRunner().invoke(cli, ["show", str(path), "--results", str(tmp_path / "r")])
    assert done.exit_code == 0
    text = " ".join(done.output.split())
    assert "! budget 5,000 of round 1 is more than the pool's" in text
    assert "! unknown encoder 'xceptoin41'" in text and "xception41" in text


def test_hours_are_short() -> None:
    assert [hours(seconds) for seconds in (36, 5400, 72_000, 3_600_000)] == ["0.01", "1.50", "20.0", "1,000"]
