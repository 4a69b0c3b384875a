"""Sentences of the summary: significance, too few seeds, pairs of strategies, against values worked out by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fake_results import write_fake_results

from quadrat.benchmark.analysis.pairwise import pairwise_tests
from quadrat.benchmark.reporting.caveats import max_seeds_of_pairs
from quadrat.benchmark.reporting.summary import pairwise_finding, pairwise_headline, report_summary
from quadrat.benchmark.results.trials import read_results

FEW: dict[str, Any] = {"strategies": ("random", "entropy", "entropy-spatial"), "budgets": (12, 24, 48)}


def test_significant_differences_are_in_the_headline_and_few_seeds_in_a_caveat(tmp_path: Path) -> None:
    results = read_results(write_fake_results(tmp_path, **FEW, noise=0.01))
    found = report_summary(results)
    assert found.headline == "entropy-spatial and entropy are significantly better than Random at the final budget."
    assert any("3 seeds are few" in caveat for caveat in found.caveats)
    assert any("Holm-corrected over 2 comparisons" in caveat for caveat in found.caveats)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_one_or_two_seeds_are_not_tested(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    found = report_summary(read_results(write_fake_results(tmp_path, **FEW, seeds=seeds, noise=0.01)))
    assert "too few to test" in found.headline
    assert {comparison.verdict for comparison in found.analysis.to_random.values()} == {"not significant"}


def test_strategies_with_too_few_shared_seeds_are_named(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, num_rounds={("entropy", 0): 1})
    caveats = report_summary(read_results(folder)).caveats
    assert any(
        caveat.startswith("entropy shares fewer than 3 seeds with Random and is not tested") for caveat in caveats
    )


def test_an_exhausted_pool_is_a_caveat_that_names_the_strategy(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,), num_rounds={("random", 0): 2})
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    changed = [{**line, "exhausted": (line["label"], line["round"]) == ("random", 1)} for line in lines]
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed), encoding="utf-8")
    caveats = report_summary(read_results(folder)).caveats
    assert any("The pool ran out" in caveat and "trials of random ended early" in caveat for caveat in caveats)


def test_unfinished_suite_is_compared_at_the_last_shared_round(tmp_path: Path) -> None:
    behind = {("random", seed): 2 for seed in (0, 1, 2)}
    found = report_summary(read_results(write_fake_results(tmp_path, **FEW, num_rounds=behind)))
    assert found.analysis.round == 1
    assert "final budget" not in found.headline
    assert any("the suite goes to round 2" in caveat for caveat in found.caveats)


def found(**by_label: list[float]) -> Any:
    """Return statistics that hold all pairs at round 3, the values of seeds 0, 1, ..."""
    values = {label: {3: dict(enumerate(list_))} for label, list_ in by_label.items()}
    return SimpleNamespace(pairwise=pairwise_tests(values, list(values), 3), round=3)


def test_of_two_strategies_the_better_one_is_named_first_whatever_their_order() -> None:
    # Differences 2, 3, 4: mean 3, std 1, half width t(2, 0.975) / sqrt(3) = 4.3027 / 1.7321 = 2.484
    expected = "new is significantly better than old at the end: +3.00 points (95 % interval +0.52 to +5.48)."
    assert pairwise_headline(found(old=[50, 50, 50], new=[52, 53, 54]), "at the end") == expected
    assert pairwise_headline(found(new=[52, 53, 54], old=[50, 50, 50]), "at the end") == expected


def test_two_strategies_that_do_not_differ_significantly_come_with_the_number_of_seeds_for_one() -> None:
    text = pairwise_headline(found(old=[50, 50, 50], new=[49, 51, 52]), "at the end")
    assert text == "new and old do not differ significantly at the end: +0.67 points for new (higher in 2 of 3 seeds)."


@pytest.mark.parametrize("num", [1, 2])
def test_pairs_with_too_few_shared_seeds_are_not_tested(num: int) -> None:
    statistics = found(old=[50.0] * num, new=[60.0] * num)
    assert max_seeds_of_pairs(statistics) == num
    text = pairwise_headline(statistics, "at the end")
    assert text is not None and text.startswith(f"{num} shared seed") and "too few" in text


def test_pairs_of_three_strategies_are_corrected_together_and_the_significant_ones_named() -> None:
    # c is 20 above both, with differences that hardly vary; a and b are equal on the mean.
    statistics = found(a=[50, 51, 52], b=[51, 51, 51], c=[70.1, 71, 71.9])
    assert pairwise_finding(statistics) == (
        "Pairwise comparisons at round 3: 2 of 3 pairs differ significantly (Holm-corrected over the pairs): "
        "c over a and c over b."
    )
    assert pairwise_headline(statistics, "at the end") == (
        "2 of 3 pairs of strategies differ significantly at the end: c over a and c over b."
    )


def test_one_strategy_or_untested_pairs_give_no_sentence() -> None:
    assert pairwise_headline(found(a=[50, 51, 52]), "at the end") is None
    assert pairwise_finding(found(a=[50, 51, 52])) is None
    assert pairwise_finding(found(a=[50, 51], b=[50, 51])) is None
