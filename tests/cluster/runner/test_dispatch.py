"""The event loop on a simulated pool: a node on which every trial raises costs no trial."""

from types import SimpleNamespace
from typing import Any

import pytest
from support.fake_trials import make_suite

from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import DataError, SuiteError
from quadrat.benchmark.results.failures import Failure
from quadrat.cluster.runner import dispatch
from quadrat.cluster.runner.actor import Place
from quadrat.cluster.runner.events import Raised, Stopped
from quadrat.cluster.runner.interrupt import GRACE_S
from quadrat.cluster.runner.schedule import Schedule
from quadrat.cluster.runner.worker_pool import TrialEvent, TrialFinished, Worker, WorkerPool

TRIALS = make_suite(seeds=list(range(6))).trials()


class _Pool(WorkerPool):
    """A pool whose workers run nothing: one trial after the other ends, those on a node in `errors` with its error."""

    def __init__(self, nodes: str, errors: dict[str, Exception]) -> None:
        self._workers = [
            Worker(handle=None, readiness=None, place=Place(host=f"host-{node}", pid=index, node=node))
            for index, node in enumerate(nodes)
        ]
        self._slots = dict.fromkeys(nodes, 1)
        self._resources = make_suite().resources
        self._is_own = True
        self._excluded = frozenset[str]()
        self._unfit: dict[str, Exception] = {}
        self._errors = errors
        self.num_started = dict.fromkeys(nodes, 0)

    def resize(self, num_wanted: int) -> None:
        pass

    def move(self, worker: Worker) -> None:
        pass

    def _stop(self, worker: Worker) -> None:
        self._workers.remove(worker)

    def start(self, worker: Worker, spec: TrialSpec) -> None:
        assert worker.place is not None
        worker.spec = spec
        self.num_started[worker.place.node] += 1

    def poll(self, timeout_s: float) -> Any:
        # A bad node fails at once, a good one takes its time: trials on it end when no other is in flight.
        busy = [worker for worker in self._workers if worker.spec is not None and worker.place is not None]
        for worker in [one for one in busy if one.place.node in self._errors] or busy:  # type: ignore[union-attr]
            spec, place = worker.spec, worker.place
            assert spec is not None and place is not None
            worker.spec = None
            if (error := self._errors.get(place.node)) is None:
                yield TrialFinished(spec=spec)
            else:
                yield TrialEvent(spec=spec, event=Raised.of(spec, error, num_rounds_done=0), place=place)


class _Recorder:
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.finished: list[str] = []
        self.failures: list[Failure] = []

    def start(self, *args: Any) -> None:
        pass

    def requeue(self, *args: Any) -> None:
        pass

    def finish(self, spec: TrialSpec) -> None:
        self.finished.append(spec.trial_id)

    def fail(self, spec: TrialSpec, failure: Failure) -> None:
        self.failures.append(failure)


def _run(monkeypatch: pytest.MonkeyPatch, pool: _Pool) -> tuple[_Recorder, list[str]]:
    recorder, lines = _Recorder(), list[str]()
    context: Any = SimpleNamespace(
        progress=SimpleNamespace(activity="", elapsed_s=0.0),
        stop=SimpleNamespace(signal=None),
        display=SimpleNamespace(print=lines.append),
        refresh=lambda: None,
    )
    monkeypatch.setattr(dispatch, "_schedule", lambda context, waiting: Schedule(waiting, retries=0))
    dispatch._Dispatcher(context, TRIALS, recorder, pool).run()  # type: ignore[arg-type]
    return recorder, lines


