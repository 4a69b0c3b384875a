"""Results folders in memory, made of learning curves: for tests and simulations of the statistics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quadrat.benchmark.results.trials import Results, Trial
from support.fake_results import make_record

__all__ = ["results_of"]


def results_of(
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    pixels: Sequence[float] | Mapping[str, Sequence[float]],
    clicks: Mapping[str, Sequence[float]] | Mapping[tuple[str, int], Sequence[float]] | None = None,
    sizes: Mapping[str, int] | None = None,
    full_supervision: Mapping[int, float] | None = None,
    num_rounds: int | None = None,
    suite_seeds: Sequence[int] | None = None,
) -> Results:
    """Return results whose trials have the given curves.

    Args:
        curves: Label -> seed -> mIoU in percent after each round. A label is its strategy's name, up to a space.
        pixels: Labelled pixels after each round, percent of the pool; by label where they differ.
        clicks: Label, or label and seed -> clicks after each round; 1000 for each percent of the pixels by default.
        sizes: Label -> region size; 16 by default.
        full_supervision: Seed -> mIoU in percent.
        num_rounds: Rounds planned; a shorter curve is that of a trial that was interrupted. By default the longest.
        suite_seeds: Seeds of the suite; one without a curve is a missing trial. By default those that any label has.
    """
    planned = num_rounds or max(len(curve) for seeds in curves.values() for curve in seeds.values())
    seeds = list(suite_seeds or dict.fromkeys(seed for by_seed in curves.values() for seed in by_seed))
    trials = [
        _trial("full-supervision", seed, (value,), (100.0,), (100_000.0,), 16, 1)
        for seed, value in (full_supervision or {}).items()
    ]
    for label, by_seed in curves.items():
        of_label = pixels[label] if isinstance(pixels, Mapping) else pixels
        for seed in seeds:
            spent: Any = [1000 * value for value in of_label]
            if clicks is not None:
                known: Mapping[Any, Sequence[float]] = clicks
                spent = known.get((label, seed)) or known[label]
            size = (sizes or {}).get(label, 16)
            trials.append(_trial(label, seed, by_seed.get(seed, ()), of_label, spent, size, planned))
    return Results(
        path=Path("in-memory"),
        suite={
            "name": "in-memory",
            "dataset": {"name": "made up", "pool": "train", "test": "test", "params": {}},
            "budgets": [10 * (round_ + 1) for round_ in range(planned)],
            "learner": {},
            "seeds": seeds,
        },
        dataset={"classes": ["a"]},
        environment={},
        trials=tuple(trials),
        num_foreign_records=0,
    )


def _trial(
    label: str,
    seed: int,
    mious: Sequence[float],
    pixels: Sequence[float],
    clicks: Sequence[float],
    region_size: int,
    num_rounds: int,
) -> Trial:
    strategy = label.split(" ")[0]
    records = tuple(
        make_record(
            trial_id=f"{label}-s{seed}",
            label=label,
            strategy=strategy,
            region_size=region_size,
            seed=seed,
            round=round_,
            regions=10 * (round_ + 1),
            labelled_fraction=pixels[round_] / 100,
            clicks=clicks[round_],
            miou=miou / 100,
            iou=(miou / 100,),
        )
        for round_, miou in enumerate(mious)
    )
    return Trial(
        trial_id=f"{label}-s{seed}",
        label=label,
        strategy=strategy,
        params={},
        seed=seed,
        region_size=region_size,
        num_rounds=num_rounds,
        records=records,
        failure=None,
    )
