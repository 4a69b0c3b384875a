"""Files that people write or that were damaged: never a traceback, and never another value than the file's.

`QUADRAT_FUZZ=10000` sets the number of examples; 200 without it.
"""

import dataclasses
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.records import RECORD

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.config.suite_file import shipped_suites
from quadrat.benchmark.data.loaders.manifest import read_manifest
from quadrat.benchmark.errors import QuadratError
from quadrat.benchmark.results.records import read_records
from quadrat.strategies.selection_file import SelectionFile

pytestmark = pytest.mark.slow

EXAMPLES = settings(
    max_examples=int(os.environ.get("QUADRAT_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize="QUADRAT_FUZZ" not in os.environ,
)

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-3, 3) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["random", "../x", "1e400", "${HOME}", "s3://b", "scenes", "", "\ud800", "null"])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
MANIFEST: dict[str, Any] = {
    "name": "mine",
    "classes": ["sky", "road", "tree"],
    "colours": [[0, 0, 0], [128, 0, 0], [0, 128, 0]],
    "void": [255],
    "splits": {"train": ["a", "b"], "test": "test.txt"},
    "pattern": {"image": "images/{split}/{id}.png", "mask": "masks/{split}/{id}.png"},
    "ids": {"sky": 0, "road": [1, 2], "tree": 3},
    "bits": 12,
    "meta": {"source": "own"},
}


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a tree."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places_in(child, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of a tree with the value at `path` replaced."""
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {name: changed(child, tuple(rest), new) if name == key else child for name, child in value.items()}
    return [changed(child, tuple(rest), new) if place == key else child for place, child in enumerate(value)]


@st.composite
def trees_near(draw: st.DrawFn, value: Any) -> Any:
    """Draw a tree that differs from `value` in one or two places: a value, or a key that is not known."""
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places_in(value)))
        value = changed(value, path, draw(VALUES))
        if isinstance(value, dict) and draw(st.integers(0, 4)) == 0:
            value = {**value, draw(st.text(max_size=6)): draw(VALUES)}
    return value


@st.composite
def bytes_near(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw bytes that differ from `data` in a few places, or are cut off."""
    damaged = bytearray(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)
    for _ in range(draw(st.integers(0, 3)) if damaged else 0):
        damaged[draw(st.integers(0, len(damaged) - 1))] = draw(st.integers(0, 255))
    return bytes(damaged)


def opened(open_it: Callable[[], Any]) -> Any:
    """Return what a reader returns, None where it refuses with a message; anything else it raises is a fault."""
    try:
        return open_it()
    except QuadratError as error:
        assert str(error).strip()
        return None


@EXAMPLES
@given(data=st.data(), name=st.sampled_from(["quickstart", "scenes-study", "camvid"]))
def test_a_suite_is_read_as_written_or_refused(data: st.DataObject, name: str, tmp_path: Path) -> None:
    values = data.draw(trees_near(yaml.safe_load(shipped_suites()[name].read_text(encoding="utf-8"))))
    path = tmp_path / "suite.yaml"
    try:
        text = yaml.safe_dump(values, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
    except (UnicodeEncodeError, yaml.YAMLError):
        path.write_bytes(json.dumps(values).encode())
    suite = opened(lambda: load_suite(path))
    if suite is not None:
        read = json.loads(suite.model_dump_json())
        for key in ("seeds", "region_size", "budgets"):
            if key in values and "extends" not in values and isinstance(values[key], list):
                assert list(read.get(key, values[key])) == values[key]


@EXAMPLES
@given(data=st.data(), name=st.sampled_from(["quickstart", "scenes-study"]))
def test_a_damaged_suite_file_is_read_or_refused(data: st.DataObject, name: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(data.draw(bytes_near(shipped_suites()[name].read_bytes())))
    opened(lambda: load_suite(path))


@EXAMPLES
@given(data=st.data())
def test_a_manifest_is_read_as_written_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    values = data.draw(
        trees_near({key: value for key, value in MANIFEST.items() if key != "colours"}) | trees_near(MANIFEST)
    )
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(values))
    manifest = opened(lambda: read_manifest(path, "folder"))
    if manifest is not None:
        assert list(manifest.classes) == list(map(str, values["classes"]))
        assert manifest.splits == values.get("splits") and manifest.bits == values.get("bits")


@EXAMPLES
@given(data=st.data())
def test_a_record_is_read_as_written_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    record = json.loads(RECORD.to_line())
    del record["checksum"]  # with it every change is refused
    written = data.draw(trees_near(record))
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(written) + "\n")
    records = opened(lambda: read_records(tmp_path))
    if records:
        there = json.loads(json.dumps(dataclasses.asdict(records[0])))
        assert {key: there[key] for key in written} == written


@EXAMPLES
@given(data=st.data())
def test_damaged_records_are_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(data.draw(bytes_near(RECORD.to_line().encode() * 2)))
    opened(lambda: read_records(tmp_path))


SELECTION = SelectionFile(
    regions=np.arange(5)[::-1].copy(), potential=np.linspace(0, 1, 5), image=np.zeros(5, np.int32),
    row=np.arange(5, dtype=np.int32), col=np.zeros(5, np.int32), region_size=8,
)  # fmt: skip


@EXAMPLES
@given(data=st.data())
def test_a_damaged_selection_is_refused_or_the_same(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "round-0.npz"
    path.write_bytes(data.draw(bytes_near(SELECTION.to_bytes())))
    file = opened(lambda: SelectionFile.read(path))
    if file is not None:
        # zip keeps a CRC of every array: a flipped bit can't pass as another selection
        assert file.to_bytes() == SELECTION.to_bytes()


ARRAYS = st.sampled_from(
    [
        np.float64(1.5), np.int64(-1), np.arange(4), np.arange(5.0), np.full(5, np.nan), np.zeros((5, 1), int),
        np.zeros(5, int), np.array(["a"] * 5), np.array([True] * 5), np.array([]), np.int64(0), np.full(5, 1 << 62),
    ]
)  # fmt: skip


@EXAMPLES
@given(name=st.sampled_from([field.name for field in dataclasses.fields(SelectionFile)]), array=ARRAYS)
def test_a_selection_with_another_array_is_refused_or_read_as_written(name: str, array: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **{**dataclasses.asdict(SELECTION), name: array})
    path = tmp_path / "round-0.npz"
    path.write_bytes(buffer.getvalue())
    file = opened(lambda: SelectionFile.read(path))
    if file is not None:
        np.testing.assert_array_equal(getattr(file, name), array)
