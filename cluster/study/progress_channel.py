"""The channel between the workers of a search and its driver within a round: progress one way, a stop the other.

Tune carries one message a round, at its end.
"""

from typing import Any, Final, NamedTuple

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.events import Throttle

__all__ = ["ProgressChannel", "ProgressReporter", "Received"]

_ANSWER_S: Final = 5.0
"""Seconds that a worker waits for the channel; on a busy node the search goes on without it."""


class Received(NamedTuple):
    """What has arrived.

    Attributes:
        latest: The latest progress of each candidate, by number.
        notes: Progress with a note, since the last reading.
    """

    latest: dict[int, Progress]
    notes: list[tuple[int, Progress]]


class _ChannelActor:
    """The Ray actor in the middle, which holds what was reported."""

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

    def read(self) -> Received:
        """Return what has arrived."""
        notes, self._notes = self._notes, []
        return Received(dict(self._latest), notes)

    def stop(self) -> None:
        """Have every candidate stop at its next report."""
        self._must_stop = True


class ProgressChannel:
    """The driver's end. When its node is lost it is empty from then on: nothing but the display needs it."""

    def __init__(self) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self._actor = ray.remote(_ChannelActor).options(num_cpus=0, scheduling_strategy=here).remote()
        self._pending: Any = None
        self._received = Received({}, [])

    @property
    def reporter(self) -> "ProgressReporter":
        """The workers' end."""
        return ProgressReporter(self._actor)

    def read(self) -> Received:
        """Return what has arrived, without waiting: the answer to the request of an earlier call."""
        if self._pending is None:
            self._pending = self._actor.read.remote()
        self._received = Received(self._received.latest, [])
        if ray.wait([self._pending], timeout=0)[0]:
            pending, self._pending = self._pending, None
            try:
                self._received = ray.get(pending)
            except RayError:  # its node is gone: the display stands still, the search goes on
                self._received = Received({}, [])
        return self._received

    def request_stop(self) -> None:
        """Ask all candidates to stop at their next report."""
        self._actor.stop.remote()


class ProgressReporter:
    """The workers' end: reports progress, and returns whether to stop.

    Args:
        actor: Handle of the actor.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._throttle = Throttle()
        self._must_stop = False

    def __call__(self, number: int, progress: Progress) -> bool:
        """Report the progress of a candidate, a few times a second at most, and return whether it is to stop."""
        if self._throttle.passes(progress):
            try:
                self._must_stop = ray.get(self._actor.report.remote(number, progress), timeout=_ANSWER_S)
            except RayError:  # the actor is gone, or does not answer: the candidate goes on, and is not shown
                self._throttle.restart()
        return self._must_stop
