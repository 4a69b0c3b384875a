"""The driver's side of a search: hands out candidates, records their rounds, and decides which are pruned."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quadrat.benchmark.analysis.objective import value_of
from quadrat.benchmark.config.candidates import Best, Candidate, best_of, search_trials, study_of
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.failures import Failure
from quadrat.benchmark.results.records import finalise, read_records_so_far
from quadrat.benchmark.results.study_results import study_dir, write_study
from quadrat.benchmark.tracking.logger import Loggers
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.progress.progress import Row, RunProgress
from quadrat.cluster.progress.status import describe_row
from quadrat.cluster.runner.node_failures import MAX_NODE_FAILURES, NodeFailures
from quadrat.cluster.runner.recorder import Recorder
from quadrat.cluster.study.candidate_runner import CandidateRound
from quadrat.cluster.study.search_display import CandidateRow, SearchState, open_search_display, show_values
from quadrat.cluster.study.search_progress import SearchProgress
from quadrat.cluster.study.storage import DATABASE, CandidateStorage

__all__ = ["Search"]


@dataclass(frozen=True, kw_only=True)
class _InFlight:
    """A candidate in flight: its trials, and what records and counts them."""

    candidate: Candidate
    trials: Sequence[TrialSpec]
    full_supervision: Sequence[TrialSpec]
    recorder: Recorder
    progress: RunProgress

    @property
    def num_rounds(self) -> int:
        """Rounds of its trials."""
        return max(spec.num_rounds for spec in self.trials)


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
        display: Shows candidates and what happens to them, once it is entered.
        loggers: Log candidates to MLflow and others.
        find_nodes: Returns the nodes that can run candidates; none where that is not known.
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
        self.display = open_search_display(self.state)
        self.loggers = Loggers(())
        self.find_nodes: Callable[[], Set[str]] = frozenset
        self._suite = suite
        self._study = study_of(suite)
        self._results_dir = results_dir
        self._folder = study_dir(results_dir)
        self._storage = storage
        self._progress = progress
        self._publish_files = publish
        self._records = {record.key: record for record in read_records_so_far(self._folder)}
        self._in_flight: dict[int, _InFlight] = {}
        self._stopped: set[int] = set()
        self._timing = SearchProgress()
        self._latest: dict[int, Progress] = {}
        self._values_of: dict[int, tuple[float, ...]] = {}
        self._candidates = self._storage.candidates()
        self._num_open = self._storage.num_open
        self._again: list[Candidate] = []
        self._node_failures = NodeFailures()
        self._excluded: set[str] = set()
        self._trained: set[tuple[str, int]] = set()
        self._new: set[tuple[str, int]] = set()

    @property
    def num_open(self) -> int:
        """Candidates that `start` would still return."""
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
        return not self._num_open and not self._in_flight and not self._again

    def start(self) -> Candidate | None:
        """Return the next candidate, which is in flight from now on; None when there is none at the moment.

        One that raised on a node comes before new ones.
        """
        if not self._again and not self._num_open:  # Tune asks often: not in the database
            return None
        candidate = self._again.pop(0) if self._again else self._storage.next()
        if candidate is None:
            return None
        trials, full_supervision = search_trials(self._suite, candidate)
        progress = RunProgress([*full_supervision, *trials])
        recorder = Recorder(
            self._folder,
            self._records,
            progress=progress,
            display=self.display,
            loggers=Loggers(()),
            publish=self._publish,
        )
        for spec in (*full_supervision, *trials):
            recorder.start(spec)
        started = self._in_flight[candidate.number] = _InFlight(
            candidate=candidate,
            trials=trials,
            full_supervision=full_supervision,
            recorder=recorder,
            progress=progress,
        )
        rounds = [
            (spec.trial_id, round_)
            for round_ in range(started.num_rounds)
            for spec in (*full_supervision, *trials)
            if round_ < spec.num_rounds
        ]
        self._timing.start(candidate.number, rounds)
        shared = "" if candidate.same_as is None else f"  (shares the trials of {candidate.label})"
        self.display.candidate_started(candidate.number, candidate.params, shared)
        self.write()
        return candidate

    def on_progress(self, number: int, progress: Progress) -> None:
        """Take the latest progress of a candidate, within a round."""
        candidate = self._in_flight.get(number)
        if candidate is not None and self._timing.update(number, progress):
            self._latest[number] = progress
            candidate.progress.update(progress)

    def note(self, number: int, progress: Progress) -> None:
        """Print what the user should read of a trial."""
        self.display.print(f"! candidate {number}  seed {progress.seed}: {progress.note}")

    @property
    def is_in_fit(self) -> bool:
        """Whether a candidate in flight that has not stopped trains a model, for all that is known."""
        return any(
            number not in self._stopped and (latest := self._latest.get(number)) is not None and latest.phase == "fit"
            for number in self._in_flight
        )

    def on_round(self, event: CandidateRound) -> bool:
        """Record a round of a candidate and return whether the candidate is to be stopped."""
        number = event.number
        if number not in self._in_flight:
            return True  # it has ended already; Tune had to start its actor again
        candidate = self._in_flight[number]
        candidate.progress.set_place(event.place.host, event.place.node, event.place.pid)
        self._trained |= event.trained
        new = {record.key for record in event.records} - self._records.keys()
        if new:
            self._node_failures.on_new_round(event.place.node)
        self._new |= new
        self._timing.record(number, [record.key for record in event.records], event.trained)
        self._latest.pop(number, None)
        for record in event.records:
            candidate.recorder.record(record)
        if event.is_stopped:
            self._stopped.add(number)
            return True
        if event.failure is not None:
            self._on_raised(number, event.failure, is_of_environment=event.is_of_environment)
            return True
        values = self._values_of[number] = self._values(candidate, event.num_rounds)
        self._storage.report(number, event.num_rounds, values[0])
        if event.is_done:
            self._storage.finish(number, values)
            self._on_end(number, "done", values)
            return True
        if self._storage.is_behind(number):
            self._storage.prune(number)
            self._on_end(number, f"pruned after round {event.num_rounds - 1}", values)
            return True
        self._publish(DATABASE)
        return False

    def on_worker_died(self, number: int) -> None:
        """Record that a candidate has failed because its worker died again and again."""
        if self._in_flight.pop(number, None) is None:
            return
        self._timing.end(number)
        reason = "its worker died again and again"
        self._storage.fail(number, reason)
        self.display.print(f"✗ candidate {number} failed: {reason}")
        self.write()

    def avoided(self, number: int) -> frozenset[str]:
        """Return the nodes on which a candidate is not to run, unless those are all."""
        return self._node_failures.failed_on(number) | self._excluded

    def _on_raised(self, number: int, failure: Failure, *, is_of_environment: bool) -> None:
        """Try a candidate on another node when its error may be the node's, else record that it has failed."""
        nodes = self.find_nodes()
        if is_of_environment and self._node_failures.on_raised(number, failure.node, nodes - self._excluded):
            self._again.append(self._in_flight.pop(number).candidate)
            self._timing.end(number)
            where = f"(on {failure.host}, node {failure.node})"
            self.display.print(f"! candidate {number} will be tried on another node: {failure.exception} {where}")
        else:
            self._node_failures.on_failed(number)
            self._on_failure(number, failure)
        bad = self._node_failures.bad_nodes()
        if nodes - bad:  # else the error is the suite's
            for node in sorted(bad - self._excluded):
                self.display.print(
                    f"! {failure.host} (node {node}) gets no more candidates in this run: {MAX_NODE_FAILURES} in a row "
                    f"failed there, the last with {failure.exception}"
                )
            self._excluded = bad

    def _on_failure(self, number: int, failure: Failure) -> None:
        candidate = self._in_flight.pop(number)
        self._timing.end(number)
        specs = {spec.trial_id: spec for spec in (*candidate.trials, *candidate.full_supervision)}
        candidate.recorder.fail(specs[failure.trial_id], failure)
        self._storage.fail(number, failure.exception)
        self.write()

    def _on_end(self, number: int, how: str, values: tuple[float, ...]) -> None:
        candidate = self._in_flight.pop(number).candidate
        self._timing.end(number)
        self.write()
        self.display.candidate_ended(number, how, show_values(self._study.objective, values), candidate.params)

    def state(self) -> SearchState:
        """Return what there is to show of the search."""
        states = [candidate.state for candidate in self._candidates]
        found = best_of(self._candidates, self._study.directions, 1)
        return SearchState(
            name=self._suite.name,
            strategy=self._study.strategy,
            searched=tuple(self._study.distributions()),
            objective=self._study.objective,
            seeds=self._study.search_seeds,
            num=self._study.candidates,
            num_ended=sum(state != "running" for state in states),
            num_pruned=states.count("pruned"),
            num_failed=states.count("failed"),
            best=(found[0].number, found[0].values, found[0].params) if found else None,
            rows=tuple(self._row(number, candidate) for number, candidate in self._in_flight.items()),
            activity=self._progress.activity,
            elapsed_s=self._progress.elapsed_s,
            left_s=self._timing.left_s(self._num_open),
        )

    def _row(self, number: int, candidate: _InFlight) -> CandidateRow:
        return CandidateRow(
            number=number,
            params=candidate.candidate.params,
            round=min(row.num_done for row in candidate.progress.rows.values() if row.spec in candidate.trials),
            num_rounds=candidate.num_rounds,
            latest=self._latest.get(number),
            values=self._values_of.get(number, ()),
            elapsed_s=self._timing.elapsed_s(number),
            left_s=self._timing.candidate_left_s(number),
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

        There are no totals of trials and rounds, since the pruner decides how many rounds a candidate has. Of its
        trials, the one at work has a phase; the others are in phase "search".
        """
        states = [candidate.state for candidate in self._candidates]
        rows = [
            {
                **described,
                "candidate": number,
                "phase": described["phase"] if row is self._row_at_work(number, candidate) else "search",
                "left_s": None if left_s is None else round(left_s, 1),
            }
            for number, candidate in self._in_flight.items()
            for left_s in (self._timing.candidate_left_s(number),)
            for row in candidate.progress.rows.values()
            if row.num_done < row.spec.num_rounds
            for described in (describe_row(candidate.progress, row, None),)
        ]
        left_s = self._timing.left_s(self._num_open)
        return {
            "candidates": {
                "num": self._study.candidates,
                "ended": sum(state != "running" for state in states),
                "failed": states.count("failed"),
            },
            "rounds": {"done": len(self._records)},
            "fits": {"trained": self.num_fits, "shared": self.num_shared},
            "activity": self._progress.activity,
            "elapsed_s": round(self._progress.elapsed_s, 1),
            "left_s": None if left_s is None else round(left_s, 1),
            "in_flight": rows,
        }

    def _row_at_work(self, number: int, candidate: _InFlight) -> Row | None:
        latest = self._latest.get(number)
        return None if latest is None else candidate.progress.rows.get(latest.trial_id)

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
        results = self._storage.results()
        self._candidates, self._num_open = list(results.candidates), self._storage.num_open
        write_study(self._results_dir, replace(results, best=tuple(best)))
        self._publish("study.json")
        self.loggers.candidates()

    def close(self, wait_s: float | None = None) -> None:
        """Wait until the loggers have taken what was logged, at most `wait_s`, by default not for long either."""
        self.loggers.finish(wait_s)

    def _publish(self, *names: str) -> None:
        self._publish_files(*(f"{self._folder.name}/{name}" for name in names))
