"""How much of a block a GPU computes: the sum over kernels, on spans that are known."""

from typing import NamedTuple

import pytest
import torch

from performance.learner.busy import busy_share, covered_share, share_after_warm_up


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
    """A warm-up of 0.9 s that is all kernel, then a block of 0.3 s with one kernel of 0.03 s at its end."""
    spans_us = [(0.0, 0.9e6), (1.17e6, 1.2e6)]
    assert share_after_warm_up(spans_us, 0.3) == pytest.approx(0.1)
    assert share_after_warm_up(spans_us, 1.2) == pytest.approx(0.775)


def test_the_profiler_sees_what_a_block_computes() -> None:
    """On operators of the CPU in place of kernels: in a block said to take eleven days they are next to nothing."""

    def work() -> Block:
        torch.ones(1000).sum()
        return Block(1e6)

    assert 0.0 < busy_share(work, device="cpu") < 1e-3


def test_a_block_without_a_kernel_is_not_said_to_be_idle() -> None:
    with pytest.raises(RuntimeError, match="recorded no kernel"):
        busy_share(lambda: Block(0.1), device="cpu")
