"""Statistics as text and as JSON: failures first, intervals with the numbers, nothing that JSON can't hold."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.fake_results import write_fake_results

from quadrat.benchmark.reporting.summary import answer
from quadrat.benchmark.results.trials import read_results
from quadrat.cluster.cli.main import cli

STRATEGIES = ("random", "entropy", "entropy-spatial")
BUDGETS = (12, 24, 48, 96, 192, 240)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stats")
    return write_fake_results(path, strategies=STRATEGIES, seeds=(0, 1, 2, 3, 4), noise=0.02, budgets=BUDGETS)


def stats(*arguments: object) -> str:
    result = CliRunner().invoke(cli, ["stats", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_text_answers_who_beats_random_who_cannot_be_told_and_what_95_percent_costs(folder: Path) -> None:
    text = stats(folder)
    assert text.startswith("entropy-spatial and entropy are better than Random at the final budget.")
    assert "Over the whole budget" in text
    assert "3 of 3 pairs can be told apart at round 5" in text
    assert "95 % of full supervision (" in text and "of the pool's pixels labelled" in text
    assert "share of Random's labelled pixels is enough: entropy-spatial" in text
    assert "Average rank over rounds and 5 seeds (1 is best): entropy-spatial 1.00, entropy 2.00, random 3.00" in text


def test_costs_can_be_counted_in_clicks(folder: Path) -> None:
    assert "share of Random's clicks is enough" in stats(folder, "--cost", "clicks")


def test_failed_and_missing_trials_come_first(tmp_path: Path) -> None:
    counts = {("entropy", 0): 1, ("random", 1): 0}
    write_fake_results(tmp_path, strategies=STRATEGIES, num_rounds=counts, failed={("entropy", 0): "OSError: gone"})
    lines = stats(tmp_path).splitlines()
    assert lines[0] == "2 of 12 trials are failed or missing; they are in no number below:"
    assert lines[1:3] == ["  missing  random seed 1, 0 rounds", "  failed  entropy seed 0, 1 rounds: OSError: gone"]


def test_json_holds_every_statistic(folder: Path) -> None:
    found = json.loads(stats(folder, "--json", "--cost", "regions"))
    assert (found["cost"], found["metric"], found["round"]) == ("regions", "miou", 5)
    assert set(found["pairwise"]["pairs"]) == {
        "random - entropy",
        "random - entropy-spatial",
        "entropy - entropy-spatial",
    }
    assert {reach["share"] for reach in found["reaches"]} == {0.9, 0.95, 0.99}
    assert found["unfinished"] == []


def test_an_unknown_cost_is_an_error_that_lists_the_known_ones(folder: Path) -> None:
    unknown = CliRunner().invoke(cli, ["stats", str(folder), "--cost", "hours"])
    assert unknown.exit_code == 2
    assert "expected a cost, one of regions, labelled-fraction, clicks, images-opened, got 'hours'" in unknown.stderr


def test_a_strategy_that_falls_short_is_said_to(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, strategies=("random", "core-set"), budgets=(12, 24), noise=0.02)
    facts = answer(read_results(folder)).facts
    assert any(
        fact.startswith(
            "No strategy's mean reaches 95 % of full supervision within its budget: random (0 of 3 seeds do)"
        )
        for fact in facts
    )
    assert any("core-set does not get there within the budget" in fact for fact in facts)
