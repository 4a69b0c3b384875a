"""Results on a URL: a local S3-compatible server, machines without a common file system, and what can go wrong."""

import contextlib
import errno
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quadrat.benchmark.errors import ResultsError, UnavailableError
from quadrat.benchmark.results.lock import lock_results
from quadrat.benchmark.results.records import read_records
from quadrat.benchmark.storage import backends
from quadrat.benchmark.storage.lease import acquire_lease
from quadrat.benchmark.storage.remote import Remote, is_url, working_folder
from quadrat.benchmark.storage.store import Store, open_store
from quadrat.cluster.cli.main import cli

KEY = {"seed": 1}


@pytest.fixture(params=["file", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Remote:
    """Return storage on a folder and on S3."""
    if request.param == "file":
        return Remote(f"file://{tmp_path}/there")
    request.getfixturevalue("server")
    return Remote(f"s3://results/{tmp_path.name}")


def test_files_are_read_as_they_were_written(remote: Remote, tmp_path: Path) -> None:
    remote.check()
    assert remote.read("a/b.txt") is None and remote.names() == [] and not remote.has("a/b.txt")
    remote.write("a/b.txt", b"one")
    remote.write("a/b.txt", b"two")
    (tmp_path / "c").write_bytes(b"three")
    remote.upload("a/c", tmp_path / "c")
    assert remote.read("a/b.txt") == b"two" and remote.has("a/c")
    assert remote.names() == remote.names("a") == ["a/b.txt", "a/c"]
    assert remote.at("a").names() == ["b.txt", "c"]
    assert remote.download("a/c", tmp_path / "new" / "d") and (tmp_path / "new" / "d").read_bytes() == b"three"
    assert not remote.download("a/none", tmp_path / "none") and not (tmp_path / "none").exists()
    remote.delete("a/c")
    remote.delete("a/c")
    assert remote.names() == ["a/b.txt"]


def test_of_several_who_create_a_file_one_succeeds(remote: Remote) -> None:
    assert [remote.create("lock/1", name) for name in (b"first", b"second")] == [True, False]
    assert remote.read("lock/1") == b"first"


def test_of_many_who_create_a_file_at_once_one_succeeds_and_readers_see_it_whole(remote: Remote) -> None:
    for number in range(8):
        barrier = threading.Barrier(6)

        def create(
            text: bytes, number: int = number, barrier: threading.Barrier = barrier
        ) -> tuple[bool, bytes | None]:
            barrier.wait()
            return Remote(remote.url).create(f"lock/{number}", text * 5000), remote.read(f"lock/{number}")

        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(create, (b"a", b"b", b"c", b"d", b"e", b"f")))
        assert sorted(won for won, _ in found) == [False] * 5 + [True]
        assert {content for _, content in found} == {remote.read(f"lock/{number}")}


_KILLED = """
import os, signal, sys
from pathlib import Path
from quadrat.benchmark.storage.remote import Remote
place, operation = sys.argv[1:]
def kill(event, arguments):
    if event == "os.rename" and place in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)
def half(event, arguments):
    if event == "open" and arguments[0] == f"{place}/a" and arguments[1] not in ("r", "rb"):
        os.truncate(arguments[0], 1)  # what a kill inside a write in place leaves
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(half)
sys.addaudithook(kill)
remote = Remote(f"file://{place}")
local = Path(place).with_name("local")
if operation == "write":
    remote.write("a", b"new" * 1000)
elif operation == "replace":
    remote.replace("a", b"new" * 1000, remote.read_version("a").version)
else:
    local.write_bytes(b"new" * 1000)
    remote.upload("a", local)
"""


@pytest.mark.parametrize("operation", ["write", "replace", "upload"])
def test_a_kill_inside_a_write_to_a_folder_leaves_the_old_content(tmp_path: Path, operation: str) -> None:
    remote = Remote(f"file://{tmp_path}/there")
    remote.write("a", b"old" * 1000)
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "there"), operation])
    assert done.returncode == -signal.SIGKILL
    assert remote.read("a") == b"old" * 1000
    assert remote.names() == ["a"]
    remote.remove_stale_temporaries()
    assert {path.name for path in (tmp_path / "there").iterdir()} <= {"a", ".quadrat.lock"}


