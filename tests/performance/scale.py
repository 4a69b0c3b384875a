"""What a driver spends on a suite of many trials: its own CPU on one core, with workers that only send events."""

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from support.fake_trials import make_progress, make_record, make_suite, write_suite_json
from support.paths import TESTS

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.records import finalise, read_records
from quadrat.benchmark.tracking.logger import Loggers
from quadrat.cluster.progress.display import LineDisplay
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import describe
from quadrat.cluster.runner import dispatch
from quadrat.cluster.runner.actor import Place
from quadrat.cluster.runner.events import Event
from quadrat.cluster.runner.recorder import Recorder
from quadrat.cluster.runner.schedule import Schedule
from quadrat.cluster.runner.worker_pool import TrialEvent, TrialFinished, Worker, WorkerPool

__all__ = ["STRATEGIES", "bench_scale", "simulate"]

STRATEGIES: Final = ("random", "entropy", "bvsb", "core-set", "margin")
BUDGETS: Final = (4, 8, 12, 16, 20, 24, 28, 32)
_PROGRESS_A_ROUND: Final = 4
_WORKERS_A_NODE: Final = 8


@dataclass
class _Clock:
    """Adds up the CPU seconds of one kind of call."""

    cpu_s: float = 0.0
    calls: int = 0
    worst_s: float = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            begin_s = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                spent_s = time.process_time() - begin_s
                self.cpu_s, self.calls = self.cpu_s + spent_s, self.calls + 1
                self.worst_s = max(self.worst_s, spent_s)

        return call


class _Pool(WorkerPool):
    """A pool whose workers run nothing: each sends the events of its trial, one a poll."""

    def __init__(self, num_workers: int) -> None:
        self._workers = [
            Worker(
                handle=None,
                readiness=None,
                place=Place(host=f"host-{index // _WORKERS_A_NODE}", pid=index, node=f"n{index // _WORKERS_A_NODE}"),
            )
            for index in range(num_workers)
        ]
        self._slots = {worker.place.node: _WORKERS_A_NODE for worker in self._workers if worker.place is not None}
        self._excluded = frozenset[str]()
        self._unfit: dict[str, Exception] = {}
        self.on_poll: Callable[[], None] = lambda: None

    def resize(self, num_wanted: int) -> None:
        pass

    def move(self, worker: Worker) -> None:
        pass

    def start(self, worker: Worker, spec: TrialSpec) -> None:
        worker.spec, worker.events = spec, _events(spec)

    def poll(self, timeout_s: float) -> Iterator[Any]:
        self.on_poll()
        for worker in self._workers:
            spec, place = worker.spec, worker.place
            if spec is not None and place is not None:
                event = next(worker.events, None)
                if event is None:
                    worker.spec = None
                    yield TrialFinished(spec=spec)
                else:
                    yield TrialEvent(spec=spec, event=event, place=place)


def _events(spec: TrialSpec) -> Iterator[Event]:
    # Made once a trial: what a worker spends on its events is not the driver's.
    progress, record = make_progress(spec, 0, "fit", 0, _PROGRESS_A_ROUND), make_record(spec, 0)
    for round_ in range(spec.num_rounds):
        for done in range(1, _PROGRESS_A_ROUND + 1):
            yield replace(progress, round=round_, done=done)
        yield replace(record, round=round_, regions=BUDGETS[round_])


