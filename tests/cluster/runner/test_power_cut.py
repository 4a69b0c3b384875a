"""What a power cut takes: nothing that counts as done; and a selection that is gone is noticed and made again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from support.power_cut import Disk

from quadrat.benchmark.results.lock import lock_results
from quadrat.benchmark.results.records import read_records, without_timings
from quadrat.benchmark.storage.atomic import atomic_directory, atomic_file, atomic_write
from quadrat.benchmark.storage.remote import Remote
from quadrat.cluster.cli.main import cli

Run = Callable[..., Result]


@pytest.fixture
def run(write_suite: Callable[..., Path], tmp_path: Path) -> Run:
    suite = write_suite(budgets=[6, 12])

    def run(results: Path | str) -> Result:
        return CliRunner().invoke(
            cli, ["trial", str(suite), "--strategy", "entropy-spatial", "--seed", "0", "--results", str(results)]
        )

    return run


def test_new_folders_survive_with_what_is_written_into_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    atomic_write(tmp_path / "a" / "b" / "c" / "file", b"1")
    with atomic_file(tmp_path / "d" / "e" / "file") as temporary:
        temporary.write_bytes(b"2")
    with atomic_directory(tmp_path / "f" / "g" / "folder") as temporary:
        (temporary / "file").write_bytes(b"3")
    Remote(f"file://{tmp_path}/h/i").write("j/file", b"4")
    assert Remote(f"file://{tmp_path}/h/i").create("k/file", b"5")
    assert disk.lost(tmp_path) == []


def test_a_power_cut_after_a_trial_takes_no_record_selection_artefact_or_packed_image(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    assert run(tmp_path / "results").exit_code == 0
    lost = [path for path in disk.lost(tmp_path / "results") if not path.endswith(".lock")]
    # Folders of locks, and of checkpoints that are no longer needed, hold nothing that counts.
    assert set(lost) <= {"store/locks", "store/checkpoints"}


@pytest.mark.parametrize("damage", ["gone", "empty", "another"])
def test_a_complete_trial_whose_selection_is_gone_is_run_again_and_gets_the_same(
    run: Run, tmp_path: Path, damage: str
) -> None:
    results = tmp_path / "results"
    run(results)
    records = [without_timings(record) for record in read_records(results)]
    (folder,) = (results / "selections").iterdir()
    first, second = (folder / f"round-{round_}.npz" for round_ in (0, 1))
    with np.load(second) as file:
        regions = file["regions"]
    if damage == "gone":
        second.unlink()
    else:
        second.write_bytes(b"" if damage == "empty" else first.read_bytes())
    again = run(results)
    assert again.exit_code == 0, again.output
    reason = {"gone": "is not there", "empty": "is damaged", "another": "is not the recorded one"}[damage]
    assert f"! the selection of round 1 of {folder.name} {reason}: it is made again" in again.stdout
    with np.load(second) as file:
        assert np.array_equal(file["regions"], regions)
    assert [without_timings(record) for record in read_records(results)] == records
    assert "0 fits computed" not in run(results).stdout  # complete: nothing is run


def test_a_selection_that_is_gone_from_a_url_is_made_again(
    run: Run, tmp_path: Path, machine: Callable[[str], None]
) -> None:
    machine("first")
    remote = Remote(f"file://{tmp_path}/there")
    assert run(remote.url).exit_code == 0
    (name,) = (name for name in remote.names("selections") if name.endswith("round-1.npz"))
    before = remote.read(name)
    machine("second")
    assert "made again" not in run(remote.url).stdout
    remote.delete(name)
    machine("third")
    again = run(remote.url)
    assert "round 1" in again.stdout and "is not there: it is made again" in again.stdout
    assert before is not None and (remote.read(name) or b"")[:100] == before[:100]


def test_a_damaged_selection_of_an_unfinished_trial_is_put_aside_and_made_again(run: Run, tmp_path: Path) -> None:
    results = tmp_path / "results"
    run(results)
    records = [without_timings(record) for record in read_records(results)]
    (results / "records.jsonl").unlink()
    (path,) = (results / "selections").glob("*/round-1.npz")
    path.write_bytes(path.read_bytes()[:-40])
    again = run(results)
    assert again.exit_code == 0, again.output
    assert "round-1.npz is damaged and put aside; it is restored or made again" in again.stdout
    assert [without_timings(record) for record in read_records(results)] == records
    assert path.with_name("round-1.npz.damaged").is_file()
    lock_results(results).release()
