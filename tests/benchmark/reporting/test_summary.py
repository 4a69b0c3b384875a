"""Sentences of the summary: significance, too few seeds, pairs of strategies, against values worked out by hand."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.curve_results import results_of
from support.fake_results import write_fake_results

from quadrat.benchmark.analysis.measures import COSTS
from quadrat.benchmark.analysis.pairwise import pairwise_tests
from quadrat.benchmark.reporting.provenance import facts
from quadrat.benchmark.reporting.summary import decided_by, pairwise_finding, report_summary
from quadrat.benchmark.reporting.tables.analysis import label_efficiency_table
from quadrat.benchmark.reporting.text import as_text
from quadrat.benchmark.results.trials import Results, read_results

FEW: dict[str, Any] = {"strategies": ("random", "entropy", "entropy-spatial"), "budgets": (12, 24, 48)}


def test_claims_over_pixels_and_over_clicks_are_in_the_headline_and_few_seeds_in_a_caveat(tmp_path: Path) -> None:
    results = read_results(write_fake_results(tmp_path, **FEW, seeds=(0, 1, 2, 3), noise=0.01))
    found = report_summary(results)
    assert found.headline == (  # clicks are the same for all here, pixels vary with the regions at the borders
        "On tiny (test), over labelled pixels entropy-spatial is significantly better than Random; over clicks "
        "entropy-spatial and entropy are significantly better than Random."
    )
    assert found.answer[0].startswith("Pixels and clicks disagree, gain in points: entropy ")
    assert "over clicks (significant)" in found.answer[0] and "entropy-spatial" not in found.answer[0]
    assert "One comparison is open" in found.answer[1]
    assert any("4 seeds are few" in caveat for caveat in found.caveats)
    assert any("Holm-corrected over all 4 tests" in caveat for caveat in found.caveats)


def test_only_the_primary_analysis_is_called_significant(tmp_path: Path) -> None:
    found = report_summary(read_results(write_fake_results(tmp_path, **FEW, noise=0.01)))
    assert "significantly better" in found.headline
    assert [finding for finding in found.findings if "significant" in finding] == []


@pytest.mark.parametrize(
    ("needed", "sentence"),
    [
        ([12], "One comparison is open: if the gain observed were true, 12 seeds would decide it"),
        ([None], "One comparison is open: if the gain observed were true, more than 100 seeds would decide it"),
        ([4, 54, 6], "3 comparisons are open: if the gains observed were true, 4 to 54 seeds would decide them"),
        ([7, 7], "2 comparisons are open: if the gains observed were true, 7 seeds would decide them"),
        (
            [None, None],
            "2 comparisons are open: if the gains observed were true, more than 100 seeds would decide them",
        ),
        (
            [9, None, 5],
            "3 comparisons are open: if the gains observed were true, 5 to 9 seeds would decide 2 of them, 1 need more "
            "than 100",
        ),
    ],
)
def test_the_seeds_that_open_comparisons_need_are_in_one_sentence(needed: list[int | None], sentence: str) -> None:
    assert decided_by(needed) == sentence


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Return the records as they are written, without the checksum, so that they can be changed."""
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "checksum"} for line in lines]


def test_full_supervision_that_is_no_upper_bound_is_a_caveat(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW)
    assert any("it is no upper bound" in caveat for caveat in report_summary(read_results(folder)).caveats)
    lines = lines_of(folder)
    longer = [{**line, "steps": line["steps"] * (10 if line["label"] == "full-supervision" else 1)} for line in lines]
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in longer), encoding="utf-8")
    assert not any("upper bound" in caveat for caveat in report_summary(read_results(folder)).caveats)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_one_or_two_seeds_are_not_tested(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    found = report_summary(read_results(write_fake_results(tmp_path, **FEW, seeds=seeds, noise=0.01)))
    assert "too few to test" in found.headline
    assert {comparison.verdict for comparison in found.analysis.primary.comparisons} == {"not tested"}
    untested = next(caveat for caveat in found.caveats if caveat.startswith("Not tested"))
    assert not re.search(r"\brandom\b", untested.partition(":")[2])  # by which the others would be tested


def test_strategies_with_too_few_shared_seeds_are_named(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, num_rounds={("entropy", 0): 1})
    caveats = report_summary(read_results(folder)).caveats
    assert any(caveat.startswith("Not tested, since fewer than 3 finished seeds") for caveat in caveats)
    assert any(caveat.endswith("it is compared to: entropy.") for caveat in caveats)


def test_an_exhausted_pool_is_a_caveat_that_names_the_strategy(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, **FEW, seeds=(0,), num_rounds={("random", 0): 2})
    lines = lines_of(folder)
    changed = [{**line, "exhausted": (line["label"], line["round"]) == ("random", 1)} for line in lines]
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed), encoding="utf-8")
    caveats = report_summary(read_results(folder)).caveats
    assert any("The pool ran out" in caveat and "trials of random ended early" in caveat for caveat in caveats)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Results:
    """Change every record of a results folder, and return what it holds then."""
    path = folder / "records.jsonl"
    lines = [json.dumps(change(line)) + "\n" for line in lines_of(path.parent)]
    path.write_text("".join(lines), encoding="utf-8")
    return read_results(folder)


