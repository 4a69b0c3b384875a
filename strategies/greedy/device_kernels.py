"""Triton kernels of ``device``: squared distances in numpy's order of additions, and greedy inside a batch.

Every product and sum of float64 is rounded on its own: a fused multiply-add would change the last bit. Kernels are
therefore launched with ``EXACT``.

Axes: R regions, D features, N regions of a batch, M others, S members of the set; BN, BM, BLOCK a part of a program.
"""

from typing import Any, Final

import triton
import triton.language as tl

__all__ = ["EXACT", "lower_to_nearest_kernel", "select_kernel", "squared_distance_kernel"]

EXACT: Final[dict[str, Any]] = {"enable_fp_fusion": False}
"""Launch options under which float64 operations are rounded one by one."""


@triton.jit
def _squared_difference(left, right, left_stride, right_stride, feature):
    """Return (x - y)^2 of one feature in float64, for pointers that broadcast against each other."""
    difference = tl.load(left + feature * left_stride).to(tl.float64) - tl.load(right + feature * right_stride).to(
        tl.float64
    )
    return difference * difference


@triton.jit
def _every_eighth(left, right, left_stride, right_stride, eight, first, LENGTH: tl.constexpr):
    """Return the sum of the features first, first + 8, ..., ``LENGTH`` // 8 of them, added one after the other."""
    total = _squared_difference(left, right, left_stride, right_stride, first)
    for step in range(1, LENGTH // eight):
        total += _squared_difference(left, right, left_stride, right_stride, first + 8 * step)
    return total


@triton.jit
def _squared_distance(left, right, left_stride, right_stride, eight, FIRST: tl.constexpr, LENGTH: tl.constexpr):
    """Return the squared distance over ``LENGTH`` features from ``FIRST`` on, added in numpy's order.

    That is pairwise summation: above 128 numbers the sum of two halves, the first a multiple of 8; below, eight sums of
    every eighth number, added in pairs, and then the rest one after the other. ``eight`` is 8, which the compiler does
    not know: it would unroll the loops, for up to a minute, and run out of registers.
    """
    if LENGTH > 128:
        HALF: tl.constexpr = LENGTH // 2 - LENGTH // 2 % 8
        total = _squared_distance(left, right, left_stride, right_stride, eight, FIRST, HALF) + _squared_distance(
            left, right, left_stride, right_stride, eight, FIRST + HALF, LENGTH - HALF
        )
    elif LENGTH < 8:
        total = _squared_difference(left, right, left_stride, right_stride, FIRST)
        for rest in range(1, LENGTH):
            total += _squared_difference(left, right, left_stride, right_stride, FIRST + rest)
    else:
        r0 = _every_eighth(left, right, left_stride, right_stride, eight, FIRST, LENGTH)
        r1 = _every_eighth(left, right, left_stride, right_stride, eight, FIRST + 1, LENGTH)
        r2 = _every_eighth(left, right, left_stride, right_stride, eight, FIRST + 2, LENGTH)
        r3 = _every_eighth(left, right, left_stride, right_stride, eight, FIRST + 3, LENGTH)
        first_half = (r0 + r1) + (r2 + r3)
        r4 = _every_eighth(left, right, left_stride, right_stride, eight, FIRST + 4, LENGTH)
        r5 = _every_eighth(left, right, left_stride, right_stride, eight, FIRST + 5, LENGTH)
        r6 = _every_eighth(left, right, left_stride, right_stride, eight, FIRST + 6, LENGTH)
        r7 = _every_eighth(left, right, left_stride, right_stride, eight, FIRST + 7, LENGTH)
        total = first_half + ((r4 + r5) + (r6 + r7))
        for rest in range(LENGTH // 8 * 8, LENGTH):
            total += _squared_difference(left, right, left_stride, right_stride, FIRST + rest)
    return total


@triton.jit(do_not_specialize=["num_left", "num_right", "eight"])
def squared_distance_kernel(
    left_DN, right_DM, out_NM, num_left, num_right, eight, D: tl.constexpr, BN: tl.constexpr, BM: tl.constexpr
):
    """Write the squared distances of all left to all right regions; each program a part of BN x BM.

    Args:
        left_DN: (D, num_left) float32.
        right_DM: (D, num_right) float32.
        out_NM: (num_left, num_right) float64.
        num_left: N.
        num_right: M.
        eight: 8.
        D: Features.
        BN: Rows of a part.
        BM: Columns of a part.
    """
    row = (tl.program_id(0) * BN + tl.arange(0, BN))[:, None]
    col = (tl.program_id(1) * BM + tl.arange(0, BM))[None, :]
    # Rows beyond the end are computed with the last one and not stored.
    left, right = left_DN + tl.minimum(row, num_left - 1), right_DM + tl.minimum(col, num_right - 1)
    squared = _squared_distance(left, right, num_left, num_right, eight, 0, D)
    tl.store(out_NM + row.to(tl.int64) * num_right + col, squared, mask=(row < num_left) & (col < num_right))


@triton.jit(do_not_specialize=["num_left", "num_members", "member_stride", "eight"])
def lower_to_nearest_kernel(
    product_NM,
    limit_N,
    squared_N,
    left_DN,
    member_DS,
    num_left,
    num_members,
    member_stride,
    eight,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Lower each region's squared distance to that of its nearest member; each program one region.

    Only blocks of members in which a product is within the limit are computed in float64.

    Args:
        product_NM: (N, num_members) float32, |x - s|^2 - |x|^2 within an error.
        limit_N: (N,) float32, no member that is nearer than ``squared_N`` has a larger product.
        squared_N: (N,) float64 upper bounds, changed in place.
        left_DN: (D, num_left) float32 features of the regions.
        member_DS: (D, member_stride) float32 features of the members, from the first on that is compared.
        num_left: N.
        num_members: Members that are compared.
        member_stride: Distance in memory of a member's features.
        eight: 8.
        D: Features.
        BLOCK: Members that are looked at together.
    """
    region = tl.program_id(0)
    far = member_stride.to(tl.int64)
    limit = tl.load(limit_N + region)
    squared = tl.load(squared_N + region)
    for start in range(0, num_members, BLOCK):
        member = start + tl.arange(0, BLOCK)
        inside = member < num_members
        product = tl.load(product_NM + region.to(tl.int64) * num_members + member, mask=inside, other=float("inf"))
        is_near = product <= limit
        if tl.max(is_near.to(tl.int32), axis=0) > 0:
            exact = _squared_distance(
                left_DN + region, member_DS + tl.minimum(member, num_members - 1), num_left, far, eight, 0, D
            )
            squared = tl.minimum(squared, tl.min(tl.where(is_near, exact, float("inf")), axis=0))
    tl.store(squared_N + region, squared)


@triton.jit(do_not_specialize=["num_regions", "budget"])
def select_kernel(
    region_N,
    utility_N,
    squared_N,
    between_NN,
    spatial_N,
    spatial_NN,
    floor_value,
    floor_region,
    factors,
    position_K,
    potential_K,
    count,
    num_regions,
    budget,
    HAS_SPATIAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Run greedy inside a batch until a region outside may be better, or the budget is used up; a single program.

    Args:
        region_N: (N,) int64 row numbers, ascending.
        utility_N: (N,) float64.
        squared_N: (N,) float64 exact squared distances to the set; changed in place, as regions are selected.
        between_NN: (N, N) float64 squared distances inside the batch.
        spatial_N: (N,) float64 spatial distances to the set, where there is a spatial term.
        spatial_NN: (N, N) float64 spatial distances inside the batch, infinite between images.
        floor_value: (1,) float64, the largest bound outside the batch.
        floor_region: (1,) int64, the lowest row number that has it.
        factors: (3,) float64, weight of the features, scale, weight of the spatial term.
        position_K: (K,) int64, written: positions in the batch of the selected regions.
        potential_K: (K,) float64, written: their potentials.
        count: (1,) int64, written: how many were selected.
        num_regions: N.
        budget: Regions that may be selected.
        HAS_SPATIAL: Whether there is a spatial term.
        BLOCK: A power of 2, at least N.
    """
    position = tl.arange(0, BLOCK)
    inside = position < num_regions
    utility = tl.load(utility_N + position, mask=inside, other=0.0)
    squared = tl.load(squared_N + position, mask=inside, other=0.0)
    w_feature, scale, w_spatial = tl.load(factors), tl.load(factors + 1), tl.load(factors + 2)
    value, region = tl.load(floor_value), tl.load(floor_region)
    is_free = inside
    spatial = squared
    if HAS_SPATIAL:
        spatial = tl.load(spatial_N + position, mask=inside, other=0.0)
    num_selected = 0
    goes_on = budget > 0
    while goes_on:
        potential = utility + w_feature * (tl.sqrt(squared) / scale)
        if HAS_SPATIAL:
            potential = potential + w_spatial * spatial
        potential = tl.where(is_free, potential, float("-inf"))
        largest = tl.max(potential, axis=0)
        best = tl.min(tl.where(potential == largest, position, BLOCK), axis=0)
        is_tie = (largest == value) & (largest > float("-inf"))
        goes_on = (largest > value) | (tl.load(region_N + best, mask=is_tie, other=region) < region)
        if goes_on:
            tl.store(position_K + num_selected, best.to(tl.int64))
            tl.store(potential_K + num_selected, largest)
            num_selected += 1
            is_free = is_free & (position != best)
            row = best.to(tl.int64) * num_regions + position
            squared = tl.minimum(squared, tl.load(between_NN + row, mask=inside, other=0.0))
            if HAS_SPATIAL:
                spatial = tl.minimum(spatial, tl.load(spatial_NN + row, mask=inside, other=0.0))
            goes_on = num_selected < budget
    tl.store(squared_N + position, squared, mask=inside)
    tl.store(count, num_selected)
