"""What driver and workers of a search tell each other within a round: progress one way, a request to stop the other.

Tune carries one message a round, at its end.
"""

import time
from typing import Any, Final, NamedTuple

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.events import PROGRESS_EVERY_S

__all__ = ["Letters", "Mailbox", "Sender"]

_ANSWER_S: Final = 5.0
"""Seconds that a worker waits for the mailbox; on a busy node the search goes on without it."""


class Letters(NamedTuple):
    """What has arrived.

    Attributes:
        latest: The latest progress of each candidate, by number.
        notes: Progress with a note, since the last reading.
    """

    latest: dict[int, Progress]
    notes: list[tuple[int, Progress]]


class _Box:
    """The Ray actor in the middle: it holds the letters, and computes nothing."""

    def __init__(self) -> None:
        self._latest: dict[int, Progress] = {}
        self._notes: list[tuple[int, Progress]] = []
        self._must_stop = False

    def report(self, number: int, progress: Progress) -> bool:
        """Take the progress of a candidate, and return whether it is to stop."""
        self._latest[number] = progress
        if progress.note:
            self._notes.append((number, progress))
        return self._must_stop

    def read(self) -> Letters:
        """Return what has arrived."""
        notes, self._notes = self._notes, []
        return Letters(dict(self._latest), notes)

    def stop(self) -> None:
        """Have every candidate stop at its next report."""
        self._must_stop = True


class Mailbox:
    """The driver's side. A mailbox whose node is lost is empty from then on: nothing but the display needs it."""

    def __init__(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self._box = ray.remote(_Box).options(num_cpus=0, scheduling_strategy=here).remote()
        self._asked: Any = None
        self._letters = Letters({}, [])

    @property
    def sender(self) -> "Sender":
        """The workers' side."""
        return Sender(self._box)

    def read(self) -> Letters:
        """Return what has arrived, without waiting: the answer to the question that the last call asked."""
        if self._asked is None:
            self._asked = self._box.read.remote()
        self._letters = Letters(self._letters.latest, [])
        if ray.wait([self._asked], timeout=0)[0]:
            asked, self._asked = self._asked, None
            try:
                self._letters = ray.get(asked)
            except RayError:  # its node is gone: the display stands still, the search goes on
                self._letters = Letters({}, [])
        return self._letters

    def request_stop(self) -> None:
        """Ask all candidates to stop at their next report."""
        self._box.stop.remote()


class Sender:
    """The workers' side: reports progress, and knows whether to stop.

    Args:
        box: Handle of the actor.
    """

    def __init__(self, box: Any) -> None:
        self._box = box
        self._last: tuple[str, int, str] | None = None
        self._last_s = 0.0
        self._must_stop = False

    def __call__(self, number: int, progress: Progress) -> bool:
        """Report the progress of a candidate, a few times a second at most, and return whether it is to stop."""
        now_s = time.monotonic()
        place = (progress.trial_id, progress.round, progress.phase)
        if progress.note or place != self._last or now_s - self._last_s >= PROGRESS_EVERY_S:
            self._last, self._last_s = place, now_s
            try:
                self._must_stop = ray.get(self._box.report.remote(number, progress), timeout=_ANSWER_S)
            except RayError:  # the mailbox is gone, or does not answer: the candidate goes on, and is not shown
                self._last_s = time.monotonic()
        return self._must_stop
