"""What trials will cost, known before they run: steps of training, and the round that they share."""

from collections.abc import Collection, Hashable, Iterable

from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec

__all__ = ["expected_steps", "longest_first", "shared_round"]


def shared_round(spec: TrialSpec) -> Hashable | None:
    """Return what round 0 of a trial depends on, None for the reference trial, which shares nothing.

    Round 0 depends on (data set, region size, recipe, seed, first budget) and on no strategy: trials that agree on
    these train it once, and those that come while it is trained wait for it.
    """
    if spec.strategy == FULL_SUPERVISION:
        return None
    return spec.dataset.model_dump_json(), spec.region_size, spec.learner.digest(), spec.seed, spec.budgets[0]


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
