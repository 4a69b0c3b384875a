"""Contrasts in a two-way layout: against statsmodels' regression, published formulas and simulated error rates."""

import tracemalloc

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from quadrat.benchmark.analysis.block_design import BlockDesign, ContrastFit

Cells = list[tuple[int, int]]  # (strategy, block)

COMPLETE: Cells = [(strategy, block) for strategy in range(5) for block in range(4)]
MISSING: Cells = [cell for cell in COMPLETE if cell not in {(1, 0), (1, 3), (3, 2), (4, 1)}]


def design_of(cells: Cells, num_strategies: int = 5) -> BlockDesign:
    contrasts = [(strategy, 0) for strategy in range(1, num_strategies)]
    return BlockDesign.of([strategy for strategy, _ in cells], [block for _, block in cells], contrasts)


def values_of(cells: Cells, seed: int) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    block, strategy = rng.normal(0, 3, 9), rng.normal(0, 2, 9)
    return np.array([50 + strategy[k] + block[b] + rng.normal(0, 1 + k) for k, b in cells])


@pytest.mark.parametrize("cells", [COMPLETE, MISSING], ids=["complete", "missing cells"])
@pytest.mark.parametrize("seed", range(5))
def test_gains_and_their_errors_are_those_of_a_regression_on_strategy_and_block(cells: Cells, seed: int) -> None:
    values = values_of(cells, seed)
    found = design_of(cells).fit(values[None])
    frame = pd.DataFrame({"y": values, "strategy": [k for k, _ in cells], "block": [b for _, b in cells]})
    expected = smf.ols("y ~ C(strategy) + C(block)", frame).fit()
    names = [f"C(strategy)[T.{strategy}]" for strategy in range(1, 5)]
    assert found.df == expected.df_resid
    assert found.gain_BC[0] == pytest.approx(expected.params[names].to_numpy())
    assert found.error_BC[0] == pytest.approx(expected.bse[names].to_numpy())
    assert found.variance_B[0] == pytest.approx(expected.mse_resid)


