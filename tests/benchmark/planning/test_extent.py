"""Size of a suite's data: packed, counted, of one image, or as published."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.fake_trials import make_suite
from support.layouts import write_folder

from quadrat.benchmark.config.suite import Suite, load_suite
from quadrat.benchmark.config.trial import RegionsSpec
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.planning.extent import data_extent
from quadrat.benchmark.trial.context import TrialContext


def test_data_that_is_not_there_is_as_large_as_it_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUADRAT_DATA", raising=False)
    extent = data_extent(load_suite("cityscapes-paper"), tmp_path)
    assert (extent.num_pool, extent.num_test, extent.num_classes) == (2975, 500, 19)
    assert extent.num_regions(128) == 380_800
    assert extent.source.startswith("as published; data set 'cityscapes' is read from disk and its folder is not known")


def test_data_of_unknown_size_is_an_error(tmp_path: Path) -> None:
    suite = load_suite("cityscapes-paper", ["dataset.name=folder", f"dataset.root={tmp_path}"])
    with pytest.raises(DataError):
        data_extent(suite, tmp_path)


def test_data_that_is_not_packed_is_as_large_as_its_first_image(tmp_path: Path) -> None:
    suite = load_suite("quickstart")
    extent = data_extent(suite, tmp_path)
    assert (extent.num_pool, extent.num_test) == (120, 48)
    assert extent.packed_bytes == 4 * 168 * extent.height * extent.width


def suite_of_several_sizes(root: Path) -> Suite:
    """Return a suite on three pool images, of which the first is smaller than the others, and one test image."""
    write_folder(root, splits={"train": ("b", "c"), "test": ("d",)}, height=33, width=40)
    write_folder(root, splits={"train": ("a",)}, height=16, width=48)
    return make_suite(dataset={"name": "folder", "root": str(root)}, region_size=[16, 8], budgets=[2, 4])


SCENES = {"name": "scenes", "params": {"num_train": 8, "num_test": 3, "height": 48, "width": 64}}
PACKED_PX = 16 * 48 + 2 * 33 * 40
REGIONS = {16: 3 + 2 * 3 * 3, 8: 2 * 6 + 2 * 5 * 5}


def test_packed_images_are_counted_exactly_whatever_their_sizes(tmp_path: Path) -> None:
    suite, results_dir = suite_of_several_sizes(tmp_path / "data"), tmp_path / "results"
    TrialContext.open(suite, results_dir).prepare_results()
    extent = data_extent(suite, results_dir)
    assert (extent.num_pool, extent.num_test, extent.pool_px) == (3, 1, PACKED_PX)
    assert {size: extent.num_regions(size) for size in REGIONS} == REGIONS
    assert (extent.height, extent.width) == (33, 40), "the commonest size, not the first one's"
    packed = [path.stat().st_size for path in results_dir.rglob("*.bin")]
    assert extent.packed_bytes == sum(packed)


def test_the_counts_outlive_the_packed_images(tmp_path: Path) -> None:
    suite, results_dir = suite_of_several_sizes(tmp_path / "data"), tmp_path / "results"
    TrialContext.open(suite, results_dir).prepare_results()
    shutil.rmtree(results_dir / "cache")
    extent = data_extent(suite, results_dir)
    assert (extent.pool_px, extent.num_regions(16), extent.num_regions(8)) == (PACKED_PX, REGIONS[16], REGIONS[8])
    assert (extent.height, extent.width, extent.source) == (16, 48, "the first image's size")
    shutil.rmtree(tmp_path / "data")
    extent = data_extent(suite, results_dir)
    assert (extent.pool_px, extent.num_regions(16)) == (PACKED_PX, REGIONS[16])
    assert extent.height * extent.width == pytest.approx(PACKED_PX / 3, rel=0.05)
    assert extent.source.startswith("mean area, taken to be 4:3")


def test_the_regions_of_a_map_are_estimated_until_the_images_are_cut_and_counted_then(tmp_path: Path) -> None:
    results_dir, slic = tmp_path / "results", RegionsSpec(name="slic")
    suite = make_suite(regions="slic", region_size=16, budgets=[2, 4], dataset=SCENES)
    before = data_extent(suite, results_dir)
    assert (before.num_regions(16, slic), before.is_counted(16, slic)) == (round(8 * 48 * 64 / 256), False)
    context = TrialContext.open(suite, results_dir)
    context.prepare_results()
    layout = context.data.layout(16, slic)
    counted = sum(len(np.unique(layout.window(image, 0, 0, 48, 64))) for image in range(8))
    for _ in ("packed", "counts alone"):
        extent = data_extent(suite, results_dir)
        assert (extent.num_regions(16, slic), extent.is_counted(16, slic)) == (counted, True)
        assert not extent.is_counted(16, RegionsSpec(name="slic", params={"compactness": 30}))
        shutil.rmtree(results_dir / "cache", ignore_errors=True)


def test_results_of_other_data_say_nothing_of_a_suites_data(tmp_path: Path) -> None:
    suite, results_dir = suite_of_several_sizes(tmp_path / "data"), tmp_path / "results"
    TrialContext.open(suite, results_dir).prepare_results()
    extent = data_extent(load_suite("quickstart"), results_dir)
    assert (extent.num_pool, extent.exact) == (120, None)
