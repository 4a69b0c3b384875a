"""The trial: region-based active learning as in Algorithm 1 of Cai et al. (IEEE TIP 2021), round by round."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from quadrat.benchmark.config.sharing import needs_of_trial
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.learning.scoring.metrics import iou_per_class, mean_iou, pixel_accuracy
from quadrat.benchmark.results.previews import previews_path
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.selections import Selections, selection_path, write_selection
from quadrat.benchmark.seeds import rng
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.labels import LabelState
from quadrat.benchmark.trial.oracle import Cost, Oracle
from quadrat.benchmark.trial.round import Evaluation, Phase, Progress, Round, digest_of_picks
from quadrat.strategies import OracleStrategy, Pool, Selection, Strategy, Truth, load

__all__ = ["choose", "everything", "first_selection", "record_of", "run_trial"]


def run_trial(
    spec: TrialSpec, bench: TrialContext, on_progress: Callable[[Progress], None] | None = None
) -> Iterator[Record]:
    """Run one trial and yield the record of each round.

    The loop is the paper's: label a random first batch, train, then repeat select -> label -> train. It holds no state
    that is not on the disk: every phase is looked up before it is computed, so running an interrupted trial again goes
    on where it stopped and yields the same records, and what trials share is computed once.

    Args:
        spec: The trial.
        bench: What the trials of this process share.
        on_progress: Told where the trial is.

    Yields:
        One record a round, round 0 first. The trial ends early when the pool is exhausted; its last record says so.

    Raises:
        QuadratError: On bad data, a strategy that breaks its contract, a non-finite loss, or a full disk.
    """
    grid = bench.grid(spec.region_size)
    budgets = bench.budgets(spec)
    state = LabelState(grid.num_regions)
    oracle = Oracle(bench.pool.masks, grid, state, bench.clicks(spec.region_size))
    strategy = None if spec.strategy == FULL_SUPERVISION else load(spec.strategy, **spec.params)
    previous: Round | None = None
    miou: float | None = None

    for round_, budget in enumerate(budgets):

        def report(phase: Phase, done: int, total: int, at: int = round_, last: float | None = miou) -> None:
            if on_progress is not None:
                on_progress(
                    Progress(
                        trial_id=spec.trial_id,
                        label=spec.label,
                        seed=spec.seed,
                        round=at,
                        num_rounds=len(budgets),
                        phase=phase,
                        done=done,
                        total=total,
                        miou=last,
                    )
                )

        report("select", 0, 0)
        wanted = budget - state.regions.size
        selection, seconds = _select(spec, bench, grid, state, oracle, strategy, previous, round_, wanted)
        cost = oracle.buy(selection.regions)
        work = Round(
            spec,
            bench,
            round_=round_,
            labels=oracle.reveal(),
            labels_digest=state.digest,
            on_progress=report,
        )
        evaluation = work.evaluate()
        if spec.seed == bench.suite.seeds[0]:
            previews = bench.sync(previews_path(bench.results_dir, spec.trial_id, round_))
            work.preview(previews)
            bench.sync(previews)
        exhausted = selection.regions.size < wanted
        record = record_of(spec, bench, round_, cost, selection, evaluation, exhausted, seconds)
        miou = record.miou
        if previous is not None and strategy is not None:
            previous.release(needs_of_trial(spec, round_ - 1, bench.suite_needs))
        yield record
        previous = work
        if exhausted:
            break


def _select(
    spec: TrialSpec,
    bench: TrialContext,
    grid: RegionGrid,
    state: LabelState,
    oracle: Oracle,
    strategy: Strategy | None,
    previous: Round | None,
    round_: int,
    budget: int,
) -> tuple[Selection, dict[str, float]]:
    """Return this round's selection, from its file when it was made before, and the seconds of "score" and "select"."""
    if strategy is None:
        return everything(grid.num_regions), {"score": 0.0, "select": 0.0}
    path = bench.sync(selection_path(bench.results_dir, spec.trial_id, round_))
    if (made := Selections(bench.results_dir).read(spec.trial_id, round_, grid)) is not None:
        return made.selection, {"score": made.score_s, "select": made.select_s}
    selection, seconds = choose(spec, bench, grid, state, oracle, strategy, previous, round_, budget)
    write_selection(path, selection, grid, score_s=seconds["score"], select_s=seconds["select"])
    bench.sync(path)
    return selection, seconds