def test_a_complete_layout_has_the_degrees_of_freedom_of_the_two_way_table() -> None:
    assert design_of(COMPLETE).df == (5 - 1) * (4 - 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_variance_of_a_claim_is_the_larger_of_the_pooled_one_and_shuklas(seed: int) -> None:
    values = values_of(COMPLETE, seed).reshape(5, 4)
    residual = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    squares = (residual**2).sum(1)
    shukla = (5 * 4 * squares - squares.sum()) / ((4 - 1) * (5 - 1) * (5 - 2))  # Shukla 1972, equation 2.4
    shukla = np.maximum(shukla, 0)
    pooled = squares.sum() / 12
    found = design_of(COMPLETE).fit(values.reshape(1, -1))
    expected = np.sqrt(np.maximum(2 * pooled, shukla[1:] + shukla[0]) / 4)
    assert found.claim_error_BC[0] == pytest.approx(expected)


@pytest.mark.parametrize("cells", [COMPLETE, MISSING], ids=["complete", "missing cells"])
def test_the_variance_of_each_strategy_is_estimated_without_bias(cells: Cells) -> None:
    std = np.array([1.0, 3.0, 1.0, 2.0, 0.5])
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((20_000, len(cells))) * std[[strategy for strategy, _ in cells]]
    found = design_of(cells)._own_variances(design_of(cells).residuals(noise))
    assert found.mean(axis=0) == pytest.approx(std**2, abs=0.12)


@pytest.mark.parametrize("cells", [COMPLETE, MISSING], ids=["complete", "missing cells"])
def test_degrees_of_freedom_of_a_claim_are_boxs(cells: Cells) -> None:
    """Box: a quadratic form is like a chi2 with (sum of eigenvalues)^2 / (sum of their squares) degrees of freedom."""
    design, values = design_of(cells), values_of(cells, 3)
    columns = np.array([[float(k == a) for a in range(5)] + [float(b == a) for a in range(4)] for k, b in cells])
    residual = np.eye(len(cells)) - columns @ np.linalg.pinv(columns)
    own = np.maximum(design._own_variances((values @ residual)[None])[0], 0)
    eigenvalues = np.linalg.eigvals(residual @ np.diag(own[[k for k, _ in cells]]) @ residual).real
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert design.fit(values[None]).claim_df_B[0] == pytest.approx(min(expected, design.df))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_computed_without_a_matrix_of_cells_by_cells_is_what_that_matrix_gives(seed: int) -> None:
    """Against the projection itself, on layouts with holes, two cells of a strategy in a block, and two components."""
    rng = np.random.default_rng(seed)
    cells = [cell for cell in COMPLETE if rng.random() < 0.8] + [(0, 0), (1, 0), (0, 1)]
    if seed == 3:  # strategies 5 and 6 share no block with the others
        cells += [(strategy, block) for strategy in (5, 6) for block in (4, 5)]
    strategies, blocks = np.array(cells).T
    columns = np.concatenate([np.eye(7)[strategies], np.eye(6)[blocks]], axis=1)
    residual = np.eye(len(cells)) - columns @ np.linalg.pinv(columns)
    design = BlockDesign.of(strategies.tolist(), blocks.tolist(), [(1, 0)])
    assert design.df == round(float(np.trace(residual)))
    values = rng.normal(0, 10, (3, len(cells)))
    assert design.residuals(values) == pytest.approx(values @ residual, abs=1e-9)
    assert design._residual_diagonal_N == pytest.approx(np.diag(residual), abs=1e-9)
    is_its = np.eye(7)[strategies].T[: strategies.max() + 1]
    assert design._squared_KK == pytest.approx(is_its @ residual**2 @ is_its.T, abs=1e-9)
    inverse = np.linalg.pinv(columns)
    assert design._weight_CN[0] == pytest.approx(inverse[1] - inverse[0], abs=1e-9)


def test_ten_thousand_trials_are_fitted_in_little_memory() -> None:
    cells = [(strategy, block) for strategy in range(5) for block in range(2000)]
    tracemalloc.start()
    found = design_of(cells).fit(np.random.default_rng(0).normal(0, 1, (1, len(cells))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * 2**20  # a matrix of cells by cells alone has 763 MiB
    assert (found.df, found.variance_B[0]) == (4 * 1999, pytest.approx(1, abs=0.05))


def test_two_strategies_make_a_paired_t_test() -> None:
    first, second = np.array([50.1, 52.3, 51.2, 53.9]), np.array([49.0, 52.5, 50.0, 51.0])
    cells = [(0, block) for block in range(4)] + [(1, block) for block in range(4)]
    found = design_of(cells, 2).fit(np.concatenate([first, second])[None])
    expected = stats.ttest_rel(second, first)
    assert found.gain_BC[0, 0] / found.error_BC[0, 0] == pytest.approx(expected.statistic)
    assert found.claim_error_BC[0, 0] == pytest.approx(found.error_BC[0, 0])
    assert (found.df, found.claim_df_B[0]) == (3, pytest.approx(3))


def test_what_all_strategies_of_a_block_share_changes_nothing() -> None:
    values = values_of(MISSING, 1)
    shifted = values + np.array([10.0, -20.0, 5.0, 0.0])[[block for _, block in MISSING]]
    before, after = (design_of(MISSING).fit(one[None]) for one in (values, shifted))
    assert after.gain_BC == pytest.approx(before.gain_BC)
    assert after.claim_error_BC == pytest.approx(before.claim_error_BC)


def test_values_that_fit_exactly_have_no_error() -> None:
    values = np.array([41.3 + strategy + 0.1 * block for strategy, block in COMPLETE])
    found = design_of(COMPLETE).fit(values[None])
    assert found.gain_BC[0] == pytest.approx([1, 2, 3, 4])
    assert (found.error_BC == 0).all() and (found.claim_error_BC == 0).all()


@pytest.mark.parametrize("num_seeds", [3, 5, 10])
@pytest.mark.parametrize(
    "std", [(1.0,) * 8, (2.0, *(1.0,) * 7), (1.0, 3.0, *(1.0,) * 6)], ids=["equal", "first", "one"]
)
def test_equal_strategies_are_rarely_told_apart_whatever_their_variances(
    num_seeds: int, std: tuple[float, ...]
) -> None:
    cells = [(strategy, block) for strategy in range(8) for block in range(num_seeds)]
    noise = np.random.default_rng(num_seeds).standard_normal((4000, len(cells)))
    found = design_of(cells, 8).fit(noise * np.array(std)[[strategy for strategy, _ in cells]])
    smallest = _p_values(found).min(axis=1)
    assert (7 * smallest < 0.05).mean() < 0.05 + 3 * (0.05 * 0.95 / 4000) ** 0.5


def _p_values(found: ContrastFit) -> npt.NDArray[np.float64]:
    p_values: npt.NDArray[np.float64] = 2 * stats.t.sf(
        np.abs(found.gain_BC / found.claim_error_BC), found.claim_df_B[:, None]
    )
    return p_values