def test_a_node_without_the_data_costs_no_trial_and_gets_no_more_after_three(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = _Pool("aabb", {"a": DataError("no such folder: /data")})
    recorder, lines = _run(monkeypatch, pool)
    assert sorted(recorder.finished) == sorted(spec.trial_id for spec in TRIALS)
    assert recorder.failures == []
    assert pool.num_started == {"a": 4, "b": len(TRIALS)}  # two workers: a fourth is in flight when the third raises
    assert lines == [
        "! host-a (node a) gets no more trials in this run: 3 in a row failed there, the last with DataError: no such "
        "folder: /data"
    ]


def test_a_node_with_a_broken_gpu_is_treated_alike_without_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, _ = _run(monkeypatch, _Pool("ab", {"a": RuntimeError("CUDA error: device-side assert")}))
    assert sorted(recorder.finished) == sorted(spec.trial_id for spec in TRIALS)


def test_what_every_node_raises_fails_and_names_the_last_node(monkeypatch: pytest.MonkeyPatch) -> None:
    error = DataError("the mask is empty")
    recorder, lines = _run(monkeypatch, _Pool("ab", {"a": error, "b": error}))
    assert len(recorder.failures) == len(TRIALS)
    assert {(failure.host, failure.node) for failure in recorder.failures} <= {("host-a", "a"), ("host-b", "b")}
    assert lines == []  # neither node is to blame


def test_a_mistake_in_the_suite_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    error = SuiteError("no such layer")
    pool = _Pool("ab", {"a": error, "b": error})
    recorder, lines = _run(monkeypatch, pool)
    assert sum(pool.num_started.values()) == len(recorder.failures) == len(TRIALS)
    assert lines == []


@pytest.mark.parametrize(
    ("slots", "is_own", "is_long", "beginning"),
    [
        ({"a": 2}, True, False, "loading torch in the workers"),
        ({"a": 2}, True, True, "loading torch in the workers"),
        ({"a": 2}, False, False, "loading torch in the workers"),
        ({"a": 2}, False, True, "waiting: workers load torch, or other programs hold what a worker needs, 1 CPUs"),
        ({}, False, False, "waiting: no node with 1 CPUs and 0 GPUs has joined the cluster"),
    ],
)
def test_what_is_waited_for_is_said_and_a_missing_node_only_where_there_is_none(
    slots: dict[str, int], is_own: bool, is_long: bool, beginning: str
) -> None:
    pool = _Pool("", {})
    pool._slots, pool._is_own = slots, is_own
    assert pool.waiting_for(is_long=is_long).startswith(beginning)


def test_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = _Pool("a", {})
    late = iter([[], [], [], pool.idle])
    kept: list[Any] = []

    def idle(_: WorkerPool) -> Any:
        kept[:] = next(late, None) or kept
        return [worker for worker in kept if worker.spec is None]

    monkeypatch.setattr(_Pool, "idle", property(idle))
    recorder, lines = _run(monkeypatch, pool)
    assert len(recorder.finished) == len(TRIALS)
    assert lines.count("loading torch in the workers") == 1


class _Stopping(_Pool):
    """A pool in which the checkpoint of a fit takes `num_polls` polls, each of a second on the clock."""

    def __init__(self, num_polls: int, now_s: list[float]) -> None:
        super().__init__("ab", {})
        self._left, self._now_s, self.num_asked = num_polls, now_s, 0

    def request_stop(self) -> None:
        self.num_asked += 1

    def poll(self, timeout_s: float) -> Any:
        self._now_s[0] += 1.0
        self._left -= bool(self.num_asked)
        if not self._left:
            worker = self._workers[0]
            assert worker.spec is not None and worker.place is not None
            yield TrialEvent(spec=worker.spec, event=Stopped(), place=worker.place)


@pytest.mark.parametrize(
    ("phases", "num_polls", "took_s"),
    [(("fit", "select"), 3, 3.0), (("fit", "fit"), 3, GRACE_S), (("select", None), 3, 0.0)],
)
def test_a_run_that_is_to_stop_waits_for_the_checkpoints_of_fits_alone_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, phases: tuple[str | None, ...], num_polls: int, took_s: float
) -> None:
    now_s, waiting = [0.0], TRIALS[:2]
    pool, recorder = _Stopping(num_polls, now_s), _Recorder()
    rows: dict[str, Any] = {
        spec.trial_id: SimpleNamespace(latest=None if phase is None else SimpleNamespace(phase=phase))
        for spec, phase in zip(waiting, phases, strict=True)
    }

    class _Progress(SimpleNamespace):
        @property
        def elapsed_s(self) -> float:
            return now_s[0]

    stop = SimpleNamespace(signal=None)

    def refresh() -> None:
        stop.signal = 2

    context: Any = SimpleNamespace(
        progress=_Progress(activity="", rows=rows), stop=stop, display=SimpleNamespace(print=print), refresh=refresh
    )
    monkeypatch.setattr(dispatch, "_schedule", lambda context, waiting: Schedule(waiting, retries=0))
    dispatch._Dispatcher(context, waiting, recorder, pool).run()  # type: ignore[arg-type]
    assert pool.num_asked == 1
    assert now_s[0] - 1.0 == took_s
