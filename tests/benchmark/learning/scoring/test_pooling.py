"""Means over regions: exact for clipped regions and for cells that regions share."""

import numpy as np
import pytest
import torch

from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.learning.scoring.pooling import RegionPooling, overlap, region_means


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("region_size", [1, 5, 12, 16, 40])
def test_region_means_equal_the_mean_over_pixels(region_size: int, stride: int) -> None:
    sizes = [(50, 70), (41, 90)] if region_size > 1 else [(13, 18)]  # every pixel a region
    grid = RegionGrid(sizes, region_size)
    pooling = RegionPooling(grid, torch.device("cpu"))
    generator = np.random.default_rng(0)
    for image, (height, width) in enumerate(sizes):
        # The map covers the image padded to a multiple of 16, as the decoder's does.
        cells = tuple(-(-side // 16) * 16 // stride for side in (height, width))
        map_yxd = generator.normal(size=(*cells, 3)).astype(np.float32)
        means = pooling(torch.from_numpy(map_yxd)[None], [image], stride).numpy()
        pixels = map_yxd.repeat(stride, axis=0).repeat(stride, axis=1).astype(np.float64)
        for offset, region in enumerate(range(int(grid.first[image]), int(grid.first[image + 1]))):
            box = grid.box(region)
            expected = pixels[box.top : box.bottom, box.left : box.right].mean(axis=(0, 1))
            np.testing.assert_allclose(means[offset], expected, atol=1e-5)


def test_weights_of_a_region_sum_to_one_and_padding_has_none() -> None:
    share = overlap(length=50, region_size=12, stride=4, num_cells=16)
    assert share.shape == (5, 16)
    np.testing.assert_allclose(share.sum(axis=1), 1.0)
    assert (share[:, 13:] == 0).all() and share[-1, 12] == pytest.approx(1.0)


def test_constant_map_has_the_constant_everywhere() -> None:
    rows, columns = (torch.from_numpy(overlap(side, 7, 4, 16)).float() for side in (45, 62))
    means = region_means(torch.full((2, 16, 16, 3), 2.5), rows, columns)
    torch.testing.assert_close(means, torch.full((2, 7, 9, 3), 2.5))
