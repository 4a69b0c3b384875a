"""How many workers a pool starts and stops, without Ray."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError
from support.fake_trials import ENGINE, make_suite

from quadrat.benchmark.results.failures import Failure
from quadrat.cluster.runner import worker_pool
from quadrat.cluster.runner.actor import Place
from quadrat.cluster.runner.events import Raised
from quadrat.cluster.runner.worker_pool import TrialEvent, Worker, WorkerDied, WorkerPool


class _Pool(WorkerPool):
    """A pool whose workers are no actors; `seat` lets those that wait start on nodes with free slots."""

    def _start_worker(self, without: str | None = None) -> None:
        self._workers.append(Worker(handle=None, readiness=object()))

    def _stop(self, worker: Worker) -> None:
        self._workers.remove(worker)

    def seat(self, slots: dict[str, int]) -> None:
        free = [node for node, num in slots.items() for _ in range(num)]
        for worker in self._workers:
            if worker.place is not None:
                free.remove(worker.place.node)
        for worker, node in zip([one for one in self._workers if one.place is None], free, strict=False):
            worker.place, worker.readiness = Place(host="h", pid=0, node=node), None

    @property
    def num_waiting(self) -> int:
        return sum(worker.place is None for worker in self._workers)

    @property
    def num_ready(self) -> int:
        return len(self._workers) - self.num_waiting


def make_pool(monkeypatch: pytest.MonkeyPatch, slots: dict[str, int], *, is_own: bool, **resources: int) -> _Pool:
    monkeypatch.setattr(worker_pool, "slots_by_node", lambda resources: dict(slots))
    monkeypatch.setattr(worker_pool, "_RESIZE_EVERY_S", 0.0)
    suite = make_suite(resources=resources)
    return _Pool(suite, Path(), ENGINE.open_runner, ENGINE.warm_up, is_own=is_own)


def test_a_full_cluster_is_told_of_more_demand_which_is_taken_back_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = {"a": 2}
    pool = make_pool(monkeypatch, slots, is_own=False)
    pool.resize(100)
    assert (pool.num_ready, pool.num_waiting) == (0, 2)  # the nodes that are there come first
    pool.seat(slots)
    pool.resize(100)
    assert (pool.num_ready, pool.num_waiting) == (2, 32)
    slots["b"] = 40  # the autoscaler adds a node
    pool.seat(slots)
    pool.resize(100)
    assert pool.num_ready + pool.num_waiting == 42  # first of all that one is filled
    pool.seat(slots)
    pool.resize(100)
    assert (pool.num_ready, pool.num_waiting) == (42, 32)
    pool.resize(50)
    assert (pool.num_ready, pool.num_waiting) == (42, 8)
    pool.resize(41)
    assert (pool.num_ready, pool.num_waiting) == (41, 0)


class _Handle:
    """An actor that keeps the arguments of `run`."""

    def __init__(self) -> None:
        self.run = self
        self.arguments: tuple[object, ...] = ()

    def options(self, **options: object) -> "_Handle":
        return self

    def remote(self, *arguments: object) -> None:
        self.arguments = arguments


@pytest.mark.parametrize("is_cut_short", [True, False])
def test_a_worker_that_dies_after_the_last_event_of_its_trial_takes_no_trial_with_it(
    monkeypatch: pytest.MonkeyPatch, is_cut_short: bool
) -> None:
    def died() -> None:
        raise RayActorError

    (spec, *_) = make_suite().trials()
    failure = Failure(trial_id=spec.trial_id, label="random", seed=0, round=0, exception="CUDA error", traceback="T")
    raised = Raised(failure=failure, is_retryable=True)
    pool = make_pool(monkeypatch, {"a": 1}, is_own=False)
    monkeypatch.setattr(worker_pool, "ray", SimpleNamespace(get=lambda reference: reference()))
    events = iter([lambda: raised, died] if is_cut_short else [died])
    worker = Worker(handle=None, readiness=None, place=Place(host="h", pid=0, node="a"), spec=spec, events=events)
    pool._workers.append(worker)
    found = [event for _ in range(1 + is_cut_short) for event in pool._read(worker)]
    if is_cut_short:  # the schedule has taken the trial back already, and may have given it to another worker
        assert found == [TrialEvent(spec=spec, event=raised, place=Place(host="h", pid=0, node="a"))]
    else:
        assert [type(event) for event in found] == [WorkerDied]
    assert pool._workers == []


@pytest.mark.parametrize(("num_workers", "every_s"), [(1, 0.4), (100, 0.4), (1000, 4.0)])
def test_workers_together_report_progress_250_times_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch, num_workers: int, every_s: float
) -> None:
    pool = make_pool(monkeypatch, {"a": num_workers}, is_own=True)
    pool.resize(num_workers)
    worker, handle = pool._workers[0], _Handle()
    worker.handle = handle
    pool.start(worker, make_suite().trials()[0])
    assert handle.arguments[1] == every_s


@pytest.mark.parametrize(("is_own", "resources", "num"), [(True, {}, 2), (False, {"max_in_flight": 5}, 5)])
def test_a_ray_of_ones_own_and_a_limit_of_the_suite_have_no_more_demand(
    monkeypatch: pytest.MonkeyPatch, is_own: bool, resources: dict[str, int], num: int
) -> None:
    pool = make_pool(monkeypatch, {"a": 2}, is_own=is_own, **resources)
    for _ in range(3):
        pool.resize(100)
        pool.seat({"a": 2})
    assert pool.num_ready + pool.num_waiting == num
