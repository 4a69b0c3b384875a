"""What trials share, and what they will cost: known from their specs before they run."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.benchmark.storage.atomic import canonical_json
from quadrat.strategies import Needs, load

__all__ = [
    "SharedNeeds",
    "expected_steps",
    "longest_first",
    "needs_of_suite",
    "needs_of_trial",
    "planned_round",
    "round_identity",
]


def round_identity(spec: TrialSpec, round_: int, *, pool: str, labelled: str) -> dict[str, Any]:
    """Return all that the model of a round depends on, JSON-plain: rounds of equal identity train one model.

    Args:
        spec: The trial.
        round_: Counted from 0.
        pool: What identifies the images: their fingerprint, or before they are read the data set.
        labelled: What identifies the set of labelled regions: its digest, or before the round what decides it.
    """
    return {
        "pool": pool,
        "region_size": spec.region_size,
        "recipe": spec.learner.model_dump(mode="json"),
        "seed": spec.seed,
        "round": round_,
        "labelled": labelled,
    }


def planned_round(spec: TrialSpec, round_: int) -> str:
    """Return the identity of a round that has not run, as text: trials in which it is equal share the round.

    Which regions round 0 labels depends on the first budget and on no strategy; those of a later round depend on the
    strategy, its parameters and all budgets up to it. Full supervision labels everything and shares with no strategy.
    """
    decided_by: list[Any] = [spec.budgets[: round_ + 1]]
    if round_ > 0 or spec.strategy == FULL_SUPERVISION:
        decided_by += [spec.strategy, spec.params]
    pool, labelled = spec.dataset.model_dump_json(), canonical_json(decided_by)
    return canonical_json(round_identity(spec, round_, pool=pool, labelled=labelled))


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

    def covers(self, other: "SharedNeeds") -> bool:
        """Return whether all of `other` is among these."""
        return (
            set(other.signals) <= set(self.signals)
            and other.features <= self.features
            and set(other.profiles) <= set(self.profiles)
        )


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
    own = SharedNeeds.of([load(spec.strategy, **spec.params).needs])
    return suite_needs if round_ == 0 and suite_needs.covers(own) else own


def expected_steps(spec: TrialSpec, *, num_images: int, num_done: int = 0) -> int:
    """Return the training steps that a trial still needs.

    A recipe that counts iterations costs the same in every round, whatever is labelled; one that counts epochs grows
    with the images that have a label, of which there are at most as many as labelled regions. A round that is shared
    counts in full: whether another trial will have paid for it is not known here.

    Args:
        spec: The trial.
        num_images: Images of the pool.
        num_done: Rounds whose records are there.
    """
    if spec.strategy == FULL_SUPERVISION:
        return 0 if num_done else spec.learner.num_steps(num_images)
    return sum(spec.learner.num_steps(min(budget, num_images)) for budget in spec.budgets[num_done:])


def longest_first(
    trials: Iterable[TrialSpec], *, num_images: int, done: Collection[tuple[str, int]] = ()
) -> list[TrialSpec]:
    """Return trials in the order in which they are best started: the longest first, ties in the order given.

    What is started last should be short, so that no machine is left with a long trial while the others have nothing to
    do: the makespan of the longest-first rule is at most 4/3 of the shortest one [Graham, SIAM J. Appl. Math. 1969].

    Args:
        trials: What is to run.
        num_images: Images of the pool.
        done: (trial id, round) of every record that is there.
    """
    num_done: dict[str, int] = {}
    for trial_id, round_ in done:
        num_done[trial_id] = max(num_done.get(trial_id, 0), round_ + 1)

    def steps(spec: TrialSpec) -> int:
        return expected_steps(spec, num_images=num_images, num_done=num_done.get(spec.trial_id, 0))

    return sorted(trials, key=steps, reverse=True)  # stable: equal ones stay in order, reversed or not
