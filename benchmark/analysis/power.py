"""Statistical power: the smallest difference that a number of seeds can detect, and the seeds that a difference needs.

A two-sided t-test over n seeds whose paired differences have standard deviation s detects a true difference of d with a
probability (its power) that follows from the noncentral t distribution with noncentrality sqrt(n) * d / s [Cohen]. The
power asked for is 80 %: a difference of the size returned is still missed in one study of five. What is returned was
solved by bracketing, so that its power is the one asked for.

For two strategies this is exact. With K strategies whose variance is pooled, the test is that of `block_design.py`,
which guards against unequal variances; its mean standard error and degrees of freedom where the variances are equal
stand in for their distributions, which gives 80 % up to a few percent (simulated: results/statistics).

References:
    [Cohen] "Statistical power analysis for the behavioral sciences", 2nd ed., 1988.
    [Owen] "The power of Student's t-test", J. American Statistical Association 60, 1965.
"""

import bisect
import math
from typing import Final

import numpy as np
from scipy import optimize, special  # not scipy.stats, which takes seconds to import

from quadrat.benchmark.analysis.statistics import LEVEL

__all__ = ["MAX_SEEDS", "POWER", "detectable_difference", "power", "seeds_needed"]

POWER: Final = 0.80
"""The usual power to plan for [Cohen]."""

MAX_SEEDS: Final = 100
"""No more seeds than these are planned for."""

_STEPS: Final = (-8.0, -5.0, -2.0, 0.0, 2.0, 5.0, 8.0)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


def power(
    difference: float, std: float, num: int, *, num_tests: int = 1, num_strategies: int = 2, alpha: float = 1 - LEVEL
) -> float:
    """Return the probability that `num` seeds detect a true mean difference.

    Args:
        difference: True mean difference.
        std: Standard deviation of the paired differences, above 0, in the same unit.
        num: Number of seeds, at least 2.
        num_tests: Size of the family of comparisons: the test is then at `alpha` / num_tests, the strictest step of
            Holm's correction.
        num_strategies: Over how many strategies `std` is pooled; two make the paired t-test.
        alpha: Level of the family.

    Examples:
        >>> round(power(0.5, 1.0, 34), 3)  # G*Power: 34 pairs for d = 0.5
        0.808
    """
    inflation, df = _expected(num_strategies, num)
    critical = float(special.stdtrit(df, 1 - alpha / num_tests / 2)) * inflation
    shift = math.sqrt(num) * abs(difference) / std
    return _rejects(critical, df, shift)


def _expected(num_strategies: int, num: int) -> tuple[float, float]:
    """Return by how much the standard error of a claim exceeds the pooled one on average, and its degrees of freedom.

    Where K strategies vary equally, the variance of one pair estimated by itself has mean 1 and variance t^2 =
    (K - 2) / (K - 1) / (n - 1) in units of the pooled one, so the larger of the two is 1 + t / sqrt(2 * pi) on average
    (as for a normal value). Box's degrees of freedom hold the squares of K such variances, each of which is too large
    by 2 * t^2. For two strategies both are those of the paired t-test.
    """
    spread = (num_strategies - 2) / (num_strategies - 1) / (num - 1)
    inflation = math.sqrt(1 + math.sqrt(spread / (2 * math.pi)))
    return inflation, (num_strategies - 1) * (num - 1) / (1 + 2 * spread)


def _rejects(critical: float, df: float, shift: float) -> float:
    """Return P(|T| > critical) for the noncentral t with `df` degrees of freedom and noncentrality `shift` [Owen].

    T = (Z + shift) / X with a standard normal Z and X = sqrt(chi2 / df), so the probability is a mean over X of normal
    tails. Integrated here (Gauss-Legendre, to about 1e-9), since `scipy.special.nctdtr` is NaN at some of the
    critical values of two seeds and in the far tail.
    """
    # Panels where the density and the normal tail live: without them a narrow one would be stepped over.
    spread, turn, slope = 1 / math.sqrt(2 * df), shift / critical, 1 / critical
    breaks = [centre + step * width for centre, width in ((1.0, spread), (turn, slope)) for step in _STEPS]
    last = 1 + 12 * spread
    ends = np.unique([0.0, *(at for at in breaks if 0 < at < last), last])
    low, width = ends[:-1, None], np.diff(ends)[:, None]
    x = low + width * (_NODES + 1) / 2
    constant = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2)
    density = np.exp(constant + (df - 1) * np.log(x) - df * x * x / 2)
    tails = special.ndtr(shift - critical * x) + special.ndtr(-shift - critical * x)
    return float((width / 2 * _WEIGHTS * density * tails).sum())


def detectable_difference(
    std: float, num: int, *, num_tests: int = 1, num_strategies: int = 2, alpha: float = 1 - LEVEL
) -> float | None:
    """Return the smallest true mean difference that `num` seeds detect with 80 % power.

    Args:
        std: Standard deviation of the paired differences, in the unit of the metric.
        num: Number of seeds.
        num_tests: As in `power`.
        num_strategies: As in `power`.
        alpha: As in `power`; below POWER.

    Returns:
        In the unit of `std`; None for fewer than two seeds, which detect nothing.

    Examples:
        >>> round(detectable_difference(1.0, 34), 3)  # Cohen: d = 0.5 needs 34 pairs
        0.495
        >>> round(detectable_difference(1.0, 3, num_tests=7), 2)
        8.66
    """
    if num < 2:
        return None
    if std == 0:
        return 0.0

    def lacking(effect: float) -> float:
        return POWER - power(effect, 1.0, num, num_tests=num_tests, num_strategies=num_strategies, alpha=alpha)

    high = 1.0
    while lacking(high) > 0:
        high *= 2
    return std * float(optimize.brentq(lacking, 0.0, high, xtol=1e-12, rtol=1e-10))


def seeds_needed(
    std: float, difference: float, *, num_tests: int = 1, num_strategies: int = 2, max_seeds: int = MAX_SEEDS
) -> int | None:
    """Return the smallest number of seeds that detects a true mean difference with 80 % power.

    Args:
        std: Standard deviation of the paired differences, in the unit of the metric.
        difference: The true mean difference, of either sign.
        num_tests: As in `power`.
        num_strategies: As in `power`.
        max_seeds: The largest number to return.

    Returns:
        At least 2; None where more than `max_seeds` are needed, as for a difference of zero.

    Examples:
        >>> seeds_needed(1.0, 0.5), seeds_needed(1.0, 5.0, num_tests=7)
        (34, 4)
    """
    if std == 0:
        return 2 if difference else None
    enough = bisect.bisect_left(
        range(2, max_seeds + 1),
        POWER,  # it grows with the seeds
        key=lambda num: power(difference, std, num, num_tests=num_tests, num_strategies=num_strategies),
    )
    return 2 + enough if 2 + enough <= max_seeds else None
