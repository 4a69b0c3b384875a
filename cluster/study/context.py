"""The driver's desk in a study: what candidates tell goes to the journal and into the book, and is said."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quadrat.benchmark.analysis.objective import value_of
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.candidates import (
    Best,
    Candidate,
    best_of,
    search_trials,
    study_dir,
    study_of,
    write_study,
)
from quadrat.benchmark.results.records import Failure, finalise, read_records_so_far
from quadrat.benchmark.tracking.logger import MlflowLogger
from quadrat.cluster.progress.display import LineDisplay
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import StatusFile
from quadrat.cluster.runner.interrupt import StopRequest
from quadrat.cluster.runner.recorder import Recorder
from quadrat.cluster.study.actor import CandidateEvent
from quadrat.cluster.study.status import describe_search
from quadrat.cluster.study.storage import DATABASE, CandidateStorage

__all__ = ["StudyContext", "show_params"]


@dataclass(frozen=True, kw_only=True)
class _Open:
    """A candidate in flight."""

    trials: Sequence[TrialSpec]
    references: Sequence[TrialSpec]
    journal: Recorder
    board: RunProgress


class StudyContext:
    """What the driver does with what candidates tell: records to the journal, objectives to the book.

    What is written is published before the next step: records, then the database, then study.json, which is made from
    it. So whoever goes on elsewhere knows of no candidate whose records are missing.

    Args:
        suite: A suite with a study.
        results_dir: Its results folder, locked.
        book: Its candidates.
        stop: Whether somebody has asked to stop.
        publish: Called with the names of files in the results folder that were written.

    Attributes:
        book: The candidates.
        mirror: Mirrors them in MLflow, None to mirror nowhere.
        bulletin: Tells others where the search is, None to tell nobody.
        activity: What is done as long as no candidate is in flight.
    """

    def __init__(
        self, suite: Suite, results_dir: Path, book: CandidateStorage, stop: StopRequest, publish: Callable[..., None]
    ) -> None:
        self.book = book
        self._suite = suite
        self._study = study_of(suite)
        self._results_dir = results_dir
        self._folder = study_dir(results_dir)
        self._stop = stop
        self._publish_files = publish
        self._error: Exception | None = None
        self._records = {record.key: record for record in read_records_so_far(self._folder)}
        self._open: dict[int, _Open] = {}
        self.mirror: MlflowLogger | None = None
        self.bulletin: StatusFile | None = None
        self.activity = ""
        self._trained: set[tuple[str, int]] = set()
        self._new: set[tuple[str, int]] = set()
        self._started_s = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line with the time of day."""
        LineDisplay(RunProgress([]), sys.stdout).say(text)

    def announce(self, activity: str) -> None:
        """Say and note what is done before candidates run."""
        self.activity = activity
        self.say(activity)

    def refresh(self) -> None:
        """Have the bulletin posted, every few seconds of the calls."""
        if self.bulletin is not None:
            with self._keeping_errors():
                self.bulletin.post()

    def describe(self) -> dict[str, Any]:
        """Return where the search is, for the bulletin."""
        return describe_search(
            self.book.candidates(),
            {number: candidate.board for number, candidate in self._open.items()},
            num_wanted=self._study.candidates,
            activity=self.activity,
            elapsed_s=time.monotonic() - self._started_s,
        )

    @property
    def num_fits(self) -> int:
        """Rounds told since the search was started, or went on, whose model was trained for them."""
        return len(self._trained)

    @property
    def num_shared(self) -> int:
        """New rounds told since then whose model was in the store."""
        return len(self._new - self._trained)

    @property
    def must_stop(self) -> bool:
        """Whether somebody asked to stop, or the driver itself cannot go on."""
        return self._stop.signal is not None or self._error is not None

    def raise_error(self) -> None:
        """Raise what kept the driver from going on; Tune would have wrapped it."""
        if self._error is not None:
            raise self._error

    @contextlib.contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        """Keep an error for `raise_error`, out of Tune's hands; the search stops."""
        try:
            yield
        except Exception as error:
            self._error = self._error or error

    def start(self) -> Candidate | None:
        """Return the next candidate, or None when there are as many as are wanted, or the driver cannot go on."""
        with self._keeping_errors():
            return self._start()
        return None

    def _start(self) -> Candidate | None:
        candidate = self.book.next()
        if candidate is None:
            return None
        trials, references = search_trials(self._suite, candidate)
        board = RunProgress([*references, *trials])
        display = LineDisplay(board, sys.stdout)
        journal = Recorder(
            self._folder,
            self._records.values(),
            board=board,
            display=display,
            mirror=None,
            publish=self._publish,
        )
        for spec in (*references, *trials):
            journal.start(spec)
        self._open[candidate.number] = _Open(trials=trials, references=references, journal=journal, board=board)
        shared = "" if candidate.same_as is None else f"  (shares the trials of {candidate.label})"
        self.say(f"candidate {candidate.number}  {show_params(candidate.params)}{shared}")
        self.write()
        return candidate

    def hear(self, told: CandidateEvent) -> bool:
        """Write down what a candidate tells, and return whether it is to be stopped."""
        with self._keeping_errors():
            return self._hear(told)
        return True

    def _hear(self, told: CandidateEvent) -> bool:
        number = told.number
        if number not in self._open:
            return True  # ended already; Tune had to start its actor again
        self._open[number].board.move(told.place.host, told.place.node, told.place.pid)
        self._trained |= told.trained
        self._new |= {record.key for record in told.records} - self._records.keys()
        for record in told.records:
            self._open[number].journal.record(record)
            self._records.setdefault(record.key, record)
        if told.failure is not None:
            return self._fail(number, told.failure)
        values = self._values(number, told.num_rounds)
        self.book.report(number, told.num_rounds, values[0])
        if told.is_done:
            self.book.finish(number, values)
            self._say_end(number, "done", values)
        elif self.book.is_behind(number):
            self.book.prune(number)
            self._say_end(number, f"pruned after round {told.num_rounds}", values)
            return True
        else:
            self._publish(DATABASE)
        return told.is_done

    def _values(self, number: int, num_rounds: int) -> tuple[float, ...]:
        trials, references = self._open[number].trials, self._open[number].references
        records = [
            self._records[spec.trial_id, round_]
            for spec in trials
            for round_ in range(min(num_rounds, spec.num_rounds))
            if (spec.trial_id, round_) in self._records
        ]
        full = [self._records[spec.trial_id, 0] for spec in references]
        return tuple(value_of(objective, records, full) for objective in self._study.objective)

    def _fail(self, number: int, failure: Failure) -> bool:
        candidate = self._open.pop(number)
        spec = next(spec for spec in (*candidate.trials, *candidate.references) if spec.trial_id == failure.trial_id)
        candidate.journal.give_up(spec, failure)
        self.book.fail(number, failure.exception)
        self.write()
        return True

    def lost(self, number: int) -> None:
        """Note that a candidate's actor died again and again."""
        reason = "its worker died again and again"
        if self._open.pop(number, None) is None:
            return
        with self._keeping_errors():
            self.book.fail(number, reason)
            self.say(f"✗ candidate {number} failed: {reason}")
            self.write()

    def _say_end(self, number: int, state: str, values: tuple[float, ...]) -> None:
        self._open.pop(number)
        self.write()
        candidates = self.book.candidates()
        num_ended = sum(candidate.state != "running" for candidate in candidates)
        shown = ", ".join(
            f"{objective} {value:.4f}" for objective, value in zip(self._study.objective, values, strict=True)
        )
        best = best_of(candidates, self._study.directions, 1)
        ahead = f", best so far: candidate {best[0].number}" if best else ""
        self.say(f"candidate {number}  {state}: {shown}{ahead}  [{num_ended}/{self._study.candidates} candidates]")

    def finalise(self) -> None:
        """Put the records of the search in the order of the candidates; that of their ends depends on the cluster."""
        if self._records:
            order: dict[str, int] = {}
            for candidate in self.book.candidates():
                for specs in search_trials(self._suite, candidate):
                    order |= {spec.trial_id: spec.num_rounds for spec in specs}
            finalise(self._folder, order)
            self._publish("records.jsonl", "failures.jsonl")
        self.write()

    def write(self, best: Sequence[Best] = ()) -> None:
        """Write study.json as the book stands, and publish both.

        Args:
            best: The candidates that are run on the report seeds, once they are known.
        """
        self._publish(DATABASE)
        write_study(self._results_dir, replace(self.book.results(), best=tuple(best)))
        self._publish("study.json")
        if self.mirror is not None:
            self.mirror.candidates()

    def _publish(self, *names: str) -> None:
        self._publish_files(*(f"{self._folder.name}/{name}" for name in names))


def show_params(params: dict[str, Any]) -> str:
    """Return searched parameters as they are shown: floats with four digits."""
    return "  ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items()
    )
