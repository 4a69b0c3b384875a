"""Candidates of a study in an Optuna SQLite storage. Optuna's "trial" is a candidate here.

Each change is committed before the next step, so a study that was killed resumes: candidates that have ended are never
run again, and those that were running are handed out again with the same parameters.
"""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from quadrat.benchmark.config.candidates import Candidate, State, entry_of, study_of
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.results.study_results import StudyResults, space_of
from quadrat.benchmark.storage.atomic import make_folders
from quadrat.benchmark.storage.sqlite import sqlite_url

__all__ = ["DATABASE", "CandidateStorage"]

DATABASE: Final = "study.db"
"""File name of the storage in the folder of the search; `optuna-dashboard sqlite:///.../study/study.db` reads it."""

_NUMBER: Final = "candidate"
_EXCEPTION: Final = "exception"
_SAME_AS: Final = "shares the trials of candidate"
_WAITING: Final = (TrialState.WAITING,)
"""Enqueued, to be tried again, by a run that was killed before it asked for them: the next proposals are these."""


class CandidateStorage:
    """Proposes candidates and stores their states and objectives.

    A candidate that failed is tried again by the next run of the study, as failed trials of a suite are: it gets a
    second Optuna trial with the same parameters and its old number, and only the newer one counts.

    One sampler per candidate, seeded by its number, makes a resumed study propose what an uninterrupted one would have.
    With several candidates in flight a proposal still depends on which of them ended first.

    Args:
        folder: The folder of the search; its results folder is locked.
        suite: A suite with a study.
    """

    def __init__(self, folder: Path, suite: Suite) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        make_folders(folder)
        self._suite = suite
        self._definition = study_of(suite)
        self._space = self._definition.distributions()
        self._storage = optuna.storages.RDBStorage(sqlite_url(folder / DATABASE))
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=suite.name,
            directions=list(self._definition.directions),
            pruner=self._definition.make_pruner(),
            load_if_exists=True,
        )
        with _quiet():
            self._study.set_metric_names(list(self._definition.objective))
        self._in_flight: dict[int, Trial] = {}
        self._num_enqueued = sum(_NUMBER in one.user_attrs for one in self._study.get_trials(states=_WAITING))
        self._interrupted, self._failed = self._unfinished()

    def _unfinished(self) -> tuple[list[FrozenTrial], list[Candidate]]:
        """Return the candidates that were running when an earlier run ended, and those that failed in it."""
        interrupted = []
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            if _NUMBER in trial.user_attrs and trial.params.keys() == self._space.keys():
                interrupted.append(trial)
            else:  # killed while it was proposed: it was never handed out
                self._study.tell(trial.number, state=TrialState.FAIL)
        return interrupted, [candidate for candidate in self.candidates() if candidate.state == "failed"]

    def candidates(self) -> list[Candidate]:
        """Return all candidates by number, each in its current state."""
        newest: dict[int, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if _NUMBER in trial.user_attrs:
                newest[trial.user_attrs[_NUMBER]] = trial
        first: dict[str, int] = {}
        found = []
        for number, trial in sorted(newest.items()):
            params = trial.params or trial.system_attrs.get("fixed_params", {})
            same = first.setdefault(self._suite.effective(entry_of(self._suite, params, "candidate")), number)
            found.append(_candidate(number, trial, params, same_as=None if same == number else same))
        return found

    @property
    def num_open(self) -> int:
        """Candidates that `next` would still return."""
        num_known = len(self.candidates())
        num_again = len(self._interrupted) + self._num_enqueued + len(self._failed)
        return num_again + max(0, self._definition.candidates - num_known)

    def next(self) -> Candidate | None:
        """Return a candidate that is in flight from now on: one that was interrupted, one that failed, or a new one."""
        if self._interrupted:
            trial = self._interrupted.pop(0)
            number = int(trial.user_attrs[_NUMBER])
            self._in_flight[number] = self._reopened(trial.number)
            return self._candidate(number)
        if self._num_enqueued:
            self._num_enqueued -= 1
        elif self._failed:
            again = self._failed.pop(0)
            # Not skipped: another candidate that failed may have had the same parameters.
            self._study.enqueue_trial(again.params, user_attrs={_NUMBER: again.number}, skip_if_exists=False)
        elif len(self.candidates()) >= self._definition.candidates:
            return None
        number = self._ask()
        return self._candidate(number)

    def _reopened(self, trial_number: int) -> Trial:
        """Return a running trial of an earlier process as one that can be reported to."""
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial_number)
        return Trial(self._study, trial_id)

    def _ask(self) -> int:
        number = len(self.candidates())
        self._study.sampler = self._definition.make_sampler(number)
        with _quiet():
            trial = self._study.ask(fixed_distributions=self._space)
        number = int(trial.user_attrs.get(_NUMBER, number))
        self._in_flight[number] = trial
        trial.set_user_attr(_NUMBER, number)
        candidate = self._candidate(number)
        if candidate.same_as is not None:
            trial.set_user_attr(_SAME_AS, candidate.same_as)
        return number

    def _candidate(self, number: int) -> Candidate:
        return next(candidate for candidate in self.candidates() if candidate.number == number)

    def report(self, number: int, num_rounds: int, value: float) -> None:
        """Store the running objective of a candidate after so many rounds; a second report changes nothing."""
        if len(self._definition.objective) == 1:
            with _quiet():  # Optuna warns of a second report, which a candidate that was interrupted makes
                self._in_flight[number].report(value, num_rounds)

    def is_behind(self, number: int) -> bool:
        """Return whether the pruner would stop the candidate after its last report."""
        return len(self._definition.objective) == 1 and self._in_flight[number].should_prune()

    def finish(self, number: int, values: tuple[float, ...]) -> None:
        """Store the objectives of a candidate that has run all its rounds."""
        self._end(number, TrialState.COMPLETE, list(values))

    def prune(self, number: int) -> None:
        """Store that a candidate was pruned."""
        self._end(number, TrialState.PRUNED)

    def fail(self, number: int, exception: str) -> None:
        """Store that a candidate has failed, and why."""
        self._in_flight[number].set_user_attr(_EXCEPTION, exception)
        self._end(number, TrialState.FAIL)

    def _end(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        try:
            self._study.tell(self._in_flight.pop(number), values, state=state)
        except RuntimeError as error:
            # A sampler that has seen every combination stops Optuna's own loop, which does not run here. The state is
            # written all the same.
            if "Study.stop" not in str(error):
                raise

    def results(self) -> StudyResults:
        """Return the content of study.json, the best candidates not yet chosen."""
        return StudyResults(
            study=self._definition,
            space=space_of(self._definition),
            directions=self._definition.directions,
            candidates=tuple(self.candidates()),
        )

    def close(self) -> None:
        """Close the connection to the database."""
        self._storage.remove_session()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Optuna's warnings, such as that a feature is experimental: the user of a study cannot act on them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _candidate(number: int, trial: FrozenTrial, params: dict[str, Any], *, same_as: int | None) -> Candidate:
    states: dict[TrialState, State] = {
        TrialState.COMPLETE: "done",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "running",
    }
    state = states[trial.state]
    return Candidate(
        number=number,
        state=state,
        params=dict(params),
        values=tuple(trial.values) if state == "done" else (),
        running=tuple(value for _, value in sorted(trial.intermediate_values.items())),
        same_as=same_as,
        exception=trial.user_attrs.get(_EXCEPTION) if state == "failed" else None,
    )
