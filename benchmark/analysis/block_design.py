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

# Legend: B repetitions, N cells, K strategies, C contrasts.

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

    Attributes:
        df: Degrees of freedom of the error: cells minus parameters; (strategies - 1) * (blocks - 1) when complete.
    """

    df: int
    _strategy_KN: npt.NDArray[np.float64]
    _residual_NN: npt.NDArray[np.float64]
    _weight_CN: npt.NDArray[np.float64]
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
        block_bN = (np.arange(max(blocks) + 1)[:, None] == np.asarray(blocks)[None]).astype(float)
        columns_NP = np.concatenate([strategy_KN, block_bN]).T
        inverse_PN = np.linalg.pinv(columns_NP)
        hat_NN = columns_NP @ inverse_PN
        residual_NN = np.eye(len(hat_NN)) - hat_NN
        first, second = np.array(contrasts, dtype=int).reshape(-1, 2).T
        return cls(
            df=len(hat_NN) - round(float(np.trace(hat_NN))),
            _strategy_KN=strategy_KN,
            _residual_NN=residual_NN,
            _weight_CN=inverse_PN[first] - inverse_PN[second],
            _squared_KK=strategy_KN @ residual_NN**2 @ strategy_KN.T,
        )

    def fit(self, values_BN: npt.NDArray[np.float64]) -> ContrastFit:
        """Return the contrasts of B independent repetitions of the layout.

        Args:
            values_BN: (B, N), in the order of the cells. At least one degree of freedom must be left for the error.
        """
        residual_BN = values_BN @ self._residual_NN
        # Residuals of values that fit exactly are rounding errors, not a variance.
        scale_B = np.abs(values_BN).max(axis=1, keepdims=True)
        residual_BN = np.where(np.abs(residual_BN) > _TOLERANCE * scale_B, residual_BN, 0.0)
        variance_B = (residual_BN**2).sum(axis=1) / self.df
        own_BK = np.maximum(self._own_variances(residual_BN), 0.0)
        share_CK = self._weight_CN**2 @ self._strategy_KN.T
        pooled_BC = variance_B[:, None] * share_CK.sum(axis=1)
        expected_B = own_BK @ (self._strategy_KN @ np.diag(self._residual_NN))
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
