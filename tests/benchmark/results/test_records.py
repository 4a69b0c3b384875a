"""Records: one line per round, complete or absent, in suite order when a suite is complete."""

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.paths import GOLDEN
from support.records import RECORD

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results import records as module
from quadrat.benchmark.results.records import (
    SCHEMA,
    Failure,
    append_record,
    differing_fields,
    finalise,
    is_complete,
    read_failures,
    read_records,
    record_failure,
    without_timings,
)


def test_a_record_reads_back_to_the_same_bits(tmp_path: Path) -> None:
    append_record(tmp_path, RECORD)
    assert read_records(tmp_path) == [RECORD]


def test_a_line_cut_off_by_a_killed_writer_is_ignored_and_then_replaced(tmp_path: Path) -> None:
    append_record(tmp_path, RECORD)
    later = replace(RECORD, round=1)
    path = tmp_path / "records.jsonl"
    for cut in (1, 20, len(later.to_line()) - 1):
        path.write_text(RECORD.to_line() + later.to_line()[:cut], encoding="utf-8")
        assert read_records(tmp_path) == [RECORD]
        append_record(tmp_path, later)
        assert path.read_text(encoding="utf-8") == RECORD.to_line() + later.to_line()


def test_a_first_line_cut_off_is_replaced_as_well(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text('{"schema": 1', encoding="utf-8")
    append_record(tmp_path, RECORD)
    assert read_records(tmp_path) == [RECORD]


def test_a_full_disk_leaves_the_file_as_it_was_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_record(tmp_path, RECORD)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(ResultsError, match="free some space"):
        append_record(tmp_path, replace(RECORD, round=1))
    assert (tmp_path / "records.jsonl").read_text(encoding="utf-8") == RECORD.to_line()


def test_the_same_round_twice_counts_once(tmp_path: Path) -> None:
    append_record(tmp_path, RECORD)
    append_record(tmp_path, replace(RECORD, seconds={"fit": 9.0}))
    assert read_records(tmp_path) == [RECORD]


@pytest.mark.parametrize("line", ["not json", "[]", '{"schema": "x"}'])
def test_a_damaged_line_is_an_error_that_names_file_and_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "records.jsonl").write_text(RECORD.to_line() + line + "\n", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"records\.jsonl:2: expected one JSON record"):
        read_records(tmp_path)


@pytest.mark.parametrize("schema", [SCHEMA - 1, SCHEMA + 1])
def test_another_schema_is_refused(tmp_path: Path, schema: int) -> None:
    values = {**json.loads(RECORD.to_line()), "schema": schema}
    (tmp_path / "records.jsonl").write_text(json.dumps(values) + "\n", encoding="utf-8")
    with pytest.raises(ResultsError, match=f"expected schema {SCHEMA}, got {schema}"):
        read_records(tmp_path)


def test_a_record_is_written_to_the_golden_bytes_and_read_from_them() -> None:
    assert (GOLDEN / "record" / "records.jsonl").read_text(encoding="utf-8") == RECORD.to_line()
    assert read_records(GOLDEN / "record") == [RECORD]


@pytest.mark.parametrize("change", [{"clicks": 58}, {"class_px": (2000, 401)}, {"loss": 1.0}, {"seconds": {}}])
def test_records_differ_in_every_field_but_seconds(change: dict[str, Any]) -> None:
    expected = [name for name in change if name != "seconds"]
    assert differing_fields(RECORD, replace(RECORD, **change)) == expected


def test_without_timings_leaves_out_seconds_and_nothing_else() -> None:
    assert without_timings(RECORD) == without_timings(replace(RECORD, seconds={}))
    assert without_timings(RECORD) != without_timings(replace(RECORD, loss=1.0))
    assert set(json.loads(RECORD.to_line())) - set(without_timings(RECORD)) == {"seconds"}


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="run the suite first"):
        read_records(tmp_path)


def test_finalise_orders_by_suite_and_drops_failures_that_have_finished_since(tmp_path: Path) -> None:
    other = replace(RECORD, trial_id="entropy-r16-s0-def")
    for record in (replace(RECORD, round=1), other, RECORD):
        append_record(tmp_path, record)
    for trial_id in (RECORD.trial_id, other.trial_id):
        record_failure(tmp_path, Failure(trial_id=trial_id, label="x", seed=0, round=1, exception="E", traceback="T"))
    finalise(tmp_path, {other.trial_id: 2, RECORD.trial_id: 2})
    assert [record.key for record in read_records(tmp_path)] == [
        (other.trial_id, 0),
        (RECORD.trial_id, 0),
        (RECORD.trial_id, 1),
    ]
    assert [failure.trial_id for failure in read_failures(tmp_path)] == [other.trial_id]


def test_a_trial_is_complete_with_all_rounds_or_with_an_exhausted_pool() -> None:
    first, second = RECORD, replace(RECORD, round=1)
    assert not is_complete([first], RECORD.trial_id, 2)
    assert is_complete([second, first], RECORD.trial_id, 2)
    assert not is_complete([second], RECORD.trial_id, 2)
    assert is_complete([replace(first, exhausted=True)], RECORD.trial_id, 2)
    assert not is_complete([first], "another", 1)
