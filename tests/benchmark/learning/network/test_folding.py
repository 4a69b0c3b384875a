"""BatchNorm folded into convolutions: the same network up to rounding."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import label, make_grid, make_learner, make_set, tiny_recipe
from torch import nn

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.folding import fold_batchnorm

POOL, POOL_MASKS = make_set(seed=0)
TEST, TEST_MASKS = make_set(seed=1)
GRID = make_grid(POOL_MASKS)


@pytest.mark.parametrize("frozen", [False, True])
def test_folded_scores_are_equal_up_to_rounding(tmp_path: Path, frozen: bool) -> None:
    found, fitted = [], None
    for folded in (False, True):
        recipe = tiny_recipe(iterations=8, frozen=frozen, fold_batchnorm=folded)
        learner = make_learner(recipe, tmp_path, train=POOL, test=TEST)
        fitted = fitted or learner.fit(label(POOL_MASKS, GRID), seed=0, round=0)
        scores = learner.score(fitted, GRID, signals=["entropy", "bald"], features=True, seed=0, round=0)
        found.append((scores, learner.evaluate(fitted, TEST_MASKS)))
    (unfolded, confusion), (folded, confusion_folded) = found
    np.testing.assert_allclose(folded.signals["entropy"], unfolded.signals["entropy"], atol=1e-4)
    np.testing.assert_allclose(folded.signals["bald"], unfolded.signals["bald"], atol=1e-4)
    np.testing.assert_allclose(folded.features, unfolded.features, atol=1e-3)
    assert np.abs(confusion - confusion_folded).sum() <= 0.001 * confusion.sum()


def test_every_batchnorm_after_a_convolution_is_folded() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))
    network(torch.randn(8, 3, 9, 9))  # running statistics that are not 0 and 1
    network.eval()
    image = torch.randn(1, 3, 9, 9)
    expected = network(image)
    assert fold_batchnorm(network, image) == 2
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(network(image), expected)


def test_a_convolution_whose_output_is_used_twice_is_not_folded_silently() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raw = self.convolution(image)
            return raw + self.norm(raw)

    torch.manual_seed(0)
    network = Twice()
    network(5 + torch.randn(8, 3, 9, 9))
    with pytest.raises(TrainingError, match=r"set learner\.fold_batchnorm to false"):
        fold_batchnorm(network.eval(), torch.randn(1, 3, 9, 9))
