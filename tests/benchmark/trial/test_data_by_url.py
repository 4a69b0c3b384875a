"""A data set at a URL: the driver fetches and packs it, other machines fetch the pack; the trials are the same."""

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.layouts import write_cityscapes, write_folder

from quadrat.benchmark.config.candidates import search_dataset, search_suite
from quadrat.benchmark.config.suite import Suite, load_suite
from quadrat.benchmark.errors import DataError, SuiteError
from quadrat.benchmark.storage.local_copy import find_copy
from quadrat.benchmark.storage.remote import Remote, working_folder
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.data import TrialData, check_data_set, list_splits
from quadrat.cluster.runner.engine import benchmark_engine

Machine = Callable[[str], None]


@pytest.fixture(params=["file", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a folder, and of a prefix on S3."""
    if request.param == "file":
        return f"file://{tmp_path}/storage"
    request.getfixturevalue("server")
    return f"s3://results/{tmp_path.name}"


def put(folder: Path, url: str) -> str:
    remote = Remote(url)
    for path in folder.rglob("*"):
        if path.is_file():
            remote.upload(path.relative_to(folder).as_posix(), path)
    return url


def suite_of(write_suite: Callable[..., Path], root: Path | str, **changes: Any) -> Suite:
    dataset = {"name": "folder", "root": str(root), **changes}
    return load_suite(write_suite(dataset=dataset, region_size=8, budgets=[3, 6]))


def prepare(suite: Suite, results: str) -> Path:
    """Do what the driver does before trials run, and return its working folder."""
    here = working_folder(results)
    benchmark_engine(url=results).prepare(suite, here, lambda what, done, total: None)
    Remote(results).upload("suite.json", here / "suite.json")
    return here


def open_worker(suite: Suite, results: str) -> TrialContext:
    runner: Any = benchmark_engine(url=results).open_runner(suite, Path("/the/folder/of/the/driver"))
    (context,) = (cell.cell_contents for cell in runner.__closure__ if isinstance(cell.cell_contents, TrialContext))
    found: TrialContext = context
    return found


def test_one_machine_packs_and_the_others_fetch_the_pack(
    write_suite: Callable[..., Path], machine: Machine, storage: str, tmp_path: Path
) -> None:
    on_disk = write_folder(tmp_path / "camera")
    suite = suite_of(write_suite, put(on_disk, f"{storage}/camera"))
    url, results = str(suite.dataset.url), f"{storage}/results"
    machine("head")
    check_data_set(suite.dataset)
    assert find_copy(url) is None  # not for a check
    head = prepare(suite, results)
    described = json.loads((head / "suite.json").read_text())["dataset"]
    assert described["title"] == "camera"

    machine("node")
    data = open_worker(suite, results).data
    assert find_copy(url) is None and not any(working_folder(url).glob("*"))
    expected = TrialContext.open(suite_of(write_suite, on_disk), tmp_path / "plain").data
    for found, split in ((data.pool, expected.pool), (data.test, expected.test)):
        assert found.fingerprint == split.fingerprint
        assert found.path.is_relative_to(working_folder(results))
        for index in range(len(split)):
            assert np.array_equal(found.images.image(index), split.images.image(index))
            assert np.array_equal(found.masks.mask(index), split.masks.mask(index))
    assert np.array_equal(data.clicks(8), expected.clicks(8)) and find_copy(url) is None
    assert described["pool"]["fingerprint"] == data.pool.fingerprint


def test_workers_that_start_together_on_a_node_fetch_each_file_of_a_pack_once(
    write_suite: Callable[..., Path], machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = suite_of(write_suite, f"file://{write_folder(tmp_path / 'camera')}")
    results = f"file://{tmp_path}/results"
    machine("head")
    prepare(suite, results)
    machine("node")
    fetched: list[str] = []
    download = Remote.download

    def counted(self: Remote, name: str, path: Path) -> bool:
        fetched.append(name)
        return download(self, name, path)

    monkeypatch.setattr(Remote, "download", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: open_worker(suite, results).data.pool.fingerprint, range(4)))
    assert len(set(found)) == 1
    packs = {path.relative_to(tmp_path / "results").as_posix() for path in (tmp_path / "results/packs").rglob("*.*")}
    assert sorted(fetched) == sorted(packs) and len(packs) > 2


def test_the_split_of_a_search_comes_with_the_pack(
    write_suite: Callable[..., Path], machine: Machine, storage: str, tmp_path: Path
) -> None:
    on_disk = write_folder(tmp_path / "camera", splits={"train": "abc", "test": "de", "val": "fg"})
    root, results = put(on_disk, f"{storage}/camera"), f"{storage}/results"
    study = {"strategy": "entropy-spatial", "candidates": 1, "search_seeds": [7], "test": "val"}

    def suite_at(root: Path | str) -> Suite:
        dataset = {"name": "folder", "root": str(root)}
        return load_suite(write_suite(dataset=dataset, region_size=8, budgets=[3, 6], study=study))

    suite = suite_at(root)
    machine("head")
    prepare(suite, results)
    machine("node")
    searched = open_worker(search_suite(suite, suite.strategies[0]), results).data
    reported = open_worker(suite, results).data
    assert find_copy(root) is None and not any(working_folder(root).glob("*"))
    expected = TrialData.open(search_dataset(suite_at(on_disk)), tmp_path / "plain")
    assert searched.test.split == "val" and searched.test.fingerprint == expected.test.fingerprint
    assert reported.test.split == "test" and reported.test.fingerprint != searched.test.fingerprint
    assert searched.pool.fingerprint == reported.pool.fingerprint == expected.pool.fingerprint


def test_clicks_from_polygons_come_with_the_pack(
    write_suite: Callable[..., Path], machine: Machine, tmp_path: Path
) -> None:
    root = write_cityscapes(tmp_path / "cities")
    suite = suite_of(write_suite, f"file://{root}", name="cityscapes", pool="train", test="val")
    results = f"file://{tmp_path}/results"
    machine("head")
    prepare(suite, results)
    machine("node")
    data = open_worker(suite, results).data
    expected = TrialContext.open(
        suite_of(write_suite, root, name="cityscapes", pool="train", test="val"), tmp_path / "plain"
    ).data
    assert np.array_equal(data.clicks(8), expected.clicks(8)) and find_copy(str(suite.dataset.url)) is None
    # Of a region size that the driver did not count, the polygons are needed.
    assert np.array_equal(data.clicks(16), expected.clicks(16)) and find_copy(str(suite.dataset.url)) is not None


def test_clicks_of_the_region_sizes_of_a_search_come_with_the_pack(
    write_suite: Callable[..., Path], machine: Machine, tmp_path: Path
) -> None:
    root, results = write_cityscapes(tmp_path / "cities"), f"file://{tmp_path}/results"
    dataset = {"name": "cityscapes", "root": f"file://{root}", "pool": "train", "test": "val"}
    study = {
        "strategy": "entropy-spatial", "candidates": 1, "search_seeds": [7], "space": {"region_size": [8, 16]},
    }  # fmt: skip
    suite = load_suite(write_suite(dataset=dataset, region_size=8, budgets=[3, 6], study=study))
    machine("head")
    prepare(suite, results)
    machine("node")
    data = open_worker(suite, results).data
    expected = TrialData.open(suite.dataset.model_copy(update={"root": root}), tmp_path / "plain")
    for region_size in (8, 16):
        assert np.array_equal(data.clicks(region_size), expected.clicks(region_size))
    assert find_copy(str(suite.dataset.url)) is None


@pytest.mark.parametrize("fault", ["gone", "damaged"])
def test_a_node_that_finds_no_pack_makes_it_of_the_data_set(
    write_suite: Callable[..., Path], machine: Machine, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    suite = suite_of(write_suite, f"file://{write_folder(tmp_path / 'camera')}")
    results = f"file://{tmp_path}/results"
    machine("head")
    head = prepare(suite, results)
    described = json.loads((head / "suite.json").read_text())["dataset"]
    pack = tmp_path / "results" / "packs" / described["test"]["fingerprint"]
    if fault == "gone":
        shutil.rmtree(pack)
    else:
        (pack / "masks.bin").write_bytes(b"\0" * (pack / "masks.bin").stat().st_size)
    machine("node")
    data = open_worker(suite, results).data
    assert data.test.fingerprint == described["test"]["fingerprint"]
    assert find_copy(str(suite.dataset.url)) is not None
    assert ("is damaged" in caplog.text) == (fault == "damaged")


@pytest.mark.parametrize("is_url", [True, False])
def test_a_node_with_other_images_than_the_driver_is_refused(
    write_suite: Callable[..., Path], machine: Machine, tmp_path: Path, is_url: bool
) -> None:
    root = write_folder(tmp_path / "camera")
    suite = suite_of(write_suite, f"file://{root}" if is_url else root)
    results = f"file://{tmp_path}/results"
    machine("head")
    prepare(suite, results)
    if is_url:
        shutil.rmtree(tmp_path / "results" / "packs")
    shutil.copy(root / "images" / "train" / "b.jpg", root / "images" / "train" / "a.jpg")
    machine("node")
    with pytest.raises(DataError, match=r"train of folder has other images or masks here \(fingerprint [0-9a-f]{12}\)"):
        open_worker(suite, results)


def test_where_the_bytes_come_from_changes_no_trial(write_suite: Callable[..., Path], tmp_path: Path) -> None:
    by_path = suite_of(write_suite, tmp_path / "camera")
    by_url = suite_of(write_suite, "s3://bucket/camera")
    assert by_url.dataset.root == by_url.dataset.url == "s3://bucket/camera" and by_path.dataset.url is None
    assert [spec.trial_id for spec in by_url.trials()] == [spec.trial_id for spec in by_path.trials()]
    for suite in (by_url, by_path):  # suite.json, and what `submit` sends
        assert Suite.model_validate_json(suite.model_dump_json()).dataset == suite.dataset


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("sftp://me:secret@host/data", "dataset.root: expected a URL without a password"),
        (5, "dataset.root: expected a folder, or a URL such as s3://bucket/folder, got 5"),
    ],
)
def test_a_root_that_is_none_is_refused(write_suite: Callable[..., Path], root: object, expected: str) -> None:
    with pytest.raises(SuiteError, match=re.escape(expected)) as caught:
        load_suite(write_suite(dataset={"name": "folder", "root": root}))
    assert "\n" not in str(caught.value)


def test_what_does_not_run_does_not_fetch(write_suite: Callable[..., Path], machine: Machine, tmp_path: Path) -> None:
    machine("laptop")
    suite = suite_of(write_suite, f"file://{write_folder(tmp_path / 'camera')}")
    with pytest.raises(DataError, match=r"is at file://.*camera and not on this machine: a run,"):
        list_splits(suite.dataset)


def test_a_parameter_of_a_data_set_at_a_url_is_checked_before_it_is_fetched(
    write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    suite = suite_of(write_suite, f"file://{tmp_path}", params={"clases": 3})
    with pytest.raises(DataError, match="no parameter 'clases'"):
        check_data_set(suite.dataset)
