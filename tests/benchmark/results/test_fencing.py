"""Fencing of results on a URL: a driver that was cut off, suspended or overtaken never overwrites its successor."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.lock import ResultsLock, lock_results, upload_report
from quadrat.benchmark.results.records import merge_records
from quadrat.benchmark.storage.backends import Backend
from quadrat.benchmark.storage.lease import acquire_lease, holder_of
from quadrat.benchmark.storage.remote import ChangedError, Remote, working_folder


class Cut:
    """A backend that cannot be reached while `is_cut`; `before` is called once while the records are on their way."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.is_cut = False
        self.before: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._backend, name)

        def call(*arguments: Any) -> Any:
            if self.is_cut:
                raise ConnectionResetError("network unreachable")
            if name in ("create", "replace") and arguments[0].endswith("records.jsonl") and self.before is not None:
                before, self.before = self.before, None
                before()
            return method(*arguments)

        return call


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of an empty place in a folder and on S3."""
    monkeypatch.setenv("QUADRAT_LEASE_S", "1")
    if request.param == "file":
        return f"file://{tmp_path}/there"
    request.getfixturevalue("server")
    return f"s3://results/{tmp_path.name}"


class Drivers:
    """Drivers of different machines on one URL."""

    def __init__(self, url: str, machine: Callable[[str], None]) -> None:
        self.url = url
        self._machine = machine

    def lock(self, name: str) -> tuple[ResultsLock, Path, Cut]:
        self._machine(name)
        remote = Remote(self.url)
        network = Cut(remote._backend)
        remote.__dict__["_backend"] = network
        folder = working_folder(self.url)
        return lock_results(folder, remote), folder, network

    @property
    def records(self) -> list[int]:
        """The rounds in the records at the URL."""
        data = Remote(self.url).read("records.jsonl")
        assert data is not None
        return [json.loads(line)["round"] for line in data.splitlines()]


@pytest.fixture
def drivers(url: str, machine: Callable[[str], None]) -> Drivers:
    return Drivers(url, machine)


def add(folder: Path, *rounds: int) -> None:
    with (folder / "records.jsonl").open("a") as file:
        file.writelines(json.dumps({"trial_id": "t", "round": round_}) + "\n" for round_ in rounds)
    (folder / "suite.json").write_text("{}")


def start(drivers: Drivers) -> tuple[ResultsLock, Path, Cut]:
    first = drivers.lock("first")
    add(first[1], 0, 1)
    first[0].publish("suite.json", "records.jsonl")
    return first


def test_a_driver_that_was_cut_off_longer_than_its_lease_stops_and_overwrites_nothing(drivers: Drivers) -> None:
    lock, folder, network = start(drivers)
    network.is_cut = True
    add(folder, 2)
    raised: list[BaseException] = []

    def publish() -> None:
        try:
            lock.publish("records.jsonl")
        except ResultsError as error:
            raised.append(error)

    waiting = threading.Thread(target=publish)
    waiting.start()  # is tried again and again
    second, there, _ = drivers.lock("second")
    add(there, 2, 3)
    second.publish("records.jsonl")
    network.is_cut = False
    waiting.join(60)
    assert [str(error) for error in raised] and "was taken over by another quadrat run" in str(raised[0])
    assert drivers.records == [0, 1, 2, 3]
    second.release()


def test_a_put_that_the_network_held_back_is_refused(drivers: Drivers) -> None:
    lock, folder, network = start(drivers)
    second: list[ResultsLock] = []

    def overtake() -> None:
        network.is_cut = True  # no renewals either
        locked, there, _ = drivers.lock("second")
        add(there, 2, 3)
        locked.publish("records.jsonl")
        second.append(locked)
        network.is_cut = False

    add(folder, 2)
    network.before = overtake
    with pytest.raises(ResultsError, match="was taken over"):
        lock.publish("records.jsonl")
    assert drivers.records == [0, 1, 2, 3]
    second[0].release()


def test_the_last_put_of_the_driver_before_is_kept_and_does_not_stop_its_successor(drivers: Drivers) -> None:
    _, _, network = start(drivers)
    network.is_cut = True
    lock, folder, _ = drivers.lock("second")
    late = json.dumps({"trial_id": "other", "round": 7}) + "\n"
    Remote(drivers.url).write("records.jsonl", (Remote(drivers.url).read("records.jsonl") or b"") + late.encode())
    add(folder, 2)
    lock.publish("records.jsonl")
    assert drivers.records == [0, 1, 2, 7]
    assert late in (folder / "records.jsonl").read_text()
    lock.release()


def test_a_driver_whose_clock_stood_still_does_not_believe_it(
    drivers: Drivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, folder, network = start(drivers)
    network.is_cut = True
    second, there, _ = drivers.lock("second")
    add(there, 2, 3)
    second.publish("records.jsonl")
    second.release()
    network.is_cut = False
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)  # the machine slept: its clock says that nothing has passed
    add(folder, 2)
    with pytest.raises(ResultsError, match=r"was taken over by another quadrat run, after .*suspended"):
        lock.publish("records.jsonl")
    assert drivers.records == [0, 1, 2, 3]
    with pytest.raises(ResultsError, match="was taken over"):
        lock.set_status({})


def test_of_two_holders_of_one_generation_the_one_whose_token_is_gone_stops(drivers: Drivers) -> None:
    lock, folder, _ = start(drivers)
    remote = Remote(drivers.url)
    (name,) = remote.names("driver")
    content = json.loads(remote.read(name) or b"")
    remote.write(name, json.dumps({**content, "token": "of the other", "host": "other"}).encode())
    add(folder, 2)
    with pytest.raises(ResultsError, match="was taken over"):
        lock.publish("records.jsonl")
    lock.release()
    assert json.loads(remote.read(name) or b"")["token"] == "of the other"
    assert drivers.records == [0, 1]


def test_a_file_that_is_gone_here_is_empty_there_and_gone_for_the_next_driver(drivers: Drivers) -> None:
    lock, folder, _ = start(drivers)
    (folder / "failures.jsonl").write_text("{}\n")
    lock.publish("failures.jsonl")
    (folder / "failures.jsonl").unlink()
    lock.publish("failures.jsonl", "study/study.json")
    lock.release()
    assert Remote(drivers.url).read("failures.jsonl") == b"" and not Remote(drivers.url).has("study/study.json")
    lock, folder, _ = drivers.lock("second")
    assert not (folder / "failures.jsonl").exists()
    lock.release()


def test_storage_that_ignores_conditions_is_refused_with_what_works(
    tmp_path: Path, machine: Callable[[str], None]
) -> None:
    machine("first")
    remote = Remote(f"memory://{tmp_path.name}")
    with pytest.raises(ResultsError, match=r"refuses a conditional write .*, got one that ignores it.*s3://.*file://"):
        lock_results(working_folder(remote.url), remote)
    assert not remote.has("driver-probe")


def test_a_server_that_ignores_if_match_is_refused(server: str, tmp_path: Path, machine: Callable[[str], None]) -> None:
    machine("first")
    remote = Remote(f"s3://results/{tmp_path.name}")
    remote.check_conditions()
    remote._backend._is_s3 = False  # type: ignore[attr-defined]  # sends no If-Match
    with pytest.raises(ResultsError, match="got one that ignores it"):
        lock_results(working_folder(remote.url), remote)


def test_storage_that_looks_first_and_writes_then_is_refused(
    tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("first")
    remote = Remote(f"file://{tmp_path}/there")
    remote.check_conditions()
    kind = type(remote._backend)

    def create(self: Any, path: str, data: bytes) -> None:
        if self.exists(path):
            raise FileExistsError(path)
        time.sleep(0.05)  # what others do meanwhile
        self.write(path, data)

    monkeypatch.setattr(kind, "create", create)
    with pytest.raises(ResultsError, match=r"one of 8 that create the same file at once .* succeeds, got [2-8]: two"):
        remote.check_conditions()
    assert not remote.has("driver-probe")


def test_a_conditional_write_whose_answer_was_lost_has_succeeded(drivers: Drivers) -> None:
    remote = Remote(drivers.url)
    version = remote.replace("a", b"1", None)
    backend = remote._backend
    lost = [True]

    class LosesAnAnswer(Cut):
        def replace(self, path: str, data: bytes, version: str) -> str:
            answer = backend.replace(path, data, version)
            if lost:
                lost.pop()
                raise ConnectionResetError("reset")
            return answer

    remote.__dict__["_backend"] = LosesAnAnswer(backend)
    version = remote.replace("a", b"2", version)
    assert remote.read_version("a") == (b"2", version)
    with pytest.raises(ChangedError):
        remote.replace("a", b"3", "another")
    with pytest.raises(ChangedError):
        remote.replace("a", b"3", None)
    with pytest.raises(ChangedError):
        remote.replace("b", b"3", version)
    assert remote.read("a") == b"2" and not remote.has("b")


def test_merged_records_keep_ours_and_add_rounds_that_only_they_have() -> None:
    line = '{{"trial_id": "{}", "round": {}, "by": "{}"}}\n'
    ours = line.format("a", 0, "us") + line.format("b", 0, "us")
    theirs = line.format("a", 0, "them") + line.format("a", 1, "them")
    assert merge_records(ours.encode(), theirs.encode()).decode() == ours + line.format("a", 1, "them")


def write_pages(folder: Path, text: str) -> None:
    (folder / "report" / "files").mkdir(parents=True, exist_ok=True)
    for name in ("files/table.csv", "index.html"):
        (folder / "report" / name).write_text(text)


def test_one_process_at_a_time_uploads_a_report_and_leaves_no_lease(
    url: str, tmp_path: Path, machine: Callable[[str], None]
) -> None:
    machine("first")
    remote, waits = Remote(url), list[float]()
    write_pages(tmp_path / "first", "first")
    upload_report(remote, tmp_path / "first", "report")
    assert holder_of(remote, "locks/report") is None
    held = acquire_lease(remote, "locks/report")
    machine("second")
    write_pages(tmp_path / "second", "second")
    second = threading.Thread(
        target=upload_report,
        args=(Remote(url), tmp_path / "second", "report"),
        kwargs={"on_wait": lambda: waits.append(time.monotonic())},
    )
    second.start()
    while not waits:
        time.sleep(0.01)
    assert remote.read("report/index.html") == b"first"
    held.release()
    second.join()
    assert {remote.read(name) for name in ("report/index.html", "report/files/table.csv")} == {b"second"}
    (tmp_path / "second" / "report" / "files" / "table.csv").unlink()
    upload_report(remote, tmp_path / "second", "report")
    assert remote.names("report") == ["report/index.html"]  # a table that this report does not have is not left there
    assert holder_of(remote, "locks/report") is None


def test_who_lost_the_lease_of_a_report_uploads_no_more_of_it(
    url: str, tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("first")
    write_pages(tmp_path / "first", "first")
    remote, upload = Remote(url), Remote.upload
    write_pages(tmp_path / "second", "second")

    def suspended(self: Remote, name: str, path: Path) -> None:
        upload(self, name, path)
        if self is remote and name == "report/files/table.csv":  # the first of two files
            monkeypatch.setattr(Remote, "upload", upload)
            other = Remote(url)
            other.delete("locks/report/1")  # as the next holder does once the lease has expired
            upload_report(other, tmp_path / "second", "report")

    monkeypatch.setattr(Remote, "upload", suspended)
    with pytest.raises(ResultsError, match="was taken over by another quadrat run"):
        upload_report(remote, tmp_path / "first", "report")
    assert remote.read("report/index.html") == b"second"
