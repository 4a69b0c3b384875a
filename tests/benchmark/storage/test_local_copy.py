"""A copy of a folder at a URL: equal to it, fetched once by whoever asks, resumed after a kill."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quadrat.benchmark.errors import ResultsError, UnavailableError
from quadrat.benchmark.storage.local_copy import fetch, find_copy, require_files
from quadrat.benchmark.storage.remote import Remote, working_folder

FILES = {f"images/train/{name}.png": name.encode() * 50 for name in "abcdefgh"} | {"manifest.json": b"{}"}


@pytest.fixture(autouse=True)
def _of_its_own(machine: Callable[[str], None]) -> None:
    machine("here")


@pytest.fixture(params=["file", "s3"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Remote:
    """Return storage on a folder and on S3 that holds FILES, as a data set called `mine`."""
    if request.param == "s3":
        request.getfixturevalue("server")
    base = f"file://{tmp_path}/there" if request.param == "file" else f"s3://results/{tmp_path.name}"
    remote = Remote(f"{base}/mine")
    for name, content in FILES.items():
        remote.write(name, content)
    return remote


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often each file has been downloaded."""
    download, counts = Remote.download, Counter[str]()

    def count(self: Remote, name: str, path: Path) -> bool:
        counts[name] += 1
        return download(self, name, path)

    monkeypatch.setattr(Remote, "download", count)
    return counts


def content_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_copy_is_equal_and_only_what_changed_is_fetched_again(there: Remote, fetched: Counter[str]) -> None:
    assert find_copy(there.url) is None
    seen: list[tuple[int, int]] = []
    root = fetch(there.url, lambda done, total: seen.append((done, total)))
    assert root.name == "mine" and content_of(root) == FILES and find_copy(there.url + "/") == root
    assert sorted(seen) == [(done, 9) for done in range(1, 10)] and set(fetched.values()) == {1}

    fetched.clear()
    assert fetch(there.url) == root and not fetched

    there.write("manifest.json", b"[]")  # as long as before
    there.write("masks/a.png", b"new")
    there.delete("images/train/h.png")
    (root / "images/train/a.png").write_bytes(b"torn")
    expected = {**FILES, "manifest.json": b"[]", "masks/a.png": b"new"}
    del expected["images/train/h.png"]
    assert content_of(fetch(there.url)) == expected
    assert fetched == {"manifest.json": 1, "masks/a.png": 1, "images/train/a.png": 1}


def test_a_file_may_become_a_folder_and_back(there: Remote) -> None:
    fetch(there.url)
    there.delete("manifest.json")
    there.write("manifest.json/part", b"1")
    assert (fetch(there.url) / "manifest.json" / "part").read_bytes() == b"1"
    there.delete("manifest.json/part")
    if there.url.startswith("file://"):
        (Path(there.url.removeprefix("file://")) / "manifest.json").rmdir()
    there.write("manifest.json", b"2")
    assert (fetch(there.url) / "manifest.json").read_bytes() == b"2"


