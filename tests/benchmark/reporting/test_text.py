"""`quadrat stats`: text with unfinished trials first, JSON with every statistic."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.fake_results import write_fake_results

from quadrat.benchmark.reporting.summary import report_summary
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


def test_the_text_has_significance_pairs_cost_to_target_label_efficiency_and_ranks(folder: Path) -> None:
    text = stats(folder, "--all")
    claim = "entropy-spatial and entropy are significantly better than Random"
    assert text.startswith(f"On tiny (test), over labelled pixels as over clicks {claim}.")
    table = [line.split("  ")[0] for line in text.splitlines()]
    assert table.index("strategy") + 1 == table.index("entropy-spatial") == table.index("entropy") - 1
    assert "\nExploratory:\n" in text and "- Of 3 pairs at round 5 3 have p < 0.05" in text
    assert "Cost to reach 95 % of full supervision (" in text and "of the pool's pixels: " in text
    assert "in % of its labelled pixels: entropy-spatial" in text
    assert "Average rank over rounds and 5 seeds (1 is best): entropy-spatial 1.00, entropy 2.00, random 3.00" in text


def test_in_80_columns_the_answer_the_gains_and_a_pointer_to_the_rest_fit_in_24_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["random", "entropy", "entropy-random", "core-set", "feature-spatial", "entropy-feature"]
    names += ["entropy-spatial", "entropy-feature-spatial"]
    path = write_fake_results(tmp_path, strategies=names, seeds=(0, 1, 2, 3, 4), noise=0.02, budgets=BUDGETS)
    monkeypatch.setenv("COLUMNS", "80")
    lines = stats(path).splitlines()
    assert len(lines) < 24 and max(map(len, lines[:-1])) <= 80  # the last is a command line to paste
    every = stats(path, "--all")
    assert lines[:3] == every.splitlines()[:3]
    start = lines.index("strategy                 gain over labelled pixels  gain over clicks") + 1
    table = {line.split()[0]: line for line in lines[start : start + 7]}
    assert set(table) == set(names) - {"random"}
    gains = json.loads(stats(path, "--json"))["primary"]["comparisons"]
    for one in gains:
        shown = f"{one['gain']:+.2f}".replace("-", "\N{MINUS SIGN}")
        assert f"  {shown} " in table[one["label"]]
    findings, limitations = every.count("\n- ") - 1, every.count("\n! ")  # the average rank is no finding
    assert f"{findings} exploratory findings" in lines[-2] + lines[-3]
    assert f"{limitations} limitation" in lines[-2] + lines[-3]
    assert lines[-1].split()[-3:] == ["stats", str(path), "--all"]


def test_a_cost_is_of_exploratory_numbers_so_they_are_printed(folder: Path) -> None:
    assert stats(folder, "--cost", "labelled-fraction") == stats(folder, "--all") != stats(folder)


def test_costs_can_be_counted_in_clicks(folder: Path) -> None:
    assert "in % of its clicks: " in stats(folder, "--cost", "clicks")


def test_failed_and_missing_trials_come_first(tmp_path: Path) -> None:
    counts = {("entropy", 0): 1, ("random", 1): 0}
    write_fake_results(tmp_path, strategies=STRATEGIES, num_rounds=counts, failed={("entropy", 0): "OSError: gone"})
    lines = stats(tmp_path).splitlines()
    assert lines[0] == "2 of 12 trials are failed or missing; areas and costs leave them out:"
    assert lines[1:3] == ["  missing  random seed 1, 0 rounds", "  failed  entropy seed 0, 1 rounds: OSError: gone"]


def test_json_holds_every_statistic(folder: Path) -> None:
    found = json.loads(stats(folder, "--json", "--cost", "regions"))
    assert (found["cost"], found["metric"], found["round"]) == ("regions", "miou", 5)
    assert set(found["pairwise"]["pairs"]) == {
        "random - entropy",
        "random - entropy-spatial",
        "entropy - entropy-spatial",
    }
    assert {cost["share"] for cost in found["costs_to_target"]} == {0.9, 0.95, 0.99}
    assert {(one["label"], one["cost"]) for one in found["primary"]["comparisons"]} == {
        (label, cost) for label in ("entropy", "entropy-spatial") for cost in ("labelled-fraction", "clicks")
    }
    assert found["unfinished"] == []


def test_an_unknown_cost_is_an_error_that_lists_the_known_ones(folder: Path) -> None:
    unknown = CliRunner().invoke(cli, ["stats", str(folder), "--cost", "hours"])
    assert unknown.exit_code == 2
    assert "expected a cost, one of regions, labelled-fraction, clicks, images-opened, got 'hours'" in unknown.stderr


def test_a_target_that_is_missed_within_the_budget_is_reported(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, strategies=("random", "core-set"), budgets=(12, 24), noise=0.02)
    findings = report_summary(read_results(folder)).findings
    assert any(
        "is not reached within the budget by the mean of any strategy: random (0 of 3 seeds reach it)" in finding
        for finding in findings
    )
    assert any(
        finding.startswith("The final mIoU of Random is not matched within the budget") and "core-set" in finding
        for finding in findings
    )
