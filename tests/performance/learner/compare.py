"""Paired blocks of the naive baseline and of quadrat, one after the other in the same run."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from performance.learner.case import Case
from performance.learner.process import SideProcess, started
from quadrat.benchmark.errors import QuadratError

__all__ = ["bench_fit", "bench_score"]

# Iterations of the block that the profiler records: it takes much longer to read events than to train.
_RECORDED = 10
# Images that the naive baseline scores in a block: it takes tens of milliseconds for each, quadrat less than one.
_NAIVE_IMAGES = 96

OnRow = Callable[[dict[str, Any]], None]

_EQUAL_IN_FIT = (
    "architecture, widths and initial weights of the network",
    "crop, batch, random scale and flip",
    "optimiser, learning rate and decay",
    "images and labelled regions",
    "device and torch's threads",
)
_NOT_EQUAL_IN_FIT = (
    "the naive baseline decodes the files in worker processes; quadrat maps the pool that was decoded once",
    "the naive baseline crops anywhere in an image; quadrat places each crop on a labelled region",
    "the naive baseline's bilinear enlargement aligns corners, as segmentation-models-pytorch has it",
)
_EQUAL_IN_SCORE = (
    "architecture and widths of the network",
    "images and regions; the mean entropy of every region from the softmax at full resolution",
    "device and torch's threads",
)
_NOT_EQUAL_IN_SCORE = (
    "the naive baseline decodes the files in worker processes; quadrat maps the pool that was decoded once",
    "the naive baseline takes the softmax to numpy; quadrat reduces it to regions on the device",
    "the naive baseline's bilinear enlargement aligns corners, as segmentation-models-pytorch has it",
)


def bench_fit(case: Case, *, iterations: int = 12, repeats: int = 5, on_row: OnRow | None = None) -> dict[str, Any]:
    """Return images per second, memory and the share of waiting of training, quadrat against the naive baseline.

    Args:
        case: What both train.
        iterations: Of one block; a few before them are not timed.
        repeats: Pairs of blocks.
        on_row: Called with the rates of each pair of blocks.

    Returns:
        JSON-plain: the settings, what is equal and what is not, a row a side, and the ratio of each pair. On CUDA a row
        has the share of a further block in which the GPU computed.
    """
    result = _compare(case, ("naive fit", "quadrat fit"), iterations, repeats, on_row)
    unequal = [*_NOT_EQUAL_IN_FIT, *_recipe_differences(case, case.recipe.precision)]
    if case.recipe.loss_stride != 1:
        unequal.append("the naive baseline's loss is per pixel; the recipe's is on the decoder's cells (loss_stride 4)")
    return {**result, "iterations": iterations, "equal": list(_EQUAL_IN_FIT), "not_equal": unequal}


def bench_score(case: Case, *, repeats: int = 5, on_row: OnRow | None = None) -> dict[str, Any]:
    """Return images per second and memory of scoring: quadrat, the naive baseline, and the forward pass alone.

    Args:
        case: What both score; a few images at the beginning are not timed.
        repeats: Rounds of blocks.
        on_row: Called with the rates of each pair of blocks.

    Returns:
        As `bench_fit`; `over_forward` is quadrat's time over that of the same network's forward pass alone.
    """
    sides = ("naive score", "quadrat score", "quadrat forward", "quadrat score with features")
    result = _compare(case, sides, len(case.files), repeats, on_row)
    unequal = [*_NOT_EQUAL_IN_SCORE, *_recipe_differences(case, case.recipe.precision_of_inference)]
    return {**result, "equal": list(_EQUAL_IN_SCORE), "not_equal": unequal}


def _recipe_differences(case: Case, precision: str) -> list[str]:
    unequal = []
    if case.recipe.frozen:
        unequal.append(
            "the encoder is frozen: the naive baseline trains the same parameters but runs the encoder each time, "
            "quadrat reads features that were computed once; this ratio is the frozen recipe's, not a faster kernel's"
        )
    if precision != "fp32":
        unequal.append(f"the naive baseline computes in fp32, quadrat in {precision}, as the recipe says")
    return unequal


def _compare(case: Case, names: Sequence[str], count: int, repeats: int, on_row: OnRow | None) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in names}  # per image
    waits: dict[str, list[float]] = {name: [] for name in names}
    counts = {name: min(count, _NAIVE_IMAGES) if name == "naive score" else count for name in names}
    with started([(name, case) for name in names]) as processes:
        sides: dict[str, SideProcess] = dict(zip(names, processes, strict=True))
        for repeat in range(repeats):
            # Every other time the other way round: what drifts on the machine then falls on both.
            for name in names if repeat % 2 == 0 else reversed(names):
                images, elapsed_s, waited_s = sides[name].run(counts[name])
                seconds[name].append(elapsed_s / images)
                if waited_s is not None:
                    waits[name].append(waited_s / elapsed_s)
            if on_row is not None:
                on_row({name: round(1.0 / seconds[name][-1], 3) for name in names})
        memory = {name: side.peak(counts[name]) for name, side in sides.items()}
        is_fit_on_gpu = case.device != "cpu" and "quadrat fit" in names
        busy, not_measured = _gpu_busy(sides, count) if is_fit_on_gpu else ({}, [])
    baseline, ours = names[0], names[1]
    ratios = [before / after for before, after in zip(seconds[baseline], seconds[ours], strict=True)]
    result: dict[str, Any] = {
        **case.describe(),
        "rows": [
            {
                "side": name,
                "images_per_s": round(1.0 / statistics.median(seconds[name]), 3),
                "waiting_share": round(statistics.median(waits[name]), 3) if waits[name] else None,
                "gpu_busy_share": busy.get(name),
                "peak_mib": memory[name].host_mib,
                "device_peak_mib": memory[name].device_mib,
            }
            for name in names
        ],
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "not_measured": not_measured,
    }
    if "quadrat forward" in names:
        for name in names[1:]:
            over = [scored / bare - 1.0 for scored, bare in zip(seconds[name], seconds["quadrat forward"], strict=True)]
            row = next(row for row in result["rows"] if row["side"] == name)
            row["over_forward"] = round(statistics.median(over), 3)
    return result


def _gpu_busy(sides: Mapping[str, SideProcess], count: int) -> tuple[dict[str, float], list[str]]:
    """Return the shares of a block in which the GPU computed, and what could not be measured: timings are kept then."""
    shares: dict[str, float] = {}
    for name, side in sides.items():
        try:
            shares[name] = round(side.busy(min(count, _RECORDED)), 3)
        except QuadratError as error:
            return shares, [f"how busy {name} keeps the GPU: {error}"]
    return shares, []
