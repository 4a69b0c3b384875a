"""Arrays with one entry per region: which regions are wholly void, against a search pixel by pixel."""

import logging
from pathlib import Path

import numpy as np
import pytest
from support.layouts import save, write_folder

from quadrat.benchmark.data import VOID, RegionGrid, load_dataset, pack
from quadrat.benchmark.data.region_arrays import void_regions


@pytest.mark.parametrize("region_size", [1, 3, 7, 20])
def test_void_regions_are_those_without_a_labelled_pixel(
    region_size: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_folder(tmp_path / "root")
    generator = np.random.default_rng(0)
    for name in "abc":
        mask = np.full((20, 30), VOID, dtype=np.uint8)
        mask[5 : 5 + region_size, 8:] = generator.choice([0, 1, 2, VOID], size=(region_size, 22))[: len(mask) - 5]
        mask[generator.random((20, 30)) < 0.01] = 1
        save(root / "masks" / "train" / f"{name}.png", mask)
    split = pack(load_dataset("folder", root), "train", tmp_path)
    grid = RegionGrid(split.sizes, region_size)
    found = void_regions(split, grid)
    for region in range(grid.num_regions):
        top, left, bottom, right = grid.box(region)
        cell = split.masks.mask(int(grid.image[region]))[top:bottom, left:right]
        assert found[region] == (cell == VOID).all()
    assert 0 < found.sum() < grid.num_regions or region_size == 20
    (cache,) = split.path.glob("void-*.npz")
    cache.write_bytes(cache.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(void_regions(split, grid), found)
    assert "is damaged: the void regions are counted again" in caplog.text
