"""Rounds that trials share, and the training steps they need: known from their specs before they run."""

import functools
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import FULL_SUPERVISION, PRECISE, Annotator, TrialSpec, identity
from quadrat.benchmark.learning.scoring.signals import load_signals
from quadrat.benchmark.storage.atomic import canonical_json
from quadrat.strategies import Needs, load
from quadrat.strategies.registry import InstalledState, installed_state

__all__ = [
    "Fits",
    "SharedNeeds",
    "count_fits",
    "expected_steps",
    "fitted_models",
    "longest_first",
    "needs_of_suite",
    "needs_of_trial",
    "planned_round",
    "round_identity",
    "round_steps",
]


def round_identity(
    spec: TrialSpec, round_: int, *, pool: str, labelled: str, borders: str | None = None, recipe: str | None = None
) -> dict[str, Any]:
    """Return all that the model of a round depends on, JSON-plain: rounds of equal identity train one model.

    Args:
        spec: The trial.
        round_: Counted from 0.
        pool: What identifies the images: their fingerprint, or before they are read the data set.
        labelled: What identifies the set of labelled regions: its digest, or before the round what decides it.
        borders: What identifies regions that are not square: the digest of their map, or before images are cut their
            kind; None for a grid.
        recipe: What identifies the recipe; by default the recipe itself.
    """
    # Both are left out where they have their defaults: stores of before they were there keep what they hold.
    labels = {} if spec.labels == PRECISE else {"labels": spec.labels}
    annotator = {} if spec.annotator == Annotator() else {"annotator": identity(spec.annotator)}
    return {
        "pool": pool,
        "region_size": spec.region_size,
        **labels,
        **annotator,
        "recipe": spec.recipe_settings if recipe is None else recipe,
        "seed": spec.seed,
        "round": round_,
        "labelled": labelled,
        **({} if borders is None else {"borders": borders}),
    }


def planned_round(spec: TrialSpec, round_: int) -> str:
    """Return the identity of a round that has not run, as text: trials in which it is equal share the round.

    Which regions round 0 labels depends on the first budget and on no strategy; those of a later round depend on the
    strategy, its parameters and all budgets up to it. Full supervision labels everything and shares with no strategy.
    """
    decided_by: list[Any] = [spec.budgets[: round_ + 1]]
    if round_ > 0 or spec.strategy == FULL_SUPERVISION:
        decided_by += [spec.strategy, spec.params_by_content]
    pool, labelled = spec.dataset.model_dump_json(), canonical_json(decided_by)
    borders = None if spec.regions.is_grid else canonical_json(spec.regions_by_content)
    # The digest, which is computed once: a suite of 10,000 trials has one recipe or two.
    recipe = spec.recipe_digest
    return canonical_json(round_identity(spec, round_, pool=pool, labelled=labelled, borders=borders, recipe=recipe))


class Fits(NamedTuple):
    """Number of models that some trials train.

    Attributes:
        shared: With sharing: a round that several trials have in common counts once.
        alone: Without sharing.
    """

    shared: int
    alone: int


def count_fits(trials: Iterable[TrialSpec], candidates: Iterable[int | None] | None = None) -> Fits:
    """Return how many models the trials train, at most: strategies may still select the same regions.

    The members of an ensemble count one by one. There are none after the last round, from which nothing is selected.

    Args:
        trials: The trials.
        candidates: Number of the candidate of a study that each trial is of, None for those of none. Rounds after round
            0 are of one candidate, as if no two had equal parameters.
    """
    trials = list(trials)
    numbers = [None] * len(trials) if candidates is None else list(candidates)
    models = [
        (planned_round(spec, round_), number if round_ else None, member)
        for spec, number in zip(trials, numbers, strict=True)
        for round_ in range(spec.num_rounds)
        for member in range(fitted_models(spec, round_))
    ]
    return Fits(shared=len(set(models)), alone=len(models))


def fitted_models(spec: TrialSpec, round_: int) -> int:
    """Return how many models a trial trains on the labels of a round: 1, or the members of an ensemble."""
    if spec.strategy == FULL_SUPERVISION or round_ == spec.num_rounds - 1:
        return 1
    return _needs_of_strategy(spec).num_models


