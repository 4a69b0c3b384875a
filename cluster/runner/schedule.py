"""The schedule of a run: which trials wait, which are in flight, and how often one is tried again. It knows no Ray."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Final, NamedTuple

from quadrat.benchmark.config.sharing import planned_round
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.cluster.runner.node_failures import NodeFailures

__all__ = ["MAX_WORKER_DEATHS", "Attempts", "Schedule"]

MAX_WORKER_DEATHS: Final = 3
"""Times in a row that the worker of a trial may die without a new round in between.

A worker that the cluster takes away is not the trial's fault, so a trial that advances is tried again without limit.
One that kills its worker every time (out of memory, a crash in native code) has failed.
"""


@dataclass(kw_only=True)
class Attempts:
    """What has gone wrong with a trial so far, and whether it is tried again.

    Attributes:
        retries: Times that a trial which raised is tried again.
        max_worker_deaths: See `MAX_WORKER_DEATHS`.
        num_raised: Times that it has raised.
        num_worker_deaths: Times that its worker has died since its last new round.
    """

    retries: int
    max_worker_deaths: int = MAX_WORKER_DEATHS
    num_raised: int = 0
    num_worker_deaths: int = 0

    def on_raised(self, *, is_retryable: bool) -> bool:
        """Count an error and return whether the trial is tried again."""
        self.num_raised += 1
        return is_retryable and self.num_raised <= self.retries

    def on_worker_died(self) -> bool:
        """Count the death of its worker and return whether the trial is tried again."""
        self.num_worker_deaths += 1
        return self.num_worker_deaths <= self.max_worker_deaths

    def on_new_round(self) -> None:
        """Reset the count of worker deaths."""
        self.num_worker_deaths = 0


class Schedule:
    """Hands out trials in the given order, except that a trial whose shared round 0 is in training is deferred.

    A decision takes O(log n) for n trials that wait, amortised: each trial is in a heap of those that may start, or,
    while its round 0 is in training, in a list of those that are deferred with it. Entries of trials that have started
    since stay there and are dropped when they are met.

    Args:
        trials: What is to run, the trial that should start first in front.
        retries: Times that a trial which raised is tried again.
        max_worker_deaths: See `MAX_WORKER_DEATHS`.
        shared: Rounds 0 that are trained already, as `planned_round` gives them.
    """

    def __init__(
        self,
        trials: Iterable[TrialSpec],
        *,
        retries: int,
        max_worker_deaths: int = MAX_WORKER_DEATHS,
        shared: Iterable[str] = (),
    ) -> None:
        self._specs = {spec.trial_id: spec for spec in trials}
        self._attempts = {
            trial_id: Attempts(retries=retries, max_worker_deaths=max_worker_deaths) for trial_id in self._specs
        }
        self._rounds_0 = {trial_id: planned_round(spec, 0) for trial_id, spec in self._specs.items()}
        self._in_flight: set[str] = set()
        self._shared = set(shared)
        self._places = {trial_id: place for place, trial_id in enumerate(self._specs)}  # of trials that wait
        self._first, self._last = -1, len(self._specs)  # the places in front of all others and behind them
        entries = [_Entry(place, trial_id) for trial_id, place in self._places.items()]
        self._startable, self._all = entries, list(entries)  # heaps: entries are in order
        self._in_training: Counter[str] = Counter()  # trials in flight of each round 0 that is not trained yet
        self._deferred: defaultdict[str, list[_Entry]] = defaultdict(list)
        self._node_failures = NodeFailures()

    @property
    def num_open(self) -> int:
        """Trials that have neither finished nor failed."""
        return len(self._places) + len(self._in_flight)

    @property
    def num_waiting(self) -> int:
        """Trials that are still to be handed out, some of them again."""
        return len(self._places)

    @property
    def num_in_flight(self) -> int:
        """Trials that were handed out and have not come back."""
        return len(self._in_flight)

    def next(self, node: str = "", nodes: Set[str] = frozenset()) -> TrialSpec | None:
        """Return the next trial for a node, which is in flight from now on, or None when none waits for it.

        A trial that raised on this node waits for another one, unless it has raised on all.

        Trials whose shared round 0 is in training at the moment come later. When nothing else is left they are handed
        out all the same: opening the data takes seconds too, and one that waits takes over should the other die.

        Args:
            node: Where it will run.
            nodes: Nodes that are in use.
        """
        trial_id = self._pop(self._startable, node, nodes, defers=True) or self._pop(self._all, node, nodes)
        if trial_id is None:
            return None
        del self._places[trial_id]
        self._in_flight.add(trial_id)
        if (round_0 := self._rounds_0[trial_id]) not in self._shared:
            self._in_training[round_0] += 1
        return self._specs[trial_id]

    def on_new_round(self, trial_id: str, node: str = "") -> None:
        """Note that a trial has finished a round which no earlier attempt had finished."""
        self._attempts[trial_id].on_new_round()
        self._node_failures.on_new_round(node)
        round_0 = self._rounds_0[trial_id]
        if round_0 not in self._shared:
            self._shared.add(round_0)
            del self._in_training[round_0]
            self._end_deferral(round_0)

    def on_finished(self, trial_id: str) -> None:
        """Note that a trial is complete."""
        self._take_back(trial_id)

    def on_raised(
        self,
        trial_id: str,
        *,
        is_retryable: bool,
        is_of_environment: bool = False,
        node: str = "",
        nodes: Set[str] = frozenset(),
    ) -> bool:
        """Take back a trial that raised and return whether it is tried again.

        What may be the node's error goes to the front of the queue for another node, which soon tells whose it is. Else
        the trial goes to the end: the cause (a full disk, a busy GPU) may have passed by then.

        Args:
            trial_id: The trial.
            is_retryable: See `Raised`.
            is_of_environment: See `Raised`. The trial is tried on other nodes too, besides its retries, as
                `NodeFailures` says.
            node: Where it raised.
            nodes: Nodes that are in use.
        """
        self._take_back(trial_id)
        if is_of_environment and self._node_failures.on_raised(trial_id, node, nodes):
            self._push_first(trial_id)
            return True
        if self._attempts[trial_id].on_raised(is_retryable=is_retryable):
            self._push(trial_id, self._last)
            self._last += 1
            return True
        self._node_failures.on_failed(trial_id)
        return False

    def bad_nodes(self) -> set[str]:
        """Return the nodes on which trial after trial has raised, see `NodeFailures`."""
        return self._node_failures.bad_nodes()

    def on_worker_died(self, trial_id: str) -> bool:
        """Take back a trial whose worker died and return whether it is tried again.

        It goes to the front: it has started, and what it needs from the store may still be in the page cache.
        """
        self._take_back(trial_id)
        is_retried = self._attempts[trial_id].on_worker_died()
        if is_retried:
            self._push_first(trial_id)
        return is_retried

    def _pop(self, heap: "list[_Entry]", node: str, nodes: Set[str], *, defers: bool = False) -> str | None:
        """Return the first trial of a heap that waits and may run on a node; `defers` those in training."""
        passed: list[_Entry] = []
        found: str | None = None
        while heap and found is None:
            entry = heapq.heappop(heap)
            if self._places.get(entry.trial_id) != entry.place:
                continue  # it has started since
            if defers and self._in_training[self._rounds_0[entry.trial_id]]:
                self._deferred[self._rounds_0[entry.trial_id]].append(entry)
            elif self._may_run(entry.trial_id, node, nodes):
                found = entry.trial_id
            else:
                passed.append(entry)
        for entry in passed:
            heapq.heappush(heap, entry)
        return found

    def _push(self, trial_id: str, place: int) -> None:
        self._places[trial_id] = place
        heapq.heappush(self._startable, _Entry(place, trial_id))
        heapq.heappush(self._all, _Entry(place, trial_id))

    def _push_first(self, trial_id: str) -> None:
        self._push(trial_id, self._first)
        self._first -= 1

    def _take_back(self, trial_id: str) -> None:
        """Note that a trial is no longer in flight, nor its round 0 in training unless another trial trains it."""
        self._in_flight.remove(trial_id)
        round_0 = self._rounds_0[trial_id]
        if round_0 not in self._shared:
            self._in_training[round_0] -= 1
            if not self._in_training[round_0]:
                self._end_deferral(round_0)

    def _end_deferral(self, round_0: str) -> None:
        for entry in self._deferred.pop(round_0, ()):
            heapq.heappush(self._startable, entry)

    def _may_run(self, trial_id: str, node: str, nodes: Set[str]) -> bool:
        failed_on = self._node_failures.failed_on(trial_id)
        return node not in failed_on or failed_on >= nodes


class _Entry(NamedTuple):
    """A trial that waits; the one with the smallest place comes first."""

    place: int
    trial_id: str
