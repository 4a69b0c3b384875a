"""The recorder: contradictions, and a pool that runs out."""

import io
from pathlib import Path

import pytest
from support.fake_trials import (
    make_record,
    make_suite,
)

from quadrat.benchmark.results.records import Record, read_records
from quadrat.benchmark.tracking.logger import Loggers
from quadrat.cluster.progress.display import LineDisplay
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.runner.recorder import ContradictionError, Recorder

SUITE = make_suite()
TRIALS = SUITE.trials()


def test_a_round_that_comes_out_with_other_numbers_is_an_error_and_the_first_record_stays(tmp_path: Path) -> None:
    first = make_record(TRIALS[0], 0)
    progress = RunProgress(TRIALS)
    display = LineDisplay(progress, io.StringIO())
    recorder = Recorder(tmp_path, {}, progress=progress, display=display, loggers=Loggers(()))
    recorder.start(TRIALS[0])
    assert recorder.record(first)
    assert not recorder.record(make_record(TRIALS[0], 0, seconds={"fit": 99.0}))
    with pytest.raises(ContradictionError, match=r"other miou \(miou: 0\.2 before, 0\.9 now\)"):
        recorder.record(make_record(TRIALS[0], 0, miou=0.9))
    assert read_records(tmp_path) == [first]


def test_a_trial_whose_strategy_was_renamed_goes_on(tmp_path: Path) -> None:
    first = make_record(TRIALS[0], 0)
    progress = RunProgress(TRIALS)
    display = LineDisplay(progress, io.StringIO())
    recorder = Recorder(tmp_path, {first.key: first}, progress=progress, display=display, loggers=Loggers(()))
    recorder.start(TRIALS[0])
    assert not recorder.record(make_record(TRIALS[0], 0, label="renamed"))


def test_recorders_of_one_folder_write_a_round_that_they_share_once(tmp_path: Path) -> None:
    """As those of a study's candidates in flight, which share full supervision."""
    first, known = make_record(TRIALS[0], 0), dict[tuple[str, int], Record]()
    progress = RunProgress(TRIALS)
    display = LineDisplay(progress, io.StringIO())
    one, other = (Recorder(tmp_path, known, progress=progress, display=display, loggers=Loggers(())) for _ in range(2))
    for recorder in (one, other):
        recorder.start(TRIALS[0])
    assert [recorder.record(first) for recorder in (one, other)] == [True, False]
    assert (tmp_path / "records.jsonl").read_text() == first.to_line()
    with pytest.raises(ContradictionError):
        other.record(make_record(TRIALS[0], 0, miou=0.9))


def test_a_pool_that_runs_out_is_reported(tmp_path: Path) -> None:
    progress, out = RunProgress(TRIALS), io.StringIO()
    recorder = Recorder(tmp_path, {}, progress=progress, display=LineDisplay(progress, out), loggers=Loggers(()))
    recorder.start(TRIALS[0])
    recorder.record(make_record(TRIALS[0], 0, exhausted=True))
    assert "the pool is exhausted, all 4 regions are labelled before the budget is spent" in out.getvalue()
