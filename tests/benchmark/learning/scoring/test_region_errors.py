"""The true error of every region: void left out, exact for clipped regions."""

import numpy as np
import pytest
import torch
from support.learning_fakes import NUM_CLASSES, make_grid, make_set

from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.predict import Prediction
from quadrat.benchmark.learning.scoring.region_errors import region_errors

IMAGES, MASKS = make_set()


def predict(indices: list[int]) -> Prediction:
    height, width = (-(-int(side) // 16) * 4 for side in IMAGES.sizes[indices[0]])
    drawn = [torch.randn(NUM_CLASSES, height, width, generator=torch.Generator().manual_seed(i)) for i in indices]
    return Prediction(features_BDhw=torch.zeros(len(indices), 2, height, width), logits_BChw=torch.stack(drawn))


@pytest.mark.parametrize("region_size", [5, 12, 40])
def test_it_is_the_share_of_wrong_pixels_among_those_that_are_not_void(region_size: int) -> None:
    grid = make_grid(MASKS, region_size)
    told: list[tuple[int, int]] = []
    errors = region_errors(
        predict, grid, MASKS, device=torch.device("cpu"), on_image=lambda done, total: told.append((done, total))
    )
    assert errors.dtype == np.float32 and told[-1] == (len(MASKS), len(MASKS))
    for region in range(grid.num_regions):
        image, box = int(grid.image[region]), grid.box(region)
        inside = np.s_[box.top : box.bottom, box.left : box.right]
        truth = MASKS.mask(image)[inside]
        predicted = upsample(predict([image]).logits_BChw, 4)[0].argmax(dim=0).numpy()[inside]
        known = truth != 255
        expected = (predicted[known] != truth[known]).mean() if known.any() else 0.0
        assert errors[region] == pytest.approx(expected, abs=1e-5)
