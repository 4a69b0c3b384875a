"""What `make bench ARGS=overhead` counts as the time of a trial."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fake_trials import make_progress, make_record, make_suite

from performance.overhead import open_timed, short_trials
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.trial.progress import Progress
from quadrat.cluster.runner.engine import TrialRunner

SUITE = make_suite()
TRIALS = SUITE.trials()


class Clock:
    """A clock that stands still until it is set."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_waiting_for_a_shared_round_is_not_the_time_of_a_trial_and_opening_is_noted_once(tmp_path: Path) -> None:
    clock = Clock()

    def open_runner(suite: Suite, results_dir: Path) -> TrialRunner:
        def run(spec: TrialSpec, on_progress: Callable[[Progress], None]) -> Iterator[Record]:
            clock.now_s += 1.0
            on_progress(make_progress(spec, 0, "wait", 0, 0))
            clock.now_s += 20.0
            on_progress(make_progress(spec, 0, "fit", 0, 1))
            clock.now_s += 3.0
            yield make_record(spec, 0)

        clock.now_s += 5.0
        return run

    runner = open_timed(SUITE, tmp_path, open_runner=open_runner, clock=clock)
    for _ in range(2):
        assert [record.round for record in runner(TRIALS[0], lambda progress: None)] == [0]
    (path,) = tmp_path.iterdir()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [
        {"seconds": 4.0, "waited": 20.0, "opening": 5.0},
        {"seconds": 4.0, "waited": 20.0, "opening": 0.0},
    ]


@pytest.mark.parametrize("actors", [1, 3])
def test_its_suite_has_two_trials_a_seed_and_so_many_in_flight(actors: int) -> None:
    suite = short_trials(num_seeds=5, iterations=3, actors=actors)
    assert len(suite.trials()) == 10
    assert suite.resources.max_in_flight == actors
