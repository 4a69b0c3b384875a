"""Crops: images and labels resampled from the same positions, checked against torch's interpolation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.learning_fakes import label, make_grid, make_set

from quadrat.benchmark.learning.training.augment import cut_windows, resample
from quadrat.benchmark.learning.training.sampler import Draw

IMAGES, MASKS = make_set()
LABELS = label(MASKS, make_grid(MASKS))
GREY = (127, 127, 127)


def crops(draws: list[Draw], crop: int, *, is_unscaled: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    return resample(cut_windows(IMAGES, LABELS, draws, GREY), crop, is_unscaled=is_unscaled)


@pytest.mark.parametrize("is_unscaled", [True, False])
@pytest.mark.parametrize("flip", [True, False])
def test_crop_at_scale_one_is_the_image(flip: bool, is_unscaled: bool) -> None:
    image_BHWx, label_BHW = crops([Draw(0, 7, 20, 32, flip)], 32, is_unscaled=is_unscaled)
    expected_image, expected_label = IMAGES.image(0)[7:39, 20:52], MASKS.mask(0)[7:39, 20:52]
    if flip:
        expected_image, expected_label = expected_image[:, ::-1], expected_label[:, ::-1]
    np.testing.assert_allclose(image_BHWx[0].numpy(), expected_image, atol=0.0 if is_unscaled else 1e-3)
    np.testing.assert_array_equal(label_BHW[0].numpy(), expected_label)


@pytest.mark.parametrize("side", [16, 23, 32, 50])
def test_scaled_crop_is_what_torch_interpolates(side: int) -> None:
    image_BHWx, label_BHW = crops([Draw(0, 0, 5, 40, False), Draw(0, 0, 20, side, False)], 32)
    image = torch.from_numpy(IMAGES.image(0)[:side, 20 : 20 + side].copy()).permute(2, 0, 1)[None].float()
    expected = F.interpolate(image, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(image_BHWx[1].permute(2, 0, 1), expected[0], atol=2e-3, rtol=0)
    mask = torch.from_numpy(MASKS.mask(0)[:side, 20 : 20 + side].copy())[None, None].float()
    nearest = F.interpolate(mask, size=(32, 32), mode="nearest-exact")
    assert torch.equal(label_BHW[1], nearest[0, 0].to(torch.uint8))


def test_outside_the_image_is_mean_colour_and_void() -> None:
    image_BHWx, label_BHW = crops([Draw(1, -10, 30, 32, False)], 32, is_unscaled=True)
    height, width = IMAGES.sizes[1]
    assert (image_BHWx[0, :10] == 127).all() and (label_BHW[0, :10] == 255).all()
    assert (image_BHWx[0, :, width - 30 :] == 127).all() and (label_BHW[0, :, width - 30 :] == 255).all()
    np.testing.assert_array_equal(image_BHWx[0, 10:, : width - 30].numpy(), IMAGES.image(1)[:22, 30:])
    assert height > 22


def test_crop_larger_than_the_image_shows_the_whole_image() -> None:
    image_BHWx, label_BHW = crops([Draw(3, -20, -3, 96, False)], 96, is_unscaled=True)
    np.testing.assert_array_equal(image_BHWx[0, 20:61, 3:93].numpy(), IMAGES.image(3))
    np.testing.assert_array_equal(label_BHW[0, 20:61, 3:93].numpy(), MASKS.mask(3))


def test_image_and_labels_move_together() -> None:
    draws = [Draw(0, 4, 3, 27, True), Draw(3, -5, 40, 50, False), Draw(2, 8, 2, 19, True)]
    image_BHWx, label_BHW = crops(draws, 33)
    # The colour tells the class up to noise and blending at edges, so most pixels must agree.
    from support.learning_fakes import COLOURS

    distance = (image_BHWx[..., None, :] - torch.from_numpy(COLOURS).float()).norm(dim=-1)
    known = label_BHW != 255
    assert (distance.argmin(dim=-1)[known] == label_BHW[known]).float().mean() > 0.9


def test_a_crop_does_not_depend_on_the_rest_of_the_batch() -> None:
    alone = crops([Draw(0, 4, 3, 27, True)], 32)
    together = crops([Draw(0, 4, 3, 27, True), Draw(1, 0, 0, 48, False)], 32)
    torch.testing.assert_close(alone[0][0], together[0][0], atol=2e-3, rtol=0)
    assert torch.equal(alone[1][0], together[1][0])


def test_unlabelled_regions_are_void() -> None:
    grid = make_grid(MASKS)
    windows = cut_windows(IMAGES, label(MASKS, grid, [1]), [Draw(0, 0, 0, 48, False)], GREY)
    known = windows.label_BSS[0] != 255
    assert known[1:12, 12:24].all() and int(known.sum()) == 11 * 12


def test_a_crop_depends_on_its_window_alone_and_not_on_what_memory_held() -> None:
    generator = np.random.default_rng(0)
    for _ in range(100):
        draws = []
        for _ in range(3):
            image, side = int(generator.integers(len(IMAGES))), int(generator.integers(8, 90))
            top, left = (int(generator.integers(1 - side, length)) for length in IMAGES.sizes[image])
            draws.append(Draw(image, top, left, side, bool(generator.integers(2))))
        windows = cut_windows(IMAGES, LABELS, draws, GREY)
        whole = torch.full_like(windows.image_BSSx, 127)
        for buffer, draw in zip(whole.numpy(), draws, strict=True):
            height, width = IMAGES.sizes[draw.image]
            for y in range(max(0, -draw.top), min(draw.side, height - draw.top)):
                first, end = max(0, -draw.left), min(draw.side, width - draw.left)
                buffer[y, first:end] = IMAGES.image(draw.image)[draw.top + y, draw.left + first : draw.left + end]
        found, expected = (
            resample(some, 32, is_unscaled=False)[0] for some in (windows, windows._replace(image_BSSx=whole))
        )
        assert torch.equal(found, expected)
