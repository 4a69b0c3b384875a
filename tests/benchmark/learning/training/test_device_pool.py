"""Windows cut on a device are those cut on the host: the way they are cut must change no number of a fit."""

import numpy as np
import pytest
import torch
from support.learning_fakes import FakeImages, label, make_grid, make_set

from quadrat.benchmark.learning.training import device_pool
from quadrat.benchmark.learning.training.augment import cut_windows, resample
from quadrat.benchmark.learning.training.device_pool import DevicePool, fits
from quadrat.benchmark.learning.training.sampler import Draw, place_uniformly

IMAGES, MASKS = make_set()
GRID = make_grid(MASKS)
COLOUR = (120, 64, 200)
CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", range(8))
def test_windows_are_those_cut_on_the_host(seed: int) -> None:
    generator = np.random.default_rng(seed)
    regions = np.sort(generator.choice(GRID.num_regions, 7, replace=False))
    labels = label(MASKS, GRID, regions.tolist())
    images = np.unique(GRID.image[regions])
    draws = []
    for image in generator.choice(images, 12).tolist():
        side = int(generator.integers(1, 100))  # up to twice the images
        top, left = (place_uniformly(int(length), side, 1, generator) for length in IMAGES.sizes[image])
        draws.append(Draw(image, top, left, side, flip=bool(generator.random() < 0.5)))
    expected = cut_windows(IMAGES, labels, draws, COLOUR)
    windows = DevicePool(IMAGES, labels, COLOUR, CPU).windows(draws)
    assert torch.equal(windows.side_B, expected.side_B)
    assert torch.equal(windows.is_flipped_B, expected.is_flipped_B)
    for number, draw in enumerate(draws):
        read = (number, slice(draw.side + 1), slice(draw.side + 1))  # one more is touched by a resampling
        assert torch.equal(windows.image_BSSx[read], expected.image_BSSx[read])
        assert torch.equal(windows.label_BSS[read], expected.label_BSS[read])
    for found, wanted in zip(
        resample(windows, 33, is_unscaled=False), resample(expected, 33, is_unscaled=False), strict=True
    ):
        assert torch.equal(found, wanted)


def test_a_label_of_an_unlabelled_region_is_void() -> None:
    labels = label(MASKS, GRID, [0])
    box = GRID.box(0)
    windows = DevicePool(IMAGES, labels, COLOUR, CPU).windows([Draw(0, 0, 0, 60, False)])
    is_known = (windows.label_BSS[0] != 255).numpy()
    assert is_known.any()
    is_known[box.top : box.bottom, box.left : box.right] = False
    assert not is_known.any()


def test_it_is_used_where_it_takes_a_small_part_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    images = FakeImages([np.zeros((100, 60, 3), np.uint8), np.zeros((50, 60, 3), np.uint8)], "two")
    masks = type(MASKS)([np.zeros((100, 60), np.uint8), np.zeros((50, 60), np.uint8)])
    only_first = label(masks, make_grid(masks), [0])
    needed = 100 * 60 * (3 + 1) * 32
    monkeypatch.setattr(device_pool, "memory_of", lambda device: needed)
    assert fits(images, only_first, CPU)
    monkeypatch.setattr(device_pool, "memory_of", lambda device: needed - 1)
    assert not fits(images, only_first, CPU)
