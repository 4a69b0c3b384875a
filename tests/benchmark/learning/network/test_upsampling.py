"""The two ways to the interpolation matrix of training: torch's interpolation, and what a compiled step computes."""

import pytest
import torch
import torch.nn.functional as F

from quadrat.benchmark.learning.network.upsampling import _cached_blend, _computed_blend, upsample_for_training

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("length", "factor"), [(1, 4), (2, 4), (21, 4), (81, 4), (7, 2), (5, 8)])
def test_a_compiled_step_interpolates_with_the_bits_of_an_eager_one(
    length: int, factor: int, dtype: torch.dtype
) -> None:
    assert torch.equal(_computed_blend(length, factor, CPU, dtype), _cached_blend(length, factor, CPU, dtype))


def test_a_function_with_two_sizes_compiles_as_one_graph() -> None:
    """Torch 2.11 refused two constants of one function; the network upsamples twice, by maps of different sizes."""

    def twice(map_BChw: torch.Tensor) -> torch.Tensor:
        return upsample_for_training(upsample_for_training(map_BChw, 4), 4)

    maps = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(F.interpolate(maps, scale_factor=4, mode="bilinear"), scale_factor=4, mode="bilinear")
    torch.testing.assert_close(torch.compile(twice, fullgraph=True, backend="eager")(maps), expected)
