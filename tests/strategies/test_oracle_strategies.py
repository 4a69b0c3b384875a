"""Oracle strategies: they alone receive ground truth, and every list and report marks them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from click.testing import CliRunner
from support.pools import float32, line_pool

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.reporting.provenance import SEES_LABELS, strategy_settings
from quadrat.benchmark.results.trials import Results
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial
from quadrat.cluster.cli.main import cli
from quadrat.strategies import (
    Needs,
    OracleStrategy,
    Pool,
    Selection,
    StrategyError,
    Truth,
    available,
    sees_labels,
)
from quadrat.strategies.oracle_strategies import ClassAwareRandom, OracleError
from quadrat.strategies.testing import example_pool

ORACLE_STRATEGIES = ["class-aware-random", "oracle-error"]


WriteSuite = Callable[..., Path]


def select(strategy: OracleStrategy, pool: Pool, budget: int, truth: Truth | None, seed: int = 0) -> list[int]:
    regions: list[int] = strategy.select(pool, budget, np.random.default_rng(seed), truth).regions.tolist()
    return regions


def test_oracle_error_selects_the_largest_errors() -> None:
    truth = Truth(errors=float32([0.1, 0.9, 0.5, 1.0, 0.5]))
    assert select(OracleError(), line_pool(5, labelled=(3,)), 3, truth) == [1, 2, 4]


def test_class_aware_random_draws_a_rare_class_as_often_as_a_common_one() -> None:
    shares = np.zeros((100, 2), np.float32)
    shares[:, 0], shares[7] = 1.0, (0.0, 1.0)
    first = [select(ClassAwareRandom(), line_pool(100), 1, Truth(class_shares=shares), seed)[0] for seed in range(400)]
    assert np.mean(np.array(first) == 7) == pytest.approx(0.5, abs=0.08)


def test_class_aware_random_draws_in_proportion_to_the_class_share() -> None:
    shares = float32([[0.1], [0.3], [0.6]])
    drawn = [select(ClassAwareRandom(), line_pool(3), 2, Truth(class_shares=shares), seed) for seed in range(3000)]
    first = np.bincount([selected[0] for selected in drawn], minlength=3) / 3000
    np.testing.assert_allclose(first, [0.1, 0.3, 0.6], atol=0.04)
    after_the_last = [selected[1] for selected in drawn if selected[0] == 2]
    np.testing.assert_allclose(np.bincount(after_the_last, minlength=2) / len(after_the_last), [0.25, 0.75], atol=0.05)


def test_regions_of_no_class_are_drawn_last() -> None:
    shares = float32([[0, 0], [0, 1], [0, 0], [1, 0]])
    selected = select(ClassAwareRandom(), line_pool(4), 4, Truth(class_shares=shares))
    assert set(selected[:2]) == {1, 3} and set(selected[2:]) == {0, 2}


def test_a_truth_of_another_pool_is_refused() -> None:
    with pytest.raises(StrategyError, match="oracle-error: expected errors of 5 regions, got 4"):
        select(OracleError(), line_pool(5), 2, Truth(errors=np.zeros(4, np.float32)))


def test_a_truth_without_the_requested_field_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"oracle-error sees labels: expected truth with errors, .* got none"):
        select(OracleError(), line_pool(5), 2, Truth(class_shares=np.zeros((5, 2), np.float32)))


def test_two_strategies_are_marked_and_a_pool_holds_no_truth() -> None:
    assert sorted(name for name in available() if sees_labels(name)) == ORACLE_STRATEGIES
    assert not sees_labels("no-such-strategy")
    assert not set(Truth.__dataclass_fields__) & set(Pool.__dataclass_fields__)
    pool = example_pool(Needs())
    assert not hasattr(pool, "class_shares") and not hasattr(pool, "errors")


def test_list_and_show_mark_them(write_suite: WriteSuite) -> None:
    listed = CliRunner().invoke(cli, ["list", "strategies"]).output.splitlines()
    assert sorted(line.split()[0] for line in listed if "SEES LABELS" in line) == ORACLE_STRATEGIES
    shown = CliRunner().invoke(cli, ["show", str(write_suite(strategies=["random", "oracle-error"]))]).output
    assert next(line for line in shown.splitlines() if "SEES LABELS" in line).startswith("oracle-error")


def test_the_report_marks_them() -> None:
    names = ["random", *ORACLE_STRATEGIES]
    trials = [SimpleNamespace(label=name, strategy=name, params={}, is_full_supervision=False) for name in names]
    facts = strategy_settings(cast(Results, SimpleNamespace(trials=trials)))
    assert [SEES_LABELS in fact.text for fact in facts] == [False, True, True]


def test_a_trial_gives_them_the_truth(write_suite: WriteSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = TrialContext.open(
        load_suite(write_suite(strategies=ORACLE_STRATEGIES, budgets=[6, 12])), tmp_path / "results"
    )
    received: dict[str, Truth] = {}
    select_unpatched = OracleStrategy.select

    def spy(
        self: OracleStrategy, pool: Pool, budget: int, rng: np.random.Generator, truth: Truth | None = None
    ) -> Selection:
        assert not pool.signals and pool.features is None and not pool.profiles
        assert truth is not None
        received[self.name] = truth
        return select_unpatched(self, pool, budget, rng, truth)

    monkeypatch.setattr(OracleStrategy, "select", spy)
    for spec in context.suite.trials():
        if spec.strategy in ORACLE_STRATEGIES:
            assert len(list(run_trial(spec, context))) == 2
    grid, masks = context.data.layout(16), context.data.pool.masks
    shares, errors = received["class-aware-random"].class_shares, received["oracle-error"].errors
    assert received["class-aware-random"].errors is None and received["oracle-error"].class_shares is None
    assert shares is not None and errors is not None
    for region in range(grid.num_regions):
        top, left, bottom, right = grid.box(region)
        inside = masks.mask(int(grid.image[region]))[top:bottom, left:right]
        expected = np.bincount(inside.ravel(), minlength=256)[: masks.num_classes] / inside.size
        np.testing.assert_allclose(shares[region], expected, atol=1e-6)
    assert errors.shape == (grid.num_regions,) and (errors >= 0).all() and (errors <= 1 + 1e-6).all()
    assert errors.std() > 0
