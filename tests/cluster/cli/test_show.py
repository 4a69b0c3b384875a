"""`quadrat show`: trials, budgets, fits, studies, warnings; with --plan, an estimate."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from support.fake_trials import make_suite

from quadrat.benchmark.config.sharing import SharedNeeds
from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.config.trial import RegionsSpec
from quadrat.benchmark.planning.estimate import estimate
from quadrat.benchmark.planning.extent import DataExtent
from quadrat.benchmark.planning.measure import Measured
from quadrat.benchmark.planning.work import count_work
from quadrat.benchmark.trial.context import TrialContext
from quadrat.cluster.cli.plan_view import hours, render_plan


def words(text: str) -> str:
    """Return a text with one space between its words."""
    return " ".join(text.split())


def test_show_prints_trials_budgets_and_fits(quadrat: Callable[..., Result], write_suite: Callable[..., Path]) -> None:
    result = quadrat("show", write_suite(seeds=[0, 1], full_supervision=True))
    assert result.exit_code == 0
    assert "6 trials, 0 complete; 12 fits (14 without sharing)" in result.stdout
    assert "8 images, about" in result.stdout
    assert "regions of 16 px 6 12 24" in words(result.stdout)
    assert "% of the pixels, about" in result.stdout
    assert "cutoff=1.5" in result.stdout


def test_show_counts_exactly_once_the_images_are_packed(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path]
) -> None:
    suite = write_suite()
    assert quadrat("trial", suite, "--strategy", "random", "--seed", "0", "--set", "budgets=[6]").exit_code == 0
    result = quadrat("show", suite, "--set", "budgets=[6]")
    assert "% of the pixels, at most" in result.stdout
    assert "the commonest size of the packed images" in words(result.stdout)
    assert "2 trials, 1 complete" in result.stdout


def test_show_says_how_many_regions_a_map_has_and_whether_that_is_an_estimate(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    suite = write_suite(strategies=["random", {"name": "random", "regions": "slic"}], budgets=[6, 90])
    asked = ["show", suite, "--results", tmp_path / "results"]
    first = words(quadrat(*asked).stdout)
    assert "regions about 96 of grid 16 px, about 96 of slic 16 px; counted once the images are cut" in first
    assert "% of the pixels, about 6.2 % 93.8 % " in first
    context = TrialContext.open(load_suite(suite), tmp_path / "results")
    context.prepare_results()
    num = context.data.layout(16, RegionsSpec(name="slic")).num_regions
    then = words(quadrat(*asked).stdout)
    assert f"regions 96 of grid 16 px, {num} of slic 16 px" in then and "about" not in then
    assert f"% of the pixels, on average of slic {100 * 6 / num:.1f} %" in then
    over = words(quadrat(*asked, "--set", f"budgets=[6, {num + 1}]").stdout)
    assert f"budget {num + 1} of round 1 is more than the pool's {num} slic regions of 16 px" in over


def test_show_works_without_the_data(quadrat: Callable[..., Result], write_suite: Callable[..., Path]) -> None:
    published = quadrat("show", write_suite(dataset={"name": "camvid"}))
    assert published.exit_code == 0
    assert "367 images, about 480 x 360 (as published;" in words(published.stdout)
    assert "QUADRAT_DATA" in published.stdout
    unknown = quadrat("show", write_suite(dataset={"name": "folder", "root": "nowhere"}))
    assert unknown.exit_code == 0
    assert "no folder at" in words(unknown.stdout) and "% of the pixels" not in unknown.stdout


def test_show_prints_candidates_space_and_fits_of_a_study(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path]
) -> None:
    study = {"strategy": "entropy-spatial", "candidates": 5, "search_seeds": [7], "space": {"region_size": [16, 8]}}
    result = quadrat("show", write_suite(study=study))
    assert result.exit_code == 0, result.output
    for expected in (
        "5 candidates of entropy-spatial, compared by area on search seeds 7",
        "w_spatial  0.25 to 4, logarithmic",
        "region_size  one of 16, 8",
        "at most 12 in the search (15 without sharing)",
    ):
        assert expected in result.output


def test_show_warns_of_budgets_beyond_the_pool_and_of_an_unknown_encoder(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path]
) -> None:
    learner = {"encoder": "xceptoin41", "weights": "none", "iterations": 1}
    result = quadrat("show", write_suite(budgets=[6, 5000], learner=learner))
    assert result.exit_code == 0
    assert "! budget 5,000 of round 1 is more than the pool's" in words(result.output)
    assert "! unknown encoder 'xceptoin41'" in words(result.output) and "xception41" in words(result.output)


@pytest.mark.slow
def test_a_plan_is_measured_on_request(quadrat: Callable[..., Result], write_suite: Callable[..., Path]) -> None:
    result = quadrat("show", write_suite(), "--plan", "--devices", "3", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["estimate"]["num_devices"] == 3
    assert plan["work"]["num_fits"] == 5
    assert plan["work"]["scorings"][0]["signals"] == ["entropy"]
    assert plan["measured"]["iteration_s"] > 0


@pytest.mark.parametrize("option", ["--json", "--devices=2"])
def test_options_of_a_plan_need_plan(quadrat: Callable[..., Result], option: str) -> None:
    result = quadrat("show", "quickstart", option)
    assert result.exit_code == 2 and "expected with --plan" in result.output


def test_a_plan_prints_work_hours_memory_and_disk() -> None:
    suite = make_suite()
    extent = DataExtent(num_pool=10, num_test=4, height=48, width=64, num_classes=3, source="by hand")
    measured = Measured(
        device="cpu",
        threads=1,
        is_cpu_time=True,
        iteration_s=360.0,
        evaluate_s=0.5,
        score_s={SharedNeeds(signals=("entropy",)): 0.25},
        encode_s=0.0,
        feature_bytes=0,
        fitted_bytes=1000,
        gpu_bytes=None,
        host_bytes=2 * 10**9,
        notes=("the first note",),
    )
    console = Console(width=200)
    with console.capture() as captured:
        for part in render_plan(
            suite, extent, count_work(suite, extent), measured, estimate(suite, extent, measured, 1)
        ):
            console.print(part)
    text = words(captured.get())
    for expected in (
        "CPU core hours",
        "fit 10 models 30 iterations 360.00 s each 3.00",
        "score entropy 40 images 250.0 ms each",
        "wall time about 3h 00m on 1 CPU core, one trial at a time",
        "2.0 GB of host for a trial",
        "! the first note",
    ):
        assert expected in text


def test_hours_have_as_many_decimals_as_matter() -> None:
    assert [hours(seconds) for seconds in (36, 5400, 72_000, 3_600_000)] == ["0.01", "1.50", "20.0", "1,000"]


def test_a_label_is_printed_as_it_is(quadrat: Callable[..., Result], write_suite: Callable[..., Path]) -> None:
    label = "top[/x] [red]a[/red] :smile:"
    result = quadrat("show", write_suite(strategies=[{"name": "random", "label": label}]))
    assert result.exit_code == 0, result.output
    assert label in result.stdout