def choose(
    spec: TrialSpec,
    bench: TrialContext,
    grid: RegionGrid,
    state: LabelState,
    oracle: Oracle,
    strategy: Strategy,
    previous: Round | None,
    round_: int,
    budget: int,
) -> tuple[Selection, dict[str, float]]:
    """Return what a strategy picks in a round, and the seconds of "score" and "select"; no file is read or written.

    Args:
        spec: The trial.
        bench: What trials share.
        grid: The pool's regions.
        state: What is labelled so far.
        oracle: Gives ground truth to oracle strategies, and to nothing else.
        strategy: The trial's strategy.
        previous: The round before, whose model is asked; None in round 0, which is drawn at random.
        round_: Counted from 0.
        budget: Regions to pick.
    """
    score_s = 0.0
    if previous is None:
        start = time.perf_counter()
        selection = first_selection(grid.num_regions, budget, spec.seed)
    else:
        scores, score_s = previous.score(needs_of_trial(spec, round_ - 1, bench.suite_needs))
        pool = Pool(
            image=grid.image,
            row=grid.row,
            col=grid.col,
            pixels=grid.pixels,
            labelled=state.labelled,
            signals={name: scores.signals[name] for name in strategy.needs.signals},
            features=scores.features if strategy.needs.features else None,
            profiles={name: scores.profiles[name] for name in strategy.needs.profiles},
        )
        generator = rng(spec.seed, "select", round_, spec.strategy)
        if isinstance(strategy, OracleStrategy):
            truth, asked_s = _ask(strategy, oracle, previous)
            score_s += asked_s
            start = time.perf_counter()
            selection = strategy.select(pool, budget, generator, truth)
        else:
            start = time.perf_counter()
            selection = strategy.select(pool, budget, generator)
    return selection, {"score": score_s, "select": time.perf_counter() - start}


def _ask(strategy: OracleStrategy, oracle: Oracle, previous: Round) -> tuple[Truth, float]:
    """Return the ground truth that an oracle strategy asks for, and the seconds that took."""
    start = time.perf_counter()
    if strategy.asks == "class_shares":
        return Truth(class_shares=oracle.class_shares()), time.perf_counter() - start
    errors, errors_s = previous.errors()
    return Truth(errors=errors), errors_s


def first_selection(num_regions: int, budget: int, seed: int) -> Selection:
    """Return round 0: `budget` regions uniformly at random, the same for every strategy of a seed.

    Budgets that differ share their beginning: the picks of a smaller one are the first picks of a larger one.
    """
    order = rng(seed, "initial-labels").permutation(num_regions)
    regions = order[:budget].astype(np.int64)
    return Selection(regions=regions, potential=np.full(regions.size, np.nan))


def everything(num_regions: int) -> Selection:
    """Return the selection of the reference trial: every region, in row order. It is not written to a file."""
    return Selection(regions=np.arange(num_regions, dtype=np.int64), potential=np.full(num_regions, np.nan))


def record_of(
    spec: TrialSpec,
    bench: TrialContext,
    round_: int,
    cost: Cost,
    selection: Selection,
    evaluation: Evaluation,
    exhausted: bool,
    seconds: dict[str, float],
) -> Record:
    """Return the record of a round from what it bought, picked and came to."""
    iou = iou_per_class(evaluation.confusion)
    return Record(
        suite=bench.suite.name,
        trial_id=spec.trial_id,
        label=spec.label,
        strategy=spec.strategy,
        params=spec.params,
        dataset=spec.dataset.name,
        region_size=spec.region_size,
        recipe=spec.learner.digest(),
        seed=spec.seed,
        round=round_,
        regions=cost.regions,
        picked=int(selection.regions.size),
        labelled_px=cost.labelled_px,
        labelled_fraction=cost.labelled_fraction,
        clicks=cost.clicks,
        class_px=cost.class_px,
        images_opened=cost.images_opened,
        exhausted=exhausted,
        miou=float(mean_iou(evaluation.confusion)),
        iou=tuple(None if np.isnan(value) else float(value) for value in iou),
        pixel_accuracy=float(pixel_accuracy(evaluation.confusion)),
        steps=evaluation.steps,
        loss=evaluation.loss,
        picks_digest=digest_of_picks(selection.regions),
        seconds={**seconds, "fit": evaluation.fit_s, "evaluate": evaluation.evaluate_s},
    )
