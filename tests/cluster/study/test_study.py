"""Studies: searched, killed, resumed and reported; on a local Ray where marked `cluster`."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.fake_trials import GRADED, STUDY, is_spent, make_record, make_suite, plan, times_run
from support.ray_nodes import ray_nodes

from quadrat.benchmark.config.candidates import Candidate, best_of, search_trials
from quadrat.benchmark.config.suite import Suite, load_suite
from quadrat.benchmark.errors import DataError, ResultsError
from quadrat.benchmark.results.failures import Failure, read_failures
from quadrat.benchmark.results.lock import fetch_results
from quadrat.benchmark.results.records import read_records
from quadrat.benchmark.results.study_results import read_study, study_dir
from quadrat.benchmark.storage.remote import Remote, is_url, working_folder
from quadrat.cluster.cli.main import cli
from quadrat.cluster.progress.progress import RunProgress
from quadrat.cluster.progress.status import STATUS_NAME, StatusFile
from quadrat.cluster.runner.actor import Place
from quadrat.cluster.runner.context import RunOptions
from quadrat.cluster.runner.engine import benchmark_engine
from quadrat.cluster.runner.interrupt import StopRequest
from quadrat.cluster.study.candidate_runner import CandidateRound
from quadrat.cluster.study.driver import run_study
from quadrat.cluster.study.search import Search
from quadrat.cluster.study.storage import CandidateStorage
from quadrat.cluster.study.tune_adapter import CandidateSource

NUM_ROUNDS, NUM_SEEDS = 3, 2


def make_study(**changes: Any) -> Suite:
    """Return a suite with a study of four candidates, two search seeds and three rounds, one candidate at a time."""
    return make_suite(
        strategies=["random", "entropy-spatial"],
        resources={"max_in_flight": 1, "retries": 0},
        study={**STUDY, **changes},
    )


def test_a_study_of_a_suite_without_one_is_a_clear_error(write_suite: Callable[..., Path], tmp_path: Path) -> None:
    found = CliRunner().invoke(cli, ["study", str(write_suite()), "--results", str(tmp_path / "r")])
    assert found.exit_code == 2
    assert "expected a suite with a 'study', got 'tiny' without one" in found.output


@pytest.mark.parametrize("name", ["scenes-study", "study-entropy-spatial"])
def test_the_shipped_studies_search_what_the_papers_figures_5_to_7_vary(name: str) -> None:
    study = load_suite(name).study
    assert study is not None
    assert {"cutoff", "d3_d2", "w_spatial", "region_size"} <= study.distributions().keys()


def test_another_study_in_the_folder_is_refused_before_anything_runs(tmp_path: Path) -> None:
    suite = make_study()
    CandidateStorage(study_dir(tmp_path), suite)
    run_options = options(tmp_path)
    looks_at_data = replace(run_options, engine=replace(run_options.engine, check=benchmark_engine().check))
    with pytest.raises(DataError, match="no split 'nope'"):
        run_study(make_study(test="nope"), looks_at_data)
    with pytest.raises(DataError, match="images of test 'train' are in pool 'train' too"):
        run_study(make_study(test="train"), replace(looks_at_data, results_dir=tmp_path / "other"))
    with pytest.raises(ResultsError, match="holds a study with test"):
        run_study(suite, run_options)


def open_search(suite: Suite, folder: Path, publish: Callable[..., None] = lambda *names: None) -> Search:
    return Search(suite, folder, CandidateStorage(study_dir(folder), suite), progress=RunProgress([]), publish=publish)


def start(search: Search) -> Candidate:
    candidate = search.start()
    assert candidate is not None
    return candidate


def run_round(search: Search, suite: Suite, candidate: Candidate, round_: int) -> bool:
    """Report a round of a candidate as its worker would, and return whether the candidate is to stop.

    Round 0 is trained for the first candidate, the others find its models.
    """
    records = tuple(make_record(spec, round_) for spec in search_trials(suite, candidate)[0])
    return search.on_round(
        CandidateRound(
            number=candidate.number,
            records=records,
            num_rounds=round_ + 1,
            trained=frozenset(record.key for record in records if round_ or not candidate.number),
            place=Place(host="node-1", pid=7, node="0123456789ab"),
            is_done=round_ == NUM_ROUNDS - 1,
        )
    )


def test_records_are_published_before_the_database_that_counts_them(tmp_path: Path) -> None:
    suite, published = make_study(), list[str]()
    search = open_search(suite, tmp_path, lambda *names: published.extend(names))
    candidate = start(search)
    assert published == ["study/study.db", "study/study.json"]
    for round_ in range(NUM_ROUNDS):
        published.clear()
        assert run_round(search, suite, candidate, round_) == (round_ == NUM_ROUNDS - 1)
        assert published[:NUM_SEEDS] == ["study/records.jsonl"] * NUM_SEEDS
        assert published[NUM_SEEDS] == "study/study.db"
    assert published[NUM_SEEDS:] == ["study/study.db", "study/study.json"]


def test_a_round_counts_once_as_trained_or_as_shared_however_often_it_is_reported(tmp_path: Path) -> None:
    suite = make_study()
    search = open_search(suite, tmp_path)
    first, second = start(search), start(search)
    run_round(search, suite, second, 0)
    assert (search.num_fits, search.num_shared) == (0, NUM_SEEDS)
    run_round(search, suite, first, 0)
    run_round(search, suite, first, 0)  # its actor died and began again
    assert (search.num_fits, search.num_shared) == (NUM_SEEDS, NUM_SEEDS)
    run_round(search, suite, first, 1)
    assert (search.num_fits, search.num_shared) == (2 * NUM_SEEDS, NUM_SEEDS)

    again = open_search(suite, tmp_path)
    start(again)
    run_round(again, suite, first, 0)
    assert again.num_shared == 0  # its records were there before


def fail(search: Search, candidate: Candidate, node: str, *, is_of_environment: bool = True) -> bool:
    """Report that a candidate has failed on a node, and return whether it is to stop there."""
    spec = search_trials(make_study(), candidate)[0][0]
    raised = Failure(
        trial_id=spec.trial_id, label=spec.label, seed=spec.seed, round=0, exception="DataError: no such folder",
        traceback="", host="machine", node=node,
    )  # fmt: skip
    return search.on_round(
        CandidateRound(
            number=candidate.number, records=(), num_rounds=0, trained=frozenset(), failure=raised,
            place=Place(host="machine", pid=7, node=node), is_of_environment=is_of_environment,
        )
    )  # fmt: skip


def test_a_candidate_that_raises_on_a_node_is_tried_on_the_others_and_fails_when_all_have_raised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = open_search(make_study(), tmp_path)
    search.find_nodes = lambda: {"good", "bad"}
    source = CandidateSource(search, StopRequest(), lambda: None)
    first = start(search)
    assert fail(search, first, "bad")
    assert start(search) == first and search.avoided(first.number) == {"bad"}
    assert source.suggest("of a new candidate")["avoided"] == []
    assert fail(search, first, "good")
    assert [candidate.state for candidate in candidates_in(tmp_path)] == ["failed", "running"]
    assert [failure.node for failure in read_failures(study_dir(tmp_path))] == ["good"]
    assert "tried on another node: DataError: no such folder (on machine, node bad)" in capsys.readouterr().out


def test_an_error_that_every_node_would_make_is_not_tried_on_another(tmp_path: Path) -> None:
    search = open_search(make_study(), tmp_path)
    search.find_nodes = lambda: {"one", "other"}
    assert fail(search, start(search), "one", is_of_environment=False)
    assert [candidate.state for candidate in candidates_in(tmp_path)] == ["failed"]


def test_a_node_on_which_candidate_after_candidate_raises_gets_no_more_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = open_search(make_study(candidates=5), tmp_path)
    search.find_nodes = lambda: {"good", "bad"}
    source = CandidateSource(search, StopRequest(), lambda: None)
    for candidate in [start(search) for _ in range(3)]:
        fail(search, candidate, "bad")
    assert "machine (node bad) gets no more candidates in this run" in capsys.readouterr().out
    again = [source.suggest(f"trial {number}") for number in range(5)]
    assert [config["candidate"].number for config in again] == [0, 1, 2, 3, 4]
    assert [config["avoided"] for config in again] == [["bad"]] * 5
    assert source.suggest("waits for those in flight") is None


def test_status_shows_candidates_in_flight_and_how_many_have_ended(tmp_path: Path) -> None:
    suite = make_study()
    search = open_search(suite, tmp_path)
    first, second = start(search), start(search)
    for round_ in range(NUM_ROUNDS):
        run_round(search, suite, first, round_)
    run_round(search, suite, second, 0)
    with StatusFile(search.describe, suite.name, tmp_path):
        wide = CliRunner(env={"COLUMNS": "160"})  # machines are shown where there is room
        shown, as_json = (wide.invoke(cli, ["status", str(tmp_path), *more]) for more in ((), ("--json",)))
    assert shown.exit_code == 0, shown.output
    assert "fake  1/4 candidates have ended  " in shown.stdout
    rows = [line.split() for line in shown.stdout.splitlines() if line.startswith("candidate")]
    assert [row[:5] for row in rows] == [["candidate", "1", str(seed), "1/2", "search"] for seed in (10, 11)]
    assert all(row[-4] == "node-1" and row[-2:] == ["01234567", "7"] for row in rows)  # the time elapsed is between
    status = json.loads(as_json.stdout)
    assert status["candidates"] == {"num": 4, "ended": 1, "failed": 0}
    assert status["rounds"] == {"done": (NUM_ROUNDS + 1) * NUM_SEEDS}
    assert status["fits"] == {"trained": NUM_ROUNDS * NUM_SEEDS, "shared": NUM_SEEDS}
    assert [(row["candidate"], row["seed"], row["round"]) for row in status["in_flight"]] == [(1, 10, 1), (1, 11, 1)]
    assert not (tmp_path / STATUS_NAME).exists()


def test_storage_that_fails_ends_the_search_with_its_own_error(tmp_path: Path) -> None:
    def publish(*names: str) -> None:
        raise ResultsError("the storage is away")

    source = CandidateSource(open_search(make_study(), tmp_path, publish), StopRequest(), lambda: None)
    assert source.suggest("trial of Tune") == CandidateSource.FINISHED and source.stop_all()
    assert isinstance(source.error, ResultsError) and "the storage is away" in str(source.error)


# ---------------------------------------------------------------------------------------------------------- on Ray


def options(results: Path | str, address: str | None = None) -> RunOptions:
    """Return the options of a study with results in a folder, or at a URL."""
    remote = Remote(results) if isinstance(results, str) and is_url(results) else None
    folder = Path(results) if remote is None else working_folder(remote.url)
    return RunOptions(results_dir=folder, engine=GRADED, logs_to_mlflow=False, ray_address=address, remote=remote)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a Ray of two CPUs whose workers can import the fakes."""
    with ray_nodes(2, paths=(Path(__file__).parent,)) as cluster:
        yield cluster.address


