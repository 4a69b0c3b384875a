"""Statistical power: the smallest difference that a number of seeds can detect.

A paired t-test over n seeds whose differences have standard deviation s detects a true difference of d with a
probability (its power) that grows with sqrt(n) * d / s [Cohen]. The power asked for is 80 %: a difference of the size
returned is still missed in one study of five.

References:
    [Cohen] "Statistical power analysis for the behavioral sciences", 2nd ed., 1988.
"""

from typing import Final

from quadrat.benchmark.analysis.statistics import LEVEL

__all__ = ["POWER", "detectable_difference"]

POWER: Final = 0.80
"""The usual power to plan for [Cohen]."""


def detectable_difference(std: float, num: int, *, num_tests: int = 1) -> float | None:
    """Return the smallest true mean difference that `num` paired seeds detect with 80 % power.

    Args:
        std: Standard deviation of the differences, in the unit of the metric.
        num: Number of seeds.
        num_tests: Size of the family of comparisons: the test is then at 5 % / num_tests, the strictest step of Holm's
            correction.

    Returns:
        In the unit of `std`; None for fewer than two seeds, which detect nothing.

    Examples:
        >>> round(detectable_difference(1.0, 34), 2)  # Cohen: d = 0.5 needs 34 pairs
        0.5
    """
    from statsmodels.stats.power import TTestPower  # here: it takes seconds to import

    if num < 2:
        return None
    if std == 0:
        return 0.0
    effect = TTestPower().solve_power(nobs=num, alpha=(1 - LEVEL) / num_tests, power=POWER, alternative="two-sided")
    return float(effect) * std
