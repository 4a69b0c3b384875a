"""How much of a block a GPU computes: the sum over kernels, on spans that are known."""

import time
from typing import NamedTuple

import pytest
import torch

from performance.learner.busy import busy_share, covered_share


class Block(NamedTuple):
    elapsed_s: float


@pytest.mark.parametrize(
    ("spans", "share"),
    [
        ([], 0.0),
        ([(0, 10)], 1.0),
        ([(2, 4), (3, 5)], 0.3),  # what overlaps counts once
        ([(2, 8), (3, 4), (5, 6)], 0.6),  # one inside another
        ([(7, 9), (1, 2)], 0.3),  # in any order
        ([(-5, 1), (9, 20)], 0.2),  # before and after the block
        ([(-5, -1), (12, 20)], 0.0),
    ],
)
def test_the_share_is_the_time_that_at_least_one_kernel_covers(spans: list[tuple[float, float]], share: float) -> None:
    assert covered_share(spans, 0.0, 10.0) == pytest.approx(share)


def test_only_the_block_after_its_warm_up_counts() -> None:
    """On operators of the CPU in place of kernels: a long busy warm-up, then a block that does next to nothing."""

    def work() -> Block:
        ones = torch.ones(2_000_000)
        before = time.perf_counter()
        while time.perf_counter() - before < 0.9:
            ones.sum()
        begin = time.perf_counter()
        time.sleep(0.3)
        torch.ones(1)
        return Block(time.perf_counter() - begin)

    assert 0.0 < busy_share(work, device="cpu") < 0.5


def test_a_block_without_a_kernel_is_not_said_to_be_idle() -> None:
    with pytest.raises(RuntimeError, match="recorded no kernel"):
        busy_share(lambda: Block(0.1), device="cpu")
