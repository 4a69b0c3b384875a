"""How often intervals hold the true value: those that the report prints, and those that it printed before."""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from performance.simulation.claims import areas_of, fit_areas, simultaneous_half_width
from performance.simulation.studies import BETTER, CLICKS, FULL, PIXELS, RANDOM, Array, Noise, Studies, draw_studies
from quadrat.benchmark.analysis.curves import Curve, first_crossing
from quadrat.benchmark.analysis.label_efficiency import CostInterval, cost_to_target, label_efficiency
from quadrat.benchmark.analysis.statistics import LEVEL, half_width
from quadrat.benchmark.seeds import rng

__all__ = ["ALL_GAINS", "BEYOND", "GAIN", "coverage_before", "coverage_of_costs", "coverage_of_gains"]

ALL_GAINS: Final = "all gains in area at once"
"""The simultaneous intervals of the primary analysis: whether all of them hold."""

GAIN: Final = "gain in area, alone"
"""The interval of one comparison of the primary analysis, not corrected."""

BEYOND: Final = "cost beyond the budget"
"""Random's cost to 95 % of full supervision: its true curve ends below."""

# Legend: B studies or draws, S seeds, K strategies (Random is the first), R rounds.


def coverage_of_gains(num_studies: int, num_seeds: int, noise: Noise, std: tuple[float, ...]) -> dict[str, float]:
    """Return the coverage of the intervals of differences, of eight strategies of which the last is better.

    Args:
        num_studies: Studies to draw.
        num_seeds: Seeds of each.
        noise: Of the values.
        std: Of each strategy, see `draw_studies`.
    """
    true_curves = [*[RANDOM] * (len(std) - 1), BETTER]
    studies = draw_studies(num_studies, num_seeds, noise, true_curves, std, name="gains")
    without_noise = np.broadcast_to(np.stack(true_curves), studies.values.shape)
    is_held, single = np.ones(num_studies, dtype=bool), []
    for costs in (PIXELS, studies.clicks):
        fit = fit_areas(areas_of(costs, studies.values))
        # Clicks deviate by trial: the true gain is that of the true curves on average.
        off_BC = np.abs(fit.gain_BC - fit_areas(areas_of(costs, without_noise)).gain_BC.mean(axis=0))
        single.append(off_BC <= special.stdtrit(fit.df, (1 + LEVEL) / 2) * fit.error_BC)
        is_held &= (off_BC <= simultaneous_half_width(fit, 2 * len(off_BC[0]))).all(axis=1)
    difference = studies.values[:, :, 1:, -1] - studies.values[:, :, :1, -1]
    mean, std_of = difference.mean(axis=1), difference.std(axis=1, ddof=1)
    off = mean - ((np.arange(len(std) - 1) == len(std) - 2) * (BETTER[-1] - RANDOM[-1]))
    return {
        ALL_GAINS: float(is_held.mean()),
        GAIN: float(np.mean(single)),
        "paired difference in a round": float((np.abs(off) <= half_width(1.0, num_seeds) * std_of).mean()),
    }


def coverage_of_costs(num_studies: int, num_seeds: int, noise: Noise) -> dict[str, float]:
    """Return the coverage of the intervals of costs, in clicks, by the functions that the report calls."""
    studies = draw_studies(num_studies, num_seeds, noise, [RANDOM, BETTER], name="costs")
    targets = {share: float(np.interp(share * FULL, BETTER, CLICKS)) for share in (0.90, 0.95)}
    relative = float(np.interp(RANDOM[-1], BETTER, CLICKS)) / CLICKS[-1]
    hits: dict[str, list[bool]] = {}
    for study in range(num_studies):
        random, better = (_curves(studies, study, strategy) for strategy in (0, 1))
        full = dict(enumerate(studies.full[study].tolist()))
        for share, cost in targets.items():
            found = cost_to_target(better, full, share)
            assert found is not None and found.interval is not None
            hits.setdefault(f"cost to {100 * share:.0f} % of full supervision", []).append(_holds(found.interval, cost))
        beyond = cost_to_target(random, full, 0.95)
        assert beyond is not None and beyond.interval is not None
        hits.setdefault(BEYOND, []).append(beyond.interval.high is None)
        matched = label_efficiency(better, random)
        assert matched is not None and matched.interval is not None
        hits.setdefault("cost to match Random's end", []).append(_holds(matched.interval, relative))
    return {name: float(np.mean(of)) for name, of in hits.items()}


def coverage_before(num_studies: int, num_seeds: int, noise: Noise, num_draws: int = 1000) -> dict[str, float]:
    """Return the coverage of intervals that are gone: the t-interval of a mean, bootstrap percentiles of costs."""
    studies = draw_studies(num_studies, num_seeds, noise, [RANDOM, BETTER], name="before")
    last = studies.values[:, :, 1, -1]
    half = half_width(1.0, num_seeds) * last.std(axis=1, ddof=1)
    draws = rng(0, "simulation-bootstrap", num_seeds).integers(0, num_seeds, (num_draws, num_seeds))
    to_full, to_random = (np.interp(target, BETTER, PIXELS) for target in (0.95 * FULL, RANDOM[-1]))
    hits = [
        (
            _in_percentiles(study[:, 1], 0.95 * full, draws, float(to_full)),
            _in_percentiles(study[:, 1], study[:, 0, -1], draws, float(to_random)),
        )
        for study, full in zip(studies.values, studies.full, strict=True)
    ]
    return {
        "mean of a round": float((np.abs(last.mean(axis=1) - BETTER[-1]) <= half).mean()),
        "cost to 95 % of full supervision": float(np.mean([hit[0] for hit in hits])),
        "cost to match Random's end": float(np.mean([hit[1] for hit in hits])),
    }


def _in_percentiles(values_SR: Array, target_S: Array, draws_BS: npt.NDArray[np.int64], truth: float) -> bool:
    """Return whether bootstrap percentiles of the first crossing, whole seeds drawn, hold the true cost."""
    drawn_B = first_crossing(
        np.broadcast_to(PIXELS, (len(draws_BS), len(PIXELS))), values_SR[draws_BS].mean(1), target_S[draws_BS].mean(1)
    )
    low, high = np.quantile(drawn_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return bool(low <= truth <= high)


def _curves(studies: Studies, study: int, strategy: int) -> dict[int, Curve]:
    return {
        seed: Curve(
            label=str(strategy),
            seed=seed,
            rounds=tuple(range(len(PIXELS))),
            costs=tuple(studies.clicks[study, seed, strategy].tolist()),
            values=tuple(values.tolist()),
        )
        for seed, values in enumerate(studies.values[study, :, strategy])
    }


def _holds(interval: CostInterval, cost: float) -> bool:
    return (interval.low is None or interval.low <= cost) and (interval.high is None or cost <= interval.high)
