"""Records on a URL grow in parts: bytes uploaded are linear in them, and every state in between can be read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from quadrat.benchmark.results import parts as parts_module
from quadrat.benchmark.results.lock import fetch_results, lock_results
from quadrat.benchmark.results.parts import part_name, parts_folder
from quadrat.benchmark.storage.atomic import atomic_write
from quadrat.benchmark.storage.remote import Remote, working_folder

NAME = "records.jsonl"
PART_BYTES = 200


@pytest.fixture
def remote(tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setattr(parts_module, "PART_BYTES", PART_BYTES)
    machine("first")
    return Remote(f"file://{tmp_path}/there")


def line(number: int) -> str:
    return f'{{"trial_id": "t{number:04d}", "round": 0}}\n'


def append(folder: Path, number: int) -> None:
    with (folder / NAME).open("a") as file:
        file.write(line(number))


def lines_at(remote: Remote, machine: Callable[[str], None], reader: str) -> list[str]:
    machine(reader)
    found = (fetch_results(remote.url) / NAME).read_text().splitlines(keepends=True)
    machine("first")
    return found


@pytest.mark.parametrize("method", ["names", "read_version"])
def test_a_reader_misses_no_record_when_the_driver_finalises_meanwhile(
    remote: Remote, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    lines = [line(number) for number in range(30)]
    remote.write(NAME, "".join(lines[:10]).encode())
    part = part_name(NAME, 1)
    remote.write(part, "".join(lines[10:]).encode())
    original = getattr(Remote, method)
    asked: list[str] = []

    def finalised_after(self: Remote, name: str) -> object:
        found = original(self, name)
        asked.append(name)
        if name in (parts_folder(NAME), part) and asked.count(name) == 1:
            remote.write(NAME, "".join(lines).encode())
            remote.delete(part)
        return found

    monkeypatch.setattr(Remote, method, finalised_after)
    assert lines_at(remote, machine, "reader") == lines
    assert len(asked) > 1


def test_bytes_uploaded_are_linear_in_the_records(
    remote: Remote, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    replace = Remote.replace
    monkeypatch.setattr(
        Remote, "replace", lambda *args, **options: sizes.append(len(args[2])) or replace(*args, **options)
    )
    folder, size, num = working_folder(remote.url), len(line(0)), 60
    with lock_results(folder, remote) as lock:
        sizes.clear()  # of the probe
        for number in range(num):
            append(folder, number)
            lock.publish(NAME)
        in_a_part = -(-PART_BYTES // size)
        # Within a part the k-th record is uploaded with the k - 1 before it.
        expected = [size * (1 + number % in_a_part) for number in range(num)]
        assert sizes == expected
        assert lines_at(remote, machine, "reader") == [line(number) for number in range(num)]
        assert len(remote.names(parts_folder(NAME))) == -(-num // in_a_part) - 1
        atomic_write(folder / NAME, "".join(line(number) for number in reversed(range(num))).encode())
        lock.publish(NAME)  # sorted at the end of a run: one object again
    assert remote.names(parts_folder(NAME)) == []
    assert (remote.read(NAME) or b"").decode() == "".join(line(number) for number in reversed(range(num)))


def test_the_next_driver_has_every_record_of_one_that_was_killed_between_two_parts(
    remote: Remote, machine: Callable[[str], None]
) -> None:
    folder = working_folder(remote.url)
    with lock_results(folder, remote) as lock:
        for number in range(20):
            append(folder, number)
            lock.publish(NAME)
    assert remote.names(parts_folder(NAME)) != []  # it never came to sort them
    machine("second")
    other = working_folder(remote.url)
    with lock_results(other, remote) as lock:
        assert (other / NAME).read_text() == "".join(line(number) for number in range(20))
        append(other, 20)
        lock.publish(NAME)
    assert remote.names(parts_folder(NAME)) == []
    assert (remote.read(NAME) or b"").decode() == "".join(line(number) for number in range(21))


def test_a_part_that_a_driver_before_wrote_late_is_merged_and_removed(
    remote: Remote, machine: Callable[[str], None]
) -> None:
    folder = working_folder(remote.url)
    with lock_results(folder, remote) as lock:
        for number in range(8):
            append(folder, number)
            lock.publish(NAME)
        last = max(remote.names(parts_folder(NAME)))
        late = part_name(NAME, int(last.rpartition("/")[2]) + 1)
        remote.write(late, (line(3) + line(99)).encode())  # a request that the network had held back
        for number in range(8, 16):
            append(folder, number)
            lock.publish(NAME)
    found = lines_at(remote, machine, "reader")
    assert sorted(found) == sorted([*(line(number) for number in range(16)), line(99)])
