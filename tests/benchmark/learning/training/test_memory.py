"""A fit that can't fit is refused before its first iteration."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.model import Network, build_decoder, build_encoder
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.training import memory as module
from quadrat.benchmark.learning.training.memory import check_memory, fit_bytes, memory_of

CPU = torch.device("cpu")


class Small(nn.Module):
    """A convolution with a ReLU, and a second one; padded as an encoder with stride 4 would."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False)
        self.second = nn.Conv2d(8, 2, kernel_size=1, bias=False)

    @property
    def encoder(self) -> "Small":
        return self

    def prepare(self, image_BHWx: Tensor) -> Tensor:
        return nn.functional.pad(
            image_BHWx.permute(0, 3, 1, 2), (0, -image_BHWx.shape[2] % 4, 0, -image_BHWx.shape[1] % 4)
        )

    def forward(self, input_BCHW: Tensor) -> Tensor:
        output_BCHW: Tensor = self.second(self.first(input_BCHW).relu())
        return output_BCHW


@pytest.mark.parametrize(("optimizer", "copies"), [("sgd", 3), ("adamw", 4)])
@pytest.mark.parametrize(("precision", "bytes_each"), [("fp32", 4), ("bf16", 2)])
def test_what_is_kept_for_the_backward_pass_is_counted(
    optimizer: str, copies: int, precision: str, bytes_each: int
) -> None:
    recipe = Recipe.model_validate(
        {
            "encoder": "resnet18",
            "iterations": 1,
            "batch_size": 5,
            "crop": 18,
            "optimizer": optimizer,
            "precision": precision,
        }
    )
    pixels = 5 * 20 * 20  # 18 px padded to 20
    kept = pixels * (3 + 8) * bytes_each  # the input of each convolution; ReLU keeps its output, which is one of them
    weights = (8 * 3 * 9 + 2 * 8) * 4
    windows = 5 * 36 * 36 * 4  # 18 px at half the scale: RGB and a label a pixel
    found = fit_bytes(Small(), recipe)  # type: ignore[arg-type]
    assert found == kept + copies * weights + pixels * 3 * 4 + windows


def small(write_suite: Callable[..., Path], *settings: str) -> tuple[Network, Recipe]:
    recipe = load_suite(write_suite(), settings).learner
    encoder = build_encoder(recipe, None, seed=0)
    return Network(encoder, build_decoder(recipe, encoder.channels, 5, seed=0)), recipe


def test_a_fit_of_thousands_of_large_crops_is_one_sentence(write_suite: Callable[..., Path]) -> None:
    network, recipe = small(write_suite, "learner.batch_size=4000", "learner.crop=3000")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(TrainingError, match=r"of this machine, got .*4000 crops of 3000 x 3000 px.*batch_size or crop"):
        check_memory(network, recipe, CPU)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_windows_of_a_tiny_scale_are_one_sentence(write_suite: Callable[..., Path]) -> None:
    network, recipe = small(write_suite, "learner.scale=[0.0001, 1.0]")
    with pytest.raises(TrainingError, match=r"windows of up to 320000 px\. .*raise the smaller learner\.scale"):
        check_memory(network, recipe, CPU)


def test_a_fit_that_fits_is_not_refused(write_suite: Callable[..., Path]) -> None:
    check_memory(*small(write_suite), CPU)


def test_a_container_counts_with_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(module, "_CGROUP", limit)
    whole = memory_of(CPU)
    limit.write_text("max\n")
    assert memory_of(CPU) == whole > 2**20
    limit.write_text(f"{2**20}\n")
    assert memory_of(CPU) == 2**20
