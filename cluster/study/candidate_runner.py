"""Running the trials of one candidate in step, a round of all its seeds at a time. It knows no Tune."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from quadrat.benchmark.config.candidates import Candidate, search_suite, search_trials, study_of
from quadrat.benchmark.config.strategy_entry import StrategyEntry
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import StopRequested
from quadrat.benchmark.results.failures import Failure
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.progress import OnProgress, Progress
from quadrat.cluster.runner.actor import Place, here
from quadrat.cluster.runner.engine import OpenRunner, TrialRunner
from quadrat.cluster.runner.events import ERRORS, Raised
from quadrat.cluster.runner.schedule import Attempts

__all__ = ["CandidateRound", "CandidateRunner"]


@dataclass(frozen=True, kw_only=True)
class CandidateRound:
    """What one round of a candidate produced, over all its seeds.

    Attributes:
        number: The candidate.
        records: One a seed, and in the first round those of full supervision if the objective needs them.
        num_rounds: Rounds done so far.
        trained: Keys of the records whose model was trained for them; the others took one from the store.
        place: Where the candidate runs.
        failure: Of the trial that has failed, with machine and node, else None.
        is_of_environment: Whether that trial may not fail on another node.
        is_done: Whether all rounds are done.
        is_stopped: Whether the round was cut short because the search is to stop; its fit has written a checkpoint.
    """

    number: int
    records: tuple[Record, ...]
    num_rounds: int
    trained: frozenset[tuple[str, int]]
    place: Place
    failure: Failure | None = None
    is_of_environment: bool = False
    is_done: bool = False
    is_stopped: bool = False


class CandidateRunner:
    """Runs candidates one after another in one process, which opens images, encoder and CUDA once.

    Args:
        suite: A suite with a study.
        results_dir: Its results folder.
        open_runner: Opens what the trials share; called when the first round runs.
        report: Called with the candidate's number and each progress of its trials; returns whether it is to stop.
    """

    def __init__(
        self,
        suite: Suite,
        results_dir: Path,
        open_runner: OpenRunner,
        report: Callable[[int, Progress], bool] = lambda number, progress: False,
    ) -> None:
        self._report = report
        self._suite = suite
        self._results_dir = results_dir
        self._open_runner = open_runner
        self._runner: TrialRunner | None = None
        self._place = here()

    def start(self, candidate: Candidate) -> None:
        """Make `candidate` the one whose rounds `run_round` runs."""
        trials, full_supervision = search_trials(self._suite, candidate)
        retries = self._suite.resources.retries
        self._number = candidate.number
        self._trials = [_Trial(spec=spec, attempts=Attempts(retries=retries)) for spec in (*full_supervision, *trials)]
        self._num_rounds = 0

    def run_round(self) -> CandidateRound:
        """Run the next round of every trial that is not complete; a trial that fails ends the round."""
        records: list[Record] = []
        trained: set[tuple[str, int]] = set()
        raised: Raised | None = None
        is_stopped = False
        for trial in self._trials:
            if trial.is_done:
                continue
            try:
                found = trial.next_round(self._get_runner, self._on_progress)
            except StopRequested:
                is_stopped = True
                break
            if isinstance(found, Raised):
                raised = found
                break
            records.append(found)
            if trial.is_trained:
                trained.add(found.key)
            trial.is_trained = False
        else:
            self._num_rounds += 1
        return CandidateRound(
            number=self._number,
            records=tuple(records),
            num_rounds=self._num_rounds,
            trained=frozenset(trained),
            place=self._place,
            failure=None if raised is None else replace(raised.failure, host=self._place.host, node=self._place.node),
            is_of_environment=raised is not None and raised.is_of_environment,
            is_done=raised is None and all(trial.is_done for trial in self._trials),
            is_stopped=is_stopped,
        )

    def _on_progress(self, progress: Progress) -> None:
        if self._report(self._number, progress):
            raise StopRequested

    def _get_runner(self) -> TrialRunner:
        if self._runner is None:
            # Round 0 is scored for what the study's strategy needs, not for all strategies of the suite.
            study = study_of(self._suite)
            only = StrategyEntry(name=study.strategy, label=study.strategy, params=study.params)
            self._runner = self._open_runner(search_suite(self._suite, only), self._results_dir)
        return self._runner


@dataclass(kw_only=True)
class _Trial:
    """A trial that is run round by round.

    Attributes:
        spec: The trial.
        attempts: Says whether it is tried again after an error.
        rounds: Its records in the current attempt; None before the first and after an error.
        num_done: Rounds done.
        is_done: Whether all rounds are.
        is_trained: Whether the current round has trained its model, in this attempt or an earlier one.
    """

    spec: TrialSpec
    attempts: Attempts
    rounds: Iterator[Record] | None = None
    num_done: int = 0
    is_done: bool = False
    is_trained: bool = False

    def next_round(self, get_runner: Callable[[], TrialRunner], on_progress: OnProgress) -> Record | Raised:
        """Return the record of the next round, or what the trial raised if it is not tried again here.

        Raises:
            StopRequested: When `on_progress` raises it; a fit has written a checkpoint.
        """

        def note_fit(progress: Progress) -> None:
            self.is_trained |= progress.phase == "fit"
            on_progress(progress)

        while True:
            try:
                if self.rounds is None:
                    self.rounds = get_runner()(self.spec, note_fit)
                    for _ in range(self.num_done):
                        next(self.rounds)
                record = next(self.rounds)
            except ERRORS as error:
                self.rounds = None
                raised = Raised.of(self.spec, error, num_rounds_done=self.num_done)
                if not self.attempts.on_raised(is_retryable=raised.is_retryable):
                    return raised
            else:
                self.num_done += 1
                self.is_done = record.exhausted or self.num_done == self.spec.num_rounds
                return record