def test_a_file_system_without_hard_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ResultsError, match="expected a file system with hard links"):
        Remote(f"file://{tmp_path}/there").create("a", b"1")


def test_sync_copies_a_file_to_the_place_that_lacks_it(remote: Remote, tmp_path: Path) -> None:
    remote.write("there.npz", b"1")
    (tmp_path / "here.npz").write_bytes(b"2")
    for name in ("there.npz", "here.npz", "nowhere.npz"):
        remote.sync(tmp_path, name)
    assert (tmp_path / "there.npz").read_bytes() == b"1" and remote.read("here.npz") == b"2"
    assert not (tmp_path / "nowhere.npz").exists() and not remote.has("nowhere.npz")


def write(text: str) -> Callable[[Path], None]:
    def compute(folder: Path) -> None:
        (folder / "a.txt").write_text(text)

    return compute


def test_an_artefact_of_one_machine_is_found_by_another(remote: Remote, tmp_path: Path) -> None:
    first, second = (Store(tmp_path / name, remote) for name in ("first", "second"))
    first.get_or_compute("fit", KEY, write("one"))
    found = second.get_or_compute("fit", KEY, write("two"))
    assert (found.path / "a.txt").read_text() == "one"
    second.drop("fit", KEY)
    third = Store(tmp_path / "third", remote)
    assert third.get("fit", KEY) is None
    assert not [name for name in remote.names() if name.startswith("fit/")]


def test_an_artefact_without_its_description_on_the_remote_does_not_count(remote: Remote, tmp_path: Path) -> None:
    name = Store(tmp_path / "a").path("fit", KEY).name
    remote.write(f"fit/{name}/a.txt", b"half")
    store = Store(tmp_path / "a", remote)
    assert store.get("fit", KEY) is None
    assert (store.get_or_compute("fit", KEY, write("whole")).path / "a.txt").read_text() == "whole"
    assert remote.read(f"fit/{name}/a.txt") == b"whole"


def test_a_checkpoint_goes_to_the_machine_that_takes_over(remote: Remote, tmp_path: Path) -> None:
    first = Store(tmp_path / "first", remote).checkpoint("fit", KEY)
    first.fetch()
    first.upload()  # there is none yet
    first.path.write_bytes(b"step 5")
    first.upload()
    second = Store(tmp_path / "second", remote).checkpoint("fit", KEY)
    second.fetch()
    assert second.path.read_bytes() == b"step 5"
    second.remove()
    assert not second.path.exists() and remote.names("checkpoints") == []


