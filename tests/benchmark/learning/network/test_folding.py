from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import NUM_CLASSES, label, make_grid, make_set, tiny_recipe
from torch import nn

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning import Learner
from quadrat.benchmark.learning.network.folding import fold_batchnorm

POOL, POOL_MASKS = make_set(seed=0)
TEST, TEST_MASKS = make_set(seed=1)
GRID = make_grid(POOL_MASKS)


@pytest.mark.parametrize("frozen", [False, True])
def test_folded_scores_are_equal_up_to_rounding(tmp_path: Path, frozen: bool) -> None:
    found = []
    for folded in (False, True):
        recipe = tiny_recipe(iterations=8, frozen=frozen, fold_batchnorm=folded)
        learner = Learner(
            recipe, train=POOL, test=TEST, num_classes=NUM_CLASSES, device="cpu", threads=1, cache_dir=tmp_path
        )
        fitted = learner.fit(label(POOL_MASKS, GRID), seed=0, round=0)
        scores = learner.score(fitted, GRID, signals=["entropy", "bald"], features=True, seed=0, round=0)
        found.append((scores, learner.evaluate(fitted, TEST_MASKS)))
    (plain, confusion), (folded, confusion_folded) = found
    np.testing.assert_allclose(folded.signals["entropy"], plain.signals["entropy"], atol=1e-4)
    np.testing.assert_allclose(folded.signals["bald"], plain.signals["bald"], atol=1e-4)
    np.testing.assert_allclose(folded.features, plain.features, atol=1e-3)
    assert np.abs(confusion - confusion_folded).sum() <= 0.001 * confusion.sum()


def test_every_batchnorm_after_a_convolution_is_gone() -> None:
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
