"""The signal predicted-clicks: the oracle's own count, of the prediction."""

import numpy as np
import pytest
import torch
from support.learning_fakes import NUM_CLASSES, make_grid, make_set

from quadrat.benchmark.data.clicks import contour_vertices, count_clicks
from quadrat.benchmark.learning.scoring.click_signal import predicted_clicks
from quadrat.benchmark.learning.scoring.predict import Prediction
from quadrat.benchmark.learning.scoring.score import score_regions
from quadrat.benchmark.learning.scoring.signals import Outputs, Signal, load_signals

IMAGES, MASKS = make_set()


def logits_of(mask: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(mask).long(), 8).permute(2, 0, 1)[None].float()


def test_a_square_by_hand() -> None:
    mask = np.zeros((8, 16), dtype=np.uint8)
    mask[2:6, 2:6] = 1
    assert predicted_clicks.per_region is not None
    clicks = predicted_clicks.per_region(Outputs(logits_BCHW=logits_of(mask)), 8)
    assert clicks.tolist() == [[[6.0, 1.0]]]


@pytest.mark.parametrize("region_size", [12, 40])
def test_the_scoring_pass_gives_every_region_the_oracles_count_of_the_prediction(region_size: int) -> None:
    def predict(indices: list[int]) -> Prediction:
        height, width = (-(-int(side) // 16) * 4 for side in IMAGES.sizes[indices[0]])
        drawn = [torch.randn(NUM_CLASSES, height, width, generator=torch.Generator().manual_seed(i)) for i in indices]
        return Prediction(features_BDhw=torch.zeros(len(indices), 2, height, width), logits_BChw=torch.stack(drawn))

    grid = make_grid(MASKS, region_size)
    seen: dict[int, np.ndarray] = {}

    def keep(outputs: Outputs) -> torch.Tensor:
        seen[len(seen)] = outputs.predicted_BHW[0].to(torch.uint8).numpy()
        return outputs.predicted_BHW.float()

    signals = {**load_signals(["predicted-clicks"]), "keep": Signal(per_pixel=keep)}
    scores = score_regions(predict, grid, signals, with_features=False, device=torch.device("cpu"))
    expected = [count_clicks(mask, region_size, contour_vertices(mask)) for _, mask in sorted(seen.items())]
    np.testing.assert_array_equal(scores.signals["predicted-clicks"], np.concatenate(expected))
    assert scores.signals["predicted-clicks"].min() >= 1


def test_a_signal_is_either_per_pixel_or_per_region() -> None:
    with pytest.raises(ValueError, match="either per_pixel or per_region"):
        Signal()
