"""Means over regions of any shape: those over their pixels; those of the grid where regions are squares."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.region_maps import Drawn, ragged, scenes

from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.data.shapes import load_kind, pack_regions
from quadrat.benchmark.learning.scoring.pooling import RegionPooling, pooling
from quadrat.benchmark.learning.scoring.shape_pooling import ShapePooling, shared_pixels

CPU = torch.device("cpu")


@pytest.mark.parametrize("stride", [1, 4])
def test_means_are_those_over_the_pixels_of_a_region(tmp_path: Path, stride: int) -> None:
    layout = pack_regions(scenes(tmp_path, height=50, width=70, num_train=3), Drawn(draw=ragged), 12)
    pool = pooling(layout, CPU)
    assert isinstance(pool, ShapePooling)
    generator = np.random.default_rng(0)
    cells = tuple(-(-side // 16) * 16 // stride for side in (50, 70))  # padded to a multiple of 16
    maps_Byxd = generator.normal(size=(2, *cells, 3)).astype(np.float32)
    means = pool(torch.from_numpy(maps_Byxd), [1, 2], stride).numpy()
    pixels = maps_Byxd.repeat(stride, axis=1).repeat(stride, axis=2).astype(np.float64)[:, :50, :70]
    first, last = int(layout.first[1]), int(layout.first[3])
    assert means.shape == (last - first, 3)
    for region in range(first, last):
        image = int(layout.image[region])
        expected = pixels[image - 1][layout.window(image, 0, 0, 50, 70) == region].mean(axis=0)
        np.testing.assert_allclose(means[region - first], expected, atol=2e-6)


@pytest.mark.parametrize("stride", [1, 4])
def test_squares_have_the_means_of_the_grid(tmp_path: Path, stride: int) -> None:
    split = scenes(tmp_path, height=50, width=70, num_train=2)
    grid, squares = RegionGrid(split.sizes, 12), pack_regions(split, load_kind("grid"), 12)
    maps_Byxd = torch.randn(2, 64 // stride, 80 // stride, 5, generator=torch.Generator().manual_seed(0))
    expected = RegionPooling(grid, CPU)(maps_Byxd, [0, 1], stride)
    torch.testing.assert_close(ShapePooling(squares, CPU)(maps_Byxd, [0, 1], stride), expected, atol=1e-6, rtol=1e-5)


def test_shared_pixels_count_each_pixel_of_a_region_once() -> None:
    region = np.random.default_rng(0).integers(-1, 4, size=(19, 23))
    weights = shared_pixels(region, stride=4, num_columns=8)
    np.testing.assert_array_equal(np.bincount(weights.region, weights.pixels), np.bincount(region[region >= 0]))
    y, x = np.indices(region.shape)
    cell = y // 4 * 8 + x // 4
    for one, place, count in zip(*weights, strict=True):
        assert count == ((region == one) & (cell == place)).sum() > 0
    assert (np.diff(weights.region * 1000 + weights.cell) > 0).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN: no CUDA device here, needs one NVIDIA GPU")
@pytest.mark.parametrize("stride", [1, 4])
def test_a_gpu_has_the_means_of_a_cpu_and_the_same_bits_each_time(tmp_path: Path, stride: int) -> None:
    layout = pack_regions(scenes(tmp_path, height=96, width=192), Drawn(draw=ragged), 12)
    maps_Byxd = torch.randn(4, 96 // stride, 192 // stride, 32, generator=torch.Generator().manual_seed(0))
    expected = ShapePooling(layout, CPU)(maps_Byxd, range(4), stride)
    device = torch.device("cuda")
    found = [ShapePooling(layout, device)(maps_Byxd.to(device), range(4), stride).cpu() for _ in range(3)]
    torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=1e-5)
    assert all(torch.equal(found[0], again) for again in found)
