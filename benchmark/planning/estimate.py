"""Estimated hours, memory and disk of a suite: the speed measured of its recipe, times its work."""

import os
from dataclasses import dataclass
from typing import Final

from quadrat.benchmark.config.sharing import fitted_models, planned_round
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import cuts
from quadrat.benchmark.planning.extent import DataExtent
from quadrat.benchmark.planning.measure import Measured
from quadrat.benchmark.planning.work import Workload, count_work

__all__ = ["Estimate", "estimate", "trials_in_flight"]

_BYTES_PER_SELECTED: Final = 28
"""Bytes of a region in a selection file: region and potential (8 each), image, row and column (4 each)."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Estimated time and disk of a suite.

    Attributes:
        fit_s: Seconds of all fits, one after the other.
        evaluate_s: Seconds of all evaluations.
        score_s: Seconds of all scoring passes.
        encode_s: Seconds of encoding the images once, for a frozen encoder.
        device_s: GPU seconds, or CPU core seconds, of all of that.
        num_devices: GPUs, or CPU cores.
        in_flight: Trials at a time.
        wall_s: Seconds until the last trial is done, with what running side by side costs.
        packed_bytes: Disk of the packed splits.
        feature_bytes: Disk of the frozen encoder's features.
        light_bytes: Disk of the store that is left with `keep: light`.
        all_bytes: Disk of the store with `keep: all`.
        selection_bytes: Disk of the selections.
    """

    fit_s: float
    evaluate_s: float
    score_s: float
    encode_s: float
    device_s: float
    num_devices: int
    in_flight: int
    wall_s: float
    packed_bytes: int
    feature_bytes: int
    light_bytes: int
    all_bytes: int
    selection_bytes: int


def estimate(suite: Suite, extent: DataExtent, measured: Measured, num_devices: int) -> Estimate:
    """Return the estimate of a suite on `num_devices` GPUs, or CPU cores when its trials have no GPU.

    Trials that share a GPU are counted as if they took turns: sharing can only be faster.
    """
    work, is_gpu = count_work(suite, extent), measured.is_gpu
    fit_s = work.num_iterations * measured.iteration_s
    evaluate_s = work.num_evaluations * extent.num_test * measured.evaluate_s
    score_s = sum(passes * extent.num_pool * measured.score_s[needs] for needs, passes in work.scorings.items())
    encode_s = (extent.num_pool + extent.num_test) * measured.encode_s
    total_s = fit_s + evaluate_s + score_s
    in_flight = trials_in_flight(suite, work, num_devices, is_gpu=is_gpu)
    lanes = min(in_flight, num_devices) if is_gpu else in_flight
    slowdown = measured.side_by_side if in_flight > 1 else 1.0
    per_iteration_s = total_s / max(1, work.num_iterations)
    return Estimate(
        fit_s=fit_s,
        evaluate_s=evaluate_s,
        score_s=score_s,
        encode_s=encode_s,
        device_s=(total_s + encode_s) * measured.cores,
        num_devices=num_devices,
        in_flight=in_flight,
        wall_s=encode_s + slowdown * max(total_s / lanes, work.longest_iterations * per_iteration_s),
        packed_bytes=extent.packed_bytes,
        feature_bytes=(extent.num_pool + extent.num_test) * measured.feature_bytes,
        light_bytes=_light_models(suite, work) * measured.fitted_bytes,
        all_bytes=work.num_fits * measured.fitted_bytes + _score_bytes(suite, extent, work),
        selection_bytes=work.num_selected * _BYTES_PER_SELECTED,
    )


def trials_in_flight(suite: Suite, work: Workload, num_devices: int, *, is_gpu: bool) -> int:
    """Return how many trials run at a time on `num_devices` GPUs, or CPU cores when they have no GPU."""
    need = suite.resources
    if is_gpu and not need.gpus:  # all share the GPUs, as many as the cores hold
        slots = need.slots(num_cpus=len(os.sched_getaffinity(0)), num_gpus=0)
    elif is_gpu:
        slots = need.slots(num_cpus=None, num_gpus=num_devices)
    else:
        slots = need.slots(num_cpus=num_devices, num_gpus=0)
    slots = max(1, slots)
    return min(slots, need.max_in_flight or slots, work.num_trials)


def _light_models(suite: Suite, work: Workload) -> int:
    """Return the models that are left at the end with `keep: light`: every shared round 0, and each trial's last."""
    first = {
        (planned_round(spec, 0), member)
        for spec in suite.trials()
        for member in range(fitted_models(spec, 0))
        if spec.budgets
    }
    return min(work.num_fits, work.num_trials + len(first))


def _score_bytes(suite: Suite, extent: DataExtent, work: Workload) -> int:
    """Return the bytes of all scores, profiles left out."""
    regions = max(extent.num_regions(*cut) for cut in cuts(suite.trials()))
    width = suite.learner.decoder_channels
    return sum(
        4 * regions * (len(needs.signals) + (width if needs.features else 0)) * passes
        for needs, passes in work.scorings.items()
    )
