"""References that see labels: they get the oracle's answer and nobody else does, and are marked wherever they show."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from click.testing import CliRunner

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.reporting.provenance import SEES_LABELS, strategy_settings
from quadrat.benchmark.results.trials import Results
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial
from quadrat.cluster.cli.main import cli
from quadrat.strategies import Needs, OracleStrategy, Pool, StrategyError, Truth, available, load, sees_labels
from quadrat.strategies.testing import example_pool

REFERENCES = ["class-aware-random", "oracle-error"]


def pool_of(num_regions: int, labelled: tuple[int, ...] = ()) -> Pool:
    return Pool(
        image=np.zeros(num_regions, int),
        row=np.zeros(num_regions, int),
        col=np.arange(num_regions),
        pixels=np.ones(num_regions, int),
        labelled=np.isin(np.arange(num_regions), labelled),
    )


def choose(name: str, pool: Pool, budget: int, truth: Truth | None, seed: int = 0) -> list[int]:
    strategy = load(name)
    assert isinstance(strategy, OracleStrategy)
    return strategy.select(pool, budget, np.random.default_rng(seed), truth).regions.tolist()


def test_oracle_error_takes_what_is_most_wrong() -> None:
    truth = Truth(errors=np.float32([0.1, 0.9, 0.5, 1.0, 0.5]))
    assert choose("oracle-error", pool_of(5, (3,)), 3, truth) == [1, 2, 4]


def test_class_aware_random_buys_a_rare_class_as_often_as_a_common_one() -> None:
    shares = np.zeros((100, 2), np.float32)
    shares[:, 0], shares[7] = 1.0, (0.0, 1.0)
    first = [choose("class-aware-random", pool_of(100), 1, Truth(class_shares=shares), seed)[0] for seed in range(400)]
    assert np.mean(np.array(first) == 7) == pytest.approx(0.5, abs=0.08)


def test_class_aware_random_draws_by_how_much_of_the_class_a_region_holds() -> None:
    shares = np.float32([[0.1], [0.3], [0.6]])
    drawn = [choose("class-aware-random", pool_of(3), 2, Truth(class_shares=shares), seed) for seed in range(3000)]
    first = np.bincount([picks[0] for picks in drawn], minlength=3) / 3000
    np.testing.assert_allclose(first, [0.1, 0.3, 0.6], atol=0.04)
    after_the_last = [picks[1] for picks in drawn if picks[0] == 2]
    np.testing.assert_allclose(np.bincount(after_the_last, minlength=2) / len(after_the_last), [0.25, 0.75], atol=0.05)


def test_regions_of_no_class_are_drawn_last() -> None:
    shares = np.float32([[0, 0], [0, 1], [0, 0], [1, 0]])
    picks = choose("class-aware-random", pool_of(4), 4, Truth(class_shares=shares))
    assert set(picks[:2]) == {1, 3} and set(picks[2:]) == {0, 2}


def test_a_truth_of_another_pool_is_refused() -> None:
    with pytest.raises(StrategyError, match="oracle-error: expected errors of 5 regions, got 4"):
        choose("oracle-error", pool_of(5), 2, Truth(errors=np.zeros(4, np.float32)))


def test_a_truth_without_what_is_asked_for_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"oracle-error sees labels: expected truth with errors, .* got none"):
        choose("oracle-error", pool_of(5), 2, Truth(class_shares=np.zeros((5, 2), np.float32)))


def test_just_these_two_are_marked_and_nothing_in_a_pool_is_truth() -> None:
    assert sorted(name for name in available() if sees_labels(name)) == REFERENCES
    assert not sees_labels("no-such-strategy")
    assert not set(Truth.__dataclass_fields__) & set(Pool.__dataclass_fields__)
    pool = example_pool(Needs())
    assert not hasattr(pool, "class_shares") and not hasattr(pool, "errors")


def test_list_and_show_mark_them(write_suite) -> None:
    listed = CliRunner().invoke(cli, ["list", "strategies"]).output.splitlines()
    assert sorted(line.split()[0] for line in listed if "SEES LABELS" in line) == REFERENCES
    shown = CliRunner().invoke(cli, ["show", str(write_suite(strategies=["random", "oracle-error"]))]).output
    assert next(line for line in shown.splitlines() if "SEES LABELS" in line).startswith("oracle-error")


def test_the_report_marks_them() -> None:
    names = ["random", *REFERENCES]
    trials = [SimpleNamespace(label=name, strategy=name, params={}, is_reference=False) for name in names]
    facts = strategy_settings(cast(Results, SimpleNamespace(trials=trials)))
    assert [SEES_LABELS in fact.text for fact in facts] == [False, True, True]


def test_in_a_trial_they_get_the_oracles_answer_and_it_is_the_truth(write_suite, tmp_path, monkeypatch) -> None:
    bench = TrialContext.open(load_suite(write_suite(strategies=REFERENCES, budgets=[6, 12])), tmp_path / "results")
    told: dict[str, Truth] = {}
    select = OracleStrategy.select

    def spy(self, pool, budget, rng, truth=None):
        assert not pool.signals and pool.features is None and not pool.profiles
        told[self.name] = truth
        return select(self, pool, budget, rng, truth)

    monkeypatch.setattr(OracleStrategy, "select", spy)
    for spec in bench.suite.trials():
        if spec.strategy in REFERENCES:
            assert len(list(run_trial(spec, bench))) == 2
    grid, masks = bench.grid(16), bench.pool.masks
    shares, errors = told["class-aware-random"].class_shares, told["oracle-error"].errors
    assert told["class-aware-random"].errors is None and told["oracle-error"].class_shares is None
    assert shares is not None and errors is not None
    for region in range(grid.num_regions):
        top, left, bottom, right = grid.box(region)
        inside = masks.mask(int(grid.image[region]))[top:bottom, left:right]
        expected = np.bincount(inside.ravel(), minlength=256)[: masks.num_classes] / inside.size
        np.testing.assert_allclose(shares[region], expected, atol=1e-6)
    assert errors.shape == (grid.num_regions,) and (errors >= 0).all() and (errors <= 1 + 1e-6).all()
    assert errors.std() > 0