def test_strategies_that_differ_in_void_are_named_with_their_shares(tmp_path: Path) -> None:
    """At the end entropy has labelled 59 % void, random 13 %, entropy-spatial 12 %."""
    share = {"entropy": 0.59, "random": 0.13, "entropy-spatial": 0.12, "full-supervision": 0.1}

    def with_void(line: dict[str, Any]) -> dict[str, Any]:
        void_px, wholly = round(share[line["label"]] * line["labelled_px"]), line["label"] == "entropy"
        return {**line, "void_px": void_px, "void_regions": line["regions"] // 2 if wholly else 0}

    results = rewrite(write_fake_results(tmp_path, **FEW), with_void)
    (sentence,) = (caveat for caveat in report_summary(results).caveats if "how much void" in caveat)
    assert "entropy 59 % (50 % of its regions are wholly void), random 13 %, entropy-spatial 12 %." in sentence
    assert sentence.endswith("void_regions: withhold.")


def test_strategies_that_label_the_same_void_are_not(tmp_path: Path) -> None:
    results = rewrite(write_fake_results(tmp_path, **FEW), lambda line: {**line, "void_px": line["labelled_px"] // 5})
    assert not any("void" in caveat for caveat in report_summary(results).caveats)


def test_classes_that_the_test_set_lacks_are_named(tmp_path: Path) -> None:
    results = read_results(write_fake_results(tmp_path, **FEW, absent=(2, 9)))
    expected = "mIoU is the mean over 9 of 11 classes: the test set has no pixel of pole and pedestrian."
    assert expected in report_summary(results).caveats


def test_records_of_an_older_definition_are_said_where_it_matters(tmp_path: Path) -> None:
    def old(line: dict[str, Any]) -> dict[str, Any]:
        kept = {name: line[name] for name in line if name not in ("void_px", "void_regions", "test_classes")}
        return {**kept, "schema": 2, "iou": [*line["iou"][:-1], 0.0]}

    results = rewrite(write_fake_results(tmp_path, **FEW), old)
    assert any("written as schema 2" in caveat for caveat in report_summary(results).caveats)


def test_unfinished_suite_is_compared_at_the_last_shared_round(tmp_path: Path) -> None:
    behind = {("random", seed): 2 for seed in (0, 1, 2)}
    found = report_summary(read_results(write_fake_results(tmp_path, **FEW, num_rounds=behind)))
    assert found.analysis.round == 1
    assert found.headline == "No strategy shares a finished seed with Random, so none can be compared to it."
    assert any("the suite goes to round 2" in caveat for caveat in found.caveats)


def found(**by_label: list[float]) -> Any:
    """Return statistics that hold all pairs at round 3, the values of seeds 0, 1, ..."""
    values = {label: {3: dict(enumerate(list_))} for label, list_ in by_label.items()}
    return SimpleNamespace(pairwise=pairwise_tests(values, list(values), 3), round=3)


def test_pairs_of_three_strategies_are_corrected_together_and_the_higher_one_is_named_first() -> None:
    # c is 20 above both, with differences that hardly vary; a and b are equal on the mean.
    statistics = found(a=[50, 51, 52], b=[51, 51, 51], c=[70.1, 71, 71.9])
    assert pairwise_finding(statistics) == (
        "Of 3 pairs at round 3 2 have p < 0.05 (Holm-corrected over these pairs): c over a and c over b."
    )


def test_one_strategy_or_untested_pairs_give_no_sentence() -> None:
    assert pairwise_finding(found(a=[50, 51, 52])) is None
    assert pairwise_finding(found(a=[50, 51], b=[50, 51])) is None


def test_without_random_all_pairs_are_the_family(tmp_path: Path) -> None:
    folder = write_fake_results(tmp_path, strategies=("entropy", "entropy-spatial", "core-set"), noise=0.01)
    summary = report_summary(read_results(folder))
    assert summary.analysis.primary.num_tests == 6  # three pairs over two costs
    assert "entropy-spatial and entropy are significantly better than core-set" in summary.headline
    assert "entropy-spatial is significantly better than entropy" in summary.headline


def test_each_region_size_is_held_against_the_end_of_its_own_random() -> None:
    ends = {"random r8": 60.0, "entropy r8": 66.0, "random r16": 50.0, "entropy r16": 54.0}
    curves = {
        label: {seed: [30.0, (30 + end) / 2 + 0.1 * seed, end + 0.2 * seed] for seed in range(3)}
        for label, end in ends.items()
    }
    sizes = {label: int(label.split("r")[-1]) for label in ends}
    results = results_of(curves, pixels=(1.0, 2.0, 4.0), sizes=sizes, full_supervision={0: 70.0, 1: 70.5, 2: 69.5})
    findings = report_summary(results).findings
    efficiency = [finding for finding in findings if finding.startswith("Label efficiency")]
    # Random's last round over seeds 0, 1, 2: its end and 0.2 points.
    assert [("r8 (60.20 %)" in one, "r16 (50.20 %)" in one) for one in efficiency] == [(True, False), (False, True)]
    assert "entropy r8 " in efficiency[0] and "entropy r16 " not in efficiency[0]
    # entropy r8 is at 48.1 after 2 % and at 66.2 after 4 %: it passes 60.2 at 3.337 %, 83 % of the 4 % of Random.
    assert "entropy r8 83 %" in efficiency[0]
    improves = [finding for finding in findings if "improves with more labels" in finding]
    assert improves == [
        "random r8 (Random) improves with more labels: mIoU 30.00 % at round 0, 60.20 % at round 2.",
        "random r16 (Random) improves with more labels: mIoU 30.00 % at round 0, 50.20 % at round 2.",
    ]


def test_gains_do_not_depend_on_the_cost_of_the_tables_and_name_their_own(tmp_path: Path) -> None:
    """One list of gains counted the fraction, the table below it regions: +4.93 and +4.75 of one strategy."""
    results = read_results(write_fake_results(tmp_path, **FEW, seeds=(0, 1, 2, 3), noise=0.01))
    summaries = [report_summary(results, cost) for cost in COSTS]
    assert len({(one.headline, one.answer, repr(one.gains)) for one in summaries}) == 1
    for sentence in (summaries[0].headline, *summaries[0].answer):
        assert "over labelled pixels" in sentence and "over clicks" in sentence
    gains = summaries[0].gains
    assert gains is not None and gains.columns[:2] == ("gain over labelled pixels", "gain over clicks")


def test_a_report_names_the_data_set_and_not_its_loader(tmp_path: Path) -> None:
    """MSRC-21 in VOC's layout was called "voc"."""
    folder = write_fake_results(tmp_path, **FEW, seeds=(0, 1, 2, 3), noise=0.01)
    document = json.loads((folder / "suite.json").read_text())
    document["suite"]["dataset"]["name"], document["dataset"]["title"] = "voc", "MSRC-21"
    (folder / "suite.json").write_text(json.dumps(document))
    results = read_results(folder)
    assert report_summary(results).headline.startswith("On MSRC-21 (test), over")
    assert any("MSRC-21, 11 classes" in fact.text for fact in facts(results))


def test_the_setup_names_label_types_and_errors_only_where_they_are_not_the_default(tmp_path: Path) -> None:
    results = read_results(write_fake_results(tmp_path, strategies=("random", "entropy"), seeds=(0,), has_pool=False))
    assert "labels" not in {fact.term for fact in facts(results)}
    typed = tuple(replace(trial, labels="dominant") for trial in results.trials if not trial.is_full_supervision)
    noisy = {**results.suite, "annotator": {"error_rate": 0.05, "kind": "confused"}}
    found = {fact.term: fact.text for fact in facts(replace(results, trials=typed, suite=noisy))}
    assert found["labels"].startswith("dominant; the annotator names 5 % of the classes wrongly (confused)")


def curve_that_falls_back(full_supervision: dict[int, float]) -> Results:
    """Return results in which x is at Random's end, 20 %, with 4.8 of its 10 % of the pixels, and below it at 10 %."""
    seeds = range(3)
    return results_of(
        {"random": dict.fromkeys(seeds, (10, 15, 20)), "x": dict.fromkeys(seeds, (10, 20, 18))},
        pixels=(2, 4.8, 10),
        full_supervision=full_supervision,
    )


def test_a_target_that_is_lost_again_is_said_in_summary_stats_and_table() -> None:
    results = curve_that_falls_back({0: 40.0})
    found = report_summary(results)
    (efficiency,) = (finding for finding in found.findings if finding.startswith("Label efficiency"))
    assert "(20.00 %) in % of its labelled pixels: x reached at 48 % (" in efficiency
    assert efficiency.endswith("), lost again.")
    assert "reached at 48 %" in " ".join(as_text(results).split())
    table = label_efficiency_table(found.analysis)
    place = table.columns.index("cost to match Random, % of Random's")
    assert {row.label: row.cells[place].text for row in table.rows}["x"] == "reached at 48 %, lost again"


def test_a_share_of_full_supervision_that_is_lost_again_is_said() -> None:
    """95 % of 20 is 19: x is there at 2 + 2.8 * 9/10 = 4.52 % of the pixels, and ends at 18."""
    found = report_summary(curve_that_falls_back({0: 20.0}))
    (costs,) = (finding for finding in found.findings if finding.startswith("Cost to reach 95 %"))
    assert "x reached at 4.5 % (" not in costs and "x reached at 4.5 %, lost again" in costs
    assert "random 9 %" in costs.replace("9.0 %", "9 %")  # 4.8 + 5.2 * 4/5 = 8.96, not lost


def test_a_recipe_that_hardly_learns_is_said_before_anything_is_compared() -> None:
    found = report_summary(curve_that_falls_back({0: 15.0, 1: 19.0}))
    sentence = (
        "Full supervision reaches 17 % mIoU: this recipe hardly learns, so differences between strategies say little."
    )
    assert found.answer[0] == sentence
    assert sentence in as_text(curve_that_falls_back({0: 15.0, 1: 19.0}))
    assert not any("hardly learns" in one for one in report_summary(curve_that_falls_back({0: 25.0})).answer)
