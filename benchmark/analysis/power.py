"""What so many seeds can tell: the smallest difference, and the seeds that a difference needs.

A paired t-test of n seeds whose differences have standard deviation s tells a true difference of d with a chance (its
power) that grows with sqrt(n) * d / s [Cohen]. Here the power asked for is 80 %: a difference of the size given below
is still missed in one study of five.

References:
    [Cohen] "Statistical power analysis for the behavioral sciences", 2nd ed., 1988.
"""

import math
from typing import Final

from quadrat.benchmark.analysis.statistics import LEVEL

__all__ = ["POWER", "seeds_needed", "smallest_difference"]

POWER: Final = 0.80
"""The usual power to plan for [Cohen]."""


def smallest_difference(std: float, num: int, *, num_tests: int = 1) -> float | None:
    """Return the smallest true mean difference that `num` paired seeds would tell from zero with 80 % power.

    Args:
        std: Standard deviation of the differences, in the unit of the metric.
        num: Number of seeds.
        num_tests: Comparisons that are judged together: the test is then at 5 % / num_tests, the strictest step of
            Holm's correction.

    Returns:
        In the unit of `std`; None for fewer than two seeds, which tell nothing.

    Examples:
        >>> round(smallest_difference(1.0, 34), 2)  # Cohen: d = 0.5 needs 34 pairs
        0.5
    """
    from statsmodels.stats.power import TTestPower  # here: it takes seconds to import

    if num < 2:
        return None
    if std == 0:
        return 0.0
    effect = TTestPower().solve_power(nobs=num, alpha=(1 - LEVEL) / num_tests, power=POWER, alternative="two-sided")
    return float(effect) * std


def seeds_needed(std: float, difference: float, *, num_tests: int = 1) -> int:
    """Return how many paired seeds tell a true mean difference from zero with 80 % power, at least 2.

    Args:
        std: Standard deviation of the differences.
        difference: The difference to be told, in the same unit; not 0.
        num_tests: As for `smallest_difference`.

    Raises:
        ValueError: When the difference is 0: no number of seeds tells it.

    Examples:
        >>> seeds_needed(1.0, 0.5)
        34
    """
    from statsmodels.stats.power import TTestPower  # here: it takes seconds to import

    if difference == 0:
        raise ValueError("expected a difference that is not 0, got 0: no number of seeds tells it from zero")
    if std == 0:
        return 2
    effect = abs(difference) / std
    alpha = (1 - LEVEL) / num_tests
    if TTestPower().power(effect, 2, alpha, alternative="two-sided") >= POWER:
        return 2
    found = TTestPower().solve_power(effect_size=effect, alpha=alpha, power=POWER, alternative="two-sided")
    return math.ceil(float(found))
