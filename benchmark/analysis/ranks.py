"""Ranks with ties, and Friedman's test of them.

scipy.stats has both; it takes over a second to import, longer than everything else that `quadrat stats` does.

References:
    [Friedman] "The use of ranks to avoid the assumption of normality", J. American Statistical Association 32, 1937.
    [Conover] "Practical Nonparametric Statistics", 3rd edition, Wiley, 1999, section 5.8: the correction for ties.
"""

import numpy as np
import numpy.typing as npt
from scipy import special  # not scipy.stats

__all__ = ["friedman_p", "rank"]

# Legend: N blocks, K treatments.


def rank(values: npt.ArrayLike, axis: int = -1) -> npt.NDArray[np.float64]:
    """Return the ranks of `values` along `axis`, 1 the lowest; equal values share the mean of their ranks.

    Args:
        values: Finite numbers.
        axis: Along which to rank; of n numbers there, O(n^2).

    >>> rank([0, 2, 3, 2])
    array([1. , 2.5, 4. , 2.5])
    """
    values = np.moveaxis(np.asarray(values, np.float64), axis, -1)
    ordered = np.sort(values, axis=-1)[..., None, :]
    below = np.sum(ordered < values[..., None], axis=-1)
    equal = np.sum(ordered == values[..., None], axis=-1)
    return np.moveaxis(below + (equal + 1) / 2, -1, axis)


def friedman_p(values_KN: npt.ArrayLike) -> float:
    """Return the p-value of Friedman's test: do the treatments' ranks within blocks differ? [Friedman, Conover].

    The statistic, corrected for ties, is held against the chi-squared distribution with K - 1 degrees of freedom; NaN
    where all treatments are tied in every block.

    Args:
        values_KN: Of K treatments, at least three, in N blocks.

    Raises:
        ValueError: With fewer treatments.

    >>> round(friedman_p([[1, 2, 1, 1], [2, 3, 2, 3], [3, 1, 3, 2]]), 4)
    0.1738
    """
    values_KN = np.asarray(values_KN, np.float64)
    num_treatments, num_blocks = values_KN.shape
    if num_treatments < 3:
        raise ValueError(f"expected at least 3 treatments for Friedman's test, got {num_treatments}")
    ranks_KN = rank(values_KN, axis=0)
    counts = [np.unique(block, return_counts=True)[1] for block in values_KN.T]
    ties = sum(float(np.sum(count * (count**2 - 1.0))) for count in counts)
    correction = 1 - ties / (num_treatments * (num_treatments**2 - 1) * num_blocks)
    squares = float(np.sum(ranks_KN.sum(axis=1) ** 2))
    if correction == 0:
        return float("nan")
    statistic = 12 / (num_treatments * num_blocks * (num_treatments + 1)) * squares - 3 * num_blocks * (
        num_treatments + 1
    )
    return float(special.chdtrc(num_treatments - 1.0, statistic / correction))
