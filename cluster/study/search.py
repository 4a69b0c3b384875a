"""The driver's side of a search: hands out candidates, records their rounds, and decides which are pruned."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quadrat.benchmark.analysis.objective import value_of
from quadrat.benchmark.config.candidates import Best, Candidate, best_of, search_trials, study_of
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.records import Failure, finalise, read_records_so_far
from quadrat.benchmark.results.study_results import study_dir, write_study
from quadrat.benchmark.tracking.logger import MlflowLogger
from quadrat.cluster.progress.display import LineDisplay
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import describe_row
from quadrat.cluster.runner.recorder import Recorder
from quadrat.cluster.study.candidate_runner import CandidateRound
from quadrat.cluster.study.storage import DATABASE, CandidateStorage

__all__ = ["Search", "show_params"]


@dataclass(frozen=True, kw_only=True)
class _InFlight:
    """A candidate in flight: its trials, and what records and counts them."""

    trials: Sequence[TrialSpec]
    full_supervision: Sequence[TrialSpec]
    recorder: Recorder
    progress: RunProgress


class Search:
    """Records the rounds of candidates in records.jsonl and their objectives in the candidate storage.

    Each file is published before the next step: records, then the database, then study.json, which is made from it. So
    a driver that continues on another machine knows of no candidate whose records are missing.

    Args:
        suite: A suite with a study.
        results_dir: Its results folder, locked.
        storage: Its candidates.
        progress: Clock and current activity of the search; it holds no trials.
        publish: Called with the names of files in the results folder that were written.

    Attributes:
        display: Prints what happens to candidates.
        mlflow: Logs candidates to MLflow, None to log nowhere.
    """

    def __init__(
        self,
        suite: Suite,
        results_dir: Path,
        storage: CandidateStorage,
        *,
        progress: RunProgress,
        publish: Callable[..., None],
    ) -> None:
        self.display = LineDisplay(progress, sys.stdout)
        self.mlflow: MlflowLogger | None = None
        self._suite = suite
        self._study = study_of(suite)
        self._results_dir = results_dir
        self._folder = study_dir(results_dir)
        self._storage = storage
        self._progress = progress
        self._publish_files = publish
        self._records = {record.key: record for record in read_records_so_far(self._folder)}
        self._in_flight: dict[int, _InFlight] = {}
        self._trained: set[tuple[str, int]] = set()
        self._new: set[tuple[str, int]] = set()

    @property
    def num_open(self) -> int:
        """Candidates that `start` would still hand out."""
        return self._storage.num_open

    @property
    def num_fits(self) -> int:
        """Rounds reported since this run of the search began whose model was trained for them."""
        return len(self._trained)

    @property
    def num_shared(self) -> int:
        """New rounds reported since then whose model was in the store."""
        return len(self._new - self._trained)

    @property
    def is_done(self) -> bool:
        """Whether every candidate has ended."""
        return not self.num_open and not self._in_flight

    def start(self) -> Candidate | None:
        """Return the next candidate, which is in flight from now on; None when there are as many as are wanted."""
        candidate = self._storage.next()
        if candidate is None:
            return None
        trials, full_supervision = search_trials(self._suite, candidate)
        progress = RunProgress([*full_supervision, *trials])
        recorder = Recorder(
            self._folder,
            self._records.values(),
            progress=progress,
            display=LineDisplay(progress, sys.stdout),
            mlflow=None,
            publish=self._publish,
        )
        for spec in (*full_supervision, *trials):
            recorder.start(spec)
        self._in_flight[candidate.number] = _InFlight(
            trials=trials, full_supervision=full_supervision, recorder=recorder, progress=progress
        )
        shared = "" if candidate.same_as is None else f"  (shares the trials of {candidate.label})"
        self.display.print(f"candidate {candidate.number}  {show_params(candidate.params)}{shared}")
        self.write()
        return candidate

    def on_round(self, event: CandidateRound) -> bool:
        """Record a round of a candidate and return whether the candidate is to be stopped."""
        number = event.number
        if number not in self._in_flight:
            return True  # it has ended already; Tune had to start its actor again
        candidate = self._in_flight[number]
        candidate.progress.set_place(event.place.host, event.place.node, event.place.pid)
        self._trained |= event.trained
        self._new |= {record.key for record in event.records} - self._records.keys()
        for record in event.records:
            candidate.recorder.record(record)
            self._records.setdefault(record.key, record)
        if event.failure is not None:
            self._on_failure(number, event.failure)
            return True
        values = self._values(candidate, event.num_rounds)
        self._storage.report(number, event.num_rounds, values[0])
        if event.is_done:
            self._storage.finish(number, values)
            self._on_end(number, "done", values)
            return True
        if self._storage.is_behind(number):
            self._storage.prune(number)
            self._on_end(number, f"pruned after round {event.num_rounds}", values)
            return True
        self._publish(DATABASE)
        return False

    def on_worker_died(self, number: int) -> None:
        """Record that a candidate has failed because its worker died again and again."""
        if self._in_flight.pop(number, None) is None:
            return
        reason = "its worker died again and again"
        self._storage.fail(number, reason)
        self.display.print(f"✗ candidate {number} failed: {reason}")
        self.write()

    def _on_failure(self, number: int, failure: Failure) -> None:
        candidate = self._in_flight.pop(number)
        specs = {spec.trial_id: spec for spec in (*candidate.trials, *candidate.full_supervision)}
        candidate.recorder.fail(specs[failure.trial_id], failure)
        self._storage.fail(number, failure.exception)
        self.write()

    def _on_end(self, number: int, state: str, values: tuple[float, ...]) -> None:
        self._in_flight.pop(number)
        self.write()
        candidates = self._storage.candidates()
        num_ended = sum(candidate.state != "running" for candidate in candidates)
        shown = ", ".join(
            f"{objective} {value:.4f}" for objective, value in zip(self._study.objective, values, strict=True)
        )
        best = best_of(candidates, self._study.directions, 1)
        ahead = f", best so far: candidate {best[0].number}" if best else ""
        self.display.print(
            f"candidate {number}  {state}: {shown}{ahead}  [{num_ended}/{self._study.candidates} candidates]"
        )

    def _values(self, candidate: _InFlight, num_rounds: int) -> tuple[float, ...]:
        """Return the objectives of a candidate over its first `num_rounds` rounds."""
        records = [
            self._records[spec.trial_id, round_]
            for spec in candidate.trials
            for round_ in range(min(num_rounds, spec.num_rounds))
            if (spec.trial_id, round_) in self._records
        ]
        full = [self._records[spec.trial_id, 0] for spec in candidate.full_supervision]
        return tuple(value_of(objective, records, full) for objective in self._study.objective)

    def describe(self) -> dict[str, Any]:
        """Return the status of the search as JSON-plain values, with the keys of a run's status where they apply.

        There are no totals of trials and rounds and no time left, since the pruner decides how many rounds a candidate
        has. A candidate reports once a round, so the phase of its trials is not known either.
        """
        states = [candidate.state for candidate in self._storage.candidates()]
        rows = [
            {
                **describe_row(candidate.progress, row, candidate.progress.round_s()),
                "candidate": number,
                "phase": "search",
            }
            for number, candidate in self._in_flight.items()
            for row in candidate.progress.rows.values()
            if row.num_done < row.spec.num_rounds
        ]
        return {
            "candidates": {
                "num": self._study.candidates,
                "ended": sum(state != "running" for state in states),
                "failed": states.count("failed"),
            },
            "activity": self._progress.activity,
            "elapsed_s": round(self._progress.elapsed_s, 1),
            "left_s": None,
            "in_flight": rows,
        }

    def finalise(self) -> None:
        """Put the records of the search in the order of the candidates; until then they are in order of arrival."""
        if self._records:
            order: dict[str, int] = {}
            for candidate in self._storage.candidates():
                for specs in search_trials(self._suite, candidate):
                    order |= {spec.trial_id: spec.num_rounds for spec in specs}
            finalise(self._folder, order)
            self._publish("records.jsonl", "failures.jsonl")
        self.write()

    def write(self, best: Sequence[Best] = ()) -> None:
        """Publish the database and write study.json from it.

        Args:
            best: The candidates that are run on the report seeds, once they are known.
        """
        self._publish(DATABASE)
        write_study(self._results_dir, replace(self._storage.results(), best=tuple(best)))
        self._publish("study.json")
        if self.mlflow is not None:
            self.mlflow.candidates()

    def close(self) -> None:
        """Wait until MLflow has taken what was logged, but not for long."""
        if self.mlflow is not None:
            self.mlflow.finish()

    def _publish(self, *names: str) -> None:
        self._publish_files(*(f"{self._folder.name}/{name}" for name in names))


def show_params(params: dict[str, Any]) -> str:
    """Return searched parameters as text: floats with four digits."""
    return "  ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items()
    )
