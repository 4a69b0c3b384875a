"""Events of a trial: one stream of progress and records, and at most one error at its end."""

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import DataError, QuadratError, StopRequested, TrainingError, TransientError, described
from quadrat.benchmark.results.failures import Failure
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.engine import TrialRunner

__all__ = ["ERRORS", "PROGRESS_EVERY_S", "Event", "Raised", "Stopped", "Throttle", "failure_of", "stream"]

PROGRESS_EVERY_S: Final = 0.4
"""Progress within a phase is reported at most this often; a training step may take milliseconds."""

ERRORS: Final = (Exception, SystemExit, GeneratorExit)
"""What fails a trial: also `sys.exit` in a plugin, which would end the run, with exit code 0 as the case may be."""


@dataclass(frozen=True, kw_only=True)
class Raised:
    """The last event of a trial that raised.

    Attributes:
        failure: What is recorded if the trial is not tried again.
        is_retryable: False for an error that the same machine would raise again.
        is_of_environment: Whether another machine may not raise it: data that are not mounted, a GPU that is broken.
    """

    failure: Failure
    is_retryable: bool
    is_of_environment: bool = False

    @classmethod
    def of(cls, spec: TrialSpec, error: BaseException, *, num_rounds_done: int) -> Self:
        """Return the event of a trial that raised `error` after so many rounds."""
        return cls(
            failure=failure_of(spec, error, num_rounds_done=num_rounds_done),
            is_retryable=isinstance(error, TransientError) or not isinstance(error, QuadratError),
            # The driver has opened the same data before any trial started: data that a worker misses are its node's.
            is_of_environment=_is_of_machine(error) or isinstance(error, DataError | TrainingError),
        )


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The last event of a trial that ended because it was asked to; its fit has written a checkpoint."""


Event = Progress | Record | Raised | Stopped


def failure_of(spec: TrialSpec, error: BaseException, *, num_rounds_done: int) -> Failure:
    """Return the line of failures.jsonl for a trial that raised `error`."""
    return Failure(
        trial_id=spec.trial_id,
        label=spec.label,
        seed=spec.seed,
        round=num_rounds_done,
        exception=described(error),
        traceback="".join(traceback.format_exception(error)),
        needs_mending=not _is_of_machine(error),
    )


def _is_of_machine(error: BaseException) -> bool:
    """Return whether a machine may be the cause: disk, network, memory, packages, GPU (PyTorch's `RuntimeError`).

    Other errors are those of a suite, of data, or of code, such as a plugin's `TypeError`.
    """
    if isinstance(error, QuadratError):
        return isinstance(error, TransientError)
    return isinstance(error, OSError | MemoryError | RuntimeError | ImportError) and not isinstance(
        error, NotImplementedError | RecursionError
    )


def stream(
    spec: TrialSpec,
    get_runner: Callable[[], TrialRunner],
    every_s: float = PROGRESS_EVERY_S,
    must_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Run a trial in a thread and yield its events as they happen.

    A generator cannot yield from inside the callback that the learner calls, hence the thread. With one ordered stream,
    rather than records and polled progress, the driver sees a record after the last step of its round, and makes no
    call per iteration.

    Args:
        spec: The trial.
        get_runner: Opens the runner; called in the thread, so that an error (bad data, say) fails the trial.
        every_s: Progress within a phase is reported at most this often.
        must_stop: Called with each progress, an iteration of a fit among others: whether the trial is to end.
    """
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    throttle = Throttle(every_s)

    def on_progress(progress: Progress) -> None:
        if must_stop():
            raise StopRequested
        if throttle.passes(progress):
            events.put(progress)

    def work() -> None:
        num_rounds_done = 0
        try:
            for record in get_runner()(spec, on_progress):
                events.put(record)
                num_rounds_done += 1
        except StopRequested:
            events.put(Stopped())
        except BaseException as error:  # `KeyboardInterrupt`, too: in a thread it is not the user's
            events.put(Raised.of(spec, error, num_rounds_done=num_rounds_done))
        finally:
            events.put(None)

    # A daemon, so that a reader which stops early (Ctrl-C) does not wait for the end of a training.
    threading.Thread(target=work, name=spec.trial_id, daemon=True).start()
    while (event := events.get()) is not None:
        yield event


class Throttle:
    """Which progress is reported: that of a new phase or with a note, and otherwise one every `every_s`."""

    def __init__(self, every_s: float = PROGRESS_EVERY_S) -> None:
        self._every_s = every_s
        self._last: tuple[str, int, str] | None = None
        self._last_s = 0.0

    def passes(self, progress: Progress) -> bool:
        """Return whether to report `progress`; if so, the time until the next one begins."""
        now_s = time.monotonic()
        phase = (progress.trial_id, progress.round, progress.phase)
        if not progress.note and phase == self._last and now_s - self._last_s < self._every_s:
            return False
        self._last, self._last_s = phase, now_s
        return True

    def restart(self) -> None:
        """Begin the time until the next one anew, after a report that took long."""
        self._last_s = time.monotonic()
