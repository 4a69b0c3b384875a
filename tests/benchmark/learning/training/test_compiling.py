"""`learner.compile`: the same training by other kernels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import NUM_CLASSES, Killed, kill_at, label, make_grid, make_set, tiny_recipe

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning import Learner
from quadrat.benchmark.learning.training.compiling import loss_function

POOL, POOL_MASKS = make_set(seed=0)
TEST, _ = make_set(seed=1)
GRID = make_grid(POOL_MASKS)
REGIONS = np.random.default_rng(0).choice(GRID.num_regions, 20, replace=False)
CPU = torch.device("cpu")


class _Unreadable(torch.nn.Module):
    """A network that asks its own output how to go on, which no compiled function can."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = torch.nn.Conv2d(3, NUM_CLASSES, kernel_size=1)

    def forward(self, input_BCHW: torch.Tensor) -> torch.Tensor:
        logits_BChw: torch.Tensor = self.classifier(input_BCHW)
        return logits_BChw if float(logits_BChw.detach().mean()) > 0 else -logits_BChw


@pytest.mark.slow
def test_a_compiled_fit_is_the_plain_one_but_for_rounding_and_resumes_to_its_own_bits(tmp_path: Path) -> None:
    def learner(mode: str | None, **changes: object) -> Learner:
        # SGD: it does not blow up rounding as AdamW's first steps do. With dropout: its masks must be the plain fit's.
        recipe = tiny_recipe(iterations=6, dropout=0.5, lr=0.01, compile=mode)
        settings = {"num_classes": NUM_CLASSES, "device": "cpu", "threads": 1, "cache_dir": tmp_path}
        return Learner(recipe, train=POOL, test=TEST, **(settings | changes))

    labels, checkpoint = label(POOL_MASKS, GRID, REGIONS), tmp_path / "fit.pt"
    plain = learner(None).fit(labels, seed=0, round=0)
    compiled = learner("default").fit(labels, seed=0, round=0)
    assert compiled.loss == pytest.approx(plain.loss, rel=1e-3)
    for name, tensor in plain.state.items():
        torch.testing.assert_close(compiled.state[name], tensor, atol=1e-3, rtol=1e-2, msg=name)
    with pytest.raises(Killed):
        learner("default", checkpoint_every_s=0.0).fit(
            labels, seed=0, round=0, checkpoint=checkpoint, on_step=kill_at(4)
        )
    resumed = learner("default").fit(labels, seed=0, round=0, checkpoint=checkpoint)
    assert all(torch.equal(resumed.state[name], tensor) for name, tensor in compiled.state.items())
    # A CPU has no CUDA graphs, so both modes are one there.
    graphed = learner("reduce-overhead").fit(labels, seed=0, round=0)
    assert graphed.loss == compiled.loss


def test_what_torch_cannot_compile_is_an_error_that_says_what_to_do() -> None:
    network = _Unreadable()
    image, labels = torch.ones(2, 3, 8, 8), torch.zeros(2, 32, 32, dtype=torch.uint8)
    assert torch.isfinite(loss_function(tiny_recipe(), CPU)(network, image, labels))
    with pytest.raises(
        TrainingError, match=r"can't compile the training of 'test_efficientnet'.*leave learner\.compile out"
    ):
        loss_function(tiny_recipe(compile="default"), CPU)(network, image, labels)
