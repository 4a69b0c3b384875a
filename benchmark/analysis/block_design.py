"""Contrasts of strategies in a two-way layout, strategies x blocks, with one error variance pooled over strategies.

A value is strategy + block + error. Strategies of a block (a seed) share labels and model of round 0, so the block
takes out what they share. Fitted by least squares with fixed blocks, which needs no complete layout: a missing cell
costs the information that it would have held, and nothing else.

Two standard errors come out. The one for intervals takes the error to vary equally in all strategies [Scheffe]. The one
for claims does not rely on it: its variance is the larger of the pooled one and that of the strategies compared, each
estimated from its own residuals ([Shukla], for incomplete layouts by [Rao]'s equations), and its degrees of freedom are
[Box]'s, those of the pooled variance given those estimates. With few seeds both steps err on the side of no claim.

References:
    [Box] "Some theorems on quadratic forms applied in the study of analysis of variance problems, I",
        Ann. Math. Statistics 25, 1954: degrees of freedom of a sum of unequal variances.
    [Rao] "Estimation of heteroscedastic variances in linear models", J. American Statistical Association 65, 1970.
    [Scheffe] "The analysis of variance", 1959, chapter 4: the two-way layout.
    [Shukla] "An invariant test for the homogeneity of variances in a two-way classification", Biometrics 28, 1972.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["BlockDesign", "ContrastFit"]

# Legend: B repetitions, N cells, K strategies, C contrasts, b blocks.

_TOLERANCE = 1e-9


class ContrastFit(NamedTuple):
    """Differences between two strategies, estimated in one layout.

    Attributes:
        gain_BC: First strategy minus second.
        error_BC: Standard error with the pooled variance.
        df: Degrees of freedom of the pooled variance.
        claim_error_BC: Standard error for claims, never below `error_BC`.
        claim_df_B: Degrees of freedom for claims, never above `df`.
        variance_B: The pooled error variance of one cell.
    """

    gain_BC: npt.NDArray[np.float64]
    error_BC: npt.NDArray[np.float64]
    df: int
    claim_error_BC: npt.NDArray[np.float64]
    claim_df_B: npt.NDArray[np.float64]
    variance_B: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BlockDesign:
    """Which strategy was observed in which block, and which two strategies are compared.

    Blocks are eliminated first: with M the projection on what blocks and strategies leave, C the centring within
    blocks, Z = C @ strategies and G = pinv(Z.T @ Z), M = C - Z @ G @ Z.T. So no matrix of N x N is made: time and
    memory grow with N * K^2, and a suite of 10,000 trials is fitted in a second.

    Attributes:
        df: Degrees of freedom of the error: cells minus parameters; (strategies - 1) * (blocks - 1) when complete.
    """

    df: int
    _strategy_KN: npt.NDArray[np.float64]
    _blocks: "_Blocks"
    _centred_NK: npt.NDArray[np.float64]
    _inverse_KK: npt.NDArray[np.float64]
    _weight_CN: npt.NDArray[np.float64]
    _residual_diagonal_N: npt.NDArray[np.float64]
    _squared_KK: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, strategies: Sequence[int], blocks: Sequence[int], contrasts: Sequence[tuple[int, int]]
    ) -> "BlockDesign":
        """Return the design of N cells.

        Args:
            strategies: Of each cell, from 0.
            blocks: Of each cell, from 0.
            contrasts: (first, second) for each difference; the two must share a block, or be linked by shared blocks.
        """
        num_strategies = max(strategies) + 1
        strategy_KN = (np.arange(num_strategies)[:, None] == np.asarray(strategies)[None]).astype(float)
        of_block = _Blocks.of(blocks)
        centred_NK = of_block.centred(strategy_KN).T
        cross_KK = strategy_KN @ centred_NK  # Z.T @ Z, since centring twice changes nothing
        inverse_KK = np.linalg.pinv(cross_KK, rcond=_TOLERANCE, hermitian=True)
        rank = int(np.linalg.matrix_rank(cross_KK, tol=_TOLERANCE * len(strategies), hermitian=True))
        first, second = np.array(contrasts, dtype=int).reshape(-1, 2).T
        projected_N = np.einsum("nk,kj,nj->n", centred_NK, inverse_KK, centred_NK)
        return cls(
            df=len(centred_NK) - len(of_block.sizes) - rank,
            _strategy_KN=strategy_KN,
            _blocks=of_block,
            _centred_NK=centred_NK,
            _inverse_KK=inverse_KK,
            _weight_CN=(inverse_KK[first] - inverse_KK[second]) @ centred_NK.T,
            _residual_diagonal_N=1 - 1 / of_block.sizes[of_block.of_cell] - projected_N,
            _squared_KK=_squared(strategy_KN, of_block, centred_NK, inverse_KK, projected_N),
        )

    def residuals(self, values_BN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return what strategies and blocks leave of B repetitions, (B, N)."""
        centred_BN = self._blocks.centred(values_BN)
        found: npt.NDArray[np.float64] = (
            centred_BN - (centred_BN @ self._centred_NK) @ self._inverse_KK @ self._centred_NK.T
        )
        return found

    def fit(self, values_BN: npt.NDArray[np.float64]) -> ContrastFit:
        """Return the contrasts of B independent repetitions of the layout.

        Args:
            values_BN: (B, N), in the order of the cells. At least one degree of freedom must be left for the error.
        """
        residual_BN = self.residuals(values_BN)
        # Residuals of values that fit exactly are rounding errors, not a variance.
        scale_B = np.abs(values_BN).max(axis=1, keepdims=True)
        residual_BN = np.where(np.abs(residual_BN) > _TOLERANCE * scale_B, residual_BN, 0.0)
        variance_B = (residual_BN**2).sum(axis=1) / self.df
        own_BK = np.maximum(self._own_variances(residual_BN), 0.0)
        share_CK = self._weight_CN**2 @ self._strategy_KN.T
        pooled_BC = variance_B[:, None] * share_CK.sum(axis=1)
        expected_B = own_BK @ (self._strategy_KN @ self._residual_diagonal_N)
        spread_B = np.einsum("bk,kj,bj->b", own_BK, self._squared_KK, own_BK)
        box_B = np.divide(expected_B**2, spread_B, out=np.full(len(spread_B), float(self.df)), where=spread_B > 0)
        return ContrastFit(
            gain_BC=values_BN @ self._weight_CN.T,
            error_BC=np.sqrt(pooled_BC),
            df=self.df,
            claim_error_BC=np.sqrt(np.maximum(pooled_BC, own_BK @ share_CK.T)),
            claim_df_B=np.minimum(box_B, self.df),
            variance_B=variance_B,
        )

    def _own_variances(self, residual_BN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the error variance of each strategy, (B, K), unbiased and hence negative at times.

        The expected sum of squared residuals by strategy is squared_KK @ variances [Rao]; solved for the variances, in
        a complete layout, that is [Shukla]'s estimate.
        """
        own_BK: npt.NDArray[np.float64] = (residual_BN**2) @ self._strategy_KN.T @ np.linalg.pinv(self._squared_KK)
        return own_BK


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The blocks of N cells.

    Attributes:
        of_cell: int64 (N,), the block of each cell.
        sizes: float64 (b,), cells of each block.
    """

    of_cell: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.float64]
    _order: npt.NDArray[np.int64]
    _starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, blocks: Sequence[int]) -> "_Blocks":
        """Return the blocks, numbered anew without those that have no cell."""
        _, of_cell, sizes = np.unique(np.asarray(blocks), return_inverse=True, return_counts=True)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        order = np.argsort(of_cell, kind="stable")
        return cls(of_cell=of_cell, sizes=sizes.astype(float), _order=order, _starts=starts)

    def sums(self, values_BN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the sum over each block, (B, b)."""
        found: npt.NDArray[np.float64] = np.add.reduceat(values_BN[:, self._order], self._starts, axis=1)
        return found

    def centred(self, values_BN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return values minus the mean of their block, (B, N)."""
        means_Bb = self.sums(values_BN) / self.sizes
        found: npt.NDArray[np.float64] = values_BN - means_Bb[:, self.of_cell]
        return found


def _squared(
    strategy_KN: npt.NDArray[np.float64],
    blocks: _Blocks,
    centred_NK: npt.NDArray[np.float64],
    inverse_KK: npt.NDArray[np.float64],
    projected_N: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the sums of the squared entries of M = C - Z @ G @ Z.T over the cells of each two strategies, (K, K).

    With C[n, m] = [n = m] - [n and m in one block] / its size the square has three parts: C[n, m]^2,
    -2 * C[n, m] * (Z @ G @ Z.T)[n, m], and (Z @ G @ Z.T)[n, m]^2, whose sum is a trace.
    """
    num_strategies = len(strategy_KN)
    sizes_N = blocks.sizes[blocks.of_cell]
    count_Kb = blocks.sums(strategy_KN)
    own_K = strategy_KN @ (1 - 2 / sizes_N)
    squared_KK = np.diag(own_K) + (count_Kb / blocks.sizes**2) @ count_Kb.T
    # Rows of Z summed over the cells of a strategy in a block, (K, b, K).
    rows_KbK = np.stack([blocks.sums((centred_NK * is_its_N[:, None]).T).T for is_its_N in strategy_KN])
    weighted_KbK = rows_KbK @ inverse_KK / blocks.sizes[:, None]
    squared_KK -= 2 * (np.diag(strategy_KN @ projected_N) - np.einsum("kbj,lbj->kl", weighted_KbK, rows_KbK))
    moment_KKK = np.einsum("kn,ni,nj->kij", strategy_KN, centred_NK, centred_NK, optimize=True) @ inverse_KK
    flat = moment_KKK.reshape(num_strategies, -1)
    found: npt.NDArray[np.float64] = squared_KK + flat @ moment_KKK.swapaxes(1, 2).reshape(num_strategies, -1).T
    return found
