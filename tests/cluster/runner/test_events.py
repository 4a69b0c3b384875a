"""The event stream of a trial."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fake_trials import (
    make_progress,
    make_record,
    make_suite,
    open_fake,
    plan,
    run_options,
)

from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import DataError, SuiteError, TrainingError, UnavailableError
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.driver import run_in_foreground
from quadrat.cluster.runner.engine import TrialRunner
from quadrat.cluster.runner.events import Raised, Stopped, stream

SUITE = make_suite()
TRIALS = SUITE.trials()


def test_the_stream_of_a_trial_ends_with_what_it_raised(tmp_path: Path) -> None:
    plan(tmp_path, TRIALS[0], what="raise", times=1)
    events = list(stream(TRIALS[0], lambda: open_fake(SUITE, tmp_path)))
    assert [event.round for event in events if isinstance(event, Record)] == [0]
    raised = events[-1]
    assert isinstance(raised, Raised) and raised.is_retryable
    assert raised.failure.round == 1
    assert "RuntimeError: the GPU fell off the bus" in raised.failure.exception
    assert "in _misbehave" in raised.failure.traceback


@pytest.mark.parametrize(("what", "exception"), [("exit", "SystemExit: 0"), ("mute", "MuteError: (its message can't")])
def test_what_a_plugin_should_not_do_fails_the_trial_and_not_the_run(tmp_path: Path, what: str, exception: str) -> None:
    plan(tmp_path, TRIALS[0], what=what, times=9)
    raised = list(stream(TRIALS[0], lambda: open_fake(SUITE, tmp_path)))[-1]
    assert isinstance(raised, Raised) and raised.failure.exception.startswith(exception)
    outcome = run_in_foreground(SUITE, TRIALS, run_options(tmp_path))
    assert (outcome.exit_code, outcome.num_complete) == (2, 3)
    (failure,) = outcome.failures
    assert failure.exception.startswith(exception) and "in _misbehave" in failure.traceback


def test_a_runner_that_cannot_be_opened_fails_the_trial(tmp_path: Path) -> None:
    def broken() -> TrialRunner:
        raise OSError("no such device")

    (event,) = stream(TRIALS[0], broken)
    assert isinstance(event, Raised) and "no such device" in event.failure.exception


def test_progress_within_a_phase_is_reported_a_few_times_a_second_at_most() -> None:
    def run(spec: TrialSpec, on_progress: Callable[[Progress], None]) -> Iterator[Record]:
        for step in range(20_000):
            on_progress(make_progress(spec, 0, "fit", step, 20_000))
        yield make_record(spec, 0)

    start = time.monotonic()
    events = list(stream(TRIALS[0], lambda: run))
    assert len(events) <= 3 + (time.monotonic() - start) / 0.4
    assert isinstance(events[-1], Record)
    assert len(list(stream(TRIALS[0], lambda: run, every_s=1e6))) == 2  # of many workers: the first, and the record


def test_a_trial_that_is_to_stop_ends_at_its_next_progress(tmp_path: Path) -> None:
    plan(tmp_path, TRIALS[0], what="hang", times=1)
    asked: list[bool] = []
    events = stream(TRIALS[0], lambda: open_fake(SUITE, tmp_path), 0.0, lambda: bool(asked))
    first = next(events)
    asked.append(True)
    *_, last = events
    assert isinstance(first, Progress) and last == Stopped()


@pytest.mark.parametrize(
    ("error", "needs_mending", "is_of_environment"),
    [
        (OSError("no space left on device"), False, True),
        (MemoryError(), False, True),
        (RuntimeError("CUDA error: device-side assert"), False, True),
        (ImportError("libcudart.so.12"), False, True),
        (UnavailableError("the storage does not answer"), False, True),
        (DataError("no such folder"), True, True),  # the node's where the driver has the data, else everyone's
        (TrainingError("the loss is not finite"), True, True),
        (SuiteError("no such layer"), True, False),
        (TypeError("a plugin's mistake"), True, False),
        (NotImplementedError("a plugin's gap"), True, False),
    ],
)
def test_what_any_machine_would_raise_is_told_from_what_another_may_not(
    error: Exception, needs_mending: bool, is_of_environment: bool
) -> None:
    raised = Raised.of(TRIALS[0], error, num_rounds_done=1)
    assert (raised.failure.needs_mending, raised.is_of_environment) == (needs_mending, is_of_environment)