def test_a_machine_that_was_cut_off_leaves_no_checkpoint_of_what_another_has_finished(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, (cut_off, other) = {"a": 1}, (Store(tmp_path / name, remote) for name in ("cut-off", "other"))
    checkpoint = cut_off.checkpoint("fit", key)
    checkpoint.path.write_text("half")
    put, num_tries = remote._backend.put, []

    def cut_once(path: Path, name: str) -> None:
        num_tries.append(name)
        if len(num_tries) == 1:
            other.get_or_compute("fit", key, write("whole"))
            raise ConnectionResetError("cut off")
        put(path, name)

    remote.check()  # it has answered, so it is tried again
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(remote._backend, "put", cut_once)
    checkpoint.upload()
    assert [name for name in remote.names() if name.startswith("checkpoints/")] == []
    assert cut_off.get("fit", key) is not None


def _compute_slowly(root: Path, url: str, log: Path, seconds: float) -> None:
    def compute(folder: Path) -> None:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        (folder / "a.txt").write_text("done")

    Store(root, Remote(url)).get_or_compute("fit", KEY, compute)


@pytest.mark.slow
def test_one_of_two_machines_computes_and_the_other_takes_over_when_it_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    url, log = f"file://{tmp_path}/there", tmp_path / "log"
    victim = context.Process(target=_compute_slowly, args=(tmp_path / "first", url, log, 600))
    victim.start()
    deadline_s = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    heirs = [context.Process(target=_compute_slowly, args=(tmp_path / name, url, log, 0.5)) for name in ("2", "3")]
    for heir in heirs:
        heir.start()
    time.sleep(1.0)
    assert len(log.read_text().splitlines()) == 1  # they wait
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join(60)
    for heir in heirs:
        heir.join(120)
        assert heir.exitcode == 0
    assert len(log.read_text().splitlines()) == 2  # one of the two, and the other found it


@pytest.fixture
def quadrat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Callable[[str], None]) -> Callable[..., Result]:
    """Return a function that calls the command line in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    machine("first")
    runner = CliRunner()
    return lambda *arguments: runner.invoke(cli, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("s3://no-such-bucket/x", {}, "Create the bucket first"),
        ("s3://results/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Check the endpoint (AWS_ENDPOINT_URL"),
        ("s3://results/x", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Set AWS_ACCESS_KEY_ID"),
        ("nonsense://results/x", {}, "that what fsspec needs for nonsense:// is installed"),
    ],
)
def test_unusable_storage_is_one_clear_error_before_anything_runs(
    server: str,
    quadrat: Callable[..., Result],
    write_suite: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    url: str,
    environment: dict[str, str],
    expected: str,
) -> None:
    import fsspec

    for name, value in environment.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # what an earlier test opened has that test's settings
    result = quadrat("trial", write_suite(), "--strategy", "random", "--seed", 0, "--results", url)
    assert result.exit_code == (1 if "endpoint" in expected else 2)  # a server that does not answer may come back
    assert result.stderr.startswith(f"error: expected storage at {url} that can be read and written, got ")
    assert expected in result.stderr
    assert "run the same command again to go on" in result.stderr
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that this process has slept; they pass on the clock without waiting."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
    return slept


def fails(times: int, error: BaseException) -> Callable[[], str]:
    """Return an operation that raises `error` so many times before it succeeds."""
    errors = iter([error] * times)

    def operation() -> str:
        for each in errors:
            raise each
        return "content"

    return operation


def test_storage_that_has_answered_before_is_retried_for_two_minutes(tmp_path: Path, pauses: list[float]) -> None:
    remote, reset = Remote(f"file://{tmp_path}/there"), ConnectionResetError("reset")
    with pytest.raises(ResultsError, match=r"ConnectionResetError: reset\. Check the endpoint"):
        remote._call("a", fails(1, reset))
    assert pauses == []
    assert remote._call("a", fails(0, reset)) == "content"
    assert remote._call("a", fails(3, reset)) == "content"
    assert pauses == [0.5, 1.0, 2.0]
    pauses.clear()
    with pytest.raises(
        ResultsError, match=r"ConnectionResetError: reset\. Check the endpoint.* run the same command again"
    ):
        remote._call("a", fails(99, reset))
    assert 105.0 < sum(pauses) <= 120.0 and max(pauses) == 15.0


def test_what_is_below_storage_that_has_answered_is_retried_from_the_first_call_on(
    tmp_path: Path, pauses: list[float]
) -> None:
    remote, reset = Remote(f"file://{tmp_path}/there"), ConnectionResetError("reset")
    assert remote._call("a", fails(0, reset)) == "content"
    assert remote.at("store")._call("a", fails(2, reset)) == "content"
    store = open_store(f"{remote.url}/shared", tmp_path, None, has_answered=True)
    assert store._remote is not None and store._remote._call("a", fails(1, reset)) == "content"
    assert pauses == [0.5, 1.0, 0.5]


def test_a_network_that_swallows_everything_is_given_up_in_time_and_then_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that takes connections and never answers; no layer below `Remote` may multiply its tries."""
    import fsspec

    fsspec.config.conf.pop("s3", None)
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def take() -> None:
            with contextlib.suppress(OSError):  # closed
                while True:
                    connections.append(silent.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        names = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "a", "AWS_DEFAULT_REGION": "eu"}
        for name, value in {**names, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setitem(backends._S3_SETTINGS, "read_timeout", 0.2)
        monkeypatch.setattr("quadrat.benchmark.storage.remote._RETRY_FOR_S", 1.5)
        remote = Remote("s3://bucket/swallowed")
        remote._has_answered = True
        with pytest.raises(UnavailableError, match="Check the endpoint"):
            remote.read("a")
        assert len(connections) <= 3  # after 0, 0.5 and 1.5 s; one, where a busy machine takes long for it
        num_first = len(connections)
        with pytest.raises(UnavailableError, match="Check the endpoint"):
            remote.read("a")
        assert len(connections) == num_first + 1
        silent.shutdown(socket.SHUT_RDWR)
    for connection in connections:
        connection.close()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError("AccessDenied"), r"AccessDenied\. Check the credentials"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
def test_an_error_that_only_the_user_can_fix_is_not_retried(
    tmp_path: Path, pauses: list[float], error: OSError, expected: str
) -> None:
    remote = Remote(f"file://{tmp_path}/there")
    remote._call("a", fails(0, error))
    with pytest.raises(ResultsError, match=expected):
        remote._call("a", fails(1, error))
    assert pauses == []


def test_an_interrupt_during_a_call_is_not_retried(tmp_path: Path, pauses: list[float]) -> None:
    remote = Remote(f"file://{tmp_path}/there")
    remote._call("a", fails(0, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        remote._call("a", fails(1, KeyboardInterrupt()))
    assert pauses == []


def test_urls_differ_from_folders_and_each_has_its_own_working_folder(
    tmp_path: Path, machine: Callable[[str], None]
) -> None:
    assert is_url("s3://bucket/prefix") and not is_url("results/runs") and not is_url(tmp_path) and not is_url(None)
    machine("first")
    folders = {working_folder(url) for url in ("s3://a/suite", "s3://b/suite", "s3://a/suite/")}
    assert len(folders) == 2
    assert all(folder.is_relative_to(tmp_path / "machines" / "first") for folder in folders)


@pytest.mark.slow
def test_a_suite_goes_from_machine_to_machine_on_s3_and_equals_one_on_a_folder(
    server: str,
    quadrat: Callable[..., Result],
    write_suite: Callable[..., Path],
    machine: Callable[[str], None],
    tmp_path: Path,
) -> None:
    suite, url = write_suite(budgets=[6, 12]), "s3://results/whole"
    for label in ("random", "entropy-spatial"):
        assert quadrat("trial", suite, "--strategy", label, "--seed", 0, "--results", "here").exit_code == 0
    first = quadrat("trial", suite, "--strategy", "random", "--seed", 0, "--results", url)
    assert first.exit_code == 0, first.output
    assert "complete in s3://results/whole" in first.stdout
    machine("second")
    second = quadrat("trial", suite, "--strategy", "entropy-spatial", "--seed", 0, "--results", url)
    assert second.exit_code == 0, second.output
    assert "1 fits computed, 1 shared" in second.stdout  # round 0 is the other machine's
    machine("third")
    assert "2 trials, 2 complete" in quadrat("show", suite, "--results", url).stdout
    compared = quadrat("compare", "here", url)
    assert (compared.exit_code, compared.stdout) == (0, "equal: 4 records\n")
    written = quadrat("report", url)
    assert written.exit_code == 0, written.output
    assert Remote(url).has("report/index.html")
    lock_results(working_folder(url), Remote(url)).release()  # as track does: what only read has let go
    assert not [path for path in (tmp_path / "machines" / "third").rglob("fitted.pt")]


@pytest.mark.slow
def test_suites_share_a_store_of_their_own(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    arguments = ("--seed", 0, "--store", tmp_path / "store")
    suite = write_suite(budgets=[6, 12])
    first = quadrat("trial", suite, "--strategy", "entropy-spatial", "--results", "first", *arguments)
    assert "2 fits computed, 0 shared" in first.stdout
    suite = write_suite(name="other", budgets=[6, 12, 24], strategies=["entropy-spatial"])
    second = quadrat("trial", suite, "--strategy", "entropy-spatial", "--results", "second", *arguments)
    assert "1 fits computed, 2 shared" in second.stdout  # the weights of round 1 were kept
    assert not (tmp_path / "second" / "store").exists()
    one, two = (read_records(tmp_path / name) for name in ("first", "second"))
    assert [record.miou for record in one] == [record.miou for record in two[:2]]


def test_leases_of_the_store_and_of_the_driver_are_independent(tmp_path: Path) -> None:
    remote = Remote(f"file://{tmp_path}/there")
    with acquire_lease(remote, "driver"), acquire_lease(remote.at("store"), "locks/0"):
        assert remote.names("driver") == ["driver/1"]
