"""`learner.compile`: the same training with other kernels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import NUM_CLASSES, Killed, kill_at, label, make_grid, make_learner, make_set, tiny_recipe

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning import Learner
from quadrat.benchmark.learning.training.compiling import loss_function

POOL, POOL_MASKS = make_set(seed=0)
TEST, _ = make_set(seed=1)
GRID = make_grid(POOL_MASKS)
REGIONS = np.random.default_rng(0).choice(GRID.num_regions, 20, replace=False)
CPU = torch.device("cpu")


class _DataDependent(torch.nn.Module):
    """A network with data-dependent control flow, which `fullgraph` can't compile."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = torch.nn.Conv2d(3, NUM_CLASSES, kernel_size=1)

    def forward(self, input_BCHW: torch.Tensor) -> torch.Tensor:
        logits_BChw: torch.Tensor = self.classifier(input_BCHW)
        return logits_BChw if float(logits_BChw.detach().mean()) > 0 else -logits_BChw


@pytest.mark.slow
def test_a_compiled_fit_equals_the_eager_one_up_to_rounding_and_resumes(tmp_path: Path) -> None:
    def learner(mode: str | None, **changes: object) -> Learner:
        # SGD, since AdamW's first steps amplify rounding. With dropout, whose masks must be those of the eager fit.
        recipe = tiny_recipe(iterations=6, dropout=0.5, lr=0.01, compile=mode)
        return make_learner(recipe, tmp_path, train=POOL, test=TEST, **changes)

    labels, checkpoint = label(POOL_MASKS, GRID, REGIONS), tmp_path / "fit.pt"
    eager = learner(None).fit(labels, seed=0, round=0)
    compiled = learner("default").fit(labels, seed=0, round=0)
    assert compiled.loss == pytest.approx(eager.loss, rel=1e-3)
    for name, tensor in eager.state.items():
        torch.testing.assert_close(compiled.state[name], tensor, atol=1e-3, rtol=1e-2, msg=name)
    with pytest.raises(Killed):
        learner("default", checkpoint_every_s=0.0).fit(
            labels, seed=0, round=0, checkpoint=checkpoint, on_step=kill_at(4)
        )
    resumed = learner("default").fit(labels, seed=0, round=0, checkpoint=checkpoint)
    assert all(torch.equal(resumed.state[name], tensor) for name, tensor in compiled.state.items())
    # A CPU has no CUDA graphs, so both modes are equal.
    graphed = learner("reduce-overhead").fit(labels, seed=0, round=0)
    assert graphed.loss == compiled.loss


@pytest.mark.slow
def test_a_network_that_can_not_be_compiled_is_an_error_with_advice() -> None:
    network = _DataDependent()
    image, labels = torch.ones(2, 3, 8, 8), torch.zeros(2, 32, 32, dtype=torch.uint8)
    assert torch.isfinite(loss_function(tiny_recipe(), CPU)(network, image, labels, None))
    with pytest.raises(
        TrainingError, match=r"can't compile the training of 'test_efficientnet'.*leave learner\.compile out"
    ):
        loss_function(tiny_recipe(compile="default"), CPU)(network, image, labels, None)