@dataclass(frozen=True, kw_only=True)
class SharedNeeds:
    """What one scoring pass computes for all strategies that share its round.

    Attributes:
        signals: Names of the signals, sorted.
        features: Whether any strategy needs region features.
        profiles: Names of the profiles, sorted.
    """

    signals: tuple[str, ...] = ()
    features: bool = False
    profiles: tuple[str, ...] = ()

    @classmethod
    def of(cls, needs: Iterable[Needs]) -> "SharedNeeds":
        """Return what covers all of `needs`."""
        needs = list(needs)
        return cls(
            signals=tuple(sorted({signal for need in needs for signal in need.signals})),
            features=any(need.features for need in needs),
            profiles=tuple(sorted({profile for need in needs for profile in need.profiles})),
        )

    @property
    def num_models(self) -> int:
        """Models that the signals read: 1, or the members of an ensemble."""
        return _num_models(self.signals, installed_state())

    def __str__(self) -> str:
        """Return the names of all that the pass computes."""
        return ", ".join([*self.signals, *(["features"] if self.features else []), *self.profiles])

    def covers(self, other: "SharedNeeds") -> bool:
        """Return whether these include all of `other`."""
        return (
            set(other.signals) <= set(self.signals)
            and other.features <= self.features
            and set(other.profiles) <= set(self.profiles)
        )


@functools.lru_cache(maxsize=1024)
def _num_models(signals: tuple[str, ...], state: InstalledState) -> int:
    return max((signal.num_models for signal in load_signals(signals).values()), default=1)


def _needs_of_strategy(spec: TrialSpec) -> SharedNeeds:
    """Return what the strategy of a trial needs; it is loaded once for all trials with its parameters."""
    return _loaded_needs(spec.strategy, canonical_json(spec.params), installed_state())


@functools.lru_cache(maxsize=1024)
def _loaded_needs(strategy: str, params: str, state: InstalledState) -> SharedNeeds:
    return SharedNeeds.of([load(strategy, **json.loads(params)).needs])


def needs_of_suite(suite: Suite) -> SharedNeeds:
    """Return what all strategies of a suite need together."""
    return SharedNeeds.of(load(entry.name, **entry.params).needs for entry in suite.strategies)


def needs_of_trial(spec: TrialSpec, round_: int, suite_needs: SharedNeeds) -> SharedNeeds:
    """Return what is scored after a round of a trial: after the shared round 0 what the whole suite needs.

    Args:
        spec: The trial.
        round_: Counted from 0.
        suite_needs: What `needs_of_suite` returns; a strategy that is not of the suite gets what it needs itself.
    """
    if spec.strategy == FULL_SUPERVISION:
        return SharedNeeds()
    own = _needs_of_strategy(spec)
    return suite_needs if round_ == 0 and suite_needs.covers(own) else own


def round_steps(spec: TrialSpec, round_: int, *, num_images: int) -> int:
    """Return the training steps of a round, at most.

    A recipe that counts iterations trains the same number in every round. One that counts epochs grows with the images
    that have a label, of which there are at most as many as labelled regions.

    Args:
        spec: The trial.
        round_: The round, counted from 0.
        num_images: Images of the pool.
    """
    num_labelled = spec.budgets[round_] if spec.budgets else num_images  # full supervision has no budgets
    num_fits = spec.learner.num_fits(of_sets=spec.labels == "multi-class")
    return num_fits * spec.learner.num_steps(min(num_labelled, num_images))


def expected_steps(spec: TrialSpec, *, num_images: int, num_done: int = 0) -> int:
    """Return the training steps that a trial still needs, of ensembles too; a shared round counts in full.

    Args:
        spec: The trial.
        num_images: Images of the pool.
        num_done: Rounds that have a record.
    """
    last = spec.num_rounds - 1
    num_models = fitted_models(spec, 0)  # of every round but the last, which has one
    return sum(
        round_steps(spec, round_, num_images=num_images) * (num_models if round_ < last else 1)
        for round_ in range(num_done, spec.num_rounds)
    )


def longest_first(
    trials: Iterable[TrialSpec], *, num_images: int, done: Collection[tuple[str, int]] = ()
) -> list[TrialSpec]:
    """Return trials in the order in which they are best started: the longest first, ties in the order given.

    The trial that is started last should be short, so that no machine is left with a long one while the others idle:
    the makespan of the longest-first rule is at most 4/3 of the shortest one [Graham, SIAM J. Appl. Math. 1969].

    Args:
        trials: Trials to run.
        num_images: Images of the pool.
        done: (trial id, round) of every existing record.
    """
    num_done: dict[str, int] = {}
    for trial_id, round_ in done:
        num_done[trial_id] = max(num_done.get(trial_id, 0), round_ + 1)

    def steps(spec: TrialSpec) -> int:
        return expected_steps(spec, num_images=num_images, num_done=num_done.get(spec.trial_id, 0))

    return sorted(trials, key=steps, reverse=True)  # stable: equal ones stay in order, reversed or not