def test_a_fetch_that_was_stopped_goes_on_where_it_was(there: Remote, fetched: Counter[str]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(there.url, stop)
    assert find_copy(there.url) is None
    seen: list[int] = []
    assert content_of(fetch(there.url, lambda done, total: seen.append(done))) == FILES
    assert min(seen) > 4  # some that were under way came through; none that was reported is fetched again
    with (working_folder(there.url) / "files.jsonl").open("a") as journal:
        journal.write('\n{"name": "images/tr')  # torn by a kill
    fetched.clear()
    there.write("manifest.json", b"[]")
    fetch(there.url)
    assert content_of(fetch(there.url))["manifest.json"] == b"[]" and fetched == {"manifest.json": 1}


_KILLED = """
import os, signal, sys
from quadrat.benchmark.storage.local_copy import fetch
def kill(done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
fetch(sys.argv[1], kill)
"""


def test_a_kill_loses_no_file_that_was_complete(tmp_path: Path, fetched: Counter[str]) -> None:
    there = Remote(f"file://{tmp_path}/there")
    for name, content in FILES.items():
        there.write(name, content)
    assert subprocess.run([sys.executable, "-c", _KILLED, there.url], env=os.environ).returncode == -signal.SIGKILL
    assert find_copy(there.url) is None
    assert content_of(fetch(there.url)) == FILES
    assert sum(fetched.values()) <= len(FILES) - 3


def test_of_several_workers_of_a_machine_one_fetches(there: Remote, fetched: Counter[str]) -> None:
    barrier = threading.Barrier(4)

    def work(_: int) -> Path:
        barrier.wait()
        return fetch(there.url)

    with ThreadPoolExecutor(4) as pool:
        roots = set(pool.map(work, range(4)))
    assert len(roots) == 1 and content_of(roots.pop()) == FILES
    assert set(fetched.values()) == {1}


def test_nothing_at_the_url_is_one_sentence(there: Remote, tmp_path: Path) -> None:
    for url in (f"{there.url}/none", f"file://{tmp_path}/none"):
        for call in (fetch, require_files):
            with pytest.raises(ResultsError) as caught:
                call(url)
            assert str(caught.value) == f"expected files at {url}, got none: correct the URL, or copy them there"


def test_a_bucket_that_is_not_there_is_one_sentence(server: str) -> None:
    with pytest.raises(ResultsError, match=r"s3://no-such-bucket/mine.*Create the bucket first, or correct its name"):
        fetch("s3://no-such-bucket/mine")


def test_what_a_disk_cannot_hold_is_refused_before_anything_is_fetched(server: str, tmp_path: Path) -> None:
    import boto3

    bucket, prefix = boto3.client("s3"), tmp_path.name
    bucket.put_object(Bucket="results", Key=f"{prefix}/marked/images/", Body=b"")  # a folder, as consoles draw it
    bucket.put_object(Bucket="results", Key=f"{prefix}/marked/images/a.png", Body=b"a")
    assert content_of(fetch(f"s3://results/{prefix}/marked")) == {"images/a.png": b"a"}

    bucket.put_object(Bucket="results", Key=f"{prefix}/both/images", Body=b"a")
    bucket.put_object(Bucket="results", Key=f"{prefix}/both/images/a.png", Body=b"a")
    with pytest.raises(ResultsError, match=r"got 'images', a file, and 'images/a\.png' below it"):
        fetch(f"s3://results/{prefix}/both")

    bucket.put_object(Bucket="results", Key=f"{prefix}/outside/../../evil", Body=b"a")
    with pytest.raises(ResultsError, match="it would lie outside"):
        fetch(f"s3://results/{prefix}/outside")
    assert not list(tmp_path.rglob("evil"))


def test_a_file_that_changes_or_goes_meanwhile_is_said(there: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Remote.listing

    def and_then_go(self: Remote) -> object:
        found = listing(self)
        there.delete("manifest.json")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "listing", and_then_go)
        with pytest.raises(UnavailableError, match=r"manifest\.json is gone since it was listed"):
            fetch(there.url)
    there.write("manifest.json", b"{}")

    def and_then_grow(self: Remote) -> object:
        found = listing(self)
        there.write("manifest.json", b"longer")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "listing", and_then_grow)
        with pytest.raises(UnavailableError, match=r"has changed since it was listed \(6 bytes, not 2\)"):
            fetch(there.url)
    assert find_copy(there.url) is None
    assert content_of(fetch(there.url)) == {**FILES, "manifest.json": b"longer"}


def test_a_full_disk_is_one_sentence_and_the_rest_comes_later(there: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, left = os.replace, [3]

    def fill(source: str, target: str) -> None:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill)
        with pytest.raises(ResultsError, match=r"cannot write .*: No space left on device.*run the same command again"):
            fetch(there.url)
    assert find_copy(there.url) is None
    assert content_of(fetch(there.url)) == FILES
