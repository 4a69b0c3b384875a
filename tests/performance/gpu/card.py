"""What a card can do at best, and what the recipe's work needs at least: the two floors under every time.

No version runs faster than its bytes over the memory's bandwidth, nor than its FLOP over the rate of the unit that does
them. Both rates are measured on the card, not read from a datasheet.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from quadrat.benchmark.learning.network.model import Network, build_decoder, build_encoder
from quadrat.benchmark.learning.recipe import Recipe

__all__ = ["Work", "count_work", "floors", "measure_rates", "seconds_of", "work_of_recipe"]

# Bytes copied and sides of the matrices: past every cache of a card, and small for a test on a CPU.
_COPY_BYTES = {"cuda": 4 << 30, "cpu": 1 << 24}
_SIDE = {"cuda": 8192, "cpu": 256}
_REPEATS = 7


class Work(NamedTuple):
    """The convolutions of one image: arithmetic, and bytes with each input, weight and output moved once."""

    flop: float
    bytes: float


def measure_rates(device: str) -> dict[str, float]:
    """Return the bandwidth (bytes read and written a second) and the rates of matrix products (FLOP a second)."""
    side, generator = _SIDE[device], torch.Generator(device).manual_seed(0)
    rates = {"copy_bytes_per_s": _copy_rate(device, generator)}
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for name, dtype, allows_tf32 in (
            ("bf16", torch.bfloat16, False),
            ("tf32", torch.float32, True),
            ("fp32", torch.float32, False),
        ):
            left, right = (torch.randn(side, side, device=device, generator=generator).to(dtype) for _ in range(2))
            torch.backends.cuda.matmul.allow_tf32 = allows_tf32
            product = torch.empty_like(left)
            elapsed_s = seconds_of(lambda: torch.matmul(left, right, out=product), device)  # noqa: B023
            rates[f"{name}_flop_per_s"] = 2.0 * side**3 / elapsed_s
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return rates


def _copy_rate(device: str, generator: torch.Generator) -> float:
    source = torch.randn(_COPY_BYTES[device] // 4, device=device, generator=generator)
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES[device] / seconds_of(lambda: target.copy_(source), device)


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Return the median time of one call, after a warm-up."""
    times = []
    for repeat in range(_REPEATS + 2):
        begin = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        if repeat >= 2:
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def count_work(network: nn.Module, image: Tensor, bytes_each: int) -> Work:
    """Return the work of the convolutions of one forward pass of `image`, (1, 3, y, x)."""
    flop = moved = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal flop, moved
        assert isinstance(module, nn.Conv2d)
        per_output = module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
        flop += 2.0 * output.numel() * per_output
        moved += bytes_each * (inputs[0].numel() + module.weight.numel() + output.numel())

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    try:
        with torch.inference_mode():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return Work(flop, moved)


def work_of_recipe(recipe: Recipe, num_classes: int, size: tuple[int, int]) -> dict[str, Work]:
    """Return the work of training on one crop, and of scoring one image of `size`.

    Training is three passes: the forward one, the gradient by the inputs and the one by the weights. BatchNorm, losses,
    the optimiser and the images themselves are left out, so the floors lie below what any implementation reaches.
    """
    encoder = build_encoder(recipe, None, seed=0)
    network = Network(encoder, build_decoder(recipe, encoder.channels, num_classes, seed=0)).eval()
    stride, found = recipe.output_stride, {}
    for name, passes, (height, width), precision in (
        ("fit", 3, (recipe.crop, recipe.crop), recipe.precision),
        ("score", 1, size, recipe.precision_of_inference),
    ):
        shape = (1, 3, -(-height // stride) * stride, -(-width // stride) * stride)
        one = count_work(network, torch.zeros(shape), 4 if precision == "fp32" else 2)
        found[name] = Work(passes * one.flop, passes * one.bytes)
    return found


def floors(work: Work, rates: dict[str, float], precision: str) -> dict[str, Any]:
    """Return the images a second that neither bandwidth nor arithmetic lets a card exceed, and which of them binds."""
    by_flop = rates[f"{precision}_flop_per_s"] / work.flop
    by_bytes = rates["copy_bytes_per_s"] / work.bytes
    return {
        "gflop_per_image": round(work.flop / 1e9, 2),
        "mib_per_image": round(work.bytes / 2**20, 1),
        "images_per_s_by_flop": round(by_flop, 1),
        "images_per_s_by_bytes": round(by_bytes, 1),
        "images_per_s": round(min(by_flop, by_bytes), 1),
    }
