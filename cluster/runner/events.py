"""What a worker tells while it runs a trial: one stream of progress, records, and at most one failure."""

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import QuadratError
from quadrat.benchmark.results.records import Failure, Record
from quadrat.benchmark.trial.round import Progress
from quadrat.cluster.runner.engine import TrialRunner

__all__ = ["Event", "Raised", "failure_of", "stream"]

_PROGRESS_EVERY_S: Final = 0.4
"""Progress within a phase is told at most this often; a training step may take milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Raised:
    """The last event of a trial that raised.

    Attributes:
        failure: What is recorded should the trial be given up.
        is_worth_retrying: False for an error that the user has to mend: it would come again.
    """

    failure: Failure
    is_worth_retrying: bool


Event = Progress | Record | Raised


def failure_of(spec: TrialSpec, error: BaseException, *, num_rounds_done: int) -> Failure:
    """Return what is written to failures.jsonl about `error`."""
    return Failure(
        trial_id=spec.trial_id,
        label=spec.label,
        seed=spec.seed,
        round=num_rounds_done,
        exception=f"{type(error).__name__}: {error}",
        traceback="".join(traceback.format_exception(error)),
    )


def stream(spec: TrialSpec, get_runner: Callable[[], TrialRunner]) -> Iterator[Event]:
    """Run a trial in a thread and yield what it tells, as it tells it.

    A generator cannot yield from inside the callback that the learner calls, hence the thread. One ordered stream
    instead of records here and a polled progress there: whoever reads it sees a round's record after its last step,
    and the driver makes no call per iteration.

    Args:
        spec: The trial.
        get_runner: Opens the runner, inside the thread and inside the net: bad data fails the trial like a bad loss.
    """
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    tell = _Throttle(events.put)

    def work() -> None:
        num_rounds_done = 0
        try:
            for record in get_runner()(spec, tell):
                events.put(record)
                num_rounds_done += 1
        except Exception as error:  # every kind: the traceback goes to the driver, which records it
            failure = failure_of(spec, error, num_rounds_done=num_rounds_done)
            events.put(Raised(failure=failure, is_worth_retrying=not isinstance(error, QuadratError)))
        finally:
            events.put(None)

    # A daemon, so that a reader who leaves (Ctrl-C) does not wait for the end of a training.
    threading.Thread(target=work, name=spec.trial_id, daemon=True).start()
    while (event := events.get()) is not None:
        yield event


class _Throttle:
    """Passes progress on when the phase changes, and else a few times a second."""

    def __init__(self, put: Callable[[Event], None]) -> None:
        self._put = put
        self._last: tuple[int, str] | None = None
        self._last_s = 0.0

    def __call__(self, progress: Progress) -> None:
        now_s = time.monotonic()
        place = (progress.round, progress.phase)
        if place != self._last or now_s - self._last_s >= _PROGRESS_EVERY_S:
            self._last, self._last_s = place, now_s
            self._put(progress)
