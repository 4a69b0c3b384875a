"""What can be made again is removed, what cannot stays."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.fake_trials import make_suite, write_suite_json

from quadrat.benchmark.results.lock import lock_results
from quadrat.cluster.cli.clean import PARTS, sizes
from quadrat.cluster.cli.doctor import _largest
from quadrat.cluster.cli.suite_view import show_bytes

SIZES = {name: 10 ** (place % 4) for place, name in enumerate(name for names in PARTS.values() for name in names)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    for name, size in SIZES.items():
        path = folder / name if "." in name else folder / name / "deep" / "file"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    write_suite_json(make_suite(), tmp_path / "suite")
    (tmp_path / "suite" / "suite.json").replace(folder / "suite.json")
    (folder / "notes.txt").write_text("mine")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_sizes_are_those_of_the_files(folder: Path) -> None:
    found = sizes(folder)
    assert found["store"] == SIZES["store"]
    assert found["mlflow"] == SIZES["mlflow.db"] + SIZES["mlartifacts"]
    assert found["records"] == sum(SIZES[name] for name in PARTS["records"]) - SIZES["suite.json"] + (
        (folder / "suite.json").stat().st_size
    )


def test_records_report_and_what_is_not_quadrats_stay(quadrat: Callable[..., Result], folder: Path) -> None:
    result = quadrat("clean", folder, "--yes")
    assert result.exit_code == 0, result.output
    assert names(folder) == {*PARTS["records"], "report", "notes.txt"}
    assert quadrat("clean", folder, "--yes").stdout.endswith("there is nothing to remove\n")


def test_what_to_keep_can_be_said_and_records_always_stay(quadrat: Callable[..., Result], folder: Path) -> None:
    assert quadrat("clean", folder, "--yes", "--keep", "store, cache").exit_code == 0
    assert names(folder) == {*PARTS["records"], "store", "cache", "notes.txt"}
    result = quadrat("clean", folder, "--yes", "--keep", "stores")
    assert result.exit_code == 2
    assert "--keep: expected parts of records, previews, report, mlflow, store, cache, got 'stores'" in result.stderr


def test_what_a_link_leads_to_stays(quadrat: Callable[..., Result], folder: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (folder / "cache").rename(shared)
    (folder / "cache").symlink_to(shared)
    assert quadrat("clean", folder, "--yes").exit_code == 0
    assert not (folder / "cache").is_symlink() and (shared / "deep" / "file").is_file()


def test_nothing_is_removed_unasked_from_other_folders_or_while_a_run_writes(
    quadrat: Callable[..., Result], folder: Path, tmp_path: Path
) -> None:
    before = names(folder)
    assert quadrat("clean", folder).exit_code == 1  # no answer is no
    (tmp_path / "plain" / "store").mkdir(parents=True)
    assert quadrat("clean", tmp_path / "plain", "--yes").exit_code == 2
    (tmp_path / "plain" / "suite.json").write_text('{"schema": 1, "name": "of another program"}')
    assert quadrat("clean", tmp_path / "plain", "--yes").exit_code == 2
    lock = lock_results(folder)
    try:
        assert quadrat("clean", folder, "--yes").exit_code in (1, 2)
    finally:
        lock.release()
    assert names(folder) == before and (tmp_path / "plain" / "store").is_dir()


def test_doctor_says_what_results_take(folder: Path) -> None:
    lines = _largest(folder.parent)
    assert lines[0].endswith(
        f"in there: {', '.join(f'{part} {show_bytes(size)}' for part, size in sizes(folder).items())}"
    )
    assert lines[-1] == "quadrat clean SUITE removes what can be made again"
    assert _largest(folder / "store") == []
