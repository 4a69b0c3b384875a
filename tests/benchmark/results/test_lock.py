"""The lock of a results folder on a URL: one driver at a time, whose files are uploaded and then authoritative."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results import lock as lock_module
from quadrat.benchmark.results.lock import driver_of, fetch_results, lock_results
from quadrat.benchmark.storage.remote import Remote, working_folder


def test_the_driver_of_another_machine_is_refused_until_the_first_has_ended(
    tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUADRAT_LEASE_S", "1")
    remote = Remote(f"file://{tmp_path}/there")
    machine("first")
    with lock_results(working_folder(remote.url), remote) as lock:
        (working_folder(remote.url) / "suite.json").write_text("{}")
        lock.publish("suite.json", "failures.jsonl")
        machine("second")
        with pytest.raises(ResultsError, match="in use by another quadrat run"):
            lock_results(working_folder(remote.url), remote)
        assert driver_of(remote.url) is not None
    assert driver_of(remote.url) is None
    with lock_results(working_folder(remote.url), remote):
        assert (working_folder(remote.url) / "suite.json").read_text() == "{}"


def test_files_at_the_url_are_authoritative_and_a_reader_does_not_touch_those_of_a_running_driver(
    tmp_path: Path, machine: Callable[[str], None]
) -> None:
    remote = Remote(f"file://{tmp_path}/there")
    machine("first")
    folder = working_folder(remote.url)
    with lock_results(folder, remote) as lock:
        (folder / "suite.json").write_text("{}")
        (folder / "records.jsonl").write_text("1\n")
        lock.publish("suite.json", "records.jsonl")
        (folder / "records.jsonl").write_text("1\n2\n")  # not uploaded yet
        fetch_results(remote.url)
        assert (folder / "records.jsonl").read_text() == "1\n2\n"
    fetch_results(remote.url)
    assert (folder / "records.jsonl").read_text() == "1\n"
    shutil.rmtree(tmp_path / "there")
    with pytest.raises(ResultsError, match=r"found nothing there: it was emptied\. Copy the folder's files back"):
        fetch_results(remote.url)


def test_a_driver_that_starts_while_a_reader_downloads_is_not_refused_and_keeps_its_files(
    tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(f"file://{tmp_path}/there")
    machine("first")
    folder = working_folder(remote.url)
    remote.write("suite.json", b"{}")
    remote.write("records.jsonl", b"1\n")
    download = lock_module._download

    def downloaded(remote: Remote) -> object:
        found = download(remote)
        monkeypatch.setattr(lock_module, "_download", download)
        with lock_results(folder, Remote(remote.url)) as lock:
            (folder / "records.jsonl").write_text("1\n2\n")
            lock.publish("records.jsonl")
        return found

    monkeypatch.setattr(lock_module, "_download", downloaded)
    fetch_results(remote.url)
    assert (folder / "records.jsonl").read_text() == "1\n2\n"


def test_the_journal_of_an_old_database_is_removed_before_a_new_one_is_downloaded(
    tmp_path: Path, machine: Callable[[str], None]
) -> None:
    remote = Remote(f"file://{tmp_path}/there")
    machine("first")
    study = working_folder(remote.url) / "study"
    study.mkdir(parents=True)
    for name in ("study.db", "study.db-journal"):
        (study / name).write_bytes(b"of a driver that was killed here")
    remote.write("study/study.db", b"of one that went on elsewhere")
    fetch_results(remote.url)
    assert [path.name for path in study.iterdir()] == ["study.db"]
    assert (study / "study.db").read_bytes() == b"of one that went on elsewhere"
