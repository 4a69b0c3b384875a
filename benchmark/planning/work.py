"""Work of a suite or a study, counted before anything runs: fits, training iterations, passes over images."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from quadrat.benchmark.config.candidates import entry_of, search_suite, study_of
from quadrat.benchmark.config.sharing import (
    Fits,
    SharedNeeds,
    count_fits,
    expected_steps,
    fitted_models,
    needs_of_suite,
    needs_of_trial,
    planned_round,
    round_steps,
)
from quadrat.benchmark.config.strategy_entry import StrategyEntry
from quadrat.benchmark.config.study import REGION_SIZE, values_of
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.planning.extent import DataExtent

__all__ = ["StudyFits", "Workload", "count_study_fits", "count_work"]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is computed when every trial of a suite runs once and shares what it can.

    Attributes:
        num_trials: Trials.
        num_fits: Models that are trained, members of ensembles included.
        num_iterations: Training iterations of all fits together.
        num_evaluations: Passes over the test set.
        scorings: Passes over the pool, by what they compute.
        longest_iterations: Training iterations of the longest trial, which no number of devices makes shorter.
        num_selected: Regions selected by all trials together.
        is_upper_bound: Whether the iterations are the most there can be: a recipe by epochs depends on the selections.
    """

    num_trials: int
    num_fits: int
    num_iterations: int
    num_evaluations: int
    scorings: Mapping[SharedNeeds, int]
    longest_iterations: int
    num_selected: int
    is_upper_bound: bool

    @property
    def num_scorings(self) -> int:
        """Passes over the pool, whatever they compute."""
        return sum(self.scorings.values())


class StudyFits(NamedTuple):
    """Number of models that a study trains at most: when no candidate is pruned and no two coincide.

    Attributes:
        search: Of the search.
        report: Of the report: the suite's own trials and those of the best candidates.
    """

    search: Fits
    report: Fits


def count_work(suite: Suite, extent: DataExtent) -> Workload:
    """Return what the suite computes, with all that its trials share counted once."""
    distinct = list({spec.trial_id: spec for spec in suite.trials()}.values())
    suite_needs = needs_of_suite(suite)
    steps: dict[tuple[str, int], int] = {}
    evaluations: set[str] = set()
    scorings: dict[str, SharedNeeds] = {}
    for spec in distinct:
        for round_ in range(spec.num_rounds):
            key = planned_round(spec, round_)
            evaluations.add(key)
            for member in range(fitted_models(spec, round_)):
                steps[key, member] = round_steps(spec, round_, num_images=extent.num_pool)
            needs = needs_of_trial(spec, round_, suite_needs)
            is_last = round_ == spec.num_rounds - 1  # nothing is selected after it
            if not is_last and needs != SharedNeeds():
                scorings.setdefault(key, needs)
    return Workload(
        num_trials=len(distinct),
        num_fits=len(steps),
        num_iterations=sum(steps.values()),
        num_evaluations=len(evaluations),
        scorings=Counter(scorings.values()),
        longest_iterations=max(expected_steps(spec, num_images=extent.num_pool) for spec in distinct),
        num_selected=sum(
            spec.budgets[-1] if spec.budgets else extent.num_regions(spec.region_size, spec.regions)
            for spec in distinct
        ),
        is_upper_bound=suite.learner.epochs is not None,
    )


def count_study_fits(suite: Suite) -> StudyFits:
    """Return how many models the suite's study trains at most, in the search and for the report."""
    study = study_of(suite)
    space = study.distributions()
    sizes = values_of(space[REGION_SIZE]) if REGION_SIZE in space else (suite.region_sizes[0],)
    # Round 0 at the suite's own sizes is shared with its strategies: most is trained when the best have other sizes.
    others_first = sorted(sizes, key=lambda size: size in suite.region_sizes)
    searched = (search_suite(suite, entry) for entry in _entries(suite, sizes, study.candidates))
    reported = (
        suite.model_copy(update={"strategies": (entry,), "full_supervision": False})
        for entry in _entries(suite, others_first, study.best)
    )
    own: list[tuple[TrialSpec, int | None]] = [(spec, None) for spec in suite.trials()]
    return StudyFits(search=_count(_of_candidates(searched)), report=_count([*own, *_of_candidates(reported)]))


def _count(trials: Sequence[tuple[TrialSpec, int | None]]) -> Fits:
    return count_fits([spec for spec, _ in trials], [number for _, number in trials])


def _entries(suite: Suite, region_sizes: Sequence[int], num: int) -> Iterator[StrategyEntry]:
    """Yield `num` candidates, whose region sizes are `region_sizes` in turn."""
    for number, size in zip(range(num), itertools.cycle(region_sizes)):
        yield entry_of(suite, {REGION_SIZE: size}, f"candidate {number}")


def _of_candidates(suites: Iterable[Suite]) -> list[tuple[TrialSpec, int | None]]:
    """Return the trials of suites of one candidate each, with its number."""
    return [(spec, number) for number, suite in enumerate(suites) for spec in suite.trials()]