@pytest.fixture(scope="module")
def undisturbed(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a study that nothing has happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_study(make_study(), options(folder, address)).exit_code == 0
    return folder


def candidates_in(folder: Path) -> tuple[Candidate, ...]:
    found = read_study(folder)
    assert found is not None
    return found.candidates


@pytest.mark.cluster
@pytest.mark.xdist_group("study")
def test_a_study_ends_with_the_best_candidate_on_the_report_seeds_and_nothing_else_there(undisturbed: Path) -> None:
    found = read_study(undisturbed)
    assert found is not None
    assert [candidate.state for candidate in found.candidates] == ["done"] * 4
    largest = max(found.candidates, key=lambda candidate: candidate.params["cutoff"])
    assert [best.candidate for best in found.best] == [largest.number]
    assert best_of(found.candidates, found.directions, 1) == [largest]
    reported = read_records(undisturbed)
    assert {record.label for record in reported} == {"random", "entropy-spatial", f"candidate {largest.number}"}
    assert {record.seed for record in reported} == {0, 1}
    searched = read_records(study_dir(undisturbed))
    assert {record.seed for record in searched} == {10, 11}
    assert [record.label for record in searched] == sorted(record.label for record in searched)
    assert len(searched) == 4 * NUM_SEEDS * NUM_ROUNDS


@pytest.mark.cluster
@pytest.mark.xdist_group("study")
def test_the_values_of_a_candidate_are_those_of_its_records(undisturbed: Path) -> None:
    for candidate in candidates_in(undisturbed):
        # The fake's mIoU is 0.2 + 0.1 round + 0.01 seed + 0.05 cutoff over 4, 8 and 16 regions; seeds 10 and 11.
        base = 0.2 + 0.105 + 0.05 * candidate.params["cutoff"]
        assert candidate.values[0] == pytest.approx(base + (0.05 * 4 + 0.15 * 8) / 12)
        assert candidate.running == pytest.approx((base, base + 0.05, candidate.values[0]))


@pytest.mark.cluster
@pytest.mark.xdist_group("study")
def test_a_study_that_is_complete_runs_nothing_again(undisturbed: Path, address: str) -> None:
    starts = {path: path.stat().st_size for path in (undisturbed / "plans").glob("*.starts")}
    before = (undisturbed / "study" / "study.json").read_bytes()
    assert run_study(make_study(), options(undisturbed, address)).exit_code == 0
    assert {path: path.stat().st_size for path in (undisturbed / "plans").glob("*.starts")} == starts
    assert (undisturbed / "study" / "study.json").read_bytes() == before


_DRIVER = """
import sys
from pathlib import Path
from test_study import make_study, options
from quadrat.cluster.study.driver import run_study
sys.exit(run_study(make_study(), options(sys.argv[1], sys.argv[2])).exit_code)
"""


@pytest.mark.cluster
@pytest.mark.xdist_group("study")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_is_killed_goes_on_with_the_candidates_that_were_running_and_repeats_none(
    tmp_path: Path, address: str, undisturbed: Path, number: int
) -> None:
    suite, third = make_study(), candidates_in(undisturbed)[2]
    code = _interrupt(tmp_path, tmp_path, address, third, number)
    assert code == (-9 if number == signal.SIGKILL else 130)
    assert (tmp_path / STATUS_NAME).exists() == (number == signal.SIGKILL)
    assert [candidate.state for candidate in candidates_in(tmp_path)] == ["done", "done", "running"]
    outcome = run_study(suite, options(tmp_path, address))
    assert outcome.exit_code == 0
    assert candidates_in(tmp_path) == candidates_in(undisturbed)
    for candidate in candidates_in(tmp_path):
        starts = [times_run(tmp_path, spec) for spec in search_trials(suite, candidate)[0]]
        assert starts == ([2, 2] if candidate.number == third.number else [1, 1])
    keys = [record.key for record in read_records(study_dir(tmp_path))]
    assert keys == [record.key for record in read_records(study_dir(undisturbed))]


def _interrupt(results: Path | str, folder: Path, address: str, candidate: Candidate, number: int) -> int:
    """Run a study in a process, send it a signal while `candidate` is in its second round, and return its exit code.

    Args:
        results: Folder or URL of its results.
        folder: The folder, or this machine's copy of what lies at the URL.
        address: Of a Ray cluster.
        candidate: It gets that far and no further.
        number: The signal.
    """
    hangs = search_trials(make_study(), candidate)[0][1]  # of the second seed
    plan(folder, hangs, what="hang", times=1)
    command = [sys.executable, "-c", _DRIVER, str(results), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            until_s = time.monotonic() + 120
            # Killed before it hangs, the trial would hang in the next run instead.
            while not (_has_one_round_of(folder, candidate) and is_spent(folder, hangs)):
                assert time.monotonic() < until_s and driver.poll() is None
                time.sleep(0.1)
            driver.send_signal(number)
            return driver.wait(60)
        finally:
            driver.kill()


@pytest.mark.cluster
@pytest.mark.xdist_group("study")
def test_a_study_on_a_url_that_is_killed_goes_on_from_there_on_a_machine_without_a_copy(
    tmp_path: Path, server: str, address: str, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, third, url = make_study(), candidates_in(undisturbed)[2], "s3://results/study"
    monkeypatch.setenv("QUADRAT_WORK", str(tmp_path / "first"))
    assert _interrupt(url, working_folder(url), address, third, signal.SIGKILL) == -9
    shutil.rmtree(tmp_path / "first")
    monkeypatch.setenv("QUADRAT_WORK", str(tmp_path / "second"))
    assert [candidate.state for candidate in candidates_in(fetch_results(url))] == ["done", "done", "running"]
    assert run_study(suite, options(url, address)).exit_code == 0
    starts = [
        [times_run(working_folder(url), spec) for spec in search_trials(suite, candidate)[0]]
        for candidate in candidates_in(undisturbed)
    ]
    assert starts == [[0, 0], [0, 0], [1, 1], [1, 1]]
    monkeypatch.setenv("QUADRAT_WORK", str(tmp_path / "third"))
    found = fetch_results(url)
    study_json = Path("study", "study.json")
    assert (found / study_json).read_bytes() == (undisturbed / study_json).read_bytes()
    for folders in ((found, undisturbed), (study_dir(found), study_dir(undisturbed))):
        first, second = ([record.key for record in read_records(folder)] for folder in folders)
        assert first == second
    kept = {"suite.json", "environment.json", "records.jsonl", "study/study.json", "study/records.jsonl"}
    assert {name for name in Remote(url).names() if not name.startswith("driver/")} == kept | {"study/study.db"}


def _has_one_round_of(folder: Path, candidate: Candidate) -> bool:
    known = read_study(folder)
    if known is None or len(known.candidates) <= candidate.number:
        return False
    wanted = {spec.trial_id for spec in search_trials(make_study(), candidate)[0]}
    path = study_dir(folder) / "records.jsonl"
    return path.is_file() and {record.trial_id for record in read_records(study_dir(folder))} >= wanted


@pytest.mark.cluster
@pytest.mark.xdist_group("study")
def test_a_candidate_that_fails_or_falls_behind_does_not_stop_the_others(
    tmp_path: Path, address: str, undisturbed: Path
) -> None:
    """One run for both fates, since each run joins Ray anew."""
    suite = make_study(pruner={"name": "SuccessiveHalvingPruner", "params": {"min_resource": 2}})
    first = candidates_in(undisturbed)[0]
    fails = search_trials(suite, first)[0][0]
    plan(tmp_path, fails, what="raise", times=1)
    outcome = run_study(suite, options(tmp_path, address))
    assert outcome.exit_code == 1
    candidates = candidates_in(tmp_path)
    assert (candidates[0].state, candidates[0].exception) == ("failed", "RuntimeError: the GPU fell off the bus")
    (failure,) = read_failures(study_dir(tmp_path))
    assert failure.trial_id == fails.trial_id and "in _misbehave" in failure.traceback
    cutoffs = [candidate.params["cutoff"] for candidate in candidates]
    ahead = 0.0
    for candidate in candidates[1:]:  # a candidate goes on when it is ahead of all before it
        is_ahead = candidate.params["cutoff"] > ahead
        assert candidate.state == ("done" if is_ahead else "pruned"), cutoffs
        ahead = max(ahead, candidate.params["cutoff"])
        records = [record for record in read_records(study_dir(tmp_path)) if record.label == candidate.label]
        assert len(records) == NUM_SEEDS * (NUM_ROUNDS if is_ahead else 2)
    assert run_study(suite, options(tmp_path, address)).exit_code == 0
    again = candidates_in(tmp_path)
    assert again[0].params == first.params and again[0].state in ("done", "pruned")
    assert again[1:] == candidates[1:]
    assert not read_failures(study_dir(tmp_path)) or again[0].state == "pruned"
