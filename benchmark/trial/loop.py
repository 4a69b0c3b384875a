"""The trial: region-based active learning as in Algorithm 1 of Cai et al. (IEEE TIP 2021)."""

from collections.abc import Iterator

from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.progress import OnProgress
from quadrat.benchmark.trial.state import TrialState

__all__ = ["run_round", "run_trial"]


def run_trial(spec: TrialSpec, context: TrialContext, on_progress: OnProgress | None = None) -> Iterator[Record]:
    """Run one trial and yield the record of each round.

    Every phase is looked up on the disk before it is computed. So an interrupted trial that is run again goes on where
    it stopped and yields the same records, and what trials share is computed once.

    Args:
        spec: The trial.
        context: What the trials of this process share.
        on_progress: Called with the round, its phase, and the steps done and total.

    Yields:
        One record a round, round 0 first. The trial ends early when the pool is exhausted; its last record says so.

    Raises:
        QuadratError: On a file that is not the one the trial is known by, bad data, a strategy that breaks its
            contract, a non-finite loss, or a full disk.
    """
    trial = TrialState(spec, context, on_progress)
    trial.check_files()
    for _ in trial.budgets:
        record = run_round(trial)
        trial.end_round(record)
        yield record
        if record.exhausted:
            break


def run_round(trial: TrialState) -> Record:
    """Return the record of the trial's next round: select -> label -> fit -> evaluate."""
    selected = trial.select()  # at random in round 0, then by the strategy from the scores of the last model
    cost = trial.label(selected)  # the oracle reveals the labels of these regions
    evaluation = trial.evaluate()  # of a network that is trained anew on all labels so far
    return trial.record(selected, cost, evaluation)
