"""What `bench overhead` counts as the time of a trial."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_trials import make_progress, make_record, make_suite

from performance.overhead import _open_timed, short_trials
from quadrat.benchmark.results.records import Record

SUITE = make_suite()
TRIALS = SUITE.trials()


def test_waiting_for_a_shared_round_is_not_the_time_of_a_trial_and_opening_is_noted_once(tmp_path: Path) -> None:
    def run(spec: object, on_progress: object) -> Iterator[Record]:
        on_progress(make_progress(TRIALS[0], 0, "wait", 0, 0))  # type: ignore[operator]
        time.sleep(0.2)
        on_progress(make_progress(TRIALS[0], 0, "fit", 0, 1))  # type: ignore[operator]
        yield make_record(TRIALS[0], 0)

    runner = _open_timed(SUITE, tmp_path, open_runner=lambda suite, results_dir: run)  # type: ignore[arg-type, return-value]
    for _ in range(2):
        assert [record.round for record in runner(TRIALS[0], lambda progress: None)] == [0]
    (path,) = tmp_path.iterdir()
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert min(first["waited"], second["waited"]) >= 0.2
    assert first["seconds"] < first["waited"]  # nothing but waiting was done
    assert first["opening"] > 0.0 == second["opening"]


@pytest.mark.parametrize("actors", [1, 3])
def test_its_suite_has_two_trials_a_seed_and_so_many_in_flight(actors: int) -> None:
    suite = short_trials(num_seeds=5, iterations=3, actors=actors)
    assert len(suite.trials()) == 10
    assert suite.resources.max_in_flight == actors
