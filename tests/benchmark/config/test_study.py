"""The `study` of a suite: spaces, seeds, samplers, and the error for everything else."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError

from quadrat.benchmark.config.study import Study, values_of
from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.errors import SuiteError

FIXED = {"norm": 2, "d2_d1": 2.0, "d3_d2": 1.0, "w_spatial": 1.0}


def make_study(**changes: Any) -> Study:
    values = {"strategy": "entropy-spatial", "candidates": 4, "search_seeds": [7, 8]}
    return Study.model_validate({**values, **changes})


def test_the_space_is_the_strategys_own_with_overrides_and_without_fixed_parameters() -> None:
    study = make_study(
        params={"norm": 2, "d2_d1": 2.0},
        space={
            "cutoff": {"float": [1, 4], "step": 0.5},
            "w_spatial": {"float": [0.1, 10], "log": True},
            "region_size": [16, 24, 32],
            "pca_dim": {"int": [8, 32], "step": 8},
        },
    )
    assert study.distributions() == {
        "cutoff": FloatDistribution(1, 4, step=0.5),
        "d3_d2": FloatDistribution(1.0, 2.5),
        "w_spatial": FloatDistribution(0.1, 10, log=True),
        "region_size": CategoricalDistribution((16, 24, 32)),
        "pca_dim": IntDistribution(8, 32, step=8),
    }


def test_choices_may_be_of_several_kinds() -> None:
    assert make_study(space={"norm": [1, 2, "inf"]}).distributions()["norm"] == CategoricalDistribution((1, 2, "inf"))


def test_the_values_of_a_dimension_of_choices_or_whole_numbers_are_known() -> None:
    assert values_of(CategoricalDistribution((16, 24))) == (16, 24)
    assert values_of(IntDistribution(8, 32, step=8)) == (8, 16, 24, 32)


def test_every_candidate_has_a_sampler_of_its_own_seed_so_that_a_resumed_study_draws_anew() -> None:
    import optuna

    study = make_study(sampler="RandomSampler", params={**FIXED})
    drawn = []
    for number in (0, 1, 0):
        one = optuna.create_study(sampler=study.make_sampler(number))
        drawn.append(one.ask(fixed_distributions=study.distributions()).params["cutoff"])
    assert drawn[0] == drawn[2] != drawn[1]


def test_halving_is_the_default_and_two_objectives_have_no_pruner() -> None:
    assert type(make_study().make_pruner()).__name__ == "SuccessiveHalvingPruner"
    assert type(make_study(pruner="none").make_pruner()).__name__ == "NopPruner"
    two = make_study(objective=["area", "select-seconds"])
    assert type(two.make_pruner()).__name__ == "NopPruner"
    assert two.directions == ("maximize", "minimize")


def test_a_grid_sampler_gets_the_choices_of_the_space() -> None:
    study = make_study(params=FIXED, space={"cutoff": [1.5, 3.0]}, sampler="GridSampler")
    assert type(study.make_sampler(0)).__name__ == "GridSampler"


STUDY = {"strategy": "entropy-spatial", "candidates": 2, "search_seeds": [7]}


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"search_seeds": [0, 7]}, ["study.search_seeds other than the report's seeds, [0]", "0 is in both"]),
        ({"report_seeds": [1]}, ["study", "no 'report_seeds'", "the suite's own 'seeds'"]),
        ({"search_seeds": []}, ["study.search_seeds", "at least one item"]),
        ({"search_seeds": [7, 7]}, ["study.search_seeds", "differ", "[7, 7]"]),
        ({"candidates": 0}, ["study.candidates", "greater than 0"]),
        ({"best": 3}, ["study", "at least as many candidates", "best = 3"]),
        ({"objective": "miou"}, ["study.objective.0", "'area', 'cost-95' or 'select-seconds'", "'miou'"]),
        ({"objective": ["area", "area"]}, ["study.objective", "differ"]),
        ({"objective": "cost-95"}, ["full_supervision: true"]),
        ({"strategy": "entropy-spatail"}, ["study", "entropy-spatial"]),
        ({"params": {"cutof": 2}}, ["study", "cutof"]),
        ({"params": {"cutoff": 2}, "space": {"cutoff": [1, 2]}}, ["'cutoff' either in params", "not in both"]),
        ({"space": {"cutof": [1, 2]}}, ["study", "there is no 'cutof'", "region_size"]),
        ({"space": {"cutoff": {"float": [-1, 2]}}}, ["study", "cutoff", "-1"]),
        ({"space": {"cutoff": {"float": [4, 1]}}}, ["space.cutoff as {float: [1, 6]}", "[4, 1]"]),
        ({"space": {"cutoff": {"flaot": [1, 2]}}}, ["space.cutoff as {float: [1, 6]}", "flaot"]),
        ({"space": {"cutoff": {"float": [1, 2], "base": 3}}}, ["space.cutoff as", "base"]),
        ({"space": {"cutoff": 3}}, ["space.cutoff as", "not 3"]),
        ({"space": {"cutoff": []}}, ["space.cutoff as", "not []"]),
        ({"space": {"region_size": [16, 0]}}, ["space.region_size of whole pixels", "not 0"]),
        ({"space": {"region_size": {"float": [8, 16]}}}, ["space.region_size of whole pixels", "8.0"]),
        ({"strategy": "random"}, ["something to search", "'random' has no space"]),
        ({"sampler": "TPE"}, ["a sampler of Optuna", "TPESampler", "'TPE'"]),
        ({"sampler": {"name": "TPESampler", "params": {"x": 1}}}, ["Optuna's TPESampler takes", "'x'"]),
        ({"sampler": "GridSampler"}, ["GridSampler takes no range", "'cutoff'"]),
        ({"sampler": "BaseGASampler"}, ["a sampler of Optuna", "there is no sampler 'BaseGASampler'"]),
        ({"sampler": "PartialFixedSampler"}, ["a sampler of Optuna", "there is no sampler 'PartialFixedSampler'"]),
        ({"pruner": "WilcoxonPruner"}, ["a pruner that compares rounds", "MedianPruner"]),
        ({"pruner": "ASHA"}, ["a pruner of Optuna", "SuccessiveHalvingPruner", "'ASHA'"]),
        ({"objective": ["area", "select-seconds"], "pruner": "MedianPruner"}, ["pruner: none"]),
        ({"sampler": {"nam": "TPESampler"}}, ["study.sampler.nam", "did you mean 'name'?"]),
        ({"candidate": 3}, ["study.candidate", "did you mean 'candidates'?"]),
    ],
)
def test_errors_of_a_study_name_file_key_expected_and_got(
    write_suite: Callable[..., Path], changes: dict[str, Any], fragments: list[str]
) -> None:
    path = write_suite(study={**STUDY, **changes})
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    for fragment in (str(path), *fragments):
        assert fragment in str(caught.value)


def test_a_sampler_that_lacks_a_package_is_refused_before_a_study_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """CmaEsSampler is created without `cmaes`, and imports it with the second candidate."""
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(ValidationError, match=r"a sampler that works on this study; CmaEsSampler does not: .*cmaes"):
        make_study(sampler="CmaEsSampler")