def _suite(num_trials: int) -> Suite:
    num_seeds = -(-num_trials // len(STRATEGIES))
    return make_suite(strategies=list(STRATEGIES), seeds=list(range(num_seeds)), budgets=list(BUDGETS))


def simulate(num_trials: int, num_workers: int, *, reports: bool = False) -> dict[str, Any]:
    """Run a driver's loop over so many trials in this process, and return its costs.

    Args:
        num_trials: Trials, of five strategies.
        num_workers: Trials in flight.
        reports: Whether statistics and report are computed as well.
    """
    begin_s = time.process_time()
    suite = _suite(num_trials)
    trials = suite.trials()
    open_s = time.process_time() - begin_s
    decisions, status = _Clock(), _Clock()
    with tempfile.TemporaryDirectory(prefix="quadrat-scale-") as name:
        folder = Path(name)
        write_suite_json(suite, folder)
        progress = RunProgress(trials)
        display = LineDisplay(progress, io.StringIO())
        recorder = Recorder(folder, {}, progress=progress, display=display, loggers=Loggers(()))
        pool = _Pool(min(num_workers, num_trials))
        context: Any = SimpleNamespace(
            suite=suite,
            progress=progress,
            stop=SimpleNamespace(signal=None),
            display=display,
            refresh=lambda: None,
            options=SimpleNamespace(results_dir=folder),
        )
        polls = 0

        def on_poll() -> None:
            nonlocal polls
            polls += 1
            if polls % 10 == 0:
                status.timed(describe)(progress)

        pool.on_poll = on_poll
        begin_s = time.process_time()
        dispatcher = dispatch._Dispatcher(context, trials, recorder, pool)
        schedule_s = time.process_time() - begin_s
        schedule: Schedule = dispatcher._schedule
        schedule.next = decisions.timed(schedule.next)  # type: ignore[method-assign]
        begin_s = time.process_time()
        dispatcher.run()
        loop_s = time.process_time() - begin_s - status.cpu_s
        begin_s = time.process_time()
        finalise(folder, {spec.trial_id: spec.num_rounds for spec in trials})
        finalise_s = time.process_time() - begin_s
        num_records = len(read_records(folder))
        assert num_records == len(trials) * len(BUDGETS), num_records
        num_events = len(trials) * (len(BUDGETS) * (_PROGRESS_A_ROUND + 1) + 1)
        found = {
            "trials": len(trials),
            "workers": len(pool._workers),
            "records": num_records,
            "open_s": round(open_s, 3),
            "schedule_s": round(schedule_s, 3),
            "decision_ms": round(1e3 * decisions.cpu_s / len(trials), 4),
            "worst_decision_ms": round(1e3 * decisions.worst_s, 3),
            "event_ms": round(1e3 * loop_s / num_events, 4),
            "status_ms": round(1e3 * status.cpu_s / max(status.calls, 1), 2),
            "finalise_s": round(finalise_s, 3),
            "driver_mib": _peak_mib(),
        }
        if reports:
            found |= _reports(folder)
    return found


def _peak_mib() -> int:
    """Return the most memory that this process has had resident, MiB; `getrusage` would count its parent's too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return round(int(kib) / 1024)


def _describe(folder: Path) -> None:
    """Complete what the fake suite.json says of its data: a report reads all of it."""
    path = folder / "suite.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for name in ("pool", "test"):
        document["dataset"][name] |= {
            "split": name, "path": "none", "num_images": 100, "num_px": 100 * 2**14, "void_px": 0,
            "num_regions": {"16": 6400}, "void_regions": {"16": 0}, "clicks_from": "contours",
        }  # fmt: skip
    document["dataset"] |= {"title": "fake", "warnings": []}
    path.write_text(json.dumps(document), encoding="utf-8")


def _reports(folder: Path) -> dict[str, Any]:
    from quadrat.benchmark.reporting import write_report
    from quadrat.benchmark.reporting.text import as_text
    from quadrat.benchmark.results.trials import read_results

    _describe(folder)
    begin_s = time.process_time()
    as_text(read_results(folder))
    stats_s = time.process_time() - begin_s
    begin_s = time.process_time()
    write_report(folder)
    return {
        "stats_s": round(stats_s, 1),
        "report_s": round(time.process_time() - begin_s, 1),
        "report_mib": _peak_mib(),
    }


def bench_scale(
    num_trials: Sequence[int],
    *,
    num_workers: int = 1000,
    reports: bool = False,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return the costs for each number of trials, each in a process of its own."""
    rows = []
    for num in num_trials:
        command = [sys.executable, "-m", "performance.scale", str(num), str(num_workers), str(int(reports))]
        done = subprocess.run(command, cwd=TESTS, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout))
        if on_row is not None:
            on_row(rows[-1])
    return {"rows": rows}


if __name__ == "__main__":
    print(json.dumps(simulate(int(sys.argv[1]), int(sys.argv[2]), reports=sys.argv[3] == "1")))
