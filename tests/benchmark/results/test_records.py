"""Records: one line per round, complete or absent, in suite order when a suite is complete."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.paths import GOLDEN, ROOT
from support.records import RECORD

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.results.failures import Failure, read_failures, record_failure
from quadrat.benchmark.results.records import (
    OLDEST_SCHEMA,
    SCHEMA,
    Record,
    append_record,
    differing_fields,
    finalise,
    is_complete,
    read_records,
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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_file_as_it_was_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    append_record(tmp_path, RECORD)

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
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


@pytest.mark.parametrize("schema", [OLDEST_SCHEMA - 1, SCHEMA + 1])
def test_another_schema_is_refused(tmp_path: Path, schema: int) -> None:
    values = {**json.loads(RECORD.to_line()), "schema": schema}
    del values["checksum"]
    (tmp_path / "records.jsonl").write_text(json.dumps(values) + "\n", encoding="utf-8")
    with pytest.raises(ResultsError, match=f"expected schema {OLDEST_SCHEMA} to {SCHEMA}, got {schema}"):
        read_records(tmp_path)


def schema_2(round_: int, *iou: float | None) -> str:
    """Return a line of schema 2: its mIoU is the mean over all classes of masks or prediction."""
    values = json.loads((GOLDEN / "record-schema-2" / "records.jsonl").read_text(encoding="utf-8"))
    there = [value for value in iou if value is not None]
    changes = {"round": round_, "iou": iou, "miou": float(np.mean(there)), "class_px": [500] * len(iou)}
    return json.dumps({**values, **changes}) + "\n"


def read(folder: Path, *lines: str) -> list[Record]:
    (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
    return read_records(folder)


def test_a_record_of_schema_2_is_read_with_what_its_fields_imply() -> None:
    (record,) = read_records(GOLDEN / "record-schema-2")
    assert record == replace(RECORD, void_regions=None)
    assert record.void_px == 2560 - 2400


def test_a_class_that_the_test_set_lacks_leaves_the_mean_of_records_of_schema_2(tmp_path: Path) -> None:
    """Class 2 is absent in round 0, so no mask holds it: its IoU of 0 in round 1 is one pixel that was predicted."""
    absent, predicted = read(tmp_path, schema_2(0, 0.6, 0.8, None), schema_2(1, 0.7, 0.9, 0.0))
    assert absent.miou == pytest.approx(0.7) and absent.test_classes == 2
    assert predicted.miou == pytest.approx(0.8) and predicted.iou == (0.7, 0.9, None) and predicted.test_classes == 2
    assert {absent.schema, predicted.schema} == {SCHEMA}


def test_a_class_with_an_iou_anywhere_is_in_the_mean_of_every_record(tmp_path: Path) -> None:
    never, found = read(tmp_path, schema_2(0, 0.6, 0.0), schema_2(1, 0.7, 0.1))
    assert never.miou == 0.3 and never.iou == (0.6, 0.0) and never.test_classes == found.test_classes == 2


def test_records_of_schema_2_that_do_not_tell_keep_their_meaning_and_are_not_mixed(tmp_path: Path) -> None:
    """Class 1 has an IoU of 0 everywhere: never found, or not in the masks and predicted in every round."""
    line = schema_2(0, 0.6, 0.0)
    (alone,) = read(tmp_path, line)
    assert (alone.schema, alone.test_classes, alone.miou) == (2, None, 0.3)
    assert json.loads(alone.to_line()) == json.loads(line), "rewritten as it was"
    lacks = replace(RECORD, round=1, iou=(0.7, None), miou=0.7, test_classes=1)
    assert [record.miou for record in read(tmp_path, line, lacks.to_line())] == [0.6, 0.7]
    holds = replace(RECORD, round=1, iou=(0.7, 0.1), miou=0.4, test_classes=2)
    assert [record.miou for record in read(tmp_path, line, holds.to_line())] == [0.3, 0.4]


def test_a_record_of_schema_2_is_compared_by_the_classes_of_the_other_one(tmp_path: Path) -> None:
    (old,) = read(tmp_path, schema_2(0, 0.6, 0.0))
    new = replace(old, schema=SCHEMA, iou=(0.6, None), miou=0.6, test_classes=1, void_regions=3)
    assert differing_fields(old, new) == differing_fields(new, old) == []
    assert differing_fields(old, replace(new, miou=0.5)) == ["miou"]


@pytest.mark.parametrize("folder", sorted(path.parent for path in (ROOT / "results").glob("*/records.jsonl")))
def test_the_mean_of_committed_results_is_over_all_classes_in_both_definitions(folder: Path) -> None:
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    recorded = [json.loads(line)["miou"] for line in lines]
    records = read_records(folder)
    assert [record.miou for record in records] == recorded
    assert {record.test_classes for record in records} == {len(records[0].iou)}


def test_a_record_is_written_to_the_golden_bytes_and_read_from_them() -> None:
    assert (GOLDEN / "record" / "records.jsonl").read_text(encoding="utf-8") == RECORD.to_line()
    assert read_records(GOLDEN / "record") == read_records(GOLDEN / "record-without-checksum") == [RECORD]


def test_no_flipped_bit_of_a_line_goes_unnoticed(tmp_path: Path) -> None:
    line = RECORD.to_line().encode()
    path = tmp_path / "records.jsonl"
    for place in range(len(line) - 1):  # without its newline the line was never reported as written
        path.write_bytes(line[:place] + bytes([line[place] ^ 1 << place % 8]) + line[place + 1 :])
        with pytest.raises(ResultsError):
            read_records(tmp_path)
    path.write_bytes(line.replace(b'"miou": 0.', b'"miou": 1.'))
    with pytest.raises(ResultsError, match=r"records\.jsonl:1: the line has another content than was written"):
        read_records(tmp_path)


def test_a_file_of_another_path_and_the_same_content_makes_no_other_record() -> None:
    moved = replace(RECORD, params={"folder": "/elsewhere"}, recipe="0123456789abcdef")
    assert differing_fields(RECORD, moved) == []
    assert differing_fields(RECORD, replace(moved, trial_id="other")) == ["trial_id", "params", "recipe"]


def test_a_strategy_or_a_suite_of_another_name_makes_no_other_record() -> None:
    renamed = replace(RECORD, label="renamed", suite="renamed")
    assert differing_fields(RECORD, renamed) == []
    assert differing_fields(RECORD, replace(renamed, loss=9.0)) == ["loss"]


@pytest.mark.parametrize("change", [{"clicks": 58}, {"class_px": (2000, 401)}, {"loss": 1.0}, {"seconds": {}}])
def test_records_differ_in_every_field_but_seconds(change: dict[str, Any]) -> None:
    expected = [name for name in change if name != "seconds"]
    assert differing_fields(RECORD, replace(RECORD, **change)) == expected


def test_without_timings_leaves_out_seconds_and_nothing_else() -> None:
    assert without_timings(RECORD) == without_timings(replace(RECORD, seconds={}, ended_at=1.5, usage={"cpu_s": 1.0}))
    assert without_timings(RECORD) != without_timings(replace(RECORD, loss=1.0))
    timed = replace(RECORD, ended_at=1.5, usage={"cpu_s": 1.0})
    assert set(json.loads(timed.to_line())) - set(without_timings(timed)) == {
        "seconds",
        "ended_at",
        "usage",
        "checksum",
    }


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="run the suite first"):
        read_records(tmp_path)


def test_finalise_keeps_the_lines_as_they_were_written(tmp_path: Path) -> None:
    records = [replace(RECORD, round=round_, miou=0.1 + 0.2 * round_) for round_ in (2, 0, 1)]
    for record in (*records, replace(records[0], loss=9.0)):  # the first line of a round counts
        append_record(tmp_path, record)
    finalise(tmp_path, {RECORD.trial_id: 3})
    expected = "".join(record.to_line() for record in sorted(records, key=lambda record: record.round))
    assert (tmp_path / "records.jsonl").read_text() == expected


def test_finalise_orders_by_suite_and_drops_failures_that_have_finished_since(tmp_path: Path) -> None:
    other = replace(RECORD, trial_id="entropy-r16-s0-def")
    for record in (replace(RECORD, round=1), other, RECORD):
        append_record(tmp_path, record)
    unlisted = "bald-r16-s0-0af"  # of an earlier run with other strategies; its first round is recorded
    append_record(tmp_path, replace(RECORD, trial_id=unlisted))
    for trial_id in (RECORD.trial_id, other.trial_id, unlisted):
        record_failure(tmp_path, Failure(trial_id=trial_id, label="x", seed=0, round=1, exception="E", traceback="T"))
    finalise(tmp_path, {other.trial_id: 2, RECORD.trial_id: 2})
    assert [record.key for record in read_records(tmp_path)] == [
        (other.trial_id, 0),
        (RECORD.trial_id, 0),
        (RECORD.trial_id, 1),
        (unlisted, 0),
    ]
    assert [failure.trial_id for failure in read_failures(tmp_path)] == [other.trial_id, unlisted]


def test_a_trial_is_complete_with_all_rounds_or_with_an_exhausted_pool() -> None:
    first, second = RECORD, replace(RECORD, round=1)
    assert not is_complete([first], RECORD.trial_id, 2)
    assert is_complete([second, first], RECORD.trial_id, 2)
    assert not is_complete([second], RECORD.trial_id, 2)
    assert is_complete([replace(first, exhausted=True)], RECORD.trial_id, 2)
    assert not is_complete([first], "another", 1)


def test_a_line_names_the_label_type_only_where_it_is_not_precise(tmp_path: Path) -> None:
    assert {"labels", "label_accuracy", "fits", "ended_at", "usage"}.isdisjoint(json.loads(RECORD.to_line()))
    other = replace(RECORD, labels="dominant", label_accuracy=0.875)
    assert {"labels", "label_accuracy"} <= set(json.loads(other.to_line()))
    for record in (RECORD, other, replace(RECORD, round=1, labels="multi-class", fits=5)):
        path = tmp_path / f"{record.labels}"
        append_record(path, record)
        assert read_records(path) == [record]
